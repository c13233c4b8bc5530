//! The seam for extensions of the protocol: what one adds to a 402, and what it says once a request is paid for.
//!
//! What lives here: the trait, its deadlines, and the challenges kept with what extensions declared in them. What does not:
//! what never changes on a route (it is in `About::extensions`, encoded once, and held against the buyer's echo), and the
//! extensions themselves, each in a file of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use parking_lot::Mutex;
use tollway_core::model::{FacilitatorRequest, PaymentRequirements, SettleResponse};
use tollway_core::{Amount, BoxFuture, Fingerprint, JsonObject, UnixTime};

/// How long one extension may take, for a declaration or for a word on a payment. Then it says nothing.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many resources' challenges are kept for one set of offers: at least this many, at most twice.
const RECENT: usize = 512;

/// An extension whose declaration depends on the resource or the time, or that has something to say about a payment.
///
/// Nothing of it can keep an answer from leaving: an extension that fails says nothing.
pub(crate) trait RouteExtension: Send + Sync + std::fmt::Debug {
    /// Its name on the wire.
    fn name(&self) -> &str;

    /// What the 402 to `asked` declares, and until when the same may be told to others. Not held against echoes.
    fn declare<'a>(&'a self, asked: Asked<'a>) -> BoxFuture<'a, Option<Declared>> {
        let _ = asked;
        Box::pin(std::future::ready(None))
    }

    /// What the settlement response says of `paid`. The money has moved, the handler has succeeded, and the answer is about
    /// to leave.
    fn attest<'a>(&'a self, paid: Paid<'a>) -> BoxFuture<'a, Option<JsonObject>> {
        let _ = paid;
        Box::pin(std::future::ready(None))
    }
}

/// A request without a payment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// The offers, in the order they are told.
    pub(crate) offers: &'a [PaymentRequirements],
    /// The resource as buyers are told it.
    pub(crate) url: &'a str,
    pub(crate) now: UnixTime,
}

/// What one extension declares.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub(crate) declaration: JsonObject,
    /// The same declaration is told until then; not once more if that is now.
    pub(crate) good_until: UnixTime,
}

/// A payment that has settled, for an answer about to leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paid<'a> {
    /// The payment, and the offer that it is for.
    pub(crate) request: &'a FacilitatorRequest,
    pub(crate) settlement: &'a SettleResponse,
    pub(crate) payer: &'a str,
    /// What has moved, atomic units.
    pub(crate) amount: Amount,
    /// The resource as buyers are told it.
    pub(crate) url: &'a str,
    /// The request that was served.
    pub(crate) fingerprint: Fingerprint,
    pub(crate) now: UnixTime,
}

/// The extensions of a route.
pub(crate) type Extensions = Vec<Arc<dyn RouteExtension>>;

/// What `extensions` declare to `asked`, by name, and until when; no time if one of them had nothing to say now.
pub(crate) async fn declare(extensions: &Extensions, asked: Asked<'_>) -> (JsonObject, Option<UnixTime>) {
    let mut declarations = JsonObject::new();
    let mut good_until = Some(UnixTime(u64::MAX));
    for extension in extensions {
        match tokio::time::timeout(PATIENCE, extension.declare(asked)).await {
            Ok(Some(declared)) => {
                good_until = good_until.map(|until| until.min(declared.good_until));
                declarations.insert(extension.name().to_owned(), declared.declaration.into());
            }
            Ok(None) => good_until = None,
            Err(_) => {
                tracing::warn!(extension = extension.name(), "an extension took too long, and is left out");
                good_until = None;
            }
        }
    }
    (declarations, good_until)
}

/// What `extensions` say of `paid`, by name.
pub(crate) async fn attest(extensions: &Extensions, paid: Paid<'_>) -> JsonObject {
    let mut words = JsonObject::new();
    for extension in extensions {
        match tokio::time::timeout(PATIENCE, extension.attest(paid)).await {
            Ok(Some(word)) => drop(words.insert(extension.name().to_owned(), word.into())),
            Ok(None) => {}
            Err(_) => {
                tracing::warn!(extension = extension.name(), "an extension took too long, and is left out")
            }
        }
    }
    words
}

/// `PAYMENT-REQUIRED` with what extensions declare in it, of one set of offers, by resource, each with until when it is good.
#[derive(Debug, Default)]
pub(crate) struct Challenges(Mutex<Recent<(HeaderValue, UnixTime)>>);

impl Challenges {
    /// The header for the resource at `url`, if it is still good.
    pub(crate) fn get(&self, url: &str, now: UnixTime) -> Option<HeaderValue> {
        let (header, good_until) = self.0.lock().get(url)?;
        (now < good_until).then_some(header)
    }

    pub(crate) fn keep(&self, url: &str, header: HeaderValue, good_until: UnixTime) {
        self.0.lock().keep(url, (header, good_until));
    }
}

/// A bounded table by text that strangers choose: what was not used while [`RECENT`] others were added is forgotten.
#[derive(Debug)]
pub(crate) struct Recent<V> {
    young: HashMap<String, V>,
    old: HashMap<String, V>,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<V: Clone> Recent<V> {
    pub(crate) fn get(&mut self, key: &str) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.insert(key, value.clone());
        Some(value)
    }

    pub(crate) fn keep(&mut self, key: &str, value: V) {
        self.old.remove(key);
        self.insert(key.to_owned(), value);
    }

    fn insert(&mut self, key: String, value: V) {
        if self.young.len() >= RECENT && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::{RECENT, Recent};

    #[test]
    fn what_strangers_add_is_bounded_and_what_is_used_stays() {
        let mut recent = Recent::default();
        recent.keep("used", 0);
        for number in 1..10 * RECENT {
            recent.keep(&number.to_string(), number);
            assert_eq!(recent.get("used"), Some(0), "{number}");
            assert!(recent.young.len() + recent.old.len() <= 2 * RECENT);
        }
        assert_eq!(recent.get("1"), None);
        recent.keep("used", 7);
        assert_eq!(recent.get("used"), Some(7));
    }
}
