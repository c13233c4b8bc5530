//! Secrets from the environment and from files, wiped when they are no longer needed.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use zeroize::Zeroizing;

use super::source::may_hold_a_key;
use crate::config::read_bounded;

/// The longest secret read.
const MAX_SECRET_BYTES: usize = 4 * 1024;

/// A secret from where a configuration says it is, without the blanks around it. The secret itself has no place in a
/// configuration file.
pub(crate) fn read_secret(source: &str) -> Result<String, String> {
    let text = match source.split_once(':') {
        Some(("env", name)) => variable(name),
        Some(("file", path)) => file(Path::new(path)),
        _ => return Err("must be env:NAME or file:PATH, never the secret itself".to_owned()),
    };
    text.map(|text| text.trim().to_owned()).map_err(|error| format!("{error:#}"))
}

/// A secret as it stands, without what ends its line.
pub(super) fn read_secret_bytes(source: &str) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = match source.split_once(':') {
        Some(("env", name)) => return Ok(Zeroizing::new(variable(name)?.as_bytes().to_vec())),
        Some(("file", path)) => bytes(Path::new(path))?,
        _ => bail!("must be env:NAME or file:PATH, never the password itself"),
    };
    for end in [b'\n', b'\r'] {
        if bytes.last() == Some(&end) {
            bytes.pop();
        }
    }
    Ok(bytes)
}

/// An environment variable.
pub(super) fn variable(name: &str) -> anyhow::Result<Zeroizing<String>> {
    if may_hold_a_key(name) {
        bail!("must be the name of an environment variable, never the secret itself");
    }
    optional(name)?.ok_or_else(|| anyhow!("environment variable {name} is not set"))
}

/// An environment variable, if it is set.
pub(super) fn optional(name: &str) -> anyhow::Result<Option<Zeroizing<String>>> {
    match std::env::var(name) {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => bail!("environment variable {name} is not text"),
    }
}

/// A file's text.
pub(super) fn file(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let bytes = bytes(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| anyhow!("{} is not text", path.display()))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn bytes(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let read =
        File::open(path).map_err(anyhow::Error::from).and_then(|file| read_bounded(file, MAX_SECRET_BYTES));
    read.map(Zeroizing::new).with_context(|| format!("cannot read {}", path.display()))
}
