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
    let listener = if config.in_process { None } else { Some(listen(config.port).await?) };
    let port = listener.as_ref().map_or(0, |(_, port)| *port);
    let node = Arc::new(Node::new(config));
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    if let Some((listener, _)) = listener {
        tasks.spawn(serve::run(listener, node.clone(), stopped.clone()));
    }
    tasks.spawn(mine_by_itself(node.clone(), stopped));
    tracing::debug!(port, chain_id = node.config.chain_id, "devnet started");
    Ok(Handle { node, port, stop, tasks })
}

impl Handle {
    /// Where JSON-RPC is spoken over HTTP.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tollway_devnet::Config;
    /// let devnet = tollway_devnet::spawn(Config::default()).await?;
    /// assert_eq!(devnet.rpc_url(), format!("http://127.0.0.1:{}", devnet.port()));
    /// # Ok(()) }
    /// ```
    pub fn rpc_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where JSON-RPC is spoken over WebSocket (RFC 6455), with subscriptions.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tollway_devnet::Config;
    /// let devnet = tollway_devnet::spawn(Config::default()).await?;
    /// assert_eq!(devnet.ws_url(), format!("ws://127.0.0.1:{}", devnet.port()));
    /// # Ok(()) }
    /// ```
    pub fn ws_url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// The port of both, on 127.0.0.1: the one that was taken if [`Config::port`] is 0. There is none, and 0 it is, if
    /// the chain is [in process](Config::in_process).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tollway_devnet::Config;
    /// let devnet = tollway_devnet::spawn(Config::default()).await?;
    /// assert_ne!(devnet.port(), 0, "a free one was taken");
    /// # Ok(()) }
    /// ```
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The EIP-155 chain id.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tollway_devnet::Config;
    /// let devnet = tollway_devnet::spawn(Config::default()).await?;
    /// assert_eq!(devnet.chain_id(), 31_337);
    /// # Ok(()) }
    /// ```
    pub fn chain_id(&self) -> u64 {
        self.node.config.chain_id
    }

    /// A transport for an alloy client that skips the socket. Subscriptions need the WebSocket.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tollway_devnet::Config;
    /// let devnet = tollway_devnet::spawn(Config::default()).await?;
    /// let rpc = alloy_rpc_client::RpcClient::new(devnet.transport(), true);
    /// assert_eq!(rpc.request_noparams::<String>("eth_chainId").await?, "0x7a69");
    /// # Ok(()) }
    /// ```
    pub fn transport(&self) -> DevnetTransport {
        DevnetTransport::new(self.node.clone())
    }

    /// Misbehaviour on demand.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tollway_devnet::Config;
    /// let devnet = tollway_devnet::spawn(Config::default()).await?;
    /// let faults = devnet.faults();
    /// faults.inject(tollway_devnet::Fault::Hold);
    /// faults.inject(tollway_devnet::Fault::Release);
    /// # Ok(()) }
    /// ```
    pub fn faults(&self) -> Faults {
        Faults::new(self.node.clone())
    }

    /// Makes a block of what waits, even of nothing, and returns its number and hash.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tollway_devnet::Config;
    /// let devnet = tollway_devnet::spawn(Config::default()).await?;
    /// let (number, hash) = devnet.mine();
    /// assert_eq!((number, hash.len()), (1, 32));
    /// # Ok(()) }
    /// ```
    pub fn mine(&self) -> (u64, B256) {
        let block = self.node.mine();
        (block.number(), block.hash())
    }

    /// Changes when blocks are made. What waits is mined at once if the chain becomes an instant one.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tollway_devnet::Config;
    /// let devnet = tollway_devnet::spawn(Config::default()).await?;
    /// use std::time::Duration;
    /// devnet.set_mining(tollway_devnet::Mining::Interval(Duration::from_millis(10)));
    /// let rpc = alloy_rpc_client::RpcClient::new(devnet.transport(), true);
    /// while rpc.request_noparams::<String>("eth_blockNumber").await? == "0x0" {
    ///     tokio::time::sleep(Duration::from_millis(10)).await;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn set_mining(&self, mining: Mining) {
        self.node.set_mining(mining);
    }

    /// Gives an account ether and tokens out of nothing, without a transaction.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tollway_devnet::Config;
    /// let devnet = tollway_devnet::spawn(Config::default()).await?;
    /// use alloy_primitives::{Address, U256};
    /// let account = Address::repeat_byte(7);
    /// devnet.grant(account, tollway_devnet::Grant { wei: U256::from(15), token_atomic: U256::ZERO });
    /// let rpc = alloy_rpc_client::RpcClient::new(devnet.transport(), true);
    /// assert_eq!(rpc.request::<_, String>("eth_getBalance", (account, "latest")).await?, "0xf");
    /// # Ok(()) }
    /// ```
    pub fn grant(&self, account: Address, grant: Grant) {
        self.node.grant(account, grant);
    }

    /// Stops answering, lets what is running finish until the deadline, and ends.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tollway_devnet::Config;
    /// let devnet = tollway_devnet::spawn(Config::default()).await?;
    /// let port = devnet.port();
    /// devnet.shutdown(std::time::Duration::from_secs(1)).await;
    /// assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err());
    /// # Ok(()) }
    /// ```
    pub async fn shutdown(mut self, deadline: Duration) {
        let _ = self.stop.send(true);
        let all_done = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(deadline, all_done).await.is_err() {
            tracing::debug!("devnet stopped at its deadline");
            self.tasks.abort_all();
        }
    }
}

async fn listen(port: u16) -> Result<(TcpListener, u16)> {
    let failed = |source| Error::Listen { port, source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    Ok((listener, port))
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
                if node.config.in_process {
                    node.mine();
                    continue;
                }
                let node = node.clone();
                // A full block takes a while to run.
                let _ = tokio::task::spawn_blocking(move || node.mine()).await;
            }
        };
        tokio::select! {
            biased;
            _ = stopped.changed() => return,
            _ = mining.changed() => {}
            () = blocks => {}
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
