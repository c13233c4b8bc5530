//! Who is told, and how often it is tried.

use tollway_core::UnixTime;
use tollway_ledger::{Delivery, DeliveryResult, Ledger, NewDelivery, SettlementId};

use crate::records::{NOW, advance, facilitator, failed, key, payment, settled};

pub(crate) async fn a_delivery_comes_with_its_outcome_and_is_tried_until_it_is_over(ledger: &dyn Ledger) {
    let member = facilitator(ledger, "a").await;
    ledger.settlement_insert(payment(&member, "k")).await.unwrap();
    let to = |endpoint: &str| NewDelivery { endpoint: endpoint.to_owned(), body: "{\"é\":1}".to_owned() };
    let mut late = advance("k", 2, failed());
    late.deliveries = vec![to("never")];
    let mut step = advance("k", 1, settled("0x1", true));
    step.deliveries = vec![to("a"), to("b"), to("b")];
    ledger.settlement_advance(vec![late, step], Vec::new(), NOW).await.unwrap();
    let claim = async |endpoint, now, retry_at, limit| {
        ledger.delivery_claim(endpoint, UnixTime(now), UnixTime(retry_at), limit).await.unwrap()
    };
    assert_eq!(claim("a", 999, 1_010, 10).await, []);
    let first = claim("a", 1_000, 1_010, 1).await;
    let [a] = &first[..] else { panic!("one: {first:?}") };
    let expected = Delivery {
        id: a.id,
        settlement: SettlementId::of(&key("k")),
        endpoint: "a".to_owned(),
        body: "{\"é\":1}".to_owned(),
        tries: 1,
    };
    assert_eq!(*a, expected);
    let second = claim("b", 1_000, 1_020, 10).await;
    let [b, next] = &second[..] else { panic!("the others: {second:?}") };
    assert!(b.endpoint == "b" && b.id < next.id);
    assert_eq!(claim("a", 1_009, 1_100, 10).await, []);
    ledger.delivery_finish(b.id, DeliveryResult::Over).await.unwrap();
    ledger.delivery_finish(next.id, DeliveryResult::RetryAt(UnixTime(1_005))).await.unwrap();
    assert_eq!(claim("b", 1_005, 1_100, 10).await, [Delivery { tries: 2, ..next.clone() }]);
    ledger.delivery_finish(a.id, DeliveryResult::RetryAt(UnixTime(1_050))).await.unwrap();
    assert_eq!(claim("a", 1_049, 1_100, 10).await, []);
    assert_eq!(claim("a", 1_050, 1_100, 10).await, [Delivery { tries: 2, ..expected }]);
    ledger.delivery_finish(a.id, DeliveryResult::Over).await.unwrap();
    ledger.delivery_finish(a.id, DeliveryResult::RetryAt(NOW)).await.unwrap();
    assert_eq!(claim("a", 9_000, 9_100, 10).await, []);
}

pub(crate) async fn a_secret_is_made_once(ledger: &dyn Ledger) {
    assert_eq!(ledger.secret("webhook", [1; 32]).await.unwrap(), [1; 32]);
    assert_eq!(ledger.secret("webhook", [2; 32]).await.unwrap(), [1; 32]);
    assert_eq!(ledger.secret("credit", [2; 32]).await.unwrap(), [2; 32]);
}
