//! The names of budgets and facts in the ledger, made here and nowhere else.
//!
//! Parts are told apart by `|`. What callers and sellers name is escaped, so that no name can pass for two parts, and cut to
//! a hash where it is long.

use sha2::{Digest, Sha256};
use tollway_core::Network;
use tollway_core::model::PaymentRequirements;
use url::Url;

use crate::policy::asset_key;
use crate::policy::host::authority_of;
use crate::policy::window::Window;

/// The longest part that is written out.
const MAX_PART_BYTES: usize = 200;
/// The longest rule that is written out: with the wallet and the level it fits what a ledger takes.
const MAX_RULE_BYTES: usize = 500;

/// Where a fact of the wallet's is in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FactName {
    /// What facts of its kind have in common.
    pub scope: String,
    /// Its own.
    pub name: String,
}

impl FactName {
    /// The kill switch of a level. It is on while the fact is there; its value is why.
    ///
    /// ```
    /// let switch = tollway_buyer::FactName::switch("0xabc", "team:research");
    /// assert_eq!((&*switch.scope, &*switch.name), ("0xabc|switch", "team:research"));
    /// ```
    pub fn switch(wallet: &str, level: &str) -> Self {
        Self { scope: scope(wallet, "switch"), name: part(level) }
    }

    /// Who has been paid at the host of `url` on `network`: the value of [`KnownPayees`](crate::KnownPayees).
    ///
    /// ```
    /// let url = "https://api.example.com:8443/data".parse().unwrap();
    /// let pin = tollway_buyer::FactName::pin("0xabc", &url, &tollway_core::Network::evm(8453));
    /// assert_eq!((&*pin.scope, &*pin.name), ("0xabc|pin", "api.example.com:8443|eip155:8453"));
    /// ```
    pub fn pin(wallet: &str, url: &Url, network: &Network) -> Self {
        Self { scope: Self::pin_scope(wallet), name: format!("{}|{network}", part(&authority_of(url))) }
    }

    /// What all [pins](Self::pin) of a wallet have in common.
    ///
    /// ```
    /// assert_eq!(tollway_buyer::FactName::pin_scope("0xabc"), "0xabc|pin");
    /// ```
    pub fn pin_scope(wallet: &str) -> String {
        scope(wallet, "pin")
    }

    /// What `offer` has cost at `url` before, whatever the query: the value of [`PriceHistory`](crate::PriceHistory).
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() {
    /// let price = tollway_buyer::FactName::price("0xabc", &url(), &offer().0);
    /// let asset = "eip155:8453/0x833589fcd6edb6e08f4c7c32d4f71b54bda02913";
    /// assert_eq!((&*price.scope, price.name), ("0xabc|price", format!("api.example.com/data|{asset}")));
    /// # }
    /// ```
    pub fn price(wallet: &str, url: &Url, offer: &PaymentRequirements) -> Self {
        let place = part(&format!("{}{}", authority_of(url), url.path()));
        Self { scope: scope(wallet, "price"), name: format!("{place}|{}", asset(offer)) }
    }

    /// What was wrong at the host of `url` the last time, so that nothing was paid there.
    ///
    /// ```
    /// let url = "https://api.example.com/data".parse().unwrap();
    /// let alarm = tollway_buyer::FactName::alarm("0xabc", "price_drift", &url);
    /// assert_eq!((&*alarm.scope, &*alarm.name), ("0xabc|alarm", "price_drift|api.example.com"));
    /// ```
    pub fn alarm(wallet: &str, code: &str, url: &Url) -> Self {
        Self {
            scope: Self::alarm_scope(wallet),
            name: format!("{}|{}", part(code), part(&authority_of(url))),
        }
    }

    /// What all [alarms](Self::alarm) of a wallet have in common.
    ///
    /// ```
    /// assert_eq!(tollway_buyer::FactName::alarm_scope("0xabc"), "0xabc|alarm");
    /// ```
    pub fn alarm_scope(wallet: &str) -> String {
        scope(wallet, "alarm")
    }

    /// A question that waits for its answer.
    ///
    /// ```
    /// assert_eq!(tollway_buyer::FactName::approval("0xabc", "7f").scope, "0xabc|approval");
    /// ```
    pub fn approval(wallet: &str, id: &str) -> Self {
        Self { scope: scope(wallet, "approval"), name: part(id) }
    }
}

/// A budget of a level's.
pub(crate) fn budget(wallet: &str, level: &str, rule: &str, window: Window) -> String {
    let rule = shorten(rule.to_owned(), MAX_RULE_BYTES);
    format!("{}|{}|{rule}|{window}", part(wallet), part(level))
}

/// The name under which a wallet's channels are in the ledger: no wallet's own.
pub(crate) fn channels(wallet: &str) -> String {
    scope(wallet, "channel")
}

/// What every budget of a wallet's begins with.
///
/// ```
/// assert_eq!(tollway_buyer::budget_prefix("0xabc"), "0xabc|");
/// ```
pub fn budget_prefix(wallet: &str) -> String {
    format!("{}|", part(wallet))
}

/// The asset of an offer, on its network, in one spelling.
pub(crate) fn asset(offer: &PaymentRequirements) -> String {
    asset_name(&offer.network, &offer.asset)
}

/// An asset on its network, in one spelling.
pub(crate) fn asset_name(network: &Network, address: &str) -> String {
    let (network, address) = asset_key(network, address);
    format!("{network}/{}", part(&address))
}

/// A part of a name: without what separates parts, and bounded.
pub(crate) fn part(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '|' | ',' | '%' => escaped.push_str(&format!("%{:02X}", u32::from(character))),
            character if character.is_control() => {
                escaped.push_str(&format!("%{:02X}", u32::from(character)))
            }
            character => escaped.push(character),
        }
    }
    shorten(escaped, MAX_PART_BYTES)
}

/// `text`, or how it begins and its hash, in at most `bytes`. Nothing that is escaped has a `%#` in it.
fn shorten(text: String, bytes: usize) -> String {
    const HASH: usize = 66;
    if text.len() <= bytes {
        return text;
    }
    let hash = hex::encode(Sha256::digest(text.as_bytes()));
    let mut end = bytes.saturating_sub(HASH);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}%#{hash}", &text[..end])
}

fn scope(wallet: &str, kind: &str) -> String {
    format!("{}|{kind}", part(wallet))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::{MAX_PART_BYTES, part};

    proptest! {
        #[test]
        fn two_names_are_never_one(a in "[a|,%#0-9\\x00\u{e9}]{0,12}", b in "[a|,%#0-9\\x00\u{e9}]{0,12}") {
            prop_assert_eq!(part(&a) == part(&b), a == b);
            prop_assert!(!part(&a).contains(['|', ',']));
        }

        #[test]
        fn long_names_stay_apart_and_bounded(length in 150usize..400, other in 150usize..400) {
            let (a, b) = ("\u{e9}".repeat(length), "\u{e9}".repeat(other));
            prop_assert_eq!(part(&a) == part(&b), length == other);
            prop_assert!(part(&a).len() <= MAX_PART_BYTES);
        }
    }
}
