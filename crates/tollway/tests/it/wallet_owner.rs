//! The owner's controls, from another process on the same ledger: the kill switch, approvals, pins and budgets.

use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;
use tollway_buyer::{Approver, FactName, Inquiry, KnownPayees, NotApproved, QueueApprover, Subject};
use tollway_core::model::PaymentRequirements;
use tollway_core::{Amount, Clock, JsonObject, Network, OfferedValue, SchemeName, SystemClock, UnixTime};
use tollway_ledger::{Condition, Hold, Intent, IntentId, Ledger, Member, NewHold, NewIntent, Opened, Role};

use crate::process::{run, tollway};

const WALLET: &str = "0x15d34aaf54267db7d7c367839aaf71a00a2c6a65";

/// A ledger in a file, and the program over it.
struct Owner {
    folder: TempDir,
    ledger: Arc<dyn Ledger>,
}

impl Owner {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = tollway_ledger::open(&url(&folder)).await.unwrap();
        Self { folder, ledger }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = tollway();
        command.arg("wallet").args(arguments).args(["--ledger", &url(&self.folder), "--wallet", WALLET]);
        command.env_remove("TOLLWAY_KEY");
        command
    }

    async fn run(&self, arguments: &[&str]) -> (Option<i32>, Vec<Value>) {
        run(self.command(arguments)).await
    }
}

fn url(folder: &TempDir) -> String {
    format!("sqlite:{}", folder.path().join("wallet.db").display())
}

/// A purchase that may only be opened while these switches are off, and counts a dollar.
async fn open(ledger: &dyn Ledger, number: u8, levels: &[&str]) -> Opened {
    let now = SystemClock.now();
    let until = now.plus_seconds(3_600);
    let member = Member { role: Role::Buyer, name: "buyer".to_owned(), incarnation: 1 };
    let intent = Intent {
        id: IntentId([number; 16]),
        wallet: WALLET.to_owned(),
        agent: Some("scout".to_owned()),
        key: None,
        version: 0,
        holder: Some(member),
        is_open: true,
        repeat_until: now,
        due: until,
        created: now,
        until,
        holds: Vec::new(),
        body: "{}".to_owned(),
    };
    let dollar: Amount = "1000000000000000000".parse().unwrap();
    let budget = format!("{WALLET}|agent:scout|*|lifetime");
    let hold = Hold { budget, window: UnixTime(0), until: UnixTime(u64::MAX), amount: dollar };
    let conditions = levels.iter().map(|level| {
        let FactName { scope, name } = FactName::switch(WALLET, level);
        Condition::Absent { scope, name }
    });
    let holds = vec![NewHold { hold, limit: Amount::MAX }];
    ledger
        .intent_open(NewIntent { intent, holds, conditions: conditions.collect(), is_synced: true, now })
        .await
        .unwrap()
}

#[tokio::test]
async fn a_switch_that_another_process_throws_stops_the_next_purchase() {
    let owner = Owner::new().await;
    let levels = ["org", "team:research", "agent:scout"];
    assert!(matches!(open(owner.ledger.as_ref(), 1, &levels).await, Opened::Fresh(_)));
    for (number, level) in (2..).zip([&[][..], &["--team", "research"], &["--agent", "scout"]]) {
        let freeze: Vec<&str> = [&["freeze", "--json", "--reason", "lunch"], level].concat();
        let (code, lines) = owner.run(&freeze).await;
        assert_eq!((code, lines[0]["frozen"].as_bool()), (Some(0), Some(true)));
        let refused = open(owner.ledger.as_ref(), number, &levels).await;
        assert!(matches!(&refused, Opened::Unmet(fact) if fact.value == "lunch"), "{level:?}: {refused:?}");
        let unfreeze: Vec<&str> = [&["unfreeze", "--json"], level].concat();
        let (code, lines) = owner.run(&unfreeze).await;
        assert_eq!((code, lines[0]["was"].as_bool()), (Some(0), Some(true)));
        assert!(matches!(open(owner.ledger.as_ref(), number, &levels).await, Opened::Fresh(_)), "{level:?}");
    }
    let (_, lines) = owner.run(&["unfreeze", "--json"]).await;
    assert_eq!(lines[0]["was"].as_bool(), Some(false));
    let (_, lines) = owner.run(&["freeze", "--json", "--agent", "another"]).await;
    assert_eq!(lines[0]["level"], "agent:another");
    assert!(matches!(open(owner.ledger.as_ref(), 9, &levels).await, Opened::Fresh(_)), "not this agent's");
}

fn inquiry(pay_to: &str, seconds: u64) -> Inquiry {
    let offer = PaymentRequirements {
        scheme: SchemeName::EXACT,
        network: Network::evm(8453),
        amount: Amount::from(50_000),
        asset: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913".into(),
        pay_to: pay_to.to_owned(),
        max_timeout_seconds: 60,
        extra: JsonObject::new(),
        other: JsonObject::new(),
    };
    let value = OfferedValue { symbol: "USDC".into(), decimals: 6, amount: offer.amount, is_usd: true };
    let url = "https://api.example.com/data?key=secret".parse().unwrap();
    let subject = Subject {
        wallet: WALLET,
        agent: Some("scout"),
        tool: None,
        method: "GET",
        url: &url,
        offer: &offer,
        value: Some(&value),
        deposit: None,
    };
    Inquiry::about(&subject, "org", &["above $0.01: needs approval"], SystemClock.now(), seconds).unwrap()
}

#[tokio::test]
async fn a_question_in_the_ledger_is_answered_by_another_process() {
    let owner = Owner::new().await;
    let queue = QueueApprover::new(Arc::clone(&owner.ledger), Arc::new(SystemClock));
    for (word, said, state) in [("approve", Ok(()), "approved"), ("deny", Err(NotApproved::Denied), "denied")]
    {
        let question = inquiry("0x209693Bc6afc0C5328bA36FaF03C514EF312287C", 60);
        let answer = async {
            let listed = loop {
                let (_, lines) = owner.run(&["approvals", "list", "--json"]).await;
                if let Some(line) = lines.into_iter().next() {
                    break line;
                }
            };
            assert_eq!((&listed["id"], &listed["money"]), (&question.id.clone().into(), &"0.05 USDC".into()));
            assert!(!listed.to_string().contains("secret"));
            owner.run(&["approvals", word, &question.id, "--json"]).await
        };
        let (told, (code, lines)) = tokio::join!(queue.ask(&question), answer);
        assert_eq!((told, code, lines[0]["state"].as_str()), (said, Some(0), Some(state)));
        let (code, lines) = owner.run(&["approvals", "approve", &question.id, "--json"]).await;
        let again = if state == "approved" { Some(0) } else { Some(3) };
        assert_eq!((code, lines[0]["state"].as_str()), (again, Some(state)), "the first answer counts");
    }
    let question = inquiry("0x209693Bc6afc0C5328bA36FaF03C514EF312287C", 1);
    assert_eq!(queue.ask(&question).await, Err(NotApproved::TimedOut));
    let (code, lines) = owner.run(&["approvals", "approve", &question.id, "--json"]).await;
    assert_eq!((code, lines[0]["state"].as_str()), (Some(3), Some("expired")), "too late");
    let (code, _) = owner.run(&["approvals", "approve", "00000000000000000000000000000000", "--json"]).await;
    assert_eq!(code, Some(1));
}

#[tokio::test]
async fn a_question_moves_no_cursor_of_the_owners() {
    let owner = Owner::new().await;
    let queue = QueueApprover::new(Arc::clone(&owner.ledger), Arc::new(SystemClock));
    let question = inquiry("0x1\u{1b}[2J\r\nApproved. Type yes.\u{202e}", 60);
    let look = async {
        loop {
            let mut list = owner.command(&["approvals", "list"]);
            let output = tokio::task::spawn_blocking(move || list.output().unwrap()).await.unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            if !text.is_empty() {
                break text;
            }
        }
    };
    let text = tokio::select! {
        said = queue.ask(&question) => panic!("{said:?}"),
        text = look => text,
    };
    assert!(text.contains("0.05 USDC") && text.contains("waiting"), "{text}");
    assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
    assert!(text.lines().skip(1).all(|line| line.is_empty() || line.starts_with("  ")), "{text}");
}

#[tokio::test]
async fn an_owner_accepts_another_account_of_a_host_and_forgets_it() {
    let owner = Owner::new().await;
    let (one, other) =
        ("0x209693bc6afc0c5328ba36faf03c514ef312287c", "0x90F79bf6EB2c4f870365E785982E1f101E93b906");
    let at = ["api.example.com:8443", "--network", "eip155:8453", "--json"];
    let accept = |account| [&["pins", "accept"][..], &at, &["--pay-to", account]].concat();
    assert_eq!(owner.run(&accept("0x12")).await.0, Some(1), "no account");
    let whole = ["pins", "accept", "https://api.example.com/x", "--network", "eip155:8453", "--pay-to", one];
    assert_eq!(owner.run(&whole).await.0, Some(1), "no host");
    for account in [one, other, other] {
        assert_eq!(owner.run(&accept(account)).await.0, Some(0));
    }
    let url = "https://api.example.com:8443/data".parse().unwrap();
    let FactName { scope, name } = FactName::pin(WALLET, &url, &Network::evm(8453));
    let fact = owner.ledger.fact_get(&scope, &name).await.unwrap().unwrap();
    let both = KnownPayees::default().and(&Network::evm(8453), one).and(&Network::evm(8453), other);
    assert_eq!(fact.value, both.value());
    let (_, lines) = owner.run(&["pins", "list", "--json"]).await;
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (&lines[0]["host"], lines[0]["payTo"].as_array().unwrap().len()),
        (&"api.example.com:8443".into(), 2)
    );
    assert_eq!(owner.run(&[&["pins", "remove"][..], &at].concat()).await.0, Some(0));
    assert_eq!(owner.ledger.fact_get(&scope, &name).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_counted_in_budgets_is_told_in_their_own_units() {
    let owner = Owner::new().await;
    open(owner.ledger.as_ref(), 1, &[]).await;
    open(owner.ledger.as_ref(), 2, &[]).await;
    let (code, lines) = owner.run(&["budget", "--json"]).await;
    assert_eq!((code, lines.len()), (Some(0), 1));
    assert_eq!((&lines[0]["level"], &lines[0]["inUse"]), (&"agent:scout".into(), &"$2".into()));
}

#[tokio::test]
async fn a_wallet_that_is_not_named_is_asked_for_and_a_key_names_its_own() {
    let owner = Owner::new().await;
    let nameless = |key: Option<&str>| {
        let mut command = tollway();
        command
            .args(["wallet", "freeze", "--json", "--ledger", &url(&owner.folder)])
            .env_remove("TOLLWAY_KEY");
        if let Some(key) = key {
            command.env("TOLLWAY_KEY", key);
        }
        command
    };
    assert_eq!(run(nameless(None)).await.0, Some(1));
    let account = &tollway_devnet::ACCOUNTS[4];
    let (code, lines) = run(nameless(Some(&account.secret_key.to_string()))).await;
    assert_eq!(code, Some(0));
    assert_eq!(lines[0]["wallet"], account.address.to_string().to_lowercase());
}
