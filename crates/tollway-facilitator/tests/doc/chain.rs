// What the examples in the documentation stand on: a chain in this process, with one token and one funded key.
// They take this in with `include!`, so that what they show is short and runs all the same.

mod chain {
    use std::sync::Arc;
    use std::time::Duration;

    use tollway_core::Network;
    use tollway_devnet::{ACCOUNTS, Config, Handle, genesis};
    use tollway_evm::{Asset, AssetTable, Chain, LocalSigner, TransferMethod};
    use tollway_facilitator::NetworkSetup;

    pub async fn devnet() -> (Handle, NetworkSetup) {
        let devnet = tollway_devnet::spawn(Config::default()).await.unwrap();
        let (network, deadline) = (Network::evm(devnet.chain_id()), Duration::from_secs(5));
        let chain = Chain::from_transport(devnet.transport(), &network, deadline).unwrap();
        let signer = LocalSigner::from_hex(&ACCOUNTS[0].secret_key.to_string()).unwrap();
        let usdc = Asset {
            network,
            symbol: "USDC".to_owned(),
            address: genesis::USDC,
            name: "USDC".to_owned(),
            version: "2".to_owned(),
            decimals: 6,
            is_usd: true,
            transfer_method: TransferMethod::Eip3009,
        };
        (
            devnet,
            NetworkSetup { chain, assets: AssetTable::empty().with(usdc), signers: vec![Arc::new(signer)] },
        )
    }
}
use chain::*;
