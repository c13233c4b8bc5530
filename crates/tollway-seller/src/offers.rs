//! What one request is asked to pay: offers made from prices, with the 402 prepared for them.

use std::sync::Arc;

use http::HeaderValue;
use tollway_core::model::{PaymentFlow, PaymentRequired, PaymentRequirements, ResourceInfo, SupportedKind};
use tollway_core::{
    Amount, Currency, ErrorCode, JsonObject, Network, OfferError, Price, Refusal, SchemeName, SellerScheme,
    Terms, UnixTime, X402Version, wire,
};

use crate::challenge::Challenge;
use crate::coin::{RailCoin, Watched};
use crate::extension::{self, Asked, Challenges};
use crate::identifier;
use crate::paywall::Core;
use crate::phase::admit::LATE_SECONDS;
use crate::route::Route;
use crate::watch::Snapshot;

/// What an unpaid request is told.
const PAYMENT_REQUIRED_TEXT: &str = "Payment required";

/// The ways to pay for a resource, and how it is described.
#[derive(Clone, Debug)]
pub struct Offers {
    /// What is shown: an offer in an asset that is withdrawn is not.
    pub(crate) list: Vec<Offer>,
    /// Every offer of the route, as it was made of its price.
    pub(crate) all: Vec<Offer>,
    pub(crate) route: Route,
    pub(crate) about: About,
    pub(crate) challenge: Challenge,
    /// With what extensions declare, where they do.
    challenges: Arc<Challenges>,
}

/// One way to pay, with the scheme that checks it.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) requirements: PaymentRequirements,
    pub(crate) scheme: Arc<dyn SellerScheme>,
    /// Whether the facilitator settles it for v1 buyers too.
    pub(crate) takes_v1: bool,
    /// The extensions that the 402 declares because of it.
    pub(crate) declares: JsonObject,
    /// Whether its asset is what dollars mean on its network by themselves.
    pub(crate) is_usual: bool,
    /// What is watched of its asset, if anything is.
    pub(crate) watched: Option<Watched>,
    /// Why a payment of it is refused that was not under way before.
    pub(crate) stale: Option<Refusal>,
}

impl Offer {
    /// Whether it is another one later: its deadlines count from when it is told.
    pub(crate) fn is_timed(&self) -> bool {
        self.scheme.escrow().is_some()
    }

    /// The offer as it is told at `now`, or as a buyer repeats it who was told lately. One that was told some time before
    /// that is refused, unless its payment was under way.
    pub(crate) fn told(mut self, theirs: Option<&PaymentRequirements>, now: UnixTime) -> Self {
        let Some(scheme) = self.scheme.escrow() else { return self };
        let Some(theirs) = theirs else {
            self.requirements = scheme.stamped(&self.requirements, now);
            return self;
        };
        let is_theirs = |ours: &PaymentRequirements| {
            ours.extra.iter().all(|(name, value)| theirs.extra.get(name) == Some(value))
        };
        let fresh = scheme.as_accepted(&self.requirements, theirs, now);
        let earlier = UnixTime(now.0.saturating_sub(LATE_SECONDS));
        let late = scheme.as_accepted(&self.requirements, theirs, earlier);
        if !is_theirs(&fresh) && is_theirs(&late) {
            let (code, rule) =
                (ErrorCode::INVALID_PAYMENT_REQUIREMENTS, "was told too long ago: take it as it is now");
            self.stale = Some(Refusal::new(code, "accepted.extra.captureDeadline", rule));
            self.requirements = late;
        } else {
            self.requirements = fresh;
        }
        self
    }
}

/// How a resource is described to buyers.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    pub(crate) description: Option<String>,
    pub(crate) mime_type: Option<String>,
    /// The URL to name instead of the request's own.
    pub(crate) url: Option<String>,
    pub(crate) extensions: JsonObject,
}

impl About {
    /// The URL that buyers are told for the request to `url`.
    pub(crate) fn announced<'a>(&'a self, url: &'a str) -> &'a str {
        self.url.as_deref().unwrap_or(url)
    }
}

/// A way to be paid, fixed when the paywall starts.
#[derive(Clone, Debug)]
pub(crate) struct Rail {
    pub(crate) scheme: Arc<dyn SellerScheme>,
    pub(crate) terms: Terms,
    pub(crate) takes_v1: bool,
    /// What dollars mean here, where the seller says so.
    pub(crate) coins: Vec<RailCoin>,
    /// What they mean by themselves.
    pub(crate) usual: Option<String>,
    /// What the facilitator says of the scheme on this network.
    pub(crate) kind: Option<SupportedKind>,
    /// The extensions that the facilitator understands.
    pub(crate) understood: Vec<String>,
}

/// A price, for every accepted network or for one.
#[derive(Clone, Debug)]
pub(crate) struct Tag {
    pub(crate) network: Option<Network>,
    pub(crate) price: Price,
}

/// Why a price cannot be put on a resource.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PriceError {
    /// No accepted network can be offered at this price.
    #[error("{network}: {error}")]
    Offer {
        /// Where.
        network: Network,
        /// Why not.
        error: OfferError,
    },
    /// The price text is not one.
    #[error(transparent)]
    Money(#[from] tollway_core::MoneyError),
    /// The price names a network that the paywall does not accept.
    #[error("{0} is not accepted by this paywall: add it with accept()")]
    NotAccepted(String),
    /// An amount of an asset, and several networks it could be on.
    #[error("an amount of an asset needs its network, as several networks are accepted: use price_on()")]
    WhichNetwork,
    /// `background` on a price that is paid upfront.
    #[error("what is paid upfront cannot be settled in the background")]
    Upfront,
    /// A sign-in that cannot be had.
    #[error("sign_in: {0}")]
    SignIn(&'static str),
    /// Signatures that cannot be read.
    #[error("message_signatures: an agent must be an https origin")]
    MessageSignatures,
    /// Builder codes that are none.
    #[error(transparent)]
    BuilderCode(#[from] tollway_core::extension::builder_code::BuilderCodeError),
    /// `also` on a dynamic price.
    #[error("a dynamic price returns all of its prices itself")]
    Dynamic,
    /// A price of nothing: what is free has no price.
    #[error("a price must be more than 0; what is free needs no price")]
    Zero,
    /// There is no price at all.
    #[error("no price")]
    Empty,
}

impl Offers {
    /// Assembles what is asked of a request, as of `snapshot`, from offers made by [`offers_of_tags`].
    pub(crate) fn assemble(
        core: &Core,
        snapshot: &Snapshot,
        mut all: Vec<Offer>,
        route: Route,
        mut about: About,
    ) -> Self {
        for offer in &mut all {
            let extra = &mut offer.requirements.extra;
            // A scheme that holds money, or has it in a channel, says itself when it moves.
            let is_plain = offer.scheme.escrow().is_none() && offer.scheme.channel().is_none();
            if route.flow != PaymentFlow::Authorization && is_plain {
                extra.insert("paymentFlow".to_owned(), route.flow.as_str().into());
            }
            if let Some(confirmations) = route.confirmations {
                extra.insert("confirmations".to_owned(), confirmations.into());
            }
        }
        if let Some(rule) = route.identifier {
            about.extensions.insert(identifier::NAME.to_owned(), identifier::declaration(rule).into());
        }
        for (name, declaration) in all.iter().flat_map(|offer| &offer.declares) {
            about.extensions.entry(name.clone()).or_insert_with(|| declaration.clone());
        }
        let standing = core.standing(snapshot);
        let now = core.clock.now();
        let told = |offer| standing.shown(offer).map(|offer| offer.told(None, now));
        let list: Vec<Offer> = all.iter().filter_map(told).collect();
        let error = Some(PAYMENT_REQUIRED_TEXT.to_owned());
        let v2 = payment_required(&list, &about, X402Version::V2, "", error.clone());
        let v1 = payment_required(&list, &about, X402Version::V1, "", error);
        let challenge = Challenge::new(&v2, &v1);
        Self { list, all, route, about, challenge, challenges: Arc::default() }
    }

    /// The terms offered, the seller's favourite first. Amounts are atomic units of their asset.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let offers = paywall().await.price("$0.01")?.offers().expect("a fixed price");
    /// let amounts: Vec<_> = offers.requirements().map(|offer| offer.amount.to_string()).collect();
    /// assert_eq!(amounts, ["10000"]);
    /// # Ok(()) }
    /// ```
    pub fn requirements(&self) -> impl Iterator<Item = &PaymentRequirements> {
        self.list.iter().map(|offer| &offer.requirements)
    }

    /// When the money moves: after the handler has succeeded, or before it runs
    /// ([`Priced::upfront`](crate::Priced::upfront)).
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_core::model::PaymentFlow;
    /// let offers = paywall().await.price("$0.01")?.offers().expect("a fixed price");
    /// assert_eq!(offers.flow(), PaymentFlow::Authorization);
    /// # Ok(()) }
    /// ```
    pub const fn flow(&self) -> PaymentFlow {
        self.route.flow
    }

    /// The `PaymentRequired` (specification v2, section 5.1) for the resource at `url`, or at the one that
    /// [`Priced::resource_url`](crate::Priced::resource_url) names instead, with `code` naming why if a
    /// payment was refused. For v1 buyers it holds the offers that they can read and the facilitator settles
    /// for them.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_core::{ErrorCode, X402Version};
    /// let offers = paywall().await.price("$0.01")?.offers().expect("a fixed price");
    /// let code = ErrorCode::PAYMENT_EXPIRED;
    /// let required = offers.payment_required(X402Version::V2, "https://api.example.com/data", Some(&code));
    /// assert_eq!(required.error.as_deref(), Some("payment_expired"));
    /// # Ok(()) }
    /// ```
    pub fn payment_required(
        &self,
        version: X402Version,
        url: &str,
        code: Option<&ErrorCode>,
    ) -> PaymentRequired {
        let error = code.map_or(PAYMENT_REQUIRED_TEXT, ErrorCode::as_str).to_owned();
        payment_required(&self.list, &self.about, version, url, Some(error))
    }

    /// `PAYMENT-REQUIRED` for the request to `url`, unless an extension has to be asked first.
    pub(crate) fn header_at_once(&self, url: &str, now: UnixTime) -> Option<Option<HeaderValue>> {
        let url = self.about.announced(url);
        if self.route.extensions.is_empty() {
            return Some(self.challenge.header(url));
        }
        self.challenges.get(url, now).map(Some)
    }

    /// `PAYMENT-REQUIRED` for the request to `url`, with what extensions declare.
    pub(crate) async fn header(&self, url: &str, now: UnixTime) -> Option<HeaderValue> {
        if let Some(header) = self.header_at_once(url, now) {
            return header;
        }
        let announced = self.about.announced(url);
        let offers: Vec<PaymentRequirements> = self.requirements().cloned().collect();
        let asked = Asked { offers: &offers, url: announced, now };
        let (declarations, good_until) = extension::declare(&self.route.extensions, asked).await;
        if declarations.is_empty() {
            return self.challenge.header(announced);
        }
        let mut required = self.payment_required(X402Version::V2, url, None);
        required.extensions.extend(declarations);
        let required = wire::encode_payment_required(&required, X402Version::V2);
        let header = HeaderValue::from_str(&wire::encode_header(&required)).ok()?;
        if let Some(good_until) = good_until {
            self.challenges.keep(announced, header.clone(), good_until);
        }
        Some(header)
    }

    /// How the resource of the request to `url` is described.
    pub(crate) fn resource(&self, url: &str) -> ResourceInfo {
        resource(&self.about, url)
    }
}

/// The offers of `tags` on `rails`: the first price first, networks in the order accepted.
pub(crate) fn offers_of_tags(rails: &[Rail], tags: &[Tag]) -> Result<Vec<Offer>, PriceError> {
    let mut list: Vec<Offer> = Vec::new();
    for tag in tags {
        for offer in offers_of_tag(rails, tag)? {
            if !list.iter().any(|known| known.requirements == offer.requirements) {
                list.push(offer);
            }
        }
    }
    if list.is_empty() { Err(PriceError::Empty) } else { Ok(list) }
}

fn offers_of_tag(rails: &[Rail], tag: &Tag) -> Result<Vec<Offer>, PriceError> {
    let on = |rail: &&Rail| tag.network.as_ref().is_none_or(|network| &rail.terms.network == network);
    let rails: Vec<&Rail> = rails.iter().filter(on).collect();
    if let (Some(network), []) = (&tag.network, rails.as_slice()) {
        return Err(PriceError::NotAccepted(network.to_string()));
    }
    // One network accepted twice, for two payees, is no question: both are offered.
    let several = rails.windows(2).any(|pair| pair[0].terms.network != pair[1].terms.network);
    if matches!(tag.price, Price::Asset { .. }) && several {
        return Err(PriceError::WhichNetwork);
    }
    if is_zero(&tag.price) {
        return Err(PriceError::Zero);
    }
    // A token by symbol need not exist everywhere; dollars must.
    let may_miss =
        matches!(&tag.price, Price::Money(money) if matches!(money.currency(), Currency::Symbol(_)));
    let mut missed = None;
    let mut offers = Vec::new();
    for rail in rails {
        match rail.offers(&tag.price) {
            Ok(list) if list.iter().any(|offer| offer.requirements.amount == Amount::ZERO) => {
                return Err(PriceError::Zero);
            }
            Ok(list) => offers.extend(list),
            Err(error) => {
                let is_missing = matches!(error, OfferError::UnknownAsset { .. });
                let error = PriceError::Offer { network: rail.terms.network.clone(), error };
                if !(may_miss && is_missing) {
                    return Err(error);
                }
                missed = Some(error);
            }
        }
    }
    match (offers.is_empty(), missed) {
        (true, Some(error)) => Err(error),
        _ => Ok(offers),
    }
}

/// A price of nothing, whatever asset it comes to.
fn is_zero(price: &Price) -> bool {
    match price {
        Price::Money(money) => money.to_atomic(0) == Ok(Amount::ZERO),
        Price::Asset { amount, .. } => *amount == Amount::ZERO,
        _ => false,
    }
}

fn resource(about: &About, url: &str) -> ResourceInfo {
    let description = about.description.clone();
    ResourceInfo {
        description,
        mime_type: about.mime_type.clone(),
        ..ResourceInfo::new(about.announced(url))
    }
}

fn payment_required(
    list: &[Offer],
    about: &About,
    version: X402Version,
    url: &str,
    error: Option<String>,
) -> PaymentRequired {
    let is_v1 = version == X402Version::V1;
    // Published v1 clients know `exact` only, and drop a whole 402 over an offer they cannot read.
    let shown = |offer: &&Offer| !is_v1 || (offer.takes_v1 && offer.requirements.scheme == SchemeName::EXACT);
    let mut shown: Vec<&Offer> = list.iter().filter(shown).collect();
    if is_v1 {
        usual_first(&mut shown);
    }
    PaymentRequired {
        version,
        error,
        resource: Some(resource(about, url)),
        accepts: shown.into_iter().map(|offer| offer.requirements.clone()).collect(),
        extensions: about.extensions.clone(),
        other: JsonObject::new(),
    }
}

/// On each network the asset that dollars mean there comes first: it is the one that published v1 clients know.
fn usual_first(list: &mut Vec<&Offer>) {
    for first in 0..list.len() {
        let network = &list[first].requirements.network;
        let is_there = |offer: &&Offer| offer.requirements.network == *network;
        if list[..first].iter().any(is_there) {
            continue;
        }
        let usual = list[first..].iter().position(|offer| is_there(offer) && offer.is_usual);
        if let Some(offset) = usual.filter(|offset| *offset > 0) {
            let offer = list.remove(first + offset);
            list.insert(first, offer);
        }
    }
}
