//! The buyer's side: from an offer to a signed voucher, with money for the channel or with the wish to get some back. What to
//! sign, and when, is the wallet's: nothing here knows what was charged.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use tollway_core::model::{Accepted, PaymentPayload, PaymentRequired, PaymentRequirements, SettleResponse};
use tollway_core::{
    Amount, Backing, BoxFuture, BuyerChannel, BuyerChannelScheme, BuyerScheme, ChannelCodes, ChannelKey,
    ChannelWitness, ErrorCode, FacilitatorError, JsonObject, Network, OfferedValue, Refusal, SchemeName,
    SignError, SignedDeposit, ToldChannel, UnixTime, X402Version,
};

use super::channel::{ChannelConfig, WITHDRAW_DELAY_SECONDS, hash_words};
use super::deposit::{DepositTerms, method};
use super::fields::Reader;
use super::offer::codes;
use super::payload::{BatchPayload, Deposit, DepositAuthorization, Refund};
use super::verify::{party, receiver_authorizer};
use super::voucher::{SignedVoucher, Voucher, is_signed_by};
use super::{PERMIT2_COLLECTOR, code, told};
use crate::asset::TransferMethod;
use crate::permit2::{Allowances, Due, Known, attach_due};
use crate::pricing::value_of;
use crate::{AssetTable, Signer, SignerError};

/// What salts are made of unless a buyer says otherwise.
const LABEL: &str = "tollway";

/// Scheme `batch-settlement` on EVM for buyers: signs for one account.
#[derive(Clone, Debug)]
pub struct ChannelBuyer {
    signer: Arc<dyn Signer>,
    voucher_key: Option<Arc<dyn Signer>>,
    assets: AssetTable,
    allowances: Known,
    witnesses: Vec<Arc<dyn ChannelWitness>>,
    label: B256,
    codes: Arc<ChannelCodes>,
}

/// What an offer says of the channels that pay it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelTerms {
    /// Who is paid.
    pub receiver: Address,
    /// Whose signature consents to claims and refunds.
    pub receiver_authorizer: Address,
    /// The token.
    pub token: Address,
    /// How long a withdrawal takes.
    pub withdraw_delay_seconds: u64,
    /// The least that should be put in at once, if the offer says.
    pub min_deposit: Option<Amount>,
    /// By what a deposit is taken.
    pub method: TransferMethod,
}

impl ChannelTerms {
    /// Reads an offer.
    ///
    /// # Errors
    /// [`Refusal`] naming the field and the rule: the contract would take no such channel, or nobody could say which.
    ///
    /// ```
    /// use tollway_core::model::PaymentRequirements;
    /// use tollway_evm::batch_settlement::ChannelTerms;
    /// fn patience(offer: &PaymentRequirements) -> Option<u64> {
    ///     Some(ChannelTerms::read(offer).ok()?.withdraw_delay_seconds)
    /// }
    /// ```
    pub fn read(offer: &PaymentRequirements) -> Result<Self, Refusal> {
        let delay = match offer.extra.get("withdrawDelay").filter(|value| !value.is_null()) {
            None => Some(*WITHDRAW_DELAY_SECONDS.start()),
            Some(delay) => delay.as_u64(),
        };
        let delay = delay.filter(|delay| WITHDRAW_DELAY_SECONDS.contains(delay)).ok_or_else(|| {
            let (least, most) = (WITHDRAW_DELAY_SECONDS.start(), WITHDRAW_DELAY_SECONDS.end());
            let rule = format!("must be from {least} to {most} seconds");
            Refusal::new(code::WITHDRAW_DELAY_OUT_OF_RANGE, "extra.withdrawDelay", rule)
        })?;
        let told: Option<Amount> = offer.extra_str("minDeposit").and_then(|text| text.parse().ok());
        let strip = |refusal: Refusal| {
            let field = refusal.field.trim_start_matches("paymentRequirements.").to_owned();
            Refusal { field, ..refusal }
        };
        Ok(Self {
            receiver: party(&offer.pay_to, "payTo").map_err(strip)?,
            receiver_authorizer: receiver_authorizer(offer).map_err(strip)?,
            token: party(&offer.asset, "asset").map_err(strip)?,
            withdraw_delay_seconds: delay,
            // Less than the price could not pay for the request that it comes with: then it says nothing.
            min_deposit: told.filter(|told| *told >= offer.amount),
            method: method(offer).map_err(strip)?.unwrap_or_default(),
        })
    }
}

impl ChannelBuyer {
    /// Signs deposits and vouchers with `signer`; `assets` tells what offers are worth.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use tollway_core::{BuyerChannelScheme, ChannelScheme, UnixTime, model::PaymentRequired};
    /// use tollway_evm::batch_settlement::{BatchSettlement, ChannelBuyer};
    /// use tollway_evm::{AssetTable, LocalSigner};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/batch_settlement_request.json"));
    /// # let offer = &tollway_core::wire::decode_facilitator_request(json)?.requirements;
    /// # let required = PaymentRequired { version: tollway_core::X402Version::V2, error: None, resource: None,
    /// #   accepts: vec![offer.clone()], extensions: Default::default(), other: Default::default() };
    /// let buyer = ChannelBuyer::new(Arc::new(LocalSigner::random()?), AssetTable::known());
    /// let channel = buyer.channel(offer, 0)?;
    /// let payment = buyer.sign_voucher(&required, offer, &channel, offer.amount, None).await?;
    /// let said = BatchSettlement::new(AssetTable::known()).commitment(&payment, offer, UnixTime(1_750_000_000))?;
    /// assert_eq!((said.channel, said.ceiling), (channel.key, offer.amount));
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(signer: Arc<dyn Signer>, assets: AssetTable) -> Self {
        Self {
            signer,
            voucher_key: None,
            assets,
            allowances: Known::new(),
            witnesses: Vec::new(),
            label: keccak256(LABEL),
            codes: Arc::new(codes()),
        }
    }

    /// Signs vouchers with another key than the account's: one that can be kept at hand, and spends no more than the channel
    /// holds.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use tollway_evm::{AssetTable, LocalSigner, batch_settlement::ChannelBuyer};
    /// # let account = Arc::new(LocalSigner::random()?);
    /// let buyer = ChannelBuyer::new(account, AssetTable::known())
    ///     .with_voucher_key(Arc::new(LocalSigner::random()?));
    /// # Ok::<(), tollway_evm::SignerError>(())
    /// ```
    #[must_use]
    pub fn with_voucher_key(mut self, key: Arc<dyn Signer>) -> Self {
        self.voucher_key = Some(key);
        self
    }

    /// Has channels of its own under this label: two wallets with one key but different labels share none.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use tollway_evm::{AssetTable, LocalSigner, batch_settlement::ChannelBuyer};
    /// # let account = Arc::new(LocalSigner::random()?);
    /// let buyer = ChannelBuyer::new(account, AssetTable::known()).with_label("the second laptop");
    /// # Ok::<(), tollway_evm::SignerError>(())
    /// ```
    #[must_use]
    pub fn with_label(mut self, label: &str) -> Self {
        self.label = keccak256(label);
        self
    }

    /// Asks `allowances`, of one more network, whether Permit2 may take what a deposit moves; if it may not, an approval is
    /// signed beside it where the seller's facilitator presents such.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use tollway_evm::{AssetTable, LocalSigner, batch_settlement::ChannelBuyer, permit2::Allowances};
    /// fn payer(allowances: Arc<dyn Allowances>) -> Result<ChannelBuyer, tollway_evm::SignerError> {
    ///     let signer = Arc::new(LocalSigner::random()?);
    ///     Ok(ChannelBuyer::new(signer, AssetTable::known()).allowances(allowances))
    /// }
    /// ```
    #[must_use]
    pub fn allowances(mut self, allowances: Arc<dyn Allowances>) -> Self {
        self.allowances.push(allowances);
        self
    }

    /// Looks at the chain by `witness`, of one more network: with feature `rpc` a [`Chain`](crate::Chain) is one.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use tollway_core::ChannelWitness;
    /// use tollway_evm::{AssetTable, LocalSigner, batch_settlement::ChannelBuyer};
    /// fn payer(witness: Arc<dyn ChannelWitness>) -> Result<ChannelBuyer, tollway_evm::SignerError> {
    ///     let signer = Arc::new(LocalSigner::random()?);
    ///     Ok(ChannelBuyer::new(signer, AssetTable::known()).witness(witness))
    /// }
    /// ```
    #[must_use]
    pub fn witness(mut self, witness: Arc<dyn ChannelWitness>) -> Self {
        self.witnesses.push(witness);
        self
    }

    /// The terms of this buyer's channel for `offer` with this salt.
    ///
    /// # Errors
    /// [`SignError::Offer`]: see [`ChannelTerms::read`].
    ///
    /// ```
    /// use tollway_core::{SignError, model::PaymentRequirements};
    /// use tollway_evm::{B256, batch_settlement::{ChannelBuyer, ChannelConfig}};
    /// fn unsalted(buyer: &ChannelBuyer, offer: &PaymentRequirements) -> Result<ChannelConfig, SignError> {
    ///     buyer.config(offer, B256::ZERO)
    /// }
    /// ```
    pub fn config(&self, offer: &PaymentRequirements, salt: B256) -> Result<ChannelConfig, SignError> {
        let terms = ChannelTerms::read(offer).map_err(SignError::Offer)?;
        Ok(ChannelConfig {
            payer: self.signer.address(),
            payer_authorizer: self.key().address(),
            receiver: terms.receiver,
            receiver_authorizer: terms.receiver_authorizer,
            token: terms.token,
            withdraw_delay_seconds: terms.withdraw_delay_seconds,
            salt,
        })
    }

    fn key(&self) -> &dyn Signer {
        self.voucher_key.as_deref().unwrap_or(self.signer.as_ref())
    }

    /// The channel's terms, if it is this buyer's for this very offer: nothing is signed for any other.
    fn own(&self, offer: &PaymentRequirements, channel: &BuyerChannel) -> Result<ChannelConfig, SignError> {
        let config = ChannelConfig::read(&channel.terms).map_err(SignError::Offer)?;
        if self.config(offer, config.salt)? != config
            || config.key(&offer.network).as_ref() != Some(&channel.key)
        {
            let rule = "must be the terms of the channel that is to pay";
            return Err(refuse(ErrorCode::INVALID_PAYMENT_REQUIREMENTS, "extra", rule));
        }
        Ok(config)
    }

    pub(super) async fn signed(
        &self,
        offer: &PaymentRequirements,
        config: &ChannelConfig,
        ceiling: Amount,
    ) -> Result<SignedVoucher, SignError> {
        let chain_id = offer.network.evm_chain_id().ok_or_else(not_evm)?;
        let max_claimable = in_128_bits(ceiling, "voucher.maxClaimableAmount")?;
        let voucher = Voucher { channel_id: config.id(chain_id), max_claimable };
        voucher.sign(chain_id, self.key()).await.map_err(signer_failed)
    }

    /// What takes the money, by the method of the offer.
    pub(super) async fn deposited(
        &self,
        offer: &PaymentRequirements,
        config: &ChannelConfig,
        amount: Amount,
        now: UnixTime,
        random: B256,
    ) -> Result<Deposit, SignError> {
        let amount = in_128_bits(amount, "deposit.amount")?;
        if amount == 0 {
            return Err(refuse(code::DEPOSIT_PAYLOAD, "deposit.amount", "must be more than zero"));
        }
        let channel_id = config.id(offer.network.evm_chain_id().ok_or_else(not_evm)?);
        let terms = DepositTerms { offer, config, channel_id, amount };
        let (random, until) = (U256::from_be_bytes(random.0), expiry(offer, now));
        let by = method(offer).map_err(SignError::Offer)?.unwrap_or_default();
        let preimage = match by {
            TransferMethod::Eip3009 => terms.receive_preimage(U256::ZERO, until, random),
            TransferMethod::Permit2 => terms.permit_preimage(random, until),
        };
        let preimage = preimage.map_err(SignError::Offer)?;
        let signature = self.signer.sign(&preimage).await.map_err(signer_failed)?;
        let signature: Bytes = signature.as_bytes().into();
        let authorization = match by {
            TransferMethod::Eip3009 => DepositAuthorization::Erc3009 {
                valid_after: U256::ZERO,
                valid_before: until,
                salt: random,
                signature,
            },
            TransferMethod::Permit2 => DepositAuthorization::Permit2 {
                from: config.payer,
                token: config.token,
                amount: U256::from(amount),
                spender: PERMIT2_COLLECTOR,
                nonce: random,
                deadline: until,
                channel_id,
                signature,
            },
        };
        Ok(Deposit { amount, authorization })
    }

    async fn pay(
        &self,
        required: &PaymentRequired,
        offer: &PaymentRequirements,
        channel: &BuyerChannel,
        ceiling: Amount,
        deposit: Option<&SignedDeposit>,
    ) -> Result<PaymentPayload, SignError> {
        check_version(required)?;
        let config = self.own(offer, channel)?;
        let Some(signed) = deposit else {
            let voucher = self.signed(offer, &config, ceiling).await?;
            return Ok(payment(required, offer, &BatchPayload::Voucher { config, voucher }));
        };
        let body = Reader::new(&signed.body, "deposit", code::DEPOSIT_PAYLOAD);
        let deposit = Deposit::decode(&body).map_err(SignError::Offer)?;
        let voucher = self.signed(offer, &config, ceiling).await?;
        let due = match &deposit.authorization {
            DepositAuthorization::Permit2 { deadline, .. } => {
                Some(Due { amount: U256::from(deposit.amount), deadline: *deadline })
            }
            DepositAuthorization::Erc3009 { .. } => None,
        };
        let mut payment = payment(required, offer, &BatchPayload::Deposit { config, voucher, deposit });
        if let Some(due) = due {
            attach_due(&mut payment, offer, self.signer.as_ref(), &self.allowances, due).await?;
        }
        Ok(payment)
    }

    async fn look(&self, channel: &ChannelKey) -> Result<Option<Backing>, FacilitatorError> {
        let Ok(network) = channel.network().parse::<Network>() else { return Ok(None) };
        let Some(witness) = self.witnesses.iter().find(|witness| witness.covers(&network)) else {
            return Ok(None);
        };
        Ok(witness.backings(std::slice::from_ref(channel)).await?.pop())
    }
}

impl BuyerScheme for ChannelBuyer {
    fn name(&self) -> &SchemeName {
        &SchemeName::BATCH_SETTLEMENT
    }

    fn covers(&self, network: &Network) -> bool {
        network.evm_chain_id().is_some()
    }

    fn value(&self, offer: &PaymentRequirements) -> Option<OfferedValue> {
        let token = crate::exact::parse_address(&offer.asset)?;
        self.assets.find(&offer.network, token).map(|asset| value_of(asset, offer))
    }

    fn sign<'a>(
        &'a self,
        _: &'a PaymentRequired,
        _: &'a PaymentRequirements,
        _: UnixTime,
    ) -> BoxFuture<'a, Result<PaymentPayload, SignError>> {
        let rule = "must be paid on a channel: there is no payment of this scheme by itself";
        let refusal = refuse(ErrorCode::UNSUPPORTED_SCHEME, "scheme", rule);
        Box::pin(std::future::ready(Err(refusal)))
    }

    fn channel(&self) -> Option<&dyn BuyerChannelScheme> {
        Some(self)
    }
}

impl BuyerChannelScheme for ChannelBuyer {
    fn channel(&self, offer: &PaymentRequirements, index: u32) -> Result<BuyerChannel, SignError> {
        let salt = hash_words([self.label, U256::from(index).into()]);
        let config = self.config(offer, salt)?;
        let key = config.key(&offer.network).ok_or_else(not_evm)?;
        Ok(BuyerChannel { key, terms: config.to_terms() })
    }

    fn min_deposit(&self, offer: &PaymentRequirements) -> Option<Amount> {
        ChannelTerms::read(offer).ok()?.min_deposit
    }

    fn sign_deposit<'a>(
        &'a self,
        offer: &'a PaymentRequirements,
        channel: &'a BuyerChannel,
        amount: Amount,
        now: UnixTime,
    ) -> BoxFuture<'a, Result<SignedDeposit, SignError>> {
        Box::pin(async move {
            let config = self.own(offer, channel)?;
            let mut random = B256::ZERO;
            getrandom::fill(random.as_mut_slice()).map_err(|_| signer_failed(SignerError::Randomness))?;
            let deposit = self.deposited(offer, &config, amount, now, random).await?;
            let until = now.plus_seconds(offer.max_timeout_seconds);
            let expires_at = match &deposit.authorization {
                DepositAuthorization::Erc3009 { .. } => until,
                // By Permit2 the last second is in time.
                DepositAuthorization::Permit2 { .. } => until.plus_seconds(1),
            };
            let body = deposit.encode().as_object().cloned().unwrap_or_default();
            Ok(SignedDeposit { amount, expires_at, body })
        })
    }

    fn sign_voucher<'a>(
        &'a self,
        required: &'a PaymentRequired,
        offer: &'a PaymentRequirements,
        channel: &'a BuyerChannel,
        ceiling: Amount,
        deposit: Option<&'a SignedDeposit>,
    ) -> BoxFuture<'a, Result<PaymentPayload, SignError>> {
        Box::pin(self.pay(required, offer, channel, ceiling, deposit))
    }

    fn sign_refund<'a>(
        &'a self,
        required: &'a PaymentRequired,
        offer: &'a PaymentRequirements,
        channel: &'a BuyerChannel,
        charged: Amount,
        amount: Option<Amount>,
    ) -> BoxFuture<'a, Result<PaymentPayload, SignError>> {
        Box::pin(async move {
            check_version(required)?;
            let amount = amount.map(|amount| in_128_bits(amount, "amount")).transpose()?;
            let config = self.own(offer, channel)?;
            let voucher = self.signed(offer, &config, charged).await?;
            let refund = Refund { config, voucher, amount, completion: None };
            Ok(payment(required, offer, &BatchPayload::Refund(refund)))
        })
    }

    fn told(&self, told: &SettleResponse) -> Result<Option<ToldChannel>, Refusal> {
        told::read(&told.network, &told.extra)
    }

    fn correction(&self, offer: &PaymentRequirements) -> Result<Option<ToldChannel>, Refusal> {
        told::read(&offer.network, &offer.extra)
    }

    fn is_own(&self, channel: &BuyerChannel, ceiling: Amount, proof: &str) -> bool {
        let network: Option<Network> = channel.key.network().parse().ok();
        let chain_id = network.as_ref().and_then(Network::evm_chain_id);
        let (Some(chain_id), Ok(config)) = (chain_id, ChannelConfig::read(&channel.terms)) else {
            return false;
        };
        let Ok(max_claimable) = u128::try_from(ceiling.atomic()) else { return false };
        let key = self.key().address();
        let voucher = Voucher { channel_id: config.id(chain_id), max_claimable };
        let is_named = voucher.channel_id.to_string() == channel.key.id() && config.payer_authorizer == key;
        is_named && is_signed_by(&voucher, chain_id, proof, key)
    }

    fn backing<'a>(
        &'a self,
        channel: &'a ChannelKey,
    ) -> BoxFuture<'a, Result<Option<Backing>, FacilitatorError>> {
        Box::pin(self.look(channel))
    }

    fn codes(&self) -> &ChannelCodes {
        &self.codes
    }
}

/// The payment as it travels. A correction is the seller's to say, not the buyer's to repeat.
fn payment(
    required: &PaymentRequired,
    offer: &PaymentRequirements,
    payload: &BatchPayload,
) -> PaymentPayload {
    PaymentPayload {
        version: required.version,
        accepted: Accepted::Offer(Box::new(told::strip(offer))),
        payload: payload.encode(),
        resource: required.resource.clone(),
        extensions: required.extensions.clone(),
        other: JsonObject::new(),
    }
}

fn check_version(required: &PaymentRequired) -> Result<(), SignError> {
    if required.version == X402Version::V2 {
        return Ok(());
    }
    let rule = "must be 2: version 1 has no scheme \"batch-settlement\"";
    Err(refuse(ErrorCode::INVALID_X402_VERSION, "x402Version", rule))
}

fn expiry(offer: &PaymentRequirements, now: UnixTime) -> U256 {
    U256::from(now.plus_seconds(offer.max_timeout_seconds).0)
}

fn in_128_bits(amount: Amount, field: &str) -> Result<u128, SignError> {
    let rule = "must fit in 128 bits";
    u128::try_from(amount.atomic()).map_err(|_| refuse(code::VOUCHER_PAYLOAD, field, rule))
}

fn not_evm() -> SignError {
    refuse(ErrorCode::INVALID_NETWORK, "network", "must be an EVM network")
}

fn refuse(code: ErrorCode, field: &str, rule: &str) -> SignError {
    SignError::Offer(Refusal::new(code, field, rule))
}

fn signer_failed(error: SignerError) -> SignError {
    SignError::Signer(error.to_string())
}
