//! Signing in with an EVM account: the text of a sign-in message, signed as EIP-191 has it. The text is `tollway-core`'s.

use alloy_primitives::{Address, keccak256};

use crate::signature::{self, SignatureError};

/// What is hashed and signed for `text` (EIP-191, version `E`): no transaction and no typed data begins like it.
///
/// ```
/// use tollway_evm::sign_in;
/// assert_eq!(sign_in::preimage("pay"), b"\x19Ethereum Signed Message:\n3pay");
/// ```
pub fn preimage(text: &str) -> Vec<u8> {
    format!("\u{19}Ethereum Signed Message:\n{}{text}", text.len()).into_bytes()
}

/// The account that signed `text` with `signature`, 65 bytes.
///
/// # Errors
/// [`SignatureError`]: which rule of a plain key's signature is broken. A contract's signature is none.
///
/// ```
/// use tollway_evm::{LocalSigner, Signer, sign_in};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let signer = LocalSigner::random()?;
/// let signed = signer.sign(&sign_in::preimage("it is me")).await?;
/// assert_eq!(sign_in::signer_of("it is me", &signed.as_bytes()), Ok(signer.address()));
/// # Ok(()) }
/// ```
pub fn signer_of(text: &str, signature: &[u8]) -> Result<Address, SignatureError> {
    signature::recover(keccak256(preimage(text)), &signature::parse(signature)?)
}

/// Reads an address: in one case, or in both with the checksum of EIP-55. A message names it with its checksum.
///
/// ```
/// use tollway_evm::sign_in::read_address;
/// let address = read_address("0x857b06519e91e3a54538791bdbb0e22373e36b66").unwrap();
/// assert_eq!(address.to_string(), "0x857b06519E91e3A54538791bDbb0E22373e36b66");
/// assert_eq!(read_address("0x857B06519e91e3a54538791bdbb0e22373e36b66"), None, "a wrong checksum");
/// ```
pub fn read_address(text: &str) -> Option<Address> {
    let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 40)?;
    let address: Address = text.parse().ok()?;
    let is_mixed = digits.bytes().any(|digit| digit.is_ascii_lowercase())
        && digits.bytes().any(|digit| digit.is_ascii_uppercase());
    (!is_mixed || address.to_string() == text).then_some(address)
}
