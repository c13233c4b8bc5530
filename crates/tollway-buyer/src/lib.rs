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
//! # Bodies that stream
//!
//! A paid answer is handed on as it comes, so events and downloads can be paid for. A request's body that is a stream can be
//! sent once, and what is paid for is sent twice: such a request is free to pass, and a 402 to it is
//! [`PaymentError::BodyNotReplayable`]. Hand over the whole body (bytes, a string) for what may cost something.
//!
//! # Other middleware
//!
//! Put [`PayingMiddleware`] last, below layers that retry, log or trace. What it returns as an error is no failure of the
//! network, so layers that retry leave it alone; a payment whose fate is unknown it presents again by itself. Layers that wrap
//! errors in their own keep its words, but may hide it from [`payment_error`]. **An answer that was paid for and has status 5xx is an answer**: a layer that retries those
//! asks anew, and may be charged anew.
//!
//! What does not live here: how a scheme signs (`tollway-evm`), how the protocol looks on the wire
//! (`tollway-core`), and anything durable.

mod agree;
mod approve;
mod builder;
mod buy;
mod channel;
mod credit;
mod credit_account;
mod error;
mod hints;
mod http_clients;
mod identify;
mod intent;
mod look_back;
mod middleware;
mod offer_receipt;
mod origin;
mod pay_on;
mod peek;
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

pub use approve::{
    Approver, Approvers, Decided, Inquiry, NotApproved, QueueApprover, QueuedInquiry, Subject,
    WebhookApprover, webhook_secret,
};
pub use builder::{WalletBuilder, WalletError};
pub use channel::record::{ChannelRecord, PendingDeposit, Promise};
pub use channel::refund::ChannelError;
pub use credit::{SellerCredit, credit};
pub use credit_account::CreditBuyer;
pub use error::{PaymentError, payment_error};
pub use intent::fate::{ChainFate, FateWitness, Sighting};
pub use intent::key::{IntentKey, Tool};
pub use intent::reconcile::Reconciled;
pub use intent::record::{
    Alarm, AlarmCode, Answer, ChainFact, ChainVerdict, ChannelNote, IntentRecord, IntentState,
    SignedAuthorization,
};
pub use middleware::PayingMiddleware;
pub use offer_receipt::{CheckedOffer, CheckedReceipt};
pub use pay_on::PayingOn;
pub use peek::peek;
pub use policy::Policy;
pub use policy::approval::{Approval, ApprovalBy};
pub use policy::decision::{Breach, Decision, Question, Reason, Verdict};
pub use policy::explain::{Explanation, Finding, Outcome};
pub use policy::file::{PolicyFaults, PolicyFile, UnknownAgent};
pub use policy::keys::PolicyNote;
pub use policy::limits::BudgetLine;
pub use policy::names::{FactName, budget_prefix};
pub use policy::standing::{KnownPayees, PriceHistory, Purchase, Standing};
pub use policy::window::Window;
pub use present::{Next, Patience, Presentation, Presented};
pub use quote::Quote;
pub use selection::JudgedOffer;
pub use settlement::{Paid, paid};
pub use sign::{PaymentHeader, SignedPayment};
pub use spent::Spent;
pub use wallet::Wallet;
