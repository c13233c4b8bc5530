//! Positional parameters, read so that a bad one is named in the error.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::failure::Failure;

/// The parameters of one request, not yet read.
#[derive(Debug, Default)]
pub(crate) struct Params<'a>(Vec<&'a RawValue>);

impl<'a> Params<'a> {
    pub(crate) fn parse(params: Option<&'a RawValue>) -> Result<Self, Failure> {
        let Some(params) = params.filter(|params| params.get() != "null") else { return Ok(Self::default()) };
        Vec::deserialize(&mut serde_json::Deserializer::from_str(params.get()))
            .map(Self)
            .map_err(|_| Failure::invalid_params("params", "must be an array"))
    }

    /// A parameter that must be there.
    pub(crate) fn get<T: DeserializeOwned>(&self, index: usize, name: &str) -> Result<T, Failure> {
        self.optional(index, name)?
            .ok_or_else(|| Failure::invalid_params(name, format!("missing value for argument {index}")))
    }

    /// A parameter that may be absent or null.
    pub(crate) fn optional<T: DeserializeOwned>(
        &self,
        index: usize,
        name: &str,
    ) -> Result<Option<T>, Failure> {
        let Some(raw) = self.0.get(index).filter(|raw| raw.get() != "null") else { return Ok(None) };
        serde_json::from_str(raw.get()).map(Some).map_err(|problem| Failure::invalid_params(name, problem))
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Address;
    use serde_json::value::RawValue;

    use super::Params;

    #[test]
    fn a_bad_parameter_is_named() {
        let raw = RawValue::from_string(r#"["0x12", null]"#.into()).unwrap();
        let params = Params::parse(Some(&raw)).unwrap();
        let failure = params.get::<Address>(0, "address").unwrap_err();
        assert_eq!(failure.code, -32_602);
        assert!(failure.message.starts_with("invalid params: address: "), "{}", failure.message);
        assert_eq!(params.optional::<u64>(1, "second").unwrap(), None);
        let missing = params.get::<u64>(2, "third").unwrap_err();
        assert_eq!(missing.message, "invalid params: third: missing value for argument 2");
        assert!(Params::parse(Some(&RawValue::from_string("{}".into()).unwrap())).is_err());
    }
}
