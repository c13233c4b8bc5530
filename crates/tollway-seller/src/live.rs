//! The offers of a fixed price whose assets are watched: made anew when what is known of an asset changes, and not for a
//! request. What is in them is decided in [`crate::offers`].

use std::sync::Arc;

use parking_lot::RwLock;

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
}

/// Offers, and what they were made of.
#[derive(Debug)]
struct Made {
    offers: Arc<Offers>,
    of: Arc<Snapshot>,
}

impl LiveOffers {
    pub(crate) fn new(core: &Core, list: Vec<Offer>, route: Route, about: About) -> Self {
        let of = core.watches.snapshot(core.clock.now());
        let offers = Arc::new(Offers::assemble(core, &of, list.clone(), route.clone(), about.clone()));
        Self { list, route, about, current: RwLock::new(Arc::new(Made { offers, of })) }
    }

    /// The offers of now.
    pub(crate) fn now(&self, core: &Core) -> Arc<Offers> {
        let of = core.watches.snapshot(core.clock.now());
        let made = Arc::clone(&self.current.read());
        if Arc::ptr_eq(&made.of, &of) {
            return Arc::clone(&made.offers);
        }
        let (list, route, about) = (self.list.clone(), self.route.clone(), self.about.clone());
        let offers = Arc::new(Offers::assemble(core, &of, list, route, about));
        *self.current.write() = Arc::new(Made { offers: Arc::clone(&offers), of });
        offers
    }
}
