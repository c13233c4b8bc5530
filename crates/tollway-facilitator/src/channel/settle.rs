//! What is done with channels, from the request to the answer: what is left to the facilitator to sign is signed, what the
//! chain must say before is asked, and then it goes the way of every payment. The answer tells what moved, and how the channel
//! stands then.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use metrics::counter;
use tokio::time::{Instant, sleep};
use tollway_core::model::{FacilitatorRequest, SettleResponse};
use tollway_core::{Backing, ErrorCode, FacilitatorError, Refusal};
use tollway_evm::batch_settlement::{ChannelOperation, ChannelState, receiver_state};
use tollway_evm::{ChainError, Payment, find_uses};

use super::wish::Wish;
use super::{Channels, Stop, consent, served};
use crate::core::Core;
use crate::evm_network::EvmNetwork;
use crate::phase::prove::settled_by;
use crate::phase::{check, code};
use crate::settle::{self as payments, Candidate, known, refused_on};
use crate::telemetry::{self, CHANNEL_ORDERS};

/// How long an answer waits for a node to have seen what is settled, and how often it asks.
const SEEN_WITHIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A request that holds, on its way to be settled.
struct Order<'a> {
    network: &'a Arc<EvmNetwork>,
    channels: &'a Channels,
    wish: Wish,
    operation: ChannelOperation,
    /// How its channel stood, if that was asked.
    before: Option<Backing>,
}

/// Does what is asked, or tells what became of it.
pub(crate) async fn settle(
    core: &Arc<Core>,
    caller: Option<&str>,
    mut request: FacilitatorRequest,
) -> Result<SettleResponse, FacilitatorError> {
    let on = request.requirements.network.clone();
    let (order, candidate) = match prepare(core, caller, &mut request).await {
        Ok(prepared) => prepared,
        Err(Stop::Refused(refusal)) => return Ok(refused_on(&on, refusal)),
        Err(Stop::Unavailable(error)) => return Err(error),
    };
    drop(request);
    let answer = order.tell(payments::settle(core, caller, candidate).await?).await;
    let labels = [
        ("network", order.network.network().as_str().to_owned()),
        ("kind", order.wish.word().to_owned()),
        ("outcome", telemetry::outcome_word(answer.outcome()).to_owned()),
    ];
    counter!(CHANNEL_ORDERS, &labels).increment(1);
    Ok(answer)
}

async fn prepare<'a>(
    core: &'a Arc<Core>,
    caller: Option<&str>,
    request: &mut FacilitatorRequest,
) -> Result<(Order<'a>, Box<Candidate<'a>>), Stop> {
    let (network, channels) = served(core, request)?;
    let wish = Wish::read(request, channels.setup.max_claims)?;
    consent::complete(&channels.setup, caller, request).await?;
    let since = match wish {
        Wish::Settle { settled } => Some(pin(core, network, request, settled).await?),
        _ => None,
    };
    let operation = read(core, network, request)?.since(since.unwrap_or_default());
    let order = Order { network, channels, wish, operation, before: None };
    let order = order.looked_at(core).await?;
    let payment = Payment::BatchSettlement(order.operation.clone());
    let candidate = payments::candidate(core, network, request, payment)?;
    Ok((order, candidate))
}

/// The request as the engine knows it, held to its own rules.
fn read(core: &Core, network: &EvmNetwork, request: &FacilitatorRequest) -> Result<ChannelOperation, Stop> {
    let payment = check::check_at_any_time(request, network)?;
    code::allow(&payment, &core.limits)?;
    match payment {
        Payment::BatchSettlement(operation) => Ok(operation),
        _ => {
            let code = ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_SCHEME;
            let rule = "must be \"batch-settlement\"";
            Err(Refusal::new(code, "paymentRequirements.scheme", rule).into())
        }
    }
}

/// What is paid out is one settlement for as long as nothing was paid out since: how much had been is written into the request.
/// Whoever says it asks for that one, also when it is done. The newest block then, or none if nothing is to begin.
async fn pin(
    core: &Core,
    network: &EvmNetwork,
    request: &mut FacilitatorRequest,
    asked: Option<u128>,
) -> Result<u64, Stop> {
    let operation = read(core, network, request)?;
    if asked.is_some() && is_known(core, &operation).await? {
        return Ok(0);
    }
    let payment = Payment::BatchSettlement(operation);
    let block = network.chain.head().await.map_err(|error| failed(network, &error))?.number;
    let state = receiver_state(&network.chain, payment.payee(), payment.asset()).await;
    let state = state.map_err(|error| failed(network, &error))?;
    if state.claimed <= state.settled || asked.is_some_and(|asked| asked != state.settled) {
        let code = ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_NOTHING_TO_SETTLE;
        let rule = "must have something claimed and not paid out";
        return Err(Refusal::new(code, "payload.receiver", rule).into());
    }
    request.payment.payload.insert("totalSettled".to_owned(), state.settled.to_string().into());
    Ok(block)
}

impl Order<'_> {
    /// What the chain must say of the channel before. Of what is known already nothing is asked: its fate is told.
    async fn looked_at(mut self, core: &Core) -> Result<Self, Stop> {
        let Some(channel) = self.operation.channel_id() else { return Ok(self) };
        if is_known(core, &self.operation).await? {
            return Ok(self);
        }
        let head = self.network.chain.head().await.map_err(|error| failed(self.network, &error))?;
        let before = self.channels.looks.look(channel).await?;
        self.wish.holds(&before)?;
        self.operation = self.operation.since(head.number);
        self.before = Some(before);
        Ok(self)
    }

    /// The answer as the scheme has it.
    async fn tell(&self, mut answer: SettleResponse) -> SettleResponse {
        let is_claimed = matches!(self.wish, Wish::Claim)
            && answer.error_reason == Some(ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_CUMULATIVE_BELOW_CLAIMED);
        if is_claimed {
            answer = self.claimed_before().await;
        }
        if answer.error_reason == Some(ErrorCode::INVALID_TRANSACTION_STATE) {
            answer.error_reason = Some(self.wish.failed());
        }
        match &self.wish {
            Wish::Deposit(_) => {}
            // Nobody pays by what a seller asks for.
            Wish::Claim | Wish::Settle { .. } => answer.payer = None,
            Wish::Refund { payer, .. } => answer.payer = Some(payer.to_checksum(None)),
        }
        if !answer.success {
            return answer;
        }
        answer.amount = match &self.wish {
            Wish::Claim => Some(String::new()),
            _ => self.moved(&answer.transaction).await,
        };
        if let Some(channel) = self.operation.channel_id()
            && let Some(backing) = self.now(channel).await
        {
            let state = ChannelState { channel_id: channel.to_string(), backing, charged: None };
            answer.extra.insert("channelState".to_owned(), state.to_extra().into());
        }
        answer
    }

    /// What moved, as the receipt has it; none if the node does not tell in time.
    async fn moved(&self, transaction: &str) -> Option<String> {
        let hash: B256 = transaction.parse().ok()?;
        let until = Instant::now() + SEEN_WITHIN;
        loop {
            if let Ok(Some(receipt)) = self.network.chain.receipt(hash).await {
                let logs = (0u64..).zip(receipt.inner.logs().iter().map(|log| &log.inner));
                return self.operation.done_in(logs).map(|done| done.amount.to_string());
            }
            if Instant::now() >= until {
                return None;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// How the channel stands when the node has seen what was settled. What a node that lags behind would tell is worked out,
    /// where it is known how the channel stood before.
    async fn now(&self, channel: B256) -> Option<Backing> {
        let until = Instant::now() + SEEN_WITHIN;
        let expected = self.before.map(|before| self.wish.after(before));
        let mut last = None;
        loop {
            if let Ok(seen) = self.channels.looks.look(channel).await {
                if expected.is_none_or(|expected| self.wish.is_seen(&seen, &expected)) {
                    return Some(seen);
                }
                last = Some(seen);
            }
            if Instant::now() >= until {
                return expected.or(last);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// All of it is claimed on chain, by whomever: there is nothing left to send, and nothing has failed. By which transaction
    /// is told if it is found.
    async fn claimed_before(&self) -> SettleResponse {
        let (chain, payment) = (&self.network.chain, Payment::BatchSettlement(self.operation.clone()));
        let mut transaction = String::new();
        for hash in find_uses(chain, &payment).await.unwrap_or_default() {
            if let Ok(Some(receipt)) = chain.receipt(hash).await
                && settled_by(&payment, &receipt).is_some()
            {
                transaction = hash.to_string();
                break;
            }
        }
        SettleResponse::settled(self.network.network().clone(), String::new(), transaction)
    }
}

/// Whether its fate is known, or somebody is at it.
async fn is_known(core: &Core, operation: &ChannelOperation) -> Result<bool, FacilitatorError> {
    let payment = Payment::BatchSettlement(operation.clone());
    Ok(core.journal.drives(&payment.key()) || known(core, &payment).await?.is_some())
}

fn failed(network: &EvmNetwork, error: &ChainError) -> Stop {
    tracing::warn!(network = %network.network(), %error, "no answer about channels");
    FacilitatorError::Busy(format!("the node of {} failed", network.network())).into()
}
