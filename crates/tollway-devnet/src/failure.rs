//! What a caller is told when a request fails: code, message and data as Ethereum nodes give them.

use std::borrow::Cow;

use alloy_json_rpc::ErrorPayload;
use alloy_primitives::{Bytes, U256};
use alloy_sol_types::{Panic, Revert, SolError};
use revm::context::result::{HaltReason, InvalidTransaction};
use serde_json::value::to_raw_value;

/// A failed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: i64,
    pub(crate) message: Cow<'static, str>,
    pub(crate) data: Option<Bytes>,
    /// Set when the fault is not even told as JSON-RPC but as a bare HTTP status.
    pub(crate) http_status: Option<u16>,
}

impl Failure {
    const SERVER: i64 = -32_000;
    const REVERTED: i64 = 3;

    pub(crate) fn new(code: i64, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), data: None, http_status: None }
    }

    /// The node refuses or cannot do it: the code that geth uses for nearly everything.
    pub(crate) fn server(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Self::SERVER, message)
    }

    pub(crate) fn unknown_method(method: &str) -> Self {
        Self::new(-32_601, format!("the method {method} does not exist/is not available"))
    }

    pub(crate) fn invalid_params(name: &str, problem: impl std::fmt::Display) -> Self {
        Self::new(-32_602, format!("invalid params: {name}: {problem}"))
    }

    pub(crate) fn invalid_request(problem: impl Into<Cow<'static, str>>) -> Self {
        Self::new(-32_600, problem)
    }

    pub(crate) fn limit_exceeded(problem: impl Into<Cow<'static, str>>) -> Self {
        Self::new(-32_005, problem)
    }

    /// The block itself is unknown, or its state is no longer kept.
    pub(crate) fn no_such_block() -> Self {
        Self::server("header not found")
    }

    pub(crate) fn reverted(output: Bytes) -> Self {
        let message = match revert_reason(&output) {
            Some(reason) => format!("execution reverted: {reason}").into(),
            None => "execution reverted".into(),
        };
        Self { code: Self::REVERTED, message, data: Some(output), http_status: None }
    }

    pub(crate) fn halted(reason: &HaltReason) -> Self {
        match reason {
            HaltReason::OutOfGas(_) => Self::server("out of gas"),
            HaltReason::OpcodeNotFound | HaltReason::InvalidFEOpcode => Self::server("invalid opcode"),
            HaltReason::InvalidJump => Self::server("invalid jump destination"),
            HaltReason::StateChangeDuringStaticCall => Self::server("write protection"),
            other => Self::server(format!("execution halted: {other:?}")),
        }
    }

    /// Why a transaction can't run, in geth's words where geth has some.
    pub(crate) fn invalid_transaction(problem: &InvalidTransaction) -> Self {
        Self::server(match problem {
            InvalidTransaction::NonceTooLow { tx, state } => nonce_too_low(*state, *tx),
            InvalidTransaction::NonceTooHigh { tx, state } => {
                format!("nonce too high: next nonce {state}, tx nonce {tx}")
            }
            InvalidTransaction::LackOfFundForMaxFee { fee, balance } => insufficient_funds(**balance, **fee),
            InvalidTransaction::GasPriceLessThanBasefee => "max fee per gas less than block base fee".into(),
            InvalidTransaction::PriorityFeeGreaterThanMaxFee => {
                "max priority fee per gas higher than max fee per gas".into()
            }
            InvalidTransaction::CallerGasLimitMoreThanBlock => "exceeds block gas limit".into(),
            InvalidTransaction::TxGasLimitGreaterThanCap { gas_limit, cap } => {
                format!("transaction gas limit too high (cap: {cap}, tx: {gas_limit})")
            }
            InvalidTransaction::CallGasCostMoreThanGasLimit { initial_gas, gas_limit } => {
                format!("intrinsic gas too low: gas {gas_limit}, minimum needed {initial_gas}")
            }
            InvalidTransaction::GasFloorMoreThanGasLimit { gas_floor, gas_limit } => {
                format!("intrinsic gas too low: gas {gas_limit}, minimum needed {gas_floor}")
            }
            InvalidTransaction::CreateInitCodeSizeLimit => "max initcode size exceeded".into(),
            InvalidTransaction::RejectCallerWithCode => "sender not an eoa".into(),
            InvalidTransaction::InvalidChainId => "invalid chain id for signer".into(),
            other => other.to_string(),
        })
    }

    /// The same where `eth_simulateV1` is asked, which has a code for each reason.
    pub(crate) fn invalid_in_simulation(problem: &InvalidTransaction) -> Self {
        let code = match problem {
            InvalidTransaction::NonceTooLow { .. } => -38_010,
            InvalidTransaction::NonceTooHigh { .. } => -38_011,
            InvalidTransaction::CallGasCostMoreThanGasLimit { .. }
            | InvalidTransaction::GasFloorMoreThanGasLimit { .. } => -38_013,
            InvalidTransaction::LackOfFundForMaxFee { .. } => -38_014,
            InvalidTransaction::CreateInitCodeSizeLimit => -38_025,
            InvalidTransaction::GasPriceLessThanBasefee
            | InvalidTransaction::PriorityFeeGreaterThanMaxFee => -32_602,
            _ => -32_603,
        };
        Self { code, ..Self::invalid_transaction(problem) }
    }

    /// The form that alloy's transports hand on.
    pub(crate) fn payload(&self) -> ErrorPayload {
        let data = self.data.as_ref().and_then(|data| to_raw_value(data).ok());
        ErrorPayload { code: self.code, message: self.message.clone(), data }
    }
}

pub(crate) fn nonce_too_low(next: u64, tx: u64) -> String {
    format!("nonce too low: next nonce {next}, tx nonce {tx}")
}

pub(crate) fn insufficient_funds(balance: U256, cost: U256) -> String {
    let overshot = cost.saturating_sub(balance);
    format!(
        "insufficient funds for gas * price + value: balance {balance}, tx cost {cost}, overshot {overshot}"
    )
}

fn revert_reason(output: &[u8]) -> Option<String> {
    if let Ok(revert) = Revert::abi_decode(output) {
        return Some(revert.reason);
    }
    let panic = Panic::abi_decode(output).ok()?;
    Some(match panic.kind() {
        Some(kind) => format!("{} (0x{:02x})", kind.as_str(), kind as u32),
        None => format!("panic (0x{:x})", panic.code),
    })
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Bytes;
    use alloy_sol_types::{Revert, SolError};

    use super::Failure;

    #[test]
    fn a_revert_names_its_reason_and_carries_its_data() {
        let output = Bytes::from(Revert::from("Pausable: paused").abi_encode());
        let failure = Failure::reverted(output.clone());
        assert_eq!((failure.code, &*failure.message), (3, "execution reverted: Pausable: paused"));
        assert_eq!(failure.data, Some(output));
        assert_eq!(Failure::reverted(Bytes::new()).message, "execution reverted");
    }
}
