//! Payments that are signed before any clock starts, and the request bodies around them.
//!
//! Which payer signs and under which nonce follows from a payment's number, so only signatures are kept, in
//! `target/bench/`. Every chain of a bench starts anew, so every measurement spends the same payments.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, anyhow};
use tollway_core::{Clock, Network, SystemClock};
use tollway_devnet::genesis;
use tollway_evm::eip712::Domain;
use tollway_evm::exact::Authorization;
use tollway_evm::{Address, B256, LocalSigner, Signer, U256};

use super::market::block_on;

/// Payments by payers with money.
pub(super) const PAYMENTS: usize = 160_000;
/// Payments by payers without any, behind the others.
pub(super) const UNCOVERED: usize = 20_000;
/// Payers with money: most payments of a batch are by different ones.
pub(super) const PAYERS: usize = 512;
/// Payers without.
const POOR_PAYERS: usize = 512;
/// What everybody pays, atomic units: a cent.
pub(super) const VALUE: u64 = 10_000;
pub(super) const CHAIN_ID: u64 = 31_337;
/// Nobody's address.
pub(super) const PAYEE: Address = Address::repeat_byte(0x77);
/// How long a signature is valid, and how long it must be when it is found on disk.
const VALID_SECONDS: u64 = 20 * 3600;
const LEFT_SECONDS: u64 = 6 * 3600;
const SIGNATURE_BYTES: usize = 65;
const HEAD_BYTES: usize = 16;
/// In the file's head: changes whenever what is signed does.
const FORMAT: u64 = 1;

/// Signed payments.
#[derive(Debug)]
pub(super) struct Signed {
    /// Where they are kept, for another process to load.
    pub(super) path: PathBuf,
    valid_before: u64,
    signatures: Vec<u8>,
    payers: Vec<Address>,
}

/// What is wrong with a payment, if anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    None,
    /// Signed by another key.
    Signature,
    /// For less than the offer asks.
    Amount,
    /// Expired.
    Expired,
    /// For another network.
    Network,
    /// No JSON.
    Garbage,
}

/// The flaws in turn; then come payments without cover, which have none.
pub(super) const FLAWS: [Flaw; 5] =
    [Flaw::Signature, Flaw::Amount, Flaw::Expired, Flaw::Network, Flaw::Garbage];

impl Signed {
    /// Those on disk, if they are valid long enough; otherwise signs anew, on every core.
    pub(super) fn prepare(directory: &Path) -> Result<Self> {
        let path = directory.join("payments.bin");
        let now = SystemClock.now().0;
        if let Ok(found) = Self::load(&path)
            && found.valid_before > now + LEFT_SECONDS
        {
            return Ok(found);
        }
        let valid_before = now + VALID_SECONDS;
        let signatures = sign_all(valid_before)?;
        let bytes = [&FORMAT.to_be_bytes()[..], &valid_before.to_be_bytes(), &signatures].concat();
        fs::create_dir_all(directory)?;
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        Self::load(&path)
    }

    /// Those in a file.
    pub(super) fn load(path: &Path) -> Result<Self> {
        let bytes = fs::read(path)?;
        let (head, signatures) = bytes.split_at_checked(HEAD_BYTES).context("the file is too short")?;
        let number = |at: usize| Some(u64::from_be_bytes(head.get(at..at + 8)?.try_into().ok()?));
        let whole = number(0) == Some(FORMAT) && signatures.len() == (PAYMENTS + UNCOVERED) * SIGNATURE_BYTES;
        let valid_before = number(8).filter(|_| whole).context("the file is of another kind")?;
        let payers = (0..PAYERS + POOR_PAYERS).map(|payer| Ok(key(payer)?.address()));
        Ok(Self {
            path: path.to_owned(),
            valid_before,
            signatures: signatures.to_vec(),
            payers: payers.collect::<Result<_>>()?,
        })
    }

    /// The accounts that need money.
    pub(super) fn payers(&self) -> &[Address] {
        &self.payers[..PAYERS]
    }

    /// The body of a request to `/verify` or `/settle` with payment `number`.
    pub(super) fn body(&self, number: usize, flaw: Flaw) -> Result<Vec<u8>> {
        let mut authorization = authorization(number, &self.payers, self.valid_before);
        let start = number * SIGNATURE_BYTES;
        let signature =
            self.signatures.get(start..start + SIGNATURE_BYTES).context("so many are not signed")?;
        let mut signature = signature.to_vec();
        let mut network = format!("eip155:{CHAIN_ID}");
        match flaw {
            Flaw::None => {}
            // Another nonce: the signature is of somebody, but not of the payer.
            Flaw::Signature => authorization.nonce.0[31] ^= 1,
            Flaw::Amount => authorization.value -= U256::from(1),
            Flaw::Expired => authorization.valid_before = U256::from(1_000),
            Flaw::Network => "eip155:8453".clone_into(&mut network),
            Flaw::Garbage => return Ok(format!("{{\"x402Version\":2,{number}").into_bytes()),
        }
        if signature[64] < 27 {
            signature[64] += 27;
        }
        Ok(json(&authorization, &signature, &network).into_bytes())
    }
}

/// The key of a payer, or, from [`PAYERS`] on, of a payer without money.
fn key(payer: usize) -> Result<LocalSigner> {
    secret(&format!("tollway bench payer {payer}"))
}

/// The keys that pay for gas.
pub(super) fn lanes(count: usize) -> Result<Vec<(String, Address)>> {
    let lane = |lane| {
        let signer = secret(&format!("tollway bench lane {lane}"))?;
        Ok((format!("0x{}", signer.expose_hex().trim_start_matches("0x")), signer.address()))
    };
    (0..count).map(lane).collect()
}

pub(super) fn secret(name: &str) -> Result<LocalSigner> {
    let digest = alloy_primitives::keccak256(name);
    Ok(LocalSigner::from_hex(&digest.to_string())?)
}

fn sign_all(valid_before: u64) -> Result<Vec<u8>> {
    let threads = thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let keys = (0..PAYERS + POOR_PAYERS).map(key).collect::<Result<Vec<_>>>()?;
    let payers: Vec<_> = keys.iter().map(Signer::address).collect();
    let all: Vec<usize> = (0..PAYMENTS + UNCOVERED).collect();
    let parts = thread::scope(|scope| {
        let (keys, payers) = (&keys, &payers);
        let sign = |numbers| scope.spawn(move || block_on(sign(numbers, keys, payers, valid_before))?);
        let workers: Vec<_> = all.chunks(all.len().div_ceil(threads)).map(sign).collect();
        let parts =
            workers.into_iter().map(|worker| worker.join().map_err(|_| anyhow!("signing broke off"))?);
        parts.collect::<Result<Vec<_>>>()
    })?;
    Ok(parts.concat())
}

async fn sign(
    numbers: &[usize],
    keys: &[LocalSigner],
    payers: &[Address],
    valid_before: u64,
) -> Result<Vec<u8>> {
    let domain =
        Domain::new(&Network::evm(CHAIN_ID), genesis::USDC, "USDC", "2").context("an EVM network")?;
    let mut signatures = Vec::with_capacity(numbers.len() * SIGNATURE_BYTES);
    for number in numbers {
        let preimage = domain.preimage(&authorization(*number, payers, valid_before).message());
        signatures.extend(keys[payer_of(*number)].sign(&preimage).await?.as_bytes());
    }
    Ok(signatures)
}

/// What all payments are signed for.
pub(super) fn domain() -> Option<Domain> {
    Domain::new(&Network::evm(CHAIN_ID), genesis::USDC, "USDC", "2")
}

fn payer_of(number: usize) -> usize {
    match number.checked_sub(PAYMENTS) {
        None => number % PAYERS,
        Some(uncovered) => PAYERS + uncovered % POOR_PAYERS,
    }
}

fn authorization(number: usize, payers: &[Address], valid_before: u64) -> Authorization {
    let mut nonce = B256::repeat_byte(0x5a);
    nonce[24..].copy_from_slice(&(number as u64 * 2).to_be_bytes());
    nonce[16..24].copy_from_slice(&valid_before.to_be_bytes());
    Authorization {
        from: payers[payer_of(number)],
        to: PAYEE,
        value: U256::from(VALUE),
        valid_after: U256::ZERO,
        valid_before: U256::from(valid_before),
        nonce,
    }
}

fn json(authorization: &Authorization, signature: &[u8], network: &str) -> String {
    let Authorization { from, to, value, valid_after, valid_before, nonce } = authorization;
    let signature = alloy_primitives::hex::encode_prefixed(signature);
    let offer = format!(
        "{{\"scheme\":\"exact\",\"network\":\"{network}\",\"amount\":\"{VALUE}\",\"asset\":\"{}\",\
         \"payTo\":\"{to}\",\"maxTimeoutSeconds\":300,\"extra\":{{\"name\":\"USDC\",\"version\":\"2\"}}}}",
        genesis::USDC
    );
    format!(
        "{{\"x402Version\":2,\"paymentPayload\":{{\"x402Version\":2,\"resource\":{{\"url\":\
         \"https://api.example.com/data\",\"description\":\"data\",\"mimeType\":\"application/json\"}},\
         \"accepted\":{offer},\"payload\":{{\"signature\":\"{signature}\",\"authorization\":{{\"from\":\"{from}\",\
         \"to\":\"{to}\",\"value\":\"{value}\",\"validAfter\":\"{valid_after}\",\"validBefore\":\
         \"{valid_before}\",\"nonce\":\"{nonce}\"}}}}}},\"paymentRequirements\":{offer}}}"
    )
}

#[cfg(test)]
mod tests {
    use tollway_core::{Clock, SystemClock, wire};
    use tollway_evm::{Signer, exact};

    use super::{CHAIN_ID, FLAWS, Flaw, Signed, authorization, key, payer_of, sign};
    use crate::bench::market::block_on;

    #[test]
    fn a_payment_is_believed_and_each_flaw_is_refused() {
        let now = SystemClock.now();
        let valid_before = now.0 + 3_600;
        let keys: Vec<_> = (0..2).map(|payer| key(payer).unwrap()).collect();
        let payers: Vec<_> = keys.iter().map(Signer::address).collect();
        let signatures = block_on(sign(&[0, 1], &keys, &payers, valid_before)).unwrap().unwrap();
        let signed = Signed { path: "none".into(), valid_before, signatures, payers };
        let verdict = |number, flaw| {
            let request = wire::decode_facilitator_request(&signed.body(number, flaw).unwrap());
            request.is_ok_and(|request| {
                request.requirements.network.evm_chain_id() == Some(CHAIN_ID)
                    && exact::check(&request.payment, &request.requirements, now)
                        .is_ok_and(|payment| payment.signature.is_by_key())
            })
        };
        assert!(verdict(0, Flaw::None) && verdict(1, Flaw::None));
        for flaw in FLAWS {
            assert!(!verdict(1, flaw), "{flaw:?}");
        }
    }

    #[test]
    fn no_two_payments_of_a_payer_share_a_nonce_nor_are_made_to_by_a_flaw() {
        let payers = vec![key(0).unwrap().address()];
        let nonces: std::collections::BTreeSet<_> = (0..3)
            .map(|turn| authorization(turn * super::PAYERS, &payers, 7))
            .map(|authorization| authorization.nonce)
            // The flaw of a signature is the next nonce.
            .flat_map(|nonce| [nonce, nonce ^ super::B256::with_last_byte(1)])
            .collect();
        assert_eq!(nonces.len(), 6);
        assert_eq!((payer_of(0), payer_of(super::PAYMENTS)), (0, super::PAYERS));
    }
}
