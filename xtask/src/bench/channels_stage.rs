//! Who is measured in bench `channels`, and one measurement: a seller with an empty ledger and a load, each a process of its
//! own, before the chain and the facilitator that all of them share.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tollway_devnet::genesis;

use super::channels_agents::{CHAIN_ID, PRICE_ATOMIC, RECEIVER, WITHDRAW_DELAY_SECONDS, authorizer_key};
use super::channels_claim::Claimed;
use super::channels_load::{BEGIN, CONNECTED, END, KNOWN, Outcome, Plan, WARM};
use super::channels_store::Filled;
use super::channels_watch::{CELL_WITHIN, Load};
use super::child::Child;
use super::cpu;
use super::market::PATH;
use super::rivals::limited;
use crate::setup::Foreign;

/// Who sells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum System {
    /// The library, with its ledger in a file: every charge is on disk before its answer leaves, and so is the answer, for
    /// who asks again.
    Sqlite,
    /// Without the answers, as the published server: who asks again is served again, and not charged.
    SqliteLean,
    /// With a ledger that is gone when the process is.
    Memory,
    /// The published TypeScript server, with a file for each channel. It does not wait for the disk.
    PeerFiles,
    /// With its channels in memory, as it comes.
    PeerMemory,
    /// A route without a price: what HTTP and the load cost on this machine.
    Bare,
}

/// All of them, in the order of the tables.
pub(super) const SYSTEMS: [System; 6] =
    [System::Sqlite, System::SqliteLean, System::Memory, System::PeerFiles, System::PeerMemory, System::Bare];

impl System {
    /// As tables name it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "tollway, SQLite",
            Self::SqliteLean => "tollway, SQLite, no answers kept",
            Self::Memory => "tollway, in memory",
            Self::PeerFiles => "peer: @x402/express, files",
            Self::PeerMemory => "peer: @x402/express, in memory",
            Self::Bare => "axum, no price",
        }
    }

    /// Whether it is ours.
    pub(super) const fn is_ours(self) -> bool {
        matches!(self, Self::Sqlite | Self::SqliteLean | Self::Memory)
    }

    /// More than it answers in a second: so many vouchers are signed.
    pub(super) const fn most_per_second(self) -> u64 {
        match self {
            Self::PeerFiles | Self::PeerMemory => 3_000,
            Self::Sqlite | Self::SqliteLean | Self::Memory => 30_000,
            Self::Bare => 80_000,
        }
    }
}

/// Says to a seller that it keeps no answers.
pub(super) const LEAN: &str = "lean";

/// What all measurements share.
#[derive(Debug)]
pub(super) struct Stage {
    /// For what a run leaves behind.
    pub(super) directory: PathBuf,
    node_scripts: PathBuf,
    _chain: Child,
    rpc_url: String,
    facilitator_url: String,
}

/// What was measured of one seller under one number of agents.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    pub(super) closed: Loop,
    pub(super) open: Loop,
    /// Resident, as the seller grew by a channel that it knows and nobody uses.
    pub(super) idle_bytes: f64,
    /// And by one that has a connection of its own and was used, in the open loop.
    pub(super) agent_bytes: f64,
    /// Requests that were paid, from the first to the last.
    pub(super) answered: u64,
    /// Why there are no numbers.
    pub(super) broken: Option<String>,
}

/// One loop of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Loop {
    pub(super) outcome: Outcome,
    pub(super) per_second: f64,
    /// The seller's processor time for a request, and the load's.
    pub(super) cpu_us: f64,
    pub(super) load_cpu_us: f64,
    /// What the seller gave the disk for a request.
    pub(super) written_bytes: f64,
}

impl Stage {
    /// Installs the packages, starts the chain and opens so many channels.
    pub(super) fn prepare(root: &Path, agents: usize) -> Result<Self> {
        let mut foreign = Foreign::default();
        foreign.install_node(root)?;
        let directory = target(root)?;
        eprintln!("opening {agents} channels");
        let chain = Child::start(role("channel-chain")?.arg(agents.to_string()))?;
        let [rpc_url, facilitator_url]: [String; 2] =
            serde_json::from_str(&chain.address).context("the chain says where it is")?;
        let node_scripts = foreign.node.context("node or its packages are missing")?;
        Ok(Self { directory, node_scripts, _chain: chain, rpc_url, facilitator_url })
    }

    /// Starts a seller with an empty ledger, loads it, kills it, and tells what came of it.
    pub(super) fn measure(&self, system: System, plan: &Plan, scratch: &Scratch) -> Result<Measured> {
        let seller = Child::start(&mut self.seller(system, scratch)?)?;
        let mut plan = plan.clone();
        plan.address.clone_from(&seller.address);
        let load = Load::start(role("load-channels")?.arg(plan.to_argument()), CELL_WITHIN)?;
        let at = |word: &str| {
            load.hear(word)?;
            Sample::of(seller.id(), load.id())
        };
        let (warm, known) = (at(WARM)?, at(KNOWN)?);
        at(CONNECTED)?;
        let closed = (at(BEGIN[0])?, at(END[0])?);
        let open = (at(BEGIN[1])?, at(END[1])?);
        let ([closed_outcome, open_outcome], answered) = Outcome::both(&load.line()?)?;
        let fresh = plan.agents.saturating_sub(64);
        Ok(Measured {
            idle_bytes: grown(&warm, &known, fresh),
            agent_bytes: grown(&warm, &open.1, fresh),
            closed: Loop::of(closed_outcome, &closed),
            open: Loop::of(open_outcome, &open),
            answered,
            broken: None,
        })
    }

    /// What a charge costs in a ledger with so many channels.
    pub(super) fn fill(&self, sizes: &[u64], scratch: &Scratch) -> Result<Vec<Filled>> {
        let mut command = role("channel-store")?;
        command.arg(scratch.0.join("store.db")).arg(json!(sizes).to_string());
        let output = command.stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "the store failed");
        Filled::all(std::str::from_utf8(&output.stdout)?)
    }

    /// Claims what the ledger of a killed seller says was charged.
    pub(super) fn claim(&self, scratch: &Scratch, agents: usize, answered: u64) -> Result<Claimed> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let ledger = scratch.ledger(System::Sqlite);
        runtime.block_on(super::channels_claim::claim(
            [&self.rpc_url, &self.facilitator_url],
            &ledger,
            agents,
            answered,
        ))
    }

    fn seller(&self, system: System, scratch: &Scratch) -> Result<Command> {
        let facilitator = self.facilitator_url.as_str();
        let mut command = match system {
            System::Sqlite | System::SqliteLean | System::Memory => {
                let keeps = if system == System::SqliteLean { LEAN } else { "" };
                let mut command = role("sell-channels")?;
                command.args([facilitator, &scratch.ledger(system), keeps]);
                command
            }
            System::Bare => {
                let mut command = role("sell-channels")?;
                command.args(["", "", ""]);
                command
            }
            System::PeerFiles | System::PeerMemory => {
                let mut command = limited(Path::new("node"), None)?;
                let directory = (system == System::PeerFiles).then(|| scratch.0.join("channels"));
                let start = json!({
                    "facilitator": facilitator, "network": format!("eip155:{CHAIN_ID}"),
                    "payTo": RECEIVER.to_string(), "price": PRICE_ATOMIC.to_string(), "path": PATH,
                    "token": { "address": genesis::USDC.to_string(), "name": "USDC", "version": "2" },
                    "authorizerKey": authorizer_key()?, "withdrawDelay": WITHDRAW_DELAY_SECONDS,
                    "directory": directory,
                });
                command.current_dir(&self.node_scripts).args(["channels.mjs", &start.to_string()]);
                command
            }
        };
        command.env("RUST_LOG", "error");
        Ok(command)
    }
}

/// Where runs leave what is not kept.
pub(super) fn target(root: &Path) -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let directory = target.join("bench");
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// This program in a role, with as many open files as it may have.
fn role(role: &str) -> Result<Command> {
    let mut command = limited(&std::env::current_exe()?, None)?;
    command.args(["bench", "--child", role]);
    Ok(command)
}

/// An empty folder for what a seller keeps, gone when this is.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// On the disk of the target directory.
    pub(super) fn new(directory: &Path) -> Result<Self> {
        let folder = directory.join(format!("tollway-channels-{}", std::process::id()));
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    /// What the ledger is named.
    pub(super) fn ledger(&self, system: System) -> String {
        match system {
            System::Memory => "memory:".to_owned(),
            _ => format!("sqlite:{}", self.0.join("channels.db").display()),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Sample {
    cpu: Duration,
    load_cpu: Duration,
    resident: u64,
    written: u64,
}

impl Sample {
    fn of(seller: u32, load: u32) -> Result<Self> {
        let read = |file: &str| {
            fs::read_to_string(format!("/proc/{seller}/{file}")).context("numbers are read from /proc")
        };
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).context("/proc shows less")?;
            Ok::<u64, anyhow::Error>(line.trim().trim_end_matches(" kB").parse()?)
        };
        Ok(Self {
            cpu: cpu::of_process(seller)?,
            load_cpu: cpu::of_process(load)?,
            resident: field(&read("status")?, "VmRSS:")? * 1024,
            written: field(&read("io")?, "write_bytes:")?,
        })
    }
}

#[expect(clippy::float_arithmetic, reason = "a measurement is not money")]
#[expect(clippy::cast_precision_loss, reason = "counts of a minute fit")]
fn grown(before: &Sample, after: &Sample, by: usize) -> f64 {
    if by == 0 { 0.0 } else { (after.resident as f64 - before.resident as f64) / by as f64 }
}

#[expect(clippy::float_arithmetic, reason = "a measurement is not money")]
#[expect(clippy::cast_precision_loss, reason = "counts of a minute fit")]
impl Loop {
    fn of(outcome: Outcome, (before, after): &(Sample, Sample)) -> Self {
        let paid = (outcome.paid as f64).max(1.0);
        let each = |time: Duration| time.as_secs_f64() * 1e6 / paid;
        Self {
            per_second: outcome.paid as f64 / outcome.seconds,
            cpu_us: each(after.cpu - before.cpu),
            load_cpu_us: each(after.load_cpu - before.load_cpu),
            written_bytes: (after.written - before.written) as f64 / paid,
            outcome,
        }
    }
}
