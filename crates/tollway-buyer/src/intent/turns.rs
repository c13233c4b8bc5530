//! Turns: of the requests of one process that are the same purchase, one is under way at a time.
//!
//! The ledger keeps processes apart. Within one process all are the same member, so they are kept apart here; and who comes
//! next finds written what the one before it wrote, for a turn ends when that is done.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

/// How many turns may be remembered before those that nobody has or waits for are forgotten.
const SWEEP_AT: usize = 256;

/// Who is at which purchase.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<BTreeMap<String, Weak<tokio::sync::Mutex<()>>>>);

/// The right to work on a purchase, among those of this process. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _guard: OwnedMutexGuard<()>,
}

impl Turns {
    /// Waits for the turn until `give_up`. How long that took comes with it.
    pub(crate) async fn take(&self, key: &str, give_up: Instant) -> Option<(Turn, Duration)> {
        let slot = self.slot(key);
        if let Ok(guard) = Arc::clone(&slot).try_lock_owned() {
            return Some((Turn { _guard: guard }, Duration::ZERO));
        }
        let began = Instant::now();
        let guard = tokio::time::timeout_at(give_up, slot.lock_owned()).await.ok()?;
        Some((Turn { _guard: guard }, began.elapsed()))
    }

    fn slot(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut slots = self.0.lock();
        if let Some(slot) = slots.get(key).and_then(Weak::upgrade) {
            return slot;
        }
        if slots.len() >= SWEEP_AT {
            slots.retain(|_, slot| slot.strong_count() > 0);
        }
        let slot = Arc::new(tokio::sync::Mutex::new(()));
        slots.insert(key.to_owned(), Arc::downgrade(&slot));
        slot
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{SWEEP_AT, Turns};

    #[tokio::test(start_paused = true)]
    async fn one_has_the_turn_and_the_next_gets_it_when_it_ends() {
        let turns = Turns::default();
        let soon = || Instant::now() + Duration::from_secs(1);
        let (turn, waited) = turns.take("a", soon()).await.unwrap();
        assert_eq!(waited, Duration::ZERO);
        assert!(turns.take("a", soon()).await.is_none(), "it waits in vain");
        assert!(turns.take("b", soon()).await.is_some());
        let next = async { turns.take("a", soon()).await.unwrap().1 };
        let end = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(turn);
        };
        assert_eq!(tokio::join!(next, end).0, Duration::from_millis(100), "it waited");
    }

    #[tokio::test]
    async fn turns_that_nobody_has_are_forgotten() {
        let turns = Turns::default();
        for number in 0..10 * SWEEP_AT {
            drop(turns.take(&number.to_string(), Instant::now()).await);
        }
        assert!(turns.0.lock().len() <= SWEEP_AT);
    }
}
