//! A payment by delegation as the engine sees it.

use alloy_primitives::{Address, B256, Bytes, U256, hex};
use alloy_sol_types::{SolCall, sol};
use serde_json::{Value, json};
use tollway_core::{ErrorCode, Network, UnixTime};

use super::{DelegationPayment, METHOD};
use crate::exact::{TokenEvents, TransferProof};
use crate::multicall::Call;
use crate::payment::{Settleable, Trouble};
use crate::signature::{CodeSignature, PayerSignature};

sol! {
    interface DelegationManager {
        function redeemDelegations(bytes[] permissionContexts, bytes32[] modes, bytes[] executionCallDatas) external;
    }

    interface Token {
        function transfer(address to, uint256 value) external returns (bool);
    }
}

/// A chain of delegations with several caveats takes some 300,000.
const MOST_GAS: u64 = 800_000;

impl Settleable for DelegationPayment {
    fn network(&self) -> &Network {
        &self.network
    }

    fn asset(&self) -> Address {
        self.asset
    }

    fn payer(&self) -> Address {
        self.delegator
    }

    fn payee(&self) -> Address {
        self.payee
    }

    fn value(&self) -> U256 {
        self.value
    }

    fn valid_after(&self) -> U256 {
        U256::ZERO
    }

    /// When it ends, only the manager knows. The latest that a ledger can keep.
    fn expires(&self) -> UnixTime {
        UnixTime(u64::MAX >> 1)
    }

    fn nonce(&self) -> B256 {
        DelegationPayment::nonce(self)
    }

    fn nonce_space(&self) -> Address {
        self.manager
    }

    fn signature(&self) -> &PayerSignature {
        &self.context
    }

    fn signed_words(&self) -> Vec<B256> {
        let accounts =
            [self.manager, self.delegator, self.asset, self.payee].map(|account| account.into_word());
        accounts.into_iter().chain([self.value.into(), Settleable::nonce(self)]).collect()
    }

    /// One call, which must not fail (ERC-7579, mode zero): the token's `transfer` to the payee.
    fn call(&self) -> Call {
        let transfer = Token::transferCall { to: self.payee, value: self.value }.abi_encode();
        let execution = [self.asset.as_slice(), &[0; 32], &transfer].concat();
        let redeem = DelegationManager::redeemDelegationsCall {
            permissionContexts: vec![self.permission_context()],
            modes: vec![B256::ZERO],
            executionCallDatas: vec![Bytes::from(execution)],
        };
        Call { to: self.manager, data: redeem.abi_encode().into() }
    }

    fn max_gas(&self) -> u64 {
        MOST_GAS
    }

    fn is_alone(&self) -> bool {
        true
    }

    fn state_call(&self) -> Option<Call> {
        None
    }

    fn is_used(&self, _: &[u8]) -> Option<bool> {
        None
    }

    fn prove(&self, events: &TokenEvents) -> Option<TransferProof> {
        events.moved(self.delegator, self.payee, self.value).filter(|_| events.asset() == self.asset)
    }

    fn naming(&self, trouble: Trouble) -> (ErrorCode, &'static str) {
        match trouble {
            Trouble::NonceUsed => (ErrorCode::DUPLICATE_SETTLEMENT, "payload.permissionContext"),
            Trouble::Funds => (ErrorCode::INSUFFICIENT_FUNDS, "payload.delegator"),
            Trouble::AnotherAmount => {
                (ErrorCode::INVALID_EXACT_EVM_TRANSFER_EVENT_MISMATCH, "payload.delegationManager")
            }
            _ => (ErrorCode::INVALID_EXACT_EVM_TRANSACTION_SIMULATION_FAILED, "payload.permissionContext"),
        }
    }

    fn encode(&self) -> Value {
        json!({
            "method": METHOD, "network": self.network.as_str(), "asset": self.asset, "manager": self.manager,
            "delegator": self.delegator, "payee": self.payee, "value": self.value.to_string(),
            "context": hex::encode_prefixed(self.permission_context()),
        })
    }
}

impl DelegationPayment {
    /// Reads what [`Settleable::encode`] wrote. Not the wire: whoever reads this wrote it.
    pub(crate) fn decode(record: &Value) -> Option<Self> {
        let field = |name: &str| record.get(name).and_then(Value::as_str);
        let address = |name| field(name)?.parse::<Address>().ok();
        let bytes = hex::decode(field("context")?).ok()?.into();
        Some(Self {
            manager: address("manager")?,
            delegator: address("delegator")?,
            context: PayerSignature::Code(CodeSignature { bytes, deployment: None }),
            asset: address("asset")?,
            payee: address("payee")?,
            value: U256::from_str_radix(field("value")?, 10).ok()?,
            network: field("network")?.parse::<Network>().ok()?,
        })
    }
}
