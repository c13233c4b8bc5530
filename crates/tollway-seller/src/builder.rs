//! Configuring a paywall: what can be set, and what it is if it is not. Checking it is in [`crate::start`].

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::request::Parts;
use tollway_core::{
    ChannelWitness, Clock, Facilitator, Money, SchemeName, SellerScheme, SettlementWitness, SystemClock,
};
use tollway_evm::AssetTable;
use tollway_evm::offer_receipt::Issuer;
use tollway_ledger::Ledger;

use crate::channel::ChannelRules;
use crate::claim::ClaimPolicy;
use crate::coin::Coin;
use crate::cors::Cors;
use crate::extension::Extensions;
use crate::identifier::IdentifierRule;
use crate::paywall::{Limits, RequestUri};
use crate::phase::Confirmation;
use crate::stored::StoredResponses;

/// What a buyer may take by default, as the published sellers have it.
pub(crate) const MAX_TIMEOUT_SECONDS: u64 = 300;

/// A paywall being configured: see [`Paywall::builder`](crate::Paywall::builder).
#[derive(Debug)]
#[must_use = "a paywall does nothing until it is started"]
pub struct PaywallBuilder {
    pub(crate) public_base_url: String,
    pub(crate) accepts: Vec<Accept>,
    /// Coins without a network.
    pub(crate) homeless: Vec<Coin>,
    pub(crate) schemes: Vec<Arc<dyn SellerScheme>>,
    pub(crate) assets: AssetTable,
    pub(crate) facilitator: Option<Arc<dyn Facilitator>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cors: Cors,
    pub(crate) limits: Limits,
    pub(crate) max_timeout_seconds: u64,
    pub(crate) max_reservations: usize,
    pub(crate) max_verifies: usize,
    pub(crate) start_deadline: Duration,
    pub(crate) request_uri: Option<RequestUri>,
    pub(crate) ledger: Option<Arc<dyn Ledger>>,
    pub(crate) name: Option<String>,
    pub(crate) stored: StoredResponses,
    pub(crate) identifier: Option<IdentifierRule>,
    pub(crate) confirmation: Option<Confirmation>,
    pub(crate) keys_only: bool,
    pub(crate) offer_issuer: Option<Issuer>,
    pub(crate) receipt_issuer: Option<Issuer>,
    /// On every route.
    pub(crate) extensions: Extensions,
    pub(crate) max_marks: u64,
    pub(crate) channel_rules: ChannelRules,
    pub(crate) channel_witness: Option<Arc<dyn ChannelWitness>>,
    pub(crate) claim_policy: ClaimPolicy,
}

/// A network accepted, as written.
#[derive(Clone, Debug)]
pub(crate) struct Accept {
    pub(crate) scheme: SchemeName,
    pub(crate) network: String,
    pub(crate) pay_to: String,
    pub(crate) coins: Vec<Coin>,
}

impl PaywallBuilder {
    pub(crate) fn new(public_base_url: String) -> Self {
        Self {
            public_base_url,
            accepts: Vec::new(),
            homeless: Vec::new(),
            schemes: Vec::new(),
            assets: AssetTable::known(),
            facilitator: None,
            clock: Arc::new(SystemClock),
            cors: Cors::default(),
            limits: Limits {
                body_bytes: 1024 * 1024,
                body_timeout: Duration::from_secs(30),
                verify_timeout: Duration::from_secs(95),
                settle_timeout: Duration::from_secs(95),
                pending_wait: Duration::from_secs(1),
                price_timeout: Duration::from_secs(10),
            },
            max_timeout_seconds: MAX_TIMEOUT_SECONDS,
            max_reservations: 1_000_000,
            max_verifies: 1_024,
            start_deadline: Duration::from_secs(10),
            request_uri: None,
            ledger: None,
            name: None,
            stored: StoredResponses::default(),
            identifier: None,
            confirmation: None,
            keys_only: false,
            offer_issuer: None,
            receipt_issuer: None,
            extensions: Extensions::new(),
            max_marks: 1_000_000,
            channel_rules: ChannelRules::default(),
            channel_witness: None,
            claim_policy: ClaimPolicy::default(),
        }
    }

    /// Accepts payment to `pay_to` on `network`, a CAIP-2 identifier, by scheme `exact`. The first one is
    /// the favourite. On EVM `pay_to` is 20 bytes of hex, with an EIP-55 checksum if it mixes cases.
    /// [`Self::start`] says what is wrong with either.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = builder().accept("eip155:84532", "0x209693Bc6afc0C5328bA36FaF03C514EF312287C");
    /// let paywall = builder.start().await?;
    /// let asked = asked(paywall.price("$0.01")?).await;
    /// assert_eq!(asked.accepts[1].network.as_str(), "eip155:84532");
    /// # Ok(()) }
    /// ```
    pub fn accept(self, network: impl Into<String>, pay_to: impl Into<String>) -> Self {
        self.accept_by(SchemeName::EXACT, network, pay_to)
    }

    /// Accepts payment by another scheme, added with [`Self::scheme`].
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_core::SchemeName;
    /// let builder = builder().accept_by(SchemeName::new("upto"), "eip155:8453", PAY_TO);
    /// let fault = &builder.start().await.unwrap_err().faults[0];
    /// assert!(fault.ends_with("no scheme upto for this network is built in"), "{fault}");
    /// # Ok(()) }
    /// ```
    pub fn accept_by(
        mut self,
        scheme: SchemeName,
        network: impl Into<String>,
        pay_to: impl Into<String>,
    ) -> Self {
        let (network, pay_to) = (network.into(), pay_to.into());
        self.accepts.push(Accept { scheme, network, pay_to, coins: Vec::new() });
        self
    }

    /// Says what prices in dollars are taken in on the network that was accepted last: each of these assets is offered, the
    /// favourite first. Without it that is the network's usual dollar alone. An asset may have a factor, and a [`Guard`]
    /// that watches its price; see [`Coin`].
    ///
    /// [`Guard`]: crate::Guard
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_seller::{Coin, FileSource, Guard};
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("rates.json");
    /// std::fs::write(&path, r#"{"EURC": 1.0832}"#)?;
    /// let euro = Guard::new(FileSource::new(&path, "/EURC")).band("0.95", "1.35");
    /// let paywall = builder().coins([Coin::new("USDC"), Coin::new("EURC").guard(euro)]).start().await?;
    /// let asked = asked(paywall.price("$0.01")?).await;
    /// let amounts: Vec<_> = asked.accepts.iter().map(|offer| offer.amount.to_string()).collect();
    /// assert_eq!(amounts, ["10000", "9232"]);
    /// # Ok(()) }
    /// ```
    pub fn coins<C: Into<Coin>>(mut self, coins: impl IntoIterator<Item = C>) -> Self {
        let Self { accepts, homeless, .. } = &mut self;
        accepts
            .last_mut()
            .map_or(homeless, |accept| &mut accept.coins)
            .extend(coins.into_iter().map(Into::into));
        self
    }

    /// Sets who verifies and settles.
    ///
    /// ```
    /// use tollway_seller::{HttpFacilitator, Paywall};
    /// let facilitator = HttpFacilitator::new("https://facilitator.example")?;
    /// let builder = Paywall::builder("https://api.example.com").facilitator(facilitator);
    /// # Ok::<(), tollway_seller::FacilitatorUrlError>(())
    /// ```
    pub fn facilitator(self, facilitator: impl Facilitator + 'static) -> Self {
        self.shared_facilitator(Arc::new(facilitator))
    }

    /// Sets who verifies and settles: one that others use too.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollway_seller::{HttpFacilitator, Paywall};
    /// let shared = Arc::new(HttpFacilitator::new("https://facilitator.example")?);
    /// let shop = Paywall::builder("https://shop.example.com").shared_facilitator(shared.clone());
    /// let blog = Paywall::builder("https://blog.example.com").shared_facilitator(shared);
    /// # Ok::<(), tollway_seller::FacilitatorUrlError>(())
    /// ```
    pub fn shared_facilitator(mut self, facilitator: Arc<dyn Facilitator>) -> Self {
        self.facilitator = Some(facilitator);
        self
    }

    /// Sets the assets that prices in money mean: those of [`AssetTable::known`] by default. A price that
    /// names its asset needs no table.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_evm::AssetTable;
    /// let paywall = builder().assets(AssetTable::empty()).start().await?;
    /// assert!(paywall.price("$0.01").is_err(), "nothing stands for a dollar");
    /// # Ok(()) }
    /// ```
    pub fn assets(mut self, assets: AssetTable) -> Self {
        self.assets = assets;
        self
    }

    /// Sets where payments are remembered. By default that is this process's memory: after a restart only the chain
    /// still refuses a used payment, and two processes behind one payTo do not know of each other. Sellers that share
    /// a ledger serve each payment once among them.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::Arc;
    /// use tollway_ledger::MemoryLedger;
    /// let ledger = Arc::new(MemoryLedger::default());
    /// let (one, other) = (builder().ledger(ledger.clone()).start().await?, builder().ledger(ledger).start().await?);
    /// let running = ticket(&one).await?;
    /// assert_eq!(other.reservation_count().await, Ok(1));
    /// # Ok(()) }
    /// ```
    pub fn ledger(mut self, ledger: Arc<dyn Ledger>) -> Self {
        self.ledger = Some(ledger);
        self
    }

    /// How many purchases and used nonces the ledger may remember for who signs in ([`Priced::sign_in`](crate::Priced::sign_in)):
    /// a million by default, counted now and then. Above that nobody new is remembered, and nobody is let in.
    ///
    /// ```
    /// let builder = tollway_seller::Paywall::builder("https://api.example.com").max_remembered(10_000);
    /// ```
    pub fn max_remembered(mut self, count: u64) -> Self {
        self.max_marks = count;
        self
    }

    /// Names this process among the sellers of its ledger, which lets it take over from itself at once when it is
    /// started again. Two that run under one name stop each other: the later one goes on. By default the name is
    /// random, and what an ended process held is free after ten seconds.
    ///
    /// ```
    /// let builder = tollway_seller::Paywall::builder("https://api.example.com").name("shop-1");
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets which answers are kept for who presents the same payment again: small ones, for ten minutes, by default.
    ///
    /// ```
    /// use tollway_seller::{Paywall, StoredResponses};
    /// let builder = Paywall::builder("https://api.example.com")
    ///     .stored_responses(StoredResponses::default().age_seconds(60).require_identifier());
    /// ```
    pub const fn stored_responses(mut self, stored: StoredResponses) -> Self {
        self.stored = stored;
        self
    }

    /// Declares the extension `payment-identifier` on every route: see
    /// [`Priced::payment_identifier`](crate::Priced::payment_identifier).
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_seller::IdentifierRule;
    /// let paywall = builder().payment_identifier(IdentifierRule::Optional).start().await?;
    /// assert_eq!(asked(paywall.price("$0.01")?).await.extensions["payment-identifier"]["info"]["required"], false);
    /// # Ok(()) }
    /// ```
    pub const fn payment_identifier(mut self, rule: IdentifierRule) -> Self {
        self.identifier = Some(rule);
        self
    }

    /// Signs the offers of every 402 (extension `offer-receipt`): buyers, and whoever they show them to, can check that the
    /// seller made them. What is signed is kept, and signed anew long before it expires: see `docs/receipts.md`.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::Arc;
    /// use tollway_evm::offer_receipt::{Issuer, offers_in};
    /// let issuer = Issuer::eip712(Arc::new(tollway_evm::LocalSigner::random()?));
    /// let paywall = builder().sign_offers(issuer).start().await?;
    /// let asked = asked(paywall.price("$0.01")?).await;
    /// assert!(offers_in(&asked.extensions)?[0].terms().is_of(&asked.accepts[0]));
    /// # Ok(()) }
    /// ```
    pub fn sign_offers(mut self, issuer: Issuer) -> Self {
        self.offer_issuer = Some(issuer);
        self
    }

    /// Signs a receipt for every request that was paid for and served (extension `offer-receipt`). It travels in the
    /// settlement response, so an answer that leaves before it has settled has none.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::Arc;
    /// use tollway_evm::offer_receipt::{Issuer, receipt_in};
    /// let issuer = Issuer::eip712(Arc::new(tollway_evm::LocalSigner::random()?));
    /// let paywall = builder().sign_receipts(issuer).start().await?;
    /// let told = ticket(&paywall).await?.settle(tollway_seller::Charge::Full).await?;
    /// let receipt = receipt_in(&told.settlement.unwrap().extensions)?.unwrap();
    /// assert_eq!(receipt.terms().resource_url, "https://api.example.com/data");
    /// # Ok(()) }
    /// ```
    pub fn sign_receipts(mut self, issuer: Issuer) -> Self {
        self.receipt_issuer = Some(issuer);
        self
    }

    /// Has settlements of more than `above` confirmed by `witness`, on a node of the seller's own, before anything is
    /// served for them: the facilitator's word is enough for no more than that. Of assets that do not stand for dollars
    /// every one is confirmed. A success that the chain disproves is a bad answer, and the payment is held; one that the
    /// chain does not show yet is pending.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::Arc;
    /// use tollway_core::model::FacilitatorRequest;
    /// use tollway_core::{BoxFuture, Network, SettlementWitness, Witnessed};
    /// /// Sees no transfer in anything.
    /// #[derive(Debug)]
    /// struct Doubter;
    /// impl SettlementWitness for Doubter {
    ///     fn covers(&self, _: &Network) -> bool {
    ///         true
    ///     }
    ///     fn confirm<'a>(&'a self, _: &'a FacilitatorRequest, _: &'a str) -> BoxFuture<'a, Witnessed> {
    ///         Box::pin(std::future::ready(Witnessed::Disproved))
    ///     }
    /// }
    /// let paywall = builder().confirm_settlements(Arc::new(Doubter), "$0.005".parse()?).start().await?;
    /// let denial = ticket(&paywall).await?.settle(tollway_seller::Charge::Full).await.unwrap_err();
    /// assert_eq!(denial.code(), "facilitator_bad_answer");
    /// # Ok(()) }
    /// ```
    pub fn confirm_settlements(mut self, witness: Arc<dyn SettlementWitness>, above: Money) -> Self {
        self.confirmation = Some(Confirmation { witness, above });
        self
    }

    /// Takes payments by plain keys only, whose signature this process checks itself. Whether an account with code
    /// (a contract, ERC-1271, ERC-6492) has signed, only the chain can say: without this such a payment is taken on the
    /// facilitator's word, and settled before anything is served.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let paywall = builder().keys_only().start().await?;
    /// # drop(paywall);
    /// # Ok(()) }
    /// ```
    pub const fn keys_only(mut self) -> Self {
        self.keys_only = true;
        self
    }

    /// Sets how channels are dealt with (scheme `batch-settlement`, added with [`Self::scheme`]): see [`ChannelRules`].
    ///
    /// ```
    /// use tollway_seller::{ChannelRules, Paywall};
    /// let rules = ChannelRules::default().max_age_seconds(30).max_channels(10_000);
    /// let builder = Paywall::builder("https://api.example.com").channels(rules);
    /// ```
    pub fn channels(mut self, rules: ChannelRules) -> Self {
        self.channel_rules = rules;
        self
    }

    /// Sets when what was charged on channels is claimed: see [`ClaimPolicy`].
    ///
    /// ```
    /// use tollway_seller::{ClaimPolicy, Paywall};
    /// let policy = ClaimPolicy::default().max_age_seconds(6 * 3_600).max_waiting(1_000);
    /// let builder = Paywall::builder("https://api.example.com").claims(policy);
    /// ```
    pub fn claims(mut self, policy: ClaimPolicy) -> Self {
        self.claim_policy = policy;
        self
    }

    /// Has what stands behind channels read by `witness`, on a node of the seller's own, and not taken on the facilitator's
    /// word.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::Arc;
    /// use tollway_core::{Backing, BoxFuture, ChannelKey, ChannelWitness, FacilitatorError, Network};
    /// /// Sees an empty chain.
    /// #[derive(Debug)]
    /// struct Desert;
    /// impl ChannelWitness for Desert {
    ///     fn covers(&self, _: &Network) -> bool {
    ///         true
    ///     }
    ///     fn backings<'a>(
    ///         &'a self,
    ///         channels: &'a [ChannelKey],
    ///     ) -> BoxFuture<'a, Result<Vec<Backing>, FacilitatorError>> {
    ///         Box::pin(std::future::ready(Ok(vec![Backing::default(); channels.len()])))
    ///     }
    /// }
    /// let paywall = builder().channel_witness(Arc::new(Desert)).start().await?;
    /// # drop(paywall);
    /// # Ok(()) }
    /// ```
    pub fn channel_witness(mut self, witness: Arc<dyn ChannelWitness>) -> Self {
        self.channel_witness = Some(witness);
        self
    }

    /// Adds a scheme. It goes before a built-in one of the same name.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_evm::{AssetTable, exact::ExactSeller};
    /// let paywall = builder().scheme(ExactSeller::new(AssetTable::empty())).start().await?;
    /// assert!(paywall.price("$0.01").is_err(), "the built-in scheme is not asked");
    /// # Ok(()) }
    /// ```
    pub fn scheme(mut self, scheme: impl SellerScheme + 'static) -> Self {
        self.schemes.push(Arc::new(scheme));
        self
    }

    /// Sets which pages may read answers: those of any origin by default.
    ///
    /// ```
    /// use tollway_seller::{Cors, Paywall};
    /// let builder = Paywall::builder("https://api.example.com")
    ///     .cors(Cors::Origins(vec!["https://app.example.com".to_owned()]));
    /// ```
    pub fn cors(mut self, cors: Cors) -> Self {
        self.cors = cors;
        self
    }

    /// Sets how long a payment may take, seconds: 300 by default. Offers say it as `maxTimeoutSeconds`
    /// (specification v2, section 5.1.2), and buyers sign authorizations that expire by it.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let paywall = builder().max_timeout_seconds(60).start().await?;
    /// assert_eq!(asked(paywall.price("$0.01")?).await.accepts[0].max_timeout_seconds, 60);
    /// # Ok(()) }
    /// ```
    pub const fn max_timeout_seconds(mut self, seconds: u64) -> Self {
        self.max_timeout_seconds = seconds;
        self
    }

    /// Limits the body of a paid request: 1 MiB by default. It is read to bind the payment to it. A longer
    /// one is answered with 413, and the payment stays free.
    ///
    /// ```
    /// let builder = tollway_seller::Paywall::builder("https://api.example.com").max_body_bytes(64 * 1024);
    /// ```
    pub const fn max_body_bytes(mut self, bytes: usize) -> Self {
        self.limits.body_bytes = bytes;
        self
    }

    /// Limits how many payments are remembered: a million by default, at least 1. A full table denies, with 503: a
    /// payment that is not remembered could be used twice.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_seller::Denial;
    /// let paywall = builder().max_reservations(1).start().await?;
    /// let running = ticket(&paywall).await;
    /// assert!(matches!(ticket(&paywall).await, Err(Denial::Full)));
    /// # Ok(()) }
    /// ```
    pub const fn max_reservations(mut self, count: usize) -> Self {
        self.max_reservations = count;
        self
    }

    /// Limits how many payments are verified at once: 1024 by default, at least 1. More are answered with 503.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let paywall = builder().facilitator(Clerk::Silent).max_verifies(1).start().await?;
    /// tokio::select! {
    ///     biased;
    ///     _ = ticket(&paywall) => unreachable!("the facilitator is silent"),
    ///     second = ticket(&paywall) => assert_eq!(second.unwrap_err().code(), "facilitator_unavailable"),
    /// }
    /// # Ok(()) }
    /// ```
    pub const fn max_verifies(mut self, count: usize) -> Self {
        self.max_verifies = count;
        self
    }

    /// Sets how long `verify` may take: 95 s by default, a little more than
    /// [`HttpFacilitator`](crate::HttpFacilitator) waits. After that the payment is free again.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let paywall = builder().facilitator(Clerk::Silent).verify_timeout_ms(2_000).start().await?;
    /// assert_eq!(ticket(&paywall).await.unwrap_err().code(), "facilitator_unavailable");
    /// # Ok(()) }
    /// ```
    pub const fn verify_timeout_ms(mut self, milliseconds: u64) -> Self {
        self.limits.verify_timeout = Duration::from_millis(milliseconds);
        self
    }

    /// Sets how long `settle` may take: 95 s by default. After that the fate of the payment is unknown, and
    /// it is held for the same request.
    ///
    /// ```
    /// let builder = tollway_seller::Paywall::builder("https://api.example.com").settle_timeout_ms(30_000);
    /// ```
    pub const fn settle_timeout_ms(mut self, milliseconds: u64) -> Self {
        self.limits.settle_timeout = Duration::from_millis(milliseconds);
        self
    }

    /// Sets the wait before a pending settlement is asked about again: 1 s by default. It is asked about
    /// once; if it is still pending, the buyer is told so and presents the payment again.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let paywall = builder().facilitator(Clerk::Pends).pending_wait_ms(250).start().await?;
    /// let (ticket, asked) = (ticket(&paywall).await.unwrap(), tokio::time::Instant::now());
    /// let denial = ticket.settle(tollway_seller::Charge::Full).await.unwrap_err();
    /// assert_eq!(denial.code(), "settlement_pending");
    /// assert_eq!(asked.elapsed().as_millis(), 250);
    /// # Ok(()) }
    /// ```
    pub const fn pending_wait_ms(mut self, milliseconds: u64) -> Self {
        self.limits.pending_wait = Duration::from_millis(milliseconds);
        self
    }

    /// Sets how long the start may wait for the facilitator, which may be starting itself: 10 s by default.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let nobody = tollway_seller::HttpFacilitator::new("http://127.0.0.1:1")?;
    /// let error = builder().facilitator(nobody).start_deadline_ms(100).start().await.unwrap_err();
    /// assert!(error.faults[0].starts_with("facilitator: "), "{error}");
    /// # Ok(()) }
    /// ```
    pub const fn start_deadline_ms(mut self, milliseconds: u64) -> Self {
        self.start_deadline = Duration::from_millis(milliseconds);
        self
    }

    /// Sets where the time is read: the system's clock by default. Tests set one that stands still.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::Arc;
    /// use tollway_core::{ErrorCode, ManualClock, UnixTime};
    /// let paywall = builder().clock(Arc::new(ManualClock::new(UnixTime(4_102_444_800)))).start().await?;
    /// let denial = ticket(&paywall).await.unwrap_err();
    /// assert_eq!(denial.code(), ErrorCode::INVALID_EXACT_EVM_PAYLOAD_AUTHORIZATION_VALID_BEFORE.as_str());
    /// # Ok(()) }
    /// ```
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Says how to read the URI a buyer asked for, where a router has cut a prefix off it. Without it, two
    /// nested routers with the same inner path look like one resource.
    ///
    /// ```
    /// use axum::extract::OriginalUri;
    /// let builder = tollway_seller::Paywall::builder("https://api.example.com")
    ///     .request_uri(|parts| parts.extensions.get::<OriginalUri>().map(|uri| uri.0.clone()));
    /// ```
    pub fn request_uri(mut self, read: fn(&Parts) -> Option<Uri>) -> Self {
        self.request_uri = Some(read);
        self
    }
}
