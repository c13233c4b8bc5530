//! What all parts of a running engine share.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tollway_core::Clock;
use tollway_ledger::SettlementId;

use crate::evm_network::EvmNetwork;
use crate::journal::{Accepted, Begun, Journal, Progress, Row};
use crate::limits::Limits;
use crate::membership::Membership;
use crate::phase::late::Unused;
use crate::reconcile;
use crate::score::Score;
use crate::tasks::Tasks;

/// How often a ledger that is down is asked to take a correction.
const CORRECT_AGAIN: Duration = Duration::from_secs(1);

/// The engine without its callers.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) networks: Vec<Arc<EvmNetwork>>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) member: Arc<Membership>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) score: Score,
    pub(crate) tasks: Arc<Tasks>,
}

impl Core {
    /// Follows a payment until the chain says what became of it; until then it is pending. In a task of its own: no
    /// lane waits for it.
    pub(crate) fn chase(self: &Arc<Self>, network: &Arc<EvmNetwork>, row: &Arc<Row>, unused: Unused) {
        let (core, network, row) = (Arc::clone(self), Arc::clone(network), Arc::clone(row));
        self.tasks.spawn(async move { reconcile::chase(&core, &network, &row, &unused).await });
    }

    /// A payment that was told failed has paid after all: its transaction was taken back, and paid when it was included
    /// again. It begins anew, and is settled by what the chain says.
    pub(crate) fn correct(self: &Arc<Self>, network: &Arc<EvmNetwork>, row: &Arc<Row>) {
        let (payment, caller) = (&row.payment, row.caller.as_deref());
        let Begun::New(again) = self.journal.begin(payment, caller, row.confirmations, &row.suffix) else {
            // Somebody is at it.
            return;
        };
        tracing::error!(network = %network.network(), settlement = %SettlementId::of(&row.key), "told failed, and has paid");
        let (core, network) = (Arc::clone(self), Arc::clone(network));
        self.tasks.spawn(async move {
            loop {
                match core.journal.accept(&again, core.member.member().clone()).await {
                    Ok(Accepted::Ours) => {
                        break reconcile::chase(&core, &network, &again, &Unused::Settle).await;
                    }
                    Ok(_) => break core.journal.deny(&again, Progress::Elsewhere),
                    Err(error) => {
                        tracing::error!(%error, "a failure that was none is not corrected yet");
                        sleep(CORRECT_AGAIN).await;
                    }
                }
            }
        });
    }

    /// A payment that was found good has cost gas and moved nothing.
    pub(crate) fn score_reverted(&self, row: &Row) {
        let (network, payer) = (row.payment.network(), row.payment.payer());
        tracing::warn!(%network, %payer, "a payment moved nothing and cost gas");
        self.score.reverted(payer);
    }
}
