//! `r402`, client and server, as its documentation uses it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use alloy_primitives::{Address, U256};
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use r402::evm::chain::{Eip155ChainReference, Eip155TokenDeployment, TokenDeploymentEip712};
use r402::evm::{
    AssetTransferMethod, Eip155AuthCapture, Eip155AuthCaptureClient, Eip155Exact, Eip155ExactClient,
    Eip155Upto, Eip155UptoClient,
};
use r402::http::server::{UptoActualAmount, X402Middleware};
use r402::http::{WithPayments, X402Client};
use r402::protocol::network::DeployedTokenAmount;
use r402::protocol::payment::{Base64Bytes, PriceTag, SettleResponse};
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::r402_extended::{declaring, extending};
use crate::{Facilitator, Result, Start, sold};

pub(crate) fn clients(start: &Start) -> Result<[reqwest_middleware::ClientWithMiddleware; 2]> {
    let client = |payments| reqwest::Client::new().with_payments(payments);
    Ok([client(payments(start)?), client(extending(payments(start)?, start)?)])
}

fn payments(start: &Start) -> Result<X402Client> {
    let signer = Arc::new(start.signer()?);
    Ok(X402Client::new()
        // The tokens of a development chain are not among those it knows.
        .disable_spend_controls()
        .register(Eip155ExactClient::new(Arc::clone(&signer)))
        .register(Eip155UptoClient::new(Arc::clone(&signer)))
        .register(Eip155AuthCaptureClient::new(signer)))
}

pub(crate) fn settlement(headers: &HeaderMap) -> Value {
    let read = headers.get("payment-response").and_then(|header| {
        let bytes = Base64Bytes::from(header.as_bytes()).decode().ok()?;
        let settled: SettleResponse = serde_json::from_slice(&bytes).ok()?;
        serde_json::to_value(settled).ok()
    });
    read.unwrap_or_default()
}

pub(crate) fn shop(start: &Start, facilitator: &Facilitator, url: &str) -> Result<Router> {
    let network = || start.network.parse();
    let x402 = X402Middleware::try_new(&facilitator.url)?
        .with_base_url(url.parse()?)
        .with_scheme(network()?, Eip155Exact)
        .with_scheme(network()?, Eip155Upto)
        .with_scheme(network()?, Eip155AuthCapture);
    let token = Eip155TokenDeployment {
        chain_reference: Eip155ChainReference::new(start.chain_id()?),
        address: start.token.address.parse()?,
        decimals: start.token.decimals,
        eip712: Some(TokenDeploymentEip712 {
            name: start.token.name.clone().into(),
            version: start.token.version.clone().into(),
        }),
    };
    let (payee, price) = (start.payee()?, start.price.parse::<U256>()?);
    let eip3009 = || Eip155Exact::price_tag(payee, token.amount(price), None);
    let tags: [(&'static str, PriceTag); 6] = [
        ("/exact-eip3009", eip3009()),
        ("/echo", eip3009()),
        ("/fails", eip3009()),
        (
            "/exact-permit2",
            Eip155Exact::price_tag(payee, token.amount(price), Some(AssetTransferMethod::Permit2)),
        ),
        ("/upto", Eip155Upto::price_tag(payee, token.amount(price))),
        ("/auth-capture", held(start, token.amount(price))?),
    ];
    let mut app = Router::new();
    for (path, declaring) in declaring(&x402, start, url)? {
        if facilitator.sells(path) {
            app = app
                .route(path, any(move |body| sold(path, body)).layer(declaring.with_price_tag(eip3009())?));
        }
    }
    for (path, tag) in tags {
        if facilitator.sells(path) {
            let charged = (path == "/upto").then(|| UptoActualAmount::new(start.charged.clone()));
            app = app.route(
                path,
                any(move |body| charged_less(path, body, charged.clone())).layer(x402.with_price_tag(tag)?),
            );
        }
    }
    Ok(app)
}

/// Its seller is told who may take what is held, and until when: neither is asked of the facilitator.
fn held(start: &Start, amount: DeployedTokenAmount<U256, Eip155TokenDeployment>) -> Result<PriceTag> {
    let operator: Address =
        start.capture_authorizer.as_ref().ok_or("a server needs captureAuthorizer")?.parse()?;
    let hour = 3_600 + SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let (payee, nobody) = (start.payee()?, Address::ZERO.into());
    Ok(Eip155AuthCapture::price_tag_from_deployment(
        payee,
        amount,
        operator.into(),
        hour,
        2 * hour,
        nobody,
        0,
        0,
        None,
    ))
}

async fn charged_less(path: &'static str, body: String, charged: Option<UptoActualAmount>) -> Response {
    let mut response = sold(path, body).await.into_response();
    if let Some(charged) = charged {
        response.extensions_mut().insert(charged);
    }
    response
}
