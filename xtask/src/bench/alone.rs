//! One settlement at a time: how much longer than its block it takes.
#![expect(clippy::float_arithmetic, reason = "a measurement is not money")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;

use super::anvil::Anvil;
use super::cell::{Cell, Stage};
use super::frames::{Frames, find, post};
use super::percentile;
use super::signed::Flaw;

/// How often the node is asked for its height: how exactly the moment of a block is known.
const WATCH: Duration = Duration::from_millis(2);

/// As long after an answer its block may be seen: the answer may be quicker than the next look.
const SEEN_BY: Duration = Duration::from_millis(10);

/// Settlements before the measured ones.
const WARM_UP: usize = 2;

/// Settles one payment after the other, each begun a little later between two blocks than the one before. Tells the
/// latency, and how long after the last block the answer came: the median and the worst of each, milliseconds.
pub(super) fn alone(stage: &Stage, cell: &Cell) -> Result<[(&'static str, f64); 4]> {
    std::thread::sleep(stage.tempo.cool_down);
    let scene = cell.open(stage)?;
    let anvil = scene.anvil.as_ref().context("a settlement needs a chain")?;
    let (mut whole, mut after) = stage.runtime.block_on(async {
        let blocks = Arc::new(Mutex::new(vec![Instant::now()]));
        let watcher = tokio::spawn(watch(anvil.chain.clone(), anvil.height().await?, Arc::clone(&blocks)));
        let times = settle_each(stage, cell, &scene.facilitator.address, &blocks).await;
        watcher.abort();
        times
    })?;
    whole.sort();
    after.sort();
    let ms = |times: &[Duration], percent| percentile(times, percent).as_secs_f64() * 1e3;
    Ok([
        ("p50", ms(&whole, 50)),
        ("slowest", ms(&whole, 100)),
        ("after its block, p50", ms(&after, 50)),
        ("after its block, slowest", ms(&after, 100)),
    ])
}

type Times = (Vec<Duration>, Vec<Duration>);

async fn settle_each(
    stage: &Stage,
    cell: &Cell,
    address: &str,
    blocks: &Mutex<Vec<Instant>>,
) -> Result<Times> {
    let (mut whole, mut after) = (Vec::new(), Vec::new());
    let mut connection = Frames::connect(address).await?;
    let measured = stage.tempo.alone;
    for number in 0..WARM_UP + measured {
        let share = u32::try_from(number % measured * 1_000 / measured)?;
        tokio::time::sleep(cell.block_time() * share / 1_000).await;
        let request = post("/settle", &stage.signed.body(number, Flaw::None)?);
        let start = Instant::now();
        connection.send(&request).await?;
        let answered = tokio::time::timeout(Duration::from_secs(60), connection.next());
        ensure!(answered.await.context("no answer to a lone settlement")??, "the facilitator closed");
        let end = Instant::now();
        let said = String::from_utf8_lossy(connection.body()).into_owned();
        ensure!(find(connection.body(), b"\"success\":true").is_some(), "a lone settlement failed: {said}");
        if number >= WARM_UP {
            whole.push(end - start);
            tokio::time::sleep(SEEN_BY + WATCH).await;
            let blocks = blocks.lock();
            let block = blocks.iter().rev().find(|block| **block <= end + SEEN_BY);
            after.push(block.map_or(Duration::ZERO, |block| end.saturating_duration_since(*block)));
        }
    }
    Ok((whole, after))
}

/// Notes when each block comes.
async fn watch(chain: tollway_evm::Chain, mut height: u64, blocks: Arc<Mutex<Vec<Instant>>>) {
    loop {
        if let Ok(now) = Anvil::height_of(&chain).await
            && now > height
        {
            height = now;
            blocks.lock().push(Instant::now());
        }
        tokio::time::sleep(WATCH).await;
    }
}
