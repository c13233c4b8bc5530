//! An agent that pays at most five cents: `TOLLWAY_KEY=0x… cargo run -p tollway-buyer --example agent -- URL`.
#![expect(clippy::print_stdout, reason = "an example shows what it got")]

use tollway_buyer::{Policy, Wallet, paid};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("usage: agent URL")?;
    let policy = Policy::default().cap_per_payment("$0.05".parse()?);
    let wallet = Wallet::builder().key(&std::env::var("TOLLWAY_KEY")?)?.policy(policy).build()?;
    let response = wallet.client()?.get(url).send().await?;
    if let Some(settled) = paid(&response).and_then(|paid| paid.settlement.as_ref()) {
        println!("paid, transaction {}", settled.transaction);
    }
    println!("{}", response.text().await?);
    Ok(())
}
