//! A payment of a scheme that holds money, from when it is collected until nothing can happen with it any more: what is
//! written of it, and which step comes next. Asking for the step is done in [`crate::escrow`].

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tollway_core::model::{FacilitatorRequest, SettleResponse};
use tollway_core::{Amount, AuthorizationKey, EscrowStep, EscrowTerms, Network, UnixTime, wire};
use tollway_ledger::{LedgerError, Purchase};

/// What is held is looked after this long before its deadline, or earlier where the deadline is near.
const MARGIN_SECONDS: u64 = 600;
/// How long a purchase is remembered when nothing can happen with it any more.
const MEMORY_SECONDS: u64 = 24 * 3600;
/// The pause after a step that came to nothing; it doubles.
const FIRST_PAUSE_SECONDS: u64 = 2;
const MAX_DOUBLINGS: u32 = 7;
/// Never.
const NEVER: UnixTime = UnixTime(i64::MAX.unsigned_abs());

/// A payment that was held or charged, as its seller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPurchase {
    /// What names it, in the ledger of this seller.
    pub id: String,
    /// Who paid.
    pub payer: String,
    /// On which network.
    pub network: Network,
    /// In which asset.
    pub asset: String,
    /// How much was held, or could be charged, atomic units.
    pub amount: Amount,
    /// How much was taken of it, atomic units.
    pub captured: Amount,
    /// How much of that was given back, atomic units.
    pub refunded: Amount,
    /// Where it stands.
    pub state: HoldState,
    /// The latest transaction; empty before the first.
    pub transaction: String,
    /// What is held is taken before this.
    pub capture_deadline: UnixTime,
    /// What was taken is given back before this.
    pub refund_deadline: UnixTime,
}

/// Where a purchase stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HoldState {
    /// Nothing was collected.
    Nothing,
    /// It is held, or is about to be, and nothing was served for it yet.
    Held,
    /// It is held, and was served for: it is taken before its deadline.
    Served,
    /// Being taken.
    Capturing,
    /// Taken, or charged.
    Captured,
    /// Being given back before anything was taken.
    Voiding,
    /// Given back before anything was taken.
    Voided,
    /// Of what was taken, some is being given back.
    Refunding,
    /// Its deadline has passed, and it was neither taken nor given back: only the payer can get it out of the escrow.
    Expired,
}

/// What is written of a purchase.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) key: AuthorizationKey,
    /// What the ledger has of it; 0 before it has it.
    pub(crate) version: u64,
    pub(crate) request: FacilitatorRequest,
    pub(crate) facts: Facts,
}

/// The part of it that changes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) state: HoldState,
    pub(crate) payer: String,
    /// What the step that is under way is about: how much to take, or how much shall be given back in all.
    asked: String,
    captured: String,
    refunded: String,
    /// Whether what a capture has left is still held.
    pub(crate) has_rest: bool,
    pub(crate) transaction: String,
    pub(crate) capture_deadline: u64,
    pub(crate) refund_deadline: u64,
    tries: u32,
}

#[derive(Serialize, Deserialize)]
struct Body {
    request: String,
    facts: Facts,
}

impl Record {
    /// A payment that is about to be collected.
    pub(crate) fn new(
        key: AuthorizationKey,
        request: FacilitatorRequest,
        payer: &str,
        terms: &EscrowTerms,
    ) -> Self {
        let zero = || Amount::ZERO.to_string();
        let facts = Facts {
            state: HoldState::Held,
            payer: payer.to_owned(),
            asked: zero(),
            captured: zero(),
            refunded: zero(),
            has_rest: false,
            transaction: String::new(),
            capture_deadline: terms.capture_deadline.0,
            refund_deadline: terms.refund_deadline.0,
            tries: 0,
        };
        Self { key, version: 0, request, facts }
    }

    pub(crate) fn read(purchase: Purchase) -> Result<Self, LedgerError> {
        let corrupt = |error: String| LedgerError::Corrupt(format!("a purchase: {error}"));
        let body: Body = serde_json::from_str(&purchase.body).map_err(|error| corrupt(error.to_string()))?;
        let request = wire::decode_facilitator_request(body.request.as_bytes());
        let request = request.map_err(|error| corrupt(error.to_string()))?;
        Ok(Self { key: purchase.key, version: purchase.version, request, facts: body.facts })
    }

    /// As the ledger keeps it, to be looked after at `due`.
    pub(crate) fn purchase(&self, due: UnixTime) -> Result<Purchase, LedgerError> {
        let request = Value::Object(wire::encode_facilitator_request(&self.request)).to_string();
        let body = serde_json::to_string(&Body { request, facts: self.facts.clone() });
        let body = body.map_err(|error| LedgerError::Corrupt(format!("a purchase: {error}")))?;
        let ends = match self.facts.state {
            HoldState::Nothing | HoldState::Voided => self.facts.capture_deadline,
            _ => self.facts.refund_deadline,
        };
        let until = UnixTime(ends).plus_seconds(MEMORY_SECONDS);
        Ok(Purchase { key: self.key.clone(), version: self.version, body, due, until })
    }

    /// When somebody must look after it if nothing else happens.
    pub(crate) fn due(&self, now: UnixTime) -> UnixTime {
        match self.facts.state {
            HoldState::Held | HoldState::Served => {
                let left = self.facts.capture_deadline.saturating_sub(now.0);
                UnixTime(self.facts.capture_deadline.saturating_sub((left / 4).min(MARGIN_SECONDS)))
            }
            _ if self.step().is_some() => {
                let pause = FIRST_PAUSE_SECONDS << self.facts.tries.min(MAX_DOUBLINGS);
                now.plus_seconds(if self.facts.tries == 0 { 0 } else { pause })
            }
            _ => NEVER,
        }
    }

    /// The step that is under way.
    pub(crate) fn step(&self) -> Option<EscrowStep> {
        match self.facts.state {
            HoldState::Capturing => Some(EscrowStep::Capture { amount: self.asked() }),
            HoldState::Voiding => Some(EscrowStep::Void),
            HoldState::Captured | HoldState::Refunding if self.facts.has_rest => Some(EscrowStep::Void),
            HoldState::Refunding => Some(EscrowStep::Refund {
                amount: self.asked().checked_sub(self.refunded()).unwrap_or(Amount::ZERO),
                refundable: self.captured().checked_sub(self.refunded()).unwrap_or(Amount::ZERO),
            }),
            _ => None,
        }
    }

    /// Begins a step.
    pub(crate) fn begin(&mut self, state: HoldState, asked: Amount) {
        self.facts.state = state;
        self.facts.asked = asked.to_string();
        self.facts.tries = 0;
    }

    /// The step was done, by this transaction.
    pub(crate) fn done(&mut self, answer: &SettleResponse) {
        let whole = self.request.requirements.amount;
        let facts = &mut self.facts;
        facts.tries = 0;
        facts.transaction.clone_from(&answer.transaction);
        match facts.state {
            HoldState::Capturing => {
                facts.captured.clone_from(&facts.asked);
                facts.state = HoldState::Captured;
                facts.has_rest = amount(&facts.captured) < whole;
            }
            HoldState::Voiding => facts.state = HoldState::Voided,
            _ if facts.has_rest => facts.has_rest = false,
            HoldState::Refunding => {
                facts.refunded.clone_from(&facts.asked);
                facts.state = HoldState::Captured;
            }
            _ => {}
        }
    }

    /// The step was refused: nothing moved, and it is not asked for again as it was.
    pub(crate) fn refused(&mut self, now: UnixTime) {
        let is_late = now.0 >= self.facts.capture_deadline;
        let facts = &mut self.facts;
        match facts.state {
            HoldState::Capturing if is_late => facts.state = HoldState::Expired,
            // What cannot be taken is not kept.
            HoldState::Capturing => {
                facts.state = HoldState::Voiding;
                facts.tries = 0;
            }
            HoldState::Voiding if is_late => facts.state = HoldState::Expired,
            HoldState::Captured | HoldState::Refunding if facts.has_rest && is_late => facts.has_rest = false,
            HoldState::Refunding if !facts.has_rest => facts.state = HoldState::Captured,
            _ => facts.tries = facts.tries.saturating_add(1),
        }
    }

    /// What became of the step is not known.
    pub(crate) fn postpone(&mut self) {
        self.facts.tries = self.facts.tries.saturating_add(1);
    }

    /// It was charged, all at once.
    pub(crate) fn charged(&mut self, amount: Amount, answer: &SettleResponse) {
        self.facts.state = HoldState::Captured;
        self.facts.captured = amount.to_string();
        self.facts.transaction.clone_from(&answer.transaction);
    }

    pub(crate) fn asked(&self) -> Amount {
        amount(&self.facts.asked)
    }

    pub(crate) fn captured(&self) -> Amount {
        amount(&self.facts.captured)
    }

    pub(crate) fn refunded(&self) -> Amount {
        amount(&self.facts.refunded)
    }

    /// As its seller sees it.
    pub(crate) fn view(&self) -> HeldPurchase {
        let offer = &self.request.requirements;
        HeldPurchase {
            id: self.key.to_string(),
            payer: self.facts.payer.clone(),
            network: offer.network.clone(),
            asset: offer.asset.clone(),
            amount: offer.amount,
            captured: self.captured(),
            refunded: self.refunded(),
            state: self.facts.state,
            transaction: self.facts.transaction.clone(),
            capture_deadline: UnixTime(self.facts.capture_deadline),
            refund_deadline: UnixTime(self.facts.refund_deadline),
        }
    }
}

/// Only amounts are written here.
fn amount(text: &str) -> Amount {
    text.parse().unwrap_or(Amount::ZERO)
}
