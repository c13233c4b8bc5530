//! A node as whoever sees what is in channels.

use tollway_core::{Backing, BoxFuture, ChannelKey, ChannelWitness, FacilitatorError, Network};
use tollway_evm::{B256, Chain, batch_settlement};

/// A node.
#[derive(Debug)]
pub(crate) struct NodeChannels(pub(crate) Chain);

impl ChannelWitness for NodeChannels {
    fn covers(&self, network: &Network) -> bool {
        self.0.network() == network
    }

    fn backings<'a>(
        &'a self,
        channels: &'a [ChannelKey],
    ) -> BoxFuture<'a, Result<Vec<Backing>, FacilitatorError>> {
        Box::pin(async move {
            let ids = channels.iter().map(|key| key.id().parse::<B256>()).collect::<Result<Vec<_>, _>>();
            let ids = ids.map_err(|_| FacilitatorError::Busy("a channel's id is 32 bytes".to_owned()))?;
            let found = batch_settlement::backings(&self.0, &ids).await;
            found.map_err(|error| FacilitatorError::NoAnswer(error.to_string()))
        })
    }
}
