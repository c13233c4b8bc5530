//! Phase 5: the first that asks the node: would these transfers move exactly this now, one after the other.
//!
//! It is asked twice. Before a payment is accepted, together with whatever else waits to be asked (`coalesce.rs`), so
//! that junk never reaches a lane; and by the lane for all that go into one transaction together, just before it is
//! signed, because the queue takes time and balances are spent; unless no block has come since.

use std::time::Duration;

use alloy_primitives::{Address, B256};
use tokio::time::Instant;
use tollway_core::FacilitatorError;
use tollway_evm::{Chain, Payment, Verdict};

/// How long a simulation on the block that is still the newest is good enough to sign for. Blocks may come unseen.
const CURRENT: Duration = Duration::from_secs(1);

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

/// Simulates transfers in order, each on the state that those before it leave. The outer error is the node's failure
/// and says nothing about any payment.
pub(crate) async fn simulate(
    chain: &Chain,
    sender: Address,
    payments: &[&Payment],
) -> Result<Vec<Verdict>, FacilitatorError> {
    tollway_evm::simulate(chain, sender, payments).await.map_err(|error| {
        tracing::warn!(network = %chain.network(), %error, "node failed during a simulation");
        FacilitatorError::Busy(format!("the node of {} failed", chain.network()))
    })
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;

    use super::{CURRENT, SimulatedAt};

    #[tokio::test(start_paused = true)]
    async fn a_simulation_is_current_until_a_block_comes_or_may_have_come_unseen() {
        let (block, next) = (Some(B256::repeat_byte(1)), Some(B256::repeat_byte(2)));
        let at = SimulatedAt::now(block);
        assert!(at.is_current(block));
        assert!(!at.is_current(next));
        tokio::time::advance(CURRENT).await;
        assert!(!at.is_current(block));
    }
}
