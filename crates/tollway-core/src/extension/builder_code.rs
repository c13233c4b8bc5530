//! `builder-code`: who took part in a payment. Codes travel with it and end on chain, behind the calldata of its
//! settlement (ERC-8021, schema 2: CBOR).
//!
//! What lives here: the codes, their declaration, and the bytes. What does not: appending them to a transaction.

use serde_json::{Value, json};

use super::auth_hints::plain_object;
use crate::{JsonObject, X402Version};

/// The extension's name.
pub const NAME: &str = "builder-code";
/// How many service codes a buyer may add.
pub const MAX_BUYER_CODES: usize = 5;
/// How many service codes a seller may declare.
pub const MAX_SELLER_CODES: usize = 5;
/// How many service codes a payment may carry: buyer's and seller's.
const MAX_ECHOED_CODES: usize = MAX_BUYER_CODES + MAX_SELLER_CODES;
/// The facilitator's own comes on top.
const MAX_CODES: usize = MAX_ECHOED_CODES + 1;
/// The end of every suffix.
const MARKER: [u8; 16] =
    [0x80, 0x21, 0x80, 0x21, 0x80, 0x21, 0x80, 0x21, 0x80, 0x21, 0x80, 0x21, 0x80, 0x21, 0x80, 0x21];
const SCHEMA: u8 = 2;

/// One code: 1 to 32 lower-case letters, digits and underscores.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BuilderCode(String);

/// What is no code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuilderCodeError {
    /// Not of the alphabet, or not of the length.
    #[error("a builder code must be 1 to 32 lower-case letters, digits and underscores")]
    Code,
    /// More than one side may add.
    #[error("must be at most {0} service codes")]
    TooMany(usize),
}

/// The codes of one settlement, as they stand on chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attribution {
    /// The application that sold (`a`).
    pub app: Option<BuilderCode>,
    /// The facilitator that settled (`w`).
    pub wallet: Option<BuilderCode>,
    /// Whoever else took part (`s`).
    pub services: Vec<BuilderCode>,
}

impl BuilderCode {
    /// Reads a code.
    ///
    /// # Errors
    /// [`BuilderCodeError::Code`].
    ///
    /// ```
    /// use tollway_core::extension::builder_code::BuilderCode;
    /// assert_eq!(BuilderCode::new("bc_my_app")?.as_str(), "bc_my_app");
    /// assert!(BuilderCode::new("My App").is_err());
    /// # Ok::<(), tollway_core::extension::builder_code::BuilderCodeError>(())
    /// ```
    pub fn new(text: &str) -> Result<Self, BuilderCodeError> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if !(1..=32).contains(&text.len()) || !text.bytes().all(is_plain) {
            return Err(BuilderCodeError::Code);
        }
        Ok(Self(text.to_owned()))
    }

    /// The code as text.
    ///
    /// ```
    /// use tollway_core::extension::builder_code::BuilderCode;
    /// assert_eq!(BuilderCode::new("a").map(|code| code.as_str().len()), Ok(1));
    /// ```
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a seller declares: its own code, and of who else is behind the route.
///
/// # Errors
/// [`BuilderCodeError::TooMany`] above [`MAX_SELLER_CODES`].
///
/// ```
/// use tollway_core::extension::builder_code::{BuilderCode, declaration};
/// let declared = declaration(&BuilderCode::new("my_app")?, &[])?;
/// assert_eq!(declared["info"], serde_json::json!({ "a": "my_app" }));
/// # Ok::<(), tollway_core::extension::builder_code::BuilderCodeError>(())
/// ```
pub fn declaration(app: &BuilderCode, services: &[BuilderCode]) -> Result<JsonObject, BuilderCodeError> {
    if services.len() > MAX_SELLER_CODES {
        return Err(BuilderCodeError::TooMany(MAX_SELLER_CODES));
    }
    let mut info = plain_object([("a", app.as_str().into())]);
    if !services.is_empty() {
        info.insert("s".to_owned(), services.iter().map(BuilderCode::as_str).collect());
    }
    Ok(plain_object([("info", info.into()), ("schema", schema())]))
}

/// Adds a buyer's codes to the extensions of a payment: before those that the seller declared, each once. A payment
/// whose seller declares nothing carries the buyer's alone.
///
/// ```
/// use serde_json::json;
/// use tollway_core::extension::builder_code::{BuilderCode, append};
/// let mut extensions = json!({ "builder-code": { "info": { "a": "shop", "s": ["theirs"] } } });
/// append(extensions.as_object_mut().unwrap(), &[BuilderCode::new("mine").unwrap()]);
/// assert_eq!(extensions["builder-code"]["info"], json!({ "a": "shop", "s": ["mine", "theirs"] }));
/// ```
pub fn append(extensions: &mut JsonObject, codes: &[BuilderCode]) {
    if codes.is_empty() {
        return;
    }
    let declared = extensions.entry(NAME.to_owned()).or_insert_with(|| json!({ "info": {} }));
    let info = match declared.get("info") {
        Some(_) => declared.get_mut("info"),
        None => Some(declared),
    };
    // Of a declaration that is no object nothing can be kept: it is left as it is.
    let Some(info) = info.and_then(Value::as_object_mut) else { return };
    let theirs = list(info.get("s")).unwrap_or_default();
    let mut all: Vec<&str> = codes.iter().take(MAX_BUYER_CODES).map(BuilderCode::as_str).collect();
    for code in theirs {
        if !all.contains(&code) {
            all.push(code);
        }
    }
    let all: Value = all.into_iter().collect();
    info.insert("s".to_owned(), all);
}

/// Whether the codes of a payment still hold the seller's, and are no more than may be.
pub(super) fn is_appended(declared: Option<&Value>, echoed: Option<&Value>) -> bool {
    let (Some(ours), Some(theirs)) = (list(declared), list(echoed)) else { return false };
    theirs.len() <= MAX_ECHOED_CODES && ours.iter().all(|code| theirs.contains(code))
}

impl Attribution {
    /// The codes that a payment carries, and the facilitator's own. What is no code is left out: a payment is not
    /// refused for it. A v1 payment is held against no declaration, so it names no application.
    ///
    /// ```
    /// use serde_json::json;
    /// use tollway_core::X402Version;
    /// use tollway_core::extension::builder_code::{Attribution, BuilderCode};
    /// let carried = json!({ "builder-code": { "info": { "a": "shop", "s": ["mine", "No Code"] } } });
    /// let wallet = BuilderCode::new("us").ok();
    /// let codes = Attribution::of_payment(carried.as_object().unwrap(), X402Version::V2, wallet, None);
    /// assert_eq!(codes.services.len(), 1);
    /// ```
    pub fn of_payment(
        extensions: &JsonObject,
        version: X402Version,
        wallet: Option<BuilderCode>,
        service: Option<BuilderCode>,
    ) -> Self {
        let carried = extensions.get(NAME);
        let info = carried.map(|carried| carried.get("info").unwrap_or(carried));
        let code = |value: &Value| value.as_str().and_then(|text| BuilderCode::new(text).ok());
        let app = info.and_then(|info| info.get("a")).and_then(code).filter(|_| version == X402Version::V2);
        let listed = match info.and_then(|info| info.get("s")) {
            Some(one @ Value::String(_)) => std::slice::from_ref(one),
            Some(Value::Array(list)) => list.as_slice(),
            _ => &[],
        };
        let mut services: Vec<_> = listed.iter().filter_map(code).take(MAX_ECHOED_CODES).collect();
        if let Some(service) = service.filter(|service| !services.contains(service)) {
            services.push(service);
        }
        Self { app, wallet, services }
    }

    /// What is appended to the settlement's calldata; nothing if there is no code.
    ///
    /// ```
    /// use tollway_core::extension::builder_code::{Attribution, BuilderCode};
    /// let codes = Attribution { app: BuilderCode::new("bc_myapp").ok(), ..Attribution::default() };
    /// assert_eq!(Attribution::read(&codes.suffix()), Some(codes));
    /// assert!(Attribution::default().suffix().is_empty());
    /// ```
    pub fn suffix(&self) -> Vec<u8> {
        let Self { app, wallet, services } = self;
        let mut entries = Vec::new();
        let mut count = 0;
        for (key, code) in [("a", app), ("w", wallet)] {
            if let Some(code) = code {
                count += 1;
                text(&mut entries, key);
                text(&mut entries, code.as_str());
            }
        }
        if !services.is_empty() {
            count += 1;
            text(&mut entries, "s");
            let services = &services[..services.len().min(MAX_CODES)];
            head(&mut entries, 4, services.len());
            services.iter().for_each(|code| text(&mut entries, code.as_str()));
        }
        if count == 0 {
            return Vec::new();
        }
        let mut suffix = Vec::new();
        head(&mut suffix, 5, count);
        suffix.append(&mut entries);
        // At most 13 codes of 32 bytes: it always fits.
        let length = u16::try_from(suffix.len()).unwrap_or(u16::MAX);
        suffix.extend_from_slice(&length.to_be_bytes());
        suffix.push(SCHEMA);
        suffix.extend_from_slice(&MARKER);
        suffix
    }

    /// The codes at the end of a transaction's calldata; none if there are none, or what stands there is no such suffix.
    ///
    /// ```
    /// use tollway_core::extension::builder_code::Attribution;
    /// assert_eq!(Attribution::read(b"transferWithAuthorization"), None);
    /// ```
    pub fn read(calldata: &[u8]) -> Option<Self> {
        let rest = calldata.strip_suffix(&MARKER)?.strip_suffix(&[SCHEMA])?;
        let (rest, length) = rest.split_last_chunk::<2>()?;
        let start = rest.len().checked_sub(usize::from(u16::from_be_bytes(*length)))?;
        let mut reader = Reader(&rest[start..]);
        let mut read = Self::default();
        for _ in 0..reader.head(5)? {
            match reader.text()? {
                "a" => read.app = Some(reader.code()?),
                "w" => read.wallet = Some(reader.code()?),
                "s" => {
                    let count = reader.head(4).filter(|count| *count <= MAX_CODES)?;
                    read.services = (0..count).map(|_| reader.code()).collect::<Option<_>>()?;
                }
                _ => return None,
            }
        }
        reader.0.is_empty().then_some(read)
    }
}

/// The part of CBOR (RFC 8949) that the suffix is made of.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The length in the head of an item of `major` type.
    fn head(&mut self, major: u8) -> Option<usize> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        if first >> 5 != major {
            return None;
        }
        match first & 31 {
            length @ 0..=23 => Some(usize::from(length)),
            24 => {
                let (length, rest) = self.0.split_first()?;
                self.0 = rest;
                Some(usize::from(*length))
            }
            _ => None,
        }
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.head(3)?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    fn code(&mut self) -> Option<BuilderCode> {
        BuilderCode::new(self.text()?).ok()
    }
}

/// The head of a CBOR item. Nothing here is longer than 32.
fn head(bytes: &mut Vec<u8>, major: u8, length: usize) {
    let length = u8::try_from(length).unwrap_or(u8::MAX);
    if length <= 23 {
        bytes.push(major << 5 | length);
    } else {
        bytes.extend_from_slice(&[major << 5 | 24, length]);
    }
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    head(bytes, 3, text.len());
    bytes.extend_from_slice(text.as_bytes());
}

/// One code or several; none at all is an empty list.
fn list(value: Option<&Value>) -> Option<Vec<&str>> {
    match value {
        None => Some(Vec::new()),
        Some(Value::String(code)) => Some(vec![code]),
        Some(Value::Array(codes)) => codes.iter().map(Value::as_str).collect(),
        Some(_) => None,
    }
}

fn schema() -> Value {
    let code = |description: &str| json!({ "type": "string", "pattern": "^[a-z0-9_]{1,32}$", "description": description });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "a": code("App builder code"),
            "w": code("Wallet builder code"),
            "s": {
                "type": "array",
                "maxItems": MAX_CODES,
                "items": { "type": "string", "pattern": "^[a-z0-9_]{1,32}$" },
                "description": "Service builder codes",
            },
        },
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::{Attribution, BuilderCode};

    fn code(text: &str) -> BuilderCode {
        BuilderCode::new(text).unwrap()
    }

    #[test]
    fn the_suffix_is_that_of_the_specification() {
        // The specification's own examples count their lengths wrongly; these are its bytes with the lengths right.
        let app = Attribution { app: Some(code("bc_myapp")), ..Attribution::default() };
        let marker = "8021".repeat(8);
        assert_eq!(hex::encode(app.suffix()), format!("a1616168{}000c02{marker}", hex::encode("bc_myapp")));
        let both = Attribution { wallet: Some(code("bc_myfacilitator")), ..app };
        let cbor = format!("a2616168{}617770{}", hex::encode("bc_myapp"), hex::encode("bc_myfacilitator"));
        assert_eq!(hex::encode(both.suffix()), format!("{cbor}001f02{marker}"));
    }

    #[test]
    fn at_most_eleven_service_codes_reach_the_chain() {
        let extensions = serde_json::json!({
            "builder-code": { "info": { "a": "shop", "s": (0..40).map(|at| format!("c{at}")).collect::<Vec<_>>() } }
        });
        let extensions = extensions.as_object().unwrap();
        let codes = Attribution::of_payment(extensions, crate::X402Version::V2, None, Some(code("us")));
        assert_eq!(codes.services.len(), 11);
        assert_eq!(codes.services.last(), Some(&code("us")));
        assert_eq!(Attribution::read(&codes.suffix()), Some(codes));
        let v1 = Attribution::of_payment(extensions, crate::X402Version::V1, None, None);
        assert_eq!((v1.app, v1.services.len()), (None, 10));
    }

    #[test]
    fn what_is_no_code_is_refused() {
        for wrong in ["", "A", "a-b", "ä", "a b", "a\n", &"a".repeat(33)] {
            assert!(BuilderCode::new(wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(app in "[a-z0-9_]{1,32}", services in proptest::collection::vec("[a-z0-9_]{1,32}", 0..11), before in any::<Vec<u8>>()) {
            let codes = Attribution { app: Some(code(&app)), wallet: None, services: services.iter().map(|text| code(text)).collect() };
            let calldata = [before, codes.suffix()].concat();
            prop_assert_eq!(Attribution::read(&calldata), Some(codes));
        }

        #[test]
        fn no_calldata_panics(bytes in any::<Vec<u8>>(), length in any::<u16>()) {
            let calldata = [bytes.as_slice(), &length.to_be_bytes(), &[super::SCHEMA], &super::MARKER].concat();
            let _ = Attribution::read(&calldata);
        }
    }
}
