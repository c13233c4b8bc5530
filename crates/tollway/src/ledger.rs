//! The ledger that the configuration names; with the feature `failpoints`, one that can kill its own process.

use std::sync::Arc;

use anyhow::Context;
use tollway_ledger::Ledger;

/// Opens it. `env:NAME` says that the URL is in the environment, for those with a password.
pub(crate) async fn open(source: &str) -> anyhow::Result<Arc<dyn Ledger>> {
    let ledger = tollway_ledger::open(&url(source)?).await?;
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
        Some(name) => {
            std::env::var(name).with_context(|| format!("ledger: environment variable {name} is not set"))
        }
        None => Ok(source.to_owned()),
    }
}
