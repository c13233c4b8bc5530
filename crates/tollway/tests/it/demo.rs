//! The demo as a new user runs it.

use serde_json::{Value, json};

use crate::process::{Background, run, tollway};

#[tokio::test]
async fn the_demo_ends_with_books_that_agree() {
    let mut command = tollway();
    command.args(["demo", "--json"]);
    let (code, lines) = run(command).await;
    assert_eq!(code, Some(0));
    let (summary, steps) = lines.split_last().unwrap();
    assert_eq!(steps.len(), 8);
    for step in steps {
        assert_eq!(step["ok"], true, "{step}");
        for field in
            ["step", "method", "url", "status", "expected", "amount", "asset", "network", "latencyMs"]
        {
            assert!(!step[field].is_null(), "{field} in {step}");
        }
        let is_paid = step["status"] == 200;
        assert_eq!(step["transaction"].is_string() && step["logIndex"].is_u64(), is_paid, "{step}");
    }
    let expected =
        json!({ "ok": true, "paid": 3, "refused": 5, "buyerSpent": "45000", "sellerReceived": "45000" });
    assert_eq!(summary["summary"], expected);
}

#[tokio::test]
async fn the_demo_serves_foreign_clients_until_interrupted() {
    let mut demo = Background::start(tollway().args(["demo", "--serve", "--json"]));
    let world: Value = serde_json::from_str(&demo.line()).unwrap();
    for field in ["rpcUrl", "network", "asset", "facilitatorUrl", "sellerUrl", "routes", "testKey"] {
        assert!(!world[field].is_null(), "{field}");
    }
    let seller = world["sellerUrl"].as_str().unwrap().to_owned();
    let mut pay = tollway();
    pay.args(["pay", "--json", &format!("{seller}/weather")]);
    pay.env("TOLLWAY_KEY", world["testKey"].as_str().unwrap());
    let (code, lines) = run(pay).await;
    assert_eq!(
        (code, &lines[0]["paid"]["success"], &lines[0]["body"]["sky"]),
        (Some(0), &json!(true), &json!("clear"))
    );
    let stats = reqwest::get(format!("{seller}/stats")).await.unwrap().text().await.unwrap();
    let stats: Value = serde_json::from_str(&stats).unwrap();
    assert_eq!(stats["routes"]["/weather"], json!({ "handled": 1, "paid": 1 }));
    assert_eq!(demo.interrupt(), Some(0));
}

#[tokio::test]
async fn the_demo_runs_on_the_id_of_a_real_network() {
    let mut command = tollway();
    command.args(["demo", "--json", "--chain-id", "84532"]);
    let (code, lines) = run(command).await;
    assert_eq!((code, &lines.last().unwrap()["summary"]["ok"]), (Some(0), &json!(true)));
}
