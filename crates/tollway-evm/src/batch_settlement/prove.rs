//! Proof that something happened to a channel: the contract's own event for it, and the token's events that belong to it.
//! Neither alone is one: anybody may bring money to the contract, and what moved does not say for which channel.

use alloy_primitives::{Address, B256, Log};
use alloy_sol_types::{SolEvent, sol};

use super::abi::Channels;
use super::channel::ChannelConfig;
use super::deposit::CheckedDeposit;
use super::payload::ClaimEntry;
use super::{ERC3009_COLLECTOR, SETTLEMENT};
use crate::asset::TransferMethod;
use crate::exact::{Transfer, TransferProof};

sol! {
    /// EIP-3009.
    event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);
}

/// The logs of one receipt, with their index in the block.
type Logs<'a> = [(u64, &'a Log)];

/// What a receipt says of something that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// The event that proves it.
    pub proof: TransferProof,
    /// How much moved, atomic units: into the channel, to the receiver or back to the payer. Nothing moves for a claim.
    pub amount: u128,
}

/// That this deposit was made: the contract says so of its channel, and since it spoke last the token moved exactly this from
/// the payer, by this very authorization where the token names it.
pub(super) fn deposited(
    logs: &Logs<'_>,
    deposit: &CheckedDeposit,
    config: &ChannelConfig,
    channel_id: B256,
) -> Option<Done> {
    let amount = deposit.amount;
    (0..logs.len()).find_map(|at| {
        let event: Channels::Deposited = contract_says(logs, at)?;
        if event.channelId != channel_id || event.amount != amount {
            return None;
        }
        let own = since_contract_spoke(logs, at);
        let to = match deposit.method {
            TransferMethod::Eip3009 => ERC3009_COLLECTOR,
            TransferMethod::Permit2 => SETTLEMENT,
        };
        if deposit.method == TransferMethod::Eip3009 {
            own.iter().find(|(_, log)| {
                let used = token_says::<AuthorizationUsed>(log, config.token);
                used.is_some_and(|used| (used.authorizer, used.nonce) == (config.payer, deposit.nonce))
            })?;
        }
        let log_index = moved(own, config.token, |from, of| from == config.payer && of == to, amount)?;
        Some(Done { proof: TransferProof { log_index }, amount })
    })
}

/// That they were claimed: the contract says so of one of them at least, up to what was asked for or further. A transaction that
/// claims does it for all of them or for none; a row that somebody else has claimed before leaves no event.
pub(super) fn claimed(logs: &Logs<'_>, claims: &[ClaimEntry], chain_id: u64) -> Option<Done> {
    let totals: Vec<(B256, u128)> =
        claims.iter().map(|claim| (claim.config.id(chain_id), claim.total_claimed)).collect();
    (0..logs.len()).find_map(|at| {
        let event: Channels::Claimed = contract_says(logs, at)?;
        let is_ours = |(id, total): &(B256, u128)| *id == event.channelId && event.newTotalClaimed >= *total;
        let log_index = logs.get(at)?.0;
        totals.iter().any(is_ours).then_some(Done { proof: TransferProof { log_index }, amount: 0 })
    })
}

/// That the receiver was paid out: the contract says so, and the token moved it just before.
pub(super) fn settled(logs: &Logs<'_>, receiver: Address, token: Address) -> Option<Done> {
    (0..logs.len()).find_map(|at| {
        let event: Channels::Settled = contract_says(logs, at)?;
        if (event.receiver, event.token) != (receiver, token) {
            return None;
        }
        let own = since_contract_spoke(logs, at);
        let log_index = moved(own, token, |from, to| from == SETTLEMENT && to == receiver, event.amount)?;
        Some(Done { proof: TransferProof { log_index }, amount: event.amount })
    })
}

/// That the payer was given something back: the contract says so, and the token moved it right after.
pub(super) fn refunded(logs: &Logs<'_>, config: &ChannelConfig, channel_id: B256) -> Option<Done> {
    (0..logs.len()).find_map(|at| {
        let event: Channels::Refunded = contract_says(logs, at)?;
        if event.channelId != channel_id {
            return None;
        }
        let after = logs.get(at + 1..)?;
        // That it closes the channel is said before the money moves.
        let ends = after.iter().position(|(_, log)| is_of_contract(log) && !is_about_the_channel(log));
        let own = after.get(..ends.unwrap_or(after.len()))?;
        let log_index =
            moved(own, config.token, |from, to| from == SETTLEMENT && to == config.payer, event.amount)?;
        Some(Done { proof: TransferProof { log_index }, amount: event.amount })
    })
}

/// What the contract says at this place, if it is of this kind.
fn contract_says<E: SolEvent>(logs: &Logs<'_>, at: usize) -> Option<E> {
    let (_, log) = logs.get(at)?;
    is_of_contract(log).then(|| E::decode_log_data(&log.data).ok()).flatten()
}

fn token_says<E: SolEvent>(log: &Log, token: Address) -> Option<E> {
    (log.address == token).then(|| E::decode_log_data(&log.data).ok()).flatten()
}

/// The first transfer of exactly this between such accounts.
fn moved(
    logs: &Logs<'_>,
    token: Address,
    is_between: impl Fn(Address, Address) -> bool,
    amount: u128,
) -> Option<u64> {
    logs.iter().find_map(|(log_index, log)| {
        let transfer: Transfer = token_says(log, token)?;
        let is_it =
            is_between(transfer.from, transfer.to) && transfer.value == alloy_primitives::U256::from(amount);
        is_it.then_some(*log_index)
    })
}

/// The logs before this place, back to where the contract said something else. That a channel is new is said with the deposit.
fn since_contract_spoke<'a, 'l>(logs: &'a Logs<'l>, at: usize) -> &'a Logs<'l> {
    let before = logs.get(..at).unwrap_or_default();
    let spoke = before.iter().rposition(|(_, log)| is_of_contract(log) && !is_about_the_channel(log));
    before.get(spoke.map_or(0, |place| place + 1)..).unwrap_or_default()
}

fn is_of_contract(log: &Log) -> bool {
    log.address == SETTLEMENT
}

/// That a channel is made or closed: it comes with another event.
fn is_about_the_channel(log: &Log) -> bool {
    let topics = [Channels::ChannelCreated::SIGNATURE_HASH, Channels::ChannelClosed::SIGNATURE_HASH];
    log.topics().first().is_some_and(|topic| topics.contains(topic))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256, Log, Signature, U256};
    use alloy_sol_types::SolEvent;

    use super::{AuthorizationUsed, ChannelConfig, Channels, CheckedDeposit, ClaimEntry, Transfer};
    use super::{claimed, deposited, refunded, settled};
    use crate::asset::TransferMethod;
    use crate::batch_settlement::{ERC3009_COLLECTOR, SETTLEMENT};

    const TOKEN: Address = Address::repeat_byte(0xaa);
    const PAYER: Address = Address::repeat_byte(1);
    const RECEIVER: Address = Address::repeat_byte(2);
    const CHAIN: u64 = 31_337;

    fn config(salt: u8) -> ChannelConfig {
        ChannelConfig {
            payer: PAYER,
            payer_authorizer: PAYER,
            receiver: RECEIVER,
            receiver_authorizer: Address::repeat_byte(3),
            token: TOKEN,
            withdraw_delay_seconds: 900,
            salt: B256::repeat_byte(salt),
        }
    }

    fn deposit(method: TransferMethod) -> CheckedDeposit {
        CheckedDeposit {
            amount: 10,
            method,
            nonce: B256::repeat_byte(9),
            valid_after: U256::ZERO,
            valid_before: U256::MAX,
            salt: U256::ZERO,
            signature: Signature::test_signature().into(),
        }
    }

    fn by(address: Address, event: &impl SolEvent) -> Log {
        Log { address, data: event.encode_log_data() }
    }

    fn moved(from: Address, to: Address, value: u64) -> Log {
        by(TOKEN, &Transfer { from, to, value: U256::from(value) })
    }

    fn used(nonce: u8) -> Log {
        by(TOKEN, &AuthorizationUsed { authorizer: PAYER, nonce: B256::repeat_byte(nonce) })
    }

    fn said(id: B256, amount: u128) -> Log {
        by(SETTLEMENT, &Channels::Deposited { channelId: id, sender: PAYER, amount, newBalance: amount })
    }

    fn read<T>(logs: &[Log], prove: impl Fn(&[(u64, &Log)]) -> Option<T>) -> Option<T> {
        prove(&(0..).zip(logs).collect::<Vec<_>>())
    }

    fn is_deposited(method: TransferMethod, logs: &[Log]) -> Option<u64> {
        let (config, deposit) = (config(0), deposit(method));
        read(logs, |logs| deposited(logs, &deposit, &config, config.id(CHAIN)))
            .map(|done| done.proof.log_index)
    }

    #[test]
    fn a_deposit_is_proved_by_its_own_authorization_transfer_and_channel() {
        let id = config(0).id(CHAIN);
        let (collected, passed) =
            (moved(PAYER, ERC3009_COLLECTOR, 10), moved(ERC3009_COLLECTOR, SETTLEMENT, 10));
        let whole = [used(9), collected.clone(), passed.clone(), said(id, 10)];
        assert_eq!(is_deposited(TransferMethod::Eip3009, &whole), Some(1));
        for place in [0, 1, 3] {
            let mut broken = whole.to_vec();
            broken.remove(place);
            assert_eq!(is_deposited(TransferMethod::Eip3009, &broken), None, "without {place}");
        }
        let wrong = [
            [used(8), collected.clone(), said(id, 10)],
            [used(9), moved(PAYER, ERC3009_COLLECTOR, 9), said(id, 10)],
            [used(9), moved(RECEIVER, ERC3009_COLLECTOR, 10), said(id, 10)],
            [used(9), collected.clone(), said(config(1).id(CHAIN), 10)],
            [used(9), collected.clone(), said(id, 9)],
            [used(9), collected.clone(), Log { address: TOKEN, ..said(id, 10) }],
            // Of the deposit before it.
            [used(9), collected.clone(), said(config(1).id(CHAIN), 10)],
        ];
        for logs in wrong {
            assert_eq!(is_deposited(TransferMethod::Eip3009, &logs), None, "{logs:?}");
        }
        let two = [used(9), collected, said(config(1).id(CHAIN), 10), said(id, 10)];
        assert_eq!(
            is_deposited(TransferMethod::Eip3009, &two),
            None,
            "what moved before another event is its"
        );
        let permitted = [moved(PAYER, SETTLEMENT, 10), said(id, 10)];
        assert_eq!(is_deposited(TransferMethod::Permit2, &permitted), Some(0));
        assert_eq!(is_deposited(TransferMethod::Permit2, &whole), None);
    }

    #[test]
    fn a_claim_is_whole_so_the_contracts_word_on_one_channel_proves_it() {
        let entry = |salt: u8, total| ClaimEntry {
            config: config(salt),
            max_claimable: total,
            signature: vec![7; 65].into(),
            total_claimed: total,
        };
        let event = |salt, total| {
            let channel = config(salt).id(CHAIN);
            let event = Channels::Claimed {
                channelId: channel,
                sender: PAYER,
                claimAmount: 1,
                newTotalClaimed: total,
            };
            by(SETTLEMENT, &event)
        };
        let claims = [entry(0, 5), entry(1, 7)];
        let prove = |logs: &[Log]| read(logs, |logs| claimed(logs, &claims, CHAIN)).map(|done| done.amount);
        assert_eq!(prove(&[event(0, 5), event(1, 7)]), Some(0));
        assert_eq!(prove(&[event(1, 7), event(0, 5)]), Some(0));
        // What others had claimed before has no event in ours.
        assert_eq!(prove(&[event(0, 5)]), Some(0));
        assert_eq!(prove(&[event(1, 8)]), Some(0));
        assert_eq!(prove(&[]), None);
        assert_eq!(prove(&[event(0, 4), event(1, 6), event(2, 9)]), None);
        assert_eq!(prove(&[Log { address: TOKEN, ..event(1, 7) }]), None);
    }

    #[test]
    fn what_is_paid_out_or_given_back_is_what_the_token_moved_with_the_contracts_word() {
        let pays = Channels::Settled { receiver: RECEIVER, token: TOKEN, sender: PAYER, amount: 7 };
        let pays = by(SETTLEMENT, &pays);
        let prove = |logs: &[Log]| read(logs, |logs| settled(logs, RECEIVER, TOKEN)).map(|done| done.amount);
        assert_eq!(prove(&[moved(SETTLEMENT, RECEIVER, 7), pays.clone()]), Some(7));
        assert_eq!(prove(&[moved(SETTLEMENT, RECEIVER, 6), pays.clone()]), None);
        assert_eq!(prove(&[moved(SETTLEMENT, PAYER, 7), pays.clone()]), None);
        assert_eq!(prove(&[pays]), None);

        let id = config(0).id(CHAIN);
        let gives = by(SETTLEMENT, &Channels::Refunded { channelId: id, sender: PAYER, amount: 4 });
        let claims = Channels::Claimed { channelId: id, sender: PAYER, claimAmount: 1, newTotalClaimed: 1 };
        let claims = by(SETTLEMENT, &claims);
        let prove = |logs: &[Log]| read(logs, |logs| refunded(logs, &config(0), id)).map(|done| done.amount);
        assert_eq!(prove(&[claims.clone(), gives.clone(), moved(SETTLEMENT, PAYER, 4)]), Some(4));
        assert_eq!(prove(&[gives.clone(), claims, moved(SETTLEMENT, PAYER, 4)]), None);
        assert_eq!(prove(&[gives.clone(), moved(SETTLEMENT, PAYER, 3)]), None);
        assert_eq!(prove(&[gives]), None);
    }
}
