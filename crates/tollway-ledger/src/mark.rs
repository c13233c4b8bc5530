//! Marks: facts that are remembered until a time, and nothing more of them. That a wallet has bought a resource; that a
//! nonce has been used.

use tollway_core::UnixTime;

/// A fact, by its name among those of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMark {
    /// Which kind of fact, and whose: names of different scopes do not meet.
    pub scope: String,
    /// Its name.
    pub name: String,
    /// Until when it is remembered. A mark that is there already is remembered for the longer of the two.
    pub until: UnixTime,
    /// Now.
    pub now: UnixTime,
}

/// What came of a [`NewMark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marked {
    /// It was not there, or past its time.
    Fresh,
    /// It was there.
    Known,
}
