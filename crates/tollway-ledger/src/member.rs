//! Members: the processes that share a ledger. What a member holds is free for others once it is dead.

/// What a member does. Lanes are shared out among facilitators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Verifies and settles.
    Facilitator,
    /// Sells.
    Seller,
    /// Buys.
    Buyer,
}

/// One process, from its start to its end. It is alive as long as it renews in time and nobody joined under the same
/// name after it: a program that is started again takes over from itself at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Member {
    /// What it does.
    pub role: Role,
    /// Its name, unique among the living of its role. At most 128 bytes.
    pub name: String,
    /// Grows with each start under this name.
    pub incarnation: u64,
}
