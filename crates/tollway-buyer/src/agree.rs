//! Whether a purchase may be made, and what the ledger must hold for it: the policy's verdict, the owner's if the policy asks
//! for it. The ledger has the last word, in the step that opens the purchase.

use std::sync::Arc;

use tollway_core::Amount;
use tollway_ledger::{Condition, Fact, LedgerError, NewHold, OverBudget};

use crate::approve::{Approvers, Inquiry, Subject};
use crate::buy::Asked;
use crate::error::PaymentError;
use crate::intent::book::Book;
use crate::intent::member::bounded;
use crate::intent::record::AlarmCode;
use crate::look_back;
use crate::policy::decision::{Breach, Decision, Question, Reason, Verdict};
use crate::policy::names::FactName;
use crate::policy::standing::{KnownPayees, PriceHistory, Purchase, Standing};
use crate::selection::JudgedOffer;
use crate::wallet::Wallet;

/// How often the ledger may say that something has changed meanwhile.
const MOST_TRIES: u32 = 4;
/// How long an alarm that belongs to no purchase is remembered.
const ALARM_SECONDS: u64 = 90 * 24 * 3600;

/// What was agreed to, for one offer.
pub(crate) struct Agreed {
    pub(crate) holds: Vec<NewHold>,
    pub(crate) conditions: Vec<Condition>,
    /// A price below all that are known, and by what it is remembered: once it is signed for.
    pub(crate) price: Option<(FactName, Amount)>,
}

/// Agreeing on one offer.
pub(crate) struct Agreement<'a> {
    wallet: &'a Wallet,
    asked: &'a Asked,
    offer: &'a JudgedOffer,
    /// What would be put into a channel with it.
    deposit: Option<Amount>,
    standing: Standing,
    /// What the owner has said yes to.
    approved: Vec<Question>,
    tries: u32,
}

impl<'a> Agreement<'a> {
    pub(crate) fn on(
        wallet: &'a Wallet,
        asked: &'a Asked,
        offer: &'a JudgedOffer,
        deposit: Option<Amount>,
    ) -> Self {
        Self { wallet, asked, offer, deposit, standing: Standing::default(), approved: Vec::new(), tries: 0 }
    }

    /// The policy's verdict, with what is known now. Asks the owner what was not asked yet.
    ///
    /// The inner error is a no to this offer, the outer one ends the purchase.
    pub(crate) async fn reach(&mut self) -> Result<Result<Agreed, PaymentError>, PaymentError> {
        self.look_back().await?;
        let (wallet, purchase) = (self.wallet, self.purchase());
        match wallet.policy().judge(&purchase, &self.standing) {
            Verdict::Allow => {}
            Verdict::Deny(breaches) => return Ok(Err(self.denied(breaches).await)),
            Verdict::Ask(questions) => {
                for question in questions {
                    if self.approved.contains(&question) {
                        continue;
                    }
                    if !self.ask(&question).await {
                        return Ok(Err(self.denied(question.why).await));
                    }
                    self.agreed_to(&question).await?;
                    self.approved.push(question);
                }
            }
        }
        let purchase = self.purchase();
        let holds = match wallet.policy().holds(&purchase) {
            Ok(holds) => holds,
            Err(reason) => return Ok(Err(self.deny(reason))),
        };
        let conditions = wallet.policy().conditions(&purchase, &self.standing);
        let lowest = self.standing.price.map(|known| known.lowest);
        let price = lowest.filter(|lowest| purchase.amount() < *lowest);
        let price = price.map(|_| (purchase.price_fact(), purchase.amount()));
        Ok(Ok(Agreed { holds, conditions, price }))
    }

    /// A budget turned out to have no room.
    pub(crate) async fn over_budget(&mut self, over: OverBudget) -> Result<(), PaymentError> {
        let book = self.wallet.book();
        if let Some(level) = self.wallet.policy().trips(&book.wallet, &over.budget) {
            freeze(book, level, &format!("more than {} payments counted in {}", over.limit, over.budget))
                .await;
        }
        self.standing.budgets.insert((over.budget, over.window), over.held);
        self.again()
    }

    /// Something turned out to be otherwise.
    pub(crate) fn unmet(&mut self, fact: Fact) -> Result<(), PaymentError> {
        let (pin, price) = (self.purchase().pin_fact(), self.purchase().price_fact());
        if (&fact.scope, &fact.name) == (&price.scope, &price.name) {
            // Somebody else bought the same meanwhile, or is about to.
            self.standing.price = Some(look_back::price(&fact).map_err(PaymentError::Ledger)?);
        } else if (&fact.scope, &fact.name) == (&pin.scope, &pin.name) {
            self.standing.payees = Some(look_back::payees(&fact).map_err(PaymentError::Ledger)?);
        } else {
            let own = self.wallet.book().wallet.clone();
            let switch =
                self.wallet.policy().levels().find(|level| FactName::switch(&own, level).name == fact.name);
            let level = switch.map_or(fact.name, str::to_owned);
            self.standing.switches.insert(level, fact.value);
        }
        self.again()
    }

    fn again(&mut self) -> Result<(), PaymentError> {
        self.tries += 1;
        if self.tries < MOST_TRIES {
            return Ok(());
        }
        let why = "what the policy goes by keeps changing".to_owned();
        Err(PaymentError::Ledger(LedgerError::Unavailable(why)))
    }

    fn purchase(&self) -> Purchase<'a> {
        Purchase {
            wallet: &self.wallet.book().wallet,
            url: &self.asked.url,
            method: self.asked.method.as_deref().unwrap_or_default(),
            tool: self.asked.tool.as_deref(),
            offer: &self.offer.offer,
            value: self.offer.value.as_ref(),
            deposit: self.deposit,
            now: self.wallet.clock().now(),
        }
    }

    /// Reads who was paid and what before, where the policy goes by it.
    async fn look_back(&mut self) -> Result<(), PaymentError> {
        let purchase = self.purchase();
        let (pins, prices) = self.wallet.policy().looks_back(&purchase);
        let book = self.wallet.book();
        if pins && self.standing.payees.is_none() {
            self.standing.payees = known_payees(book, &purchase.pin_fact()).await?.0;
        }
        if prices && self.standing.price.is_none() {
            let fact = look_back::read(&*book.ledger, &purchase.price_fact()).await;
            let price = fact.and_then(|fact| fact.as_ref().map(look_back::price).transpose());
            self.standing.price = price.map_err(PaymentError::Ledger)?;
        }
        Ok(())
    }

    /// Whether the owner says yes, in time.
    async fn ask(&self, question: &Question) -> bool {
        let (book, purchase) = (self.wallet.book(), self.purchase());
        let subject = Subject {
            wallet: &book.wallet,
            agent: self.wallet.agent(),
            tool: purchase.tool,
            method: purchase.method,
            url: purchase.url,
            offer: purchase.offer,
            value: purchase.value,
            deposit: purchase.deposit,
        };
        let why: Vec<String> = question.why.iter().map(|breach| breach.reason.to_string()).collect();
        let why: Vec<&str> = why.iter().map(String::as_str).collect();
        let (approval, now) = (&question.approval, self.wallet.clock().now());
        let approvers =
            Approvers::new(Arc::clone(&book.ledger), Arc::clone(&book.clock), self.wallet.terminal());
        let answer = match Inquiry::about(&subject, &question.level, &why, now, approval.timeout_seconds) {
            Ok(inquiry) => approvers.ask(approval, &inquiry).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &answer {
            tracing::warn!(level = question.level, %error, "a purchase was not approved");
        }
        answer.is_ok()
    }

    /// Another payee that the owner agreed to is known from now on.
    async fn agreed_to(&mut self, question: &Question) -> Result<(), PaymentError> {
        if !question.why.iter().any(|breach| matches!(breach.reason, Reason::ChangedPayee { .. })) {
            return Ok(());
        }
        let (book, FactName { scope, name }) = (self.wallet.book(), self.purchase().pin_fact());
        for _ in 0..MOST_TRIES {
            let name_of = FactName { scope: scope.clone(), name: name.clone() };
            let (known, version) = known_payees(book, &name_of).await?;
            let known = known.unwrap_or_default().with(&self.offer.offer);
            let fact = Fact {
                scope: scope.clone(),
                name: name.clone(),
                version,
                value: known.value(),
                until: tollway_core::UnixTime(u64::MAX),
            };
            if bounded(book.ledger.fact_put(fact)).await.map_err(PaymentError::Ledger)? {
                self.standing.payees = Some(known);
                return Ok(());
            }
        }
        self.again()
    }

    async fn denied(&self, breaches: Vec<Breach>) -> PaymentError {
        for breach in &breaches {
            let code = match breach.reason {
                Reason::ChangedPayee { .. } | Reason::PinnedPayee { .. } => AlarmCode::PayToChanged,
                Reason::Drift { .. } => AlarmCode::PriceDrift,
                _ => continue,
            };
            alarm(self.wallet.book(), code, &self.asked.url, &breach.to_string()).await;
        }
        let reason = breaches.into_iter().next().map(|breach| breach.reason);
        self.deny(reason.unwrap_or(Reason::NobodyToAsk))
    }

    fn deny(&self, reason: Reason) -> PaymentError {
        let decision = Decision::Deny(reason);
        PaymentError::Denied(vec![JudgedOffer { decision, ..self.offer.clone() }])
    }
}

/// Remembers a price that was signed for, and is lower than all before. Whoever bought at another price before that was written
/// might as well have bought before: what is dearer comes first then, and was held against what was known.
pub(crate) async fn note_price(book: &Book, name: &FactName, paid: Amount) -> Result<(), LedgerError> {
    for _ in 0..MOST_TRIES {
        let there = bounded(book.ledger.fact_get(&name.scope, &name.name)).await?;
        let before = there.as_ref().and_then(|fact| PriceHistory::read(&fact.value));
        let after = PriceHistory::after(before, paid);
        if before == Some(after) {
            return Ok(());
        }
        let fact = Fact {
            scope: name.scope.clone(),
            name: name.name.clone(),
            version: there.map_or(0, |there| there.version),
            value: after.value(),
            until: tollway_core::UnixTime(u64::MAX),
        };
        if bounded(book.ledger.fact_put(fact)).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Remembers something that is wrong and belongs to no purchase, for nothing was bought.
async fn alarm(book: &Book, code: AlarmCode, url: &url::Url, text: &str) {
    let (code, now) = (code.as_str(), book.clock.now());
    let host = url.host_str().unwrap_or_default();
    tracing::warn!(alarm = code, host, text, "refused to pay");
    let name = FactName::alarm(&book.wallet, code, url);
    let written = async {
        let there = bounded(book.ledger.fact_get(&name.scope, &name.name)).await?;
        let value = serde_json::json!({ "code": code, "host": host, "text": text, "at": now.0 }).to_string();
        let version = there.map_or(0, |there| there.version);
        let until = now.plus_seconds(ALARM_SECONDS);
        let fact = Fact { scope: name.scope.clone(), name: name.name.clone(), version, value, until };
        bounded(book.ledger.fact_put(fact)).await
    };
    if let Err(error) = written.await {
        tracing::warn!(%error, "an alarm is not written down");
    }
}

/// Switches a level's kill switch on, unless it is on.
async fn freeze(book: &Book, level: &str, why: &str) {
    let FactName { scope, name } = FactName::switch(&book.wallet, level);
    tracing::error!(level, why, "payments are frozen");
    let frozen = async {
        let there = bounded(book.ledger.fact_get(&scope, &name)).await?;
        if there.as_ref().is_some_and(|fact| fact.until > book.clock.now()) {
            return Ok(true);
        }
        let version = there.map_or(0, |there| there.version);
        let until = tollway_core::UnixTime(u64::MAX);
        bounded(book.ledger.fact_put(Fact { scope, name, version, value: why.to_owned(), until })).await
    };
    if let Err(error) = frozen.await {
        tracing::error!(%error, "the kill switch could not be thrown");
    }
}

/// Who was paid before, and the version that this was written in.
async fn known_payees(book: &Book, name: &FactName) -> Result<(Option<KnownPayees>, u64), PaymentError> {
    let fact = look_back::read(&*book.ledger, name).await.map_err(PaymentError::Ledger)?;
    let version = fact.as_ref().map_or(0, |fact| fact.version);
    let known = fact.as_ref().map(look_back::payees).transpose();
    Ok((known.map_err(PaymentError::Ledger)?, version))
}
