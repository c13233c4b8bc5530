//! Purchases on channels: one deposit for all of a seller's routes, and whatever is lost or said, nothing is charged twice,
//! forgotten, or believed without a reason.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::response::Response;
use tollway_buyer::{
    AlarmCode, Approver, ChannelError, ChannelRecord, Inquiry, IntentRecord, IntentState, NotApproved,
    Patience, PaymentError, Policy, PolicyFile, Wallet, Window, paid,
};
use tollway_core::{Amount, Backing, BoxFuture, ChannelKey, ChannelWitness, FacilitatorError, Network};
use tollway_evm::LocalSigner;
use tollway_evm::batch_settlement::ChannelBuyer;
use tollway_ledger::{Intent, IntentQuery, MemoryLedger};

use crate::purse::{KEY, Purse, assets, error_of};
use crate::shop::{Seen, Shop, challenge};
use crate::till::{Till, lying, number, refuse};

const PRICE: u64 = 1_000;

/// A wallet that pays on channels, and writes into `ledger`.
fn wallet(ledger: &Arc<MemoryLedger>, policy: Policy) -> Purse {
    wallet_that_sees(ledger, policy, None)
}

fn wallet_that_sees(
    ledger: &Arc<MemoryLedger>,
    policy: Policy,
    chain: Option<Arc<dyn ChannelWitness>>,
) -> Purse {
    let signer = Arc::new(LocalSigner::from_hex(KEY).unwrap());
    let mut channels = ChannelBuyer::new(signer, assets());
    if let Some(chain) = chain {
        channels = channels.witness(chain);
    }
    let patience =
        Patience { presentations: 3, answer: Duration::from_millis(600), total: Duration::from_secs(20) };
    Purse::of(|wallet| {
        wallet.scheme(Arc::new(channels)).ledger(ledger.clone()).policy(policy).patience(patience)
    })
}

fn purse() -> Purse {
    wallet(&Arc::new(MemoryLedger::new()), Policy::default())
}

/// A shop with a till, at one price.
async fn shop(till: &Till) -> Shop {
    let till = till.clone();
    Shop::open(move |seen| Some(till.sell(seen, PRICE))).await
}

/// A shop with a till. What `fault` says of the n-th payment happens to it.
async fn faulty(
    till: &Till,
    fault: impl Fn(&Till, &Seen, usize) -> Option<Response> + Send + Sync + 'static,
) -> Shop {
    let (till, payments) = (till.clone(), AtomicUsize::new(0));
    Shop::open(move |seen| match seen.payment() {
        Some(_) => fault(&till, seen, payments.fetch_add(1, Ordering::SeqCst)),
        None => Some(till.sell(seen, PRICE)),
    })
    .await
}

async fn get(purse: &Purse, shop: &Shop, path: &str) -> String {
    let response = purse.get(&shop.url(path)).await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    response.text().await.unwrap()
}

async fn channels(purse: &Purse) -> Vec<ChannelRecord> {
    purse.wallet.flush().await;
    purse.wallet.channels().await.unwrap()
}

async fn purchases(wallet: &Wallet) -> Vec<(Intent, IntentRecord)> {
    wallet.flush().await;
    let query = IntentQuery { wallet: wallet.name().to_owned(), limit: 1_000, ..IntentQuery::default() };
    let intents = wallet.ledger().intent_list(query).await.unwrap();
    intents.into_iter().map(|intent| (intent.clone(), IntentRecord::read(&intent).unwrap())).collect()
}

/// What the purchases of a wallet cost, in all.
async fn spent(wallet: &Wallet) -> u64 {
    purchases(wallet).await.iter().filter_map(|(_, record)| record.spent()).map(number).sum()
}

fn kind(seen: &Seen) -> String {
    seen.decoded().payload["type"].as_str().unwrap().to_owned()
}

/// What each payment that the shop saw was.
fn kinds(shop: &Shop) -> Vec<String> {
    shop.seen().iter().filter(|seen| seen.payment().is_some()).map(kind).collect()
}

#[tokio::test]
async fn one_deposit_serves_all_routes_of_a_seller_and_every_further_purchase_is_a_voucher() {
    let (till, purse) = (Till::new(), purse());
    let shop = shop(&till).await;
    for path in ["/a", "/b", "/a", "/c?x=1", "/d"] {
        let response = purse.get(&shop.url(path)).await.unwrap();
        let charged = paid(&response).unwrap().channel.as_ref().unwrap().charged;
        assert_eq!(charged.map(number), Some(PRICE));
        assert_eq!(response.text().await.unwrap(), format!("goods at {path}"));
    }
    assert_eq!(kinds(&shop), ["deposit", "voucher", "voucher", "voucher", "voucher"]);
    let [channel] = &channels(&purse).await[..] else { panic!("one channel") };
    assert_eq!((number(channel.charged), number(channel.signed)), (5 * PRICE, 5 * PRICE));
    assert_eq!(number(channel.balance), 10 * PRICE, "what the offer says at least");
    assert_eq!(number(channel.exposed), 5 * PRICE, "what is neither spent nor back");
    assert_eq!((channel.broken.clone(), channel.deposit.clone()), (None, None));
    assert_eq!((till.charged(), spent(&purse.wallet).await), (5 * PRICE, 5 * PRICE));
    for (intent, record) in purchases(&purse.wallet).await {
        assert!(
            !intent.is_open && record.state == IntentState::Paid && record.alarms.is_empty(),
            "{record:?}"
        );
        assert_eq!(number(record.channel.unwrap().charged.unwrap()), PRICE);
    }
}

#[tokio::test]
async fn a_channel_is_topped_up_when_it_is_used_up_and_not_before() {
    let (till, purse) = (Till::new(), purse());
    let shop = shop(&till).await;
    for number in 0..12 {
        get(&purse, &shop, &format!("/{number}")).await;
    }
    let deposits: Vec<usize> =
        kinds(&shop).iter().enumerate().filter(|(_, kind)| *kind == "deposit").map(|(at, _)| at).collect();
    assert_eq!((deposits, till.deposits()), (vec![0, 10], 2));
    assert_eq!(number(channels(&purse).await[0].balance), 20 * PRICE);
}

#[tokio::test]
async fn a_voucher_is_held_at_its_ceiling_and_counts_at_what_was_charged() {
    let (till, ledger) = (Till::new(), Arc::new(MemoryLedger::new()));
    // Room for one at the full price, and for 0.7 more.
    let policy = Policy::default().budget_per(Window::Day, &"$0.0017".parse().unwrap());
    let purse = wallet(&ledger, policy);
    let shop = shop(&till).await;
    for part in ["/metered/30", "/metered/30", "/metered/0", "/metered/20"] {
        get(&purse, &shop, part).await;
    }
    purse.wallet.flush().await;
    let refused = purse.get(&shop.url("/metered/1")).await;
    assert!(matches!(error_of(&refused), PaymentError::Denied(_)), "0.8 are counted, and 1 would be held");
    assert_eq!((till.charged(), spent(&purse.wallet).await), (800, 800));
    let [channel] = &channels(&purse).await[..] else { panic!("one channel") };
    assert_eq!((number(channel.charged), number(channel.signed)), (800, 1_600));
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_voucher_and_charged_once() {
    let (till, purse) = (Till::new(), purse());
    let shop = faulty(&till, |till, seen, nth| {
        let answer = till.sell(seen, PRICE);
        (nth != 1).then_some(answer)
    })
    .await;
    assert_eq!(get(&purse, &shop, "/a").await, "goods at /a");
    assert_eq!(get(&purse, &shop, "/b").await, "goods at /b");
    assert_eq!((till.charged(), spent(&purse.wallet).await), (2 * PRICE, 2 * PRICE));
    assert_eq!((shop.payments().len(), shop.distinct_payments()), (3, 2));
}

#[tokio::test]
async fn another_request_learns_from_the_seller_what_a_lost_answer_cost_and_each_is_charged_once() {
    let (till, purse) = (Till::new(), purse());
    // The second payment and its repetition are charged, and nobody hears of it.
    let shop = faulty(&till, |till, seen, nth| {
        let answer = till.sell(seen, PRICE);
        (![1, 2].contains(&nth)).then_some(answer)
    })
    .await;
    get(&purse, &shop, "/a").await;
    let lost = purse.get(&shop.url("/b")).await;
    assert!(matches!(error_of(&lost), PaymentError::Unresolved { .. }));
    assert_eq!(till.charged(), 2 * PRICE);
    assert_eq!(get(&purse, &shop, "/c").await, "goods at /c");
    assert_eq!((till.charged(), spent(&purse.wallet).await), (3 * PRICE, 3 * PRICE));
    let mut states: Vec<_> =
        purchases(&purse.wallet).await.into_iter().map(|(_, record)| record.state).collect();
    states.sort_unstable();
    let paid = IntentState::Paid;
    assert_eq!(states, [paid, paid, paid, IntentState::Dead], "the first try of the third was not charged");
    let [channel] = &channels(&purse).await[..] else { panic!("one channel") };
    assert_eq!((number(channel.charged), number(channel.signed)), (3 * PRICE, 3 * PRICE));
    assert!(channel.broken.is_none());
}

#[tokio::test]
async fn a_request_that_never_arrived_is_outrun_by_the_next_and_bought_anew() {
    let (till, purse) = (Till::new(), purse());
    let shop =
        faulty(&till, |till, seen, nth| (![1, 2].contains(&nth)).then(|| till.sell(seen, PRICE))).await;
    get(&purse, &shop, "/a").await;
    assert!(purse.get(&shop.url("/b")).await.is_err());
    assert_eq!(get(&purse, &shop, "/c").await, "goods at /c");
    assert_eq!((till.charged(), spent(&purse.wallet).await), (2 * PRICE, 2 * PRICE));
    assert_eq!(get(&purse, &shop, "/b").await, "goods at /b");
    assert_eq!((till.charged(), spent(&purse.wallet).await), (3 * PRICE, 3 * PRICE));
}

#[tokio::test]
async fn the_same_request_gets_its_answer_though_another_waits_for_the_channel() {
    let (till, purse) = (Till::new(), purse());
    let shop = faulty(&till, |till, seen, nth| {
        let answer = till.sell(seen, PRICE);
        (![1, 2].contains(&nth)).then_some(answer)
    })
    .await;
    get(&purse, &shop, "/a").await;
    assert!(purse.get(&shop.url("/b")).await.is_err());
    let (other, same) = tokio::join!(get(&purse, &shop, "/c"), get(&purse, &shop, "/b"));
    assert_eq!((&*other, &*same), ("goods at /c", "goods at /b"));
    assert_eq!((till.charged(), spent(&purse.wallet).await), (3 * PRICE, 3 * PRICE));
    assert_eq!(till.charges.lock().unwrap().len(), 3, "an answer for each");
}

#[tokio::test]
async fn a_correction_without_our_own_voucher_is_not_believed() {
    let (till, purse) = (Till::new(), purse());
    let shop = faulty(&till, |till, seen, nth| {
        if nth == 0 {
            return Some(till.sell(seen, PRICE));
        }
        let mut offer = till.offer(PRICE);
        let id = seen.decoded().payload["voucher"]["channelId"].clone();
        let state = serde_json::json!({
            "channelId": id, "balance": "10000", "totalClaimed": "0", "withdrawRequestedAt": 0,
            "refundNonce": "0", "chargedCumulativeAmount": "9000",
        });
        let proof = serde_json::json!({ "signedMaxClaimable": "9000", "signature": format!("0x{}", "11".repeat(65)) });
        offer.extra.insert("channelState".to_owned(), state);
        offer.extra.insert("voucherState".to_owned(), proof);
        Some(refuse(seen, offer, "invalid_batch_settlement_evm_cumulative_amount_mismatch"))
    })
    .await;
    get(&purse, &shop, "/a").await;
    let response = purse.get(&shop.url("/b")).await.unwrap();
    assert_eq!(response.status(), 402);
    assert!(paid(&response).unwrap().suspicious.as_ref().unwrap().contains("no voucher of this wallet's"));
    let [channel] = &channels(&purse).await[..] else { panic!("one channel") };
    assert_eq!((number(channel.charged), number(channel.signed)), (PRICE, 2 * PRICE));
    assert_eq!(kinds(&shop).len(), 2, "and nothing is signed for it");
}

/// An answer that says something else than was agreed ends the channel: the next purchase is refused before anything is
/// signed, and the purchase has an alarm.
async fn ends_the_channel(
    lie: impl Fn(&mut serde_json::Map<String, serde_json::Value>) + Send + Sync + Copy + 'static,
) {
    let (till, purse) = (Till::new(), purse());
    let shop = faulty(&till, move |till, seen, nth| {
        let answer = till.sell(seen, PRICE);
        Some(if nth == 1 { lying(answer, |told| lie(&mut told.extra)) } else { answer })
    })
    .await;
    get(&purse, &shop, "/a").await;
    let response = purse.get(&shop.url("/b")).await.unwrap();
    assert!(paid(&response).unwrap().suspicious.as_ref().unwrap().contains("the channel is given up"));
    response.text().await.unwrap();
    let refused = purse.get(&shop.url("/c")).await;
    let PaymentError::Denied(offers) = error_of(&refused) else { panic!("{refused:?}") };
    assert!(offers[0].decision.to_string().starts_with("the channel with this seller is given up: "));
    assert_eq!(kinds(&shop).len(), 2);
    assert!(channels(&purse).await[0].broken.is_some());
    let alarmed: Vec<_> =
        purchases(&purse.wallet).await.into_iter().filter(|(_, record)| !record.alarms.is_empty()).collect();
    let [(_, record)] = &alarmed[..] else { panic!("{alarmed:?}") };
    assert_eq!(record.alarms[0].code, AlarmCode::Contradiction);
    assert_eq!(record.spent().map(number), Some(PRICE), "it counts at the most that it can cost");
}

fn state(extra: &mut serde_json::Map<String, serde_json::Value>, field: &str, value: &str) {
    extra["channelState"][field] = value.into();
}

#[tokio::test]
async fn an_answer_that_charges_more_than_was_agreed_ends_the_channel() {
    ends_the_channel(|extra| {
        extra.insert("chargedAmount".to_owned(), "1001".into());
        state(extra, "chargedCumulativeAmount", "2001");
    })
    .await;
}

#[tokio::test]
async fn an_answer_whose_sum_is_not_what_it_charged_ends_the_channel() {
    ends_the_channel(|extra| state(extra, "chargedCumulativeAmount", "2001")).await;
}

#[tokio::test]
async fn an_answer_by_which_money_is_missing_ends_the_channel() {
    ends_the_channel(|extra| state(extra, "balance", "9999")).await;
}

#[tokio::test]
async fn an_answer_of_another_channel_ends_the_channel() {
    ends_the_channel(|extra| state(extra, "channelId", &format!("0x{}", "22".repeat(32)))).await;
}

#[tokio::test]
async fn an_answer_by_which_more_was_claimed_than_charged_ends_the_channel() {
    ends_the_channel(|extra| state(extra, "totalClaimed", "2001")).await;
}

#[tokio::test]
async fn a_seller_that_takes_back_what_it_said_was_charged_ends_the_channel() {
    let (till, purse) = (Till::new(), purse());
    // It says that half was charged, and then, with our own voucher for a proof, that all was.
    let shop = faulty(&till, |till, seen, nth| {
        if nth < 2 {
            return Some(till.sell(seen, PRICE));
        }
        till.rows.lock().unwrap().values_mut().for_each(|row| row.charged = row.signed);
        Some(till.sell(seen, PRICE))
    })
    .await;
    get(&purse, &shop, "/a").await;
    get(&purse, &shop, "/metered/50").await;
    let response = purse.get(&shop.url("/c")).await.unwrap();
    assert_eq!(response.status(), 402);
    assert!(paid(&response).unwrap().suspicious.as_ref().unwrap().contains("told of 1500 before"));
    assert!(channels(&purse).await[0].broken.is_some());
}

#[tokio::test]
async fn deposits_and_terms_beyond_the_policy_are_refused_before_anything_is_signed() {
    let till = Till::new();
    let shop = shop(&till).await;
    for (rules, why) in [
        ("[channels]\nallow = false", "no channels may be opened"),
        (
            "[channels]\nmax_deposit = \"$0.009\"",
            "a deposit of 10000 atomic units is needed, and the limit is 9000",
        ),
        ("[channels]\nmax_exposure = \"$0.0099\"", "at most $0.0099 may be out in channels, and $0 is"),
        ("[channels]\nmax_withdraw_delay_seconds = 60", "its withdrawDelay is 86400, the limit is 60"),
        (
            "[channels]\nreceiver_authorizers = \"0x209693Bc6afc0C5328bA36FaF03C514EF312287C\"",
            "its receiverAuthorizer is not one that is listed",
        ),
        ("max_payment = \"$0.001\"", "a deposit of 10000 atomic units is needed, and the limit is 5000"),
        ("deny_schemes = \"batch-settlement\"", "the scheme is not allowed"),
    ] {
        let policy = PolicyFile::parse(rules).unwrap().policy(None).unwrap();
        let ledger = Arc::new(MemoryLedger::new());
        let purse = wallet(&ledger, policy);
        let refused = purse.get(&shop.url("/a")).await;
        let PaymentError::Denied(offers) = error_of(&refused) else { panic!("{rules}: {refused:?}") };
        assert_eq!(offers[0].decision.to_string(), why, "{rules}");
        assert!(purchases(&purse.wallet).await.iter().all(|(_, record)| record.state == IntentState::Void));
    }
    assert!(shop.payments().is_empty());
}

#[tokio::test]
async fn what_is_out_in_all_channels_together_stays_within_the_limit_and_what_is_spent_is_not_out() {
    let policy = PolicyFile::parse("[channels]\nmax_exposure = \"$0.015\"").unwrap().policy(None).unwrap();
    let purse = wallet(&Arc::new(MemoryLedger::new()), policy);
    let (one, other) = (Till::new(), Till::new());
    let first = shop(&one).await;
    // Another seller: another payee.
    let second = Shop::open(move |seen| {
        let mut offer = other.offer(PRICE);
        offer.pay_to = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC".to_owned();
        Some(challenge(&seen.bill(vec![offer])))
    })
    .await;
    get(&purse, &first, "/0").await;
    purse.wallet.flush().await;
    let refused = purse.get(&second.url("/x")).await;
    let PaymentError::Denied(offers) = error_of(&refused) else { panic!("{refused:?}") };
    assert_eq!(offers[0].decision.to_string(), "at most $0.015 may be out in channels, and $0.009 is");
    for number in 1..6 {
        get(&purse, &first, &format!("/{number}")).await;
    }
    purse.wallet.flush().await;
    let answer = purse.get(&second.url("/x")).await.unwrap();
    assert_eq!(answer.status(), 402, "now it is signed: the seller does not take it");
    assert_eq!(second.payments().len(), 1);
}

#[tokio::test]
async fn purchases_on_one_channel_take_turns() {
    let (till, purse) = (Till::new(), purse());
    let shop = shop(&till).await;
    let all = (0..8).map(|number| {
        let (purse, shop) = (&purse, &shop);
        async move { get(purse, shop, &format!("/{number}")).await }
    });
    futures_util::future::join_all(all).await;
    assert_eq!((till.charged(), spent(&purse.wallet).await), (8 * PRICE, 8 * PRICE));
    assert_eq!((till.deposits(), channels(&purse).await.len()), (1, 1));
    assert_eq!(kinds(&shop).len(), 8, "and none was corrected");
}

#[tokio::test]
async fn a_policy_may_allow_several_channels_with_one_seller() {
    let policy = PolicyFile::parse("[channels]\nparallel = 2").unwrap().policy(None).unwrap();
    let (till, purse) = (Till::new(), wallet(&Arc::new(MemoryLedger::new()), policy));
    let shop = shop(&till).await;
    let all = (0..8).map(|number| {
        let (purse, shop) = (&purse, &shop);
        async move { get(purse, shop, &format!("/{number}")).await }
    });
    futures_util::future::join_all(all).await;
    let channels = channels(&purse).await;
    let mut indices: Vec<u32> = channels.iter().map(|channel| channel.index).collect();
    indices.sort_unstable();
    assert_eq!(indices, [0, 1]);
    assert_eq!((till.charged(), spent(&purse.wallet).await), (8 * PRICE, 8 * PRICE));
}

#[tokio::test]
async fn two_wallets_on_one_ledger_share_a_channel() {
    let (till, ledger) = (Till::new(), Arc::new(MemoryLedger::new()));
    let shop = shop(&till).await;
    let purses = [wallet(&ledger, Policy::default()), wallet(&ledger, Policy::default())];
    let all = (0..10).map(|number| {
        let (purse, shop) = (&purses[number % 2], &shop);
        async move { get(purse, shop, &format!("/{number}")).await }
    });
    futures_util::future::join_all(all).await;
    purses[1].wallet.flush().await;
    assert_eq!((till.charged(), spent(&purses[0].wallet).await), (10 * PRICE, 10 * PRICE));
    assert_eq!((till.deposits(), channels(&purses[0]).await.len()), (1, 1));
    assert_eq!(kinds(&shop).len(), 10, "and none was corrected");
}

#[tokio::test]
async fn a_wallet_whose_ledger_is_lost_goes_on_by_its_own_voucher() {
    let till = Till::new();
    let shop = shop(&till).await;
    let before = purse();
    get(&before, &shop, "/a").await;
    get(&before, &shop, "/b").await;
    let anew = purse();
    assert_eq!(get(&anew, &shop, "/c").await, "goods at /c");
    let [channel] = &channels(&anew).await[..] else { panic!("one channel") };
    assert_eq!((number(channel.charged), number(channel.balance)), (3 * PRICE, 10 * PRICE));
    assert_eq!((till.charged(), till.deposits()), (3 * PRICE, 1), "what was signed into it was not needed");
}

/// A chain that says what a test says.
#[derive(Debug)]
struct Chain(BTreeMap<ChannelKey, Backing>);

impl ChannelWitness for Chain {
    fn covers(&self, network: &Network) -> bool {
        *network == Network::evm(31337)
    }

    fn backings<'a>(
        &'a self,
        channels: &'a [ChannelKey],
    ) -> BoxFuture<'a, Result<Vec<Backing>, FacilitatorError>> {
        let found = channels.iter().map(|key| self.0.get(key).copied().unwrap_or_default()).collect();
        Box::pin(async move { Ok(found) })
    }
}

#[tokio::test]
async fn a_wallet_whose_ledger_is_lost_reads_from_the_chain_what_is_in_its_channel() {
    let till = Till::new();
    let shop = shop(&till).await;
    let before = purse();
    get(&before, &shop, "/a").await;
    let key = channels(&before).await[0].key.clone();
    let backing = Backing { balance: (10 * PRICE).into(), claimed: PRICE.into(), ..Backing::default() };
    let chain = Arc::new(Chain([(key, backing)].into()));
    let anew = wallet_that_sees(&Arc::new(MemoryLedger::new()), Policy::default(), Some(chain));
    assert_eq!(get(&anew, &shop, "/b").await, "goods at /b");
    assert_eq!(kinds(&shop), ["deposit", "voucher"], "nothing was corrected");
    assert_eq!(till.charged(), 2 * PRICE);
}

#[tokio::test]
async fn what_is_left_comes_back_when_the_seller_is_asked() {
    let (till, purse) = (Till::new(), purse());
    let shop = shop(&till).await;
    get(&purse, &shop, "/a").await;
    let key = channels(&purse).await[0].key.clone();
    let told = purse.wallet.refund_channel(&key, Some(Amount::from(2 * PRICE))).await.unwrap();
    assert_eq!(told.amount.as_deref(), Some("2000"));
    assert_eq!(number(channels(&purse).await[0].balance), 8 * PRICE);
    purse.wallet.refund_channel(&key, None).await.unwrap();
    let [channel] = &channels(&purse).await[..] else { panic!("one channel") };
    assert_eq!((number(channel.balance), number(channel.charged)), (PRICE, PRICE));
    assert_eq!(number(channel.exposed), 9 * PRICE, "until the chain says that it is back");
    let nothing = purse.wallet.refund_channel(&key, None).await;
    assert!(matches!(nothing, Err(ChannelError::NothingLeft { .. })), "{nothing:?}");
    assert_eq!(get(&purse, &shop, "/b").await, "goods at /b", "and it can be used again");
    assert_eq!(kinds(&shop), ["deposit", "refund", "refund", "deposit"]);
}

#[tokio::test]
async fn whatever_is_lost_both_sides_say_in_the_end_that_the_same_was_charged() {
    let (till, purse) = (Till::new(), purse());
    let weather: [u8; 24] = *b"..a.b.aab..bba.a.abb.a..";
    let shop = faulty(&till, move |till, seen, nth| match weather.get(nth) {
        Some(b'b') => None,
        Some(b'a') => {
            till.sell(seen, PRICE);
            None
        }
        _ => Some(till.sell(seen, PRICE)),
    })
    .await;
    let mut answers = 0;
    for number in 0..10 {
        // Who got none asks again.
        for _ in 0..8 {
            if let Ok(response) = purse.get(&shop.url(&format!("/{number}"))).await {
                assert_eq!(response.text().await.unwrap(), format!("goods at /{number}"));
                answers += 1;
                break;
            }
        }
    }
    assert_eq!((answers, till.charges.lock().unwrap().len()), (10, 10), "one answer a charge");
    assert_eq!((till.charged(), spent(&purse.wallet).await), (10 * PRICE, 10 * PRICE));
    let [channel] = &channels(&purse).await[..] else { panic!("one channel") };
    assert_eq!((number(channel.charged), number(channel.signed)), (10 * PRICE, 10 * PRICE));
    assert!(channel.broken.is_none());
}

/// An owner who says what he is told to, and keeps the questions.
#[derive(Debug, Default)]
struct Owner {
    questions: std::sync::Mutex<Vec<Inquiry>>,
    says_no: std::sync::atomic::AtomicBool,
}

impl Approver for Owner {
    fn ask<'a>(&'a self, inquiry: &'a Inquiry) -> BoxFuture<'a, Result<(), NotApproved>> {
        self.questions.lock().unwrap().push(inquiry.clone());
        let is_no = self.says_no.load(Ordering::SeqCst);
        Box::pin(async move { if is_no { Err(NotApproved::Denied) } else { Ok(()) } })
    }
}

#[tokio::test]
async fn an_owner_is_asked_for_a_deposit_that_is_above_what_may_be_paid_and_not_for_its_vouchers() {
    let (till, ledger, owner) = (Till::new(), Arc::new(MemoryLedger::new()), Arc::new(Owner::default()));
    let shop = shop(&till).await;
    // A purchase costs a tenth of a cent, its deposit a cent.
    let rules = PolicyFile::parse("[approval]\nabove = \"$0.005\"\nby = \"terminal\"\n").unwrap();
    let signer = Arc::new(LocalSigner::from_hex(KEY).unwrap());
    let purse = Purse::of(|wallet| {
        let wallet = wallet.scheme(Arc::new(ChannelBuyer::new(signer, assets()))).ledger(ledger.clone());
        wallet.policy(rules.policy(None).unwrap()).terminal(owner.clone())
    });
    owner.says_no.store(true, Ordering::SeqCst);
    let refused = purse.get(&shop.url("/a")).await;
    let told = error_of(&refused).to_string();
    assert!(told.contains("puts $0.01 into a channel, above $0.005"), "{told}");
    assert!(kinds(&shop).is_empty(), "nothing was signed");
    let exposed: u64 = channels(&purse).await.iter().map(|channel| number(channel.exposed)).sum();
    assert_eq!((exposed, spent(&purse.wallet).await), (0, 0), "nothing is out");
    owner.says_no.store(false, Ordering::SeqCst);
    for path in ["/a", "/b", "/c"] {
        get(&purse, &shop, path).await;
    }
    assert_eq!(kinds(&shop), ["deposit", "voucher", "voucher"]);
    let questions = std::mem::take(&mut *owner.questions.lock().unwrap());
    assert_eq!(questions.len(), 2, "asked twice for the one deposit, and for no voucher");
    for question in &questions {
        assert_eq!((question.money(), question.deposited()), ("0.001 USDC".into(), Some("0.01 USDC".into())));
        assert_eq!(question.to_json()["deposit"]["amount"], "10000");
        assert!(question.to_string().contains("deposit  0.01 USDC, into a channel"), "{question}");
    }
    // The channel is used up with the tenth purchase: the next deposit is a question again.
    for more in 3..=10 {
        get(&purse, &shop, &format!("/{more}")).await;
    }
    assert_eq!((till.deposits(), owner.questions.lock().unwrap().len()), (2, 1));
}
