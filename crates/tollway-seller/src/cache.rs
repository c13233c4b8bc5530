//! Caches: what was paid for is for the payer alone, and a 402 is for nobody to keep.

use http::header::{CACHE_CONTROL, VARY};
use http::{HeaderMap, HeaderValue};

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const PRIVATE: HeaderValue = HeaderValue::from_static("private");
const PAYMENT_HEADERS: HeaderValue =
    HeaderValue::from_static("PAYMENT-SIGNATURE, X-PAYMENT, PAYMENT-CREDIT, SIGN-IN-WITH-X");

/// Says that answers differ by payment: on every answer of a priced route.
pub(crate) fn vary(headers: &mut HeaderMap) {
    headers.append(VARY, PAYMENT_HEADERS);
}

/// Keeps an answer of the paywall's own out of every cache.
pub(crate) fn no_store(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, NO_STORE);
}

/// Keeps a paid answer out of shared caches, whatever the handler allowed them.
pub(crate) fn private(headers: &mut HeaderMap) {
    let mut directives: Vec<String> = Vec::new();
    for value in headers.get_all(CACHE_CONTROL) {
        directives.extend(value.to_str().unwrap_or("no-store").split(',').map(|part| part.trim().to_owned()));
    }
    let is = |directive: &str, name: &str| {
        directive.split('=').next().is_some_and(|own| own.eq_ignore_ascii_case(name))
    };
    directives
        .retain(|directive| !directive.is_empty() && !is(directive, "public") && !is(directive, "s-maxage"));
    if !directives
        .iter()
        .any(|directive| ["private", "no-store"].iter().any(|closed| directive.eq_ignore_ascii_case(closed)))
    {
        directives.push("private".to_owned());
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_str(&directives.join(", ")).unwrap_or(PRIVATE));
}

#[cfg(test)]
mod tests {
    use http::header::CACHE_CONTROL;
    use http::{HeaderMap, HeaderValue};

    #[test]
    fn shared_caches_never_keep_a_paid_answer() {
        for (handler, expected) in [
            ("", "private"),
            ("max-age=60", "max-age=60, private"),
            ("public, max-age=60, s-maxage=9", "max-age=60, private"),
            ("no-store", "no-store"),
            ("Private", "Private"),
            ("private=\"x-a\", max-age=1", "private=\"x-a\", max-age=1, private"),
        ] {
            let mut headers = HeaderMap::new();
            if !handler.is_empty() {
                headers.insert(CACHE_CONTROL, HeaderValue::from_str(handler).unwrap());
            }
            super::private(&mut headers);
            assert_eq!(headers[CACHE_CONTROL], expected);
        }
    }
}
