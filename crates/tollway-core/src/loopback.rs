//! Which hosts are this machine.

use url::{Host, Url};

/// Whether a URL's host is this machine, by number or by the one name that is reserved for it (RFC 6761, section
/// 6.3): the only hosts that money is spoken about with over plain http.
///
/// ```
/// use tollway_core::is_loopback;
/// assert!(is_loopback(&"http://127.0.0.1:4020".parse()?) && is_loopback(&"http://[::1]".parse()?));
/// assert!(!is_loopback(&"http://localhost.example.com".parse()?));
/// # Ok::<(), url::ParseError>(())
/// ```
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
