//! Scheme `batch-settlement` without money on a chain: what a payment says whose account is billed later, for the network of
//! our own, `tollway:credit`, and for the published profile `cloudflare:402`.
//!
//! A payment is a commitment that the signature on its request makes binding; it says how much and, on our network, which
//! one it is. What does not live here: signatures, accounts, and what they owe.

use crate::model::JsonObject;
use crate::wire::{Fields, WireError};
use crate::{Amount, UnixTime};

/// The network whose payments are commitments of accounts with a seller.
pub const CREDIT_NETWORK: &str = "tollway:credit";
/// The network of the published profile: a merchant of record bills whoever signed.
pub const CLOUDFLARE_NETWORK: &str = "cloudflare:402";
/// Who is paid on [`CLOUDFLARE_NETWORK`].
pub const CLOUDFLARE_PAY_TO: &str = "merchant";
/// The version of either network's rules, as offers name it.
pub const CREDIT_VERSION: &str = "1.0.0";
/// Digits after the point of an amount on [`CREDIT_NETWORK`]: those of the stablecoins that accounts are settled in.
pub const CREDIT_DECIMALS: u8 = 6;
/// Digits after the point of an amount on [`CLOUDFLARE_NETWORK`]: the currency's own.
pub const CLOUDFLARE_DECIMALS: u8 = 2;

/// The longest name of an account.
const MAX_ACCOUNT_BYTES: usize = 64;

/// What a payment on [`CREDIT_NETWORK`] says. One nonce is charged once, whatever else is signed with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreditCommitment {
    /// The account, by the name that the seller gave it.
    pub account: String,
    /// The most that may be charged, atomic units.
    pub amount: Amount,
    /// The currency, by its code (ISO 4217).
    pub asset: String,
    /// Which commitment of the account's it is: 32 bytes that nobody has used before.
    pub nonce: [u8; 32],
    /// When it stops counting.
    pub valid_before: UnixTime,
}

impl CreditCommitment {
    /// The commitment as a payload.
    ///
    /// ```
    /// use tollway_core::{CreditCommitment, UnixTime};
    /// let (account, asset) = ("acme".to_owned(), "USD".to_owned());
    /// let valid_before = UnixTime(1_740_672_089);
    /// let one = CreditCommitment { account, amount: 10_000.into(), asset, nonce: [7; 32], valid_before };
    /// assert_eq!(one.encode()["validBefore"], "1740672089");
    /// assert_eq!(CreditCommitment::read(&one.encode()), Ok(one));
    /// ```
    pub fn encode(&self) -> JsonObject {
        let members = [
            ("account", self.account.clone()),
            ("amount", self.amount.to_string()),
            ("asset", self.asset.clone()),
            ("nonce", format!("0x{}", hex::encode(self.nonce))),
            ("validBefore", self.valid_before.0.to_string()),
        ];
        members.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`WireError`] naming the field.
    ///
    /// ```
    /// use tollway_core::{CreditCommitment, JsonObject};
    /// let error = CreditCommitment::read(&JsonObject::new()).unwrap_err();
    /// assert_eq!(error.field, "payload.account");
    /// ```
    pub fn read(payload: &JsonObject) -> Result<Self, WireError> {
        let mut fields = Fields::root(payload.clone()).at("payload");
        let account = fields.string("account")?;
        if !is_account(&account) {
            return Err(fields.error("account", "must be an account's name"));
        }
        let (amount, asset) = (fields.amount("amount")?, fields.string("asset")?);
        let text = fields.string("nonce")?;
        let digits =
            text.strip_prefix("0x").filter(|digits| !digits.contains(|c: char| c.is_ascii_uppercase()));
        let mut nonce = [0; 32];
        let is_read = digits.is_some_and(|digits| hex::decode_to_slice(digits, &mut nonce).is_ok());
        if !is_read {
            return Err(fields.error("nonce", "must be 32 bytes, 0x and lower-case hexadecimal digits"));
        }
        let text = fields.string("validBefore")?;
        let time = text.parse::<u64>().ok().filter(|time| time.to_string() == text);
        let time = time.ok_or_else(|| fields.error("validBefore", "must be a time in seconds"))?;
        Ok(Self { account, amount, asset, nonce, valid_before: UnixTime(time) })
    }
}

/// Whether a text can name an account: 1 to 64 letters, digits, `-`, `_` and `.`.
///
/// ```
/// assert!(tollway_core::is_account("acme-2.eu") && !tollway_core::is_account("acme/eu"));
/// ```
pub fn is_account(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=MAX_ACCOUNT_BYTES).contains(&text.len()) && text.bytes().all(is_plain)
}
