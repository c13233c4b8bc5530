//! The policy as a function: allowed if and only if every rule holds.

use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use tollway_buyer::{Decision, Policy, Reason};
use tollway_core::model::PaymentRequirements;
use tollway_core::{Amount, Network, OfferedValue};
use url::Url;

use crate::purse::{EURC, UNKNOWN, USDC};
use crate::shop::offer;

/// An offer with what a wallet would know of it.
#[derive(Clone, Debug)]
struct Case {
    offer: PaymentRequirements,
    value: Option<OfferedValue>,
    url: Url,
}

fn cases() -> impl Strategy<Value = Case> {
    let assets = prop_oneof![
        Just((USDC, Some(("USDC", true)))),
        Just((EURC, Some(("EURC", false)))),
        Just((UNKNOWN, None)),
    ];
    let amounts = prop_oneof![Just(0), 1u64..200, 999_990u64..1_000_010, any::<u64>()];
    let networks = prop_oneof![Just(31337u64), Just(8453), Just(1)];
    let timeouts = prop_oneof![Just(0u64), 1u64..300, 298u64..303, any::<u64>()];
    let flows = prop_oneof![
        Just(None),
        Just(Some("authorization")),
        Just(Some("upfront")),
        Just(Some("escrow")),
        Just(Some("later")),
    ];
    let hosts = prop_oneof![Just("api.example.com"), Just("evil.example.com")];
    (assets, amounts, networks, timeouts, flows, hosts).prop_map(
        |((asset, known), amount, network, timeout, flow, host)| {
            let mut offer = offer(asset, amount);
            offer.network = Network::evm(network);
            offer.max_timeout_seconds = timeout;
            if let Some(flow) = flow {
                offer.extra.insert("paymentFlow".to_owned(), flow.into());
            }
            let value = known.map(|(symbol, is_usd)| OfferedValue {
                symbol: symbol.to_owned(),
                decimals: 6,
                amount: offer.amount,
                is_usd,
            });
            Case { offer, value, url: format!("https://{host}/").parse().unwrap() }
        },
    )
}

fn strict() -> Policy {
    Policy::default()
        .cap_per_payment("$1".parse().unwrap())
        .max_timeout_seconds(300)
        .allow_host("API.example.com")
        .allow_network(Network::evm(31337))
        .allow_network(Network::evm(8453))
        .allow_asset(Network::evm(31337), &EURC.to_uppercase().replace('X', "x"), Amount::from(100))
}

/// The rules once more, in other words.
fn every_rule_holds(Case { offer, value, url }: &Case) -> bool {
    let flow = offer.extra.get("paymentFlow").and_then(|flow| flow.as_str()).unwrap_or("authorization");
    let capped = match (&*offer.asset, offer.network.evm_chain_id()) {
        (USDC, _) => offer.amount <= Amount::from(1_000_000),
        (EURC, Some(31337)) => offer.amount <= Amount::from(100),
        _ => false,
    };
    let known_or_capped = value.is_some();
    url.host_str() == Some("api.example.com")
        && offer.network != Network::evm(1)
        && ["authorization", "upfront"].contains(&flow)
        && (1..=300).contains(&offer.max_timeout_seconds)
        && offer.amount > Amount::ZERO
        && known_or_capped
        && capped
}

proptest! {
    #[test]
    fn an_offer_is_allowed_if_and_only_if_every_rule_holds(case in cases()) {
        let decision = strict().decide(&case.offer, case.value.as_ref(), &case.url);
        prop_assert_eq!(decision.is_allow(), every_rule_holds(&case), "{}", decision);
    }

    #[test]
    fn a_decision_depends_on_no_text_of_the_sellers(case in cases(), text in ".{0,40}") {
        let mut told = case.offer.clone();
        for name in ["description", "name", "version", "decimals", "symbol", "note"] {
            told.extra.insert(name.to_owned(), text.clone().into());
            told.other.insert(name.to_owned(), text.clone().into());
        }
        let decide = |offer| strict().decide(offer, case.value.as_ref(), &case.url);
        prop_assert_eq!(decide(&told), decide(&case.offer));
    }

    #[test]
    fn a_higher_cap_denies_nothing_that_a_lower_one_allows(case in cases(), low in 1u32..1_000, more in 0u32..1_000) {
        let decide = |cents: u32| {
            let cap = format!("${}.{:02}", cents / 100, cents % 100).parse().unwrap();
            Policy::default().cap_per_payment(cap).decide(&case.offer, case.value.as_ref(), &case.url)
        };
        prop_assert!(!decide(low).is_allow() || decide(low + more).is_allow());
    }
}

#[test]
fn the_default_policy_is_a_dollar_in_known_dollars() {
    let url = "https://api.example.com/".parse().unwrap();
    let value = |amount: u64, is_usd| OfferedValue {
        symbol: "USDC".to_owned(),
        decimals: 6,
        amount: Amount::from(amount),
        is_usd,
    };
    let decide =
        |amount, is_usd| Policy::default().decide(&offer(USDC, amount), Some(&value(amount, is_usd)), &url);
    assert_eq!(decide(1_000_000, true), Decision::Allow);
    assert_eq!(decide(1_000_001, true), Decision::Deny(Reason::AboveCap { cap: "$1".to_owned() }));
    assert_eq!(decide(0, true), Decision::Deny(Reason::ZeroAmount));
    assert_eq!(decide(1, false), Decision::Deny(Reason::NotDollars { symbol: "USDC".to_owned() }));
    assert_eq!(Policy::default().decide(&offer(USDC, 1), None, &url), Decision::Deny(Reason::UnknownAsset));
}

#[test]
fn the_sum_that_would_be_signed_is_capped_whatever_it_is_said_to_cost() {
    let url = "https://api.example.com/".parse().unwrap();
    let told = OfferedValue { symbol: "USDC".to_owned(), decimals: 6, amount: Amount::from(1), is_usd: true };
    let decision = Policy::default().decide(&offer(USDC, 1_000_001), Some(&told), &url);
    assert_eq!(decision, Decision::Deny(Reason::AboveCap { cap: "$1".to_owned() }));
}

#[test]
fn a_cap_that_is_no_dollar_sum_or_too_fine_allows_nothing() {
    let url = "https://api.example.com/".parse().unwrap();
    let value =
        OfferedValue { symbol: "USDC".to_owned(), decimals: 6, amount: Amount::from(1), is_usd: true };
    let decide = |cap: &str| {
        let policy = Policy::default().cap_per_payment(cap.parse().unwrap());
        policy.decide(&offer(USDC, 1), Some(&value), &url)
    };
    assert_eq!(decide("5 EURC"), Decision::Deny(Reason::NoDollarCap));
    assert!(matches!(decide("$1.0000001"), Decision::Deny(Reason::UnusableCap { .. })));
}

/// Whether a policy with `host` on its list allows a request to `url`.
fn allows(host: &str, url: &str) -> bool {
    let value =
        OfferedValue { symbol: "USDC".to_owned(), decimals: 6, amount: Amount::from(1), is_usd: true };
    let decision =
        Policy::default().allow_host(host).decide(&offer(USDC, 1), Some(&value), &url.parse().unwrap());
    assert!(decision.is_allow() || matches!(decision, Decision::Deny(Reason::Host { .. })), "{decision}");
    decision.is_allow()
}

#[test]
fn a_host_is_the_same_in_every_spelling() {
    for (host, url) in [
        ("EXAMPLE.com", "https://example.COM/x"),
        ("b\u{fc}cher.example", "https://xn--bcher-kva.example:8443/"),
        ("xn--bcher-kva.example", "https://b\u{fc}cher.example/"),
        ("::1", "http://[::1]:3000/"),
        ("[::1]", "http://[::1]/"),
        ("0:0::1", "http://[::1]/"),
        ("127.0.0.1", "http://127.1:3000/"),
    ] {
        assert!(allows(host, url), "{host}: {url}");
        assert!(!allows(host, "https://evil.example/"), "{host}");
    }
}

#[test]
fn a_host_with_a_port_is_that_host_on_that_port() {
    for (host, url, expected) in [
        ("example.com:443", "https://example.com/", true),
        ("example.com:443", "http://example.com:443/", true),
        ("example.com:443", "https://example.com:8443/", false),
        ("example.com:443", "http://example.com/", false),
        ("Example.com:8443", "https://example.com:8443/", true),
        ("[::1]:3000", "http://[::1]:3000/", true),
        ("[::1]:3000", "http://[::1]:3001/", false),
    ] {
        assert_eq!(allows(host, url), expected, "{host}: {url}");
    }
}

#[test]
fn what_is_no_host_allows_nothing() {
    for host in ["", "https://example.com", "example.com/x", "example.com:", "example.com:99999", "*"] {
        assert!(!allows(host, "https://example.com/x"), "{host}");
    }
}
