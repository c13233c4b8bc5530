//! Deliveries: outcomes that somebody is to be told of, until they are.

use crate::SettlementId;

/// A message to be delivered, written down with what it tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    /// Whom to tell: a name in the operator's configuration, never an address of a caller's choosing.
    pub endpoint: String,
    /// The message.
    pub body: String,
}

/// Names a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId(pub u64);

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its name: the same at each try.
    pub id: DeliveryId,
    /// What it tells of.
    pub settlement: SettlementId,
    /// Whom to tell.
    pub endpoint: String,
    /// The message.
    pub body: String,
    /// How often it was tried, this time included.
    pub tries: u32,
}

/// How a try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryResult {
    /// It arrived, or will never be tried again.
    Over,
    /// Try again, not before this.
    RetryAt(tollway_core::UnixTime),
}
