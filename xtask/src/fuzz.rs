//! The fuzz targets in `fuzz/`: their corpus replayed on stable, and the real fuzzer where it is installed.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::process::{cargo, command, exists, must, read, run as finish};
use crate::report::Verdict;
use crate::test::counted;

/// Which target to fuzz, and for how long.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The target; all of them if left out
    target: Option<String>,
    /// Seconds per target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Replays the committed corpus and seeded mutations of it, as ordinary tests. Builds into the main target
/// directory, where most of the dependencies are built already.
///
/// # Errors
/// cargo cannot be started.
pub(crate) fn replay(root: &Path) -> Result<Verdict> {
    let directory = root.join("fuzz");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    for arguments in
        [&["fmt", "--check"][..], &["clippy", "--quiet", "--all-targets", "--", "-D", "warnings"]]
    {
        if !finish(cargo(&directory, arguments).env("CARGO_TARGET_DIR", &target))?.success {
            return Ok(Verdict::failed(format!("cargo {} failed in fuzz/", arguments[0])));
        }
    }
    counted(cargo(&directory, &["test", "--quiet"]).env("CARGO_TARGET_DIR", &target))
}

/// Runs the real fuzzer.
///
/// # Errors
/// It is not installed, or found something.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    if !exists("cargo-fuzz", "--version") {
        bail!("cargo-fuzz is not installed: `cargo install cargo-fuzz`");
    }
    let fuzz = |arguments: &[&str]| {
        // Not through the cargo that runs us: it is the stable one, and the fuzzer needs nightly.
        let mut command = command(root, "cargo", &[&["+nightly", "fuzz"], arguments].concat());
        for variable in ["CARGO", "RUSTUP_TOOLCHAIN", "RUSTC", "RUSTDOC"] {
            command.env_remove(variable);
        }
        command
    };
    let targets = match &arguments.target {
        Some(target) => vec![target.clone()],
        None => String::from_utf8(read(&mut fuzz(&["list"]))?)?.lines().map(str::to_owned).collect(),
    };
    // New inputs go to a directory of their own: the committed corpus stays small.
    let limit = format!("-max_total_time={}", arguments.seconds);
    for target in targets {
        let found = root.join("fuzz/target/found").join(&target);
        std::fs::create_dir_all(&found)?;
        let (found, seeds) = (found.to_string_lossy().into_owned(), format!("fuzz/corpus/{target}"));
        println!("\n=== {target}");
        must(&mut fuzz(&[
            "run",
            "--features",
            "libfuzzer",
            &target,
            &found,
            &seeds,
            "--",
            &limit,
            "-max_len=8192",
            "-timeout=5",
        ]))?;
    }
    Ok(())
}
