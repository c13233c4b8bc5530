//! Foreign text in files that other programs read: made harmless for each of them. Nothing here is undone: what cannot be
//! told without danger is told in other words.

use sha2::{Digest, Sha256};

/// A field of CSV (RFC 4180). What a spreadsheet would take for a formula begins with an apostrophe instead.
pub(crate) fn csv(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let guarded = if is_formula { format!("'{text}") } else { text.to_owned() };
    // Lines and tabulators may be; what a terminal would act on may not.
    let guarded: String = guarded
        .chars()
        .flat_map(|character| match character {
            '\r' | '\n' | '\t' => vec![character],
            _ => shown(character),
        })
        .collect();
    if guarded.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", guarded.replace('"', "\"\""))
    } else {
        guarded
    }
}

/// A string of Beancount, with its quotes.
pub(crate) fn quoted(text: &str) -> String {
    let escaped: String = text
        .chars()
        .flat_map(|character| match character {
            '"' | '\\' => vec!['\\', character],
            _ => shown(character),
        })
        .collect();
    format!("\"{escaped}\"")
}

/// Text for the journal of ledger-cli, which knows no escapes: what could begin a note, a tag, a date or a formula is told
/// by its number in hexadecimal, as in URLs.
pub(crate) fn plain(text: &str) -> String {
    let text = text.trim();
    let mut told = String::new();
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        let is_inside = told.ends_with(|last: char| last.is_ascii_alphanumeric())
            && rest.peek().is_some_and(|next| !next.is_whitespace());
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' => told.push(character),
            '.' | '_' | '-' | '~' | '/' | '?' | '&' | '%' | '+' | ',' | '@' => told.push(character),
            // Inside of a word it begins no tag, and ends none.
            ':' if is_inside => told.push(character),
            ' ' if !told.ends_with(' ') => told.push(' '),
            other => {
                let mut bytes = [0; 4];
                other.encode_utf8(&mut bytes).bytes().for_each(|byte| told.push_str(&format!("%{byte:02X}")));
            }
        }
    }
    told
}

/// One part of an account's name, for Beancount and ledger-cli: a capital first, then letters, digits and hyphens. Names that
/// differ stay apart: one that does not come through as it is ends in `-X` and a part of its hash.
pub(crate) fn account(name: &str) -> String {
    let is_plain = name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.');
    let mut part = String::new();
    for character in name.chars().take(64) {
        let is_first = part.is_empty();
        match character {
            c if c.is_ascii_alphanumeric() && is_first => part.push(c.to_ascii_uppercase()),
            c if c.is_ascii_alphanumeric() => part.push(c.to_ascii_lowercase()),
            _ if is_first => part.push('X'),
            _ => part.push('-'),
        }
    }
    if is_plain {
        return part;
    }
    if part.is_empty() {
        part.push('X');
    }
    format!("{part}-X{}", hash(name, 12))
}

/// A name for an asset as commodities are named: its symbol, its network's number and what its address begins with; a hash
/// where the wallet does not know it, or it is no such asset. At most 24 characters, as Beancount has it.
pub(crate) fn commodity(symbol: Option<&str>, network: &str, asset: &str) -> String {
    let upper = |text: &str, most: usize| -> String {
        let kept = text.chars().filter(char::is_ascii_alphanumeric);
        kept.take(most).map(|c| c.to_ascii_uppercase()).collect()
    };
    let symbol = symbol
        .map(|symbol| upper(symbol, 6))
        .filter(|symbol| symbol.starts_with(|first: char| first.is_ascii_uppercase()));
    let is_known = symbol.is_some();
    let symbol = symbol.unwrap_or_else(|| "X".to_owned());
    let chain = network.rsplit(':').next().unwrap_or_default();
    let address = asset.strip_prefix("0x").unwrap_or(asset);
    let is_plain = is_known
        && network == format!("eip155:{chain}")
        && chain.len() <= 10
        && chain.bytes().all(|byte| byte.is_ascii_digit())
        && address.len() == 40
        && address.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_plain {
        return format!("{symbol}.{chain}.{}", upper(address, 6));
    }
    format!("{symbol}.{}", hash(&format!("{network}/{asset}"), 12).to_ascii_uppercase())
}

/// As people see it at a terminal: what moves the cursor or turns the writing round is told by its number.
pub(crate) fn visible(text: &str, most: usize) -> String {
    let mut told: String = text.chars().take(most).flat_map(shown).collect();
    if text.chars().count() > most {
        told.push('…');
    }
    told
}

/// A character, or its number if it is not one to be seen.
fn shown(character: char) -> Vec<char> {
    match character {
        '"' | '\'' | '\\' => vec![character],
        _ => character.escape_debug().collect(),
    }
}

fn hash(text: &str, digits: usize) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    hex.chars().take(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::{account, commodity, csv, plain, quoted, visible};

    #[test]
    fn no_field_of_csv_is_a_formula_or_two_fields() {
        for (text, field) in [
            ("plain", "plain"),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("=HYPERLINK(\"x\",\"y\")", "\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\""),
            ("two\r\nlines", "\"two\r\nlines\""),
            ("\u{1b}[2J\u{202e}", "\\u{1b}[2J\\u{202e}"),
        ] {
            assert_eq!(csv(text), field);
        }
    }

    #[test]
    fn no_text_ends_the_string_or_the_line_it_stands_in() {
        assert_eq!(quoted("a\"b\\c"), r#""a\"b\\c""#);
        assert_eq!(quoted("a\nb\u{202e}"), "\"a\\nb\\u{202e}\"");
        assert_eq!(plain("a  ; note:"), "a %20%3B note%3A");
        assert_eq!(plain("a :tag: b:c https://x:1/"), "a %3Atag%3A b:c https://x:1/");
        assert_eq!(plain("[=2012/01/01] x\ny"), "%5B%3D2012/01/01%5D x%0Ay");
        assert_eq!(visible("\u{1b}[2Jok\u{202e}", 20), "\\u{1b}[2Jok\\u{202e}");
        assert_eq!(visible("abcdef", 3), "abc…");
    }

    #[test]
    fn names_that_differ_have_accounts_and_commodities_that_differ() {
        let names = [
            "api.example.com",
            "api-example.com",
            "api_example.com",
            "API.example.com",
            "api.example.com:8443",
            "[::1]",
            "",
            "9lives.example",
            "b\u{fc}cher",
            "api-example-com",
        ];
        let accounts: std::collections::BTreeSet<String> = names.iter().map(|name| account(name)).collect();
        assert_eq!(accounts.len(), names.len());
        assert_eq!(account("api.example.com"), "Api-example-com");
        for part in accounts {
            assert!(part.starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit()), "{part}");
            assert!(part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{part}");
        }
        let usdc = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913";
        assert_eq!(commodity(Some("USDC"), "eip155:8453", usdc), "USDC.8453.833589");
        let unknown = commodity(None, "eip155:8453", usdc);
        assert!(unknown.starts_with("X.") && unknown.len() == 14, "{unknown}");
        assert_eq!(commodity(Some("1\"; x"), "eip155:8453", usdc), unknown);
        let far = commodity(Some("LONGSYMBOL"), "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "EPjF");
        assert!(far.starts_with("LONGSY.") && far.len() <= 24, "{far}");
        assert!(commodity(Some("LONGSYMBOL"), "eip155:4294967295", usdc).len() <= 24);
    }
}
