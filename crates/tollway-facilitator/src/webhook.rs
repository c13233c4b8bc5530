//! Webhooks: outcomes told to who wants to know, signed, until they have arrived.
//!
//! A delivery is written down in the same step as the outcome that it tells ([`OutcomeEndpoints`]), so none is lost. A
//! [`Webhooks`] takes what is due from the ledger and posts it, and tries again for about a day. Several processes on
//! one ledger share the work: what one has taken is not given to another before its try must have ended. A process
//! that dies in the middle of a try leaves it to be tried again, so **a message may arrive twice**; its `webhook-id`
//! is then the same.
//!
//! Signed as Standard Webhooks has it ([`WebhookSecret`]): `webhook-id`, `webhook-timestamp`, `webhook-signature`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, histogram};
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tollway_core::{Clock, UnixTime, WebhookSecret, webhook_url};
use tollway_ledger::{Delivery, DeliveryResult, Ledger, NewDelivery, Settlement, SettlementState};

use crate::settlement_json::{settlement_json, state_word};
use crate::telemetry::{DELIVERIES, DELIVERY_SECONDS};

/// The most endpoints there may be.
pub const MAX_WEBHOOKS: usize = 64;
/// How often a message is tried: with the pauses in between about 23 hours.
const MAX_TRIES: u32 = 15;
/// How long one answer of the ledger may take.
const LEDGER_DEADLINE: Duration = Duration::from_secs(10);
/// What is claimed is nobody else's for so long, beyond the deadline of the try: the ledger's deadline, and the rounding
/// of two clocks.
const CLAIM_MARGIN_SECONDS: u64 = 12;

/// Tells the endpoints of outcomes, until it is stopped or dropped.
#[derive(Debug)]
pub struct Webhooks {
    workers: JoinSet<()>,
    stop: watch::Sender<bool>,
}

/// Where to post outcomes to.
#[derive(Clone, Debug)]
pub struct WebhookSetup {
    /// Its name in the configuration and in the ledger.
    pub name: String,
    /// https, or http to this machine.
    pub url: String,
    /// What messages are signed with.
    pub secret: WebhookSecret,
}

/// How deliveries are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookLimits {
    /// How long one try may take.
    pub deadline: Duration,
    /// How many tries run at once, for each endpoint.
    pub concurrency: u32,
    /// How often the ledger is asked for what is due.
    pub poll_every: Duration,
    /// After how many seconds a message is tried for the second time; each further pause is twice as long.
    pub first_retry_seconds: u64,
}

/// Who is told of which outcomes: names of endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutcomeEndpoints {
    /// Told of every outcome.
    pub of_all: Vec<String>,
    /// Told of the outcomes of one caller's settlements, by the caller's name.
    pub of_caller: BTreeMap<String, String>,
}

impl Default for WebhookLimits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(15),
            concurrency: 4,
            poll_every: Duration::from_secs(1),
            first_retry_seconds: 5,
        }
    }
}

impl OutcomeEndpoints {
    /// What to write down when `settlement` goes on to `next`: one message for each endpoint that is to be told.
    ///
    /// ```
    /// use tollway_core::UnixTime;
    /// use tollway_facilitator::OutcomeEndpoints;
    /// use tollway_ledger::{NewDelivery, Settlement, SettlementState};
    /// fn abandoned(endpoints: &OutcomeEndpoints, settlement: &Settlement, now: UnixTime) -> Vec<NewDelivery> {
    ///     let next = SettlementState::Abandoned { message: "the node was down".to_owned() };
    ///     endpoints.deliveries(settlement, &next, now)
    /// }
    /// ```
    pub fn deliveries(
        &self,
        settlement: &Settlement,
        next: &SettlementState,
        now: UnixTime,
    ) -> Vec<NewDelivery> {
        let Some(event) = event(&settlement.state, next) else { return Vec::new() };
        let own = settlement.caller.as_ref().and_then(|caller| self.of_caller.get(caller));
        let own = own.filter(|name| !self.of_all.contains(name));
        let endpoints: Vec<&String> = self.of_all.iter().chain(own).collect();
        if endpoints.is_empty() {
            return Vec::new();
        }
        let mut data = settlement_json(settlement, next);
        data.insert("updatedAt".to_owned(), now.0.into());
        let body = json!({ "type": event, "at": now.0, "data": Value::Object(data) }).to_string();
        let delivery = |endpoint: &String| NewDelivery { endpoint: endpoint.clone(), body: body.clone() };
        endpoints.into_iter().map(delivery).collect()
    }
}

/// What has happened, if anybody is to be told.
fn event(before: &SettlementState, next: &SettlementState) -> Option<String> {
    let was_settled = matches!(before, SettlementState::Settled { .. });
    let word = match next {
        SettlementState::Settled { is_final: true, .. } if was_settled => "final",
        SettlementState::Settled { .. } if was_settled => return None,
        SettlementState::Reserved => return None,
        // What is sent is written down with its transaction, not as a step of its own: unless the block that settled
        // it is no longer part of the chain.
        SettlementState::Sent { .. } => "taken_back",
        ended => state_word(ended),
    };
    Some(format!("settlement.{word}"))
}

impl Webhooks {
    /// Starts telling `endpoints` what the ledger has for them, on the current tokio runtime.
    ///
    /// # Errors
    /// Every fault at once: a name given twice, a URL that is neither https nor of this machine, a limit of zero.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use tollway_core::SystemClock;
    /// # use tollway_ledger::Ledger;
    /// use tollway_core::WebhookSecret;
    /// use tollway_facilitator::{WebhookLimits, WebhookSetup, Webhooks};
    /// # async fn start(ledger: Arc<dyn Ledger>) -> Result<(), Box<dyn std::error::Error>> {
    /// let shop = WebhookSetup {
    ///     name: "shop".to_owned(),
    ///     url: "https://shop.example/outcomes".to_owned(),
    ///     secret: WebhookSecret::parse(&std::env::var("SHOP_SECRET")?)?,
    /// };
    /// let clock = Arc::new(SystemClock);
    /// let webhooks = Webhooks::start(ledger, clock, vec![shop], WebhookLimits::default())
    ///     .map_err(|faults| faults.join("\n"))?;
    /// webhooks.stop().await;
    /// # Ok(()) }
    /// ```
    pub fn start(
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
        endpoints: Vec<WebhookSetup>,
        limits: WebhookLimits,
    ) -> Result<Self, Vec<String>> {
        let faults = Self::faults(&endpoints, &limits);
        if !faults.is_empty() {
            return Err(faults);
        }
        let (stop, stopped) = watch::channel(false);
        let mut workers = JoinSet::new();
        for WebhookSetup { name, url, secret } in endpoints {
            let url = webhook_url(&url).map_err(|fault| vec![fault])?;
            let client = client(&url).map_err(|fault| vec![fault])?;
            let (ledger, clock, limits) = (Arc::clone(&ledger), Arc::clone(&clock), limits.clone());
            let endpoint = Endpoint { name, url, secret, client, ledger, clock, limits };
            workers.spawn(Arc::new(endpoint).run(stopped.clone()));
        }
        Ok(Self { workers, stop })
    }

    /// What would keep it from starting, all at once.
    ///
    /// ```
    /// use tollway_facilitator::{WebhookLimits, WebhookSetup, Webhooks};
    /// use tollway_core::WebhookSecret;
    /// let secret = WebhookSecret::parse("sixteen bytes, or more")?;
    /// let shop = WebhookSetup { name: "shop".to_owned(), url: "http://shop.example/".to_owned(), secret };
    /// let faults = Webhooks::faults(&[shop], &WebhookLimits::default());
    /// assert_eq!(faults, ["webhooks[0].url: must be https, or http to this machine"]);
    /// # Ok::<(), &str>(())
    /// ```
    pub fn faults(endpoints: &[WebhookSetup], limits: &WebhookLimits) -> Vec<String> {
        let mut faults = limits.faults();
        if endpoints.len() > MAX_WEBHOOKS {
            faults.push(format!("webhooks: at most {MAX_WEBHOOKS}"));
        }
        for (index, setup) in endpoints.iter().enumerate() {
            if setup.name.is_empty() || endpoints[..index].iter().any(|other| other.name == setup.name) {
                faults.push(format!("webhooks[{index}].name: must be a name of its own"));
            }
            if let Err(fault) = webhook_url(&setup.url) {
                faults.push(format!("webhooks[{index}].url: {fault}"));
            }
        }
        faults
    }

    /// Takes no more, and waits for the tries that are under way.
    ///
    /// ```
    /// # async fn end(webhooks: tollway_facilitator::Webhooks) {
    /// webhooks.stop().await;
    /// # }
    /// ```
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        while self.workers.join_next().await.is_some() {}
    }
}

const MAX_DEADLINE_MS: u64 = 3_600_000;
const MAX_CONCURRENCY: u64 = 1_000;
const MAX_POLL_MS: u64 = 3_600_000;
const MAX_FIRST_RETRY_SECONDS: u64 = 86_400;

impl WebhookLimits {
    fn faults(&self) -> Vec<String> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let most = [
            ("deadline_ms", millis(self.deadline), MAX_DEADLINE_MS),
            ("concurrency", u64::from(self.concurrency), MAX_CONCURRENCY),
            ("poll_ms", millis(self.poll_every), MAX_POLL_MS),
            ("first_retry_seconds", self.first_retry_seconds, MAX_FIRST_RETRY_SECONDS),
        ];
        let wrong = most.into_iter().filter(|(_, value, most)| !(1..=*most).contains(value));
        wrong.map(|(name, _, most)| format!("delivery.{name}: must be from 1 to {most}")).collect()
    }
}

/// One endpoint. It has a worker of its own, so a dead one holds up nobody else.
#[derive(Debug)]
struct Endpoint {
    name: String,
    url: Url,
    secret: WebhookSecret,
    client: Client,
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    limits: WebhookLimits,
}

impl Endpoint {
    async fn run(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let mut tries = JoinSet::new();
        let places = usize::try_from(self.limits.concurrency).unwrap_or(usize::MAX);
        while !*stopped.borrow() {
            let free = places.saturating_sub(tries.len());
            if free > 0 {
                for delivery in self.claim(u32::try_from(free).unwrap_or(u32::MAX)).await {
                    tries.spawn(Arc::clone(&self).attempt(delivery));
                }
            }
            tokio::select! {
                _ = stopped.changed() => break,
                Some(_) = tries.join_next() => {}
                () = sleep(self.limits.poll_every) => {}
            }
        }
        while tries.join_next().await.is_some() {}
    }

    async fn claim(&self, limit: u32) -> Vec<Delivery> {
        let now = self.clock.now();
        let retry_at = now.plus_seconds(self.limits.deadline.as_secs() + CLAIM_MARGIN_SECONDS);
        match timeout(LEDGER_DEADLINE, self.ledger.delivery_claim(&self.name, now, retry_at, limit)).await {
            Ok(Ok(due)) => due,
            Ok(Err(error)) => {
                tracing::warn!(endpoint = self.name, %error, "cannot read deliveries");
                Vec::new()
            }
            Err(_) => {
                tracing::warn!(endpoint = self.name, "the ledger does not answer");
                Vec::new()
            }
        }
    }

    /// One try, and what is written down of it.
    async fn attempt(self: Arc<Self>, delivery: Delivery) {
        let began = Instant::now();
        let told = self.post(&delivery).await;
        histogram!(DELIVERY_SECONDS, "endpoint" => self.name.clone()).record(began.elapsed());
        let pause = pause_seconds(&delivery, self.limits.first_retry_seconds);
        let (word, result) = match (&told, pause) {
            (Ok(()), _) => ("delivered", DeliveryResult::Over),
            (Err(_), Some(seconds)) => {
                ("failed", DeliveryResult::RetryAt(self.clock.now().plus_seconds(seconds)))
            }
            (Err(_), None) => ("given_up", DeliveryResult::Over),
        };
        counter!(DELIVERIES, "endpoint" => self.name.clone(), "result" => word).increment(1);
        let (endpoint, settlement, tries) = (&self.name, delivery.settlement, delivery.tries);
        match told {
            Ok(()) => tracing::debug!(endpoint, %settlement, tries, "delivered"),
            Err(error) => tracing::warn!(endpoint, %settlement, tries, error, "not delivered: {word}"),
        }
        let finish = timeout(LEDGER_DEADLINE, self.ledger.delivery_finish(delivery.id, result)).await;
        if !matches!(finish, Ok(Ok(()))) {
            tracing::warn!(endpoint, %settlement, "what became of a delivery is not written: it will be sent again");
        }
    }

    async fn post(&self, delivery: &Delivery) -> Result<(), String> {
        let id = format!("msg_{}_{}", delivery.settlement, delivery.id.0);
        let timestamp = self.clock.now().0.to_string();
        let signature =
            self.secret.sign(&id, &timestamp, &delivery.body).ok_or("the message cannot be signed")?;
        let request = self
            .client
            .post(self.url.clone())
            .timeout(self.limits.deadline)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(delivery.body.clone());
        // What it says beside its status is not read.
        match request.send().await.map(|response| response.status()) {
            Ok(status) if status.is_success() => Ok(()),
            Ok(status) => Err(format!("status {}", status.as_u16())),
            Err(error) if error.is_timeout() => Err("no answer in time".to_owned()),
            Err(error) if error.is_connect() => Err("not reached".to_owned()),
            Err(_) => Err("the connection broke".to_owned()),
        }
    }
}

/// How long to wait after a failed try; none if it was the last. Twice as long each time, and up to a quarter more, so
/// that what failed together does not come back together.
fn pause_seconds(delivery: &Delivery, first: u64) -> Option<u64> {
    if delivery.tries >= MAX_TRIES {
        return None;
    }
    let pause = first.saturating_mul(1 << delivery.tries.saturating_sub(1).min(MAX_TRIES));
    let seed = Sha256::digest(format!("{}.{}", delivery.id.0, delivery.tries));
    let share = u64::from(seed[0]);
    Some(pause.saturating_add(pause.saturating_mul(share) / 1_024))
}

fn client(url: &Url) -> Result<Client, String> {
    let mut client = Client::builder().redirect(Policy::none());
    if url.scheme() == "http" {
        // Plaintext stays on this machine: no proxy sees it, and `localhost` is not for a name server to say.
        let here = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let here = here.map(|address| SocketAddr::new(address, 0));
        client = client.no_proxy().resolve_to_addrs("localhost", &here);
    }
    client.build().map_err(|error| error.without_url().to_string())
}
