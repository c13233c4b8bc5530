//! One measured number, for people in a table and for programs as JSON lines.

use serde_json::json;

/// One number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// The bench.
    pub(crate) bench: &'static str,
    /// What was measured: us, or whom we compare ourselves with.
    pub(crate) system: String,
    /// The settings, as `payers=100 batch=50`.
    pub(crate) params: String,
    /// What the number says.
    pub(crate) metric: &'static str,
    /// The number.
    pub(crate) value: f64,
    /// What it counts.
    pub(crate) unit: &'static str,
}

/// What the benches found.
#[derive(Debug, Default)]
pub(crate) struct Rows(Vec<Row>);

impl Rows {
    /// Hands in a number.
    pub(crate) fn push(&mut self, row: Row) {
        self.0.push(row);
    }

    /// Prints all of them.
    pub(crate) fn print(&self, machine: &str, json: bool) {
        if json {
            self.0.iter().for_each(|row| println!("{}", row.to_json(machine)));
        } else {
            println!("{machine}\n\n{}", self.table());
        }
    }

    fn table(&self) -> String {
        let head = ["bench", "system", "params", "metric", "value", "unit"].map(str::to_owned);
        let cells: Vec<[String; 6]> = std::iter::once(head).chain(self.0.iter().map(Row::cells)).collect();
        let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 6] = std::array::from_fn(width);
        let line = |row: &[String; 6]| {
            let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
                4 => format!("{cell:>width$}"),
                _ => format!("{cell:width$}"),
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        cells.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

impl Row {
    fn cells(&self) -> [String; 6] {
        let value = if self.value.abs() < 100.0 {
            format!("{:.2}", self.value)
        } else {
            format!("{:.0}", self.value)
        };
        [
            self.bench.to_owned(),
            self.system.clone(),
            self.params.clone(),
            self.metric.to_owned(),
            value,
            self.unit.to_owned(),
        ]
    }

    fn to_json(&self, machine: &str) -> serde_json::Value {
        json!({
            "bench": self.bench,
            "system": self.system,
            "params": self.params,
            "metric": self.metric,
            "value": self.value,
            "unit": self.unit,
            "machine": machine,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Row, Rows};

    #[test]
    fn a_table_lines_up_and_json_holds_every_field() {
        let row = |metric, value| Row {
            bench: "codec",
            system: "tollway".to_owned(),
            params: "v2".to_owned(),
            metric,
            value,
            unit: "us",
        };
        let mut rows = Rows::default();
        rows.push(row("decode", 1.234));
        rows.push(row("decode, slow", 12345.6));
        let table = rows.table();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines[0], "bench  system   params  metric        value  unit");
        assert_eq!(lines[1], "codec  tollway  v2      decode         1.23  us");
        assert_eq!(lines[2], "codec  tollway  v2      decode, slow  12346  us");
        let json = rows.0[0].to_json("a machine");
        assert_eq!((&json["metric"], &json["value"]), (&"decode".into(), &1.234.into()));
    }
}
