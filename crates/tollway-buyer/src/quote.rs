//! Asking for the price without paying it.

use reqwest::{Request, StatusCode};

use crate::error::PaymentError;
use crate::origin;
use crate::required::{self, Answer};
use crate::selection::{JudgedOffer, rank};
use crate::wallet::Wallet;

/// What a request would cost, and what the wallet says to it. Nothing is signed for it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Quote {
    /// The status of the answer. Anything but 402 is an answer that needs no payment.
    pub status: StatusCode,
    /// The offers, in the seller's order. None if the answer does not speak x402.
    pub offers: Vec<JudgedOffer>,
}

impl Quote {
    /// The offer that would be paid; the next allowed one, should its scheme refuse to sign it.
    ///
    /// ```no_run
    /// # async fn ask(wallet: tollway_buyer::Wallet) -> Result<(), Box<dyn std::error::Error>> {
    /// let request = reqwest::Request::new(reqwest::Method::GET, "https://api.example.com/data".parse()?);
    /// if let Some(chosen) = wallet.quote(request).await?.chosen() {
    ///     println!("would pay {}", chosen.offer.amount);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn chosen(&self) -> Option<&JudgedOffer> {
        rank(&self.offers).first().copied()
    }

    pub(crate) async fn ask(wallet: &Wallet, request: Request) -> Result<Self, PaymentError> {
        let url = request.url().clone();
        let response = wallet.http()?.unpaid.execute(request).await?;
        let (status, answered) = (response.status(), response.url().clone());
        let offers = match required::read(response).await? {
            Answer::Other(_) => Vec::new(),
            Answer::Payable(required) => {
                origin::check_not_redirected(&url, &answered)?;
                wallet.judge(&required, &url)?
            }
        };
        Ok(Self { status, offers })
    }
}
