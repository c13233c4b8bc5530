//! Error codes of channels: each has a test that says it, or a line in the table of those that are never said.

use super::{Fault, File};

const CODES: &str = "crates/tollway-core/src/error_code.rs";
const UNSAID: &str = "docs/channels.md";
const PREFIX: &str = "invalid_batch_settlement_evm_";

pub(super) fn check(files: &[File], faults: &mut Vec<Fault>) {
    let find = |path: &str| files.iter().find(|file| file.path == path);
    let (Some(codes), Some(unsaid)) = (find(CODES), find(UNSAID)) else { return };
    // The table's first column.
    let table = unsaid.text.split_once("never said").map_or("", |(_, table)| table);
    let listed: Vec<&str> =
        table.lines().filter_map(|row| row.strip_prefix('|')?.split('|').next()).collect();
    let is_test = |file: &&File| file.is_rust() && file.path.contains("/tests/");
    let tests: Vec<&File> = files.iter().filter(is_test).collect();
    for (line, text) in codes.lines() {
        let Some(code) = text.split('"').nth(1).and_then(|code| code.strip_prefix(PREFIX)) else { continue };
        let told = format!("{PREFIX}{code}");
        let name = told.to_uppercase();
        let is_said = tests.iter().any(|test| has_word(&test.text, &name) || has_word(&test.text, &told));
        let is_listed = listed.iter().any(|cell| cell.contains(&format!("`.._{code}`")));
        if !is_said && !is_listed {
            let rule = format!("{told}: no test provokes it, and {UNSAID} does not say why");
            faults.push(codes.fault(line, rule));
        }
    }
}

/// Whether `text` has `word`, and not only as a part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let goes_on = |rest: &str| rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_');
    text.match_indices(word).any(|(at, _)| !goes_on(&text[at + word.len()..]))
}

#[cfg(test)]
mod tests {
    use super::{CODES, UNSAID, check};
    use crate::tidy::File;

    #[test]
    fn a_code_is_tested_or_listed() {
        let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
        let code = |name: &str| format!("X = \"invalid_batch_settlement_evm_{name}\",\n");
        let codes = ["told", "told_twice", "never", "forgotten"].map(code).concat();
        let files = [
            file(CODES, &codes),
            file(UNSAID, "| `.._forgotten` |\nThese are never said:\n| `.._never` | `.._forgotten` |"),
            file("crates/a/tests/it/codes.rs", "[INVALID_BATCH_SETTLEMENT_EVM_TOLD_TWICE, A]"),
            file("crates/a/tests/it/others.rs", "\"invalid_batch_settlement_evm_told\""),
            file("crates/a/src/code.rs", "INVALID_BATCH_SETTLEMENT_EVM_FORGOTTEN"),
        ];
        let mut faults = Vec::new();
        check(&files, &mut faults);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].line == Some(4) && faults[0].rule.contains("_forgotten:"), "{faults:?}");
    }
}
