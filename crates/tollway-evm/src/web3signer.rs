//! A key behind a Web3Signer, or whatever speaks its HTTP interface for secp256k1 keys (`/api/v1/eth1`).
//!
//! The service is trusted with the key, not with its answers: what it gives is a signature of the right account, or
//! nothing. Which messages it may sign is decided by whoever asks, and by its own rules.

use std::fmt;
use std::time::Duration;

use alloy_primitives::{Address, Signature, hex, keccak256};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};
use secp256k1::PublicKey;
use serde_json::json;
use tollway_core::{BoxFuture, is_loopback};
use url::Url;

use crate::{Signer, SignerError, signature};

/// Signs with a key that a service holds: it is sent what is to be signed, hashes it and signs the hash.
///
/// Nothing is asked twice, no redirect is followed, no proxy is used, and answers are bounded in time and length.
#[derive(Clone)]
pub struct Web3Signer {
    service: Service,
    sign_url: Url,
    address: Address,
}

#[derive(Clone)]
struct Service {
    http: Client,
    authorization: Option<HeaderValue>,
    deadline: Duration,
}

/// Some thousands of keys.
const MAX_KEYS_BYTES: usize = 1024 * 1024;
const MAX_SIGNATURE_BYTES: usize = 1024;

impl Web3Signer {
    /// Looks for the key of `address` in the service at `url`: https, or this machine. `authorization` is sent as the
    /// header of that name. `deadline` is for each answer as a whole.
    ///
    /// # Errors
    /// [`SignerError::Remote`] when the service is not reached, breaks a rule or does not hold the key. It repeats neither
    /// the URL nor the header.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollway_evm::{Address, Web3Signer};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let url = "http://signer.example:9000".parse()?;
    /// let plain = Web3Signer::connect(&url, Address::ZERO, None, Duration::from_secs(5)).await;
    /// assert_eq!(plain.unwrap_err().to_string(), "remote signer: its URL must be https, or http of this machine");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(
        url: &Url,
        address: Address,
        authorization: Option<&str>,
        deadline: Duration,
    ) -> Result<Self, SignerError> {
        let service = Service::new(url, authorization, deadline)?;
        let listed = service.ask(service.http.get(endpoint(url, "publicKeys")), MAX_KEYS_BYTES).await?;
        let keys: Vec<String> = serde_json::from_slice(&listed)
            .map_err(|_| fault("its list of keys is no JSON array of strings"))?;
        let key = keys.iter().find(|key| address_of(key) == Some(address));
        let key = key.ok_or_else(|| fault(format!("it does not hold the key of {address}")))?;
        // The key is hex: it cannot lead elsewhere.
        Ok(Self { sign_url: endpoint(url, &format!("sign/{key}")), service, address })
    }

    /// The same with another deadline.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use tollway_evm::{Address, SignerError, Web3Signer};
    /// # async fn example(url: &url::Url, account: Address) -> Result<Web3Signer, SignerError> {
    /// let signer = Web3Signer::connect(url, account, None, Duration::from_secs(30)).await?;
    /// Ok(signer.deadline(Duration::from_secs(2)))
    /// # }
    /// ```
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.service.deadline = deadline;
        self
    }
}

impl Signer for Web3Signer {
    fn address(&self) -> Address {
        self.address
    }

    fn sign<'a>(&'a self, preimage: &'a [u8]) -> BoxFuture<'a, Result<Signature, SignerError>> {
        Box::pin(async move {
            let body = json!({ "data": hex::encode_prefixed(preimage) }).to_string();
            let request = self.service.http.post(self.sign_url.clone());
            let request = request.header(CONTENT_TYPE, "application/json").body(body);
            let answer = self.service.ask(request, MAX_SIGNATURE_BYTES).await?;
            let text = String::from_utf8_lossy(&answer);
            let bytes = hex::decode(text.trim().trim_matches('"'));
            let bytes = bytes.map_err(|_| fault("its signature is not in hex"))?;
            let signed =
                signature::parse(&bytes).map_err(|error| fault(format!("its signature: {error}")))?;
            match signature::recover(keccak256(preimage), &signed) {
                Ok(by) if by == self.address => Ok(signed),
                _ => Err(fault(format!("its signature is not by {} of what it was sent", self.address))),
            }
        })
    }
}

impl fmt::Debug for Web3Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web3Signer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Service {
    fn new(url: &Url, authorization: Option<&str>, deadline: Duration) -> Result<Self, SignerError> {
        let is_private = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url));
        if !is_private {
            return Err(fault("its URL must be https, or http of this machine"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(fault("its URL must have no user, password or query"));
        }
        let authorization = authorization.map(|text| {
            let mut value = HeaderValue::from_str(text)
                .map_err(|_| fault("the authorization must be one line of visible ASCII"))?;
            value.set_sensitive(true);
            Ok(value)
        });
        // A proxy would see what is signed, and a paying proxy would be asked to sign its own payment.
        let http = Client::builder().redirect(Policy::none()).no_proxy().build();
        let http = http.map_err(|_| fault("no HTTP client could be made"))?;
        Ok(Self { http, authorization: authorization.transpose()?, deadline })
    }

    /// The body of a good answer, at most so long.
    async fn ask(&self, request: RequestBuilder, most: usize) -> Result<Vec<u8>, SignerError> {
        let request = match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value.clone()),
            None => request,
        };
        let answered = async {
            let mut response = request.send().await.map_err(|_| fault("it cannot be reached"))?;
            if response.status() != 200 {
                return Err(fault(format!("it answered {}", response.status().as_u16())));
            }
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(|_| fault("its answer broke off"))? {
                if body.len() + chunk.len() > most {
                    return Err(fault(format!("its answer is longer than {most} bytes")));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(body)
        };
        tokio::time::timeout(self.deadline, answered)
            .await
            .unwrap_or_else(|_| Err(fault(format!("no answer within {} ms", self.deadline.as_millis()))))
    }
}

/// A path of the interface, below whatever path the service is at.
fn endpoint(url: &Url, path: &str) -> Url {
    let mut url = url.clone();
    url.set_fragment(None);
    let below = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{below}/api/v1/eth1/{path}"));
    url
}

/// Whose a public key is: 64 bytes as Web3Signer lists it, or encoded by SEC 1 as others do.
fn address_of(text: &str) -> Option<Address> {
    let bytes = hex::decode(text).ok()?;
    let key = match bytes.len() {
        64 => PublicKey::from_slice(&[&[4], bytes.as_slice()].concat()),
        _ => PublicKey::from_slice(&bytes),
    };
    key.ok().map(|key| signature::address_of(&key))
}

fn fault(rule: impl Into<String>) -> SignerError {
    SignerError::Remote(rule.into())
}
