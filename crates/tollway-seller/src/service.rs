//! The tower service: one HTTP request through the phases. Everything about payments is decided in
//! [`crate::phase`]; everything about how answers look in [`crate::answer`].

use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::{Either, Ready, ready};
use http::header::ORIGIN;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use tollway_core::extension::sign_in::HEADER;
use tollway_core::model::X402Version;
use tollway_core::wire::{PAYMENT_REQUIRED, PAYMENT_SIGNATURE, X_PAYMENT};
use tollway_core::{
    Amount, AuthorizationKey, BoxFuture, ErrorCode, Fingerprint, Network, PAYMENT_CREDIT, Refusal,
};
use tower::Service;
use tracing::Instrument;

use crate::body::{self, BodyError, PaidBody};
use crate::denial::Denial;
use crate::meter::{Meter, STREAM, Streamed};
use crate::offers::Offers;
use crate::paywall::Core;
use crate::phase::{Charge, Presentation, Ticket, Word, admit, read, redeem, signature};
use crate::priced::{BoxError, Pricing};
use crate::sign_in::{self, Door};
use crate::stored::{self, AnswerBody};
use crate::{answer, cache, credit, overrides, telemetry};

/// The longest URL that is put into a 402, a header that buyers must be able to read.
const MAX_URL_BYTES: usize = 4096;

/// What [`Priced`](crate::Priced) makes of a service: it answers 402 until it is paid.
#[derive(Clone, Debug)]
pub struct PaywallService<S> {
    inner: S,
    gate: Arc<Gate>,
}

/// Who paid for the request: handlers find it in the request's extensions.
#[derive(Clone, Debug)]
pub struct Payment {
    /// Who pays.
    pub payer: String,
    /// On which network.
    pub network: Network,
    /// In which asset.
    pub asset: String,
    /// At most how much, atomic units.
    pub amount: Amount,
    /// What makes the payment unique; none where it is one of many of a channel.
    pub authorization: Option<AuthorizationKey>,
}

/// What a priced route needs to decide.
#[derive(Debug)]
pub(crate) struct Gate {
    core: Arc<Core>,
    pricing: Pricing,
}

impl<S> PaywallService<S> {
    pub(crate) const fn new(inner: S, gate: Arc<Gate>) -> Self {
        Self { inner, gate }
    }
}

impl<S, B, R> Service<Request<B>> for PaywallService<S>
where
    S: Service<Request<PaidBody>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<PaidBody>;
    type Error = S::Error;
    type Future = Either<
        Ready<Result<Self::Response, Self::Error>>,
        BoxFuture<'static, Result<Self::Response, Self::Error>>,
    >;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let url = match self.gate.at_once(&parts) {
            ControlFlow::Break(response) => return Either::Left(ready(Ok(response))),
            ControlFlow::Continue(url) => url,
        };
        // The service that was polled ready is the one to call.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let gate = Arc::clone(&self.gate);
        Either::Right(Box::pin(async move { gate.serve(inner, parts, body, url).await }))
    }
}

/// How a request comes out of the gate.
enum Entry {
    Free(PaidBody),
    /// Who bought it before.
    Known(PaidBody),
    Paid(Box<Ticket>, Arc<Offers>, String, PaidBody),
    Denied(Response<PaidBody>),
}

impl Gate {
    pub(crate) const fn new(core: Arc<Core>, pricing: Pricing) -> Self {
        Self { core, pricing }
    }

    /// What is answered without waiting: preflights, URLs that fit no 402, and unpaid requests at a fixed
    /// price. For all others, the URL of the resource.
    fn at_once(&self, parts: &Parts) -> ControlFlow<Response<PaidBody>, String> {
        if parts.method == Method::OPTIONS {
            let mut response = self.core.cors.preflight(&parts.headers);
            cache::vary(response.headers_mut());
            return ControlFlow::Break(response);
        }
        let url = self.resource_url(parts);
        let response = match &self.pricing {
            _ if url.len() > MAX_URL_BYTES => {
                let rule = format!("must be at most {MAX_URL_BYTES} bytes long");
                answer::fault(StatusCode::URI_TOO_LONG, "url_too_long", "url", &rule)
            }
            // Who comes back waits for the ledger, and who renews for a stream.
            _ if sign_in::is_present(&parts.headers) || parts.headers.contains_key(STREAM) => {
                return ControlFlow::Continue(url);
            }
            Pricing::Fixed(offers) if !pays(&parts.headers) => match self.unpaid(offers, &url) {
                Some(response) => response,
                None => return ControlFlow::Continue(url),
            },
            Pricing::Live(live) if !pays(&parts.headers) => match self.unpaid(&live.now(&self.core), &url) {
                Some(response) => response,
                None => return ControlFlow::Continue(url),
            },
            _ => return ControlFlow::Continue(url),
        };
        ControlFlow::Break(self.finish(response, parts.headers.get(ORIGIN)))
    }

    /// The 402, unless an extension has to be asked first.
    fn unpaid(&self, offers: &Offers, url: &str) -> Option<Response<PaidBody>> {
        let header = offers.header_at_once(url, self.core.clock.now())?;
        Some(answer::unpaid(offers, url, header))
    }

    async fn serve<S, B, R>(
        self: Arc<Self>,
        mut inner: S,
        mut parts: Parts,
        body: B,
        url: String,
    ) -> Result<Response<PaidBody>, S::Error>
    where
        S: Service<Request<PaidBody>, Response = Response<R>>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let origin = parts.headers.get(ORIGIN).cloned();
        let response = match self.enter(&mut parts, body, url).await {
            Entry::Denied(response) => response,
            Entry::Free(body) => {
                let mut response = inner.call(Request::from_parts(parts, body)).await?;
                let _unused = overrides::take(response.headers_mut());
                response.map(body::stream)
            }
            Entry::Known(body) => {
                telemetry::request("signed_in");
                let mut response = inner.call(Request::from_parts(parts, body)).await?;
                let _unused = overrides::take(response.headers_mut());
                cache::private(response.headers_mut());
                response.map(body::stream)
            }
            Entry::Paid(ticket, offers, url, body) => {
                // An error of the inner service drops the ticket: nobody is charged.
                let (span, meter) = (ticket.span().clone(), ticket.meter());
                parts.extensions.insert(meter.clone());
                let response = inner.call(Request::from_parts(parts, body)).instrument(span.clone()).await?;
                leave(*ticket, meter, &offers, &url, response.map(body::stream)).instrument(span).await
            }
        };
        Ok(self.finish(response, origin.as_ref()))
    }

    /// From a request to its right to be served: price, payment, body, decision. What is rare is boxed: each request has room
    /// for the usual way alone.
    async fn enter<B>(&self, parts: &mut Parts, body: B, url: String) -> Entry
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let offers = match self.pricing.offers(&self.core, parts).await {
            Ok(Some(offers)) => offers,
            Ok(None) => return Entry::Free(body::stream(body)),
            Err(error) => {
                tracing::error!(%error, path = parts.uri.path(), "no price: nothing is served");
                return Entry::Denied(answer::internal());
            }
        };
        if let Some(agency) = &offers.route.agency
            && (pays(&parts.headers) || sign_in::is_present(&parts.headers))
        {
            match agency.identify(parts, &url, self.core.clock.now()).await {
                Ok(Some(agent)) => drop(parts.extensions.insert(agent)),
                Ok(None) => {}
                Err(error) => return Entry::Denied(answer::unsigned(&error, &agency.accepted())),
            }
        }
        if parts.headers.contains_key(STREAM) {
            return Entry::Denied(Box::pin(self.renew(parts, &offers, &url)).await);
        }
        let door = offers.route.door.clone().filter(|_| sign_in::is_present(&parts.headers));
        match (door, pays(&parts.headers)) {
            (Some(door), true) => Box::pin(self.come_back_or_pay(parts, body, &door, (offers, url))).await,
            (Some(door), false) => Box::pin(self.come_back(parts, body, &door, &offers, &url)).await,
            (None, true) => self.buy(parts, body, offers, url).await,
            (None, false) => {
                let header = offers.header(&url, self.core.clock.now()).await;
                Entry::Denied(answer::unpaid(&offers, &url, header))
            }
        }
    }

    /// From a payment, or a credit, to the right to be served.
    async fn buy<B>(&self, parts: &mut Parts, body: B, offers: Arc<Offers>, url: String) -> Entry
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        match self.admit(parts, body, &offers, &url).await {
            Ok((ticket, body)) => {
                present(parts, &ticket);
                Entry::Paid(Box::new(ticket), offers, url, body)
            }
            Err(response) => Entry::Denied(*response),
        }
    }

    /// Some clients send a payment along with the proof, in case they need it. Who has bought does not pay again; a proof
    /// that opens nothing leaves the payment as it is.
    async fn come_back_or_pay<B>(
        &self,
        parts: &mut Parts,
        body: B,
        door: &Door,
        (offers, url): (Arc<Offers>, String),
    ) -> Entry
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let networks = sign_in::networks(offers.all.iter().map(|offer| &offer.requirements.network));
        let (announced, now) = (offers.about.announced(&url), self.core.clock.now());
        let Ok(visitor) = door.check(&parts.headers, announced, &networks, now).await else {
            return self.buy(parts, body, offers, url).await;
        };
        let (bytes, fingerprint) = match self.read_request(parts, body, &url).await {
            Ok(read) => read,
            Err(response) => return Entry::Denied(*response),
        };
        let Ok(Some(signed_in)) = door.open(&self.core, visitor, fingerprint).await else {
            return self.buy(parts, body::full(bytes), offers, url).await;
        };
        conceal(&mut parts.headers);
        parts.extensions.insert(signed_in);
        Entry::Known(body::full(bytes))
    }

    /// From a proof of who is there to the right to be served, if they have bought this before.
    async fn come_back<B>(&self, parts: &mut Parts, body: B, door: &Door, offers: &Offers, url: &str) -> Entry
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let now = self.core.clock.now();
        let networks = sign_in::networks(offers.all.iter().map(|offer| &offer.requirements.network));
        let entered = async {
            let announced = offers.about.announced(url);
            let visitor = door.check(&parts.headers, announced, &networks, now).await;
            let visitor = visitor.map_err(|denial| denied(&denial, offers, url, X402Version::V2))?;
            let (bytes, fingerprint) =
                self.read_request(parts, body, url).await.map_err(|response| *response)?;
            let signed_in = door.open(&self.core, visitor, fingerprint).await;
            let signed_in = signed_in.map_err(|denial| denied(&denial, offers, url, X402Version::V2))?;
            Ok::<_, Response<PaidBody>>(signed_in.map(|signed_in| (signed_in, bytes)))
        };
        match entered.await {
            Ok(Some((signed_in, bytes))) => {
                conceal(&mut parts.headers);
                parts.extensions.insert(signed_in);
                Entry::Known(body::full(bytes))
            }
            Ok(None) => Entry::Denied(answer::unpaid(offers, url, offers.header(url, now).await)),
            Err(mut response) => {
                // With a new challenge: the one that was answered may be used up.
                if response.status() == StatusCode::PAYMENT_REQUIRED
                    && let Some(header) = offers.header(url, now).await
                {
                    response.headers_mut().insert(PAYMENT_REQUIRED, header);
                }
                Entry::Denied(response)
            }
        }
    }

    /// From a payment to a ticket. The body is read once the payment is known to be worth it.
    async fn admit<B>(
        &self,
        parts: &Parts,
        body: B,
        offers: &Offers,
        url: &str,
    ) -> Result<(Ticket, PaidBody), Box<Response<PaidBody>>>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let core = &self.core;
        let deny = |denial, version| Box::new(denied(&denial, offers, url, version));
        if credit::is_present(&parts.headers) {
            return Box::pin(self.redeem(parts, body, offers, url)).await;
        }
        let payment = read::read(&parts.headers).map_err(|error| deny(error.into(), X402Version::V2))?;
        let version = payment.version;
        let proved = signature::prove(core, offers, parts, url, &payment).await;
        let proved = proved.map_err(|denial| deny(denial, version))?;
        let proof = proved.as_ref().map(|proved| &proved.proof);
        let payment =
            admit::check_proved(core, offers, payment, url, proof).map_err(|denial| deny(denial, version))?;
        let (bytes, fingerprint) = self.read_request(parts, body, url).await?;
        if let Some(proved) = &proved {
            proved.check_body(&bytes).map_err(|denial| deny(denial, version))?;
        }
        let presented = read::raw(&parts.headers).map(|payment| stored::presented(payment, &parts.headers));
        let requester = stored::requester(&parts.headers);
        let presentation = Presentation { fingerprint, presented, requester };
        let ticket =
            admit::admit(core, payment, presentation).await.map_err(|denial| deny(denial, version))?;
        Ok((ticket, body::full(bytes)))
    }

    /// A request that lets an answer go on which is under way (`meter/renewal.rs`).
    async fn renew(&self, parts: &Parts, offers: &Offers, url: &str) -> Response<PaidBody> {
        let Some(stream) = self.core.channels.streams.named(&parts.headers) else {
            let rule = "names no answer that is under way here";
            return answer::fault(StatusCode::NOT_FOUND, "unknown_stream", "Tollway-Stream", rule);
        };
        let renewed = async {
            if !read::is_present(&parts.headers) {
                return stream.asked().await;
            }
            let payment = admit::check(&self.core, offers, read::read(&parts.headers)?, url)?;
            match payment.into_committed() {
                Some(voucher) => stream.renew(voucher).await,
                None => {
                    let rule = "must be of the channel that pays the answer under way";
                    Err(Refusal::new(ErrorCode::INVALID_SCHEME, "accepted.scheme", rule).into())
                }
            }
        };
        match renewed.await {
            Ok(renewed) => answer::renewed(&renewed),
            Err(denial) => denied(&denial, offers, url, X402Version::V2),
        }
    }

    /// From a credit to a ticket.
    async fn redeem<B>(
        &self,
        parts: &Parts,
        body: B,
        offers: &Offers,
        url: &str,
    ) -> Result<(Ticket, PaidBody), Box<Response<PaidBody>>>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let core = &self.core;
        let deny = |denial: Denial| Box::new(denied(&denial, offers, url, X402Version::V2));
        if read::is_present(&parts.headers) {
            return Err(deny(credit::malformed("must not stand beside a payment").into()));
        }
        let redemption = core.seal.read(&parts.headers, core.clock.now()).map_err(deny)?;
        let offer = redeem::select(&redemption, offers).map_err(deny)?;
        let (bytes, fingerprint) = self.read_request(parts, body, url).await?;
        let header = parts.headers.get(PAYMENT_CREDIT);
        let presented = header.map(|credit| stored::presented(credit, &parts.headers));
        let presentation = Presentation { fingerprint, presented, requester: None };
        let ticket = redeem::admit(core, redemption, offer, Word::new(offers, url), presentation)
            .await
            .map_err(deny)?;
        Ok((ticket, body::full(bytes)))
    }

    /// The whole request, and what it is bound by.
    async fn read_request<B>(
        &self,
        parts: &Parts,
        body: B,
        url: &str,
    ) -> Result<(Bytes, Fingerprint), Box<Response<PaidBody>>>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let limits = &self.core.limits;
        let bytes = body::read(body, limits.body_bytes, limits.body_timeout)
            .await
            .map_err(|error| Box::new(body_fault(error, limits.body_bytes)))?;
        let fingerprint = self.core.fingerprint(parts.method.as_str(), url, &bytes).ok_or_else(|| {
            Box::new(answer::fault(StatusCode::BAD_REQUEST, "invalid_request", "url", "must be a URL"))
        })?;
        Ok((bytes, fingerprint))
    }

    fn resource_url(&self, parts: &Parts) -> String {
        let whole = self.core.request_uri.and_then(|read| read(parts));
        self.core.base.resource_url(whole.as_ref().unwrap_or(&parts.uri))
    }

    /// What every answer of a priced route carries.
    fn finish(&self, mut response: Response<PaidBody>, origin: Option<&HeaderValue>) -> Response<PaidBody> {
        let headers = response.headers_mut();
        cache::vary(headers);
        self.core.cors.apply(headers, origin);
        response
    }
}

/// From the handler's answer to ours: its head decides; of its body only what is kept is read.
async fn leave(
    ticket: Ticket,
    meter: Meter,
    offers: &Offers,
    url: &str,
    mut response: Response<PaidBody>,
) -> Response<PaidBody> {
    let override_text = overrides::take(response.headers_mut());
    let version = ticket.version();
    if response.status().as_u16() >= 400 {
        telemetry::request("handler_failed");
        if let Some(credit) = ticket.credit() {
            answer::credit(response.headers_mut(), &credit);
        }
        answer::receipt(response.headers_mut(), &ticket.release().await);
        return response;
    }
    if let Some(Streamed(meter)) = response.extensions_mut().remove::<Streamed>() {
        if ticket.is_metered() && override_text.is_none() {
            return Box::pin(flow(ticket, &meter, offers, url, response)).await;
        }
        // It is paid as a whole, before it leaves.
        meter.waive();
    }
    let (mut head, body) = match ticket.presented() {
        None => {
            let (head, body) = response.into_parts();
            (Response::from_parts(head, ()), AnswerBody::Stream(body))
        }
        Some(_) => match stored::collect(response, &ticket.core().stored).await {
            Ok(collected) => collected,
            Err(error) => {
                ticket.close().await;
                let fault = format!("the handler's answer broke off: {error}");
                return denied(&Denial::Internal(fault), offers, url, version);
            }
        },
    };
    let paid = match charge(&ticket, &meter, override_text) {
        Ok(charge) => pay(ticket, charge, &mut head, body.whole()).await,
        Err(fault) => {
            ticket.release().await;
            Err(Denial::Internal(fault))
        }
    };
    match paid {
        Ok(outcome) => {
            telemetry::request(outcome);
            head.map(|()| body.into_body())
        }
        Err(denial) => denied(&denial, offers, url, version),
    }
}

/// Lets an answer leave that is charged part by part from now on.
async fn flow(
    ticket: Ticket,
    meter: &Meter,
    offers: &Offers,
    url: &str,
    mut response: Response<PaidBody>,
) -> Response<PaidBody> {
    let version = ticket.version();
    let begun = async {
        let (live, name) = ticket.streamed().await?;
        meter.begin(live).await.map_err(|error| Denial::Internal(error.to_string()))?;
        Ok(name)
    };
    match begun.await {
        Ok(name) => {
            telemetry::request("streamed");
            answer::streams(response.headers_mut(), name.as_deref());
            response
        }
        Err(denial) => denied(&denial, offers, url, version),
    }
}

/// The money, and the record of it. Only after this may the answer leave.
async fn pay(
    mut ticket: Ticket,
    charge: Charge,
    head: &mut Response<()>,
    whole: Option<Bytes>,
) -> Result<&'static str, Denial> {
    let core = Arc::clone(ticket.core());
    let presented = ticket.presented();
    let record = |head: &Response<()>| {
        let expires = core.clock.now().plus_seconds(core.stored.age_seconds);
        stored::record(presented?, head, whole.as_ref()?, expires)
    };
    if ticket.may_owe(charge) {
        // Without a receipt: nothing has settled, and a buyer is told nothing else.
        cache::private(head.headers_mut());
        if ticket.owe(charge, record(head)).await? {
            return Ok("owed");
        }
    }
    let mut receipt = ticket.charge(charge).await?;
    ticket.attest(&mut receipt).await;
    answer::receipt(head.headers_mut(), &receipt);
    ticket.deliver(record(head)).await?;
    Ok("served")
}

/// What the handler charges. The money of a payment that settled first has moved already.
fn charge(
    ticket: &Ticket,
    meter: &Meter,
    override_text: Option<Result<String, String>>,
) -> Result<Charge, String> {
    let metered = meter.total().filter(|_| ticket.is_metered());
    let Some(text) = override_text else { return Ok(metered.map_or(Charge::Full, Charge::Amount)) };
    if metered.is_some() {
        return Err("Settlement-Overrides stands beside what was metered".to_owned());
    }
    if ticket.is_settled() {
        tracing::warn!("Settlement-Overrides is too late: the payment had settled before the handler ran");
        return Ok(Charge::Full);
    }
    text.and_then(|text| overrides::parse(&text, ticket.scheme(), ticket.requirements()))
        .map_err(|fault| format!("Settlement-Overrides: {fault}"))
}

fn denied(denial: &Denial, offers: &Offers, url: &str, version: X402Version) -> Response<PaidBody> {
    telemetry::request(telemetry::outcome(denial));
    if let Denial::Internal(fault) = denial {
        tracing::error!(fault, url, "nothing was charged and nothing is served");
    }
    answer::denied(denial, offers, url, version)
}

/// Tells the handler who paid, and keeps the signed authorization from going further than it must.
fn present(parts: &mut Parts, ticket: &Ticket) {
    conceal(&mut parts.headers);
    let offer = ticket.requirements();
    parts.extensions.insert(Payment {
        payer: ticket.payer().to_owned(),
        network: offer.network.clone(),
        asset: offer.asset.clone(),
        amount: offer.amount,
        authorization: ticket.authorization().cloned(),
    });
}

/// Takes off a request what its handler has no use for, and others might have.
fn conceal(headers: &mut HeaderMap) {
    for name in [PAYMENT_SIGNATURE, X_PAYMENT, PAYMENT_CREDIT, HEADER] {
        headers.remove(name);
    }
}

/// Whether a request carries a payment, or a credit instead of one.
fn pays(headers: &HeaderMap) -> bool {
    read::is_present(headers) || credit::is_present(headers)
}

fn body_fault(error: BodyError, limit_bytes: usize) -> Response<PaidBody> {
    match error {
        BodyError::TooLarge => {
            let rule = format!("must be at most {limit_bytes} bytes long with a payment");
            answer::fault(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "body", &rule)
        }
        BodyError::TooSlow => {
            answer::fault(StatusCode::REQUEST_TIMEOUT, "body_too_slow", "body", "took too long to arrive")
        }
        BodyError::Broken => {
            answer::fault(StatusCode::BAD_REQUEST, "body_broken", "body", "did not arrive whole")
        }
    }
}
