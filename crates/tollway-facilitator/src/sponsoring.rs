//! What an operator gives away for approvals of Permit2 (extension `erc20ApprovalGasSponsoring`): how much for one, how often
//! to one payer and how often in all. It is kept account of in the ledger, so that processes that share it share this too.
//!
//! Every grant takes a numbered place of its day, of the payer's and of all; a place is written down before money leaves, and
//! never given back. So whatever breaks, less is spent, not more.

use tollway_core::{Network, UnixTime};
use tollway_evm::{Address, B256, U256};
use tollway_ledger::{Ledger, LedgerError, Marked, NewMark};

/// The scope of the marks.
const SCOPE: &str = "sponsored-approval";
const DAY_SECONDS: u64 = 86_400;
/// How many marks that are past their time are forgotten with each grant.
const SWEPT: u32 = 64;
/// No more places than are looked through in a moment.
const MOST_PLACES: u32 = 100_000;

/// What is paid for payers who cannot pay for their approval of Permit2, on one network. No more than `approvals_a_day`
/// times `max_cost` leaves a lane in a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sponsoring {
    /// What a payer's transaction may cost at most, wei: gas at its highest price, and what a rollup charges for data.
    /// What is given is what the payer has not, and no more than this.
    pub max_cost: U256,
    /// How many approvals of one payer are paid for in a day (UTC).
    pub payer_approvals_a_day: u32,
    /// How many are in all.
    pub approvals_a_day: u32,
}

/// What came of asking for a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is written down: the money may leave, once.
    Granted,
    /// This transaction has been given money for before.
    Given,
    /// Enough was given today.
    Spent,
}

/// Whose approval, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) payer: Address,
    /// The payer's transaction.
    pub(crate) transaction: B256,
}

impl Sponsoring {
    /// What no engine can work with, a sentence each.
    ///
    /// ```
    /// use tollway_evm::U256;
    /// use tollway_facilitator::Sponsoring;
    /// let none = Sponsoring { max_cost: U256::ZERO, payer_approvals_a_day: 1, approvals_a_day: 10 };
    /// assert_eq!(none.faults(), ["sponsoring: max_cost must be more than zero"]);
    /// ```
    pub fn faults(&self) -> Vec<String> {
        let places = 1..=MOST_PLACES;
        let wrong = [
            ("max_cost must be more than zero", self.max_cost.is_zero()),
            (
                "payer_approvals_a_day must be from 1 to approvals_a_day",
                !(1..=self.approvals_a_day).contains(&self.payer_approvals_a_day),
            ),
            ("approvals_a_day must be from 1 to 100000", !places.contains(&self.approvals_a_day)),
        ];
        let wrong = wrong.into_iter().filter(|(_, is_wrong)| *is_wrong);
        wrong.map(|(rule, _)| format!("sponsoring: {rule}")).collect()
    }

    /// Whether money may still be given for `cause` today, or was already. It may be gone a moment later.
    pub(crate) async fn has_room(
        &self,
        ledger: &dyn Ledger,
        network: &Network,
        cause: Cause,
        now: UnixTime,
    ) -> Result<bool, LedgerError> {
        let day = Day::of(network, now);
        let full = [
            day.place(&Whose::Payer(cause.payer), self.payer_approvals_a_day - 1),
            day.place(&Whose::All, self.approvals_a_day - 1),
        ];
        if !ledger.mark_is_set(SCOPE, &full, now).await? {
            return Ok(true);
        }
        // What was given for it may be on its way.
        let own = [given(network, cause)];
        ledger.mark_is_set(SCOPE, &own, now).await
    }

    /// Takes a place for `cause`: of the payer's, and of all.
    pub(crate) async fn claim(
        &self,
        ledger: &dyn Ledger,
        network: &Network,
        cause: Cause,
        now: UnixTime,
    ) -> Result<Claim, LedgerError> {
        // Nobody fills the ledger with marks once a day's money is gone.
        if !self.has_room(ledger, network, cause, now).await? {
            return Ok(Claim::Spent);
        }
        let day = Day::of(network, now);
        if !day.set(ledger, given(network, cause)).await? {
            return Ok(Claim::Given);
        }
        let is_granted = day.take(ledger, &Whose::Payer(cause.payer), self.payer_approvals_a_day).await?
            && day.take(ledger, &Whose::All, self.approvals_a_day).await?;
        ledger.mark_sweep(now, SWEPT).await?;
        Ok(if is_granted { Claim::Granted } else { Claim::Spent })
    }
}

/// The mark of a transaction that was given money for.
fn given(network: &Network, cause: Cause) -> String {
    format!("{network}/{:#x}", cause.transaction)
}

/// Whose places.
enum Whose {
    Payer(Address),
    All,
}

/// A day's places on one network.
struct Day<'a> {
    network: &'a Network,
    number: u64,
    now: UnixTime,
}

impl<'a> Day<'a> {
    const fn of(network: &'a Network, now: UnixTime) -> Self {
        Self { network, number: now.0 / DAY_SECONDS, now }
    }

    fn place(&self, whose: &Whose, number: u32) -> String {
        let (network, day) = (self.network, self.number);
        match whose {
            Whose::Payer(payer) => format!("{network}/{day}/{payer:#x}/{number}"),
            Whose::All => format!("{network}/{day}/all/{number}"),
        }
    }

    /// Takes the first place that is free. They are taken in order, so it is found by halves; whoever loses a race for it
    /// goes on to the next.
    async fn take(&self, ledger: &dyn Ledger, whose: &Whose, places: u32) -> Result<bool, LedgerError> {
        let (mut free, mut end) = (0, places);
        while free < end {
            let middle = free + (end - free) / 2;
            match ledger.mark_is_set(SCOPE, &[self.place(whose, middle)], self.now).await? {
                true => free = middle + 1,
                false => end = middle,
            }
        }
        for number in free..places {
            if self.set(ledger, self.place(whose, number)).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sets a mark that outlives the day. Whether it was not set before.
    async fn set(&self, ledger: &dyn Ledger, name: String) -> Result<bool, LedgerError> {
        let until = UnixTime(self.number.saturating_add(2).saturating_mul(DAY_SECONDS));
        let mark = NewMark { scope: SCOPE.to_owned(), name, until, now: self.now };
        Ok(ledger.mark_set(mark).await? == Marked::Fresh)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tollway_core::{Network, UnixTime};
    use tollway_evm::{Address, B256, U256};
    use tollway_ledger::{Ledger, MemoryLedger};

    use super::{Cause, Claim, DAY_SECONDS, Sponsoring};

    const NOON: UnixTime = UnixTime(20_000 * DAY_SECONDS + DAY_SECONDS / 2);

    fn sponsoring(payer: u32, all: u32) -> Sponsoring {
        Sponsoring { max_cost: U256::from(1), payer_approvals_a_day: payer, approvals_a_day: all }
    }

    fn cause(payer: u8, transaction: u8) -> Cause {
        Cause { payer: Address::repeat_byte(payer), transaction: B256::repeat_byte(transaction) }
    }

    async fn claim(ledger: &dyn Ledger, of: Sponsoring, cause: Cause, now: UnixTime) -> Claim {
        of.claim(ledger, &Network::evm(1), cause, now).await.unwrap()
    }

    #[tokio::test]
    async fn one_transaction_is_given_for_once_and_one_payer_so_often_a_day() {
        let (ledger, of) = (MemoryLedger::new(), sponsoring(2, 10));
        assert_eq!(claim(&ledger, of, cause(1, 1), NOON).await, Claim::Granted);
        assert_eq!(claim(&ledger, of, cause(1, 1), NOON).await, Claim::Given);
        assert_eq!(claim(&ledger, of, cause(1, 2), NOON).await, Claim::Granted);
        assert_eq!(claim(&ledger, of, cause(1, 3), NOON).await, Claim::Spent);
        assert_eq!(claim(&ledger, of, cause(2, 4), NOON).await, Claim::Granted, "another payer");
        let elsewhere = of.claim(&ledger, &Network::evm(2), cause(1, 5), NOON).await.unwrap();
        assert_eq!(elsewhere, Claim::Granted, "another network");
        let tomorrow = NOON.plus_seconds(DAY_SECONDS);
        assert_eq!(claim(&ledger, of, cause(1, 1), tomorrow).await, Claim::Given, "the same as yesterday");
        assert_eq!(claim(&ledger, of, cause(1, 6), tomorrow).await, Claim::Granted);
    }

    #[tokio::test]
    async fn many_payers_at_once_are_given_no_more_than_a_day_has() {
        let (ledger, of) = (MemoryLedger::new(), sponsoring(1, 7));
        let claims = (0..50).map(|payer| claim(&ledger, of, cause(payer, payer), NOON));
        let claims = join_all(claims).await;
        assert_eq!(claims.iter().filter(|claim| **claim == Claim::Granted).count(), 7);
        let marks = ledger.mark_count().await.unwrap();
        for payer in 50..=255 {
            assert_eq!(claim(&ledger, of, cause(payer, payer), NOON).await, Claim::Spent);
        }
        assert_eq!(ledger.mark_count().await.unwrap(), marks, "who comes too late leaves nothing");
    }

    #[tokio::test]
    async fn days_that_are_over_are_forgotten() {
        let (ledger, of) = (MemoryLedger::new(), sponsoring(1, 5));
        for day in 0..20 {
            let now = NOON.plus_seconds(day * DAY_SECONDS);
            let transaction = u8::try_from(day).unwrap();
            assert_eq!(claim(&ledger, of, cause(1, transaction), now).await, Claim::Granted);
        }
        assert!(ledger.mark_count().await.unwrap() <= 9, "two days, and one that is swept next");
    }
}
