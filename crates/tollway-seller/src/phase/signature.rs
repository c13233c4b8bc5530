//! The signature that some schemes' payments count by: read from the request, by the keys of the account that it is for,
//! before anything is reserved. Who does not use HTTP has no such payments.

use http::request::Parts;
use tollway_core::http_signature::{AgentKey, PresentedSignature, SignedRequest};
use tollway_core::model::PaymentPayload;
use tollway_core::{FacilitatorError, Refusal, RequestProof, SignedRequestScheme, UnixTime};
use url::Url;

use crate::denial::Denial;
use crate::offers::Offers;
use crate::paywall::Core;

/// A request that its account signed.
#[derive(Debug)]
pub(crate) struct Proved<'a> {
    pub(crate) proof: RequestProof,
    scheme: &'a dyn SignedRequestScheme,
}

impl Proved<'_> {
    /// Holds the body against what was signed of it.
    pub(crate) fn check_body(&self, body: &[u8]) -> Result<(), Denial> {
        let is_fine = match self.proof.is_about(body) {
            Some(is_about) => is_about,
            None => body.is_empty() || !self.scheme.binds_body(),
        };
        if is_fine {
            return Ok(());
        }
        let rule = "must be covered by the signature, and be the body's (sha-256)";
        Err(self.scheme.unsigned("Content-Digest", rule).by(&*self.proof.account).into())
    }
}

/// The proof that `payment` came with the request that its account signed; none if its scheme needs none.
pub(crate) async fn prove<'a>(
    core: &Core,
    offers: &'a Offers,
    parts: &Parts,
    url: &str,
    payment: &PaymentPayload,
) -> Result<Option<Proved<'a>>, Denial> {
    let is_kind = |offer: &&crate::offers::Offer| {
        offer.requirements.scheme == *payment.scheme() && offer.requirements.network == *payment.network()
    };
    let scheme = offers.all.iter().filter(is_kind).find_map(|offer| offer.scheme.signed_request());
    let Some(scheme) = scheme else { return Ok(None) };
    let now = core.clock.now();
    let refused = |field: &str, rule: &str| Denial::Refused(scheme.unsigned(field, rule));
    let url = Url::parse(url).map_err(|_| refused("url", "must be a URL"))?;
    let headers = parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let request = SignedRequest { method: parts.method.as_str(), url: &url, headers };
    let presented = scheme.rules().read(&request, now).map_err(|error| refused(&error.field, &error.rule))?;
    let presented = presented.ok_or_else(|| refused("Signature", "is required"))?;
    let proof = by_its_account(core, scheme, payment, &presented, now).await?;
    Ok(Some(Proved { proof, scheme }))
}

/// Holds the signature against the keys of the account that the payment is for: those that are known by themselves, then
/// those that its agent publishes.
async fn by_its_account(
    core: &Core,
    scheme: &dyn SignedRequestScheme,
    payment: &PaymentPayload,
    presented: &PresentedSignature,
    now: UnixTime,
) -> Result<RequestProof, Denial> {
    let signer = scheme.signer(payment, presented)?;
    let proof = RequestProof::new(&signer.account, presented);
    let key_id = presented.key_id();
    if signer.keys.iter().any(|(name, key)| name == key_id && presented.is_by(key, now)) {
        return Ok(proof);
    }
    let refused = || Denial::Refused(wrong_key(scheme, &signer.account));
    let Some(origin) = signer.directory else { return Err(refused()) };
    let agent = Url::parse(&origin).map_err(|_| refused())?;
    let outage = |cause: String| Denial::outage(FacilitatorError::NoAnswer(cause));
    let Some(directories) = &core.directories else { return Err(outage("no client".to_owned())) };
    let keys = directories.keys(&agent, now).await.map_err(|cause| {
        tracing::warn!(account = signer.account, %agent, cause, "an account's keys cannot be had");
        outage(format!("the directory of {}: {cause}", signer.account))
    })?;
    let is_by = |key: &AgentKey| key.thumbprint() == key_id && presented.is_by(key, now);
    if keys.iter().any(is_by) { Ok(proof) } else { Err(refused()) }
}

fn wrong_key(scheme: &dyn SignedRequestScheme, account: &str) -> Refusal {
    scheme.unsigned("Signature", "must be by a key of the account, over this very request").by(account)
}
