//! The payer's approval of Permit2 beside a deposit, in the words of this scheme: by a signature (EIP-2612), or by a
//! transaction that the facilitator sends first.

use tollway_core::model::PaymentPayload;
use tollway_core::{ErrorCode, Network, Refusal, UnixTime};

use super::code;
use crate::permit2::{Approval, Covered, SponsoredApproval};

/// Reads the approval by a signature, if there is one, and holds it against what is deposited.
pub(super) fn by_signature(
    payment: &PaymentPayload,
    covered: Covered,
    now: Option<UnixTime>,
) -> Result<Option<Approval>, Refusal> {
    Approval::read(payment, covered, now).map_err(|refusal| {
        let code = match &refusal.code {
            code if *code == ErrorCode::EIP2612_FROM_MISMATCH => code::EIP2612_OWNER_MISMATCH,
            code if *code == ErrorCode::EIP2612_ASSET_MISMATCH => code::EIP2612_ASSET_MISMATCH,
            code if *code == ErrorCode::EIP2612_SPENDER_NOT_PERMIT2 => code::EIP2612_SPENDER_MISMATCH,
            code if *code == ErrorCode::EIP2612_DEADLINE_EXPIRED => code::EIP2612_DEADLINE_EXPIRED,
            code if *code == ErrorCode::PERMIT2_2612_AMOUNT_MISMATCH => code::EIP2612_AMOUNT_MISMATCH,
            _ if refusal.field.ends_with(".signature") => code::EIP2612_INVALID_SIGNATURE,
            _ => code::EIP2612_INVALID_FORMAT,
        };
        Refusal { code, ..refusal }
    })
}

/// Reads the approval by a transaction, if there is one, and holds it against what is deposited.
pub(super) fn by_transaction(
    payment: &PaymentPayload,
    covered: Covered,
    network: &Network,
) -> Result<Option<SponsoredApproval>, Refusal> {
    SponsoredApproval::read_for(payment, covered, network).map_err(|refusal| {
        let from = [ErrorCode::ERC20_APPROVAL_FROM_MISMATCH, ErrorCode::ERC20_APPROVAL_TX_SIGNER_MISMATCH];
        let asset = [ErrorCode::ERC20_APPROVAL_ASSET_MISMATCH, ErrorCode::ERC20_APPROVAL_TX_WRONG_TARGET];
        let spender =
            [ErrorCode::ERC20_APPROVAL_SPENDER_NOT_PERMIT2, ErrorCode::ERC20_APPROVAL_TX_WRONG_SPENDER];
        let code = match &refusal.code {
            code if from.contains(code) => code::ERC20_APPROVAL_FROM_MISMATCH,
            code if asset.contains(code) => code::ERC20_APPROVAL_ASSET_MISMATCH,
            code if spender.contains(code) => code::ERC20_APPROVAL_WRONG_SPENDER,
            _ => code::ERC20_APPROVAL_INVALID_FORMAT,
        };
        Refusal { code, ..refusal }
    })
}
