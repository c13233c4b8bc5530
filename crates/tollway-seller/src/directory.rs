//! Directories of agents' keys, fetched from where a stranger's request says: over https, from public addresses, once, in
//! bounded time and size, and kept for a while.
//!
//! The addresses that a name leads to are looked at where the connection is made, so a name that leads elsewhere the second
//! time leads nowhere. What does not live here: whose directories are asked for (`agent`).

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use tokio::sync::Semaphore;
use tollway_core::http_signature::{AgentKey, DIRECTORY_PATH, MAX_DIRECTORY_BYTES, read_directory};
use tollway_core::{BoxFuture, UnixTime, is_public};
use url::{Host, Url};

use crate::extension::Recent;

/// How long a directory may take, from the name to the last byte.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a directory is good for, and how long one that could not be had is not asked for again.
const GOOD_SECONDS: u64 = 300;
const BAD_SECONDS: u64 = 30;
/// How many are fetched at once: strangers decide how many are asked for.
const MAX_FETCHES: usize = 8;

/// Finds the addresses of a name.
type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;
/// The keys of a directory, or why there are none.
type Fetched = Result<Arc<Vec<AgentKey>>, String>;

/// The directories that were fetched.
pub(crate) struct Directories {
    client: reqwest::Client,
    rule: Rule,
    kept: Mutex<Recent<(Fetched, UnixTime)>>,
    permits: Semaphore,
}

/// Where a directory may be.
#[derive(Clone, Copy)]
struct Rule {
    is_allowed: fn(IpAddr) -> bool,
    scheme: &'static str,
    any_host: bool,
}

/// Nowhere but on the internet, over https, at its standard port.
const INTERNET: Rule = Rule { is_allowed: is_public, scheme: "https", any_host: false };

impl Directories {
    pub(crate) fn new() -> Result<Self, reqwest::Error> {
        let lookup: Lookup =
            Arc::new(|name| Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) }));
        Self::with(lookup, INTERNET)
    }

    fn with(lookup: Lookup, rule: Rule) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .https_only(rule.scheme == "https")
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .timeout(PATIENCE)
            .dns_resolver(Arc::new(Guard { lookup, is_allowed: rule.is_allowed }))
            .build()?;
        Ok(Self { client, rule, kept: Mutex::default(), permits: Semaphore::new(MAX_FETCHES) })
    }

    /// The keys of `agent`, an origin. An error is for the log: which addresses there are is nobody's business.
    pub(crate) async fn keys(&self, agent: &Url, now: UnixTime) -> Fetched {
        let origin = agent.origin().ascii_serialization();
        if let Some((kept, until)) = self.kept.lock().get(&origin)
            && now < until
        {
            return kept;
        }
        let Ok(_permit) = self.permits.try_acquire() else {
            return Err("too many directories are fetched already".to_owned());
        };
        let fetched = tokio::time::timeout(PATIENCE, self.fetch(agent)).await;
        let fetched = fetched.unwrap_or_else(|_| Err("took too long".to_owned())).map(Arc::new);
        let seconds = if fetched.is_ok() { GOOD_SECONDS } else { BAD_SECONDS };
        self.kept.lock().keep(&origin, (fetched.clone(), now.plus_seconds(seconds)));
        fetched
    }

    async fn fetch(&self, agent: &Url) -> Result<Vec<AgentKey>, String> {
        let is_named = matches!(agent.host(), Some(Host::Domain(_))) && agent.port().is_none();
        if agent.scheme() != self.rule.scheme || !(is_named || self.rule.any_host) {
            return Err("must be at a name, over https, at its standard port".to_owned());
        }
        let url = agent.join(DIRECTORY_PATH).map_err(|error| error.to_string())?;
        let mut response =
            self.client.get(url).send().await.map_err(|error| error.without_url().to_string())?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(format!("answers {}", response.status().as_u16()));
        }
        let too_long = || format!("is longer than {MAX_DIRECTORY_BYTES} bytes");
        let limit = u64::try_from(MAX_DIRECTORY_BYTES).unwrap_or(u64::MAX);
        if response.content_length().is_some_and(|length| length > limit) {
            return Err(too_long());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| error.without_url().to_string())? {
            if body.len() + chunk.len() > MAX_DIRECTORY_BYTES {
                return Err(too_long());
            }
            body.extend_from_slice(&chunk);
        }
        read_directory(&body).map_err(|error| error.to_string())
    }
}

impl fmt::Debug for Directories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directories").finish_non_exhaustive()
    }
}

/// Looks names up, and gives out what may be connected to: all of a name's addresses, or none.
struct Guard {
    lookup: Lookup,
    is_allowed: fn(IpAddr) -> bool,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (found, is_allowed) = ((self.lookup)(name.as_str().to_owned()), self.is_allowed);
        Box::pin(async move {
            let found = found.await?;
            if found.is_empty() || !found.iter().all(|address| is_allowed(address.ip())) {
                return Err("leads to an address that is not public".into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::http::StatusCode;
    use axum::response::Redirect;
    use axum::routing::get;
    use tollway_core::http_signature::{DIRECTORY_PATH, MAX_DIRECTORY_BYTES, MessageSigner};
    use tollway_core::{BoxFuture, UnixTime};
    use url::Url;

    use super::{Directories, INTERNET, Lookup, PATIENCE, Rule, is_public};

    const NOW: UnixTime = UnixTime(1_000);

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    /// Answers with `found`, one after the other, then with the last.
    fn lookup(found: Vec<&'static str>) -> (Lookup, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let answer = move |_name: String| -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> {
            let at = count.fetch_add(1, Ordering::SeqCst).min(found.len() - 1);
            let address: IpAddr = found[at].parse().unwrap();
            Box::pin(async move { Ok(vec![SocketAddr::new(address, 0)]) })
        };
        (Arc::new(answer), asked)
    }

    /// Directories that may be on this machine, and nothing else.
    fn at_home() -> Directories {
        let (lookup, _) = lookup(vec!["127.0.0.1"]);
        let rule = Rule { is_allowed: |address| address.is_loopback(), scheme: "http", any_host: true };
        Directories::with(lookup, rule).unwrap()
    }

    async fn serve(app: Router) -> Url {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        url(&origin)
    }

    fn directory() -> String {
        serde_json::json!({ "keys": [MessageSigner::from_seed(&[7; 32]).public_key().to_jwk()] }).to_string()
    }

    #[tokio::test]
    async fn no_address_plain_http_or_other_port_is_asked() {
        let (lookup, asked) = lookup(vec!["8.8.8.8"]);
        let directories = Directories::with(lookup, INTERNET).unwrap();
        for wrong in [
            "https://127.0.0.1",
            "https://169.254.169.254",
            "https://[::1]",
            "https://[::ffff:127.0.0.1]",
            "https://2130706433",
            "https://0x7f000001",
            "https://017700000001",
            "https://127.1",
            "http://agent.example",
            "https://agent.example:8443",
            "ftp://agent.example",
            "file:///etc/passwd",
        ] {
            let error = directories.keys(&url(wrong), NOW).await.unwrap_err();
            assert!(error.starts_with("must be at a name"), "{wrong}: {error}");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_not_followed_whatever_it_led_to_before() {
        for inner in ["127.0.0.1", "169.254.169.254", "::1", "10.0.0.1"] {
            let (lookup, asked) = lookup(vec![inner]);
            let directories = Directories::with(lookup, INTERNET).unwrap();
            assert!(directories.keys(&url("https://localhost"), NOW).await.is_err(), "{inner}");
            assert_eq!(asked.load(Ordering::SeqCst), 1, "our own lookup decides");
        }
        // Rebinding: what was public when it was looked up first is looked at again when it is connected to.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (lookup, asked) = lookup(vec!["8.8.8.8", "127.0.0.1"]);
        assert!(
            lookup("agent.example".to_owned()).await.unwrap().iter().all(|address| is_public(address.ip()))
        );
        let rule = Rule { scheme: "http", any_host: true, ..INTERNET };
        let directories = Directories::with(lookup, rule).unwrap();
        let rebound = url(&format!("http://agent.example:{port}"));
        assert!(directories.keys(&rebound, NOW).await.is_err());
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        let connected = futures_util::FutureExt::now_or_never(listener.accept());
        assert!(connected.is_none(), "nobody has connected");
    }

    #[tokio::test]
    async fn a_directory_is_read_and_kept_for_a_while() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let answer = get(move || async move {
            count.fetch_add(1, Ordering::SeqCst);
            directory()
        });
        let agent = serve(Router::new().route(DIRECTORY_PATH, answer)).await;
        let directories = at_home();
        for (now, fetched) in [(1_000, 1), (1_299, 1), (1_300, 2)] {
            let keys = directories.keys(&agent, UnixTime(now)).await.unwrap();
            assert_eq!(*keys, [MessageSigner::from_seed(&[7; 32]).public_key()]);
            assert_eq!(asked.load(Ordering::SeqCst), fetched, "at {now}");
        }
    }

    #[tokio::test]
    async fn no_redirect_is_followed_and_no_other_answer_read() {
        let reached = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&reached);
        let inner = serve(Router::new().route(
            "/",
            get(move || async move {
                count.fetch_add(1, Ordering::SeqCst);
                directory()
            }),
        ))
        .await;
        let redirect = get(move || async move { Redirect::temporary(inner.as_str()) });
        let agent = serve(Router::new().route(DIRECTORY_PATH, redirect)).await;
        let directories = at_home();
        assert_eq!(directories.keys(&agent, NOW).await.unwrap_err(), "answers 307");
        assert_eq!(reached.load(Ordering::SeqCst), 0);
        let missing = serve(Router::new()).await;
        assert_eq!(directories.keys(&missing, NOW).await.unwrap_err(), "answers 404");
        let html = serve(Router::new().route(DIRECTORY_PATH, get(|| async { "<html>" }))).await;
        assert!(directories.keys(&html, NOW).await.unwrap_err().contains("must be valid JSON"));
        let error = get(|| async { (StatusCode::INTERNAL_SERVER_ERROR, directory()) });
        let error = serve(Router::new().route(DIRECTORY_PATH, error)).await;
        assert_eq!(directories.keys(&error, NOW).await.unwrap_err(), "answers 500");
    }

    #[tokio::test]
    async fn a_directory_without_end_is_given_up() {
        let long = get(|| async { "x".repeat(MAX_DIRECTORY_BYTES + 1) });
        let agent = serve(Router::new().route(DIRECTORY_PATH, long)).await;
        assert!(at_home().keys(&agent, NOW).await.unwrap_err().starts_with("is longer"));
        let streamed = get(|| async {
            let chunks = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>("x".repeat(1_000)));
            axum::body::Body::from_stream(chunks)
        });
        let agent = serve(Router::new().route(DIRECTORY_PATH, streamed)).await;
        assert!(at_home().keys(&agent, NOW).await.unwrap_err().starts_with("is longer"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_directory_that_never_answers_is_given_up() {
        let silent = |_name: String| -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> {
            Box::pin(std::future::pending())
        };
        let directories = Directories::with(Arc::new(silent), INTERNET).unwrap();
        let began = tokio::time::Instant::now();
        assert!(directories.keys(&url("https://agent.example"), NOW).await.is_err());
        assert!(began.elapsed() <= PATIENCE + std::time::Duration::from_secs(1));
    }
}
