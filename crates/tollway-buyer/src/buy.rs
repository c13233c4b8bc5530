//! Buying: from a request to the payment that is presented with it. An intent that is not over comes first, whoever left it;
//! only then is a seller asked for a price, and only what is allowed and held in every budget is signed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tollway_core::model::PaymentRequired;
use tollway_core::{Amount, BuyerScheme, SignError};
use tollway_ledger::{Intent, IntentId, LedgerError};
use url::Url;

use crate::agree::{Agreed, Agreement};
use crate::channel::fate::Fate;
use crate::channel::lane::{Lane, Wanted};
use crate::channel::pay::{self, Promised, Ready};
use crate::error::PaymentError;
use crate::intent::book::{Begun, Book, Opening};
use crate::intent::key::PurchaseKey;
use crate::intent::reconcile::{reconcile, work_on};
use crate::intent::record::{Answer, IntentRecord, IntentState};
use crate::intent::turns::Turn;
use crate::intent::work::Work;
use crate::origin::without_query;
use crate::policy::channels::is_channel;
use crate::selection::{self, JudgedOffer, rank};
use crate::sign::{self, SignedPayment};
use crate::wallet::Wallet;

/// How soon a purchase of another process's is looked at again.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Who waited longer for another request of the same purchase asks for the price again.
const STALE_AFTER: Duration = Duration::from_secs(5);

/// What is asked for, and by whom.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) key: PurchaseKey,
    pub(crate) method: Option<String>,
    pub(crate) url: Url,
    pub(crate) tool: Option<String>,
    /// Whether it lets an answer go on that is under way.
    pub(crate) is_renewal: bool,
    /// Until when another request of the same purchase is waited for.
    pub(crate) give_up: Instant,
}

/// A payment to be presented.
#[derive(Debug)]
pub(crate) struct Bought {
    pub(crate) payment: SignedPayment,
    /// None: its purchase is over, and it is presented to fetch the answer once more.
    pub(crate) work: Option<Box<Work>>,
    /// What is known of it, if it may have been presented before.
    pub(crate) seen: Option<String>,
    /// The right to use its channel, if it is paid on one.
    pub(crate) lane: Option<Box<Lane>>,
}

/// What an earlier request of the same purchase left.
pub(crate) enum Earlier {
    Nothing,
    Payment(Box<Bought>),
}

/// What buying came to.
pub(crate) enum Purchased {
    Payment(Box<Bought>),
    /// Somebody else had opened it: look again.
    Again,
}

/// The payment of the same purchase that is there already. Waits for whoever is at it.
pub(crate) async fn resume(wallet: &Wallet, asked: &Asked) -> Result<Earlier, PaymentError> {
    let book = wallet.book();
    let Some(key) = asked.key.text.as_deref() else { return Ok(Earlier::Nothing) };
    let (mut pause, mut has_looked) = (FIRST_PAUSE, false);
    loop {
        if alive(book, key).await.is_none() {
            return Ok(Earlier::Nothing);
        }
        let turn = book.turns.take(key, asked.give_up).await;
        let Some((turn, _)) = turn else { return Err(PaymentError::Busy) };
        // Who had the turn before may have ended it.
        let Some(intent) = alive(book, key).await else { return Ok(Earlier::Nothing) };
        match take(wallet, asked, intent, turn, &mut has_looked).await? {
            Taken::Nothing => return Ok(Earlier::Nothing),
            Taken::Payment(bought) => return Ok(Earlier::Payment(bought)),
            Taken::Changed => {}
            Taken::Held if Instant::now() + pause >= asked.give_up => return Err(PaymentError::Busy),
            Taken::Held => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The intent of this key, while the key means it.
async fn alive(book: &Book, key: &str) -> Option<Intent> {
    let found = book.find(key).await.unwrap_or_else(|error| {
        // What costs nothing needs no ledger; what costs something is not bought without.
        tracing::warn!(%error, "whether it is being bought is to be seen");
        None
    });
    found.filter(|intent| intent.is_open || intent.repeat_until > book.clock.now())
}

enum Taken {
    Nothing,
    Payment(Box<Bought>),
    /// Look again.
    Changed,
    /// Another process is at it.
    Held,
}

/// What is there to be presented. `has_looked`: whether the chain was asked already, and could not say.
async fn take(
    wallet: &Wallet,
    asked: &Asked,
    intent: Intent,
    turn: Turn,
    has_looked: &mut bool,
) -> Result<Taken, PaymentError> {
    let book = wallet.book();
    let Some(record) = IntentRecord::read(&intent) else {
        let what = format!("{}: not a purchase of this program's", intent.id);
        return Err(PaymentError::Ledger(LedgerError::Corrupt(what)));
    };
    if asked.key.fingerprint.is_some() && record.fingerprint != asked.key.fingerprint {
        return Err(PaymentError::KeyReused);
    }
    if !intent.is_open {
        return repeated(wallet, asked, &intent, &record).await;
    }
    let taken = book.take(intent.id, Some(turn)).await.map_err(PaymentError::Ledger)?;
    let Some(mut work) = taken else {
        let is_there = book.get(intent.id).await.map_err(PaymentError::Ledger)?;
        return Ok(match is_there {
            Some(there) if there.is_open && there.holder.is_some() => Taken::Held,
            _ => Taken::Changed,
        });
    };
    let now = book.clock.now();
    let can_ask = work.record.witness(book).is_some();
    let is_had = work.record.answer == Answer::Read && work.record.has_served();
    let is_known_paid = matches!(work.record.state, IntentState::Paid | IntentState::Served);
    if work.record.state == IntentState::Opened {
        work.void("whoever opened it ended before anything was signed").await;
        return Ok(Taken::Nothing);
    }
    if is_had && !asked.key.is_callers {
        work.leave().await;
        return Ok(Taken::Changed);
    }
    let is_over = now > work.record.expires_at();
    if !is_known_paid && can_ask && is_over && work.record.chain.is_none() && !*has_looked {
        // It may be dead: then it is bought anew, and nothing is held for it. Where nobody can say, it is presented again.
        *has_looked = true;
        let (verdict, _) = reconcile(book, work).await.map_err(PaymentError::Ledger)?;
        tracing::debug!(?verdict, "an authorization that is over was looked for on chain");
        return Ok(Taken::Changed);
    }
    if !can_ask && !is_known_paid && now >= work.record.lapses_at(book, work.created()) {
        work.lapse().await;
        return Ok(Taken::Nothing);
    }
    let Some(payment) = work.record.payment(work.id()) else {
        work.lapse().await;
        return Ok(Taken::Nothing);
    };
    let lane = lane_of(wallet, &payment, asked.give_up).await?;
    match lane.as_ref().map(|lane| lane.record.fate(work.id())) {
        Some(Fate::Dead) => {
            work.dead("the channel has gone on without it");
            work.leave().await;
            return Ok(Taken::Nothing);
        }
        Some(Fate::Charged(charged)) => work.charged(charged),
        Some(Fate::Open) | None => {}
    }
    let seen = history(&work.record);
    work.presenting();
    Ok(Taken::Payment(Box::new(Bought { payment, work: Some(work), seen, lane })))
}

/// The right to write on the purchase of `payment`; none if that is over, or not of this ledger.
pub(crate) async fn reopen(
    book: &Arc<Book>,
    payment: &SignedPayment,
    give_up: Instant,
) -> Result<Option<Box<Work>>, PaymentError> {
    let Some(id) = payment.intent else { return Ok(None) };
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(work) = work_on(book, id, give_up).await.map_err(PaymentError::Ledger)? {
            return Ok(Some(work));
        }
        let there = book.get(id).await.map_err(PaymentError::Ledger)?;
        if !there.is_some_and(|there| there.is_open) {
            return Ok(None);
        }
        if Instant::now() + pause >= give_up {
            return Err(PaymentError::Busy);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// A purchase that is over, and that its caller asks for by name again.
async fn repeated(
    wallet: &Wallet,
    asked: &Asked,
    intent: &Intent,
    record: &IntentRecord,
) -> Result<Taken, PaymentError> {
    let Some(payment) = record.payment(intent.id) else { return Ok(Taken::Nothing) };
    let lane = lane_of(wallet, &payment, asked.give_up).await?;
    Ok(Taken::Payment(Box::new(Bought { payment, work: None, seen: history(record), lane })))
}

/// The right to use the channel that `payment` is on, if it is on one.
pub(crate) async fn lane_of(
    wallet: &Wallet,
    payment: &SignedPayment,
    give_up: Instant,
) -> Result<Option<Box<Lane>>, PaymentError> {
    let Some(note) = &payment.channel else { return Ok(None) };
    let Some(scheme) = selection::scheme_for(&payment.offer, wallet.schemes()) else { return Ok(None) };
    let (book, offer, intent) = (wallet.book(), &payment.offer, payment.intent);
    Wanted { book, scheme, offer, intent, give_up }.named(&note.key).await
}

/// What may have happened to a payment that its caller presents. Nothing yet, if nobody has.
pub(crate) fn known_of(record: &IntentRecord) -> Option<String> {
    history(record).filter(|_| record.presented > 0)
}

/// What may have happened to a payment that is presented again. Nothing, if the seller has refused it every time.
fn history(record: &IntentRecord) -> Option<String> {
    match record.state {
        IntentState::Refused | IntentState::Failed => None,
        IntentState::Paid | IntentState::Served => Some(match record.transaction() {
            Some(transaction) => format!("it was settled by {transaction}"),
            None => "it was presented before, and served".to_owned(),
        }),
        _ => Some(record.cause.clone().unwrap_or_else(|| "it may have been presented before".to_owned())),
    }
}

/// Opens a purchase for the best offer that may be paid, and signs it; or for the next one, if its scheme finds that it
/// cannot sign that.
pub(crate) async fn buy(
    wallet: &Wallet,
    asked: &Asked,
    required: &PaymentRequired,
) -> Result<Purchased, PaymentError> {
    let judged = wallet.judge(required, &asked.url)?;
    let mut refused = None;
    // An answer that is under way goes on by its channel alone.
    for best in rank(&judged).into_iter().filter(|best| !asked.is_renewal || is_channel(&best.offer)) {
        match attempt(wallet, asked, required, best).await? {
            Attempt::Signed(bought) => return Ok(Purchased::Payment(bought)),
            Attempt::Again => return Ok(Purchased::Again),
            Attempt::Refused(error) => refused = refused.or(Some(error)),
        }
    }
    Err(match refused {
        Some(error) => error,
        None if judged.is_empty() => PaymentError::NoOffers,
        None => PaymentError::Denied(judged),
    })
}

enum Attempt {
    Signed(Box<Bought>),
    Again,
    /// Not this offer.
    Refused(PaymentError),
}

async fn attempt(
    wallet: &Wallet,
    asked: &Asked,
    required: &PaymentRequired,
    best: &JudgedOffer,
) -> Result<Attempt, PaymentError> {
    let book = wallet.book();
    let mut turn = None;
    if let Some(key) = asked.key.text.as_deref() {
        let Some((taken, waited)) = book.turns.take(key, asked.give_up).await else {
            return Err(PaymentError::Busy);
        };
        if waited > STALE_AFTER {
            // What was asked for may have changed: ask again.
            return Ok(Attempt::Again);
        }
        turn = Some(taken);
    }
    let Some(scheme) = selection::scheme_for(&best.offer, wallet.schemes()) else {
        return Ok(Attempt::Refused(PaymentError::Denied(vec![best.clone()])));
    };
    let ready = match scheme.channel() {
        None => None,
        Some(_) => match pay::ready(wallet, asked, best, scheme).await? {
            Ok(ready) => Some(ready),
            Err(refused) => return Ok(Attempt::Refused(refused)),
        },
    };
    let deposit = ready.as_ref().and_then(Ready::deposit);
    let is_synced = opens_synced(&**scheme);
    let mut work = match open(wallet, asked, required, best, (deposit, is_synced), &mut turn).await? {
        Ok(work) => work,
        Err(other) => return Ok(other),
    };
    if !work.may_sign() {
        let why = "this wallet is no member of it now".to_owned();
        return Err(PaymentError::Ledger(LedgerError::Unavailable(why)));
    }
    let (mut payment, lane) = match signed(wallet, asked, required, best, &**scheme, ready, work.id()).await {
        Ok(Promised::Signed(lane, payment)) => (*payment, lane),
        Ok(Promised::Again) => {
            work.void("somebody else has used the channel").await;
            return Ok(Attempt::Again);
        }
        Ok(Promised::Refused(error)) => {
            work.void("it could not be signed").await;
            return Ok(Attempt::Refused(error));
        }
        Err(error) => {
            work.void("it could not be signed").await;
            return Err(error);
        }
    };
    payment.intent = Some(work.id());
    work = work.signed(&payment).await?;
    wallet.tally(&payment);
    work.presenting();
    Ok(Attempt::Signed(Box::new(Bought { payment, work: Some(work), seen: None, lane })))
}

/// Whether a purchase must be on the disk before it is signed for. What is signed here is nobody's before it is written down
/// and on the disk, and then the hold is on the disk, too. What somebody else signs, or a channel promises, may be known elsewhere.
fn opens_synced(scheme: &dyn BuyerScheme) -> bool {
    scheme.channel().is_some() || !scheme.signs_here()
}

/// Signs for a purchase that is open: the one payment of it, or a voucher once that is promised.
async fn signed(
    wallet: &Wallet,
    asked: &Asked,
    required: &PaymentRequired,
    best: &JudgedOffer,
    scheme: &dyn BuyerScheme,
    ready: Option<Ready>,
    intent: IntentId,
) -> Result<Promised, PaymentError> {
    if let Some(ready) = ready {
        return ready.promise(wallet, asked, required, best, intent).await;
    }
    match sign::sign(required, best, scheme, wallet.clock(), wallet.codes()).await {
        Ok(payment) => Ok(Promised::Signed(None, Box::new(payment))),
        Err(error @ SignError::Offer(_)) => Ok(Promised::Refused(PaymentError::Sign(error))),
        Err(error) => Err(PaymentError::Sign(error)),
    }
}

/// Opens a purchase for an offer, once everybody agrees. The inner error is that there is none.
async fn open(
    wallet: &Wallet,
    asked: &Asked,
    required: &PaymentRequired,
    best: &JudgedOffer,
    (deposit, is_synced): (Option<Amount>, bool),
    turn: &mut Option<Turn>,
) -> Result<Result<Box<Work>, Attempt>, PaymentError> {
    let book = wallet.book();
    let mut agreement = Agreement::on(wallet, asked, best, deposit);
    loop {
        let Agreed { holds, conditions, price } = match agreement.reach().await? {
            Ok(agreed) => agreed,
            Err(refused) => return Ok(Err(Attempt::Refused(refused))),
        };
        let opening = Opening {
            key: asked.key.clone(),
            agent: wallet.agent().map(str::to_owned),
            record: record_of(asked, required, best),
            holds,
            conditions,
            price,
            is_synced,
        };
        match book.open(opening, turn).await.map_err(PaymentError::Ledger)? {
            Begun::Fresh(work) => return Ok(Ok(work)),
            Begun::Known => return Ok(Err(Attempt::Again)),
            Begun::OverBudget(over) => agreement.over_budget(over).await?,
            Begun::Unmet(fact) => agreement.unmet(fact)?,
        }
    }
}

fn record_of(asked: &Asked, required: &PaymentRequired, best: &JudgedOffer) -> IntentRecord {
    IntentRecord {
        state: IntentState::Opened,
        answer: Answer::None,
        method: asked.method.clone(),
        url: without_query(&asked.url),
        host: asked.url.host_str().unwrap_or_default().to_owned(),
        fingerprint: asked.key.fingerprint,
        tool: asked.tool.clone(),
        offer: best.offer.clone(),
        value: best.value.clone(),
        resource: required.resource.as_ref().map(|resource| resource.url.clone()),
        authorization: None,
        presented: 0,
        status: None,
        settlement: None,
        receipt: None,
        channel: None,
        chain: None,
        alarms: Vec::new(),
        cause: None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tollway_core::BuyerScheme;
    use tollway_evm::batch_settlement::ChannelBuyer;
    use tollway_evm::exact::ExactBuyer;
    use tollway_evm::{Address, AssetTable, LocalSigner, Signature, Signer, SignerError};

    use super::opens_synced;

    /// A service with a key.
    #[derive(Debug)]
    struct Elsewhere(LocalSigner);

    impl Signer for Elsewhere {
        fn address(&self) -> Address {
            self.0.address()
        }

        fn sign<'a>(
            &'a self,
            preimage: &'a [u8],
        ) -> tollway_core::BoxFuture<'a, Result<Signature, SignerError>> {
            self.0.sign(preimage)
        }
    }

    #[test]
    fn a_hold_is_on_the_disk_before_anybody_else_can_know_of_a_signature() {
        let here: Arc<dyn Signer> = Arc::new(LocalSigner::random().unwrap());
        let elsewhere: Arc<dyn Signer> = Arc::new(Elsewhere(LocalSigner::random().unwrap()));
        let exact = |signer: &Arc<dyn Signer>| ExactBuyer::new(Arc::clone(signer), AssetTable::known());
        assert!(!opens_synced(&exact(&here)), "nobody knows of it before it is written");
        assert!(opens_synced(&exact(&elsewhere)), "a service may keep what it signed");
        let channels = ChannelBuyer::new(here, AssetTable::known());
        assert!(
            channels.channel().is_some() && opens_synced(&channels),
            "a promise on a channel is one of many"
        );
    }
}
