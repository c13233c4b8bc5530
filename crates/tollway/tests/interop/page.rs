//! The page that a run writes: `docs/interop.md`, between two marks. What stands around the marks is written by hand.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cases::Case;
use crate::peers::{CLIENTS, FACILITATORS, Package, Peer, SERVERS};
use crate::run::Cell;
use crate::verdicts::{Expected, Row};

const BEGIN: &str = "<!-- written by the interop matrix: begin -->\n";
const END: &str = "<!-- written by the interop matrix: end -->\n";
/// Set to write the page instead of comparing it.
const WRITE: &str = "TOLLWAY_WRITE_INTEROP";

/// The page says what came of the run.
pub(crate) fn assert_current(cells: &[Cell]) {
    let path = root().join("docs/interop.md");
    let page = fs::read_to_string(&path).expect("the page is there");
    let (before, rest) = page.split_once(BEGIN).expect("the page has its first mark");
    let (_, after) = rest.split_once(END).expect("the page has its last mark");
    let current = format!("{before}{BEGIN}{}{END}{after}", written(cells));
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, current).expect("the page can be written");
    } else {
        assert!(page == current, "docs/interop.md is not what this run says: `cargo xtask codegen interop`");
    }
}

fn written(cells: &[Cell]) -> String {
    let mut page = String::new();
    partners(&mut page);
    let mut notes = Notes::default();
    let mut table = String::new();
    for facilitator in FACILITATORS {
        let here: Vec<_> = cells.iter().filter(|cell| cell.row.facilitator.id == facilitator.id).collect();
        let _ = writeln!(table, "\n### Settled by {}\n", facilitator.name.trim_matches('*'));
        let schemes = Case::ALL.iter().filter(|case| !case.is_extension());
        let headings: Vec<_> = schemes.map(|case| case.heading()).chain(["extensions"]).collect();
        let _ = writeln!(table, "| client | server | {} |", headings.join(" | "));
        let _ = writeln!(table, "|---|---|{}", "---|".repeat(headings.len()));
        let mut rows: Vec<Row> = Vec::new();
        for cell in &here {
            let is_new = rows
                .last()
                .is_none_or(|row| (row.client.id, row.server.id) != (cell.row.client.id, cell.row.server.id));
            if is_new {
                rows.push(cell.row);
            }
        }
        for row in rows {
            let cells = here
                .iter()
                .copied()
                .filter(|cell| (row.client.id, row.server.id) == (cell.row.client.id, cell.row.server.id));
            let (extensions, schemes): (Vec<&Cell>, Vec<&Cell>) =
                cells.partition(|cell| cell.case.is_extension());
            let mut said: Vec<_> = schemes.into_iter().map(|cell| notes.cell(&cell.expected)).collect();
            said.push(shared(&extensions, &mut notes));
            let _ = writeln!(table, "| {} | {} | {} |", row.client.name, row.server.name, said.join(" | "));
        }
    }
    notes.write(&mut page);
    page + &table
}

/// Several cases in one cell: each verdict once, with what it is about unless it is about all.
fn shared(cells: &[&Cell], notes: &mut Notes) -> String {
    let mut verdicts: Vec<(String, Vec<&str>)> = Vec::new();
    for cell in cells {
        let verdict = notes.cell(&cell.expected);
        match verdicts.iter_mut().find(|(known, _)| *known == verdict) {
            Some((_, about)) => about.push(cell.case.heading()),
            None => verdicts.push((verdict, vec![cell.case.heading()])),
        }
    }
    let whole = verdicts.len() == 1;
    let said = verdicts.into_iter().map(|(verdict, about)| match whole {
        true => verdict,
        false => format!("{verdict}: {}", about.join(", ")),
    });
    said.collect::<Vec<_>>().join("; ")
}

/// Who they are, by the lists that pin them.
fn partners(page: &mut String) {
    let _ = writeln!(page, "\n## Partners\n\n| package | version | as |\n|---|---|---|");
    let mut partners: BTreeMap<(&str, String), Vec<&str>> = BTreeMap::new();
    for (role, peers) in [("client", CLIENTS), ("server", SERVERS), ("facilitator", FACILITATORS)] {
        for peer in peers.iter().filter(|peer| !peer.is_ours()) {
            let (name, version) = pinned(peer);
            let roles = partners.entry((name, version)).or_default();
            if !roles.contains(&role) {
                roles.push(role);
            }
        }
    }
    for ((name, version), roles) in partners {
        let _ = writeln!(page, "| {name} | {version} | {} |", roles.join(", "));
    }
}

/// What a peer's list says which version of it is installed.
fn pinned(peer: &Peer) -> (&'static str, String) {
    let interop = root().join("interop");
    let list = |path: PathBuf| {
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    match peer.package {
        Package::Ours => unreachable!("ours has no list"),
        Package::Npm { directory, name } => {
            let lock: Value =
                serde_json::from_str(&list(interop.join(directory).join("package-lock.json"))).unwrap();
            let version = &lock["packages"][format!("node_modules/{name}")]["version"];
            (name, version.as_str().expect("the lock has the package").to_owned())
        }
        Package::Pip(name) => {
            let requirements = list(interop.join("python/requirements.txt"));
            let line = requirements.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("=="));
            (name, line.expect("the requirements have the package").to_owned())
        }
        Package::Crate(name) => {
            let lock = list(interop.join("rust/Cargo.lock"));
            let (_, rest) =
                lock.split_once(&format!("name = \"{name}\"\nversion = \"")).expect("it is locked");
            (name, rest.split('"').next().unwrap_or_default().to_owned())
        }
    }
}

/// Why a cell is not a pass, each reason told once.
#[derive(Default)]
struct Notes {
    said: Vec<String>,
}

impl Notes {
    fn cell(&mut self, expected: &Expected) -> String {
        match expected {
            Expected::Pass => "pass".to_owned(),
            Expected::Lacks { who, why } => {
                format!("peer lacks it [{}]", self.number(format!("{}: {why}", who.name)))
            }
            Expected::Wrong { who, why } => format!("**fail** [{}]", self.number(format!("{who}: {why}"))),
        }
    }

    fn number(&mut self, note: String) -> usize {
        let known = self.said.iter().position(|said| *said == note);
        known.unwrap_or_else(|| {
            self.said.push(note);
            self.said.len() - 1
        }) + 1
    }

    fn write(&self, page: &mut String) {
        let _ = writeln!(page, "\n## Why a cell is not a pass\n");
        for (index, note) in self.said.iter().enumerate() {
            let _ = writeln!(page, "{}. {note}", index + 1);
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
