//! An anvil beside the devnet, for whatever must hold on both. There is one where `TOLLWAY_ANVIL` is the path of one.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
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
    let mut command = Command::new(program);
    let mut anvil = Anvil(command.args(["--port", "0"]).stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(anvil.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    // It says where it listens.
    let address = lines.find_map(|line| line.strip_prefix("Listening on ").map(str::to_owned));
    let rpc = Rpc::new(format!("http://{}", address.unwrap()));
    // It waits when nobody reads what it says.
    std::thread::spawn(move || lines.for_each(drop));
    rpc.rebuild_genesis().await;
    Some((anvil, rpc))
}
