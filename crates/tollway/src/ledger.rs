//! The ledger that a user names; with the feature `failpoints`, one that can kill its own process.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use tollway_ledger::{Ledger, file_of};

/// Opens it, and makes the file if there is none. `env:NAME` says that the URL is in the environment, for those with a
/// password.
pub(crate) async fn open(source: &str) -> anyhow::Result<Arc<dyn Ledger>> {
    open_url(&url(source)?).await
}

/// Opens one that somebody else has made. What is looked up or ended there would not be in a new one: a name that is
/// mistyped is an error, and no empty file.
pub(crate) async fn open_kept(source: &str) -> anyhow::Result<Arc<dyn Ledger>> {
    let url = url(source)?;
    if let Some(file) = file_of(&url)?
        && !file.is_file()
    {
        bail!("there is no ledger {}", file.display());
    }
    open_url(&url).await
}

/// What is wrong with the name of a ledger, as far as it can be told without opening it.
pub(crate) fn fault(source: &str) -> Option<String> {
    let url = match url(source) {
        Ok(url) => url,
        Err(error) => return Some(format!("ledger: {error:#}")),
    };
    match file_of(&url) {
        Ok(file) => {
            let folder = file?.parent().filter(|folder| *folder != Path::new(""))?;
            (!folder.is_dir()).then(|| format!("ledger: there is no folder {}", folder.display()))
        }
        Err(error) => Some(error.to_string()),
    }
}

async fn open_url(url: &str) -> anyhow::Result<Arc<dyn Ledger>> {
    let ledger = tollway_ledger::open(url).await?;
    #[cfg(feature = "failpoints")]
    let ledger = tollway_ledger::kill_point(ledger).map_err(anyhow::Error::msg)?;
    Ok(ledger)
}

/// Opens it to read it, beside whoever writes it. None if nothing was ever written there: nothing is made.
pub(crate) async fn open_to_read(source: &str) -> anyhow::Result<Option<Arc<dyn Ledger>>> {
    Ok(tollway_ledger::open_to_read(&url(source)?).await?)
}

fn url(source: &str) -> anyhow::Result<String> {
    match source.strip_prefix("env:") {
        Some(name) => std::env::var(name).with_context(|| format!("environment variable {name} is not set")),
        None => Ok(source.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{fault, open_kept};

    #[test]
    fn a_ledger_that_cannot_be_opened_is_a_fault_before_it_is_opened() {
        assert_eq!(fault("sqlite:tollway.db"), None);
        assert_eq!(fault("postgres://user:word@localhost/x"), None);
        for (source, told) in [
            ("", "ledger: must be"),
            ("mysql://user:word@localhost/x", "ledger: must be"),
            ("sqlite:", "ledger: sqlite: needs"),
            ("sqlite:/no/such/folder/tollway.db", "ledger: there is no folder /no/such/folder"),
            ("env:NOT_SET_ANYWHERE", "ledger: environment variable NOT_SET_ANYWHERE is not set"),
        ] {
            let fault = fault(source).unwrap();
            assert!(fault.starts_with(told) && !fault.contains("word"), "{fault}");
        }
    }

    #[tokio::test]
    async fn a_ledger_that_is_looked_into_is_never_made() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mistyped.db");
        let error = open_kept(&format!("sqlite:{}", file.display())).await.unwrap_err();
        assert!(error.to_string().starts_with("there is no ledger "), "{error}");
        assert!(!file.exists());
    }
}
