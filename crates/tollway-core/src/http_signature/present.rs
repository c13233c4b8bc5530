//! Reading a signature: which of those presented, its times, what it covers, then the curve. Cheap before dear.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sfv::{BareItem, Dictionary, InnerList, ListEntry, Parser};
use url::Url;

use super::{AgentKey, SignedRequest, fault};
use crate::UnixTime;
use crate::extension::message_signatures::ED25519;
use crate::wire::WireError;

/// Header of what is signed, by label.
pub const SIGNATURE_INPUT: &str = "signature-input";
/// Header of the signatures, by label.
pub const SIGNATURE: &str = "signature";
/// Header of where the signer's keys are.
pub const SIGNATURE_AGENT: &str = "signature-agent";

/// The longest of these headers that is read.
const MAX_HEADER_BYTES: usize = 4 * 1024;
/// The most signatures on one request.
const MAX_SIGNATURES: usize = 8;
/// How far ahead clocks of signers may be.
const SKEW_SECONDS: u64 = 30;

/// What a signature must be to be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureRules {
    /// Tags, one of which it must have; none: its tag does not matter.
    pub tags: Vec<String>,
    /// Components that it must cover: `@authority`, `@method`, a field's name.
    pub covers: Vec<String>,
    /// How long after it was created it counts at most.
    pub max_age_seconds: u64,
}

/// A signature that keeps the rules, but for the key: who signed is not known yet.
#[derive(Clone, Debug)]
pub struct PresentedSignature {
    label: String,
    key_id: String,
    agent: Option<Url>,
    created: UnixTime,
    expires: UnixTime,
    base: String,
    signature: [u8; 64],
}

impl SignatureRules {
    /// Reads the signature of `request` that has an accepted tag, and holds it against these rules at `now`. None if there
    /// is no signature at all.
    ///
    /// # Errors
    /// [`WireError`] naming the header and the rule.
    ///
    /// ```
    /// use tollway_core::UnixTime;
    /// use tollway_core::http_signature::{MessageSigner, SignatureRules, SignedRequest};
    /// let url = "https://api.example.com/data".parse().unwrap();
    /// let mut request = SignedRequest { method: "GET", url: &url, headers: Vec::new() };
    /// let signer = MessageSigner::from_seed(&[7; 32]);
    /// let signed = signer.sign(&request, &["@authority"], UnixTime(1_000), 60).unwrap();
    /// request.headers = signed.headers();
    /// let rules = SignatureRules { tags: Vec::new(), covers: vec!["@authority".to_owned()], max_age_seconds: 60 };
    /// let presented = rules.read(&request, UnixTime(1_010))?.unwrap();
    /// assert!(presented.is_by(&signer.public_key(), UnixTime(1_010)));
    /// assert!(rules.read(&request, UnixTime(1_061)).is_err(), "it has expired");
    /// # Ok::<(), tollway_core::wire::WireError>(())
    /// ```
    pub fn read(
        &self,
        request: &SignedRequest<'_>,
        now: UnixTime,
    ) -> Result<Option<PresentedSignature>, WireError> {
        let (Some(input), signature) = (field(request, SIGNATURE_INPUT)?, field(request, SIGNATURE)?) else {
            return Ok(None);
        };
        let signature = signature.ok_or_else(|| fault(SIGNATURE, "must stand beside Signature-Input"))?;
        let inputs = dictionary(&input, SIGNATURE_INPUT)?;
        if inputs.len() > MAX_SIGNATURES {
            return Err(fault(SIGNATURE_INPUT, format!("must be at most {MAX_SIGNATURES} signatures")));
        }
        let tagged = inputs.iter().find_map(|(label, entry)| match entry {
            ListEntry::InnerList(covered) if self.takes_tag(covered) => Some((label.as_str(), covered)),
            _ => None,
        });
        let (label, covered) =
            tagged.ok_or_else(|| fault(SIGNATURE_INPUT, "must have a tag that is accepted here"))?;
        let (created, expires) = self.check_times(covered, now)?;
        self.check_covers(covered)?;
        let key_id =
            string(covered, "keyid").ok_or_else(|| fault(SIGNATURE_INPUT, "must name its key: keyid"))?;
        if covered.params.contains_key("alg") && string(covered, "alg").as_deref() != Some(ED25519) {
            return Err(fault(SIGNATURE_INPUT, "must be by ed25519"));
        }
        let signatures = dictionary(&signature, SIGNATURE)?;
        let bytes = match signatures.get(label) {
            Some(ListEntry::Item(item)) => item.bare_item.as_byte_sequence(),
            _ => None,
        };
        let signature = bytes.and_then(|bytes| bytes.try_into().ok());
        let signature =
            signature.ok_or_else(|| fault(SIGNATURE, format!("must have 64 bytes as {label}")))?;
        let agent = agent(request, label)?;
        if agent.is_some() && !names(covered, SIGNATURE_AGENT) {
            return Err(fault(
                SIGNATURE_INPUT,
                "must cover signature-agent: whose key it is must not be for others to say",
            ));
        }
        let base = request.base(covered)?;
        let label = label.to_owned();
        Ok(Some(PresentedSignature { label, key_id, agent, created, expires, base, signature }))
    }

    fn takes_tag(&self, covered: &InnerList) -> bool {
        self.tags.is_empty() || string(covered, "tag").is_some_and(|tag| self.tags.contains(&tag))
    }

    fn check_times(&self, covered: &InnerList, now: UnixTime) -> Result<(UnixTime, UnixTime), WireError> {
        let time = |name: &str| {
            let value = covered.params.get(name).and_then(BareItem::as_integer);
            value.and_then(|value| u64::try_from(i64::from(value)).ok()).map(UnixTime)
        };
        let created =
            time("created").ok_or_else(|| fault(SIGNATURE_INPUT, "must say when it was created"))?;
        if created > now.plus_seconds(SKEW_SECONDS) {
            return Err(fault(SIGNATURE_INPUT, "must not have been created in the future"));
        }
        let oldest = created.plus_seconds(self.max_age_seconds);
        let expires = match covered.params.contains_key("expires") {
            true => {
                time("expires").ok_or_else(|| fault(SIGNATURE_INPUT, "must expire at a time"))?.min(oldest)
            }
            false => oldest,
        };
        if now >= expires {
            return Err(fault(SIGNATURE_INPUT, "must not have expired"));
        }
        Ok((created, expires))
    }

    /// A component that carries parameters covers something narrower: it does not count.
    fn check_covers(&self, covered: &InnerList) -> Result<(), WireError> {
        let covers = |name: &str| {
            covered.items.iter().any(|item| {
                item.params.is_empty() && item.bare_item.as_string().is_some_and(|item| item.as_str() == name)
            })
        };
        match self.covers.iter().find(|name| !covers(name)) {
            Some(missing) => Err(fault(SIGNATURE_INPUT, format!("must cover {missing}"))),
            None => Ok(()),
        }
    }
}

impl PresentedSignature {
    /// Whether `key` signed it, and may at `now`.
    ///
    /// ```
    /// # use tollway_core::UnixTime;
    /// # use tollway_core::http_signature::{MessageSigner, SignatureRules, SignedRequest};
    /// # let url = "https://api.example.com/data".parse().unwrap();
    /// # let mut request = SignedRequest { method: "GET", url: &url, headers: Vec::new() };
    /// let (signer, other) = (MessageSigner::from_seed(&[7; 32]), MessageSigner::from_seed(&[8; 32]));
    /// let signed = signer.sign(&request, &["@method"], UnixTime(1_000), 60).unwrap();
    /// # request.headers = signed.headers();
    /// # let rules = SignatureRules { tags: Vec::new(), covers: Vec::new(), max_age_seconds: 60 };
    /// # let presented = rules.read(&request, UnixTime(1_000))?.unwrap();
    /// assert!(!presented.is_by(&other.public_key(), UnixTime(1_000)));
    /// # Ok::<(), tollway_core::wire::WireError>(())
    /// ```
    pub fn is_by(&self, key: &AgentKey, now: UnixTime) -> bool {
        now < self.expires && key.is_good_at(now) && key.verifies(&self.base, &self.signature)
    }

    /// The name of the key that signed, as the signature says.
    ///
    /// ```
    /// fn known(signature: &tollway_core::http_signature::PresentedSignature) -> bool {
    ///     signature.key_id() == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    /// }
    /// ```
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Where the signer says its keys are: an origin over https, nothing else of it.
    ///
    /// ```
    /// fn host(signature: &tollway_core::http_signature::PresentedSignature) -> Option<&str> {
    ///     signature.agent()?.host_str()
    /// }
    /// ```
    pub fn agent(&self) -> Option<&Url> {
        self.agent.as_ref()
    }

    /// When it was created, as it says.
    ///
    /// ```
    /// use tollway_core::{UnixTime, http_signature::PresentedSignature};
    /// fn age(signature: &PresentedSignature, now: UnixTime) -> u64 {
    ///     now.0.saturating_sub(signature.created().0)
    /// }
    /// ```
    pub fn created(&self) -> UnixTime {
        self.created
    }

    /// Until when it counts: what it says, and never longer than the rules let it.
    ///
    /// ```
    /// use tollway_core::{UnixTime, http_signature::PresentedSignature};
    /// fn is_over(signature: &PresentedSignature, now: UnixTime) -> bool {
    ///     signature.expires() <= now
    /// }
    /// ```
    pub fn expires(&self) -> UnixTime {
        self.expires
    }

    /// What was signed, line by line: with the signature and the key it is proof for others.
    ///
    /// ```
    /// fn is_about(signature: &tollway_core::http_signature::PresentedSignature, method: &str) -> bool {
    ///     signature.base().contains(&format!("\"@method\": {method}\n"))
    /// }
    /// ```
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The signature over it, in base64.
    ///
    /// ```
    /// fn proof(signature: &tollway_core::http_signature::PresentedSignature) -> (String, String) {
    ///     (signature.base().to_owned(), signature.signature())
    /// }
    /// ```
    pub fn signature(&self) -> String {
        STANDARD.encode(self.signature)
    }

    /// Its label on the request.
    ///
    /// ```
    /// fn name(signature: &tollway_core::http_signature::PresentedSignature) -> String {
    ///     format!("signature {}", signature.label())
    /// }
    /// ```
    pub fn label(&self) -> &str {
        &self.label
    }
}

/// Whether a component is covered, or a member of it.
fn names(covered: &InnerList, name: &str) -> bool {
    covered.items.iter().any(|item| item.bare_item.as_string().is_some_and(|item| item.as_str() == name))
}

/// A header of signatures, if it is there.
fn field(request: &SignedRequest<'_>, name: &str) -> Result<Option<String>, WireError> {
    let value = request.field(name)?;
    if value.as_ref().is_some_and(|value| value.len() > MAX_HEADER_BYTES) {
        return Err(fault(name, format!("must be at most {MAX_HEADER_BYTES} bytes long")));
    }
    Ok(value)
}

fn dictionary(value: &str, name: &str) -> Result<Dictionary, WireError> {
    Parser::new(value).parse().map_err(|_| fault(name, "must be a dictionary of structured fields"))
}

fn string(covered: &InnerList, name: &str) -> Option<String> {
    let text = covered.params.get(name)?.as_string()?.as_str();
    (text.len() <= 256).then(|| text.to_owned())
}

/// `Signature-Agent`: one string, or a dictionary of them by label, as its newer drafts have it; or a bare host, as the
/// examples of the payment profile `cloudflare:402` write it.
fn agent(request: &SignedRequest<'_>, label: &str) -> Result<Option<Url>, WireError> {
    let Some(value) = field(request, SIGNATURE_AGENT)? else { return Ok(None) };
    let wrong = || fault(SIGNATURE_AGENT, "must be the https URL of a host, quoted");
    let one: Option<sfv::Item> = Parser::new(&value).parse().ok();
    let text = match &one {
        Some(item) => {
            let bare = item.bare_item.as_token().map(|host| host.as_str());
            let bare = bare.filter(|host| !host.contains([':', '/'])).map(|host| format!("https://{host}"));
            item.bare_item.as_string().map(|text| text.as_str().to_owned()).or(bare)
        }
        None => match dictionary(&value, SIGNATURE_AGENT)?.get(label) {
            Some(ListEntry::Item(item)) => item.bare_item.as_string().map(|text| text.as_str().to_owned()),
            _ => None,
        },
    };
    let url = text.and_then(|text| Url::parse(&text).ok()).filter(|url| {
        url.scheme() == "https"
            && url.host().is_some()
            && url.username().is_empty()
            && url.password().is_none()
            && matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.fragment().is_none()
    });
    url.map(Some).ok_or_else(wrong)
}
