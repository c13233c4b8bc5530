//! A key in Amazon's key service, played by a server of ours that answers as it does.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use secp256k1::{Message, Secp256k1, SecretKey};
use serde_json::{Value, json};
use tollway_evm::U256;

use crate::market::Market;
use crate::process::tollway;

const KEY: &str = "alias/agent";

struct Service {
    secret: SecretKey,
    /// Signs with another key than the one that it shows.
    lies: bool,
}

impl Service {
    /// The service, and where it is.
    async fn start(key: &str, lies: bool) -> String {
        let bytes: tollway_evm::B256 = key.parse().unwrap();
        let service = Service { secret: SecretKey::from_byte_array(bytes.0).unwrap(), lies };
        let routes = Router::new().fallback(answer).with_state(Arc::new(service));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        url
    }

    /// The public key in its envelope (RFC 5480).
    fn public_key(&self) -> String {
        let mut der = vec![
            0x30, 0x56, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
            0x81, 0x04, 0x00, 0x0a, 0x03, 0x42, 0x00,
        ];
        der.extend(self.secret.public_key(&Secp256k1::new()).serialize_uncompressed());
        BASE64_STANDARD.encode(der)
    }

    /// A signature in DER, with the high `s` that the service gives as often as the low one.
    fn sign(&self, digest: [u8; 32]) -> String {
        let secret = if self.lies { SecretKey::from_byte_array([7; 32]).unwrap() } else { self.secret };
        let compact = Secp256k1::new().sign_ecdsa(Message::from_digest(digest), &secret).serialize_compact();
        let order: U256 =
            "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141".parse().unwrap();
        let high = (order - U256::from_be_slice(&compact[32..])).to_be_bytes::<32>();
        let numbers = [number(&compact[..32]), number(&high)].concat();
        let mut der = vec![0x30, u8::try_from(numbers.len()).unwrap()];
        der.extend(numbers);
        BASE64_STANDARD.encode(der)
    }
}

/// A whole number in DER: no zeros before it but the one that keeps it positive.
fn number(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap();
    let mut digits = bytes[start..].to_vec();
    if digits[0] >= 0x80 {
        digits.insert(0, 0);
    }
    let mut der = vec![0x02, u8::try_from(digits.len()).unwrap()];
    der.extend(digits);
    der
}

async fn answer(State(service): State<Arc<Service>>, headers: HeaderMap, body: Bytes) -> Response {
    let asked: Value = serde_json::from_slice(&body).unwrap();
    let target = headers["x-amz-target"].to_str().unwrap();
    if asked["KeyId"] != KEY {
        let error = json!({ "__type": "NotFoundException", "message": "no such key" });
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    }
    match target {
        "TrentService.GetPublicKey" => {
            Json(json!({ "KeyId": KEY, "PublicKey": service.public_key() })).into_response()
        }
        "TrentService.Sign" => {
            assert_eq!(
                (&asked["MessageType"], &asked["SigningAlgorithm"]),
                (&json!("DIGEST"), &json!("ECDSA_SHA_256"))
            );
            let digest = BASE64_STANDARD.decode(asked["Message"].as_str().unwrap()).unwrap();
            let signature = service.sign(digest.try_into().unwrap());
            Json(json!({ "KeyId": KEY, "Signature": signature, "SigningAlgorithm": "ECDSA_SHA_256" }))
                .into_response()
        }
        other => panic!("{other}"),
    }
}

fn command(service: &str, arguments: &[&str]) -> std::process::Command {
    let mut command = tollway();
    command.args(arguments).env_remove("AWS_PROFILE").env("AWS_ENDPOINT_URL_KMS", service);
    command.env("AWS_REGION", "eu-central-1").env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test-secret");
    command.env("AWS_CONFIG_FILE", "/nonexistent").env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent");
    command
}

/// Its exit code, and all that it printed.
async fn finish(mut command: std::process::Command) -> (Option<i32>, String) {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let told = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&told).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_amazons_service_pays_and_one_that_lies_pays_nothing() {
    let market = Market::open().await;
    let key = market.buyer_key();
    let service = Service::start(&key, false).await;
    let source = format!("aws-kms:{KEY}");
    let (code, told) = finish(command(&service, &["wallet", "address", "--key", &source])).await;
    assert_eq!((code, told.trim()), (Some(0), &*tollway_devnet::ACCOUNTS[2].address.to_string()));
    let pay = ["pay", "--key", &source, &market.url("/data")];
    let (code, told) = finish(command(&service, &pay)).await;
    assert_eq!((code, market.handled()), (Some(0), 1), "{told}");

    let liar = Service::start(&key, true).await;
    let (code, told) = finish(command(&liar, &pay)).await;
    assert!(code != Some(0) && told.contains("remote signer: "), "{told}");
    let (code, told) =
        finish(command(&service, &["pay", "--key", "aws-kms:other", &market.url("/data")])).await;
    assert!(code == Some(1) && told.contains("aws-kms:other: the key service gave no public key"), "{told}");
    assert!(!told.contains("test-secret"), "{told}");
    assert_eq!(market.handled(), 1);
}
