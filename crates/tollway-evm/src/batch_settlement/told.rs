//! How a channel stands, as it is told over the wire: by a facilitator to a seller, and by a seller to its buyer.

use serde_json::{Value, json};
use tollway_core::model::PaymentRequirements;
use tollway_core::{
    Amount, Backing, ChannelSnapshot, ErrorCode, JsonObject, Network, Refusal, ToldChannel, UnixTime,
};

use super::channel::channel_key;
use super::fields::word;

/// The field of an answer or an offer that tells it.
const STATE: &str = "channelState";
/// The field of a corrective offer that holds the buyer's own newest voucher.
const VOUCHER: &str = "voucherState";
/// The field of an answer that tells what a request cost.
const CHARGED: &str = "chargedAmount";

/// What somebody says of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelState {
    /// The channel's id on its chain, in lower case.
    pub channel_id: String,
    /// What stands behind it.
    pub backing: Backing,
    /// What was charged in all, where a seller tells.
    pub charged: Option<Amount>,
}

impl ChannelState {
    /// Reads `extra` of an answer to verify, or what is below `channelState` in one to settle.
    ///
    /// ```
    /// use tollway_core::wire::parse_object;
    /// use tollway_evm::batch_settlement::ChannelState;
    /// let extra = br#"{"channelId":"0x6f","balance":"100","totalClaimed":"7","withdrawRequestedAt":0,"refundNonce":"1"}"#;
    /// let state = ChannelState::read(&parse_object(extra, "extra")?).expect("complete");
    /// assert_eq!((state.backing.balance, state.backing.withdraw_requested_at), (100.into(), None));
    /// # Ok::<(), tollway_core::wire::WireError>(())
    /// ```
    pub fn read(extra: &JsonObject) -> Option<Self> {
        let state = match extra.get(STATE) {
            Some(Value::Object(state)) => state,
            _ => extra,
        };
        let requested_at = match state.get("withdrawRequestedAt") {
            None | Some(Value::Null) => 0,
            Some(value) => u64::try_from(amount(value)?.atomic()).ok()?,
        };
        Some(Self {
            channel_id: state
                .get("channelId")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_ascii_lowercase(),
            backing: Backing {
                balance: amount(state.get("balance")?)?,
                claimed: amount(state.get("totalClaimed")?)?,
                withdraw_requested_at: (requested_at != 0).then_some(UnixTime(requested_at)),
                refund_nonce: amount(state.get("refundNonce")?)?,
            },
            charged: state.get("chargedCumulativeAmount").and_then(amount),
        })
    }

    /// As it is on the wire.
    ///
    /// ```
    /// use tollway_evm::batch_settlement::ChannelState;
    /// let state = ChannelState { channel_id: "0x6f".to_owned(), backing: Default::default(), charged: None };
    /// assert_eq!(ChannelState::read(&state.to_extra()), Some(state));
    /// ```
    pub fn to_extra(&self) -> JsonObject {
        let Backing { balance, claimed, withdraw_requested_at, refund_nonce } = self.backing;
        let mut extra = JsonObject::new();
        let mut set = |name: &str, value: Value| extra.insert(name.to_owned(), value);
        set("channelId", self.channel_id.clone().into());
        set("balance", balance.to_string().into());
        set("totalClaimed", claimed.to_string().into());
        set("withdrawRequestedAt", withdraw_requested_at.map_or(0, |at| at.0).into());
        set("refundNonce", refund_nonce.to_string().into());
        if let Some(charged) = self.charged {
            set("chargedCumulativeAmount", charged.to_string().into());
        }
        extra
    }

    pub(super) fn of(snapshot: &ChannelSnapshot) -> Self {
        Self {
            channel_id: snapshot.channel.id().to_owned(),
            backing: snapshot.backing,
            charged: Some(snapshot.charged),
        }
    }
}

/// What an answer or a corrective offer says of a channel; none if it says nothing.
pub(super) fn read(network: &Network, extra: &JsonObject) -> Result<Option<ToldChannel>, Refusal> {
    let Some(told) = extra.get(STATE).filter(|value| !value.is_null()) else { return Ok(None) };
    let unreadable = |field: &str| {
        let rule = "is not what the scheme's specification says";
        Refusal::new(ErrorCode::INVALID_PAYLOAD, format!("extra.{field}"), rule)
    };
    let state = told.as_object().and_then(ChannelState::read).ok_or_else(|| unreadable(STATE))?;
    let channel = match word(&state.channel_id) {
        Some(id) => Some(channel_key(network, id)),
        None if state.channel_id.is_empty() => None,
        None => return Err(unreadable("channelState.channelId")),
    };
    let charged = match extra.get(CHARGED).filter(|value| !value.is_null()) {
        None => None,
        Some(charged) => Some(amount(charged).ok_or_else(|| unreadable(CHARGED))?),
    };
    let proof = match extra.get(VOUCHER).filter(|value| !value.is_null()) {
        None => None,
        Some(shown) => Some(read_proof(shown).ok_or_else(|| unreadable(VOUCHER))?),
    };
    Ok(Some(ToldChannel { channel, charged, total: state.charged, backing: Some(state.backing), proof }))
}

fn read_proof(shown: &Value) -> Option<(Amount, String)> {
    Some((amount(shown.get("signedMaxClaimable")?)?, shown.get("signature")?.as_str()?.to_owned()))
}

/// The offer with what a seller tells who has counted otherwise.
pub(super) fn correct(snapshot: &ChannelSnapshot, offer: &PaymentRequirements) -> PaymentRequirements {
    let mut offer = offer.clone();
    offer.extra.insert(STATE.to_owned(), ChannelState::of(snapshot).to_extra().into());
    if !snapshot.proof.is_empty() {
        let shown = json!({
            "signedMaxClaimable": snapshot.signed.to_string(), "signature": snapshot.proof,
        });
        offer.extra.insert(VOUCHER.to_owned(), shown);
    }
    offer
}

/// The offer without it: what a payment repeats is what the seller offers everybody.
pub(super) fn strip(offer: &PaymentRequirements) -> PaymentRequirements {
    let mut offer = offer.clone();
    for field in [STATE, VOUCHER] {
        offer.extra.shift_remove(field);
    }
    offer
}

/// Writes what a request cost, and where the channel stands, beside what is in `extra`.
pub(super) fn charge(extra: &mut JsonObject, charged: Option<Amount>, snapshot: &ChannelSnapshot) {
    if let Some(charged) = charged {
        extra.insert(CHARGED.to_owned(), charged.to_string().into());
    }
    extra.insert(STATE.to_owned(), ChannelState::of(snapshot).to_extra().into());
}

/// A number, which published programs write as text here and as a number there.
fn amount(value: &Value) -> Option<Amount> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_u64().map(Amount::from),
        _ => None,
    }
}
