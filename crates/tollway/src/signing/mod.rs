//! Where keys are: the one place that turns what a user says of a key into a signer.
//!
//! A key is named by its source, never given: what stands on a command line or in a configuration file is seen by others.
//! Errors name the source and the rule, and repeat nothing that could be a key.

mod folder;
#[cfg(any(feature = "aws-kms", feature = "gcp-kms"))]
mod kms;
mod password;
mod secret;
mod source;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tollway_evm::{LocalSigner, Signer, Web3Signer};

pub(crate) use self::folder::{Entry, Folder, FolderArgs};
pub(crate) use self::password::{Password, PasswordSource, ask};
pub(crate) use self::secret::read_secret;
pub(crate) use self::source::{KeySource, SourceText, without_keys};

/// The `Authorization` header that a Web3Signer is sent.
const WEB3SIGNER_AUTHORIZATION: &str = "TOLLWAY_WEB3SIGNER_AUTHORIZATION";
/// How long a remote signer may take for one answer.
const REMOTE_DEADLINE: Duration = Duration::from_secs(10);

/// What opens a keystore.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Unlock {
    /// Where a keystore's password is: env:NAME or file:PATH. Without it TOLLWAY_PASSWORD is taken, or it is asked for.
    #[arg(long, value_name = "SOURCE")]
    pub(crate) password: Option<PasswordSource>,
    #[command(flatten)]
    pub(crate) folder: FolderArgs,
}

impl Unlock {
    /// The signer with the key of `source`.
    pub(crate) async fn open(&self, source: &SourceText) -> anyhow::Result<Arc<dyn Signer>> {
        let source = source.parse()?;
        self.signer(&source).await.with_context(|| source.to_string())
    }

    async fn signer(&self, source: &KeySource) -> anyhow::Result<Arc<dyn Signer>> {
        Ok(match source {
            KeySource::Env(_) | KeySource::File(_) | KeySource::Keystore(_) => Arc::new(self.local(source)?),
            KeySource::Web3Signer { url, address } => {
                let authorization = secret::optional(WEB3SIGNER_AUTHORIZATION)?;
                let authorization = authorization.as_ref().map(|text| text.trim());
                Arc::new(Web3Signer::connect(url, *address, authorization, REMOTE_DEADLINE).await?)
            }
            KeySource::AwsKms(id) => aws(id).await?,
            KeySource::GcpKms(resource) => gcp(resource).await?,
        })
    }

    /// A key that comes into this process.
    pub(crate) fn local(&self, source: &KeySource) -> anyhow::Result<LocalSigner> {
        match source {
            KeySource::Env(name) => Ok(LocalSigner::from_hex(&secret::variable(name)?)?),
            KeySource::File(path) => Ok(LocalSigner::from_hex(&secret::file(path)?)?),
            KeySource::Keystore(name) => {
                let entry = Folder::of(&self.folder)?.find(name)?;
                let keystore = entry.keystore?;
                let password = Password::get(self.password.as_ref(), &format!("Password of {}", entry.name))?;
                Ok(keystore.unlock(password.bytes())?)
            }
            _ => bail!("the key does not leave its service"),
        }
    }
}

#[cfg(feature = "aws-kms")]
async fn aws(id: &str) -> anyhow::Result<Arc<dyn Signer>> {
    in_time(kms::aws(id, REMOTE_DEADLINE)).await
}

#[cfg(not(feature = "aws-kms"))]
async fn aws(_: &str) -> anyhow::Result<Arc<dyn Signer>> {
    bail!("this program was built without the feature aws-kms")
}

#[cfg(feature = "gcp-kms")]
async fn gcp(resource: &str) -> anyhow::Result<Arc<dyn Signer>> {
    in_time(kms::gcp(resource, REMOTE_DEADLINE)).await
}

#[cfg(not(feature = "gcp-kms"))]
async fn gcp(_: &str) -> anyhow::Result<Arc<dyn Signer>> {
    bail!("this program was built without the feature gcp-kms")
}

#[cfg(any(feature = "aws-kms", feature = "gcp-kms"))]
async fn in_time(connecting: kms::Connecting<'_>) -> anyhow::Result<Arc<dyn Signer>> {
    tokio::time::timeout(REMOTE_DEADLINE, connecting).await.unwrap_or_else(|_| {
        bail!("the key service gave no answer within {} seconds", REMOTE_DEADLINE.as_secs())
    })
}
