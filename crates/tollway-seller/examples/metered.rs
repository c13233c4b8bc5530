//! Sells by what is used, on payment channels: a text stream priced by the word, and an article priced by the paragraph.
//!
//! Start `tollway demo --serve`, which prints the facilitator's URL and the network, then
//! `cargo run -p tollway-seller --example metered -- FACILITATOR_URL NETWORK PAY_TO TOKEN`, and read it with
//! `tollway pay --pay-on 5 http://127.0.0.1:4021/article`.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response, StatusCode};
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tollway_core::SchemeName;
use tollway_evm::batch_settlement::BatchSettlement;
use tollway_evm::{Asset, AssetTable, LocalSigner, TransferMethod};
use tollway_seller::{HttpFacilitator, Meter, PaidBody, Paywall};

const ARTICLE: [&str; 3] = [
    "A toll was asked where the road was kept, and nowhere else.",
    "Who came with an empty cart paid for the horse alone.",
    "The keeper wrote each of them down before he lifted the bar.",
];

/// Words as a model would make them, one event each, at two dollars for a million.
async fn words(Extension(meter): Extension<Meter>) -> Result<Response<PaidBody>, StatusCode> {
    let words = ARTICLE.iter().flat_map(|paragraph| paragraph.split(' '));
    let events = stream::iter(words).then(|word| async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok::<_, std::io::Error>(Bytes::from(format!("data: {word}\n\n")))
    });
    let mut answer = Response::new(Body::from_stream(events));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(meter.stream(answer, meter.tariff("$2", 1_000_000)?, |_| 1))
}

/// A tenth of a cent a paragraph: who has read enough pays for what was read.
async fn article(Extension(meter): Extension<Meter>) -> Result<Response<PaidBody>, StatusCode> {
    let paragraphs = ARTICLE.iter().map(|text| Ok::<_, std::io::Error>(Bytes::from(format!("{text}\n\n"))));
    let answer = Response::new(Body::from_stream(stream::iter(paragraphs)));
    Ok(meter.stream(answer, meter.tariff("$0.001", 1)?, |_| 1))
}

/// A dollar with the terms that development chains' have; known ones are in `AssetTable::known()`.
fn dollar(network: &str, token: &str) -> Result<AssetTable, Box<dyn Error>> {
    Ok(AssetTable::empty().with(Asset {
        network: network.parse()?,
        symbol: "USDC".to_owned(),
        address: token.parse()?,
        name: "USDC".to_owned(),
        version: "2".to_owned(),
        decimals: 6,
        is_usd: true,
        transfer_method: TransferMethod::Eip3009,
    }))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [facilitator, network, pay_to, token] = arguments.as_slice() else {
        return Err("usage: metered FACILITATOR_URL NETWORK PAY_TO TOKEN".into());
    };
    // Its key consents to claims and refunds; keep a real one where the wallet's are kept, and the ledger in a file.
    let scheme = BatchSettlement::new(dollar(network, token)?).with_key(Arc::new(LocalSigner::random()?));
    let paywall = Paywall::builder("http://127.0.0.1:4021")
        .scheme(scheme)
        .accept_by(SchemeName::BATCH_SETTLEMENT, network, pay_to)
        .facilitator(HttpFacilitator::new(facilitator)?)
        .start()
        .await?;
    let app = Router::new()
        .route("/words", get(words).layer(paywall.price("$0.0001")?))
        .route("/article", get(article).layer(paywall.price("$0.001")?));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:4021").await?;
    Ok(axum::serve(listener, app).await?)
}
