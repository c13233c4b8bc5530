//! Everything that runs while the matrix is tried: one chain, our facilitator and theirs, and for each facilitator our
//! seller and theirs; our wallet, and their clients.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::{B256, keccak256};
use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tollway_buyer::{Policy, Wallet, WalletBuilder};
use tollway_core::Facilitator;
use tollway_core::model::SchemeName;
use tollway_devnet::{ACCOUNTS, genesis};
use tollway_evm::auth_capture::{AuthCaptureBuyer, AuthCaptureSeller};
use tollway_evm::batch_settlement::BatchSettlement;
use tollway_evm::offer_receipt::Issuer;
use tollway_evm::permit2::{UptoBuyer, UptoSeller};
use tollway_evm::{Address, Asset, AssetTable, LocalSigner, Signer, TransferMethod, U256};
use tollway_facilitator::Limits;
use tollway_seller::{HoldState, HttpFacilitator, IdentifierRule, Paywall, SignIn};

use crate::cases::Case;
use crate::market::{self, Market};
use crate::node::{Kind, Node};
use crate::partner::Partner;
use crate::peers::{CLIENTS, FACILITATORS, Peer, SERVERS};
use crate::verdicts::Row;

/// The older protocol knows chains by names, of which this one has one.
const CHAIN_ID: u64 = 84_532;
const V1_NETWORK: &str = "base-sepolia";
/// What everything costs, in atomic units.
pub(crate) const PRICE_ATOMIC: u64 = 10_000;
/// Which of the funded accounts signs offers and receipts for every seller.
const ISSUER: usize = 9;
/// What each payer has.
const ENDOWMENT_ATOMIC: u64 = 1_000_000_000;
/// What scheme `upto` charges of it.
pub(crate) const CHARGED_ATOMIC: u64 = 7_000;
/// A route that answers with what was sent to it.
pub(crate) const ECHO: &str = "/echo";
/// A route whose handler fails.
pub(crate) const FAILS: &str = "/fails";
/// Routes of ours that hold first: collected by Permit2, and with a handler that fails.
pub(crate) const HELD_BY_PERMIT2: &str = "/auth-capture-permit2";
pub(crate) const HELD_AND_FAILS: &str = "/auth-capture-fails";
/// A route of every seller on channels that charges less than its most.
pub(crate) const PARTLY: &str = "/batch-settlement-partly";
/// One where deposits go through Permit2.
pub(crate) const DEPOSITED_BY_PERMIT2: &str = "/batch-settlement-permit2";
/// Where theirs are told to claim what is owed.
pub(crate) const CLAIM: &str = "/claim";
/// More than a run makes at one of our sellers.
const MAX_PURCHASES: u32 = 100;
/// How often their facilitators ask for receipts.
const POLL_MS: u64 = 20;
/// Contracts that the published Rust facilitator wants to find before it starts. Those that the genesis does not have
/// are called by nothing here.
const WANTED: [&str; 3] = [
    "0xdAcD51A54883eb67D95FAEb2BBfdC4a9a6BD2a3B",
    "0x000000000022D473030F116dDEE9F6B43aC78BA3",
    "0x402085c248EeA27D92E8b30b2C58ed07f9E20001",
];
/// Which of the funded accounts pays for gas at the first of their facilitators; the next have the next.
const FIRST_STRANGER: usize = 3;

/// A running stand.
pub(crate) struct Stand {
    pub(crate) market: Market,
    clients: BTreeMap<&'static str, Partner>,
    /// By server, then by facilitator.
    shops: BTreeMap<(&'static str, &'static str), String>,
    _servers: Vec<Partner>,
    _facilitators: Vec<Partner>,
    ours: Vec<JoinHandle<()>>,
    /// Those of ours that hold first.
    holding: Vec<Paywall>,
    /// Those of ours that sell on channels, by facilitator.
    on_channels: BTreeMap<&'static str, [Paywall; 2]>,
}

impl Stand {
    /// Starts ours, and those of theirs that are `wanted`; none if the node or a partner's program is not installed.
    pub(crate) async fn open(kind: Kind, wanted: fn(&Peer) -> bool) -> Option<Self> {
        let market = Market::on(Node::start(kind, CHAIN_ID).await?, Limits::default()).await;
        for address in WANTED {
            let code =
                market.chain.raw("eth_getCode", json!([address, "latest"])).await.expect("the node answers");
            if code == "0x" {
                market
                    .chain
                    .raw("anvil_setCode", json!([address, "0x00"]))
                    .await
                    .expect("the node sets code");
            }
        }
        for peer in CLIENTS {
            endow(&market, payer(peer)).await;
        }
        let mut facilitators = Vec::new();
        for (index, peer) in strangers(FACILITATORS, wanted).enumerate() {
            let key = ACCOUNTS[FIRST_STRANGER + index].secret_key.to_string();
            let mut start = common(&market);
            start["keys"] = json!([key]);
            start["pollMs"] = POLL_MS.into();
            facilitators.push((peer.id, Partner::start(peer, &start)?));
        }
        let mut urls = BTreeMap::from([("tollway", market.facilitator_url.clone())]);
        for (id, partner) in &mut facilitators {
            urls.insert(id, partner.ready().remove(0));
        }
        let facilitating: Vec<_> = FACILITATORS.iter().filter(|peer| urls.contains_key(peer.id)).collect();
        let mut clients = BTreeMap::new();
        for peer in strangers(CLIENTS, wanted) {
            let mut start = common(&market);
            start["key"] = payer_key(peer).into();
            clients.insert(peer.id, Partner::start(peer, &start)?);
        }
        let kinds = market.engine.supported().await.expect("it is there").kinds;
        let operator = kinds.iter().find_map(|kind| kind.extra.get("captureAuthorizer")).expect("one holds");
        let mut servers = Vec::new();
        for peer in strangers(SERVERS, wanted) {
            let mut start = common(&market);
            start["payTo"] = market.payee.to_string().into();
            start["captureAuthorizer"] = operator.clone();
            start["facilitators"] =
                facilitating.iter().map(|facilitator| asked(peer, facilitator, &urls)).collect();
            servers.push((peer.id, Partner::start(peer, &start)?));
        }
        let (mut shops, mut ours, mut holding) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut on_channels = BTreeMap::new();
        for facilitator in &facilitating {
            let shop = our_shop(&market, (facilitator, urls[facilitator.id].clone())).await;
            shops.insert(("tollway", facilitator.id), shop.url);
            ours.push(shop.server);
            holding.extend(shop.holding);
            on_channels.extend(shop.on_channels.map(|paywalls| (facilitator.id, paywalls)));
        }
        for (id, partner) in &mut servers {
            for (facilitator, url) in facilitating.iter().zip(partner.ready()) {
                shops.insert((*id, facilitator.id), url);
            }
        }
        clients.values_mut().for_each(|partner| drop(partner.ready()));
        let servers = servers.into_iter().map(|(_, partner)| partner).collect();
        let facilitators = facilitators.into_iter().map(|(_, partner)| partner).collect();
        let (_servers, _facilitators) = (servers, facilitators);
        Some(Self { market, clients, shops, _servers, _facilitators, ours, holding, on_channels })
    }

    /// How many of our seller's purchases have come so far.
    pub(crate) async fn holds(&self, state: HoldState) -> usize {
        let mut count = 0;
        for paywall in &self.holding {
            let purchases = paywall.purchases(None, MAX_PURCHASES).await.expect("the ledger is in memory");
            count += purchases.iter().filter(|purchase| purchase.state == state).count();
        }
        count
    }

    /// Has the row's server claim all that its channels owe, and have it paid out. What does not happen, the books show.
    pub(crate) async fn claim(&self, row: &Row) -> String {
        if row.server.is_ours() {
            let mut told = String::new();
            for paywall in &self.on_channels[row.facilitator.id] {
                told +=
                    &format!("{:?} {:?}", paywall.claims().claim(&[]).await, paywall.claims().settle().await);
            }
            return told;
        }
        let asked = our_client(false).post(self.route_url(row, CLAIM)).send().await;
        match asked {
            Ok(told) => told.text().await.unwrap_or_default(),
            Err(error) => error.to_string(),
        }
    }

    /// Where the row's server sells `case` through the row's facilitator.
    pub(crate) fn url(&self, row: &Row, case: Case) -> String {
        self.route_url(row, case.route())
    }

    /// Where the row's server has `route` through the row's facilitator.
    pub(crate) fn route_url(&self, row: &Row, route: &str) -> String {
        format!("{}{route}", self.shops[&(row.server.id, row.facilitator.id)])
    }

    /// The books of who pays for a client, and of who is paid.
    pub(crate) async fn books(&self, client: &Peer) -> (u64, u64) {
        let whole = |amount: tollway_core::Amount| amount.to_string().parse().expect("fits");
        let (payer, payee) = (payer(client), self.market.payee);
        (whole(self.market.balance(payer).await), whole(self.market.balance(payee).await))
    }

    /// Has a client of theirs pay.
    pub(crate) fn stranger_pays(&mut self, client: &Peer, request: &Value) -> Value {
        self.clients.get_mut(client.id).expect("it was started").ask(request)
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.ours.iter().for_each(JoinHandle::abort);
    }
}

fn strangers(peers: &'static [Peer], wanted: fn(&Peer) -> bool) -> impl Iterator<Item = &'static Peer> {
    peers.iter().filter(move |peer| !peer.is_ours() && wanted(peer))
}

/// What every partner is told.
fn common(market: &Market) -> Value {
    json!({
        "rpc": market.node.rpc_url,
        "network": market.node.network().as_str(),
        "v1Network": V1_NETWORK,
        "token": {
            "address": genesis::USDC.to_string(),
            "name": "USDC",
            "version": "2",
            "decimals": 6,
        },
        "price": PRICE_ATOMIC.to_string(),
        "charged": CHARGED_ATOMIC.to_string(),
        "issuerKey": ACCOUNTS[ISSUER].secret_key.to_string(),
    })
}

/// What a server is asked to sell through a facilitator: what both have.
fn asked(server: &Peer, facilitator: &Peer, urls: &BTreeMap<&str, String>) -> Value {
    let both = |case: &Case| server.lack(*case).is_none() && facilitator.lack(*case).is_none();
    let mut routes: Vec<_> = Case::ALL.into_iter().filter(both).map(Case::route).collect();
    if both(&Case::Eip3009) {
        routes.extend([ECHO, FAILS]);
    }
    let mut asked = json!({ "url": urls[facilitator.id] });
    if both(&Case::BatchSettlement) {
        routes.extend([PARTLY, DEPOSITED_BY_PERMIT2]);
        asked["authorizerKey"] = authorizer_key(server, facilitator).into();
    }
    asked["routes"] = json!(routes);
    asked
}

/// Who consents to claims of a server: each has its own, so that no two have a channel in common.
fn authorizer_key(server: &Peer, facilitator: &Peer) -> String {
    keccak256(format!("{} by {}", server.id, facilitator.id)).to_string()
}

/// A seller of ours.
struct Shop {
    url: String,
    server: JoinHandle<()>,
    holding: Vec<Paywall>,
    on_channels: Option<[Paywall; 2]>,
}

/// Our seller, settling through `facilitator`.
async fn our_shop(market: &Market, facilitator: (&Peer, String)) -> Shop {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut app = Router::new();
    let network = market.node.network();
    let (by_token, by_permit2) = (market::assets(CHAIN_ID), by_permit2());
    let wall = |assets: &AssetTable| {
        let facilitator = HttpFacilitator::new(&facilitator.1).unwrap();
        market::paywall(&url, &network, market.payee, assets).facilitator(facilitator)
    };
    app = app.merge(routes(&wall(&by_token).start().await.expect("the paywall starts")));
    let issuer = Issuer::eip712(Arc::new(market::account(ISSUER)));
    let signing = wall(&by_token).sign_offers(issuer.clone()).sign_receipts(issuer);
    app = app.merge(route(&signing.start().await.expect("the paywall starts"), Case::OfferReceipt));
    if facilitator.0.lack(Case::Permit2).is_none() {
        app = app.merge(route(&wall(&by_permit2).start().await.expect("the paywall starts"), Case::Permit2));
    }
    if facilitator.0.lack(Case::Upto).is_none() {
        let upto = Paywall::builder(&url)
            .accept_by(SchemeName::UPTO, network.as_str(), market.payee.to_string())
            .scheme(UptoSeller::new(by_token.clone()))
            .facilitator(HttpFacilitator::new(&facilitator.1).unwrap());
        let upto = route(&upto.start().await.expect("the paywall starts"), Case::Upto);
        app = app.merge(upto);
    }
    let mut holding = Vec::new();
    if facilitator.0.lack(Case::AuthCapture).is_none() {
        for assets in [by_token.clone(), by_permit2.clone()] {
            holding.push(holding_first(market, &url, &facilitator.1, assets).await);
        }
        app = app.merge(held_routes(&holding[0], &holding[1]));
    }
    let mut on_channels = None;
    if facilitator.0.lack(Case::BatchSettlement).is_none() {
        let paywalls = [
            selling_on_channels(market, &url, &facilitator, &by_token).await,
            selling_on_channels(market, &url, &facilitator, &by_permit2).await,
        ];
        app = app.merge(channel_routes(&paywalls));
        on_channels = Some(paywalls);
    }
    let server = tokio::spawn(async move { axum::serve(listener, app).await.expect("the server runs") });
    Shop { url, server, holding, on_channels }
}

/// Sells on channels, and claims when it is told to. Two that do not share a ledger share no channel.
async fn selling_on_channels(
    market: &Market,
    url: &str,
    facilitator: &(&Peer, String),
    assets: &AssetTable,
) -> Paywall {
    let is_by_permit2 = assets.iter().any(|asset| asset.transfer_method == TransferMethod::Permit2);
    let key = keccak256(format!("{} {is_by_permit2}", authorizer_key(&SERVERS[0], facilitator.0)));
    let key = Arc::new(LocalSigner::from_hex(&key.to_string()).expect("a hash is a key"));
    let paywall = Paywall::builder(url)
        .accept_by(SchemeName::BATCH_SETTLEMENT, market.node.network().as_str(), market.payee.to_string())
        .scheme(BatchSettlement::new(assets.clone()).with_key(key))
        .pending_wait_ms(50)
        .facilitator(HttpFacilitator::new(&facilitator.1).unwrap());
    paywall.start().await.expect("the paywall starts")
}

fn channel_routes([by_token, by_permit2]: &[Paywall; 2]) -> Router {
    let price = format!("{} USDC", usdc(PRICE_ATOMIC));
    let priced = |paywall: &Paywall| paywall.price(price.as_str()).expect("the price is one");
    let charged = [("settlement-overrides", CHARGED_ATOMIC.to_string())];
    let partly = get(|| async { (charged, format!("sold {PARTLY}")) });
    let permit2 = get(|| async { format!("sold {DEPOSITED_BY_PERMIT2}") });
    route(by_token, Case::BatchSettlement)
        .route(PARTLY, partly.layer(priced(by_token)))
        .route(DEPOSITED_BY_PERMIT2, permit2.layer(priced(by_permit2)))
}

/// Takes what was served before the answer leaves, and gives the rest back.
async fn holding_first(market: &Market, url: &str, facilitator: &str, assets: AssetTable) -> Paywall {
    let key = Arc::new(market::account(ISSUER));
    let scheme = AuthCaptureSeller::new(assets, key.address()).with_key(key);
    let paywall = Paywall::builder(url)
        .accept_by(SchemeName::AUTH_CAPTURE, market.node.network().as_str(), market.payee.to_string())
        .scheme(scheme)
        .pending_wait_ms(50)
        .facilitator(HttpFacilitator::new(facilitator).unwrap());
    paywall.start().await.expect("the paywall starts")
}

fn held_routes(by_token: &Paywall, by_permit2: &Paywall) -> Router {
    let price = format!("{} USDC", usdc(PRICE_ATOMIC));
    let priced = |paywall: &Paywall| paywall.price(price.as_str()).expect("the price is one");
    let fails = get(|| async { (StatusCode::INTERNAL_SERVER_ERROR, format!("sold {HELD_AND_FAILS}")) });
    let permit2 = get(|| async { format!("sold {HELD_BY_PERMIT2}") });
    route(by_token, Case::AuthCapture)
        .route(HELD_AND_FAILS, fails.layer(priced(by_token)))
        .route(HELD_BY_PERMIT2, permit2.layer(priced(by_permit2)))
}

/// One route. Scheme `upto` is charged less than its most.
fn route(paywall: &Paywall, case: Case) -> Router {
    let price = format!("{} USDC", usdc(PRICE_ATOMIC));
    let sold = get(move || async move {
        let mut response = format!("sold {}", case.route()).into_response();
        if case == Case::Upto {
            response.headers_mut().insert("settlement-overrides", HeaderValue::from(CHARGED_ATOMIC));
        }
        response
    });
    Router::new().route(case.route(), sold.layer(paywall.price(price.as_str()).expect("the price is one")))
}

fn routes(paywall: &Paywall) -> Router {
    let price = format!("{} USDC", usdc(PRICE_ATOMIC));
    let priced = || paywall.price(price.as_str()).expect("the price is one");
    let v1 = route(paywall, Case::V1).layer(map_response(without_v2));
    let echo = post(|body: String| async move { format!("sold {ECHO}{body}") });
    let fails = get(|| async { (StatusCode::INTERNAL_SERVER_ERROR, format!("sold {FAILS}")) });
    let extended = [
        (Case::PaymentIdentifier, priced().payment_identifier(IdentifierRule::Required)),
        (Case::BuilderCode, priced().builder_code("tollway_app", &[]).expect("the code is one")),
        (Case::SignIn, priced().sign_in(SignIn::for_seconds(3_600)).expect("the rule can be kept")),
    ];
    let extended = extended.into_iter().fold(Router::new(), |app, (case, priced)| {
        app.route(case.route(), get(move || async move { format!("sold {}", case.route()) }).layer(priced))
    });
    Router::new()
        .merge(extended)
        .merge(route(paywall, Case::Eip3009))
        .route(ECHO, echo.layer(priced()))
        .route(FAILS, fails.layer(priced()))
        .merge(v1)
}

/// Both versions are in every 402 of ours. Who speaks both takes the newer: without its header the older is tried.
async fn without_v2(mut response: Response) -> Response {
    let headers: &mut HeaderMap = response.headers_mut();
    headers.remove("payment-required");
    response
}

fn usdc(atomic: u64) -> String {
    format!("{}.{:06}", atomic / 1_000_000, atomic % 1_000_000)
}

/// Our wallet's client, with or without extensions.
pub(crate) fn our_client(extended: bool) -> reqwest_middleware::ClientWithMiddleware {
    let wallet = match extended {
        true => our_wallet().sign_in().builder_codes(&["tollway_agent"]).expect("the code is one"),
        false => our_wallet(),
    };
    wallet.build().expect("the wallet is whole").client().expect("the wallet has a client")
}

/// Our wallet, with every scheme.
pub(crate) fn our_wallet() -> WalletBuilder {
    let signer = Arc::new(LocalSigner::from_hex(&payer_key(&CLIENTS[0])).expect("the key is one"));
    let assets = market::assets(CHAIN_ID);
    let by_key = || Arc::clone(&signer) as Arc<dyn Signer>;
    let upto = Arc::new(UptoBuyer::new(by_key(), assets.clone()));
    let held = Arc::new(AuthCaptureBuyer::new(by_key(), assets.clone()));
    Wallet::builder().signer(signer).assets(assets).scheme(upto).scheme(held).policy(Policy::default())
}

/// The same assets, moved through Permit2.
fn by_permit2() -> AssetTable {
    let through = |asset: &Asset| Asset { transfer_method: TransferMethod::Permit2, ..asset.clone() };
    market::assets(CHAIN_ID).iter().map(through).fold(AssetTable::empty(), AssetTable::with)
}

/// Gives a payer money, and has it approve Permit2 for as much as there is: the token's mapping of allowances is its
/// third word.
async fn endow(market: &Market, payer: Address) {
    let nested = |key: Address, within: B256| keccak256([key.into_word(), within].concat());
    let allowance = nested(genesis::PERMIT2, nested(payer, B256::with_last_byte(2)));
    let balance = B256::from(genesis::balance_slot(payer));
    for (slot, word) in
        [(allowance, B256::repeat_byte(0xff)), (balance, B256::from(U256::from(ENDOWMENT_ATOMIC)))]
    {
        let params = json!([genesis::USDC, slot, word]);
        market.chain.raw("anvil_setStorageAt", params).await.expect("the node sets storage");
    }
}

/// Who pays for a client: each has its own, so that none comes back for what another bought.
fn payer_key(client: &Peer) -> String {
    keccak256(client.id).to_string()
}

fn payer(client: &Peer) -> Address {
    LocalSigner::from_hex(&payer_key(client)).expect("a hash is a key").address()
}
