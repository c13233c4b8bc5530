//! What a payer's node says of its tokens: one call each, at most a little gas, within the chain's own deadline.

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::{SolCall, sol};
use tollway_core::{BoxFuture, Network};

use super::{Allowances, PERMIT2, Unknown, consent};
use crate::Signer;
use crate::chain::{CallOutcome, Chain};
use crate::multicall::Call;

sol! {
    interface Token {
        function allowance(address owner, address spender) external view returns (uint256);
        function nonces(address owner) external view returns (uint256);
    }
}

/// Enough for tokens behind proxies.
const MAX_GAS: u64 = 200_000;

impl Allowances for Chain {
    fn covers(&self, network: &Network) -> bool {
        Chain::network(self) == network
    }

    fn allowance(&self, token: Address, owner: Address) -> BoxFuture<'_, Result<U256, Unknown>> {
        let data = Token::allowanceCall { owner, spender: PERMIT2 }.abi_encode();
        Box::pin(read(self, token, owner, data))
    }

    fn permit_nonce(&self, token: Address, owner: Address) -> BoxFuture<'_, Result<U256, Unknown>> {
        let data = Token::noncesCall { owner }.abi_encode();
        Box::pin(read(self, token, owner, data))
    }

    fn sign_approval<'a>(
        &'a self,
        token: Address,
        signer: &'a dyn Signer,
        amount: U256,
    ) -> BoxFuture<'a, Result<Bytes, Unknown>> {
        Box::pin(async move {
            let signed = consent::sign_approval(self, signer, token, amount).await;
            signed.map(|signed| signed.raw).map_err(|error| Unknown(error.to_string()))
        })
    }
}

async fn read(chain: &Chain, token: Address, owner: Address, data: Vec<u8>) -> Result<U256, Unknown> {
    let call = Call { to: token, data: Bytes::from(data) };
    match chain.call(owner, &call, MAX_GAS).await {
        // Where there is no contract, nothing comes back.
        Ok(CallOutcome::Returned(answer)) if answer.len() >= 32 => Ok(U256::from_be_slice(&answer[..32])),
        Ok(_) => Err(Unknown(format!("{token} does not say"))),
        Err(error) => Err(Unknown(error.to_string())),
    }
}
