//! The extension `sign-in-with-x`: who bought a request comes back for it without paying, for as long as the route says.
//!
//! What lives here: the rule of a route, the challenge, what a proof is held against, and what is remembered of a purchase.
//! What does not: the text that is signed and its limits (`tollway-core`), the curve (`tollway-evm`), and where purchases
//! and used nonces are written down (`tollway-ledger`).
//!
//! A challenge is not written down: its nonce is sealed, so that only one of this seller's challenges, for this resource,
//! is answered. Only the nonce of a proof that opened the door is, and it opens it once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::HeaderMap;
use tollway_core::extension::sign_in::{
    EIP191, HEADER, NAME, SignInChain, SignInChallenge, SignInMessage, SignInProof,
};
use tollway_core::extension::{format_timestamp, parse_timestamp};
use tollway_core::wire::WireError;
use tollway_core::{
    BoxFuture, ErrorCode, Fingerprint, JsonObject, Network, Refusal, UnixTime, canonical_url,
};
use tollway_evm::sign_in;
use tollway_ledger::{Marked, NewMark};
use url::Url;

use crate::credit::Seal;
use crate::denial::Denial;
use crate::extension::{Asked, Declared, RouteExtension};
use crate::membership::bounded;
use crate::offers::PriceError;
use crate::paywall::Core;

/// The header as peers are told of it.
const FIELD: &str = "SIGN-IN-WITH-X";
/// Kinds of facts in the ledger.
const BOUGHT: &str = "bought";
const USED_NONCE: &str = "sign-in nonce";
/// How much clocks of sellers on one ledger may differ.
const SKEW_SECONDS: u64 = 30;
/// How long a verifier of contract wallets may take.
const VERIFIER_PATIENCE: Duration = Duration::from_secs(5);
/// The longest signature that a verifier is shown.
const MAX_SIGNATURE_BYTES: usize = 4096;
/// How many random bytes a nonce begins with. As many of the seal follow: 32 hexadecimal digits in all.
const RANDOM_BYTES: usize = 8;

/// How a route lets payers come back: [`Priced::sign_in`](crate::Priced::sign_in).
#[derive(Clone)]
pub struct SignIn {
    lifetime_seconds: u64,
    challenge_seconds: u64,
    statement: Option<String>,
    verifier: Option<Arc<dyn WalletVerifier>>,
}

/// Checks signatures of contract wallets (ERC-1271, ERC-6492): with a node, which a paywall has none of.
pub trait WalletVerifier: Send + Sync + fmt::Debug {
    /// Whether the wallet says that it signed. An error opens nothing.
    ///
    /// ```
    /// use tollway_core::BoxFuture;
    /// use tollway_seller::{WalletClaim, WalletVerifier};
    /// #[derive(Debug)]
    /// struct OnlyOurs;
    /// impl WalletVerifier for OnlyOurs {
    ///     fn verify<'a>(&'a self, claim: WalletClaim<'a>) -> BoxFuture<'a, Result<bool, String>> {
    ///         let known = claim.address == "0x209693Bc6afc0C5328bA36FaF03C514EF312287C";
    ///         Box::pin(async move { if known { Err("ask its contract".to_owned()) } else { Ok(false) } })
    ///     }
    /// }
    /// ```
    fn verify<'a>(&'a self, claim: WalletClaim<'a>) -> BoxFuture<'a, Result<bool, String>>;
}

/// What a contract wallet is said to have signed.
#[derive(Clone, Copy, Debug)]
pub struct WalletClaim<'a> {
    /// Where the wallet is.
    pub network: &'a Network,
    /// The wallet, with its checksum.
    pub address: &'a str,
    /// The text, to be hashed as EIP-191 has it.
    pub text: &'a str,
    /// Whatever the wallet takes for a signature.
    pub signature: &'a [u8],
}

/// Who came back without paying: handlers find it in the request's extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// The account, with its EIP-55 checksum.
    pub address: String,
    /// The network it signed on.
    pub network: Network,
}

impl SignIn {
    /// Whoever buys a request of the route may come back for it for `seconds`.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_seller::SignIn;
    /// let asked = asked(paywall().await.price("$0.01")?.sign_in(SignIn::for_seconds(3600))?).await;
    /// assert_eq!(asked.extensions["sign-in-with-x"]["info"]["domain"], "api.example.com");
    /// # Ok(()) }
    /// ```
    pub fn for_seconds(seconds: u64) -> Self {
        Self { lifetime_seconds: seconds, challenge_seconds: 300, statement: None, verifier: None }
    }

    /// What people read in their wallet when they sign: one line of ASCII.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_seller::SignIn;
    /// let two_lines = SignIn::for_seconds(60).statement("Come in\nChain ID: 1");
    /// assert!(paywall().await.price("$0.01")?.sign_in(two_lines).is_err());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn statement(mut self, text: impl Into<String>) -> Self {
        self.statement = Some(text.into());
        self
    }

    /// How long a challenge may be answered: 300 seconds by default.
    ///
    /// ```
    /// let quick = tollway_seller::SignIn::for_seconds(3600).challenge_seconds(60);
    /// ```
    #[must_use]
    pub const fn challenge_seconds(mut self, seconds: u64) -> Self {
        self.challenge_seconds = seconds;
        self
    }

    /// Lets contract wallets in that `verifier` vouches for. Without one they are refused.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollway_seller::{SignIn, WalletVerifier};
    /// fn with(verifier: Arc<dyn WalletVerifier>) -> SignIn {
    ///     SignIn::for_seconds(3600).verifier(verifier)
    /// }
    /// ```
    #[must_use]
    pub fn verifier(mut self, verifier: Arc<dyn WalletVerifier>) -> Self {
        self.verifier = Some(verifier);
        self
    }
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn").field("lifetime_seconds", &self.lifetime_seconds).finish_non_exhaustive()
    }
}

/// Whether the request carries a proof.
pub(crate) fn is_present(headers: &HeaderMap) -> bool {
    headers.contains_key(HEADER)
}

/// The way back in of one route.
#[derive(Debug)]
pub(crate) struct Door {
    rule: SignIn,
    seal: Seal,
    /// Where buyers see this seller: what a proof must have been made for.
    origin: Url,
    domain: String,
}

impl Door {
    pub(crate) fn new(core: &Core, rule: SignIn) -> Result<Self, PriceError> {
        let origin = Url::parse(core.base.as_str()).ok().and_then(|base| base.join("/").ok());
        let origin = origin.ok_or(PriceError::SignIn("the public base URL has no origin"))?;
        let domain = authority(&origin);
        let door = Self { rule, seal: core.seal.clone(), origin, domain };
        if door.rule.lifetime_seconds == 0 || !(1..=86_400).contains(&door.rule.challenge_seconds) {
            return Err(PriceError::SignIn("it must last, and a challenge between 1 second and a day"));
        }
        let trial = door.message("/", "0".repeat(32), UnixTime(0));
        trial.check().map_err(|_| PriceError::SignIn("the statement must be one line of ASCII"))?;
        Ok(door)
    }

    /// What every challenge for the resource at `url` has in common, to be held against the echo of a payment.
    pub(crate) fn declared(&self, url: &str) -> JsonObject {
        let message = self.message(url, String::new(), UnixTime(0));
        SignInChallenge { message, chains: Vec::new() }.declaration()
    }

    /// Holds the proof on a request to `url` against every rule that needs no ledger. Cheap before dear: whoever has no
    /// challenge of ours costs no curve.
    pub(crate) async fn check(
        &self,
        headers: &HeaderMap,
        url: &str,
        networks: &[Network],
        now: UnixTime,
    ) -> Result<Visitor, Denial> {
        let proof = read(headers)?;
        let SignInProof { message, network, kind, .. } = &proof;
        let ours = self.message(url, message.nonce.clone(), now);
        if kind != EIP191 || !networks.contains(network) {
            return Err(refused("unsupported_chain", "chainId", "must be a chain that the 402 names"));
        }
        if message.domain != ours.domain {
            return Err(refused("domain_mismatch", "domain", "must be this seller's"));
        }
        let same = |theirs: &str| {
            Url::parse(theirs).is_ok_and(|theirs| Some(canonical_url(&theirs)) == canonical(&ours.uri))
        };
        if !same(&message.uri) {
            return Err(refused("uri_mismatch", "uri", "must be the resource that is asked for"));
        }
        self.check_times(message, now)?;
        if !self.is_ours(message) {
            return Err(refused("nonce", "nonce", "must be of a challenge of this seller's, unchanged"));
        }
        let address = sign_in::read_address(&proof.address);
        let address = address
            .ok_or_else(|| refused("signature", "address", "must be an address, with its checksum"))?;
        let address = address.to_string();
        let text = message.evm_text(&address, network);
        let text = text.ok_or_else(|| refused("chain_id", "chainId", "must be an EVM chain"))?;
        let is_contract = self.check_signature(&proof, &address, &text).await?;
        let good_until = message.expiration_time.as_deref().and_then(parse_timestamp).unwrap_or(now);
        let networks = if is_contract { vec![network.clone()] } else { networks.to_vec() };
        let nonce = message.nonce.clone();
        Ok(Visitor { signed_in: SignedIn { address, network: network.clone() }, networks, nonce, good_until })
    }

    /// Lets in who bought the request `fingerprint` before: none if it is not known to have been. The nonce is used up then.
    pub(crate) async fn open(
        &self,
        core: &Core,
        visitor: Visitor,
        fingerprint: Fingerprint,
    ) -> Result<Option<SignedIn>, Denial> {
        let Visitor { signed_in, networks, nonce, good_until } = visitor;
        let names: Vec<String> =
            networks.iter().map(|network| purchase(fingerprint, &signed_in.address, network)).collect();
        let (ledger, now) = (core.reservations.ledger(), core.clock.now());
        if !bounded(ledger.mark_is_set(BOUGHT, &names, now)).await.map_err(Denial::unwritten)? {
            return Ok(None);
        }
        if core.marks.load(Ordering::Relaxed) >= core.max_marks {
            return Err(Denial::Full);
        }
        let until = good_until.plus_seconds(SKEW_SECONDS);
        let used = NewMark { scope: USED_NONCE.to_owned(), name: nonce, until, now };
        match bounded(ledger.mark_set(used)).await.map_err(Denial::unwritten)? {
            Marked::Fresh => {
                core.marks.fetch_add(1, Ordering::Relaxed);
                Ok(Some(signed_in))
            }
            Marked::Known => Err(refused("nonce", "nonce", "must not have been used before")),
        }
    }

    /// Writes down that `payer` has paid for the request `served`, before its answer leaves. When too much is written down
    /// already, the payer is served and not remembered.
    pub(crate) async fn remember(
        &self,
        core: &Core,
        payer: &str,
        network: &Network,
        served: Fingerprint,
    ) -> Result<(), Denial> {
        if core.marks.load(Ordering::Relaxed) >= core.max_marks {
            tracing::error!(payer, "too many purchases are remembered: this one will not be");
            return Ok(());
        }
        let now = core.clock.now();
        let until = now.plus_seconds(self.rule.lifetime_seconds);
        let mark = NewMark { scope: BOUGHT.to_owned(), name: purchase(served, payer, network), until, now };
        match bounded(core.reservations.ledger().mark_set(mark)).await {
            Ok(Marked::Fresh) => drop(core.marks.fetch_add(1, Ordering::Relaxed)),
            Ok(Marked::Known) => {}
            Err(error) => return Err(Denial::Ledger { error, held: true }),
        }
        Ok(())
    }

    fn message(&self, url: &str, nonce: String, now: UnixTime) -> SignInMessage {
        // The path is the resource's, the origin always ours.
        let mut uri = self.origin.clone();
        if let Ok(resource) = self.origin.join(url) {
            uri.set_path(resource.path());
            uri.set_query(resource.query());
        }
        SignInMessage {
            domain: self.domain.clone(),
            uri: uri.to_string(),
            version: "1".to_owned(),
            nonce,
            issued_at: format_timestamp(now),
            expiration_time: Some(format_timestamp(now.plus_seconds(self.rule.challenge_seconds))),
            statement: self.rule.statement.clone(),
            resources: Some(vec![uri.to_string()]),
            ..SignInMessage::default()
        }
    }

    fn check_times(&self, message: &SignInMessage, now: UnixTime) -> Result<(), Denial> {
        let time = |text: Option<&String>| text.and_then(|text| parse_timestamp(text));
        let issued_at = time(Some(&message.issued_at)).unwrap_or(UnixTime(0));
        if issued_at > now.plus_seconds(SKEW_SECONDS) {
            return Err(refused("issued_at_in_future", "issuedAt", "must not be in the future"));
        }
        if issued_at.plus_seconds(self.rule.challenge_seconds) <= now {
            return Err(refused("issued_at_too_old", "issuedAt", "must be recent: ask for a new challenge"));
        }
        if time(message.expiration_time.as_ref()).is_some_and(|end| end <= now) {
            return Err(refused("expired", "expirationTime", "must be in the future"));
        }
        if time(message.not_before.as_ref()).is_some_and(|begin| begin > now) {
            return Err(refused("not_yet_valid", "notBefore", "must be in the past"));
        }
        Ok(())
    }

    /// Whether the nonce is the sealed one of this message.
    fn is_ours(&self, message: &SignInMessage) -> bool {
        let mut random = [0; RANDOM_BYTES];
        let is_shaped = message.nonce.len() == 4 * RANDOM_BYTES && message.nonce.is_ascii();
        let read = is_shaped && read_hex(&message.nonce[..2 * RANDOM_BYTES], &mut random);
        let sealed = self.nonce(random, message);
        read && sealed.is_some_and(|sealed| {
            bool::from(subtle::ConstantTimeEq::ct_eq(sealed.as_bytes(), message.nonce.as_bytes()))
        })
    }

    /// Random bytes, and the seal over them and over what the challenge says.
    fn nonce(&self, random: [u8; RANDOM_BYTES], message: &SignInMessage) -> Option<String> {
        let end = message.expiration_time.as_deref().unwrap_or_default();
        let parts = [&message.domain, &message.uri, &message.issued_at, end].map(str::as_bytes);
        let tag = self.seal.tag(b"sign-in nonce", &[&[random.as_slice()], parts.as_slice()].concat())?;
        let bytes = random.iter().chain(&tag[..RANDOM_BYTES]);
        Some(bytes.map(|byte| format!("{byte:02x}")).collect())
    }

    /// Who signed; whether that is a contract's word.
    async fn check_signature(&self, proof: &SignInProof, address: &str, text: &str) -> Result<bool, Denial> {
        let wrong = |rule: &str| refused("signature", "signature", rule);
        let digits = proof.signature.strip_prefix("0x").unwrap_or_default();
        let mut bytes = vec![0; (digits.len() / 2).min(MAX_SIGNATURE_BYTES)];
        if digits.len() != 2 * bytes.len() || !read_hex(digits, &mut bytes) {
            return Err(wrong("must be 0x and hexadecimal digits"));
        }
        let is_plain = bytes.len() == 65 && matches!(proof.signature_scheme.as_deref(), None | Some(EIP191));
        let is_own =
            is_plain && sign_in::signer_of(text, &bytes).is_ok_and(|signer| signer.to_string() == address);
        if is_own {
            return Ok(false);
        }
        let Some(verifier) = &self.rule.verifier else {
            return Err(wrong(
                "must be the address's own, 65 bytes by its key: contract wallets are not known here",
            ));
        };
        let claim = WalletClaim { network: &proof.network, address, text, signature: &bytes };
        match tokio::time::timeout(VERIFIER_PATIENCE, verifier.verify(claim)).await {
            Ok(Ok(true)) => Ok(true),
            Ok(Ok(false)) => Err(wrong("must be the address's own: neither a key's nor its contract's")),
            failed => {
                tracing::warn!(?failed, "a contract wallet's signature could not be checked");
                Err(refused(
                    "verifier_error",
                    "signature",
                    "could not be checked with the wallet's contract now",
                ))
            }
        }
    }
}

impl RouteExtension for Door {
    fn name(&self) -> &str {
        NAME
    }

    fn declare<'a>(&'a self, asked: Asked<'a>) -> BoxFuture<'a, Option<Declared>> {
        let chains = networks(asked.offers.iter().map(|offer| &offer.network));
        let declared = || {
            let mut random = [0; RANDOM_BYTES];
            getrandom::fill(&mut random).ok()?;
            let mut message = self.message(asked.url, String::new(), asked.now);
            message.nonce = self.nonce(random, &message)?;
            let chain = |network| SignInChain { network, kind: EIP191.to_owned() };
            let chains: Vec<_> = chains.into_iter().map(chain).collect();
            let declaration = SignInChallenge { message, chains }.declaration();
            // Each nonce is for one, whatever way the clock is set.
            Some(Declared { declaration, good_until: UnixTime(0) })
        };
        Box::pin(std::future::ready(declared()))
    }
}

/// Who signed in, and has not been let in yet.
#[derive(Debug)]
pub(crate) struct Visitor {
    signed_in: SignedIn,
    /// Where a purchase counts as theirs: one key is one account on all chains, one contract only on its own.
    networks: Vec<Network>,
    nonce: String,
    good_until: UnixTime,
}

/// The EVM networks among those offered, each once.
pub(crate) fn networks<'a>(offered: impl Iterator<Item = &'a Network>) -> Vec<Network> {
    let mut networks: Vec<Network> = Vec::new();
    for network in offered.filter(|network| network.evm_chain_id().is_some()) {
        if !networks.contains(network) {
            networks.push(network.clone());
        }
    }
    networks
}

/// Host, and port where it is not the scheme's own.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn canonical(url: &str) -> Option<String> {
    Url::parse(url).ok().map(|url| canonical_url(&url))
}

/// The name of the fact that `payer` has paid for a request.
fn purchase(request: Fingerprint, payer: &str, network: &Network) -> String {
    let digits: String = request.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{digits} {} {network}", payer.to_ascii_lowercase())
}

/// The one proof on a request.
fn read(headers: &HeaderMap) -> Result<SignInProof, WireError> {
    let mut values = headers.get_all(HEADER).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => SignInProof::decode(value.as_bytes()),
        _ => Err(WireError::new(ErrorCode::INVALID_PAYLOAD, FIELD, "must stand once")),
    }
}

/// Reads exactly as many digits as fill `bytes`.
fn read_hex(digits: &str, bytes: &mut [u8]) -> bool {
    let byte = |at: usize| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok();
    let is_plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_plain && bytes.iter_mut().enumerate().all(|(at, slot)| byte(at).map(|byte| *slot = byte).is_some())
}

fn refused(code: &str, field: &str, rule: &str) -> Denial {
    let code = ErrorCode::from_wire(&format!("invalid_siwx_{code}"));
    Denial::Refused(Refusal::new(code, format!("{FIELD}.{field}"), rule))
}
