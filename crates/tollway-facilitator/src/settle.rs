//! One payment to be settled, from the request to the answer. Driving it is a task of its own: a caller who hangs up
//! changes nothing. What is asked again is answered from the journal; what another process drives, from the ledger.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::Bytes;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tollway_core::model::{FacilitatorRequest, SettleResponse};
use tollway_core::{AuthorizationKey, ErrorCode, FacilitatorError, Network, Refusal};
use tollway_evm::{Payment, Trouble};
use tollway_ledger::{Advance, LedgerError, Member, Role, Settlement, SettlementId, SettlementState};

use crate::approval::{NotApproved, bring, judge as judge_on_chain};
use crate::core::Core;
use crate::evm_network::EvmNetwork;
use crate::journal::{Accepted, Begun, Progress, Row, timed};
use crate::phase::late::Unused;
use crate::phase::simulate::SimulatedAt;
use crate::phase::{admission, approval, attribution, check, code, matching};
use crate::queue::Place;

/// How long a lane that has claimed a payment may take to simulate and sign: then the transaction's hash is known.
const CLAIM_GRACE: Duration = Duration::from_secs(10);
/// How often the ledger is asked about what another process drives.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// How often a write whose answer was lost is looked for before it counts as not made: for longer than the ledger could
/// still be at it.
const LOOKS: u32 = 6;

const OTHER: &str = "must be unused: the payer signed another authorization with the same nonce";
const IN_DOUBT: &str = "the authorization is presented with another signature just now: ask again";
const NO_LANE: &str = "no lane was free in time";

/// A payment that breaks no rule that can be told without chain or clock, and how deep its block must be. All that is
/// left of a request: there may be thousands that wait for a block.
#[derive(Debug)]
pub(crate) struct Candidate<'a> {
    network: &'a Arc<EvmNetwork>,
    payment: Payment,
    confirmations: u32,
    /// What goes behind its calldata.
    suffix: Bytes,
}

/// What a caller asks for beside the payment: how deep its block must be, and until when it waits.
#[derive(Clone, Copy)]
struct Wish<'a> {
    network: &'a EvmNetwork,
    confirmations: u32,
    deadline: Instant,
}

impl Wish<'_> {
    /// Whether a payment that is over is what the caller asks for: settled, and deep enough.
    async fn is_met_by(&self, known: &Settlement) -> bool {
        let SettlementState::Settled { block_number, is_final, .. } = known.state else { return true };
        if is_final || self.confirmations <= known.confirmations {
            return true;
        }
        let head = self.network.chain.head().await;
        head.is_ok_and(|head| head.number.saturating_sub(block_number) >= u64::from(self.confirmations))
    }
}

/// The rules that can be told without chain or clock.
pub(crate) fn judge<'a>(
    core: &'a Core,
    request: &FacilitatorRequest,
) -> Result<Box<Candidate<'a>>, Box<SettleResponse>> {
    let judged = || {
        let network = matching::find(&core.networks, request)?;
        let payment = check::check_at_any_time(request, network)?;
        code::allow(&payment, &core.limits)?;
        candidate(core, network, request, payment)
    };
    judged().map_err(|refusal| Box::new(refused_on(&request.requirements.network, refusal)))
}

/// The same, of a payment that was read and whose own rules hold.
pub(crate) fn candidate<'a>(
    core: &Core,
    network: &'a Arc<EvmNetwork>,
    request: &FacilitatorRequest,
    mut payment: Payment,
) -> Result<Box<Candidate<'a>>, Refusal> {
    approval::take(&mut payment, request, network, &core.limits)?;
    admission::admit(network, &payment)?;
    admission::complete(&payment)?;
    let confirmations = network.profile.confirmations(&request.requirements)?;
    let suffix = attribution::suffix(request, &core.limits);
    Ok(Box::new(Candidate { network, payment, confirmations, suffix }))
}

/// Moves the money, or tells what became of it.
pub(crate) async fn settle(
    core: &Arc<Core>,
    caller: Option<&str>,
    candidate: Box<Candidate<'_>>,
) -> Result<SettleResponse, FacilitatorError> {
    if candidate.payment.is_metered() && candidate.payment.value().is_zero() {
        return nothing(core, &candidate.payment).await;
    }
    let deadline = Instant::now() + core.limits.settle_deadline;
    let wish = Wish { network: candidate.network, confirmations: candidate.confirmations, deadline };
    let row = match Box::pin(find_row(core, caller, &candidate, &wish)).await {
        Found::Row(row) => row,
        Found::Answer(answer) => return *answer,
    };
    drop(candidate);
    await_fate(core, &row, &wish).await
}

/// Nothing is charged of what was signed (scheme `upto`): no transaction, and nothing to write down. What is known under
/// the nonce stays what it is.
async fn nothing(core: &Core, payment: &Payment) -> Result<SettleResponse, FacilitatorError> {
    if let Err(refusal) = check::window(payment, &core.limits, core.clock.now()) {
        return Ok(refused(payment, refusal));
    }
    let known = known(core, payment).await?;
    if core.journal.drives(&payment.key()) || known.is_some_and(|known| !may_begin_anew(&known.state)) {
        return Ok(refused(payment, used(payment, OTHER)));
    }
    let payer = payment.payer().to_checksum(None);
    let mut response = SettleResponse::settled(payment.network().clone(), payer, "");
    response.amount = Some("0".to_owned());
    Ok(response)
}

/// Who drives a payment, or what is told of it at once.
enum Found {
    Row(Arc<Row>),
    Answer(Box<Result<SettleResponse, FacilitatorError>>),
}

async fn find_row(
    core: &Arc<Core>,
    caller: Option<&str>,
    candidate: &Candidate<'_>,
    wish: &Wish<'_>,
) -> Found {
    let Candidate { network, payment, confirmations, suffix } = candidate;
    let tell = |answer| Found::Answer(Box::new(answer));
    let refuse = |refusal| tell(Ok(refused(payment, refusal)));
    if let Some(row) = core.journal.row(payment) {
        if row.payment.digest() != payment.digest() {
            return refuse(used(payment, OTHER));
        }
        if row.speaks_for(payment) {
            return Found::Row(row);
        }
    }
    // What is known of it is told at any time; what begins anew must be in time, unless what was sent for it before
    // may have settled it since.
    if let Err(refusal) = check::window(payment, &core.limits, core.clock.now()) {
        match known(core, payment).await {
            Err(error) => return tell(Err(error)),
            Ok(Some(known)) if known.digest != payment.digest() => {
                return refuse(used(payment, OTHER));
            }
            Ok(Some(known)) if !may_begin_anew(&known.state) => {
                return tell(await_ledger(core, payment, wish).await);
            }
            Ok(Some(known)) if !known.transactions.is_empty() => {}
            Ok(_) => return refuse(refusal),
        }
    }
    // What our own key consents to is its caller's doing, not the key's.
    if !network.is_authorizer(payment.payer())
        && let Err(refusal) = core.score.check(payment.payer())
    {
        match known(core, payment).await {
            Err(error) => return tell(Err(error)),
            Ok(None) => return refuse(refusal),
            Ok(Some(_)) => {}
        }
    }
    match core.journal.begin(payment, caller, *confirmations, suffix) {
        Begun::New(row) => {
            let (core, network, ours) = (Arc::clone(core), Arc::clone(network), Arc::clone(&row));
            let tasks = Arc::clone(&core.tasks);
            tasks.spawn(async move { start(&core, &network, &ours).await });
            Found::Row(row)
        }
        Begun::Existing(row) => Found::Row(row),
        Begun::Other => refuse(used(payment, OTHER)),
        Begun::InDoubt => tell(Err(FacilitatorError::Busy(IN_DOUBT.to_owned()))),
        Begun::Full => tell(Err(FacilitatorError::Busy("the journal is full".to_owned()))),
    }
}

/// Accepts a payment and hands it to a lane, if it would settle.
async fn start(core: &Arc<Core>, network: &Arc<EvmNetwork>, row: &Arc<Row>) {
    let payment = &row.payment;
    let approach = network.queue.approach();
    // What was verified a moment ago need not be asked for again before it queues.
    let is_approved = payment.sponsored_approval().is_none();
    if is_approved && network.verified.contains(payment) {
        core.journal.exposure.settling(payment);
    } else {
        if is_approved {
            row.simulated(SimulatedAt::now(network.watcher.block()));
        }
        let judged = match judge_on_chain(core, network, payment).await {
            Ok(Ok(funds)) => {
                if funds.payer_has_code {
                    row.keep_alone();
                }
                core.journal.exposure.settle(payment, funds.available)
            }
            Ok(Err(refusal)) => return start_refused(core, network, row, refusal).await,
            Err(error) => return core.journal.deny(row, denied(error)),
        };
        if let Err(refusal) = judged {
            return core.journal.deny(row, Progress::Refused(refusal));
        }
    }
    if let Err(error) = network.can_pay().await {
        return core.journal.deny(row, denied(error));
    }
    let is_ours = network.holds_lane_for(payment);
    let Some(place) = network.queue.place() else {
        return core.journal.deny(row, Progress::Denied("every lane's queue is full".to_owned()));
    };
    if row.progress().is_over() {
        // Whoever waited for it has gone.
        return core.journal.deny(row, row.progress());
    }
    if !accept(core, network, row, is_ours).await {
        return;
    }
    if !row.transactions().is_empty() {
        return core.chase(network, row, Unused::Settle);
    }
    if !is_approved {
        drop(approach);
        return approve(core, network, row, place).await;
    }
    if row.reserve() {
        place.put(Arc::clone(row));
        return drop(approach);
    }
    drop(approach);
    core.journal.finish(row, SettlementState::Abandoned { message: NO_LANE.to_owned() }).await;
}

/// Sees a payment's approval into a block, and hands the payment to a lane. Who waits for it is told that nobody knows yet: it
/// goes on.
async fn approve(core: &Arc<Core>, network: &Arc<EvmNetwork>, row: &Arc<Row>, place: Place) {
    let brought = match row.reserve() && row.claim() {
        true => bring(core, network, row).await,
        false => Err(NotApproved::Late(NO_LANE.to_owned())),
    };
    match brought {
        Ok(()) => {
            row.unclaim();
            place.put(Arc::clone(row));
        }
        Err(why) => core.journal.finish(row, why.into()).await,
    }
}

/// Writes the payment down. False: it is not this process's to drive.
async fn accept(core: &Arc<Core>, network: &Arc<EvmNetwork>, row: &Arc<Row>, is_ours: bool) -> bool {
    let member = if is_ours { core.member.member().clone() } else { nobody() };
    match core.journal.accept(row, member).await {
        Ok(Accepted::Ours) if is_ours => return true,
        // Who holds a lane takes it over.
        Ok(Accepted::Ours) => core.journal.deny(row, Progress::Elsewhere),
        Ok(Accepted::Existing(known)) => {
            if known.state.is_open() && known.member == *core.member.member() {
                // Its write was taken for lost.
                if let Some(adopted) = core.journal.adopt(&known) {
                    core.chase(network, &adopted, Unused::Settle);
                }
            }
            core.journal.deny(row, Progress::Elsewhere);
        }
        Ok(Accepted::Other) => core.journal.deny(row, Progress::Refused(used(&row.payment, OTHER))),
        Err(error) => doubt(core, row, &error).await,
    }
    false
}

/// A payment that would not settle now: it may have settled before.
async fn start_refused(core: &Arc<Core>, network: &Arc<EvmNetwork>, row: &Arc<Row>, refusal: Refusal) {
    let known = match known(core, &row.payment).await {
        Ok(known) => known,
        Err(error) => return core.journal.deny(row, denied(error)),
    };
    let is_used = row.payment.is_refused_as_used(&refusal);
    let told = match known {
        None => Progress::Refused(refusal),
        Some(known) if known.digest != row.payment.digest() => Progress::Refused(used(&row.payment, OTHER)),
        Some(known) => match known.state {
            SettlementState::Failed { .. } | SettlementState::Abandoned { .. }
                if known.transactions.is_empty() =>
            {
                Progress::Refused(refusal)
            }
            SettlementState::Failed { .. } if !is_used => Progress::Refused(refusal),
            // What was sent for it may have settled it.
            SettlementState::Failed { .. } | SettlementState::Abandoned { .. } => {
                if accept(core, network, row, network.holds_lane_for(&row.payment)).await {
                    core.chase(network, row, Unused::Settle);
                }
                return;
            }
            _ => Progress::Elsewhere,
        },
    };
    core.journal.deny(row, told);
}

/// The ledger did not say whether it accepted a payment. Nothing is signed for it; if it is there it is abandoned.
async fn doubt(core: &Arc<Core>, row: &Arc<Row>, error: &LedgerError) {
    tracing::error!(settlement = %SettlementId::of(&row.key), %error, "a payment was not accepted");
    let told = "the ledger is not available".to_owned();
    row.set(Progress::Denied(told.clone()));
    let (mut pause, mut missing) = (Duration::from_millis(100), 0);
    while missing < LOOKS {
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
        match core.journal.ledger().settlement_get(&row.key).await {
            Ok(Some(known)) if known.state.is_open() && known.member == *core.member.member() => {
                if let Some(adopted) = core.journal.adopt(&known) {
                    let message = told.clone();
                    core.journal.finish(&adopted, SettlementState::Abandoned { message }).await;
                }
                break;
            }
            Ok(Some(_)) => break,
            Ok(None) => missing += 1,
            Err(_) => missing = 0,
        }
    }
    core.journal.deny(row, Progress::Denied(told));
}

/// Waits for the fate of a payment that this process drives, until the deadline.
async fn await_fate(
    core: &Arc<Core>,
    row: &Arc<Row>,
    wish: &Wish<'_>,
) -> Result<SettleResponse, FacilitatorError> {
    let mut progress = row.watch();
    if timeout_at(wish.deadline, progress.wait_for(Progress::is_over)).await.is_err() {
        Box::pin(withdraw(core, row)).await;
    }
    match row.progress() {
        Progress::Elsewhere => Box::pin(await_ledger(core, &row.payment, wish)).await,
        // Who asked first does not decide for who asks for more.
        Progress::Ended(_) if row.confirmations < wish.confirmations => {
            Box::pin(await_ledger(core, &row.payment, wish)).await
        }
        Progress::Refused(refusal) => Ok(refused(&row.payment, refusal)),
        Progress::Denied(message) => Err(FacilitatorError::Busy(message)),
        Progress::Ended(state) => respond(&row.key, &row.payment, &state),
        Progress::Sent { transaction } => {
            let state = SettlementState::Sent { transaction: transaction.to_string() };
            respond(&row.key, &row.payment, &state)
        }
        Progress::Starting | Progress::Reserved | Progress::Claimed => {
            let state = row.transactions().last().map_or(SettlementState::Reserved, |transaction| {
                SettlementState::Sent { transaction: transaction.to_string() }
            });
            respond(&row.key, &row.payment, &state)
        }
    }
}

/// Takes a payment back that no lane has taken. If one has, the hash will be known in a moment.
async fn withdraw(core: &Arc<Core>, row: &Arc<Row>) {
    if row.withdraw_start() {
        return;
    }
    // Of one that begins anew something may be out: it goes on.
    if !row.transactions().is_empty() {
        return;
    }
    let mut progress = row.watch();
    if row.claim() {
        let (core, row) = (Arc::clone(core), Arc::clone(row));
        let tasks = Arc::clone(&core.tasks);
        tasks.spawn(async move {
            let abandoned = SettlementState::Abandoned { message: NO_LANE.to_owned() };
            core.journal.finish(&row, abandoned).await;
        });
    }
    let known = timeout(CLAIM_GRACE, progress.wait_for(|progress| !progress.is_waiting()));
    drop(known.await);
}

/// Waits for the fate of a payment that another process drives, or that has ended, until the deadline.
async fn await_ledger(
    core: &Arc<Core>,
    payment: &Payment,
    wish: &Wish<'_>,
) -> Result<SettleResponse, FacilitatorError> {
    let key = payment.key();
    loop {
        let Some(known) = known(core, payment).await? else {
            return Err(FacilitatorError::Busy("the payment is not accepted: ask again".to_owned()));
        };
        if known.digest != payment.digest() {
            return Ok(refused(payment, used(payment, OTHER)));
        }
        let is_over = !known.state.is_open();
        if is_over && wish.is_met_by(&known).await {
            return respond(&key, payment, &known.state);
        }
        if Instant::now() < wish.deadline {
            sleep(ASK_EVERY).await;
            continue;
        }
        if let SettlementState::Settled { transaction, .. } = known.state {
            return respond(&key, payment, &SettlementState::Sent { transaction });
        }
        let is_unsigned = known.transactions.is_empty();
        if known.state == SettlementState::Reserved && known.member == nobody() && is_unsigned {
            let message = NO_LANE.to_owned();
            let to = SettlementState::Abandoned { message };
            let deliveries = core.journal.deliveries(&known, &to);
            let advance = Advance { key: key.clone(), attempt: known.attempt, to: to.clone(), deliveries };
            let written =
                core.journal.ledger().settlement_advance(vec![advance], Vec::new(), core.clock.now());
            if written.await.is_ok_and(|written| written == [true]) {
                return respond(&key, payment, &to);
            }
        }
        return respond(&key, payment, &known.state);
    }
}

/// What the ledger knows of the payment.
pub(crate) async fn known(core: &Core, payment: &Payment) -> Result<Option<Settlement>, FacilitatorError> {
    timed("settlement_get", core.journal.ledger().settlement_get(&payment.key()))
        .await
        .map_err(|error| FacilitatorError::Busy(error.to_string()))
}

/// Who owns what is accepted by a process without a lane: nobody, so that whoever has one takes it over.
fn nobody() -> Member {
    Member { role: Role::Facilitator, name: String::new(), incarnation: 0 }
}

pub(crate) const fn may_begin_anew(state: &SettlementState) -> bool {
    matches!(state, SettlementState::Failed { .. } | SettlementState::Abandoned { .. })
}

fn denied(error: FacilitatorError) -> Progress {
    Progress::Denied(match error {
        FacilitatorError::Busy(message) => message,
        other => other.to_string(),
    })
}

/// The nonce is taken.
pub(crate) fn used(payment: &Payment, rule: &str) -> Refusal {
    payment.refusal(Trouble::NonceUsed, rule)
}

fn refused(payment: &Payment, refusal: Refusal) -> SettleResponse {
    refused_on(payment.network(), refusal)
}

pub(crate) fn refused_on(network: &Network, refusal: Refusal) -> SettleResponse {
    let message = refusal.to_string();
    let mut response = SettleResponse::failed(network.clone(), Some(refusal.code), message);
    response.payer = refusal.payer;
    response
}

fn respond(
    key: &AuthorizationKey,
    payment: &Payment,
    state: &SettlementState,
) -> Result<SettleResponse, FacilitatorError> {
    let network = payment.network().clone();
    let payer = payment.payer().to_checksum(None);
    let mut response = match state {
        SettlementState::Settled { transaction, log_index, .. } => {
            let mut response = SettleResponse::settled(network, payer, transaction.as_str());
            response.extra.insert("logIndex".to_owned(), (*log_index).into());
            response.amount = payment.is_metered().then(|| payment.value().to_string());
            response
        }
        SettlementState::Failed { code, message } => {
            let mut response =
                SettleResponse::failed(network, Some(ErrorCode::from_wire(code)), message.as_str());
            response.payer = Some(payer);
            response
        }
        SettlementState::Sent { transaction } => {
            SettleResponse::pending(network, payer, transaction.as_str())
        }
        SettlementState::Abandoned { message } => return Err(FacilitatorError::Busy(message.clone())),
        SettlementState::Reserved => {
            return Err(FacilitatorError::NoAnswer("no transaction is known yet: ask again".to_owned()));
        }
    };
    response.extra.insert("settlementId".to_owned(), SettlementId::of(key).to_string().into());
    Ok(response)
}
