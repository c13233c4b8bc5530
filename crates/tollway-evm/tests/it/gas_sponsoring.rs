//! Extensions `eip2612GasSponsoring` and `erc20ApprovalGasSponsoring`, seller and buyer: when they are declared, and when an
//! approval is signed beside a payment.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256, hex, keccak256};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tollway_core::model::{PaymentPayload, PaymentRequired, PaymentRequirements};
use tollway_core::{
    BoxFuture, BuyerScheme, JsonObject, Network, Price, SellerScheme, Terms, UnixTime, X402Version,
};
use tollway_evm::eip712::Domain;
use tollway_evm::exact::{ExactBuyer, ExactSeller};
use tollway_evm::permit2::{
    self, Allowances, Ceiling, EIP2612_GAS_SPONSORING, ERC20_APPROVAL_GAS_SPONSORING, PERMIT2, Unknown,
    UptoBuyer, UptoSeller,
};
use tollway_evm::{AssetTable, LocalSigner, Signer, signature};

const NOW: UnixTime = UnixTime(1_750_000_000);
/// MegaUSD: known, with EIP-2612 and without EIP-3009.
const TOKEN: &str = "0xFAfDdbb3FC7688494971a79cc65DCa3EF82079E7";
const CHAIN_ID: u64 = 4326;
const DUE: u64 = 750;

fn understood() -> Vec<String> {
    vec![EIP2612_GAS_SPONSORING.to_owned()]
}

fn schemes() -> [Box<dyn SellerScheme>; 2] {
    [Box::new(ExactSeller::new(AssetTable::known())), Box::new(UptoSeller::new(AssetTable::known()))]
}

fn offer_in(scheme: &dyn SellerScheme, network: Network, asset: &str, extra: Value) -> PaymentRequirements {
    let pay_to = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C".to_owned();
    let terms = Terms { network, pay_to, max_timeout_seconds: 60 };
    let extra = extra.as_object().cloned().unwrap();
    let price = Price::Asset { amount: DUE.into(), asset: asset.to_owned(), extra };
    scheme.offer(&price, &terms).unwrap()
}

fn offer(scheme: &dyn SellerScheme) -> PaymentRequirements {
    let facilitator = json!({ "facilitatorAddress": "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC" });
    offer_in(scheme, Network::evm(CHAIN_ID), TOKEN, facilitator)
}

#[test]
fn it_is_declared_for_tokens_that_have_it_where_the_facilitator_presents_approvals() {
    for scheme in schemes() {
        let with_it = offer(scheme.as_ref());
        let declared = scheme.declare(&with_it, &understood());
        let info = &declared[EIP2612_GAS_SPONSORING]["info"];
        assert_eq!((declared.len(), &info["version"]), (1, &json!("1")));
        assert!(info["description"].is_string() && declared[EIP2612_GAS_SPONSORING]["schema"].is_object());
        assert!(scheme.declare(&with_it, &[]).is_empty(), "nobody would present it");
        let plain = "0xA5b8BF902b2844dA17d4506cc827F7F1681735E7";
        let plain = offer_in(scheme.as_ref(), Network::evm(38_833), plain, json!({}));
        assert!(scheme.declare(&plain, &understood()).is_empty(), "no domain, no EIP-2612");
    }
    let exact = &schemes()[0];
    let usdc = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913";
    let by_token = offer_in(exact.as_ref(), Network::evm(8453), usdc, json!({}));
    assert!(exact.declare(&by_token, &understood()).is_empty(), "EIP-3009 needs no approval");
}

/// What a token is said to answer, and how often it was asked.
#[derive(Clone, Debug, Default)]
struct Token {
    allowance: Option<u64>,
    nonce: Option<u64>,
    asked: Arc<Mutex<usize>>,
    /// For what a transaction was signed.
    signed: Arc<Mutex<Vec<U256>>>,
}

impl Token {
    fn says(&self, answer: Option<u64>) -> BoxFuture<'_, Result<U256, Unknown>> {
        *self.asked.lock() += 1;
        let answer = answer.map(U256::from).ok_or_else(|| Unknown("no node".to_owned()));
        Box::pin(std::future::ready(answer))
    }
}

impl Allowances for Token {
    fn covers(&self, network: &Network) -> bool {
        *network == Network::evm(CHAIN_ID)
    }

    fn allowance(&self, _: Address, _: Address) -> BoxFuture<'_, Result<U256, Unknown>> {
        self.says(self.allowance)
    }

    fn permit_nonce(&self, _: Address, _: Address) -> BoxFuture<'_, Result<U256, Unknown>> {
        self.says(self.nonce)
    }

    fn sign_approval<'a>(
        &'a self,
        _: Address,
        _: &'a dyn Signer,
        amount: U256,
    ) -> BoxFuture<'a, Result<Bytes, Unknown>> {
        self.signed.lock().push(amount);
        Box::pin(std::future::ready(Ok(vec![2, 7].into())))
    }
}

struct Till {
    signer: LocalSigner,
    offer: PaymentRequirements,
    scheme: Box<dyn SellerScheme>,
}

impl Till {
    fn all() -> Vec<Self> {
        let signer = LocalSigner::random().unwrap();
        let all = schemes().into_iter();
        all.map(|scheme| Self { signer: signer.clone(), offer: offer(scheme.as_ref()), scheme }).collect()
    }

    fn declared(&self) -> JsonObject {
        self.scheme.declare(&self.offer, &understood())
    }

    async fn pay(&self, token: Option<&Token>, extensions: JsonObject) -> PaymentPayload {
        let required = PaymentRequired {
            version: X402Version::V2,
            error: None,
            resource: None,
            accepts: vec![self.offer.clone()],
            extensions,
            other: JsonObject::new(),
        };
        let (signer, assets) = (Arc::new(self.signer.clone()), AssetTable::known());
        let (mut exact, mut upto) =
            (ExactBuyer::new(signer.clone(), assets.clone()), UptoBuyer::new(signer, assets));
        if let Some(token) = token {
            exact = exact.allowances(Arc::new(token.clone()));
            upto = upto.allowances(Arc::new(token.clone()));
        }
        let buyers: [&dyn BuyerScheme; 2] = [&exact, &upto];
        let buyer = buyers.into_iter().find(|buyer| buyer.name() == self.scheme.name()).unwrap();
        buyer.sign(&required, &self.offer, NOW).await.unwrap()
    }

    fn has_approval(&self, payment: &PaymentPayload) -> bool {
        permit2::check(payment, &self.offer, Ceiling::Equal, NOW).unwrap().approval.is_some()
    }
}

fn token(allowance: Option<u64>, nonce: Option<u64>) -> Token {
    Token { allowance, nonce, ..Token::default() }
}

#[tokio::test]
async fn an_approval_of_just_this_amount_is_signed_beside_a_payment_that_lacks_it() {
    for till in Till::all() {
        for allowance in [Some(0), Some(DUE - 1), None] {
            let payment = till.pay(Some(&token(allowance, Some(7))), till.declared()).await;
            let read = permit2::check(&payment, &till.offer, Ceiling::Equal, NOW).unwrap();
            let approval = read.approval.expect("what the facilitator reads");
            assert_eq!(approval.deadline, read.permit.deadline);
            let kind = "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)";
            let number = |number: u64| B256::from(U256::from(number));
            let words = [
                keccak256(kind),
                till.signer.address().into_word(),
                PERMIT2.into_word(),
                number(DUE),
                number(7),
                approval.deadline.into(),
            ];
            let domain = Domain::new(&Network::evm(CHAIN_ID), TOKEN.parse().unwrap(), "MegaUSD", "1");
            let message = keccak256(words.map(|word| word.0).as_flattened());
            let preimage =
                [&[0x19, 0x01], domain.unwrap().separator().as_slice(), message.as_slice()].concat();
            let by = signature::recover(keccak256(preimage), &approval.signature);
            assert_eq!(by, Ok(till.signer.address()));
            let info = &payment.extensions[EIP2612_GAS_SPONSORING]["info"];
            assert_eq!((&info["nonce"], &info["amount"]), (&json!("7"), &json!(DUE.to_string())));
        }
    }
}

#[tokio::test]
async fn nothing_is_signed_beside_a_payment_that_is_allowed_already() {
    for till in Till::all() {
        for allowance in [DUE, u64::MAX] {
            let payment = till.pay(Some(&token(Some(allowance), Some(7))), till.declared()).await;
            assert!(!till.has_approval(&payment));
            assert_eq!(payment.extensions, till.declared(), "echoed as it came");
        }
    }
}

#[tokio::test]
async fn what_the_seller_does_not_declare_is_neither_signed_nor_asked_about() {
    for till in Till::all() {
        let token = token(Some(0), Some(7));
        assert!(!till.has_approval(&till.pay(Some(&token), JsonObject::new()).await));
        assert_eq!(*token.asked.lock(), 0);
    }
}

#[tokio::test]
async fn without_anybody_who_knows_the_payment_goes_without() {
    for till in Till::all() {
        for token in [None, Some(token(Some(0), None))] {
            let payment = till.pay(token.as_ref(), till.declared()).await;
            assert!(!till.has_approval(&payment));
            assert_eq!(payment.extensions, till.declared());
        }
    }
}

#[tokio::test]
async fn what_the_seller_said_stays_as_it_was() {
    for till in Till::all() {
        let ours = token(Some(0), Some(7));
        let payment = till.pay(Some(&ours), till.declared()).await;
        assert_eq!(tollway_core::extension::echo::mismatch(&till.declared(), &payment.extensions), None);
        let signature = hex::encode_prefixed([7; 65]);
        let said = json!({ "info": { "version": "1", "signature": signature } });
        let said = JsonObject::from_iter([(EIP2612_GAS_SPONSORING.to_owned(), said)]);
        let payment = till.pay(Some(&ours), said).await;
        assert_eq!(payment.extensions[EIP2612_GAS_SPONSORING]["info"]["signature"], json!(signature));
    }
}

fn understood_both() -> Vec<String> {
    [EIP2612_GAS_SPONSORING, ERC20_APPROVAL_GAS_SPONSORING].map(str::to_owned).into()
}

#[test]
fn approvals_by_transaction_are_declared_for_every_token_that_permit2_moves() {
    for scheme in schemes() {
        let declared = scheme.declare(&offer(scheme.as_ref()), &understood_both());
        assert_eq!(declared.len(), 2, "both ways");
        let plain = "0xA5b8BF902b2844dA17d4506cc827F7F1681735E7";
        let plain = offer_in(scheme.as_ref(), Network::evm(38_833), plain, json!({}));
        let declared = scheme.declare(&plain, &understood_both());
        let declared = declared[ERC20_APPROVAL_GAS_SPONSORING].as_object().unwrap();
        assert!(declared["info"]["version"] == "1" && declared["schema"]["required"].is_array());
        assert!(scheme.declare(&plain, &understood()).is_empty(), "nobody would send it");
    }
    let exact = &schemes()[0];
    let usdc = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913";
    let by_token = offer_in(exact.as_ref(), Network::evm(8453), usdc, json!({}));
    assert!(exact.declare(&by_token, &understood_both()).is_empty(), "EIP-3009 needs no approval");
}

#[tokio::test]
async fn a_transaction_is_signed_only_where_it_is_known_to_be_needed_and_no_signature_will_do() {
    for till in Till::all() {
        let both = till.scheme.declare(&till.offer, &understood_both());
        let transactions = [ERC20_APPROVAL_GAS_SPONSORING.to_owned()];
        let alone = till.scheme.declare(&till.offer, &transactions);
        let cases = [
            (token(Some(0), Some(7)), &both, false, "the token takes a signature"),
            (token(Some(0), None), &both, true, "it takes none"),
            (token(Some(DUE - 1), Some(7)), &alone, true, "the facilitator takes none"),
            (token(Some(DUE), None), &both, false, "it is allowed already"),
            (token(None, None), &both, false, "nobody knows"),
        ];
        for (token, declared, is_signed, why) in cases {
            let payment = till.pay(Some(&token), declared.clone()).await;
            let signed = token.signed.lock().clone();
            assert_eq!(signed, if is_signed { vec![U256::from(DUE)] } else { Vec::new() }, "{why}");
            let info = &payment.extensions[ERC20_APPROVAL_GAS_SPONSORING]["info"];
            assert_eq!(info.get("signedTransaction").is_some(), is_signed, "{why}");
            assert_eq!(tollway_core::extension::echo::mismatch(declared, &payment.extensions), None);
            if is_signed {
                assert_eq!((&info["amount"], &info["signedTransaction"]), (&json!("750"), &json!("0x0207")));
                assert_eq!(info["spender"], json!(PERMIT2.to_checksum(None)));
            }
        }
        let undeclared = token(Some(0), None);
        till.pay(Some(&undeclared), JsonObject::new()).await;
        assert_eq!((*undeclared.asked.lock(), undeclared.signed.lock().len()), (0, 0));
    }
}
