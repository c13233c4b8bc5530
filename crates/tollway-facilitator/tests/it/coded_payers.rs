//! Payers with code (ERC-1271, EIP-7702, ERC-6492): what honest wallets pay with, and what hostile ones cost.

use std::sync::Arc;

use alloy_primitives::{Bytes, keccak256};
use alloy_sol_types::{SolCall, SolValue, sol};
use serde_json::json;
use tollway_core::model::FacilitatorRequest;
use tollway_core::{BoxFuture, ErrorCode, Facilitator, JsonObject, PAYER_HAS_CODE};
use tollway_devnet::deploy::{self, Creation};
use tollway_devnet::{ACCOUNTS, Grant};
use tollway_evm::signature::{CodeSignature, Deployment, PayerSignature};
use tollway_evm::{Address, B256, LocalSigner, Signature, Signer, SignerError, U256};
use tollway_facilitator::{Engine, Limits};
use tollway_ledger::MemoryLedger;

use crate::world::{World, account, quick};

sol! {
    function make(address owner, bytes32 salt) external returns (address wallet);
    function addressOf(address owner, bytes32 salt) external view returns (address);
    function burn(address wallet) external;
}

const OWNER: usize = 4;

/// An account with code, for which a key signs.
#[derive(Debug)]
struct Wallet {
    address: Address,
    owner: LocalSigner,
}

impl Signer for Wallet {
    fn address(&self) -> Address {
        self.address
    }

    fn sign<'a>(&'a self, preimage: &'a [u8]) -> BoxFuture<'a, Result<Signature, SignerError>> {
        self.owner.sign(preimage)
    }
}

/// Puts a contract on the chain. What it was made with is in its code (`immutable`).
pub(crate) async fn place(world: &World, kind: &Creation, arguments: &[u8]) -> Address {
    let creation = json!([{ "data": kind.with(arguments), "gas": "0x1312d00" }, "latest"]);
    let code = world.chain.raw("eth_call", creation).await.unwrap();
    let address = LocalSigner::random().unwrap().address();
    world.chain.raw("anvil_setCode", json!([address, code])).await.unwrap();
    address
}

/// Money of the token, and none for gas.
pub(crate) fn grant(world: &World, address: Address) {
    world.devnet.grant(address, Grant { wei: U256::ZERO, token_atomic: U256::from(1_000_000) });
}

/// A wallet of the kind, with money.
async fn wallet(world: &World, kind: &Creation, arguments: Vec<u8>) -> Wallet {
    let address = place(world, kind, &arguments).await;
    grant(world, address);
    Wallet { address, owner: account(OWNER) }
}

fn owner() -> Address {
    account(OWNER).address()
}

async fn honest(world: &World) -> Wallet {
    wallet(world, &deploy::WALLET, (owner(), Address::ZERO).abi_encode_params()).await
}

async fn pays(world: &World, wallet: Wallet, amount: u64) -> FacilitatorRequest {
    world.pay_by(Arc::new(wallet), amount, JsonObject::new()).await
}

async fn engine(world: &World, limits: Limits) -> Engine {
    world.engine(&MemoryLedger::new()).limits(limits).start().await.unwrap()
}

fn patient() -> Limits {
    Limits { settle_deadline: std::time::Duration::from_secs(10), ..quick() }
}

/// What the first lane has left for gas.
async fn gas_money(world: &World) -> U256 {
    world.chain.balance(ACCOUNTS[crate::world::LANES[0]].address).await.unwrap()
}

#[tokio::test]
async fn a_contract_wallet_pays_once_and_the_seller_is_told_that_it_has_code() {
    let world = World::open().await;
    let engine = engine(&world, patient()).await;
    let request = pays(&world, honest(&world).await, 1_000).await;
    let verdict = engine.verify(request.clone()).await.unwrap();
    assert!(verdict.is_valid, "{verdict:?}");
    assert_eq!(verdict.extra[PAYER_HAS_CODE], true);
    for _ in 0..2 {
        let settled = engine.settle(request.clone()).await.unwrap();
        assert!(settled.success, "{settled:?}");
    }
    assert_eq!(world.received().await, 1_000);
}

#[tokio::test]
async fn a_delegated_account_pays_by_the_word_of_its_code_and_not_of_its_key() {
    let world = World::open().await;
    let engine = engine(&world, patient()).await;
    let code = place(&world, &deploy::SET_CODE_ACCOUNT, &Address::ZERO.abi_encode()).await;
    let payer = world.payer_with(5_000);
    let delegation = format!("0xef0100{code:x}");
    world.chain.raw("anvil_setCode", json!([payer.address(), delegation])).await.unwrap();
    let request = world.pay(&payer, 1_000).await;
    let verdict = engine.verify(request.clone()).await.unwrap();
    assert!(verdict.is_valid && verdict.extra[PAYER_HAS_CODE] == true, "{verdict:?}");
    assert!(engine.settle(request).await.unwrap().success);
    // With code that answers nothing its own key is worth nothing.
    let silent = format!("0xef0100{:x}", tollway_devnet::genesis::MULTICALL3);
    world.chain.raw("anvil_setCode", json!([payer.address(), silent])).await.unwrap();
    let request = world.pay(&payer, 1_000).await;
    let verdict = engine.verify(request).await.unwrap();
    assert!(!verdict.is_valid, "{verdict:?}");
    assert_eq!(world.received().await, 1_000);
}

#[tokio::test]
async fn what_nobody_signed_is_refused_by_the_payers_code_or_for_want_of_it() {
    let world = World::open().await;
    let engine = engine(&world, patient()).await;
    let mut strangers = honest(&world).await;
    strangers.owner = account(5);
    let by_stranger = pays(&world, strangers, 1_000).await;
    let plain = Wallet { address: account(3).address(), owner: account(5) };
    let in_anothers_name = pays(&world, plain, 1_000).await;
    let before = gas_money(&world).await;
    for request in [by_stranger, in_anothers_name] {
        let verdict = engine.verify(request.clone()).await.unwrap();
        let reason = verdict.invalid_reason.clone();
        assert_eq!(reason, Some(ErrorCode::INVALID_EXACT_EVM_SIGNATURE), "{verdict:?}");
        assert!(!engine.settle(request).await.unwrap().success);
    }
    assert_eq!((world.received().await, gas_money(&world).await), (0, before));
}

#[tokio::test]
async fn a_wallet_that_is_valid_in_a_simulation_only_is_refused() {
    let world = World::open().await;
    let engine = engine(&world, patient()).await;
    let before = gas_money(&world).await;
    let from_a_stranger = (owner(), ACCOUNTS[7].address).abi_encode_params();
    for (kind, arguments) in [
        (deploy::NO_BASE_FEE_WALLET, owner().abi_encode()),
        (deploy::NO_GAS_PRICE_WALLET, owner().abi_encode()),
        (deploy::ORIGIN_WALLET, from_a_stranger),
    ] {
        let request = pays(&world, wallet(&world, &kind, arguments).await, 1_000).await;
        let verdict = engine.verify(request.clone()).await.unwrap();
        assert!(!verdict.is_valid, "{}: {verdict:?}", kind.name);
        assert!(!engine.settle(request).await.unwrap().success, "{}", kind.name);
    }
    assert_eq!((world.received().await, gas_money(&world).await), (0, before), "no gas for any of them");
}

#[tokio::test]
async fn a_wallet_that_burns_or_answers_without_end_costs_no_gas() {
    let world = World::open().await;
    let engine = engine(&world, patient()).await;
    let before = gas_money(&world).await;
    for kind in [deploy::BURNER_WALLET, deploy::BOMB_WALLET] {
        let request = pays(&world, wallet(&world, &kind, owner().abi_encode()).await, 1_000).await;
        let verdict = engine.verify(request.clone()).await.unwrap();
        if verdict.is_valid {
            // The bomb's first word says yes: then it is within the gas that such a payment may use.
            assert!(engine.settle(request).await.unwrap().success, "{}", kind.name);
        } else {
            assert!(!engine.settle(request).await.unwrap().success, "{}", kind.name);
            assert_eq!(gas_money(&world).await, before, "{}", kind.name);
        }
    }
}

/// A payment of a wallet that its factory makes with it.
async fn wrapped(world: &World, factory: Address, data: Bytes, wallet: Wallet) -> FacilitatorRequest {
    let mut request = pays(world, wallet, 1_000).await;
    let bytes: Bytes = request.payment.payload["signature"].as_str().unwrap().parse().unwrap();
    let code = CodeSignature { bytes, deployment: Some(Deployment { factory, data }) };
    request.payment.payload["signature"] = PayerSignature::Code(code).to_bytes().to_string().into();
    request
}

/// A wallet that is not there yet, and how its factory makes it.
async fn to_come(world: &World, factory: Address, salt: B256) -> (Wallet, Bytes) {
    let asked = addressOfCall { owner: owner(), salt }.abi_encode();
    let call = json!([{ "to": factory, "data": Bytes::from(asked) }, "latest"]);
    let word: B256 = serde_json::from_value(world.chain.raw("eth_call", call).await.unwrap()).unwrap();
    let wallet = Wallet { address: Address::from_word(word), owner: account(OWNER) };
    grant(world, wallet.address);
    (wallet, makeCall { owner: owner(), salt }.abi_encode().into())
}

#[tokio::test]
async fn a_wallet_is_deployed_with_its_first_payment_by_an_allowed_factory_only() {
    let world = World::open().await;
    let factory = place(&world, &deploy::WALLET_FACTORY, &[]).await;
    let (wallet, data) = to_come(&world, factory, keccak256("one")).await;
    let address = wallet.address;
    let request = wrapped(&world, factory, data, wallet).await;
    let strict = engine(&world, patient()).await;
    let refused = strict.verify(request.clone()).await.unwrap();
    assert_eq!(refused.invalid_reason, Some(ErrorCode::EIP6492_FACTORY_NOT_ALLOWED), "{refused:?}");
    drop(strict);
    let allowing = Limits { erc6492_factories: [factory].into(), ..patient() };
    let engine = engine(&world, allowing).await;
    let verdict = engine.verify(request.clone()).await.unwrap();
    assert!(verdict.is_valid, "{verdict:?}");
    let settled = engine.settle(request).await.unwrap();
    assert!(settled.success, "{settled:?}");
    assert_eq!(world.received().await, 1_000);
    assert!(!world.chain.code(address).await.unwrap().is_empty(), "the wallet is there now");
}

#[tokio::test]
async fn an_evil_factory_costs_no_gas_and_no_request_to_a_node() {
    let world = World::open().await;
    let engine = engine(&world, patient()).await;
    let evil = place(&world, &deploy::EVIL_FACTORY, &[]).await;
    let burn: Bytes = burnCall { wallet: owner() }.abi_encode().into();
    let request = wrapped(&world, evil, burn, Wallet { address: owner(), owner: account(OWNER) }).await;
    let (asked, before) = (world.asked.payments(), gas_money(&world).await);
    let verdict = engine.verify(request.clone()).await.unwrap();
    assert_eq!(verdict.invalid_reason, Some(ErrorCode::EIP6492_FACTORY_NOT_ALLOWED), "{verdict:?}");
    let settled = engine.settle(request).await.unwrap();
    assert_eq!(settled.error_reason, Some(ErrorCode::EIP6492_FACTORY_NOT_ALLOWED), "{settled:?}");
    assert_eq!((world.asked.payments(), gas_money(&world).await), (asked, before));
}

#[tokio::test]
async fn an_operator_may_serve_keys_only() {
    let world = World::open().await;
    let engine = engine(&world, Limits { contract_payers: false, ..patient() }).await;
    let request = pays(&world, honest(&world).await, 1_000).await;
    let asked = world.asked.payments();
    let verdict = engine.verify(request).await.unwrap();
    assert_eq!(verdict.invalid_reason, Some(ErrorCode::INVALID_EXACT_EVM_SIGNATURE), "{verdict:?}");
    assert_eq!(world.asked.payments(), asked);
}

#[tokio::test]
async fn payments_of_wallets_and_of_keys_at_once_all_settle() {
    let world = World::open().await;
    let engine = engine(&world, patient()).await;
    let mut requests = Vec::new();
    for _ in 0..3 {
        requests.push(pays(&world, honest(&world).await, 100).await);
        for _ in 0..3 {
            requests.push(world.pay(&world.payer_with(1_000), 10).await);
        }
    }
    let all = requests.into_iter().map(|request| engine.settle(request));
    for settled in futures_util::future::join_all(all).await {
        assert!(settled.as_ref().unwrap().success, "{settled:?}");
    }
    assert_eq!(world.received().await, 3 * 100 + 9 * 10);
}

#[tokio::test]
async fn a_forged_signature_beside_the_true_one_changes_nothing_for_it() {
    let world = World::open().await;
    let engine = engine(&world, patient()).await;
    for forged_first in [false, true] {
        let honest = world.pay(&world.payer_with(5_000), 1_000).await;
        let mut forged = honest.clone();
        forged.payment.payload["signature"] = format!("0x{}", "11".repeat(70)).into();
        // Found good by its own signature, it is not good by another.
        assert!(engine.verify(honest.clone()).await.unwrap().is_valid);
        let (first, second) = if forged_first { (&forged, &honest) } else { (&honest, &forged) };
        let (first, second) = tokio::join!(engine.settle(first.clone()), engine.settle(second.clone()));
        let of_honest = if forged_first { second } else { first };
        let settled = match of_honest {
            // The forged one was being looked at.
            Err(tollway_core::FacilitatorError::Busy(_)) => engine.settle(honest).await.unwrap(),
            answer => answer.unwrap(),
        };
        assert!(settled.success, "{forged_first}: {settled:?}");
    }
    assert_eq!(world.received().await, 2_000);
    // Alone the forged one is nothing.
    let honest = world.pay(&world.payer_with(5_000), 1_000).await;
    assert!(engine.verify(honest.clone()).await.unwrap().is_valid);
    let mut forged = honest.clone();
    forged.payment.payload["signature"] = format!("0x{}", "22".repeat(70)).into();
    let refused = engine.settle(forged).await.unwrap();
    assert_eq!(refused.error_reason, Some(ErrorCode::INVALID_EXACT_EVM_SIGNATURE), "{refused:?}");
    assert!(engine.settle(honest).await.unwrap().success);
}
