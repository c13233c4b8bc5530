//! Asking the owner before a purchase: the question, the seam that answers it, and who is asked by which policy. How a
//! question travels is in `queue` and `webhook`; a prompt at a terminal is the program's.
//!
//! Nothing but a yes in time is a yes. What the seller wrote never decides, and is shown short and escaped: it may be meant
//! for whoever reads the question.

mod queue;
mod secret;
mod webhook;

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tollway_core::model::PaymentRequirements;
use tollway_core::{Amount, BoxFuture, Clock, OfferedValue, UnixTime};
use tollway_ledger::Ledger;

use crate::origin::clip;
use crate::policy::approval::{Approval, ApprovalBy};

pub use self::queue::{Decided, QueueApprover, QueuedInquiry};
pub use self::secret::webhook_secret;
pub use self::webhook::WebhookApprover;

/// The longest reason that is shown, in characters.
const MAX_WHY_CHARS: usize = 300;
/// The longest URL that is shown, in characters.
const MAX_URL_CHARS: usize = 300;

/// Answers questions about purchases.
pub trait Approver: Send + Sync + fmt::Debug {
    /// Whether the purchase may be made. Whatever is not `Ok` is no.
    ///
    /// ```
    /// use tollway_buyer::{Approver, Inquiry, NotApproved};
    /// async fn may(approver: &dyn Approver, inquiry: &Inquiry) -> bool {
    ///     approver.ask(inquiry).await.is_ok()
    /// }
    /// ```
    fn ask<'a>(&'a self, inquiry: &'a Inquiry) -> BoxFuture<'a, Result<(), NotApproved>>;
}

/// Why a purchase may not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotApproved {
    /// Somebody said no.
    #[error("the owner said no")]
    Denied,
    /// Nobody said anything in time.
    #[error("nobody said yes in time")]
    TimedOut,
    /// The question did not arrive, or the answer was none.
    #[error("the owner could not be asked: {0}")]
    Unavailable(String),
}

/// A question to the owner. It holds what the wallet knows: the request as it was made, the offer as it would be signed, the
/// money decoded by the wallet's own table. All texts in it are short and on one line.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Inquiry {
    /// 32 hexadecimal digits that nobody can guess: an answer names them.
    pub id: String,
    /// The wallet.
    pub wallet: String,
    /// The agent, if it has a name.
    pub agent: Option<String>,
    /// The agent's tool, if it has a name.
    pub tool: Option<String>,
    /// The level whose owner is asked.
    pub level: String,
    /// Why.
    pub why: Vec<String>,
    /// The request's method.
    pub method: String,
    /// The request's URL, without user information, query and fragment.
    pub url: String,
    /// The request's host.
    pub host: String,
    /// The scheme of the offer.
    pub scheme: String,
    /// The network of the offer.
    pub network: String,
    /// The asset of the offer.
    pub asset: String,
    /// What would move at most, in atomic units.
    pub amount: Amount,
    /// Whom to.
    pub pay_to: String,
    /// What that is worth; none for an asset that the wallet does not know.
    pub value: Option<OfferedValue>,
    /// What would be put into a channel with it, in atomic units; none if nothing is.
    pub deposit: Option<Amount>,
    /// When it is asked.
    pub asked: UnixTime,
    /// Until when an answer counts.
    pub until: UnixTime,
}

/// What is about to be bought, as a question tells it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The wallet's name.
    pub wallet: &'a str,
    /// The agent.
    pub agent: Option<&'a str>,
    /// The agent's tool.
    pub tool: Option<&'a str>,
    /// The request's method.
    pub method: &'a str,
    /// The request's URL.
    pub url: &'a url::Url,
    /// The offer.
    pub offer: &'a PaymentRequirements,
    /// What the wallet knows it to cost.
    pub value: Option<&'a OfferedValue>,
    /// What would be put into a channel with it, atomic units; none if nothing is.
    pub deposit: Option<Amount>,
}

impl Inquiry {
    /// The question whether `subject` may be bought although `why`, asked now and good for `timeout_seconds`.
    ///
    /// # Errors
    /// There is no randomness for a name.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_buyer::{Inquiry, Subject};
    /// use tollway_core::UnixTime;
    /// # let (offer, value) = offer();
    /// # let url = url();
    /// let subject = Subject {
    ///     wallet: "0xabc", agent: Some("scout"), tool: None, method: "GET", url: &url, offer: &offer, value: Some(&value),
    ///     deposit: None,
    /// };
    /// let inquiry = Inquiry::about(&subject, "org", &["above $0.01: needs approval"], UnixTime(1_790_000_000), 60)?;
    /// assert_eq!(inquiry.money(), "0.05 USDC");
    /// assert_eq!(inquiry.until, UnixTime(1_790_000_060));
    /// # Ok(()) }
    /// ```
    pub fn about(
        subject: &Subject<'_>,
        level: &str,
        why: &[&str],
        now: UnixTime,
        timeout_seconds: u64,
    ) -> Result<Self, NotApproved> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|_| NotApproved::Unavailable("no randomness".to_owned()))?;
        let Subject { wallet, agent, tool, method, url, offer, value, deposit } = *subject;
        Ok(Self {
            id: hex::encode(id),
            wallet: wallet.to_owned(),
            agent: agent.map(clip),
            tool: tool.map(clip),
            level: clip(level),
            why: why.iter().map(|why| clip_to(why, MAX_WHY_CHARS)).collect(),
            method: clip(method),
            url: clip_to(&crate::origin::without_query(url), MAX_URL_CHARS),
            host: clip_to(url.host_str().unwrap_or_default(), MAX_URL_CHARS),
            scheme: clip(offer.scheme.as_str()),
            network: clip(offer.network.as_str()),
            asset: clip(&offer.asset),
            amount: offer.amount,
            pay_to: clip(&offer.pay_to),
            value: value.cloned(),
            deposit,
            asked: now,
            until: now.plus_seconds(timeout_seconds),
        })
    }

    /// What it costs, as people read it.
    ///
    /// ```
    /// fn title(inquiry: &tollway_buyer::Inquiry) -> String {
    ///     format!("{} to {}", inquiry.money(), inquiry.host)
    /// }
    /// ```
    pub fn money(&self) -> String {
        self.shown(self.amount)
    }

    /// What would be put into a channel with it, as people read it; none if nothing is.
    ///
    /// ```
    /// fn exposure(inquiry: &tollway_buyer::Inquiry) -> String {
    ///     inquiry.deposited().unwrap_or_else(|| "nothing beyond its price".to_owned())
    /// }
    /// ```
    pub fn deposited(&self) -> Option<String> {
        self.deposit.map(|deposit| self.shown(deposit))
    }

    fn shown(&self, amount: Amount) -> String {
        match &self.value {
            // Told apart only if it is: the symbol is of the wallet's own table.
            Some(value) if value.amount == self.amount => {
                format!("{} {}", amount.to_decimal(value.decimals), clip(&value.symbol))
            }
            _ => format!("{amount} atomic units of an asset that is not known, {}", self.asset),
        }
    }

    /// The question as JSON: what webhooks are told, and what the ledger keeps.
    ///
    /// ```
    /// fn post(inquiry: &tollway_buyer::Inquiry) -> String {
    ///     inquiry.to_json().to_string()
    /// }
    /// ```
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| {
            object.insert(name.to_owned(), value);
        };
        put("id", self.id.as_str().into());
        put("wallet", self.wallet.as_str().into());
        put("agent", json!(self.agent));
        put("tool", json!(self.tool));
        put("level", self.level.as_str().into());
        put("why", json!(self.why));
        put("money", self.money().into());
        let deposit = self.deposit.zip(self.deposited());
        let deposit = deposit.map(|(amount, money)| json!({ "amount": amount.to_string(), "money": money }));
        put("deposit", json!(deposit));
        put("request", json!({ "method": self.method, "url": self.url, "host": self.host }));
        let amount = self.amount.to_string();
        put(
            "offer",
            json!({
                "scheme": self.scheme, "network": self.network, "asset": self.asset, "amount": amount,
                "payTo": self.pay_to,
            }),
        );
        let value = self.value.as_ref().map(|value| {
            json!({
                "symbol": value.symbol, "decimals": value.decimals, "amount": value.amount.to_string(),
                "isUsd": value.is_usd,
            })
        });
        put("value", json!(value));
        put("askedAt", self.asked.0.into());
        put("until", self.until.0.into());
        object.into()
    }

    pub(crate) fn from_json(object: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let (request, offer) = (&object["request"], &object["offer"]);
        let value = match &object["value"] {
            Value::Null => None,
            value => Some(OfferedValue {
                symbol: text(&value["symbol"])?,
                decimals: u8::try_from(value["decimals"].as_u64()?).ok()?,
                amount: value["amount"].as_str()?.parse().ok()?,
                is_usd: value["isUsd"].as_bool()?,
            }),
        };
        let deposit = match &object["deposit"] {
            Value::Null => None,
            deposit => Some(deposit["amount"].as_str()?.parse().ok()?),
        };
        Some(Self {
            id: text(&object["id"])?,
            wallet: text(&object["wallet"])?,
            agent: text(&object["agent"]),
            tool: text(&object["tool"]),
            level: text(&object["level"])?,
            why: object["why"].as_array()?.iter().map(text).collect::<Option<_>>()?,
            method: text(&request["method"])?,
            url: text(&request["url"])?,
            host: text(&request["host"])?,
            scheme: text(&offer["scheme"])?,
            network: text(&offer["network"])?,
            asset: text(&offer["asset"])?,
            amount: offer["amount"].as_str()?.parse().ok()?,
            pay_to: text(&offer["payTo"])?,
            value,
            deposit,
            asked: UnixTime(object["askedAt"].as_u64()?),
            until: UnixTime(object["until"].as_u64()?),
        })
    }
}

/// The question as people read it, a fact a line.
impl fmt::Display for Inquiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match (&self.agent, &self.tool) {
            (Some(agent), Some(tool)) => format!("{agent} (tool {tool}), wallet {}", self.wallet),
            (Some(agent), None) => format!("{agent}, wallet {}", self.wallet),
            (None, Some(tool)) => format!("tool {tool}, wallet {}", self.wallet),
            (None, None) => format!("wallet {}", self.wallet),
        };
        writeln!(f, "  pay      {}", self.money())?;
        if let Some(deposited) = self.deposited() {
            writeln!(f, "  deposit  {deposited}, into a channel with the seller")?;
        }
        writeln!(f, "  for      {} {}", self.method, self.url)?;
        writeln!(f, "  at       {}", self.host)?;
        writeln!(f, "  payTo    {}", self.pay_to)?;
        writeln!(f, "  on       {}, scheme {}, asset {}", self.network, self.scheme, self.asset)?;
        writeln!(f, "  by       {who}")?;
        for why in &self.why {
            writeln!(f, "  because  {why} ({})", self.level)?;
        }
        Ok(())
    }
}

/// Who is asked by which policy. Questions for a terminal go to whoever the wallet was given for them, and are no where there
/// is nobody.
#[derive(Clone, Debug)]
pub struct Approvers {
    terminal: Option<Arc<dyn Approver>>,
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
}

impl Approvers {
    /// Asks by `ledger` and by webhooks, and `terminal` where a policy names a terminal.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollway_buyer::Approvers;
    /// use tollway_core::SystemClock;
    /// use tollway_ledger::MemoryLedger;
    /// let approvers = Approvers::new(Arc::new(MemoryLedger::default()), Arc::new(SystemClock), None);
    /// # drop(approvers);
    /// ```
    pub fn new(ledger: Arc<dyn Ledger>, clock: Arc<dyn Clock>, terminal: Option<Arc<dyn Approver>>) -> Self {
        Self { terminal, ledger, clock }
    }

    /// Asks as `approval` says. Returns by the end of the question's time, with whatever is known then.
    ///
    /// # Errors
    /// [`NotApproved`]: then the purchase must not be made.
    ///
    /// ```
    /// use tollway_buyer::{Approval, Approvers, Inquiry};
    /// async fn may(approvers: &Approvers, approval: &Approval, inquiry: &Inquiry) -> bool {
    ///     approvers.ask(approval, inquiry).await.is_ok()
    /// }
    /// ```
    pub async fn ask(&self, approval: &Approval, inquiry: &Inquiry) -> Result<(), NotApproved> {
        match &approval.by {
            ApprovalBy::Terminal => {
                let nobody = || NotApproved::Unavailable("there is no terminal to ask at".to_owned());
                let terminal = self.terminal.as_ref().ok_or_else(nobody)?;
                in_time(self.clock.as_ref(), inquiry, terminal.ask(inquiry)).await
            }
            ApprovalBy::Queue => {
                QueueApprover::new(Arc::clone(&self.ledger), Arc::clone(&self.clock)).ask(inquiry).await
            }
            ApprovalBy::Webhook { url, secret } => {
                let source = secret.as_deref().unwrap_or_default();
                let secret = webhook_secret(source).map_err(NotApproved::Unavailable)?;
                let webhook = WebhookApprover::new(url.as_str(), secret).map_err(NotApproved::Unavailable)?;
                webhook.clock(Arc::clone(&self.clock)).ask(inquiry).await
            }
        }
    }
}

/// The answer, unless the question's time ends before it. An answer that comes with the end is too late.
async fn in_time(
    clock: &dyn Clock,
    inquiry: &Inquiry,
    answer: impl Future<Output = Result<(), NotApproved>>,
) -> Result<(), NotApproved> {
    let left = inquiry.until.0.saturating_sub(clock.now().0);
    if left == 0 {
        return Err(NotApproved::TimedOut);
    }
    let answered = tokio::time::timeout(std::time::Duration::from_secs(left), answer).await;
    let answered = answered.unwrap_or(Err(NotApproved::TimedOut));
    if answered.is_ok() && clock.now() >= inquiry.until { Err(NotApproved::TimedOut) } else { answered }
}

/// Foreign text, short and on one line.
fn clip_to(text: &str, characters: usize) -> String {
    text.chars().take(characters).flat_map(char::escape_debug).collect()
}
