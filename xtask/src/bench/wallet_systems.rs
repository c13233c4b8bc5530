//! Who is measured in bench `wallet`, and one measurement: a seller, a buyer, and the proxy between them where there is one,
//! all fresh, each a process of its own.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::runtime::Runtime;
use tollway_devnet::ACCOUNTS;
use tollway_ledger::TestServer;

use super::child::{Child, can_pin};
use super::closed_loop::{BEGIN, END};
use super::market::PATH;
use super::rivals::limited;
use super::wallet_loop::{Outcome, Plan};
use super::{cpu, percentile};
use crate::process::{cargo, must};
use crate::setup::Foreign;

/// Who buys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum System {
    /// The library, with its ledger in a file.
    Sqlite,
    /// The same, with the file in memory: what is left when the disk costs nothing.
    SqliteInRam,
    /// With a ledger that is gone when the process is.
    Memory,
    /// With a ledger on a server.
    Postgres,
    /// `tollway proxy` with its ledger in a file, before a program that knows nothing of payments.
    Proxy,
    /// The published Rust client.
    PeerRust,
    /// The published TypeScript client.
    PeerTypescript,
}

/// All of them, in the order of the tables.
pub(super) const SYSTEMS: [System; 7] = [
    System::Sqlite,
    System::SqliteInRam,
    System::Memory,
    System::Postgres,
    System::Proxy,
    System::PeerRust,
    System::PeerTypescript,
];

/// What our own wallets may pay, all the same: a cap, and one budget that every payment is counted in.
const POLICY: &str = "max_payment = \"$1\"\n\n[budget]\nday = \"$1000000\"\n";
const RAM: &str = "/dev/shm";
/// Writes of as many bytes as SQLite's pages have.
const PAGE_BYTES: usize = 4_096;
const SYNCS: usize = 200;

impl System {
    /// As tables name it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "tollway, SQLite",
            Self::SqliteInRam => "tollway, SQLite on tmpfs",
            Self::Memory => "tollway, in memory",
            Self::Postgres => "tollway, PostgreSQL",
            Self::Proxy => "tollway proxy, SQLite",
            Self::PeerRust => "peer: x402-reqwest",
            Self::PeerTypescript => "peer: @x402/fetch",
        }
    }
}

/// What was measured.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    pub(super) per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// Processor time for a payment, of whoever pays: of the proxy, if there is one.
    pub(super) cpu_us: f64,
    /// How much of its core the seller used, percent.
    pub(super) seller_percent: f64,
    pub(super) errors: u64,
    /// The first of them.
    pub(super) why: Option<String>,
}

/// The programs, built and installed, and what all measurements share.
#[derive(Debug)]
pub(super) struct Stage {
    tollway: PathBuf,
    peer_rust: PathBuf,
    node_scripts: PathBuf,
    /// For what a run leaves behind.
    pub(super) directory: PathBuf,
    postgres: Option<TestServer>,
    runtime: Runtime,
}

impl Stage {
    /// Builds ours and the Rust peer for release, installs the packages, starts a database if there is one to start.
    pub(super) fn prepare(root: &Path) -> Result<Self> {
        let release = ["build", "--quiet", "--release"];
        must(&mut cargo(root, &[&release[..], &["--package", "tollway"]].concat()))?;
        // Its own target directory: its dependencies have other features.
        must(cargo(&root.join("bench/peer-rust"), &release).env_remove("CARGO_TARGET_DIR"))?;
        let mut foreign = Foreign::default();
        foreign.install_node(root)?;
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let directory = target.join("bench");
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("policy.toml"), POLICY)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        Ok(Self {
            tollway: target.join("release/tollway"),
            peer_rust: root.join("bench/peer-rust/target/release/peer-rust-buyer"),
            node_scripts: foreign.node.context("node or its packages are missing")?,
            directory,
            postgres: runtime.block_on(TestServer::start_new())?,
            runtime,
        })
    }

    /// Whether this machine can run it.
    pub(super) fn has(&self, system: System) -> bool {
        match system {
            System::SqliteInRam => Path::new(RAM).is_dir(),
            System::Postgres => self.postgres.is_some(),
            _ => true,
        }
    }

    /// How long the disk of the ledgers takes to keep a page: the floor of everything durable. Median and p99.
    pub(super) fn sync_ms(&self) -> Result<(f64, f64)> {
        let path = self.directory.join("sync");
        let mut file = fs::File::create(&path)?;
        let mut times = Vec::new();
        for _ in 0..SYNCS {
            file.write_all(&[7; PAGE_BYTES])?;
            let start = Instant::now();
            file.sync_data()?;
            times.push(start.elapsed());
        }
        fs::remove_file(path)?;
        times.sort();
        Ok((ms(percentile(&times, 50)), ms(percentile(&times, 99))))
    }

    /// Starts everything, buys, and tells what came of it.
    pub(super) fn measure(&self, system: System, plan: &Plan) -> Result<Measured> {
        let exe = std::env::current_exe()?;
        let seller = Child::start(limited(&exe, pinned(0))?.args(["bench", "--child", "sell"]))?;
        let scratch = Scratch::new(system, &self.directory)?;
        let mut plan = plan.clone();
        plan.url = format!("http://{}{PATH}", seller.address);
        plan.key = ACCOUNTS[2].secret_key.to_string();
        plan.policy = self.directory.join("policy.toml").display().to_string();
        plan.ledger = match (system, &self.postgres) {
            (System::Memory, _) => "memory:".to_owned(),
            (System::Postgres, Some(server)) => self.runtime.block_on(server.database())?,
            _ => format!("sqlite:{}", scratch.0.join("wallet.db").display()),
        };
        let proxy = (system == System::Proxy).then(|| self.proxy(&plan)).transpose()?;
        if let Some(proxy) = &proxy {
            let said: serde_json::Value = serde_json::from_str(&proxy.address)?;
            let url = said["proxyUrl"].as_str().context("the proxy says where it listens")?;
            plan.proxy = url.trim_start_matches("http://").to_owned();
        }
        let mut buyer = self.buyer(system, &plan)?.stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(buyer.stdout.take().context("a buyer has an output")?).lines();
        let mut line = || lines.next().context("the buyer ended early")?.context("it says something else");
        let payer = proxy.as_ref().map_or(buyer.id(), Child::id);
        let sample = || Ok::<_, anyhow::Error>((cpu::of_process(payer)?, cpu::of_process(seller.id())?));
        ensure!(line()? == BEGIN, "the buyer does not begin");
        let (start, before) = (Instant::now(), sample()?);
        ensure!(line()? == END, "the buyer does not end");
        let (elapsed, after) = (start.elapsed(), sample()?);
        let outcome = Outcome::from_json(&line()?)?;
        ensure!(buyer.wait()?.success(), "the buyer failed");
        Ok(Measured::of(&outcome, elapsed, after.0 - before.0, after.1 - before.1))
    }

    fn proxy(&self, plan: &Plan) -> Result<Child> {
        let mut command = limited(&self.tollway, pinned(1))?;
        command.args(["proxy", "--listen", "127.0.0.1:0", "--json"]);
        command.args(["--policy", &plan.policy, "--ledger", &plan.ledger]);
        Child::start(command.env("TOLLWAY_KEY", &plan.key).env("RUST_LOG", "error"))
    }

    fn buyer(&self, system: System, plan: &Plan) -> Result<Command> {
        let exe = std::env::current_exe()?;
        let role = |core, role| {
            let mut command = limited(&exe, pinned(core))?;
            command.args(["bench", "--child", role]);
            Ok::<_, anyhow::Error>(command)
        };
        let mut command = match system {
            System::PeerRust => limited(&self.peer_rust, pinned(1))?,
            System::PeerTypescript => {
                let mut command = limited(Path::new("node"), pinned(1))?;
                command.current_dir(&self.node_scripts).arg("spend.mjs");
                command
            }
            // It only asks, and shares the seller's core: the other one is the proxy's.
            System::Proxy => role(0, "buy-through-proxy")?,
            _ => role(1, "buy")?,
        };
        command.arg(plan.to_argument());
        Ok(command)
    }
}

#[expect(clippy::float_arithmetic, reason = "a measurement is not money")]
#[expect(clippy::cast_precision_loss, reason = "counts of a few seconds fit")]
impl Measured {
    fn of(outcome: &Outcome, elapsed: Duration, payer: Duration, seller: Duration) -> Self {
        let paid = outcome.latencies.len() as f64;
        Self {
            per_second: paid / elapsed.as_secs_f64(),
            p50_ms: ms(percentile(&outcome.latencies, 50)),
            p99_ms: ms(percentile(&outcome.latencies, 99)),
            cpu_us: payer.as_secs_f64() * 1e6 / paid.max(1.0),
            seller_percent: 100.0 * seller.as_secs_f64() / elapsed.as_secs_f64(),
            errors: outcome.errors.values().sum(),
            why: outcome.errors.keys().next().cloned(),
        }
    }
}

/// An empty folder for a ledger, gone when this is.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn new(system: System, directory: &Path) -> Result<Self> {
        let base = if system == System::SqliteInRam { Path::new(RAM) } else { directory };
        let folder = base.join(format!("tollway-bench-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The seller has core 0, whoever pays core 1, where there are two and processes can be pinned.
fn pinned(core: usize) -> Option<usize> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    (cores > 1 && can_pin()).then_some(core)
}

#[expect(clippy::float_arithmetic, reason = "a measurement is not money")]
fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
