//! Echoes: a payment carries back the extensions of the 402 that its buyer uses, with what the buyer adds. What the seller
//! said must still be in them.

use serde_json::Value;

use super::{builder_code, sign_in};
use crate::JsonObject;

/// Approvals of Permit2 beside a payment: what of them is the scheme's is not known here.
const GAS_SPONSORING: [&str; 2] = ["eip2612GasSponsoring", "erc20ApprovalGasSponsoring"];

/// The extension whose echo is not what was declared, if there is one. What is not echoed was not used: that is fine.
///
/// ```
/// use serde_json::json;
/// use tollway_core::extension::echo;
/// let declared = json!({ "bazaar": { "info": { "a": 1 } } });
/// let verdict = |echoed: serde_json::Value| {
///     echo::mismatch(declared.as_object().unwrap(), echoed.as_object().unwrap()).map(str::to_owned)
/// };
/// assert_eq!(verdict(json!({ "bazaar": { "info": { "a": 1, "mine": 2 } } })), None);
/// assert_eq!(verdict(json!({ "bazaar": { "info": { "a": 2 } } })).as_deref(), Some("bazaar"));
/// ```
pub fn mismatch<'a>(declared: &JsonObject, echoed: &'a JsonObject) -> Option<&'a str> {
    let is_other = |(name, theirs): (&'a String, &Value)| {
        let theirs = info(theirs);
        let is_kept = match declared.get(name) {
            Some(ours) => contains(name, info(ours), theirs),
            // A code of the seller's that the seller never gave would be written on chain in its name.
            None if name == builder_code::NAME => theirs.get("a").is_none_or(Value::is_null),
            None => true,
        };
        (!is_kept).then_some(name.as_str())
    };
    echoed.iter().find_map(is_other)
}

/// What a buyer answers to. The `schema` beside it only describes it.
fn info(extension: &Value) -> &Value {
    extension.get("info").unwrap_or(extension)
}

fn contains(name: &str, ours: &Value, theirs: &Value) -> bool {
    let (Some(ours), Some(theirs)) = (ours.as_object(), theirs.as_object()) else { return ours == theirs };
    if name == builder_code::NAME && ours.get("a") != theirs.get("a") {
        return false;
    }
    let is_kept = |(field, ours): (&String, &Value)| match theirs.get(field) {
        // Each 402 has its own.
        _ if name == sign_in::NAME && ["nonce", "issuedAt", "expirationTime"].contains(&field.as_str()) => {
            true
        }
        Some(theirs) => is_within(ours, theirs),
        // The extension's own example of a payment leaves out the words for people.
        None => GAS_SPONSORING.contains(&name) && field == "description",
    };
    if name != builder_code::NAME {
        return ours.iter().all(is_kept);
    }
    builder_code::is_appended(ours.get("s"), theirs.get("s"))
        && ours.iter().filter(|(field, _)| *field != "s").all(is_kept)
}

fn is_within(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            ours.iter().all(|(name, ours)| theirs.get(name).is_some_and(|theirs| is_within(ours, theirs)))
        }
        (ours, theirs) => ours == theirs,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::mismatch;

    fn is_echo(declared: &Value, echoed: &Value) -> bool {
        mismatch(declared.as_object().unwrap(), echoed.as_object().unwrap()).is_none()
    }

    #[test]
    fn an_echo_must_contain_the_declared_info() {
        let declared = json!({"e": {"info": {"a": 1, "b": {"c": [1, 2]}}, "schema": {"x": 1}}});
        for good in [
            json!({}),
            json!({"other": 1}),
            json!({"e": {"info": {"a": 1, "b": {"c": [1, 2], "more": 1}, "mine": 2}}}),
            json!({"e": {"a": 1, "b": {"c": [1, 2]}}}),
        ] {
            assert!(is_echo(&declared, &good), "{good}");
        }
        for bad in [
            json!({"e": 1}),
            json!({"e": null}),
            json!({"e": {}}),
            json!({"e": {"info": {"a": 1}}}),
            json!({"e": {"info": {"a": 2, "b": {"c": [1, 2]}}}}),
            json!({"e": {"info": {"a": 1, "b": {"c": [1, 2, 3]}}}}),
        ] {
            assert!(!is_echo(&declared, &bad), "{bad}");
        }
    }

    #[test]
    fn an_approval_may_leave_out_the_words_that_told_of_it_and_nothing_else() {
        for name in ["eip2612GasSponsoring", "erc20ApprovalGasSponsoring"] {
            let said = |info: Value| json!({ name: { "info": info } });
            let declared = said(json!({"description": "x", "version": "1"}));
            assert!(is_echo(&declared, &said(json!({"version": "1", "from": "0x1"}))));
            assert!(is_echo(&declared, &said(json!({"version": "1", "from": "0x1", "description": "x"}))));
            for bad in
                [json!({"version": "1", "description": "y"}), json!({"version": "2"}), json!({"from": "0x1"})]
            {
                assert!(!is_echo(&declared, &said(bad.clone())), "{bad}");
            }
        }
    }

    #[test]
    fn a_sign_in_echo_may_be_of_an_earlier_402_and_no_other_site() {
        let info = |nonce: &str, domain: &str| json!({"sign-in-with-x": {"info": {"nonce": nonce, "issuedAt": nonce, "domain": domain}}});
        assert!(is_echo(&info("1", "a.example"), &info("2", "a.example")));
        assert!(!is_echo(&info("1", "a.example"), &info("1", "b.example")));
        let none = json!({"sign-in-with-x": {"info": {"domain": "a.example"}}});
        assert!(is_echo(&info("1", "a.example"), &none), "a buyer may leave out what changes");
    }

    #[test]
    fn builder_codes_are_appended_and_the_sellers_own_is_the_sellers() {
        let code = |info: Value| json!({ "builder-code": { "info": info } });
        let declared = code(json!({"a": "shop", "s": ["one"]}));
        for good in [json!({"a": "shop", "s": ["mine", "one"]}), json!({"a": "shop", "s": "one"})] {
            assert!(is_echo(&declared, &code(good.clone())), "{good}");
        }
        assert!(
            is_echo(&declared, &json!({"builder-code": {"a": "shop", "s": ["one"]}})),
            "without info, as the text has it"
        );
        let eleven: Vec<String> = (0..10).map(|at| format!("c{at}")).chain(["one".to_owned()]).collect();
        for bad in [
            json!({"a": "other", "s": ["one"]}),
            json!({"s": ["one"]}),
            json!({"a": "shop"}),
            json!({"a": "shop", "s": ["mine"]}),
            json!({"a": "shop", "s": eleven}),
            json!({"a": "shop", "s": ["one", 2]}),
            json!({"a": ["shop"], "s": ["one"]}),
        ] {
            assert!(!is_echo(&declared, &code(bad.clone())), "{bad}");
        }
        let nothing = json!({});
        assert!(is_echo(&nothing, &code(json!({"s": ["mine"]}))));
        assert!(!is_echo(&nothing, &code(json!({"a": "shop"}))), "a code that no seller gave");
    }
}
