//! Payments that are held first: what is lost on the way is asked for again, what is refused is given back, and an offer is
//! taken for as long as it is fresh.

use std::sync::Arc;
use std::time::Duration;

use tollway_core::model::{PaymentPayload, SettleResponse, SupportedKind, X402Version};
use tollway_core::{
    BuyerScheme, Clock, ErrorCode, FacilitatorError, Fingerprint, JsonObject, ManualClock, SchemeName,
};
use tollway_evm::auth_capture::{AuthCaptureBuyer, AuthCaptureSeller, FeeTerms};
use tollway_evm::{Address, AssetTable, LocalSigner, Signer};
use tollway_ledger::{Ledger, MemoryLedger};
use tollway_seller::{Charge, Denial, HoldState, Paywall, PaywallBuilder, Ticket};

use crate::doubles::{BASE, PAY_TO, ScriptedFacilitator, base, now};

const URL: &str = "https://api.example.com/data";

struct Shop {
    facilitator: Arc<ScriptedFacilitator>,
    clock: Arc<ManualClock>,
    paywall: Paywall,
    buyer: AuthCaptureBuyer,
}

fn facilitator() -> Arc<ScriptedFacilitator> {
    let kind = SupportedKind {
        version: X402Version::V2,
        scheme: SchemeName::AUTH_CAPTURE,
        network: base(),
        extra: JsonObject::new(),
    };
    Arc::new(ScriptedFacilitator { kinds: vec![kind], ..ScriptedFacilitator::default() })
}

fn scheme() -> AuthCaptureSeller {
    AuthCaptureSeller::new(AssetTable::known(), Address::repeat_byte(1))
        .with_operator(Address::repeat_byte(2))
        .with_fees(FeeTerms::default())
}

fn builder(facilitator: &Arc<ScriptedFacilitator>, scheme: AuthCaptureSeller) -> PaywallBuilder {
    Paywall::builder("https://api.example.com")
        .accept_by(SchemeName::AUTH_CAPTURE, BASE, PAY_TO)
        .shared_facilitator(Arc::clone(facilitator) as Arc<_>)
        .scheme(scheme)
        .pending_wait_ms(10)
}

impl Shop {
    async fn open() -> Self {
        let (facilitator, clock) = (facilitator(), Arc::new(ManualClock::new(now())));
        let scheme = scheme().with_key(Arc::new(LocalSigner::random().unwrap()));
        let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new());
        let builder = builder(&facilitator, scheme).clock(Arc::clone(&clock) as Arc<_>).ledger(ledger);
        let paywall = builder.start().await.unwrap();
        let key: Arc<dyn Signer> = Arc::new(LocalSigner::random().unwrap());
        let buyer = AuthCaptureBuyer::new(key, AssetTable::known());
        Self { facilitator, clock, paywall, buyer }
    }

    async fn sign(&self) -> PaymentPayload {
        let offers = self.paywall.price("$0.01").unwrap().offers().unwrap();
        let required = offers.payment_required(X402Version::V2, URL, None);
        self.buyer.sign(&required, &required.accepts[0], self.clock.now()).await.unwrap()
    }

    async fn present(&self, payment: &PaymentPayload) -> Result<Ticket, Denial> {
        // As it is told now, whatever was signed.
        let offers = self.paywall.price("$0.01").unwrap().offers().unwrap();
        let checked = self.paywall.check(&offers, payment.clone(), URL)?;
        self.paywall.admit(checked, Fingerprint::of("GET", &URL.parse().unwrap(), b"")).await
    }

    async fn state(&self) -> HoldState {
        let purchases = self.paywall.purchases(None, 10).await.unwrap();
        assert_eq!(purchases.len(), 1, "{purchases:?}");
        purchases[0].state
    }

    fn asked(&self) -> JsonObject {
        self.facilitator.last_settle.lock().unwrap().clone().unwrap().payment.payload
    }

    /// Moves the clock, and lets the worker look.
    async fn pass(&self, seconds: u64) {
        self.clock.set(self.clock.now().plus_seconds(seconds));
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

fn hold() -> SettleResponse {
    let mut answer = SettleResponse::settled(base(), "", "0xaa");
    answer.payer = None;
    answer
}

fn lost() -> FacilitatorError {
    FacilitatorError::NoAnswer("the connection broke".to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_capture_whose_answer_is_lost_is_asked_for_again_with_the_same_consent_and_served() {
    let shop = Shop::open().await;
    let payment = shop.sign().await;
    let ticket = shop.present(&payment).await.unwrap();
    assert!(!ticket.is_settled(), "it is held, and nothing is taken");
    assert_eq!(shop.state().await, HoldState::Held);
    shop.facilitator.then_settle(Err(lost()));
    let denial = ticket.settle(Charge::Full).await.unwrap_err();
    assert!(matches!(denial, Denial::Facilitator { held: true, .. }), "{denial}");
    assert_eq!(shop.state().await, HoldState::Capturing);
    let first = shop.asked();
    assert_eq!(first["type"], "capture");
    let ticket = shop.present(&payment).await.unwrap();
    assert!(ticket.is_settled(), "it is taken now");
    assert_eq!((shop.asked(), shop.state().await), (first, HoldState::Captured));
    assert_eq!(shop.facilitator.calls(), (1, 3));
    let receipt = ticket.settle(Charge::Full).await.unwrap();
    assert_eq!(receipt.settlement.unwrap().transaction, format!("0x{:064x}", 2));
    assert!(matches!(shop.present(&payment).await, Err(Denial::AlreadyUsed { .. })));
    assert_eq!(shop.facilitator.calls(), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_capture_whose_answer_is_lost_is_asked_for_again_without_the_buyer() {
    let shop = Shop::open().await;
    let ticket = shop.present(&shop.sign().await).await.unwrap();
    shop.facilitator.then_settle(Err(lost()));
    drop(ticket.settle(Charge::Full).await.unwrap_err());
    shop.pass(1).await;
    assert_eq!((shop.state().await, shop.facilitator.calls()), (HoldState::Capturing, (1, 2)), "not so soon");
    shop.pass(9).await;
    assert_eq!((shop.state().await, shop.facilitator.calls()), (HoldState::Captured, (1, 3)));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_taken_is_not_served_and_given_back() {
    let shop = Shop::open().await;
    let payment = shop.sign().await;
    shop.facilitator.then_settle(Ok(hold()));
    let ticket = shop.present(&payment).await.unwrap();
    let reason = ErrorCode::INVALID_AUTH_CAPTURE_EVM_AMOUNT_MISMATCH;
    shop.facilitator.then_settle(Ok(SettleResponse::failed(base(), Some(reason), "no")));
    let denial = ticket.settle(Charge::Full).await.unwrap_err();
    assert!(matches!(denial, Denial::SettleFailed(_)), "{denial}");
    shop.pass(0).await;
    assert_eq!((shop.state().await, &shop.asked()["type"]), (HoldState::Voided, &"void".into()));
    let settles = shop.facilitator.calls().1;
    let again = shop.present(&payment).await.unwrap_err();
    assert!(matches!(again, Denial::Refused(_)), "{again}");
    assert_eq!(shop.facilitator.calls().1, settles, "nobody is asked to hold it again");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_held_is_not_given_back() {
    let shop = Shop::open().await;
    let payment = shop.sign().await;
    let reason = ErrorCode::INSUFFICIENT_FUNDS;
    shop.facilitator.then_settle(Ok(SettleResponse::failed(base(), Some(reason), "no")));
    assert!(matches!(shop.present(&payment).await, Err(Denial::SettleFailed(_))));
    assert_eq!(shop.state().await, HoldState::Nothing);
    // The payer has money now.
    let ticket = shop.present(&payment).await.unwrap();
    assert_eq!(shop.state().await, HoldState::Held);
    ticket.settle(Charge::Full).await.unwrap();
    assert_eq!(shop.state().await, HoldState::Captured);
}

#[tokio::test(start_paused = true)]
async fn an_offer_counts_its_deadlines_from_when_it_is_told_and_is_taken_while_it_is_fresh() {
    let shop = Shop::open().await;
    let told = |shop: &Shop| {
        let offers = shop.paywall.price("$0.01").unwrap().offers().unwrap();
        offers.requirements().next().unwrap().extra["captureDeadline"].as_u64().unwrap()
    };
    let (first, payment) = (told(&shop), shop.sign().await);
    assert!((3_600..3_660).contains(&(first - shop.clock.now().0)));
    shop.clock.set(shop.clock.now().plus_seconds(120));
    assert_eq!(told(&shop), first + 120);
    drop(shop.present(&payment).await.unwrap());
    let mut forged = shop.sign().await;
    if let tollway_core::model::Accepted::Offer(offer) = &mut forged.accepted {
        offer.extra["captureDeadline"] = (first + 86_400).into();
    }
    assert!(shop.present(&forged).await.is_err(), "nobody was told such a deadline");
    let late = shop.sign().await;
    shop.clock.set(shop.clock.now().plus_seconds(1_000));
    assert!(shop.present(&late).await.is_err(), "it was told too long ago");
}

#[tokio::test]
async fn a_paywall_that_could_not_take_what_is_held_does_not_start() {
    let error = builder(&facilitator(), scheme()).start().await.unwrap_err();
    assert!(error.faults[0].contains("auth-capture: needs the key"), "{error}");
}
