//! The way back of what is in a channel, with the seller's help: a request that buys nothing and asks for the rest.

use std::sync::Arc;

use reqwest::header::HeaderName;
use reqwest::{Method, Request, Response, StatusCode};
use tokio::time::Instant;
use tollway_core::model::{PaymentRequired, ResourceInfo, SettleResponse, X402Version};
use tollway_core::{Amount, BuyerScheme, ChannelKey, JsonObject, wire};
use tollway_ledger::{IntentId, LedgerError};
use url::Url;

use crate::channel::answer::{self, Told};
use crate::channel::lane::{self, Lane, Wanted, find};
use crate::channel::record::{ChannelRecord, Needs, Plan};
use crate::error::PaymentError;
use crate::identify;
use crate::origin;
use crate::selection;
use crate::sign::PaymentHeader;
use crate::wallet::Wallet;

/// How often it is asked: once more where the seller knows better what was charged.
const MOST_TRIES: u32 = 2;

/// Why nothing came back of a channel, or nothing that is known of.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The wallet has no channel of this name.
    #[error("there is no channel {0} in this wallet's ledger")]
    Unknown(ChannelKey),
    /// Nothing is left in it.
    #[error("nothing is left in the channel: {balance} was put in, and {charged} was charged")]
    NothingLeft {
        /// What is in it, claimed or not.
        balance: Amount,
        /// What was charged.
        charged: Amount,
    },
    /// The seller refused. What is in the channel can be withdrawn without it.
    #[error("the seller gives nothing back: {0}")]
    Refused(String),
    /// The seller was asked, and did not say what it did. Look at the channel again later.
    #[error("the seller was asked, and it is not known what it did: {0}")]
    Unresolved(String),
    /// The channel could not be used.
    #[error(transparent)]
    Payment(#[from] PaymentError),
}

/// Asks the seller of a channel to give back what is left in it, or `amount` of it.
pub(crate) async fn refund(
    wallet: &Wallet,
    key: &ChannelKey,
    amount: Option<Amount>,
) -> Result<SettleResponse, ChannelError> {
    let mut lane = lane(wallet, key).await?;
    let ChannelRecord { balance, charged, .. } = lane.record;
    if balance <= charged {
        lane.leave_soon(None);
        return Err(ChannelError::NothingLeft { balance, charged });
    }
    let asked = ask(wallet, &mut lane, amount).await;
    if let Ok(settled) = &asked {
        take_back(&mut lane, settled).await;
    }
    lane.leave().await;
    asked
}

/// Takes in what the wallet's nodes say of a channel. What is back is exposure no longer.
pub(crate) async fn look_at(wallet: &Wallet, key: &ChannelKey) -> Result<ChannelRecord, ChannelError> {
    let mut lane = lane(wallet, key).await?;
    let before = lane.record.balance;
    if lane.look().await && lane.record.balance < before {
        let back = before.checked_sub(lane.record.balance).unwrap_or(Amount::ZERO);
        lane.record.returned(back);
    }
    let record = lane.record.clone();
    lane.leave().await;
    Ok(record)
}

/// The right to use a channel of the wallet's.
pub(crate) async fn lane(wallet: &Wallet, key: &ChannelKey) -> Result<Box<Lane>, ChannelError> {
    let unknown = || ChannelError::Unknown(key.clone());
    let row = find(wallet.book(), key).await.map_err(PaymentError::Ledger)?.ok_or_else(unknown)?;
    let record = ChannelRecord::from_json(&row.body).ok_or_else(unknown)?;
    let scheme: &Arc<dyn BuyerScheme> =
        selection::scheme_for(&record.offer, wallet.schemes()).ok_or_else(unknown)?;
    let (book, give_up) = (wallet.book(), wallet.give_up());
    let wanted = Wanted { book, scheme, offer: &record.offer, intent: None, give_up };
    wanted.named(key).await?.ok_or_else(unknown)
}

/// Looks at the channels with a deposit that is under way and that nobody is at, by the wallet's nodes: what has arrived is in
/// them, and what no block can take any more is exposure no longer.
pub(crate) async fn look_at_deposits(wallet: &Wallet) -> Result<(), LedgerError> {
    for record in lane::list(wallet.book()).await?.into_iter().filter(|record| record.deposit.is_some()) {
        let Some(scheme) = selection::scheme_for(&record.offer, wallet.schemes()) else { continue };
        let (book, give_up) = (wallet.book(), Instant::now());
        let wanted = Wanted { book, scheme, offer: &record.offer, intent: None, give_up };
        // Who is at it looks for itself.
        let Ok(Some(mut lane)) = wanted.named(&record.key).await else { continue };
        lane.look().await;
        lane.leave().await;
    }
    Ok(())
}

async fn ask(
    wallet: &Wallet,
    lane: &mut Lane,
    amount: Option<Amount>,
) -> Result<SettleResponse, ChannelError> {
    let refused =
        |why: &str| ChannelError::Refused(why.chars().take(200).flat_map(char::escape_debug).collect());
    for _ in 0..MOST_TRIES {
        let response = present(wallet, lane, amount).await?;
        if let Some(told) = settlement(lane, &response) {
            return match told.success {
                true => Ok(told),
                false => {
                    Err(refused(told.error_reason.as_ref().map_or("without a reason", |code| code.as_str())))
                }
            };
        }
        if response.status() != StatusCode::PAYMENT_REQUIRED {
            return Err(ChannelError::Unresolved(format!("it answered {}", response.status())));
        }
        if !is_corrected(lane, &response).await {
            let error = answer::required(response.headers()).and_then(|required| required.error);
            return Err(refused(error.as_deref().unwrap_or("without a reason")));
        }
    }
    Err(ChannelError::Refused("it keeps saying that something else was charged".to_owned()))
}

async fn present(wallet: &Wallet, lane: &Lane, amount: Option<Amount>) -> Result<Response, ChannelError> {
    let record = &lane.record;
    let url: Url =
        record.url.parse().map_err(|_| ChannelError::Refused("its URL is not known".to_owned()))?;
    origin::check_secure(&url)?;
    let required = PaymentRequired {
        version: X402Version::V2,
        error: None,
        resource: Some(ResourceInfo::new(&record.url)),
        accepts: vec![record.offer.clone()],
        extensions: JsonObject::new(),
        other: JsonObject::new(),
    };
    let channels = lane.channels().map_err(PaymentError::Sign)?;
    let channel = record.channel();
    let signed = channels.sign_refund(&required, &record.offer, &channel, record.charged, amount);
    let (name, value) = wire::encode_payment_header(&signed.await.map_err(PaymentError::Sign)?);
    let value = PaymentHeader::written(name, value).to_http().ok_or(PaymentError::Unpresentable)?;
    let mut request = Request::new(Method::GET, url);
    request.headers_mut().insert(HeaderName::from_static(name), value);
    if let Some(signer) = wallet.message_signer() {
        identify::sign(&mut request, signer, wallet.clock().now())?;
    }
    let client = wallet.http().map_err(PaymentError::Http)?.paying(&request);
    match tokio::time::timeout(wallet.patience().answer, client.execute(request)).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) if error.is_connect() => Err(PaymentError::NotSent(error).into()),
        Ok(Err(error)) => Err(ChannelError::Unresolved(error.without_url().to_string())),
        Err(_) => Err(ChannelError::Unresolved("no answer in time".to_owned())),
    }
}

fn settlement(lane: &Lane, response: &Response) -> Option<SettleResponse> {
    let value = response.headers().get(wire::PAYMENT_RESPONSE)?;
    let json = wire::decode_header(wire::PAYMENT_RESPONSE, value.as_bytes()).ok()?;
    wire::decode_settle_response(&json, &lane.record.offer.network).ok()
}

/// Whether the seller knew better what was charged, and is believed.
async fn is_corrected(lane: &mut Lane, response: &Response) -> bool {
    // It promises nothing: it goes by what was charged, and adds nothing to it.
    let (nothing, charged) = (IntentId([0; 16]), lane.record.charged);
    let signed = lane.record.signed;
    let plan = Plan { base: charged, ceiling: charged, needs: Needs::Nothing };
    lane.record.promise(nothing, &plan, None, tollway_core::UnixTime(0));
    let told = lane.refusal(nothing, response.status(), response.headers()).await;
    lane.record.unpromise(nothing);
    lane.record.signed = lane.record.signed.max(signed);
    lane.tell(None).await;
    matches!(told, Told::Again)
}

/// Takes in that something is back. What the seller says makes the channel hold less; what counts as exposure, only the chain.
async fn take_back(lane: &mut Lane, settled: &SettleResponse) {
    let before = lane.record.balance;
    if lane.look().await && lane.record.balance < before {
        let back = before.checked_sub(lane.record.balance).unwrap_or(Amount::ZERO);
        lane.record.returned(back);
        return;
    }
    let told = settled.amount.as_deref().and_then(|amount| amount.parse::<Amount>().ok());
    let left = told.and_then(|told| before.checked_sub(told)).unwrap_or(lane.record.charged);
    lane.record.balance = left.max(lane.record.charged);
}
