//! The body of an intent as JSON: written by this wallet, read by whoever shows it.

use serde_json::{Map, Value, json};
use tollway_core::model::{PaymentRequired, PaymentRequirements};
use tollway_core::{Amount, ChannelKey, Fingerprint, JsonObject, OfferedValue, UnixTime, X402Version, wire};

use crate::intent::record::{
    Alarm, AlarmCode, Answer, ChainFact, ChainVerdict, ChannelNote, IntentRecord, IntentState,
    SignedAuthorization,
};

/// The version of what is written.
const VERSION: u64 = 1;

impl IntentRecord {
    pub(crate) fn to_json(&self) -> String {
        let mut body = Map::new();
        body.insert("v".to_owned(), VERSION.into());
        body.insert("state".to_owned(), self.state.as_str().into());
        body.insert("answer".to_owned(), self.answer.as_str().into());
        let mut request = Map::new();
        put(&mut request, "method", self.method.as_deref());
        request.insert("url".to_owned(), self.url.as_str().into());
        request.insert("host".to_owned(), self.host.as_str().into());
        put(&mut request, "fingerprint", self.fingerprint.map(|print| hex::encode(print.as_bytes())));
        body.insert("request".to_owned(), request.into());
        put(&mut body, "tool", self.tool.as_deref());
        body.insert("offer".to_owned(), offer_json(&self.offer));
        put(&mut body, "value", self.value.as_ref().map(value_json));
        put(&mut body, "resource", self.resource.as_deref());
        put(&mut body, "authorization", self.authorization.as_ref().map(authorization_json));
        body.insert("presented".to_owned(), self.presented.into());
        put(&mut body, "status", self.status);
        let settlement = self.settlement.as_ref();
        put(
            &mut body,
            "settlement",
            settlement.map(|told| wire::encode_settle_response(told, X402Version::V2)),
        );
        put(&mut body, "receipt", self.receipt.clone());
        put(&mut body, "channel", self.channel.as_ref().map(channel_json));
        put(&mut body, "chain", self.chain.as_ref().map(chain_json));
        let alarms: Vec<Value> = self.alarms.iter().map(alarm_json).collect();
        body.insert("alarms".to_owned(), alarms.into());
        put(&mut body, "cause", self.cause.as_deref());
        Value::Object(body).to_string()
    }

    pub(crate) fn from_json(text: &str) -> Option<Self> {
        let body: Value = serde_json::from_str(text).ok()?;
        if body["v"].as_u64() != Some(VERSION) {
            return None;
        }
        let offer = read_offer(&body["offer"])?;
        let request = &body["request"];
        let settlement = match &body["settlement"] {
            Value::Null => None,
            told => Some(wire::decode_settle_response(told.to_string().as_bytes(), &offer.network).ok()?),
        };
        Some(Self {
            state: named(IntentState::ALL, IntentState::as_str, &body["state"])?,
            answer: named(Answer::ALL, Answer::as_str, &body["answer"])?,
            method: text_of(&request["method"]),
            url: text_of(&request["url"])?,
            host: text_of(&request["host"])?,
            fingerprint: read_fingerprint(&request["fingerprint"]),
            tool: text_of(&body["tool"]),
            value: optional(&body["value"], read_value)?,
            resource: text_of(&body["resource"]),
            authorization: optional(&body["authorization"], read_authorization)?,
            presented: u32::try_from(body["presented"].as_u64()?).ok()?,
            status: body["status"].as_u64().and_then(|status| u16::try_from(status).ok()),
            settlement,
            receipt: Some(body["receipt"].clone()).filter(|receipt| !receipt.is_null()),
            channel: optional(&body["channel"], read_channel)?,
            chain: optional(&body["chain"], read_chain)?,
            alarms: body["alarms"].as_array()?.iter().map(read_alarm).collect::<Option<_>>()?,
            cause: text_of(&body["cause"]),
            offer,
        })
    }
}

pub(crate) fn put(object: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object.insert(name.to_owned(), value.into());
    }
}

/// What is there and cannot be read spoils the whole.
pub(crate) fn optional<T>(value: &Value, read: impl Fn(&Value) -> Option<T>) -> Option<Option<T>> {
    match value {
        Value::Null => Some(None),
        value => read(value).map(Some),
    }
}

fn named<T: Copy, const N: usize>(all: [T; N], name: impl Fn(T) -> &'static str, value: &Value) -> Option<T> {
    let wanted = value.as_str()?;
    all.into_iter().find(|one| name(*one) == wanted)
}

pub(crate) fn text_of(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

pub(crate) fn amount_of(value: &Value) -> Option<Amount> {
    value.as_str()?.parse().ok()
}

/// An offer as x402 v2 writes it, whatever version it came in.
pub(crate) fn offer_json(offer: &PaymentRequirements) -> Value {
    let mut required = wire::encode_payment_required(&around(offer.clone()), X402Version::V2);
    required.get_mut("accepts").and_then(|accepts| accepts.get_mut(0)).map(Value::take).unwrap_or_default()
}

pub(crate) fn read_offer(value: &Value) -> Option<PaymentRequirements> {
    let required = json!({
        "x402Version": 2, "resource": { "url": "/" }, "accepts": [value], "extensions": {},
    });
    let required = wire::decode_payment_required(required.to_string().as_bytes()).ok()?;
    required.accepts.into_iter().next()
}

fn around(offer: PaymentRequirements) -> PaymentRequired {
    PaymentRequired {
        version: X402Version::V2,
        error: None,
        resource: None,
        accepts: vec![offer],
        extensions: JsonObject::new(),
        other: JsonObject::new(),
    }
}

fn value_json(value: &OfferedValue) -> Value {
    json!({
        "symbol": value.symbol, "decimals": value.decimals, "amount": value.amount.to_string(),
        "isUsd": value.is_usd,
    })
}

fn read_value(value: &Value) -> Option<OfferedValue> {
    Some(OfferedValue {
        symbol: text_of(&value["symbol"])?,
        decimals: u8::try_from(value["decimals"].as_u64()?).ok()?,
        amount: amount_of(&value["amount"])?,
        is_usd: value["isUsd"].as_bool()?,
    })
}

fn authorization_json(signed: &SignedAuthorization) -> Value {
    let mut object = Map::new();
    put(&mut object, "key", signed.key.as_deref());
    put(&mut object, "payer", signed.payer.as_deref());
    object.insert("signedAt".to_owned(), signed.signed_at.0.into());
    object.insert("expiresAt".to_owned(), signed.expires_at.0.into());
    object.insert("name".to_owned(), signed.name.into());
    put(&mut object, "value", signed.value.as_deref());
    object.into()
}

fn read_authorization(value: &Value) -> Option<SignedAuthorization> {
    let name = value["name"].as_str()?;
    Some(SignedAuthorization {
        key: text_of(&value["key"]),
        payer: text_of(&value["payer"]),
        signed_at: UnixTime(value["signedAt"].as_u64()?),
        expires_at: UnixTime(value["expiresAt"].as_u64()?),
        name: [wire::PAYMENT_SIGNATURE, wire::X_PAYMENT].into_iter().find(|known| *known == name)?,
        value: text_of(&value["value"]),
    })
}

fn channel_json(note: &ChannelNote) -> Value {
    let text = |amount: Amount| amount.to_string();
    json!({
        "key": note.key.as_str(), "base": text(note.base), "ceiling": text(note.ceiling),
        "deposit": note.deposit.map(text), "charged": note.charged.map(text),
    })
}

fn read_channel(value: &Value) -> Option<ChannelNote> {
    Some(ChannelNote {
        key: ChannelKey::new(text_of(&value["key"])?),
        base: amount_of(&value["base"])?,
        ceiling: amount_of(&value["ceiling"])?,
        deposit: optional(&value["deposit"], amount_of)?,
        charged: optional(&value["charged"], amount_of)?,
    })
}

fn chain_json(fact: &ChainFact) -> Value {
    let mut object = Map::new();
    object.insert("fact".to_owned(), fact.verdict.as_str().into());
    put(&mut object, "transaction", fact.transaction.as_deref());
    put(&mut object, "block", fact.block);
    put(&mut object, "logIndex", fact.log_index);
    put(&mut object, "moved", fact.moved.map(|moved| moved.to_string()));
    object.insert("at".to_owned(), fact.at.0.into());
    object.into()
}

fn read_chain(value: &Value) -> Option<ChainFact> {
    Some(ChainFact {
        verdict: named(ChainVerdict::ALL, ChainVerdict::as_str, &value["fact"])?,
        transaction: text_of(&value["transaction"]),
        block: value["block"].as_u64(),
        log_index: value["logIndex"].as_u64(),
        moved: optional(&value["moved"], amount_of)?,
        at: UnixTime(value["at"].as_u64()?),
    })
}

fn alarm_json(alarm: &Alarm) -> Value {
    json!({ "code": alarm.code.as_str(), "text": alarm.text, "at": alarm.at.0 })
}

fn read_alarm(value: &Value) -> Option<Alarm> {
    Some(Alarm {
        code: named(AlarmCode::ALL, AlarmCode::as_str, &value["code"])?,
        text: text_of(&value["text"])?,
        at: UnixTime(value["at"].as_u64()?),
    })
}

fn read_fingerprint(value: &Value) -> Option<Fingerprint> {
    let bytes: [u8; 32] = hex::decode(value.as_str()?).ok()?.try_into().ok()?;
    Some(Fingerprint::from_bytes(bytes))
}
