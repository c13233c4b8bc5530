//! The vouchers of one agent as the bytes of requests, made before any clock starts.
//!
//! Base64 is cut where it may be, so that the part that every request of an agent begins with is kept once: a voucher is
//! then only some 300 bytes, and ten thousand agents with dozens of vouchers each fit into memory.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::channels_agents::{
    Agent, CHAIN_ID, PRICE_ATOMIC, RECEIVER, WITHDRAW_DELAY_SECONDS, agents, authorizer, domain,
    sign_vouchers, spread,
};
use super::frames::{Frames, find};
use super::market::PATH;

/// What an agent sends.
#[derive(Debug)]
pub(super) struct Purse {
    /// What all its requests begin with.
    head: Box<[u8]>,
    /// What each of them ends with, one after the other.
    vouchers: Box<[u8]>,
    ends: Box<[u32]>,
}

/// Agents do not finish in step: some pay more often than others.
const ROOM: usize = 4;

/// Asks the seller what it wants, and signs.
pub(super) async fn purses(address: &str, count: usize, vouchers: usize) -> Result<Vec<Purse>> {
    let (resource, offer) = offer(address).await?;
    let each = 1 + vouchers.div_ceil(count) + ROOM;
    let all = agents(count)?;
    let domain = domain()?;
    // The signing threads have runtimes of their own.
    let signed = std::thread::scope(|scope| {
        let sign = || {
            spread(&all, |part| {
                part.iter()
                    .map(|agent| {
                        let signed = sign_vouchers(agent, &domain, each)?;
                        Ok(Purse::new(address, &resource, &offer, agent, &signed))
                    })
                    .collect()
            })
        };
        scope.spawn(sign).join()
    });
    signed.map_err(|_| anyhow::anyhow!("signing broke off"))?
}

impl Purse {
    /// Of vouchers that are signed, in their order.
    pub(super) fn new(
        address: &str,
        resource: &str,
        offer: &str,
        agent: &Agent,
        signed: &[(u64, String)],
    ) -> Self {
        let begin = format!(
            "{{\"x402Version\":2,\"resource\":{resource},\"accepted\":{offer},\"payload\":{{\"type\":\"voucher\",\
             \"channelConfig\":{},\"voucher\":{{\"channelId\":\"{}\",",
            agent.config_json(),
            agent.channel
        );
        // Three bytes are four characters.
        let (whole, rest) = begin.split_at(begin.len() / 3 * 3);
        let head = format!(
            "GET {PATH} HTTP/1.1\r\nhost: {address}\r\npayment-signature: {}",
            STANDARD.encode(whole)
        );
        let (mut vouchers, mut ends) = (Vec::new(), Vec::new());
        for (ceiling, signature) in signed {
            let end =
                format!("{rest}\"maxClaimableAmount\":\"{ceiling}\",\"signature\":\"{signature}\"}}}}}}");
            vouchers.extend(STANDARD.encode(end).into_bytes());
            vouchers.extend(b"\r\n\r\n");
            ends.push(u32::try_from(vouchers.len()).unwrap_or(u32::MAX));
        }
        Self { head: head.into_bytes().into(), vouchers: vouchers.into(), ends: ends.into() }
    }

    /// What every request begins with.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// What the request with this number ends with.
    pub(super) fn voucher(&self, number: usize) -> Option<&[u8]> {
        let end = *self.ends.get(number)? as usize;
        let start =
            number.checked_sub(1).and_then(|last| self.ends.get(last)).map_or(0, |start| *start as usize);
        self.vouchers.get(start..end)
    }

    /// The payment header of the request with this number.
    pub(super) fn header(&self, number: usize) -> Option<String> {
        let text = String::from_utf8([self.head(), self.voucher(number)?].concat()).ok()?;
        Some(text.split_once("payment-signature: ")?.1.trim_end().to_owned())
    }
}

/// What the seller says is sold, and its offer of the scheme, as JSON.
async fn offer(address: &str) -> Result<(String, String)> {
    let mut connection = Frames::connect(address).await?;
    connection.send(&super::http::get(PATH, None)).await?;
    ensure!(connection.next().await? && connection.status()? == 402, "the seller asks for no money");
    let message = connection.message();
    let head = std::str::from_utf8(&message[..find(message, b"\r\n\r\n").unwrap_or(0)])?;
    let required = head
        .split("\r\n")
        .filter_map(|line| line.split_once(": "))
        .find_map(|(name, value)| name.eq_ignore_ascii_case("payment-required").then_some(value));
    let required: Value =
        serde_json::from_slice(&STANDARD.decode(required.context("a 402 says what it wants")?)?)?;
    let offers = required["accepts"].as_array().context("offers")?;
    let offer =
        offers.iter().find(|offer| offer["scheme"] == "batch-settlement").context("no offer of channels")?;
    let is_text =
        |field: &Value, wanted: &str| field.as_str().is_some_and(|text| text.eq_ignore_ascii_case(wanted));
    let authorizer = tollway_evm::Signer::address(&authorizer()?).to_string();
    let is_ours = is_text(&offer["network"], &format!("eip155:{CHAIN_ID}"))
        && is_text(&offer["amount"], &PRICE_ATOMIC.to_string())
        && is_text(&offer["payTo"], &RECEIVER.to_string())
        && is_text(&offer["extra"]["receiverAuthorizer"], &authorizer)
        && offer["extra"]["withdrawDelay"] == WITHDRAW_DELAY_SECONDS;
    ensure!(is_ours, "the channels are open for another offer than {offer}");
    Ok((required["resource"].to_string(), offer.to_string()))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use serde_json::Value;

    use super::{Purse, STANDARD};
    use crate::bench::channels_agents::agents;

    #[test]
    fn a_request_in_two_pieces_is_one_payment() {
        let agent = agents(1).unwrap().pop().unwrap();
        for resource in ["{}", "{\"a\":1}", "{\"ab\":1}"] {
            let signed = [(1_000, "0xaa".to_owned()), (2_000, "0xbb".to_owned())];
            let purse = Purse::new("here", resource, "{\"scheme\":\"batch-settlement\"}", &agent, &signed);
            let whole = [purse.head(), purse.voucher(1).unwrap()].concat();
            let text = String::from_utf8(whole).unwrap();
            let value = text.split_once("payment-signature: ").unwrap().1.trim_end();
            let payment: Value = serde_json::from_slice(&STANDARD.decode(value).unwrap()).unwrap();
            assert_eq!(payment["payload"]["voucher"]["maxClaimableAmount"], "2000");
            assert_eq!(payment["payload"]["voucher"]["signature"], "0xbb");
            assert_eq!(payment["payload"]["channelConfig"]["withdrawDelay"], 900);
            assert!(text.ends_with("\r\n\r\n") && purse.voucher(2).is_none());
        }
    }
}
