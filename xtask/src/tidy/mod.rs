//! The rules of the house that no compiler knows. All faults are listed at once.
//!
//! - [`layout`]: names, depth and length of files; length of functions.
//! - [`arrows`]: which crate may depend on which.
//! - [`words`]: words that must not stand where they stand.
//! - [`config`]: documented configuration keys.
//! - [`codes`]: error codes of channels, each with a test.
//! - [`examples`]: public functions shown at work.

mod arrows;
mod codes;
mod config;
mod examples;
mod layout;
mod source;
mod words;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::process::{command, read};

/// A text file of the repository.
#[derive(Debug)]
struct File {
    /// Relative to the repository, with `/`.
    path: String,
    text: String,
}

/// A broken rule, and where.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fault {
    path: String,
    line: Option<usize>,
    rule: String,
}

/// Checks everything.
///
/// # Errors
/// There are faults: they are printed.
pub(crate) fn run(root: &Path) -> Result<()> {
    let files = files(root)?;
    let mut faults = Vec::new();
    for file in &files {
        layout::check(file, &mut faults);
        words::check(file, &mut faults);
        examples::check(file, &mut faults);
    }
    config::check(&files, &mut faults);
    codes::check(&files, &mut faults);
    arrows::check(&arrows::crates(root)?, &mut faults);
    faults.sort();
    for fault in &faults {
        eprintln!("{fault}");
    }
    if !faults.is_empty() {
        bail!("{} faults in {} files", faults.len(), files.len());
    }
    println!("{} files are tidy", files.len());
    Ok(())
}

/// Every text file that is, or would be, committed.
fn files(root: &Path) -> Result<Vec<File>> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"];
    let list = String::from_utf8(read(&mut command(root, "git", &arguments))?)?;
    let file = |path: &str| {
        // What is not UTF-8 is not text; what git still lists may be deleted already.
        let text = std::fs::read_to_string(root.join(PathBuf::from(path))).ok()?;
        Some(File { path: path.to_owned(), text })
    };
    Ok(list.split('\0').filter(|path| !path.is_empty()).filter_map(file).collect())
}

impl File {
    fn fault(&self, line: impl Into<Option<usize>>, rule: impl Into<String>) -> Fault {
        Fault { path: self.path.clone(), line: line.into(), rule: rule.into() }
    }

    fn is_rust(&self) -> bool {
        self.extension() == "rs"
    }

    fn extension(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(_, extension)| extension)
    }

    /// Lines with their numbers.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.rule),
            None => write!(f, "{}: {}", self.path, self.rule),
        }
    }
}

/// For the tests of the rules: what `check` says of one file.
#[cfg(test)]
fn faults_in(check: fn(&File, &mut Vec<Fault>), path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    check(&File { path: path.to_owned(), text: text.to_owned() }, &mut faults);
    faults.iter().map(Fault::to_string).collect()
}
