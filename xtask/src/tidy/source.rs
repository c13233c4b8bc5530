//! Rust source with comments and string contents told apart from code: enough to count braces and to find
//! words in literals, not a parser.

/// A piece of Rust source, by what it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Code,
    Comment,
    Literal,
}

/// The source with everything but code blanked out. Line breaks stay where they are.
pub(super) fn code(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let (length, part) = token(&chars[at..]);
        let end = (at + length).min(chars.len());
        let shown = |c: &char| if part == Part::Code || *c == '\n' { *c } else { ' ' };
        code.extend(chars[at..end].iter().map(shown));
        at = end;
    }
    code
}

/// The literals with their quotes, and the lines they begin on.
pub(super) fn literals(source: &str) -> Vec<(usize, String)> {
    let chars: Vec<char> = source.chars().collect();
    let (mut at, mut line) = (0, 1);
    let mut literals = Vec::new();
    while at < chars.len() {
        let (length, part) = token(&chars[at..]);
        let end = (at + length).min(chars.len());
        if part == Part::Literal {
            literals.push((line, chars[at..end].iter().collect()));
        }
        line += chars[at..end].iter().filter(|c| **c == '\n').count();
        at = end;
    }
    literals
}

/// The line where the file's tests begin, by the custom of keeping them last.
pub(super) fn tests_begin(source: &str) -> usize {
    source
        .lines()
        .position(|line| line.trim_start().starts_with("#[cfg(test)]"))
        .map_or(usize::MAX, |index| index + 1)
}

/// How long the token at the start is, and what it belongs to. Code is taken one character or word at a time.
fn token(chars: &[char]) -> (usize, Part) {
    let starts = |text: &str| text.chars().enumerate().all(|(at, c)| chars.get(at) == Some(&c));
    if starts("//") {
        return (until(chars, 0, "\n"), Part::Comment);
    }
    if starts("/*") {
        return (until(chars, 2, "*/"), Part::Comment);
    }
    let word = chars.iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
    let raw = matches!(&chars[..word], ['r'] | ['b' | 'c', 'r']);
    let hashes = chars[word..].iter().take_while(|c| **c == '#').count();
    if raw && chars.get(word + hashes) == Some(&'"') {
        let close = format!("\"{}", "#".repeat(hashes));
        return (until(chars, word + hashes + 1, &close), Part::Literal);
    }
    if word > 0 {
        return (word, Part::Code);
    }
    match chars {
        ['"', ..] => (quoted(chars), Part::Literal),
        // A character, not a lifetime: '{' or '\u{1}'.
        ['\'', '\\', ..] => (until(chars, 3, "'"), Part::Literal),
        ['\'', _, '\'', ..] => (3, Part::Literal),
        _ => (1, Part::Code),
    }
}

/// The length up to and with the first `close` at or after `from`; to the end if there is none.
fn until(chars: &[char], from: usize, close: &str) -> usize {
    let close: Vec<char> = close.chars().collect();
    let found =
        chars.get(from..).and_then(|rest| rest.windows(close.len()).position(|window| window == close));
    found.map_or(chars.len(), |at| from + at + close.len())
}

/// The length of a string with escapes.
fn quoted(chars: &[char]) -> usize {
    let mut at = 1;
    while let Some(character) = chars.get(at) {
        match character {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::{code, literals, tests_begin};

    #[test]
    fn code_comments_and_literals_are_told_apart() {
        let source = "let a = \"{ \\\" // x\"; // {\nlet b = '{'; /* { */ let c: &'a str = r#\"{\"}\"#; }";
        let code = code(source);
        assert_eq!(code.matches('{').count(), 0);
        assert_eq!(code.matches('}').count(), 1);
        assert!(code.contains("let c: &'a str"));
        assert_eq!(code.lines().count(), 2);
        let literals = literals(source);
        assert_eq!(
            literals,
            [(1, "\"{ \\\" // x\"".to_owned()), (2, "'{'".to_owned()), (2, "r#\"{\"}\"#".to_owned()),]
        );
    }

    #[test]
    fn tests_begin_at_their_module() {
        assert_eq!(tests_begin("fn a() {}\n\n#[cfg(test)]\nmod tests {}\n"), 3);
        assert_eq!(tests_begin("fn a() {}"), usize::MAX);
    }
}
