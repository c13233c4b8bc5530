//! An unchanged alloy provider works, over HTTP and without a socket.

use alloy_eips::BlockNumberOrTag;
use alloy_network::Ethereum;
use alloy_primitives::U256;
use alloy_provider::{Provider, RootProvider};
use alloy_rpc_client::RpcClient;
use alloy_rpc_types_eth::{BlockId, Filter, TransactionRequest};
use alloy_sol_types::SolCall;
use tollway_devnet::{Fault, genesis::USDC};

use crate::fixture::{PAYEE, SENDER, Token, authorization, devnet, raw, signed, transfer};

async fn use_everything(provider: RootProvider) {
    assert_eq!(provider.get_chain_id().await.unwrap(), 31_337);
    let pending = provider.send_raw_transaction(&raw(&SENDER, transfer(0, PAYEE, 5))).await.unwrap();
    let receipt = pending.get_receipt().await.unwrap();
    assert!(receipt.status());
    assert_eq!(receipt.block_number, Some(1));
    let block = provider.get_block(BlockId::latest()).full().await.unwrap().unwrap();
    assert_eq!(block.header.inner.hash_slow(), block.header.hash, "the hash is that of the header");
    assert_eq!(block.transactions.len(), 1);
    let input = signed(&authorization(1)).abi_encode();
    let request = TransactionRequest::default().from(SENDER.address).to(USDC).input(input.clone().into());
    provider.call(request.clone()).await.unwrap();
    let gas = provider.estimate_gas(request).await.unwrap();
    let payment = alloy_consensus::TxEip1559 { gas_limit: gas, input: input.into(), ..transfer(1, USDC, 0) };
    let pending = provider.send_raw_transaction(&raw(&SENDER, payment)).await.unwrap();
    let hash = *pending.tx_hash();
    let transaction = provider.get_transaction_by_hash(hash).await.unwrap().unwrap();
    assert_eq!(transaction.inner.signer(), SENDER.address);
    let logs =
        provider.get_logs(&Filter::new().from_block(BlockNumberOrTag::Earliest).address(USDC)).await.unwrap();
    assert_eq!(logs.len(), 2);
    let fees = provider.estimate_eip1559_fees().await.unwrap();
    assert!(fees.max_fee_per_gas > 0);
    let call = TransactionRequest::default().to(USDC).input(Token::balanceOfCall(PAYEE).abi_encode().into());
    let balance = provider.call(call).await.unwrap();
    assert_eq!(U256::from_be_slice(&balance), U256::from(1_000_001_000_000_u64));
}

#[tokio::test]
async fn over_http() {
    let (devnet, _rpc) = devnet().await;
    use_everything(RootProvider::<Ethereum>::new_http(devnet.rpc_url().parse().unwrap())).await;
}

#[tokio::test]
async fn without_a_socket() {
    let (devnet, _rpc) = devnet().await;
    use_everything(RootProvider::<Ethereum>::new(RpcClient::new(devnet.transport(), true))).await;
}

#[tokio::test]
async fn an_injected_http_error_is_one_without_a_socket_too() {
    let (devnet, _rpc) = devnet().await;
    let provider = RootProvider::<Ethereum>::new(RpcClient::new(devnet.transport(), true));
    devnet.faults().inject(Fault::Error {
        method: None,
        count: 1,
        code: 0,
        message: "busy".into(),
        http_status: Some(503),
    });
    let error = provider.get_block_number().await.unwrap_err();
    assert_eq!(
        error.as_transport_err().and_then(|error| error.as_http_error()).map(|error| error.status),
        Some(503)
    );
    provider.get_block_number().await.unwrap();
}
