//! Where the price of an asset is read: the seam. What is made of a price is decided in [`crate::guard`]; how one is read
//! from JSON is in [`crate::json_quote`].

use tollway_core::{BoxFuture, Decimal, UnixTime};

/// Tells what one unit of an asset is worth, in dollars. It is asked again and again, and need not hurry: the paywall
/// waits for it within a limit, and never while a buyer waits.
pub trait PriceSource: Send + Sync + std::fmt::Debug {
    /// What logs call it. No secret may be in it.
    ///
    /// ```
    /// use tollway_seller::{FileSource, PriceSource};
    /// assert_eq!(FileSource::new("rates.json", "/EURC").name(), "file rates.json");
    /// ```
    fn name(&self) -> String;

    /// The price as it is known now.
    ///
    /// # Errors
    /// [`SourceError`]: there is no answer, or it is none.
    ///
    /// ```
    /// use tollway_core::{BoxFuture, Decimal};
    /// use tollway_seller::{PriceSource, Quote, SourceError};
    /// /// A price that somebody typed.
    /// #[derive(Debug)]
    /// struct Typed(Decimal);
    /// impl PriceSource for Typed {
    ///     fn name(&self) -> String {
    ///         "typed".to_owned()
    ///     }
    ///     fn quote(&self) -> BoxFuture<'_, Result<Quote, SourceError>> {
    ///         Box::pin(std::future::ready(Ok(Quote { dollars: self.0, at: None })))
    ///     }
    /// }
    /// ```
    fn quote(&self) -> BoxFuture<'_, Result<Quote, SourceError>>;
}

/// A price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// What one unit of the asset is worth.
    pub dollars: Decimal,
    /// When that was known; none if the source does not say, which counts as when it was asked.
    pub at: Option<UnixTime>,
}

/// Why a source told no price.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// There was no answer. What the source said last counts on until it is too old.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// There was one, and it is no price. The source does not count until it tells one again.
    #[error("no price: {0}")]
    Unreadable(String),
}
