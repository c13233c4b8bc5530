//! Where a request goes: what its first line says, what the owner allows, and over which transport.

use std::io;
use std::net::{IpAddr, SocketAddr};

use anyhow::{bail, ensure};
use http::header::{HOST, UPGRADE};
use http::request::Parts;
use http::{Method, StatusCode, Uri};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tollway_core::{is_loopback, is_public};
use url::{Host, Url};

use super::problem::Problem;

/// Which addresses may be reached through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// All that this machine reaches: whoever asks is on it.
    Anywhere,
    /// Those of the public internet: whoever asks may be elsewhere, and what is private here is not theirs.
    Internet,
}

/// Over what a request came in.
#[derive(Clone, Debug)]
pub(crate) enum Entrance {
    /// The proxy's own port.
    Port,
    /// TLS that the proxy ended, inside a tunnel to this origin.
    Inside(Url),
}

/// The rules on where requests go.
#[derive(Debug)]
pub(crate) struct Routes {
    upstream: Option<Url>,
    upgrade: bool,
    reach: Reach,
    /// Whether the port can only be reached from this machine, and so is called by a name of this machine.
    is_local: bool,
}

/// Where one request goes.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) url: Url,
    /// The origin that the client takes itself to talk to.
    pub(crate) own: Url,
}

impl Routes {
    pub(crate) fn new(
        upstream: Option<Url>,
        upgrade: bool,
        reach: Reach,
        is_local: bool,
    ) -> anyhow::Result<Self> {
        if let Some(url) = &upstream {
            ensure!(matches!(url.scheme(), "http" | "https"), "--upstream: must be an http or https URL");
            ensure!(
                url.username().is_empty() && url.password().is_none(),
                "--upstream: no user and password"
            );
            ensure!(url.query().is_none() && url.fragment().is_none(), "--upstream: no query, no fragment");
            if url.scheme() == "http" && !is_loopback(url) && !upgrade {
                bail!(
                    "--upstream: nothing is paid in plaintext beyond this machine; use https, or --upgrade"
                );
            }
        }
        Ok(Self { upstream, upgrade, reach, is_local })
    }

    /// Where the request goes.
    pub(crate) fn target(&self, entrance: &Entrance, parts: &Parts) -> Result<Target, Problem> {
        check_method(parts)?;
        let host = only_host(parts)?;
        let target = match (entrance, &self.upstream) {
            (Entrance::Inside(origin), _) => {
                let url = joined(origin, own_path(&parts.uri)?)?;
                Target { url, own: origin.clone() }
            }
            (Entrance::Port, Some(upstream)) => self.upstream_target(upstream, host, &parts.uri)?,
            (Entrance::Port, None) => {
                let url = absolute(&parts.uri)?;
                Target { own: url.clone(), url }
            }
        };
        let url = if self.upgrade { upgraded(target.url)? } else { target.url };
        self.check_reach(&url)?;
        Ok(Target { url, own: target.own })
    }

    /// Refuses addresses out of reach. Names are looked at where they are looked up, by [`Guide`].
    pub(crate) fn check_reach(&self, url: &Url) -> Result<(), Problem> {
        let is_allowed = match (self.reach, url.host()) {
            (Reach::Anywhere, _) => true,
            (Reach::Internet, Some(Host::Ipv4(address))) => is_public(address.into()),
            (Reach::Internet, Some(Host::Ipv6(address))) => is_public(address.into()),
            (Reach::Internet, _) => !is_loopback(url),
        };
        if is_allowed { Ok(()) } else { Err(out_of_reach()) }
    }

    pub(crate) fn has_upstream(&self) -> bool {
        self.upstream.is_some()
    }

    pub(crate) fn guide(&self) -> Guide {
        Guide { reach: self.reach }
    }

    /// The port is the upstream. A page that made its own name lead here would be told apart by that name.
    fn upstream_target(&self, upstream: &Url, host: Option<&str>, uri: &Uri) -> Result<Target, Problem> {
        let named = host.and_then(|host| format!("http://{host}/").parse::<Url>().ok());
        let Some(own) = named.filter(|own| !self.is_local || is_loopback(own)) else {
            let detail = "the Host header does not name this machine";
            return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "host", detail));
        };
        let base = upstream.path().trim_end_matches('/');
        let url = joined(upstream, &format!("{base}{}", own_path(uri)?))?;
        if !url.path().starts_with(base) {
            return Err(Problem::bad_request("the path leads out of the upstream's"));
        }
        Ok(Target { url, own })
    }
}

/// Looks names up, and gives out what may be connected to: all of a name's addresses, or none. They are looked at where the
/// connection is made, so a name that leads elsewhere the second time leads nowhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guide {
    reach: Reach,
}

impl Guide {
    pub(crate) async fn find(self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
        let is_allowed = |address: IpAddr| self.reach == Reach::Anywhere || is_public(address);
        if found.is_empty() || !found.iter().all(|found| is_allowed(found.ip())) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "no address that may be reached"));
        }
        Ok(found)
    }
}

impl Resolve for Guide {
    fn resolve(&self, name: Name) -> Resolving {
        let guide = *self;
        Box::pin(async move { Ok(Box::new(guide.find(name.as_str(), 0).await?.into_iter()) as Addrs) })
    }
}

pub(crate) fn out_of_reach() -> Problem {
    let detail = "this proxy listens beyond its machine, so it leads to no private address";
    Problem::new(StatusCode::FORBIDDEN, "reach", detail)
}

fn check_method(parts: &Parts) -> Result<(), Problem> {
    // It would show to the client what the proxy adds.
    if parts.method == Method::TRACE || parts.method == Method::CONNECT {
        return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", "no TRACE here, and no tunnel"));
    }
    let wants = |protocol: &str| {
        let values = parts.headers.get_all(UPGRADE).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|named| named.trim().eq_ignore_ascii_case(protocol))
    };
    if wants("websocket") {
        let detail = "WebSockets do not go through this proxy: nothing in them is paid for; connect directly";
        return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "upgrade", detail));
    }
    Ok(())
}

/// The one `Host`. It decides nothing but whether the client knows where it is: the first line says where to go.
fn only_host(parts: &Parts) -> Result<Option<&str>, Problem> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next().map(|host| host.to_str());
    match (host.transpose(), hosts.next()) {
        (Ok(host), None) => Ok(host),
        _ => Err(Problem::bad_request("there must be one Host header")),
    }
}

/// What a client of a proxy asks for: a whole URL.
fn absolute(uri: &Uri) -> Result<Url, Problem> {
    let Some(authority) = uri.authority() else {
        let detail =
            "this is a proxy: set it as HTTP_PROXY, or start it with --upstream URL to be used as a base URL";
        return Err(Problem::bad_request(detail));
    };
    if authority.as_str().contains('@') {
        return Err(Problem::bad_request("no user and password in a URL: use the header Authorization"));
    }
    let url: Url = uri.to_string().parse().map_err(|_| Problem::bad_request("the URL is not one"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(Problem::bad_request("the URL must be http or https"));
    }
    Ok(url)
}

/// Path and query of a request to a server: its first line names no host.
fn own_path(uri: &Uri) -> Result<&str, Problem> {
    match (uri.authority(), uri.path_and_query()) {
        (None, Some(path)) if path.as_str().starts_with('/') => Ok(path.as_str()),
        _ => Err(Problem::bad_request("the request must be for a path here, not for another host")),
    }
}

fn joined(origin: &Url, path: &str) -> Result<Url, Problem> {
    let mut url = origin.clone();
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    url.set_path(path);
    url.set_query(query);
    // Setting a path cannot change whom it is sent to; if it ever did, nothing goes out.
    if url.origin() == origin.origin() { Ok(url) } else { Err(Problem::bad_request("the path is not one")) }
}

/// The same over TLS, unless it stays on this machine.
fn upgraded(mut url: Url) -> Result<Url, Problem> {
    if url.scheme() == "http" && !is_loopback(&url) && url.set_scheme("https").is_err() {
        return Err(Problem::bad_request("the URL cannot be asked for over https"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http::request::Parts;

    use super::{Entrance, Reach, Routes};

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let request =
            headers.iter().fold(Request::get(uri), |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap().into_parts().0
    }

    fn routes(upstream: Option<&str>, upgrade: bool, reach: Reach) -> Routes {
        Routes::new(upstream.map(|url| url.parse().unwrap()), upgrade, reach, true).unwrap()
    }

    fn leads(routes: &Routes, uri: &str, headers: &[(&str, &str)]) -> Result<String, u16> {
        let target = routes.target(&Entrance::Port, &parts(uri, headers));
        target.map(|target| target.url.to_string()).map_err(|problem| problem.status().as_u16())
    }

    #[test]
    fn the_first_line_says_where_to_go_and_no_header_does() {
        let proxy = routes(None, false, Reach::Anywhere);
        let leads = |uri, headers: &[_]| leads(&proxy, uri, headers);
        let host = [("host", "elsewhere.example")];
        assert_eq!(leads("http://shop.example/a?b", &host), Ok("http://shop.example/a?b".to_owned()));
        assert_eq!(leads("https://shop.example:8443/", &[]), Ok("https://shop.example:8443/".to_owned()));
        for refused in
            ["/a", "http://user:secret@shop.example/", "http://user@shop.example/", "ftp://shop.example/"]
        {
            assert_eq!(leads(refused, &host), Err(400), "{refused}");
        }
        assert_eq!(leads("http://shop.example/", &[("host", "a"), ("host", "b")]), Err(400));
        assert_eq!(leads("http://shop.example/", &[("upgrade", "h2c, WebSocket")]), Err(501));
        assert!(leads("http://shop.example/", &[("upgrade", "h2c")]).is_ok());
    }

    #[test]
    fn upgrading_makes_tls_of_all_that_leaves_the_machine() {
        let proxy = routes(None, true, Reach::Anywhere);
        for (asked, sent) in [
            ("http://shop.example/a", "https://shop.example/a"),
            ("http://shop.example:80/a", "https://shop.example/a"),
            ("http://shop.example:8080/a", "https://shop.example:8080/a"),
            ("http://127.0.0.1:3000/a", "http://127.0.0.1:3000/a"),
            ("http://localhost:3000/a", "http://localhost:3000/a"),
            ("http://10.0.0.1/a", "https://10.0.0.1/a"),
        ] {
            assert_eq!(leads(&proxy, asked, &[]), Ok(sent.to_owned()));
        }
    }

    #[test]
    fn a_port_that_is_an_upstream_leads_nowhere_else() {
        let proxy = routes(Some("https://api.example/v1/"), false, Reach::Anywhere);
        let here = [("host", "127.0.0.1:4022")];
        let leads = |uri, headers: &[_]| leads(&proxy, uri, headers);
        assert_eq!(leads("/data?x=1", &here), Ok("https://api.example/v1/data?x=1".to_owned()));
        assert_eq!(leads("//evil.example/", &here), Ok("https://api.example/v1//evil.example/".to_owned()));
        for refused in ["/../admin", "/%2e%2e/admin", "http://other.example/", "*"] {
            assert_eq!(leads(refused, &here), Err(400), "{refused}");
        }
        // A page whose name was made to lead here.
        assert_eq!(leads("/data", &[("host", "evil.example:4022")]), Err(421));
        assert_eq!(leads("/data", &[]), Err(421));
    }

    #[test]
    fn an_upstream_is_never_paid_in_plaintext() {
        let new =
            |url: &str, upgrade| Routes::new(Some(url.parse().unwrap()), upgrade, Reach::Anywhere, true);
        assert!(new("http://api.example/", false).is_err());
        assert!(new("http://api.example/", true).is_ok());
        assert!(new("http://127.0.0.1:3000/", false).is_ok());
        assert!(new("https://key@api.example/", false).is_err());
    }

    #[test]
    fn who_asks_from_elsewhere_is_led_to_nothing_private() {
        let proxy = routes(None, false, Reach::Internet);
        for private in [
            "http://127.0.0.1/",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://localhost/",
            "http://10.0.0.1/",
            "http://169.254.169.254/latest/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://0.0.0.0/",
        ] {
            assert_eq!(leads(&proxy, private, &[]), Err(403), "{private}");
        }
        assert!(leads(&proxy, "http://8.8.8.8/", &[]).is_ok());
    }
}
