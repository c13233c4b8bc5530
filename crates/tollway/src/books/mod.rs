//! A wallet's books: what it spent and what it earned, line by line, in the order in which it happened, read from the ledger
//! a page at a time. `entry` is a line, `formats` how it is written, `tally` what is added up, `chart` what is drawn.

pub(crate) mod beancount;
pub(crate) mod chart;
#[cfg(test)]
mod double_entry;
pub(crate) mod entry;
pub(crate) mod formats;
pub(crate) mod groups;
pub(crate) mod ledger_cli;
mod postings;
pub(crate) mod tally;
pub(crate) mod text;

use std::collections::VecDeque;
use std::sync::Arc;

use tollway_core::UnixTime;
use tollway_evm::{Address, AssetTable};
use tollway_ledger::{Intent, IntentId, IntentQuery, Ledger, LedgerError, SettlementQuery};

use self::entry::Entry;

/// How many lines are read at once.
const PAGE: u32 = 500;

/// Which lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// At this time or later.
    pub(crate) from: Option<UnixTime>,
    /// Before this time.
    pub(crate) to: Option<UnixTime>,
    pub(crate) agent: Option<String>,
    pub(crate) host: Option<String>,
}

/// The lines of a wallet, the oldest first.
#[derive(Debug)]
pub(crate) struct Books {
    ledger: Arc<dyn Ledger>,
    wallet: String,
    filter: Filter,
    assets: AssetTable,
    spent: VecDeque<Entry>,
    /// Behind which intent to go on; none at the end.
    spent_after: Option<Option<(UnixTime, IntentId)>>,
    earned: VecDeque<Entry>,
    /// To whom, and behind which settlement to go on; none at the end.
    earned_after: Option<(Address, u64)>,
    /// Intents that no wallet wrote, or a newer program.
    pub(crate) unreadable: u64,
}

impl Books {
    /// Of `wallet`, and of what `account` earned, where the same ledger tells that.
    pub(crate) fn new(
        ledger: Arc<dyn Ledger>,
        wallet: &str,
        account: Option<Address>,
        assets: AssetTable,
        filter: Filter,
    ) -> Self {
        // What is earned is no agent's, and from no host.
        let earns = filter.agent.is_none() && filter.host.is_none();
        Self {
            ledger,
            wallet: wallet.to_owned(),
            assets,
            spent: VecDeque::new(),
            spent_after: Some(None),
            earned: VecDeque::new(),
            earned_after: account.filter(|_| earns).map(|account| (account, 0)),
            filter,
            unreadable: 0,
        }
    }

    /// The next line. The same ledger gives the same lines in the same order.
    pub(crate) async fn next(&mut self) -> Result<Option<Entry>, LedgerError> {
        while self.spent.is_empty() && self.read_spent().await? {}
        while self.earned.is_empty() && self.read_earned().await? {}
        let earned_is_first = match (self.spent.front(), self.earned.front()) {
            (Some(spent), Some(earned)) => earned.at < spent.at,
            (spent, _) => spent.is_none(),
        };
        let next = if earned_is_first { self.earned.pop_front() } else { self.spent.pop_front() };
        Ok(next)
    }

    /// The newest lines, at most `limit`, the oldest of them first.
    pub(crate) async fn newest(&mut self, limit: usize) -> Result<Vec<Entry>, LedgerError> {
        let mut lines = self.newest_spent(limit).await?;
        lines.extend(self.newest_earned(limit).await?);
        // Those of one time stay in the order that each ledger gave them.
        lines.sort_by_key(|line| std::cmp::Reverse(line.at));
        lines.truncate(limit);
        lines.reverse();
        Ok(lines)
    }

    async fn newest_spent(&mut self, limit: usize) -> Result<Vec<Entry>, LedgerError> {
        let (mut lines, mut after) = (Vec::new(), None);
        loop {
            let page = self.ledger.intent_list(self.query(after, true)).await?;
            after = page.last().map(|last| (last.created, last.id));
            let is_last = page.len() < PAGE as usize;
            lines.extend(self.entries(page));
            if is_last || lines.len() >= limit {
                lines.truncate(limit);
                return Ok(lines);
            }
        }
    }

    async fn newest_earned(&mut self, limit: usize) -> Result<Vec<Entry>, LedgerError> {
        let (mut lines, mut before) = (Vec::new(), None);
        while let Some((account, _)) = self.earned_after {
            let pay_to = Some(account.to_checksum(None));
            let query = SettlementQuery { pay_to, before, limit: PAGE, ..SettlementQuery::default() };
            let page = self.ledger.settlement_list(query).await?;
            before = page.last().map(|last| last.sequence);
            lines.extend(page.iter().filter_map(|row| Entry::earned(row, &self.assets)));
            lines.retain(|line| self.filter.is_within(line.at));
            if page.len() < PAGE as usize || lines.len() >= limit {
                break;
            }
        }
        lines.truncate(limit);
        Ok(lines)
    }

    /// Reads on; whether there may be more.
    async fn read_spent(&mut self) -> Result<bool, LedgerError> {
        let Some(after) = self.spent_after else { return Ok(false) };
        let page = self.ledger.intent_list(self.query(after, false)).await?;
        let last = page.last().map(|last| (last.created, last.id)).filter(|_| page.len() >= PAGE as usize);
        self.spent_after = last.map(Some);
        let entries = self.entries(page);
        self.spent.extend(entries);
        Ok(self.spent_after.is_some())
    }

    async fn read_earned(&mut self) -> Result<bool, LedgerError> {
        let Some((account, after)) = self.earned_after else { return Ok(false) };
        let (pay_to, after) = (Some(account.to_checksum(None)), Some(after));
        let query = SettlementQuery { pay_to, after, limit: PAGE, ..SettlementQuery::default() };
        let page = self.ledger.settlement_list(query).await?;
        let last = page.last().map(|last| last.sequence).filter(|_| page.len() >= PAGE as usize);
        self.earned_after = last.map(|last| (account, last));
        let entries = page.iter().filter_map(|row| Entry::earned(row, &self.assets));
        let filter = &self.filter;
        self.earned.extend(entries.filter(|entry| filter.is_within(entry.at)));
        Ok(self.earned_after.is_some())
    }

    fn query(&self, after: Option<(UnixTime, IntentId)>, is_newest_first: bool) -> IntentQuery {
        IntentQuery {
            wallet: self.wallet.clone(),
            agent: self.filter.agent.clone(),
            is_open: None,
            from: self.filter.from,
            to: self.filter.to,
            after,
            is_newest_first,
            limit: PAGE,
        }
    }

    fn entries(&mut self, page: Vec<Intent>) -> Vec<Entry> {
        let mut entries = Vec::with_capacity(page.len());
        for intent in &page {
            match Entry::spent(intent) {
                Some(entry) => entries.push(entry),
                None => self.unreadable += 1,
            }
        }
        let host = self.filter.host.as_ref();
        entries.retain(|entry| host.is_none_or(|host| entry.host.as_ref() == Some(host)));
        entries
    }
}

impl Filter {
    fn is_within(&self, at: UnixTime) -> bool {
        self.from.is_none_or(|from| at >= from) && self.to.is_none_or(|to| at < to)
    }
}
