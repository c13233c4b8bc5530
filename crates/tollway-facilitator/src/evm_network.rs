//! One EVM network as the engine serves it: its node, its allowlisted assets, its lanes.

use std::sync::Arc;

use alloy_primitives::Address;
use tollway_core::Network;
use tollway_evm::{Asset, AssetTable, Chain, ChainError, MULTICALL3, Signer, asset_faults};

use crate::journal::Row;
use crate::lane::LaneHandle;

/// What an operator gives for one network.
#[derive(Clone, Debug)]
pub struct NetworkSetup {
    /// The node.
    pub chain: Chain,
    /// The assets that may be settled. Others are refused: an unknown contract could burn the lane's gas.
    pub assets: AssetTable,
    /// The funded keys, one lane each.
    pub signers: Vec<Arc<dyn Signer>>,
}

impl NetworkSetup {
    /// Asks the node whether this can work. All faults at once.
    pub(crate) async fn faults(&self) -> Vec<String> {
        let network = self.chain.network();
        let mut faults = Vec::new();
        let mut add = |fault: String| faults.push(format!("{network}: {fault}"));
        if self.signers.is_empty() {
            add("no signer: a network needs at least one funded key".to_owned());
        }
        if !self.assets.iter().any(|asset| &asset.network == network) {
            add("no asset: nothing could be settled".to_owned());
        }
        let addresses: Vec<Address> = self.signers.iter().map(|signer| signer.address()).collect();
        for (index, address) in addresses.iter().enumerate() {
            if addresses[..index].contains(address) {
                add(format!("signer {address} is given twice: two lanes would fight for its nonces"));
            }
        }
        match self.chain.check_chain_id().await {
            Err(error @ ChainError::OtherChain { .. }) => add(error.to_string()),
            Err(error) => add(format!("node: {error}")),
            Ok(()) => match self.chain.code(MULTICALL3).await {
                Ok(code) if code.is_empty() => add(ChainError::NoMulticall.to_string()),
                Ok(_) => match asset_faults(&self.chain, &self.assets).await {
                    Ok(found) => found.into_iter().for_each(&mut add),
                    Err(error) => add(format!("node: {error}")),
                },
                Err(error) => add(format!("node: {error}")),
            },
        }
        faults
    }
}

/// A network that is served.
#[derive(Debug)]
pub(crate) struct EvmNetwork {
    pub(crate) chain: Chain,
    pub(crate) assets: AssetTable,
    pub(crate) lanes: Vec<LaneHandle>,
}

impl EvmNetwork {
    /// The asset, if the operator settles it.
    pub(crate) fn asset(&self, address: Address) -> Option<&Asset> {
        self.assets.find(self.network(), address)
    }

    pub(crate) const fn network(&self) -> &Network {
        self.chain.network()
    }

    /// The lane with the shortest queue among those that run; simulations are run from its address.
    pub(crate) fn lane(&self) -> Option<&LaneHandle> {
        self.lanes.iter().filter(|lane| lane.is_running()).min_by_key(|lane| lane.queued())
    }

    /// Hands a payment to the lane with the shortest queue that has room. False: none has.
    pub(crate) fn enqueue(&self, row: &Arc<Row>) -> bool {
        let mut lanes: Vec<&LaneHandle> = self.lanes.iter().collect();
        lanes.sort_by_key(|lane| lane.queued());
        lanes.into_iter().any(|lane| lane.enqueue(Arc::clone(row)))
    }
}
