//! Signing requests: an agent's key, and the headers that it adds.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey};
use sfv::{BareItem, Dictionary, FieldType, InnerList, Item, Key, ListEntry};
use sha2::{Digest, Sha256};

use super::base::parameters;
use super::present::{SIGNATURE, SIGNATURE_AGENT, SIGNATURE_INPUT};
use super::{AgentKey, SignedRequest, fault};
use crate::UnixTime;
use crate::extension::message_signatures::{ED25519, WEB_BOT_AUTH};
use crate::wire::WireError;

/// The label of our signatures.
const LABEL: &str = "tollway";

/// An agent's key, and how it signs. `Debug` does not show the key.
#[derive(Clone)]
pub struct MessageSigner {
    key: SigningKey,
    key_id: String,
    tag: String,
    agent: Option<String>,
}

/// The headers that a signature adds to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureHeaders {
    /// `Signature-Input`.
    pub input: String,
    /// `Signature`.
    pub signature: String,
    /// `Signature-Agent`, if the signer publishes its keys.
    pub agent: Option<String>,
}

impl MessageSigner {
    /// A signer with the Ed25519 key of this seed. Its `keyid` is the key's thumbprint, its tag `web-bot-auth`.
    ///
    /// ```
    /// use tollway_core::http_signature::MessageSigner;
    /// let signer = MessageSigner::from_seed(&[7; 32]).publishing("https://agent.example");
    /// assert_eq!(signer.key_id(), signer.public_key().thumbprint());
    /// ```
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let key_id = AgentKey::new(key.verifying_key()).thumbprint();
        Self { key, key_id, tag: WEB_BOT_AUTH.to_owned(), agent: None }
    }

    /// Says where the keys are: the origin whose directory has [`Self::public_key`]. It is signed too.
    ///
    /// ```
    /// use tollway_core::UnixTime;
    /// use tollway_core::http_signature::{MessageSigner, SignedRequest};
    /// let signer = MessageSigner::from_seed(&[7; 32]).publishing("https://agent.example");
    /// let url = "https://api.example.com/data".parse().unwrap();
    /// let request = SignedRequest { method: "GET", url: &url, headers: Vec::new() };
    /// let signed = signer.sign(&request, &["@authority"], UnixTime(1_000), 60)?;
    /// assert_eq!(signed.agent.as_deref(), Some("\"https://agent.example\""));
    /// assert!(signed.input.contains("signature-agent"));
    /// # Ok::<(), tollway_core::wire::WireError>(())
    /// ```
    #[must_use]
    pub fn publishing(mut self, origin: &str) -> Self {
        self.agent = Some(origin.to_owned());
        self
    }

    /// Tags signatures with `tag` instead.
    ///
    /// ```
    /// use tollway_core::http_signature::MessageSigner;
    /// assert_eq!(MessageSigner::from_seed(&[7; 32]).tagged("agent-browser-auth").tag(), "agent-browser-auth");
    /// ```
    #[must_use]
    pub fn tagged(mut self, tag: &str) -> Self {
        self.tag = tag.to_owned();
        self
    }

    /// Names the key `key_id` instead of by its thumbprint.
    ///
    /// ```
    /// use tollway_core::http_signature::MessageSigner;
    /// assert_eq!(MessageSigner::from_seed(&[7; 32]).named("our-key").key_id(), "our-key");
    /// ```
    #[must_use]
    pub fn named(mut self, key_id: &str) -> Self {
        self.key_id = key_id.to_owned();
        self
    }

    /// The tag of its signatures.
    ///
    /// ```
    /// use tollway_core::http_signature::MessageSigner;
    /// assert_eq!(MessageSigner::from_seed(&[7; 32]).tag(), "web-bot-auth");
    /// ```
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// What its signatures name the key.
    ///
    /// ```
    /// use tollway_core::http_signature::MessageSigner;
    /// assert_eq!(MessageSigner::from_seed(&[7; 32]).key_id().len(), 43);
    /// ```
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The key to publish.
    ///
    /// ```
    /// use tollway_core::http_signature::MessageSigner;
    /// let key = MessageSigner::from_seed(&[7; 32]).public_key();
    /// assert_eq!(key.to_jwk()["crv"], "Ed25519");
    /// ```
    pub fn public_key(&self) -> AgentKey {
        AgentKey::new(self.key.verifying_key())
    }

    /// Signs the components `covered` of `request`, at `now`, for `valid_seconds`.
    ///
    /// # Errors
    /// [`WireError`]: a component is not there, or its value cannot be signed.
    ///
    /// ```
    /// use tollway_core::UnixTime;
    /// use tollway_core::http_signature::{MessageSigner, SignedRequest};
    /// let url = "https://api.example.com/data".parse().unwrap();
    /// let request = SignedRequest { method: "GET", url: &url, headers: Vec::new() };
    /// let signer = MessageSigner::from_seed(&[7; 32]);
    /// assert!(signer.sign(&request, &["@method", "@target-uri"], UnixTime(1_000), 60).is_ok());
    /// assert!(signer.sign(&request, &["payment-signature"], UnixTime(1_000), 60).is_err());
    /// ```
    pub fn sign(
        &self,
        request: &SignedRequest<'_>,
        covered: &[&str],
        now: UnixTime,
        valid_seconds: u64,
    ) -> Result<SignatureHeaders, WireError> {
        let agent = self.agent.as_deref().map(|origin| text(origin).map(|text| Item::new(text).serialize()));
        let agent = agent.transpose()?;
        let mut request = request.clone();
        request.headers.retain(|(name, _)| *name != SIGNATURE_AGENT);
        let mut names = covered.to_vec();
        if let Some(agent) = &agent {
            request.headers.push((SIGNATURE_AGENT, agent.as_bytes()));
            names.push(SIGNATURE_AGENT);
        }
        let items =
            names.into_iter().map(|name| Ok(Item::new(text(name)?))).collect::<Result<_, WireError>>()?;
        let mut list = InnerList::new(items);
        let integer = |seconds: u64| {
            let number = i64::try_from(seconds).ok().and_then(|number| sfv::Integer::try_from(number).ok());
            number
                .map(BareItem::Integer)
                .ok_or_else(|| fault(SIGNATURE_INPUT, "must be of a time that can be written"))
        };
        let parameters_of = [
            ("created", integer(now.0)?),
            ("expires", integer(now.plus_seconds(valid_seconds).0)?),
            ("keyid", text(&self.key_id)?),
            ("alg", text(ED25519)?),
            ("tag", text(&self.tag)?),
        ];
        for (name, value) in parameters_of {
            list.params.insert(key(name)?, value);
        }
        let signature = self.key.sign(request.base(&list)?.as_bytes()).to_bytes();
        let input = format!("{LABEL}={}", parameters(&list)?);
        let entry = ListEntry::Item(Item::new(BareItem::ByteSequence(signature.to_vec())));
        let signature = Dictionary::from_iter([(key(LABEL)?, entry)]).serialize();
        let signature = signature.ok_or_else(|| fault(SIGNATURE, "must be a structured field"))?;
        Ok(SignatureHeaders { input, signature, agent })
    }
}

impl SignatureHeaders {
    /// Names and values, to be put on the request.
    ///
    /// ```
    /// use tollway_core::http_signature::SignatureHeaders;
    /// let headers = SignatureHeaders { input: "a=()".to_owned(), signature: "a=:aa==:".to_owned(), agent: None };
    /// assert_eq!(headers.headers()[0], ("signature-input", b"a=()".as_slice()));
    /// ```
    pub fn headers(&self) -> Vec<(&str, &[u8])> {
        let all = [
            (SIGNATURE_INPUT, Some(&self.input)),
            (SIGNATURE, Some(&self.signature)),
            (SIGNATURE_AGENT, self.agent.as_ref()),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?.as_bytes()))).collect()
    }
}

impl fmt::Debug for MessageSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageSigner").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// The value of `Content-Digest` (RFC 9530) for `body`.
///
/// ```
/// use tollway_core::http_signature::content_digest;
/// assert_eq!(
///     content_digest(br#"{"hello": "world"}"#),
///     "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
/// );
/// ```
pub fn content_digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)))
}

fn text(value: &str) -> Result<BareItem, WireError> {
    let text = sfv::String::from_string(value.to_owned());
    text.map(BareItem::String).map_err(|_| fault(SIGNATURE_INPUT, "must be of ASCII"))
}

fn key(name: &str) -> Result<Key, WireError> {
    Key::from_string(name.to_owned())
        .map_err(|_| fault(SIGNATURE_INPUT, "must have names of lower-case letters"))
}

#[cfg(test)]
mod tests {
    // The keys, requests and signatures of RFC 9421, appendix B.
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use sfv::{Dictionary, ListEntry, Parser};
    use url::Url;

    use super::{AgentKey, MessageSigner, SignedRequest};
    use crate::UnixTime;
    use crate::http_signature::SignatureRules;

    const SEED: &str = "n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU";
    const JWK: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"test-key-ed25519","x":"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"}"#;
    const DIGEST: &str =
        "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
    const INPUT_B26: &str = r#"sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#;
    const SIGNATURE_B26: &str =
        "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:";

    fn url() -> Url {
        "https://example.com/foo?param=Value&Pet=dog".parse().unwrap()
    }

    fn request(url: &Url) -> SignedRequest<'_> {
        SignedRequest {
            method: "POST",
            url,
            headers: vec![
                ("host", b"example.com"),
                ("date", b"Tue, 20 Apr 2021 02:07:55 GMT"),
                ("content-type", b"application/json"),
                ("content-digest", DIGEST.as_bytes()),
                ("content-length", b"18"),
            ],
        }
    }

    fn rules() -> SignatureRules {
        SignatureRules { tags: Vec::new(), covers: vec!["@authority".to_owned()], max_age_seconds: 300 }
    }

    fn base(input: &str) -> String {
        let inputs: Dictionary = Parser::new(input).parse().unwrap();
        let Some((_, ListEntry::InnerList(covered))) = inputs.first() else { panic!("{input}") };
        request(&url()).base(covered).unwrap()
    }

    #[test]
    fn the_bases_are_those_of_the_rfc() {
        let b21 = r#"sig-b21=();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd""#;
        assert_eq!(
            base(b21),
            r#""@signature-params": ();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd""#
        );
        let b22 = r#"sig-b22=("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;keyid="test-key-rsa-pss";tag="header-example""#;
        let b22_base = format!(
            "\"@authority\": example.com\n\"content-digest\": {DIGEST}\n\"@query-param\";name=\"Pet\": dog\n\
             \"@signature-params\": (\"@authority\" \"content-digest\" \"@query-param\";name=\"Pet\");\
             created=1618884473;keyid=\"test-key-rsa-pss\";tag=\"header-example\""
        );
        assert_eq!(base(b22), b22_base);
        let b23 = r#"sig-b23=("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss""#;
        let b23_base = format!(
            "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\"@method\": POST\n\"@path\": /foo\n\
             \"@query\": ?param=Value&Pet=dog\n\"@authority\": example.com\n\"content-type\": application/json\n\
             \"content-digest\": {DIGEST}\n\"content-length\": 18\n\"@signature-params\": {}",
            &b23["sig-b23=".len()..]
        );
        assert_eq!(base(b23), b23_base);
    }

    #[test]
    fn the_ed25519_signature_of_the_rfc_is_verified() {
        let key = AgentKey::from_jwk(JWK).unwrap();
        let url = url();
        let mut request = request(&url);
        request.headers.push(("signature-input", INPUT_B26.as_bytes()));
        request.headers.push(("signature", SIGNATURE_B26.as_bytes()));
        let now = UnixTime(1_618_884_500);
        let presented = rules().read(&request, now).unwrap().unwrap();
        assert_eq!((presented.key_id(), presented.label()), ("test-key-ed25519", "sig-b26"));
        assert!(presented.is_by(&key, now));
        request.headers[1].1 = b"Tue, 20 Apr 2021 02:07:56 GMT";
        assert!(!rules().read(&request, now).unwrap().unwrap().is_by(&key, now), "the date was changed");
    }

    #[test]
    fn we_sign_what_the_rfc_signs() {
        let mut seed = [0; 32];
        seed.copy_from_slice(&URL_SAFE_NO_PAD.decode(SEED).unwrap());
        let signer = MessageSigner::from_seed(&seed);
        assert_eq!(signer.public_key(), AgentKey::from_jwk(JWK).unwrap());
        let inputs: Dictionary = Parser::new(INPUT_B26).parse().unwrap();
        let Some((_, ListEntry::InnerList(covered))) = inputs.first() else { panic!("no input") };
        let signature =
            ed25519_dalek::Signer::sign(&signer.key, request(&url()).base(covered).unwrap().as_bytes());
        let text = base64::engine::general_purpose::STANDARD.encode(signature.to_bytes());
        assert_eq!(SIGNATURE_B26, format!("sig-b26=:{text}:"));
    }

    /// `wrong` of a signature that is good, and the rule that it breaks.
    fn refused(change: impl Fn(String) -> String, rule: &str) {
        let url = url();
        let mut request = request(&url);
        let input = change(INPUT_B26.to_owned());
        request.headers.push(("signature-input", input.as_bytes()));
        request.headers.push(("signature", SIGNATURE_B26.as_bytes()));
        let error = rules().read(&request, UnixTime(1_618_884_500)).unwrap_err().to_string();
        assert!(error.contains(rule), "{input}: {error}");
    }

    #[test]
    fn each_broken_rule_of_a_signature_is_named() {
        refused(|input| input.replace("created=1618884473;", ""), "must say when");
        refused(|input| input.replace("1618884473", "1618884531"), "in the future");
        refused(|input| input.replace("1618884473", "1618884200"), "must not have expired");
        refused(|input| format!("{input};expires=1618884500"), "must not have expired");
        refused(|input| format!("{input};expires=\"soon\""), "must expire at a time");
        refused(|input| input.replace(";keyid=\"test-key-ed25519\"", ""), "must name its key");
        refused(|input| format!("{input};alg=\"rsa-pss-sha512\""), "must be by ed25519");
        refused(|input| format!("{input};alg=ed25519"), "must be by ed25519");
        refused(|input| input.replace("\"@authority\" ", ""), "must cover @authority");
        refused(|input| input.replace("\"@authority\"", "\"@authority\";req"), "must cover @authority");
        refused(|input| input.replace("\"date\"", "\"date\" \"date\""), "once");
        refused(|input| input.replace("\"date\"", "\"@status\""), "understood here");
        refused(|input| input.replace("\"date\"", "\"date\";bs"), "understood here");
        refused(|input| input.replace("\"date\"", "\"x-none\""), "must be there");
        refused(|input| input.replace("sig-b26", "other"), "64 bytes as other");
        refused(|_| "sig-b26=?1".to_owned(), "must have a tag");
        refused(|_| "not a dictionary (".to_owned(), "must be a dictionary");
        refused(
            |input| {
                (0..9).map(|at| input.replace("sig-b26", &format!("s{at}"))).collect::<Vec<_>>().join(", ")
            },
            "at most",
        );
        refused(|input| format!("{input};x=\"{}\"", "y".repeat(5000)), "bytes long");
    }

    #[test]
    fn an_agent_is_an_https_origin_and_nothing_more() {
        let url = url();
        for (value, is_fine) in [
            (r#""https://agent.example""#, true),
            (r#"sig-b26="https://agent.example""#, true),
            (r#"other="https://agent.example""#, false),
            (r#""http://agent.example""#, false),
            (r#""https://agent.example/path""#, false),
            (r#""https://u:p@agent.example""#, false),
            (r#""https://agent.example/?q""#, false),
            (r#""data:text/plain,x""#, false),
            ("https://agent.example", false),
            ("agent.example", true),
            ("agent.example/path", false),
        ] {
            let mut request = request(&url);
            let input = INPUT_B26.replace("\"date\"", "\"date\" \"signature-agent\"");
            request.headers.push(("signature-input", input.as_bytes()));
            request.headers.push(("signature", SIGNATURE_B26.as_bytes()));
            request.headers.push(("signature-agent", value.as_bytes()));
            assert_eq!(rules().read(&request, UnixTime(1_618_884_500)).is_ok(), is_fine, "{value}");
        }
    }

    #[test]
    fn whose_key_it_is_must_be_signed_too() {
        let url = url();
        let mut request = request(&url);
        request.headers.push(("signature-input", INPUT_B26.as_bytes()));
        request.headers.push(("signature", SIGNATURE_B26.as_bytes()));
        request.headers.push(("signature-agent", b"\"https://thief.example\""));
        let error = rules().read(&request, UnixTime(1_618_884_500)).unwrap_err().to_string();
        assert!(error.contains("must cover signature-agent"), "{error}");
    }

    #[test]
    fn a_line_break_in_a_field_is_never_signed() {
        let url = url();
        for evil in [b"a\nb: c".as_slice(), b"a\r\nb", b"\xff", b"\x00"] {
            let request = SignedRequest { method: "GET", url: &url, headers: vec![("x", evil)] };
            assert!(MessageSigner::from_seed(&[7; 32]).sign(&request, &["x"], UnixTime(1_000), 60).is_err());
        }
    }

    #[test]
    fn a_tag_picks_the_signature_and_no_tag_is_no_signature() {
        let url = url();
        let (signer, other) =
            (MessageSigner::from_seed(&[7; 32]), MessageSigner::from_seed(&[8; 32]).tagged("other"));
        let mut request = request(&url);
        let (ours, theirs) = (
            signer.sign(&request, &["@authority"], UnixTime(1_000), 60).unwrap(),
            other.sign(&request, &["@authority"], UnixTime(1_000), 60).unwrap(),
        );
        let (input, signature) =
            (theirs.input.replace("tollway=", "theirs="), theirs.signature.replace("tollway=", "theirs="));
        request.headers.extend([("signature-input", input.as_bytes()), ("signature", signature.as_bytes())]);
        let rules = SignatureRules { tags: vec!["web-bot-auth".to_owned()], ..rules() };
        assert!(rules.read(&request, UnixTime(1_000)).is_err(), "no signature with the tag");
        request.headers.extend(ours.headers());
        let presented = rules.read(&request, UnixTime(1_000)).unwrap().unwrap();
        assert!(presented.is_by(&signer.public_key(), UnixTime(1_000)));
        assert!(!presented.is_by(&other.public_key(), UnixTime(1_000)));
    }

    proptest::proptest! {
        #[test]
        fn no_header_panics(input in ".{0,200}", signature in ".{0,80}", agent in ".{0,80}", field in "[ -~]{0,40}") {
            let url = url();
            for input in [input.clone(), format!("a=({field});created=1618884473;keyid=\"k\"{input}")] {
                let mut request = request(&url);
                request.headers.push(("signature-input", input.as_bytes()));
                request.headers.push(("signature", signature.as_bytes()));
                request.headers.push(("signature-agent", agent.as_bytes()));
                let _ = rules().read(&request, UnixTime(1_618_884_500));
            }
        }
    }
}
