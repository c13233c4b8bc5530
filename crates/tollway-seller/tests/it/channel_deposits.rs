//! Money that comes into a channel with a request, and goes back by one.

use super::channel_double::{DEPOSIT, Mishap, NOW, PRICE, Payer, Shop};

#[tokio::test]
async fn a_deposit_comes_first_and_pays_for_its_request() {
    let shop = Shop::open().await;
    let payer = Payer::new(&shop).await;
    let answer = shop.get("/data", &payer.deposit(PRICE).await).await;
    assert!(answer.is_content(), "{answer:?}");
    assert_eq!(answer.charged(), (PRICE, PRICE));
    let receipt = answer.receipt().unwrap();
    assert!(receipt.transaction.starts_with("0x"));
    assert_eq!(receipt.amount, Some(DEPOSIT.to_string()));
    assert_eq!(receipt.extra["channelState"]["balance"], DEPOSIT.to_string());
    assert!(shop.get("/data", &payer.voucher(2 * PRICE).await).await.is_content());
    // Another one adds to it.
    let answer = shop.get("/data", &payer.deposit(3 * PRICE).await).await;
    assert_eq!(answer.receipt().unwrap().extra["channelState"]["balance"], (2 * DEPOSIT).to_string());
    assert_eq!(shop.vault.calls(), (2, 2));
}

#[tokio::test]
async fn a_deposit_that_fails_leaves_nothing_behind() {
    let shop = Shop::open().await;
    let payer = Payer::new(&shop).await;
    let deposit = payer.deposit(PRICE).await;
    shop.vault.then(Mishap::Fails);
    let answer = shop.get("/data", &deposit).await;
    assert_eq!((answer.status, shop.runs()), (402, 0));
    assert!(!answer.receipt().unwrap().success);
    assert_eq!(shop.get("/data", &payer.voucher(PRICE).await).await.status, 402);
    assert!(shop.get("/data", &deposit).await.is_content());
}

#[tokio::test]
async fn a_deposit_whose_fate_is_unknown_is_asked_about_and_never_made_twice() {
    for mishaps in [
        vec![Mishap::Pends, Mishap::Pends],
        vec![Mishap::Silent],
        vec![Mishap::Lost],
        vec![Mishap::Unreachable],
    ] {
        let shop = Shop::open().await;
        let payer = Payer::new(&shop).await;
        let deposit = payer.deposit(PRICE).await;
        mishaps.iter().for_each(|mishap| shop.vault.then(*mishap));
        let answer = shop.get("/data", &deposit).await;
        assert_eq!((answer.status, shop.runs()), (503, 0), "{mishaps:?}");
        let is_pending = mishaps[0] == Mishap::Pends;
        assert_eq!(answer.code() == "settlement_pending", is_pending);
        // Also when it has expired since.
        shop.clock.set(NOW.plus_seconds(400));
        let answer = shop.get("/data", &deposit).await;
        assert!(answer.is_content(), "{mishaps:?}: {answer:?}");
        assert_eq!(answer.charged(), (PRICE, PRICE));
        let backing = shop.vault.backing(payer.channel.key.id());
        assert_eq!((backing.balance, shop.vault.calls().0), (DEPOSIT.into(), 1), "{mishaps:?}");
    }
}

#[tokio::test]
async fn a_deposit_that_expired_before_anybody_asked_is_refused() {
    let shop = Shop::open().await;
    let payer = Payer::new(&shop).await;
    let deposit = payer.deposit(PRICE).await;
    shop.clock.set(NOW.plus_seconds(400));
    let answer = shop.get("/data", &deposit).await;
    assert_eq!((answer.status, shop.vault.calls(), shop.runs()), (402, (0, 0), 0));
}

#[tokio::test]
async fn a_deposit_that_pends_once_is_waited_for() {
    let shop = Shop::open().await;
    let payer = Payer::new(&shop).await;
    shop.vault.then(Mishap::Pends);
    assert!(shop.get("/data", &payer.deposit(PRICE).await).await.is_content());
    assert_eq!(shop.vault.calls(), (1, 2));
}

#[tokio::test]
async fn the_same_deposit_again_is_the_same_purchase() {
    let shop = Shop::open().await;
    let payer = Payer::new(&shop).await;
    let deposit = payer.deposit(PRICE).await;
    let first = shop.get("/data", &deposit).await;
    let again = shop.get("/data", &deposit).await;
    assert_eq!((again.status, &again.body, again.charged()), (200, &first.body, (PRICE, PRICE)));
    assert_eq!(shop.vault.backing(payer.channel.key.id()).balance, DEPOSIT.into());
    assert_eq!((shop.vault.calls(), shop.runs()), ((1, 1), 1));
}

#[tokio::test]
async fn a_deposit_stays_where_its_handler_fails_and_its_payer_is_told() {
    let shop = Shop::open().await;
    let mut payer = Payer::new(&shop).await;
    payer.required = shop.asked("/fails").await;
    let deposit = payer.deposit(PRICE).await;
    let failed = shop.get("/fails", &deposit).await;
    assert_eq!(failed.status, 500);
    assert_eq!(failed.charged(), (0, 0));
    let receipt = failed.receipt().unwrap();
    assert!(receipt.success && receipt.transaction.starts_with("0x"));
    // The same payment goes on; it is no second deposit.
    assert_eq!(shop.get("/fails", &deposit).await.status, 500);
    assert_eq!(shop.vault.calls(), (1, 1));
    payer.required = shop.asked("/data").await;
    assert_eq!(shop.get("/data", &payer.voucher(PRICE).await).await.charged(), (PRICE, PRICE));
}

#[tokio::test]
async fn a_facilitator_that_says_deposited_and_holds_nothing_is_not_believed() {
    let shop = Shop::open().await;
    let payer = Payer::new(&shop).await;
    let deposit = payer.deposit(PRICE).await;
    *shop.vault.lie.lock().unwrap() = Some(tollway_core::Backing::default());
    let answer = shop.get("/data", &deposit).await;
    assert_eq!((answer.status, shop.runs()), (502, 0));
}

#[tokio::test]
async fn a_refund_gives_back_what_is_left_and_runs_no_handler() {
    let shop = Shop::open().await;
    let payer = Payer::funded(&shop).await;
    assert!(shop.get("/data", &payer.voucher(PRICE).await).await.is_content());
    let answer = shop.get("/data", &payer.refund(PRICE, Some(20_000)).await).await;
    assert_eq!((answer.status, shop.runs()), (200, 1), "{answer:?}");
    let receipt = answer.receipt().unwrap();
    assert_eq!((receipt.amount.as_deref(), receipt.success), (Some("20000"), true));
    assert_eq!(receipt.extra["channelState"]["chargedCumulativeAmount"], PRICE.to_string());
    assert_eq!(receipt.extra["channelState"]["totalClaimed"], PRICE.to_string());
    assert!(!receipt.extra.contains_key("chargedAmount"));
    assert!(shop.get("/data", &payer.voucher(2 * PRICE).await).await.is_content());
    // All of it.
    let answer = shop.get("/data", &payer.refund(2 * PRICE, None).await).await;
    assert_eq!(answer.status, 200);
    let backing = shop.vault.backing(payer.channel.key.id());
    assert_eq!((backing.balance, backing.claimed), ((2 * PRICE).into(), (2 * PRICE).into()));
    let empty = shop.get("/data", &payer.refund(2 * PRICE, None).await).await;
    assert_eq!(empty.code(), "invalid_batch_settlement_evm_refund_no_balance");
    // And it may begin again.
    let answer = shop.get("/data", &payer.deposit(3 * PRICE).await).await;
    assert_eq!(answer.charged(), (PRICE, 3 * PRICE));
}

#[tokio::test]
async fn a_refund_is_of_what_is_left_of_a_channel_as_it_stands() {
    let shop = Shop::open().await;
    let payer = Payer::funded(&shop).await;
    assert!(shop.get("/data", &payer.voucher(PRICE).await).await.is_content());
    let astray = shop.get("/data", &payer.refund(0, None).await).await;
    assert_eq!(astray.code(), "invalid_batch_settlement_evm_cumulative_amount_mismatch");
    assert!(astray.required().accepts[0].extra.contains_key("voucherState"));
    let much = shop.get("/data", &payer.refund(PRICE, Some(DEPOSIT - PRICE + 1)).await).await;
    assert_eq!(much.code(), "invalid_batch_settlement_evm_refund_amount_invalid");
    assert_eq!(shop.vault.calls().1, 0);
}

#[tokio::test]
async fn what_may_be_on_its_way_back_backs_no_voucher() {
    for mishap in [Mishap::Silent, Mishap::Lost] {
        let shop = Shop::open().await;
        let payer = Payer::funded(&shop).await;
        assert!(shop.get("/data", &payer.voucher(PRICE).await).await.is_content());
        let refund = payer.refund(PRICE, None).await;
        shop.vault.then(mishap);
        assert_eq!(shop.get("/data", &refund).await.code(), "facilitator_unavailable");
        let answer = shop.get("/data", &payer.voucher(2 * PRICE).await).await;
        assert_eq!(answer.code(), "invalid_batch_settlement_evm_cumulative_exceeds_balance", "{mishap:?}");
        let (again, left) = (shop.get("/data", &refund).await, shop.vault.backing(payer.channel.key.id()));
        assert_eq!(left.balance, PRICE.into(), "once");
        let is_told = if mishap == Mishap::Silent { 200 } else { 402 };
        assert_eq!((again.status, shop.runs()), (is_told, 1));
    }
}

#[tokio::test]
async fn a_refund_that_fails_leaves_the_channel_good() {
    let shop = Shop::open().await;
    let payer = Payer::funded(&shop).await;
    assert!(shop.get("/data", &payer.voucher(PRICE).await).await.is_content());
    shop.vault.then(Mishap::Fails);
    let answer = shop.get("/data", &payer.refund(PRICE, None).await).await;
    assert_eq!((answer.status, answer.receipt().unwrap().success), (402, false));
    assert!(shop.get("/data", &payer.voucher(2 * PRICE).await).await.is_content());
}
