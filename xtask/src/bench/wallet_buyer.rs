//! The buyers of bench `wallet` that are ours, each a process of its own: the library as a program would use it, and a
//! program that knows nothing of payments behind `tollway proxy`.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use tollway_buyer::{PolicyFile, Wallet};

use super::http::Connection;
use super::wallet_loop::Plan;

/// Buys through the library, with the ledger of the plan.
pub(super) fn run(plan: &Plan) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let ledger = tollway_ledger::open(&plan.ledger).await?;
        let policy = PolicyFile::parse(&std::fs::read_to_string(&plan.policy)?)?.policy(None)?;
        let wallet = Wallet::builder().key(&plan.key)?.policy(policy).ledger(ledger).build()?;
        let client = wallet.client()?;
        let buyers = (0..plan.in_flight).map(|_| {
            let client = client.clone();
            move |url: String| {
                let request = client.get(url);
                async move {
                    let response = request.send().await.map_err(|error| error.to_string())?;
                    let (status, paid) = (response.status(), tollway_buyer::paid(&response).is_some());
                    let body = response.bytes().await.map_err(|error| error.to_string())?;
                    let is_bought = status.as_u16() == 200 && paid && body == "data";
                    is_bought.then_some(()).ok_or_else(|| format!("answered {status}"))
                }
            }
        });
        let (outcome, bought) = plan.spend(buyers).await?;
        wallet.flush().await;
        let written = wallet.ledger().intent_count(wallet.name()).await?;
        ensure!(written >= bought, "{bought} purchases, and {written} of them are written down");
        outcome.say()
    })
}

/// Asks through a proxy that pays. It costs as little as an HTTP client can.
pub(super) fn run_through_proxy(plan: &Plan) -> Result<()> {
    super::market::block_on(async {
        let mut connections = Vec::new();
        for _ in 0..plan.in_flight {
            connections.push(Connection::open(&plan.proxy).await?);
        }
        let host = plan.url.strip_prefix("http://").and_then(|rest| rest.split('/').next());
        let host = host.context("a URL has a host")?.to_owned();
        let buyers = connections.into_iter().map(|connection| {
            let (host, connection) = (host.clone(), Arc::new(tokio::sync::Mutex::new(connection)));
            move |url: String| {
                let request = format!("GET {url} HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes();
                let connection = Arc::clone(&connection);
                async move {
                    let answer = connection.lock().await.exchange(&request).await;
                    match answer.map_err(|error| error.to_string())? {
                        200 => Ok(()),
                        status => Err(format!("answered {status}")),
                    }
                }
            }
        });
        plan.spend(buyers).await?.0.say()
    })?
}
