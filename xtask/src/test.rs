//! Every check in one run, the cheap and telling ones first.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::process::{self, cargo, command, exists, shown};
use crate::report::{Count, Report, Verdict};
use crate::setup::{self, Foreign};
use crate::{fuzz, tidy};

/// What every step that compiles the workspace turns on: one set, so that nothing is built twice.
pub(crate) const FEATURES: [&str; 2] = ["--features", "tollway/failpoints"];

/// Runs the steps in order and stops at the first that fails.
///
/// # Errors
/// A step failed.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut report = Report::default();
    let mut foreign = Foreign::default();

    report.step("setup: node packages", || foreign.install_node(root));
    report.step("setup: contract compiler", || foreign.install_solc(root));
    report.step("setup: python environment", || foreign.install_python(root));
    report.step("setup: mppx", || foreign.install_mppx(root));
    report.step("setup: rust packages", || foreign.build_rust(root));

    report.step("format", || checked(&mut cargo(root, &["fmt", "--all", "--check"])));
    report.step("clippy", || {
        let mut clippy = cargo(root, &["clippy", "--workspace", "--all-targets", "--quiet"]);
        checked(clippy.args(FEATURES).args(["--", "-D", "warnings"]))
    });
    report.step("contracts are what their sources compile to", || contracts(root, &foreign));
    report.step("tests", || tests(root, &foreign));
    report.step("doc examples", || {
        counted(cargo(root, &["test", "--workspace", "--doc", "--quiet"]).args(FEATURES))
    });
    foreign_checks(&mut report, root, &foreign);
    report.step("documentation", || {
        let arguments = ["doc", "--workspace", "--no-deps", "--quiet"];
        checked(cargo(root, &arguments).env("RUSTDOCFLAGS", "-D warnings"))
    });
    report.step("tidy", || tidy::run(root).map(|()| Verdict::passed()));
    report.step("licences and sources", || deny(root));
    report.step("fuzz corpus", || fuzz::replay(root));
    report.finish()
}

fn tests(root: &Path, foreign: &Foreign) -> Result<Verdict> {
    let mut command = if exists("cargo-nextest", "--version") {
        cargo(root, &["nextest", "run", "--workspace", "--no-fail-fast"])
    } else {
        cargo(root, &["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast", "--quiet"])
    };
    command.args(FEATURES).envs(foreign.environment());
    if foreign.is_complete() {
        // Then a test that does not find its foreign program fails instead of saying that it did not run.
        command.env("TOLLWAY_REQUIRE_FOREIGN", "1");
    }
    counted(&mut command)
}

fn contracts(root: &Path, foreign: &Foreign) -> Result<Verdict> {
    if !foreign.solc {
        return Ok(setup::missing("the contract compiler is not installed"));
    }
    checked(&mut command(&root.join("contracts"), "node", &["build.mjs", "--check"]))
}

/// The published packages against us: what they write is what is committed, and what we write they read.
fn foreign_checks(report: &mut Report, root: &Path, foreign: &Foreign) {
    let programs = [
        ("node", "mjs", foreign.node.as_ref().map(|_| Path::new("node"))),
        ("python", "py", foreign.python.as_deref()),
    ];
    for (name, suffix, program) in programs {
        let directory = root.join("interop").join(name);
        let absent = || setup::missing(&format!("the {name} packages are not installed"));
        report.step(&format!("golden vectors are what the {name} packages write"), || match program {
            None => Ok(absent()),
            Some(program) => {
                checked(&mut command(&directory, program, &[&format!("vectors.{suffix}"), "--check"]))
            }
        });
        if name == "node" {
            for (script, what) in [
                ("identity.mjs", "who somebody is"),
                ("receipts.mjs", "signed offers and receipts"),
                ("vectors_auth_capture.mjs", "auth-capture"),
                ("vectors_batch_settlement.mjs", "batch-settlement"),
            ] {
                let step = format!("golden vectors of {what} are what the node packages write");
                report.step(&step, || match program {
                    None => Ok(absent()),
                    Some(program) => checked(&mut command(&directory, program, &[script, "--check"])),
                });
            }
        }
        report.step(&format!("the {name} packages read what we write"), || match program {
            None => Ok(absent()),
            Some(program) => {
                let encodings = encodings(root)?;
                fed(&mut command(&directory, program, &[&format!("check.{suffix}")]), &encodings)
            }
        });
    }
}

/// What our encoders put on the wire, one JSON object a line.
fn encodings(root: &Path) -> Result<Vec<u8>> {
    process::read(&mut cargo(
        root,
        &["run", "--quiet", "--package", "tollway-core", "--example", "encodings"],
    ))
}

fn deny(root: &Path) -> Result<Verdict> {
    if !exists("cargo-deny", "--version") {
        return Ok(Verdict::Skipped("cargo-deny is not installed".to_owned()));
    }
    // Not advisories: they take a network, and change while the tree does not.
    checked(&mut cargo(root, &["deny", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"]))
}

/// One check.
fn checked(command: &mut Command) -> Result<Verdict> {
    let finished = process::run(command)?;
    Ok(if finished.success {
        Verdict::passed()
    } else {
        Verdict::failed(format!("{} failed", shown(command)))
    })
}

/// As many checks as the output counts tests.
pub(crate) fn counted(command: &mut Command) -> Result<Verdict> {
    let finished = process::run(command)?;
    let mut count = Count::of_tests(&finished.output);
    if finished.success {
        return Ok(Verdict::Passed(count));
    }
    // What did not compile has no tests to count.
    count.failed = count.failed.max(1);
    Ok(Verdict::Failed(count, format!("{} failed", shown(command))))
}

/// One check that reads `input`.
fn fed(command: &mut Command, input: &[u8]) -> Result<Verdict> {
    let name = shown(command);
    let mut child = command.stdin(Stdio::piped()).spawn().with_context(|| format!("cannot start {name}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input).with_context(|| format!("{name} stopped reading"))?;
    }
    let status = child.wait()?;
    Ok(if status.success() { Verdict::passed() } else { Verdict::failed(format!("{name} failed")) })
}
