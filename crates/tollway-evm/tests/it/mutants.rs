//! Payments that were good before something was done to them, all from a seed.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use serde_json::{Value, json};
use tollway_evm::permit2::{Permit, Proxy};
use tollway_evm::{Address, B256, LocalSigner, Signer, U256, eip712, exact};

const PAYER_KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const PAYEE: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const FACILITATOR: &str = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";
const STRANGER: &str = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";
const USDC: &str = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913";
const NETWORK: &str = "eip155:8453";
const NOW: u64 = 1_750_000_000;

/// What is mutated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Eip3009,
    Permit2,
    Upto,
}

/// A payment after the mutations.
#[derive(Clone, Debug)]
pub(crate) struct Mutant {
    pub(crate) scheme: Scheme,
    pub(crate) request: Value,
    /// Asked to settle, not to verify.
    pub(crate) is_settled: bool,
    /// What was done to it.
    pub(crate) done: Vec<String>,
}

/// Numbers that follow from a seed (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

impl Scheme {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Eip3009 => "exact, EIP-3009",
            Self::Permit2 => "exact, Permit2",
            Self::Upto => "upto",
        }
    }

    /// The file of its tables.
    pub(crate) const fn file(self) -> &'static str {
        match self {
            Self::Eip3009 => "eip3009",
            Self::Permit2 => "permit2",
            Self::Upto => "upto",
        }
    }

    const fn wire(self) -> &'static str {
        match self {
            Self::Eip3009 | Self::Permit2 => "exact",
            Self::Upto => "upto",
        }
    }

    fn offer(self) -> Value {
        let mut extra = json!({"name": "USD Coin", "version": "2"});
        if self != Self::Eip3009 {
            extra["assetTransferMethod"] = "permit2".into();
        }
        if self == Self::Upto {
            extra["facilitatorAddress"] = FACILITATOR.into();
        }
        json!({
            "scheme": self.wire(), "network": NETWORK, "amount": "10000", "asset": USDC, "payTo": PAYEE,
            "maxTimeoutSeconds": 300, "extra": extra,
        })
    }

    fn payload(self, payer: Address, nonce: U256) -> Value {
        let until = (NOW + 300).to_string();
        match self {
            Self::Eip3009 => json!({"authorization": {
                "from": payer, "to": PAYEE, "value": "10000", "validAfter": "0", "validBefore": until,
                "nonce": B256::from(nonce),
            }, "signature": "0x"}),
            Self::Permit2 | Self::Upto => {
                let proxy = match self {
                    Self::Upto => Proxy::Upto { facilitator: Address::ZERO },
                    _ => Proxy::Exact,
                };
                let mut witness = json!({"to": PAYEE, "validAfter": "0"});
                if self == Self::Upto {
                    witness["facilitator"] = FACILITATOR.into();
                }
                json!({"permit2Authorization": {
                    "from": payer, "permitted": {"token": USDC, "amount": "10000"},
                    "spender": proxy.address(), "nonce": nonce.to_string(), "deadline": until,
                    "witness": witness,
                }, "signature": "0x"})
            }
        }
    }
}

impl Mutant {
    /// Makes a good payment, does up to three things to it, and signs it before or after.
    pub(crate) fn make(scheme: Scheme, dice: &mut Dice) -> Self {
        let signer = LocalSigner::from_hex(PAYER_KEY).unwrap();
        let nonce = U256::from_limbs(std::array::from_fn(|_| dice.next()));
        let (offer, payload) = (scheme.offer(), scheme.payload(signer.address(), nonce));
        let mut mutant = Self {
            scheme,
            request: json!({
                "x402Version": 2,
                "paymentPayload": {
                    "x402Version": 2, "resource": {"url": "https://api.example.com/x"},
                    "accepted": offer, "payload": payload,
                },
                "paymentRequirements": offer,
            }),
            is_settled: scheme == Scheme::Upto && dice.below(2) == 0,
            done: Vec::new(),
        };
        let signs_last = dice.below(3) > 0;
        if !signs_last {
            mutant.sign(scheme, &signer);
        }
        if mutant.is_settled {
            let used = dice.pick(&["0", "1", "9999", "10000", "10001"]);
            mutant.set("/paymentRequirements/amount", used.into());
        }
        for _ in 0..dice.below(4) {
            mutant.mutate(scheme, dice);
        }
        if signs_last {
            mutant.sign(scheme, &signer);
        }
        if dice.below(6) == 0 {
            mutant.mutate_signature(dice);
        }
        mutant
    }

    /// What is asked of the peer.
    pub(crate) fn line(&self) -> Value {
        json!({"op": if self.is_settled { "settle" } else { "verify" }, "request": self.request})
    }

    /// Whether some address is written in a mix of cases that is not its checksum.
    pub(crate) fn has_odd_case(&self) -> bool {
        let mut odd = false;
        strings(&self.request, &mut |text| {
            odd |= text.len() == 42
                && text
                    .parse::<Address>()
                    .is_ok_and(|address| address.to_checksum(None) != text && text != text.to_lowercase());
        });
        odd
    }

    /// Whether some number is not in its one spelling, or a field that only `accepted` has is no string.
    pub(crate) fn has_odd_spelling(&self) -> bool {
        self.done.iter().any(|done| {
            let value = done.split_once(" = ").map_or("", |(_, value)| value);
            let canonical = serde_json::from_str::<String>(value).is_ok_and(|text| {
                U256::from_str_radix(&text, 10).is_ok_and(|number| number.to_string() == text)
            });
            !canonical
        })
    }

    fn set(&mut self, path: &str, value: Value) {
        let Some((parent, name)) = path.rsplit_once('/') else { return };
        if let Some(Value::Object(parent)) = self.request.pointer_mut(parent) {
            self.done.push(format!("{path} = {value}"));
            parent.insert(name.to_owned(), value);
        }
    }

    fn mutate(&mut self, scheme: Scheme, dice: &mut Dice) {
        let signed = match scheme {
            Scheme::Eip3009 => "/paymentPayload/payload/authorization",
            _ => "/paymentPayload/payload/permit2Authorization",
        };
        let inner = |rest: &str| format!("{signed}/{rest}");
        let (addresses, numbers): (Vec<String>, Vec<String>) = match scheme {
            Scheme::Eip3009 => (
                ["from", "to"].map(inner).to_vec(),
                ["value", "validAfter", "validBefore", "nonce"].map(inner).to_vec(),
            ),
            _ => {
                let mut addresses = ["from", "permitted/token", "spender", "witness/to"].map(inner).to_vec();
                if scheme == Scheme::Upto {
                    addresses.push(inner("witness/facilitator"));
                }
                let numbers = ["permitted/amount", "nonce", "deadline", "witness/validAfter"];
                (addresses, numbers.map(inner).to_vec())
            }
        };
        match dice.below(10) {
            0..=2 => self.set(&addresses[dice.below(addresses.len())].clone(), address(dice)),
            3..=6 => self.set(&numbers[dice.below(numbers.len())].clone(), number(dice)),
            7 => {
                let path = dice.pick(&["asset", "payTo", "amount", "scheme", "network"]);
                let value = match path {
                    "asset" | "payTo" => address(dice),
                    "amount" => number(dice),
                    "scheme" => json!(dice.pick(&["exact", "upto", "barter"])),
                    _ => json!(dice.pick(&["eip155:8453", "eip155:1", "base", "solana:x"])),
                };
                let side = dice.pick(&["/paymentRequirements/", "/paymentPayload/accepted/"]);
                self.set(&format!("{side}{path}"), value);
            }
            8 => {
                let (name, value) = [
                    ("assetTransferMethod", json!("eip3009")),
                    ("assetTransferMethod", json!("permit2")),
                    ("assetTransferMethod", json!("barter")),
                    ("name", json!("Dollar")),
                    ("version", json!("")),
                    ("facilitatorAddress", json!(STRANGER)),
                    ("facilitatorAddress", json!(null)),
                    ("paymentFlow", json!("upfront")),
                    ("paymentFlow", json!("barter")),
                ][dice.below(9)]
                .clone();
                self.set(&format!("/paymentRequirements/extra/{name}"), value);
            }
            _ => {
                let all: Vec<&str> = addresses.iter().chain(&numbers).map(String::as_str).collect();
                let path = dice.pick(&all).to_owned();
                let (parent, name) = path.rsplit_once('/').unwrap();
                if let Some(Value::Object(parent)) = self.request.pointer_mut(parent) {
                    parent.shift_remove(name);
                    self.done.push(format!("{path} removed"));
                }
            }
        }
    }

    fn mutate_signature(&mut self, dice: &mut Dice) {
        let text = self.request["paymentPayload"]["payload"]["signature"].as_str().unwrap().to_owned();
        if text.len() != 132 {
            return;
        }
        let v = u8::from_str_radix(&text[130..], 16).unwrap();
        let order =
            alloy_primitives::uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);
        let twin = order - U256::from_str_radix(&text[66..130], 16).unwrap();
        let (what, value) = match dice.below(9) {
            0 => ("high s", json!(format!("{}{twin:064x}{:02x}", &text[..66], 55 - v))),
            1 => ("v of 0 or 1", json!(format!("{}{:02x}", &text[..130], v - 27))),
            2 => ("v of 29", json!(format!("{}1d", &text[..130]))),
            3 => ("the other v", json!(format!("{}{:02x}", &text[..130], 55 - v))),
            4 => ("without 0x", json!(text[2..])),
            5 => ("64 bytes", json!(text[..130])),
            6 => ("more bytes", json!(format!("{text}00"))),
            7 => ("upper case", json!(format!("0x{}", text[2..].to_uppercase()))),
            _ => ("no string", json!(7)),
        };
        self.done.push(format!("signature: {what}"));
        self.request["paymentPayload"]["payload"]["signature"] = value;
    }

    /// Signs what can be read, as a payer with strange wishes would.
    fn sign(&mut self, scheme: Scheme, signer: &LocalSigner) {
        let payload = &self.request["paymentPayload"]["payload"];
        let digest = match scheme {
            Scheme::Eip3009 => eip3009_digest(&payload["authorization"]),
            _ => permit_digest(scheme, &payload["permit2Authorization"]),
        };
        let Some(preimage) = digest else { return };
        let signature = ready(signer.sign(&preimage));
        let text = alloy_primitives::hex::encode_prefixed(signature.as_bytes());
        self.request["paymentPayload"]["payload"]["signature"] = text.into();
    }
}

/// A local signer is ready at once.
fn ready<T, E: std::fmt::Debug>(signing: impl Future<Output = Result<T, E>>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(signing).poll(&mut context) {
        Poll::Ready(signed) => signed.unwrap(),
        Poll::Pending => panic!("a local signer waits for nothing"),
    }
}

fn address(dice: &mut Dice) -> Value {
    let lower = PAYEE.to_lowercase();
    let upper = format!("0x{}", PAYEE[2..].to_uppercase());
    let wrong_case = format!(
        "0x{}",
        USDC[2..]
            .chars()
            .map(|c| if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
            .collect::<String>()
    );
    let payer = LocalSigner::from_hex(PAYER_KEY).unwrap().address().to_string();
    let pool = [
        json!(PAYEE),
        json!(lower),
        json!(upper),
        json!(STRANGER),
        json!(USDC),
        json!(USDC.to_lowercase()),
        json!(wrong_case),
        json!(payer),
        json!(FACILITATOR.to_lowercase()),
        json!("0x0000000000000000000000000000000000000000"),
        json!(""),
        json!("0x12"),
        json!(PAYEE[2..]),
        json!(format!("{PAYEE}00")),
        json!(format!(" {PAYEE}")),
        json!(7),
        json!(null),
        json!(true),
        json!([]),
        json!({}),
        json!("0x402085c248EeA27D92E8b30b2C58ed07f9E20001"),
        json!("0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002"),
    ];
    pool[dice.below(pool.len())].clone()
}

fn number(dice: &mut Dice) -> Value {
    let near = |offset: i64| json!(NOW.checked_add_signed(offset).unwrap().to_string());
    let pool = [
        json!("10000"),
        json!("9999"),
        json!("10001"),
        json!("0"),
        json!("1"),
        near(-1),
        near(0),
        near(1),
        near(5),
        near(6),
        near(7),
        json!("010000"),
        json!("0x2710"),
        json!("0X2710"),
        json!("1e4"),
        json!("10000.0"),
        json!(" 10000"),
        json!("10000 "),
        json!("-1"),
        json!("+1"),
        json!(""),
        json!("x"),
        json!("0x"),
        json!(U256::MAX.to_string()),
        json!(format!("{}0", U256::MAX)),
        json!(10_000),
        json!(10_000.5),
        json!(null),
        json!(true),
        json!([]),
        json!({}),
        json!("0b1"),
        json!("٣"),
        json!(format!("0x{}", "ab".repeat(32))),
        json!(format!("0x{}", "AB".repeat(32))),
        json!(format!("0x{}", "ab".repeat(33))),
    ];
    pool[dice.below(pool.len())].clone()
}

/// Every string in a value.
fn strings(value: &Value, look: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => look(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, look)),
        Value::Object(map) => map.values().for_each(|item| strings(item, look)),
        _ => {}
    }
}

fn read_address(value: &Value) -> Option<Address> {
    value.as_str()?.parse().ok()
}

/// As lenient as JavaScript's BigInt with what a payer might have signed.
fn read_number(value: &Value) -> Option<U256> {
    let text = match value {
        Value::Number(number) => number.as_u64()?.to_string(),
        Value::String(text) => text.trim().to_owned(),
        _ => return None,
    };
    match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(digits) => U256::from_str_radix(digits, 16).ok(),
        None if text.is_empty() => Some(U256::ZERO),
        None => U256::from_str_radix(&text, 10).ok(),
    }
}

fn permit_digest(scheme: Scheme, signed: &Value) -> Option<Vec<u8>> {
    let witness = &signed["witness"];
    let proxy = match scheme {
        Scheme::Upto => Proxy::Upto { facilitator: read_address(&witness["facilitator"])? },
        _ => Proxy::Exact,
    };
    let permit = Permit {
        from: read_address(&signed["from"])?,
        token: read_address(&signed["permitted"]["token"])?,
        amount: read_number(&signed["permitted"]["amount"])?,
        nonce: read_number(&signed["nonce"])?,
        deadline: read_number(&signed["deadline"])?,
        proxy,
        to: read_address(&witness["to"])?,
        valid_after: read_number(&witness["validAfter"])?,
    };
    permit.preimage(&NETWORK.parse().unwrap()).map(|preimage| preimage.to_vec())
}

fn eip3009_digest(signed: &Value) -> Option<Vec<u8>> {
    let authorization = exact::Authorization {
        from: read_address(&signed["from"])?,
        to: read_address(&signed["to"])?,
        value: read_number(&signed["value"])?,
        valid_after: read_number(&signed["validAfter"])?,
        valid_before: read_number(&signed["validBefore"])?,
        nonce: signed["nonce"].as_str()?.parse().ok()?,
    };
    let domain = eip712::Domain::new(&NETWORK.parse().unwrap(), USDC.parse().unwrap(), "USD Coin", "2")?;
    Some(domain.preimage(&authorization.message()).to_vec())
}
