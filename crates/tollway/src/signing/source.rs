//! What a user says of where a key is, read strictly.

use std::fmt;
use std::path::PathBuf;

use anyhow::bail;
use serde::Deserialize;
use tollway_core::is_loopback;
use tollway_evm::Address;
use url::Url;

/// What stands on the command line or in a configuration: a source, or by mistake the key itself. So it is never shown.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct SourceText(String);

/// Where a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// In an environment variable, in hex.
    Env(String),
    /// In a file, in hex.
    File(PathBuf),
    /// In an encrypted file: its path, or its name or account in the folder of keys.
    Keystore(String),
    /// Behind a service that speaks Web3Signer's interface.
    Web3Signer { url: Url, address: Address },
    /// In Amazon's key service, by the key's id, alias or ARN.
    AwsKms(String),
    /// In Google's key service, by the resource name of the key's version.
    GcpKms(String),
}

const FORMS: &str = "must be env:NAME, file:PATH, keystore:NAME, web3signer:URL/ADDRESS, aws-kms:KEY or \
                     gcp-kms:RESOURCE, never the key itself";
/// So many hex digits in a row may be a key.
const KEY_DIGITS: usize = 60;

impl SourceText {
    /// The source, unless it may be the key itself.
    pub(crate) fn parse(&self) -> anyhow::Result<KeySource> {
        let Some((kind, rest)) = self.0.split_once(':') else { bail!(FORMS) };
        if rest.is_empty() || may_hold_a_key(rest) {
            bail!(FORMS);
        }
        Ok(match kind {
            "env" => KeySource::Env(rest.to_owned()),
            "file" => KeySource::File(rest.into()),
            "keystore" => KeySource::Keystore(rest.to_owned()),
            "web3signer" => web3signer(rest)?,
            "aws-kms" => KeySource::AwsKms(rest.to_owned()),
            "gcp-kms" => KeySource::GcpKms(rest.to_owned()),
            _ => bail!(FORMS),
        })
    }

    /// The keystore of this name, with or without `keystore:` before it.
    pub(crate) fn as_name(&self) -> anyhow::Result<KeySource> {
        if self.0.contains(':') {
            return match self.parse()? {
                source @ KeySource::Keystore(_) => Ok(source),
                _ => bail!("must be the name of a keystore"),
            };
        }
        if self.0.is_empty() || may_hold_a_key(&self.0) {
            bail!("must be the name of a keystore, never the key itself");
        }
        Ok(KeySource::Keystore(self.0.clone()))
    }

    /// Whether it is this very text.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.0 == text
    }
}

impl From<String> for SourceText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for SourceText {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for SourceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parse() {
            Ok(source) => write!(f, "SourceText({source})"),
            Err(_) => f.write_str("SourceText(..)"),
        }
    }
}

/// Without the URL of a service: it may hold a secret of its own.
impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Keystore(name) => write!(f, "keystore:{name}"),
            Self::Web3Signer { address, .. } => write!(f, "web3signer:…/{address}"),
            Self::AwsKms(id) => write!(f, "aws-kms:{id}"),
            Self::GcpKms(resource) => write!(f, "gcp-kms:{resource}"),
        }
    }
}

/// Whether a text may be a key, or have one in it.
pub(super) fn may_hold_a_key(text: &str) -> bool {
    text.split(|letter: char| !letter.is_ascii_hexdigit()).any(|digits| digits.len() >= KEY_DIGITS)
}

/// The text without whatever may be a key, if there is any.
pub(crate) fn without_keys(text: &str) -> Option<String> {
    if !may_hold_a_key(text) {
        return None;
    }
    let is_digit = |letter: char| letter.is_ascii_hexdigit();
    let parts = text.split_inclusive(|letter| !is_digit(letter)).map(|part| {
        let rest = part.trim_start_matches(is_digit);
        if part.len() - rest.len() >= KEY_DIGITS { format!("…{rest}") } else { part.to_owned() }
    });
    Some(parts.collect())
}

fn web3signer(text: &str) -> anyhow::Result<KeySource> {
    let read = || {
        let (url, address) = text.rsplit_once('/')?;
        Some((url.parse::<Url>().ok()?, address.parse::<Address>().ok()?))
    };
    match read() {
        Some((url, _)) if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) => {
            bail!("web3signer: its URL must be https, or http of this machine")
        }
        Some((url, address)) => Ok(KeySource::Web3Signer { url, address }),
        None => bail!("web3signer: must be web3signer:URL/ADDRESS"),
    }
}

#[cfg(test)]
mod tests {
    use super::{KeySource, SourceText, without_keys};

    const KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

    #[test]
    fn a_source_says_where_a_key_is() {
        let parse = |text: &str| SourceText::from(text).parse().unwrap();
        assert_eq!(parse("env:MY_KEY"), KeySource::Env("MY_KEY".to_owned()));
        assert_eq!(parse("file:/a:b"), KeySource::File("/a:b".into()));
        assert_eq!(parse("keystore:agent"), KeySource::Keystore("agent".to_owned()));
        assert_eq!(parse("aws-kms:alias/agent"), KeySource::AwsKms("alias/agent".to_owned()));
        let remote = parse("web3signer:https://a.example/x/0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
        let KeySource::Web3Signer { url, address } = &remote else { panic!("{remote}") };
        assert_eq!((url.path(), &address.to_string()[..6]), ("/x", "0xf39F"));
        assert_eq!(remote.to_string(), "web3signer:…/0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
    }

    #[test]
    fn what_is_no_source_is_refused_and_a_key_is_never_repeated() {
        for wrong in [
            KEY.to_owned(),
            format!("0x{KEY}"),
            format!("env:{KEY}"),
            format!("env:0x{KEY}"),
            format!("file:/tmp/{KEY}"),
            format!("keystore:{KEY}"),
            format!("aws-kms:{KEY}"),
            format!("web3signer:http://127.0.0.1/{KEY}/0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"),
            format!("key:{KEY}"),
            "env:".to_owned(),
            "web3signer:http://signer.example/0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266".to_owned(),
            "web3signer:https://signer.example/0xf39F".to_owned(),
        ] {
            let source = SourceText::from(wrong.clone());
            let error = source.parse().unwrap_err();
            let told = format!("{error:#} {error:?} {source:?}");
            assert!(!told.contains(&KEY[..8]) && told.contains("must be"), "{wrong}: {told}");
        }
    }
    #[test]
    fn a_key_is_taken_out_of_a_text_and_nothing_else_is() {
        let account = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
        assert_eq!(without_keys(&format!("no {account} here: face")), None);
        let told = without_keys(&format!("a 'x0x{KEY}' and {KEY}, {account}\nb")).unwrap();
        assert_eq!(told, format!("a 'x0x…' and …, {account}\nb"));
    }
}
