//! Why a devnet did not start. What its callers are told over JSON-RPC is in `failure.rs`.

/// A devnet could not be spawned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port is taken or not allowed.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Listen {
        /// The port that was asked for.
        port: u16,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A limit is zero or contradicts another one.
    #[error("invalid devnet configuration: {0}")]
    Config(&'static str),
}

/// The result of spawning.
pub type Result<T, E = Error> = std::result::Result<T, E>;
