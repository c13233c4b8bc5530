//! What is signed: the components of a request, line by line (RFC 9421, sections 2 and 2.5).

use sfv::{BareItem, Dictionary, FieldType, InnerList, Item, List, ListEntry, Parser};
use url::Url;

use super::fault;
use super::present::SIGNATURE_INPUT;
use crate::wire::WireError;

/// More components than any signature needs.
const MAX_COMPONENTS: usize = 32;

/// A request as signatures see it.
#[derive(Clone, Debug)]
pub struct SignedRequest<'a> {
    /// As it is written: methods are case-sensitive.
    pub method: &'a str,
    /// The whole URL that was asked for.
    pub url: &'a Url,
    /// Field names in lower case and values, in their order.
    pub headers: Vec<(&'a str, &'a [u8])>,
}

impl SignedRequest<'_> {
    /// The text that is signed: a line for each of `covered`, and one for the list itself with its parameters.
    pub(super) fn base(&self, covered: &InnerList) -> Result<String, WireError> {
        if covered.items.len() > MAX_COMPONENTS {
            return Err(fault(SIGNATURE_INPUT, format!("must cover at most {MAX_COMPONENTS} components")));
        }
        let mut base = String::new();
        let mut seen = Vec::new();
        for item in &covered.items {
            let identifier = item.serialize();
            if seen.contains(&identifier) {
                return Err(fault(SIGNATURE_INPUT, format!("must cover {identifier} once")));
            }
            base.push_str(&format!("{identifier}: {}\n", self.component(item)?));
            seen.push(identifier);
        }
        let params = parameters(covered)?;
        base.push_str(&format!("\"@signature-params\": {params}"));
        Ok(base)
    }

    /// All values of a field, joined as RFC 9110 joins them; none if the field is not there.
    pub(super) fn field(&self, name: &str) -> Result<Option<String>, WireError> {
        let mut values = Vec::new();
        for (_, value) in self.headers.iter().filter(|(field, _)| *field == name) {
            let text = std::str::from_utf8(value).ok();
            let text =
                text.filter(|text| text.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)));
            values.push(text.ok_or_else(|| fault(name, "must be ASCII to be signed"))?.trim());
        }
        Ok((!values.is_empty()).then(|| values.join(", ")))
    }

    fn component(&self, item: &Item) -> Result<String, WireError> {
        let unsupported = || {
            fault(SIGNATURE_INPUT, format!("must cover what is understood here, not {}", item.serialize()))
        };
        let name = item.bare_item.as_string().ok_or_else(unsupported)?.as_str();
        let parameter = |name: &str| {
            let value = item.params.get(name)?.as_string()?;
            (item.params.len() == 1).then(|| value.as_str())
        };
        if name == "@query-param" {
            return self.query_parameter(parameter("name").ok_or_else(unsupported)?);
        }
        if !name.starts_with('@') {
            let value =
                self.field(name)?.ok_or_else(|| fault(name, "must be there: the signature covers it"))?;
            return match parameter("key") {
                Some(key) => {
                    member(&value, key).ok_or_else(|| fault(name, format!("must have a member {key}")))
                }
                None if item.params.is_empty() => Ok(value),
                None => Err(unsupported()),
            };
        }
        if !item.params.is_empty() {
            return Err(unsupported());
        }
        let query = || self.url.query().map(|query| format!("?{query}"));
        Ok(match name {
            "@method" => self.method.to_owned(),
            "@target-uri" => {
                let mut url = self.url.clone();
                url.set_fragment(None);
                url.into()
            }
            "@authority" => self.authority(),
            "@scheme" => self.url.scheme().to_owned(),
            "@request-target" => format!("{}{}", self.url.path(), query().unwrap_or_default()),
            "@path" => self.url.path().to_owned(),
            "@query" => query().unwrap_or_else(|| "?".to_owned()),
            _ => return Err(unsupported()),
        })
    }

    /// Host and port, without the port that is the scheme's own.
    fn authority(&self) -> String {
        let host = self.url.host_str().unwrap_or_default().to_ascii_lowercase();
        match self.url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }

    /// The one value of a query's parameter. `name` and the value are percent-encoded (section 2.2.8).
    fn query_parameter(&self, name: &str) -> Result<String, WireError> {
        let matches = |(key, _): &(std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)| encode(key) == name;
        let mut values = self.url.query_pairs().filter(matches).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(encode(&value)),
            _ => Err(fault("@query-param", format!("must be there once: {name}"))),
        }
    }
}

/// A list of components with its parameters, as it stands in `Signature-Input`.
pub(super) fn parameters(covered: &InnerList) -> Result<String, WireError> {
    let list: List = vec![ListEntry::InnerList(covered.clone())];
    list.serialize().ok_or_else(|| fault(SIGNATURE_INPUT, "must be a structured field"))
}

/// One member of a field that is a dictionary.
fn member(value: &str, key: &str) -> Option<String> {
    let dictionary: Dictionary = Parser::new(value).parse().ok()?;
    match dictionary.get(key)? {
        ListEntry::Item(Item { bare_item: BareItem::Boolean(true), params }) if params.is_empty() => {
            Some("?1".to_owned())
        }
        ListEntry::Item(item) => Some(item.serialize()),
        inner @ ListEntry::InnerList(_) => vec![inner.clone()].serialize(),
    }
}

/// Percent-encoding of everything that is not unreserved.
fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~*".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
