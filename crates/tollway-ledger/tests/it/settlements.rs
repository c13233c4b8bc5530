//! Who may write a payment's history.

use tollway_core::UnixTime;
use tollway_ledger::{
    Inserted, Ledger, Member, Settlement, SettlementId, SettlementQuery, SettlementState, TransactionChange,
    TransactionState,
};

use crate::records::{
    LATER, NOW, abandoned, advance, facilitator, failed, key, network, payment, sent, settled,
};

/// The first attempt at a payment.
const NEW: Inserted = Inserted::New { attempt: 1, transactions: Vec::new() };

async fn insert(ledger: &dyn Ledger, member: &Member, name: &str) -> Inserted {
    ledger.settlement_insert(payment(member, name)).await.unwrap()
}

async fn get(ledger: &dyn Ledger, name: &str) -> Settlement {
    ledger.settlement_get(&key(name)).await.unwrap().unwrap()
}

pub(crate) async fn an_accepted_payment_is_found_by_who_comes_second(ledger: &dyn Ledger) {
    let (member, other) = (facilitator(ledger, "a").await, facilitator(ledger, "b").await);
    assert_eq!(ledger.settlement_get(&key("k")).await.unwrap(), None);
    assert_eq!(insert(ledger, &member, "k").await, NEW);
    let row = get(ledger, "k").await;
    let new = payment(&member, "k");
    let expected = Settlement {
        sequence: row.sequence,
        id: SettlementId::of(&new.key),
        key: new.key,
        digest: new.digest,
        payment: new.payment,
        network: new.network,
        asset: new.asset,
        payer: new.payer,
        pay_to: new.pay_to,
        amount: new.amount,
        caller: new.caller,
        // The latest time that every store can hold.
        valid_before: UnixTime(i64::MAX.unsigned_abs()),
        confirmations: new.confirmations,
        state: SettlementState::Reserved,
        attempt: 1,
        member,
        transactions: Vec::new(),
        created_at: NOW,
        updated_at: NOW,
    };
    assert_eq!(row, expected);
    assert_eq!(insert(ledger, &other, "k").await, Inserted::Existing(Box::new(expected.clone())));
    assert_eq!(ledger.settlement_find(expected.id).await.unwrap(), Some(expected));
    assert_eq!(ledger.settlement_find(SettlementId::of(&key("none"))).await.unwrap(), None);
    assert_eq!(ledger.settlement_open_count().await.unwrap(), 1);
}

pub(crate) async fn a_failed_payment_begins_anew_and_keeps_its_transactions(ledger: &dyn Ledger) {
    let member = facilitator(ledger, "a").await;
    let lease = ledger.lane_acquire(&network(), "0x1", &member, NOW).await.unwrap().unwrap();
    insert(ledger, &member, "k").await;
    for (attempt, end) in (1..).zip([failed(), abandoned()]) {
        let hash = format!("0x{attempt}");
        ledger.settlement_sent(sent(&lease, &hash, attempt, &[("k", attempt)])).await.unwrap();
        let steps = vec![advance("k", attempt, end.clone())];
        assert_eq!(ledger.settlement_advance(steps, Vec::new(), LATER).await.unwrap(), [true]);
        let row = get(ledger, "k").await;
        assert_eq!((row.state, row.updated_at), (end, LATER));
        assert_eq!(ledger.settlement_open_count().await.unwrap(), 0);
        let mut again = payment(&member, "k");
        (again.caller, again.now) = (Some("desk".to_owned()), LATER);
        let inserted = ledger.settlement_insert(again).await.unwrap();
        let transactions = (1..=attempt).map(|attempt| format!("0x{attempt}")).collect();
        assert_eq!(inserted, Inserted::New { attempt: attempt + 1, transactions });
    }
    let row = get(ledger, "k").await;
    assert_eq!((row.created_at, row.updated_at, row.caller.as_deref()), (NOW, LATER, Some("desk")));
}

pub(crate) async fn something_else_under_the_same_key_is_told(ledger: &dyn Ledger) {
    let member = facilitator(ledger, "a").await;
    insert(ledger, &member, "k").await;
    let mut other = payment(&member, "k");
    other.digest = [2; 32];
    assert_eq!(ledger.settlement_insert(other.clone()).await.unwrap(), Inserted::Other);
    ledger.settlement_advance(vec![advance("k", 1, failed())], Vec::new(), NOW).await.unwrap();
    assert_eq!(ledger.settlement_insert(other).await.unwrap(), Inserted::Other);
}

pub(crate) async fn a_step_needs_the_current_attempt_and_a_payment_that_has_not_ended(ledger: &dyn Ledger) {
    let member = facilitator(ledger, "a").await;
    for name in ["a", "b", "c"] {
        insert(ledger, &member, name).await;
    }
    let steps = vec![
        advance("a", 1, settled("0x1", false)),
        advance("b", 2, settled("0x1", false)),
        advance("none", 1, failed()),
        advance("c", 1, failed()),
        advance("c", 1, settled("0x1", true)),
    ];
    let written = ledger.settlement_advance(steps, Vec::new(), LATER).await.unwrap();
    assert_eq!(written, [true, false, false, true, false]);
    assert_eq!(get(ledger, "a").await.state, settled("0x1", false));
    assert_eq!(get(ledger, "b").await.updated_at, NOW);
    assert_eq!(get(ledger, "c").await.state, failed());
    // A block that was taken back: settled, not final, and open again.
    for (to, is_written) in [
        (SettlementState::Sent { transaction: "0x1".to_owned() }, true),
        (SettlementState::Reserved, true),
        (settled("0x2", true), true),
        (settled("0x3", true), false),
    ] {
        let steps = vec![advance("a", 1, to)];
        assert_eq!(ledger.settlement_advance(steps, Vec::new(), LATER).await.unwrap(), [is_written]);
    }
    assert_eq!(get(ledger, "a").await.state, settled("0x2", true));
}

pub(crate) async fn lists_are_newest_first_and_page(ledger: &dyn Ledger) {
    let member = facilitator(ledger, "a").await;
    for (name, payer, pay_to, caller) in [
        ("1", "0x1", "0x7", None),
        ("2", "0x2", "0x8", Some("desk")),
        ("3", "0x1", "0x8", Some("desk")),
        ("4", "0x1", "0x7", Some("till")),
    ] {
        let mut new = payment(&member, name);
        (new.payer, new.pay_to) = (payer.to_owned(), pay_to.to_owned());
        new.caller = caller.map(str::to_owned);
        ledger.settlement_insert(new).await.unwrap();
    }
    let list = async |payer: Option<&str>, caller: Option<&str>, before, limit| {
        let (payer, caller) = (payer.map(str::to_owned), caller.map(str::to_owned));
        named(ledger, SettlementQuery { payer, caller, before, limit, ..SettlementQuery::default() }).await
    };
    assert_eq!(list(None, None, None, 10).await.0, "4321");
    assert_eq!(list(Some("0x1"), None, None, 10).await.0, "431");
    assert_eq!(list(None, Some("desk"), None, 10).await.0, "32");
    assert_eq!(list(Some("0x1"), Some("desk"), None, 10).await.0, "3");
    assert_eq!(list(Some("0x3"), None, None, 10).await.0, "");
    let (names, last) = list(None, None, None, 3).await;
    assert_eq!((names.as_str(), list(None, None, last, 3).await.0.as_str()), ("432", "1"));
    assert_eq!(list(None, None, Some(0), 3).await.0, "");
    let behind = async |payer: Option<&str>, pay_to: Option<&str>, after, before, limit| {
        let (payer, pay_to) = (payer.map(str::to_owned), pay_to.map(str::to_owned));
        let after = Some(after);
        let query = SettlementQuery { payer, pay_to, after, before, limit, ..SettlementQuery::default() };
        named(ledger, query).await
    };
    assert_eq!(behind(None, None, 0, None, 10).await.0, "1234");
    assert_eq!(behind(None, Some("0x7"), 0, None, 10).await.0, "14");
    assert_eq!(behind(Some("0x1"), Some("0x8"), 0, None, 10).await.0, "3");
    let (names, last) = behind(Some("0x1"), None, 0, None, 2).await;
    assert_eq!(
        (names.as_str(), behind(Some("0x1"), None, last.unwrap(), None, 2).await.0.as_str()),
        ("13", "4")
    );
    let third = behind(None, None, 0, None, 3).await.1;
    assert_eq!(behind(None, None, 0, third, 10).await.0, "12", "between two places");
    assert_eq!(
        behind(None, None, third.unwrap(), third, 10).await.0,
        "",
        "nothing is between a place and itself"
    );
    assert_eq!(behind(None, None, u64::MAX, None, 10).await.0, "");
}

/// The names of what is listed, and the last one's place.
async fn named(ledger: &dyn Ledger, query: SettlementQuery) -> (String, Option<u64>) {
    let rows = ledger.settlement_list(query).await.unwrap();
    let last = rows.last().map(|row| row.sequence);
    (rows.iter().map(|row| row.key.as_str()[20..].to_owned()).collect(), last)
}

pub(crate) async fn the_unfinal_are_found_until_they_are_final(ledger: &dyn Ledger) {
    let (member, other) = (facilitator(ledger, "a").await, facilitator(ledger, "b").await);
    for (name, member) in [("1", &member), ("2", &other), ("3", &member), ("4", &member)] {
        insert(ledger, member, name).await;
    }
    let steps = ["1", "2", "3"].map(|name| advance(name, 1, settled("0x1", false))).to_vec();
    ledger.settlement_advance(steps, Vec::new(), NOW).await.unwrap();
    let unfinal = async |after, limit| {
        let rows = ledger.settlement_unfinal(&network(), after, limit).await.unwrap();
        rows.iter().map(|row| (row.key.as_str()[20..].to_owned(), row.sequence)).collect::<Vec<_>>()
    };
    let all = unfinal(0, 10).await;
    let names: Vec<_> = all.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["1", "2", "3"]);
    assert_eq!(unfinal(0, 2).await, all[..2]);
    assert_eq!(unfinal(all[1].1, 10).await, all[2..]);
    ledger.settlement_advance(vec![advance("1", 1, settled("0x1", true))], Vec::new(), NOW).await.unwrap();
    assert_eq!(unfinal(0, 10).await, all[1..]);
    let elsewhere = tollway_core::Network::evm(1);
    assert_eq!(ledger.settlement_unfinal(&elsewhere, 0, 10).await.unwrap(), []);
}

pub(crate) async fn orphans_are_adopted_but_not_those_of_a_lane(ledger: &dyn Ledger) {
    let (dead, heir) = (facilitator(ledger, "dead").await, facilitator(ledger, "heir").await);
    ledger.member_renew(&heir, NOW, UnixTime(2_000)).await.unwrap();
    let lease = ledger.lane_acquire(&network(), "0x1", &dead, NOW).await.unwrap().unwrap();
    for name in ["sent", "lost", "reserved", "settled", "more"] {
        insert(ledger, &dead, name).await;
    }
    insert(ledger, &heir, "mine").await;
    ledger.settlement_sent(sent(&lease, "0x1", 1, &[("sent", 1)])).await.unwrap();
    ledger.settlement_sent(sent(&lease, "0x2", 2, &[("lost", 1)])).await.unwrap();
    let lost = TransactionChange { hash: "0x2".to_owned(), state: TransactionState::Lost };
    let steps = vec![advance("settled", 1, settled("0x1", false))];
    ledger.settlement_advance(steps, vec![lost], NOW).await.unwrap();
    assert_eq!(ledger.settlement_adopt(&network(), &heir, NOW, 10).await.unwrap(), []);
    let adopted = ledger.settlement_adopt(&network(), &heir, LATER, 2).await.unwrap();
    let names: Vec<_> = adopted.iter().map(|row| row.key.clone()).collect();
    assert_eq!(names, [key("lost"), key("reserved")], "the oldest first");
    for row in &adopted {
        assert_eq!((row.attempt, &row.member, row.updated_at), (2, &heir, LATER));
        assert_eq!(ledger.settlement_get(&row.key).await.unwrap().as_ref(), Some(row));
    }
    assert_eq!(adopted[0].transactions, ["0x2"]);
    assert_eq!(ledger.settlement_adopt(&network(), &heir, LATER, 10).await.unwrap().len(), 1);
    assert_eq!(ledger.settlement_adopt(&network(), &heir, LATER, 10).await.unwrap(), []);
    assert!(!ledger.member_renew(&dead, LATER, UnixTime(3_000)).await.unwrap());
    let late = vec![advance("lost", 1, failed()), advance("lost", 2, failed())];
    assert_eq!(ledger.settlement_advance(late, Vec::new(), LATER).await.unwrap(), [false, true]);
    assert_eq!(get(ledger, "sent").await.member, dead);
}
