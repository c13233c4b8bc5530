//! Presenting the payment: sent, and sent again while its fate is open. Always the same payment: a second
//! signature could be a second charge, the same one cannot.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, RETRY_AFTER};
use reqwest::{Client, Request, Response, StatusCode};
use tokio::time::Instant;
use tollway_core::UnixTime;

use crate::channel::answer;
use crate::error::PaymentError;
use crate::identify;
use crate::required;
use crate::settlement;
use crate::sign::SignedPayment;
use crate::wallet::Wallet;

/// How long the wallet waits for a seller to make up its mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How often one payment is presented at most, the first time included; 3 by default.
    pub presentations: u32,
    /// How long one answer may take to begin; 100 s by default, for facilitators are given 90.
    pub answer: Duration,
    /// How long all of it may take; 180 s by default. An authorization that expires ends it sooner.
    pub total: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { presentations: 3, answer: Duration::from_secs(100), total: Duration::from_secs(180) }
    }
}

/// How often a payment is presented again after an answer was lost.
const AFTER_LOSS: u32 = 1;

/// The pause after a connection failed.
const PAUSE: Duration = Duration::from_millis(200);

/// The shortest pause that a `Retry-After` is taken for.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// Presenting one payment, free of transport: what has been seen of it so far, and what that means for the next step.
/// Always the same payment: a second signature could be a second charge.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tollway_buyer::{Next, Patience, Presentation, Presented};
/// let payment = wallet().pay(&required(), &url()).await?;
/// let mut presentation = Presentation::new(&payment, Patience::default());
/// let now = payment.signed_at;
/// let lost = Presented::Lost("the connection broke".to_owned());
/// assert!(matches!(presentation.next(&lost, now), Next::Again(_)), "it may have arrived: once more");
/// let refused = Presented::read(&payment, http::StatusCode::PAYMENT_REQUIRED, &http::HeaderMap::new());
/// assert!(matches!(presentation.next(&refused, now), Next::Unresolved(_)), "refused, perhaps for being settled");
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Presentation {
    patience: Patience,
    deadline: Instant,
    expires_at: UnixTime,
    presented: u32,
    losses: u32,
    /// What is known of a payment that may have arrived. Nothing later makes it unseen.
    seen: Option<String>,
}

/// What became of one presentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presented {
    /// An answer for the caller.
    Answered,
    /// Refused with 402, without a word that this payment failed, or with 412, because Permit2 may not move the token.
    Refused,
    /// The seller has not made up its mind.
    Pending {
        /// Its words, for people.
        words: String,
        /// How long it asks to wait.
        pause: Duration,
    },
    /// The request may have arrived, and no answer did.
    Lost(String),
    /// The request never left.
    NotSent,
}

/// What to do after a presentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The answer is the caller's.
    Done,
    /// Present the same payment again after this pause.
    Again(Duration),
    /// Give up: the payment may have been charged, and this is why.
    Unresolved(String),
    /// Give up: the payment never left.
    NotSent,
}

impl Presented {
    /// Reads the head of an answer.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_buyer::Presented;
    /// let payment = wallet().pay(&required(), &url()).await?;
    /// let headers = http::HeaderMap::new();
    /// assert_eq!(Presented::read(&payment, http::StatusCode::OK, &headers), Presented::Answered);
    /// assert_eq!(Presented::read(&payment, http::StatusCode::PAYMENT_REQUIRED, &headers), Presented::Refused);
    /// # Ok(()) }
    /// ```
    pub fn read(payment: &SignedPayment, status: StatusCode, headers: &HeaderMap) -> Self {
        if let Some(pause) = asked_to_wait(status, headers) {
            let words = format!("the seller answered {status} and asked to wait");
            return Self::Pending { words, pause };
        }
        if payment.channel.is_some() && status == StatusCode::PAYMENT_REQUIRED {
            // What a refusal means, the channel tells.
            return match answer::is_busy(status, headers) {
                true => Self::Pending { words: "the seller is at the channel".to_owned(), pause: PAUSE },
                false => Self::Answered,
            };
        }
        // An earlier presentation may have met an allowance and used it up.
        if required::is_allowance_required(status, headers) {
            return Self::Refused;
        }
        if status == StatusCode::PAYMENT_REQUIRED && !settlement::says_failed(payment, headers) {
            return Self::Refused;
        }
        Self::Answered
    }
}

impl Presentation {
    /// A payment that has not been presented yet.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_buyer::{Patience, Presentation};
    /// let payment = wallet().pay(&required(), &url()).await?;
    /// let patience = Patience::default();
    /// let presentation = Presentation::new(&payment, patience);
    /// assert!(presentation.answer_by() <= tokio::time::Instant::now() + patience.answer);
    /// # Ok(()) }
    /// ```
    pub fn new(payment: &SignedPayment, patience: Patience) -> Self {
        let (deadline, expires_at) = (after(patience.total), payment.expires_at());
        Self { patience, deadline, expires_at, presented: 0, losses: 0, seen: None }
    }

    /// A payment that may have been presented before, as `seen` says.
    pub(crate) fn again(payment: &SignedPayment, patience: Patience, seen: Option<String>) -> Self {
        Self { seen, ..Self::new(payment, patience) }
    }

    /// Until when the next answer must begin.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tollway_buyer::{Patience, Presentation};
    /// let payment = wallet().pay(&required(), &url()).await?;
    /// let patience = Patience { answer: Duration::from_secs(5), ..Patience::default() };
    /// let answer_by = Presentation::new(&payment, patience).answer_by();
    /// assert!(answer_by <= tokio::time::Instant::now() + Duration::from_secs(5));
    /// # Ok(()) }
    /// ```
    pub fn answer_by(&self) -> Instant {
        self.deadline.min(after(self.patience.answer))
    }

    /// What to do after a presentation that became `presented`.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_buyer::{Next, Patience, Presentation, Presented};
    /// let payment = wallet().pay(&required(), &url()).await?;
    /// let mut presentation = Presentation::new(&payment, Patience::default());
    /// assert_eq!(presentation.next(&Presented::Answered, payment.signed_at), Next::Done);
    /// # Ok(()) }
    /// ```
    pub fn next(&mut self, presented: &Presented, now: UnixTime) -> Next {
        self.presented += 1;
        let pause = match presented {
            Presented::Answered => return Next::Done,
            // The payment that may have settled meanwhile may be the very reason why it is refused now.
            Presented::Refused => match &self.seen {
                Some(seen) => return Next::Unresolved(format!("{seen}; presented again, it was refused")),
                None => return Next::Done,
            },
            Presented::Pending { words, pause } => {
                self.seen = Some(words.clone());
                *pause
            }
            Presented::Lost(cause) => {
                self.losses += 1;
                self.seen = Some(cause.clone());
                Duration::ZERO
            }
            Presented::NotSent => PAUSE,
        };
        let is_expired = now.plus_seconds(pause.as_secs()) >= self.expires_at;
        let is_late = pause >= self.deadline.saturating_duration_since(Instant::now());
        if self.presented < self.patience.presentations
            && self.losses <= AFTER_LOSS
            && !is_expired
            && !is_late
        {
            return Next::Again(pause);
        }
        match (&self.seen, presented) {
            (None, Presented::NotSent) => Next::NotSent,
            (seen, _) => Next::Unresolved(seen.clone().unwrap_or_default()),
        }
    }
}

/// Presents `payment` with copies of `request` until there is an answer. With it, whether it was presented once only.
pub(crate) async fn present(
    client: &Client,
    request: Request,
    payment: &SignedPayment,
    wallet: &Wallet,
    seen: Option<String>,
) -> (Result<Response, PaymentError>, bool) {
    let mut presentation = Presentation::again(payment, wallet.patience(), seen);
    let presented = present_on(&mut presentation, client, request, payment, wallet).await;
    (presented, presentation.losses == 0 && presentation.presented <= 1)
}

async fn present_on(
    presentation: &mut Presentation,
    client: &Client,
    request: Request,
    payment: &SignedPayment,
    wallet: &Wallet,
) -> Result<Response, PaymentError> {
    let clock = wallet.clock();
    loop {
        let mut copy = with_payment(&request, payment)?;
        if let Some(signer) = wallet.message_signer() {
            identify::sign(&mut copy, signer, clock.now())?;
        }
        let (presented, answer) = attempt(client, copy, payment, presentation.answer_by()).await;
        match (presentation.next(&presented, clock.now()), answer) {
            (Next::Done, Some(Ok(response))) => return Ok(response),
            (Next::NotSent, Some(Err(error))) => return Err(PaymentError::NotSent(error)),
            (Next::Again(pause), _) => {
                tracing::debug!(?presented, ?pause, "presenting the same payment again");
                tokio::time::sleep(pause).await;
            }
            (Next::Unresolved(cause), _) => return Err(unresolved(payment, cause)),
            (Next::Done | Next::NotSent, _) => return Err(unresolved(payment, String::new())),
        }
    }
}

type Answer = Option<Result<Response, reqwest::Error>>;

async fn attempt(
    client: &Client,
    request: Request,
    payment: &SignedPayment,
    answer_by: Instant,
) -> (Presented, Answer) {
    match tokio::time::timeout_at(answer_by, client.execute(request)).await {
        Ok(Ok(response)) => {
            (Presented::read(payment, response.status(), response.headers()), Some(Ok(response)))
        }
        Ok(Err(error)) if error.is_connect() || error.is_builder() => (Presented::NotSent, Some(Err(error))),
        // The URL may hold a key, the cause does not.
        Ok(Err(error)) => (Presented::Lost(error.without_url().to_string()), None),
        Err(_) => (Presented::Lost("no answer in time".to_owned()), None),
    }
}

/// How long to wait, if the answer is that the settlement is under way: 409 or 503 with `Retry-After`.
fn asked_to_wait(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if ![StatusCode::CONFLICT, StatusCode::SERVICE_UNAVAILABLE].contains(&status) {
        return None;
    }
    let retry_after = headers.get(RETRY_AFTER)?;
    // The other form, a date, is rare enough to be taken for a second.
    let seconds = retry_after.to_str().ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1);
    Some(Duration::from_secs(seconds).max(SHORTEST_PAUSE))
}

fn unresolved(payment: &SignedPayment, cause: String) -> PaymentError {
    PaymentError::Unresolved { payment: Box::new(payment.clone()), cause }
}

/// The instant `wait` from now, or in a year: instants end somewhere, and what overflows them panics.
fn after(wait: Duration) -> Instant {
    Instant::now() + wait.min(Duration::from_secs(365 * 24 * 3600))
}

fn with_payment(request: &Request, payment: &SignedPayment) -> Result<Request, PaymentError> {
    let mut copy = request.try_clone().ok_or(PaymentError::BodyNotReplayable)?;
    let value = payment.header.to_http().ok_or(PaymentError::Unpresentable)?;
    copy.headers_mut().insert(HeaderName::from_static(payment.header.name()), value);
    Ok(copy)
}
