//! Strict JSON, and reading an object field by field so that an error can name the field.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use super::WireError;
use crate::model::X402Version;
use crate::{Amount, ErrorCode, JsonObject, Network, SchemeName};

/// How deep objects and arrays may nest.
pub const MAX_DEPTH: usize = 32;

const VERSION: &str = "x402Version";

/// Parses one JSON object, refusing duplicate keys and nesting beyond [`MAX_DEPTH`].
///
/// Which of two equal keys counts is up to each parser; a payment must not mean two things.
///
/// # Errors
/// [`WireError`] on the field `what`.
///
/// ```
/// use tollway_core::wire;
/// let error = wire::parse_object(br#"{"amount":"1","amount":"1000000"}"#, "body").unwrap_err();
/// assert!(error.to_string().starts_with("body: must be valid JSON: key \"amount\" stands twice"));
/// ```
pub fn parse_object(json: &[u8], what: &str) -> Result<JsonObject, WireError> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let parsed = Strict { depth: 0 }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    match parsed {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(WireError::new(ErrorCode::INVALID_PAYLOAD, what, "must be a JSON object")),
        Err(error) => {
            let rule = format!("must be valid JSON: {error}");
            Err(WireError::new(ErrorCode::INVALID_PAYLOAD, what, rule))
        }
    }
}

/// The fields of one object, taken out one by one. What is left at the end is what this version does not
/// know, and is kept.
#[derive(Clone, Debug)]
pub struct Fields {
    path: String,
    map: JsonObject,
    code: ErrorCode,
}

impl Fields {
    /// The fields of the outermost object.
    ///
    /// ```
    /// use tollway_core::wire::{Fields, parse_object};
    /// let mut fields = Fields::root(parse_object(br#"{"amount":"10000"}"#, "body")?);
    /// assert_eq!(fields.string("amount")?, "10000");
    /// # Ok::<(), tollway_core::wire::WireError>(())
    /// ```
    pub fn root(map: JsonObject) -> Self {
        Self { path: String::new(), map, code: ErrorCode::INVALID_PAYLOAD }
    }

    /// Reports errors in these fields, and in objects below, with `code`.
    #[must_use]
    pub(crate) fn with_code(mut self, code: ErrorCode) -> Self {
        self.code = code;
        self
    }

    /// Reports errors in these fields as fields of `path`.
    ///
    /// ```
    /// use tollway_core::{JsonObject, wire::Fields};
    /// let mut fields = Fields::root(JsonObject::new()).at("payload");
    /// assert_eq!(fields.string("signature").unwrap_err().to_string(), "payload.signature: is required");
    /// ```
    #[must_use]
    pub fn at(mut self, path: &str) -> Self {
        self.path = format!("{path}.");
        self
    }

    /// An error in field `name`, by its whole path, for a rule that the methods here do not know.
    ///
    /// ```
    /// use tollway_core::{JsonObject, wire::Fields};
    /// let fields = Fields::root(JsonObject::new()).at("payload");
    /// assert_eq!(fields.error("nonce", "must be 0x and 64 hex digits").field, "payload.nonce");
    /// ```
    pub fn error(&self, name: &str, rule: impl Into<String>) -> WireError {
        WireError::new(self.code.clone(), format!("{}{name}", self.path), rule)
    }

    /// The field as it came, `null` and absent being the same. It is out of the [`rest`](Self::rest) then.
    ///
    /// ```
    /// use tollway_core::wire::{Fields, parse_object};
    /// let mut fields = Fields::root(parse_object(br#"{"memo":null,"tags":["a"]}"#, "body")?);
    /// assert_eq!(fields.take("memo"), None);
    /// assert!(fields.take("tags").is_some_and(|tags| tags.is_array()));
    /// # Ok::<(), tollway_core::wire::WireError>(())
    /// ```
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.map.shift_remove(name).filter(|value| !value.is_null())
    }

    /// Whether the field is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    fn required(&mut self, name: &str) -> Result<Value, WireError> {
        self.take(name).ok_or_else(|| self.error(name, "is required"))
    }

    /// A required string.
    ///
    /// # Errors
    /// Absent or not a string.
    ///
    /// ```
    /// use tollway_core::wire::{Fields, parse_object};
    /// let mut fields = Fields::root(parse_object(br#"{"payTo":7}"#, "body")?);
    /// assert_eq!(fields.string("payTo").unwrap_err().to_string(), "payTo: must be a string");
    /// # Ok::<(), tollway_core::wire::WireError>(())
    /// ```
    pub fn string(&mut self, name: &str) -> Result<String, WireError> {
        self.optional_string(name)?.ok_or_else(|| self.error(name, "is required"))
    }

    /// An optional string.
    ///
    /// # Errors
    /// Not a string.
    ///
    /// ```
    /// use tollway_core::wire::{Fields, parse_object};
    /// let mut fields = Fields::root(parse_object(br#"{"description":null}"#, "body")?);
    /// assert_eq!(fields.optional_string("description")?, None);
    /// # Ok::<(), tollway_core::wire::WireError>(())
    /// ```
    pub fn optional_string(&mut self, name: &str) -> Result<Option<String>, WireError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.error(name, "must be a string")),
        }
    }

    /// A required whole number, not negative.
    ///
    /// # Errors
    /// Absent, negative, fractional or above 2^64 - 1.
    ///
    /// ```
    /// use tollway_core::wire::{Fields, parse_object};
    /// let mut fields = Fields::root(parse_object(br#"{"maxTimeoutSeconds":60,"decimals":-6}"#, "body")?);
    /// assert_eq!(fields.number("maxTimeoutSeconds")?, 60);
    /// assert!(fields.number("decimals").is_err());
    /// # Ok::<(), tollway_core::wire::WireError>(())
    /// ```
    pub fn number(&mut self, name: &str) -> Result<u64, WireError> {
        let value = self.required(name)?;
        value.as_u64().ok_or_else(|| self.error(name, "must be a whole number, not negative"))
    }

    /// A required boolean.
    ///
    /// # Errors
    /// Absent or not a boolean.
    ///
    /// ```
    /// use tollway_core::wire::{Fields, parse_object};
    /// let mut fields = Fields::root(parse_object(br#"{"isValid":"true"}"#, "body")?);
    /// assert_eq!(fields.boolean("isValid").unwrap_err().to_string(), "isValid: must be true or false");
    /// # Ok::<(), tollway_core::wire::WireError>(())
    /// ```
    pub fn boolean(&mut self, name: &str) -> Result<bool, WireError> {
        let value = self.required(name)?;
        value.as_bool().ok_or_else(|| self.error(name, "must be true or false"))
    }

    /// A required amount in atomic units, as a string.
    ///
    /// # Errors
    /// Absent, not a string, or not canonical (see [`Amount`]).
    ///
    /// ```
    /// use tollway_core::wire::{Fields, parse_object};
    /// let mut fields = Fields::root(parse_object(br#"{"value":"10000","tip":"1e3"}"#, "body")?);
    /// assert_eq!(fields.amount("value")?.to_decimal(6), "0.01");
    /// assert!(fields.amount("tip").is_err());
    /// # Ok::<(), tollway_core::wire::WireError>(())
    /// ```
    pub fn amount(&mut self, name: &str) -> Result<Amount, WireError> {
        let text = self.string(name)?;
        text.parse().map_err(|error| self.error(name, format!("{error}, not {:?}", clip(&text))))
    }

    /// A required CAIP-2 network.
    ///
    /// # Errors
    /// Absent, or not CAIP-2.
    pub(crate) fn network(&mut self, name: &str) -> Result<Network, WireError> {
        let text = self.string(name)?;
        text.parse().map_err(|error| {
            let rule = format!("{error}, not {:?}", clip(&text));
            WireError { code: ErrorCode::INVALID_NETWORK, ..self.error(name, rule) }
        })
    }

    /// A required scheme name.
    ///
    /// # Errors
    /// Absent, empty or longer than 64 bytes.
    pub(crate) fn scheme(&mut self, name: &str) -> Result<SchemeName, WireError> {
        match self.string(name)? {
            text if text == SchemeName::EXACT.as_str() => Ok(SchemeName::EXACT),
            text if text == SchemeName::UPTO.as_str() => Ok(SchemeName::UPTO),
            text if !text.is_empty() && text.len() <= 64 => Ok(SchemeName::new(text)),
            _ => {
                let error = self.error(name, "must be a scheme name of 1 to 64 bytes");
                Err(WireError { code: ErrorCode::INVALID_SCHEME, ..error })
            }
        }
    }

    /// The `x402Version` of a message.
    ///
    /// # Errors
    /// Absent, or a version Tollway does not speak.
    pub(crate) fn version(&mut self) -> Result<X402Version, WireError> {
        self.optional_version()?.ok_or_else(|| self.version_error("is required".to_owned()))
    }

    /// The `x402Version` of a message that may leave it to its envelope.
    ///
    /// # Errors
    /// A version Tollway does not speak.
    pub(crate) fn optional_version(&mut self) -> Result<Option<X402Version>, WireError> {
        let Some(value) = self.take(VERSION) else { return Ok(None) };
        let known = value.as_u64().and_then(X402Version::from_number);
        known
            .map(Some)
            .ok_or_else(|| self.version_error(format!("must be 1 or 2, not {}", clip(&value.to_string()))))
    }

    fn version_error(&self, rule: String) -> WireError {
        WireError { code: ErrorCode::INVALID_X402_VERSION, ..self.error(VERSION, rule) }
    }

    /// A required object.
    ///
    /// # Errors
    /// Absent or not an object.
    ///
    /// ```
    /// use tollway_core::wire::{Fields, parse_object};
    /// let mut fields = Fields::root(parse_object(br#"{"authorization":{"value":10}}"#, "body")?);
    /// let error = fields.object("authorization")?.amount("value").unwrap_err();
    /// assert_eq!(error.to_string(), "authorization.value: must be a string");
    /// # Ok::<(), tollway_core::wire::WireError>(())
    /// ```
    pub fn object(&mut self, name: &str) -> Result<Self, WireError> {
        self.optional_object(name)?.ok_or_else(|| self.error(name, "is required"))
    }

    /// An optional object.
    ///
    /// # Errors
    /// Not an object.
    ///
    /// ```
    /// use tollway_core::wire::{Fields, parse_object};
    /// let mut fields = Fields::root(parse_object(br#"{"extra":[]}"#, "body")?);
    /// assert!(fields.optional_object("resource")?.is_none() && fields.optional_object("extra").is_err());
    /// # Ok::<(), tollway_core::wire::WireError>(())
    /// ```
    pub fn optional_object(&mut self, name: &str) -> Result<Option<Self>, WireError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(map)) => {
                let path = format!("{}{name}.", self.path);
                Ok(Some(Self { path, map, code: self.code.clone() }))
            }
            Some(_) => Err(self.error(name, "must be an object")),
        }
    }

    /// An object kept as it is; absent and `null` are empty.
    ///
    /// # Errors
    /// Not an object.
    ///
    /// ```
    /// use tollway_core::wire::{Fields, parse_object};
    /// let mut fields = Fields::root(parse_object(br#"{"extra":{"name":"USD Coin"}}"#, "body")?);
    /// assert_eq!(fields.map("extra")?["name"], "USD Coin");
    /// assert!(fields.map("extensions")?.is_empty());
    /// # Ok::<(), tollway_core::wire::WireError>(())
    /// ```
    pub fn map(&mut self, name: &str) -> Result<JsonObject, WireError> {
        Ok(self.optional_object(name)?.map(Self::rest).unwrap_or_default())
    }

    /// A required array of objects, at most `max`: the limit comes before the work on each.
    ///
    /// # Errors
    /// Absent, not an array, too long, or holding something else than objects.
    ///
    /// ```
    /// use tollway_core::wire::{Fields, parse_object};
    /// let mut fields = Fields::root(parse_object(br#"{"accepts":[{"amount":"1"},{}]}"#, "body")?);
    /// let error = fields.objects("accepts", 64)?[1].amount("amount").unwrap_err();
    /// assert_eq!(error.to_string(), "accepts[1].amount: is required");
    /// # Ok::<(), tollway_core::wire::WireError>(())
    /// ```
    pub fn objects(&mut self, name: &str, max: usize) -> Result<Vec<Self>, WireError> {
        let Value::Array(items) = self.required(name)? else {
            return Err(self.error(name, "must be an array"));
        };
        if items.len() > max {
            return Err(self.error(name, format!("has {} entries, the limit is {max}", items.len())));
        }
        let item = |(index, item)| {
            let path = format!("{}{name}[{index}]", self.path);
            match item {
                Value::Object(map) => Ok(Self { path: format!("{path}."), map, code: self.code.clone() }),
                _ => Err(WireError::new(self.code.clone(), path, "must be an object")),
            }
        };
        items.into_iter().enumerate().map(item).collect()
    }

    /// What has not been taken, in the order it came.
    ///
    /// ```
    /// use tollway_core::wire::{Fields, parse_object};
    /// let mut fields = Fields::root(parse_object(br#"{"url":"https://example.com","tags":[]}"#, "body")?);
    /// fields.string("url")?;
    /// assert!(fields.rest().keys().eq(["tags"]));
    /// # Ok::<(), tollway_core::wire::WireError>(())
    /// ```
    pub fn rest(self) -> JsonObject {
        self.map
    }
}

/// Foreign text in an error is cut: an error is an answer, and answers are bounded.
fn clip(text: &str) -> String {
    match text.char_indices().nth(48) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Builds a [`Value`], refusing what [`parse_object`] refuses.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format_args!("nested deeper than {MAX_DEPTH}")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let seed = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(seed)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let seed = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let value = access.next_value_seed(seed)?;
            match map.entry(key) {
                Entry::Vacant(free) => drop(free.insert(value)),
                Entry::Occupied(taken) => {
                    return Err(A::Error::custom(format_args!("key {:?} stands twice", clip(taken.key()))));
                }
            }
        }
        Ok(Value::Object(map))
    }
}
