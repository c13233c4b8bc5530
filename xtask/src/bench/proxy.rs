//! A JSON-RPC proxy between a facilitator and its node: it counts calls, and can make the node seem farther away.
//!
//! It is in the way only of runs that count or delay: on shared cores its own work would be charged to whoever
//! asks a node the most.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::net::TcpListener;

use super::child::announce;
use super::frames::{Frames, find};

/// Calls by method.
pub(super) type Calls = BTreeMap<String, u64>;

/// Asked for this, a proxy or a node of ours tells its counts.
const COUNTS: &[u8] = b"GET /counts ";

/// Counts calls. One thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Counter(Rc<RefCell<Calls>>);

impl Counter {
    /// Counts the calls in a JSON-RPC body: one, or as many as a batch holds.
    pub(super) fn count(&self, body: &[u8]) {
        const METHOD: &[u8] = b"\"method\":\"";
        let is_batch = body.first() == Some(&b'[');
        let mut rest = body;
        while let Some(at) = find(rest, METHOD) {
            rest = &rest[at + METHOD.len()..];
            let name = rest.split(|byte| *byte == b'"').next().unwrap_or_default();
            *self.0.borrow_mut().entry(String::from_utf8_lossy(name).into_owned()).or_default() += 1;
            if !is_batch {
                break;
            }
        }
    }

    /// Answers a request for the counts; false if it is for something else.
    pub(super) async fn tell(&self, client: &mut Frames) -> Result<bool> {
        if !client.message().starts_with(COUNTS) {
            return Ok(false);
        }
        let counts = serde_json::to_string(&*self.0.borrow())?;
        client.send_json(&counts).await?;
        Ok(true)
    }
}

/// The role of the proxy's process: between whoever asks and `upstream`, as `127.0.0.1:8545`.
pub(super) async fn run(upstream: String, delay: Duration) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    announce(&listener.local_addr()?.to_string())?;
    let counter = Counter::default();
    tokio::task::LocalSet::new()
        .run_until(async {
            loop {
                let (client, _) = listener.accept().await?;
                let (upstream, counter) = (upstream.clone(), counter.clone());
                tokio::task::spawn_local(async move {
                    // Whoever asked sees the connection end.
                    let _ = pass(Frames::new(client)?, &upstream, delay, counter).await;
                    Ok::<_, anyhow::Error>(())
                });
            }
        })
        .await
}

/// What a proxy or a node of ours has counted so far.
pub(super) async fn counts(address: &str) -> Result<Calls> {
    let mut frames = Frames::connect(address).await?;
    frames.send(b"GET /counts HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
    if !frames.next().await? {
        bail!("no counts");
    }
    let counts: Value = serde_json::from_slice(frames.body())?;
    let counts = counts.as_object().context("counts are an object")?;
    Ok(counts.iter().map(|(name, count)| (name.clone(), count.as_u64().unwrap_or_default())).collect())
}

async fn pass(mut client: Frames, upstream: &str, delay: Duration, counter: Counter) -> Result<()> {
    let mut node = None;
    while client.next().await? {
        if counter.tell(&mut client).await? {
            continue;
        }
        counter.count(client.body());
        let node = match &mut node {
            Some(node) => node,
            none => none.insert(Frames::connect(upstream).await?),
        };
        node.send(client.message()).await?;
        if !node.next().await? {
            bail!("the node closed the connection");
        }
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        client.send(node.message()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Counter;

    #[test]
    fn every_call_of_a_batch_counts_and_data_that_looks_like_a_call_does_not() {
        let counter = Counter::default();
        counter.count(br#"{"method":"eth_call","params":[{"data":"\"method\":\"x\""}]}"#);
        counter.count(br#"[{"id":1,"method":"eth_call"},{"id":2,"method":"eth_getCode"}]"#);
        let counts = counter.0.borrow();
        assert_eq!((counts["eth_call"], counts["eth_getCode"], counts.len()), (2, 1, 2));
    }
}
