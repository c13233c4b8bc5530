//! The extension `http-message-signatures`: which agent sends a request, by its signature (RFC 9421, Ed25519).
//!
//! What lives here: the rule of a route, and who a request is from. What does not: what is signed and how (`tollway-core`),
//! and fetching keys (`directory`). A signature says who asks; it pays for nothing.

use std::sync::Arc;

use http::request::Parts;
use tollway_core::extension::message_signatures::{ED25519, SignatureTerms, WEB_BOT_AUTH};
use tollway_core::http_signature::{AgentKey, PresentedSignature, SignatureRules, SignedRequest};
use tollway_core::wire::WireError;
use tollway_core::{ErrorCode, JsonObject, UnixTime};
use url::Url;

use crate::directory::Directories;

/// How a route knows agents: [`Priced::message_signatures`](crate::Priced::message_signatures). By default it trusts no
/// agent, and asks for no signature.
#[derive(Clone, Debug)]
pub struct MessageSignatures {
    registration_url: String,
    rules: SignatureRules,
    is_required: bool,
    keys: Vec<(String, AgentKey)>,
    agents: Agents,
}

/// Whose directories are asked for keys.
#[derive(Clone, Debug)]
enum Agents {
    Listed(Vec<String>),
    Any,
}

/// The agent that signed a request: handlers find it in the request's extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// The name of its key.
    pub key_id: String,
    /// Where its keys are published; none for a key that the seller has by itself.
    pub origin: Option<String>,
}

impl MessageSignatures {
    /// Agents make themselves known at `registration_url`. Signatures are tagged `web-bot-auth`, cover `@authority`, and
    /// count for five minutes.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_seller::MessageSignatures;
    /// let rule = MessageSignatures::new("https://api.example.com/agents").agent("https://agent.example");
    /// let asked = asked(paywall().await.price("$0.01")?.message_signatures(rule)?).await;
    /// assert_eq!(asked.extensions["http-message-signatures"]["info"]["tags"][0], "web-bot-auth");
    /// # Ok(()) }
    /// ```
    pub fn new(registration_url: impl Into<String>) -> Self {
        let rules = SignatureRules {
            tags: vec![WEB_BOT_AUTH.to_owned()],
            covers: vec!["@authority".to_owned()],
            max_age_seconds: 300,
        };
        let agents = Agents::Listed(Vec::new());
        Self {
            registration_url: registration_url.into(),
            rules,
            is_required: false,
            keys: Vec::new(),
            agents,
        }
    }

    /// Takes signatures with this tag too.
    ///
    /// ```
    /// let rule = tollway_seller::MessageSignatures::new("https://api.example.com/agents").tag("agent-browser-auth");
    /// ```
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.rules.tags.push(tag.into());
        self
    }

    /// Has signatures cover these components besides: `@method`, `@path`, `payment-signature`.
    ///
    /// ```
    /// use tollway_seller::MessageSignatures;
    /// let bound = MessageSignatures::new("https://api.example.com/agents").covering(&["@method", "@path", "@query"]);
    /// ```
    #[must_use]
    pub fn covering(mut self, components: &[&str]) -> Self {
        self.rules.covers.extend(components.iter().map(|name| (*name).to_owned()));
        self
    }

    /// How long a signature counts after it was made, whatever it says itself.
    ///
    /// ```
    /// let brief = tollway_seller::MessageSignatures::new("https://api.example.com/agents").max_age_seconds(60);
    /// ```
    #[must_use]
    pub const fn max_age_seconds(mut self, seconds: u64) -> Self {
        self.rules.max_age_seconds = seconds;
        self
    }

    /// Serves nobody else: a payment, and who signs in, without a good signature is answered with 403.
    ///
    /// ```
    /// let strict = tollway_seller::MessageSignatures::new("https://api.example.com/agents").required();
    /// ```
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.is_required = true;
        self
    }

    /// Knows this key, by its thumbprint, without asking anybody.
    ///
    /// ```
    /// use tollway_core::http_signature::MessageSigner;
    /// let key = MessageSigner::from_seed(&[7; 32]).public_key();
    /// let rule = tollway_seller::MessageSignatures::new("https://api.example.com/agents").key(key);
    /// ```
    #[must_use]
    pub fn key(self, key: AgentKey) -> Self {
        let name = key.thumbprint();
        self.named_key(name, key)
    }

    /// Knows this key by a name of its own.
    ///
    /// ```
    /// use tollway_core::http_signature::MessageSigner;
    /// let key = MessageSigner::from_seed(&[7; 32]).public_key();
    /// let rule = tollway_seller::MessageSignatures::new("https://api.example.com/agents").named_key("agent-1", key);
    /// ```
    #[must_use]
    pub fn named_key(mut self, key_id: impl Into<String>, key: AgentKey) -> Self {
        self.keys.push((key_id.into(), key));
        self
    }

    /// Trusts the keys that are published at `origin`, an `https` URL without a path.
    ///
    /// ```
    /// let rule = tollway_seller::MessageSignatures::new("https://api.example.com/agents").agent("https://agent.example");
    /// ```
    #[must_use]
    pub fn agent(mut self, origin: &str) -> Self {
        if let Agents::Listed(list) = &mut self.agents {
            list.push(origin.to_owned());
        }
        self
    }

    /// Knows any agent that publishes its keys. Then a stranger's request decides which host is asked for them; never one
    /// of an inner network.
    ///
    /// ```
    /// let open = tollway_seller::MessageSignatures::new("https://api.example.com/agents").any_agent();
    /// ```
    #[must_use]
    pub fn any_agent(mut self) -> Self {
        self.agents = Agents::Any;
        self
    }
}

/// A rule at work.
#[derive(Debug)]
pub(crate) struct Agency {
    rule: MessageSignatures,
    directories: Directories,
}

impl Agency {
    /// None if there can be no HTTP client, or an agent's origin is none.
    pub(crate) fn new(mut rule: MessageSignatures) -> Option<Self> {
        if let Agents::Listed(list) = &mut rule.agents {
            for origin in list {
                let url = Url::parse(origin).ok().filter(|url| url.scheme() == "https")?;
                *origin = url.origin().ascii_serialization();
            }
        }
        Some(Self { rule, directories: Directories::new().ok()? })
    }

    pub(crate) fn declaration(&self) -> JsonObject {
        let MessageSignatures { registration_url, rules, .. } = &self.rule;
        let (registration_url, schemes) = (registration_url.clone(), vec![ED25519.to_owned()]);
        SignatureTerms { registration_url, schemes, tags: rules.tags.clone() }.declaration()
    }

    /// What a request without a good signature is told to sign (RFC 9421, section 5.1).
    pub(crate) fn accepted(&self) -> String {
        let quoted =
            |names: &[String]| names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" ");
        let SignatureRules { covers, tags, .. } = &self.rule.rules;
        let tag = tags.first().map_or_else(String::new, |tag| format!(";tag=\"{tag}\""));
        format!("sig=({});created;expires;keyid;alg=\"{ED25519}\"{tag}", quoted(covers))
    }

    /// Who sends the request to `url`; none if that is not known and need not be.
    pub(crate) async fn identify(
        &self,
        parts: &Parts,
        url: &str,
        now: UnixTime,
    ) -> Result<Option<Agent>, WireError> {
        match self.signer(parts, url, now).await {
            Ok(agent) => Ok(Some(agent)),
            Err(error) if self.rule.is_required => Err(error),
            Err(error) => {
                tracing::debug!(%error, "nobody that is known here has signed");
                Ok(None)
            }
        }
    }

    async fn signer(&self, parts: &Parts, url: &str, now: UnixTime) -> Result<Agent, WireError> {
        let url = Url::parse(url).map_err(|_| unknown("must be for a resource with a URL"))?;
        let headers = parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let request = SignedRequest { method: parts.method.as_str(), url: &url, headers };
        let presented = self.rule.rules.read(&request, now)?.ok_or_else(|| unknown("is required"))?;
        let key_id = presented.key_id().to_owned();
        let own = self.rule.keys.iter().filter(|(name, _)| *name == key_id);
        if own.clone().any(|(_, key)| presented.is_by(key, now)) {
            return Ok(Agent { key_id, origin: None });
        }
        let agent =
            self.trusted(&presented).ok_or_else(|| unknown("must be by an agent that is known here"))?;
        let keys = self.directories.keys(agent, now).await.map_err(|error| {
            tracing::info!(%agent, error, "an agent's keys cannot be had");
            unknown("must be by an agent whose keys can be had")
        })?;
        // A thumbprint names one key; whatever else a directory calls a key, it cannot take another's name.
        let is_by = |key: &AgentKey| key.thumbprint() == key_id && presented.is_by(key, now);
        if !keys.iter().any(is_by) {
            return Err(unknown("must be by a key in the agent's directory, named by its thumbprint"));
        }
        Ok(Agent { key_id, origin: Some(agent.origin().ascii_serialization()) })
    }

    fn trusted<'a>(&self, presented: &'a PresentedSignature) -> Option<&'a Url> {
        let agent = presented.agent()?;
        let origin = agent.origin().ascii_serialization();
        match &self.rule.agents {
            Agents::Any => Some(agent),
            Agents::Listed(list) => list.contains(&origin).then_some(agent),
        }
    }
}

/// The agency of a route, if it has one.
pub(crate) type SharedAgency = Option<Arc<Agency>>;

fn unknown(rule: &str) -> WireError {
    WireError::new(ErrorCode::from_wire("invalid_http_message_signature"), "Signature", rule)
}
