//! One measurement: a node, a facilitator and a load, all fresh, each a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::runtime::Runtime;
use tollway_devnet::genesis;
use tollway_evm::Address;

use super::anvil::{Anvil, Blocks};
use super::child::Child;
use super::closed_loop::{BEGIN, END, Outcome, Plan};
use super::cpu;
use super::proxy::{Calls, counts};
use super::rivals::{Programs, Rival, Start, limited};
use super::signed::{PAYEE, Signed, VALUE, lanes};
use super::tempo::Tempo;

/// What all measurements of one run share.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) programs: Programs,
    pub(super) signed: Signed,
    pub(super) runtime: Runtime,
    pub(super) tempo: Tempo,
}

/// Keys with money for gas, the same for everybody: the Rust peer takes them in turn, the TypeScript one is made to.
/// With fewer, one transaction of ours a key and block would be the limit at 4,096 in flight.
pub(super) const LANES: usize = 32;
/// Payments a transaction of ours.
pub(super) const BATCH: usize = 150;

/// Where the facilitator's node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Answers from memory.
    Ready,
    Anvil(Blocks),
}

/// What to measure.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) rival: Rival,
    pub(super) node: Node,
    /// How much later the node answers.
    pub(super) delay: Duration,
    /// With a proxy that counts what the node is asked. Not where throughput is measured.
    pub(super) is_counted: bool,
    /// The facilitator on core 0, everything else on core 1.
    pub(super) is_pinned: bool,
    /// Keys with money for gas.
    pub(super) lanes: usize,
    /// Payments a transaction, ours only.
    pub(super) batch: usize,
    pub(super) plan: Plan,
}

/// What was measured.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    pub(super) outcome: Outcome,
    pub(super) per_second: f64,
    /// The facilitator's processor time for a payment, microseconds.
    pub(super) cpu_us: f64,
    /// The node's.
    pub(super) node_cpu_us: f64,
    /// JSON-RPC calls for a payment, if they were counted.
    pub(super) calls: Option<f64>,
    /// The most memory resident, and that when measuring ended.
    pub(super) peak_mib: f64,
    pub(super) resident_mib: f64,
    /// Payments that the token knows of, in all.
    pub(super) on_chain: u64,
    /// For each of those.
    pub(super) gas: f64,
    pub(super) per_transaction: f64,
}

/// Everything that runs for a cell. The facilitator ends first, so that it does not see its node go.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) facilitator: Child,
    proxy: Option<Child>,
    ready: Option<Child>,
    pub(super) anvil: Option<Anvil>,
}

impl Cell {
    /// On a chain of its own, with nothing between facilitator and node.
    pub(super) fn new(rival: Rival, node: Node, plan: Plan) -> Self {
        let delay = Duration::ZERO;
        Self { rival, node, delay, is_counted: false, is_pinned: false, lanes: LANES, batch: BATCH, plan }
    }

    /// Starts everything, loads, and tells what came of it.
    pub(super) fn run(&self, stage: &Stage) -> Result<Measured> {
        std::thread::sleep(stage.tempo.cool_down);
        let scene = self.open(stage)?;
        let height = scene.height(stage)?;
        let mut plan = self.plan.clone();
        plan.address.clone_from(&scene.facilitator.address);
        plan.signed = stage.signed.path.display().to_string();
        let mut load = role("load-payments", self.is_pinned.then_some(1))?;
        let mut load = load.arg(plan.to_argument()).stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(load.stdout.take().context("a load has an output")?).lines();
        let mut line =
            || lines.next().context("the load ended early")?.context("the load says something else");
        ensure!(line()? == BEGIN, "the load does not begin");
        let before = scene.sample(stage)?;
        ensure!(line()? == END, "the load does not end");
        let after = scene.sample(stage)?;
        let resident_mib = status_mib(scene.facilitator.id(), "VmRSS:")?;
        let outcome = Outcome::from_json(&line()?)?;
        ensure!(load.wait()?.success(), "the load failed");
        let peak_mib = status_mib(scene.facilitator.id(), "VmHWM:")?;
        let mut measured = Measured { outcome, peak_mib, resident_mib, ..Measured::default() };
        measured.rate(&before, &after);
        if let (Some(anvil), Some(height)) = (&scene.anvil, height) {
            std::thread::sleep(self.block_time() + Duration::from_millis(500));
            stage.runtime.block_on(measured.ask(anvil, height))?;
        }
        Ok(measured)
    }

    /// Starts node, proxy and facilitator.
    pub(super) fn open(&self, stage: &Stage) -> Result<Scene> {
        let lanes = lanes(self.lanes)?;
        let (keys, addresses): (Vec<_>, Vec<_>) = lanes.into_iter().unzip();
        let (mut anvil, mut ready) = (None, None);
        let mut node = match self.node {
            Node::Ready => {
                let child = Child::start(&mut role("ready-node", self.is_pinned.then_some(1))?)?;
                ready.insert(child).address.clone()
            }
            Node::Anvil(blocks) => {
                let start = Anvil::start(&stage.programs.anvil, blocks, stage.signed.payers(), &addresses);
                anvil.insert(stage.runtime.block_on(start)?).address.clone()
            }
        };
        let mut proxy = None;
        if self.is_counted || !self.delay.is_zero() {
            let mut command = role("proxy", self.is_pinned.then_some(1))?;
            let delay_ms = self.delay.as_millis().to_string();
            proxy = Some(Child::start(command.args([&node, &delay_ms]))?);
        }
        if let Some(proxy) = &proxy {
            node.clone_from(&proxy.address);
        }
        let (core, in_flight) = (self.is_pinned.then_some(0), self.plan.in_flight);
        let start = Start { node: &node, keys: &keys, in_flight, core, batch: self.batch };
        let facilitator = stage.programs.start(self.rival, &start)?;
        Ok(Scene { facilitator, proxy, ready, anvil })
    }

    pub(super) fn block_time(&self) -> Duration {
        match self.node {
            Node::Anvil(Blocks::Every(seconds)) => Duration::from_secs(seconds),
            _ => Duration::ZERO,
        }
    }
}

impl Scene {
    fn height(&self, stage: &Stage) -> Result<Option<u64>> {
        self.anvil.as_ref().map(|anvil| stage.runtime.block_on(anvil.height())).transpose()
    }

    fn sample(&self, stage: &Stage) -> Result<Sample> {
        let counter = self.proxy.as_ref().or(self.ready.as_ref());
        let calls = counter.map(|counter| stage.runtime.block_on(counts(&counter.address))).transpose()?;
        let node = self.anvil.as_ref().map(Anvil::id).or(self.ready.as_ref().map(Child::id));
        Ok(Sample {
            at: Instant::now(),
            cpu: cpu::of_process(self.facilitator.id())?,
            node_cpu: node.map_or(Ok(Duration::ZERO), cpu::of_process)?,
            calls,
        })
    }
}

struct Sample {
    at: Instant,
    cpu: Duration,
    node_cpu: Duration,
    calls: Option<Calls>,
}

#[expect(clippy::float_arithmetic, reason = "a measurement is not money")]
#[expect(clippy::cast_precision_loss, reason = "counts of a minute fit")]
impl Measured {
    fn rate(&mut self, before: &Sample, after: &Sample) {
        let taken = self.outcome.taken as f64;
        self.per_second = taken / (after.at - before.at).as_secs_f64();
        let each = |time: Duration| time.as_secs_f64() * 1e6 / taken.max(1.0);
        self.cpu_us = each(after.cpu - before.cpu);
        self.node_cpu_us = each(after.node_cpu - before.node_cpu);
        let sum = |calls: &Option<Calls>| calls.as_ref().map(|calls| calls.values().sum::<u64>());
        let calls = sum(&after.calls).zip(sum(&before.calls));
        self.calls = calls.map(|(after, before)| (after - before) as f64 / taken.max(1.0));
    }

    /// What the chain says: only the payee's balance tells how many payments there were.
    async fn ask(&mut self, anvil: &Anvil, height: u64) -> Result<()> {
        let used = anvil.used_above(height).await?;
        self.on_chain = received(anvil).await? / VALUE;
        self.gas = used.gas as f64 / (self.on_chain.max(1)) as f64;
        self.per_transaction = self.on_chain as f64 / (used.transactions.max(1)) as f64;
        Ok(())
    }
}

async fn received(anvil: &Anvil) -> Result<u64> {
    let data = format!("0x70a08231{}", Address::into_word(&PAYEE).to_string().trim_start_matches("0x"));
    let balance =
        anvil.chain.raw("eth_call", json!([{ "to": genesis::USDC, "data": data }, "latest"])).await?;
    let text = balance.as_str().context("a balance")?.trim_start_matches("0x").trim_start_matches('0');
    Ok(u64::from_str_radix(if text.is_empty() { "0" } else { text }, 16)?)
}

/// This program in a role, with as many open files as it may have; on one core if asked.
fn role(role: &str, core: Option<usize>) -> Result<Command> {
    let mut command = limited(&std::env::current_exe()?, core)?;
    command.args(["bench", "--child", role]);
    Ok(command)
}

#[expect(clippy::float_arithmetic, reason = "a measurement is not money")]
fn status_mib(id: u32, field: &str) -> Result<f64> {
    let status =
        std::fs::read_to_string(format!("/proc/{id}/status")).context("memory is read from /proc")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).context("/proc shows no memory")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}
