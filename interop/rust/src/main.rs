//! The published Rust packages as partners: one role a process.
//!
//!     interop-rust ROLE '{"rpc", "network", "token", ...}'
//!
//! How a partner talks with the test that started it is told in `interop/node/peer.mjs`. What lives here is that talk;
//! how each package is used, as its documentation shows it, is in the other files.

mod r402_extended;
mod r402_peer;
mod x402_rs;

use std::error::Error;

use axum::Router;
use axum::http::StatusCode;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// What the test says at the start.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Start {
    rpc: String,
    network: String,
    token: Token,
    /// What a route costs, in atomic units.
    price: String,
    /// What `upto` is charged, of the price at most.
    charged: String,
    key: Option<String>,
    #[serde(default)]
    keys: Vec<String>,
    poll_ms: Option<u64>,
    pay_to: Option<String>,
    /// Who signs a seller's offers and receipts.
    issuer_key: Option<String>,
    /// The facilitator's account that takes what is held.
    capture_authorizer: Option<String>,
    #[serde(default)]
    facilitators: Vec<Facilitator>,
}

/// The token that everything is paid in.
#[derive(Debug, Deserialize)]
struct Token {
    address: String,
    name: String,
    version: String,
    decimals: u8,
}

/// What a server settles through, and what it is to sell so.
#[derive(Debug, Deserialize)]
struct Facilitator {
    url: String,
    routes: Vec<String>,
}

impl Facilitator {
    fn sells(&self, route: &str) -> bool {
        self.routes.iter().any(|asked| asked == route)
    }
}

impl Start {
    fn chain_id(&self) -> Result<u64> {
        Ok(self.network.trim_start_matches("eip155:").parse()?)
    }

    fn signer(&self) -> Result<alloy_signer_local::PrivateKeySigner> {
        Ok(self.key.as_ref().ok_or("a client needs a key")?.parse()?)
    }

    fn payee(&self) -> Result<alloy_primitives::Address> {
        Ok(self.pay_to.as_ref().ok_or("a server needs payTo")?.parse()?)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(role), Some(start)) = (arguments.next(), arguments.next()) else {
        return Err("usage: interop-rust ROLE JSON".into());
    };
    let start: Start = serde_json::from_str(&start)?;
    match role.as_str() {
        "x402-reqwest" => {
            let client = x402_rs::client(&start)?;
            pay([client.clone(), client], x402_rs::settlement, |_, _| None).await
        }
        "r402-client" => {
            pay(r402_peer::clients(&start)?, r402_peer::settlement, r402_extended::receipt_signer).await
        }
        "x402-axum" => sell(&start, x402_rs::shop).await,
        "r402-server" => sell(&start, r402_peer::shop).await,
        "x402-facilitator-local" => serve(vec![(bound().await?, x402_rs::facilitator(&start).await?)]).await,
        _ => Err("no such role".into()),
    }
}

/// Pays one URL a line, by the second client if extensions are asked for.
async fn pay(
    [plain, extended]: [reqwest_middleware::ClientWithMiddleware; 2],
    settlement: fn(&HeaderMap) -> Value,
    receipt_signer: fn(&str, &HeaderMap) -> Option<String>,
) -> Result<()> {
    println!("{}", json!({ "ready": true }));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let asked: Value = serde_json::from_str(&line)?;
        let url = asked["url"].as_str().ok_or("a request needs a url")?;
        let client = if asked["extended"] == true { &extended } else { &plain };
        let request = match asked["body"].as_str() {
            None => client.get(url),
            Some(body) => client.post(url).header("content-type", "application/json").body(body.to_owned()),
        };
        let answer = match request.send().await {
            Ok(response) => {
                let (status, headers) = (response.status().as_u16(), response.headers().clone());
                let told: serde_json::Map<String, Value> = headers
                    .iter()
                    .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
                    .collect();
                let body = response.text().await?;
                json!({
                    "status": status,
                    "body": body,
                    "headers": told,
                    "settlement": settlement(&headers),
                    "receiptSigner": receipt_signer(url, &headers),
                })
            }
            Err(error) => json!({ "error": format!("{error:?}") }),
        };
        println!("{answer}");
    }
    Ok(())
}

/// Serves one shop for each facilitator.
async fn sell(start: &Start, shop: fn(&Start, &Facilitator, &str) -> Result<Router>) -> Result<()> {
    let mut shops = Vec::new();
    for facilitator in &start.facilitators {
        let listener = bound().await?;
        let url = format!("http://{}", listener.local_addr()?);
        shops.push((listener, shop(start, facilitator, &url)?));
    }
    serve(shops).await
}

async fn serve(apps: Vec<(TcpListener, Router)>) -> Result<()> {
    let mut urls = Vec::new();
    for (listener, app) in apps {
        urls.push(format!("http://{}", listener.local_addr()?));
        tokio::spawn(async move { axum::serve(listener, app).await });
    }
    println!("{}", json!({ "urls": urls }));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while lines.next_line().await?.is_some() {}
    std::process::exit(0)
}

/// What a route says of itself once it is paid for, and of what was sent to it.
async fn sold(path: &'static str, body: String) -> (StatusCode, String) {
    let status = if path == "/fails" { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    (status, format!("sold {path}{body}"))
}

async fn bound() -> Result<TcpListener> {
    Ok(TcpListener::bind("127.0.0.1:0").await?)
}
