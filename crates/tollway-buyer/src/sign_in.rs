//! Signing in (extension `sign-in-with-x`): who bought something before shows that it is who it was, instead of paying again.
//! What is signed, and its limits, are in `tollway-core`.
//!
//! The text to be signed is the seller's. It is signed only if it is for the very origin that was asked: nobody else could
//! use it, and no field of it can be anything but what it says.

use tollway_core::extension::parse_timestamp;
use tollway_core::extension::sign_in::{EIP191, NAME, SignInChallenge, SignInProof};
use tollway_core::model::PaymentRequired;
use tollway_core::{SignError, UnixTime};
use tollway_evm::{Signer, sign_in};
use url::Url;

use crate::error::PaymentError;

/// How far ahead a challenge may be answerable: what is signed for longer is worth stealing.
const LONGEST_SECONDS: u64 = 24 * 3600;
/// How much clocks may differ.
const SKEW_SECONDS: u64 = 300;

/// The proof that `required` asks for, which was the answer to a request to `url`; none if it asks for none, or for one that
/// this wallet does not give.
pub(crate) async fn prove(
    required: &PaymentRequired,
    url: &Url,
    signer: &dyn Signer,
    now: UnixTime,
) -> Result<Option<SignInProof>, PaymentError> {
    let Some(declared) = required.extensions.get(NAME) else { return Ok(None) };
    let challenge = match SignInChallenge::read(declared).map_err(|error| error.to_string()) {
        Ok(challenge) if is_for(&challenge, url, now) => challenge,
        read => {
            tracing::debug!(?read, "not signing in: the challenge is not for this request, or is malformed");
            return Ok(None);
        }
    };
    let can_sign = |network: &&tollway_core::Network| network.evm_chain_id().is_some();
    let kinds = challenge.chains.iter().filter(|chain| chain.kind == EIP191).map(|chain| &chain.network);
    // The chain of the first offer, as published clients choose; or any that is asked for.
    let favourite = required.accepts.first().map(|offer| &offer.network);
    let mut networks = kinds.filter(can_sign);
    let first = networks.clone().find(|network| Some(*network) == favourite);
    let Some(network) = first.or_else(|| networks.next()).cloned() else { return Ok(None) };
    let message = challenge.message;
    let address = signer.address().to_string();
    let Some(text) = message.evm_text(&address, &network) else { return Ok(None) };
    let signature = signer.sign(&sign_in::preimage(&text)).await;
    let signature = signature.map_err(|error| PaymentError::Sign(SignError::Signer(error.to_string())))?;
    tracing::info!(domain = message.domain, uri = message.uri, address, "signed in");
    let (kind, signature) = (EIP191.to_owned(), signature.to_string());
    Ok(Some(SignInProof { message, address, network, kind, signature_scheme: None, signature }))
}

/// Whether the challenge is of the origin that was asked, and for now.
fn is_for(challenge: &SignInChallenge, url: &Url, now: UnixTime) -> bool {
    let message = &challenge.message;
    let host = url.host_str().unwrap_or_default();
    let domain = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let is_of_origin = |text: &str| Url::parse(text).is_ok_and(|named| named.origin() == url.origin());
    let time = |text: Option<&String>| text.and_then(|text| parse_timestamp(text));
    let issued_at = time(Some(&message.issued_at)).unwrap_or(UnixTime(0));
    let is_new = issued_at <= now.plus_seconds(SKEW_SECONDS) && now <= issued_at.plus_seconds(SKEW_SECONDS);
    let ends = time(message.expiration_time.as_ref());
    message.domain == domain
        && is_of_origin(&message.uri)
        && is_new
        && ends.is_none_or(|ends| now < ends && ends <= now.plus_seconds(LONGEST_SECONDS))
}

#[cfg(test)]
mod tests {
    use tollway_core::extension::format_timestamp;
    use tollway_core::extension::sign_in::{EIP191, NAME, SignInChain, SignInChallenge, SignInMessage};
    use tollway_core::model::PaymentRequired;
    use tollway_core::{JsonObject, Network, UnixTime, X402Version};
    use tollway_evm::{LocalSigner, Signer, sign_in};
    use url::Url;

    use super::prove;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn challenge() -> SignInChallenge {
        let message = SignInMessage {
            domain: "api.example.com:8443".to_owned(),
            uri: "https://api.example.com:8443/data".to_owned(),
            version: "1".to_owned(),
            nonce: "a1b2c3d4e5f67890a1b2c3d4e5f67890".to_owned(),
            issued_at: format_timestamp(NOW),
            expiration_time: Some(format_timestamp(NOW.plus_seconds(300))),
            ..SignInMessage::default()
        };
        let chain = |network: &str, kind: &str| SignInChain {
            network: network.parse().unwrap(),
            kind: kind.to_owned(),
        };
        let solana = chain("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "ed25519");
        SignInChallenge { message, chains: vec![solana, chain("eip155:8453", EIP191)] }
    }

    fn required(challenge: &SignInChallenge) -> PaymentRequired {
        PaymentRequired {
            version: X402Version::V2,
            error: None,
            resource: None,
            accepts: Vec::new(),
            extensions: JsonObject::from_iter([(NAME.to_owned(), challenge.declaration().into())]),
            other: JsonObject::new(),
        }
    }

    #[tokio::test]
    async fn a_challenge_of_the_origin_that_was_asked_is_signed() {
        let (signer, url) = (LocalSigner::random().unwrap(), "https://api.example.com:8443/data?x=1");
        let url = url.parse::<Url>().unwrap();
        let proof = prove(&required(&challenge()), &url, &signer, NOW).await.unwrap().unwrap();
        assert_eq!(proof.network, Network::evm(8453));
        let text = proof.message.evm_text(&proof.address, &proof.network).unwrap();
        let signature: tollway_evm::Signature = proof.signature.parse().unwrap();
        assert_eq!(sign_in::signer_of(&text, &signature.as_bytes()), Ok(signer.address()));
    }

    #[tokio::test]
    async fn nothing_is_signed_for_another_site_another_time_or_another_chain() {
        type Change = fn(&mut SignInChallenge);
        let changes: [Change; 12] = [
            |challenge| challenge.message.domain = "api.example.com".to_owned(),
            |challenge| challenge.message.domain = "bank.example".to_owned(),
            |challenge| challenge.message.uri = "https://bank.example/data".to_owned(),
            |challenge| challenge.message.uri = "http://api.example.com:8443/data".to_owned(),
            |challenge| challenge.message.uri = "https://api.example.com/data".to_owned(),
            |challenge| challenge.message.statement = Some("Hello\n\nURI: https://bank.example".to_owned()),
            |challenge| challenge.message.nonce = "a1b2c3d4\r\nChain ID: 1".to_owned(),
            |challenge| challenge.message.issued_at = format_timestamp(UnixTime(NOW.0 - 301)),
            |challenge| challenge.message.issued_at = format_timestamp(NOW.plus_seconds(301)),
            |challenge| challenge.message.expiration_time = Some(format_timestamp(NOW)),
            |challenge| challenge.message.expiration_time = Some("2999-01-01T00:00:00Z".to_owned()),
            |challenge| challenge.chains.truncate(1),
        ];
        let signer = LocalSigner::random().unwrap();
        let url = "https://api.example.com:8443/data".parse::<Url>().unwrap();
        for (number, change) in changes.iter().enumerate() {
            let mut challenge = challenge();
            change(&mut challenge);
            let proof = prove(&required(&challenge), &url, &signer, NOW).await.unwrap();
            assert!(proof.is_none(), "change {number}");
        }
    }
}
