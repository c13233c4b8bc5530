//! Writes the seeds of `corpus/` from the golden vectors and a list of telling texts: `cargo run --example seeds`.

use std::error::Error;
use std::fs;
use std::path::Path;

use serde_json::Value;
use tollway_core::wire::decode_header;

fn main() -> Result<(), Box<dyn Error>> {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/tollway-core/tests/vectors");
    for producer in ["typescript", "python"] {
        let list: Vec<Value> = serde_json::from_slice(&fs::read(vectors.join(format!("{producer}.json")))?)?;
        for vector in &list {
            let text = |key: &str| vector[key].as_str().unwrap_or_default();
            let (name, wire) = (format!("{producer}-{}", text("name")), text("wire").as_bytes());
            let json = if wire.starts_with(b"{") { wire.to_vec() } else { decode_header("seed", wire)? };
            match text("kind") {
                "payment-payload" => {
                    seed("payment_header", &name, wire)?;
                    seed("payment_json", &name, &json)?;
                }
                "payment-required" => seed("payment_required", &name, &json)?,
                "facilitator-request" => {
                    seed("facilitator_request", &name, &json)?;
                    seed("evm_exact", &name, &json)?;
                }
                "settle-response" => seed("settle_response", &name, &json)?,
                "verify-response" => seed("verify_response", &name, &json)?,
                "supported" => seed("supported", &name, &json)?,
                kind => return Err(format!("nobody knows the kind {kind}").into()),
            }
        }
    }
    seed("evm_signature", "valid", &[[7; 32].as_slice(), &SIGNATURE].concat())?;
    seed("evm_signature", "short", &SIGNATURE)?;
    let valid = br#"{"isValid":true,"payer":"0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266","extra":{"n":1.5}}"#;
    seed("verify_response", "valid", valid)?;
    for (target, texts) in TEXTS {
        for (index, text) in texts.iter().enumerate() {
            seed(target, &format!("{index:02}"), text.as_bytes())?;
        }
    }
    Ok(())
}

/// The generator's abscissa as `r`, one as `s`: a point on the curve, so a key fits.
const SIGNATURE: [u8; 65] = {
    let r = [
        0x79, 0xbe, 0x66, 0x7e, 0xf9, 0xdc, 0xbb, 0xac, 0x55, 0xa0, 0x62, 0x95, 0xce, 0x87, 0x0b, 0x07, 0x02,
        0x9b, 0xfc, 0xdb, 0x2d, 0xce, 0x28, 0xd9, 0x59, 0xf2, 0x81, 0x5b, 0x16, 0xf8, 0x17, 0x98,
    ];
    let mut bytes = [0; 65];
    let mut at = 0;
    while at < r.len() {
        bytes[at] = r[at];
        at += 1;
    }
    bytes[63] = 1;
    bytes[64] = 27;
    bytes
};

const TEXTS: [(&str, &[&str]); 4] = [
    (
        "amount",
        &[
            "0",
            "1",
            "10000",
            "01",
            "1e3",
            "+1",
            "115792089237316195423570985008687907853269984665640564039457584007913129639935",
            "115792089237316195423570985008687907853269984665640564039457584007913129639936",
        ],
    ),
    (
        "money",
        &[
            "$0.01",
            "0.01",
            "1 USD",
            "0.10 EURC",
            "0.25 USD\u{20ae}0",
            "$0.0000001",
            "$1.",
            "1,000",
            "$1000000000000000",
        ],
    ),
    (
        "network",
        &[
            "eip155:8453",
            "eip155:08453",
            "base-sepolia",
            "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1",
            "eip155:+1",
            ":",
        ],
    ),
    (
        "canonical_url",
        &[
            "https://API.example.com:443/a/./b/../c?x=%7e&y=%2F#part",
            "http://user:pw@example.com/%zz/%41%2e%2e/%",
            "https://bücher.example/ü?q=☃",
            "http://[::1]:8080//a//b?",
            "https://example.com/%%34%31",
            "https://example.com/%a%34",
            "https://example.com/%+A",
        ],
    ),
];

fn seed(target: &str, name: &str, data: &[u8]) -> Result<(), Box<dyn Error>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&directory)?;
    Ok(fs::write(directory.join(name), data)?)
}
