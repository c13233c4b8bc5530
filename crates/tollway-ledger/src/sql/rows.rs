//! Rows as they are in SQL, to and from the rows that the rules work on.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use tollway_core::{Amount, AuthorizationKey, Network, UnixTime};

use super::spec::{Bytes, Kind, Spec};
use crate::tables::{
    BudgetKey, BudgetRow, Debt, DeliveryRow, FactKey, FactRow, LaneRow, MarkKey, MemberKey, MemberRow,
    PurchaseRow, Reservation, Standing, TallyKey, TransactionRow,
};
use crate::{
    Hold, Intent, LaneTransaction, LedgerError, Member, NewTransaction, PaymentIdentifier, Role, Settlement,
    SettlementState, StoredResponse, Token, TransactionState,
};

pub(super) type Text = String;
pub(super) type Int = i64;
pub(super) type MaybeText = Option<String>;
pub(super) type MaybeInt = Option<i64>;
pub(super) type MaybeBytes = Option<Bytes>;

/// A table, and its row: from a JSON array in this order, to a JSON object by these names.
macro_rules! table {
    ($spec:ident, $row:ident, $name:literal by $key:tt { $($column:ident: $kind:ident,)* }) => {
        pub(super) static $spec: Spec = Spec {
            name: $name,
            key: &$key,
            columns: &[$((stringify!($column), kind(stringify!($kind)))),*],
        };

        #[derive(Debug, Serialize, Deserialize)]
        pub(super) struct $row {
            $(pub(super) $column: $kind,)*
        }
    };
}

pub(super) use table;

pub(super) const fn kind(name: &str) -> Kind {
    let name = name.as_bytes();
    match name[name.len() - 1] {
        b's' => Kind::Bytes,
        b't' if name[name.len() - 2] == b'n' => Kind::Int,
        _ => Kind::Text,
    }
}

table!(MEMBER, MemberSql, "member" by ["role", "name"] {
    role: Text,
    name: Text,
    incarnation: Int,
    until: Int,
    is_ended: Int,
});

table!(RESERVATION, ReservationSql, "reservation" by ["key"] {
    key: Text,
    fingerprint: Bytes,
    payer: Text,
    identifier_scope: MaybeText,
    identifier_id: MaybeText,
    identifier_digest: MaybeBytes,
    standing: Text,
    transaction_hash: MaybeText,
    standing_before: MaybeText,
    transaction_before: MaybeText,
    token: Int,
    member_role: Text,
    member_name: Text,
    member_incarnation: Int,
    keep_until: Int,
    debt_payer: MaybeText,
    debt_network: MaybeText,
    debt_asset: MaybeText,
    debt_amount: MaybeText,
    debt_request: MaybeText,
    next_try: MaybeInt,
});

table!(RESPONSE, ResponseSql, "response" by ["key"] {
    key: Text,
    presented: Bytes,
    status: Int,
    headers: Text,
    body: Bytes,
    expires: Int,
});

table!(TALLY, TallySql, "tally" by ["network", "asset", "payer"] {
    network: Text,
    asset: Text,
    payer: Text,
    amount: Text,
});

table!(SETTLEMENT, SettlementSql, "settlement" by ["key"] {
    sequence: Int,
    key: Text,
    id: Text,
    digest: Bytes,
    payment: Text,
    network: Text,
    asset: Text,
    payer: Text,
    pay_to: Text,
    amount: Text,
    caller: MaybeText,
    valid_before: Int,
    confirmations: Int,
    state: Text,
    transaction_hash: MaybeText,
    log_index: MaybeInt,
    block_number: MaybeInt,
    block_hash: MaybeText,
    code: MaybeText,
    message: MaybeText,
    attempt: Int,
    member_role: Text,
    member_name: Text,
    member_incarnation: Int,
    created_at: Int,
    updated_at: Int,
});

table!(LANE, LaneSql, "lane" by ["network", "address"] {
    network: Text,
    address: Text,
    token: Int,
    member_role: MaybeText,
    member_name: MaybeText,
    member_incarnation: MaybeInt,
});

table!(TRANSACTION, TransactionSql, "lane_transaction" by ["hash"] {
    sequence: Int,
    hash: Text,
    network: Text,
    address: Text,
    nonce: Int,
    raw: Bytes,
    max_fee_per_gas: Text,
    max_priority_fee_per_gas: Text,
    state: Text,
    signed_at: Int,
});

table!(MEMBERSHIP, MembershipSql, "settlement_transaction" by ["key", "hash"] {
    key: Text,
    hash: Text,
});

table!(DELIVERY, DeliverySql, "delivery" by ["id"] {
    id: Int,
    settlement: Text,
    endpoint: Text,
    body: Text,
    tries: Int,
    next_try: Int,
});

table!(SECRET, SecretSql, "secret" by ["name"] {
    name: Text,
    secret: Bytes,
});

table!(MARK, MarkSql, "mark" by ["scope", "name"] {
    scope: Text,
    name: Text,
    until: Int,
});

table!(PURCHASE, PurchaseSql, "purchase" by ["key"] {
    key: Text,
    version: Int,
    body: Text,
    due: Int,
    until: Int,
});

table!(INTENT, IntentSql, "intent" by ["id"] {
    id: Text,
    wallet: Text,
    agent: MaybeText,
    key: MaybeText,
    version: Int,
    member_role: MaybeText,
    member_name: MaybeText,
    member_incarnation: MaybeInt,
    is_open: Int,
    repeat_until: Int,
    due: Int,
    created: Int,
    until: Int,
    holds: Text,
    body: Text,
});

table!(BUDGET, BudgetSql, "budget" by ["name", "begins"] {
    name: Text,
    begins: Int,
    until: Int,
    amount: Text,
});

table!(FACT, FactSql, "fact" by ["scope", "name"] {
    scope: Text,
    name: Text,
    version: Int,
    value: Text,
    until: Int,
});

/// Reads a row that a statement answered with.
pub(super) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, LedgerError> {
    serde_json::from_str(text).map_err(|error| LedgerError::Corrupt(error.to_string()))
}

impl MemberSql {
    pub(super) fn new((role, name): &MemberKey, row: &MemberRow) -> Self {
        Self {
            role: role_name(*role).to_owned(),
            name: name.clone(),
            incarnation: int(row.incarnation),
            until: int(row.until.0),
            is_ended: i64::from(row.is_ended),
        }
    }

    pub(super) fn into_row(self) -> Result<(MemberKey, MemberRow), LedgerError> {
        let row = MemberRow {
            incarnation: unsigned(self.incarnation)?,
            until: UnixTime(unsigned(self.until)?),
            is_ended: self.is_ended != 0,
        };
        Ok(((role(&self.role)?, self.name), row))
    }
}

impl ReservationSql {
    pub(super) fn new(key: &AuthorizationKey, row: &Reservation) -> Self {
        let (standing, transaction_hash) = standing_columns(&row.standing);
        let before = row.before.as_ref().map(standing_columns);
        let identifier = row.identifier.as_ref();
        let debt = row.debt.as_ref();
        Self {
            key: key.as_str().to_owned(),
            fingerprint: Bytes(row.fingerprint.to_vec()),
            payer: row.payer.clone(),
            identifier_scope: identifier.map(|identifier| identifier.scope.clone()),
            identifier_id: identifier.map(|identifier| identifier.id.clone()),
            identifier_digest: identifier.map(|identifier| Bytes(identifier.digest.to_vec())),
            standing: standing.to_owned(),
            transaction_hash,
            standing_before: before.as_ref().map(|(name, _)| (*name).to_owned()),
            transaction_before: before.and_then(|(_, transaction)| transaction),
            token: row.token.0.cast_signed(),
            member_role: role_name(row.member.role).to_owned(),
            member_name: row.member.name.clone(),
            member_incarnation: int(row.member.incarnation),
            keep_until: int(row.keep_until.0),
            debt_payer: debt.map(|debt| debt.payer.clone()),
            debt_network: debt.map(|debt| debt.network.to_string()),
            debt_asset: debt.map(|debt| debt.asset.clone()),
            debt_amount: debt.map(|debt| debt.amount.to_string()),
            debt_request: debt.map(|debt| debt.request.clone()),
            next_try: debt.map(|debt| int(debt.next_try.0)),
        }
    }

    pub(super) fn into_row(self) -> Result<(AuthorizationKey, Reservation), LedgerError> {
        let identifier = match (self.identifier_scope, self.identifier_id, self.identifier_digest) {
            (Some(scope), Some(id), Some(digest)) => {
                Some(PaymentIdentifier { scope, id, digest: fixed(&digest)? })
            }
            _ => None,
        };
        let debt = match (self.debt_payer, self.debt_network, self.debt_asset, self.debt_amount) {
            (Some(payer), Some(on), Some(asset), Some(amount)) => Some(Debt {
                payer,
                network: network(&on)?,
                asset,
                amount: parsed(&amount)?,
                request: self.debt_request.unwrap_or_default(),
                next_try: UnixTime(unsigned(self.next_try.unwrap_or_default())?),
            }),
            _ => None,
        };
        let before = self.standing_before.map(|name| standing(&name, self.transaction_before));
        let row = Reservation {
            fingerprint: fixed(&self.fingerprint)?,
            payer: self.payer,
            identifier,
            standing: standing(&self.standing, self.transaction_hash)?,
            before: before.transpose()?,
            token: Token(self.token.cast_unsigned()),
            member: member(&self.member_role, self.member_name, self.member_incarnation)?,
            keep_until: UnixTime(unsigned(self.keep_until)?),
            debt,
        };
        Ok((AuthorizationKey::new(self.key), row))
    }
}

impl ResponseSql {
    pub(super) fn new(key: &AuthorizationKey, row: &StoredResponse) -> Result<Self, LedgerError> {
        Ok(Self {
            key: key.as_str().to_owned(),
            presented: Bytes(row.presented.to_vec()),
            status: i64::from(row.status),
            headers: headers_text(&row.headers)?,
            body: Bytes(row.body.clone()),
            expires: int(row.expires.0),
        })
    }

    pub(super) fn into_row(self) -> Result<(AuthorizationKey, StoredResponse), LedgerError> {
        let row = StoredResponse {
            presented: fixed(&self.presented)?,
            status: narrow(self.status)?,
            headers: headers(&self.headers)?,
            body: self.body.0,
            expires: UnixTime(unsigned(self.expires)?),
        };
        Ok((AuthorizationKey::new(self.key), row))
    }
}

impl TallySql {
    /// `None` for a key alone.
    pub(super) fn new((network, asset, payer): &TallyKey, amount: Amount) -> Self {
        Self {
            network: network.to_string(),
            asset: asset.clone(),
            payer: payer.clone().unwrap_or_default(),
            amount: amount.to_string(),
        }
    }

    pub(super) fn into_row(self) -> Result<(TallyKey, Amount), LedgerError> {
        let payer = Some(self.payer).filter(|payer| !payer.is_empty());
        Ok(((network(&self.network)?, self.asset, payer), parsed(&self.amount)?))
    }
}

impl SettlementSql {
    pub(super) fn new(row: &Settlement) -> Self {
        let mut sql = Self {
            sequence: int(row.sequence),
            key: row.key.as_str().to_owned(),
            id: row.id.to_string(),
            digest: Bytes(row.digest.to_vec()),
            payment: row.payment.clone(),
            network: row.network.to_string(),
            asset: row.asset.clone(),
            payer: row.payer.clone(),
            pay_to: row.pay_to.clone(),
            amount: row.amount.to_string(),
            caller: row.caller.clone(),
            valid_before: int(row.valid_before.0),
            confirmations: i64::from(row.confirmations),
            state: String::new(),
            transaction_hash: None,
            log_index: None,
            block_number: None,
            block_hash: None,
            code: None,
            message: None,
            attempt: int(row.attempt),
            member_role: role_name(row.member.role).to_owned(),
            member_name: row.member.name.clone(),
            member_incarnation: int(row.member.incarnation),
            created_at: int(row.created_at.0),
            updated_at: int(row.updated_at.0),
        };
        sql.set_state(row.state.clone());
        sql
    }

    fn set_state(&mut self, state: SettlementState) {
        let name = match state {
            SettlementState::Reserved => "reserved",
            SettlementState::Sent { transaction } => {
                self.transaction_hash = Some(transaction);
                "sent"
            }
            SettlementState::Settled { transaction, log_index, block_number, block_hash, is_final } => {
                self.transaction_hash = Some(transaction);
                self.log_index = Some(int(log_index));
                self.block_number = Some(int(block_number));
                self.block_hash = Some(block_hash);
                if is_final { "final" } else { "settled" }
            }
            SettlementState::Failed { code, message } => {
                self.code = Some(storable(&code));
                self.message = Some(storable(&message));
                "failed"
            }
            SettlementState::Abandoned { message } => {
                self.message = Some(storable(&message));
                "abandoned"
            }
        };
        name.clone_into(&mut self.state);
    }

    /// The row without its transactions, which are in a table of their own.
    pub(super) fn into_row(self) -> Result<Settlement, LedgerError> {
        let transaction = self.transaction_hash.unwrap_or_default();
        let message = self.message.unwrap_or_default();
        let state = match self.state.as_str() {
            "reserved" => SettlementState::Reserved,
            "sent" => SettlementState::Sent { transaction },
            "settled" | "final" => SettlementState::Settled {
                transaction,
                log_index: unsigned(self.log_index.unwrap_or_default())?,
                block_number: unsigned(self.block_number.unwrap_or_default())?,
                block_hash: self.block_hash.unwrap_or_default(),
                is_final: self.state == "final",
            },
            "failed" => SettlementState::Failed { code: self.code.unwrap_or_default(), message },
            "abandoned" => SettlementState::Abandoned { message },
            other => return Err(corrupt("state", other)),
        };
        Ok(Settlement {
            sequence: unsigned(self.sequence)?,
            id: parsed(&self.id)?,
            key: AuthorizationKey::new(self.key),
            digest: fixed(&self.digest)?,
            payment: self.payment,
            network: network(&self.network)?,
            asset: self.asset,
            payer: self.payer,
            pay_to: self.pay_to,
            amount: parsed(&self.amount)?,
            caller: self.caller,
            valid_before: UnixTime(unsigned(self.valid_before)?),
            confirmations: narrow(self.confirmations)?,
            state,
            attempt: unsigned(self.attempt)?,
            member: member(&self.member_role, self.member_name, self.member_incarnation)?,
            transactions: Vec::new(),
            created_at: UnixTime(unsigned(self.created_at)?),
            updated_at: UnixTime(unsigned(self.updated_at)?),
        })
    }
}

impl LaneSql {
    pub(super) fn new((network, address): &(Network, String), row: &LaneRow) -> Self {
        let holder = row.holder.as_ref();
        Self {
            network: network.to_string(),
            address: address.clone(),
            token: int(row.token),
            member_role: holder.map(|holder| role_name(holder.role).to_owned()),
            member_name: holder.map(|holder| holder.name.clone()),
            member_incarnation: holder.map(|holder| int(holder.incarnation)),
        }
    }

    pub(super) fn into_row(self) -> Result<((Network, String), LaneRow), LedgerError> {
        let holder = holder(self.member_role, self.member_name, self.member_incarnation)?;
        Ok(((network(&self.network)?, self.address), LaneRow { token: unsigned(self.token)?, holder }))
    }
}

impl TransactionSql {
    pub(super) fn new(row: &TransactionRow) -> Self {
        let LaneTransaction { signed, state, signed_at } = &row.transaction;
        Self {
            sequence: int(row.sequence),
            hash: signed.hash.clone(),
            network: row.lane.0.to_string(),
            address: row.lane.1.clone(),
            nonce: int(signed.nonce),
            raw: Bytes(signed.raw.clone()),
            max_fee_per_gas: signed.max_fee_per_gas.to_string(),
            max_priority_fee_per_gas: signed.max_priority_fee_per_gas.to_string(),
            state: match state {
                TransactionState::Open => "open",
                TransactionState::Included => "included",
                TransactionState::Final => "final",
                TransactionState::Lost => "lost",
            }
            .to_owned(),
            signed_at: int(signed_at.0),
        }
    }

    /// The row without its payments, which are in a table of their own.
    pub(super) fn into_row(self) -> Result<TransactionRow, LedgerError> {
        let state = match self.state.as_str() {
            "open" => TransactionState::Open,
            "included" => TransactionState::Included,
            "final" => TransactionState::Final,
            "lost" => TransactionState::Lost,
            other => return Err(corrupt("state of a transaction", other)),
        };
        let signed = NewTransaction {
            hash: self.hash,
            nonce: unsigned(self.nonce)?,
            raw: self.raw.0,
            max_fee_per_gas: parsed(&self.max_fee_per_gas)?,
            max_priority_fee_per_gas: parsed(&self.max_priority_fee_per_gas)?,
        };
        Ok(TransactionRow {
            sequence: unsigned(self.sequence)?,
            lane: (network(&self.network)?, self.address),
            transaction: LaneTransaction { signed, state, signed_at: UnixTime(unsigned(self.signed_at)?) },
            settlements: Vec::new(),
        })
    }
}

impl DeliverySql {
    pub(super) fn new(id: u64, row: &DeliveryRow) -> Self {
        Self {
            id: int(id),
            settlement: row.settlement.to_string(),
            endpoint: row.endpoint.clone(),
            body: row.body.clone(),
            tries: i64::from(row.tries),
            next_try: int(row.next_try.0),
        }
    }

    pub(super) fn into_row(self) -> Result<(u64, DeliveryRow), LedgerError> {
        let row = DeliveryRow {
            settlement: parsed(&self.settlement)?,
            endpoint: self.endpoint,
            body: self.body,
            tries: narrow(self.tries)?,
            next_try: UnixTime(unsigned(self.next_try)?),
        };
        Ok((unsigned(self.id)?, row))
    }
}

impl SecretSql {
    pub(super) fn into_row(self) -> Result<(String, [u8; 32]), LedgerError> {
        Ok((self.name, fixed(&self.secret)?))
    }
}

impl MarkSql {
    pub(super) fn new((scope, name): &MarkKey, until: UnixTime) -> Self {
        Self { scope: scope.clone(), name: name.clone(), until: int(until.0) }
    }

    pub(super) fn into_row(self) -> Result<(MarkKey, UnixTime), LedgerError> {
        Ok(((self.scope, self.name), UnixTime(unsigned(self.until)?)))
    }
}

impl PurchaseSql {
    pub(super) fn new(key: &AuthorizationKey, row: &PurchaseRow) -> Self {
        Self {
            key: key.to_string(),
            version: int(row.version),
            body: row.body.clone(),
            due: int(row.due.0),
            until: int(row.until.0),
        }
    }

    pub(super) fn into_row(self) -> Result<(AuthorizationKey, PurchaseRow), LedgerError> {
        let row = PurchaseRow {
            version: unsigned(self.version)?,
            body: self.body,
            due: UnixTime(unsigned(self.due)?),
            until: UnixTime(unsigned(self.until)?),
        };
        Ok((AuthorizationKey::new(self.key), row))
    }
}

impl IntentSql {
    pub(super) fn new(row: &Intent) -> Result<Self, LedgerError> {
        let holder = row.holder.as_ref();
        let holds = row.holds.iter().map(|hold| {
            let Hold { budget, window, until, amount } = hold;
            (budget, window.0, until.0, amount.to_string())
        });
        let holds = serde_json::to_string(&holds.collect::<Vec<_>>());
        Ok(Self {
            id: row.id.to_string(),
            wallet: row.wallet.clone(),
            agent: row.agent.clone(),
            key: row.key.clone(),
            version: int(row.version),
            member_role: holder.map(|holder| role_name(holder.role).to_owned()),
            member_name: holder.map(|holder| holder.name.clone()),
            member_incarnation: holder.map(|holder| int(holder.incarnation)),
            is_open: i64::from(row.is_open),
            repeat_until: int(row.repeat_until.0),
            due: int(row.due.0),
            created: int(row.created.0),
            until: int(row.until.0),
            holds: holds.map_err(|error| LedgerError::Unavailable(error.to_string()))?,
            body: row.body.clone(),
        })
    }

    pub(super) fn into_row(self) -> Result<Intent, LedgerError> {
        let holds: Vec<(String, u64, u64, String)> = read(&self.holds)?;
        let holds = holds.into_iter().map(|(budget, window, until, amount)| {
            let (window, until, amount) = (UnixTime(window), UnixTime(until), parsed(&amount)?);
            Ok(Hold { budget, window, until, amount })
        });
        Ok(Intent {
            id: parsed(&self.id)?,
            wallet: self.wallet,
            agent: self.agent,
            key: self.key,
            version: unsigned(self.version)?,
            holder: holder(self.member_role, self.member_name, self.member_incarnation)?,
            is_open: self.is_open != 0,
            repeat_until: UnixTime(unsigned(self.repeat_until)?),
            due: UnixTime(unsigned(self.due)?),
            created: UnixTime(unsigned(self.created)?),
            until: UnixTime(unsigned(self.until)?),
            holds: holds.collect::<Result<_, LedgerError>>()?,
            body: self.body,
        })
    }
}

impl BudgetSql {
    pub(super) fn new((name, begins): &BudgetKey, row: &BudgetRow) -> Self {
        let BudgetRow { until, amount } = row;
        Self { name: name.clone(), begins: int(begins.0), until: int(until.0), amount: amount.to_string() }
    }

    pub(super) fn into_row(self) -> Result<(BudgetKey, BudgetRow), LedgerError> {
        let row = BudgetRow { until: UnixTime(unsigned(self.until)?), amount: parsed(&self.amount)? };
        Ok(((self.name, UnixTime(unsigned(self.begins)?)), row))
    }
}

impl FactSql {
    pub(super) fn new((scope, name): &FactKey, row: &FactRow) -> Self {
        Self {
            scope: scope.clone(),
            name: name.clone(),
            version: int(row.version),
            value: row.value.clone(),
            until: int(row.until.0),
        }
    }

    pub(super) fn into_row(self) -> Result<(FactKey, FactRow), LedgerError> {
        let row = FactRow {
            version: unsigned(self.version)?,
            value: self.value,
            until: UnixTime(unsigned(self.until)?),
        };
        Ok(((self.scope, self.name), row))
    }
}

fn standing_columns(standing: &Standing) -> (&'static str, Option<String>) {
    match standing {
        Standing::Running => ("running", None),
        Standing::Pending(transaction) => ("pending", Some(transaction.clone())),
        Standing::Failed => ("failed", None),
        Standing::Delivered(transaction) => ("delivered", Some(transaction.clone())),
        Standing::Owed => ("owed", None),
        Standing::Unpaid => ("unpaid", None),
    }
}

fn standing(name: &str, transaction: Option<String>) -> Result<Standing, LedgerError> {
    Ok(match name {
        "running" => Standing::Running,
        "pending" => Standing::Pending(transaction.unwrap_or_default()),
        "failed" => Standing::Failed,
        "delivered" => Standing::Delivered(transaction.unwrap_or_default()),
        "owed" => Standing::Owed,
        "unpaid" => Standing::Unpaid,
        other => return Err(corrupt("standing", other)),
    })
}

pub(super) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Facilitator => "facilitator",
        Role::Seller => "seller",
        Role::Buyer => "buyer",
    }
}

fn role(name: &str) -> Result<Role, LedgerError> {
    match name {
        "facilitator" => Ok(Role::Facilitator),
        "seller" => Ok(Role::Seller),
        "buyer" => Ok(Role::Buyer),
        other => Err(corrupt("role", other)),
    }
}

fn member(role_name: &str, name: String, incarnation: i64) -> Result<Member, LedgerError> {
    Ok(Member { role: role(role_name)?, name, incarnation: unsigned(incarnation)? })
}

pub(super) fn holder(
    role: MaybeText,
    name: MaybeText,
    incarnation: MaybeInt,
) -> Result<Option<Member>, LedgerError> {
    match (role, name, incarnation) {
        (Some(role), Some(name), Some(incarnation)) => member(&role, name, incarnation).map(Some),
        _ => Ok(None),
    }
}

/// A header's value: most are text, and half as long as that as in digits.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum HeaderSql<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Bytes { hex: Bytes },
}

pub(super) fn headers_text(headers: &[(String, Vec<u8>)]) -> Result<String, LedgerError> {
    let value = |bytes| match std::str::from_utf8(bytes) {
        Ok(text) => HeaderSql::Text(text.into()),
        Err(_) => HeaderSql::Bytes { hex: Bytes(bytes.to_vec()) },
    };
    let headers: Vec<_> = headers.iter().map(|(name, bytes)| (name, value(bytes))).collect();
    serde_json::to_string(&headers).map_err(|error| LedgerError::Unavailable(error.to_string()))
}

/// Those of an answer that was read without its content are none.
pub(super) fn headers(text: &str) -> Result<Vec<(String, Vec<u8>)>, LedgerError> {
    let headers: Vec<(String, HeaderSql<'_>)> = if text.is_empty() { Vec::new() } else { read(text)? };
    let bytes = |value| match value {
        HeaderSql::Text(text) => text.into_owned().into_bytes(),
        HeaderSql::Bytes { hex: Bytes(bytes) } => bytes,
    };
    Ok(headers.into_iter().map(|(name, value)| (name, bytes(value))).collect())
}

fn network(text: &str) -> Result<Network, LedgerError> {
    parsed(text)
}

pub(super) fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, LedgerError> {
    text.parse().map_err(|_| corrupt(std::any::type_name::<T>(), text))
}

pub(super) fn fixed(bytes: &Bytes) -> Result<[u8; 32], LedgerError> {
    bytes.0.as_slice().try_into().map_err(|_| corrupt("digest", "of another length"))
}

pub(super) fn unsigned(number: i64) -> Result<u64, LedgerError> {
    narrow(number)
}

pub(super) fn narrow<T: TryFrom<i64>>(number: i64) -> Result<T, LedgerError> {
    T::try_from(number).map_err(|_| corrupt(std::any::type_name::<T>(), &number.to_string()))
}

/// Times, counters and numbers of a chain. Larger ones are refused where they come in, or mean the end of time.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Words of a stranger's program: a zero, which text in SQL cannot hold, is replaced.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

pub(super) fn corrupt(what: &str, found: &str) -> LedgerError {
    LedgerError::Corrupt(format!("{what}: {found:?}"))
}
