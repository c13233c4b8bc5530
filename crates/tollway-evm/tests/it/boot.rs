//! What is told of nodes and contracts at the start.

use tollway_core::Network;
use tollway_evm::{Address, Asset, AssetTable, TransferMethod, deployment_faults};

use crate::script::{Mood, Scripted, chain};

fn asset(transfer_method: TransferMethod, name: &str) -> AssetTable {
    AssetTable::empty().with(Asset {
        network: Network::evm(8_453),
        symbol: "MYUSD".to_owned(),
        address: Address::repeat_byte(0x11),
        name: name.to_owned(),
        version: name.to_owned(),
        decimals: 6,
        is_usd: false,
        transfer_method,
    })
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_down_is_no_fault_while_another_answers() {
    let (one, two) = (Scripted::at(100), Scripted::at(100));
    let chain = chain(&[&one, &two]);
    one.feels(Mood::Broken);
    assert_eq!(deployment_faults(&chain, &AssetTable::empty()).await, [""; 0]);
    two.feels(Mood::Silent);
    let faults = deployment_faults(&chain, &AssetTable::empty()).await;
    assert_eq!(faults.len(), 2, "each is told: {faults:?}");
    assert!(faults[0].starts_with("node 0 (n0): ") && faults[1].starts_with("node 1 (n1): "), "{faults:?}");
    assert!(!faults.concat().contains("SECRET"), "{faults:?}");
}

#[tokio::test(start_paused = true)]
async fn every_node_on_another_chain_is_a_fault_beside_the_faults_of_assets() {
    let nodes = [Scripted::at(100), Scripted::at(100), Scripted::at(100)];
    nodes[1].is_on(1);
    nodes[2].is_on(10);
    let chain = chain(&[&nodes[0], &nodes[1], &nodes[2]]);
    let faults = deployment_faults(&chain, &asset(TransferMethod::Eip3009, "My Dollar")).await;
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(
        faults[0].contains("node 1 (n1)") && faults[0].contains("chain 1, configured is 8453"),
        "{faults:?}"
    );
    assert!(faults[1].contains("node 2 (n2)") && faults[1].contains("chain 10"), "{faults:?}");
    assert!(faults[2].contains("DOMAIN_SEPARATOR()"), "{faults:?}");
}

#[tokio::test(start_paused = true)]
async fn an_asset_that_moves_through_permit2_needs_no_domain() {
    let node = Scripted::at(100);
    let chain = chain(&[&node]);
    for name in ["", "My Dollar"] {
        assert_eq!(deployment_faults(&chain, &asset(TransferMethod::Permit2, name)).await, [""; 0]);
    }
}
