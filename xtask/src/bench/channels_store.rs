//! What a charge costs as the ledger fills up: the store alone, in a process of its own, with 10^3 to 10^6 channels in one file.
//!
//! Charges are of channels all over the file, so that nothing is won by nearness; as many are under way as there are
//! connections of a busy seller, so that they share commits as its requests do.
#![expect(clippy::float_arithmetic, reason = "a measurement is not money")]
#![expect(clippy::cast_precision_loss, reason = "counts of a bench fit")]

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tollway_core::{Amount, ChannelKey, Fingerprint, UnixTime};
use tollway_ledger::{Channel, ChannelCharge, Ledger};

use super::channels_agents::CHAIN_ID;
use super::cpu;

/// Charges at each size.
const CHARGES: u64 = 40_000;
const IN_FLIGHT: u64 = 512;
const SCOPE: &str = "seller";
const NOW: UnixTime = UnixTime(1_800_000_000);
const DUE: UnixTime = UnixTime(1_800_003_600);
/// With no divisor of a power of ten: channels come up in no order of theirs, and none twice in a row.
const STRIDE: u64 = 999_983;
/// What a seller writes of a channel beside its sums has about so many bytes.
const BODY_BYTES: usize = 800;
/// And what changes with a request: sums, a signature, a fingerprint.
const CHARGE_BYTES: usize = 256;
/// Of the floor: enough to be seen in ticks of ten milliseconds.
const FLOOR_SYNCS: u64 = 400;
/// A signature as text.
const PROOF_BYTES: usize = 132;

/// One size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filled {
    pub(super) channels: u64,
    pub(super) per_second: f64,
    /// Processor time for a charge, and for reading a channel.
    pub(super) charge_us: f64,
    pub(super) read_us: f64,
    /// For as many bytes as a charge has, appended to a file and synced as many at a time.
    pub(super) floor_us: f64,
    /// Written by the process for a charge, as the disk sees it.
    pub(super) written_bytes: f64,
    /// Of the file, for a channel.
    pub(super) file_bytes: f64,
}

/// The role of the process: fills a ledger with these many channels, one after the other, and says what each cost.
pub(super) fn run(path: &str, sizes: &str) -> Result<()> {
    let sizes: Vec<u64> = serde_json::from_str(sizes)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let ledger = tollway_ledger::open(&format!("sqlite:{path}")).await?;
        let most = sizes.iter().copied().max().unwrap_or_default();
        let versions: Arc<[AtomicU64]> = (0..most).map(|_| AtomicU64::new(1)).collect();
        let (mut filled, mut said) = (0, Vec::new());
        for size in sizes {
            let (from, store) = (filled, Arc::clone(&ledger));
            each(size - from, move |number| {
                let store = Arc::clone(&store);
                async move {
                    ensure!(store.channel_put(channel(from + number), None, NOW).await?, "a channel is new");
                    Ok(())
                }
            })
            .await?;
            filled = size;
            let one = measure(&ledger, path, size, &versions).await?;
            eprintln!("{size} channels in the ledger: {:.0} charges a second", one.per_second);
            said.push(one.to_json());
        }
        println!("{}", Value::from(said));
        Ok(())
    })
}

async fn measure(
    ledger: &Arc<dyn Ledger>,
    path: &str,
    size: u64,
    versions: &Arc<[AtomicU64]>,
) -> Result<Filled> {
    let written = written()?;
    let (start, cpu) = (Instant::now(), cpu::of_this_process()?);
    let (store, counts) = (Arc::clone(ledger), Arc::clone(versions));
    each(CHARGES, move |turn| {
        let (store, counts) = (Arc::clone(&store), Arc::clone(&counts));
        async move {
            let number = turn * STRIDE % size;
            let version = counts.get(usize::try_from(number)?).context("a channel that is there")?;
            let charge = charge(number, version.load(Ordering::Relaxed));
            ensure!(store.channel_charge(charge).await?, "nobody else charges");
            version.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    })
    .await?;
    let (elapsed, charged) = (start.elapsed(), cpu::of_this_process()? - cpu);
    let written = self::written()? - written;
    let (store, cpu) = (Arc::clone(ledger), cpu::of_this_process()?);
    each(CHARGES, move |turn| {
        let store = Arc::clone(&store);
        async move {
            let key = key(turn * STRIDE % size);
            ensure!(store.channel_get(SCOPE, &key).await?.is_some(), "a channel that is there");
            Ok(())
        }
    })
    .await?;
    let read = cpu::of_this_process()? - cpu;
    let files = ["", "-wal"].into_iter().filter_map(|end| std::fs::metadata(format!("{path}{end}")).ok());
    Ok(Filled {
        channels: size,
        per_second: CHARGES as f64 / elapsed.as_secs_f64(),
        charge_us: charged.as_secs_f64() * 1e6 / CHARGES as f64,
        read_us: read.as_secs_f64() * 1e6 / CHARGES as f64,
        floor_us: floor_us(&format!("{path}-floor"))?,
        written_bytes: written as f64 / CHARGES as f64,
        file_bytes: files.map(|file| file.len()).sum::<u64>() as f64 / size as f64,
    })
}

/// Processor time for a charge's bytes, if nobody ever wanted to find them again.
fn floor_us(path: &str) -> Result<f64> {
    let mut file = std::fs::File::create(path)?;
    let bytes = vec![7; CHARGE_BYTES * usize::try_from(IN_FLIGHT)?];
    let cpu = cpu::of_this_process()?;
    for _ in 0..FLOOR_SYNCS {
        file.write_all(&bytes)?;
        file.sync_data()?;
    }
    let used = cpu::of_this_process()? - cpu;
    std::fs::remove_file(path)?;
    Ok(used.as_secs_f64() * 1e6 / (FLOOR_SYNCS * IN_FLIGHT) as f64)
}

/// Does something so many times, as many at once as are in flight.
async fn each<Done>(count: u64, work: impl Fn(u64) -> Done + Clone + Send + 'static) -> Result<()>
where
    Done: Future<Output = Result<()>> + Send,
{
    let next = Arc::new(AtomicU64::new(0));
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (next, work) = (Arc::clone(&next), work.clone());
        all.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok::<_, anyhow::Error>(());
                }
                work(number).await?;
            }
        });
    }
    all.join_all().await.into_iter().collect()
}

fn key(number: u64) -> ChannelKey {
    let id = alloy_primitives::keccak256(number.to_be_bytes());
    ChannelKey::new(format!("eip155:{CHAIN_ID}/{id}"))
}

fn channel(number: u64) -> Channel {
    Channel {
        scope: SCOPE.to_owned(),
        id: key(number),
        version: 0,
        charged: Amount::from(1_000),
        signed: Amount::from(1_000),
        claimed: Amount::from(0),
        proof: format!("0x{}", "a".repeat(PROOF_BYTES - 2)),
        request: None,
        repeats: 0,
        body: format!("\"{}\"", "x".repeat(BODY_BYTES)),
        holder: None,
        used_at: NOW,
        due: DUE,
    }
}

fn charge(number: u64, version: u64) -> ChannelCharge {
    let total = Amount::from((version + 1) * 1_000);
    ChannelCharge {
        scope: SCOPE.to_owned(),
        id: key(number),
        version,
        charged: total,
        signed: total,
        proof: format!("0x{}", "b".repeat(PROOF_BYTES - 2)),
        request: Some(Fingerprint::from_bytes([7; 32])),
        repeats: 0,
        used_at: NOW,
        due: DUE,
        answer: None,
        member: None,
        is_released: false,
    }
}

fn written() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/io")?;
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes:")).context("/proc shows less")?;
    Ok(line.trim().parse()?)
}

impl Filled {
    fn to_json(self) -> Value {
        json!([
            self.channels,
            self.per_second,
            self.charge_us,
            self.read_us,
            self.floor_us,
            self.written_bytes,
            self.file_bytes
        ])
    }

    /// All sizes, from what [`run`] printed.
    pub(super) fn all(text: &str) -> Result<Vec<Self>> {
        let all: Vec<(u64, f64, f64, f64, f64, f64, f64)> =
            serde_json::from_str(text).context("the store failed")?;
        let one = |(channels, per_second, charge_us, read_us, floor_us, written_bytes, file_bytes)| Self {
            channels,
            per_second,
            charge_us,
            read_us,
            floor_us,
            written_bytes,
            file_bytes,
        };
        Ok(all.into_iter().map(one).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::Filled;

    #[test]
    fn what_a_size_cost_survives_the_way_out_of_its_process() {
        let one = Filled {
            channels: 1_000,
            per_second: 1.5,
            charge_us: 2.5,
            read_us: 3.5,
            floor_us: 0.5,
            written_bytes: 4.5,
            file_bytes: 5.5,
        };
        let all = Filled::all(&format!("[{}]", one.to_json())).unwrap();
        assert_eq!((all[0].channels, all[0].per_second, all[0].file_bytes), (1_000, 1.5, 5.5));
    }
}
