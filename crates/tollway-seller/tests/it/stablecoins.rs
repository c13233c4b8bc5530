//! Several assets for one price: what is asked in each, when one is withdrawn, and which payments are still taken.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, Response, StatusCode};
use tollway_core::model::{PaymentRequired, SettleResponse, X402Version};
use tollway_core::wire::{self, PAYMENT_REQUIRED};
use tollway_core::{Amount, BoxFuture, BuyerScheme, Clock, Decimal, ErrorCode, ManualClock, Money, UnixTime};
use tollway_evm::exact::ExactBuyer;
use tollway_evm::{AssetTable, LocalSigner};
use tollway_ledger::MemoryLedger;
use tollway_seller::{
    Coin, Guard, Paywall, PaywallBuilder, PriceSource, Quote, SourceError, StoredResponses, Withdrawal,
};
use tower::ServiceExt;

use crate::doubles::{BASE, PAY_TO, ScriptedFacilitator, Signed, builder, kinds, now, pending};

const ETHEREUM: &str = "eip155:1";

/// A source that tells what a test has put up.
#[derive(Clone, Debug)]
struct Board {
    quote: Arc<Mutex<Result<Quote, SourceError>>>,
    asked: Arc<AtomicUsize>,
    hangs: Arc<Mutex<bool>>,
}

impl Board {
    fn at(dollars: &str) -> Self {
        let quote = Arc::new(Mutex::new(Err(SourceError::NoAnswer("nothing yet".to_owned()))));
        let board = Self { quote, asked: Arc::default(), hangs: Arc::default() };
        board.put(dollars);
        board
    }

    fn put(&self, dollars: &str) {
        *self.quote.lock().unwrap() = Ok(Quote { dollars: dollars.parse().unwrap(), at: None });
    }

    fn put_at(&self, dollars: &str, at: UnixTime) {
        *self.quote.lock().unwrap() = Ok(Quote { dollars: dollars.parse().unwrap(), at: Some(at) });
    }

    fn fail(&self, error: SourceError) {
        *self.quote.lock().unwrap() = Err(error);
    }

    fn hang(&self, hangs: bool) {
        *self.hangs.lock().unwrap() = hangs;
    }

    /// Until what is up has been read and judged.
    async fn read(&self) {
        let before = self.asked.load(Ordering::SeqCst);
        while self.asked.load(Ordering::SeqCst) < before + 2 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

impl PriceSource for Board {
    fn name(&self) -> String {
        "board".to_owned()
    }

    fn quote(&self) -> BoxFuture<'_, Result<Quote, SourceError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if *self.hangs.lock().unwrap() {
            return Box::pin(std::future::pending());
        }
        Box::pin(std::future::ready(self.quote.lock().unwrap().clone()))
    }
}

/// A seller of `/data` for a cent, without sockets: so the clock may be paused.
struct Stall {
    facilitator: Arc<ScriptedFacilitator>,
    clock: Arc<ManualClock>,
    paywall: Paywall,
    app: Router,
    runs: Arc<AtomicUsize>,
    buyer: ExactBuyer,
}

impl Stall {
    async fn open(refine: impl FnOnce(PaywallBuilder) -> PaywallBuilder) -> Self {
        let facilitator = ScriptedFacilitator { kinds: kinds(&[BASE, ETHEREUM]), ..Default::default() };
        Self::open_at(Arc::new(facilitator), refine).await
    }

    async fn open_at(
        facilitator: Arc<ScriptedFacilitator>,
        refine: impl FnOnce(PaywallBuilder) -> PaywallBuilder,
    ) -> Self {
        let clock = Arc::new(ManualClock::new(now()));
        let builder = builder(&facilitator).clock(Arc::clone(&clock) as Arc<dyn Clock>);
        let paywall = refine(builder).start().await.unwrap();
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        let handler = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            async { "paid content" }
        };
        let app = Router::new().route("/data", get(handler).layer(paywall.price("$0.01").unwrap()));
        let signer = Arc::new(LocalSigner::random().unwrap());
        let buyer = ExactBuyer::new(signer, AssetTable::known());
        Self { facilitator, clock, paywall, app, runs, buyer }
    }

    async fn get(&self, signed: Option<&Signed>) -> Response<Body> {
        let mut request = Request::get("/data");
        if let Some(signed) = signed {
            request = request.header(signed.name, &signed.value);
        }
        self.app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    /// The offers, if there are any.
    async fn offers(&self, version: X402Version) -> Option<PaymentRequired> {
        let response = self.get(None).await;
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            assert_eq!(explained(response).await.1, "no_asset_offered");
            return None;
        }
        assert_eq!(response.status(), StatusCode::PAYMENT_REQUIRED);
        let json = match version {
            X402Version::V2 => {
                wire::decode_header(PAYMENT_REQUIRED, response.headers()[PAYMENT_REQUIRED].as_bytes())
                    .unwrap()
            }
            X402Version::V1 => axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec(),
        };
        Some(wire::decode_payment_required(&json).unwrap())
    }

    /// What is asked, in the order of the offers: asset table's symbol and atomic units.
    async fn asked(&self) -> Vec<(String, String)> {
        let Some(required) = self.offers(X402Version::V2).await else { return Vec::new() };
        let symbol = |offer| self.buyer.value(offer).unwrap().symbol;
        required.accepts.iter().map(|offer| (symbol(offer), offer.amount.to_string())).collect()
    }

    async fn sign(&self, index: usize) -> Signed {
        let required = self.offers(X402Version::V2).await.unwrap();
        Signed::of(self.buyer.sign(&required, &required.accepts[index], self.clock.now()).await.unwrap())
    }

    fn pass(&self, seconds: u64) {
        self.clock.set(self.clock.now().plus_seconds(seconds));
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
}

async fn explained(response: Response<Body>) -> (u16, String, String) {
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    (status, text("error"), text("field"))
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(symbol, amount)| ((*symbol).to_owned(), (*amount).to_owned())).collect()
}

fn euro(board: &Board) -> Coin {
    Coin::new("EURC").guard(Guard::new(board.clone()).band("0.9", "1.4").every_ms(1_000).max_age_seconds(60))
}

fn dollar(symbol: &str, board: &Board) -> Coin {
    Coin::new(symbol).guard(Guard::new(board.clone()).every_ms(1_000).max_age_seconds(60))
}

#[tokio::test(start_paused = true)]
async fn a_dollar_price_is_offered_in_every_coin_of_every_network() {
    let board = Board::at("1.0832");
    let stall = Stall::open(|builder| {
        builder
            .coins([euro(&board), Coin::new("USDC")])
            .accept(ETHEREUM, PAY_TO)
            .coins([Coin::new("PYUSD").factor("1.01"), Coin::new("USDC").factor("1.00001")])
    })
    .await;
    let all = [("EURC", "9232"), ("USDC", "10000"), ("PYUSD", "10100"), ("USDC", "10001")];
    assert_eq!(stall.asked().await, pairs(&all));
    // v1 has no word for Ethereum, nor for a price that floats; the rest begins with what its clients know.
    let v1 = stall.offers(X402Version::V1).await.unwrap();
    let v1: Vec<_> = v1.accepts.iter().map(|offer| offer.amount.to_string()).collect();
    assert_eq!(v1.first().map(String::as_str), Some("10000"));
    for (index, (symbol, amount)) in all.into_iter().enumerate() {
        let signed = stall.sign(index).await;
        assert_eq!(stall.get(Some(&signed)).await.status(), StatusCode::OK, "{symbol}");
        let settled = stall.facilitator.last_settle.lock().unwrap().clone().unwrap().requirements;
        assert_eq!(settled.amount.to_string(), amount);
    }
}

#[tokio::test(start_paused = true)]
async fn what_v1_clients_know_comes_first_for_them() {
    let stall = Stall::open_at(Arc::new(ScriptedFacilitator::default()), |builder| {
        builder.accept("eip155:137", PAY_TO)
    })
    .await;
    assert_eq!(
        stall.offers(X402Version::V1).await.unwrap().accepts.len(),
        2,
        "without coins nothing changes"
    );
    let board = Board::at("1");
    let known = AssetTable::known();
    let usdc = known.iter().find(|asset| asset.symbol == "USDC" && asset.network.as_str() == BASE).unwrap();
    let mut other = usdc.clone();
    other.symbol = "USDX".to_owned();
    other.address = "0x00000000000000000000000000000000000000Aa".parse().unwrap();
    let table = AssetTable::empty().with(usdc.clone()).with(other);
    let stall =
        Stall::open(|builder| builder.assets(table).coins([dollar("USDX", &board), Coin::new("USDC")])).await;
    let first = |required: PaymentRequired| required.accepts[0].asset.clone();
    let usdc = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913";
    assert_eq!(first(stall.offers(X402Version::V1).await.unwrap()), usdc);
    assert_ne!(first(stall.offers(X402Version::V2).await.unwrap()), usdc, "v2 has the seller's order");
}

#[tokio::test(start_paused = true)]
async fn an_asset_is_withdrawn_and_returns_and_the_route_stays() {
    let board = Board::at("0.999");
    let stall = Stall::open(|builder| {
        builder
            .coins([Coin::new("USDC"), euro(&Board::at("1.1"))])
            .accept(ETHEREUM, PAY_TO)
            .coins([dollar("PYUSD", &board)])
    })
    .await;
    let both = pairs(&[("USDC", "10000"), ("EURC", "9091"), ("PYUSD", "10000")]);
    let left = pairs(&[("USDC", "10000"), ("EURC", "9091")]);
    let standing =
        || stall.paywall.assets().into_iter().find(|asset| asset.symbol == "PYUSD").unwrap().standing;
    assert_eq!(stall.asked().await, both);
    assert_eq!(standing(), Ok("0.999".parse().unwrap()));
    let unreadable = || SourceError::Unreadable("NaN".to_owned());
    for (worth, reason) in [("0.9799", Withdrawal::OutOfBand), ("1.0201", Withdrawal::OutOfBand)] {
        board.put(worth);
        board.read().await;
        assert_eq!((stall.asked().await, standing()), (left.clone(), Err(reason)), "{worth}");
        board.put("1.02");
        board.read().await;
        assert_eq!(stall.asked().await, both, "the edge of the band is in it");
    }
    board.fail(unreadable());
    board.read().await;
    assert_eq!((stall.asked().await, standing()), (left.clone(), Err(Withdrawal::Unreadable)));
    board.put_at("1", stall.clock.now().plus_seconds(120));
    board.read().await;
    assert_eq!(standing(), Err(Withdrawal::Unreadable), "a price from the future is none");
    board.put("1");
    board.read().await;
    assert_eq!(stall.asked().await, both);
}

#[tokio::test(start_paused = true)]
async fn a_price_counts_until_it_is_too_old_whatever_its_source_does() {
    let board = Board::at("1.1");
    let stall = Stall::open(|builder| builder.coins([euro(&board), Coin::new("USDC")])).await;
    let standing = || stall.paywall.assets()[0].standing;
    // One answer that does not come says nothing; the price is as good as before.
    board.fail(SourceError::NoAnswer("timeout".to_owned()));
    board.read().await;
    stall.pass(60);
    assert_eq!(standing(), Ok("1.1".parse().unwrap()));
    stall.pass(1);
    assert_eq!(stall.asked().await, pairs(&[("USDC", "10000")]), "no task had to run for that");
    assert_eq!(standing(), Err(Withdrawal::Stale));
    board.put_at("1.1", UnixTime(stall.clock.now().0 - 61));
    board.read().await;
    assert_eq!(standing(), Err(Withdrawal::Stale), "a source that stands still tells an old price");
    board.put("1.2");
    board.read().await;
    assert_eq!(stall.asked().await, pairs(&[("EURC", "8334"), ("USDC", "10000")]));
    board.hang(true);
    board.read().await;
    stall.pass(61);
    assert_eq!(standing(), Err(Withdrawal::Stale));
    stall.clock.set(UnixTime(stall.clock.now().0 - 3_600));
    assert_eq!(standing(), Err(Withdrawal::Stale), "a clock that is set back makes no old price new");
}

#[tokio::test(start_paused = true)]
async fn with_every_asset_withdrawn_the_answer_is_503_and_nothing_is_served() {
    let board = Board::at("1.1");
    let stall = Stall::open(|builder| builder.coins([euro(&board)])).await;
    let signed = stall.sign(0).await;
    board.put("2");
    board.read().await;
    assert!(stall.offers(X402Version::V2).await.is_none());
    let answer = stall.get(Some(&signed)).await;
    assert_eq!(answer.headers()["retry-after"], "5");
    assert_eq!(explained(answer).await, (503, "no_asset_offered".to_owned(), String::new()));
    assert_eq!((stall.runs(), stall.facilitator.calls()), (0, (0, 0)));
    assert_eq!(stall.paywall.reservation_count().await, Ok(0));
    // Before the first price too.
    let silent = Board::at("1");
    silent.fail(SourceError::NoAnswer("starting".to_owned()));
    let stall = Stall::open(|builder| builder.coins([euro(&silent)])).await;
    assert!(stall.offers(X402Version::V2).await.is_none());
    silent.put("1.25");
    silent.read().await;
    assert_eq!(stall.asked().await, pairs(&[("EURC", "8000")]));
}

#[tokio::test(start_paused = true)]
async fn a_quote_shown_shortly_before_is_honoured_within_its_drift() {
    let board = Board::at("1.1");
    let stall = Stall::open(|builder| builder.coins([euro(&board), Coin::new("USDC")])).await;
    let mut paid = 0;
    // Shown at 1.1, signed and presented so many seconds later, when it is worth something else.
    for (worth, seconds, is_taken) in [
        ("1.1", 0, true),
        ("1.1", 400, true),
        // The seller gains: so does a buyer who is served, but no quote is for ever.
        ("1.3", 295, true),
        ("1.3", 303, false),
        // The buyer gains: 1.1 is 1.0946 and 0.493 percent of it; 1.0945 and 0.502 percent.
        ("1.0946", 295, true),
        ("1.0946", 303, false),
        ("1.0945", 0, false),
    ] {
        board.put("1.1");
        board.read().await;
        let required = stall.offers(X402Version::V2).await.unwrap();
        board.put(worth);
        stall.pass(seconds);
        board.read().await;
        let signed = stall.buyer.sign(&required, &required.accepts[0], stall.clock.now()).await.unwrap();
        let answer = stall.get(Some(&Signed::of(signed))).await;
        if is_taken {
            paid += 1;
            assert_eq!(answer.status(), StatusCode::OK, "{worth} after {seconds} s");
            let settled = stall.facilitator.last_settle.lock().unwrap().clone().unwrap();
            assert_eq!(settled.requirements, required.accepts[0], "what was signed is what settles");
        } else {
            let code = ErrorCode::INVALID_PAYMENT_REQUIREMENTS.to_string();
            let expected = (402, code, "accepted.extra.quote".to_owned());
            assert_eq!(explained(answer).await, expected, "{worth} after {seconds} s");
        }
        assert_eq!(stall.facilitator.calls(), (paid, paid), "what is refused is asked of nobody");
    }
    assert_eq!((stall.runs(), paid), (4, 4));
    assert_eq!(stall.paywall.reservation_count().await, Ok(4), "what is refused is not held");
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_asset_is_not_taken_but_what_was_under_way_is_settled() {
    let board = Board::at("1");
    let stall = Stall::open(|builder| {
        builder
            .coins([
                dollar("USDC", &board),
                Coin::new("EURC").guard(Guard::new(Board::at("1")).band("0.9", "1.4")),
            ])
            .stored_responses(StoredResponses::default())
    })
    .await;
    let (served, sent, failed, late) =
        (stall.sign(0).await, stall.sign(0).await, stall.sign(0).await, stall.sign(0).await);
    assert_eq!(stall.get(Some(&served)).await.status(), StatusCode::OK);
    let hash = format!("0x{}", "ab".repeat(32));
    for _ in 0..2 {
        stall.facilitator.then_settle(Ok(pending(&hash)));
    }
    assert_eq!(stall.get(Some(&sent)).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    stall.facilitator.then_settle(Ok(SettleResponse::failed(
        BASE.parse().unwrap(),
        Some(ErrorCode::INSUFFICIENT_FUNDS),
        "no money",
    )));
    assert_eq!(stall.get(Some(&failed)).await.status(), StatusCode::PAYMENT_REQUIRED);
    let runs = stall.runs();

    board.put("0.5");
    board.read().await;
    let calls = stall.facilitator.calls();
    let expected = (402, ErrorCode::INVALID_PAYMENT_REQUIREMENTS.to_string(), "accepted.asset".to_owned());
    assert_eq!(explained(stall.get(Some(&late)).await).await, expected);
    assert_eq!(
        explained(stall.get(Some(&failed)).await).await,
        expected,
        "it moved nothing, and waits for nothing"
    );
    assert_eq!((stall.facilitator.calls(), stall.runs()), (calls, runs), "nobody is asked");
    // The answer that was bought is the buyer's, and the money that was sent buys one.
    assert_eq!(stall.get(Some(&served)).await.status(), StatusCode::OK);
    assert_eq!(stall.runs(), runs);
    assert_eq!(stall.get(Some(&sent)).await.status(), StatusCode::OK);
    assert_eq!(stall.runs(), runs + 1);

    board.put("1");
    board.read().await;
    assert_eq!(
        stall.get(Some(&late)).await.status(),
        StatusCode::OK,
        "it is taken again, and so is the payment"
    );
}

#[tokio::test(start_paused = true)]
async fn nobody_makes_up_a_quote() {
    let board = Board::at("1.1");
    let stall = Stall::open(|builder| builder.coins([euro(&board), Coin::new("USDC")])).await;
    let other = Stall::open(|builder| builder.coins([euro(&Board::at("1.105"))])).await;
    let honest = stall.offers(X402Version::V2).await.unwrap();
    let quote = honest.accepts[0].extra["quote"].as_str().unwrap().to_owned();
    let theirs = other.offers(X402Version::V2).await.unwrap().accepts[0].extra["quote"].clone();
    let (body, seal) = quote.rsplit_once('.').unwrap();
    // 1.105 is near enough to be taken, were it true.
    let forged = [
        quote.replacen("1.1@", "1.105@", 1),
        format!("{body}."),
        format!("{body}.{}", &seal[..4]),
        format!("{body}.{}", seal.to_ascii_lowercase()),
        format!("{}.{seal}", body.replace('@', "")),
        format!("9{quote}"),
        format!("{quote}{}", "A".repeat(200)),
        theirs.as_str().unwrap().to_owned(),
        String::new(),
    ];
    for text in forged {
        let mut required = honest.clone();
        required.accepts[0].extra.insert("quote".to_owned(), text.as_str().into());
        required.accepts[0].amount = Amount::from(9_050);
        let signed = stall.buyer.sign(&required, &required.accepts[0], stall.clock.now()).await.unwrap();
        let (status, ..) = explained(stall.get(Some(&Signed::of(signed))).await).await;
        assert_eq!(status, 402, "{text}");
    }
    // A true quote beside another amount.
    let mut required = honest.clone();
    required.accepts[0].amount = Amount::from(9_090);
    let signed = stall.buyer.sign(&required, &required.accepts[0], stall.clock.now()).await.unwrap();
    assert_eq!(explained(stall.get(Some(&Signed::of(signed))).await).await.2, "accepted.amount");
    assert_eq!((stall.runs(), stall.facilitator.calls()), (0, (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn any_seller_on_the_ledger_knows_its_quotes() {
    let ledger = Arc::new(MemoryLedger::default());
    let (one, other) = (Board::at("1.1"), Board::at("1.101"));
    let open = |board: Board| {
        let ledger = Arc::clone(&ledger);
        Stall::open(move |builder| builder.ledger(ledger).coins([euro(&board)]))
    };
    let (one, other) = (open(one).await, open(other).await);
    let signed = one.sign(0).await;
    assert_eq!(other.get(Some(&signed)).await.status(), StatusCode::OK);
    let settled = other.facilitator.last_settle.lock().unwrap().clone().unwrap().requirements;
    assert_eq!(settled.amount, Amount::from(9_091));
}

#[tokio::test(start_paused = true)]
async fn offers_made_long_ago_are_held_against_the_rates_of_now() {
    let board = Board::at("1.1");
    let stall = Stall::open(|builder| builder.coins([euro(&board)])).await;
    let old = stall.paywall.price("$0.01").unwrap().offers().unwrap();
    let required = old.payment_required(X402Version::V2, "https://api.example.com/data", None);
    let sign = || stall.buyer.sign(&required, &required.accepts[0], stall.clock.now());
    let (first, second) = (sign().await.unwrap(), sign().await.unwrap());
    let admit = |payment| {
        let checked = stall.paywall.check(&old, payment, "https://api.example.com/data").unwrap();
        let url = "https://api.example.com/data".parse().unwrap();
        stall.paywall.admit(checked, tollway_core::Fingerprint::of("GET", &url, b""))
    };
    assert!(admit(first).await.is_ok());
    board.put("3");
    board.read().await;
    assert!(admit(second).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn several_sources_must_agree() {
    let boards = [Board::at("1.08"), Board::at("1.09"), Board::at("1.081")];
    let stall = Stall::open(|builder| {
        let [a, b, c] = boards.clone();
        let guard = Guard::new(a).source(b).source(c).band("0.9", "1.4").every_ms(1_000).max_age_seconds(60);
        builder.coins([Coin::new("EURC").guard(guard)])
    })
    .await;
    let standing = || stall.paywall.assets()[0].standing.map(|rate| rate.to_string());
    assert_eq!(standing(), Ok("1.081".to_owned()), "the median");
    for (quotes, expected) in [
        (["1.08", "1.35", "1.081"], Ok("1.08")),
        (["1.08", "1.35", "1.2"], Err(Withdrawal::Contradictory)),
        (["1.08", "", "1.0801"], Ok("1.08")),
        (["1.08", "", "1.2"], Err(Withdrawal::Contradictory)),
        (["1.08", "", ""], Err(Withdrawal::Unreadable)),
        (["1.5", "1.5", "1.5"], Err(Withdrawal::OutOfBand)),
    ] {
        for (board, quote) in boards.iter().zip(quotes) {
            match quote {
                "" => board.fail(SourceError::Unreadable("not a price".to_owned())),
                quote => board.put(quote),
            }
        }
        for board in &boards {
            board.read().await;
        }
        assert_eq!(standing(), expected.map(str::to_owned), "{quotes:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_offered_is_told_at_the_start() {
    let board = Board::at("1");
    let guard = || Guard::new(board.clone());
    let usd = |guard| Coin::new("USDC").guard(guard);
    for (coins, part) in [
        (vec![Coin::new("EURC")], "needs a guard"),
        (vec![Coin::new("EURC").guard(guard())], "needs a band"),
        (vec![Coin::new("DOGE")], "no known asset"),
        (vec![Coin::new("USD")], "must be the symbol of an asset"),
        (vec![Coin::new("")], "must be a symbol"),
        (vec![Coin::new("USDC"), Coin::new("USDC").factor("1.1")], "stands twice"),
        (vec![Coin::new("USDC").factor("0.49")], "must be 0.5 to 2"),
        (vec![Coin::new("USDC").factor("2.01")], "must be 0.5 to 2"),
        (vec![Coin::new("USDC").factor("1e0")], "plain decimal"),
        (vec![Coin::new("USDC").factor("-1")], "plain decimal"),
        (vec![Coin::new("USDC"); 17], "at most 16"),
        (vec![usd(guard().band("1.02", "0.98"))], "must not be above"),
        (vec![usd(guard().band("NaN", "1"))], "band"),
        (vec![usd(guard().max_age_seconds(0))], "max_age_seconds"),
        (vec![usd(guard().every_ms(99))], "every_ms"),
        (vec![usd(guard().drift("0.051"))], "drift"),
        (vec![usd(guard().min_sources(0))], "min_sources"),
        (vec![usd(guard().min_sources(2))], "min_sources"),
    ] {
        let facilitator = Arc::new(ScriptedFacilitator::default());
        let error = builder(&facilitator).coins(coins).start().await.unwrap_err();
        assert_eq!(error.faults.len(), 1, "{error}");
        assert!(error.faults[0].contains(part), "{part} in {error}");
    }
    let error = Paywall::builder("https://x").coins(["USDC"]).start().await.unwrap_err();
    assert!(error.to_string().contains("coins: must follow"), "{error}");
}

/// Rates change while requests are answered: each is asked at some rate that was told, and the money adds up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_new_rates_do_not_mix() {
    let rates = ["1.01", "1.07", "1.13", "1.19"];
    let board = Board::at(rates[0]);
    let guard = Guard::new(board.clone()).band("1", "1.2").every_ms(100).drift("0.05");
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let stall = Stall::open_at(facilitator, |builder| builder.coins([Coin::new("EURC").guard(guard)])).await;
    let price: Money = "$0.01".parse().unwrap();
    let amount = |rate: &str| {
        let rate: Decimal = rate.parse().unwrap();
        price.to_atomic_at(6, Decimal::ONE, rate).unwrap()
    };
    let expected: Vec<Amount> = rates.iter().map(|rate| amount(rate)).collect();
    let (stall, seen) = (Arc::new(stall), Arc::new(Mutex::new(std::collections::BTreeSet::new())));
    let askers: Vec<_> = (0..4)
        .map(|_| {
            let (stall, expected, seen) = (Arc::clone(&stall), expected.clone(), Arc::clone(&seen));
            tokio::spawn(async move {
                while seen.lock().unwrap().len() < expected.len() {
                    let required = stall.offers(X402Version::V2).await.unwrap();
                    let offer = &required.accepts[0];
                    let rate = offer.extra["quote"].as_str().unwrap().split_once('@').unwrap().0;
                    let price: Money = "$0.01".parse().unwrap();
                    let priced = price.to_atomic_at(6, Decimal::ONE, rate.parse().unwrap());
                    assert_eq!(Ok(offer.amount), priced, "the amount is that of the rate beside it");
                    assert!(expected.contains(&offer.amount));
                    seen.lock().unwrap().insert(offer.amount);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for round in 0.. {
        if askers.iter().all(tokio::task::JoinHandle::is_finished) || round == 100 {
            break;
        }
        board.put(rates[round % rates.len()]);
        board.read().await;
    }
    for asker in askers {
        asker.await.unwrap();
    }
    assert_eq!(seen.lock().unwrap().len(), rates.len());
}
