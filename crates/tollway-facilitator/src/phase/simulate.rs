//! Phase 5: the first that asks the node: would the transfer move exactly this now.

use tollway_core::{FacilitatorError, Refusal};
use tollway_evm::exact::{self, ExactPayment, SimulationError};

use crate::evm_network::EvmNetwork;

/// Simulates the transfer. The outer error is the node's failure and says nothing about the payment.
pub(crate) async fn simulate(
    network: &EvmNetwork,
    payment: &ExactPayment,
) -> Result<Result<(), Refusal>, FacilitatorError> {
    let sender = network.lane().map(|lane| lane.address()).unwrap_or_default();
    match exact::simulate(&network.chain, payment, sender).await {
        Ok(()) => Ok(Ok(())),
        Err(SimulationError::Refused(refusal)) => Ok(Err(refusal)),
        Err(SimulationError::Chain(error)) => {
            tracing::warn!(network = %network.network(), %error, "node failed during a simulation");
            Err(FacilitatorError::Busy(format!("the node of {} failed", network.network())))
        }
    }
}
