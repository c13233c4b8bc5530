//! Invoices, their payment, and statements: what is billed is what was charged, and what is paid counts once.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use tollway_core::model::X402Version;
use tollway_core::wire::{self, PAYMENT_REQUIRED};
use tollway_core::{BuyerScheme, Clock};
use tollway_seller::{BillDesk, BillDeskError, EntryKind};
use tower::ServiceExt;

use crate::doubles::{Buyer, ScriptedFacilitator, Signed, builder};
use crate::office::{DAY, NOON, Office, acme};
use crate::stall::Moment;

/// A desk on the office's ledger.
async fn desk(office: &Office) -> (Router, Arc<ScriptedFacilitator>) {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let builder =
        builder(&facilitator).ledger(office.ledger.clone()).clock(Arc::new(tollway_core::SystemClock));
    let paywall = builder.start().await.unwrap();
    let desk = BillDesk::open(office.book.clone(), &paywall).unwrap();
    (Router::new().route_service("/invoices/{invoice}", desk), facilitator)
}

async fn get(app: &Router, id: &str, payment: Option<&Signed>) -> (u16, serde_json::Value, Option<Vec<u8>>) {
    let mut request = Request::get(format!("/invoices/{id}"));
    if let Some(payment) = payment {
        request = request.header(payment.name, &payment.value);
    }
    let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let required = response.headers().get(PAYMENT_REQUIRED).map(|header| header.as_bytes().to_vec());
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default(), required)
}

async fn pay(app: &Router, id: &str) -> Signed {
    let (status, _, required) = get(app, id, None).await;
    assert_eq!(status, 402);
    let required =
        wire::decode_payment_required(&wire::decode_header("", &required.unwrap()).unwrap()).unwrap();
    assert_eq!(required.version, X402Version::V2);
    let now = tollway_core::SystemClock.now();
    Signed::of(Buyer::new().scheme.sign(&required, &required.accepts[0], now).await.unwrap())
}

#[tokio::test]
async fn an_invoice_is_what_was_charged_since_the_one_before_and_is_made_once() {
    let office = Office::open();
    let stall = office.stall().await;
    assert_eq!(office.book.bill("acme").await.unwrap(), None, "nothing is no invoice");
    for nonce in 0..2 {
        office.buy(&stall, "acme", &acme(), nonce).await;
    }
    let first = office.book.bill("acme").await.unwrap().unwrap();
    assert_eq!((first.number, first.amount, first.due_at), (1, 20_000.into(), NOON.plus_seconds(14 * DAY)));
    assert_eq!(office.book.bill("acme").await.unwrap(), None, "what is billed is not billed again");
    office.buy(&stall, "acme", &acme(), 2).await;
    assert_eq!(office.book.bill_due().await.0, [], "its week is not over");
    office.later(7 * DAY);
    let (due, faults) = office.book.bill_due().await;
    assert!(faults.is_empty());
    assert_eq!(
        due.iter().map(|invoice| (invoice.number, invoice.amount)).collect::<Vec<_>>(),
        [(2, 10_000.into())]
    );
    assert_eq!(office.book.invoice(&first.id).await.unwrap(), Some(first.clone()));
    let guessed = format!("{}00", &first.id[..first.id.len() - 2]);
    assert!(office.book.invoice(&guessed).await.unwrap().is_none() || guessed == first.id);
}

#[tokio::test]
async fn a_wallets_payment_of_an_invoice_raises_the_line_and_counts_once() {
    let office = Office::open();
    let stall = office.stall().await;
    for nonce in 0..5 {
        assert_eq!(office.buy(&stall, "acme", &acme(), nonce).await.status, 200);
    }
    assert_eq!(office.buy(&stall, "acme", &acme(), 5).await.status, 402);
    let invoice = office.book.bill("acme").await.unwrap().unwrap();
    let (app, facilitator) = desk(&office).await;
    assert_eq!(get(&app, "inv_acme_1_00", None).await.0, 404, "an invoice's name is not guessed");
    let (signed, twin) = (pay(&app, &invoice.id).await, pay(&app, &invoice.id).await);
    let (status, told, _) = get(&app, &invoice.id, Some(&signed)).await;
    assert_eq!((status, &told["isPaid"], &told["amount"]), (200, &true.into(), &"0.05".into()), "{told}");
    assert_eq!(get(&app, &invoice.id, Some(&signed)).await.0, 200);
    assert_eq!(get(&app, &invoice.id, None).await.1["isPaid"], true, "it asks for nothing more");
    assert_eq!((office.owed("acme").await, facilitator.calls().1), ("0".to_owned(), 1));
    assert_eq!(get(&app, &invoice.id, Some(&twin)).await.0, 200);
    assert_eq!(
        (office.owed("acme").await, facilitator.calls().1),
        ("0".to_owned(), 1),
        "and takes nothing more"
    );
    for (nonce, status) in [(6, 200), (10, 200)] {
        assert_eq!(office.buy(&stall, "acme", &acme(), nonce).await.status, status);
    }
}

#[tokio::test]
async fn a_payment_that_moved_and_was_not_written_down_is_written_down_when_it_comes_again() {
    let office = Office::open();
    let stall = office.stall().await;
    office.buy(&stall, "acme", &acme(), 1).await;
    let invoice = office.book.bill("acme").await.unwrap().unwrap();
    let (app, facilitator) = desk(&office).await;
    let signed = pay(&app, &invoice.id).await;
    for moment in [Moment::Before, Moment::After] {
        office.ledger.interposer().next("intent_open", moment);
        assert_eq!(get(&app, &invoice.id, Some(&signed)).await.0, 503, "{moment:?}");
        if moment == Moment::Before {
            assert_eq!(office.owed("acme").await, "10000");
        }
    }
    assert_eq!(get(&app, &invoice.id, Some(&signed)).await.0, 200);
    assert_eq!(
        (office.owed("acme").await, office.available("acme").await),
        ("0".to_owned(), "50000".to_owned())
    );
    assert!(facilitator.calls().1 >= 1);
}

#[tokio::test]
async fn a_payment_is_written_down_once_by_its_reference() {
    let office = Office::open();
    assert!(office.book.record_payment("acme", 5.into(), "bank 1", None).await.unwrap());
    assert!(!office.book.record_payment("acme", 5.into(), "bank 1", None).await.unwrap());
    assert!(
        office.book.record_payment("acme", 6.into(), "bank 1", None).await.is_err(),
        "not with another amount"
    );
    assert!(office.book.record_payment("globex", 5.into(), "bank 1", None).await.unwrap());
    assert_eq!(office.book.standing("acme").await.unwrap().paid, 5.into());
    assert!(office.book.record_payment("nobody", 5.into(), "bank 1", None).await.is_err());
}

#[tokio::test]
async fn a_desk_takes_money_and_no_credit() {
    let office = Office::open();
    let paywall = office.builder().start().await.unwrap();
    assert_eq!(BillDesk::open(office.book.clone(), &paywall).unwrap_err(), BillDeskError::NotExact);
    assert_eq!(StatusCode::PAYMENT_REQUIRED.as_u16(), 402);
}

#[tokio::test]
async fn a_statement_is_its_rows_and_the_days_before_it() {
    let office = Office::open();
    let stall = office.stall().await;
    office.buy(&stall, "acme", &acme(), 0).await;
    office.later(DAY);
    for nonce in 1..4 {
        office.buy(&stall, "acme", &acme(), nonce).await;
    }
    office.book.record_payment("acme", 15_000.into(), "bank 1", Some("inv_acme_1_x")).await.unwrap();
    let today = office.book.statement("acme", office.now(), office.now().plus_seconds(DAY)).await.unwrap();
    let sum = |kind| {
        let entries = today.entries.iter().filter(|entry| entry.kind == kind);
        entries.map(|entry| entry.amount.to_string().parse::<u64>().unwrap()).sum::<u64>()
    };
    assert_eq!((sum(EntryKind::Charge), sum(EntryKind::Payment)), (30_000, 15_000));
    assert_eq!((today.before, today.within), ((10_000.into(), 0.into()), (30_000.into(), 15_000.into())));
    assert_eq!(today.balance(), (25_000.into(), 0.into()));
    assert_eq!(office.owed("acme").await, "25000");
    assert_eq!(today.entries.len(), 4);
    let keys: std::collections::BTreeSet<_> = today.entries.iter().map(|entry| &entry.reference).collect();
    assert_eq!(keys.len(), 4, "each row has a reference of its own");
    assert_eq!(today.to_json()["owed"], "0.025");
    let other = office.book.statement("globex", NOON, office.now().plus_seconds(DAY)).await.unwrap();
    assert_eq!((other.entries.len(), other.balance()), (0, (0.into(), 0.into())));
}
