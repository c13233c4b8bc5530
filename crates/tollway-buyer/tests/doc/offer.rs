// What the examples in the documentation stand on: an offer of 0.05 USDC on Base, for 60 seconds, and a key
// that everybody knows. They take this in with `include!`, so that what they show is short and runs all the
// same.

mod offer {
    use tollway_buyer::{Policy, Purchase, Wallet};
    use tollway_core::model::{PaymentRequired, PaymentRequirements};
    use tollway_core::{OfferedValue, UnixTime, wire};
    use url::Url;

    pub const KEY: &str = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";

    pub fn url() -> Url {
        "https://api.example.com/data".parse().unwrap()
    }

    pub fn wallet() -> Wallet {
        Wallet::from_key(KEY).unwrap()
    }

    pub fn wallet_with(policy: Policy) -> Wallet {
        Wallet::builder().key(KEY).unwrap().policy(policy).build().unwrap()
    }

    pub fn required() -> PaymentRequired {
        let json = br#"{"x402Version":2,"resource":{"url":"https://api.example.com/data"},"accepts":[{
            "scheme":"exact","network":"eip155:8453","amount":"50000",
            "asset":"0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",
            "payTo":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
            "maxTimeoutSeconds":60,"extra":{"name":"USD Coin","version":"2"}}]}"#;
        wire::decode_payment_required(json).unwrap()
    }

    pub fn offer() -> (PaymentRequirements, OfferedValue) {
        let offer = required().accepts.remove(0);
        let value = OfferedValue { symbol: "USDC".into(), decimals: 6, amount: offer.amount, is_usd: true };
        (offer, value)
    }

    pub fn purchase<'a>(
        url: &'a Url,
        offer: &'a PaymentRequirements,
        value: &'a OfferedValue,
    ) -> Purchase<'a> {
        let (wallet, now) = ("0xabc", UnixTime(1_795_205_730));
        Purchase { wallet, url, method: "GET", tool: None, offer, value: Some(value), deposit: None, now }
    }
}
use offer::*;
