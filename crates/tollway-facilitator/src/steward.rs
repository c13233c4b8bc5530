//! Who holds which lane. Living processes share them out evenly: each takes what is free up to its share, and gives
//! back what is above it as soon as it is idle.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tollway_ledger::{LedgerError, Role};

use crate::core::Core;
use crate::evm_network::EvmNetwork;
use crate::journal::timed;

/// How often the shares are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Looks after the shares, for as long as the engine lives.
pub(crate) async fn run(core: Arc<Core>) {
    loop {
        sleep(EVERY).await;
        if core.member.is_superseded() {
            return;
        }
        if core.member.is_current()
            && let Err(error) = share_out(&core).await
        {
            tracing::warn!(%error, "the lanes are not shared out");
        }
    }
}

/// Takes and asks back, once.
pub(crate) async fn share_out(core: &Core) -> Result<(), LedgerError> {
    let living = core.journal.ledger().member_list(Role::Facilitator, core.clock.now());
    let living = timed("member_list", living).await?.len().max(1);
    for network in &core.networks {
        share_out_one(core, network, network.lanes.len().div_ceil(living)).await?;
    }
    Ok(())
}

async fn share_out_one(core: &Core, network: &EvmNetwork, share: usize) -> Result<(), LedgerError> {
    let mut held = network.lanes.iter().filter(|lane| lane.is_held()).count();
    let mut above = held.saturating_sub(share);
    for lane in &network.lanes {
        if lane.is_held() {
            // As many as are above the share, and no longer than they are.
            lane.ask_back(above > 0);
            above = above.saturating_sub(1);
        } else if held < share {
            let address = lane.address().to_checksum(None);
            let acquired = core.journal.ledger().lane_acquire(
                network.network(),
                &address,
                core.member.member(),
                core.clock.now(),
            );
            if let Some(lease) = timed("lane_acquire", acquired).await? {
                tracing::info!(network = %network.network(), lane = %address, token = lease.token, "lane taken");
                lane.grant(lease);
                held += 1;
            }
        }
    }
    Ok(())
}
