//! Where a payment may go: over what transport, after which redirects, for whose resource.
//!
//! A 402 proves nothing about who wrote it beyond the connection it came over. So what is paid for is the
//! request's own origin, or nothing.

use tollway_core::is_loopback;
use tollway_core::model::PaymentRequired;
use url::Url;

use crate::error::PaymentError;
use crate::policy::Policy;

/// Payments travel over https, or stay on this machine.
pub(crate) fn check_secure(url: &Url) -> Result<(), PaymentError> {
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback(url) => Ok(()),
        _ => Err(PaymentError::Insecure(Box::new(url.clone()))),
    }
}

/// The 402 came from where the request was sent: not from where some answer led it.
pub(crate) fn check_not_redirected(requested: &Url, answered: &Url) -> Result<(), PaymentError> {
    // A fragment never reaches a server.
    let bare = |url: &Url| {
        let mut url = url.clone();
        url.set_fragment(None);
        url
    };
    if bare(requested) == bare(answered) {
        return Ok(());
    }
    Err(PaymentError::Redirected {
        requested: Box::new(requested.clone()),
        answered: Box::new(answered.clone()),
    })
}

/// The resource's origin is the request's, or its host is one the owner trusts.
pub(crate) fn check_resource(
    required: &PaymentRequired,
    requested: &Url,
    policy: &Policy,
) -> Result<(), PaymentError> {
    let Some(resource) = &required.resource else { return Ok(()) };
    if is_of_seller(&resource.url, requested, policy) {
        return Ok(());
    }
    let named = requested.join(&resource.url).ok();
    let resource = match named {
        Some(named) if named.host().is_some() => named.origin().ascii_serialization(),
        _ => clip(&resource.url),
    };
    Err(PaymentError::ResourceMismatch { requested: Box::new(requested.clone()), resource })
}

/// Whether the resource at `url` is of the seller that was asked, or of a host that the owner trusts.
pub(crate) fn is_of_seller(url: &str, requested: &Url, policy: &Policy) -> bool {
    // A relative reference stays at home; `//elsewhere/` does not, and joining tells which it is.
    requested.join(url).is_ok_and(|named| {
        policy.trusts_resource_host(&named) || (named.host().is_some() && is_same_seller(&named, requested))
    })
}

/// One origin; or one host on the standard ports, where a seller behind a TLS proxy takes itself for `http`. The
/// payment goes to the request's own URL in either case.
fn is_same_seller(named: &Url, requested: &Url) -> bool {
    let behind_tls = (named.scheme(), requested.scheme()) == ("http", "https")
        && named.port().is_none()
        && requested.port().is_none()
        && named.host() == requested.host();
    behind_tls || named.origin() == requested.origin()
}

/// The URL as it may stand in an error: keys are passed in queries and before the `@`.
pub(crate) fn without_query(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// Foreign text as it may stand in an error: short, and on one line.
pub(crate) fn clip(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use tollway_core::model::{PaymentRequired, ResourceInfo};
    use tollway_core::{JsonObject, X402Version};

    use super::{Policy, check_resource, check_secure};

    fn names(resource: &str) -> PaymentRequired {
        PaymentRequired {
            version: X402Version::V2,
            error: None,
            resource: Some(ResourceInfo::new(resource)),
            accepts: Vec::new(),
            extensions: JsonObject::new(),
            other: JsonObject::new(),
        }
    }

    #[test]
    fn payments_travel_over_https_or_loopback() {
        for good in [
            "https://example.com",
            "http://localhost:8080",
            "http://127.0.0.1",
            "http://127.9.9.9",
            "http://[::1]:3000",
        ] {
            assert!(check_secure(&good.parse().unwrap()).is_ok(), "{good}");
        }
        for bad in [
            "http://example.com",
            "http://localhost.example.com",
            "http://10.0.0.1",
            "http://0.0.0.0",
            "http://localhost@example.com",
            "http://127.0.0.1.example.com",
            "ftp://localhost",
        ] {
            assert!(check_secure(&bad.parse().unwrap()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_resource_is_of_the_requests_origin() {
        let url = "https://api.example.com/data?x=1".parse().unwrap();
        let check = |resource: &str| check_resource(&names(resource), &url, &Policy::default());
        for good in [
            "https://api.example.com/data",
            "https://API.example.com:443/other",
            "/data",
            "https://a:b@api.example.com/",
            "http://api.example.com/data",
        ] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "https://bank.example.com/data",
            "https://api.example.com.evil.net/data",
            "https://api.example.com@evil.net/",
            "https://api.exаmple.com/data",
            "https://api.example.com./data",
            "https://api.example.com:8443/data",
            "http://api.example.com:8080/data",
            "http://bank.example.com/data",
            "//evil.net/data",
            "https:\\\\evil.net/",
            "data:text/plain,x",
            "https://",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_plain_request_is_never_for_a_resource_over_tls() {
        let url = "http://localhost/data".parse().unwrap();
        assert!(check_resource(&names("https://localhost/data"), &url, &Policy::default()).is_err());
    }

    #[test]
    fn a_trusted_resource_host_may_differ_from_the_requests() {
        let url = "https://api.example.com/".parse().unwrap();
        let policy = Policy::default().trust_resource_host("Origin.example.net");
        assert!(check_resource(&names("http://origin.example.net:8080/x"), &url, &policy).is_ok());
        assert!(check_resource(&names("http://other.example.net/x"), &url, &policy).is_err());
    }

    #[test]
    fn a_resource_host_trusted_on_a_port_is_trusted_there_only() {
        let url = "https://api.example.com/".parse().unwrap();
        let policy =
            Policy::default().trust_resource_host("origin.example.net:8080").trust_resource_host("::1");
        for (resource, expected) in [
            ("http://origin.example.net:8080/x", true),
            ("http://origin.example.net/x", false),
            ("http://[::1]:9/x", true),
        ] {
            assert_eq!(check_resource(&names(resource), &url, &policy).is_ok(), expected, "{resource}");
        }
    }
}
