//! What is tried: one case a column, a route each.

/// One way of paying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Case {
    /// Scheme `exact`, by EIP-3009.
    Eip3009,
    /// The older protocol.
    V1,
}

impl Case {
    pub(crate) const ALL: [Self; 2] = [Self::Eip3009, Self::V1];

    /// The column's heading.
    pub(crate) const fn heading(self) -> &'static str {
        match self {
            Self::Eip3009 => "exact/EIP-3009",
            Self::V1 => "v1",
        }
    }

    /// Where it is sold.
    pub(crate) const fn route(self) -> &'static str {
        match self {
            Self::Eip3009 => "/exact-eip3009",
            Self::V1 => "/v1",
        }
    }
}
