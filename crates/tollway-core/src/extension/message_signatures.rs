//! `http-message-signatures`: what a seller says of the signatures on requests that it reads (RFC 9421), and where who signs
//! makes itself known. The signatures themselves are in [`http_signature`](crate::http_signature).

use serde_json::{Value, json};

use super::auth_hints::plain_object;
use crate::JsonObject;
use crate::wire::{Fields, WireError};

/// The extension's name.
pub const NAME: &str = "http-message-signatures";
/// The one algorithm that we read and write.
pub const ED25519: &str = "ed25519";
/// What signatures of agents are tagged with unless somebody says otherwise.
pub const WEB_BOT_AUTH: &str = "web-bot-auth";

/// What a 402 says of signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureTerms {
    /// Where agents register, for people and for programs.
    pub registration_url: String,
    /// Algorithms, by their names in the registry of RFC 9421.
    pub schemes: Vec<String>,
    /// Tags, any of which a signature may have.
    pub tags: Vec<String>,
}

impl SignatureTerms {
    /// The terms as a 402 declares them: without the schema, as the specification allows, for it is long.
    ///
    /// ```
    /// use tollway_core::extension::message_signatures::{ED25519, SignatureTerms, WEB_BOT_AUTH};
    /// let terms = SignatureTerms {
    ///     registration_url: "https://api.example.com/agents".to_owned(),
    ///     schemes: vec![ED25519.to_owned()],
    ///     tags: vec![WEB_BOT_AUTH.to_owned()],
    /// };
    /// assert_eq!(SignatureTerms::read(&terms.declaration().into()), Ok(terms));
    /// ```
    pub fn declaration(&self) -> JsonObject {
        let info = json!({
            "registrationUrl": self.registration_url,
            "signatureSchemes": self.schemes,
            "tags": self.tags,
        });
        plain_object([("info", info)])
    }

    /// Reads what a 402 declares. Without tags, none is asked for.
    ///
    /// # Errors
    /// [`WireError`] naming the field.
    ///
    /// ```
    /// use tollway_core::extension::message_signatures::SignatureTerms;
    /// let error = SignatureTerms::read(&serde_json::json!({ "info": {} })).unwrap_err();
    /// assert_eq!(error.field, "extensions.http-message-signatures.info.registrationUrl");
    /// ```
    pub fn read(declared: &Value) -> Result<Self, WireError> {
        let info = declared.get("info").and_then(Value::as_object).cloned().unwrap_or_default();
        let mut fields = Fields::root(info).at("extensions.http-message-signatures.info");
        let registration_url = fields.string("registrationUrl")?;
        let mut strings = |name: &str| match fields.take(name) {
            None => Ok(None),
            Some(Value::Array(list)) if list.len() <= 32 && list.iter().all(Value::is_string) => {
                Ok(Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()))
            }
            Some(_) => Err(fields.error(name, "must be at most 32 strings")),
        };
        let (schemes, tags) = (strings("signatureSchemes")?, strings("tags")?.unwrap_or_default());
        let schemes = schemes.ok_or_else(|| fields.error("signatureSchemes", "is required"))?;
        Ok(Self { registration_url, schemes, tags })
    }
}
