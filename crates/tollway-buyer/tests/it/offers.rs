//! Quotes, and payments for other transports.

use reqwest::{Method, Request};
use tollway_buyer::{PaymentError, Policy};
use tollway_core::{Amount, Network};

use crate::purse::{Purse, UNKNOWN};
use crate::shop::{Shop, bill, challenge, offer, redirect, usdc};

#[tokio::test]
async fn a_quote_shows_every_offer_with_its_decision_and_signs_nothing() {
    let shop = Shop::honest(vec![usdc(50_000), offer(UNKNOWN, 3), usdc(10_000)]).await;
    let purse = Purse::new(Policy::default().cap_per_payment("$0.01".parse().unwrap()));
    let request = Request::new(Method::GET, shop.url("/data").parse().unwrap());
    let quote = purse.wallet.quote(request).await.unwrap();
    let lines: Vec<_> = quote.offers.iter().map(ToString::to_string).collect();
    assert_eq!(lines[0], "0.05 USDC on eip155:31337: above the cap of $0.01 per payment");
    assert_eq!(
        lines[1],
        format!(
            "3 atomic units of {UNKNOWN} on eip155:31337: the asset is unknown: allow it with a cap of its own"
        )
    );
    assert_eq!(lines[2], "0.01 USDC on eip155:31337: allowed");
    assert_eq!(quote.chosen().unwrap().offer, usdc(10_000));
    assert_eq!((purse.signatures(), shop.payments().len()), (0, 0));
}

#[tokio::test]
async fn what_could_not_be_paid_at_any_price_is_not_quoted() {
    let away = Shop::honest(vec![usdc(1)]).await.url("/data");
    let shop = Shop::open(move |seen| {
        let elsewhere = "https://elsewhere.example.com/data";
        Some(match &*seen.path {
            "/redirected" => redirect(&away),
            _ => challenge(&bill(elsewhere, vec![usdc(1)])),
        })
    })
    .await;
    let wallet = Purse::default().wallet;
    let quote = |path| wallet.quote(Request::new(Method::GET, shop.url(path).parse().unwrap()));
    assert!(matches!(quote("/spoofed").await, Err(PaymentError::ResourceMismatch { .. })));
    assert!(matches!(quote("/redirected").await, Err(PaymentError::Redirected { .. })));
}

#[tokio::test]
async fn what_costs_nothing_is_quoted_without_offers() {
    let shop = Shop::open(|_| Some(crate::shop::plain(axum::http::StatusCode::OK, "free"))).await;
    let request = Request::new(Method::GET, shop.url("/").parse().unwrap());
    let quote = Purse::default().wallet.quote(request).await.unwrap();
    assert!(quote.status == 200 && quote.offers.is_empty() && quote.chosen().is_none());
}

#[tokio::test]
async fn a_payment_for_another_transport_obeys_the_same_rules() {
    let purse = Purse::default();
    let required = bill("https://api.example.com/tool", vec![usdc(10_000)]);
    let pay = |url: &str| {
        let (wallet, required, url) = (purse.wallet.clone(), required.clone(), url.parse().unwrap());
        async move { wallet.pay(&required, &url).await }
    };
    assert!(matches!(pay("http://api.example.com/tool").await, Err(PaymentError::Insecure(_))));
    let elsewhere = pay("https://other.example.com/tool").await;
    assert!(matches!(elsewhere, Err(PaymentError::ResourceMismatch { .. })));
    assert_eq!(purse.signatures(), 0);

    let payment = pay("https://api.example.com/tool").await.unwrap();
    assert_eq!((payment.header.name(), payment.offer.amount), ("payment-signature", Amount::from(10_000)));
    assert!(!format!("{payment:?}").contains(payment.header.value()));
    let spent = purse.wallet.spent();
    assert_eq!((&spent[0].network, spent[0].amount), (&Network::evm(31337), Amount::from(10_000)));
}
