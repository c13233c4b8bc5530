//! The simulation: facilitators, sellers, buyers and a chain in one process, on one thread, under a virtual clock and a
//! seed. Networks lose, delay and repeat what they carry, nodes forget and reorganise, disks fill up, processes die at
//! any write and start again, rivals send what they have seen. When it is over and quiet, the books must agree.
//!
//! ```text
//! buyers --(network)--> sellers --(network)--> facilitators --(network)--> chain
//!                         |                        |
//!                         ledger (shared)          ledger (shared)
//! ```
//!
//! - `cargo xtask simulate --seed 7 --purchases 100000` runs one seed at length. A run that fails prints the seed that
//!   replays it; with `TOLLWAY_SIM_TRACE` set it tells what happens.
//! - Everything random comes from the seed, tokio's own choices included (which is why `.cargo/config.toml` sets
//!   `tokio_unstable`); everything timed from tokio's paused clock. The same seed gives the same run, and a test holds
//!   it to that.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test ends by panicking and prints the seed that replays it"
)]

mod books;
mod buyer;
mod dice;
mod hazard;
mod nature;
mod network;
mod process;
mod shop;
mod world;

use world::{Plan, simulate};

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().expect(name))
}

fn check(seed: u64, purchases: u64, plan: Plan) -> world::Report {
    let report = simulate(seed, purchases, plan);
    println!("seed {seed}: {report}");
    assert!(
        report.violations.is_empty(),
        "seed {seed} breaks promises (replay: TOLLWAY_SIM_SEED={seed} TOLLWAY_SIM_PURCHASES={purchases}):\n  {}",
        report.violations.join("\n  ")
    );
    report
}

#[test]
fn in_fair_weather_every_purchase_is_served_and_paid_once() {
    let report = check(1, 200, Plan::fair());
    assert_eq!((report.served, report.settled), (200, 200), "{report}");
}

#[test]
fn whatever_breaks_the_books_agree() {
    let first = number("TOLLWAY_SIM_SEED", 100);
    // At length: one seed. Otherwise a few short ones.
    let (seeds, purchases) = match number("TOLLWAY_SIM_PURCHASES", 0) {
        0 => (6, 250),
        purchases => (1, purchases),
    };
    for seed in first..first + seeds {
        let began = std::time::Instant::now();
        let report = check(seed, purchases, Plan::foul());
        println!("{purchases} purchases in {:?}", began.elapsed());
        assert!(report.served * 2 > purchases, "the weather is foul, not deadly: {report}");
    }
}

#[test]
#[cfg_attr(
    not(tokio_unstable),
    ignore = "tokio takes a seed only with --cfg tokio_unstable, as .cargo/config.toml sets it"
)]
fn a_seed_replays() {
    let first = simulate(7, 120, Plan::foul());
    let again = simulate(7, 120, Plan::foul());
    assert_eq!(first.digest, again.digest, "{first}\n{again}");
    assert_ne!(first.digest, simulate(8, 120, Plan::foul()).digest, "another seed is another run");
}
