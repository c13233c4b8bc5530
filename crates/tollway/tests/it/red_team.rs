//! The red team's ground: a hostile seller of any kind, a wallet whose every signature is held against rules of the test's
//! own, and an attacker who cashes whatever was signed. The attacks are in `red_team_*.rs`; what they come to is here.
//!
//! An attack passes if the payer has lost what the attack says and no more, nothing was signed outside the rules, and the
//! honest purchase succeeds under the same policy with the same wallet.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tollway_buyer::{Patience, PolicyFile, Wallet, WalletBuilder};
use tollway_core::model::{PaymentPayload, PaymentRequirements};
use tollway_core::{Clock, SystemClock, wire};
use tollway_devnet::genesis;
use tollway_evm::{Address, Asset, AssetTable, Signer, Transaction, TransferMethod, U256, exact};

use crate::market::{Market, account, assets};
use crate::red_team_guard::{Guard, Rules, Signing};

/// What an honest purchase costs.
pub(crate) const PRICE: u64 = 10_000;
/// Who is paid at an honest price.
pub(crate) const SHOP: &str = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C";
/// Who should never be paid.
pub(crate) const THIEF: &str = "0x6666666666666666666666666666666666666666";
/// A dollar with 18 decimals, known to the wallets here.
pub(crate) const USD18: &str = "0x1818181818181818181818181818181818181818";
/// A policy as a careful owner writes it.
pub(crate) const CAREFUL: &str = "max_payment = \"$0.10\"\nallow_networks = [\"eip155:31337\"]\n";

/// Who cashes: a funded account that plays nobody else.
const CASHIER: usize = 9;
const GAS: u64 = 200_000;

/// A request as the hostile seller saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) host: String,
    pub(crate) headers: HeaderMap,
    /// How many requests came before.
    pub(crate) before: usize,
    /// How many different payments came before.
    pub(crate) paid_before: usize,
}

impl Seen {
    pub(crate) fn is_paid(&self) -> bool {
        payment_of(&self.headers).is_some()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}{}", self.host, self.path)
    }

    /// A 402 body of v2 for what was asked for here.
    pub(crate) fn bill(&self, accepts: Vec<Value>) -> Value {
        json!({ "x402Version": 2, "error": "payment required", "resource": { "url": self.url() },
                "accepts": accepts, "extensions": {} })
    }
}

/// What a hostile seller answers.
pub(crate) type Answer = Box<dyn Fn(&Seen) -> Response + Send + Sync>;

/// A hostile seller.
pub(crate) struct Hostile {
    pub(crate) host: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    server: JoinHandle<()>,
}

impl Hostile {
    pub(crate) async fn open(address: &str, answer: Answer) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let host = format!("{address}:{}", listener.local_addr().unwrap().port());
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (log, answer) = (Arc::clone(&seen), Arc::new(answer));
        let handler = move |uri: Uri, headers: HeaderMap, _: Bytes| {
            let asked = note(&log, &uri, headers);
            let answer = answer(&asked);
            async move { answer }
        };
        let app = Router::new().fallback(handler);
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { host, seen, server }
    }

    /// How many different payments it was sent.
    pub(crate) fn payments(&self) -> usize {
        distinct(&self.seen.lock())
    }

    /// Every payment that it was sent, as it came.
    pub(crate) fn headers(&self) -> Vec<String> {
        let seen = self.seen.lock();
        let payments = seen.iter().filter_map(|seen| payment_of(&seen.headers));
        payments.map(|payment| String::from_utf8(payment.to_vec()).unwrap()).collect()
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn note(log: &Mutex<Vec<Seen>>, uri: &Uri, headers: HeaderMap) -> Seen {
    let mut log = log.lock();
    let host = headers.get("host").map_or("", |host| host.to_str().unwrap()).to_owned();
    let (before, paid_before) = (log.len(), distinct(&log));
    let seen = Seen { path: uri.to_string(), host, headers, before, paid_before };
    log.push(seen.clone());
    seen
}

fn distinct(seen: &[Seen]) -> usize {
    let mut payments: Vec<_> = seen.iter().filter_map(|seen| payment_of(&seen.headers)).collect();
    payments.sort_unstable();
    payments.dedup();
    payments.len()
}

fn payment_of(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(wire::PAYMENT_SIGNATURE).or(headers.get(wire::X_PAYMENT)).map(|value| value.as_bytes())
}

/// An honest offer of `amount`, to be twisted.
pub(crate) fn offer(amount: u64) -> Value {
    json!({ "scheme": "exact", "network": "eip155:31337", "amount": amount.to_string(),
            "asset": genesis::USDC.to_string(), "payTo": SHOP, "maxTimeoutSeconds": 60,
            "extra": { "name": "USDC", "version": "2" } })
}

/// An offer at the honest price, with these fields changed.
pub(crate) fn twisted(changes: Value) -> Value {
    let mut offer = offer(PRICE);
    let fields = offer.as_object_mut().unwrap();
    fields.extend(changes.as_object().unwrap().clone());
    offer
}

/// A 402 of v2.
pub(crate) fn challenge(required: &Value) -> Response {
    challenge_text(&required.to_string())
}

/// A 402 of v2 with this text in its header.
pub(crate) fn challenge_text(text: &str) -> Response {
    use base64::Engine as _;
    let header = base64::engine::general_purpose::STANDARD.encode(text);
    let response = Response::builder().status(StatusCode::PAYMENT_REQUIRED);
    response.header(wire::PAYMENT_REQUIRED, header).body(Body::from("{}")).unwrap()
}

/// An answer of `status` with a body.
pub(crate) fn plain(status: u16, body: impl Into<Body>) -> Response {
    Response::builder().status(status).body(body.into()).unwrap()
}

/// A redirect that keeps the method.
pub(crate) fn redirect(status: u16, to: &str) -> Response {
    Response::builder().status(status).header("location", to).body(Body::empty()).unwrap()
}

/// An answer that says the payment was settled by `transaction`.
pub(crate) fn settled(seen: &Seen, transaction: &str, body: &'static str) -> Response {
    let payment = wire::decode_header("payment", payment_of(&seen.headers).unwrap()).unwrap();
    let payment: Value = serde_json::from_slice(&payment).unwrap();
    let payer = &payment["payload"]["authorization"]["from"];
    let told =
        json!({ "success": true, "transaction": transaction, "network": "eip155:31337", "payer": payer });
    let told = wire::encode_header(told.as_object().unwrap());
    Response::builder().header(wire::PAYMENT_RESPONSE, told).body(Body::from(body)).unwrap()
}

/// How the buyer asks.
#[derive(Clone, Debug)]
pub(crate) enum Asks {
    /// One request after the other, for these paths.
    InTurn(Vec<&'static str>),
    /// So many requests for one path at once, and as often again after those.
    Storm(usize),
    /// One request after the other, all under one key of the caller's.
    OneKey(usize),
}

/// One attack: what the seller answers, what the owner allows, and what it may cost.
pub(crate) struct Attack {
    pub(crate) name: String,
    answer: Answer,
    policy: String,
    rules: Rules,
    asks: Asks,
    address: &'static str,
    make: fn(WalletBuilder) -> WalletBuilder,
    /// How many payments are signed, and what they move.
    signed: u64,
    moved: u64,
    is_control_first: bool,
    /// By how much the attacker waits before cashing.
    waits_seconds: u64,
}

impl Attack {
    /// Nothing may be signed, unless it is said otherwise.
    pub(crate) fn new(
        name: impl Into<String>,
        answer: impl Fn(&Seen) -> Response + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            answer: Box::new(answer),
            policy: CAREFUL.to_owned(),
            rules: Rules::careful(),
            asks: Asks::InTurn(vec!["/data"]),
            address: "127.0.0.1",
            make: |wallet| wallet,
            signed: 0,
            moved: 0,
            is_control_first: false,
            waits_seconds: 0,
        }
    }

    /// A seller that asks for these offers and takes any payment without a word.
    pub(crate) fn offering(name: impl Into<String>, offers: Vec<Value>) -> Self {
        Self::new(name, move |seen| match seen.is_paid() {
            true => plain(200, "goods"),
            false => challenge(&seen.bill(offers.clone())),
        })
    }

    /// So many payments are signed, which move so much in all.
    pub(crate) fn costs(self, signed: u64, moved: u64) -> Self {
        Self { signed, moved, ..self }
    }

    /// The policy has these lines too. `HOSTILE` and `HONEST` stand for the sellers' hosts with their ports.
    pub(crate) fn policy(mut self, lines: &str) -> Self {
        self.policy.push_str(lines);
        self
    }

    pub(crate) fn rules(mut self, change: impl FnOnce(&mut Rules)) -> Self {
        change(&mut self.rules);
        self
    }

    pub(crate) fn asks(self, asks: Asks) -> Self {
        Self { asks, ..self }
    }

    /// The seller is here instead of at 127.0.0.1.
    pub(crate) fn at(self, address: &'static str) -> Self {
        Self { address, ..self }
    }

    pub(crate) fn wallet(self, make: fn(WalletBuilder) -> WalletBuilder) -> Self {
        Self { make, ..self }
    }

    /// The honest purchase comes before the attack, which may use up what is allowed.
    pub(crate) fn after_control(self) -> Self {
        Self { is_control_first: true, ..self }
    }

    pub(crate) fn cashed_after(self, seconds: u64) -> Self {
        Self { waits_seconds: seconds, ..self }
    }
}

/// The ground: a chain, an honest seller with its facilitator, and the attacker's cash desk.
pub(crate) struct Ground {
    pub(crate) market: Market,
    class: &'static str,
}

impl Ground {
    pub(crate) async fn open(class: &'static str) -> Self {
        Self { market: Market::open().await, class }
    }

    /// Runs one attack, with its control.
    pub(crate) async fn run(&self, attack: Attack) {
        let hostile = Hostile::open(attack.address, attack.answer).await;
        let guard = Arc::new(Guard::new(account(2), known()));
        let honest = self.market.seller_url.trim_start_matches("http://");
        let policy = attack.policy.replace("HOSTILE", &hostile.host).replace("HONEST", honest);
        let policy = PolicyFile::parse(&policy).unwrap().policy(None).unwrap();
        let wallet = (attack.make)(wallet_of(&guard, policy)).build().unwrap();
        let name = format!("{}: {}", self.class, attack.name);
        if attack.is_control_first {
            self.control(&name, &wallet, &guard, &attack.rules).await;
        }
        let (before, signed) = (self.held().await, guard.payments().len());
        let told = ask(&wallet, &format!("http://{}", hostile.host), &attack.asks).await;
        wallet.flush().await;
        self.wait(attack.waits_seconds).await;
        self.cash(&guard.payments()).await;
        let lost = before.each(self.held().await);
        let faults = guard.outside(&attack.rules);
        assert_eq!(faults, Vec::<String>::new(), "{name}: signed outside the rules; {told:?}");
        let signed = (guard.payments().len() - signed) as u64;
        let expected = (attack.signed, Held { usdc: attack.moved, eurc: 0 });
        assert_eq!((signed, lost), expected, "{name}: signatures, and what moved; {told:?}");
        if !attack.is_control_first {
            self.control(&name, &wallet, &guard, &attack.rules).await;
        }
        tell(&name, signed, lost.usdc, attack.moved);
    }

    /// The honest purchase with this wallet: served, and charged once at its price.
    pub(crate) async fn control(&self, name: &str, wallet: &Wallet, guard: &Guard, rules: &Rules) {
        let (before, received) = (self.held().await, self.market.received().await);
        let signed = guard.payments().len();
        let told = get(wallet, &self.market.url("/data"), None).await;
        assert_eq!(told, "200 data", "{name}: control");
        assert_eq!(before.each(self.held().await), Held { usdc: PRICE, eurc: 0 }, "{name}: control");
        assert_eq!(self.market.received().await - received, PRICE, "{name}: control");
        assert_eq!(guard.payments().len() - signed, 1, "{name}: control");
        let payee = self.market.payee.to_string();
        let honest = Rules { payees: Some(vec![payee]), ..rules.clone() };
        let last = guard.payments().last().cloned().unwrap();
        assert_eq!(Guard::fault(&last, &honest), None, "{name}: control");
        wallet.flush().await;
    }

    /// What the payer has.
    pub(crate) async fn held(&self) -> Held {
        let held = async |token| balance(&self.market, token, self.market.buyer()).await;
        Held { usdc: held(genesis::USDC).await, eurc: held(genesis::EURC).await }
    }

    /// Sends everything that was ever signed to the chain, twice, past every facilitator.
    pub(crate) async fn cash(&self, signed: &[Signing]) {
        let cashier = Cashier::of(&self.market);
        for signing in signed.iter().chain(signed) {
            cashier.cash(&signing.payment, &signing.offer).await;
        }
    }

    /// Lets the chain's time pass.
    async fn wait(&self, seconds: u64) {
        if seconds > 0 {
            self.market.chain.raw("evm_increaseTime", json!([seconds])).await.unwrap();
            self.market.chain.raw("evm_mine", json!([])).await.unwrap();
        }
    }
}

/// Takes the money of whatever is signed, without asking anybody.
pub(crate) struct Cashier<'a>(&'a Market);

impl<'a> Cashier<'a> {
    pub(crate) const fn of(market: &'a Market) -> Self {
        Self(market)
    }

    /// Sends an authorization to the chain. What is none is worth nothing without a contract's help.
    pub(crate) async fn cash(&self, payment: &PaymentPayload, offer: &PaymentRequirements) {
        let Ok(payment) = exact::check_at_any_time(payment, offer) else { return };
        let (chain, cashier) = (&self.0.chain, account(CASHIER));
        let call = exact::transfer_call(&payment);
        let transaction = Transaction {
            chain_id: self.0.node.chain_id,
            nonce: chain.nonce(cashier.address()).await.unwrap(),
            to: call.to,
            value: U256::ZERO,
            data: call.data,
            gas_limit: GAS,
            max_fee_per_gas: 10_000_000_000,
            max_priority_fee_per_gas: 1,
        };
        let signed = transaction.sign(&cashier).await.unwrap();
        let hash = chain.send_raw(&signed.raw).await.unwrap();
        assert!(chain.receipt(hash).await.unwrap().is_some(), "the devnet mines at once");
    }
}

/// What the payer has, or has lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) usdc: u64,
    pub(crate) eurc: u64,
}

impl Held {
    fn each(self, now: Self) -> Self {
        Self { usdc: self.usdc - now.usdc, eurc: self.eurc - now.eurc }
    }
}

async fn balance(market: &Market, token: Address, of: Address) -> u64 {
    let data = format!("0x70a08231{:0>64}", of.to_string().trim_start_matches("0x").to_lowercase());
    let call = json!([{ "to": token.to_string(), "data": data }, "latest"]);
    let word: U256 = serde_json::from_value(market.chain.raw("eth_call", call).await.unwrap()).unwrap();
    word.to()
}

/// The market's assets, and a dollar with 18 decimals.
fn known() -> AssetTable {
    assets(31_337).with(Asset {
        network: "eip155:31337".parse().unwrap(),
        symbol: "USD18".to_owned(),
        address: USD18.parse().unwrap(),
        name: "USD18".to_owned(),
        version: "1".to_owned(),
        decimals: 18,
        is_usd: true,
        transfer_method: TransferMethod::Eip3009,
    })
}

/// A wallet whose signatures `guard` watches, in memory unless it is given a ledger.
pub(crate) fn wallet_of(guard: &Arc<Guard>, policy: tollway_buyer::Policy) -> WalletBuilder {
    let patience =
        Patience { presentations: 3, answer: Duration::from_secs(5), total: Duration::from_secs(10) };
    Wallet::builder()
        .signer(guard.signer())
        .scheme(guard.scheme())
        .assets(known())
        .policy(policy)
        .patience(patience)
}

/// A wallet's clock that stands still, so that no window ends in the middle of a test.
pub(crate) fn standing() -> Arc<dyn Clock> {
    Arc::new(tollway_core::ManualClock::new(SystemClock.now()))
}

async fn ask(wallet: &Wallet, url: &str, asks: &Asks) -> Vec<String> {
    let mut told = Vec::new();
    match asks {
        Asks::InTurn(paths) => {
            for path in paths {
                told.push(get(wallet, &format!("{url}{path}"), None).await);
            }
        }
        Asks::OneKey(times) => {
            for _ in 0..*times {
                told.push(get(wallet, &format!("{url}/data"), Some("order 1")).await);
            }
        }
        Asks::Storm(many) => {
            let url = format!("{url}/data");
            for _ in 0..2 {
                told.extend(
                    futures_util::future::join_all((0..*many).map(|_| get(wallet, &url, None))).await,
                );
            }
        }
    }
    told
}

/// A line of the table that `--no-capture` shows.
pub(crate) fn tell(name: &str, signed: u64, moved: u64, allowed: u64) {
    eprintln!("{name:<80} signed {signed}, outside the rules 0, moved {moved:>6} of {allowed:>6} allowed");
}

/// Gets `url` and reads the answer to its end.
pub(crate) async fn get(wallet: &Wallet, url: &str, key: Option<&str>) -> String {
    let mut request = wallet.client().unwrap().get(url);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    match request.send().await {
        Ok(answer) => {
            let status = answer.status().as_u16();
            format!("{status} {}", answer.text().await.unwrap_or_else(|error| error.to_string()))
        }
        Err(error) => error.to_string(),
    }
}
