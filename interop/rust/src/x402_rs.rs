//! `x402-reqwest`, `x402-axum` and `x402-facilitator-local`, as their documentation uses them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::U256;
use alloy_provider::Provider;
use axum::Router;
use axum::routing::any;
use reqwest::header::HeaderMap;
use serde_json::Value;
use url::Url;
use x402_axum::X402Middleware;
use x402_chain_eip155::chain::config::{Eip155ChainConfig, Eip155ChainConfigInner, EvmPrivateKey, RpcConfig};
use x402_chain_eip155::chain::{
    AssetTransferMethod, Eip155ChainProvider, Eip155ChainReference, Eip155MetaTransactionProvider,
    Eip155TokenDeployment,
};
use x402_chain_eip155::{
    V1Eip155Exact, V1Eip155ExactClient, V2Eip155Exact, V2Eip155ExactClient, V2Eip155Upto, V2Eip155UptoClient,
};
use x402_facilitator_local::{FacilitatorLocal, handlers};
use x402_reqwest::{ReqwestWithPayments, ReqwestWithPaymentsBuild, X402Client};
use x402_types::chain::{
    ChainId, ChainIdPattern, ChainProviderOps, ChainRegistry, DeployedTokenAmount, FromConfig,
};
use x402_types::config::LiteralOrEnv;
use x402_types::proto::SettleResponse;
use x402_types::scheme::{
    SchemeBlueprints, SchemeConfig, SchemeRegistry, X402SchemeFacilitator, X402SchemeFacilitatorBuilder,
};
use x402_types::util::Base64Bytes;

use crate::{Facilitator, Result, Start, sold};

/// What the published configuration says unless told otherwise.
const RECEIPT_TIMEOUT_SECONDS: u64 = 30;

pub(crate) fn client(start: &Start) -> Result<reqwest_middleware::ClientWithMiddleware> {
    let signer = Arc::new(start.signer()?);
    let payments = X402Client::new()
        .register(V2Eip155ExactClient::new(Arc::clone(&signer)))
        .register(V2Eip155UptoClient::new(Arc::clone(&signer)))
        .register(V1Eip155ExactClient::new(signer));
    Ok(reqwest::Client::new().with_payments(payments).build())
}

pub(crate) fn settlement(headers: &HeaderMap) -> Value {
    let header = headers.get("payment-response").or_else(|| headers.get("x-payment-response"));
    let read = header.and_then(|header| {
        let bytes = Base64Bytes::from(header.as_bytes()).decode().ok()?;
        let settled: SettleResponse = serde_json::from_slice(&bytes).ok()?;
        serde_json::to_value(settled).ok()
    });
    read.unwrap_or_default()
}

pub(crate) fn shop(start: &Start, facilitator: &Facilitator, url: &str) -> Result<Router> {
    let x402 = X402Middleware::try_new(&facilitator.url)?.with_base_url(url.parse()?);
    let payee = start.payee()?;
    let (name, version) = (start.token.name.clone(), start.token.version.clone());
    let eip3009 = AssetTransferMethod::Eip3009 { name: name.clone(), version: version.clone() };
    let permit2 = AssetTransferMethod::Permit2 { name, version };
    let chain_reference = Eip155ChainReference::new(start.chain_id()?);
    let (address, amount) = (start.token.address.parse()?, start.price.parse::<U256>()?);
    let costs = |transfer_method: &AssetTransferMethod| DeployedTokenAmount {
        amount,
        token: Eip155TokenDeployment {
            chain_reference,
            address,
            decimals: start.token.decimals,
            transfer_method: transfer_method.clone(),
        },
    };
    let mut app = Router::new();
    for path in ["/exact-eip3009", "/exact-permit2", "/upto", "/v1", "/echo", "/fails"] {
        if !facilitator.sells(path) {
            continue;
        }
        let sold = any(move |body| sold(path, body));
        let sold = match path {
            "/v1" => sold.layer(x402.with_price_tag(V1Eip155Exact::price_tag(payee, costs(&eip3009)))),
            "/upto" => sold.layer(x402.with_price_tag(V2Eip155Upto::price_tag(payee, costs(&permit2)))),
            "/exact-permit2" => {
                sold.layer(x402.with_price_tag(V2Eip155Exact::price_tag(payee, costs(&permit2))))
            }
            _ => sold.layer(x402.with_price_tag(V2Eip155Exact::price_tag(payee, costs(&eip3009)))),
        };
        app = app.route(path, sold);
    }
    Ok(app)
}

pub(crate) async fn facilitator(start: &Start) -> Result<Router> {
    let signers = start.keys.iter().map(|key| Ok(LiteralOrEnv::from_literal(key.parse::<EvmPrivateKey>()?)));
    let config = Eip155ChainConfig {
        chain_reference: Eip155ChainReference::new(start.chain_id()?),
        inner: Eip155ChainConfigInner {
            eip1559: true,
            flashblocks: false,
            signers: signers.collect::<Result<_>>()?,
            rpc: vec![RpcConfig {
                http: LiteralOrEnv::from_literal(start.rpc.parse::<Url>()?),
                rate_limit: None,
            }],
            receipt_timeout_secs: RECEIPT_TIMEOUT_SECONDS,
        },
    };
    let provider = Eip155ChainProvider::from_config(&config).await?;
    // Not in its configuration: seven seconds, unless somebody says otherwise.
    provider.inner().client().set_poll_interval(Duration::from_millis(start.poll_ms.unwrap_or(100)));
    let chains = ChainRegistry::new(HashMap::from([(config.chain_id(), Chain(Arc::new(provider)))]));
    let scheme = |id: &str| SchemeConfig {
        enabled: true,
        id: id.to_owned(),
        chains: ChainIdPattern::wildcard("eip155"),
        config: None,
    };
    let schemes = ["v1-eip155-exact", "v2-eip155-exact", "v2-eip155-upto"].map(scheme).to_vec();
    let blueprints = SchemeBlueprints::new()
        .and_register(V1Eip155Exact)
        .and_register(V2Eip155Exact)
        .and_register(V2Eip155Upto);
    let registry = SchemeRegistry::build(chains, blueprints, &schemes);
    Ok(handlers::routes().with_state(Arc::new(FacilitatorLocal::new(registry))))
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

macro_rules! builds {
    ($($scheme:ty),+) => {$(
        impl X402SchemeFacilitatorBuilder<&Chain> for $scheme {
            fn build(&self, chain: &Chain, config: Option<Value>) -> Result<Box<dyn X402SchemeFacilitator>> {
                X402SchemeFacilitatorBuilder::build(self, Arc::clone(&chain.0), config)
            }
        }
    )+};
}

builds!(V1Eip155Exact, V2Eip155Exact, V2Eip155Upto);
