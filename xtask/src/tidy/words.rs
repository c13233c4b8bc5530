//! Words that must not stand where they stand.

use super::{Fault, File, source};

/// Where the wire formats live: the only place that may spell them.
const WIRE: &str = "crates/tollway-core/src/wire/";

/// Names of headers and fields that differ between protocol versions, in lower case.
const PROTOCOL: [&str; 7] = [
    "x-payment",
    "x-payment-response",
    "payment-signature",
    "payment-required",
    "payment-response",
    "settlement-overrides",
    "maxamountrequired",
];

/// Places on somebody's machine, and the hosts that packages come from. Split so that this file is tidy.
const NOWHERE: [&str; 7] = [
    concat!("/wo", "rk/"),
    concat!("/tm", "p/facts"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("registry.", "npmjs"),
    concat!("py", "pi.org"),
    concat!("python", "hosted.org"),
];

/// Work left for later, and tests that do not run.
const UNFINISHED: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("#[", "ignore"),
];

/// Data: made by programs, read by programs.
const DATA: [&str; 5] = ["json", "jsonl", "lock", "bin", "hex"];

/// Checks one file.
pub(super) fn check(file: &File, faults: &mut Vec<Fault>) {
    for (number, line) in file.lines() {
        for word in NOWHERE.iter().filter(|word| line.contains(**word)) {
            faults.push(file.fault(number, format!("`{word}` is a machine's or a registry's name")));
        }
        if DATA.contains(&file.extension()) {
            continue;
        }
        for word in UNFINISHED.iter().filter(|word| line.contains(**word)) {
            faults.push(file.fault(number, format!("`{word}` is work left undone")));
        }
    }
    if file.is_rust() {
        globs(file, faults);
        protocol(file, faults);
    }
}

/// Glob re-exports hide what a module offers.
fn globs(file: &File, faults: &mut Vec<Fault>) {
    let code = source::code(&file.text);
    for (index, line) in code.lines().enumerate() {
        let line = line.trim();
        let exported = line.starts_with("pub use ") || line.starts_with("pub(crate) use ");
        if exported && line.trim_end_matches(';').ends_with("::*") {
            faults.push(file.fault(index + 1, "a glob re-export hides what is offered"));
        }
    }
}

/// Names of the wire as string literals in a crate's code, not in its tests. In capitals, as the standard shows
/// it, a name is for people and may stand in an error; not where a header is read or written, though.
fn protocol(file: &File, faults: &mut Vec<Fault>) {
    const ACCESS: [&str; 7] =
        [".get(", ".get_all(", ".insert(", ".append(", ".remove(", ".header(", ".contains_key("];
    let is_code = file.path.starts_with("crates/") && file.path.contains("/src/");
    if !is_code || file.path.starts_with(WIRE) {
        return;
    }
    let tests = source::tests_begin(&file.text);
    let lines: Vec<_> = file.text.lines().collect();
    for (number, literal) in source::literals(&file.text).into_iter().take_while(|(line, _)| *line < tests) {
        let accessed =
            lines.get(number - 1).is_some_and(|line| ACCESS.iter().any(|call| line.contains(call)));
        let shown = !accessed && literal.chars().any(|c| c.is_ascii_uppercase()) && literal.contains('-');
        let literal = literal.to_lowercase().replace('\\', "");
        for word in PROTOCOL.iter().filter(|word| !shown && literal.contains(&format!("\"{word}\""))) {
            faults.push(file.fault(number, format!("`{word}` belongs to {WIRE}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::faults_in;
    use super::{NOWHERE, UNFINISHED, check};

    #[test]
    fn every_forbidden_word_is_found_with_its_line() {
        for word in NOWHERE {
            assert_eq!(faults_in(check, "README.md", &format!("a\nb {word} c\n")).len(), 1, "{word}");
            assert_eq!(faults_in(check, "package-lock.json", word).len(), 1, "{word}");
        }
        for word in UNFINISHED {
            let faults = faults_in(check, "crates/a/src/lib.rs", &format!("a\nb {word}) c\n"));
            assert_eq!(faults.len(), 1, "{word}");
            assert!(faults[0].starts_with("crates/a/src/lib.rs:2: "));
            assert!(faults_in(check, "package-lock.json", word).is_empty(), "{word}");
        }
    }

    #[test]
    fn glob_re_exports_are_found_and_imports_are_not() {
        assert_eq!(faults_in(check, "crates/a/src/lib.rs", "pub use model::*;\n").len(), 1);
        assert!(faults_in(check, "crates/a/src/lib.rs", "use super::*;\npub use model::Offer;\n").is_empty());
    }

    #[test]
    fn words_of_the_wire_stay_in_the_wire() {
        let text = "//! Sends `X-PAYMENT`.\nconst NAME: &str = \"x-payment\";\n";
        assert_eq!(
            faults_in(check, "crates/tollway-seller/src/lib.rs", text),
            ["crates/tollway-seller/src/lib.rs:2: `x-payment` belongs to crates/tollway-core/src/wire/"]
        );
        assert!(faults_in(check, "crates/tollway-core/src/wire/v1.rs", text).is_empty());
        let shown = "return error(\"X-PAYMENT\", rule);\n";
        assert!(faults_in(check, "crates/tollway-seller/src/lib.rs", shown).is_empty());
        let read = "headers.get(\"X-PAYMENT\");\n";
        assert_eq!(faults_in(check, "crates/tollway-seller/src/lib.rs", read).len(), 1);
        assert!(faults_in(check, "crates/tollway-seller/tests/it.rs", text).is_empty());
        let in_tests = format!("#[cfg(test)]\nmod tests {{\n{text}}}\n");
        assert!(faults_in(check, "crates/tollway-seller/src/lib.rs", &in_tests).is_empty());
    }
}
