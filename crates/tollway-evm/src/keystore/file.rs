//! What stands in a file of the Web3 Secret Storage, read strictly: an error names the field and its rule, and repeats
//! nothing of a value.

use std::ops::RangeInclusive;

use alloy_primitives::{Address, hex};
use serde_json::{Value, json};
use tollway_core::wire::{Fields, WireError, parse_object};

use super::Keystore;
use super::kdf::Kdf;

/// The longest file read. Files have about 500 bytes.
pub const MAX_KEYSTORE_BYTES: usize = 16 * 1024;

const VERSION: u64 = 3;
const CIPHER: &str = "aes-128-ctr";

pub(super) fn read(json: &[u8]) -> Result<Keystore, WireError> {
    let mut root = Fields::root(if json.len() <= MAX_KEYSTORE_BYTES {
        parse_object(json, "file")?
    } else {
        let too_long = format!("is longer than {MAX_KEYSTORE_BYTES} bytes");
        return Err(Fields::root(Default::default()).error("file", too_long));
    });
    let version = root.number("version")?;
    if version != VERSION {
        return Err(root.error("version", format!("must be {VERSION}, not {version}")));
    }
    let address = match root.optional_string("address")? {
        Some(text) => Some(address(&text).ok_or_else(|| root.error("address", "must be 40 hex digits"))?),
        None => None,
    };
    let id = root.optional_string("id")?.unwrap_or_default();
    // Files of old programs have the capital.
    let mut crypto = match root.optional_object("crypto")? {
        Some(crypto) => crypto,
        None => root.optional_object("Crypto")?.ok_or_else(|| root.error("crypto", "is required"))?,
    };
    if crypto.string("cipher")? != CIPHER {
        return Err(crypto.error("cipher", format!("must be {CIPHER:?}")));
    }
    let iv = exactly(&mut crypto.object("cipherparams")?, "iv")?;
    let ciphertext = bytes(&mut crypto, "ciphertext", 1..=32)?;
    let mac = exactly(&mut crypto, "mac")?;
    let function = crypto.string("kdf")?;
    if !matches!(function.as_str(), "scrypt" | "pbkdf2") {
        return Err(crypto.error("kdf", "must be \"scrypt\" or \"pbkdf2\""));
    }
    let kdf = Kdf::read(&function, crypto.object("kdfparams")?)?;
    Ok(Keystore { address, kdf, iv, ciphertext, mac, id })
}

pub(super) fn write(keystore: &Keystore) -> Value {
    let (kdf, parameters) = keystore.kdf.write();
    let mut file = json!({
        "crypto": {
            "cipher": CIPHER,
            "cipherparams": { "iv": hex::encode(keystore.iv) },
            "ciphertext": hex::encode(&keystore.ciphertext),
            "kdf": kdf,
            "kdfparams": parameters,
            "mac": hex::encode(keystore.mac),
        },
        "id": keystore.id,
        "version": VERSION,
    });
    if let Some(address) = keystore.address {
        file["address"] = hex::encode(address).into();
    }
    file
}

/// Bytes in hex, so many.
pub(super) fn bytes(
    fields: &mut Fields,
    name: &str,
    lengths: RangeInclusive<usize>,
) -> Result<Vec<u8>, WireError> {
    let text = fields.string(name)?;
    let bytes = hex::decode(&text).ok().filter(|bytes| lengths.contains(&bytes.len()));
    bytes.ok_or_else(|| {
        fields.error(name, format!("must be hex of {} to {} bytes", lengths.start(), lengths.end()))
    })
}

fn exactly<const LENGTH: usize>(fields: &mut Fields, name: &str) -> Result<[u8; LENGTH], WireError> {
    let text = fields.string(name)?;
    let mut bytes = [0u8; LENGTH];
    match hex::decode_to_slice(&text, &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(fields.error(name, format!("must be hex of {LENGTH} bytes"))),
    }
}

/// With or without `0x`, in any case.
fn address(text: &str) -> Option<Address> {
    let mut bytes = [0u8; 20];
    hex::decode_to_slice(text, &mut bytes).ok().map(|()| Address::from(bytes))
}
