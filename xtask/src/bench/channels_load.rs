//! The load of bench `channels`, in a process of its own and on one thread: agents that pay a seller with vouchers.
//!
//! Everything is signed before any clock starts; then it only writes and reads sockets, so that it takes as little of the
//! shared cores as it can. An agent has a connection of its own and one request at a time, each with its next voucher.
//!
//! In the closed loop an agent sends when its last request was answered. In the open loop agents send when their time has
//! come, half as often in all as was answered in the closed loop, and latency counts from that time, whatever held them
//! up. Every answer is checked: its status, its body, its receipt; what one in 64 receipts says, too.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::Write;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{timeout, timeout_at};

use super::channels_agents::PRICE_ATOMIC;
use super::channels_purse::{Purse, purses};
use super::channels_watch::BROKEN;
use super::frames::Frames;

/// What to send, where, and for how long.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// `127.0.0.1:port` of the seller.
    pub(super) address: String,
    pub(super) agents: usize,
    /// Vouchers that are signed in all, besides each agent's first.
    pub(super) vouchers: usize,
    /// Of each loop.
    pub(super) warm_up_ms: u64,
    pub(super) measured_ms: u64,
    /// Whether receipts are read: a route without a price says the same to everybody.
    pub(super) is_read: bool,
}

/// What one loop came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Answers while it was measured, and for how long that was.
    pub(super) paid: u64,
    pub(super) seconds: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) p999_ms: f64,
    pub(super) max_ms: f64,
    /// In all, from the first request to the last.
    pub(super) errors: BTreeMap<String, u64>,
}

/// What the load says, a line each, while whoever started it looks at the seller.
pub(super) const WARM: &str = "warm";
pub(super) const KNOWN: &str = "known";
pub(super) const CONNECTED: &str = "connected";
pub(super) const BEGIN: [&str; 2] = ["closed begins", "open begins"];
pub(super) const END: [&str; 2] = ["closed ends", "open ends"];

/// For agents' first requests, when nothing is measured but what a seller keeps of a channel.
const FIRST_CONNECTIONS: usize = 64;
/// A request without an answer by then is an error: a server that answers 600 a second needs 17 seconds for 10,000.
const DEADLINE: Duration = Duration::from_secs(60);
/// For all agents' first requests: a server that learns of 85 channels a second is through with 10,000.
const READY_WITHIN: Duration = Duration::from_secs(120);
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// So many connections are opened without a pause.
const AT_ONCE: usize = 128;
const BETWEEN: Duration = Duration::from_millis(5);
/// After an error, so that a seller that refuses everything is not asked in a spin.
const AFTER_ERROR: Duration = Duration::from_millis(20);
/// For memory that is given back, and the kernel's queues.
const PAUSE: Duration = Duration::from_millis(300);
/// One in so many receipts is read.
const READ: u64 = 64;
impl Plan {
    /// For the command line of the process that runs it.
    pub(super) fn to_argument(&self) -> String {
        json!([self.address, self.agents, self.vouchers, self.warm_up_ms, self.measured_ms, self.is_read])
            .to_string()
    }

    /// From that command line.
    pub(super) fn from_argument(argument: &str) -> Result<Self> {
        let fields: (String, usize, usize, u64, u64, bool) =
            serde_json::from_str(argument).context("a load needs its plan")?;
        let (address, agents, vouchers, warm_up_ms, measured_ms, is_read) = fields;
        ensure!(agents > 0 && measured_ms > 0, "a load needs an agent and a time");
        Ok(Self { address, agents, vouchers, warm_up_ms, measured_ms, is_read })
    }

    /// Pays, says where it is, and prints what came of both loops.
    pub(super) fn run(&self) -> Result<()> {
        super::market::block_on(async {
            match tokio::task::LocalSet::new().run_until(self.pay()).await {
                Ok((loops, answered)) => {
                    say(&json!([loops[0].to_json(), loops[1].to_json(), answered]).to_string())
                }
                Err(error) => say(&format!("{BROKEN}{}", format!("{error:#}").replace('\n', " "))),
            }
        })?
    }

    /// Both loops, and how many requests were paid in all.
    async fn pay(&self) -> Result<([Outcome; 2], u64)> {
        let purses = purses(&self.address, self.agents, self.vouchers).await?;
        let mut agents: Vec<Agent> =
            purses.into_iter().map(|purse| Agent::new(purse, self.is_read)).collect();
        let rest = agents.split_off(agents.len().min(FIRST_CONNECTIONS));
        let address: Rc<str> = self.address.as_str().into();
        let ready = Rc::new(Ready::new(self.agents));
        let mut agents = first(agents, &address, &ready).await?;
        tokio::time::sleep(PAUSE).await;
        say(WARM)?;
        agents.extend(first(rest, &address, &ready).await?);
        tokio::time::sleep(PAUSE).await;
        say(KNOWN)?;
        for (number, agent) in agents.iter_mut().enumerate() {
            // What does not fit into the seller's queue of new connections is tried again only after a second.
            if number % AT_ONCE == 0 {
                tokio::time::sleep(BETWEEN).await;
            }
            agent.connection = Some(connect(&address).await?);
        }
        tokio::time::sleep(PAUSE).await;
        say(CONNECTED)?;
        let (agents, closed) = self.measure(agents, &address, 0, None).await?;
        tokio::time::sleep(PAUSE).await;
        let every = half_as_often(&closed, self.agents);
        let (agents, open) = self.measure(agents, &address, 1, Some(every)).await?;
        Ok(([closed, open], agents.iter().map(|agent| agent.paid).sum()))
    }

    /// One loop; `every` so often an agent sends, or when it was answered.
    async fn measure(
        &self,
        agents: Vec<Agent>,
        address: &Rc<str>,
        turn: usize,
        every: Option<Duration>,
    ) -> Result<(Vec<Agent>, Outcome)> {
        let start = Instant::now() + Duration::from_millis(50);
        let begin = start + Duration::from_millis(self.warm_up_ms);
        let end = begin + Duration::from_millis(self.measured_ms);
        let record = Rc::new(RefCell::new(Record::new(begin, end)));
        let mut senders = JoinSet::new();
        for (index, agent) in agents.into_iter().enumerate() {
            let pace = every.map(|every| (start + phase(every, index), every));
            senders.spawn_local(agent.send(Rc::clone(address), pace, Rc::clone(&record), start, end));
        }
        let spoken = async {
            for (at, word) in [(begin, BEGIN[turn]), (end, END[turn])] {
                tokio::time::sleep_until(at.into()).await;
                say(word)?;
            }
            Ok::<_, anyhow::Error>(())
        };
        let (spoken, agents) = tokio::join!(spoken, senders.join_all());
        spoken?;
        let record = record.take();
        Ok((agents, record.outcome((end - begin).as_secs_f64())))
    }
}

/// How often an agent sends in the open loop, for half of what was answered in the closed one.
#[expect(clippy::float_arithmetic, reason = "a measurement is not money")]
#[expect(clippy::cast_precision_loss, reason = "counts of a minute fit")]
fn half_as_often(closed: &Outcome, agents: usize) -> Duration {
    let per_second = (closed.paid as f64 / closed.seconds / 2.0).max(1.0);
    Duration::from_secs_f64(agents as f64 / per_second)
}

/// When an agent sends first, in its interval: agents keep no step with each other, but do the same in every run.
fn phase(every: Duration, index: usize) -> Duration {
    let digest = alloy_primitives::keccak256(index.to_be_bytes());
    let scattered = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    let nanos = (every.as_nanos() * u128::from(scattered)) >> 32;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or_default())
}

/// How far agents' first requests have come, and how long all of them may take.
struct Ready {
    until: Instant,
    answered: Cell<usize>,
    agents: usize,
}

impl Ready {
    fn new(agents: usize) -> Self {
        Self { until: Instant::now() + READY_WITHIN, answered: Cell::new(0), agents }
    }

    fn late(&self) -> anyhow::Error {
        let (answered, agents) = (self.answered.get(), self.agents);
        anyhow!("not ready within {} s: {answered} of {agents} agents were answered", READY_WITHIN.as_secs())
    }
}

/// Every agent's first request, on connections that are closed again.
async fn first(agents: Vec<Agent>, address: &Rc<str>, ready: &Rc<Ready>) -> Result<Vec<Agent>> {
    let mut lines: Vec<Vec<Agent>> = (0..FIRST_CONNECTIONS).map(|_| Vec::new()).collect();
    for (index, agent) in agents.into_iter().enumerate() {
        lines[index % FIRST_CONNECTIONS].push(agent);
    }
    let mut all = JoinSet::new();
    for mut line in lines {
        let (address, ready) = (Rc::clone(address), Rc::clone(ready));
        all.spawn_local(async move {
            let mut connection = None;
            for agent in &mut line {
                agent.connection = connection.take();
                let paid = agent.exchange(&address).await;
                paid.map_err(|why| anyhow::anyhow!("an agent's first request: {why}"))?;
                connection = agent.connection.take();
                ready.answered.set(ready.answered.get() + 1);
            }
            Ok::<_, anyhow::Error>(line)
        });
    }
    let lines = timeout_at(ready.until.into(), all.join_all()).await.map_err(|_| ready.late())?;
    let lines = lines.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(lines.into_iter().flatten().collect())
}

async fn connect(address: &str) -> Result<Frames> {
    timeout(CONNECT_DEADLINE, Frames::connect(address)).await.context("no connection")?
}

struct Agent {
    purse: Purse,
    connection: Option<Frames>,
    /// Whether its receipts are read, one in so many.
    is_read: bool,
    /// Requests that were answered and paid.
    paid: u64,
}

impl Agent {
    const fn new(purse: Purse, is_read: bool) -> Self {
        Self { purse, connection: None, is_read, paid: 0 }
    }

    /// Sends until the end: at its pace, or whenever it was answered.
    async fn send(
        mut self,
        address: Rc<str>,
        mut pace: Option<(Instant, Duration)>,
        record: Rc<RefCell<Record>>,
        start: Instant,
        end: Instant,
    ) -> Self {
        tokio::time::sleep_until(start.into()).await;
        loop {
            let mut sent = Instant::now();
            if let Some((due, every)) = &mut pace {
                // Whatever held it up: it counts from when it should have been sent.
                sent = *due;
                *due += *every;
            }
            // A server that answered little is asked so seldom that the next time may be hours away.
            if sent.max(Instant::now()) >= end {
                return self;
            }
            tokio::time::sleep_until(sent.into()).await;
            let verdict = self.exchange(&address).await;
            let is_error = verdict.is_err();
            let is_spent = verdict == Err(SPENT.to_owned());
            record.borrow_mut().add(sent, verdict);
            if is_spent {
                return self;
            }
            if is_error {
                tokio::time::sleep(AFTER_ERROR).await;
            }
        }
    }

    /// Nothing if the request was answered and paid, otherwise why not. The same voucher goes again then.
    async fn exchange(&mut self, address: &str) -> Result<(), String> {
        let Some(voucher) = usize::try_from(self.paid).ok().and_then(|number| self.purse.voucher(number))
        else {
            return Err(SPENT.to_owned());
        };
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(address).await.map_err(|_| "no connection".to_owned())?,
        };
        let exchanged = async {
            connection.send_both(self.purse.head(), voucher).await?;
            ensure!(connection.next().await?, "closed");
            Ok::<_, anyhow::Error>(())
        };
        match timeout(DEADLINE, exchanged).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err("connection lost".to_owned()),
            Err(_) => return Err(format!("no answer within {} s", DEADLINE.as_secs())),
        }
        let charged =
            (self.is_read && self.paid.is_multiple_of(READ)).then_some((self.paid + 1) * PRICE_ATOMIC);
        let verdict = verdict(connection.message(), connection.body(), charged);
        self.connection = Some(connection);
        self.paid += u64::from(verdict.is_ok());
        verdict
    }
}

const SPENT: &str = "no voucher left";

/// What an answer says. `charged` is what its receipt must say was charged in all.
fn verdict(message: &[u8], body: &[u8], charged: Option<u64>) -> Result<(), String> {
    let head = &message[..message.len() - body.len()];
    let head = std::str::from_utf8(head).map_err(|_| "a head that is no text".to_owned())?;
    let receipt = head
        .split("\r\n")
        .filter_map(|line| line.split_once(": "))
        .find_map(|(name, value)| name.eq_ignore_ascii_case("payment-response").then_some(value));
    let status = head.get(9..12).unwrap_or_default();
    if status != "200" {
        return Err(refusal(status, head, body));
    }
    if body != b"data" {
        return Err("another body".to_owned());
    }
    let receipt = receipt.ok_or_else(|| "no receipt".to_owned())?;
    match charged {
        Some(charged) if told(receipt) != Some(charged.to_string()) => {
            Err("a receipt over something else".to_owned())
        }
        _ => Ok(()),
    }
}

/// What a receipt says was charged in all.
fn told(receipt: &str) -> Option<String> {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(receipt).ok()?;
    let receipt: Value = serde_json::from_slice(&bytes).ok()?;
    let charged = receipt["extra"]["channelState"]["chargedCumulativeAmount"].as_str()?.to_owned();
    (receipt["success"] == Value::Bool(true)).then_some(charged)
}

/// Why not, for the table of errors: numbers are left out so that like is counted with like.
fn refusal(status: &str, head: &str, body: &[u8]) -> String {
    use base64::Engine;
    let header = head
        .split("\r\n")
        .filter_map(|line| line.split_once(": "))
        .find_map(|(name, value)| name.eq_ignore_ascii_case("payment-required").then_some(value));
    let decoded = header.and_then(|value| base64::engine::general_purpose::STANDARD.decode(value).ok());
    let said: Value = serde_json::from_slice(decoded.as_deref().unwrap_or(body)).unwrap_or_default();
    let reason = said["error"].as_str().or(said["code"].as_str()).unwrap_or("no reason");
    let reason: String = reason.chars().filter(|character| !character.is_ascii_digit()).take(70).collect();
    format!("{status} {}", reason.trim())
}

fn say(line: &str) -> Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}

#[derive(Debug, Default)]
struct Record {
    window: Option<(Instant, Instant)>,
    /// Microseconds, of answers while it was measured.
    latencies: Vec<u32>,
    errors: BTreeMap<String, u64>,
}

impl Record {
    const fn new(begin: Instant, end: Instant) -> Self {
        Self { window: Some((begin, end)), latencies: Vec::new(), errors: BTreeMap::new() }
    }

    fn add(&mut self, sent: Instant, verdict: Result<(), String>) {
        let now = Instant::now();
        match verdict {
            Ok(()) if self.window.is_some_and(|(begin, end)| now >= begin && now < end) => {
                self.latencies.push(u32::try_from((now - sent).as_micros()).unwrap_or(u32::MAX));
            }
            Ok(()) => {}
            Err(why) => *self.errors.entry(why).or_default() += 1,
        }
    }

    #[expect(clippy::float_arithmetic, reason = "a measurement is not money")]
    fn outcome(mut self, seconds: f64) -> Outcome {
        self.latencies.sort_unstable();
        let ms = |per_mille: usize| {
            let rank = (self.latencies.len() * per_mille).div_ceil(1_000).saturating_sub(1);
            f64::from(self.latencies.get(rank).copied().unwrap_or_default()) / 1e3
        };
        Outcome {
            paid: self.latencies.len() as u64,
            seconds,
            p50_ms: ms(500),
            p99_ms: ms(990),
            p999_ms: ms(999),
            max_ms: ms(1_000),
            errors: self.errors,
        }
    }
}

impl Outcome {
    fn to_json(&self) -> Value {
        json!({
            "paid": self.paid, "seconds": self.seconds, "p50": self.p50_ms, "p99": self.p99_ms,
            "p999": self.p999_ms, "max": self.max_ms, "errors": self.errors,
        })
    }

    /// Both loops and how many requests were paid in all, from what [`Plan::run`] printed.
    pub(super) fn both(text: &str) -> Result<([Self; 2], u64)> {
        let value: Value = serde_json::from_str(text).context("the load failed")?;
        let answered = value[2].as_u64().context("a load counts")?;
        Ok(([Self::from_json(&value[0])?, Self::from_json(&value[1])?], answered))
    }

    fn from_json(value: &Value) -> Result<Self> {
        let number = |name: &str| value[name].as_f64().context("a load tells numbers");
        Ok(Self {
            paid: value["paid"].as_u64().context("a load counts")?,
            seconds: number("seconds")?,
            p50_ms: number("p50")?,
            p99_ms: number("p99")?,
            p999_ms: number("p999")?,
            max_ms: number("max")?,
            errors: serde_json::from_value(value["errors"].clone())?,
        })
    }

    /// Requests that were not paid.
    pub(super) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use base64::Engine;
    use serde_json::json;

    use super::{Outcome, Record, verdict};

    fn answer(status: &str, charged: &str, body: &str) -> Vec<u8> {
        let receipt =
            json!({ "success": true, "extra": { "channelState": { "chargedCumulativeAmount": charged } } });
        let receipt = base64::engine::general_purpose::STANDARD.encode(receipt.to_string());
        format!("HTTP/1.1 {status} OK\r\nPAYMENT-RESPONSE: {receipt}\r\ncontent-length: 4\r\n\r\n{body}")
            .into_bytes()
    }

    #[test]
    fn only_what_was_paid_and_says_what_it_cost_is_no_error() {
        let good = answer("200", "3000", "data");
        assert_eq!(verdict(&good, b"data", Some(3_000)), Ok(()));
        assert!(verdict(&good, b"data", Some(4_000)).is_err());
        assert!(verdict(&answer("200", "3000", "none"), b"none", None).is_err());
        assert!(verdict(b"HTTP/1.1 200 OK\r\n\r\ndata", b"data", None).is_err());
        let refused = verdict(&answer("402", "3000", "data"), b"data", None);
        assert!(refused.unwrap_err().starts_with("402"));
    }

    #[test]
    fn answers_outside_of_the_window_do_not_count_and_errors_always_do() {
        let now = Instant::now();
        let far = std::time::Duration::from_secs(60);
        let mut before = Record::new(now + far, now + far * 2);
        before.add(now, Ok(()));
        before.add(now, Err("402".to_owned()));
        let outcome = before.outcome(1.0);
        assert_eq!((outcome.paid, outcome.failed()), (0, 1));
        let mut within = Record::new(now, now + far);
        within.add(now, Ok(()));
        let text = json!([within.outcome(2.0).to_json(), Outcome::default().to_json(), 7]).to_string();
        let ([same, _], answered) = Outcome::both(&text).unwrap();
        assert_eq!((same.paid, same.seconds, answered), (1, 2.0, 7));
    }
}
