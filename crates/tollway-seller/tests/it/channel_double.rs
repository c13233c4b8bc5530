//! A seller that is paid by channel, a buyer with one, and a vault: a facilitator and a chain in one, without either.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::Value;
use tokio::sync::Semaphore;
use tollway_core::model::{
    FacilitatorRequest, PaymentPayload, PaymentRequired, PaymentRequirements, SettleResponse, SupportedKind,
    SupportedResponse, VerifyResponse,
};
use tollway_core::wire::{self, PAYMENT_REQUIRED};
use tollway_core::{
    Amount, Backing, BoxFuture, BuyerChannel, BuyerChannelScheme, ChannelKey, ChannelWitness, Clock,
    ErrorCode, Facilitator, FacilitatorError, JsonObject, ManualClock, Network, SchemeName, UnixTime,
    X402Version,
};
use tollway_evm::batch_settlement::{BatchPayload, BatchSettlement, ChannelBuyer, ChannelState, ClaimEntry};
use tollway_evm::{AssetTable, LocalSigner};
use tollway_seller::{Paywall, PaywallBuilder};
use tower::ServiceExt;

use super::doubles::{BASE, PAY_TO, base};

/// How long a withdrawal takes.
pub(crate) const DELAY_SECONDS: u64 = 900;
/// What a request costs, atomic units: `$0.01`.
pub(crate) const PRICE: u64 = 10_000;
/// What a first deposit is here.
pub(crate) const DEPOSIT: u64 = 100_000;
pub(crate) const NOW: UnixTime = UnixTime(1_750_000_000);

/// What becomes of a settlement, if it does not simply succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    Fails,
    Pends,
    /// Nothing moves, and nobody hears so.
    Silent,
    /// The money moves, and nobody hears so.
    Lost,
    Unreachable,
    /// It is told as done, and nothing moves.
    Lie,
}

/// Holds what channels hold.
#[derive(Debug, Default)]
pub(crate) struct Vault {
    pub(crate) channels: Mutex<BTreeMap<String, Backing>>,
    deposited: Mutex<BTreeSet<String>>,
    pub(crate) mishaps: Mutex<VecDeque<Mishap>>,
    pub(crate) verifies: AtomicUsize,
    pub(crate) settles: AtomicUsize,
    pub(crate) looks: AtomicUsize,
    /// What is said of every channel, whatever it holds.
    pub(crate) lie: Mutex<Option<Backing>>,
    pub(crate) last_settle: Mutex<Option<FacilitatorRequest>>,
    /// Every claim that was asked for: the channels' ids, and what is claimed of each.
    pub(crate) claims: Mutex<Vec<Vec<(String, u64)>>>,
    pub(crate) payouts: AtomicUsize,
    paid: Mutex<u64>,
    /// Channels of which no claim succeeds.
    pub(crate) broken: Mutex<BTreeSet<String>>,
}

impl Vault {
    pub(crate) fn calls(&self) -> (usize, usize) {
        (self.verifies.load(Ordering::SeqCst), self.settles.load(Ordering::SeqCst))
    }

    pub(crate) fn then(&self, mishap: Mishap) {
        self.mishaps.lock().unwrap().push_back(mishap);
    }

    pub(crate) fn backing(&self, id: &str) -> Backing {
        self.channels.lock().unwrap().get(id).copied().unwrap_or_default()
    }

    pub(crate) fn change(&self, key: &ChannelKey, change: impl FnOnce(&mut Backing)) {
        change(self.channels.lock().unwrap().entry(key.id().to_owned()).or_default());
    }

    fn said(&self, id: &str) -> JsonObject {
        let backing = self.lie.lock().unwrap().unwrap_or_else(|| self.backing(id));
        ChannelState { channel_id: id.to_owned(), backing, charged: None }.to_extra()
    }

    fn judge(&self, request: &FacilitatorRequest) -> VerifyResponse {
        let payload = &request.payment.payload;
        let id = text(&payload["voucher"]["channelId"]);
        let backing = self.lie.lock().unwrap().unwrap_or_else(|| self.backing(&id));
        let ceiling = amount(&payload["voucher"]["maxClaimableAmount"]);
        let more = match payload["type"].as_str() {
            Some("deposit") => amount(&payload["deposit"]["amount"]),
            _ => Amount::ZERO,
        };
        let is_refund = payload["type"] == "refund";
        let wrong = if backing.balance.checked_add(more).unwrap() < ceiling {
            Some(ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_CUMULATIVE_EXCEEDS_BALANCE)
        } else if ceiling < backing.claimed || (ceiling == backing.claimed && !is_refund) {
            Some(ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_CUMULATIVE_BELOW_CLAIMED)
        } else {
            None
        };
        let mut answer = VerifyResponse::valid(text(&payload["channelConfig"]["payer"]));
        answer.is_valid = wrong.is_none();
        answer.invalid_reason = wrong;
        answer.extra = self.said(&id);
        answer
    }

    /// What was claimed of all channels.
    pub(crate) fn claimed(&self) -> u64 {
        self.channels.lock().unwrap().values().map(|backing| number(backing.claimed)).sum()
    }

    /// What was paid out.
    pub(crate) fn paid(&self) -> u64 {
        *self.paid.lock().unwrap()
    }

    /// Writes down that a claim is asked for.
    fn note(&self, request: &FacilitatorRequest) {
        if let Some(claims) = claims(request) {
            let rows = claims.iter().map(|claim| (id(claim), u64::try_from(claim.total_claimed).unwrap()));
            self.claims.lock().unwrap().push(rows.collect());
        }
    }

    /// All of it or nothing, as the contract does it.
    fn claim(&self, request: &FacilitatorRequest, rows: &[ClaimEntry]) -> SettleResponse {
        let network = request.requirements.network.clone();
        let mut channels = self.channels.lock().unwrap();
        let is_good = |row: &ClaimEntry| {
            let total = Amount::from(u64::try_from(row.total_claimed).unwrap());
            let balance = channels.get(&id(row)).copied().unwrap_or_default().balance;
            !self.broken.lock().unwrap().contains(&id(row)) && total <= balance
        };
        assert!(rows.iter().all(|row| row.total_claimed <= row.max_claimable), "more than was signed");
        if !rows.iter().all(is_good) {
            let code = ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_CLAIM_SIMULATION_FAILED;
            return SettleResponse::failed(network, Some(code), "a row reverts");
        }
        for row in rows {
            let backing = channels.entry(id(row)).or_default();
            backing.claimed = backing.claimed.max(u64::try_from(row.total_claimed).unwrap().into());
        }
        let number = self.settles.load(Ordering::SeqCst);
        SettleResponse { payer: None, ..SettleResponse::settled(network, "", format!("0x{number:064x}")) }
    }

    fn pay_out(&self, request: &FacilitatorRequest) -> SettleResponse {
        let network = request.requirements.network.clone();
        let claimed = self.claimed();
        let mut paid = self.paid.lock().unwrap();
        let more = claimed - std::mem::replace(&mut *paid, claimed);
        if more == 0 {
            let code = ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_NOTHING_TO_SETTLE;
            return SettleResponse::failed(network, Some(code), "nothing");
        }
        let number = self.settles.load(Ordering::SeqCst);
        let answer = SettleResponse::settled(network, "", format!("0x{number:064x}"));
        SettleResponse { payer: None, amount: Some(more.to_string()), ..answer }
    }

    fn moved(&self, request: &FacilitatorRequest) -> SettleResponse {
        if let Some(rows) = claims(request) {
            return self.claim(request, &rows);
        }
        if request.payment.payload["type"] == "settle" {
            return self.pay_out(request);
        }
        let payload = &request.payment.payload;
        let id = text(&payload["voucher"]["channelId"]);
        let number = self.settles.load(Ordering::SeqCst);
        let payer = text(&payload["channelConfig"]["payer"]);
        let mut answer =
            SettleResponse::settled(request.requirements.network.clone(), payer, format!("0x{number:064x}"));
        let mut channels = self.channels.lock().unwrap();
        let backing = channels.entry(id.clone()).or_default();
        let moved = if payload["type"] == "deposit" {
            let authorization = &payload["deposit"]["authorization"]["erc3009Authorization"];
            let amount = amount(&payload["deposit"]["amount"]);
            // As the token does: once.
            if self.deposited.lock().unwrap().insert(text(&authorization["salt"])) {
                backing.balance = backing.balance.checked_add(amount).unwrap();
            }
            amount
        } else {
            let amount = amount(&payload["amount"]);
            for claim in payload.get("claims").and_then(Value::as_array).into_iter().flatten() {
                backing.claimed = self::amount(&claim["totalClaimed"]);
            }
            backing.balance = backing.balance.checked_sub(amount).unwrap();
            backing.refund_nonce = backing.refund_nonce.checked_add(1.into()).unwrap();
            amount
        };
        drop(channels);
        answer.amount = Some(moved.to_string());
        answer.extra.insert("channelState".to_owned(), self.said(&id).into());
        answer
    }
}

impl Facilitator for Vault {
    fn verify(&self, request: FacilitatorRequest) -> BoxFuture<'_, Result<VerifyResponse, FacilitatorError>> {
        self.verifies.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move { Ok(self.judge(&request)) })
    }

    fn settle(&self, request: FacilitatorRequest) -> BoxFuture<'_, Result<SettleResponse, FacilitatorError>> {
        self.settles.fetch_add(1, Ordering::SeqCst);
        let mishap = self.mishaps.lock().unwrap().pop_front();
        *self.last_settle.lock().unwrap() = Some(request.clone());
        self.note(&request);
        if request.payment.payload["type"] == "settle" {
            self.payouts.fetch_add(1, Ordering::SeqCst);
        }
        let network = request.requirements.network.clone();
        let lost = || FacilitatorError::NoAnswer("a broken line".to_owned());
        Box::pin(async move {
            match mishap {
                None => Ok(self.moved(&request)),
                Some(Mishap::Fails) => {
                    let code = ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_DEPOSIT_SIMULATION_FAILED;
                    Ok(SettleResponse::failed(network, Some(code), "no money"))
                }
                Some(Mishap::Pends) => Ok(SettleResponse::pending(network, "", format!("0x{:064x}", 7))),
                Some(Mishap::Lie) => Ok(SettleResponse::settled(network, "", format!("0x{:064x}", 9))),
                Some(Mishap::Silent) => Err(lost()),
                Some(Mishap::Lost) => {
                    self.moved(&request);
                    Err(lost())
                }
                Some(Mishap::Unreachable) => Err(FacilitatorError::Unreachable("refused".to_owned())),
            }
        })
    }

    fn supported(&self) -> BoxFuture<'_, Result<SupportedResponse, FacilitatorError>> {
        let kind = |scheme: &SchemeName| {
            let mut extra = JsonObject::new();
            extra.insert("receiverAuthorizer".to_owned(), format!("0x{}", "11".repeat(20)).into());
            SupportedKind { version: X402Version::V2, scheme: scheme.clone(), network: base(), extra }
        };
        let kinds = vec![kind(&SchemeName::BATCH_SETTLEMENT), kind(&SchemeName::EXACT)];
        Box::pin(async move { Ok(SupportedResponse { kinds, ..SupportedResponse::default() }) })
    }
}

/// The chain itself, by a node that does not lie.
#[derive(Debug)]
pub(crate) struct Node(pub(crate) Arc<Vault>);

impl ChannelWitness for Node {
    fn covers(&self, network: &Network) -> bool {
        *network == base()
    }

    fn backings<'a>(
        &'a self,
        channels: &'a [ChannelKey],
    ) -> BoxFuture<'a, Result<Vec<Backing>, FacilitatorError>> {
        self.0.looks.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move { Ok(channels.iter().map(|key| self.0.backing(key.id())).collect()) })
    }
}

/// The rows of a claim.
fn claims(request: &FacilitatorRequest) -> Option<Vec<ClaimEntry>> {
    if request.payment.payload["type"] != "claim" {
        return None;
    }
    match BatchPayload::decode(&request.payment.payload).unwrap() {
        BatchPayload::Claim(batch) => Some(batch.claims),
        _ => None,
    }
}

fn id(row: &ClaimEntry) -> String {
    row.config.id(8453).to_string()
}

pub(crate) fn number(amount: Amount) -> u64 {
    amount.to_string().parse().unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn amount(value: &Value) -> Amount {
    value.as_str().unwrap().parse().unwrap()
}

/// A seller with a few routes at `$0.01` that counts how often they run.
pub(crate) struct Shop {
    pub(crate) vault: Arc<Vault>,
    pub(crate) paywall: Paywall,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) runs: Arc<AtomicUsize>,
    /// Handlers wait here; many may pass unless a test takes them away.
    pub(crate) gate: Arc<Semaphore>,
    app: Router,
}

/// A seller that takes channels.
pub(crate) fn builder(vault: &Arc<Vault>, clock: &Arc<ManualClock>) -> PaywallBuilder {
    let scheme = BatchSettlement::new(AssetTable::known()).with_withdraw_delay_seconds(DELAY_SECONDS);
    Paywall::builder("https://api.example.com")
        .scheme(scheme)
        .accept_by(SchemeName::BATCH_SETTLEMENT, BASE, PAY_TO)
        .shared_facilitator(Arc::clone(vault) as Arc<dyn Facilitator>)
        .clock(Arc::clone(clock) as Arc<dyn Clock>)
        .pending_wait_ms(1)
}

impl Shop {
    pub(crate) async fn open() -> Self {
        Self::open_with(|builder| builder).await
    }

    pub(crate) async fn open_with(refine: impl FnOnce(PaywallBuilder) -> PaywallBuilder) -> Self {
        let (vault, clock) = (Arc::new(Vault::default()), Arc::new(ManualClock::new(NOW)));
        Self::beside(vault, clock, refine).await
    }

    /// Another seller before the same facilitator.
    pub(crate) async fn beside(
        vault: Arc<Vault>,
        clock: Arc<ManualClock>,
        refine: impl FnOnce(PaywallBuilder) -> PaywallBuilder,
    ) -> Self {
        let paywall = refine(builder(&vault, &clock)).start().await.unwrap();
        let (runs, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(1_000_000)));
        let route = |status: StatusCode, charge: &'static str, priced: tollway_seller::Priced| {
            let (runs, gate) = (Arc::clone(&runs), Arc::clone(&gate));
            let handler = move || {
                let (runs, gate) = (Arc::clone(&runs), Arc::clone(&gate));
                async move {
                    let number = runs.fetch_add(1, Ordering::SeqCst) + 1;
                    let _passed = gate.acquire().await.unwrap();
                    let mut headers = HeaderMap::new();
                    if !charge.is_empty() {
                        headers.insert("settlement-overrides", charge.parse().unwrap());
                    }
                    (status, headers, format!("content {number}")).into_response()
                }
            };
            get(handler.clone()).post(handler).layer(priced)
        };
        let price = || paywall.price("$0.01").unwrap();
        let ok = StatusCode::OK;
        let app = Router::new()
            .route("/data", route(ok, "", price()))
            .route("/other", route(ok, "", price()))
            .route("/cheap", route(ok, "", paywall.price("$0.001").unwrap()))
            .route("/fails", route(StatusCode::INTERNAL_SERVER_ERROR, "", price()))
            .route("/partly", route(ok, "3000", price()))
            .route("/free", route(ok, "0", price()))
            .route("/greedy", route(ok, "10001", price()))
            .route("/alone", route(ok, "", price().exclusive()));
        Self { vault, paywall, clock, runs, gate, app }
    }

    pub(crate) fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    pub(crate) fn app(&self) -> Router {
        self.app.clone()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_vec() }
    }

    /// What `path` asks.
    pub(crate) async fn asked(&self, path: &str) -> PaymentRequired {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await.required()
    }

    pub(crate) async fn get(&self, path: &str, payment: &PaymentPayload) -> Answer {
        self.send(paying(Method::GET, path, payment)).await
    }
}

pub(crate) fn paying(method: Method, path: &str, payment: &PaymentPayload) -> Request<Body> {
    let (name, value) = wire::encode_payment_header(payment);
    Request::builder().method(method).uri(path).header(name, value).body(Body::empty()).unwrap()
}

/// An answer, read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn required(&self) -> PaymentRequired {
        let header = self.headers[PAYMENT_REQUIRED].as_bytes();
        let json = wire::decode_header(PAYMENT_REQUIRED, header).unwrap();
        wire::decode_payment_required(&json).unwrap()
    }

    pub(crate) fn receipt(&self) -> Option<SettleResponse> {
        let header = self.headers.get("payment-response")?;
        let json = wire::decode_header("PAYMENT-RESPONSE", header.as_bytes()).unwrap();
        Some(wire::decode_settle_response(&json, &base()).unwrap())
    }

    /// What was charged, by the receipt: for the request and in all.
    pub(crate) fn charged(&self) -> (u64, u64) {
        let extra = self.receipt().unwrap().extra;
        let number = |value: &Value| value.as_str().unwrap().parse().unwrap();
        (number(&extra["chargedAmount"]), number(&extra["channelState"]["chargedCumulativeAmount"]))
    }

    /// The code that names why it was refused.
    pub(crate) fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        text(&body["error"])
    }

    pub(crate) fn is_content(&self) -> bool {
        self.status == 200 && self.body.starts_with(b"content ")
    }
}

/// A buyer with one channel.
pub(crate) struct Payer {
    pub(crate) scheme: ChannelBuyer,
    pub(crate) required: PaymentRequired,
    pub(crate) channel: BuyerChannel,
}

impl Payer {
    /// Somebody who has seen what `shop` asks, and put nothing in yet.
    pub(crate) async fn new(shop: &Shop) -> Self {
        let required = shop.asked("/data").await;
        let scheme = ChannelBuyer::new(Arc::new(LocalSigner::random().unwrap()), AssetTable::known());
        let channel = BuyerChannelScheme::channel(&scheme, offer(&required), 0).unwrap();
        Self { scheme, required, channel }
    }

    /// Somebody whose channel holds `DEPOSIT`, and nothing was charged on it.
    pub(crate) async fn funded(shop: &Shop) -> Self {
        let payer = Self::new(shop).await;
        shop.vault.change(&payer.channel.key, |backing| backing.balance = DEPOSIT.into());
        payer
    }

    /// A voucher up to `ceiling`.
    pub(crate) async fn voucher(&self, ceiling: u64) -> PaymentPayload {
        self.voucher_for(&self.required, ceiling.into()).await
    }

    pub(crate) async fn voucher_for(&self, required: &PaymentRequired, ceiling: Amount) -> PaymentPayload {
        let signed = self.scheme.sign_voucher(required, offer(required), &self.channel, ceiling, None);
        signed.await.unwrap()
    }

    /// A voucher for the request to `path`.
    pub(crate) async fn voucher_at(&self, shop: &Shop, path: &str, ceiling: u64) -> PaymentPayload {
        let required = shop.asked(path).await;
        self.voucher_for(&required, ceiling.into()).await
    }

    /// A voucher with a deposit of `DEPOSIT`.
    pub(crate) async fn deposit(&self, ceiling: u64) -> PaymentPayload {
        self.deposit_at(ceiling, NOW).await
    }

    pub(crate) async fn deposit_at(&self, ceiling: u64, now: UnixTime) -> PaymentPayload {
        let offer = offer(&self.required);
        let deposit = self.scheme.sign_deposit(offer, &self.channel, DEPOSIT.into(), now).await.unwrap();
        let ceiling = ceiling.into();
        let signed = self.scheme.sign_voucher(&self.required, offer, &self.channel, ceiling, Some(&deposit));
        signed.await.unwrap()
    }

    pub(crate) async fn refund(&self, charged: u64, amount: Option<u64>) -> PaymentPayload {
        let (offer, amount) = (offer(&self.required), amount.map(Amount::from));
        let signed = self.scheme.sign_refund(&self.required, offer, &self.channel, charged.into(), amount);
        signed.await.unwrap()
    }
}

/// The offer by channel.
pub(crate) fn offer(required: &PaymentRequired) -> &PaymentRequirements {
    required.accepts.iter().find(|offer| offer.scheme == SchemeName::BATCH_SETTLEMENT).unwrap()
}
