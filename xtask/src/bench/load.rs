//! The load of bench `unpaid`, in a process and on a core of its own: connections that are kept, each with one
//! request at a time, for a while. It counts answers, and what processor time both ends took for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::cpu;
use super::http::{Connection, get};
use super::market::{PATH, block_on};

/// Connections. More would measure the kernel's queues, fewer would let the server sleep.
pub(super) const CONNECTIONS: usize = 64;
const WARM_UP: Duration = Duration::from_millis(500);

/// What to load and for how long.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) address: String,
    pub(super) server: u32,
    pub(super) measured: Duration,
    /// What every answer must be.
    pub(super) status: u16,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loaded {
    pub(super) per_second: f64,
    /// Of one core, 1.0 being all of it.
    pub(super) server_share: f64,
    /// The same of the load itself. Near 1.0 the load is what was measured.
    pub(super) own_share: f64,
}

impl Load {
    /// Loads, and prints what came of it.
    pub(super) fn run(&self) -> Result<()> {
        let loaded = block_on(self.load())??;
        println!("{}", loaded.to_json());
        Ok(())
    }

    /// For the command line of the process that runs it.
    pub(super) fn to_arguments(&self) -> [String; 4] {
        let milliseconds = self.measured.as_millis().to_string();
        [self.address.clone(), self.server.to_string(), milliseconds, self.status.to_string()]
    }

    /// From that command line.
    pub(super) fn from_arguments(arguments: &[String]) -> Result<Self> {
        let [address, server, milliseconds, status] = arguments else {
            anyhow::bail!("a load has four arguments");
        };
        Ok(Self {
            address: address.clone(),
            server: server.parse()?,
            measured: Duration::from_millis(milliseconds.parse()?),
            status: status.parse()?,
        })
    }

    async fn load(&self) -> Result<Loaded> {
        let answers = Arc::new(AtomicU64::new(0));
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..CONNECTIONS {
            let connection = Connection::open(&self.address).await?;
            clients.spawn(client(connection, self.status, Arc::clone(&answers)));
        }
        let measured = async {
            tokio::time::sleep(WARM_UP).await;
            let before = self.snapshot(&answers)?;
            tokio::time::sleep(self.measured).await;
            Ok(Loaded::between(&before, &self.snapshot(&answers)?))
        };
        tokio::select! {
            loaded = measured => loaded,
            ended = clients.join_next() => {
                Err(ended.context("there are clients")??.err().context("clients end with an error")?)
            }
        }
    }

    fn snapshot(&self, answers: &AtomicU64) -> Result<Snapshot> {
        Ok(Snapshot {
            at: Instant::now(),
            answers: answers.load(Ordering::Relaxed),
            server: cpu::of_process(self.server)?,
            own: cpu::of_this_process()?,
        })
    }
}

struct Snapshot {
    at: Instant,
    answers: u64,
    server: Duration,
    own: Duration,
}

async fn client(mut connection: Connection, expected: u16, answers: Arc<AtomicU64>) -> Result<()> {
    let request = get(PATH, None);
    loop {
        let status = connection.exchange(&request).await?;
        ensure!(status == expected, "the server answered {status}, not {expected}");
        answers.fetch_add(1, Ordering::Relaxed);
    }
}

impl Loaded {
    #[expect(clippy::float_arithmetic, reason = "a measurement is not money")]
    #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds fit")]
    fn between(before: &Snapshot, after: &Snapshot) -> Self {
        let seconds = (after.at - before.at).as_secs_f64();
        Self {
            per_second: (after.answers - before.answers) as f64 / seconds,
            server_share: (after.server - before.server).as_secs_f64() / seconds,
            own_share: (after.own - before.own).as_secs_f64() / seconds,
        }
    }

    fn to_json(self) -> Value {
        json!([self.per_second, self.server_share, self.own_share])
    }

    /// From what [`Load::run`] printed.
    pub(super) fn from_json(text: &[u8]) -> Result<Self> {
        let [per_second, server_share, own_share]: [f64; 3] =
            serde_json::from_slice(text).context("the load failed")?;
        Ok(Self { per_second, server_share, own_share })
    }
}
