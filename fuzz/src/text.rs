//! The parsers of single values.

use tollway_core::{Amount, Fingerprint, Money, Network};
use url::Url;

/// Atomic amounts: one spelling each.
pub(crate) fn amount(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Ok(amount) = text.parse::<Amount>() else { return };
    assert_eq!(amount.to_string(), text);
    for decimals in [0, 6, 18, 30, 255] {
        let decimal = amount.to_decimal(decimals);
        let digits = decimal.replace('.', "");
        assert_eq!(digits.trim_matches('0'), text.trim_matches('0'));
    }
}

/// Prices: exact, or refused.
pub(crate) fn money(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Ok(money) = text.parse::<Money>() else { return };
    assert_eq!(money.to_string().parse(), Ok(money.clone()));
    for decimals in 0..=40 {
        if let Ok(amount) = money.to_atomic(decimals) {
            let printed = money.to_string();
            let number = printed.trim_start_matches('$').split(' ').next().unwrap_or_default();
            assert_eq!(amount.to_decimal(decimals), number);
        }
    }
}

/// Networks: one spelling each, and their older names.
pub(crate) fn network(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Some(network) = Network::from_v1_name(text) {
        assert_eq!(network.v1_name(), Some(text));
        assert_eq!(network.as_str().parse(), Ok(network));
    }
    let Ok(network) = text.parse::<Network>() else { return };
    assert_eq!(network.as_str(), text);
    assert_eq!(format!("{}:{}", network.namespace(), network.reference()), text);
    if let Some(id) = network.evm_chain_id() {
        assert_eq!(Network::evm(id), network);
    }
}

/// URLs: the canonical spelling is a URL, is its own canonical spelling, and has the same escapes undone.
pub(crate) fn canonical_url(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Ok(url) = text.parse::<Url>() else { return };
    let canonical = tollway_core::canonical_url(&url);
    let again: Url = canonical.parse().unwrap_or_else(|error| panic!("{canonical}: {error}"));
    assert_eq!(tollway_core::canonical_url(&again), canonical, "from {url}");
    assert_eq!(Fingerprint::of("GET", &url, b""), Fingerprint::of("GET", &again, b""));
    let mut bare = url.clone();
    bare.set_fragment(None);
    assert_eq!(unescaped(canonical.as_bytes()), unescaped(bare.as_str().as_bytes()), "from {url}");
}

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// The bytes a URL stands for. A percent sign that begins no escape stands for itself.
fn unescaped(mut rest: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::new();
    while let [first, after @ ..] = rest {
        let escape = match (first, after) {
            (b'%', [high, low, ..]) => digit(*high).zip(digit(*low)),
            _ => None,
        };
        match escape {
            Some((high, low)) => {
                bytes.push(high * 16 + low);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}
