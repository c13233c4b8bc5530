//! Money that lanes are asked to give to payers for the gas of their approvals. It waits here until a lane is free.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tollway_evm::U256;

use crate::sponsoring::Cause;

/// What waits for a lane of one network. As many as there are approvals under way, which have a limit.
#[derive(Debug, Default)]
pub(crate) struct Errands {
    waiting: Mutex<VecDeque<Errand>>,
    wake: Notify,
}

/// Money to be given once.
#[derive(Debug)]
pub(crate) struct Errand {
    pub(crate) cause: Cause,
    /// How much, wei.
    pub(crate) amount: U256,
    /// Who waits for it. Who has gone wants it no more.
    pub(crate) done: oneshot::Sender<Given>,
}

/// What came of an errand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// It is written down and sent, now or for whoever asked before.
    Sent,
    /// Enough was given today.
    Spent,
    /// Nothing is out.
    NotSent(String),
}

impl Errands {
    pub(crate) fn put(&self, errand: Errand) {
        self.waiting.lock().push_back(errand);
        self.wake.notify_waiters();
    }

    /// The first that is still wanted; waits for one.
    pub(crate) async fn take(&self) -> Errand {
        loop {
            let mut woken = std::pin::pin!(self.wake.notified());
            woken.as_mut().enable();
            while let Some(errand) = self.next() {
                if !errand.done.is_closed() {
                    return errand;
                }
            }
            woken.await;
        }
    }

    fn next(&self) -> Option<Errand> {
        self.waiting.lock().pop_front()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tollway_evm::{Address, B256, U256};

    use super::{Errand, Errands};
    use crate::sponsoring::Cause;

    #[tokio::test]
    async fn what_nobody_waits_for_is_dropped() {
        let errands = Errands::default();
        let mut left = Vec::new();
        for amount in 0..4u64 {
            let (done, told) = oneshot::channel();
            let cause = Cause { payer: Address::ZERO, transaction: B256::ZERO };
            errands.put(Errand { cause, amount: U256::from(amount), done });
            if amount % 2 == 1 {
                left.push(told);
            }
        }
        assert_eq!(errands.take().await.amount, U256::from(1));
        assert_eq!(errands.take().await.amount, U256::from(3));
        assert!(errands.next().is_none());
    }
}
