//! What a buyer sends, held against the offer: every rule that needs neither the chain nor what was charged before, in the
//! order of the published facilitator.

use alloy_primitives::{Address, B256};
use tollway_core::model::{Accepted, PaymentPayload, PaymentRequirements};
use tollway_core::{ErrorCode, Refusal, SchemeName, UnixTime};

use super::channel::{ChannelConfig, WITHDRAW_DELAY_SECONDS};
use super::code;
use super::deposit::{self, CheckedDeposit};
use super::payload::BatchPayload;
use super::voucher::{SignedVoucher, Voucher};
use crate::exact::{ADDRESS_RULE, parse_address};
use crate::signature::{PayerSignature, SignatureError};

/// A buyer's payment that holds against its offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelPayment {
    /// The channel.
    pub config: ChannelConfig,
    /// What the buyer lets be claimed of it; it names the channel.
    pub voucher: Voucher,
    /// How the voucher is signed. What no key is believed for, only the payer's code can judge.
    pub signature: PayerSignature,
    /// What else is asked for.
    pub purpose: Purpose,
}

/// What a voucher comes with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Nothing: it pays.
    Pay,
    /// Money for the channel; it pays then.
    Deposit(Box<CheckedDeposit>),
    /// The wish to get back what is left, or so much of it.
    Refund {
        /// How much; all of it, if not said.
        amount: Option<u128>,
    },
}

impl ChannelPayment {
    /// Whether the voucher is surely the payer's. If not, only the payer's code can say so on chain.
    ///
    /// ```
    /// use tollway_evm::batch_settlement::ChannelPayment;
    /// fn may_serve(payment: &ChannelPayment) -> bool {
    ///     payment.is_proved()
    /// }
    /// ```
    pub fn is_proved(&self) -> bool {
        // An account without code today may have some tomorrow, when the voucher is claimed.
        self.config.voucher_key().is_some()
    }
}

/// Holds a buyer's payment against `offer`. Without `now` the rules of time are left out: a deposit's fate is asked after it
/// has expired, too.
///
/// # Errors
/// [`Refusal`] with the code of the specification, the field and the rule.
///
/// ```
/// use tollway_evm::batch_settlement::{self, Purpose};
/// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/batch_settlement_request.json"));
/// # let request = tollway_core::wire::decode_facilitator_request(json)?;
/// let paid = batch_settlement::check(&request.payment, &request.requirements, None)?;
/// assert!(matches!(paid.purpose, Purpose::Deposit(_)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check(
    payment: &PaymentPayload,
    offer: &PaymentRequirements,
    now: Option<UnixTime>,
) -> Result<ChannelPayment, Refusal> {
    let chain_id = check_kind(payment, offer)?;
    let payload = BatchPayload::decode(&payment.payload)?;
    let (config, voucher) = match &payload {
        BatchPayload::Deposit { config, voucher, .. } | BatchPayload::Voucher { config, voucher } => {
            (config, voucher)
        }
        BatchPayload::Refund(refund) => (&refund.config, &refund.voucher),
        BatchPayload::Claim(_) | BatchPayload::Settle { .. } => {
            let rule = "must be \"deposit\", \"voucher\" or \"refund\"";
            return Err(Refusal::new(code::PAYLOAD_TYPE, "payload.type", rule));
        }
    };
    let rules = || {
        check_config(config, voucher.voucher.channel_id, offer, chain_id)?;
        let signature = check_voucher(config, voucher, chain_id)?;
        let purpose = match &payload {
            BatchPayload::Deposit { deposit, .. } => {
                let id = voucher.voucher.channel_id;
                Purpose::Deposit(Box::new(deposit::check(deposit, offer, config, id, now)?))
            }
            BatchPayload::Refund(refund) => Purpose::Refund { amount: refund.amount },
            _ => Purpose::Pay,
        };
        Ok(ChannelPayment { config: *config, voucher: voucher.voucher, signature, purpose })
    };
    rules().map_err(|refusal: Refusal| refusal.by(config.payer.to_checksum(None)))
}

/// Scheme and network, of an offer and of what a peer accepts of it. The chain's id.
pub(super) fn check_kind(payment: &PaymentPayload, offer: &PaymentRequirements) -> Result<u64, Refusal> {
    if let Accepted::Kind { .. } = payment.accepted {
        let rule = "must be 2: version 1 has no scheme \"batch-settlement\"";
        return Err(Refusal::new(ErrorCode::INVALID_X402_VERSION, "x402Version", rule));
    }
    for (field, scheme) in
        [("accepted.scheme", payment.scheme()), ("paymentRequirements.scheme", &offer.scheme)]
    {
        if *scheme != SchemeName::BATCH_SETTLEMENT {
            let rule = format!("must be \"batch-settlement\", not {:?}", scheme.as_str());
            return Err(Refusal::new(code::SCHEME, field, rule));
        }
    }
    if payment.network() != &offer.network {
        let rule = format!("must be {}, not {}", offer.network, payment.network());
        return Err(Refusal::new(code::NETWORK_MISMATCH, "accepted.network", rule));
    }
    offer.network.evm_chain_id().ok_or_else(|| {
        let rule = format!("must be an EVM network, not {}", offer.network);
        Refusal::new(ErrorCode::INVALID_NETWORK, "paymentRequirements.network", rule)
    })
}

/// That the channel has the name that is claimed, and the terms of the offer.
fn check_config(
    config: &ChannelConfig,
    claimed: B256,
    offer: &PaymentRequirements,
    chain_id: u64,
) -> Result<(), Refusal> {
    check_id(config, claimed, chain_id)?;
    let refuse = |code: ErrorCode, field: &str, rule: String| {
        Err(Refusal::new(code, format!("payload.channelConfig.{field}"), rule))
    };
    let receiver = party(&offer.pay_to, "payTo")?;
    if config.receiver != receiver {
        let rule = format!("must be the offer's payTo {receiver}, not {}", config.receiver);
        return refuse(code::RECEIVER_MISMATCH, "receiver", rule);
    }
    let authorizer = receiver_authorizer(offer)?;
    if config.receiver_authorizer != authorizer {
        let rule = format!("must be the offer's receiverAuthorizer {authorizer}");
        return refuse(code::RECEIVER_AUTHORIZER_MISMATCH, "receiverAuthorizer", rule);
    }
    let token = party(&offer.asset, "asset")?;
    if config.token != token {
        let rule = format!("must be the offer's asset {token}, not {}", config.token);
        return refuse(code::TOKEN_MISMATCH, "token", rule);
    }
    if let Some(delay) = offer.extra.get("withdrawDelay").filter(|value| !value.is_null())
        && delay.as_u64() != Some(config.withdraw_delay_seconds)
    {
        let rule = format!("must be the offer's {delay}, not {}", config.withdraw_delay_seconds);
        return refuse(code::WITHDRAW_DELAY_MISMATCH, "withdrawDelay", rule);
    }
    check_delay(config)
}

/// That the terms are those of the channel that is named.
pub(super) fn check_id(config: &ChannelConfig, claimed: B256, chain_id: u64) -> Result<(), Refusal> {
    let id = config.id(chain_id);
    if id == claimed {
        return Ok(());
    }
    let rule = format!("must be the hash of channelConfig, {id}");
    Err(Refusal::new(code::CHANNEL_ID_MISMATCH, "payload.voucher.channelId", rule))
}

/// That the contract takes such a channel.
fn check_delay(config: &ChannelConfig) -> Result<(), Refusal> {
    if WITHDRAW_DELAY_SECONDS.contains(&config.withdraw_delay_seconds) {
        return Ok(());
    }
    let (least, most) = (WITHDRAW_DELAY_SECONDS.start(), WITHDRAW_DELAY_SECONDS.end());
    let rule = format!("must be from {least} to {most} seconds");
    let field = "payload.channelConfig.withdrawDelay";
    Err(Refusal::new(code::WITHDRAW_DELAY_OUT_OF_RANGE, field, rule))
}

/// Whose key consents, as the offer says.
pub(super) fn receiver_authorizer(offer: &PaymentRequirements) -> Result<Address, Refusal> {
    let address = offer.extra_str("receiverAuthorizer").and_then(parse_address);
    address.filter(|address| *address != Address::ZERO).ok_or_else(|| {
        let field = "paymentRequirements.extra.receiverAuthorizer";
        Refusal::new(code::RECEIVER_AUTHORIZER_MISMATCH, field, ADDRESS_RULE)
    })
}

/// An account that the offer names.
pub(super) fn party(text: &str, field: &str) -> Result<Address, Refusal> {
    parse_address(text).filter(|address| *address != Address::ZERO).ok_or_else(|| {
        let field = format!("paymentRequirements.{field}");
        Refusal::new(ErrorCode::INVALID_PAYMENT_REQUIREMENTS, field, ADDRESS_RULE)
    })
}

/// The voucher's signature: by the key that the channel names, or for the payer's account to judge.
pub(super) fn check_voucher(
    config: &ChannelConfig,
    voucher: &SignedVoucher,
    chain_id: u64,
) -> Result<PayerSignature, Refusal> {
    voucher.check(config, chain_id).map_err(|error| {
        let rule = match (error, config.voucher_key()) {
            (SignatureError::Invalid, Some(key)) => format!("must be by payerAuthorizer {key}"),
            _ => error.to_string(),
        };
        Refusal::new(code::VOUCHER_SIGNATURE, "payload.voucher.signature", rule)
    })
}
