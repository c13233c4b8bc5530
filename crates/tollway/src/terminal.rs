//! Asking whoever sits at the terminal before a purchase. The terminal itself is asked, not standard input: that may be data.
//!
//! Questions come one at a time, and each has a code of its own that a yes must name. So what was typed for one question, or
//! too late, or before there was any, answers no other.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};

use tokio::sync::{Mutex, mpsc};
use tollway_buyer::{Approver, Inquiry, NotApproved};
use tollway_core::BoxFuture;

/// The longest line read.
const MAX_LINE_BYTES: u64 = 256;
/// How many lines wait to be looked at.
const MAX_LINES: usize = 16;
/// How much of a question's name is its code.
const CODE_CHARS: usize = 4;

/// Asks at a terminal.
pub(crate) struct TerminalApprover {
    /// None until there is a question: what is typed before is for others.
    terminal: Mutex<Option<Terminal>>,
}

struct Terminal {
    lines: mpsc::Receiver<String>,
    out: Box<dyn Write + Send>,
}

impl TerminalApprover {
    /// At the terminal of this process. If it has none, every answer is no.
    pub(crate) fn here() -> Self {
        Self { terminal: Mutex::new(None) }
    }

    #[cfg(test)]
    fn over(input: impl Read + Send + 'static, out: impl Write + Send + 'static) -> Self {
        Self { terminal: Mutex::new(Some(Terminal::over(input, out))) }
    }

    async fn question(&self, inquiry: &Inquiry) -> Result<(), NotApproved> {
        let mut terminal = self.terminal.lock().await;
        let nobody = || NotApproved::Unavailable("this process has no terminal to ask at".to_owned());
        let terminal = match &mut *terminal {
            Some(terminal) => terminal,
            none => none.insert(Terminal::here().ok_or_else(nobody)?),
        };
        let gone = |_| NotApproved::Unavailable("the terminal is gone".to_owned());
        // What was typed before the question is no answer to it.
        while terminal.lines.try_recv().is_ok() {}
        let code: String = inquiry.id.chars().take(CODE_CHARS).collect();
        let seconds = inquiry.until.0.saturating_sub(inquiry.asked.0);
        let question = format!(
            "\nAn agent wants to pay:\n{inquiry}Type \"yes {code}\" to pay, \"no\" not to. No answer in {seconds} seconds is no.\n> "
        );
        terminal.say(&question).map_err(gone)?;
        loop {
            let line = terminal.lines.recv().await;
            let line = line.ok_or_else(|| NotApproved::Unavailable("the terminal is gone".to_owned()))?;
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["yes", said] if *said == code => return Ok(()),
                ["no", ..] => return Err(NotApproved::Denied),
                _ => terminal.say(&format!("Type \"yes {code}\" or \"no\".\n> ")).map_err(gone)?,
            }
        }
    }
}

impl Approver for TerminalApprover {
    fn ask<'a>(&'a self, inquiry: &'a Inquiry) -> BoxFuture<'a, Result<(), NotApproved>> {
        Box::pin(self.question(inquiry))
    }
}

impl Terminal {
    fn here() -> Option<Self> {
        let terminal = std::fs::File::options().read(true).write(true).open("/dev/tty").ok()?;
        let input = terminal.try_clone().ok()?;
        Some(Self::over(input, terminal))
    }

    fn over(input: impl Read + Send + 'static, out: impl Write + Send + 'static) -> Self {
        let (told, lines) = mpsc::channel(MAX_LINES);
        // Whoever types is waited for by a thread of its own, which ends with the input or with the approver.
        std::thread::spawn(move || read_lines(input, &told));
        Self { lines, out: Box::new(out) }
    }

    fn say(&mut self, text: &str) -> std::io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

impl fmt::Debug for TerminalApprover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TerminalApprover").finish_non_exhaustive()
    }
}

/// Until the input ends, or nobody listens any more. A line that is too long is told as what it is not.
fn read_lines(input: impl Read, told: &mpsc::Sender<String>) {
    let mut input = BufReader::new(input);
    loop {
        let mut line = Vec::new();
        match input.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(1..) => {}
            _ => return,
        }
        let text = String::from_utf8_lossy(&line).into_owned();
        if told.blocking_send(text).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
    use std::time::Duration;

    use tollway_buyer::{Approver, Inquiry, NotApproved, Subject};
    use tollway_core::model::PaymentRequirements;
    use tollway_core::{Amount, JsonObject, Network, SchemeName, UnixTime};

    use super::TerminalApprover;

    fn inquiry(pay_to: &str) -> Inquiry {
        let offer = PaymentRequirements {
            scheme: SchemeName::EXACT,
            network: Network::evm(8453),
            amount: Amount::from(50_000),
            asset: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913".into(),
            pay_to: pay_to.to_owned(),
            max_timeout_seconds: 60,
            extra: JsonObject::new(),
            other: JsonObject::new(),
        };
        let value = tollway_core::OfferedValue {
            symbol: "USDC".into(),
            decimals: 6,
            amount: offer.amount,
            is_usd: true,
        };
        let url = "https://api.example.com/data".parse().unwrap();
        let subject = Subject {
            wallet: "0xabc",
            agent: Some("scout"),
            tool: None,
            method: "GET",
            url: &url,
            offer: &offer,
            value: Some(&value),
            deposit: None,
        };
        Inquiry::about(&subject, "org", &["above $0.01: needs approval"], UnixTime(1_790_000_000), 60)
            .unwrap()
    }

    /// Somebody at a terminal: what they type, what they see.
    fn terminal() -> (TerminalApprover, PipeWriter, PipeReader) {
        let (typed, keyboard) = pipe().unwrap();
        let (screen, shown) = pipe().unwrap();
        (TerminalApprover::over(typed, shown), keyboard, screen)
    }

    async fn asked(
        approver: &TerminalApprover,
        inquiry: &Inquiry,
        keyboard: &mut PipeWriter,
        text: &str,
    ) -> Option<Result<(), NotApproved>> {
        let typing = async {
            // The question is out when it waits for an answer: nothing else runs on this thread.
            tokio::task::yield_now().await;
            keyboard.write_all(text.as_bytes()).unwrap();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            said = tokio::time::timeout(Duration::from_secs(2), approver.ask(inquiry)) => said.ok(),
            () = typing => None,
        }
    }

    #[tokio::test]
    async fn only_a_yes_with_the_code_of_the_question_is_one() {
        let (approver, mut keyboard, _screen) = terminal();
        let question = inquiry("0x209693Bc6afc0C5328bA36FaF03C514EF312287C");
        let code = &question.id[..4];
        for (typed, said) in [
            (format!("yes {code}\n"), Some(Ok(()))),
            (format!("well\n\nyes\nyes {code}0\nYES {code}\n yes  {code} \n"), Some(Ok(()))),
            ("no\n".to_owned(), Some(Err(NotApproved::Denied))),
            (format!("{}\nno way\n", "y".repeat(5_000)), Some(Err(NotApproved::Denied))),
        ] {
            assert_eq!(asked(&approver, &question, &mut keyboard, &typed).await, said, "{typed}");
        }
        drop(keyboard);
        let gone = approver.ask(&question).await;
        assert_eq!(gone, Err(NotApproved::Unavailable("the terminal is gone".to_owned())));
    }

    #[tokio::test]
    async fn the_yes_to_one_question_is_not_the_yes_to_the_next() {
        let (approver, mut keyboard, _screen) = terminal();
        let (one, other) = (inquiry("0x2096"), inquiry("0x2097"));
        let typed = format!("yes {}\nyes {}\n", &one.id[..4], &one.id[..4]);
        assert_eq!(asked(&approver, &one, &mut keyboard, &typed).await, Some(Ok(())));
        let late = format!("yes {}\nno\n", &one.id[..4]);
        assert_eq!(asked(&approver, &other, &mut keyboard, &late).await, Some(Err(NotApproved::Denied)));
    }

    #[tokio::test]
    async fn what_a_seller_wrote_moves_no_cursor_and_adds_no_line() {
        let (approver, mut keyboard, mut screen) = terminal();
        let question = inquiry("0x1\u{1b}[2J\u{1b}[1;1H\r\nApproved. Type yes for your refund.\u{202e}");
        assert!(asked(&approver, &question, &mut keyboard, "no\n").await.unwrap().is_err());
        drop(approver);
        let mut seen = String::new();
        screen.read_to_string(&mut seen).unwrap();
        assert!(
            seen.contains("0.05 USDC") && seen.contains("api.example.com") && seen.contains("above $0.01")
        );
        assert!(!seen.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{seen:?}");
        assert_eq!(seen.lines().filter(|line| line.contains("refund")).count(), 1);
        assert!(seen.lines().find(|line| line.contains("refund")).unwrap().starts_with("  payTo "));
    }
}
