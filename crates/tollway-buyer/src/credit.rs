//! A seller's credit: kept from an answer that failed after it was paid for, and redeemed for a request to the same seller.
//! What a credit says is in `tollway-core`; what is signed to redeem it is in `tollway-evm`.

use http::HeaderValue;
use reqwest::header::HeaderName;
use tollway_core::{Credit, Fingerprint, PAYMENT_CREDIT, SignError, UnixTime};
use tollway_evm::{Signer, credit as redemption};
use url::{Origin, Url};

use crate::error::PaymentError;
use crate::origin;

/// How long a redemption is good for. Long enough for clocks that differ, short enough for what is lost on the way.
const VALID_SECONDS: u64 = 60;

/// A credit as its seller gave it. Keep it: it is worth what was paid. Without the payer's key it is worth nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SellerCredit {
    credit: Credit,
    sealed: String,
    origin: Origin,
}

/// The credit that `response` gives to who paid for it and was not served.
///
/// ```no_run
/// # fn show(response: &reqwest::Response) {
/// if let Some(credit) = tollway_buyer::credit(response) {
///     println!("the seller still owes {} of {}", credit.terms().amount, credit.terms().asset);
/// }
/// # }
/// ```
pub fn credit(response: &reqwest::Response) -> Option<SellerCredit> {
    let text = response.headers().get(PAYMENT_CREDIT)?.to_str().ok()?;
    SellerCredit::parse(text, response.url())
}

impl SellerCredit {
    /// Reads the credit that a seller gave at `url`.
    ///
    /// ```
    /// let url = "https://api.example.com/data".parse().unwrap();
    /// assert!(tollway_buyer::SellerCredit::parse("no credit", &url).is_none());
    /// ```
    pub fn parse(text: &str, url: &Url) -> Option<Self> {
        let (body, _) = text.split_once('.')?;
        let credit = Credit::decode(body).ok()?;
        Some(Self { credit, sealed: text.to_owned(), origin: url.origin() })
    }

    /// What it says.
    ///
    /// ```
    /// use tollway_buyer::SellerCredit;
    /// fn is_over(credit: &SellerCredit, now: tollway_core::UnixTime) -> bool {
    ///     now >= credit.terms().expires_at
    /// }
    /// ```
    pub const fn terms(&self) -> &Credit {
        &self.credit
    }

    /// Signs for `request`, and puts the redemption on it.
    pub(crate) async fn redeem(
        &self,
        signer: Option<&dyn Signer>,
        request: &mut reqwest::Request,
        now: UnixTime,
    ) -> Result<(), PaymentError> {
        origin::check_secure(request.url())?;
        if request.url().origin() != self.origin {
            return Err(PaymentError::Credit("the request goes to another seller"));
        }
        let signer = signer.filter(|own| own.address().to_string().eq_ignore_ascii_case(&self.credit.payer));
        let signer = signer.ok_or(PaymentError::Credit("another account has paid for it"))?;
        let body = match request.body() {
            None => &[][..],
            Some(body) => body.as_bytes().ok_or(PaymentError::BodyNotReplayable)?,
        };
        let bound = Fingerprint::of(request.method().as_str(), request.url(), body);
        let valid_before = now.plus_seconds(VALID_SECONDS).min(self.credit.expires_at);
        let preimage = redemption::preimage(&self.credit, &self.sealed, bound, valid_before);
        let preimage =
            preimage.ok_or(PaymentError::Credit("it is of no network that the wallet signs on"))?;
        let signature = signer.sign(&preimage).await;
        let signature =
            signature.map_err(|error| PaymentError::Sign(SignError::Signer(error.to_string())))?;
        let text = format!("{}.{}.{signature}", self.sealed, valid_before.0);
        let mut value = HeaderValue::from_str(&text).map_err(|_| PaymentError::Unpresentable)?;
        value.set_sensitive(true);
        request.headers_mut().insert(HeaderName::from_static(PAYMENT_CREDIT), value);
        Ok(())
    }
}
