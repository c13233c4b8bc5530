//! Credits: a seller's word that a payment bought nothing yet, and what it may still buy. Not of the x402 specification.
//!
//! What lives here: what a credit says, and how it is spelled. What does not: the seller's seal on it, the payer's signature
//! that redeems it, and that it is redeemed once.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::wire::{Fields, WireError, parse_object};
use crate::{Amount, AuthorizationKey, ErrorCode, Fingerprint, JsonObject, Network, UnixTime};

/// Header of both directions: the seller's answer gives a credit, the payer's request redeems it.
pub const PAYMENT_CREDIT: &str = "payment-credit";

/// The longest text of a credit that is read, with everything that is added to redeem it.
pub const MAX_CREDIT_BYTES: usize = 4 * 1024;

/// What a seller owes for a payment that has settled and bought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credit {
    /// The authorization that paid. Whatever it buys, by this credit or by itself, it buys once.
    pub id: AuthorizationKey,
    /// Who paid, and may redeem it.
    pub payer: String,
    /// On which network.
    pub network: Network,
    /// In which asset.
    pub asset: String,
    /// What it covers at most, atomic units. It is redeemed whole.
    pub amount: Amount,
    /// Who was paid.
    pub pay_to: String,
    /// The transaction.
    pub transaction: String,
    /// The request that was paid for.
    pub request: Fingerprint,
    /// When it was given.
    pub issued_at: UnixTime,
    /// Until when it may be redeemed.
    pub expires_at: UnixTime,
}

impl Credit {
    /// The credit as text, for a header: JSON in base64 (RFC 4648, section 5, without padding).
    ///
    /// ```
    /// use tollway_core::{Amount, AuthorizationKey, Credit, Fingerprint, Network, UnixTime};
    /// let credit = Credit {
    ///     id: AuthorizationKey::new("eip155:8453/0x8335/0xf39f/0xf374"),
    ///     payer: "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266".to_owned(),
    ///     network: Network::evm(8453),
    ///     asset: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913".to_owned(),
    ///     amount: Amount::from(10_000u64),
    ///     pay_to: "0x209693Bc6afc0C5328bA36FaF03C514EF312287C".to_owned(),
    ///     transaction: "0xabcd".to_owned(),
    ///     request: Fingerprint::from_bytes([7; 32]),
    ///     issued_at: UnixTime(1_750_000_000),
    ///     expires_at: UnixTime(1_750_086_400),
    /// };
    /// assert_eq!(Credit::decode(&credit.encode()), Ok(credit));
    /// ```
    pub fn encode(&self) -> String {
        let json = json!({
            "id": self.id.as_str(),
            "payer": self.payer,
            "network": self.network.as_str(),
            "asset": self.asset,
            "amount": self.amount.to_string(),
            "payTo": self.pay_to,
            "transaction": self.transaction,
            "request": hex::encode(self.request.as_bytes()),
            "issuedAt": self.issued_at.0,
            "expiresAt": self.expires_at.0,
        });
        URL_SAFE_NO_PAD.encode(json.to_string())
    }

    /// Reads the text of a credit. That it is the seller's is for its seal to say.
    ///
    /// # Errors
    /// [`WireError`] naming the field.
    ///
    /// ```
    /// use tollway_core::Credit;
    /// assert_eq!(Credit::decode("e30").unwrap_err().field, "id");
    /// assert_eq!(Credit::decode("?").unwrap_err().field, "PAYMENT-CREDIT");
    /// ```
    pub fn decode(text: &str) -> Result<Self, WireError> {
        if text.len() > MAX_CREDIT_BYTES {
            return Err(malformed(&format!("must be at most {MAX_CREDIT_BYTES} bytes long")));
        }
        let json =
            URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed("must be base64, URL-safe, unpadded"))?;
        let object: JsonObject = parse_object(&json, "PAYMENT-CREDIT")?;
        let mut fields = Fields::root(object);
        let id = AuthorizationKey::new(fields.string("id")?);
        let payer = fields.string("payer")?;
        let network: Network =
            fields.string("network")?.parse().map_err(|error| fields.error("network", format!("{error}")))?;
        let (asset, amount) = (fields.string("asset")?, fields.amount("amount")?);
        let (pay_to, transaction) = (fields.string("payTo")?, fields.string("transaction")?);
        let mut request = [0; 32];
        hex::decode_to_slice(fields.string("request")?, &mut request)
            .map_err(|_| fields.error("request", "must be 32 bytes in hexadecimal"))?;
        Ok(Self {
            id,
            payer,
            network,
            asset,
            amount,
            pay_to,
            transaction,
            request: Fingerprint::from_bytes(request),
            issued_at: UnixTime(fields.number("issuedAt")?),
            expires_at: UnixTime(fields.number("expiresAt")?),
        })
    }
}

fn malformed(rule: &str) -> WireError {
    WireError::new(ErrorCode::INVALID_PAYLOAD, "PAYMENT-CREDIT", rule)
}
