//! The account that a command of `tollway wallet` is about: of a key by its name, of a key from anywhere, or any account.

use anyhow::{Context, bail};
use tollway_evm::{Address, Signer};

use crate::signing::{Folder, KeySource, SourceText, Unlock};

/// Whose account.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false, args = ["account", "key"])]
pub(crate) struct AccountArgs {
    /// The name of a key in the folder of keystores, or an account (0x…).
    #[arg(value_name = "NAME")]
    account: Option<SourceText>,
    /// A key from anywhere: env:NAME, file:PATH, keystore:NAME, web3signer:URL/ADDRESS, aws-kms:KEY or gcp-kms:RESOURCE.
    #[arg(long, value_name = "SOURCE")]
    key: Option<SourceText>,
    #[command(flatten)]
    unlock: Unlock,
}

impl AccountArgs {
    /// The account. A keystore's file is taken at its word, unless it says nothing or `is_proven` asks for its key.
    pub(crate) async fn address(&self, is_proven: bool) -> anyhow::Result<Address> {
        let Some(account) = &self.account else {
            let Some(key) = &self.key else { bail!("either NAME or --key is required") };
            return Ok(self.unlock.open(key).await.context("--key")?.address());
        };
        let KeySource::Keystore(name) = account.as_name()? else { bail!("must be the name of a key") };
        if let (Ok(address), false) = (name.parse(), is_proven) {
            return Ok(address);
        }
        let entry = Folder::of(&self.unlock.folder)?.find(&name)?;
        match (entry.address(), is_proven) {
            (Some(address), false) => Ok(address),
            _ => Ok(self.unlock.local(&KeySource::Keystore(name))?.address()),
        }
    }
}
