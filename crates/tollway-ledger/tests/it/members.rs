//! Who is alive.

use tollway_core::UnixTime;
use tollway_ledger::{Claim, Fate, Ledger, Role};

use crate::records::{LATER, NOW, UNTIL, claim, facilitator, network, seller};

pub(crate) async fn a_start_under_a_name_ends_the_one_before(ledger: &dyn Ledger) {
    let first = seller(ledger, "a").await;
    let other = facilitator(ledger, "a").await;
    let second = seller(ledger, "a").await;
    assert!(second.incarnation > first.incarnation);
    assert!(!ledger.member_renew(&first, NOW, LATER).await.unwrap());
    assert!(ledger.member_renew(&second, NOW, LATER).await.unwrap());
    assert_eq!(ledger.member_list(Role::Seller, NOW).await.unwrap(), std::slice::from_ref(&second));
    assert_eq!(ledger.member_list(Role::Facilitator, NOW).await.unwrap(), [other]);
    assert_eq!(ledger.member_list(Role::Seller, UNTIL).await.unwrap(), [second]);
    assert_eq!(ledger.member_list(Role::Facilitator, UNTIL).await.unwrap(), []);
}

pub(crate) async fn a_late_member_lives_on_unless_somebody_took_over(ledger: &dyn Ledger) {
    let late = seller(ledger, "late").await;
    assert_eq!(ledger.member_list(Role::Seller, LATER).await.unwrap(), []);
    assert!(ledger.member_renew(&late, LATER, UnixTime(1_050)).await.unwrap());
    assert_eq!(ledger.member_list(Role::Seller, LATER).await.unwrap(), std::slice::from_ref(&late));
    ledger.reservation_insert(claim(&late, "k", 1)).await.unwrap();
    let heir = ledger.member_join(Role::Seller, "heir", UnixTime(1_060), UnixTime(1_090)).await.unwrap();
    let mut takeover = claim(&heir, "k", 2);
    takeover.now = UnixTime(1_060);
    let again = Claim::Again(Fate::Pending(String::new()));
    assert_eq!(ledger.reservation_insert(takeover).await.unwrap(), again);
    assert!(!ledger.member_renew(&late, UnixTime(1_061), UnixTime(1_100)).await.unwrap());
}

pub(crate) async fn who_leaves_frees_what_it_holds_at_once(ledger: &dyn Ledger) {
    let (first, second) = (facilitator(ledger, "a").await, facilitator(ledger, "b").await);
    let lease = ledger.lane_acquire(&network(), "0x1", &first, NOW).await.unwrap().unwrap();
    assert_eq!(ledger.lane_acquire(&network(), "0x1", &second, NOW).await.unwrap(), None);
    ledger.member_leave(&first).await.unwrap();
    assert!(!ledger.member_renew(&first, NOW, LATER).await.unwrap());
    let taken = ledger.lane_acquire(&network(), "0x1", &second, NOW).await.unwrap().unwrap();
    assert!(taken.token > lease.token);
    assert_eq!(ledger.lane_acquire(&network(), "0x2", &first, NOW).await.unwrap(), None);
}
