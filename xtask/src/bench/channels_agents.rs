//! The agents of bench `channels`: each with a key of its own, money of its own and one channel, all to one receiver. Who
//! they are follows from their numbers, so that the process that opens their channels and the one that spends from them
//! need not talk.
//!
//! What they sign is hashed here from the contract's own type strings and not by the library that is measured: what its
//! sellers and the published ones both take is not only what we think of ourselves.

use alloy_sol_types::{SolCall, SolValue, sol};
use anyhow::{Context, Result, anyhow};
use tollway_core::Network;
use tollway_devnet::batch_settlement::{BATCH_SETTLEMENT, ERC3009_COLLECTOR};
use tollway_devnet::genesis;
use tollway_evm::eip712::Domain;
use tollway_evm::{Address, B256, Call, LocalSigner, Signer, U256};

use super::market::block_on;
use super::signed::secret;

/// The devnet's.
pub(super) const CHAIN_ID: u64 = 31_337;
/// What a request costs, atomic units: a tenth of a cent.
pub(super) const PRICE_ATOMIC: u64 = 1_000;
/// The same for people.
pub(super) const PRICE: &str = "$0.001";
/// What each agent puts in: more than any measurement spends.
pub(super) const DEPOSIT_ATOMIC: u64 = 100_000 * PRICE_ATOMIC;
/// The least that the contract takes, and the default of the published server.
pub(super) const WITHDRAW_DELAY_SECONDS: u32 = 900;
/// Nobody's address.
pub(super) const RECEIVER: Address = Address::repeat_byte(0x77);

sol! {
    #[derive(Debug)]
    struct ChannelConfig {
        address payer;
        address payerAuthorizer;
        address receiver;
        address receiverAuthorizer;
        address token;
        uint40 withdrawDelay;
        bytes32 salt;
    }

    struct Voucher { bytes32 channelId; uint128 maxClaimableAmount; }

    struct ReceiveWithAuthorization {
        address from;
        address to;
        uint256 value;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 nonce;
    }

    function deposit(ChannelConfig config, uint128 amount, address collector, bytes collectorData);
}

/// One of them.
#[derive(Debug)]
pub(super) struct Agent {
    key: LocalSigner,
    /// The channel's terms.
    pub(super) config: ChannelConfig,
    /// The channel's name on chain.
    pub(super) channel: B256,
}

/// What consents to claims for the receiver.
pub(super) fn authorizer() -> Result<LocalSigner> {
    secret("tollway bench receiver authorizer")
}

/// The same as a key in text.
pub(super) fn authorizer_key() -> Result<String> {
    Ok(format!("0x{}", authorizer()?.expose_hex().trim_start_matches("0x")))
}

/// What vouchers are signed for.
pub(super) fn domain() -> Result<Domain> {
    Domain::new(&Network::evm(CHAIN_ID), BATCH_SETTLEMENT, "x402 Batch Settlement", "1")
        .context("an EVM network")
}

/// The first `count` of them.
pub(super) fn agents(count: usize) -> Result<Vec<Agent>> {
    let (domain, authorizer) = (domain()?, authorizer()?.address());
    let all: Vec<usize> = (0..count).collect();
    spread(&all, |numbers| {
        numbers.iter().map(|number| Agent::new(*number, authorizer, &domain)).collect::<Result<Vec<_>>>()
    })
}

/// Runs `work` on a part of `all` for each core; what came of it, in order.
pub(super) fn spread<T: Sync, R: Send>(
    all: &[T],
    work: impl Fn(&[T]) -> Result<Vec<R>> + Sync,
) -> Result<Vec<R>> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let parts = std::thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> = all
            .chunks(all.len().div_ceil(threads).max(1))
            .map(|part| scope.spawn(move || work(part)))
            .collect();
        let parts =
            workers.into_iter().map(|worker| worker.join().map_err(|_| anyhow!("a thread broke off"))?);
        parts.collect::<Result<Vec<_>>>()
    })?;
    Ok(parts.into_iter().flatten().collect())
}

impl Agent {
    fn new(number: usize, authorizer: Address, domain: &Domain) -> Result<Self> {
        let key = secret(&format!("tollway bench agent {number}"))?;
        let payer = key.address();
        let config = ChannelConfig {
            payer,
            payerAuthorizer: payer,
            receiver: RECEIVER,
            receiverAuthorizer: authorizer,
            token: genesis::USDC,
            withdrawDelay: alloy_primitives::aliases::U40::from(WITHDRAW_DELAY_SECONDS),
            salt: B256::ZERO,
        };
        let channel = domain.digest(&config);
        Ok(Self { key, config, channel })
    }

    /// Who pays, and signs.
    pub(super) fn address(&self) -> Address {
        self.key.address()
    }

    /// The signature of a voucher, as it goes over the wire.
    pub(super) async fn voucher(&self, domain: &Domain, ceiling: u64) -> Result<String> {
        self.sign(&domain.preimage(&voucher(self.channel, ceiling))).await
    }

    /// The call that opens the channel, with money that the payer signed over (EIP-3009).
    pub(super) async fn opening(&self, token: &Domain) -> Result<Call> {
        let (salt, valid_before) = (U256::from(1), U256::from(u64::MAX));
        let nonce = alloy_primitives::keccak256((self.channel, salt).abi_encode());
        let authorization = ReceiveWithAuthorization {
            from: self.address(),
            to: ERC3009_COLLECTOR,
            value: U256::from(DEPOSIT_ATOMIC),
            validAfter: U256::ZERO,
            validBefore: valid_before,
            nonce,
        };
        let signature = alloy_primitives::hex::decode(self.sign(&token.preimage(&authorization)).await?)?;
        let data =
            (U256::ZERO, valid_before, salt, alloy_primitives::Bytes::from(signature)).abi_encode_params();
        let call = depositCall {
            config: self.config.clone(),
            amount: u128::from(DEPOSIT_ATOMIC),
            collector: ERC3009_COLLECTOR,
            collectorData: data.into(),
        };
        Ok(Call { to: BATCH_SETTLEMENT, data: call.abi_encode().into() })
    }

    /// The channel's terms, as payments write them.
    pub(super) fn config_json(&self) -> String {
        let ChannelConfig { payer, payerAuthorizer, receiver, receiverAuthorizer, token, salt, .. } =
            &self.config;
        format!(
            "{{\"payer\":\"{payer}\",\"payerAuthorizer\":\"{payerAuthorizer}\",\"receiver\":\"{receiver}\",\
             \"receiverAuthorizer\":\"{receiverAuthorizer}\",\"token\":\"{token}\",\"withdrawDelay\":\
             {WITHDRAW_DELAY_SECONDS},\"salt\":\"{salt}\"}}"
        )
    }

    async fn sign(&self, preimage: &[u8]) -> Result<String> {
        let mut signature = self.key.sign(preimage).await?.as_bytes();
        if signature[64] < 27 {
            signature[64] += 27;
        }
        Ok(alloy_primitives::hex::encode_prefixed(signature))
    }
}

/// What its signature is of.
pub(super) fn voucher_digest(domain: &Domain, channel: B256, ceiling: u64) -> B256 {
    domain.digest(&voucher(channel, ceiling))
}

fn voucher(channel: B256, ceiling: u64) -> Voucher {
    Voucher { channelId: channel, maxClaimableAmount: u128::from(ceiling) }
}

/// The ceilings of so many vouchers from the first request on, signed.
pub(super) fn sign_vouchers(agent: &Agent, domain: &Domain, count: usize) -> Result<Vec<(u64, String)>> {
    block_on(async {
        let mut vouchers = Vec::with_capacity(count);
        for number in 1..=count as u64 {
            let ceiling = number * PRICE_ATOMIC;
            vouchers.push((ceiling, agent.voucher(domain, ceiling).await?));
        }
        Ok(vouchers)
    })?
}

#[cfg(test)]
mod tests {
    use tollway_evm::{Signature, signature};

    use super::{agents, domain, sign_vouchers, voucher_digest};

    #[test]
    fn every_agent_has_a_channel_of_its_own_and_its_vouchers_are_its_own() {
        let (agents, domain) = (agents(3).unwrap(), domain().unwrap());
        assert_ne!(agents[0].channel, agents[1].channel);
        for (ceiling, text) in sign_vouchers(&agents[2], &domain, 2).unwrap() {
            let signature: Signature = text.parse().unwrap();
            let digest = voucher_digest(&domain, agents[2].channel, ceiling);
            let signer = signature::recover(digest, &signature).unwrap();
            assert_eq!(signer, agents[2].address());
        }
    }
}
