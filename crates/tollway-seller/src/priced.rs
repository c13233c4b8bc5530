//! A price on a route: what is asked, how it is described, and the tower layer that asks it.

use std::sync::{Arc, OnceLock};

use http::request::Parts;
use tollway_core::extension::auth_hints::{self, AuthRequirement};
use tollway_core::extension::builder_code::{self, BuilderCode};
use tollway_core::extension::message_signatures;
use tollway_core::model::PaymentFlow;
use tollway_core::{BoxFuture, JsonObject, Money, Price};

use crate::agent::{Agency, MessageSignatures};
use crate::base_url::json_safe;
use crate::extension::RouteExtension;
use crate::identifier::IdentifierRule;
use crate::live::LiveOffers;
use crate::offers::{About, Offer, Offers, PriceError, Tag, offers_of_tags};
use crate::paywall::Core;
use crate::route::{BackgroundLimits, Route};
use crate::service::{Gate, PaywallService};
use crate::sign_in::{Door, SignIn};

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
    route: Route,
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
        let (identifier, extensions) = (core.identifier, core.extensions.clone());
        let route = Route { identifier, extensions, ..Route::default() };
        Self { core, source, route, about: About::default(), gate: Arc::default() }
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
    /// buyer a credit: the same request with the same payment is served without a new charge. This ends
    /// [`Self::background`].
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
        self.route.flow = PaymentFlow::Upfront;
        self.route.background = None;
        self.changed()
    }

    /// Lets the answer leave before the payment has settled, while no more than `limits` is owed: the payment is verified
    /// and reserved, the handler runs, what is owed is written down, the answer leaves without a receipt
    /// (`PAYMENT-RESPONSE`), and it settles at once in the background, by this process or, if it ends, by another on
    /// the same ledger. What then fails to settle is the seller's loss, and stays counted against its payer. Above the
    /// limits, near the payment's expiry and for assets that do not stand for dollars it settles before the answer
    /// leaves, as it does without this.
    ///
    /// # Errors
    /// [`PriceError::Upfront`] after [`Self::upfront`].
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_seller::BackgroundLimits;
    /// let limits = BackgroundLimits { per_payer: "$0.10".parse()?, in_all: "$5".parse()? };
    /// let priced = paywall().await.price("$0.01")?.background(limits.clone())?;
    /// assert!(priced.upfront().background(limits).is_err());
    /// # Ok(()) }
    /// ```
    pub fn background(mut self, limits: BackgroundLimits) -> Result<Self, PriceError> {
        if self.route.flow != PaymentFlow::Authorization {
            return Err(PriceError::Upfront);
        }
        if self.route.door.is_some() {
            return Err(PriceError::SignIn("what is served before it is paid has not been bought"));
        }
        self.route.background = Some(limits);
        Ok(self.changed())
    }

    /// Declares the extension `payment-identifier`: the buyer's own name for the payment. One name stands for one
    /// payment of one request; with another it is answered with 409.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_seller::IdentifierRule;
    /// let priced = paywall().await.price("$0.01")?.payment_identifier(IdentifierRule::Required);
    /// assert_eq!(asked(priced).await.extensions["payment-identifier"]["info"]["required"], true);
    /// # Ok(()) }
    /// ```
    pub fn payment_identifier(mut self, rule: IdentifierRule) -> Self {
        self.route.identifier = Some(rule);
        self.changed()
    }

    /// Lets whoever has bought a request of this route come back for the same request without paying (extension
    /// `sign-in-with-x`), for as long as `rule` says: method, URL and body must be the same. Who paid is written into the
    /// ledger before the answer leaves.
    ///
    /// # Errors
    /// [`PriceError::SignIn`]: the rule cannot be kept, or the route serves before it is paid ([`Self::background`]).
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_seller::SignIn;
    /// let rule = SignIn::for_seconds(24 * 3600).statement("Read again what you have bought");
    /// let asked = asked(paywall().await.price("$0.01")?.sign_in(rule)?).await;
    /// let chains = &asked.extensions["sign-in-with-x"]["supportedChains"];
    /// assert_eq!(chains[0]["chainId"], "eip155:8453");
    /// # Ok(()) }
    /// ```
    pub fn sign_in(mut self, rule: SignIn) -> Result<Self, PriceError> {
        if self.route.background.is_some() {
            return Err(PriceError::SignIn("what is served before it is paid has not been bought"));
        }
        let door = Arc::new(Door::new(&self.core, rule)?);
        self.route.extensions.retain(|extension| extension.name() != door.name());
        self.route.extensions.push(Arc::clone(&door) as Arc<dyn RouteExtension>);
        self.route.door = Some(door);
        Ok(self.changed())
    }

    /// Declares the extension `builder-code`: the code of this application, and of up to five others behind it. They end on
    /// chain with the settlement, where the facilitator writes them.
    ///
    /// # Errors
    /// [`PriceError::BuilderCode`].
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let asked = asked(paywall().await.price("$0.01")?.builder_code("my_app", &["base_mcp"])?).await;
    /// assert_eq!(asked.extensions["builder-code"]["info"]["s"][0], "base_mcp");
    /// # Ok(()) }
    /// ```
    pub fn builder_code(self, app: &str, services: &[&str]) -> Result<Self, PriceError> {
        let services = services.iter().map(|code| BuilderCode::new(code)).collect::<Result<Vec<_>, _>>()?;
        let declaration = builder_code::declaration(&BuilderCode::new(app)?, &services)?;
        Ok(self.extension(builder_code::NAME, declaration))
    }

    /// Reads signatures on requests (extension `http-message-signatures`): who pays or signs in may show which agent it is,
    /// or must. Handlers find an [`Agent`](crate::Agent) in the request's extensions.
    ///
    /// # Errors
    /// [`PriceError::MessageSignatures`]: an agent's origin is none.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_seller::MessageSignatures;
    /// let priced = paywall().await.price("$0.01")?;
    /// let plain = MessageSignatures::new("https://api.example.com/agents").agent("http://agent.example");
    /// assert!(priced.clone().message_signatures(plain).is_err());
    /// let strict = MessageSignatures::new("https://api.example.com/agents").agent("https://agent.example").required();
    /// let priced = priced.message_signatures(strict)?;
    /// # Ok(()) }
    /// ```
    pub fn message_signatures(mut self, rule: MessageSignatures) -> Result<Self, PriceError> {
        let agency = Agency::new(rule).ok_or(PriceError::MessageSignatures)?;
        let declaration = agency.declaration();
        self.route.agency = Some(Arc::new(agency));
        Ok(self.extension(message_signatures::NAME, declaration))
    }

    /// Declares the extension `auth-hints`: which offers need credentials besides the payment, by their place. Asking for
    /// the credentials is the application's; these only say where to get them.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_core::extension::auth_hints::{AuthMethod, AuthRequirement};
    /// let hint = AuthRequirement { accept_indexes: vec![0], methods: vec![AuthMethod::SignInWithX] };
    /// let asked = asked(paywall().await.price("$0.01")?.auth_hints(&[hint])).await;
    /// assert_eq!(asked.extensions["auth-hints"]["info"]["authRequirements"][0]["acceptIndexes"][0], 0);
    /// # Ok(()) }
    /// ```
    pub fn auth_hints(self, requirements: &[AuthRequirement]) -> Self {
        self.extension(auth_hints::NAME, auth_hints::declaration(requirements))
    }

    /// Asks for `count` blocks on top of the payment's own before it counts as settled: `extra.confirmations`, for a
    /// facilitator that honours it.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let asked = asked(paywall().await.price("$5")?.confirmations(3)).await;
    /// assert_eq!(asked.accepts[0].extra["confirmations"], 3);
    /// # Ok(()) }
    /// ```
    pub fn confirmations(mut self, count: u32) -> Self {
        self.route.confirmations = Some(count);
        self.changed()
    }

    /// Gives each request its channel to itself among all sellers of the ledger, before the handler runs: for handlers that
    /// do something rather than only answer. Without it two processes may run a handler for one voucher at once, of which
    /// one charges and answers. Payments without a channel are exclusive by themselves.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let priced = paywall().await.price("$0.01")?.exclusive();
    /// # drop(priced);
    /// # Ok(()) }
    /// ```
    pub fn exclusive(mut self) -> Self {
        self.route.is_exclusive = true;
        self.changed()
    }

    /// Serves payers with code (contracts, EIP-7702 accounts) before they settle, like all others. Their code may say yes
    /// when it is asked and no in a block: what is served then is not paid. Without this they settle first.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let priced = paywall().await.price("$0.001")?.trust_contract_payers();
    /// assert_eq!(asked(priced).await.accepts[0].payment_flow(), Some(Default::default()));
    /// # Ok(()) }
    /// ```
    pub fn trust_contract_payers(mut self) -> Self {
        self.route.trusts_code = true;
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
            Source::Fixed(offers) => {
                let snapshot = self.core.watches.snapshot(self.core.clock.now());
                let (route, about) = (self.route.clone(), self.about.clone());
                Some(Offers::assemble(&self.core, &snapshot, offers.clone(), route, about))
            }
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
                let (list, route, about) = (offers.clone(), self.route.clone(), self.about.clone());
                let live = LiveOffers::new(&self.core, list, route, about);
                let now = live.now(&self.core);
                warn_of_size(&now);
                let is_live = offers.iter().any(|offer| offer.watched.is_some() || offer.is_timed());
                if is_live { Pricing::Live(Box::new(live)) } else { Pricing::Fixed(now) }
            }
            Source::Dynamic(price) => {
                let (route, about) = (Box::new(self.route.clone()), Box::new(self.about.clone()));
                Pricing::Dynamic { price: Arc::clone(price), route, about }
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
        f.debug_struct("Priced")
            .field("route", &self.route)
            .field("about", &self.about)
            .finish_non_exhaustive()
    }
}

/// Where a request's offers come from.
pub(crate) enum Pricing {
    Fixed(Arc<Offers>),
    Live(Box<LiveOffers>),
    Dynamic { price: PriceFn, route: Box<Route>, about: Box<About> },
}

impl Pricing {
    /// The offers for a request; none if it is free. An error is the seller's, and nothing is served.
    pub(crate) async fn offers(&self, core: &Core, parts: &Parts) -> Result<Option<Arc<Offers>>, BoxError> {
        let (price, route, about) = match self {
            Self::Fixed(offers) => return Ok(Some(Arc::clone(offers))),
            Self::Live(live) => return Ok(Some(live.now(core))),
            Self::Dynamic { price, route, about } => (price, route, about),
        };
        let Some(prices) = tokio::time::timeout(core.limits.price_timeout, price(parts)).await?? else {
            return Ok(None);
        };
        let tags: Vec<Tag> = prices.into_iter().map(|price| Tag { network: None, price }).collect();
        let list = offers_of_tags(&core.rails, &tags)?;
        let snapshot = core.watches.snapshot(core.clock.now());
        let (route, about) = (Route::clone(route), About::clone(about));
        Ok(Some(Arc::new(Offers::assemble(core, &snapshot, list, route, about))))
    }
}

impl std::fmt::Debug for Pricing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(offers) => f.debug_tuple("Fixed").field(offers).finish(),
            Self::Live(live) => f.debug_tuple("Live").field(live).finish(),
            Self::Dynamic { route, .. } => {
                f.debug_struct("Dynamic").field("route", route).finish_non_exhaustive()
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
