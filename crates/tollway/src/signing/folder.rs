//! The folder of keystores: one file a key, as geth and Foundry have it, so that each can use the other's.
//!
//! Only the owner can read it. A file is there whole or not at all, and none is ever overwritten.

use std::fs::{DirBuilder, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use tollway_core::UnixTime;
use tollway_evm::Address;
use tollway_evm::keystore::{Keystore, MAX_KEYSTORE_BYTES};

use super::source::may_hold_a_key;
use crate::config::read_bounded;

/// The most files that are looked at.
const MAX_FILES: usize = 10_000;
/// The longest name of a key; what geth calls a file has 80 letters.
const MAX_NAME_BYTES: usize = 100;

/// Which folder.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct FolderArgs {
    /// The folder of keystores; $XDG_DATA_HOME/tollway/keys, or else ~/.tollway/keys.
    #[arg(long, value_name = "FOLDER", env = "TOLLWAY_KEY_DIR")]
    key_dir: Option<PathBuf>,
}

/// The folder of keystores. It need not be there yet.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// One file in it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The file's name.
    pub(crate) name: String,
    /// The file.
    pub(crate) path: PathBuf,
    /// What is in it, or why that is no keystore.
    pub(crate) keystore: anyhow::Result<Keystore>,
}

impl Folder {
    /// The folder that the user says, or the usual one.
    pub(crate) fn of(args: &FolderArgs) -> anyhow::Result<Self> {
        let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let path = args.key_dir.clone().or_else(|| Some(set("XDG_DATA_HOME")?.join("tollway/keys")));
        let path = path.or_else(|| Some(set("HOME")?.join(".tollway/keys")));
        path.map(|path| Self { path })
            .ok_or_else(|| anyhow!("there is no home folder: say where with --key-dir"))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Every keystore in it, by name. What else lies there is passed over, except by its own name.
    pub(crate) fn list(&self) -> anyhow::Result<Vec<Entry>> {
        let cannot = || format!("cannot read the folder {}", self.path.display());
        let files = match std::fs::read_dir(&self.path) {
            Ok(files) => files,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(cannot),
        };
        let mut entries = Vec::new();
        for (index, file) in files.enumerate() {
            if index == MAX_FILES {
                bail!("the folder {} has more than {MAX_FILES} files", self.path.display());
            }
            let file = file.with_context(cannot)?;
            let Some(name) = file.file_name().to_str().map(ToOwned::to_owned) else { continue };
            if name.starts_with('.') || name.ends_with('~') || !file.path().is_file() {
                continue;
            }
            entries.push(entry(name, file.path()));
        }
        entries.retain(|entry| entry.keystore.is_ok());
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    /// A keystore by its path, its name, or the account that it says it is of.
    pub(crate) fn find(&self, wanted: &str) -> anyhow::Result<Entry> {
        if wanted.contains('/') {
            return Ok(entry(wanted.to_owned(), wanted.into()));
        }
        if let Ok(address) = wanted.parse::<Address>() {
            let mut found = self.list()?;
            found.retain(|entry| entry.address() == Some(address));
            return match found.len() {
                0 => bail!("there is no key of {address} in {}", self.path.display()),
                1 => Ok(found.remove(0)),
                _ => bail!("there are several keys of {address} in {}: say which file", self.path.display()),
            };
        }
        check_name(wanted)?;
        let path = self.path.join(wanted);
        if !path.exists() {
            bail!("there is no key {wanted} in {}", self.path.display());
        }
        Ok(entry(wanted.to_owned(), path))
    }

    /// Writes a keystore, and reads it back. Without a name it gets the one that geth would give it.
    pub(crate) fn add(
        &self,
        name: Option<&str>,
        keystore: &Keystore,
        now: UnixTime,
    ) -> anyhow::Result<Entry> {
        let name = match name {
            Some(name) => name.to_owned(),
            None => geth_name(keystore, now),
        };
        check_name(&name)?;
        self.create()?;
        let path = self.path.join(&name);
        let write = || {
            // Readable by the owner alone from its first moment; hidden until it is whole.
            let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.path)?;
            file.write_all(keystore.to_json().as_bytes())?;
            file.as_file().sync_all()?;
            file.persist_noclobber(&path).map_err(|error| error.error)?;
            File::open(&self.path)?.sync_all()
        };
        match write() {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                bail!("{} is there already, and is never overwritten", path.display())
            }
            Err(error) => return Err(error).with_context(|| format!("cannot write {}", path.display())),
        }
        let written = entry(name, path);
        match &written.keystore {
            Ok(read) if read == keystore => Ok(written),
            _ => bail!("{} was written, but cannot be read back", written.path.display()),
        }
    }

    /// Refuses an account that is there already: two files of one key are one to forget.
    pub(crate) fn expect_none(&self, address: Address) -> anyhow::Result<()> {
        match self.list()?.iter().find(|entry| entry.address() == Some(address)) {
            Some(entry) => bail!("the key of {address} is there already: {}", entry.path.display()),
            None => Ok(()),
        }
    }

    /// Whether a name is free and may be given, before anything is done for it.
    pub(crate) fn expect_free(&self, name: Option<&str>) -> anyhow::Result<()> {
        let Some(name) = name else { return Ok(()) };
        check_name(name)?;
        if self.path.join(name).symlink_metadata().is_ok() {
            bail!("{} is there already, and is never overwritten", self.path.join(name).display());
        }
        Ok(())
    }

    fn create(&self) -> anyhow::Result<()> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder
            .create(&self.path)
            .with_context(|| format!("cannot make the folder {}", self.path.display()))?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&self.path)?.permissions().mode();
            if mode & 0o022 != 0 {
                bail!("others may write to {}: chmod 700 it first", self.path.display());
            }
        }
        Ok(())
    }
}

impl Entry {
    /// The account that the file says it is of.
    pub(crate) fn address(&self) -> Option<Address> {
        self.keystore.as_ref().ok().and_then(Keystore::address)
    }
}

fn entry(name: String, path: PathBuf) -> Entry {
    let read = || {
        let bytes = read_bounded(File::open(&path)?, MAX_KEYSTORE_BYTES)?;
        anyhow::Ok(Keystore::read(&bytes)?)
    };
    let keystore = read().with_context(|| format!("cannot read {}", path.display()));
    Entry { name, path, keystore }
}

/// A name leads nowhere else, is not hidden, and is no option and no account.
fn check_name(name: &str) -> anyhow::Result<()> {
    let is_plain = |letter: u8| letter.is_ascii_alphanumeric() || b"-_.".contains(&letter);
    let is_good = (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(is_plain)
        && !name.starts_with(['.', '-'])
        && name.parse::<Address>().is_err()
        && !may_hold_a_key(name);
    if !is_good {
        bail!(
            "the name of a key must be 1 to {MAX_NAME_BYTES} letters, digits, \"-\", \"_\" and \".\", and begin with a \
             letter, digit or \"_\""
        );
    }
    Ok(())
}

/// `UTC--2026-01-31T23-59-59.000000000Z--` and the account.
fn geth_name(keystore: &Keystore, now: UnixTime) -> String {
    let (days, second) = (now.0 / 86_400, now.0 % 86_400);
    let (year, month, day) = date(days);
    let address = keystore.address().unwrap_or_default().to_string().to_lowercase();
    format!(
        "UTC--{year:04}-{month:02}-{day:02}T{:02}-{:02}-{:02}.000000000Z--{}",
        second / 3600,
        second / 60 % 60,
        second % 60,
        address.trim_start_matches("0x")
    )
}

/// The date in the Gregorian calendar, so many days after 1970 began: counted in eras of 400 years that begin in March,
/// where leap days are last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::{check_name, date};

    #[test]
    fn a_day_is_the_calendars_day() {
        for (days, expected) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_453, (2025, 12, 31)),
            (20_454, (2026, 1, 1)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(date(days), expected, "{days}");
        }
    }

    #[test]
    fn a_name_leads_nowhere_else_and_is_no_key() {
        for good in [
            "agent",
            "a",
            "_1.b-c",
            "UTC--2026-01-31T23-59-59.000000000Z--7e5f4552091a69125d5dfcb7b8c2659029395bdf",
        ] {
            check_name(good).unwrap();
        }
        let account = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
        let long = "a".repeat(101);
        for bad in ["", ".", "..", ".a", "-a", "a/b", "a b", "ä", account, &long, &"1".repeat(64)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
