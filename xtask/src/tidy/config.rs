//! Every configuration key stands in the default configuration file.
//!
//! A struct whose fields are keys is marked by a line above it, `// tidy: config <path of the file>`. Each of its
//! fields must then be in that file, as a key or as a table, commented out or not.

use super::{Fault, File};

const MARK: &str = "// tidy: config ";

/// Checks every marked struct.
pub(super) fn check(files: &[File], faults: &mut Vec<Fault>) {
    for file in files.iter().filter(|file| file.is_rust()) {
        for (number, line) in file.lines() {
            let Some(path) = line.trim().strip_prefix(MARK) else { continue };
            let Some(defaults) = files.iter().find(|file| file.path == path) else {
                faults.push(file.fault(number, format!("there is no `{path}`")));
                continue;
            };
            for (number, key) in fields(file, number) {
                if !documents(&defaults.text, key) {
                    faults.push(file.fault(number, format!("`{key}` is not in {path}")));
                }
            }
        }
    }
}

/// The fields of the struct below line `mark`, up to its closing brace.
fn fields(file: &File, mark: usize) -> impl Iterator<Item = (usize, &str)> {
    file.lines().skip(mark).take_while(|(_, line)| *line != "}").filter_map(|(number, line)| {
        let line = line.trim();
        let (name, _) =
            line.strip_prefix("pub(crate) ").or(line.strip_prefix("pub ")).unwrap_or(line).split_once(':')?;
        let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        is_name.then_some((number, name))
    })
}

fn documents(text: &str, key: &str) -> bool {
    text.lines().map(|line| line.trim_start_matches(['#', ' '])).any(|line| {
        let table = line.strip_prefix('[').and_then(|line| line.trim_start_matches('[').split(']').next());
        match table {
            Some(table) => table.split('.').any(|step| step == key),
            None => line.split_once('=').is_some_and(|(name, _)| name.trim() == key),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::File;
    use super::check;

    fn faults(config: &str) -> usize {
        let source = "// tidy: config a.toml\n#[derive(Debug)]\npub struct Config {\n    /// Where.\n    \
                      pub listen: u16,\n    pub limits: Limits,\n    keys: u8,\n}\npub struct Other {\n    \
                      pub free: u8,\n}\n";
        let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
        let mut faults = Vec::new();
        check(&[file("src/lib.rs", source), file("a.toml", config)], &mut faults);
        faults.len()
    }

    #[test]
    fn the_fields_of_a_marked_struct_are_documented() {
        assert_eq!(faults("# listen = 1\n\n[limits] # all of them\n# keys = []\n"), 0);
        assert_eq!(faults("# listen = 1\n"), 2);
        assert_eq!(faults("listener = 1\nkeys = 1\n[facilitator.limits]\n"), 1);
    }
}
