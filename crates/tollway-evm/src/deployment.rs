//! Whether a network is as the configuration has it: its nodes, and the contracts that settling stands on. A wrong
//! domain would make every signature fail in silence.

use alloy_primitives::{Address, B256, Bytes};
use alloy_sol_types::{SolCall, SolValue, sol};
use futures_util::future::try_join_all;

use crate::chain::{CallOutcome, Chain, ChainError};
use crate::eip712::Domain;
use crate::multicall::{Call, MULTICALL3};
use crate::{Asset, AssetTable, TransferMethod};

/// Gas for one question to a contract: a hostile one cannot make the node work for long.
const GAS: u64 = 200_000;
/// How many assets are asked about at once.
const AT_ONCE: usize = 8;

sol! {
    interface Domained {
        function DOMAIN_SEPARATOR() external view returns (bytes32);
    }
}

/// All that is wrong with a network, a sentence each: a node on another chain, no node that answers, no Multicall3, and
/// the [`asset_faults`]. A node that is down while another answers is no fault: it is told in the log, and checked when it
/// comes back.
///
/// ```
/// # use std::time::Duration;
/// # use tollway_core::Network;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tollway_evm::{AssetTable, Chain, deployment_faults};
/// let chain = Chain::connect("http://127.0.0.1:1/a-key", &Network::evm(8453), Duration::from_secs(5))?;
/// let faults = deployment_faults(&chain, &AssetTable::known()).await;
/// assert_eq!(faults, ["node 0 (127.0.0.1:1): eth_chainId: the node was not reached"]);
/// # Ok(())
/// # }
/// ```
pub async fn deployment_faults(chain: &Chain, assets: &AssetTable) -> Vec<String> {
    let (mut faults, mut silent) = (Vec::new(), Vec::new());
    let mut is_answered = false;
    for (node, found) in chain.nodes().iter().zip(chain.check_nodes().await) {
        let named = format!("node {} ({})", node.index, node.name);
        match found {
            Ok(()) => is_answered = true,
            Err(error @ ChainError::OtherChain { .. }) => faults.push(format!("{named}: {error}")),
            Err(error) => silent.push(format!("{named}: {error}")),
        }
    }
    if !is_answered {
        faults.extend(silent);
        return faults;
    }
    for fault in silent {
        tracing::warn!(network = %chain.network(), "{fault}; it is checked when it comes back");
    }
    let (multicall, assets) = tokio::join!(chain.code(MULTICALL3), asset_faults(chain, assets));
    match multicall {
        Ok(code) if code.is_empty() => faults.push(ChainError::NoMulticall.to_string()),
        Ok(_) => {}
        Err(error) => faults.push(format!("node: {error}")),
    }
    match assets {
        Ok(found) => faults.extend(found),
        Err(error) => faults.push(format!("node: {error}")),
    }
    faults
}

/// What is wrong with the assets of this network, a sentence each: no code at the address, or another EIP-712
/// domain than the table says. An asset that moves through Permit2 needs no domain of its own.
///
/// # Errors
/// The node gave no answer.
///
/// ```
/// # use tollway_evm::{AssetTable, asset_faults};
/// # use alloy_transport::mock::{Asserter, MockTransport};
/// # use tollway_core::Network;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let node = Asserter::new();
/// # (0..2).for_each(|_| node.push_success(&"0x"));
/// # let (node, deadline) = (MockTransport::new(node), std::time::Duration::from_secs(5));
/// # let chain = tollway_evm::Chain::from_transport(node, &Network::evm(8453), deadline)?;
/// let faults = asset_faults(&chain, &AssetTable::known()).await?; // on a chain without them
/// assert!(faults[0].starts_with("asset USDC at 0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913: no contract"));
/// # Ok(())
/// # }
/// ```
pub async fn asset_faults(chain: &Chain, assets: &AssetTable) -> Result<Vec<String>, ChainError> {
    let ours: Vec<&Asset> = assets.iter().filter(|asset| &asset.network == chain.network()).collect();
    let mut faults = Vec::new();
    for some in ours.chunks(AT_ONCE) {
        let addresses: Vec<Address> = some.iter().map(|asset| asset.address).collect();
        let codes = chain.codes(&addresses).await?;
        let found =
            try_join_all(some.iter().zip(&codes).map(|(asset, code)| fault(chain, asset, code))).await?;
        faults.extend(found.into_iter().flatten());
    }
    Ok(faults)
}

async fn fault(chain: &Chain, asset: &Asset, code: &Bytes) -> Result<Option<String>, ChainError> {
    let named = format!("asset {} at {}", asset.symbol, asset.address);
    // Whatever is asked of an account without code succeeds and answers nothing.
    if code.is_empty() {
        return Ok(Some(format!("{named}: no contract is there")));
    }
    let call = Call { to: asset.address, data: Domained::DOMAIN_SEPARATORCall {}.abi_encode().into() };
    let answered = match chain.call(Address::ZERO, &call, GAS).await? {
        CallOutcome::Returned(data) => separator(&data),
        CallOutcome::Reverted(_) => None,
    };
    // Without a name nothing is signed under its domain.
    let is_unsaid = asset.name.is_empty();
    let needs_none = is_unsaid || asset.transfer_method == TransferMethod::Permit2;
    Ok(match (answered, Domain::of(asset)) {
        (Some(answered), Some(domain)) if answered == domain.separator() => None,
        (Some(_), _) if is_unsaid => {
            tracing::info!(network = %chain.network(), "{named}: has a DOMAIN_SEPARATOR(), which is not compared");
            None
        }
        (Some(_), _) => Some(format!(
            "{named}: its EIP-712 domain is not name {:?}, version {:?}",
            asset.name, asset.version
        )),
        (None, _) if needs_none => {
            tracing::info!(network = %chain.network(), "{named}: has no DOMAIN_SEPARATOR(), and needs none");
            None
        }
        (None, _) => Some(format!("{named}: the contract there does not tell a DOMAIN_SEPARATOR()")),
    })
}

fn separator(data: &Bytes) -> Option<B256> {
    B256::abi_decode(data).ok()
}
