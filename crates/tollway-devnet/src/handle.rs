//! Starting a devnet and holding on to it.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use alloy_primitives::{Address, B256};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};

use crate::{
    config::{Config, Grant, Limits, Mining},
    error::{Error, Result},
    faults::Faults,
    node::Node,
    serve,
    transport::DevnetTransport,
};

/// A running devnet. It stops when this is dropped.
#[derive(Debug)]
pub struct Handle {
    node: Arc<Node>,
    port: u16,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// Starts a devnet.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> tollway_devnet::Result<()> {
/// use std::time::Duration;
/// use tollway_devnet::Config;
///
/// let devnet = tollway_devnet::spawn(Config { chain_id: 84_532, ..Config::default() }).await?;
/// devnet.mine();
/// devnet.shutdown(Duration::from_secs(1)).await;
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// If the port can't be had, or the configuration contradicts itself.
pub async fn spawn(config: Config) -> Result<Handle> {
    check(&config)?;
    let listen = |source| Error::Listen { port: config.port, source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, config.port)).await.map_err(listen)?;
    let port = listener.local_addr().map_err(listen)?.port();
    let node = Arc::new(Node::new(config));
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    tasks.spawn(serve::run(listener, node.clone(), stopped.clone()));
    tasks.spawn(mine_by_itself(node.clone(), stopped));
    tracing::debug!(port, chain_id = node.config.chain_id, "devnet started");
    Ok(Handle { node, port, stop, tasks })
}

impl Handle {
    /// Where JSON-RPC is spoken over HTTP.
    pub fn rpc_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where JSON-RPC is spoken over WebSocket, with subscriptions.
    pub fn ws_url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// The port of both.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The EIP-155 chain id.
    pub fn chain_id(&self) -> u64 {
        self.node.config.chain_id
    }

    /// A transport for an alloy client that skips the socket. Subscriptions need the WebSocket.
    pub fn transport(&self) -> DevnetTransport {
        DevnetTransport::new(self.node.clone())
    }

    /// Misbehaviour on demand.
    pub fn faults(&self) -> Faults {
        Faults::new(self.node.clone())
    }

    /// Makes a block of what waits and returns its number and hash.
    pub fn mine(&self) -> (u64, B256) {
        let block = self.node.mine();
        (block.number(), block.hash())
    }

    /// Changes when blocks are made.
    pub fn set_mining(&self, mining: Mining) {
        self.node.set_mining(mining);
    }

    /// Gives an account ether and tokens out of nothing, without a transaction.
    pub fn grant(&self, account: Address, grant: Grant) {
        self.node.grant(account, grant);
    }

    /// Stops answering, lets what is running finish until the deadline, and ends.
    pub async fn shutdown(mut self, deadline: Duration) {
        let _ = self.stop.send(true);
        let all_done = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(deadline, all_done).await.is_err() {
            tracing::debug!("devnet stopped at its deadline");
            self.tasks.abort_all();
        }
    }
}

async fn mine_by_itself(node: Arc<Node>, mut stopped: watch::Receiver<bool>) {
    let mut mining = node.mining.subscribe();
    loop {
        let wanted = *mining.borrow_and_update();
        let blocks = async {
            let Mining::Interval(every) = wanted else { return std::future::pending().await };
            let mut ticks = interval_at(Instant::now() + every, every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                let node = node.clone();
                // A full block takes a while to run.
                let _ = tokio::task::spawn_blocking(move || node.mine()).await;
            }
        };
        tokio::select! {
            () = blocks => {}
            _ = mining.changed() => {}
            _ = stopped.changed() => return,
        }
    }
}

fn check(config: &Config) -> Result<()> {
    let Limits { blocks, states, concurrent_calls, connections, .. } = config.limits;
    if states == 0 || states > blocks {
        return Err(Error::Config("limits.states must be between 1 and limits.blocks"));
    }
    if !(1..=1_024).contains(&concurrent_calls) || !(1..=65_536).contains(&connections) {
        return Err(Error::Config("limits.concurrent_calls or limits.connections is out of range"));
    }
    if config.mining == Mining::Interval(Duration::ZERO) {
        return Err(Error::Config("mining interval must not be zero"));
    }
    if config.gas_limit < 21_000 {
        return Err(Error::Config("gas_limit must be at least 21000"));
    }
    Ok(())
}
