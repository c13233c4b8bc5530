//! The body of a channel's row as JSON: written by this wallet, read by whoever shows it.

use serde_json::{Map, Value, json};
use tollway_core::{Amount, ChannelKey, JsonObject, SignedDeposit, UnixTime};

use crate::channel::record::{ChannelRecord, PendingDeposit, Promise};
use crate::intent::json::{amount_of, offer_json, optional, put, read_offer, text_of};

/// The version of what is written.
const VERSION: u64 = 1;

impl ChannelRecord {
    pub(crate) fn to_json(&self) -> String {
        let mut body = Map::new();
        body.insert("v".to_owned(), VERSION.into());
        body.insert("channel".to_owned(), self.key.as_str().into());
        body.insert("index".to_owned(), self.index.into());
        body.insert("terms".to_owned(), self.terms.clone().into());
        body.insert("offer".to_owned(), offer_json(&self.offer));
        body.insert("url".to_owned(), self.url.as_str().into());
        let amounts = [
            ("charged", self.charged),
            ("signed", self.signed),
            ("balance", self.balance),
            ("claimed", self.claimed),
            ("exposed", self.exposed),
            ("unattributed", self.unattributed),
        ];
        for (name, amount) in amounts {
            body.insert(name.to_owned(), amount.to_string().into());
        }
        put(&mut body, "deposit", self.deposit.as_ref().map(deposit_json));
        let promises: Vec<Value> = self.promises.iter().map(promise_json).collect();
        body.insert("promises".to_owned(), promises.into());
        put(&mut body, "broken", self.broken.as_deref());
        put(&mut body, "withdrawRequestedAt", self.withdraw_requested_at.map(|at| at.0));
        body.insert("usedAt".to_owned(), self.used_at.0.into());
        body.insert("isKnown".to_owned(), self.is_known.into());
        Value::Object(body).to_string()
    }

    pub(crate) fn from_json(text: &str) -> Option<Self> {
        let body: Value = serde_json::from_str(text).ok()?;
        if body["v"].as_u64() != Some(VERSION) {
            return None;
        }
        let amount = |name: &str| amount_of(&body[name]);
        Some(Self {
            key: ChannelKey::new(text_of(&body["channel"])?),
            index: u32::try_from(body["index"].as_u64()?).ok()?,
            terms: body["terms"].as_object()?.clone(),
            offer: read_offer(&body["offer"])?,
            url: text_of(&body["url"])?,
            charged: amount("charged")?,
            signed: amount("signed")?,
            balance: amount("balance")?,
            claimed: amount("claimed")?,
            deposit: optional(&body["deposit"], read_deposit)?,
            exposed: amount("exposed")?,
            promises: body["promises"].as_array()?.iter().map(read_promise).collect::<Option<_>>()?,
            broken: text_of(&body["broken"]),
            withdraw_requested_at: body["withdrawRequestedAt"].as_u64().map(UnixTime),
            used_at: UnixTime(body["usedAt"].as_u64()?),
            is_known: body["isKnown"].as_bool()?,
            unattributed: amount("unattributed")?,
        })
    }
}

fn deposit_json(pending: &PendingDeposit) -> Value {
    let signed = pending.signed.as_ref().map(|signed| {
        json!({
            "amount": signed.amount.to_string(), "expiresAt": signed.expires_at.0, "body": signed.body,
        })
    });
    json!({ "amount": pending.amount.to_string(), "signed": signed, "isRefuted": pending.is_refuted })
}

fn read_deposit(value: &Value) -> Option<PendingDeposit> {
    let signed = |value: &Value| {
        let body: JsonObject = value["body"].as_object()?.clone();
        let expires_at = UnixTime(value["expiresAt"].as_u64()?);
        Some(SignedDeposit { amount: amount_of(&value["amount"])?, expires_at, body })
    };
    Some(PendingDeposit {
        amount: amount_of(&value["amount"])?,
        signed: optional(&value["signed"], signed)?,
        is_refuted: value["isRefuted"].as_bool()?,
    })
}

fn promise_json(promise: &Promise) -> Value {
    let charged: Option<String> = promise.charged.map(|charged: Amount| charged.to_string());
    json!({
        "intent": promise.intent.to_string(), "base": promise.base.to_string(),
        "ceiling": promise.ceiling.to_string(), "hasDeposit": promise.has_deposit,
        "keptUntil": promise.kept_until.0, "charged": charged,
    })
}

fn read_promise(value: &Value) -> Option<Promise> {
    Some(Promise {
        intent: value["intent"].as_str()?.parse().ok()?,
        base: amount_of(&value["base"])?,
        ceiling: amount_of(&value["ceiling"])?,
        has_deposit: value["hasDeposit"].as_bool()?,
        kept_until: UnixTime(value["keptUntil"].as_u64()?),
        charged: optional(&value["charged"], amount_of)?,
    })
}
