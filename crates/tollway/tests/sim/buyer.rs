//! A buyer: asks, signs once, presents until it knows, signs anew only when the first is provably dead.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use tollway_buyer::{
    Decision, JudgedOffer, Next, Patience, PaymentError, Policy, Presentation, Presented, Reason,
    SignedPayment, Wallet, Window,
};
use tollway_core::model::{PaymentPayload, PaymentRequired, PaymentRequirements};
use tollway_core::{BoxFuture, BuyerScheme, Network, OfferedValue, SchemeName, SignError, UnixTime, wire};
use tollway_evm::exact::{self, ExactBuyer, ExactPayment};
use tollway_evm::{Asset, LocalSigner, Signer};
use tollway_ledger::MemoryLedger;
use url::Url;

use crate::dice::Dice;
use crate::network::{BROKEN_AFTER, Luck};
use crate::shop::Route;
use crate::world::{Market, PRICE_ATOMIC, World};

pub(crate) const BASE_URL: &str = "https://shop.example";

/// What a frugal payer may spend, in which time.
pub(crate) const BUDGET: &str = "$0.05";
pub(crate) const BUDGET_ATOMIC: u64 = 5 * PRICE_ATOMIC;
pub(crate) const BUDGET_WINDOW: Window = Window::Hour;
/// The name that the wallets of a frugal payer share.
pub(crate) const FRUGAL: &str = "frugal";
/// How many purchases a wallet asks the chain for at once.
pub(crate) const SEEN_AT_ONCE: u32 = 100;
/// How often one purchase signs anew after its authorization has died.
const AUTHORIZATIONS: usize = 3;
/// How often a purchase whose fate is unknown is taken up again.
const TAKEN_UP: usize = 6;

/// One account, and what its wallets have in common.
#[derive(Debug)]
pub(crate) struct Payer {
    pub(crate) signer: Arc<LocalSigner>,
    pub(crate) kind: PayerKind,
    pub(crate) ledger: MemoryLedger,
    scheme: Arc<SeededBuyer>,
    /// Of who keeps one.
    wallet: Option<Wallet>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PayerKind {
    /// Has money for a few purchases only.
    Poor,
    /// Has a budget for a few purchases an hour, and spends it by a wallet for each, which is not closed but lost.
    Frugal,
    Rich,
}

impl Payer {
    pub(crate) fn new(market: &Market, kind: PayerKind) -> Self {
        let signer = Arc::new(LocalSigner::from_hex(&hex(&market.dice.bytes())).expect("a key"));
        let scheme = SeededBuyer {
            inner: ExactBuyer::new(signer.clone(), market.assets.clone()),
            signer: signer.clone(),
            asset: market.asset.clone(),
            dice: market.dice.clone(),
        };
        let mut payer =
            Self { signer, kind, ledger: MemoryLedger::new(), scheme: Arc::new(scheme), wallet: None };
        payer.wallet = (kind != PayerKind::Frugal).then(|| payer.wallet(market));
        payer
    }

    /// A frugal payer's is one of another process each time: all that they share is the ledger.
    pub(crate) fn wallet(&self, market: &Market) -> Wallet {
        if let Some(wallet) = &self.wallet {
            return wallet.clone();
        }
        let wallet = Wallet::builder().scheme(self.scheme.clone()).clock(market.clock.clone());
        let wallet = match self.kind {
            PayerKind::Frugal => wallet
                .policy(Policy::default().budget_per(BUDGET_WINDOW, &BUDGET.parse().expect("money")))
                .ledger(Arc::new(self.ledger.clone()))
                .name(FRUGAL)
                .chain(market.truth.clone()),
            PayerKind::Poor | PayerKind::Rich => wallet.policy(Policy::default()),
        };
        wallet.build().expect("a wallet")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What an exchange over the network came to.
enum Exchange {
    Answered(StatusCode, HeaderMap),
    NotSent,
    Lost,
}

/// One purchase, from the first request to whatever end it has.
pub(crate) async fn purchase(world: Arc<World>, number: u64) {
    let dice = &world.market.dice;
    let payer_at = dice.below(world.payers.len() as u64) as usize;
    let payer = &world.payers[payer_at];
    let wallet = payer.wallet(&world.market);
    let route = match payer.kind {
        PayerKind::Poor => Route::Final,
        PayerKind::Frugal | PayerKind::Rich => Route::ALL[dice.below(Route::ALL.len() as u64) as usize],
    };
    let url: Url = format!("{BASE_URL}/{}/{number}", route.path()).parse().expect("a URL");
    for _ in 0..AUTHORIZATIONS {
        let Some(required) = ask(&world, &url).await else { return world.books.lock().unasked += 1 };
        if payer.kind == PayerKind::Frugal {
            // What has died since is found, and may be spent again.
            wallet.reconcile(SEEN_AT_ONCE).await.expect("memory");
        }
        let now = world.market.clock.now();
        let signed = match wallet.pay(&required, &url).await {
            Ok(signed) => signed,
            Err(PaymentError::Denied(offers)) if is_over_budget(&offers) => {
                return world.books.lock().over_budget += 1;
            }
            Err(error) => panic!("the offer is one to sign: {error}"),
        };
        let payment = read(&signed);
        let at = world.books.lock().sign(number, route, &payment, (payer_at, now));
        dice.note(&format!("purchase {number} signs {at}"));
        if dice.happens(world.market.plan.rivals) {
            tokio::spawn(crate::nature::rival(Arc::clone(&world), payment.clone()));
        }
        if dice.happens(world.market.plan.buyers_die) {
            // Killed somewhere on the way: what it has sent is on its way all the same.
            let life = dice.pause(Duration::from_secs(6));
            let presenting = present(&world, &url, &signed, at);
            let _ = tokio::time::timeout(life, presenting).await;
            return;
        }
        if present(&world, &url, &signed, at).await || !is_dead(&world, &payment).await {
            return;
        }
    }
}

fn is_over_budget(offers: &[JudgedOffer]) -> bool {
    offers.iter().all(|offer| matches!(offer.decision, Decision::Deny(Reason::OverBudget { .. })))
}

/// Presents until there is an end. True: it needs no other authorization.
async fn present(world: &Arc<World>, url: &Url, signed: &SignedPayment, at: usize) -> bool {
    let patience =
        Patience { presentations: 4, answer: Duration::from_secs(45), total: Duration::from_secs(120) };
    for _ in 0..TAKEN_UP {
        let mut presentation = Presentation::new(signed, patience);
        let next = loop {
            let exchange = exchange(world, url, Some((signed, at)));
            let (presented, status) = match tokio::time::timeout_at(presentation.answer_by(), exchange).await
            {
                Ok(Exchange::Answered(status, headers)) => {
                    (Presented::read(signed, status, &headers), Some(status))
                }
                Ok(Exchange::NotSent) => (Presented::NotSent, None),
                Ok(Exchange::Lost) | Err(_) => (Presented::Lost("the connection broke".to_owned()), None),
            };
            match presentation.next(&presented, world.market.clock.now()) {
                Next::Again(pause) => tokio::time::sleep(pause).await,
                Next::Done if status == Some(StatusCode::OK) => return true,
                next => break next,
            }
        };
        world.market.dice.note(&format!("{at} {next:?}"));
        let pause = Duration::from_secs(5) + world.market.dice.pause(Duration::from_secs(20));
        tokio::time::sleep(pause).await;
        if signed.expires_at() <= world.market.clock.now() {
            break;
        }
    }
    false
}

/// Whether the authorization can never move money: it has expired, on a block that no reorganisation takes back, and
/// was not used.
async fn is_dead(world: &World, payment: &ExactPayment) -> bool {
    let expires = payment.authorization.expires();
    while world.market.clock.now() <= expires.plus_seconds(30) {
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    loop {
        match exact::is_used(&world.market.truth, &[payment]).await {
            Ok(used) => return used == [false],
            Err(_) => tokio::time::sleep(Duration::from_secs(5)).await,
        }
    }
}

async fn ask(world: &Arc<World>, url: &Url) -> Option<PaymentRequired> {
    for _ in 0..20 {
        let answer = tokio::time::timeout(Duration::from_secs(60), exchange(world, url, None)).await;
        if let Ok(Exchange::Answered(StatusCode::PAYMENT_REQUIRED, headers)) = answer {
            let header = headers.get(wire::PAYMENT_REQUIRED).expect("a 402 says what it asks");
            let json = wire::decode_header(wire::PAYMENT_REQUIRED, header.as_bytes()).expect("base64");
            return Some(wire::decode_payment_required(&json).expect("of the protocol"));
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    None
}

/// One request to any living shop and its answer. What leaves a shop for a payment is written into the books, whether it
/// arrives or not.
async fn exchange(world: &Arc<World>, url: &Url, payment: Option<(&SignedPayment, usize)>) -> Exchange {
    let (dice, risk) = (world.market.dice.clone(), world.market.plan.buyer_network);
    risk.travel(&dice).await;
    let Some(shop) = world.any_shop() else { return Exchange::NotSent };
    let luck = risk.luck(&dice);
    if luck == Luck::RequestLost {
        tokio::time::sleep(BROKEN_AFTER).await;
        return Exchange::Lost;
    }
    let request = || {
        let mut request = Request::builder().method(Method::GET).uri(url.as_str());
        if let Some((signed, _)) = payment {
            request = request.header(signed.header.name(), signed.header.value());
        }
        request.body(Body::empty()).expect("a request")
    };
    let at = payment.map(|(_, at)| at);
    // The server's side of a connection goes on, or not, whatever the buyer does.
    let serve = |request| {
        let (world, shop) = (Arc::clone(world), shop.clone());
        async move {
            let serving = shop.clone();
            let answer = shop.process.serve(async move {
                let response = serving.answer(request).await;
                let (parts, body) = response.into_parts();
                let bytes = axum::body::to_bytes(body, 1 << 20).await.expect("a short body");
                (parts.status, parts.headers, bytes.to_vec())
            });
            let (status, headers, bytes) = answer.await?;
            if let Some(at) = at {
                world.market.dice.note(&format!("{at} is answered {status} by {}", shop.process.name()));
                world.books.lock().left(at, status, &bytes);
            }
            Some((status, headers))
        }
    };
    if luck == Luck::Twice {
        tokio::spawn(serve(request()));
    }
    let answer = match tokio::spawn(serve(request())).await {
        Ok(answer) => answer,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    risk.travel(&dice).await;
    match answer {
        Some((status, headers)) if luck != Luck::AnswerLost => Exchange::Answered(status, headers),
        _ => Exchange::Lost,
    }
}

fn read(signed: &SignedPayment) -> ExactPayment {
    let json = wire::decode_header(signed.header.name(), signed.header.value().as_bytes()).expect("base64");
    let payload = wire::decode_payment(&json).expect("our own");
    exact::check_at_any_time(&payload, &signed.offer).expect("well signed")
}

/// Scheme `exact` with nonces from the dice, so that a seed replays.
#[derive(Debug)]
struct SeededBuyer {
    inner: ExactBuyer,
    signer: Arc<LocalSigner>,
    asset: Asset,
    dice: Dice,
}

impl BuyerScheme for SeededBuyer {
    fn name(&self) -> &SchemeName {
        self.inner.name()
    }

    fn covers(&self, network: &Network) -> bool {
        self.inner.covers(network)
    }

    fn value(&self, offer: &PaymentRequirements) -> Option<OfferedValue> {
        self.inner.value(offer)
    }

    fn sign<'a>(
        &'a self,
        required: &'a PaymentRequired,
        offer: &'a PaymentRequirements,
        now: UnixTime,
    ) -> BoxFuture<'a, Result<PaymentPayload, SignError>> {
        Box::pin(async move {
            let mut payload = self.inner.sign(required, offer, now).await?;
            let mut signed = exact::check_at_any_time(&payload, offer).map_err(SignError::Offer)?;
            signed.authorization.nonce = self.dice.bytes().into();
            let domain = tollway_evm::eip712::Domain::of(&self.asset).expect("a domain");
            let preimage = domain.preimage(&signed.authorization.message());
            let signature = self.signer.sign(&preimage).await.expect("a local key");
            let inner = payload.payload.get_mut("authorization").expect("ours");
            inner["nonce"] = signed.authorization.nonce.to_string().into();
            payload
                .payload
                .insert("signature".to_owned(), format!("0x{}", hex(&signature.as_bytes())).into());
            Ok(payload)
        })
    }
}
