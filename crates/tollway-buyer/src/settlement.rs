//! Reading the settlement, and holding it against what was signed.

use http::{HeaderMap, StatusCode};
use tollway_core::model::{Outcome, SettleResponse};
use tollway_core::wire::{self, WireError};
use tollway_core::{Amount, ErrorCode, OfferedValue, UnixTime, model::PaymentRequirements};
use tollway_ledger::IntentId;

use crate::intent::record::ChannelNote;
use crate::offer_receipt::{self, CheckedOffer, CheckedReceipt, Purchase};
use crate::origin::clip;
use crate::sign::{PaymentHeader, SignedPayment};

/// What was paid for a response: found in its extensions, with [`paid`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Paid {
    /// The offer that was accepted.
    pub offer: PaymentRequirements,
    /// What it cost; `None` for an asset that the policy allows and the wallet does not know.
    pub value: Option<OfferedValue>,
    /// Who paid, where the scheme says so.
    pub payer: Option<String>,
    /// What the seller says became of the payment; `None` if it does not say.
    pub settlement: Option<SettleResponse>,
    /// When the payment was signed.
    pub signed_at: UnixTime,
    /// The payment, to be presented again should the response break off: never buy anew for that.
    pub header: PaymentHeader,
    /// How the settlement contradicts what was signed, or that the paid request was answered by a redirect,
    /// which was not followed: what was paid for is not in the response. The seller may be in error, or lie.
    pub suspicious: Option<String>,
    /// The seller's signature on the offer, if there was one.
    pub signed_offer: Option<CheckedOffer>,
    /// The seller's receipt, if it gave one that fits what was paid and asked. One that does not is in `suspicious`.
    pub receipt: Option<CheckedReceipt>,
    /// The purchase, in the wallet's ledger.
    pub intent: Option<IntentId>,
    /// What it promised on a channel, and what it was charged there, if it was paid on one.
    pub channel: Option<ChannelNote>,
}

/// What was paid for `response`, if this wallet paid for it. A paid request that was refused once more has it
/// too: its `settlement` says why.
///
/// ```no_run
/// # fn show(response: &reqwest::Response) {
/// if let Some(settlement) = tollway_buyer::paid(response).and_then(|paid| paid.settlement.as_ref()) {
///     println!("settled by {}", settlement.transaction);
/// }
/// # }
/// ```
pub fn paid(response: &reqwest::Response) -> Option<&Paid> {
    response.extensions().get()
}

/// Reads the settlement from `response` and notes there what was paid.
pub(crate) fn record(payment: SignedPayment, purchase: &Purchase, response: &mut reqwest::Response) {
    let (settlement, unreadable) = match read(&payment, response.headers()) {
        Ok(settlement) => (settlement, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let served = response.status().is_success();
    if served && settlement.is_none() {
        tracing::warn!(url = %response.url().path(), "paid and served, but without a readable settlement");
    }
    let contradicted =
        unreadable.or_else(|| settlement.as_ref().and_then(|told| contradiction(&payment, told, served)));
    let receipt =
        settlement.as_ref().map_or(Ok(None), |told| offer_receipt::receipt(&payment, told, purchase));
    let (receipt, wrong) = match receipt {
        Ok(receipt) => (receipt, None),
        Err(error) => (None, Some(clip_text(&error.to_string()))),
    };
    let faults: Vec<String> =
        contradicted.into_iter().chain(redirected(response.status())).chain(wrong).collect();
    let suspicious = (!faults.is_empty()).then(|| faults.join("; "));
    if let Some(suspicious) = &suspicious {
        tracing::warn!(suspicious, "the answer does not fit the payment");
    }
    let SignedPayment { header, offer, value, payer, signed_at, signed_offer, intent, channel, .. } = payment;
    let paid = Paid {
        offer,
        value,
        payer,
        settlement,
        signed_at,
        header,
        suspicious,
        signed_offer,
        receipt,
        intent,
        channel,
    };
    response.extensions_mut().insert(paid);
}

/// A fault with a seller's words in it, on one line.
fn clip_text(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}

/// Whether the head of an answer says that this very payment failed and moved nothing. That its authorization is used up
/// says no such thing: this payment may be what used it.
pub(crate) fn says_failed(payment: &SignedPayment, headers: &HeaderMap) -> bool {
    let used_up = [ErrorCode::INVALID_EXACT_EVM_NONCE_ALREADY_USED, ErrorCode::DUPLICATE_SETTLEMENT];
    let Ok(Some(told)) = read(payment, headers) else { return false };
    told.outcome() == Outcome::Failed
        && !told.error_reason.as_ref().is_some_and(|code| used_up.contains(code))
        && contradiction(payment, &told, false).is_none()
}

/// What is wrong with a redirect as the answer to a paid request. "Not modified" leads nowhere else.
fn redirected(status: StatusCode) -> Option<String> {
    (status.is_redirection() && status != StatusCode::NOT_MODIFIED)
        .then(|| format!("the paid request was answered by a redirect ({status}) that was not followed"))
}

fn read(payment: &SignedPayment, headers: &HeaderMap) -> Result<Option<SettleResponse>, WireError> {
    let names = [wire::PAYMENT_RESPONSE, wire::X_PAYMENT_RESPONSE];
    let found = names.into_iter().find_map(|name| Some((name, headers.get(name)?)));
    let Some((name, value)) = found else { return Ok(None) };
    let json = wire::decode_header(name, value.as_bytes())?;
    wire::decode_settle_response(&json, &payment.offer.network).map(Some)
}

/// The first way in which `told` is not about what was signed.
pub(crate) fn contradiction(payment: &SignedPayment, told: &SettleResponse, served: bool) -> Option<String> {
    let (offer, is_on_channel) = (&payment.offer, payment.channel.is_some());
    if told.network != offer.network {
        return Some(format!("network: {}, but {} was signed", told.network, offer.network));
    }
    if let (Some(told), Some(signed)) = (&told.payer, &payment.payer)
        && !same_account(told, signed, offer)
    {
        return Some(format!("payer: {}, but {signed} signed", clip(told)));
    }
    // What moved for a channel is what was put there; what was charged is held against what was promised.
    if let Some(amount) = told.amount.as_ref().filter(|_| !is_on_channel) {
        match amount.parse::<Amount>() {
            Ok(charged) if charged <= offer.amount => {}
            _ => return Some(format!("amount: {}, but {} was signed", clip(amount), offer.amount)),
        }
    }
    match told.outcome() {
        Outcome::Settled if told.transaction.is_empty() && !is_on_channel => {
            Some("success without a transaction".to_owned())
        }
        Outcome::Failed if served => Some("served, although the settlement failed".to_owned()),
        _ => None,
    }
}

fn same_account(one: &str, other: &str, offer: &PaymentRequirements) -> bool {
    match offer.network.namespace() {
        "eip155" => one.eq_ignore_ascii_case(other),
        _ => one == other,
    }
}
