//! Passwords of keystores: from where the user says, from the environment, or asked for on the terminal.

use std::fmt;
use std::io::IsTerminal;

use anyhow::{Context, bail};
use zeroize::Zeroizing;

use super::secret::{optional, read_secret_bytes};

/// The password, unless the command line says another place.
const VARIABLE: &str = "TOLLWAY_PASSWORD";

/// A password, wiped when it is dropped, and never shown.
pub(crate) struct Password(Zeroizing<Vec<u8>>);

/// Where a password is; by mistake it may be the password itself, so it is never shown.
#[derive(Clone)]
pub(crate) struct PasswordSource(String);

impl Password {
    /// The password that opens something: from `source`, or `TOLLWAY_PASSWORD`, or who sits at the terminal.
    pub(crate) fn get(source: Option<&PasswordSource>, prompt: &str) -> anyhow::Result<Self> {
        match Self::given(source)? {
            Some(password) => Ok(password),
            None => ask(prompt),
        }
    }

    /// The same for something new: asked for twice, and not empty.
    pub(crate) fn choose(source: Option<&PasswordSource>, prompt: &str) -> anyhow::Result<Self> {
        let password = match Self::given(source)? {
            Some(password) => password,
            None => {
                let password = ask(prompt)?;
                if ask("Again")?.0 != password.0 {
                    bail!("the two passwords are not the same");
                }
                password
            }
        };
        if password.0.is_empty() {
            bail!("the password must not be empty");
        }
        Ok(password)
    }

    /// Its bytes, in UTF-8 where it was text.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn given(source: Option<&PasswordSource>) -> anyhow::Result<Option<Self>> {
        let bytes = match source {
            Some(source) => Some(read_secret_bytes(&source.0).context("--password")?),
            None => optional(VARIABLE)?.map(|text| Zeroizing::new(text.as_bytes().to_vec())),
        };
        Ok(bytes.map(Self))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl From<String> for PasswordSource {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for PasswordSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordSource(..)")
    }
}

/// Asks on the terminal, without showing what is typed. Where nobody would see the question, it is not asked.
pub(crate) fn ask(prompt: &str) -> anyhow::Result<Password> {
    if !std::io::stderr().is_terminal() {
        bail!("{prompt}: there is no terminal to ask at: say with --password where it is, or set {VARIABLE}");
    }
    let typed = rpassword::prompt_password(format!("{prompt}: "));
    let typed = Zeroizing::new(typed.map_err(|_| anyhow::anyhow!("{prompt}: nothing was typed"))?);
    Ok(Password(Zeroizing::new(typed.as_bytes().to_vec())))
}
