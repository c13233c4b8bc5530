//! The chain of bench `channels` and the facilitator in front of it, in a process of their own: every agent's channel is
//! opened by a deposit that it signed, before any clock starts.
//!
//! Sellers ask the facilitator what stands behind a channel when they first see it. From then on nobody asks it anything
//! until the claim.

use std::sync::Arc;
use std::time::Duration;

use alloy_sol_types::{SolCall, SolValue, sol};
use anyhow::{Context, Result, ensure};
use axum::Router;
use serde_json::json;
use tollway_core::Network;
use tollway_devnet::batch_settlement::BATCH_SETTLEMENT;
use tollway_devnet::{ACCOUNTS, Config, Grant, Handle, genesis};
use tollway_evm::eip712::Domain;
use tollway_evm::{Address, B256, Call, Chain, LocalSigner, Transaction, U256, batch};
use tollway_facilitator::{Callers, Engine, NetworkSetup, router};

use super::channels_agents::{Agent, CHAIN_ID, DEPOSIT_ATOMIC, agents, spread};
use super::channels_parts::assets;
use super::child::announce;
use super::market::{block_on, serve};

/// Deposits in a transaction: about 130,000 gas each, and no transaction may use more than 2^24.
const OPENINGS: usize = 100;
const GAS_LIMIT: u64 = 1 << 24;
const GWEI: u128 = 1_000_000_000;
/// For an answer of the node.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);
/// The account that pays for the openings' gas.
const SENDER: usize = 0;
/// And the facilitator's.
const LANE: usize = 1;

sol! {
    function balanceOf(address account) returns (uint256);
}

/// The role of the process: the chain, so many channels, the facilitator. It says where both are.
pub(super) fn run(count: &str) -> Result<()> {
    let count = count.parse()?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let config = Config { base_fee_held: true, ..Config::default() };
        let devnet = tollway_devnet::spawn(config).await?;
        let chain = Chain::from_transport(devnet.transport(), &Network::evm(CHAIN_ID), DEADLINE)?;
        open(&devnet, &chain, count).await?;
        let (address, server) = serve(facilitator(chain).await?).await?;
        announce(&json!([devnet.rpc_url(), format!("http://{address}")]).to_string())?;
        server.await.context("the facilitator ended")
    })
}

/// Gives every agent its money and opens its channel with it.
async fn open(devnet: &Handle, chain: &Chain, count: usize) -> Result<()> {
    let token = Domain::new(&Network::evm(CHAIN_ID), genesis::USDC, "USDC", "2").context("an EVM network")?;
    let all = agents(count)?;
    for agent in &all {
        devnet.grant(agent.address(), Grant { wei: U256::ZERO, token_atomic: U256::from(DEPOSIT_ATOMIC) });
    }
    let calls = tokio::task::block_in_place(|| spread(&all, |part| openings(part, &token)))?;
    let mut sender = Sender::new(chain.clone()).await?;
    for chunk in calls.chunks(OPENINGS) {
        sender.send(batch(chunk.to_vec())).await?;
    }
    let deposited = U256::from(DEPOSIT_ATOMIC) * U256::from(count);
    ensure!(balance(chain, BATCH_SETTLEMENT).await? == deposited, "not every channel was opened");
    Ok(())
}

fn openings(agents: &[Agent], token: &Domain) -> Result<Vec<Call>> {
    block_on(async {
        let mut calls = Vec::with_capacity(agents.len());
        for agent in agents {
            calls.push(agent.opening(token).await?);
        }
        Ok(calls)
    })?
}

/// Sends transactions one after the other from an account with money for gas.
struct Sender {
    chain: Chain,
    signer: LocalSigner,
    nonce: u64,
}

impl Sender {
    async fn new(chain: Chain) -> Result<Self> {
        let signer = LocalSigner::from_hex(&ACCOUNTS[SENDER].secret_key.to_string())?;
        let nonce = chain.nonce(ACCOUNTS[SENDER].address).await?;
        Ok(Self { chain, signer, nonce })
    }

    async fn send(&mut self, call: Call) -> Result<()> {
        let transaction = Transaction {
            chain_id: CHAIN_ID,
            nonce: self.nonce,
            to: call.to,
            value: U256::ZERO,
            data: call.data,
            gas_limit: GAS_LIMIT,
            max_fee_per_gas: 100 * GWEI,
            max_priority_fee_per_gas: GWEI,
        };
        let raw = transaction.sign(&self.signer).await?.raw;
        let hash: B256 = self.chain.send_raw(&raw).await?;
        self.nonce += 1;
        let receipt = self.chain.receipt(hash).await?.context("a mined transaction has a receipt")?;
        ensure!(receipt.status(), "a transaction of bench channels failed");
        Ok(())
    }
}

/// What an account has of the token.
pub(super) async fn balance(chain: &Chain, account: Address) -> Result<U256> {
    let held = call(chain, genesis::USDC, balanceOfCall { account }.abi_encode()).await?;
    Ok(U256::abi_decode(&held)?)
}

/// What a contract answers.
async fn call(chain: &Chain, to: Address, data: Vec<u8>) -> Result<Vec<u8>> {
    let data = alloy_primitives::hex::encode_prefixed(data);
    let answer = chain.raw("eth_call", json!([{ "to": to, "data": data }, "latest"])).await?;
    Ok(alloy_primitives::hex::decode(answer.as_str().context("an answer in hex")?)?)
}

/// Ours, open to everybody, over HTTP.
async fn facilitator(chain: Chain) -> Result<Router> {
    let signer = LocalSigner::from_hex(&ACCOUNTS[LANE].secret_key.to_string())?;
    let setup = NetworkSetup { chain, assets: assets(), signers: vec![Arc::new(signer)] };
    let engine = Engine::builder().network(setup).start().await?;
    Ok(router(engine, Callers::open(None)))
}
