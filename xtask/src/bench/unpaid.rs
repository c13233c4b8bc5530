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

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};

use super::child::{self, Child};
use super::load::{CONNECTIONS, Load, Loaded};
use super::server::{BARE, CONSTANT, TOLLWAY};
use super::{Row, Rows};

const ROUNDS: usize = 5;
const MEASURED: Duration = Duration::from_secs(2);
const SYSTEMS: [(&str, u16); 3] = [(TOLLWAY, 402), (BARE, 200), (CONSTANT, 402)];

/// Measures the three servers in turn.
pub(super) fn run(rows: &mut Rows) -> Result<()> {
    let is_pinned = child::can_pin();
    let mut servers = Vec::new();
    for (system, status) in SYSTEMS {
        servers.push((
            system,
            status,
            Child::start(child::command("serve", Some(0))?.arg(system))?,
            Vec::new(),
        ));
    }
    for _ in 0..ROUNDS {
        for (_, status, server, rounds) in &mut servers {
            rounds.push(load(server, *status)?);
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

/// One server under load for one round.
fn load(server: &Child, status: u16) -> Result<Loaded> {
    let load = Load { address: server.address.clone(), server: server.id(), measured: MEASURED, status };
    let output = child::command("load", Some(1))?.args(load.to_arguments()).stderr(Stdio::inherit()).output();
    Loaded::from_json(&output.context("cannot start a load")?.stdout)
}
