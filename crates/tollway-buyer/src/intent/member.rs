//! This wallet among those that share its ledger: alive as long as it says so in time. What the dead were at is free for
//! others, so who may be dead signs nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tollway_core::{Clock, UnixTime};
pub(crate) use tollway_ledger::{LEDGER_DEADLINE, bounded};
use tollway_ledger::{Ledger, LedgerError, Member, Role};

/// How long a wallet counts as alive after it last said so: as long waits who comes after a killed one.
const LEASE_SECONDS: u64 = 6;
/// How often it says so.
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(LEASE_SECONDS * 1_000 / 3);

/// A place among the wallets of a ledger, taken when it is first needed, given up when dropped.
pub(crate) struct Membership {
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    lease: Mutex<Option<Lease>>,
    /// One renewal at a time.
    renewing: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug)]
struct Lease {
    member: Member,
    /// By the clock that the ledger is told.
    until: UnixTime,
    /// By a clock that nobody sets.
    ends: Instant,
    runtime: Handle,
}

impl Membership {
    pub(crate) fn new(ledger: Arc<dyn Ledger>, clock: Arc<dyn Clock>) -> Self {
        Self { ledger, clock, lease: Mutex::default(), renewing: tokio::sync::Mutex::default() }
    }

    /// Who this is. An error: it may be dead to others, and cannot say otherwise.
    pub(crate) async fn member(&self) -> Result<Member, LedgerError> {
        if let Some(member) = self.living() {
            return Ok(member);
        }
        // The first time; or the clock jumped, or the process was stopped.
        self.renew().await?;
        self.living().ok_or_else(|| LedgerError::Unavailable("this wallet is no member of it now".to_owned()))
    }

    /// Whether `member` is who this wallet is, and alive.
    pub(crate) fn is(&self, member: &Member) -> bool {
        self.living().as_ref() == Some(member)
    }

    /// Says that it is alive, if it has joined; else joins.
    pub(crate) async fn renew(&self) -> Result<(), LedgerError> {
        let _one = self.renewing.lock().await;
        let lease = self.lease.lock().clone();
        if lease.as_ref().is_some_and(|lease| self.is_fresh(lease)) {
            return Ok(());
        }
        let (now, ends) = (self.clock.now(), Instant::now() + Duration::from_secs(LEASE_SECONDS));
        let until = now.plus_seconds(LEASE_SECONDS);
        if let Some(lease) = lease
            && bounded(self.ledger.member_renew(&lease.member, now, until)).await?
        {
            *self.lease.lock() = Some(Lease { until, ends, ..lease });
            return Ok(());
        }
        // After its death it is somebody new: what it was at then is no longer its own.
        let name = name()?;
        let member = bounded(self.ledger.member_join(Role::Buyer, &name, now, until)).await?;
        *self.lease.lock() = Some(Lease { member, until, ends, runtime: Handle::current() });
        Ok(())
    }

    /// Whether it has joined yet.
    pub(crate) fn has_joined(&self) -> bool {
        self.lease.lock().is_some()
    }

    fn living(&self) -> Option<Member> {
        let lease = self.lease.lock();
        let lease = lease.as_ref()?;
        (self.clock.now() < lease.until && Instant::now() < lease.ends).then(|| lease.member.clone())
    }

    /// Whether it said so only just.
    fn is_fresh(&self, lease: &Lease) -> bool {
        let most = Instant::now() + Duration::from_secs(LEASE_SECONDS);
        let said_at = self.clock.now().plus_seconds(LEASE_SECONDS);
        lease.ends + HEARTBEAT / 2 > most && lease.until.plus_seconds(1) >= said_at && lease.until <= said_at
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let Some(lease) = self.lease.lock().take() else { return };
        let ledger = Arc::clone(&self.ledger);
        lease.runtime.spawn(async move {
            // Others find out without it, only later.
            let _left = bounded(ledger.member_leave(&lease.member)).await;
        });
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Membership").field(&*self.lease.lock()).finish()
    }
}

/// A name that no other process has: several of one wallet live at once.
fn name() -> Result<String, LedgerError> {
    let mut name = [0; 8];
    getrandom::fill(&mut name).map_err(|error| LedgerError::Unavailable(error.to_string()))?;
    Ok(format!("wallet-{}", hex::encode(name)))
}
