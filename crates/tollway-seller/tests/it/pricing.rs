//! Prices: several offers, prices by closure, and what cannot be a price.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use tollway_core::model::X402Version;
use tollway_core::{Amount, JsonObject, Price};
use tollway_seller::{Paywall, PriceError};

use crate::doubles::{BASE, Buyer, PAY_TO, ScriptedFacilitator, builder, explained, kinds, paywall, serve};

const POLYGON: &str = "eip155:137";

async fn two_networks() -> (Arc<ScriptedFacilitator>, Paywall) {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let paywall = builder(&facilitator).accept(POLYGON, PAY_TO).start().await.unwrap();
    (facilitator, paywall)
}

#[tokio::test]
async fn a_price_is_offered_on_every_accepted_network_in_order() {
    let (facilitator, paywall) = two_networks().await;
    let priced = paywall.price("$0.01").unwrap().also("$0.02").unwrap();
    let app = Router::new().route("/data", get(|| async { "x" }).layer(priced));
    let url = format!("{}/data", serve(app).await);
    let buyer = Buyer::new();
    for version in [X402Version::V2, X402Version::V1] {
        let required = buyer.offers(&url, version).await;
        let offers: Vec<_> =
            required.accepts.iter().map(|o| (o.network.as_str(), o.amount.to_string())).collect();
        let expected = [(BASE, "10000"), (POLYGON, "10000"), (BASE, "20000"), (POLYGON, "20000")];
        assert_eq!(offers, expected.map(|(network, amount)| (network, amount.to_owned())));
        // v1 names scheme and network only: the signed value decides which of two offers it pays.
        for index in 0..4 {
            let signed = buyer.sign_offer(&required, index).await;
            assert_eq!(buyer.get(&url, &signed).await.status(), 200);
            let settled = facilitator.last_settle.lock().unwrap().clone().unwrap().requirements;
            let paid = &required.accepts[index];
            assert_eq!((&settled.network, settled.amount), (&paid.network, paid.amount));
        }
    }
}

#[tokio::test]
async fn what_v1_cannot_sign_is_offered_to_v2_alone() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let paywall = paywall(&facilitator).await;
    let extra: JsonObject = [("assetTransferMethod".to_owned(), "permit2".into())].into_iter().collect();
    let asset = "0x5FbDB2315678afecb367f032d93F642f64180aa3".to_owned();
    let by_permit2 = Price::Asset { amount: Amount::from(7u64), asset, extra };
    let priced = paywall.price("$0.01").unwrap().also(by_permit2).unwrap();
    let offers = priced.offers().unwrap();
    let amounts = |version| {
        let required = offers.payment_required(version, "https://api.example.com/data", None);
        required.accepts.iter().map(|offer| offer.amount.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(amounts(X402Version::V2), ["10000", "7"]);
    assert_eq!(amounts(X402Version::V1), ["10000"]);
}

#[tokio::test]
async fn a_dynamic_price_is_asked_again_for_the_paid_request() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let paywall = paywall(&facilitator).await;
    let priced = paywall.dynamic(|parts: &axum::http::request::Parts| {
        let query = parts.uri.query().unwrap_or_default().to_owned();
        async move {
            match query.as_str() {
                "free" => Ok(None),
                "broken" => Err("no price list".into()),
                "empty" => Ok(Some(vec![])),
                price => Ok(Some(vec![Price::Money(format!("${price}").parse()?)])),
            }
        }
    });
    let app = Router::new().route("/data", get(|| async { "x" }).layer(priced.description("by query")));
    let url = format!("{}/data", serve(app).await);
    let buyer = Buyer::new();
    let required = buyer.offers(&format!("{url}?0.05"), X402Version::V2).await;
    assert_eq!(required.accepts[0].amount, Amount::from(50_000));
    assert_eq!(required.resource.as_ref().unwrap().description.as_deref(), Some("by query"));
    let signed = buyer.sign_offer(&required, 0).await;
    let (status, _, field, _) = explained(buyer.get(&format!("{url}?0.06"), &signed).await).await;
    assert_eq!((status, field.as_str()), (402, "accepted.amount"), "another price is another offer");
    assert_eq!(buyer.get(&format!("{url}?0.05"), &signed).await.status(), 200);
    assert_eq!(buyer.http.get(format!("{url}?free")).send().await.unwrap().status(), 200);
    for wrong in ["broken", "empty", "0", "nonsense"] {
        let response = buyer.http.get(format!("{url}?{wrong}")).send().await.unwrap();
        assert_eq!(response.status(), 500, "{wrong}: nothing is served without a price");
    }
    assert_eq!(facilitator.calls(), (1, 1));
}

#[tokio::test]
async fn an_amount_of_an_unlisted_asset_is_a_price_on_a_named_network() {
    let kinds = kinds(&[BASE, "eip155:31337"]);
    let facilitator = Arc::new(ScriptedFacilitator { kinds, ..ScriptedFacilitator::default() });
    let paywall = builder(&facilitator).accept("eip155:31337", PAY_TO).start().await.unwrap();
    let mut extra = JsonObject::new();
    extra.insert("name".into(), "Devnet Dollar".into());
    extra.insert("version".into(), "1".into());
    let asset = "0x5FbDB2315678afecb367f032d93F642f64180aa3".to_owned();
    let price = Price::Asset { amount: Amount::from(7), asset, extra };
    assert!(matches!(paywall.price(price.clone()), Err(PriceError::WhichNetwork)));
    let priced = paywall.price_on("eip155:31337", price).unwrap();
    let app = Router::new().route("/data", get(|| async { "x" }).layer(priced));
    let url = format!("{}/data", serve(app).await);
    let buyer = Buyer::new();
    // v1 has no name for this network, and the identifier stands for it.
    for version in [X402Version::V2, X402Version::V1] {
        let signed = buyer.sign(&url, version).await;
        assert_eq!(buyer.get(&url, &signed).await.status(), 200);
    }
}

#[tokio::test]
async fn a_network_accepted_for_two_payees_is_offered_for_both() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let other = "0x000000000000000000000000000000000000dEaD";
    let paywall = builder(&facilitator).accept(BASE, other).start().await.unwrap();
    let asset = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913".to_owned();
    let extra: JsonObject = [("name", "USD Coin"), ("version", "2")]
        .map(|(name, text)| (name.to_owned(), text.into()))
        .into_iter()
        .collect();
    for price in
        [Price::Money("$0.01".parse().unwrap()), Price::Asset { amount: Amount::from(10_000), asset, extra }]
    {
        let priced = paywall.price_on(BASE, price).unwrap();
        let url = format!(
            "{}/data",
            serve(Router::new().route("/data", get(|| async { "x" }).layer(priced))).await
        );
        let buyer = Buyer::new();
        for version in [X402Version::V2, X402Version::V1] {
            let required = buyer.offers(&url, version).await;
            let payees: Vec<_> = required.accepts.iter().map(|offer| offer.pay_to.as_str()).collect();
            assert_eq!(payees, [PAY_TO, other]);
            for (index, payee) in payees.into_iter().enumerate() {
                let signed = buyer.sign_offer(&required, index).await;
                assert_eq!(buyer.get(&url, &signed).await.status(), 200);
                let settled = facilitator.last_settle.lock().unwrap().clone().unwrap().requirements;
                assert_eq!(settled.pay_to, payee);
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_price_is_an_error_when_the_route_is_made() {
    let (_, paywall) = two_networks().await;
    assert!(matches!(paywall.price("cheap"), Err(PriceError::Money(_))));
    assert!(matches!(paywall.price("$0"), Err(PriceError::Zero)));
    assert!(matches!(paywall.price("0.00 EURC"), Err(PriceError::Zero)));
    assert!(matches!(paywall.price("$1").unwrap().also("$0"), Err(PriceError::Zero)));
    assert!(matches!(paywall.price("$0.0000001"), Err(PriceError::Offer { .. })));
    assert!(matches!(paywall.price("1 DOGE"), Err(PriceError::Offer { .. })));
    assert!(matches!(paywall.price_on("eip155:1", "$1"), Err(PriceError::NotAccepted(_))));
    assert!(matches!(paywall.price_on("base", "$1"), Err(PriceError::NotAccepted(_))));
    // EURC is known on Base alone: it is offered there.
    assert!(paywall.price("0.10 EURC").is_ok());
}
