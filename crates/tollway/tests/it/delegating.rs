//! A payer whose account lets others transfer for it (ERC-7710), and who takes that: no wallet of ours delegates, and no
//! seller of ours asks for it by itself.

use alloy_sol_types::{SolStruct, SolValue, eip712_domain, sol};
use serde_json::json;
use tollway_core::model::{Accepted, PaymentPayload, PaymentRequired, PaymentRequirements};
use tollway_core::{
    Amount, BoxFuture, BuyerScheme, Checked, JsonObject, Money, Network, OfferError, OfferedValue, Price,
    Refusal, SchemeName, SellerScheme, SignError, Terms, UnixTime,
};
use tollway_devnet::deploy::{self, Creation};
use tollway_devnet::genesis;
use tollway_evm::exact::ExactSeller;
use tollway_evm::{Address, Bytes, LocalSigner, Signer, U256};

use crate::node::Node;

sol! {
    struct Delegation {
        address delegate;
        address delegator;
        address token;
        address payee;
        uint256 limit;
        uint256 deadline;
        uint256 salt;
    }
}

/// An account, its owner, and who sees to it that others do no more than they may.
#[derive(Debug)]
pub(crate) struct Delegating {
    owner: LocalSigner,
    manager: Address,
    pub(crate) delegator: Address,
}

impl Delegating {
    pub(crate) async fn open(node: &Node, owner: LocalSigner) -> Self {
        let manager = place(node, &deploy::DELEGATION_MANAGER, &[]).await;
        let arguments = (owner.address(), manager).abi_encode_params();
        let delegator = place(node, &deploy::WALLET, &arguments).await;
        Self { owner, manager, delegator }
    }

    /// Lets anybody move `offer` once, or so it is meant: no contract counts.
    async fn delegate(&self, offer: &PaymentRequirements, salt: U256) -> Bytes {
        let delegation = Delegation {
            delegate: Address::ZERO,
            delegator: self.delegator,
            token: genesis::USDC,
            payee: offer.pay_to.parse().unwrap(),
            limit: offer.amount.atomic(),
            deadline: U256::MAX,
            salt,
        };
        let domain = eip712_domain! {
            name: "DelegationManager", version: "1", chain_id: 31_337, verifying_contract: self.manager,
        };
        let message = delegation.eip712_hash_struct();
        let preimage = [&[0x19, 0x01], domain.separator().as_slice(), message.as_slice()].concat();
        let signature = self.owner.sign(&preimage).await.unwrap();
        (delegation, Bytes::from(signature.as_bytes())).abi_encode_params().into()
    }
}

impl BuyerScheme for Delegating {
    fn name(&self) -> &SchemeName {
        &SchemeName::EXACT
    }

    fn covers(&self, network: &Network) -> bool {
        network.evm_chain_id().is_some()
    }

    fn value(&self, offer: &PaymentRequirements) -> Option<OfferedValue> {
        Some(OfferedValue { symbol: "USDC".to_owned(), decimals: 6, amount: offer.amount, is_usd: true })
    }

    fn sign<'a>(
        &'a self,
        required: &'a PaymentRequired,
        offer: &'a PaymentRequirements,
        _: UnixTime,
    ) -> BoxFuture<'a, Result<PaymentPayload, SignError>> {
        Box::pin(async move {
            let salt = U256::from_be_bytes(LocalSigner::random().unwrap().address().into_word().0);
            let context = self.delegate(offer, salt).await;
            let payload = json!({
                "delegationManager": self.manager, "delegator": self.delegator, "permissionContext": context,
            });
            Ok(PaymentPayload {
                version: required.version,
                resource: required.resource.clone(),
                accepted: Accepted::Offer(Box::new(offer.clone())),
                payload: payload.as_object().cloned().unwrap(),
                extensions: required.extensions.clone(),
                other: JsonObject::new(),
            })
        })
    }
}

/// A seller who takes delegations: everything else is as our own has it.
#[derive(Debug)]
pub(crate) struct DelegatedSeller(pub(crate) ExactSeller);

impl SellerScheme for DelegatedSeller {
    fn name(&self) -> &SchemeName {
        self.0.name()
    }

    fn covers(&self, network: &Network) -> bool {
        self.0.covers(network)
    }

    fn offer(&self, price: &Price, terms: &Terms) -> Result<PaymentRequirements, OfferError> {
        let mut offer = self.0.offer(price, terms)?;
        offer.extra.insert("assetTransferMethod".to_owned(), "erc7710".into());
        Ok(offer)
    }

    fn check(
        &self,
        payment: &PaymentPayload,
        offer: &PaymentRequirements,
        now: UnixTime,
    ) -> Result<Checked, Refusal> {
        self.0.check(payment, offer, now)
    }

    fn money_in(&self, money: &Money, offer: &PaymentRequirements) -> Option<Amount> {
        self.0.money_in(money, offer)
    }
}

/// Puts a contract where it is to be, with what its constructor made of `arguments`.
async fn place(node: &Node, kind: &Creation, arguments: &[u8]) -> Address {
    let chain = node.chain();
    let creation = json!([{ "data": kind.with(arguments), "gas": "0x1312d00" }, "latest"]);
    let code = chain.raw("eth_call", creation).await.unwrap();
    let address = LocalSigner::random().unwrap().address();
    chain.raw("anvil_setCode", json!([address, code])).await.unwrap();
    address
}
