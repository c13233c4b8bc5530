//! The deposit: what a payer signs so that money comes into one channel and no other, by EIP-3009 or by Permit2.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::sol;
use tollway_core::model::PaymentRequirements;
use tollway_core::{AuthorizationKey, ErrorCode, Network, Refusal, UnixTime};

use super::channel::{ChannelConfig, hash_words};
use super::payload::{Deposit, DepositAuthorization};
use super::{ERC3009_COLLECTOR, PERMIT2_COLLECTOR, code};
use crate::asset::TransferMethod;
use crate::eip712::Domain;
use crate::exact::MIN_REMAINING_SECONDS;
use crate::permit2::{METHOD_FIELD, PERMIT2};
use crate::signature::PayerSignature;

sol! {
    struct TokenPermissions {
        address token;
        uint256 amount;
    }

    struct DepositWitness {
        bytes32 channelId;
    }

    /// What a payer signs by Permit2.
    struct PermitWitnessTransferFrom {
        TokenPermissions permitted;
        address spender;
        uint256 nonce;
        uint256 deadline;
        DepositWitness witness;
    }

    /// What a payer signs by EIP-3009: only the collector can send it.
    struct ReceiveWithAuthorization {
        address from;
        address to;
        uint256 value;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 nonce;
    }
}

const ERC3009: &str = "payload.deposit.authorization.erc3009Authorization";
const BY_PERMIT: &str = "payload.deposit.authorization.permit2Authorization";

/// A deposit that holds against its channel and offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedDeposit {
    /// How much, atomic units.
    pub amount: u128,
    /// By what it is taken.
    pub method: TransferMethod,
    /// Makes it unique among the payer's: at the token by EIP-3009, at Permit2 else.
    pub nonce: B256,
    /// Valid after this second.
    pub valid_after: U256,
    /// Valid until about this second: by EIP-3009 the second itself is too late.
    pub valid_before: U256,
    /// The salt of an EIP-3009 nonce; zero by Permit2.
    pub salt: U256,
    /// How the payer signed.
    pub signature: PayerSignature,
}

impl CheckedDeposit {
    /// What makes it unique, whatever the spelling it came in.
    ///
    /// ```
    /// use tollway_core::{AuthorizationKey, Network};
    /// use tollway_evm::batch_settlement::{ChannelConfig, CheckedDeposit};
    /// fn key(deposit: &CheckedDeposit, config: &ChannelConfig) -> AuthorizationKey {
    ///     deposit.key(&Network::evm(8453), config)
    /// }
    /// ```
    pub fn key(&self, network: &Network, config: &ChannelConfig) -> AuthorizationKey {
        let (space, payer) = (self.nonce_space(config.token), config.payer);
        AuthorizationKey::new(format!("{network}/{space:#x}/{payer:#x}/{:#x}", self.nonce))
    }

    /// The contract that keeps account of the nonce.
    pub(super) const fn nonce_space(&self, token: Address) -> Address {
        match self.method {
            TransferMethod::Eip3009 => token,
            TransferMethod::Permit2 => PERMIT2,
        }
    }

    /// What brings the money.
    ///
    /// ```
    /// use tollway_evm::batch_settlement::{CheckedDeposit, ERC3009_COLLECTOR};
    /// fn is_by_token(deposit: &CheckedDeposit) -> bool {
    ///     deposit.collector() == ERC3009_COLLECTOR
    /// }
    /// ```
    pub const fn collector(&self) -> Address {
        collector(self.method)
    }
}

/// What collects by `method`.
pub(super) const fn collector(method: TransferMethod) -> Address {
    match method {
        TransferMethod::Eip3009 => ERC3009_COLLECTOR,
        TransferMethod::Permit2 => PERMIT2_COLLECTOR,
    }
}

/// The EIP-3009 nonce of a deposit: it names the channel, so the money goes into no other.
///
/// ```
/// use tollway_evm::{B256, U256, batch_settlement::deposit_nonce};
/// let nonce = |salt| deposit_nonce(B256::repeat_byte(7), U256::from(salt));
/// assert_ne!(nonce(1), nonce(2));
/// ```
pub fn deposit_nonce(channel_id: B256, salt: U256) -> B256 {
    hash_words([channel_id, salt.into()])
}

/// What is signed for a deposit.
#[derive(Clone, Copy, Debug)]
pub(super) struct DepositTerms<'a> {
    pub(super) offer: &'a PaymentRequirements,
    pub(super) config: &'a ChannelConfig,
    pub(super) channel_id: B256,
    pub(super) amount: u128,
}

impl DepositTerms<'_> {
    /// The bytes whose hash is signed by EIP-3009.
    pub(super) fn receive_preimage(
        &self,
        valid_after: U256,
        valid_before: U256,
        salt: U256,
    ) -> Result<[u8; 66], Refusal> {
        let named = |field: &str| {
            self.offer.extra_str(field).filter(|text| !text.is_empty()).ok_or_else(|| {
                let rule = "is required: it is part of the token's EIP-712 domain";
                let field = format!("paymentRequirements.extra.{field}");
                Refusal::new(code::MISSING_EIP712_DOMAIN, field, rule)
            })
        };
        let (name, version) = (named("name")?, named("version")?);
        let domain = Domain::new(&self.offer.network, self.config.token, name, version);
        let message = ReceiveWithAuthorization {
            from: self.config.payer,
            to: ERC3009_COLLECTOR,
            value: U256::from(self.amount),
            validAfter: valid_after,
            validBefore: valid_before,
            nonce: deposit_nonce(self.channel_id, salt),
        };
        domain.map(|domain| domain.preimage(&message)).ok_or_else(not_evm)
    }

    /// The bytes whose hash is signed by Permit2.
    pub(super) fn permit_preimage(&self, nonce: U256, deadline: U256) -> Result<[u8; 66], Refusal> {
        let domain = Domain::unversioned(&self.offer.network, PERMIT2, "Permit2");
        let message = PermitWitnessTransferFrom {
            permitted: TokenPermissions { token: self.config.token, amount: U256::from(self.amount) },
            spender: PERMIT2_COLLECTOR,
            nonce,
            deadline,
            witness: DepositWitness { channelId: self.channel_id },
        };
        domain.map(|domain| domain.preimage(&message)).ok_or_else(not_evm)
    }
}

/// The method that deposits into a channel of this offer are made by; none if any will do.
pub(super) fn method(offer: &PaymentRequirements) -> Result<Option<TransferMethod>, Refusal> {
    let Some(named) = offer.extra.get(METHOD_FIELD).filter(|value| !value.is_null()) else { return Ok(None) };
    let known = [TransferMethod::Eip3009, TransferMethod::Permit2];
    let found = known.into_iter().find(|method| named.as_str() == Some(method.as_str()));
    found.map(Some).ok_or_else(|| {
        let field = format!("paymentRequirements.extra.{METHOD_FIELD}");
        let rule = "must be \"eip3009\" or \"permit2\"";
        Refusal::new(ErrorCode::UNSUPPORTED_ASSET_TRANSFER_METHOD, field, rule)
    })
}

/// Holds a deposit against its channel. Without `now`, the rules of time are left out.
pub(super) fn check(
    deposit: &Deposit,
    offer: &PaymentRequirements,
    config: &ChannelConfig,
    channel_id: B256,
    now: Option<UnixTime>,
) -> Result<CheckedDeposit, Refusal> {
    if deposit.amount == 0 {
        let field = "payload.deposit.amount";
        return Err(Refusal::new(code::DEPOSIT_PAYLOAD, field, "must be more than zero"));
    }
    let terms = DepositTerms { offer, config, channel_id, amount: deposit.amount };
    let asked = method(offer)?;
    match &deposit.authorization {
        DepositAuthorization::Erc3009 { .. } if asked == Some(TransferMethod::Permit2) => {
            let rule = "is required: assetTransferMethod is \"permit2\"";
            Err(Refusal::new(code::PERMIT2_AUTHORIZATION_REQUIRED, BY_PERMIT, rule))
        }
        DepositAuthorization::Permit2 { .. } if asked == Some(TransferMethod::Eip3009) => {
            let rule = "is required: assetTransferMethod is \"eip3009\"";
            Err(Refusal::new(code::ERC3009_AUTHORIZATION_REQUIRED, ERC3009, rule))
        }
        DepositAuthorization::Erc3009 { valid_after, valid_before, salt, signature } => {
            by_token(&terms, [*valid_after, *valid_before, *salt], signature, now)
        }
        authorization @ DepositAuthorization::Permit2 { .. } => by_permit(&terms, authorization, now),
    }
}

fn by_token(
    terms: &DepositTerms<'_>,
    [valid_after, valid_before, salt]: [U256; 3],
    signature: &Bytes,
    now: Option<UnixTime>,
) -> Result<CheckedDeposit, Refusal> {
    if let Some(now) = now {
        if valid_before < U256::from(now.plus_seconds(MIN_REMAINING_SECONDS).0) {
            let rule = format!("must be at least {MIN_REMAINING_SECONDS} seconds from now ({})", now.0);
            return Err(Refusal::new(code::VALID_BEFORE, format!("{ERC3009}.validBefore"), rule));
        }
        if valid_after > U256::from(now.0) {
            let rule = format!("must not be after now ({})", now.0);
            return Err(Refusal::new(code::VALID_AFTER, format!("{ERC3009}.validAfter"), rule));
        }
    }
    let digest = keccak256(terms.receive_preimage(valid_after, valid_before, salt)?);
    let signature = PayerSignature::read(signature, digest, terms.config.payer).map_err(|error| {
        let field = format!("{ERC3009}.signature");
        Refusal::new(code::RECEIVE_AUTHORIZATION_SIGNATURE, field, error.to_string())
    })?;
    Ok(CheckedDeposit {
        amount: terms.amount,
        method: TransferMethod::Eip3009,
        nonce: deposit_nonce(terms.channel_id, salt),
        valid_after,
        valid_before,
        salt,
        signature,
    })
}

fn by_permit(
    terms: &DepositTerms<'_>,
    authorization: &DepositAuthorization,
    now: Option<UnixTime>,
) -> Result<CheckedDeposit, Refusal> {
    let DepositAuthorization::Permit2 {
        from,
        token,
        amount,
        spender,
        nonce,
        deadline,
        channel_id,
        signature,
    } = authorization
    else {
        return Err(Refusal::new(code::PERMIT2_AUTHORIZATION_REQUIRED, BY_PERMIT, "is required"));
    };
    let refuse = |code: ErrorCode, field: &str, rule: String| {
        Err(Refusal::new(code, format!("{BY_PERMIT}.{field}"), rule))
    };
    if *from != terms.config.payer {
        let rule = format!("must be the channel's payer {}, not {from}", terms.config.payer);
        return refuse(code::PERMIT2_INVALID_SIGNATURE, "from", rule);
    }
    if *spender != PERMIT2_COLLECTOR {
        let rule = format!("must be the collector {PERMIT2_COLLECTOR}, not {spender}");
        return refuse(code::PERMIT2_INVALID_SPENDER, "spender", rule);
    }
    if *token != terms.config.token {
        let rule = format!("must be the channel's token {}, not {token}", terms.config.token);
        return refuse(code::TOKEN_MISMATCH, "permitted.token", rule);
    }
    if *amount != U256::from(terms.amount) {
        let rule = format!("must be what is deposited, {}, not {amount}", terms.amount);
        return refuse(code::PERMIT2_AMOUNT_MISMATCH, "permitted.amount", rule);
    }
    if *channel_id != terms.channel_id {
        let rule = format!("must be the channel {}", terms.channel_id);
        return refuse(code::CHANNEL_ID_MISMATCH, "witness.channelId", rule);
    }
    if let Some(now) = now
        && *deadline < U256::from(now.plus_seconds(MIN_REMAINING_SECONDS).0)
    {
        let rule = format!("must be at least {MIN_REMAINING_SECONDS} seconds from now ({})", now.0);
        return refuse(code::PERMIT2_DEADLINE_EXPIRED, "deadline", rule);
    }
    let digest = keccak256(terms.permit_preimage(*nonce, *deadline)?);
    match PayerSignature::read(signature, digest, terms.config.payer) {
        Err(error) => refuse(code::PERMIT2_INVALID_SIGNATURE, "signature", error.to_string()),
        Ok(signature) => Ok(CheckedDeposit {
            amount: terms.amount,
            method: TransferMethod::Permit2,
            nonce: (*nonce).into(),
            valid_after: U256::ZERO,
            valid_before: *deadline,
            salt: U256::ZERO,
            signature,
        }),
    }
}

fn not_evm() -> Refusal {
    Refusal::new(ErrorCode::INVALID_NETWORK, "paymentRequirements.network", "must be an EVM network")
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{B256, b256, keccak256};
    use alloy_sol_types::SolStruct;

    use super::{PermitWitnessTransferFrom, ReceiveWithAuthorization};

    /// As EIP-3009 has it.
    const RECEIVE_TYPE_HASH: B256 = b256!("d099cc98ef71107a616c4f0f941f04c322d8e254fe26b3c6668db87aae413de8");

    #[test]
    fn the_types_are_those_that_the_token_and_the_collector_hash() {
        let encoded = ReceiveWithAuthorization::eip712_encode_type();
        assert_eq!(keccak256(encoded.as_ref()), RECEIVE_TYPE_HASH);
        let permit = "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 \
                      deadline,DepositWitness witness)DepositWitness(bytes32 channelId)TokenPermissions(address \
                      token,uint256 amount)";
        assert_eq!(PermitWitnessTransferFrom::eip712_encode_type(), permit);
    }
}
