//! `tollway proxy`: its options, and the proxy that they make.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Subcommand;
use serde_json::json;
use url::Url;

use crate::commands::purse::PurseArgs;
use crate::output::{Output, start_logging};
use crate::proxy::{
    Agents, Authority, Door, MAX_BODY_BYTES, Proxy, Reach, Routes, Setup, Tunnels, serve_until_stopped,
};
use crate::serving::Server;

/// A forward proxy that pays, for programs that know nothing of payments.
///
/// Programs that honour HTTP_PROXY, or take a base URL, buy through it without a change. What answers 402 is paid for, at
/// most once and at most the cap; the answer says so in Tollway-Paid. What is not paid stays the seller's 402, with the
/// reason in Tollway-Refused.
///
/// Three ways to use it:
///   HTTP_PROXY=http://127.0.0.1:4022   plain http to this machine, and to others with --upgrade, which speaks https to them;
///                                      without it nothing is paid to them, for a payment never leaves in plaintext
///   HTTPS_PROXY, with --intercept      https too, for programs that are told to trust the certificate of `tollway proxy ca`;
///                                      without it https is passed on unread, and nothing in it is paid for
///   --upstream with an API's address    http://127.0.0.1:4022/… is that API, for programs that take a base URL
///
/// Whoever can use the proxy can spend: it listens on this machine only, unless there is a --token. Where it listens beyond
/// this machine it leads to no private address. Request bodies are held in memory up to --max-body; a longer one is
/// refused with 413 before anything is asked. Answers stream. WebSockets are refused. No proxy of the environment is used.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    proxy: ProxyArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    Ca(CaArgs),
}

/// Print the path of the certificate that --intercept uses; it is made if there is none.
///
/// Give it to programs as SSL_CERT_FILE, NODE_EXTRA_CA_CERTS, REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE. Whoever has the key
/// beside it can read what these programs send: never add it to the machine's own certificates.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct CaArgs {
    /// The folder of the authority's key and certificate.
    #[arg(long, value_name = "FOLDER")]
    ca: PathBuf,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ProxyArgs {
    /// Where to listen; beyond this machine only with a --token. Port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4022")]
    listen: String,
    /// Be this API: what is asked of the proxy is asked of it.
    #[arg(long, value_name = "URL", conflicts_with_all = ["intercept", "no_tunnel"])]
    upstream: Option<Url>,
    /// Speak https to hosts beyond this machine that are asked for by http.
    #[arg(long)]
    upgrade: bool,
    /// Refuse CONNECT, in which nothing is paid for.
    #[arg(long, conflicts_with = "intercept")]
    no_tunnel: bool,
    /// End TLS here, with certificates of an authority of this machine's own, so that https is paid for too.
    #[arg(long, requires = "ca")]
    intercept: bool,
    /// The folder of that authority's key and certificate; made on first use.
    #[arg(long, value_name = "FOLDER")]
    ca: Option<PathBuf>,
    /// Let in only who presents this token, as the password of the proxy's address (http://AGENT:TOKEN@127.0.0.1:4022) or by
    /// the header Proxy-Authorization: env:NAME or file:PATH; with AGENT= before it, it is that agent's alone. May be given
    /// several times.
    #[arg(long, value_name = "SOURCE")]
    token: Vec<String>,
    /// The longest request body, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 8 * 1024 * 1024)]
    max_body: usize,
    /// Seconds to wait for a seller's answer, paid or not, and at the end for purchases under way.
    #[arg(long, value_name = "SECONDS", default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    #[command(flatten)]
    purse: PurseArgs,
    /// Print JSON, and log JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Some(Command::Ca(args)) => tell_certificate(&args),
        None => serve(args.proxy).await,
    }
}

fn tell_certificate(args: &CaArgs) -> anyhow::Result<ExitCode> {
    Authority::open(&args.ca)?;
    let path = std::fs::canonicalize(Authority::certificate_path(&args.ca))?;
    let text = path.display().to_string();
    Output::new(args.json).result(&json!({ "certificate": text }), &text);
    Ok(ExitCode::SUCCESS)
}

async fn serve(args: ProxyArgs) -> anyhow::Result<ExitCode> {
    start_logging(args.json, "info");
    ensure!(
        (1..=MAX_BODY_BYTES).contains(&args.max_body),
        "--max-body: must be from 1 to {MAX_BODY_BYTES} bytes"
    );
    ensure!(args.purse.has_key(), "there is no key: set TOLLWAY_KEY, or say with --key where it is");
    let door = Door::read(&args.token)?;
    let listener = Server::listen(&args.listen).await?;
    let address = listener.local_addr()?;
    let is_local = is_local(address.ip());
    if !is_local && !door.is_locked() {
        bail!(
            "--listen {address}: whoever can use the proxy can spend, so beyond this machine it needs a --token"
        );
    }
    let reach = if is_local { Reach::Anywhere } else { Reach::Internet };
    let tunnels = match (&args.ca, args.intercept, args.no_tunnel) {
        (Some(folder), true, _) => Tunnels::Open(Box::new(open_authority(folder)?)),
        (_, _, true) => Tunnels::Closed,
        _ => Tunnels::Blind,
    };
    let chain = args.purse.connect().await?;
    let setup = Setup {
        wallet: args.purse.wallet_of_many(chain.as_ref()).await?,
        agents: Agents::read(args.purse)?,
        patience: Duration::from_secs(args.timeout),
        door,
        routes: Routes::new(args.upstream, args.upgrade, reach, is_local)?,
        tunnels,
        max_body_bytes: args.max_body,
    };
    let proxy = Proxy::new(setup, address.port())?;
    let url = format!("http://{address}");
    let certificate = args.ca.as_deref().filter(|_| args.intercept).map(Authority::certificate_path);
    let object = json!({ "proxyUrl": url, "certificate": certificate });
    let trust = certificate.map(|path| format!("\nto be trusted: {}", path.display())).unwrap_or_default();
    Output::new(args.json).result(&object, &format!("listening on {url}{trust}"));
    serve_until_stopped(proxy, listener, Duration::from_secs(args.timeout)).await;
    Ok(ExitCode::SUCCESS)
}

fn open_authority(folder: &Path) -> anyhow::Result<Authority> {
    Authority::open(folder).context("--ca")
}

/// Whether only this machine reaches an address.
fn is_local(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}
