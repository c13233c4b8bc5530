//! Who took part in a payment, behind the calldata of its settlement (extension `builder-code`, ERC-8021).

use std::time::Duration;

use serde_json::{Value, json};
use tollway_core::Facilitator;
use tollway_core::extension::builder_code::{Attribution, BuilderCode};
use tollway_core::model::FacilitatorRequest;
use tollway_devnet::Mining;
use tollway_evm::Bytes;
use tollway_facilitator::Limits;
use tollway_ledger::MemoryLedger;

use crate::world::{World, quick};

fn limits(own: Option<&str>) -> Limits {
    let builder_code = own.map(|code| BuilderCode::new(code).unwrap());
    Limits { builder_code, settle_deadline: Duration::from_secs(10), ..quick() }
}

/// A payment sold by `app`.
async fn sold_by(world: &World, app: &str) -> FacilitatorRequest {
    let mut request = world.pay(&world.payer_with(1_000), 10).await;
    let codes = json!({ "info": { "a": app, "s": ["agent"] } });
    request.payment.extensions.insert("builder-code".to_owned(), codes);
    request
}

async fn calldata(world: &World, transaction: &str) -> Bytes {
    let told: Value = world.chain.raw("eth_getTransactionByHash", json!([transaction])).await.unwrap();
    told["input"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_codes_of_a_payment_and_our_own_stand_behind_its_settlement() {
    let world = World::open().await;
    let engine = world.engine(&MemoryLedger::new()).limits(limits(Some("us"))).start().await.unwrap();
    let settled = engine.settle(sold_by(&world, "shop").await).await.unwrap();
    assert!(settled.success, "{settled:?}");
    let codes = Attribution::read(&calldata(&world, &settled.transaction).await).unwrap();
    let code = |text| BuilderCode::new(text).ok();
    assert_eq!((codes.app, codes.wallet), (code("shop"), code("us")));
    assert_eq!(codes.services, [code("agent").unwrap()]);
    // What carries no codes is written as it is.
    let plain = world.pay(&world.payer_with(1_000), 10).await;
    let settled = engine.settle(plain).await.unwrap();
    assert_eq!(Attribution::read(&calldata(&world, &settled.transaction).await), None);
}

#[tokio::test]
async fn without_a_code_of_our_own_nothing_is_written() {
    let world = World::open().await;
    let engine = world.engine(&MemoryLedger::new()).limits(limits(None)).start().await.unwrap();
    let settled = engine.settle(sold_by(&world, "shop").await).await.unwrap();
    assert_eq!(Attribution::read(&calldata(&world, &settled.transaction).await), None);
}

#[tokio::test]
async fn payments_of_different_sellers_never_share_a_transaction_under_one_name() {
    let world = World::with(Mining::Manual).await;
    let engine = world.engine(&MemoryLedger::new()).limits(limits(Some("us"))).start().await.unwrap();
    let mut requests = Vec::new();
    for number in 0..6 {
        requests.push(sold_by(&world, if number % 2 == 0 { "one" } else { "two" }).await);
    }
    let all = requests.into_iter().map(|request| engine.settle(request));
    let mining = async {
        for _ in 0..40 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            world.mine(1);
        }
    };
    let (settled, ()) = tokio::join!(futures_util::future::join_all(all), mining);
    for (number, settled) in settled.into_iter().enumerate() {
        let settled = settled.unwrap();
        assert!(settled.success, "{settled:?}");
        let codes = Attribution::read(&calldata(&world, &settled.transaction).await).unwrap();
        let app = if number % 2 == 0 { "one" } else { "two" };
        assert_eq!(codes.app, BuilderCode::new(app).ok());
    }
    assert_eq!(world.received().await, 60);
}
