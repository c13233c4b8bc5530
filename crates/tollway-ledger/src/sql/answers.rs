//! Answers that charges keep, in the order they were given: a log. Rows that were written at about the same time share
//! pages, so a thousand answers of channels all over the ledger are a few hundred pages at its end.
//!
//! A channel's row names its answer by number; what no channel names any more is garbage. The head of the log is swept
//! as its end grows, five rows for four: garbage and what has expired is deleted, what is still good moves to the end. So
//! there are never more than about five times as many rows as answers that are good, and a commit's part of it is bounded.
//! Numbers only grow: the newest row stays until there is a newer one, so none is given twice.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tollway_core::UnixTime;

use super::backend::{Backend, Failure};
use super::channels::Charge;
use super::rows::{Int, Text, fixed, headers, headers_text, int, kind, narrow, parsed, table, unsigned};
use super::spec::{Bytes, Spec};
use crate::{LedgerError, StoredResponse};

table!(CHANNEL_ANSWER, ChannelAnswerSql, "channel_answer" by ["number"] {
    number: Int,
    scope: Text,
    id: Text,
    presented: Bytes,
    status: Int,
    headers: Text,
    body: Bytes,
    expires: Int,
});

/// So many rows of the head are looked at for so many that were added to the end.
const LOOKED_AT: u64 = 5;
const ADDED: u64 = 4;
/// Fewer are left for a later commit: a lone charge does not pay for statements that find little.
const FEWEST: u64 = 256;
/// No commit looks at more.
const MOST: u64 = 8_192;
/// So often it goes on where it ended before it begins at the head again.
const ON: u32 = 64;

/// The last of the oldest rows; 0 if there is none.
const HEAD: &str = "SELECT CAST(coalesce(max(h.number), 0) AS TEXT) FROM (SELECT t.number FROM channel_answer t \
     WHERE t.number > {int after} AND t.number < {int below} ORDER BY t.number LIMIT {int count}) h";

const FORGET: &str = "DELETE FROM channel_answer AS t WHERE t.number > {int after} AND t.number <= {int last} \
     AND (t.expires <= {int now} OR NOT EXISTS (SELECT 1 FROM channel c WHERE c.scope = t.scope AND c.id = t.id AND c.answered = t.number))";

/// What is good. A channel that another process is at is left alone, and looked at again.
const GOOD: &str = "SELECT CAST(t.number AS TEXT) FROM channel_answer t JOIN channel c ON c.scope = t.scope \
     AND c.id = t.id AND c.answered = t.number WHERE t.number > {int after} AND t.number <= {int last} \
     ORDER BY t.number{skip c}";

const NAME: &str = "UPDATE channel SET answered = CAST(v.value->>'to' AS BIGINT) FROM {rows} JOIN channel_answer t \
     ON t.number = CAST(v.value->>'from' AS BIGINT) WHERE channel.scope = t.scope AND channel.id = t.id \
     AND channel.answered = t.number";

const MOVE: &str = "UPDATE channel_answer SET number = CAST(v.value->>'to' AS BIGINT) FROM {rows} \
     WHERE channel_answer.number = CAST(v.value->>'from' AS BIGINT)";

/// The log as one process writes it.
#[derive(Debug)]
pub(super) struct AnswerLog {
    /// The first number of this transaction, and the next. Both are its own.
    first: i64,
    next: i64,
    /// Rows that this transaction has added.
    added: u64,
    /// Four times the rows of the head that are still to be looked at.
    owed: u64,
    /// What was looked at last: a database may still have to step over what was deleted before it.
    after: i64,
    /// How often it went on there: after so many times it begins at the head again, for what was left alone.
    sweeps: u32,
}

impl Default for AnswerLog {
    /// What the process before left behind counts, too.
    fn default() -> Self {
        Self { first: 0, next: 0, added: 0, owed: FEWEST * ADDED, after: 0, sweeps: 0 }
    }
}

impl AnswerLog {
    /// Begins a transaction that gives a number to each of these that keeps an answer.
    pub(super) async fn begin<B: Backend>(
        &mut self,
        connection: &mut B::Connection,
        charges: &mut [&mut Charge],
    ) -> Result<(), Failure> {
        self.added = 0;
        if charges.iter().any(|charge| charge.charge.answer.is_some()) {
            let found = B::run(connection, B::ANSWER_NUMBER.into(), String::new()).await?;
            self.first = int(super::reads::number(&found)?);
            self.next = self.first;
        }
        for charge in charges {
            charge.answered = if charge.charge.answer.is_some() { self.take() } else { 0 };
        }
        Ok(())
    }

    /// Adds the answers of charges that were written.
    pub(super) async fn append<B: Backend>(
        &mut self,
        connection: &mut B::Connection,
        rows: &[ChannelAnswerSql],
    ) -> Result<(), Failure> {
        let added = B::run(connection, CHANNEL_ANSWER.insert(B::DIALECT, &[]), serde_json::to_string(rows)?);
        if added.await?.len() != rows.len() {
            return Err(Failure::Conflict("another has written an answer of the same number".to_owned()));
        }
        self.added += rows.len() as u64;
        Ok(())
    }

    /// Looks at the head, if something was added and enough is owed.
    pub(super) async fn sweep<B: Backend>(
        &mut self,
        connection: &mut B::Connection,
        now: UnixTime,
    ) -> Result<(), Failure> {
        self.owed = (self.owed + self.added * LOOKED_AT).min(MOST * ADDED);
        let count = self.owed / ADDED;
        if self.added == 0 || count < FEWEST || !B::is_alone(connection).await? {
            return Ok(());
        }
        self.owed = 0;
        self.sweeps = (self.sweeps + 1) % ON;
        let after = if self.sweeps == 0 { 0 } else { self.after };
        let head = json!({ "after": after, "below": self.first, "count": count });
        self.after = int(super::reads::number(&run::<B>(connection, HEAD, &head).await?)?);
        if self.after == 0 {
            return Ok(());
        }
        let swept = json!({ "after": after, "last": self.after, "now": int(now.0) });
        run::<B>(connection, FORGET, &swept).await?;
        let mut moves = Vec::new();
        for number in run::<B>(connection, GOOD, &swept).await? {
            moves.push(json!({ "from": parsed::<i64>(&number)?, "to": self.take() }));
        }
        if !moves.is_empty() {
            let moves = Value::from(moves);
            run::<B>(connection, NAME, &moves).await?;
            run::<B>(connection, MOVE, &moves).await?;
        }
        Ok(())
    }

    const fn take(&mut self) -> i64 {
        let number = self.next;
        self.next = number.saturating_add(1);
        number
    }
}

impl ChannelAnswerSql {
    /// The answer that a charge keeps, if it keeps one.
    pub(super) fn new(charge: &Charge) -> Option<Result<Self, LedgerError>> {
        let Charge { charge, answered, .. } = charge;
        let answer = charge.answer.as_ref()?;
        Some(headers_text(&answer.headers).map(|headers| Self {
            number: *answered,
            scope: charge.scope.clone(),
            id: charge.id.as_str().to_owned(),
            presented: Bytes(answer.presented.to_vec()),
            status: i64::from(answer.status),
            headers,
            body: Bytes(answer.body.clone()),
            expires: int(answer.expires.0),
        }))
    }

    pub(super) fn into_answer(self) -> Result<StoredResponse, LedgerError> {
        Ok(StoredResponse {
            presented: fixed(&self.presented)?,
            status: narrow(self.status)?,
            headers: headers(&self.headers)?,
            body: self.body.0,
            expires: UnixTime(unsigned(self.expires)?),
        })
    }
}

async fn run<B: Backend>(
    connection: &mut B::Connection,
    template: &'static str,
    parameter: &Value,
) -> Result<Vec<String>, Failure> {
    B::run(connection, B::DIALECT.fixed(template), parameter.to_string()).await
}
