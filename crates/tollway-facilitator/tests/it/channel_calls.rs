//! What is done to channels, call by call on a chain, without an engine: rehearsed, sent, proved, and looked up.

use std::sync::Arc;
use std::time::Duration;

use alloy_rpc_types_eth::TransactionReceipt;
use serde_json::json;
use tollway_core::model::{FacilitatorRequest, PaymentRequired, PaymentRequirements};
use tollway_core::{
    Amount, Backing, BuyerChannel, BuyerChannelScheme, ChannelScheme, ChannelWitness, ClaimRow, Clock,
    JsonObject, Price, SellerScheme, SystemClock, Terms, X402Version,
};
use tollway_devnet::{Grant, genesis};
use tollway_evm::batch_settlement::{
    self, BatchSettlement, ChannelBuyer, ChannelConfig, WithdrawError, begin_withdrawal, end_withdrawal,
};
use tollway_evm::permit2::EIP2612_GAS_SPONSORING;
use tollway_evm::{
    Address, Call, LocalSigner, Payment, Signer, Transaction, U256, are_used, batch, find_uses, simulate,
};

use crate::world::{LANES, World, account};

const PATIENCE: Duration = Duration::from_secs(10);

struct Shop {
    world: World,
    authorizer: Arc<LocalSigner>,
    seller: BatchSettlement,
}

/// A buyer with a channel, and its payments.
struct Client {
    payer: LocalSigner,
    buyer: ChannelBuyer,
    channel: BuyerChannel,
}

impl Shop {
    async fn open() -> Self {
        let (world, authorizer) = (World::open().await, Arc::new(LocalSigner::random().unwrap()));
        let seller = BatchSettlement::new(world.assets())
            .with_key(authorizer.clone())
            .with_withdraw_delay_seconds(900);
        Self { world, authorizer, seller }
    }

    fn offer(&self, token: Address) -> PaymentRequirements {
        let terms = Terms {
            network: self.world.network.clone(),
            pay_to: self.world.payee.to_string(),
            max_timeout_seconds: 300,
        };
        let (asset, extra) = (token.to_string(), JsonObject::new());
        self.seller.offer(&Price::Asset { amount: Amount::from(10), asset, extra }, &terms).unwrap()
    }

    fn required(&self, offer: &PaymentRequirements) -> PaymentRequired {
        PaymentRequired {
            version: X402Version::V2,
            error: None,
            resource: None,
            accepts: vec![offer.clone()],
            extensions: self.seller.declare(offer, &[EIP2612_GAS_SPONSORING.to_owned()]),
            other: JsonObject::new(),
        }
    }

    fn client(&self, offer: &PaymentRequirements) -> Client {
        let payer = LocalSigner::random().unwrap();
        let grant = Grant { wei: U256::from(10u64.pow(18)), token_atomic: U256::from(1_000) };
        self.world.devnet.grant(payer.address(), grant);
        let buyer = ChannelBuyer::new(Arc::new(payer.clone()), self.world.assets())
            .allowances(Arc::new(self.world.chain.clone()))
            .witness(Arc::new(self.world.chain.clone()));
        let channel = BuyerChannelScheme::channel(&buyer, offer, 0).unwrap();
        Client { payer, buyer, channel }
    }

    async fn deposit(&self, client: &Client, offer: &PaymentRequirements, amount: u64) -> FacilitatorRequest {
        let (required, now) = (self.required(offer), SystemClock.now());
        let Client { buyer, channel, .. } = client;
        let deposit = buyer.sign_deposit(offer, channel, Amount::from(amount), now).await.unwrap();
        let ceiling = Amount::from(10);
        let payment = buyer.sign_voucher(&required, offer, channel, ceiling, Some(&deposit)).await.unwrap();
        FacilitatorRequest { payment, requirements: offer.clone() }
    }

    /// What the seller keeps of a voucher of so much, of which `total` was charged.
    async fn row(&self, client: &Client, offer: &PaymentRequirements, ceiling: u64, total: u64) -> ClaimRow {
        let (required, ceiling) = (self.required(offer), Amount::from(ceiling));
        let payment =
            client.buyer.sign_voucher(&required, offer, &client.channel, ceiling, None).await.unwrap();
        let said = self.seller.commitment(&payment, offer, SystemClock.now()).unwrap();
        assert!(said.is_proved && said.channel == client.channel.key);
        ClaimRow {
            terms: self.seller.terms(&payment).unwrap().clone(),
            signed: said.ceiling,
            proof: said.proof,
            total: Amount::from(total),
        }
    }

    async fn backing(&self, client: &Client) -> Backing {
        let channels = std::slice::from_ref(&client.channel.key);
        self.world.chain.backings(channels).await.unwrap()[0]
    }

    async fn send(&self, call: Call, gas_limit: u64) -> TransactionReceipt {
        let (chain, lane) = (&self.world.chain, account(LANES[0]));
        let transaction = Transaction {
            chain_id: chain.chain_id(),
            nonce: chain.nonce(lane.address()).await.unwrap(),
            to: call.to,
            value: U256::ZERO,
            data: call.data,
            gas_limit,
            max_fee_per_gas: 10_000_000_000,
            max_priority_fee_per_gas: 1_000_000_000,
        };
        let hash = chain.send_raw(&transaction.sign(&lane).await.unwrap().raw).await.unwrap();
        chain.receipt(hash).await.unwrap().unwrap()
    }

    /// Rehearses what is asked for, sends it and proves it: how much moved.
    async fn carry_out(&self, payment: &Payment) -> u128 {
        let lane = account(LANES[0]).address();
        let verdict = simulate(&self.world.chain, lane, &[payment]).await.unwrap().remove(0);
        assert!(verdict.is_ok(), "{verdict:?}");
        let receipt = self.send(payment.call(), payment.max_gas()).await;
        assert!(receipt.status() && payment.prove_in(logs(&receipt)).is_some());
        assert_eq!(are_used(&self.world.chain, &[payment]).await.unwrap(), [Some(true)]);
        let refused = simulate(&self.world.chain, lane, &[payment]).await.unwrap().remove(0).unwrap_err();
        assert!(payment.is_refused_as_used(&refused), "{refused}");
        payment.batch_settlement().unwrap().done_in(logs(&receipt)).unwrap().amount
    }

    async fn balance(&self, token: Address, of: Address) -> u64 {
        let data = format!("0x70a08231{:0>64}", format!("{of:x}"));
        let word = self.world.chain.raw("eth_call", json!([{ "to": token, "data": data }, "latest"])).await;
        serde_json::from_value::<U256>(word.unwrap()).unwrap().to()
    }
}

fn logs(receipt: &TransactionReceipt) -> impl Iterator<Item = (u64, &alloy_primitives::Log)> {
    receipt.inner.logs().iter().map(|log| (log.log_index.unwrap(), &log.inner))
}

fn config(client: &Client) -> ChannelConfig {
    ChannelConfig::read(&client.channel.terms).unwrap()
}

#[tokio::test]
async fn deposits_share_a_transaction_and_each_is_proved_by_its_own_events() {
    let shop = Shop::open().await;
    let offer = shop.offer(genesis::USDC);
    let mut payments = Vec::new();
    let clients = [shop.client(&offer), shop.client(&offer), shop.client(&offer)];
    for client in &clients {
        let request = shop.deposit(client, &offer, 100).await;
        let payment = Payment::check(&request, Some(SystemClock.now())).unwrap();
        assert_eq!(Payment::decode(&payment.encode()), Some(payment.clone()), "as a ledger keeps it");
        payments.push(payment);
    }
    let all: Vec<&Payment> = payments.iter().collect();
    assert!(all[0].may_share_with(all[1]) && all[0].key() != all[1].key());
    let lane = account(LANES[0]).address();
    let verdicts = simulate(&shop.world.chain, lane, &all).await.unwrap();
    assert!(verdicts.iter().all(Result::is_ok), "{verdicts:?}");
    // The second is left out: the others do not prove it.
    let receipt = shop.send(batch([payments[0].call(), payments[2].call()]), 2_000_000).await;
    let proofs: Vec<_> = all.iter().map(|payment| payment.prove_in(logs(&receipt))).collect();
    assert!(proofs[0].is_some() && proofs[1].is_none() && proofs[2].is_some() && proofs[0] != proofs[2]);
    assert_eq!(are_used(&shop.world.chain, &all).await.unwrap(), [Some(true), Some(false), Some(true)]);
    assert_eq!(find_uses(&shop.world.chain, all[2]).await.unwrap(), [receipt.transaction_hash]);
    assert!(find_uses(&shop.world.chain, all[1]).await.unwrap().is_empty());
    for (client, balance) in clients.iter().zip([100, 0, 100]) {
        assert_eq!(shop.backing(client).await.balance, Amount::from(balance));
    }
}

#[tokio::test]
async fn what_a_seller_asks_for_is_done_once_and_proved() {
    let shop = Shop::open().await;
    let offer = shop.offer(genesis::USDC);
    let clients = [shop.client(&offer), shop.client(&offer)];
    let mut rows = Vec::new();
    for (client, charged) in clients.iter().zip([7, 30]) {
        let request = shop.deposit(client, &offer, 100).await;
        assert_eq!(shop.carry_out(&Payment::check(&request, None).unwrap()).await, 100);
        rows.push(shop.row(client, &offer, 40, charged).await);
    }
    let claim = shop.seller.claim_request(&offer, &rows).await.unwrap();
    let claim = Payment::check(&claim, Some(SystemClock.now())).unwrap();
    assert_eq!(shop.carry_out(&claim).await, 0, "nothing moves yet");
    let receiver = shop.world.payee;
    let state = batch_settlement::receiver_state(&shop.world.chain, receiver, genesis::USDC).await.unwrap();
    assert_eq!((state.claimed, state.settled), (37, 0));
    assert_eq!(shop.backing(&clients[1]).await.claimed, Amount::from(30));

    let settle = Payment::check(&shop.seller.settle_request(&offer), None).unwrap();
    assert_eq!(shop.carry_out(&settle).await, 37);
    assert_eq!(shop.balance(genesis::USDC, receiver).await, 37);

    // A refund claims first what was charged since.
    let (row, backing) = (shop.row(&clients[0], &offer, 17, 17).await, shop.backing(&clients[0]).await);
    let refund = shop.seller.refund_request(&offer, &row, &backing, Amount::from(50)).await.unwrap();
    let refund = Payment::check(&refund, None).unwrap();
    assert_eq!(shop.carry_out(&refund).await, 50);
    let after = shop.backing(&clients[0]).await;
    assert_eq!((after.balance, after.claimed), (Amount::from(50), Amount::from(17)));
    assert_eq!(after.refund_nonce, Amount::from(1));
    assert_eq!(shop.balance(genesis::USDC, clients[0].payer.address()).await, 950);

    // Nobody gets a second refund by the first consent, nor one of more than there is.
    let again = shop.seller.refund_request(&offer, &row, &after, Amount::from(1_000)).await.unwrap();
    assert_eq!(shop.carry_out(&Payment::check(&again, None).unwrap()).await, 33);
    let unsigned = BatchSettlement::new(shop.world.assets());
    let unsigned = unsigned.claim_request(&offer, &rows).await.unwrap();
    let refusal = Payment::check(&unsigned, None).unwrap_err();
    assert!(refusal.code.as_str().ends_with("authorizer_not_configured"), "{refusal}");
    let key = shop.authorizer.as_ref() as &dyn Signer;
    let consented = batch_settlement::consented(&unsigned, Some(key)).await.unwrap().unwrap();
    assert_eq!(Payment::check(&consented, None).unwrap().key(), claim.key(), "the same claim");
}

#[tokio::test]
async fn a_claim_of_as_many_rows_as_there_may_be_is_rehearsed_and_looked_up_whole() {
    let shop = Shop::open().await;
    let offer = shop.offer(genesis::USDC);
    let client = shop.client(&offer);
    let mut rows = Vec::new();
    for index in 0..batch_settlement::MAX_CLAIMS {
        let channel = client.buyer.channel(&offer, u32::try_from(index).unwrap()).unwrap();
        let client = Client { channel, payer: client.payer.clone(), buyer: client.buyer.clone() };
        rows.push(shop.row(&client, &offer, 2, 1).await);
        let slot = alloy_primitives::keccak256(
            [config(&client).id(shop.world.chain.chain_id()).0, [0; 32]].as_flattened(),
        );
        let word = alloy_primitives::B256::from(U256::from(100));
        let at = json!([batch_settlement::SETTLEMENT, slot, word]);
        shop.world.chain.raw("anvil_setStorageAt", at).await.unwrap();
    }
    let claim = shop.seller.claim_request(&offer, &rows).await.unwrap();
    let claim = Payment::check(&claim, None).unwrap();
    assert!(claim.max_gas() < 1 << 24, "in one transaction: {}", claim.max_gas());
    assert_eq!(shop.carry_out(&claim).await, 0);
    let keys: Vec<_> = (0..250).map(|index| client.buyer.channel(&offer, index).unwrap().key).collect();
    let backings = shop.world.chain.backings(&keys).await.unwrap();
    assert!(backings.iter().all(|backing| backing.claimed == Amount::from(1)) && backings.len() == 250);
}

#[tokio::test]
async fn a_deposit_by_permit2_brings_its_approval_along_and_is_found_if_a_stranger_sends_it() {
    let shop = Shop::open().await;
    let offer = shop.offer(genesis::PERMIT_USD);
    let client = shop.client(&offer);
    let request = shop.deposit(&client, &offer, 100).await;
    assert!(request.payment.extensions[EIP2612_GAS_SPONSORING]["info"]["signature"].is_string());
    let payment = Payment::check(&request, Some(SystemClock.now())).unwrap();
    assert!(payment.is_alone() && payment.value() == U256::from(100));
    let lane = account(LANES[0]).address();
    let verdict = simulate(&shop.world.chain, lane, &[&payment]).await.unwrap().remove(0);
    assert!(verdict.is_ok(), "{verdict:?}");
    let receipt = shop.send(payment.call(), payment.max_gas()).await;
    assert_eq!(find_uses(&shop.world.chain, &payment).await.unwrap(), [receipt.transaction_hash]);
    assert!(payment.prove_in(logs(&receipt)).is_some());
    assert_eq!(shop.backing(&client).await.balance, Amount::from(100));
    // Another deposit of the same amount into the same channel is not this one.
    let other = shop.deposit(&client, &offer, 100).await;
    let other = Payment::check(&other, None).unwrap();
    assert!(find_uses(&shop.world.chain, &other).await.unwrap().is_empty());
    let mut wrong = request.clone();
    wrong.payment.extensions[EIP2612_GAS_SPONSORING]["info"]["amount"] = json!("99");
    let refusal = Payment::check(&wrong, None).unwrap_err();
    assert!(refusal.code.as_str().ends_with("evm_eip2612_amount_mismatch"), "{refusal}");
}

#[tokio::test]
async fn what_nobody_gives_back_is_withdrawn_after_the_delay_less_what_was_claimed() {
    let shop = Shop::open().await;
    let offer = shop.offer(genesis::USDC);
    let client = shop.client(&offer);
    let (chain, config, payer) = (&shop.world.chain, config(&client), &client.payer);
    let nothing = begin_withdrawal(chain, payer, &config, None, PATIENCE).await;
    assert!(matches!(nothing, Err(WithdrawError::NothingLeft)), "{nothing:?}");
    let request = shop.deposit(&client, &offer, 100).await;
    shop.carry_out(&Payment::check(&request, None).unwrap()).await;
    let row = shop.row(&client, &offer, 25, 25).await;

    let stranger = LocalSigner::random().unwrap();
    let refused = begin_withdrawal(chain, &stranger, &config, None, PATIENCE).await;
    assert!(matches!(refused, Err(WithdrawError::NotPayer { .. })), "{refused:?}");
    let early = end_withdrawal(chain, payer, &config, PATIENCE).await;
    assert!(matches!(early, Err(WithdrawError::NotBegun)), "{early:?}");
    let begun = begin_withdrawal(chain, payer, &config, None, PATIENCE).await.unwrap();
    assert_eq!(begun.amount, 100);
    assert!(shop.backing(&client).await.withdraw_requested_at.is_some());
    let again = begin_withdrawal(chain, payer, &config, None, PATIENCE).await;
    assert!(matches!(again, Err(WithdrawError::UnderWay { from, .. }) if from == begun.from), "{again:?}");
    let early = end_withdrawal(chain, payer, &config, PATIENCE).await;
    assert!(matches!(early, Err(WithdrawError::Early { from, .. }) if from == begun.from), "{early:?}");

    // The seller claims in the meantime.
    let claim = shop.seller.claim_request(&offer, &[row]).await.unwrap();
    shop.carry_out(&Payment::check(&claim, None).unwrap()).await;
    chain.raw("evm_increaseTime", json!([901])).await.unwrap();
    shop.world.mine(1);
    let back = end_withdrawal(chain, payer, &config, PATIENCE).await.unwrap();
    assert_eq!(back.amount, 75);
    assert_eq!(shop.balance(genesis::USDC, payer.address()).await, 975);
    assert_eq!(client.buyer.backing(&client.channel.key).await.unwrap(), Some(shop.backing(&client).await));
}
