//! The desk where invoices are paid: a route whose price is an invoice's amount, and that writes the payment down. The
//! money moves before the desk is asked, by an ordinary payment of scheme `exact`; who presents it again is answered again,
//! and it counts once.

use std::convert::Infallible;
use std::task::{Context, Poll};

use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use serde_json::{Value, json};
use tollway_core::{BoxFuture, CREDIT_DECIMALS, Money, Price, SchemeName};
use tower::{Layer, Service};

use super::book::CreditBook;
use super::invoice::Invoice;
use super::line::AccountError;
use crate::body::{self, PaidBody};
use crate::paywall::Paywall;
use crate::priced::BoxError;
use crate::service::{Payment, PaywallService};

/// Where a buyer's wallet pays an invoice: mounted at a path that ends in the invoice's name.
#[derive(Clone, Debug)]
pub struct BillDesk {
    book: CreditBook,
}

/// Why invoices cannot be paid through a paywall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BillDeskError {
    /// It takes other things than money at once.
    #[error("the desk's paywall must accept scheme exact only: an invoice is not paid on credit")]
    NotExact,
    /// Nobody can say how many tokens the accounts' currency is.
    #[error("the desk takes dollars: accounts in another currency are settled through a bank")]
    NotDollars,
}

impl BillDesk {
    /// The desk of `book` behind `paywall`: to be mounted at a path such as `/invoices/{invoice}`.
    ///
    /// # Errors
    /// [`BillDeskError`].
    ///
    /// ```
    /// use tollway_seller::{BillDesk, BillDeskError, CreditBook, Paywall, PaywallService};
    /// fn mounted(book: CreditBook, paywall: &Paywall) -> Result<PaywallService<BillDesk>, BillDeskError> {
    ///     BillDesk::open(book, paywall)
    /// }
    /// ```
    pub fn open(book: CreditBook, paywall: &Paywall) -> Result<PaywallService<Self>, BillDeskError> {
        if paywall.core.rails.iter().any(|rail| *rail.scheme.name() != SchemeName::EXACT) {
            return Err(BillDeskError::NotExact);
        }
        if book.accounts().currency != "USD" {
            return Err(BillDeskError::NotDollars);
        }
        let priced = book.clone();
        let price = move |parts: &Parts| {
            let (book, id) = (priced.clone(), named(parts.uri.path()).to_owned());
            async move {
                Ok::<_, BoxError>(match book.invoice(&id).await? {
                    Some(invoice) if !invoice.is_paid => Some(vec![Price::Money(dollars(&invoice)?)]),
                    _ => None,
                })
            }
        };
        Ok(paywall.dynamic(price).upfront().layer(Self { book }))
    }

    async fn answer(&self, parts: Parts) -> Response<PaidBody> {
        match self.settle(&parts).await {
            Ok(Some(invoice)) => told(StatusCode::OK, &invoice.to_json()),
            Ok(None) => told(StatusCode::NOT_FOUND, &json!({ "error": "no_such_invoice" })),
            Err(error) => {
                tracing::error!(%error, "a payment of an invoice is not written down: it will be presented again");
                told(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": "ledger_unavailable" }))
            }
        }
    }

    async fn settle(&self, parts: &Parts) -> Result<Option<Invoice>, AccountError> {
        let Some(invoice) = self.book.invoice(named(parts.uri.path())).await? else { return Ok(None) };
        let paid = parts.extensions.get::<Payment>().and_then(|payment| payment.authorization.as_ref());
        let Some(authorization) = paid else { return Ok(Some(invoice)) };
        let (account, id) = (&*invoice.account, Some(&*invoice.id));
        if !self.book.record_payment(account, invoice.amount, authorization.as_str(), id).await? {
            tracing::info!(account, invoice = invoice.id, "the payment had been written down already");
        }
        Ok(Some(Invoice { is_paid: true, ..invoice }))
    }
}

impl Service<Request<PaidBody>> for BillDesk {
    type Response = Response<PaidBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<PaidBody>) -> Self::Future {
        let (desk, (parts, _)) = (self.clone(), request.into_parts());
        Box::pin(async move { Ok(desk.answer(parts).await) })
    }
}

/// The invoice that a path ends in.
fn named(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

fn dollars(invoice: &Invoice) -> Result<Money, tollway_core::MoneyError> {
    format!("${}", invoice.amount.to_decimal(CREDIT_DECIMALS)).parse()
}

fn told(status: StatusCode, json: &Value) -> Response<PaidBody> {
    let mut response = Response::new(body::full(json.to_string().into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
