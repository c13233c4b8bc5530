//! The book: a facilitator for payments of accounts. To verify one is to hold room for it on its account's line, to settle
//! it is to charge it, each a row of the ledger before it is told; to release it is to let the room go. What is on other
//! networks goes to the facilitator beside it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tollway_core::model::{
    FacilitatorRequest, SettleResponse, SupportedKind, SupportedResponse, VerifyResponse, X402Version,
};
use tollway_core::{
    Amount, BoxFuture, CLOUDFLARE_NETWORK, CREDIT_NETWORK, Clock, ErrorCode, Facilitator, FacilitatorError,
    JsonObject, Refusal, SchemeName, UnixTime,
};
use tollway_ledger::{
    Changed, Fact, Intent, IntentChange, IntentQuery, Ledger, LedgerError, NewHold, NewIntent, Opened,
};

use super::charge::{Charge, ChargeRecord, units};
use super::file::{Account, Accounts};
use super::line::{self, AccountError};
use crate::membership::bounded;
use crate::phase::admit::LATE_SECONDS;

/// How long a charge's row is kept: as long as books must be. Sums are kept for good.
const KEEP_SECONDS: u64 = 3_660 * super::charge::DAY_SECONDS;
/// How often somebody else may have written a row meanwhile.
const TRIES: u32 = 8;
/// How many commitments that nobody came back for are let go at once.
const EXPIRED: u32 = 100;

/// The books of accounts on credit. Clones share them, and so do all on one ledger.
#[derive(Clone, Debug)]
pub struct CreditBook {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    ledger: Arc<dyn Ledger>,
    accounts: Arc<Accounts>,
    clock: Arc<dyn Clock>,
    beside: Option<Arc<dyn Facilitator>>,
    /// By account.
    oldest: Mutex<BTreeMap<String, Oldest>>,
}

/// What was paid when it was looked, the day of the oldest unpaid charge if there was one, and until when to believe it.
type Oldest = (Amount, Option<UnixTime>, UnixTime);

impl CreditBook {
    /// The books of `accounts` in `ledger`.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollway_core::SystemClock;
    /// use tollway_ledger::MemoryLedger;
    /// use tollway_seller::{Accounts, CreditBook, CreditSeller, Paywall};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let accounts = Arc::new(Accounts::parse("registration_url = \"https://api.example.com/accounts\"")?);
    /// let ledger = Arc::new(MemoryLedger::new());
    /// let book = CreditBook::new(Arc::clone(&accounts), ledger.clone(), Arc::new(SystemClock));
    /// let paywall = Paywall::builder("https://api.example.com")
    ///     .accept_by(tollway_core::SchemeName::BATCH_SETTLEMENT, "tollway:credit", "example-shop")
    ///     .scheme(CreditSeller::new(accounts))
    ///     .facilitator(book)
    ///     .ledger(ledger)
    ///     .start()
    ///     .await?;
    /// assert!(paywall.price("$0.0005").is_ok());
    /// # Ok(()) }
    /// ```
    pub fn new(accounts: Arc<Accounts>, ledger: Arc<dyn Ledger>, clock: Arc<dyn Clock>) -> Self {
        let oldest = Mutex::default();
        Self { inner: Arc::new(Inner { ledger, accounts, clock, beside: None, oldest }) }
    }

    /// The same books, with `facilitator` for what is paid on other networks.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollway_core::Facilitator;
    /// use tollway_seller::CreditBook;
    /// fn both(book: CreditBook, facilitator: Arc<dyn Facilitator>) -> CreditBook {
    ///     book.beside(facilitator)
    /// }
    /// ```
    #[must_use]
    pub fn beside(self, facilitator: Arc<dyn Facilitator>) -> Self {
        let Inner { ledger, accounts, clock, .. } = self.inner.as_ref();
        let (ledger, accounts, clock) = (Arc::clone(ledger), Arc::clone(accounts), Arc::clone(clock));
        let oldest = Mutex::default();
        Self { inner: Arc::new(Inner { ledger, accounts, clock, beside: Some(facilitator), oldest }) }
    }

    /// The accounts.
    ///
    /// ```
    /// fn count(book: &tollway_seller::CreditBook) -> usize {
    ///     book.accounts().iter().count()
    /// }
    /// ```
    pub fn accounts(&self) -> &Accounts {
        &self.inner.accounts
    }

    /// Suspends an account for every seller on the ledger, from its next request on: `Some` reason; or ends that.
    ///
    /// # Errors
    /// [`AccountError`].
    ///
    /// ```
    /// # use tollway_seller::{AccountError, CreditBook};
    /// async fn stop(book: &CreditBook) -> Result<(), AccountError> {
    ///     book.suspend("acme", Some("two reminders unanswered")).await
    /// }
    /// ```
    pub async fn suspend(&self, account: &str, reason: Option<&str>) -> Result<(), AccountError> {
        let account = self.account(account)?;
        for _ in 0..TRIES {
            let there = bounded(self.ledger().fact_get(line::SUSPENDED, &account.id)).await?;
            let written = match (reason, there) {
                (None, None) => true,
                (None, Some(fact)) => {
                    bounded(self.ledger().fact_remove(line::SUSPENDED, &account.id, fact.version)).await?
                }
                (Some(reason), there) => {
                    let fact = Fact {
                        scope: line::SUSPENDED.to_owned(),
                        name: account.id.clone(),
                        version: there.map_or(0, |fact| fact.version),
                        value: reason.to_owned(),
                        until: UnixTime(u64::MAX),
                    };
                    bounded(self.ledger().fact_put(fact)).await?
                }
            };
            if written {
                return Ok(());
            }
        }
        Err(AccountError::Busy(account.id.clone()))
    }

    pub(super) fn account(&self, id: &str) -> Result<&Account, AccountError> {
        self.inner.accounts.get(id).ok_or_else(|| AccountError::Unknown(id.to_owned()))
    }

    pub(super) fn ledger(&self) -> &dyn Ledger {
        self.inner.ledger.as_ref()
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        self.inner.clock.as_ref()
    }

    /// The day of the oldest unpaid charge, or that there is none, if that was found lately and nothing was paid since.
    pub(super) fn known_oldest(
        &self,
        account: &str,
        paid: Amount,
        now: UnixTime,
    ) -> Option<Option<UnixTime>> {
        let known = self.inner.oldest.lock();
        known.get(account).filter(|(at, _, until)| *at == paid && now < *until).map(|(_, day, _)| *day)
    }

    pub(super) fn remember_oldest(
        &self,
        account: &str,
        paid: Amount,
        day: Option<UnixTime>,
        until: UnixTime,
    ) {
        self.inner.oldest.lock().insert(account.to_owned(), (paid, day, until));
    }

    /// Holds room for a charge, unless there is none or the account may not be charged. Done again, it holds nothing more.
    async fn hold(&self, charge: &Charge) -> Result<Result<Intent, Refusal>, LedgerError> {
        let id = &*charge.proof.account;
        let refuse = |code, rule: &str| Refusal::new(code, "payload.account", rule).by(id);
        let Some(account) = self.inner.accounts.get(id) else {
            return Ok(Err(refuse(ErrorCode::PAYMENT_FAILED, "must be an account of this seller's")));
        };
        let mut is_swept = false;
        for _ in 0..TRIES {
            let most = match self.room(account).await? {
                Ok(most) => most,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let now = self.clock().now();
            let hold = NewHold { hold: line::line_hold(id, charge.most), limit: most };
            let opened = bounded(self.ledger().intent_open(NewIntent {
                intent: opening(charge, now),
                holds: vec![hold.clone()],
                conditions: vec![line::not_suspended(id)],
                is_synced: true,
                now,
            }));
            match opened.await? {
                Opened::Fresh(row) => return Ok(Ok(row)),
                Opened::Known { intent, .. } => {
                    let record = ChargeRecord::read(&intent)?;
                    if record.most != charge.most {
                        let rule = "was used for another commitment";
                        return Ok(Err(Refusal::new(ErrorCode::NONCE_REUSED, "payload.nonce", rule).by(id)));
                    }
                    if intent.is_open || record.charged.is_some() {
                        return Ok(Ok(intent));
                    }
                    let again = Intent {
                        is_open: true,
                        due: due(charge, now),
                        body: charge.record().body(),
                        ..intent
                    };
                    let change = IntentChange {
                        add: vec![hold],
                        conditions: vec![line::not_suspended(id)],
                        ..IntentChange::new(again, now)
                    };
                    match bounded(self.ledger().intent_put(change)).await? {
                        Changed::Done(row) => return Ok(Ok(row)),
                        Changed::Stale => continue,
                        Changed::OverBudget(_) => {}
                        Changed::Unmet(_) => {
                            return Ok(Err(refuse(ErrorCode::CREDIT_SUSPENDED, "is suspended")));
                        }
                    }
                }
                Opened::OverBudget(_) => {}
                Opened::Unmet(_) => return Ok(Err(refuse(ErrorCode::CREDIT_SUSPENDED, "is suspended"))),
            }
            if is_swept || self.free_expired(id).await? == 0 {
                let rule = format!("must have room for {} in its credit line", charge.most);
                return Ok(Err(refuse(ErrorCode::CREDIT_LIMIT_EXCEEDED, &rule)));
            }
            is_swept = true;
        }
        Err(LedgerError::Unavailable(format!("the charges of {id} keep changing")))
    }

    /// Lets go of what was held for requests that can no longer be charged. How many.
    async fn free_expired(&self, account: &str) -> Result<usize, LedgerError> {
        let (now, wallet) = (self.clock().now(), line::charges_of(account));
        let query = IntentQuery { wallet, is_open: Some(true), limit: EXPIRED, ..IntentQuery::default() };
        let open = bounded(self.ledger().intent_list(query)).await?;
        let expired: Vec<_> = open.into_iter().filter(|row| row.due <= now).collect();
        let count = expired.len();
        for row in expired {
            self.let_go(row).await?;
        }
        Ok(count)
    }

    async fn let_go(&self, row: Intent) -> Result<Changed, LedgerError> {
        let (release, now) = (row.holds.clone(), self.clock().now());
        let change = IntentChange { release, ..IntentChange::new(Intent { is_open: false, ..row }, now) };
        bounded(self.ledger().intent_put(change)).await
    }

    /// Charges what is held. Done again, it tells what was charged.
    async fn charge(&self, charge: &Charge, amount: Amount) -> Result<Result<Amount, Refusal>, LedgerError> {
        for _ in 0..TRIES {
            let row = match bounded(self.ledger().intent_get(charge.id)).await? {
                Some(row) => row,
                None => match self.hold(charge).await? {
                    Ok(row) => row,
                    Err(refusal) => return Ok(Err(refusal)),
                },
            };
            let mut record = ChargeRecord::read(&row)?;
            if let Some(charged) = record.charged {
                return Ok(Ok(charged));
            }
            if !row.is_open {
                match self.hold(charge).await? {
                    Ok(_) => continue,
                    Err(refusal) => return Ok(Err(refusal)),
                }
            }
            let id = &*charge.proof.account;
            let Some(rest) = record.most.checked_sub(amount) else {
                let rule = format!("must be at most {}, which was committed", record.most);
                return Ok(Err(Refusal::new(ErrorCode::PRICE_NOT_ACCEPTABLE, "amount", rule).by(id)));
            };
            record.charged = Some(amount);
            let now = self.clock().now();
            let add = line::charge_counts(id, amount, row.created);
            let closed = Intent { is_open: false, body: record.body(), ..row };
            let release = vec![line::line_hold(id, rest)];
            let change = IntentChange { release, add, ..IntentChange::new(closed, now) };
            match bounded(self.ledger().intent_put(change)).await? {
                Changed::Done(_) => return Ok(Ok(amount)),
                Changed::Stale => {}
                Changed::OverBudget(over) => {
                    return Err(LedgerError::Corrupt(format!("the sum {}", over.budget)));
                }
                Changed::Unmet(_) => {
                    return Err(LedgerError::Corrupt("a charge with a condition".to_owned()));
                }
            }
        }
        Err(LedgerError::Unavailable("a charge keeps changing".to_owned()))
    }

    async fn settle_charge(&self, request: FacilitatorRequest) -> Result<SettleResponse, FacilitatorError> {
        let offer = &request.requirements;
        let failed = |refusal: Refusal| {
            let (code, payer) = (refusal.code.clone(), refusal.payer.clone());
            let told = SettleResponse::failed(offer.network.clone(), Some(code), refusal.to_string());
            SettleResponse { payer, ..told }
        };
        let Some(charge) = Charge::of(&request) else { return Ok(failed(unproved())) };
        let Some(amount) = units(&offer.network, offer.amount) else { return Ok(failed(unproved())) };
        let charged = self.charge(&charge, amount).await.map_err(outage)?;
        Ok(match charged {
            Err(refusal) => failed(refusal),
            Ok(charged) if charged != amount => {
                let rule = "was charged with another amount already";
                failed(Refusal::new(ErrorCode::DUPLICATE_SETTLEMENT, "amount", rule))
            }
            Ok(_) => {
                let id = format!("crg_{}", charge.id.to_string().trim_start_matches("int_"));
                let mut told = SettleResponse::settled(offer.network.clone(), &*charge.proof.account, id);
                told.amount = Some(offer.amount.to_string());
                told.extra.insert("timestamp".to_owned(), self.clock().now().0.into());
                told.other.insert("asset".to_owned(), offer.asset.clone().into());
                told
            }
        })
    }
}

impl Facilitator for CreditBook {
    fn verify(&self, request: FacilitatorRequest) -> BoxFuture<'_, Result<VerifyResponse, FacilitatorError>> {
        Box::pin(async move {
            match &self.inner.beside {
                Some(beside) if !is_ours(&request) => return beside.verify(request).await,
                _ => {}
            }
            let Some(charge) = Charge::of(&request) else { return Ok(unproved().into()) };
            Ok(match self.hold(&charge).await.map_err(outage)? {
                Ok(_) => VerifyResponse::valid(charge.proof.account),
                Err(refusal) => refusal.into(),
            })
        })
    }

    fn settle(&self, request: FacilitatorRequest) -> BoxFuture<'_, Result<SettleResponse, FacilitatorError>> {
        Box::pin(async move {
            match &self.inner.beside {
                Some(beside) if !is_ours(&request) => beside.settle(request).await,
                _ => self.settle_charge(request).await,
            }
        })
    }

    fn supported(&self) -> BoxFuture<'_, Result<SupportedResponse, FacilitatorError>> {
        Box::pin(async move {
            let mut supported = match &self.inner.beside {
                Some(beside) => beside.supported().await?,
                None => SupportedResponse::default(),
            };
            let kind = |name: &str| {
                let network = name.parse().ok()?;
                let (scheme, extra) = (SchemeName::BATCH_SETTLEMENT, JsonObject::new());
                Some(SupportedKind { version: X402Version::V2, scheme, network, extra })
            };
            supported.kinds.extend([CREDIT_NETWORK, CLOUDFLARE_NETWORK].into_iter().filter_map(kind));
            Ok(supported)
        })
    }

    fn release(&self, request: FacilitatorRequest) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            match &self.inner.beside {
                Some(beside) if !is_ours(&request) => return beside.release(request).await,
                _ => {}
            }
            let Some(charge) = Charge::of(&request) else { return };
            let released = async {
                match bounded(self.ledger().intent_get(charge.id)).await? {
                    Some(row) if row.is_open => self.let_go(row).await.map(drop),
                    _ => Ok::<_, LedgerError>(()),
                }
            };
            if let Err(error) = released.await {
                tracing::warn!(%error, account = charge.proof.account, "room on a line is held until it expires");
            }
        })
    }
}

fn is_ours(request: &FacilitatorRequest) -> bool {
    [CREDIT_NETWORK, CLOUDFLARE_NETWORK].contains(&request.requirements.network.as_str())
}

/// The row of a charge as it begins.
fn opening(charge: &Charge, now: UnixTime) -> Intent {
    let until = now.plus_seconds(KEEP_SECONDS);
    Intent {
        id: charge.id,
        wallet: line::charges_of(&charge.proof.account),
        agent: None,
        key: None,
        version: 0,
        holder: None,
        is_open: true,
        repeat_until: until,
        due: due(charge, now),
        created: now,
        until,
        holds: Vec::new(),
        body: charge.record().body(),
    }
}

/// When nobody can come back for it any more.
fn due(charge: &Charge, now: UnixTime) -> UnixTime {
    charge.proof.expires.max(now).plus_seconds(LATE_SECONDS)
}

fn unproved() -> Refusal {
    Refusal::new(ErrorCode::INVALID_SIGNATURE, "payload.proof", "must be there: the request was not checked")
}

/// Nothing is known of the payment then: it is presented again.
fn outage(error: LedgerError) -> FacilitatorError {
    FacilitatorError::NoAnswer(error.to_string())
}
