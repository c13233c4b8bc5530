//! Multicall3: several calls in one, each allowed to fail alone.

use alloy_primitives::{Address, Bytes, address};
use alloy_sol_types::{SolCall, sol};

use crate::chain::{CallOutcome, Chain, ChainError};
use crate::signature::Deployment;

/// Where Multicall3 lives on every chain that has it.
pub const MULTICALL3: Address = address!("cA11bde05977b3631167028862bE2a173976CA11");

sol! {
    interface Multicall3 {
        struct Call3 {
            address target;
            bool allowFailure;
            bytes callData;
        }
        struct Result {
            bool success;
            bytes returnData;
        }
        function aggregate3(Call3[] calldata calls) external payable returns (Result[] memory returnData);
    }
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The contract.
    pub to: Address,
    /// The calldata.
    pub data: Bytes,
}

/// Several calls as one (Multicall3 `aggregate3`), each allowed to fail without the others.
///
/// ```
/// use tollway_evm::{Address, Bytes, Call, MULTICALL3, batch};
/// let name = Call { to: Address::repeat_byte(0xaa), data: Bytes::from_static(&[0x06, 0xfd, 0xde, 0x03]) };
/// let both = batch([name.clone(), name]);
/// assert_eq!((both.to, &both.data[..4]), (MULTICALL3, &[0x82, 0xad, 0x56, 0xcb][..])); // aggregate3
/// ```
pub fn batch(calls: impl IntoIterator<Item = Call>) -> Call {
    let calls = calls.into_iter().map(|call| Multicall3::Call3 {
        target: call.to,
        allowFailure: true,
        callData: call.data,
    });
    let data = Multicall3::aggregate3Call { calls: calls.collect() }.abi_encode();
    Call { to: MULTICALL3, data: data.into() }
}

/// The calls of calldata for Multicall3, and the calldata as it is spelled without anything behind it.
pub(crate) fn read_batch(input: &[u8]) -> Option<(Vec<Call>, Vec<u8>)> {
    let batch = Multicall3::aggregate3Call::abi_decode(input).ok()?;
    let spelled = batch.abi_encode();
    let calls = batch.calls.into_iter().map(|call| Call { to: call.target, data: call.callData });
    Some((calls.collect(), spelled))
}

/// The same call after an account is deployed (ERC-6492), if it is to be. Both go through Multicall3, so that the factory
/// is never called by who pays the gas; and the deployment may fail, because anybody may have done it before.
pub(crate) fn after_deployment(deployment: Option<&Deployment>, call: Call) -> Call {
    let Some(Deployment { factory, data }) = deployment else { return call };
    let deploy = Multicall3::Call3 { target: *factory, allowFailure: true, callData: data.clone() };
    let then = Multicall3::Call3 { target: call.to, allowFailure: false, callData: call.data };
    let data = Multicall3::aggregate3Call { calls: vec![deploy, then] }.abi_encode();
    Call { to: MULTICALL3, data: data.into() }
}

/// What one call returned.
#[derive(Clone, Debug)]
pub(crate) struct Returned {
    pub(crate) success: bool,
    pub(crate) data: Bytes,
}

/// Runs `calls` in one `eth_call` on the latest state.
pub(crate) async fn call(
    chain: &Chain,
    sender: Address,
    calls: &[Call],
) -> Result<Vec<Returned>, ChainError> {
    let outcome = chain.call(sender, &batch(calls.iter().cloned()), gas_for(calls)).await?;
    let CallOutcome::Returned(bytes) = outcome else { return Err(ChainError::NoMulticall) };
    let results =
        Multicall3::aggregate3Call::abi_decode_returns(&bytes).map_err(|_| ChainError::NoMulticall)?;
    if results.len() != calls.len() {
        return Err(ChainError::NoMulticall);
    }
    let returned = |result: Multicall3::Result| Returned { success: result.success, data: result.returnData };
    Ok(results.into_iter().map(returned).collect())
}

/// How much gas the calls may burn on the node: a hostile contract cannot make it work longer.
fn gas_for(calls: &[Call]) -> u64 {
    calls.iter().fold(1_000_000, |sum: u64, call| sum.saturating_add(read_gas(call))).min(50_000_000)
}

/// The same for one question. One that holds many has more to read.
pub(crate) fn read_gas(call: &Call) -> u64 {
    const EACH: u64 = 100_000;
    const OF_A_BYTE: u64 = 60;
    u64::try_from(call.data.len()).unwrap_or(u64::MAX).saturating_mul(OF_A_BYTE).saturating_add(EACH)
}

/// The answers to the questions that one call holds; none unless each was answered.
pub(crate) fn answers(returned: &[u8]) -> Option<Vec<Bytes>> {
    let results = Multicall3::aggregate3Call::abi_decode_returns_validate(returned).ok()?;
    results.into_iter().map(|result| result.success.then_some(result.returnData)).collect()
}
