//! A buyer that survives: one process of several that share a ledger, and so a budget. Killed and started again, it presents
//! what it has signed before it signs anything else.
//!
//! ```sh
//! URL=http://127.0.0.1:4021/authorization FROM=0 TO=10 KEY=0x… TOKEN=0x… LEDGER=sqlite:wallet.db BUDGET='$1' \
//!   cargo run -p tollway --example buyer
//! ```
//!
//! It asks for `URL/FROM`, `URL/FROM+1` and so on, and prints a line for each: its number, and the answer or `denied`. What is
//! unresolved is asked for again. With `RPC`, a node, it finds out what became of what nobody answered.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use tollway_buyer::{Patience, PaymentError, Policy, Wallet, Window, payment_error};
use tollway_core::Network;
use tollway_evm::{Asset, AssetTable, Chain, TransferMethod};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let wallet = wallet().await?;
    let (url, client) = (env::var("URL")?, wallet.client()?);
    let number = |name: &str| env::var(name).map_or(Ok(0), |text| text.parse::<u64>());
    for n in number("FROM")?..number("TO")? {
        loop {
            let answer = client.get(format!("{url}/{n}")).header("idempotency-key", n).send().await;
            let told = match answer {
                Ok(answer) if answer.status().is_success() => answer.text().await.ok(),
                Ok(_) => None,
                Err(error) => {
                    let is_denied = matches!(payment_error(&error), Some(PaymentError::Denied(_)));
                    is_denied.then(|| "denied".to_owned())
                }
            };
            if let Some(told) = told {
                wallet.flush().await;
                print_line(&format!("{n} {told}"));
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

async fn wallet() -> Result<Wallet, Box<dyn std::error::Error>> {
    let ledger = tollway_ledger::open(&env::var("LEDGER")?).await?;
    #[cfg(feature = "failpoints")]
    let ledger = tollway_ledger::kill_point(ledger)?;
    let network: Network = env::var("NETWORK")?.parse()?;
    let token = Asset {
        network: network.clone(),
        symbol: "USDC".to_owned(),
        address: env::var("TOKEN")?.parse()?,
        name: "USDC".to_owned(),
        version: "2".to_owned(),
        decimals: 6,
        is_usd: true,
        transfer_method: TransferMethod::Eip3009,
    };
    let patience = Patience { total: Duration::from_secs(20), ..Patience::default() };
    let mut wallet = Wallet::builder()
        .key(&env::var("KEY")?)?
        .assets(AssetTable::empty().with(token))
        .ledger(Arc::clone(&ledger))
        .patience(patience)
        .policy(Policy::default().budget_per(Window::Lifetime, &env::var("BUDGET")?.parse()?));
    if let Ok(rpc) = env::var("RPC") {
        wallet = wallet.chain(Chain::connect(&rpc, &network, Duration::from_secs(5))?);
    }
    Ok(wallet.build()?)
}

#[expect(clippy::print_stdout, reason = "what it is for")]
fn print_line(line: &str) {
    println!("{line}");
}
