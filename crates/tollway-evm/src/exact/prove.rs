//! Proof of payment: the token's own `Transfer` event. A receipt's status is no proof: a token may succeed
//! without moving anything.

use alloy_primitives::{Log, U256};
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
/// It takes two events of the token itself: `AuthorizationUsed` for this payer and nonce, and the `Transfer`
/// of exactly the value from payer to payee that belongs to it, which is the one before the token's next
/// `AuthorizationUsed`. So one transfer never proves two authorizations of equal amount in one batch. A token
/// that emits the two in the other order is believed only where no other authorization can be meant.
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
    let (mut ours, mut others) = (false, 0u32);
    let (mut before, mut belongs) = (None, false);
    for (log_index, log) in logs.into_iter().filter(|(_, log)| log.address == payment.asset) {
        if let Ok(used) = AuthorizationUsed::decode_log(log) {
            let authorization = &payment.authorization;
            belongs = used.authorizer == authorization.from && used.nonce == authorization.nonce;
            ours |= belongs;
            others += u32::from(!belongs);
        } else if is_transfer(payment, log) {
            if belongs {
                return Some(TransferProof { log_index });
            }
            before = before.or(Some(log_index));
        }
    }
    before.filter(|_| ours && others == 0).map(|log_index| TransferProof { log_index })
}

fn is_transfer(payment: &ExactPayment, log: &Log) -> bool {
    let authorization = &payment.authorization;
    Transfer::decode_log(log).is_ok_and(|moved| {
        moved.from == authorization.from
            && moved.to == authorization.to
            && moved.value == authorization.value
            && moved.value > U256::ZERO
    })
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
        let only_second = [used(7), used(8), moved(ASSET, PAYEE, 10)];
        assert_eq!((prove(7, &only_second), prove(8, &only_second)), (None, Some(2)));
    }
}
