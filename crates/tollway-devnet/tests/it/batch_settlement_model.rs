//! Random lives of channels against a model of them: the contract refuses what the model refuses, for the same reason, and
//! no unit of money is made or lost.

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::{SolCall, SolError};
use serde_json::json;
use tollway_devnet::{DevAccount, batch_settlement::BATCH_SETTLEMENT, genesis::USDC};

use crate::{
    anvil::nodes,
    batch_settlement::{
        AUTHORIZER, ChannelConfig, Channels, RECEIVER, STRANGER, VOUCHER_KEY, assert_conserved, channel,
        credit, deposit, id, state,
    },
    batch_settlement_rules::{batch, pending, row, signed_refund},
    fixture::{PAYER, Rpc, SENDER},
};

const CHANNELS: usize = 4;
const RECEIVERS: [Address; 2] = [RECEIVER.address, STRANGER.address];
/// Three waits are more than the delay of 900 seconds and two are less, however slow the machine is.
const WAIT_SECONDS: u64 = 400;
const WAITS_OF_A_WITHDRAWAL: u64 = 3;

/// What is asked of the contract. Channels and receivers by their number.
#[derive(Clone, Debug)]
enum Step {
    Deposit {
        channel: usize,
        amount: u128,
    },
    /// The channel, the voucher's ceiling, what is claimed of it; by the authorizer's signature.
    Claim(Vec<(usize, u128, u128)>),
    /// The same, by somebody.
    ClaimAs(DevAccount, Vec<(usize, u128, u128)>),
    Settle {
        receiver: usize,
    },
    Refund {
        by: DevAccount,
        channel: usize,
        amount: u128,
    },
    SignedRefund {
        channel: usize,
        amount: u128,
        nonce: u64,
    },
    Initiate {
        by: DevAccount,
        channel: usize,
        amount: u128,
    },
    Finalize {
        by: DevAccount,
        channel: usize,
    },
    Wait,
}

/// A channel as it should be.
#[derive(Clone, Debug, Default)]
struct Channel {
    balance: u128,
    claimed: u128,
    nonce: u64,
    /// The amount, and how often was waited before.
    withdrawal: Option<(u128, u64)>,
}

/// All of it as it should be.
#[derive(Clone, Debug, Default)]
struct Model {
    channels: [Channel; CHANNELS],
    /// Claimed and settled.
    receivers: [(u128, u128); 2],
    /// What left the payer, net.
    paid: u128,
    waits: u64,
}

impl Model {
    /// Does it, or says with which error the contract refuses. The order is the contract's own.
    fn take(&mut self, step: &Step) -> Result<(), [u8; 4]> {
        match step {
            Step::Deposit { channel, amount } => {
                check(*amount != 0, Channels::ZeroDeposit::SELECTOR)?;
                self.channels[*channel].balance += amount;
                self.paid += amount;
            }
            Step::Claim(rows) | Step::ClaimAs(_, rows) => {
                check(!rows.is_empty(), Channels::EmptyBatch::SELECTOR)?;
                for (index, ceiling, total) in rows {
                    if let Step::ClaimAs(by, _) = step {
                        check(is_receiver_side(*index, by), Channels::NotAuthorizedToClaim::SELECTOR)?;
                    }
                    self.claim(*index, *ceiling, *total)?;
                }
            }
            Step::Settle { receiver } => self.receivers[*receiver].1 = self.receivers[*receiver].0,
            Step::Refund { by, channel, amount } => {
                check(is_receiver_side(*channel, by), Channels::NotAuthorizedToRefund::SELECTOR)?;
                self.refund(*channel, *amount)?;
            }
            Step::SignedRefund { channel, amount, nonce } => {
                let is_next = *nonce == self.channels[*channel].nonce;
                check(is_next, Channels::InvalidRefundNonce::SELECTOR)?;
                self.refund(*channel, *amount)?;
            }
            Step::Initiate { by, channel, amount } => {
                check(is_payer_side(by), Channels::InvalidChannel::SELECTOR)?;
                check(*amount != 0, Channels::NothingToWithdraw::SELECTOR)?;
                let channel = &mut self.channels[*channel];
                check(channel.withdrawal.is_none(), Channels::WithdrawalAlreadyPending::SELECTOR)?;
                let available = channel.balance - channel.claimed;
                check(*amount <= available, Channels::WithdrawAmountExceedsAvailable::SELECTOR)?;
                channel.withdrawal = Some((*amount, self.waits));
            }
            Step::Finalize { by, channel } => {
                check(is_payer_side(by), Channels::NotAuthorizedToFinalizeWithdraw::SELECTOR)?;
                let channel = &mut self.channels[*channel];
                let Some((amount, since)) = channel.withdrawal else {
                    return Err(Channels::WithdrawalNotPending::SELECTOR);
                };
                let elapsed = self.waits - since >= WAITS_OF_A_WITHDRAWAL;
                check(elapsed, Channels::WithdrawDelayNotElapsed::SELECTOR)?;
                let amount = amount.min(channel.balance - channel.claimed);
                channel.balance -= amount;
                channel.withdrawal = None;
                self.paid -= amount;
            }
            Step::Wait => self.waits += 1,
        }
        Ok(())
    }

    fn claim(&mut self, index: usize, ceiling: u128, total: u128) -> Result<(), [u8; 4]> {
        let channel = &mut self.channels[index];
        if total <= channel.claimed {
            return Ok(());
        }
        check(total <= ceiling, Channels::ClaimExceedsCeiling::SELECTOR)?;
        check(total <= channel.balance, Channels::ClaimExceedsBalance::SELECTOR)?;
        self.receivers[receiver_of(index)].0 += total - channel.claimed;
        channel.claimed = total;
        Ok(())
    }

    fn refund(&mut self, index: usize, amount: u128) -> Result<(), [u8; 4]> {
        check(amount != 0, Channels::ZeroRefund::SELECTOR)?;
        let channel = &mut self.channels[index];
        channel.nonce += 1;
        let amount = amount.min(channel.balance - channel.claimed);
        channel.balance -= amount;
        channel.withdrawal = match channel.withdrawal {
            Some((waiting, since)) if waiting > amount => Some((waiting - amount, since)),
            // A refund of nothing cancels nothing.
            other if amount == 0 => other,
            _ => None,
        };
        self.paid -= amount;
        Ok(())
    }
}

fn check(holds: bool, error: [u8; 4]) -> Result<(), [u8; 4]> {
    if holds { Ok(()) } else { Err(error) }
}

fn receiver_of(channel: usize) -> usize {
    channel % 2
}

fn is_receiver_side(channel: usize, account: &DevAccount) -> bool {
    account.address == AUTHORIZER.address || account.address == RECEIVERS[receiver_of(channel)]
}

fn is_payer_side(account: &DevAccount) -> bool {
    account.address == PAYER.address || account.address == VOUCHER_KEY.address
}

/// SplitMix64: enough to choose steps by.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).unwrap()
    }

    /// Mostly what fits, sometimes nothing, sometimes too much.
    fn amount(&mut self, fits: u128) -> u128 {
        match self.below(8) {
            0 => 0,
            1 => fits + 1,
            2 => fits,
            _ => u128::from(self.below(u64::try_from(fits).unwrap() + 1)),
        }
    }

    fn one_of(&mut self, accounts: &[DevAccount]) -> DevAccount {
        accounts[self.index(accounts.len())]
    }

    fn rows(&mut self, model: &Model) -> Vec<(usize, u128, u128)> {
        let count = self.below(5);
        (0..count)
            .map(|_| {
                let index = self.index(CHANNELS);
                let Channel { balance, claimed, .. } = model.channels[index];
                let total = match self.below(8) {
                    0 => self.amount(balance),
                    _ => claimed + u128::from(self.below(40)).min(balance - claimed),
                };
                let ceiling = if self.below(12) == 0 { total.saturating_sub(1) } else { total + 10 };
                (index, ceiling, total)
            })
            .collect()
    }

    fn step(&mut self, model: &Model) -> Step {
        let channel = self.index(CHANNELS);
        let Channel { balance, claimed, nonce, .. } = model.channels[channel];
        let available = balance - claimed;
        match self.below(16) {
            0..=2 => Step::Deposit { channel, amount: self.amount(500) },
            3..=5 => Step::Claim(self.rows(model)),
            6 => Step::ClaimAs(self.one_of(&[RECEIVER, AUTHORIZER, AUTHORIZER, PAYER]), self.rows(model)),
            7 => Step::Settle { receiver: self.index(2) },
            8 => {
                let by = self.one_of(&[RECEIVER, STRANGER, AUTHORIZER, PAYER]);
                Step::Refund { by, channel, amount: self.amount(available / 4) }
            }
            9 => {
                let nonce = if self.below(4) == 0 { self.below(nonce + 2) } else { nonce };
                Step::SignedRefund { channel, amount: self.amount(available / 4), nonce }
            }
            10 | 11 => {
                let by = self.one_of(&[PAYER, PAYER, VOUCHER_KEY, RECEIVER]);
                Step::Initiate { by, channel, amount: self.amount(available) }
            }
            12 | 13 => Step::Finalize { by: self.one_of(&[PAYER, PAYER, VOUCHER_KEY, RECEIVER]), channel },
            _ => Step::Wait,
        }
    }
}

fn config(index: usize) -> ChannelConfig {
    ChannelConfig { receiver: RECEIVERS[receiver_of(index)], ..channel(u8::try_from(index).unwrap()) }
}

/// Who sends a step, and what.
fn encoded(step: &Step) -> (DevAccount, Vec<u8>) {
    let signed = |rows: &[(usize, u128, u128)]| -> Vec<_> {
        rows.iter()
            .map(|(index, ceiling, total)| row(&config(*index), &VOUCHER_KEY, *ceiling, *total))
            .collect()
    };
    match step {
        Step::Deposit { channel, amount } => (SENDER, deposit(&config(*channel), *amount).abi_encode()),
        Step::Claim(rows) => (SENDER, batch(&signed(rows), &AUTHORIZER).abi_encode()),
        Step::ClaimAs(by, rows) => (*by, Channels::claimCall { voucherClaims: signed(rows) }.abi_encode()),
        Step::Settle { receiver } => {
            let receiver = RECEIVERS[*receiver];
            (SENDER, Channels::settleCall { receiver, token: USDC }.abi_encode())
        }
        Step::Refund { by, channel, amount } => {
            (*by, Channels::refundCall { config: config(*channel), amount: *amount }.abi_encode())
        }
        Step::SignedRefund { channel, amount, nonce } => {
            (SENDER, signed_refund(&config(*channel), *amount, *nonce, &AUTHORIZER).abi_encode())
        }
        Step::Initiate { by, channel, amount } => {
            (*by, Channels::initiateWithdrawCall { config: config(*channel), amount: *amount }.abi_encode())
        }
        Step::Finalize { by, channel } => {
            (*by, Channels::finalizeWithdrawCall { config: config(*channel) }.abi_encode())
        }
        Step::Wait => (SENDER, Vec::new()),
    }
}

/// The selector of the error that a call would meet; `None` if it would be done.
async fn refusal(rpc: &Rpc, from: Address, data: &[u8]) -> Option<[u8; 4]> {
    let call = json!({ "from": from, "to": BATCH_SETTLEMENT, "data": Bytes::copy_from_slice(data) });
    let error = rpc.call("eth_call", json!([call, "latest"])).await.err()?;
    let data: Bytes = serde_json::from_value(error["data"].clone()).unwrap();
    Some(data[..4].try_into().unwrap())
}

async fn assert_same(rpc: &Rpc, model: &Model) {
    for (index, expected) in model.channels.iter().enumerate() {
        let config = config(index);
        assert_eq!(state(rpc, &config).await, (expected.balance, expected.claimed), "{model:?}");
        let nonce = rpc.ask(BATCH_SETTLEMENT, Channels::refundNonceCall { channelId: id(&config) }).await;
        assert_eq!(nonce, U256::from(expected.nonce));
        let (waiting, since) = pending(rpc, &config).await;
        assert_eq!(waiting, expected.withdrawal.map_or(0, |(amount, _)| amount), "{model:?}");
        assert_eq!(since != 0, expected.withdrawal.is_some());
    }
    for (receiver, expected) in RECEIVERS.into_iter().zip(model.receivers) {
        assert_eq!(credit(rpc, receiver, USDC).await, expected);
    }
}

#[tokio::test]
async fn whatever_is_asked_of_them_channels_keep_to_the_model_and_money_is_conserved() {
    let channels: Vec<_> = (0..CHANNELS).map(config).collect();
    for rpc in nodes().await.rpcs {
        let everybody = [PAYER.address, RECEIVERS[0], RECEIVERS[1], BATCH_SETTLEMENT];
        let mut before = Vec::new();
        for holder in everybody {
            before.push(rpc.balance_of(holder).await);
        }
        let (mut model, mut dice) = (Model::default(), Dice(0xba7c4));
        let (mut done, mut refused) = (0, 0);
        for _ in 0..400 {
            let step = dice.step(&model);
            let mut after = model.clone();
            let expected = after.take(&step).err();
            if matches!(step, Step::Wait) {
                rpc.ok("evm_increaseTime", json!([WAIT_SECONDS])).await;
                rpc.ok("evm_mine", json!([])).await;
                model = after;
                continue;
            }
            let (from, data) = encoded(&step);
            let met = refusal(&rpc, from.address, &data).await;
            assert_eq!(met, expected, "{step:?} on {model:?}");
            if expected.is_some() {
                refused += 1;
                continue;
            }
            let receipt = rpc.send_data(&from, BATCH_SETTLEMENT, data.into()).await;
            assert_eq!(receipt["status"], "0x1", "{step:?} on {model:?}");
            model = after;
            done += 1;
            assert_conserved(&rpc, USDC, &channels, &RECEIVERS).await;
        }
        assert_same(&rpc, &model).await;
        let settled = model.receivers.map(|(_, settled)| U256::from(settled));
        let mut moved = Vec::new();
        for (holder, before) in everybody.into_iter().zip(before) {
            moved.push(rpc.balance_of(holder).await.wrapping_sub(before));
        }
        let held = U256::from(model.paid) - settled[0] - settled[1];
        let paid = U256::ZERO.wrapping_sub(U256::from(model.paid));
        assert_eq!(moved, [paid, settled[0], settled[1], held]);
        assert!(done > 150 && refused > 60, "{done} done, {refused} refused");
    }
}
