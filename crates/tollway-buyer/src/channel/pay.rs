//! From an offer to a signed voucher: what the purchase would promise, what must be put in for it, and the signatures, once
//! the promise is written.

use std::sync::Arc;
use std::time::Duration;

use tollway_core::model::PaymentRequired;
use tollway_core::{Amount, BuyerScheme, SignError};
use tollway_ledger::{IntentId, LedgerError};

use crate::buy::Asked;
use crate::channel::lane::{Lane, Wanted, Written};
use crate::channel::record::{Needs, Plan};
use crate::error::PaymentError;
use crate::intent::record::ChannelNote;
use crate::policy::channels::{AgreedDeposit, over_exposed};
use crate::policy::decision::{Decision, Reason};
use crate::policy::standing::Purchase;
use crate::selection::JudgedOffer;
use crate::sign::{self, SignedPayment};
use crate::wallet::Wallet;

/// How long a channel is kept for a purchase whose answer is lost, at most.
const KEPT: Duration = Duration::from_secs(15);

/// A purchase that a channel is ready for.
#[derive(Debug)]
pub(crate) struct Ready {
    lane: Box<Lane>,
    plan: Plan,
    deposit: Option<AgreedDeposit>,
}

/// What promising came to.
pub(crate) enum Promised {
    Signed(Option<Box<Lane>>, Box<SignedPayment>),
    /// Somebody else has used the channel: look again.
    Again,
    /// Not this offer.
    Refused(PaymentError),
}

/// Takes the turn on a channel with whoever makes the offer, and sees what the purchase would promise.
///
/// The inner error is a no to this offer, the outer one ends the purchase.
pub(crate) async fn ready(
    wallet: &Wallet,
    asked: &Asked,
    best: &JudgedOffer,
    scheme: &Arc<dyn BuyerScheme>,
) -> Result<Result<Ready, PaymentError>, PaymentError> {
    let denied =
        |reason| PaymentError::Denied(vec![JudgedOffer { decision: Decision::Deny(reason), ..best.clone() }]);
    let wanted =
        Wanted { book: wallet.book(), scheme, offer: &best.offer, intent: None, give_up: asked.give_up };
    let lane = match wanted.any(wallet.policy().parallel_channels()).await {
        Ok(lane) => lane,
        Err(PaymentError::Sign(SignError::Offer(refusal))) => {
            return Ok(Err(PaymentError::Sign(SignError::Offer(refusal))));
        }
        Err(error) => return Err(error),
    };
    if let Some(why) = &lane.record.broken {
        return Ok(Err(denied(Reason::BrokenChannel { why: why.clone() })));
    }
    if lane.record.withdraw_requested_at.is_some() {
        let why = "what is in it is being withdrawn".to_owned();
        return Ok(Err(denied(Reason::BrokenChannel { why })));
    }
    let now = wallet.clock().now();
    let Some(plan) = lane.record.plan(best.offer.amount, now) else {
        return Ok(Err(denied(Reason::TooLarge)));
    };
    let deposit = match plan.needs {
        Needs::SameDeposit | Needs::Deposit(_) if asked.is_renewal => {
            return Ok(Err(denied(Reason::DepositWhileUnderWay)));
        }
        Needs::Nothing | Needs::SameDeposit => None,
        Needs::Deposit(needed) => {
            let purchase = Purchase {
                wallet: &wallet.book().wallet,
                url: &asked.url,
                method: asked.method.as_deref().unwrap_or_default(),
                tool: asked.tool.as_deref(),
                offer: &best.offer,
                value: best.value.as_ref(),
                deposit: None,
                now,
            };
            let announced = lane.channels().map_err(PaymentError::Sign)?.min_deposit(&best.offer);
            match wallet.policy().deposit(&purchase, needed, announced) {
                Ok(deposit) => Some(deposit),
                Err(reason) => return Ok(Err(denied(reason))),
            }
        }
    };
    Ok(Ok(Ready { lane, plan, deposit }))
}

impl Ready {
    /// What is put into the channel with the purchase, if something is.
    pub(crate) fn deposit(&self) -> Option<Amount> {
        self.deposit.as_ref().map(|deposit| deposit.amount)
    }

    /// Writes the promise down for the purchase `intent`, and signs it. Nothing is signed if it could not be written.
    pub(crate) async fn promise(
        self,
        wallet: &Wallet,
        asked: &Asked,
        required: &PaymentRequired,
        best: &JudgedOffer,
        intent: IntentId,
    ) -> Result<Promised, PaymentError> {
        let Self { mut lane, plan, deposit } = self;
        let now = wallet.clock().now();
        let kept = wallet.patience().answer.min(KEPT).as_secs().max(1);
        let amount = deposit.as_ref().map(|deposit| deposit.amount);
        lane.record.promise(intent, &plan, amount, now.plus_seconds(kept));
        lane.record.offer = best.offer.clone();
        lane.record.url = crate::origin::without_query(&asked.url);
        lane.record.used_at = now;
        let exposure = deposit.map(|deposit| deposit.exposure).unwrap_or_default();
        match lane.write(exposure).await.map_err(PaymentError::Ledger)? {
            Written::Done => {}
            Written::Stale => return Ok(Promised::Again),
            Written::OverBudget(over) => {
                let reason = over_exposed(&over);
                let decision = Decision::Deny(reason);
                let denied = PaymentError::Denied(vec![JudgedOffer { decision, ..best.clone() }]);
                return Ok(Promised::Refused(denied));
            }
        }
        match signed(&mut lane, wallet, required, best, &plan).await {
            Ok(payment) => Ok(Promised::Signed(Some(lane), Box::new(payment))),
            Err(error) => {
                lane.record.unpromise(intent);
                lane.leave().await;
                match error {
                    PaymentError::Sign(SignError::Offer(_)) => Ok(Promised::Refused(error)),
                    error => Err(error),
                }
            }
        }
    }
}

async fn signed(
    lane: &mut Lane,
    wallet: &Wallet,
    required: &PaymentRequired,
    best: &JudgedOffer,
    plan: &Plan,
) -> Result<SignedPayment, PaymentError> {
    let (now, channel) = (wallet.clock().now(), lane.record.channel());
    if let Needs::Deposit(_) = plan.needs {
        let Some(amount) = lane.record.deposit.as_ref().map(|pending| pending.amount) else {
            let why = "the deposit is not written down".to_owned();
            return Err(PaymentError::Ledger(LedgerError::Corrupt(why)));
        };
        let channels = lane.channels().map_err(PaymentError::Sign)?;
        let signed = channels.sign_deposit(&best.offer, &channel, amount, now).await;
        let signed = signed.map_err(PaymentError::Sign)?;
        if let Some(pending) = &mut lane.record.deposit {
            pending.signed = Some(signed);
        }
        // Whoever has it may put it there: it is used again, never signed again.
        match lane.write(Vec::new()).await.map_err(PaymentError::Ledger)? {
            Written::Done => {}
            _ => {
                return Err(PaymentError::Ledger(LedgerError::Unavailable(
                    "the channel is another's".to_owned(),
                )));
            }
        }
    }
    let deposit = match plan.needs {
        Needs::Nothing => None,
        _ => lane.record.deposit.as_ref().and_then(|pending| pending.signed.as_ref()),
    };
    let channels = lane.channels().map_err(PaymentError::Sign)?;
    let payload = channels.sign_voucher(required, &best.offer, &channel, plan.ceiling, deposit).await;
    let payload = payload.map_err(PaymentError::Sign)?;
    let mut payment =
        sign::payment_of(payload, required, best, now, wallet.codes()).map_err(PaymentError::Sign)?;
    payment.channel = Some(ChannelNote {
        key: lane.record.key.clone(),
        base: plan.base,
        ceiling: plan.ceiling,
        deposit: deposit.map(|deposit| deposit.amount),
        charged: None,
    });
    Ok(payment)
}
