//! Files that are generated and committed. `cargo xtask test` fails when they are not what would be generated.

use std::path::Path;

use anyhow::{Result, bail};
use clap::Subcommand;

use crate::process::{cargo, command, must};
use crate::report::Verdict;
use crate::setup::Foreign;
use crate::test;

/// What to generate.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Target {
    /// Golden vectors, by the published packages
    Vectors,
    /// Contract artifacts, by the pinned compiler
    Contracts,
    /// The page about interop, by a run of the matrix
    Interop,
}

/// Generates `target` again.
///
/// # Errors
/// What it takes cannot be installed, or fails.
pub(crate) fn run(root: &Path, target: Target) -> Result<()> {
    let mut foreign = Foreign::default();
    match target {
        Target::Vectors => {
            installed(foreign.install_node(root)?)?;
            installed(foreign.install_python(root)?)?;
            for script in [
                "vectors.mjs",
                "identity.mjs",
                "receipts.mjs",
                "vectors_auth_capture.mjs",
                "vectors_batch_settlement.mjs",
            ] {
                must(&mut command(&root.join("interop/node"), "node", &[script]))?;
            }
            let Some(python) = foreign.python else { bail!("there is no Python environment") };
            must(&mut command(&root.join("interop/python"), python, &["vectors.py"]))
        }
        Target::Contracts => {
            installed(foreign.install_solc(root)?)?;
            must(&mut command(&root.join("contracts"), "node", &["build.mjs"]))
        }
        Target::Interop => {
            installed(foreign.install_node(root)?)?;
            installed(foreign.install_python(root)?)?;
            installed(foreign.install_mppx(root)?)?;
            installed(foreign.build_rust(root)?)?;
            let matrix = ["test", "--quiet", "--package", "tollway", "--test", "interop"];
            let mut matrix = cargo(root, &matrix);
            matrix.args(test::FEATURES).args(["--", "devnet"]);
            must(matrix.envs(foreign.environment()).env("TOLLWAY_WRITE_INTEROP", "1"))
        }
    }
}

fn installed(verdict: Verdict) -> Result<()> {
    match verdict {
        Verdict::Passed(_) => Ok(()),
        Verdict::Failed(_, why) | Verdict::Skipped(why) => bail!("{why}"),
    }
}
