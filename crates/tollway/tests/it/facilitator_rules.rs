//! The rules that published facilitators were measured by, where a chain is needed to see them kept. The seller's own are
//! with the seller.

use serde_json::{Value, json};
use tollway_devnet::{ACCOUNTS, genesis};
use tollway_evm::{LocalSigner, U256};
use tollway_facilitator::Limits;

use crate::facilitator_api::post;
use crate::lanes::{body, settle};
use crate::market::{Market, account};

const LANE: usize = 1;
const PAYER: usize = 3;
/// More than one transfer by authorization costs, and less than two.
const GAS_EACH: u64 = 120_000;

async fn lane_wei(market: &Market) -> U256 {
    let asked = market.chain.raw("eth_getBalance", json!([ACCOUNTS[LANE].address, "latest"])).await;
    serde_json::from_value(asked.unwrap()).unwrap()
}

async fn lane_nonce(market: &Market) -> u64 {
    market.chain.nonce(ACCOUNTS[LANE].address).await.unwrap()
}

/// SR6: what a facilitator pays for others is bounded: so much for a payment, nothing for what is none.
#[tokio::test]
async fn sr6_what_a_payment_can_cost_the_facilitator_is_bounded() {
    let market = Market::open().await;
    let before = lane_wei(&market).await;
    let poor = LocalSigner::random().unwrap();
    for _ in 0..5 {
        let (_, refused) = settle(&market, &body(&market, poor.clone(), 1_000).await).await;
        assert_eq!(refused["success"], false);
    }
    assert_eq!(lane_wei(&market).await, before, "nothing for who cannot pay");
    for amount in 1..=5 {
        let (_, settled) = settle(&market, &body(&market, account(PAYER), amount).await).await;
        assert_eq!(settled["success"], true, "{settled}");
    }
    let most = U256::from(5 * GAS_EACH) * U256::from(Limits::default().max_fee_per_gas);
    let spent = before - lane_wei(&market).await;
    assert!(spent > U256::ZERO && spent <= most, "{spent} wei of {most}");
    assert_eq!(lane_nonce(&market).await, 5, "one transaction each");
}

/// SR7: what was valid when it was verified is verified again when it is settled, before gas is spent on it.
#[tokio::test]
async fn sr7_a_payment_is_verified_again_when_it_is_settled() {
    let market = Market::open().await;
    let payment = body(&market, account(PAYER), 1_000).await;
    let (_, verdict) = post(&market, "/verify", payment.clone()).await;
    assert_eq!(verdict["isValid"], true, "{verdict}");
    // Between the two the account gives itself to a contract, which then speaks for it (EIP-7702).
    let delegation = format!("0xef0100{:x}", genesis::USDC);
    let change = json!([ACCOUNTS[PAYER].address, delegation]);
    market.chain.raw("anvil_setCode", change).await.unwrap();
    let (_, refused) = settle(&market, &payment).await;
    assert_eq!(
        (&refused["success"], refused["transaction"].as_str()),
        (&json!(false), Some("")),
        "{refused}"
    );
    assert_eq!((market.received().await, lane_nonce(&market).await), (0, 0), "and costs no gas");
}

/// SR8: only what is understood in full is executed.
#[tokio::test]
async fn sr8_what_is_not_understood_in_full_is_not_executed() {
    let market = Market::open().await;
    let good: Value = serde_json::from_str(&body(&market, account(PAYER), 1_000).await).unwrap();
    let stranger = json!("0x0000000000000000000000000000000000000bad");
    let both = ["/paymentPayload/accepted", "/paymentRequirements"];
    let everywhere = |path: &str, value: Value| {
        let mut request = good.clone();
        for side in both {
            let object = request.pointer_mut(side).unwrap();
            match path.split_once('.') {
                Some((outer, inner)) => object[outer][inner] = value.clone(),
                None => object[path] = value.clone(),
            }
        }
        request
    };
    let mut factory = good.clone();
    let signature =
        format!("{}{}", good["paymentPayload"]["payload"]["signature"].as_str().unwrap(), "6492".repeat(16));
    factory["paymentPayload"]["payload"]["signature"] = signature.into();
    for (what, request) in [
        ("an asset of the caller's", everywhere("asset", stranger)),
        ("another way to transfer", everywhere("extra.assetTransferMethod", json!("permit2"))),
        ("another scheme", everywhere("scheme", json!("upto"))),
        ("another network", everywhere("network", json!("eip155:1"))),
        ("a factory to call (ERC-6492)", factory),
    ] {
        let (status, answer) = settle(&market, &request.to_string()).await;
        assert!(status == 400 || answer["success"] == false, "{what}: {status} {answer}");
        let (status, verdict) = post(&market, "/verify", request.to_string()).await;
        assert!(status == 400 || verdict["isValid"] == false, "{what}: {status} {verdict}");
    }
    assert_eq!((market.received().await, lane_nonce(&market).await), (0, 0));
    assert_eq!(settle(&market, &good.to_string()).await.1["success"], true, "the control");
}
