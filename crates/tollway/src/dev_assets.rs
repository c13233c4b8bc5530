//! The devnet's tokens in the table of assets. Only the program adds them: a library's users decide themselves
//! whether money on a development chain is money.

use tollway_core::Network;
use tollway_devnet::genesis::{EURC, USDC};
use tollway_evm::{Address, Asset, AssetTable};

/// The chain id that development chains have.
pub(crate) const DEV_CHAIN_ID: u64 = 31_337;

/// The known assets, but on `chain_id` the devnet's tokens alone: a development chain that takes the id of a real
/// network has none of its tokens.
pub(crate) fn with_dev_assets(chain_id: u64) -> AssetTable {
    let elsewhere = AssetTable::known();
    let elsewhere = elsewhere.iter().filter(|asset| asset.network != Network::evm(chain_id)).cloned();
    [dev_asset(chain_id, "USDC", USDC), dev_asset(chain_id, "EURC", EURC)]
        .into_iter()
        .chain(elsewhere)
        .fold(AssetTable::empty(), AssetTable::with)
}

fn dev_asset(chain_id: u64, symbol: &str, address: Address) -> Asset {
    Asset {
        network: Network::evm(chain_id),
        symbol: symbol.to_owned(),
        address,
        name: symbol.to_owned(),
        version: "2".to_owned(),
        decimals: 6,
        is_usd: symbol == "USDC",
        transfer_method: tollway_evm::TransferMethod::Eip3009,
    }
}
