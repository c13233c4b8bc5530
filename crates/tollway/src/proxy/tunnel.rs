//! `CONNECT`: bytes passed on unread, or TLS ended here so that what is inside can be paid for.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use url::{Host, Url};

use super::door::Guest;
use super::listen::Lively;
use super::problem::Problem;
use super::target::{Entrance, out_of_reach};
use super::{Body, CONNECT_DEADLINE, Proxy, Tunnels, answer};

/// How long a client may take from our answer to the end of its TLS handshake.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// After so long without a byte a tunnel is over.
const SILENCE: Duration = Duration::from_secs(300);

impl Proxy {
    /// Opens a tunnel, and answers once it leads somewhere.
    pub(super) async fn tunnel(
        self: &Arc<Self>,
        guest: Guest,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Problem> {
        if self.routes.has_upstream() {
            let detail = "this proxy leads to one upstream only: use it as a base URL";
            return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "tunnel", detail));
        }
        let origin = origin(&request)?;
        self.routes.check_reach(&origin)?;
        let busy = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "too many tunnels: try again");
        let place = Arc::clone(&self.open_tunnels).try_acquire_owned().map_err(|_| busy())?;
        let host = origin.host_str().unwrap_or_default().to_owned();
        match &self.tunnels {
            Tunnels::Closed => {
                let detail = "this proxy opens no tunnels (--no-tunnel): nothing in them could be paid for";
                return Err(Problem::new(StatusCode::FORBIDDEN, "tunnel", detail));
            }
            Tunnels::Blind => {
                let stream = self.connect(&origin).await?;
                tracing::info!(host, agent = guest.agent, "tunnel: nothing in it is paid for");
                let (upgrade, mut stopping) = (hyper::upgrade::on(request), self.stopping.subscribe());
                tokio::spawn(async move {
                    tokio::select! {
                        // Either end may break off: that is nobody's fault.
                        _ = pass(upgrade, stream) => {}
                        _ = stopping.wait_for(|is_stopping| *is_stopping) => {}
                    }
                    drop(place);
                });
            }
            Tunnels::Open(authority) => {
                let config = authority.speak_for(&origin).map_err(|error| {
                    tracing::warn!(%error, host, "no certificate");
                    Problem::bad_request("there can be no certificate for this host")
                })?;
                let (proxy, upgrade) = (Arc::clone(self), hyper::upgrade::on(request));
                tokio::spawn(async move {
                    if let Err(error) = proxy.intercept(upgrade, config, origin, guest).await {
                        tracing::info!(%error, host, "no TLS in a tunnel");
                    }
                    drop(place);
                });
            }
        }
        Ok(Response::new(answer::empty()))
    }

    /// Ends TLS, and serves what is inside.
    async fn intercept(
        self: Arc<Self>,
        upgrade: OnUpgrade,
        config: Arc<ServerConfig>,
        origin: Url,
        guest: Guest,
    ) -> io::Result<()> {
        let shaken = async {
            let stream = TokioIo::new(upgrade.await.map_err(io::Error::other)?);
            TlsAcceptor::from(config).accept(stream).await
        };
        let stream = tokio::time::timeout(HANDSHAKE_DEADLINE, shaken).await??;
        self.converse(stream, Entrance::Inside(origin), Some(guest)).await;
        Ok(())
    }

    /// A connection to where a tunnel is to lead: anywhere in reach but to this proxy.
    async fn connect(&self, origin: &Url) -> Result<TcpStream, Problem> {
        let port = origin.port_or_known_default().unwrap_or_default();
        let opening = async {
            let addresses = match origin.host() {
                Some(Host::Ipv4(address)) => vec![(address, port).into()],
                Some(Host::Ipv6(address)) => vec![(address, port).into()],
                Some(Host::Domain(name)) => self.routes.guide().find(name, port).await?,
                None => Vec::new(),
            };
            TcpStream::connect(addresses.as_slice()).await
        };
        let stream = match tokio::time::timeout(CONNECT_DEADLINE, opening).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => return Err(out_of_reach()),
            Ok(Err(error)) => {
                let detail = format!("the host cannot be reached: {error}");
                return Err(Problem::new(StatusCode::BAD_GATEWAY, "unreachable", detail));
            }
            Err(_) => {
                let detail = "the host did not answer in time";
                return Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "unreachable", detail));
            }
        };
        let is_here = match (stream.peer_addr(), stream.local_addr()) {
            (Ok(peer), Ok(local)) => peer.ip() == local.ip() && peer.port() == self.port,
            _ => true,
        };
        if is_here {
            let detail = "the tunnel leads back to this proxy";
            return Err(Problem::new(StatusCode::LOOP_DETECTED, "loop", detail));
        }
        Ok(stream)
    }
}

/// Where a tunnel is to lead: a host and a port, and nothing else.
fn origin(request: &Request<Incoming>) -> Result<Url, Problem> {
    let wrong = || Problem::bad_request("CONNECT needs HOST:PORT");
    let authority = request.uri().authority().ok_or_else(wrong)?;
    if authority.as_str().contains('@') || authority.port_u16().is_none_or(|port| port == 0) {
        return Err(wrong());
    }
    format!("https://{authority}/").parse().map_err(|_| wrong())
}

async fn pass(upgrade: OnUpgrade, mut far: TcpStream) -> io::Result<()> {
    let near: Upgraded =
        tokio::time::timeout(HANDSHAKE_DEADLINE, upgrade).await?.map_err(io::Error::other)?;
    let (mut near, pulse) = Lively::new(TokioIo::new(near));
    tokio::select! {
        passed = tokio::io::copy_bidirectional(&mut near, &mut far) => passed.map(|_| ()),
        () = pulse.silent_for(SILENCE) => Err(io::ErrorKind::TimedOut.into()),
    }
}
