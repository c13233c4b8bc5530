//! The manager of delegations (ERC-7710): what an account signed away, to whom, how much of it, and for how long.

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{Eip712Domain, SolCall, SolError, SolEvent, SolStruct, SolValue, eip712_domain, sol};
use tollway_devnet::{DevAccount, deploy, genesis::USDC};

use crate::{
    anvil::nodes,
    fixture::{PAYEE, PAYER, Rpc, SENDER, Token, sign},
};

sol! {
    #[derive(Debug)]
    struct Delegation {
        address delegate;
        address delegator;
        address token;
        address payee;
        uint256 limit;
        uint256 deadline;
        uint256 salt;
    }

    function redeemDelegations(bytes[] contexts, bytes32[] modes, bytes[] executions);
    function disable(Delegation delegation);
    function spent(bytes32 delegation) returns (uint256);
    function DOMAIN_SEPARATOR() returns (bytes32);
    function DELEGATION_TYPEHASH() returns (bytes32);

    event Redeemed(address indexed delegator, address indexed redeemer, bytes32 indexed delegation, uint256 amount);

    error LengthMismatch();
    error UnsupportedMode(bytes32 mode);
    error InvalidDelegate();
    error InvalidDelegator();
    error DelegationExpired(uint256 deadline);
    error DelegationDisabled();
    error InvalidSignature();
    error ExecutionNotAllowed();
    error LimitExceeded(uint256 left);
}

/// A manager, a wallet that obeys it and owns some money, and what its owner signed.
struct Desk {
    manager: Address,
    delegation: Delegation,
}

impl Desk {
    async fn new(rpc: &Rpc) -> Self {
        let manager = rpc.deploy(&deploy::DELEGATION_MANAGER, vec![]).await;
        let wallet = rpc.deploy(&deploy::WALLET, (PAYER.address, manager).abi_encode_params()).await;
        Self::of(rpc, manager, wallet).await
    }

    async fn of(rpc: &Rpc, manager: Address, delegator: Address) -> Self {
        rpc.send_from(&PAYER, USDC, Token::transferCall { to: delegator, value: U256::from(1_000) }).await;
        let delegation = Delegation {
            delegate: SENDER.address,
            delegator,
            token: USDC,
            payee: PAYEE,
            limit: U256::from(100),
            deadline: U256::MAX,
            salt: U256::from(7),
        };
        Self { manager, delegation }
    }

    fn domain(&self) -> Eip712Domain {
        eip712_domain! { name: "DelegationManager", version: "1", chain_id: 31_337, verifying_contract: self.manager, }
    }

    /// The delegation, signed by one account's key.
    fn context(&self, delegation: &Delegation, signer: &DevAccount) -> Bytes {
        let signature = sign(signer, delegation.eip712_signing_hash(&self.domain())).as_bytes();
        (delegation.clone(), Bytes::from(signature)).abi_encode_params().into()
    }

    /// The redemption of a delegation for a transfer.
    fn redeem(&self, delegation: &Delegation, payee: Address, amount: u64) -> redeemDelegationsCall {
        redeemDelegationsCall {
            contexts: vec![self.context(delegation, &PAYER)],
            modes: vec![B256::ZERO],
            executions: vec![transfer_of(delegation.token, payee, amount)],
        }
    }

    async fn refusal(&self, rpc: &Rpc, call: redeemDelegationsCall) -> Bytes {
        rpc.revert(SENDER.address, self.manager, call).await
    }
}

/// One transfer, packed as ERC-7579 has it.
fn transfer_of(token: Address, to: Address, amount: u64) -> Bytes {
    let data = Token::transferCall { to, value: U256::from(amount) }.abi_encode();
    [token.as_slice(), &[0; 32], &data].concat().into()
}

#[tokio::test]
async fn a_delegation_is_what_eip712_says_it_is() {
    for rpc in nodes().await.rpcs {
        let desk = Desk::new(&rpc).await;
        assert_eq!(rpc.ask(desk.manager, DOMAIN_SEPARATORCall {}).await, desk.domain().separator());
        let typehash = rpc.ask(desk.manager, DELEGATION_TYPEHASHCall {}).await;
        assert_eq!(typehash, desk.delegation.eip712_type_hash());
    }
}

#[tokio::test]
async fn a_delegation_pays_up_to_its_limit_in_parts() {
    for rpc in nodes().await.rpcs {
        let desk = Desk::new(&rpc).await;
        let hash = desk.delegation.eip712_hash_struct();
        for (amount, total) in [(60, 60), (40, 100)] {
            let before = rpc.balance_of(PAYEE).await;
            let call = desk.redeem(&desk.delegation, PAYEE, amount);
            let receipt = rpc.send_from(&SENDER, desk.manager, call).await;
            assert_eq!(receipt["status"], "0x1");
            assert_eq!(rpc.balance_of(PAYEE).await - before, U256::from(amount));
            let last = &receipt["logs"].as_array().unwrap().last().unwrap()["topics"];
            let topics: Vec<B256> = serde_json::from_value(last.clone()).unwrap();
            assert_eq!([topics[0], topics[3]], [Redeemed::SIGNATURE_HASH, hash]);
            assert_eq!(rpc.ask(desk.manager, spentCall { delegation: hash }).await, U256::from(total));
            let more = desk.redeem(&desk.delegation, PAYEE, 101 - total);
            let left = U256::from(100 - total);
            assert_eq!(desk.refusal(&rpc, more).await, LimitExceeded { left }.abi_encode());
        }
    }
}

#[tokio::test]
async fn an_account_by_eip7702_delegates_like_a_wallet() {
    for rpc in nodes().await.rpcs {
        let manager = rpc.deploy(&deploy::DELEGATION_MANAGER, vec![]).await;
        let code = rpc.deploy(&deploy::SET_CODE_ACCOUNT, manager.abi_encode()).await;
        rpc.set_code_of(&PAYER, code).await;
        let desk = Desk::of(&rpc, manager, PAYER.address).await;
        let before = rpc.balance_of(PAYEE).await;
        let call = desk.redeem(&desk.delegation, PAYEE, 100);
        assert_eq!(rpc.send_from(&SENDER, manager, call).await["status"], "0x1");
        assert_eq!(rpc.balance_of(PAYEE).await - before, U256::from(100));
    }
}

#[tokio::test]
async fn only_what_was_delegated_is_done() {
    for rpc in nodes().await.rpcs {
        let desk = Desk::new(&rpc).await;
        let good = desk.redeem(&desk.delegation, PAYEE, 1);
        let not_allowed = ExecutionNotAllowed {}.abi_encode();
        let mut wrong = vec![transfer_of(USDC, SENDER.address, 1), transfer_of(PAYEE, PAYEE, 1)];
        let approve = Token::approveCall { spender: PAYEE, value: U256::from(1) }.abi_encode();
        wrong.push([USDC.as_slice(), &[0; 32], &approve].concat().into());
        wrong.push([USDC.as_slice(), &[0; 31], &[1], &transfer_of(USDC, PAYEE, 1)[52..]].concat().into());
        wrong.push(Bytes::new());
        for execution in wrong {
            let call = redeemDelegationsCall { executions: vec![execution], ..good.clone() };
            assert_eq!(desk.refusal(&rpc, call).await, not_allowed);
        }
        let mode = B256::with_last_byte(1);
        let batch = redeemDelegationsCall { modes: vec![mode], ..good.clone() };
        assert_eq!(desk.refusal(&rpc, batch).await, UnsupportedMode { mode }.abi_encode());
        let uneven = redeemDelegationsCall { modes: vec![], ..good };
        assert_eq!(desk.refusal(&rpc, uneven).await, LengthMismatch {}.abi_encode());
    }
}

#[tokio::test]
async fn a_delegation_holds_for_its_delegate_its_time_and_its_signer() {
    for rpc in nodes().await.rpcs {
        let desk = Desk::new(&rpc).await;
        let stranger = rpc.revert(PAYEE, desk.manager, desk.redeem(&desk.delegation, PAYEE, 1)).await;
        assert_eq!(stranger, InvalidDelegate {}.abi_encode());
        let deadline = U256::from(9);
        let late = Delegation { deadline, ..desk.delegation.clone() };
        let expired = DelegationExpired { deadline }.abi_encode();
        assert_eq!(desk.refusal(&rpc, desk.redeem(&late, PAYEE, 1)).await, expired);
        let mut forged = desk.redeem(&desk.delegation, PAYEE, 1);
        forged.contexts = vec![desk.context(&desk.delegation, &SENDER)];
        assert_eq!(desk.refusal(&rpc, forged).await, InvalidSignature {}.abi_encode());
        let codeless = Delegation { delegator: PAYER.address, ..desk.delegation.clone() };
        let refused = desk.refusal(&rpc, desk.redeem(&codeless, PAYEE, 1)).await;
        assert_eq!(refused, InvalidDelegator {}.abi_encode());
        // Anybody redeems what is for anybody.
        let open = Delegation { delegate: Address::ZERO, payee: Address::ZERO, ..desk.delegation.clone() };
        let call = desk.redeem(&open, SENDER.address, 1);
        let anybody = tollway_devnet::ACCOUNTS[6];
        assert_eq!(rpc.send_from(&anybody, desk.manager, call).await["status"], "0x1");
    }
}

#[tokio::test]
async fn a_delegation_that_was_taken_back_pays_nothing() {
    for rpc in nodes().await.rpcs {
        let manager = rpc.deploy(&deploy::DELEGATION_MANAGER, vec![]).await;
        let code = rpc.deploy(&deploy::SET_CODE_ACCOUNT, manager.abi_encode()).await;
        rpc.set_code_of(&PAYER, code).await;
        let desk = Desk::of(&rpc, manager, PAYER.address).await;
        let disable = disableCall { delegation: desk.delegation.clone() };
        assert_eq!(
            rpc.revert(SENDER.address, manager, disable.clone()).await,
            InvalidDelegator {}.abi_encode()
        );
        assert_eq!(rpc.send_from(&PAYER, manager, disable).await["status"], "0x1");
        let refused = desk.refusal(&rpc, desk.redeem(&desk.delegation, PAYEE, 1)).await;
        assert_eq!(refused, DelegationDisabled {}.abi_encode());
    }
}
