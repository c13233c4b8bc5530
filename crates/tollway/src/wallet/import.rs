//! `tollway wallet import`: a key that exists elsewhere, into the folder of keystores.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context, bail};
use tollway_evm::keystore::{Keystore, MAX_KEYSTORE_BYTES};
use tollway_evm::{LocalSigner, Signer};
use zeroize::Zeroizing;

use super::new::{Strength, keep, tell};
use crate::config::read_bounded;
use crate::output::Output;
use crate::signing::{Folder, Password, PasswordSource, SourceText, Unlock, ask};

/// Bring a key from elsewhere into the folder of keystores: in hex, or an encrypted file of another program.
///
/// It is written anew, encrypted with the password of --password. Nothing takes a key on the command line: others see it
/// there.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to call it; without a name the file is called as geth would call it.
    name: Option<String>,
    /// Where the key is: - for standard input, env:NAME or file:PATH in hex; keystore:PATH for an encrypted file.
    #[arg(long, value_name = "SOURCE", default_value = STDIN)]
    from: SourceText,
    /// Where the password of that encrypted file is: env:NAME or file:PATH; without it the password is the one of
    /// --password, or it is asked for.
    #[arg(long, value_name = "SOURCE")]
    from_password: Option<PasswordSource>,
    #[command(flatten)]
    unlock: Unlock,
    #[command(flatten)]
    strength: Strength,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

const STDIN: &str = "-";

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let folder = Folder::of(&args.unlock.folder)?;
    folder.expect_free(args.name.as_deref())?;
    let signer = signer(args).context("--from")?;
    folder.expect_none(signer.address())?;
    let password = Password::choose(args.unlock.password.as_ref(), "New password")?;
    let entry = keep(&folder, args.name.as_deref(), (&signer, &password), &args.strength)?;
    tell(Output::new(args.json), &entry, &signer);
    Ok(ExitCode::SUCCESS)
}

fn signer(args: &Args) -> anyhow::Result<LocalSigner> {
    if !args.from.is(STDIN) {
        let password = args.from_password.clone().or_else(|| args.unlock.password.clone());
        let unlock = Unlock { password, folder: args.unlock.folder.clone() };
        return unlock.local(&args.from.parse()?);
    }
    if std::io::stdin().is_terminal() {
        let typed = ask("Private key in hex")?;
        return text(typed.bytes());
    }
    let read = read_bounded(std::io::stdin().lock(), MAX_KEYSTORE_BYTES).map(Zeroizing::new)?;
    if read.trim_ascii_start().first() != Some(&b'{') {
        return text(&read);
    }
    let source = args.from_password.as_ref().or(args.unlock.password.as_ref());
    let password = Password::get(source, "Password of what is imported")?;
    Ok(Keystore::read(&read)?.unlock(password.bytes())?)
}

fn text(bytes: &[u8]) -> anyhow::Result<LocalSigner> {
    let Ok(text) = std::str::from_utf8(bytes) else { bail!("standard input is not text") };
    Ok(LocalSigner::from_hex(text)?)
}
