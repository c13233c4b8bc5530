//! Who may serve.

use tollway_core::UnixTime;
use tollway_ledger::{Claim, Fate, Finished, Ledger};

use crate::records::{
    LATER, NOW, UNTIL, claim, fingerprint, finish, identifier, key, owed, response, seller,
};

const AGAIN: Claim = Claim::Again(Fate::Pending(String::new()));

pub(crate) async fn a_key_is_claimed_once_and_a_released_one_is_free_again(ledger: &dyn Ledger) {
    let member = seller(ledger, "a").await;
    assert!(!ledger.reservation_is_open(&key("k"), NOW).await.unwrap());
    assert_eq!(ledger.reservation_insert(claim(&member, "k", 1)).await.unwrap(), Claim::Fresh);
    assert_eq!(ledger.reservation_insert(claim(&member, "k", 2)).await.unwrap(), Claim::Running);
    assert!(ledger.reservation_is_open(&key("k"), NOW).await.unwrap());
    let fenced = ledger.reservation_finish(finish("k", 2, Fate::Released)).await.unwrap();
    assert_eq!(fenced, Finished::Fenced);
    let done = ledger.reservation_finish(finish("k", 1, Fate::Released)).await.unwrap();
    assert_eq!((done, ledger.reservation_count().await.unwrap()), (Finished::Done, 0));
    assert_eq!(ledger.reservation_insert(claim(&member, "k", 3)).await.unwrap(), Claim::Fresh);
}

pub(crate) async fn another_request_finds_the_key_taken(ledger: &dyn Ledger) {
    let member = seller(ledger, "a").await;
    ledger.reservation_insert(claim(&member, "k", 1)).await.unwrap();
    let mut other = claim(&member, "k", 2);
    other.fingerprint = fingerprint("other");
    assert_eq!(ledger.reservation_insert(other.clone()).await.unwrap(), Claim::Elsewhere);
    ledger.reservation_finish(finish("k", 1, Fate::Delivered("0x1".to_owned()))).await.unwrap();
    assert_eq!(ledger.reservation_insert(other).await.unwrap(), Claim::Elsewhere);
}

pub(crate) async fn what_did_not_come_to_an_end_is_claimed_again_and_rests_as_before_when_released(
    ledger: &dyn Ledger,
) {
    let member = seller(ledger, "a").await;
    ledger.reservation_insert(claim(&member, "k", 1)).await.unwrap();
    for (token, fate) in [(1, Fate::Pending("0x1".to_owned())), (3, Fate::Failed), (5, Fate::Unpaid)] {
        let done = ledger.reservation_finish(finish("k", token, fate.clone())).await.unwrap();
        assert_eq!(done, Finished::Done);
        assert!(ledger.reservation_is_open(&key("k"), NOW).await.unwrap());
        for next in [token + 1, token + 2] {
            let again = ledger.reservation_insert(claim(&member, "k", next)).await.unwrap();
            assert_eq!(again, Claim::Again(fate.clone()));
            assert_eq!(ledger.reservation_insert(claim(&member, "k", 99)).await.unwrap(), Claim::Running);
            if next == token + 1 {
                let released = ledger.reservation_finish(finish("k", next, Fate::Released)).await.unwrap();
                assert_eq!(released, Finished::Done);
            }
        }
    }
}

pub(crate) async fn a_delivered_one_is_told_with_its_answer_while_that_lasts(ledger: &dyn Ledger) {
    let member = seller(ledger, "a").await;
    ledger.reservation_insert(claim(&member, "k", 1)).await.unwrap();
    let mut end = finish("k", 1, Fate::Delivered("0x1".to_owned()));
    end.response = Some(response("body", 1_020));
    ledger.reservation_finish(end).await.unwrap();
    assert!(!ledger.reservation_is_open(&key("k"), NOW).await.unwrap());
    let told = |response| Claim::Delivered { transaction: "0x1".to_owned(), response };
    let answer = ledger.reservation_insert(claim(&member, "k", 2)).await.unwrap();
    assert_eq!(answer, told(Some(response("body", 1_020))));
    let mut late = claim(&member, "k", 3);
    late.now = UnixTime(1_021);
    assert_eq!(ledger.reservation_insert(late).await.unwrap(), told(None));
    // What is not given out any more is not kept either, and sweeping it is no reservation less.
    assert_eq!(ledger.reservation_sweep(UnixTime(1_021), 10).await.unwrap(), 0);
    assert_eq!(ledger.reservation_insert(claim(&member, "k", 4)).await.unwrap(), told(None));
}

pub(crate) async fn the_dead_are_taken_over_from_and_can_write_nothing_more(ledger: &dyn Ledger) {
    let (dead, heir) = (seller(ledger, "dead").await, seller(ledger, "heir").await);
    ledger.member_renew(&heir, NOW, UnixTime(2_000)).await.unwrap();
    ledger.reservation_insert(claim(&dead, "k", 1)).await.unwrap();
    let mut takeover = claim(&heir, "k", 2);
    assert_eq!(ledger.reservation_insert(takeover.clone()).await.unwrap(), Claim::Running);
    takeover.now = UNTIL;
    assert_eq!(ledger.reservation_insert(takeover).await.unwrap(), AGAIN);
    let late = ledger.reservation_finish(finish("k", 1, Fate::Delivered("0x1".to_owned()))).await.unwrap();
    assert_eq!(late, Finished::Fenced);
    ledger.reservation_finish(finish("k", 2, Fate::Released)).await.unwrap();
    assert_eq!(ledger.reservation_insert(claim(&heir, "k", 3)).await.unwrap(), AGAIN);
}

pub(crate) async fn a_member_does_not_take_over_from_itself(ledger: &dyn Ledger) {
    let member = seller(ledger, "a").await;
    ledger.reservation_insert(claim(&member, "k", 1)).await.unwrap();
    let mut late = claim(&member, "k", 2);
    late.now = UnixTime(5_000);
    assert_eq!(ledger.reservation_insert(late).await.unwrap(), Claim::Running);
}

pub(crate) async fn a_finish_is_repeated_or_corrected_until_another_has_it(ledger: &dyn Ledger) {
    let member = seller(ledger, "a").await;
    ledger.reservation_insert(claim(&member, "k", 1)).await.unwrap();
    let end = |token, fate| ledger.reservation_finish(finish("k", token, fate));
    let mut delivered = finish("k", 1, Fate::Delivered("0x1".to_owned()));
    delivered.response = Some(response("body", 1_500));
    ledger.reservation_finish(delivered).await.unwrap();
    assert_eq!(end(1, Fate::Delivered("0x2".to_owned())).await.unwrap(), Finished::Done);
    let told = Claim::Delivered { transaction: "0x2".to_owned(), response: Some(response("body", 1_500)) };
    assert_eq!(ledger.reservation_insert(claim(&member, "k", 2)).await.unwrap(), told);
    for _ in 0..2 {
        assert_eq!(end(1, Fate::Pending("0x3".to_owned())).await.unwrap(), Finished::Done);
    }
    let again = Claim::Again(Fate::Pending("0x3".to_owned()));
    assert_eq!(ledger.reservation_insert(claim(&member, "k", 2)).await.unwrap(), again);
    assert_eq!(end(1, Fate::Failed).await.unwrap(), Finished::Fenced);
    end(2, Fate::Delivered("0x4".to_owned())).await.unwrap();
    let told = Claim::Delivered { transaction: "0x4".to_owned(), response: None };
    assert_eq!(ledger.reservation_insert(claim(&member, "k", 3)).await.unwrap(), told, "no answer of before");
    ledger.reservation_insert(claim(&member, "free", 4)).await.unwrap();
    for _ in 0..2 {
        let done = ledger.reservation_finish(finish("free", 4, Fate::Released)).await.unwrap();
        assert_eq!(done, Finished::Done);
    }
    let gone = ledger.reservation_finish(finish("free", 4, Fate::Failed)).await.unwrap();
    assert_eq!(gone, Finished::Fenced);
}

pub(crate) async fn an_identifier_names_one_payment_for_as_long_as_it_is_kept(ledger: &dyn Ledger) {
    let member = seller(ledger, "a").await;
    let named = |name: &str, token, id: &str, digest| {
        let mut new = claim(&member, name, token);
        new.identifier = Some(identifier(id, digest));
        new
    };
    let insert = async |new| ledger.reservation_insert(new).await.unwrap();
    assert_eq!(insert(named("k", 1, "order-1", 1)).await, Claim::Fresh);
    assert_eq!(insert(named("k", 2, "order-1", 1)).await, Claim::Running);
    assert_eq!(insert(named("k", 2, "order-1", 2)).await, Claim::IdentifierTaken);
    assert_eq!(insert(named("other", 2, "order-1", 2)).await, Claim::IdentifierTaken);
    let mut elsewhere = named("other", 2, "order-1", 2);
    elsewhere.identifier.as_mut().unwrap().scope = "another shop".to_owned();
    assert_eq!(insert(elsewhere).await, Claim::Fresh);
    ledger.reservation_finish(finish("k", 1, Fate::Delivered("0x1".to_owned()))).await.unwrap();
    assert_eq!(insert(named("third", 3, "order-1", 3)).await, Claim::IdentifierTaken);
    let mut late = named("third", 3, "order-1", 3);
    late.now = UnixTime(1_501);
    assert_eq!(insert(late).await, Claim::Fresh);
    assert_eq!(insert(claim(&member, "k", 4)).await, Claim::Fresh, "it went with its identifier");
    ledger.reservation_finish(finish("third", 3, Fate::Released)).await.unwrap();
    assert_eq!(insert(named("fourth", 5, "order-1", 4)).await, Claim::Fresh);
}

pub(crate) async fn what_is_past_its_time_counts_as_not_there(ledger: &dyn Ledger) {
    let member = seller(ledger, "a").await;
    ledger.reservation_insert(claim(&member, "k", 1)).await.unwrap();
    ledger.reservation_finish(finish("k", 1, Fate::Failed)).await.unwrap();
    assert!(ledger.reservation_is_open(&key("k"), UnixTime(1_500)).await.unwrap());
    assert!(!ledger.reservation_is_open(&key("k"), UnixTime(1_501)).await.unwrap());
    let mut late = claim(&member, "k", 2);
    late.now = UnixTime(1_501);
    late.fingerprint = fingerprint("other");
    assert_eq!(ledger.reservation_insert(late).await.unwrap(), Claim::Fresh);
    assert_eq!(ledger.reservation_count().await.unwrap(), 1);
}

pub(crate) async fn a_full_ledger_denies(ledger: &dyn Ledger) {
    let member = seller(ledger, "a").await;
    let insert = async |name, token| {
        let mut new = claim(&member, name, token);
        new.capacity = 2;
        ledger.reservation_insert(new).await.unwrap()
    };
    assert_eq!(insert("a", 1).await, Claim::Fresh);
    assert_eq!(insert("b", 2).await, Claim::Fresh);
    assert_eq!(insert("c", 3).await, Claim::Full);
    assert_eq!(insert("b", 4).await, Claim::Running);
    ledger.reservation_finish(finish("a", 1, Fate::Released)).await.unwrap();
    assert_eq!(insert("c", 5).await, Claim::Fresh);
}

pub(crate) async fn sweeping_takes_the_oldest_and_leaves_the_held_and_the_owed(ledger: &dyn Ledger) {
    let member = seller(ledger, "a").await;
    ledger.member_renew(&member, NOW, UnixTime(9_000)).await.unwrap();
    for (token, name) in (1..).zip(["failed", "delivered", "owed", "held", "late"]) {
        ledger.reservation_insert(claim(&member, name, token)).await.unwrap();
    }
    ledger.reservation_finish(finish("failed", 1, Fate::Failed)).await.unwrap();
    ledger.reservation_finish(finish("delivered", 2, Fate::Delivered("0x1".to_owned()))).await.unwrap();
    ledger.reservation_finish(finish("owed", 3, Fate::Owed(owed("owed", "0xb", 1)))).await.unwrap();
    let mut late = finish("late", 5, Fate::Failed);
    late.keep_until = UnixTime(1_400);
    ledger.reservation_finish(late).await.unwrap();
    assert_eq!(ledger.reservation_sweep(UnixTime(1_400), 10).await.unwrap(), 0);
    assert_eq!(ledger.reservation_sweep(UnixTime(1_501), 1).await.unwrap(), 1);
    assert!(!ledger.reservation_is_open(&key("late"), LATER).await.unwrap(), "the oldest goes first");
    assert_eq!(ledger.reservation_sweep(UnixTime(1_501), 10).await.unwrap(), 2);
    assert_eq!(ledger.reservation_count().await.unwrap(), 2);
    assert!(ledger.reservation_is_open(&key("held"), UnixTime(1_501)).await.unwrap());
    // The dead hold nothing.
    assert_eq!(ledger.reservation_sweep(UnixTime(9_000), 10).await.unwrap(), 1);
}
