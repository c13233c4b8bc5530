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

use crate::error::PaymentError;
use crate::hints::Hints;
use crate::http_clients::HttpClients;
use crate::identify;
use crate::offer_receipt::Purchase;
use crate::origin;
use crate::present::present;
use crate::required::{self, Answer};
use crate::settlement;
use crate::sign::SignedPayment;
use crate::wallet::Wallet;

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
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        if carries_payment(&request) {
            return self.forward(request).await;
        }
        let url = request.url().clone();
        let again = request.try_clone();
        self.identify(&mut request).map_err(Error::middleware)?;
        let response = next.run(request, extensions).await?;
        let answered = response.url().clone();
        let mut required = match required::read(response).await.map_err(Error::middleware)? {
            Answer::Other(response) => return Ok(response),
            Answer::Payable(required) => required,
        };
        if url == answered
            && let Some(request) = again.as_ref().and_then(Request::try_clone)
            && let Some(answer) = self.come_back(&required, request).await.map_err(Error::middleware)?
        {
            match required::read(answer).await.map_err(Error::middleware)? {
                Answer::Other(response) => return Ok(response),
                Answer::Payable(anew) => required = anew,
            }
        }
        let buy = async {
            origin::check_not_redirected(&url, &answered)?;
            let mut request = again.ok_or(PaymentError::BodyNotReplayable)?;
            let hints = Hints::of(&required, &request)?;
            let proof = if hints.may_want_proof() { self.wallet.prove(&required, &url).await? } else { None };
            let payable = hints.payable(&required, proof.is_some())?;
            let payment = self.wallet.pay(&payable, &url).await?;
            if let Some(proof) = proof.filter(|_| hints.wants_proof(&required, &payment.offer)) {
                attach(&mut request, &proof)?;
            }
            deliver(&self.wallet, &self.http, request, payment).await
        };
        buy.await.map_err(Error::middleware)
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

/// Presents `payment` with `request`, and notes on the answer what became of it.
pub(crate) async fn deliver(
    wallet: &Wallet,
    http: &HttpClients,
    request: Request,
    payment: SignedPayment,
) -> Result<Response, PaymentError> {
    let client = http.paying(&request);
    let (keys, now) = (wallet.keys().clone(), wallet.clock().now());
    let purchase = Purchase::new(keys, payment.resource_url.as_deref(), &request, now);
    let mut response = present(client, request, &payment, wallet).await?;
    if required::is_allowance_required(response.status(), response.headers()) {
        return Err(PaymentError::AllowanceRequired { payment: Box::new(payment) });
    }
    settlement::record(payment, &purchase, &mut response);
    Ok(response)
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
