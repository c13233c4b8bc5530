//! This process among those that share the ledger: joined at the start, renewed while it lives. Who does not renew in
//! time signs nothing, because another may have taken over.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tollway_core::Clock;
use tollway_ledger::{Ledger, LedgerError, Member, Role};

/// Ledgers count in whole seconds: a membership may end up to one earlier than it seems.
const ROUNDING: Duration = Duration::from_secs(1);

/// The engine's membership.
#[derive(Debug)]
pub(crate) struct Membership {
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    member: Member,
    ttl: Duration,
    valid_until: Mutex<Instant>,
    superseded: watch::Sender<bool>,
}

impl Membership {
    /// Joins under `name`; whoever had the name before is dead.
    pub(crate) async fn join(
        ledger: Arc<dyn Ledger>,
        name: &str,
        clock: Arc<dyn Clock>,
        ttl: Duration,
    ) -> Result<Self, LedgerError> {
        let asked = Instant::now();
        let now = clock.now();
        let member =
            ledger.member_join(Role::Facilitator, name, now, now.plus_seconds(ttl.as_secs())).await?;
        let valid_until = Mutex::new(asked + ttl.saturating_sub(ROUNDING));
        Ok(Self { ledger, clock, member, ttl, valid_until, superseded: watch::channel(false).0 })
    }

    /// Who this process is.
    pub(crate) const fn member(&self) -> &Member {
        &self.member
    }

    /// Whether it may sign now.
    pub(crate) fn is_current(&self) -> bool {
        !self.is_superseded() && Instant::now() < *self.valid_until.lock()
    }

    /// Whether another process has taken over: this one is done for good.
    pub(crate) fn is_superseded(&self) -> bool {
        *self.superseded.borrow()
    }

    /// Renews three times in the time that a membership lasts, until it is superseded.
    pub(crate) async fn renew(&self) {
        loop {
            sleep(self.ttl / 3).await;
            let (asked, now) = (Instant::now(), self.clock.now());
            let until = now.plus_seconds(self.ttl.as_secs());
            match timeout(self.ttl, self.ledger.member_renew(&self.member, now, until)).await {
                Ok(Ok(true)) => *self.valid_until.lock() = asked + self.ttl.saturating_sub(ROUNDING),
                Ok(Ok(false)) => {
                    tracing::error!(name = self.member.name, "superseded: another process has taken over");
                    self.superseded.send_replace(true);
                    return;
                }
                Ok(Err(error)) => tracing::error!(%error, "the membership was not renewed"),
                Err(_) => tracing::error!("the membership was not renewed: the ledger does not answer"),
            }
        }
    }

    /// Signs nothing any more.
    pub(crate) fn stop(&self) {
        self.superseded.send_replace(true);
    }

    /// Ends the membership: what this process holds is free for others at once.
    pub(crate) async fn leave(&self) -> Result<(), LedgerError> {
        self.stop();
        self.ledger.member_leave(&self.member).await
    }
}
