//! A payment as a facilitator settles it, whatever the payer signed. The engine knows [`Payment`] and [`Settleable`];
//! what one method signs, calls and proves lives with that method (`exact`, ..).

use std::fmt::Debug;
use std::ops::Deref;

use alloy_primitives::{Address, B256, Log, U256};
use alloy_sol_types::{SolCall, sol};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tollway_core::model::FacilitatorRequest;
use tollway_core::{AuthorizationKey, ErrorCode, Network, Refusal, SchemeName, UnixTime};

use crate::auth_capture::AuthCapture;
use crate::batch_settlement::ChannelOperation;
use crate::delegation::{self, DelegationPayment};
use crate::exact::{self, ExactPayment, TokenEvents, TransferProof};
use crate::multicall::Call;
use crate::permit2::{self, Ceiling, Permit, PermitPayment, Proxy, SponsoredApproval};
use crate::signature::PayerSignature;

sol! {
    interface Erc20 {
        function balanceOf(address account) external view returns (uint256);
    }
}

/// A payment that can be settled by one call, once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Payment {
    /// Scheme `exact` by EIP-3009.
    Eip3009(ExactPayment),
    /// Scheme `auth-capture`.
    AuthCapture(AuthCapture),
    /// Scheme `batch-settlement`: what is done to channels.
    BatchSettlement(ChannelOperation),
    /// Scheme `exact` by Permit2, and scheme `upto`.
    Permit2(PermitPayment),
    /// Scheme `exact` by delegation (ERC-7710).
    Delegation(DelegationPayment),
}

/// What a payment tells whoever settles it. Every method of payment implements it.
pub trait Settleable: Debug + Send + Sync {
    /// Where it settles.
    fn network(&self) -> &Network;
    /// The token.
    fn asset(&self) -> Address;
    /// Who pays.
    fn payer(&self) -> Address;
    /// Whom the token must name as the receiver of [`value`](Self::value).
    fn payee(&self) -> Address;
    /// What moves now, atomic units.
    fn value(&self) -> U256;
    /// When it may settle first, seconds.
    fn valid_after(&self) -> U256;
    /// When it is too late, as far as seconds in 64 bits reach.
    fn expires(&self) -> UnixTime;
    /// What makes it unique among the payer's payments in its [`nonce_space`](Self::nonce_space).
    fn nonce(&self) -> B256;
    /// The contract that keeps account of the nonce.
    fn nonce_space(&self) -> Address;
    /// How the payer signed.
    fn signature(&self) -> &PayerSignature;
    /// Everything the payer signed, in one fixed order, without the signature.
    fn signed_words(&self) -> Vec<B256>;

    /// The call that moves the money. Whoever sends it pays the gas.
    fn call(&self) -> Call;
    /// The most gas its call may use.
    fn max_gas(&self) -> u64;
    /// Whether it goes into no transaction with others, because what runs is not only known code.
    fn is_alone(&self) -> bool;
    /// Who must send the call itself, if not anybody.
    fn sender(&self) -> Option<Address> {
        None
    }

    /// The question to [`nonce_space`](Self::nonce_space) whether the nonce is used; none if nobody on chain knows.
    fn state_call(&self) -> Option<Call>;
    /// Reads the answer to [`state_call`](Self::state_call).
    fn is_used(&self, answer: &[u8]) -> Option<bool>;
    /// Questions of which each answer must cover [`value`](Self::value): the balance, and then what may be taken of it.
    fn funds_calls(&self) -> Vec<Call> {
        vec![balance_call(self)]
    }
    /// The event that proves that this payment moved, among those of its token in one receipt.
    fn prove(&self, events: &TokenEvents) -> Option<TransferProof>;

    /// How the protocol names what is wrong with such a payment: its code, and the field of the payload.
    fn naming(&self, trouble: Trouble) -> (ErrorCode, &'static str);
    /// The code for what its call would revert with, where its contracts name their reasons.
    fn revert_code(&self, _data: &[u8]) -> Option<ErrorCode> {
        None
    }
    /// What the ledger keeps of it. Read back by [`Payment::decode`].
    fn encode(&self) -> Value;
}

/// The question to the token what the payer has.
pub(crate) fn balance_call(payment: &(impl Settleable + ?Sized)) -> Call {
    let call = Erc20::balanceOfCall { account: payment.payer() };
    Call { to: payment.asset(), data: call.abi_encode().into() }
}

/// What can be wrong with a payment that is well signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// Its nonce is used.
    NonceUsed,
    /// The payer has less.
    Funds,
    /// The payer allows less to be taken.
    Allowance,
    /// Only somebody else may send it.
    Sender,
    /// It has expired, or will too soon, or too late.
    ValidBefore,
    /// It is not valid yet.
    ValidAfter,
    /// Its signature is not the payer's, as the chain sees it.
    Signature,
    /// Its call would revert.
    Reverts,
    /// Its call would move something else.
    AnotherAmount,
}

impl Payment {
    /// Reads and checks a request: every rule that needs no chain. Without `now` it is to be settled: a payment's fate is
    /// asked after it has expired, too.
    ///
    /// # Errors
    /// [`Refusal`] with the code of the specification, the field and the rule.
    ///
    /// ```
    /// use tollway_evm::{Payment, Settleable};
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
    /// let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let payment = Payment::check(&request, None)?;
    /// assert_eq!(payment.value(), tollway_evm::U256::from(20_000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check(request: &FacilitatorRequest, now: Option<UnixTime>) -> Result<Self, Refusal> {
        let FacilitatorRequest { payment, requirements, .. } = request;
        if requirements.scheme == SchemeName::AUTH_CAPTURE {
            return AuthCapture::check(request, now).map(Self::AuthCapture);
        }
        if requirements.scheme == SchemeName::BATCH_SETTLEMENT {
            return ChannelOperation::check(request, now).map(Self::BatchSettlement);
        }
        if delegation::pays(requirements) {
            return delegation::check(payment, requirements).map(Self::Delegation);
        }
        if permit2::pays(requirements) {
            let checked = match now {
                Some(now) => permit2::check(payment, requirements, Ceiling::Equal, now),
                None => permit2::check_at_any_time(payment, requirements),
            };
            return checked.map(Self::Permit2);
        }
        let checked = match now {
            Some(now) => exact::check(payment, requirements, now),
            None => exact::check_at_any_time(payment, requirements),
        };
        checked.map(Self::Eip3009)
    }

    /// The schemes whose payments settle whoever asks for it. [`check`](Self::check) knows `batch-settlement` too, of which
    /// some requests need a facilitator's consent first.
    pub const SCHEMES: [SchemeName; 3] = [SchemeName::EXACT, SchemeName::UPTO, SchemeName::AUTH_CAPTURE];

    /// What makes it unique, whatever the spelling it came in.
    ///
    /// ```
    /// use tollway_evm::Payment;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let key = Payment::check(&request, None)?.key();
    /// assert!(key.as_str().starts_with("eip155:31337/0x5fbdb2315678afecb367f032d93f642f64180aa3")); // payer, nonce
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn key(&self) -> AuthorizationKey {
        let (network, space) = (self.network(), self.nonce_space());
        AuthorizationKey::new(format!("{network}/{space:#x}/{:#x}/{:#x}", self.payer(), self.nonce()))
    }

    /// A hash of everything the payer signed: two payments under one key may be different ones.
    ///
    /// ```
    /// use tollway_evm::Payment;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let payment = Payment::check(&request, None)?;
    /// assert_eq!(payment.digest(), payment.clone().digest());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for word in self.signed_words() {
            hash.update(word);
        }
        hash.update(self.nonce_space());
        hash.update(self.network().as_str());
        hash.finalize().into()
    }

    /// The refusal of this payment for `trouble`, as `rule`.
    ///
    /// ```
    /// use tollway_evm::{Payment, Trouble};
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let refusal = Payment::check(&request, None)?.refusal(Trouble::NonceUsed, "must be unused");
    /// assert_eq!(refusal.to_string(), "payload.authorization.nonce: must be unused");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn refusal(&self, trouble: Trouble, rule: impl Into<String>) -> Refusal {
        let (code, field) = self.naming(trouble);
        Refusal::new(code, field, rule).by(self.payer().to_checksum(None))
    }

    /// Whether `refusal` says that the nonce is used.
    ///
    /// ```
    /// use tollway_evm::{Payment, Trouble};
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let payment = Payment::check(&request, None)?;
    /// assert!(payment.is_refused_as_used(&payment.refusal(Trouble::NonceUsed, "must be unused")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_refused_as_used(&self, refusal: &Refusal) -> bool {
        refusal.code == self.naming(Trouble::NonceUsed).0
    }

    /// The time window alone: not before it is valid, and at least [`MIN_REMAINING_SECONDS`](exact::MIN_REMAINING_SECONDS)
    /// left.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    ///
    /// ```
    /// use tollway_core::UnixTime;
    /// use tollway_evm::Payment;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let payment = Payment::check(&request, None)?; // until 1750000090
    /// assert!(payment.check_window(UnixTime(1_750_000_084)).is_ok());
    /// assert!(payment.check_window(UnixTime(1_750_000_085)).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check_window(&self, now: UnixTime) -> Result<(), Refusal> {
        let least = exact::MIN_REMAINING_SECONDS;
        let expires = self.expires();
        if expires < now.plus_seconds(least) {
            let rule = format!("must be at least {least} seconds from now ({}), is {}", now.0, expires.0);
            return Err(self.refusal(Trouble::ValidBefore, rule));
        }
        if self.valid_after() > U256::from(now.0) {
            let rule = format!("must not be after now ({}), is {}", now.0, self.valid_after());
            return Err(self.refusal(Trouble::ValidAfter, rule));
        }
        Ok(())
    }

    /// Whether the two may go into one transaction: both are judged in the same way, and neither runs code that nobody
    /// knows.
    ///
    /// ```
    /// use tollway_evm::Payment;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let payment = Payment::check(&request, None)?;
    /// assert!(payment.may_share_with(&payment));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn may_share_with(&self, other: &Self) -> bool {
        // What has no mark is told from the others by the calls of the transaction: they are all of one token.
        let is_told_apart = self.is_marked() || self.asset() == other.asset();
        // Deposits into channels are told apart by what the contract says between them.
        let is_of_kind = self.batch_settlement().is_some() == other.batch_settlement().is_some();
        let is_company = !self.is_alone() && !other.is_alone() && is_of_kind;
        is_company && self.is_probed() == other.is_probed() && is_told_apart
    }

    /// Whether its events tell its transfer from others that look the same. Those without a mark must be the only ones of
    /// their kind in a transaction.
    ///
    /// ```
    /// use tollway_evm::Payment;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// assert!(Payment::check(&request, None)?.is_marked(), "AuthorizationUsed (EIP-3009)");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn is_marked(&self) -> bool {
        matches!(self, Self::Eip3009(_))
    }

    /// The event that proves this payment among the logs of one receipt, given with their index in the block.
    ///
    /// ```
    /// # use alloy_primitives::Log;
    /// use tollway_evm::Payment;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let logs: [Log; 0] = []; // the token took the call and did nothing
    /// assert_eq!(Payment::check(&request, None)?.prove_in((0..).zip(&logs)), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prove_in<'a>(&self, logs: impl IntoIterator<Item = (u64, &'a Log)>) -> Option<TransferProof> {
        match self {
            Self::AuthCapture(payment) => payment.prove_among(logs),
            Self::BatchSettlement(operation) => operation.prove_among(logs),
            _ => self.prove(&TokenEvents::read(self.asset(), logs)),
        }
    }

    /// Whether another contract than the token must say something too: then only [`prove_in`](Self::prove_in) proves it.
    ///
    /// ```
    /// use tollway_evm::Payment;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_capture_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// assert!(Payment::check(&request, None)?.has_witness(), "the escrow");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn has_witness(&self) -> bool {
        matches!(self, Self::AuthCapture(_) | Self::BatchSettlement(_))
    }

    /// What only scheme `auth-capture` says of a payment.
    ///
    /// ```
    /// use tollway_evm::Payment;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// assert!(Payment::check(&request, None)?.auth_capture().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn auth_capture(&self) -> Option<&AuthCapture> {
        match self {
            Self::AuthCapture(payment) => Some(payment),
            _ => None,
        }
    }

    /// Whether it was agreed to before, and waits for no authorization that ends: what happens to a payment in escrow, and what
    /// a seller asks for of channels that were paid into.
    ///
    /// ```
    /// use tollway_evm::Payment;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// assert!(!Payment::check(&request, None)?.is_later());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn is_later(&self) -> bool {
        match self {
            Self::AuthCapture(payment) => payment.is_later(),
            Self::BatchSettlement(operation) => operation.is_by_seller(),
            _ => false,
        }
    }

    /// What only scheme `batch-settlement` says of a payment.
    ///
    /// ```
    /// use tollway_evm::Payment;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// assert!(Payment::check(&request, None)?.batch_settlement().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn batch_settlement(&self) -> Option<&ChannelOperation> {
        match self {
            Self::BatchSettlement(operation) => Some(operation),
            _ => None,
        }
    }

    /// Takes up the transaction that approves Permit2 and comes with the payment (extension `erc20ApprovalGasSponsoring`),
    /// if there is one and nothing better: whoever calls this means to send it. To be called with the request that was
    /// checked.
    ///
    /// # Errors
    /// [`Refusal`], as [`SponsoredApproval::read`].
    ///
    /// ```
    /// use tollway_evm::Payment;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/permit2_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let mut payment = Payment::check(&request, None)?;
    /// payment.take_approval(&request)?;
    /// assert!(payment.sponsored_approval().is_none()); // it carries none
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn take_approval(&mut self, request: &FacilitatorRequest) -> Result<(), Refusal> {
        if let Self::Permit2(payment) = self
            && payment.approval.is_none()
        {
            payment.sponsored = SponsoredApproval::read(&request.payment, payment)?.map(Box::new);
        }
        if let Self::BatchSettlement(operation) = self {
            operation.take_approval()?;
        }
        Ok(())
    }

    /// The transaction of the payer's that must be included before this can settle, if there is one.
    ///
    /// ```
    /// use tollway_evm::Payment;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// assert!(Payment::check(&request, None)?.sponsored_approval().is_none(), "EIP-3009 needs none");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sponsored_approval(&self) -> Option<&SponsoredApproval> {
        match self {
            Self::Permit2(payment) => payment.sponsored.as_deref(),
            Self::BatchSettlement(operation) => operation.sponsored_approval(),
            _ => None,
        }
    }

    /// Whether the quick look at many payments together (`exact/simulate.rs`) can judge it.
    pub(crate) const fn is_probed(&self) -> bool {
        match self {
            // Who is not there yet has no code to be seen.
            Self::Eip3009(exact) => exact.signature.deployment().is_none(),
            Self::AuthCapture(_) | Self::BatchSettlement(_) | Self::Permit2(_) | Self::Delegation(_) => false,
        }
    }

    /// Whether less may be charged than was signed (scheme `upto`).
    ///
    /// ```
    /// use tollway_evm::Payment;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/upto_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// assert!(Payment::check(&request, None)?.is_metered());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn is_metered(&self) -> bool {
        matches!(self, Self::Permit2(PermitPayment { permit: Permit { proxy: Proxy::Upto { .. }, .. }, .. }))
    }

    /// The same payment with `amount` charged of it, where it is metered.
    pub(crate) fn of_amount(&self, amount: U256) -> Self {
        match self {
            Self::Permit2(permit) if self.is_metered() => {
                Self::Permit2(PermitPayment { value: amount, ..permit.clone() })
            }
            _ => self.clone(),
        }
    }

    /// Reads what [`Settleable::encode`] wrote.
    ///
    /// ```
    /// use tollway_evm::{Payment, Settleable};
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let payment = Payment::check(&request, None)?;
    /// assert_eq!(Payment::decode(&payment.encode()), Some(payment));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn decode(record: &Value) -> Option<Self> {
        match record.get("method") {
            None => ExactPayment::decode(record).map(Self::Eip3009),
            Some(method) if method == "auth-capture" => AuthCapture::decode(record).map(Self::AuthCapture),
            Some(method) if method == "batch-settlement" => {
                ChannelOperation::decode(record).map(Self::BatchSettlement)
            }
            Some(Value::String(method)) if method == permit2::METHOD => {
                PermitPayment::decode(record).map(Self::Permit2)
            }
            Some(Value::String(method)) if method == delegation::METHOD => {
                DelegationPayment::decode(record).map(Self::Delegation)
            }
            Some(_) => None,
        }
    }
}

impl From<PermitPayment> for Payment {
    fn from(payment: PermitPayment) -> Self {
        Self::Permit2(payment)
    }
}

impl From<ExactPayment> for Payment {
    fn from(payment: ExactPayment) -> Self {
        Self::Eip3009(payment)
    }
}

impl Deref for Payment {
    type Target = dyn Settleable;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Eip3009(payment) => payment,
            Self::AuthCapture(payment) => payment,
            Self::BatchSettlement(operation) => operation,
            Self::Permit2(payment) => payment,
            Self::Delegation(payment) => payment,
        }
    }
}
