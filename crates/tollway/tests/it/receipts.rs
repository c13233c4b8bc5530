//! Signed offers and receipts from end to end: our seller, our buyer, the chain, the program; and the published package.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tollway_core::{Amount, Fingerprint, Network, UnixTime};
use tollway_devnet::{ACCOUNTS, genesis};
use tollway_evm::offer_receipt::{Binding, Issuer, LocalJwsSigner, OfferTerms, ReceiptTerms};
use tollway_evm::{LocalSigner, Signer};
use tollway_seller::HttpFacilitator;

use crate::market::{Market, account, assets, paywall};
use crate::process::{node_script, run, tollway};

/// The account that is paid, and signs.
const SELLER: usize = 6;

/// A seller on the market's chain that signs with `issuer`, and its URL.
async fn stall(market: &Market, issuer: Issuer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let payee = account(SELLER).address();
    let paywall = paywall(&url, &market.node.network(), payee, &assets(market.node.chain_id))
        .facilitator(HttpFacilitator::new(&market.facilitator_url).unwrap())
        .sign_offers(issuer.clone())
        .sign_receipts(issuer)
        .start()
        .await
        .unwrap();
    let app = Router::new().route("/data", get(|| async { "data" }).layer(paywall.price("$0.01").unwrap()));
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("tollway-receipt-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

async fn verify(arguments: &[&str]) -> (Option<i32>, Value) {
    let mut command = tollway();
    command.args(["receipt", "verify", "--json"]).args(arguments);
    let (code, mut lines) = run(command).await;
    (code, lines.remove(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_kept_by_pay_and_verified_on_paper_and_on_the_chain() {
    let market = Market::open().await;
    let rpc = market.node.rpc_url.clone();
    let key = ACCOUNTS[SELLER].secret_key.to_string();
    let typed = Issuer::eip712(Arc::new(account(SELLER)));
    let jws = Issuer::jws(Arc::new(LocalJwsSigner::es256k(&key).unwrap()));
    for (name, issuer) in [("typed", typed), ("jws", jws)] {
        let url = format!("{}/data?city=%7e", stall(&market, issuer).await);
        let file = folder(name).join("receipt.json");
        let path = file.to_str().unwrap();
        let mut pay = tollway();
        pay.args(["pay", "--json", "--receipt", path, &url]).env("TOLLWAY_KEY", market.buyer_key());
        let (code, lines) = run(pay).await;
        assert_eq!(
            (code, &lines[0]["body"], &lines[0]["paid"]["suspicious"]),
            (Some(0), &json!("data"), &Value::Null)
        );
        assert_eq!(lines[0]["receipt"], path, "{lines:?}");

        let (code, told) = verify(&[path]).await;
        assert_eq!((code, &told["verdict"]), (Some(0), &json!("valid")), "{told}");
        assert_eq!(told["offer"], "signed by who is paid");
        assert!(told["receipt"]["logIndex"].is_string(), "the facilitator told the event: {told}");
        let (code, told) = verify(&[path, "--rpc-url", &rpc]).await;
        assert_eq!(
            (code, &told["chain"]),
            (Some(0), &json!("the money moved in that transaction")),
            "{told}"
        );
        let (code, told) = verify(&[path, "--rpc-url", "http://127.0.0.1:1"]).await;
        assert_eq!(
            (code, &told["verdict"]),
            (Some(4), &json!("unproven")),
            "a node that is down disproves nothing"
        );

        let kept: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        for (field, value) in [
            ("amount", "1"),
            ("payer", "0x2222222222222222222222222222222222222222"),
            ("network", "eip155:1"),
        ] {
            let mut changed = kept.clone();
            changed["payment"][field] = value.into();
            std::fs::write(&file, changed.to_string()).unwrap();
            let (code, told) = verify(&[path]).await;
            let fault = told["faults"][0].as_str().unwrap();
            assert!(code == Some(3) && fault.starts_with(&format!("receipt.{field}: must be")), "{told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_for_money_that_did_not_move_is_disproved_by_the_chain() {
    let market = Market::open().await;
    let response = market.wallet().client().unwrap().get(market.url("/data")).send().await.unwrap();
    let settled = tollway_buyer::paid(&response).unwrap().settlement.clone().unwrap();
    // A seller that signs what it likes: the transaction is real, and moved something else.
    let terms = receipt(market.node.network(), Some(settled.transaction));
    let issuer = Issuer::eip712(Arc::new(account(SELLER)));
    let file = folder("lie").join("receipt.json");
    let signed = Value::from(issuer.sign_receipt(&terms).await.unwrap().unwrap());
    std::fs::write(&file, signed.to_string()).unwrap();
    let path = file.to_str().unwrap();
    assert_eq!(verify(&[path]).await.0, Some(0), "on paper it is as it should be");
    let (code, told) = verify(&[path, "--rpc-url", &market.node.rpc_url]).await;
    assert_eq!((code, &told["verdict"]), (Some(3), &json!("wrong")), "{told}");
    assert_eq!(told["faults"][0], "receipt.transaction: must have moved the money, and did not");
}

#[tokio::test]
async fn verify_says_by_its_exit_code_what_a_file_is_worth() {
    let file = folder("codes").join("receipt.json");
    let path = file.to_str().unwrap();
    let (signer, other) = (LocalSigner::random().unwrap(), LocalSigner::random().unwrap());
    let address = signer.address().to_string();
    let issuer = Issuer::eip712(Arc::new(signer)).minimal();
    let signed = issuer.sign_receipt(&receipt(Network::evm(8453), None)).await.unwrap().unwrap();
    std::fs::write(&file, Value::from(signed.clone()).to_string()).unwrap();
    let (code, told) = verify(&[path]).await;
    assert_eq!((code, &told["verdict"]), (Some(4), &json!("unproven")), "nothing says whose key it is");
    assert_eq!(verify(&[path, "--pay-to", &address]).await.0, Some(0));
    assert_eq!(verify(&[path, "--signer", &address]).await.0, Some(0));
    assert_eq!(verify(&[path, "--pay-to", &other.address().to_string()]).await.0, Some(4));

    let mut changed = signed;
    changed["payload"]["payer"] = "0x2222222222222222222222222222222222222222".into();
    std::fs::write(&file, Value::from(changed).to_string()).unwrap();
    assert_eq!(
        verify(&[path, "--pay-to", &address]).await.0,
        Some(4),
        "somebody's signature, not the payee's"
    );
    for (text, code) in [("{}", 1), ("{\"format\":\"jws\",\"signature\":\"x\"}", 1), ("", 1)] {
        std::fs::write(&file, text).unwrap();
        assert_eq!(verify(&[path]).await.0, Some(code), "{text}");
    }
    std::fs::write(&file, vec![b' '; 300_000]).unwrap();
    assert_eq!(verify(&[path]).await.0, Some(1), "too long a file is not read");
    let help = tollway().args(["receipt", "verify", "--help"]).output().unwrap();
    assert!(String::from_utf8(help.stdout).unwrap().contains("Exit codes: 0"));
}

/// What we sign, the published package verifies; what our receipts bind beyond the standard, it passes over.
#[tokio::test]
async fn the_published_package_verifies_our_offers_and_receipts() {
    let Some(mut command) = node_script("receipts.mjs") else { return };
    let key = ACCOUNTS[SELLER].secret_key.to_string();
    let issuers = [
        Issuer::eip712(Arc::new(account(SELLER))),
        Issuer::jws(Arc::new(LocalJwsSigner::es256k(&key).unwrap())),
        Issuer::jws(Arc::new(LocalJwsSigner::ed25519(&key).unwrap())),
    ];
    let full = receipt(Network::evm(8453), Some(format!("0x{}", "ab".repeat(32))));
    let offer = OfferTerms {
        resource_url: full.resource_url.clone(),
        scheme: "exact".to_owned(),
        network: Network::evm(8453),
        asset: genesis::USDC.to_string(),
        pay_to: account(SELLER).address().to_string(),
        amount: Amount::from(10_000u64),
        valid_until: None,
    };
    let mut asked = Vec::new();
    for issuer in issuers {
        for terms in
            [offer.clone(), OfferTerms { valid_until: Some(UnixTime(1_750_000_600)), ..offer.clone() }]
        {
            asked.push(json!({ "kind": "offer", "signed": issuer.sign_offer(&terms, 0).await.unwrap() }));
        }
        for issuer in [issuer.clone(), issuer.minimal()] {
            asked.push(json!({ "kind": "receipt", "signed": issuer.sign_receipt(&full).await.unwrap() }));
        }
    }
    // And it does not verify what was changed.
    let mut forged = asked[6].clone();
    let text = forged["signed"]["signature"].as_str().unwrap().replacen("ey", "e3", 1);
    forged["signed"]["signature"] = text.into();
    asked.push(forged);

    command.arg("--verify");
    let told = tokio::task::spawn_blocking({
        let asked = Value::from(asked.clone());
        move || answers(command, &asked)
    });
    let told = told.await.unwrap();
    assert_eq!(told.len(), asked.len());
    let payee = account(SELLER).address().to_string();
    for (asked, told) in asked.iter().zip(&told).take(12) {
        assert_eq!(told.get("error"), None, "{asked}");
        if asked["signed"]["format"] == "eip712" {
            assert_eq!(told["signer"], payee.as_str(), "{asked}");
            assert_eq!(told["payload"], asked["signed"]["payload"]);
        }
        assert_eq!(told["payload"]["resourceUrl"], full.resource_url.as_str(), "{asked}");
    }
    // The third of each issuer binds more than the standard knows, and is verified all the same. Typed data has it outside
    // the payload, where strict readers know every field.
    assert_eq!(
        (&asked[2]["signed"]["binding"]["logIndex"], &told[2]["payload"]["logIndex"]),
        (&json!(3), &Value::Null)
    );
    for at in [6, 10] {
        assert_eq!(told[at]["payload"]["amount"], "10000");
        assert_eq!(told[at]["payload"]["logIndex"], 3);
    }
    assert!(told[12]["error"].is_string(), "{}", told[12]);
}

fn answers(mut command: Command, asked: &Value) -> Vec<Value> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn receipt(network: Network, transaction: Option<String>) -> ReceiptTerms {
    ReceiptTerms {
        network,
        resource_url: "https://api.example.com/data".to_owned(),
        payer: account(2).address().to_string(),
        issued_at: UnixTime(1_750_000_000),
        transaction,
        binding: Some(Binding {
            asset: genesis::USDC.to_string(),
            pay_to: account(SELLER).address().to_string(),
            amount: Amount::from(10_000u64),
            log_index: Some(3),
            request: Fingerprint::from_bytes([7; 32]),
        }),
    }
}
