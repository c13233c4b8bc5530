//! What the foreign checks stand on: node packages and a Python environment, installed from pinned lists.
//!
//! Installing is done once per list: a stamp beside what was installed holds the list's hash.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::process::{self, exists};
use crate::report::Verdict;

/// Foreign programs that are ready to run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Foreign {
    /// `interop/node`, with its packages installed.
    pub(crate) node: Option<PathBuf>,
    /// `interop/mppx`, with its packages installed.
    pub(crate) mppx: Option<PathBuf>,
    /// The published Rust packages, in one program.
    pub(crate) rust: Option<PathBuf>,
    /// The interpreter of `interop/python`'s environment.
    pub(crate) python: Option<PathBuf>,
    /// The anvil program out of `interop/node`'s packages.
    pub(crate) anvil: Option<PathBuf>,
    /// Whether `contracts/` has its compiler.
    pub(crate) solc: bool,
}

impl Foreign {
    /// The environment by which the end-to-end suite finds them.
    pub(crate) fn environment(&self) -> Vec<(&'static str, &Path)> {
        [
            ("TOLLWAY_NODE_DIR", &self.node),
            ("TOLLWAY_MPPX_DIR", &self.mppx),
            ("TOLLWAY_RUST_PEERS", &self.rust),
            ("TOLLWAY_PYTHON", &self.python),
            ("TOLLWAY_ANVIL", &self.anvil),
        ]
        .into_iter()
        .filter_map(|(name, path)| path.as_deref().map(|path| (name, path)))
        .collect()
    }

    /// Whether the end-to-end suite lacks nothing.
    pub(crate) fn is_complete(&self) -> bool {
        [&self.node, &self.mppx, &self.rust, &self.python, &self.anvil].into_iter().all(Option::is_some)
    }

    /// Installs the packages of `interop/node`.
    pub(crate) fn install_node(&mut self, root: &Path) -> Result<Verdict> {
        let directory = root.join("interop/node");
        let verdict = npm(&directory)?;
        if verdict == Verdict::passed() {
            self.anvil = anvil(&directory);
            self.node = Some(directory);
        }
        Ok(verdict)
    }

    /// Installs the packages of `interop/mppx`.
    pub(crate) fn install_mppx(&mut self, root: &Path) -> Result<Verdict> {
        let directory = root.join("interop/mppx");
        let verdict = npm(&directory)?;
        self.mppx = (verdict == Verdict::passed()).then_some(directory);
        Ok(verdict)
    }

    /// Builds `interop/rust`, in a target directory of its own: its dependencies have other features.
    pub(crate) fn build_rust(&mut self, root: &Path) -> Result<Verdict> {
        let directory = root.join("interop/rust");
        let mut build = process::cargo(&directory, &["build", "--quiet", "--locked"]);
        let finished = process::run(build.env_remove("CARGO_TARGET_DIR"))?;
        if !finished.success {
            return Ok(missing(&format!("the Rust packages cannot be built: {}", finished.complaint())));
        }
        let program = format!("target/debug/interop-rust{}", std::env::consts::EXE_SUFFIX);
        self.rust = Some(directory.join(program));
        Ok(Verdict::passed())
    }

    /// Installs the compiler of `contracts/`.
    pub(crate) fn install_solc(&mut self, root: &Path) -> Result<Verdict> {
        let verdict = npm(&root.join("contracts"))?;
        self.solc = verdict == Verdict::passed();
        Ok(verdict)
    }

    /// Makes the environment of `interop/python`.
    pub(crate) fn install_python(&mut self, root: &Path) -> Result<Verdict> {
        let directory = root.join("interop/python");
        let environment = directory.join(".venv");
        let python = environment.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
        let stamp = Stamp::new(&directory.join("requirements.txt"), &environment)?;
        if !(stamp.is_current() && python.exists()) {
            let Some(system) = ["python3", "python"].into_iter().find(|name| exists(name, "--version"))
            else {
                return Ok(missing("python3 is not installed: the Python package is not run"));
            };
            let venv = process::run(&mut process::command(&directory, system, &["-m", "venv", ".venv"]))?;
            if !venv.success {
                return Ok(missing(&format!("python3 cannot make an environment: {}", venv.complaint())));
            }
            let pip =
                ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"];
            let pip = process::run(&mut process::command(&directory, &python, &pip))?;
            if !pip.success {
                return Ok(missing(&format!("pip cannot install the requirements: {}", pip.complaint())));
            }
            stamp.write()?;
        }
        self.python = Some(python);
        Ok(Verdict::passed())
    }
}

/// Continuous integration has everything, or fails; elsewhere what is missing is said and left out.
pub(crate) fn missing(why: &str) -> Verdict {
    if std::env::var("CI").is_ok_and(|ci| ci == "true") {
        Verdict::failed(why)
    } else {
        Verdict::Skipped(why.to_owned())
    }
}

fn npm(directory: &Path) -> Result<Verdict> {
    let stamp = Stamp::new(&directory.join("package-lock.json"), &directory.join("node_modules"))?;
    for program in ["node", "npm"] {
        if !exists(program, "--version") {
            let name = directory.file_name().unwrap_or_default().to_string_lossy();
            return Ok(missing(&format!("{program} is not installed: nothing of {name}/ is run")));
        }
    }
    if !stamp.is_current() {
        // No package here needs its install script, and no script is run that need not be.
        let arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
        let finished = process::run(&mut process::command(directory, "npm", &arguments))?;
        if !finished.success {
            return Ok(missing(&format!("npm cannot install the packages: {}", finished.complaint())));
        }
        stamp.write()?;
    }
    Ok(Verdict::passed())
}

/// The anvil package keeps its program in a package per platform, of which npm installs the fitting one.
fn anvil(directory: &Path) -> Option<PathBuf> {
    let packages = fs::read_dir(directory.join("node_modules/@foundry-rs")).ok()?;
    packages
        .filter_map(|entry| {
            Some(entry.ok()?.path().join("bin").join(format!("anvil{}", std::env::consts::EXE_SUFFIX)))
        })
        .find(|path| path.is_file())
}

/// Remembers which list was installed.
#[derive(Debug)]
struct Stamp {
    path: PathBuf,
    hash: String,
}

impl Stamp {
    fn new(list: &Path, installed: &Path) -> Result<Self> {
        let content = fs::read(list).with_context(|| format!("cannot read {}", list.display()))?;
        let hash = format!("{:x}", Sha256::digest(content));
        Ok(Self { path: installed.join(".tollway-stamp"), hash })
    }

    fn is_current(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|hash| hash == self.hash)
    }

    fn write(&self) -> Result<()> {
        fs::write(&self.path, &self.hash).with_context(|| format!("cannot write {}", self.path.display()))
    }
}
