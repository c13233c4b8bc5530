//! Requests that are paid by voucher: what is charged, what is told, what is served again.

use std::sync::Arc;

use axum::http::Method;
use tollway_core::{Amount, Fingerprint};
use tollway_seller::{ChannelRules, Charge, Denial, StoredResponses};

use super::channel_double::{
    Answer, DELAY_SECONDS, DEPOSIT, NOW, Node, PRICE, Payer, Shop, builder, offer, paying,
};
use super::doubles::{BASE, PAY_TO};

const MISMATCH: &str = "invalid_batch_settlement_evm_cumulative_amount_mismatch";

#[tokio::test]
async fn a_request_costs_one_voucher_and_no_transaction() {
    let shop = Shop::open().await;
    let payer = Payer::funded(&shop).await;
    for number in 1..=5 {
        let answer = shop.get("/data", &payer.voucher(number * PRICE).await).await;
        assert!(answer.is_content(), "{answer:?}");
        assert_eq!(answer.charged(), (PRICE, number * PRICE));
        let receipt = answer.receipt().unwrap();
        assert!(receipt.success && receipt.transaction.is_empty());
        assert_eq!(receipt.amount.as_deref(), Some(""));
        assert_eq!(receipt.extra["channelState"]["balance"], DEPOSIT.to_string());
        assert_eq!(receipt.extra["channelState"]["channelId"], payer.channel.key.id());
        assert_eq!(answer.headers["cache-control"], "private");
    }
    assert_eq!(shop.vault.calls(), (1, 0), "the facilitator is asked about a channel once");
}

#[tokio::test]
async fn a_voucher_that_is_not_the_next_one_is_told_where_the_channel_stands() {
    let shop = Shop::open().await;
    let payer = Payer::funded(&shop).await;
    let first = payer.voucher(PRICE).await;
    assert!(shop.get("/data", &first).await.is_content());
    for ceiling in [1, PRICE - 1, PRICE + 1, 2 * PRICE - 1, 2 * PRICE + 1, 3 * PRICE] {
        let answer = shop.get("/data", &payer.voucher(ceiling).await).await;
        assert_eq!((answer.status, answer.code().as_str()), (402, MISMATCH), "{ceiling}");
        let required = answer.required();
        assert_eq!(required.error.as_deref(), Some(MISMATCH));
        let told = &required.accepts[0].extra;
        assert_eq!(told["channelState"]["chargedCumulativeAmount"], PRICE.to_string());
        assert_eq!(told["voucherState"]["signedMaxClaimable"], PRICE.to_string());
        assert_eq!(told["voucherState"]["signature"], first.payload["voucher"]["signature"]);
        assert!(answer.receipt().is_none());
    }
    assert_eq!(shop.runs(), 1);
    // Who repeats the corrected offer pays by it.
    let corrected = shop.get("/data", &payer.voucher(1).await).await.required();
    let answer = shop.get("/data", &payer.voucher_for(&corrected, (2 * PRICE).into()).await).await;
    assert!(answer.is_content());
}

#[tokio::test]
async fn a_handler_charges_less_or_nothing_and_never_more() {
    let shop = Shop::open().await;
    let payer = Payer::funded(&shop).await;
    let answer = shop.get("/partly", &payer.voucher_at(&shop, "/partly", PRICE).await).await;
    assert!(answer.is_content());
    assert_eq!(answer.charged(), (3_000, 3_000));
    let answer = shop.get("/free", &payer.voucher_at(&shop, "/free", 3_000 + PRICE).await).await;
    assert!(answer.is_content());
    assert_eq!(answer.charged(), (0, 3_000));
    let answer = shop.get("/greedy", &payer.voucher_at(&shop, "/greedy", 3_000 + PRICE).await).await;
    assert_eq!(answer.status, 500);
    let answer = shop.get("/data", &payer.voucher(3_000 + PRICE).await).await;
    assert_eq!(answer.charged(), (PRICE, 3_000 + PRICE));
}

#[tokio::test]
async fn a_handler_that_fails_leaves_the_channel_as_it_was() {
    let shop = Shop::open().await;
    let payer = Payer::funded(&shop).await;
    let failed = shop.get("/fails", &payer.voucher_at(&shop, "/fails", PRICE).await).await;
    assert_eq!((failed.status, failed.receipt()), (500, None));
    let answer = shop.get("/data", &payer.voucher(PRICE).await).await;
    assert_eq!(answer.charged(), (PRICE, PRICE));
    let failed = shop.get("/fails", &payer.voucher_at(&shop, "/fails", 2 * PRICE).await).await;
    assert_eq!(failed.status, 500);
    let answer = shop.get("/data", &payer.voucher(2 * PRICE).await).await;
    assert_eq!(answer.charged(), (PRICE, 2 * PRICE));
}

#[tokio::test]
async fn a_lost_answer_is_given_again_and_costs_nothing_again() {
    let shop = Shop::open().await;
    let payer = Payer::funded(&shop).await;
    let voucher = payer.voucher(PRICE).await;
    let first = shop.get("/data", &voucher).await;
    for _ in 0..5 {
        let again = shop.get("/data", &voucher).await;
        assert_eq!((again.status, &again.body), (200, &first.body));
        assert_eq!(again.charged(), (PRICE, PRICE));
        assert_eq!(again.headers["idempotent-replayed"], "true");
    }
    assert_eq!(shop.runs(), 1);
    let next = shop.get("/data", &payer.voucher(2 * PRICE).await).await;
    assert_eq!(next.charged(), (PRICE, 2 * PRICE));
}

#[tokio::test]
async fn what_was_not_kept_is_served_again_three_times_for_ten_minutes() {
    let shop = Shop::open_with(|builder| builder.stored_responses(StoredResponses::off())).await;
    let payer = Payer::funded(&shop).await;
    let voucher = payer.voucher(PRICE).await;
    for run in 1..=4 {
        let answer = shop.get("/data", &voucher).await;
        assert!(answer.is_content(), "{run}: {answer:?}");
        assert_eq!(answer.charged(), (PRICE, PRICE), "served again, it costs nothing again");
    }
    assert_eq!(shop.get("/data", &voucher).await.code(), MISMATCH);
    assert_eq!(shop.runs(), 4);
    let late = payer.voucher(2 * PRICE).await;
    assert!(shop.get("/data", &late).await.is_content());
    shop.clock.set(NOW.plus_seconds(601));
    assert_eq!(shop.get("/data", &late).await.code(), MISMATCH);
}

#[tokio::test]
async fn a_seller_that_lost_its_books_goes_by_the_chain_and_the_payers_word() {
    let (ledger, other) = (Shop::open().await, Shop::open().await);
    let payer = Payer::funded(&ledger).await;
    assert!(ledger.get("/data", &payer.voucher(PRICE).await).await.is_content());
    other.vault.change(&payer.channel.key, |backing| {
        (backing.balance, backing.claimed) = (DEPOSIT.into(), (5 * PRICE).into());
    });
    // Less than was claimed is told what was claimed.
    let answer = other.get("/data", &payer.voucher(5 * PRICE + 1).await).await;
    assert_eq!(answer.code(), MISMATCH);
    let told = answer.required().accepts[0].extra.clone();
    assert_eq!(told["channelState"]["chargedCumulativeAmount"], (5 * PRICE).to_string());
    assert!(!told.contains_key("voucherState"), "it has seen no voucher");
    // More is what the payer owns up to.
    let answer = other.get("/data", &payer.voucher(8 * PRICE).await).await;
    assert_eq!(answer.charged(), (PRICE, 8 * PRICE));
}

#[tokio::test]
async fn what_was_seen_of_the_chain_is_looked_at_again() {
    let shop = Shop::open().await;
    let payer = Payer::funded(&shop).await;
    assert!(shop.get("/data", &payer.voucher(PRICE).await).await.is_content());
    let age = DELAY_SECONDS / 6;
    shop.clock.set(NOW.plus_seconds(age));
    assert!(shop.get("/data", &payer.voucher(2 * PRICE).await).await.is_content());
    assert_eq!(shop.vault.calls(), (1, 0));
    shop.clock.set(NOW.plus_seconds(age + 1));
    assert!(shop.get("/data", &payer.voucher(3 * PRICE).await).await.is_content());
    assert_eq!(shop.vault.calls(), (2, 0));
    // What came in by another way is found when it is needed.
    let key = payer.channel.key.clone();
    shop.vault.change(&key, |backing| backing.balance = (3 * PRICE).into());
    shop.clock.set(NOW.plus_seconds(2 * age + 2));
    assert_eq!(shop.get("/data", &payer.voucher(4 * PRICE).await).await.status, 402);
    shop.vault.change(&key, |backing| backing.balance = DEPOSIT.into());
    shop.clock.set(NOW.plus_seconds(2 * age + 20));
    assert!(shop.get("/data", &payer.voucher(4 * PRICE).await).await.is_content());
}

#[tokio::test]
async fn one_402_offers_channels_beside_exact() {
    let shop = Shop::open_with(|builder| builder.accept(BASE, PAY_TO)).await;
    let required = shop.asked("/data").await;
    let schemes: Vec<_> = required.accepts.iter().map(|offer| offer.scheme.to_string()).collect();
    assert_eq!(schemes, ["batch-settlement", "exact"]);
    let payer = Payer::funded(&shop).await;
    assert!(shop.get("/data", &payer.voucher(PRICE).await).await.is_content());
    let corrected = shop.get("/data", &payer.voucher(1).await).await.required();
    assert!(corrected.accepts[0].extra.contains_key("channelState"));
    assert_eq!(corrected.accepts.len(), 2);
}

#[tokio::test]
async fn no_more_channels_are_written_down_than_may_be() {
    let shop = Shop::open_with(|builder| builder.channels(ChannelRules::default().max_channels(1))).await;
    let (one, other) = (Payer::funded(&shop).await, Payer::funded(&shop).await);
    assert!(shop.get("/data", &one.voucher(PRICE).await).await.is_content());
    let answer = shop.get("/data", &other.voucher(PRICE).await).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "paywall_full"));
    assert!(shop.get("/data", &one.voucher(2 * PRICE).await).await.is_content());
}

#[tokio::test]
async fn an_exclusive_request_has_its_channel_to_itself_among_all_sellers() {
    let ledger = Arc::new(tollway_ledger::MemoryLedger::new());
    let one = Shop::open_with(|builder| builder.ledger(ledger.clone())).await;
    let payer = Payer::funded(&one).await;
    let (vault, clock) = (Arc::clone(&one.vault), Arc::clone(&one.clock));
    let other = Shop::beside(vault, clock, |builder| builder.ledger(ledger.clone())).await;
    let voucher = payer.voucher_at(&one, "/alone", PRICE).await;
    let waiting = one.gate.acquire_many(1_000_000).await.unwrap();
    let (first, second) = tokio::join!(one.get("/alone", &voucher), async {
        while one.runs() == 0 {
            tokio::task::yield_now().await;
        }
        let second = other.get("/alone", &voucher).await;
        drop(waiting);
        second
    });
    assert_eq!(second.code(), "invalid_batch_settlement_evm_channel_busy");
    assert_eq!(second.headers["retry-after"], "1");
    assert_eq!((first.charged(), other.runs()), ((PRICE, PRICE), 0));
    // It is free again, also after a failure.
    let next = payer.voucher_at(&other, "/alone", 2 * PRICE).await;
    assert_eq!(other.get("/alone", &next).await.charged(), (PRICE, 2 * PRICE));
    assert!(one.get("/data", &payer.voucher(3 * PRICE).await).await.is_content());
}

#[tokio::test]
async fn other_transports_charge_by_channel_too() {
    let shop = Shop::open().await;
    let payer = Payer::funded(&shop).await;
    let url = "https://api.example.com/data";
    let offers = shop.paywall.price("$0.01").unwrap().offers().unwrap();
    let request = Fingerprint::of("tool", &url.parse().unwrap(), b"{}");
    let admit = async |ceiling: u64| {
        let payment = shop.paywall.check(&offers, payer.voucher(ceiling).await, url).unwrap();
        shop.paywall.admit(payment, request).await
    };
    let ticket = admit(PRICE).await.unwrap();
    assert!(!ticket.is_settled() && ticket.payer().starts_with("0x"));
    assert_eq!(ticket.requirements().amount, Amount::from(PRICE));
    assert!(matches!(admit(PRICE).await, Err(Denial::Busy(_))));
    let receipt = ticket.settle(Charge::Amount(7u64.into())).await.unwrap().settlement.unwrap();
    assert_eq!(receipt.extra["chargedAmount"], "7");
    // Dropped, it leaves the channel as it was.
    drop(admit(7 + PRICE).await.unwrap());
    assert!(admit(7 + PRICE).await.unwrap().release().await.settlement.is_none());
    let too_much = admit(7 + PRICE).await.unwrap().settle(Charge::Amount((PRICE + 1).into())).await;
    assert!(matches!(too_much, Err(Denial::Internal(_))));
    let receipt = admit(7 + PRICE).await.unwrap().settle(Charge::Full).await.unwrap().settlement.unwrap();
    assert_eq!(receipt.extra["channelState"]["chargedCumulativeAmount"], (7 + PRICE).to_string());
}

#[tokio::test]
async fn a_seller_with_a_node_of_its_own_takes_nobodys_word() {
    let shop = Shop::open().await;
    let node = Arc::new(Node(Arc::clone(&shop.vault)));
    let (vault, clock) = (Arc::clone(&shop.vault), Arc::clone(&shop.clock));
    let shop = Shop::beside(vault, clock, |builder| builder.channel_witness(node)).await;
    let payer = Payer::new(&shop).await;
    let rich = tollway_core::Backing { balance: Amount::MAX, ..Default::default() };
    *shop.vault.lie.lock().unwrap() = Some(rich);
    let answer = shop.get("/data", &payer.voucher(PRICE).await).await;
    assert_eq!(answer.code(), "invalid_batch_settlement_evm_cumulative_exceeds_balance");
    shop.vault.change(&payer.channel.key, |backing| backing.balance = DEPOSIT.into());
    assert!(shop.get("/data", &payer.voucher(PRICE).await).await.is_content());
    assert_eq!((shop.vault.calls(), shop.runs()), ((0, 0), 1));
}

#[tokio::test]
async fn a_seller_that_confirms_settlements_needs_a_node_for_channels() {
    #[derive(Debug)]
    struct Seer;
    impl tollway_core::SettlementWitness for Seer {
        fn covers(&self, _: &tollway_core::Network) -> bool {
            true
        }
        fn confirm<'a>(
            &'a self,
            _: &'a tollway_core::model::FacilitatorRequest,
            _: &'a str,
        ) -> tollway_core::BoxFuture<'a, tollway_core::Witnessed> {
            Box::pin(std::future::ready(tollway_core::Witnessed::Proved))
        }
    }
    let shop = Shop::open().await;
    let confirming =
        || builder(&shop.vault, &shop.clock).confirm_settlements(Arc::new(Seer), "$1".parse().unwrap());
    let error = confirming().start().await.unwrap_err();
    assert!(error.faults[0].contains("needs channel_witness()"), "{error}");
    let node = Arc::new(Node(Arc::clone(&shop.vault)));
    assert!(confirming().channel_witness(node).start().await.is_ok());
}

#[tokio::test]
async fn what_was_bought_is_given_again_to_nobody_else() {
    let shop = Shop::open().await;
    let payer = Payer::funded(&shop).await;
    let voucher = payer.voucher(PRICE).await;
    let send = async |who: &'static str| -> Answer {
        let mut request = paying(Method::GET, "/data", &voucher);
        request.headers_mut().insert("authorization", who.parse().unwrap());
        shop.send(request).await
    };
    assert!(send("alice").await.is_content());
    assert!(send("alice").await.is_content());
    assert_eq!(send("bob").await.code(), MISMATCH);
    assert_eq!(shop.get("/data", &voucher).await.code(), MISMATCH);
    assert_eq!(shop.runs(), 1);
    assert_eq!(offer(&payer.required).amount, Amount::from(PRICE));
}
