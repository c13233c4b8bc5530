// What the examples in the documentation stand on: a seller, a buyer who signs, and a facilitator without a
// chain. They take this in with `include!`, so that what they show is short and runs all the same.

mod shop {
    use std::sync::Arc;

    use tollway_core::model::{
        FacilitatorRequest, PaymentPayload, PaymentRequired, SettleResponse, SupportedKind,
        SupportedResponse, VerifyResponse,
    };
    use tollway_core::wire::{self, PAYMENT_REQUIRED};
    use tollway_core::{
        BoxFuture, BuyerScheme, Clock, Facilitator, FacilitatorError, Fingerprint, JsonObject, Network,
        SchemeName, SystemClock, X402Version,
    };
    use tollway_evm::exact::ExactBuyer;
    use tollway_evm::{AssetTable, LocalSigner};
    use tollway_seller::{Denial, Offers, Paywall, PaywallBuilder, Priced, Ticket};

    pub const PAY_TO: &str = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C";
    pub const URL: &str = "https://api.example.com/data";

    /// A facilitator in one of its moods.
    #[derive(Debug)]
    pub enum Clerk {
        /// Everything is valid and settles.
        Agrees,
        /// Everything is valid, and no settlement comes to an end.
        Pends,
        /// No answer about a payment ever comes.
        Silent,
    }

    impl Facilitator for Clerk {
        fn verify(&self, _: FacilitatorRequest) -> BoxFuture<'_, Result<VerifyResponse, FacilitatorError>> {
            match self {
                Self::Silent => Box::pin(std::future::pending()),
                _ => {
                    Box::pin(std::future::ready(Ok(VerifyResponse { is_valid: true, ..Default::default() })))
                }
            }
        }

        fn settle(
            &self,
            request: FacilitatorRequest,
        ) -> BoxFuture<'_, Result<SettleResponse, FacilitatorError>> {
            let payer = request.payment.payload["authorization"]["from"].as_str().unwrap().to_owned();
            let (network, hash) = (request.requirements.network, format!("0x{}", "ab".repeat(32)));
            match self {
                Self::Agrees => {
                    Box::pin(std::future::ready(Ok(SettleResponse::settled(network, payer, hash))))
                }
                Self::Pends => {
                    Box::pin(std::future::ready(Ok(SettleResponse::pending(network, payer, hash))))
                }
                Self::Silent => Box::pin(std::future::pending()),
            }
        }

        fn supported(&self) -> BoxFuture<'_, Result<SupportedResponse, FacilitatorError>> {
            let (scheme, extra) = (SchemeName::EXACT, JsonObject::new());
            let kind = |version, id| SupportedKind {
                version,
                scheme: scheme.clone(),
                network: Network::evm(id),
                extra: extra.clone(),
            };
            let versions = [X402Version::V2, X402Version::V1];
            let kinds =
                versions.iter().flat_map(|&version| [kind(version, 8453), kind(version, 84532)]).collect();
            Box::pin(std::future::ready(Ok(SupportedResponse { kinds, ..Default::default() })))
        }
    }

    /// A seller on Base whose facilitator agrees.
    pub fn builder() -> PaywallBuilder {
        Paywall::builder("https://api.example.com").accept("eip155:8453", PAY_TO).facilitator(Clerk::Agrees)
    }

    pub async fn paywall() -> Paywall {
        builder().start().await.unwrap()
    }

    /// The 402 that an unpaid request gets where `priced` is layered.
    pub async fn asked(priced: Priced) -> PaymentRequired {
        use tower::ServiceExt;
        let app = axum::Router::new().route("/data", axum::routing::get(|| async { "paid" }).layer(priced));
        let request = axum::http::Request::get("/data").body(axum::body::Body::empty()).unwrap();
        let response = app.oneshot(request).await.unwrap();
        let header = response.headers()[PAYMENT_REQUIRED].as_bytes();
        wire::decode_payment_required(&wire::decode_header(PAYMENT_REQUIRED, header).unwrap()).unwrap()
    }

    /// A new payment for the first of `offers`.
    pub async fn signed(offers: &Offers) -> PaymentPayload {
        let signer = Arc::new(LocalSigner::random().unwrap());
        let required = offers.payment_required(X402Version::V2, URL, None);
        let scheme = ExactBuyer::new(signer, AssetTable::known());
        scheme.sign(&required, &required.accepts[0], SystemClock.now()).await.unwrap()
    }

    /// A new payment of `$0.01`, admitted.
    pub async fn ticket(paywall: &Paywall) -> Result<Ticket, Denial> {
        ticket_for(paywall, paywall.price("$0.01").unwrap()).await
    }

    /// A new payment of what `priced` asks, admitted.
    pub async fn ticket_for(paywall: &Paywall, priced: Priced) -> Result<Ticket, Denial> {
        let offers = priced.offers().unwrap();
        let payment = paywall.check(&offers, signed(&offers).await, URL)?;
        paywall.admit(payment, Fingerprint::of("GET", &URL.parse().unwrap(), b"")).await
    }
}
use shop::*;
