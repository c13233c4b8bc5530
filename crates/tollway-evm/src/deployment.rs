//! Whether assets are on chain as the table has them. A wrong domain would make every signature fail in
//! silence.

use alloy_primitives::{Address, B256, Bytes};
use alloy_sol_types::{SolCall, SolValue, sol};

use crate::chain::{Chain, ChainError};
use crate::eip712::Domain;
use crate::multicall::{self, Call};
use crate::{Asset, AssetTable};

sol! {
    interface Domained {
        function DOMAIN_SEPARATOR() external view returns (bytes32);
    }
}

/// What is wrong with the assets of this network, a sentence each: no code at the address, or another EIP-712
/// domain than the table says.
///
/// # Errors
/// The node gave no answer.
///
/// ```
/// # use alloy_sol_types::SolValue;
/// # use tollway_evm::{AssetTable, Bytes, asset_faults};
/// # use alloy_transport::mock::{Asserter, MockTransport};
/// # use tollway_core::Network;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let node = Asserter::new();
/// # node.push_success(&Bytes::from(vec![(true, Bytes::new()); 2].abi_encode()));
/// # node.push_success(&"0x");
/// # node.push_success(&"0x");
/// # let (node, deadline) = (MockTransport::new(node), std::time::Duration::from_secs(5));
/// # let chain = tollway_evm::Chain::from_transport(node, &Network::evm(8453), deadline)?;
/// let faults = asset_faults(&chain, &AssetTable::known()).await?; // on a chain without them
/// assert!(faults[0].starts_with("asset USDC at 0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913: no contract"));
/// # Ok(())
/// # }
/// ```
pub async fn asset_faults(chain: &Chain, assets: &AssetTable) -> Result<Vec<String>, ChainError> {
    let ours: Vec<&Asset> = assets.iter().filter(|asset| &asset.network == chain.network()).collect();
    let call = |asset: &&Asset| Call {
        to: asset.address,
        data: Domained::DOMAIN_SEPARATORCall {}.abi_encode().into(),
    };
    let calls: Vec<Call> = ours.iter().map(call).collect();
    let addresses: Vec<Address> = ours.iter().map(|asset| asset.address).collect();
    let (returned, codes) =
        tokio::try_join!(multicall::call(chain, Address::ZERO, &calls), chain.codes(&addresses))?;
    let fault = |((asset, returned), code): ((&&Asset, &multicall::Returned), &Bytes)| {
        let named = format!("asset {} at {}", asset.symbol, asset.address);
        // Whatever is asked of an account without code succeeds and answers nothing.
        if code.is_empty() {
            return Some(format!("{named}: no contract is there"));
        }
        // Nothing is signed under its domain.
        if asset.name.is_empty() {
            return None;
        }
        let answered = B256::abi_decode(&returned.data).ok().filter(|_| returned.success);
        match (answered, Domain::of(asset)) {
            (Some(answered), Some(domain)) if answered == domain.separator() => None,
            (Some(_), _) => Some(format!(
                "{named}: its EIP-712 domain is not name {:?}, version {:?}",
                asset.name, asset.version
            )),
            (None, _) => Some(format!("{named}: the contract there does not tell a DOMAIN_SEPARATOR()")),
        }
    };
    Ok(ours.iter().zip(&returned).zip(&codes).filter_map(fault).collect())
}
