//! Who may ask, and how much: callers with keys, each with its quota, and strangers if the operator says so.
//!
//! A key is a bearer token (RFC 6750). Only its SHA-256 is kept; what is presented is hashed and held against every
//! caller's hash in constant time, so neither a key nor how much of one was right can be learned from the answer.
//!
//! Quotas are counted by each process for itself. What lives here: the decision. What does not: how it is answered over
//! HTTP, which is `http/`.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use governor::clock::Clock as RateClock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota as Rate, RateLimiter};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::time::Instant;
use tollway_core::{Clock, SystemClock};

/// The most callers there may be: each request is held against all of them.
pub const MAX_CALLERS: usize = 256;
/// The shortest key taken, bytes.
pub const MIN_KEY_BYTES: usize = 16;
/// The longest name of a caller.
const MAX_NAME: usize = 64;
/// The longest authorization header that is hashed.
const MAX_HEADER_BYTES: usize = 1_024;
/// More a second is as good as no limit.
const MAX_RATE: NonZeroU32 = NonZeroU32::new(1_000_000).expect("not zero");
const SECONDS_A_DAY: u64 = 24 * 60 * 60;

/// How much one caller may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Requests a second, of any kind, in the long run.
    pub requests_per_second: NonZeroU32,
    /// Requests at once.
    pub burst: NonZeroU32,
    /// Requests to settle a day (UTC). A payment asked about again counts again.
    pub settlements_per_day: Option<u64>,
}

/// A caller with a key.
#[derive(Clone, PartialEq, Eq)]
pub struct CallerSetup {
    /// What its settlements are kept under: at most 64 letters, digits, `.`, `-`, `_`.
    pub name: String,
    /// SHA-256 of its key.
    pub key_sha256: [u8; 32],
    /// How much it may ask. None: as much as it likes.
    pub quota: Option<Quota>,
}

/// All who may ask.
#[derive(Debug, Default)]
pub struct Callers {
    strangers: Option<Limiter>,
    known: Vec<Known>,
    clock: TimeOfDay,
}

/// Who asks, admitted.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// None: a stranger.
    pub(crate) name: Option<Arc<str>>,
}

/// Why somebody is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// No key, and strangers are not served.
    NoKey,
    /// A key that is nobody's.
    WrongKey,
    /// Too many requests.
    TooFast { retry_after_seconds: u64 },
    /// The day's settlements are used up.
    DayOver { retry_after_seconds: u64 },
}

struct Known {
    name: Arc<str>,
    key_sha256: [u8; 32],
    limiter: Limiter,
}

#[derive(Debug)]
struct TimeOfDay(Arc<dyn Clock>);

#[derive(Debug, Default)]
struct Limiter {
    rate: Option<RateLimiter<NotKeyed, InMemoryState, TokioTime, NoOpMiddleware<Duration>>>,
    settlements_per_day: Option<u64>,
    today: Mutex<Today>,
}

#[derive(Debug, Default)]
struct Today {
    day: u64,
    settlements: u64,
}

impl CallerSetup {
    /// A caller that presents `key`, without a quota.
    ///
    /// ```
    /// use tollway_facilitator::CallerSetup;
    /// let caller = CallerSetup::new("shop", "0123456789abcdef");
    /// assert_eq!(format!("{caller:?}"), r#"CallerSetup { name: "shop", quota: None, .. }"#);
    /// ```
    pub fn new(name: impl Into<String>, key: &str) -> Self {
        Self { name: name.into(), key_sha256: Sha256::digest(key.as_bytes()).into(), quota: None }
    }
}

impl std::fmt::Debug for CallerSetup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallerSetup")
            .field("name", &self.name)
            .field("quota", &self.quota)
            .finish_non_exhaustive()
    }
}

impl Callers {
    /// Whoever asks is served, all strangers together within `quota`. Callers may be added.
    ///
    /// ```
    /// use tollway_facilitator::Callers;
    /// let callers = Callers::open(None);
    /// assert!(callers.faults().is_empty());
    /// ```
    pub fn open(quota: Option<Quota>) -> Self {
        Self { strangers: Some(Limiter::new(quota)), ..Self::default() }
    }

    /// Only callers with keys are served: those to be added.
    ///
    /// ```
    /// use tollway_facilitator::Callers;
    /// assert_eq!(Callers::closed().faults(), ["callers: none has a key, and strangers are not served: \
    ///     nobody could ask"]);
    /// ```
    pub fn closed() -> Self {
        Self::default()
    }

    /// Adds a caller.
    ///
    /// ```
    /// use tollway_facilitator::{CallerSetup, Callers};
    /// let callers = Callers::closed().with(CallerSetup::new("shop", "0123456789abcdef"));
    /// assert!(callers.faults().is_empty());
    /// ```
    #[must_use]
    pub fn with(mut self, caller: CallerSetup) -> Self {
        let CallerSetup { name, key_sha256, quota } = caller;
        self.known.push(Known { name: name.into(), key_sha256, limiter: Limiter::new(quota) });
        self
    }

    /// Replaces the clock, for tests: it tells which day it is.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollway_core::{ManualClock, UnixTime};
    /// let clock = Arc::new(ManualClock::new(UnixTime(1_750_000_000)));
    /// let callers = tollway_facilitator::Callers::open(None).clock(clock);
    /// ```
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = TimeOfDay(clock);
        self
    }

    /// What is wrong with them, all at once.
    ///
    /// ```
    /// use tollway_facilitator::{CallerSetup, Callers};
    /// let twice = CallerSetup::new("shop", "0123456789abcdef");
    /// let callers = Callers::closed().with(twice.clone()).with(twice);
    /// assert_eq!(callers.faults().len(), 2, "the name and the key");
    /// ```
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.known.is_empty() && self.strangers.is_none() {
            faults.push("callers: none has a key, and strangers are not served: nobody could ask".to_owned());
        }
        if self.known.len() > MAX_CALLERS {
            faults.push(format!("callers: at most {MAX_CALLERS}"));
        }
        for (index, caller) in self.known.iter().enumerate() {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
            if caller.name.is_empty() || caller.name.len() > MAX_NAME || !caller.name.chars().all(is_plain) {
                let rule = format!("must be 1 to {MAX_NAME} letters, digits, '.', '-' or '_'");
                faults.push(format!("callers[{index}].name: {rule}"));
            }
            let earlier = &self.known[..index];
            if earlier.iter().any(|other| other.name == caller.name) {
                faults.push(format!("callers[{index}].name: {} is taken", caller.name));
            }
            if earlier.iter().any(|other| other.key_sha256 == caller.key_sha256) {
                faults.push(format!("callers[{index}].key: is another caller's too"));
            }
        }
        faults
    }

    /// Lets a request in, and counts it.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> Result<Caller, Denied> {
        let (caller, limiter) = match self.who(headers)? {
            Some(known) => (Caller { name: Some(Arc::clone(&known.name)) }, &known.limiter),
            None => (Caller { name: None }, self.strangers.as_ref().ok_or(Denied::NoKey)?),
        };
        limiter.request()?;
        Ok(caller)
    }

    /// Lets a request to settle in, and counts it.
    pub(crate) fn admit_settlement(&self, headers: &HeaderMap) -> Result<Caller, Denied> {
        let caller = self.admit(headers)?;
        let known = self.known.iter().find(|known| Some(&known.name) == caller.name.as_ref());
        let limiter = known.map(|known| &known.limiter).or(self.strangers.as_ref());
        limiter.ok_or(Denied::NoKey)?.settlement(self.clock.0.now().0)?;
        Ok(caller)
    }

    /// Whose key was presented; none if no key was.
    fn who(&self, headers: &HeaderMap) -> Result<Option<&Known>, Denied> {
        let Some(header) = headers.get(AUTHORIZATION) else { return Ok(None) };
        let key = bearer(header.as_bytes()).ok_or(Denied::WrongKey)?;
        let presented: [u8; 32] = Sha256::digest(key).into();
        let mut found = None;
        for known in &self.known {
            // All are compared, whoever was found.
            if bool::from(known.key_sha256.ct_eq(&presented)) {
                found = Some(known);
            }
        }
        found.map(Some).ok_or(Denied::WrongKey)
    }
}

impl Denied {
    /// One word for it, for who counts.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::NoKey => "no_key",
            Self::WrongKey => "wrong_key",
            Self::TooFast { .. } => "too_fast",
            Self::DayOver { .. } => "day_over",
        }
    }
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Default for TimeOfDay {
    fn default() -> Self {
        Self(Arc::new(SystemClock))
    }
}

impl Limiter {
    fn new(quota: Option<Quota>) -> Self {
        let Some(quota) = quota else { return Self::default() };
        let per_second = quota.requests_per_second.min(MAX_RATE);
        let rate = Rate::per_second(per_second).allow_burst(quota.burst);
        Self {
            rate: Some(RateLimiter::direct_with_clock(rate, TokioTime(Instant::now()))),
            settlements_per_day: quota.settlements_per_day,
            today: Mutex::default(),
        }
    }

    fn request(&self) -> Result<(), Denied> {
        let Some(rate) = &self.rate else { return Ok(()) };
        rate.check().map_err(|until| {
            let wait = until.wait_time_from(RateClock::now(rate.clock()));
            Denied::TooFast { retry_after_seconds: wait.as_secs() + 1 }
        })
    }

    fn settlement(&self, now: u64) -> Result<(), Denied> {
        let Some(most) = self.settlements_per_day else { return Ok(()) };
        let mut today = self.today.lock();
        let day = now / SECONDS_A_DAY;
        if today.day != day {
            *today = Today { day, settlements: 0 };
        }
        if today.settlements >= most {
            return Err(Denied::DayOver { retry_after_seconds: SECONDS_A_DAY - now % SECONDS_A_DAY });
        }
        today.settlements += 1;
        Ok(())
    }
}

/// The token of `Bearer <token>`; the scheme's case does not matter.
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked("Bearer ".len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"Bearer ") && header.len() <= MAX_HEADER_BYTES;
    is_bearer.then(|| token.trim_ascii())
}

/// Tokio's time, so that a paused clock governs rates too.
#[derive(Clone, Debug)]
struct TokioTime(Instant);

impl RateClock for TokioTime {
    /// Since the limiter began.
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::Arc;
    use std::time::Duration;

    use axum::http::HeaderMap;
    use axum::http::header::AUTHORIZATION;
    use tollway_core::{ManualClock, UnixTime};

    use super::{CallerSetup, Callers, Denied, Quota};

    const KEY: &str = "an-honest-key-of-a-shop";

    fn shop(quota: Option<Quota>) -> CallerSetup {
        CallerSetup { quota, ..CallerSetup::new("shop", KEY) }
    }

    fn quota(requests_per_second: u32, burst: u32, settlements_per_day: Option<u64>) -> Quota {
        let number = |n| NonZeroU32::new(n).unwrap();
        Quota { requests_per_second: number(requests_per_second), burst: number(burst), settlements_per_day }
    }

    fn with(authorization: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, authorization.parse().unwrap())])
    }

    fn name(callers: &Callers, authorization: &str) -> Result<Option<String>, Denied> {
        Ok(callers.admit(&with(authorization))?.name.map(|name| name.to_string()))
    }

    #[test]
    fn only_the_whole_key_opens() {
        let callers =
            Callers::closed().with(shop(None)).with(CallerSetup::new("other", "x".repeat(20).as_str()));
        let shop = Ok(Some("shop".to_owned()));
        assert_eq!(name(&callers, &format!("Bearer {KEY}")), shop);
        assert_eq!(name(&callers, &format!("bearer  {KEY} ")), shop, "the scheme's case, and blanks");
        for wrong in [
            String::new(),
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            KEY.to_owned(),
            format!("Basic {KEY}"),
            format!("Bearer {}", &KEY[1..]),
            format!("Bearer {KEY}x"),
            format!("Bearer {}", KEY.to_uppercase()),
            format!("Bearer {}", "y".repeat(5_000)),
        ] {
            assert_eq!(name(&callers, &wrong), Err(Denied::WrongKey), "{wrong:?}");
        }
        assert_eq!(callers.admit(&HeaderMap::new()).unwrap_err(), Denied::NoKey);
    }

    #[test]
    fn a_wrong_key_is_no_stranger() {
        let callers = Callers::open(None).with(shop(None));
        assert!(callers.admit(&HeaderMap::new()).unwrap().name.is_none());
        assert_eq!(name(&callers, "Bearer somebody-elses-key"), Err(Denied::WrongKey));
    }

    #[tokio::test(start_paused = true)]
    async fn each_caller_has_its_own_rate() {
        let other = CallerSetup::new("other", "another-key-of-another");
        let callers = Callers::open(Some(quota(1, 1, None))).with(shop(Some(quota(2, 3, None)))).with(other);
        let shop = with(&format!("Bearer {KEY}"));
        for _ in 0..3 {
            assert!(callers.admit(&shop).is_ok());
        }
        let denied = callers.admit(&shop).unwrap_err();
        assert_eq!(denied, Denied::TooFast { retry_after_seconds: 1 });
        assert!(callers.admit(&with("Bearer another-key-of-another")).is_ok(), "others are not held up");
        assert!(callers.admit(&HeaderMap::new()).is_ok());
        assert!(callers.admit(&HeaderMap::new()).is_err(), "strangers share one limit");
        tokio::time::advance(Duration::from_millis(501)).await;
        assert!(callers.admit(&shop).is_ok());
        assert!(callers.admit(&shop).is_err());
    }

    #[test]
    fn a_days_settlements_come_back_at_midnight() {
        let clock = Arc::new(ManualClock::new(UnixTime(86_400 * 20_000 + 86_300)));
        let callers = Callers::closed().with(shop(Some(quota(100, 100, Some(2))))).clock(clock.clone());
        let shop = with(&format!("Bearer {KEY}"));
        assert!(callers.admit_settlement(&shop).is_ok() && callers.admit_settlement(&shop).is_ok());
        let denied = callers.admit_settlement(&shop).unwrap_err();
        assert_eq!(denied, Denied::DayOver { retry_after_seconds: 100 });
        assert!(callers.admit(&shop).is_ok(), "it may still ask for other things");
        clock.set(UnixTime(86_400 * 20_001));
        assert!(callers.admit_settlement(&shop).is_ok());
    }

    #[test]
    fn no_debug_output_holds_a_key_or_its_hash() {
        let setup = shop(None);
        let hash = hash_text(&setup);
        let callers = Callers::closed().with(setup.clone());
        for text in [format!("{setup:?}"), format!("{callers:?}")] {
            assert!(!text.contains(KEY) && !text.contains(&hash), "{text}");
        }
    }

    fn hash_text(setup: &CallerSetup) -> String {
        let bytes: Vec<String> = setup.key_sha256.iter().map(u8::to_string).collect();
        bytes.join(", ")
    }
}
