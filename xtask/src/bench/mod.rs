//! Measurements. Each bench is a file here: it builds what it measures, warms it up, and hands in [`Row`]s.

mod codec;
mod row;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

pub(crate) use row::{Row, Rows};

use crate::process::{cargo, must};

/// What there is to measure: a name, what it tells, and how.
const BENCHES: [Bench; 1] = [("codec", "reading and writing protocol objects, one core", codec::run)];

type Bench = (&'static str, &'static str, fn(&mut Rows) -> Result<()>);

/// What to measure, and for whom.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The bench; `all` for every one; without a name, the list
    name: Option<String>,
    /// One JSON object a line instead of a table
    #[arg(long)]
    json: bool,
}

/// Runs a bench, in a release build of this program.
///
/// # Errors
/// There is no such bench, or it fails.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let Some(name) = arguments.name.as_deref() else {
        println!("{}", machine());
        for (name, tells, _) in BENCHES {
            println!("{name:12} {tells}");
        }
        return Ok(());
    };
    let chosen: Vec<_> = BENCHES.iter().filter(|(known, ..)| name == "all" || name == *known).collect();
    if chosen.is_empty() {
        bail!("there is no bench {name:?}: `cargo xtask bench` lists them");
    }
    // A number from a debug build is worse than none.
    if cfg!(debug_assertions) {
        let mut command =
            cargo(root, &["run", "--quiet", "--release", "--package", "xtask", "--", "bench", name]);
        if arguments.json {
            command.arg("--json");
        }
        return must(&mut command);
    }
    let mut rows = Rows::default();
    for (_, _, bench) in chosen {
        bench(&mut rows)?;
    }
    rows.print(&machine(), arguments.json);
    Ok(())
}

/// The median time of `runs` runs.
pub(crate) fn median(runs: usize, mut run: impl FnMut()) -> Duration {
    let mut times: Vec<_> = (0..runs.max(1))
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

/// The machine the numbers are from.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or(std::env::consts::ARCH, |(_, model)| model);
    format!("{cores} cores, {model}, {}", std::env::consts::OS)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::median;

    #[test]
    fn the_median_ignores_one_slow_run() {
        let mut runs = 0;
        let median = median(3, || {
            runs += 1;
            if runs == 1 {
                std::thread::sleep(Duration::from_millis(60));
            }
        });
        assert_eq!(runs, 3);
        assert!(median < Duration::from_millis(50));
    }
}
