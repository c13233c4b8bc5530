//! A shop whose agents pay on channels, its facilitator, and the chain under both.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{B256, hex};
use alloy_sol_types::{SolCall, sol};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tollway_core::model::{
    FacilitatorRequest, PaymentRequired, PaymentRequirements, SettleResponse, VerifyResponse,
};
use tollway_core::{
    Amount, Backing, BuyerChannel, BuyerChannelScheme, ChannelKey, ChannelScheme, ChannelWitness, ClaimRow,
    Clock, ErrorCode, Facilitator, JsonObject, Price, SellerScheme, SystemClock, Terms, X402Version,
};
use tollway_devnet::genesis;
use tollway_evm::batch_settlement::{BatchSettlement, ChannelBuyer, ChannelConfig, SETTLEMENT};
use tollway_evm::{Address, Bytes, Call, LocalSigner, Signer, Transaction, U256};
use tollway_facilitator::{ChannelSetup, Engine, Limits};
use tollway_ledger::MemoryLedger;

use crate::world::{World, account, quick};

sol! {
    struct Channel {
        address payer;
        address payerAuthorizer;
        address receiver;
        address receiverAuthorizer;
        address token;
        uint40 withdrawDelay;
        bytes32 salt;
    }

    interface Settlement {
        function initiateWithdraw(Channel calldata config, uint128 amount) external;
    }

    interface Token {
        function balanceOf(address account) external view returns (uint256);
    }
}

/// Who sends what the facilitator does not.
pub(crate) const RIVAL: usize = 6;

pub(crate) struct Shop {
    pub(crate) world: World,
    pub(crate) ledger: MemoryLedger,
    pub(crate) engine: Engine,
    pub(crate) seller: BatchSettlement,
    pub(crate) offer: PaymentRequirements,
}

/// Who pays on one channel.
pub(crate) struct Agent {
    pub(crate) key: LocalSigner,
    pub(crate) buyer: ChannelBuyer,
    pub(crate) channel: BuyerChannel,
    pub(crate) config: ChannelConfig,
}

impl Shop {
    /// A shop that consents to its claims itself.
    pub(crate) async fn open() -> Self {
        Self::on(World::open().await, ChannelSetup::default(), |seller| seller).await
    }

    pub(crate) async fn on(
        world: World,
        setup: ChannelSetup,
        configure: impl Fn(BatchSettlement) -> BatchSettlement,
    ) -> Self {
        let (ledger, authorizer) = (MemoryLedger::new(), LocalSigner::random().unwrap());
        let engine = started(&world, &ledger, setup).await;
        let seller = BatchSettlement::new(world.assets());
        let seller = configure(seller.with_key(Arc::new(authorizer)));
        let offer = offer(&world, &seller, "USDC", 100);
        Self { world, ledger, engine, seller, offer }
    }

    /// An agent with so much of the token, and no channel yet.
    pub(crate) fn agent(&self, atomic: u64) -> Agent {
        self.agent_of(self.world.payer_with(atomic), &self.offer)
    }

    pub(crate) fn agent_of(&self, key: LocalSigner, offer: &PaymentRequirements) -> Agent {
        let buyer = ChannelBuyer::new(Arc::new(key.clone()), self.world.assets());
        let channel = buyer.channel(offer, 0).unwrap();
        let config = ChannelConfig::read(&channel.terms).unwrap();
        Agent { key, buyer, channel, config }
    }

    /// An agent whose channel holds so much.
    pub(crate) async fn paying(&self, deposit: u64) -> Agent {
        let agent = self.agent(deposit);
        let answer = self.settle(&self.deposit(&agent, deposit, 100).await).await;
        assert!(answer.success, "{answer:?}");
        agent
    }

    /// As many of them, put in together.
    pub(crate) async fn many(&self, count: usize, deposit: u64) -> Vec<Agent> {
        let agents: Vec<Agent> = (0..count).map(|_| self.agent(deposit)).collect();
        let requests = join_all(agents.iter().map(|agent| self.deposit(agent, deposit, 100))).await;
        let answers = join_all(requests.iter().map(|request| self.settle(request))).await;
        assert!(answers.iter().all(|answer| answer.success), "{answers:?}");
        agents
    }

    /// A deposit, with a voucher up to `ceiling`.
    pub(crate) async fn deposit(&self, agent: &Agent, amount: u64, ceiling: u64) -> FacilitatorRequest {
        self.deposit_under(&self.offer, agent, amount, ceiling).await
    }

    pub(crate) async fn deposit_under(
        &self,
        offer: &PaymentRequirements,
        agent: &Agent,
        amount: u64,
        ceiling: u64,
    ) -> FacilitatorRequest {
        let signed = agent.buyer.sign_deposit(offer, &agent.channel, amount.into(), SystemClock.now());
        let signed = signed.await.unwrap();
        let required = required(offer);
        let payment =
            agent.buyer.sign_voucher(&required, offer, &agent.channel, ceiling.into(), Some(&signed));
        FacilitatorRequest { payment: payment.await.unwrap(), requirements: offer.clone() }
    }

    pub(crate) async fn voucher(&self, agent: &Agent, ceiling: u64) -> FacilitatorRequest {
        let required = required(&self.offer);
        let payment = agent.buyer.sign_voucher(&required, &self.offer, &agent.channel, ceiling.into(), None);
        FacilitatorRequest { payment: payment.await.unwrap(), requirements: self.offer.clone() }
    }

    pub(crate) async fn refund_wish(
        &self,
        agent: &Agent,
        charged: u64,
        amount: Option<u64>,
    ) -> FacilitatorRequest {
        let required = required(&self.offer);
        let amount = amount.map(Amount::from);
        let payment = agent.buyer.sign_refund(&required, &self.offer, &agent.channel, charged.into(), amount);
        FacilitatorRequest { payment: payment.await.unwrap(), requirements: self.offer.clone() }
    }

    /// What the seller has of a channel: a voucher up to `signed`, of which `total` is charged.
    pub(crate) async fn row(&self, agent: &Agent, signed: u64, total: u64) -> ClaimRow {
        let voucher = self.voucher(agent, signed).await;
        let proof = voucher.payment.payload["voucher"]["signature"].as_str().unwrap().to_owned();
        let terms = agent.channel.terms.clone();
        ClaimRow { terms, signed: signed.into(), proof, total: total.into() }
    }

    pub(crate) async fn claim(&self, rows: &[ClaimRow]) -> FacilitatorRequest {
        self.seller.claim_request(&self.offer, rows).await.unwrap()
    }

    pub(crate) fn pay_out(&self) -> FacilitatorRequest {
        self.seller.settle_request(&self.offer)
    }

    /// A refund as the seller completes it.
    pub(crate) async fn refund(&self, agent: &Agent, charged: u64, amount: u64) -> FacilitatorRequest {
        let (row, backing) = (self.row(agent, charged, charged).await, self.backing(agent).await);
        self.seller.refund_request(&self.offer, &row, &backing, amount.into()).await.unwrap()
    }

    pub(crate) async fn verify(&self, request: &FacilitatorRequest) -> VerifyResponse {
        self.engine.verify(request.clone()).await.unwrap()
    }

    pub(crate) async fn settle(&self, request: &FacilitatorRequest) -> SettleResponse {
        self.engine.settle(request.clone()).await.unwrap()
    }

    /// What the chain says of the agent's channel.
    pub(crate) async fn backing(&self, agent: &Agent) -> Backing {
        let channels = std::slice::from_ref(&agent.channel.key);
        self.world.chain.backings(channels).await.unwrap()[0]
    }

    pub(crate) async fn held(&self, agent: &Agent) -> (u64, u64) {
        let backing = self.backing(agent).await;
        (backing.balance.atomic().to(), backing.claimed.atomic().to())
    }

    pub(crate) async fn tokens_of(&self, holder: Address) -> u64 {
        let data = Bytes::from(Token::balanceOfCall { account: holder }.abi_encode());
        let word = self.world.chain.raw("eth_call", json!([{ "to": genesis::USDC, "data": data }, "latest"]));
        serde_json::from_value::<U256>(word.await.unwrap()).unwrap().to()
    }

    /// Every token is somewhere: what channels hold, claimed and not, is what the contract has.
    pub(crate) async fn is_conserved(&self, agents: &[Agent], paid_out: u64) -> bool {
        let mut held = 0;
        for agent in agents {
            held += self.held(agent).await.0;
        }
        self.tokens_of(SETTLEMENT).await + paid_out == held
    }

    /// The agent asks for its money back without the seller.
    pub(crate) async fn withdraw(&self, agent: &Agent, amount: u128) {
        let config = &agent.config;
        let config = Channel {
            payer: config.payer,
            payerAuthorizer: config.payer_authorizer,
            receiver: config.receiver,
            receiverAuthorizer: config.receiver_authorizer,
            token: config.token,
            withdrawDelay: alloy_primitives::aliases::U40::from(config.withdraw_delay_seconds),
            salt: config.salt,
        };
        let wei = U256::from(10u64.pow(18));
        let grant = tollway_devnet::Grant { wei, token_atomic: U256::ZERO };
        self.world.devnet.grant(agent.key.address(), grant);
        let data = Settlement::initiateWithdrawCall { config, amount }.abi_encode();
        send(&self.world, &agent.key, Call { to: SETTLEMENT, data: data.into() }).await;
    }

    /// A stranger sends the order's own call.
    pub(crate) async fn front_run(&self, request: &FacilitatorRequest) -> B256 {
        let order = tollway_evm::Payment::check(request, None).unwrap();
        send(&self.world, &account(RIVAL), order.call()).await
    }
}

pub(crate) async fn started(world: &World, ledger: &MemoryLedger, setup: ChannelSetup) -> Engine {
    let builder = world.engine(ledger).limits(patient());
    builder.batch_settlement(world.network.clone(), setup).start().await.unwrap()
}

pub(crate) fn patient() -> Limits {
    // The devnet runs hundreds of claims on the test's own thread: no process is taken for dead over that.
    let member_ttl = Duration::from_secs(60);
    Limits { settle_deadline: Duration::from_secs(20), member_ttl, ..quick() }
}

pub(crate) fn offer(
    world: &World,
    seller: &BatchSettlement,
    symbol: &str,
    amount: u64,
) -> PaymentRequirements {
    let terms =
        Terms { network: world.network.clone(), pay_to: world.payee.to_string(), max_timeout_seconds: 300 };
    let assets = world.assets();
    let asset = assets.iter().find(|asset| asset.symbol == symbol).unwrap().address.to_string();
    let price = Price::Asset { amount: Amount::from(amount), asset, extra: JsonObject::new() };
    seller.offer(&price, &terms).unwrap()
}

pub(crate) fn required(offer: &PaymentRequirements) -> PaymentRequired {
    PaymentRequired {
        version: X402Version::V2,
        error: None,
        resource: None,
        accepts: vec![offer.clone()],
        extensions: JsonObject::new(),
        other: JsonObject::new(),
    }
}

/// A transaction of somebody else's.
pub(crate) async fn send(world: &World, sender: &LocalSigner, call: Call) -> B256 {
    let transaction = Transaction {
        chain_id: world.devnet.chain_id(),
        nonce: world.chain.nonce(sender.address()).await.unwrap(),
        to: call.to,
        value: U256::ZERO,
        data: call.data,
        gas_limit: 1_000_000,
        max_fee_per_gas: 10_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
    };
    let signed = transaction.sign(sender).await.unwrap();
    let hash = world.chain.send_raw(&signed.raw).await.unwrap();
    let receipt = world.chain.receipt(hash).await.unwrap();
    assert!(receipt.is_none_or(|receipt| receipt.status()), "{hash}");
    hash
}

/// Why nothing was done.
pub(crate) fn refused(answer: &SettleResponse) -> ErrorCode {
    assert!(!answer.success && answer.transaction.is_empty(), "{answer:?}");
    answer.error_reason.clone().unwrap()
}

pub(crate) fn state<'a>(answer: &'a SettleResponse, field: &str) -> &'a Value {
    &answer.extra["channelState"][field]
}

/// The payload with something else in it.
pub(crate) fn with(request: &FacilitatorRequest, path: &str, value: Value) -> FacilitatorRequest {
    let mut request = request.clone();
    let mut payload = Value::Object(std::mem::take(&mut request.payment.payload));
    *payload.pointer_mut(path).unwrap_or_else(|| panic!("no {path}")) = value;
    request.payment.payload = payload.as_object().cloned().unwrap();
    request
}

/// A key's signature of something else.
pub(crate) async fn strangers_signature() -> String {
    let signed = LocalSigner::random().unwrap().sign(b"something else").await.unwrap();
    hex::encode_prefixed(signed.as_bytes())
}

pub(crate) fn key_of(agent: &Agent) -> ChannelKey {
    agent.channel.key.clone()
}
