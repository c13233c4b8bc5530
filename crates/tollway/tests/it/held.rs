//! What a seller does with a payment that is held, by the program: take, give back, look; each once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tollway_core::model::{FacilitatorRequest, PaymentRequired};
use tollway_core::wire::encode_facilitator_request;
use tollway_core::{
    Amount, BuyerScheme, Clock, Facilitator, JsonObject, Price, SellerScheme, SystemClock, Terms, X402Version,
};
use tollway_devnet::{ACCOUNTS, genesis};
use tollway_evm::auth_capture::{AuthCaptureBuyer, AuthCaptureSeller};
use tollway_evm::{LocalSigner, Signer};

use crate::market::{Market, account, assets, token_balance};
use crate::process::{run, tollway};

const AUTHORIZER: usize = 7;

/// A payment of a thousand units that is held, in the file that its seller keeps.
async fn held(market: &Market, payer: &LocalSigner) -> PathBuf {
    let known = assets(market.node.chain_id);
    let network = market.node.network();
    let kinds = market.engine.supported().await.unwrap().kinds;
    let kind = kinds.iter().find(|kind| kind.scheme.as_str() == "auth-capture").unwrap();
    let terms = Terms { network, pay_to: market.payee.to_string(), max_timeout_seconds: 300 };
    let seller = AuthCaptureSeller::new(known.clone(), account(AUTHORIZER).address()).deferred();
    let asset = genesis::USDC.to_string();
    let price = Price::Asset { amount: Amount::from(1_000u64), asset, extra: JsonObject::new() };
    let offer = seller.enhance(seller.offer(&price, &terms).unwrap(), kind).unwrap();
    let offer = seller.stamped(&offer, SystemClock.now());
    let required = PaymentRequired {
        version: X402Version::V2,
        error: None,
        resource: None,
        accepts: vec![offer.clone()],
        extensions: JsonObject::new(),
        other: JsonObject::new(),
    };
    let buyer = AuthCaptureBuyer::new(Arc::new(payer.clone()), known);
    let payment = buyer.sign(&required, &offer, SystemClock.now()).await.unwrap();
    let request = FacilitatorRequest { payment, requirements: offer };
    assert!(market.engine.settle(request.clone()).await.unwrap().success);
    let folder = std::env::temp_dir().join(format!("tollway-held-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join(format!("{}.json", payer.address()));
    std::fs::write(&file, Value::Object(encode_facilitator_request(&request)).to_string()).unwrap();
    file
}

async fn asked(market: &Market, command: &str, file: &Path, more: &[&str]) -> (Option<i32>, Value) {
    let mut program = tollway();
    program.args([command, "--json", "--rpc-url", &market.node.rpc_url, file.to_str().unwrap()]);
    if command != "status" {
        program.args(["--facilitator", &market.facilitator_url]);
    }
    program.args(more).env("TOLLWAY_KEY", ACCOUNTS[AUTHORIZER].secret_key.to_string());
    let (code, mut lines) = run(program).await;
    (code, if lines.is_empty() { Value::Null } else { lines.remove(0) })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_taken_and_given_back_by_the_program() {
    let market = Market::open().await;
    let payer = account(8);
    let before = token_balance(&market.chain, payer.address()).await.atomic();
    let file = held(&market, &payer).await;
    let (code, told) = asked(&market, "status", &file, &[]).await;
    assert_eq!(
        (code, &told["capturable"], &told["refundable"]),
        (Some(0), &json!("1000"), &json!("0")),
        "{told}"
    );
    let (code, told) = asked(&market, "capture", &file, &["--amount", "300"]).await;
    assert_eq!((code, &told["outcome"]), (Some(0), &json!("done")), "{told}");
    assert_eq!(market.received().await, 300);
    let (code, told) = asked(&market, "refund", &file, &["--amount", "100"]).await;
    assert_eq!((code, &told["outcome"]), (Some(3), &json!("refused")), "nobody agreed on it: {told}");
    let (code, told) = asked(&market, "void", &file, &[]).await;
    assert_eq!((code, &told["outcome"]), (Some(0), &json!("done")), "{told}");
    let (code, told) = asked(&market, "status", &file, &[]).await;
    assert_eq!(
        (code, &told["capturable"], &told["refundable"]),
        (Some(0), &json!("0"), &json!("300")),
        "{told}"
    );
    let after = token_balance(&market.chain, payer.address()).await.atomic();
    assert_eq!((before - after).to::<u64>(), 300);
    let (code, _) = asked(&market, "void", &file, &[]).await;
    assert_eq!(code, Some(1), "there is nothing held any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_got_lost_takes_nothing_twice() {
    let market = Market::open().await;
    let file = held(&market, &account(8)).await;
    let pending = PathBuf::from(format!("{}.pending", file.display()));
    // The facilitator is gone when it is asked, and back when it is asked again.
    let mut nobody = tollway();
    nobody.args(["capture", "--json", "--rpc-url", &market.node.rpc_url, file.to_str().unwrap()]);
    nobody.args(["--amount", "300", "--facilitator", "http://127.0.0.1:9"]);
    nobody.env("TOLLWAY_KEY", ACCOUNTS[AUTHORIZER].secret_key.to_string());
    assert_eq!(run(nobody).await.0, Some(1));
    let kept = std::fs::read(&pending).unwrap();
    let (code, told) = asked(&market, "capture", &file, &["--amount", "300"]).await;
    assert_eq!((code, &told["outcome"]), (Some(0), &json!("done")), "{told}");
    assert!(!pending.exists());
    assert_eq!(market.received().await, 300);
    // Its answer got lost, and what was asked is still there.
    std::fs::write(&pending, kept).unwrap();
    let (code, again) = asked(&market, "capture", &file, &["--amount", "300"]).await;
    assert_eq!((code, &again["transaction"]), (Some(0), &told["transaction"]), "{again}");
    assert_eq!(market.received().await, 300);
}
