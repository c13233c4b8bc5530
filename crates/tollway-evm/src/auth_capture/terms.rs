//! What an offer says in `extra`: who operates, until when, for which fee.

use alloy_primitives::{Address, U256};
use serde_json::Value;
use tollway_core::model::PaymentRequirements;
use tollway_core::{ErrorCode, JsonObject, Refusal};

use super::deployment::{Deployment, FeeUnit};
use super::info::MAX_SECOND;
use crate::asset::TransferMethod;
use crate::exact::{ADDRESS_RULE, parse_address};

/// The whole in basis points.
pub(super) const WHOLE_BPS: u16 = 10_000;

/// What happens to the payer's money first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// It is held in escrow, to be taken or given back later.
    #[default]
    Escrow,
    /// It goes to the receiver at once, and can be given back.
    Charge,
}

/// When a hold ends, in the flow [`Flow::Escrow`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CaptureMode {
    /// Before the answer leaves.
    #[default]
    Sync,
    /// Later, when the seller says so.
    Deferred,
}

/// Who may move a payment that was collected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OperatorType {
    /// An account of the facilitator, on the word of the receiver's authorizer.
    #[default]
    Delegated,
    /// A contract. The facilitator only collects for it.
    Custom,
}

/// The fee that may be taken of a payment, as the payer signs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeeTerms {
    /// Who gets it.
    pub recipient: Address,
    /// The least, in basis points.
    pub min_bps: u16,
    /// The most, in basis points.
    pub max_bps: u16,
}

/// A fee that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fee {
    /// Atomic units.
    Amount(U256),
    /// Basis points of what is taken.
    Bps(u16),
}

/// What an offer of this scheme says beyond amount, asset and payee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureTerms {
    /// The token's EIP-712 name.
    pub name: String,
    /// The token's EIP-712 version.
    pub version: String,
    /// Which contracts.
    pub deployment: Deployment,
    /// How the money is collected.
    pub method: TransferMethod,
    /// What happens to it first.
    pub flow: Flow,
    /// When a hold ends.
    pub capture_mode: CaptureMode,
    /// What kind of account `operator` is.
    pub operator_type: OperatorType,
    /// `captureAuthorizer`: the only account that the escrow obeys for this payment.
    pub operator: Address,
    /// Whose signature consents to what happens with the payment later. Zero if nobody's: then the facilitator does
    /// nothing but hold it.
    pub receiver_authorizer: Address,
    /// The last second to take what is held is before this one.
    pub capture_deadline: u64,
    /// The last second to give back is before this one.
    pub refund_deadline: u64,
    /// The fee.
    pub fees: FeeTerms,
}

impl CaptureTerms {
    /// Reads them from an offer, and holds them to every rule that concerns no payment and no time.
    ///
    /// # Errors
    /// [`Refusal`] with the code of the specification, the field and the rule.
    ///
    /// ```
    /// use tollway_evm::auth_capture::{CaptureTerms, Flow};
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_capture_request.json"));
    /// # let mut offer = tollway_core::wire::decode_facilitator_request(json)?.requirements;
    /// assert_eq!(CaptureTerms::read(&offer)?.flow, Flow::Escrow);
    /// offer.extra.insert("maxFeeBps".to_owned(), 10_001.into());
    /// let refusal = CaptureTerms::read(&offer).unwrap_err();
    /// assert_eq!(refusal.field, "paymentRequirements.extra.maxFeeBps");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(offer: &PaymentRequirements) -> Result<Self, Refusal> {
        let extra = Extra(&offer.extra);
        // An older word for a charge. Whoever still says it means no hold.
        if extra.0.get("autoCapture") == Some(&Value::Bool(true)) {
            let rule = "is not known any more: say paymentFlow \"authorization\"";
            let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_UNSUPPORTED_PAYMENT_FLOW;
            return Err(refuse(code, "autoCapture", rule));
        }
        let terms = Self {
            operator: extra.required_address("captureAuthorizer")?,
            capture_deadline: extra.number("captureDeadline", MAX_SECOND)?,
            refund_deadline: extra.number("refundDeadline", MAX_SECOND)?,
            fees: FeeTerms {
                recipient: extra.required_address("feeRecipient")?,
                min_bps: extra.bps("minFeeBps")?,
                max_bps: extra.bps("maxFeeBps")?,
            },
            name: extra.text("name")?,
            version: extra.text("version")?,
            deployment: extra.deployment()?,
            flow: extra.flow()?,
            operator_type: extra.operator_type()?,
            receiver_authorizer: extra.address("receiverAuthorizer")?.unwrap_or_default(),
            method: extra.method()?,
            capture_mode: extra.capture_mode()?,
        };
        terms.check_together(&extra)?;
        Ok(terms)
    }

    /// Whether the payment's salt binds it to an authorizer.
    pub(super) fn is_bound(&self) -> bool {
        self.receiver_authorizer != Address::ZERO
    }

    fn check_together(&self, extra: &Extra<'_>) -> Result<(), Refusal> {
        if self.operator == Address::ZERO {
            let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_EXTRA;
            return Err(refuse(code, "captureAuthorizer", "must not be the zero address"));
        }
        if extra.address("policy")?.is_some_and(|policy| policy != Address::ZERO) {
            let rule = "must be absent or zero with this operatorType";
            return Err(refuse(ErrorCode::INVALID_AUTH_CAPTURE_EVM_POLICY, "policy", rule));
        }
        self.fees.check_bounds()?;
        if self.flow == Flow::Charge && !self.is_bound() {
            let rule = "is required where paymentFlow is \"authorization\"";
            let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_MISSING_RECEIVER_AUTHORIZER;
            return Err(refuse(code, "receiverAuthorizer", rule));
        }
        if self.capture_deadline > self.refund_deadline {
            let rule = "must not be before captureDeadline";
            let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_DEADLINE_ORDERING;
            return Err(refuse(code, "refundDeadline", rule));
        }
        Ok(())
    }
}

impl FeeTerms {
    /// The bounds themselves: in order, at most the whole, and with a recipient if there may be a fee. Whoever collects
    /// could name any recipient otherwise.
    pub(super) fn check_bounds(&self) -> Result<(), Refusal> {
        let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_EXTRA;
        if self.max_bps > WHOLE_BPS {
            return Err(refuse(code, "maxFeeBps", format!("must be at most {WHOLE_BPS}")));
        }
        if self.min_bps > self.max_bps {
            return Err(refuse(code, "minFeeBps", "must not be above maxFeeBps"));
        }
        if self.recipient == Address::ZERO && self.max_bps != 0 {
            return Err(refuse(code, "feeRecipient", "must be an account where there may be a fee"));
        }
        Ok(())
    }

    /// The least fee that may be taken of `amount`.
    ///
    /// ```
    /// use tollway_evm::U256;
    /// use tollway_evm::auth_capture::{Fee, FeeTerms, FeeUnit};
    /// let fees = FeeTerms { min_bps: 100, max_bps: 300, ..FeeTerms::default() };
    /// assert_eq!(fees.least(U256::from(999), FeeUnit::Amount), Fee::Amount(U256::from(9)));
    /// assert_eq!(fees.least(U256::from(999), FeeUnit::Bps), Fee::Bps(100));
    /// ```
    pub fn least(&self, amount: U256, unit: FeeUnit) -> Fee {
        match unit {
            FeeUnit::Amount => Fee::Amount(share(amount, self.min_bps)),
            FeeUnit::Bps => Fee::Bps(self.min_bps),
        }
    }

    /// Whether `fee` of `amount` to `recipient` is within what the payer signs; if not, the code and the rule.
    pub(super) fn admit(
        &self,
        amount: U256,
        fee: Fee,
        recipient: Address,
    ) -> Result<(), (ErrorCode, String)> {
        let within = match fee {
            Fee::Amount(fee) => (share(amount, self.min_bps)..=share(amount, self.max_bps)).contains(&fee),
            Fee::Bps(bps) => (self.min_bps..=self.max_bps).contains(&bps),
        };
        if !within {
            let rule = format!("must be {} to {} basis points of {amount}", self.min_bps, self.max_bps);
            return Err((ErrorCode::INVALID_AUTH_CAPTURE_EVM_FEE_BPS_OUT_OF_RANGE, rule));
        }
        if self.recipient != Address::ZERO && recipient != self.recipient {
            let rule = format!("must go to {}, not {recipient}", self.recipient);
            return Err((ErrorCode::INVALID_AUTH_CAPTURE_EVM_FEE_RECEIVER, rule));
        }
        if recipient == Address::ZERO && !fee.is_zero() {
            let rule = "must have a receiver".to_owned();
            return Err((ErrorCode::INVALID_AUTH_CAPTURE_EVM_ZERO_FEE_RECEIVER, rule));
        }
        Ok(())
    }
}

impl Fee {
    /// What it comes to of `amount`, atomic units.
    ///
    /// ```
    /// use tollway_evm::U256;
    /// use tollway_evm::auth_capture::Fee;
    /// assert_eq!(Fee::Bps(250).of(U256::from(1_001)), U256::from(25));
    /// ```
    pub fn of(self, amount: U256) -> U256 {
        match self {
            Self::Amount(fee) => fee,
            Self::Bps(bps) => share(amount, bps),
        }
    }

    fn is_zero(self) -> bool {
        matches!(self, Self::Bps(0)) || matches!(self, Self::Amount(fee) if fee.is_zero())
    }
}

/// The escrow's own division. No amount here has more than 120 bits.
fn share(amount: U256, bps: u16) -> U256 {
    amount.saturating_mul(U256::from(bps)) / U256::from(WHOLE_BPS)
}

/// `extra`, field by field.
struct Extra<'a>(&'a JsonObject);

impl Extra<'_> {
    fn present(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Result<String, Refusal> {
        let text = self.present(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        text.map(str::to_owned).ok_or_else(|| missing(name, "must be a string that is not empty"))
    }

    fn number(&self, name: &str, most: u64) -> Result<u64, Refusal> {
        let number = self.present(name).and_then(Value::as_u64).filter(|number| *number <= most);
        number.ok_or_else(|| missing(name, &format!("must be a whole number up to {most}")))
    }

    fn bps(&self, name: &str) -> Result<u16, Refusal> {
        let number = self.number(name, u64::from(WHOLE_BPS))?;
        u16::try_from(number).map_err(|_| missing(name, "must fit in 16 bits"))
    }

    /// Absent and empty are the same, as published clients read it.
    fn address(&self, name: &str) -> Result<Option<Address>, Refusal> {
        match self.present(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(value) => {
                let address = value.as_str().and_then(parse_address);
                address.map(Some).ok_or_else(|| missing(name, ADDRESS_RULE))
            }
        }
    }

    fn required_address(&self, name: &str) -> Result<Address, Refusal> {
        self.address(name)?.ok_or_else(|| missing(name, "is required"))
    }

    fn deployment(&self) -> Result<Deployment, Refusal> {
        let Some(escrow) = self.address("authCaptureEscrow")? else { return Ok(Deployment::CURRENT) };
        Deployment::of(escrow).ok_or_else(|| missing("authCaptureEscrow", "must be an escrow that is known"))
    }

    fn flow(&self) -> Result<Flow, Refusal> {
        match self.word("paymentFlow")? {
            None | Some("escrow") => Ok(Flow::Escrow),
            Some("authorization") => Ok(Flow::Charge),
            Some(_) => {
                let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_UNSUPPORTED_PAYMENT_FLOW;
                Err(refuse(code, "paymentFlow", "must be \"escrow\" or \"authorization\""))
            }
        }
    }

    fn operator_type(&self) -> Result<OperatorType, Refusal> {
        match self.word("operatorType")? {
            None | Some("delegated") => Ok(OperatorType::Delegated),
            Some("custom") => Ok(OperatorType::Custom),
            Some(_) => {
                let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_UNSUPPORTED_OPERATOR_TYPE;
                Err(refuse(code, "operatorType", "must be \"delegated\" or \"custom\""))
            }
        }
    }

    fn method(&self) -> Result<TransferMethod, Refusal> {
        match self.word("assetTransferMethod")? {
            None | Some("eip3009") => Ok(TransferMethod::Eip3009),
            Some("permit2") => Ok(TransferMethod::Permit2),
            Some(_) => {
                let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_UNSUPPORTED_ASSET_TRANSFER_METHOD;
                Err(refuse(code, "assetTransferMethod", "must be \"eip3009\" or \"permit2\""))
            }
        }
    }

    fn capture_mode(&self) -> Result<CaptureMode, Refusal> {
        match self.word("captureMode")? {
            None | Some("sync") => Ok(CaptureMode::Sync),
            Some("deferred") => Ok(CaptureMode::Deferred),
            Some(_) => Err(missing("captureMode", "must be \"sync\" or \"deferred\"")),
        }
    }

    fn word(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let value = self.present(name);
        value.map(|value| value.as_str().ok_or_else(|| missing(name, "must be a string"))).transpose()
    }
}

fn missing(name: &str, rule: &str) -> Refusal {
    refuse(ErrorCode::INVALID_AUTH_CAPTURE_EVM_EXTRA, name, rule)
}

fn refuse(code: ErrorCode, name: &str, rule: impl Into<String>) -> Refusal {
    Refusal::new(code, format!("paymentRequirements.extra.{name}"), rule)
}
