//! The facilitator's side on chain: simulate the transfer, build the call that makes it.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256, U256};
use alloy_rpc_types_eth::Filter;
use alloy_sol_types::{SolCall, SolEvent, SolValue, sol};
use tollway_core::{ErrorCode, Refusal};

use super::prove::AuthorizationUsed;
use super::{Authorization, ExactPayment};
use crate::chain::{Chain, ChainError};
use crate::multicall::{self, Call, Returned};

sol! {
    /// What Tollway calls on a token: EIP-20 and EIP-3009.
    interface Token {
        function balanceOf(address account) external view returns (uint256);
        function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);
        function transferWithAuthorization(
            address from, address to, uint256 value, uint256 validAfter, uint256 validBefore,
            bytes32 nonce, uint8 v, bytes32 r, bytes32 s
        ) external;
    }
}

/// The call that moves the money: `transferWithAuthorization` of the token, with `v`, `r` and `s` (EIP-3009).
/// Whoever sends it pays the gas.
///
/// ```
/// use tollway_evm::exact;
/// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
/// # let request = tollway_core::wire::decode_facilitator_request(json)?;
/// # let payment = exact::check_at_any_time(&request.payment, &request.requirements)?;
/// let call = exact::transfer_call(&payment);
/// assert_eq!((call.to, &call.data[..4]), (payment.asset, &[0xe3, 0xee, 0x16, 0x0e][..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn transfer_call(payment: &ExactPayment) -> Call {
    let (authorization, signature) = (&payment.authorization, &payment.signature);
    let call = Token::transferWithAuthorizationCall {
        from: authorization.from,
        to: authorization.to,
        value: authorization.value,
        validAfter: authorization.valid_after,
        validBefore: authorization.valid_before,
        nonce: authorization.nonce,
        v: 27 + u8::from(signature.v()),
        r: signature.r().into(),
        s: signature.s().into(),
    };
    Call { to: payment.asset, data: call.abi_encode().into() }
}

/// Runs the transfers on the latest state, one after the other in one `eth_call`, each on the state that
/// those before it leave: so two payments racing for one balance are told apart. Around each stands what
/// explains a failure: the nonce, the payer's balance, and the payee's balance before and after. In the same
/// round the node is asked whether a payer has code.
///
/// The inner result of each payment is a refusal if its transfer would not move exactly the value. Those behind a
/// refused one that ran all the same (a payer with code, a fee on the transfer) are judged on a state that the real
/// transactions will not have; who sends several simulates what is left again.
///
/// # Errors
/// The node gave no answer, which says nothing about any payment.
///
/// ```
/// # use alloy_sol_types::SolValue;
/// # use tollway_core::ErrorCode;
/// # use tollway_evm::{Address, Bytes, exact};
/// # use alloy_transport::mock::{Asserter, MockTransport};
/// # use tollway_core::Network;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let node = Asserter::new();
/// # node.push_success(&Bytes::from(vec![(true, Bytes::new()); 5].abi_encode()));
/// # node.push_success(&"0x");
/// # let (node, deadline) = (MockTransport::new(node), std::time::Duration::from_secs(5));
/// # let chain = tollway_evm::Chain::from_transport(node, &Network::evm(8453), deadline)?;
/// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
/// # let request = tollway_core::wire::decode_facilitator_request(json)?;
/// # let payment = exact::check_at_any_time(&request.payment, &request.requirements)?;
/// # let lane = Address::repeat_byte(1);
/// let verdicts = exact::simulate(&chain, lane, &[&payment]).await?; // on a chain without the token
/// let refusal = verdicts[0].as_ref().unwrap_err();
/// assert_eq!(refusal.code, ErrorCode::ASSET_NOT_DEPLOYED_CONTRACT);
/// # Ok(())
/// # }
/// ```
pub async fn simulate(
    chain: &Chain,
    sender: Address,
    payments: &[&ExactPayment],
) -> Result<Vec<Result<(), Refusal>>, ChainError> {
    let calls: Vec<Call> = payments.iter().flat_map(|payment| probes(payment)).collect();
    let payers: BTreeSet<Address> = payments.iter().map(|payment| payment.authorization.from).collect();
    let payers: Vec<Address> = payers.into_iter().collect();
    let (returned, codes) = multicall::call_with_codes(chain, sender, &calls, &payers).await?;
    let with_code: BTreeSet<Address> =
        payers.into_iter().zip(codes).filter(|(_, has_code)| *has_code).map(|(payer, _)| payer).collect();
    let judged = payments.iter().zip(returned.chunks(PROBES)).map(|(payment, returned)| {
        let payer = payment.authorization.from;
        let verdict =
            if with_code.contains(&payer) { Err(account_with_code()) } else { judge(payment, returned) };
        verdict.map_err(|refusal| refusal.by(payer.to_checksum(None)))
    });
    Ok(judged.collect())
}

/// Whether each authorization is used or canceled on chain (EIP-3009, `authorizationState`).
///
/// # Errors
/// The node gave no answer, or an asset does not implement EIP-3009.
///
/// ```
/// # use alloy_sol_types::SolValue;
/// # use tollway_evm::{Bytes, exact};
/// # use alloy_transport::mock::{Asserter, MockTransport};
/// # use tollway_core::Network;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let node = Asserter::new();
/// # node.push_success(&Bytes::from(vec![(true, Bytes::from(true.abi_encode()))].abi_encode()));
/// # let (node, deadline) = (MockTransport::new(node), std::time::Duration::from_secs(5));
/// # let chain = tollway_evm::Chain::from_transport(node, &Network::evm(8453), deadline)?;
/// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
/// # let request = tollway_core::wire::decode_facilitator_request(json)?;
/// # let payment = exact::check_at_any_time(&request.payment, &request.requirements)?;
/// assert_eq!(exact::is_used(&chain, &[&payment]).await?, [true]);
/// # Ok(())
/// # }
/// ```
pub async fn is_used(chain: &Chain, payments: &[&ExactPayment]) -> Result<Vec<bool>, ChainError> {
    let calls: Vec<Call> = payments.iter().map(|payment| state_of(payment)).collect();
    let returned = multicall::call(chain, Address::ZERO, &calls).await?;
    returned
        .iter()
        .map(|state| bool::abi_decode(&state.data).ok().filter(|_| state.success).ok_or(ChainError::NoState))
        .collect()
}

/// How many blocks back a use is looked for: what public nodes answer in one request.
const LOOK_BACK_BLOCKS: u64 = 5_000;

/// The transactions, whosever they are, in which the authorization was used lately: anybody who sees an authorization
/// may send it (EIP-3009, security considerations). What they hold is for [`prove_transfer`](super::prove_transfer) to say.
///
/// # Errors
/// The node gave no answer.
///
/// ```
/// # use tollway_evm::exact;
/// # use alloy_rpc_types_eth::Block;
/// # use alloy_transport::mock::{Asserter, MockTransport};
/// # use tollway_core::Network;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let node = Asserter::new();
/// # node.push_success(&Block::<alloy_primitives::B256>::default());
/// # node.push_success(&serde_json::json!([]));
/// # let (node, deadline) = (MockTransport::new(node), std::time::Duration::from_secs(5));
/// # let chain = tollway_evm::Chain::from_transport(node, &Network::evm(8453), deadline)?;
/// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
/// # let request = tollway_core::wire::decode_facilitator_request(json)?;
/// # let payment = exact::check_at_any_time(&request.payment, &request.requirements)?;
/// assert!(exact::find_use(&chain, &payment).await?.is_empty()); // nobody used it lately
/// # Ok(())
/// # }
/// ```
pub async fn find_use(chain: &Chain, payment: &ExactPayment) -> Result<Vec<B256>, ChainError> {
    let Authorization { from, nonce, .. } = payment.authorization;
    let head = chain.head().await?.number;
    let filter = Filter::new()
        .address(payment.asset)
        .event_signature(AuthorizationUsed::SIGNATURE_HASH)
        .topic1(from)
        .topic2(nonce)
        .from_block(head.saturating_sub(LOOK_BACK_BLOCKS));
    let logs = chain.logs(&filter).await?;
    Ok(logs.into_iter().filter_map(|log| log.transaction_hash).collect())
}

/// How many calls simulate one payment.
const PROBES: usize = 5;

fn probes(payment: &ExactPayment) -> [Call; PROBES] {
    let authorization = &payment.authorization;
    let balance_of =
        |account| Call { to: payment.asset, data: Token::balanceOfCall { account }.abi_encode().into() };
    [
        state_of(payment),
        balance_of(authorization.from),
        balance_of(authorization.to),
        transfer_call(payment),
        balance_of(authorization.to),
    ]
}

fn state_of(payment: &ExactPayment) -> Call {
    let Authorization { from, nonce, .. } = payment.authorization;
    let call = Token::authorizationStateCall { authorizer: from, nonce };
    Call { to: payment.asset, data: call.abi_encode().into() }
}

/// A token asks the code of an account that has some whether it signed (ERC-1271), delegated accounts
/// (EIP-7702) included. That code may say yes here and no in a block, so it is not settled for.
fn account_with_code() -> Refusal {
    let rule = "must be by an account without code: contract and delegated accounts are not settled here";
    refuse(ErrorCode::INVALID_EXACT_EVM_SIGNATURE, "payload.signature", rule)
}

fn judge(payment: &ExactPayment, returned: &[Returned]) -> Result<(), Refusal> {
    let [state, payer_balance, before, transfer, after] = returned else {
        return Err(refuse(ErrorCode::UNEXPECTED_VERIFY_ERROR, "asset", "the simulation was cut short"));
    };
    if returned.iter().all(|result| result.success && result.data.is_empty()) {
        let rule = "must be a contract: there is no code at this address";
        return Err(refuse(ErrorCode::ASSET_NOT_DEPLOYED_CONTRACT, "asset", rule));
    }
    let authorization = &payment.authorization;
    match bool::abi_decode(&state.data) {
        Ok(false) if state.success => {}
        Ok(true) if state.success => {
            let rule = "must be unused: this authorization is used or canceled on chain";
            return Err(refuse(
                ErrorCode::INVALID_EXACT_EVM_NONCE_ALREADY_USED,
                "payload.authorization.nonce",
                rule,
            ));
        }
        _ => {
            let rule = "must implement EIP-3009: authorizationState fails";
            return Err(refuse(ErrorCode::INVALID_EXACT_EVM_EIP3009_NOT_SUPPORTED, "asset", rule));
        }
    }
    let balance = |result: &Returned| U256::abi_decode(&result.data).ok().filter(|_| result.success);
    if balance(payer_balance).is_some_and(|balance| balance < authorization.value) {
        let rule = "must be covered by the payer's balance";
        return Err(refuse(
            ErrorCode::INVALID_EXACT_EVM_INSUFFICIENT_BALANCE,
            "payload.authorization.value",
            rule,
        ));
    }
    if !transfer.success {
        let rule = format!("the transfer would revert: {}", transfer.revert_reason());
        return Err(refuse(
            ErrorCode::INVALID_EXACT_EVM_TRANSACTION_SIMULATION_FAILED,
            "payload.authorization",
            rule,
        ));
    }
    if let (Some(before), Some(after)) = (balance(before), balance(after))
        && after.checked_sub(before) == Some(authorization.value)
    {
        return Ok(());
    }
    let rule = "must deliver exactly its value: the payee's balance would change by another amount";
    Err(refuse(ErrorCode::INVALID_EXACT_EVM_TRANSFER_EVENT_MISMATCH, "payload.authorization.value", rule))
}

fn refuse(code: ErrorCode, field: &str, rule: impl Into<String>) -> Refusal {
    Refusal::new(code, field, rule)
}
