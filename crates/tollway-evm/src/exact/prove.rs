//! Proof of payment: the token's own `Transfer` event. A receipt's status is no proof: a token may succeed
//! without moving anything.

use std::collections::{HashMap, HashSet};

use alloy_primitives::{Address, B256, Log, U256};
use alloy_sol_types::{SolEvent, sol};

use super::ExactPayment;

sol! {
    /// EIP-20.
    #[derive(Debug)]
    event Transfer(address indexed from, address indexed to, uint256 value);

    /// EIP-3009.
    #[derive(Debug)]
    event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);
}

/// Where in a receipt the payment is proved. Several payments may share one transaction, so the transaction
/// alone is no proof of any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferProof {
    /// Index of the `Transfer` event in the block.
    pub log_index: u64,
}

/// Finds the event that proves `payment` among the logs of one receipt, given with their index in the block.
/// For many payments of one receipt, see [`TokenEvents`].
///
/// ```
/// # use alloy_primitives::Log;
/// use tollway_evm::exact::prove_transfer;
/// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
/// # let request = tollway_core::wire::decode_facilitator_request(json)?;
/// # let payment = tollway_evm::exact::check_at_any_time(&request.payment, &request.requirements)?;
/// let logs: [Log; 0] = []; // the token took the call and did nothing
/// assert_eq!(prove_transfer(&payment, (0..).zip(&logs)), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn prove_transfer<'a>(
    payment: &ExactPayment,
    logs: impl IntoIterator<Item = (u64, &'a Log)>,
) -> Option<TransferProof> {
    TokenEvents::read(payment.asset, logs).prove(payment)
}

/// What one token says in one receipt, read once for all payments in it.
///
/// A payment is proved by two events of the token itself: `AuthorizationUsed` for its payer and nonce, and the
/// `Transfer` of exactly the value from payer to payee that belongs to it: the one between it and the token's next
/// `AuthorizationUsed`, or, with a token that emits them in the other order, the one before. So one transfer never
/// proves two authorizations of equal amount in one batch.
#[derive(Clone, Debug)]
pub struct TokenEvents {
    asset: Address,
    events: Vec<Event>,
    /// Where each authorization was used first.
    used: HashMap<(Address, B256), usize>,
    order: Order,
}

/// What matters of the token's events.
#[derive(Clone, Copy, Debug)]
enum Event {
    Used { payer: Address, nonce: B256 },
    Moved { from: Address, to: Address, value: U256, log_index: u64 },
}

/// How the token orders its two events. With one authorization in the receipt, nothing depends on it.
#[derive(Clone, Copy, Debug)]
enum Order {
    Alone,
    UsedFirst,
    MovedFirst,
}

impl TokenEvents {
    /// Reads the events of `asset` among the logs of one receipt, given with their index in the block.
    ///
    /// ```
    /// # use alloy_primitives::{Address, Log};
    /// use tollway_evm::exact::TokenEvents;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// # let payment = tollway_evm::exact::check_at_any_time(&request.payment, &request.requirements)?;
    /// # let payments = [payment.clone(), payment];
    /// # let logs: [Log; 0] = [];
    /// let events = TokenEvents::read(payments[0].asset, (0..).zip(&logs));
    /// assert!(payments.iter().all(|payment| events.prove(payment).is_none()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read<'a>(asset: Address, logs: impl IntoIterator<Item = (u64, &'a Log)>) -> Self {
        let of_asset = logs.into_iter().filter(|(_, log)| log.address == asset);
        let events: Vec<Event> =
            of_asset.filter_map(|(log_index, log)| Event::read(log_index, log)).collect();
        let mut used = HashMap::new();
        for (at, event) in events.iter().enumerate() {
            if let Event::Used { payer, nonce } = event {
                used.entry((*payer, *nonce)).or_insert(at);
            }
        }
        let order = Order::of(&events);
        Self { asset, events, used, order }
    }

    /// Finds the event that proves `payment`.
    ///
    /// ```
    /// # use alloy_primitives::{Address, Log};
    /// # use tollway_evm::exact::TokenEvents;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// # let payment = tollway_evm::exact::check_at_any_time(&request.payment, &request.requirements)?;
    /// # let logs: [Log; 0] = [];
    /// let another_token = TokenEvents::read(Address::ZERO, (0..).zip(&logs));
    /// assert_eq!(another_token.prove(&payment), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn prove(&self, payment: &ExactPayment) -> Option<TransferProof> {
        let authorization = &payment.authorization;
        let at = *self.used.get(&(authorization.from, authorization.nonce))?;
        if self.asset != payment.asset || authorization.value.is_zero() {
            return None;
        }
        let exact = |event: &Event| match event {
            Event::Moved { from, to, value, log_index }
                if (*from, *to, *value) == (authorization.from, authorization.to, authorization.value) =>
            {
                Some(*log_index)
            }
            _ => None,
        };
        let is_moved = |event: &&Event| matches!(event, Event::Moved { .. });
        let after = || self.events[at + 1..].iter().take_while(is_moved).find_map(exact);
        let before = || self.events[..at].iter().rev().take_while(is_moved).find_map(exact);
        let found = match self.order {
            Order::Alone => after().or_else(before),
            Order::UsedFirst => after(),
            Order::MovedFirst => before(),
        };
        found.map(|log_index| TransferProof { log_index })
    }
}

impl TokenEvents {
    /// The first event that moves exactly this, of those that belong to no authorization of the token's own. It proves a
    /// payment without a mark only in a transaction that settles nothing else that looks the same.
    #[cfg(feature = "rpc")]
    pub(crate) fn moved(&self, payer: Address, payee: Address, amount: U256) -> Option<TransferProof> {
        if amount.is_zero() || !self.used.is_empty() {
            return None;
        }
        self.events.iter().find_map(|event| match event {
            Event::Moved { from, to, value, log_index } if (*from, *to, *value) == (payer, payee, amount) => {
                Some(TransferProof { log_index: *log_index })
            }
            _ => None,
        })
    }

    /// The token that was read.
    #[cfg(feature = "rpc")]
    pub(crate) const fn asset(&self) -> Address {
        self.asset
    }
}

impl Order {
    /// The first event of any of the payers tells.
    fn of(events: &[Event]) -> Self {
        let payer = |event: &Event| match event {
            Event::Used { payer, .. } => Some(*payer),
            Event::Moved { .. } => None,
        };
        if events.iter().filter_map(payer).count() == 1 {
            return Self::Alone;
        }
        let payers: HashSet<Address> = events.iter().filter_map(payer).collect();
        let first = events.iter().find(|event| match event {
            Event::Used { .. } => true,
            Event::Moved { from, .. } => payers.contains(from),
        });
        match first {
            Some(Event::Moved { .. }) => Self::MovedFirst,
            _ => Self::UsedFirst,
        }
    }
}

impl Event {
    fn read(log_index: u64, log: &Log) -> Option<Self> {
        if let Ok(used) = AuthorizationUsed::decode_log(log) {
            return Some(Self::Used { payer: used.authorizer, nonce: used.nonce });
        }
        let moved = Transfer::decode_log(log).ok()?;
        Some(Self::Moved { from: moved.from, to: moved.to, value: moved.value, log_index })
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256, Log, Signature, U256};
    use alloy_sol_types::SolEvent;
    use tollway_core::Network;

    use super::{AuthorizationUsed, ExactPayment, Transfer, TransferProof, prove_transfer};
    use crate::exact::Authorization;

    const ASSET: Address = Address::repeat_byte(0xaa);
    const PAYER: Address = Address::repeat_byte(1);
    const PAYEE: Address = Address::repeat_byte(2);

    fn payment(nonce: u8) -> ExactPayment {
        ExactPayment {
            authorization: Authorization {
                from: PAYER,
                to: PAYEE,
                value: U256::from(10),
                valid_after: U256::ZERO,
                valid_before: U256::MAX,
                nonce: B256::repeat_byte(nonce),
            },
            signature: Signature::test_signature().into(),
            asset: ASSET,
            network: Network::evm(1),
        }
    }

    fn used(nonce: u8) -> Log {
        let event = AuthorizationUsed { authorizer: PAYER, nonce: B256::repeat_byte(nonce) };
        Log { address: ASSET, data: event.encode_log_data() }
    }

    fn moved(asset: Address, to: Address, value: u64) -> Log {
        let event = Transfer { from: PAYER, to, value: U256::from(value) };
        Log { address: asset, data: event.encode_log_data() }
    }

    fn prove(nonce: u8, logs: &[Log]) -> Option<u64> {
        let proof = prove_transfer(&payment(nonce), (0..).zip(logs));
        proof.map(|TransferProof { log_index }| log_index)
    }

    #[test]
    fn a_payment_is_proved_by_its_own_transfer() {
        assert_eq!(prove(7, &[used(7), moved(ASSET, PAYEE, 10)]), Some(1));
        assert_eq!(prove(7, &[moved(ASSET, PAYEE, 10), used(7)]), Some(0), "the other order, alone");
    }

    #[test]
    fn success_without_the_exact_transfer_is_no_payment() {
        assert_eq!(prove(7, &[]), None);
        assert_eq!(prove(7, &[used(7)]), None, "silent no-op");
        assert_eq!(prove(7, &[moved(ASSET, PAYEE, 10)]), None, "somebody else's transfer");
        assert_eq!(prove(7, &[used(7), moved(ASSET, PAYEE, 9)]), None, "fee on transfer");
        assert_eq!(prove(7, &[used(7), moved(ASSET, PAYER, 10)]), None, "other payee");
        assert_eq!(prove(7, &[used(7), moved(Address::ZERO, PAYEE, 10)]), None, "other token");
    }

    #[test]
    fn one_transfer_never_proves_two_authorizations_of_one_batch() {
        let both = [used(7), moved(ASSET, PAYEE, 10), used(8), moved(ASSET, PAYEE, 10)];
        assert_eq!((prove(7, &both), prove(8, &both)), (Some(1), Some(3)));
        let only_first = [used(7), moved(ASSET, PAYEE, 10), used(8)];
        assert_eq!((prove(7, &only_first), prove(8, &only_first)), (Some(1), None));
        // A token that moves first and says so afterwards.
        let reverse = [moved(ASSET, PAYEE, 10), used(7), moved(ASSET, PAYEE, 10), used(8)];
        assert_eq!((prove(7, &reverse), prove(8, &reverse)), (Some(0), Some(2)));
        let only_first = [moved(ASSET, PAYEE, 10), used(7), used(8)];
        assert_eq!((prove(7, &only_first), prove(8, &only_first)), (Some(0), None));
        let only_second = [used(7), used(8), moved(ASSET, PAYEE, 10)];
        assert_eq!((prove(7, &only_second), prove(8, &only_second)), (None, Some(2)));
    }
}
