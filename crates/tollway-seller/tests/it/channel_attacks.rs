//! What is tried on sellers who are paid by channel. Throughout, nothing is served that could not be claimed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::json;
use tollway_core::{Amount, UnixTime};
use tollway_ledger::{Ledger, MemoryLedger};
use tollway_seller::StoredResponses;

use super::channel_double::{DELAY_SECONDS, DEPOSIT, Mishap, NOW, PRICE, Payer, Shop};
use super::stall::{Moment, faulty};

const BUSY: &str = "invalid_batch_settlement_evm_channel_busy";
const MISMATCH: &str = "invalid_batch_settlement_evm_cumulative_amount_mismatch";
const SCOPE: &str = "seller";

#[tokio::test]
async fn a_forced_close_burst_buys_nothing_that_could_not_be_claimed() {
    let shop = Shop::open().await;
    let payer = Payer::funded(&shop).await;
    assert!(shop.get("/data", &payer.voucher(PRICE).await).await.is_content());
    // The payer asks to withdraw right after the seller has looked, and spends as fast as it can until it has its money.
    shop.vault.change(&payer.channel.key, |backing| backing.withdraw_requested_at = Some(NOW));
    let (mut charged, mut last) = (PRICE, NOW);
    for second in 0..=DELAY_SECONDS {
        shop.clock.set(NOW.plus_seconds(second));
        if shop.get("/data", &payer.voucher(charged + PRICE).await).await.is_content() {
            (charged, last) = (charged + PRICE, NOW.plus_seconds(second));
        }
    }
    // What was served last could be claimed for half the delay.
    assert!(last < NOW.plus_seconds(DELAY_SECONDS / 2), "{last:?}");
    let refused = shop.get("/data", &payer.voucher(charged + PRICE).await).await;
    assert_eq!(refused.code(), "invalid_batch_settlement_evm_cumulative_exceeds_balance");
}

#[tokio::test]
async fn a_withdrawal_makes_a_channel_due_at_once() {
    let ledger = Arc::new(MemoryLedger::new());
    let shop = Shop::open_with(|builder| builder.ledger(ledger.clone())).await;
    let payer = Payer::funded(&shop).await;
    assert!(shop.get("/data", &payer.voucher(PRICE).await).await.is_content());
    let due = async || ledger.channel_get(SCOPE, &payer.channel.key).await.unwrap().unwrap().due;
    assert!(due().await > NOW);
    shop.vault.change(&payer.channel.key, |backing| backing.withdraw_requested_at = Some(NOW));
    let later = NOW.plus_seconds(DELAY_SECONDS / 6 + 1);
    shop.clock.set(later);
    assert!(shop.get("/data", &payer.voucher(2 * PRICE).await).await.is_content());
    assert!(due().await <= later);
}

#[tokio::test]
async fn a_voucher_buys_nothing_after_it_was_claimed() {
    let ledger = Arc::new(MemoryLedger::new());
    let shop = Shop::open_with(|builder| builder.ledger(ledger.clone())).await;
    let payer = Payer::funded(&shop).await;
    let vouchers = [payer.voucher(PRICE).await, payer.voucher(2 * PRICE).await];
    for voucher in &vouchers {
        assert!(shop.get("/data", voucher).await.is_content());
    }
    shop.vault.change(&payer.channel.key, |backing| backing.claimed = (2 * PRICE).into());
    shop.clock.set(NOW.plus_seconds(700));
    assert_eq!(shop.get("/data", &vouchers[0]).await.code(), MISMATCH);
    assert_eq!(shop.get("/data", &vouchers[1]).await.status, 402);
    // Nor at a seller that has lost its books.
    let (vault, clock) = (Arc::clone(&shop.vault), Arc::clone(&shop.clock));
    let other = Shop::beside(vault, clock, |builder| builder).await;
    for voucher in &vouchers {
        assert_eq!(other.get("/data", voucher).await.status, 402);
    }
    assert_eq!((shop.runs(), other.runs()), (2, 0));
}

#[tokio::test]
async fn a_voucher_buys_no_other_request() {
    let shop = Shop::open().await;
    let payer = Payer::funded(&shop).await;
    let mut voucher = payer.voucher(PRICE).await;
    assert!(shop.get("/data", &voucher).await.is_content());
    voucher.resource = None;
    for path in ["/other", "/data?more", "/cheap"] {
        assert_ne!(shop.get(path, &voucher).await.status, 200, "{path}");
    }
    assert_eq!(shop.runs(), 1);
}

#[tokio::test]
async fn one_unit_more_buys_nothing() {
    let shop = Shop::open().await;
    let payer = Payer::funded(&shop).await;
    assert!(shop.get("/data", &payer.voucher(PRICE).await).await.is_content());
    assert_eq!(shop.get("/data", &payer.voucher(PRICE + 1).await).await.code(), MISMATCH);
    // Nor on a channel that the seller has not met.
    let stranger = Payer::funded(&shop).await;
    assert_eq!(shop.get("/data", &stranger.voucher(1).await).await.code(), MISMATCH);
    assert_eq!(shop.runs(), 1);
}

#[tokio::test]
async fn what_is_served_again_is_held_to_the_same_rules() {
    let shop = Shop::open_with(|builder| builder.stored_responses(StoredResponses::off())).await;
    let payer = Payer::funded(&shop).await;
    let voucher = payer.voucher(PRICE).await;
    assert!(shop.get("/data", &voucher).await.is_content());
    shop.vault.change(&payer.channel.key, |backing| {
        backing.withdraw_requested_at = Some(UnixTime(NOW.0 - DELAY_SECONDS / 2));
    });
    shop.clock.set(NOW.plus_seconds(DELAY_SECONDS / 6 + 1));
    assert_eq!(shop.get("/data", &voucher).await.status, 402);
    assert_eq!(shop.runs(), 1);
}

#[tokio::test]
async fn fifty_copies_at_once_are_one_charge() {
    let ledger = Arc::new(MemoryLedger::new());
    let shop = Shop::open_with(|builder| builder.ledger(ledger.clone())).await;
    let payer = Payer::funded(&shop).await;
    let voucher = payer.voucher(PRICE).await;
    let waiting = shop.gate.acquire_many(1_000_000).await.unwrap();
    let copies = futures_util::future::join_all((0..50).map(|_| shop.get("/data", &voucher)));
    let release = async {
        while shop.runs() == 0 {
            tokio::task::yield_now().await;
        }
        drop(waiting);
    };
    let (answers, ()) = tokio::join!(copies, release);
    let served: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert!(!served.is_empty() && served.iter().all(|answer| answer.body == served[0].body));
    assert!(answers.iter().all(|answer| answer.status == 200 || answer.code() == BUSY));
    let row = ledger.channel_get(SCOPE, &payer.channel.key).await.unwrap().unwrap();
    assert_eq!((row.charged, shop.runs()), (PRICE.into(), 1));
}

#[tokio::test]
async fn fifty_different_requests_for_one_voucher_are_one_charge() {
    let shop = Shop::open().await;
    let payer = Payer::funded(&shop).await;
    let mut voucher = payer.voucher(PRICE).await;
    voucher.resource = None;
    let paths: Vec<String> = (0..50).map(|number| format!("/data?{number}")).collect();
    let answers = futures_util::future::join_all(paths.iter().map(|path| shop.get(path, &voucher))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert!(answers.iter().all(|answer| answer.status == 200 || [BUSY, MISMATCH].contains(&&*answer.code())));
    assert_eq!(shop.runs(), 1);
}

#[tokio::test]
async fn a_stale_row_in_memory_refuses_no_payer() {
    let ledger = Arc::new(MemoryLedger::new());
    let one = Shop::open_with(|builder| builder.ledger(ledger.clone())).await;
    let (vault, clock) = (Arc::clone(&one.vault), Arc::clone(&one.clock));
    let other = Shop::beside(vault, clock, |builder| builder.ledger(ledger.clone())).await;
    let payer = Payer::funded(&one).await;
    for round in 0..4 {
        let ceiling = 2 * round * PRICE;
        assert!(one.get("/data", &payer.voucher(ceiling + PRICE).await).await.is_content());
        let last = payer.voucher(ceiling + 2 * PRICE).await;
        assert!(other.get("/data", &last).await.is_content());
        // And what one has sold, the other does not sell again.
        assert_eq!(one.get("/data", &last).await.headers["idempotent-replayed"], "true");
    }
    let told = one.get("/data", &payer.voucher(1).await).await.required().accepts[0].extra.clone();
    assert_eq!(told["channelState"]["chargedCumulativeAmount"], (8 * PRICE).to_string());
}

#[tokio::test]
async fn two_sellers_on_one_ledger_charge_once() {
    let ledger = Arc::new(MemoryLedger::new());
    let one = Shop::open_with(|builder| builder.ledger(ledger.clone())).await;
    let (vault, clock) = (Arc::clone(&one.vault), Arc::clone(&one.clock));
    let other = Shop::beside(vault, clock, |builder| builder.ledger(ledger.clone())).await;
    let payer = Payer::funded(&one).await;
    assert!(one.get("/data", &payer.voucher(PRICE).await).await.is_content());
    for (path, number) in [("/data", 1), ("/data?other", 2)] {
        let mut voucher = payer.voucher((number + 1) * PRICE).await;
        voucher.resource = None;
        // Both have passed every rule when the first one charges.
        let gates =
            (one.gate.acquire_many(1_000_000).await.unwrap(), other.gate.acquire_many(1_000_000).await);
        let before = one.runs() + other.runs();
        let release = async {
            while one.runs() + other.runs() < before + 2 {
                tokio::task::yield_now().await;
            }
            drop(gates);
        };
        let (first, second, ()) =
            tokio::join!(one.get("/data", &voucher), other.get(path, &voucher), release);
        let both = [&first, &second];
        if path == "/data" {
            // The same request: who comes second gives the answer of the first.
            assert!(both.iter().all(|answer| answer.status == 200 && answer.body == first.body), "{both:?}");
            let copies = both.iter().filter(|answer| answer.headers.contains_key("idempotent-replayed"));
            assert_eq!(copies.count(), 1);
        } else {
            assert_eq!(both.iter().filter(|answer| answer.status == 200).count(), 1, "{both:?}");
            assert!(both.iter().any(|answer| answer.status == 402 && answer.code() == BUSY));
        }
        let row = ledger.channel_get(SCOPE, &payer.channel.key).await.unwrap().unwrap();
        assert_eq!(row.charged, ((number + 1) * PRICE).into());
    }
}

#[tokio::test]
async fn no_answer_leaves_before_its_charge_is_written() {
    let (ledger, memory) = faulty();
    let shop = Shop::open_with(|builder| builder.ledger(ledger.clone())).await;
    let payer = Payer::funded(&shop).await;
    assert!(shop.get("/data", &payer.voucher(PRICE).await).await.is_content());
    let charged = async || memory.channel_get(SCOPE, &payer.channel.key).await.unwrap().unwrap().charged;
    let voucher = payer.voucher(2 * PRICE).await;
    ledger.interposer().next("channel_charge", Moment::Before);
    let answer = shop.get("/data", &voucher).await;
    assert_eq!((answer.status, charged().await), (503, PRICE.into()));
    assert!(!answer.body.starts_with(b"content"));
    // A write whose answer is lost counts, and what it bought is given when it is asked for again.
    ledger.interposer().next("channel_charge", Moment::After);
    assert_eq!(shop.get("/data", &voucher).await.status, 503);
    assert_eq!(charged().await, (2 * PRICE).into());
    let runs = shop.runs();
    let again = shop.get("/data", &voucher).await;
    assert!(again.is_content());
    assert_eq!((again.charged(), shop.runs()), ((PRICE, 2 * PRICE), runs));
    assert!(shop.get("/data", &payer.voucher(3 * PRICE).await).await.is_content());
}

#[tokio::test]
async fn a_seller_that_dies_between_handler_and_write_has_charged_nothing() {
    let ledger = Arc::new(MemoryLedger::new());
    let one = Shop::open_with(|builder| builder.ledger(ledger.clone())).await;
    let (vault, clock) = (Arc::clone(&one.vault), Arc::clone(&one.clock));
    let payer = Payer::funded(&one).await;
    let voucher = payer.voucher(PRICE).await;
    let waiting = one.gate.acquire_many(1_000_000).await.unwrap();
    let dies = async {
        while one.runs() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = one.get("/data", &voucher) => unreachable!("it waits: {answer:?}"),
        () = dies => {}
    }
    assert!(ledger.channel_get(SCOPE, &payer.channel.key).await.unwrap().is_none());
    drop(waiting);
    drop(one);
    // Another one sells it, and when that has died too, a third gives the answer that it sold.
    let two =
        Shop::beside(Arc::clone(&vault), Arc::clone(&clock), |builder| builder.ledger(ledger.clone())).await;
    let sold = two.get("/data", &voucher).await;
    assert_eq!(sold.charged(), (PRICE, PRICE));
    drop(two);
    let three = Shop::beside(vault, clock, |builder| builder.ledger(ledger.clone())).await;
    let given = three.get("/data", &voucher).await;
    assert_eq!((given.status, given.body, three.runs()), (200, sold.body, 0));
    assert!(three.get("/data", &payer.voucher(2 * PRICE).await).await.is_content());
}

#[tokio::test]
async fn a_ledger_that_is_down_serves_nothing() {
    let (ledger, _memory) = faulty();
    let shop = Shop::open_with(|builder| builder.ledger(ledger.clone())).await;
    let payer = Payer::funded(&shop).await;
    assert!(shop.get("/data", &payer.voucher(PRICE).await).await.is_content());
    ledger.interposer().is_down.store(true, Ordering::SeqCst);
    for payment in
        [payer.voucher(2 * PRICE).await, payer.deposit(2 * PRICE).await, payer.refund(PRICE, None).await]
    {
        assert_eq!(shop.get("/data", &payment).await.status, 503);
    }
    ledger.interposer().is_down.store(false, Ordering::SeqCst);
    assert!(shop.get("/data", &payer.voucher(2 * PRICE).await).await.is_content());
    assert_eq!(shop.vault.calls().1, 0);
}

#[tokio::test]
async fn a_claim_in_between_costs_no_payer_its_answer() {
    let ledger = Arc::new(MemoryLedger::new());
    let shop = Shop::open_with(|builder| builder.ledger(ledger.clone())).await;
    let payer = Payer::funded(&shop).await;
    assert!(shop.get("/data", &payer.voucher(PRICE).await).await.is_content());
    // Who claims writes the row while a request of the channel is under way.
    let waiting = shop.gate.acquire_many(1_000_000).await.unwrap();
    let runs = shop.runs();
    let voucher = payer.voucher(2 * PRICE).await;
    let claim = async {
        while shop.runs() == runs {
            tokio::task::yield_now().await;
        }
        let row = ledger.channel_get(SCOPE, &payer.channel.key).await.unwrap().unwrap();
        assert!(ledger.channel_put(row, None, NOW).await.unwrap());
        drop(waiting);
    };
    let (answer, ()) = tokio::join!(shop.get("/data", &voucher), claim);
    assert_eq!(answer.charged(), (PRICE, 2 * PRICE));
}

#[tokio::test]
async fn a_channel_that_is_not_of_the_offer_pays_nothing() {
    let shop = Shop::open().await;
    let payer = Payer::funded(&shop).await;
    let voucher = payer.voucher(PRICE).await;
    let other = format!("0x{}", "22".repeat(20));
    for (part, field, value, code) in [
        ("channelConfig", "receiver", json!(other), "channel_id_mismatch"),
        ("channelConfig", "receiverAuthorizer", json!(other), "channel_id_mismatch"),
        ("channelConfig", "token", json!(other), "channel_id_mismatch"),
        ("channelConfig", "withdrawDelay", json!(86_400), "channel_id_mismatch"),
        ("channelConfig", "payer", json!(other), "channel_id_mismatch"),
        ("voucher", "channelId", json!(format!("0x{}", "33".repeat(32))), "channel_id_mismatch"),
        ("voucher", "maxClaimableAmount", json!((PRICE + 1).to_string()), "voucher_signature"),
        ("voucher", "signature", json!(format!("0x{}", "44".repeat(65))), "voucher_signature"),
    ] {
        let mut forged = voucher.clone();
        forged.payload[part][field] = value;
        let answer = shop.get("/data", &forged).await;
        let code = format!("invalid_batch_settlement_evm_{code}");
        assert_eq!((answer.status, answer.code()), (402, code), "{part}.{field}");
    }
    // A channel that is good for other terms is good for no others.
    for (field, value, code) in [
        ("payTo", json!(other), "receiver_mismatch"),
        ("receiverAuthorizer", json!(other), "receiver_authorizer_mismatch"),
        ("withdrawDelay", json!(1_800), "withdraw_delay_mismatch"),
    ] {
        let mut required = payer.required.clone();
        let offer = &mut required.accepts[0];
        match field {
            "payTo" => offer.pay_to = other.clone(),
            _ => drop(offer.extra.insert(field.to_owned(), value)),
        }
        let channel = tollway_core::BuyerChannelScheme::channel(&payer.scheme, offer, 0).unwrap();
        shop.vault.change(&channel.key, |backing| backing.balance = DEPOSIT.into());
        let theirs = Payer { scheme: payer.scheme.clone(), required, channel };
        let mut payment = theirs.voucher(PRICE).await;
        // It says that it accepts what was offered.
        payment.accepted = voucher.accepted.clone();
        let answer = shop.get("/data", &payment).await;
        let code = format!("invalid_batch_settlement_evm_{code}");
        assert_eq!((answer.status, answer.code()), (402, code), "{field}");
    }
    assert_eq!((shop.vault.calls(), shop.runs()), ((0, 0), 0));
}

#[tokio::test]
async fn amounts_at_the_edge_begin_nowhere_anew() {
    let shop = Shop::open().await;
    let payer = Payer::funded(&shop).await;
    let edge = Amount::from_atomic(tollway_evm::U256::from(u128::MAX));
    shop.vault.change(&payer.channel.key, |backing| {
        (backing.balance, backing.claimed) = (edge, edge.checked_sub(PRICE.into()).unwrap());
    });
    let last = payer.voucher_for(&payer.required, edge).await;
    assert!(shop.get("/data", &last).await.is_content());
    for ceiling in [0, 1, PRICE - 1, PRICE] {
        assert_eq!(shop.get("/data", &payer.voucher(ceiling).await).await.code(), MISMATCH, "{ceiling}");
    }
    let mut beyond = payer.voucher(PRICE).await;
    for ceiling in [edge.checked_add(1u64.into()).unwrap(), Amount::MAX] {
        beyond.payload["voucher"]["maxClaimableAmount"] = json!(ceiling.to_string());
        assert!([400, 402].contains(&shop.get("/data", &beyond).await.status));
    }
    assert_eq!(shop.runs(), 1);
}

#[tokio::test]
async fn strangers_with_channels_of_nothing_leave_nothing_behind() {
    let ledger = Arc::new(MemoryLedger::new());
    let shop = Shop::open_with(|builder| builder.ledger(ledger.clone())).await;
    for _ in 0..200 {
        let stranger = Payer::new(&shop).await;
        assert_eq!(shop.get("/data", &stranger.voucher(PRICE).await).await.status, 402);
        shop.vault.then(Mishap::Fails);
        assert_eq!(shop.get("/data", &stranger.deposit(PRICE).await).await.status, 402);
    }
    assert_eq!((ledger.channel_count(SCOPE).await, shop.runs()), (Ok(0), 0));
}

#[tokio::test]
async fn an_account_whose_code_signs_is_not_believed_for_what_is_claimed_later() {
    let shop = Shop::open().await;
    let payer = Payer::funded(&shop).await;
    let mut voucher = payer.voucher(PRICE).await;
    voucher.payload["channelConfig"]["payerAuthorizer"] = json!(format!("0x{}", "00".repeat(20)));
    let config = voucher.payload["channelConfig"].as_object().unwrap();
    let config = tollway_evm::batch_settlement::ChannelConfig::read(config).unwrap();
    voucher.payload["voucher"]["channelId"] = json!(config.id(8453).to_string());
    let answer = shop.get("/data", &voucher).await;
    assert_eq!((answer.status, shop.vault.calls(), shop.runs()), (402, (0, 0), 0));
}
