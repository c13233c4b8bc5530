//! Bars: at a terminal, and as an SVG file. Their lengths are whole numbers, counted from exact sums.

use tollway_core::Amount;
use tollway_evm::U256;

use crate::books::tally::{Tally, shown};
use crate::books::text::visible;

/// How many bars of a sort are drawn.
const BARS: usize = 12;
/// How many days are drawn.
const DAYS: usize = 31;
/// How long the longest bar is at a terminal.
const TERMINAL_WIDTH: u64 = 40;
/// The longest name shown.
const NAME_CHARS: usize = 32;

/// The sorts of bars, each under its title.
fn sections(tally: &Tally) -> [(&'static str, Vec<(String, Amount)>); 3] {
    [
        ("Spent by host", tally.by_host.largest(BARS)),
        ("Spent by agent", tally.by_agent.largest(BARS)),
        ("Spent by day", tally.by_day.last(DAYS)),
    ]
}

/// Totals, a fact a line.
fn totals(tally: &Tally) -> Vec<String> {
    let mut lines = vec![
        format!("{} spent in {} purchases", shown(tally.spent), tally.purchases),
        format!("{} earned", shown(tally.earned)),
        format!("{} may still be charged", shown(tally.open)),
    ];
    for (name, (sum, decimals)) in tally.other.iter().take(BARS) {
        lines.push(format!("{} {name}, not in the charts", sum.to_decimal(*decimals)));
    }
    if tally.alarms > 0 {
        lines.push(format!("{} with alarms: see tollway wallet history", tally.alarms));
    }
    if tally.is_over {
        lines.push("a sum is too large to count: these numbers are not whole".to_owned());
    }
    lines
}

/// For a terminal.
pub(crate) fn terminal(title: &str, tally: &Tally) -> String {
    let mut text = format!("{}\n", visible(title, 120));
    totals(tally).iter().for_each(|line| text.push_str(&format!("  {}\n", visible(line, 120))));
    for (title, bars) in sections(tally) {
        text.push_str(&format!("\n{title}\n"));
        let most = bars.iter().map(|(_, sum)| *sum).max().unwrap_or_default();
        for (name, sum) in &bars {
            let bar = "█".repeat(usize::try_from(length(*sum, most, TERMINAL_WIDTH)).unwrap_or_default());
            let name = visible(name, NAME_CHARS);
            let blanks = " ".repeat((NAME_CHARS + 1).saturating_sub(name.chars().count()));
            text.push_str(&format!("  {name}{blanks} {bar} {}\n", shown(*sum)));
        }
    }
    text
}

/// As an SVG file of its own: no scripts, no links, nothing that is loaded.
pub(crate) fn svg(title: &str, tally: &Tally) -> String {
    const ROW: usize = 24;
    const BAR_WIDTH: u64 = 420;
    let mut body = String::new();
    let mut y = 32;
    let mut line = |x: usize, y: usize, class: &str, text: &str| {
        body.push_str(&format!("  <text x=\"{x}\" y=\"{y}\" class=\"{class}\">{}</text>\n", escaped(text)));
    };
    line(16, y, "title", &visible(title, 120));
    for total in totals(tally) {
        y += ROW;
        line(16, y, "total", &visible(&total, 120));
    }
    for (title, bars) in sections(tally) {
        y += 2 * ROW;
        body.push_str(&format!("  <text x=\"16\" y=\"{y}\" class=\"title\">{title}</text>\n"));
        let most = bars.iter().map(|(_, sum)| *sum).max().unwrap_or_default();
        for (name, sum) in &bars {
            y += ROW;
            let width = length(*sum, most, BAR_WIDTH).max(1);
            let (name, sum) = (escaped(&visible(name, NAME_CHARS)), escaped(&shown(*sum)));
            let (top, behind) = (y - 13, 268 + width);
            body.push_str(&format!(
                "  <text x=\"252\" y=\"{y}\" class=\"name\">{name}</text>\n  <rect x=\"260\" y=\"{top}\" \
                 width=\"{width}\" height=\"16\"/>\n  <text x=\"{behind}\" y=\"{y}\" class=\"sum\">{sum}</text>\n"
            ));
        }
    }
    let height = y + ROW;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"860\" height=\"{height}\" viewBox=\"0 0 860 {height}\">\n  \
         <style>text {{ font: 13px sans-serif; fill: #222 }} .title {{ font-weight: bold }} .name {{ text-anchor: end }} \
         rect {{ fill: #3b7dd8 }}</style>\n  <rect width=\"860\" height=\"{height}\" style=\"fill: #fff\"/>\n{body}</svg>\n"
    )
}

/// How long a bar is of which the longest is `width`; the smallest sum is still one.
fn length(sum: Amount, most: Amount, width: u64) -> u64 {
    if sum == Amount::ZERO || most == Amount::ZERO {
        return 0;
    }
    // A sum near the end of what can be counted is divided first.
    let length = match sum.atomic().checked_mul(U256::from(width)) {
        Some(product) => product / most.atomic(),
        None => sum.atomic() / (most.atomic() / U256::from(width)),
    };
    u64::try_from(length).unwrap_or(width).clamp(1, width)
}

/// Text in XML.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use tollway_core::Amount;

    use super::{length, svg, terminal};
    use crate::books::entry::Entry;
    use crate::books::formats::tests::{golden, sample, spent};
    use crate::books::tally::Tally;

    fn tally() -> Tally {
        let mut tally = Tally::default();
        sample().iter().for_each(|entry| tally.add(entry));
        let evil = "<script>alert(1)</script>&\u{1b}[2J".to_owned();
        tally.add(&Entry {
            host: Some(evil.clone()),
            agent: Some(evil),
            amount: Amount::from(30_000),
            ..spent()
        });
        tally
    }

    #[test]
    fn a_report_is_as_it_was_agreed_on() {
        golden("report.txt", &terminal("tollway wallet 0xabc", &tally()));
        golden("report.svg", &svg("tollway wallet 0xabc", &tally()));
    }

    #[test]
    fn nothing_that_a_seller_wrote_is_markup_or_moves_the_cursor() {
        let drawn = svg("w", &tally());
        assert!(!drawn.contains("<script") && drawn.contains("&lt;script&gt;"));
        assert_eq!(drawn.matches('<').count(), drawn.matches('>').count());
        for text in [drawn, terminal("w", &tally())] {
            assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
        }
    }

    #[test]
    fn bars_are_as_long_as_their_sums() {
        let amount = |atomic: u64| Amount::from(atomic);
        assert_eq!(length(amount(0), amount(10), 40), 0);
        assert_eq!(length(amount(5), amount(10), 40), 20);
        assert_eq!(length(amount(1), amount(1_000_000), 40), 1);
        assert_eq!(length(Amount::MAX, Amount::MAX, 40), 40);
    }
}
