//! Scheme `auth-capture` on a devnet: what is held is taken and given back as its seller consents, each once, whatever
//! is asked how often.

use std::sync::Arc;
use std::time::Duration;

use alloy_sol_types::{SolCall, sol};
use futures_util::future::join_all;
use serde_json::json;
use tollway_core::model::{FacilitatorRequest, PaymentRequired, PaymentRequirements, SettleResponse};
use tollway_core::{
    Amount, BuyerScheme, Clock, ErrorCode, Facilitator, JsonObject, Price, SellerScheme, SystemClock, Terms,
    X402Version,
};
use tollway_devnet::{ACCOUNTS, Grant, genesis};
use tollway_evm::auth_capture::{
    self, AuthCaptureBuyer, AuthCaptureSeller, Balances, Deployment, Fee, FeeTerms, FeeUnit, HeldPayment,
    Operation,
};
use tollway_evm::{Address, LocalSigner, Signer, Transaction, U256, permit2};
use tollway_facilitator::{AuthCaptureSetup, Engine, Limits};
use tollway_ledger::MemoryLedger;

use crate::world::{LANES, World, account, quick};

sol! {
    interface Token {
        function approve(address spender, uint256 value) returns (bool);
        function balanceOf(address account) returns (uint256);
    }
}

/// A shop with a facilitator, and the key that consents to what happens with its payments.
struct Shop {
    world: World,
    ledger: MemoryLedger,
    engine: Engine,
    authorizer: LocalSigner,
    seller: AuthCaptureSeller,
    by_permit2: bool,
}

/// One payment, as buyer and seller know it.
struct Sale {
    payer: LocalSigner,
    request: FacilitatorRequest,
    held: HeldPayment,
}

impl Shop {
    async fn open(
        setup: AuthCaptureSetup,
        configure: impl Fn(AuthCaptureSeller) -> AuthCaptureSeller,
    ) -> Self {
        let (world, ledger) = (World::open().await, MemoryLedger::new());
        let authorizer = LocalSigner::random().unwrap();
        let engine = started(&world, &ledger, setup).await;
        let seller = AuthCaptureSeller::new(world.assets(), authorizer.address())
            .with_operator(ACCOUNTS[LANES[0]].address)
            .with_fees(FeeTerms::default());
        Self { world, ledger, engine, authorizer, seller: configure(seller), by_permit2: false }
    }

    /// The payer lets Permit2 take what it has.
    async fn allow_permit2(&self, payer: &LocalSigner) {
        let grant = Grant { wei: U256::from(10u64.pow(18)), token_atomic: U256::ZERO };
        self.world.devnet.grant(payer.address(), grant);
        let (amount, patience) = (U256::from(1_000), Duration::from_secs(10));
        permit2::approve(&self.world.chain, payer, genesis::USDC, amount, patience).await.unwrap();
    }

    fn offer(&self, amount: u64) -> PaymentRequirements {
        let terms = Terms {
            network: self.world.network.clone(),
            pay_to: self.world.payee.to_string(),
            max_timeout_seconds: 300,
        };
        let (amount, asset) = (Amount::from(amount), genesis::USDC.to_string());
        let method = ("assetTransferMethod".to_owned(), "permit2".into());
        let extra = JsonObject::from_iter(self.by_permit2.then_some(method));
        let template = self.seller.offer(&Price::Asset { amount, asset, extra }, &terms);
        self.seller.stamped(&template.unwrap(), SystemClock.now())
    }

    /// A payer with just so much pays all of it.
    async fn sale(&self, amount: u64) -> Sale {
        let (payer, offer) = (self.world.payer_with(amount), self.offer(amount));
        let required = PaymentRequired {
            version: X402Version::V2,
            error: None,
            resource: None,
            accepts: vec![offer.clone()],
            extensions: JsonObject::new(),
            other: JsonObject::new(),
        };
        let buyer = AuthCaptureBuyer::new(Arc::new(payer.clone()), self.world.assets())
            .with_deployments(Deployment::KNOWN);
        let payment = buyer.sign(&required, &offer, SystemClock.now()).await.unwrap();
        let collection = auth_capture::check(&payment, &offer, SystemClock.now()).unwrap();
        let held = HeldPayment::of(&collection, &offer);
        Sale { payer, request: FacilitatorRequest { payment, requirements: offer }, held }
    }

    async fn settle(&self, request: &FacilitatorRequest) -> SettleResponse {
        self.engine.settle(request.clone()).await.unwrap()
    }

    async fn ask(&self, sale: &Sale, operation: Operation) -> FacilitatorRequest {
        sale.held.request(&operation, &self.authorizer).await.unwrap()
    }

    async fn balance(&self, holder: Address) -> u64 {
        let data = tollway_evm::Bytes::from(Token::balanceOfCall { account: holder }.abi_encode());
        let word = self.world.chain.raw("eth_call", json!([{ "to": genesis::USDC, "data": data }, "latest"]));
        serde_json::from_value::<U256>(word.await.unwrap()).unwrap().to()
    }
}

async fn started(world: &World, ledger: &MemoryLedger, setup: AuthCaptureSetup) -> Engine {
    let limits = Limits { settle_deadline: Duration::from_secs(10), ..quick() };
    world.engine(ledger).limits(limits).auth_capture(setup).start().await.unwrap()
}

fn as_it_is(seller: AuthCaptureSeller) -> AuthCaptureSeller {
    seller
}

fn capture(amount: u64, capturable: u64, refundable: u64) -> Operation {
    Operation::Capture {
        amount: U256::from(amount),
        fee: Fee::Amount(U256::ZERO),
        fee_receiver: Address::ZERO,
        expected: balances(capturable, refundable),
        voids_rest: false,
    }
}

fn balances(capturable: u64, refundable: u64) -> Balances {
    Balances { capturable: U256::from(capturable), refundable: U256::from(refundable) }
}

fn refused(answer: &SettleResponse) -> ErrorCode {
    assert!(!answer.success && answer.transaction.is_empty(), "{answer:?}");
    answer.error_reason.clone().unwrap()
}

#[tokio::test]
async fn a_hold_is_taken_in_part_and_the_rest_goes_back() {
    let shop = Shop::open(AuthCaptureSetup::default(), as_it_is).await;
    let sale = shop.sale(1_000).await;
    assert!(shop.engine.verify(sale.request.clone()).await.unwrap().is_valid);
    let held = shop.settle(&sale.request).await;
    assert!(held.success, "{held:?}");
    assert_eq!((shop.balance(sale.payer.address()).await, shop.world.received().await), (0, 0));
    assert_eq!(shop.settle(&sale.request).await, held, "asked again, it is told again");
    let some = shop.ask(&sale, capture(300, 1_000, 0)).await;
    assert!(shop.engine.verify(some.clone()).await.unwrap().is_valid);
    let taken = shop.settle(&some).await;
    assert!(taken.success, "{taken:?}");
    assert_eq!(shop.settle(&some).await, taken, "asked again, it is told again");
    assert_eq!(shop.world.received().await, 300);
    let stale = shop.settle(&shop.ask(&sale, capture(400, 1_000, 0)).await).await;
    assert_eq!(refused(&stale), ErrorCode::INVALID_AUTH_CAPTURE_EVM_UNEXPECTED_PAYMENT_STATE);
    let more = shop.settle(&shop.ask(&sale, capture(100, 700, 300)).await).await;
    assert!(more.success, "{more:?}");
    let void = shop.ask(&sale, Operation::Void).await;
    let voided = shop.settle(&void).await;
    assert!(voided.success, "{voided:?}");
    assert_eq!(shop.settle(&void).await, voided);
    assert_eq!((shop.balance(sale.payer.address()).await, shop.world.received().await), (600, 400));
}

#[tokio::test]
async fn what_permit2_collects_is_held_taken_and_given_back_too() {
    for deployment in [Deployment::CURRENT, Deployment::FIRST] {
        let setup = AuthCaptureSetup { deployments: vec![deployment], refunds_for: Vec::new() };
        let mut shop = Shop::open(setup, |seller| seller.with_deployment(deployment)).await;
        shop.by_permit2 = true;
        let sale = shop.sale(1_000).await;
        assert!(sale.request.payment.payload.contains_key("permit2Authorization"));
        let refusal = shop.engine.verify(sale.request.clone()).await.unwrap();
        assert!(!refusal.is_valid, "Permit2 may not take it yet");
        let denied = shop.settle(&sale.request).await;
        assert!(!denied.success && denied.transaction.is_empty(), "{denied:?}");
        shop.allow_permit2(&sale.payer).await;
        let held = shop.settle(&sale.request).await;
        assert!(held.success, "{}: {held:?}", deployment.name);
        assert_eq!((shop.balance(sale.payer.address()).await, shop.world.received().await), (0, 0));
        let fee = sale.held.terms.fees.least(U256::from(300), deployment.fee_unit);
        let Operation::Capture { amount, fee_receiver, expected, voids_rest, .. } = capture(300, 1_000, 0)
        else {
            return;
        };
        let some = Operation::Capture { amount, fee, fee_receiver, expected, voids_rest };
        let taken = shop.settle(&shop.ask(&sale, some).await).await;
        assert!(taken.success, "{taken:?}");
        let voided = shop.settle(&shop.ask(&sale, Operation::Void).await).await;
        assert!(voided.success, "{voided:?}");
        assert_eq!((shop.balance(sale.payer.address()).await, shop.world.received().await), (700, 300));
        let again = shop.settle(&sale.request).await;
        assert_eq!(again, held, "asked again, it is told again: nothing is held twice");
    }
}

#[tokio::test]
async fn what_is_asked_of_many_at_once_happens_once() {
    let shop = Shop::open(AuthCaptureSetup::default(), as_it_is).await;
    let sale = shop.sale(1_000).await;
    assert!(shop.settle(&sale.request).await.success);
    let some = shop.ask(&sale, capture(250, 1_000, 0)).await;
    let answers = join_all((0..6).map(|_| shop.settle(&some))).await;
    assert!(answers.iter().all(|answer| answer == &answers[0] && answer.success), "{answers:?}");
    assert_eq!(shop.world.received().await, 250);
    // Two consents for one look of the payment: one of them wins.
    let (one, other) = (capture(100, 750, 250), capture(200, 750, 250));
    let (one, other) = (shop.ask(&sale, one).await, shop.ask(&sale, other).await);
    let (one, other) = tokio::join!(shop.settle(&one), shop.settle(&other));
    assert_eq!([&one, &other].iter().filter(|answer| answer.success).count(), 1, "{one:?} {other:?}");
    assert!([350, 450].contains(&shop.world.received().await));
}

#[tokio::test]
async fn what_was_done_is_known_to_whoever_has_the_ledger() {
    let shop = Shop::open(AuthCaptureSetup::default(), as_it_is).await;
    let sale = shop.sale(1_000).await;
    let held = shop.settle(&sale.request).await;
    let some = shop.ask(&sale, capture(250, 1_000, 0)).await;
    let taken = shop.settle(&some).await;
    assert!(held.success && taken.success);
    let Shop { world, ledger, engine, .. } = shop;
    drop(engine);
    let next = started(&world, &ledger, AuthCaptureSetup::default()).await;
    assert_eq!(next.settle(sale.request.clone()).await.unwrap(), held);
    assert_eq!(next.settle(some).await.unwrap(), taken);
    assert_eq!(world.received().await, 250);
}

#[tokio::test]
async fn a_capture_gives_the_rest_back_if_it_is_told_to() {
    let shop = Shop::open(AuthCaptureSetup::default(), as_it_is).await;
    let sale = shop.sale(1_000).await;
    assert!(shop.settle(&sale.request).await.success);
    let Operation::Capture { amount, fee, fee_receiver, expected, .. } = capture(400, 1_000, 0) else {
        return;
    };
    let operation = Operation::Capture { amount, fee, fee_receiver, expected, voids_rest: true };
    let close = shop.ask(&sale, operation).await;
    assert!(shop.settle(&close).await.success);
    for _ in 0..1_000 {
        if shop.balance(sale.payer.address()).await == 600 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((shop.balance(sale.payer.address()).await, shop.world.received().await), (600, 400));
}

#[tokio::test]
async fn a_charge_is_verified_as_the_payer_sent_it_and_settled_as_the_seller_completed_it() {
    let shop = Shop::open(AuthCaptureSetup::default(), AuthCaptureSeller::charging).await;
    let sale = shop.sale(1_000).await;
    assert!(shop.engine.verify(sale.request.clone()).await.unwrap().is_valid);
    let raw = shop.settle(&sale.request).await;
    assert_eq!(refused(&raw), ErrorCode::INVALID_AUTH_CAPTURE_EVM_PAYLOAD_FORMAT);
    let FacilitatorRequest { payment, requirements } = sale.request.clone();
    let collection = auth_capture::check_at_any_time(&payment, &requirements).unwrap();
    let used = collection.charged(&payment, U256::from(650), &shop.authorizer).await.unwrap();
    let charge = FacilitatorRequest { payment: used, requirements };
    let charged = shop.settle(&charge).await;
    assert!(charged.success, "{charged:?}");
    assert_eq!((shop.balance(sale.payer.address()).await, shop.world.received().await), (350, 650));
    assert_eq!(shop.settle(&charge).await, charged);
    let other = collection.charged(&payment, U256::from(651), &shop.authorizer).await.unwrap();
    let other = FacilitatorRequest { payment: other, requirements: charge.requirements.clone() };
    let again = shop.settle(&other).await;
    assert_eq!(refused(&again), ErrorCode::INVALID_AUTH_CAPTURE_EVM_PAYMENT_ALREADY_COLLECTED);
}

#[tokio::test]
async fn refunds_are_paid_for_those_alone_who_have_agreed_on_them() {
    let shop = Shop::open(AuthCaptureSetup::default(), as_it_is).await;
    let sale = shop.sale(1_000).await;
    assert!(shop.settle(&sale.request).await.success);
    assert!(shop.settle(&shop.ask(&sale, capture(1_000, 1_000, 0)).await).await.success);
    let operation = Operation::Refund { amount: U256::from(300), expected: balances(0, 1_000) };
    let refund = shop.ask(&sale, operation).await;
    let denied = shop.settle(&refund).await;
    assert_eq!(refused(&denied), ErrorCode::INVALID_AUTH_CAPTURE_EVM_REFUND_FUNDING_UNAVAILABLE);
    let Shop { world, ledger, engine, authorizer, seller, by_permit2 } = shop;
    drop(engine);
    allow_refunds(&world).await;
    let setup = AuthCaptureSetup { refunds_for: vec![world.payee], ..AuthCaptureSetup::default() };
    let engine = started(&world, &ledger, setup).await;
    let shop = Shop { world, ledger, engine, authorizer, seller, by_permit2 };
    let before = shop.balance(ACCOUNTS[LANES[0]].address).await;
    let paid = shop.settle(&refund).await;
    assert!(paid.success, "{paid:?}");
    assert_eq!(shop.settle(&refund).await, paid, "asked again, it is told again");
    assert_eq!(shop.balance(sale.payer.address()).await, 300);
    assert_eq!(before - shop.balance(ACCOUNTS[LANES[0]].address).await, 300);
}

/// The lane lets refunds come from its own account.
async fn allow_refunds(world: &World) {
    let lane = account(LANES[0]);
    let approve = Token::approveCall { spender: Deployment::CURRENT.refund_collector, value: U256::MAX };
    let transaction = Transaction {
        chain_id: world.devnet.chain_id(),
        nonce: world.chain.nonce(lane.address()).await.unwrap(),
        to: genesis::USDC,
        value: U256::ZERO,
        data: approve.abi_encode().into(),
        gas_limit: 100_000,
        max_fee_per_gas: 10_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
    };
    world.chain.send_raw(&transaction.sign(&lane).await.unwrap().raw).await.unwrap();
}

#[tokio::test]
async fn only_an_account_of_the_facilitator_operates_and_only_in_contracts_of_its_choice() {
    let strange = |seller: AuthCaptureSeller| seller.with_operator(Address::repeat_byte(9));
    let shop = Shop::open(AuthCaptureSetup::default(), strange).await;
    let sale = shop.sale(1_000).await;
    let verdict = shop.engine.verify(sale.request.clone()).await.unwrap();
    assert_eq!(verdict.invalid_reason, Some(ErrorCode::INVALID_AUTH_CAPTURE_EVM_OPERATOR_NOT_ADMITTED));
    let denied = shop.settle(&sale.request).await;
    assert_eq!(refused(&denied), ErrorCode::INVALID_AUTH_CAPTURE_EVM_OPERATOR_NOT_ADMITTED);
    let older = |seller: AuthCaptureSeller| seller.with_deployment(Deployment::FIRST);
    let shop = Shop::open(AuthCaptureSetup::default(), older).await;
    let verdict = shop.engine.verify(shop.sale(1_000).await.request).await.unwrap();
    assert_eq!(verdict.invalid_reason, Some(ErrorCode::INVALID_AUTH_CAPTURE_EVM_EXTRA));
}

#[tokio::test]
async fn the_first_version_of_the_contracts_works_where_it_is_configured() {
    let fees = FeeTerms { recipient: Address::repeat_byte(0xfe), min_bps: 100, max_bps: 250 };
    let setup = AuthCaptureSetup { deployments: vec![Deployment::FIRST], refunds_for: Vec::new() };
    let shop = Shop::open(setup, |seller| seller.with_deployment(Deployment::FIRST).with_fees(fees)).await;
    let sale = shop.sale(10_000).await;
    assert!(shop.settle(&sale.request).await.success);
    let operation = Operation::Capture {
        amount: U256::from(10_000),
        fee: sale.held.terms.fees.least(U256::from(10_000), FeeUnit::Bps),
        fee_receiver: fees.recipient,
        expected: balances(10_000, 0),
        voids_rest: false,
    };
    let taken = shop.settle(&shop.ask(&sale, operation).await).await;
    assert!(taken.success, "{taken:?}");
    assert_eq!((shop.world.received().await, shop.balance(fees.recipient).await), (9_900, 100));
}

#[tokio::test]
async fn a_payer_who_has_too_little_is_told_so_and_nothing_is_sent() {
    let shop = Shop::open(AuthCaptureSetup::default(), as_it_is).await;
    let sale = shop.sale(1_000).await;
    let spent = shop.sale(1_000).await;
    let poor = LocalSigner::random().unwrap();
    assert_eq!(shop.balance(poor.address()).await, 0);
    let required = PaymentRequired {
        version: X402Version::V2,
        error: None,
        resource: None,
        accepts: vec![spent.request.requirements.clone()],
        extensions: JsonObject::new(),
        other: JsonObject::new(),
    };
    let buyer = AuthCaptureBuyer::new(Arc::new(poor), shop.world.assets());
    let payment = buyer.sign(&required, &required.accepts[0], SystemClock.now()).await.unwrap();
    let request = FacilitatorRequest { payment, requirements: required.accepts[0].clone() };
    let verdict = shop.engine.verify(request.clone()).await.unwrap();
    assert_eq!(verdict.invalid_reason, Some(ErrorCode::INVALID_AUTH_CAPTURE_EVM_INSUFFICIENT_BALANCE));
    let sent = shop.world.lane_nonce(0).await;
    let denied = shop.settle(&request).await;
    assert_eq!(refused(&denied), ErrorCode::INVALID_AUTH_CAPTURE_EVM_INSUFFICIENT_BALANCE);
    assert_eq!(shop.world.lane_nonce(0).await, sent);
    assert!(shop.settle(&sale.request).await.success);
}
