//! The purchase, phase by phase, as a middleware of an HTTP client.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use http::{Extensions, HeaderValue};
use reqwest::{Request, Response};
use reqwest_middleware::{Error, Middleware, Next};
use tollway_core::extension::sign_in::{self, SignInProof};
use tollway_core::model::PaymentRequired;
use tollway_core::{PAYMENT_CREDIT, wire};

use crate::buy::{self, Asked, Bought, Earlier, Purchased};
use crate::channel::answer::Told;
use crate::channel::lane::Lane;
use crate::error::PaymentError;
use crate::hints::Hints;
use crate::http_clients::HttpClients;
use crate::identify;
use crate::intent::answer::followed;
use crate::intent::work::Work;
use crate::offer_receipt::Purchase;
use crate::origin;
use crate::present::present;
use crate::required::{self, Answer};
use crate::settlement::{self, Paid};
use crate::sign::SignedPayment;
use crate::wallet::Wallet;

/// How often a request begins anew because another one of the same purchase came between.
const MOST_ROUNDS: u32 = 16;
/// How often a request is paid for anew because the seller knew better what was charged on its channel: once for what was
/// charged, once for what was put in.
const MOST_CORRECTIONS: u32 = 2;

/// The middleware that pays: once per request, and only for what the wallet's policy allows.
///
/// [`Wallet::client`] has it already. To add it to a client of your own, put it last: what comes after it
/// would see only the request without the payment. The request with the payment goes through a client of the
/// wallet's, which follows no redirect.
///
/// A request that carries a payment header already, or redeems a credit, is not paid for again. It is sent as it is,
/// once, and neither redirected nor sent in the clear.
#[derive(Clone)]
pub struct PayingMiddleware {
    wallet: Wallet,
    http: HttpClients,
}

impl PayingMiddleware {
    pub(crate) fn new(wallet: Wallet, http: HttpClients) -> Self {
        Self { wallet, http }
    }

    async fn send(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        if carries_payment(&request) {
            return self.forward(request).await;
        }
        let asked = self.wallet.asked(&request, extensions);
        // What can be asked for again is asked for again where another request of the same purchase came between.
        let (mut rounds, mut corrections) = (MOST_ROUNDS, 0);
        while let Some(again) = request.try_clone() {
            if rounds == 0 {
                return Err(Error::middleware(PaymentError::Busy));
            }
            rounds -= 1;
            let earlier = buy::resume(&self.wallet, &asked).await.map_err(Error::middleware)?;
            if let Earlier::Payment(bought) = earlier {
                let delivered = deliver(&self.wallet, &self.http, again, *bought).await;
                match delivered.map_err(Error::middleware)? {
                    Delivered::Corrected(answer) if corrections == MOST_CORRECTIONS => return Ok(answer),
                    Delivered::Answer(answer) => return Ok(answer),
                    Delivered::Corrected(_) => corrections += 1,
                }
                continue;
            }
            match self.ask_and_buy(&asked, again, extensions, next.clone()).await? {
                Some(Delivered::Corrected(answer)) if corrections == MOST_CORRECTIONS => return Ok(answer),
                Some(Delivered::Answer(answer)) => return Ok(answer),
                Some(Delivered::Corrected(_)) => corrections += 1,
                None => {}
            }
        }
        self.ask_once(request, extensions, next).await
    }

    /// Asks, and buys what is asked to be paid. None: somebody else has bought it meanwhile.
    async fn ask_and_buy(
        &self,
        asked: &Asked,
        again: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Option<Delivered>, Error> {
        let copy = |request: &Request| request.try_clone().ok_or(PaymentError::BodyNotReplayable);
        let mut request = copy(&again).map_err(Error::middleware)?;
        self.identify(&mut request).map_err(Error::middleware)?;
        let response = next.run(request, extensions).await?;
        let answered = response.url().clone();
        let mut required = match required::read(response).await.map_err(Error::middleware)? {
            Answer::Other(response) => return Ok(Some(Delivered::Answer(response))),
            Answer::Payable(required) => required,
        };
        if asked.url == answered
            && let Some(answer) = self
                .come_back(&required, copy(&again).map_err(Error::middleware)?)
                .await
                .map_err(Error::middleware)?
        {
            match required::read(answer).await.map_err(Error::middleware)? {
                Answer::Other(response) => return Ok(Some(Delivered::Answer(response))),
                Answer::Payable(anew) => required = anew,
            }
        }
        origin::check_not_redirected(&asked.url, &answered).map_err(Error::middleware)?;
        self.pay(asked, again, &required).await.map_err(Error::middleware)
    }

    /// Pays for `request` what `required` asks, and presents it.
    async fn pay(
        &self,
        asked: &Asked,
        mut request: Request,
        required: &PaymentRequired,
    ) -> Result<Option<Delivered>, PaymentError> {
        let hints = Hints::of(required, &request)?;
        let proof = match hints.may_want_proof() {
            true => self.wallet.prove(required, &asked.url).await?,
            false => None,
        };
        let payable = hints.payable(required, proof.is_some())?;
        let Purchased::Payment(bought) = buy::buy(&self.wallet, asked, &payable).await? else {
            return Ok(None);
        };
        if let Some(proof) = proof.filter(|_| hints.wants_proof(required, &bought.payment.offer)) {
            attach(&mut request, &proof)?;
        }
        deliver(&self.wallet, &self.http, request, *bought).await.map(Some)
    }

    /// Sends a request whose body can be sent once only: what asks to be paid is not.
    async fn ask_once(
        &self,
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        let url = request.url().clone();
        self.identify(&mut request).map_err(Error::middleware)?;
        let response = next.run(request, extensions).await?;
        let answered = response.url().clone();
        match required::read(response).await.map_err(Error::middleware)? {
            Answer::Other(response) => Ok(response),
            Answer::Payable(_) => {
                origin::check_not_redirected(&url, &answered).map_err(Error::middleware)?;
                Err(Error::middleware(PaymentError::BodyNotReplayable))
            }
        }
    }

    /// Signs in where `required` asks who is there, and asks again: what was bought need not be paid for. None if nobody asks,
    /// or the wallet does not sign in.
    async fn come_back(
        &self,
        required: &PaymentRequired,
        mut request: Request,
    ) -> Result<Option<Response>, PaymentError> {
        if !self.wallet.signs_in() || origin::check_secure(request.url()).is_err() {
            return Ok(None);
        }
        let Some(proof) = self.wallet.prove(required, request.url()).await? else { return Ok(None) };
        attach(&mut request, &proof)?;
        self.identify(&mut request)?;
        // A proof is as good as what it opens: it goes where it was asked for, and nowhere else.
        Ok(Some(self.http.paying(&request).execute(request).await?))
    }

    /// Signs a request as it is, if the wallet signs requests.
    fn identify(&self, request: &mut Request) -> Result<(), PaymentError> {
        match self.wallet.message_signer() {
            Some(signer) => identify::sign(request, signer, self.wallet.clock().now()),
            None => Ok(()),
        }
    }

    /// Sends a request that its caller has paid for.
    async fn forward(&self, mut request: Request) -> Result<Response, Error> {
        origin::check_secure(request.url()).map_err(Error::middleware)?;
        self.identify(&mut request).map_err(Error::middleware)?;
        Ok(self.http.paying(&request).execute(request).await?)
    }
}

/// Presents what was bought with `request`; notes on the answer, and in the wallet's book, what became of it.
pub(crate) async fn deliver(
    wallet: &Wallet,
    http: &HttpClients,
    request: Request,
    bought: Bought,
) -> Result<Delivered, PaymentError> {
    let Bought { payment, mut work, seen, lane } = bought;
    let is_first = seen.is_none() && work.as_ref().is_some_and(|work| work.record.presented <= 1);
    let client = http.paying(&request);
    let (keys, now) = (wallet.keys().clone(), wallet.clock().now());
    let purchase = Purchase::new(keys, payment.resource_url.as_deref(), &request, now);
    let (presented, is_once) = present(client, request, &payment, wallet, seen).await;
    let mut response = match (presented, &mut work) {
        (Ok(response), _) => response,
        (Err(error), Some(work)) => {
            if let PaymentError::Unresolved { cause, .. } = &error {
                work.unresolved(cause);
            }
            if let Some(lane) = lane {
                lane.leave().await;
            }
            return Err(error);
        }
        (Err(error), None) => return Err(error),
    };
    if required::is_allowance_required(response.status(), response.headers()) {
        if let Some(work) = &mut work {
            work.refused(response.status().as_u16());
        }
        if let Some(lane) = lane {
            lane.leave_soon(payment.intent);
        }
        return Err(PaymentError::AllowanceRequired { payment: Box::new(payment) });
    }
    settlement::record(payment.clone(), &purchase, &mut response);
    if let Some(lane) = lane {
        let told = on_channel(lane, &payment, work.as_mut(), &mut response, is_first && is_once).await;
        if is_corrected(told, &payment, &mut work).await? {
            return Ok(Delivered::Corrected(response));
        }
    }
    let Some(mut work) = work else { return Ok(Delivered::Answer(response)) };
    if let Some(paid) = settlement::paid(&response) {
        let receipt = paid.receipt.as_ref().map(|receipt| receipt.signed.json().clone().into());
        work.answered(response.status().as_u16(), paid, receipt);
    }
    let (response, ended) = followed(response, &wallet.book().writes);
    work.finish(ended);
    Ok(Delivered::Answer(response))
}

/// Whether the seller knows better what was charged, so that the purchase may be made anew.
async fn is_corrected(
    told: Told,
    payment: &SignedPayment,
    work: &mut Option<Box<Work>>,
) -> Result<bool, PaymentError> {
    let cause = match told {
        Told::Again => {
            if let Some(mut work) = work.take() {
                work.dead("the seller knows better what was charged on the channel");
                work.leave().await;
            }
            return Ok(true);
        }
        Told::Lost(charged) => {
            format!("{charged} was charged for it, and the seller does not give the answer again")
        }
        Told::Unsure => {
            let cause = "one of several purchases whose answers are lost was charged, maybe this".to_owned();
            if let Some(work) = work {
                work.unresolved(&cause);
            }
            cause
        }
        Told::Charged(_) | Told::Broken(_) | Told::Nothing(_) => return Ok(false),
    };
    if let Some(work) = work.take() {
        work.leave().await;
    }
    Err(PaymentError::Unresolved { payment: Box::new(payment.clone()), cause })
}

/// What presenting came to.
pub(crate) enum Delivered {
    /// An answer for the caller.
    Answer(Response),
    /// The seller knows better what was charged on the channel, and this purchase was not: it may be made anew. With it, the
    /// refusal.
    Corrected(Response),
}

impl Delivered {
    /// The answer, whatever could be done about it.
    pub(crate) fn response(self) -> Response {
        match self {
            Self::Answer(response) | Self::Corrected(response) => response,
        }
    }
}

/// Holds an answer against what was promised on the channel, and lets go of that.
async fn on_channel(
    mut lane: Box<Lane>,
    payment: &SignedPayment,
    work: Option<&mut Box<Work>>,
    response: &mut Response,
    is_first: bool,
) -> Told {
    let settlement = settlement::paid(response).and_then(|paid| paid.settlement.clone());
    let (status, headers) = (response.status(), response.headers().clone());
    let told = lane.take_in(payment, settlement.as_ref(), status, &headers, is_first).await;
    let fault = match &told {
        Told::Broken(why) => Some(format!("the channel is given up: {why}")),
        Told::Nothing(why) => why.clone(),
        _ => None,
    };
    if let (Some(fault), Some(paid)) = (&fault, response.extensions_mut().get_mut::<Paid>()) {
        let before = paid.suspicious.take().map(|before| format!("{before}; ")).unwrap_or_default();
        paid.suspicious = Some(format!("{before}{fault}"));
    }
    if let (Told::Charged(charged), Some(paid)) = (&told, response.extensions_mut().get_mut::<Paid>()) {
        paid.channel.iter_mut().for_each(|note| note.charged = Some(*charged));
    }
    if let Some(work) = work {
        match &told {
            Told::Charged(charged) | Told::Lost(charged) => work.charged(*charged),
            _ => {}
        }
    }
    lane.leave_soon(payment.intent);
    told
}

impl fmt::Debug for PayingMiddleware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PayingMiddleware").field(&self.wallet).finish()
    }
}

/// What `async_trait` makes of `Middleware::handle`, written out: one function is not worth a macro.
impl Middleware for PayingMiddleware {
    fn handle<'s, 'e, 'n, 'f>(
        &'s self,
        request: Request,
        extensions: &'e mut Extensions,
        next: Next<'n>,
    ) -> Pin<Box<dyn Future<Output = Result<Response, Error>> + Send + 'f>>
    where
        's: 'f,
        'e: 'f,
        'n: 'f,
        Self: 'f,
    {
        Box::pin(self.send(request, extensions, next))
    }
}

/// Puts a proof on a request.
fn attach(request: &mut Request, proof: &SignInProof) -> Result<(), PaymentError> {
    let mut value = HeaderValue::from_str(&proof.encode()).map_err(|_| PaymentError::Unpresentable)?;
    value.set_sensitive(true);
    request.headers_mut().insert(sign_in::HEADER, value);
    Ok(())
}

fn carries_payment(request: &Request) -> bool {
    let headers = request.headers();
    [wire::PAYMENT_SIGNATURE, wire::X_PAYMENT, PAYMENT_CREDIT].iter().any(|name| headers.contains_key(*name))
}
