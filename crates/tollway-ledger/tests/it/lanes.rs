//! Who may sign.

use tollway_core::{Network, UnixTime};
use tollway_ledger::{
    LaneLease, LaneTransaction, Ledger, Member, SentResult, SettlementState, TransactionChange,
    TransactionState,
};

use crate::records::{
    LATER, NOW, UNTIL, abandoned, advance, facilitator, key, network, payment, sent, signed,
};

async fn acquire(ledger: &dyn Ledger, member: &Member, now: UnixTime) -> Option<LaneLease> {
    ledger.lane_acquire(&network(), "0x1", member, now).await.unwrap()
}

pub(crate) async fn a_lane_has_one_holder_and_its_token_grows(ledger: &dyn Ledger) {
    let (first, second) = (facilitator(ledger, "a").await, facilitator(ledger, "b").await);
    ledger.member_renew(&second, NOW, UnixTime(2_000)).await.unwrap();
    let lease = acquire(ledger, &first, NOW).await.unwrap();
    assert_eq!(acquire(ledger, &first, NOW).await, Some(lease.clone()), "its own lease again");
    assert_eq!(acquire(ledger, &second, NOW).await, None);
    let elsewhere = ledger.lane_acquire(&Network::evm(1), "0x1", &second, NOW).await.unwrap();
    assert!(elsewhere.is_some(), "the same key on another network is another lane");
    ledger.lane_release(&lease).await.unwrap();
    let next = acquire(ledger, &first, NOW).await.unwrap();
    assert!(next.token > lease.token);
    ledger.lane_release(&lease).await.unwrap();
    assert_eq!(acquire(ledger, &second, NOW).await, None, "a lease that is over releases nothing");
    assert_eq!(
        acquire(ledger, &facilitator(ledger, "late").await, UNTIL).await,
        None,
        "the dead take nothing"
    );
    let taken = acquire(ledger, &second, UNTIL).await.unwrap();
    assert!(taken.token > next.token);
    assert!(!ledger.member_renew(&first, UNTIL, UnixTime(2_000)).await.unwrap());
}

pub(crate) async fn who_lost_the_lane_can_write_no_transaction(ledger: &dyn Ledger) {
    let (first, second) = (facilitator(ledger, "a").await, facilitator(ledger, "b").await);
    ledger.member_renew(&second, NOW, UnixTime(2_000)).await.unwrap();
    ledger.settlement_insert(payment(&first, "k")).await.unwrap();
    let lease = acquire(ledger, &first, NOW).await.unwrap();
    let taken = acquire(ledger, &second, LATER).await.unwrap();
    let late = ledger.settlement_sent(sent(&lease, "0x1", 1, &[("k", 1)])).await.unwrap();
    assert_eq!(late, SentResult::Fenced);
    assert_eq!(ledger.lane_transactions(&lease, LATER).await.unwrap(), None);
    let row = ledger.settlement_get(&key("k")).await.unwrap().unwrap();
    assert_eq!((row.state, row.transactions), (SettlementState::Reserved, Vec::new()));
    assert_eq!(ledger.lane_transactions(&taken, LATER).await.unwrap(), Some(Vec::new()));
    ledger.lane_release(&taken).await.unwrap();
    let released = ledger.settlement_sent(sent(&taken, "0x1", 1, &[("k", 1)])).await.unwrap();
    assert_eq!(released, SentResult::Fenced);
}

pub(crate) async fn a_transaction_is_written_with_all_its_payments_or_not_at_all(ledger: &dyn Ledger) {
    let member = facilitator(ledger, "a").await;
    let lease = acquire(ledger, &member, NOW).await.unwrap();
    for name in ["a", "b", "ended"] {
        ledger.settlement_insert(payment(&member, name)).await.unwrap();
    }
    ledger.settlement_advance(vec![advance("ended", 1, abandoned())], Vec::new(), NOW).await.unwrap();
    let mixed = sent(&lease, "0x1", 1, &[("a", 1), ("b", 2), ("ended", 1), ("none", 1)]);
    let stale = SentResult::Stale(vec![key("b"), key("ended"), key("none")]);
    assert_eq!(ledger.settlement_sent(mixed).await.unwrap(), stale);
    assert_eq!(ledger.lane_transactions(&lease, NOW).await.unwrap(), Some(Vec::new()));
    // Who did not hear the answer writes it again.
    for _ in 0..2 {
        let whole = sent(&lease, "0x1", 1, &[("b", 1), ("a", 1)]);
        assert_eq!(ledger.settlement_sent(whole).await.unwrap(), SentResult::Written);
    }
    let expected =
        LaneTransaction { signed: signed("0x1", 1), state: TransactionState::Open, signed_at: NOW };
    let listed = ledger.lane_transactions(&lease, NOW).await.unwrap().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].0, expected);
    let keys: Vec<_> = listed[0].1.iter().map(|row| row.key.clone()).collect();
    assert_eq!(keys, [key("a"), key("b")]);
    for row in &listed[0].1 {
        assert_eq!(row.state, SettlementState::Sent { transaction: "0x1".to_owned() });
        assert_eq!(row.transactions, ["0x1"]);
    }
}

pub(crate) async fn who_takes_a_lane_takes_its_payments(ledger: &dyn Ledger) {
    let (first, second) = (facilitator(ledger, "a").await, facilitator(ledger, "b").await);
    ledger.member_renew(&second, NOW, UnixTime(2_000)).await.unwrap();
    let lease = acquire(ledger, &first, NOW).await.unwrap();
    for name in ["a", "b", "done"] {
        ledger.settlement_insert(payment(&first, name)).await.unwrap();
    }
    ledger.settlement_sent(sent(&lease, "0xb", 2, &[("b", 1)])).await.unwrap();
    ledger.settlement_sent(sent(&lease, "0xa", 1, &[("a", 1), ("done", 1)])).await.unwrap();
    ledger.settlement_sent(sent(&lease, "0xbumped", 1, &[("a", 1), ("done", 1)])).await.unwrap();
    let included = TransactionChange { hash: "0xbumped".to_owned(), state: TransactionState::Included };
    let steps = vec![advance("done", 1, abandoned())];
    ledger.settlement_advance(steps, vec![included], NOW).await.unwrap();
    let taken = acquire(ledger, &second, LATER).await.unwrap();
    let listed = ledger.lane_transactions(&taken, LATER).await.unwrap().unwrap();
    let names: Vec<_> = listed.iter().map(|(row, _)| row.signed.hash.as_str()).collect();
    assert_eq!(names, ["0xa", "0xbumped", "0xb"], "by nonce, then age");
    assert_eq!(listed[1].0.state, TransactionState::Included);
    let [a, done] = &listed[0].1[..] else { panic!("two payments: {listed:?}") };
    assert_eq!((&a.member, a.attempt), (&second, 2));
    assert_eq!(a.transactions, ["0xa", "0xbumped"]);
    assert_eq!((&done.member, done.attempt), (&first, 1), "what has ended is nobody's");
    let late = vec![advance("b", 1, abandoned()), advance("b", 2, abandoned())];
    assert_eq!(ledger.settlement_advance(late, Vec::new(), LATER).await.unwrap(), [false, true]);
    assert!(!ledger.member_renew(&first, LATER, UnixTime(2_000)).await.unwrap());
}

pub(crate) async fn what_is_final_stays_final(ledger: &dyn Ledger) {
    let member = facilitator(ledger, "a").await;
    let lease = acquire(ledger, &member, NOW).await.unwrap();
    ledger.settlement_sent(sent(&lease, "0x1", 1, &[])).await.unwrap();
    ledger.settlement_sent(sent(&lease, "0x2", 2, &[])).await.unwrap();
    for (state, count) in [
        (TransactionState::Lost, 1),
        (TransactionState::Included, 2),
        (TransactionState::Final, 1),
        (TransactionState::Open, 1),
    ] {
        let change = TransactionChange { hash: "0x1".to_owned(), state };
        ledger.settlement_advance(Vec::new(), vec![change], NOW).await.unwrap();
        assert_eq!(ledger.lane_transactions(&lease, NOW).await.unwrap().unwrap().len(), count, "{state:?}");
    }
}
