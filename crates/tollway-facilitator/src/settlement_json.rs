//! A settlement as the HTTP API shows it and as webhooks tell it: one shape for both. It holds no signature and no
//! signed bytes.

use serde_json::{Value, json};
use tollway_core::JsonObject;
use tollway_ledger::{Settlement, SettlementState};

/// `settlement` in the state `state`, which may be the one that it is about to be in.
pub(crate) fn settlement_json(settlement: &Settlement, state: &SettlementState) -> JsonObject {
    let mut object = JsonObject::new();
    let mut put = |name: &str, value: Value| {
        object.insert(name.to_owned(), value);
    };
    put("id", settlement.id.to_string().into());
    put("state", state_word(state).into());
    put("network", settlement.network.as_str().into());
    put("asset", settlement.asset.as_str().into());
    put("payer", settlement.payer.as_str().into());
    put("payTo", settlement.pay_to.as_str().into());
    put("amount", settlement.amount.to_string().into());
    if let Some(caller) = &settlement.caller {
        put("caller", caller.as_str().into());
    }
    match state {
        SettlementState::Reserved => {}
        SettlementState::Sent { transaction } => put("transaction", transaction.as_str().into()),
        SettlementState::Settled { transaction, log_index, block_number, block_hash, is_final } => {
            put("transaction", transaction.as_str().into());
            put("logIndex", (*log_index).into());
            put("blockNumber", (*block_number).into());
            put("blockHash", block_hash.as_str().into());
            put("final", (*is_final).into());
        }
        SettlementState::Failed { code, message } => {
            put("reason", code.as_str().into());
            put("message", message.as_str().into());
        }
        SettlementState::Abandoned { message } => put("message", message.as_str().into()),
    }
    put("transactions", json!(settlement.transactions));
    put("confirmations", settlement.confirmations.into());
    put("validBefore", settlement.valid_before.0.into());
    put("createdAt", settlement.created_at.0.into());
    put("updatedAt", settlement.updated_at.0.into());
    object
}

/// One word for a state. A payment is `pending` as long as a transaction of it may be out.
pub(crate) const fn state_word(state: &SettlementState) -> &'static str {
    match state {
        SettlementState::Reserved => "reserved",
        SettlementState::Sent { .. } => "pending",
        SettlementState::Settled { .. } => "settled",
        SettlementState::Failed { .. } => "failed",
        SettlementState::Abandoned { .. } => "abandoned",
    }
}
