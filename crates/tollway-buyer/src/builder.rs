//! Making a wallet.

use std::fmt;
use std::sync::{Arc, OnceLock};

use reqwest::ClientBuilder;
use tollway_core::{BuyerScheme, Clock, SystemClock};
use tollway_evm::exact::ExactBuyer;
use tollway_evm::{AssetTable, LocalSigner, Signer, SignerError};

use crate::http_clients::Settings;
use crate::policy::Policy;
use crate::present::Patience;
use crate::spent::Tally;
use crate::wallet::{Inner, Wallet};

/// A wallet under construction: [`Wallet::builder`].
#[derive(Default)]
pub struct WalletBuilder {
    signer: Option<Arc<dyn Signer>>,
    assets: Option<AssetTable>,
    schemes: Vec<Arc<dyn BuyerScheme>>,
    policy: Policy,
    patience: Patience,
    clock: Option<Arc<dyn Clock>>,
    settings: Option<Settings>,
}

/// Why there is no wallet, or no client of it. Never holds a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalletError {
    /// The key is not one.
    #[error(transparent)]
    Key(#[from] SignerError),
    /// The wallet has nothing to pay with.
    #[error("a wallet needs a key, a signer or a scheme")]
    NothingToSignWith,
    /// No HTTP client could be made.
    #[error("no HTTP client: {0}")]
    Http(#[source] reqwest::Error),
}

impl WalletBuilder {
    /// Pays with the account of `key`, a private key in hex.
    ///
    /// # Errors
    /// [`WalletError::Key`].
    pub fn key(self, key: &str) -> Result<Self, WalletError> {
        Ok(self.signer(Arc::new(LocalSigner::from_hex(key)?)))
    }

    /// Pays with the account of `signer`.
    #[must_use]
    pub fn signer(mut self, signer: Arc<dyn Signer>) -> Self {
        self.signer = Some(signer);
        self
    }

    /// The assets the wallet knows the worth of; by default those of [`AssetTable::known`].
    #[must_use]
    pub fn assets(mut self, assets: AssetTable) -> Self {
        self.assets = Some(assets);
        self
    }

    /// Adds a scheme, asked before those that come with the signer.
    #[must_use]
    pub fn scheme(mut self, scheme: Arc<dyn BuyerScheme>) -> Self {
        self.schemes.push(scheme);
        self
    }

    /// The rules to pay by.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// How long to wait for sellers.
    #[must_use]
    pub fn patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Where to read the time.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Settings for every HTTP client of the wallet: timeouts, proxies, certificates, default headers. What
    /// they say about redirects counts for requests without a payment only.
    ///
    /// ```
    /// # let key = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
    /// let wallet = tollway_buyer::Wallet::builder()
    ///     .key(key)?
    ///     .http(|client| client.user_agent("agent/1").connect_timeout(std::time::Duration::from_secs(5)))
    ///     .build()?;
    /// # Ok::<(), tollway_buyer::WalletError>(())
    /// ```
    #[must_use]
    pub fn http(mut self, settings: impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static) -> Self {
        self.settings = Some(Arc::new(settings));
        self
    }

    /// The wallet.
    ///
    /// # Errors
    /// [`WalletError::NothingToSignWith`].
    pub fn build(self) -> Result<Wallet, WalletError> {
        let mut schemes = self.schemes;
        let mut address = None;
        if let Some(signer) = self.signer {
            address = Some(signer.address().to_string());
            let assets = self.assets.unwrap_or_else(AssetTable::known);
            schemes.push(Arc::new(ExactBuyer::new(signer, assets)));
        }
        if schemes.is_empty() {
            return Err(WalletError::NothingToSignWith);
        }
        Ok(Wallet::new(Inner {
            address,
            schemes,
            policy: self.policy,
            patience: self.patience,
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock)),
            settings: self.settings,
            http: OnceLock::new(),
            tally: Tally::default(),
        }))
    }
}

impl fmt::Debug for WalletBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.signer.as_ref().map(|signer| signer.address());
        f.debug_struct("WalletBuilder").field("address", &address).finish_non_exhaustive()
    }
}
