//! Secrets from where policies say they are.

use std::io::Read;

use tollway_core::WebhookSecret;

/// The longest file read.
const MAX_SECRET_BYTES: u64 = 4 * 1024;

/// The secret of a webhook from `env:NAME` or `file:PATH`, without the blanks around it.
///
/// # Errors
/// What is wrong, for people; never the secret itself.
///
/// ```
/// let fault = tollway_buyer::webhook_secret("sixteen bytes, or more").unwrap_err();
/// assert_eq!(fault, "the webhook's secret must be env:NAME or file:PATH, never the secret itself");
/// ```
pub fn webhook_secret(source: &str) -> Result<WebhookSecret, String> {
    let text = match source.split_once(':') {
        Some(("env", name)) => std::env::var(name)
            .map_err(|_| format!("the webhook's secret: {name} is not set, or not text"))?,
        Some(("file", path)) => {
            read(path).map_err(|error| format!("the webhook's secret: cannot read {path}: {error}"))?
        }
        _ => {
            return Err(
                "the webhook's secret must be env:NAME or file:PATH, never the secret itself".to_owned()
            );
        }
    };
    WebhookSecret::parse(text.trim()).map_err(|fault| format!("the webhook's secret {fault}"))
}

fn read(path: &str) -> std::io::Result<String> {
    let mut text = String::new();
    // One byte more: what is too long is an error, not a secret cut off.
    std::fs::File::open(path)?.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_SECRET_BYTES {
        return Err(std::io::Error::other(format!("it is longer than {MAX_SECRET_BYTES} bytes")));
    }
    Ok(text)
}
