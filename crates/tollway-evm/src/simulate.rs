//! Whether payments would settle now, told by a node.
//!
//! What EIP-3009 authorizes by a plain key is probed, many payments in one call (`exact/simulate.rs`). Everything else is
//! rehearsed: the very transaction that would settle it runs on the node (`eth_simulateV1`, as on the next block): from the
//! account that will send it, at the price and with the gas that it will have. An account's code may say yes to a look
//! from anywhere else and no in a block; so what is rehearsed must not be told from the real thing by what code can see.

use alloy_primitives::{Address, Bytes, U256};
use alloy_rpc_types_eth::TransactionRequest;
use alloy_rpc_types_eth::simulate::{SimBlock, SimCallResult};
use alloy_rpc_types_eth::state::{AccountOverride, StateOverride};
use alloy_sol_types::{Revert, SolError};
use futures_util::future::{try_join, try_join_all};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tollway_core::{ErrorCode, Refusal};

use crate::chain::{CallOutcome, Chain, ChainError, transaction_request};
use crate::exact::{ExactPayment, Probed, probe};
use crate::multicall::{Call, batch, read_gas};
use crate::payment::{Payment, Trouble, balance_call};
use crate::permit2::{ERC20_APPROVAL_GAS_SPONSORING, SponsoredApproval, approve_call};

/// What is known of a payment that would settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Funds {
    /// What the payer has of the asset, and may be taken of it, before it pays, and after those that came before it in
    /// the same call.
    pub available: U256,
    /// Whether nothing has been taken off for those before it: it was looked at alone, or by rehearsal.
    pub is_alone: bool,
    /// Whether the payer has code: it settles before anything is served for it, and in no transaction with others.
    pub payer_has_code: bool,
}

/// Whether a payment would settle, or which rule it breaks.
pub type Verdict = Result<Funds, Refusal>;

/// How many rehearsals of one question may be under way at once.
const REHEARSALS: usize = 8;
/// The most gas of one rehearsal: what one transaction may use (EIP-7825), and nodes simulate.
const MOST_GAS: u64 = 1 << 24;

/// Runs the payments on the latest state. Those that are probed or rehearsed together run one after the other, each on
/// the state that those before it leave: so two payments racing for one balance are told apart. Others run each alone.
///
/// # Errors
/// The node gave no answer, or cannot simulate; neither says anything about any payment.
///
/// ```
/// # use tollway_core::ErrorCode;
/// # use tollway_evm::{Address, Bytes, Payment};
/// # use alloy_transport::mock::{Asserter, MockTransport};
/// # use tollway_core::Network;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let node = Asserter::new();
/// # let mut answer = [0; 34];
/// # answer[..2].copy_from_slice(&[1, 3]);
/// # node.push_success(&Bytes::from(answer));
/// # let (node, deadline) = (MockTransport::new(node), std::time::Duration::from_secs(5));
/// # let chain = tollway_evm::Chain::from_transport(node, &Network::evm(8453), deadline)?;
/// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
/// # let request = tollway_core::wire::decode_facilitator_request(json)?;
/// # let payment = Payment::check(&request, None)?;
/// # let lane = Address::repeat_byte(1);
/// let verdicts = tollway_evm::simulate(&chain, lane, &[&payment]).await?; // on a chain without the token
/// let refusal = verdicts[0].as_ref().unwrap_err();
/// assert_eq!(refusal.code, ErrorCode::ASSET_NOT_DEPLOYED_CONTRACT);
/// # Ok(())
/// # }
/// ```
pub async fn simulate(
    chain: &Chain,
    sender: Address,
    payments: &[&Payment],
) -> Result<Vec<Verdict>, ChainError> {
    let mut verdicts: Vec<Option<Verdict>> = vec![None; payments.len()];
    let (places, probed): (Vec<usize>, Vec<&ExactPayment>) = payments
        .iter()
        .enumerate()
        .filter_map(|(place, payment)| match payment {
            Payment::Eip3009(exact) => payment.is_probed().then_some((place, exact)),
            _ => None,
        })
        .unzip();
    if !probed.is_empty() {
        for (place, found) in places.into_iter().zip(probe(chain, sender, &probed).await?) {
            verdicts[place] = match found {
                Probed::Judged(verdict) => Some(verdict),
                Probed::HasCode => None,
            };
        }
    }
    let rest: Vec<usize> = (0..payments.len()).filter(|place| verdicts[*place].is_none()).collect();
    if !rest.is_empty() {
        let left: Vec<&Payment> = rest.iter().map(|place| payments[*place]).collect();
        for (place, verdict) in rest.into_iter().zip(rehearse(chain, sender, &left).await?) {
            verdicts[place] = Some(verdict);
        }
    }
    Ok(verdicts.into_iter().flatten().collect())
}

/// Runs the payer's approval of Permit2 on the latest state, as the transaction that it is and as if the payer could pay for
/// it, and behind it the one that would settle `payment` from `sender`.
///
/// # Errors
/// The node gave no answer, or would not include the approval; neither says anything about the payment.
///
/// ```no_run
/// use tollway_evm::{Address, Chain, ChainError, Payment, permit2::SponsoredApproval};
/// # async fn run(chain: Chain, lane: Address, payment: Payment, approval: SponsoredApproval)
/// # -> Result<(), ChainError> {
/// match tollway_evm::simulate_approved(&chain, lane, &payment, &approval).await? {
///     Ok(_) => println!("it would settle"),
///     Err(refusal) => println!("it would not: {refusal}"),
/// }
/// # Ok(()) }
/// ```
pub async fn simulate_approved(
    chain: &Chain,
    sender: Address,
    payment: &Payment,
    approval: &SponsoredApproval,
) -> Result<Verdict, ChainError> {
    let fees = chain.suggested_fees().await?;
    Stage { chain, fees }.approved(payment.sender().unwrap_or(sender), payment, approval).await
}

/// Rehearses payments: those that may share a transaction together, the others each alone.
async fn rehearse(chain: &Chain, sender: Address, payments: &[&Payment]) -> Result<Vec<Verdict>, ChainError> {
    let payers: Vec<Address> = payments.iter().map(|payment| payment.payer()).collect();
    let (codes, fees) = try_join(chain.codes(&payers), chain.suggested_fees()).await?;
    let stage = Stage { chain, fees };
    let has_code: Vec<bool> = codes.iter().map(|code| !code.is_empty()).collect();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for place in 0..payments.len() {
        let joins = |group: &&mut Vec<usize>| {
            let gas = group.iter().map(|other| payments[*other].max_gas()).sum::<u64>();
            gas + payments[place].max_gas() <= MOST_GAS
                && !has_code[place]
                && group.iter().all(|other| {
                    !has_code[*other]
                        && payments[*other].may_share_with(payments[place])
                        && (payments[place].is_marked()
                            || movement(payments[*other]) != movement(payments[place]))
                })
        };
        match groups.iter_mut().find(joins) {
            Some(group) => group.push(place),
            None => groups.push(vec![place]),
        }
    }
    let rehearsals = groups.into_iter().map(|group| {
        let members: Vec<(&Payment, bool)> =
            group.iter().map(|place| (payments[*place], has_code[*place])).collect();
        let stage = &stage;
        async move { Ok::<_, ChainError>((group, stage.rehearse(sender, &members).await?)) }
    });
    let done: Vec<(Vec<usize>, Vec<Verdict>)> =
        stream::iter(rehearsals).buffer_unordered(REHEARSALS).try_collect().await?;
    let mut all: Vec<(usize, Verdict)> =
        done.into_iter().flat_map(|(group, verdicts)| group.into_iter().zip(verdicts)).collect();
    all.sort_by_key(|(place, _)| *place);
    Ok(all.into_iter().map(|(_, verdict)| verdict).collect())
}

/// Where rehearsals run.
struct Stage<'a> {
    chain: &'a Chain,
    fees: (u128, u128),
}

impl Stage<'_> {
    /// One transaction with all `members`. If some of them do not pay in it, each of these is told why by one of its own.
    async fn rehearse(
        &self,
        sender: Address,
        members: &[(&Payment, bool)],
    ) -> Result<Vec<Verdict>, ChainError> {
        if let [(payment, has_code)] = members {
            return Ok(vec![self.alone(sender, payment, *has_code).await?]);
        }
        let settle = batch(members.iter().map(|(payment, _)| payment.call()));
        let gas = members.iter().map(|(payment, _)| payment.max_gas()).sum();
        let results = match self.run(sender, members, settle, gas).await {
            Err(error) if error.is_missing_method() => {
                let each =
                    members.iter().map(|(payment, has_code)| self.by_calls(sender, payment, *has_code));
                return try_join_all(each).await;
            }
            results => results?,
        };
        let Some((settled, asked)) = results.split_last() else { return Err(ChainError::NoSimulation) };
        let mut asked = asked.iter();
        let mut verdicts = Vec::with_capacity(members.len());
        for (payment, has_code) in members {
            let answers: Vec<&SimCallResult> = asked.by_ref().take(questions(payment).len()).collect();
            let verdict = match before(payment, &answers) {
                Ok(available) if settled.status && payment.prove_in(logs_of(settled)).is_some() => {
                    // As it was before all of them: others of the same payer may be in another rehearsal.
                    Ok(Funds { available, is_alone: true, payer_has_code: *has_code })
                }
                // Alone it may be fine: what went before it has spent what it needs.
                Ok(_) => match self.alone(sender, payment, *has_code).await? {
                    Ok(_) => {
                        Err(payment.refusal(Trouble::Funds, "must be covered beside the payments before it"))
                    }
                    Err(refusal) => Err(refusal),
                },
                Err(refusal) => Err(refusal),
            };
            verdicts.push(verdict);
        }
        Ok(verdicts)
    }

    async fn alone(&self, sender: Address, payment: &Payment, has_code: bool) -> Result<Verdict, ChainError> {
        let sender = payment.sender().unwrap_or(sender);
        let results = match self.run(sender, &[(payment, has_code)], payment.call(), payment.max_gas()).await
        {
            Err(error) if error.is_missing_method() => return self.by_calls(sender, payment, has_code).await,
            results => results?,
        };
        let Some((settled, asked)) = results.split_last() else { return Err(ChainError::NoSimulation) };
        let asked: Vec<&SimCallResult> = asked.iter().collect();
        Ok(before(payment, &asked).and_then(|available| {
            if !settled.status {
                return Err(refused_by_code(payment, has_code, settled));
            }
            match payment.prove_in(logs_of(settled)) {
                Some(_) => Ok(Funds { available, is_alone: true, payer_has_code: has_code }),
                None => Err(payment.refusal(Trouble::AnotherAmount, "must deliver exactly its value")),
            }
        }))
    }

    async fn approved(
        &self,
        sender: Address,
        payment: &Payment,
        approval: &SponsoredApproval,
    ) -> Result<Verdict, ChainError> {
        let approve = approve_call(payment.asset(), approval.amount);
        let by_lane = |call: &Call, gas| TransactionRequest {
            max_fee_per_gas: Some(self.fees.0),
            max_priority_fee_per_gas: Some(self.fees.1),
            ..transaction_request(sender, call, Some(gas))
        };
        let by_payer = TransactionRequest {
            nonce: Some(approval.nonce),
            max_fee_per_gas: Some(approval.max_fee_per_gas),
            max_priority_fee_per_gas: Some(approval.max_priority_fee_per_gas),
            ..transaction_request(payment.payer(), &approve, Some(approval.gas_limit))
        };
        let asked: Vec<_> = questions(payment).iter().map(|call| by_lane(call, read_gas(call))).collect();
        let settle = by_lane(&payment.call(), payment.max_gas());
        let able = AccountOverride { balance: Some(approval.max_cost()), ..AccountOverride::default() };
        let count = asked.len() + 2;
        let block = SimBlock::default()
            .with_state_overrides(StateOverride::from_iter([(payment.payer(), able)]))
            .extend_calls([by_payer].into_iter().chain(asked).chain([settle]));
        let results = match self.chain.simulate_requests(block).await {
            Err(error) if error.is_missing_method() => {
                return self.approved_by_calls(sender, payment, &approve, approval.gas_limit).await;
            }
            results => results?,
        };
        let [approved, asked @ .., settled] = &results[..] else { return Err(ChainError::NoSimulation) };
        if results.len() != count {
            return Err(ChainError::NoSimulation);
        }
        if !approved.status {
            return Ok(Err(not_approved(payment, approved)));
        }
        Ok(before(payment, &asked.iter().collect::<Vec<_>>()).and_then(|available| {
            if !settled.status {
                return Err(refused_by_code(payment, false, settled));
            }
            match payment.prove_in(logs_of(settled)) {
                Some(_) => Ok(Funds { available, is_alone: true, payer_has_code: false }),
                None => Err(payment.refusal(Trouble::AnotherAmount, "must deliver exactly its value")),
            }
        }))
    }

    /// The same for a node without `eth_simulateV1`: whether the token takes the approval, and whether the payer has what it
    /// pays. That both go well together is seen when the first is included: the second is rehearsed before it is sent.
    async fn approved_by_calls(
        &self,
        sender: Address,
        payment: &Payment,
        approve: &Call,
        gas: u64,
    ) -> Result<Verdict, ChainError> {
        let approved = self.chain.call(payment.payer(), approve, gas).await;
        if let CallOutcome::Reverted(return_data) = as_transaction(approved)? {
            let reverted = SimCallResult { return_data, ..SimCallResult::default() };
            return Ok(Err(not_approved(payment, &reverted)));
        }
        let mut answers = Vec::new();
        let kept = payment.state_call().into_iter().chain([balance_call(&**payment)]);
        for call in kept {
            answers.push(match self.chain.call(sender, &call, read_gas(&call)).await? {
                CallOutcome::Returned(return_data) => {
                    SimCallResult { return_data, status: true, ..Default::default() }
                }
                CallOutcome::Reverted(_) => SimCallResult::default(),
            });
        }
        let available = before(payment, &answers.iter().collect::<Vec<_>>());
        Ok(available.map(|available| Funds { available, is_alone: true, payer_has_code: false }))
    }

    /// The same for a node without `eth_simulateV1`, as far as `eth_call` goes: what would be moved is not seen before it
    /// is moved.
    async fn by_calls(
        &self,
        sender: Address,
        payment: &Payment,
        has_code: bool,
    ) -> Result<Verdict, ChainError> {
        let mut answers = Vec::new();
        for call in questions(payment) {
            answers.push(match self.chain.call(sender, &call, read_gas(&call)).await? {
                CallOutcome::Returned(return_data) => {
                    SimCallResult { return_data, status: true, ..Default::default() }
                }
                CallOutcome::Reverted(_) => SimCallResult::default(),
            });
        }
        let available = match before(payment, &answers.iter().collect::<Vec<_>>()) {
            Ok(available) => available,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let settled = self.chain.call_at(sender, &payment.call(), payment.max_gas(), self.fees).await;
        Ok(match as_transaction(settled)? {
            CallOutcome::Returned(_) => Ok(Funds { available, is_alone: true, payer_has_code: has_code }),
            CallOutcome::Reverted(return_data) => {
                let reverted = SimCallResult { return_data, ..SimCallResult::default() };
                Err(refused_by_code(payment, has_code, &reverted))
            }
        })
    }

    /// The questions of all members, and then the transaction.
    async fn run(
        &self,
        sender: Address,
        members: &[(&Payment, bool)],
        settle: Call,
        gas: u64,
    ) -> Result<Vec<SimCallResult>, ChainError> {
        let asked = members.iter().flat_map(|(payment, _)| questions(payment)).map(|call| {
            let gas = read_gas(&call);
            (call, gas)
        });
        let calls: Vec<(Call, u64)> = asked.chain([(settle, gas)]).collect();
        let results = self.chain.simulate_block(sender, &calls, self.fees).await?;
        if results.len() == calls.len() { Ok(results) } else { Err(ChainError::NoSimulation) }
    }
}

/// How a transaction would end that was run as a call: without the gas that it will have, it fails as if it reverted.
fn as_transaction(outcome: Result<CallOutcome, ChainError>) -> Result<CallOutcome, ChainError> {
    match outcome {
        Err(error) if error.is_out_of_gas() => Ok(CallOutcome::Reverted(Bytes::new())),
        outcome => outcome,
    }
}

fn movement(payment: &Payment) -> (Address, Address, Address, U256) {
    (payment.asset(), payment.payer(), payment.payee(), payment.value())
}

/// Why its call would revert. Tokens and Permit2 say it in words of their own when an account's code does not accept.
fn refused_by_code(payment: &Payment, has_code: bool, reverted: &SimCallResult) -> Refusal {
    let said = reverts(reverted);
    if let Some(code) = payment.revert_code(revert_data(reverted)) {
        return Refusal { code, ..payment.refusal(Trouble::Reverts, said) };
    }
    let is_by_code = has_code || !payment.signature().is_by_key();
    let is_about_signature = is_by_code && said.to_lowercase().contains("signature");
    payment.refusal(if is_about_signature { Trouble::Signature } else { Trouble::Reverts }, said)
}

/// The token does not take the approval.
fn not_approved(payment: &Payment, reverted: &SimCallResult) -> Refusal {
    let field = format!("extensions.{ERC20_APPROVAL_GAS_SPONSORING}.info.signedTransaction");
    let refusal = Refusal::new(ErrorCode::ERC20_APPROVAL_TX_FAILED, field, reverts(reverted));
    refusal.by(payment.payer().to_checksum(None))
}

fn questions(payment: &Payment) -> Vec<Call> {
    payment.state_call().into_iter().chain(payment.funds_calls()).collect()
}

/// What the answers to [`questions`] say: what is available, or why it would not settle.
fn before(payment: &Payment, answers: &[&SimCallResult]) -> Result<U256, Refusal> {
    let mut answers = answers.iter();
    if payment.state_call().is_some() {
        let is_used = answers
            .next()
            .filter(|answer| answer.status)
            .and_then(|answer| payment.is_used(&answer.return_data));
        match is_used {
            Some(false) => {}
            Some(true) => {
                return Err(
                    payment.refusal(Trouble::NonceUsed, "must be unused: it is used or canceled on chain")
                );
            }
            None => {
                return Err(
                    payment.refusal(Trouble::Reverts, "the contract that keeps its nonce does not answer")
                );
            }
        }
    }
    let word = |answer: &&SimCallResult| match answer.return_data.get(..32) {
        Some(word) if answer.status => U256::from_be_slice(word),
        // Who tells no balance has none.
        _ => U256::ZERO,
    };
    let mut available = answers.map(word);
    let balance = available.next().unwrap_or_default();
    let allowed = available.min().unwrap_or(U256::MAX);
    if balance < payment.value() {
        return Err(payment.refusal(Trouble::Funds, "must be covered by the payer's balance"));
    }
    if allowed < payment.value() {
        let rule = "must be covered by what the payer allows Permit2 to take: approve the contract once";
        return Err(payment.refusal(Trouble::Allowance, rule));
    }
    Ok(balance.min(allowed))
}

fn logs_of(result: &SimCallResult) -> impl Iterator<Item = (u64, &alloy_primitives::Log)> {
    (0u64..).zip(result.logs.iter().map(|log| &log.inner))
}

/// What a revert says, in few words.
fn reverts(result: &SimCallResult) -> String {
    let data = revert_data(result);
    let said = match Revert::abi_decode(data) {
        Ok(revert) => revert.reason,
        Err(_) => match data.get(..4) {
            Some(selector) => format!("error {}", alloy_primitives::hex::encode_prefixed(selector)),
            None => result
                .error
                .as_ref()
                .map_or_else(|| "no reason given".to_owned(), |error| error.message.clone()),
        },
    };
    let said: String = said.chars().filter(|c| !c.is_control()).take(120).collect();
    format!("the payment would revert: {said}")
}

/// What a call reverted with. Nodes tell it in one of two places.
fn revert_data(result: &SimCallResult) -> &Bytes {
    let of_error = result.error.as_ref().and_then(|error| error.data.as_ref());
    of_error.unwrap_or(&result.return_data)
}
