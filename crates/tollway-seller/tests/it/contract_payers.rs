//! Payers with code: whether they signed, only the chain can say, and it may say otherwise in a block.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::response::IntoResponse;
use tollway_core::model::VerifyResponse;
use tollway_core::{Facilitator, PAYER_HAS_CODE, Refusal};
use tollway_seller::{BackgroundLimits, Paywall, PaywallBuilder, Priced, StoredResponses};

use crate::doubles::{BASE, Buyer, PAY_TO, ScriptedFacilitator, Signed, now, pending};
use crate::stall::{Handler, Stall};

fn builder(facilitator: &Arc<ScriptedFacilitator>) -> PaywallBuilder {
    Paywall::builder("https://api.example.com")
        .accept(BASE, PAY_TO)
        .shared_facilitator(Arc::clone(facilitator) as Arc<dyn Facilitator>)
        .pending_wait_ms(10)
        .stored_responses(StoredResponses::off())
}

/// A shop, what had been settled when its handler ran last, and its facilitator.
async fn open(refine: fn(Priced) -> Priced) -> (Stall, Arc<AtomicUsize>, Arc<ScriptedFacilitator>) {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let settled_before = Arc::new(AtomicUsize::new(usize::MAX));
    let (seen, asked) = (Arc::clone(&settled_before), Arc::clone(&facilitator));
    let handler: Handler = Arc::new(move |_| {
        seen.store(asked.calls().1, Ordering::SeqCst);
        Box::pin(async { "paid content".into_response() })
    });
    (Stall::with(builder(&facilitator), refine, handler).await, settled_before, facilitator)
}

async fn signed(stall: &Stall) -> Signed {
    let buyer = Buyer::new();
    let required = stall.required();
    let payment = tollway_core::BuyerScheme::sign(&buyer.scheme, &required, &required.accepts[0], now());
    Signed::of(payment.await.unwrap())
}

/// By no key of the payer's.
async fn by_code(stall: &Stall) -> Signed {
    let mut payment = signed(stall).await.payment;
    payment.payload["signature"] = format!("0x{}", "11".repeat(96)).into();
    Signed::of(payment)
}

#[tokio::test]
async fn a_payer_with_code_settles_before_it_is_served() {
    let (stall, settled_before, facilitator) = open(|priced| priced).await;
    assert_eq!(stall.present(&by_code(&stall).await).await.status, 200);
    assert_eq!((settled_before.load(Ordering::SeqCst), facilitator.calls()), (1, (1, 1)));
    // An account that has a key and code (EIP-7702): only the facilitator sees the code.
    let mut valid = VerifyResponse::valid("");
    valid.payer = None;
    valid.extra.insert(PAYER_HAS_CODE.to_owned(), true.into());
    facilitator.then_verify(Ok(valid));
    assert_eq!(stall.present(&signed(&stall).await).await.status, 200);
    assert_eq!(settled_before.load(Ordering::SeqCst), 2);
    // The control: a key's payment settles when it is served.
    assert_eq!(stall.present(&signed(&stall).await).await.status, 200);
    assert_eq!((settled_before.load(Ordering::SeqCst), facilitator.calls()), (2, (3, 3)));
}

#[tokio::test]
async fn what_code_does_not_accept_or_not_yet_is_not_served() {
    let (stall, _, facilitator) = open(|priced| priced).await;
    let code = tollway_core::ErrorCode::INVALID_EXACT_EVM_SIGNATURE;
    let refused = Refusal::new(code, "payload.signature", "must be accepted by the payer's code");
    facilitator.then_verify(Ok(refused.into()));
    let answer = stall.present(&by_code(&stall).await).await;
    assert_eq!((answer.status, answer.json("field").as_str()), (402, "payload.signature"));
    facilitator.then_settle(Ok(pending("0x11")));
    facilitator.then_settle(Ok(pending("0x11")));
    let answer = stall.present(&by_code(&stall).await).await;
    assert_ne!(answer.status, 200);
    assert_eq!(stall.runs(), 0);
}

#[tokio::test]
async fn a_route_may_trust_code_and_background_routes_do_not() {
    let (stall, settled_before, _) = open(Priced::trust_contract_payers).await;
    assert_eq!(stall.present(&by_code(&stall).await).await.status, 200);
    assert_eq!(settled_before.load(Ordering::SeqCst), 0);
    let (stall, settled_before, _) = open(|priced| {
        let limit = || "$1".parse().unwrap();
        priced.background(BackgroundLimits { per_payer: limit(), in_all: limit() }).unwrap()
    })
    .await;
    assert_eq!(stall.present(&by_code(&stall).await).await.status, 200);
    assert_eq!(settled_before.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn who_takes_keys_only_asks_nobody_about_code() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let stall = Stall::open(builder(&facilitator).keys_only()).await;
    let answer = stall.present(&by_code(&stall).await).await;
    assert_eq!((answer.status, answer.json("field").as_str()), (402, "payload.signature"));
    assert_eq!((stall.runs(), facilitator.calls()), (0, (0, 0)));
}
