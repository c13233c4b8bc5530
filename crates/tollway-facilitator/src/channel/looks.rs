//! How channels stand, asked of the node: questions that wait while others are under way go out together, many channels in
//! one call. A channel that nobody else waits with is asked about at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::timeout;
use tollway_core::{Backing, FacilitatorError};
use tollway_evm::Chain;
use tollway_evm::batch_settlement::backings;

use crate::tasks::Tasks;

/// How long a caller waits for its turn and the answer.
const DEADLINE: Duration = Duration::from_secs(15);

/// How many channels are asked about in one call.
const MAX_LOOKS: usize = 100;

type Looked = Result<Backing, FacilitatorError>;

/// The questions of one network.
#[derive(Debug)]
pub(crate) struct Looks {
    waiting: Mutex<VecDeque<(B256, oneshot::Sender<Looked>)>>,
    wake: Notify,
    /// How many calls may be under way at once.
    calls: Arc<Semaphore>,
    /// How many may wait.
    most: usize,
}

impl Looks {
    pub(crate) fn new(calls: usize, most: usize) -> Self {
        Self { waiting: Mutex::default(), wake: Notify::new(), calls: Arc::new(Semaphore::new(calls)), most }
    }

    /// How the channel stands on the latest block.
    pub(crate) async fn look(&self, channel: B256) -> Looked {
        let (caller, answer) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock();
            if waiting.len() >= self.most {
                return Err(FacilitatorError::Busy("too many channels are asked about".to_owned()));
            }
            waiting.push_back((channel, caller));
        }
        self.wake.notify_one();
        match timeout(DEADLINE, answer).await {
            Ok(Ok(looked)) => looked,
            Ok(Err(_)) => Err(FacilitatorError::Busy("the facilitator is stopping".to_owned())),
            Err(_) => Err(FacilitatorError::Busy("the node took too long".to_owned())),
        }
    }

    /// Sends out what waits, for as long as the engine lives.
    pub(crate) async fn run(self: Arc<Self>, chain: Chain, tasks: Arc<Tasks>) {
        loop {
            self.wake.notified().await;
            loop {
                let Ok(turn) = Arc::clone(&self.calls).acquire_owned().await else { return };
                let asked = self.take();
                if asked.is_empty() {
                    break;
                }
                let chain = chain.clone();
                tasks.spawn(async move {
                    together(&chain, asked).await;
                    drop(turn);
                });
            }
        }
    }

    /// As many as one call takes, those that came first. Who has gone is not asked for.
    fn take(&self) -> Vec<(B256, oneshot::Sender<Looked>)> {
        let mut waiting = self.waiting.lock();
        let mut taken = Vec::new();
        while taken.len() < MAX_LOOKS
            && let Some(asked) = waiting.pop_front()
        {
            if !asked.1.is_closed() {
                taken.push(asked);
            }
        }
        taken
    }
}

async fn together(chain: &Chain, asked: Vec<(B256, oneshot::Sender<Looked>)>) {
    let channels: Vec<B256> = asked.iter().map(|(channel, _)| *channel).collect();
    let looked = backings(chain, &channels).await.map_err(|error| {
        tracing::warn!(network = %chain.network(), %error, "no answer about channels");
        FacilitatorError::Busy(format!("the node of {} failed", chain.network()))
    });
    for (place, (_, caller)) in asked.into_iter().enumerate() {
        let one = match &looked {
            Ok(all) => all
                .get(place)
                .copied()
                .ok_or_else(|| FacilitatorError::Busy(format!("the node of {} failed", chain.network()))),
            Err(error) => Err(error.clone()),
        };
        // Who has gone needs no answer.
        let _ = caller.send(one);
    }
}

#[cfg(test)]
mod tests {
    use super::{Looks, MAX_LOOKS};
    use alloy_primitives::B256;
    use tokio::sync::oneshot;

    #[test]
    fn one_call_takes_so_many_in_turn_and_none_for_who_has_gone() {
        let looks = Looks::new(1, 1_000);
        let mut kept = Vec::new();
        for number in 0..MAX_LOOKS + 2 {
            let (caller, answer) = oneshot::channel();
            looks
                .waiting
                .lock()
                .push_back((B256::with_last_byte(u8::try_from(number % 256).unwrap()), caller));
            if number != 0 {
                kept.push(answer);
            }
        }
        let first = looks.take();
        assert_eq!((first.len(), first[0].0), (MAX_LOOKS, B256::with_last_byte(1)));
        assert_eq!((looks.take().len(), looks.take().len()), (1, 0));
    }

    #[tokio::test]
    async fn more_than_may_wait_are_turned_away_at_once() {
        let looks = Looks::new(1, 0);
        let denied = looks.look(B256::ZERO).await.unwrap_err();
        assert!(denied.to_string().contains("too many channels"), "{denied}");
    }
}
