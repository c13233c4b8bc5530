//! Accounts on credit: whose signature a payment needs, what an account may owe, and that a charge is one charge.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use futures_util::future::join_all;
use tollway_core::http_signature::MessageSigner;
use tollway_core::{Fingerprint, SchemeName, UnixTime};
use tollway_seller::{CreditSeller, Paywall};

use crate::doubles::Signed;
use crate::office::{COVERED, DAY, NOON, Office, acme, commit_to, globex, present, send};
use crate::stall::{Answer, Moment, Stall, URL, content, fails_at_first};

fn is_refused(answer: &Answer, code: &str) {
    assert_eq!((answer.status, &*answer.json("error")), (402, code), "{}", answer.body);
}

#[tokio::test]
async fn a_signed_request_is_charged_to_its_account_and_told_so() {
    let office = Office::open();
    let stall = office.stall().await;
    let required = stall.required();
    let offer = &required.accepts[0];
    assert_eq!((&*offer.asset, &*offer.pay_to, offer.amount), ("USD", "example-shop", 10_000.into()));
    let declared = &required.extensions["http-message-signatures"]["info"];
    assert_eq!(declared["registrationUrl"], "https://api.example.com/accounts");
    let answer = office.buy(&stall, "acme", &acme(), 1).await;
    assert_eq!((answer.status, &*answer.body), (200, "paid content"));
    let told = answer.settlement().unwrap();
    assert!(told.success && told.transaction.starts_with("crg_"), "the identifier is not empty: {told:?}");
    assert_eq!((told.payer.as_deref(), told.amount.as_deref()), (Some("acme"), Some("10000")));
    assert_eq!((&*office.owed("acme").await, &*office.owed("globex").await), ("10000", "0"));
}

#[tokio::test]
async fn above_the_line_nothing_is_served_and_the_handler_does_not_run() {
    let office = Office::open();
    let stall = office.stall().await;
    for nonce in 0..5 {
        assert_eq!(office.buy(&stall, "acme", &acme(), nonce).await.status, 200);
    }
    is_refused(&office.buy(&stall, "acme", &acme(), 5).await, "credit_limit_exceeded");
    assert_eq!((stall.runs(), &*office.owed("acme").await), (5, "50000"));
    assert_eq!(
        office.buy(&stall, "globex", &globex(), 0).await.status,
        200,
        "another account's line is its own"
    );
    assert!(office.book.record_payment("acme", 20_000.into(), "bank 1", None).await.unwrap());
    for (nonce, status) in [(6, 200), (7, 200), (8, 402)] {
        assert_eq!(
            office.buy(&stall, "acme", &acme(), nonce).await.status,
            status,
            "what is paid is free again"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn two_sellers_on_one_ledger_never_pass_the_line_together() {
    let office = Office::open();
    let slow = || content(Duration::from_millis(50));
    let (one, two) = (office.stall_with(slow()).await, office.stall_with(slow()).await);
    let bought = (0..40).map(|nonce| {
        let (office, stall) = (&office, if nonce % 2 == 0 { &one } else { &two });
        async move { office.buy(stall, "acme", &acme(), nonce).await }
    });
    let answers = join_all(bought).await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((served, one.runs() + two.runs()), (5, 5), "room is held before the handler runs");
    assert_eq!((&*office.owed("acme").await, &*office.available("acme").await), ("50000", "0"));
}

#[tokio::test]
async fn a_commitment_is_charged_once_however_often_and_wherever_it_is_presented() {
    let office = Office::open();
    let (stall, other) = (office.stall().await, office.stall().await);
    let signed = office.commit(&stall, "acme", 1);
    let first = present(&stall, &signed, &acme(), office.now()).await;
    office.later(5);
    for stall in [&stall, &other] {
        let again = present(stall, &signed, &acme(), office.now()).await;
        assert_eq!(
            (again.status, again.is_replay(), &again.body),
            (200, true, &first.body),
            "the lost answer"
        );
    }
    let elsewhere = (Method::GET, "https://api.example.com/other", "");
    let answer =
        send(&stall, &signed, (&acme(), &COVERED, office.now()), elsewhere, (Method::GET, "/other", ""))
            .await;
    assert_eq!(answer.status, 402, "it buys one thing: {}", answer.body);
    assert_eq!((stall.runs() + other.runs(), &*office.owed("acme").await), (1, "10000"));
}

#[tokio::test]
async fn a_payment_is_refused_without_its_accounts_signature_over_this_request() {
    let office = Office::open();
    let stall = office.stall().await;
    let signed = office.commit(&stall, "acme", 1);
    let (now, get) = (office.now(), || (Method::GET, URL, ""));
    is_refused(&stall.present(&signed).await, "invalid_signature");
    is_refused(&present(&stall, &signed, &globex(), now).await, "invalid_signature");
    is_refused(&present(&stall, &signed, &globex().named(acme().key_id()), now).await, "invalid_signature");
    is_refused(&present(&stall, &signed, &acme().tagged("other"), now).await, "invalid_signature");
    is_refused(&present(&stall, &signed, &acme(), UnixTime(now.0 - 301)).await, "invalid_signature");
    is_refused(&present(&stall, &signed, &acme(), now.plus_seconds(60)).await, "invalid_signature");
    for missing in COVERED {
        let covered: Vec<&str> = COVERED.into_iter().filter(|name| *name != missing).collect();
        let answer = send(&stall, &signed, (&acme(), &covered, now), get(), (Method::GET, "/data", "")).await;
        is_refused(&answer, "invalid_signature");
        assert!(answer.json("rule").contains(missing), "{missing}: {}", answer.body);
    }
    let of_globex = office.commit(&stall, "globex", 1);
    is_refused(&present(&stall, &of_globex, &acme(), now).await, "invalid_signature");
    let of_nobody = office.commit(&stall, "nobody", 1);
    is_refused(&present(&stall, &of_nobody, &acme(), now).await, "signature_agent_unknown");
    assert_eq!((stall.runs(), &*office.available("acme").await), (0, "50000"), "nothing is held either");
}

#[tokio::test]
async fn a_request_that_was_changed_after_it_was_signed_is_refused() {
    let office = Office::open();
    let stall = office.stall().await;
    let signed = office.commit(&stall, "acme", 1);
    let by = |covered| (acme(), covered, office.now());
    let (signer, covered, at) = by(&COVERED[..]);
    let get = || (Method::GET, URL, "");
    for (method, path) in [(Method::DELETE, "/data"), (Method::GET, "/other"), (Method::GET, "/data?more=1")]
    {
        let answer = send(&stall, &signed, (&signer, covered, at), get(), (method.clone(), path, "")).await;
        is_refused(&answer, "invalid_signature");
    }
    let with_digest: Vec<&str> = COVERED.into_iter().chain(["content-digest"]).collect();
    let post = |body| (Method::POST, URL, body);
    let sent = |body| (Method::POST, "/data", body);
    let uncovered = send(&stall, &signed, (&signer, covered, at), post("one"), sent("one")).await;
    is_refused(&uncovered, "invalid_signature");
    let changed = send(&stall, &signed, (&signer, &with_digest, at), post("one"), sent("two")).await;
    is_refused(&changed, "invalid_signature");
    assert_eq!(changed.json("field"), "Content-Digest");
    let other = office.commit(&stall, "acme", 2);
    let mut dearer = signed.payment.clone();
    dearer.payload.insert("nonce".to_owned(), other.payment.payload["nonce"].clone());
    let swapped = Signed { value: Signed::of(dearer).value, ..signed.clone() };
    let url = URL.parse().unwrap();
    let headers = vec![(signed.name, signed.value.as_bytes())];
    let request = tollway_core::http_signature::SignedRequest { method: "GET", url: &url, headers };
    let signature = acme().sign(&request, &COVERED, at, 300).unwrap();
    let headers = [
        (swapped.name, &*swapped.value),
        ("signature-input", &*signature.input),
        ("signature", &*signature.signature),
    ];
    is_refused(&stall.send(Method::GET, "/data", &headers, "").await, "invalid_signature");
    assert_eq!(stall.runs(), 0);
    let fine = send(&stall, &signed, (&signer, &with_digest, at), post("one"), sent("one")).await;
    assert_eq!((fine.status, stall.runs()), (200, 1), "{}", fine.body);
}

#[tokio::test]
async fn a_commitment_to_another_price_or_past_its_time_is_refused() {
    let office = Office::open();
    let stall = office.stall().await;
    let required = stall.required();
    for (field, value) in [("amount", "1"), ("asset", "EUR")] {
        let mut signed = office.commit(&stall, "acme", 1);
        signed.payment.payload.insert(field.to_owned(), value.into());
        let answer = present(&stall, &Signed::of(signed.payment), &acme(), office.now()).await;
        is_refused(&answer, "price_not_acceptable");
    }
    let over = commit_to(&required, "acme", 1, office.now());
    is_refused(&present(&stall, &over, &acme(), office.now()).await, "payment_expired");
    let endless = commit_to(&required, "acme", 1, office.now().plus_seconds(DAY));
    is_refused(&present(&stall, &endless, &acme(), office.now()).await, "payment_expired");
    assert_eq!(stall.runs(), 0);
}

#[tokio::test]
async fn suspension_holds_from_the_next_request_on_and_ends_as_it_began() {
    let office = Office::open();
    let (stall, other) = (office.stall().await, office.stall().await);
    assert_eq!(office.buy(&stall, "acme", &acme(), 1).await.status, 200);
    office.book.suspend("acme", Some("a test")).await.unwrap();
    for stall in [&stall, &other] {
        is_refused(&office.buy(stall, "acme", &acme(), 2).await, "credit_suspended");
    }
    assert_eq!(office.buy(&stall, "globex", &globex(), 1).await.status, 200, "others are not");
    office.book.suspend("acme", None).await.unwrap();
    assert_eq!(office.buy(&stall, "acme", &acme(), 3).await.status, 200);
    let by_file = MessageSigner::from_seed(&[9; 32]);
    is_refused(&office.buy(&stall, "hooli", &by_file, 1).await, "credit_suspended");
    assert_eq!(stall.runs() + other.runs(), 3);
}

#[tokio::test]
async fn who_owes_for_too_long_is_refused_until_the_oldest_is_paid() {
    let office = Office::open();
    let stall = office.stall().await;
    assert_eq!(office.buy(&stall, "acme", &acme(), 1).await.status, 200);
    office.later(20 * DAY);
    assert_eq!(office.buy(&stall, "acme", &acme(), 2).await.status, 200);
    office.later(10 * DAY);
    assert_eq!(office.buy(&stall, "acme", &acme(), 3).await.status, 200, "thirty days and not one more");
    office.later(DAY);
    is_refused(&office.buy(&stall, "acme", &acme(), 4).await, "credit_overdue");
    assert!(office.book.standing("acme").await.unwrap().is_overdue);
    assert!(office.book.record_payment("acme", 10_000.into(), "bank 1", None).await.unwrap());
    assert_eq!(office.buy(&stall, "acme", &acme(), 5).await.status, 200, "the oldest is paid first");
    office.later(21 * DAY);
    is_refused(&office.buy(&stall, "acme", &acme(), 6).await, "credit_overdue");
}

#[tokio::test]
async fn an_account_whose_directory_is_down_is_not_refused_and_not_served() {
    let office = Office::open();
    let stall = office.stall().await;
    let answer = office.buy(&stall, "initech", &MessageSigner::from_seed(&[5; 32]), 1).await;
    assert_eq!((answer.status, stall.runs()), (503, 0), "{}", answer.body);
    assert!(answer.header("payment-required").is_none(), "it is not told to pay anew");
}

#[tokio::test]
async fn a_handler_that_fails_charges_nothing_and_gives_the_room_back() {
    let office = Office::open();
    let stall = office.stall_with(fails_at_first(5)).await;
    for nonce in 0..5 {
        assert_eq!(office.buy(&stall, "acme", &acme(), nonce).await.status, 502);
    }
    assert_eq!((&*office.owed("acme").await, &*office.available("acme").await), ("0", "50000"));
    assert_eq!(office.buy(&stall, "acme", &acme(), 0).await.status, 200, "the same commitment is good still");
    assert_eq!(office.owed("acme").await, "10000");
}

#[tokio::test]
async fn what_is_charged_may_be_less_than_what_was_committed_and_never_more() {
    let office = Office::open();
    for (number, (said, charged)) in
        [("2500", "2500"), ("50%", "7500"), ("0", "7500"), ("10001", "7500")].into_iter().enumerate()
    {
        let handler = Arc::new(move |_| {
            let answer = ([("settlement-overrides", said)], "metered");
            Box::pin(async move { axum::response::IntoResponse::into_response(answer) })
                as tollway_core::BoxFuture<'static, axum::response::Response>
        });
        let stall = office.stall_with(handler).await;
        let answer = office.buy(&stall, "acme", &acme(), number as u64).await;
        assert_eq!(answer.status, if said == "10001" { 500 } else { 200 }, "{said}: {}", answer.body);
        assert_eq!(office.owed("acme").await, charged, "{said}");
    }
    assert_eq!(office.available("acme").await, "42500");
}

#[tokio::test]
async fn a_process_that_dies_between_handler_and_charge_neither_skips_nor_repeats_it() {
    for (operation, moment) in [
        ("intent_put", Moment::Before),
        ("intent_put", Moment::After),
        ("reservation_finish", Moment::Before),
        ("reservation_finish", Moment::After),
        ("intent_open", Moment::After),
    ] {
        let office = Office::open();
        let stall = office.stall().await;
        let signed = office.commit(&stall, "acme", 1);
        office.ledger.interposer().next(operation, moment);
        let lost = present(&stall, &signed, &acme(), office.now()).await;
        // That a reservation is finished is tried again by itself.
        let is_lost = operation.starts_with("intent");
        assert_eq!(
            lost.status == 503,
            is_lost,
            "{operation}: no answer leaves before its row: {}",
            lost.body
        );
        let mut served = present(&stall, &signed, &acme(), office.now()).await;
        for _ in 0..3 {
            if served.status == 200 {
                break;
            }
            office.later(1);
            served = present(&stall, &signed, &acme(), office.now()).await;
        }
        assert_eq!((served.status, &*served.body), (200, "paid content"), "{operation} {moment:?}");
        assert_eq!(office.owed("acme").await, "10000", "{operation} {moment:?}");
        assert_eq!(office.available("acme").await, "40000", "{operation} {moment:?}");
    }
}

#[tokio::test]
async fn a_commitment_that_was_under_way_when_it_expired_is_still_answered() {
    let office = Office::open();
    let stall = office.stall().await;
    let signed = office.commit(&stall, "acme", 1);
    office.ledger.interposer().next("intent_put", Moment::After);
    assert_eq!(present(&stall, &signed, &acme(), office.now()).await.status, 503);
    office.later(100);
    let late = present(&stall, &signed, &acme(), office.now()).await;
    assert_eq!((late.status, &*office.owed("acme").await), (200, "10000"), "{}", late.body);
    let stranger = office.commit(&stall, "acme", 2);
    office.later(100);
    is_refused(&present(&stall, &stranger, &acme(), office.now()).await, "payment_expired");
}

#[tokio::test]
async fn a_ledger_that_is_down_serves_nobody() {
    let office = Office::open();
    let stall = office.stall().await;
    office.ledger.interposer().is_down.store(true, std::sync::atomic::Ordering::SeqCst);
    let answer = office.buy(&stall, "acme", &acme(), 1).await;
    assert_eq!((answer.status, stall.runs()), (503, 0));
}

#[tokio::test]
async fn room_that_nobody_came_back_for_is_free_again_in_time() {
    let office = Office::open();
    let stall = office.stall_with(Arc::new(|_| Box::pin(std::future::pending()))).await;
    let signer = acme();
    for nonce in 0..5 {
        let bought = office.buy(&stall, "acme", &signer, nonce);
        assert!(tokio::time::timeout(Duration::from_millis(20), bought).await.is_err(), "its buyer hung up");
    }
    let stall = office.stall().await;
    is_refused(&office.buy(&stall, "acme", &acme(), 5).await, "credit_limit_exceeded");
    office.later(901);
    assert_eq!(office.buy(&stall, "acme", &acme(), 6).await.status, 200);
}

#[tokio::test]
async fn without_the_request_a_payment_on_credit_is_no_payment() {
    let office = Office::open();
    let stall = office.stall().await;
    let signed = office.commit(&stall, "acme", 1);
    let refused = stall.paywall.check(&stall.offers, signed.payment.clone(), URL).unwrap_err();
    assert_eq!(refused.code(), "invalid_signature");
    let mut forged = signed.payment;
    forged.payload.insert("proof".to_owned(), serde_json::json!({ "account": "acme" }));
    is_refused(&stall.present(&Signed::of(forged)).await, "invalid_signature");
    let _unused = Fingerprint::of("GET", &URL.parse().unwrap(), b"");
}

#[tokio::test]
async fn the_published_profile_is_held_to_agent_authority_and_payment() {
    let office = Office::open();
    let accounts = format!(
        "registration_url = \"https://a.example\"\n[[account]]\nid = \"mycrawler.com\"\nlimit = \"$1\"\nagent = \
         \"https://mycrawler.com\"\nkeys = [{}]",
        acme().public_key().to_jwk()["x"]
    );
    let accounts = Arc::new(tollway_seller::Accounts::parse(&accounts).unwrap());
    let book =
        tollway_seller::CreditBook::new(Arc::clone(&accounts), office.ledger.clone(), office.clock.clone());
    let builder = Paywall::builder("https://api.example.com")
        .accept_by(SchemeName::BATCH_SETTLEMENT, "cloudflare:402", "merchant")
        .scheme(CreditSeller::cloudflare(accounts))
        .facilitator(book.clone())
        .ledger(office.ledger.clone())
        .clock(office.clock.clone());
    let stall = Stall::with(builder, |priced| priced, content(Duration::ZERO)).await;
    let required = stall.required();
    let offer = required.accepts[0].clone();
    assert_eq!(
        (offer.amount, &*offer.asset, offer.extra["version"].as_str()),
        (1.into(), "USD", Some("1.0.0"))
    );
    let payload = serde_json::json!({ "amount": "1", "asset": "USD" }).as_object().unwrap().clone();
    let mut payment = office.commit(&stall, "acme", 1).payment;
    payment.payload = payload;
    let signed = Signed::of(payment);
    let covered = ["@authority", "payment-signature"];
    let get = || (Method::GET, URL, "");
    let sent = || (Method::GET, "/data", "");
    let agent = acme().publishing("https://mycrawler.com");
    let stranger = acme().publishing("https://other.example");
    is_refused(&send(&stall, &signed, (&acme(), &covered, NOON), get(), sent()).await, "invalid_signature");
    is_refused(
        &send(&stall, &signed, (&stranger, &covered, NOON), get(), sent()).await,
        "signature_agent_unknown",
    );
    let old = UnixTime(NOON.0 - 31);
    is_refused(&send(&stall, &signed, (&agent, &covered, old), get(), sent()).await, "invalid_signature");
    let answer = send(&stall, &signed, (&agent, &covered, NOON), get(), sent()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let told = answer.settlement().unwrap();
    assert_eq!((told.payer.as_deref(), told.amount.as_deref()), (Some("mycrawler.com"), Some("1")));
    assert!(told.extra.contains_key("timestamp"), "{told:?}");
    let again = send(&stall, &signed, (&agent, &covered, NOON), get(), sent()).await;
    assert!(again.is_replay(), "the very request again buys nothing new");
    office.later(1);
    let next = send(&stall, &signed, (&agent, &covered, office.now()), get(), sent()).await;
    assert_eq!((next.status, next.is_replay()), (200, false), "signed anew it is another payment");
    assert_eq!(book.standing("mycrawler.com").await.unwrap().owed(), 20_000.into(), "two cents");
    assert_eq!(StatusCode::OK.as_u16(), next.status);
}

/// A generator that is the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[tokio::test]
async fn whatever_happens_what_is_charged_is_what_was_served_and_within_the_line() {
    for seed in 1..=5 {
        let (office, mut dice) = (Office::open(), Dice(seed));
        let stalls = [office.stall().await, office.stall().await];
        let (mut served, mut paid, mut is_suspended) = (0, 0, false);
        let mut lost: Vec<Signed> = Vec::new();
        for nonce in 0..120 {
            let stall = &stalls[usize::from(dice.roll(2) == 1)];
            match dice.roll(10) {
                0 => {
                    let cents = 1 + dice.roll(3);
                    let reference = format!("bank {nonce}");
                    let money = (cents * 10_000).into();
                    office.book.record_payment("acme", money, &reference, None).await.unwrap();
                    paid += cents;
                }
                1 => {
                    is_suspended = !is_suspended;
                    let reason = is_suspended.then_some("a test");
                    office.book.suspend("acme", reason).await.unwrap();
                }
                2 => {
                    let faults = [
                        ("intent_put", Moment::After),
                        ("intent_put", Moment::Before),
                        ("intent_open", Moment::After),
                    ];
                    let (operation, moment) = faults[usize::try_from(dice.roll(3)).unwrap()];
                    if is_suspended {
                        continue;
                    }
                    office.ledger.interposer().next(operation, moment);
                    let signed = office.commit(stall, "acme", nonce);
                    let answer = present(stall, &signed, &acme(), office.now()).await;
                    assert_ne!(answer.status, 200, "seed {seed}, {nonce}: {}", answer.body);
                    lost.push(signed);
                    // What was planned and did not come to pass is over.
                    office.ledger.interposer().forget();
                }
                3 => {
                    for signed in std::mem::take(&mut lost) {
                        let answer = present(stall, &signed, &acme(), office.now()).await;
                        served += u64::from(answer.status == 200);
                        if answer.status >= 500 {
                            lost.push(signed);
                        }
                    }
                }
                _ => {
                    let answer = office.buy(stall, "acme", &acme(), nonce).await;
                    let owes_all = served + 1 > 5 + paid;
                    served += u64::from(answer.status == 200);
                    assert!(!(answer.status == 200 && (is_suspended || owes_all)), "seed {seed}, {nonce}");
                }
            }
            let standing = office.book.standing("acme").await.unwrap();
            let charged: u64 = standing.charged.to_string().parse().unwrap();
            let unanswered = lost.len() as u64;
            assert!(
                (served..=served + unanswered).contains(&(charged / 10_000)),
                "seed {seed}, {nonce}: {standing:?}"
            );
            assert!(charged <= 50_000 + paid * 10_000, "seed {seed}, {nonce}: {standing:?}");
        }
        let (from, to) = (NOON, office.now().plus_seconds(DAY));
        let statement = office.book.statement("acme", from, to).await.unwrap();
        assert_eq!(statement.within.0, office.book.standing("acme").await.unwrap().charged, "seed {seed}");
    }
}
