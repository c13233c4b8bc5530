//! What is wished of channels, and whether it fits what is required: rules that need neither chain nor keys.

use alloy_primitives::{Address, U256};
use tollway_core::model::FacilitatorRequest;
use tollway_core::{Backing, ErrorCode, Refusal};
use tollway_evm::batch_settlement::{BatchPayload, ChannelPayment, ClaimEntry, check};

use super::verify::stands;

/// One request to settle, as far as its answer depends on it.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    /// Money is put in.
    Deposit(Box<ChannelPayment>),
    /// Vouchers are claimed.
    Claim,
    /// What was claimed is paid out: beyond what had been before, if whoever asks says so.
    Settle { settled: Option<u128> },
    /// What is left is given back, after so much is claimed in all.
    Refund { payer: Address, nonce: U256, claimed: u128, amount: u128 },
}

impl Wish {
    /// Reads a request that was not consented to yet.
    pub(super) fn read(request: &FacilitatorRequest, max_claims: usize) -> Result<Self, Refusal> {
        let FacilitatorRequest { payment, requirements } = request;
        match BatchPayload::decode(&payment.payload)? {
            BatchPayload::Deposit { .. } => Ok(Self::Deposit(Box::new(check(payment, requirements, None)?))),
            BatchPayload::Claim(batch) => {
                fits(&batch.claims, requirements.asset.parse().ok(), max_claims)?;
                Ok(Self::Claim)
            }
            BatchPayload::Settle { receiver, token, settled } => {
                if requirements.pay_to.parse() != Ok(receiver) {
                    let code = ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_RECEIVER_MISMATCH;
                    return Err(Refusal::new(code, "payload.receiver", "must be the requirements' payTo"));
                }
                if requirements.asset.parse() != Ok(token) {
                    let code = ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_TOKEN_MISMATCH;
                    return Err(Refusal::new(code, "payload.token", "must be the requirements' asset"));
                }
                Ok(Self::Settle { settled })
            }
            BatchPayload::Refund(refund) => {
                // Its terms and its voucher.
                check(payment, requirements, None)?;
                let (Some(completion), Some(amount)) = (refund.completion, refund.amount) else {
                    return Err(moves_nothing());
                };
                if completion.claims.len() > 1 {
                    let code = ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_REFUND_PAYLOAD;
                    let rule = "must hold one claim at most: a refund is of one channel";
                    return Err(Refusal::new(code, "payload.claims", rule));
                }
                let claimed = completion.claims.iter().map(|claim| claim.total_claimed).max();
                let (payer, nonce) = (refund.config.payer, completion.nonce);
                Ok(Self::Refund { payer, nonce, claimed: claimed.unwrap_or(0), amount })
            }
            _ => Err(moves_nothing()),
        }
    }

    /// One word for it.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Deposit(_) => "deposit",
            Self::Claim => "claim",
            Self::Settle { .. } => "settle",
            Self::Refund { .. } => "refund",
        }
    }

    /// What it is called when a transaction did nothing of it.
    pub(super) const fn failed(&self) -> ErrorCode {
        match self {
            Self::Deposit(_) => ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_DEPOSIT_TRANSACTION_FAILED,
            Self::Claim => ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_CLAIM_TRANSACTION_FAILED,
            Self::Settle { .. } => ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_SETTLE_TRANSACTION_FAILED,
            Self::Refund { .. } => ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_REFUND_TRANSACTION_FAILED,
        }
    }

    /// Whether the channel, as it stands, allows it.
    pub(super) fn holds(&self, before: &Backing) -> Result<(), Refusal> {
        match self {
            Self::Deposit(payment) => stands(payment, before),
            Self::Claim | Self::Settle { .. } => Ok(()),
            Self::Refund { nonce, claimed, .. } => {
                if *nonce != before.refund_nonce.atomic() {
                    let code = ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_REFUND_PAYLOAD;
                    let rule = format!("must be the channel's next, {}, not {nonce}", before.refund_nonce);
                    return Err(Refusal::new(code, "payload.refundNonce", rule));
                }
                if before.balance.atomic() <= before.claimed.atomic().max(U256::from(*claimed)) {
                    let code = ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_REFUND_NO_BALANCE;
                    let rule = "must be covered: nothing is left unclaimed";
                    return Err(Refusal::new(code, "payload.amount", rule));
                }
                Ok(())
            }
        }
    }

    /// How the channel will stand when it is done, so far as that follows from how it stood.
    pub(super) fn after(&self, before: Backing) -> Backing {
        match self {
            Self::Deposit(payment) => {
                let deposited = match &payment.purpose {
                    tollway_evm::batch_settlement::Purpose::Deposit(deposit) => U256::from(deposit.amount),
                    _ => U256::ZERO,
                };
                let balance = before.balance.atomic().saturating_add(deposited);
                Backing { balance: tollway_core::Amount::from_atomic(balance), ..before }
            }
            Self::Claim | Self::Settle { .. } => before,
            Self::Refund { claimed, amount, .. } => {
                let claimed = before.claimed.atomic().max(U256::from(*claimed));
                let balance = before.balance.atomic();
                let given = U256::from(*amount).min(balance.saturating_sub(claimed));
                let of = tollway_core::Amount::from_atomic;
                Backing {
                    balance: of(balance.saturating_sub(given)),
                    claimed: of(claimed),
                    refund_nonce: of(before.refund_nonce.atomic().saturating_add(U256::from(1))),
                    ..before
                }
            }
        }
    }

    /// Whether the channel stands as it does when this is done.
    pub(super) fn is_seen(&self, seen: &Backing, expected: &Backing) -> bool {
        match self {
            Self::Deposit(_) => seen.balance >= expected.balance,
            _ => seen.refund_nonce >= expected.refund_nonce,
        }
    }
}

/// Claims that fit one transaction, of the token that is asked about: that one is known here.
fn fits(claims: &[ClaimEntry], token: Option<Address>, most: usize) -> Result<(), Refusal> {
    if claims.len() > most {
        let code = ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_CLAIM_PAYLOAD;
        let rule = format!("has {} entries: at most {most} are claimed at once", claims.len());
        return Err(Refusal::new(code, "payload.claims", rule));
    }
    match claims.iter().position(|claim| Some(claim.config.token) != token) {
        None => Ok(()),
        Some(at) => {
            let code = ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_TOKEN_MISMATCH;
            let field = format!("payload.claims[{at}].voucher.channel.token");
            Err(Refusal::new(code, field, "must be the requirements' asset"))
        }
    }
}

fn moves_nothing() -> Refusal {
    let code = ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_PAYLOAD_TYPE;
    let rule =
        "must be \"deposit\", \"claim\", \"settle\", or \"refund\" with refundNonce: nothing else is settled";
    Refusal::new(code, "payload.type", rule)
}
