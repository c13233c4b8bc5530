//! What the answer to a purchase on a channel comes to: held against what was promised, taken in, or found to be wrong.

use http::{HeaderMap, StatusCode};
use tollway_core::model::{PaymentRequired, SettleResponse};
use tollway_core::{Amount, ErrorCode, ToldChannel, wire};
use tollway_ledger::IntentId;

use crate::channel::lane::Lane;
use crate::channel::record::Corrected;
use crate::pay_on::STREAM;
use crate::sign::SignedPayment;

/// What an answer comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It cost this much.
    Charged(Amount),
    /// Something is wrong: nothing more is signed on the channel.
    Broken(String),
    /// It says nothing of the channel that can be believed.
    Nothing(Option<String>),
    /// The purchase was not charged, and may be made anew by what the channel is known to be now.
    Again,
    /// The purchase was charged so much before, and its answer is lost.
    Lost(Amount),
    /// It or another purchase whose answer is lost was charged.
    Unsure,
}

impl Lane {
    /// Takes in what the answer to `payment` says. `is_first`: whether that was presented once, and this is the answer.
    pub(crate) async fn take_in(
        &mut self,
        payment: &SignedPayment,
        settlement: Option<&SettleResponse>,
        status: StatusCode,
        headers: &HeaderMap,
        is_first: bool,
    ) -> Told {
        let Some(intent) = payment.intent else { return Told::Nothing(None) };
        if let Some(charged) = self.known_before(payment, intent) {
            // What it cost is settled, whatever is said now. Only whether the answer is still there is new.
            let is_gone = settlement.is_none() && status == StatusCode::PAYMENT_REQUIRED;
            return if is_gone { Told::Lost(charged) } else { Told::Charged(charged) };
        }
        let told = match settlement.filter(|told| told.success) {
            Some(settlement) => self.settled(intent, settlement).await,
            None => self.refused_by(intent, status, headers, is_first).await,
        };
        match &told {
            Told::Broken(why) => self.give_up(why),
            Told::Nothing(_) if settlement.is_none() && is_last_word(status) => self.keep_no_longer(intent),
            // It is charged while it is read, and says so when it is asked for more.
            Told::Nothing(_) if headers.contains_key(STREAM) => self.keep_no_longer(intent),
            _ => {}
        }
        told
    }

    /// Takes in what the seller told of `intent` when it settled. Where that does not fit what is known the chain is asked, if
    /// it can be: what is in the channel is the chain's word then. A seller gives money back unasked, and whoever has just seen
    /// blocks taken back sees another sum than the next.
    pub(crate) async fn settled(&mut self, intent: IntentId, settlement: &SettleResponse) -> Told {
        if self.record.promise_of(intent).is_none() {
            return Told::Nothing(None);
        }
        let told = match self.channels().map(|channels| channels.told(settlement)) {
            Ok(Ok(Some(told))) => told,
            Ok(Ok(None)) => return Told::Nothing(Some("it does not say what was charged".to_owned())),
            Ok(Err(refusal)) => return Told::Broken(refusal.to_string()),
            Err(error) => return Told::Nothing(Some(error.to_string())),
        };
        match self.held_against(intent, &told, false) {
            Told::Broken(_) if self.look().await => self.held_against(intent, &told, true),
            told => told,
        }
    }

    /// What was told, held against the book. `is_seen`: whether that has what is in the channel from the chain, just now.
    fn held_against(&mut self, intent: IntentId, told: &ToldChannel, is_seen: bool) -> Told {
        let before = self.record.clone();
        match self.record.settle(intent, told, is_seen) {
            Ok(charged) if self.record.is_overclaimed() => {
                self.record = before;
                Told::Broken(format!("more was claimed than was charged, {charged} by this purchase"))
            }
            Ok(charged) => Told::Charged(charged),
            Err(why) => {
                self.record = before;
                Told::Broken(why)
            }
        }
    }

    /// What is known to be charged for a purchase whose answer is asked for again.
    fn known_before(&self, payment: &SignedPayment, intent: IntentId) -> Option<Amount> {
        let promised = self.record.promise_of(intent).and_then(|promise| promise.charged);
        let noted = payment.channel.as_ref().and_then(|note| note.charged);
        promised.filter(|charged| *charged != Amount::ZERO).or(noted)
    }

    /// Takes in the refusal of what was presented once.
    pub(crate) async fn refusal(
        &mut self,
        intent: IntentId,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Told {
        self.refused_by(intent, status, headers, true).await
    }

    async fn refused_by(
        &mut self,
        intent: IntentId,
        status: StatusCode,
        headers: &HeaderMap,
        is_first: bool,
    ) -> Told {
        match required(headers).filter(|_| status == StatusCode::PAYMENT_REQUIRED) {
            Some(required) => self.refused(intent, &required, is_first).await,
            None => Told::Nothing(None),
        }
    }

    async fn refused(&mut self, intent: IntentId, required: &PaymentRequired, is_first: bool) -> Told {
        let Some(error) = required.error.as_deref() else { return Told::Nothing(None) };
        // Only the chain tells that nothing was put there: what was may have been charged.
        if self.record.is_late(intent, self.now())
            && self.look().await
            && self.record.is_late(intent, self.now())
        {
            self.record.uncharged(intent);
            return Told::Again;
        }
        let Ok(channels) = self.channels() else { return Told::Nothing(None) };
        let codes = channels.codes();
        let is_unfunded = [
            codes.missing.as_str(),
            codes.exceeds_balance.as_str(),
            ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_CHANNEL_NOT_FOUND.as_str(),
        ]
        .contains(&error);
        if is_unfunded {
            return self.unfunded(intent).await;
        }
        if ![codes.mismatch.as_str(), codes.below_claimed.as_str()].contains(&error) {
            return Told::Nothing(None);
        }
        let offer = required.accepts.iter().find(|offer| {
            offer.scheme == self.record.offer.scheme
                && offer.network == self.record.offer.network
                && offer.extra.contains_key("channelState")
        });
        let Some(offer) = offer else { return Told::Nothing(Some("it corrects nothing".to_owned())) };
        let told = match channels.correction(offer) {
            Ok(Some(told)) => told,
            Ok(None) => return Told::Nothing(Some("it corrects nothing".to_owned())),
            Err(refusal) => return Told::Nothing(Some(refusal.to_string())),
        };
        let proof = told.proof.as_ref();
        let is_own =
            proof.is_some_and(|(ceiling, proof)| channels.is_own(&self.record.channel(), *ceiling, proof));
        // Who is told that the own book is wrong looks for itself, if it can.
        let was = self.record.charged;
        self.look().await;
        if self.record.charged != was {
            tracing::info!(channel = %self.record.key, "the chain says that more was charged");
        }
        match self.record.correct(intent, &told, is_own, is_first) {
            Corrected::Again => Told::Again,
            Corrected::Charged(charged) => Told::Lost(charged),
            Corrected::Unsure => Told::Unsure,
            Corrected::Disbelieved(why) => Told::Nothing(Some(why)),
            Corrected::Broken(why) => Told::Broken(why),
        }
    }

    async fn unfunded(&mut self, intent: IntentId) -> Told {
        let before = (self.record.balance, self.record.deposit.clone());
        let is_seen = self.look().await;
        let has_changed = is_seen && before != (self.record.balance, self.record.deposit.clone());
        if self.record.unfunded(intent) || has_changed {
            return Told::Again;
        }
        Told::Nothing(Some("it says that the channel does not hold as much".to_owned()))
    }

    /// Nothing more is signed on the channel.
    pub(crate) fn give_up(&mut self, why: &str) {
        tracing::error!(channel = %self.record.key, why, "a channel is given up: withdraw what is in it");
        let why = why.chars().take(300).flat_map(char::escape_debug).collect();
        self.record.broken.get_or_insert(why);
    }

    /// Others need not wait for the answer to `intent`.
    pub(crate) fn keep_no_longer(&mut self, intent: IntentId) {
        for promise in self.record.promises.iter_mut().filter(|promise| promise.intent == intent) {
            promise.kept_until = tollway_core::UnixTime(0);
        }
    }
}

/// Whether no more comes of asking again for the same: whoever else wants the channel need not wait for that.
fn is_last_word(status: StatusCode) -> bool {
    matches!(status, StatusCode::PAYMENT_REQUIRED | StatusCode::INTERNAL_SERVER_ERROR | StatusCode::NOT_FOUND)
}

/// Whether a seller says that somebody is at the channel just now: nothing was charged, and the same voucher may come again.
pub(crate) fn is_busy(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::PAYMENT_REQUIRED
        && required(headers).is_some_and(|required| {
            required.error.as_deref() == Some(ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_CHANNEL_BUSY.as_str())
        })
}

pub(crate) fn required(headers: &HeaderMap) -> Option<PaymentRequired> {
    let value = headers.get(wire::PAYMENT_REQUIRED)?;
    let json = wire::decode_header(wire::PAYMENT_REQUIRED, value.as_bytes()).ok()?;
    wire::decode_payment_required(&json).ok()
}
