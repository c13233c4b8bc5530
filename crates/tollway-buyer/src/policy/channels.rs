//! What a policy says to channels: whether there may be any, on which terms, how much is put into one and into all of them.
//!
//! A deposit is no payment: it is money out of hand, which comes back or is spent. What is spent of it counts in the budgets,
//! purchase by purchase; what is not counts here, as exposure.

use std::collections::BTreeSet;

use tollway_core::model::PaymentRequirements;
use tollway_core::{Amount, Money, SchemeName};
use tollway_ledger::{Hold, NewHold, OverBudget};

use crate::credit_account::is_on_credit;
use crate::policy::budget::Unit;
use crate::policy::decision::Reason;
use crate::policy::explain::{Outcome, Sink};
use crate::policy::level::{AssetRule, DollarCap, Level};
use crate::policy::standing::{Purchase, Standing};
use crate::policy::window::Window;
use crate::policy::{Policy, asset_key, dollars, names};

/// How the counter of exposure in dollars is named.
pub(crate) const EXPOSURE: &str = "exposure";
/// How many payments of the offer's price a deposit is made for, unless the seller or the policy says otherwise.
const PAYMENTS: u32 = 5;
/// How many payments of its most a level lets into one deposit, unless it says otherwise.
pub(crate) const DEPOSIT_OF_PAYMENTS: u32 = 5;
/// The fewest: with less, channels cost more than they save.
pub(crate) const LEAST_PAYMENTS: u32 = 3;
/// The most channels with one seller.
pub(crate) const MOST_PARALLEL: u32 = 64;

/// What a level says. What is not set restricts nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChannelRules {
    pub(crate) allow: Option<bool>,
    pub(crate) max_deposit: Option<Money>,
    /// In counted dollars.
    pub(crate) exposure: Option<Amount>,
    pub(crate) payments_per_deposit: Option<u32>,
    pub(crate) parallel: Option<u32>,
    pub(crate) max_withdraw_delay_seconds: Option<u64>,
    pub(crate) receiver_authorizers: Option<BTreeSet<String>>,
}

impl ChannelRules {
    /// What an organisation says that says nothing.
    pub(crate) fn outermost() -> Self {
        Self {
            exposure: "$20".parse().ok().and_then(|money| dollars::from_money(&money)).or(Some(Amount::ZERO)),
            max_withdraw_delay_seconds: Some(86_400),
            ..Self::default()
        }
    }

    /// Every rule that needs nothing but the offer.
    pub(crate) fn judge(&self, level: &str, offer: &PaymentRequirements, sink: &mut impl Sink) {
        if !is_channel(offer) {
            return;
        }
        if let Some(allow) = self.allow {
            let says = || if allow { "channels may be opened" } else { "no channels" }.to_owned();
            let outcome = Outcome::failed_if(!allow, || Reason::NoChannels);
            sink.rule(level, "channels.allow", says, outcome);
        }
        if let Some(limit) = self.max_withdraw_delay_seconds {
            let asked = offer.extra.get("withdrawDelay").and_then(serde_json::Value::as_u64);
            let asked = asked.unwrap_or(u64::MAX);
            let says = || format!("money comes back within {limit} seconds, asked for {asked}");
            let outcome = Outcome::failed_if(asked > limit, || Reason::LongWithdrawDelay { asked, limit });
            sink.rule(level, "channels.max_withdraw_delay_seconds", says, outcome);
        }
        if let Some(known) = &self.receiver_authorizers {
            let named = offer.extra_str("receiverAuthorizer").map(str::to_ascii_lowercase);
            let is_known = named.is_some_and(|named| known.contains(&named));
            let says = || "claims are authorized by a key that is listed".to_owned();
            let outcome = Outcome::failed_if(!is_known, || Reason::ReceiverAuthorizer);
            sink.rule(level, "channels.receiver_authorizers", says, outcome);
        }
    }
}

/// A deposit that the policy agrees to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgreedDeposit {
    pub(crate) amount: Amount,
    /// What it counts as, at every level: held until it is spent or back.
    pub(crate) exposure: Vec<NewHold>,
}

impl Policy {
    /// How many channels there may be with one seller.
    pub(crate) fn parallel_channels(&self) -> u32 {
        self.all().filter_map(|level| level.channels.parallel).min().unwrap_or(1).clamp(1, MOST_PARALLEL)
    }

    /// How much to put into a channel that lacks `needed`, where the seller takes no less than `announced`.
    ///
    /// # Errors
    /// Less than what is needed may be put there, or it cannot be counted.
    pub(crate) fn deposit(
        &self,
        purchase: &Purchase<'_>,
        needed: Amount,
        announced: Option<Amount>,
    ) -> Result<AgreedDeposit, Reason> {
        let least = announced.filter(|least| *least >= purchase.offer.amount);
        let target = match least {
            Some(least) => least,
            None => times(purchase.offer.amount, self.payments_per_deposit()),
        };
        let mut amount = target.max(needed);
        for level in self.all() {
            let Some(cap) = cap(level, purchase)? else { continue };
            let must_be = needed.max(least.unwrap_or(Amount::ZERO));
            if must_be > cap {
                return Err(Reason::DepositAboveCap { needed: must_be.to_string(), cap: cap.to_string() });
            }
            amount = amount.min(cap);
        }
        let exposure = self.all().filter_map(|level| exposure(level, purchase, amount).transpose());
        Ok(AgreedDeposit { amount, exposure: exposure.collect::<Result<_, _>>()? })
    }

    /// What `purchase` puts into a channel, if it does, held against what each level says to that.
    pub(super) fn judge_deposit(&self, purchase: &Purchase<'_>, standing: &Standing, sink: &mut impl Sink) {
        let Some(deposit) = purchase.deposit else { return };
        for level in self.all() {
            let key = "channels.max_deposit";
            match cap(level, purchase) {
                Ok(None) => {}
                Ok(Some(cap)) => {
                    let outcome = Outcome::failed_if(deposit > cap, || Reason::DepositAboveCap {
                        needed: deposit.to_string(),
                        cap: cap.to_string(),
                    });
                    let says = || format!("at most {cap} atomic units a deposit, this one is {deposit}");
                    sink.rule(&level.name, key, says, outcome);
                }
                Err(reason) => {
                    sink.rule(
                        &level.name,
                        key,
                        || "a deposit is counted".to_owned(),
                        Outcome::Failed(reason),
                    );
                }
            }
            let key = "channels.max_exposure";
            match exposure(level, purchase, deposit) {
                Ok(None) => {}
                Ok(Some(new)) => judge_exposure(level, &new, standing, sink),
                Err(reason) => {
                    sink.rule(
                        &level.name,
                        key,
                        || "a deposit is counted".to_owned(),
                        Outcome::Failed(reason),
                    );
                }
            }
        }
    }

    /// The counters of exposure that a deposit of the purchase's is counted in.
    pub(crate) fn exposures(&self, purchase: &Purchase<'_>) -> Vec<NewHold> {
        let Some(deposit) = purchase.deposit else { return Vec::new() };
        self.all().filter_map(|level| exposure(level, purchase, deposit).ok().flatten()).collect()
    }

    fn payments_per_deposit(&self) -> u32 {
        let told = self.all().filter_map(|level| level.channels.payments_per_deposit).min();
        told.unwrap_or(PAYMENTS).max(LEAST_PAYMENTS)
    }
}

/// Whether `offer` is paid on a channel.
pub(crate) fn is_channel(offer: &PaymentRequirements) -> bool {
    offer.scheme == SchemeName::BATCH_SETTLEMENT && !is_on_credit(&offer.network)
}

/// The most that one deposit of a level may be, in atomic units of the asset.
fn cap(level: &Level, purchase: &Purchase<'_>) -> Result<Option<Amount>, Reason> {
    if let Some(rule) = asset_rule(level, purchase) {
        let own = rule.max_deposit_atomic.or(rule.max_atomic.map(|most| times(most, DEPOSIT_OF_PAYMENTS)));
        if own.is_some() {
            return Ok(own);
        }
    }
    let (cap, factor) = match (&level.channels.max_deposit, &level.max_payment) {
        (Some(cap), _) => (cap, 1),
        (None, DollarCap::Dollars(cap)) => (cap, DEPOSIT_OF_PAYMENTS),
        (None, DollarCap::Nothing) => return Ok(Some(Amount::ZERO)),
        (None, DollarCap::Unset) => return Ok(None),
    };
    let value = purchase.value.ok_or(Reason::UnknownAsset)?;
    if !value.is_usd {
        return Err(Reason::NotDollars { symbol: value.symbol.clone() });
    }
    let unusable = |_| Reason::UnusableCap { cap: cap.to_string(), decimals: value.decimals };
    Ok(Some(times(cap.to_atomic(value.decimals).map_err(unusable)?, factor)))
}

/// What a deposit of `amount` counts as at a level.
fn exposure(level: &Level, purchase: &Purchase<'_>, amount: Amount) -> Result<Option<NewHold>, Reason> {
    let (window, until) = Window::Lifetime.at(purchase.now);
    let hold = |rule: &str, amount, limit| {
        let budget = names::budget(purchase.wallet, &level.name, rule, Window::Lifetime);
        Some(NewHold { hold: Hold { budget, window, until, amount }, limit })
    };
    if let Some(limit) = asset_rule(level, purchase).and_then(|rule| rule.max_exposure_atomic) {
        return Ok(hold(&format!("{EXPOSURE}:{}", names::asset(purchase.offer)), amount, limit));
    }
    let Some(limit) = level.channels.exposure else { return Ok(None) };
    let value = purchase.value.filter(|value| value.is_usd).ok_or(Reason::Uncountable)?;
    let counted = dollars::from_atomic(amount, value.decimals).ok_or(Reason::TooLarge)?;
    Ok(hold(EXPOSURE, counted, limit))
}

fn judge_exposure(level: &Level, new: &NewHold, standing: &Standing, sink: &mut impl Sink) {
    let NewHold { hold, limit } = new;
    let held = standing.budgets.get(&(hold.budget.clone(), hold.window)).copied().unwrap_or_default();
    let is_within = held.checked_add(hold.amount).is_some_and(|sum| sum <= *limit);
    let over = || OverBudget { budget: hold.budget.clone(), window: hold.window, held, limit: *limit };
    let outcome = Outcome::failed_if(!is_within, || over_exposed(&over()));
    let rule = hold.budget.rsplit('|').nth(1).unwrap_or_default();
    let unit = exposure_unit(rule).unwrap_or(Unit::Dollars);
    let says = || format!("at most {} out in channels, {} is", unit.show(*limit), unit.show(held));
    sink.rule(&level.name, "channels.max_exposure", says, outcome);
}

/// In what a counter of exposure counts, if `rule` is one's.
pub(crate) fn exposure_unit(rule: &str) -> Option<Unit> {
    match rule.strip_prefix(EXPOSURE)? {
        "" => Some(Unit::Dollars),
        rest => rest.starts_with(':').then_some(Unit::Atomic),
    }
}

/// That a counter of exposure has no room, for people.
pub(crate) fn over_exposed(over: &OverBudget) -> Reason {
    let rule = over.budget.rsplit('|').nth(1).unwrap_or_default();
    let unit = exposure_unit(rule).unwrap_or(Unit::Dollars);
    Reason::Exposure { limit: unit.show(over.limit), held: unit.show(over.held) }
}

fn asset_rule<'a>(level: &'a Level, purchase: &Purchase<'_>) -> Option<&'a AssetRule> {
    level.assets.get(&asset_key(&purchase.offer.network, &purchase.offer.asset))
}

fn times(amount: Amount, factor: u32) -> Amount {
    let factor = Amount::from(u64::from(factor));
    Amount::from_atomic(amount.atomic().saturating_mul(factor.atomic()))
}
