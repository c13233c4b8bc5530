//! Prices that are held against each other although their purchases are under way at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tollway_buyer::{FactName, Patience, PolicyFile, PriceHistory, Wallet};
use tollway_core::{Amount, BoxFuture};
use tollway_evm::{Address, LocalSigner, Signature, Signer, SignerError};
use tollway_ledger::{Ledger, MemoryLedger};

use crate::purse::{KEY, assets, error_of};
use crate::shop::{Shop, challenge, usdc};

/// A key that signs when it is let.
#[derive(Debug)]
struct Held {
    key: LocalSigner,
    asked: Notify,
    let_go: Notify,
}

impl Signer for Held {
    fn address(&self) -> Address {
        self.key.address()
    }

    fn sign<'a>(&'a self, preimage: &'a [u8]) -> BoxFuture<'a, Result<Signature, SignerError>> {
        Box::pin(async move {
            self.asked.notify_one();
            self.let_go.notified().await;
            self.key.sign(preimage).await
        })
    }
}

/// A shop that asks what the query says.
async fn shop() -> Shop {
    Shop::open(|seen| {
        let price = seen.path.split_once('?').map(|(_, price)| price.parse::<u64>().unwrap());
        Some(match seen.payment() {
            Some(_) => seen.goods(),
            None => challenge(&seen.bill(vec![usdc(price.unwrap())])),
        })
    })
    .await
}

/// One process of the wallet's.
fn process(ledger: &Arc<MemoryLedger>, signer: Arc<dyn Signer>) -> Wallet {
    let policy = PolicyFile::parse("[drift]\nabove_percent = 50\n").unwrap().policy(None).unwrap();
    let patience =
        Patience { presentations: 1, answer: Duration::from_secs(10), total: Duration::from_secs(20) };
    let wallet = Wallet::builder().signer(signer).assets(assets()).ledger(ledger.clone());
    wallet.policy(policy).patience(patience).build().unwrap()
}

async fn get(wallet: &Wallet, url: &str) -> Result<reqwest::Response, reqwest_middleware::Error> {
    wallet.client().unwrap().get(url).send().await
}

#[tokio::test]
async fn a_price_is_held_against_that_of_a_purchase_that_is_still_under_way() {
    let (shop, ledger) = (shop().await, Arc::new(MemoryLedger::new()));
    let key = LocalSigner::from_hex(KEY).unwrap();
    let held = Arc::new(Held { key: key.clone(), asked: Notify::new(), let_go: Notify::new() });
    let first = process(&ledger, Arc::clone(&held) as Arc<dyn Signer>);
    let other = process(&ledger, Arc::new(key));
    let (under_way, url) = (first.clone(), shop.url("/data?10000"));
    let under_way = tokio::spawn(async move { get(&under_way, &url).await.unwrap().status() });
    held.asked.notified().await;
    // Nothing is signed yet for the first one ever; and somebody else is asked ten times as much.
    let dear = get(&other, &shop.url("/data?100000")).await;
    let told = error_of(&dear).to_string();
    assert!(told.contains("more than 50 % above 10000"), "{told}");
    assert_eq!(get(&other, &shop.url("/data?15000")).await.unwrap().status(), 200, "within what is allowed");
    held.let_go.notify_one();
    assert_eq!(under_way.await.unwrap(), 200);
    // A lower price is what others are held against from when it is signed for.
    assert_eq!(get(&other, &shop.url("/data?8000")).await.unwrap().status(), 200);
    let dear = get(&other, &shop.url("/data?12001")).await;
    assert!(error_of(&dear).to_string().contains("above 8000, the lowest price known"), "{dear:?}");
    let url = shop.url("/data").parse().unwrap();
    let FactName { scope, name } = FactName::price(other.name(), &url, &usdc(1));
    let known = ledger.fact_get(&scope, &name).await.unwrap().unwrap();
    let history = PriceHistory { first: Amount::from(10_000), lowest: Amount::from(8_000) };
    assert_eq!(PriceHistory::read(&known.value), Some(history));
    assert_eq!(known.version, 2, "written when it is first known, and when it is lower");
}

#[tokio::test]
async fn purchases_at_one_price_do_not_stand_in_each_others_way() {
    let (shop, ledger) = (shop().await, Arc::new(MemoryLedger::new()));
    let wallet = process(&ledger, Arc::new(LocalSigner::from_hex(KEY).unwrap()));
    let url = shop.url("/data?10000");
    let buys = (0..24).map(|number| {
        let (wallet, url) = (wallet.as_agent(&format!("agent {number}")), url.clone());
        tokio::spawn(async move { get(&wallet, &url).await.unwrap().status() })
    });
    for bought in futures_util::future::join_all(buys.collect::<Vec<_>>()).await {
        assert_eq!(bought.unwrap(), 200);
    }
    assert_eq!(shop.distinct_payments(), 24);
}
