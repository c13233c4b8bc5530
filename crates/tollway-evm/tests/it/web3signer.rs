//! A service that holds keys, over real HTTP: what it gives is a signature of the right account, or nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tollway_evm::{LocalSigner, Signer, SignerError, U256, Web3Signer, keccak256, signature};
use url::Url;

const AUTHORIZATION: &str = "Bearer a-secret-word";
/// Long enough for a machine that does much else.
const PATIENT: Duration = Duration::from_secs(20);

/// What the service does with what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    /// In quotes, as JSON.
    Quoted,
    /// With the recovery id 0 or 1.
    SmallRecoveryId,
    WrongKey,
    WrongMessage,
    HighS,
    Garbage,
    Short,
    Empty,
    Silent,
    Redirects,
    Huge,
    Status(u16),
}

struct Service {
    key: LocalSigner,
    mood: Mood,
    listed: Vec<String>,
    /// How often it was asked to sign.
    asked: AtomicU64,
    /// How often somebody followed its redirect.
    followed: AtomicU64,
}

/// The service, at a path of its own, and its URL.
async fn serve(mood: Mood, listed: impl Fn(&[u8]) -> Vec<String>) -> (Arc<Service>, Url) {
    let key = LocalSigner::from_hex(&"11".repeat(32)).unwrap();
    let service = Arc::new(Service {
        listed: listed(&public_key()),
        key,
        mood,
        asked: AtomicU64::new(0),
        followed: AtomicU64::new(0),
    });
    let router = Router::new()
        .route("/vault/api/v1/eth1/publicKeys", get(list))
        .route("/vault/api/v1/eth1/sign/{identifier}", post(sign))
        .route("/elsewhere", get(elsewhere).post(elsewhere))
        .with_state(Arc::clone(&service));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/vault/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (service, url)
}

/// The point of the key 0x11…11, uncompressed, without the byte before it.
fn public_key() -> Vec<u8> {
    let secret = secp256k1::SecretKey::from_byte_array([0x11; 32]).unwrap();
    secret.public_key(&secp256k1::Secp256k1::new()).serialize_uncompressed()[1..].to_vec()
}

fn as_published(key: &[u8]) -> Vec<String> {
    vec![format!("0x{}", "22".repeat(64)), "no key".to_owned(), hex(key)]
}

fn hex(bytes: &[u8]) -> String {
    tollway_evm::Bytes::copy_from_slice(bytes).to_string()
}

async fn list(State(service): State<Arc<Service>>, headers: HeaderMap) -> Response {
    if headers.get("authorization").is_none_or(|value| value != AUTHORIZATION) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    axum::Json(&service.listed).into_response()
}

async fn elsewhere(State(service): State<Arc<Service>>) -> &'static str {
    service.followed.fetch_add(1, Ordering::SeqCst);
    "0x"
}

async fn sign(
    State(service): State<Arc<Service>>,
    Path(identifier): Path<String>,
    headers: HeaderMap,
    axum::Json(body): axum::Json<Value>,
) -> Response {
    service.asked.fetch_add(1, Ordering::SeqCst);
    assert!(service.listed.contains(&identifier) && headers["authorization"] == AUTHORIZATION);
    let data: tollway_evm::Bytes = body["data"].as_str().unwrap().parse().unwrap();
    let signed = service.key.sign(&data).await.unwrap().as_bytes();
    match service.mood {
        Mood::Well => hex(&signed).into_response(),
        Mood::Quoted => format!("\"{}\"\n", hex(&signed)).into_response(),
        Mood::SmallRecoveryId => hex(&[&signed[..64], &[signed[64] - 27]].concat()).into_response(),
        Mood::WrongKey => {
            let other = LocalSigner::from_hex(&"22".repeat(32)).unwrap();
            hex(&other.sign(&data).await.unwrap().as_bytes()).into_response()
        }
        Mood::WrongMessage => {
            hex(&service.key.sign(b"all your money").await.unwrap().as_bytes()).into_response()
        }
        Mood::HighS => hex(&twin(&signed)).into_response(),
        Mood::Garbage => "0xnothing".into_response(),
        Mood::Short => hex(&signed[..64]).into_response(),
        Mood::Empty => "".into_response(),
        Mood::Silent => std::future::pending().await,
        Mood::Redirects => Redirect::temporary("/elsewhere").into_response(),
        Mood::Huge => hex(&vec![7; 1024 * 1024]).into_response(),
        Mood::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
    }
}

/// The same signature with the other `s`: as good on the curve, and refused by every rule.
fn twin(signed: &[u8; 65]) -> Vec<u8> {
    let order: U256 = "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141".parse().unwrap();
    let s = order - U256::from_be_slice(&signed[32..64]);
    [&signed[..32], &s.to_be_bytes::<32>(), &[55 - signed[64]]].concat()
}

async fn connect(url: &Url, deadline: Duration) -> Result<Web3Signer, SignerError> {
    let address = LocalSigner::from_hex(&"11".repeat(32)).unwrap().address();
    Web3Signer::connect(url, address, Some(AUTHORIZATION), deadline).await
}

#[tokio::test]
async fn a_service_signs_what_the_key_itself_would_sign() {
    for mood in [Mood::Well, Mood::Quoted, Mood::SmallRecoveryId] {
        let (service, url) = serve(mood, as_published).await;
        let signer = connect(&url, PATIENT).await.unwrap();
        assert_eq!(signer.address(), service.key.address());
        for preimage in [&b"pay"[..], &[], &[0x19; 4096]] {
            let signed = signer.sign(preimage).await.unwrap();
            assert_eq!(signed, service.key.sign(preimage).await.unwrap(), "{mood:?}");
            assert_eq!(signature::recover(keccak256(preimage), &signed), Ok(signer.address()));
        }
        assert_eq!(service.asked.load(Ordering::SeqCst), 3);
    }
}

#[tokio::test]
async fn a_key_is_found_however_the_service_spells_it() {
    let uncompressed = |key: &[u8]| vec![format!("0x04{}", &hex(key)[2..])];
    let compressed = |key: &[u8]| vec![format!("{:02x}{}", 2 + (key[63] & 1), &hex(&key[..32])[2..])];
    for (_, url) in [serve(Mood::Well, uncompressed).await, serve(Mood::Well, compressed).await] {
        let signer = connect(&url, PATIENT).await.unwrap();
        assert!(signer.sign(b"pay").await.is_ok());
    }
}

#[tokio::test]
async fn what_is_no_signature_of_the_account_is_none() {
    for (mood, word) in [
        (Mood::WrongKey, "is not by 0x"),
        (Mood::WrongMessage, "is not by 0x"),
        (Mood::HighS, "its signature: "),
        (Mood::Garbage, "not in hex"),
        (Mood::Short, "its signature: "),
        (Mood::Empty, "its signature: "),
        (Mood::Huge, "longer than 1024 bytes"),
        (Mood::Redirects, "answered 307"),
        (Mood::Status(404), "answered 404"),
        (Mood::Status(500), "answered 500"),
        (Mood::Status(201), "answered 201"),
    ] {
        let (service, url) = serve(mood, as_published).await;
        let signer = connect(&url, PATIENT).await.unwrap();
        let error = signer.sign(b"pay").await.unwrap_err().to_string();
        assert!(error.starts_with("remote signer: ") && error.contains(word), "{mood:?}: {error}");
        assert_eq!((service.asked.load(Ordering::SeqCst), service.followed.load(Ordering::SeqCst)), (1, 0));
    }
}

#[tokio::test]
async fn a_service_that_says_nothing_is_not_waited_for() {
    let (service, url) = serve(Mood::Silent, as_published).await;
    let mut signer = connect(&url, PATIENT).await.unwrap();
    assert!(format!("{signer:?}").contains(&format!("{:?}", service.key.address())));
    // The listing had time; the signature has none.
    signer = signer.deadline(Duration::from_millis(50));
    assert_eq!(signer.sign(b"pay").await.unwrap_err().to_string(), "remote signer: no answer within 50 ms");
}

#[tokio::test]
async fn a_service_without_the_key_is_none_and_no_error_tells_a_secret() {
    let (_, url) = serve(Mood::Well, |_| vec![format!("0x{}", "33".repeat(64))]).await;
    let mut errors = vec![connect(&url, PATIENT).await.unwrap_err()];
    assert!(errors[0].to_string().contains("does not hold the key"), "{}", errors[0]);
    let address = LocalSigner::from_hex(&"11".repeat(32)).unwrap().address();
    let free: Url = "http://127.0.0.1:1/secret-path/".parse().unwrap();
    for (url, authorization) in [
        (url.as_str(), Some("Bearer secret-other")),
        (url.as_str(), Some("secret-\nline")),
        (url.as_str(), None),
        (free.as_str(), None),
        ("http://secret-user@127.0.0.1:1/", None),
        ("http://:secret-password@127.0.0.1:1/", None),
        ("http://127.0.0.1:1/?k=secret-query", None),
        ("http://secret.example/", None),
        ("ftp://secret.example/", None),
    ] {
        let url = url.parse().unwrap();
        errors.push(Web3Signer::connect(&url, address, authorization, PATIENT).await.unwrap_err());
    }
    for error in errors {
        let told = format!("{error} {error:?}");
        assert!(matches!(error, SignerError::Remote(_)) && !told.contains("secret"), "{told}");
    }
}

#[tokio::test]
async fn a_list_of_keys_that_is_none_is_refused() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let answers = Router::new()
        .route("/object/api/v1/eth1/publicKeys", get(async || axum::Json(json!({}))))
        .route("/numbers/api/v1/eth1/publicKeys", get(async || axum::Json(json!([1, 2]))))
        .route("/huge/api/v1/eth1/publicKeys", get(async || "[".repeat(2 * 1024 * 1024)))
        .route("/moved/api/v1/eth1/publicKeys", get(async || Redirect::temporary("/object")));
    tokio::spawn(async move { axum::serve(listener, answers).await });
    for (path, word) in [
        ("object", "JSON array"),
        ("numbers", "JSON array"),
        ("huge", "longer than"),
        ("moved", "answered 307"),
    ] {
        let error = connect(&url.join(path).unwrap(), PATIENT).await.unwrap_err().to_string();
        assert!(error.contains(word), "{path}: {error}");
    }
}
