//! Beside phase 3: which code a payment may make us run. A payer's wallet may be a contract, and may be deployed with its
//! first payment (ERC-6492): then the payer names whom to call, and who pays for it is us. So nobody is called whom the
//! operator does not know.

use tollway_core::{ErrorCode, Refusal};
use tollway_evm::Payment;
use tollway_evm::signature::PayerSignature;

use crate::Limits;

/// Whether the operator lets such a signature be judged on chain.
pub(crate) fn allow(payment: &Payment, limits: &Limits) -> Result<(), Refusal> {
    let refuse = |code, rule: String| {
        Err(Refusal::new(code, "payload.signature", rule).by(payment.payer().to_checksum(None)))
    };
    match payment.signature() {
        PayerSignature::Key(_) => Ok(()),
        PayerSignature::Code(_) if !limits.contract_payers => {
            let code = payment.naming(tollway_evm::Trouble::Signature).0;
            refuse(code, "must be by the payer's own key: contract wallets are not served here".to_owned())
        }
        PayerSignature::Code(code) => match &code.deployment {
            Some(deployment) if !limits.erc6492_factories.contains(&deployment.factory) => refuse(
                ErrorCode::EIP6492_FACTORY_NOT_ALLOWED,
                format!("must be by a wallet that exists, or of an allowed factory: {}", deployment.factory),
            ),
            _ => Ok(()),
        },
    }
}
