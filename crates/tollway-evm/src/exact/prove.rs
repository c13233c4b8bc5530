//! Proof of payment: the token's own `Transfer` event. A receipt's status is no proof: a token may succeed
//! without moving anything.

use alloy_primitives::{Address, Log, U256};
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
///
/// It takes two events of the token itself: `AuthorizationUsed` for this payer and nonce, and the `Transfer` of
/// exactly the value from payer to payee that belongs to it: the one between it and the token's next
/// `AuthorizationUsed`, or, with a token that emits them in the other order, the one before. So one transfer never
/// proves two authorizations of equal amount in one batch.
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
    let events: Vec<Event> = logs
        .into_iter()
        .filter(|(_, log)| log.address == payment.asset)
        .filter_map(|(log_index, log)| Event::read(payment, log_index, log))
        .collect();
    let at = events.iter().position(|event| matches!(event, Event::Used { is_ours: true, .. }))?;
    let exact = |event: &Event| match event {
        Event::Moved { log_index, is_exact: true, .. } => Some(*log_index),
        _ => None,
    };
    let is_moved = |event: &&Event| matches!(event, Event::Moved { .. });
    let after = events[at + 1..].iter().take_while(is_moved).find_map(exact);
    let before = events[..at].iter().rev().take_while(is_moved).find_map(exact);
    let found = match order(&events) {
        Order::Alone => after.or(before),
        Order::UsedFirst => after,
        Order::MovedFirst => before,
    };
    found.map(|log_index| TransferProof { log_index })
}

/// What matters of the token's events.
enum Event {
    Used { payer: Address, is_ours: bool },
    Moved { from: Address, is_exact: bool, log_index: u64 },
}

/// How the token orders its two events. With one authorization in the receipt, nothing depends on it.
enum Order {
    Alone,
    UsedFirst,
    MovedFirst,
}

/// The first event of any of the payers tells.
fn order(events: &[Event]) -> Order {
    let payers: Vec<Address> = events
        .iter()
        .filter_map(|event| match event {
            Event::Used { payer, .. } => Some(*payer),
            Event::Moved { .. } => None,
        })
        .collect();
    let first = events.iter().find(|event| match event {
        Event::Used { .. } => true,
        Event::Moved { from, .. } => payers.contains(from),
    });
    match first {
        _ if payers.len() == 1 => Order::Alone,
        Some(Event::Moved { .. }) => Order::MovedFirst,
        _ => Order::UsedFirst,
    }
}

impl Event {
    fn read(payment: &ExactPayment, log_index: u64, log: &Log) -> Option<Self> {
        let authorization = &payment.authorization;
        if let Ok(used) = AuthorizationUsed::decode_log(log) {
            let is_ours = used.authorizer == authorization.from && used.nonce == authorization.nonce;
            return Some(Self::Used { payer: used.authorizer, is_ours });
        }
        let moved = Transfer::decode_log(log).ok()?;
        let is_exact = moved.from == authorization.from
            && moved.to == authorization.to
            && moved.value == authorization.value
            && moved.value > U256::ZERO;
        Some(Self::Moved { from: moved.from, is_exact, log_index })
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
            signature: Signature::test_signature(),
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
