//! A seller process: a real paywall around a handler that takes its time and sometimes fails.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use axum::routing::get;
use tollway_ledger::Ledger;
use tollway_seller::{BackgroundLimits, Paywall, Priced, StartError};
use tower::{Service, ServiceExt};

use crate::dice::Dice;
use crate::network::FacilitatorLink;
use crate::process::Process;
use crate::world::{Market, PRICE};

/// The ways to sell, each its own route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Route {
    Authorization,
    Upfront,
    Background,
    /// Settled only after more blocks than any reorganisation takes back.
    Final,
}

impl Route {
    pub(crate) const ALL: [Self; 4] = [Self::Authorization, Self::Upfront, Self::Background, Self::Final];

    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Authorization => "authorization",
            Self::Upfront => "upfront",
            Self::Background => "background",
            Self::Final => "final",
        }
    }
}

/// What the shop can lose at most on background settlements, in all.
const OWED_IN_ALL: &str = "$2.00";
pub(crate) const OWED_IN_ALL_ATOMIC: u64 = 2_000_000;

/// A running shop. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shop {
    pub(crate) process: Process,
    router: Router,
}

impl Shop {
    pub(crate) async fn start(
        market: Arc<Market>,
        process: Process,
        facilitator: FacilitatorLink,
        ledger: Arc<dyn Ledger>,
    ) -> Result<Self, StartError> {
        let paywall = Paywall::builder(crate::buyer::BASE_URL)
            .accept(market.network.as_str(), market.payee.to_checksum(None))
            .assets(market.assets.clone())
            .facilitator(facilitator)
            .clock(market.clock.clone())
            .ledger(ledger)
            .name(process.name())
            .settle_timeout_ms(40_000)
            .verify_timeout_ms(20_000)
            .start()
            .await?;
        let mut router = Router::new();
        for route in Route::ALL {
            let priced = priced(&paywall, route);
            let (dice, failures) = (market.dice.clone(), market.plan.handler_fails);
            let handler = get(move || handle(dice.clone(), failures)).layer(priced);
            router = router.route(&format!("/{}/{{purchase}}", route.path()), handler);
        }
        Ok(Self { process, router })
    }

    pub(crate) async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let mut router = self.router.clone().into_service::<Body>();
        let answered: Result<_, Infallible> = async { router.ready().await?.call(request).await }.await;
        match answered {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

fn priced(paywall: &Paywall, route: Route) -> Priced {
    let priced = paywall.price(PRICE).expect("a price");
    match route {
        Route::Authorization => priced,
        Route::Upfront => priced.upfront(),
        Route::Background => {
            let limits = BackgroundLimits {
                per_payer: "$0.30".parse().expect("money"),
                in_all: OWED_IN_ALL.parse().expect("money"),
            };
            priced.background(limits).expect("limits")
        }
        Route::Final => priced.confirmations(6),
    }
}

async fn handle(dice: Dice, failures: u64) -> (StatusCode, String) {
    tokio::time::sleep(dice.pause(Duration::from_millis(300))).await;
    if dice.happens(failures) {
        return (StatusCode::INTERNAL_SERVER_ERROR, "the handler failed".to_owned());
    }
    (StatusCode::OK, format!("served {:016x}", dice.next()))
}
