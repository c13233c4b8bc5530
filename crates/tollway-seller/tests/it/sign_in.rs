//! Who bought something comes back for it by signing in, and nobody else does.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use tollway_core::extension::sign_in::{SignInChallenge, SignInProof};
use tollway_core::{BoxFuture, ErrorCode, ManualClock, Network, wire};
use tollway_evm::exact::ExactBuyer;
use tollway_evm::{AssetTable, LocalSigner, Signer, sign_in};
use tollway_ledger::{Ledger, MemoryLedger, SqliteLedger};
use tollway_seller::{PriceError, Priced, SignIn, WalletClaim, WalletVerifier};

use crate::doubles::{Buyer, ScriptedFacilitator, Signed, builder, now, paywall};
use crate::stall::{Answer, Moment, Stall, content, fails_at_first, faulty, on_ledger};

const HEADER: &str = "sign-in-with-x";

struct Payer {
    signer: Arc<LocalSigner>,
    buyer: Buyer,
}

impl Payer {
    fn new() -> Self {
        let signer = Arc::new(LocalSigner::random().unwrap());
        let scheme = ExactBuyer::new(Arc::clone(&signer) as Arc<dyn Signer>, AssetTable::known());
        Self { signer, buyer: Buyer { scheme, http: reqwest::Client::new() } }
    }

    /// Answers `challenge` on the first chain.
    async fn prove(&self, challenge: &SignInChallenge) -> SignInProof {
        let network = challenge.chains[0].network.clone();
        let address = self.signer.address().to_string();
        let proof = SignInProof {
            message: challenge.message.clone(),
            address,
            network,
            kind: "eip191".to_owned(),
            signature_scheme: None,
            signature: String::new(),
        };
        self.sign(proof).await
    }

    async fn sign(&self, mut proof: SignInProof) -> SignInProof {
        let text = proof.message.evm_text(&proof.address, &proof.network).unwrap_or_default();
        proof.signature = self.signer.sign(&sign_in::preimage(&text)).await.unwrap().to_string();
        proof
    }
}

fn hour(priced: Priced) -> Priced {
    priced.sign_in(SignIn::for_seconds(3600).statement("Read it again")).unwrap()
}

async fn stall(ledger: Arc<dyn Ledger>, clock: &Arc<ManualClock>, refine: fn(Priced) -> Priced) -> Stall {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let builder = on_ledger(&facilitator, ledger).clock(Arc::clone(clock) as Arc<_>);
    Stall::with(builder, refine, content(Duration::ZERO)).await
}

async fn open() -> (Stall, Arc<ManualClock>, Payer) {
    let clock = Arc::new(ManualClock::new(now()));
    (stall(Arc::new(MemoryLedger::new()), &clock, hour).await, clock, Payer::new())
}

/// The challenge in a 402.
fn challenge(answer: &Answer) -> SignInChallenge {
    assert_eq!(answer.status, 402, "{}", answer.body);
    let header = answer.header("payment-required").unwrap();
    let json = wire::decode_header("PAYMENT-REQUIRED", header.as_bytes()).unwrap();
    let required = wire::decode_payment_required(&json).unwrap();
    SignInChallenge::read(&required.extensions[HEADER]).unwrap()
}

async fn ask(stall: &Stall, path: &str) -> SignInChallenge {
    challenge(&stall.send(Method::GET, path, &[], "").await)
}

async fn show(stall: &Stall, path: &str, proof: &SignInProof) -> Answer {
    stall.send(Method::GET, path, &[(HEADER, &proof.encode())], "").await
}

async fn buy(stall: &Stall, payer: &Payer) -> Signed {
    let signed = stall.sign(&payer.buyer).await;
    assert_eq!(stall.present(&signed).await.status, 200);
    signed
}

/// Signs in anew; the answer.
async fn come_back(stall: &Stall, payer: &Payer, path: &str) -> Answer {
    let proof = payer.prove(&ask(stall, path).await).await;
    show(stall, path, &proof).await
}

#[track_caller]
fn refused(answer: &Answer, code: &str, field: &str) {
    let told = (answer.status, answer.json("error"), answer.json("field"));
    assert_eq!(
        told,
        (402, format!("invalid_siwx_{code}"), format!("SIGN-IN-WITH-X.{field}")),
        "{}",
        answer.body
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(!challenge(answer).message.nonce.is_empty(), "with a new challenge");
}

#[tokio::test]
async fn who_bought_comes_back_without_paying_and_each_time_with_a_new_nonce() {
    let (stall, _, payer) = open().await;
    assert_eq!(come_back(&stall, &payer, "/data").await.status, 402, "not bought yet");
    buy(&stall, &payer).await;
    let proof = payer.prove(&ask(&stall, "/data").await).await;
    let back = show(&stall, "/data", &proof).await;
    assert_eq!((back.status, back.body.as_str()), (200, "paid content"));
    assert_eq!(back.header("cache-control"), Some("private"));
    assert_eq!(back.header("payment-response"), None, "nothing was paid");
    refused(&show(&stall, "/data", &proof).await, "nonce", "nonce");
    assert_eq!(come_back(&stall, &payer, "/data").await.status, 200);
    assert_eq!(stall.runs(), 3);
}

#[tokio::test]
async fn who_bought_and_sends_a_payment_along_does_not_pay_again() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let builder = on_ledger(&facilitator, Arc::new(MemoryLedger::new()));
    let (stall, payer) = (Stall::with(builder, hour, content(Duration::ZERO)).await, Payer::new());
    let both = async |proof: &SignInProof| {
        let signed = stall.sign(&payer.buyer).await;
        let headers = [(HEADER, proof.encode()), (signed.name, signed.value)];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        stall.send(Method::GET, "/data", &headers, "").await
    };
    let bought = both(&payer.prove(&ask(&stall, "/data").await).await).await;
    assert_eq!(bought.status, 200, "{}", bought.body);
    assert!(bought.header("payment-response").is_some(), "nothing was bought yet: it is paid");
    let calls = facilitator.calls();
    let proof = payer.prove(&ask(&stall, "/data").await).await;
    let back = both(&proof).await;
    assert_eq!((back.status, back.header("payment-response")), (200, None));
    assert_eq!(facilitator.calls(), calls, "nobody was asked for money");
    // The same proof again opens nothing, and leaves the payment as it is.
    let used = both(&proof).await;
    assert_eq!(used.status, 200);
    assert!(used.header("payment-response").is_some());
}

#[tokio::test]
async fn another_payer_is_not_let_in() {
    let (stall, _, payer) = open().await;
    buy(&stall, &payer).await;
    let stranger = come_back(&stall, &Payer::new(), "/data").await;
    assert_eq!((stranger.status, stranger.json("error").as_str()), (402, "Payment required"));
    let mut stolen = Payer::new().prove(&ask(&stall, "/data").await).await;
    stolen.address = payer.signer.address().to_string();
    refused(&show(&stall, "/data", &stolen).await, "signature", "signature");
    assert_eq!(stall.runs(), 1);
}

#[tokio::test]
async fn another_resource_method_or_body_was_not_bought() {
    let (stall, _, payer) = open().await;
    buy(&stall, &payer).await;
    for path in ["/other", "/data?page=2"] {
        assert_eq!(come_back(&stall, &payer, path).await.status, 402, "{path}");
    }
    let proof = payer.prove(&ask(&stall, "/other").await).await;
    refused(&show(&stall, "/data", &proof).await, "uri_mismatch", "uri");
    for (method, body) in [(Method::POST, ""), (Method::HEAD, ""), (Method::GET, "another")] {
        let proof = payer.prove(&ask(&stall, "/data").await).await;
        let answer = stall.send(method.clone(), "/data", &[(HEADER, &proof.encode())], body).await;
        assert_eq!(answer.status, 402, "{method} {body}");
    }
    assert_eq!(stall.runs(), 1);
}

#[tokio::test]
async fn a_proof_for_another_site_or_chain_is_refused() {
    let (stall, _, payer) = open().await;
    buy(&stall, &payer).await;
    let asked = ask(&stall, "/data").await;
    let mut elsewhere = payer.prove(&asked).await;
    elsewhere.message.domain = "evil.example".to_owned();
    refused(&show(&stall, "/data", &payer.sign(elsewhere).await).await, "domain_mismatch", "domain");
    for uri in
        ["https://evil.example/data", "http://api.example.com/data", "https://api.example.com:8443/data"]
    {
        let mut elsewhere = payer.prove(&asked).await;
        elsewhere.message.uri = uri.to_owned();
        refused(&show(&stall, "/data", &payer.sign(elsewhere).await).await, "uri_mismatch", "uri");
    }
    for network in [Network::evm(1), "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp".parse().unwrap()] {
        let mut elsewhere = payer.prove(&asked).await;
        elsewhere.network = network;
        refused(&show(&stall, "/data", &payer.sign(elsewhere).await).await, "unsupported_chain", "chainId");
    }
    let mut other_text = payer.prove(&asked).await;
    other_text.message.statement = Some("Pay everything".to_owned());
    refused(&show(&stall, "/data", &other_text).await, "signature", "signature");
    assert_eq!(
        show(&stall, "/data", &payer.prove(&asked).await).await.status,
        200,
        "no refusal used the nonce up"
    );
}

#[tokio::test]
async fn a_challenge_is_answered_in_time_and_only_if_it_is_ours() {
    let (stall, clock, payer) = open().await;
    let began = now();
    buy(&stall, &payer).await;
    let proof = payer.prove(&ask(&stall, "/data").await).await;
    clock.set(began.plus_seconds(300));
    refused(&show(&stall, "/data", &proof).await, "issued_at_too_old", "issuedAt");
    let fresh = ask(&stall, "/data").await;
    let mut forged = payer.prove(&fresh).await;
    forged.message.expiration_time = Some("2999-01-01T00:00:00Z".to_owned());
    refused(&show(&stall, "/data", &payer.sign(forged).await).await, "nonce", "nonce");
    let mut forged = payer.prove(&fresh).await;
    forged.message.nonce = "0123456789abcdef0123456789abcdef".to_owned();
    refused(&show(&stall, "/data", &payer.sign(forged).await).await, "nonce", "nonce");
    let mut early = payer.prove(&fresh).await;
    early.message.not_before = Some("2999-01-01T00:00:00Z".to_owned());
    refused(&show(&stall, "/data", &payer.sign(early).await).await, "not_yet_valid", "notBefore");
    let mut late = payer.prove(&fresh).await;
    late.message.expiration_time = Some("2020-01-01T00:00:00Z".to_owned());
    refused(&show(&stall, "/data", &payer.sign(late).await).await, "expired", "expirationTime");
    clock.set(began);
    refused(&show(&stall, "/data", &payer.prove(&fresh).await).await, "issued_at_in_future", "issuedAt");
}

#[tokio::test]
async fn a_purchase_is_remembered_for_as_long_as_the_route_says() {
    let (stall, clock, payer) = open().await;
    let began = now();
    buy(&stall, &payer).await;
    clock.set(began.plus_seconds(3590));
    assert_eq!(come_back(&stall, &payer, "/data").await.status, 200);
    clock.set(began.plus_seconds(3602));
    assert_eq!(come_back(&stall, &payer, "/data").await.status, 402);
}

#[tokio::test]
async fn purchases_and_used_nonces_outlive_the_process_and_count_for_all_sellers_on_the_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let clock = Arc::new(ManualClock::new(now()));
    let payer = Payer::new();
    let proof = {
        let ledger = Arc::new(SqliteLedger::open(&path).await.unwrap());
        let stall = stall(ledger, &clock, hour).await;
        buy(&stall, &payer).await;
        let proof = payer.prove(&ask(&stall, "/data").await).await;
        assert_eq!(show(&stall, "/data", &proof).await.status, 200);
        proof
    };
    let one = stall(Arc::new(SqliteLedger::open(&path).await.unwrap()), &clock, hour).await;
    let other = stall(Arc::new(SqliteLedger::open(&path).await.unwrap()), &clock, hour).await;
    refused(&show(&one, "/data", &proof).await, "nonce", "nonce");
    let asked = ask(&one, "/data").await;
    let proof = payer.prove(&asked).await;
    let (first, second) = tokio::join!(show(&one, "/data", &proof), show(&other, "/data", &proof));
    let mut both = [first.status, second.status];
    both.sort_unstable();
    assert_eq!(both, [200, 402], "one challenge opens once, whoever is asked");
}

#[tokio::test]
async fn what_was_not_delivered_or_not_paid_was_not_bought() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let builder = on_ledger(&facilitator, Arc::new(MemoryLedger::new()));
    let stall = Stall::with(builder, hour, fails_at_first(1)).await;
    let payer = Payer::new();
    let signed = stall.sign(&payer.buyer).await;
    assert_eq!(stall.present(&signed).await.status, 502);
    assert_eq!(come_back(&stall, &payer, "/data").await.status, 402);
    let failed = tollway_core::model::SettleResponse::failed(crate::doubles::base(), None, "no");
    facilitator.then_settle(Ok(failed));
    assert_eq!(stall.present(&signed).await.status, 402);
    assert_eq!(come_back(&stall, &payer, "/data").await.status, 402);
    assert_eq!(stall.present(&signed).await.status, 200);
    assert_eq!(come_back(&stall, &payer, "/data").await.status, 200);
}

#[tokio::test]
async fn a_purchase_that_cannot_be_written_down_is_held_and_bought_by_the_same_payment() {
    let (ledger, _) = faulty();
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let builder = on_ledger(&facilitator, Arc::clone(&ledger) as Arc<dyn Ledger>);
    let stall = Stall::with(builder, hour, content(Duration::ZERO)).await;
    let payer = Payer::new();
    let signed = stall.sign(&payer.buyer).await;
    ledger.interposer().next("mark_set", Moment::Before);
    assert_eq!(stall.present(&signed).await.status, 503);
    let answer = stall.present(&signed).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(come_back(&stall, &payer, "/data").await.status, 200);
    ledger.interposer().next("mark_is_set", Moment::Before);
    assert_eq!(come_back(&stall, &payer, "/data").await.status, 503, "a ledger that is down opens nothing");
    let proof = payer.prove(&ask(&stall, "/data").await).await;
    ledger.interposer().next("mark_set", Moment::Before);
    assert_eq!(show(&stall, "/data", &proof).await.status, 503);
}

#[tokio::test]
async fn when_too_much_is_remembered_nobody_is_let_in() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let builder = on_ledger(&facilitator, Arc::new(MemoryLedger::new())).max_remembered(2);
    let stall = Stall::with(builder, hour, content(Duration::ZERO)).await;
    let (one, two) = (Payer::new(), Payer::new());
    buy(&stall, &one).await;
    assert_eq!(come_back(&stall, &one, "/data").await.status, 200, "a purchase and a nonce");
    assert_eq!(come_back(&stall, &one, "/data").await.status, 503);
    buy(&stall, &two).await;
    assert_eq!(come_back(&stall, &two, "/data").await.status, 402, "served, and not remembered");
}

#[derive(Debug)]
struct Contract(Result<bool, String>);

impl WalletVerifier for Contract {
    fn verify<'a>(&'a self, claim: WalletClaim<'a>) -> BoxFuture<'a, Result<bool, String>> {
        assert!(claim.text.contains(claim.address) && claim.signature == [0xab; 100]);
        let verdict = self.0.clone();
        Box::pin(async move { verdict })
    }
}

#[tokio::test]
async fn a_contract_wallet_is_let_in_only_where_a_verifier_vouches_for_it() {
    let verdict = async |verifier: Option<Contract>| {
        let facilitator = Arc::new(ScriptedFacilitator::default());
        let refine = |priced: Priced| {
            let rule = SignIn::for_seconds(60);
            let rule = match verifier {
                Some(verifier) => rule.verifier(Arc::new(verifier)),
                None => rule,
            };
            priced.sign_in(rule).unwrap()
        };
        let stall = Stall::with(builder(&facilitator), refine, content(Duration::ZERO)).await;
        let payer = Payer::new();
        buy(&stall, &payer).await;
        let mut proof = payer.prove(&ask(&stall, "/data").await).await;
        proof.signature_scheme = Some("eip1271".to_owned());
        proof.signature = format!("0x{}", "ab".repeat(100));
        show(&stall, "/data", &proof).await
    };
    let none = verdict(None).await;
    refused(&none, "signature", "signature");
    assert!(none.json("rule").contains("contract wallets are not known here"));
    assert_eq!(verdict(Some(Contract(Ok(true)))).await.status, 200);
    refused(&verdict(Some(Contract(Ok(false)))).await, "signature", "signature");
    refused(&verdict(Some(Contract(Err("no node".to_owned())))).await, "verifier_error", "signature");
}

#[tokio::test]
async fn a_header_that_is_no_proof_is_400_and_names_the_field() {
    let (stall, _, payer) = open().await;
    let proof = payer.prove(&ask(&stall, "/data").await).await;
    let mut evil = proof.clone();
    evil.message.statement = Some("Read it again\r\nNonce: 00000000".to_owned());
    let huge = "e".repeat(9_000);
    for (header, field) in [
        ("?", "SIGN-IN-WITH-X"),
        (huge.as_str(), "SIGN-IN-WITH-X"),
        ("e30=", "SIGN-IN-WITH-X.domain"),
        (evil.encode().as_str(), "SIGN-IN-WITH-X.statement"),
    ] {
        let answer = stall.send(Method::GET, "/data", &[(HEADER, header)], "").await;
        assert_eq!((answer.status, answer.json("field").as_str()), (400, field));
    }
    let encoded = proof.encode();
    let twice = stall.send(Method::GET, "/data", &[(HEADER, &encoded), (HEADER, &encoded)], "").await;
    assert_eq!((twice.status, twice.json("rule").as_str()), (400, "must stand once"));
    for signature in ["0x", "0xzz", "ab", "0xabc"] {
        let answer =
            show(&stall, "/data", &SignInProof { signature: signature.to_owned(), ..proof.clone() }).await;
        refused(&answer, "signature", "signature");
    }
}

#[tokio::test]
async fn a_payment_echoes_any_challenge_of_the_resource_and_none_of_another_site() {
    let (stall, _, payer) = open().await;
    let first = ask(&stall, "/data").await;
    let mut signed = stall.sign(&payer.buyer).await;
    signed.payment.extensions.insert(HEADER.to_owned(), first.declaration().into());
    let mut changed = signed.payment.clone();
    changed.extensions[HEADER]["info"]["domain"] = "evil.example".into();
    let answer = stall.present(&Signed::of(changed)).await;
    let code = ErrorCode::EXTENSION_ECHO_MISMATCH;
    assert_eq!((answer.status, answer.json("error").as_str()), (402, code.as_str()));
    assert_eq!(answer.json("field"), "extensions.sign-in-with-x.info");
    assert_eq!(stall.present(&Signed::of(signed.payment)).await.status, 200);
}

#[tokio::test]
async fn a_builder_code_is_the_sellers_and_codes_are_appended() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let coded = |priced: Priced| priced.builder_code("shop", &["theirs"]).unwrap();
    let stall = Stall::with(builder(&facilitator), coded, content(Duration::ZERO)).await;
    let payer = Payer::new();
    let signed = stall.sign(&payer.buyer).await;
    let with = |info: serde_json::Value| {
        let mut payment = signed.payment.clone();
        payment.extensions["builder-code"]["info"] = info;
        Signed::of(payment)
    };
    for wrong in
        [serde_json::json!({"a": "thief", "s": ["theirs"]}), serde_json::json!({"a": "shop", "s": ["mine"]})]
    {
        let answer = stall.present(&with(wrong)).await;
        assert_eq!((answer.status, answer.json("error").as_str()), (402, "extension_echo_mismatch"));
    }
    let appended = serde_json::json!({"a": "shop", "s": ["mine", "theirs"]});
    assert_eq!(stall.present(&with(appended.clone())).await.status, 200);
    let settled = facilitator.last_settle.lock().unwrap().clone().unwrap();
    assert_eq!(settled.payment.extensions["builder-code"]["info"], appended, "the facilitator is told");
}

#[tokio::test]
async fn what_is_served_before_it_is_paid_has_no_way_back() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let paywall = paywall(&facilitator).await;
    let limits =
        tollway_seller::BackgroundLimits { per_payer: "$1".parse().unwrap(), in_all: "$1".parse().unwrap() };
    let price = || paywall.price("$0.01").unwrap();
    let one = hour(price()).background(limits.clone());
    assert!(matches!(one, Err(PriceError::SignIn(_))));
    let other = price().background(limits).unwrap().sign_in(SignIn::for_seconds(60));
    assert!(matches!(other, Err(PriceError::SignIn(_))));
    for wrong in [SignIn::for_seconds(0), SignIn::for_seconds(60).challenge_seconds(0)] {
        assert!(price().sign_in(wrong).is_err());
    }
}
