//! Budgets: how much of each has been counted in each of its windows. What is counted, by whom and in which unit is the
//! buyer's; the ledger adds, takes away, and lets no sum go above the limit that a hold brings with it.

use tollway_core::{Amount, UnixTime};

/// What something counts for in one budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The budget, by its name: at most 1,024 bytes.
    pub budget: String,
    /// When the window begins that it is counted in.
    pub window: UnixTime,
    /// When that window ends. What is counted in it is of no use to anybody some time later.
    pub until: UnixTime,
    /// How much, in the budget's unit.
    pub amount: Amount,
}

/// A hold, if there is room for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewHold {
    /// What to count.
    pub hold: Hold,
    /// What all that is counted in that window may come to, this hold included.
    pub limit: Amount,
}

/// No room for a hold: nothing was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverBudget {
    /// The budget.
    pub budget: String,
    /// When its window begins.
    pub window: UnixTime,
    /// What is counted in it.
    pub held: Amount,
    /// What may be.
    pub limit: Amount,
}

/// What is counted in one window of a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Its name.
    pub name: String,
    /// When the window begins.
    pub window: UnixTime,
    /// When it ends.
    pub until: UnixTime,
    /// What is counted.
    pub amount: Amount,
}
