//! Headers on their way through (RFC 9110, 7.6): what is of one connection stays there, and what only the proxy may say is
//! taken from whoever else says it.

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::problem::Problem;

/// What belongs to one connection, whether `Connection` names it or not.
const HOP_BY_HOP: [HeaderName; 7] =
    [CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
/// The same, without a name of the library's.
const HOP_BY_HOP_TOO: [&str; 3] = ["keep-alive", "proxy-connection", "proxy-authentication-info"];
/// How headers of our own begin.
const OWN: &str = "tollway-";

/// How this proxy calls itself in `Via`: random, so that two of them in a row are two.
#[derive(Debug)]
pub(crate) struct Via {
    name: String,
}

impl Via {
    pub(crate) fn random() -> anyhow::Result<Self> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes)?;
        Ok(Self { name: format!("tollway-{}", hex::encode(bytes)) })
    }

    /// Refuses what has come through here before.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let mut hops = headers.get_all(VIA).iter().filter_map(|value| value.to_str().ok());
        if hops.any(|hops| hops.contains(&self.name)) {
            let detail = "the request leads back to this proxy";
            return Err(Problem::new(http::StatusCode::LOOP_DETECTED, "loop", detail));
        }
        Ok(())
    }

    fn sign(&self, headers: &mut HeaderMap) {
        if let Ok(hop) = HeaderValue::from_str(&format!("1.1 {}", self.name)) {
            headers.append(VIA, hop);
        }
    }

    /// What goes on to the seller of a request's headers. The body is read whole, so its length is told anew.
    pub(crate) fn onward(&self, headers: &HeaderMap) -> HeaderMap {
        let mut onward = end_to_end(headers);
        for name in [HOST, CONTENT_LENGTH, EXPECT] {
            onward.remove(name);
        }
        remove_own(&mut onward);
        self.sign(&mut onward);
        onward
    }

    /// What goes back to the client of an answer's headers.
    pub(crate) fn back(&self, headers: &HeaderMap) -> HeaderMap {
        let mut back = end_to_end(headers);
        remove_own(&mut back);
        self.sign(&mut back);
        back
    }
}

/// What only the proxy and its client say to each other.
fn remove_own(headers: &mut HeaderMap) {
    let ours: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(OWN)).cloned().collect();
    for name in ours {
        headers.remove(name);
    }
}

fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let named: Vec<String> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let mut kept = headers.clone();
    for name in HOP_BY_HOP {
        kept.remove(name);
    }
    for name in HOP_BY_HOP_TOO {
        kept.remove(name);
    }
    for name in named {
        kept.remove(name.as_str());
    }
    kept
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::Via;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn what_is_of_one_connection_goes_no_further() {
        let via = Via { name: "tollway-1".to_owned() };
        let onward = via.onward(&headers(&[
            ("host", "elsewhere"),
            ("connection", "close, X-Hop"),
            ("connection", "x-too"),
            ("x-hop", "1"),
            ("x-too", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Bearer secret"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("content-length", "3"),
            ("expect", "100-continue"),
            ("upgrade", "h2c"),
            ("authorization", "Bearer for the seller"),
            ("via", "1.1 corporate"),
            ("x-kept", "1"),
        ]));
        let mut names: Vec<&str> = onward.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["authorization", "via", "x-kept"]);
        let hops: Vec<_> = onward.get_all("via").iter().collect();
        assert_eq!(hops, ["1.1 corporate", "1.1 tollway-1"]);
    }

    #[test]
    fn a_seller_cannot_speak_for_the_proxy() {
        let via = Via { name: "tollway-1".to_owned() };
        let back = via.back(&headers(&[
            ("tollway-paid", "0 USDC"),
            ("Tollway-Refused", "x"),
            ("proxy-authenticate", "Basic"),
            ("payment-response", "e30="),
        ]));
        let mut names: Vec<&str> = back.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["payment-response", "via"]);
    }

    #[test]
    fn what_came_through_before_is_a_loop() {
        let via = Via { name: "tollway-1".to_owned() };
        assert!(via.check(&headers(&[("via", "1.1 corporate, 1.1 tollway-1")])).is_err());
        assert!(via.check(&headers(&[("via", "1.1 tollway-2")])).is_ok());
        assert!(via.check(&via.onward(&HeaderMap::new())).is_err());
    }
}
