//! What every message to a webhook of the owner's has in common: the secret it is signed with, after Standard Webhooks, and
//! where it may go. Who is told what, and what the answer means, is the sender's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use url::Url;

use crate::is_loopback;

/// The shortest secret taken, bytes.
const MIN_SECRET_BYTES: usize = 16;

/// A secret that no log shows. Who has it can tell that a message is from who else has it.
#[derive(Clone)]
pub struct WebhookSecret(Vec<u8>);

impl WebhookSecret {
    /// A secret as it is written down: `whsec_` and base64, or as it is.
    ///
    /// # Errors
    /// What is wrong with it; never the secret itself.
    ///
    /// ```
    /// use tollway_core::WebhookSecret;
    /// let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    /// assert_eq!(format!("{secret:?}"), "***");
    /// assert_eq!(WebhookSecret::parse("short").unwrap_err(), "must be at least 16 bytes long");
    /// ```
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let bytes = match text.strip_prefix("whsec_") {
            Some(encoded) => BASE64.decode(encoded).map_err(|_| "must be base64 after whsec_")?,
            None => text.as_bytes().to_vec(),
        };
        if bytes.len() < MIN_SECRET_BYTES { Err("must be at least 16 bytes long") } else { Ok(Self(bytes)) }
    }

    /// The header `webhook-signature` of a message: `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`. None: it
    /// cannot be signed, and must not be sent.
    ///
    /// ```
    /// use tollway_core::WebhookSecret;
    /// // The example of the standard's own libraries.
    /// let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    /// let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", r#"{"test": 2432232314}"#);
    /// assert_eq!(signature.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    /// ```
    pub fn sign(&self, id: &str, timestamp: &str, body: &str) -> Option<String> {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.0).ok()?;
        for part in [id, ".", timestamp, ".", body] {
            mac.update(part.as_bytes());
        }
        Some(format!("v1,{}", BASE64.encode(mac.finalize().into_bytes())))
    }
}

impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Where messages may be posted to: https, or http to this machine.
///
/// # Errors
/// What is wrong with it, for people.
///
/// ```
/// use tollway_core::webhook_url;
/// assert!(webhook_url("https://owner.example/told").is_ok() && webhook_url("http://localhost:8080/").is_ok());
/// assert_eq!(webhook_url("http://owner.example/").unwrap_err(), "must be https, or http to this machine");
/// ```
pub fn webhook_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("must be an absolute URL: {error}"))?;
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
    if !is_safe {
        return Err("must be https, or http to this machine".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must have no credentials: messages are signed".to_owned());
    }
    Ok(url)
}
