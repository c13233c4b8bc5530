//! How a step is told.

use serde_json::{Value, json};
use tollway_core::model::SettleResponse;
use tollway_core::{Amount, Network};

/// One step, as it went.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) method: &'static str,
    pub(super) url: String,
    pub(super) status: u16,
    pub(super) expected: u16,
    /// What was charged.
    pub(super) amount: Amount,
    pub(super) settlement: Option<SettleResponse>,
    /// Why it was refused.
    pub(super) reason: Option<String>,
    pub(super) latency_ms: u128,
    pub(super) buyer: (Amount, Amount),
    pub(super) seller: (Amount, Amount),
}

impl Step {
    /// As expected, and the chain moved exactly what was charged.
    pub(super) fn is_ok(&self) -> bool {
        let paid = self.buyer.0.checked_sub(self.buyer.1);
        let received = self.seller.1.checked_sub(self.seller.0);
        self.status == self.expected && paid == Some(self.amount) && received == Some(self.amount)
    }

    pub(super) fn to_json(&self, asset: &str, network: &Network) -> Value {
        let settled = self.settlement.as_ref().filter(|settled| settled.success);
        let pair = |(before, after): (Amount, Amount)| json!({ "before": before.to_string(), "after": after.to_string() });
        json!({
            "step": self.name, "method": self.method, "url": self.url, "status": self.status,
            "expected": self.expected, "ok": self.is_ok(), "amount": self.amount.to_string(),
            "asset": asset, "network": network.as_str(),
            "transaction": settled.map(|settled| settled.transaction.clone()),
            "logIndex": settled.and_then(|settled| settled.extra.get("logIndex").cloned()),
            "latencyMs": u64::try_from(self.latency_ms).unwrap_or(u64::MAX),
            "reason": self.reason, "buyerBalance": pair(self.buyer), "sellerBalance": pair(self.seller),
        })
    }

    pub(super) fn to_text(&self) -> String {
        let mark = if self.is_ok() { "ok" } else { "NOT AS EXPECTED" };
        let dollars = |amount: Amount| format!("${}", amount.to_decimal(6));
        let outcome = match self.settlement.as_ref().filter(|settled| settled.success) {
            Some(settled) => {
                let index =
                    settled.extra.get("logIndex").map_or(String::new(), |index| format!(" log {index}"));
                format!("{}{index}", short(&settled.transaction))
            }
            None => self.reason.clone().unwrap_or_default(),
        };
        format!(
            "{mark:<3} {:<23} {} {:>7} {:>5} ms  buyer {} -> {}  seller {} -> {}  {outcome}",
            self.name,
            self.status,
            dollars(self.amount),
            self.latency_ms,
            dollars(self.buyer.0),
            dollars(self.buyer.1),
            dollars(self.seller.0),
            dollars(self.seller.1),
        )
    }
}

fn short(hash: &str) -> String {
    match (hash.get(..10), hash.get(hash.len().saturating_sub(6)..)) {
        (Some(head), Some(tail)) => format!("tx {head}…{tail}"),
        _ => hash.to_owned(),
    }
}
