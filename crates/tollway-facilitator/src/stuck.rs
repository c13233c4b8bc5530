//! What a lane does about a transaction that is not included: send it again, offer more for it, and let go of it when
//! the signs that it is lost have been seen often enough.

use std::sync::Arc;

use tokio::time::Instant;
use tollway_core::UnixTime;
use tollway_evm::{Transaction, are_used};

use crate::flight::{Flight, Signs};
use crate::gas::Fees;
use crate::journal::{Progress, Row};
use crate::lane::{Lane, UNKNOWN_BREAKS};
use crate::phase::late::Unused;
use crate::phase::send::{NotSent, Offered, offer, sign, write_down};

/// How often in a row a sign that the transaction is lost must be seen before it is believed: nodes behind one URL
/// do not all know the same.
const MISSES: u32 = 5;

/// Why a transaction counts as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    NonceUsed,
    NonceAhead,
    Refused,
    Expired,
}

impl Lost {
    const fn text(self) -> &'static str {
        match self {
            Self::NonceUsed => "its nonce is used by another transaction of the lane's key",
            Self::NonceAhead => "its nonce is ahead of the account's",
            Self::Refused => "no node takes it",
            Self::Expired => "the authorization expired before it was included",
        }
    }
}

impl Signs {
    fn lost(&self) -> Option<Lost> {
        let signs = [
            (self.nonce_used, Lost::NonceUsed),
            // The chain has lost what came before: another node, or a development chain begun anew.
            (self.nonce_ahead, Lost::NonceAhead),
            (self.expired, Lost::Expired),
            (self.refused, Lost::Refused),
        ];
        signs.into_iter().find(|(seen, _)| *seen >= MISSES).map(|(_, why)| why)
    }
}

impl Lane {
    /// Sends what is open again, and asks what speaks against its inclusion.
    pub(crate) async fn look(&mut self) {
        self.look_at = Instant::now() + self.core.limits.rebroadcast_every;
        // A receipt may have been missed.
        self.network.watcher.look_again();
        if !self.may_sign() {
            return;
        }
        let mut first = None;
        for flight in self.open.values() {
            let Some(version) = flight.latest() else { continue };
            let offered = offer(self.chain(), &version.signed.raw).await;
            first.get_or_insert((flight.nonce, offered));
        }
        let Some((nonce, offered)) = first else { return };
        let Some(lost) = self.signs(nonce, &offered).await else {
            return self.bump(nonce).await;
        };
        if let Some(flight) = self.open.remove(&nonce) {
            self.let_go_of(flight, lost).await;
        }
    }

    /// What speaks against the inclusion of the lowest nonce.
    async fn signs(&mut self, nonce: u64, offered: &Offered) -> Option<Lost> {
        let flight = self.open.get(&nonce)?;
        let address = self.state.address();
        let account = self.chain().nonce(address).await.ok()?;
        let head = self.chain().head().await.ok()?;
        let hashes: Vec<_> = flight.versions.iter().map(|version| version.signed.hash).collect();
        let is_known = self.chain().transactions_known(&hashes).await.ok()?.contains(&true);
        let is_expired = |row: &Arc<Row>| row.payment.expires() <= UnixTime(head.timestamp);
        let is_waiting = account <= nonce;
        let flight = self.open.get_mut(&nonce)?;
        let all_expired = !flight.rows.is_empty() && flight.rows.iter().all(is_expired);
        let signs = &mut flight.signs;
        count(&mut signs.nonce_used, account > nonce);
        count(&mut signs.nonce_ahead, account < nonce);
        if account < nonce {
            // What came before it may have been taken back.
            self.breaks = UNKNOWN_BREAKS;
        }
        count(&mut signs.refused, is_waiting && !is_known && *offered != Offered::Taken);
        count(&mut signs.expired, is_waiting && all_expired);
        signs.lost()
    }

    /// Ends the payments of a transaction that counts as lost, each by what the token says of it.
    async fn let_go_of(&mut self, flight: Flight, why: Lost) {
        let Flight { nonce, rows, versions, .. } = flight;
        let Some(transaction) = versions.last().map(|version| version.signed.hash) else { return };
        let message = format!("transaction {transaction} was not included: {}", why.text());
        tracing::error!(network = %self.chain().network(), %message, payments = rows.len(), "let go of");
        self.lose(versions);
        let lost = self.take_lost();
        self.forget_nonce();
        let open: Vec<Arc<Row>> = rows.into_iter().filter(|row| !row.progress().is_over()).collect();
        if why == Lost::Expired && self.are_unused(&open).await {
            // Nothing took the nonce; the old transaction may still hold it in somebody's pool.
            self.nonce = Some(nonce);
            self.raise_floor(nonce).await;
        }
        self.core.journal.write(Vec::new(), lost).await;
        for row in open {
            let unused = match why {
                // Only the expiry is the payment's own.
                Lost::Expired => Unused::Expired { message: message.clone() },
                // It was accepted, and may have been told settled before its block was taken back: it is settled by
                // another transaction. Should the lost one be included after all, only one of them moves money.
                Lost::NonceAhead | Lost::NonceUsed | Lost::Refused => Unused::Settle,
            };
            self.core.chase(&self.network, &row, unused);
        }
    }

    async fn are_unused(&self, rows: &[Arc<Row>]) -> bool {
        let payments: Vec<_> = rows.iter().map(|row| &row.payment).collect();
        let used = are_used(self.chain(), &payments).await;
        used.is_ok_and(|used| used.iter().all(|used| *used == Some(false)))
    }

    /// Offers more for what waits too long: the same nonce and the same call.
    async fn bump(&mut self, nonce: u64) {
        let limits = &self.core.limits;
        let Some(flight) = self.open.get(&nonce) else { return };
        if flight.sent_at.elapsed() < limits.bump_after {
            return;
        }
        let Some(version) = flight.latest().cloned() else { return };
        let network = self.chain().network().clone();
        let transaction = version.signed.hash;
        if flight.bumps >= limits.max_bumps {
            tracing::error!(%network, %transaction, bumps = flight.bumps, "waits although it offers more and more");
            return;
        }
        let Some(unsigned) = Transaction::decode(&version.signed.raw) else { return };
        let suggested = match self.network.gas.fees(self.chain()).await {
            Ok(fees) => fees,
            // Sent again as it is, for as long as gas costs more than the operator pays.
            Err(error) => {
                tracing::error!(%network, %transaction, %error, "cannot offer more");
                return;
            }
        };
        let limit = limits.max_fee_per_gas;
        let fees = suggested.at_least(version.fees.raised(), limit);
        if !is_enough(fees, version.fees) {
            tracing::error!(%network, %transaction, %limit, "the limit on fees allows no more");
            return;
        }
        let unsigned = Transaction {
            max_fee_per_gas: fees.max_fee_per_gas,
            max_priority_fee_per_gas: fees.max_priority_fee_per_gas,
            ..unsigned
        };
        if let Err(error) = self.replace(nonce, unsigned).await {
            tracing::error!(%network, %transaction, %error, "not replaced");
        }
    }

    async fn replace(&mut self, nonce: u64, unsigned: Transaction) -> Result<(), NotSent> {
        let Some(flight) = self.open.get(&nonce) else { return Ok(()) };
        let mut rows: Vec<Arc<Row>> =
            flight.rows.iter().filter(|row| !row.progress().is_over()).map(Arc::clone).collect();
        let version = sign(self, unsigned).await?;
        loop {
            match write_down(self, &rows, &version, "replacement").await {
                Ok(()) => break,
                Err(NotSent::Stale(keys)) => {
                    // What is in the call stays in it; whose payments they are is another matter.
                    let (gone, left) = rows.into_iter().partition::<Vec<_>, _>(|row| keys.contains(&row.key));
                    if gone.is_empty() {
                        return Err(NotSent::Stale(keys));
                    }
                    gone.iter().for_each(|row| self.core.journal.deny(row, Progress::Elsewhere));
                    rows = left;
                }
                Err(error) => {
                    if matches!(error, NotSent::Fenced | NotSent::Halted) {
                        self.fenced();
                    }
                    return Err(error);
                }
            }
        }
        let (network, transaction) = (self.chain().network().clone(), version.signed.hash);
        tracing::warn!(%network, %transaction, fee = version.fees.max_fee_per_gas, "replaced by one that offers more");
        offer(self.chain(), &version.signed.raw).await;
        if let Some(flight) = self.open.get_mut(&nonce) {
            flight.rows.retain(|row| rows.iter().any(|left| Arc::ptr_eq(left, row)));
            flight.versions.push(version);
            flight.sent_at = Instant::now();
            flight.bumps += 1;
        }
        self.network.watcher.hurry();
        Ok(())
    }
}

/// Whether a pool would replace the one by the other.
fn is_enough(fees: Fees, before: Fees) -> bool {
    let enough = |fee: u128, before: u128| fee >= before.saturating_add(before / 10);
    enough(fees.max_fee_per_gas, before.max_fee_per_gas)
        && enough(fees.max_priority_fee_per_gas, before.max_priority_fee_per_gas)
}

fn count(seen: &mut u32, is_seen: bool) {
    *seen = if is_seen { *seen + 1 } else { 0 };
}
