//! Files that are generated and committed. `cargo xtask test` fails when they are not what would be generated.

use std::path::Path;

use anyhow::{Result, bail};
use clap::Subcommand;

use crate::process::{command, must};
use crate::report::Verdict;
use crate::setup::Foreign;

/// What to generate.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Target {
    /// Golden vectors, by the published packages
    Vectors,
    /// Contract artifacts, by the pinned compiler
    Contracts,
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
            must(&mut command(&root.join("interop/node"), "node", &["vectors.mjs"]))?;
            let Some(python) = foreign.python else { bail!("there is no Python environment") };
            must(&mut command(&root.join("interop/python"), python, &["vectors.py"]))
        }
        Target::Contracts => {
            installed(foreign.install_solc(root)?)?;
            must(&mut command(&root.join("contracts"), "node", &["build.mjs"]))
        }
    }
}

fn installed(verdict: Verdict) -> Result<()> {
    match verdict {
        Verdict::Passed(_) => Ok(()),
        Verdict::Failed(_, why) | Verdict::Skipped(why) => bail!("{why}"),
    }
}
