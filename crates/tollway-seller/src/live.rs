//! The offers of a fixed price whose assets are watched, or whose deadlines count from when they are told: made anew when
//! what is known of an asset changes, or once a second, and not for a request. What is in them is decided in [`crate::offers`].

use std::sync::Arc;

use parking_lot::RwLock;
use tollway_core::UnixTime;

use crate::offers::{About, Offer, Offers};
use crate::paywall::Core;
use crate::route::Route;
use crate::watch::Snapshot;

/// A price, with the offers that it comes to now.
#[derive(Debug)]
pub(crate) struct LiveOffers {
    list: Vec<Offer>,
    route: Route,
    about: About,
    current: RwLock<Arc<Made>>,
    is_timed: bool,
}

/// Offers, and what they were made of.
#[derive(Debug)]
struct Made {
    offers: Arc<Offers>,
    of: Arc<Snapshot>,
    at: UnixTime,
}

impl LiveOffers {
    pub(crate) fn new(core: &Core, list: Vec<Offer>, route: Route, about: About) -> Self {
        let at = core.clock.now();
        let of = core.watches.snapshot(at);
        let offers = Arc::new(Offers::assemble(core, &of, list.clone(), route.clone(), about.clone()));
        let is_timed = list.iter().any(Offer::is_timed);
        Self { list, route, about, current: RwLock::new(Arc::new(Made { offers, of, at })), is_timed }
    }

    /// The offers of now.
    pub(crate) fn now(&self, core: &Core) -> Arc<Offers> {
        let at = core.clock.now();
        let of = core.watches.snapshot(at);
        let made = Arc::clone(&self.current.read());
        if Arc::ptr_eq(&made.of, &of) && (!self.is_timed || made.at == at) {
            return Arc::clone(&made.offers);
        }
        let (list, route, about) = (self.list.clone(), self.route.clone(), self.about.clone());
        let offers = Arc::new(Offers::assemble(core, &of, list, route, about));
        *self.current.write() = Arc::new(Made { offers: Arc::clone(&offers), of, at });
        offers
    }
}
