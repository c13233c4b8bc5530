//! Payments mutated from a seed, judged by us and by the published TypeScript facilitator on a chain that agrees to
//! everything. Where the verdicts differ, the difference is one that is explained here, or the test fails.
//!
//! `TOLLWAY_NODE_DIR` is where the npm packages are; without it nothing is compared. With `TOLLWAY_DIFFERENTIAL_DOC`
//! set to a folder, the tables of `docs/interop/differential.md` are written there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tollway_core::{ErrorCode, SchemeName, UnixTime, wire};
use tollway_evm::{Address, exact, permit2};

use crate::mutants::{Dice, Mutant, Scheme};

/// How many payments of each scheme.
const PAYMENTS: usize = 10_000;
const SEED: u64 = 402;
const FACILITATOR: Address = alloy_primitives::address!("3C44CdDdB6a900fa2b585dd299e03d12FA4293BC");
const NOW: UnixTime = UnixTime(1_750_000_000);

/// What somebody says of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    valid: bool,
    reason: String,
}

/// A kind of difference: what we say, what they say, and why that is so.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Difference {
    /// Whether one accepts what the other refuses.
    is_opposite: bool,
    ours: String,
    theirs: String,
    why: Option<&'static str>,
}

/// How a scheme came off.
struct Comparison {
    scheme: Scheme,
    accepted: usize,
    same: usize,
    /// How many of each kind, and what was done to one of them.
    differences: BTreeMap<Difference, (usize, String)>,
}

#[test]
fn the_typescript_facilitator_judges_mutated_eip3009_payments_as_we_do_or_we_know_why_not() {
    compare(Scheme::Eip3009);
}

#[test]
fn the_typescript_facilitator_judges_mutated_permit2_payments_as_we_do_or_we_know_why_not() {
    compare(Scheme::Permit2);
}

#[test]
fn the_typescript_facilitator_judges_mutated_upto_payments_as_we_do_or_we_know_why_not() {
    compare(Scheme::Upto);
}

fn compare(scheme: Scheme) {
    let Ok(folder) = std::env::var("TOLLWAY_NODE_DIR") else { return };
    let mut dice = Dice::new(SEED);
    let mutants: Vec<Mutant> = (0..PAYMENTS).map(|_| Mutant::make(scheme, &mut dice)).collect();
    let theirs = judged_by_them(&folder, &mutants);
    let mut found = Comparison { scheme, accepted: 0, same: 0, differences: BTreeMap::new() };
    for (mutant, theirs) in mutants.iter().zip(theirs) {
        let ours = judged_by_us(mutant);
        found.accepted += usize::from(ours.valid);
        if ours == theirs {
            found.same += 1;
            continue;
        }
        let why = explain(&ours, &theirs, mutant);
        let is_opposite = ours.valid != theirs.valid;
        let kind = Difference { is_opposite, ours: ours.reason, theirs: theirs.reason, why };
        found.differences.entry(kind).or_insert_with(|| (0, mutant.done.join("; "))).0 += 1;
    }
    let unknown: Vec<_> = found
        .differences
        .iter()
        .filter(|(kind, _)| kind.why.is_none())
        .map(|(kind, (count, example))| format!("{} / {} x{count}: {example}", kind.ours, kind.theirs))
        .collect();
    assert!(unknown.is_empty(), "differences that nobody has explained:\n{}", unknown.join("\n"));
    // Mutants that all break, or none, would compare nothing.
    assert!((PAYMENTS / 10..PAYMENTS / 2).contains(&found.accepted), "{} accepted", found.accepted);
    let opposite: usize =
        found.differences.iter().filter(|(kind, _)| kind.is_opposite).map(|(_, (count, _))| count).sum();
    assert!(opposite < PAYMENTS / 10, "{opposite} judged the other way");
    if let Ok(folder) = std::env::var("TOLLWAY_DIFFERENTIAL_DOC") {
        std::fs::write(format!("{folder}/{}.md", scheme.file()), document(&found)).unwrap();
    }
}

fn judged_by_them(folder: &str, mutants: &[Mutant]) -> Vec<Verdict> {
    let mut child = Command::new("node")
        .arg(format!("{folder}/verdicts.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines: Vec<String> = mutants.iter().map(|mutant| mutant.line().to_string()).collect();
    let writer = std::thread::spawn(move || {
        for line in lines {
            writeln!(stdin, "{line}").unwrap();
        }
    });
    let read = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| {
        let answer: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let text = |name: &str| answer[name].as_str().map(str::to_owned);
        let thrown = text("threw").map(|_| "(an exception)".to_owned());
        Verdict {
            valid: answer["valid"] == true,
            reason: thrown.or(text("reason")).unwrap_or_else(|| "accepted".to_owned()),
        }
    });
    let verdicts: Vec<Verdict> = read.collect();
    writer.join().unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(verdicts.len(), mutants.len());
    verdicts
}

fn judged_by_us(mutant: &Mutant) -> Verdict {
    let refuse = |code: tollway_core::ErrorCode| Verdict { valid: false, reason: code.as_str().to_owned() };
    let request = match wire::decode_facilitator_request(mutant.request.to_string().as_bytes()) {
        Ok(request) => request,
        Err(error) => return refuse(error.code),
    };
    let (payment, offer) = (&request.payment, &request.requirements);
    let by_permit = offer.extra_str("assetTransferMethod") == Some("permit2");
    // A facilitator settles for its own addresses only, whatever the offer names.
    let foreign = payment.payload.get("permit2Authorization").and_then(|signed| {
        let facilitator = signed.get("witness")?.get("facilitator")?.as_str()?.parse::<Address>().ok()?;
        (offer.scheme == SchemeName::UPTO && facilitator != FACILITATOR).then_some(facilitator)
    });
    let checked = if offer.scheme == SchemeName::UPTO || by_permit {
        let ceiling = if mutant.is_settled { permit2::Ceiling::AtMost } else { permit2::Ceiling::Equal };
        permit2::check(payment, offer, ceiling, NOW).map(|held| held.signature.is_by_key())
    } else {
        exact::check(payment, offer, NOW).map(|held| held.signature.is_by_key())
    };
    match checked {
        // No account has code on this chain, so none can speak for a payer whose key did not sign.
        Ok(false) if by_permit || offer.scheme == SchemeName::UPTO => {
            refuse(ErrorCode::INVALID_PERMIT2_SIGNATURE)
        }
        Ok(false) => refuse(ErrorCode::INVALID_EXACT_EVM_SIGNATURE),
        Ok(true) if foreign.is_some() => refuse(ErrorCode::UPTO_FACILITATOR_MISMATCH),
        Ok(true) => Verdict { valid: true, reason: "accepted".to_owned() },
        Err(refusal) => refuse(refusal.code),
    }
}

const CASE: &str =
    "The letter case of an address is a checksum for people (EIP-55); the packages refuse a wrong one.";
const SPELLING: &str = "One value has one spelling here. JavaScript's BigInt also reads hex, spaces and leading zeros, and \
    the packages never look at most of what `accepted` repeats.";
const MALLEABLE: &str =
    "Every signature has a twin with a high s that the same key made (EIP-2). We take only the low one.";
const METHOD: &str = "The offer says by which method it is paid. The packages go by the payload alone.";
const FLOW: &str =
    "An offer with an unknown paymentFlow is one nobody understands; the packages' facilitator ignores it.";
const NOBODY: &str =
    "Paying oneself or the zero address is no payment, and would burn the facilitator's gas.";
const BOUND: &str =
    "The payer must sign for the facilitator that the offer names, not for another one of its addresses.";
const ZERO: &str =
    "A permit for nothing is refused before it is held against anything; the packages compare it first.";
const THROWN: &str =
    "The packages throw on what they cannot read, which their servers answer with status 500.";
const READ: &str =
    "All fields are read before the first rule is held; the packages stop at the first broken rule.";
const NAME: &str = "The same rule under another name.";
const ORDER: &str =
    "Both are broken. The cheap rules come first here; the packages check the signature of EIP-3009 first.";
const LATE: &str =
    "What is charged is held against the permit before the signature; the packages do it last.";
const OWN: &str =
    "That the permit is for one of the facilitator's own addresses is checked after the permit's own rules.";
const TERMS: &str = "The offer's own terms come before the payload.";

/// Why the verdicts differ, where that is right.
fn explain(ours: &Verdict, theirs: &Verdict, mutant: &Mutant) -> Option<&'static str> {
    const READING: [&str; 3] =
        ["invalid_payload", "invalid_permit2_payload_format", "invalid_payment_requirements"];
    let (we, they) = (ours.reason.as_str(), theirs.reason.as_str());
    let is_unread = READING.contains(&we);
    let was_done = |what: &str| mutant.done.iter().any(|done| done.contains(what));
    match (ours.valid, theirs.valid) {
        (true, true) => None,
        (true, false) => mutant.has_odd_case().then_some(CASE),
        (false, true) => match we {
            _ if is_unread => mutant.has_odd_spelling().then_some(SPELLING),
            "invalid_exact_evm_signature" | "invalid_permit2_signature" => {
                was_done("high s").then_some(MALLEABLE)
            }
            "unsupported_asset_transfer_method" | "unsupported_payload_type" => Some(METHOD),
            "unsupported_payment_flow" => Some(FLOW),
            "permit2_invalid_destination" | "invalid_exact_evm_recipient_mismatch" => Some(NOBODY),
            "upto_facilitator_mismatch" => was_done("facilitatorAddress").then_some(BOUND),
            _ => None,
        },
        (false, false) => match (we, they) {
            (_, "(an exception)") => Some(THROWN),
            _ if is_unread => Some(READ),
            ("invalid_permit2_signature" | "invalid_exact_evm_signature", _) if was_done("without 0x") => {
                Some(READ)
            }
            (
                "unsupported_payment_flow" | "unsupported_asset_transfer_method" | "unsupported_payload_type",
                _,
            ) => Some(TERMS),
            ("invalid_network" | "unsupported_scheme" | "invalid_upto_evm_scheme", _) => Some(NAME),
            ("invalid_upto_evm_network_mismatch", _) => Some(TERMS),
            ("invalid_upto_evm_payload_settlement_exceeds_amount", _) => Some(LATE),
            ("upto_facilitator_mismatch", _) => Some(BOUND),
            (_, "upto_facilitator_mismatch") => Some(OWN),
            ("permit2_invalid_destination", _) => Some(NOBODY),
            ("permit2_invalid_amount", _) => Some(ZERO),
            _ if mutant.scheme == Scheme::Eip3009 => Some(ORDER),
            _ => None,
        },
    }
}

/// The part of `docs/interop/differential.md` that is about one scheme.
fn document(found: &Comparison) -> String {
    let Comparison { scheme, accepted, same, differences } = found;
    let mut text = format!(
        "## {}\n\n{PAYMENTS} payments from seed {SEED}: {accepted} accepted here, {same} judged alike to the very code.\n",
        scheme.name()
    );
    for (is_opposite, title) in
        [(true, "One accepts what the other refuses"), (false, "Both refuse, by different codes")]
    {
        let _ =
            write!(text, "\n### {title}\n\n| Tollway | TypeScript | payments | why |\n|---|---|---|---|\n");
        for (kind, (count, _)) in differences.iter().filter(|(kind, _)| kind.is_opposite == is_opposite) {
            let Difference { ours, theirs, why, .. } = kind;
            let _ = writeln!(text, "| `{ours}` | `{theirs}` | {count} | {} |", why.unwrap_or_default());
        }
    }
    text
}

#[test]
fn mutants_follow_from_their_seed() {
    let make = || Mutant::make(Scheme::Upto, &mut Dice::new(7)).line();
    assert_eq!(make(), make());
    assert_ne!(make(), json!(null));
}
