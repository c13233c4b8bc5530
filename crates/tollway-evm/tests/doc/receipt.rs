// What the examples of `offer_receipt` stand on: a seller's key, and what it signs.

mod seller {
    use std::sync::Arc;

    use tollway_core::{Amount, Fingerprint, Network, UnixTime};
    use tollway_evm::offer_receipt::{Binding, Issuer, OfferTerms, ReceiptTerms};
    use tollway_evm::{LocalSigner, Signer};

    fn signer() -> LocalSigner {
        let key = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
        LocalSigner::from_hex(key).unwrap()
    }

    pub fn issuer() -> Issuer {
        Issuer::eip712(Arc::new(signer()))
    }

    pub fn offer() -> OfferTerms {
        OfferTerms {
            resource_url: "https://api.example.com/data".to_owned(),
            scheme: "exact".to_owned(),
            network: Network::evm(8453),
            asset: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913".to_owned(),
            pay_to: signer().address().to_string(),
            amount: Amount::from(10_000u64),
            valid_until: Some(UnixTime(1_750_000_600)),
        }
    }

    pub fn receipt() -> ReceiptTerms {
        let offer = offer();
        ReceiptTerms {
            network: offer.network,
            resource_url: offer.resource_url,
            payer: "0x70997970C51812dc3A010C7d01b50e0d17dc79C8".to_owned(),
            issued_at: UnixTime(1_750_000_000),
            transaction: Some(format!("0x{}", "ab".repeat(32))),
            binding: Some(Binding {
                asset: offer.asset,
                pay_to: offer.pay_to,
                amount: offer.amount,
                log_index: Some(3),
                request: Fingerprint::from_bytes([7; 32]),
            }),
        }
    }
}
use seller::*;
