//! The simulation at length, in a release build: `crates/tollway/tests/sim`.

use std::path::Path;

use anyhow::Result;

use crate::process::{cargo, must};

/// Which run, and how long.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The seed; a run that fails prints the one that replays it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many purchases
    #[arg(long, default_value_t = 100_000)]
    purchases: u64,
}

/// Runs one seed.
///
/// # Errors
/// A promise was broken, or cargo cannot be started.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let test = ["test", "--release", "--package", "tollway", "--test", "sim", "--"];
    let which = ["--exact", "whatever_breaks_the_books_agree", "--nocapture"];
    let mut command = cargo(root, &[&test[..], &which[..]].concat());
    command.env("TOLLWAY_SIM_SEED", arguments.seed.to_string());
    command.env("TOLLWAY_SIM_PURCHASES", arguments.purchases.to_string());
    must(&mut command)
}
