//! Serving HTTP until told to stop.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How long requests in flight may go on after the signal to stop.
const GRACE: Duration = Duration::from_secs(10);

/// An HTTP server in the background.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
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
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::error!(%error, "server stopped");
            }
        });
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

/// Serves `app` until a signal comes, then lets requests in flight end.
pub(crate) async fn serve_until_stopped(listener: TcpListener, app: Router) -> anyhow::Result<()> {
    let (stopping, stopped) = tokio::sync::oneshot::channel::<()>();
    let signal = async move {
        stop_signal().await;
        let _ = stopping.send(());
    };
    let overtime = async move {
        let _ = stopped.await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        done = axum::serve(listener, app).with_graceful_shutdown(signal) => done.context("server stopped"),
        () = overtime => {
            tracing::warn!("stopped with requests still in flight");
            Ok(())
        }
    }
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
