//! The keys that every level of a policy file has.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use tollway_core::{Amount, Currency, Money, Network, is_loopback};
use url::Url;

use crate::policy::approval::{Approval, ApprovalBy};
use crate::policy::asset_key;
use crate::policy::budget::{BudgetFor, Dimension, Limits, Scope};
use crate::policy::channels::{ChannelRules, LEAST_PAYMENTS, MOST_PARALLEL};
use crate::policy::dollars;
use crate::policy::host::HostPattern;
use crate::policy::keys::Keys;
use crate::policy::level::{Alarm, AssetRule, DollarCap, Drift, Level, Velocity};
use crate::policy::names::asset_name;
use crate::policy::tool::ToolPattern;
use crate::policy::window::Window;

/// The longest that an authorization may be allowed to live: a year.
const MAX_SECONDS: u32 = 366 * 86_400;
/// The longest that somebody may take to answer.
const MAX_APPROVAL_SECONDS: u32 = 86_400;
/// How long somebody has unless the file says so.
const APPROVAL_SECONDS: u32 = 120;

/// Reads what `keys` say over what `level` says already.
pub(crate) fn read_level(keys: &mut Keys<'_>, level: Level) -> Level {
    let max_payment = keys.text("max_payment", money).map_or(level.max_payment, DollarCap::Dollars);
    let seconds = keys.integer("max_authorization_seconds", 0..=MAX_SECONDS).map(u64::from);
    Level {
        max_payment,
        max_authorization_seconds: seconds.or(level.max_authorization_seconds),
        requires_signed_offers: keys.switch("require_signed_offers"),
        allow_hosts: keys.list("allow_hosts", host),
        deny_hosts: keys.list("deny_hosts", host).unwrap_or_default(),
        trust_resource_hosts: keys.list("trust_resource_hosts", host),
        allow_networks: keys.list("allow_networks", network),
        deny_networks: keys.list("deny_networks", network).unwrap_or_default(),
        allow_schemes: keys.list("allow_schemes", name),
        deny_schemes: keys.list("deny_schemes", name).unwrap_or_default(),
        allow_tools: keys.list("allow_tools", tool),
        deny_tools: keys.list("deny_tools", tool).unwrap_or_default(),
        only_listed_assets: keys.switch("only_listed_assets"),
        assets: assets(keys),
        pins: keys.lists("pin", host, payee).into_iter().collect(),
        pin_first_use: keys.switch("pin_first_use"),
        on_changed_payee: keys.text("on_changed_payee", alarm).unwrap_or_default(),
        drift: drift(keys),
        budget: budget(keys),
        budget_for: budgets_for(keys),
        velocity: velocity(keys),
        approval: approval(keys),
        channels: channels(keys, level.channels),
        name: level.name,
    }
}

fn assets(keys: &mut Keys<'_>) -> BTreeMap<(Network, String), AssetRule> {
    let mut assets = BTreeMap::new();
    keys.each("asset", |keys| {
        let network = keys.text("network", network);
        let address = keys.text("address", name);
        let rule = AssetRule {
            max_atomic: keys.text("max_atomic", parse::<Amount>),
            limits: limits(keys, parse),
            max_deposit_atomic: keys.text("max_deposit_atomic", parse::<Amount>),
            max_exposure_atomic: keys.text("max_exposure_atomic", parse::<Amount>),
        };
        let (Some(network), Some(address)) = (network, address) else {
            keys.fault("", "must name its network and its address");
            return;
        };
        if network.namespace() == "eip155" && !is_evm_address(&address) {
            keys.fault("address", "must be an address of 20 bytes: 0x and 40 hex digits");
        }
        if assets.insert(asset_key(&network, &address), rule).is_some() {
            keys.fault("address", "is here twice");
        }
    });
    assets
}

fn drift(keys: &mut Keys<'_>) -> Option<Drift> {
    let mut keys = keys.table("drift")?;
    let is_there = keys.has("above_percent");
    let above_percent = keys.integer("above_percent", 0..=100_000);
    let on = keys.text("on", alarm).unwrap_or_default();
    if !is_there {
        keys.fault("above_percent", "is needed here");
    }
    keys.done();
    Some(Drift { above_percent: above_percent?, on })
}

fn budget(keys: &mut Keys<'_>) -> Limits {
    let Some(mut keys) = keys.table("budget") else { return Limits::default() };
    let before = keys.faults();
    let limits = limits(&mut keys, counted_dollars);
    if limits.is_empty() && keys.faults() == before {
        keys.fault("", "names no window: minute, hour, day, month or lifetime");
    }
    keys.done();
    limits
}

fn budgets_for(keys: &mut Keys<'_>) -> Vec<BudgetFor> {
    let mut budgets: Vec<BudgetFor> = Vec::new();
    keys.each("budget_for", |keys| {
        let before = keys.faults();
        let scope = Scope {
            host: keys.text("host", host),
            tool: keys.text("tool", tool),
            agent: keys.text("agent", name),
            network: keys.text("network", network),
            asset: keys.text("asset", asset),
            per: keys.list("per", dimension).unwrap_or_default(),
        };
        let limits = limits(keys, counted_dollars);
        if keys.faults() > before {
            return;
        }
        if limits.is_empty() {
            keys.fault("", "names no window: minute, hour, day, month or lifetime");
        }
        if scope == Scope::default() {
            keys.fault("", "counts everything: say what it is for, or write it in [budget]");
        } else if budgets.iter().any(|other| other.scope == scope) {
            keys.fault("", "counts the same as one above: one budget has its windows together");
        }
        budgets.push(BudgetFor { scope, limits });
    });
    budgets
}

fn velocity(keys: &mut Keys<'_>) -> Velocity {
    let Some(mut keys) = keys.table("velocity") else { return Velocity::default() };
    let (before, mut limits) = (keys.faults(), Limits::default());
    let names = [
        ("payments_per_minute", Window::Minute),
        ("payments_per_hour", Window::Hour),
        ("payments_per_day", Window::Day),
    ];
    for (name, window) in names {
        if let Some(payments) = keys.integer(name, 0..=u32::MAX) {
            limits.set(window, Amount::from(u64::from(payments)));
        }
    }
    if limits.is_empty() && keys.faults() == before {
        keys.fault("", "names no window: payments_per_minute, payments_per_hour or payments_per_day");
    }
    let freezes = keys.text("on", |text| match text {
        "deny" => Ok(false),
        "freeze" => Ok(true),
        _ => Err("must be \"deny\" or \"freeze\"".to_owned()),
    });
    keys.done();
    Velocity { limits, freezes: freezes.unwrap_or_default() }
}

/// Reads what `keys` say of channels over what is said already.
fn channels(keys: &mut Keys<'_>, rules: ChannelRules) -> ChannelRules {
    let Some(mut keys) = keys.table("channels") else { return rules };
    let allow = keys.has("allow").then(|| keys.switch("allow"));
    let seconds = keys.integer("max_withdraw_delay_seconds", 0..=MAX_SECONDS).map(u64::from);
    let read = ChannelRules {
        allow: allow.or(rules.allow),
        max_deposit: keys.text("max_deposit", money).or(rules.max_deposit),
        exposure: keys.text("max_exposure", counted_dollars).or(rules.exposure),
        payments_per_deposit: keys.integer("payments_per_deposit", LEAST_PAYMENTS..=1_000_000),
        parallel: keys.integer("parallel", 1..=MOST_PARALLEL),
        max_withdraw_delay_seconds: seconds.or(rules.max_withdraw_delay_seconds),
        receiver_authorizers: keys.list("receiver_authorizers", authorizer),
    };
    keys.done();
    read
}

fn authorizer(text: &str) -> Result<String, String> {
    match is_evm_address(text) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err("must be an address of 20 bytes: 0x and 40 hex digits".to_owned()),
    }
}

fn approval(keys: &mut Keys<'_>) -> Option<Approval> {
    let mut keys = keys.table("approval")?;
    let above = keys.text("above", money);
    let timeout = keys.integer("timeout_seconds", 1..=MAX_APPROVAL_SECONDS).unwrap_or(APPROVAL_SECONDS);
    let has_way = keys.has("by");
    let way = keys.text("by", |text| match text {
        "terminal" | "queue" | "webhook" => Ok(text.to_owned()),
        _ => Err("must be \"terminal\", \"queue\" or \"webhook\"".to_owned()),
    });
    let has_url = keys.has("webhook");
    let url = keys.text("webhook", webhook);
    let secret = keys.text("secret", source);
    let by = match way.as_deref() {
        Some("terminal") => Some(ApprovalBy::Terminal),
        Some("queue") => Some(ApprovalBy::Queue),
        Some(_) if !has_url => {
            keys.fault("webhook", "is needed here: the URL that is asked");
            None
        }
        Some(_) => url.map(|url| ApprovalBy::Webhook { url, secret: secret.clone() }),
        None if !has_way => {
            keys.fault("by", "is needed here: \"terminal\", \"queue\" or \"webhook\"");
            None
        }
        None => None,
    };
    if matches!(by, Some(ApprovalBy::Terminal | ApprovalBy::Queue)) && (has_url || secret.is_some()) {
        keys.fault("by", "must be \"webhook\" where one is named");
    }
    keys.done();
    Some(Approval { above, by: by?, timeout_seconds: timeout.into() })
}

/// Limits for the windows that are named.
fn limits(keys: &mut Keys<'_>, read: impl Fn(&str) -> Result<Amount, String>) -> Limits {
    let mut limits = Limits::default();
    for window in Window::ALL {
        if let Some(limit) = keys.text(window.as_str(), &read) {
            limits.set(window, limit);
        }
    }
    limits
}

fn parse<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

/// Dollars, as exact as they are counted.
fn money(text: &str) -> Result<Money, String> {
    let money: Money = parse(text)?;
    counted(&money).map(|_| money)
}

fn counted_dollars(text: &str) -> Result<Amount, String> {
    counted(&parse(text)?)
}

fn counted(money: &Money) -> Result<Amount, String> {
    match (money.currency(), dollars::from_money(money)) {
        (Currency::Usd, Some(counted)) => Ok(counted),
        (Currency::Usd, None) => {
            Err("has more digits than dollars are counted in: at most 18 decimals".to_owned())
        }
        _ => Err("must be dollars, such as \"$0.05\"".to_owned()),
    }
}

fn host(text: &str) -> Result<HostPattern, String> {
    let message = || {
        format!(
            "{text:?} can never match: must be a host such as \"api.example.com\", \"*.example.com\" or \"api.example.com:8443\""
        )
    };
    HostPattern::parse(text).ok_or_else(message)
}

fn network(text: &str) -> Result<Network, String> {
    text.parse().map_err(|error: tollway_core::NetworkError| match Network::from_v1_name(text) {
        Some(network) => format!("{text:?} is {:?} here", network.as_str()),
        None => error.to_string(),
    })
}

/// `eip155:8453/0x8335…`
fn asset(text: &str) -> Result<String, String> {
    let (on, address) =
        text.split_once('/').ok_or("must be NETWORK/ADDRESS, such as \"eip155:8453/0x8335…\"")?;
    let on = network(on)?;
    if on.namespace() == "eip155" && !is_evm_address(address) {
        return Err("must end in an address of 20 bytes: 0x and 40 hex digits".to_owned());
    }
    Ok(asset_name(&on, address))
}

fn tool(text: &str) -> Result<ToolPattern, String> {
    ToolPattern::parse(text).ok_or_else(|| {
        format!("{text:?} can never match: must be a name of a tool, \"*\" stands for any text")
    })
}

fn name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(text.to_owned()) }
}

fn payee(text: &str) -> Result<String, String> {
    match text.strip_prefix("0x") {
        Some(_) if is_evm_address(text) => Ok(text.to_ascii_lowercase()),
        Some(_) => Err("must be an address of 20 bytes: 0x and 40 hex digits".to_owned()),
        None => name(text),
    }
}

fn is_evm_address(text: &str) -> bool {
    let digits = text.strip_prefix("0x").unwrap_or_default();
    digits.len() == 40 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn alarm(text: &str) -> Result<Alarm, String> {
    match text {
        "deny" => Ok(Alarm::Deny),
        "ask" => Ok(Alarm::Ask),
        _ => Err("must be \"deny\" or \"ask\"".to_owned()),
    }
}

fn dimension(text: &str) -> Result<Dimension, String> {
    let known = Dimension::ALL.into_iter().find(|dimension| dimension.as_str() == text);
    known.ok_or_else(|| "must be \"host\", \"tool\", \"agent\", \"network\" or \"asset\"".to_owned())
}

fn webhook(text: &str) -> Result<Url, String> {
    let url: Url = parse(text)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a password: name a secret".to_owned());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => Err("must be https, or http on this machine".to_owned()),
    }
}

/// Where a secret is. What stands there instead is not repeated: it may be one.
fn source(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("env:").or_else(|| text.strip_prefix("file:"));
    match rest {
        Some(rest) if !rest.is_empty() => Ok(text.to_owned()),
        _ => {
            Err("must say where the secret is: \"env:NAME\" or \"file:PATH\", never the secret itself"
                .to_owned())
        }
    }
}
