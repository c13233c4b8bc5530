//! Charging by use: a handler says what it has used, and pays for it out of the buyer's ceiling.
//!
//! - [`Meter`]: what a handler holds. An answer that leaves whole is charged in one step, when it leaves.
//! - `tariff`: prices of units, down to fractions of what a token can move.
//! - `live`: the payment behind an answer that streams. Each part is charged, and the charge written, before it leaves.
//! - `stream`: the body that does so, part by part, without holding more than one.
//! - `renewal`: how the next voucher reaches a stream that has used up the last.

mod live;
mod renewal;
mod stream;
mod tariff;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::Body;
use parking_lot::Mutex;
use tollway_core::model::PaymentRequirements;
use tollway_core::{Amount, Money, SellerScheme};

use crate::body::{self, PaidBody};
use crate::phase::Receipt;
use crate::priced::BoxError;
pub(crate) use live::Live;
pub(crate) use renewal::{Renewed, STREAM, Streams};
pub(crate) use stream::Streamed;
pub use tariff::Tariff;
use tariff::Used;

/// Charges for one request by what it uses, up to what the buyer has agreed to: scheme `upto`, and vouchers on a channel. It
/// is among the extensions of every paid request. What a handler never meters costs its whole price.
///
/// ```
/// use axum::{Extension, http::StatusCode};
/// use tollway_seller::Meter;
///
/// /// Half a dollar for a million words.
/// async fn count(Extension(meter): Extension<Meter>, text: String) -> Result<String, StatusCode> {
///     let words = text.split_whitespace().count() as u64;
///     let tariff = meter.tariff("$0.50", 1_000_000)?;
///     meter.charge(&tariff, words).await?;
///     Ok(format!("{words} words"))
/// }
/// ```
#[derive(Clone)]
pub struct Meter(Arc<Inner>);

struct Inner {
    scheme: Arc<dyn SellerScheme>,
    offer: PaymentRequirements,
    counted: Mutex<Counted>,
    /// The payment, from when the answer's head has left.
    live: tokio::sync::Mutex<Option<Live>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    used: Used,
    is_touched: bool,
    /// Whether the price is paid whatever is used.
    is_waived: bool,
}

/// Why a meter does not go on. What was charged until then is charged; what is asked for now is not.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeterError {
    /// The buyer has agreed to no more, and no voucher came in time.
    #[error("{wanted} atomic units in all are more than the {agreed} that the buyer has agreed to")]
    Exhausted {
        /// What would have been used with this.
        wanted: Amount,
        /// What the buyer has agreed to.
        agreed: Amount,
    },
    /// The charge could not be written, or the payment is no longer good.
    #[error("not charged: {0}")]
    NotCharged(String),
    /// The price is none in the asset that the buyer pays in.
    #[error("{price} per {per} is no price in {asset}")]
    NoPrice {
        /// The price.
        price: String,
        /// For so many units.
        per: u64,
        /// The asset.
        asset: String,
    },
    /// The price is not written as one.
    #[error(transparent)]
    Money(#[from] tollway_core::MoneyError),
}

impl Meter {
    pub(crate) fn new(scheme: Arc<dyn SellerScheme>, offer: PaymentRequirements) -> Self {
        let (counted, live) = (Mutex::default(), tokio::sync::Mutex::new(None));
        Self(Arc::new(Inner { scheme, offer, counted, live }))
    }

    /// What `per` units cost, in the asset that the buyer pays in. Of an asset that stands for dollars.
    ///
    /// # Errors
    /// [`MeterError`]: `price` is none, the asset stands for no dollars or has no such fraction, or `per` is 0.
    ///
    /// ```
    /// # fn metered(meter: tollway_seller::Meter) -> Result<(), tollway_seller::MeterError> {
    /// let tokens = meter.tariff("$2.50", 1_000_000)?; // $2.50 for a million
    /// # let _ = tokens; Ok(()) }
    /// ```
    pub fn tariff(&self, price: &str, per: u64) -> Result<Tariff, MeterError> {
        let money: Money = price.parse()?;
        let amount = self.0.scheme.money_in(&money, &self.0.offer);
        amount.and_then(|amount| Tariff::new(amount, per)).ok_or_else(|| MeterError::NoPrice {
            price: price.to_owned(),
            per,
            asset: self.0.offer.asset.clone(),
        })
    }

    /// Charges for `units`. Before the answer has left this only counts. Once it streams, what is charged is written down
    /// when this returns; if the voucher is used up, it waits for the buyer's next one, 30 s at most.
    ///
    /// # Errors
    /// [`MeterError`]. What these units would have paid for must not be given.
    ///
    /// ```
    /// # async fn metered(meter: tollway_seller::Meter) -> Result<(), tollway_seller::MeterError> {
    /// let rows = meter.tariff("$0.001", 1)?;
    /// meter.charge(&rows, 3).await?;
    /// # Ok(()) }
    /// ```
    pub async fn charge(&self, tariff: &Tariff, units: u64) -> Result<(), MeterError> {
        let mut live = self.0.live.lock().await;
        let counted = *self.0.counted.lock();
        if counted.is_waived {
            return Ok(());
        }
        let next = counted.used.plus(tariff, units);
        let agreed = self.agreed();
        let next = next.ok_or(MeterError::Exhausted { wanted: Amount::MAX, agreed })?;
        match live.as_mut() {
            Some(live) => live.reach(next.amount()).await?,
            None if next.amount() > agreed => {
                return Err(MeterError::Exhausted { wanted: next.amount(), agreed });
            }
            None => {}
        }
        *self.0.counted.lock() = Counted { used: next, is_touched: true, is_waived: false };
        Ok(())
    }

    /// What this request has used, in atomic units, a fraction of one counted as one.
    ///
    /// ```
    /// # fn metered(meter: tollway_seller::Meter) {
    /// println!("{} atomic units", meter.used());
    /// # }
    /// ```
    pub fn used(&self) -> Amount {
        self.0.counted.lock().used.amount()
    }

    /// What the buyer has agreed to pay for this request: of a channel, with one voucher.
    ///
    /// ```
    /// # fn metered(meter: tollway_seller::Meter) {
    /// assert!(meter.used() <= meter.agreed());
    /// # }
    /// ```
    pub fn agreed(&self) -> Amount {
        self.0.offer.amount
    }

    /// Makes an answer one that is charged part by part as it leaves: for each data frame of its body `units` says how many
    /// units of `tariff` it is. A part leaves when it is charged and the charge is written. On a channel the answer pauses
    /// when the voucher is used up and goes on with the next; where none comes, and with scheme `upto` when its maximum is
    /// used up, it ends. The receipt is a trailer, `PAYMENT-RESPONSE`. No part may cost more than the price of the route.
    ///
    /// ```
    /// use axum::{Extension, body::Body, http::StatusCode, response::Response};
    /// use tollway_seller::{Meter, PaidBody};
    ///
    /// async fn bytes(Extension(meter): Extension<Meter>) -> Result<Response<PaidBody>, StatusCode> {
    ///     let megabyte = meter.tariff("$0.002", 1_000_000)?;
    ///     let answer = Response::new(Body::from("a long story"));
    ///     Ok(meter.stream(answer, megabyte, |part| part.len() as u64))
    /// }
    /// ```
    pub fn stream<B>(
        &self,
        answer: Response<B>,
        tariff: Tariff,
        units: impl FnMut(&Bytes) -> u64 + Send + 'static,
    ) -> Response<PaidBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (mut head, body) = answer.into_parts();
        head.extensions.insert(Streamed(self.clone()));
        let metered = stream::Metered::new(self.clone(), body::stream(body), tariff, Box::new(units));
        Response::from_parts(head, body::stream(metered))
    }

    /// The whole price is paid: what is metered costs nothing more.
    pub(crate) fn waive(&self) {
        self.0.counted.lock().is_waived = true;
    }

    /// What is charged if the answer leaves whole; none if nothing was metered.
    pub(crate) fn total(&self) -> Option<Amount> {
        let counted = self.0.counted.lock();
        counted.is_touched.then(|| counted.used.amount())
    }

    /// The answer's head leaves; from now on `live` pays.
    pub(crate) async fn begin(&self, mut live: Live) -> Result<(), MeterError> {
        let used = self.used();
        if used > Amount::ZERO {
            live.reach(used).await?;
        }
        *self.0.live.lock().await = Some(live);
        Ok(())
    }

    /// The last part has left, or nobody takes the next: ends the payment and tells what it came to.
    pub(crate) async fn end(&self) -> Option<Receipt> {
        let live = self.0.live.lock().await.take()?;
        live.end(self.used()).await
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter")
            .field("used", &self.used())
            .field("agreed", &self.agreed())
            .finish_non_exhaustive()
    }
}

/// What a handler's `?` makes of it: 413 where the buyer has agreed to no more, else 500. Nobody is charged for either.
impl From<MeterError> for StatusCode {
    fn from(error: MeterError) -> Self {
        match error {
            MeterError::Exhausted { .. } => Self::PAYLOAD_TOO_LARGE,
            _ => Self::INTERNAL_SERVER_ERROR,
        }
    }
}
