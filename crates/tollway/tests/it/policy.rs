//! Policy files at the command line: checked, explained, and kept to by who pays.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use tollway_buyer::{PolicyFile, Wallet};

use crate::market::{Market, account, assets};
use crate::process::{run, tollway};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tollway-buyer/policy.example.toml");

/// A folder with a policy in it.
fn policy(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.toml");
    std::fs::write(&file, text).unwrap();
    (folder, file)
}

fn wallet_policy(arguments: &[&str]) -> Command {
    let mut command = tollway();
    command.args(["wallet", "policy"]).args(arguments);
    command
}

/// The keys that are complained about, faults first.
fn keys(answer: &Value, kind: &str) -> Vec<String> {
    let notes = answer[kind].as_array().unwrap();
    notes.iter().map(|note| note["key"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_policy_is_checked_and_every_fault_and_warning_told_with_its_key() {
    let (code, lines) = run(wallet_policy(&["check", "--strict", "--json", EXAMPLE])).await;
    assert_eq!((code, keys(&lines[0], "faults").len(), keys(&lines[0], "warnings").len()), (Some(0), 0, 0));

    let (_folder, wrong) = policy(
        "max_payment = 0.5\nallow_host = \"a.example\"\n[approval]\nby = \"webhook\"\nsecret = \"hunter2-hunter2\"\n\
         webhook = \"http://owner.example/\"\n[agent.scout]\nteam = \"nobody\"\n[agent.scout.budget]\nday = \"$1.5 EUR\"\n",
    );
    let (code, lines) = run(wallet_policy(&["check", "--json", wrong.to_str().unwrap()])).await;
    let expected = [
        "max_payment",
        "approval.webhook",
        "approval.secret",
        "allow_host",
        "agent.scout.team",
        "agent.scout.budget.day",
    ];
    let faults = keys(&lines[0], "faults");
    assert_eq!(code, Some(2));
    for key in expected {
        assert!(faults.iter().any(|fault| fault == key), "{key}: {faults:?}");
    }
    assert!(!lines[0].to_string().contains("hunter2"), "what may be a secret is not repeated");

    let (_folder, dead) = policy("max_payment = \"$1\"\n[agent.scout]\nmax_payment = \"$2\"\n");
    let dead = dead.to_str().unwrap();
    let (code, lines) = run(wallet_policy(&["check", "--json", dead])).await;
    assert_eq!((code, keys(&lines[0], "warnings")), (Some(0), vec!["agent.scout.max_payment".to_owned()]));
    assert_eq!(run(wallet_policy(&["check", "--strict", "--json", dead])).await.0, Some(1));
}

#[tokio::test]
async fn a_policy_explains_what_it_says_to_a_purchase_rule_by_rule() {
    let (_folder, file) = policy(
        "max_payment = \"$0.10\"\nallow_hosts = \"*.example.com\"\n[approval]\nabove = \"$0.05\"\nby = \"queue\"\n\
         [agent.scout]\nallow_tools = \"search\"\nbudget.day = \"$1\"\n",
    );
    let explain = |agent: &str, tool: &str, url: &str, amount: &str| {
        let file = file.to_str().unwrap();
        run(wallet_policy(&[
            "explain", "--json", "--policy", file, "--agent", agent, "--tool", tool, "--url", url,
            "--amount", amount,
        ]))
    };
    let url = "https://api.example.com/data";
    let (code, lines) = explain("scout", "search", url, "0.05").await;
    assert_eq!((code, &lines[0]["offers"][0]["verdict"]), (Some(0), &"allow".into()));
    let findings = lines[0]["offers"][0]["findings"].as_array().unwrap();
    for (level, rule) in [
        ("org", "max_payment"),
        ("org", "allow_hosts"),
        ("org", "approval.above"),
        ("agent:scout", "allow_tools"),
        ("agent:scout", "budget.day"),
        ("always", "amount"),
    ] {
        assert!(findings.iter().any(|one| one["level"] == level && one["rule"] == rule), "{level} {rule}");
    }
    let (code, lines) = explain("scout", "search", url, "0.06").await;
    assert_eq!((code, &lines[0]["offers"][0]["verdict"]), (Some(3), &"ask".into()));
    let (code, lines) = explain("scout", "delete", "https://api.example.com.evil.test/", "0.11").await;
    let failed =
        lines[0]["offers"][0]["findings"].as_array().unwrap().iter().filter(|one| one["outcome"] == "failed");
    assert_eq!((code, failed.count()), (Some(3), 3), "host, price and tool, each told");
    assert_eq!(explain("stranger", "search", url, "0.01").await.0, Some(1));
}

#[tokio::test]
async fn who_pays_keeps_to_the_policy_and_options_only_take_away() {
    let market = Market::open().await;
    let (_folder, file) = policy(
        "max_payment = \"$0.005\"\n[agent.rich]\n[agent.poor]\nmax_payment = \"$0.001\"\nallow_tools = \"search\"\n",
    );
    let pay = |arguments: &[&str]| {
        let mut command = tollway();
        command.args(["pay", "--json", "--dry-run"]).args(arguments).arg(market.url("/data"));
        command.env("TOLLWAY_KEY", market.buyer_key()).env("TOLLWAY_POLICY", &file);
        run(command)
    };
    // The price is $0.01.
    for (arguments, code) in [
        (&["--agent", "rich"][..], 3),
        (&["--agent", "rich", "--max-amount", "$1"][..], 3),
        (&["--agent", "poor", "--tool", "search"][..], 3),
        (&[][..], 1),
        (&["--agent", "stranger"][..], 1),
    ] {
        assert_eq!(pay(arguments).await.0, Some(code), "{arguments:?}");
    }
    std::fs::write(&file, "max_payment = \"$0.02\"\n[agent.rich]\nallow_tools = \"search\"\n").unwrap();
    for (arguments, code) in [
        (&["--agent", "rich", "--tool", "search"][..], 0),
        (&["--agent", "rich"][..], 3),
        (&["--agent", "rich", "--tool", "search", "--max-amount", "$0.001"][..], 3),
    ] {
        assert_eq!(pay(arguments).await.0, Some(code), "{arguments:?}");
    }
    assert_eq!(market.received().await, 0);
}

/// What the verdict on `offer` says of a rule.
fn finding(answer: &Value, rule: &str) -> String {
    let findings = answer["offers"][0]["findings"].as_array().unwrap();
    let found = findings.iter().filter(|one| one["rule"] == rule);
    found.map(|one| format!("{}: {}", one["outcome"].as_str().unwrap(), one["says"])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_explains_what_it_says_now_by_what_the_wallets_ledger_knows() {
    let market = Market::open().await;
    let (folder, file) = policy(
        "max_payment = \"$0.10\"\npin_first_use = true\nbudget.lifetime = \"$0.035\"\n\
         velocity.payments_per_day = 3\n[drift]\nabove_percent = 100\n",
    );
    let ledger = format!("sqlite:{}", folder.path().join("wallet.db").display());
    let explain = async |path: &str, more: &[&str]| {
        let (url, payee, network) = (market.url(path), market.payee.to_string(), market.node.network());
        let mut command = wallet_policy(&["explain", "--json", "--policy", file.to_str().unwrap()]);
        command.args(["--url", &url, "--network", network.as_str()]).args(["--ledger", &ledger]).args(more);
        if !more.contains(&"--pay-to") {
            command.args(["--pay-to", &payee]);
        }
        command.env("TOLLWAY_KEY", market.buyer_key());
        run(command).await
    };
    // There is no ledger yet, and asking makes none.
    let (code, lines) = explain("/data", &["--amount", "0.03"]).await;
    assert_eq!((code, &lines[0]["ledger"]), (Some(0), &"none".into()));
    assert!(!folder.path().join("wallet.db").exists());

    let rules = PolicyFile::parse(&std::fs::read_to_string(&file).unwrap()).unwrap().policy(None).unwrap();
    let wallet = Wallet::builder()
        .signer(std::sync::Arc::new(account(2)))
        .assets(assets(31_337))
        .ledger(tollway_ledger::open(&ledger).await.unwrap())
        .policy(rules)
        .build()
        .unwrap();
    for path in ["/data", "/other"] {
        wallet.client().unwrap().get(market.url(path)).send().await.unwrap().text().await.unwrap();
    }
    wallet.flush().await;
    // While that wallet has the ledger open: two cents are counted, and a third fits.
    let (code, lines) = explain("/data", &["--amount", "0.01"]).await;
    assert_eq!((code, &lines[0]["ledger"]), (Some(0), &"read".into()), "{lines:?}");
    assert_eq!(lines[0]["wallet"].as_str().unwrap(), wallet.name());
    assert!(finding(&lines[0], "budget.lifetime").contains("$0.02 in use"), "{lines:?}");
    assert!(finding(&lines[0], "velocity.day").contains("2 payments in use"), "{lines:?}");
    assert!(finding(&lines[0], "drift").contains("above 10000, the lowest price known"), "{lines:?}");
    // The same request is refused by the wallet itself, and for the same reason.
    let (code, lines) = explain("/echo", &["--amount", "0.02"]).await;
    assert_eq!((code, &finding(&lines[0], "budget.lifetime")[..7]), (Some(3), "failed:"), "{lines:?}");
    let refused = wallet.client().unwrap().post(market.url("/echo")).send().await.unwrap_err();
    assert!(format!("{refused:?}").contains("budget"), "{refused:?}");
    // Another payee at the host, and a price that rose.
    let stranger = "0x00000000000000000000000000000000000000aa";
    let (code, lines) = explain("/data", &["--amount", "0.01", "--pay-to", stranger]).await;
    assert_eq!((code, &finding(&lines[0], "pin_first_use")[..7]), (Some(3), "failed:"), "{lines:?}");
    let (code, lines) = explain("/data", &["--amount", "0.021"]).await;
    assert_eq!((code, &finding(&lines[0], "drift")[..7]), (Some(3), "failed:"), "{lines:?}");
    // Another wallet on the same ledger has bought nothing.
    let (code, lines) = explain("/echo", &["--amount", "0.02", "--wallet", "another"]).await;
    assert_eq!((code, &lines[0]["ledger"]), (Some(0), &"read".into()), "{lines:?}");
    // A switch that is on.
    let mut freeze = tollway();
    freeze.args(["wallet", "freeze", "--json", "--reason", "lunch", "--ledger", &ledger]);
    freeze.env("TOLLWAY_KEY", market.buyer_key());
    assert_eq!(run(freeze).await.0, Some(0));
    let (code, lines) = explain("/data", &["--amount", "0.01"]).await;
    assert_eq!(code, Some(3));
    assert!(lines[0]["offers"][0]["told"].as_str().unwrap().contains("frozen: lunch"), "{lines:?}");
    // What cannot be read is told, not taken for nothing.
    let mut spoilt = wallet_policy(&["explain", "--json", "--amount", "0.01", "--wallet", wallet.name()]);
    spoilt.args(["--url", "https://api.example.com/", "--policy", file.to_str().unwrap()]);
    spoilt.arg("--ledger").arg(format!("sqlite:{}", file.display()));
    let (code, lines) = run(spoilt).await;
    assert_eq!((code, lines.len()), (Some(1), 0));
}
