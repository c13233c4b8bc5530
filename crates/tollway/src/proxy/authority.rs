//! A certificate authority of this machine's own, for programs that are told to trust it: `tollway proxy --intercept` ends
//! their TLS with certificates by it.
//!
//! Whoever has its key can read what those programs send, so it is kept as a key is: in a folder of the owner's choice, for
//! the owner's eyes only. Certificates of hosts live in memory and for days.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tollway_core::{Clock, SystemClock, UnixTime};
use url::{Host, Url};

use crate::config::read_bounded;

/// Its files.
const KEY_FILE: &str = "ca-key.pem";
const CERTIFICATE_FILE: &str = "ca.pem";
/// The longest key file that is read.
const MAX_KEY_BYTES: usize = 4 * 1024;

const DAY_SECONDS: u64 = 24 * 3600;
/// How long the authority is good for.
const YEARS_SECONDS: u64 = 10 * 365 * DAY_SECONDS;
/// How long a host's certificate is good for, and after how long another is made.
const LEAF_SECONDS: u64 = 7 * DAY_SECONDS;
const LEAF_KEPT_SECONDS: u64 = DAY_SECONDS;
/// How many hosts' certificates are kept.
const MAX_LEAVES: usize = 256;

/// The authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// One key for all hosts, as old as this process.
    leaf_key: KeyPair,
    leaves: Mutex<BTreeMap<String, (Arc<ServerConfig>, UnixTime)>>,
}

impl Authority {
    /// The authority in `folder`; made there if there is none.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let key = match read_key(folder)? {
            Some(key) => key,
            None => make_key(folder)?,
        };
        if !Self::certificate_path(folder).exists() {
            make_certificate(folder, &key)?;
        }
        let issuer = Issuer::new(params_of(&key)?, key);
        Ok(Self { issuer, leaf_key: KeyPair::generate()?, leaves: Mutex::default() })
    }

    /// The file that programs are told to trust.
    pub(crate) fn certificate_path(folder: &Path) -> PathBuf {
        folder.join(CERTIFICATE_FILE)
    }

    /// How to speak TLS as the host of `origin`.
    pub(crate) fn speak_for(&self, origin: &Url) -> anyhow::Result<Arc<ServerConfig>> {
        let host = match origin.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => bail!("there is no host"),
        };
        let now = SystemClock.now();
        if let Some((config, until)) = self.leaves.lock().get(&host)
            && now < *until
        {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.leaf(&host, now)?);
        let mut leaves = self.leaves.lock();
        if leaves.len() >= MAX_LEAVES {
            leaves.pop_first();
        }
        leaves.insert(host, (Arc::clone(&config), now.plus_seconds(LEAF_KEPT_SECONDS)));
        Ok(config)
    }

    fn leaf(&self, host: &str, now: UnixTime) -> anyhow::Result<ServerConfig> {
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        params.distinguished_name = named("Tollway proxy");
        date(&mut params, now, LEAF_SECONDS);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&self.leaf_key, &self.issuer)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// The key in `folder`, if there is one. One that others can read is no secret any more.
fn read_key(folder: &Path) -> anyhow::Result<Option<KeyPair>> {
    let path = folder.join(KEY_FILE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        bail!(
            "{} can be read by others than its owner: remove it, and what trusts {CERTIFICATE_FILE}",
            path.display()
        );
    }
    let text = String::from_utf8(read_bounded(file, MAX_KEY_BYTES)?);
    let key = text.ok().and_then(|text| KeyPair::from_pem(&text).ok());
    Ok(Some(key.with_context(|| format!("{} is no key", path.display()))?))
}

/// Makes the key. Of two programs that do so at once one wins, and both have its key.
fn make_key(folder: &Path) -> anyhow::Result<KeyPair> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let key = KeyPair::generate()?;
    let draft = draft(folder, KEY_FILE);
    write(&draft, 0o600, &key.serialize_pem())?;
    let placed = std::fs::hard_link(&draft, folder.join(KEY_FILE));
    std::fs::remove_file(&draft)?;
    match placed {
        Ok(()) => Ok(key),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            read_key(folder)?.context("the key is gone again")
        }
        Err(error) => Err(error).with_context(|| format!("cannot write {KEY_FILE}")),
    }
}

/// The certificate follows from the key, but for its dates.
fn make_certificate(folder: &Path, key: &KeyPair) -> anyhow::Result<()> {
    let mut params = params_of(key)?;
    date(&mut params, SystemClock.now(), YEARS_SECONDS);
    let draft = draft(folder, CERTIFICATE_FILE);
    write(&draft, 0o644, &params.self_signed(key)?.pem())?;
    Ok(std::fs::rename(&draft, Authority::certificate_path(folder))?)
}

/// Where a file is written before it is in its place.
fn draft(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!(".{name}.{}", std::process::id()))
}

fn write(path: &Path, mode: u32, text: &str) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// What the authority is, but for its dates. Its name tells it from others of its kind.
fn params_of(key: &KeyPair) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    let id = hex::encode(params.key_identifier(key).get(..4).unwrap_or_default());
    params.distinguished_name = named(&format!("Tollway proxy on this machine {id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

/// From a day ago, for clocks differ, until `seconds` from now.
fn date(params: &mut CertificateParams, now: UnixTime, seconds: u64) {
    let at = |seconds| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    params.not_before = at(now.0.saturating_sub(DAY_SECONDS));
    params.not_after = at(now.0.saturating_add(seconds));
}
