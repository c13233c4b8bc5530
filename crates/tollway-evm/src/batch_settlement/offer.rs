//! The seller's side: from a price to an offer, what a payment on a channel says, and what is asked of a facilitator later.

use std::sync::Arc;

use alloy_primitives::Address;
use serde_json::Value;
use tollway_core::model::{
    Accepted, FacilitatorRequest, PaymentPayload, PaymentRequirements, SettleResponse, SupportedKind,
};
use tollway_core::{
    Amount, Backing, BoxFuture, ChannelCodes, ChannelScheme, ChannelSnapshot, Checked, ClaimRow, Commitment,
    CommitmentKind, ErrorCode, JsonObject, Money, Network, OfferError, Price, Refusal, SchemeName,
    SellerScheme, SignError, Terms, UnixTime, X402Version,
};

use super::channel::{WITHDRAW_DELAY_SECONDS, channel_key};
use super::claim::sign_claims;
use super::payload::{BatchPayload, ClaimBatch, ClaimEntry, Refund, RefundCompletion};
use super::refund::RefundConsent;
use super::told::ChannelState;
use super::verify::{Purpose, check};
use super::voucher::proof;
use super::{code, told};
use crate::exact::parse_address;
use crate::permit2;
use crate::pricing::{Pricing, money_in};
use crate::{AssetTable, Signer};

/// A day: a seller that is down for a night loses nothing, and who wants the money back at once asks for a refund.
const WITHDRAW_SECONDS: u64 = 86_400;
/// A first deposit pays for so many requests, unless told otherwise.
const MIN_DEPOSIT_TIMES: u64 = 10;
const MIN_DEPOSIT: &str = "minDeposit";
const RECEIVER_AUTHORIZER: &str = "receiverAuthorizer";

/// Scheme `batch-settlement` on EVM for sellers: a price is the most that a request costs, and it is paid by a voucher on a
/// channel.
#[derive(Clone, Debug)]
pub struct BatchSettlement {
    assets: AssetTable,
    key: Option<Arc<dyn Signer>>,
    receiver_authorizer: Option<Address>,
    withdraw_delay_seconds: u64,
    min_deposit_times: u64,
    enforces_min_deposit: bool,
    codes: Arc<ChannelCodes>,
}

impl BatchSettlement {
    /// Offers with a withdrawal delay of a day and a first deposit of ten prices. Without a key, the facilitator's consents
    /// to claims and refunds, if it has one.
    ///
    /// ```
    /// use tollway_core::{SchemeName, SellerScheme};
    /// use tollway_evm::{AssetTable, batch_settlement::BatchSettlement};
    /// let seller = BatchSettlement::new(AssetTable::known());
    /// assert_eq!(seller.name(), &SchemeName::BATCH_SETTLEMENT);
    /// assert!(seller.channel().is_some());
    /// ```
    pub fn new(assets: AssetTable) -> Self {
        Self {
            assets,
            key: None,
            receiver_authorizer: None,
            withdraw_delay_seconds: WITHDRAW_SECONDS,
            min_deposit_times: MIN_DEPOSIT_TIMES,
            enforces_min_deposit: false,
            codes: Arc::new(codes()),
        }
    }

    /// Consents to claims and refunds by this key: its account is the offers' receiver authorizer.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollway_evm::{AssetTable, LocalSigner, batch_settlement::BatchSettlement};
    /// let key = Arc::new(LocalSigner::random()?);
    /// let seller = BatchSettlement::new(AssetTable::known()).with_key(key);
    /// # Ok::<(), tollway_evm::SignerError>(())
    /// ```
    #[must_use]
    pub fn with_key(mut self, key: Arc<dyn Signer>) -> Self {
        self.receiver_authorizer = Some(key.address());
        self.key = Some(key);
        self
    }

    /// Names the receiver authorizer where its key is not here, such as a contract.
    ///
    /// ```
    /// use tollway_evm::{Address, AssetTable, batch_settlement::BatchSettlement};
    /// let seller = BatchSettlement::new(AssetTable::known())
    ///     .with_receiver_authorizer(Address::repeat_byte(1));
    /// ```
    #[must_use]
    pub const fn with_receiver_authorizer(mut self, receiver_authorizer: Address) -> Self {
        self.receiver_authorizer = Some(receiver_authorizer);
        self
    }

    /// How long payers wait between asking for a withdrawal and withdrawing, seconds: in this time the seller must claim.
    ///
    /// ```
    /// use tollway_evm::{AssetTable, batch_settlement::BatchSettlement};
    /// let seller = BatchSettlement::new(AssetTable::known()).with_withdraw_delay_seconds(3_600);
    /// ```
    #[must_use]
    pub const fn with_withdraw_delay_seconds(mut self, seconds: u64) -> Self {
        self.withdraw_delay_seconds = seconds;
        self
    }

    /// How many prices a first deposit should be. An offer's own `minDeposit`, in atomic units, counts more.
    ///
    /// ```
    /// use tollway_evm::{AssetTable, batch_settlement::BatchSettlement};
    /// let seller = BatchSettlement::new(AssetTable::known()).with_min_deposit_times(100);
    /// ```
    #[must_use]
    pub const fn with_min_deposit_times(mut self, times: u64) -> Self {
        self.min_deposit_times = times;
        self
    }

    /// Refuses smaller deposits, rather than only saying so.
    ///
    /// ```
    /// use tollway_evm::{AssetTable, batch_settlement::BatchSettlement};
    /// let seller = BatchSettlement::new(AssetTable::known()).enforcing_min_deposit();
    /// ```
    #[must_use]
    pub const fn enforcing_min_deposit(mut self) -> Self {
        self.enforces_min_deposit = true;
        self
    }

    fn min_deposit(&self, offer: &PaymentRequirements) -> Result<Amount, OfferError> {
        let Some(given) = offer.extra.get(MIN_DEPOSIT).filter(|value| !value.is_null()) else {
            let times = alloy_primitives::U256::from(self.min_deposit_times.max(1));
            return Ok(Amount::from_atomic(offer.amount.atomic().saturating_mul(times)));
        };
        let given: Option<Amount> = given.as_str().and_then(|text| text.parse().ok());
        let given = given.filter(|amount| *amount > Amount::ZERO);
        let rule = "must be a number of atomic units, as text, more than zero";
        given.map(|given| given.max(offer.amount)).ok_or_else(|| wrong(MIN_DEPOSIT, rule))
    }

    fn refuse_small(&self, amount: u128, offer: &PaymentRequirements) -> Result<(), Refusal> {
        if !self.enforces_min_deposit {
            return Ok(());
        }
        let least = self.min_deposit(offer).map_or(Amount::ZERO, |least| least);
        if Amount::from_atomic(alloy_primitives::U256::from(amount)) >= least {
            return Ok(());
        }
        let rule = format!("must be at least the offer's minDeposit {least}");
        Err(Refusal::new(code::DEPOSIT_BELOW_MIN_DEPOSIT, "payload.deposit.amount", rule))
    }

    /// The key, if it is that of this authorizer.
    fn key_of(&self, authorizer: Address) -> Result<Option<&dyn Signer>, SignError> {
        match &self.key {
            None => Ok(None),
            Some(key) if key.address() == authorizer => Ok(Some(key.as_ref())),
            Some(key) => {
                let ours = key.address();
                let rule =
                    format!("the channel's receiver authorizer is {authorizer}, and the key is of {ours}");
                Err(SignError::Signer(rule))
            }
        }
    }

    async fn claim(
        &self,
        offer: &PaymentRequirements,
        rows: &[ClaimRow],
    ) -> Result<FacilitatorRequest, SignError> {
        let chain_id = chain_id(offer)?;
        let claims: Result<Vec<_>, _> = rows.iter().map(ClaimEntry::of).collect();
        let claims = claims.map_err(SignError::Offer)?;
        let authorizer = one_authorizer(&claims).map_err(SignError::Offer)?;
        let authorizer_signature = match self.key_of(authorizer)? {
            Some(key) => Some(sign_claims(&claims, chain_id, key).await.map_err(signer_failed)?),
            None => None,
        };
        let batch = ClaimBatch { claims, authorizer_signature };
        Ok(request(offer, BatchPayload::Claim(batch).encode()))
    }

    async fn refund(
        &self,
        offer: &PaymentRequirements,
        row: &ClaimRow,
        backing: &Backing,
        amount: Amount,
    ) -> Result<FacilitatorRequest, SignError> {
        let chain_id = chain_id(offer)?;
        let claim = ClaimEntry::of(row).map_err(SignError::Offer)?;
        let amount = u128::try_from(amount.atomic()).ok().filter(|amount| *amount > 0).ok_or_else(|| {
            let rule = "must be more than zero and fit in 128 bits";
            SignError::Offer(Refusal::new(code::REFUND_AMOUNT_INVALID, "payload.amount", rule))
        })?;
        let (config, voucher) = (claim.config, claim.voucher(chain_id));
        let claims = if row.total > backing.claimed { vec![claim] } else { Vec::new() };
        let consent = RefundConsent {
            channel_id: voucher.voucher.channel_id,
            nonce: backing.refund_nonce.atomic(),
            amount,
        };
        let (mut refund_signature, mut claim_signature) = (None, None);
        if let Some(key) = self.key_of(config.receiver_authorizer)? {
            refund_signature = Some(consent.sign(chain_id, key).await.map_err(signer_failed)?);
            if !claims.is_empty() {
                claim_signature = Some(sign_claims(&claims, chain_id, key).await.map_err(signer_failed)?);
            }
        }
        let completion = RefundCompletion { nonce: consent.nonce, claims, refund_signature, claim_signature };
        let refund = Refund { config, voucher, amount: Some(amount), completion: Some(completion) };
        Ok(request(offer, BatchPayload::Refund(refund).encode()))
    }
}

impl SellerScheme for BatchSettlement {
    fn name(&self) -> &SchemeName {
        &SchemeName::BATCH_SETTLEMENT
    }

    fn covers(&self, network: &Network) -> bool {
        network.evm_chain_id().is_some()
    }

    fn offer(&self, price: &Price, terms: &Terms) -> Result<PaymentRequirements, OfferError> {
        let pricing = Pricing { assets: &self.assets, scheme: SchemeName::BATCH_SETTLEMENT, only: None };
        let mut offer = pricing.offer(price, terms)?;
        if !WITHDRAW_DELAY_SECONDS.contains(&self.withdraw_delay_seconds) {
            let (least, most) = (WITHDRAW_DELAY_SECONDS.start(), WITHDRAW_DELAY_SECONDS.end());
            return Err(wrong("withdrawDelay", format!("must be from {least} to {most} seconds")));
        }
        if self.receiver_authorizer == Some(Address::ZERO) {
            return Err(wrong(RECEIVER_AUTHORIZER, "must not be the zero address"));
        }
        let min_deposit = self.min_deposit(&offer)?;
        let mut set = |name: &str, value: Value| offer.extra.insert(name.to_owned(), value);
        if let Some(authorizer) = self.receiver_authorizer {
            set(RECEIVER_AUTHORIZER, authorizer.to_checksum(None).into());
        }
        set("withdrawDelay", self.withdraw_delay_seconds.into());
        set(MIN_DEPOSIT, min_deposit.to_string().into());
        Ok(offer)
    }

    /// With the receiver authorizer that the facilitator has, where the seller has none.
    fn enhance(
        &self,
        mut offer: PaymentRequirements,
        kind: &SupportedKind,
    ) -> Result<PaymentRequirements, OfferError> {
        if offer.extra_str(RECEIVER_AUTHORIZER).is_none() {
            let said = kind.extra.get(RECEIVER_AUTHORIZER).and_then(Value::as_str);
            let said = said.and_then(parse_address).filter(|address| *address != Address::ZERO);
            let said = said.ok_or_else(|| {
                wrong(RECEIVER_AUTHORIZER, "must be said by the facilitator, or the seller needs a key")
            })?;
            offer.extra.insert(RECEIVER_AUTHORIZER.to_owned(), said.to_checksum(None).into());
        }
        Ok(offer)
    }

    fn declare(&self, offer: &PaymentRequirements, understood: &[String]) -> JsonObject {
        permit2::declare(offer, understood)
    }

    fn check(&self, _: &PaymentPayload, _: &PaymentRequirements, _: UnixTime) -> Result<Checked, Refusal> {
        let rule = "must be paid on a channel: there is no payment of this scheme by itself";
        Err(Refusal::new(ErrorCode::UNSUPPORTED_SCHEME, "accepted.scheme", rule))
    }

    fn money_in(&self, money: &Money, offer: &PaymentRequirements) -> Option<Amount> {
        money_in(&self.assets, money, offer)
    }

    fn channel(&self) -> Option<&dyn ChannelScheme> {
        Some(self)
    }
}

impl ChannelScheme for BatchSettlement {
    fn commitment(
        &self,
        payment: &PaymentPayload,
        offer: &PaymentRequirements,
        now: UnixTime,
    ) -> Result<Commitment, Refusal> {
        let paid = check(payment, offer, Some(now))?;
        let payer = paid.config.payer.to_checksum(None);
        let kind = match &paid.purpose {
            Purpose::Pay => CommitmentKind::Voucher,
            Purpose::Deposit(deposit) => {
                self.refuse_small(deposit.amount, offer).map_err(|refusal| refusal.by(payer.clone()))?;
                let key = deposit.key(&offer.network, &paid.config);
                CommitmentKind::Deposit { amount: atomic(deposit.amount), key }
            }
            Purpose::Refund { amount } => CommitmentKind::Refund { amount: amount.map(atomic) },
        };
        Ok(Commitment {
            channel: channel_key(&offer.network, paid.voucher.channel_id),
            kind,
            payer,
            ceiling: atomic(paid.voucher.max_claimable),
            proof: proof(&paid.signature),
            is_proved: paid.is_proved(),
            withdraw_delay_seconds: paid.config.withdraw_delay_seconds,
        })
    }

    fn terms<'a>(&self, payment: &'a PaymentPayload) -> Option<&'a JsonObject> {
        payment.payload.get("channelConfig")?.as_object()
    }

    fn backing(&self, extra: &JsonObject) -> Option<Backing> {
        ChannelState::read(extra).map(|state| state.backing)
    }

    fn corrected(&self, offer: &PaymentRequirements, snapshot: &ChannelSnapshot) -> PaymentRequirements {
        told::correct(snapshot, offer)
    }

    fn receipt(
        &self,
        offer: &PaymentRequirements,
        payer: &str,
        snapshot: &ChannelSnapshot,
        charged: Option<Amount>,
        settled: Option<&SettleResponse>,
    ) -> SettleResponse {
        let mut receipt = match settled {
            Some(settled) => SettleResponse { payer: Some(payer.to_owned()), ..settled.clone() },
            None => {
                let none = SettleResponse::settled(offer.network.clone(), payer, "");
                SettleResponse { amount: Some(String::new()), ..none }
            }
        };
        told::charge(&mut receipt.extra, charged, snapshot);
        receipt
    }

    fn look_request(&self, offer: &PaymentRequirements, row: &ClaimRow) -> FacilitatorRequest {
        let id = (ClaimEntry::of(row).ok().zip(offer.network.evm_chain_id()))
            .map(|(claim, chain_id)| claim.config.id(chain_id).to_string());
        let payload = serde_json::json!({
            "type": "voucher", "channelConfig": row.terms,
            "voucher": {
                "channelId": id, "maxClaimableAmount": row.signed.to_string(), "signature": row.proof,
            },
        });
        request(offer, payload.as_object().cloned().unwrap_or_default())
    }

    fn claim_request<'a>(
        &'a self,
        offer: &'a PaymentRequirements,
        rows: &'a [ClaimRow],
    ) -> BoxFuture<'a, Result<FacilitatorRequest, SignError>> {
        Box::pin(self.claim(offer, rows))
    }

    fn settle_request(&self, offer: &PaymentRequirements) -> FacilitatorRequest {
        let payload = serde_json::json!({
            "type": "settle", "receiver": offer.pay_to, "token": offer.asset,
        });
        request(offer, payload.as_object().cloned().unwrap_or_default())
    }

    fn refund_request<'a>(
        &'a self,
        offer: &'a PaymentRequirements,
        row: &'a ClaimRow,
        backing: &'a Backing,
        amount: Amount,
    ) -> BoxFuture<'a, Result<FacilitatorRequest, SignError>> {
        Box::pin(self.refund(offer, row, backing, amount))
    }

    fn codes(&self) -> &ChannelCodes {
        &self.codes
    }
}

/// How the scheme names what a seller refuses.
pub(super) fn codes() -> ChannelCodes {
    ChannelCodes {
        busy: code::CHANNEL_BUSY,
        mismatch: code::CUMULATIVE_AMOUNT_MISMATCH,
        exceeds_balance: code::CUMULATIVE_EXCEEDS_BALANCE,
        below_claimed: code::CUMULATIVE_BELOW_CLAIMED,
        signature: code::VOUCHER_SIGNATURE,
        missing: code::MISSING_CHANNEL,
        unavailable: code::VERIFICATION_STATE_UNAVAILABLE,
        charge_exceeds_signed: code::CHARGE_EXCEEDS_SIGNED_CUMULATIVE,
        refund_no_balance: code::REFUND_NO_BALANCE,
        refund_amount: code::REFUND_AMOUNT_INVALID,
    }
}

fn one_authorizer(claims: &[ClaimEntry]) -> Result<Address, Refusal> {
    let refuse = |rule| Refusal::new(code::CLAIM_PAYLOAD, "payload.claims", rule);
    let first = claims.first().ok_or_else(|| refuse("must not be empty"))?.config.receiver_authorizer;
    match claims.iter().all(|claim| claim.config.receiver_authorizer == first) {
        true => Ok(first),
        false => Err(refuse("must be of one receiver authorizer")),
    }
}

/// The request about a channel: it stands under the seller's own offer.
fn request(offer: &PaymentRequirements, payload: JsonObject) -> FacilitatorRequest {
    FacilitatorRequest {
        payment: PaymentPayload {
            version: X402Version::V2,
            accepted: Accepted::Offer(Box::new(offer.clone())),
            payload,
            resource: None,
            extensions: JsonObject::new(),
            other: JsonObject::new(),
        },
        requirements: offer.clone(),
    }
}

fn chain_id(offer: &PaymentRequirements) -> Result<u64, SignError> {
    offer.network.evm_chain_id().ok_or_else(|| {
        let refusal = Refusal::new(ErrorCode::INVALID_NETWORK, "network", "must be an EVM network");
        SignError::Offer(refusal)
    })
}

fn signer_failed(error: crate::SignerError) -> SignError {
    SignError::Signer(error.to_string())
}

fn atomic(amount: u128) -> Amount {
    Amount::from_atomic(alloy_primitives::U256::from(amount))
}

fn wrong(field: &'static str, rule: impl Into<String>) -> OfferError {
    OfferError::Field { field, rule: rule.into() }
}
