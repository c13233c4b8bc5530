//! An answer that is charged part by part. At most one part is held here, and it leaves when it is charged.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame};
use tollway_core::BoxFuture;

use super::{Meter, MeterError, Tariff};
use crate::answer;
use crate::body::PaidBody;
use crate::phase::Receipt;
use crate::priced::BoxError;

/// Marks an answer whose body is a [`Metered`].
#[derive(Clone, Debug)]
pub(crate) struct Streamed(pub(crate) Meter);

type Units = Box<dyn FnMut(&Bytes) -> u64 + Send>;

/// A body that a meter charges.
pub(super) struct Metered {
    meter: Meter,
    /// None once no more of it leaves.
    rest: Option<PaidBody>,
    tariff: Tariff,
    units: Units,
    step: Step,
}

enum Step {
    Reading,
    /// A part is being charged.
    Charging(BoxFuture<'static, Result<Bytes, MeterError>>),
    /// The payment is being ended.
    Ending(BoxFuture<'static, Option<Receipt>>, Option<BoxError>),
    Over,
}

impl Metered {
    pub(super) fn new(meter: Meter, body: PaidBody, tariff: Tariff, units: Units) -> Self {
        Self { meter, rest: Some(body), tariff, units, step: Step::Reading }
    }

    /// Ends the payment, and the body after it: with `error`, or well.
    fn end(&mut self, error: Option<BoxError>) {
        self.rest = None;
        let meter = self.meter.clone();
        self.step = Step::Ending(Box::pin(async move { meter.end().await }), error);
    }

    fn charge(&mut self, part: Bytes) {
        let (meter, tariff, units) = (self.meter.clone(), self.tariff, (self.units)(&part));
        self.step = Step::Charging(Box::pin(async move {
            meter.charge(&tariff, units).await?;
            Ok(part)
        }));
    }
}

impl Body for Metered {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            match &mut this.step {
                Step::Reading => {
                    let Some(rest) = &mut this.rest else { return Poll::Ready(None) };
                    match ready!(Pin::new(rest).poll_frame(context)) {
                        // What is not data costs nothing, and the receipt takes the place of its trailers.
                        Some(Ok(frame)) => match frame.into_data() {
                            Ok(part) => this.charge(part),
                            Err(_) => continue,
                        },
                        Some(Err(error)) => this.end(Some(error)),
                        None => this.end(None),
                    }
                }
                Step::Charging(charge) => match ready!(charge.as_mut().poll(context)) {
                    Ok(part) => {
                        this.step = Step::Reading;
                        return Poll::Ready(Some(Ok(Frame::data(part))));
                    }
                    Err(error) => {
                        tracing::debug!(%error, "a stream ends before its time");
                        // An end that looks like the content's own would be a lie.
                        this.end(Some(Box::new(error)));
                    }
                },
                Step::Ending(end, error) => {
                    let receipt = ready!(end.as_mut().poll(context));
                    let error = error.take();
                    this.step = Step::Over;
                    match (error, receipt) {
                        (Some(error), _) => return Poll::Ready(Some(Err(error))),
                        (None, Some(receipt)) => {
                            return Poll::Ready(Some(Ok(Frame::trailers(trailers(&receipt)))));
                        }
                        (None, None) => return Poll::Ready(None),
                    }
                }
                Step::Over => return Poll::Ready(None),
            }
        }
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        if matches!(self.step, Step::Over) {
            return;
        }
        // The buyer hung up. What has left is charged, and the channel is free for others.
        let meter = self.meter.clone();
        let step = std::mem::replace(&mut self.step, Step::Over);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Step::Ending(end, _) = step {
                end.await;
            } else {
                // A charge under way may be written already; it is not taken up again.
                drop(step);
                meter.end().await;
            }
        });
    }
}

/// The receipt as it stands in trailers.
fn trailers(receipt: &Receipt) -> HeaderMap<HeaderValue> {
    let mut trailers = HeaderMap::new();
    answer::receipt_trailer(&mut trailers, receipt);
    trailers
}
