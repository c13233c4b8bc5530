//! What travels: the payloads of buyers (deposit, voucher, refund) and those of sellers (claim, settle, a refund that is
//! completed). Reading tells what is malformed by its field; whether it holds is for others to say.

use alloy_primitives::{Address, B256, Bytes, U256, hex};
use serde_json::{Value, json};
use tollway_core::{ErrorCode, JsonObject, Refusal};

use super::channel::ChannelConfig;
use super::code;
use super::fields::Reader;
use super::voucher::{SignedVoucher, Voucher};

/// The most channels that one claim may name: what nodes take as one transaction, which is 128 KiB.
pub const MAX_CLAIMS: usize = 270;

/// Of a settlement, what a facilitator adds: how much had been paid out before.
const SETTLED: &str = "totalSettled";

/// What a payment or a request of this scheme says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BatchPayload {
    /// A voucher, and money put into the channel before.
    Deposit {
        /// The channel's terms.
        config: ChannelConfig,
        /// The voucher.
        voucher: SignedVoucher,
        /// What is put in.
        deposit: Deposit,
    },
    /// A voucher.
    Voucher {
        /// The channel's terms.
        config: ChannelConfig,
        /// The voucher.
        voucher: SignedVoucher,
    },
    /// What the channel holds beyond its charges is asked back.
    Refund(Refund),
    /// Vouchers are claimed.
    Claim(ClaimBatch),
    /// What was claimed is paid out.
    Settle {
        /// To whom.
        receiver: Address,
        /// The token.
        token: Address,
        /// How much had been paid out before, as whoever settles has seen it: each settlement is one of its own.
        settled: Option<u128>,
    },
}

/// What is put into a channel, and by what it is taken from the payer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// How much, atomic units.
    pub amount: u128,
    /// What the payer signed.
    pub authorization: DepositAuthorization,
}

/// What a payer signs for a deposit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DepositAuthorization {
    /// EIP-3009, `receiveWithAuthorization`.
    Erc3009 {
        /// Valid after this second.
        valid_after: U256,
        /// Valid before this second.
        valid_before: U256,
        /// Goes into the nonce, with the channel's id.
        salt: U256,
        /// The signature, as it came.
        signature: Bytes,
    },
    /// Permit2, with the channel's id as the witness.
    Permit2 {
        /// Who pays, as it came. It must be the channel's payer.
        from: Address,
        /// The token, as it came.
        token: Address,
        /// How much, as it came. It must be what is deposited.
        amount: U256,
        /// Who may spend it, as it came. It must be the collector.
        spender: Address,
        /// The payer's nonce at Permit2.
        nonce: U256,
        /// Valid until this second, and in it.
        deadline: U256,
        /// The witness, as it came. It must be the channel.
        channel_id: B256,
        /// The signature, as it came.
        signature: Bytes,
    },
}

/// A refund that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// The channel's terms.
    pub config: ChannelConfig,
    /// A voucher of what was charged: nothing is bought with it.
    pub voucher: SignedVoucher,
    /// How much; all that is left, if not said.
    pub amount: Option<u128>,
    /// What the seller adds.
    pub completion: Option<RefundCompletion>,
}

/// What a seller adds to a refund before it is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundCompletion {
    /// The channel's refund nonce.
    pub nonce: U256,
    /// What is claimed before.
    pub claims: Vec<ClaimEntry>,
    /// The receiver authorizer's consent to the refund, if the seller has the key.
    pub refund_signature: Option<Bytes>,
    /// And to the claims.
    pub claim_signature: Option<Bytes>,
}

/// Vouchers that are claimed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimBatch {
    /// One for each channel.
    pub claims: Vec<ClaimEntry>,
    /// The receiver authorizer's consent, if the seller has the key.
    pub authorizer_signature: Option<Bytes>,
}

/// One voucher that is claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimEntry {
    /// The channel's terms.
    pub config: ChannelConfig,
    /// How much the voucher lets be claimed in all.
    pub max_claimable: u128,
    /// The voucher's signature, as the contract is given it.
    pub signature: Bytes,
    /// How much is claimed in all.
    pub total_claimed: u128,
}

impl BatchPayload {
    /// Reads the `payload` of a payment.
    ///
    /// # Errors
    /// [`Refusal`] with the code of the specification, the field and the rule.
    ///
    /// ```
    /// use tollway_core::wire::parse_object;
    /// use tollway_evm::batch_settlement::BatchPayload;
    /// let payload = parse_object(br#"{"type":"voucher","channelConfig":{}}"#, "payload")?;
    /// let error = BatchPayload::decode(&payload).unwrap_err();
    /// assert_eq!(error.to_string(), "payload.channelConfig.withdrawDelay: is required");
    /// # Ok::<(), tollway_core::wire::WireError>(())
    /// ```
    pub fn decode(payload: &JsonObject) -> Result<Self, Refusal> {
        let reader = |code: ErrorCode| Reader::new(payload, "payload", code);
        match payload.get("type").and_then(Value::as_str) {
            Some("voucher") => {
                let (config, voucher) = channel_and_voucher(&reader(code::VOUCHER_PAYLOAD))?;
                Ok(Self::Voucher { config, voucher })
            }
            Some("deposit") => {
                let reader = reader(code::DEPOSIT_PAYLOAD);
                let (config, voucher) = channel_and_voucher(&reader)?;
                let deposit = Deposit::decode(&reader.object("deposit", "payload.deposit")?)?;
                Ok(Self::Deposit { config, voucher, deposit })
            }
            Some("refund") => Refund::decode(&reader(code::REFUND_PAYLOAD)).map(Self::Refund),
            Some("claim") => {
                let reader = reader(code::CLAIM_PAYLOAD);
                let claims = claims(&reader)?;
                if claims.is_empty() {
                    return Err(reader.error("claims", "must not be empty"));
                }
                let authorizer_signature = reader.optional_bytes("claimAuthorizerSignature")?;
                Ok(Self::Claim(ClaimBatch { claims, authorizer_signature }))
            }
            Some("settle") => {
                let reader = reader(code::SETTLE_PAYLOAD);
                let settled = reader.has(SETTLED).then(|| reader.amount(SETTLED)).transpose()?;
                Ok(Self::Settle {
                    receiver: reader.address("receiver")?,
                    token: reader.address("token")?,
                    settled,
                })
            }
            _ => {
                let rule = "must be \"deposit\", \"voucher\", \"refund\", \"claim\" or \"settle\"";
                Err(Refusal::new(code::PAYLOAD_TYPE, "payload.type", rule))
            }
        }
    }

    /// The `payload` of a payment, as published programs write it.
    ///
    /// ```
    /// use tollway_evm::{Address, batch_settlement::BatchPayload};
    /// let settle = BatchPayload::Settle { receiver: Address::ZERO, token: Address::ZERO, settled: None };
    /// assert_eq!(BatchPayload::decode(&settle.encode()), Ok(settle));
    /// ```
    pub fn encode(&self) -> JsonObject {
        let payload = match self {
            Self::Deposit { config, voucher, deposit } => json!({
                "type": "deposit", "channelConfig": config.to_terms(), "voucher": voucher.encode(),
                "deposit": deposit.encode(),
            }),
            Self::Voucher { config, voucher } => json!({
                "type": "voucher", "channelConfig": config.to_terms(), "voucher": voucher.encode(),
            }),
            Self::Refund(refund) => return refund.encode(),
            Self::Claim(batch) => {
                let mut payload = json!({ "type": "claim", "claims": encode_claims(&batch.claims) });
                set(&mut payload, "claimAuthorizerSignature", batch.authorizer_signature.as_ref());
                payload
            }
            Self::Settle { receiver, token, settled } => {
                let (receiver, token) = (receiver.to_checksum(None), token.to_checksum(None));
                let mut payload = json!({ "type": "settle", "receiver": receiver, "token": token });
                if let Some(settled) = settled {
                    payload[SETTLED] = settled.to_string().into();
                }
                payload
            }
        };
        object(payload)
    }
}

impl Deposit {
    pub(super) fn decode(reader: &Reader<'_>) -> Result<Self, Refusal> {
        let amount = reader.amount("amount")?;
        let signed = reader.below("authorization")?;
        let (by_token, by_permit) = (signed.has("erc3009Authorization"), signed.has("permit2Authorization"));
        let authorization = match (by_token, by_permit) {
            (true, false) => DepositAuthorization::by_token(&signed)?,
            (false, true) => DepositAuthorization::by_permit(&signed)?,
            _ => {
                let rule = "must hold erc3009Authorization or permit2Authorization, and not both";
                return Err(reader.error("authorization", rule));
            }
        };
        Ok(Self { amount, authorization })
    }

    pub(super) fn encode(&self) -> Value {
        json!({ "amount": self.amount.to_string(), "authorization": self.authorization.encode() })
    }
}

impl DepositAuthorization {
    fn by_token(reader: &Reader<'_>) -> Result<Self, Refusal> {
        let reader = reader.below("erc3009Authorization")?;
        Ok(Self::Erc3009 {
            valid_after: reader.large("validAfter")?,
            valid_before: reader.large("validBefore")?,
            salt: reader.nonce("salt")?,
            signature: reader.bytes("signature")?,
        })
    }

    fn by_permit(reader: &Reader<'_>) -> Result<Self, Refusal> {
        let reader = reader.below("permit2Authorization")?;
        let (permitted, witness) = (reader.below("permitted")?, reader.below("witness")?);
        Ok(Self::Permit2 {
            from: reader.address("from")?,
            token: permitted.address("token")?,
            amount: permitted.large("amount")?,
            spender: reader.address("spender")?,
            nonce: reader.nonce("nonce")?,
            deadline: reader.large("deadline")?,
            channel_id: witness.word("channelId")?,
            signature: reader.bytes("signature")?,
        })
    }

    fn encode(&self) -> Value {
        match self {
            Self::Erc3009 { valid_after, valid_before, salt, signature } => json!({
                "erc3009Authorization": {
                    "validAfter": valid_after.to_string(), "validBefore": valid_before.to_string(),
                    "salt": B256::from(*salt).to_string(), "signature": hex::encode_prefixed(signature),
                },
            }),
            Self::Permit2 { from, token, amount, spender, nonce, deadline, channel_id, signature } => json!({
                "permit2Authorization": {
                    "from": from.to_checksum(None),
                    "permitted": { "token": token.to_checksum(None), "amount": amount.to_string() },
                    "spender": spender.to_checksum(None),
                    "nonce": nonce.to_string(), "deadline": deadline.to_string(),
                    "witness": { "channelId": channel_id.to_string() },
                    "signature": hex::encode_prefixed(signature),
                },
            }),
        }
    }
}

impl Refund {
    fn decode(reader: &Reader<'_>) -> Result<Self, Refusal> {
        let (config, voucher) = channel_and_voucher(reader)?;
        let amount = reader.has("amount").then(|| refund_amount(reader)).transpose()?;
        let completion = reader.has("refundNonce").then(|| RefundCompletion::decode(reader)).transpose()?;
        if completion.is_some() && amount.is_none() {
            return Err(reader.error("amount", "is required beside refundNonce"));
        }
        Ok(Self { config, voucher, amount, completion })
    }

    fn encode(&self) -> JsonObject {
        let mut payload = json!({
            "type": "refund", "channelConfig": self.config.to_terms(), "voucher": self.voucher.encode(),
        });
        if let Some(amount) = self.amount {
            payload["amount"] = amount.to_string().into();
        }
        if let Some(completion) = &self.completion {
            payload["refundNonce"] = completion.nonce.to_string().into();
            payload["claims"] = encode_claims(&completion.claims);
            set(&mut payload, "refundAuthorizerSignature", completion.refund_signature.as_ref());
            set(&mut payload, "claimAuthorizerSignature", completion.claim_signature.as_ref());
        }
        object(payload)
    }
}

impl RefundCompletion {
    fn decode(reader: &Reader<'_>) -> Result<Self, Refusal> {
        Ok(Self {
            nonce: reader.large("refundNonce")?,
            claims: claims(reader)?,
            refund_signature: reader.optional_bytes("refundAuthorizerSignature")?,
            claim_signature: reader.optional_bytes("claimAuthorizerSignature")?,
        })
    }
}

impl ClaimEntry {
    /// The voucher that is claimed.
    ///
    /// ```
    /// use tollway_evm::batch_settlement::{ChannelConfig, ClaimEntry};
    /// fn ceiling(claim: &ClaimEntry) -> u128 {
    ///     claim.voucher(8453).voucher.max_claimable
    /// }
    /// ```
    pub fn voucher(&self, chain_id: u64) -> SignedVoucher {
        let voucher = Voucher { channel_id: self.config.id(chain_id), max_claimable: self.max_claimable };
        SignedVoucher { voucher, signature: self.signature.clone() }
    }

    fn decode(reader: &Reader<'_>) -> Result<Self, Refusal> {
        let voucher = reader.below("voucher")?;
        Ok(Self {
            config: ChannelConfig::decode(voucher.below("channel")?)?,
            max_claimable: voucher.amount("maxClaimableAmount")?,
            signature: reader.bytes("signature")?,
            total_claimed: reader.amount("totalClaimed")?,
        })
    }

    fn encode(&self) -> Value {
        json!({
            "voucher": {
                "channel": self.config.to_terms(), "maxClaimableAmount": self.max_claimable.to_string(),
            },
            "signature": hex::encode_prefixed(&self.signature),
            "totalClaimed": self.total_claimed.to_string(),
        })
    }
}

fn channel_and_voucher(reader: &Reader<'_>) -> Result<(ChannelConfig, SignedVoucher), Refusal> {
    let config = ChannelConfig::decode(reader.object("channelConfig", "payload.channelConfig")?)?;
    let voucher = SignedVoucher::decode(&reader.object("voucher", "payload.voucher")?)?;
    Ok((config, voucher))
}

fn refund_amount(reader: &Reader<'_>) -> Result<u128, Refusal> {
    let refuse = |refusal: Refusal| Refusal { code: code::REFUND_AMOUNT_INVALID, ..refusal };
    match reader.amount("amount") {
        Ok(0) => Err(refuse(reader.error("amount", "must be more than zero"))),
        other => other.map_err(refuse),
    }
}

fn claims(reader: &Reader<'_>) -> Result<Vec<ClaimEntry>, Refusal> {
    reader.objects("claims", MAX_CLAIMS)?.iter().map(ClaimEntry::decode).collect()
}

fn encode_claims(claims: &[ClaimEntry]) -> Value {
    claims.iter().map(ClaimEntry::encode).collect()
}

fn set(payload: &mut Value, name: &str, bytes: Option<&Bytes>) {
    if let Some(bytes) = bytes {
        payload[name] = hex::encode_prefixed(bytes).into();
    }
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    }
}
