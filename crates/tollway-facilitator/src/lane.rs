//! A lane: one funded key on one network and its nonce sequence. It holds at most one nonce that is not included, so a
//! gap cannot arise; what queues up meanwhile goes into the next transaction together.
//!
//! Here is what a lane does while this process holds it, event by event. How a transaction is made and sent is in
//! `phase/send.rs`; what is done about one that is not included, in `stuck.rs`; who holds which lane, in `steward.rs`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use alloy_rpc_types_eth::TransactionReceipt;
use metrics::histogram;
use tokio::time::{Instant, sleep, sleep_until};
use tollway_core::{ErrorCode, Refusal};
use tollway_evm::{Chain, ChainError, Payment, Signer, Verdict};
use tollway_ledger::{LaneLease, SettlementState, TransactionChange, TransactionState};

use crate::core::Core;
use crate::evm_network::EvmNetwork;
use crate::flight::{Flight, Landed, Version};
use crate::gas::Fees;
use crate::inclusion::Inclusion;
use crate::journal::{Journal, Progress, Row};
use crate::lane_state::LaneState;
use crate::phase::late::Unused;
use crate::phase::prove::settled_by;
use crate::phase::send::{NotSent, offer, send};
use crate::phase::simulate::simulate;
use crate::telemetry::BATCH_SIZE;
use crate::watch::{View, receipts_of};

/// How often what is left of a batch is simulated again after members were dropped.
const SIMULATIONS: usize = 3;
/// How often a batch is signed again without members that turned out to be another process's.
const STALE: usize = 3;
/// What no view ever says: what is included is looked at again with the next one.
pub(crate) const UNKNOWN_BREAKS: u64 = u64::MAX;
/// How often a lane that may not take payments looks whether it may.
const RECONSIDER: Duration = Duration::from_millis(50);

/// A lane that this process holds.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) core: Arc<Core>,
    pub(crate) network: Arc<EvmNetwork>,
    pub(crate) state: Arc<LaneState>,
    lease: LaneLease,
    /// What is not included, by nonce: one at most, unless blocks were taken back.
    pub(crate) open: BTreeMap<u64, Flight>,
    /// What is included and not final.
    landed: Vec<Landed>,
    pub(crate) nonce: Option<u64>,
    /// When what is open is sent again, and asked after.
    pub(crate) look_at: Instant,
    /// What a transaction with this nonce must offer at least, to displace one that holds it.
    floor: Option<(u64, Fees)>,
    /// What the ledger is still to be told of transactions.
    lost: Vec<Version>,
    pub(crate) breaks: u64,
    /// The block at which what is included was last looked at.
    head: u64,
    is_fenced: bool,
}

/// The lane's task: waits for a lease, serves it until it ends, and waits again.
pub(crate) async fn run(core: Arc<Core>, network: Arc<EvmNetwork>, state: Arc<LaneState>) {
    let _running = state.running();
    let mut leases = state.leases();
    loop {
        let Ok(lease) = leases.wait_for(Option::is_some).await.map(|lease| lease.clone()) else { return };
        let Some(lease) = lease else { continue };
        let mut lane = Lane::new(Arc::clone(&core), Arc::clone(&network), Arc::clone(&state), lease);
        lane.serve().await;
        lane.let_go();
        state.ended();
    }
}

impl Lane {
    fn new(core: Arc<Core>, network: Arc<EvmNetwork>, state: Arc<LaneState>, lease: LaneLease) -> Self {
        Self {
            core,
            network,
            state,
            lease,
            open: BTreeMap::new(),
            landed: Vec::new(),
            nonce: None,
            look_at: Instant::now(),
            floor: None,
            lost: Vec::new(),
            breaks: 0,
            head: 0,
            is_fenced: false,
        }
    }

    async fn serve(&mut self) {
        if !self.resume().await {
            return;
        }
        let (queue, lane) = (Arc::clone(&self.network.queue), self.state.address());
        let errands = Arc::clone(&self.network);
        let mut views = self.network.watcher.views();
        views.mark_changed();
        while !self.is_fenced && !self.core.member.is_superseded() {
            let is_idle = self.open.is_empty();
            if is_idle && self.state.is_asked_back() {
                if self.give_back().await {
                    return;
                }
                sleep(RECONSIDER).await;
            }
            let may_take = is_idle && self.may_sign() && self.state.can_pay() && !self.state.is_asked_back();
            let wake = if is_idle { Instant::now() + RECONSIDER } else { self.look_at };
            tokio::select! {
                biased;
                changed = views.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let view = Arc::clone(&views.borrow_and_update());
                    self.on_view(&view).await;
                }
                errand = errands.errands.take(), if may_take => self.fund(errand).await,
                rows = queue.take(self.core.limits.batch, lane), if may_take => self.settle(rows).await,
                () = self.state.asked() => {}
                () = sleep_until(wake), if !is_idle || !may_take => {
                    if !is_idle {
                        self.look().await;
                    }
                }
            }
        }
    }

    /// Takes up what whoever had the lane before has left: it is sent again before anything new is signed. False: the
    /// lane is another's, or the ledger does not tell.
    async fn resume(&mut self) -> bool {
        let now = self.core.clock.now();
        let found = match self.journal().ledger().lane_transactions(&self.lease, now).await {
            Ok(Some(found)) => found,
            Ok(None) => return false,
            Err(error) => {
                tracing::error!(network = %self.chain().network(), %error, "a lane's transactions are not known");
                sleep(Duration::from_secs(1)).await;
                return false;
            }
        };
        for (transaction, settlements) in found {
            let Some(version) = Version::read(&transaction.signed) else {
                tracing::error!(hash = %transaction.signed.hash, "a transaction in the ledger cannot be read");
                continue;
            };
            let flight = self
                .open
                .entry(version.nonce)
                .or_insert_with(|| Flight::new(version.nonce, Vec::new(), Vec::new()));
            self.state.track(version.signed.hash);
            self.network.watcher.follow(version.signed.hash);
            flight.versions.push(version);
            for settlement in settlements {
                if flight.rows.iter().all(|row| row.key != settlement.key)
                    && let Some(row) = self.core.journal.adopt(&settlement)
                {
                    flight.rows.push(row);
                }
            }
        }
        if !self.open.is_empty() {
            let (transactions, network) = (self.open.len(), self.chain().network());
            tracing::info!(%network, lane = %self.state.address(), transactions, "taken over");
        }
        self.network.watcher.look_again();
        self.land_known().await;
        for flight in self.open.values() {
            if let Some(version) = flight.latest() {
                offer(self.chain(), &version.signed.raw).await;
            }
        }
        self.network.watcher.hurry();
        self.look_at = Instant::now() + self.core.limits.rebroadcast_every;
        true
    }

    /// What is included already need not be sent again.
    async fn land_known(&mut self) {
        let hashes: Vec<B256> =
            self.open.values().flat_map(|flight| &flight.versions).map(|v| v.signed.hash).collect();
        if hashes.is_empty() {
            return;
        }
        let (Ok(receipts), Ok(head)) = tokio::join!(receipts_of(self.chain(), &hashes), self.chain().head())
        else {
            return;
        };
        let receipts =
            receipts.into_iter().map(|receipt| (receipt.transaction_hash, Arc::new(receipt))).collect();
        let view = View { head: Some(head), receipts, breaks: self.breaks };
        self.land(&view).await;
    }

    /// A block has come, or a receipt.
    async fn on_view(&mut self, view: &View) {
        let Some(head) = view.head else { return };
        self.land(view).await;
        // What was only preconfirmed is confirmed by the block.
        let is_unsure =
            self.network.profile.inclusion == Inclusion::Preconfirmation && head.number != self.head;
        if view.breaks != self.breaks || is_unsure {
            // Nothing counts its confirmations before it is known to be still there.
            if !self.recheck(head.number).await {
                return;
            }
            self.breaks = view.breaks;
            self.head = head.number;
        }
        self.tell(head.number).await;
        self.finalize(head.number).await;
    }

    /// Those that are in a block now.
    async fn land(&mut self, view: &View) {
        let nonces: Vec<u64> = self.open.keys().copied().collect();
        for nonce in nonces {
            let Some(flight) = self.open.get(&nonce) else { continue };
            let receipt = flight.versions.iter().find_map(|version| view.receipts.get(&version.signed.hash));
            let Some(receipt) = receipt.map(Arc::clone) else { continue };
            let Some(flight) = self.open.remove(&nonce) else { continue };
            for version in &flight.versions {
                self.network.watcher.leave(version.signed.hash);
            }
            // From here on the balance on chain tells.
            flight.rows.iter().for_each(|row| self.core.journal.exposure.release(&row.payment));
            self.network.watcher.unfinal_began();
            self.nonce = Some(self.nonce.unwrap_or_default().max(nonce + 1));
            self.correct(&flight.rows, &receipt);
            let mut landed = flight.land(Arc::clone(&receipt));
            // Told by a process that did not live to see it in another block.
            if landed.is_told_of_another_block() {
                self.moved(&mut landed, receipt).await;
            }
            if landed.untold.iter().any(|row| row.confirmations > 0) || landed.untold.is_empty() {
                let changes = landed.changes(TransactionState::Included);
                self.landed.push(landed);
                self.core.journal.write(Vec::new(), changes).await;
            } else {
                self.landed.push(landed);
            }
        }
    }

    /// Those that were told failed, and paid in another block.
    fn correct(&self, rows: &[Arc<Row>], receipt: &TransactionReceipt) {
        for row in rows {
            if matches!(row.progress(), Progress::Ended(SettlementState::Failed { .. }))
                && settled_by(&row.payment, receipt).is_some()
            {
                self.core.correct(&self.network, row);
            }
        }
    }

    /// Tells what has enough blocks on top.
    async fn tell(&mut self, head: u64) {
        let (mut changes, mut transactions, mut unproved) = (Vec::new(), Vec::new(), Vec::new());
        for landed in &mut self.landed {
            if landed.untold.is_empty() {
                continue;
            }
            let has_succeeded = landed.receipt.as_ref().is_some_and(|receipt| receipt.status());
            let mature = landed.mature(head);
            if mature.is_empty() {
                continue;
            }
            transactions.extend(landed.changes(TransactionState::Included));
            for (row, settled) in mature {
                match settled {
                    Some(settled) => changes.push((row, settled)),
                    None => unproved.push((row, landed.transaction, has_succeeded)),
                }
            }
        }
        self.core.journal.write(changes, transactions).await;
        for (row, transaction, has_succeeded) in unproved {
            self.core.score_reverted(&row);
            self.core.chase(&self.network, &row, moved_nothing(transaction, has_succeeded));
        }
    }

    /// What can no longer be taken back. Depth alone is no proof of it: a look at what blocks were taken back may have
    /// failed, or met a node that lagged behind. So the receipt is asked for once more.
    async fn finalize(&mut self, head: u64) {
        let depth = self.network.profile.final_depth;
        let is_deep =
            |landed: &Landed| landed.untold.is_empty() && head >= landed.block_number.saturating_add(depth);
        let (deep, rest) = std::mem::take(&mut self.landed).into_iter().partition::<Vec<_>, _>(is_deep);
        self.landed = rest;
        let hashes: Vec<B256> = deep.iter().map(|landed| landed.transaction).collect();
        let Ok(receipts) = receipts_of(self.chain(), &hashes).await else {
            return self.landed.extend(deep);
        };
        let is_there = |landed: &Landed| {
            receipts.iter().any(|receipt| {
                receipt.transaction_hash == landed.transaction
                    && receipt.block_hash == Some(landed.block_hash)
            })
        };
        let (done, doubtful) = deep.into_iter().partition::<Vec<_>, _>(is_there);
        if !doubtful.is_empty() {
            self.breaks = UNKNOWN_BREAKS;
            self.landed.extend(doubtful);
        }
        let (mut changes, mut transactions) = (Vec::new(), Vec::new());
        for landed in done {
            self.network.watcher.unfinal_ended();
            for version in &landed.flight.versions {
                self.state.untrack(version.signed.hash);
            }
            transactions.extend(landed.changes(TransactionState::Final));
            for row in landed.flight.rows {
                if let Progress::Ended(SettlementState::Settled {
                    transaction,
                    log_index,
                    block_number,
                    block_hash,
                    ..
                }) = row.progress()
                    && transaction == landed.transaction.to_string()
                {
                    let settled = SettlementState::Settled {
                        transaction,
                        log_index,
                        block_number,
                        block_hash,
                        is_final: true,
                    };
                    changes.push((row, settled));
                }
            }
        }
        self.core.journal.write(changes, transactions).await;
    }

    /// Blocks were taken back, or missed: what is included is looked at again. False: the node did not tell.
    async fn recheck(&mut self, head: u64) -> bool {
        let hashes: Vec<B256> = self.landed.iter().map(|landed| landed.transaction).collect();
        if hashes.is_empty() {
            return true;
        }
        let Ok(receipts) = receipts_of(self.chain(), &hashes).await else { return false };
        let receipts: HashMap<B256, _> =
            receipts.into_iter().map(|receipt| (receipt.transaction_hash, Arc::new(receipt))).collect();
        let (mut kept, mut is_sure) = (Vec::new(), true);
        for mut landed in std::mem::take(&mut self.landed) {
            match receipts.get(&landed.transaction) {
                Some(receipt) if receipt.block_hash == Some(landed.block_hash) => {}
                Some(receipt) => self.moved(&mut landed, Arc::clone(receipt)).await,
                None => match self.is_gone(&landed, head).await {
                    Some(true) => {
                        self.taken_back(landed).await;
                        continue;
                    }
                    Some(false) => {}
                    None => is_sure = false,
                },
            }
            kept.push(landed);
        }
        self.landed.append(&mut kept);
        is_sure
    }

    /// Whether the block of a transaction without a receipt was taken back; none if nobody knows.
    async fn is_gone(&self, landed: &Landed, head: u64) -> Option<bool> {
        match self.chain().block_by_number(landed.block_number).await {
            // The block is there and the receipt is not: the two answers are not of one node.
            Ok(Some(block)) => (block.hash != landed.block_hash).then_some(true),
            // Of a block that was only announced nothing is known yet.
            Ok(None) if self.network.profile.inclusion == Inclusion::Preconfirmation => Some(false),
            // The chain is shorter now, or the node lags behind.
            Ok(None) => (head < landed.block_number).then_some(true),
            Err(_) => None,
        }
    }

    /// It is in another block now: the proof is another.
    async fn moved(&mut self, landed: &mut Landed, receipt: Arc<TransactionReceipt>) {
        let network = self.chain().network();
        tracing::warn!(%network, transaction = %landed.transaction, "included in another block after a reorganisation");
        landed.block_number = receipt.block_number.unwrap_or_default();
        landed.block_hash = receipt.block_hash.unwrap_or_default();
        self.correct(&landed.flight.rows, &receipt);
        let was_told = |row: &&Arc<Row>| landed.has_settled(row);
        let again: Vec<Arc<Row>> = landed.flight.rows.iter().filter(was_told).map(Arc::clone).collect();
        let (mut changes, mut lost) = (Vec::new(), Vec::new());
        for row in again {
            match settled_by(&row.payment, &receipt) {
                Some(settled) => changes.push((row, settled)),
                None => lost.push(row),
            }
        }
        let transaction = landed.transaction.to_string();
        for row in &lost {
            changes.push((Arc::clone(row), SettlementState::Sent { transaction: transaction.clone() }));
            self.core.journal.reopen(row);
        }
        self.core.journal.write(changes, Vec::new()).await;
        if !landed.untold.is_empty() {
            landed.receipt = Some(Arc::clone(&receipt));
        }
        for row in lost {
            self.core.chase(&self.network, &row, moved_nothing(landed.transaction, receipt.status()));
        }
    }

    /// Its block is gone, and it is in no other: on its way again.
    async fn taken_back(&mut self, landed: Landed) {
        let network = self.chain().network();
        tracing::warn!(%network, transaction = %landed.transaction, "taken back by a reorganisation");
        self.network.watcher.unfinal_ended();
        let mut changes = Vec::new();
        for row in landed.flight.rows.iter().filter(|row| landed.has_settled(row)) {
            self.core.journal.reopen(row);
            let sent = SettlementState::Sent { transaction: landed.transaction.to_string() };
            changes.push((Arc::clone(row), sent));
        }
        let Landed { flight, .. } = landed;
        let all = flight.versions.iter().map(|version| version.change(TransactionState::Open)).collect();
        self.core.journal.write(changes, all).await;
        let mut flight = Flight::new(flight.nonce, flight.rows, flight.versions);
        // What failed in the block that is gone may pay in the next.
        let may_pay = |row: &Row| match row.progress() {
            Progress::Ended(state) => matches!(state, SettlementState::Failed { .. }),
            progress => !progress.is_over(),
        };
        flight.rows.retain(|row| may_pay(row));
        for version in &flight.versions {
            self.network.watcher.follow(version.signed.hash);
        }
        self.open.insert(flight.nonce, flight);
        self.network.watcher.look_again();
        // At once, in the order of their nonces.
        self.look_at = Instant::now();
    }

    /// Settles what came from the queue.
    async fn settle(&mut self, mut rows: Vec<Arc<Row>>) {
        rows.retain(|row| row.claim());
        for _ in 0..STALE {
            let ready = self.ready(&rows).await;
            if ready.is_empty() {
                return;
            }
            match send(self, &ready).await {
                Ok(flight) => return self.sent(flight),
                Err(NotSent::Stale(keys)) => {
                    let (gone, left) =
                        ready.into_iter().partition::<Vec<_>, _>(|row| keys.contains(&row.key));
                    gone.iter().for_each(|row| self.core.journal.deny(row, Progress::Elsewhere));
                    rows = left;
                }
                Err(error @ (NotSent::Fenced | NotSent::Halted)) => {
                    tracing::error!(network = %self.chain().network(), %error, "the lane is given up");
                    self.is_fenced = true;
                    let is_written = matches!(error, NotSent::Halted);
                    for row in ready {
                        row.unclaim();
                        if is_written {
                            self.core.journal.deny(&row, Progress::Elsewhere);
                        } else {
                            self.network.queue.put_back(row);
                        }
                    }
                    return;
                }
                Err(error) => return self.give_up(ready, &error).await,
            }
        }
        self.give_up(rows, &NotSent::Unwritten).await;
    }

    pub(crate) fn sent(&mut self, flight: Flight) {
        let Some(transaction) = flight.latest().map(|version| version.signed.hash) else { return };
        let (network, payments) = (self.chain().network(), flight.rows.len());
        tracing::info!(%network, %transaction, payments, "sent");
        if payments > 0 {
            #[expect(clippy::cast_precision_loss, reason = "a histogram takes floats; a batch is small")]
            histogram!(BATCH_SIZE, "network" => network.as_str().to_owned()).record(payments as f64);
        }
        self.look_at = Instant::now() + self.core.limits.rebroadcast_every;
        self.open.insert(flight.nonce, flight);
        self.network.watcher.hurry();
    }

    /// Those of `rows` that would still settle now, in one transaction together. The queue took time, and what one
    /// payer's balance covers alone it may not cover twice: gas is spent on nothing that is known to fail.
    async fn ready(&self, rows: &[Arc<Row>]) -> Vec<Arc<Row>> {
        let mut open = Vec::with_capacity(rows.len());
        for row in rows {
            match row.payment.check_window(self.core.clock.now()) {
                Ok(()) => open.push(Arc::clone(row)),
                Err(refusal) => self.refuse(row, refusal).await,
            }
        }
        // What was found good on this very block is not run on it again. Each payer's balance was held against all that
        // it has in flight.
        let block = self.network.watcher.block();
        if open.iter().all(|row| row.is_simulated_on(block)) {
            return open;
        }
        // What is left is judged again without those that were dropped: some of them ran in the simulation all the
        // same, and will not in the transaction.
        for _ in 0..SIMULATIONS {
            if open.is_empty() {
                break;
            }
            let payments: Vec<&Payment> = open.iter().map(|row| &row.payment).collect();
            let verdicts = match simulate(self.chain(), self.state.address(), &payments).await {
                Ok(verdicts) => verdicts,
                Err(error) => {
                    let message = match error {
                        tollway_core::FacilitatorError::Busy(message) => message,
                        other => other.to_string(),
                    };
                    self.abandon(open, &message, Vec::new()).await;
                    return Vec::new();
                }
            };
            let verdicts = self.part(&mut open, verdicts);
            if verdicts.iter().all(Result::is_ok) {
                return open;
            }
            let mut left = Vec::with_capacity(open.len());
            for (row, verdict) in open.into_iter().zip(verdicts) {
                match verdict {
                    Ok(_) => left.push(row),
                    Err(refusal) => self.refuse(&row, refusal).await,
                }
            }
            open = left;
        }
        open
    }

    /// Those of several whose payers have got code since they queued go back: each of them goes alone.
    fn part(&self, open: &mut Vec<Arc<Row>>, verdicts: Vec<Verdict>) -> Vec<Verdict> {
        if open.len() < 2 {
            return verdicts;
        }
        let has_code = |verdict: &Verdict| verdict.as_ref().is_ok_and(|funds| funds.payer_has_code);
        let (back, stay) = std::mem::take(open)
            .into_iter()
            .zip(verdicts)
            .partition::<Vec<_>, _>(|(_, verdict)| has_code(verdict));
        for (row, _) in back {
            row.keep_alone();
            row.unclaim();
            self.network.queue.put_back(row);
        }
        let (rows, verdicts) = stay.into_iter().unzip();
        *open = rows;
        verdicts
    }

    /// A reserved payment that will not settle by this lane. It was unused when it was accepted: if it is used now, the
    /// money may be where it should be.
    async fn refuse(&self, row: &Arc<Row>, refusal: Refusal) {
        let is_used = row.payment.is_refused_as_used(&refusal);
        let (code, message) = (refusal.code.clone(), refusal.to_string());
        if !is_used && row.transactions().is_empty() {
            self.core.score.failed(row.payment.payer());
            let failed = SettlementState::Failed { code: code.as_str().to_owned(), message };
            return self.core.journal.finish(row, failed).await;
        }
        self.core.chase(&self.network, row, Unused::Fail { code, message });
    }

    /// Nothing is out: the payments may be presented again.
    async fn give_up(&mut self, rows: Vec<Arc<Row>>, error: &NotSent) {
        tracing::error!(network = %self.chain().network(), %error, payments = rows.len(), "not sent");
        self.forget_nonce();
        if matches!(error, NotSent::Rejected(words) if words.contains("insufficient")) {
            self.state.set_broke();
        }
        let lost = self.take_lost();
        self.abandon(rows, "the facilitator could not send the transaction", lost).await;
    }

    /// Ends payments for which nothing was ever signed. Of the others something may be out, or was included and taken
    /// back: they are followed, and settled if they still can be.
    async fn abandon(&self, rows: Vec<Arc<Row>>, message: &str, transactions: Vec<TransactionChange>) {
        let (signed, unsigned) =
            rows.into_iter().partition::<Vec<_>, _>(|row| !row.transactions().is_empty());
        let abandoned = |row| (row, SettlementState::Abandoned { message: message.to_owned() });
        self.core.journal.write(unsigned.into_iter().map(abandoned).collect(), transactions).await;
        for row in signed {
            self.core.chase(&self.network, &row, Unused::Settle);
        }
    }

    /// Gives the lane back: another process may have it. False: the ledger did not take it, and it is served on.
    async fn give_back(&mut self) -> bool {
        let lost = self.take_lost();
        self.core.journal.write(Vec::new(), lost).await;
        let released = self.journal().ledger().lane_release(&self.lease).await;
        if let Err(error) = &released {
            tracing::warn!(network = %self.chain().network(), %error, "a lane was not given back");
        }
        released.is_ok()
    }

    /// Follows nothing any more: who has the lane next does.
    fn let_go(&mut self) {
        for flight in std::mem::take(&mut self.open).into_values() {
            for version in &flight.versions {
                self.network.watcher.leave(version.signed.hash);
                self.state.untrack(version.signed.hash);
            }
            flight.rows.iter().for_each(|row| self.core.journal.deny(row, Progress::Elsewhere));
        }
        for landed in std::mem::take(&mut self.landed) {
            self.network.watcher.unfinal_ended();
            landed.flight.versions.iter().for_each(|version| self.state.untrack(version.signed.hash));
            landed.untold.iter().for_each(|row| self.core.journal.deny(row, Progress::Elsewhere));
        }
    }

    /// Whether this process may sign and send now.
    pub(crate) fn may_sign(&self) -> bool {
        self.core.member.is_current() && !self.is_fenced
    }

    pub(crate) fn fenced(&mut self) {
        self.is_fenced = true;
    }

    pub(crate) fn chain(&self) -> &Chain {
        &self.network.chain
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.core.journal
    }

    pub(crate) fn signer(&self) -> &dyn Signer {
        self.state.signer()
    }

    pub(crate) const fn lease(&self) -> &LaneLease {
        &self.lease
    }

    /// This is written down, and about to be sent.
    pub(crate) fn follow(&self, version: &Version) {
        self.state.track(version.signed.hash);
        self.network.watcher.follow(version.signed.hash);
    }

    /// These are not out, or will never be included. The ledger is told with the next that it is told.
    pub(crate) fn lose(&mut self, versions: Vec<Version>) {
        for version in &versions {
            self.network.watcher.leave(version.signed.hash);
            self.state.untrack(version.signed.hash);
        }
        self.lost.extend(versions);
    }

    pub(crate) fn take_lost(&mut self) -> Vec<TransactionChange> {
        self.lost.drain(..).map(|version| version.change(TransactionState::Lost)).collect()
    }

    /// The next nonce of the lane's key.
    pub(crate) async fn next_nonce(&mut self) -> Result<u64, ChainError> {
        if let Some(nonce) = self.nonce {
            return Ok(nonce);
        }
        let nonce = self.chain().nonce(self.state.address()).await?;
        self.nonce = Some(nonce);
        Ok(nonce)
    }

    /// Asks the node for the nonce next time.
    pub(crate) const fn forget_nonce(&mut self) {
        self.nonce = None;
    }

    /// What to offer for gas with `nonce`: as much as is suggested; more if another transaction holds the nonce.
    pub(crate) async fn fees(&mut self, nonce: u64) -> Result<Fees, NotSent> {
        let suggested = self.network.gas.fees(self.chain()).await?;
        let limit = self.core.limits.max_fee_per_gas;
        Ok(match self.floor {
            Some((held, floor)) if held == nonce => suggested.at_least(floor, limit),
            _ => suggested,
        })
    }

    /// A pool gives `nonce` to another transaction only for a tenth more; an eighth is surely enough. Not without
    /// end: beyond ten times what is usual, whoever holds the nonce may keep it.
    pub(crate) async fn raise_floor(&mut self, nonce: u64) {
        let Some(usual) = self.network.gas.last_fees().await else { return };
        let held = match self.floor {
            Some((held, floor)) if held == nonce => floor,
            _ => usual,
        };
        self.floor = Some((nonce, held.raised().at_most_tenfold(usual)));
    }
}

/// What a payment is whose transaction is in a block and did not pay, if the authorization is unused.
fn moved_nothing(transaction: B256, has_succeeded: bool) -> Unused {
    match has_succeeded {
        true => Unused::Fail {
            code: ErrorCode::INVALID_EXACT_EVM_TRANSFER_EVENT_MISMATCH,
            message: format!("transaction {transaction} holds no transfer of this payment"),
        },
        false => Unused::Fail {
            code: ErrorCode::INVALID_TRANSACTION_STATE,
            message: format!("transaction {transaction} reverted"),
        },
    }
}
