//! An anvil beside the devnet, for whatever must hold on both. There is one where `TOLLWAY_ANVIL` is the path of one.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tollway_devnet::Handle;

use crate::fixture::{Rpc, devnet};

/// The devnet, and an anvil at the same genesis.
pub(crate) struct Nodes {
    pub(crate) rpcs: Vec<Rpc>,
    _devnet: Handle,
    _anvil: Option<Anvil>,
}

/// Every node that there is to test on.
pub(crate) async fn nodes() -> Nodes {
    let (devnet, ours) = devnet().await;
    let mut rpcs = vec![ours];
    let anvil = anvil().await.map(|(anvil, rpc)| {
        rpcs.push(rpc);
        anvil
    });
    Nodes { rpcs, _devnet: devnet, _anvil: anvil }
}

pub(crate) struct Anvil(Child);

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An anvil at our genesis.
pub(crate) async fn anvil() -> Option<(Anvil, Rpc)> {
    let Ok(program) = std::env::var("TOLLWAY_ANVIL") else {
        eprintln!("skipped: TOLLWAY_ANVIL is not set");
        return None;
    };
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(program);
    command.args(["--silent", "--port", &port.to_string()]).stdout(Stdio::null());
    let anvil = Anvil(command.spawn().unwrap());
    let rpc = Rpc::new(format!("http://127.0.0.1:{port}"));
    for _ in 0..200 {
        if rpc.http.get(&rpc.url).send().await.is_ok() {
            rpc.rebuild_genesis().await;
            return Some((anvil, rpc));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("anvil does not answer");
}
