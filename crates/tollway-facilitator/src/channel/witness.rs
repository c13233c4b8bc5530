//! How channels stand, for a seller in this process: it need not verify a voucher to know.

use alloy_primitives::B256;
use tollway_core::{Backing, BoxFuture, ChannelKey, ChannelWitness, FacilitatorError, Network};
use tollway_evm::batch_settlement::backings;

use crate::engine::Engine;

impl ChannelWitness for Engine {
    fn covers(&self, network: &Network) -> bool {
        self.core().networks.iter().any(|served| served.network() == network && served.channels.is_some())
    }

    fn backings<'a>(
        &'a self,
        channels: &'a [ChannelKey],
    ) -> BoxFuture<'a, Result<Vec<Backing>, FacilitatorError>> {
        Box::pin(async move {
            let Some(first) = channels.first() else { return Ok(Vec::new()) };
            let found =
                self.core().networks.iter().find(|served| served.network().as_str() == first.network());
            let network = found.filter(|network| network.channels.is_some());
            let unseen = || FacilitatorError::Busy(format!("no channels are seen on {}", first.network()));
            let network = network.ok_or_else(unseen)?;
            let mut ids: Vec<B256> = Vec::with_capacity(channels.len());
            for channel in channels {
                let is_here = channel.network() == first.network();
                ids.push(channel.id().parse().ok().filter(|_| is_here).ok_or_else(unseen)?);
            }
            // One alone shares its question with whoever verifies.
            if let ([id], Some(service)) = (&ids[..], &network.channels) {
                return Ok(vec![service.looks.look(*id).await?]);
            }
            backings(&network.chain, &ids).await.map_err(|error| {
                tracing::warn!(network = %network.network(), %error, "no answer about channels");
                FacilitatorError::Busy(format!("the node of {} failed", network.network()))
            })
        })
    }
}
