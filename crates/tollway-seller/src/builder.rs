//! Configuring a paywall: what can be set, and what it is if it is not. Checking it is in [`crate::start`].

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::request::Parts;
use tollway_core::{Clock, Facilitator, SchemeName, SellerScheme, SystemClock};
use tollway_evm::AssetTable;

use crate::cors::Cors;
use crate::paywall::{Limits, RequestUri};

/// What a buyer may take by default, as the published sellers have it.
const MAX_TIMEOUT_SECONDS: u64 = 300;

/// A paywall being configured: see [`Paywall::builder`](crate::Paywall::builder).
#[derive(Debug)]
#[must_use = "a paywall does nothing until it is started"]
pub struct PaywallBuilder {
    pub(crate) public_base_url: String,
    pub(crate) accepts: Vec<Accept>,
    pub(crate) schemes: Vec<Arc<dyn SellerScheme>>,
    pub(crate) assets: AssetTable,
    pub(crate) facilitator: Option<Arc<dyn Facilitator>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cors: Cors,
    pub(crate) limits: Limits,
    pub(crate) max_timeout_seconds: u64,
    pub(crate) max_reservations: usize,
    pub(crate) max_verifies: usize,
    pub(crate) start_deadline: Duration,
    pub(crate) request_uri: Option<RequestUri>,
}

/// A network accepted, as written.
#[derive(Clone, Debug)]
pub(crate) struct Accept {
    pub(crate) scheme: SchemeName,
    pub(crate) network: String,
    pub(crate) pay_to: String,
}

impl PaywallBuilder {
    pub(crate) fn new(public_base_url: String) -> Self {
        Self {
            public_base_url,
            accepts: Vec::new(),
            schemes: Vec::new(),
            assets: AssetTable::known(),
            facilitator: None,
            clock: Arc::new(SystemClock),
            cors: Cors::default(),
            limits: Limits {
                body_bytes: 1024 * 1024,
                body_timeout: Duration::from_secs(30),
                verify_timeout: Duration::from_secs(95),
                settle_timeout: Duration::from_secs(95),
                pending_wait: Duration::from_secs(1),
                price_timeout: Duration::from_secs(10),
            },
            max_timeout_seconds: MAX_TIMEOUT_SECONDS,
            max_reservations: 100_000,
            max_verifies: 1_024,
            start_deadline: Duration::from_secs(10),
            request_uri: None,
        }
    }

    /// Accepts payment to `pay_to` on `network` (CAIP-2) by scheme `exact`. The first one is the favourite.
    pub fn accept(self, network: impl Into<String>, pay_to: impl Into<String>) -> Self {
        self.accept_by(SchemeName::EXACT, network, pay_to)
    }

    /// Accepts payment by another scheme.
    pub fn accept_by(
        mut self,
        scheme: SchemeName,
        network: impl Into<String>,
        pay_to: impl Into<String>,
    ) -> Self {
        self.accepts.push(Accept { scheme, network: network.into(), pay_to: pay_to.into() });
        self
    }

    /// Sets who verifies and settles.
    pub fn facilitator(self, facilitator: impl Facilitator + 'static) -> Self {
        self.shared_facilitator(Arc::new(facilitator))
    }

    /// Sets who verifies and settles: one that others use too.
    pub fn shared_facilitator(mut self, facilitator: Arc<dyn Facilitator>) -> Self {
        self.facilitator = Some(facilitator);
        self
    }

    /// Sets the assets that prices in money mean: the known ones by default.
    pub fn assets(mut self, assets: AssetTable) -> Self {
        self.assets = assets;
        self
    }

    /// Adds a scheme. It goes before a built-in one of the same name.
    pub fn scheme(mut self, scheme: impl SellerScheme + 'static) -> Self {
        self.schemes.push(Arc::new(scheme));
        self
    }

    /// Sets which pages may read answers: those of any origin by default.
    pub fn cors(mut self, cors: Cors) -> Self {
        self.cors = cors;
        self
    }

    /// Sets how long a payment may take (`maxTimeoutSeconds`): 300 by default.
    pub const fn max_timeout_seconds(mut self, seconds: u64) -> Self {
        self.max_timeout_seconds = seconds;
        self
    }

    /// Limits the body of a paid request: 1 MiB by default. It is read to bind the payment to it.
    pub const fn max_body_bytes(mut self, bytes: usize) -> Self {
        self.limits.body_bytes = bytes;
        self
    }

    /// Limits how many payments are remembered: 100 000 by default. A full table denies.
    pub const fn max_reservations(mut self, count: usize) -> Self {
        self.max_reservations = count;
        self
    }

    /// Limits how many payments are verified at once: 1024 by default. More are answered with 503.
    pub const fn max_verifies(mut self, count: usize) -> Self {
        self.max_verifies = count;
        self
    }

    /// Sets how long `verify` may take: 95 s by default, a little more than [`HttpFacilitator`](crate::HttpFacilitator) waits.
    pub const fn verify_timeout_ms(mut self, milliseconds: u64) -> Self {
        self.limits.verify_timeout = Duration::from_millis(milliseconds);
        self
    }

    /// Sets how long `settle` may take: 95 s by default.
    pub const fn settle_timeout_ms(mut self, milliseconds: u64) -> Self {
        self.limits.settle_timeout = Duration::from_millis(milliseconds);
        self
    }

    /// Sets the wait before a pending settlement is asked about again: 1 s by default.
    pub const fn pending_wait_ms(mut self, milliseconds: u64) -> Self {
        self.limits.pending_wait = Duration::from_millis(milliseconds);
        self
    }

    /// Sets how long the start may wait for the facilitator: 10 s by default.
    pub const fn start_deadline_ms(mut self, milliseconds: u64) -> Self {
        self.start_deadline = Duration::from_millis(milliseconds);
        self
    }

    /// Sets where the time is read.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Says how to read the URI a buyer asked for, where a router has cut a prefix off it. Without it, two
    /// nested routers with the same inner path look like one resource.
    ///
    /// ```
    /// use axum::extract::OriginalUri;
    /// let builder = tollway_seller::Paywall::builder("https://api.example.com")
    ///     .request_uri(|parts| parts.extensions.get::<OriginalUri>().map(|uri| uri.0.clone()));
    /// ```
    pub fn request_uri(mut self, read: fn(&Parts) -> Option<Uri>) -> Self {
        self.request_uri = Some(read);
        self
    }
}
