//! What a slip of the hand comes to, at the command line: it is told by the name of what is wrong, by an exit code that is not
//! that of success, and changes nothing.

use std::path::Path;
use std::process::Output;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tollway_devnet::{ACCOUNTS, genesis};

use crate::market::Market;
use crate::process::{run, tollway};

const SOME_CHANNEL: &str = "eip155:8453/0x1111111111111111111111111111111111111111111111111111111111111111";

/// What a program with these arguments says on stderr, and its exit code.
async fn told(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = tollway();
    command.args(arguments).env("TOLLWAY_KEY", ACCOUNTS[3].secret_key.to_string());
    let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let Output { status, stderr, .. } = ended;
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[tokio::test]
async fn wrong_usage_is_code_two_and_named_by_its_option() {
    let url = "http://127.0.0.1:1/data";
    let asking = ["--rpc-url", "http://127.0.0.1:1", "--facilitator", "http://127.0.0.1:1"];
    let selling = ["--ledger", "sqlite:none.db", "--facilitator", "http://127.0.0.1:1"];
    let bill = ["--accounts", "none.toml", "--ledger", "sqlite:none.db"];
    for (arguments, named) in [
        (vec!["pay", "ftp://x/y"], "must begin with https:// or http://"),
        (vec!["pay", url, "--timeout", "0"], "--timeout"),
        (vec!["pay", url, "--max-amount", "5 EUR"], "--max-amount"),
        (vec!["pay", url, "--allow-asset", "eip155:1/0x12=5"], "--allow-asset"),
        (vec!["pay", url, "-H", "no colon"], "-H \"no colon\""),
        (vec!["pay", url, "-u", "no-colon"], "-u"),
        (vec!["pay", url, "--agent", ""], "--agent"),
        (vec!["pay", url, "--wallet", " "], "--wallet"),
        (vec!["wallet", "freeze", "--agent", ""], "--agent"),
        (vec!["wallet", "freeze", "--team", ""], "--team"),
        ([&["capture", "x.json", "--amount", "0"][..], &asking].concat(), "--amount"),
        ([&["refund", "x.json", "--amount", "1.5"][..], &asking].concat(), "--amount"),
        ([&["channels", "refund", SOME_CHANNEL, "--amount", "0"][..], &selling].concat(), "--amount"),
        (vec!["wallet", "channels", "withdraw", SOME_CHANNEL, "--amount", "0"], "--amount"),
        (vec!["accounts", "list"], "--accounts"),
        ([&["accounts", "settle", "--desk", "nope"][..], &bill].concat(), "--desk"),
        (
            [&["accounts", "paid", "acme", "--amount", "$5", "--reference", ""][..], &bill].concat(),
            "--reference",
        ),
    ] {
        let (code, stderr) = told(&arguments).await;
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(named), "{arguments:?}: {stderr}");
    }
}

#[tokio::test]
async fn what_is_looked_up_frozen_or_claimed_in_a_ledger_that_is_mistyped_is_an_error_and_no_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let (file, accounts) = (folder.path().join("mistyped.db"), folder.path().join("accounts.toml"));
    let (ledger, facilitator) = (format!("sqlite:{}", file.display()), "http://127.0.0.1:1");
    let text = "registration_url = \"https://x.example\"\n[[account]]\nid = \"acme\"\nlimit = \"$5\"\n\
                keys = [\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"]";
    std::fs::write(&accounts, text).unwrap();
    let accounts = ["--accounts", accounts.to_str().unwrap()];
    for arguments in [
        vec!["channels", "list"],
        vec!["channels", "claim", "--facilitator", facilitator],
        vec!["channels", "settle", "--facilitator", facilitator],
        vec!["channels", "refund", SOME_CHANNEL, "--facilitator", facilitator],
        vec!["wallet", "freeze"],
        vec!["wallet", "unfreeze"],
        vec!["wallet", "history"],
        vec!["wallet", "intents"],
        [&["accounts", "suspend", "acme"][..], &accounts].concat(),
        [&["accounts", "paid", "acme", "--amount", "$5", "--reference", "bank 1"][..], &accounts].concat(),
    ] {
        let (code, stderr) = told(&[&arguments[..], &["--ledger", &ledger]].concat()).await;
        assert_eq!(code, Some(1), "{arguments:?}: {stderr}");
        assert!(stderr.contains("there is no ledger"), "{arguments:?}: {stderr}");
        assert!(!Path::new(&file).exists(), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_facilitator_whose_ledger_cannot_be_opened_says_so_when_it_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("facilitator.toml");
    std::fs::write(&config, "open = true\nledger = \"sqlite:/no/such/folder/x.db\"").unwrap();
    let (code, stderr) = told(&["facilitator", "--check", "--config", config.to_str().unwrap()]).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("ledger: there is no folder /no/such/folder"), "{stderr}");
    assert!(stderr.contains("networks: at least one"), "all faults at once: {stderr}");
}

#[tokio::test]
async fn a_node_that_does_not_answer_hides_no_other_nodes_balance() {
    let market = Market::open().await;
    let account = ACCOUNTS[3].address.to_string();
    let (rpc, dead) = (market.node.rpc_url.clone(), "http://127.0.0.1:1");
    let mut command = tollway();
    command.args(["wallet", "balance", &account, "--rpc-url", dead, "--rpc-url", &rpc, "--json"]);
    let (code, lines) = run(command).await;
    assert_eq!(code, Some(1));
    assert_eq!(lines[0]["balances"][0]["network"], market.node.network().as_str(), "{lines:?}");
}

/// A seller that takes a payment at `/half` and breaks off in the middle of its answer, asks to be paid again at `/refuses`, and
/// answers 402 without a word at `/nothing`. Byte by byte: no server would break off so by itself.
async fn half_a_seller() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let at = origin.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap() > 0 {}
            let head = String::from_utf8(head).unwrap();
            let path = head.split(' ').nth(1).unwrap();
            let answer = match (path, head.contains("payment-signature: ")) {
                ("/half", true) => "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf".to_owned(),
                ("/nothing", _) => {
                    "HTTP/1.1 402 \r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned()
                }
                _ => {
                    let bill = STANDARD.encode(bill(&format!("{at}{path}")).to_string());
                    let head = "HTTP/1.1 402 \r\ncontent-length: 0\r\nconnection: close";
                    format!("{head}\r\npayment-required: {bill}\r\n\r\n")
                }
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    origin
}

fn bill(resource: &str) -> Value {
    let offer = json!({ "scheme": "exact", "network": "eip155:31337", "amount": "10000",
        "asset": genesis::USDC.to_string(), "payTo": ACCOUNTS[5].address.to_string(),
        "maxTimeoutSeconds": 60, "extra": { "name": "USDC", "version": "2" } });
    json!({ "x402Version": 2, "error": "no \u{1b}[2J money", "accepts": [offer],
        "resource": { "url": resource, "description": "", "mimeType": "" } })
}

#[tokio::test]
async fn an_answer_that_is_paid_for_and_breaks_off_is_asked_for_again_and_not_bought_again() {
    let (code, stderr) = told(&["pay", &format!("{}/half", half_a_seller().await)]).await;
    assert_eq!(code, Some(4), "{stderr}");
    assert!(stderr.contains("broke off") && stderr.contains("presents the same payment"), "{stderr}");
}

#[tokio::test]
async fn who_is_not_paid_or_refuses_a_payment_is_told_on_stderr() {
    let seller = half_a_seller().await;
    let (code, stderr) = told(&["pay", &format!("{seller}/refuses")]).await;
    assert_eq!(code, Some(22), "{stderr}");
    assert!(stderr.contains("the seller refused the payment: no "), "{stderr}");
    assert!(!stderr.contains('\u{1b}'), "what a seller says moves no cursor: {stderr:?}");
    let (code, stderr) = told(&["pay", &format!("{seller}/nothing")]).await;
    assert_eq!(code, Some(22), "{stderr}");
    assert!(stderr.contains("not paid: the answer is 402, without offers"), "{stderr}");
}
