//! A payment of this scheme as the engine sees it: collected, or operated on later. Each is sent by the operator's own
//! account, alone, and proved by the escrow's event beside the token's.

use alloy_primitives::{Address, B256, Log, U256, hex};
use alloy_sol_types::{SolCall, sol};
use serde_json::{Value, json};
use tollway_core::model::FacilitatorRequest;
use tollway_core::{ErrorCode, JsonObject, Network, Refusal, UnixTime, wire};

use super::calls::{PaymentState, revert_code};
use super::deployment::Deployment;
use super::info::PaymentInfo;
use super::lifecycle::{Lifecycle, Operation, check_lifecycle, is_lifecycle};
use super::payload::ChargeOrder;
use super::terms::{Fee, Flow, OperatorType};
use super::verify::{Collection, check, check_at_any_time};
use crate::asset::TransferMethod;
use crate::exact::{TokenEvents, TransferProof};
use crate::multicall::Call;
use crate::payment::{Settleable, Trouble};
use crate::permit2::PERMIT2;
use crate::signature::{self, PayerSignature};

sol! {
    interface Erc20 {
        function balanceOf(address account) external view returns (uint256);
        function allowance(address owner, address spender) external view returns (uint256);
    }
}

/// A hold or a charge takes 250,000 gas with the tokens that are known, an operation less; the first that pays out makes
/// the operator's store.
const MAX_GAS: u64 = 800_000;
/// A wallet's code may check several signatures, or one of another curve.
const GAS_OF_CODE: u64 = 300_000;
const GAS_OF_DEPLOYMENT: u64 = 2_000_000;

/// A request of this scheme that holds, and what is made of it.
#[derive(Clone, Debug, PartialEq)]
pub struct AuthCapture {
    request: Box<FacilitatorRequest>,
    part: Part,
    /// The payer's, or of what happens later the authorizer's.
    signature: PayerSignature,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Collect(Box<Collection>),
    Operate(Box<Lifecycle>),
}

impl Eq for AuthCapture {}

impl AuthCapture {
    /// Reads and checks a request: every rule that needs no chain. Without `now`, those of time are left out.
    pub(crate) fn check(request: &FacilitatorRequest, now: Option<UnixTime>) -> Result<Self, Refusal> {
        let FacilitatorRequest { payment, requirements } = request;
        let part = match is_lifecycle(&payment.payload) {
            true => Part::Operate(Box::new(check_lifecycle(payment, requirements, now)?)),
            false => Part::Collect(Box::new(match now {
                Some(now) => check(payment, requirements, now)?,
                None => check_at_any_time(payment, requirements)?,
            })),
        };
        if let Part::Collect(collection) = &part
            && collection.terms.operator_type == OperatorType::Custom
        {
            let rule = "must be \"delegated\": this facilitator collects for no contract";
            let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_UNSUPPORTED_OPERATOR_TYPE;
            return Err(Refusal::new(code, "paymentRequirements.extra.operatorType", rule));
        }
        let signature = match &part {
            Part::Collect(collection) => collection.signed.clone(),
            Part::Operate(_) => consent(&payment.payload)?,
        };
        Ok(Self { request: Box::new(request.clone()), part, signature })
    }

    /// Whose agreement to pay it back a refund needs: the receiver's. `None` if it is no refund.
    ///
    /// ```
    /// use tollway_evm::Payment;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_capture_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let hold = Payment::check(&request, None)?;
    /// assert_eq!(hold.auth_capture().and_then(|hold| hold.refund_for()), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn refund_for(&self) -> Option<Address> {
        match &self.part {
            Part::Operate(operate) if matches!(operate.operation, Operation::Refund { .. }) => {
                Some(operate.info.receiver)
            }
            _ => None,
        }
    }

    /// Whether a seller must still say how much is charged. It can be verified so, not settled.
    ///
    /// ```
    /// use tollway_evm::Payment;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_capture_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let hold = Payment::check(&request, None)?;
    /// assert!(hold.auth_capture().is_some_and(|hold| !hold.is_incomplete()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_incomplete(&self) -> bool {
        matches!(&self.part, Part::Collect(collection)
            if collection.terms.flow == Flow::Charge && collection.charge.is_none())
    }

    /// Whether it happens to a payment that was collected before: it has the time that the payer gave it then, rather than
    /// that of an authorization.
    ///
    /// ```
    /// use tollway_evm::Payment;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_capture_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let hold = Payment::check(&request, None)?;
    /// assert!(hold.auth_capture().is_some_and(|hold| !hold.is_later()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn is_later(&self) -> bool {
        matches!(self.part, Part::Operate(_))
    }

    /// The contracts that it is in.
    ///
    /// ```
    /// use tollway_evm::{Payment, auth_capture::Deployment};
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_capture_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let hold = Payment::check(&request, None)?;
    /// assert_eq!(hold.auth_capture().map(|hold| hold.deployment()), Some(Deployment::CURRENT));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn deployment(&self) -> Deployment {
        match &self.part {
            Part::Collect(collection) => collection.terms.deployment,
            Part::Operate(operate) => operate.deployment,
        }
    }

    pub(crate) fn prove_among<'a>(
        &self,
        logs: impl IntoIterator<Item = (u64, &'a Log)>,
    ) -> Option<TransferProof> {
        match &self.part {
            Part::Collect(collection) => collection.prove_collected(logs),
            Part::Operate(operate) => operate.prove_done(logs),
        }
    }

    /// Reads what [`Settleable::encode`] wrote.
    pub(crate) fn decode(record: &Value) -> Option<Self> {
        let request = record.get("request")?.to_string();
        let request = wire::decode_facilitator_request(request.as_bytes()).ok()?;
        Self::check(&request, None).ok()
    }

    fn info(&self) -> &PaymentInfo {
        match &self.part {
            Part::Collect(collection) => &collection.info,
            Part::Operate(operate) => &operate.info,
        }
    }

    pub(super) fn hash(&self) -> B256 {
        match &self.part {
            Part::Collect(collection) => collection.hash,
            Part::Operate(operate) => operate.hash,
        }
    }
}

impl Settleable for AuthCapture {
    fn network(&self) -> &Network {
        &self.request.requirements.network
    }

    fn asset(&self) -> Address {
        self.info().token
    }

    fn payer(&self) -> Address {
        self.info().payer
    }

    fn payee(&self) -> Address {
        match &self.part {
            Part::Collect(_) => self.info().receiver,
            Part::Operate(operate) => match operate.operation {
                Operation::Capture { .. } => self.info().receiver,
                Operation::Void | Operation::Refund { .. } => self.info().payer,
            },
        }
    }

    /// What the payer must have now. Nothing of what happens later comes from its account.
    fn value(&self) -> U256 {
        match &self.part {
            // By EIP-3009 all that was signed is pulled, also where less is charged; the rest goes back at once.
            Part::Collect(collection) if collection.terms.method == TransferMethod::Eip3009 => {
                U256::from(collection.info.maxAmount)
            }
            Part::Collect(collection) => collection.amount(),
            Part::Operate(_) => U256::ZERO,
        }
    }

    fn valid_after(&self) -> U256 {
        U256::ZERO
    }

    fn expires(&self) -> UnixTime {
        let info = self.info();
        UnixTime(match &self.part {
            Part::Collect(_) => info.preApprovalExpiry.to(),
            Part::Operate(operate) => match operate.operation {
                Operation::Capture { .. } => info.authorizationExpiry.to(),
                Operation::Void | Operation::Refund { .. } => info.refundExpiry.to(),
            },
        })
    }

    fn nonce(&self) -> B256 {
        match &self.part {
            Part::Collect(collection) => collection.hash,
            Part::Operate(operate) => operate.nonce(),
        }
    }

    fn nonce_space(&self) -> Address {
        self.deployment().escrow
    }

    fn signature(&self) -> &PayerSignature {
        &self.signature
    }

    fn signed_words(&self) -> Vec<B256> {
        let mut words = vec![self.hash(), self.nonce()];
        if let Part::Collect(collection) = &self.part
            && let Some(ChargeOrder { amount, fee, fee_receiver, .. }) = &collection.charge
        {
            let fee = match fee {
                Fee::Amount(fee) => *fee,
                Fee::Bps(bps) => U256::from(*bps),
            };
            words.extend([(*amount).into(), fee.into(), fee_receiver.into_word()]);
        }
        words
    }

    fn call(&self) -> Call {
        match &self.part {
            Part::Collect(collection) => collection.collecting_call(),
            Part::Operate(operate) => operate.operating_call(),
        }
    }

    fn max_gas(&self) -> u64 {
        match (&self.signature, self.signature.deployment()) {
            (PayerSignature::Key(_), _) => MAX_GAS,
            (PayerSignature::Code(_), None) => MAX_GAS + GAS_OF_CODE,
            (PayerSignature::Code(_), Some(_)) => MAX_GAS + GAS_OF_CODE + GAS_OF_DEPLOYMENT,
        }
    }

    /// The escrow obeys nobody but the operator's account, so no other contract can send the call.
    fn is_alone(&self) -> bool {
        true
    }

    fn sender(&self) -> Option<Address> {
        Some(self.info().operator)
    }

    fn state_call(&self) -> Option<Call> {
        Some(PaymentState::question(self.deployment().escrow, self.hash()))
    }

    /// Collected once, it never is again; and what is done later was consented to for one state of the payment.
    fn is_used(&self, answer: &[u8]) -> Option<bool> {
        let PaymentState { is_collected, balances } = PaymentState::read(answer)?;
        Some(match &self.part {
            Part::Collect(_) => is_collected,
            Part::Operate(operate) => match operate.operation.expected() {
                Some(expected) => balances != expected,
                None => balances.capturable.is_zero(),
            },
        })
    }

    fn funds_calls(&self) -> Vec<Call> {
        let Part::Collect(collection) = &self.part else { return Vec::new() };
        let (to, payer) = (self.asset(), self.payer());
        let balance = Erc20::balanceOfCall { account: payer };
        let mut calls = vec![Call { to, data: balance.abi_encode().into() }];
        if collection.terms.method == TransferMethod::Permit2 {
            let allowed = Erc20::allowanceCall { owner: payer, spender: PERMIT2 };
            calls.push(Call { to, data: allowed.abi_encode().into() });
        }
        calls
    }

    /// The token alone does not say for which payment it moved.
    fn prove(&self, _events: &TokenEvents) -> Option<TransferProof> {
        None
    }

    fn naming(&self, trouble: Trouble) -> (ErrorCode, &'static str) {
        let used = match &self.part {
            Part::Collect(_) => ErrorCode::INVALID_AUTH_CAPTURE_EVM_PAYMENT_ALREADY_COLLECTED,
            Part::Operate(operate) => match operate.operation {
                Operation::Void => ErrorCode::INVALID_AUTH_CAPTURE_EVM_ZERO_AUTHORIZATION,
                _ => ErrorCode::INVALID_AUTH_CAPTURE_EVM_UNEXPECTED_PAYMENT_STATE,
            },
        };
        let late = match &self.part {
            Part::Collect(_) => ErrorCode::INVALID_AUTH_CAPTURE_EVM_AUTHORIZATION_EXPIRED,
            Part::Operate(operate) => match operate.operation {
                Operation::Capture { .. } => ErrorCode::INVALID_AUTH_CAPTURE_EVM_CAPTURE_DEADLINE_EXPIRED,
                _ => ErrorCode::INVALID_AUTH_CAPTURE_EVM_REFUND_DEADLINE_EXPIRED,
            },
        };
        match trouble {
            Trouble::NonceUsed => (used, "payload"),
            Trouble::Funds => (ErrorCode::INVALID_AUTH_CAPTURE_EVM_INSUFFICIENT_BALANCE, "payload"),
            Trouble::ValidBefore => (late, "payload"),
            Trouble::ValidAfter => {
                (ErrorCode::INVALID_AUTH_CAPTURE_EVM_AUTHORIZATION_NOT_YET_VALID, "payload")
            }
            Trouble::Signature => (ErrorCode::INVALID_AUTH_CAPTURE_EVM_SIGNATURE, "payload.signature"),
            Trouble::AnotherAmount => {
                (ErrorCode::INVALID_AUTH_CAPTURE_EVM_TOKEN_COLLECTION_FAILED, "payload")
            }
            _ => (ErrorCode::INVALID_AUTH_CAPTURE_EVM_SIMULATION_FAILED, "payload"),
        }
    }

    fn revert_code(&self, data: &[u8]) -> Option<ErrorCode> {
        Some(revert_code(data))
    }

    fn encode(&self) -> Value {
        json!({ "method": "auth-capture", "request": wire::encode_facilitator_request(&self.request) })
    }
}

/// The authorizer's signature, which has been checked.
fn consent(payload: &JsonObject) -> Result<PayerSignature, Refusal> {
    let bytes = payload.get("authorizerSignature").and_then(Value::as_str);
    let bytes = bytes.and_then(|text| hex::decode(text).ok()).unwrap_or_default();
    signature::parse(&bytes).map(PayerSignature::Key).map_err(|error| {
        let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_AUTHORIZER_SIGNATURE;
        Refusal::new(code, "payload.authorizerSignature", error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use tollway_core::{ErrorCode, wire};

    use super::{AuthCapture, Settleable};

    #[test]
    fn what_the_ledger_keeps_is_read_back_as_it_was() {
        let json = include_bytes!("../../tests/auth_capture_request.json");
        let request = wire::decode_facilitator_request(json).unwrap();
        let payment = AuthCapture::check(&request, None).unwrap();
        assert_eq!(AuthCapture::decode(&payment.encode()), Some(payment));
    }

    #[test]
    fn nothing_is_collected_for_a_contract_that_nobody_here_knows() {
        let json =
            String::from_utf8(include_bytes!("../../tests/auth_capture_request.json").to_vec()).unwrap();
        let custom =
            json.replace("\"captureAuthorizer\"", "\"operatorType\": \"custom\", \"captureAuthorizer\"");
        let request = wire::decode_facilitator_request(custom.as_bytes()).unwrap();
        assert_eq!(request.requirements.extra["operatorType"], "custom");
        let refusal = AuthCapture::check(&request, None).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::INVALID_AUTH_CAPTURE_EVM_UNSUPPORTED_OPERATOR_TYPE);
        assert_eq!(refusal.field, "paymentRequirements.extra.operatorType");
    }
}
