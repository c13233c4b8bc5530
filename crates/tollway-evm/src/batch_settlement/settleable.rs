//! What is done to channels, as the engine sees it: a deposit, which a payer signed; a claim, a settlement or a refund, which a
//! seller asks for. Each is one call of the contract, proved by its event beside the token's.

use alloy_primitives::{Address, B256, Log, Signature, U256, hex, keccak256};
use alloy_sol_types::{SolCall, SolEvent};
use serde_json::{Value, json};
use tollway_core::model::FacilitatorRequest;
use tollway_core::{ErrorCode, Network, Refusal, UnixTime, wire};

use super::abi::{Channels, Permit2, Token};
use super::calls::{claim_call, refund_call, revert_code, settle_call};
use super::chain::ReceiverState;
use super::channel::{ChannelConfig, hash_words};
use super::claim::{claim_gas, claim_preimage};
use super::deposit::CheckedDeposit;
use super::payload::{BatchPayload, ClaimBatch, Refund};
use super::prove::{Done, claimed, deposited, refunded, settled};
use super::request::{check_request, is_request};
use super::verify::{Purpose, check};
use super::{SETTLEMENT, approval, code};
use crate::asset::TransferMethod;
use crate::exact::{TokenEvents, TransferProof};
use crate::multicall::{Call, answers, batch};
use crate::payment::{Settleable, Trouble};
use crate::permit2::{Approval, Covered, ERC20_APPROVAL_GAS_SPONSORING, PERMIT2, SponsoredApproval};
use crate::signature::PayerSignature;

/// A deposit by a key takes 180,000 gas with the tokens that are known, by Permit2 less.
const GAS_OF_DEPOSIT: u64 = 350_000;
const GAS_OF_APPROVAL: u64 = 100_000;
const GAS_OF_SETTLE: u64 = 200_000;
const GAS_OF_REFUND: u64 = 250_000;
/// A wallet's code may check several signatures, or one of another curve.
const GAS_OF_CODE: u64 = 300_000;
const GAS_OF_DEPLOYMENT: u64 = 2_000_000;
/// The most that one transaction may have (EIP-7825).
const MOST_GAS: u64 = 1 << 24;

/// A request of this scheme that holds, and what is made of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelOperation {
    request: Box<FacilitatorRequest>,
    chain_id: u64,
    part: Part,
    /// The payer's, or of what a seller asks for the consent of the receiver's authorizer.
    signature: PayerSignature,
    /// A block before it is done: what is later may be it.
    pub(super) since_block: u64,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Deposit(Box<DepositPart>),
    Claim { batch: ClaimBatch, authorizer: Address },
    Settle { receiver: Address, token: Address, settled: Option<u128> },
    Refund(Box<Refund>),
}

#[derive(Clone, Debug, PartialEq)]
struct DepositPart {
    config: ChannelConfig,
    channel_id: B256,
    deposit: CheckedDeposit,
    /// The payer's approval of Permit2, by a signature or by a transaction that is sent before.
    approval: Option<Approval>,
    sponsored: Option<Box<SponsoredApproval>>,
}

impl Eq for ChannelOperation {}

impl ChannelOperation {
    /// Reads and checks a request: every rule that needs no chain. Without `now`, those of time are left out.
    pub(crate) fn check(request: &FacilitatorRequest, now: Option<UnixTime>) -> Result<Self, Refusal> {
        let FacilitatorRequest { payment, requirements } = request;
        let (part, signature) = match is_request(&payment.payload) {
            true => Self::asked(request)?,
            false => {
                let paid = check(payment, requirements, now)?;
                let Purpose::Deposit(deposit) = paid.purpose else {
                    let rule = "must be \"deposit\", \"claim\", \"settle\", or \"refund\" with refundNonce";
                    return Err(Refusal::new(code::PAYLOAD_TYPE, "payload.type", rule));
                };
                let mut part = DepositPart {
                    config: paid.config,
                    channel_id: paid.voucher.channel_id,
                    deposit: *deposit,
                    approval: None,
                    sponsored: None,
                };
                if part.deposit.method == TransferMethod::Permit2 {
                    part.approval = approval::by_signature(payment, part.covered(), now)
                        .map_err(|refusal| refusal.by(part.config.payer.to_checksum(None)))?;
                }
                let signature = part.deposit.signature.clone();
                (Part::Deposit(Box::new(part)), signature)
            }
        };
        // Checked with the rest of the request.
        let chain_id = requirements.network.evm_chain_id().unwrap_or_default();
        Ok(Self { request: Box::new(request.clone()), chain_id, part, signature, since_block: 0 })
    }

    fn asked(request: &FacilitatorRequest) -> Result<(Part, PayerSignature), Refusal> {
        let asked = check_request(&request.payment, &request.requirements)?;
        let part = match asked.payload {
            BatchPayload::Claim(batch) => {
                let authorizer =
                    batch.claims.first().map_or(Address::ZERO, |claim| claim.config.receiver_authorizer);
                Part::Claim { batch, authorizer }
            }
            BatchPayload::Refund(refund) => Part::Refund(Box::new(refund)),
            BatchPayload::Settle { receiver, token, settled } => Part::Settle { receiver, token, settled },
            BatchPayload::Deposit { .. } | BatchPayload::Voucher { .. } => {
                return Err(Refusal::new(code::PAYLOAD_TYPE, "payload.type", "must be a seller's request"));
            }
        };
        // A settlement needs nobody's consent, and so no code that could say otherwise.
        let nobody = || PayerSignature::Key(Signature::new(U256::ZERO, U256::ZERO, false));
        Ok((part, asked.consent.unwrap_or_else(nobody)))
    }

    /// The first of its claims whose voucher only the code of a payer's account can judge, with its place: the payer. Of what
    /// claims nothing, and of vouchers by keys alone, none.
    ///
    /// ```
    /// use tollway_evm::Payment;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/batch_settlement_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let deposit = Payment::check(&request, None)?;
    /// assert_eq!(deposit.batch_settlement().and_then(|deposit| deposit.claimed_by_code()), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn claimed_by_code(&self) -> Option<(usize, Address)> {
        let claims = match &self.part {
            Part::Claim { batch, .. } => &batch.claims,
            Part::Refund(refund) => &refund.completion.as_ref()?.claims,
            Part::Deposit(_) | Part::Settle { .. } => return None,
        };
        let at = claims.iter().position(|claim| claim.is_by_code(self.chain_id))?;
        claims.get(at).map(|claim| (at, claim.config.payer))
    }

    /// The same, not done before the end of this block: who else may have done it is looked for later than that.
    ///
    /// ```
    /// use tollway_evm::batch_settlement::ChannelOperation;
    /// fn asked_now(operation: ChannelOperation, head: u64) -> ChannelOperation {
    ///     operation.since(head)
    /// }
    /// ```
    #[must_use]
    pub fn since(mut self, block: u64) -> Self {
        self.since_block = block;
        self
    }

    /// What is asked for, by its name on the wire.
    ///
    /// ```
    /// use tollway_evm::Payment;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/batch_settlement_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let payment = Payment::check(&request, None)?;
    /// assert_eq!(payment.batch_settlement().map(|operation| operation.kind()), Some("deposit"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn kind(&self) -> &'static str {
        match self.part {
            Part::Deposit(_) => "deposit",
            Part::Claim { .. } => "claim",
            Part::Settle { .. } => "settle",
            Part::Refund(_) => "refund",
        }
    }

    /// Whether a seller asks for it: then no payer's authorization ends, and it is good as long as the chain stands so.
    ///
    /// ```
    /// use tollway_evm::Payment;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/batch_settlement_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let deposit = Payment::check(&request, None)?;
    /// assert!(deposit.batch_settlement().is_some_and(|operation| !operation.is_by_seller()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn is_by_seller(&self) -> bool {
        !matches!(self.part, Part::Deposit(_))
    }

    /// The channel, of a deposit or a refund.
    ///
    /// ```
    /// use tollway_evm::Payment;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/batch_settlement_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let deposit = Payment::check(&request, None)?;
    /// let id = deposit.batch_settlement().and_then(|operation| operation.channel_id()).unwrap();
    /// assert_eq!(id.to_string(), request.payment.payload["voucher"]["channelId"].as_str().unwrap());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn channel_id(&self) -> Option<B256> {
        match &self.part {
            Part::Deposit(part) => Some(part.channel_id),
            Part::Refund(refund) => Some(refund.voucher.voucher.channel_id),
            Part::Claim { .. } | Part::Settle { .. } => None,
        }
    }

    /// What a receipt says of it, if it says that it was done: the logs are given with their index in the block.
    ///
    /// ```
    /// # use alloy_primitives::Log;
    /// use tollway_evm::Payment;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/batch_settlement_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let deposit = Payment::check(&request, None)?;
    /// let logs: [Log; 0] = [];
    /// assert_eq!(deposit.batch_settlement().and_then(|deposit| deposit.done_in((0..).zip(&logs))), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn done_in<'a>(&self, logs: impl IntoIterator<Item = (u64, &'a Log)>) -> Option<Done> {
        let logs: Vec<(u64, &Log)> = logs.into_iter().collect();
        match &self.part {
            Part::Deposit(part) => deposited(&logs, &part.deposit, &part.config, part.channel_id),
            Part::Claim { batch, .. } => claimed(&logs, &batch.claims, self.chain_id),
            Part::Settle { receiver, token, .. } => settled(&logs, *receiver, *token),
            Part::Refund(refund) => refunded(&logs, &refund.config, refund.voucher.voucher.channel_id),
        }
    }

    pub(crate) fn prove_among<'a>(
        &self,
        logs: impl IntoIterator<Item = (u64, &'a Log)>,
    ) -> Option<TransferProof> {
        self.done_in(logs).map(|done| done.proof)
    }

    /// Whether its events tell it from others that look the same: the token names the authorization of EIP-3009.
    pub(crate) const fn is_marked(&self) -> bool {
        matches!(&self.part, Part::Deposit(part) if matches!(part.deposit.method, TransferMethod::Eip3009))
    }

    /// Takes up the transaction that approves Permit2 and comes with a deposit.
    pub(crate) fn take_approval(&mut self) -> Result<(), Refusal> {
        if let Part::Deposit(part) = &mut self.part
            && part.deposit.method == TransferMethod::Permit2
            && part.approval.is_none()
        {
            let (payment, network) = (&self.request.payment, &self.request.requirements.network);
            part.sponsored = approval::by_transaction(payment, part.covered(), network)?.map(Box::new);
        }
        Ok(())
    }

    /// Whether the payer has a transaction beside its payment that approves Permit2.
    fn is_sponsoring_asked(&self) -> bool {
        self.request.payment.extensions.contains_key(ERC20_APPROVAL_GAS_SPONSORING)
    }

    pub(crate) fn sponsored_approval(&self) -> Option<&SponsoredApproval> {
        match &self.part {
            Part::Deposit(part) => part.sponsored.as_deref(),
            _ => None,
        }
    }

    /// The events by which it may be known that somebody else has done it, of what a seller asks for: one of the contract's, and
    /// what it is about.
    pub(super) fn traces(&self) -> Option<(B256, Vec<B256>, Option<Address>)> {
        match &self.part {
            Part::Deposit(_) => None,
            Part::Claim { batch, .. } => {
                let ids = batch.claims.iter().map(|claim| claim.config.id(self.chain_id)).collect();
                Some((Channels::Claimed::SIGNATURE_HASH, ids, None))
            }
            Part::Settle { receiver, token, .. } => {
                Some((Channels::Settled::SIGNATURE_HASH, vec![receiver.into_word()], Some(*token)))
            }
            Part::Refund(refund) => {
                Some((Channels::Refunded::SIGNATURE_HASH, vec![refund.voucher.voucher.channel_id], None))
            }
        }
    }

    /// Of a deposit, what a look for those who may have made it needs to know.
    pub(super) fn deposit(&self) -> Option<(&CheckedDeposit, &ChannelConfig, B256)> {
        match &self.part {
            Part::Deposit(part) => Some((&part.deposit, &part.config, part.channel_id)),
            _ => None,
        }
    }

    /// Reads what [`Settleable::encode`] wrote.
    pub(crate) fn decode(record: &Value) -> Option<Self> {
        let request = record.get("request")?.to_string();
        let request = wire::decode_facilitator_request(request.as_bytes()).ok()?;
        let mut operation = Self::check(&request, None).ok()?.since(record.get("since")?.as_u64()?);
        if let (Some(raw), Part::Deposit(part)) =
            (record.get("sponsored").and_then(Value::as_str), &mut operation.part)
        {
            let raw = hex::decode(raw).ok()?;
            part.sponsored = Some(Box::new(SponsoredApproval::recall(raw.into())?));
        }
        Some(operation)
    }
}

impl DepositPart {
    fn covered(&self) -> Covered {
        let (payer, token) = (self.config.payer, self.config.token);
        Covered { payer, token, amount: U256::from(self.deposit.amount) }
    }
}

impl Settleable for ChannelOperation {
    fn network(&self) -> &Network {
        &self.request.requirements.network
    }

    fn asset(&self) -> Address {
        match &self.part {
            Part::Deposit(part) => part.config.token,
            Part::Claim { batch, .. } => {
                batch.claims.first().map_or(Address::ZERO, |claim| claim.config.token)
            }
            Part::Settle { token, .. } => *token,
            Part::Refund(refund) => refund.config.token,
        }
    }

    /// Of a claim or a refund the receiver's authorizer, whose word it is; a settlement is the receiver's. Nobody answers for
    /// what somebody else has asked for.
    fn payer(&self) -> Address {
        match &self.part {
            Part::Deposit(part) => part.config.payer,
            Part::Claim { authorizer, .. } => *authorizer,
            Part::Settle { receiver, .. } => *receiver,
            Part::Refund(refund) => refund.config.receiver_authorizer,
        }
    }

    fn payee(&self) -> Address {
        match &self.part {
            Part::Deposit(part) => part.config.receiver,
            Part::Claim { batch, .. } => {
                batch.claims.first().map_or(Address::ZERO, |claim| claim.config.receiver)
            }
            Part::Settle { receiver, .. } => *receiver,
            Part::Refund(refund) => refund.config.payer,
        }
    }

    /// What the payer must have now. Nothing of what a seller asks for comes from a payer's account.
    fn value(&self) -> U256 {
        match &self.part {
            Part::Deposit(part) => U256::from(part.deposit.amount),
            _ => U256::ZERO,
        }
    }

    fn valid_after(&self) -> U256 {
        match &self.part {
            Part::Deposit(part) => part.deposit.valid_after,
            _ => U256::ZERO,
        }
    }

    fn expires(&self) -> UnixTime {
        match &self.part {
            Part::Deposit(part) => UnixTime(u64::try_from(part.deposit.valid_before).unwrap_or(u64::MAX)),
            // The latest that a ledger can keep.
            _ => UnixTime(u64::MAX >> 1),
        }
    }

    fn nonce(&self) -> B256 {
        match &self.part {
            Part::Deposit(part) => part.deposit.nonce,
            Part::Claim { batch, .. } => keccak256(claim_preimage(&batch.claims, self.chain_id)),
            Part::Settle { receiver, token, settled } => {
                let seen = settled.map_or(U256::MAX, U256::from);
                hash_words([receiver.into_word(), token.into_word(), seen.into()])
            }
            // Of one number there is only one refund, whatever its amount.
            Part::Refund(refund) => {
                let number =
                    refund.completion.as_ref().map(|completion| completion.nonce).unwrap_or_default();
                hash_words([refund.voucher.voucher.channel_id, number.into()])
            }
        }
    }

    fn nonce_space(&self) -> Address {
        match &self.part {
            Part::Deposit(part) => part.deposit.nonce_space(part.config.token),
            _ => SETTLEMENT,
        }
    }

    fn signature(&self) -> &PayerSignature {
        &self.signature
    }

    fn signed_words(&self) -> Vec<B256> {
        match &self.part {
            Part::Deposit(part) => {
                let DepositPart { config, channel_id, deposit, .. } = part.as_ref();
                let numbers = [U256::from(deposit.amount), deposit.valid_after, deposit.valid_before];
                let accounts =
                    [config.payer, config.token, deposit.collector()].map(|account| account.into_word());
                let words = numbers.map(B256::from).into_iter().chain(accounts);
                words.chain([*channel_id, deposit.nonce]).collect()
            }
            Part::Refund(refund) => {
                let amount = U256::from(refund.amount.unwrap_or_default());
                let claims = refund
                    .completion
                    .as_ref()
                    .map(|completion| keccak256(claim_preimage(&completion.claims, self.chain_id)));
                vec![self.nonce(), amount.into(), claims.unwrap_or_default()]
            }
            Part::Claim { .. } | Part::Settle { .. } => vec![self.nonce()],
        }
    }

    fn call(&self) -> Call {
        match &self.part {
            Part::Deposit(part) => part.deposit.call(&part.config, part.approval.as_ref()),
            Part::Claim { batch, .. } => {
                claim_call(&batch.claims, batch.authorizer_signature.clone().unwrap_or_default())
            }
            Part::Settle { receiver, token, .. } => settle_call(*receiver, *token),
            Part::Refund(refund) => match &refund.completion {
                Some(completion) => {
                    refund_call(&refund.config, refund.amount.unwrap_or_default(), completion)
                }
                // None is checked without one; what is not there is called with nothing, and reverts.
                None => settle_call(refund.config.receiver, refund.config.token),
            },
        }
    }

    fn max_gas(&self) -> u64 {
        let does = match &self.part {
            Part::Deposit(part) if part.approval.is_some() => GAS_OF_DEPOSIT + GAS_OF_APPROVAL,
            Part::Deposit(_) => GAS_OF_DEPOSIT,
            Part::Claim { batch, .. } => claim_gas(&batch.claims),
            Part::Settle { .. } => GAS_OF_SETTLE,
            Part::Refund(refund) => match &refund.completion {
                Some(completion) if !completion.claims.is_empty() => {
                    GAS_OF_REFUND.saturating_add(claim_gas(&completion.claims))
                }
                _ => GAS_OF_REFUND,
            },
        };
        let judges = match (&self.signature, self.signature.deployment()) {
            (PayerSignature::Key(_), _) => 0,
            (PayerSignature::Code(_), None) => GAS_OF_CODE,
            (PayerSignature::Code(_), Some(_)) => GAS_OF_CODE + GAS_OF_DEPLOYMENT,
        };
        does.saturating_add(judges).min(MOST_GAS)
    }

    /// Deposits that a key has signed by EIP-3009 have company, of their kind; all else is told from others by being alone.
    fn is_alone(&self) -> bool {
        !self.is_marked() || !self.signature.is_by_key()
    }

    fn state_call(&self) -> Option<Call> {
        let ask = |to: Address, call: Vec<u8>| Call { to, data: call.into() };
        Some(match &self.part {
            Part::Deposit(part) => match part.deposit.method {
                TransferMethod::Eip3009 => {
                    let (authorizer, nonce) = (part.config.payer, part.deposit.nonce);
                    let call = Token::authorizationStateCall { authorizer, nonce };
                    ask(part.config.token, call.abi_encode())
                }
                TransferMethod::Permit2 => {
                    let word = U256::from_be_bytes(part.deposit.nonce.0) >> 8;
                    ask(PERMIT2, Permit2::nonceBitmapCall { owner: part.config.payer, word }.abi_encode())
                }
            },
            Part::Claim { batch: claims, .. } => batch(claims.claims.iter().map(|claim| {
                let channel_id = claim.config.id(self.chain_id);
                ask(SETTLEMENT, Channels::channelsCall { channelId: channel_id }.abi_encode())
            })),
            Part::Settle { receiver, token, .. } => ReceiverState::question(*receiver, *token),
            Part::Refund(refund) => {
                let channel_id = refund.voucher.voucher.channel_id;
                ask(SETTLEMENT, Channels::refundNonceCall { channelId: channel_id }.abi_encode())
            }
        })
    }

    fn is_used(&self, answer: &[u8]) -> Option<bool> {
        match &self.part {
            Part::Deposit(part) => match part.deposit.method {
                TransferMethod::Eip3009 => {
                    Token::authorizationStateCall::abi_decode_returns_validate(answer).ok()
                }
                TransferMethod::Permit2 => {
                    let word = U256::from_be_slice(answer.get(..32)?);
                    Some(word.bit(usize::from(part.deposit.nonce[31])))
                }
            },
            // Done is done, whoever did it: all of them are claimed so far, or further.
            Part::Claim { batch, .. } => {
                let told = answers(answer)?;
                if told.len() != batch.claims.len() {
                    return None;
                }
                let mut all = true;
                for (claim, told) in batch.claims.iter().zip(&told) {
                    let state = Channels::channelsCall::abi_decode_returns_validate(told).ok()?;
                    all &= state.totalClaimed >= claim.total_claimed;
                }
                Some(all)
            }
            Part::Settle { settled, .. } => {
                let state = ReceiverState::read(answer)?;
                let nothing_left = state.claimed <= state.settled;
                Some(nothing_left || settled.is_some_and(|seen| state.settled > seen))
            }
            Part::Refund(refund) => {
                let next = Channels::refundNonceCall::abi_decode_returns_validate(answer).ok()?;
                Some(next > refund.completion.as_ref()?.nonce)
            }
        }
    }

    fn funds_calls(&self) -> Vec<Call> {
        let Part::Deposit(part) = &self.part else { return Vec::new() };
        let (to, payer) = (part.config.token, part.config.payer);
        let balance = Token::balanceOfCall { account: payer };
        let mut calls = vec![Call { to, data: balance.abi_encode().into() }];
        if part.deposit.method == TransferMethod::Permit2 && part.approval.is_none() {
            let allowed = Token::allowanceCall { owner: payer, spender: PERMIT2 };
            calls.push(Call { to, data: allowed.abi_encode().into() });
        }
        calls
    }

    /// The token alone does not say for which channel it moved.
    fn prove(&self, _events: &TokenEvents) -> Option<TransferProof> {
        None
    }

    fn naming(&self, trouble: Trouble) -> (ErrorCode, &'static str) {
        let Part::Deposit(part) = &self.part else { return (self.seller_code(trouble), "payload") };
        let by_token = part.deposit.method == TransferMethod::Eip3009;
        let code = match trouble {
            Trouble::Funds => code::INSUFFICIENT_BALANCE,
            // The payer has signed its approval, and nobody here sends it.
            Trouble::Allowance if part.sponsored.is_none() && self.is_sponsoring_asked() => {
                code::ERC20_APPROVAL_UNAVAILABLE
            }
            Trouble::Allowance => code::PERMIT2_ALLOWANCE_REQUIRED,
            Trouble::ValidBefore if by_token => code::VALID_BEFORE,
            Trouble::ValidBefore => code::PERMIT2_DEADLINE_EXPIRED,
            Trouble::ValidAfter => code::VALID_AFTER,
            Trouble::Signature if by_token => code::RECEIVE_AUTHORIZATION_SIGNATURE,
            Trouble::Signature => code::PERMIT2_INVALID_SIGNATURE,
            Trouble::NonceUsed => ErrorCode::INVALID_EXACT_EVM_NONCE_ALREADY_USED,
            _ => code::DEPOSIT_SIMULATION_FAILED,
        };
        (code, "payload.deposit")
    }

    /// Of what a seller asks for, the scheme has one name for all that may be wrong then.
    fn revert_code(&self, data: &[u8]) -> Option<ErrorCode> {
        if self.is_by_seller() { None } else { revert_code(data) }
    }

    fn encode(&self) -> Value {
        json!({
            "method": "batch-settlement", "request": wire::encode_facilitator_request(&self.request),
            "since": self.since_block,
            "sponsored": self.sponsored_approval().map(|sponsored| &sponsored.raw),
        })
    }
}

impl ChannelOperation {
    /// What is wrong with something that a seller asked for.
    fn seller_code(&self, trouble: Trouble) -> ErrorCode {
        match (&self.part, trouble) {
            (Part::Claim { .. }, Trouble::NonceUsed) => code::CUMULATIVE_BELOW_CLAIMED,
            (Part::Settle { .. }, Trouble::NonceUsed) => code::NOTHING_TO_SETTLE,
            (Part::Refund(_), Trouble::NonceUsed) => code::REFUND_PAYLOAD,
            (Part::Refund(_), Trouble::AnotherAmount) => code::REFUND_NO_BALANCE,
            (_, Trouble::Signature) => code::AUTHORIZER_ADDRESS_MISMATCH,
            (Part::Claim { .. }, _) => code::CLAIM_SIMULATION_FAILED,
            (Part::Settle { .. }, _) => code::SETTLE_SIMULATION_FAILED,
            _ => code::REFUND_SIMULATION_FAILED,
        }
    }
}
