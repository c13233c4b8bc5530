//! The x402 protocol in one model: what sellers, buyers and facilitators say to each other.
//!
//! - [`model`]: the objects, free of protocol version and transport.
//! - [`wire`]: both protocol versions to and from that model; the only place that knows how they differ.
//! - [`Amount`], [`Money`], [`Decimal`], [`Network`], [`ErrorCode`]: the words they are made of.
//! - [`extension`]: what both ends say of the protocol's extensions.
//! - [`http_signature`]: signatures on requests (RFC 9421).
//! - [`Credit`]: what a seller owes for a payment that bought nothing.
//! - [`Facilitator`], [`SellerScheme`], [`BuyerScheme`], [`EscrowScheme`], [`ChannelScheme`],
//!   [`BuyerChannelScheme`], [`SettlementWitness`], [`ChannelWitness`], [`Clock`]: the seams.
//!
//! What does not live here: I/O, an async runtime, HTTP, any chain's SDK.

mod amount;
mod buyer_channel;
mod channel;
mod clock;
mod credit;
mod credit_account;
mod decimal;
mod error_code;
mod escrow;
pub mod extension;
mod facilitator;
mod fingerprint;
pub mod http_signature;
mod loopback;
pub mod model;
mod money;
mod network;
mod public;
mod scheme;
mod signed_request;
mod webhook;
pub mod wire;
mod witness;

pub use amount::{Amount, AmountError};
pub use buyer_channel::{BuyerChannel, BuyerChannelScheme, SignedDeposit, ToldChannel};
pub use channel::{
    Backing, ChannelCodes, ChannelKey, ChannelScheme, ChannelSnapshot, ChannelWitness, ClaimRow, Commitment,
    CommitmentKind,
};
pub use clock::{Clock, ManualClock, SystemClock, UnixTime};
pub use credit::{Credit, MAX_CREDIT_BYTES, PAYMENT_CREDIT};
pub use credit_account::{
    CLOUDFLARE_DECIMALS, CLOUDFLARE_NETWORK, CLOUDFLARE_PAY_TO, CREDIT_DECIMALS, CREDIT_NETWORK,
    CREDIT_VERSION, CreditCommitment, is_account,
};
pub use decimal::{Decimal, DecimalError};
pub use error_code::ErrorCode;
pub use escrow::{EscrowScheme, EscrowStep, EscrowTerms};
pub use facilitator::{BoxFuture, Facilitator, FacilitatorError, PAYER_HAS_CODE};
pub use fingerprint::{Fingerprint, canonical_url};
pub use loopback::is_loopback;
pub use model::{JsonObject, SchemeName, X402Version};
pub use money::{Currency, Money, MoneyError};
pub use network::{Network, NetworkError};
pub use public::is_public;
pub use scheme::{
    AuthorizationKey, BuyerScheme, Checked, OfferError, OfferedValue, Price, Refusal, SellerScheme,
    SignError, Terms,
};
pub use signed_request::{PROOF, RequestProof, SignedRequestScheme, SignerKeys, attach_proof};
pub use webhook::{WebhookSecret, webhook_url};
pub use witness::{SettlementWitness, Witnessed};
