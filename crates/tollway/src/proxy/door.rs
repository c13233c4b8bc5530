//! Who may use the proxy: whoever has its token, where it has one, and never a page in a browser.
//!
//! A proxy that pays is as good as the key it pays with. What does not live here: where requests may go (`target`).

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ORIGIN, PROXY_AUTHORIZATION};
use http::{HeaderMap, StatusCode};
use subtle::ConstantTimeEq;
use url::Url;

use super::problem::Problem;
use crate::signing::read_secret;

/// The shortest token: shorter ones are guessed.
const MIN_TOKEN_CHARS: usize = 16;
/// The longest name of an agent.
const MAX_NAME_CHARS: usize = 64;

/// Whom the proxy lets in.
#[derive(Default)]
pub(crate) struct Door {
    tokens: Vec<Token>,
}

/// One token, and whose it is; anybody's if it names no agent.
struct Token {
    agent: Option<String>,
    secret: String,
}

/// Somebody who was let in, by the name it gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Guest {
    pub(crate) agent: Option<String>,
}

impl Door {
    /// Reads tokens from where `sources` say: `env:NAME`, `file:PATH`, each with `AGENT=` before it or not.
    pub(crate) fn read(sources: &[String]) -> anyhow::Result<Self> {
        let read = |source: &String| {
            let (agent, place) = match source.split_once('=') {
                Some((agent, place)) if !agent.contains(':') => (Some(agent), place),
                _ => (None, source.as_str()),
            };
            let secret = read_secret(place).map_err(anyhow::Error::msg).context("--token")?;
            ensure!(
                secret.chars().count() >= MIN_TOKEN_CHARS,
                "--token: must have at least {MIN_TOKEN_CHARS} characters"
            );
            if agent.is_some_and(|agent| !is_name(agent)) {
                bail!("--token: an agent's name has letters, digits and the characters . _ - only");
            }
            Ok(Token { agent: agent.map(str::to_owned), secret })
        };
        Ok(Self { tokens: sources.iter().map(read).collect::<anyhow::Result<_>>()? })
    }

    /// Whether it asks for a token at all.
    pub(crate) fn is_locked(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// Lets in who presents a token, by `Proxy-Authorization`: `Basic` with the agent's name for a user and the token for a
    /// password, or `Bearer`. Where there is no token everybody comes in, by the name it gives.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> Result<Guest, Problem> {
        let (name, presented) = credentials(headers).unwrap_or_default();
        let agent = Some(name).filter(|name| is_name(name));
        if !self.is_locked() {
            return Ok(Guest { agent });
        }
        // Every token is looked at, so that the time tells nothing of which one came close.
        let mut opened = None;
        for token in &self.tokens {
            let is_right = bool::from(token.secret.as_bytes().ct_eq(presented.as_bytes()));
            let is_its_own = token.agent.is_none() || agent.is_none() || token.agent == agent;
            if is_right && is_its_own {
                opened = Some(Guest { agent: token.agent.clone().or_else(|| agent.clone()) });
            }
        }
        opened.ok_or_else(|| {
            let detail = "this proxy wants a token: http://AGENT:TOKEN@… as its address, or the header Proxy-Authorization";
            Problem::new(StatusCode::PROXY_AUTHENTICATION_REQUIRED, "token", detail)
        })
    }
}

/// Refuses what a page in a browser sends to `own`, the origin that the client takes itself to talk to. Programs send neither
/// of these headers; a page cannot leave them out.
pub(crate) fn check_page(headers: &HeaderMap, own: &Url) -> Result<(), Problem> {
    let is_foreign = |origin: &http::HeaderValue| {
        let origin = origin.to_str().ok().and_then(|text| text.parse::<Url>().ok());
        origin.is_none_or(|origin| origin.origin() != own.origin())
    };
    let is_cross_site =
        headers.get_all("sec-fetch-site").iter().any(|site| site != "same-origin" && site != "none");
    if is_cross_site || headers.get_all(ORIGIN).iter().any(is_foreign) {
        let detail = "a page of another site drives this request: the proxy does not pay for pages";
        return Err(Problem::new(StatusCode::FORBIDDEN, "page", detail));
    }
    Ok(())
}

/// User and password; a bearer's token has no user.
fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let mut values = headers.get_all(PROXY_AUTHORIZATION).iter();
    let (value, None) = (values.next()?.to_str().ok()?, values.next()) else { return None };
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some((String::new(), rest.trim().to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

fn is_name(name: &str) -> bool {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "._-".contains(char);
    !name.is_empty() && name.len() <= MAX_NAME_CHARS && name.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::{Door, Guest, Token, check_page};

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn door() -> Door {
        let token = |agent: Option<&str>, secret: &str| Token {
            agent: agent.map(str::to_owned),
            secret: secret.to_owned(),
        };
        Door { tokens: vec![token(Some("alice"), "alices-own-secret"), token(None, "anybodys-secret-token")] }
    }

    fn basic(user: &str, password: &str) -> HeaderMap {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        headers(&[("proxy-authorization", &format!("Basic {text}"))])
    }

    #[test]
    fn only_the_whole_token_opens_and_only_for_its_agent() {
        let door = door();
        let name = |agent: &str| Ok(Guest { agent: Some(agent.to_owned()) });
        let admitted = |headers: &HeaderMap| door.admit(headers).map_err(|_| ());
        assert_eq!(admitted(&basic("alice", "alices-own-secret")), name("alice"));
        assert_eq!(admitted(&basic("", "alices-own-secret")), name("alice"));
        assert_eq!(admitted(&basic("bob", "anybodys-secret-token")), name("bob"));
        let bearer = headers(&[("proxy-authorization", "Bearer anybodys-secret-token")]);
        assert_eq!(admitted(&bearer), Ok(Guest::default()));
        let twice = headers(&[
            ("proxy-authorization", "Bearer anybodys-secret-token"),
            ("proxy-authorization", "Bearer anybodys-secret-token"),
        ]);
        for refused in [
            HeaderMap::new(),
            basic("bob", "alices-own-secret"),
            basic("alice", "alices-own-secre"),
            basic("alice", "alices-own-secret2"),
            basic("alice", ""),
            headers(&[("authorization", "Bearer anybodys-secret-token")]),
            headers(&[("proxy-authorization", "anybodys-secret-token")]),
            headers(&[("proxy-authorization", "Digest anybodys-secret-token")]),
            twice,
        ] {
            assert_eq!(admitted(&refused), Err(()), "{refused:?}");
        }
    }

    #[test]
    fn an_open_door_takes_names_as_they_are_given() {
        let named = Door::default().admit(&basic("alice", "")).map_err(|_| ());
        assert_eq!(named, Ok(Guest { agent: Some("alice".to_owned()) }));
        let odd = Door::default().admit(&basic("a\u{7}b", "")).map_err(|_| ());
        assert_eq!(odd, Ok(Guest::default()));
    }

    #[test]
    fn pages_of_other_sites_are_turned_away() {
        let own = "http://127.0.0.1:4022/".parse().unwrap();
        for (name, value, is_ok) in [
            ("origin", "http://127.0.0.1:4022", true),
            ("origin", "http://127.0.0.1:3000", false),
            ("origin", "https://evil.example", false),
            ("origin", "null", false),
            ("sec-fetch-site", "same-origin", true),
            ("sec-fetch-site", "none", true),
            ("sec-fetch-site", "same-site", false),
            ("sec-fetch-site", "cross-site", false),
            ("x-anything", "cross-site", true),
        ] {
            assert_eq!(check_page(&headers(&[(name, value)]), &own).is_ok(), is_ok, "{name}: {value}");
        }
    }
}
