//! The interop matrix: every published partner with us, as client, server and facilitator, over real HTTP and a real
//! EVM, with the books checked for every payment.
//!
//! `peers` says who there is and what each can do, `cases` what is tried, `verdicts` what must come of it, `stand`
//! holds everything that runs, `run` tries (what takes a whole channel, in `channel`), and `page` writes down what came of it: `docs/interop.md`.
//! How the partners' own programs are talked with is in `partner`; the programs are below `interop/`.
//!
//! The partners are found by the environment, as `cargo xtask test` sets it. Without it the matrix says that it did
//! not run.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test ends by panicking and says what it could not run"
)]

mod cases;
mod channel;
#[path = "../it/market.rs"]
#[expect(dead_code, reason = "the end-to-end suite uses the rest")]
mod market;
#[path = "../it/node.rs"]
mod node;
mod page;
mod partner;
mod peers;
#[path = "../it/process.rs"]
#[expect(dead_code, reason = "the end-to-end suite uses the rest")]
mod process;
mod run;
mod stand;
mod verdicts;

use node::Kind;
use run::Matrix;

/// Every combination with at least one of us and at least one of them does as the table says, and the page says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_partner_trades_with_us_as_the_table_says_on_our_devnet() {
    let Some(mut matrix) = Matrix::open(Kind::Devnet, |_| true).await else { return };
    let cells = matrix.run(|_| true).await;
    run::assert_as_said(&cells);
    let faults = matrix.run_requests().await;
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    page::assert_current(&cells);
}

/// A client, a server and a facilitator.
const FEW: [&str; 3] = ["fetch", "express", "core"];

/// The devnet is ours: that it is not our devnet that makes it work is tried on another node, with one partner of each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partner_of_each_role_trades_with_us_as_the_table_says_on_anvil() {
    let Some(mut matrix) = Matrix::open(Kind::Anvil, |peer| FEW.contains(&peer.id)).await else { return };
    let cells = matrix.run(|row| FEW.contains(&row.only_stranger())).await;
    assert!(cells.len() >= 3, "a client, a server and a facilitator");
    run::assert_as_said(&cells);
}
