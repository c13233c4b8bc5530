//! `tollway proxy`: a forward proxy that pays. Programs that know nothing of payments send it their requests; what answers 402
//! and the wallet's policy allows is paid for.
//!
//! One request runs through a file each: `door` lets its sender in, `target` says where it goes, `headers` what goes with it,
//! `forward` sends it through the wallet (`asking` is what happens below the wallet), `answer` tells what came of it. `tunnel`
//! is what a client sees of `CONNECT`, `authority` ends TLS in it where the owner wants that. `listen` is the sockets.
//!
//! What does not live here: whether to pay, and how (`tollway-buyer`).

mod agents;
mod answer;
mod asking;
mod authority;
mod door;
mod forward;
mod headers;
mod listen;
mod problem;
mod target;
mod tunnel;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use reqwest::ClientBuilder;
use reqwest_middleware::ClientWithMiddleware;
use tokio::sync::{Semaphore, watch};
use tollway_buyer::{Patience, Wallet, WalletBuilder};
use tollway_core::BoxFuture;

pub(crate) use self::agents::Agents;
use self::asking::keeper;
use self::headers::Via;
use self::problem::Problem;

pub(crate) use self::authority::Authority;
pub(crate) use self::door::{Door, Guest};
pub(crate) use self::listen::serve_until_stopped;
pub(crate) use self::target::{Entrance, Reach, Routes};

/// How long a connection to a seller may take to come about.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// How long a seller's answer may pause.
const ANSWER_PAUSE: Duration = Duration::from_secs(300);
/// How many requests are asked and paid for at once; more wait a little.
const MAX_REQUESTS: usize = 256;
/// How many tunnels there are at once.
const MAX_TUNNELS: usize = 512;
/// How much of request bodies is held at once, in units of [`BODY_UNIT`].
const MAX_BODY_UNITS: usize = 4096;
/// A unit of held bodies, in bytes.
const BODY_UNIT: usize = 64 * 1024;

/// The longest request body that may be chosen: it must fit what is held at once.
pub(crate) const MAX_BODY_BYTES: usize = MAX_BODY_UNITS * BODY_UNIT;

/// Bodies of answers.
type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// What a proxy is made of.
pub(crate) struct Setup {
    /// Its HTTP settings will be the proxy's.
    pub(crate) wallet: WalletBuilder,
    pub(crate) agents: Agents,
    pub(crate) patience: Duration,
    pub(crate) door: Door,
    pub(crate) routes: Routes,
    pub(crate) tunnels: Tunnels,
    /// The longest request body.
    pub(crate) max_body_bytes: usize,
}

/// What `CONNECT` does.
pub(crate) enum Tunnels {
    /// It is refused.
    Closed,
    /// Bytes are passed on unread, and nothing is paid.
    Blind,
    /// TLS is ended here, and what is inside is paid for.
    Open(Box<Authority>),
}

/// The proxy.
pub(crate) struct Proxy {
    /// What asks, below the wallet.
    client: reqwest::Client,
    wallet: Wallet,
    agents: Agents,
    patience: Duration,
    door: Door,
    routes: Routes,
    tunnels: Tunnels,
    via: Via,
    max_body_bytes: usize,
    requests: Arc<Semaphore>,
    held: Arc<Semaphore>,
    open_tunnels: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
    /// The port that it listens on, to be told from others on this machine.
    port: u16,
}

impl Proxy {
    pub(crate) fn new(setup: Setup, port: u16) -> anyhow::Result<Arc<Self>> {
        let Setup { wallet, agents, patience, door, routes, tunnels, max_body_bytes } = setup;
        let guide = routes.guide();
        // No proxy of the environment: it may be this one. No redirect: it is the client's to follow, or not.
        let settings = move |client: ClientBuilder| {
            client
                .no_proxy()
                .referer(false)
                .redirect(reqwest::redirect::Policy::none())
                .dns_resolver(Arc::new(guide))
                .connect_timeout(CONNECT_DEADLINE)
                .read_timeout(ANSWER_PAUSE)
        };
        let waits = Patience { total: patience, answer: patience, ..Patience::default() };
        let wallet = wallet.patience(waits).http(settings).build()?;
        Ok(Arc::new(Self {
            client: settings(reqwest::Client::builder()).build()?,
            wallet,
            agents,
            patience,
            door,
            routes,
            tunnels,
            via: Via::random()?,
            max_body_bytes,
            requests: Arc::new(Semaphore::new(MAX_REQUESTS)),
            held: Arc::new(Semaphore::new(MAX_BODY_UNITS)),
            open_tunnels: Arc::new(Semaphore::new(MAX_TUNNELS)),
            stopping: watch::Sender::new(false),
            port,
        }))
    }

    /// What pays for a guest: the wallet's own client under its rules, with one thing below it.
    fn client_of(&self, guest: &Guest) -> Result<ClientWithMiddleware, Problem> {
        let wallet = self.agents.wallet(&self.wallet, guest)?;
        let failed =
            |error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", format!("the wallet: {error}"));
        Ok(reqwest_middleware::ClientBuilder::new(self.client.clone())
            .with(wallet.middleware().map_err(failed)?)
            .with(keeper(self.patience))
            .build())
    }

    /// Answers one request. `guest` is known already where the request comes out of a tunnel.
    fn handle(
        self: Arc<Self>,
        entrance: Entrance,
        guest: Option<Guest>,
        request: Request<Incoming>,
    ) -> BoxFuture<'static, Response<Body>> {
        Box::pin(async move {
            let method = request.method().clone();
            let host = request.uri().host().unwrap_or("-").to_owned();
            self.route(entrance, guest, request).await.unwrap_or_else(|problem| {
                tracing::info!(%method, host, status = problem.status().as_u16(), "{}", problem.detail());
                problem.into_response()
            })
        })
    }

    async fn route(
        self: &Arc<Self>,
        entrance: Entrance,
        guest: Option<Guest>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Problem> {
        let guest = match guest {
            Some(guest) => guest,
            None => self.door.admit(request.headers())?,
        };
        self.via.check(request.headers())?;
        if *request.method() == Method::CONNECT && matches!(entrance, Entrance::Port) {
            return self.tunnel(guest, request).await;
        }
        self.forward(&entrance, &guest, request).await
    }
}
