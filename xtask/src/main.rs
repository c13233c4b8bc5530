//! Everything that is done to this repository, as `cargo xtask <command>`: the only place for scripts.
//!
//! - `test`: all checks, one after the other, as continuous integration runs them.
//! - `tidy`: the rules of the house that no compiler knows.
//! - `bench`: measurements.
//! - `codegen`: files that are generated and committed.
//! - `simulate`: the seeded simulation at length.
//! - `fuzz`: the corpus replayed, and the real fuzzer.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to people")]

mod bench;
mod codegen;
mod fuzz;
mod process;
mod report;
mod setup;
mod simulate;
mod test;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Test, bench, tidy and generate code for this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every check, as continuous integration does
    Test,
    /// Check the rules of the house: file and function size, arrows between crates, forbidden words
    Tidy,
    /// Measure: without a name, say what there is to measure
    Bench(bench::Arguments),
    /// Generate committed files again
    #[command(subcommand)]
    Codegen(codegen::Target),
    /// Run the seeded simulation at length
    Simulate(simulate::Arguments),
    /// Run the real fuzzer (needs a nightly toolchain and cargo-fuzz)
    Fuzz(fuzz::Arguments),
}

fn main() -> ExitCode {
    let root = root();
    let done = match Arguments::parse().command {
        Command::Test => test::run(&root),
        Command::Tidy => tidy::run(&root),
        Command::Bench(arguments) => bench::run(&root, &arguments),
        Command::Codegen(target) => codegen::run(&root, target),
        Command::Simulate(arguments) => simulate::run(&root, &arguments),
        Command::Fuzz(arguments) => fuzz::run(&root, &arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The repository. Commands work from any directory in it.
fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}
