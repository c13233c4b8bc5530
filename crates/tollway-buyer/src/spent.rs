//! What a wallet has signed away since it was made: for people to look at. It limits nothing and survives nothing.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tollway_core::{Amount, Network};

use crate::policy::asset_key;
use crate::sign::SignedPayment;

/// A sum by asset.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spent {
    /// The network.
    pub network: Network,
    /// The asset, as the first offer spelled it.
    pub asset: String,
    /// Its symbol and decimals, if the wallet knows it.
    pub unit: Option<(String, u8)>,
    /// The sum signed, in atomic units. What has moved is this much or less: a payment may be signed in vain.
    pub amount: Amount,
}

/// The sums so far.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<BTreeMap<(Network, String), Spent>>);

impl Tally {
    pub(crate) fn add(&self, payment: &SignedPayment) {
        let offer = &payment.offer;
        let mut sums = self.0.lock();
        let sum = sums.entry(asset_key(&offer.network, &offer.asset)).or_insert_with(|| Spent {
            network: offer.network.clone(),
            asset: offer.asset.clone(),
            unit: payment.value.as_ref().map(|value| (value.symbol.clone(), value.decimals)),
            amount: Amount::ZERO,
        });
        sum.amount = sum.amount.checked_add(offer.amount).unwrap_or(Amount::MAX);
    }

    pub(crate) fn sums(&self) -> Vec<Spent> {
        self.0.lock().values().cloned().collect()
    }
}
