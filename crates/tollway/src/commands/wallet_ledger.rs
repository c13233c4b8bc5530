//! Where the wallet's ledger is, and which wallet in it is meant: the options that every command over it has in common.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use tollway_evm::Address;
use tollway_ledger::Ledger;

use crate::arguments::name;
use crate::signing::{SourceText, Unlock};

/// The key of a wallet that is not named otherwise.
const DEFAULT_KEY: &str = "env:TOLLWAY_KEY";

/// The ledger, and the wallet's name in it.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct LedgerArgs {
    /// The wallet's ledger: sqlite:FILE, postgres:URL, memory: or env:NAME; $XDG_DATA_HOME/tollway/wallet.db, or else
    /// ~/.tollway/wallet.db. All that share it share budgets, purchases and the kill switch.
    #[arg(long, value_name = "URL", env = "TOLLWAY_WALLET_LEDGER", hide_env_values = true)]
    ledger: Option<String>,
    /// The wallet's name in the ledger; by default the account that pays.
    #[arg(long, value_name = "NAME", env = "TOLLWAY_WALLET", value_parser = name)]
    wallet: Option<String>,
}

/// A wallet as its owner sees it: what is in the ledger. A key is needed only to know its name.
#[derive(Debug, clap::Args)]
pub(crate) struct OwnerArgs {
    #[command(flatten)]
    pub(crate) at: LedgerArgs,
    /// The key whose wallet it is, where it has no name: env:NAME, file:PATH, keystore:NAME or another source.
    #[arg(long, value_name = "SOURCE")]
    pub(crate) key: Option<SourceText>,
    #[command(flatten)]
    pub(crate) unlock: Unlock,
}

/// The ledger and the wallet in it.
#[derive(Debug)]
pub(crate) struct Owned {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) wallet: String,
    /// The account that pays, where it is known: by the key, or because the wallet is named by it.
    pub(crate) account: Option<Address>,
}

impl LedgerArgs {
    /// Opens the ledger, and makes the file if there is none.
    pub(crate) async fn open(&self) -> anyhow::Result<Arc<dyn Ledger>> {
        let source = match &self.ledger {
            Some(source) => source.clone(),
            None => {
                let file = usual_file()?;
                let folder = file.parent().context("the ledger has no folder")?;
                // Payments that can still be presented are as good as money: they are for the owner's eyes.
                let mut builder = std::fs::DirBuilder::new();
                builder.recursive(true);
                #[cfg(unix)]
                std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
                builder.create(folder).with_context(|| format!("cannot make {}", folder.display()))?;
                format!("sqlite:{}", file.display())
            }
        };
        crate::ledger::open(&source).await.context("--ledger")
    }

    /// Opens the ledger to read it. None if nothing was ever written there: nothing is made.
    pub(crate) async fn open_to_read(&self) -> anyhow::Result<Option<Arc<dyn Ledger>>> {
        let source = match &self.ledger {
            Some(source) => source.clone(),
            None => format!("sqlite:{}", usual_file()?.display()),
        };
        crate::ledger::open_to_read(&source).await.context("--ledger")
    }

    /// Opens the ledger that wallets pay from. One that was named must be there: what an owner looks up, freezes or answers
    /// in a file that nobody pays from would change nothing.
    async fn open_kept(&self) -> anyhow::Result<Arc<dyn Ledger>> {
        match &self.ledger {
            Some(source) => crate::ledger::open_kept(source).await.context("--ledger"),
            None => self.open().await,
        }
    }

    /// The name that the user gave. Accounts have one spelling as names, however they are written.
    pub(crate) fn name(&self) -> Option<String> {
        let name = self.wallet.as_ref()?;
        Some(if name.parse::<Address>().is_ok() { name.to_lowercase() } else { name.clone() })
    }
}

impl OwnerArgs {
    /// Opens the ledger, and finds out the wallet's name.
    pub(crate) async fn open(&self) -> anyhow::Result<Owned> {
        let named = self.named().await?;
        let (wallet, account) =
            named.context("which wallet? Say it with --wallet NAME, or give its key with --key")?;
        Ok(Owned { ledger: self.at.open_kept().await?, wallet, account })
    }

    /// The wallet's name, and its account where that is known; none if nobody says which wallet is meant.
    pub(crate) async fn named(&self) -> anyhow::Result<Option<(String, Option<Address>)>> {
        let name = self.at.name();
        let account = match (&self.key, &name) {
            (Some(key), _) => Some(self.unlock.open(key).await.context("--key")?.address()),
            (None, Some(name)) => name.parse().ok(),
            (None, None) if std::env::var_os("TOLLWAY_KEY").is_some() => {
                Some(self.unlock.open(&SourceText::from(DEFAULT_KEY)).await.context("TOLLWAY_KEY")?.address())
            }
            (None, None) => return Ok(None),
        };
        let wallet = name.or_else(|| account.map(|account| account.to_string().to_lowercase()));
        Ok(wallet.map(|wallet| (wallet, account)))
    }
}

fn usual_file() -> anyhow::Result<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = set("XDG_DATA_HOME").map(|folder| folder.join("tollway"));
    let folder = folder.or_else(|| Some(set("HOME")?.join(".tollway")));
    Ok(folder.context("there is no home folder: say where the ledger is with --ledger")?.join("wallet.db"))
}
