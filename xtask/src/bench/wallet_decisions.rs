//! How often a policy decides, on one core: pure, without a ledger. With one level and its cap; and with three levels
//! and twenty budgets, all of which have room.
#![expect(clippy::float_arithmetic, reason = "a measurement is not money")]

use std::hint::black_box;

use anyhow::{Result, ensure};
use tollway_buyer::{Policy, PolicyFile, Purchase, Standing};
use tollway_core::{Amount, Clock, OfferedValue, Price, SellerScheme, SystemClock, Terms};
use tollway_evm::AssetTable;
use tollway_evm::exact::ExactSeller;

use super::wallet_seller::{CHAIN_ID, PAYEE};
use super::{Row, Rows, median};

/// Three levels and twenty budgets.
const STACKED: &str = r#"
max_payment = "$5"
budget = { minute = "$100", hour = "$1000", day = "$5000", month = "$50000", lifetime = "$500000" }
budget_for = [{ per = "host", hour = "$500", day = "$2500" }]

[team.research]
max_payment = "$2"
budget = { minute = "$50", hour = "$500", day = "$2500", month = "$25000", lifetime = "$250000" }
budget_for = [{ per = "host", day = "$1500" }]

[agent.scout]
team = "research"
max_payment = "$1"
budget = { minute = "$20", hour = "$200", day = "$1000", month = "$10000", lifetime = "$100000" }
budget_for = [{ per = "host", hour = "$100", day = "$500" }]
"#;
const ROUND: u32 = 20_000;
const RUNS: usize = 5;

/// What each kind of policy came to, decisions a second: judged, and explained rule by rule.
pub(super) fn run(rows: &mut Rows) -> Result<Vec<(&'static str, f64, f64)>> {
    let stacked = PolicyFile::parse(STACKED)?.policy(Some("scout"))?;
    let policies = [("1 level, no budget", Policy::default(), 0), ("3 levels, 20 budgets", stacked, 20)];
    let mut told = Vec::new();
    for (name, policy, budgets) in policies {
        let (judged, explained) = decide(&policy, budgets)?;
        for (metric, value) in [("decisions", judged), ("decisions, explained", explained)] {
            let (system, params) = ("tollway".to_owned(), name.to_owned());
            rows.push(Row { bench: "wallet", system, params, metric, value, unit: "1/s" });
        }
        told.push((name, judged, explained));
    }
    Ok(told)
}

fn decide(policy: &Policy, budgets: usize) -> Result<(f64, f64)> {
    let network = tollway_core::Network::evm(CHAIN_ID);
    let terms = Terms { network, pay_to: PAYEE.to_owned(), max_timeout_seconds: 300 };
    let offer = ExactSeller::new(AssetTable::known()).offer(&Price::Money("$0.01".parse()?), &terms)?;
    let value = OfferedValue { symbol: "USDC".into(), decimals: 6, amount: offer.amount, is_usd: true };
    let url = "https://api.example.com/data?q=1".parse()?;
    let purchase = Purchase {
        wallet: "0x209693bc6afc0c5328ba36faf03c514ef312287c",
        url: &url,
        method: "GET",
        tool: None,
        offer: &offer,
        value: Some(&value),
        deposit: None,
        now: SystemClock.now(),
    };
    let holds = policy.holds(&purchase)?;
    ensure!(holds.len() == budgets, "the policy has {} budgets", holds.len());
    let held = holds.into_iter().map(|new| ((new.hold.budget, new.hold.window), Amount::from(1_000)));
    let standing = Standing { budgets: held.collect(), ..Standing::default() };
    ensure!(policy.judge(&purchase, &standing).is_allow(), "a decision that is measured allows");
    let judged = median(RUNS, || {
        for _ in 0..ROUND {
            black_box(policy.judge(black_box(&purchase), black_box(&standing)));
        }
    });
    let explained = median(RUNS, || {
        for _ in 0..ROUND {
            black_box(policy.explain(black_box(&purchase), black_box(&standing)).to_string());
        }
    });
    let rate = |took: std::time::Duration| f64::from(ROUND) / took.as_secs_f64();
    Ok((rate(judged), rate(explained)))
}
