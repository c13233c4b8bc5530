//! The approval that a payer has signed as a transaction, as it comes with a payment: every rule on it that needs no chain,
//! cheapest first. The order and the codes are those of the published facilitator, where it has them.

use alloy_consensus::transaction::SignableTransaction;
use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, hex};
use alloy_sol_types::SolCall;
use serde_json::Value;
use tollway_core::model::PaymentPayload;
use tollway_core::{Amount, ErrorCode, JsonObject, Network, Refusal};

use super::settle::proxy::Approved::approveCall;
use super::sponsored::{ERC20_APPROVAL_GAS_SPONSORING, FIELDS, SponsoredApproval};
use super::{Covered, PERMIT2, PermitPayment};
use crate::exact::parse_address;
use crate::signature;

/// The most bytes of such a transaction. One takes fewer than 200.
const MOST_BYTES: usize = 512;
/// What an approval surely uses, and what it never needs.
const GAS: std::ops::RangeInclusive<u64> = 30_000..=300_000;

impl SponsoredApproval {
    /// Reads the approval of a payment, if it has one, and holds it against the payment: by the payer's key, of the
    /// payment's token, to Permit2, for at least what the permit allows, on its network; a transaction of type 0, 1 or
    /// 2, spelled as it must be, that carries no value and does nothing else.
    ///
    /// # Errors
    /// [`Refusal`] with the code of the published facilitator, where it has one, and the field.
    ///
    /// ```
    /// use tollway_evm::permit2::{self, SponsoredApproval};
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/permit2_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let payment = permit2::check_at_any_time(&request.payment, &request.requirements)?;
    /// assert_eq!(SponsoredApproval::read(&request.payment, &payment)?, None); // it carries none
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(payload: &PaymentPayload, payment: &PermitPayment) -> Result<Option<Self>, Refusal> {
        Self::read_for(payload, (&payment.permit).into(), &payment.network)
    }

    /// The same for whatever Permit2 takes.
    pub(crate) fn read_for(
        payload: &PaymentPayload,
        covered: Covered,
        network: &Network,
    ) -> Result<Option<Self>, Refusal> {
        let extension = payload.extensions.get(ERC20_APPROVAL_GAS_SPONSORING);
        let Some(Value::Object(info)) = extension.and_then(|extension| extension.get("info")) else {
            return Ok(None);
        };
        if !FIELDS.iter().all(|field| info.get(*field).is_some_and(|value| !value.is_null())) {
            return Ok(None);
        }
        let held = Told::read(info).and_then(|told| told.hold(covered, network));
        held.map(Some).map_err(|refusal| refusal.by(covered.payer.to_checksum(None)))
    }

    /// Reads what was written down of one that was held against its payment before.
    pub(crate) fn recall(raw: Bytes) -> Option<Self> {
        let envelope = decode(&raw)?;
        let amount = approveCall::abi_decode(envelope.input()).ok()?.amount;
        Some(Self::of(&envelope, raw, amount))
    }

    fn of(envelope: &TxEnvelope, raw: Bytes, amount: U256) -> Self {
        Self {
            raw,
            hash: *envelope.tx_hash(),
            nonce: envelope.nonce(),
            gas_limit: envelope.gas_limit(),
            max_fee_per_gas: envelope.max_fee_per_gas(),
            max_priority_fee_per_gas: envelope
                .max_priority_fee_per_gas()
                .unwrap_or_else(|| envelope.max_fee_per_gas()),
            amount,
        }
    }
}

/// What a payer says, as it was read.
struct Told {
    from: Address,
    asset: Address,
    spender: Address,
    amount: U256,
    raw: Vec<u8>,
}

impl Told {
    fn read(info: &JsonObject) -> Result<Self, Refusal> {
        let text = |field| info.get(field).and_then(Value::as_str).ok_or_else(|| malformed(field));
        let address = |field| parse_address(text(field)?).ok_or_else(|| malformed(field));
        let (from, asset, spender) = (address("from")?, address("asset")?, address("spender")?);
        let amount = text("amount")?.parse::<Amount>().map_err(|_| malformed("amount"))?.atomic();
        let is_version = |text: &str| {
            let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            text.len() <= 32 && text.split('.').all(is_number)
        };
        if !is_version(text("version")?) {
            return Err(malformed("version"));
        }
        let raw = text("signedTransaction")?;
        let is_sized = raw.starts_with("0x") && (4..=2 + 2 * MOST_BYTES).contains(&raw.len());
        let raw = Some(raw).filter(|_| is_sized).and_then(|raw| hex::decode(raw).ok());
        Ok(Self { from, asset, spender, amount, raw: raw.ok_or_else(|| malformed("signedTransaction"))? })
    }

    fn hold(self, covered: Covered, network: &Network) -> Result<SponsoredApproval, Refusal> {
        must_be(self.from, covered.payer, "from", ErrorCode::ERC20_APPROVAL_FROM_MISMATCH)?;
        must_be(self.asset, covered.token, "asset", ErrorCode::ERC20_APPROVAL_ASSET_MISMATCH)?;
        must_be(self.spender, PERMIT2, "spender", ErrorCode::ERC20_APPROVAL_SPENDER_NOT_PERMIT2)?;
        let envelope = decode(&self.raw).ok_or_else(|| {
            let rule = "must be a transaction of type 0, 1 or 2 with a chain id and no access list";
            of_transaction(ErrorCode::ERC20_APPROVAL_TX_PARSE_FAILED, "", rule.to_owned())
        })?;
        let target = envelope.kind();
        if target != TxKind::Call(covered.token) {
            let rule = format!("must be the payment's token {}, not {target:?}", covered.token);
            return Err(of_transaction(ErrorCode::ERC20_APPROVAL_TX_WRONG_TARGET, "to", rule));
        }
        check_call(envelope.input(), self.amount, covered.amount)?;
        match signer(&envelope) {
            Some(signer) if signer == covered.payer => {}
            Some(signer) => {
                let rule = format!("must be signed by the payer {}, not by {signer}", covered.payer);
                return Err(of_transaction(ErrorCode::ERC20_APPROVAL_TX_SIGNER_MISMATCH, "", rule));
            }
            None => {
                let rule = "must be a signature with s in the lower half of the order".to_owned();
                return Err(of_transaction(ErrorCode::ERC20_APPROVAL_TX_INVALID_SIGNATURE, "", rule));
            }
        }
        check_terms(&envelope, network.evm_chain_id())?;
        Ok(SponsoredApproval::of(&envelope, self.raw.into(), self.amount))
    }
}

/// A transaction that any chain takes, in its only spelling.
fn decode(raw: &[u8]) -> Option<TxEnvelope> {
    let mut rest = raw;
    let envelope = TxEnvelope::decode_2718(&mut rest).ok()?;
    let is_plain = match &envelope {
        // Without a chain id it could be sent on every chain.
        TxEnvelope::Legacy(signed) => signed.tx().chain_id.is_some(),
        TxEnvelope::Eip2930(_) | TxEnvelope::Eip1559(_) => true,
        _ => false,
    };
    let has_list = envelope.access_list().is_some_and(|list| !list.is_empty());
    let is_canonical = rest.is_empty() && envelope.encoded_2718() == raw;
    (is_plain && !has_list && is_canonical).then_some(envelope)
}

/// Exactly `approve(Permit2, amount)`.
fn check_call(data: &[u8], told: U256, due: U256) -> Result<(), Refusal> {
    let refuse = |code, rule| Err(of_transaction(code, "data", rule));
    if data.get(..4) != Some(&approveCall::SELECTOR) {
        let rule = "must call approve(address,uint256)".to_owned();
        return refuse(ErrorCode::ERC20_APPROVAL_TX_WRONG_SELECTOR, rule);
    }
    let call = approveCall::abi_decode(data).ok().filter(|call| call.abi_encode() == data);
    let Some(call) = call else {
        let rule = "must be the call approve(address,uint256), and nothing more".to_owned();
        return refuse(ErrorCode::ERC20_APPROVAL_TX_INVALID_CALLDATA, rule);
    };
    if call.spender != PERMIT2 {
        let rule = format!("must approve Permit2 {PERMIT2}, not {}", call.spender);
        return refuse(ErrorCode::ERC20_APPROVAL_TX_WRONG_SPENDER, rule);
    }
    if call.amount != told {
        let rule = format!("must approve the amount beside it, {told}, not {}", call.amount);
        return refuse(ErrorCode::ERC20_APPROVAL_TX_INVALID_CALLDATA, rule);
    }
    if told < due {
        let rule = format!("must cover the permit's amount {due}, is {told}");
        return Err(refuse_field(ErrorCode::ERC20_APPROVAL_TX_INVALID_CALLDATA, "amount", rule));
    }
    Ok(())
}

/// The rest: what would keep it from being included, or make it cost more than gas. The published codes have no word for
/// each of these.
fn check_terms(envelope: &TxEnvelope, chain_id: Option<u64>) -> Result<(), Refusal> {
    let refuse = |field, rule| Err(of_transaction(ErrorCode::ERC20_APPROVAL_TX_FAILED, field, rule));
    if envelope.chain_id() != chain_id {
        return refuse("chainId", "must be the payment's network".to_owned());
    }
    if !envelope.value().is_zero() {
        return refuse("value", "must be zero".to_owned());
    }
    let gas = envelope.gas_limit();
    if !GAS.contains(&gas) {
        return refuse("gas", format!("must be from {} to {}, is {gas}", GAS.start(), GAS.end()));
    }
    let max_fee = envelope.max_fee_per_gas();
    if max_fee == 0 || envelope.max_priority_fee_per_gas().is_some_and(|tip| tip > max_fee) {
        let rule = "must be more than zero, and no less than maxPriorityFeePerGas".to_owned();
        return refuse("maxFeePerGas", rule);
    }
    Ok(())
}

/// Whose key signed it. None if a chain would not take the signature.
fn signer(envelope: &TxEnvelope) -> Option<Address> {
    let (signature, hash): (Signature, B256) = match envelope {
        TxEnvelope::Legacy(signed) => (*signed.signature(), signed.tx().signature_hash()),
        TxEnvelope::Eip2930(signed) => (*signed.signature(), signed.tx().signature_hash()),
        TxEnvelope::Eip1559(signed) => (*signed.signature(), signed.tx().signature_hash()),
        _ => return None,
    };
    let strict = signature::parse(&signature.as_bytes()).ok()?;
    signature::recover(hash, &strict).ok()
}

fn must_be(theirs: Address, ours: Address, field: &str, code: ErrorCode) -> Result<(), Refusal> {
    match theirs == ours {
        true => Ok(()),
        false => Err(refuse_field(code, field, format!("must be {ours}, not {theirs}"))),
    }
}

fn malformed(field: &str) -> Refusal {
    let code = ErrorCode::INVALID_ERC20_APPROVAL_EXTENSION_FORMAT;
    refuse_field(code, field, "is not what the extension's schema says".to_owned())
}

/// About a field of the signed transaction.
fn of_transaction(code: ErrorCode, field: &str, rule: String) -> Refusal {
    let dot = if field.is_empty() { "" } else { "." };
    refuse_field(code, &format!("signedTransaction{dot}{field}"), rule)
}

fn refuse_field(code: ErrorCode, field: &str, rule: String) -> Refusal {
    Refusal::new(code, format!("extensions.{ERC20_APPROVAL_GAS_SPONSORING}.info.{field}"), rule)
}

#[cfg(test)]
mod tests {
    use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxEnvelope, TxLegacy};
    use alloy_eips::eip2718::Encodable2718;
    use alloy_eips::eip2930::{AccessList, AccessListItem};
    use alloy_primitives::{Address, Signature, TxKind, U256, hex};
    use proptest::prelude::{any, prop_assert, prop_assert_eq, prop_oneof, proptest};
    use proptest::strategy::{Just, Strategy};
    use serde_json::{Value, json};
    use tollway_core::model::FacilitatorRequest;
    use tollway_core::{ErrorCode, Refusal};

    use super::{ERC20_APPROVAL_GAS_SPONSORING, SponsoredApproval};
    use crate::permit2::{PERMIT2, PermitPayment, approve_call, check_at_any_time};
    use crate::{LocalSigner, Signer};

    /// The payer of the payment, on a development chain.
    const PAYER_KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    const DUE: u64 = 750_000_000_000_000_000;

    fn request() -> (FacilitatorRequest, PermitPayment) {
        let json = include_bytes!("../../tests/permit2_request.json");
        let request = tollway_core::wire::decode_facilitator_request(json).unwrap();
        let payment = check_at_any_time(&request.payment, &request.requirements).unwrap();
        (request, payment)
    }

    fn read(info: &Value) -> Result<Option<SponsoredApproval>, Refusal> {
        let (mut request, payment) = request();
        let name = ERC20_APPROVAL_GAS_SPONSORING.to_owned();
        request.payment.extensions.insert(name, json!({ "info": info }));
        SponsoredApproval::read(&request.payment, &payment)
    }

    /// One thing that may be wrong with an approval.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Wrong {
        From,
        Asset,
        Spender,
        Told,
        TooLittle,
        Target,
        Creation,
        Selector,
        DataSpender,
        DataLonger,
        DataShorter,
        Chain,
        Value,
        GasLow,
        GasHigh,
        NoFee,
        Tip,
        List,
        Signer,
        HighS,
        Longer,
        Version,
    }

    const ALL: [(Wrong, &str, ErrorCode); 22] = [
        (Wrong::From, "from", ErrorCode::ERC20_APPROVAL_FROM_MISMATCH),
        (Wrong::Asset, "asset", ErrorCode::ERC20_APPROVAL_ASSET_MISMATCH),
        (Wrong::Spender, "spender", ErrorCode::ERC20_APPROVAL_SPENDER_NOT_PERMIT2),
        (Wrong::Told, "signedTransaction.data", ErrorCode::ERC20_APPROVAL_TX_INVALID_CALLDATA),
        (Wrong::TooLittle, "amount", ErrorCode::ERC20_APPROVAL_TX_INVALID_CALLDATA),
        (Wrong::Target, "signedTransaction.to", ErrorCode::ERC20_APPROVAL_TX_WRONG_TARGET),
        (Wrong::Creation, "signedTransaction.to", ErrorCode::ERC20_APPROVAL_TX_WRONG_TARGET),
        (Wrong::Selector, "signedTransaction.data", ErrorCode::ERC20_APPROVAL_TX_WRONG_SELECTOR),
        (Wrong::DataSpender, "signedTransaction.data", ErrorCode::ERC20_APPROVAL_TX_WRONG_SPENDER),
        (Wrong::DataLonger, "signedTransaction.data", ErrorCode::ERC20_APPROVAL_TX_INVALID_CALLDATA),
        (Wrong::DataShorter, "signedTransaction.data", ErrorCode::ERC20_APPROVAL_TX_INVALID_CALLDATA),
        (Wrong::Chain, "signedTransaction.chainId", ErrorCode::ERC20_APPROVAL_TX_FAILED),
        (Wrong::Value, "signedTransaction.value", ErrorCode::ERC20_APPROVAL_TX_FAILED),
        (Wrong::GasLow, "signedTransaction.gas", ErrorCode::ERC20_APPROVAL_TX_FAILED),
        (Wrong::GasHigh, "signedTransaction.gas", ErrorCode::ERC20_APPROVAL_TX_FAILED),
        (Wrong::NoFee, "signedTransaction.maxFeePerGas", ErrorCode::ERC20_APPROVAL_TX_FAILED),
        (Wrong::Tip, "signedTransaction.maxFeePerGas", ErrorCode::ERC20_APPROVAL_TX_FAILED),
        (Wrong::List, "signedTransaction", ErrorCode::ERC20_APPROVAL_TX_PARSE_FAILED),
        (Wrong::Signer, "signedTransaction", ErrorCode::ERC20_APPROVAL_TX_SIGNER_MISMATCH),
        (Wrong::HighS, "signedTransaction", ErrorCode::ERC20_APPROVAL_TX_INVALID_SIGNATURE),
        (Wrong::Longer, "signedTransaction", ErrorCode::ERC20_APPROVAL_TX_PARSE_FAILED),
        (Wrong::Version, "version", ErrorCode::INVALID_ERC20_APPROVAL_EXTENSION_FORMAT),
    ];

    /// Which type of transaction.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Kind {
        Legacy,
        List,
        Fees,
    }

    impl Kind {
        /// Not all types can be wrong in all ways.
        const fn can_be(self, wrong: Wrong) -> bool {
            match wrong {
                Wrong::Tip => matches!(self, Self::Fees),
                Wrong::List => !matches!(self, Self::Legacy),
                _ => true,
            }
        }
    }

    fn sign<T: SignableTransaction<Signature>>(unsigned: T, wrong: &[Wrong]) -> TxEnvelope
    where
        TxEnvelope: From<alloy_consensus::Signed<T>>,
    {
        let signer = match wrong.contains(&Wrong::Signer) {
            true => LocalSigner::random().unwrap(),
            false => LocalSigner::from_hex(PAYER_KEY).unwrap(),
        };
        let preimage = unsigned.encoded_for_signing();
        let signing = signer.sign(&preimage);
        let mut signature = futures_util::FutureExt::now_or_never(signing).unwrap().unwrap();
        if wrong.contains(&Wrong::HighS) {
            let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
            let order = U256::from_str_radix(order, 16).unwrap();
            signature = Signature::new(signature.r(), order - signature.s(), !signature.v());
        }
        TxEnvelope::from(unsigned.into_signed(signature))
    }

    fn calldata(payment: &PermitPayment, amount: U256, wrong: &[Wrong]) -> Vec<u8> {
        let mut data = approve_call(payment.permit.token, amount).data.to_vec();
        for one in wrong {
            match one {
                Wrong::DataSpender => data[20] |= 0x80,
                Wrong::DataLonger => data.push(0),
                Wrong::DataShorter => data.truncate(60),
                Wrong::Selector => data[0] = 0,
                _ => {}
            }
        }
        data
    }

    /// The approval, with all that is wrong about it.
    fn info(kind: Kind, amount: U256, nonce: u64, wrong: &[Wrong]) -> Value {
        let (_, payment) = request();
        let is = |one| wrong.contains(&one);
        let pick = |one, bad, good| if is(one) { bad } else { good };
        let stranger = Address::repeat_byte(9);
        let amount = if is(Wrong::TooLittle) { U256::from(DUE - 1) } else { amount };
        let to = TxKind::Call(pick(Wrong::Target, stranger, payment.permit.token));
        let to = if is(Wrong::Creation) { TxKind::Create } else { to };
        let chain_id = if is(Wrong::Chain) { 1 } else { 4326 };
        let value = U256::from(u8::from(is(Wrong::Value)));
        let gas_limit = match (is(Wrong::GasLow), is(Wrong::GasHigh)) {
            (true, _) => 29_999,
            (_, true) => 300_001,
            _ => 70_000,
        };
        let fee = if is(Wrong::NoFee) { 0 } else { 1_000_000_000 };
        let tip = if is(Wrong::Tip) { fee + 1 } else { 0 };
        let access_list = match is(Wrong::List) {
            true => AccessList(vec![AccessListItem { address: stranger, storage_keys: Vec::new() }]),
            false => AccessList::default(),
        };
        let input = calldata(&payment, amount, wrong).into();
        let signed = match kind {
            Kind::Legacy => {
                let (chain_id, gas_price) = (Some(chain_id), fee);
                sign(TxLegacy { chain_id, nonce, gas_price, gas_limit, to, value, input }, wrong)
            }
            Kind::List => {
                let gas_price = fee;
                sign(
                    TxEip2930 { chain_id, nonce, gas_price, gas_limit, to, value, access_list, input },
                    wrong,
                )
            }
            Kind::Fees => {
                let (max_fee_per_gas, max_priority_fee_per_gas) = (fee, tip);
                let unsigned = TxEip1559 {
                    chain_id,
                    nonce,
                    gas_limit,
                    max_fee_per_gas,
                    max_priority_fee_per_gas,
                    to,
                    value,
                    access_list,
                    input,
                };
                sign(unsigned, wrong)
            }
        };
        let mut raw = signed.encoded_2718();
        if is(Wrong::Longer) {
            raw.push(0);
        }
        let told = if is(Wrong::Told) { amount.wrapping_add(U256::from(1)) } else { amount };
        json!({
            "from": pick(Wrong::From, stranger, payment.permit.from),
            "asset": pick(Wrong::Asset, stranger, payment.permit.token),
            "spender": pick(Wrong::Spender, stranger, PERMIT2), "amount": told.to_string(),
            "signedTransaction": hex::encode_prefixed(raw),
            "version": if is(Wrong::Version) { "one" } else { "1" },
        })
    }

    fn kind() -> impl Strategy<Value = Kind> {
        prop_oneof![Just(Kind::Legacy), Just(Kind::List), Just(Kind::Fees)]
    }

    #[test]
    fn a_good_approval_is_read_whole_and_read_back_from_what_was_written_down() {
        for kind in [Kind::Legacy, Kind::List, Kind::Fees] {
            for amount in [U256::from(DUE), U256::MAX] {
                let approval = read(&info(kind, amount, 7, &[])).unwrap().unwrap();
                assert_eq!((approval.nonce, approval.gas_limit, approval.amount), (7, 70_000, amount));
                assert_eq!(approval.max_cost(), U256::from(70_000_000_000_000_u64));
                assert_eq!(SponsoredApproval::recall(approval.raw.clone()), Some(approval), "{kind:?}");
            }
        }
    }

    #[test]
    fn each_broken_rule_is_named_by_field_and_code() {
        for kind in [Kind::Legacy, Kind::List, Kind::Fees] {
            for (wrong, field, code) in ALL.iter().filter(|(wrong, ..)| kind.can_be(*wrong)) {
                let refused = read(&info(kind, U256::from(DUE), 0, &[*wrong])).unwrap_err();
                let field = format!("extensions.erc20ApprovalGasSponsoring.info.{field}");
                assert_eq!((&refused.code, refused.field), (code, field), "{kind:?} {wrong:?}");
            }
        }
    }

    #[test]
    fn what_is_not_of_the_schema_is_refused_and_a_mere_echo_is_none() {
        let good = info(Kind::Fees, U256::from(DUE), 0, &[]);
        for echo in [json!({}), json!({ "description": "x", "version": "1" }), json!(null), json!(7)] {
            assert_eq!(read(&echo), Ok(None), "{echo}");
        }
        for (field, value) in [
            ("from", json!("0x12")),
            ("asset", json!(7)),
            ("spender", json!("")),
            ("amount", json!("-1")),
            ("amount", json!("01")),
            ("signedTransaction", json!("0x")),
            ("signedTransaction", json!("02f8")),
            ("signedTransaction", json!("0x0z")),
            ("signedTransaction", json!(format!("0x{}", "00".repeat(513)))),
            ("version", json!("1.")),
            ("version", json!("1".repeat(33))),
        ] {
            let mut info = good.clone();
            info[field] = value.clone();
            let refused = read(&info).unwrap_err();
            assert_eq!(refused.code, ErrorCode::INVALID_ERC20_APPROVAL_EXTENSION_FORMAT, "{field} {value}");
        }
        // Signed for every chain, and of the types that carry more than a call.
        let payment = request().1;
        let everywhere = TxLegacy {
            chain_id: None,
            gas_price: 1,
            gas_limit: 70_000,
            to: TxKind::Call(payment.permit.token),
            input: approve_call(payment.permit.token, U256::from(DUE)).data,
            ..TxLegacy::default()
        };
        let mut info = good;
        for raw in [sign(everywhere, &[]).encoded_2718(), vec![3; 120], vec![4; 120], vec![0xc0]] {
            info["signedTransaction"] = json!(hex::encode_prefixed(raw));
            assert_eq!(read(&info).unwrap_err().code, ErrorCode::ERC20_APPROVAL_TX_PARSE_FAILED);
        }
    }

    proptest! {
        #[test]
        fn an_approval_is_taken_iff_all_rules_hold(
            kind in kind(),
            amount in prop_oneof![Just(U256::MAX), (DUE..=u64::MAX).prop_map(U256::from)],
            nonce in any::<u64>(),
            picked in proptest::collection::vec(0..ALL.len(), 0..4),
        ) {
            let wrong: Vec<Wrong> = picked.iter().map(|place| ALL[*place].0).collect();
            let is_good = wrong.iter().all(|wrong| !kind.can_be(*wrong));
            let taken = read(&info(kind, amount, nonce, &wrong));
            prop_assert_eq!(taken.is_ok(), is_good, "{:?}: {:?}", wrong, taken);
            if let Err(refused) = taken {
                let broken = wrong.iter().filter(|wrong| kind.can_be(**wrong));
                let codes: Vec<&ErrorCode> =
                    broken.flat_map(|wrong| ALL.iter().filter(move |(one, ..)| one == wrong)).map(|(.., code)| code).collect();
                // What two faults make of each other may be a third.
                prop_assert!(codes.contains(&&refused.code) || wrong.len() > 1, "{:?}: {:?}", wrong, refused);
            }
        }

        #[test]
        fn no_byte_of_a_signed_approval_can_be_changed(kind in kind(), place in any::<usize>(), flip in 1..=255u8) {
            let mut info = info(kind, U256::from(DUE), 3, &[]);
            let mut raw = hex::decode(info["signedTransaction"].as_str().unwrap()).unwrap();
            let place = place % raw.len();
            raw[place] ^= flip;
            info["signedTransaction"] = json!(hex::encode_prefixed(raw));
            prop_assert!(read(&info).is_err());
        }

        #[test]
        fn bytes_are_read_or_refused_and_never_more(bytes in proptest::collection::vec(any::<u8>(), 1..600)) {
            let mut info = info(Kind::Fees, U256::from(DUE), 0, &[]);
            info["signedTransaction"] = json!(hex::encode_prefixed(bytes));
            prop_assert!(read(&info).is_err());
        }
    }
}
