//! The nodes of one network as one transport: whom to ask, whom to ask next, and who is left alone for a while.
//!
//! Alloy has layers for this, which do not fit. Its fallback asks several nodes at once and takes whichever answers
//! first, an error too: the quickest answer is often that of a node that has not seen the newest block. And its throttle
//! waits without an end, on a clock of its own. Here one node answers as long as it is well; what is known of the nodes is
//! on the [`board`](super::board). A raw transaction goes to all of them: see [`broadcast`](super::broadcast).
//!
//! Nobody is asked while nobody asks: nodes are checked beside the questions, and before the first of them after a pause.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use alloy_json_rpc::{Id, Request, RequestPacket, ResponsePacket, ResponsePayload};
use alloy_transport::{TransportError, TransportFut};
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use tollway_core::Network;
use tower::Service;

use super::answer::{Trouble, Why, hex_number, newest_block};
use super::board::{Board, State};
use super::error::{ChainError, Unanswered};
use super::node::{Node, NodeStatus};
use crate::telemetry::NodeLabels;

/// The most nodes of one network.
pub(super) const MAX_NODES: usize = 16;
/// What is known is worth nothing after so many times the pause between two rounds.
const STALE_AFTER: u32 = 3;
/// How often another node is turned to for one request: nodes that take turns to fail end it too.
const MAX_TURNS: usize = 4 * MAX_NODES;
/// How often those that lag are looked at while a request waits for them.
const WHILE_WAITING: Duration = Duration::from_millis(100);

/// When a node of several is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeRules {
    /// How many blocks it may be behind the furthest of the others.
    pub max_lag_blocks: u64,
    /// How often all of them are compared while requests are made.
    pub check_every: Duration,
}

impl Default for NodeRules {
    /// Five blocks, looked at every five seconds.
    fn default() -> Self {
        Self { max_lag_blocks: 5, check_every: Duration::from_secs(5) }
    }
}

/// The transport.
#[derive(Clone, Debug)]
pub(super) struct Nodes {
    pub(super) inner: Arc<Inner>,
    /// What goes on beside the questions. It ends with the last of those who may ask.
    tasks: Arc<Mutex<JoinSet<()>>>,
}

#[derive(Debug)]
pub(super) struct Inner {
    network: Network,
    chain_id: u64,
    rules: NodeRules,
    deadline: Duration,
    pub(super) members: Vec<Member>,
    pub(super) board: Mutex<Board>,
    rounds: Mutex<Rounds>,
    /// Grows with every check that has ended.
    checks: watch::Sender<u64>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) node: Node,
    pub(super) labels: NodeLabels,
}

/// The rounds in which all nodes are compared.
#[derive(Debug, Default)]
struct Rounds {
    began_at: Option<Instant>,
    ended_at: Option<Instant>,
}

/// What a check found.
pub(super) enum Checked {
    Well,
    OtherChain(u64),
    Failed(Trouble),
    Behind,
    /// Another check of it was under way.
    Busy,
}

impl Nodes {
    pub(super) fn new(
        nodes: Vec<Node>,
        rules: NodeRules,
        network: &Network,
        chain_id: u64,
        deadline: Duration,
    ) -> Result<Self, ChainError> {
        if nodes.is_empty() || nodes.len() > MAX_NODES {
            return Err(ChainError::Nodes(MAX_NODES));
        }
        let member = |(index, node): (usize, Node)| Member {
            labels: NodeLabels::new(network, index, node.name()),
            node,
        };
        let members: Vec<Member> = nodes.into_iter().enumerate().map(member).collect();
        let inner = Inner {
            network: network.clone(),
            chain_id,
            rules,
            deadline,
            board: Mutex::new(Board::new(members.len(), rules.max_lag_blocks, Instant::now())),
            members,
            rounds: Mutex::default(),
            checks: watch::channel(0).0,
        };
        Ok(Self { inner: Arc::new(inner), tasks: Arc::default() })
    }

    /// How they are, as far as is known.
    pub(super) fn statuses(&self) -> Vec<NodeStatus> {
        let board = self.inner.board.lock();
        let status = |(index, member): (usize, &Member)| NodeStatus {
            index,
            name: member.node.name().to_owned(),
            state: board.nodes[index].state.as_str(),
            is_primary: board.primary == index,
            head: board.nodes[index].head,
            lag_blocks: board.lag(index),
        };
        self.inner.members.iter().enumerate().map(status).collect()
    }

    /// Checks each of them now, and tells what was found, in their order.
    pub(super) async fn check_all(&self) -> Vec<Checked> {
        let until = self.inner.check_deadline();
        let found = join_all((0..self.inner.members.len()).map(|index| self.inner.check(index, until))).await;
        self.inner.rounds.lock().ended_at = Some(Instant::now());
        found
    }

    /// Does something beside the questions.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    async fn ask(self, packet: RequestPacket) -> Result<ResponsePacket, TransportError> {
        let until = Instant::now() + self.inner.deadline;
        if self.inner.members.len() == 1 {
            return self.inner.ask_only(packet, until).await;
        }
        self.look_around(until).await;
        let is_raw = |method: &str| method == "eth_sendRawTransaction";
        let is_read = |method: &str| ["eth_", "net_", "web3_"].iter().any(|known| method.starts_with(known));
        if packet.as_single().is_some_and(|request| is_raw(request.method())) {
            self.broadcast(packet, until).await
        } else if packet.method_names().all(is_read) {
            self.inner.read(packet, until).await
        } else {
            // A control of a development node: done once or not at all.
            let primary = self.inner.board.lock().primary;
            let answer = self.inner.members[primary].ask(packet, until).await;
            answer.or_else(|trouble| trouble.came)
        }
    }

    /// Compares all nodes, if the last time is some while ago: beside the question, or before it if what is known is of
    /// no more use.
    async fn look_around(&self, until: Instant) {
        let (is_due, is_stale) = self.inner.begin_round();
        if is_due {
            let inner = Arc::clone(&self.inner);
            self.spawn(async move { inner.round().await });
        }
        if is_stale {
            let mut checks = self.inner.checks.subscribe();
            let now = Instant::now();
            let patience = now + until.saturating_duration_since(now) / 3;
            while !self.inner.is_round_over() {
                if !matches!(timeout_at(patience, checks.changed()).await, Ok(Ok(()))) {
                    return;
                }
            }
        }
    }
}

impl Inner {
    /// The only node is asked, however it is.
    async fn ask_only(
        &self,
        packet: RequestPacket,
        until: Instant,
    ) -> Result<ResponsePacket, TransportError> {
        match self.members[0].ask(packet.clone(), until).await {
            Ok(answer) => {
                if let Some((block, is_head)) = newest_block(&packet, &answer) {
                    self.board.lock().saw(0, block, is_head);
                }
                self.is_well(0);
                Ok(answer)
            }
            Err(trouble) => {
                self.failed(0, trouble.why, trouble.retry_after);
                trouble.came
            }
        }
    }

    /// Asks one node after the other until one answers.
    async fn read(&self, packet: RequestPacket, until: Instant) -> Result<ResponsePacket, TransportError> {
        let mut tried = vec![false; self.members.len()];
        let mut last = None;
        for _ in 0..MAX_TURNS {
            let Some(index) = self.choose(&tried) else {
                if self.revive(&tried, until).await {
                    continue;
                }
                break;
            };
            if !self.take_over(index, until).await {
                continue;
            }
            match self.members[index].ask(packet.clone(), self.share(&tried, index, until)).await {
                Ok(answer) => match newest_block(&packet, &answer) {
                    Some((block, is_head)) if !self.board.lock().saw(index, block, is_head) => {
                        self.failed(index, Why::Behind, None);
                    }
                    _ => {
                        self.board.lock().answered(index);
                        return Ok(answer);
                    }
                },
                Err(trouble) => {
                    self.failed(index, trouble.why, trouble.retry_after);
                    tried[index] = true;
                    last = Some(trouble);
                }
            }
        }
        match (self.unasked(&tried), last) {
            (Unanswered::Nobody, Some(trouble)) => trouble.came,
            (unanswered, _) => Err(unanswered.into()),
        }
    }

    fn choose(&self, tried: &[bool]) -> Option<usize> {
        self.board.lock().choose(tried)
    }

    /// Half of what is left, if there is another to be asked after this one.
    fn share(&self, tried: &[bool], index: usize, until: Instant) -> Instant {
        let mut others = tried.to_vec();
        others[index] = true;
        let now = Instant::now();
        match others.iter().all(|tried| *tried) {
            true => until,
            false => now + until.saturating_duration_since(now) / 2,
        }
    }

    /// Makes sure that this node is the primary: another must have come as far as was seen, now.
    async fn take_over(&self, index: usize, until: Instant) -> bool {
        if self.board.lock().primary == index {
            return true;
        }
        let until = until.min(self.check_deadline());
        match self.head_of(index, until).await {
            Ok(head) if self.board.lock().take_over(index, head) => {
                let (network, node) = (&self.network, self.members[index].node.name());
                tracing::warn!(%network, index, node, head, "another node answers from now on");
                true
            }
            Ok(_) => {
                self.failed(index, Why::Behind, None);
                false
            }
            Err(trouble) => {
                self.unchecked(index, trouble);
                false
            }
        }
    }

    /// No node is known to be well: has those that were not tried checked. Whether one is well now; it waits for those
    /// that only lag.
    pub(super) async fn revive(&self, tried: &[bool], until: Instant) -> bool {
        let mut checks = self.checks.subscribe();
        loop {
            let now = Instant::now();
            let candidates: Vec<usize> = {
                let board = self.board.lock();
                (0..tried.len()).filter(|index| !tried[*index] && board.may_be_revived(*index, now)).collect()
            };
            let within = until.min(self.check_deadline());
            let found = join_all(candidates.iter().map(|index| self.check(*index, within))).await;
            if self.board.lock().has_successor(tried) {
                return true;
            }
            let is_lagging = found.iter().any(|found| matches!(found, Checked::Behind | Checked::Well));
            let is_busy = found.iter().any(|found| matches!(found, Checked::Busy));
            if is_lagging && self.board.lock().starve(now) {
                let (network, floor) = (&self.network, self.board.lock().floor);
                tracing::error!(%network, floor, "no node has what was seen: the chain fell back, or a node lied");
                continue;
            }
            if !is_lagging && !is_busy {
                return false;
            }
            let again = Instant::now() + WHILE_WAITING;
            if again >= until {
                return false;
            }
            if is_busy {
                let _ = timeout_at(again, checks.changed()).await;
            } else {
                sleep_until(again).await;
            }
        }
    }

    /// Why those were not asked that were not: there is nobody, or they are behind.
    fn unasked(&self, tried: &[bool]) -> Unanswered {
        let board = self.board.lock();
        let answers = |state: State| matches!(state, State::Healthy | State::Out(Why::Behind));
        match board.nodes.iter().zip(tried).any(|(node, tried)| !tried && answers(node.state)) {
            true => Unanswered::Behind(board.floor),
            false => Unanswered::Nobody,
        }
    }

    /// Checks one node: its chain, if it was away, and its head.
    async fn check(&self, index: usize, until: Instant) -> Checked {
        let is_ours = {
            let mut board = self.board.lock();
            let node = &mut board.nodes[index];
            if std::mem::replace(&mut node.is_checking, true) {
                return Checked::Busy;
            }
            node.is_ours
        };
        let _ended = Ended { inner: self, index };
        if !is_ours {
            match self.chain_of(index, until).await {
                Ok(chain_id) if chain_id == self.chain_id => {}
                Ok(chain_id) => {
                    self.failed(index, Why::OtherChain, None);
                    return Checked::OtherChain(chain_id);
                }
                Err(trouble) => return self.unchecked(index, trouble),
            }
        }
        let head = match self.head_of(index, until).await {
            Ok(head) => head,
            Err(trouble) => return self.unchecked(index, trouble),
        };
        let before = self.board.lock().nodes[index].state;
        let judged = self.board.lock().checked(index, head, Instant::now());
        match judged {
            Ok(()) => {
                self.tell(index, before);
                Checked::Well
            }
            Err(why) => {
                self.failed(index, why, None);
                Checked::Behind
            }
        }
    }

    fn unchecked(&self, index: usize, trouble: Trouble) -> Checked {
        // Who cannot be checked cannot be asked, whatever it was.
        let why = if trouble.why == Why::Throttled { Why::Limited } else { trouble.why };
        let before = self.board.lock().nodes[index].state;
        self.board.lock().take_out(index, why, trouble.retry_after, Instant::now());
        self.tell(index, before);
        Checked::Failed(trouble)
    }

    async fn chain_of(&self, index: usize, until: Instant) -> Result<u64, Trouble> {
        let text = self.question(index, Request::new("eth_chainId", Id::Number(0), ()), until).await?;
        serde_json::from_str::<String>(&text)
            .ok()
            .and_then(|hex| hex_number(&hex))
            .ok_or_else(|| Trouble { why: Why::Malformed, ..Unanswered::Nobody.into() })
    }

    async fn head_of(&self, index: usize, until: Instant) -> Result<u64, Trouble> {
        let text = self.question(index, Request::new("eth_blockNumber", Id::Number(0), ()), until).await?;
        serde_json::from_str::<String>(&text)
            .ok()
            .and_then(|hex| hex_number(&hex))
            .ok_or_else(|| Trouble { why: Why::Malformed, ..Unanswered::Nobody.into() })
    }

    /// The text of a result.
    async fn question(&self, index: usize, asked: Request<()>, until: Instant) -> Result<String, Trouble> {
        let asked = asked.serialize().map_err(|error| Trouble::of_error(TransportError::ser_err(error)))?;
        let answer = self.members[index].ask(RequestPacket::Single(asked), until).await?;
        match answer.first_payload() {
            Some(ResponsePayload::Success(result)) => Ok(result.get().to_owned()),
            _ => Err(Trouble { why: Why::Troubled, came: Ok(answer), retry_after: None }),
        }
    }

    /// One comparison of all nodes that are due.
    async fn round(&self) {
        let (began, until) = (Instant::now(), self.check_deadline());
        let due: Vec<usize> = {
            let board = self.board.lock();
            (0..self.members.len()).filter(|index| board.is_due(*index, began)).collect()
        };
        join_all(due.into_iter().map(|index| self.check(index, until))).await;
        let laggards = self.board.lock().laggards(began);
        laggards.into_iter().for_each(|index| self.failed(index, Why::Behind, None));
        self.rounds.lock().ended_at = Some(Instant::now());
        self.checks.send_modify(|checks| *checks += 1);
    }

    /// Whether a round is to begin, and whether nothing is known of late.
    fn begin_round(&self) -> (bool, bool) {
        let (now, every) = (Instant::now(), self.rules.check_every);
        let mut rounds = self.rounds.lock();
        let is_older =
            |at: Option<Instant>, than: Duration| at.is_none_or(|at| now.duration_since(at) >= than);
        let is_due = is_older(rounds.began_at, every);
        let is_stale = is_older(rounds.ended_at, every * STALE_AFTER);
        if is_due {
            rounds.began_at = Some(now);
        }
        (is_due, is_stale)
    }

    fn is_round_over(&self) -> bool {
        let rounds = self.rounds.lock();
        rounds.ended_at >= rounds.began_at
    }

    fn check_deadline(&self) -> Instant {
        Instant::now() + self.deadline / 3
    }

    /// A node did not answer as it should.
    pub(super) fn failed(&self, index: usize, why: Why, retry_after: Option<Duration>) {
        let before = self.board.lock().nodes[index].state;
        self.board.lock().failed(index, why, retry_after, Instant::now());
        self.tell(index, before);
    }

    /// The only node answered.
    fn is_well(&self, index: usize) {
        let mut board = self.board.lock();
        board.answered(index);
        let before = std::mem::replace(&mut board.nodes[index].state, State::Healthy);
        drop(board);
        self.tell(index, before);
    }

    /// Tells of a state that is new.
    fn tell(&self, index: usize, before: State) {
        let after = self.board.lock().nodes[index].state;
        if after == before {
            return;
        }
        let (network, node, is_healthy) =
            (&self.network, self.members[index].node.name(), after == State::Healthy);
        self.members[index].labels.changed(after.as_str(), is_healthy);
        match is_healthy {
            true if before == State::Unchecked => tracing::debug!(%network, index, node, "a node is healthy"),
            true => tracing::info!(%network, index, node, was = before.as_str(), "a node is healthy again"),
            false => {
                tracing::warn!(%network, index, node, why = after.as_str(), "a node is not asked for a while")
            }
        }
    }
}

impl Member {
    pub(super) async fn ask(&self, packet: RequestPacket, until: Instant) -> Result<ResponsePacket, Trouble> {
        self.node.ask(&self.labels, packet, until).await
    }
}

/// A check that ends, or is given up.
struct Ended<'a> {
    inner: &'a Inner,
    index: usize,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.inner.board.lock().nodes[self.index].is_checking = false;
        self.inner.checks.send_modify(|checks| *checks += 1);
    }
}

impl Service<RequestPacket> for Nodes {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        Box::pin(self.clone().ask(packet))
    }
}
