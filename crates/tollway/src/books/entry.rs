//! One line of the books: a purchase or an earning, as every format shows it. What a format makes of it is the format's.

use serde_json::Value;
use tollway_buyer::{IntentRecord, IntentState};
use tollway_core::extension::format_timestamp;
use tollway_core::{Amount, UnixTime};
use tollway_evm::AssetTable;
use tollway_ledger::{Intent, Settlement, SettlementState};

/// A dollar as the books count it has so many decimals.
pub(crate) const DOLLAR_DECIMALS: u8 = 18;

/// A line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// When the purchase was opened, or the payment accepted.
    pub(crate) at: UnixTime,
    pub(crate) kind: Kind,
    /// Of the intent or the settlement.
    pub(crate) id: String,
    pub(crate) fate: Fate,
    /// The word for where it stands.
    pub(crate) state: &'static str,
    pub(crate) agent: Option<String>,
    pub(crate) tool: Option<String>,
    pub(crate) method: Option<String>,
    /// Of the seller; of an earning none.
    pub(crate) host: Option<String>,
    pub(crate) url: Option<String>,
    pub(crate) network: String,
    pub(crate) asset: String,
    pub(crate) coin: Option<Coin>,
    /// What moved, what may move, or what would have.
    pub(crate) amount: Amount,
    /// Who was paid, or paid.
    pub(crate) counterparty: String,
    pub(crate) transaction: Option<String>,
    pub(crate) log_index: Option<u64>,
    pub(crate) block: Option<u64>,
    pub(crate) proof: Proof,
    pub(crate) status: Option<u16>,
    pub(crate) has_receipt: bool,
    /// What is wrong with it: code and text.
    pub(crate) alarms: Vec<(String, String)>,
    /// Why it is where it is.
    pub(crate) cause: Option<String>,
    /// From when on no transaction can hold it any more.
    pub(crate) expires: UnixTime,
}

/// Which way money went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Spent,
    Earned,
}

/// What became of the money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It moved.
    Moved,
    /// It may have moved, or may still.
    Open,
    /// It did not move, and cannot.
    Still,
}

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    Chain,
    Seller,
    Nobody,
}

/// A token that the wallet knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Coin {
    pub(crate) symbol: String,
    pub(crate) decimals: u8,
    pub(crate) is_usd: bool,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Spent => "spent",
            Self::Earned => "earned",
        }
    }
}

impl Proof {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::Seller => "seller",
            Self::Nobody => "",
        }
    }
}

impl Entry {
    /// A purchase. None: the ledger has something in its place that no wallet wrote.
    pub(crate) fn spent(intent: &Intent) -> Option<Self> {
        let record = IntentRecord::read(intent)?;
        let spent = record.spent();
        let fate = match record.state {
            IntentState::Dead | IntentState::Void => Fate::Still,
            _ if spent.is_some() => Fate::Moved,
            _ => Fate::Open,
        };
        let chain = record.chain.as_ref();
        let coin = record.value.as_ref().map(|value| Coin {
            symbol: value.symbol.clone(),
            decimals: value.decimals,
            is_usd: value.is_usd,
        });
        Some(Self {
            at: intent.created,
            kind: Kind::Spent,
            id: intent.id.to_string(),
            fate,
            state: record.state.as_str(),
            agent: intent.agent.clone(),
            tool: record.tool.clone(),
            method: record.method.clone(),
            host: Some(record.host.clone()),
            url: Some(record.url.clone()),
            network: record.offer.network.to_string(),
            asset: record.offer.asset.clone(),
            coin,
            amount: spent.unwrap_or(record.offer.amount),
            counterparty: record.offer.pay_to.clone(),
            transaction: record.transaction().map(str::to_owned).filter(|_| fate != Fate::Still),
            log_index: chain.and_then(|fact| fact.log_index),
            block: chain.and_then(|fact| fact.block),
            proof: proof(&record, fate),
            status: record.status,
            has_receipt: record.receipt.is_some(),
            alarms: record
                .alarms
                .iter()
                .map(|alarm| (alarm.code.as_str().to_owned(), alarm.text.clone()))
                .collect(),
            cause: record.cause.clone(),
            expires: record.authorization.as_ref().map_or(intent.created, |signed| signed.expires_at),
        })
    }

    /// An earning. None: nothing has moved.
    pub(crate) fn earned(settlement: &Settlement, assets: &AssetTable) -> Option<Self> {
        let SettlementState::Settled { transaction, log_index, block_number, is_final, .. } =
            &settlement.state
        else {
            return None;
        };
        let asset = settlement.asset.parse().ok().and_then(|asset| assets.find(&settlement.network, asset));
        Some(Self {
            at: settlement.created_at,
            kind: Kind::Earned,
            id: settlement.id.to_string(),
            fate: Fate::Moved,
            state: if *is_final { "final" } else { "settled" },
            agent: None,
            tool: None,
            method: None,
            host: None,
            url: None,
            network: settlement.network.to_string(),
            asset: settlement.asset.clone(),
            coin: asset.map(|asset| Coin {
                symbol: asset.symbol.clone(),
                decimals: asset.decimals,
                is_usd: asset.is_usd,
            }),
            amount: settlement.amount,
            counterparty: settlement.payer.clone(),
            transaction: Some(transaction.clone()),
            log_index: Some(*log_index),
            block: Some(*block_number),
            proof: Proof::Chain,
            status: None,
            has_receipt: false,
            alarms: Vec::new(),
            cause: None,
            expires: settlement.valid_before,
        })
    }

    /// In whole units of the asset; in atomic ones where nobody knows how many make a whole.
    pub(crate) fn decimal(&self) -> String {
        match &self.coin {
            Some(coin) => self.amount.to_decimal(coin.decimals),
            None => self.amount.to_string(),
        }
    }

    /// What it was worth: a token that stands for a dollar is one. None for what nobody told the worth of.
    pub(crate) fn dollars(&self) -> Option<String> {
        self.coin.as_ref().filter(|coin| coin.is_usd).map(|coin| self.amount.to_decimal(coin.decimals))
    }

    /// The same to add up, in 10^-18 of a dollar.
    pub(crate) fn counted_dollars(&self) -> Option<Amount> {
        let coin = self.coin.as_ref().filter(|coin| coin.is_usd)?;
        // An 18-decimals dollar is the finest there is; anything finer is counted as nothing known.
        let missing = DOLLAR_DECIMALS.checked_sub(coin.decimals)?;
        let power = tollway_evm::U256::from(10u8).checked_pow(tollway_evm::U256::from(missing))?;
        self.amount.atomic().checked_mul(power).map(Amount::from_atomic)
    }

    /// The name of the asset for people: its symbol, or where it is.
    pub(crate) fn symbol(&self) -> &str {
        self.coin.as_ref().map_or(&self.asset, |coin| &coin.symbol)
    }

    /// `2026-11-20T20:15:30Z`.
    pub(crate) fn time(&self) -> String {
        format_timestamp(self.at).replace(".000Z", "Z")
    }

    /// `2026-11-20`, in UTC.
    pub(crate) fn day(&self) -> String {
        let mut time = format_timestamp(self.at);
        time.truncate("2026-11-20".len());
        time
    }

    /// Every fact of it, under the names that all formats use.
    pub(crate) fn facts(&self) -> [(&'static str, Value); COLUMNS] {
        let number = |number: Option<u64>| number.map_or(Value::Null, Value::from);
        let alarms: Vec<String> = self.alarms.iter().map(|(code, text)| format!("{code}: {text}")).collect();
        [
            ("time", self.time().into()),
            ("kind", self.kind.as_str().into()),
            ("id", self.id.as_str().into()),
            ("state", self.state.into()),
            ("moved", matches!(self.fate, Fate::Moved).into()),
            ("amount", self.decimal().into()),
            ("symbol", self.coin.as_ref().map(|coin| coin.symbol.as_str()).into()),
            ("usd", self.dollars().into()),
            // Who pays by x402 pays no gas; a seller's side of it is the facilitator's.
            ("fee", "0".into()),
            ("agent", self.agent.as_deref().into()),
            ("tool", self.tool.as_deref().into()),
            ("host", self.host.as_deref().into()),
            ("method", self.method.as_deref().into()),
            ("url", self.url.as_deref().into()),
            ("counterparty", self.counterparty.as_str().into()),
            ("network", self.network.as_str().into()),
            ("asset", self.asset.as_str().into()),
            ("amountAtomic", self.amount.to_string().into()),
            ("transaction", self.transaction.as_deref().into()),
            ("logIndex", number(self.log_index)),
            ("block", number(self.block)),
            ("confirmedBy", self.proof.as_str().into()),
            ("status", number(self.status.map(u64::from))),
            ("receipt", self.has_receipt.into()),
            ("alarms", alarms.into()),
        ]
    }
}

/// How many facts an entry has.
pub(crate) const COLUMNS: usize = 25;

fn proof(record: &IntentRecord, fate: Fate) -> Proof {
    match (&record.chain, &record.settlement) {
        _ if fate == Fate::Still => Proof::Nobody,
        (Some(fact), _) if fact.moved.is_some() => Proof::Chain,
        (_, Some(told)) if told.success => Proof::Seller,
        _ => Proof::Nobody,
    }
}
