//! What became of payments on chain: whether a nonce is used, and by which transaction.

use alloy_primitives::{Address, B256};

use crate::batch_settlement;
use crate::chain::{Chain, ChainError};
use crate::exact;
use crate::multicall::{self, Call};
use crate::payment::Payment;
use crate::permit2;

/// Whether the nonce of each payment is used or canceled on chain; `None` for a payment whose nonce nobody on chain keeps.
///
/// # Errors
/// The node gave no answer, or a contract that keeps nonces does not tell.
///
/// ```
/// # use alloy_sol_types::SolValue;
/// # use tollway_evm::{Bytes, Payment, are_used};
/// # use alloy_transport::mock::{Asserter, MockTransport};
/// # use tollway_core::Network;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let node = Asserter::new();
/// # node.push_success(&Bytes::from(vec![(true, Bytes::from(true.abi_encode()))].abi_encode()));
/// # let (node, deadline) = (MockTransport::new(node), std::time::Duration::from_secs(5));
/// # let chain = tollway_evm::Chain::from_transport(node, &Network::evm(8453), deadline)?;
/// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
/// # let request = tollway_core::wire::decode_facilitator_request(json)?;
/// # let payment = Payment::check(&request, None)?;
/// assert_eq!(are_used(&chain, &[&payment]).await?, [Some(true)]);
/// # Ok(())
/// # }
/// ```
pub async fn are_used(chain: &Chain, payments: &[&Payment]) -> Result<Vec<Option<bool>>, ChainError> {
    let calls: Vec<Option<Call>> = payments.iter().map(|payment| payment.state_call()).collect();
    let asked: Vec<Call> = calls.iter().flatten().cloned().collect();
    let mut returned = match asked.is_empty() {
        true => Vec::new(),
        false => multicall::call(chain, Address::ZERO, &asked).await?,
    }
    .into_iter();
    let mut states = Vec::with_capacity(payments.len());
    for (payment, call) in payments.iter().zip(&calls) {
        states.push(match call {
            None => None,
            Some(_) => {
                let answer = returned.next().filter(|answer| answer.success).ok_or(ChainError::NoState)?;
                Some(payment.is_used(&answer.data).ok_or(ChainError::NoState)?)
            }
        });
    }
    Ok(states)
}

/// The transactions, whosever they are, in which the payment may have been settled lately: whoever sees one may send it.
/// What they hold is for the proof to say.
///
/// # Errors
/// The node gave no answer.
///
/// ```
/// # use tollway_evm::{Payment, find_uses};
/// # use alloy_rpc_types_eth::Block;
/// # use alloy_transport::mock::{Asserter, MockTransport};
/// # use tollway_core::Network;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let node = Asserter::new();
/// # node.push_success(&Block::<alloy_primitives::B256>::default());
/// # node.push_success(&serde_json::json!([]));
/// # let (node, deadline) = (MockTransport::new(node), std::time::Duration::from_secs(5));
/// # let chain = tollway_evm::Chain::from_transport(node, &Network::evm(8453), deadline)?;
/// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
/// # let request = tollway_core::wire::decode_facilitator_request(json)?;
/// # let payment = Payment::check(&request, None)?;
/// assert!(find_uses(&chain, &payment).await?.is_empty()); // nobody used it lately
/// # Ok(())
/// # }
/// ```
pub async fn find_uses(chain: &Chain, payment: &Payment) -> Result<Vec<B256>, ChainError> {
    match payment {
        Payment::Eip3009(exact) => exact::find_use(chain, exact).await,
        // Only the operator's account can send it, so whatever settled it is among what that account has sent.
        Payment::AuthCapture(_) => Ok(Vec::new()),
        Payment::BatchSettlement(operation) => batch_settlement::find_uses(chain, operation).await,
        // Whoever may redeem it is named in it.
        Payment::Delegation(_) => Ok(Vec::new()),
        Payment::Permit2(permit) => permit2::find_uses(chain, permit).await,
    }
}
