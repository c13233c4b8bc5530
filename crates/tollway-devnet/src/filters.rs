//! Filters that clients install and poll, for those who can't subscribe.

use std::collections::VecDeque;

use alloy_rpc_types_eth::Filter;

/// All installed filters, the oldest first.
#[derive(Debug)]
pub(crate) struct Filters {
    installed: VecDeque<Installed>,
    taken: u64,
    capacity: usize,
}

/// What a filter watches and from where on.
#[derive(Clone, Debug)]
pub(crate) struct Installed {
    id: u64,
    pub(crate) watched: Watched,
    /// The first block that has not been reported yet.
    pub(crate) next_block: u64,
}

#[derive(Clone, Debug)]
pub(crate) enum Watched {
    Blocks,
    Logs(Box<Filter>),
}

impl Filters {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { installed: VecDeque::new(), taken: 0, capacity }
    }

    /// Installs a filter and returns its id. If there are too many, the oldest goes.
    pub(crate) fn install(&mut self, watched: Watched, next_block: u64) -> u64 {
        self.taken += 1;
        self.installed.push_back(Installed { id: self.taken, watched, next_block });
        while self.installed.len() > self.capacity {
            self.installed.pop_front();
        }
        self.taken
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
