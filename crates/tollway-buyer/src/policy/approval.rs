//! Who is asked before a purchase, and how long. The asking itself happens elsewhere.

use tollway_core::Money;
use url::Url;

/// How a level's owner is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Every purchase that costs more is asked for; `None`: only what other rules ask for.
    pub above: Option<Money>,
    /// Where the question goes.
    pub by: ApprovalBy,
    /// How long an answer is waited for. None by then is no.
    pub timeout_seconds: u64,
}

/// Where a question goes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApprovalBy {
    /// To whoever sits in front of the program.
    Terminal,
    /// Into the ledger, where `tollway wallet` finds it.
    Queue,
    /// To an URL.
    Webhook {
        /// Where to.
        url: Url,
        /// Where the secret that signs the question is: `env:NAME` or `file:PATH`. Never the secret itself.
        secret: Option<String>,
    },
}

impl ApprovalBy {
    /// Its name in policy files.
    ///
    /// ```
    /// assert_eq!(tollway_buyer::ApprovalBy::Queue.as_str(), "queue");
    /// ```
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Terminal => "terminal",
            Self::Queue => "queue",
            Self::Webhook { .. } => "webhook",
        }
    }
}
