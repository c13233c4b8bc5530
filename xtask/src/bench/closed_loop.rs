//! The load of the facilitator benches, in a process of its own: requests with payments, each payment once.
//!
//! Two kinds of senders. In a closed loop each connection has one request in flight and sends the next when it is
//! answered. Paced senders send at a rate, however long answers take. Every request has a deadline; what is not
//! answered by then is an error, and its connection is replaced.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::frames::{Frames, find, post};
use super::signed::{FLAWS, Flaw, PAYMENTS, Signed, UNCOVERED};

/// What to send, where, and for how long.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// `127.0.0.1:port` of the facilitator.
    pub(super) address: String,
    /// `/verify` or `/settle`.
    pub(super) path: String,
    /// The file of signed payments.
    pub(super) signed: String,
    /// Good requests in flight, each on its connection.
    pub(super) in_flight: usize,
    /// Good requests a second; 0 for as many as are answered.
    pub(super) good_rate: u64,
    /// Bad requests a second, on connections of their own.
    pub(super) bad_rate: u64,
    /// Not measured.
    pub(super) warm_up_ms: u64,
    pub(super) measured_ms: u64,
    /// How long an answer may take.
    pub(super) deadline_ms: u64,
    /// Good requests at the most; 0 for as many as there is time for.
    pub(super) most: usize,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Good payments that were taken while it was measured.
    pub(super) taken: u64,
    /// And in all.
    pub(super) taken_in_all: u64,
    /// Good requests in all.
    pub(super) sent: u64,
    /// Bad requests that were refused, in all.
    pub(super) refused: u64,
    /// Bad payments that were taken: must stay 0.
    pub(super) bad_taken: u64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
    /// What happened to good requests that were not taken, in all.
    pub(super) errors: BTreeMap<String, u64>,
}

/// Said when measuring begins, and when it ends.
pub(super) const BEGIN: &str = "begin";
pub(super) const END: &str = "end";

const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Connections of bad senders.
const BAD_CONNECTIONS: usize = 32;
/// After an error, so that a facilitator that refuses everything does not keep the load busy.
const AFTER_ERROR: Duration = Duration::from_millis(20);

impl Plan {
    /// Sends, says [`BEGIN`] and [`END`], and prints what came of it.
    pub(super) async fn run(self) -> Result<()> {
        let signed = Signed::load(self.signed.as_ref())?;
        let outcome = tokio::task::LocalSet::new().run_until(self.send_all(&signed)).await?;
        println!("{}", outcome.to_json());
        Ok(())
    }

    async fn send_all(&self, signed: &Signed) -> Result<Outcome> {
        let good = (0..self.payments()).map(|number| Ok(post(&self.path, &signed.body(number, Flaw::None)?)));
        let good = Queue::new(good.collect::<Result<_>>()?, self.path == "/verify");
        let bad = if self.bad_rate > 0 { self.bad(signed)? } else { Vec::new() };
        let bad = Queue::new(bad, true);
        let start = Instant::now() + Duration::from_millis(200);
        let begin = start + Duration::from_millis(self.warm_up_ms);
        let end = begin + Duration::from_millis(self.measured_ms);
        let record =
            Rc::new(RefCell::new(Record { begin: Some(begin), end: Some(end), ..Record::default() }));
        let mut senders = tokio::task::JoinSet::new();
        let groups =
            [(self.in_flight, self.good_rate, good, true), (BAD_CONNECTIONS, self.bad_rate, bad, false)];
        for (connections, rate, queue, is_good) in groups {
            let connections = if is_good || rate > 0 { connections } else { 0 };
            for index in 0..connections {
                let pace = Pace::new(start, rate, index, connections);
                let (queue, record) = (queue.clone(), Rc::clone(&record));
                let sender = Sender { plan: self.clone(), pace, is_good, connection: None, record };
                senders.spawn_local(sender.run(queue, end));
            }
        }
        let spoken = async {
            for (at, word) in [(begin, BEGIN), (end, END)] {
                tokio::time::sleep_until(at.into()).await;
                writeln!(std::io::stdout(), "{word}")?;
                std::io::stdout().flush()?;
            }
            Ok::<_, anyhow::Error>(())
        };
        let (spoken, _) = tokio::join!(spoken, senders.join_all());
        spoken?;
        let record = record.take();
        Ok(record.outcome())
    }

    /// How many payments are made ready.
    fn payments(&self) -> usize {
        match self.most {
            0 => PAYMENTS,
            most => most.min(PAYMENTS),
        }
    }

    fn bad(&self, signed: &Signed) -> Result<Vec<Vec<u8>>> {
        let bodies = (0..UNCOVERED).map(|at| {
            // The last of every six is signed validly, by a payer without money.
            let (number, flaw) = match FLAWS.get(at % (FLAWS.len() + 1)) {
                Some(flaw) => (PAYMENTS - 1 - at, *flaw),
                None => (PAYMENTS + at, Flaw::None),
            };
            Ok(post(&self.path, &signed.body(number, flaw)?))
        });
        bodies.collect()
    }

    /// For the command line of the process that runs it.
    pub(super) fn to_argument(&self) -> String {
        json!([
            self.address,
            self.path,
            self.signed,
            self.in_flight,
            self.good_rate,
            self.bad_rate,
            self.warm_up_ms,
            self.measured_ms,
            self.deadline_ms,
            self.most
        ])
        .to_string()
    }

    /// From that command line.
    pub(super) fn from_argument(argument: &str) -> Result<Self> {
        type Fields = (String, String, String, usize, u64, u64, u64, u64, u64, usize);
        let fields: Fields = serde_json::from_str(argument).context("a load needs its plan")?;
        let (
            address,
            path,
            signed,
            in_flight,
            good_rate,
            bad_rate,
            warm_up_ms,
            measured_ms,
            deadline_ms,
            most,
        ) = fields;
        ensure!(in_flight > 0 && deadline_ms > 0, "a load needs a sender and a deadline");
        Ok(Self {
            address,
            path,
            signed,
            in_flight,
            good_rate,
            bad_rate,
            warm_up_ms,
            measured_ms,
            deadline_ms,
            most,
        })
    }
}

/// Requests, taken one by one by all senders; from the start again if they may be sent twice.
#[derive(Clone, Debug)]
struct Queue(Rc<(RefCell<usize>, Vec<Vec<u8>>, bool)>);

impl Queue {
    fn new(requests: Vec<Vec<u8>>, again: bool) -> Self {
        Self(Rc::new((RefCell::new(0), requests, again)))
    }

    fn next(&self) -> Option<&[u8]> {
        let (next, requests, again) = &*self.0;
        let at = next.replace_with(|at| *at + 1);
        let at = if *again { at % requests.len().max(1) } else { at };
        requests.get(at).map(Vec::as_slice)
    }
}

/// When a sender sends.
#[derive(Clone, Copy, Debug)]
struct Pace {
    next: Instant,
    every: Duration,
}

impl Pace {
    fn new(start: Instant, rate: u64, index: usize, senders: usize) -> Self {
        let Some(nanos) = 1_000_000_000u64.checked_div(rate) else {
            return Self { next: start, every: Duration::ZERO };
        };
        let step = Duration::from_nanos(nanos);
        let senders = u32::try_from(senders).unwrap_or(u32::MAX);
        Self { next: start + step * u32::try_from(index).unwrap_or(0), every: step * senders }
    }
}

struct Sender {
    plan: Plan,
    pace: Pace,
    is_good: bool,
    connection: Option<Frames>,
    record: Rc<RefCell<Record>>,
}

impl Sender {
    async fn run(mut self, queue: Queue, end: Instant) {
        while Instant::now() < end {
            // What waited for an answer that came late counts from when it should have been sent.
            let due = self.pace.next;
            let is_late = Instant::now() > due && !self.pace.every.is_zero();
            if !is_late {
                tokio::time::sleep_until(due.into()).await;
            }
            if Instant::now() >= end {
                return;
            }
            let Some(request) = queue.next() else { return };
            let sent = if is_late { due } else { Instant::now() };
            self.pace.next += self.pace.every;
            let verdict = self.exchange(request).await;
            let is_error = verdict.as_ref().is_err_and(|_| self.is_good);
            self.record.borrow_mut().add(self.is_good, sent, verdict);
            if is_error {
                tokio::time::sleep(AFTER_ERROR).await;
            }
        }
    }

    /// Nothing if the payment was taken, otherwise why not.
    async fn exchange(&mut self, request: &[u8]) -> Result<(), String> {
        let deadline = Duration::from_millis(self.plan.deadline_ms);
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match timeout(CONNECT_DEADLINE, Frames::connect(&self.plan.address)).await {
                Ok(Ok(connection)) => connection,
                _ => return Err("no connection".to_owned()),
            },
        };
        let exchanged = async {
            connection.send(request).await?;
            ensure!(connection.next().await?, "closed");
            connection.status()
        };
        let status = match timeout(deadline, exchanged).await {
            Ok(Ok(status)) => status,
            Ok(Err(_)) => return Err("connection lost".to_owned()),
            Err(_) => return Err(format!("no answer within {} s", deadline.as_secs())),
        };
        let verdict = verdict(status, connection.body());
        self.connection = Some(connection);
        verdict
    }
}

#[derive(Debug, Default)]
struct Record {
    begin: Option<Instant>,
    end: Option<Instant>,
    /// Of good payments that were taken while it was measured.
    latencies: Vec<Duration>,
    outcome: Outcome,
}

impl Record {
    fn add(&mut self, is_good: bool, sent: Instant, verdict: Result<(), String>) {
        let now = Instant::now();
        let is_measured =
            self.begin.is_some_and(|begin| now >= begin) && self.end.is_some_and(|end| now < end);
        let outcome = &mut self.outcome;
        match (is_good, verdict) {
            (true, Ok(())) => {
                outcome.sent += 1;
                outcome.taken_in_all += 1;
                if is_measured {
                    outcome.taken += 1;
                    self.latencies.push(now - sent);
                }
            }
            (true, Err(why)) => {
                outcome.sent += 1;
                *outcome.errors.entry(why).or_default() += 1;
            }
            (false, Ok(())) => outcome.bad_taken += 1,
            (false, Err(_)) => outcome.refused += 1,
        }
    }

    #[expect(clippy::float_arithmetic, reason = "a measurement is not money")]
    fn outcome(mut self) -> Outcome {
        self.latencies.sort();
        let ms = |percent| super::percentile(&self.latencies, percent).as_secs_f64() * 1e3;
        Outcome { p50_ms: ms(50), p99_ms: ms(99), max_ms: ms(100), ..self.outcome }
    }
}

impl Outcome {
    fn to_json(&self) -> Value {
        json!({
            "taken": self.taken, "takenInAll": self.taken_in_all, "sent": self.sent, "refused": self.refused,
            "badTaken": self.bad_taken, "p50": self.p50_ms, "p99": self.p99_ms, "max": self.max_ms,
            "errors": self.errors,
        })
    }

    /// From what [`Plan::run`] printed.
    pub(super) fn from_json(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text).context("the load failed")?;
        let count = |name: &str| value[name].as_u64().context("a load counts");
        let ms = |name: &str| value[name].as_f64().context("a load tells times");
        Ok(Self {
            taken: count("taken")?,
            taken_in_all: count("takenInAll")?,
            sent: count("sent")?,
            refused: count("refused")?,
            bad_taken: count("badTaken")?,
            p50_ms: ms("p50")?,
            p99_ms: ms("p99")?,
            max_ms: ms("max")?,
            errors: serde_json::from_value(value["errors"].clone())?,
        })
    }

    /// Good requests that were not taken.
    pub(super) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// What an answer says. Whoever took the payment says so in these words; the rest are told apart by their reason.
fn verdict(status: u16, body: &[u8]) -> Result<(), String> {
    let says = |words: &[u8]| find(body, words).is_some();
    if status == 200 && (says(b"\"isValid\":true") || says(b"\"success\":true")) {
        return Ok(());
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().filter(|text| !text.is_empty());
    let reason = text("invalidReason").or(text("errorReason")).or(text("error")).unwrap_or("no reason");
    let detail = text("errorMessage").filter(|_| reason.starts_with("unexpected")).unwrap_or_default();
    let words: String =
        format!("{reason} {detail}").chars().filter(|c| !c.is_ascii_digit()).take(70).collect();
    Err(format!("{status} {}", words.trim()))
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Plan, verdict};

    #[test]
    fn a_plan_and_an_outcome_survive_the_way_to_another_process() {
        let plan =
            Plan { address: "a:1".to_owned(), in_flight: 7, deadline_ms: 3, most: 9, ..Plan::default() };
        let same = Plan::from_argument(&plan.to_argument()).unwrap();
        assert_eq!((same.address.as_str(), same.in_flight, same.most), ("a:1", 7, 9));
        assert!(Plan::from_argument(&Plan::default().to_argument()).is_err());
        let errors = [("x".to_owned(), 2), ("y".to_owned(), 3)].into();
        let outcome = Outcome { taken: 4, p99_ms: 1.5, errors, ..Outcome::default() };
        let same = Outcome::from_json(&outcome.to_json().to_string()).unwrap();
        assert_eq!((same.taken, same.failed()), (4, 5));
    }

    #[test]
    fn only_a_taken_payment_is_no_error() {
        assert!(verdict(200, br#"{"isValid":true}"#).is_ok());
        assert!(verdict(200, br#"{"success":true,"transaction":"0x"}"#).is_ok());
        let pending = verdict(200, br#"{"success":false,"errorReason":"settlement_pending"}"#);
        assert_eq!(pending.unwrap_err(), "200 settlement_pending");
        assert_eq!(verdict(503, b"").unwrap_err(), "503 no reason");
        assert!(verdict(400, br#"{"isValid":true}"#).is_err());
    }
}
