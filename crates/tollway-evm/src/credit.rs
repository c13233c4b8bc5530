//! Redeeming a seller's credit: the payer signs, by EIP-712, which credit for which request and until when.
//!
//! What lives here: the message, its signing and its recovery. What does not: what a credit says (`tollway-core`) and
//! whether it is good (`tollway-seller`).

use alloy_primitives::{Address, B256, Signature, U256};
use alloy_sol_types::sol;
use tollway_core::{Credit, Fingerprint, UnixTime};

use crate::eip712::Domain;
use crate::exact::parse_address;
use crate::signature::{self, SignatureError};

sol! {
    /// What the payer signs. No token knows this type or this domain: it moves no money.
    #[derive(Debug)]
    struct CreditRedemption {
        string credit;
        bytes32 request;
        uint256 validBefore;
    }
}

/// The name and version of the domain. Its contract is the asset's, which never checks such a thing.
const DOMAIN: (&str, &str) = ("Tollway Credit", "1");

/// The bytes whose keccak256 the payer signs to redeem `credit`, whose text with the seller's seal is `sealed`, for
/// `request`, before `valid_before`. None unless the credit is of an EVM network.
///
/// ```
/// # use tollway_core::{Amount, AuthorizationKey, Credit, Fingerprint, Network, UnixTime};
/// use tollway_evm::{LocalSigner, Signer, credit};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let text = || "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913".to_owned();
/// # let given = Credit { id: AuthorizationKey::new("k"), payer: text(), network: Network::evm(8453), asset: text(),
/// #     amount: Amount::ZERO, pay_to: text(), transaction: text(), request: Fingerprint::from_bytes([7; 32]),
/// #     issued_at: UnixTime(0), expires_at: UnixTime(9) };
/// let (signer, request, until) = (LocalSigner::random()?, Fingerprint::from_bytes([1; 32]), UnixTime(1_750_000_000));
/// let preimage = credit::preimage(&given, "e30.seal", request, until).expect("an EVM network");
/// let signed = signer.sign(&preimage).await?;
/// assert_eq!(credit::redeemer(&given, "e30.seal", request, until, &signed), Ok(signer.address()));
/// # Ok(()) }
/// ```
pub fn preimage(
    credit: &Credit,
    sealed: &str,
    request: Fingerprint,
    valid_before: UnixTime,
) -> Option<[u8; 66]> {
    let domain = Domain::new(&credit.network, parse_address(&credit.asset)?, DOMAIN.0, DOMAIN.1)?;
    let message = CreditRedemption {
        credit: sealed.to_owned(),
        request: B256::from(*request.as_bytes()),
        validBefore: U256::from(valid_before.0),
    };
    Some(domain.preimage(&message))
}

/// Who signed to redeem `credit`.
///
/// # Errors
/// [`SignatureError::Invalid`] when no key fits, or the credit is of no EVM network.
///
/// ```
/// # use tollway_core::{Amount, AuthorizationKey, Credit, Fingerprint, Network, UnixTime};
/// # let text = || "no address".to_owned();
/// # let given = Credit { id: AuthorizationKey::new("k"), payer: text(), network: Network::evm(8453), asset: text(),
/// #     amount: Amount::ZERO, pay_to: text(), transaction: text(), request: Fingerprint::from_bytes([7; 32]),
/// #     issued_at: UnixTime(0), expires_at: UnixTime(9) };
/// use tollway_evm::{credit, signature};
/// let signed = signature::parse(&[&[7; 64][..], &[27]].concat())?;
/// let (request, until) = (Fingerprint::from_bytes([1; 32]), UnixTime(1_750_000_000));
/// assert!(credit::redeemer(&given, "e30.seal", request, until, &signed).is_err(), "its asset is no address");
/// # Ok::<(), signature::SignatureError>(())
/// ```
pub fn redeemer(
    credit: &Credit,
    sealed: &str,
    request: Fingerprint,
    valid_before: UnixTime,
    signature: &Signature,
) -> Result<Address, SignatureError> {
    let preimage = preimage(credit, sealed, request, valid_before).ok_or(SignatureError::Invalid)?;
    signature::recover(alloy_primitives::keccak256(preimage), signature)
}
