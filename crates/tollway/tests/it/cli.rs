//! The program's manners: help, exit codes, refusals.

use std::process::Command;

use crate::market::Market;
use crate::process::{Background, run, tollway};

#[test]
fn every_command_explains_itself() {
    for arguments in [
        vec!["--help"],
        vec!["demo", "--help"],
        vec!["pay", "--help"],
        vec!["proxy", "--help"],
        vec!["proxy", "ca", "--help"],
        vec!["receipt", "verify", "--help"],
        vec!["facilitator", "--help"],
        vec!["devnet", "--help"],
        vec!["channels", "--help"],
        vec!["wallet", "channels", "--help"],
        vec!["wallet", "channels", "refund", "--help"],
        vec!["wallet", "channels", "withdraw", "--help"],
        vec!["accounts", "--help"],
        vec!["accounts", "statement", "--help"],
        vec!["accounts", "export", "--help"],
        vec!["accounts", "settle", "--help"],
        vec!["wallet", "--help"],
        vec!["wallet", "freeze", "--help"],
        vec!["wallet", "approvals", "--help"],
        vec!["wallet", "history", "--help"],
        vec!["wallet", "export", "--help"],
        vec!["wallet", "report", "--help"],
    ] {
        let output = tollway().args(&arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.lines().count() > 8, "{arguments:?}: {text}");
    }
}

fn pay(market: &Market, arguments: &[&str]) -> Command {
    let mut command = tollway();
    command.arg("pay").args(arguments).env("TOLLWAY_KEY", market.buyer_key());
    command
}

#[tokio::test]
async fn pay_tells_by_its_exit_code_what_became_of_the_money() {
    let market = Market::open().await;
    let (code, lines) =
        run(pay(&market, &["--json", "-X", "POST", "-d", "hello", "-H", "x-a: b", &market.url("/echo")]))
            .await;
    assert_eq!(
        (code, lines[0]["body"].as_str(), lines[0]["paid"]["amount"].as_str()),
        (Some(0), Some("echo:hello"), Some("20000"))
    );
    let (code, lines) = run(pay(&market, &["--json", &market.url("/dear")])).await;
    assert_eq!((code, lines[0]["error"].as_str()), (Some(3), Some("refused")));
    let (code, lines) = run(pay(&market, &["--json", "--max-amount", "$0.001", &market.url("/data")])).await;
    assert_eq!((code, lines[0]["error"].as_str()), (Some(3), Some("refused")));
    let (code, lines) = run(pay(&market, &["--json", "--dry-run", &market.url("/data")])).await;
    assert_eq!((code, lines[0]["offers"][0]["allowed"].as_bool()), (Some(0), Some(true)));
    let (code, _) = run(pay(&market, &["--json", &market.url("/nowhere")])).await;
    assert_eq!(code, Some(22));
    let (code, _) = run(pay(&market, &["--json", "http://127.0.0.1:1/"])).await;
    assert_eq!(code, Some(1));
    let (code, _) = run(pay(&market, &["--key", "env:NOT_SET_ANYWHERE", &market.url("/data")])).await;
    assert_eq!(code, Some(1));
    assert_eq!((market.received().await, market.handled()), (20_000, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn pay_has_the_manners_of_curl() {
    use axum::http::{HeaderMap, Method};
    let market = Market::open().await;
    let show = |method: Method, headers: HeaderMap, body: String| async move {
        let header = |name: &str| headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
        format!("{method} {} {} {body}", header("content-type"), header("authorization"))
    };
    let app = axum::Router::new().route("/", axum::routing::any(show));
    let (url, _server) = crate::market::serve(app).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data");
    std::fs::write(&file, "c=3\n").unwrap();
    let from_file = format!("@{}", file.display());
    let printed = async |arguments: &[&str]| {
        let mut command = pay(&market, arguments);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    for (arguments, expected) in [
        (vec!["-d", "a=1", "-d", "b=2"], "POST application/x-www-form-urlencoded - a=1&b=2"),
        (
            vec!["-d", "a=1", "--data-binary", &from_file],
            "POST application/x-www-form-urlencoded - a=1&c=3\n",
        ),
        (vec!["-d", "{}", "-H", "content-type: application/json"], "POST application/json - {}"),
        (vec!["-X", "PUT", "-d", "", "-o", "-"], "PUT application/x-www-form-urlencoded - "),
        (vec!["-u", "me:secret"], "GET - Basic bWU6c2VjcmV0 "),
    ] {
        let (code, shown, _) = printed(&[arguments.clone(), vec![&*url]].concat()).await;
        assert_eq!((code, &*shown), (Some(0), expected), "{arguments:?}");
    }
    let (code, shown, _) = printed(&["-I", &url]).await;
    assert!(
        code == Some(0) && shown.starts_with("HTTP/1.1 200 OK\r\n") && shown.ends_with("\r\n\r\n"),
        "{shown}"
    );
    let (_, shown, talk) = printed(&["-i", &market.url("/data")]).await;
    assert!(shown.contains("\r\npayment-response: ") && shown.ends_with("\r\n\r\ndata"), "{shown}");
    assert!(talk.contains("paid 0.01 USDC"), "{talk}");
    let (code, shown, talk) = printed(&["-s", &market.url("/data")]).await;
    assert_eq!((code, &*shown, &*talk), (Some(0), "data", ""));
    let (code, shown, talk) = printed(&["-s", &market.url("/dear")]).await;
    assert!(code == Some(3) && shown.is_empty() && talk.contains("above the cap"), "faults are told: {talk}");
    let (code, shown, _) = printed(&["-f", "-X", "DELETE", &market.url("/data")]).await;
    assert_eq!((code, &*shown), (Some(22), ""));
    assert_eq!((market.received().await, market.handled()), (20_000, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facilitator_runs_from_one_file_and_tells_every_fault_of_a_wrong_one() {
    let market = Market::open().await;
    let folder = std::env::temp_dir().join(format!("tollway-cli-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let good = folder.join("good.toml");
    let network = |url: &str, key: &str| {
        format!("[[networks]]\nnetwork = \"eip155:31337\"\nrpc_url = \"{url}\"\nkeys = [\"{key}\"]\n")
    };
    std::fs::write(
        &good,
        format!(
            "listen = \"127.0.0.1:0\"\nopen = true\nledger = \"memory:\"\n{}",
            network(&market.node.rpc_url, "env:LANE_KEY")
        ),
    )
    .unwrap();
    let key = tollway_devnet::ACCOUNTS[5].secret_key.to_string();
    let mut command = tollway();
    command
        .args(["facilitator", "--json", "--config"])
        .arg(&good)
        .env("LANE_KEY", &key)
        .env("RUST_LOG", "error");
    let mut facilitator = Background::start(&mut command);
    let line: serde_json::Value = serde_json::from_str(&facilitator.line()).unwrap();
    let url = line["facilitatorUrl"].as_str().unwrap();
    for path in ["supported", "health"] {
        let response = reqwest::get(format!("{url}/{path}")).await.unwrap();
        assert!(response.status().is_success(), "{path}");
    }
    assert_eq!(facilitator.interrupt(), Some(0));

    let bad = folder.join("bad.toml");
    let faults = format!(
        "{}{}",
        network("http://127.0.0.1:1", "env:LANE_KEY"),
        network(&market.node.rpc_url, "0xkey")
    );
    std::fs::write(&bad, faults).unwrap();
    let output = tollway()
        .args(["facilitator", "--check", "--config"])
        .arg(&bad)
        .env("LANE_KEY", &key)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("networks[1].keys[0]"), "{text}");
    assert!(!text.contains("0xkey"), "a key is never repeated: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_error_repeats_a_secret() {
    let key = tollway_devnet::ACCOUNTS[5].secret_key.to_string();
    let output = tollway().args(["pay", "--key", &key, "http://127.0.0.1:1/"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("env:NAME") && !text.contains(&key[4..20]), "{text}");
    let file = std::env::temp_dir().join(format!("tollway-secret-{}.toml", std::process::id()));
    let config = "open = true\n[[networks]]\nnetwork = \"eip155:31337\"\nkeys = [\"env:LANE_KEY\"]\n\
                  rpc_url = \"http://user:SECRET@127.0.0.1:1/SECRET?k=SECRET\"\n";
    std::fs::write(&file, config).unwrap();
    for level in ["info", "trace"] {
        let mut command = tollway();
        command
            .args(["facilitator", "--check", "--config"])
            .arg(&file)
            .env("LANE_KEY", &key)
            .env("RUST_LOG", format!("tollway={level}"));
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains("eth_chainId"), "{text}");
        assert!(!text.contains("SECRET") && !text.contains(&key[4..20]), "{text}");
    }
}

#[tokio::test]
async fn pay_does_not_need_a_key_to_ask_nor_lose_money_for_a_file() {
    let market = Market::open().await;
    let mut ask = tollway();
    ask.args(["pay", "--json", "--dry-run", &market.url("/data")]).env_remove("TOLLWAY_KEY");
    let (code, lines) = run(ask).await;
    assert_eq!((code, lines[0]["offers"][0]["allowed"].as_bool()), (Some(0), Some(true)));
    let mut buy = tollway();
    buy.args(["pay", "--json", &market.url("/data")]).env_remove("TOLLWAY_KEY");
    let (code, lines) = run(buy).await;
    let message = lines[0]["message"].as_str().unwrap_or_default();
    assert!(code == Some(3) && message.contains("TOLLWAY_KEY"), "{lines:?}");
    let (code, lines) = run(pay(&market, &["--json", "-o", "/nonexistent/file", &market.url("/data")])).await;
    assert_eq!((code, lines[0]["error"].as_str()), (Some(1), Some("failed")));
    assert_eq!((market.received().await, market.handled()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_interrupts_a_payment_is_told_that_money_may_have_moved() {
    let market = Market::open().await;
    market.node.devnet().faults().inject(tollway_devnet::Fault::Hold);
    let mut command = pay(&market, &["--json", &market.url("/data")]);
    let buying = Background::start(&mut command);
    // The handler runs once the payment is verified: then it is out.
    while market.handled() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(buying.interrupt(), Some(4));
}
