//! How channels stand on chain: many of them in one call, of one block.

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::{SolCall, sol};
use tollway_core::{
    Amount, Backing, BoxFuture, ChannelKey, ChannelWitness, FacilitatorError, Network, UnixTime,
};

use super::abi::Channels;
use super::fields::word;
use super::{ChannelPayment, SETTLEMENT};
use crate::chain::{CallOutcome, Chain, ChainError};
use crate::multicall::{self, Call};

sol! {
    interface Account {
        function isValidSignature(bytes32 hash, bytes signature) external view returns (bytes4 magic);
    }
}

/// What an account's code may take to say whether it signed.
const GAS_OF_CODE: u64 = 300_000;
/// How many channels are asked for in one call.
const AT_ONCE: usize = 100;

/// What the contract counts for a receiver in one token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiverState {
    /// What was claimed for it in all.
    pub claimed: u128,
    /// What of it was paid out.
    pub settled: u128,
}

impl ReceiverState {
    /// The question to the contract.
    ///
    /// ```
    /// use tollway_evm::{Address, batch_settlement::{ReceiverState, SETTLEMENT}};
    /// assert_eq!(ReceiverState::question(Address::ZERO, Address::ZERO).to, SETTLEMENT);
    /// ```
    pub fn question(receiver: Address, token: Address) -> Call {
        question(&Channels::receiversCall { receiver, token })
    }

    /// Reads the answer.
    ///
    /// ```
    /// use tollway_evm::batch_settlement::ReceiverState;
    /// assert_eq!(ReceiverState::read(&[0; 64]), Some(ReceiverState::default()));
    /// assert_eq!(ReceiverState::read(&[]), None);
    /// ```
    pub fn read(answer: &[u8]) -> Option<Self> {
        let state = Channels::receiversCall::abi_decode_returns_validate(answer).ok()?;
        Some(Self { claimed: state.totalClaimed, settled: state.totalSettled })
    }
}

/// What was claimed for `receiver` in `token`, and what of it was paid out.
///
/// # Errors
/// The node gave no answer, or there is no such contract on its chain.
///
/// ```no_run
/// use tollway_evm::{Address, Chain, ChainError, batch_settlement};
/// # async fn run(chain: Chain, receiver: Address, token: Address) -> Result<(), ChainError> {
/// let state = batch_settlement::receiver_state(&chain, receiver, token).await?;
/// println!("{} can be paid out", state.claimed - state.settled);
/// # Ok(()) }
/// ```
pub async fn receiver_state(
    chain: &Chain,
    receiver: Address,
    token: Address,
) -> Result<ReceiverState, ChainError> {
    let returned = multicall::call(chain, Address::ZERO, &[ReceiverState::question(receiver, token)]).await?;
    let answer = returned.first().filter(|answer| answer.success).ok_or(ChainError::NoState)?;
    ReceiverState::read(&answer.data).ok_or(ChainError::NoState)
}

/// What stands behind each channel, in their order: 100 in one question. A channel that nobody has put anything into has a
/// backing of nothing.
///
/// # Errors
/// The node gave no answer, or there is no such contract on its chain.
///
/// ```
/// # use alloy_sol_types::SolValue;
/// # use tollway_evm::{B256, Bytes, U256, batch_settlement};
/// # use alloy_transport::mock::{Asserter, MockTransport};
/// # use tollway_core::Network;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let node = Asserter::new();
/// # let two = |a: u64, b: u64| Bytes::from((U256::from(a), U256::from(b)).abi_encode());
/// # let answer = vec![(true, two(100, 7)), (true, two(0, 0)), (true, Bytes::from(U256::from(3).abi_encode()))];
/// # node.push_success(&Bytes::from(answer.abi_encode()));
/// # let (node, deadline) = (MockTransport::new(node), std::time::Duration::from_secs(5));
/// # let chain = tollway_evm::Chain::from_transport(node, &Network::evm(8453), deadline)?;
/// let backings = batch_settlement::backings(&chain, &[B256::ZERO]).await?;
/// assert_eq!((backings[0].balance, backings[0].claimed), (100.into(), 7.into()));
/// # Ok(())
/// # }
/// ```
pub async fn backings(chain: &Chain, ids: &[B256]) -> Result<Vec<Backing>, ChainError> {
    let mut backings = Vec::with_capacity(ids.len());
    for ids in ids.chunks(AT_ONCE) {
        let calls: Vec<Call> = ids.iter().flat_map(|id| questions(*id)).collect();
        let returned = multicall::call(chain, Address::ZERO, &calls).await?;
        for answers in returned.chunks(3) {
            let data: Vec<&[u8]> =
                answers.iter().filter(|answer| answer.success).map(|answer| answer.data.as_ref()).collect();
            backings.push(read(&data).ok_or(ChainError::NoState)?);
        }
    }
    Ok(backings)
}

/// Whether the voucher is the payer's, where only the payer's account can say so: by its code (ERC-1271), or by its key while
/// it has none. A voucher by the channel's own key was checked before.
///
/// # Errors
/// The node gave no answer.
///
/// ```no_run
/// use tollway_evm::{Chain, ChainError, batch_settlement::{ChannelPayment, is_voucher_good}};
/// # async fn run(chain: Chain, payment: ChannelPayment) -> Result<(), ChainError> {
/// assert!(is_voucher_good(&chain, &payment).await?);
/// # Ok(()) }
/// ```
pub async fn is_voucher_good(chain: &Chain, payment: &ChannelPayment) -> Result<bool, ChainError> {
    if payment.is_proved() {
        return Ok(true);
    }
    let payer = payment.config.payer;
    if chain.code(payer).await?.is_empty() {
        return Ok(payment.signature.is_by_key());
    }
    let hash = payment.voucher.digest(chain.chain_id());
    let asked = Account::isValidSignatureCall { hash, signature: payment.signature.inner() };
    let call = Call { to: payer, data: asked.abi_encode().into() };
    Ok(match chain.call(Address::ZERO, &call, GAS_OF_CODE).await? {
        CallOutcome::Returned(answer) => {
            answer.len() >= 32 && answer.starts_with(&Account::isValidSignatureCall::SELECTOR)
        }
        CallOutcome::Reverted(_) => false,
    })
}

impl ChannelWitness for Chain {
    fn covers(&self, network: &Network) -> bool {
        self.network() == network
    }

    fn backings<'a>(
        &'a self,
        channels: &'a [ChannelKey],
    ) -> BoxFuture<'a, Result<Vec<Backing>, FacilitatorError>> {
        Box::pin(async move {
            let named = |channel: &ChannelKey| {
                word(channel.id()).filter(|_| channel.network() == self.network().as_str()).ok_or_else(|| {
                    FacilitatorError::NoAnswer(format!("{channel} is no channel of {}", self.network()))
                })
            };
            let ids: Vec<B256> = channels.iter().map(named).collect::<Result<_, _>>()?;
            backings(self, &ids).await.map_err(|error| FacilitatorError::NoAnswer(error.to_string()))
        })
    }
}

/// The questions about one channel.
pub(super) fn questions(id: B256) -> [Call; 3] {
    [
        question(&Channels::channelsCall { channelId: id }),
        question(&Channels::pendingWithdrawalsCall { channelId: id }),
        question(&Channels::refundNonceCall { channelId: id }),
    ]
}

/// Reads the answers to them.
fn read(answers: &[&[u8]]) -> Option<Backing> {
    let [channel, withdrawal, nonce] = answers else { return None };
    let channel = Channels::channelsCall::abi_decode_returns_validate(channel).ok()?;
    let withdrawal = Channels::pendingWithdrawalsCall::abi_decode_returns_validate(withdrawal).ok()?;
    let nonce = Channels::refundNonceCall::abi_decode_returns_validate(nonce).ok()?;
    let requested_at: u64 = withdrawal.initiatedAt.to();
    Some(Backing {
        balance: Amount::from_atomic(U256::from(channel.balance)),
        claimed: Amount::from_atomic(U256::from(channel.totalClaimed)),
        withdraw_requested_at: (requested_at != 0).then_some(UnixTime(requested_at)),
        refund_nonce: Amount::from_atomic(nonce),
    })
}

fn question(call: &impl SolCall) -> Call {
    Call { to: SETTLEMENT, data: call.abi_encode().into() }
}
