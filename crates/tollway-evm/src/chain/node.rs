//! One node: the way to it, how fast it may be asked, and one question to it. Which node is asked lives in
//! [`nodes`](super::nodes).

use std::fmt;
use std::num::NonZeroU32;

use alloy_json_rpc::{RequestPacket, ResponsePacket, ResponsePayload};
use alloy_transport::{BoxTransport, IntoBoxTransport};
use tokio::time::{Instant, timeout_at};
use tower::ServiceExt;

use super::answer::{Trouble, Why, judge};
use super::endpoint::Endpoint;
use super::error::{ChainError, Unanswered};
use super::rate::{Admitted, Rate};
use crate::telemetry::NodeLabels;

/// A node of a network, as an operator has it. It shows its name only: its URL may hold keys.
pub struct Node {
    name: String,
    transport: BoxTransport,
    rate: Option<Rate>,
    secrets: Vec<String>,
}

impl Node {
    /// The node at `url` (HTTP). Its name is the URL's host. Redirects are not followed.
    ///
    /// # Errors
    /// [`ChainError::Url`], which does not repeat the URL.
    ///
    /// ```
    /// use tollway_evm::Node;
    /// let node = Node::http("https://user:password@rpc.example.org/v2/a-secret-key")?;
    /// assert_eq!(node.name(), "rpc.example.org");
    /// assert!(Node::http("rpc.example.org").is_err());
    /// # Ok::<(), tollway_evm::ChainError>(())
    /// ```
    pub fn http(url: &str) -> Result<Self, ChainError> {
        let endpoint = Endpoint::new(url)?;
        let (name, secrets) = (endpoint.host(), endpoint.secrets());
        Ok(Self { name, secrets, rate: None, transport: endpoint.into_box_transport() })
    }

    /// A node behind any transport, such as a devnet in this process.
    ///
    /// ```
    /// use alloy_transport::mock::{Asserter, MockTransport};
    /// let node = tollway_evm::Node::from_transport("in here", MockTransport::new(Asserter::new()));
    /// assert_eq!(node.name(), "in here");
    /// ```
    pub fn from_transport(name: impl Into<String>, transport: impl IntoBoxTransport) -> Self {
        let transport = transport.into_box_transport();
        Self { name: name.into(), transport, rate: None, secrets: Vec::new() }
    }

    /// Calls it something else than its host: some providers put the key there.
    ///
    /// ```
    /// use tollway_evm::Node;
    /// let node = Node::http("https://a-secret-key.example.org")?.named("paid");
    /// assert_eq!(node.name(), "paid");
    /// # Ok::<(), tollway_evm::ChainError>(())
    /// ```
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        let host = std::mem::replace(&mut self.name, name.into());
        self.secrets.push(host);
        self
    }

    /// Asks it no faster: so many requests a second, after so many at once. Requests in a batch count one by one.
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use tollway_evm::Node;
    /// let (each_second, burst) = (NonZeroU32::MIN.saturating_add(24), NonZeroU32::MIN.saturating_add(49));
    /// let node = Node::http("https://rpc.example.org")?.rate_limit(each_second, burst);
    /// # Ok::<(), tollway_evm::ChainError>(())
    /// ```
    #[must_use]
    pub fn rate_limit(mut self, requests_per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        self.rate = Some(Rate::new(requests_per_second.get(), burst.get()));
        self
    }

    /// What it is called in logs, metrics and `/health`.
    ///
    /// ```
    /// let node = tollway_evm::Node::http("http://127.0.0.1:8545")?;
    /// assert_eq!(node.name(), "127.0.0.1:8545");
    /// # Ok::<(), tollway_evm::ChainError>(())
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks it, and waits until then at most: for room under its limit, and for the answer.
    pub(super) async fn ask(
        &self,
        labels: &NodeLabels,
        packet: RequestPacket,
        until: Instant,
    ) -> Result<ResponsePacket, Trouble> {
        if let Some(rate) = &self.rate {
            match rate.admit(packet.len(), until).await {
                Admitted::AtOnce => {}
                Admitted::Waited => labels.throttled("waited"),
                Admitted::Refused => {
                    labels.throttled("refused");
                    return Err(Unanswered::Throttled.into());
                }
            }
        }
        let began = Instant::now();
        let asked = packet.clone();
        let answer = match timeout_at(until, self.transport.clone().oneshot(packet)).await {
            Ok(Ok(answer)) => judge(&asked, self.without_secrets(answer)),
            Ok(Err(error)) => Err(Trouble::of_error(error)),
            Err(_) => Err(Unanswered::Late.into()),
        };
        labels.asked(began, answer.as_ref().err().map(|trouble| trouble.why.as_str()));
        answer
    }

    /// Some nodes repeat the key that they do not know.
    fn without_secrets(&self, mut answer: ResponsePacket) -> ResponsePacket {
        let all = match &mut answer {
            ResponsePacket::Single(one) => std::slice::from_mut(one),
            ResponsePacket::Batch(all) => all,
        };
        for one in all {
            if let ResponsePayload::Failure(error) = &mut one.payload {
                for secret in &self.secrets {
                    if error.message.contains(secret.as_str()) {
                        error.message = error.message.replace(secret.as_str(), "…").into();
                    }
                }
            }
        }
        answer
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How a node is, as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// Its place in the configuration, from 0.
    pub index: usize,
    /// What it is called: its host.
    pub name: String,
    /// `healthy`, `unchecked`, or why it is not asked: `unreachable`, `slow`, `http`, `malformed`, `limited`, `troubled`,
    /// `other_chain`, `behind`.
    pub state: &'static str,
    /// Whether it is the one that is asked.
    pub is_primary: bool,
    /// Its newest block that was seen.
    pub head: Option<u64>,
    /// How many blocks it is behind the highest that was seen on any node.
    pub lag_blocks: Option<u64>,
}

impl Why {
    /// Whether a node is left alone after this, until it has been checked.
    pub(super) const fn takes_out(self) -> bool {
        !matches!(self, Self::Unable | Self::Throttled | Self::Troubled)
    }
}
