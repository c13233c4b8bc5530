//! Group commit: one task for each store writes for all callers.
//!
//! It takes all calls that have gathered, runs them in one transaction and answers when that is committed; meanwhile
//! the next gather. So a lone call waits for nobody, and a thousand share one commit. Order among calls that wait at
//! the same time means nothing: none of their callers has heard of another's.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::answers::AnswerLog;
use super::backend::{Backend, Failure};
use super::channels::{Charge, charge};
use super::load::load;
use super::needs::Needs;
use super::save::save;
use crate::tables::Tables;
use crate::{ChannelCharge, LedgerError};

/// What the calls in one transaction may weigh, beside the last: 2,048 charges, which are small and share the pages that
/// they write, or 512 other calls, or fewer that are about many settlements.
const MOST_WEIGHT: usize = 2_048;
const CALL_WEIGHT: usize = 4;
/// How many calls may be left for the next transaction before no more are taken from the queue.
const MOST_LEFT: usize = 512;
/// How often a transaction begins anew that met another's.
const MOST_TRIES: u32 = 8;
/// How old the number of reservations may be that capacity is held against.
const COUNT_AGE: Duration = Duration::from_secs(10);

/// A call on its way to the writer and back.
pub(super) trait Call: Send {
    fn needs(&self) -> &Needs;
    fn weight(&self) -> usize {
        CALL_WEIGHT + self.needs().settlements.len()
    }
    /// Runs the rules, and keeps the answer until it is true.
    fn run(&mut self, tables: &mut Tables);
    /// Whether it is answered only when it is on the disk.
    fn is_synced(&self) -> bool {
        true
    }
    /// What it charges, if that is all it does: it needs no rows, and is written with all others of its kind.
    fn charge(&mut self) -> Option<&mut Charge> {
        None
    }
    fn answer(self: Box<Self>);
    fn fail(self: Box<Self>, error: LedgerError);
    /// Nobody waits for it any more.
    fn is_given_up(&self) -> bool;
}

/// A call with an answer of its own type.
pub(super) struct Typed<T, R> {
    needs: Needs,
    run: R,
    is_synced: bool,
    answer: Option<T>,
    reply: oneshot::Sender<Result<T, LedgerError>>,
}

impl<T, R> Typed<T, R> {
    pub(super) fn new(
        needs: Needs,
        run: R,
        is_synced: bool,
    ) -> (Self, oneshot::Receiver<Result<T, LedgerError>>) {
        let (reply, answer) = oneshot::channel();
        (Self { needs, run, is_synced, answer: None, reply }, answer)
    }
}

impl<T: Send, R: Fn(&mut Tables) -> T + Send> Call for Typed<T, R> {
    fn needs(&self) -> &Needs {
        &self.needs
    }

    fn run(&mut self, tables: &mut Tables) {
        self.answer = Some((self.run)(tables));
    }

    fn is_synced(&self) -> bool {
        self.is_synced
    }

    fn answer(self: Box<Self>) {
        let nothing = || LedgerError::Unavailable("the call did not run".to_owned());
        // Who hung up does not hear it.
        let _ = self.reply.send(self.answer.ok_or_else(nothing));
    }

    fn fail(self: Box<Self>, error: LedgerError) {
        let _ = self.reply.send(Err(error));
    }

    fn is_given_up(&self) -> bool {
        self.reply.is_closed()
    }
}

/// A charge on its way to the writer and back.
pub(super) struct Charging {
    needs: Needs,
    charge: Charge,
    reply: oneshot::Sender<Result<bool, LedgerError>>,
}

impl Charging {
    pub(super) fn new(charge: ChannelCharge) -> (Self, oneshot::Receiver<Result<bool, LedgerError>>) {
        let (reply, answer) = oneshot::channel();
        (Self { needs: Needs::default(), charge: Charge::new(charge), reply }, answer)
    }
}

impl Call for Charging {
    fn needs(&self) -> &Needs {
        &self.needs
    }

    fn weight(&self) -> usize {
        1
    }

    fn run(&mut self, _: &mut Tables) {}

    fn charge(&mut self) -> Option<&mut Charge> {
        Some(&mut self.charge)
    }

    fn answer(self: Box<Self>) {
        let _ = self.reply.send(Ok(self.charge.is_written));
    }

    fn fail(self: Box<Self>, error: LedgerError) {
        let _ = self.reply.send(Err(error));
    }

    fn is_given_up(&self) -> bool {
        self.reply.is_closed()
    }
}

/// The task that writes. It ends when nobody can call any more.
pub(super) struct Writer<B: Backend> {
    backend: Arc<B>,
    calls: mpsc::Receiver<Box<dyn Call>>,
    /// Taken from the queue and left for the next transaction.
    left: VecDeque<Box<dyn Call>>,
    /// Whether what `left` begins is in the ledger by now.
    is_begun: bool,
    connection: Option<B::Connection>,
    answers: AnswerLog,
    count: u64,
    counted_at: Option<Instant>,
}

impl<B: Backend> Writer<B> {
    pub(super) fn new(backend: Arc<B>, calls: mpsc::Receiver<Box<dyn Call>>) -> Self {
        Self {
            backend,
            calls,
            left: VecDeque::new(),
            is_begun: false,
            connection: None,
            answers: AnswerLog::default(),
            count: 0,
            counted_at: None,
        }
    }

    pub(super) async fn run(mut self) {
        while let Some(batch) = self.gather().await {
            self.is_begun = self.execute(batch).await;
        }
    }

    /// All calls that have gathered and may share a transaction; waits for the first.
    async fn gather(&mut self) -> Option<Vec<Box<dyn Call>>> {
        let mut batch: Vec<Box<dyn Call>> = Vec::new();
        let mut begun = BTreeSet::new();
        let mut weight = 0;
        for call in std::mem::take(&mut self.left) {
            let is_free = self.is_begun || begins_no_other(&*call, &mut begun);
            self.sort(call, is_free, &mut batch, &mut weight);
        }
        if batch.is_empty() {
            let call = self.calls.recv().await?;
            begins_no_other(&*call, &mut begun);
            self.sort(call, true, &mut batch, &mut weight);
        }
        while weight < MOST_WEIGHT && self.left.len() < MOST_LEFT {
            let Ok(call) = self.calls.try_recv() else { break };
            let is_free = begins_no_other(&*call, &mut begun);
            self.sort(call, is_free, &mut batch, &mut weight);
        }
        Some(batch)
    }

    /// Into the batch, or left for the next one.
    fn sort(
        &mut self,
        call: Box<dyn Call>,
        is_free: bool,
        batch: &mut Vec<Box<dyn Call>>,
        weight: &mut usize,
    ) {
        let is_alone = |call: &dyn Call| call.needs().search.is_some();
        let is_open = match batch.first() {
            None => true,
            Some(first) => !is_alone(&**first) && !is_alone(&*call) && *weight < MOST_WEIGHT,
        };
        if is_free && is_open {
            *weight += call.weight();
            batch.push(call);
        } else {
            self.left.push_back(call);
        }
    }

    /// Runs a batch and answers all of it; whether it was written.
    async fn execute(&mut self, mut batch: Vec<Box<dyn Call>>) -> bool {
        batch.retain(|call| !call.is_given_up());
        if batch.is_empty() {
            return false;
        }
        match self.commit(&mut batch).await {
            Ok(()) => {
                batch.into_iter().for_each(|call| call.answer());
                true
            }
            // One of them is the cause. The others are not to suffer for it.
            Err(failure @ (Failure::Refused(_) | Failure::Ledger(_))) if batch.len() > 1 => {
                let error = LedgerError::from(failure);
                tracing::warn!(%error, calls = batch.len(), "the ledger did not write all together; each alone");
                for call in batch {
                    let mut alone = vec![call];
                    let result = self.commit(&mut alone).await.map_err(LedgerError::from);
                    for call in alone {
                        match &result {
                            Ok(()) => call.answer(),
                            Err(error) => call.fail(error.clone()),
                        }
                    }
                }
                false
            }
            Err(failure) => {
                let error = LedgerError::from(failure);
                tracing::warn!(%error, calls = batch.len(), "the ledger did not write");
                batch.into_iter().for_each(|call| call.fail(error.clone()));
                false
            }
        }
    }

    /// Runs calls in one transaction, again while others are in the way, and within the deadline.
    async fn commit(&mut self, batch: &mut [Box<dyn Call>]) -> Result<(), Failure> {
        let deadline = self.backend.deadline();
        let tries = async {
            let mut tried = 0;
            loop {
                match self.transaction(batch).await {
                    Err(Failure::Conflict(_)) if tried < MOST_TRIES => {
                        tried += 1;
                        sleep(Duration::from_millis(u64::from(tried))).await;
                    }
                    result => return result,
                }
            }
        };
        match timeout(deadline, tries).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Lost(format!("no answer after {} ms", deadline.as_millis()))),
        }
    }

    /// One try. The connection is kept only if it is known to be in no transaction.
    async fn transaction(&mut self, batch: &mut [Box<dyn Call>]) -> Result<(), Failure> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.backend.connect().await?,
        };
        let result = self.steps(&mut connection, batch).await;
        match &result {
            Ok(()) => self.connection = Some(connection),
            Err(Failure::Lost(_)) => {}
            Err(_) => {
                if B::execute(&mut connection, "ROLLBACK").await.is_ok() {
                    self.connection = Some(connection);
                }
            }
        }
        result
    }

    async fn steps(
        &mut self,
        connection: &mut B::Connection,
        batch: &mut [Box<dyn Call>],
    ) -> Result<(), Failure> {
        let is_synced = batch.iter().any(|call| call.is_synced());
        B::execute(connection, if is_synced { B::BEGIN } else { B::BEGIN_UNSYNCED }).await?;
        let charges = batch.iter_mut().filter_map(|call| call.charge()).collect();
        charge::<B>(connection, charges, &mut self.answers).await?;
        let mut others: Vec<_> =
            batch.iter_mut().filter_map(|call| call.charge().is_none().then_some(call)).collect();
        let count = match others.is_empty() {
            true => self.count,
            false => self.others(connection, &mut others).await?,
        };
        B::execute(connection, "COMMIT").await?;
        self.count = count;
        Ok(())
    }

    /// Reads what calls are about, runs them, and writes what they touched. The number of reservations if it is committed.
    async fn others(
        &mut self,
        connection: &mut B::Connection,
        calls: &mut [&mut Box<dyn Call>],
    ) -> Result<u64, Failure> {
        let mut needs = Needs::default();
        for call in calls.iter() {
            needs.add(call.needs());
        }
        let mut loaded = load::<B>(connection, &needs).await?;
        let is_counted = self.counted_at.is_some_and(|at| at.elapsed() < COUNT_AGE);
        if !needs.claims.is_empty() && !is_counted {
            self.count = count::<B>(connection).await?;
            self.counted_at = Some(Instant::now());
        }
        loaded.tables.reservation_count = self.count;
        loaded.tables.track();
        for call in calls.iter_mut() {
            call.run(&mut loaded.tables);
        }
        save::<B>(connection, &loaded).await?;
        Ok(loaded.tables.reservation_count)
    }
}

/// Whether the call begins no settlement that another call of the batch begins.
fn begins_no_other(call: &dyn Call, begun: &mut BTreeSet<tollway_core::AuthorizationKey>) -> bool {
    let needs = call.needs();
    if needs.search.is_some() || needs.beginnings.iter().any(|key| begun.contains(key)) {
        return needs.search.is_some();
    }
    begun.extend(needs.beginnings.iter().cloned());
    true
}

async fn count<B: Backend>(connection: &mut B::Connection) -> Result<u64, Failure> {
    let rows = B::run(connection, super::reads::RESERVATION_COUNT.into(), String::new()).await?;
    super::reads::number(&rows).map_err(Failure::Ledger)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use parking_lot::Mutex;
    use tokio::sync::mpsc;
    use tollway_core::BoxFuture;

    use super::{Backend, Call, Failure, Needs, Typed, Writer};
    use crate::sql::spec::Dialect;

    /// A database that notes what it is told.
    #[derive(Debug, Default)]
    struct Noting(Arc<Mutex<Vec<&'static str>>>);

    impl Backend for Noting {
        type Connection = Arc<Mutex<Vec<&'static str>>>;

        const DIALECT: Dialect = Dialect::Sqlite;
        const BEGIN: &'static str = "synced";
        const BEGIN_UNSYNCED: &'static str = "unsynced";
        const ANSWER_NUMBER: &'static str = "";

        fn spawn(writer: BoxFuture<'static, ()>) -> std::io::Result<()> {
            tokio::spawn(writer);
            Ok(())
        }

        fn connect(&self) -> BoxFuture<'_, Result<Self::Connection, Failure>> {
            Box::pin(std::future::ready(Ok(Arc::clone(&self.0))))
        }

        fn run<'a>(
            _: &'a mut Self::Connection,
            _: Arc<str>,
            _: String,
        ) -> BoxFuture<'a, Result<Vec<String>, Failure>> {
            Box::pin(std::future::ready(Ok(Vec::new())))
        }

        fn execute<'a>(
            connection: &'a mut Self::Connection,
            statements: &'static str,
        ) -> BoxFuture<'a, Result<(), Failure>> {
            connection.lock().push(statements);
            Box::pin(std::future::ready(Ok(())))
        }

        fn is_alone(_: &mut Self::Connection) -> BoxFuture<'_, Result<bool, Failure>> {
            Box::pin(std::future::ready(Ok(true)))
        }

        fn read(&self, _: Arc<str>, _: String) -> BoxFuture<'_, Result<Vec<String>, Failure>> {
            Box::pin(std::future::ready(Ok(Vec::new())))
        }

        fn deadline(&self) -> Duration {
            Duration::from_secs(5)
        }
    }

    /// What the database was told when calls had gathered, of which these are to be synced.
    async fn told(are_synced: &[bool]) -> Vec<&'static str> {
        let (send, calls) = mpsc::channel::<Box<dyn Call>>(8);
        let mut answers = Vec::new();
        for is_synced in are_synced {
            let (call, answer) = Typed::new(Needs::default(), |_: &mut crate::tables::Tables| (), *is_synced);
            assert!(send.send(Box::new(call)).await.is_ok());
            answers.push(answer);
        }
        drop(send);
        let database = Arc::new(Noting::default());
        Writer::new(Arc::clone(&database), calls).run().await;
        for answer in answers {
            answer.await.unwrap().unwrap();
        }
        database.0.lock().clone()
    }

    #[tokio::test]
    async fn a_transaction_is_synced_if_any_of_its_calls_is_to_be() {
        assert_eq!(told(&[false]).await, ["unsynced", "COMMIT"]);
        assert_eq!(told(&[false, false]).await, ["unsynced", "COMMIT"]);
        assert_eq!(told(&[false, true]).await, ["synced", "COMMIT"]);
        assert_eq!(told(&[true]).await, ["synced", "COMMIT"]);
    }
}
