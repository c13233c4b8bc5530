//! What does nothing, or something else than it seems to, of what a policy says to channels.

use tollway_core::{Amount, SchemeName};

use crate::policy::channels::{ChannelRules, DEPOSIT_OF_PAYMENTS};
use crate::policy::dollars;
use crate::policy::level::{DollarCap, Level};

/// The warnings about channels of a level below `outer`, each with its key.
pub(super) fn warnings(level: &Level, outer: &[(String, &Level)]) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    own(level, &mut found);
    if !may_use(level, outer) {
        if let Some(key) = any_key(&level.channels) {
            let why =
                "does nothing: channels cannot be used here (channels.allow, allow_schemes, deny_schemes)";
            found.push((key, why.to_owned()));
        }
        return found;
    }
    sums(level, outer, &mut found);
    for (_, parent) in outer {
        dead(level, parent, &mut found);
    }
    found
}

/// Whether some channel can be used by whoever pays by this level.
pub(super) fn may_use(level: &Level, outer: &[(String, &Level)]) -> bool {
    let name = SchemeName::BATCH_SETTLEMENT;
    outer.iter().map(|(_, level)| *level).chain([level]).all(|level| {
        let is_listed = level
            .allow_schemes
            .as_ref()
            .is_none_or(|allowed| allowed.iter().any(|one| *one == name.as_str()));
        let is_denied = level.deny_schemes.iter().any(|one| *one == name.as_str());
        level.channels.allow != Some(false) && is_listed && !is_denied
    })
}

/// The most that one deposit may be, in counted dollars; none where nothing says so.
pub(super) fn deposit_cap(level: &Level) -> Option<Amount> {
    if let Some(cap) = &level.channels.max_deposit {
        return dollars::from_money(cap);
    }
    match &level.max_payment {
        DollarCap::Dollars(cap) => {
            let times = Amount::from(u64::from(DEPOSIT_OF_PAYMENTS));
            Some(Amount::from_atomic(dollars::from_money(cap)?.atomic().saturating_mul(times.atomic())))
        }
        DollarCap::Unset | DollarCap::Nothing => None,
    }
}

/// Numbers and lists that allow nothing by themselves.
fn own(level: &Level, found: &mut Vec<(&'static str, String)>) {
    let rules = &level.channels;
    let nothing = || "allows no deposit, so no channel".to_owned();
    if rules.max_deposit.as_ref().and_then(dollars::from_money) == Some(Amount::ZERO) {
        found.push(("channels.max_deposit", nothing()));
    }
    if rules.exposure == Some(Amount::ZERO) {
        found.push(("channels.max_exposure", nothing()));
    }
    if rules.max_withdraw_delay_seconds == Some(0) {
        found.push((
            "channels.max_withdraw_delay_seconds",
            "allows no channel: every one has a delay".to_owned(),
        ));
    }
    if rules.receiver_authorizers.as_ref().is_some_and(|known| known.is_empty()) {
        found.push(("channels.receiver_authorizers", "allows no channel at all".to_owned()));
    }
    for ((network, address), rule) in &level.assets {
        let (deposit, exposure) = (rule.max_deposit_atomic, rule.max_exposure_atomic);
        if deposit == Some(Amount::ZERO) {
            found.push(("asset.max_deposit_atomic", format!("{network}/{address}: {}", nothing())));
        }
        if deposit.zip(exposure).is_some_and(|(deposit, exposure)| deposit > exposure) {
            let why = format!("{network}/{address}: is dead: max_exposure_atomic is less");
            found.push(("asset.max_deposit_atomic", why));
        }
        if deposit.zip(rule.max_atomic).is_some_and(|(deposit, most)| deposit < most) {
            let why = format!(
                "{network}/{address}: is less than max_atomic: a payment of that much fits in no deposit"
            );
            found.push(("asset.max_deposit_atomic", why));
        }
    }
}

/// Sums that do not fit each other, within the level or with what all levels above it leave.
fn sums(level: &Level, outer: &[(String, &Level)], found: &mut Vec<(&'static str, String)>) {
    let rules = &level.channels;
    let all = || outer.iter().map(|(_, level)| *level).chain([level]);
    let exposure =
        all().filter_map(|level| level.channels.exposure).min().filter(|most| *most != Amount::ZERO);
    let own = rules.max_deposit.as_ref().and_then(dollars::from_money).filter(|most| *most != Amount::ZERO);
    if let Some((deposit, exposure)) = own.zip(exposure).filter(|(deposit, exposure)| deposit > exposure) {
        let (deposit, exposure) = (dollars::show(deposit), dollars::show(exposure));
        let why = format!("is dead: {deposit} is more than may be out in all channels together, {exposure}");
        found.push(("channels.max_deposit", why));
    }
    let payment = all().filter_map(|level| match &level.max_payment {
        DollarCap::Dollars(cap) => dollars::from_money(cap),
        DollarCap::Unset | DollarCap::Nothing => None,
    });
    let Some(payment) = payment.min().filter(|most| *most != Amount::ZERO) else { return };
    let short = |most: Amount| {
        let (most, payment) = (dollars::show(most), dollars::show(payment));
        format!("{most} is less than one payment may be, {payment}: such a payment fits in no deposit")
    };
    if let Some(deposit) = own.filter(|deposit| *deposit < payment) {
        found.push(("channels.max_deposit", short(deposit)));
    }
    if let Some(exposure) = rules.exposure.filter(|most| *most != Amount::ZERO && *most < payment) {
        found.push(("channels.max_exposure", short(exposure)));
    }
}

/// What `level` says in vain, because `parent` allows less.
fn dead(level: &Level, parent: &Level, found: &mut Vec<(&'static str, String)>) {
    let whose = super::lint::whose(parent);
    let (own, outer) = (&level.channels, &parent.channels);
    let mut warn = |key, is_dead: bool, most: String| {
        if is_dead {
            found.push((key, format!("is dead: {whose} allows at most {most}")));
        }
    };
    if let Some((deposit, cap)) =
        own.max_deposit.as_ref().and_then(dollars::from_money).zip(deposit_cap(parent))
    {
        warn("channels.max_deposit", deposit > cap, dollars::show(cap));
    }
    if let Some((exposure, most)) = own.exposure.zip(outer.exposure) {
        warn("channels.max_exposure", exposure > most, dollars::show(most));
    }
    if let Some((payments, most)) = own.payments_per_deposit.zip(outer.payments_per_deposit) {
        warn("channels.payments_per_deposit", payments > most, most.to_string());
    }
    if let Some((parallel, most)) = own.parallel.zip(outer.parallel) {
        warn("channels.parallel", parallel > most, most.to_string());
    }
    if let Some((delay, most)) = own.max_withdraw_delay_seconds.zip(outer.max_withdraw_delay_seconds) {
        warn("channels.max_withdraw_delay_seconds", delay > most, most.to_string());
    }
    if let (Some(own), Some(outer)) = (&own.receiver_authorizers, &outer.receiver_authorizers) {
        for key in own.difference(outer) {
            found.push(("channels.receiver_authorizers", format!("{key} is dead: {whose} does not list it")));
        }
    }
}

/// The first key that is set, beside the switch itself.
fn any_key(rules: &ChannelRules) -> Option<&'static str> {
    let ChannelRules {
        allow,
        max_deposit,
        exposure,
        payments_per_deposit,
        parallel,
        max_withdraw_delay_seconds,
        receiver_authorizers,
    } = rules;
    // What an organisation says that says nothing is no key of the file's.
    let default = ChannelRules::outermost();
    let keys = [
        ("channels.max_deposit", max_deposit.is_some()),
        ("channels.max_exposure", exposure.is_some() && *exposure != default.exposure),
        ("channels.payments_per_deposit", payments_per_deposit.is_some()),
        ("channels.parallel", parallel.is_some()),
        (
            "channels.max_withdraw_delay_seconds",
            max_withdraw_delay_seconds.is_some()
                && *max_withdraw_delay_seconds != default.max_withdraw_delay_seconds,
        ),
        ("channels.receiver_authorizers", receiver_authorizers.is_some()),
        ("channels.allow", *allow == Some(true)),
    ];
    keys.into_iter().find(|(_, is_set)| *is_set).map(|(key, _)| key)
}
