//! Attacks by many payments, each of which is allowed: split over paths, hosts, agents and processes, or ever dearer.

use std::sync::Arc;

use futures_util::future::join_all;
use tollway_buyer::{PolicyFile, Wallet, WalletBuilder};
use tollway_ledger::{Ledger, MemoryLedger};

use crate::market::{account, assets};
use crate::red_team::{
    Asks, Attack, CAREFUL, Ground, Hostile, PRICE, Seen, challenge, get, offer, plain, settled, standing,
    tell, wallet_of,
};
use crate::red_team_guard::{Guard, Rules};

/// Six honest prices, of which the control takes one.
const BUDGET: &str = "[budget]\nlifetime = \"$0.06\"\n";
const ALLOWED: u64 = 5;
const NO_HASH: &str = "0xabababababababababababababababababababababababababababababababab";

fn many_paths() -> Vec<&'static str> {
    (0..20).map(|n| &*String::leak(format!("/data/{n}"))).collect()
}

fn in_all(purchases: u64) -> impl FnOnce(&mut Rules) {
    move |rules| rules.in_all = u128::from(purchases * PRICE)
}

fn honest_price(seen: &Seen) -> axum::response::Response {
    if seen.is_paid() { plain(200, "goods") } else { challenge(&seen.bill(vec![offer(PRICE)])) }
}

#[tokio::test]
async fn budget_splitting_over_paths() {
    let ground = Ground::open("budget splitting").await;
    let split = |name: &str, answer: fn(&Seen) -> axum::response::Response, policy: &str| {
        Attack::new(name, answer)
            .policy(policy)
            .asks(Asks::InTurn(many_paths()))
            .rules(in_all(ALLOWED + 1))
            .costs(ALLOWED, ALLOWED * PRICE)
            .after_control()
    };
    fn refusing(seen: &Seen) -> axum::response::Response {
        if seen.is_paid() { plain(402, "no") } else { honest_price(seen) }
    }
    fn failing(seen: &Seen) -> axum::response::Response {
        if seen.is_paid() { plain(500, "sorry") } else { honest_price(seen) }
    }
    ground.run(split("twenty small ones", honest_price, BUDGET)).await;
    // What is refused or never answered is not given back: whoever has it may still cash it.
    ground.run(split("refused, and cashed later", refusing, BUDGET)).await;
    ground.run(split("failed, and cashed later", failing, BUDGET)).await;
    let velocity = "[velocity]\npayments_per_minute = 6\n";
    ground
        .run(split("too many a minute", honest_price, velocity).wallet(|wallet| wallet.clock(standing())))
        .await;
    let freezing = "[velocity]\npayments_per_minute = 6\non = \"freeze\"\n";
    ground
        .run(
            split("too many a minute, and frozen", honest_price, freezing)
                .wallet(|wallet| wallet.clock(standing())),
        )
        .await;
}

/// Many buyers at once: what they sign together, and what that moves.
async fn split(ground: &Ground, name: &str, guards: &[Arc<Guard>], purchases: Vec<(Wallet, String)>) {
    let (control, guard) = (&purchases[0].0, &guards[0]);
    let rules = Rules { in_all: u128::from((ALLOWED + 1) * PRICE), ..Rules::careful() };
    ground.control(name, control, guard, &rules).await;
    let before = ground.held().await;
    let told = join_all(purchases.iter().map(|(wallet, url)| get(wallet, url, None))).await;
    for (wallet, _) in &purchases {
        wallet.flush().await;
    }
    let signed: Vec<_> = guards.iter().flat_map(|guard| guard.payments()).collect();
    ground.cash(&signed).await;
    let bought = told.iter().filter(|told| *told == "200 goods").count() as u64;
    let lost = before.usdc - ground.held().await.usdc;
    assert_eq!((bought, lost), (ALLOWED, ALLOWED * PRICE), "{name}: {told:?}");
    assert_eq!(signed.len() as u64, ALLOWED + 1, "{name}: signed");
    for guard in guards {
        assert_eq!(guard.outside(&rules), Vec::<String>::new(), "{name}");
    }
    tell(&format!("budget splitting: {name}"), ALLOWED, lost, ALLOWED * PRICE);
}

fn budgeted(guard: &Arc<Guard>) -> WalletBuilder {
    let policy = PolicyFile::parse(&format!("{CAREFUL}{BUDGET}")).unwrap().policy(None).unwrap();
    wallet_of(guard, policy)
}

#[tokio::test]
async fn budget_splitting_over_hosts_and_agents_at_once() {
    let ground = Ground::open("budget splitting").await;
    let hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"];
    let hostile = join_all(hosts.map(|host| Hostile::open(host, Box::new(honest_price)))).await;
    let guard = || Arc::new(Guard::new(account(2), assets(31_337)));
    let one = guard();
    let wallet = budgeted(&one).build().unwrap();
    let over_hosts = (0..20).map(|n| (wallet.clone(), format!("http://{}/{n}", hostile[n % 4].host)));
    split(&ground, "many hosts", &[one], over_hosts.collect()).await;
    let one = guard();
    let wallet = budgeted(&one).build().unwrap();
    let agents = (0..20).map(|n| {
        let agent = if n == 0 { wallet.clone() } else { wallet.as_agent(&format!("agent-{n}")) };
        (agent, format!("http://{}/data", hostile[0].host))
    });
    split(&ground, "many agents", &[one], agents.collect()).await;
    // One owner's wallets, each in a program of its own, on one ledger.
    let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new());
    let guards: Vec<_> = (0..10).map(|_| guard()).collect();
    let wallets = guards.iter().zip(0..).map(|(guard, n)| {
        let wallet = budgeted(guard).ledger(Arc::clone(&ledger)).build().unwrap();
        (wallet, format!("http://{}/{n}", hostile[0].host))
    });
    split(&ground, "many wallets on one ledger", &guards, wallets.collect()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite:{}", folder.path().join("wallet.db").display());
    let guards: Vec<_> = (0..6).map(|_| guard()).collect();
    let mut programs = Vec::new();
    for (n, guard) in guards.iter().enumerate() {
        let ledger = tollway_ledger::open(&file).await.unwrap();
        let wallet = budgeted(guard).ledger(ledger).build().unwrap();
        programs.extend((0..3).map(|m| (wallet.clone(), format!("http://{}/{n}-{m}", hostile[n % 4].host))));
    }
    split(&ground, "many programs on one file", &guards, programs).await;
}

/// A seller that asks `prices` one after the other, whatever it is asked for, as it is paid.
fn ramp(name: &str, prices: &'static [u64], paid: fn(&Seen) -> axum::response::Response) -> Attack {
    Attack::new(name, move |seen| match seen.is_paid() {
        true => paid(seen),
        false => challenge(&seen.bill(vec![offer(prices[seen.paid_before.min(prices.len() - 1)])])),
    })
    .policy("[drift]\nabove_percent = 20\n")
}

#[tokio::test]
async fn slow_price_ramp() {
    const RAMP: &[u64] = &[10_000, 11_000, 12_100, 13_310, 14_641, 16_105, 17_715, 19_487];
    const DIP: &[u64] = &[10_000, 5_000, 7_000];
    let ground = Ground::open("slow price ramp").await;
    let pages = || Asks::InTurn((0..10).map(|n| &*String::leak(format!("/data?page={n}"))).collect());
    let capped = |cap: u128| move |rules: &mut Rules| rules.assets[0].1 = cap;
    let says_settled = |seen: &Seen| settled(seen, NO_HASH, "goods");
    let ramps = [
        ramp("ten percent each time", RAMP, says_settled),
        ramp("ten percent each time, and no word of settling", RAMP, |_| plain(200, "goods")),
        ramp("ten percent each time, refused and cashed", RAMP, |_| plain(402, "no")),
        ramp("ten percent each time, failed and cashed", RAMP, |_| plain(500, "sorry")),
    ];
    for attack in ramps {
        ground.run(attack.asks(pages()).rules(capped(12_000)).costs(2, 21_000)).await;
    }
    let dip = ramp("down, and back up", DIP, says_settled);
    ground.run(dip.asks(pages()).rules(capped(10_000)).costs(2, 15_000)).await;
    // Ever new paths have no history: the budget holds.
    let paths = ramp("on ever new paths", RAMP, says_settled)
        .policy("[[budget_for]]\nper = \"host\"\nlifetime = \"$0.04\"\n");
    ground
        .run(paths.asks(Asks::InTurn(many_paths())).rules(in_all(4)).costs(2, 21_000).after_control())
        .await;
}
