//! Phase three: what the buyer echoes of the 402, its resource and its extensions, must be what we said there.

use serde_json::Value;
use tollway_core::model::ResourceInfo;
use tollway_core::{ErrorCode, JsonObject, Refusal, canonical_url};
use url::Url;

use super::select::contains;

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

/// Holds the echo against the declaration. An extension that is not echoed was not used: that is fine. An
/// extension that was not declared is no business of the paywall's.
pub(crate) fn check(declared: &JsonObject, echoed: &JsonObject) -> Result<(), Refusal> {
    for (name, ours) in declared {
        let Some(theirs) = echoed.get(name) else { continue };
        // `info` is what the buyer answers to; `schema` beside it only describes it.
        let is_kept = match (ours.get("info"), theirs.get("info")) {
            (Some(ours), Some(theirs)) => value_contains(theirs, ours),
            (Some(_), None) => false,
            (None, _) => value_contains(theirs, ours),
        };
        if !is_kept {
            let field = format!("extensions.{name}.info");
            let rule = "must contain what the 402 declared, unchanged";
            return Err(Refusal::new(ErrorCode::EXTENSION_ECHO_MISMATCH, field, rule));
        }
    }
    Ok(())
}

fn value_contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => contains(whole, part),
        (whole, part) => whole == part,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::check;

    fn verdict(declared: Value, echoed: Value) -> bool {
        check(declared.as_object().unwrap(), echoed.as_object().unwrap()).is_ok()
    }

    #[test]
    fn an_echo_must_contain_the_declared_info() {
        let declared = json!({"e": {"info": {"a": 1, "b": {"c": [1, 2]}}, "schema": {"x": 1}}});
        for good in [
            json!({}),
            json!({"other": 1}),
            json!({"e": {"info": {"a": 1, "b": {"c": [1, 2], "more": 1}, "mine": 2}}}),
        ] {
            assert!(verdict(declared.clone(), good.clone()), "{good}");
        }
        for bad in [
            json!({"e": 1}),
            json!({"e": {}}),
            json!({"e": {"info": {"a": 1}}}),
            json!({"e": {"info": {"a": 2, "b": {"c": [1, 2]}}}}),
            json!({"e": {"info": {"a": 1, "b": {"c": [1, 2, 3]}}}}),
        ] {
            assert!(!verdict(declared.clone(), bad.clone()), "{bad}");
        }
    }
}
