//! The purchase, phase by phase, as a middleware of an HTTP client.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{Error, Middleware, Next};
use tollway_core::{PAYMENT_CREDIT, wire};

use crate::error::PaymentError;
use crate::http_clients::HttpClients;
use crate::origin;
use crate::present::present;
use crate::required::{self, Answer};
use crate::settlement;
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
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        if carries_payment(&request) {
            return self.forward(request).await;
        }
        let url = request.url().clone();
        let again = request.try_clone();
        let response = next.run(request, extensions).await?;
        let answered = response.url().clone();
        let required = match required::read(response).await.map_err(Error::middleware)? {
            Answer::Other(response) => return Ok(response),
            Answer::Payable(required) => required,
        };
        let buy = async {
            origin::check_not_redirected(&url, &answered)?;
            let request = again.ok_or(PaymentError::BodyNotReplayable)?;
            let payment = self.wallet.pay(&required, &url).await?;
            let client = self.http.paying(&request);
            let (patience, clock) = (self.wallet.patience(), self.wallet.clock());
            let mut response = present(client, request, &payment, patience, clock).await?;
            settlement::record(payment, &mut response);
            Ok::<_, PaymentError>(response)
        };
        buy.await.map_err(Error::middleware)
    }

    /// Sends a request that its caller has paid for.
    async fn forward(&self, request: Request) -> Result<Response, Error> {
        origin::check_secure(request.url()).map_err(Error::middleware)?;
        Ok(self.http.paying(&request).execute(request).await?)
    }
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

fn carries_payment(request: &Request) -> bool {
    let headers = request.headers();
    [wire::PAYMENT_SIGNATURE, wire::X_PAYMENT, PAYMENT_CREDIT].iter().any(|name| headers.contains_key(*name))
}
