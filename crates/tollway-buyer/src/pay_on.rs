//! Paying on for an answer that streams: when its voucher is used up, the seller asks for the next one by a 402 to a request
//! that names the stream (header `Tollway-Stream`). Each is a purchase of its own, under the same policy, budgets and books.

use http::{HeaderName, StatusCode};
use reqwest::Response;
use reqwest_middleware::Error;
use tokio::task::JoinHandle;

use crate::builder::WalletError;
use crate::intent::key::IntentKey;
use crate::wallet::Wallet;

/// The name of a stream, in the head of its answer and of the requests that renew it.
pub(crate) const STREAM: HeaderName = HeaderName::from_static("tollway-stream");

/// Pays on for one answer until that has ended, is no longer allowed, or this is dropped.
#[derive(Debug)]
#[must_use = "who drops it pays no more"]
pub struct PayingOn(JoinHandle<Result<u32, Error>>);

impl Wallet {
    /// Pays on for `answer` while it is read: `most` purchases at most, each as the policy allows. None if it is an answer that
    /// does not stream by voucher. Call it before reading, and read on; where no more is paid, the answer breaks off.
    ///
    /// # Errors
    /// As for [`Self::client`].
    ///
    /// ```no_run
    /// # async fn read(wallet: tollway_buyer::Wallet) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut story = wallet.client()?.get("https://press.example/story").send().await?;
    /// let paying = wallet.pay_on(&story, 20)?;
    /// while let Some(part) = story.chunk().await? {
    ///     print!("{}", String::from_utf8_lossy(&part));
    /// }
    /// if let Some(paying) = paying {
    ///     println!("{} vouchers more", paying.ended().await?);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn pay_on(&self, answer: &Response, most: u32) -> Result<Option<PayingOn>, WalletError> {
        let Some(name) = answer.headers().get(STREAM).and_then(|name| name.to_str().ok()) else {
            return Ok(None);
        };
        let (client, url, name) = (self.client()?, answer.url().clone(), name.to_owned());
        let task = tokio::spawn(async move {
            let mut bought = 0;
            while bought < most {
                let key = IntentKey::new(format!("stream {name} {bought}"));
                let asked = client.get(url.clone()).header(STREAM, &name).with_extension(key).send().await;
                let asked = asked?;
                match (asked.status(), asked.headers().get(STREAM).map(|stand| stand.as_bytes())) {
                    (StatusCode::NO_CONTENT, Some(b"used")) => bought += 1,
                    (StatusCode::NO_CONTENT, Some(b"runs")) => {}
                    _ => break,
                }
            }
            Ok(bought)
        });
        Ok(Some(PayingOn(task)))
    }
}

impl PayingOn {
    /// How many purchases it took, once the answer has ended.
    ///
    /// # Errors
    /// Why no more was paid: see [`payment_error`](crate::payment_error).
    ///
    /// ```no_run
    /// # async fn end(paying: tollway_buyer::PayingOn) -> Result<(), reqwest_middleware::Error> {
    /// println!("{} vouchers more", paying.ended().await?);
    /// # Ok(()) }
    /// ```
    pub async fn ended(mut self) -> Result<u32, Error> {
        match (&mut self.0).await {
            Ok(ended) => ended,
            Err(error) => Err(Error::middleware(error)),
        }
    }
}

impl Drop for PayingOn {
    fn drop(&mut self) {
        self.0.abort();
    }
}
