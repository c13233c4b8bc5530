//! `tollway proxy` in front of programs that know nothing of payments: they buy, and what they see is the seller's.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tollway_seller::HttpFacilitator;

use crate::market::{Market, assets, paywall, serve};
use crate::process::{Background, Drained, tollway, tool};

/// A proxy that pays with the market's buyer's money.
pub(crate) struct Running {
    pub(crate) url: String,
    _process: Drained,
}

impl Running {
    pub(crate) fn start(market: &Market, arguments: &[&str]) -> Self {
        Self::start_with(market, arguments, |_| ())
    }

    pub(crate) fn start_with(
        market: &Market,
        arguments: &[&str],
        prepare: impl FnOnce(&mut Command),
    ) -> Self {
        let mut command = tollway();
        command.args(["proxy", "--json"]).args(arguments);
        if !arguments.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.env("TOLLWAY_KEY", market.buyer_key()).env("RUST_LOG", "error");
        prepare(&mut command);
        let mut process = Background::start(&mut command);
        let line: Value = serde_json::from_str(&process.line()).expect("one JSON object");
        let url = line["proxyUrl"].as_str().expect("its address").to_owned();
        Self { url, _process: process.drain() }
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// A client that sends everything through it.
    pub(crate) fn client(&self) -> reqwest::Client {
        let proxy = reqwest::Proxy::all(&self.url).unwrap();
        let client = reqwest::Client::builder().proxy(proxy).redirect(reqwest::redirect::Policy::none());
        client.build().unwrap()
    }
}

/// Runs a program with the proxy in its environment, and returns what it prints.
async fn printed(mut command: Command, variables: Vec<(&'static str, String)>) -> String {
    for name in
        ["no_proxy", "NO_PROXY", "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"]
    {
        command.env_remove(name);
    }
    command.envs(variables);
    let output = tokio::task::spawn_blocking(move || command.output().expect("the program starts"));
    let output = output.await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn curl(arguments: &[&str]) -> Option<Command> {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("NOT RUN: there is no curl");
        return None;
    }
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "60"]).args(arguments);
    Some(command)
}

fn python(script: &str, url: &str) -> Option<Command> {
    let mut command = Command::new(tool("TOLLWAY_PYTHON")?);
    command.args(["-c", script, url]);
    Some(command)
}

fn node(script: &str, url: &str) -> Option<Command> {
    let folder = tool("TOLLWAY_NODE_DIR")?;
    let mut command = Command::new("node");
    command.args(["--input-type=module", "-e", script, url]).current_dir(folder);
    Some(command)
}

const REQUESTS: &str = "import requests, sys; r = requests.get(sys.argv[1], timeout=60); print(r.text)";
const HTTPX: &str = "import httpx, sys; r = httpx.get(sys.argv[1], timeout=60); print(r.text)";
const URLLIB: &str =
    "import urllib.request, sys; print(urllib.request.urlopen(sys.argv[1], timeout=60).read().decode())";
const AXIOS: &str = "import axios from 'axios'; console.log((await axios.get(process.argv[1])).data)";
const AXIOS_BASE: &str = "import axios from 'axios'; \
     console.log((await axios.create({ baseURL: process.argv[1], proxy: false }).get('/data')).data)";
const FETCH_BASE: &str = "console.log(await (await fetch(process.argv[1] + '/data')).text())";
const AGENT: &str = "import https from 'node:https'; import proxying from 'https-proxy-agent'; \
     https.get(process.argv[1], { agent: new proxying.HttpsProxyAgent(process.env.HTTPS_PROXY) }, \
     (r) => r.on('data', (d) => process.stdout.write(d)))";

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_honour_http_proxy_buy_without_a_change() {
    let market = Market::open().await;
    let proxy = Running::start(&market, &[]);
    let url = market.url("/data");
    let programs =
        [curl(&[&url]), python(REQUESTS, &url), python(HTTPX, &url), python(URLLIB, &url), node(AXIOS, &url)];
    let mut bought = 0;
    for program in programs.into_iter().flatten() {
        let name = format!("{program:?}");
        let variables = vec![("http_proxy", proxy.url.clone()), ("HTTP_PROXY", proxy.url.clone())];
        assert_eq!(printed(program, variables).await, "data", "{name}");
        bought += 1;
        assert_eq!((market.received().await, market.handled()), (bought * 10_000, bought), "{name}");
    }
    if let Some(program) = curl(&["-d", "hello", &market.url("/echo")]) {
        assert_eq!(printed(program, vec![("http_proxy", proxy.url.clone())]).await, "echo:hello");
        assert_eq!(market.received().await, bought * 10_000 + 20_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_take_a_base_url_buy_without_a_change() {
    let market = Market::open().await;
    let proxy = Running::start(&market, &["--upstream", &market.seller_url]);
    let url = format!("{}/data", proxy.url);
    let programs = [
        curl(&[&url]),
        python(REQUESTS, &url),
        python(HTTPX, &url),
        node(AXIOS_BASE, &proxy.url),
        node(FETCH_BASE, &proxy.url),
    ];
    let mut bought = 0;
    for program in programs.into_iter().flatten() {
        let name = format!("{program:?}");
        assert_eq!(printed(program, Vec::new()).await, "data", "{name}");
        bought += 1;
        assert_eq!(market.received().await, bought * 10_000, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn https_is_paid_for_where_programs_trust_the_authority() {
    let market = Market::open().await;
    let folder = tempfile::tempdir().unwrap();
    let shop = TlsShop::open(&market, "127.0.0.1", folder.path()).await;
    let authority = folder.path().join("authority");
    let told = tollway().args(["proxy", "ca", "--ca"]).arg(&authority).output().unwrap();
    let certificate = String::from_utf8(told.stdout).unwrap().trim().to_owned();
    let arguments = ["--intercept", "--ca", authority.to_str().unwrap()];
    let proxy = Running::start_with(&market, &arguments, |command| {
        command.env("SSL_CERT_FILE", &shop.certificate);
    });
    let url = format!("{}/data", shop.url);
    let programs =
        [curl(&[&url]), python(REQUESTS, &url), python(HTTPX, &url), python(URLLIB, &url), node(AGENT, &url)];
    let mut bought = 0;
    for program in programs.into_iter().flatten() {
        let name = format!("{program:?}");
        let mut variables = vec![("HTTPS_PROXY", proxy.url.clone()), ("https_proxy", proxy.url.clone())];
        for name in ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"] {
            variables.push((name, certificate.clone()));
        }
        assert_eq!(printed(program, variables).await, "secure", "{name}");
        bought += 1;
        assert_eq!(market.received().await, bought * 10_000, "{name}");
    }
    let key = std::fs::metadata(authority.join("ca-key.pem")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_is_passed_on_unread_and_nothing_in_it_is_paid_for() {
    let market = Market::open().await;
    let folder = tempfile::tempdir().unwrap();
    let shop = TlsShop::open(&market, "127.0.0.1", folder.path()).await;
    let root = reqwest::Certificate::from_pem(&std::fs::read(&shop.certificate).unwrap()).unwrap();
    let through = |proxy: &Running| {
        let client = reqwest::Client::builder().proxy(reqwest::Proxy::all(&proxy.url).unwrap());
        client.tls_certs_merge([root.clone()]).build().unwrap()
    };
    let url = format!("{}/data", shop.url);
    let blind = Running::start(&market, &[]);
    let response = through(&blind).get(&url).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers().get("via")), (402, None));
    let closed = Running::start(&market, &["--no-tunnel"]);
    assert!(through(&closed).get(&url).send().await.is_err());
    assert_eq!(market.received().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_paid_in_plaintext_and_upgrading_pays_over_tls() {
    let market = Market::open().await;
    let folder = tempfile::tempdir().unwrap();
    // This machine by an address that is not known to be this machine.
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let url = format!("http://0.0.0.0:{}", listener.local_addr().unwrap().port());
    let plain = tokio::spawn(axum::serve(listener, shop(&market, &url).await).into_future());
    let tls = TlsShop::open(&market, "0.0.0.0", folder.path()).await;
    let as_is = Running::start(&market, &[]);
    let response = as_is.client().get(format!("{url}/data")).send().await.unwrap();
    assert_eq!(response.status(), 402);
    assert!(response.headers()["tollway-refused"].to_str().unwrap().contains("plaintext"));
    assert!(response.headers().contains_key("payment-required"), "the client may know what to do");
    assert_eq!(market.received().await, 0);
    let upgrading = Running::start_with(&market, &["--upgrade"], |command| {
        command.env("SSL_CERT_FILE", &tls.certificate);
    });
    let asked = tls.url.replace("https://", "http://");
    let response = upgrading.client().get(format!("{asked}/data")).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "secure");
    assert_eq!(market.received().await, 10_000);
    plain.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_says_what_was_paid_and_keeps_what_the_seller_says() {
    let market = Market::open().await;
    let proxy = Running::start(&market, &[]);
    let response = proxy.client().get(market.url("/data")).send().await.unwrap();
    assert_eq!(response.headers()["tollway-paid"], "0.01 USDC eip155:31337");
    assert!(response.headers().contains_key("payment-response") && response.headers().contains_key("via"));
    assert_eq!(response.headers()["cache-control"], "private");
    assert_eq!(response.text().await.unwrap(), "data");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_paid_stays_the_sellers_402_with_the_reason() {
    let market = Market::open().await;
    let proxy = Running::start(&market, &[]);
    let direct = reqwest::get(market.url("/dear")).await.unwrap();
    let response = proxy.client().get(market.url("/dear")).send().await.unwrap();
    assert_eq!(response.status(), 402);
    assert!(response.headers()["tollway-refused"].to_str().unwrap().contains("above the cap"));
    assert_eq!(response.headers()["payment-required"], direct.headers()["payment-required"]);
    assert_eq!(response.text().await.unwrap(), direct.text().await.unwrap());
    assert_eq!((market.received().await, market.handled()), (0, 0));
}

/// A shop behind TLS.
struct TlsShop {
    url: String,
    /// What its clients must trust.
    certificate: std::path::PathBuf,
    servers: [JoinHandle<()>; 2],
}

impl TlsShop {
    async fn open(market: &Market, host: &str, folder: &Path) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
        let signed = params.self_signed(&key).unwrap();
        let certificate = folder.join("shop.pem");
        std::fs::write(&certificate, signed.pem()).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![signed.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let url = format!("https://{host}:{}", listener.local_addr().unwrap().port());
        let (inner, server) = serve(shop(market, &url).await).await;
        let relay = tokio::spawn(relay(listener, TlsAcceptor::from(Arc::new(config)), inner));
        Self { url, certificate, servers: [server, relay] }
    }
}

impl Drop for TlsShop {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

/// What is sold at `url`.
async fn shop(market: &Market, url: &str) -> Router {
    let seller = paywall(url, &market.node.network(), market.payee, &assets(market.node.chain_id))
        .facilitator(HttpFacilitator::new(&market.facilitator_url).unwrap())
        .start()
        .await
        .unwrap();
    Router::new().route("/data", get(|| async { "secure" }).layer(seller.price("$0.01").unwrap()))
}

async fn relay(listener: TcpListener, acceptor: TlsAcceptor, inner: String) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, inner) = (acceptor.clone(), inner.trim_start_matches("http://").to_owned());
        tokio::spawn(async move {
            let Ok(mut near) = acceptor.accept(stream).await else { return };
            let mut far = TcpStream::connect(inner).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        });
    }
}
