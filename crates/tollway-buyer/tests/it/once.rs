//! One purchase, one authorization: whatever is cut, dropped, retried, or asked for at once.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::{Extensions, StatusCode};
use axum::response::Response;
use reqwest::Request;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Error, Middleware, Next};
use tollway_buyer::{
    Answer, IntentKey, IntentRecord, IntentState, PaymentError, Policy, Wallet, Window, paid, payment_error,
};
use tollway_core::model::SettleResponse;
use tollway_core::{Clock, ManualClock, Network, UnixTime, X402Version, wire};
use tollway_ledger::{Intent, IntentQuery, MemoryLedger};

use crate::purse::{Purse, UNKNOWN};
use crate::shop::{Seen, Shop, challenge, offer, plain, usdc};

/// A shop that answers payments with `answer` and everything else with a bill.
async fn shop(answer: impl Fn(&Seen) -> Option<Response> + Send + Sync + 'static) -> Shop {
    Shop::open(move |seen| match seen.payment() {
        Some(_) => answer(seen),
        None => Some(challenge(&seen.bill(vec![usdc(1)]))),
    })
    .await
}

/// Every purchase of a wallet's, the oldest first.
async fn purchases(wallet: &Wallet) -> Vec<(Intent, IntentRecord)> {
    wallet.flush().await;
    let query = IntentQuery { wallet: wallet.name().to_owned(), limit: 1_000, ..IntentQuery::default() };
    let intents = wallet.ledger().intent_list(query).await.unwrap();
    intents.into_iter().map(|intent| (intent.clone(), IntentRecord::read(&intent).unwrap())).collect()
}

async fn states(wallet: &Wallet) -> Vec<(IntentState, Answer)> {
    purchases(wallet).await.into_iter().map(|(_, record)| (record.state, record.answer)).collect()
}

#[tokio::test]
async fn a_purchase_whose_answer_was_read_is_over_and_the_same_request_buys_anew() {
    let shop = shop(|seen| Some(seen.goods())).await;
    let purse = Purse::lasting(&Arc::new(MemoryLedger::new()));
    for bought in 1..=3 {
        assert_eq!(purse.get(&shop.url("/data")).await.unwrap().text().await.unwrap(), "goods");
        assert_eq!((purse.signatures(), shop.distinct_payments()), (bought, bought));
    }
    let purchases = purchases(&purse.wallet).await;
    assert_eq!(purchases.len(), 3);
    for (intent, record) in purchases {
        assert!(!intent.is_open && intent.key.is_none() && intent.holder.is_none());
        assert_eq!(
            (record.state, record.answer, record.status),
            (IntentState::Paid, Answer::Read, Some(200))
        );
        assert_eq!(record.transaction(), Some("0xabc"));
        assert_eq!(record.authorization.unwrap().value, None, "what is not presented any more is not kept");
    }
}

#[tokio::test]
async fn an_answer_that_was_not_read_is_fetched_with_the_same_payment() {
    let shop = shop(|seen| Some(seen.goods())).await;
    let purse = Purse::default();
    drop(purse.get(&shop.url("/data")).await.unwrap());
    assert_eq!(states(&purse.wallet).await, [(IntentState::Paid, Answer::Unread)]);
    assert_eq!(purse.get(&shop.url("/data")).await.unwrap().text().await.unwrap(), "goods");
    assert_eq!((purse.signatures(), shop.payments().len(), shop.distinct_payments()), (1, 2, 1));
    assert_eq!(states(&purse.wallet).await, [(IntentState::Paid, Answer::Read)]);
    // Without asking for the price again.
    assert_eq!(shop.seen().len(), 3);
}

#[tokio::test]
async fn what_the_answer_brings_survives_that_its_end_is_watched() {
    let shop = shop(|seen| {
        let mut goods = seen.goods();
        goods.headers_mut().insert("x-own", "1".parse().unwrap());
        Some(goods)
    })
    .await;
    let purse = Purse::default();
    let response = purse.get(&shop.url("/data?x=1")).await.unwrap();
    assert_eq!((response.content_length(), response.url().as_str()), (Some(5), &*shop.url("/data?x=1")));
    assert_eq!(response.headers()["x-own"], "1");
    assert!(response.remote_addr().is_some());
    let paid = paid(&response).unwrap();
    let id = paid.intent.unwrap();
    assert_eq!(paid.settlement.as_ref().unwrap().transaction, "0xabc");
    assert_eq!(response.bytes().await.unwrap(), "goods");
    assert_eq!(purchases(&purse.wallet).await[0].0.id, id);
}

#[tokio::test]
async fn a_request_whose_caller_hangs_up_leaves_its_purchase_to_the_next_at_once() {
    let silent = shop(|seen| (seen.paid_before > 0).then(|| seen.goods())).await;
    let purse = Purse::default();
    let url = silent.url("/data");
    let hung_up = async {
        while silent.payments().is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        answer = purse.get(&url) => panic!("{answer:?}"),
        () = hung_up => {}
    }
    assert_eq!(purse.get(&url).await.unwrap().text().await.unwrap(), "goods");
    assert_eq!((purse.signatures(), silent.distinct_payments()), (1, 1));
}

#[tokio::test]
async fn requests_that_ask_for_the_same_at_once_take_turns() {
    let shop = shop(|seen| Some(seen.goods())).await;
    let purse = Purse::default();
    let url = shop.url("/data");
    let get = || async { purse.get(&url).await.unwrap().text().await.unwrap() };
    let answers = futures(8, get).await;
    assert!(answers.iter().all(|answer| answer == "goods"));
    // Each is read to its end before the next begins: eight purchases, each paid once.
    assert_eq!((purse.signatures(), shop.distinct_payments(), shop.payments().len()), (8, 8, 8));
    let named = || async {
        let client = purse.wallet.client().unwrap();
        let request = client.get(&url).header("idempotency-key", "one");
        request.send().await.unwrap().text().await.unwrap()
    };
    let answers = futures(8, named).await;
    assert!(answers.iter().all(|answer| answer == "goods"));
    assert_eq!((purse.signatures(), shop.distinct_payments(), shop.payments().len()), (9, 9, 16));
}

/// Runs `make` so often at once.
async fn futures<T: Send + 'static, F: Future<Output = T>>(times: usize, make: impl Fn() -> F) -> Vec<T> {
    let mut all: Vec<_> = (0..times).map(|_| Box::pin(make())).collect();
    let mut done: Vec<Option<T>> = (0..times).map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (one, slot) in all.iter_mut().zip(&mut done) {
            if slot.is_none()
                && let std::task::Poll::Ready(value) = one.as_mut().poll(context)
            {
                *slot = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test]
async fn who_asks_again_while_it_holds_the_answer_unread_is_given_the_same_purchase() {
    let shop = shop(|seen| Some(seen.goods())).await;
    let purse = Purse::default();
    let url = shop.url("/data");
    let first = purse.get(&url).await.unwrap();
    let second = tokio::time::timeout(Duration::from_secs(10), purse.get(&url));
    assert_eq!(second.await.expect("it does not wait for ever").unwrap().text().await.unwrap(), "goods");
    assert_eq!(first.text().await.unwrap(), "goods");
    assert_eq!((purse.signatures(), shop.distinct_payments()), (1, 1));
}

#[tokio::test]
async fn a_purchase_that_its_caller_named_stays_one_within_the_window() {
    let shop = shop(|seen| Some(seen.goods())).await;
    let (clock, ledger) =
        (Arc::new(ManualClock::new(UnixTime(1_800_000_000))), Arc::new(MemoryLedger::new()));
    let purse = Purse::at(clock.clone(), &ledger);
    let client = purse.wallet.client().unwrap();
    let named = || client.get(shop.url("/data")).with_extension(IntentKey::new("order 1"));
    for _ in 0..3 {
        assert_eq!(named().send().await.unwrap().text().await.unwrap(), "goods");
        purse.wallet.flush().await;
    }
    assert_eq!((purse.signatures(), shop.payments().len()), (1, 3));
    let other = client.get(shop.url("/other")).with_extension(IntentKey::new("order 1")).send().await;
    assert!(matches!(payment_error(&other.unwrap_err()), Some(PaymentError::KeyReused)));
    clock.set(clock.now().plus_seconds(24 * 3600 + 1));
    assert_eq!(named().send().await.unwrap().text().await.unwrap(), "goods");
    assert_eq!(purse.signatures(), 2, "the window is over");
}

#[tokio::test]
async fn a_fresh_key_buys_whatever_else_is_under_way() {
    let shop = shop(|seen| Some(seen.goods())).await;
    let purse = Purse::default();
    let client = purse.wallet.client().unwrap();
    let fresh = || client.get(shop.url("/data")).with_extension(IntentKey::fresh()).send();
    let (one, two) = (fresh().await.unwrap(), fresh().await.unwrap());
    drop((one, two));
    assert_eq!((purse.signatures(), shop.distinct_payments()), (2, 2));
}

#[tokio::test]
async fn agents_buy_for_themselves_alone() {
    let shop = shop(|_| Some(plain(StatusCode::INTERNAL_SERVER_ERROR, "broken"))).await;
    let purse = Purse::default();
    for agent in ["scout", "clerk", "scout"] {
        let client = purse.wallet.as_agent(agent).client().unwrap();
        client.get(shop.url("/data")).send().await.unwrap().text().await.unwrap();
    }
    assert_eq!((purse.signatures(), shop.payments().len()), (2, 3), "scout's was presented again");
}

/// A refusal that says what became of the payment.
fn told(told: &SettleResponse) -> Response {
    let (name, value) = wire::encode_settlement_header(told, X402Version::V2);
    Response::builder().status(StatusCode::PAYMENT_REQUIRED).header(name, value).body("no".into()).unwrap()
}

/// A layer that asks again whatever goes wrong, as retry layers do.
struct Stubborn {
    tries: usize,
    asked: Arc<AtomicUsize>,
}

type Answered = Result<reqwest::Response, Error>;

impl Stubborn {
    async fn send(&self, request: Request, extensions: &mut Extensions, next: Next<'_>) -> Answered {
        let mut answer = Err(Error::Middleware(std::io::Error::other("not asked").into()));
        for _ in 0..self.tries {
            self.asked.fetch_add(1, Ordering::SeqCst);
            // Who holds an answer unread while it asks for it again waits for itself.
            drop(answer);
            answer = next.clone().run(request.try_clone().unwrap(), extensions).await;
            if answer.as_ref().is_ok_and(|answer| answer.status().is_success()) {
                break;
            }
        }
        answer
    }
}

impl Middleware for Stubborn {
    fn handle<'s, 'e, 'n, 'f>(
        &'s self,
        request: Request,
        extensions: &'e mut Extensions,
        next: Next<'n>,
    ) -> Pin<Box<dyn Future<Output = Answered> + Send + 'f>>
    where
        's: 'f,
        'e: 'f,
        'n: 'f,
        Self: 'f,
    {
        Box::pin(self.send(request, extensions, next))
    }
}

#[tokio::test]
async fn a_retry_layer_above_cannot_pay_twice() {
    type Broken = fn(&Seen) -> Option<Response>;
    // What a seller makes of a facilitator that is slow, down, forgetful, wrong, or lies.
    let answers: [Broken; 9] = [
        |_| None,
        |_| Some(plain(StatusCode::INTERNAL_SERVER_ERROR, "broken")),
        |_| Some(plain(StatusCode::BAD_GATEWAY, "nonsense")),
        |_| Some(plain(StatusCode::SERVICE_UNAVAILABLE, "down")),
        |_| Some(plain(StatusCode::TOO_MANY_REQUESTS, "later")),
        |_| Some(plain(StatusCode::CONFLICT, "settling")),
        |seen| Some(challenge(&seen.bill(vec![usdc(1)]))),
        |_| Some(told(&SettleResponse::failed(Network::evm(31337), None, "no"))),
        |_| Some(told(&SettleResponse::pending(Network::evm(31337), "", "0x1"))),
    ];
    for (number, broken) in answers.into_iter().enumerate() {
        let shop =
            shop(move |seen| if seen.paid_before < 4 { broken(seen) } else { Some(seen.goods()) }).await;
        let purse = Purse::default();
        let asked = Arc::new(AtomicUsize::new(0));
        let client: ClientWithMiddleware = ClientBuilder::new(reqwest::Client::new())
            .with(Stubborn { tries: 8, asked: asked.clone() })
            .with(purse.wallet.middleware().unwrap())
            .build();
        let answer = client.get(shop.url("/data")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{number}");
        assert!(asked.load(Ordering::SeqCst) > 1, "{number}");
        assert_eq!((purse.signatures(), shop.distinct_payments()), (1, 1), "{number}");
    }
}

#[tokio::test]
async fn a_loop_of_requests_cannot_pay_twice_and_a_restarted_wallet_presents_the_same_payment() {
    let silent = shop(|seen| (seen.paid_before >= 5).then(|| seen.goods())).await;
    let (ledger, url) = (Arc::new(MemoryLedger::new()), silent.url("/data"));
    let mut signatures = 0;
    let answer = loop {
        // A wallet of its own each time: nothing is remembered but in the ledger.
        let purse = Purse::lasting(&ledger);
        let answer = purse.get(&url).await;
        purse.wallet.flush().await;
        signatures += purse.signatures();
        if let Ok(answer) = answer {
            break answer.text().await.unwrap();
        }
    };
    assert_eq!((&*answer, signatures, silent.distinct_payments()), ("goods", 1, 1));
}

#[tokio::test]
async fn nothing_is_signed_but_what_the_policy_allows_and_a_budget_holds() {
    let policy = Policy::default()
        .cap_per_payment("$0.50".parse().unwrap())
        .budget_per(Window::Day, &"$1".parse().unwrap());
    let ledger = Arc::new(MemoryLedger::new());
    let purse = Purse::of(|wallet| wallet.ledger(ledger.clone()).policy(policy.clone()));
    purse.watch(policy, ledger);
    let prices = [400_000, 600_000, 500_001, 400_000, 300_000, 100_000, 200_000, 1];
    let shop = Shop::open(move |seen| match seen.payment() {
        Some(_) => Some(seen.goods()),
        None => {
            let at: usize = seen.path.trim_start_matches('/').parse().unwrap();
            Some(challenge(&seen.bill(vec![offer(UNKNOWN, 1), usdc(prices[at])])))
        }
    })
    .await;
    let urls: Vec<String> = (0..prices.len()).map(|at| shop.url(&format!("/{at}"))).collect();
    let answers = futures(1, || async {
        let mut answers = Vec::new();
        for url in &urls {
            answers.push(purse.get(url).await.is_ok());
        }
        answers
    });
    // 0.4 and 0.4 fit, then 0.1 and what is next to nothing; the others are above the cap or the rest of the budget.
    assert_eq!(answers.await.concat(), [true, false, false, true, false, true, false, true]);
    assert_eq!((purse.signatures(), purse.violations()), (4, 0));
}

#[tokio::test]
async fn many_at_once_never_sign_more_than_the_budget_holds() {
    let policy = Policy::default().budget_per(Window::Lifetime, &"$0.00001".parse().unwrap());
    let ledger = Arc::new(MemoryLedger::new());
    let purse = Purse::of(|wallet| wallet.ledger(ledger.clone()).policy(policy.clone()));
    purse.watch(policy, ledger);
    let shop = shop(|seen| Some(seen.goods())).await;
    let next = AtomicUsize::new(0);
    let answers = futures(40, || {
        let url = shop.url(&format!("/{}", next.fetch_add(1, Ordering::SeqCst)));
        let purse = &purse;
        async move { purse.get(&url).await.is_ok() }
    });
    assert_eq!(answers.await.iter().filter(|is_paid| **is_paid).count(), 10);
    assert_eq!((purse.signatures(), purse.violations(), shop.distinct_payments()), (10, 0, 10));
}
