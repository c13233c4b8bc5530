//! Payments by Permit2 and scheme `upto`, on a chain with the real rules.

use std::collections::BTreeSet;
use std::sync::Arc;

use alloy_primitives::{B256, Bytes, hex, keccak256};
use futures_util::future::join_all;
use serde_json::json;
use tollway_core::model::{FacilitatorRequest, PaymentRequired, SettleResponse};
use tollway_core::{
    Amount, BuyerScheme, Clock, Facilitator, JsonObject, Price, SchemeName, SellerScheme, SystemClock, Terms,
    X402Version,
};
use tollway_devnet::{ACCOUNTS, Grant, Mining, genesis};
use tollway_evm::eip712::Domain;
use tollway_evm::exact::{ExactBuyer, ExactSeller};
use tollway_evm::permit2::{self, EIP2612_GAS_SPONSORING, UptoBuyer, UptoSeller};
use tollway_evm::{Address, LocalSigner, Payment, Settleable, Signer, Transaction, U256};
use tollway_facilitator::Engine;
use tollway_ledger::{MemoryLedger, SettlementId};

use crate::world::{LANES, World, account};

/// Who is nobody here.
const RIVAL: usize = 6;

/// A payment in the dollar that knows no signature of any kind.
pub(crate) async fn pay(
    world: &World,
    payer: &LocalSigner,
    scheme: SchemeName,
    amount: u64,
) -> FacilitatorRequest {
    pay_for(world, payer, scheme, amount, ACCOUNTS[LANES[0]].address).await
}

async fn pay_for(
    world: &World,
    payer: &LocalSigner,
    scheme: SchemeName,
    amount: u64,
    facilitator: Address,
) -> FacilitatorRequest {
    pay_in(world, payer, scheme, amount, facilitator, genesis::PLAIN_USD).await
}

async fn pay_in(
    world: &World,
    payer: &LocalSigner,
    scheme: SchemeName,
    amount: u64,
    facilitator: Address,
    token: Address,
) -> FacilitatorRequest {
    let (assets, payer) = (world.assets(), Arc::new(payer.clone()));
    let terms =
        Terms { network: world.network.clone(), pay_to: world.payee.to_string(), max_timeout_seconds: 300 };
    let asset = token.to_string();
    let price = Price::Asset { amount: Amount::from(amount), asset, extra: JsonObject::new() };
    let (seller, buyer): (Box<dyn SellerScheme>, Box<dyn BuyerScheme>) = match scheme == SchemeName::UPTO {
        true => (Box::new(UptoSeller::new(assets.clone())), Box::new(UptoBuyer::new(payer, assets))),
        false => (Box::new(ExactSeller::new(assets.clone())), Box::new(ExactBuyer::new(payer, assets))),
    };
    let mut offer = seller.offer(&price, &terms).unwrap();
    if scheme == SchemeName::UPTO {
        offer.extra.insert("facilitatorAddress".to_owned(), facilitator.to_string().into());
    }
    let required = PaymentRequired {
        version: X402Version::V2,
        error: None,
        resource: None,
        accepts: vec![offer.clone()],
        extensions: JsonObject::new(),
        other: JsonObject::new(),
    };
    let payment = buyer.sign(&required, &offer, SystemClock.now()).await.unwrap();
    FacilitatorRequest { payment, requirements: offer }
}

/// A payer with so much of the token, of which Permit2 may take `allowed`.
async fn payer(world: &World, atomic: u64, allowed: u64) -> LocalSigner {
    let payer = LocalSigner::random().unwrap();
    let wei = U256::from(10u64.pow(18));
    world.devnet.grant(payer.address(), Grant { wei, token_atomic: U256::from(atomic) });
    if allowed > 0 {
        let data =
            format!("095ea7b3{:0>64}{:064x}", hex::encode(permit2::PERMIT2.as_slice()), U256::from(allowed));
        send(world, &payer, genesis::PLAIN_USD, hex::decode(data).unwrap().into()).await;
    }
    payer
}

pub(crate) async fn send(world: &World, signer: &LocalSigner, to: Address, data: Bytes) -> String {
    let transaction = Transaction {
        chain_id: world.devnet.chain_id(),
        nonce: world.chain.nonce(signer.address()).await.unwrap(),
        to,
        value: U256::ZERO,
        data,
        gas_limit: 300_000,
        max_fee_per_gas: 10_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
    };
    let signed = transaction.sign(signer).await.unwrap();
    world.chain.send_raw(&signed.raw).await.unwrap().to_string()
}

/// What the payee has of the token.
pub(crate) async fn received(world: &World) -> u64 {
    let data = format!("0x70a08231{:0>64}", format!("{:x}", world.payee));
    let call = json!([{ "to": genesis::PLAIN_USD, "data": data }, "latest"]);
    let word: U256 = serde_json::from_value(world.chain.raw("eth_call", call).await.unwrap()).unwrap();
    word.to()
}

async fn engine(world: &World) -> Engine {
    world.engine(&MemoryLedger::new()).start().await.unwrap()
}

pub(crate) fn code(answer: &SettleResponse) -> &str {
    answer.error_reason.as_ref().map_or("", |code| code.as_str())
}

/// The same permit, charged so much.
fn charged(request: &FacilitatorRequest, amount: u64) -> FacilitatorRequest {
    let mut request = request.clone();
    request.requirements.amount = Amount::from(amount);
    request
}

#[tokio::test]
async fn a_permit_of_either_scheme_settles_and_is_told_again_the_same() {
    let world = World::open().await;
    let engine = engine(&world).await;
    let payer = payer(&world, 100, 100).await;
    for (scheme, amount) in [(SchemeName::EXACT, None), (SchemeName::UPTO, Some("10".to_owned()))] {
        let before = received(&world).await;
        let request = pay(&world, &payer, scheme, 10).await;
        let verdict = engine.verify(request.clone()).await.unwrap();
        assert!(verdict.is_valid, "{verdict:?}");
        let settled = engine.settle(request.clone()).await.unwrap();
        assert!(settled.success, "{settled:?}");
        assert_eq!((settled.amount.clone(), received(&world).await - before), (amount, 10));
        assert!(settled.extra.contains_key("logIndex"));
        assert_eq!(engine.settle(request.clone()).await.unwrap(), settled);
        let again = engine.verify(request).await.unwrap();
        assert_eq!(again.invalid_reason.unwrap().as_str(), "permit2_invalid_nonce");
    }
}

#[tokio::test]
async fn without_an_allowance_the_payer_is_asked_to_approve_and_no_gas_is_spent() {
    let world = World::open().await;
    let engine = engine(&world).await;
    let poor = payer(&world, 100, 0).await;
    for scheme in [SchemeName::EXACT, SchemeName::UPTO] {
        let request = pay(&world, &poor, scheme, 10).await;
        let verdict = engine.verify(request.clone()).await.unwrap();
        assert_eq!(verdict.invalid_reason.unwrap().as_str(), "permit2_allowance_required");
        assert!(verdict.invalid_message.unwrap().contains("approve"));
        assert_eq!(code(&engine.settle(request).await.unwrap()), "permit2_allowance_required");
    }
    let broke = payer(&world, 0, 100).await;
    let request = pay(&world, &broke, SchemeName::EXACT, 10).await;
    assert_eq!(code(&engine.settle(request).await.unwrap()), "permit2_insufficient_balance");
    assert_eq!(world.lane_nonce(0).await, 0);
}

#[tokio::test]
async fn one_allowance_does_not_stand_for_many_permits() {
    let world = World::open().await;
    let engine = engine(&world).await;
    // Money enough for all of them, allowed for one.
    let payer = payer(&world, 1_000, 10).await;
    let requests = join_all((0..20).map(|_| pay(&world, &payer, SchemeName::EXACT, 10))).await;
    let verdicts = join_all(requests.iter().map(|request| engine.verify(request.clone()))).await;
    let valid = verdicts.iter().filter(|verdict| verdict.as_ref().unwrap().is_valid).count();
    assert_eq!(valid, 1, "{verdicts:?}");
    let settled = join_all(requests.iter().map(|request| engine.settle(request.clone()))).await;
    let success = settled.iter().filter(|answer| answer.as_ref().is_ok_and(|answer| answer.success)).count();
    assert_eq!((success, received(&world).await), (1, 10), "{settled:?}");
    assert_eq!(world.lane_nonce(0).await, 1, "none of the others burnt gas");
}

#[tokio::test]
async fn upto_charges_what_was_used_once_and_never_more_than_was_signed() {
    let world = World::open().await;
    let engine = engine(&world).await;
    let payer = payer(&world, 100, 100).await;
    let request = pay(&world, &payer, SchemeName::UPTO, 50).await;
    assert!(engine.verify(request.clone()).await.unwrap().is_valid);
    let early = engine.verify(charged(&request, 7)).await.unwrap();
    assert_eq!(
        early.invalid_reason.unwrap().as_str(),
        "permit2_amount_mismatch",
        "what is verified is the ceiling"
    );
    let over = engine.settle(charged(&request, 51)).await.unwrap();
    assert!(!over.success, "{over:?}");
    let settled = engine.settle(charged(&request, 7)).await.unwrap();
    assert_eq!((settled.success, settled.amount.as_deref()), (true, Some("7")));
    assert_eq!(received(&world).await, 7);
    assert_eq!(engine.settle(charged(&request, 7)).await.unwrap(), settled);
    for other in [0, 8, 50] {
        let again = engine.settle(charged(&request, other)).await.unwrap();
        assert_eq!(code(&again), "permit2_invalid_nonce", "{again:?}");
    }
    assert_eq!(received(&world).await, 7);
}

#[tokio::test]
async fn upto_of_nothing_settles_nothing() {
    let world = World::open().await;
    let engine = engine(&world).await;
    let payer = payer(&world, 100, 100).await;
    let request = pay(&world, &payer, SchemeName::UPTO, 50).await;
    let settled = engine.settle(charged(&request, 0)).await.unwrap();
    assert!(settled.success, "{settled:?}");
    assert_eq!((settled.transaction.as_str(), settled.amount.as_deref()), ("", Some("0")));
    assert_eq!((received(&world).await, world.lane_nonce(0).await), (0, 0));
}

#[tokio::test]
async fn a_permit_for_another_facilitator_is_refused_before_the_node_is_asked() {
    let world = World::open().await;
    let engine = engine(&world).await;
    let payer = payer(&world, 100, 100).await;
    let request = pay_for(&world, &payer, SchemeName::UPTO, 50, ACCOUNTS[RIVAL].address).await;
    while engine.lanes()[0].balance_wei.is_none() {
        tokio::task::yield_now().await;
    }
    let before = world.asked.all();
    let verdict = engine.verify(request.clone()).await.unwrap();
    assert_eq!(verdict.invalid_reason.unwrap().as_str(), "upto_facilitator_mismatch");
    assert_eq!(code(&engine.settle(request).await.unwrap()), "upto_facilitator_mismatch");
    assert_eq!(world.asked.all(), before);
}

#[tokio::test]
async fn the_facilitator_says_whom_payers_sign_for() {
    let world = World::open().await;
    let supported = engine(&world).await.supported().await.unwrap();
    let upto: Vec<_> = supported.kinds.iter().filter(|kind| kind.scheme == SchemeName::UPTO).collect();
    assert_eq!((upto.len(), upto[0].version), (1, X402Version::V2), "v1 has no such scheme");
    assert_eq!(upto[0].extra["facilitatorAddress"], ACCOUNTS[LANES[0]].address.to_string());
}

#[tokio::test]
async fn a_rival_who_settles_our_permit_first_has_settled_it() {
    let world = World::with(Mining::Manual).await;
    let ledger = MemoryLedger::new();
    let engine = world.engine(&ledger).start().await.unwrap();
    let payer = LocalSigner::random().unwrap();
    world
        .devnet
        .grant(payer.address(), Grant { wei: U256::from(10u64.pow(18)), token_atomic: U256::from(100) });
    let data = format!("095ea7b3{:0>64}{:064x}", hex::encode(permit2::PERMIT2.as_slice()), U256::from(100));
    send(&world, &payer, genesis::PLAIN_USD, hex::decode(data).unwrap().into()).await;
    world.mine(1);
    let request = pay(&world, &payer, SchemeName::EXACT, 10).await;
    assert!(engine.verify(request.clone()).await.unwrap().is_valid);
    let Payment::Permit2(permit) = Payment::check(&request, None).unwrap() else { panic!("by Permit2") };
    let call = permit2::settle_call(&permit);
    let rival = send(&world, &account(RIVAL), call.to, call.data).await;
    let ours = engine.settle(request.clone()).await.unwrap();
    assert!(!ours.success, "nothing is included yet: {ours:?}");
    // The rival's is older and comes first; ours reverts behind it, or is never taken.
    world.mine(1);
    let id = SettlementId::of(&Payment::from(permit.clone()).key());
    let mut last = None;
    for _ in 0..1_500 {
        last = engine.settlement(id).await.unwrap();
        if last.as_ref().is_some_and(|found| crate::world::is_settled(&found.state)) {
            break;
        }
        world.mine(1);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let answer = engine.settle(request).await.unwrap();
    assert!(answer.success, "{last:?}");
    assert_eq!((answer.transaction, received(&world).await), (rival, 10));
    assert_eq!(permit.value(), U256::from(10));
}

#[tokio::test]
async fn what_pays_the_same_amount_elsewhere_does_not_prove_a_permit() {
    let world = World::open().await;
    let engine = engine(&world).await;
    let payer = payer(&world, 100, 100).await;
    let request = pay(&world, &payer, SchemeName::EXACT, 10).await;
    let Payment::Permit2(permit) = Payment::check(&request, None).unwrap() else { panic!("by Permit2") };
    // The payer cancels the nonce, and pays the same amount to the same payee for something else.
    let (word, bit) = (permit.permit.nonce >> 8, permit.permit.nonce & U256::from(255));
    let cancel = format!("3ff9dcb1{word:064x}{:064x}", U256::from(1) << bit.to::<usize>());
    send(&world, &payer, permit2::PERMIT2, hex::decode(cancel).unwrap().into()).await;
    let transfer = format!("a9059cbb{:0>64}{:064x}", format!("{:x}", world.payee), U256::from(10));
    send(&world, &payer, genesis::PLAIN_USD, hex::decode(transfer).unwrap().into()).await;
    assert_eq!(received(&world).await, 10);
    assert!(permit2::find_uses(&world.chain, &permit).await.unwrap().is_empty());
    let answer = engine.settle(request).await.unwrap();
    assert_eq!(code(&answer), "permit2_invalid_nonce", "{answer:?}");
}

/// Signs the approval of Permit2 for exactly what the payment allows (EIP-2612), and attaches it.
async fn approve_beside(world: &World, payer: &LocalSigner, request: &mut FacilitatorRequest, nonce: u64) {
    let word = |number: u64| B256::from(U256::from(number));
    let (amount, deadline) = (request.requirements.amount, SystemClock.now().plus_seconds(300).0);
    let kind = "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)";
    let message = [
        keccak256(kind),
        payer.address().into_word(),
        permit2::PERMIT2.into_word(),
        amount.atomic().into(),
        word(nonce),
        word(deadline),
    ];
    let domain = Domain::new(&world.network, genesis::PERMIT_USD, "Permit USD", "1").unwrap();
    let hash = keccak256(message.map(|word| word.0).as_flattened());
    let preimage = [&[0x19, 0x01], domain.separator().as_slice(), hash.as_slice()].concat();
    let signature = payer.sign(&preimage).await.unwrap();
    let info = json!({
        "from": payer.address(), "asset": genesis::PERMIT_USD, "spender": permit2::PERMIT2,
        "amount": amount.to_string(), "nonce": nonce.to_string(), "deadline": deadline.to_string(),
        "signature": hex::encode_prefixed(signature.as_bytes()), "version": "1",
    });
    request.payment.extensions.insert(EIP2612_GAS_SPONSORING.to_owned(), json!({ "info": info }));
}

#[tokio::test]
async fn who_signs_the_approval_too_pays_without_any_gas() {
    let world = World::open().await;
    let engine = engine(&world).await;
    let payer = world.payer_with(100);
    for (nonce, scheme) in [(0, SchemeName::EXACT), (1, SchemeName::UPTO)] {
        let facilitator = ACCOUNTS[LANES[0]].address;
        let mut request = pay_in(&world, &payer, scheme, 10, facilitator, genesis::PERMIT_USD).await;
        let bare = engine.verify(request.clone()).await.unwrap();
        assert_eq!(bare.invalid_reason.unwrap().as_str(), "permit2_allowance_required");
        approve_beside(&world, &payer, &mut request, nonce).await;
        let verdict = engine.verify(request.clone()).await.unwrap();
        assert!(verdict.is_valid, "{verdict:?}");
        let settled = engine.settle(request).await.unwrap();
        assert!(settled.success, "{settled:?}");
    }
    assert_eq!(world.chain.nonce(payer.address()).await.unwrap(), 0, "the payer sent nothing");
}

#[tokio::test]
async fn an_approval_that_the_token_does_not_take_burns_no_gas() {
    let world = World::open().await;
    let engine = engine(&world).await;
    let payer = world.payer_with(100);
    let facilitator = ACCOUNTS[LANES[0]].address;
    for _ in 0..5 {
        let mut request =
            pay_in(&world, &payer, SchemeName::EXACT, 10, facilitator, genesis::PERMIT_USD).await;
        approve_beside(&world, &payer, &mut request, 7).await;
        assert!(!engine.verify(request.clone()).await.unwrap().is_valid);
        assert!(!engine.settle(request).await.unwrap().success);
    }
    assert_eq!(world.lane_nonce(0).await, 0);
}

/// Settles all at once, while blocks come by themselves: those that wait together travel together.
async fn settle_all(engine: &Engine, requests: &[FacilitatorRequest]) -> Vec<SettleResponse> {
    let answers = join_all(requests.iter().map(|request| engine.settle(request.clone()))).await;
    answers.into_iter().map(Result::unwrap).collect()
}

#[tokio::test]
async fn permits_that_share_a_transaction_settle_each_once() {
    let world = World::open().await;
    let engine = engine(&world).await;
    let one = payer(&world, 1_000, 1_000).await;
    let other = payer(&world, 1_000, 1_000).await;
    let mut requests = Vec::new();
    for amount in 1..=10 {
        requests.push(pay(&world, &one, SchemeName::EXACT, amount).await);
        requests.push(pay(&world, &other, SchemeName::EXACT, amount).await);
    }
    let answers = settle_all(&engine, &requests).await;
    assert!(answers.iter().all(|answer| answer.success), "{answers:?}");
    assert_eq!(received(&world).await, 110);
    let sent = world.lane_nonce(0).await;
    assert!(sent < 20, "{sent} transactions for 20 payments");
    let proofs: BTreeSet<_> =
        answers.iter().map(|answer| (&answer.transaction, answer.extra["logIndex"].to_string())).collect();
    assert_eq!(proofs.len(), 20, "each by an event of its own");
    for (request, answer) in requests.iter().zip(&answers) {
        assert_eq!(&engine.settle(request.clone()).await.unwrap(), answer, "told again the same");
        // And to whoever looks at the chain alone.
        let Payment::Permit2(permit) = Payment::check(request, None).unwrap() else { panic!("by Permit2") };
        let found = permit2::find_uses(&world.chain, &permit).await.unwrap();
        assert_eq!(found.iter().map(B256::to_string).collect::<Vec<_>>(), [answer.transaction.as_str()]);
    }
    assert_eq!((received(&world).await, world.lane_nonce(0).await), (110, sent));
}

#[tokio::test]
async fn permits_that_wait_together_fill_no_transaction_beyond_what_one_may_use() {
    let world = World::open().await;
    let engine = engine(&world).await;
    let payer = payer(&world, 10_000, 10_000).await;
    let requests = join_all((1..=60).map(|amount| pay(&world, &payer, SchemeName::EXACT, amount))).await;
    let answers = settle_all(&engine, &requests).await;
    assert!(answers.iter().all(|answer| answer.success), "{answers:?}");
    assert_eq!(received(&world).await, 1_830);
    let transactions: BTreeSet<_> = answers.iter().map(|answer| &answer.transaction).collect();
    assert!((2..60).contains(&transactions.len()), "{}", transactions.len());
    for hash in transactions {
        let sent = world.chain.raw("eth_getTransactionByHash", json!([hash])).await.unwrap();
        let gas = u64::from_str_radix(&sent["gas"].as_str().unwrap()[2..], 16).unwrap();
        assert!(gas <= 1 << 24, "{gas}");
    }
}

#[tokio::test]
async fn one_transfer_never_proves_two_permits_of_the_same_amount() {
    let world = World::open().await;
    let engine = engine(&world).await;
    let payer = payer(&world, 1_000, 1_000).await;
    let requests = join_all((0..8).map(|_| pay(&world, &payer, SchemeName::EXACT, 10))).await;
    let answers = settle_all(&engine, &requests).await;
    assert!(answers.iter().all(|answer| answer.success), "{answers:?}");
    assert_eq!(
        (received(&world).await, world.lane_nonce(0).await),
        (80, 8),
        "each in a transaction of its own"
    );
    let transactions: BTreeSet<_> = answers.iter().map(|answer| &answer.transaction).collect();
    assert_eq!(transactions.len(), 8);
}

#[tokio::test]
async fn a_permit_that_fails_in_company_takes_none_with_it() {
    let world = World::with(Mining::Manual).await;
    let engine = engine(&world).await;
    let mut payers = Vec::new();
    for _ in 0..6 {
        payers.push(payer(&world, 100, 100).await);
    }
    world.mine(1);
    let mut requests = Vec::new();
    for payer in &payers {
        let request = pay(&world, payer, SchemeName::EXACT, 10).await;
        assert!(engine.verify(request.clone()).await.unwrap().is_valid);
        requests.push(request);
    }
    // Older than ours, so it is included before: the payer takes the nonce away.
    let Payment::Permit2(permit) = Payment::check(&requests[2], None).unwrap() else { panic!("by Permit2") };
    let (word, bit) = (permit.permit.nonce >> 8, permit.permit.nonce & U256::from(255));
    let cancel = format!("3ff9dcb1{word:064x}{:064x}", U256::from(1) << bit.to::<usize>());
    send(&world, &payers[2], permit2::PERMIT2, hex::decode(cancel).unwrap().into()).await;
    for answer in settle_all(&engine, &requests).await {
        assert!(!answer.success, "nothing is included yet: {answer:?}");
    }
    let mut states = Vec::new();
    for _ in 0..1_500 {
        world.mine(1);
        states.clear();
        for request in &requests {
            let id = SettlementId::of(&Payment::check(request, None).unwrap().key());
            states.push(engine.settlement(id).await.unwrap().map(|found| found.state));
        }
        if states.iter().filter(|state| state.as_ref().is_some_and(crate::world::is_settled)).count() == 5 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let is_settled = |place: usize| states[place].as_ref().is_some_and(crate::world::is_settled);
    assert!((0..6).all(|place| is_settled(place) == (place != 2)), "{states:?}");
    assert_eq!(received(&world).await, 50);
    assert!(world.lane_nonce(0).await < 5, "they went together");
}
