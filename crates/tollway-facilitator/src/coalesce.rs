//! Simulations that wait while others are under way go out together: one call for many payments. A payment that nobody
//! else waits with is simulated at once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, U256};
use metrics::histogram;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::timeout;
use tollway_core::{FacilitatorError, Refusal};
use tollway_evm::exact::MAX_PAYMENTS_PER_CALL;
use tollway_evm::{Chain, Funds, Payment, Trouble};

use crate::phase::simulate::simulate;
use crate::tasks::Tasks;
use crate::telemetry::SIMULATION_SIZE;
use crate::verified::{AuthorizationId, id};

/// How long a caller waits for its turn and the answer.
const DEADLINE: Duration = Duration::from_secs(15);

/// What the payer has, if the transfer would move exactly its value now; a refusal if not; or no answer,
/// which says nothing about the payment.
pub(crate) type Simulated = Result<Result<Funds, Refusal>, FacilitatorError>;

/// The simulations of one network.
#[derive(Debug)]
pub(crate) struct Coalescer {
    waiting: Mutex<Waiting>,
    wake: Notify,
    /// How many calls may be under way at once.
    calls: Arc<Semaphore>,
    /// How many may wait.
    most: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// The number of the first job under each id.
    numbers: HashMap<AuthorizationId, u64>,
    /// The number of the job in front.
    front: u64,
    callers: usize,
}

#[derive(Debug)]
struct Job {
    id: AuthorizationId,
    payment: Payment,
    callers: Vec<oneshot::Sender<Simulated>>,
}

impl Coalescer {
    pub(crate) fn new(calls: usize, most: usize) -> Self {
        Self { waiting: Mutex::default(), wake: Notify::new(), calls: Arc::new(Semaphore::new(calls)), most }
    }

    /// Whether the transfer would move exactly its value now.
    pub(crate) async fn simulate(&self, payment: &Payment) -> Simulated {
        let answer = {
            let mut waiting = self.waiting.lock();
            if waiting.callers >= self.most {
                return Err(FacilitatorError::Busy("too many payments are being simulated".to_owned()));
            }
            waiting.add(payment)
        };
        self.wake.notify_one();
        match timeout(DEADLINE, answer).await {
            Ok(Ok(simulated)) => simulated,
            Ok(Err(_)) => Err(FacilitatorError::Busy("the facilitator is stopping".to_owned())),
            Err(_) => Err(FacilitatorError::Busy("the simulation took too long".to_owned())),
        }
    }

    /// Sends out what waits, for as long as the engine lives.
    pub(crate) async fn run(self: Arc<Self>, chain: Chain, sender: Address, tasks: Arc<Tasks>) {
        loop {
            self.wake.notified().await;
            loop {
                let Ok(turn) = Arc::clone(&self.calls).acquire_owned().await else { return };
                let jobs = self.waiting.lock().take();
                if jobs.is_empty() {
                    break;
                }
                let chain = chain.clone();
                tasks.spawn(async move {
                    let simulated = together(&chain, sender, &jobs).await;
                    drop(turn);
                    for (job, simulated) in jobs.into_iter().zip(simulated) {
                        for caller in job.callers {
                            // Who has gone needs no answer.
                            let _ = caller.send(simulated.clone());
                        }
                    }
                });
            }
        }
    }
}

impl Waiting {
    fn add(&mut self, payment: &Payment) -> oneshot::Receiver<Simulated> {
        let (caller, answer) = oneshot::channel();
        self.callers += 1;
        let id = id(payment);
        let place = self.numbers.get(&id).and_then(|number| usize::try_from(number - self.front).ok());
        if let Some(job) = place.and_then(|place| self.jobs.get_mut(place))
            && job.payment == *payment
        {
            job.callers.push(caller);
            return answer;
        }
        let number = self.front + count(self.jobs.len());
        self.numbers.entry(id).or_insert(number);
        self.jobs.push_back(Job { id, payment: payment.clone(), callers: vec![caller] });
        answer
    }

    /// As many as one call takes, those that came first. What nobody waits for any more is dropped.
    fn take(&mut self) -> Vec<Job> {
        let mut jobs: Vec<Job> = Vec::new();
        let mut ids = HashSet::new();
        while jobs.len() < MAX_PAYMENTS_PER_CALL {
            // Two that were signed under one nonce cannot be judged in one call: the first would use it up.
            if self.jobs.front().is_none_or(|job| ids.contains(&job.id)) {
                break;
            }
            let Some(job) = self.jobs.pop_front() else { break };
            if self.numbers.get(&job.id) == Some(&self.front) {
                self.numbers.remove(&job.id);
            }
            self.front += 1;
            self.callers -= job.callers.len();
            if !job.callers.iter().all(oneshot::Sender::is_closed) {
                ids.insert(job.id);
                jobs.push(job);
            }
        }
        jobs
    }
}

fn count(jobs: usize) -> u64 {
    u64::try_from(jobs).unwrap_or(u64::MAX)
}

/// Simulates all in one call. Most transfers are run one after the other there, but none of them need ever be made: the
/// balance of each payer is told as it is without those before it, and none is covered by what another might bring. Those
/// that were run alone tell it as it is.
async fn together(chain: &Chain, sender: Address, jobs: &[Job]) -> Vec<Simulated> {
    #[expect(clippy::cast_precision_loss, reason = "a histogram takes floats; a call has few payments")]
    histogram!(SIMULATION_SIZE, "network" => chain.network().as_str().to_owned()).record(jobs.len() as f64);
    let payments: Vec<&Payment> = jobs.iter().map(|job| &job.payment).collect();
    let verdicts = match simulate(chain, sender, &payments).await {
        Ok(verdicts) => verdicts,
        Err(error) => return jobs.iter().map(|_| Err(error.clone())).collect(),
    };
    let mut moved: HashMap<(Address, Address), (U256, U256)> = HashMap::new();
    let mut simulated = Vec::with_capacity(jobs.len());
    for (payment, verdict) in payments.into_iter().zip(verdicts) {
        let (asset, payer, value) = (payment.asset(), payment.payer(), payment.value());
        let verdict = verdict.and_then(|funds| {
            if funds.is_alone {
                return Ok(funds);
            }
            let (paid, received) = moved.get(&(asset, payer)).copied().unwrap_or_default();
            let available = funds.available.saturating_add(paid).saturating_sub(received);
            for (account, paid) in [(payer, true), (payment.payee(), false)] {
                let (out, into) = moved.entry((asset, account)).or_default();
                let sum = if paid { out } else { into };
                *sum = sum.saturating_add(value);
            }
            match value <= available {
                true => Ok(Funds { available, ..funds }),
                false => Err(payment.refusal(Trouble::Funds, "must be covered by the payer's balance")),
            }
        });
        simulated.push(Ok(verdict));
    }
    simulated
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256, Signature, U256};
    use tollway_core::Network;
    use tollway_evm::Payment;
    use tollway_evm::exact::{Authorization, ExactPayment, MAX_PAYMENTS_PER_CALL};

    use super::Waiting;

    fn payment(nonce: usize, value: u64) -> Payment {
        Payment::from(ExactPayment {
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
        })
    }

    #[test]
    fn the_same_is_asked_once_and_what_shares_a_nonce_is_not_asked_together() {
        let mut waiting = Waiting::default();
        let answers: Vec<_> = [(0, 1), (1, 1), (0, 1), (1, 2), (0, 1)]
            .map(|(nonce, value)| waiting.add(&payment(nonce, value)))
            .into();
        assert_eq!(waiting.callers, 5);
        let first = waiting.take();
        assert_eq!(first.iter().map(|job| job.callers.len()).collect::<Vec<_>>(), [3, 1]);
        let second = waiting.take();
        assert_eq!(second.len(), 1);
        assert_eq!(second[0].payment.value(), U256::from(2));
        assert_eq!((waiting.callers, waiting.numbers.len(), waiting.take().len()), (0, 0, 0));
        drop(answers);
    }

    #[test]
    fn one_call_takes_so_many_and_none_for_who_has_gone() {
        let mut waiting = Waiting::default();
        let answers: Vec<_> =
            (0..2 * MAX_PAYMENTS_PER_CALL).map(|nonce| waiting.add(&payment(nonce, 1))).collect();
        drop(waiting.add(&payment(100_000, 1)));
        assert_eq!(waiting.take().len(), MAX_PAYMENTS_PER_CALL);
        assert_eq!(waiting.take().len(), MAX_PAYMENTS_PER_CALL);
        assert_eq!((waiting.take().len(), waiting.callers), (0, 0));
        drop(answers);
    }
}
