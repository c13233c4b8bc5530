//! Policy files: what they say to a purchase, what is wrong with them, and what is dead in them.

use tollway_buyer::{
    ApprovalBy, FactName, KnownPayees, Policy, PolicyFile, PriceHistory, Purchase, Reason, Standing, Verdict,
    Window,
};
use tollway_core::model::PaymentRequirements;
use tollway_core::{Amount, OfferedValue, UnixTime};
use tollway_ledger::Condition;
use url::Url;

use crate::purse::{EURC, SHOP, USDC};
use crate::shop::offer;

/// 2026-11-20T20:15:30Z
const NOW: UnixTime = UnixTime(1_795_205_730);
const OTHER: &str = "0x9999999999999999999999999999999999999999";

fn file(text: &str) -> PolicyFile {
    PolicyFile::parse(text).unwrap_or_else(|faults| panic!("{faults}\n{text}"))
}

fn policy(text: &str) -> Policy {
    file(text).policy(None).unwrap()
}

/// A purchase of `amount` millionths of a dollar.
struct Buy {
    url: Url,
    offer: PaymentRequirements,
    value: Option<OfferedValue>,
    tool: Option<&'static str>,
}

impl Buy {
    fn at(url: &str, amount: u64) -> Self {
        let value = OfferedValue {
            symbol: "USDC".to_owned(),
            decimals: 6,
            amount: Amount::from(amount),
            is_usd: true,
        };
        Self { url: url.parse().unwrap(), offer: offer(USDC, amount), value: Some(value), tool: None }
    }

    fn paying(mut self, pay_to: &str) -> Self {
        self.offer.pay_to = pay_to.to_owned();
        self
    }

    fn purchase(&self) -> Purchase<'_> {
        Purchase {
            wallet: "0xabc",
            url: &self.url,
            method: "GET",
            tool: self.tool,
            offer: &self.offer,
            value: self.value.as_ref(),
            deposit: None,
            now: NOW,
        }
    }

    fn judged(&self, policy: &Policy, standing: &Standing) -> Verdict {
        policy.judge(&self.purchase(), standing)
    }
}

fn cheap() -> Buy {
    Buy::at("https://api.example.com/data", 10_000)
}

fn reasons(verdict: &Verdict) -> Vec<&Reason> {
    match verdict {
        Verdict::Allow => Vec::new(),
        Verdict::Ask(questions) => questions.iter().flat_map(|one| &one.why).map(|why| &why.reason).collect(),
        Verdict::Deny(breaches) => breaches.iter().map(|breach| &breach.reason).collect(),
    }
}

#[test]
fn what_denies_beats_what_allows() {
    for (text, is_allowed) in [
        ("allow_hosts = \"api.example.com\"", true),
        ("allow_hosts = \"api.example.com\"\ndeny_hosts = \"*.example.com\"", false),
        ("allow_hosts = \"*.example.com\"\ndeny_hosts = \"api.example.com\"", false),
        ("allow_networks = \"eip155:31337\"\ndeny_networks = \"eip155:31337\"", false),
        ("allow_schemes = \"exact\"\ndeny_schemes = \"exact\"", false),
        ("allow_tools = \"search\"\ndeny_tools = \"s*\"", false),
        ("deny_tools = \"delete\"", true),
    ] {
        let buy = Buy { tool: Some("search"), ..cheap() };
        assert_eq!(buy.judged(&policy(text), &Standing::default()).is_allow(), is_allowed, "{text}");
    }
}

#[test]
fn where_tools_are_listed_a_purchase_without_one_is_denied() {
    let listed = policy("allow_tools = \"*\"");
    assert_eq!(reasons(&cheap().judged(&listed, &Standing::default())), [&Reason::Tool]);
    assert!(cheap().judged(&listed.for_tool("search"), &Standing::default()).is_allow());
}

#[test]
fn an_agent_that_is_not_named_has_no_policy_and_one_that_is_has_its_teams() {
    let file = file("[team.a]\nmax_payment = \"$0.01\"\n[agent.in]\nteam = \"a\"\n[agent.out]\n");
    let judge = |agent: &str| cheap().judged(&file.policy(Some(agent)).unwrap(), &Standing::default());
    assert!(judge("in").is_allow() && judge("out").is_allow());
    let dearer = Buy::at("https://api.example.com/data", 10_001);
    assert!(dearer.judged(&file.policy(Some("in")).unwrap(), &Standing::default()).is_deny());
    assert!(dearer.judged(&file.policy(Some("out")).unwrap(), &Standing::default()).is_allow());
    for agent in [None, Some("stranger"), Some("a"), Some("")] {
        assert!(file.policy(agent).is_err(), "{agent:?}");
    }
}

#[test]
fn a_purchase_is_counted_in_every_budget_of_every_level_that_it_fits() {
    let file = file(
        "[budget]\nday = \"$10\"\n[velocity]\npayments_per_minute = 5\n[agent.scout]\n[[agent.scout.budget_for]]\n\
         per = \"host\"\nhour = \"$1\"\n[[agent.scout.budget_for]]\nhost = \"*.other.test\"\nday = \"$1\"\n\
         [[agent.scout.budget_for]]\ntool = \"search*\"\nper = [\"asset\", \"agent\"]\nlifetime = \"$1\"\n",
    );
    let buy = Buy { tool: Some("search.web"), ..Buy::at("https://api.example.com:8443/data", 10_000) };
    let holds = file.policy(Some("scout")).unwrap().holds(&buy.purchase()).unwrap();
    let told: Vec<_> = holds.iter().map(|hold| (&*hold.hold.budget, hold.hold.amount.to_string())).collect();
    let cent = "10000000000000000".to_owned();
    assert_eq!(
        told,
        [
            ("0xabc|org|velocity|minute", "1".to_owned()),
            ("0xabc|org|*|day", cent.clone()),
            ("0xabc|agent:scout|host:api.example.com|hour", cent.clone()),
            (
                &*format!("0xabc|agent:scout|tool=search*,agent:scout,asset:eip155:31337/{USDC}|lifetime"),
                cent
            ),
        ]
    );
    assert_eq!((holds[1].hold.window, holds[1].hold.until), Window::Day.at(NOW));
    assert_eq!(holds[1].limit.to_string(), "10000000000000000000");
}

#[test]
fn a_full_budget_denies_and_says_what_is_in_use() {
    let policy = policy("[budget]\nday = \"$1\"");
    let mut standing = Standing::default();
    let hold = policy.holds(&cheap().purchase()).unwrap().remove(0);
    let key = (hold.hold.budget, hold.hold.window);
    standing.budgets.insert(key.clone(), "990000000000000000".parse().unwrap());
    assert!(cheap().judged(&policy, &standing).is_allow(), "the last cent");
    standing.budgets.insert(key, "990000000000000001".parse().unwrap());
    let told = cheap().judged(&policy, &standing).to_string();
    assert_eq!(
        told,
        "denied: the day budget * of $1 has $0.990000000000000001 in use, and this costs $0.01 (org)"
    );
}

#[test]
fn what_is_no_dollar_needs_a_budget_of_its_own_where_dollars_have_one() {
    let listed =
        format!("[[asset]]\nnetwork = \"eip155:31337\"\naddress = \"{EURC}\"\nmax_atomic = \"20000\"\n");
    let euro = Buy {
        offer: offer(EURC, 10_000),
        value: Some(OfferedValue {
            symbol: "EURC".into(),
            decimals: 6,
            amount: Amount::from(10_000),
            is_usd: false,
        }),
        ..cheap()
    };
    let judge = |text: &str| euro.judged(&policy(text), &Standing::default());
    assert!(judge(&listed).is_allow());
    assert_eq!(reasons(&judge(&format!("[budget]\nday = \"$1\"\n{listed}"))), [&Reason::Uncountable]);
    assert!(judge(&format!("[budget]\nday = \"$1\"\n{listed}day = \"50000\"\n")).is_allow());
    assert_eq!(reasons(&judge("")), [&Reason::NotDollars { symbol: "EURC".to_owned() }]);
}

#[test]
fn only_a_pinned_payee_is_paid() {
    let pinned =
        policy(&format!("[pin]\n\"*.example.com\" = \"{}\"", SHOP.to_uppercase().replace("0X", "0x")));
    assert!(cheap().judged(&pinned, &Standing::default()).is_allow());
    let redirected = cheap().paying(OTHER);
    let host = "api.example.com".to_owned();
    assert_eq!(reasons(&redirected.judged(&pinned, &Standing::default())), [&Reason::PinnedPayee { host }]);
    let elsewhere = Buy::at("https://other.test/", 1).paying(OTHER);
    assert!(elsewhere.judged(&pinned, &Standing::default()).is_allow());
}

#[test]
fn the_first_payee_of_a_host_is_pinned_and_a_change_is_denied_or_asked() {
    let on_change = |on: &str| {
        policy(&format!("pin_first_use = true\non_changed_payee = \"{on}\"\n[approval]\nby = \"queue\"\n"))
    };
    let first = cheap();
    let deny = on_change("deny");
    let conditions = deny.conditions(&first.purchase(), &Standing::default());
    let FactName { scope, name } = first.purchase().pin_fact();
    let value = KnownPayees::default().with(&first.offer).value();
    assert_eq!(conditions[1], Condition::EqualOrSet { scope, name, value, until: UnixTime(u64::MAX) });

    let known = Standing { payees: Some(KnownPayees::default().with(&first.offer)), ..Standing::default() };
    assert!(first.judged(&deny, &known).is_allow());
    let changed = cheap().paying(OTHER);
    let host = || Reason::ChangedPayee { host: "api.example.com".to_owned() };
    assert!(changed.judged(&deny, &known).is_deny());
    assert_eq!(reasons(&changed.judged(&deny, &known)), [&host()]);
    let Verdict::Ask(questions) = changed.judged(&on_change("ask"), &known) else { panic!("asked") };
    assert_eq!((&*questions[0].level, &questions[0].why[0].reason), ("org", &host()));
    // What the ledger must have is the old payee and the new one: it has not, until somebody agreed and it was written.
    let after = known.payees.clone().unwrap().with(&changed.offer);
    let agreed = Standing { payees: Some(after), ..Standing::default() };
    let ask = on_change("ask");
    assert_eq!(ask.conditions(&changed.purchase(), &known), ask.conditions(&changed.purchase(), &agreed));
    assert!(changed.judged(&ask, &agreed).is_allow());
}

#[test]
fn a_pin_further_in_does_not_lift_one_further_out() {
    let text = format!("pin_first_use = true\n[agent.a]\n[agent.a.pin]\n\"api.example.com\" = \"{OTHER}\"\n");
    let policy = file(&text).policy(Some("a")).unwrap();
    let known = Standing { payees: Some(KnownPayees::default().with(&cheap().offer)), ..Standing::default() };
    assert!(cheap().paying(OTHER).judged(&policy, &known).is_deny());
}

#[test]
fn a_price_that_creeps_up_or_comes_back_after_a_bargain_is_seen() {
    let policy = policy("[drift]\nabove_percent = 50");
    let judge = |history: PriceHistory, asked: u64| {
        let standing = Standing { price: Some(history), ..Standing::default() };
        Buy::at("https://api.example.com/data", asked).judged(&policy, &standing)
    };
    // Each step is 10 %: none is 50 % above the one before, and the ramp ends all the same.
    let (mut history, mut price) = (PriceHistory::after(None, Amount::from(10_000)), 10_000);
    while judge(history, price).is_allow() {
        history = PriceHistory::after(Some(history), Amount::from(price));
        price += price / 10;
    }
    assert!((15_000..16_500).contains(&price), "{price}");
    let bargain =
        PriceHistory::after(Some(PriceHistory::after(None, Amount::from(30_000))), Amount::from(10_000));
    assert!(judge(bargain, 15_000).is_allow());
    let told = judge(bargain, 15_001).to_string();
    assert_eq!(
        told,
        "denied: asks 15001 atomic units, more than 50 % above 10000, the lowest price known (org)"
    );
}

#[test]
fn the_nearest_level_outwards_is_asked_and_each_that_has_a_say() {
    let file = file(
        "[approval]\nabove = \"$0.05\"\nby = \"webhook\"\nwebhook = \"https://owner.example/ask\"\nsecret = \"env:S\"\n\
         timeout_seconds = 60\n[agent.a]\n[agent.a.drift]\nabove_percent = 0\non = \"ask\"\n[agent.b]\n\
         [agent.b.approval]\nabove = \"$0.01\"\nby = \"terminal\"\n",
    );
    let ask = |agent: &str, amount: u64| {
        let price = Some(PriceHistory::after(None, Amount::from(10_000)));
        let buy = Buy::at("https://api.example.com/data", amount);
        buy.judged(&file.policy(Some(agent)).unwrap(), &Standing { price, ..Standing::default() })
    };
    let Verdict::Ask(questions) = ask("a", 60_000) else { panic!("asked") };
    assert_eq!(
        (questions.len(), questions[0].why.len()),
        (1, 3),
        "the organisation, for itself and for its agent"
    );
    assert_eq!((questions[0].approval.by.as_str(), questions[0].approval.timeout_seconds), ("webhook", 60));
    let Verdict::Ask(questions) = ask("b", 60_000) else { panic!("asked") };
    let by: Vec<&ApprovalBy> = questions.iter().map(|question| &question.approval.by).collect();
    assert!(matches!(by[..], [ApprovalBy::Webhook { .. }, ApprovalBy::Terminal]), "{by:?}");
    assert!(ask("b", 10_000).is_allow());
    assert!(ask("b", 2_000_000).is_deny(), "nobody is asked for what is denied");
}

#[test]
fn a_breaker_names_the_level_that_it_freezes_and_a_switch_stops_all_below() {
    let file = file(
        "[velocity]\npayments_per_minute = 2\non = \"freeze\"\n[agent.a.velocity]\npayments_per_minute = 1\n",
    );
    let policy = file.policy(Some("a")).unwrap();
    assert_eq!(policy.trips("0xabc", "0xabc|org|velocity|minute"), Some("org"));
    assert_eq!(policy.trips("0xabc", "0xabc|agent:a|velocity|minute"), None, "it only denies");
    let conditions = policy.conditions(&cheap().purchase(), &Standing::default());
    let absent: Vec<_> = conditions
        .iter()
        .map(|one| match one {
            Condition::Absent { scope, name } => (&**scope, &**name),
            Condition::EqualOrSet { .. } => panic!("nothing is pinned"),
        })
        .collect();
    assert_eq!(absent, [("0xabc|switch", "org"), ("0xabc|switch", "agent:a")]);
    for level in ["org", "agent:a"] {
        let switches = [(level.to_owned(), "stop".to_owned())].into();
        assert!(cheap().judged(&policy, &Standing { switches, ..Standing::default() }).is_deny(), "{level}");
    }
}

#[test]
fn every_fault_is_told_at_once_with_its_key() {
    for (text, expected) in [
        ("max_payment = 1\nmax_paymnet = \"$1\"", &["max_payment", "max_paymnet"][..]),
        ("max_payment = \"1 EURC\"", &["max_payment"]),
        ("max_payment = \"$0.0000000000000000001\"", &["max_payment"]),
        ("max_authorization_seconds = -1", &["max_authorization_seconds"]),
        ("allow_hosts = [\"a.test\", \"https://b.test\", \"a.*.test\"]", &["allow_hosts", "allow_hosts"]),
        ("allow_networks = \"base\"", &["allow_networks"]),
        ("allow_tools = \"\"", &["allow_tools"]),
        ("pin_first_use = \"yes\"", &["pin_first_use"]),
        ("on_changed_payee = \"ask\"", &["on_changed_payee"]),
        ("[drift]\non = \"ask\"", &["drift.above_percent"]),
        ("[agent.a.drift]\nabove_percent = 1\non = \"ask\"", &["agent.a.drift.on"]),
        ("[budget]", &["budget"]),
        ("[budget]\nweek = \"$1\"", &["budget", "budget.week"]),
        ("[[budget_for]]\nday = \"$1\"", &["budget_for[0]"]),
        ("[[budget_for]]\nper = \"colour\"\nday = \"$1\"", &["budget_for[0].per"]),
        (
            "[[budget_for]]\nper = \"host\"\nday = \"$1\"\n[[budget_for]]\nper = [\"host\"]\nhour = \"$1\"",
            &["budget_for[1]"],
        ),
        ("[velocity]\npayments_per_minute = 1.5", &["velocity.payments_per_minute"]),
        ("[approval]\nabove = \"$1\"", &["approval.by"]),
        ("[approval]\nby = \"webhook\"", &["approval.webhook"]),
        ("[approval]\nby = \"queue\"\nwebhook = \"https://a.test\"", &["approval.by"]),
        ("[approval]\nby = \"webhook\"\nwebhook = \"http://a.test\"", &["approval.webhook"]),
        ("[approval]\nby = \"webhook\"\nwebhook = \"https://u:p@a.test\"", &["approval.webhook"]),
        ("[[asset]]\nnetwork = \"eip155:1\"\naddress = \"0x12\"", &["asset[0].address"]),
        ("[[asset]]\nnetwork = \"eip155:1\"", &["asset[0]"]),
        ("[pin]\n\"a b\" = \"0x12\"", &["pin.\"a b\"", "pin.\"a b\""]),
        ("[agent.a]\nteam = \"b\"", &["agent.a.team"]),
        ("[agent.\"a|b\"]", &["agent.a|b"]),
        ("max_payment = \"$1\"\nmax_payment = \"$2\"", &[""]),
        ("[", &[""]),
    ] {
        let faults = PolicyFile::parse(text).err().map(|faults| faults.0).unwrap_or_default();
        let mut keys: Vec<_> = faults.iter().map(|fault| &*fault.key).collect();
        keys.sort_unstable();
        assert_eq!(keys, expected, "{text}: {faults:?}");
    }
    let long = "# ".to_owned() + &"x".repeat(256 * 1024);
    assert!(PolicyFile::parse(&long).is_err());
}

#[test]
fn what_is_dead_or_open_is_warned_of_and_a_plain_policy_is_not() {
    let asset = "network = \"eip155:8453\"\naddress = \"0x60a3E35Cc302bFA44Cb288Bc5a4F316Fdb1adb42\"";
    for (text, expected) in [
        ("max_payment = \"$0.10\"\n[budget]\nday = \"$5\"", &[][..]),
        ("max_payment = \"$0\"", &["max_payment"]),
        ("allow_hosts = []", &["allow_hosts"]),
        ("only_listed_assets = true", &["only_listed_assets"]),
        ("allow_hosts = \"*.com\"", &["allow_hosts"]),
        ("allow_hosts = \"a.b.test\"\ndeny_hosts = \"*.b.test\"", &["allow_hosts"]),
        ("max_payment = \"$0.1\"\n[budget]\nday = \"$5\"\nmonth = \"$4\"", &["budget.day"]),
        ("[budget]\nday = \"$0.5\"", &["budget.day"]),
        ("[approval]\nabove = \"$1\"\nby = \"queue\"", &["approval.above"]),
        (
            "[approval]\nabove = \"$0.5\"\nby = \"webhook\"\nwebhook = \"http://127.0.0.1:1\"",
            &["approval.secret"],
        ),
        ("[velocity]\npayments_per_minute = 0", &["velocity.minute"]),
        ("[velocity]\npayments_per_minute = 9\npayments_per_day = 8", &["velocity.minute"]),
        ("[agent.a]\nmax_payment = \"$2\"", &["agent.a.max_payment"]),
        ("[agent.a]\nmax_authorization_seconds = 601", &["agent.a.max_authorization_seconds"]),
        ("[budget]\nday = \"$5\"\n[agent.a.budget]\nday = \"$6\"", &["agent.a.budget.day"]),
        (
            "[budget]\nday = \"$5\"\n[[agent.a.budget_for]]\nper = \"host\"\nday = \"$6\"",
            &["agent.a.budget_for[0].day"],
        ),
        (
            "allow_hosts = \"a.test\"\n[agent.a]\nallow_hosts = [\"a.test\", \"b.test\"]",
            &["agent.a.allow_hosts"],
        ),
        ("deny_tools = \"d*\"\n[agent.a]\nallow_tools = \"delete\"", &["agent.a.allow_tools"]),
        ("[team.t]\n[agent.a]", &["agent.a", "team.t"]),
        ("[[budget_for]]\nper = \"agent\"\nday = \"$5\"", &["budget_for[0].per"]),
        (
            "allow_hosts = \"a.test\"\n[[budget_for]]\nhost = \"b.test\"\nday = \"$5\"",
            &["budget_for[0].host"],
        ),
        ("[[budget_for]]\nagent = \"b\"\nday = \"$5\"\n[agent.a]", &["budget_for[0].agent"]),
        (&format!("[[asset]]\n{asset}\nmax_atomic = \"0\""), &["asset.max_atomic"]),
        (
            &format!(
                "[[asset]]\n{asset}\nmax_atomic = \"5\"\n[[agent.a.asset]]\n{asset}\nmax_atomic = \"6\""
            ),
            &["agent.a.asset.max_atomic"],
        ),
    ] {
        let warnings = file(text).warnings();
        let keys: Vec<_> = warnings.iter().map(|warning| &*warning.key).collect();
        assert_eq!(keys, expected, "{text}: {warnings:?}");
    }
}

#[test]
fn what_channels_are_told_in_vain_is_warned_of() {
    let asset = "network = \"eip155:8453\"\naddress = \"0x60a3E35Cc302bFA44Cb288Bc5a4F316Fdb1adb42\"\n";
    for (text, expected) in [
        ("[channels]\nmax_deposit = \"$2\"\nmax_exposure = \"$2\"", &[][..]),
        ("[channels]\nmax_deposit = \"$0\"", &["channels.max_deposit"]),
        ("[channels]\nmax_exposure = \"$0\"", &["channels.max_exposure"]),
        ("[channels]\nmax_deposit = \"$3\"\nmax_exposure = \"$2\"", &["channels.max_deposit"]),
        // The organisation's default is $20 for all channels together.
        ("[channels]\nmax_deposit = \"$21\"", &["channels.max_deposit"]),
        ("max_payment = \"$3\"\n[channels]\nmax_deposit = \"$2\"", &["channels.max_deposit"]),
        ("max_payment = \"$3\"\n[channels]\nmax_exposure = \"$2\"", &["channels.max_exposure"]),
        ("[channels]\nmax_withdraw_delay_seconds = 0", &["channels.max_withdraw_delay_seconds"]),
        ("[channels]\nreceiver_authorizers = []", &["channels.receiver_authorizers"]),
        ("[channels]\nallow = false\nparallel = 2", &["channels.parallel"]),
        ("[channels]\nallow = false", &[]),
        ("allow_schemes = [\"exact\"]\n[channels]\nmax_deposit = \"$2\"", &["channels.max_deposit"]),
        ("deny_schemes = [\"batch-settlement\"]\n[channels]\nparallel = 2", &["channels.parallel"]),
        ("[agent.a.channels]\nmax_deposit = \"$6\"", &["agent.a.channels.max_deposit"]),
        ("[agent.a.channels]\nmax_exposure = \"$21\"", &["agent.a.channels.max_exposure"]),
        ("[channels]\nparallel = 2\n[agent.a.channels]\nparallel = 3", &["agent.a.channels.parallel"]),
        (
            "[channels]\npayments_per_deposit = 5\n[agent.a.channels]\npayments_per_deposit = 6",
            &["agent.a.channels.payments_per_deposit"],
        ),
        (
            "[agent.a.channels]\nmax_withdraw_delay_seconds = 86401",
            &["agent.a.channels.max_withdraw_delay_seconds"],
        ),
        (&format!("[[asset]]\n{asset}max_deposit_atomic = \"0\""), &["asset.max_deposit_atomic"]),
        (
            &format!("[[asset]]\n{asset}max_deposit_atomic = \"3\"\nmax_exposure_atomic = \"2\""),
            &["asset.max_deposit_atomic"],
        ),
        (
            &format!("[[asset]]\n{asset}max_atomic = \"3\"\nmax_deposit_atomic = \"2\""),
            &["asset.max_deposit_atomic"],
        ),
    ] {
        let warnings = file(text).warnings();
        let keys: Vec<_> = warnings.iter().map(|warning| &*warning.key).collect();
        assert_eq!(keys, expected, "{text}: {warnings:?}");
    }
    let fault = PolicyFile::parse("[channels]\npayments_per_deposit = 0").unwrap_err();
    assert_eq!(fault.0[0].key, "channels.payments_per_deposit", "a deposit for no payment is none");
    // Deposits are asked for where payments are too small to be.
    for (text, told) in [
        ("[approval]\nabove = \"$2\"\nby = \"queue\"", "asks for deposits into channels only"),
        ("[approval]\nabove = \"$5\"\nby = \"queue\"", "never asks"),
        ("deny_schemes = [\"batch-settlement\"]\n[approval]\nabove = \"$2\"\nby = \"queue\"", "never asks"),
    ] {
        let warnings = file(text).warnings();
        assert!(warnings[0].message.starts_with(told), "{text}: {warnings:?}");
    }
}

#[test]
fn a_deposit_is_asked_for_and_capped_for_what_it_is_and_not_for_the_price_that_it_goes_with() {
    let policy = policy(
        "[approval]\nabove = \"$0.05\"\nby = \"queue\"\n[channels]\nmax_deposit = \"$0.2\"\nmax_exposure = \"$0.3\"",
    );
    let buy = Buy::at("https://api.example.com/data", 10_000);
    let judge = |deposit: Option<u64>, standing: &Standing| {
        let purchase = Purchase { deposit: deposit.map(Amount::from), ..buy.purchase() };
        policy.judge(&purchase, standing).to_string()
    };
    let nothing = Standing::default();
    assert_eq!(judge(None, &nothing), "allowed");
    assert_eq!(judge(Some(50_000), &nothing), "allowed");
    let asked = "to be asked: puts $0.050001 into a channel, above $0.05: needs approval (org)";
    assert_eq!(judge(Some(50_001), &nothing), asked);
    let capped = "denied: a deposit of 200001 atomic units is needed, and the limit is 200000 (org)";
    assert_eq!(judge(Some(200_001), &nothing), capped);
    // What is out already counts.
    let exposure = (format!("{}|org|exposure|lifetime", buy.purchase().wallet), tollway_core::UnixTime(0));
    let out = |amount: &str| Standing {
        budgets: [(exposure.clone(), amount.parse().unwrap())].into(),
        ..Standing::default()
    };
    assert_eq!(judge(Some(50_000), &out("250000000000000000")), "allowed");
    let told = judge(Some(50_000), &out("250000000000000001"));
    assert!(told.starts_with("denied: at most $0.3 may be out in channels"), "{told}");
}
