//! What was delivered and is not paid for.

use tollway_core::UnixTime;
use tollway_ledger::{Claim, Fate, Finish, Finished, Ledger, OwedLimits, Token};

use crate::records::{NOW, claim, finish, limits, owed, response, seller};

/// Delivers now, to be paid for later.
async fn owe(ledger: &dyn Ledger, name: &str, payer: &str, amount: u64, limits: OwedLimits) -> Finished {
    let member = seller(ledger, "owing").await;
    assert_eq!(ledger.reservation_insert(claim(&member, name, 1)).await.unwrap(), Claim::Fresh);
    let mut end = finish(name, 1, Fate::Owed(owed(name, payer, amount)));
    end.owed_limits = Some(limits);
    ledger.reservation_finish(end).await.unwrap()
}

async fn end(ledger: &dyn Ledger, name: &str, token: Token, fate: Fate) -> Finished {
    ledger.reservation_finish(Finish { token, ..finish(name, 0, fate) }).await.unwrap()
}

pub(crate) async fn what_is_owed_is_taken_by_one_at_a_time(ledger: &dyn Ledger) {
    let member = seller(ledger, "a").await;
    ledger.reservation_insert(claim(&member, "k", 1)).await.unwrap();
    let mut delivered = finish("k", 1, Fate::Owed(owed("k", "0xb", 5)));
    delivered.response = Some(response("body", 1_500));
    ledger.reservation_finish(delivered).await.unwrap();
    let retry_at = UnixTime(1_010);
    let taken = ledger.reservation_owed(NOW, retry_at, 10).await.unwrap();
    assert_eq!(taken.len(), 1);
    let mut expected = owed("k", "0xb", 5);
    (expected.token, expected.next_try) = (taken[0].token, retry_at);
    assert_eq!(taken, [expected]);
    assert_eq!(ledger.reservation_owed(UnixTime(1_009), retry_at, 10).await.unwrap(), []);
    let bought = Claim::Delivered { transaction: String::new(), response: Some(response("body", 1_500)) };
    assert_eq!(ledger.reservation_insert(claim(&member, "k", 2)).await.unwrap(), bought);
    let next = ledger.reservation_owed(retry_at, UnixTime(1_020), 10).await.unwrap();
    assert_ne!(next[0].token, taken[0].token);
    let late = end(ledger, "k", taken[0].token, Fate::Unpaid).await;
    assert_eq!(late, Finished::Fenced, "another has it");
    // Not now: later.
    let mut later = owed("k", "0xb", 5);
    later.next_try = UnixTime(1_100);
    assert_eq!(end(ledger, "k", next[0].token, Fate::Owed(later)).await, Finished::Done);
    assert_eq!(ledger.reservation_owed(UnixTime(1_099), retry_at, 10).await.unwrap(), []);
    let last = ledger.reservation_owed(UnixTime(1_100), UnixTime(1_200), 10).await.unwrap();
    assert_eq!(end(ledger, "k", last[0].token, Fate::Delivered("0x1".to_owned())).await, Finished::Done);
    assert_eq!(ledger.reservation_owed(UnixTime(9_000), UnixTime(9_100), 10).await.unwrap(), []);
    let bought = Claim::Delivered { transaction: "0x1".to_owned(), response: Some(response("body", 1_500)) };
    assert_eq!(ledger.reservation_insert(claim(&member, "k", 3)).await.unwrap(), bought);
}

pub(crate) async fn the_limits_hold_against_all_that_is_owed(ledger: &dyn Ledger) {
    assert_eq!(owe(ledger, "a", "0x1", 6, limits(10, 15)).await, Finished::Done);
    assert_eq!(owe(ledger, "b", "0x1", 5, limits(10, 15)).await, Finished::OverLimit);
    assert_eq!(owe(ledger, "c", "0x2", 10, limits(10, 15)).await, Finished::OverLimit);
    assert_eq!(owe(ledger, "d", "0x2", 9, limits(10, 15)).await, Finished::Done);
    // Over the limit the caller still holds it.
    let member = seller(ledger, "owing").await;
    ledger.member_renew(&member, NOW, UnixTime(2_000)).await.unwrap();
    assert_eq!(end(ledger, "b", Token(1), Fate::Failed).await, Finished::Done);
    let taken = ledger.reservation_owed(NOW, UnixTime(1_100), 10).await.unwrap();
    let [a, d] = &taken[..] else { panic!("two are owed: {taken:?}") };
    assert_eq!(end(ledger, "a", a.token, Fate::Unpaid).await, Finished::Done);
    assert_eq!(owe(ledger, "e", "0x1", 5, limits(10, 100)).await, Finished::OverLimit, "unpaid is owed");
    assert_eq!(end(ledger, "d", d.token, Fate::Delivered("0x9".to_owned())).await, Finished::Done);
    assert_eq!(owe(ledger, "f", "0x2", 9, limits(10, 15)).await, Finished::Done, "paid is not owed");
    let other = Fate::Owed(tollway_ledger::Owed { asset: "0xother".to_owned(), ..owed("b", "0x1", 10) });
    ledger.reservation_insert(claim(&member, "g", 7)).await.unwrap();
    let mut on_other = finish("g", 7, other);
    on_other.owed_limits = Some(limits(10, 15));
    let done = ledger.reservation_finish(on_other).await.unwrap();
    assert_eq!(done, Finished::Done, "assets are not added up");
    // What is forgotten is owed no more.
    assert!(ledger.reservation_sweep(UnixTime(1_501), 10).await.unwrap() > 0);
    assert_eq!(owe(ledger, "h", "0x1", 6, limits(6, 15)).await, Finished::Done);
}

pub(crate) async fn a_debt_is_not_forgotten_by_presenting_again(ledger: &dyn Ledger) {
    assert_eq!(owe(ledger, "k", "0x1", 8, limits(10, 100)).await, Finished::Done);
    let taken = ledger.reservation_owed(NOW, UnixTime(1_100), 10).await.unwrap();
    assert_eq!(end(ledger, "k", taken[0].token, Fate::Unpaid).await, Finished::Done);
    let member = seller(ledger, "a").await;
    for (token, fate) in [(2, Fate::Released), (3, Fate::Failed)] {
        let again = ledger.reservation_insert(claim(&member, "k", token)).await.unwrap();
        assert_eq!(again, Claim::Again(Fate::Unpaid));
        assert_eq!(end(ledger, "k", Token(token), fate).await, Finished::Done);
        assert_eq!(
            owe(ledger, &format!("more {token}"), "0x1", 3, limits(10, 100)).await,
            Finished::OverLimit
        );
    }
    ledger.reservation_insert(claim(&member, "k", 4)).await.unwrap();
    assert_eq!(end(ledger, "k", Token(4), Fate::Delivered("0x1".to_owned())).await, Finished::Done);
    assert_eq!(owe(ledger, "next", "0x1", 10, limits(10, 100)).await, Finished::Done);
}
