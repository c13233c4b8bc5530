//! Why a purchase did not happen, or is not known to have happened.

use tollway_core::SignError;
use tollway_core::wire::WireError;
use tollway_ledger::LedgerError;
use url::Url;

use crate::origin::without_query;
use crate::selection::JudgedOffer;
use crate::sign::SignedPayment;

/// Why the paying client has no answer for its caller.
///
/// Everything except [`Unresolved`](Self::Unresolved) means: no money has moved, and none will. A payment that lacks an
/// approval ([`AllowanceRequired`](Self::AllowanceRequired)) moves none without one. Through a
/// client it arrives inside [`reqwest_middleware::Error::Middleware`]; [`payment_error`] takes it out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PaymentError {
    /// The 402 has no offers at all.
    #[error("payment required, but the seller offers no way to pay")]
    NoOffers,
    /// No offer may be paid: each with its reason.
    #[error("payment required, but no offer may be paid:{}", lines(.0))]
    Denied(Vec<JudgedOffer>),
    /// Every offer needs credentials besides the payment (extension `auth-hints`), which the request does not have.
    #[error("payment required, but every offer needs credentials besides that the request does not carry")]
    Credentials,
    /// The payment would travel in the clear.
    #[error("refusing to pay over plaintext: {} is neither https nor loopback", without_query(.0))]
    Insecure(Box<Url>),
    /// The 402 came from elsewhere than the request was sent to.
    #[error(
        "refusing to pay after a redirect: {} led to {}; if that is who you mean to pay, request it directly",
        without_query(requested),
        without_query(answered)
    )]
    Redirected {
        /// What was requested.
        requested: Box<Url>,
        /// What answered.
        answered: Box<Url>,
    },
    /// The 402 asks payment for a resource somewhere else.
    #[error(
        "refusing to pay: the request went to {}, but the 402 is for a resource at {resource}; if both are the \
         same seller, trust that resource host in the policy",
        without_query(requested)
    )]
    ResourceMismatch {
        /// What was requested.
        requested: Box<Url>,
        /// The origin the 402 names, shortened and escaped.
        resource: String,
    },
    /// The seller's credit cannot be redeemed so.
    #[error("the credit cannot be redeemed: {0}")]
    Credit(&'static str),
    /// The body was a stream, now gone, and the paid request needs it again.
    #[error("payment required, but the request's body is a stream and cannot be sent twice: buffer it")]
    BodyNotReplayable,
    /// The 402 speaks x402, brokenly.
    #[error("the 402 is malformed: {0}")]
    Malformed402(#[source] WireError),
    /// The request could not be signed (RFC 9421), and never left.
    #[error("the request cannot be signed: {0}")]
    MessageSignature(#[source] WireError),
    /// Nothing was signed.
    #[error("nothing was signed: {0}")]
    Sign(#[source] SignError),
    /// The payment was presented and refused with status 412: the token moves by Permit2 only, and its owner has not approved
    /// that contract for as much. Nothing has moved. **The payment is good until it expires**: once there is an approval it can
    /// be charged, so present this one rather than buying anew.
    #[error(
        "the contract Permit2 may not move {} atomic units of {} on {} yet, and nothing has moved: approve it, from the \
         account that pays (Wallet::approve, or `tollway pay --approve`), and present the same payment again",
        payment.offer.amount,
        payment.offer.asset,
        payment.offer.network
    )]
    AllowanceRequired {
        /// The payment, to be presented again by [`Wallet::present`](crate::Wallet::present).
        payment: Box<SignedPayment>,
    },
    /// Signed, but what the scheme made is no header value: the payment never left.
    #[error("the payment was signed but never sent: it does not fit a header")]
    Unpresentable,
    /// Signed, but no connection to the seller came about: the payment never left.
    #[error("the payment was signed but never sent: no connection to the seller")]
    NotSent(#[source] reqwest::Error),
    /// The payment was sent and its fate is not known. **Money may have moved.**
    ///
    /// A new purchase may pay a second time. To learn the fate, send the same request with this payment's
    /// header: a request that carries one is never paid for again.
    #[error(
        "the payment was sent and its fate is unknown ({cause}): money may have moved; present the same payment \
         again, do not buy anew"
    )]
    Unresolved {
        /// The payment, to be presented again.
        payment: Box<SignedPayment>,
        /// What came instead of an answer.
        cause: String,
    },
    /// The ledger cannot be written: nothing leaves that is not written down.
    #[error("nothing was paid: the wallet's ledger: {0}")]
    Ledger(#[source] LedgerError),
    /// Another request of the same purchase is under way, here or in another process, and did not end in time. Its payment may
    /// be charged; this request has signed none.
    #[error("the same purchase is under way, and did not end in time: ask again later")]
    Busy,
    /// The key names another request's purchase.
    #[error("the purchase of this key was for another request: name each purchase anew")]
    KeyReused,
    /// HTTP failed before there was anything to pay for.
    #[error(transparent)]
    Http(#[from] reqwest::Error),
}

/// The payment error inside an error of the client, if it is one.
///
/// ```no_run
/// # async fn buy(client: reqwest_middleware::ClientWithMiddleware) {
/// use tollway_buyer::{PaymentError, payment_error};
/// let Err(error) = client.get("https://api.example.com/data").send().await else { return };
/// match payment_error(&error) {
///     Some(PaymentError::Denied(offers)) => println!("too dear: {offers:?}"),
///     Some(PaymentError::Unresolved { payment, .. }) => println!("keep {payment:?}"),
///     _ => println!("{error}"),
/// }
/// # }
/// ```
pub fn payment_error(error: &reqwest_middleware::Error) -> Option<&PaymentError> {
    match error {
        reqwest_middleware::Error::Middleware(inner) => inner.downcast_ref(),
        reqwest_middleware::Error::Reqwest(_) => None,
    }
}

fn lines(offers: &[JudgedOffer]) -> String {
    offers.iter().map(|offer| format!("\n- {offer}")).collect()
}
