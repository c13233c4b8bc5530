//! How much of the processor a process or a thread has used, as the kernel counts it: in ticks of 10 ms.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// Linux shows processor time in hundredths of a second on every architecture it runs on today.
const TICK: Duration = Duration::from_millis(10);

/// What this process has used, all threads.
pub(super) fn of_this_process() -> Result<Duration> {
    read("/proc/self/stat")
}

/// What the calling thread has used.
pub(super) fn of_this_thread() -> Result<Duration> {
    read("/proc/thread-self/stat")
}

/// What another process has used.
pub(super) fn of_process(id: u32) -> Result<Duration> {
    read(format!("/proc/{id}/stat"))
}

fn read(path: impl AsRef<Path>) -> Result<Duration> {
    let text = std::fs::read_to_string(path).context("processor time is read from /proc")?;
    used(&text).context("/proc shows no processor time")
}

/// User and system time, the fourteenth and fifteenth field. The second, the name, may hold anything.
fn used(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u32>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some(TICK * (user + system))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn a_name_with_spaces_and_parentheses_shifts_nothing() {
        let stat = "7 (a) b (c) R 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20";
        assert_eq!(super::used(stat), Some(Duration::from_secs(3)));
        assert_eq!(super::used("7 (a) R"), None);
    }
}
