//! Beside phase 3: which code a payment may make us run. A payer's wallet may be a contract, and may be deployed with its
//! first payment (ERC-6492): then the payer names whom to call, and who pays for it is us. So nobody is called whom the
//! operator does not know. A claim on channels runs the code of their payers, for a seller: it is held to the same.

use tollway_core::{ErrorCode, Refusal};
use tollway_evm::Payment;
use tollway_evm::batch_settlement::ChannelOperation;
use tollway_evm::signature::PayerSignature;

use crate::Limits;

pub(crate) const KEYS_ONLY: &str = "must be by the payer's own key: contract wallets are not served here";

/// Whether the operator lets such a signature be judged on chain.
pub(crate) fn allow(payment: &Payment, limits: &Limits) -> Result<(), Refusal> {
    let refuse = |code, rule: String| {
        Err(Refusal::new(code, "payload.signature", rule).by(payment.payer().to_checksum(None)))
    };
    if !limits.contract_payers
        && let Some((at, payer)) = payment.batch_settlement().and_then(ChannelOperation::claimed_by_code)
    {
        let code = ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_VOUCHER_SIGNATURE;
        let field = format!("payload.claims[{at}].signature");
        return Err(Refusal::new(code, field, KEYS_ONLY).by(payer.to_checksum(None)));
    }
    match payment.signature() {
        PayerSignature::Key(_) => Ok(()),
        PayerSignature::Code(_) if !limits.contract_payers => {
            let code = payment.naming(tollway_evm::Trouble::Signature).0;
            refuse(code, KEYS_ONLY.to_owned())
        }
        PayerSignature::Code(code) => match &code.deployment {
            Some(deployment) if !limits.erc6492_factories.contains(&deployment.factory) => refuse(
                match payment {
                    Payment::BatchSettlement(_) => {
                        ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_EIP6492_FACTORY_NOT_ALLOWED
                    }
                    _ => ErrorCode::EIP6492_FACTORY_NOT_ALLOWED,
                },
                format!("must be by a wallet that exists, or of an allowed factory: {}", deployment.factory),
            ),
            _ => Ok(()),
        },
    }
}
