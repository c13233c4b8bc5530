//! Payments by Permit2 whose payer has signed the approval as a transaction (extension `erc20ApprovalGasSponsoring`): would
//! the two settle one after the other, and the way of the first into a block.
//!
//! The way is told by the chain alone, step by step: allowed already; or paid for; or to be paid for. So whoever takes it up
//! in the middle, in this process or another, goes on where it stands. What a payment needs for it is in its row; that money
//! was given is in the ledger before it leaves (`sponsoring.rs`).

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};
use tollway_core::{ErrorCode, FacilitatorError, Refusal};
use tollway_evm::permit2::{SponsoredApproval, Standing, approval_cost, standing};
use tollway_evm::{ChainError, Payment, Trouble, U256, simulate_approved};
use tollway_ledger::SettlementState;

use crate::coalesce::Simulated;
use crate::core::Core;
use crate::errands::{Errand, Given};
use crate::evm_network::EvmNetwork;
use crate::journal::Row;
use crate::phase::approval::refuse;
use crate::phase::send::{Offered, offer};
use crate::sponsoring::Cause;

/// How long the way of an approval may take: two blocks, of any chain, with time to wait for them.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks: at first, and later.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often in a row a look must say the same before an approval counts as impossible: nodes behind one URL do not all know
/// the same.
const LOOKS: u32 = 5;

/// Why an approval is not in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotApproved {
    /// It never will be: the payment's fault.
    Refused(Refusal),
    /// Nobody knows: it took too long, or is our own fault.
    Late(String),
}

impl From<NotApproved> for SettlementState {
    fn from(why: NotApproved) -> Self {
        match why {
            NotApproved::Refused(refusal) => {
                Self::Failed { code: refusal.code.as_str().to_owned(), message: refusal.to_string() }
            }
            NotApproved::Late(message) => Self::Abandoned { message },
        }
    }
}

/// Whether `payment` would settle now, or after its approval.
pub(crate) async fn judge(core: &Core, network: &EvmNetwork, payment: &Payment) -> Simulated {
    let Some(approval) = payment.sponsored_approval() else {
        return network.coalescer.simulate(payment).await;
    };
    let Ok(turn) = network.approval_looks.try_acquire() else {
        return Err(FacilitatorError::Busy("too many approvals are looked at".to_owned()));
    };
    let standing = standing(&network.chain, payment.asset(), payment.payer()).await;
    let standing = standing.map_err(|error| failed(network, &error))?;
    if standing.allowance >= payment.value() {
        drop(turn);
        return network.coalescer.simulate(payment).await;
    }
    if let Err(refusal) = includable(core, network, payment, approval, &standing).await? {
        return Ok(Err(refusal));
    }
    let sender = network.sender();
    let verdict = simulate_approved(&network.chain, sender, payment, approval).await;
    verdict.map_err(|error| failed(network, &error))
}

/// Whether the approval can be included in a block soon, at the payer's cost or ours.
async fn includable(
    core: &Core,
    network: &EvmNetwork,
    payment: &Payment,
    approval: &SponsoredApproval,
    standing: &Standing,
) -> Result<Result<(), Refusal>, FacilitatorError> {
    if standing.has_code {
        let (code, rule) = (ErrorCode::ERC20_APPROVAL_FROM_MISMATCH, "must be a plain key, and has code");
        return Ok(Err(refuse(payment, code, "from", rule)));
    }
    let refuse = |field: &str, rule: String| {
        let field = format!("signedTransaction.{field}");
        Ok(Err(refuse(payment, ErrorCode::ERC20_APPROVAL_TX_FAILED, &field, rule)))
    };
    if standing.nonce != approval.nonce {
        return refuse(
            "nonce",
            format!("must be the payer's next, {}, not {}", standing.nonce, approval.nonce),
        );
    }
    let head = network.chain.head().await.map_err(|error| failed(network, &error))?;
    // As much as the next block may ask for.
    let base_fee = head.base_fee.saturating_add(head.base_fee / 8);
    if approval.max_fee_per_gas < base_fee {
        let rule = format!("must be in line with the network's price, {base_fee} wei");
        return refuse("maxFeePerGas", rule);
    }
    let needs = approval_cost(&network.chain, approval).await.map_err(|error| failed(network, &error))?;
    if standing.balance >= needs {
        return Ok(Ok(()));
    }
    if standing.pending_nonce > approval.nonce {
        return refuse(
            "nonce",
            "is held by another transaction, and the payer cannot pay for both".to_owned(),
        );
    }
    let Some(sponsoring) = network.sponsoring.filter(|sponsoring| needs <= sponsoring.max_cost) else {
        return refuse("gas", format!("may cost {needs} wei, which is more than is paid for here"));
    };
    let (ledger, now) = (core.journal.ledger(), core.clock.now());
    let room = sponsoring.has_room(ledger, network.network(), cause(payment, approval), now).await;
    match room.map_err(|error| FacilitatorError::Busy(error.to_string()))? {
        true => Ok(Ok(())),
        false => Ok(Err(enough(payment))),
    }
}

/// Sees the row's approval into a block, and pays for it if the payer cannot. It ends when Permit2 may take what the payment
/// moves, or when that will not be.
pub(crate) async fn bring(core: &Core, network: &EvmNetwork, row: &Row) -> Result<(), NotApproved> {
    let Some(approval) = row.payment.sponsored_approval() else { return Ok(()) };
    let until = Instant::now() + PATIENCE;
    let late = || NotApproved::Late("the approval was not included in time".to_owned());
    let Ok(Ok(turn)) = timeout_at(until, network.approvals.acquire()).await else { return Err(late()) };
    let mut way = Way { core, network, row, approval, is_funded: false, impossible: 0, offered: None };
    let mut pause = FIRST_PAUSE;
    let brought = loop {
        match way.step(until).await {
            Ok(true) => break Ok(()),
            Ok(false) => {}
            Err(error) => break Err(error),
        }
        if Instant::now() + pause >= until {
            break Err(late());
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    };
    drop(turn);
    // What was given is gone.
    if brought.is_err() && way.is_funded {
        core.score_reverted(row);
    }
    brought
}

/// One approval on its way.
struct Way<'a> {
    core: &'a Core,
    network: &'a EvmNetwork,
    row: &'a Row,
    approval: &'a SponsoredApproval,
    is_funded: bool,
    /// How often in a row it looked as if it could not be.
    impossible: u32,
    offered: Option<Instant>,
}

impl Way<'_> {
    /// One look, and what follows from it. Whether it is there.
    async fn step(&mut self, until: Instant) -> Result<bool, NotApproved> {
        let payment = &self.row.payment;
        if payment.check_window(self.core.clock.now()).is_err() {
            return Err(NotApproved::Late("the payment is about to expire".to_owned()));
        }
        let chain = &self.network.chain;
        // No answer says nothing.
        let Ok(standing) = standing(chain, payment.asset(), payment.payer()).await else { return Ok(false) };
        if standing.allowance >= payment.value() {
            return Ok(true);
        }
        if standing.nonce != self.approval.nonce {
            let rule = format!("must be the payer's next, {}: another transaction took it", standing.nonce);
            return self.doubt(ErrorCode::ERC20_APPROVAL_TX_FAILED, "signedTransaction.nonce", rule);
        }
        let Ok(needs) = approval_cost(chain, self.approval).await else { return Ok(false) };
        if standing.balance < needs {
            if !self.is_funded {
                self.fund(&standing, needs, until).await?;
            }
            return Ok(false);
        }
        self.offer().await
    }

    /// Asks a lane to give what is missing.
    async fn fund(&mut self, standing: &Standing, needs: U256, until: Instant) -> Result<(), NotApproved> {
        let payment = &self.row.payment;
        let (done, told) = oneshot::channel();
        let amount = needs.saturating_sub(standing.balance);
        self.network.errands.put(Errand { cause: cause(payment, self.approval), amount, done });
        match timeout_at(until, told).await {
            Ok(Ok(Given::Sent)) => {
                self.is_funded = true;
                Ok(())
            }
            Ok(Ok(Given::Spent)) => Err(NotApproved::Refused(enough(payment))),
            Ok(Ok(Given::NotSent(message))) => Err(NotApproved::Late(message)),
            Ok(Err(_)) | Err(_) => Err(NotApproved::Late("no lane was free in time".to_owned())),
        }
    }

    /// Hands the payer's transaction to the node, now and then.
    async fn offer(&mut self) -> Result<bool, NotApproved> {
        let again = self.core.limits.rebroadcast_every;
        if self.impossible == 0 && self.offered.is_some_and(|at| at.elapsed() < again) {
            return Ok(false);
        }
        let offered = offer(&self.network.chain, &self.approval.raw).await;
        match offered {
            Offered::Taken | Offered::Doubted | Offered::NonceUsed => {
                self.offered = Some(Instant::now());
                self.impossible = 0;
                Ok(false)
            }
            Offered::Underpriced => {
                let rule = "must not be held by another transaction of the payer's".to_owned();
                self.doubt(ErrorCode::ERC20_APPROVAL_BROADCAST_FAILED, "signedTransaction.nonce", rule)
            }
            Offered::Rejected(words) => {
                self.doubt(ErrorCode::ERC20_APPROVAL_BROADCAST_FAILED, "signedTransaction", words)
            }
        }
    }

    /// It looks as if it could not be.
    fn doubt(&mut self, code: ErrorCode, field: &str, rule: String) -> Result<bool, NotApproved> {
        self.impossible += 1;
        if self.impossible < LOOKS {
            return Ok(false);
        }
        Err(NotApproved::Refused(refuse(&self.row.payment, code, field, rule)))
    }
}

fn cause(payment: &Payment, approval: &SponsoredApproval) -> Cause {
    Cause { payer: payment.payer(), transaction: approval.hash }
}

/// What the payer could still do is what everybody else does.
fn enough(payment: &Payment) -> Refusal {
    let rule = "no more approvals are paid for today: approve the contract by a transaction of your own";
    payment.refusal(Trouble::Allowance, rule)
}

fn failed(network: &EvmNetwork, error: &ChainError) -> FacilitatorError {
    tracing::warn!(network = %network.network(), %error, "node failed about an approval");
    FacilitatorError::Busy(format!("the node of {} failed", network.network()))
}
