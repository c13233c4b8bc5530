//! The seam to a scheme whose payments count by the signature on the whole request (RFC 9421), and by nothing else.
//!
//! What lives here: what a seller asks of such a scheme before and after it has checked the signature, and what is kept of
//! the signature as proof. What does not: reading signatures ([`http_signature`](crate::http_signature)), and fetching keys.

use serde_json::{Value, json};

use crate::http_signature::{AgentKey, PresentedSignature, SignatureRules, content_digest};
use crate::model::{JsonObject, PaymentPayload, PaymentRequirements};
use crate::{Checked, Refusal, UnixTime};

/// The member of a checked payment's payload that holds its [`RequestProof`]. Whatever a buyer writes there is replaced.
pub const PROOF: &str = "proof";

/// Whose signature a payment needs, and where the key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerKeys {
    /// The account that is charged.
    pub account: String,
    /// Keys that are known without asking anybody, by the names that signatures give them.
    pub keys: Vec<(String, AgentKey)>,
    /// The origin whose directory has the others, if there is one.
    pub directory: Option<String>,
}

/// A signature on a request that was checked against the account's key: what can be shown later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestProof {
    /// The account that is charged.
    pub account: String,
    /// The name of the key that signed.
    pub key_id: String,
    /// What was signed, line by line.
    pub base: String,
    /// The signature over it, in base64.
    pub signature: String,
    /// When it was made, as it says.
    pub created: UnixTime,
    /// Until when it counts.
    pub expires: UnixTime,
}

impl RequestProof {
    /// The proof that `signature` is, once it was checked against a key of `account`.
    ///
    /// ```
    /// use tollway_core::http_signature::PresentedSignature;
    /// use tollway_core::RequestProof;
    /// fn kept(signature: &PresentedSignature) -> String {
    ///     RequestProof::new("acme", signature).base
    /// }
    /// ```
    pub fn new(account: &str, signature: &PresentedSignature) -> Self {
        Self {
            account: account.to_owned(),
            key_id: signature.key_id().to_owned(),
            base: signature.base().to_owned(),
            signature: signature.signature(),
            created: signature.created(),
            expires: signature.expires(),
        }
    }

    /// Whether the signature is about this body: it covers the body's digest, and the digest is right. None if it covers
    /// no digest.
    ///
    /// ```
    /// use tollway_core::{RequestProof, UnixTime, http_signature::content_digest};
    /// let base = format!("\"content-digest\": {}\n\"@signature-params\": ..", content_digest(b"one"));
    /// let (account, key_id, signature) = (String::new(), String::new(), String::new());
    /// let proof = RequestProof { account, key_id, base, signature, created: UnixTime(0), expires: UnixTime(0) };
    /// assert_eq!((proof.is_about(b"one"), proof.is_about(b"two")), (Some(true), Some(false)));
    /// ```
    pub fn is_about(&self, body: &[u8]) -> Option<bool> {
        let digest = self.base.lines().find_map(|line| line.strip_prefix("\"content-digest\": "))?;
        Some(digest.split(',').any(|one| one.trim() == content_digest(body)))
    }

    /// The proof as a payload carries it to who charges.
    ///
    /// ```
    /// use tollway_core::{RequestProof, UnixTime};
    /// let text = |text: &str| text.to_owned();
    /// let (created, expires) = (UnixTime(1), UnixTime(61));
    /// let proof = RequestProof {
    ///     account: text("acme"), key_id: text("k"), base: text("b"), signature: text("c2ln"), created, expires,
    /// };
    /// assert_eq!(RequestProof::read(&proof.to_json()), Some(proof));
    /// ```
    pub fn to_json(&self) -> Value {
        json!({
            "account": self.account,
            "keyId": self.key_id,
            "base": self.base,
            "signature": self.signature,
            "created": self.created.0,
            "expires": self.expires.0,
        })
    }

    /// Reads what [`Self::to_json`] wrote.
    ///
    /// ```
    /// assert_eq!(tollway_core::RequestProof::read(&serde_json::json!({ "account": "acme" })), None);
    /// ```
    pub fn read(json: &Value) -> Option<Self> {
        let text = |name: &str| Some(json.get(name)?.as_str()?.to_owned());
        let time = |name: &str| json.get(name)?.as_u64().map(UnixTime);
        Some(Self {
            account: text("account")?,
            key_id: text("keyId")?,
            base: text("base")?,
            signature: text("signature")?,
            created: time("created")?,
            expires: time("expires")?,
        })
    }
}

/// A scheme whose payments count by the signature on their request, as a seller uses it. Pure: no I/O.
pub trait SignedRequestScheme: Send + Sync + std::fmt::Debug {
    /// What a signature must be to be looked at.
    ///
    /// ```
    /// use tollway_core::SignedRequestScheme;
    /// fn is_bound(scheme: &dyn SignedRequestScheme) -> bool {
    ///     scheme.rules().covers.iter().any(|name| name == "payment-signature")
    /// }
    /// ```
    fn rules(&self) -> &SignatureRules;

    /// Whose keys may have made `signature` on the request of `payment`. Nothing was checked of it against a key.
    ///
    /// # Errors
    /// [`Refusal`]: nobody's that is known here.
    ///
    /// ```
    /// use tollway_core::http_signature::PresentedSignature;
    /// use tollway_core::model::PaymentPayload;
    /// use tollway_core::{Refusal, SignedRequestScheme};
    /// fn account(
    ///     scheme: &dyn SignedRequestScheme, payment: &PaymentPayload, signature: &PresentedSignature,
    /// ) -> Result<String, Refusal> {
    ///     Ok(scheme.signer(payment, signature)?.account)
    /// }
    /// ```
    fn signer(&self, payment: &PaymentPayload, signature: &PresentedSignature)
    -> Result<SignerKeys, Refusal>;

    /// Holds a payment whose request is proved to be its account's against the seller's own offer.
    ///
    /// # Errors
    /// [`Refusal`] naming the field and the rule.
    ///
    /// ```
    /// use tollway_core::model::{PaymentPayload, PaymentRequirements};
    /// use tollway_core::{Refusal, RequestProof, SignedRequestScheme, UnixTime};
    /// fn payer(
    ///     scheme: &dyn SignedRequestScheme, payment: &PaymentPayload, offer: &PaymentRequirements,
    ///     proof: &RequestProof, now: UnixTime,
    /// ) -> Result<String, Refusal> {
    ///     Ok(scheme.check_signed(payment, offer, proof, now)?.payer)
    /// }
    /// ```
    fn check_signed(
        &self,
        payment: &PaymentPayload,
        offer: &PaymentRequirements,
        proof: &RequestProof,
        now: UnixTime,
    ) -> Result<Checked, Refusal>;

    /// Whether the signature must be about the request's body too. If not, it is where the signer covered it.
    ///
    /// ```
    /// use tollway_core::SignedRequestScheme;
    /// fn takes_posts(scheme: &dyn SignedRequestScheme) -> bool {
    ///     scheme.binds_body()
    /// }
    /// ```
    fn binds_body(&self) -> bool {
        true
    }

    /// Refuses a request whose signature is missing or breaks `rule`, in the scheme's words.
    ///
    /// ```
    /// use tollway_core::{Refusal, SignedRequestScheme};
    /// fn missing(scheme: &dyn SignedRequestScheme) -> Refusal {
    ///     scheme.unsigned("Signature", "is required")
    /// }
    /// ```
    fn unsigned(&self, field: &str, rule: &str) -> Refusal;
}

/// Puts `proof` where who charges finds it.
///
/// ```
/// use tollway_core::{JsonObject, PROOF, RequestProof};
/// fn proved(mut payload: JsonObject, proof: &RequestProof) -> JsonObject {
///     tollway_core::attach_proof(&mut payload, proof);
///     assert!(payload.contains_key(PROOF));
///     payload
/// }
/// ```
pub fn attach_proof(payload: &mut JsonObject, proof: &RequestProof) {
    payload.insert(PROOF.to_owned(), proof.to_json());
}
