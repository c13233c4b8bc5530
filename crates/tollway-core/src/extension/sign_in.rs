//! `sign-in-with-x`: a 402 asks who is there, and a wallet proves it (CAIP-122; on EVM the text of EIP-4361).
//!
//! What lives here: the challenge, the proof, and the text that is signed, each with its limits. What does not: the
//! signature (`tollway-evm`), and whether who signed in has bought anything (`tollway-seller`).

use serde_json::{Value, json};
use url::Url;

use super::parse_timestamp;
use crate::wire::{Fields, WireError, decode_header, encode_header, parse_object};
use crate::{ErrorCode, JsonObject, Network};

/// The extension's name.
pub const NAME: &str = "sign-in-with-x";
/// The request header of a proof.
pub const HEADER: &str = "sign-in-with-x";
/// How signatures of EVM accounts are called here.
pub const EIP191: &str = "eip191";

/// The longest proof that is read, bytes of base64.
const MAX_HEADER_BYTES: usize = 8 * 1024;
/// The header as peers are told of it.
const FIELD: &str = "SIGN-IN-WITH-X";
const MAX_URI_BYTES: usize = 4096;
const MAX_RESOURCES: usize = 16;

/// What is signed, but for who signs it and on which chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignInMessage {
    /// Who asks: the host of the seller, with its port if that is not the standard one.
    pub domain: String,
    /// For which resource.
    pub uri: String,
    /// Always `1`.
    pub version: String,
    /// Good for one use.
    pub nonce: String,
    /// When it was asked: RFC 3339.
    pub issued_at: String,
    /// Until when it may be answered: RFC 3339.
    pub expiration_time: Option<String>,
    /// From when on it may be answered: RFC 3339.
    pub not_before: Option<String>,
    /// The seller's own name for the request.
    pub request_id: Option<String>,
    /// What it is for, for people.
    pub statement: Option<String>,
    /// What else it is about.
    pub resources: Option<Vec<String>>,
}

/// A chain that a seller takes proofs of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInChain {
    /// Its CAIP-2 identifier.
    pub network: Network,
    /// How accounts of it sign: `eip191`, `ed25519`.
    pub kind: String,
}

/// What a 402 asks of who wants to be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInChallenge {
    /// What to sign.
    pub message: SignInMessage,
    /// On which chain, the seller's favourite first.
    pub chains: Vec<SignInChain>,
}

/// The answer to a challenge. Who signed it is not known before the signature has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInProof {
    /// What was signed.
    pub message: SignInMessage,
    /// Who says to have signed it.
    pub address: String,
    /// On which chain.
    pub network: Network,
    /// How: `eip191`, `ed25519`.
    pub kind: String,
    /// A hint: `eip191`, `eip1271`, `eip6492`, `siws`.
    pub signature_scheme: Option<String>,
    /// The signature: on EVM `0x` and hexadecimal digits.
    pub signature: String,
}

impl SignInMessage {
    /// Whether each field is what it says and nothing more. A line break in one of them would be another line of what is
    /// signed.
    ///
    /// # Errors
    /// [`WireError`] naming the field.
    ///
    /// ```
    /// use tollway_core::extension::sign_in::SignInMessage;
    /// let message = SignInMessage {
    ///     domain: "api.example.com".to_owned(),
    ///     uri: "https://api.example.com/data".to_owned(),
    ///     version: "1".to_owned(),
    ///     nonce: "a1b2c3d4e5f67890a1b2c3d4e5f67890".to_owned(),
    ///     issued_at: "2024-01-15T10:30:00.000Z".to_owned(),
    ///     ..SignInMessage::default()
    /// };
    /// assert!(message.check().is_ok());
    /// let two_lines = SignInMessage { statement: Some("Hello\nURI: https://evil.example".to_owned()), ..message };
    /// assert_eq!(two_lines.check().unwrap_err().field, "SIGN-IN-WITH-X.statement");
    /// ```
    pub fn check(&self) -> Result<(), WireError> {
        let fields = Fields::root(JsonObject::new()).at(FIELD);
        let rule =
            |holds: bool, name: &str, rule: &str| if holds { Ok(()) } else { Err(fields.error(name, rule)) };
        let is_authority = |text: &str| {
            (1..=255).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte))
        };
        rule(is_authority(&self.domain), "domain", "must be a host, with a port or without")?;
        rule(is_uri(&self.uri), "uri", "must be an absolute URI of at most 4096 plain characters")?;
        rule(self.version == "1", "version", "must be 1")?;
        let is_nonce = (8..=128).contains(&self.nonce.len())
            && self.nonce.bytes().all(|byte| byte.is_ascii_alphanumeric());
        rule(is_nonce, "nonce", "must be 8 to 128 letters and digits")?;
        rule(parse_timestamp(&self.issued_at).is_some(), "issuedAt", "must be a time as RFC 3339 writes it")?;
        for (name, time) in [("expirationTime", &self.expiration_time), ("notBefore", &self.not_before)] {
            let is_time = time.as_ref().is_none_or(|time| parse_timestamp(time).is_some());
            rule(is_time, name, "must be a time as RFC 3339 writes it")?;
        }
        let is_plain = |text: &str, most: usize, blank: bool| {
            text.len() <= most && text.bytes().all(|byte| byte.is_ascii_graphic() || (blank && byte == b' '))
        };
        let id = self.request_id.as_deref().unwrap_or_default();
        rule(is_plain(id, 255, false), "requestId", "must be at most 255 plain characters")?;
        let statement = self.statement.as_deref();
        // An empty line of text would not be read back as it was written.
        rule(statement != Some(""), "statement", "must not be empty")?;
        rule(
            is_plain(statement.unwrap_or_default(), 1024, true),
            "statement",
            "must be one line of at most 1024 ASCII characters",
        )?;
        let resources = self.resources.as_deref().unwrap_or_default();
        rule(resources.len() <= MAX_RESOURCES, "resources", "must be at most 16")?;
        rule(
            resources.iter().all(|uri| is_uri(uri)),
            "resources",
            "must be absolute URIs of plain characters",
        )
    }

    /// The text that an EVM account signs, as EIP-4361 has it; none on other chains. Only for what passes [`Self::check`].
    ///
    /// ```
    /// use tollway_core::{Network, extension::sign_in::SignInMessage};
    /// let message = SignInMessage {
    ///     domain: "api.example.com".to_owned(),
    ///     uri: "https://api.example.com/data".to_owned(),
    ///     version: "1".to_owned(),
    ///     nonce: "a1b2c3d4e5f67890a1b2c3d4e5f67890".to_owned(),
    ///     issued_at: "2024-01-15T10:30:00.000Z".to_owned(),
    ///     ..SignInMessage::default()
    /// };
    /// let text = message.evm_text("0x857b06519E91e3A54538791bDbb0E22373e36b66", &Network::evm(8453)).unwrap();
    /// assert!(text.contains("\nChain ID: 8453\nNonce: a1b2"));
    /// ```
    pub fn evm_text(&self, address: &str, network: &Network) -> Option<String> {
        let chain_id = network.evm_chain_id()?;
        let mut text =
            format!("{} wants you to sign in with your Ethereum account:\n{address}\n\n", self.domain);
        if let Some(statement) = &self.statement {
            text.push_str(statement);
            text.push('\n');
        }
        let (uri, version, nonce) = (&self.uri, &self.version, &self.nonce);
        let issued_at = &self.issued_at;
        text.push_str(&format!(
            "\nURI: {uri}\nVersion: {version}\nChain ID: {chain_id}\nNonce: {nonce}\nIssued At: {issued_at}"
        ));
        let lines = [
            ("Expiration Time", &self.expiration_time),
            ("Not Before", &self.not_before),
            ("Request ID", &self.request_id),
        ];
        for (name, value) in lines {
            if let Some(value) = value {
                text.push_str(&format!("\n{name}: {value}"));
            }
        }
        if let Some(resources) = &self.resources {
            text.push_str("\nResources:");
            resources.iter().for_each(|uri| text.push_str(&format!("\n- {uri}")));
        }
        Some(text)
    }

    fn read(fields: &mut Fields) -> Result<Self, WireError> {
        let resources = match fields.take("resources") {
            None => None,
            Some(Value::Array(list)) if list.len() <= MAX_RESOURCES && list.iter().all(Value::is_string) => {
                Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            }
            Some(_) => return Err(fields.error("resources", "must be at most 16 strings")),
        };
        Ok(Self {
            domain: fields.string("domain")?,
            uri: fields.string("uri")?,
            version: fields.string("version")?,
            nonce: fields.string("nonce")?,
            issued_at: fields.string("issuedAt")?,
            expiration_time: fields.optional_string("expirationTime")?,
            not_before: fields.optional_string("notBefore")?,
            request_id: fields.optional_string("requestId")?,
            statement: fields.optional_string("statement")?,
            resources,
        })
    }

    fn write(&self, object: &mut JsonObject) {
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        put("domain", self.domain.clone().into());
        put("uri", self.uri.clone().into());
        put("version", self.version.clone().into());
        put("nonce", self.nonce.clone().into());
        put("issuedAt", self.issued_at.clone().into());
        let optional = [
            ("expirationTime", &self.expiration_time),
            ("notBefore", &self.not_before),
            ("requestId", &self.request_id),
            ("statement", &self.statement),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                put(name, value.clone().into());
            }
        }
        if let Some(resources) = &self.resources {
            put("resources", resources.clone().into());
        }
    }
}

impl SignInChallenge {
    /// The challenge as a 402 declares it.
    ///
    /// ```
    /// use tollway_core::extension::sign_in::{SignInChallenge, SignInMessage};
    /// let challenge = SignInChallenge { message: SignInMessage::default(), chains: Vec::new() };
    /// assert!(challenge.declaration()["schema"]["required"].is_array());
    /// ```
    pub fn declaration(&self) -> JsonObject {
        let mut info = JsonObject::new();
        self.message.write(&mut info);
        let chains: Vec<Value> = self
            .chains
            .iter()
            .map(|chain| json!({ "chainId": chain.network.as_str(), "type": chain.kind }))
            .collect();
        JsonObject::from_iter([
            ("info".to_owned(), info.into()),
            ("supportedChains".to_owned(), chains.into()),
            ("schema".to_owned(), schema()),
        ])
    }

    /// Reads what a 402 declares. Chains that are no CAIP-2 identifier are left out: nobody can sign on them.
    ///
    /// # Errors
    /// [`WireError`] naming the field.
    ///
    /// ```
    /// use serde_json::json;
    /// use tollway_core::extension::sign_in::SignInChallenge;
    /// let declared = json!({ "info": { "domain": "api.example.com" }, "supportedChains": [] });
    /// assert_eq!(SignInChallenge::read(&declared).unwrap_err().field, "extensions.sign-in-with-x.info.uri");
    /// ```
    pub fn read(declared: &Value) -> Result<Self, WireError> {
        let path = format!("extensions.{NAME}");
        let object = |name: &str| declared.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
        let mut fields = Fields::root(object("info")).at(&format!("{path}.info"));
        let message = SignInMessage::read(&mut fields)?;
        message.check()?;
        let chains = declared.get("supportedChains").and_then(Value::as_array);
        let chain = |value: &Value| {
            let network = value.get("chainId")?.as_str()?.parse().ok()?;
            Some(SignInChain { network, kind: value.get("type")?.as_str()?.to_owned() })
        };
        let chains = chains.map(|chains| chains.iter().take(64).filter_map(chain).collect());
        Ok(Self { message, chains: chains.unwrap_or_default() })
    }
}

impl SignInProof {
    /// The value of the header [`HEADER`].
    ///
    /// ```
    /// use tollway_core::extension::sign_in::{EIP191, SignInMessage, SignInProof};
    /// use tollway_core::Network;
    /// let proof = SignInProof {
    ///     message: SignInMessage {
    ///         domain: "api.example.com".to_owned(),
    ///         uri: "https://api.example.com/data".to_owned(),
    ///         version: "1".to_owned(),
    ///         nonce: "a1b2c3d4e5f67890a1b2c3d4e5f67890".to_owned(),
    ///         issued_at: "2024-01-15T10:30:00.000Z".to_owned(),
    ///         ..SignInMessage::default()
    ///     },
    ///     address: "0x857b06519E91e3A54538791bDbb0E22373e36b66".to_owned(),
    ///     network: Network::evm(8453),
    ///     kind: EIP191.to_owned(),
    ///     signature_scheme: None,
    ///     signature: "0x00".to_owned(),
    /// };
    /// assert_eq!(SignInProof::decode(proof.encode().as_bytes()), Ok(proof));
    /// ```
    pub fn encode(&self) -> String {
        let mut object = JsonObject::new();
        self.message.write(&mut object);
        let more = [
            ("address", Some(&self.address)),
            ("type", Some(&self.kind)),
            ("signatureScheme", self.signature_scheme.as_ref()),
            ("signature", Some(&self.signature)),
        ];
        object.insert("chainId".to_owned(), self.network.as_str().into());
        for (name, value) in more {
            if let Some(value) = value {
                object.insert(name.to_owned(), value.clone().into());
            }
        }
        encode_header(&object)
    }

    /// Reads the header's value: bounded, strict, every field what it says.
    ///
    /// # Errors
    /// [`WireError`] naming the field.
    ///
    /// ```
    /// use tollway_core::extension::sign_in::SignInProof;
    /// assert_eq!(SignInProof::decode(b"e30=").unwrap_err().field, "SIGN-IN-WITH-X.domain");
    /// assert_eq!(SignInProof::decode(b"?").unwrap_err().field, "SIGN-IN-WITH-X");
    /// ```
    pub fn decode(value: &[u8]) -> Result<Self, WireError> {
        if value.len() > MAX_HEADER_BYTES {
            let rule = format!("must be at most {MAX_HEADER_BYTES} bytes long");
            return Err(WireError::new(ErrorCode::INVALID_PAYLOAD, FIELD, rule));
        }
        let mut fields = Fields::root(parse_object(&decode_header(FIELD, value)?, FIELD)?).at(FIELD);
        let message = SignInMessage::read(&mut fields)?;
        message.check()?;
        let chain = fields.string("chainId")?;
        let network = chain.parse().map_err(|error| fields.error("chainId", format!("{error}")))?;
        let address = fields.string("address")?;
        if address.len() > 128 || !address.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(fields.error("address", "must be an account's address"));
        }
        Ok(Self {
            message,
            address,
            network,
            kind: fields.string("type")?,
            signature_scheme: fields.optional_string("signatureScheme")?,
            signature: fields.string("signature")?,
        })
    }
}

fn is_uri(text: &str) -> bool {
    text.len() <= MAX_URI_BYTES
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && Url::parse(text).is_ok()
}

/// The published schema of a proof.
fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "domain": { "type": "string" },
            "address": { "type": "string" },
            "statement": { "type": "string" },
            "uri": { "type": "string", "format": "uri" },
            "version": { "type": "string" },
            "chainId": { "type": "string" },
            "type": { "type": "string" },
            "nonce": { "type": "string" },
            "issuedAt": { "type": "string", "format": "date-time" },
            "expirationTime": { "type": "string", "format": "date-time" },
            "notBefore": { "type": "string", "format": "date-time" },
            "requestId": { "type": "string" },
            "resources": { "type": "array", "items": { "type": "string", "format": "uri" } },
            "signature": { "type": "string" },
        },
        "required": ["domain", "address", "uri", "version", "chainId", "type", "nonce", "issuedAt", "signature"],
    })
}

#[cfg(test)]
mod tests {
    use super::{SignInMessage, SignInProof};
    use crate::Network;

    fn message() -> SignInMessage {
        SignInMessage {
            domain: "api.example.com".to_owned(),
            uri: "https://api.example.com/premium-data".to_owned(),
            version: "1".to_owned(),
            nonce: "a1b2c3d4e5f67890a1b2c3d4e5f67890".to_owned(),
            issued_at: "2024-01-15T10:30:00.000Z".to_owned(),
            expiration_time: Some("2024-01-15T10:35:00.000Z".to_owned()),
            statement: Some("Sign in to access premium data".to_owned()),
            resources: Some(vec!["https://api.example.com/premium-data".to_owned()]),
            ..SignInMessage::default()
        }
    }

    #[test]
    fn the_text_is_that_of_the_specification() {
        let text = "api.example.com wants you to sign in with your Ethereum account:\n\
            0x857b06519E91e3A54538791bDbb0E22373e36b66\n\nSign in to access premium data\n\n\
            URI: https://api.example.com/premium-data\nVersion: 1\nChain ID: 8453\n\
            Nonce: a1b2c3d4e5f67890a1b2c3d4e5f67890\nIssued At: 2024-01-15T10:30:00.000Z\n\
            Expiration Time: 2024-01-15T10:35:00.000Z\nResources:\n- https://api.example.com/premium-data";
        let address = "0x857b06519E91e3A54538791bDbb0E22373e36b66";
        assert_eq!(message().evm_text(address, &Network::evm(8453)).as_deref(), Some(text));
        let bare = SignInMessage { statement: None, resources: None, ..message() };
        let bare = bare.evm_text(address, &Network::evm(1)).unwrap();
        assert!(bare.contains("36b66\n\n\nURI: "), "EIP-4361 leaves the statement's line empty: {bare}");
        assert_eq!(
            message().evm_text(address, &"solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp".parse().unwrap()),
            None
        );
    }

    #[test]
    fn no_field_may_break_a_line_or_be_another_thing() {
        type Change = fn(&mut SignInMessage, String);
        let fields: [(&str, Change); 9] = [
            ("domain", |message, text| message.domain.push_str(&text)),
            ("uri", |message, text| message.uri.push_str(&text)),
            ("nonce", |message, text| message.nonce.push_str(&text)),
            ("issuedAt", |message, text| message.issued_at.push_str(&text)),
            ("expirationTime", |message, text| message.expiration_time.as_mut().unwrap().push_str(&text)),
            ("notBefore", |message, text| message.not_before = Some(text)),
            ("requestId", |message, text| message.request_id = Some(text)),
            ("statement", |message, text| message.statement.as_mut().unwrap().push_str(&text)),
            ("resources", |message, text| message.resources.as_mut().unwrap()[0].push_str(&text)),
        ];
        for (name, change) in fields {
            for evil in ["\r\nNonce: 1", "\n", "\r", "\u{0}", "\u{2028}", "é\u{7f}"] {
                let mut message = message();
                change(&mut message, evil.to_owned());
                assert_eq!(message.check().unwrap_err().field, format!("SIGN-IN-WITH-X.{name}"), "{evil:?}");
                let proof = SignInProof {
                    message,
                    address: "0x857b06519E91e3A54538791bDbb0E22373e36b66".to_owned(),
                    network: Network::evm(1),
                    kind: super::EIP191.to_owned(),
                    signature_scheme: None,
                    signature: "0x".to_owned(),
                };
                assert!(SignInProof::decode(proof.encode().as_bytes()).is_err(), "{name}: {evil:?}");
            }
        }
        assert!(message().check().is_ok());
    }

    proptest::proptest! {
        #[test]
        fn no_header_panics_and_what_is_read_has_one_text(json in ".{0,300}", domain in "[a-z0-9.:]{1,20}",
            statement in "[ -~\r\n]{1,40}") {
            let _ = SignInProof::decode(json.as_bytes());
            let message = SignInMessage { domain, statement: Some(statement), ..message() };
            if message.check().is_ok() {
                let text = message.evm_text("0x857b06519E91e3A54538791bDbb0E22373e36b66", &Network::evm(1)).unwrap();
                // As many lines as EIP-4361 has for these fields, whatever stands in them.
                proptest::prop_assert_eq!(text.lines().count(), 13, "{}", text);
            }
        }
    }
}
