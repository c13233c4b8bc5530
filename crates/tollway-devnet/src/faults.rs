//! Misbehaviour on demand: what a node, a mempool or a provider may do to a payer, made to happen when a test
//! says so.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;

use crate::{failure::Failure, node::Node};

/// How many faults that hit requests may be armed at the same time.
const AIMED_ARMED: usize = 64;
/// The longest that a request or an answer is held up.
const LONGEST_DELAY: Duration = Duration::from_secs(600);

/// Arms and disarms faults of a running devnet. Cheap to clone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> tollway_devnet::Result<()> {
/// use tollway_devnet::{Config, Fault};
///
/// let devnet = tollway_devnet::spawn(Config::default()).await?;
/// devnet.faults().inject(Fault::Drop { count: 1 });
/// devnet.faults().inject(Fault::Clear);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Faults {
    node: Arc<Node>,
}

/// One fault. As a parameter of `tollway_setFault` it is an object with a `kind`: `{"kind": "drop", "count":
/// 2}`. Where a `count` may be absent, the fault lasts until it is cleared. A `method` that is absent means every method;
/// methods that start with `tollway_` are never hit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Fault {
    /// The next valid raw transactions get their hash as an answer and are then forgotten.
    Drop {
        /// How many.
        count: u64,
    },
    /// The next valid raw transactions are delivered twice, and the caller gets the answer to the second delivery: an
    /// error, though the first was taken.
    Duplicate {
        /// How many.
        count: u64,
    },
    /// Transactions stay in the pool and blocks stay empty, until [`Fault::Release`].
    Hold,
    /// Ends a hold. On an instant chain what waits is mined at once.
    Release,
    /// The latest blocks are taken back and a chain that is one block longer takes their place, at once. What
    /// they held goes back to the pool and is included again, unless a [`Fault::Hold`] is in force. Subscribers and
    /// log filters are told of the logs that are removed, and then of the new ones.
    Reorg {
        /// How many blocks; at most [`Config::finality_blocks`](crate::Config::finality_blocks).
        depth: u64,
        /// Forgets the transactions instead.
        #[serde(default)]
        lost: bool,
    },
    /// The next requests fail without being looked at.
    Error {
        /// Only requests for this method.
        #[serde(default)]
        method: Option<String>,
        /// How many requests fail.
        count: u64,
        /// The JSON-RPC error code.
        #[serde(default = "default_code")]
        code: i64,
        /// The JSON-RPC error message.
        #[serde(default = "default_message")]
        message: String,
        /// Answers with this HTTP status and the message as the body, instead of a JSON-RPC error. On a
        /// WebSocket, where there is no status, the error is told as JSON-RPC.
        #[serde(default)]
        http_status: Option<u16>,
    },
    /// Answers come late, by tokio's time: what they say was so when the request came. On a WebSocket whatever is
    /// behind them waits too; a batch is as late as its latest answer.
    Delay {
        /// Only requests for this method.
        #[serde(default)]
        method: Option<String>,
        /// How many requests.
        #[serde(default)]
        count: Option<u64>,
        /// How late, milliseconds.
        delay_ms: u64,
        /// Holds up the request on its way in instead: it is answered, and acts, when it has arrived.
        #[serde(default)]
        inbound: bool,
    },
    /// Requests are lost on their way in: they do nothing and are never answered. A batch is lost as a whole.
    Mute {
        /// Only requests for this method.
        #[serde(default)]
        method: Option<String>,
        /// How many requests.
        #[serde(default)]
        count: Option<u64>,
    },
    /// Requests do what they ask for, a raw transaction is taken, but their answers are lost: the caller gets an error
    /// instead, or nothing.
    AnswerLost {
        /// Only requests for this method.
        #[serde(default)]
        method: Option<String>,
        /// How many requests.
        #[serde(default)]
        count: Option<u64>,
        /// No answer at all. A batch loses all of its answers.
        #[serde(default)]
        silent: bool,
        /// Answers with this HTTP status instead of a JSON-RPC error.
        #[serde(default)]
        http_status: Option<u16>,
    },
    /// Requests are answered as if the latest blocks were not there: heads, states, nonces, calls, logs, receipts; an
    /// included transaction is not known at all. The pool is seen as it is, and transactions are taken by the real
    /// chain. Filters go on where they stopped once the sight is better. Subscriptions are not behind.
    Stale {
        /// Only requests for this method.
        #[serde(default)]
        method: Option<String>,
        /// How many requests.
        #[serde(default)]
        count: Option<u64>,
        /// How many blocks behind.
        blocks: u64,
    },
    /// Gas is dearer, and then costs again what it did before.
    FeeSpike {
        /// How many times the base fee of the next block as it would have been.
        factor: u64,
        /// For how many blocks.
        blocks: u64,
    },
    /// The chain's clock jumps, forwards or backwards, and goes on from there. No block is older than its parent.
    /// It is not undone by [`Fault::Clear`], only by the opposite jump.
    ClockJump {
        /// By how many seconds.
        secs: i64,
    },
    /// The node restarts at once: the pool and the filters are forgotten, connections are cut with all that was on its
    /// way through them, and the chain is kept. Other faults stay armed.
    Restart,
    /// Disarms everything; a hold is released.
    Clear,
}

impl Faults {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    /// Arms one fault, in addition to those already armed. At most 64 that hit requests are armed at once: the
    /// oldest makes room.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tollway_devnet::Config;
    /// let devnet = tollway_devnet::spawn(Config::default()).await?;
    /// use tollway_devnet::Fault;
    /// let message = "header not found".to_owned();
    /// let fault = Fault::Error { method: None, count: 1, code: -32_000, message, http_status: None };
    /// devnet.faults().inject(fault);
    /// let rpc = alloy_rpc_client::RpcClient::new(devnet.transport(), true);
    /// assert!(rpc.request_noparams::<String>("eth_chainId").await.is_err());
    /// assert!(rpc.request_noparams::<String>("eth_chainId").await.is_ok());
    /// # Ok(()) }
    /// ```
    pub fn inject(&self, fault: Fault) {
        self.node.inject(fault);
    }
}

/// What is armed at the moment.
#[derive(Debug, Default)]
pub(crate) struct Armed {
    drops: u64,
    duplicates: u64,
    held: bool,
    aimed: Vec<Aimed>,
}

/// A fault that hits requests.
#[derive(Debug)]
struct Aimed {
    method: Option<String>,
    /// How often it still hits; no end if absent.
    left: Option<u64>,
    effect: Effect,
}

#[derive(Clone, Debug)]
enum Effect {
    Fail(Failure),
    Delay { time: Duration, inbound: bool },
    Mute,
    LoseAnswer,
    ReplaceAnswer(Failure),
    Stale { blocks: u64 },
}

/// What is to happen to a request at the node.
#[derive(Debug, Default)]
pub(crate) struct Strike {
    /// It fails without being looked at.
    pub(crate) failure: Option<Failure>,
    /// It is done, and fails nevertheless.
    pub(crate) instead: Option<Failure>,
    /// How many blocks it does not see.
    pub(crate) behind: u64,
}

/// What is to happen to a request on its way.
#[derive(Debug, Default)]
pub(crate) struct Hindrance {
    pub(crate) inbound: Duration,
    pub(crate) outbound: Duration,
    pub(crate) is_muted: bool,
    pub(crate) is_lost: bool,
}

impl Armed {
    /// Arms or disarms. Returns whether a hold has ended.
    pub(crate) fn apply(&mut self, fault: Fault) -> bool {
        let (method, left, effect) = match fault {
            Fault::Drop { count } => {
                self.drops = self.drops.saturating_add(count);
                return false;
            }
            Fault::Duplicate { count } => {
                self.duplicates = self.duplicates.saturating_add(count);
                return false;
            }
            Fault::Hold => {
                self.held = true;
                return false;
            }
            Fault::Release => return std::mem::take(&mut self.held),
            Fault::Clear => return std::mem::take(self).held,
            // Nothing to arm: they have happened by now.
            Fault::Reorg { .. } | Fault::Restart | Fault::ClockJump { .. } | Fault::FeeSpike { .. } => {
                return false;
            }
            Fault::Error { method, count, code, message, http_status } => {
                let failure = Failure { http_status, ..Failure::new(code, message) };
                (method, Some(count), Effect::Fail(failure))
            }
            Fault::Delay { method, count, delay_ms, inbound } => {
                let time = Duration::from_millis(delay_ms).min(LONGEST_DELAY);
                (method, count, Effect::Delay { time, inbound })
            }
            Fault::Mute { method, count } => (method, count, Effect::Mute),
            Fault::AnswerLost { method, count, silent: true, .. } => (method, count, Effect::LoseAnswer),
            Fault::AnswerLost { method, count, http_status, .. } => {
                let failure = Failure { http_status, ..Failure::new(default_code(), default_message()) };
                (method, count, Effect::ReplaceAnswer(failure))
            }
            Fault::Stale { method, count, blocks } => (method, count, Effect::Stale { blocks }),
        };
        if self.aimed.len() == AIMED_ARMED {
            self.aimed.remove(0);
        }
        self.aimed.push(Aimed { method, left, effect });
        false
    }

    /// Whether transactions are kept out of blocks.
    pub(crate) fn held(&self) -> bool {
        self.held
    }

    /// Whether the transaction at hand is to be lost. Counts it.
    pub(crate) fn take_drop(&mut self) -> bool {
        take_one(&mut self.drops)
    }

    /// Whether the transaction at hand is to be delivered again. Counts it.
    pub(crate) fn take_duplicate(&mut self) -> bool {
        take_one(&mut self.duplicates)
    }

    /// Whether any fault that hits requests is armed.
    pub(crate) fn is_aimed(&self) -> bool {
        !self.aimed.is_empty()
    }

    /// What hits the request at hand at the node. A request that fails at once uses nothing else up.
    pub(crate) fn strike(&mut self, method: &str) -> Strike {
        let failure = self.hit(method, |effect| match effect {
            Effect::Fail(failure) => Some(failure.clone()),
            _ => None,
        });
        if failure.is_some() {
            return Strike { failure, ..Strike::default() };
        }
        let instead = self.hit(method, |effect| match effect {
            Effect::ReplaceAnswer(failure) => Some(failure.clone()),
            _ => None,
        });
        let behind = self.hit(method, |effect| match effect {
            Effect::Stale { blocks } => Some(*blocks),
            _ => None,
        });
        Strike { failure, instead, behind: behind.unwrap_or_default() }
    }

    /// What hits the request at hand on its way. One that never arrives uses nothing else up.
    pub(crate) fn hinder(&mut self, method: &str) -> Hindrance {
        let is = |wanted: fn(&Effect) -> bool| move |effect: &Effect| wanted(effect).then_some(());
        let is_muted = self.hit(method, is(|effect| matches!(effect, Effect::Mute))).is_some();
        if is_muted {
            return Hindrance { is_muted, ..Hindrance::default() };
        }
        let late = |wanted: bool| {
            move |effect: &Effect| match effect {
                Effect::Delay { time, inbound } if *inbound == wanted => Some(*time),
                _ => None,
            }
        };
        Hindrance {
            is_muted,
            inbound: self.hit(method, late(true)).unwrap_or_default(),
            outbound: self.hit(method, late(false)).unwrap_or_default(),
            is_lost: self.hit(method, is(|effect| matches!(effect, Effect::LoseAnswer))).is_some(),
        }
    }

    /// The oldest fault of a kind that is aimed at this method. Counts it.
    fn hit<T>(&mut self, method: &str, kind: impl Fn(&Effect) -> Option<T>) -> Option<T> {
        if method.starts_with("tollway_") {
            return None;
        }
        let (index, found) = self.aimed.iter().enumerate().find_map(|(index, aimed)| {
            let is_aimed = aimed.left != Some(0) && aimed.method.as_deref().is_none_or(|only| only == method);
            is_aimed.then(|| kind(&aimed.effect)).flatten().map(|found| (index, found))
        })?;
        if let Some(left) = &mut self.aimed[index].left {
            *left -= 1;
            if *left == 0 {
                self.aimed.remove(index);
            }
        }
        Some(found)
    }
}

fn take_one(count: &mut u64) -> bool {
    let some = *count > 0;
    *count = count.saturating_sub(1);
    some
}

fn default_code() -> i64 {
    -32_000
}

fn default_message() -> String {
    "injected fault".into()
}

#[cfg(test)]
mod tests {
    use super::{Armed, Fault};

    fn armed(fault: &str) -> Armed {
        let mut armed = Armed::default();
        armed.apply(serde_json::from_str::<Fault>(fault).unwrap());
        armed
    }

    #[test]
    fn an_error_fault_hits_its_method_as_often_as_it_says() {
        let mut armed = armed(r#"{"kind": "error", "method": "eth_call", "count": 2, "httpStatus": 503}"#);
        assert!(armed.strike("eth_chainId").failure.is_none());
        assert_eq!(armed.strike("eth_call").failure.unwrap().http_status, Some(503));
        assert!(armed.strike("eth_call").failure.is_some());
        assert!(armed.strike("eth_call").failure.is_none());
    }

    #[test]
    fn a_fault_without_a_count_lasts_until_it_is_cleared_and_spares_the_controls() {
        let mut armed = armed(r#"{"kind": "stale", "blocks": 3}"#);
        for _ in 0..100 {
            assert_eq!(armed.strike("eth_call").behind, 3);
        }
        assert_eq!(armed.strike("tollway_setFault").behind, 0);
        armed.apply(Fault::Clear);
        assert_eq!(armed.strike("eth_call").behind, 0);
    }

    #[test]
    fn what_never_arrives_uses_up_nothing_else() {
        let mut armed = armed(r#"{"kind": "mute", "count": 1}"#);
        armed.apply(serde_json::from_str(r#"{"kind": "delay", "count": 1, "delayMs": 5}"#).unwrap());
        let first = armed.hinder("eth_call");
        assert!(first.is_muted && first.outbound.is_zero());
        assert_eq!(armed.hinder("eth_call").outbound.as_millis(), 5);
        assert!(armed.hinder("eth_call").outbound.is_zero());
    }

    #[test]
    fn no_more_faults_are_armed_than_there_is_room_for() {
        let mut armed = Armed::default();
        for blocks in 0..1_000 {
            armed.apply(Fault::Stale { method: None, count: None, blocks });
        }
        assert_eq!(armed.strike("eth_call").behind, 1_000 - 64);
    }

    #[test]
    fn clearing_ends_a_hold() {
        let mut armed = Armed::default();
        assert!(!armed.apply(Fault::Hold));
        assert!(armed.held());
        assert!(armed.apply(Fault::Clear));
        assert!(!armed.held());
    }
}
