//! A seller's own look at a settlement: the receipt, from a node of its own choice, held against the payment.

use alloy_primitives::B256;
use tollway_core::model::FacilitatorRequest;
use tollway_core::{BoxFuture, Network, SettlementWitness, Witnessed};

use crate::chain::Chain;
use crate::payment::Payment;
use crate::permit2;
use crate::state::are_used;

/// Proves settlements by their receipts, as a facilitator does, on the networks that it has a node
/// of.
#[derive(Clone, Debug)]
pub struct ReceiptWitness {
    chains: Vec<Chain>,
}

impl ReceiptWitness {
    /// A witness that sees these chains.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollway_core::{Network, SettlementWitness};
    /// use tollway_evm::{Chain, exact::ReceiptWitness};
    /// let base = Network::evm(8453);
    /// let node = Chain::connect("https://mainnet.base.org", &base, Duration::from_secs(5))?;
    /// let witness = ReceiptWitness::new([node]);
    /// assert!(witness.covers(&base) && !witness.covers(&Network::evm(1)));
    /// # Ok::<(), tollway_evm::ChainError>(())
    /// ```
    pub fn new(chains: impl IntoIterator<Item = Chain>) -> Self {
        Self { chains: chains.into_iter().collect() }
    }

    fn chain(&self, network: &Network) -> Option<&Chain> {
        self.chains.iter().find(|chain| chain.network() == network)
    }

    async fn look(&self, request: &FacilitatorRequest, transaction: &str) -> Witnessed {
        let network = &request.requirements.network;
        let Some(chain) = self.chain(network) else { return unknown(format!("no node of {network}")) };
        let payment = match Payment::check(request, None) {
            Ok(payment) => payment,
            Err(refusal) => return unknown(format!("not a payment that a receipt proves: {refusal}")),
        };
        // What is no hash is the hash of nothing.
        let Ok(hash) = transaction.parse::<B256>() else { return Witnessed::Disproved };
        let receipt = match chain.receipt(hash).await {
            Ok(Some(receipt)) => receipt,
            Ok(None) => return unknown(format!("{hash} has no receipt")),
            Err(error) => return unknown(error.to_string()),
        };
        let logs = receipt.inner.logs().iter().filter_map(|log| Some((log.log_index?, &log.inner)));
        match (payment.prove_in(logs), &payment) {
            (Some(_), Payment::Permit2(permit)) if receipt.inner.status() => {
                // A transfer of the same amount may have paid for something else.
                match permit2::is_settled_by(chain, permit, hash).await {
                    Ok(true) => Witnessed::Proved,
                    Ok(false) => unknown(format!("{hash} does more than settle this payment")),
                    Err(error) => unknown(error.to_string()),
                }
            }
            (Some(_), Payment::AuthCapture(operation)) if operation.is_later() && receipt.inner.status() => {
                // An older refund of as much looks the same. What was agreed to names how the payment stands before.
                match are_used(chain, &[&payment]).await.as_deref() {
                    Ok([Some(true)]) => Witnessed::Proved,
                    Ok(_) => unknown(format!("the payment stands as it did before {hash}")),
                    Err(error) => unknown(error.to_string()),
                }
            }
            (Some(_), _) if receipt.inner.status() => Witnessed::Proved,
            _ => Witnessed::Disproved,
        }
    }
}

impl SettlementWitness for ReceiptWitness {
    fn covers(&self, network: &Network) -> bool {
        self.chain(network).is_some()
    }

    fn confirm<'a>(
        &'a self,
        request: &'a FacilitatorRequest,
        transaction: &'a str,
    ) -> BoxFuture<'a, Witnessed> {
        Box::pin(self.look(request, transaction))
    }
}

fn unknown(why: String) -> Witnessed {
    Witnessed::Unknown(why)
}
