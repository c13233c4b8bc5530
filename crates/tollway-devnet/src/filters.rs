//! Filters that clients install and poll, for those who can't subscribe.

use std::{collections::VecDeque, sync::Arc};

use alloy_rpc_types_eth::{Filter, Log};

use crate::{chain::Block, rpc::block_logs};

/// All installed filters, the oldest first.
#[derive(Debug)]
pub(crate) struct Filters {
    installed: VecDeque<Installed>,
    taken: u64,
    capacity: usize,
    /// The most logs that one filter keeps.
    logs: usize,
}

/// What a filter watches and from where on.
#[derive(Clone, Debug)]
pub(crate) struct Installed {
    id: u64,
    pub(crate) watched: Watched,
    /// The first block that has not been reported yet.
    pub(crate) next_block: u64,
    /// Logs that were reported and are no longer part of the chain, not yet reported as such.
    pub(crate) withdrawn: Vec<Log>,
}

#[derive(Clone, Debug)]
pub(crate) enum Watched {
    Blocks,
    Logs(Box<Filter>),
}

impl Filters {
    pub(crate) fn new(capacity: usize, logs: usize) -> Self {
        Self { installed: VecDeque::new(), taken: 0, capacity, logs }
    }

    /// Installs a filter and returns its id. If there are too many, the oldest goes.
    pub(crate) fn install(&mut self, watched: Watched, next_block: u64) -> u64 {
        self.taken += 1;
        self.installed.push_back(Installed { id: self.taken, watched, next_block, withdrawn: Vec::new() });
        while self.installed.len() > self.capacity {
            self.installed.pop_front();
        }
        self.taken
    }

    /// Follows the chain back, from which these blocks were taken, the newest first.
    pub(crate) fn rewind(&mut self, removed: &[Arc<Block>]) {
        for filter in &mut self.installed {
            for block in removed.iter().filter(|block| block.number() < filter.next_block) {
                if let Watched::Logs(watched) = &filter.watched {
                    let room = self.logs.saturating_sub(filter.withdrawn.len());
                    let logs = block_logs(block, watched).into_iter().take(room);
                    filter.withdrawn.extend(logs.map(|log| Log { removed: true, ..log }));
                }
            }
            let first = removed.last().map_or(filter.next_block, |block| block.number());
            filter.next_block = filter.next_block.min(first);
        }
    }

    /// Removes all filters. Their numbers are not given out again.
    pub(crate) fn clear(&mut self) {
        self.installed.clear();
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Installed> {
        self.installed.iter_mut().find(|filter| filter.id == id)
    }

    /// Removes a filter; `false` if there is none.
    pub(crate) fn uninstall(&mut self, id: u64) -> bool {
        let before = self.installed.len();
        self.installed.retain(|filter| filter.id != id);
        self.installed.len() < before
    }
}
