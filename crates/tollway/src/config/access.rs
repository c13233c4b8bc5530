//! Who may ask: the callers with their keys and quotas, and strangers.

use std::num::NonZeroU32;

use serde::Deserialize;
use tollway_facilitator::{CallerSetup, Callers, MIN_KEY_BYTES, Quota};

use super::read_secret;

/// What strangers may ask together, where they are served.
// tidy: config crates/tollway/config/facilitator.toml
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StrangersConfig {
    requests_per_second: u32,
    burst: u32,
    #[serde(default)]
    settlements_per_day: Option<u64>,
}

/// One caller with a key.
// tidy: config crates/tollway/config/facilitator.toml
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CallerConfig {
    pub(super) name: String,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    key_sha256: Option<String>,
    #[serde(default)]
    requests_per_second: Option<u32>,
    #[serde(default)]
    burst: Option<u32>,
    #[serde(default)]
    settlements_per_day: Option<u64>,
    #[serde(default)]
    pub(super) webhook: Option<String>,
}

/// All who may ask. Faults are added to `faults`.
pub(super) fn callers(
    open: bool,
    strangers: &StrangersConfig,
    callers: &[CallerConfig],
    faults: &mut Vec<String>,
) -> Callers {
    let StrangersConfig { requests_per_second, burst, settlements_per_day } = *strangers;
    let for_strangers = quota("strangers", requests_per_second, burst, settlements_per_day, faults);
    let known = callers.len();
    let mut all = if open { Callers::open(for_strangers) } else { Callers::closed() };
    for (index, config) in callers.iter().enumerate() {
        let at = format!("callers[{index}]");
        let requests = config.requests_per_second.unwrap_or(requests_per_second);
        let burst = config.burst.unwrap_or_else(|| requests.saturating_mul(2));
        let quota = quota(&at, requests, burst, config.settlements_per_day, faults);
        match config.key_sha256() {
            Ok(key_sha256) => all = all.with(CallerSetup { name: config.name.clone(), key_sha256, quota }),
            Err(fault) => faults.push(format!("{at}.{fault}")),
        }
    }
    if open || known > 0 {
        faults.extend(all.faults());
    } else {
        faults.push(
            "callers: nobody could ask: give each caller a [[callers]] table with a key, or let everybody in \
             with open = true"
                .to_owned(),
        );
    }
    all
}

impl CallerConfig {
    fn key_sha256(&self) -> Result<[u8; 32], String> {
        match (&self.key, &self.key_sha256) {
            (Some(source), None) => {
                let key = read_secret(source).map_err(|fault| format!("key: {fault}"))?;
                if key.len() < MIN_KEY_BYTES {
                    return Err(format!("key: must be at least {MIN_KEY_BYTES} bytes long"));
                }
                Ok(CallerSetup::new("", &key).key_sha256)
            }
            (None, Some(text)) => {
                let digits = text.as_bytes().chunks_exact(2).filter_map(|pair| {
                    let pair = std::str::from_utf8(pair).ok()?;
                    u8::from_str_radix(pair, 16).ok()
                });
                let bytes: Vec<u8> = digits.collect();
                let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                let hash = <[u8; 32]>::try_from(bytes).ok().filter(|_| is_hex);
                hash.ok_or_else(|| "key_sha256: must be 64 hexadecimal digits".to_owned())
            }
            _ => Err("key: give either key or key_sha256".to_owned()),
        }
    }
}

fn quota(
    at: &str,
    requests_per_second: u32,
    burst: u32,
    settlements_per_day: Option<u64>,
    faults: &mut Vec<String>,
) -> Option<Quota> {
    let mut number = |name: &str, value: u32| {
        let number = NonZeroU32::new(value);
        if number.is_none() {
            faults.push(format!("{at}.{name}: must be more than zero"));
        }
        number
    };
    let (requests, burst) = (number("requests_per_second", requests_per_second), number("burst", burst));
    Some(Quota { requests_per_second: requests?, burst: burst?, settlements_per_day })
}
