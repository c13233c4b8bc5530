//! What each payer has in flight: payments that were found good a moment ago or are being settled. One balance does
//! not stand for two payments.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use parking_lot::Mutex;
use tokio::time::Instant;
use tollway_core::Refusal;
use tollway_evm::{Payment, Trouble};

/// How long a verdict holds its value against the payer's balance, unless the payment is settled or fails before.
const HOLD: Duration = Duration::from_secs(30);
/// How many verdicts are held; the oldest make room.
const MOST: usize = 131_072;

/// The payments in flight.
#[derive(Debug, Default)]
pub(crate) struct Exposure {
    held: Mutex<Held>,
}

/// There may be very many: each is kept in as few bytes as tell it.
#[derive(Debug, Default)]
struct Held {
    by_payer: HashMap<Payer, Account>,
    /// Verdicts by when they end, which is the order they came in. One that no hold names any more is over.
    verdicts: VecDeque<Verdict>,
    /// How many of them hold.
    holding: usize,
    counted: u64,
}

/// One payer's payments in flight by nonce, and what they come to: in all, and those that are being settled.
#[derive(Debug)]
struct Account {
    payer: Arc<Payer>,
    holds: HashMap<Place, Hold>,
    sum: U256,
    settling: U256,
}

/// Which of a payer's payments: the contract that keeps account of its nonce, and the nonce.
type Place = (Address, B256);

/// Whose balance: chain, asset, account.
type Payer = (u64, Address, Address);

#[derive(Clone, Debug)]
struct Hold {
    value: U256,
    /// The verdict that holds it. None while it is being settled.
    verdict: Option<NonZeroU64>,
}

#[derive(Debug)]
struct Verdict {
    number: NonZeroU64,
    end: Instant,
    payer: Arc<Payer>,
    nonce: Place,
}

impl Exposure {
    /// Holds a payment that was found good, if `balance` covers it together with all else that its payer has in flight.
    pub(crate) fn hold(&self, payment: &Payment, balance: U256) -> Result<(), Refusal> {
        let now = Instant::now();
        let mut held = self.held.lock();
        held.forget_until(now);
        let (payer, nonce) = (payer(payment), place(payment));
        covers(held.others(&payer, &nonce).0, payment, balance)?;
        let known = held.by_payer.get(&payer).and_then(|account| account.holds.get(&nonce));
        if known.is_some_and(Hold::is_settling) {
            return Ok(());
        }
        held.insert(payer, nonce, payment.value(), Some(now + HOLD));
        Ok(())
    }

    /// The payment is being settled from now on, if `balance` covers it together with those that are being settled.
    pub(crate) fn settle(&self, payment: &Payment, balance: U256) -> Result<(), Refusal> {
        let (payer, place) = (payer(payment), place(payment));
        let mut held = self.held.lock();
        covers(held.others(&payer, &place).1, payment, balance)?;
        held.insert(payer, place, payment.value(), None);
        Ok(())
    }

    /// The payment is being settled, whatever its payer has.
    pub(crate) fn settling(&self, payment: &Payment) {
        self.held.lock().insert(payer(payment), place(payment), payment.value(), None);
    }

    /// It is no longer: the balance on chain tells now.
    pub(crate) fn release(&self, payment: &Payment) {
        self.held.lock().remove(&payer(payment), &place(payment));
    }
}

impl Hold {
    const fn is_settling(&self) -> bool {
        self.verdict.is_none()
    }
}

impl Held {
    /// What the payer's other payments come to: in all, and those that are being settled.
    fn others(&self, payer: &Payer, nonce: &Place) -> (U256, U256) {
        let Some(account) = self.by_payer.get(payer) else { return Default::default() };
        let own = account.holds.get(nonce);
        let less = |sum: U256, counts: bool| {
            let own = own.filter(|_| counts).map(|hold| hold.value).unwrap_or_default();
            sum.saturating_sub(own)
        };
        (less(account.sum, true), less(account.settling, own.is_some_and(Hold::is_settling)))
    }

    fn insert(&mut self, payer: Payer, nonce: Place, value: U256, end: Option<Instant>) {
        self.remove(&payer, &nonce);
        let account = self.by_payer.entry(payer).or_insert_with(|| Account::new(payer));
        account.sum = account.sum.saturating_add(value);
        let mut verdict = None;
        if let Some(end) = end {
            let number = NonZeroU64::MIN.saturating_add(self.counted);
            self.counted += 1;
            self.holding += 1;
            verdict = Some(number);
            self.verdicts.push_back(Verdict { number, end, payer: Arc::clone(&account.payer), nonce });
        } else {
            account.settling = account.settling.saturating_add(value);
        }
        account.holds.insert(nonce, Hold { value, verdict });
        while self.holding > MOST {
            self.forget_first();
        }
        if self.verdicts.len() > 2 * MOST {
            let by_payer = &self.by_payer;
            self.verdicts.retain(|verdict| verdict.holds(by_payer));
        }
    }

    fn remove(&mut self, payer: &Payer, nonce: &Place) {
        let Some(account) = self.by_payer.get_mut(payer) else { return };
        if let Some(hold) = account.holds.remove(nonce) {
            account.sum = account.sum.saturating_sub(hold.value);
            match hold.verdict {
                Some(_) => self.holding -= 1,
                None => account.settling = account.settling.saturating_sub(hold.value),
            }
        }
        if account.holds.is_empty() {
            self.by_payer.remove(payer);
        }
        while self.verdicts.front().is_some_and(|first| !first.holds(&self.by_payer)) {
            self.verdicts.pop_front();
        }
    }

    fn forget_until(&mut self, now: Instant) {
        while self.verdicts.front().is_some_and(|first| first.end <= now) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(first) = self.verdicts.pop_front()
            && first.holds(&self.by_payer)
        {
            self.remove(&first.payer, &first.nonce);
        }
    }
}

impl Account {
    fn new(payer: Payer) -> Self {
        let payer = Arc::new(payer);
        Self { payer, holds: HashMap::new(), sum: U256::ZERO, settling: U256::ZERO }
    }
}

impl Verdict {
    /// Whether a hold still stands by it.
    fn holds(&self, by_payer: &HashMap<Payer, Account>) -> bool {
        let hold = by_payer.get(&*self.payer).and_then(|account| account.holds.get(&self.nonce));
        hold.is_some_and(|hold| hold.verdict == Some(self.number))
    }
}

fn covers(others: U256, payment: &Payment, balance: U256) -> Result<(), Refusal> {
    if others.saturating_add(payment.value()) <= balance {
        return Ok(());
    }
    let rule = "must be covered by the payer's balance, together with its payments that are being settled";
    Err(payment.refusal(Trouble::Funds, rule))
}

fn payer(payment: &Payment) -> Payer {
    (payment.network().evm_chain_id().unwrap_or_default(), payment.asset(), payment.payer())
}

fn place(payment: &Payment) -> Place {
    (payment.nonce_space(), payment.nonce())
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256, Signature, U256};
    use tollway_core::Network;
    use tollway_evm::Payment;
    use tollway_evm::exact::{Authorization, ExactPayment};

    use super::{Exposure, HOLD, MOST};

    fn payment(nonce: usize, value: u64) -> Payment {
        exact(nonce, value).into()
    }

    fn exact(nonce: usize, value: u64) -> ExactPayment {
        ExactPayment {
            authorization: Authorization {
                from: Address::repeat_byte(1),
                to: Address::repeat_byte(2),
                value: U256::from(value),
                valid_after: U256::ZERO,
                valid_before: U256::MAX,
                nonce: B256::from(U256::from(nonce)),
            },
            signature: Signature::test_signature().into(),
            asset: Address::repeat_byte(3),
            network: Network::evm(1),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_balance_stands_for_one_payment_until_its_verdict_is_old() {
        let exposure = Exposure::default();
        let balance = U256::from(10);
        exposure.hold(&payment(0, 6), balance).unwrap();
        exposure.hold(&payment(0, 6), balance).unwrap();
        assert!(exposure.hold(&payment(1, 6), balance).is_err());
        exposure.hold(&payment(2, 4), balance).unwrap();
        let other = ExactPayment { asset: Address::repeat_byte(9), ..exact(3, 6) }.into();
        exposure.hold(&other, balance).unwrap();
        tokio::time::advance(HOLD).await;
        exposure.hold(&payment(1, 6), balance).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_being_settled_is_held_until_it_ends() {
        let exposure = Exposure::default();
        let balance = U256::from(10);
        exposure.hold(&payment(0, 6), balance).unwrap();
        exposure.settle(&payment(1, 6), balance).expect("a verdict alone is no claim");
        assert!(exposure.settle(&payment(0, 6), balance).is_err(), "one that is settled is");
        exposure.release(&payment(1, 6));
        exposure.settle(&payment(0, 6), balance).unwrap();
        tokio::time::advance(HOLD * 2).await;
        assert!(exposure.hold(&payment(1, 6), balance).is_err());
        assert!(exposure.settle(&payment(1, 6), balance).is_err());
        exposure.hold(&payment(0, 6), balance).unwrap();
        tokio::time::advance(HOLD * 2).await;
        assert!(exposure.hold(&payment(1, 6), balance).is_err(), "asked again, it is settling still");
        exposure.release(&payment(0, 6));
        exposure.hold(&payment(1, 6), balance).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_memory_is_bounded_and_left_empty() {
        let exposure = Exposure::default();
        for nonce in 0..=MOST {
            exposure.hold(&payment(nonce, 1), U256::MAX).unwrap();
        }
        {
            let held = exposure.held.lock();
            assert_eq!((held.holding, held.verdicts.len()), (MOST, MOST));
        }
        for nonce in 0..=MOST {
            exposure.release(&payment(nonce, 1));
        }
        let held = exposure.held.lock();
        assert!(held.verdicts.is_empty() && held.by_payer.is_empty());
        assert_eq!(held.holding, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_again_and_again_does_not_pile_up_behind_one_that_stands() {
        let exposure = Exposure::default();
        exposure.hold(&payment(0, 1), U256::MAX).unwrap();
        for _ in 0..=2 * MOST {
            exposure.hold(&payment(1, 1), U256::MAX).unwrap();
        }
        {
            let held = exposure.held.lock();
            assert_eq!(held.holding, 2);
            assert!(held.verdicts.len() <= 2 * MOST);
        }
        exposure.hold(&payment(2, 8), U256::from(10)).unwrap();
        exposure.hold(&payment(3, 1), U256::from(10)).unwrap_err();
        tokio::time::advance(HOLD).await;
        exposure.hold(&payment(3, 10), U256::from(10)).unwrap();
        assert_eq!(exposure.held.lock().verdicts.len(), 1);
    }
}
