//! Payments by delegation (ERC-7710): judged by running them, settled once.

use std::time::Duration;

use alloy_sol_types::{SolStruct, SolValue, eip712_domain, sol};
use serde_json::json;
use tollway_core::model::{Accepted, FacilitatorRequest};
use tollway_core::{ErrorCode, Facilitator, JsonObject, PAYER_HAS_CODE};
use tollway_devnet::{ACCOUNTS, Fault, Mining, deploy, genesis};
use tollway_evm::{Address, Bytes, Signer, U256};
use tollway_facilitator::{Engine, Limits};
use tollway_ledger::MemoryLedger;

use crate::coded_payers::{grant, place};
use crate::world::{LANES, World, account, quick};

sol! {
    struct Delegation {
        address delegate;
        address delegator;
        address token;
        address payee;
        uint256 limit;
        uint256 deadline;
        uint256 salt;
    }
}

const OWNER: usize = 4;

/// A manager, and an account with money that lets it act.
async fn parties(world: &World) -> (Address, Address) {
    let manager = place(world, &deploy::DELEGATION_MANAGER, &[]).await;
    let arguments = (account(OWNER).address(), manager).abi_encode_params();
    let delegator = place(world, &deploy::WALLET, &arguments).await;
    grant(world, delegator);
    (manager, delegator)
}

/// What the delegator signs: up to `limit` for this payee.
async fn context(world: &World, (manager, delegator): (Address, Address), limit: u64, salt: u64) -> Bytes {
    let delegation = Delegation {
        delegate: Address::ZERO,
        delegator,
        token: genesis::USDC,
        payee: world.payee,
        limit: U256::from(limit),
        deadline: U256::MAX,
        salt: U256::from(salt),
    };
    let domain = eip712_domain! {
        name: "DelegationManager", version: "1", chain_id: 31_337, verifying_contract: manager,
    };
    let message = delegation.eip712_hash_struct();
    let preimage = [&[0x19, 0x01], domain.separator().as_slice(), message.as_slice()].concat();
    let signature = account(OWNER).sign(&preimage).await.unwrap();
    (delegation, Bytes::from(signature.as_bytes())).abi_encode_params().into()
}

/// A payment of `amount` that shows `context` to `manager`.
async fn pays(
    world: &World,
    (manager, delegator): (Address, Address),
    context: &Bytes,
    amount: u64,
) -> FacilitatorRequest {
    let extra = json!({ "assetTransferMethod": "erc7710" }).as_object().cloned().unwrap();
    let mut request = world.pay_with(&account(3), amount, JsonObject::new()).await;
    request.requirements.extra.extend(extra);
    request.payment.accepted = Accepted::Offer(Box::new(request.requirements.clone()));
    let payload = json!({
        "delegationManager": manager, "delegator": delegator, "permissionContext": context,
    });
    request.payment.payload = payload.as_object().cloned().unwrap();
    request
}

async fn engine(world: &World, ledger: &MemoryLedger) -> Engine {
    let limits = Limits { settle_deadline: Duration::from_secs(10), ..quick() };
    world.engine(ledger).limits(limits).start().await.unwrap()
}

async fn gas_money(world: &World) -> U256 {
    world.chain.balance(ACCOUNTS[LANES[0]].address).await.unwrap()
}

#[tokio::test]
async fn a_delegation_pays_once_however_often_it_is_presented() {
    let world = World::open().await;
    let engine = engine(&world, &MemoryLedger::new()).await;
    let parties = parties(&world).await;
    // It would do for ten payments; what is presented again is the same payment.
    let context = context(&world, parties, 10_000, 1).await;
    let request = pays(&world, parties, &context, 1_000).await;
    let verdict = engine.verify(request.clone()).await.unwrap();
    assert!(verdict.is_valid && verdict.extra[PAYER_HAS_CODE] == true, "{verdict:?}");
    let first = engine.settle(request.clone()).await.unwrap();
    assert!(first.success, "{first:?}");
    let again = engine.settle(request.clone()).await.unwrap();
    assert_eq!(again.transaction, first.transaction);
    let verdict = engine.verify(request).await.unwrap();
    assert_eq!(verdict.invalid_reason, Some(ErrorCode::DUPLICATE_SETTLEMENT), "{verdict:?}");
    assert_eq!(world.received().await, 1_000);
    // Another delegation, or another amount, is another payment.
    for (salt, amount) in [(2, 1_000), (1, 700)] {
        let context = self::context(&world, parties, 10_000, salt).await;
        let settled = engine.settle(pays(&world, parties, &context, amount).await).await.unwrap();
        assert!(settled.success, "{settled:?}");
    }
    assert_eq!(world.received().await, 2_700);
}

#[tokio::test]
async fn what_was_not_delegated_is_refused_before_gas_is_spent() {
    let world = World::open().await;
    let engine = engine(&world, &MemoryLedger::new()).await;
    let parties = parties(&world).await;
    let before = gas_money(&world).await;
    let small = context(&world, parties, 999, 1).await;
    let mut forged = context(&world, parties, 1_000, 1).await.to_vec();
    let middle = forged.len() - 60;
    forged[middle] ^= 1;
    for context in [small, Bytes::from(forged), Bytes::from_static(&[1, 2, 3])] {
        let request = pays(&world, parties, &context, 1_000).await;
        let verdict = engine.verify(request.clone()).await.unwrap();
        assert!(!verdict.is_valid, "{verdict:?}");
        assert!(!engine.settle(request).await.unwrap().success);
    }
    assert_eq!((world.received().await, gas_money(&world).await), (0, before));
}

#[tokio::test]
async fn an_evil_manager_costs_no_gas_and_moves_nothing_that_counts() {
    let world = World::open().await;
    let engine = engine(&world, &MemoryLedger::new()).await;
    let evil = place(&world, &deploy::EVIL_MANAGER, &[]).await;
    grant(&world, evil);
    let (_, delegator) = parties(&world).await;
    let before = gas_money(&world).await;
    for trick in 0u8..=10 {
        let context = Bytes::from(vec![trick; 40]);
        let request = pays(&world, (evil, delegator), &context, 1_000).await;
        let verdict = engine.verify(request.clone()).await.unwrap();
        assert!(!verdict.is_valid, "{trick}: {verdict:?}");
        assert!(!engine.settle(request).await.unwrap().success, "{trick}");
    }
    assert_eq!((world.received().await, gas_money(&world).await), (0, before));
}

#[tokio::test]
async fn a_lost_transaction_of_a_delegation_is_never_settled_by_a_second_one() {
    let world = World::with(Mining::Manual).await;
    let ledger = MemoryLedger::new();
    let engine = engine(&world, &ledger).await;
    let parties = parties(&world).await;
    let context = context(&world, parties, 10_000, 1).await;
    let request = pays(&world, parties, &context, 1_000).await;
    world.fault(Fault::Hold);
    let settling = tokio::spawn({
        let (engine, request) = (engine.clone(), request.clone());
        async move { engine.settle(request).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.fault(Fault::Release);
    for _ in 0..20 {
        world.mine(1);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let settled = settling.await.unwrap().unwrap();
    assert!(settled.success, "{settled:?}");
    assert_eq!(world.received().await, 1_000);
}
