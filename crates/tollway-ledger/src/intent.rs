//! Intents: purchases of a buyer's, from before anything is signed to after nothing can happen any more. What is written
//! about one is the buyer's; the ledger says who may write next, what it counts in budgets, and which requests are one.

use std::fmt;
use std::str::FromStr;

use tollway_core::UnixTime;

use crate::{Condition, Fact, Hold, Member, NewHold, OverBudget};

/// Names an intent: 16 bytes that nobody can guess, chosen by who opens it, so that an opening whose answer was lost can
/// be repeated. As text `int_` and 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IntentId(pub [u8; 16]);

const PREFIX: &str = "int_";

impl fmt::Display for IntentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", hex::encode(self.0))
    }
}

impl fmt::Debug for IntentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IntentId({self})")
    }
}

/// With or without `int_`.
impl FromStr for IntentId {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut id = [0; 16];
        hex::decode_to_slice(text.strip_prefix(PREFIX).unwrap_or(text), &mut id)?;
        Ok(Self(id))
    }
}

/// A purchase of a buyer's: one authorization at a time, presented again on every retry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Its name.
    pub id: IntentId,
    /// Whose purchase it is. Keys of different wallets do not meet.
    pub wallet: String,
    /// On whose behalf, if the wallet tells its agents apart.
    pub agent: Option<String>,
    /// What makes two requests of a wallet one purchase. None: nothing does, or not any more. Together with the wallet at
    /// most 1,024 bytes: what may be longer is hashed.
    pub key: Option<String>,
    /// How often it has been written. Who writes it has read this version.
    pub version: u64,
    /// Who works on it; none while it rests.
    pub holder: Option<Member>,
    /// Whether anything can still happen: a payment that is neither settled for good nor provably dead.
    pub is_open: bool,
    /// Once it is closed: until when its key still means this purchase.
    pub repeat_until: UnixTime,
    /// While it is open: when somebody must look after it, if its holder has not.
    pub due: UnixTime,
    /// When it was opened.
    pub created: UnixTime,
    /// Once it is closed: until when it is remembered; never shorter than [`Self::repeat_until`].
    pub until: UnixTime,
    /// What it counts in budgets. Kept by the ledger: it changes by [`NewIntent::holds`] and [`IntentChange`] only.
    pub holds: Vec<Hold>,
    /// What else is known of it.
    pub body: String,
}

/// An intent to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewIntent {
    /// As it is to be; its version and its holds are the ledger's to set.
    pub intent: Intent,
    /// What it is to count. All or nothing.
    pub holds: Vec<NewHold>,
    /// What must be true.
    pub conditions: Vec<Condition>,
    /// Whether it is on the disk before it is answered. If not, it is there for everybody all the same, and stays there if
    /// this process is killed; but a machine that fails may forget it, unless anything synced was written after it: then
    /// both are on the disk. For who does nothing that outlives the process before such a write.
    pub is_synced: bool,
    /// Now.
    pub now: UnixTime,
}

/// What came of a [`NewIntent`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It is there now, and counted.
    Fresh(Intent),
    /// It was there, by its name or its key: nothing was written or counted.
    Known {
        /// As it is.
        intent: Intent,
        /// Whether a living member works on it; who asks counts as living.
        is_held: bool,
    },
    /// There is no room for one of the holds: nothing was written.
    OverBudget(OverBudget),
    /// A condition does not hold, because of this fact: nothing was written.
    Unmet(Fact),
}

/// A change of an intent by who has read it as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntentChange {
    /// As it is to be, with the version that was read. A key may be dropped and never changed; wallet, agent, time of
    /// opening and holds stay, whatever is written here.
    pub intent: Intent,
    /// What it counts no longer. Of more than it holds, what it holds.
    pub release: Vec<Hold>,
    /// What it counts from now on, after the release. All or nothing.
    pub add: Vec<NewHold>,
    /// What must be true.
    pub conditions: Vec<Condition>,
    /// Now.
    pub now: UnixTime,
}

impl IntentChange {
    /// A change that leaves budgets and facts alone.
    ///
    /// ```
    /// use tollway_core::UnixTime;
    /// use tollway_ledger::{Intent, IntentChange};
    /// fn at_rest(intent: Intent, now: UnixTime) -> IntentChange {
    ///     IntentChange::new(Intent { holder: None, ..intent }, now)
    /// }
    /// ```
    #[must_use]
    pub const fn new(intent: Intent, now: UnixTime) -> Self {
        Self { intent, release: Vec::new(), add: Vec::new(), conditions: Vec::new(), now }
    }
}

/// What came of an [`IntentChange`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Written: as it is now.
    Done(Intent),
    /// Another has written it since, or it is not there: nothing was written.
    Stale,
    /// There is no room for one of the holds: nothing was written.
    OverBudget(OverBudget),
    /// A condition does not hold, because of this fact: nothing was written.
    Unmet(Fact),
}

/// Which intents to list, by time of opening and then name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntentQuery {
    /// Of this wallet.
    pub wallet: String,
    /// Of this agent.
    pub agent: Option<String>,
    /// Only open ones, or only closed ones.
    pub is_open: Option<bool>,
    /// Opened at this time or later.
    pub from: Option<UnixTime>,
    /// Opened before this time.
    pub to: Option<UnixTime>,
    /// From behind the one that was opened then and has this name, in the order of the list.
    pub after: Option<(UnixTime, IntentId)>,
    /// The newest first, instead of the oldest.
    pub is_newest_first: bool,
    /// At most so many.
    pub limit: u32,
}
