//! Making a wallet.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::ClientBuilder;
use tollway_core::extension::builder_code::{BuilderCode, BuilderCodeError, MAX_BUYER_CODES};
use tollway_core::http_signature::MessageSigner;
use tollway_core::{BuyerScheme, ChannelWitness, Clock, SystemClock};
use tollway_evm::batch_settlement::ChannelBuyer;
use tollway_evm::exact::ExactBuyer;
use tollway_evm::offer_receipt::Keys;
use tollway_evm::permit2::{Allowances, UptoBuyer};
use tollway_evm::{AssetTable, LocalSigner, Signer, SignerError};
use tollway_ledger::Ledger;

use crate::approve::Approver;
use crate::credit_account::CreditBuyer;
use crate::http_clients::Settings;
use crate::intent::book::{Book, BookSettings};
use crate::intent::fate::FateWitness;
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
    allowances: Vec<Arc<dyn Allowances>>,
    policy: Policy,
    patience: Patience,
    clock: Option<Arc<dyn Clock>>,
    settings: Option<Settings>,
    signs_in: bool,
    codes: Vec<BuilderCode>,
    message_signer: Option<MessageSigner>,
    keys: Keys,
    book: BookSettings,
    terminal: Option<Arc<dyn Approver>>,
    channel_witnesses: Vec<Arc<dyn ChannelWitness>>,
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
    /// Builder codes that are none.
    #[error(transparent)]
    BuilderCode(#[from] BuilderCodeError),
    /// No HTTP client could be made.
    #[error("no HTTP client: {0}")]
    Http(#[source] reqwest::Error),
}

impl WalletBuilder {
    /// Pays with the account of `key`, a private key: 64 hex digits, with or without `0x`.
    ///
    /// # Errors
    /// [`WalletError::Key`].
    ///
    /// ```
    /// use tollway_buyer::Wallet;
    /// # let key = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
    /// let wallet = Wallet::builder().key(key)?.build()?;
    /// assert_eq!(wallet.address(), Some("0x70997970C51812dc3A010C7d01b50e0d17dc79C8"));
    /// # Ok::<(), tollway_buyer::WalletError>(())
    /// ```
    pub fn key(self, key: &str) -> Result<Self, WalletError> {
        Ok(self.signer(Arc::new(LocalSigner::from_hex(key)?)))
    }

    /// Pays with the account of `signer`: for keys that a service or a device holds.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollway_evm::{LocalSigner, Signer};
    /// let signer = Arc::new(LocalSigner::random()?);
    /// let wallet = tollway_buyer::Wallet::builder().signer(signer.clone()).build()?;
    /// assert_eq!(wallet.address(), Some(signer.address().to_string().as_str()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn signer(mut self, signer: Arc<dyn Signer>) -> Self {
        self.signer = Some(signer);
        self
    }

    /// The assets the wallet knows the worth of; by default those of [`AssetTable::known`].
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_buyer::{Decision, Reason, Wallet};
    /// let wallet = Wallet::builder().key(KEY)?.assets(tollway_evm::AssetTable::empty()).build()?;
    /// let judged = wallet.judge(&required(), &url())?;
    /// assert_eq!(judged[0].decision, Decision::Deny(Reason::UnknownAsset));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn assets(mut self, assets: AssetTable) -> Self {
        self.assets = Some(assets);
        self
    }

    /// Adds a scheme, asked before those that come with the signer.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_evm::{AssetTable, LocalSigner, exact::ExactBuyer};
    /// let exact = ExactBuyer::new(std::sync::Arc::new(LocalSigner::from_hex(KEY)?), AssetTable::known());
    /// let wallet = tollway_buyer::Wallet::builder().scheme(std::sync::Arc::new(exact)).build()?;
    /// assert!(wallet.judge(&required(), &url())?[0].decision.is_allow());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn scheme(mut self, scheme: Arc<dyn BuyerScheme>) -> Self {
        self.schemes.push(scheme);
        self
    }

    /// Asks `allowances`, of one more network, whether the Permit2 contract may take what a payment moves. If it may not, and the
    /// seller's facilitator presents approvals (extension `eip2612GasSponsoring`), one for this very amount is signed beside
    /// the payment: it costs no gas. Where the token takes no signature and the facilitator sends approvals (extension
    /// `erc20ApprovalGasSponsoring`), the account's next transaction is signed for it, and sent by nobody here: the account
    /// pays for its gas as far as it can. Without either such a payment is refused until the wallet's owner approves Permit2.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// use std::sync::Arc;
    /// use tollway_buyer::{Wallet, WalletError};
    /// use tollway_evm::permit2::Allowances;
    /// // With feature `rpc` of tollway-evm, a `Chain` is one.
    /// fn wallet_on(chain: Arc<dyn Allowances>) -> Result<Wallet, WalletError> {
    ///     Wallet::builder().key(KEY)?.allowances(chain).build()
    /// }
    /// # fn main() {}
    /// ```
    #[must_use]
    pub fn allowances(mut self, allowances: Arc<dyn Allowances>) -> Self {
        self.allowances.push(allowances);
        self
    }

    /// The rules to pay by.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_buyer::{Policy, Wallet};
    /// let frugal = Policy::default().cap_per_payment("$0.01".parse()?);
    /// let wallet = Wallet::builder().key(KEY)?.policy(frugal).build()?;
    /// let judged = wallet.judge(&required(), &url())?;
    /// assert_eq!(judged[0].decision.to_string(), "above the cap of $0.01 per payment");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// How long to wait for sellers.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollway_buyer::{Patience, Wallet};
    /// let brief = Patience { total: Duration::from_secs(30), ..Patience::default() };
    /// let builder = Wallet::builder().patience(brief);
    /// ```
    #[must_use]
    pub fn patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Where to read the time; by default the system's clock. Authorizations begin and end by it.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_core::{ManualClock, UnixTime};
    /// let clock = std::sync::Arc::new(ManualClock::new(UnixTime(1_700_000_000)));
    /// let wallet = tollway_buyer::Wallet::builder().key(KEY)?.clock(clock).build()?;
    /// assert_eq!(wallet.pay(&required(), &url()).await?.signed_at, UnixTime(1_700_000_000));
    /// # Ok(()) }
    /// ```
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

    /// Signs in (extension `sign-in-with-x`) where a seller asks who is there, before it pays: who has bought something comes
    /// back for it without paying again. It costs a request more wherever nothing was bought yet.
    ///
    /// ```
    /// # let key = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
    /// let wallet = tollway_buyer::Wallet::builder().key(key)?.sign_in().build()?;
    /// # Ok::<(), tollway_buyer::WalletError>(())
    /// ```
    #[must_use]
    pub fn sign_in(mut self) -> Self {
        self.signs_in = true;
        self
    }

    /// Names this program, and up to four others that it works through, in every payment (extension `builder-code`): they end
    /// on chain with the settlement.
    ///
    /// # Errors
    /// [`WalletError::BuilderCode`].
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let wallet = tollway_buyer::Wallet::builder().key(KEY)?.builder_codes(&["my_agent"])?.build()?;
    /// assert!(tollway_buyer::Wallet::builder().builder_codes(&["My Agent"]).is_err());
    /// # Ok(()) }
    /// ```
    pub fn builder_codes(mut self, codes: &[&str]) -> Result<Self, WalletError> {
        if codes.len() > MAX_BUYER_CODES {
            return Err(BuilderCodeError::TooMany(MAX_BUYER_CODES).into());
        }
        self.codes = codes.iter().map(|code| BuilderCode::new(code)).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Pays on credit from these accounts. Every request is signed with `signer`, whose key the sellers know: that is what
    /// makes a commitment one.
    ///
    /// ```
    /// use tollway_buyer::{CreditBuyer, Wallet};
    /// use tollway_core::http_signature::MessageSigner;
    /// let credit = CreditBuyer::new().account("example-shop", "acme");
    /// let wallet = Wallet::builder().credit(credit, MessageSigner::from_seed(&[7; 32])).build()?;
    /// # Ok::<(), tollway_buyer::WalletError>(())
    /// ```
    #[must_use]
    pub fn credit(self, accounts: CreditBuyer, signer: MessageSigner) -> Self {
        self.scheme(Arc::new(accounts)).message_signer(signer)
    }

    /// Signs every request of the wallet's clients (RFC 9421), so that sellers know which agent asks (extension
    /// `http-message-signatures`). Those with a stream for a body are signed without it.
    ///
    /// ```
    /// # let key = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
    /// use tollway_core::http_signature::MessageSigner;
    /// let agent = MessageSigner::from_seed(&[7; 32]).publishing("https://agent.example");
    /// let wallet = tollway_buyer::Wallet::builder().key(key)?.message_signer(agent).build()?;
    /// # Ok::<(), tollway_buyer::WalletError>(())
    /// ```
    #[must_use]
    pub fn message_signer(mut self, signer: MessageSigner) -> Self {
        self.message_signer = Some(signer);
        self
    }

    /// Keys that are known to be of sellers, for signed offers and receipts that payTo has not signed itself.
    ///
    /// ```
    /// # let key = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
    /// use tollway_evm::{Address, offer_receipt::Keys};
    /// let keys = Keys::default().account(Address::repeat_byte(7));
    /// let wallet = tollway_buyer::Wallet::builder().key(key)?.seller_keys(keys).build()?;
    /// # Ok::<(), tollway_buyer::WalletError>(())
    /// ```
    #[must_use]
    pub fn seller_keys(mut self, keys: Keys) -> Self {
        self.keys = keys;
        self
    }

    /// Who sits in front of the program: asked where the policy says that somebody at a terminal must be. Without one the
    /// answer is no. Queues and web hooks are asked without it.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// use std::sync::Arc;
    /// use tollway_buyer::{Approver, Wallet, WalletError};
    /// fn asking(terminal: Arc<dyn Approver>) -> Result<Wallet, WalletError> {
    ///     Wallet::builder().key(KEY)?.terminal(terminal).build()
    /// }
    /// # fn main() {}
    /// ```
    #[must_use]
    pub fn terminal(mut self, terminal: Arc<dyn Approver>) -> Self {
        self.terminal = Some(terminal);
        self
    }

    /// Where purchases and budgets are written down, for all processes that share it; by default in this process's memory.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::Arc;
    /// use tollway_ledger::MemoryLedger;
    /// // One file for all processes of a machine: `SqliteLedger`; for a fleet: `PostgresLedger`.
    /// let wallet = tollway_buyer::Wallet::builder().key(KEY)?.ledger(Arc::new(MemoryLedger::new())).build()?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn ledger(mut self, ledger: Arc<dyn Ledger>) -> Self {
        self.book.ledger = Some(ledger);
        self
    }

    /// Its name in its ledger, where wallets with the same name share purchases and budgets; by default the payer's address.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let wallet = tollway_buyer::Wallet::builder().key(KEY)?.name("research").build()?;
    /// assert_eq!(wallet.name(), "research");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.book.name = Some(name.to_owned());
        self
    }

    /// How long a request stays the same purchase: with a key of its caller's at most, and without one until its answer was
    /// read. 24 hours by default.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// let wallet = tollway_buyer::Wallet::builder().key(KEY)?.repeat_window(Duration::from_secs(600)).build()?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn repeat_window(mut self, window: Duration) -> Self {
        self.book.repeat = Some(window);
        self
    }

    /// A node of one more network, of the owner's choice: it is asked what became of payments, and what is in channels.
    /// Without one, what is signed and whose fate nobody knows counts as spent for ever.
    ///
    /// ```no_run
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tollway_core::Network;
    /// let node = tollway_evm::Chain::connect("https://mainnet.base.org", &Network::evm(8453), Duration::from_secs(5))?;
    /// let wallet = tollway_buyer::Wallet::builder().key(KEY)?.chain(node).build()?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "rpc")]
    #[must_use]
    pub fn chain(self, node: tollway_evm::Chain) -> Self {
        let channels = Arc::new(crate::channel::node::NodeChannels(node.clone()));
        self.channel_witness(channels).fate_witness(Arc::new(crate::intent::fate::NodeWitness(node)))
    }

    /// Whoever else can say what became of payments on some network.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// use std::sync::Arc;
    /// use tollway_buyer::{FateWitness, Wallet, WalletError};
    /// fn wallet_with_witness(witness: Arc<dyn FateWitness>) -> Result<Wallet, WalletError> {
    ///     Wallet::builder().key(KEY)?.fate_witness(witness).build()
    /// }
    /// # fn main() {}
    /// ```
    #[must_use]
    pub fn fate_witness(mut self, witness: Arc<dyn FateWitness>) -> Self {
        self.book.witnesses.push(witness);
        self
    }

    /// Whoever sees what is in channels on some network: with it channels are found again when nothing is written of them, and
    /// what came back of one no longer counts as exposure.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// use std::sync::Arc;
    /// use tollway_buyer::{Wallet, WalletError};
    /// use tollway_core::ChannelWitness;
    /// fn wallet_with_witness(witness: Arc<dyn ChannelWitness>) -> Result<Wallet, WalletError> {
    ///     Wallet::builder().key(KEY)?.channel_witness(witness).build()
    /// }
    /// # fn main() {}
    /// ```
    #[must_use]
    pub fn channel_witness(mut self, witness: Arc<dyn ChannelWitness>) -> Self {
        self.channel_witnesses.push(witness);
        self
    }

    /// The wallet.
    ///
    /// # Errors
    /// [`WalletError::NothingToSignWith`].
    ///
    /// ```
    /// use tollway_buyer::{Wallet, WalletError};
    /// assert!(matches!(Wallet::builder().build(), Err(WalletError::NothingToSignWith)));
    /// ```
    pub fn build(self) -> Result<Wallet, WalletError> {
        let mut schemes = self.schemes;
        let mut address = None;
        if let Some(signer) = self.signer.clone() {
            address = Some(signer.address().to_string());
            let assets = self.assets.unwrap_or_else(AssetTable::known);
            let mut exact = ExactBuyer::new(Arc::clone(&signer), assets.clone());
            let mut upto = UptoBuyer::new(Arc::clone(&signer), assets.clone());
            let mut channels = ChannelBuyer::new(signer, assets);
            if let Some(name) = &self.book.name {
                channels = channels.with_label(name);
            }
            for known in &self.allowances {
                exact = exact.allowances(Arc::clone(known));
                upto = upto.allowances(Arc::clone(known));
                channels = channels.allowances(Arc::clone(known));
            }
            for witness in self.channel_witnesses {
                channels = channels.witness(witness);
            }
            schemes.push(Arc::new(exact));
            schemes.push(Arc::new(upto));
            schemes.push(Arc::new(channels));
        }
        if schemes.is_empty() {
            return Err(WalletError::NothingToSignWith);
        }
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock));
        let book = Book::new(self.book, Arc::clone(&clock), address.as_deref());
        Ok(Wallet::new(Inner {
            address,
            book,
            terminal: self.terminal,
            signer: self.signer,
            schemes,
            policy: self.policy,
            patience: self.patience,
            clock,
            settings: self.settings,
            http: OnceLock::new(),
            tally: Tally::default(),
            signs_in: self.signs_in,
            codes: self.codes,
            message_signer: self.message_signer,
            keys: self.keys,
        }))
    }
}

impl fmt::Debug for WalletBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.signer.as_ref().map(|signer| signer.address());
        f.debug_struct("WalletBuilder").field("address", &address).finish_non_exhaustive()
    }
}
