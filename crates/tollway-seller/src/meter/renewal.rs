//! How the next voucher reaches a stream. The answer of a stream names it in `Tollway-Stream`. A request for the same
//! resource with that name in the same header buys nothing new: without a payment it waits until the voucher is used up, and
//! is then answered by a 402 that tells what was charged; with the next voucher it lets the stream go on, and is answered,
//! when that is used up or the stream has ended, by 204 and the voucher's receipt. So whoever speaks x402 can renew.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tollway_core::ChannelKey;

use crate::denial::Denial;
use crate::phase::{Committed, Receipt};

/// The name of a stream, in the head of its answer and of the requests that renew it.
pub(crate) const STREAM: HeaderName = HeaderName::from_static("tollway-stream");
/// How long a request waits for the stream. It is asked again after that.
const WAIT: Duration = Duration::from_secs(25);
/// How long a stream that waits takes to answer a voucher.
const ANSWER: Duration = Duration::from_secs(10);

/// The streams of this process, by name. One that is over is forgotten by who asks for it.
#[derive(Debug, Default)]
pub(crate) struct Streams(Mutex<HashMap<String, Weak<Stream>>>);

/// A stream, as requests that renew it see it.
#[derive(Debug)]
pub(crate) struct Stream {
    name: String,
    channel: ChannelKey,
    renewals: mpsc::Sender<Renewal>,
    stand: watch::Sender<Stand>,
}

/// How a stream stands.
#[derive(Clone, Debug)]
enum Stand {
    Runs,
    /// The voucher is used up: what the buyer is told, as a 402 and as the voucher's receipt.
    Wants(Box<(Denial, Receipt)>),
    /// With the last voucher's receipt, if it is known.
    Ended(Option<Box<Receipt>>),
}

/// A voucher on its way to a stream.
pub(crate) struct Renewal {
    pub(super) paid: Box<Committed>,
    pub(super) answer: oneshot::Sender<Result<(), Denial>>,
}

/// What a request to a stream comes to, if it is not denied.
#[derive(Debug)]
pub(crate) enum Renewed {
    /// The voucher is used up, or was when the stream ended.
    Used(Box<Receipt>),
    /// The stream is over.
    Ended,
    /// It runs still.
    Runs,
}

impl Streams {
    /// A stream of a channel, with a name that nobody guesses; and where its vouchers come in.
    pub(crate) fn begin(&self, channel: &ChannelKey) -> Option<(Arc<Stream>, mpsc::Receiver<Renewal>)> {
        let mut name = [0; 16];
        getrandom::fill(&mut name).ok()?;
        let (renewals, incoming) = mpsc::channel(1);
        let stand = watch::Sender::new(Stand::Runs);
        let stream = Arc::new(Stream { name: hex(&name), channel: channel.clone(), renewals, stand });
        let mut streams = self.0.lock();
        // There is one a channel at most, and channels in use are bounded.
        if streams.len() >= streams.capacity() / 2 {
            streams.retain(|_, stream| stream.strong_count() > 0);
        }
        streams.insert(stream.name.clone(), Arc::downgrade(&stream));
        Some((stream, incoming))
    }

    /// The stream that a request names.
    pub(crate) fn named(&self, headers: &HeaderMap) -> Option<Arc<Stream>> {
        let name = headers.get(STREAM)?.to_str().ok()?;
        self.0.lock().get(name).and_then(Weak::upgrade)
    }
}

impl Stream {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Waits until the stream wants a voucher, which is a denial; or is over.
    pub(crate) async fn asked(&self) -> Result<Renewed, Denial> {
        match self.no_longer_runs().await {
            Some(Stand::Wants(told)) => Err(told.0),
            Some(Stand::Ended(_)) => Ok(Renewed::Ended),
            Some(Stand::Runs) | None => Ok(Renewed::Runs),
        }
    }

    /// Lets the stream go on with a voucher, and waits until that is used up.
    pub(crate) async fn renew(&self, paid: Committed) -> Result<Renewed, Denial> {
        if *paid.channel() != self.channel {
            return Err(paid.of_another_channel());
        }
        match self.stand.borrow().clone() {
            Stand::Wants(_) => {}
            Stand::Runs => return Err(paid.busy()?),
            Stand::Ended(_) => return Ok(Renewed::Ended),
        }
        let (answer, answered) = oneshot::channel();
        let busy = paid.busy()?;
        if self.renewals.try_send(Renewal { paid: Box::new(paid), answer }).is_err() {
            return Err(busy);
        }
        match timeout(ANSWER, answered).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(denial))) => return Err(denial),
            // It may be taken still: the channel's state will tell.
            Ok(Err(_)) | Err(_) => return Err(busy),
        }
        match self.no_longer_runs().await {
            Some(Stand::Wants(told)) => Ok(Renewed::Used(Box::new(told.1))),
            Some(Stand::Ended(Some(receipt))) => Ok(Renewed::Used(receipt)),
            Some(Stand::Ended(None)) => Ok(Renewed::Ended),
            Some(Stand::Runs) | None => Ok(Renewed::Runs),
        }
    }

    async fn no_longer_runs(&self) -> Option<Stand> {
        let mut stand = self.stand.subscribe();
        let stands = timeout(WAIT, stand.wait_for(|stand| !matches!(stand, Stand::Runs))).await;
        stands.ok()?.ok().map(|stand| stand.clone())
    }

    pub(super) fn wants(&self, corrected: Denial, receipt: Receipt) {
        self.stand.send_replace(Stand::Wants(Box::new((corrected, receipt))));
    }

    pub(super) fn runs(&self) {
        self.stand.send_replace(Stand::Runs);
    }

    pub(super) fn ends(&self, receipt: Option<Receipt>) {
        self.stand.send_replace(Stand::Ended(receipt.map(Box::new)));
    }
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewal").field("paid", &self.paid).finish_non_exhaustive()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
