//! Would a deposit, a voucher or a refund hold: what its payer signed, how its channel stands, and of a deposit whether the
//! money would come. The node is asked one round of questions, and every answer after that tells how the channel stands.

use std::sync::Arc;

use alloy_primitives::U256;
use tollway_core::model::{FacilitatorRequest, VerifyResponse};
use tollway_core::{Backing, ErrorCode, FacilitatorError, PAYER_HAS_CODE, Refusal};
use tollway_evm::Address;
use tollway_evm::batch_settlement::{
    ChannelPayment, ChannelState, Purpose, check as check_payment, is_voucher_good,
};

use super::{Stop, served};
use crate::core::Core;
use crate::evm_network::EvmNetwork;
use crate::phase::code::KEYS_ONLY;
use crate::verify::{self as payments, Good};

/// Judges a payment by voucher. What is no payment of a buyer's is refused.
pub(crate) async fn verify(
    core: &Arc<Core>,
    request: FacilitatorRequest,
) -> Result<VerifyResponse, FacilitatorError> {
    match judge(core, &request).await {
        Ok(response) => Ok(response),
        Err(Stop::Refused(refusal)) => Ok(refusal.into()),
        Err(Stop::Unavailable(error)) => Err(error),
    }
}

async fn judge(core: &Arc<Core>, request: &FacilitatorRequest) -> Result<VerifyResponse, Stop> {
    let (network, channels) = served(core, request)?;
    let payment = check_payment(&request.payment, &request.requirements, Some(core.clock.now()))?;
    let payer = payment.config.payer;
    by_code_if_served(core, &payment).map_err(|refusal| refusal.by(payer.to_checksum(None)))?;
    let look = channels.looks.look(payment.voucher.channel_id);
    let (backing, is_good, deposit) = match &payment.purpose {
        Purpose::Deposit(_) => {
            let candidate = payments::judge(core, request)?;
            let deposit = payments::verify(core, candidate);
            let (backing, is_good, deposit) = tokio::join!(look, voucher(network, &payment), deposit);
            (backing?, is_good?, Some(deposit?))
        }
        Purpose::Pay | Purpose::Refund { .. } => {
            let (backing, is_good) = tokio::join!(look, voucher(network, &payment));
            (backing?, is_good?, None)
        }
    };
    let verdict = match is_good {
        true => stands(&payment, &backing).and_then(|()| deposit.transpose()),
        false => Err(not_signed()),
    };
    let verdict = verdict.map_err(|refusal| refusal.by(payer.to_checksum(None)));
    Ok(answer(payer, &payment, backing, verdict))
}

fn answer(
    payer: Address,
    payment: &ChannelPayment,
    backing: Backing,
    verdict: Result<Option<Good>, Refusal>,
) -> VerifyResponse {
    let mut response = match &verdict {
        Ok(_) => VerifyResponse::valid(payer.to_checksum(None)),
        Err(refusal) => refusal.clone().into(),
    };
    let state = ChannelState { channel_id: payment.voucher.channel_id.to_string(), backing, charged: None };
    response.extra.extend(state.to_extra());
    if verdict.is_ok_and(|good| good.is_some_and(|good| good.payer_has_code)) {
        response.extra.insert(PAYER_HAS_CODE.to_owned(), true.into());
    }
    response
}

/// Whether the channel, as it stands, covers the voucher.
pub(super) fn stands(payment: &ChannelPayment, backing: &Backing) -> Result<(), Refusal> {
    let refuse = |code, rule: String| Err(Refusal::new(code, "payload.voucher.maxClaimableAmount", rule));
    let (balance, claimed) = (backing.balance.atomic(), backing.claimed.atomic());
    let ceiling = U256::from(payment.voucher.max_claimable);
    let deposited = match &payment.purpose {
        Purpose::Deposit(deposit) => U256::from(deposit.amount),
        Purpose::Pay | Purpose::Refund { .. } if balance.is_zero() => {
            let code = ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_CHANNEL_NOT_FOUND;
            let rule = "must be of a channel with something in it";
            return Err(Refusal::new(code, "payload.voucher.channelId", rule));
        }
        Purpose::Pay | Purpose::Refund { .. } => U256::ZERO,
    };
    let held = balance.saturating_add(deposited);
    if ceiling > held {
        let code = ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_CUMULATIVE_EXCEEDS_BALANCE;
        return refuse(code, format!("must be at most what the channel holds, {held}"));
    }
    let code = ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_CUMULATIVE_BELOW_CLAIMED;
    match payment.purpose {
        Purpose::Refund { .. } if ceiling < claimed => {
            refuse(code, format!("must be at least what is claimed, {claimed}"))
        }
        Purpose::Pay | Purpose::Deposit(_) if ceiling <= claimed => {
            refuse(code, format!("must be more than what is claimed, {claimed}"))
        }
        _ => Ok(()),
    }
}

/// Whether the operator lets the payer's code judge.
fn by_code_if_served(core: &Core, payment: &ChannelPayment) -> Result<(), Refusal> {
    if payment.signature.is_by_key() || core.limits.contract_payers {
        return Ok(());
    }
    let code = ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_VOUCHER_SIGNATURE;
    Err(Refusal::new(code, "payload.voucher.signature", KEYS_ONLY))
}

async fn voucher(network: &EvmNetwork, payment: &ChannelPayment) -> Result<bool, FacilitatorError> {
    is_voucher_good(&network.chain, payment).await.map_err(|error| {
        tracing::warn!(network = %network.network(), %error, "no answer about a voucher");
        FacilitatorError::Busy(format!("the node of {} failed", network.network()))
    })
}

fn not_signed() -> Refusal {
    let code = ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_VOUCHER_SIGNATURE;
    Refusal::new(code, "payload.voucher.signature", "must be the payer's: its account does not accept it")
}
