//! Accounts files: who may buy on credit, how much, for how long, and by which keys. In TOML; every key with its meaning
//! stands in the documentation. Text in, rules out: nothing is read from disk here.

use std::collections::BTreeMap;

use serde::Deserialize;
use tollway_core::http_signature::AgentKey;
use tollway_core::{Amount, CREDIT_DECIMALS, Money, is_account};
use tollway_evm::U256;
use url::Url;

use super::bank::BankAccount;

/// The longest accounts file.
const MAX_BYTES: usize = 1024 * 1024;
/// The most accounts in one file.
const MAX_ACCOUNTS: usize = 10_000;
/// No line is longer and no payment is more, in atomic units: a million millions, with room for sums of them.
pub(super) const MAX_MONEY: Amount =
    Amount::from_atomic(U256::from_limbs([1_000_000_000_000_000_000, 0, 0, 0]));

/// Currencies whose smallest coin is no hundredth (ISO 4217): bills are in hundredths.
const NOT_IN_CENTS: [&str; 23] = [
    "BHD", "BIF", "CLP", "DJF", "GNF", "IQD", "ISK", "JOD", "JPY", "KMF", "KRW", "KWD", "LYD", "OMR", "PYG",
    "RWF", "TND", "UGX", "VND", "VUV", "XAF", "XOF", "XPF",
];

/// The accounts of a seller.
///
/// ```
/// use tollway_seller::Accounts;
/// let accounts = Accounts::parse(r#"
///     registration_url = "https://api.example.com/accounts"
///     [[account]]
///     id = "acme"
///     limit = "$250"
///     keys = ["11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"]
/// "#)?;
/// assert_eq!(accounts.get("acme").map(|account| account.limit.to_string()), Some("250000000".to_owned()));
/// # Ok::<(), tollway_seller::AccountsFault>(())
/// ```
#[derive(Clone, Debug)]
pub struct Accounts {
    /// The currency of every account, by its code (ISO 4217).
    pub currency: String,
    /// Where somebody who has no account gets one.
    pub registration_url: String,
    /// Where the seller's money goes that a bank moves.
    pub creditor: Option<BankAccount>,
    list: BTreeMap<String, Account>,
}

/// One account.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its name, in payments and in the ledger.
    pub id: String,
    /// Whose it is, for people.
    pub name: String,
    /// What it may owe, atomic units.
    pub limit: Amount,
    /// How old its oldest unpaid charge may be, days.
    pub max_age_days: u64,
    /// Whether it is suspended by the file. The ledger can say so as well.
    pub is_suspended: bool,
    /// How often it is billed, days.
    pub bill_every_days: u64,
    /// How long it has to pay an invoice, days.
    pub due_days: u64,
    /// Its keys, by the names that signatures give them.
    pub keys: Vec<(String, AgentKey)>,
    /// The origin that publishes its keys.
    pub agent: Option<String>,
    /// Its bank account.
    pub bank: Option<BankAccount>,
}

/// Why an accounts file is none. Nothing of it is in force then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AccountsFault(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    registration_url: String,
    #[serde(default)]
    currency: Option<String>,
    #[serde(default)]
    creditor: Option<BankAccount>,
    #[serde(default)]
    account: Vec<AccountText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountText {
    id: String,
    limit: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    max_age_days: Option<u64>,
    #[serde(default)]
    suspended: bool,
    #[serde(default)]
    bill_every_days: Option<u64>,
    #[serde(default)]
    due_days: Option<u64>,
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    agent: Option<String>,
    #[serde(default)]
    bank: Option<BankAccount>,
}

impl Accounts {
    /// Reads an accounts file.
    ///
    /// # Errors
    /// [`AccountsFault`] naming the account and the key.
    ///
    /// ```
    /// use tollway_seller::Accounts;
    /// let wrong = "registration_url = \"https://a.example\"\n[[account]]\nid = \"acme\"\nlimit = \"$1\"";
    /// let error = Accounts::parse(wrong).unwrap_err().to_string();
    /// assert_eq!(error, "account acme: keys: must have one, or an agent that publishes them");
    /// ```
    pub fn parse(text: &str) -> Result<Self, AccountsFault> {
        if text.len() > MAX_BYTES {
            return Err(AccountsFault(format!("must be at most {MAX_BYTES} bytes long")));
        }
        let file: FileText = toml::from_str(text).map_err(|error| AccountsFault(error.to_string()))?;
        let currency = file.currency.unwrap_or_else(|| "USD".to_owned());
        if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(AccountsFault("currency: must be a code of three capitals".to_owned()));
        }
        if NOT_IN_CENTS.contains(&&*currency) {
            return Err(AccountsFault("currency: must be one that is counted in hundredths".to_owned()));
        }
        if Url::parse(&file.registration_url).is_err() {
            return Err(AccountsFault("registration_url: must be a URL".to_owned()));
        }
        if let Some(fault) = file.creditor.as_ref().and_then(BankAccount::fault) {
            return Err(AccountsFault(format!("creditor: {fault}")));
        }
        if file.account.len() > MAX_ACCOUNTS {
            return Err(AccountsFault(format!("must be at most {MAX_ACCOUNTS} accounts")));
        }
        let mut list: BTreeMap<String, Account> = BTreeMap::new();
        for text in file.account {
            let id = text.id.clone();
            let account = Account::read(text, &currency)
                .map_err(|fault| AccountsFault(format!("account {id}: {fault}")))?;
            let same_agent = |other: &Account| account.agent.is_some() && other.agent == account.agent;
            if list.values().any(same_agent) {
                return Err(AccountsFault(format!("account {id}: agent: is another account's already")));
            }
            if list.insert(id.clone(), account).is_some() {
                return Err(AccountsFault(format!("account {id}: stands twice")));
            }
        }
        Ok(Self { currency, registration_url: file.registration_url, creditor: file.creditor, list })
    }

    /// The account of this name.
    ///
    /// ```
    /// let accounts = tollway_seller::Accounts::parse("registration_url = \"https://a.example\"").unwrap();
    /// assert!(accounts.get("acme").is_none());
    /// ```
    pub fn get(&self, id: &str) -> Option<&Account> {
        self.list.get(id)
    }

    /// All accounts, by name.
    ///
    /// ```
    /// let accounts = tollway_seller::Accounts::parse("registration_url = \"https://a.example\"").unwrap();
    /// assert_eq!(accounts.iter().count(), 0);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = &Account> {
        self.list.values()
    }

    /// The account whose keys `origin` publishes.
    pub(super) fn of_agent(&self, origin: &str) -> Option<&Account> {
        self.list.values().find(|account| account.agent.as_deref() == Some(origin))
    }
}

impl Account {
    fn read(text: AccountText, currency: &str) -> Result<Self, String> {
        if !is_account(&text.id) {
            return Err("id: must be 1 to 64 letters, digits, '-', '_' and '.'".to_owned());
        }
        let days = |name: &str, days: Option<u64>, usual: u64| match days.unwrap_or(usual) {
            days @ 1..=3650 => Ok(days),
            _ => Err(format!("{name}: must be 1 to 3650 days")),
        };
        let mut keys = Vec::new();
        for x in &text.keys {
            let jwk = serde_json::json!({ "kty": "OKP", "crv": "Ed25519", "x": x }).to_string();
            let key = AgentKey::from_jwk(&jwk).map_err(|error| format!("keys: {error}"))?;
            keys.push((key.thumbprint(), key));
        }
        let agent = text.agent.as_deref().map(origin).transpose()?;
        if keys.is_empty() && agent.is_none() {
            return Err("keys: must have one, or an agent that publishes them".to_owned());
        }
        if let Some(fault) = text.bank.as_ref().and_then(BankAccount::fault) {
            return Err(format!("bank.{fault}"));
        }
        Ok(Self {
            limit: limit(&text.limit, currency)?,
            name: text.name.unwrap_or_else(|| text.id.clone()),
            max_age_days: days("max_age_days", text.max_age_days, 45)?,
            is_suspended: text.suspended,
            bill_every_days: days("bill_every_days", text.bill_every_days, 30)?,
            due_days: days("due_days", text.due_days, 14)?,
            id: text.id,
            keys,
            agent,
            bank: text.bank,
        })
    }
}

fn limit(text: &str, currency: &str) -> Result<Amount, String> {
    let money: Money = text.parse().map_err(|error| format!("limit: {error}"))?;
    let named = match money.currency() {
        tollway_core::Currency::Usd => "USD",
        tollway_core::Currency::Symbol(symbol) => symbol,
        _ => "",
    };
    if named != currency {
        return Err(format!("limit: must be in {currency}, such as \"100 {currency}\""));
    }
    let limit = money.to_atomic(CREDIT_DECIMALS).map_err(|error| format!("limit: {error}"))?;
    if limit > MAX_MONEY {
        return Err("limit: must be at most a million millions".to_owned());
    }
    Ok(limit)
}

fn origin(text: &str) -> Result<String, String> {
    let url = Url::parse(text).ok().filter(|url| {
        url.scheme() == "https"
            && matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.username().is_empty()
    });
    let url = url.ok_or_else(|| "agent: must be an https origin".to_owned())?;
    Ok(url.origin().ascii_serialization())
}
