//! How many unpaid requests one core turns away: the first thing a stranger can make a seller do.
//!
//! Measured: requests per second over kept HTTP/1.1 connections, one request at a time on each, against a
//! server with one thread on core 0. The load is on core 1. Three servers take turns in every round:
//!
//! - `tollway`: a route with a price. Every answer is a 402 with its offers, in a header and in the body.
//! - `axum: bare route`: the same route without a price, which answers `data`. What there was before.
//! - `axum: constant 402`: the bytes of that 402, ready made. The floor: whoever answers them over axum pays
//!   this.
//!
//! How to read it: from bare to constant is the price of a longer answer, from constant to tollway is ours.
//! `load cpu` near 100% says that the load was the limit, and the server could do more. Pinning is by
//! `taskset`; without it, the parameters say so.
#![expect(clippy::float_arithmetic, reason = "a measurement is not money")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::load::{CONNECTIONS, Load, Loaded};
use super::server::{BARE, CONSTANT, TOLLWAY};
use super::{Row, Rows};
use crate::process::exists;

const ROUNDS: usize = 5;
const MEASURED: Duration = Duration::from_secs(2);
const SYSTEMS: [(&str, u16); 3] = [(TOLLWAY, 402), (BARE, 200), (CONSTANT, 402)];

/// Measures the three servers in turn.
pub(super) fn run(rows: &mut Rows) -> Result<()> {
    let is_pinned = exists("taskset", "--version");
    let mut servers = Vec::new();
    for (system, status) in SYSTEMS {
        servers.push((system, status, Server::start(system, is_pinned)?, Vec::new()));
    }
    for _ in 0..ROUNDS {
        for (_, status, server, rounds) in &mut servers {
            rounds.push(server.load(*status, is_pinned)?);
        }
    }
    let bare = servers.iter().find(|(system, ..)| *system == BARE);
    let bare = bare.map_or(0.0, |(.., rounds)| middle(rounds, |round| round.per_second));
    for (system, _, _, rounds) in &servers {
        let rate = middle(rounds, |round| round.per_second);
        let server = middle(rounds, |round| round.server_share);
        push(rows, system, is_pinned, "requests", rate, "1/s");
        push(rows, system, is_pinned, "of the bare route", 100.0 * rate / bare, "%");
        push(rows, system, is_pinned, "server cpu per request", 1e6 * server / rate, "us");
        push(rows, system, is_pinned, "server cpu", 100.0 * server, "%");
        push(rows, system, is_pinned, "load cpu", 100.0 * middle(rounds, |round| round.own_share), "%");
    }
    Ok(())
}

fn push(
    rows: &mut Rows,
    system: &str,
    is_pinned: bool,
    metric: &'static str,
    value: f64,
    unit: &'static str,
) {
    let pinned = if is_pinned { "" } else { " NOT PINNED" };
    let params = format!("connections={CONNECTIONS}{pinned}");
    rows.push(Row { bench: "unpaid", system: system.to_owned(), params, metric, value, unit });
}

fn middle(rounds: &[Loaded], value: impl Fn(&Loaded) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// A server process. It ends with this.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(system: &str, is_pinned: bool) -> Result<Self> {
        let mut command = child(0, is_pinned, "serve")?;
        let mut process = command
            .arg(system)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a server")?;
        let stdout = process.stdout.take().context("the server has an output")?;
        let mut server = Self { process, address: String::new() };
        BufReader::new(stdout).read_line(&mut server.address)?;
        ensure!(!server.address.is_empty(), "the server {system:?} did not start");
        server.address.truncate(server.address.trim_end().len());
        Ok(server)
    }

    fn load(&self, status: u16, is_pinned: bool) -> Result<Loaded> {
        // `taskset` becomes the server, so the process keeps its number.
        let load =
            Load { address: self.address.clone(), server: self.process.id(), measured: MEASURED, status };
        let output = child(1, is_pinned, "load")?.args(load.to_arguments()).stderr(Stdio::inherit()).output();
        Loaded::from_json(&output.context("cannot start a load")?.stdout)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// This program again, in another role, on one core.
fn child(core: usize, is_pinned: bool, role: &str) -> Result<Command> {
    let program = std::env::current_exe()?;
    let mut command = if is_pinned {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &core.to_string()]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.args(["bench", "--child", role]);
    Ok(command)
}
