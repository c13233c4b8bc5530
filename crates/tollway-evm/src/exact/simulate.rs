//! What transfers would do now, told by the node in one call for many payments.
//!
//! The call has no target. Its data is the creation code of `contracts/src/TransferProbe.sol` with the payments behind
//! it, and what the constructor returns is the answer: what every payment needs (code, nonce, balances around the
//! transfer) is read beside the transfer itself, without a round for each. geth, reth, erigon, nethermind and anvil run
//! such a call as they would a creation, on a copy of the state: so the code and the payments together are held to the
//! limit of initcode (EIP-3860, 49,152 bytes), and the answer to the limit of code (EIP-170, 24,576 bytes, 200 gas
//! each). geth and reth give a call at most 50 million gas unless told otherwise: geth lowers what is asked to its cap
//! in silence, reth refuses more. Nodes that do not run the EVM's own bytecode (ZK Stack chains without its emulator)
//! cannot answer.

use alloy_primitives::{Address, Bytes, U256};
use futures_util::future::try_join_all;
use tollway_core::{ErrorCode, Refusal};

use super::ExactPayment;
use crate::chain::{CallOutcome, Chain, ChainError};
use crate::signature::PayerSignature;
use crate::simulate::{Funds, Verdict};

/// What the probe tells of one payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Probed {
    /// Whether its transfer would move exactly its value.
    Judged(Verdict),
    /// The payer has code, which alone can judge the signature, and which the probe does not run.
    HasCode,
}

/// The most payments that one call simulates. The answer bounds it: 150 reverted transfers, each with all the reason
/// that is told, still fit.
pub const MAX_PAYMENTS_PER_CALL: usize = 150;

/// Runs the transfers on the latest state, one after the other, each on the state that those before it leave: so two
/// payments racing for one balance are told apart. What is known not to pay without running it is not run; only a
/// transfer that delivers another amount has run all the same, and those behind it are judged on a state that the real
/// transactions will not have: who sends several simulates what is left again.
///
/// One call takes up to [`MAX_PAYMENTS_PER_CALL`]. More payments go out in several calls at once, each of which begins
/// at the latest state.
///
/// # Errors
/// The node gave no answer, or cannot simulate; neither says anything about any payment.
pub(crate) async fn probe(
    chain: &Chain,
    sender: Address,
    payments: &[&ExactPayment],
) -> Result<Vec<Probed>, ChainError> {
    let calls = payments.chunks(MAX_PAYMENTS_PER_CALL).map(|chunk| probe_chunk(chain, sender, chunk));
    Ok(try_join_all(calls).await?.into_iter().flatten().collect())
}

const CREATION_CODE: &[u8] = include_bytes!("../../../../contracts/artifacts/TransferProbe.bin");

/// The first byte of every answer; the contract's number for its format.
const VERSION: u8 = 1;

/// How long a payment is.
const PAYMENT_BYTES: usize = 253;

/// A status and a balance: the least that is said of a payment.
const HEAD_BYTES: usize = 33;

/// What one call may burn on the node. Sized so that 150 transfers fit which use all that one may; what does not fit
/// is asked for again. geth and reth allow no more without being told to.
const CALL_GAS: u64 = 50_000_000;
/// For the code, and for the reserve without which the contract does not begin with another payment.
const BASE_GAS: u64 = 1_500_000;
/// For one payment: the transfer at its most, and its bytes on both ways.
const PAYMENT_GAS: u64 = 330_000;

/// Asks until each payment has its verdict: a node that gives less gas than was asked for sees fewer at once.
async fn probe_chunk(
    chain: &Chain,
    sender: Address,
    payments: &[&ExactPayment],
) -> Result<Vec<Probed>, ChainError> {
    let mut verdicts = Vec::with_capacity(payments.len());
    while let Some(rest) = payments.get(verdicts.len()..).filter(|rest| !rest.is_empty()) {
        let outcome = chain.call_creation(sender, encode(rest), gas_for(rest.len())).await?;
        let CallOutcome::Returned(answer) = outcome else { return Err(ChainError::NoSimulation) };
        let judged = decode(rest, &answer).filter(|judged| !judged.is_empty());
        verdicts.extend(judged.ok_or(ChainError::NoSimulation)?);
    }
    Ok(verdicts)
}

fn gas_for(payments: usize) -> u64 {
    let payments = u64::try_from(payments).unwrap_or(u64::MAX);
    payments.saturating_mul(PAYMENT_GAS).saturating_add(BASE_GAS).min(CALL_GAS)
}

/// The creation code, and its argument as the ABI has `bytes`: where they are, how many, the bytes.
fn encode(payments: &[&ExactPayment]) -> Bytes {
    let length = payments.len() * PAYMENT_BYTES;
    let mut data = Vec::with_capacity(CREATION_CODE.len() + 64 + length);
    data.extend_from_slice(CREATION_CODE);
    data.extend_from_slice(&U256::from(32).to_be_bytes::<32>());
    data.extend_from_slice(&U256::from(length).to_be_bytes::<32>());
    for payment in payments {
        let authorization = &payment.authorization;
        for address in [payment.asset, authorization.from, authorization.to] {
            data.extend_from_slice(address.as_slice());
        }
        for word in [authorization.value, authorization.valid_after, authorization.valid_before] {
            data.extend_from_slice(&word.to_be_bytes::<32>());
        }
        data.extend_from_slice(authorization.nonce.as_slice());
        let (v, r, s) = match &payment.signature {
            PayerSignature::Key(signature) => (27 + u8::from(signature.v()), signature.r(), signature.s()),
            PayerSignature::Code(_) => (0, U256::ZERO, U256::ZERO),
        };
        data.push(v);
        data.extend_from_slice(&r.to_be_bytes::<32>());
        data.extend_from_slice(&s.to_be_bytes::<32>());
    }
    data.into()
}

/// The verdicts on the first of `payments`, on all if the gas was enough. `None` for what the contract never answers.
fn decode(payments: &[&ExactPayment], answer: &[u8]) -> Option<Vec<Probed>> {
    let (&version, mut rest) = answer.split_first()?;
    if version != VERSION {
        return None;
    }
    let mut verdicts = Vec::with_capacity(payments.len());
    for payment in payments {
        if rest.is_empty() {
            break;
        }
        let (head, behind) = rest.split_first_chunk::<HEAD_BYTES>()?;
        rest = behind;
        let finding = Finding::read(head[0], &mut rest)?;
        let payer_balance = U256::from_be_slice(&head[1..]);
        let payer = || payment.authorization.from.to_checksum(None);
        verdicts.push(match finding {
            Finding::PayerHasCode => Probed::HasCode,
            finding => Probed::Judged(match finding.refusal() {
                None => Ok(Funds { available: payer_balance, is_alone: false, payer_has_code: false }),
                Some(refusal) => Err(refusal.by(payer())),
            }),
        });
    }
    rest.is_empty().then_some(verdicts)
}

/// What the contract found out about one payment: the statuses of `TransferProbe.sol`.
#[derive(Debug)]
enum Finding {
    Delivers,
    PayerHasCode,
    AssetHasNoCode,
    AssetTellsNoState,
    AuthorizationIsUsed,
    BalanceIsShort,
    Reverts(String),
    DeliversAnotherAmount,
    SignatureIsNobodys,
}

impl Finding {
    /// Reads the reason, if there is one, from what is behind the head.
    fn read(status: u8, behind: &mut &[u8]) -> Option<Self> {
        Some(match status {
            1 => Self::Delivers,
            2 => Self::PayerHasCode,
            3 => Self::AssetHasNoCode,
            4 => Self::AssetTellsNoState,
            5 => Self::AuthorizationIsUsed,
            6 => Self::BalanceIsShort,
            7 => Self::Reverts(text(take_reason(behind)?)),
            8 => Self::Reverts(error_data(take_reason(behind)?)),
            9 => Self::DeliversAnotherAmount,
            10 => Self::SignatureIsNobodys,
            _ => return None,
        })
    }

    fn refusal(self) -> Option<Refusal> {
        let (code, field, rule) = match self {
            Self::Delivers => return None,
            Self::PayerHasCode | Self::SignatureIsNobodys => (
                ErrorCode::INVALID_EXACT_EVM_SIGNATURE,
                "payload.signature",
                "must be by the payer: it is not by the payer's key, and the payer has no code to ask",
            ),
            Self::AssetHasNoCode => (
                ErrorCode::ASSET_NOT_DEPLOYED_CONTRACT,
                "asset",
                "must be a contract: there is no code at this address",
            ),
            Self::AssetTellsNoState => (
                ErrorCode::INVALID_EXACT_EVM_EIP3009_NOT_SUPPORTED,
                "asset",
                "must implement EIP-3009: authorizationState fails",
            ),
            Self::AuthorizationIsUsed => (
                ErrorCode::INVALID_EXACT_EVM_NONCE_ALREADY_USED,
                "payload.authorization.nonce",
                "must be unused: this authorization is used or canceled on chain",
            ),
            Self::BalanceIsShort => (
                ErrorCode::INVALID_EXACT_EVM_INSUFFICIENT_BALANCE,
                "payload.authorization.value",
                "must be covered by the payer's balance",
            ),
            Self::Reverts(reason) => {
                let code = ErrorCode::INVALID_EXACT_EVM_TRANSACTION_SIMULATION_FAILED;
                let rule = format!("the transfer would revert: {reason}");
                return Some(Refusal::new(code, "payload.authorization", rule));
            }
            Self::DeliversAnotherAmount => (
                ErrorCode::INVALID_EXACT_EVM_TRANSFER_EVENT_MISMATCH,
                "payload.authorization.value",
                "must deliver exactly its value: the payee's balance would change by another amount",
            ),
        };
        Some(Refusal::new(code, field, rule))
    }
}

/// A length byte and what it counts.
fn take_reason<'a>(behind: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (&length, rest) = behind.split_first()?;
    let (reason, rest) = rest.split_at_checked(length.into())?;
    *behind = rest;
    Some(reason)
}

/// Foreign text. The contract has cut it off, perhaps within a character.
fn text(reason: &[u8]) -> String {
    let text = String::from_utf8_lossy(reason);
    text.trim_end_matches(char::REPLACEMENT_CHARACTER).chars().filter(|c| !c.is_control()).collect()
}

fn error_data(reason: &[u8]) -> String {
    if reason.is_empty() {
        return "no reason given".to_owned();
    }
    format!("error data {}", alloy_primitives::hex::encode_prefixed(reason))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256, Signature, U256};
    use tollway_core::{ErrorCode, Network};

    use super::{CREATION_CODE, ExactPayment, MAX_PAYMENTS_PER_CALL, Probed, decode, encode, gas_for};
    use crate::exact::Authorization;
    use crate::simulate::Funds;

    fn payment() -> ExactPayment {
        ExactPayment {
            authorization: Authorization {
                from: Address::repeat_byte(1),
                to: Address::repeat_byte(2),
                value: U256::from(10),
                valid_after: U256::ZERO,
                valid_before: U256::MAX,
                nonce: B256::repeat_byte(3),
            },
            signature: Signature::test_signature().into(),
            asset: Address::repeat_byte(4),
            network: Network::evm(1),
        }
    }

    fn head(status: u8, balance: u64) -> Vec<u8> {
        [&[status][..], &U256::from(balance).to_be_bytes::<32>()].concat()
    }

    fn answer(parts: &[Vec<u8>]) -> Vec<u8> {
        [&[1][..], &parts.concat()].concat()
    }

    #[test]
    fn a_full_call_keeps_the_limits_that_nodes_hold_creations_to() {
        let payment = payment();
        let full = vec![&payment; MAX_PAYMENTS_PER_CALL];
        assert!(encode(&full).len() <= 49_152, "initcode, EIP-3860");
        let longest = 33 + 1 + 120;
        assert!(MAX_PAYMENTS_PER_CALL * longest < 24_576, "code, EIP-170");
        assert_ne!(super::VERSION, 0xef, "EIP-3541");
        assert_eq!(gas_for(MAX_PAYMENTS_PER_CALL), 50_000_000);
        assert!(CREATION_CODE.len() > 500);
    }

    #[test]
    fn each_finding_has_its_code_and_the_balance_is_told() {
        let payment = payment();
        let codes = [
            (10, ErrorCode::INVALID_EXACT_EVM_SIGNATURE),
            (3, ErrorCode::ASSET_NOT_DEPLOYED_CONTRACT),
            (4, ErrorCode::INVALID_EXACT_EVM_EIP3009_NOT_SUPPORTED),
            (5, ErrorCode::INVALID_EXACT_EVM_NONCE_ALREADY_USED),
            (6, ErrorCode::INVALID_EXACT_EVM_INSUFFICIENT_BALANCE),
            (9, ErrorCode::INVALID_EXACT_EVM_TRANSFER_EVENT_MISMATCH),
        ];
        let mut parts: Vec<_> = codes.iter().map(|(status, _)| head(*status, 0)).collect();
        parts.push(head(1, 77));
        let verdicts = decode(&vec![&payment; parts.len()], &answer(&parts)).unwrap();
        for ((_, code), verdict) in codes.iter().zip(&verdicts) {
            let Probed::Judged(Err(refusal)) = verdict else { panic!("{verdict:?}") };
            assert_eq!(&refusal.code, code);
            assert_eq!(refusal.payer, Some(payment.authorization.from.to_checksum(None)));
        }
        let funds = Funds { available: U256::from(77), is_alone: false, payer_has_code: false };
        assert_eq!(verdicts.last(), Some(&Probed::Judged(Ok(funds))));
        assert_eq!(decode(&[&payment], &answer(&[head(2, 0)])).unwrap(), [Probed::HasCode]);
    }

    #[test]
    fn a_reason_is_text_without_control_characters_or_the_beginning_of_its_data() {
        let payment = payment();
        let reverted = |status, reason: &[u8]| {
            let length = u8::try_from(reason.len()).unwrap();
            [head(status, 9), vec![length], reason.to_vec()].concat()
        };
        let parts = [
            reverted(7, "no\n money \u{20ac}".as_bytes().split_last().unwrap().1),
            reverted(8, &[]),
            reverted(8, &[1, 2]),
        ];
        let verdicts = decode(&[&payment, &payment, &payment], &answer(&parts)).unwrap();
        let rules: Vec<_> = verdicts
            .iter()
            .map(|verdict| match verdict {
                Probed::Judged(Err(refusal)) => refusal.rule.clone(),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = ["no money ", "no reason given", "error data 0x0102"];
        assert_eq!(rules, expected.map(|reason| format!("the transfer would revert: {reason}")));
    }

    #[test]
    fn an_answer_that_ends_early_judges_what_was_seen_and_nothing_else_is_taken_for_one() {
        let payment = payment();
        let two = [&payment, &payment];
        assert_eq!(decode(&two, &answer(&[head(1, 1)])).unwrap().len(), 1);
        assert!(decode(&two, &answer(&[])).unwrap().is_empty());
        let bad = [
            vec![],
            vec![2],
            answer(&[head(0, 1)]),
            answer(&[head(11, 1)]),
            answer(&[vec![1; 32]]),
            answer(&[head(7, 1)]),
            answer(&[head(7, 1), vec![5, 65]]),
            answer(&[head(1, 1), head(1, 1), head(1, 1)]),
        ];
        for answer in bad {
            assert!(decode(&two, &answer).is_none(), "{answer:?}");
        }
    }
}
