//! Reading an object where it stands: a voucher is checked for every request, so nothing of it is copied.

use std::borrow::Cow;

use alloy_primitives::{Address, B256, Bytes, U256, hex};
use serde_json::Value;
use tollway_core::{Amount, ErrorCode, JsonObject, Refusal};

use crate::exact::{ADDRESS_RULE, parse_address};

/// More than any signature needs, wrappers included.
const MAX_SIGNATURE_BYTES: usize = 4096;

/// The fields of one object, with the path and the code that an error in them is told by.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    object: &'a JsonObject,
    path: Cow<'static, str>,
    code: ErrorCode,
}

impl<'a> Reader<'a> {
    pub(super) fn new(object: &'a JsonObject, path: impl Into<Cow<'static, str>>, code: ErrorCode) -> Self {
        Self { object, path: path.into(), code }
    }

    /// An object in a field. Its path is given, so that none is put together where nothing is wrong.
    pub(super) fn object(&self, name: &str, path: &'static str) -> Result<Self, Refusal> {
        match self.required(name)? {
            Value::Object(object) => Ok(Self::new(object, path, self.code.clone())),
            _ => Err(self.error(name, "must be an object")),
        }
    }

    /// The objects of a field, at most `most`.
    pub(super) fn objects(&self, name: &str, most: usize) -> Result<Vec<Self>, Refusal> {
        let Value::Array(items) = self.required(name)? else {
            return Err(self.error(name, "must be an array"));
        };
        if items.len() > most {
            return Err(self.error(name, format!("has {} entries, the limit is {most}", items.len())));
        }
        let item = |(at, item): (usize, &'a Value)| match item {
            Value::Object(object) => {
                Ok(Self::new(object, format!("{}.{name}[{at}]", self.path), self.code.clone()))
            }
            _ => Err(self.error(&format!("{name}[{at}]"), "must be an object")),
        };
        items.iter().enumerate().map(item).collect()
    }

    /// The same object in a field of one that has no path of its own.
    pub(super) fn below(&self, name: &str) -> Result<Self, Refusal> {
        match self.required(name)? {
            Value::Object(object) => {
                Ok(Self::new(object, format!("{}.{name}", self.path), self.code.clone()))
            }
            _ => Err(self.error(name, "must be an object")),
        }
    }

    /// That there is no field but these.
    pub(super) fn only(&self, names: &[&str]) -> Result<(), Refusal> {
        match self.object.keys().find(|name| !names.contains(&name.as_str())) {
            None => Ok(()),
            Some(other) => Err(self.error(&format!("{other:.32}"), "is no part of it")),
        }
    }

    /// Whether a field is there; `null` is not.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn text(&self, name: &str) -> Result<&'a str, Refusal> {
        self.required(name)?.as_str().ok_or_else(|| self.error(name, "must be a string"))
    }

    pub(super) fn address(&self, name: &str) -> Result<Address, Refusal> {
        parse_address(self.text(name)?).ok_or_else(|| self.error(name, ADDRESS_RULE))
    }

    /// 32 bytes in their one spelling.
    pub(super) fn word(&self, name: &str) -> Result<B256, Refusal> {
        word(self.text(name)?).ok_or_else(|| self.error(name, "must be 0x and 64 hex digits"))
    }

    pub(super) fn number(&self, name: &str) -> Result<u64, Refusal> {
        let number = self.required(name)?.as_u64();
        number.ok_or_else(|| self.error(name, "must be a whole number, not negative"))
    }

    /// Atomic units, as the contract counts them.
    pub(super) fn amount(&self, name: &str) -> Result<u128, Refusal> {
        let number = self.large(name)?;
        u128::try_from(number).map_err(|_| self.error(name, "must fit in 128 bits"))
    }

    /// A number of 256 bits, in decimal.
    pub(super) fn large(&self, name: &str) -> Result<U256, Refusal> {
        let number = self.text(name)?.parse::<Amount>();
        number.map(Amount::atomic).map_err(|error| self.error(name, error.to_string()))
    }

    /// A number of 256 bits that is also written in hex.
    pub(super) fn nonce(&self, name: &str) -> Result<U256, Refusal> {
        let text = self.text(name)?;
        let Some(digits) = text.strip_prefix("0x") else { return self.large(name) };
        let is_hex = (1..=64).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = is_hex.then(|| U256::from_str_radix(digits, 16).ok()).flatten();
        number.ok_or_else(|| self.error(name, "must be a number of 256 bits: decimal, or 0x and hex digits"))
    }

    pub(super) fn bytes(&self, name: &str) -> Result<Bytes, Refusal> {
        let text = self.text(name)?;
        let fits = text.starts_with("0x") && (4..=2 + 2 * MAX_SIGNATURE_BYTES).contains(&text.len());
        let bytes = fits.then(|| hex::decode(text).ok()).flatten();
        let rule = || format!("must be 0x and 1 to {MAX_SIGNATURE_BYTES} hex bytes");
        bytes.map(Bytes::from).ok_or_else(|| self.error(name, rule()))
    }

    /// The same, where it need not be there.
    pub(super) fn optional_bytes(&self, name: &str) -> Result<Option<Bytes>, Refusal> {
        self.has(name).then(|| self.bytes(name)).transpose()
    }

    pub(super) fn error(&self, name: &str, rule: impl Into<String>) -> Refusal {
        Refusal::new(self.code.clone(), format!("{}.{name}", self.path), rule)
    }

    fn required(&self, name: &str) -> Result<&'a Value, Refusal> {
        self.get(name).ok_or_else(|| self.error(name, "is required"))
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }
}

/// 32 bytes in their one spelling.
pub(super) fn word(text: &str) -> Option<B256> {
    text.strip_prefix("0x").filter(|digits| digits.len() == 64)?.parse().ok()
}
