//! The published packages pay and settle through our contracts, as they do through those of other chains.

use std::{path::PathBuf, process::Command};

use serde_json::Value;
use tollway_devnet::{
    ACCOUNTS,
    genesis::{PERMIT_USD, PLAIN_USD},
};

use crate::{anvil::nodes, fixture::PAYEE};

/// The script beside the published packages, if they are there.
fn script(rpc: &str) -> Option<Command> {
    let Some(folder) = std::env::var_os("TOLLWAY_NODE_DIR").map(PathBuf::from) else {
        assert!(std::env::var_os("TOLLWAY_REQUIRE_FOREIGN").is_none(), "TOLLWAY_NODE_DIR must be set");
        eprintln!("skipped: TOLLWAY_NODE_DIR is not set");
        return None;
    };
    let mut command = Command::new("node");
    command.arg(folder.join("permit2.mjs")).current_dir(folder).args(["--rpc", rpc]);
    command.args(["--facilitator", &ACCOUNTS[3].secret_key.to_string()]);
    command.args(["--payer", &ACCOUNTS[4].secret_key.to_string(), "--pay-to", &PAYEE.to_string()]);
    command.args(["--permit-token", &PERMIT_USD.to_string(), "--plain-token", &PLAIN_USD.to_string()]);
    Some(command)
}

#[tokio::test]
async fn published_buyers_and_facilitators_pay_by_permit2() {
    // The payment, what the payee got, and why it was refused.
    let expected = [
        ("exact without an allowance", "0", "permit2_allowance_required"),
        ("exact with a permit", "1000", ""),
        ("upto with a permit", "250", ""),
        ("exact with an approval", "1000", ""),
        ("exact", "1000", ""),
        ("upto, a part", "400", ""),
        ("upto, nothing", "0", ""),
        ("upto, too much", "0", "invalid_upto_evm_payload_settlement_exceeds_amount"),
        ("upto by another facilitator", "0", "upto_facilitator_mismatch"),
    ];
    for rpc in nodes().await.rpcs {
        let Some(mut command) = script(&rpc.url) else { return };
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let told: Vec<_> = lines.iter().map(told).collect();
        assert_eq!(told, expected, "{} {}", rpc.url, String::from_utf8_lossy(&output.stderr));
    }
}

fn told(line: &Value) -> (&str, &str, &str) {
    (line["name"].as_str().unwrap(), line["paid"].as_str().unwrap(), reason(line))
}

fn reason(line: &Value) -> &str {
    line["invalidReason"].as_str().or(line["errorReason"].as_str()).unwrap_or_default()
}
