//! What a wallet writes down of a channel, and what follows for it from what it is told. Pure: nothing here asks anybody.
//!
//! What was promised on a channel is a list, because an answer may be lost: until its seller says otherwise, what was promised
//! may have been charged. Vouchers are cumulative, so of all that was promised upon the same sum one was charged at most.

use tollway_core::model::PaymentRequirements;
use tollway_core::{
    Amount, Backing, BuyerChannel, ChannelKey, JsonObject, SignedDeposit, ToldChannel, UnixTime,
};
use tollway_ledger::IntentId;

/// How many promises are remembered; the oldest is given up for more.
const MAX_PROMISES: usize = 16;
/// After its end, how long until a deposit that is not there is held to be dead: clocks differ, and blocks become final.
const MARGIN_SECONDS: u64 = 120;

/// A channel as its wallet wrote it down.
///
/// ```
/// use tollway_buyer::ChannelRecord;
/// use tollway_core::Amount;
/// fn left(channel: &ChannelRecord) -> Amount {
///     channel.balance.checked_sub(channel.charged).unwrap_or_default()
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ChannelRecord {
    /// Its name.
    pub key: ChannelKey,
    /// Which of the wallet's channels with this seller it is.
    pub index: u32,
    /// What it is made of.
    pub terms: JsonObject,
    /// The offer that was paid on it last.
    pub offer: PaymentRequirements,
    /// Where that was asked for, without user information, query and fragment.
    pub url: String,
    /// What was charged in all, as far as that is known.
    pub charged: Amount,
    /// The most that the seller can claim in all, whatever it says.
    pub signed: Amount,
    /// What is in it, claimed or not.
    pub balance: Amount,
    /// What was seen to be claimed.
    pub claimed: Amount,
    /// A deposit that is signed and not seen yet.
    pub deposit: Option<PendingDeposit>,
    /// What counts as exposure, atomic units: put in, neither spent nor back.
    pub exposed: Amount,
    /// What was promised, and is not known to be over.
    pub promises: Vec<Promise>,
    /// Why nothing more is signed on it.
    pub broken: Option<String>,
    /// When the wallet began to withdraw what is in it.
    pub withdraw_requested_at: Option<UnixTime>,
    /// When it was used last.
    pub used_at: UnixTime,
    /// Whether the wallet's own book is complete: not so where it found the channel with nothing written down.
    pub(crate) is_known: bool,
    /// What was charged for one of the promises, and for which is not known.
    pub(crate) unattributed: Amount,
}

/// A deposit that may arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingDeposit {
    /// How much.
    pub amount: Amount,
    /// What was signed; none if it never was.
    pub signed: Option<SignedDeposit>,
    /// Whether the seller has said since that it is not there.
    pub is_refuted: bool,
}

/// What was promised for one purchase.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Promise {
    /// The purchase.
    pub intent: IntentId,
    /// What had been charged before.
    pub base: Amount,
    /// What may be claimed in all with it.
    pub ceiling: Amount,
    /// Whether the deposit goes with it.
    pub has_deposit: bool,
    /// Until when others leave the channel to it, so that its answer can be asked for again.
    pub kept_until: UnixTime,
    /// What was charged for it, once that is known.
    pub charged: Option<Amount>,
}

/// What a purchase would promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) base: Amount,
    pub(crate) ceiling: Amount,
    pub(crate) needs: Needs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    Nothing,
    /// At least so much more.
    Deposit(Amount),
    /// The deposit that was signed already.
    SameDeposit,
}

/// What a seller's correction comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Corrected {
    /// The purchase was not charged: it may be made anew.
    Again,
    /// The purchase was charged, by an answer that is lost.
    Charged(Amount),
    /// It or another whose answer is lost was charged.
    Unsure,
    /// Nothing that it says is believed, and nothing follows from it.
    Disbelieved(String),
    /// It contradicts what the seller said before.
    Broken(String),
}

impl ChannelRecord {
    pub(crate) fn new(channel: BuyerChannel, index: u32, offer: PaymentRequirements, now: UnixTime) -> Self {
        Self {
            key: channel.key,
            index,
            terms: channel.terms,
            offer,
            url: String::new(),
            charged: Amount::ZERO,
            signed: Amount::ZERO,
            balance: Amount::ZERO,
            claimed: Amount::ZERO,
            deposit: None,
            exposed: Amount::ZERO,
            promises: Vec::new(),
            broken: None,
            withdraw_requested_at: None,
            used_at: now,
            is_known: false,
            unattributed: Amount::ZERO,
        }
    }

    pub(crate) fn channel(&self) -> BuyerChannel {
        BuyerChannel { key: self.key.clone(), terms: self.terms.clone() }
    }

    pub(crate) fn promise_of(&self, intent: IntentId) -> Option<&Promise> {
        self.promises.iter().find(|promise| promise.intent == intent)
    }

    /// What a purchase of `amount` would promise; none if that is more than can be.
    pub(crate) fn plan(&self, amount: Amount, now: UnixTime) -> Option<Plan> {
        let base = self.charged;
        let ceiling = base.checked_add(amount)?;
        Some(Plan { base, ceiling, needs: self.needs(ceiling, now) })
    }

    fn needs(&self, ceiling: Amount, now: UnixTime) -> Needs {
        let Some(lacking) = ceiling.checked_sub(self.balance).filter(|lacking| *lacking != Amount::ZERO)
        else {
            return Needs::Nothing;
        };
        let Some(PendingDeposit { amount, signed: Some(signed), is_refuted }) = &self.deposit else {
            return Needs::Deposit(lacking);
        };
        let beyond = lacking.checked_sub(*amount).filter(|beyond| *beyond != Amount::ZERO);
        match (is_refuted, beyond) {
            // It may be there. To say so costs nothing: who cannot be paid by the voucher says so.
            (false, None) => Needs::Nothing,
            (false, Some(beyond)) => Needs::Deposit(beyond),
            (true, None) if now < signed.expires_at => Needs::SameDeposit,
            (true, _) => Needs::Deposit(lacking),
        }
    }

    /// Notes a promise, before anything is signed for it.
    pub(crate) fn promise(
        &mut self,
        intent: IntentId,
        plan: &Plan,
        deposit: Option<Amount>,
        kept_until: UnixTime,
    ) {
        if let Some(amount) = deposit {
            if let Some(unsigned) = self.deposit.take().filter(|pending| pending.signed.is_none()) {
                self.expose_less(unsigned.amount);
            }
            self.deposit = Some(PendingDeposit { amount, signed: None, is_refuted: false });
            self.exposed = self.exposed.checked_add(amount).unwrap_or(Amount::MAX);
        }
        if self.promises.len() >= MAX_PROMISES {
            let done = self.promises.iter().position(|promise| promise.charged.is_some());
            self.promises.remove(done.unwrap_or_default());
        }
        self.signed = self.signed.max(plan.ceiling);
        self.promises.push(Promise {
            intent,
            base: plan.base,
            ceiling: plan.ceiling,
            has_deposit: plan.needs != Needs::Nothing,
            kept_until,
            charged: None,
        });
    }

    /// Takes a promise back that never left. What was signed for it can be forgotten, for nobody else has it.
    pub(crate) fn unpromise(&mut self, intent: IntentId) {
        let Some(at) = self.promises.iter().position(|promise| promise.intent == intent) else { return };
        self.promises.remove(at);
        if let Some(unsigned) = self.deposit.take_if(|pending| pending.signed.is_none()) {
            self.expose_less(unsigned.amount);
        }
        let highest = self.promises.iter().map(|promise| promise.ceiling).max();
        // It may have been signed higher before; more is never less safe.
        self.signed = self.signed.max(highest.unwrap_or(Amount::ZERO));
    }

    /// Holds what the seller says with the answer to a purchase against what was promised for it, and takes it in. What it
    /// cost comes back. `is_seen`: whether what is in the channel was just seen on chain, which knows better.
    ///
    /// # Errors
    /// What is wrong with it: then nothing more may be signed.
    pub(crate) fn settle(
        &mut self,
        intent: IntentId,
        told: &ToldChannel,
        is_seen: bool,
    ) -> Result<Amount, String> {
        let Some(promise) = self.promise_of(intent).cloned() else {
            return Err("it answers what was never promised".to_owned());
        };
        let most = promise.ceiling.checked_sub(promise.base).unwrap_or(Amount::ZERO);
        if told.channel.as_ref() != Some(&self.key) {
            return Err("it speaks of another channel".to_owned());
        }
        let (Some(charged), Some(total), Some(backing)) = (told.charged, told.total, &told.backing) else {
            return Err("it does not say what was charged and what is left".to_owned());
        };
        if charged > most {
            return Err(format!("it charged {charged}, and {most} was agreed"));
        }
        if promise.base.checked_add(charged) != Some(total) {
            return Err(format!("it charged {charged} after {}, and says {total}", promise.base));
        }
        if backing.claimed > total {
            return Err(format!("it claimed {}, and {total} was charged", backing.claimed));
        }
        let arrived = self.deposit.as_ref().filter(|_| promise.has_deposit).map(|pending| pending.amount);
        let expected = self.balance.checked_add(arrived.unwrap_or(Amount::ZERO)).unwrap_or(Amount::MAX);
        match is_seen {
            // A deposit that the chain does not have yet is still to come.
            true => {}
            false if backing.balance < expected => {
                return Err(format!("it says that {} is in the channel, and {expected} is", backing.balance));
            }
            false => self.note_balance(backing.balance, promise.has_deposit),
        }
        self.claimed = self.claimed.max(backing.claimed);
        if promise.base == self.charged {
            self.charged = total;
            self.expose_less(charged);
        } else if charged != Amount::ZERO {
            // It is the one of those that were lost.
            self.unattributed = Amount::ZERO;
        }
        // It stays until its purchase knows: that may be written later, or lost.
        for own in self.promises.iter_mut().filter(|own| own.intent == intent) {
            own.charged = Some(charged);
        }
        self.outrun();
        self.is_known = true;
        Ok(charged)
    }

    /// What was promised upon less than was charged since can be charged no more.
    fn outrun(&mut self) {
        let charged = self.charged;
        let behind = self.promises.iter_mut();
        for promise in behind.filter(|promise| promise.charged.is_none() && promise.base < charged) {
            let most = promise.ceiling.checked_sub(promise.base).unwrap_or(Amount::ZERO);
            let part = self.unattributed.min(most);
            self.unattributed = self.unattributed.checked_sub(part).unwrap_or(Amount::ZERO);
            promise.charged = Some(part);
        }
        self.unattributed = Amount::ZERO;
    }

    /// Takes in that the seller holds another sum to be charged than the purchase went by. `is_own`: whether the voucher that
    /// it shows is this wallet's; `is_first`: whether the purchase was presented once, and this is the answer.
    pub(crate) fn correct(
        &mut self,
        intent: IntentId,
        told: &ToldChannel,
        is_own: bool,
        is_first: bool,
    ) -> Corrected {
        let disbelieved = |why: &str| Corrected::Disbelieved(why.to_owned());
        let Some(own) = self.promise_of(intent).cloned() else { return disbelieved("nothing was promised") };
        if told.channel.as_ref() != Some(&self.key) {
            return disbelieved("it speaks of another channel");
        }
        let Some(total) = told.total else { return disbelieved("it does not say what was charged") };
        let asked = own.ceiling.checked_sub(own.base).unwrap_or(Amount::ZERO);
        if total == self.charged && own.base == self.charged {
            return disbelieved("it says what this wallet says, and refuses it");
        }
        if total < self.charged {
            // The seller has lost what it had. What lets it claim no more than it could is no risk.
            let ceiling = total.checked_add(asked);
            if ceiling.is_none_or(|ceiling| ceiling > self.signed) && total != self.claimed {
                return disbelieved("it says that less was charged, without a proof");
            }
            self.charged = total;
            self.unattributed = Amount::ZERO;
            self.promises
                .iter_mut()
                .for_each(|promise| promise.charged = promise.charged.or(Some(Amount::ZERO)));
            return Corrected::Again;
        }
        if total > self.charged
            && let Some(refused) = self.catch_up(own.intent, total, told, is_own, is_first)
        {
            return refused;
        }
        let may_be_it = self.unattributed != Amount::ZERO
            && !is_first
            && own.base < self.charged
            && self.charged <= own.ceiling;
        if let Some(promise) = self.promises.iter_mut().find(|promise| promise.intent == intent) {
            match promise.charged {
                Some(charged) if charged != Amount::ZERO => return Corrected::Charged(charged),
                None if may_be_it => return Corrected::Unsure,
                _ => promise.charged = Some(Amount::ZERO),
            }
        }
        Corrected::Again
    }

    /// More was charged than this wallet knows of: for a purchase whose answer is lost.
    fn catch_up(
        &mut self,
        intent: IntentId,
        total: Amount,
        told: &ToldChannel,
        is_own: bool,
        is_first: bool,
    ) -> Option<Corrected> {
        let shown = told.proof.as_ref().filter(|_| is_own).map(|(ceiling, _)| *ceiling);
        let Some(shown) = shown.filter(|ceiling| total <= *ceiling) else {
            return Some(Corrected::Disbelieved("it shows no voucher of this wallet's for it".to_owned()));
        };
        if total < self.claimed {
            return Some(Corrected::Disbelieved("more than that was claimed".to_owned()));
        }
        // What was promised upon less was charged before that, or never. What is new was promised upon what was known.
        self.outrun();
        let base = self.charged;
        let is_lost = |promise: &&mut Promise| {
            promise.charged.is_none()
                && promise.base == base
                && total <= promise.ceiling
                && !(is_first && promise.intent == intent)
        };
        let mut lost: Vec<&mut Promise> = self.promises.iter_mut().filter(is_lost).collect();
        if lost.iter().any(|promise| promise.ceiling == shown) {
            lost.retain(|promise| promise.ceiling == shown);
        }
        if self.is_known && lost.is_empty() {
            let why = format!("it says that {total} was charged, and told of {} before", self.charged);
            return Some(Corrected::Broken(why));
        }
        let charged = total.checked_sub(self.charged).unwrap_or(Amount::ZERO);
        let only = (lost.len() == 1).then_some(0);
        let is_ambiguous = only.is_none() && !lost.is_empty();
        match only.and_then(|at| lost.into_iter().nth(at)) {
            Some(promise) => promise.charged = Some(charged),
            None if is_ambiguous => self.unattributed = charged,
            None => {}
        }
        self.charged = total;
        self.signed = self.signed.max(shown);
        self.expose_less(charged);
        if let Some(backing) = &told.backing {
            // That more is there than is known of costs nothing to believe.
            self.note_balance(backing.balance, false);
        }
        None
    }

    /// The seller says that the channel does not hold what was promised. Whether it makes sense to try again.
    pub(crate) fn unfunded(&mut self, intent: IntentId) -> bool {
        let mut had_deposit = false;
        if let Some(promise) = self.promises.iter_mut().find(|promise| promise.intent == intent) {
            promise.charged = Some(Amount::ZERO);
            had_deposit = promise.has_deposit;
        }
        // With the deposit beside it the next one is paid for.
        self.deposit.as_mut().is_some_and(|pending| {
            let was_refuted = std::mem::replace(&mut pending.is_refuted, true);
            !was_refuted || !had_deposit
        })
    }

    /// Whether a purchase went with a deposit that is not there and can no longer come, as far as is known: presented again it
    /// never helps, whatever it is refused for.
    pub(crate) fn is_late(&self, intent: IntentId, now: UnixTime) -> bool {
        let promise = self.promise_of(intent).filter(|promise| promise.has_deposit);
        let is_over = match &self.deposit {
            None => true,
            Some(pending) => pending
                .signed
                .as_ref()
                .is_some_and(|signed| now > signed.expires_at.plus_seconds(MARGIN_SECONDS)),
        };
        is_over && promise.is_some_and(|own| own.charged.is_none() && own.ceiling > self.balance)
    }

    /// A purchase was not charged, and may be made anew upon the same sum.
    pub(crate) fn uncharged(&mut self, intent: IntentId) {
        for own in self.promises.iter_mut().filter(|own| own.intent == intent) {
            own.charged = Some(Amount::ZERO);
        }
    }

    /// Takes in what the chain says. What it says of deposits is final only when nothing can come any more.
    pub(crate) fn see(&mut self, backing: &Backing, now: UnixTime) {
        self.claimed = self.claimed.max(backing.claimed);
        let before = self.balance;
        let awaited = self.deposit.as_ref().map(|pending| pending.amount);
        let arrived = awaited
            .is_some_and(|amount| before.checked_add(amount).is_some_and(|sum| backing.balance >= sum));
        let is_over = |pending: &mut PendingDeposit| {
            pending.signed.as_ref().is_none_or(|signed| now > signed.expires_at.plus_seconds(MARGIN_SECONDS))
        };
        self.balance = backing.balance;
        if arrived {
            self.deposit = None;
        } else if let Some(dead) = self.deposit.take_if(is_over) {
            self.expose_less(dead.amount);
        }
        self.withdraw_requested_at = backing.withdraw_requested_at;
        if !self.is_known {
            self.charged = self.charged.max(backing.claimed);
            self.signed = self.signed.max(backing.claimed);
        }
    }

    /// Whether more was claimed than can have been charged.
    pub(crate) fn is_overclaimed(&self) -> bool {
        let open = self.promises.iter().filter(|promise| promise.charged.is_none());
        let most = open.map(|promise| promise.ceiling).max().unwrap_or(Amount::ZERO).max(self.charged);
        self.is_known && self.claimed > most
    }

    fn note_balance(&mut self, balance: Amount, has_deposit: bool) {
        let awaited = self.deposit.as_ref().map(|pending| pending.amount);
        let with = awaited.and_then(|amount| self.balance.checked_add(amount));
        if has_deposit || with.is_some_and(|with| balance >= with) {
            self.deposit = None;
        }
        self.balance = self.balance.max(balance);
    }

    /// So much of what was put in is back: seen on chain, not told by anybody.
    pub(crate) fn returned(&mut self, amount: Amount) {
        self.expose_less(amount);
    }

    fn expose_less(&mut self, amount: Amount) {
        self.exposed = self.exposed.checked_sub(amount).unwrap_or(Amount::ZERO);
    }
}
