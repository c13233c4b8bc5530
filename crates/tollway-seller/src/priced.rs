//! A price on a route: what is asked, how it is described, and the tower layer that asks it.

use std::sync::{Arc, OnceLock};

use http::request::Parts;
use tollway_core::model::PaymentFlow;
use tollway_core::{BoxFuture, JsonObject, Money, Price};

use crate::base_url::json_safe;
use crate::offers::{About, Offer, Offers, PriceError, Tag, offers_of_tags};
use crate::paywall::Core;
use crate::service::{Gate, PaywallService};

/// Any error, for closures.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What fits beside a few other headers everywhere.
const MAX_SAFE_HEADER_BYTES: usize = 6 * 1024;

pub(crate) type PriceFn =
    Arc<dyn Fn(&Parts) -> BoxFuture<'static, Result<Option<Vec<Price>>, BoxError>> + Send + Sync>;

/// A tower layer that puts a price on what it wraps, `HEAD` included.
///
/// Put it on the handler (`get(handler).layer(priced)`), not on a path: then no spelling of the path slips
/// past it. Routers under `Router::nest` see a shortened URI; tell the paywall how to read the whole one with
/// [`PaywallBuilder::request_uri`](crate::PaywallBuilder::request_uri).
#[derive(Clone)]
#[must_use = "a price does nothing until it is layered on a handler"]
pub struct Priced {
    core: Arc<Core>,
    source: Source,
    flow: PaymentFlow,
    about: About,
    /// Made when first layered, then shared: axum layers a handler anew for every connection.
    gate: Arc<OnceLock<Arc<Gate>>>,
}

#[derive(Clone)]
enum Source {
    Fixed(Vec<Offer>),
    Dynamic(PriceFn),
}

impl Priced {
    pub(crate) fn fixed(core: &Arc<Core>, tag: Tag) -> Result<Self, PriceError> {
        let offers = offers_of_tags(&core.rails, &[tag])?;
        Ok(Self::new(core, Source::Fixed(offers)))
    }

    pub(crate) fn dynamic(core: &Arc<Core>, price: PriceFn) -> Self {
        Self::new(core, Source::Dynamic(price))
    }

    fn new(core: &Arc<Core>, source: Source) -> Self {
        let core = Arc::clone(core);
        let (flow, about, gate) = (PaymentFlow::default(), About::default(), Arc::default());
        Self { core, source, flow, about, gate }
    }

    /// Describes the resource to buyers: `description` (specification v2, section 5.1.2).
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let asked = asked(paywall().await.price("$0.01")?.description("The weather in Oslo")).await;
    /// let description = asked.resource.and_then(|resource| resource.description);
    /// assert_eq!(description.as_deref(), Some("The weather in Oslo"));
    /// # Ok(()) }
    /// ```
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.about.description = Some(text.into());
        self.changed()
    }

    /// Names the media type of the paid answer: `mimeType`.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let asked = asked(paywall().await.price("$0.01")?.mime_type("application/json")).await;
    /// let mime_type = asked.resource.and_then(|resource| resource.mime_type);
    /// assert_eq!(mime_type.as_deref(), Some("application/json"));
    /// # Ok(()) }
    /// ```
    pub fn mime_type(mut self, text: impl Into<String>) -> Self {
        self.about.mime_type = Some(text.into());
        self.changed()
    }

    /// Names one URL as the resource, whatever the request's own is. Payments stay bound to the request.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let asked = asked(paywall().await.price("$0.01")?.resource_url("https://example.com/weather")).await;
    /// let url = asked.resource.map(|resource| resource.url);
    /// assert_eq!(url.as_deref(), Some("https://example.com/weather"));
    /// # Ok(()) }
    /// ```
    pub fn resource_url(mut self, url: &str) -> Self {
        self.about.url = Some(json_safe(url));
        self.changed()
    }

    /// Declares an extension. A buyer who uses it must echo what is declared.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let declaration = [("info".to_owned(), true.into())].into_iter().collect();
    /// let asked = asked(paywall().await.price("$0.01")?.extension("bazaar", declaration)).await;
    /// assert_eq!(asked.extensions["bazaar"]["info"], true);
    /// # Ok(()) }
    /// ```
    pub fn extension(mut self, name: impl Into<String>, declaration: JsonObject) -> Self {
        self.about.extensions.insert(name.into(), declaration.into());
        self.changed()
    }

    /// Settles before the handler runs: for side effects and streams. A handler that then fails leaves the
    /// buyer a credit: the same request with the same payment is served without a new charge.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let asked = asked(paywall().await.price("$0.01")?.upfront()).await;
    /// assert_eq!(asked.accepts[0].extra_str("paymentFlow"), Some("upfront"));
    /// # Ok(()) }
    /// ```
    pub fn upfront(mut self) -> Self {
        self.flow = PaymentFlow::Upfront;
        self.changed()
    }

    /// Offers another price beside the first, on every accepted network that knows its asset.
    ///
    /// # Errors
    /// [`PriceError`]; also for a dynamic price, whose closure returns all of its prices.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let asked = asked(paywall().await.price("$0.01")?.also("0.01 EURC")?).await;
    /// assert_eq!(asked.accepts.len(), 2);
    /// # Ok(()) }
    /// ```
    pub fn also(self, price: impl IntoPrice) -> Result<Self, PriceError> {
        let tag = Tag { network: None, price: price.into_price()? };
        self.also_tag(tag)
    }

    /// Offers another price on one accepted network.
    ///
    /// # Errors
    /// As for [`also`](Self::also).
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let paywall = builder().accept("eip155:84532", PAY_TO).start().await?;
    /// let asked = asked(paywall.price_on("eip155:8453", "$0.02")?.also_on("eip155:84532", "$0.01")?).await;
    /// assert_eq!(asked.accepts[1].amount.to_string(), "10000");
    /// # Ok(()) }
    /// ```
    pub fn also_on(self, network: &str, price: impl IntoPrice) -> Result<Self, PriceError> {
        let tag = self.core.tag_on(network, price)?;
        self.also_tag(tag)
    }

    /// What is asked, for transports other than HTTP; none for a dynamic price.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let paywall = paywall().await;
    /// assert!(paywall.price("$0.01")?.offers().is_some());
    /// assert!(paywall.dynamic(|_| async { Ok(None) }).offers().is_none());
    /// # Ok(()) }
    /// ```
    pub fn offers(&self) -> Option<Offers> {
        match &self.source {
            Source::Fixed(offers) => Some(Offers::assemble(offers.clone(), self.flow, self.about.clone())),
            Source::Dynamic(_) => None,
        }
    }

    fn also_tag(mut self, tag: Tag) -> Result<Self, PriceError> {
        let Source::Fixed(offers) = &mut self.source else { return Err(PriceError::Dynamic) };
        for offer in offers_of_tags(&self.core.rails, &[tag])? {
            if !offers.iter().any(|known| known.requirements == offer.requirements) {
                offers.push(offer);
            }
        }
        Ok(self.changed())
    }

    /// What was layered before keeps what it was made with.
    fn changed(mut self) -> Self {
        self.gate = Arc::default();
        self
    }

    fn gate(&self) -> Gate {
        let pricing = match &self.source {
            Source::Fixed(offers) => {
                let offers = Offers::assemble(offers.clone(), self.flow, self.about.clone());
                warn_of_size(&offers);
                Pricing::Fixed(Arc::new(offers))
            }
            Source::Dynamic(price) => {
                Pricing::Dynamic { price: Arc::clone(price), flow: self.flow, about: self.about.clone() }
            }
        };
        Gate::new(Arc::clone(&self.core), pricing)
    }
}

impl<S> tower::Layer<S> for Priced {
    type Service = PaywallService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let gate = self.gate.get_or_init(|| Arc::new(self.gate()));
        PaywallService::new(inner, Arc::clone(gate))
    }
}

/// Servers and proxies on the buyer's side cut headers off, some at 8 KiB in all.
fn warn_of_size(offers: &Offers) {
    let bytes = offers.challenge.header_bytes();
    if bytes > MAX_SAFE_HEADER_BYTES {
        tracing::warn!(bytes, "PAYMENT-REQUIRED is longer than many buyers can read: shorten descriptions");
    }
}

impl std::fmt::Debug for Priced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Priced").field("flow", &self.flow).field("about", &self.about).finish_non_exhaustive()
    }
}

/// Where a request's offers come from.
pub(crate) enum Pricing {
    Fixed(Arc<Offers>),
    Dynamic { price: PriceFn, flow: PaymentFlow, about: About },
}

impl Pricing {
    /// The offers for a request; none if it is free. An error is the seller's, and nothing is served.
    pub(crate) async fn offers(&self, core: &Core, parts: &Parts) -> Result<Option<Arc<Offers>>, BoxError> {
        let (price, flow, about) = match self {
            Self::Fixed(offers) => return Ok(Some(Arc::clone(offers))),
            Self::Dynamic { price, flow, about } => (price, flow, about),
        };
        let Some(prices) = tokio::time::timeout(core.limits.price_timeout, price(parts)).await?? else {
            return Ok(None);
        };
        let tags: Vec<Tag> = prices.into_iter().map(|price| Tag { network: None, price }).collect();
        let list = offers_of_tags(&core.rails, &tags)?;
        Ok(Some(Arc::new(Offers::assemble(list, *flow, about.clone()))))
    }
}

impl std::fmt::Debug for Pricing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(offers) => f.debug_tuple("Fixed").field(offers).finish(),
            Self::Dynamic { flow, .. } => {
                f.debug_struct("Dynamic").field("flow", flow).finish_non_exhaustive()
            }
        }
    }
}

/// What can be a price: `"$0.01"`, [`Money`], [`Price`].
pub trait IntoPrice {
    /// The price.
    ///
    /// # Errors
    /// [`PriceError::Money`] for text that is no price.
    ///
    /// ```
    /// use tollway_seller::{IntoPrice, PriceError};
    /// assert!("$0.01".into_price().is_ok());
    /// assert!(matches!("a penny".into_price(), Err(PriceError::Money(_))));
    /// ```
    fn into_price(self) -> Result<Price, PriceError>;
}

impl IntoPrice for &str {
    fn into_price(self) -> Result<Price, PriceError> {
        Ok(Price::Money(self.parse()?))
    }
}

impl IntoPrice for Money {
    fn into_price(self) -> Result<Price, PriceError> {
        Ok(Price::Money(self))
    }
}

impl IntoPrice for Price {
    fn into_price(self) -> Result<Price, PriceError> {
        Ok(self)
    }
}
