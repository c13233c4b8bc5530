//! How a packet travels between a caller and the node: delayed, lost, or cut off by a restart.

use std::time::Duration;

use tokio::{sync::watch, time::sleep};

use super::Node;

/// The connection was cut: the node has restarted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut;

/// The ways of one packet, there and back.
#[derive(Debug)]
pub(crate) struct Passage {
    inbound: Duration,
    outbound: Duration,
    /// The request never arrives.
    pub(crate) is_muted: bool,
    /// The answer never arrives.
    pub(crate) is_lost: bool,
    connection: watch::Receiver<u64>,
}

impl Node {
    /// What is to happen to the packet at hand, which holds requests for these methods.
    pub(crate) fn passage(&self, methods: impl IntoIterator<Item: AsRef<str>>) -> Passage {
        let mut passage = Passage {
            inbound: Duration::ZERO,
            outbound: Duration::ZERO,
            is_muted: false,
            is_lost: false,
            connection: self.connections(),
        };
        let mut faults = self.faults.lock();
        if !faults.is_aimed() {
            return passage;
        }
        for method in methods {
            let hindered = faults.hinder(method.as_ref());
            passage.inbound = passage.inbound.max(hindered.inbound);
            passage.outbound = passage.outbound.max(hindered.outbound);
            passage.is_muted |= hindered.is_muted;
            passage.is_lost |= hindered.is_lost;
        }
        passage
    }
}

impl Passage {
    /// Waits until the packet is at the node, forever if it gets lost.
    pub(crate) async fn arrive(&mut self) -> Result<(), Cut> {
        travel(&mut self.connection, self.inbound, self.is_muted).await
    }

    /// Waits until the answer is with the caller, forever if it gets lost.
    pub(crate) async fn leave(&mut self) -> Result<(), Cut> {
        travel(&mut self.connection, self.outbound, self.is_lost).await
    }
}

async fn travel(connection: &mut watch::Receiver<u64>, time: Duration, is_lost: bool) -> Result<(), Cut> {
    let on_the_way = async {
        if !time.is_zero() {
            sleep(time).await;
        }
        if is_lost {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        _ = connection.changed() => Err(Cut),
        () = on_the_way => Ok(()),
    }
}
