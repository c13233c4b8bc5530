//! The facilitator's side on chain: the call that makes the transfer, and what became of an authorization.

use alloy_primitives::{Address, B256};
use alloy_rpc_types_eth::Filter;
use alloy_sol_types::{SolCall, SolEvent, SolValue, sol};

use super::prove::AuthorizationUsed;
use super::{Authorization, ExactPayment};
use crate::chain::{Chain, ChainError};
use crate::multicall::{self, Call};
use crate::signature::PayerSignature;

sol! {
    /// What Tollway calls on a token: EIP-3009.
    interface Token {
        function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);
        function transferWithAuthorization(
            address from, address to, uint256 value, uint256 validAfter, uint256 validBefore,
            bytes32 nonce, uint8 v, bytes32 r, bytes32 s
        ) external;
        function transferWithAuthorization(
            address from, address to, uint256 value, uint256 validAfter, uint256 validBefore,
            bytes32 nonce, bytes signature
        ) external;
    }
}

/// The call that moves the money: `transferWithAuthorization` of the token, with `v`, `r` and `s` (EIP-3009), or with the
/// whole signature where code is to judge it, after the account is deployed if it is not yet (ERC-6492). Whoever sends
/// it pays the gas.
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
    let PayerSignature::Key(signature) = &payment.signature else { return transfer_call_of_code(payment) };
    let authorization = &payment.authorization;
    let call = Token::transferWithAuthorization_0Call {
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

fn transfer_call_of_code(payment: &ExactPayment) -> Call {
    let authorization = &payment.authorization;
    let call = Token::transferWithAuthorization_1Call {
        from: authorization.from,
        to: authorization.to,
        value: authorization.value,
        validAfter: authorization.valid_after,
        validBefore: authorization.valid_before,
        nonce: authorization.nonce,
        signature: payment.signature.inner(),
    };
    let call = Call { to: payment.asset, data: call.abi_encode().into() };
    multicall::after_deployment(payment.signature.deployment(), call)
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

pub(super) fn state_of(payment: &ExactPayment) -> Call {
    let Authorization { from, nonce, .. } = payment.authorization;
    let call = Token::authorizationStateCall { authorizer: from, nonce };
    Call { to: payment.asset, data: call.abi_encode().into() }
}
