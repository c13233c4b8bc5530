//! Payments that were found good a moment ago. A seller asks to settle soon after it asked to verify; the node need
//! not be asked the same again before the payment may queue. The lane asks once more before it signs.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use alloy_primitives::{Address, B256};
use parking_lot::Mutex;
use tokio::time::Instant;
use tollway_evm::Payment;
use tollway_evm::signature::PayerSignature;

/// How long a verdict is good for.
const AGE: Duration = Duration::from_secs(10);
/// How many are remembered; the oldest make room.
const MOST: usize = 16_384;

/// What makes an authorization unique on one network: the contract that keeps its nonce, payer, nonce. The same as its key says in words, at a
/// third of the size and without formatting.
pub(crate) type AuthorizationId = (Address, Address, B256);

/// The id of `payment` among those of its network.
pub(crate) fn id(payment: &Payment) -> AuthorizationId {
    (payment.nonce_space(), payment.payer(), payment.nonce())
}

/// A bounded memory of good verdicts.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    by_id: HashMap<AuthorizationId, (Instant, ([u8; 32], PayerSignature))>,
    oldest: VecDeque<AuthorizationId>,
}

impl Verified {
    /// Remembers that `payment` would settle.
    pub(crate) fn insert(&self, payment: &Payment) {
        // Hashed before the lock is taken: everybody passes here.
        let (id, entry) = (id(payment), (Instant::now(), said(payment)));
        let mut memory = self.memory.lock();
        if memory.by_id.insert(id, entry).is_none() {
            memory.oldest.push_back(id);
        }
        if memory.by_id.len() > MOST
            && let Some(oldest) = memory.oldest.pop_front()
        {
            memory.by_id.remove(&oldest);
        }
    }

    /// Whether this very authorization was found good a moment ago.
    pub(crate) fn contains(&self, payment: &Payment) -> bool {
        let said = said(payment);
        let memory = self.memory.lock();
        memory.by_id.get(&id(payment)).is_some_and(|(at, known)| at.elapsed() < AGE && *known == said)
    }
}

/// Everything that was judged: of two signatures under one authorization only one may be the payer's.
fn said(payment: &Payment) -> ([u8; 32], PayerSignature) {
    (payment.digest(), payment.signature().clone())
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256, Signature, U256};
    use tollway_core::Network;
    use tollway_evm::Payment;
    use tollway_evm::exact::{Authorization, ExactPayment};

    use super::{MOST, Verified};

    fn payment(nonce: usize, value: u64) -> Payment {
        Payment::from(ExactPayment {
            authorization: Authorization {
                from: Address::repeat_byte(1),
                to: Address::repeat_byte(2),
                value: U256::from(value),
                valid_after: U256::ZERO,
                valid_before: U256::MAX,
                nonce: B256::from(U256::from(nonce)),
            },
            signature: Signature::test_signature().into(),
            asset: Address::repeat_byte(3),
            network: Network::evm(1),
        })
    }

    #[test]
    fn only_the_very_authorization_is_remembered_and_the_memory_is_bounded() {
        let verified = Verified::default();
        verified.insert(&payment(0, 5));
        assert!(verified.contains(&payment(0, 5)));
        assert!(!verified.contains(&payment(0, 6)), "another one under the same nonce");
        let Payment::Eip3009(exact) = payment(0, 5) else { panic!("by EIP-3009") };
        let signature = Signature::new(U256::from(1), U256::from(2), true).into();
        let other = Payment::from(ExactPayment { signature, ..exact });
        assert!(!verified.contains(&other), "another signature under the same authorization");
        for nonce in 1..=MOST {
            verified.insert(&payment(nonce, 5));
        }
        assert!(!verified.contains(&payment(0, 5)), "the oldest made room");
        assert_eq!(verified.memory.lock().by_id.len(), MOST);
    }
}
