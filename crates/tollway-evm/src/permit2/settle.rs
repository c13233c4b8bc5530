//! The facilitator's side on chain: the call that settles, and who else may have sent it.

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_rpc_types_eth::Filter;
use alloy_sol_types::{SolCall, SolEvent, sol};
use serde_json::Value;
use tollway_core::extension::builder_code::Attribution;

use super::{Approval, PERMIT2, PermitPayment, Proxy};
use crate::chain::{Chain, ChainError};
use crate::exact::Transfer;
use crate::multicall::{self, Call};

/// The proxies' functions. The two contracts share the names and not the parameters.
pub(super) mod proxy {
    use super::sol;

    sol! {
        struct TokenPermissions {
            address token;
            uint256 amount;
        }

        struct PermitTransferFrom {
            TokenPermissions permitted;
            uint256 nonce;
            uint256 deadline;
        }

        struct ExactWitness {
            address to;
            uint256 validAfter;
        }

        struct UptoWitness {
            address to;
            address facilitator;
            uint256 validAfter;
        }

        struct EIP2612Permit {
            uint256 value;
            uint256 deadline;
            bytes32 r;
            bytes32 s;
            uint8 v;
        }

        interface Exact {
            function settleWithPermit(
                EIP2612Permit permit2612, PermitTransferFrom permit, address owner, ExactWitness witness,
                bytes signature
            ) external;
            function settle(
                PermitTransferFrom permit, address owner, ExactWitness witness, bytes signature
            ) external;
        }

        interface Upto {
            function settleWithPermit(
                EIP2612Permit permit2612, PermitTransferFrom permit, uint256 amount, address owner,
                UptoWitness witness, bytes signature
            ) external;
            function settle(
                PermitTransferFrom permit, uint256 amount, address owner, UptoWitness witness, bytes signature
            ) external;
        }

        interface Permit2 {
            function nonceBitmap(address owner, uint256 word) external view returns (uint256);
        }

        interface Approved {
            function allowance(address owner, address spender) external view returns (uint256);
            function approve(address spender, uint256 amount) external returns (bool);
        }
    }
}

/// The call that settles: of the proxy that the payer named, with the payer's signature.
///
/// ```
/// use tollway_evm::permit2;
/// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/permit2_request.json"));
/// # let request = tollway_core::wire::decode_facilitator_request(json)?;
/// let payment = permit2::check_at_any_time(&request.payment, &request.requirements)?;
/// assert_eq!(permit2::settle_call(&payment).to, permit2::Proxy::Exact.address());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn settle_call(payment: &PermitPayment) -> Call {
    let signature = payment.signature.inner();
    let call = Call { to: payment.permit.proxy.address(), data: encode(payment, signature) };
    multicall::after_deployment(payment.signature.deployment(), call)
}

/// The same with another signature: what a stranger sends need not be spelled as we would.
fn encode(payment: &PermitPayment, signature: Bytes) -> Bytes {
    let signed = &payment.permit;
    let permit = proxy::PermitTransferFrom {
        permitted: proxy::TokenPermissions { token: signed.token, amount: signed.amount },
        nonce: signed.nonce,
        deadline: signed.deadline,
    };
    let (owner, to, valid_after) = (signed.from, signed.to, signed.valid_after);
    match signed.proxy {
        Proxy::Exact => {
            let witness = proxy::ExactWitness { to, validAfter: valid_after };
            if let Some(permit2612) = approval(payment) {
                let call =
                    proxy::Exact::settleWithPermitCall { permit2612, permit, owner, witness, signature };
                return call.abi_encode().into();
            }
            proxy::Exact::settleCall { permit, owner, witness, signature }.abi_encode().into()
        }
        Proxy::Upto { facilitator } => {
            let witness = proxy::UptoWitness { to, facilitator, validAfter: valid_after };
            let amount = payment.value;
            if let Some(permit2612) = approval(payment) {
                let call = proxy::Upto::settleWithPermitCall {
                    permit2612,
                    permit,
                    amount,
                    owner,
                    witness,
                    signature,
                };
                return call.abi_encode().into();
            }
            proxy::Upto::settleCall { permit, amount, owner, witness, signature }.abi_encode().into()
        }
    }
}

/// The payer's approval, as the proxies take it. Its value is the permit's: they compare the two.
fn approval(payment: &PermitPayment) -> Option<proxy::EIP2612Permit> {
    let Approval { deadline, signature } = payment.approval.as_ref()?;
    Some(proxy::EIP2612Permit {
        value: payment.permit.amount,
        deadline: *deadline,
        r: signature.r().into(),
        s: signature.s().into(),
        v: 27 + u8::from(signature.v()),
    })
}

/// The question whether the nonce is used: Permit2 keeps 256 of them in a word.
pub(super) fn bitmap_call(payment: &PermitPayment) -> Call {
    let word = payment.permit.nonce >> 8;
    let call = proxy::Permit2::nonceBitmapCall { owner: payment.permit.from, word };
    Call { to: PERMIT2, data: call.abi_encode().into() }
}

/// The question how much of the token Permit2 may take of the payer's.
pub(super) fn allowance_call(payment: &PermitPayment) -> Call {
    let call = proxy::Approved::allowanceCall { owner: payment.permit.from, spender: PERMIT2 };
    Call { to: payment.permit.token, data: call.abi_encode().into() }
}

/// The call by which a payer lets Permit2 take up to `amount` of its `token`: what a payment by Permit2 needs once. It is a
/// transaction of the payer's own, which pays the gas.
///
/// ```
/// use tollway_evm::{U256, permit2};
/// let token = "0x5FbDB2315678afecb367f032d93F642f64180aa3".parse().unwrap();
/// let call = permit2::approve_call(token, U256::from(1_000_000));
/// assert_eq!((call.to, &call.data[..4]), (token, &[0x09, 0x5e, 0xa7, 0xb3][..]));
/// ```
pub fn approve_call(token: Address, amount: U256) -> Call {
    let call = proxy::Approved::approveCall { spender: PERMIT2, amount };
    Call { to: token, data: call.abi_encode().into() }
}

/// How many blocks back a use is looked for: what public nodes answer in one request.
const LOOK_BACK_BLOCKS: u64 = 5_000;
/// How many transfers between the two are looked at. Among more, one that looks the same is left unproved.
const MOST_TRANSFERS: usize = 16;

/// The transactions that settled exactly this lately, whosever they are: whoever sees a permit of scheme `exact` may send
/// it. Permit2 says nothing of its own, and a transfer of the same amount may have paid for something else: only a
/// transaction of such settlements counts, of which no other moves the same.
///
/// # Errors
/// The node gave no answer.
///
/// ```
/// # use tollway_evm::permit2;
/// # use alloy_rpc_types_eth::Block;
/// # use alloy_transport::mock::{Asserter, MockTransport};
/// # use tollway_core::Network;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let node = Asserter::new();
/// # node.push_success(&Block::<alloy_primitives::B256>::default());
/// # node.push_success(&serde_json::json!([]));
/// # let (node, deadline) = (MockTransport::new(node), std::time::Duration::from_secs(5));
/// # let chain = tollway_evm::Chain::from_transport(node, &Network::evm(4326), deadline)?;
/// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/permit2_request.json"));
/// # let request = tollway_core::wire::decode_facilitator_request(json)?;
/// let payment = permit2::check_at_any_time(&request.payment, &request.requirements)?;
/// assert!(permit2::find_uses(&chain, &payment).await?.is_empty()); // nobody used it lately
/// # Ok(())
/// # }
/// ```
pub async fn find_uses(chain: &Chain, payment: &PermitPayment) -> Result<Vec<B256>, ChainError> {
    find_moved(chain, payment, |value| value == payment.value).await
}

/// The same for what is metered, whatever was charged of it: up to the payment's value.
pub(crate) async fn find_metered(chain: &Chain, payment: &PermitPayment) -> Result<Vec<B256>, ChainError> {
    find_moved(chain, payment, |value| value <= payment.value).await
}

/// Lately, the transactions that settled the payment by a transfer of a value that `is_meant`.
async fn find_moved(
    chain: &Chain,
    payment: &PermitPayment,
    is_meant: impl Fn(U256) -> bool,
) -> Result<Vec<B256>, ChainError> {
    let permit = &payment.permit;
    let head = chain.head().await?.number;
    let filter = Filter::new()
        .address(permit.token)
        .event_signature(Transfer::SIGNATURE_HASH)
        .topic1(permit.from)
        .topic2(permit.to)
        .from_block(head.saturating_sub(LOOK_BACK_BLOCKS));
    let logs = chain.logs(&filter).await?;
    let mut moves: Vec<(B256, U256)> = Vec::new();
    for log in logs.iter().rev() {
        let Some(hash) = log.transaction_hash else { continue };
        let Ok(moved) = Transfer::decode_log(&log.inner) else { continue };
        if is_meant(moved.value) && moves.last() != Some(&(hash, moved.value)) {
            moves.push((hash, moved.value));
        }
    }
    let mut found = Vec::new();
    for (hash, value) in moves.into_iter().take(MOST_TRANSFERS) {
        let part = PermitPayment { value, ..payment.clone() };
        if !found.contains(&hash) && is_settled_by(chain, &part, hash).await? {
            found.push(hash);
        }
    }
    Ok(found)
}

/// Whether the transaction is this settlement, alone or among others that move something else.
pub(crate) async fn is_settled_by(
    chain: &Chain,
    payment: &PermitPayment,
    hash: B256,
) -> Result<bool, ChainError> {
    let transaction = chain.raw("eth_getTransactionByHash", serde_json::json!([hash])).await?;
    Ok(is_settlement(payment, &transaction))
}

/// Whether a transaction, as a node tells it, is this settlement, alone or among others that move something else.
fn is_settlement(payment: &PermitPayment, transaction: &Value) -> bool {
    let text = |name: &str| transaction.get(name).and_then(Value::as_str);
    let to = text("to").and_then(|to| to.parse::<Address>().ok());
    let Some(input) = text("input").and_then(|input| alloy_primitives::hex::decode(input).ok()) else {
        return false;
    };
    let ours = settle_call(payment);
    if to == Some(ours.to) && is_call(&input, &ours.data) {
        return true;
    }
    if to == Some(multicall::MULTICALL3) {
        return is_settled_among(payment, &input);
    }
    if to != Some(payment.permit.proxy.address()) {
        return false;
    }
    let signature = match payment.permit.proxy {
        Proxy::Exact => proxy::Exact::settleCall::abi_decode(&input).map(|call| call.signature),
        Proxy::Upto { .. } => proxy::Upto::settleCall::abi_decode(&input).map(|call| call.signature),
    };
    // Who has the allowance presents no approval.
    let plain = PermitPayment { approval: None, ..payment.clone() };
    signature.is_ok_and(|signature| is_call(&input, &encode(&plain, signature)))
}

/// Whether this settlement is in a transaction of several, all of which are payments by the exact proxy in the same token, and
/// none of the others moves the same: then the token's event is of this one.
fn is_settled_among(payment: &PermitPayment, input: &[u8]) -> bool {
    let Some((calls, spelled)) = multicall::read_batch(input) else { return false };
    if payment.permit.proxy != Proxy::Exact || !is_call(input, &spelled) {
        return false;
    }
    let mut ours = 0;
    let plain = PermitPayment { approval: None, ..payment.clone() };
    for call in calls {
        let Ok(told) = proxy::Exact::settleCall::abi_decode(&call.data) else { return false };
        let is_of_kind = call.to == Proxy::Exact.address()
            && told.permit.permitted.token == payment.permit.token
            && told.abi_encode() == call.data;
        if !is_of_kind {
            return false;
        }
        let movement = (told.owner, told.witness.to, told.permit.permitted.amount);
        if movement != (payment.permit.from, payment.permit.to, payment.value) {
            continue;
        }
        if encode(&plain, told.signature) != call.data {
            return false;
        }
        ours += 1;
    }
    ours == 1
}

/// Whether calldata is this call, with nothing behind it but who took part (ERC-8021), which no contract reads.
fn is_call(input: &[u8], call: &[u8]) -> bool {
    let behind = input.strip_prefix(call);
    behind.is_some_and(|behind| behind.is_empty() || Attribution::read(behind).is_some())
}

/// Whether the bit of `nonce` is set in the word that Permit2 answered.
pub(super) fn is_set(answer: &[u8], nonce: U256) -> Option<bool> {
    let word = U256::from_be_slice(answer.get(..32)?);
    Some(word.bit(usize::from(nonce.byte(0))))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, U256, hex};
    use serde_json::json;

    use tollway_core::extension::builder_code::{Attribution, BuilderCode};

    use super::{encode, is_set, is_settlement, settle_call};
    use crate::multicall::{Call, batch};
    use crate::permit2::{PermitPayment, check_at_any_time};

    fn payment(json: &[u8]) -> PermitPayment {
        let request = tollway_core::wire::decode_facilitator_request(json).unwrap();
        check_at_any_time(&request.payment, &request.requirements).unwrap()
    }

    const EXACT: &[u8] = include_bytes!("../../tests/permit2_request.json");
    const UPTO: &[u8] = include_bytes!("../../tests/upto_request.json");

    #[test]
    fn only_a_transaction_that_is_exactly_the_settlement_is_taken_for_it() {
        for json in [EXACT, UPTO] {
            let payment = payment(json);
            let call = settle_call(&payment);
            let tell = |data: &[u8]| json!({"to": call.to, "input": hex::encode_prefixed(data)});
            assert!(is_settlement(&payment, &tell(&call.data)));
            assert!(
                is_settlement(&payment, &tell(&encode(&payment, vec![7; 64].into()))),
                "spelled otherwise"
            );
            let mut other = payment.clone();
            other.permit.nonce += U256::from(1);
            assert!(!is_settlement(&payment, &tell(&settle_call(&other).data)));
            let longer = [call.data.as_ref(), &[0]].concat();
            assert!(!is_settlement(&payment, &tell(&longer)), "and nothing else");
            let codes = Attribution { app: BuilderCode::new("shop").ok(), ..Attribution::default() };
            let signed = [call.data.as_ref(), &codes.suffix()].concat();
            assert!(is_settlement(&payment, &tell(&signed)), "but who took part");
            assert!(!is_settlement(&payment, &json!({"to": payment.permit.token, "input": call.data})));
            assert!(!is_settlement(&payment, &json!(null)));
        }
    }

    #[test]
    fn in_a_transaction_of_several_only_one_may_move_the_same_and_all_are_payments_of_the_token() {
        let ours = payment(EXACT);
        let with = |change: fn(&mut PermitPayment)| {
            let mut other = ours.clone();
            change(&mut other);
            settle_call(&other)
        };
        let tell = |calls: &[Call]| {
            let call = batch(calls.iter().cloned());
            json!({"to": call.to, "input": call.data})
        };
        let own = settle_call(&ours);
        let more = with(|other| other.permit.amount += U256::from(1));
        let payer = with(|other| other.permit.from = Address::ZERO);
        let respelled = Call { data: encode(&ours, vec![7; 64].into()), ..own.clone() };
        for good in [vec![own.clone()], vec![more.clone(), own.clone(), payer], vec![respelled, more.clone()]]
        {
            assert!(is_settlement(&ours, &tell(&good)), "{good:?}");
        }
        let same = with(|other| other.permit.nonce += U256::from(1));
        let elsewhere = with(|other| other.permit.token = Address::ZERO);
        let stranger = Call { to: ours.permit.token, data: own.data.clone() };
        let longer = Call { data: [own.data.as_ref(), &[0]].concat().into(), ..own.clone() };
        for wrong in [
            vec![],
            vec![more.clone()],
            vec![same.clone()],
            vec![own.clone(), same],
            vec![own.clone(), own.clone()],
            vec![own.clone(), elsewhere],
            vec![own.clone(), stranger],
            vec![longer],
        ] {
            assert!(!is_settlement(&ours, &tell(&wrong)), "{wrong:?}");
        }
        let call = batch([own.clone(), more]);
        let behind = [call.data.as_ref(), &[0]].concat();
        assert!(!is_settlement(&ours, &json!({"to": call.to, "input": hex::encode_prefixed(behind)})));
        let upto = payment(UPTO);
        assert!(!is_settlement(&upto, &tell(&[settle_call(&upto)])), "its sender would be Multicall3");
    }

    #[test]
    fn a_nonce_is_a_bit_of_its_word() {
        let mut word = [0; 32];
        word[31] = 0b100;
        assert_eq!(is_set(&word, U256::from(2)), Some(true));
        assert_eq!(is_set(&word, U256::from(258)), Some(true), "the word was asked for by the rest");
        assert_eq!(is_set(&word, U256::from(3)), Some(false));
        assert_eq!(is_set(&[], U256::from(3)), None);
    }
}
