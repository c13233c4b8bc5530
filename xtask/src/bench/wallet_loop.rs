//! The closed loop of bench `wallet`: so many purchases at a time, each of another URL, since the same request twice is
//! one purchase. The published clients have the same loop in their own language; all are told by the same plan and
//! say the same.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::closed_loop::{BEGIN, END};

/// What to buy, and for how long.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// What is sold.
    pub(super) url: String,
    /// The payer's.
    pub(super) key: String,
    pub(super) in_flight: usize,
    /// Not measured.
    pub(super) warm_up_ms: u64,
    pub(super) measured_ms: u64,
    /// Ours only: where purchases are written down, and the file of the policy.
    pub(super) ledger: String,
    pub(super) policy: String,
    /// `127.0.0.1:port` of the proxy that pays, where the program itself does not.
    pub(super) proxy: String,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Of purchases that ended while it was measured.
    pub(super) latencies: Vec<Duration>,
    /// In all.
    pub(super) errors: BTreeMap<String, u64>,
}

/// After an error, so that a seller that refuses everything is not asked in a spin.
const AFTER_ERROR: Duration = Duration::from_millis(20);

impl Plan {
    /// Buys; says when measuring begins and ends. What came of it, and how many purchases succeeded in all.
    pub(super) async fn spend<Bought>(
        &self,
        buyers: impl IntoIterator<Item = impl FnMut(String) -> Bought + Send + 'static>,
    ) -> Result<(Outcome, u64)>
    where
        Bought: Future<Output = Result<(), String>> + Send,
    {
        let begin = Instant::now() + Duration::from_millis(self.warm_up_ms);
        let end = begin + Duration::from_millis(self.measured_ms);
        let numbers = Arc::new(AtomicU64::new(0));
        let mut all = tokio::task::JoinSet::new();
        for mut buy in buyers {
            let (url, numbers) = (self.url.clone(), Arc::clone(&numbers));
            all.spawn(async move {
                let (mut own, mut bought) = (Outcome::default(), 0);
                while Instant::now() < end {
                    let number = numbers.fetch_add(1, Ordering::Relaxed);
                    let sent = Instant::now();
                    let answer = buy(format!("{url}?n={number}")).await;
                    let done = Instant::now();
                    match answer {
                        Ok(()) => {
                            bought += 1;
                            own.latencies
                                .extend((done >= begin && done < end).then(|| done.duration_since(sent)));
                        }
                        Err(why) => {
                            *own.errors.entry(why).or_default() += 1;
                            tokio::time::sleep(AFTER_ERROR).await;
                        }
                    }
                }
                (own, bought)
            });
        }
        for (at, word) in [(begin, BEGIN), (end, END)] {
            tokio::time::sleep_until(at).await;
            say(word)?;
        }
        let (mut outcome, mut bought) = (Outcome::default(), 0);
        for (own, successes) in all.join_all().await {
            outcome.latencies.extend(own.latencies);
            own.errors.into_iter().for_each(|(why, count)| *outcome.errors.entry(why).or_default() += count);
            bought += successes;
        }
        Ok((outcome, bought))
    }

    /// For the command line of whoever buys.
    pub(super) fn to_argument(&self) -> String {
        json!({
            "url": self.url, "key": self.key, "inFlight": self.in_flight, "warmUpMs": self.warm_up_ms,
            "measuredMs": self.measured_ms, "ledger": self.ledger, "policy": self.policy, "proxy": self.proxy,
        })
        .to_string()
    }

    /// From that command line.
    pub(super) fn from_argument(argument: &str) -> Result<Self> {
        let plan: Value = serde_json::from_str(argument).context("a buyer needs its plan")?;
        let text = |name: &str| Ok::<_, anyhow::Error>(plan[name].as_str().context("a text")?.to_owned());
        let number = |name: &str| plan[name].as_u64().context("a number");
        Ok(Self {
            url: text("url")?,
            key: text("key")?,
            in_flight: usize::try_from(number("inFlight")?)?,
            warm_up_ms: number("warmUpMs")?,
            measured_ms: number("measuredMs")?,
            ledger: text("ledger")?,
            policy: text("policy")?,
            proxy: text("proxy")?,
        })
    }
}

impl Outcome {
    /// Says it to whoever started this process.
    pub(super) fn say(&self) -> Result<()> {
        let latencies: Vec<_> = self.latencies.iter().map(|took| took.as_micros() as u64).collect();
        say(&json!({ "latenciesUs": latencies, "errors": self.errors }).to_string())
    }

    /// From what was said, by any of them.
    pub(super) fn from_json(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text).context("the buyer says something else")?;
        let took = value["latenciesUs"].as_array().context("a buyer tells times")?;
        let mut latencies = took
            .iter()
            .map(|took| took.as_u64().map(Duration::from_micros).context("a time is a number"))
            .collect::<Result<Vec<_>>>()?;
        latencies.sort();
        Ok(Self { latencies, errors: serde_json::from_value(value["errors"].clone())? })
    }
}

fn say(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")?;
    Ok(stdout.flush()?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Outcome, Plan};

    #[test]
    fn a_plan_survives_the_way_to_another_process() {
        let plan = Plan {
            url: "http://a".to_owned(),
            in_flight: 7,
            ledger: "memory:".to_owned(),
            ..Plan::default()
        };
        let same = Plan::from_argument(&plan.to_argument()).unwrap();
        assert_eq!((same.url.as_str(), same.in_flight, same.ledger.as_str()), ("http://a", 7, "memory:"));
        assert!(Plan::from_argument("{}").is_err());
    }

    #[test]
    fn what_a_buyer_says_is_read_in_order() {
        let outcome = Outcome::from_json(r#"{"latenciesUs":[30,10],"errors":{"x":2}}"#).unwrap();
        assert_eq!(outcome.latencies, [Duration::from_micros(10), Duration::from_micros(30)]);
        assert_eq!(outcome.errors["x"], 2);
        assert!(Outcome::from_json("{}").is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn every_purchase_is_another_one_and_an_error_is_counted() {
        let plan = Plan { url: "u".to_owned(), in_flight: 1, measured_ms: 30, ..Plan::default() };
        let buy = |url: String| async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if url == "u?n=0" { Err("no".to_owned()) } else { Ok(()) }
        };
        let (outcome, bought) = plan.spend([buy]).await.unwrap();
        assert_eq!(outcome.errors["no"], 1);
        assert_eq!((bought, outcome.latencies.len()), (9, 8), "the last ends when measuring has ended");
    }
}
