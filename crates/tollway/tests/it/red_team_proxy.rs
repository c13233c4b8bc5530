//! What differs through `tollway proxy`: programs that retry by themselves, several proxies of one owner, one that is
//! killed. The key is in another process, so what is signed is counted by what reaches sellers, and by the chain.

use std::path::Path;

use futures_util::future::join_all;
use tollway_core::model::Accepted;
use tollway_core::{Amount, wire};
use tollway_devnet::genesis;

use crate::market::Market;
use crate::paying_proxy::Running;
use crate::red_team::{Hostile, PRICE, SHOP, Seen, challenge, offer, plain, redirect, tell, twisted};

/// Six honest prices.
const POLICY: &str =
    "max_payment = \"$0.10\"\nallow_networks = [\"eip155:31337\"]\n[budget]\nlifetime = \"$0.06\"\n";

struct Owner {
    market: Market,
    folder: tempfile::TempDir,
    before: Amount,
}

impl Owner {
    async fn new() -> Self {
        let market = Market::open().await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("policy.toml"), POLICY).unwrap();
        let before = market.balance(market.buyer()).await;
        Self { market, folder, before }
    }

    fn path(&self, name: &str) -> String {
        Path::new(self.folder.path()).join(name).display().to_string()
    }

    /// One more proxy of this owner's, on the same ledger and by the same policy.
    fn proxy(&self) -> Running {
        let ledger = format!("sqlite:{}", self.path("wallet.db"));
        let policy = self.path("policy.toml");
        Running::start(&self.market, &["--ledger", &ledger, "--policy", &policy, "--timeout", "5"])
    }

    /// The honest purchase through `proxy`; then the chain says what was charged in all.
    async fn control(&self, name: &str, proxy: &Running, charged: u64) {
        let answer = proxy.client().get(self.market.url("/data")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{name}: control");
        assert_eq!(answer.text().await.unwrap(), "data", "{name}: control");
        let lost = self.before.checked_sub(self.market.balance(self.market.buyer()).await).unwrap();
        assert_eq!(lost, Amount::from(charged + PRICE), "{name}: charged");
    }

    /// Cashes what a hostile seller was sent, and says how much that moved.
    async fn cash(&self, hostile: &Hostile) -> u64 {
        let before = self.market.balance(self.market.buyer()).await;
        let cashier = crate::red_team::Cashier::of(&self.market);
        for header in hostile.headers() {
            let json = wire::decode_header("payment", header.as_bytes()).unwrap();
            let payment = wire::decode_payment(&json).unwrap();
            let Accepted::Offer(offer) = &payment.accepted else { panic!("v2 carries its offer") };
            assert_eq!(offer.pay_to, SHOP);
            assert!(offer.asset.eq_ignore_ascii_case(&genesis::USDC.to_string()));
            cashier.cash(&payment, offer).await;
        }
        let lost = before.checked_sub(self.market.balance(self.market.buyer()).await).unwrap();
        lost.to_string().parse().unwrap()
    }
}

fn billing(paid: fn(&Seen) -> axum::response::Response) -> crate::red_team::Answer {
    Box::new(move |seen| if seen.is_paid() { paid(seen) } else { challenge(&seen.bill(vec![offer(PRICE)])) })
}

#[tokio::test(flavor = "multi_thread")]
async fn through_the_proxy_what_is_outside_the_policy_stays_a_402() {
    let owner = Owner::new().await;
    let proxy = owner.proxy();
    let bills = [
        ("price bait", twisted(serde_json::json!({ "amount": "5000000" }))),
        ("asset swap", twisted(serde_json::json!({ "asset": genesis::EURC.to_string() }))),
        ("network switch", twisted(serde_json::json!({ "network": "eip155:8453" }))),
        ("long-lived authorization", twisted(serde_json::json!({ "maxTimeoutSeconds": 86_400 }))),
    ];
    for (name, bill) in bills {
        let seller = move |seen: &Seen| challenge(&seen.bill(vec![bill.clone()]));
        let hostile = Hostile::open("127.0.0.1", Box::new(seller)).await;
        let answer = proxy.client().get(format!("http://{}/data", hostile.host)).send().await.unwrap();
        assert_eq!(answer.status(), 402, "{name}");
        assert!(answer.headers().contains_key("tollway-refused"), "{name}");
        assert_eq!(hostile.payments(), 0, "{name}");
        tell(&format!("proxy: {name}"), 0, 0, 0);
    }
    owner.control("outside the policy", &proxy, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn through_the_proxy_a_retry_storm_over_a_kill_is_one_payment() {
    let owner = Owner::new().await;
    let hostile = Hostile::open("127.0.0.1", billing(|_| plain(500, "sorry"))).await;
    let url = format!("http://{}/data", hostile.host);
    for _ in 0..3 {
        // Dropped is killed, with SIGKILL; the next one has the same ledger.
        let proxy = owner.proxy();
        let client = proxy.client();
        join_all((0..8).map(|_| client.get(&url).send())).await;
        assert_eq!(hostile.payments(), 1, "whoever asks, and whatever dies");
    }
    assert_eq!(owner.cash(&hostile).await, PRICE);
    let proxy = owner.proxy();
    owner.control("retry storm", &proxy, PRICE).await;
    tell("proxy: retry storm over kills", 1, PRICE, PRICE);
}

#[tokio::test(flavor = "multi_thread")]
async fn through_three_proxies_at_once_one_budget_holds() {
    let owner = Owner::new().await;
    let hostile = Hostile::open("127.0.0.1", billing(|_| plain(200, "goods"))).await;
    let proxies = [owner.proxy(), owner.proxy(), owner.proxy()];
    owner.control("budget splitting", &proxies[0], 0).await;
    let clients: Vec<_> = proxies.iter().map(Running::client).collect();
    let requests = (0..24).map(|n| clients[n % 3].get(format!("http://{}/{n}", hostile.host)).send());
    let bought =
        join_all(requests).await.into_iter().filter(|answer| answer.as_ref().unwrap().status() == 200);
    assert_eq!(
        (bought.count(), hostile.payments()),
        (5, 5),
        "the budget has room for six, the control was one"
    );
    assert_eq!(owner.cash(&hostile).await, 5 * PRICE);
    tell("proxy: budget splitting over processes", 5, 5 * PRICE, 5 * PRICE);
}

#[tokio::test(flavor = "multi_thread")]
async fn through_the_proxy_fake_deliveries_cost_what_was_agreed_once() {
    let owner = Owner::new().await;
    let proxy = owner.proxy();
    let elsewhere = Hostile::open("127.0.0.2", billing(|_| plain(200, "goods"))).await;
    let away = format!("http://{}/data", elsewhere.host);
    let leads = move |seen: &Seen| match seen.is_paid() {
        true => redirect(307, &away),
        false => challenge(&seen.bill(vec![offer(PRICE)])),
    };
    let hostile = Hostile::open("127.0.0.1", Box::new(leads)).await;
    let answer = proxy.client().get(format!("http://{}/data", hostile.host)).send().await.unwrap();
    assert_eq!(answer.status(), 307);
    assert_eq!((hostile.payments(), elsewhere.payments()), (1, 0));
    assert_eq!(owner.cash(&hostile).await, PRICE);
    owner.control("fake delivery", &proxy, PRICE).await;
    tell("proxy: fake delivery by redirect", 1, PRICE, PRICE);
}
