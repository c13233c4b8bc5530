//! Facts: small values by scope and name, written by who has read them as they are. A switch that is thrown, an address
//! that is pinned, a price that was seen.

use tollway_core::UnixTime;

/// A small value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Which kind of fact, and whose. Together with the name at most 1,024 bytes.
    pub scope: String,
    /// Its name in the scope.
    pub name: String,
    /// How often it has been written. Who writes it names the version that was read, 0 for one that is not there.
    pub version: u64,
    /// What is known.
    pub value: String,
    /// Until when it is true for a [`Condition`]. It stays readable until it is swept.
    pub until: UnixTime,
}

/// What must be true of a fact when an intent is opened or changed, and stays true until that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It is not there, or past its time.
    Absent {
        /// Its scope.
        scope: String,
        /// Its name.
        name: String,
    },
    /// It has this value; if it is not there, or past its time, it is given it.
    EqualOrSet {
        /// Its scope.
        scope: String,
        /// Its name.
        name: String,
        /// Its value.
        value: String,
        /// Until when it is true, if it is set now.
        until: UnixTime,
    },
}
