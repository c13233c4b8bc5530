//! The seller's side: from a price to an offer.

use std::sync::Arc;

use alloy_primitives::Address;
use serde_json::Value;
use tollway_core::model::{PaymentPayload, PaymentRequirements, SupportedKind};
use tollway_core::{
    Amount, Checked, ErrorCode, EscrowScheme, JsonObject, Money, Network, OfferError, Price, Refusal,
    SchemeName, SellerScheme, Terms, UnixTime,
};

use super::deployment::Deployment;
use super::terms::{CaptureMode, CaptureTerms, FeeTerms, Flow};
use super::verify::check;
use crate::exact::parse_address;
use crate::pricing::{Pricing, money_in};
use crate::{AssetTable, Signer};

/// Held money must be taken within this long, unless told otherwise: an hour.
const CAPTURE_SECONDS: u64 = 3_600;
/// And can be given back for this long: thirty days.
const REFUND_SECONDS: u64 = 30 * 86_400;
/// Deadlines are told in whole steps of this many seconds, so that an offer stays the same for as long.
const STEP_SECONDS: u64 = 60;

const CAPTURE_FIELD: &str = "captureDeadlineSeconds";
const REFUND_FIELD: &str = "refundDeadlineSeconds";

/// Scheme `auth-capture` on EVM for sellers: who may consent to what happens with a payment, by when, for which fee.
///
/// ```
/// use tollway_core::{Price, SellerScheme, Terms, UnixTime};
/// use tollway_evm::{Address, AssetTable, auth_capture::AuthCaptureSeller};
/// let terms = Terms {
///     network: "eip155:8453".parse()?,
///     pay_to: "0x209693Bc6afc0C5328bA36FaF03C514EF312287C".to_owned(),
///     max_timeout_seconds: 300,
/// };
/// let seller = AuthCaptureSeller::new(AssetTable::known(), Address::repeat_byte(1))
///     .with_operator(Address::repeat_byte(2))
///     .with_deadlines(3_600, 7 * 86_400);
/// let template = seller.offer(&Price::Money("$0.01".parse()?), &terms)?;
/// let offer = seller.stamped(&template, UnixTime(1_750_000_020));
/// assert_eq!(offer.extra["captureDeadline"], 1_750_003_620);
/// assert_eq!(offer.extra["paymentFlow"], "escrow");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct AuthCaptureSeller {
    assets: AssetTable,
    receiver_authorizer: Address,
    /// The key of `receiver_authorizer`, if it is here.
    key: Option<Arc<dyn Signer>>,
    operator: Option<Address>,
    flow: Flow,
    capture_mode: CaptureMode,
    capture_seconds: u64,
    refund_seconds: u64,
    fees: Option<FeeTerms>,
    deployment: Deployment,
}

impl AuthCaptureSeller {
    /// Offers that hold the payer's money for an hour at most; what was taken can be given back for thirty days.
    /// `receiver_authorizer` is the account whose key consents to everything that happens with a payment. Operator and
    /// fee are what the facilitator says, and money resolves by `assets`.
    ///
    /// ```
    /// use tollway_core::{SchemeName, SellerScheme};
    /// use tollway_evm::{Address, AssetTable, auth_capture::AuthCaptureSeller};
    /// let seller = AuthCaptureSeller::new(AssetTable::known(), Address::repeat_byte(1));
    /// assert_eq!(seller.name(), &SchemeName::AUTH_CAPTURE);
    /// ```
    pub const fn new(assets: AssetTable, receiver_authorizer: Address) -> Self {
        Self {
            assets,
            receiver_authorizer,
            key: None,
            operator: None,
            flow: Flow::Escrow,
            capture_mode: CaptureMode::Sync,
            capture_seconds: CAPTURE_SECONDS,
            refund_seconds: REFUND_SECONDS,
            fees: None,
            deployment: Deployment::CURRENT,
        }
    }

    /// Consents by this key: its account is `receiver_authorizer`. A paywall needs it.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollway_core::EscrowScheme;
    /// use tollway_evm::{AssetTable, LocalSigner, Signer, auth_capture::AuthCaptureSeller};
    /// let key = Arc::new(LocalSigner::random()?);
    /// let seller = AuthCaptureSeller::new(AssetTable::known(), key.address()).with_key(key);
    /// assert!(seller.has_key());
    /// # Ok::<(), tollway_evm::SignerError>(())
    /// ```
    #[must_use]
    pub fn with_key(mut self, key: Arc<dyn Signer>) -> Self {
        self.receiver_authorizer = key.address();
        self.key = Some(key);
        self
    }

    pub(super) fn key(&self) -> Option<&dyn Signer> {
        self.key.as_deref()
    }

    /// Names the operator, rather than whichever account the facilitator says.
    ///
    /// ```
    /// use tollway_evm::{Address, AssetTable, auth_capture::AuthCaptureSeller};
    /// let seller = AuthCaptureSeller::new(AssetTable::known(), Address::repeat_byte(1))
    ///     .with_operator(Address::repeat_byte(2));
    /// ```
    #[must_use]
    pub const fn with_operator(mut self, operator: Address) -> Self {
        self.operator = Some(operator);
        self
    }

    /// Charges at once what was served, instead of holding it first.
    ///
    /// ```
    /// use tollway_evm::{Address, AssetTable, auth_capture::AuthCaptureSeller};
    /// let seller = AuthCaptureSeller::new(AssetTable::known(), Address::repeat_byte(1)).charging();
    /// ```
    #[must_use]
    pub const fn charging(mut self) -> Self {
        self.flow = Flow::Charge;
        self
    }

    /// Leaves the money held when the answer leaves, until the seller takes it or gives it back.
    ///
    /// ```
    /// use tollway_evm::{Address, AssetTable, auth_capture::AuthCaptureSeller};
    /// let seller = AuthCaptureSeller::new(AssetTable::known(), Address::repeat_byte(1)).deferred();
    /// ```
    #[must_use]
    pub const fn deferred(mut self) -> Self {
        self.capture_mode = CaptureMode::Deferred;
        self
    }

    /// How long, from the offer on, what is held can be taken, and what was taken can be given back.
    ///
    /// ```
    /// use tollway_evm::{Address, AssetTable, auth_capture::AuthCaptureSeller};
    /// let seller = AuthCaptureSeller::new(AssetTable::known(), Address::repeat_byte(1))
    ///     .with_deadlines(86_400, 14 * 86_400);
    /// ```
    #[must_use]
    pub const fn with_deadlines(mut self, capture_seconds: u64, refund_seconds: u64) -> Self {
        self.capture_seconds = capture_seconds;
        self.refund_seconds = refund_seconds;
        self
    }

    /// The fee that may be taken, rather than what the facilitator says.
    ///
    /// ```
    /// use tollway_evm::{Address, AssetTable, auth_capture::{AuthCaptureSeller, FeeTerms}};
    /// let one_percent = FeeTerms { recipient: Address::repeat_byte(3), min_bps: 100, max_bps: 100 };
    /// let seller = AuthCaptureSeller::new(AssetTable::known(), Address::repeat_byte(1)).with_fees(one_percent);
    /// ```
    #[must_use]
    pub const fn with_fees(mut self, fees: FeeTerms) -> Self {
        self.fees = Some(fees);
        self
    }

    /// Collects into this escrow.
    ///
    /// ```
    /// use tollway_evm::{Address, AssetTable, auth_capture::{AuthCaptureSeller, Deployment}};
    /// let seller = AuthCaptureSeller::new(AssetTable::known(), Address::repeat_byte(1))
    ///     .with_deployment(Deployment::FIRST);
    /// ```
    #[must_use]
    pub const fn with_deployment(mut self, deployment: Deployment) -> Self {
        self.deployment = deployment;
        self
    }

    /// The offer as it is told at `now`: with deadlines. An offer that has them already is as it was.
    ///
    /// ```
    /// # use tollway_core::{Price, SellerScheme, Terms, UnixTime};
    /// # use tollway_evm::{Address, AssetTable, auth_capture::AuthCaptureSeller};
    /// # let network = "eip155:8453".parse()?;
    /// # let pay_to = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C".to_owned();
    /// # let terms = Terms { network, pay_to, max_timeout_seconds: 300 };
    /// # let seller = AuthCaptureSeller::new(AssetTable::known(), Address::repeat_byte(1))
    /// #     .with_operator(Address::repeat_byte(2));
    /// # let template = seller.offer(&Price::Money("$0.01".parse()?), &terms)?;
    /// let told = seller.stamped(&template, UnixTime(1_750_000_021));
    /// assert_eq!(told, seller.stamped(&template, UnixTime(1_750_000_079)));
    /// assert_eq!(seller.stamped(&told, UnixTime(1_760_000_000)), told);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stamped(&self, offer: &PaymentRequirements, now: UnixTime) -> PaymentRequirements {
        let from = now.0.div_ceil(STEP_SECONDS).saturating_mul(STEP_SECONDS);
        self.with_beginning(offer, from)
    }

    /// The offer as `accepted` repeats it: with its deadlines, if the seller may have told them lately, and everything
    /// else the seller's own.
    ///
    /// ```
    /// # use tollway_core::{Price, SellerScheme, Terms, UnixTime};
    /// # use tollway_evm::{Address, AssetTable, auth_capture::AuthCaptureSeller};
    /// # let network = "eip155:8453".parse()?;
    /// # let pay_to = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C".to_owned();
    /// # let terms = Terms { network, pay_to, max_timeout_seconds: 300 };
    /// # let seller = AuthCaptureSeller::new(AssetTable::known(), Address::repeat_byte(1))
    /// #     .with_operator(Address::repeat_byte(2));
    /// # let template = seller.offer(&Price::Money("$0.01".parse()?), &terms)?;
    /// let told = seller.stamped(&template, UnixTime(1_750_000_000));
    /// assert_eq!(seller.as_accepted(&template, &told, UnixTime(1_750_000_200)), told);
    /// assert_ne!(seller.as_accepted(&template, &told, UnixTime(1_750_001_000)), told, "told too long ago");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn as_accepted(
        &self,
        offer: &PaymentRequirements,
        accepted: &PaymentRequirements,
        now: UnixTime,
    ) -> PaymentRequirements {
        let deadline = accepted.extra.get("captureDeadline").and_then(Value::as_u64);
        let seconds = offer.extra.get(CAPTURE_FIELD).and_then(Value::as_u64);
        let began = deadline.zip(seconds).and_then(|(deadline, seconds)| deadline.checked_sub(seconds));
        let latest = now.0.div_ceil(STEP_SECONDS).saturating_mul(STEP_SECONDS);
        let earliest = now.0.saturating_sub(offer.max_timeout_seconds);
        match began {
            Some(began) if began.is_multiple_of(STEP_SECONDS) && (earliest..=latest).contains(&began) => {
                self.with_beginning(offer, began)
            }
            _ => self.stamped(offer, now),
        }
    }

    fn with_beginning(&self, offer: &PaymentRequirements, from: u64) -> PaymentRequirements {
        let mut offer = offer.clone();
        for (relative, absolute) in [(CAPTURE_FIELD, "captureDeadline"), (REFUND_FIELD, "refundDeadline")] {
            let seconds = offer.extra.shift_remove(relative);
            if let Some(seconds) = seconds.and_then(|seconds| seconds.as_u64()) {
                offer.extra.insert(absolute.to_owned(), from.saturating_add(seconds).into());
            }
        }
        offer
    }

    fn extra(&self, network: &Network) -> Result<JsonObject, OfferError> {
        if self.receiver_authorizer == Address::ZERO {
            return Err(wrong("receiverAuthorizer", "must not be the zero address"));
        }
        if network.evm_chain_id().is_none() {
            return Err(wrong("network", "must be an EVM network"));
        }
        let mut extra = JsonObject::new();
        let mut set = |name: &str, value: Value| extra.insert(name.to_owned(), value);
        set("authCaptureEscrow", self.deployment.escrow.to_checksum(None).into());
        set("operatorType", "delegated".into());
        set("receiverAuthorizer", self.receiver_authorizer.to_checksum(None).into());
        if let Some(operator) = self.operator {
            set("captureAuthorizer", operator.to_checksum(None).into());
        }
        match self.flow {
            Flow::Charge => set("paymentFlow", "authorization".into()),
            Flow::Escrow => {
                set("paymentFlow", "escrow".into());
                let deferred = self.capture_mode == CaptureMode::Deferred;
                set("captureMode", if deferred { "deferred" } else { "sync" }.into())
            }
        };
        set(CAPTURE_FIELD, self.capture_seconds.into());
        set(REFUND_FIELD, self.refund_seconds.into());
        if let Some(fees) = self.fees {
            fees.check_bounds().map_err(|refusal| wrong("fees", refusal.rule))?;
            write_fees(&mut extra, fees);
        }
        Ok(extra)
    }
}

impl SellerScheme for AuthCaptureSeller {
    fn name(&self) -> &SchemeName {
        &SchemeName::AUTH_CAPTURE
    }

    fn covers(&self, network: &Network) -> bool {
        network.evm_chain_id().is_some()
    }

    fn offer(&self, price: &Price, terms: &Terms) -> Result<PaymentRequirements, OfferError> {
        let pricing = Pricing { assets: &self.assets, scheme: SchemeName::AUTH_CAPTURE, only: None };
        let mut offer = pricing.offer(price, terms)?;
        // What is signed names the EIP-712 domain also where Permit2 collects.
        if ["name", "version"].iter().any(|field| offer.extra_str(field).is_none_or(str::is_empty)) {
            return Err(wrong("extra", "must hold the EIP-712 name and version of the asset"));
        }
        if self.capture_seconds <= terms.max_timeout_seconds {
            return Err(wrong(CAPTURE_FIELD, "must be more than maxTimeoutSeconds"));
        }
        if self.capture_seconds > self.refund_seconds {
            return Err(wrong(REFUND_FIELD, "must not be less than captureDeadlineSeconds"));
        }
        for (name, value) in self.extra(&terms.network)? {
            offer.extra.insert(name, value);
        }
        Ok(offer)
    }

    /// With the operator and the fee that the facilitator says, where the seller names none. Without a fee there is none.
    fn enhance(
        &self,
        mut offer: PaymentRequirements,
        kind: &SupportedKind,
    ) -> Result<PaymentRequirements, OfferError> {
        let said = |name: &str| kind.extra.get(name).filter(|value| !value.is_null());
        if offer.extra_str("captureAuthorizer").is_none() {
            let operator = said("captureAuthorizer").and_then(Value::as_str).and_then(parse_address);
            let operator = operator.ok_or_else(|| {
                wrong("captureAuthorizer", "must be said by the facilitator, or set by the seller")
            })?;
            offer.extra.insert("captureAuthorizer".to_owned(), operator.to_checksum(None).into());
        }
        if self.fees.is_none() {
            let bps = |name: &str| match said(name) {
                None => Ok(0),
                Some(value) => value
                    .as_u64()
                    .and_then(|bps| u16::try_from(bps).ok())
                    .ok_or_else(|| wrong("fees", "must be basis points")),
            };
            let recipient = said("feeRecipient").and_then(Value::as_str).and_then(parse_address);
            let fees = FeeTerms {
                recipient: recipient.unwrap_or_default(),
                min_bps: bps("minFeeBps")?,
                max_bps: bps("maxFeeBps")?,
            };
            fees.check_bounds().map_err(|refusal| wrong("fees", refusal.rule))?;
            write_fees(&mut offer.extra, fees);
        }
        Ok(offer)
    }

    fn check(
        &self,
        payment: &PaymentPayload,
        offer: &PaymentRequirements,
        now: UnixTime,
    ) -> Result<Checked, Refusal> {
        check(payment, offer, now).map(|collection| collection.checked())
    }

    fn money_in(&self, money: &Money, offer: &PaymentRequirements) -> Option<Amount> {
        money_in(&self.assets, money, offer)
    }

    fn escrow(&self) -> Option<&dyn EscrowScheme> {
        Some(self)
    }
}

impl AuthCaptureSeller {
    /// The terms of an offer, where that is all that is wanted.
    ///
    /// # Errors
    /// The offer has no deadlines yet, or is not one of this scheme.
    ///
    /// ```
    /// # use tollway_core::{Price, SellerScheme, Terms};
    /// # use tollway_evm::{Address, AssetTable, auth_capture::AuthCaptureSeller};
    /// # let network = "eip155:8453".parse()?;
    /// # let pay_to = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C".to_owned();
    /// # let terms = Terms { network, pay_to, max_timeout_seconds: 300 };
    /// # let seller = AuthCaptureSeller::new(AssetTable::known(), Address::repeat_byte(1));
    /// # let template = seller.offer(&Price::Money("$0.01".parse()?), &terms)?;
    /// assert!(seller.terms(&template).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn terms(&self, offer: &PaymentRequirements) -> Result<CaptureTerms, Refusal> {
        let terms = CaptureTerms::read(offer)?;
        if terms.receiver_authorizer == self.receiver_authorizer {
            return Ok(terms);
        }
        let rule = format!("must be {}", self.receiver_authorizer);
        let field = "paymentRequirements.extra.receiverAuthorizer";
        Err(Refusal::new(ErrorCode::INVALID_AUTH_CAPTURE_EVM_EXTRA, field, rule))
    }
}

fn write_fees(extra: &mut JsonObject, fees: FeeTerms) {
    extra.insert("feeRecipient".to_owned(), fees.recipient.to_checksum(None).into());
    extra.insert("minFeeBps".to_owned(), fees.min_bps.into());
    extra.insert("maxFeeBps".to_owned(), fees.max_bps.into());
}

fn wrong(field: &'static str, rule: impl Into<String>) -> OfferError {
    OfferError::Field { field, rule: rule.into() }
}
