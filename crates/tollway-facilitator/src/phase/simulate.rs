//! Phase 5: the first that asks the node: would these transfers move exactly this now, one after the other.
//!
//! It is asked twice. Before a payment is accepted, together with whatever else waits to be asked (`coalesce.rs`), so
//! that junk never reaches a lane; and by the lane for all that go into one transaction together, just before it is
//! signed, because the queue takes time and balances are spent.

use alloy_primitives::Address;
use tollway_core::FacilitatorError;
use tollway_evm::Chain;
use tollway_evm::exact::{self, ExactPayment, Verdict};

/// Simulates transfers in order, each on the state that those before it leave. The outer error is the node's failure
/// and says nothing about any payment.
pub(crate) async fn simulate(
    chain: &Chain,
    sender: Address,
    payments: &[&ExactPayment],
) -> Result<Vec<Verdict>, FacilitatorError> {
    exact::simulate(chain, sender, payments).await.map_err(|error| {
        tracing::warn!(network = %chain.network(), %error, "node failed during a simulation");
        FacilitatorError::Busy(format!("the node of {} failed", chain.network()))
    })
}
