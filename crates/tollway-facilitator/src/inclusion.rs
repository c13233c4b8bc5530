//! When a payment counts as settled on a network: what an operator decides, by value, and what a route may ask for on
//! top.

use serde_json::Value;
use tollway_core::model::PaymentRequirements;
use tollway_core::{Amount, ErrorCode, Network, Refusal};

/// The most confirmations that anybody may ask for.
pub const MAX_CONFIRMATIONS: u32 = 64;
/// The name in `extra` of how many confirmations a route asks for.
const FIELD: &str = "confirmations";

/// What counts as included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inclusion {
    /// A receipt, as soon as the node gives one, even of a block in the making.
    Preconfirmation,
    /// A block of the chain.
    Block,
    /// That many blocks on top of its own, at most [`MAX_CONFIRMATIONS`].
    Confirmations(u32),
}

/// How a network is settled on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// What counts as included.
    pub inclusion: Inclusion,
    /// More confirmations for more money: from this amount on (atomic units), at least so many.
    pub thresholds: Vec<(Amount, u32)>,
    /// How many blocks on top make a block final: no reorganisation goes deeper.
    pub final_depth: u64,
}

impl Profile {
    /// What is usual on a network.
    ///
    /// ```
    /// use tollway_core::Network;
    /// use tollway_facilitator::{Inclusion, Profile};
    /// assert_eq!(Profile::usual(&Network::evm(8453)).inclusion, Inclusion::Block);
    /// ```
    pub fn usual(network: &Network) -> Self {
        let final_depth = if network.evm_chain_id() == Some(31_337) { 5 } else { 12 };
        Self { inclusion: Inclusion::Block, thresholds: Vec::new(), final_depth }
    }

    /// How many confirmations `requirements` need: the route may ask for more than the operator, never for less.
    pub(crate) fn confirmations(&self, requirements: &PaymentRequirements) -> Result<u32, Refusal> {
        let own = match self.inclusion {
            Inclusion::Preconfirmation | Inclusion::Block => 0,
            Inclusion::Confirmations(blocks) => blocks,
        };
        let of_value = self
            .thresholds
            .iter()
            .filter(|(from, _)| requirements.amount.atomic() >= from.atomic())
            .map(|(_, blocks)| *blocks)
            .max()
            .unwrap_or(0);
        Ok(own.max(of_value).max(asked(requirements)?))
    }

    /// What no engine can work with, a sentence each.
    ///
    /// ```
    /// use tollway_core::Network;
    /// use tollway_facilitator::{Inclusion, Profile};
    /// let mut profile = Profile::usual(&Network::evm(8453));
    /// assert!(profile.faults().is_empty());
    /// profile.inclusion = Inclusion::Confirmations(1_000);
    /// assert_eq!(profile.faults(), ["confirmations: must be at most 64"]);
    /// ```
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut asked = self.thresholds.iter().map(|(_, blocks)| *blocks).collect::<Vec<_>>();
        if let Inclusion::Confirmations(blocks) = self.inclusion {
            asked.push(blocks);
        }
        if asked.iter().any(|blocks| *blocks > MAX_CONFIRMATIONS) {
            faults.push(format!("confirmations: must be at most {MAX_CONFIRMATIONS}"));
        }
        if !(1..=1_000).contains(&self.final_depth) {
            faults.push("final_depth: must be between 1 and 1000".to_owned());
        }
        faults
    }
}

/// What the route asks for.
fn asked(requirements: &PaymentRequirements) -> Result<u32, Refusal> {
    let most = u64::from(MAX_CONFIRMATIONS);
    match requirements.extra.get(FIELD) {
        None | Some(Value::Null) => Ok(0),
        Some(asked) => asked
            .as_u64()
            .filter(|blocks| *blocks <= most)
            .and_then(|blocks| u32::try_from(blocks).ok())
            .ok_or_else(|| {
                let field = format!("paymentRequirements.extra.{FIELD}");
                let rule = format!("must be an integer between 0 and {MAX_CONFIRMATIONS}");
                Refusal::new(ErrorCode::INVALID_PAYMENT_REQUIREMENTS, field, rule)
            }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tollway_core::model::PaymentRequirements;
    use tollway_core::{Amount, JsonObject, Network, SchemeName};

    use super::{Inclusion, Profile};

    fn offer(amount: u64, extra: serde_json::Value) -> PaymentRequirements {
        PaymentRequirements {
            scheme: SchemeName::EXACT,
            network: Network::evm(1),
            amount: Amount::from(amount),
            asset: String::new(),
            pay_to: String::new(),
            max_timeout_seconds: 60,
            extra: extra.as_object().cloned().unwrap_or_default(),
            other: JsonObject::new(),
        }
    }

    #[test]
    fn a_route_may_ask_for_more_confirmations_and_never_for_fewer() {
        let profile = Profile {
            inclusion: Inclusion::Confirmations(2),
            thresholds: vec![(Amount::from(1_000), 5), (Amount::from(10_000), 9)],
            final_depth: 12,
        };
        let needs = |amount, extra| profile.confirmations(&offer(amount, extra)).unwrap();
        assert_eq!(needs(999, json!({})), 2);
        assert_eq!(needs(999, json!({"confirmations": 1})), 2);
        assert_eq!(needs(999, json!({"confirmations": 64})), 64);
        assert_eq!(needs(1_000, json!({"confirmations": null})), 5);
        assert_eq!(needs(10_000, json!({"confirmations": 6})), 9);
        for wrong in [json!(65), json!(-1), json!("1"), json!(1.5), json!([1])] {
            let refusal = profile.confirmations(&offer(1, json!({ "confirmations": wrong }))).unwrap_err();
            assert_eq!(refusal.field, "paymentRequirements.extra.confirmations");
        }
    }
}
