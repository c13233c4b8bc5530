//! What the wallet may agree to: a pure function from (rules, purchase, what came before) to a verdict.
//!
//! A [`Policy`] is a stack of levels, the organisation outermost. Every rule of every level must hold, so none can allow what
//! one outside it does not. `level` has the rules, `budget` and `window` what is counted and when, `file` reads policies and
//! `lint` finds what is dead in them.
//!
//! Nothing here reads a clock, a counter, a file or a text of the seller's. What came before is given as a [`Standing`]; that
//! budgets hold is up to the ledger, which is given [`Policy::holds`] and [`Policy::conditions`].
pub(crate) mod approval;
pub(crate) mod budget;
pub(crate) mod channels;
pub(crate) mod decision;
pub(crate) mod dollars;
pub(crate) mod explain;
pub(crate) mod file;
pub(crate) mod host;
pub(crate) mod keys;
pub(crate) mod level;
pub(crate) mod limits;
mod lint;
mod lint_channels;
pub(crate) mod names;
#[cfg(test)]
mod properties;
mod read_level;
pub(crate) mod rules;
pub(crate) mod standing;
pub(crate) mod tool;
pub(crate) mod window;

use std::collections::BTreeMap;
use std::iter::once;

use tollway_core::model::PaymentRequirements;
use tollway_core::{Amount, Currency, Money, Network, OfferedValue, UnixTime};
use tollway_ledger::{Condition, Hold, NewHold};
use url::Url;

use crate::policy::budget::Count;
use crate::policy::channels::ChannelRules;
use crate::policy::decision::{Breach, Decision, Question, Reason, Verdict};
use crate::policy::explain::{Breaches, Explanation, Findings, Outcome, Sink};
use crate::policy::host::HostPattern;
use crate::policy::level::{DollarCap, Level};
use crate::policy::names::FactName;
use crate::policy::rules::{judge_always, judge_approval, judge_count, judge_drift, judge_payee};
use crate::policy::standing::{PriceHistory, Purchase, Standing};
use crate::policy::window::Window;

/// The name of the outermost level.
pub(crate) const ORGANISATION: &str = "org";

/// The rules a wallet pays by: levels, the outermost first, all of which must agree.
///
/// The default is one level that allows up to one dollar per payment, in assets the wallet knows to stand for a dollar,
/// under authorizations that live ten minutes at most. Everything unknown is denied. What is set acts on the innermost level.
///
/// ```
/// use tollway_buyer::Policy;
/// use tollway_core::{Amount, Network};
///
/// let policy = Policy::default()
///     .cap_per_payment("$0.05".parse()?)
///     .allow_network(Network::evm(8453))
///     .allow_host("api.example.com")
///     .allow_asset(Network::evm(8453), "0x60a3e35cc302bfa44cb288bc5a4f316fdb1adb42", Amount::from(50_000));
/// # drop(policy);
/// # Ok::<(), tollway_core::MoneyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    outer: Vec<Level>,
    innermost: Level,
    agent: Option<String>,
    tool: Option<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self::of(outermost())
    }
}

impl Policy {
    /// At most `cap` per payment in any known dollar asset; the default is $1. A cap in something else than
    /// dollars allows no dollars: give that asset a cap of its own with [`Self::allow_asset`].
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (offer, value) = offer();
    /// // The offer is 0.05 USDC.
    /// let policy = tollway_buyer::Policy::default().cap_per_payment("$0.04".parse()?);
    /// assert!(!policy.decide(&offer, Some(&value), &url()).is_allow());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn cap_per_payment(mut self, cap: Money) -> Self {
        self.innermost.max_payment = match cap.currency() {
            Currency::Usd => DollarCap::Dollars(cap),
            _ => DollarCap::Nothing,
        };
        self
    }

    /// Allows `asset` on `network` up to `max_atomic`, in its atomic units, per payment, whether or not the
    /// wallet knows what it is worth. For a known dollar asset this replaces the cap in dollars.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_core::{Amount, Network};
    /// # let (offer, _) = offer();
    /// let policy = tollway_buyer::Policy::default();
    /// assert!(!policy.decide(&offer, None, &url()).is_allow(), "nobody knows what it is worth");
    /// let policy = policy.allow_asset(Network::evm(8453), &offer.asset, Amount::from(50_000));
    /// assert!(policy.decide(&offer, None, &url()).is_allow());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn allow_asset(mut self, network: Network, asset: &str, max_atomic: Amount) -> Self {
        let key = asset_key(&network, asset);
        self.innermost.assets.entry(key).or_default().max_atomic = Some(max_atomic);
        self
    }

    /// Allows `network`. With the first call every other network is denied.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_buyer::{Decision, Policy, Reason};
    /// # let (offer, value) = offer();
    /// let policy = Policy::default().allow_network(tollway_core::Network::evm(84532));
    /// assert_eq!(policy.decide(&offer, Some(&value), &url()), Decision::Deny(Reason::Network));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn allow_network(mut self, network: Network) -> Self {
        self.innermost.allow_networks.get_or_insert_default().insert(network);
        self
    }

    /// Allows requests to `host`. With the first call every other host is denied; subdomains are other hosts.
    ///
    /// The host is spelt as in URLs or as people do: letter case, `bücher.example` and `::1` without brackets
    /// do not matter. With a port, as in `api.example.com:8443` or `[::1]:3000`, it is that host on that port
    /// only; without one, on any. `*.example.com` is every host below `example.com`, and not that itself. What is
    /// no host, such as a whole URL, matches nothing.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (offer, value) = offer();
    /// let policy = tollway_buyer::Policy::default().allow_host("api.example.com");
    /// assert!(policy.decide(&offer, Some(&value), &"https://api.example.com/x".parse()?).is_allow());
    /// assert!(!policy.decide(&offer, Some(&value), &"https://evil.example/x".parse()?).is_allow());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn allow_host(mut self, host: &str) -> Self {
        self.innermost.allow_hosts.get_or_insert_default().insert(host_pattern(host));
        self
    }

    /// Accepts a 402 that names a resource at `host` although the request went to another: for sellers whose
    /// program knows itself by another name than the world does. Spelt as for [`Self::allow_host`].
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_buyer::Policy;
    /// let mut required = required();
    /// required.resource.as_mut().unwrap().url = "http://backend.example.net/data".to_owned();
    /// assert!(wallet().judge(&required, &url()).is_err());
    /// let trusting = wallet_with(Policy::default().trust_resource_host("backend.example.net"));
    /// assert!(trusting.judge(&required, &url()).is_ok());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn trust_resource_host(mut self, host: &str) -> Self {
        self.innermost.trust_resource_hosts.get_or_insert_default().insert(host_pattern(host));
        self
    }

    /// The longest an authorization may live; the default is 600 seconds. An offer that asks for more is
    /// refused, not shortened: the seller said what it needs.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (offer, value) = offer();
    /// // The offer asks for 60 seconds.
    /// let policy = tollway_buyer::Policy::default().max_timeout_seconds(30);
    /// let decision = policy.decide(&offer, Some(&value), &url());
    /// assert_eq!(decision.to_string(), "its maxTimeoutSeconds is 60, the limit is 30");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn max_timeout_seconds(mut self, seconds: u64) -> Self {
        self.innermost.max_authorization_seconds = Some(seconds);
        self
    }

    /// A new innermost level, which restricts nothing yet: what is set from now on acts on it. It can only take away from
    /// what the levels outside it allow.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (offer, value) = offer();
    /// use tollway_buyer::Policy;
    /// // The offer is 0.05 USDC.
    /// let policy = Policy::default().cap_per_payment("$0.01".parse()?);
    /// let policy = policy.add_level("team:research").cap_per_payment("$100".parse()?);
    /// assert!(!policy.decide(&offer, Some(&value), &url()).is_allow(), "the outer cap holds");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn add_level(mut self, name: &str) -> Self {
        let outer = std::mem::replace(&mut self.innermost, Level::new(name));
        self.outer.push(outer);
        self
    }

    /// At most `max` in each `window`, in all known dollar assets together, for whoever shares the wallet's ledger. What is
    /// signed counts until it is provably dead. A budget in something else than dollars allows nothing.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_buyer::{Policy, Window};
    /// // The offer is 0.05 USDC.
    /// let wallet = wallet_with(Policy::default().budget_per(Window::Day, &"$0.09".parse()?));
    /// assert!(wallet.pay(&required(), &url()).await.is_ok());
    /// assert!(wallet.pay(&required(), &url()).await.is_err(), "there is no room for a second one");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn budget_per(mut self, window: Window, max: &Money) -> Self {
        let max = dollars::from_money(max).unwrap_or(Amount::ZERO);
        self.innermost.budget.set(window, max);
        self
    }

    /// The names of the levels, the outermost first.
    ///
    /// ```
    /// use tollway_buyer::Policy;
    /// let policy = Policy::default().add_level("team:research");
    /// assert_eq!(policy.levels().collect::<Vec<_>>(), ["org", "team:research"]);
    /// ```
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.all().map(|level| &*level.name)
    }

    /// For purchases of the agent `name`: budgets that count each agent count it by this name.
    ///
    /// ```
    /// let policy = tollway_buyer::Policy::default().for_agent("scout");
    /// assert_eq!(policy.agent(), Some("scout"));
    /// ```
    #[must_use]
    pub fn for_agent(mut self, name: &str) -> Self {
        self.agent = Some(name.to_owned());
        self
    }

    /// The agent whose purchases these are, if it has a name.
    ///
    /// ```
    /// assert_eq!(tollway_buyer::Policy::default().agent(), None);
    /// ```
    pub fn agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }

    /// For purchases by the tool `name`, unless a purchase names another.
    ///
    /// ```
    /// let policy = tollway_buyer::Policy::default().for_tool("search");
    /// assert_ne!(policy, tollway_buyer::Policy::default());
    /// ```
    #[must_use]
    pub fn for_tool(mut self, name: &str) -> Self {
        self.tool = Some(name.to_owned());
        self
    }

    /// Pays only offers that are signed by payTo, or by a key that the wallet was given as the seller's
    /// ([`WalletBuilder::seller_keys`](crate::WalletBuilder::seller_keys)). Without it unsigned offers are paid too; wrongly
    /// signed ones never are.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_buyer::{Decision, Policy, Reason};
    /// let wallet = wallet_with(Policy::default().require_signed_offers());
    /// assert_eq!(wallet.judge(&required(), &url())?[0].decision, Decision::Deny(Reason::NotSigned));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub const fn require_signed_offers(mut self) -> Self {
        self.innermost.requires_signed_offers = true;
        self
    }

    pub(crate) fn requires_signed_offers(&self) -> bool {
        self.all().any(|level| level.requires_signed_offers)
    }

    /// Whether a 402 from elsewhere may name the resource at `url`: some level says so, the outermost for one, and none that
    /// has a list leaves it out.
    pub(crate) fn trusts_resource_host(&self, url: &Url) -> bool {
        self.all().enumerate().all(|(depth, level)| match &level.trust_resource_hosts {
            Some(trusted) => trusted.iter().any(|pattern| pattern.matches(url)),
            None => depth > 0,
        })
    }

    /// Decides on one offer, made in answer to a request to `url`. `value` is what the wallet itself knows the
    /// offer to cost, `None` if it does not know the asset. Only by rules that need to know nothing else: what came before,
    /// and who must be asked, [`Self::judge`] knows too.
    ///
    /// ```
    /// use tollway_buyer::{Decision, Policy};
    /// use tollway_core::{Amount, JsonObject, Network, OfferedValue, SchemeName, model::PaymentRequirements};
    ///
    /// let offer = PaymentRequirements {
    ///     scheme: SchemeName::EXACT,
    ///     network: Network::evm(8453),
    ///     amount: Amount::from(50_000),
    ///     asset: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913".into(),
    ///     pay_to: "0x209693Bc6afc0C5328bA36FaF03C514EF312287C".into(),
    ///     max_timeout_seconds: 60,
    ///     extra: JsonObject::new(),
    ///     other: JsonObject::new(),
    /// };
    /// let value = OfferedValue { symbol: "USDC".into(), decimals: 6, amount: offer.amount, is_usd: true };
    /// let url = "https://api.example.com/data".parse()?;
    ///
    /// assert_eq!(Policy::default().decide(&offer, Some(&value), &url), Decision::Allow);
    /// let frugal = Policy::default().cap_per_payment("$0.01".parse()?);
    /// let Decision::Deny(reason) = frugal.decide(&offer, Some(&value), &url) else { unreachable!() };
    /// assert_eq!(reason.to_string(), "above the cap of $0.01 per payment");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn decide(&self, offer: &PaymentRequirements, value: Option<&OfferedValue>, url: &Url) -> Decision {
        let purchase = Purchase {
            wallet: "",
            url,
            method: "",
            tool: None,
            offer,
            value,
            deposit: None,
            now: UnixTime(0),
        };
        let mut breaches = Breaches::default();
        self.walk_offer(&purchase, &mut breaches);
        match breaches.failed.into_iter().next() {
            None => Decision::Allow,
            Some(breach) => Decision::Deny(breach.reason),
        }
    }

    /// Decides on a purchase by every rule of every level. The ledger has the last word on budgets, pins and switches: it is
    /// given [`Self::holds`] and [`Self::conditions`] in one step, and [`Standing`] may be old by then.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() {
    /// # let (offer, value) = offer();
    /// # let url = url();
    /// use tollway_buyer::{Policy, Standing};
    /// let mut standing = Standing::default();
    /// assert!(Policy::default().judge(&purchase(&url, &offer, &value), &standing).is_allow());
    /// standing.switches.insert("org".into(), "lunch".into());
    /// let verdict = Policy::default().judge(&purchase(&url, &offer, &value), &standing);
    /// assert_eq!(verdict.to_string(), "denied: payments are frozen: lunch (org)");
    /// # }
    /// ```
    pub fn judge(&self, purchase: &Purchase<'_>, standing: &Standing) -> Verdict {
        let mut breaches = Breaches::default();
        self.walk(purchase, standing, &mut breaches);
        self.verdict(breaches)
    }

    /// What [`Self::judge`] says, and every rule that it went by.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() {
    /// # let (offer, value) = offer();
    /// # let url = url();
    /// use tollway_buyer::{Policy, Standing};
    /// let why = Policy::default().explain(&purchase(&url, &offer, &value), &Standing::default());
    /// let cap = why.findings.iter().find(|finding| finding.rule == "max_payment").unwrap();
    /// assert_eq!((&*cap.level, &*cap.says), ("org", "at most $1 a payment"));
    /// # }
    /// ```
    pub fn explain(&self, purchase: &Purchase<'_>, standing: &Standing) -> Explanation {
        let mut findings = Findings::default();
        self.walk(purchase, standing, &mut findings);
        let mut breaches = Breaches::default();
        for finding in &findings.0 {
            breaches.rule(&finding.level, &finding.rule, String::new, finding.outcome.clone());
        }
        Explanation { verdict: self.verdict(breaches), findings: findings.0 }
    }

    /// Everything that `purchase` takes of budgets, of every level: what the ledger must hold, all or nothing, before
    /// anything is signed. Each counter is named once.
    ///
    /// # Errors
    /// It cannot be counted where it should be: then it may not be paid.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() {
    /// # let (offer, value) = offer();
    /// # let url = url();
    /// let holds = tollway_buyer::Policy::default().holds(&purchase(&url, &offer, &value)).unwrap();
    /// assert!(holds.is_empty(), "the default policy has no budgets");
    /// # }
    /// ```
    pub fn holds(&self, purchase: &Purchase<'_>) -> Result<Vec<NewHold>, Reason> {
        let mut holds: Vec<NewHold> = Vec::new();
        let mut known = BTreeMap::new();
        for level in self.all() {
            for count in level.counts(purchase, self.agent(), self.tool(purchase))? {
                let hold = new_hold(purchase, level, &count);
                match known.get(&hold.hold.budget).and_then(|at: &usize| holds.get_mut(*at)) {
                    // Two levels of one name: both limits are of one counter, so the lower one is.
                    Some(same) => same.limit = same.limit.min(hold.limit),
                    None => {
                        known.insert(hold.hold.budget.clone(), holds.len());
                        holds.push(hold);
                    }
                }
            }
        }
        Ok(holds)
    }

    /// What must be so when the ledger takes the holds, and is made so for the first payment to a host: no kill switch is on,
    /// who is paid is who was paid before, and prices are held against those that are known. After a change of payee was agreed to, the fact must be written
    /// ([`KnownPayees::with`](crate::KnownPayees::with)) before this is met.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() {
    /// # let (offer, value) = offer();
    /// # let url = url();
    /// use tollway_buyer::{Policy, Standing};
    /// let conditions = Policy::default().conditions(&purchase(&url, &offer, &value), &Standing::default());
    /// assert_eq!(conditions.len(), 1, "the kill switch of the one level");
    /// # }
    /// ```
    pub fn conditions(&self, purchase: &Purchase<'_>, standing: &Standing) -> Vec<Condition> {
        let switches = self.switch_facts(purchase.wallet);
        let mut conditions: Vec<Condition> =
            switches.map(|FactName { scope, name }| Condition::Absent { scope, name }).collect();
        if self.pinning(purchase).next().is_some() {
            let FactName { scope, name } = purchase.pin_fact();
            let value = standing.payees.clone().unwrap_or_default().with(purchase.offer).value();
            // A pin is for good: whoever wants another says so.
            conditions.push(Condition::EqualOrSet { scope, name, value, until: UnixTime(u64::MAX) });
        }
        if self.all().any(|level| level.drift.is_some()) {
            let FactName { scope, name } = purchase.price_fact();
            // The first price is known from here on: whoever buys the same at once is held against it.
            let known = standing.price.unwrap_or_else(|| PriceHistory::after(None, purchase.amount()));
            conditions.push(Condition::EqualOrSet {
                scope,
                name,
                value: known.value(),
                until: UnixTime(u64::MAX),
            });
        }
        conditions
    }

    /// The kill switches of the levels, the outermost first, and the agent's own: an agent can be frozen whether the policy has
    /// a level for it or not.
    ///
    /// ```
    /// let policy = tollway_buyer::Policy::default().add_level("agent:scout");
    /// let names: Vec<_> = policy.switch_facts("0xabc").map(|switch| switch.name).collect();
    /// assert_eq!(names, ["org", "agent:scout"]);
    /// ```
    pub fn switch_facts(&self, wallet: &str) -> impl Iterator<Item = FactName> {
        self.switches(wallet).map(|(_, switch)| switch)
    }

    /// The same, each with what it switches off.
    pub(crate) fn switches(&self, wallet: &str) -> impl Iterator<Item = (String, FactName)> {
        let agent = self.agent_switch();
        let levels = self.all().map(|level| level.name.clone());
        levels.chain(agent).map(move |name| (name.clone(), FactName::switch(wallet, &name)))
    }

    /// The name of the agent's own switch, where no level has it.
    fn agent_switch(&self) -> Option<String> {
        let name = format!("agent:{}", self.agent.as_deref()?);
        self.all().all(|level| level.name != name).then_some(name)
    }

    /// The level to be frozen, its kill switch switched on, because `budget` is full: it counts payments, and its level says
    /// so. `budget` is named as [`Self::holds`] names it.
    ///
    /// ```
    /// assert_eq!(tollway_buyer::Policy::default().trips("0xabc", "0xabc|org|*|day"), None);
    /// ```
    pub fn trips(&self, wallet: &str, budget: &str) -> Option<&str> {
        let breaks = |level: &&Level| {
            let mut names =
                level.velocities().map(|(window, _)| names::budget(wallet, &level.name, "velocity", window));
            level.velocity.freezes && names.any(|name| name == budget)
        };
        self.all().find(breaks).map(|level| &*level.name)
    }

    /// Whether somebody must look up who was paid at the host of `purchase`, and what was paid for it before.
    pub(crate) fn looks_back(&self, purchase: &Purchase<'_>) -> (bool, bool) {
        (self.pinning(purchase).next().is_some(), self.all().any(|level| level.drift.is_some()))
    }

    pub(crate) fn of(outermost: Level) -> Self {
        Self { outer: Vec::new(), innermost: outermost, agent: None, tool: None }
    }

    pub(crate) fn push(&mut self, level: Level) {
        let outer = std::mem::replace(&mut self.innermost, level);
        self.outer.push(outer);
    }

    fn all(&self) -> impl Iterator<Item = &Level> {
        self.outer.iter().chain(once(&self.innermost))
    }

    fn tool<'a>(&'a self, purchase: &Purchase<'a>) -> Option<&'a str> {
        purchase.tool.or(self.tool.as_deref())
    }

    /// Every rule that needs nothing but the purchase.
    fn walk_offer(&self, purchase: &Purchase<'_>, sink: &mut impl Sink) {
        judge_always(purchase, sink);
        for level in self.all() {
            level.judge(purchase, self.tool(purchase), sink);
        }
    }

    /// Every rule.
    fn walk(&self, purchase: &Purchase<'_>, standing: &Standing, sink: &mut impl Sink) {
        self.walk_offer(purchase, sink);
        for name in self.all().map(|level| level.name.clone()).chain(self.agent_switch()) {
            if let Some(why) = standing.switches.get(&name) {
                let outcome = Outcome::Failed(Reason::Frozen { why: why.clone() });
                sink.rule(&name, "switch", || "the kill switch is on".to_owned(), outcome);
            }
        }
        for level in self.all() {
            match level.counts(purchase, self.agent(), self.tool(purchase)) {
                Ok(counts) => {
                    counts.iter().for_each(|count| judge_count(level, count, purchase, standing, sink))
                }
                Err(reason) => {
                    let says = || "counts what is paid".to_owned();
                    sink.rule(&level.name, "budget", says, Outcome::Failed(reason));
                }
            }
            judge_drift(level, purchase, standing, sink);
            judge_approval(level, purchase, sink);
        }
        self.judge_deposit(purchase, standing, sink);
        for level in self.pinning(purchase) {
            judge_payee(level, purchase, standing, sink);
        }
    }

    /// The levels that pin the first payee of this host: those that do so, unless they or one outside them name it.
    fn pinning<'a>(&'a self, purchase: &Purchase<'_>) -> impl Iterator<Item = &'a Level> {
        let is_named = |level: &Level| level.pins.keys().any(|pattern| pattern.matches(purchase.url));
        let open: Vec<&Level> = self.all().take_while(|level| !is_named(level)).collect();
        open.into_iter().filter(|level| level.pin_first_use)
    }

    /// Deny beats ask, ask beats allow. Who asks is the nearest level, from the rule's own outwards, that names somebody.
    fn verdict(&self, breaches: Breaches) -> Verdict {
        let Breaches { failed: mut denied, asks } = breaches;
        let mut questions: Vec<Question> = Vec::new();
        for breach in asks {
            let own = self.all().position(|level| level.name == breach.level).unwrap_or_default();
            let within: Vec<&Level> = self.all().take(own + 1).collect();
            let asking = within.iter().rev().find_map(|level| Some((&level.name, level.approval.as_ref()?)));
            match asking {
                None => denied.push(Breach { level: breach.level, reason: Reason::NobodyToAsk }),
                Some((level, approval)) => {
                    match questions.iter_mut().find(|question| question.level == *level) {
                        Some(question) => question.why.push(breach),
                        None => questions.push(Question {
                            level: level.clone(),
                            why: vec![breach],
                            approval: approval.clone(),
                        }),
                    }
                }
            }
        }
        match (denied.is_empty(), questions.is_empty()) {
            (false, _) => Verdict::Deny(denied),
            (true, false) => Verdict::Ask(questions),
            (true, true) => Verdict::Allow,
        }
    }
}

/// What an organisation says that says nothing.
pub(crate) fn outermost() -> Level {
    Level {
        // A cap that failed to parse would be no cap for dollars: nothing is allowed then.
        max_payment: "$1".parse().map_or(DollarCap::Nothing, DollarCap::Dollars),
        max_authorization_seconds: Some(600),
        channels: ChannelRules::outermost(),
        ..Level::new(ORGANISATION)
    }
}

fn new_hold(purchase: &Purchase<'_>, level: &Level, count: &Count) -> NewHold {
    let (window, until) = count.window.at(purchase.now);
    let budget = names::budget(purchase.wallet, &level.name, &count.rule, count.window);
    NewHold { hold: Hold { budget, window, until, amount: count.amount }, limit: count.limit }
}

/// What is no host is kept as it is, and then equals none.
fn host_pattern(text: &str) -> HostPattern {
    HostPattern::parse(text).unwrap_or_else(|| {
        tracing::warn!(host = text, "this is no host: the policy's rule for it matches nothing");
        HostPattern::nowhere(text)
    })
}

/// One spelling per asset. Hex addresses have two; base58 has one, and its case means something.
pub(crate) fn asset_key(network: &Network, asset: &str) -> (Network, String) {
    let asset = match network.namespace() {
        "eip155" => asset.to_ascii_lowercase(),
        _ => asset.to_owned(),
    };
    (network.clone(), asset)
}
