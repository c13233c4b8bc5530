//! The buyer's side of x402: a wallet with a policy, and an HTTP client that pays.
//!
//! ```no_run
//! # async fn buy() -> Result<(), Box<dyn std::error::Error>> {
//! use tollway_buyer::{Wallet, paid};
//!
//! let wallet = Wallet::from_key(&std::env::var("TOLLWAY_KEY")?)?;
//! let client = wallet.client()?;
//! let response = client.get("https://api.example.com/data").send().await?;
//! if let Some(paid) = paid(&response) {
//!     println!("paid {} to {}", paid.offer.amount, paid.offer.pay_to);
//! }
//! # Ok(()) }
//! ```
//!
//! One purchase runs through phases, a file each: `required` reads the 402, `origin` asks whether the answer
//! may be paid at all, `hints` whether its credentials are there, `selection` holds every offer against the [`Policy`], `sign` makes the one payment,
//! `present` sends it (again, if need be: always the same one), `settlement` reads the receipt. `middleware`
//! is the sequence. `sign_in` comes back for what was bought, `identify` signs requests, `offer_receipt` checks what
//! sellers sign. `credit` redeems what a seller owes for a payment that bought nothing.
//!
//! What does not live here: how a scheme signs (`tollway-evm`), how the protocol looks on the wire
//! (`tollway-core`), and anything durable.

mod builder;
mod credit;
mod error;
mod hints;
mod http_clients;
mod identify;
mod middleware;
mod offer_receipt;
mod origin;
mod policy;
mod present;
mod quote;
mod required;
mod selection;
mod settlement;
mod sign;
mod sign_in;
mod spent;
mod wallet;

pub use builder::{WalletBuilder, WalletError};
pub use credit::{SellerCredit, credit};
pub use error::{PaymentError, payment_error};
pub use middleware::PayingMiddleware;
pub use offer_receipt::{CheckedOffer, CheckedReceipt};
pub use policy::{Decision, Policy, Reason};
pub use present::{Next, Patience, Presentation, Presented};
pub use quote::Quote;
pub use selection::JudgedOffer;
pub use settlement::{Paid, paid};
pub use sign::{PaymentHeader, SignedPayment};
pub use spent::Spent;
pub use wallet::Wallet;
