//! The wallet that the command line describes: the options that every command that pays has in common, and what they
//! make. What a command does with the wallet is its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use tollway_buyer::{Policy, PolicyFile, Tool, Wallet, WalletBuilder};
use tollway_core::{Amount, BoxFuture, Money, Network};
use tollway_evm::offer_receipt::Keys;
use tollway_evm::{Address, Chain, Signature, Signer, SignerError};
use url::Url;

use crate::arguments::{Misuse, dollars, name};
use crate::commands::approval;
use crate::commands::receipt::read_keys;
use crate::commands::reclaim::Kept;
use crate::commands::wallet_ledger::LedgerArgs;
use crate::dev_assets::{DEV_CHAIN_ID, with_dev_assets};
use crate::signing::{SourceText, Unlock};
use crate::terminal::TerminalApprover;
use crate::wallet::policy::read_policy;

/// Where the key is unless told otherwise.
const DEFAULT_KEY: &str = "env:TOLLWAY_KEY";

/// Whose money, and what may be done with it.
#[derive(Debug, clap::Args)]
pub(crate) struct PurseArgs {
    /// Where the key is: env:NAME, file:PATH, keystore:NAME, web3signer:URL/ADDRESS, aws-kms:KEY or gcp-kms:RESOURCE.
    #[arg(long, value_name = "SOURCE", default_value = DEFAULT_KEY)]
    key: SourceText,
    #[command(flatten)]
    unlock: Unlock,
    /// What may be paid: a policy file, see `tollway wallet policy check`. The options below can only take away from it.
    #[arg(long, value_name = "FILE", env = "TOLLWAY_POLICY")]
    policy: Option<PathBuf>,
    /// Who pays: an agent that the policy names.
    #[arg(long, value_name = "NAME", env = "TOLLWAY_AGENT", value_parser = name)]
    agent: Option<String>,
    /// Which of its tools asks for it, as the policy names tools.
    #[arg(long, value_name = "NAME", env = "TOLLWAY_TOOL", value_parser = name)]
    tool: Option<String>,
    /// The most one payment may cost, in dollars; $1 unless there is a policy.
    #[arg(long, value_name = "MONEY", value_parser = dollars)]
    max_amount: Option<Money>,
    /// Also pay in another asset, up to an atomic amount: NETWORK/ADDRESS=ATOMIC, such as
    /// eip155:8453/0x60a3…=50000.
    #[arg(long, value_name = "ASSET")]
    allow_asset: Vec<String>,
    /// Accept a 402 that names a resource at this host although another was requested.
    #[arg(long, value_name = "HOST")]
    trust_resource_host: Vec<String>,
    /// Pay only what is signed by who is paid, or by a key of --seller-keys.
    #[arg(long)]
    require_signed_offer: bool,
    /// Keys that are known to be of sellers: a JWK, a JWK set or a DID document.
    #[arg(long, value_name = "FILE")]
    seller_keys: Option<PathBuf>,
    /// A node of the payer's network: whether the contract Permit2 may move what is due is asked there, so that an approval can
    /// be signed beside the payment: a signature, which costs no gas, or a transaction that the facilitator sends, which costs
    /// what the account has for it, and nothing if it has nothing.
    #[arg(long, value_name = "URL")]
    rpc_url: Option<Url>,
    #[command(flatten)]
    at: LedgerArgs,
}

impl PurseArgs {
    /// The node of --rpc-url.
    pub(crate) async fn connect(&self) -> anyhow::Result<Option<Chain>> {
        match &self.rpc_url {
            Some(url) => approval::connect(url).await.map(Some),
            None => Ok(None),
        }
    }

    /// The wallet, still to be given its patience. Without a key it asks and never pays.
    pub(crate) async fn wallet(&self, chain: Option<&Chain>) -> anyhow::Result<WalletBuilder> {
        self.wallet_of(self.signer().await?, chain, self.rules()?).await
    }

    /// The same for agents who are yet to say who they are: it pays by [`Self::rules_of`], and by nothing before.
    pub(crate) async fn wallet_of_many(&self, chain: Option<&Chain>) -> anyhow::Result<WalletBuilder> {
        self.wallet_of(self.signer().await?, chain, Policy::default()).await
    }

    /// The key itself.
    pub(crate) async fn key(&self) -> anyhow::Result<Arc<dyn Signer>> {
        self.signer().await
    }

    /// Who pays, if it is one agent.
    pub(crate) fn agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }

    /// With which tool.
    pub(crate) fn tool(&self) -> Option<Tool> {
        self.tool.as_deref().map(Tool::new)
    }

    /// What --policy says.
    pub(crate) fn policy_file(&self) -> anyhow::Result<Option<PolicyFile>> {
        self.policy.as_deref().map(read_policy).transpose()
    }

    /// The same, which also pays sellers that hold the money first. What it signs for them is kept in `file`.
    pub(crate) async fn holding_wallet(
        &self,
        chain: Option<&Chain>,
        file: &Path,
    ) -> anyhow::Result<WalletBuilder> {
        let signer = self.signer().await?;
        let kept = Kept::new(Arc::clone(&signer), with_dev_assets(DEV_CHAIN_ID), file);
        Ok(self.wallet_of(signer, chain, self.rules()?).await?.scheme(Arc::new(kept)))
    }

    async fn wallet_of(
        &self,
        signer: Arc<dyn Signer>,
        chain: Option<&Chain>,
        rules: Policy,
    ) -> anyhow::Result<WalletBuilder> {
        let mut wallet = Wallet::builder()
            .signer(signer)
            .assets(with_dev_assets(DEV_CHAIN_ID))
            .seller_keys(read_keys(self.seller_keys.as_deref(), Keys::default())?)
            .policy(rules)
            .ledger(self.at.open().await?)
            .terminal(Arc::new(TerminalApprover::here()));
        if let Some(name) = self.at.name() {
            wallet = wallet.name(&name);
        }
        if let Some(chain) = chain {
            wallet = wallet.allowances(Arc::new(chain.clone())).chain(chain.clone());
        }
        Ok(wallet)
    }

    /// Whether anything says where the key is.
    pub(crate) fn has_key(&self) -> bool {
        !self.key.is(DEFAULT_KEY) || std::env::var_os("TOLLWAY_KEY").is_some()
    }

    /// The key is needed to pay, not to ask: a free URL and a dry run do without.
    async fn signer(&self) -> anyhow::Result<Arc<dyn Signer>> {
        if !self.has_key() {
            return Ok(Arc::new(NoKey));
        }
        self.unlock.open(&self.key).await.context("--key")
    }

    fn rules(&self) -> anyhow::Result<Policy> {
        self.rules_of(self.policy_file()?.as_ref(), self.agent())
    }

    /// What `agent` may pay: the policy's word, and over it the options, as a level of their own, the innermost. None of them
    /// allows what the policy does not.
    pub(crate) fn rules_of(&self, file: Option<&PolicyFile>, agent: Option<&str>) -> anyhow::Result<Policy> {
        let mut policy = match file {
            Some(file) => file.policy(agent)?.add_level("command"),
            None => Policy::default(),
        };
        if let Some(agent) = agent {
            policy = policy.for_agent(agent);
        }
        if let Some(tool) = &self.tool {
            policy = policy.for_tool(tool);
        }
        if let Some(cap) = &self.max_amount {
            policy = policy.cap_per_payment(cap.clone());
        }
        if self.require_signed_offer {
            policy = policy.require_signed_offers();
        }
        for host in &self.trust_resource_host {
            policy = policy.trust_resource_host(host);
        }
        for allowed in &self.allow_asset {
            let parse = || {
                let (asset, amount) = allowed.split_once('=')?;
                let (network, address) = asset.split_once('/')?;
                let network = network.parse::<Network>().ok()?;
                // The assets of EVM networks are contracts.
                let is_asset = network.evm_chain_id().is_none() || address.parse::<Address>().is_ok();
                is_asset.then_some((network, address, amount.parse::<Amount>().ok()?))
            };
            let Some((network, address, amount)) = parse() else {
                return Err(
                    Misuse(format!("--allow-asset {allowed:?}: must be NETWORK/ADDRESS=ATOMIC")).into()
                );
            };
            policy = policy.allow_asset(network, address, amount);
        }
        Ok(policy)
    }
}

/// Stands for a key that was not given.
#[derive(Debug)]
pub(crate) struct NoKey;

impl Signer for NoKey {
    fn address(&self) -> Address {
        Address::ZERO
    }

    fn sign<'a>(&'a self, _: &'a [u8]) -> BoxFuture<'a, Result<Signature, SignerError>> {
        let missing = "there is no key: set TOLLWAY_KEY, or say with --key where it is";
        Box::pin(std::future::ready(Err(SignerError::Remote(missing.to_owned()))))
    }
}
