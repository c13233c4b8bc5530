//! Request fingerprints: which request an authorization was presented for.

use std::fmt;

use sha2::{Digest, Sha256};
use url::Url;

/// SHA-256 over method, canonical URL and body: the request a reservation is bound to.
///
/// An EIP-3009 authorization signs money, not a URL. Binding it here keeps a payment for one resource from
/// buying another of the same price.
///
/// ```
/// use tollway_core::Fingerprint;
/// let one = Fingerprint::of("GET", &"https://API.example.com:443/a/./b?x=%7e".parse()?, b"");
/// let same = Fingerprint::of("GET", &"https://api.example.com/a/b?x=~".parse()?, b"");
/// let other = Fingerprint::of("POST", &"https://api.example.com/a/b?x=~".parse()?, b"");
/// assert!(one == same && one != other);
/// # Ok::<(), url::ParseError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a request. `method` counts as it is written: methods are case-sensitive (RFC 9110,
    /// section 9.1).
    ///
    /// ```
    /// use tollway_core::Fingerprint;
    /// let url = "https://api.example.com/translate".parse()?;
    /// assert_ne!(Fingerprint::of("POST", &url, b"bonjour"), Fingerprint::of("POST", &url, b"salut"));
    /// # Ok::<(), url::ParseError>(())
    /// ```
    pub fn of(method: &str, url: &Url, body: &[u8]) -> Self {
        let mut hash = Sha256::new();
        // Lengths first: no part can be mistaken for another.
        for part in [method.as_bytes(), canonical_url(url).as_bytes(), body] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// A fingerprint that was written down.
    ///
    /// ```
    /// use tollway_core::Fingerprint;
    /// assert_eq!(Fingerprint::from_bytes([7; 32]).as_bytes(), &[7; 32]);
    /// ```
    pub const fn from_bytes(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The digest, for a store of reservations outside this process.
    ///
    /// ```
    /// use tollway_core::Fingerprint;
    /// let print = Fingerprint::of("GET", &"https://api.example.com/weather".parse()?, b"");
    /// assert_eq!(print.as_bytes()[..4], [0x22, 0xf1, 0x46, 0xb4]);
    /// # Ok::<(), url::ParseError>(())
    /// ```
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({})", hex::encode(self.0))
    }
}

/// One spelling for equivalent URLs (RFC 3986, section 6.2.2): the `url` crate settles scheme, host, default
/// port and dot segments; percent-encoding is settled here. The fragment never reaches a server.
///
/// ```
/// use tollway_core::canonical_url;
/// let url = "HTTPS://Example.com:443/a/../%7Euser%2fx#part".parse()?;
/// assert_eq!(canonical_url(&url), "https://example.com/~user%2Fx");
/// # Ok::<(), url::ParseError>(())
/// ```
pub fn canonical_url(url: &Url) -> String {
    let mut url = url.clone();
    url.set_fragment(None);
    let text = url.as_str();
    let mut canonical = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        canonical.push_str(&rest[..at]);
        rest = &rest[at..];
        match escaped_byte(rest) {
            Some(byte) if is_unreserved(byte) && !ends_in_stray_percent(&canonical) => {
                canonical.push(char::from(byte));
                rest = &rest[3..];
            }
            Some(byte) => {
                canonical.push_str(&format!("%{byte:02X}"));
                rest = &rest[3..];
            }
            None => {
                canonical.push('%');
                rest = &rest[1..];
            }
        }
    }
    canonical.push_str(rest);
    canonical
}

/// The byte of the escape at the start of `text`: a percent sign and two hexadecimal digits, nothing else.
fn escaped_byte(text: &str) -> Option<u8> {
    let digits = text.get(1..3).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u8::from_str_radix(digits, 16).ok()
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Whether one or two more characters would make an escape out of a percent sign that was none: undoing `%34`
/// after `%4` must not spell another URL. Escapes already written end in two digits and are not meant.
fn ends_in_stray_percent(canonical: &str) -> bool {
    let mut last = canonical.bytes().rev();
    match last.next() {
        Some(b'%') => true,
        Some(digit) => digit.is_ascii_hexdigit() && last.next() == Some(b'%'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Fingerprint, canonical_url};

    #[test]
    fn equivalent_urls_have_one_spelling() {
        for (url, canonical) in [
            ("HTTP://Example.com:80", "http://example.com/"),
            ("https://example.com/a/../b/./c", "https://example.com/b/c"),
            ("https://example.com/%7Euser%2fx", "https://example.com/~user%2Fx"),
            ("https://example.com/a?q=%41%zz#part", "https://example.com/a?q=A%zz"),
            ("https://example.com/%", "https://example.com/%"),
            // Undoing these escapes would make new ones.
            ("https://example.com/%%34%31", "https://example.com/%%341"),
            ("https://example.com/%a%34", "https://example.com/%a%34"),
            ("https://example.com/%+A", "https://example.com/%+A"),
        ] {
            assert_eq!(canonical_url(&url.parse().unwrap()), canonical);
        }
    }

    #[test]
    fn a_fingerprint_depends_on_method_url_and_body() {
        let url = "https://example.com/a".parse().unwrap();
        let other = "https://example.com/b".parse().unwrap();
        let base = Fingerprint::of("POST", &url, b"1");
        assert_eq!(base, Fingerprint::of("POST", &url, b"1"));
        assert_ne!(base, Fingerprint::of("PUT", &url, b"1"));
        assert_ne!(base, Fingerprint::of("POST", &other, b"1"));
        assert_ne!(base, Fingerprint::of("POST", &url, b"2"));
        assert_ne!(base, Fingerprint::of("POST", &url, b""));
    }
}
