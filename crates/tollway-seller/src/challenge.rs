//! The 402 of a fixed set of offers, encoded once but for the resource URL: an unpaid request costs no JSON
//! work. What stands in it is decided in [`crate::offers`].

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;
use http::HeaderValue;
use tollway_core::model::{PaymentRequired, X402Version};
use tollway_core::wire;

/// `PAYMENT-REQUIRED` (v2) and the body (v1), with a gap where the resource URL goes.
#[derive(Clone, Debug)]
pub(crate) struct Challenge {
    header: HeaderTemplate,
    body: Vec<String>,
}

impl Challenge {
    /// Encodes `v2` for the header and `v1` for the body. The URL in them is replaced on rendering.
    pub(crate) fn new(v2: &PaymentRequired, v1: &PaymentRequired) -> Self {
        let header = split_at_url(v2, X402Version::V2);
        let (before, after) = match header.as_slice() {
            [before, after] => (before.as_str(), after.as_str()),
            // Without offers there is no URL to place; the header then is constant.
            other => (other.first().map_or("", String::as_str), ""),
        };
        Self { header: HeaderTemplate::new(before, after), body: split_at_url(v1, X402Version::V1) }
    }

    /// The length of the header but for the URL, bytes.
    pub(crate) fn header_bytes(&self) -> usize {
        self.header.head.len() + self.header.tails[0].1.len()
    }

    /// The header for the resource at `url`, which must be safe inside a JSON string.
    pub(crate) fn header(&self, url: &str) -> Option<HeaderValue> {
        HeaderValue::from_maybe_shared(Bytes::from(self.header.render(url))).ok()
    }

    /// The body, as [`Self::header`].
    pub(crate) fn body(&self, url: &str) -> Bytes {
        let gaps = self.body.len().saturating_sub(1);
        let length = self.body.iter().map(String::len).sum::<usize>() + gaps * url.len();
        let mut body = String::with_capacity(length);
        for (index, part) in self.body.iter().enumerate() {
            if index > 0 {
                body.push_str(url);
            }
            body.push_str(part);
        }
        Bytes::from(body)
    }
}

/// Base64 of `before`, URL, `after`: all but the URL is encoded at the start, in whole groups of three bytes.
#[derive(Clone, Debug)]
struct HeaderTemplate {
    head: String,
    /// The bytes of `before` that fill no group.
    carry: Vec<u8>,
    /// For each number of bytes of `after` that complete the URL's last group: those bytes, and the rest encoded.
    tails: [(Vec<u8>, String); 3],
}

impl HeaderTemplate {
    fn new(before: &str, after: &str) -> Self {
        let (whole, carry) = before.as_bytes().split_at(before.len() / 3 * 3);
        let tail = |count: usize| {
            let (taken, rest) = after.as_bytes().split_at(count.min(after.len()));
            (taken.to_vec(), STANDARD.encode(rest))
        };
        Self { head: STANDARD.encode(whole), carry: carry.to_vec(), tails: [tail(0), tail(1), tail(2)] }
    }

    fn render(&self, url: &str) -> String {
        let mut middle = Vec::with_capacity(self.carry.len() + url.len() + 2);
        middle.extend_from_slice(&self.carry);
        middle.extend_from_slice(url.as_bytes());
        let (taken, tail) = &self.tails[(3 - middle.len() % 3) % 3];
        middle.extend_from_slice(taken);
        let mut header = String::with_capacity(self.head.len() + middle.len().div_ceil(3) * 4 + tail.len());
        header.push_str(&self.head);
        STANDARD_NO_PAD.encode_string(&middle, &mut header);
        header.push_str(tail);
        header
    }
}

/// The JSON of `required` in pieces: the URL goes between each two.
fn split_at_url(required: &PaymentRequired, version: X402Version) -> Vec<String> {
    let encode = |url: &str| {
        let mut required = required.clone();
        if let Some(resource) = &mut required.resource {
            url.clone_into(&mut resource.url);
        }
        serde_json::to_string(&wire::encode_payment_required(&required, version)).unwrap_or_default()
    };
    // A marker that stands nowhere else, whatever the seller wrote into descriptions.
    let plain = encode("");
    let mut marker = "tollway:url".to_owned();
    while plain.contains(&marker) {
        marker.push('~');
    }
    encode(&marker).split(&marker).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use tollway_core::model::{PaymentRequired, PaymentRequirements, ResourceInfo, X402Version};
    use tollway_core::{Amount, Network, SchemeName, wire};

    use super::Challenge;

    #[test]
    fn a_rendered_challenge_is_what_the_wire_would_encode() {
        let offer = PaymentRequirements {
            scheme: SchemeName::EXACT,
            network: Network::evm(8453),
            amount: Amount::from(10_000u64),
            asset: "0xA".to_owned(),
            pay_to: "0xB".to_owned(),
            max_timeout_seconds: 300,
            extra: serde_json::Map::new(),
            other: serde_json::Map::new(),
        };
        let mut required = PaymentRequired {
            version: X402Version::V2,
            error: Some("Payment required".to_owned()),
            resource: Some(ResourceInfo {
                description: Some("tollway:url and tollway:url~".to_owned()),
                ..ResourceInfo::new("")
            }),
            accepts: vec![offer.clone(), offer],
            extensions: serde_json::Map::new(),
            other: serde_json::Map::new(),
        };
        let challenge = Challenge::new(&required, &required);
        for length in 0..7 {
            let url = format!("https://api.example.com/{}", "x".repeat(length));
            required.resource.as_mut().unwrap().url.clone_from(&url);
            let (header, body) = (challenge.header(&url), challenge.body(&url));
            let v2 = wire::encode_payment_required(&required, X402Version::V2);
            let v1 = wire::encode_payment_required(&required, X402Version::V1);
            assert_eq!(header.unwrap(), wire::encode_header(&v2));
            assert_eq!(body, serde_json::to_string(&v1).unwrap());
        }
    }
}
