//! Signed offers and receipts (extension `offer-receipt`): what is signed when, and what never waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tollway_core::model::X402Version;
use tollway_core::{BoxFuture, Clock, Fingerprint, ManualClock, Network};
use tollway_evm::offer_receipt::{
    Issuer, Keys, LocalJwsSigner, SignedOffer, SignedReceipt, Standing, offers_in, receipt_in,
};
use tollway_evm::{Address, LocalSigner, Signature, Signer, SignerError};
use tollway_seller::{Charge, Paywall, PaywallBuilder};

use crate::doubles::{BASE, Buyer, PAY_TO, ScriptedFacilitator, Signed, builder, serve, settlement};

const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

/// A signer that counts, and that may hang or fail.
#[derive(Debug)]
struct Counted {
    inner: LocalSigner,
    signed: AtomicUsize,
    hangs: AtomicBool,
    fails: AtomicBool,
}

impl Counted {
    fn new() -> Arc<Self> {
        let inner = LocalSigner::from_hex(KEY).unwrap();
        Arc::new(Self {
            inner,
            signed: AtomicUsize::new(0),
            hangs: AtomicBool::new(false),
            fails: AtomicBool::new(false),
        })
    }

    fn count(&self) -> usize {
        self.signed.load(Ordering::SeqCst)
    }
}

impl Signer for Counted {
    fn address(&self) -> Address {
        self.inner.address()
    }

    fn sign<'a>(&'a self, preimage: &'a [u8]) -> BoxFuture<'a, Result<Signature, SignerError>> {
        self.signed.fetch_add(1, Ordering::SeqCst);
        if self.hangs.load(Ordering::SeqCst) {
            return Box::pin(std::future::pending());
        }
        if self.fails.load(Ordering::SeqCst) {
            return Box::pin(std::future::ready(Err(SignerError::Remote("no key today".to_owned()))));
        }
        self.inner.sign(preimage)
    }
}

/// A shop that is paid to the signer's own account.
struct Stall {
    signer: Arc<Counted>,
    clock: Arc<ManualClock>,
    paywall: Paywall,
    origin: String,
    buyer: Buyer,
}

impl Stall {
    async fn open(refine: impl FnOnce(PaywallBuilder, Arc<Counted>) -> PaywallBuilder) -> Self {
        let (signer, facilitator) = (Counted::new(), Arc::new(ScriptedFacilitator::default()));
        let clock = Arc::new(ManualClock::new(tollway_core::SystemClock.now()));
        let pay_to = signer.address().to_string();
        let builder = tollway_seller::Paywall::builder("https://api.example.com")
            .accept(BASE, &pay_to)
            .shared_facilitator(facilitator)
            .clock(clock.clone())
            .stored_responses(tollway_seller::StoredResponses::off());
        let paywall = refine(builder, signer.clone()).start().await.unwrap();
        let price = || paywall.price("$0.01").unwrap();
        let dynamic =
            paywall.dynamic(|_| async { Ok(Some(vec!["$0.01".parse().map(tollway_core::Price::Money)?])) });
        let app = Router::new()
            .route("/data", get(|| async { "paid" }).layer(price()))
            .route("/dynamic", get(|| async { "paid" }).layer(dynamic))
            .route(
                "/broken",
                get(|| async { axum::http::StatusCode::INTERNAL_SERVER_ERROR }).layer(price().upfront()),
            );
        Self { signer, clock, paywall, origin: serve(app).await, buyer: Buyer::new() }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    async fn offers(&self, path: &str) -> Vec<SignedOffer> {
        offers_in(&self.buyer.offers(&self.url(path), X402Version::V2).await.extensions).unwrap()
    }

    async fn buy(&self, path: &str) -> (u16, Option<SignedReceipt>) {
        let signed = self.buyer.sign(&self.url(path), X402Version::V2).await;
        self.present(path, &signed).await
    }

    async fn present(&self, path: &str, signed: &Signed) -> (u16, Option<SignedReceipt>) {
        let response = self.buyer.get(&self.url(path), signed).await;
        let told = settlement(&response);
        (response.status().as_u16(), told.and_then(|told| receipt_in(&told.extensions).unwrap()))
    }
}

fn offers(builder: PaywallBuilder, signer: Arc<Counted>) -> PaywallBuilder {
    builder.sign_offers(Issuer::eip712(signer))
}

fn both(builder: PaywallBuilder, signer: Arc<Counted>) -> PaywallBuilder {
    builder.sign_offers(Issuer::eip712(signer.clone())).sign_receipts(Issuer::eip712(signer))
}

#[tokio::test]
async fn an_offer_is_signed_once_however_often_it_is_asked_for() {
    let stall = Stall::open(offers).await;
    for path in ["/data?a=1", "/dynamic"] {
        let before = stall.signer.count();
        let first = stall.offers(path).await;
        assert_eq!(first[0].check(&Keys::default()), Ok(Standing::PayTo));
        assert_eq!(first[0].terms().resource_url, format!("https://api.example.com{path}"));
        for _ in 0..20 {
            assert_eq!(stall.offers(path).await, first);
        }
        assert_eq!(stall.signer.count() - before, 1, "{path}");
    }
}

#[tokio::test]
async fn a_signed_offer_is_signed_anew_while_a_whole_payment_still_fits_its_time() {
    let stall = Stall::open(|builder, signer| offers(builder, signer).max_timeout_seconds(100)).await;
    let first = stall.offers("/data").await;
    let start = stall.clock.now();
    assert_eq!(first[0].terms().valid_until, Some(start.plus_seconds(200)));
    stall.clock.set(start.plus_seconds(99));
    assert_eq!(stall.offers("/data").await, first);
    stall.clock.set(start.plus_seconds(100));
    assert_eq!(stall.offers("/data").await[0].terms().valid_until, Some(start.plus_seconds(300)));
    assert_eq!(stall.signer.count(), 2);
}

#[tokio::test]
async fn a_payment_that_echoes_an_older_signed_offer_is_taken() {
    let stall = Stall::open(both).await;
    let signed = stall.buyer.sign(&stall.url("/data"), X402Version::V2).await;
    let echoed = &signed.payment.extensions["offer-receipt"]["info"]["offers"];
    assert_eq!(echoed.as_array().map(Vec::len), Some(1), "a buyer echoes the declaration whole");
    stall.clock.set(stall.clock.now().plus_seconds(200));
    stall.offers("/data").await;
    let signed = Signed::of(signed.payment);
    assert_eq!(
        stall.present("/data", &signed).await.0,
        200,
        "what is signed anew is not held against the echo"
    );
}

#[tokio::test]
async fn strangers_who_make_up_urls_do_not_have_everything_signed() {
    let stall = Stall::open(offers).await;
    let mut unsigned = 0;
    for number in 0..260 {
        unsigned += usize::from(stall.offers(&format!("/data?n={number}")).await.is_empty());
    }
    assert_eq!(
        (stall.signer.count(), unsigned),
        (200, 60),
        "the clock stands still: all of it is one second"
    );
    assert!(!stall.offers("/data?n=0").await.is_empty(), "what is signed is still told");
    stall.clock.set(stall.clock.now().plus_seconds(1));
    assert!(!stall.offers("/data?n=259").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_signer_that_hangs_or_fails_keeps_nobody_from_buying() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let signer = Counted::new();
    let paywall = both(builder(&facilitator), signer.clone()).start().await.unwrap();
    let app =
        || Router::new().route("/data", get(|| async { "paid" }).layer(paywall.price("$0.01").unwrap()));
    for broken in [&signer.hangs, &signer.fails] {
        broken.store(true, Ordering::SeqCst);
        let started = tokio::time::Instant::now();
        let request = axum::http::Request::get("/data").body(axum::body::Body::empty()).unwrap();
        let response = tower::ServiceExt::oneshot(app(), request).await.unwrap();
        assert_eq!(response.status(), 402);
        assert!(response.headers().contains_key("payment-required"));
        let offers = paywall.price("$0.01").unwrap().offers().unwrap();
        let url = "https://api.example.com/data";
        let required = offers.payment_required(X402Version::V2, url, None);
        let payment = Buyer::new().sign_offer(&required, 0).await.payment;
        let checked = paywall.check(&offers, payment, url).unwrap();
        let ticket =
            paywall.admit(checked, Fingerprint::of("GET", &url.parse().unwrap(), b"")).await.unwrap();
        let told = ticket.settle(Charge::Full).await.unwrap().settlement.unwrap();
        assert!(told.success && told.extensions.is_empty());
        assert!(started.elapsed() <= Duration::from_secs(5), "{:?}", started.elapsed());
        broken.store(false, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_receipt_says_what_was_paid_for_which_request() {
    let stall = Stall::open(both).await;
    let (status, receipt) = stall.buy("/data?x=%7e").await;
    let receipt = receipt.unwrap();
    let terms = receipt.terms();
    assert_eq!((status, receipt.check(None, &Keys::default())), (200, Ok(Standing::PayTo)));
    assert_eq!(terms.resource_url, "https://api.example.com/data?x=%7e");
    assert_eq!((terms.network.as_str(), terms.issued_at), (BASE, stall.clock.now()));
    assert_eq!(terms.transaction.as_deref(), Some(&*format!("0x{:064x}", 0)));
    let bound = terms.binding.as_ref().unwrap();
    assert_eq!((bound.amount.to_string().as_str(), bound.log_index), ("10000", None));
    assert_eq!(bound.pay_to, stall.signer.address().to_string());
    let url = "https://api.example.com/data?x=~".parse().unwrap();
    assert_eq!(bound.request, Fingerprint::of("GET", &url, b""));
}

#[tokio::test]
async fn the_log_index_that_a_facilitator_tells_is_bound() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let mut told = tollway_core::model::SettleResponse::settled(
        Network::evm(8453),
        "",
        format!("0x{}", "ab".repeat(32)),
    );
    told.payer = None;
    told.extra.insert("logIndex".to_owned(), 7.into());
    facilitator.then_settle(Ok(told));
    let issuer = Issuer::jws(Arc::new(LocalJwsSigner::es256k(KEY).unwrap()));
    let paywall = builder(&facilitator).sign_receipts(issuer).start().await.unwrap();
    let app = Router::new().route("/data", get(|| async { "paid" }).layer(paywall.price("$0.01").unwrap()));
    let (url, buyer) = (format!("{}/data", serve(app).await), Buyer::new());
    let signed = buyer.sign(&url, X402Version::V1).await;
    let told = settlement(&buyer.get(&url, &signed).await).unwrap();
    let receipt = receipt_in(&told.extensions).unwrap().expect("v1 answers carry receipts too");
    assert_eq!(receipt.terms().binding.as_ref().unwrap().log_index, Some(7));
    assert!(matches!(receipt.check(Some(PAY_TO), &Keys::default()), Ok(Standing::Stranger(_))));
}

#[tokio::test]
async fn a_minimal_receipt_names_no_transaction_and_no_request() {
    let stall = Stall::open(|builder, signer| builder.sign_receipts(Issuer::eip712(signer).minimal())).await;
    assert!(stall.offers("/data").await.is_empty(), "receipts alone declare nothing in a 402");
    let (_, receipt) = stall.buy("/data").await;
    let receipt = receipt.unwrap();
    assert_eq!((&receipt.terms().transaction, &receipt.terms().binding), (&None, &None));
}

#[tokio::test]
async fn no_receipt_is_given_for_what_was_not_served() {
    let stall = Stall::open(both).await;
    let (status, receipt) = stall.buy("/broken").await;
    assert_eq!((status, receipt), (500, None));
    assert_eq!(stall.paywall.reservation_count().await, Ok(1));
}
