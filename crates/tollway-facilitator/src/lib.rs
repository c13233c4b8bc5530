//! The x402 facilitator: verifies payments and settles them on chain, inside a seller's process or over HTTP.
//!
//! One payment passes these phases, one file each under `phase/`:
//!
//! ```text
//! decode -> matching -> check -> reserve -> simulate -> journal -> send -> prove
//!   |         |          |         |          |           |         |       |
//!   bytes     is it      rules     one actor  eth_call    write it  the     Transfer
//!   to model  ours       local     per key    (node)      down      lane    event
//! ```
//!
//! `/verify` stops after `simulate`. Everything before `simulate` is local: bad input never reaches the node.
//!
//! - [`Engine`]: the phases in order; implements [`tollway_core::Facilitator`].
//! - `lane`: one funded key and its nonces; the only place that sends transactions.
//! - `journal`: the history of each payment, by authorization key.
//! - [`router`]: the HTTP API.

mod callers;
mod engine;
mod evm_network;
mod health;
mod http;
mod journal;
mod lane;
mod limits;
mod phase;
mod score;
mod settlement_json;
pub mod telemetry;
mod verified;
mod webhook;

pub use callers::{CallerSetup, Callers, MAX_CALLERS, MIN_KEY_BYTES, Quota};
pub use engine::{Engine, EngineBuilder, StartError};
pub use evm_network::NetworkSetup;
pub use http::{MAX_BODY_BYTES, router};
pub use limits::{Limits, MAX_BATCH};
pub use score::{Score, ScoreLimits};
pub use webhook::{MAX_WEBHOOKS, OutcomeEndpoints, WebhookLimits, WebhookSecret, WebhookSetup, Webhooks};
