//! Policy files at the command line: checked, explained, and kept to by who pays.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::market::Market;
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
