//! A seller, a buyer and a facilitator that does what it is told.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use tokio::sync::Semaphore;
use tollway_core::model::{
    FacilitatorRequest, PaymentPayload, PaymentRequired, SettleResponse, SupportedKind, SupportedResponse,
    VerifyResponse, X402Version,
};
use tollway_core::wire::{self, PAYMENT_REQUIRED};
use tollway_core::{
    BoxFuture, BuyerScheme, Facilitator, FacilitatorError, JsonObject, Network, SchemeName, UnixTime,
};
use tollway_evm::exact::ExactBuyer;
use tollway_evm::{AssetTable, LocalSigner};
use tollway_seller::{Paywall, PaywallBuilder, StoredResponses};

pub(crate) const PAY_TO: &str = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C";
pub(crate) const BASE: &str = "eip155:8453";

type Scripted<T> = Mutex<VecDeque<Result<T, FacilitatorError>>>;

/// Answers from its script, and with success once the script is over.
#[derive(Debug)]
pub(crate) struct ScriptedFacilitator {
    pub(crate) verify_script: Scripted<VerifyResponse>,
    pub(crate) settle_script: Scripted<SettleResponse>,
    pub(crate) kinds: Vec<SupportedKind>,
    pub(crate) verifies: AtomicUsize,
    pub(crate) settles: AtomicUsize,
    pub(crate) last_settle: Mutex<Option<FacilitatorRequest>>,
    /// Verifications wait here; 1000 may pass unless a test takes them away.
    pub(crate) verify_gate: Semaphore,
    /// Settlements wait here, likewise.
    pub(crate) settle_gate: Semaphore,
}

impl Default for ScriptedFacilitator {
    fn default() -> Self {
        Self {
            verify_script: Mutex::default(),
            settle_script: Mutex::default(),
            kinds: kinds(&[BASE, "eip155:137"]),
            verifies: AtomicUsize::new(0),
            settles: AtomicUsize::new(0),
            last_settle: Mutex::default(),
            verify_gate: Semaphore::new(1000),
            settle_gate: Semaphore::new(1000),
        }
    }
}

pub(crate) fn kinds(networks: &[&str]) -> Vec<SupportedKind> {
    let kind = |version, network: &str| SupportedKind {
        version,
        scheme: SchemeName::EXACT,
        network: network.parse().unwrap(),
        extra: JsonObject::new(),
    };
    let both = |network: &&str| [kind(X402Version::V1, network), kind(X402Version::V2, network)];
    networks.iter().flat_map(both).collect()
}

impl ScriptedFacilitator {
    pub(crate) fn calls(&self) -> (usize, usize) {
        (self.verifies.load(Ordering::SeqCst), self.settles.load(Ordering::SeqCst))
    }

    pub(crate) fn then_verify(&self, answer: Result<VerifyResponse, FacilitatorError>) {
        self.verify_script.lock().unwrap().push_back(answer);
    }

    pub(crate) fn then_settle(&self, answer: Result<SettleResponse, FacilitatorError>) {
        self.settle_script.lock().unwrap().push_back(answer);
    }
}

fn payer(request: &FacilitatorRequest) -> String {
    // The last is in what is asked of a payment that was collected.
    let named = [("authorization", "from"), ("permit2Authorization", "from"), ("paymentInfo", "payer")];
    let payload = &request.payment.payload;
    let from = named.iter().find_map(|(name, who)| payload.get(*name)?.get(*who)?.as_str());
    from.unwrap().to_owned()
}

impl Facilitator for ScriptedFacilitator {
    fn verify(&self, request: FacilitatorRequest) -> BoxFuture<'_, Result<VerifyResponse, FacilitatorError>> {
        self.verifies.fetch_add(1, Ordering::SeqCst);
        let scripted = self.verify_script.lock().unwrap().pop_front();
        Box::pin(async move {
            let _passed = self.verify_gate.acquire().await.unwrap();
            scripted.unwrap_or_else(|| Ok(VerifyResponse::valid(payer(&request))))
        })
    }

    fn settle(&self, request: FacilitatorRequest) -> BoxFuture<'_, Result<SettleResponse, FacilitatorError>> {
        let number = self.settles.fetch_add(1, Ordering::SeqCst);
        let scripted = self.settle_script.lock().unwrap().pop_front();
        *self.last_settle.lock().unwrap() = Some(request.clone());
        Box::pin(async move {
            let _passed = self.settle_gate.acquire().await.unwrap();
            let network = request.requirements.network.clone();
            scripted.unwrap_or_else(|| {
                Ok(SettleResponse::settled(network, payer(&request), format!("0x{number:064x}")))
            })
        })
    }

    fn supported(&self) -> BoxFuture<'_, Result<SupportedResponse, FacilitatorError>> {
        let kinds = self.kinds.clone();
        Box::pin(async move { Ok(SupportedResponse { kinds, ..SupportedResponse::default() }) })
    }
}

pub(crate) fn base() -> Network {
    BASE.parse().unwrap()
}

pub(crate) fn pending(transaction: &str) -> SettleResponse {
    SettleResponse::pending(base(), "", transaction)
}

/// A builder with everything set but what a test is about.
pub(crate) fn builder(facilitator: &Arc<ScriptedFacilitator>) -> PaywallBuilder {
    Paywall::builder("https://api.example.com")
        .accept(BASE, PAY_TO)
        .shared_facilitator(Arc::clone(facilitator) as Arc<dyn Facilitator>)
        .pending_wait_ms(10)
        .stored_responses(StoredResponses::off())
        .keys_only()
}

pub(crate) async fn paywall(facilitator: &Arc<ScriptedFacilitator>) -> Paywall {
    builder(facilitator).start().await.unwrap()
}

/// Serves `app` on loopback and returns its origin.
pub(crate) async fn serve(app: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    origin
}

/// A buyer with money and no policy.
pub(crate) struct Buyer {
    pub(crate) scheme: ExactBuyer,
    pub(crate) http: reqwest::Client,
}

/// A payment as it is sent.
#[derive(Clone)]
pub(crate) struct Signed {
    pub(crate) payment: PaymentPayload,
    pub(crate) name: &'static str,
    pub(crate) value: String,
}

impl Signed {
    pub(crate) fn of(payment: PaymentPayload) -> Self {
        let (name, value) = wire::encode_payment_header(&payment);
        Self { payment, name, value }
    }
}

impl Buyer {
    pub(crate) fn new() -> Self {
        let signer = Arc::new(LocalSigner::random().unwrap());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { scheme: ExactBuyer::new(signer, AssetTable::known()), http }
    }

    /// The offers of `url` as a buyer of `version` sees them.
    pub(crate) async fn offers(&self, url: &str, version: X402Version) -> PaymentRequired {
        let response = self.http.get(url).send().await.unwrap();
        assert_eq!(response.status(), 402);
        let json = match version {
            X402Version::V2 => {
                let header = response.headers()[PAYMENT_REQUIRED].clone();
                wire::decode_header(PAYMENT_REQUIRED, header.as_bytes()).unwrap()
            }
            X402Version::V1 => response.bytes().await.unwrap().to_vec(),
        };
        wire::decode_payment_required(&json).unwrap()
    }

    /// Signs the first offer of `url`.
    pub(crate) async fn sign(&self, url: &str, version: X402Version) -> Signed {
        let required = self.offers(url, version).await;
        self.sign_offer(&required, 0).await
    }

    pub(crate) async fn sign_offer(&self, required: &PaymentRequired, index: usize) -> Signed {
        let offer = &required.accepts[index];
        Signed::of(self.scheme.sign(required, offer, now()).await.unwrap())
    }

    pub(crate) async fn get(&self, url: &str, signed: &Signed) -> reqwest::Response {
        self.http.get(url).header(signed.name, &signed.value).send().await.unwrap()
    }
}

pub(crate) fn now() -> UnixTime {
    tollway_core::Clock::now(&tollway_core::SystemClock)
}

/// The settlement an answer carries.
pub(crate) fn settlement(response: &reqwest::Response) -> Option<SettleResponse> {
    let header =
        ["payment-response", "x-payment-response"].iter().find_map(|name| response.headers().get(*name))?;
    let json = wire::decode_header("PAYMENT-RESPONSE", header.as_bytes()).unwrap();
    Some(wire::decode_settle_response(&json, &base()).unwrap())
}

/// A route `/data` at `$0.01` that counts how often it runs.
pub(crate) struct Shop {
    pub(crate) facilitator: Arc<ScriptedFacilitator>,
    pub(crate) runs: Arc<AtomicUsize>,
    pub(crate) paywall: Paywall,
    pub(crate) url: String,
    pub(crate) buyer: Buyer,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        Self::open_with(ScriptedFacilitator::default(), |priced| priced).await
    }

    pub(crate) async fn open_with(
        facilitator: ScriptedFacilitator,
        refine: impl FnOnce(tollway_seller::Priced) -> tollway_seller::Priced,
    ) -> Self {
        let facilitator = Arc::new(facilitator);
        let paywall = paywall(&facilitator).await;
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        let handler = move || {
            let counted = Arc::clone(&counted);
            async move {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                "paid content"
            }
        };
        let priced = refine(paywall.price("$0.01").unwrap());
        let app =
            Router::new().route("/data", axum::routing::get(handler.clone()).post(handler).layer(priced));
        let url = format!("{}/data", serve(app).await);
        Self { facilitator, runs, paywall, url, buyer: Buyer::new() }
    }

    pub(crate) fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    pub(crate) async fn sign(&self) -> Signed {
        self.buyer.sign(&self.url, X402Version::V2).await
    }

    pub(crate) async fn present(&self, signed: &Signed) -> reqwest::Response {
        self.buyer.get(&self.url, signed).await
    }
}

/// The `error`, `field` and `rule` of an answer.
pub(crate) async fn explained(response: reqwest::Response) -> (u16, String, String, String) {
    let status = response.status().as_u16();
    let body: serde_json::Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    (status, text("error"), text("field"), text("rule"))
}
