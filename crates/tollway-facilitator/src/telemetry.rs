//! The names of what is measured, each with what it means. Who measures is elsewhere: the engine, the lanes, the HTTP
//! API and the deliveries call the `metrics` facade with these names; a program that wants the numbers installs a
//! recorder and calls [`describe`]. Without a recorder nothing is kept.
//!
//! Labels have few values: networks, error codes of the protocol's table, our own words. Never a payer or a hash.

use std::borrow::Cow;

use metrics::{Unit, counter, histogram};
use tokio::time::Instant;
use tollway_core::model::{Outcome, SettleResponse, VerifyResponse};
use tollway_core::{ErrorCode, FacilitatorError, Network};
use tollway_evm::Payment;
use tollway_evm::telemetry::{
    NODE_CALLS, NODE_CHANGES, NODE_ERRORS, NODE_HEALTHY, NODE_SECONDS, NODE_THROTTLED, RPC_CALLS, RPC_ERRORS,
    RPC_SECONDS,
};
use tollway_ledger::SettlementId;
use tracing::Span;
use tracing::field::display;

/// How long a payment took to be verified. Labels: `network`, `outcome`.
pub const VERIFY_SECONDS: &str = "tollway_verify_seconds";
/// How long `/settle` took to answer. Labels: `network`, `outcome`.
pub const SETTLE_SECONDS: &str = "tollway_settle_seconds";
/// Verdicts on payments. Labels: `network`, `outcome` (`valid`, `invalid`, `unavailable`), `reason`.
pub const VERIFIED: &str = "tollway_verified_total";
/// Answers to `/settle`. Labels: `network`, `outcome` (`settled`, `failed`, `pending`, `unavailable`), `reason`.
pub const SETTLED: &str = "tollway_settled_total";
/// Ends that were written down. Labels: `network`, `state` (`settled`, `failed`, `abandoned`), `reason`.
pub const OUTCOMES: &str = "tollway_outcomes_total";
/// Answers about what is done with channels. Labels: `network`, `kind` (`deposit`, `claim`, `settle`, `refund`), `outcome`.
pub const CHANNEL_ORDERS: &str = "tollway_channel_orders_total";
/// The native balance of a lane, in gwei. Labels: `network`, `lane`.
pub const LANE_BALANCE_GWEI: &str = "tollway_lane_balance_gwei";
/// How many payments wait for a lane. Labels: `network`, `lane`.
pub const LANE_QUEUE: &str = "tollway_lane_queue";
/// How many payments one transaction carried. Label: `network`.
pub const BATCH_SIZE: &str = "tollway_batch_size";
/// How many payments one simulation carried. Label: `network`.
pub const SIMULATION_SIZE: &str = "tollway_simulation_size";
/// Payments that are accepted and have not ended. No label.
pub const PENDING: &str = "tollway_pending";
/// How long the oldest payment that has not ended has waited. Label: `network`.
pub const PENDING_AGE_SECONDS: &str = "tollway_pending_age_seconds";
/// Transactions signed. Labels: `network`, `kind` (`first`, `replacement`).
pub const TRANSACTIONS: &str = "tollway_transactions_total";
/// How long the ledger took. Labels: `operation`, `result`.
pub const LEDGER_SECONDS: &str = "tollway_ledger_seconds";
/// Requests over HTTP. Labels: `route`, `status`.
pub const HTTP_REQUESTS: &str = "tollway_http_requests_total";
/// Requests turned away before their body was read. Label: `reason`.
pub const HTTP_DENIED: &str = "tollway_http_denied_total";
/// Payments refused because their payer's payments burnt gas. No label.
pub const SCORE_REFUSED: &str = "tollway_score_refused_total";
/// Tries to deliver an outcome. Labels: `endpoint`, `result` (`delivered`, `failed`, `given_up`).
pub const DELIVERIES: &str = "tollway_deliveries_total";
/// How long a try to deliver took. Label: `endpoint`.
pub const DELIVERY_SECONDS: &str = "tollway_delivery_seconds";

/// What a family is, for who describes or buckets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: FamilyKind,
    /// What it tells.
    pub description: &'static str,
}

/// How a family behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// Only grows.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Seconds, spread over buckets.
    Seconds,
    /// Numbers of payments, spread over buckets.
    Sizes,
}

/// Every family that a facilitator reports.
pub const FAMILIES: &[Family] = &[
    family(VERIFY_SECONDS, FamilyKind::Seconds, "How long a payment took to be verified"),
    family(SETTLE_SECONDS, FamilyKind::Seconds, "How long an answer to settle took"),
    family(VERIFIED, FamilyKind::Counter, "Verdicts on payments, by outcome and reason"),
    family(SETTLED, FamilyKind::Counter, "Answers to settle, by outcome and reason"),
    family(OUTCOMES, FamilyKind::Counter, "Payments that ended, by state and reason"),
    family(CHANNEL_ORDERS, FamilyKind::Counter, "What was done with channels, by kind and outcome"),
    family(LANE_BALANCE_GWEI, FamilyKind::Gauge, "Native balance of a lane, gwei"),
    family(LANE_QUEUE, FamilyKind::Gauge, "Payments that wait for a lane"),
    family(BATCH_SIZE, FamilyKind::Sizes, "Payments in one transaction"),
    family(SIMULATION_SIZE, FamilyKind::Sizes, "Payments in one simulation"),
    family(PENDING, FamilyKind::Gauge, "Payments that are accepted and have not ended"),
    family(PENDING_AGE_SECONDS, FamilyKind::Gauge, "Age of the oldest payment that has not ended"),
    family(TRANSACTIONS, FamilyKind::Counter, "Transactions signed"),
    family(LEDGER_SECONDS, FamilyKind::Seconds, "How long the ledger took, by operation"),
    family(RPC_CALLS, FamilyKind::Counter, "JSON-RPC calls to the node, by method"),
    family(RPC_ERRORS, FamilyKind::Counter, "JSON-RPC calls without a usable answer, by method and kind"),
    family(RPC_SECONDS, FamilyKind::Seconds, "How long the node took, by method"),
    family(NODE_CALLS, FamilyKind::Counter, "Calls to one node"),
    family(NODE_ERRORS, FamilyKind::Counter, "Calls to one node in vain, by kind"),
    family(NODE_SECONDS, FamilyKind::Seconds, "How long one node took"),
    family(NODE_THROTTLED, FamilyKind::Counter, "Calls that our own limit for a node held up or refused"),
    family(NODE_HEALTHY, FamilyKind::Gauge, "Whether a node may be asked"),
    family(NODE_CHANGES, FamilyKind::Counter, "Changes of a node's state, by the new state"),
    family(HTTP_REQUESTS, FamilyKind::Counter, "Requests over HTTP, by route and status"),
    family(HTTP_DENIED, FamilyKind::Counter, "Requests turned away before their body was read"),
    family(
        SCORE_REFUSED,
        FamilyKind::Counter,
        "Payments refused because of what their payer's payments cost",
    ),
    family(DELIVERIES, FamilyKind::Counter, "Tries to deliver an outcome, by endpoint and result"),
    family(DELIVERY_SECONDS, FamilyKind::Seconds, "How long a try to deliver took"),
];

/// Tells the installed recorder what each family means.
///
/// ```
/// tollway_facilitator::telemetry::describe();
/// ```
pub fn describe() {
    for Family { name, kind, description } in FAMILIES.iter().copied() {
        match kind {
            FamilyKind::Counter => metrics::describe_counter!(name, description),
            FamilyKind::Gauge => metrics::describe_gauge!(name, description),
            FamilyKind::Seconds => metrics::describe_histogram!(name, Unit::Seconds, description),
            FamilyKind::Sizes => metrics::describe_histogram!(name, Unit::Count, description),
        }
    }
}

/// Counts a verdict of `/verify`. The network is one that is served; none for others: strangers name no label.
pub(crate) fn verified(
    network: Option<&Network>,
    began: Instant,
    verdict: Result<&VerifyResponse, &FacilitatorError>,
) {
    let (outcome, reason) = match verdict {
        Ok(response) if response.is_valid => ("valid", Cow::Borrowed("")),
        Ok(response) => ("invalid", reason(response.invalid_reason.as_ref())),
        Err(error) => ("unavailable", Cow::Borrowed(error_kind(error))),
    };
    let network = network_label(network);
    histogram!(VERIFY_SECONDS, "network" => network.clone(), "outcome" => outcome).record(began.elapsed());
    counter!(VERIFIED, "network" => network, "outcome" => outcome, "reason" => reason).increment(1);
}

/// Counts an answer of `/settle`, likewise.
pub(crate) fn settled(
    network: Option<&Network>,
    began: Instant,
    answer: Result<&SettleResponse, &FacilitatorError>,
) {
    let (outcome, reason) = match answer {
        Ok(response) => match response.outcome() {
            Outcome::Failed => ("failed", reason(response.error_reason.as_ref())),
            other => (outcome_word(other), Cow::Borrowed("")),
        },
        Err(error) => ("unavailable", Cow::Borrowed(error_kind(error))),
    };
    let network = network_label(network);
    histogram!(SETTLE_SECONDS, "network" => network.clone(), "outcome" => outcome).record(began.elapsed());
    counter!(SETTLED, "network" => network, "outcome" => outcome, "reason" => reason).increment(1);
}

/// One word for an outcome.
pub(crate) const fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Settled => "settled",
        Outcome::Failed => "failed",
        Outcome::Pending => "pending",
    }
}

/// Puts the names of a payment into the span of the request that brought it. Its signature has no place there.
pub(crate) fn identify(payment: &Payment) {
    let span = Span::current();
    if !span.is_disabled() {
        let key = payment.key();
        span.record("payment", key.as_str());
        span.record("settlement", display(SettlementId::of(&key)));
        span.record("payer", payment.payer().to_checksum(None));
    }
}

const fn family(name: &'static str, kind: FamilyKind, description: &'static str) -> Family {
    Family { name, kind, description }
}

fn network_label(network: Option<&Network>) -> Cow<'static, str> {
    network.map_or(Cow::Borrowed("other"), |network| Cow::Owned(network.as_str().to_owned()))
}

/// A code as a label: those of the protocol's table, and one word for all others.
fn reason(code: Option<&ErrorCode>) -> Cow<'static, str> {
    match code {
        Some(code) if code.is_known() => Cow::Owned(code.as_str().to_owned()),
        Some(_) => Cow::Borrowed("other"),
        None => Cow::Borrowed("none"),
    }
}

const fn error_kind(error: &FacilitatorError) -> &'static str {
    match error {
        FacilitatorError::Busy(_) => "busy",
        FacilitatorError::NoAnswer(_) => "no_answer",
        FacilitatorError::Unreachable(_) => "unreachable",
        FacilitatorError::BadAnswer { .. } => "bad_answer",
        _ => "refused",
    }
}
