//! This seller among those that share its ledger: alive as long as it says so in time. What the dead hold is free for
//! others, so who may be dead admits nothing more.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tollway_core::{Clock, UnixTime};
pub(crate) use tollway_ledger::{LEDGER_DEADLINE, bounded};
use tollway_ledger::{Ledger, LedgerError, Member, Role};

/// How long a seller counts as alive after it last said so.
const LEASE_SECONDS: u64 = 10;
/// How often it says so.
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(LEASE_SECONDS * 1_000 / 3);
/// After the ledger failed, nobody waits for it again so soon.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// A place among the sellers of a ledger, given up when dropped.
pub(crate) struct Membership {
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    lease: Mutex<Lease>,
    /// One renewal at a time.
    renewing: tokio::sync::Mutex<()>,
    runtime: Handle,
}

#[derive(Clone, Debug)]
struct Lease {
    member: Member,
    /// By the clock that the ledger is told.
    until: UnixTime,
    /// By a clock that nobody sets.
    ends: Instant,
    /// Somebody else sells under this name.
    is_superseded: bool,
    failed_at: Option<Instant>,
}

impl Membership {
    /// Joins under `name`.
    pub(crate) async fn join(
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
        name: &str,
    ) -> Result<Self, LedgerError> {
        let (until, ends) = (clock.now().plus_seconds(LEASE_SECONDS), lease_end());
        let member = bounded(ledger.member_join(Role::Seller, name, clock.now(), until)).await?;
        let lease = Lease { member, until, ends, is_superseded: false, failed_at: None };
        let (lease, renewing, runtime) =
            (Mutex::new(lease), tokio::sync::Mutex::default(), Handle::current());
        Ok(Self { ledger, clock, lease, renewing, runtime })
    }

    /// Who this is; none if it may be dead to others and cannot say otherwise.
    pub(crate) async fn member(&self) -> Option<Member> {
        if let Some(member) = self.living() {
            return Some(member);
        }
        // The clock jumped, or the process was stopped: a heartbeat at once.
        self.renew().await;
        self.living()
    }

    /// Says that it is alive.
    pub(crate) async fn renew(&self) {
        let asked = Instant::now();
        let _one = self.renewing.lock().await;
        let lease = self.lease.lock().clone();
        let is_answered = lease.failed_at.is_some_and(|at| at + RETRY_PAUSE > asked);
        if lease.is_superseded || is_answered || (lease.ends > asked + HEARTBEAT * 2 && self.is_alive(&lease))
        {
            return;
        }
        let was_alive = self.is_alive(&lease);
        let (now, ends) = (self.clock.now(), lease_end());
        let until = now.plus_seconds(LEASE_SECONDS);
        match bounded(self.ledger.member_renew(&lease.member, now, until)).await {
            Ok(true) => *self.lease.lock() = Lease { until, ends, failed_at: None, ..lease },
            Ok(false) if was_alive => {
                tracing::error!(
                    name = lease.member.name,
                    "another seller joined under this name: nothing is sold here"
                );
                self.lease.lock().is_superseded = true;
            }
            Ok(false) => self.rejoin(lease, now, until, ends).await,
            Err(error) => self.failed(&error),
        }
    }

    /// After its death it is somebody new: what it held then is no longer its own.
    async fn rejoin(&self, lease: Lease, now: UnixTime, until: UnixTime, ends: Instant) {
        tracing::warn!(name = lease.member.name, "taken for dead by the other sellers: joining anew");
        match bounded(self.ledger.member_join(Role::Seller, &lease.member.name, now, until)).await {
            Ok(member) => *self.lease.lock() = Lease { member, until, ends, failed_at: None, ..lease },
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&self, error: &LedgerError) {
        tracing::error!(%error, "the ledger does not renew this seller's membership");
        self.lease.lock().failed_at = Some(Instant::now());
    }

    fn living(&self) -> Option<Member> {
        let lease = self.lease.lock();
        self.is_alive(&lease).then(|| lease.member.clone())
    }

    fn is_alive(&self, lease: &Lease) -> bool {
        !lease.is_superseded && self.clock.now() < lease.until && Instant::now() < lease.ends
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let (ledger, member) = (Arc::clone(&self.ledger), self.lease.lock().member.clone());
        self.runtime.spawn(async move {
            // Others find out without it, only later.
            let _left = bounded(ledger.member_leave(&member)).await;
        });
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Membership").field(&*self.lease.lock()).finish()
    }
}

fn lease_end() -> Instant {
    Instant::now() + Duration::from_secs(LEASE_SECONDS)
}
