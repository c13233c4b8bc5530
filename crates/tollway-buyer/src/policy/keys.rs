//! One table of a policy file, key by key: what is asked for and what is there, with the path of each in every fault.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

use toml::{Table, Value};

/// The most entries that a list may have.
const MAX_ENTRIES: usize = 1_000;

/// Something about a key of a policy file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyNote {
    /// The key, with those it is in: `team.research.budget.day`. Empty for the file as a whole.
    pub key: String,
    /// What about it.
    pub message: String,
}

impl fmt::Display for PolicyNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.key, self.message)
        }
    }
}

/// What reading has found out so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) faults: Vec<PolicyNote>,
    /// Every key that was asked for, there or not.
    pub(crate) asked: BTreeSet<&'static str>,
}

/// A table that is being read. What nobody asked for is a fault.
#[derive(Debug)]
pub(crate) struct Keys<'a> {
    path: String,
    table: Table,
    asked: Vec<&'static str>,
    report: &'a mut Report,
}

impl<'a> Keys<'a> {
    pub(crate) fn new(path: &str, table: Table, report: &'a mut Report) -> Self {
        Self { path: path.to_owned(), table, asked: Vec::new(), report }
    }

    /// Ends the reading.
    pub(crate) fn done(self) {
        for key in self.table.keys() {
            let message = format!("is unknown; known here: {}", self.asked.join(", "));
            self.report.faults.push(PolicyNote { key: join(&self.path, key), message });
        }
    }

    pub(crate) fn fault(&mut self, key: &str, message: impl Into<String>) {
        self.report.faults.push(PolicyNote { key: join(&self.path, key), message: message.into() });
    }

    /// How many faults there are so far: what is missing is only told where what is there could be read.
    pub(crate) fn faults(&self) -> usize {
        self.report.faults.len()
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A text that `read` understands; what it says otherwise is the fault.
    pub(crate) fn text<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.take(key)?;
        self.read(key, &value, read)
    }

    /// A list of texts, or one text alone.
    pub(crate) fn list<T: Ord>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<BTreeSet<T>> {
        let value = self.take(key)?;
        Some(self.entries(key, &value, read))
    }

    pub(crate) fn switch(&mut self, key: &'static str) -> bool {
        match self.take(key) {
            None => false,
            Some(Value::Boolean(is_on)) => is_on,
            Some(_) => {
                self.fault(key, "must be true or false");
                false
            }
        }
    }

    pub(crate) fn integer(&mut self, key: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        let number = match self.take(key)? {
            Value::Integer(number) => u32::try_from(number).ok().filter(|number| range.contains(number)),
            _ => None,
        };
        if number.is_none() {
            self.fault(key, format!("must be a whole number from {} to {}", range.start(), range.end()));
        }
        number
    }

    /// A table in this one.
    pub(crate) fn table(&mut self, key: &'static str) -> Option<Keys<'_>> {
        match self.take(key)? {
            Value::Table(table) => Some(Keys::new(&join(&self.path, key), table, self.report)),
            _ => {
                self.fault(key, format!("must be a table: [{}]", join(&self.path, key)));
                None
            }
        }
    }

    /// Tables in this one, each with a name of the file's choice.
    pub(crate) fn named(&mut self, key: &'static str) -> Vec<(String, Table)> {
        let Some(names) = self.table(key) else { return Vec::new() };
        let Keys { path, table, report, .. } = names;
        let mut tables = Vec::new();
        for (name, value) in table {
            match value {
                Value::Table(table) => tables.push((name, table)),
                _ => report
                    .faults
                    .push(PolicyNote { key: join(&path, &name), message: "must be a table".to_owned() }),
            }
        }
        tables
    }

    /// Each of the tables of a list, told apart by its number, from 0.
    pub(crate) fn each(&mut self, key: &'static str, mut read: impl FnMut(&mut Keys<'_>)) {
        let tables = match self.take(key) {
            None => return,
            Some(Value::Array(tables)) if tables.len() <= MAX_ENTRIES => tables,
            Some(Value::Array(_)) => return self.fault(key, format!("has more than {MAX_ENTRIES} entries")),
            Some(_) => {
                return self.fault(key, format!("must be a list of tables: [[{}]]", join(&self.path, key)));
            }
        };
        for (number, table) in tables.into_iter().enumerate() {
            let name = format!("{key}[{number}]");
            match table {
                Value::Table(table) => {
                    let mut keys = Keys::new(&join(&self.path, &name), table, self.report);
                    read(&mut keys);
                    keys.done();
                }
                _ => self.fault(&name, "must be a table"),
            }
        }
    }

    /// Lists under keys of the file's choice.
    pub(crate) fn lists<K, T: Ord>(
        &mut self,
        key: &'static str,
        name: impl Fn(&str) -> Result<K, String>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<(K, BTreeSet<T>)> {
        let Some(mut lists) = self.table(key) else { return Vec::new() };
        let table = std::mem::take(&mut lists.table);
        let mut found = Vec::new();
        for (text, value) in table {
            let entries = lists.entries(&text, &value, &read);
            match name(&text) {
                Ok(name) => found.push((name, entries)),
                Err(message) => lists.fault(&text, message),
            }
        }
        found
    }

    fn entries<T: Ord>(
        &mut self,
        key: &str,
        value: &Value,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> BTreeSet<T> {
        let single = std::slice::from_ref(value);
        let entries = value.as_array().map_or(single, Vec::as_slice);
        if entries.len() > MAX_ENTRIES {
            self.fault(key, format!("has more than {MAX_ENTRIES} entries"));
            return BTreeSet::new();
        }
        entries.iter().filter_map(|entry| self.read(key, entry, &read)).collect()
    }

    fn read<T>(&mut self, key: &str, value: &Value, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let read = match value.as_str() {
            Some(text) => read(text),
            None => Err("must be in quotes".to_owned()),
        };
        read.map_err(|message| self.fault(key, message)).ok()
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.asked.push(key);
        self.report.asked.insert(key);
        self.table.remove(key)
    }
}

fn join(path: &str, key: &str) -> String {
    let is_plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-[]".contains(&byte));
    let key = if is_plain { key.to_owned() } else { format!("{key:?}") };
    match (path.is_empty(), key.is_empty()) {
        (true, _) => key,
        (_, true) => path.to_owned(),
        _ => format!("{path}.{key}"),
    }
}
