//! The published Rust facilitator behind its own HTTP routes, for benches.
//!
//!     peer-rust <rpc url> <poll interval, milliseconds>     with the keys in PEER_KEYS, separated by commas
//!
//! It is composed as the documentation of `x402-facilitator-local` shows: chain registry, scheme registry, routes.
//! Features `telemetry` are off: nothing is logged. One thing is not in its configuration and is set here: how
//! often the provider asks the node for a receipt, which is seven seconds unless somebody says otherwise.
//! The first line of standard output is the address. It serves until standard input ends.

use std::collections::HashMap;
use std::error::Error;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use alloy_provider::Provider;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use url::Url;
use x402_chain_eip155::V2Eip155Exact;
use x402_chain_eip155::chain::config::{Eip155ChainConfig, Eip155ChainConfigInner, EvmPrivateKey, RpcConfig};
use x402_chain_eip155::chain::{Eip155ChainProvider, Eip155ChainReference, Eip155MetaTransactionProvider};
use x402_facilitator_local::{FacilitatorLocal, handlers};
use x402_types::chain::{ChainId, ChainIdPattern, ChainProviderOps, ChainRegistry, FromConfig};
use x402_types::config::LiteralOrEnv;
use x402_types::scheme::{
    SchemeBlueprints, SchemeConfig, SchemeRegistry, X402SchemeFacilitator, X402SchemeFacilitatorBuilder,
};

/// What every anvil calls itself here.
const CHAIN_ID: u64 = 31_337;
/// What the published configuration says unless told otherwise.
const RECEIPT_TIMEOUT_SECONDS: u64 = 30;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(rpc_url), Some(poll_ms)) = (arguments.next(), arguments.next()) else {
        return Err("usage: peer-rust <rpc url> <poll interval, milliseconds>".into());
    };
    let config = Eip155ChainConfig {
        chain_reference: Eip155ChainReference::new(CHAIN_ID),
        inner: Eip155ChainConfigInner {
            eip1559: true,
            flashblocks: false,
            signers: keys()?,
            rpc: vec![RpcConfig {
                http: LiteralOrEnv::from_literal(rpc_url.parse::<Url>()?),
                rate_limit: None,
            }],
            receipt_timeout_secs: RECEIPT_TIMEOUT_SECONDS,
        },
    };
    let provider = Eip155ChainProvider::from_config(&config).await?;
    provider.inner().client().set_poll_interval(Duration::from_millis(poll_ms.parse()?));
    let chains = ChainRegistry::new(HashMap::from([(config.chain_id(), Chain(Arc::new(provider)))]));
    let schemes = vec![SchemeConfig {
        enabled: true,
        id: "v2-eip155-exact".to_owned(),
        chains: ChainIdPattern::wildcard("eip155"),
        config: None,
    }];
    let registry =
        SchemeRegistry::build(chains, SchemeBlueprints::new().and_register(V2Eip155Exact), &schemes);
    let app = handlers::routes().with_state(Arc::new(FacilitatorLocal::new(registry)));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, app).await?;
    Ok(())
}

/// The registry hands out references, and schemes are built for owners: the published server has such a type too.
struct Chain(Arc<Eip155ChainProvider>);

impl ChainProviderOps for Chain {
    fn signer_addresses(&self) -> Vec<String> {
        ChainProviderOps::signer_addresses(&self.0)
    }

    fn chain_id(&self) -> ChainId {
        self.0.chain_id()
    }
}

impl X402SchemeFacilitatorBuilder<&Chain> for V2Eip155Exact {
    fn build(
        &self,
        chain: &Chain,
        config: Option<serde_json::Value>,
    ) -> Result<Box<dyn X402SchemeFacilitator>, Box<dyn Error>> {
        X402SchemeFacilitatorBuilder::build(self, Arc::clone(&chain.0), config)
    }
}

fn keys() -> Result<Vec<LiteralOrEnv<EvmPrivateKey>>, Box<dyn Error>> {
    let keys = std::env::var("PEER_KEYS")?;
    keys.split(',').map(|key| Ok(LiteralOrEnv::from_literal(key.parse::<EvmPrivateKey>()?))).collect()
}
