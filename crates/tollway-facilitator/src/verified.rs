//! Payments that were found good a moment ago. A seller asks to settle soon after it asked to verify; the node need
//! not be asked the same again before the payment may queue. The lane asks once more before it signs, unless no block
//! has come since.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use alloy_primitives::{Address, B256};
use parking_lot::Mutex;
use tokio::time::Instant;
use tollway_evm::exact::{Authorization, ExactPayment};

/// How long a verdict is good for.
const AGE: Duration = Duration::from_secs(10);
/// How long a simulation on the block that is still the newest is good enough to sign for. Blocks may come unseen.
const CURRENT: Duration = Duration::from_secs(1);
/// How many are remembered; the oldest make room.
const MOST: usize = 16_384;

/// What makes an authorization unique on one network: asset, payer, nonce. The same as its key says in words, at a
/// third of the size and without formatting.
pub(crate) type AuthorizationId = (Address, Address, B256);

/// The id of `payment` among those of its network.
pub(crate) const fn id(payment: &ExactPayment) -> AuthorizationId {
    (payment.asset, payment.authorization.from, payment.authorization.nonce)
}

/// When a payment was simulated, and which block was the newest that anybody had seen then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SimulatedAt {
    time: Instant,
    block: Option<B256>,
}

impl SimulatedAt {
    /// To be called before the node is asked: what it runs on is this block or a later one.
    pub(crate) fn now(block: Option<B256>) -> Self {
        Self { time: Instant::now(), block }
    }

    /// Whether asking again would tell nothing new while `block` is the newest.
    pub(crate) fn is_current(&self, block: Option<B256>) -> bool {
        self.block == block && self.time.elapsed() < CURRENT
    }
}

/// A bounded memory of good verdicts.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    by_id: HashMap<AuthorizationId, (SimulatedAt, Authorization)>,
    oldest: VecDeque<AuthorizationId>,
}

impl Verified {
    /// Remembers that `payment` would settle.
    pub(crate) fn insert(&self, payment: &ExactPayment, at: SimulatedAt) {
        let mut memory = self.memory.lock();
        let entry = (at, payment.authorization.clone());
        if memory.by_id.insert(id(payment), entry).is_none() {
            memory.oldest.push_back(id(payment));
        }
        if memory.by_id.len() > MOST
            && let Some(oldest) = memory.oldest.pop_front()
        {
            memory.by_id.remove(&oldest);
        }
    }

    /// When this very authorization was found good, if that was a moment ago.
    pub(crate) fn get(&self, payment: &ExactPayment) -> Option<SimulatedAt> {
        let memory = self.memory.lock();
        let (at, known) = memory.by_id.get(&id(payment))?;
        (at.time.elapsed() < AGE && *known == payment.authorization).then_some(*at)
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256, Signature, U256};
    use tollway_core::Network;
    use tollway_evm::exact::{Authorization, ExactPayment};

    use super::{CURRENT, MOST, SimulatedAt, Verified};

    fn payment(nonce: usize, value: u64) -> ExactPayment {
        ExactPayment {
            authorization: Authorization {
                from: Address::repeat_byte(1),
                to: Address::repeat_byte(2),
                value: U256::from(value),
                valid_after: U256::ZERO,
                valid_before: U256::MAX,
                nonce: B256::from(U256::from(nonce)),
            },
            signature: Signature::test_signature(),
            asset: Address::repeat_byte(3),
            network: Network::evm(1),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_simulation_is_current_until_a_block_comes_or_may_have_come_unseen() {
        let (block, next) = (Some(B256::repeat_byte(1)), Some(B256::repeat_byte(2)));
        let at = SimulatedAt::now(block);
        assert!(at.is_current(block));
        assert!(!at.is_current(next));
        tokio::time::advance(CURRENT).await;
        assert!(!at.is_current(block));
    }

    #[test]
    fn only_the_very_authorization_is_remembered_and_the_memory_is_bounded() {
        let (verified, at) = (Verified::default(), SimulatedAt::now(None));
        verified.insert(&payment(0, 5), at);
        assert_eq!(verified.get(&payment(0, 5)), Some(at));
        assert_eq!(verified.get(&payment(0, 6)), None, "another one under the same nonce");
        for nonce in 1..=MOST {
            verified.insert(&payment(nonce, 5), at);
        }
        assert_eq!(verified.get(&payment(0, 5)), None, "the oldest made room");
        assert_eq!(verified.memory.lock().by_id.len(), MOST);
    }
}
