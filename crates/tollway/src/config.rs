//! The facilitator's configuration: the documented default file, then the operator's file, then the
//! environment. Parsed once; every fault is told at once, and is fatal.

mod access;
mod auth_capture;
mod batch_settlement;
mod inclusion;
mod limits;
mod nodes;
mod outcomes;
mod sponsoring;
mod telemetry;

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use figment::Figment;
use figment::providers::{Env, Format, Toml};
use serde::Deserialize;
use tollway_core::Network;
use tollway_evm::{Address, Asset, AssetTable, Signer, TransferMethod};
use tollway_facilitator::{
    AuthCaptureSetup, Callers, ChannelSetup, EngineBuilder, Limits, NetworkSetup, Profile, ScoreLimits,
    Sponsoring,
};

use self::access::{CallerConfig, StrangersConfig};
use self::auth_capture::AuthCaptureConfig;
use self::batch_settlement::BatchSettlementConfig;
use self::inclusion::ThresholdConfig;
use self::limits::LimitsConfig;
use self::nodes::{NodeConfig, NodesConfig};
use self::outcomes::{DeliveryConfig, ScoreConfig, WebhookConfig};
use self::sponsoring::SponsoringConfig;
use crate::dev_assets::with_dev_assets;
use crate::signing::{SourceText, Unlock, read_secret};

pub(crate) use self::outcomes::Outcomes;
pub(crate) use self::telemetry::{LogFormat, TelemetryConfig};

/// No token has more decimals than fit a price.
const MAX_DECIMALS: u8 = 30;

/// Every key with its default, documented.
pub(crate) const DEFAULT_FILE: &str = include_str!("../config/facilitator.toml");

/// The facilitator's configuration.
// tidy: config crates/tollway/config/facilitator.toml
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FacilitatorConfig {
    pub(crate) listen: String,
    pub(crate) name: String,
    pub(crate) ledger: String,
    open: bool,
    strangers: StrangersConfig,
    #[serde(default)]
    callers: Vec<CallerConfig>,
    #[serde(default)]
    webhooks: Vec<WebhookConfig>,
    delivery: DeliveryConfig,
    score: ScoreConfig,
    auth_capture: AuthCaptureConfig,
    pub(crate) telemetry: TelemetryConfig,
    limits: LimitsConfig,
    #[serde(default)]
    networks: Vec<NetworkConfig>,
}

// tidy: config crates/tollway/config/facilitator.toml
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NetworkConfig {
    network: String,
    rpc_url: Option<String>,
    #[serde(default)]
    rpc_urls: Vec<NodeConfig>,
    max_lag_blocks: Option<u64>,
    check_ms: Option<u64>,
    keys: Vec<SourceText>,
    #[serde(default)]
    assets: Vec<String>,
    #[serde(default)]
    tokens: Vec<TokenConfig>,
    inclusion: Option<String>,
    final_depth: Option<u64>,
    #[serde(default)]
    thresholds: Vec<ThresholdConfig>,
    sponsoring: Option<SponsoringConfig>,
    batch_settlement: Option<BatchSettlementConfig>,
}

// tidy: config crates/tollway/config/facilitator.toml
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenConfig {
    symbol: String,
    address: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
    decimals: u8,
    #[serde(default)]
    transfer_method: TransferConfig,
}

impl TokenConfig {
    /// Whether payers sign under its own EIP-712 domain.
    const fn needs_domain(&self) -> bool {
        matches!(self.transfer_method, TransferConfig::Eip3009)
    }
}

/// How a token moves.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TransferConfig {
    #[default]
    Eip3009,
    Permit2,
}

/// What the program runs with: everything read, nothing started.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) networks: Vec<ServedNetwork>,
    pub(crate) callers: Callers,
    pub(crate) outcomes: Outcomes,
    pub(crate) score: ScoreLimits,
    pub(crate) auth_capture: AuthCaptureSetup,
}

/// A network, and how it is settled on.
#[derive(Debug)]
pub(crate) struct ServedNetwork {
    setup: NetworkSetup,
    profile: Profile,
    sponsoring: Option<Sponsoring>,
    channels: Option<ChannelSetup>,
}

impl ServedNetwork {
    /// An engine that serves it too.
    pub(crate) fn add_to(self, builder: EngineBuilder) -> EngineBuilder {
        let network = self.setup.chain.network().clone();
        let builder = builder.profile(network.clone(), self.profile).network(self.setup);
        let builder = match self.channels {
            Some(channels) => builder.batch_settlement(network.clone(), channels),
            None => builder,
        };
        match self.sponsoring {
            Some(sponsoring) => builder.sponsoring(network, sponsoring),
            None => builder,
        }
    }
}

/// Every fault of a configuration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has faults:{}", .0.iter().map(|fault| format!("\n  - {fault}")).collect::<String>())]
pub(crate) struct ConfigError(pub(crate) Vec<String>);

impl FacilitatorConfig {
    /// Reads the defaults, then `file`, then `TOLLWAY_FACILITATOR__…`.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let mut figment = Figment::from(Toml::string(DEFAULT_FILE));
        if let Some(file) = file {
            let read = std::fs::read_to_string(file);
            if let Err(error) = read {
                return Err(ConfigError(vec![format!("cannot read {}: {error}", file.display())]));
            }
            figment = figment.merge(Toml::file_exact(file));
        }
        figment
            .merge(Env::prefixed("TOLLWAY_FACILITATOR__").split("__"))
            .extract()
            .map_err(|errors| ConfigError(errors.into_iter().map(|error| fault(&error)).collect()))
    }

    /// Reads all that the configuration points to. All faults at once.
    pub(crate) async fn setup(&self, unlock: &Unlock) -> Result<Setup, ConfigError> {
        let mut faults = self.telemetry.faults();
        faults.extend(crate::ledger::fault(&self.ledger));
        let callers = access::callers(self.open, &self.strangers, &self.callers, &mut faults);
        let outcomes = outcomes::outcomes(&self.webhooks, &self.delivery, &self.callers, &mut faults);
        let auth_capture = self.auth_capture.setup(&mut faults);
        let score = self.score.limits();
        faults.extend(score.faults());
        faults.extend(outcomes.faults());
        match (self.limits(), self.networks(unlock).await) {
            (Ok(limits), Ok(networks)) if faults.is_empty() => {
                Ok(Setup { limits, networks, callers, outcomes, score, auth_capture })
            }
            (limits, networks) => {
                faults.extend(limits.err().map(|error| error.0).unwrap_or_default());
                faults.extend(networks.err().map(|error| error.0).unwrap_or_default());
                Err(ConfigError(faults))
            }
        }
    }

    /// The engine's limits. All faults at once.
    pub(crate) fn limits(&self) -> Result<Limits, ConfigError> {
        let mut faults = Vec::new();
        let limits = self.limits.limits(&mut faults);
        if faults.is_empty() { Ok(limits) } else { Err(ConfigError(faults)) }
    }

    /// The networks, with their keys read. All faults at once.
    pub(crate) async fn networks(&self, unlock: &Unlock) -> Result<Vec<ServedNetwork>, ConfigError> {
        let mut faults = Vec::new();
        if self.networks.is_empty() {
            faults.push("networks: at least one [[networks]] table is required".to_owned());
        }
        let mut setups = Vec::new();
        for (index, config) in self.networks.iter().enumerate() {
            let at = format!("networks[{index}]");
            for caller in config.batch_settlement.iter().flat_map(BatchSettlementConfig::callers) {
                if !self.callers.iter().any(|known| known.name == caller) {
                    faults.push(format!("{at}.batch_settlement.refunds_for: no caller is named {caller:?}"));
                }
            }
            match config.setup(self.limits.rpc_deadline(), unlock).await {
                Ok(setup) => setups.push(setup),
                Err(found) => faults.extend(found.into_iter().map(|fault| format!("{at}.{fault}"))),
            }
        }
        if faults.is_empty() { Ok(setups) } else { Err(ConfigError(faults)) }
    }
}

/// Without the URLs, which may hold keys.
impl std::fmt::Debug for NetworkConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NetworkConfig").field("network", &self.network).finish_non_exhaustive()
    }
}

impl NetworkConfig {
    async fn setup(&self, rpc_deadline: Duration, unlock: &Unlock) -> Result<ServedNetwork, Vec<String>> {
        let mut faults = Vec::new();
        let network = self.network.parse::<Network>().ok().filter(|network| network.evm_chain_id().is_some());
        if network.is_none() {
            faults.push(format!(
                "network: must be an EVM network like \"eip155:8453\", not {:?}",
                self.network
            ));
        }
        if self.keys.is_empty() {
            faults.push("keys: at least one is required".to_owned());
        }
        let mut signers: Vec<Arc<dyn Signer>> = Vec::new();
        for (index, source) in self.keys.iter().enumerate() {
            match unlock.open(source).await {
                Ok(signer) => signers.push(signer),
                Err(fault) => faults.push(format!("keys[{index}]: {fault:#}")),
            }
        }
        let Some(network) = network else { return Err(faults) };
        let assets = self.assets(&network, &mut faults);
        let (inclusion, thresholds) = (self.inclusion.as_deref(), &self.thresholds);
        let profile = inclusion::profile(&network, inclusion, self.final_depth, thresholds, &mut faults);
        let sponsoring = self.sponsoring.as_ref().map(|given| given.sponsoring(&mut faults));
        let channels = match &self.batch_settlement {
            Some(given) => Some(given.setup(unlock, &mut faults).await),
            None => None,
        };
        let nodes = NodesConfig {
            rpc_url: self.rpc_url.as_deref(),
            rpc_urls: &self.rpc_urls,
            max_lag_blocks: self.max_lag_blocks,
            check_ms: self.check_ms,
        };
        match nodes.chain(&network, rpc_deadline, &mut faults) {
            Some(chain) if faults.is_empty() => {
                let setup = NetworkSetup { chain, assets, signers };
                Ok(ServedNetwork { setup, profile, sponsoring, channels })
            }
            _ => Err(faults),
        }
    }

    fn assets(&self, network: &Network, faults: &mut Vec<String>) -> AssetTable {
        let known = match network.evm_chain_id() {
            Some(crate::dev_assets::DEV_CHAIN_ID) => with_dev_assets(crate::dev_assets::DEV_CHAIN_ID),
            _ => AssetTable::known(),
        };
        let mut all: Vec<Asset> = known.iter().filter(|asset| &asset.network == network).cloned().collect();
        for (index, token) in self.tokens.iter().enumerate() {
            match token.address.parse::<Address>() {
                Ok(_) if token.decimals > MAX_DECIMALS => {
                    faults.push(format!("tokens[{index}].decimals: must be at most {MAX_DECIMALS}"));
                }
                Ok(_) if token.needs_domain() && (token.name.is_empty() || token.version.is_empty()) => {
                    let key = if token.name.is_empty() { "name" } else { "version" };
                    faults
                        .push(format!("tokens[{index}].{key}: is required, unless it moves through permit2"));
                }
                Ok(address) => all.push(Asset {
                    network: network.clone(),
                    symbol: token.symbol.clone(),
                    address,
                    name: token.name.clone(),
                    version: token.version.clone(),
                    decimals: token.decimals,
                    is_usd: false,
                    transfer_method: match token.transfer_method {
                        TransferConfig::Eip3009 => TransferMethod::Eip3009,
                        TransferConfig::Permit2 => TransferMethod::Permit2,
                    },
                }),
                Err(_) => faults.push(format!("tokens[{index}].address: must be 0x and 40 hex digits")),
            }
        }
        let is_named = |asset: &Asset, name: &str| {
            asset.symbol == name || asset.address.to_string().eq_ignore_ascii_case(name)
        };
        for (index, name) in self.assets.iter().enumerate() {
            if !all.iter().any(|asset| is_named(asset, name)) {
                faults.push(format!("assets[{index}]: no asset {name:?} is known on {network}"));
            }
        }
        all.into_iter()
            .filter(|asset| self.assets.is_empty() || self.assets.iter().any(|name| is_named(asset, name)))
            .fold(AssetTable::empty(), AssetTable::with)
    }
}

/// The key and what is wrong with it. The profile that figment puts before every key means nothing here.
fn fault(error: &figment::Error) -> String {
    let place = error.metadata.as_ref().map_or_else(String::new, |from| format!(" ({})", from.name));
    match error.path.join(".") {
        key if key.is_empty() => format!("{}{place}", error.kind),
        key => format!("{key}: {}{place}", error.kind),
    }
}

/// All there is to read, unless it is longer than `most`.
pub(crate) fn read_bounded(from: impl Read, most: usize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    from.take(limit).read_to_end(&mut bytes)?;
    anyhow::ensure!(bytes.len() <= most, "it is longer than {most} bytes");
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT_FILE, FacilitatorConfig, Unlock};

    fn parse(text: &str) -> Result<FacilitatorConfig, String> {
        let directory = std::env::temp_dir().join(format!("tollway-config-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join(format!("{:x}.toml", text.len()));
        std::fs::write(&file, text).unwrap();
        FacilitatorConfig::load(Some(&file)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_default_file_is_complete_and_is_what_the_library_defaults_to() {
        let config = FacilitatorConfig::load(None).unwrap();
        assert_eq!(config.limits().unwrap(), tollway_facilitator::Limits::default());
        for key in [
            "network",
            "rpc_url",
            "rpc_urls",
            "max_lag_blocks",
            "check_ms",
            "keys",
            "assets",
            "tokens",
            "symbol",
            "address",
            "name",
            "version",
            "decimals",
        ] {
            assert!(
                DEFAULT_FILE.contains(&format!("# {key} = "))
                    || DEFAULT_FILE.contains(&format!("networks.{key}]]")),
                "{key}"
            );
        }
    }

    #[test]
    fn an_unknown_key_is_a_fault_and_named() {
        let error = parse("lissten = \"x\"").unwrap_err();
        assert!(error.contains("lissten"), "{error}");
    }

    #[tokio::test]
    async fn all_faults_are_told_at_once() {
        let config = parse(
            "[[networks]]\nnetwork = \"base\"\nrpc_url = \"x\"\nkeys = [\"0x00\"]\n\
             [[networks]]\nnetwork = \"eip155:8453\"\nrpc_url = \"::\"\nkeys = []\nassets = [\"NOPE\"]\n\
             [[networks]]\nnetwork = \"eip155:987654\"\nkeys = [\"env:NOT_SET\"]\n\
             [[networks.tokens]]\nsymbol = \"A\"\naddress = \"0x1111111111111111111111111111111111111111\"\n\
             name = \"A\"\ndecimals = 6\n\
             [[networks.tokens]]\nsymbol = \"B\"\naddress = \"0x2222222222222222222222222222222222222222\"\n\
             decimals = 18\ntransfer_method = \"permit2\"",
        )
        .unwrap();
        let error = config.networks(&Unlock::default()).await.unwrap_err().to_string();
        for part in [
            "networks[0].network",
            "networks[0].keys[0]",
            "networks[1].keys",
            "networks[1].assets[0]",
            "networks[1].rpc_url",
            "networks[2].rpc_urls",
            "networks[2].tokens[0].version",
        ] {
            assert!(error.contains(part), "{part} in {error}");
        }
        assert!(!error.contains("tokens[1]"), "a token of permit2 needs no domain: {error}");
    }
}
