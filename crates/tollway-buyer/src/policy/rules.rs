//! What each rule says that needs more than its level: what came before, or nothing at all.

use tollway_core::model::{PaymentFlow, PaymentRequirements};
use tollway_core::{Amount, SchemeName};
use tollway_ledger::Hold;

use crate::policy::budget::{Count, Unit};
use crate::policy::decision::Reason;
use crate::policy::dollars;
use crate::policy::explain::{Outcome, Sink};
use crate::policy::host::authority_of;
use crate::policy::level::{Alarm, Level};
use crate::policy::new_hold;
use crate::policy::standing::{KnownPayees, Purchase, Standing};

/// What no policy can change.
pub(crate) fn judge_always(purchase: &Purchase<'_>, sink: &mut impl Sink) {
    const ALWAYS: &str = "always";
    let offer = purchase.offer;
    sink.rule(ALWAYS, "payment_flow", || "a flow that is known".to_owned(), flow_rule(offer).err().into());
    let is_zero = offer.max_timeout_seconds == 0;
    let outcome = Outcome::failed_if(is_zero, || Reason::ZeroTimeout);
    sink.rule(ALWAYS, "max_timeout_seconds", || "more than nothing".to_owned(), outcome);
    let is_zero =
        offer.amount == Amount::ZERO || purchase.value.is_some_and(|value| value.amount == Amount::ZERO);
    let outcome = Outcome::failed_if(is_zero, || Reason::ZeroAmount);
    sink.rule(ALWAYS, "amount", || "more than nothing".to_owned(), outcome);
}

pub(crate) fn judge_count(
    level: &Level,
    count: &Count,
    purchase: &Purchase<'_>,
    standing: &Standing,
    sink: &mut impl Sink,
) {
    let Hold { budget, window, .. } = new_hold(purchase, level, count).hold;
    let held = standing.budgets.get(&(budget, window)).copied().unwrap_or_default();
    let is_within = held.checked_add(count.amount).is_some_and(|sum| sum <= count.limit);
    let show = |amount| count.unit.show(amount);
    let outcome = Outcome::failed_if(!is_within, || match count.unit {
        Unit::Payments { freezes } => Reason::Velocity {
            limit: count.limit.to_string().parse().unwrap_or(u64::MAX),
            window: count.window,
            freezes,
        },
        Unit::Dollars | Unit::Atomic => Reason::OverBudget {
            budget: count.rule.clone(),
            window: count.window,
            limit: show(count.limit),
            held: show(held),
            cost: show(count.amount),
        },
    });
    let says = || {
        let scope = if ["*", "velocity"].contains(&&*count.rule) {
            String::new()
        } else {
            format!(" for {}", count.rule)
        };
        format!("at most {} per {}{scope}, {} in use", show(count.limit), count.window, show(held))
    };
    sink.rule(&level.name, &count.key, says, outcome);
}

pub(crate) fn judge_drift(level: &Level, purchase: &Purchase<'_>, standing: &Standing, sink: &mut impl Sink) {
    let Some(drift) = level.drift else { return };
    let Some(history) = standing.price else {
        let says = || format!("at most {} % above what it cost, no price known yet", drift.above_percent);
        return sink.rule(&level.name, "drift", says, Outcome::Passed);
    };
    let asked = purchase.amount();
    let is_above = |base: Amount| {
        let percent = u64::from(drift.above_percent) + 100;
        let scaled = asked.atomic().checked_mul(Amount::from(100).atomic());
        let limit = base.atomic().saturating_mul(Amount::from(percent).atomic());
        scaled.is_none_or(|scaled| scaled > limit)
    };
    // The lowest as well as the first: who raises a price step by step is seen, and who starts high and comes back too.
    for (which, base) in [("first", history.first), ("lowest", history.lowest)] {
        let outcome = if is_above(base) {
            let (asked, base) = (asked.to_string(), base.to_string());
            drift.on.outcome(Reason::Drift { asked, percent: drift.above_percent, base, which })
        } else {
            Outcome::Passed
        };
        let says = || format!("at most {} % above {base}, the {which} price known", drift.above_percent);
        sink.rule(&level.name, "drift", says, outcome);
    }
}

pub(crate) fn judge_approval(level: &Level, purchase: &Purchase<'_>, sink: &mut impl Sink) {
    let Some(above) = level.approval.as_ref().and_then(|approval| approval.above.as_ref()) else { return };
    let value = purchase.value.filter(|value| value.is_usd);
    let counted = |amount| value.and_then(|value| dollars::from_atomic(amount, value.decimals));
    // What is worth nobody knows how much is asked for.
    let is_small =
        |amount| counted(amount).zip(dollars::from_money(above)).is_some_and(|(cost, above)| cost <= above);
    let above_text = above.to_string();
    let outcome = match purchase.deposit {
        // What is put into a channel is out of hand, whatever the purchase costs.
        Some(deposit) if !is_small(deposit) => Outcome::Asks(Reason::DepositNeedsApproval {
            deposit: counted(deposit).map_or_else(|| format!("{deposit} atomic units"), dollars::show),
            above: above_text,
        }),
        _ if !is_small(purchase.amount()) => Outcome::Asks(Reason::NeedsApproval { above: above_text }),
        _ => Outcome::Passed,
    };
    sink.rule(&level.name, "approval.above", || format!("asked for above {above}"), outcome);
}

pub(crate) fn judge_payee(level: &Level, purchase: &Purchase<'_>, standing: &Standing, sink: &mut impl Sink) {
    let host = authority_of(purchase.url);
    let outcome = match &standing.payees {
        Some(known) if *known != KnownPayees::default() && !known.contains(purchase.offer) => {
            level.on_changed_payee.outcome(Reason::ChangedPayee { host: host.clone() })
        }
        _ => Outcome::Passed,
    };
    sink.rule(&level.name, "pin_first_use", || format!("who was paid first at {host} is paid"), outcome);
}

impl Alarm {
    fn outcome(self, reason: Reason) -> Outcome {
        match self {
            Self::Deny => Outcome::Failed(reason),
            Self::Ask => Outcome::Asks(reason),
        }
    }
}

fn flow_rule(offer: &PaymentRequirements) -> Result<(), Reason> {
    match offer.payment_flow() {
        Some(PaymentFlow::Authorization | PaymentFlow::Upfront) => Ok(()),
        // Only this scheme says what a hold is, by when it ends, and how the payer gets it back alone.
        Some(PaymentFlow::Escrow) if offer.scheme == SchemeName::AUTH_CAPTURE => Ok(()),
        Some(PaymentFlow::Escrow) => Err(Reason::UnsupportedFlow(PaymentFlow::Escrow.as_str())),
        None => Err(Reason::UnknownFlow),
    }
}
