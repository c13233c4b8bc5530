//! Buying on credit from end to end: a wallet that signs its requests, a seller with accounts, and the seller's clerk at
//! the terminal, over one ledger in a file.

use std::process::Command;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use serde_json::Value;
use tempfile::TempDir;
use tollway_buyer::{CreditBuyer, Wallet, paid, payment_error};
use tollway_core::http_signature::MessageSigner;
use tollway_core::{SchemeName, SystemClock};
use tollway_seller::{Accounts, CreditBook, CreditSeller, Paywall};

use crate::process::{run, tollway};

/// A shop with two accounts, served on loopback.
struct Shop {
    folder: TempDir,
    origin: String,
}

fn signer() -> MessageSigner {
    MessageSigner::from_seed(&[7; 32])
}

fn wallet(account: &str, signer: MessageSigner) -> Wallet {
    Wallet::builder().credit(CreditBuyer::new().account("example-shop", account), signer).build().unwrap()
}

impl Shop {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let x = signer().public_key().to_jwk()["x"].as_str().unwrap().to_owned();
        let text = format!(
            r#"
            registration_url = "https://api.example.com/accounts"
            [creditor]
            name = "Example Shop Ltd"
            iban = "GB29NWBK60161331926819"
            bic = "NWBKGB2L"
            creditor_id = "GB98ZZZ09999999999"
            [[account]]
            id = "acme"
            limit = "$0.03"
            keys = ["{x}"]
            [account.bank]
            name = "Acme GmbH"
            iban = "DE89370400440532013000"
            mandate = {{ id = "M-1", signed_on = "2025-12-01" }}
            [[account]]
            id = "globex"
            limit = "$1"
            keys = ["11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"]
            "#
        );
        std::fs::write(folder.path().join("accounts.toml"), &text).unwrap();
        let accounts = Arc::new(Accounts::parse(&text).unwrap());
        let ledger = tollway_ledger::open(&ledger_url(&folder)).await.unwrap();
        let book = CreditBook::new(Arc::clone(&accounts), Arc::clone(&ledger), Arc::new(SystemClock));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let paywall = Paywall::builder(&origin)
            .accept_by(SchemeName::BATCH_SETTLEMENT, "tollway:credit", "example-shop")
            .scheme(CreditSeller::new(accounts))
            .facilitator(book)
            .ledger(ledger)
            .start()
            .await
            .unwrap();
        let route = get(|| async { "news" }).post(|body: String| async move { body });
        let app = Router::new().route("/news", route.layer(paywall.price("$0.01").unwrap()));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { folder, origin }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = tollway();
        let file = self.folder.path().join("accounts.toml");
        command
            .arg("accounts")
            .args(arguments)
            .arg("--accounts")
            .arg(file)
            .args(["--ledger", &ledger_url(&self.folder)]);
        command
    }

    async fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let (code, lines) = run(self.command(&[arguments, &["--json"]].concat())).await;
        assert_eq!(code, Some(0), "{arguments:?}");
        lines
    }

    fn text(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn ledger_url(folder: &TempDir) -> String {
    format!("sqlite:{}", folder.path().join("shop.db").display())
}

#[tokio::test]
async fn a_wallet_buys_on_credit_until_its_line_and_goes_on_when_it_has_paid() {
    let shop = Shop::open().await;
    let client = wallet("acme", signer()).client().unwrap();
    let url = format!("{}/news", shop.origin);
    let first = client.get(&url).send().await.unwrap();
    let told = paid(&first).unwrap().clone();
    assert_eq!((first.status().as_u16(), told.suspicious, told.payer.as_deref()), (200, None, Some("acme")));
    assert!(told.settlement.unwrap().transaction.starts_with("crg_"));
    assert_eq!(first.text().await.unwrap(), "news");
    let posted = client.post(&url).body("a body that is signed").send().await.unwrap();
    assert_eq!(posted.text().await.unwrap(), "a body that is signed");
    assert_eq!(client.get(format!("{url}?page=2")).send().await.unwrap().status(), 200);
    let refused = client.get(format!("{url}?page=3")).send().await;
    let is_refused = refused.as_ref().map_or(true, |answer| answer.status() == 402);
    assert!(is_refused, "three cents and not one more: {refused:?}");
    let invoices = shop.lines(&["settle", "acme", "--desk", "https://api.example.com/invoices"]).await;
    assert_eq!(
        (invoices[0]["amount"].as_str(), invoices[0]["currency"].as_str()),
        (Some("0.03"), Some("USD"))
    );
    let invoice = invoices[0]["invoice"].as_str().unwrap();
    assert_eq!(invoices[0]["url"], format!("https://api.example.com/invoices/{invoice}"));
    let pays = ["paid", "acme", "--amount", "$0.03", "--reference", "bank 17", "--invoice", invoice];
    assert_eq!(shop.lines(&pays).await[0]["isNew"], true);
    assert_eq!(shop.lines(&pays).await[0]["isNew"], false, "a payment counts once");
    assert_eq!(client.get(format!("{url}?page=4")).send().await.unwrap().status(), 200);
    let listed = shop.lines(&["list"]).await;
    let acme = listed.iter().find(|line| line["account"] == "acme").unwrap();
    assert_eq!((acme["owed"].as_str(), acme["available"].as_str()), (Some("0.01"), Some("0.02")));
}

#[tokio::test]
async fn who_has_no_account_or_another_key_buys_nothing() {
    let shop = Shop::open().await;
    let url = format!("{}/news", shop.origin);
    for wallet in [wallet("acme", MessageSigner::from_seed(&[8; 32])), wallet("nobody", signer())] {
        let answer = wallet.client().unwrap().get(&url).send().await;
        assert!(answer.as_ref().map_or(true, |answer| answer.status() == 402), "{answer:?}");
    }
    let elsewhere =
        Wallet::builder().credit(CreditBuyer::new().account("other-shop", "acme"), signer()).build().unwrap();
    let error = elsewhere.client().unwrap().get(&url).send().await.unwrap_err();
    assert!(payment_error(&error).is_some(), "nothing is committed to a seller without an account");
    assert_eq!(shop.lines(&["list"]).await[0]["charged"], "0");
}

#[tokio::test]
async fn the_clerk_suspends_and_resumes_an_account_while_the_shop_is_open() {
    let shop = Shop::open().await;
    let client = wallet("acme", signer()).client().unwrap();
    let url = |page: u32| format!("{}/news?page={page}", shop.origin);
    assert_eq!(client.get(url(1)).send().await.unwrap().status(), 200);
    shop.lines(&["suspend", "acme", "--reason", "two reminders"]).await;
    let refused = client.get(url(2)).send().await;
    assert!(refused.as_ref().map_or(true, |answer| answer.status() == 402), "{refused:?}");
    assert_eq!(shop.lines(&["list"]).await[0]["suspended"], "two reminders");
    shop.lines(&["resume", "acme"]).await;
    assert_eq!(client.get(url(3)).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn statements_and_payment_files_say_what_the_rows_say() {
    let shop = Shop::open().await;
    let client = wallet("acme", signer()).client().unwrap();
    for page in 0..3 {
        let url = format!("{}/news?page={page}", shop.origin);
        assert_eq!(client.get(url).send().await.unwrap().status(), 200);
    }
    let stated = &shop.lines(&["statement", "acme"]).await[0];
    assert_eq!((stated["charged"].as_str(), stated["owed"].as_str()), (Some("0.03"), Some("0.03")));
    assert_eq!(stated["entries"].as_array().unwrap().len(), 3);
    let csv = shop.text(&["statement", "acme", "--format", "csv"]);
    assert_eq!(csv.lines().filter(|line| line.contains(",charge,0.01,USD,")).count(), 3, "{csv}");
    assert!(shop.text(&["statement", "acme"]).contains("owed at the end: 0.03"));
    let none = shop.command(&["export", "--on", "2026-02-01"]).output().unwrap();
    assert!(!none.status.success(), "nothing is unpaid: there is no file");
    shop.lines(&["settle", "acme"]).await;
    for (format, root) in [("pain.008", "CstmrDrctDbtInitn"), ("pain.001", "CstmrCdtTrfInitn")] {
        let file = shop.text(&["export", "acme", "--format", format, "--on", "2026-02-01"]);
        assert!(file.contains(&format!("<{root}>")) && file.contains("<CtrlSum>0.03</CtrlSum>"), "{file}");
        assert!(
            file.contains("<InstdAmt Ccy=\"USD\">0.03</InstdAmt>") && file.contains("DE89370400440532013000")
        );
    }
    let output = shop.command(&["statement", "nobody"]).output().unwrap();
    assert!(
        !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("there is no account")
    );
}
