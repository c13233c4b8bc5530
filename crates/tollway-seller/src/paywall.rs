//! The paywall: what every priced route of a seller shares.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Uri;
use http::request::Parts;
use tokio::sync::Semaphore;
use tollway_core::model::PaymentPayload;
use tollway_core::{Amount, AuthorizationKey, Clock, Facilitator, Fingerprint, Network, Price};
use tollway_ledger::LedgerError;

use crate::background::Debts;
use crate::base_url::PublicBase;
use crate::builder::PaywallBuilder;
use crate::channel::Channels;
use crate::claim::ClaimWorker;
use crate::cors::Cors;
use crate::credit::Seal;
use crate::denial::Denial;
use crate::directory::Directories;
use crate::escrow::{self, EscrowError};
use crate::extension::Extensions;
use crate::identifier::IdentifierRule;
use crate::keeper::Keeper;
use crate::membership::bounded;
use crate::offers::{Offers, PriceError, Rail, Tag};
use crate::phase::{CheckedPayment, Confirmation, Presentation, Ticket, admit};
use crate::priced::{BoxError, IntoPrice, Priced};
use crate::purchase::{HeldPurchase, Record};
use crate::quoted::Standing;
use crate::reservation::Reservations;
use crate::stored::StoredResponses;
use crate::watch::{Snapshot, WatchedAsset, Watches};

/// A started paywall. Clones share its reservations: one authorization buys one thing across all of them.
///
/// ```no_run
/// # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, routing::get};
/// use tollway_seller::{HttpFacilitator, Paywall};
///
/// let paywall = Paywall::builder("https://api.example.com")
///     .accept("eip155:8453", "0x209693Bc6afc0C5328bA36FaF03C514EF312287C")
///     .facilitator(HttpFacilitator::new("https://facilitator.example")?)
///     .start()
///     .await?;
/// let app: Router = Router::new().route("/data", get(|| async { "data" }).layer(paywall.price("$0.01")?));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Paywall {
    pub(crate) core: Arc<Core>,
}

/// What the phases work with.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) base: PublicBase,
    pub(crate) rails: Vec<Rail>,
    pub(crate) facilitator: Arc<dyn Facilitator>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) reservations: Arc<Reservations>,
    pub(crate) limits: Limits,
    /// One permit for each payment being verified: strangers decide how many are presented.
    pub(crate) verify_permits: Semaphore,
    pub(crate) cors: Cors,
    pub(crate) request_uri: Option<RequestUri>,
    pub(crate) stored: StoredResponses,
    pub(crate) identifier: Option<IdentifierRule>,
    pub(crate) debts: Debts,
    pub(crate) seal: Seal,
    pub(crate) confirmation: Option<Confirmation>,
    /// Whether what only the chain can judge is refused.
    pub(crate) keys_only: bool,
    pub(crate) extensions: Extensions,
    pub(crate) watches: Watches,
    pub(crate) channels: Channels,
    /// Keys of accounts that publish theirs, where a scheme has such accounts.
    pub(crate) directories: Option<Directories>,
    pub(crate) claims: ClaimWorker,
    /// How many marks the ledger remembers, about, and how many it may.
    pub(crate) marks: AtomicU64,
    pub(crate) max_marks: u64,
    /// Started once all of this stands.
    pub(crate) keeper: OnceLock<Keeper>,
}

/// Reads the URI a buyer asked for where a router has shortened it.
pub(crate) type RequestUri = fn(&Parts) -> Option<Uri>;

/// Every wait and size of a paywall.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) body_bytes: usize,
    pub(crate) body_timeout: Duration,
    pub(crate) verify_timeout: Duration,
    pub(crate) settle_timeout: Duration,
    pub(crate) pending_wait: Duration,
    pub(crate) price_timeout: Duration,
}

impl Paywall {
    /// Begins a paywall for resources that buyers see under `public_base_url`: http or https, a path at
    /// most, no query. The resources it names are built on that, never on the `Host` header, which the
    /// buyer writes.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_seller::Paywall;
    /// let error = Paywall::builder("api.example.com").start().await.unwrap_err();
    /// assert!(error.faults[0].contains("must be an absolute URL"), "{error}");
    /// # Ok(()) }
    /// ```
    pub fn builder(public_base_url: impl Into<String>) -> PaywallBuilder {
        PaywallBuilder::new(public_base_url.into())
    }

    /// A layer that asks `price` for what it wraps, on every accepted network.
    ///
    /// # Errors
    /// [`PriceError`]: the text is no price, or an accepted network has no asset for it.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let asked = asked(paywall().await.price("$0.01")?).await;
    /// assert_eq!(asked.accepts[0].amount.to_string(), "10000", "USDC has six decimals");
    /// # Ok(()) }
    /// ```
    pub fn price(&self, price: impl IntoPrice) -> Result<Priced, PriceError> {
        Priced::fixed(&self.core, Tag { network: None, price: price.into_price()? })
    }

    /// A layer that asks `price` on one accepted network, a CAIP-2 identifier. Where it was accepted for
    /// several payees, each is offered.
    ///
    /// # Errors
    /// [`PriceError`]: the network is not accepted, or the price is no price there.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_seller::PriceError;
    /// let paywall = paywall().await;
    /// assert!(paywall.price_on("eip155:8453", "$0.01").is_ok());
    /// assert!(matches!(paywall.price_on("eip155:1", "$0.01"), Err(PriceError::NotAccepted(_))));
    /// # Ok(()) }
    /// ```
    pub fn price_on(&self, network: &str, price: impl IntoPrice) -> Result<Priced, PriceError> {
        Priced::fixed(&self.core, self.tag_on(network, price)?)
    }

    /// A layer that asks what `price` says for the request: one price, several, or `None` for free.
    ///
    /// The request is priced again when it comes back with its payment, and the payment must match: the same
    /// request must have the same price for as long as a buyer takes to pay. An error, an empty list and an
    /// answer that takes too long are answered with 5xx; nothing is served.
    ///
    /// ```no_run
    /// # fn demo(paywall: tollway_seller::Paywall) {
    /// use tollway_core::Price;
    /// let layer = paywall.dynamic(|parts: &http::request::Parts| {
    ///     let is_large = parts.uri.path().starts_with("/large");
    ///     async move {
    ///         let price = if is_large { "$0.10" } else { "$0.01" };
    ///         Ok(Some(vec![Price::Money(price.parse()?)]))
    ///     }
    /// });
    /// # }
    /// ```
    pub fn dynamic<F, Fut>(&self, price: F) -> Priced
    where
        F: Fn(&Parts) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<Vec<Price>>, BoxError>> + Send + 'static,
    {
        Priced::dynamic(&self.core, Arc::new(move |parts| Box::pin(price(parts))))
    }

    /// Holds a payment for the resource at `resource_url` against `offers`: every rule that needs nobody
    /// else, a key's signature included. For any transport; the HTTP layer is built on it. A payment that expired a short while
    /// ago passes, for it may have been under way then; [`Self::admit`] knows.
    ///
    /// # Errors
    /// [`Denial::Malformed`] and [`Denial::Refused`].
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let paywall = paywall().await;
    /// let offers = paywall.price("$0.01")?.offers().expect("a fixed price");
    /// let mut payment = signed(&offers).await;
    /// assert!(paywall.check(&offers, payment.clone(), "https://api.example.com/data").is_ok());
    /// payment.payload["authorization"]["value"] = "1".into();
    /// assert!(paywall.check(&offers, payment, "https://api.example.com/data").is_err());
    /// # Ok(()) }
    /// ```
    pub fn check(
        &self,
        offers: &Offers,
        payment: PaymentPayload,
        resource_url: &str,
    ) -> Result<CheckedPayment, Denial> {
        admit::check(&self.core, offers, payment, resource_url)
    }

    /// Reserves a checked payment for the request `fingerprint`, and verifies it, or settles it where that
    /// comes first. The ticket is the right to serve the request once.
    ///
    /// # Errors
    /// [`Denial`]: why the request is not served.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tollway_seller::Denial> {
    /// use tollway_core::Fingerprint;
    /// let (paywall, url) = (paywall().await, "https://api.example.com/data");
    /// # let offers = paywall.price("$0.01").unwrap().offers().unwrap();
    /// # let payment = signed(&offers).await;
    /// let payment = paywall.check(&offers, payment, url)?;
    /// let request = Fingerprint::of("GET", &url.parse().expect("a URL"), b"");
    /// let ticket = paywall.admit(payment.clone(), request).await?;
    /// assert_eq!(paywall.admit(payment, request).await.unwrap_err().code(), "payment_in_progress");
    /// # Ok(()) }
    /// ```
    pub async fn admit(&self, payment: CheckedPayment, fingerprint: Fingerprint) -> Result<Ticket, Denial> {
        admit::admit(&self.core, payment, Presentation { fingerprint, presented: None, requester: None })
            .await
    }

    /// How many payments the ledger remembers, about, served ones until they could not be used again anyway: for
    /// metrics.
    ///
    /// # Errors
    /// [`LedgerError`]: the ledger did not answer.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tollway_seller::Denial> {
    /// let paywall = paywall().await;
    /// let ticket = ticket(&paywall).await?;
    /// assert_eq!(paywall.reservation_count().await, Ok(1));
    /// # Ok(()) }
    /// ```
    pub async fn reservation_count(&self) -> Result<u64, LedgerError> {
        self.core.reservations.reservation_count().await
    }

    /// Payments that were held or charged and may still be taken or given back, in the order of their names, from behind
    /// `after` on.
    ///
    /// # Errors
    /// [`LedgerError`]: the ledger did not answer.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// assert_eq!(paywall().await.purchases(None, 100).await?, []);
    /// # Ok(()) }
    /// ```
    pub async fn purchases(&self, after: Option<&str>, limit: u32) -> Result<Vec<HeldPurchase>, LedgerError> {
        let after = after.map(AuthorizationKey::new);
        let ledger = self.core.reservations.ledger();
        let listed = bounded(ledger.purchase_list(after.as_ref(), limit)).await?;
        listed.into_iter().map(|purchase| Record::read(purchase).map(|record| record.view())).collect()
    }

    /// Takes what is held of a purchase that was served: `amount` atomic units, or as much as its answer charged. What is
    /// left goes back to the payer. Asked again for the same, it takes nothing again.
    ///
    /// # Errors
    /// [`EscrowError`].
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_seller::EscrowError;
    /// let nothing = paywall().await.capture("eip155:8453/0x/0x/0x", None).await;
    /// assert!(matches!(nothing, Err(EscrowError::Unknown)));
    /// # Ok(()) }
    /// ```
    pub async fn capture(&self, id: &str, amount: Option<Amount>) -> Result<HeldPurchase, EscrowError> {
        escrow::capture(&self.core, id, amount).await
    }

    /// Gives back all that is held of a purchase. Asked again, it does nothing again.
    ///
    /// # Errors
    /// [`EscrowError`].
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_seller::EscrowError;
    /// let nothing = paywall().await.void("eip155:8453/0x/0x/0x").await;
    /// assert!(matches!(nothing, Err(EscrowError::Unknown)));
    /// # Ok(()) }
    /// ```
    pub async fn void(&self, id: &str) -> Result<HeldPurchase, EscrowError> {
        escrow::void(&self.core, id).await
    }

    /// Gives back of what was taken of a purchase, until it is `total` atomic units in all. Asked again with the same
    /// total, it gives back nothing again.
    ///
    /// # Errors
    /// [`EscrowError`].
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_seller::EscrowError;
    /// let nothing = paywall().await.refund("eip155:8453/0x/0x/0x", 100.into()).await;
    /// assert!(matches!(nothing, Err(EscrowError::Unknown)));
    /// # Ok(()) }
    /// ```
    pub async fn refund(&self, id: &str, total: Amount) -> Result<HeldPurchase, EscrowError> {
        escrow::refund(&self.core, id, total).await
    }

    /// Who claims what was charged on channels: what there is, and what to do about it by hand.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// assert!(paywall().await.claims().report().await?.sums.is_empty());
    /// # Ok(()) }
    /// ```
    pub fn claims(&self) -> &ClaimWorker {
        &self.core.claims
    }

    /// Every asset with a guard, and whether it is offered now.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_seller::{Coin, FileSource, Guard, Withdrawal};
    /// let guard = Guard::new(FileSource::new("/nowhere/rates.json", "/USDC"));
    /// let paywall = builder().coins([Coin::new("USDC").guard(guard)]).start().await?;
    /// assert_eq!(paywall.assets()[0].standing, Err(Withdrawal::Unreadable));
    /// # Ok(()) }
    /// ```
    pub fn assets(&self) -> Vec<WatchedAsset> {
        self.core.watches.assets(self.core.clock.now())
    }

    fn tag_on(&self, network: &str, price: impl IntoPrice) -> Result<Tag, PriceError> {
        self.core.tag_on(network, price)
    }
}

impl Core {
    pub(crate) fn tag_on(&self, network: &str, price: impl IntoPrice) -> Result<Tag, PriceError> {
        let parsed: Network = network.parse().map_err(|_| PriceError::NotAccepted(network.to_owned()))?;
        Ok(Tag { network: Some(parsed), price: price.into_price()? })
    }

    /// What offers are held against, as of `snapshot`.
    pub(crate) const fn standing<'a>(&'a self, snapshot: &'a Snapshot) -> Standing<'a> {
        Standing { watches: &self.watches, snapshot, seal: &self.seal }
    }

    /// The resource's URL and the request's fingerprint; none if the URL is no URL.
    pub(crate) fn fingerprint(&self, method: &str, url: &str, body: &[u8]) -> Option<Fingerprint> {
        url::Url::parse(url).ok().map(|url| Fingerprint::of(method, &url, body))
    }
}
