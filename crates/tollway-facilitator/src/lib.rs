//! The x402 facilitator: verifies payments and settles them on chain, inside a seller's process or over HTTP.
//!
//! One payment passes these phases:
//!
//! ```text
//! decode -> matching -> check -> simulate -> accept -> send -> prove -> (final)
//!   |         |          |         |           |         |       |         |
//!   bytes     is it      rules     eth_call,   ledger:   lane:   Transfer  no block can
//!   to model  ours       local     together    ours now  signed, event     be taken back
//!                                              to settle written           any more
//!                                                        down, sent
//! ```
//!
//! `/verify` stops after `simulate`. Everything before `simulate` is local: bad input never reaches the node. What is
//! accepted is in the ledger: whatever breaks, some process brings it to an end.
//!
//! - [`Engine`]: what a program starts and asks; implements [`tollway_core::Facilitator`].
//! - `verify`, `settle`: one payment, as its caller sees it. `phase/`: the steps.
//! - `coalesce`: simulations go out together. `exposure`: one balance does not stand for two payments.
//! - `channel/`: what is asked about channels (scheme `batch-settlement`), before and after the same way.
//! - `journal`: what this process drives; the ledger holds the truth.
//! - `lane`, `stuck`, `flight`: one funded key and its nonces; the only place that sends transactions.
//! - `approval`, `errands`, `funding`, `sponsoring`: payers whose approval of Permit2 is sent, and paid for, first.
//! - `watch`, `pace`: the only eyes on the chain.
//! - `reconcile`: brings to an end what nobody drives.
//! - `membership`, `steward`: this process among others, and who holds which lane.
//! - `inclusion`: when a payment counts as settled. `gas`: what it may cost. `score`: whose payments cost too much.
//! - [`router`]: the HTTP API; `callers`: who may ask it. `webhook`: outcomes told. [`telemetry`]: what is measured.
//!
//! What does not live here: how a payment is checked and proved (`tollway-evm`), the stores (`tollway-ledger`),
//! configuration files (the program).

mod approval;
mod callers;
mod channel;
mod coalesce;
mod core;
mod engine;
mod errands;
mod evm_network;
mod exposure;
mod flight;
mod funding;
mod gas;
mod health;
mod http;
mod inclusion;
mod journal;
mod lane;
mod lane_state;
mod limits;
mod membership;
mod pace;
mod phase;
mod queue;
mod reconcile;
mod score;
mod settle;
mod settlement_json;
mod sponsoring;
mod steward;
mod stuck;
mod tasks;
pub mod telemetry;
mod verified;
mod verify;
mod watch;
mod webhook;

pub use callers::{CallerSetup, Callers, MAX_CALLERS, MIN_KEY_BYTES, Quota};
pub use channel::{ChannelSetup, RefundsFor};
pub use engine::{Engine, EngineBuilder, LaneStatus, StartError};
pub use evm_network::NetworkSetup;
pub use http::{MAX_BODY_BYTES, MAX_SETTLE_BODY_BYTES, router};
pub use inclusion::{Inclusion, MAX_CONFIRMATIONS, Profile};
pub use limits::{Limits, MAX_BATCH};
pub use phase::admission::AuthCaptureSetup;
pub use score::{Score, ScoreLimits};
pub use sponsoring::Sponsoring;
pub use webhook::{MAX_WEBHOOKS, OutcomeEndpoints, WebhookLimits, WebhookSetup, Webhooks};
