//! The two proxies that x402 payments by Permit2 go through: what a payer signed as the witness holds, and a facilitator
//! cannot do anything else with it. And the dollars that are paid in no other way.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{Eip712Domain, Revert, SolCall, SolError, SolEvent, SolStruct, eip712_domain, sol};
use serde_json::{Value, json};
use tollway_devnet::{
    DevAccount,
    genesis::{EXACT_PROXY, PERMIT_USD, PERMIT2, PLAIN_USD, UPTO_PROXY, USDC},
};

use crate::{
    anvil::nodes,
    fixture::{PAYEE, PAYER, Permit, Rpc, SENDER, Token, sign},
    permit2::{InvalidNonce, InvalidSigner, SignatureExpired, approve, balance, domain},
};

sol! {
    function PERMIT2() returns (address);
    function WITNESS_TYPEHASH() returns (bytes32);
    function WITNESS_TYPE_STRING() returns (string);

    interface SplitPermit {
        function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s);
    }

    function transferFrom(address from, address to, uint256 value) returns (bool);
    error PermitExpired(uint256 deadline);
    error InvalidPermitSigner(address signer, address owner);
    error InsufficientBalance(uint256 balance, uint256 needed);
    error InsufficientAllowance(uint256 allowance, uint256 needed);

    event Settled();
    event SettledWithPermit();
    event EIP2612PermitFailedWithReason(address indexed token, address indexed owner, string reason);
    event EIP2612PermitFailedWithData(address indexed token, address indexed owner, bytes data);

    error InvalidAmount();
    error InvalidDestination();
    error InvalidOwner();
    error PaymentTooEarly();
    error Permit2612AmountMismatch();
    error AmountExceedsPermitted();
    error UnauthorizedFacilitator();
}

mod exact {
    alloy_sol_types::sol! {
        #[derive(Debug)]
        struct TokenPermissions { address token; uint256 amount; }
        #[derive(Debug)]
        struct Witness { address to; uint256 validAfter; }
        #[derive(Debug)]
        struct PermitWitnessTransferFrom {
            TokenPermissions permitted;
            address spender;
            uint256 nonce;
            uint256 deadline;
            Witness witness;
        }
        struct PermitTransferFrom { TokenPermissions permitted; uint256 nonce; uint256 deadline; }
        struct EIP2612Permit { uint256 value; uint256 deadline; bytes32 r; bytes32 s; uint8 v; }

        function settle(PermitTransferFrom permit, address owner, Witness witness, bytes signature);
        function settleWithPermit(EIP2612Permit permit2612, PermitTransferFrom permit, address owner, Witness witness, bytes signature);
    }
}

mod upto {
    alloy_sol_types::sol! {
        #[derive(Debug)]
        struct TokenPermissions { address token; uint256 amount; }
        #[derive(Debug)]
        struct Witness { address to; address facilitator; uint256 validAfter; }
        #[derive(Debug)]
        struct PermitWitnessTransferFrom {
            TokenPermissions permitted;
            address spender;
            uint256 nonce;
            uint256 deadline;
            Witness witness;
        }
        struct PermitTransferFrom { TokenPermissions permitted; uint256 nonce; uint256 deadline; }
        struct EIP2612Permit { uint256 value; uint256 deadline; bytes32 r; bytes32 s; uint8 v; }

        function settle(PermitTransferFrom permit, uint256 amount, address owner, Witness witness, bytes signature);
        function settleWithPermit(EIP2612Permit permit2612, PermitTransferFrom permit, uint256 amount, address owner, Witness witness, bytes signature);
    }
}

const AMOUNT: U256 = U256::from_limbs([1_000, 0, 0, 0]);

fn exact(nonce: u64, token: Address) -> exact::PermitWitnessTransferFrom {
    exact::PermitWitnessTransferFrom {
        permitted: exact::TokenPermissions { token, amount: AMOUNT },
        spender: EXACT_PROXY,
        nonce: U256::from(nonce),
        deadline: U256::MAX,
        witness: exact::Witness { to: PAYEE, validAfter: U256::ZERO },
    }
}

fn upto(nonce: u64) -> upto::PermitWitnessTransferFrom {
    upto::PermitWitnessTransferFrom {
        permitted: upto::TokenPermissions { token: PLAIN_USD, amount: AMOUNT },
        spender: UPTO_PROXY,
        nonce: U256::from(nonce),
        deadline: U256::MAX,
        witness: upto::Witness { to: PAYEE, facilitator: SENDER.address, validAfter: U256::ZERO },
    }
}

fn signature(content: &impl SolStruct) -> Bytes {
    sign(&PAYER, content.eip712_signing_hash(&domain())).as_bytes().into()
}

fn settle_exact(signed: &exact::PermitWitnessTransferFrom) -> exact::settleCall {
    let exact::PermitWitnessTransferFrom { permitted, nonce, deadline, witness, .. } = signed.clone();
    let permit = exact::PermitTransferFrom { permitted, nonce, deadline };
    exact::settleCall { permit, owner: PAYER.address, witness, signature: signature(signed) }
}

fn settle_upto(signed: &upto::PermitWitnessTransferFrom, amount: u64) -> upto::settleCall {
    let upto::PermitWitnessTransferFrom { permitted, nonce, deadline, witness, .. } = signed.clone();
    let permit = upto::PermitTransferFrom { permitted, nonce, deadline };
    let amount = U256::from(amount);
    upto::settleCall { permit, amount, owner: PAYER.address, witness, signature: signature(signed) }
}

fn permit_usd_domain() -> Eip712Domain {
    eip712_domain! { name: "Permit USD", version: "1", chain_id: 31_337, verifying_contract: PERMIT_USD, }
}

/// The permit of EIP-2612 that goes with a payment, and the call that somebody else could make with it.
fn eip2612(value: U256, nonce: u64) -> (exact::EIP2612Permit, SplitPermit::permitCall) {
    let (owner, spender, deadline) = (PAYER.address, PERMIT2, U256::MAX);
    let permit = Permit { owner, spender, value, nonce: U256::from(nonce), deadline };
    let signature = sign(&PAYER, permit.eip712_signing_hash(&permit_usd_domain()));
    let (r, s, v) = (signature.r().into(), signature.s().into(), 27 + u8::from(signature.v()));
    let call = SplitPermit::permitCall { owner, spender, value, deadline, v, r, s };
    (exact::EIP2612Permit { value, deadline, r, s, v }, call)
}

fn with_permit(
    signed: &exact::PermitWitnessTransferFrom,
    permit2612: exact::EIP2612Permit,
) -> exact::settleWithPermitCall {
    let exact::settleCall { permit, owner, witness, signature } = settle_exact(signed);
    exact::settleWithPermitCall { permit2612, permit, owner, witness, signature }
}

/// The first topic of each log.
fn events(receipt: &Value) -> Vec<B256> {
    let logs = receipt["logs"].as_array().unwrap();
    logs.iter().map(|log| serde_json::from_value(log["topics"][0].clone()).unwrap()).collect()
}

async fn refusal(rpc: &Rpc, proxy: Address, call: impl SolCall) -> Bytes {
    rpc.revert(SENDER.address, proxy, call).await
}

async fn pays(
    rpc: &Rpc,
    from: &DevAccount,
    proxy: Address,
    call: impl SolCall,
    token: Address,
) -> (U256, Value) {
    let before = balance(rpc, token, PAYEE).await;
    let receipt = rpc.send_from(from, proxy, call).await;
    assert_eq!(receipt["status"], "0x1");
    (balance(rpc, token, PAYEE).await - before, receipt)
}

#[tokio::test]
async fn the_proxies_say_what_their_payers_sign() {
    let head = "Witness witness)TokenPermissions(address token,uint256 amount)";
    let cases = [
        (
            EXACT_PROXY,
            "Witness(address to,uint256 validAfter)",
            exact::PermitWitnessTransferFrom::eip712_encode_type(),
        ),
        (
            UPTO_PROXY,
            "Witness(address to,address facilitator,uint256 validAfter)",
            upto::PermitWitnessTransferFrom::eip712_encode_type(),
        ),
    ];
    for rpc in nodes().await.rpcs {
        for (proxy, witness, whole) in &cases {
            assert_eq!(rpc.ask(*proxy, PERMIT2Call {}).await, PERMIT2);
            assert_eq!(rpc.ask(*proxy, WITNESS_TYPEHASHCall {}).await, keccak256(witness));
            let tail = rpc.ask(*proxy, WITNESS_TYPE_STRINGCall {}).await;
            assert_eq!(tail, format!("{head}{witness}"));
            let signed = "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,";
            assert_eq!(format!("{signed}{tail}"), *whole);
        }
    }
}

#[tokio::test]
async fn an_exact_payment_moves_what_was_permitted_once_whoever_sends_it() {
    for rpc in nodes().await.rpcs {
        approve(&rpc, PLAIN_USD, &PAYER).await;
        let call = settle_exact(&exact(1, PLAIN_USD));
        let anybody = tollway_devnet::ACCOUNTS[5];
        let (paid, receipt) = pays(&rpc, &anybody, EXACT_PROXY, call.clone(), PLAIN_USD).await;
        assert_eq!(paid, AMOUNT);
        let transfer = keccak256("Transfer(address,address,uint256)");
        assert_eq!(events(&receipt), [transfer, Settled::SIGNATURE_HASH]);
        assert_eq!(refusal(&rpc, EXACT_PROXY, call).await, InvalidNonce {}.abi_encode());
    }
}

#[tokio::test]
async fn what_a_payer_did_not_sign_is_refused() {
    for rpc in nodes().await.rpcs {
        approve(&rpc, PLAIN_USD, &PAYER).await;
        let signed = settle_exact(&exact(1, PLAIN_USD));
        let altered: [fn(&mut exact::settleCall); 5] = [
            |call| call.witness.to = SENDER.address,
            |call| call.witness.validAfter = U256::from(1),
            |call| call.permit.permitted.amount += U256::from(1),
            |call| call.permit.nonce += U256::from(1),
            |call| call.owner = SENDER.address,
        ];
        for alter in altered {
            let mut call = signed.clone();
            alter(&mut call);
            assert_eq!(refusal(&rpc, EXACT_PROXY, call).await, InvalidSigner {}.abi_encode());
        }
        let other = exact::PermitWitnessTransferFrom { spender: UPTO_PROXY, ..exact(1, PLAIN_USD) };
        assert_eq!(refusal(&rpc, EXACT_PROXY, settle_exact(&other)).await, InvalidSigner {}.abi_encode());
    }
}

#[tokio::test]
async fn a_payment_has_its_time_its_payee_and_its_owner() {
    for rpc in nodes().await.rpcs {
        approve(&rpc, PLAIN_USD, &PAYER).await;
        let mut early = exact(1, PLAIN_USD);
        early.witness.validAfter = U256::MAX;
        assert_eq!(refusal(&rpc, EXACT_PROXY, settle_exact(&early)).await, PaymentTooEarly {}.abi_encode());
        let late = exact::PermitWitnessTransferFrom { deadline: U256::from(5), ..exact(1, PLAIN_USD) };
        let expired = SignatureExpired { signatureDeadline: U256::from(5) }.abi_encode();
        assert_eq!(refusal(&rpc, EXACT_PROXY, settle_exact(&late)).await, expired);
        let mut nobody = exact(1, PLAIN_USD);
        nobody.witness.to = Address::ZERO;
        assert_eq!(
            refusal(&rpc, EXACT_PROXY, settle_exact(&nobody)).await,
            InvalidDestination {}.abi_encode()
        );
        let mut nothing = exact(1, PLAIN_USD);
        nothing.permitted.amount = U256::ZERO;
        assert_eq!(refusal(&rpc, EXACT_PROXY, settle_exact(&nothing)).await, InvalidAmount {}.abi_encode());
        let unowned = exact::settleCall { owner: Address::ZERO, ..settle_exact(&exact(1, PLAIN_USD)) };
        assert_eq!(refusal(&rpc, EXACT_PROXY, unowned).await, InvalidOwner {}.abi_encode());
    }
}

#[tokio::test]
async fn an_upto_payment_is_what_the_named_facilitator_says_and_no_more() {
    for rpc in nodes().await.rpcs {
        approve(&rpc, PLAIN_USD, &PAYER).await;
        let dear = settle_upto(&upto(1), 1_001);
        assert_eq!(refusal(&rpc, UPTO_PROXY, dear).await, AmountExceedsPermitted {}.abi_encode());
        let free = settle_upto(&upto(1), 0);
        assert_eq!(refusal(&rpc, UPTO_PROXY, free).await, InvalidAmount {}.abi_encode());
        let call = settle_upto(&upto(1), 400);
        let stranger = rpc.revert(PAYEE, UPTO_PROXY, call.clone()).await;
        assert_eq!(stranger, UnauthorizedFacilitator {}.abi_encode());
        // Who puts itself in the facilitator's place has no signature for that.
        let mut mine = call.clone();
        mine.witness.facilitator = PAYEE;
        assert_eq!(rpc.revert(PAYEE, UPTO_PROXY, mine).await, InvalidSigner {}.abi_encode());
        let (paid, receipt) = pays(&rpc, &SENDER, UPTO_PROXY, call.clone(), PLAIN_USD).await;
        assert_eq!(paid, U256::from(400));
        assert_eq!(events(&receipt).last(), Some(&Settled::SIGNATURE_HASH));
        // The rest is gone with the nonce.
        assert_eq!(refusal(&rpc, UPTO_PROXY, call).await, InvalidNonce {}.abi_encode());
        let (paid, _) = pays(&rpc, &SENDER, UPTO_PROXY, settle_upto(&upto(2), 1_000), PLAIN_USD).await;
        assert_eq!(paid, AMOUNT);
    }
}

#[tokio::test]
async fn a_permit_gives_the_allowance_in_the_same_transaction() {
    for rpc in nodes().await.rpcs {
        let signed = exact(1, PERMIT_USD);
        let missing = refusal(&rpc, EXACT_PROXY, settle_exact(&signed)).await;
        assert_eq!(missing, Revert::from("TRANSFER_FROM_FAILED").abi_encode());
        let call = with_permit(&signed, eip2612(AMOUNT, 0).0);
        let (paid, receipt) = pays(&rpc, &SENDER, EXACT_PROXY, call, PERMIT_USD).await;
        assert_eq!(paid, AMOUNT);
        assert_eq!(events(&receipt).last(), Some(&SettledWithPermit::SIGNATURE_HASH));
        let allowance = Token::allowanceCall { owner: PAYER.address, spender: PERMIT2 };
        assert_eq!(rpc.ask(PERMIT_USD, allowance).await, U256::ZERO);
    }
}

#[tokio::test]
async fn a_permit_that_somebody_presented_first_stops_no_payment() {
    for rpc in nodes().await.rpcs {
        let (permit, early) = eip2612(AMOUNT, 0);
        assert_eq!(rpc.send_from(&SENDER, PERMIT_USD, early).await["status"], "0x1");
        let call = with_permit(&exact(1, PERMIT_USD), permit);
        let (paid, receipt) = pays(&rpc, &SENDER, EXACT_PROXY, call, PERMIT_USD).await;
        assert_eq!(paid, AMOUNT);
        let failed = EIP2612PermitFailedWithData::SIGNATURE_HASH;
        assert_eq!(
            [events(&receipt)[0], *events(&receipt).last().unwrap()],
            [failed, SettledWithPermit::SIGNATURE_HASH]
        );
    }
}

#[tokio::test]
async fn a_token_that_knows_no_permit_is_paid_from_the_allowance_that_is_there() {
    for rpc in nodes().await.rpcs {
        let call = with_permit(&exact(1, PLAIN_USD), eip2612(AMOUNT, 0).0);
        let missing = refusal(&rpc, EXACT_PROXY, call.clone()).await;
        assert_eq!(missing, Revert::from("TRANSFER_FROM_FAILED").abi_encode());
        approve(&rpc, PLAIN_USD, &PAYER).await;
        let (paid, _) = pays(&rpc, &SENDER, EXACT_PROXY, call, PLAIN_USD).await;
        assert_eq!(paid, AMOUNT);
        // A token with words for it: they are in the log.
        approve(&rpc, USDC, &PAYER).await;
        let call = with_permit(&exact(2, USDC), eip2612(AMOUNT, 0).0);
        let (_, receipt) = pays(&rpc, &SENDER, EXACT_PROXY, call, USDC).await;
        assert_eq!(events(&receipt)[0], EIP2612PermitFailedWithReason::SIGNATURE_HASH);
    }
}

#[tokio::test]
async fn a_permit_for_another_amount_is_refused() {
    for rpc in nodes().await.rpcs {
        let (permit, _) = eip2612(AMOUNT + U256::from(1), 0);
        let call = with_permit(&exact(1, PERMIT_USD), permit);
        assert_eq!(refusal(&rpc, EXACT_PROXY, call).await, Permit2612AmountMismatch {}.abi_encode());
    }
}

#[tokio::test]
async fn an_upto_payment_may_bring_its_permit_and_only_the_facilitator_sends_it() {
    for rpc in nodes().await.rpcs {
        let mut signed = upto(1);
        signed.permitted.token = PERMIT_USD;
        let exact::EIP2612Permit { value, deadline, r, s, v } = eip2612(AMOUNT, 0).0;
        let upto::settleCall { permit, amount, owner, witness, signature } = settle_upto(&signed, 250);
        let permit2612 = upto::EIP2612Permit { value, deadline, r, s, v };
        let call = upto::settleWithPermitCall { permit2612, permit, amount, owner, witness, signature };
        let stranger = rpc.revert(PAYEE, UPTO_PROXY, call.clone()).await;
        assert_eq!(stranger, UnauthorizedFacilitator {}.abi_encode());
        let (paid, receipt) = pays(&rpc, &SENDER, UPTO_PROXY, call, PERMIT_USD).await;
        assert_eq!(paid, U256::from(250));
        assert_eq!(events(&receipt).last(), Some(&SettledWithPermit::SIGNATURE_HASH));
    }
}

#[tokio::test]
async fn the_dollar_with_permits_takes_those_of_the_holders_key_in_time_and_once() {
    for rpc in nodes().await.rpcs {
        let (_, good) = eip2612(AMOUNT, 0);
        let altered: [fn(&mut SplitPermit::permitCall); 4] = [
            |call| call.value += U256::from(1),
            |call| call.spender = PAYEE,
            |call| call.owner = SENDER.address,
            |call| call.deadline -= U256::from(1),
        ];
        for alter in altered {
            let mut call = good.clone();
            alter(&mut call);
            let error = rpc.revert(SENDER.address, PERMIT_USD, call).await;
            assert_eq!(error[..4], InvalidPermitSigner::SELECTOR);
        }
        // The genesis of an anvil is as old as its time can be.
        rpc.ok("evm_mine", json!([])).await;
        let deadline = U256::from(5);
        let late = SplitPermit::permitCall { deadline, ..good.clone() };
        let expired = PermitExpired { deadline }.abi_encode();
        assert_eq!(rpc.revert(SENDER.address, PERMIT_USD, late).await, expired);
        assert_eq!(rpc.send_from(&SENDER, PERMIT_USD, good.clone()).await["status"], "0x1");
        assert_eq!(rpc.ask(PERMIT_USD, Token::noncesCall(PAYER.address)).await, U256::from(1));
        let again = rpc.revert(SENDER.address, PERMIT_USD, good).await;
        assert_eq!(again[..4], InvalidPermitSigner::SELECTOR);
    }
}

#[tokio::test]
async fn the_plain_dollar_moves_by_its_holder_or_by_an_allowance() {
    for rpc in nodes().await.rpcs {
        let all = balance(&rpc, PLAIN_USD, PAYER.address).await;
        let too_much = Token::transferCall { to: PAYEE, value: all + U256::from(1) };
        let short = InsufficientBalance { balance: all, needed: all + U256::from(1) }.abi_encode();
        assert_eq!(rpc.revert(PAYER.address, PLAIN_USD, too_much).await, short);
        let pull = transferFromCall { from: PAYER.address, to: PAYEE, value: U256::from(4) };
        let none = InsufficientAllowance { allowance: U256::ZERO, needed: U256::from(4) }.abi_encode();
        assert_eq!(rpc.revert(SENDER.address, PLAIN_USD, pull.clone()).await, none);
        let approve = Token::approveCall { spender: SENDER.address, value: U256::from(5) };
        rpc.send_from(&PAYER, PLAIN_USD, approve).await;
        let (paid, _) = pays(&rpc, &SENDER, PLAIN_USD, pull.clone(), PLAIN_USD).await;
        assert_eq!(paid, U256::from(4));
        let left = InsufficientAllowance { allowance: U256::from(1), needed: U256::from(4) }.abi_encode();
        assert_eq!(rpc.revert(SENDER.address, PLAIN_USD, pull).await, left);
    }
}
