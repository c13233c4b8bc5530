//! What a charge costs on this machine: `cargo run --release -p tollway-ledger --features test-server --example
//! channels`, with the number of channels in the store behind it if not 10,000. Callers at once charge random channels,
//! each its own; on SQLite also what is written to the log for it.

#![expect(clippy::print_stdout, reason = "the numbers are the purpose")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tollway_core::{Amount, ChannelKey, Fingerprint, UnixTime};
use tollway_ledger::{Channel, ChannelCharge, Ledger, MemoryLedger, StoredResponse, open};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const NOW: UnixTime = UnixTime(1_000);
/// Callers at once, and how many charges they make in all.
const LOADS: [(u64, u64); 4] = [(1, 1_000), (64, 40_000), (1_024, 200_000), (4_096, 200_000)];

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let channels: u64 = std::env::args().nth(1).map_or(Ok(10_000), |text| text.parse())?;
    let only = std::env::args().nth(2);
    let is_asked = |name: &str| only.as_ref().is_none_or(|only| only == name);
    if is_asked("memory") {
        measure("memory", Arc::new(MemoryLedger::new()), channels, None).await?;
    }
    if is_asked("sqlite") {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("ledger.db");
        let ledger = open(&format!("sqlite:{}", path.display())).await?;
        measure("sqlite", ledger, channels, Some(path)).await?;
    }
    if is_asked("postgres")
        && let Some(server) = tollway_ledger::TestServer::start_new().await?
    {
        measure("postgres", open(&server.database().await?).await?, channels, None).await?;
    }
    Ok(())
}

async fn measure(
    name: &str,
    ledger: Arc<dyn Ledger>,
    channels: u64,
    file: Option<PathBuf>,
) -> Result<(), Failure> {
    fill(&ledger, channels).await?;
    let versions: Arc<[AtomicU64]> = (0..channels).map(|_| AtomicU64::new(1)).collect();
    for is_answered in [false, true] {
        for (callers, count) in LOADS.into_iter().filter(|(callers, _)| *callers <= channels) {
            let (cpu, written, begun) = (cpu_time(), bytes_written(), Instant::now());
            let tasks: Vec<_> = (0..callers)
                .map(|caller| {
                    let mine = Share { caller, callers, rounds: count / callers, is_answered };
                    tokio::spawn(mine.charge(Arc::clone(&ledger), Arc::clone(&versions)))
                })
                .collect();
            let mut latencies = Vec::new();
            for task in tasks {
                latencies.extend(task.await??);
            }
            let (elapsed, count) = (begun.elapsed(), latencies.len() as u128);
            latencies.sort();
            let kept = if is_answered { ", answer kept" } else { "" };
            println!(
                "{name}, {channels} channels, {callers} callers{kept}: {}/s, {} ns of CPU and {} bytes each, median {:?}, p99 {:?}{}",
                count * 1_000_000 / elapsed.as_micros().max(1),
                (cpu_time() - cpu).as_nanos() / count,
                u128::from(bytes_written() - written) / count,
                latencies[latencies.len() / 2],
                latencies[latencies.len() * 99 / 100],
                file.as_deref().map(log_size).unwrap_or_default(),
            );
        }
    }
    gets(name, &ledger, channels).await
}

/// One caller's part: channels that no other charges.
struct Share {
    caller: u64,
    callers: u64,
    rounds: u64,
    is_answered: bool,
}

impl Share {
    async fn charge(
        self,
        ledger: Arc<dyn Ledger>,
        versions: Arc<[AtomicU64]>,
    ) -> Result<Vec<Duration>, Failure> {
        let mut latencies = Vec::new();
        let mut random = self.caller.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let own = versions.len() as u64 / self.callers;
        for _ in 0..self.rounds {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let number = random % own * self.callers + self.caller;
            let place = usize::try_from(number)?;
            let version = versions[place].load(Ordering::Relaxed);
            let begun = Instant::now();
            if !ledger.channel_charge(charge(number, version, self.is_answered)).await? {
                return Err("a charge was lost".into());
            }
            latencies.push(begun.elapsed());
            versions[place].store(version + 1, Ordering::Relaxed);
        }
        Ok(latencies)
    }
}

async fn fill(ledger: &Arc<dyn Ledger>, channels: u64) -> Result<(), Failure> {
    let (begun, resident) = (Instant::now(), resident());
    for first in (0..channels).step_by(500) {
        let puts: Vec<_> = (first..channels.min(first + 500))
            .map(|number| {
                let ledger = Arc::clone(ledger);
                tokio::spawn(async move { ledger.channel_put(channel(number), None, NOW).await })
            })
            .collect();
        for put in puts {
            put.await??;
        }
    }
    let grown = (self::resident().saturating_sub(resident)) / channels.max(1);
    println!("{channels} channels opened in {:?}: {grown} bytes of memory each", begun.elapsed());
    Ok(())
}

async fn gets(name: &str, ledger: &Arc<dyn Ledger>, channels: u64) -> Result<(), Failure> {
    for (callers, rounds) in [(1, 1_000), (256, 40)] {
        let (cpu, begun) = (cpu_time(), Instant::now());
        let tasks: Vec<_> = (0..callers)
            .map(|caller| {
                let ledger = Arc::clone(ledger);
                tokio::spawn(async move {
                    for round in 0..rounds {
                        let number = (caller * 7_919 + round * 104_729) % channels;
                        ledger.channel_get("seller", &key(number)).await?;
                    }
                    Ok::<_, Failure>(())
                })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        let count = u128::from(callers * rounds);
        println!(
            "{name}, {channels} channels, {callers} readers: {}/s, {} ns of CPU each",
            count * 1_000_000 / begun.elapsed().as_micros().max(1),
            (cpu_time() - cpu).as_nanos() / count,
        );
    }
    Ok(())
}

fn key(number: u64) -> ChannelKey {
    // As names are: anywhere in their order.
    ChannelKey::new(format!(
        "eip155:8453/0x{:016x}{:048x}",
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        number
    ))
}

fn channel(number: u64) -> Channel {
    Channel {
        scope: "seller".to_owned(),
        id: key(number),
        version: 0,
        charged: Amount::ZERO,
        signed: Amount::ZERO,
        claimed: Amount::ZERO,
        proof: format!("0x{}", "5a".repeat(65)),
        request: None,
        repeats: 0,
        body: format!("{{\"terms\":\"{}\"}}", "x".repeat(700)),
        holder: None,
        used_at: NOW,
        due: UnixTime(90_000),
    }
}

fn charge(number: u64, version: u64, is_answered: bool) -> ChannelCharge {
    let answer = is_answered.then(|| StoredResponse {
        presented: [7; 32],
        status: 200,
        // As long as a receipt is, in base64.
        headers: vec![
            ("content-type".to_owned(), b"application/json".to_vec()),
            ("payment-response".to_owned(), vec![b'e'; 640]),
        ],
        body: vec![b'x'; 64],
        expires: UnixTime(NOW.0 + 600),
    });
    ChannelCharge {
        scope: "seller".to_owned(),
        id: key(number),
        version,
        charged: (1_000 * version).into(),
        signed: (1_000 * version).into(),
        proof: format!("0x{}{version:010x}", "5a".repeat(60)),
        request: Some(Fingerprint::from_bytes([9; 32])),
        repeats: 0,
        used_at: NOW,
        due: UnixTime(90_000),
        answer,
        member: None,
        is_released: false,
    }
}

/// What all threads of this process have worked.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<_> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks =
        |place: usize| fields.get(place).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

/// What this process has given to disks.
fn bytes_written() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Memory of this process.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() << 10
}

fn log_size(file: &Path) -> String {
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let log = file.with_extension("db-wal");
    format!(", file {} KiB, log {} KiB", size(file) >> 10, size(&log) >> 10)
}
