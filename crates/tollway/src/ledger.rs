//! The ledger that the configuration names; with the feature `failpoints`, one that can kill its own process.

use std::sync::Arc;

use anyhow::Context;
use tollway_ledger::Ledger;

/// Opens it. `env:NAME` says that the URL is in the environment, for those with a password.
pub(crate) async fn open(source: &str) -> anyhow::Result<Arc<dyn Ledger>> {
    let url = match source.strip_prefix("env:") {
        Some(name) => {
            std::env::var(name).with_context(|| format!("ledger: environment variable {name} is not set"))?
        }
        None => source.to_owned(),
    };
    let ledger = tollway_ledger::open(&url).await?;
    #[cfg(feature = "failpoints")]
    let ledger = tollway_ledger::kill_point(ledger).map_err(anyhow::Error::msg)?;
    Ok(ledger)
}
