//! `auth-hints`: which offers of a 402 need credentials besides the payment, and where to get them.
//!
//! What lives here: declaring and reading them. What does not: the credentials. An OAuth 2.0 token is the application's to
//! ask for and to check; a sign-in is [`sign_in`](super::sign_in)'s.

use serde_json::{Value, json};

use crate::JsonObject;
use crate::wire::{Fields, WireError};

/// The extension's name.
pub const NAME: &str = "auth-hints";

/// More than any 402 needs; what is beyond is not read.
const MAX_REQUIREMENTS: usize = 64;
const MAX_METHODS: usize = 16;

/// What some offers need besides the payment. It is mandatory, in spite of the extension's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthRequirement {
    /// Which offers: places in `accepts`, from 0.
    pub accept_indexes: Vec<usize>,
    /// Any one of these will do.
    pub methods: Vec<AuthMethod>,
}

/// A way to get credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthMethod {
    /// An access token of OAuth 2.0, in `Authorization`.
    OAuth2 {
        /// How it is presented: `Bearer` or `DPoP`.
        token_type: String,
        /// The authorization server's base URL.
        authorization_server: String,
        /// Where tokens are asked for.
        token_endpoint: String,
        /// Where clients register (RFC 7591); none: the client must have an identifier already.
        registration_endpoint: Option<String>,
    },
    /// The proof that the extension `sign-in-with-x` of the same 402 asks for.
    SignInWithX,
    /// One that this version does not know, by its name.
    Other(String),
}

/// What a seller declares.
///
/// ```
/// use tollway_core::extension::auth_hints::{AuthMethod, AuthRequirement, declaration, read};
/// let second = AuthRequirement { accept_indexes: vec![1], methods: vec![AuthMethod::SignInWithX] };
/// let declared = declaration(&[second.clone()]);
/// assert_eq!(read(&declared.into()), Ok(vec![second]));
/// ```
pub fn declaration(requirements: &[AuthRequirement]) -> JsonObject {
    let listed: Vec<Value> = requirements
        .iter()
        .map(|requirement| {
            let methods: Vec<Value> = requirement.methods.iter().map(AuthMethod::to_json).collect();
            json!({ "acceptIndexes": requirement.accept_indexes, "methods": methods })
        })
        .collect();
    let info = json!({ "authRequirements": listed });
    plain_object([("info", info), ("schema", schema())])
}

/// Reads what a 402 declares.
///
/// # Errors
/// [`WireError`] naming the field. Whoever cannot read what an offer needs should not pay for it.
///
/// ```
/// use serde_json::json;
/// use tollway_core::extension::auth_hints::read;
/// let declared = json!({ "info": { "authRequirements": [{ "acceptIndexes": [0], "methods": [{ "type": "oauth2" }] }] } });
/// let field = read(&declared).unwrap_err().field;
/// assert_eq!(field, "extensions.auth-hints.info.authRequirements[0].methods[0].tokenType");
/// ```
pub fn read(declared: &Value) -> Result<Vec<AuthRequirement>, WireError> {
    let info = declared.get("info").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut fields = Fields::root(info).at("extensions.auth-hints.info");
    let listed = fields.objects("authRequirements", MAX_REQUIREMENTS)?;
    let requirement = |mut fields: Fields| {
        let wrong = |fields: &Fields| fields.error("acceptIndexes", "must be whole numbers, not negative");
        let Some(Value::Array(indexes)) = fields.take("acceptIndexes") else { return Err(wrong(&fields)) };
        let index = |value: &Value| value.as_u64().map(|index| usize::try_from(index).unwrap_or(usize::MAX));
        let accept_indexes =
            indexes.iter().map(index).collect::<Option<_>>().ok_or_else(|| wrong(&fields))?;
        let methods = fields.objects("methods", MAX_METHODS)?;
        let methods = methods.into_iter().map(AuthMethod::read).collect::<Result<_, _>>()?;
        Ok(AuthRequirement { accept_indexes, methods })
    };
    listed.into_iter().map(requirement).collect()
}

/// What the offer at `index` needs: one method of each list. None if it needs nothing.
///
/// ```
/// use tollway_core::extension::auth_hints::{AuthMethod, AuthRequirement, methods_for};
/// let hints = [AuthRequirement { accept_indexes: vec![1, 99], methods: vec![AuthMethod::SignInWithX] }];
/// assert!(methods_for(&hints, 0).next().is_none());
/// assert_eq!(methods_for(&hints, 1).next(), Some([AuthMethod::SignInWithX].as_slice()));
/// ```
pub fn methods_for(requirements: &[AuthRequirement], index: usize) -> impl Iterator<Item = &[AuthMethod]> {
    requirements
        .iter()
        .filter(move |requirement| requirement.accept_indexes.contains(&index))
        .map(|requirement| requirement.methods.as_slice())
}

impl AuthMethod {
    fn to_json(&self) -> Value {
        match self {
            Self::OAuth2 { token_type, authorization_server, token_endpoint, registration_endpoint } => {
                let mut method = plain_object([
                    ("type", "oauth2".into()),
                    ("tokenType", token_type.clone().into()),
                    ("authorizationServer", authorization_server.clone().into()),
                    ("tokenEndpoint", token_endpoint.clone().into()),
                ]);
                if let Some(endpoint) = registration_endpoint {
                    method.insert("registrationEndpoint".to_owned(), endpoint.clone().into());
                }
                method.into()
            }
            Self::SignInWithX => json!({ "type": super::sign_in::NAME }),
            Self::Other(name) => json!({ "type": name }),
        }
    }

    fn read(mut fields: Fields) -> Result<Self, WireError> {
        let name = fields.string("type")?;
        Ok(match name.as_str() {
            "oauth2" => Self::OAuth2 {
                token_type: fields.string("tokenType")?,
                authorization_server: fields.string("authorizationServer")?,
                token_endpoint: fields.string("tokenEndpoint")?,
                registration_endpoint: fields.optional_string("registrationEndpoint")?,
            },
            super::sign_in::NAME => Self::SignInWithX,
            _ => Self::Other(name),
        })
    }
}

/// An object of these fields, in this order.
pub(super) fn plain_object<const N: usize>(fields: [(&str, Value); N]) -> JsonObject {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn schema() -> Value {
    let method = json!({
        "type": "object",
        "properties": { "type": { "type": "string", "description": "Authentication method type" } },
        "required": ["type"],
    });
    let indexes = json!({
        "type": "array",
        "items": { "type": "integer" },
        "description": "Indexes into the accepts[] array",
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "authRequirements": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": { "acceptIndexes": indexes, "methods": { "type": "array", "items": method } },
                    "required": ["acceptIndexes", "methods"],
                },
            },
        },
        "required": ["authRequirements"],
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{AuthMethod, declaration, methods_for, read};

    #[test]
    fn the_specifications_example_is_read_and_written_back() {
        let info = json!({ "authRequirements": [{
            "acceptIndexes": [1, 40],
            "methods": [
                {
                    "type": "oauth2",
                    "tokenType": "DPoP",
                    "authorizationServer": "https://as.example.com",
                    "tokenEndpoint": "https://as.example.com/token",
                    "registrationEndpoint": "https://as.example.com/register"
                },
                { "type": "sign-in-with-x" },
                { "type": "mtls" }
            ]
        }] });
        let read = read(&json!({ "info": info })).unwrap();
        assert_eq!(read[0].methods[2], AuthMethod::Other("mtls".to_owned()));
        assert_eq!(declaration(&read)["info"], info);
        assert_eq!(methods_for(&read, 1).count(), 1);
        assert_eq!(methods_for(&read, 0).count(), 0);
    }

    #[test]
    fn a_hint_that_cannot_be_read_is_an_error() {
        for wrong in [
            json!({}),
            json!({ "authRequirements": [{ "acceptIndexes": [-1], "methods": [] }] }),
            json!({ "authRequirements": [{ "acceptIndexes": 1, "methods": [] }] }),
            json!({ "authRequirements": [{ "acceptIndexes": [1] }] }),
            json!({ "authRequirements": [{ "acceptIndexes": [1], "methods": [{}] }] }),
        ] {
            assert!(read(&json!({ "info": wrong })).is_err(), "{wrong}");
        }
    }
}
