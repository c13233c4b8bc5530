//! Golden vectors of the published TypeScript packages: what they say of who somebody is, and their verdict on what we say.

use serde_json::{Map, Value};
use tollway_core::extension::builder_code::{Attribution, BuilderCode, append};
use tollway_core::extension::echo;
use tollway_core::extension::sign_in::SignInProof;
use tollway_core::{Network, X402Version};
use tollway_evm::{LocalSigner, Signer, sign_in};

/// The first well-known development key, which the vectors were made with.
const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

fn vectors(kind: &str) -> Vec<Value> {
    let path = format!("{}/tests/vectors/identity.json", env!("CARGO_MANIFEST_DIR"));
    let all: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let list = all[kind].as_array().unwrap().clone();
    assert!(!list.is_empty(), "{kind}");
    list
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap()
}

#[tokio::test]
async fn a_proof_of_theirs_is_read_and_one_of_ours_is_theirs_to_the_last_byte() {
    let signer = LocalSigner::from_hex(KEY).unwrap();
    for vector in vectors("signIn") {
        let network: Network = vector["chainId"].as_str().unwrap().parse().unwrap();
        let text = vector["text"].as_str().unwrap();
        let theirs = SignInProof::decode(vector["theirs"].as_str().unwrap().as_bytes()).unwrap();
        assert_eq!(theirs.message.evm_text(&theirs.address, &network).as_deref(), Some(text));
        let digits = theirs.signature.strip_prefix("0x").unwrap();
        let bytes = tollway_evm::Bytes::from(alloy_primitives::hex::decode(digits).unwrap());
        assert_eq!(sign_in::signer_of(text, &bytes), Ok(signer.address()));
        let signature = signer.sign(&sign_in::preimage(text)).await.unwrap().to_string();
        assert_eq!(signature, vector["signature"].as_str().unwrap(), "{text}");
        let ours = SignInProof { signature, signature_scheme: None, ..theirs };
        assert_eq!(ours.encode(), vector["ours"].as_str().unwrap());
        assert_eq!(vector["verdict"]["isValid"], true, "the packages read it");
        assert_eq!(vector["verdict"]["payer"], signer.address().to_string());
    }
}

#[test]
fn the_codes_on_chain_are_theirs_byte_for_byte_and_read_alike() {
    let code = |value: &Value| value.as_str().map(|text| BuilderCode::new(text).unwrap());
    for vector in vectors("suffix") {
        let codes = &vector["codes"];
        let services = codes["s"].as_array().into_iter().flatten().filter_map(code).collect();
        let ours = Attribution { app: code(&codes["a"]), wallet: code(&codes["w"]), services };
        let suffix = ours.suffix();
        assert_eq!(alloy_primitives::hex::encode_prefixed(&suffix), vector["suffix"].as_str().unwrap());
        assert_eq!(vector["read"], *codes, "the packages read it back");
        assert_eq!(Attribution::read(&[&[0xe3, 0xee, 0x16, 0x0e], suffix.as_slice()].concat()), Some(ours));
    }
}

#[test]
fn codes_are_appended_as_they_append_them() {
    for vector in vectors("append") {
        let mut extensions = object(&vector["declared"]).clone();
        let codes = vector["codes"].as_array().unwrap().iter();
        let codes: Vec<_> = codes.map(|code| BuilderCode::new(code.as_str().unwrap()).unwrap()).collect();
        append(&mut extensions, &codes);
        assert_eq!(Value::Object(extensions.clone()), vector["merged"]);
        let merged = Attribution::of_payment(&extensions, X402Version::V2, None, None);
        assert!(codes.iter().all(|code| merged.services.contains(code)));
    }
}

#[test]
fn an_echo_is_what_they_take_for_one() {
    for vector in vectors("echo") {
        let (declared, echoed) = (object(&vector["declared"]), object(&vector["echoed"]));
        let is_echo = echo::mismatch(declared, echoed).is_none();
        assert_eq!(is_echo, vector["valid"].as_bool().unwrap(), "{vector}");
    }
}
