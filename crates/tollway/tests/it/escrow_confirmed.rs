//! A shop whose payments are held first, and that believes its own node: what the facilitator says was held, taken and given
//! back counts when the chain says so too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use http::StatusCode;
use reqwest_middleware::ClientWithMiddleware;
use tollway_buyer::paid;
use tollway_core::model::{FacilitatorRequest, SettleResponse, SupportedResponse, VerifyResponse};
use tollway_core::{Amount, BoxFuture, Facilitator, FacilitatorError};
use tollway_evm::auth_capture::AuthCaptureSeller;
use tollway_evm::exact::ReceiptWitness;
use tollway_seller::{EscrowError, HoldState, HttpFacilitator};

use crate::escrow::{Shop, World, refunded};

/// A facilitator that does what it is asked, or says so of one thing and shows an earlier transaction that did it for another.
#[derive(Clone, Debug)]
struct Liar(Arc<Lies>);

#[derive(Debug)]
struct Lies {
    honest: HttpFacilitator,
    /// What it lies about.
    about: Mutex<Option<&'static str>>,
    /// The latest transaction that did such a thing, by what it did.
    shown: Mutex<HashMap<String, String>>,
}

impl Liar {
    fn of(world: &World) -> Self {
        let honest = HttpFacilitator::new(&world.facilitator).unwrap();
        Self(Arc::new(Lies { honest, about: Mutex::default(), shown: Mutex::default() }))
    }

    fn lies_about(&self, what: impl Into<Option<&'static str>>) {
        *self.0.about.lock().unwrap() = what.into();
    }
}

/// What a request asks for.
fn asked(request: &FacilitatorRequest) -> String {
    request.payment.payload.get("type").and_then(|kind| kind.as_str()).unwrap_or("hold").to_owned()
}

impl Facilitator for Liar {
    fn verify(&self, request: FacilitatorRequest) -> BoxFuture<'_, Result<VerifyResponse, FacilitatorError>> {
        self.0.honest.verify(request)
    }

    fn settle(&self, request: FacilitatorRequest) -> BoxFuture<'_, Result<SettleResponse, FacilitatorError>> {
        Box::pin(async move {
            let (what, network) = (asked(&request), request.requirements.network.clone());
            if self.0.about.lock().unwrap().is_some_and(|about| about == what) {
                let hash = self.0.shown.lock().unwrap()[&what].clone();
                return Ok(SettleResponse { payer: None, ..SettleResponse::settled(network, "", hash) });
            }
            let answer = self.0.honest.settle(request).await?;
            if answer.success {
                self.0.shown.lock().unwrap().insert(what, answer.transaction.clone());
            }
            Ok(answer)
        })
    }

    fn supported(&self) -> BoxFuture<'_, Result<SupportedResponse, FacilitatorError>> {
        self.0.honest.supported()
    }
}

/// A shop before `liar` that confirms what is worth more than a tenth of a cent.
async fn shop(world: &World, liar: &Liar, configure: fn(AuthCaptureSeller) -> AuthCaptureSeller) -> Shop {
    let witness = Arc::new(ReceiptWitness::new([world.chain.clone()]));
    let liar = liar.clone();
    let refine = |builder: tollway_seller::PaywallBuilder| {
        builder.facilitator(liar).confirm_settlements(witness, "$0.001".parse().unwrap())
    };
    world.shop_with(configure, refine).await
}

async fn get(client: &ClientWithMiddleware, shop: &Shop, path: &str) -> (StatusCode, bool, String) {
    let answer = client.get(format!("{}{path}", shop.url)).send().await.unwrap();
    let is_settled = paid(&answer)
        .is_some_and(|paid| paid.settlement.as_ref().is_some_and(|settlement| settlement.success));
    (answer.status(), is_settled, answer.text().await.unwrap())
}

#[tokio::test]
async fn what_was_held_taken_and_given_back_is_confirmed_by_the_sellers_own_node() {
    let world = World::open().await;
    world.allow_refunds().await;
    let shop = shop(&world, &Liar::of(&world), |scheme| scheme).await;
    let client = world.client();
    assert_eq!(get(&client, &shop, "/data").await, (StatusCode::OK, true, "data".to_owned()));
    let whole = shop.only(HoldState::Captured).await;
    assert_eq!(refunded(&shop, &whole.id, 1_000).await.refunded, Amount::from(1_000));
    assert_eq!(refunded(&shop, &whole.id, 2_000).await.refunded, Amount::from(2_000));
    assert_eq!(get(&client, &shop, "/half").await, (StatusCode::OK, true, "metered".to_owned()));
    assert_eq!(get(&client, &shop, "/fail").await.0, StatusCode::INTERNAL_SERVER_ERROR);
    shop.only(HoldState::Voided).await;
    world.ends(15_000, 13_000).await;
}

#[tokio::test]
async fn what_is_charged_at_once_is_confirmed_by_the_sellers_own_node() {
    let world = World::open().await;
    let shop = shop(&world, &Liar::of(&world), AuthCaptureSeller::charging).await;
    assert_eq!(get(&world.client(), &shop, "/half").await, (StatusCode::OK, true, "metered".to_owned()));
    world.ends(5_000, 5_000).await;
}

#[tokio::test]
async fn a_hold_that_another_payments_transaction_is_shown_for_serves_nothing() {
    let world = World::open().await;
    let liar = Liar::of(&world);
    let shop = shop(&world, &liar, |scheme| scheme).await;
    let client = world.client();
    assert_eq!(get(&client, &shop, "/data").await.0, StatusCode::OK);
    liar.lies_about("hold");
    let (status, is_settled, text) = get(&client, &shop, "/data").await;
    assert_eq!((status, is_settled), (StatusCode::BAD_GATEWAY, false));
    assert!(!text.contains("data"), "{text}");
    world.ends(10_000, 10_000).await;
}

#[tokio::test]
async fn a_capture_that_did_not_happen_is_asked_for_until_it_has() {
    let world = World::open().await;
    let liar = Liar::of(&world);
    let shop = shop(&world, &liar, |scheme| scheme).await;
    let client = world.client();
    assert_eq!(get(&client, &shop, "/data").await.0, StatusCode::OK);
    liar.lies_about("capture");
    let (status, is_settled, text) = get(&client, &shop, "/data").await;
    assert_eq!((status, is_settled), (StatusCode::BAD_GATEWAY, false));
    assert!(!text.contains("data"), "{text}");
    shop.only(HoldState::Capturing).await;
    world.ends(10_000, 20_000).await;
    liar.lies_about(None);
    world.ends(20_000, 20_000).await;
}

#[tokio::test]
async fn what_is_said_to_be_given_back_and_is_not_counts_as_pending() {
    let world = World::open().await;
    world.allow_refunds().await;
    let liar = Liar::of(&world);
    let shop = shop(&world, &liar, AuthCaptureSeller::deferred).await;
    let client = world.client();
    let buy = || get(&client, &shop, "/data");
    assert_eq!(buy().await.0, StatusCode::OK);
    let first = shop.only(HoldState::Served).await.id;
    assert_eq!(shop.paywall.void(&first).await.unwrap().state, HoldState::Voided);
    assert_eq!(buy().await.0, StatusCode::OK);
    let id = shop.only(HoldState::Served).await.id;
    liar.lies_about("capture");
    let void = liar.0.shown.lock().unwrap()["void"].clone();
    liar.0.shown.lock().unwrap().insert("capture".to_owned(), void);
    let lied_to = shop.paywall.capture(&id, None).await;
    assert!(matches!(lied_to, Err(EscrowError::Pending(_))), "{lied_to:?}");
    liar.lies_about(None);
    world.ends(10_000, 10_000).await;
    let captured = shop.only(HoldState::Captured).await;
    assert_eq!(refunded(&shop, &captured.id, 1_000).await.refunded, Amount::from(1_000));
    // As much again, of the same payment: its own first refund is shown.
    liar.lies_about("refund");
    let lied_to = shop.paywall.refund(&id, Amount::from(2_000)).await;
    assert!(matches!(lied_to, Err(EscrowError::Pending(_))), "{lied_to:?}");
    // A refund is paid by the operator.
    world.ends(10_000, 9_000).await;
    liar.lies_about(None);
    world.ends(10_000, 8_000).await;
    assert_eq!(shop.only(HoldState::Captured).await.refunded, Amount::from(2_000));
    assert_eq!(buy().await.0, StatusCode::OK);
    let last = shop.only(HoldState::Served).await.id;
    liar.lies_about("void");
    let lied_to = shop.paywall.void(&last).await;
    assert!(matches!(lied_to, Err(EscrowError::Pending(_))), "{lied_to:?}");
    world.ends(10_000, 18_000).await;
    liar.lies_about(None);
    world.ends(10_000, 8_000).await;
}
