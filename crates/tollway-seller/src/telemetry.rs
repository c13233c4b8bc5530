//! What a paywall tells of itself: metrics by fixed names and labels, and a span for each payment. No signature and no
//! word of a stranger's is in any of it.

use tokio::time::Instant;
use tollway_core::Network;
use tollway_core::model::PaymentRequirements;

use crate::denial::Denial;
use crate::guard::Withdrawal;

/// The span of one payment. Its keys are what an operator searches by.
pub(crate) fn span(key: &str, payer: &str, offer: &PaymentRequirements) -> tracing::Span {
    tracing::info_span!(
        "payment",
        key,
        network = %offer.network,
        payer,
        amount = %offer.amount,
    )
}

/// Counts a request by what became of it.
pub(crate) fn request(outcome: &'static str) {
    metrics::counter!("tollway_seller_requests_total", "outcome" => outcome).increment(1);
}

/// Counts what is owed, and what became of it.
pub(crate) fn owed(result: &'static str) {
    metrics::counter!("tollway_seller_owed_total", "result" => result).increment(1);
}

/// Says whether an asset is offered, and counts when it is withdrawn.
pub(crate) fn asset(network: &Network, symbol: &str, withdrawal: Option<Withdrawal>) {
    let labels = [("network", network.to_string()), ("asset", symbol.to_owned())];
    let is_offered = if withdrawal.is_some() { 0 } else { 1 };
    metrics::gauge!("tollway_seller_asset_offered", &labels).set(is_offered);
    if let Some(reason) = withdrawal {
        let [network, asset] = labels;
        let labels = [network, asset, ("reason", reason.as_str().to_owned())];
        metrics::counter!("tollway_seller_asset_withdrawals_total", &labels).increment(1);
    }
}

/// Counts channels by what became of claiming them.
pub(crate) fn claim(result: &'static str, channels: usize) {
    let channels = u64::try_from(channels).unwrap_or(u64::MAX);
    metrics::counter!("tollway_seller_claimed_channels_total", "result" => result).increment(channels);
}

/// Counts payouts by what became of them.
pub(crate) fn payout(result: &'static str) {
    metrics::counter!("tollway_seller_payouts_total", "result" => result).increment(1);
}

/// Counts what only an owner can help with.
pub(crate) fn channel_alarm(cause: &'static str) {
    metrics::counter!("tollway_seller_channel_alarms_total", "cause" => cause).increment(1);
}

/// Says how many channels have something to claim, and how soon the first of them can be withdrawn.
pub(crate) fn channels(unclaimed: u64, seconds: Option<u64>) {
    let gauge = |number: u64| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    metrics::gauge!("tollway_seller_channels_unclaimed").set(gauge(unclaimed));
    metrics::gauge!("tollway_seller_channel_deadline_seconds").set(seconds.map_or(f64::INFINITY, gauge));
}

/// The name of a denial as an outcome. Codes may be a facilitator's own words, and are no labels.
pub(crate) const fn outcome(denial: &Denial) -> &'static str {
    match denial {
        Denial::Malformed(_) => "malformed",
        Denial::Busy(_) => "busy",
        Denial::Corrected { .. } => "corrected",
        Denial::Refunded(_) => "refunded",
        Denial::Refused(_) => "refused",
        Denial::AlreadyUsed { answer: Some(_), .. } => "replayed",
        Denial::AlreadyUsed { answer: None, .. } => "already_used",
        Denial::IdentifierTaken => "identifier_taken",
        Denial::InProgress => "in_progress",
        Denial::Full => "full",
        Denial::Pending(_) => "pending",
        Denial::SettleFailed(_) => "settle_failed",
        Denial::Facilitator { .. } => "facilitator_error",
        Denial::Ledger { .. } => "ledger_error",
        Denial::Internal(_) => "internal_error",
    }
}

/// Measures one phase.
#[derive(Debug)]
pub(crate) struct Timer {
    phase: &'static str,
    started: Instant,
}

impl Timer {
    pub(crate) fn start(phase: &'static str) -> Self {
        Self { phase, started: Instant::now() }
    }

    /// Records how long the phase took. One that failed is not recorded: it would be a measure of deadlines.
    pub(crate) fn stop(self) {
        let elapsed = self.started.elapsed();
        metrics::histogram!("tollway_seller_phase_seconds", "phase" => self.phase).record(elapsed);
    }
}
