//! Phase three: what the buyer echoes of the 402, its resource and its extensions, must be what we said there.

use std::borrow::Cow;

use tollway_core::extension::{echo, sign_in};
use tollway_core::model::ResourceInfo;
use tollway_core::{ErrorCode, JsonObject, Refusal, canonical_url};
use url::Url;

use crate::offers::Offers;

/// Holds the resource that the payment is for against the one announced. Nobody signs it, but a buyer who was
/// asked to pay for something else must not pay for this. v1 payments name none: that is fine.
pub(crate) fn check_resource(announced: &str, echoed: Option<&ResourceInfo>) -> Result<(), Refusal> {
    let Some(ResourceInfo { url, .. }) = echoed else { return Ok(()) };
    let canonical = |url: &str| Url::parse(url).ok().map(|url| canonical_url(&url));
    if url == announced || canonical(url).is_some_and(|url| canonical(announced) == Some(url)) {
        return Ok(());
    }
    let rule = format!("must be {announced}, as the 402 has it");
    Err(Refusal::new(ErrorCode::INVALID_PAYMENT_REQUIREMENTS, "resource.url", rule))
}

/// Holds the echo against what the 402 for the resource at `url` declares. An extension that is not echoed was not used:
/// that is fine.
pub(crate) fn check(offers: &Offers, echoed: &JsonObject, url: &str) -> Result<(), Refusal> {
    let mut declared = Cow::Borrowed(&offers.about.extensions);
    if let Some(door) = &offers.route.door {
        let sign_in = door.declared(offers.about.announced(url));
        declared.to_mut().insert(sign_in::NAME.to_owned(), sign_in.into());
    }
    let Some(name) = echo::mismatch(&declared, echoed) else { return Ok(()) };
    let rule = "must contain what the 402 declared, unchanged";
    Err(Refusal::new(ErrorCode::EXTENSION_ECHO_MISMATCH, format!("extensions.{name}.info"), rule))
}
