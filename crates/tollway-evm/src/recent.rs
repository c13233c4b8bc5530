//! Signers recovered a moment ago. A seller with the facilitator in its process checks one payment three
//! times: itself, on verify and on settle; a facilitator apart checks it twice. Recovering the key is nine
//! tenths of a check, and the same digest and signature always give the same key.

use std::sync::{LazyLock, Mutex};

use alloy_primitives::{Address, B256, Signature};

use crate::signature::{SignatureError, recover};

/// More than are being served at once; a payment that was pushed out is recovered again.
const SLOTS: usize = 4096;

static RECENT: LazyLock<Recent> = LazyLock::new(|| Recent::new(SLOTS));

/// A table of fixed size: each signature has one place in it, and the newest has it.
#[derive(Debug)]
struct Recent {
    slots: Box<[Mutex<Option<Recovered>>]>,
}

/// All that goes into a recovery, and what came out. It is compared whole.
#[derive(Clone, Copy, Debug)]
struct Recovered {
    digest: B256,
    signature: Signature,
    signer: Address,
}

/// The address whose key signed `digest`, as [`recover`] finds it.
pub(crate) fn signer(digest: B256, signature: &Signature) -> Result<Address, SignatureError> {
    RECENT.signer(digest, signature)
}

impl Recent {
    fn new(slots: usize) -> Self {
        Self { slots: (0..slots).map(|_| Mutex::default()).collect() }
    }

    fn signer(&self, digest: B256, signature: &Signature) -> Result<Address, SignatureError> {
        if let Some(signer) = self.get(digest, signature) {
            return Ok(signer);
        }
        let signer = recover(digest, signature)?;
        // Somebody else has the slot: recovering again costs less than waiting in line.
        if let Ok(mut slot) = self.slot(digest).try_lock() {
            *slot = Some(Recovered { digest, signature: *signature, signer });
        }
        Ok(signer)
    }

    fn get(&self, digest: B256, signature: &Signature) -> Option<Address> {
        let known = (*self.slot(digest).try_lock().ok()?)?;
        (known.digest == digest && known.signature == *signature).then_some(known.signer)
    }

    /// A digest is a hash: its first bytes spread evenly. Who grinds them makes others' checks slower at
    /// most.
    fn slot(&self, digest: B256) -> &Mutex<Option<Recovered>> {
        let place = usize::from(u16::from_be_bytes([digest[0], digest[1]]));
        &self.slots[place % self.slots.len()]
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::keccak256;
    use secp256k1::SecretKey;

    use super::{Recent, SignatureError};
    use crate::signature::{address_of_secret, parse, sign};

    #[test]
    fn a_remembered_signer_is_the_recovered_one() {
        let recent = Recent::new(1);
        let keys = [7, 8].map(|byte| SecretKey::from_byte_array([byte; 32]).unwrap());
        let digests = ["pay", "pay more"].map(keccak256);
        for _ in 0..2 {
            for digest in digests {
                for key in &keys {
                    let signature = sign(digest, key);
                    assert_eq!(recent.get(digest, &signature), None, "one slot holds only the newest");
                    for _ in 0..2 {
                        assert_eq!(recent.signer(digest, &signature), Ok(address_of_secret(key)));
                    }
                    assert_eq!(recent.get(digest, &signature), Some(address_of_secret(key)));
                }
            }
        }
    }

    #[test]
    fn what_nobody_signed_is_never_remembered() {
        let recent = Recent::new(1);
        let digest = keccak256("pay");
        let nobodys = parse(&[0; 65]).unwrap();
        for _ in 0..2 {
            assert_eq!(recent.signer(digest, &nobodys), Err(SignatureError::Invalid));
            assert_eq!(recent.get(digest, &nobodys), None);
        }
    }
}
