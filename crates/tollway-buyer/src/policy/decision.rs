//! What a policy can say: allowed, to be asked, denied, and why.

use std::fmt;

use crate::policy::approval::Approval;
use crate::policy::window::Window;

/// Whether an offer may be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Allow,
    /// It may not.
    Deny(Reason),
}

/// What a policy says to a purchase, with all that is known of what came before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be paid.
    Allow,
    /// It may be paid if each of these is answered with yes, in time.
    Ask(Vec<Question>),
    /// It may not be paid, and nobody is asked.
    Deny(Vec<Breach>),
}

/// What somebody is asked before a purchase. No answer is no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The level whose owner is asked.
    pub level: String,
    /// Why.
    pub why: Vec<Breach>,
    /// How, and for how long.
    pub approval: Approval,
}

/// A rule that a purchase breaks, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The level: `org`, `team:research`.
    pub level: String,
    /// The rule.
    pub reason: Reason,
}

/// The rule that an offer breaks. Shown to people as it is printed: it holds nothing that the seller wrote
/// except numbers and names that have been checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// No scheme of this wallet can sign it.
    #[error("this wallet cannot sign scheme {scheme} on this network")]
    NotCovered {
        /// The scheme, shortened and escaped.
        scheme: String,
    },
    /// The host is not on the list of hosts.
    #[error("the host {host} is not allowed")]
    Host {
        /// The request's host.
        host: String,
    },
    /// The host is on the list of those that are denied.
    #[error("the host {host} is denied")]
    DeniedHost {
        /// The request's host.
        host: String,
    },
    /// The network is not on the list of networks.
    #[error("the network is not allowed")]
    Network,
    /// The network is on the list of those that are denied.
    #[error("the network is denied")]
    DeniedNetwork,
    /// The scheme is not on the list of schemes, or denied.
    #[error("the scheme is not allowed")]
    Scheme,
    /// The tool is not on the list of tools, or denied, or none is named where there is a list.
    #[error("the tool is not allowed")]
    Tool,
    /// Only listed assets may be paid with.
    #[error("the asset is not on the list of assets")]
    UnlistedAsset,
    /// Another payee than the policy pins.
    #[error("payTo is not one that is pinned for {host}")]
    PinnedPayee {
        /// The request's host.
        host: String,
    },
    /// Another payee than the one that was paid before.
    #[error("payTo is another than the one that was paid at {host} before")]
    ChangedPayee {
        /// The request's host.
        host: String,
    },
    /// The price has risen.
    #[error("asks {asked} atomic units, more than {percent} % above {base}, the {which} price known")]
    Drift {
        /// What the offer asks for, in atomic units.
        asked: String,
        /// By how much it may rise.
        percent: u32,
        /// What it is compared with, in atomic units.
        base: String,
        /// `first` or `lowest`.
        which: &'static str,
    },
    /// A budget would be exceeded.
    #[error("the {window} budget {budget} of {limit} has {held} in use, and this costs {cost}")]
    OverBudget {
        /// Which: `*` for all dollars, otherwise what it counts.
        budget: String,
        /// Its window.
        window: Window,
        /// The most it holds.
        limit: String,
        /// What it holds.
        held: String,
        /// What it would hold more.
        cost: String,
    },
    /// Too many payments.
    #[error("more than {limit} payments in one {window}")]
    Velocity {
        /// The most.
        limit: u64,
        /// In which window.
        window: Window,
        /// Whether the level is to be frozen over it.
        freezes: bool,
    },
    /// The kill switch is on.
    #[error("payments are frozen: {why}")]
    Frozen {
        /// What was said when it was switched on.
        why: String,
    },
    /// It costs more than may be paid without asking.
    #[error("above {above}: needs approval")]
    NeedsApproval {
        /// What may be paid without asking.
        above: String,
    },
    /// More would be put into a channel than may be without asking.
    #[error("puts {deposit} into a channel, above {above}: needs approval")]
    DepositNeedsApproval {
        /// What would be put there.
        deposit: String,
        /// What may be paid without asking.
        above: String,
    },
    /// Somebody would have to be asked, and nobody is named.
    #[error("needs approval, and the policy names nobody to ask")]
    NobodyToAsk,
    /// Budgets count dollars, and nobody knows what the asset is worth.
    #[error("the asset counts in no budget of dollars: give it budgets of its own")]
    Uncountable,
    /// Too large a number to count.
    #[error("its amount is too large to count")]
    TooLarge,
    /// `paymentFlow` has a value that nobody knows.
    #[error("its paymentFlow is unknown")]
    UnknownFlow,
    /// `paymentFlow` is one that this wallet does not support.
    #[error("its paymentFlow, {0}, is not supported")]
    UnsupportedFlow(&'static str),
    /// The seller's signature on it is wrong, or on something else.
    #[error("its signed offer is not to be trusted: {0}")]
    SignedOffer(String),
    /// The policy requires a signed offer.
    #[error("it is not signed by a key that is known to be the seller's")]
    NotSigned,
    /// Channels may not be opened.
    #[error("no channels may be opened")]
    NoChannels,
    /// Money in the channel would come back too late.
    #[error("its withdrawDelay is {asked}, the limit is {limit}")]
    LongWithdrawDelay {
        /// What the offer asks for, in seconds.
        asked: u64,
        /// What the policy allows.
        limit: u64,
    },
    /// Claims would be authorized by somebody who is not listed.
    #[error("its receiverAuthorizer is not one that is listed")]
    ReceiverAuthorizer,
    /// More must be put into the channel than may be.
    #[error("a deposit of {needed} atomic units is needed, and the limit is {cap}")]
    DepositAboveCap {
        /// What is needed, or the least that the seller takes.
        needed: String,
        /// What the policy allows.
        cap: String,
    },
    /// More would be out in channels than may be.
    #[error("at most {limit} may be out in channels, and {held} is")]
    Exposure {
        /// The most.
        limit: String,
        /// What is out.
        held: String,
    },
    /// Something is wrong with the channel: nothing more is signed on it.
    #[error("the channel with this seller is given up: {why}")]
    BrokenChannel {
        /// What is wrong.
        why: String,
    },
    /// An answer that is under way would need a deposit to go on, and takes vouchers only.
    #[error(
        "the answer that is under way goes on by voucher alone, and its channel holds too little: ask for the rest anew"
    )]
    DepositWhileUnderWay,
    /// A price of nothing: no payment says that.
    #[error("its amount is zero")]
    ZeroAmount,
    /// An authorization that is born expired.
    #[error("its maxTimeoutSeconds is zero")]
    ZeroTimeout,
    /// The authorization would be good for too long.
    #[error("its maxTimeoutSeconds is {asked}, the limit is {limit}")]
    LongTimeout {
        /// What the offer asks for.
        asked: u64,
        /// What the policy allows.
        limit: u64,
    },
    /// Nobody knows what the asset is worth.
    #[error("the asset is unknown: allow it with a cap of its own")]
    UnknownAsset,
    /// The asset is known and does not stand for a dollar.
    #[error("{symbol} is not a dollar: allow it with a cap of its own")]
    NotDollars {
        /// The asset.
        symbol: String,
    },
    /// No dollars at all may be spent without a cap of the asset's own.
    #[error("the policy has no cap for dollars: allow the asset with a cap of its own")]
    NoDollarCap,
    /// More than the cap.
    #[error("above the cap of {cap} per payment")]
    AboveCap {
        /// The cap, as it was set.
        cap: String,
    },
    /// The cap cannot be told in the asset's units, so nothing can be held against it.
    #[error("the cap of {cap} per payment cannot be told in the asset's {decimals} decimals")]
    UnusableCap {
        /// The cap, as it was set.
        cap: String,
        /// The asset's decimals.
        decimals: u8,
    },
}

impl Decision {
    /// Whether the offer may be paid.
    ///
    /// ```
    /// use tollway_buyer::{Decision, Reason};
    /// assert!(Decision::Allow.is_allow() && !Decision::Deny(Reason::ZeroAmount).is_allow());
    /// ```
    pub fn is_allow(&self) -> bool {
        *self == Self::Allow
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow => f.write_str("allowed"),
            Self::Deny(reason) => write!(f, "{reason}"),
        }
    }
}

impl Verdict {
    /// Whether it may be paid without asking anybody.
    ///
    /// ```
    /// use tollway_buyer::Verdict;
    /// assert!(Verdict::Allow.is_allow() && !Verdict::Deny(Vec::new()).is_allow());
    /// ```
    pub fn is_allow(&self) -> bool {
        *self == Self::Allow
    }

    /// Whether it may not be paid, whoever is asked.
    ///
    /// ```
    /// use tollway_buyer::Verdict;
    /// assert!(!Verdict::Ask(Vec::new()).is_deny() && Verdict::Deny(Vec::new()).is_deny());
    /// ```
    pub fn is_deny(&self) -> bool {
        matches!(self, Self::Deny(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, breaches: &mut dyn Iterator<Item = &Breach>| {
            let breaches: Vec<String> = breaches.map(ToString::to_string).collect();
            f.write_str(&breaches.join("; "))
        };
        match self {
            Self::Allow => f.write_str("allowed"),
            Self::Ask(questions) => {
                f.write_str("to be asked: ")?;
                list(f, &mut questions.iter().flat_map(|question| &question.why))
            }
            Self::Deny(breaches) => {
                f.write_str("denied: ")?;
                list(f, &mut breaches.iter())
            }
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.level)
    }
}
