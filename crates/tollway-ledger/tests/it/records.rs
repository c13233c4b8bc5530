//! Records to begin a test with.

use tollway_core::{Amount, AuthorizationKey, ChannelKey, Fingerprint, Network, UnixTime};
use tollway_ledger::{
    Advance, Channel, ChannelCharge, Fact, Fate, Finish, Hold, Intent, IntentId, LaneLease, Ledger, Member,
    NewHold, NewIntent, NewReservation, NewSettlement, NewTransaction, Owed, OwedLimits, PaymentIdentifier,
    Role, Sent, SettlementState, StoredResponse, Token,
};

/// When tests begin.
pub(crate) const NOW: UnixTime = UnixTime(1_000);
/// Until when members live that nobody renews.
pub(crate) const UNTIL: UnixTime = UnixTime(1_030);
/// When these are dead.
pub(crate) const LATER: UnixTime = UnixTime(1_040);

pub(crate) fn key(name: &str) -> AuthorizationKey {
    AuthorizationKey::new(format!("eip155:8453/0xa/0xb/{name}"))
}

pub(crate) fn network() -> Network {
    Network::evm(8453)
}

pub(crate) fn fingerprint(path: &str) -> Fingerprint {
    Fingerprint::of("GET", &format!("https://shop.example/{path}").parse().unwrap(), b"")
}

pub(crate) async fn seller(ledger: &dyn Ledger, name: &str) -> Member {
    ledger.member_join(Role::Seller, name, NOW, UNTIL).await.unwrap()
}

pub(crate) async fn facilitator(ledger: &dyn Ledger, name: &str) -> Member {
    ledger.member_join(Role::Facilitator, name, NOW, UNTIL).await.unwrap()
}

pub(crate) fn claim(member: &Member, name: &str, token: u64) -> NewReservation {
    NewReservation {
        key: key(name),
        fingerprint: fingerprint("data"),
        payer: "0xb".to_owned(),
        identifier: None,
        member: member.clone(),
        token: Token(token),
        valid_before: UnixTime(1_300),
        now: NOW,
        capacity: 1_000,
    }
}

pub(crate) fn identifier(id: &str, digest: u8) -> PaymentIdentifier {
    PaymentIdentifier { scope: "shop".to_owned(), id: id.to_owned(), digest: [digest; 32] }
}

pub(crate) fn finish(name: &str, token: u64, fate: Fate) -> Finish {
    Finish {
        key: key(name),
        token: Token(token),
        fate,
        response: None,
        keep_until: UnixTime(1_500),
        owed_limits: None,
        now: NOW,
    }
}

pub(crate) fn owed(name: &str, payer: &str, amount: u64) -> Owed {
    Owed {
        key: key(name),
        payer: payer.to_owned(),
        network: network(),
        asset: "0xa".to_owned(),
        amount: amount.into(),
        request: "{\"payment\":1}".to_owned(),
        token: Token(0),
        next_try: NOW,
    }
}

pub(crate) fn limits(per_payer: u64, in_all: u64) -> OwedLimits {
    OwedLimits { per_payer: per_payer.into(), in_all: in_all.into() }
}

pub(crate) fn response(body: &str, expires: u64) -> StoredResponse {
    StoredResponse {
        presented: [7; 32],
        status: 200,
        headers: vec![("content-type".to_owned(), b"text/plain".to_vec()), ("x".to_owned(), vec![0, 255])],
        body: body.as_bytes().to_vec(),
        expires: UnixTime(expires),
    }
}

pub(crate) fn payment(member: &Member, name: &str) -> NewSettlement {
    NewSettlement {
        key: key(name),
        digest: [1; 32],
        payment: format!("{{\"payment\":\"{name} \\\"é\\\"\"}}"),
        network: network(),
        asset: "0xa".to_owned(),
        payer: "0xb".to_owned(),
        pay_to: "0xc".to_owned(),
        amount: 10_000.into(),
        caller: None,
        valid_before: UnixTime(u64::MAX),
        confirmations: 2,
        member: member.clone(),
        now: NOW,
    }
}

pub(crate) fn signed(hash: &str, nonce: u64) -> NewTransaction {
    NewTransaction {
        hash: hash.to_owned(),
        nonce,
        raw: vec![0, 1, 254, 255],
        max_fee_per_gas: u128::MAX,
        max_priority_fee_per_gas: 1,
    }
}

pub(crate) fn sent(lease: &LaneLease, hash: &str, nonce: u64, settlements: &[(&str, u64)]) -> Sent {
    Sent {
        lease: lease.clone(),
        transaction: signed(hash, nonce),
        settlements: settlements.iter().map(|(name, attempt)| (key(name), *attempt)).collect(),
        now: NOW,
    }
}

pub(crate) fn advance(name: &str, attempt: u64, to: SettlementState) -> Advance {
    Advance { key: key(name), attempt, to, deliveries: Vec::new() }
}

pub(crate) fn settled(transaction: &str, is_final: bool) -> SettlementState {
    SettlementState::Settled {
        transaction: transaction.to_owned(),
        log_index: 3,
        block_number: 77,
        block_hash: "0xblock".to_owned(),
        is_final,
    }
}

pub(crate) fn failed() -> SettlementState {
    SettlementState::Failed { code: "insufficient_funds".to_owned(), message: "no money".to_owned() }
}

pub(crate) fn abandoned() -> SettlementState {
    SettlementState::Abandoned { message: "the node was down".to_owned() }
}

pub(crate) async fn buyer(ledger: &dyn Ledger, name: &str) -> Member {
    ledger.member_join(Role::Buyer, name, NOW, UNTIL).await.unwrap()
}

/// An open one at rest, bought by the wallet `w` under its own key.
pub(crate) fn intent(number: u8) -> Intent {
    Intent {
        id: IntentId([number; 16]),
        wallet: "w".to_owned(),
        agent: None,
        key: Some(format!("é' {number}")),
        version: 0,
        holder: None,
        is_open: true,
        repeat_until: UnixTime(0),
        due: UnixTime(2_000),
        created: NOW,
        until: UnixTime(3_000),
        holds: Vec::new(),
        body: format!("{{\"n\":\"é' {number}\"}}"),
    }
}

pub(crate) fn opening(intent: Intent, holds: Vec<NewHold>) -> NewIntent {
    NewIntent { intent, holds, conditions: Vec::new(), is_synced: true, now: NOW }
}

/// In the window that ends at 1,060.
pub(crate) fn hold(budget: &str, amount: u64, limit: u64) -> NewHold {
    let budget = budget.to_owned();
    let hold = Hold { budget, window: NOW, until: UnixTime(1_060), amount: amount.into() };
    NewHold { hold, limit: limit.into() }
}

pub(crate) fn fact(scope: &str, name: &str, version: u64, value: &str) -> Fact {
    let until = UnixTime(2_000);
    Fact { scope: scope.to_owned(), name: name.to_owned(), version, value: value.to_owned(), until }
}

pub(crate) fn channel_key(name: &str) -> ChannelKey {
    ChannelKey::new(format!("eip155:8453/{name}"))
}

/// One of the scope `shop` that nothing was charged on.
pub(crate) fn channel(name: &str) -> Channel {
    Channel {
        scope: "shop".to_owned(),
        id: channel_key(name),
        version: 0,
        charged: Amount::ZERO,
        signed: Amount::ZERO,
        claimed: Amount::ZERO,
        proof: String::new(),
        request: None,
        repeats: 0,
        body: format!("{{\"terms\":\"é' {name}\"}}"),
        holder: None,
        used_at: UnixTime(900),
        due: UnixTime(2_000),
    }
}

/// By nobody, for as much as is signed, with no answer to keep.
pub(crate) fn charge(name: &str, version: u64, charged: u64) -> ChannelCharge {
    ChannelCharge {
        scope: "shop".to_owned(),
        id: channel_key(name),
        version,
        charged: charged.into(),
        signed: charged.into(),
        proof: format!("0xproof {charged}"),
        request: None,
        repeats: 0,
        used_at: NOW,
        due: UnixTime(2_000),
        answer: None,
        member: None,
        is_released: false,
    }
}
