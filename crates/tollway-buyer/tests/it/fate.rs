//! After the payment has left: one signature, whatever comes back.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use tollway_buyer::{PaymentError, paid, payment_error};
use tollway_core::model::SettleResponse;
use tollway_core::{ErrorCode, Network, X402Version, wire};

use crate::purse::{Purse, UNKNOWN, error_of};
use crate::shop::{Seen, Shop, bill, challenge, offer, plain, sell, usdc};

/// A shop that answers payments with `answer` and everything else with a bill.
async fn shop(answer: impl Fn(&Seen) -> Option<Response> + Send + Sync + 'static) -> Shop {
    Shop::open(move |seen| match seen.payment() {
        Some(_) => answer(seen),
        None => Some(challenge(&seen.bill(vec![usdc(1)]))),
    })
    .await
}

fn retry_later(status: StatusCode, seconds: u64) -> Response {
    let response = Response::builder().status(status).header("retry-after", seconds.to_string());
    response.body("settling".into()).unwrap()
}

fn settled_as(told: &SettleResponse) -> Response {
    let (name, value) = wire::encode_settlement_header(told, X402Version::V2);
    Response::builder().header(name, value).body("goods".into()).unwrap()
}

#[tokio::test]
async fn a_paid_request_answered_402_again_is_not_paid_again() {
    // Each bill is new: recipient, asset and network swap places.
    let shop = Shop::open(|seen| {
        let mut next = usdc(2);
        next.pay_to = UNKNOWN.to_owned();
        let mut elsewhere = usdc(3);
        elsewhere.network = Network::evm(8453);
        let offers =
            if seen.payment().is_some() { vec![next, offer(UNKNOWN, 1), elsewhere] } else { vec![usdc(1)] };
        Some(challenge(&seen.bill(offers)))
    })
    .await;
    let purse = Purse::default();
    let response = purse.get(&shop.url("/data")).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYMENT_REQUIRED);
    assert!(response.headers().contains_key(wire::PAYMENT_REQUIRED));
    assert_eq!(paid(&response).unwrap().offer, usdc(1));
    assert_eq!((purse.signatures(), shop.payments().len(), shop.seen().len()), (1, 1, 2));
}

#[tokio::test]
async fn why_a_payment_was_refused_is_in_the_response() {
    let shop = shop(|_| {
        let code = ErrorCode::from_wire("insufficient_funds");
        let mut response = settled_as(&SettleResponse::failed(Network::evm(31337), Some(code), "no money"));
        *response.status_mut() = StatusCode::PAYMENT_REQUIRED;
        Some(response)
    })
    .await;
    let response = Purse::default().get(&shop.url("/data")).await.unwrap();
    let settlement = paid(&response).unwrap().settlement.clone().unwrap();
    assert_eq!(settlement.error_reason.unwrap().as_str(), "insufficient_funds");
}

#[tokio::test]
async fn an_honest_purchase_is_paid_once_and_has_its_settlement() {
    let shop = shop(|seen| Some(seen.goods())).await;
    let purse = Purse::default();
    let response = purse.get(&shop.url("/data")).await.unwrap();
    let paid = paid(&response).unwrap();
    assert_eq!(paid.settlement.as_ref().unwrap().transaction, "0xabc");
    assert_eq!((paid.suspicious.as_ref(), paid.value.as_ref().unwrap().symbol.as_str()), (None, "USDC"));
    assert_eq!(paid.payer.as_ref(), paid.settlement.as_ref().unwrap().payer.as_ref());
    assert_eq!((purse.signatures(), shop.payments().len()), (1, 1));
}

#[tokio::test]
async fn a_pending_settlement_is_asked_for_with_the_same_payment() {
    for status in [StatusCode::SERVICE_UNAVAILABLE, StatusCode::CONFLICT] {
        let shop =
            shop(move |seen| Some(if seen.paid_before < 2 { retry_later(status, 0) } else { seen.goods() }))
                .await;
        let purse = Purse::default();
        assert_eq!(purse.get(&shop.url("/data")).await.unwrap().status(), 200);
        assert_eq!((shop.payments().len(), shop.distinct_payments(), purse.signatures()), (3, 1, 1));
    }
}

#[tokio::test]
async fn a_settlement_pending_for_ever_is_unresolved() {
    let shop = shop(|_| Some(retry_later(StatusCode::SERVICE_UNAVAILABLE, 0))).await;
    let purse = Purse::default();
    let result = purse.get(&shop.url("/data")).await;
    let PaymentError::Unresolved { payment, cause } = error_of(&result) else { panic!("{result:?}") };
    assert!(cause.contains("503"), "{cause}");
    assert_eq!(shop.payments(), vec![payment.header.value().to_owned(); 3]);
    assert_eq!(purse.signatures(), 1);
}

#[tokio::test]
async fn nobody_waits_beyond_the_authorization_or_their_patience() {
    // The authorization lives for 60 s.
    for (total, seconds) in [(1000, 60), (10, 30), (1000, u64::MAX)] {
        let shop = shop(move |_| Some(retry_later(StatusCode::SERVICE_UNAVAILABLE, seconds))).await;
        let (purse, url) = (Purse::waiting(Duration::from_secs(total)), shop.url("/data"));
        let result = tokio::time::timeout(Duration::from_secs(5), purse.get(&url)).await;
        assert!(matches!(error_of(&result.unwrap()), PaymentError::Unresolved { .. }));
        assert_eq!(shop.payments().len(), 1);
    }
}

#[tokio::test]
async fn a_refusal_after_a_lost_answer_does_not_say_that_no_money_moved() {
    // The first presentation settles in silence; the second finds its nonce used.
    let shop = shop(|seen| (seen.paid_before > 0).then(|| challenge(&seen.bill(vec![usdc(1)])))).await;
    let purse = Purse::default();
    let result = purse.get(&shop.url("/data")).await;
    let PaymentError::Unresolved { cause, .. } = error_of(&result) else { panic!("{result:?}") };
    assert!(cause.contains("refused"), "{cause}");
    assert_eq!((shop.payments().len(), shop.distinct_payments(), purse.signatures()), (2, 1, 1));
}

#[tokio::test]
async fn a_refusal_after_a_pending_answer_does_not_say_that_no_money_moved() {
    for status in [StatusCode::SERVICE_UNAVAILABLE, StatusCode::CONFLICT] {
        let shop = shop(move |seen| {
            Some(match seen.paid_before {
                0 => retry_later(status, 0),
                _ => challenge(&seen.bill(vec![usdc(1)])),
            })
        })
        .await;
        let purse = Purse::default();
        let result = purse.get(&shop.url("/data")).await;
        let PaymentError::Unresolved { cause, .. } = error_of(&result) else { panic!("{result:?}") };
        assert!(cause.contains(status.as_str()) && cause.contains("refused"), "{cause}");
        assert_eq!((shop.payments().len(), shop.distinct_payments(), purse.signatures()), (2, 1, 1));
    }
}

/// The answer that says that a payment failed, and why.
fn failed_as(told: &SettleResponse) -> Response {
    let mut response = settled_as(told);
    *response.status_mut() = StatusCode::PAYMENT_REQUIRED;
    response
}

#[tokio::test]
async fn a_payment_that_failed_after_a_pending_or_a_lost_answer_is_not_called_unresolved() {
    for is_lost in [false, true] {
        let shop = shop(move |seen| match (seen.paid_before, is_lost) {
            (0, true) => None,
            (0, false) => Some(retry_later(StatusCode::SERVICE_UNAVAILABLE, 0)),
            _ => {
                let code = ErrorCode::from_wire("insufficient_funds");
                Some(failed_as(&SettleResponse::failed(Network::evm(31337), Some(code), "no money")))
            }
        })
        .await;
        let response = Purse::default().get(&shop.url("/data")).await.unwrap();
        assert_eq!((response.status(), shop.payments().len()), (StatusCode::PAYMENT_REQUIRED, 2));
        let settlement = paid(&response).unwrap().settlement.clone().unwrap();
        assert_eq!(settlement.error_reason.unwrap().as_str(), "insufficient_funds");
    }
}

#[tokio::test]
async fn a_failure_that_may_be_anothers_or_our_own_success_leaves_the_payment_unresolved() {
    let here = Network::evm(31337);
    let no_money = Some(ErrorCode::from_wire("insufficient_funds"));
    let mut of_another = SettleResponse::failed(here.clone(), no_money.clone(), "");
    of_another.payer = Some(UNKNOWN.to_owned());
    let used = Some(ErrorCode::INVALID_EXACT_EVM_NONCE_ALREADY_USED);
    for told in [
        of_another,
        SettleResponse::failed(Network::evm(1), no_money, ""),
        SettleResponse::failed(here.clone(), used, ""),
        SettleResponse::failed(here.clone(), Some(ErrorCode::DUPLICATE_SETTLEMENT), ""),
        SettleResponse::pending(here, "", "0x1"),
    ] {
        let why = format!("{told:?}");
        let shop = shop(move |seen| {
            Some(match seen.paid_before {
                0 => retry_later(StatusCode::SERVICE_UNAVAILABLE, 0),
                _ => failed_as(&told),
            })
        })
        .await;
        let result = Purse::default().get(&shop.url("/data")).await;
        assert!(result.is_err(), "{why}");
        assert!(matches!(error_of(&result), PaymentError::Unresolved { .. }), "{why}");
    }
}

#[tokio::test]
async fn an_error_that_promises_nothing_is_returned_as_it_is() {
    let shop = shop(|_| Some(plain(StatusCode::SERVICE_UNAVAILABLE, "broken"))).await;
    let response = Purse::default().get(&shop.url("/data")).await.unwrap();
    assert!(response.status() == StatusCode::SERVICE_UNAVAILABLE && paid(&response).is_some());
    assert_eq!(shop.payments().len(), 1);
}

/// A shop behind a front that drops the answers on some connections. The bill is for the front.
async fn cut(connections: &'static [usize]) -> (Shop, String) {
    let shop = Shop::open(|seen| {
        let host = seen.headers["host"].to_str().unwrap();
        let required = bill(&format!("http://{host}/data"), vec![usdc(1)]);
        Some(sell(seen, || challenge(&required)))
    })
    .await;
    let front = shop.behind_a_cut(connections).await;
    (shop, format!("http://{front}/data"))
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_with_the_same_payment() {
    // Connection 0 carries the unpaid request.
    let (shop, url) = cut(&[1]).await;
    let purse = Purse::default();
    assert_eq!(purse.get(&url).await.unwrap().status(), 200);
    assert_eq!((shop.payments().len(), shop.distinct_payments(), purse.signatures()), (2, 1, 1));
}

#[tokio::test]
async fn an_answer_lost_twice_leaves_the_payment_with_the_caller() {
    let (shop, url) = cut(&[1, 2]).await;
    let purse = Purse::default();
    let result = purse.get(&url).await;
    let PaymentError::Unresolved { payment, .. } = error_of(&result) else { panic!("{result:?}") };
    assert!(error_of(&result).to_string().contains("money may have moved"));
    assert_eq!((shop.payments().len(), shop.distinct_payments()), (2, 1));

    // What the error holds resolves it.
    let client = purse.wallet.client().unwrap();
    let header = (payment.header.name(), payment.header.value());
    let response = client.get(&url).header(header.0, header.1).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "goods");
    assert_eq!((shop.distinct_payments(), purse.signatures()), (1, 1));
}

#[tokio::test]
async fn a_shop_that_falls_silent_is_asked_again_with_the_same_payment() {
    let silent_once = shop(|seen| (seen.paid_before > 0).then(|| seen.goods())).await;
    let purse = Purse::default();
    assert_eq!(purse.get(&silent_once.url("/data")).await.unwrap().status(), 200);
    assert_eq!((silent_once.payments().len(), silent_once.distinct_payments()), (2, 1));

    let silent = shop(|_| None).await;
    let result = purse.get(&silent.url("/data")).await;
    assert!(matches!(error_of(&result), PaymentError::Unresolved { .. }));
    assert_eq!((silent.payments().len(), silent.distinct_payments()), (2, 1));
}

#[tokio::test]
async fn a_payment_that_never_left_is_not_called_unresolved() {
    // The port answers once, to the unpaid request, and is closed then.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut connection, _) = listener.accept().await.unwrap();
        drop(listener);
        let _ = connection.read(&mut [0; 4096]).await.unwrap();
        let required = bill(&format!("http://{address}/"), vec![usdc(1)]);
        let header = wire::encode_header(&wire::encode_payment_required(&required, X402Version::V2));
        let answer = format!(
            "HTTP/1.1 402 Payment Required\r\npayment-required: {header}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        connection.write_all(answer.as_bytes()).await.unwrap();
    });
    let purse = Purse::default();
    let result = purse.get(&format!("http://{address}/")).await;
    assert!(matches!(error_of(&result), PaymentError::NotSent(_)), "{result:?}");
    assert_eq!(purse.signatures(), 1);
}

#[tokio::test]
async fn a_settlement_that_is_not_of_this_payment_is_suspicious() {
    let payer = Purse::default();
    let shop_of = |told: SettleResponse| shop(move |_| Some(settled_as(&told)));
    let network = Network::evm(31337);
    let mut overcharged = SettleResponse::settled(network.clone(), "", "0x1");
    overcharged.payer = None;
    overcharged.amount = Some("2".to_owned());
    for (told, why) in [
        (SettleResponse::settled(Network::evm(1), "", "0x1"), "network"),
        (SettleResponse::settled(network.clone(), UNKNOWN, "0x1"), "payer"),
        (overcharged, "amount"),
        (SettleResponse::failed(network, None, "no"), "settlement failed"),
    ] {
        let shop = shop_of(told).await;
        let response = payer.get(&shop.url("/data")).await.unwrap();
        let suspicious = paid(&response).unwrap().suspicious.clone().unwrap();
        assert!(suspicious.contains(why), "{suspicious}");
    }
    let garbled = shop(|_| {
        let response = Response::builder().header(wire::PAYMENT_RESPONSE, "%%%");
        Some(response.body("goods".into()).unwrap())
    })
    .await;
    let response = payer.get(&garbled.url("/data")).await.unwrap();
    assert!(paid(&response).is_some_and(|paid| paid.settlement.is_none() && paid.suspicious.is_some()));
}

/// Status 412, as sellers answer a payment that Permit2 may not move yet.
fn not_approved(seen: &Seen, code: &str) -> Response {
    let mut required = seen.bill(vec![usdc(1)]);
    required.error = Some(code.to_owned());
    let mut response = challenge(&required);
    *response.status_mut() = StatusCode::PRECONDITION_FAILED;
    response
}

#[tokio::test]
async fn a_missing_approval_is_an_error_with_the_payment_which_is_then_presented_again() {
    let shop = shop(|seen| match seen.paid_before {
        0 => Some(not_approved(seen, "permit2_allowance_required")),
        _ => Some(seen.goods()),
    })
    .await;
    let purse = Purse::default();
    let error = purse.get(&shop.url("/data")).await.unwrap_err();
    let Some(PaymentError::AllowanceRequired { payment }) = payment_error(&error) else {
        panic!("{error}");
    };
    assert!(error.to_string().contains("approve"), "{error}");
    let request = purse.wallet.client().unwrap().get(shop.url("/data")).build().unwrap();
    let served = purse.wallet.present(request, payment).await.unwrap();
    assert_eq!(paid(&served).unwrap().settlement.as_ref().unwrap().transaction, "0xabc");
    assert_eq!((purse.signatures(), shop.payments().len(), shop.distinct_payments()), (1, 2, 1));
}

#[tokio::test]
async fn status_412_for_another_reason_is_the_resources_own_answer() {
    for code in [None, Some("insufficient_funds")] {
        let shop = shop(move |seen| match code {
            Some(code) => Some(not_approved(seen, code)),
            None => Some(plain(StatusCode::PRECONDITION_FAILED, "permit2_allowance_required")),
        })
        .await;
        let answer = Purse::default().get(&shop.url("/data")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::PRECONDITION_FAILED);
    }
}

#[tokio::test]
async fn a_missing_approval_says_nothing_of_a_payment_that_was_pending_before() {
    let shop = shop(|seen| match seen.paid_before {
        0 => Some(retry_later(StatusCode::CONFLICT, 0)),
        _ => Some(not_approved(seen, "permit2_allowance_required")),
    })
    .await;
    let purse = Purse::default();
    let error = purse.get(&shop.url("/data")).await.unwrap_err();
    assert!(matches!(payment_error(&error), Some(PaymentError::Unresolved { .. })), "{error}");
    assert_eq!((purse.signatures(), shop.distinct_payments()), (1, 1));
}

#[tokio::test]
async fn a_payment_is_not_presented_in_the_clear() {
    let shop = shop(|seen| Some(not_approved(seen, "permit2_allowance_required"))).await;
    let purse = Purse::default();
    let error = purse.get(&shop.url("/data")).await.unwrap_err();
    let Some(PaymentError::AllowanceRequired { payment }) = payment_error(&error) else {
        panic!("{error}");
    };
    let request = purse.wallet.client().unwrap().get("http://shop.example/data").build().unwrap();
    let refused = purse.wallet.present(request, payment).await;
    assert!(matches!(refused, Err(PaymentError::Insecure(_))), "{refused:?}");
}
