//! Tables as they are in SQL, and the statements that read and write many rows at once.
//!
//! A statement has one parameter: a JSON array with an object for each row, which the database unfolds. So a statement
//! is prepared once, whatever the number of rows, and its text is nearly the same in both dialects. Bytes travel as
//! hexadecimal digits. A row comes back as a JSON array in the order of the columns. SQLite unfolds to its binary JSON:
//! as text, each column would parse its row anew.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What differs between the databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Dialect {
    #[cfg(feature = "sqlite")]
    Sqlite,
    #[cfg(feature = "postgres")]
    Postgres,
}

#[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "only PostgreSQL locks rows"))]
impl Dialect {
    /// The parameter as rows.
    fn rows(self) -> &'static str {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite => "jsonb_each($1) AS v",
            #[cfg(feature = "postgres")]
            Self::Postgres => "jsonb_array_elements($1::jsonb) AS v(value)",
        }
    }

    fn json_row(self, columns: &str) -> String {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite => format!("json_array({columns})"),
            #[cfg(feature = "postgres")]
            Self::Postgres => format!("CAST(json_build_array({columns}) AS TEXT)"),
        }
    }

    /// Keeps others from the rows that are read. One writer at a time needs no more than that in SQLite.
    fn locked(self, of: &str) -> String {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite => String::new(),
            #[cfg(feature = "postgres")]
            Self::Postgres => format!(" FOR UPDATE OF {of}"),
        }
    }

    /// A statement written for both: `{rows}`, `{row …}` around columns, `{int name}` and `{text name}` for what is in
    /// a parameter that is one object, `{list …}` of values, `{skip t}` to take only the rows of `t` that nobody else is at.
    pub(crate) fn statement(self, template: &str) -> String {
        let mut statement = String::with_capacity(template.len() + 64);
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            statement.push_str(before);
            let (token, after) = after.split_once('}').unwrap_or((after, ""));
            let (word, argument) = token.split_once(' ').unwrap_or((token, ""));
            match word {
                "rows" => statement.push_str(self.rows()),
                "row" => statement.push_str(&self.json_row(argument)),
                "int" => statement.push_str(&format!("CAST({} AS BIGINT)", self.argument(argument))),
                "list" => statement.push_str(&self.list(argument)),
                "skip" => statement.push_str(&self.skipping(argument)),
                _ => statement.push_str(&self.argument(argument)),
            }
            rest = after;
        }
        statement.push_str(rest);
        statement
    }

    /// [`Self::statement`] of what is always the same, made once.
    pub(crate) fn fixed(self, template: &'static str) -> Arc<str> {
        let recipe = Recipe { dialect: self, operation: "", of: template, columns: Vec::new() };
        recipe.text(|| self.statement(template))
    }

    fn list(self, argument: &str) -> String {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite => format!("CAST(json_group_array({argument}) AS TEXT)"),
            #[cfg(feature = "postgres")]
            Self::Postgres => format!("CAST(json_agg({argument}) AS TEXT)"),
        }
    }

    fn argument(self, name: &str) -> String {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite => format!("($1->>'{name}')"),
            #[cfg(feature = "postgres")]
            Self::Postgres => format!("($1::jsonb->>'{name}')"),
        }
    }

    fn skipping(self, of: &str) -> String {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite => String::new(),
            #[cfg(feature = "postgres")]
            Self::Postgres => format!(" FOR UPDATE OF {of} SKIP LOCKED"),
        }
    }
}

/// What a statement is made from. There are as many as the program has, so each thread keeps the text of each.
#[derive(PartialEq, Eq, Hash)]
struct Recipe {
    dialect: Dialect,
    operation: &'static str,
    of: &'static str,
    columns: Vec<&'static str>,
}

thread_local! {
    static TEXTS: RefCell<HashMap<Recipe, Arc<str>>> = RefCell::default();
}

impl Recipe {
    fn text(self, make: impl FnOnce() -> String) -> Arc<str> {
        TEXTS.with_borrow_mut(|texts| Arc::clone(texts.entry(self).or_insert_with(|| make().into())))
    }
}

/// A table: its columns in order, and those of its key.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    pub(crate) key: &'static [&'static str],
    pub(crate) columns: &'static [(&'static str, Kind)],
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Int,
    Bytes,
}

impl Spec {
    /// All columns as a JSON row; those in `blank` without their content.
    pub(crate) fn row(&self, dialect: Dialect, blank: &[&str]) -> String {
        self.row_with(dialect, |column| blank.contains(&column).then(|| "''".to_owned()))
    }

    /// All columns as a JSON row, some of them by something else.
    fn row_with(&self, dialect: Dialect, instead: impl Fn(&str) -> Option<String>) -> String {
        let columns = self.columns.iter().map(|(column, kind)| {
            instead(column).unwrap_or_else(|| match kind {
                Kind::Bytes => format!("hex({}.{column})", self.name),
                Kind::Text | Kind::Int => format!("{}.{column}", self.name),
            })
        });
        dialect.json_row(&columns.collect::<Vec<_>>().join(", "))
    }

    /// The rows with the given keys, locked in the order of their keys so that two who lock cannot wait for each other.
    pub(crate) fn select(&self, dialect: Dialect, blank: &[&'static str]) -> Arc<str> {
        self.once(dialect, "select", blank, || self.select_text(dialect, &self.row(dialect, blank)))
    }

    /// As [`Self::select`], with the content of `column` only where the key says that the row is to be `whole`.
    pub(crate) fn select_whole_or_not(&self, dialect: Dialect, column: &'static str) -> Arc<str> {
        self.once(dialect, "select whole or not", &[column], || {
            let content =
                format!("CASE WHEN (v.value->>'whole') = 'yes' THEN {}.{column} ELSE '' END", self.name);
            self.select_text(
                dialect,
                &self.row_with(dialect, |other| (other == column).then(|| content.clone())),
            )
        })
    }

    fn select_text(&self, dialect: Dialect, row: &str) -> String {
        let order: Vec<_> = self.key.iter().map(|column| format!("{}.{column}", self.name)).collect();
        format!(
            "SELECT {} FROM {} JOIN {} ON {} ORDER BY {}{}",
            row,
            dialect.rows(),
            self.name,
            self.matches(),
            order.join(", "),
            dialect.locked(self.name),
        )
    }

    /// Inserts rows that are not there; one answer for each that was not. `without` is given by the database.
    pub(crate) fn insert(&self, dialect: Dialect, without: &[&'static str]) -> Arc<str> {
        self.once(dialect, "insert", without, || self.insert_text(dialect, without))
    }

    fn insert_text(&self, dialect: Dialect, without: &[&str]) -> String {
        format!("{} ON CONFLICT DO NOTHING RETURNING CAST('' AS TEXT)", self.insert_into(dialect, without))
    }

    /// Inserts rows, or replaces those that are there.
    pub(crate) fn replace(&self, dialect: Dialect) -> Arc<str> {
        self.once(dialect, "replace", &[], || self.replace_text(dialect))
    }

    fn replace_text(&self, dialect: Dialect) -> String {
        let columns = self.columns.iter().filter(|(column, _)| !self.key.contains(column));
        let sets: Vec<_> = columns.map(|(column, _)| format!("{column} = excluded.{column}")).collect();
        let key = self.key.join(", ");
        format!("{} ON CONFLICT ({key}) DO UPDATE SET {}", self.insert_into(dialect, &[]), sets.join(", "))
    }

    /// Updates rows that are there, but for the columns in `without`.
    pub(crate) fn update(&self, dialect: Dialect, without: &[&'static str]) -> Arc<str> {
        self.once(dialect, "update", without, || self.update_text(dialect, without))
    }

    fn update_text(&self, dialect: Dialect, without: &[&str]) -> String {
        let columns = self.columns.iter().filter(|(column, _)| !self.key.contains(column));
        let columns = columns.filter(|(column, _)| !without.contains(column));
        let sets: Vec<_> =
            columns.map(|(column, kind)| format!("{column} = {}", value(column, *kind))).collect();
        format!(
            "UPDATE {} SET {} FROM {} WHERE {}",
            self.name,
            sets.join(", "),
            dialect.rows(),
            self.matches()
        )
    }

    /// Deletes the rows with the given keys.
    pub(crate) fn delete(&self, dialect: Dialect) -> Arc<str> {
        self.once(dialect, "delete", &[], || self.delete_text(dialect))
    }

    fn delete_text(&self, dialect: Dialect) -> String {
        let key = self.key.join(", ");
        let values: Vec<_> = self.key.iter().map(|column| value(column, self.kind(column))).collect();
        format!(
            "DELETE FROM {} WHERE ({key}) IN (SELECT {} FROM {})",
            self.name,
            values.join(", "),
            dialect.rows()
        )
    }

    fn once(
        &self,
        dialect: Dialect,
        operation: &'static str,
        columns: &[&'static str],
        text: impl FnOnce() -> String,
    ) -> Arc<str> {
        Recipe { dialect, operation, of: self.name, columns: columns.to_vec() }.text(text)
    }

    fn insert_into(&self, dialect: Dialect, without: &[&str]) -> String {
        let columns: Vec<_> = self.columns.iter().filter(|(column, _)| !without.contains(column)).collect();
        let names: Vec<_> = columns.iter().map(|(column, _)| *column).collect();
        let values: Vec<_> = columns.iter().map(|(column, kind)| value(column, *kind)).collect();
        // Without WHERE, SQLite takes ON for the beginning of a join.
        let (names, values) = (names.join(", "), values.join(", "));
        format!("INSERT INTO {} ({names}) SELECT {values} FROM {} WHERE true", self.name, dialect.rows())
    }

    fn matches(&self) -> String {
        let terms = self
            .key
            .iter()
            .map(|column| format!("{}.{column} = {}", self.name, value(column, self.kind(column))));
        terms.collect::<Vec<_>>().join(" AND ")
    }

    fn kind(&self, column: &str) -> Kind {
        self.columns.iter().find(|(name, _)| *name == column).map_or(Kind::Text, |(_, kind)| *kind)
    }
}

/// A column of the parameter's row.
fn value(column: &str, kind: Kind) -> String {
    match kind {
        Kind::Text => format!("(v.value->>'{column}')"),
        Kind::Int => format!("CAST(v.value->>'{column}' AS BIGINT)"),
        Kind::Bytes => format!("unhex(v.value->>'{column}')"),
    }
}

/// Bytes, which JSON has no word for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let digits = String::deserialize(deserializer)?;
        hex::decode(digits).map(Self).map_err(serde::de::Error::custom)
    }
}
