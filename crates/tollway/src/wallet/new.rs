//! `tollway wallet new`: a fresh key in an encrypted file.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::json;
use tollway_core::{Clock, SystemClock};
use tollway_evm::keystore::{Hardness, Keystore};
use tollway_evm::{LocalSigner, Signer};

use crate::output::Output;
use crate::signing::{Entry, Folder, Password, Unlock};

/// Make a new key, and write it encrypted to the folder of keystores.
///
/// The file opens with the password alone: without it the key, and the money of its account, are gone. Keep both.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to call it; without a name the file is called as geth would call it.
    name: Option<String>,
    #[command(flatten)]
    unlock: Unlock,
    #[command(flatten)]
    strength: Strength,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// How hard a new file is to guess.
#[derive(Debug, clap::Args)]
pub(super) struct Strength {
    /// Encrypt with a tenth of the work and 4 MiB of memory instead of 256: for small machines, and keys without money.
    #[arg(long)]
    light: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let folder = Folder::of(&args.unlock.folder)?;
    folder.expect_free(args.name.as_deref())?;
    let password = Password::choose(args.unlock.password.as_ref(), "Password of the new key")?;
    let signer = LocalSigner::random()?;
    let entry = keep(&folder, args.name.as_deref(), (&signer, &password), &args.strength)?;
    tell(Output::new(args.json), &entry, &signer);
    Ok(ExitCode::SUCCESS)
}

/// Writes a key encrypted, and only believes it when the file was read back and opened.
pub(super) fn keep(
    folder: &Folder,
    name: Option<&str>,
    (signer, password): (&LocalSigner, &Password),
    strength: &Strength,
) -> anyhow::Result<Entry> {
    let hardness = if strength.light { Hardness::Light } else { Hardness::Standard };
    let keystore = Keystore::lock(signer, password.bytes(), hardness)?;
    // Before it is written: a file that does not open must not look like a key.
    if keystore.unlock(password.bytes())?.address() != signer.address() {
        bail!("the encrypted key does not open");
    }
    folder.add(name, &keystore, SystemClock.now())
}

/// Where a key is now.
pub(super) fn tell(output: Output, entry: &Entry, signer: &LocalSigner) {
    let (name, address, file) = (&entry.name, signer.address().to_string(), entry.path.display().to_string());
    let text = format!("{address}\nin {file}\nuse it with --key keystore:{name}");
    output.result(&json!({ "name": name, "address": address, "file": file }), &text);
}
