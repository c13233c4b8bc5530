//! Who a wallet says it is: by signing in, by signing requests, by the codes in its payments.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use axum::response::Response;
use tollway_buyer::{PaymentError, Wallet, payment_error};
use tollway_core::extension::format_timestamp;
use tollway_core::extension::sign_in::{
    EIP191, NAME, SignInChain, SignInChallenge, SignInMessage, SignInProof,
};
use tollway_core::http_signature::{MessageSigner, SignatureRules, SignedRequest, content_digest};
use tollway_core::{Clock, Network, SystemClock, wire};
use tollway_evm::{Signature, sign_in};
use url::Url;

use crate::purse::{KEY, assets};
use crate::shop::{Seen, Shop, challenge, plain, sell, usdc};

fn wallet() -> tollway_buyer::WalletBuilder {
    Wallet::builder().key(KEY).unwrap().assets(assets())
}

/// A bill that asks who is there, of `domain`.
fn asking(seen: &Seen, domain: &str) -> Response {
    let mut bill = seen.bill(vec![usdc(1)]);
    let now = SystemClock.now();
    let message = SignInMessage {
        domain: domain.to_owned(),
        uri: format!("http://{domain}{}", seen.path),
        version: "1".to_owned(),
        nonce: "a1b2c3d4e5f67890a1b2c3d4e5f67890".to_owned(),
        issued_at: format_timestamp(now),
        expiration_time: Some(format_timestamp(now.plus_seconds(300))),
        ..SignInMessage::default()
    };
    let chains = vec![SignInChain { network: Network::evm(31337), kind: EIP191.to_owned() }];
    bill.extensions.insert(NAME.to_owned(), SignInChallenge { message, chains }.declaration().into());
    challenge(&bill)
}

fn proof(seen: &Seen) -> Option<SignInProof> {
    Some(SignInProof::decode(seen.headers.get("sign-in-with-x")?.as_bytes()).unwrap())
}

#[tokio::test]
async fn who_has_bought_before_signs_in_and_does_not_pay() {
    let shop = Shop::open(|seen| {
        Some(match proof(seen) {
            Some(_) => plain(StatusCode::OK, "as before"),
            None => asking(seen, &seen.shop.to_string()),
        })
    })
    .await;
    let client = wallet().sign_in().build().unwrap().client().unwrap();
    let answer = client.get(shop.url("/data")).send().await.unwrap();
    assert!(tollway_buyer::paid(&answer).is_none());
    assert_eq!(answer.text().await.unwrap(), "as before");
    assert!(shop.payments().is_empty());
    let proof = proof(&shop.seen()[1]).unwrap();
    let text = proof.message.evm_text(&proof.address, &proof.network).unwrap();
    let signature: Signature = proof.signature.parse().unwrap();
    let signer = sign_in::signer_of(&text, &signature.as_bytes()).unwrap().to_string();
    assert_eq!(proof.address, signer);
}

#[tokio::test]
async fn who_has_not_bought_yet_pays_what_the_second_402_asks() {
    let asked = AtomicUsize::new(0);
    let shop = Shop::open(move |seen| {
        Some(sell(seen, || match asked.fetch_add(1, Ordering::SeqCst) {
            0 => asking(seen, &seen.shop.to_string()),
            _ => challenge(&seen.bill(vec![usdc(2)])),
        }))
    })
    .await;
    let client = wallet().sign_in().build().unwrap().client().unwrap();
    let answer = client.get(shop.url("/data")).send().await.unwrap();
    assert_eq!(tollway_buyer::paid(&answer).unwrap().offer, usdc(2));
    let seen = shop.seen();
    assert_eq!((seen.len(), shop.payments().len()), (3, 1));
    assert!(proof(&seen[2]).is_none(), "the payment travels without the proof");
}

#[tokio::test]
async fn a_wallet_signs_in_only_if_told_to_and_only_to_who_was_asked() {
    for (signs_in, domain) in [(false, None), (true, Some("bank.example"))] {
        let shop = Shop::open(move |seen| {
            let own = seen.shop.to_string();
            Some(sell(seen, || asking(seen, domain.unwrap_or(&own))))
        })
        .await;
        let wallet = if signs_in { wallet().sign_in() } else { wallet() };
        wallet.build().unwrap().client().unwrap().get(shop.url("/data")).send().await.unwrap();
        assert!(shop.seen().iter().all(|seen| proof(seen).is_none()), "{domain:?}");
        assert_eq!(shop.payments().len(), 1);
    }
}

#[tokio::test]
async fn every_request_is_signed_anew_over_what_it_carries() {
    let shop = Shop::open(|seen| Some(sell(seen, || challenge(&seen.bill(vec![usdc(1)]))))).await;
    let agent = MessageSigner::from_seed(&[7; 32]).publishing("https://agent.example");
    let wallet = wallet().message_signer(agent.clone()).build().unwrap();
    wallet.client().unwrap().post(shop.url("/data?x=1")).body("hello").send().await.unwrap();
    let seen = shop.seen();
    assert_eq!(seen.len(), 2);
    for (number, covers) in [(0, ["@query", "content-digest"]), (1, ["content-digest", "payment-signature"])]
    {
        let seen = &seen[number];
        let url: Url = shop.url(&seen.path).parse().unwrap();
        let headers = seen.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let request = SignedRequest { method: "POST", url: &url, headers };
        let base = ["@method", "@authority", "@path", "signature-agent"];
        let covers = base.iter().chain(&covers).map(|name| (*name).to_owned()).collect();
        let rules = SignatureRules { tags: vec!["web-bot-auth".to_owned()], covers, max_age_seconds: 60 };
        let presented = rules.read(&request, SystemClock.now()).unwrap().unwrap();
        assert!(presented.is_by(&agent.public_key(), SystemClock.now()), "request {number}");
        assert_eq!(presented.agent().map(Url::as_str), Some("https://agent.example/"));
        assert_eq!(seen.headers["content-digest"], content_digest(b"hello"));
    }
    assert_ne!(seen[0].headers["signature"], seen[1].headers["signature"]);
}

#[tokio::test]
async fn a_payment_carries_the_sellers_code_and_the_wallets() {
    let shop = Shop::open(|seen| {
        let mut bill = seen.bill(vec![usdc(1)]);
        let declared = serde_json::json!({ "info": { "a": "shop", "s": ["theirs"] } });
        bill.extensions.insert("builder-code".to_owned(), declared);
        Some(sell(seen, || challenge(&bill)))
    })
    .await;
    let wallet = wallet().builder_codes(&["mine", "ours"]).unwrap().build().unwrap();
    wallet.client().unwrap().get(shop.url("/data")).send().await.unwrap();
    let info = &shop.seen()[1].decoded().extensions["builder-code"]["info"];
    assert_eq!(*info, serde_json::json!({ "a": "shop", "s": ["mine", "ours", "theirs"] }));
    assert!(Wallet::builder().builder_codes(&["a", "b", "c", "d", "e", "f"]).is_err(), "five at most");
}

/// A bill of two offers, the first of which needs `method` besides.
fn hinted(seen: &Seen, method: serde_json::Value) -> Response {
    let asking = asking(seen, &seen.shop.to_string());
    let header = asking.headers()["payment-required"].as_bytes();
    let json = wire::decode_header("payment-required", header).unwrap();
    let mut bill = wire::decode_payment_required(&json).unwrap();
    bill.accepts = vec![usdc(1), usdc(5)];
    let hints = serde_json::json!({ "info": { "authRequirements": [{ "acceptIndexes": [0, 9], "methods": [method] }] } });
    bill.extensions.insert("auth-hints".to_owned(), hints);
    challenge(&bill)
}

#[tokio::test]
async fn an_offer_that_needs_a_token_is_paid_only_by_who_has_one() {
    let oauth = || {
        serde_json::json!({
            "type": "oauth2",
            "tokenType": "Bearer",
            "authorizationServer": "https://as.example.com",
            "tokenEndpoint": "https://as.example.com/token"
        })
    };
    let shop = Shop::open(move |seen| Some(sell(seen, || hinted(seen, oauth())))).await;
    let client = wallet().build().unwrap().client().unwrap();
    let without = client.get(shop.url("/data")).send().await.unwrap();
    assert_eq!(tollway_buyer::paid(&without).unwrap().offer, usdc(5));
    let with = client.get(shop.url("/data")).bearer_auth("token").send().await.unwrap();
    assert_eq!(tollway_buyer::paid(&with).unwrap().offer, usdc(1), "the seller's favourite");
    let unknown = serde_json::json!({ "type": "oauth2" });
    let broken = Shop::open(move |seen| Some(hinted(seen, unknown.clone()))).await;
    let error = client.get(broken.url("/data")).send().await.unwrap_err();
    assert!(matches!(payment_error(&error), Some(PaymentError::Malformed402(_))), "{error}");
    assert!(broken.payments().is_empty());
}

#[tokio::test]
async fn an_offer_that_needs_a_proof_is_paid_with_one() {
    let proof_wanted = || serde_json::json!({ "type": "sign-in-with-x" });
    let shop = Shop::open(move |seen| Some(sell(seen, || hinted(seen, proof_wanted())))).await;
    let client = wallet().build().unwrap().client().unwrap();
    let answer = client.get(shop.url("/data")).send().await.unwrap();
    assert_eq!(tollway_buyer::paid(&answer).unwrap().offer, usdc(1));
    assert!(proof(&shop.seen()[1]).is_some(), "beside the payment");
}
