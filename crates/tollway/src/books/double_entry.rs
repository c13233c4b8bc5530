//! A strict reader of what the books write for Beancount and ledger-cli: the grammar that they use and no more, and sums that
//! balance. For tests: the programs themselves are not everywhere.

pub(super) mod check {
    use std::collections::BTreeMap;

    /// Exact decimals: digits and how many of them are behind the point.
    type Sums = BTreeMap<String, i128>;

    /// Checks a Beancount file; how many transactions it has.
    pub(crate) fn beancount(text: &str) -> usize {
        let mut lines = text.lines();
        for start in ["option \"title\" \"", "option \"operating_currency\" \"USD\"", "plugin \"beancount."] {
            assert!(
                lines.next().is_some_and(|line| line.starts_with(start) && line.ends_with('"')),
                "{text}"
            );
        }
        let (mut transactions, mut sums) = (0, Sums::new());
        for line in lines {
            match line {
                "" => balanced(&mut sums),
                line if line.starts_with("    ") => metadata(line.trim_start()),
                line if line.starts_with("  ") => {
                    let line = line.trim_start();
                    if line.starts_with(|first: char| first.is_ascii_lowercase()) {
                        metadata(line);
                    } else {
                        posting(line, &mut sums, |unit| unit.to_owned());
                    }
                }
                head => {
                    transactions += 1;
                    let (date, rest) = head.split_at(10);
                    check_date(date, '-');
                    let rest = rest.strip_prefix(" * ").or_else(|| rest.strip_prefix(" ! ")).expect("a flag");
                    assert_eq!(string(string(rest).strip_prefix(' ').expect("a blank")), "");
                }
            }
        }
        balanced(&mut sums);
        transactions
    }

    /// Checks a journal; how many transactions it has.
    pub(crate) fn ledger(text: &str) -> usize {
        let (mut transactions, mut sums) = (0, Sums::new());
        for line in text.lines() {
            match line {
                "" => balanced(&mut sums),
                line if line.starts_with("; tollway ") => {}
                line if line.starts_with("    ; ") => {
                    let (name, value) = line[6..].split_once(": ").expect("a tag");
                    assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{line}");
                    assert!(!value.contains([';', '[', ']', '(', ')', '=', '"']), "{line}");
                    assert!(
                        !value.ends_with(':') && !value.contains("  ") && !value.starts_with(' '),
                        "{line}"
                    );
                }
                line if line.starts_with("    ") => posting(&line[4..], &mut sums, |unit| {
                    unit.strip_prefix('"').and_then(|unit| unit.strip_suffix('"')).unwrap_or(unit).to_owned()
                }),
                head => {
                    transactions += 1;
                    let (date, rest) = head.split_at(10);
                    check_date(date, '/');
                    let payee =
                        rest.strip_prefix(" * ").or_else(|| rest.strip_prefix(" ! ")).expect("a flag");
                    assert!(!payee.is_empty() && !payee.contains([';', '|', '(', '"']), "{head}");
                    assert!(!payee.contains("  "), "{head}");
                }
            }
        }
        balanced(&mut sums);
        transactions
    }

    fn check_date(date: &str, separator: char) {
        let digits: Vec<&str> = date.split(separator).collect();
        assert_eq!(digits.iter().map(|part| part.len()).collect::<Vec<_>>(), [4, 2, 2], "{date}");
        assert!(digits.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit())), "{date}");
    }

    fn metadata(line: &str) {
        let (name, value) = line.split_once(": ").expect("metadata");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{line}");
        assert_eq!(string(value), "", "{line}");
    }

    /// Reads a string; what comes behind it.
    fn string(text: &str) -> &str {
        let mut rest = text.strip_prefix('"').expect("a string begins").char_indices();
        while let Some((at, character)) = rest.next() {
            match character {
                '\\' => drop(rest.next().expect("something is escaped")),
                '"' => return &text[at + 2..],
                inside => assert!(!inside.is_control(), "{text}"),
            }
        }
        panic!("a string has no end: {text}")
    }

    /// `Account  AMOUNT UNIT` or `Account  AMOUNT UNIT @ 1 USD`.
    fn posting(line: &str, sums: &mut Sums, name: impl Fn(&str) -> String) {
        let (account, amount) = line.split_once("  ").expect("two blanks");
        let mut parts = account.split(':');
        assert!(matches!(parts.next(), Some("Assets" | "Expenses" | "Income")), "{line}");
        for part in parts {
            assert!(part.starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit()), "{line}");
            assert!(part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{line}");
        }
        let words: Vec<&str> = amount.split(' ').collect();
        let (digits, unit) = (words[0], name(words[1]));
        assert!(unit.len() <= 24 && unit.starts_with(|c: char| c.is_ascii_uppercase()), "{line}");
        assert!(unit.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '.'), "{line}");
        let weighed = match &words[2..] {
            [] => unit,
            ["@", "1", "USD"] => "USD".to_owned(),
            other => panic!("{other:?}"),
        };
        *sums.entry(weighed).or_default() += scaled(digits);
    }

    /// In units of 10^-18.
    fn scaled(digits: &str) -> i128 {
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        assert!(fraction.len() <= 18 && !fraction.ends_with('0'), "{digits}");
        format!("{whole}{fraction:0<18}").parse().expect("a number")
    }

    fn balanced(sums: &mut Sums) {
        assert!(sums.values().all(|sum| *sum == 0), "{sums:?}");
        sums.clear();
    }
}
