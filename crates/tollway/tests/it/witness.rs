//! A seller's own look at the chain tells a settlement that happened from one that did not.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tollway_core::model::{FacilitatorRequest, PaymentRequired};
use tollway_core::{
    Amount, BuyerScheme, Clock, JsonObject, Network, Price, SellerScheme, SettlementWitness, SystemClock,
    Terms, Witnessed, X402Version,
};
use tollway_devnet::{ACCOUNTS, Fault, genesis};
use tollway_evm::exact::{ExactBuyer, ExactSeller, ReceiptWitness, check_at_any_time, transfer_call};
use tollway_evm::{Chain, Signer, Transaction, U256};

use crate::market::{account, assets};
use crate::node::{Kind, Node};

const SENDER: usize = 1;

async fn paid(amount: u64) -> FacilitatorRequest {
    let known = assets(31_337);
    let pay_to = ACCOUNTS[5].address.to_string();
    let terms = Terms { network: Network::evm(31_337), pay_to, max_timeout_seconds: 300 };
    let asset = genesis::USDC.to_string();
    let price = Price::Asset { amount: Amount::from(amount), asset, extra: JsonObject::new() };
    let offer = ExactSeller::new(known.clone()).offer(&price, &terms).unwrap();
    let required = PaymentRequired {
        version: X402Version::V2,
        error: None,
        resource: None,
        accepts: vec![offer.clone()],
        extensions: JsonObject::new(),
        other: JsonObject::new(),
    };
    let buyer = ExactBuyer::new(Arc::new(account(3)), known);
    let payment = buyer.sign(&required, &offer, SystemClock.now()).await.unwrap();
    FacilitatorRequest { payment, requirements: offer }
}

/// Sends the transfer as a facilitator would, and returns the transaction's hash.
async fn settle(chain: &Chain, request: &FacilitatorRequest) -> String {
    let payment = check_at_any_time(&request.payment, &request.requirements).unwrap();
    let call = transfer_call(&payment);
    let sender = account(SENDER);
    let transaction = Transaction {
        chain_id: 31_337,
        nonce: chain.nonce(sender.address()).await.unwrap(),
        to: call.to,
        value: U256::ZERO,
        data: call.data,
        gas_limit: 200_000,
        max_fee_per_gas: 10_000_000_000,
        max_priority_fee_per_gas: 1,
    };
    let signed = transaction.sign(&sender).await.unwrap();
    let hash = chain.send_raw(&signed.raw).await.unwrap();
    // anvil answers before it has mined.
    let included = async {
        while chain.receipt(hash).await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), included).await.unwrap();
    hash.to_string()
}

#[tokio::test]
async fn a_witness_proves_what_moved_and_disproves_what_did_not() {
    for kind in [Kind::Devnet, Kind::Anvil] {
        let Some(node) = Node::start(kind, 31_337).await else { continue };
        let chain = node.chain();
        let witness = ReceiptWitness::new([chain.clone()]);
        let (first, second) = (paid(5).await, paid(5).await);
        let hash = settle(&chain, &first).await;
        let other = settle(&chain, &second).await;
        assert_eq!(witness.confirm(&first, &hash).await, Witnessed::Proved);
        assert_eq!(
            witness.confirm(&first, &hash.to_uppercase().replace("0X", "0x")).await,
            Witnessed::Proved
        );
        assert_eq!(
            witness.confirm(&first, &other).await,
            Witnessed::Disproved,
            "another payment's transaction"
        );
        assert_eq!(witness.confirm(&first, "0xabc").await, Witnessed::Disproved, "no hash");
        let again = settle(&chain, &first).await;
        assert_eq!(witness.confirm(&first, &again).await, Witnessed::Disproved, "it reverted");
        let nobodys = format!("0x{}", "ab".repeat(32));
        assert!(matches!(witness.confirm(&first, &nobodys).await, Witnessed::Unknown(_)));
    }
}

#[tokio::test]
async fn a_witness_without_an_answer_says_nothing_about_the_payment() {
    let node = Node::start(Kind::Devnet, 31_337).await.unwrap();
    let chain = node.chain();
    let witness = ReceiptWitness::new([chain.clone()]);
    let request = paid(5).await;
    let hash = settle(&chain, &request).await;
    let fault = json!({ "kind": "error", "method": "eth_getTransactionReceipt", "count": 1 });
    chain.raw("tollway_setFault", json!([fault])).await.unwrap();
    assert!(matches!(witness.confirm(&request, &hash).await, Witnessed::Unknown(_)));
    node.devnet().faults().inject(Fault::Hold);
    node.devnet().faults().inject(Fault::Reorg { depth: 1, lost: false });
    assert!(matches!(witness.confirm(&request, &hash).await, Witnessed::Unknown(_)), "taken back");
    node.devnet().faults().inject(Fault::Release);
    assert_eq!(witness.confirm(&request, &hash).await, Witnessed::Proved);
    let elsewhere = Chain::connect(&node.rpc_url, &Network::evm(1), Duration::from_secs(5)).unwrap();
    let blind = ReceiptWitness::new([elsewhere]);
    assert!(!blind.covers(&request.requirements.network));
    assert!(matches!(blind.confirm(&request, &hash).await, Witnessed::Unknown(_)));
}

#[tokio::test]
async fn many_receipts_and_blocks_are_told_in_their_order() {
    for kind in [Kind::Devnet, Kind::Anvil] {
        let Some(node) = Node::start(kind, 31_337).await else { continue };
        let chain = node.chain();
        let mut hashes = Vec::new();
        for amount in 1..=12 {
            hashes.push(settle(&chain, &paid(amount).await).await.parse().unwrap());
        }
        hashes.insert(3, tollway_evm::B256::repeat_byte(9));
        let receipts = chain.receipts(&hashes).await.unwrap();
        let known = chain.transactions_known(&hashes).await.unwrap();
        for (index, (receipt, hash)) in receipts.iter().zip(&hashes).enumerate() {
            assert_eq!(
                receipt.as_ref().map(|receipt| receipt.transaction_hash),
                (index != 3).then_some(*hash)
            );
            assert_eq!(known[index], index != 3);
        }
        assert_eq!(receipts.len(), 13);
        assert!(chain.receipts(&[]).await.unwrap().is_empty());
        let head = chain.head().await.unwrap();
        let parent = chain.block_by_number(head.number - 1).await.unwrap().unwrap();
        assert_eq!((parent.hash, parent.number), (head.parent_hash, head.number - 1));
        assert_eq!(chain.block_by_number(head.number).await.unwrap(), Some(head));
        assert_eq!(chain.block_by_number(head.number + 1).await.unwrap(), None);
    }
}
