//! Which hosts a rule means: one by its name, or all below a name, on any port or on one. No part of a name ever matches:
//! who looks alike is somebody else.

use std::fmt;
use std::net::Ipv6Addr;

use url::{Host, Url};

/// A host, or everything below one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostPattern {
    host: String,
    is_below: bool,
    port: Option<u16>,
}

impl HostPattern {
    /// Reads `text` the way URLs are read: case and Unicode do not matter. `*.example.com` is every host below
    /// `example.com`, at any depth, and not `example.com` itself. `None`: it is no host.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Some(Self::exact(Host::Ipv6(address), None));
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) if !text.ends_with(']') => (name, Some(port.parse().ok()?)),
            _ => (text, None),
        };
        if let Some(parent) = name.strip_prefix("*.") {
            return match Host::parse(parent).ok()? {
                // A number has nothing below it.
                Host::Domain(_) if parent.contains('*') => None,
                host @ Host::Domain(_) => Some(Self { is_below: true, ..Self::exact(host, port) }),
                Host::Ipv4(_) | Host::Ipv6(_) => None,
            };
        }
        if name.contains('*') {
            return None;
        }
        Some(Self::exact(Host::parse(name).ok()?, port))
    }

    /// What is no host: equal to none.
    pub(crate) fn nowhere(text: &str) -> Self {
        Self { host: format!("\0{text}"), is_below: false, port: None }
    }

    fn exact(host: Host, port: Option<u16>) -> Self {
        Self { host: plain(&host), is_below: false, port }
    }

    pub(crate) fn matches(&self, url: &Url) -> bool {
        url.host().is_some_and(|host| self.means(&plain(&host)))
            && self.port.is_none_or(|port| url.port_or_known_default() == Some(port))
    }

    fn means(&self, host: &str) -> bool {
        if self.is_below {
            host.strip_suffix(&*self.host)
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|below| !below.is_empty())
        } else {
            host == self.host
        }
    }

    /// Whether everything that `other` means is meant by this one too.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let is_port_covered = self.port.is_none() || self.port == other.port;
        let is_host_covered = if other.is_below {
            self.is_below && (self.host == other.host || self.means(&other.host))
        } else {
            self.means(&other.host)
        };
        is_port_covered && is_host_covered
    }

    /// Whether it means all below a name without a dot, such as `*.com`.
    pub(crate) fn is_below_top_level(&self) -> bool {
        self.is_below && !self.host.contains('.')
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_below { "*." } else { "" })?;
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// The host of `url` as rules compare it, and budgets count it.
pub(crate) fn host_of(url: &Url) -> String {
    url.host().map(|host| plain(&host)).unwrap_or_default()
}

/// The host with its port, if that is not the one that the URL's scheme has by itself: who is pinned.
pub(crate) fn authority_of(url: &Url) -> String {
    let host = host_of(url);
    url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
}

/// One spelling: a name's closing dot, and an IPv4 address written as IPv6, reach the same machine.
fn plain<S: AsRef<str>>(host: &Host<S>) -> String {
    match host {
        Host::Domain(name) => name.as_ref().strip_suffix('.').unwrap_or(name.as_ref()).to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => match address.to_ipv4_mapped() {
            Some(address) => address.to_string(),
            None => format!("[{address}]"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::HostPattern;

    fn matches(pattern: &str, url: &str) -> bool {
        HostPattern::parse(pattern).unwrap().matches(&url.parse().unwrap())
    }

    #[test]
    fn a_pattern_means_what_is_below_it_and_nothing_that_looks_alike() {
        for (pattern, url, expected) in [
            ("*.example.com", "https://api.example.com/", true),
            ("*.example.com", "https://a.b.example.com/", true),
            ("*.EXAMPLE.com", "https://API.example.COM:8443/", true),
            ("*.example.com:443", "https://api.example.com/", true),
            ("*.example.com:443", "https://api.example.com:8443/", false),
            ("*.example.com", "https://example.com/", false),
            ("*.example.com", "https://badexample.com/", false),
            ("*.example.com", "https://example.com.evil.net/", false),
            ("*.example.com", "https://api.example.com.evil.net/", false),
            ("*.example.com", "https://evil.net/api.example.com", false),
            ("*.example.com", "https://api.example.com@evil.net/", false),
            ("*.b\u{fc}cher.example", "https://shop.xn--bcher-kva.example/", true),
            ("*.example.com", "https://api.ex\u{e4}mple.com/", false),
            // A Cyrillic letter that looks like ours.
            ("*.example.com", "https://api.ex\u{430}mple.com/", false),
            ("example.com", "https://ex\u{430}mple.com/", false),
            ("example.com", "https://api.example.com/", false),
            ("example.com", "https://example.com./", true),
            ("*.example.com", "https://api.example.com./", true),
            ("example.com.", "https://example.com/", true),
            ("127.0.0.1", "http://[::ffff:127.0.0.1]:80/", true),
            ("127.0.0.1", "http://2130706433/", true),
            ("api.example.com", "https://api%2Eexample.com/", true),
            ("api.example.com", "https://api\u{3002}example.com/", true),
        ] {
            assert_eq!(matches(pattern, url), expected, "{pattern}: {url}");
        }
    }

    #[test]
    fn what_is_no_host_is_no_pattern() {
        for text in [
            "",
            "*",
            "*.",
            "*.*",
            "a.*.com",
            "*api.example.com",
            "*.127.0.0.1",
            "*.[::1]",
            "https://example.com",
            "example.com/x",
            "example.com:",
            "example.com:99999",
            "user@example.com",
            "example.com?x",
        ] {
            assert_eq!(HostPattern::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_pattern_covers_what_it_means_in_every_case() {
        let covers =
            |a: &str, b: &str| HostPattern::parse(a).unwrap().covers(&HostPattern::parse(b).unwrap());
        assert!(covers("*.example.com", "api.example.com"));
        assert!(covers("*.example.com", "*.api.example.com"));
        assert!(covers("*.example.com", "*.example.com:443"));
        assert!(!covers("*.example.com:443", "*.example.com"));
        assert!(!covers("*.api.example.com", "*.example.com"));
        assert!(!covers("example.com", "*.example.com"));
        assert!(!covers("*.example.com", "example.com"));
    }
}
