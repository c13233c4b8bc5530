//! Serving HTTP until told to stop, with every wait and the number of connections bounded.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// How long a peer may take to send the head of a request.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// How many connections are served at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 16_384;
/// After an accept that failed (no file descriptors), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An HTTP server in the background.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// A bound listener, so that a port that is taken is told before anything else starts.
    pub(crate) async fn listen(address: &str) -> anyhow::Result<TcpListener> {
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
    }

    /// Serves `app` until dropped.
    pub(crate) fn spawn(listener: TcpListener, app: Router) -> anyhow::Result<Self> {
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move { accept(&listener, &app, &GracefulShutdown::new()).await });
        Ok(Self { address, task })
    }

    /// The URL of it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves `app` until a signal comes, then gives requests in flight `grace` to end.
pub(crate) async fn serve_until_stopped(listener: TcpListener, app: Router, grace: Duration) {
    let connections = GracefulShutdown::new();
    tokio::select! {
        () = accept(&listener, &app, &connections) => {}
        () = stop_signal() => {}
    }
    drop(listener);
    if tokio::time::timeout(grace, connections.shutdown()).await.is_err() {
        tracing::warn!("stopped with requests still in flight");
    }
}

async fn accept(listener: &TcpListener, app: &Router, connections: &GracefulShutdown) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let serving = connections.watch(connection(stream, app.clone()));
        tokio::spawn(async move {
            // A peer that breaks off is nobody's fault.
            let _ = serving.await;
            drop(place);
        });
    }
}

/// One connection. HTTP/1.1 only: deciding between versions would wait for the first bytes without a deadline.
fn connection(
    stream: TcpStream,
    app: Router,
) -> http1::Connection<TokioIo<TcpStream>, TowerToHyperService<Router>> {
    let _ = stream.set_nodelay(true);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app))
}

/// Waits for SIGINT or SIGTERM.
pub(crate) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
