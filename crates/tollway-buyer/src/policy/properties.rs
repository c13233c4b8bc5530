//! What must hold for any policy and any purchase, tried on many.

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Just;
use proptest::test_runner::RngSeed;
use tollway_core::model::PaymentRequirements;
use tollway_core::{Amount, JsonObject, Network, OfferedValue, SchemeName, UnixTime};
use url::Url;

use crate::policy::decision::Verdict;
use crate::policy::dollars;
use crate::policy::file::PolicyFile;
use crate::policy::keys::Report;
use crate::policy::level::{DollarCap, Level};
use crate::policy::standing::{KnownPayees, PriceHistory, Purchase, Standing};
use crate::policy::{Decision, Policy};

const USDC: &str = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913";
const EURC: &str = "0x60a3E35Cc302bFA44Cb288Bc5a4F316Fdb1adb42";

/// What each key of a level may be: the first of a row is nothing.
const CHOICES: [&[&str]; 17] = [
    &[
        "",
        "max_payment = \"$0.05\"",
        "max_payment = \"$1\"",
        "max_payment = \"$0.0000001\"",
        "max_payment = \"$0\"",
    ],
    &["", "max_authorization_seconds = 30", "max_authorization_seconds = 300"],
    &[
        "",
        "allow_hosts = \"*.example.com\"",
        "allow_hosts = [\"api.example.com:8443\", \"evil.test\"]",
        "allow_hosts = []",
    ],
    &["", "deny_hosts = \"api.example.com\"", "deny_hosts = \"*.test\""],
    &["", "allow_networks = \"eip155:8453\"", "deny_networks = \"eip155:1\""],
    &["", "allow_schemes = \"exact\"", "deny_schemes = \"upto\""],
    &["", "allow_tools = \"search*\"", "deny_tools = \"search.all\""],
    &["", "only_listed_assets = true", "require_signed_offers = true"],
    &["", "pin_first_use = true", "pin_first_use = true\non_changed_payee = \"ask\""],
    &["", "[pin]\n\"*.example.com\" = \"0x1111111111111111111111111111111111111111\""],
    &["", "[drift]\nabove_percent = 20", "[drift]\nabove_percent = 0\non = \"ask\""],
    &["", "[budget]\nminute = \"$0.5\"\nday = \"$2\"", "[budget]\nlifetime = \"$0.000000000000000001\""],
    &["", "[velocity]\npayments_per_minute = 2\non = \"freeze\"", "[velocity]\npayments_per_day = 0"],
    &["", "[approval]\nby = \"queue\"", "[approval]\nabove = \"$0.02\"\nby = \"terminal\""],
    &[
        "",
        "[[budget_for]]\nper = [\"host\", \"tool\"]\nhour = \"$1\"",
        "[[budget_for]]\nhost = \"*.test\"\nday = \"$1\"",
    ],
    &["", "[[budget_for]]\nnetwork = \"eip155:8453\"\nper = [\"agent\", \"asset\"]\nmonth = \"$3\""],
    &[
        "",
        "[[asset]]\nnetwork = \"eip155:8453\"\naddress = \"0x60a3E35Cc302bFA44Cb288Bc5a4F316Fdb1adb42\"\nmax_atomic = \"500000\"",
        "[[asset]]\nnetwork = \"eip155:8453\"\naddress = \"0x60a3E35Cc302bFA44Cb288Bc5a4F316Fdb1adb42\"\nmax_atomic = \"900000\"\nday = \"1000000\"",
        "[[asset]]\nnetwork = \"eip155:8453\"\naddress = \"0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913\"\nminute = \"700000\"",
    ],
];

/// A level as a file would have it.
fn level(name: &'static str) -> impl Strategy<Value = Level> {
    // Most keys are left out, so that some purchases pass.
    let choice = prop_oneof![3 => Just(0usize), 1 => 0usize..5];
    (vec(choice, CHOICES.len()), any::<bool>()).prop_map(move |(choices, is_capped)| {
        let lines = CHOICES.iter().zip(&choices).map(|(row, choice)| *row.get(*choice).unwrap_or(&""));
        let text = lines.collect::<Vec<_>>().join("\n");
        let mut report = Report::default();
        let mut level = PolicyFile::read(&text, &mut report).unwrap().organisation;
        assert!(
            report.faults.iter().all(|fault| fault.message.starts_with("asks, ")),
            "{:?}\n{text}",
            report.faults
        );
        if name != "org" && !is_capped && !text.contains("max_payment") {
            level.max_payment = DollarCap::Unset;
        }
        level.name = name.to_owned();
        level
    })
}

/// A purchase with all that it borrows.
#[derive(Clone, Debug)]
struct Case {
    url: Url,
    tool: Option<String>,
    offer: PaymentRequirements,
    value: Option<OfferedValue>,
    now: UnixTime,
}

impl Case {
    fn purchase(&self) -> Purchase<'_> {
        Purchase {
            wallet: "0xabc",
            url: &self.url,
            method: "GET",
            tool: self.tool.as_deref(),
            offer: &self.offer,
            value: self.value.as_ref(),
            deposit: None,
            now: self.now,
        }
    }

    fn costing(&self, amount: Amount) -> Self {
        let mut case = self.clone();
        case.offer.amount = amount;
        if let Some(value) = &mut case.value {
            value.amount = amount;
        }
        case
    }
}

fn amounts() -> impl Strategy<Value = Amount> {
    let limbs =
        any::<[u64; 4]>().prop_map(|limbs| Amount::from_atomic(ruint::aliases::U256::from_limbs(limbs)));
    prop_oneof![4 => (1u64..1_200_000).prop_map(Amount::from), 1 => Just(Amount::ZERO), 1 => limbs]
}

fn cases() -> impl Strategy<Value = Case> {
    let hosts = prop_oneof![
        3 => Just("https://api.example.com/data"), 1 => Just("https://api.example.com:8443/data"),
        1 => Just("https://evil.test/"), 1 => Just("http://[::1]:3000/x?y"), 1 => Just("data:text/plain,x"),
    ];
    let tools = prop_oneof![
        Just(None),
        Just(Some("search".to_owned())),
        Just(Some("search.all".to_owned())),
        ".{0,200}".prop_map(Some)
    ];
    let assets = prop_oneof![4 => Just((USDC, Some(true))), 1 => Just((EURC, Some(false))), 1 => Just(("0xnobody", None))];
    let decimals = prop_oneof![4 => Just(6u8), 1 => Just(18u8), 1 => any::<u8>()];
    let networks = prop_oneof![4 => Just(8453u64), 1 => Just(1u64)];
    let schemes = prop_oneof![4 => Just(SchemeName::EXACT), 1 => Just(SchemeName::UPTO)];
    let seconds = prop_oneof![3 => 0u64..60, 1 => any::<u64>()];
    (hosts, tools, assets, decimals, networks, schemes, seconds, amounts(), any::<u64>()).prop_map(
        |(url, tool, (asset, is_usd), decimals, network, scheme, seconds, amount, now)| Case {
            url: url.parse().unwrap(),
            tool,
            offer: PaymentRequirements {
                scheme,
                network: Network::evm(network),
                amount,
                asset: asset.to_owned(),
                pay_to: "0x1111111111111111111111111111111111111111".to_owned(),
                max_timeout_seconds: seconds,
                extra: JsonObject::new(),
                other: JsonObject::new(),
            },
            value: is_usd.map(|is_usd| OfferedValue { symbol: "T".to_owned(), decimals, amount, is_usd }),
            now: UnixTime(now),
        },
    )
}

/// What came before: some of it near the limits.
#[derive(Clone, Debug)]
struct Before {
    held: Vec<u64>,
    frozen: Option<&'static str>,
    is_payee_known: Option<bool>,
    price: Option<u64>,
}

fn befores() -> impl Strategy<Value = Before> {
    let frozen = prop_oneof![8 => Just(None), 1 => Just(Some("org")), 1 => Just(Some("team:t"))];
    let price = prop_oneof![2 => Just(None), 1 => (1u64..1_200_000).prop_map(Some)];
    (vec(any::<u64>(), 8), frozen, any::<Option<bool>>(), price)
        .prop_map(|(held, frozen, is_payee_known, price)| Before { held, frozen, is_payee_known, price })
}

impl Before {
    /// As `policy` would ask the ledger for it.
    fn standing(&self, policy: &Policy, case: &Case) -> Standing {
        let mut standing = Standing::default();
        for (hold, held) in
            policy.holds(&case.purchase()).unwrap_or_default().into_iter().zip(self.held.iter().cycle())
        {
            let part = hold.limit.atomic() / ruint::aliases::U256::from(held % 5 + 1);
            standing.budgets.insert((hold.hold.budget, hold.hold.window), Amount::from_atomic(part));
        }
        standing.switches.extend(self.frozen.map(|level| (level.to_owned(), "test".to_owned())));
        standing.payees = self.is_payee_known.map(|is_known| {
            let known = KnownPayees::read("[\"0x2222222222222222222222222222222222222222\"]").unwrap();
            if is_known { known.with(&case.offer) } else { known }
        });
        standing.price = self.price.map(|price| PriceHistory::after(None, Amount::from(price)));
        standing
    }
}

fn stack(levels: &[Level]) -> Policy {
    let mut policy = Policy::of(levels[0].clone()).for_agent("scout");
    for level in &levels[1..] {
        policy.push(level.clone());
    }
    policy
}

fn strictness(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Allow => 0,
        Verdict::Ask(_) => 1,
        Verdict::Deny(_) => 2,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, rng_seed: RngSeed::Fixed(402), ..ProptestConfig::default() })]

    #[test]
    fn any_purchase_is_decided_and_the_explanation_says_the_same(
        levels in (level("org"), level("team:t"), level("agent:scout")), case in cases(), before in befores(),
    ) {
        let policy = stack(&[levels.0, levels.1, levels.2]);
        let standing = before.standing(&policy, &case);
        let verdict = policy.judge(&case.purchase(), &standing);
        let explained = policy.explain(&case.purchase(), &standing);
        prop_assert_eq!(&explained.verdict, &verdict);
        prop_assert!(!explained.to_string().is_empty());
        let decision = policy.decide(&case.offer, case.value.as_ref(), &case.url);
        if case.tool.is_none() && !decision.is_allow() {
            prop_assert!(verdict.is_deny(), "what the offer alone is denied for stays denied: {}", decision);
        }
        if !verdict.is_deny() {
            prop_assert!(policy.holds(&case.purchase()).is_ok(), "what is not denied can be counted");
        }
    }

    #[test]
    fn an_inner_level_never_allows_more_and_holds_all_that_outer_ones_hold(
        levels in (level("org"), level("team:t"), level("agent:scout")), case in cases(), before in befores(),
    ) {
        let levels = [levels.0, levels.1, levels.2];
        let whole = stack(&levels);
        let standing = before.standing(&whole, &case);
        let purchase = case.purchase();
        for depth in 1..levels.len() {
            let (outer, inner) = (stack(&levels[..depth]), stack(&levels[..=depth]));
            let verdicts = (outer.judge(&purchase, &standing), inner.judge(&purchase, &standing));
            prop_assert!(strictness(&verdicts.0) <= strictness(&verdicts.1), "{} but {}", verdicts.0, verdicts.1);
            let decide = |policy: &Policy| policy.decide(&case.offer, case.value.as_ref(), &case.url);
            prop_assert!(decide(&outer).is_allow() || decide(&inner) != Decision::Allow);
            if let Ok(held) = inner.holds(&purchase) {
                let parents = outer.holds(&purchase).unwrap();
                prop_assert!(parents.iter().all(|hold| held.contains(hold)));
            }
            let conditions = inner.conditions(&purchase, &standing);
            prop_assert!(outer.conditions(&purchase, &standing).iter().all(|one| conditions.contains(one)));
        }
    }

    #[test]
    fn who_asks_for_more_is_never_treated_better(
        levels in (level("org"), level("team:t")), case in cases(), before in befores(), more in amounts(),
    ) {
        let policy = stack(&[levels.0, levels.1]);
        let (low, high) = (case.offer.amount.min(more), case.offer.amount.max(more));
        let standing = before.standing(&policy, &case);
        if low != Amount::ZERO {
            let judge = |amount| policy.judge(&case.costing(amount).purchase(), &standing);
            prop_assert!(strictness(&judge(low)) <= strictness(&judge(high)));
        }
    }

    #[test]
    fn no_token_is_a_way_to_pay_more_dollars_than_the_cap(
        case in cases(), cap in prop_oneof![Just("$0.05"), Just("$1"), Just("$0.000001")],
    ) {
        let policy = Policy::default().cap_per_payment(cap.parse().unwrap());
        if policy.judge(&case.purchase(), &Standing::default()).is_allow() {
            let value = case.value.as_ref().unwrap();
            let paid = dollars::from_atomic(case.offer.amount.max(value.amount), value.decimals);
            prop_assert!(value.is_usd && paid <= dollars::from_money(&cap.parse().unwrap()));
        }
    }

    #[test]
    fn what_the_snapshot_allows_is_what_the_holds_have_room_for(
        level in level("org"), purchases in vec(cases(), 1..12),
    ) {
        let policy = stack(&[level]);
        let mut standing = Standing::default();
        for mut case in purchases {
            case.now = UnixTime(case.now.0 % 120);
            let verdict = policy.judge(&case.purchase(), &standing);
            let Ok(holds) = policy.holds(&case.purchase()) else {
                prop_assert!(verdict.is_deny());
                continue;
            };
            let held = |hold: &tollway_ledger::NewHold| {
                let key = (hold.hold.budget.clone(), hold.hold.window);
                standing.budgets.get(&key).copied().unwrap_or_default().checked_add(hold.hold.amount)
            };
            let has_room = holds.iter().all(|hold| held(hold).is_some_and(|sum| sum <= hold.limit));
            let without_budgets = policy.judge(&case.purchase(), &Standing::default());
            prop_assert!(has_room || verdict.is_deny());
            if has_room && !without_budgets.is_deny() {
                prop_assert!(!verdict.is_deny(), "{}", verdict);
            }
            if !verdict.is_deny() {
                let sums: Vec<_> = holds.iter().map(|hold| held(hold).unwrap()).collect();
                for (hold, sum) in holds.into_iter().zip(sums) {
                    standing.budgets.insert((hold.hold.budget, hold.hold.window), sum);
                }
            }
        }
    }
}
