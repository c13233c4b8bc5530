//! `Settlement-Overrides`: a handler may charge less, never more, and a mistake charges nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use tollway_core::model::{PaymentPayload, PaymentRequirements, X402Version};
use tollway_core::{
    Amount, Checked, Money, Network, OfferError, Price, Refusal, SchemeName, SellerScheme, Terms, UnixTime,
};
use tollway_evm::AssetTable;
use tollway_evm::exact::ExactSeller;

use crate::doubles::{BASE, Buyer, PAY_TO, ScriptedFacilitator, Signed, paywall, serve};

struct Run {
    status: u16,
    settled: Option<String>,
    header_left: bool,
    held: u64,
}

async fn run(facilitator: Arc<ScriptedFacilitator>, paywall: tollway_seller::Paywall, value: &str) -> Run {
    let value = value.to_owned();
    let handler = move || async move {
        let mut headers = HeaderMap::new();
        headers.insert("settlement-overrides", value.parse().unwrap());
        (headers, "content")
    };
    let app = Router::new().route("/data", get(handler).layer(paywall.price("$0.01").unwrap()));
    let url = format!("{}/data", serve(app).await);
    let buyer = Buyer::new();
    let required = buyer.offers(&url, X402Version::V2).await;
    let signed = sign(&buyer, &required).await;
    let response = buyer.get(&url, &signed).await;
    let settled = facilitator.last_settle.lock().unwrap().as_ref().map(|r| r.requirements.amount.to_string());
    Run {
        status: response.status().as_u16(),
        settled,
        header_left: response.headers().contains_key("settlement-overrides"),
        held: paywall.reservation_count().await.unwrap(),
    }
}

/// Signs as `exact`, whatever the offer's scheme is called.
async fn sign(buyer: &Buyer, required: &tollway_core::model::PaymentRequired) -> Signed {
    buyer.sign_offer(required, 0).await
}

#[tokio::test]
async fn scheme_exact_charges_all_or_nothing() {
    for (value, status, settled) in [
        (r#"{"amount":"10000"}"#, 200, Some("10000")),
        ("100%", 200, Some("10000")),
        ("$0.01", 200, Some("10000")),
        (r#"{"amount":"0"}"#, 200, None),
        (r#"{"amount":"0%"}"#, 200, None),
        (r#"{"amount":"50%"}"#, 500, None),
        (r#"{"amount":"10001"}"#, 500, None),
        (r#"{"amount":"$0.02"}"#, 500, None),
        (r#"{"amount":5000}"#, 500, None),
        (r#"{"amount":"1e3"}"#, 500, None),
        ("{", 500, None),
        ("nonsense", 500, None),
    ] {
        let facilitator = Arc::new(ScriptedFacilitator::default());
        let run = run(Arc::clone(&facilitator), paywall(&facilitator).await, value).await;
        assert_eq!((run.status, run.settled.as_deref()), (status, settled), "{value}");
        assert!(!run.header_left, "{value}");
        assert_eq!(run.held, u64::from(settled.is_some()), "{value}: what is not charged is not held");
    }
}

/// Scheme `exact` under another name: one that can charge less.
#[derive(Debug)]
struct Metered(ExactSeller, SchemeName);

impl SellerScheme for Metered {
    fn name(&self) -> &SchemeName {
        &self.1
    }

    fn covers(&self, network: &Network) -> bool {
        self.0.covers(network)
    }

    fn offer(&self, price: &Price, terms: &Terms) -> Result<PaymentRequirements, OfferError> {
        self.0.offer(price, terms).map(|offer| PaymentRequirements { scheme: self.1.clone(), ..offer })
    }

    fn check(
        &self,
        payment: &PaymentPayload,
        offer: &PaymentRequirements,
        now: UnixTime,
    ) -> Result<Checked, Refusal> {
        let exact = PaymentRequirements { scheme: SchemeName::EXACT, ..offer.clone() };
        let mut payment = payment.clone();
        payment.accepted = tollway_core::model::Accepted::Offer(Box::new(exact.clone()));
        self.0.check(&payment, &exact, now)
    }

    fn money_in(&self, money: &Money, offer: &PaymentRequirements) -> Option<Amount> {
        self.0.money_in(money, offer)
    }
}

#[tokio::test]
async fn a_metered_scheme_charges_what_the_handler_says() {
    for (value, settled) in
        [("5000", "5000"), ("33.33%", "3333"), (r#"{"amount":"$0.005"}"#, "5000"), ("10000", "10000")]
    {
        let metered = SchemeName::new("metered");
        let mut facilitator = ScriptedFacilitator::default();
        facilitator.kinds.iter_mut().for_each(|kind| kind.scheme = metered.clone());
        let facilitator = Arc::new(facilitator);
        let paywall = tollway_seller::Paywall::builder("https://api.example.com")
            .scheme(Metered(ExactSeller::new(AssetTable::known()), metered.clone()))
            .accept_by(metered, BASE, PAY_TO)
            .shared_facilitator(facilitator.clone())
            .start()
            .await
            .unwrap();
        let run = run(Arc::clone(&facilitator), paywall, value).await;
        assert_eq!((run.status, run.settled.as_deref()), (200, Some(settled)), "{value}");
    }
}

#[tokio::test]
async fn an_override_on_a_failed_answer_is_removed_and_charges_nothing() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let paywall = paywall(&facilitator).await;
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let handler = move || async move {
        counted.fetch_add(1, Ordering::SeqCst);
        (axum::http::StatusCode::BAD_REQUEST, [("settlement-overrides", "10000")], "no")
    };
    let app = Router::new().route("/data", get(handler).layer(paywall.price("$0.01").unwrap()));
    let url = format!("{}/data", serve(app).await);
    let buyer = Buyer::new();
    let signed = buyer.sign(&url, X402Version::V2).await;
    let response = buyer.get(&url, &signed).await;
    assert_eq!(response.status(), 400);
    assert!(!response.headers().contains_key("settlement-overrides"));
    assert_eq!((runs.load(Ordering::SeqCst), facilitator.calls()), (1, (1, 0)));
}
