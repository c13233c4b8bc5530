//! A price in a file, which something else keeps up to date.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use tollway_core::{BoxFuture, UnixTime};

use crate::json_quote::{MAX_JSON_BYTES, Pointers};
use crate::price_source::{PriceSource, Quote, SourceError};

/// A JSON file of prices, 64 KiB at most. A price is as old as the file's last change, unless the file says when.
/// Whoever writes it writes another file and renames it: half a file is no price.
///
/// ```
/// use tollway_seller::{FileSource, PriceSource};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("rates.json");
/// std::fs::write(&path, r#"{"EURC": {"usd": 1.0832}}"#)?;
/// let quote = FileSource::new(&path, "/EURC/usd").quote().await?;
/// assert_eq!(quote.dollars.to_string(), "1.0832");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct FileSource {
    path: PathBuf,
    pointers: Pointers,
}

impl FileSource {
    /// The price that stands at `pointer` (RFC 6901) in the file at `path`: a number or a string, in dollars. What is
    /// wrong with either shows when it is read, as a source that tells no price.
    ///
    /// ```
    /// let source = tollway_seller::FileSource::new("/var/lib/shop/rates.json", "/EURC/usd");
    /// ```
    pub fn new(path: impl Into<PathBuf>, pointer: impl Into<String>) -> Self {
        Self { path: path.into(), pointers: Pointers { price: pointer.into(), time: None } }
    }

    /// Says where in the file its time stands: whole seconds or milliseconds since 1970. Without it the time of the
    /// file's last change counts.
    ///
    /// ```
    /// use tollway_seller::{FileSource, PriceSource};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("rates.json");
    /// std::fs::write(&path, r#"{"usd": "0.9998", "at": 1750000000}"#)?;
    /// let quote = FileSource::new(&path, "/usd").time_at("/at").quote().await?;
    /// assert_eq!(quote.at.map(|at| at.0), Some(1_750_000_000));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn time_at(mut self, pointer: impl Into<String>) -> Self {
        self.pointers.time = Some(pointer.into());
        self
    }
}

impl PriceSource for FileSource {
    fn name(&self) -> String {
        format!("file {}", self.path.display())
    }

    fn quote(&self) -> BoxFuture<'_, Result<Quote, SourceError>> {
        let Self { path, pointers } = self.clone();
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || read(&path, &pointers));
            read.await.unwrap_or_else(|error| Err(SourceError::NoAnswer(error.to_string())))
        })
    }
}

/// A file that is not there tells no price, and never one that it told before.
fn read(path: &Path, pointers: &Pointers) -> Result<Quote, SourceError> {
    let unreadable = |error: std::io::Error| SourceError::Unreadable(error.to_string());
    if let Some(fault) = pointers.fault() {
        return Err(SourceError::Unreadable(fault));
    }
    // A pipe would be waited for without end when it is opened.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(SourceError::Unreadable("must be a file".to_owned()));
    }
    let file = File::open(path).map_err(unreadable)?;
    let modified = file.metadata().and_then(|metadata| metadata.modified()).map_err(unreadable)?;
    let mut json = Vec::new();
    let limit = u64::try_from(MAX_JSON_BYTES + 1).unwrap_or(u64::MAX);
    file.take(limit).read_to_end(&mut json).map_err(unreadable)?;
    let quote = pointers.read(&json)?;
    let changed = UnixTime(modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
    Ok(Quote { at: quote.at.or(Some(changed)), ..quote })
}
