//! Names, depth and length of files; length of functions.

use super::{Fault, File, source};

const MAX_FILE_LINES: usize = 800;
const MAX_FUNCTION_LINES: usize = 70;
const MAX_DEPTH: usize = 2;

/// Written by people, hence bounded; data and lock files are not.
const SOURCE: [&str; 9] = ["rs", "mjs", "js", "ts", "py", "sol", "sh", "css", "sql"];

/// Names that say nothing about what is inside.
const VAGUE: [&str; 4] = ["utils", "common", "helpers", "types"];

/// Checks one file.
pub(super) fn check(file: &File, faults: &mut Vec<Fault>) {
    if SOURCE.contains(&file.extension()) {
        let lines = file.text.lines().count();
        if lines > MAX_FILE_LINES {
            faults.push(file.fault(None, format!("is {lines} lines long, the limit is {MAX_FILE_LINES}")));
        }
    }
    if !file.is_rust() {
        return;
    }
    let steps: Vec<_> = file.path.split('/').collect();
    for step in &steps {
        let stem = step.trim_end_matches(".rs");
        if VAGUE.contains(&stem) {
            faults.push(file.fault(None, format!("`{stem}` says nothing about what is inside")));
        }
    }
    if let Some(src) = steps.iter().position(|step| *step == "src") {
        let depth = steps.len() - src - 1;
        if depth > MAX_DEPTH {
            faults.push(file.fault(None, format!("is {depth} deep under src, the limit is {MAX_DEPTH}")));
        }
    }
    functions(file, faults);
}

/// Finds the functions by the word `fn` and a name, and their ends by counting braces. A function without a
/// body ends at its semicolon. Functions inside functions count for both.
fn functions(file: &File, faults: &mut Vec<Fault>) {
    let code = source::code(&file.text);
    for (at, _) in code.match_indices("fn ") {
        let before = code[..at].chars().next_back();
        let name: String = code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if before.is_some_and(|c| !c.is_whitespace()) || name.is_empty() {
            continue;
        }
        let lines = body(&code[at..]).lines().count();
        if lines > MAX_FUNCTION_LINES {
            let line = code[..at].matches('\n').count() + 1;
            let rule = format!("`{name}` is {lines} lines long, the limit is {MAX_FUNCTION_LINES}");
            faults.push(file.fault(line, rule));
        }
    }
}

/// From the word `fn` to the end of the body.
fn body(code: &str) -> &str {
    let mut braces = 0usize;
    // `[u8; 4]` in a signature has a semicolon that ends nothing.
    let mut brackets = 0usize;
    for (at, character) in code.char_indices() {
        match character {
            '{' => braces += 1,
            '}' if braces <= 1 => return &code[..=at],
            '}' => braces -= 1,
            '[' | '(' => brackets += 1,
            ']' | ')' => brackets = brackets.saturating_sub(1),
            ';' if braces == 0 && brackets == 0 => return &code[..=at],
            _ => {}
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::super::faults_in;
    use super::check;

    #[test]
    fn long_functions_are_found_and_long_strings_are_not_code() {
        let long = format!("fn short(a: [u8; 4]) {{}}\n\nfn long() {{\n{}}}\n", "    work();\n".repeat(69));
        assert_eq!(
            faults_in(check, "crates/a/src/lib.rs", &long),
            ["crates/a/src/lib.rs:3: `long` is 71 lines long, the limit is 70"]
        );
        let fits = format!("fn fits() {{\n{}}}\nfn brace() {{ \"{{\" }}\n", "    work();\n".repeat(68));
        assert!(faults_in(check, "crates/a/src/lib.rs", &fits).is_empty());
        let declared = format!("trait T {{ fn a(&self);\n{}}}", "    // text\n".repeat(100));
        assert!(faults_in(check, "crates/a/src/lib.rs", &declared).is_empty());
    }

    #[test]
    fn long_files_are_found_unless_they_are_data() {
        let text = "x\n".repeat(801);
        assert_eq!(faults_in(check, "interop/node/a.mjs", &text).len(), 1);
        assert!(faults_in(check, "crates/a/tests/a.json", &text).is_empty());
        assert!(faults_in(check, "interop/node/a.mjs", &"x\n".repeat(800)).is_empty());
    }

    #[test]
    fn deep_and_vague_files_are_found() {
        assert!(faults_in(check, "crates/a/src/exact/offer.rs", "").is_empty());
        assert!(faults_in(check, "crates/a/tests/it/a/b/c.rs", "").is_empty());
        assert_eq!(faults_in(check, "crates/a/src/exact/deep/offer.rs", "").len(), 1);
        assert_eq!(faults_in(check, "crates/a/src/utils.rs", "").len(), 1);
        assert_eq!(faults_in(check, "crates/a/src/types/offer.rs", "").len(), 1);
        assert!(faults_in(check, "crates/a/src/types_of_offer.rs", "").is_empty());
    }
}
