//! The sockets: connections of clients, bounded in number and in how long they may be silent, until it is time to stop.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::door::Guest;
use super::target::Entrance;
use super::{MAX_REQUESTS, MAX_TUNNELS, Proxy};
use crate::serving::stop_signal;

/// How long a client may take to send the head of a request, and how long a connection is kept for the next one.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);
/// The longest head of a request.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// After so long without a byte in either direction a connection is over: nobody reads, or nobody is there.
const SILENCE: Duration = Duration::from_secs(600);
/// How many clients are connected at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;
/// After an accept that failed (no file descriptors), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until a signal comes, then gives what is under way `grace` to end. Tunnels are cut.
pub(crate) async fn serve_until_stopped(proxy: Arc<Proxy>, listener: TcpListener, grace: Duration) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    tokio::select! {
        () = accept(&proxy, &listener, &places) => {}
        () = stop_signal() => {}
    }
    drop(listener);
    proxy.stopping.send_replace(true);
    // Whoever has a place gives it back in the end. Purchases have their own: they go on without their clients.
    let ended = async {
        for (places, count) in
            [(&proxy.requests, MAX_REQUESTS), (&proxy.open_tunnels, MAX_TUNNELS), (&places, MAX_CONNECTIONS)]
        {
            let _ = places.acquire_many(u32::try_from(count).unwrap_or(u32::MAX)).await;
        }
    };
    if tokio::time::timeout(grace, ended).await.is_err() {
        tracing::warn!("stopped with requests under way: money may have moved for them");
    }
    // What was bought and read is over: who asks for it after the next start buys anew.
    proxy.wallet.flush().await;
}

impl Proxy {
    /// Serves one connection, the proxy's own or one inside a tunnel.
    pub(super) async fn converse<S>(self: Arc<Self>, stream: S, entrance: Entrance, guest: Option<Guest>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (stream, pulse) = Lively::new(stream);
        let mut stopping = self.stopping.subscribe();
        let service = service_fn(move |request| {
            let answer = Arc::clone(&self).handle(entrance.clone(), guest.clone(), request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_DEADLINE)
                .max_header_size(MAX_HEAD_BYTES)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades()
        );
        let mut silence = pin!(pulse.silent_for(SILENCE));
        tokio::select! {
            // A peer that breaks off is nobody's fault.
            _ = connection.as_mut() => return,
            () = silence.as_mut() => return,
            _ = stopping.wait_for(|is_stopping| *is_stopping) => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            _ = connection => {}
            () = silence => {}
        }
    }
}

async fn accept(proxy: &Arc<Proxy>, listener: &TcpListener, places: &Arc<Semaphore>) {
    loop {
        let Ok(place) = Arc::clone(places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let conversing = Arc::clone(proxy).converse(stream, Entrance::Port, None);
        tokio::spawn(async move {
            conversing.await;
            drop(place);
        });
    }
}

/// When the last byte passed.
#[derive(Clone, Debug)]
pub(super) struct Pulse(Arc<Mutex<Instant>>);

impl Pulse {
    /// Returns once nothing has passed for `limit`.
    pub(super) async fn silent_for(self, limit: Duration) {
        loop {
            let until = *self.0.lock() + limit;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

/// A stream that tells whether anything passes.
pub(super) struct Lively<S> {
    stream: S,
    pulse: Pulse,
}

impl<S> Lively<S> {
    pub(super) fn new(stream: S) -> (Self, Pulse) {
        let pulse = Pulse(Arc::new(Mutex::new(Instant::now())));
        (Self { stream, pulse: pulse.clone() }, pulse)
    }

    fn beat(&self) {
        *self.pulse.0.lock() = Instant::now();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lively<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.beat();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lively<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, data))?;
        self.beat();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;
    use tollway_buyer::Wallet;

    use super::HEAD_DEADLINE;
    use crate::commands::purse::PurseArgs;
    use crate::proxy::{Agents, Door, Entrance, Proxy, Reach, Routes, Setup, Tunnels};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        purse: PurseArgs,
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_never_ends_is_given_up() {
        let key = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
        let setup = Setup {
            wallet: Wallet::builder().key(key).unwrap(),
            agents: Agents::read(Line::parse_from(["proxy"]).purse).unwrap(),
            patience: Duration::from_secs(60),
            door: Door::default(),
            routes: Routes::new(None, false, Reach::Anywhere, true).unwrap(),
            tunnels: Tunnels::Blind,
            max_body_bytes: 1024,
        };
        let proxy = Proxy::new(setup, 1).unwrap();
        let (mut client, stream) = tokio::io::duplex(1024);
        tokio::spawn(proxy.converse(stream, Entrance::Port, None));
        let begun = Instant::now();
        client.write_all(b"GET http://shop.example/ HTTP/1.1\r\nHost: ").await.unwrap();
        let dripping = async {
            while client.write_all(b"a").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), dripping).await.expect("the proxy hangs up");
        assert!(begun.elapsed() <= HEAD_DEADLINE + Duration::from_secs(5), "{:?}", begun.elapsed());
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest).await;
    }
}
