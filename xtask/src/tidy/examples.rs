//! Every public function of a library is shown at work: its documentation has an example, which the doc tests run.

use super::source::tests_begin;
use super::{Fault, File};

/// Finds public functions without an example.
pub(super) fn check(file: &File, faults: &mut Vec<Fault>) {
    let is_library = file.path.starts_with("crates/tollway-") && file.path.contains("/src/");
    if !is_library || !file.path.ends_with(".rs") {
        return;
    }
    let tests = tests_begin(&file.text);
    let mut has_example = false;
    for (index, line) in file.text.lines().enumerate().take_while(|(index, _)| index + 1 < tests) {
        let line = line.trim_start();
        if line.starts_with("///") {
            has_example |= line.contains("```");
        } else if !line.starts_with("#[") {
            if is_public_function(line) && !has_example {
                let rule = "a public function has an example in its documentation".to_owned();
                faults.push(Fault { path: file.path.clone(), line: Some(index + 1), rule });
            }
            has_example = false;
        }
    }
}

fn is_public_function(line: &str) -> bool {
    let declared =
        line.strip_prefix("pub ").map(|rest| rest.trim_start_matches("const ").trim_start_matches("async "));
    declared.is_some_and(|rest| rest.starts_with("fn "))
}

#[cfg(test)]
mod tests {
    use super::{File, check};

    fn lines(text: &str) -> Vec<Option<usize>> {
        let mut faults = Vec::new();
        check(&File { path: "crates/tollway-x/src/a.rs".to_owned(), text: text.to_owned() }, &mut faults);
        faults.into_iter().map(|fault| fault.line).collect()
    }

    #[test]
    fn a_public_function_without_an_example_is_found() {
        assert_eq!(
            lines(
                "/// Does.\npub fn a() {}\n\n/// ```\n/// b();\n/// ```\n#[must_use]\npub const fn b() {}\n"
            ),
            [Some(2)]
        );
        assert_eq!(lines("pub(crate) fn a() {}\nfn b() {}\n"), []);
        assert_eq!(lines("    /// Waits.\n    pub async fn a(&self) {}\n"), [Some(2)]);
        assert_eq!(lines("#[cfg(test)]\nmod tests {\n    pub fn a() {}\n}\n"), []);
    }
}
