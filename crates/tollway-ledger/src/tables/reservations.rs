//! Reservations: who may serve, what rests, and what is owed.

use tollway_core::{Amount, AuthorizationKey, Network, UnixTime};

use super::{Tables, TallyKey, storable};
use crate::{
    Claim, Fate, Finish, Finished, Member, NewReservation, Owed, OwedLimits, PaymentIdentifier,
    StoredResponse, Token,
};

/// How long after its expiry an authorization whose holder died is remembered, for clocks that differ.
const MARGIN_SECONDS: u64 = 60;
/// The longest it is remembered, whatever expiry its payer chose.
const UNFINISHED_SECONDS: u64 = 24 * 3600;

/// An authorization that is held, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    pub(crate) fingerprint: [u8; 32],
    pub(crate) payer: String,
    pub(crate) identifier: Option<PaymentIdentifier>,
    pub(crate) standing: Standing,
    /// How it rested before it was claimed again, or taken to be settled. None: this is the first claim.
    pub(crate) before: Option<Standing>,
    pub(crate) token: Token,
    pub(crate) member: Member,
    pub(crate) keep_until: UnixTime,
    pub(crate) debt: Option<Debt>,
}

/// How far a reservation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Running,
    Pending(String),
    Failed,
    Delivered(String),
    Owed,
    Unpaid,
}

/// What was delivered and is not paid for: being settled while the reservation stands at [`Standing::Owed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Debt {
    pub(crate) payer: String,
    pub(crate) network: Network,
    pub(crate) asset: String,
    pub(crate) amount: Amount,
    pub(crate) request: String,
    pub(crate) next_try: UnixTime,
}

impl Debt {
    pub(crate) fn tally_keys(&self) -> [TallyKey; 2] {
        let key = |payer| (self.network.clone(), self.asset.clone(), payer);
        [key(Some(self.payer.clone())), key(None)]
    }
}

impl Tables {
    pub(crate) fn reservation_insert(&mut self, new: NewReservation) -> Claim {
        self.forget_expired(&new);
        if let Some(identifier) = &new.identifier
            && self.identifier_is_taken(identifier, &new.key)
        {
            return Claim::IdentifierTaken;
        }
        let Some(mut row) = self.reservations.get(&new.key).cloned() else {
            if self.reservation_count >= new.capacity {
                return Claim::Full;
            }
            self.reservation_count += 1;
            self.reservation_put(new.key.clone(), first(new));
            return Claim::Fresh;
        };
        if row.fingerprint != *new.fingerprint.as_bytes() {
            return Claim::Elsewhere;
        }
        let fate = match &row.standing {
            Standing::Running => {
                if self.is_held(&row, Some(&new.member), new.now) {
                    return Claim::Running;
                }
                self.bury(&row.member.clone());
                // It may have done anything before it died, but what was served unpaid was served.
                if row.debt.is_some() { Fate::Unpaid } else { Fate::Pending(String::new()) }
            }
            Standing::Delivered(transaction) => return self.delivered(&new, transaction),
            Standing::Owed => return self.delivered(&new, ""),
            Standing::Pending(transaction) => Fate::Pending(transaction.clone()),
            Standing::Failed => Fate::Failed,
            Standing::Unpaid => Fate::Unpaid,
        };
        row.before = Some(match row.standing {
            Standing::Running if row.debt.is_some() => Standing::Unpaid,
            Standing::Running => Standing::Pending(String::new()),
            rested => rested,
        });
        row.standing = Standing::Running;
        row.token = new.token;
        row.keep_until = row.keep_until.max(unfinished_until(&new));
        row.member = new.member;
        row.identifier = new.identifier.or(row.identifier);
        self.reservation_put(new.key, row);
        Claim::Again(fate)
    }

    pub(crate) fn reservation_finish(&mut self, finish: Finish) -> Finished {
        let Some(mut row) = self.reservations.get(&finish.key).cloned() else {
            let is_released = finish.fate == Fate::Released;
            return if is_released { Finished::Done } else { Finished::Fenced };
        };
        if row.token != finish.token {
            return Finished::Fenced;
        }
        let debt = match &finish.fate {
            Fate::Owed(owed) => Some(Debt::from(owed)),
            Fate::Delivered(_) => None,
            Fate::Released if row.before.is_none() => None,
            _ => row.debt.clone(),
        };
        if !self.tally_change(row.debt.as_ref(), debt.as_ref(), finish.owed_limits) {
            return Finished::OverLimit;
        }
        row.debt = debt;
        if finish.fate == Fate::Released {
            match row.before.clone() {
                None => self.reservation_remove(&finish.key),
                Some(before) => {
                    row.standing = before;
                    self.reservation_put(finish.key, row);
                }
            }
            return Finished::Done;
        }
        let was_told = matches!(row.standing, Standing::Owed | Standing::Delivered(_));
        // A first claim has no answer yet: nothing to look for.
        if !was_told && (row.before.is_some() || row.standing != Standing::Running) {
            self.response_remove(&finish.key);
        }
        row.standing = standing(&finish.fate, row.debt.is_some());
        row.keep_until = storable(finish.keep_until);
        self.reservation_put(finish.key.clone(), row);
        if let Some(response) = finish.response {
            self.response_put(finish.key, StoredResponse { expires: storable(response.expires), ..response });
        }
        Finished::Done
    }

    pub(crate) fn reservation_is_open(&self, key: &AuthorizationKey, now: UnixTime) -> bool {
        let Some(row) = self.reservations.get(key) else { return false };
        !matches!(row.standing, Standing::Delivered(_) | Standing::Owed) && !self.is_expired(row, None, now)
    }

    pub(crate) fn reservation_owed(&mut self, now: UnixTime, retry_at: UnixTime, limit: u32) -> Vec<Owed> {
        let due = self.indexes.by_next_try.iter().take_while(|(at, _)| *at <= now).take(limit as usize);
        let due: Vec<_> = due.map(|(_, key)| key.clone()).collect();
        let taken = due.into_iter().filter_map(|key| {
            let mut row = self.reservations.get(&key)?.clone();
            let mut debt = row.debt.take()?;
            debt.next_try = storable(retry_at);
            row.token = following(&key, row.token);
            // Who takes it and can do nothing gives it back owed.
            row.before = Some(Standing::Owed);
            row.debt = Some(debt.clone());
            let token = row.token;
            self.reservation_put(key.clone(), row);
            let Debt { payer, network, asset, amount, request, next_try } = debt;
            Some(Owed { key, payer, network, asset, amount, request, token, next_try })
        });
        taken.collect()
    }

    pub(crate) fn reservation_sweep(&mut self, now: UnixTime, limit: u32) -> u64 {
        let expired =
            self.indexes.by_response_expiry.iter().take_while(|(at, _)| *at < now).take(limit as usize);
        for key in expired.map(|(_, key)| key.clone()).collect::<Vec<_>>() {
            self.response_remove(&key);
        }
        let past = self.indexes.by_keep_until.iter().take_while(|(at, _)| *at < now).map(|(_, key)| key);
        let past =
            past.filter(|key| self.reservations.get(*key).is_some_and(|row| self.is_expired(row, None, now)));
        let past: Vec<_> = past.take(limit as usize).cloned().collect();
        let mut count = 0;
        for key in past {
            self.reservation_forget(&key);
            count += 1;
        }
        count
    }

    /// What is past its time is not there: neither what the new one asks for nor what bears its identifier.
    fn forget_expired(&mut self, new: &NewReservation) {
        let named = new.identifier.as_ref().and_then(|identifier| self.identified(identifier)).cloned();
        for key in [Some(new.key.clone()), named].into_iter().flatten() {
            let row = self.reservations.get(&key);
            if row.is_some_and(|row| self.is_expired(row, Some(&new.member), new.now)) {
                self.reservation_forget(&key);
            }
        }
    }

    fn identifier_is_taken(&self, identifier: &PaymentIdentifier, key: &AuthorizationKey) -> bool {
        let Some(named) = self.identified(identifier) else { return false };
        let row = self.reservations.get(named).and_then(|row| row.identifier.as_ref());
        named != key || row.is_none_or(|row| row.digest != identifier.digest)
    }

    /// The reservation that bears an identifier.
    pub(crate) fn identified(&self, identifier: &PaymentIdentifier) -> Option<&AuthorizationKey> {
        self.indexes.by_identifier.get(&(identifier.scope.clone(), identifier.id.clone()))
    }

    fn delivered(&self, new: &NewReservation, transaction: &str) -> Claim {
        let response = self.responses.get(&new.key).filter(|response| new.now <= response.expires);
        Claim::Delivered { transaction: transaction.to_owned(), response: response.cloned() }
    }

    /// Whether the living have it. Who asks is not taken over from, however late its last renewal is.
    fn is_held(&self, row: &Reservation, caller: Option<&Member>, now: UnixTime) -> bool {
        caller == Some(&row.member) || self.is_alive(&row.member, now)
    }

    fn is_expired(&self, row: &Reservation, caller: Option<&Member>, now: UnixTime) -> bool {
        let is_kept = match row.standing {
            Standing::Running => self.is_held(row, caller, now),
            Standing::Owed => true,
            _ => false,
        };
        row.keep_until < now && !is_kept
    }

    /// Replaces one debt by another in what is owed in all; false if that would be too much.
    fn tally_change(
        &mut self,
        before: Option<&Debt>,
        after: Option<&Debt>,
        limits: Option<OwedLimits>,
    ) -> bool {
        let old = before.map(|debt| (debt.tally_keys(), debt.amount));
        let new = after.map(|debt| (debt.tally_keys(), debt.amount));
        if old == new {
            return true;
        }
        for place in 0..2 {
            let taken = old.as_ref().map(|(keys, amount)| (keys[place].clone(), *amount));
            let added = new.as_ref().map(|(keys, amount)| (keys[place].clone(), *amount));
            let Some((key, amount)) = added else { continue };
            let is_more = taken.as_ref().is_none_or(|(old, owed)| *old != key || *owed < amount);
            let others = match taken.filter(|(old, _)| *old == key) {
                Some((_, owed)) => self.tally(&key).checked_sub(owed).unwrap_or(Amount::ZERO),
                None => self.tally(&key),
            };
            let limit = limits.map_or(Amount::MAX, |l| if place == 0 { l.per_payer } else { l.in_all });
            if is_more && others.checked_add(amount).is_none_or(|sum| sum > limit) {
                return false;
            }
        }
        if let Some((keys, amount)) = old {
            for key in keys {
                let left = self.tally(&key).checked_sub(amount).unwrap_or(Amount::ZERO);
                self.tally_put(key, left);
            }
        }
        if let Some((keys, amount)) = new {
            for key in keys {
                let sum = self.tally(&key).checked_add(amount).unwrap_or(Amount::MAX);
                self.tally_put(key, sum);
            }
        }
        true
    }

    fn tally(&self, key: &TallyKey) -> Amount {
        self.tallies.get(key).copied().unwrap_or(Amount::ZERO)
    }

    fn tally_put(&mut self, key: TallyKey, amount: Amount) {
        if amount == Amount::ZERO {
            self.tallies.remove(&key);
        } else {
            self.tallies.put(key, amount);
        }
    }

    /// Removes a reservation and what is owed by it.
    fn reservation_forget(&mut self, key: &AuthorizationKey) {
        let debt = self.reservations.get(key).and_then(|row| row.debt.clone());
        self.tally_change(debt.as_ref(), None, None);
        self.reservation_remove(key);
    }

    pub(crate) fn reservation_put(&mut self, key: AuthorizationKey, row: Reservation) {
        self.reservation_unlist(&key);
        if let Some(PaymentIdentifier { scope, id, .. }) = &row.identifier {
            self.indexes.by_identifier.insert((scope.clone(), id.clone()), key.clone());
        }
        if row.standing == Standing::Owed
            && let Some(debt) = &row.debt
        {
            self.indexes.by_next_try.insert((debt.next_try, key.clone()));
        }
        self.indexes.by_keep_until.insert((row.keep_until, key.clone()));
        self.reservations.put(key, row);
    }

    fn reservation_remove(&mut self, key: &AuthorizationKey) {
        self.reservation_unlist(key);
        self.response_remove(key);
        if self.reservations.remove(key).is_some() {
            self.reservation_count = self.reservation_count.saturating_sub(1);
        }
    }

    fn reservation_unlist(&mut self, key: &AuthorizationKey) {
        let Some(row) = self.reservations.get(key) else { return };
        self.indexes.by_keep_until.remove(&(row.keep_until, key.clone()));
        if let Some(debt) = &row.debt {
            self.indexes.by_next_try.remove(&(debt.next_try, key.clone()));
        }
        if let Some(PaymentIdentifier { scope, id, .. }) = &row.identifier {
            self.indexes.by_identifier.remove(&(scope.clone(), id.clone()));
        }
    }

    pub(crate) fn response_put(&mut self, key: AuthorizationKey, response: StoredResponse) {
        let (expires, bytes) = (response.expires, response.body.len());
        if let Some(before) = self.responses.put(key.clone(), response) {
            self.response_unlist(&key, &before);
        }
        self.response_bytes += bytes;
        self.indexes.by_response_expiry.insert((expires, key));
    }

    fn response_remove(&mut self, key: &AuthorizationKey) {
        if let Some(before) = self.responses.remove(key) {
            self.response_unlist(key, &before);
        }
    }

    fn response_unlist(&mut self, key: &AuthorizationKey, before: &StoredResponse) {
        self.response_bytes = self.response_bytes.saturating_sub(before.body.len());
        self.indexes.by_response_expiry.remove(&(before.expires, key.clone()));
    }

    /// Forgets the answer that ends first; false if there is none.
    pub(super) fn response_forget_first(&mut self) -> bool {
        let Some((_, key)) = self.indexes.by_response_expiry.first().cloned() else { return false };
        self.response_remove(&key);
        true
    }
}

impl From<&Owed> for Debt {
    fn from(owed: &Owed) -> Self {
        Self {
            payer: owed.payer.clone(),
            network: owed.network.clone(),
            asset: owed.asset.clone(),
            amount: owed.amount,
            request: owed.request.clone(),
            next_try: storable(owed.next_try),
        }
    }
}

fn first(new: NewReservation) -> Reservation {
    Reservation {
        fingerprint: *new.fingerprint.as_bytes(),
        keep_until: unfinished_until(&new),
        payer: new.payer,
        identifier: new.identifier,
        standing: Standing::Running,
        before: None,
        token: new.token,
        member: new.member,
        debt: None,
    }
}

/// Where a reservation stands that ended with `fate`. Who delivered and was not paid does not forget it over a later
/// failure.
fn standing(fate: &Fate, has_debt: bool) -> Standing {
    match fate {
        Fate::Pending(transaction) => Standing::Pending(transaction.clone()),
        Fate::Failed if has_debt => Standing::Unpaid,
        Fate::Released | Fate::Failed => Standing::Failed,
        Fate::Delivered(transaction) => Standing::Delivered(transaction.clone()),
        Fate::Owed(_) => Standing::Owed,
        Fate::Unpaid => Standing::Unpaid,
    }
}

fn unfinished_until(new: &NewReservation) -> UnixTime {
    let expired = new.valid_before.plus_seconds(MARGIN_SECONDS);
    storable(expired.min(new.now.plus_seconds(UNFINISHED_SECONDS)))
}

/// The token of who takes an owed settlement. Nobody who had an earlier one can guess it by accident.
fn following(key: &AuthorizationKey, token: Token) -> Token {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    hash.update(token.0.to_be_bytes());
    hash.update(key.as_str().as_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    Token(u64::from_be_bytes(first))
}
