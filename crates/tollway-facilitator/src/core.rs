//! What all parts of a running engine share.

use std::sync::Arc;

use tollway_core::Clock;

use crate::evm_network::EvmNetwork;
use crate::journal::{Journal, Row};
use crate::limits::Limits;
use crate::membership::Membership;
use crate::phase::late::Unused;
use crate::reconcile;
use crate::score::Score;
use crate::tasks::Tasks;

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

    /// A payment that was found good has cost gas and moved nothing.
    pub(crate) fn score_reverted(&self, row: &Row) {
        let (network, payer) = (&row.payment.network, row.payment.authorization.from);
        tracing::warn!(%network, %payer, "a payment moved nothing and cost gas");
        self.score.reverted(payer);
    }
}
