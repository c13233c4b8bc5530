//! From a password to the two keys of a file, by scrypt or PBKDF2, within bounds: a file that somebody else wrote must
//! not eat this machine's memory or its day.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use serde_json::{Value, json};
use tollway_core::wire::{Fields, WireError};
use zeroize::Zeroizing;

use super::{Hardness, KeystoreError};

/// What is derived: the key of the cipher, then that of the checksum.
pub(super) type Derived = Zeroizing<[u8; 32]>;

/// How a file's keys follow from its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kdf {
    salt: Vec<u8>,
    /// How many bytes the file wants. The first ones are the same however many there are, and only 32 are used.
    dklen: u64,
    method: Method,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Method {
    Scrypt { log_n: u8, r: u32, p: u32 },
    Pbkdf2 { rounds: NonZeroU32 },
}

/// The most memory that scrypt may take: what geth's own files take.
const MAX_SCRYPT_BYTES: u64 = 256 * 1024 * 1024;
/// The most work: eight times that of geth's own files.
const MAX_SCRYPT_WORK: u64 = 1 << 24;
/// The most rounds of PBKDF2: forty times what files have.
const MAX_ROUNDS: u64 = 10_000_000;
const MAX_SALT_BYTES: usize = 256;
/// Longer keys than any cipher's.
const MAX_DKLEN: u64 = 128;

impl Kdf {
    /// For a new file.
    pub(super) fn fresh(hardness: Hardness, salt: [u8; 32]) -> Self {
        let (log_n, p) = match hardness {
            Hardness::Standard => (18, 1),
            Hardness::Light => (12, 6),
        };
        Self { salt: salt.to_vec(), dklen: 32, method: Method::Scrypt { log_n, r: 8, p } }
    }

    /// Reads the parameters of the function `name`.
    pub(super) fn read(name: &str, mut parameters: Fields) -> Result<Self, WireError> {
        let method = match name {
            "scrypt" => Method::scrypt(&mut parameters)?,
            _ => Method::pbkdf2(&mut parameters)?,
        };
        let dklen = parameters.number("dklen")?;
        if !(32..=MAX_DKLEN).contains(&dklen) {
            return Err(parameters.error("dklen", format!("must be 32 to {MAX_DKLEN}")));
        }
        let salt = super::file::bytes(&mut parameters, "salt", 0..=MAX_SALT_BYTES)?;
        Ok(Self { salt, dklen, method })
    }

    /// Its name, and its parameters.
    pub(super) fn write(&self) -> (&'static str, Value) {
        let salt = alloy_primitives::hex::encode(&self.salt);
        match self.method {
            Method::Scrypt { log_n, r, p } => {
                let n = 1u64 << log_n;
                ("scrypt", json!({ "dklen": self.dklen, "n": n, "p": p, "r": r, "salt": salt }))
            }
            Method::Pbkdf2 { rounds } => {
                let parameters =
                    json!({ "c": rounds, "dklen": self.dklen, "prf": "hmac-sha256", "salt": salt });
                ("pbkdf2", parameters)
            }
        }
    }

    pub(super) fn derive(&self, password: &[u8]) -> Result<Derived, KeystoreError> {
        let mut derived = Zeroizing::new([0u8; 32]);
        match self.method {
            Method::Scrypt { log_n, r, p } => {
                let broken = || KeystoreError::Format("crypto.kdfparams: are not for scrypt".to_owned());
                let parameters = scrypt::Params::new(log_n, r, p).map_err(|_| broken())?;
                scrypt::scrypt(password, &self.salt, &parameters, derived.as_mut_slice())
                    .map_err(|_| broken())?;
            }
            Method::Pbkdf2 { rounds } => {
                let out = derived.as_mut_slice();
                pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &self.salt, password, out);
            }
        }
        Ok(derived)
    }
}

impl Method {
    fn scrypt(parameters: &mut Fields) -> Result<Self, WireError> {
        let n = parameters.number("n")?;
        let (r, p) = (small(parameters, "r")?, small(parameters, "p")?);
        if n < 2 || !n.is_power_of_two() {
            return Err(parameters.error("n", "must be a power of two above 1"));
        }
        let block = 128 * u64::from(r);
        let memory = n.checked_add(u64::from(p)).and_then(|blocks| blocks.checked_mul(block));
        // Geth's own files are at the bound; the parallel blocks beside it are a rounding error, but not if there are many.
        if memory.is_none_or(|bytes| bytes > MAX_SCRYPT_BYTES + MAX_SCRYPT_BYTES / 16) {
            return Err(
                parameters.error("n", format!("asks for more than {MAX_SCRYPT_BYTES} bytes of memory"))
            );
        }
        let work = n.checked_mul(u64::from(r)).and_then(|work| work.checked_mul(u64::from(p)));
        if work.is_none_or(|work| work > MAX_SCRYPT_WORK) {
            return Err(parameters.error("p", format!("asks for n · r · p above {MAX_SCRYPT_WORK}")));
        }
        let log_n = u8::try_from(n.trailing_zeros()).unwrap_or(u8::MAX);
        // The rules of scrypt itself. That of RFC 7914 on n and r is in error (erratum 5971), and published files break it.
        scrypt::Params::new(log_n, r, p)
            .map_err(|_| parameters.error("n", "does not fit r and p in scrypt"))?;
        Ok(Self::Scrypt { log_n, r, p })
    }

    fn pbkdf2(parameters: &mut Fields) -> Result<Self, WireError> {
        let prf = parameters.string("prf")?;
        if prf != "hmac-sha256" {
            return Err(parameters.error("prf", "must be \"hmac-sha256\""));
        }
        let rounds = parameters.number("c")?;
        let rounds = u32::try_from(rounds).ok().filter(|rounds| u64::from(*rounds) <= MAX_ROUNDS);
        let rounds = rounds.and_then(NonZeroU32::new);
        let rounds = rounds.ok_or_else(|| parameters.error("c", format!("must be 1 to {MAX_ROUNDS}")))?;
        Ok(Self::Pbkdf2 { rounds })
    }
}

/// Not zero, and small enough to be multiplied.
fn small(parameters: &mut Fields, name: &str) -> Result<u32, WireError> {
    let number = u32::try_from(parameters.number(name)?).ok().filter(|number| (1..=4096).contains(number));
    number.ok_or_else(|| parameters.error(name, "must be 1 to 4096"))
}
