//! Credits: after a payment that settled and bought nothing, the seller's sealed word that it still may.
//!
//! A credit names the reservation of the payment that it is for, and redeeming it claims that reservation. So the payment
//! presented again and its credit are one right, and it is used once, whatever comes first. The seal is keyed by a secret
//! in the ledger, which all who share the ledger share; the redeemer is the payer, who signs for one request.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use http::HeaderMap;
use sha2::Sha256;
use tollway_core::wire::WireError;
use tollway_core::{Credit, ErrorCode, Fingerprint, MAX_CREDIT_BYTES, PAYMENT_CREDIT, Refusal, UnixTime};
use tollway_evm::{Signature, credit, signature};

use crate::denial::Denial;
use crate::reservation::UNFINISHED_SECONDS;

/// How long a credit may be redeemed.
pub(crate) const LIFETIME_SECONDS: u64 = UNFINISHED_SECONDS;
/// How far ahead a redemption may be signed.
const MAX_AHEAD_SECONDS: u64 = 600;
/// The header as peers are told of it.
const HEADER: &str = "PAYMENT-CREDIT";
/// What the secret is called in the ledger.
pub(crate) const SECRET_NAME: &str = "credit";

/// The seal of one seller.
#[derive(Clone)]
pub(crate) struct Seal([u8; 32]);

/// A credit presented to be redeemed, sealed by this seller. Who presents it is not known yet.
#[derive(Debug)]
pub(crate) struct Redemption {
    pub(crate) credit: Credit,
    /// The credit as it was given, seal included.
    sealed: String,
    valid_before: UnixTime,
    signature: Signature,
}

impl Seal {
    pub(crate) const fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The text that is given to the payer.
    pub(crate) fn seal(&self, credit: &Credit) -> Option<String> {
        let text = credit.encode();
        let mac = self.mac(&text)?.finalize().into_bytes();
        Some(format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac)))
    }

    /// Reads what is presented: the credit, its seal, until when the redemption is signed, the signature. Dear checks
    /// last.
    pub(crate) fn read(&self, headers: &HeaderMap, now: UnixTime) -> Result<Redemption, Denial> {
        let mut values = headers.get_all(PAYMENT_CREDIT).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(malformed("must stand once").into());
        };
        let text = value.to_str().ok().filter(|text| text.len() <= MAX_CREDIT_BYTES);
        let text = text.ok_or_else(|| malformed("must be at most 4096 bytes of ASCII"))?;
        let parts: Vec<&str> = text.splitn(5, '.').collect();
        let [body, mac, valid_before, signed] = parts[..] else {
            return Err(
                malformed("must be credit, seal, validBefore and signature, with dots between them").into()
            );
        };
        let mac = URL_SAFE_NO_PAD.decode(mac).map_err(|_| malformed("must have a seal in base64"))?;
        let is_ours = self.mac(body).is_some_and(|ours| ours.verify_slice(&mac).is_ok());
        if !is_ours {
            return Err(refused("must be a credit of this seller's").into());
        }
        let credit = Credit::decode(body)?;
        let valid_before = valid_before.parse().map(UnixTime);
        let valid_before = valid_before.map_err(|_| malformed("must have validBefore in seconds"))?;
        if now >= credit.expires_at || now >= valid_before {
            return Err(refused("must not have expired").into());
        }
        if valid_before > now.plus_seconds(MAX_AHEAD_SECONDS) {
            return Err(refused("must be signed for at most 600 s").into());
        }
        let signed = hex_bytes(signed).ok_or_else(|| malformed("must have a signature in hexadecimal"))?;
        let signature = signature::parse(&signed).map_err(|error| refused(&format!("signature {error}")))?;
        let (sealed, _) = text.split_at(body.len() + 1 + parts[1].len());
        Ok(Redemption { credit, sealed: sealed.to_owned(), valid_before, signature })
    }

    /// A seal on something else than a credit: `purpose` keeps kinds of things apart, lengths keep parts apart.
    pub(crate) fn tag(&self, purpose: &[u8], parts: &[&[u8]]) -> Option<[u8; 32]> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        // No text of a credit begins with a zero.
        mac.update(b"\0");
        for part in [purpose].iter().chain(parts) {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part);
        }
        Some(mac.finalize().into_bytes().into())
    }

    /// What proves a text to be this seller's.
    pub(crate) fn mac(&self, text: &str) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(text.as_bytes());
        Some(mac)
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(..)")
    }
}

impl Redemption {
    /// Whether the payer signed for this very request.
    pub(crate) fn check_payer(&self, request: Fingerprint) -> Result<(), Denial> {
        let Self { credit, sealed, valid_before, signature } = self;
        let signer = credit::redeemer(credit, sealed, request, *valid_before, signature);
        match signer {
            Ok(signer) if signer.to_string().eq_ignore_ascii_case(&credit.payer) => Ok(()),
            _ => {
                Err(refused("must be signed by its payer, for this request").by(credit.payer.clone()).into())
            }
        }
    }
}

/// Whether the request redeems a credit.
pub(crate) fn is_present(headers: &HeaderMap) -> bool {
    headers.contains_key(PAYMENT_CREDIT)
}

/// A credit that breaks a rule.
pub(crate) fn refused(rule: &str) -> Refusal {
    Refusal::new(ErrorCode::from_wire("invalid_payment_credit"), HEADER, rule)
}

/// A header that is no credit.
pub(crate) fn malformed(rule: &str) -> WireError {
    WireError::new(ErrorCode::INVALID_PAYLOAD, HEADER, rule)
}

fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 130)?;
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    (0..65).map(|index| byte(index * 2)).collect()
}
