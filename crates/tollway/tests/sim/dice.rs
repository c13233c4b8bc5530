//! Everything random of a run, from its seed; and a digest of everything that happened.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// Cheap to clone; clones throw the same dice.
#[derive(Clone, Debug)]
pub(crate) struct Dice {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    state: u64,
    happened: Sha256,
    events: u64,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        let inner = Inner { state: seed, happened: Sha256::new(), events: 0 };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// SplitMix64.
    pub(crate) fn next(&self) -> u64 {
        let mut inner = self.inner.lock();
        inner.state = inner.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = inner.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below `bound`.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// True once in ten thousand, `chances` times.
    pub(crate) fn happens(&self, chances: u64) -> bool {
        chances > 0 && self.below(10_000) < chances
    }

    pub(crate) fn pause(&self, at_most: Duration) -> Duration {
        Duration::from_millis(self.below(u64::try_from(at_most.as_millis()).unwrap_or(1) + 1))
    }

    pub(crate) fn bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_be_bytes());
        }
        bytes
    }

    /// Notes what happened: two runs of one seed must note the same.
    pub(crate) fn note(&self, event: &str) {
        let mut inner = self.inner.lock();
        inner.events += 1;
        inner.happened.update(event.as_bytes());
        if std::env::var_os("TOLLWAY_SIM_TRACE").is_some() {
            println!("{event}");
        }
    }

    pub(crate) fn digest(&self) -> [u8; 32] {
        self.inner.lock().happened.clone().finalize().into()
    }
}
