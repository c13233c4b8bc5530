//! What is known of the nodes of a network, and whom to ask next. Pure: it asks nobody, and is told the time.
//!
//! Two rules. One node answers as long as it is well (the primary), because two nodes never see the same chain at the
//! same moment. And the highest block that was seen is not unseen: a node that has not come to it is not asked.

use std::time::Duration;

use tokio::time::Instant;

use super::answer::Why;

/// How long a node is left alone after it failed, at first and at most. Twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The longest that a node may ask to be left alone.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(120);
/// So many troubles in a row take a node out.
const TROUBLES: u32 = 3;
/// After so long without a node that has come to what was seen, it counts as never seen: the chain itself fell back, or
/// a node told of blocks that are not there.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What is known of one node.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) state: State,
    pub(super) head: Option<u64>,
    /// Whether its chain id was seen since it was last out.
    pub(super) is_ours: bool,
    pub(super) is_checking: bool,
    checked_at: Option<Instant>,
    troubles: u32,
    pause: Duration,
    retry_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Unchecked,
    Healthy,
    Out(Why),
}

impl State {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Unchecked => "unchecked",
            Self::Healthy => "healthy",
            Self::Out(why) => why.as_str(),
        }
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) nodes: Vec<Standing>,
    pub(super) primary: usize,
    /// The highest block that was told of to who asks.
    pub(super) floor: u64,
    /// Since when those that answer are all below it.
    starving_since: Option<Instant>,
    max_lag_blocks: u64,
}

impl Board {
    pub(super) fn new(nodes: usize, max_lag_blocks: u64, now: Instant) -> Self {
        let standing = Standing {
            state: State::Unchecked,
            head: None,
            is_ours: false,
            is_checking: false,
            checked_at: None,
            troubles: 0,
            pause: FIRST_PAUSE,
            retry_at: now,
        };
        Self { nodes: vec![standing; nodes], primary: 0, floor: 0, starving_since: None, max_lag_blocks }
    }

    /// Whom to ask: the primary while it is well, then whoever is furthest. None of those that were tried.
    pub(super) fn choose(&self, tried: &[bool]) -> Option<usize> {
        let is_open = |index: &usize| self.nodes[*index].state == State::Healthy && !tried[*index];
        if is_open(&self.primary) {
            return Some(self.primary);
        }
        let head = |index: &usize| (self.nodes[*index].head, std::cmp::Reverse(*index));
        (0..self.nodes.len()).filter(is_open).max_by_key(head)
    }

    /// It answered that this is its newest block, or spoke of a block. Whether it may be believed: what is below the
    /// floor is behind.
    pub(super) fn saw(&mut self, index: usize, block: u64, is_head: bool) -> bool {
        let known = self.nodes[index].head.unwrap_or_default();
        self.nodes[index].head = Some(if is_head { block } else { known.max(block) });
        if is_head && block < self.floor {
            return false;
        }
        self.floor = self.floor.max(block);
        true
    }

    /// It answered.
    pub(super) fn answered(&mut self, index: usize) {
        self.nodes[index].troubles = 0;
    }

    /// It did not answer. Whether it is out by that.
    pub(super) fn failed(
        &mut self,
        index: usize,
        why: Why,
        retry_after: Option<Duration>,
        now: Instant,
    ) -> bool {
        let node = &mut self.nodes[index];
        if why == Why::Troubled {
            node.troubles += 1;
        }
        let is_out = why.takes_out() || (why == Why::Troubled && node.troubles >= TROUBLES);
        if is_out {
            self.take_out(index, why, retry_after, now);
        }
        is_out
    }

    /// It is left alone for a while.
    pub(super) fn take_out(&mut self, index: usize, why: Why, retry_after: Option<Duration>, now: Instant) {
        let node = &mut self.nodes[index];
        node.state = State::Out(why);
        node.is_ours = false;
        node.retry_at = now + retry_after.map_or(node.pause, |wish| wish.min(LONGEST_RETRY_AFTER));
        node.pause = (node.pause * 2).min(LONGEST_PAUSE);
    }

    /// Whether it is to be checked now: it is in use, or its pause is over.
    pub(super) fn is_due(&self, index: usize, now: Instant) -> bool {
        let node = &self.nodes[index];
        !node.is_checking && (!matches!(node.state, State::Out(_)) || now >= node.retry_at)
    }

    /// Whether a request without any node may have it checked before its pause is over.
    pub(super) fn may_be_revived(&self, index: usize, now: Instant) -> bool {
        self.nodes[index].state != State::Out(Why::Limited) || now >= self.nodes[index].retry_at
    }

    /// A check found its head. Whether it is well.
    pub(super) fn checked(&mut self, index: usize, head: u64, now: Instant) -> Result<(), Why> {
        let node = &mut self.nodes[index];
        (node.head, node.is_ours, node.checked_at) = (Some(head), true, Some(now));
        let fell_back = index == self.primary && head < self.floor;
        if fell_back || head.saturating_add(self.max_lag_blocks) < self.furthest() {
            return Err(Why::Behind);
        }
        let node = &mut self.nodes[index];
        (node.state, node.troubles, node.pause) = (State::Healthy, 0, FIRST_PAUSE);
        if head >= self.floor {
            self.starving_since = None;
        }
        if index == self.primary {
            self.floor = head;
        }
        Ok(())
    }

    /// Who of those that were checked since then lags too far behind the furthest of them.
    pub(super) fn laggards(&self, since: Instant) -> Vec<usize> {
        let is_fresh = |node: &&Standing| {
            node.state == State::Healthy && node.checked_at.is_some_and(|checked_at| checked_at >= since)
        };
        let furthest = self.nodes.iter().filter(is_fresh).filter_map(|node| node.head).max();
        let lags = |node: &Standing| {
            is_fresh(&node) && node.head.map(|head| head.saturating_add(self.max_lag_blocks)) < furthest
        };
        (0..self.nodes.len()).filter(|index| lags(&self.nodes[*index])).collect()
    }

    /// Whether somebody that was not tried is well and has come as far as was seen.
    pub(super) fn has_successor(&self, tried: &[bool]) -> bool {
        self.choose(tried).is_some_and(|index| self.nodes[index].head >= Some(self.floor))
    }

    /// Makes it the primary, if it has come as far as was seen.
    pub(super) fn take_over(&mut self, index: usize, head: u64) -> bool {
        self.nodes[index].head = Some(head);
        if head < self.floor {
            return false;
        }
        self.floor = head;
        self.primary = index;
        true
    }

    /// Those that answer are all behind. After a while the floor gives way: to the furthest of them. Whether it did.
    pub(super) fn starve(&mut self, now: Instant) -> bool {
        let since = *self.starving_since.get_or_insert(now);
        let answers = |node: &&Standing| matches!(node.state, State::Healthy | State::Out(Why::Behind));
        let furthest = self.nodes.iter().filter(answers).filter_map(|node| node.head).max();
        match furthest {
            Some(head) if now.duration_since(since) >= PATIENCE => {
                self.floor = head;
                self.starving_since = None;
                true
            }
            _ => false,
        }
    }

    /// How far behind it is.
    pub(super) fn lag(&self, index: usize) -> Option<u64> {
        self.nodes[index].head.map(|head| self.furthest().saturating_sub(head))
    }

    /// The furthest that anybody has come who is well.
    fn furthest(&self) -> u64 {
        let well = self.nodes.iter().filter(|node| node.state == State::Healthy);
        well.filter_map(|node| node.head).max().unwrap_or_default().max(self.floor)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Board, PATIENCE, State};
    use crate::chain::answer::Why;

    fn board(heads: &[u64]) -> Board {
        let now = Instant::now();
        let mut board = Board::new(heads.len(), 3, now);
        for (index, head) in heads.iter().enumerate() {
            let _ = board.checked(index, *head, now);
        }
        board
    }

    #[tokio::test]
    async fn the_primary_stays_while_it_is_well_though_others_are_a_block_ahead() {
        let mut board = board(&[100, 100]);
        assert!(board.saw(1, 101, true));
        assert_eq!(board.choose(&[false, false]), Some(0));
        board.failed(0, Why::Slow, None, Instant::now());
        assert_eq!(board.choose(&[false, false]), Some(1));
        assert!(board.take_over(1, 101));
        let _ = board.checked(0, 101, Instant::now());
        assert_eq!(
            (board.nodes[0].state, board.choose(&[false, false])),
            (State::Healthy, Some(1)),
            "sticky"
        );
    }

    #[tokio::test]
    async fn who_lags_too_far_is_found_by_one_round_and_comes_back_when_it_has_caught_up() {
        let mut board = board(&[100, 100, 96]);
        assert_eq!(board.nodes[2].state, State::Unchecked, "four behind, three are allowed");
        let round = Instant::now() + Duration::from_secs(5);
        for (index, head) in [(0, 101), (1, 120)] {
            let _ = board.checked(index, head, round);
        }
        assert_eq!(board.laggards(round), [0], "though the other was checked later");
        assert_eq!(
            board.laggards(round + Duration::from_secs(1)),
            [0; 0],
            "what is known of before is no sign"
        );
        board.failed(0, Why::Behind, None, round);
        assert_eq!(board.choose(&[false; 3]), Some(1));
        assert_eq!(board.checked(0, 116, round), Err(Why::Behind));
        assert_eq!(board.checked(0, 117, round), Ok(()));
    }

    #[tokio::test]
    async fn what_was_seen_is_not_unseen() {
        let mut board = board(&[100, 99]);
        assert!(board.saw(0, 105, false), "a receipt tells of a block");
        board.failed(0, Why::Unreachable, None, Instant::now());
        assert!(!board.take_over(1, 104) && board.take_over(1, 105));
        assert!(!board.saw(1, 104, true), "it fell back");
    }

    #[tokio::test]
    async fn the_floor_gives_way_only_after_all_were_behind_for_long() {
        let mut board = board(&[100, 100]);
        let now = Instant::now();
        board.failed(0, Why::Unreachable, None, now);
        board.failed(1, Why::Behind, None, now);
        board.nodes[1].head = Some(7);
        assert!(!board.starve(now) && !board.starve(now + PATIENCE - Duration::from_millis(1)));
        assert!(board.starve(now + PATIENCE));
        assert_eq!(board.checked(1, 7, now + PATIENCE), Ok(()));
    }

    #[tokio::test]
    async fn one_trouble_takes_nobody_out_and_three_in_a_row_do() {
        let (mut board, now) = (board(&[1, 1]), Instant::now());
        assert!(!board.failed(0, Why::Troubled, None, now) && !board.failed(0, Why::Troubled, None, now));
        board.answered(0);
        assert!(!board.failed(0, Why::Troubled, None, now) && !board.failed(0, Why::Troubled, None, now));
        assert!(!board.failed(0, Why::Unable, None, now), "that it cannot answer this says nothing");
        assert!(board.failed(0, Why::Troubled, None, now));
    }

    #[tokio::test]
    async fn pauses_grow_and_a_nodes_own_wish_is_heard_within_a_bound() {
        let (mut board, now) = (board(&[1, 1]), Instant::now());
        for pause in [500, 1_000, 2_000, 4_000] {
            board.failed(0, Why::Unreachable, None, now);
            assert!(!board.is_due(0, now + Duration::from_millis(pause - 1)));
            assert!(board.is_due(0, now + Duration::from_millis(pause)));
        }
        board.failed(0, Why::Limited, Some(Duration::from_secs(86_400)), now);
        assert!(!board.may_be_revived(0, now + Duration::from_secs(119)));
        assert!(board.may_be_revived(0, now + Duration::from_secs(120)));
    }
}
