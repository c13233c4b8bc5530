//! The facilitators that are compared, each as a process of its own: ours as it is shipped, the published Rust one
//! (`bench/peer-rust`), and one of the published TypeScript packages (`interop/node/facilitator.mjs`).
//!
//! All get the same node and the same keys for gas. The published ones ask the node for receipts at an interval:
//! it is set far below what they come with, see [`Rival::poll_ms`].

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::child::{Child, can_pin};
use crate::process::{cargo, exists, must, read};
use crate::setup::Foreign;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rival {
    /// Ours, with its ledger in a file.
    Tollway,
    /// Ours, with its ledger in PostgreSQL.
    TollwayPostgres,
    /// Ours, with a ledger that is gone when the process is.
    TollwayMemory,
    /// The published Rust crates.
    PeerRust,
    /// The published TypeScript packages.
    PeerTypescript,
}

/// The three of every comparison.
pub(super) const RIVALS: [Rival; 3] = [Rival::Tollway, Rival::PeerRust, Rival::PeerTypescript];

/// For limits that are not what is measured.
const UNLIMITED: u32 = 1_000_000;
const ROOM: u32 = 16_384;

/// Where a database is, for [`Rival::TollwayPostgres`].
const POSTGRES: &str = "TOLLWAY_BENCH_POSTGRES";
/// For another interval than [`Rival::poll_ms`].
const POLL_MS: &str = "TOLLWAY_BENCH_POLL_MS";

impl Rival {
    /// As tables name it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Tollway => "tollway",
            Self::TollwayPostgres => "tollway, PostgreSQL",
            Self::TollwayMemory => "tollway, in memory",
            Self::PeerRust => "peer: Rust",
            Self::PeerTypescript => "peer: TypeScript",
        }
    }

    /// Whether it is ours.
    pub(super) const fn is_ours(self) -> bool {
        matches!(self, Self::Tollway | Self::TollwayPostgres | Self::TollwayMemory)
    }

    /// How often a published facilitator asks its node for the receipts of `in_flight` payments, milliseconds. They
    /// ask for each payment alone: asking more often shortens the wait of a few and drowns the node under many.
    pub(super) const fn poll_ms(in_flight: usize) -> u64 {
        match in_flight {
            0..=16 => 10,
            17..=256 => 100,
            257..=1_024 => 500,
            _ => 2_000,
        }
    }
}

/// The programs, built and installed.
#[derive(Debug)]
pub(super) struct Programs {
    tollway: PathBuf,
    /// Every key of our configuration, to know which there are.
    default_config: String,
    peer_rust: PathBuf,
    node_scripts: PathBuf,
    pub(super) anvil: PathBuf,
    /// For what a run leaves behind.
    pub(super) directory: PathBuf,
    /// Only those with this in their name.
    wanted: Option<String>,
}

/// How a facilitator is started.
#[derive(Clone, Debug)]
pub(super) struct Start<'a> {
    /// The node, `127.0.0.1:port`.
    pub(super) node: &'a str,
    /// Secret keys with money for gas.
    pub(super) keys: &'a [String],
    pub(super) in_flight: usize,
    /// Kept on this core.
    pub(super) core: Option<usize>,
    /// Payments per transaction, ours only.
    pub(super) batch: usize,
}

impl Programs {
    /// Builds ours and the Rust peer for release, and installs the packages.
    pub(super) fn prepare(root: &Path, wanted: Option<&str>) -> Result<Self> {
        let release = ["build", "--quiet", "--release"];
        must(&mut cargo(root, &[&release[..], &["--package", "tollway"]].concat()))?;
        // Its own target directory: its dependencies have other features.
        must(cargo(&root.join("bench/peer-rust"), &release).env_remove("CARGO_TARGET_DIR"))?;
        let mut foreign = Foreign::default();
        foreign.install_node(root)?;
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let tollway = target.join("release/tollway");
        let default_config = read(Command::new(&tollway).args(["facilitator", "--print-default-config"]))?;
        let directory = target.join("bench");
        fs::create_dir_all(&directory)?;
        Ok(Self {
            tollway,
            default_config: String::from_utf8(default_config)?,
            peer_rust: root.join("bench/peer-rust/target/release/peer-rust"),
            node_scripts: foreign.node.context("node or its packages are missing")?,
            anvil: foreign.anvil.context("the anvil package is missing")?,
            directory,
            wanted: wanted.map(str::to_owned),
        })
    }

    /// Whether it is to be measured, and this machine and this version can run it.
    pub(super) fn has(&self, rival: Rival) -> bool {
        let is_wanted = self.wanted.as_ref().is_none_or(|wanted| rival.name().contains(wanted.as_str()));
        is_wanted
            && match rival {
                Rival::TollwayMemory => self.knows("ledger"),
                Rival::TollwayPostgres => self.knows("ledger") && std::env::var_os(POSTGRES).is_some(),
                _ => true,
            }
    }

    /// Starts a facilitator and waits until it serves.
    pub(super) fn start(&self, rival: Rival, start: &Start<'_>) -> Result<Child> {
        let url = format!("http://{}", start.node);
        let poll_ms = std::env::var(POLL_MS).unwrap_or_else(|_| Rival::poll_ms(start.in_flight).to_string());
        let mut command = match rival {
            Rival::PeerRust => {
                let mut command = limited(&self.peer_rust, start.core)?;
                command.args([&url, &poll_ms]).env("PEER_KEYS", start.keys.join(","));
                command
            }
            Rival::PeerTypescript => {
                let mut command = limited(Path::new("node"), start.core)?;
                command.current_dir(&self.node_scripts);
                let poll_ms: u64 = poll_ms.parse().context("the interval is a number")?;
                let network = "eip155:31337";
                let start = json!({ "rpc": url, "pollMs": poll_ms, "network": network, "keys": start.keys });
                command.args(["facilitator.mjs", &start.to_string()]);
                command
            }
            _ => self.ours(rival, start, &url)?,
        };
        let mut child =
            Child::start(&mut command).with_context(|| format!("{} did not start", rival.name()))?;
        if let Ok(said) = serde_json::from_str::<serde_json::Value>(&child.address) {
            let url = said["facilitatorUrl"].as_str().or_else(|| said["urls"][0].as_str());
            let url = url.context("the facilitator says where it serves")?;
            child.address = url.trim_start_matches("http://").to_owned();
        }
        Ok(child)
    }

    fn ours(&self, rival: Rival, start: &Start<'_>, url: &str) -> Result<Command> {
        let state = self.directory.join("state");
        if state.exists() {
            fs::remove_dir_all(&state)?;
        }
        fs::create_dir_all(&state)?;
        let file = state.join("facilitator.toml");
        fs::write(&file, self.config(rival, start, url, &state)?)?;
        let mut command = limited(&self.tollway, start.core)?;
        command.args(["facilitator", "--json", "--listen", "127.0.0.1:0", "--config"]).arg(&file);
        command.env("RUST_LOG", "error");
        for (index, key) in start.keys.iter().enumerate() {
            command.env(format!("TOLLWAY_BENCH_KEY_{index}"), key);
        }
        Ok(command)
    }

    /// What differs from the defaults: strangers are served without a limit, as the others serve them; there is room
    /// for as many in flight as are measured, and as long to wait for a block as the others have.
    fn config(&self, rival: Rival, start: &Start<'_>, url: &str, state: &Path) -> Result<String> {
        let ledger = match rival {
            Rival::TollwayPostgres => std::env::var(POSTGRES).context("no database")?,
            Rival::TollwayMemory => "memory:".to_owned(),
            _ => format!("sqlite:{}/ledger.db", state.display()),
        };
        let keys: Vec<_> =
            (0..start.keys.len()).map(|index| format!("\"env:TOLLWAY_BENCH_KEY_{index}\"")).collect();
        let (chain, keys, batch) = (super::signed::CHAIN_ID, keys.join(", "), start.batch);
        let text = format!(
            "ledger = {ledger:?}\nopen = true\n\
             [strangers]\nrequests_per_second = {UNLIMITED}\nburst = {UNLIMITED}\n\
             [limits]\nsettle_deadline_ms = 30000\nlane_queue = {ROOM}\nsimulations = {ROOM}\nbatch = {batch}\n\
             [[networks]]\nnetwork = \"eip155:{chain}\"\nrpc_url = \"{url}\"\nkeys = [{keys}]\n\
             assets = [\"USDC\"]\n"
        );
        let knows = |line: &&str| line.split_once(" = ").is_none_or(|(key, _)| self.knows(key));
        Ok(text.lines().filter(knows).map(|line| format!("{line}\n")).collect())
    }

    /// Whether this version has a key: what it does not know would be a fault.
    fn knows(&self, key: &str) -> bool {
        let mut lines = self.default_config.lines().map(|line| line.trim_start_matches(['#', ' ']));
        lines.any(|line| line.split_once('=').is_some_and(|(name, _)| name.trim() == key))
    }
}

/// `program` with as many open files as the system lets it have; on one core, if processes can be pinned here.
/// All wrappers become the program, so that the process keeps its number.
pub(super) fn limited(program: &Path, core: Option<usize>) -> Result<Command> {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits.lines().find(|line| line.starts_with("Max open files"));
    let hard = files.and_then(|line| line.split_whitespace().nth(4)).context("no limit of open files")?;
    let mut words = vec!["prlimit".to_owned(), format!("--nofile={hard}:{hard}")];
    if let Some(core) = core {
        ensure!(can_pin(), "taskset is not installed");
        words.extend(["taskset".to_owned(), "--cpu-list".to_owned(), core.to_string()]);
    }
    if exists("setpriv", "--version") {
        // It ends with us, however we end.
        words.extend(["setpriv", "--pdeathsig", "KILL"].map(str::to_owned));
    }
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg(program);
    Ok(command)
}
