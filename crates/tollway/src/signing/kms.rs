//! Keys in the key services of the clouds, through alloy's signers. The services sign hashes: they do not see what is
//! signed. Who may use a key, and how that is proven to them, is told by their own environment and files.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tollway_core::BoxFuture;
use tollway_evm::{Address, Signature, Signer, SignerError, keccak256, signature};

/// The way to a service. In a box: the vendors' futures are too large to be parts of ours.
pub(super) type Connecting<'a> = BoxFuture<'a, anyhow::Result<Arc<dyn Signer>>>;

/// Another crate's signer as ours: in time, and only believed when the signature is of its account.
struct Remote<S> {
    signer: S,
    address: Address,
    deadline: Duration,
}

impl<S: alloy_signer::Signer + Send + Sync + 'static> Remote<S> {
    fn connected(signer: S, deadline: Duration) -> anyhow::Result<Arc<dyn Signer>> {
        Ok(Arc::new(Self { address: signer.address(), signer, deadline }))
    }
}

impl<S: alloy_signer::Signer + Send + Sync> Signer for Remote<S> {
    fn address(&self) -> Address {
        self.address
    }

    fn sign<'a>(&'a self, preimage: &'a [u8]) -> BoxFuture<'a, Result<Signature, SignerError>> {
        Box::pin(async move {
            let fault = |rule: String| SignerError::Remote(rule);
            let digest = keccak256(preimage);
            let signed = tokio::time::timeout(self.deadline, self.signer.sign_hash(&digest))
                .await
                .map_err(|_| fault(format!("no answer within {} ms", self.deadline.as_millis())))?
                .map_err(|error| fault(format!("it does not sign: {error}")))?;
            // The low `s`, and the right account: whatever the service did.
            let signed = signature::parse(&signed.as_bytes())
                .map_err(|error| fault(format!("its signature: {error}")))?;
            match signature::recover(digest, &signed) {
                Ok(by) if by == self.address => Ok(signed),
                _ => Err(fault(format!("its signature is not by {}", self.address))),
            }
        })
    }
}

impl<S> fmt::Debug for Remote<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A key in Amazon's service, by its id, alias or ARN. Region and credentials are from the usual environment.
#[cfg(feature = "aws-kms")]
pub(super) fn aws(id: &str, deadline: Duration) -> Connecting<'_> {
    use alloy_signer_aws::{AwsSigner, aws_sdk_kms};
    Box::pin(async move {
        let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
        let signer = AwsSigner::new(aws_sdk_kms::Client::new(&config), id.to_owned(), None).await;
        Remote::connected(signer.context("the key service gave no public key")?, deadline)
    })
}

/// A key in Google's service, by the resource name of its version. Credentials are the application's default ones.
#[cfg(feature = "gcp-kms")]
pub(super) fn gcp(resource: &str, deadline: Duration) -> Connecting<'_> {
    use alloy_signer_gcp::gcloud_sdk::GoogleApi;
    use alloy_signer_gcp::gcloud_sdk::google::cloud::kms::v1::key_management_service_client::KeyManagementServiceClient;
    use alloy_signer_gcp::{GcpKeyRingRef, GcpSigner, KeySpecifier};
    Box::pin(async move {
        let Some(([project, location, ring], key, version)) = key_version(resource) else {
            anyhow::bail!(
                "must be projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY/cryptoKeyVersions/VERSION"
            );
        };
        let specifier = KeySpecifier::new(GcpKeyRingRef::new(project, location, ring), key, version);
        let service = "https://cloudkms.googleapis.com";
        let client = GoogleApi::from_function(KeyManagementServiceClient::new, service, None).await;
        let signer =
            GcpSigner::new(client.context("the key service cannot be reached")?, specifier, None).await;
        Remote::connected(signer.context("the key service gave no public key")?, deadline)
    })
}

/// The parts of a resource name: project, location and ring; key; version.
#[cfg(feature = "gcp-kms")]
fn key_version(resource: &str) -> Option<([&str; 3], &str, u64)> {
    let parts: Vec<&str> = resource.split('/').collect();
    match parts[..] {
        [
            "projects",
            project,
            "locations",
            location,
            "keyRings",
            ring,
            "cryptoKeys",
            key,
            "cryptoKeyVersions",
            version,
        ] => Some(([project, location, ring], key, version.parse().ok()?)),
        _ => None,
    }
}
