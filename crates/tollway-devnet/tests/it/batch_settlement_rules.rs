//! What happens to the money in channels of scheme `batch-settlement`: who claims it, when it is paid out, and how it
//! goes back.

use alloy_primitives::{Address, Bytes, Signature, U256, aliases::U40};
use alloy_sol_types::{SolCall, SolError, SolStruct, SolValue};
use serde_json::json;
use tollway_devnet::{DevAccount, batch_settlement::BATCH_SETTLEMENT, deploy, genesis::EURC, genesis::USDC};

use crate::{
    anvil::nodes,
    batch_settlement::{
        AUTHORIZER, ChannelConfig, Channels, DELAY_SECONDS, RECEIVER, STRANGER, VOUCHER_KEY, VoucherClaim,
        VoucherOf, assert_conserved, channel, credit, deposit, domain, done, events, id, permit2_deposit,
        refusal, signed, state,
    },
    fixture::{PAYER, Rpc, SENDER, Token, quantity, sign},
    permit2,
};

/// A voucher of a channel, signed by a key, of which so much is claimed.
pub(crate) fn row(config: &ChannelConfig, key: &DevAccount, max: u128, total: u128) -> VoucherClaim {
    let message = signed::Voucher { channelId: id(config), maxClaimableAmount: max };
    let signature = sign(key, message.eip712_signing_hash(&domain())).as_bytes().into();
    let voucher = VoucherOf { channel: config.clone(), maxClaimableAmount: max };
    VoucherClaim { voucher, signature, totalClaimed: total }
}

/// A batch, signed by a key for the receiver's side.
pub(crate) fn batch(rows: &[VoucherClaim], key: &DevAccount) -> Channels::claimWithSignatureCall {
    let claims = rows.iter().map(|row| signed::ClaimEntry {
        channelId: id(&row.voucher.channel),
        maxClaimableAmount: row.voucher.maxClaimableAmount,
        totalClaimed: row.totalClaimed,
    });
    let message = signed::ClaimBatch { claims: claims.collect() };
    let signature = sign(key, message.eip712_signing_hash(&domain())).as_bytes().into();
    Channels::claimWithSignatureCall { voucherClaims: rows.to_vec(), authorizerSignature: signature }
}

fn claim(config: &ChannelConfig, max: u128, total: u128) -> Channels::claimWithSignatureCall {
    batch(&[row(config, &VOUCHER_KEY, max, total)], &AUTHORIZER)
}

pub(crate) fn signed_refund(
    config: &ChannelConfig,
    amount: u128,
    nonce: u64,
    key: &DevAccount,
) -> Channels::refundWithSignatureCall {
    let nonce = U256::from(nonce);
    let message = signed::Refund { channelId: id(config), nonce, amount };
    let signature = sign(key, message.eip712_signing_hash(&domain())).as_bytes().into();
    Channels::refundWithSignatureCall {
        config: config.clone(),
        amount,
        nonce,
        receiverAuthorizerSignature: signature,
    }
}

fn refund(config: &ChannelConfig, amount: u128) -> Channels::refundCall {
    Channels::refundCall { config: config.clone(), amount }
}

fn initiate(config: &ChannelConfig, amount: u128) -> Channels::initiateWithdrawCall {
    Channels::initiateWithdrawCall { config: config.clone(), amount }
}

fn finalize(config: &ChannelConfig) -> Channels::finalizeWithdrawCall {
    Channels::finalizeWithdrawCall { config: config.clone() }
}

async fn nonce(rpc: &Rpc, config: &ChannelConfig) -> U256 {
    rpc.ask(BATCH_SETTLEMENT, Channels::refundNonceCall { channelId: id(config) }).await
}

/// What waits to be withdrawn, and since when.
pub(crate) async fn pending(rpc: &Rpc, config: &ChannelConfig) -> (u128, u64) {
    let pending = rpc.ask(BATCH_SETTLEMENT, Channels::pendingWithdrawalsCall { channelId: id(config) }).await;
    (pending.amount, pending.initiatedAt.to())
}

/// The malleable twin of a signature.
fn twin(signature: &Bytes) -> Bytes {
    let signature = Signature::from_raw(signature).unwrap();
    let order = U256::from_str_radix("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16);
    let other = Signature::new(signature.r(), order.unwrap() - signature.s(), !signature.v());
    other.as_bytes().into()
}

async fn wait(rpc: &Rpc, seconds: u64) {
    rpc.ok("evm_increaseTime", json!([seconds])).await;
    rpc.ok("evm_mine", json!([])).await;
}

#[tokio::test]
async fn claims_count_from_the_beginning_so_an_old_one_is_no_new_one() {
    for rpc in nodes().await.rpcs {
        let config = channel(1);
        done(&rpc, &SENDER, deposit(&config, 1_000)).await;
        let logs = done(&rpc, &STRANGER, claim(&config, 500, 300)).await;
        let [claimed] = <[Channels::Claimed; 1]>::try_from(events(&logs)).unwrap();
        assert_eq!((claimed.channelId, claimed.sender), (id(&config), STRANGER.address));
        assert_eq!((claimed.claimAmount, claimed.newTotalClaimed), (300, 300));
        for total in [300, 299, 0] {
            assert_eq!(done(&rpc, &STRANGER, claim(&config, 500, total)).await, [], "{total} is claimed");
        }
        // Nobody looks at the signature of what is claimed already.
        let mut old = row(&config, &STRANGER, 500, 300);
        old.signature = Bytes::new();
        assert_eq!(done(&rpc, &STRANGER, batch(&[old], &AUTHORIZER)).await, []);
        let over = refusal(&rpc, STRANGER.address, claim(&config, 500, 501)).await;
        assert_eq!(over, Channels::ClaimExceedsCeiling::SELECTOR);
        let logs = done(&rpc, &STRANGER, claim(&config, 2_000, 1_000)).await;
        assert_eq!(events::<Channels::Claimed>(&logs)[0].claimAmount, 700);
        let over = refusal(&rpc, STRANGER.address, claim(&config, 2_000, 1_001)).await;
        assert_eq!(over, Channels::ClaimExceedsBalance::SELECTOR);
        assert_eq!(state(&rpc, &config).await, (1_000, 1_000));
        assert_eq!(credit(&rpc, RECEIVER.address, USDC).await, (1_000, 0));
        assert_conserved(&rpc, USDC, std::slice::from_ref(&config), &[RECEIVER.address]).await;
        // A channel that is used up goes on after another deposit, and is no new one.
        let logs = done(&rpc, &SENDER, deposit(&config, 5)).await;
        assert!(events::<Channels::ChannelCreated>(&logs).is_empty());
        done(&rpc, &STRANGER, claim(&config, 2_000, 1_005)).await;
        let nothing = refusal(&rpc, STRANGER.address, claim(&channel(2), 10, 1)).await;
        assert_eq!(nothing, Channels::ClaimExceedsBalance::SELECTOR, "no channel, no balance");
    }
}

#[tokio::test]
async fn only_the_receivers_side_claims_and_anybody_may_carry_what_it_signed() {
    for rpc in nodes().await.rpcs {
        let config = channel(1);
        done(&rpc, &SENDER, deposit(&config, 1_000)).await;
        let direct =
            |total| Channels::claimCall { voucherClaims: vec![row(&config, &VOUCHER_KEY, 500, total)] };
        for other in [STRANGER, PAYER, VOUCHER_KEY] {
            let refused = refusal(&rpc, other.address, direct(1)).await;
            assert_eq!(refused, Channels::NotAuthorizedToClaim::SELECTOR);
        }
        done(&rpc, &RECEIVER, direct(1)).await;
        done(&rpc, &AUTHORIZER, direct(2)).await;
        for key in [STRANGER, RECEIVER, PAYER, VOUCHER_KEY] {
            let call = batch(&[row(&config, &VOUCHER_KEY, 500, 3)], &key);
            let refused = refusal(&rpc, RECEIVER.address, call).await;
            assert_eq!(refused, Channels::InvalidSignature::SELECTOR);
        }
        let whole = claim(&config, 500, 3);
        let mut more = whole.clone();
        more.voucherClaims[0].totalClaimed = 4;
        let mut higher = whole.clone();
        higher.voucherClaims[0] = row(&config, &VOUCHER_KEY, 501, 3);
        let mut longer = whole.clone();
        longer.voucherClaims.push(row(&config, &VOUCHER_KEY, 500, 4));
        let twin = Channels::claimWithSignatureCall {
            authorizerSignature: twin(&whole.authorizerSignature),
            ..whole.clone()
        };
        for changed in [more, higher, longer, twin] {
            let refused = refusal(&rpc, RECEIVER.address, changed).await;
            assert_eq!(refused, Channels::InvalidSignature::SELECTOR);
        }
        done(&rpc, &STRANGER, whole).await;
        let empty = Channels::claimCall { voucherClaims: vec![] };
        assert_eq!(refusal(&rpc, RECEIVER.address, empty).await, Channels::EmptyBatch::SELECTOR);
        let empty = refusal(&rpc, RECEIVER.address, batch(&[], &AUTHORIZER)).await;
        assert_eq!(empty, Channels::EmptyBatch::SELECTOR);
        assert_eq!(state(&rpc, &config).await, (1_000, 3));
    }
}

#[tokio::test]
async fn a_batch_claims_from_many_channels_for_each_receiver_and_token() {
    for rpc in nodes().await.rpcs {
        permit2::approve(&rpc, EURC, &PAYER).await;
        let mut channels = Vec::new();
        for salt in 0..12_u8 {
            let mut config = channel(salt);
            if salt % 2 == 1 {
                config.receiver = STRANGER.address;
            }
            if salt % 3 == 0 {
                config.token = EURC;
                let call = permit2_deposit(&config, 1_000, u64::from(salt), Bytes::new());
                done(&rpc, &SENDER, call).await;
            } else {
                done(&rpc, &SENDER, deposit(&config, 1_000)).await;
            }
            channels.push(config);
        }
        let mut rows: Vec<_> = channels.iter().map(|config| row(config, &VOUCHER_KEY, 900, 100)).collect();
        // The same channel again, higher and lower.
        rows.push(row(&channels[0], &VOUCHER_KEY, 900, 150));
        rows.push(row(&channels[0], &VOUCHER_KEY, 900, 120));
        let logs = done(&rpc, &SENDER, batch(&rows, &AUTHORIZER)).await;
        assert_eq!(events::<Channels::Claimed>(&logs).len(), 13);
        assert_eq!(credit(&rpc, RECEIVER.address, EURC).await, (250, 0));
        assert_eq!(credit(&rpc, RECEIVER.address, USDC).await, (400, 0));
        assert_eq!(credit(&rpc, STRANGER.address, EURC).await, (200, 0));
        assert_eq!(credit(&rpc, STRANGER.address, USDC).await, (400, 0));
        // Those of one receiver in a row: each of its tokens has a sum of its own.
        let mut rows: Vec<_> = channels.iter().map(|config| row(config, &VOUCHER_KEY, 900, 200)).collect();
        rows.sort_by_key(|row| row.voucher.channel.receiver);
        done(&rpc, &SENDER, batch(&rows, &AUTHORIZER)).await;
        for receiver in [RECEIVER.address, STRANGER.address] {
            assert_eq!(credit(&rpc, receiver, EURC).await, (400, 0));
            assert_eq!(credit(&rpc, receiver, USDC).await, (800, 0));
        }
        for token in [USDC, EURC] {
            assert_conserved(&rpc, token, &channels, &[RECEIVER.address, STRANGER.address]).await;
        }
        // All rows are of one authorizer, and one bad row spoils all.
        let other = ChannelConfig { receiverAuthorizer: STRANGER.address, ..channel(99) };
        let mixed = [row(&channels[1], &VOUCHER_KEY, 900, 300), row(&other, &VOUCHER_KEY, 900, 1)];
        let refused = refusal(&rpc, SENDER.address, batch(&mixed, &AUTHORIZER)).await;
        assert_eq!(refused, Channels::NotReceiverAuthorizer::SELECTOR);
        let spoiled = [row(&channels[1], &VOUCHER_KEY, 900, 300), row(&channels[2], &STRANGER, 900, 300)];
        let refused = refusal(&rpc, SENDER.address, batch(&spoiled, &AUTHORIZER)).await;
        assert_eq!(refused, Channels::InvalidSignature::SELECTOR);
        let direct = Channels::claimCall { voucherClaims: mixed.to_vec() };
        // Who claims directly must be of each channel's receiving side.
        let refused = refusal(&rpc, AUTHORIZER.address, direct).await;
        assert_eq!(refused, Channels::NotAuthorizedToClaim::SELECTOR);
    }
}

#[tokio::test]
async fn a_voucher_is_of_the_key_that_the_channel_names_and_of_nobody_else() {
    for rpc in nodes().await.rpcs {
        let config = channel(1);
        done(&rpc, &SENDER, deposit(&config, 1_000)).await;
        let good = row(&config, &VOUCHER_KEY, 500, 100);
        let with = |signature: Bytes| batch(&[VoucherClaim { signature, ..good.clone() }], &AUTHORIZER);
        for key in [PAYER, STRANGER, RECEIVER] {
            let refused = refusal(&rpc, SENDER.address, with(row(&config, &key, 500, 100).signature)).await;
            assert_eq!(refused, Channels::InvalidSignature::SELECTOR);
        }
        for (other, max) in [(channel(2), 500), (config.clone(), 499)] {
            let signature = row(&other, &VOUCHER_KEY, max, 0).signature;
            let refused = refusal(&rpc, SENDER.address, with(signature)).await;
            assert_eq!(refused, Channels::InvalidSignature::SELECTOR);
        }
        let refused = refusal(&rpc, SENDER.address, with(twin(&good.signature))).await;
        assert_eq!(refused, Channels::ECDSAInvalidSignatureS::SELECTOR);
        for length in [0, 64, 66] {
            let mut bytes = good.signature.to_vec();
            bytes.resize(length, 0);
            let refused = rpc.revert(SENDER.address, BATCH_SETTLEMENT, with(bytes.into())).await;
            let expected = Channels::ECDSAInvalidSignatureLength { length: U256::from(length) };
            assert_eq!(refused, expected.abi_encode());
        }
        // No key comes out of these.
        for last in [0, 1, 26, 29] {
            let mut bytes = good.signature.to_vec();
            bytes[64] = last;
            let refused = refusal(&rpc, SENDER.address, with(bytes.into())).await;
            assert_eq!(refused, Channels::ECDSAInvalidSignature::SELECTOR);
        }
        // A key is a key, even if its account has code that agrees to everything.
        rpc.ok("anvil_setCode", json!([VOUCHER_KEY.address, "0x631626ba7e60e01b60005260206000f3"])).await;
        let refused = refusal(&rpc, SENDER.address, with(row(&config, &PAYER, 500, 100).signature)).await;
        assert_eq!(refused, Channels::InvalidSignature::SELECTOR);
        done(&rpc, &SENDER, with(good.signature.clone())).await;
    }
}

#[tokio::test]
async fn without_a_key_for_vouchers_the_payers_account_answers() {
    for rpc in nodes().await.rpcs {
        let keyed = ChannelConfig { payerAuthorizer: Address::ZERO, ..channel(1) };
        done(&rpc, &SENDER, deposit(&keyed, 1_000)).await;
        let refused = [
            row(&keyed, &STRANGER, 500, 100).signature,
            twin(&row(&keyed, &PAYER, 500, 100).signature),
            Bytes::from(vec![0; 65]),
            Bytes::new(),
        ];
        for signature in refused {
            let bad = VoucherClaim { signature, ..row(&keyed, &PAYER, 500, 100) };
            let refused = refusal(&rpc, SENDER.address, batch(&[bad], &AUTHORIZER)).await;
            assert_eq!(refused, Channels::InvalidSignature::SELECTOR);
        }
        done(&rpc, &SENDER, batch(&[row(&keyed, &PAYER, 500, 100)], &AUTHORIZER)).await;

        let arguments = (PAYER.address, Address::ZERO).abi_encode_params();
        let wallet = rpc.deploy(&deploy::WALLET, arguments).await;
        let bomb = rpc.deploy(&deploy::BOMB_WALLET, PAYER.address.abi_encode()).await;
        for payer in [wallet, bomb] {
            rpc.send_from(&PAYER, USDC, Token::transferCall { to: payer, value: U256::from(1_000) }).await;
        }
        let owned = ChannelConfig { payer: wallet, ..keyed.clone() };
        done(&rpc, &SENDER, deposit(&owned, 1_000)).await;
        let refused = refusal(&rpc, SENDER.address, batch(&[row(&owned, &STRANGER, 500, 100)], &AUTHORIZER));
        assert_eq!(refused.await, Channels::InvalidSignature::SELECTOR);
        done(&rpc, &SENDER, batch(&[row(&owned, &PAYER, 500, 100)], &AUTHORIZER)).await;
        assert_eq!(state(&rpc, &owned).await, (1_000, 100));
        // Once the payer's account has code, its key alone is worth nothing.
        rpc.ok("anvil_setCode", json!([PAYER.address, "0x60006000fd"])).await;
        let refused = refusal(&rpc, SENDER.address, batch(&[row(&keyed, &PAYER, 500, 200)], &AUTHORIZER));
        assert_eq!(refused.await, Channels::InvalidSignature::SELECTOR);
    }
}

#[tokio::test]
async fn the_receivers_authorizer_may_be_a_contract() {
    for rpc in nodes().await.rpcs {
        let arguments = (AUTHORIZER.address, Address::ZERO).abi_encode_params();
        let wallet = rpc.deploy(&deploy::WALLET, arguments).await;
        let config = ChannelConfig { receiverAuthorizer: wallet, ..channel(1) };
        done(&rpc, &SENDER, deposit(&config, 1_000)).await;
        let rows = [row(&config, &VOUCHER_KEY, 500, 100)];
        let refused = refusal(&rpc, SENDER.address, batch(&rows, &STRANGER)).await;
        assert_eq!(refused, Channels::InvalidSignature::SELECTOR);
        done(&rpc, &SENDER, batch(&rows, &AUTHORIZER)).await;
        let refused = refusal(&rpc, SENDER.address, signed_refund(&config, 50, 0, &STRANGER)).await;
        assert_eq!(refused, Channels::InvalidSignature::SELECTOR);
        done(&rpc, &SENDER, signed_refund(&config, 50, 0, &AUTHORIZER)).await;
        assert_eq!(state(&rpc, &config).await, (950, 100));
        // Not a word of what it says is believed but the one that means yes.
        let yes = "0x631626ba7e60e01b60005260206000f3";
        let refusals =
            ["0x00", "0x600160005260206000f3", "0x631626ba7e60005260206000f3", &yes.replace("6020", "6004")];
        for code in refusals {
            rpc.ok("anvil_setCode", json!([wallet, code])).await;
            let refused = refusal(&rpc, SENDER.address, signed_refund(&config, 50, 1, &AUTHORIZER)).await;
            assert_eq!(refused, Channels::InvalidSignature::SELECTOR, "{code}");
        }
        rpc.ok("anvil_setCode", json!([wallet, yes])).await;
        done(&rpc, &SENDER, signed_refund(&config, 50, 1, &AUTHORIZER)).await;
    }
}

#[tokio::test]
async fn only_a_whole_yes_of_an_account_is_its_signature() {
    for rpc in nodes().await.rpcs {
        // The word for yes: no more than its first four bytes; as the reason of a revert; as it should be.
        for (salt, (ending, is_yes)) in
            (1..).zip([("60046000f3", false), ("60206000fd", false), ("60206000f3", true)])
        {
            let account = Address::repeat_byte(0x77);
            let code = format!("0x631626ba7e60e01b600052{ending}");
            rpc.ok("anvil_setCode", json!([account, code])).await;
            let config = ChannelConfig { receiverAuthorizer: account, ..channel(salt) };
            done(&rpc, &SENDER, deposit(&config, 1_000)).await;
            let call = batch(&[row(&config, &VOUCHER_KEY, 500, 300)], &STRANGER);
            if is_yes {
                done(&rpc, &SENDER, call).await;
            } else {
                let refused = refusal(&rpc, SENDER.address, call).await;
                assert_eq!(refused, Channels::InvalidSignature::SELECTOR, "{ending}");
            }
            assert_eq!(state(&rpc, &config).await.1, if is_yes { 300 } else { 0 });
        }
    }
}

#[tokio::test]
async fn what_no_key_signed_is_not_signed_by_the_zero_address() {
    for rpc in nodes().await.rpcs {
        let config = ChannelConfig { receiverAuthorizer: Address::ZERO, ..channel(1) };
        let nothing = Bytes::from(vec![0; 65]);
        let claims = Channels::claimWithSignatureCall {
            voucherClaims: vec![row(&config, &VOUCHER_KEY, 0, 0)],
            authorizerSignature: nothing.clone(),
        };
        let refused = refusal(&rpc, STRANGER.address, claims).await;
        assert_eq!(refused, Channels::InvalidSignature::SELECTOR);
        let refund = Channels::refundWithSignatureCall {
            receiverAuthorizerSignature: nothing,
            ..signed_refund(&config, 1, 0, &STRANGER)
        };
        let refused = refusal(&rpc, STRANGER.address, refund).await;
        assert_eq!(refused, Channels::InvalidSignature::SELECTOR);
    }
}

#[tokio::test]
async fn a_signature_for_one_thing_is_none_for_another() {
    for rpc in nodes().await.rpcs {
        // The same key signs for both sides.
        let config = ChannelConfig { receiverAuthorizer: VOUCHER_KEY.address, ..channel(1) };
        done(&rpc, &SENDER, deposit(&config, 1_000)).await;
        let voucher = row(&config, &VOUCHER_KEY, 500, 500);
        let call = batch(std::slice::from_ref(&voucher), &VOUCHER_KEY);
        let refund = signed_refund(&config, 500, 0, &VOUCHER_KEY);
        for signature in [&voucher.signature, &call.authorizerSignature] {
            let mut other = refund.clone();
            other.receiverAuthorizerSignature = signature.clone();
            let refused = refusal(&rpc, SENDER.address, other).await;
            assert_eq!(refused, Channels::InvalidSignature::SELECTOR);
        }
        for signature in [&voucher.signature, &refund.receiverAuthorizerSignature] {
            let mut other = call.clone();
            other.authorizerSignature = signature.clone();
            let refused = refusal(&rpc, SENDER.address, other).await;
            assert_eq!(refused, Channels::InvalidSignature::SELECTOR);
        }
        for signature in [&call.authorizerSignature, &refund.receiverAuthorizerSignature] {
            let row = VoucherClaim { signature: signature.clone(), ..voucher.clone() };
            let refused = refusal(&rpc, SENDER.address, batch(&[row], &VOUCHER_KEY)).await;
            assert_eq!(refused, Channels::InvalidSignature::SELECTOR);
        }
    }
}

#[tokio::test]
async fn anybody_has_a_receiver_paid_and_once() {
    for rpc in nodes().await.rpcs {
        let config = channel(1);
        done(&rpc, &SENDER, deposit(&config, 1_000)).await;
        let settle = Channels::settleCall { receiver: RECEIVER.address, token: USDC };
        assert_eq!(done(&rpc, &STRANGER, settle.clone()).await, [], "nothing is claimed");
        done(&rpc, &STRANGER, claim(&config, 500, 300)).await;
        done(&rpc, &STRANGER, claim(&config, 500, 400)).await;
        let before = rpc.balance_of(RECEIVER.address).await;
        let logs = done(&rpc, &STRANGER, settle.clone()).await;
        let [settled] = <[Channels::Settled; 1]>::try_from(events(&logs)).unwrap();
        assert_eq!((settled.receiver, settled.token), (RECEIVER.address, USDC));
        assert_eq!((settled.sender, settled.amount), (STRANGER.address, 400));
        assert_eq!(done(&rpc, &STRANGER, settle).await, []);
        assert_eq!(rpc.balance_of(RECEIVER.address).await - before, U256::from(400));
        assert_eq!(credit(&rpc, RECEIVER.address, USDC).await, (400, 400));
        assert_conserved(&rpc, USDC, &[config], &[RECEIVER.address]).await;
    }
}

#[tokio::test]
async fn a_refund_gives_back_what_is_unclaimed_and_moves_the_nonce_first() {
    for rpc in nodes().await.rpcs {
        let config = channel(1);
        done(&rpc, &SENDER, deposit(&config, 1_000)).await;
        done(&rpc, &SENDER, claim(&config, 500, 300)).await;
        for other in [PAYER, VOUCHER_KEY, STRANGER] {
            let refused = refusal(&rpc, other.address, refund(&config, 1)).await;
            assert_eq!(refused, Channels::NotAuthorizedToRefund::SELECTOR);
            let refused = refusal(&rpc, SENDER.address, signed_refund(&config, 1, 0, &other)).await;
            assert_eq!(refused, Channels::InvalidSignature::SELECTOR);
        }
        let zero = Channels::ZeroRefund::SELECTOR;
        assert_eq!(refusal(&rpc, RECEIVER.address, refund(&config, 0)).await, zero);
        let refused = refusal(&rpc, SENDER.address, signed_refund(&config, 0, 0, &AUTHORIZER)).await;
        assert_eq!(refused, zero);
        let mut other = signed_refund(&config, 100, 0, &AUTHORIZER);
        other.amount = 101;
        let refused = refusal(&rpc, SENDER.address, other).await;
        assert_eq!(refused, Channels::InvalidSignature::SELECTOR);

        let presigned = signed_refund(&config, 100, 0, &AUTHORIZER);
        let before = rpc.balance_of(PAYER.address).await;
        let logs = done(&rpc, &RECEIVER, refund(&config, 50)).await;
        let [refunded] = <[Channels::Refunded; 1]>::try_from(events(&logs)).unwrap();
        assert_eq!(
            (refunded.channelId, refunded.sender, refunded.amount),
            (id(&config), RECEIVER.address, 50)
        );
        assert_eq!(nonce(&rpc, &config).await, U256::from(1));
        let late = refusal(&rpc, SENDER.address, presigned).await;
        assert_eq!(late, Channels::InvalidRefundNonce::SELECTOR, "a direct refund came before it");
        done(&rpc, &STRANGER, signed_refund(&config, 10_000, 1, &AUTHORIZER)).await;
        assert_eq!(state(&rpc, &config).await, (300, 300));
        assert_eq!(rpc.balance_of(PAYER.address).await - before, U256::from(700));
        // Nothing is left, and the nonce moves all the same.
        let again = refusal(&rpc, SENDER.address, signed_refund(&config, 10_000, 1, &AUTHORIZER)).await;
        assert_eq!(again, Channels::InvalidRefundNonce::SELECTOR);
        assert_eq!(done(&rpc, &AUTHORIZER, refund(&config, 1)).await, []);
        assert_eq!(done(&rpc, &STRANGER, signed_refund(&config, 1, 3, &AUTHORIZER)).await, []);
        assert_eq!(nonce(&rpc, &config).await, U256::from(4));
        assert_conserved(&rpc, USDC, &[config], &[RECEIVER.address]).await;
    }
}

#[tokio::test]
async fn a_channel_closes_when_it_is_empty_and_was_never_claimed_from() {
    for rpc in nodes().await.rpcs {
        let config = channel(1);
        for round in 0..2 {
            let logs = done(&rpc, &SENDER, deposit(&config, 100)).await;
            assert_eq!(events::<Channels::ChannelCreated>(&logs).len(), 1, "{round}");
            let logs = done(&rpc, &RECEIVER, refund(&config, 99)).await;
            assert!(events::<Channels::ChannelClosed>(&logs).is_empty());
            let logs = done(&rpc, &RECEIVER, refund(&config, 1)).await;
            let [closed] = <[Channels::ChannelClosed; 1]>::try_from(events(&logs)).unwrap();
            assert_eq!((closed.channelId, &closed.config), (id(&config), &config));
        }
        done(&rpc, &SENDER, deposit(&config, 100)).await;
        done(&rpc, &PAYER, initiate(&config, 100)).await;
        wait(&rpc, DELAY_SECONDS + 1).await;
        let logs = done(&rpc, &PAYER, finalize(&config)).await;
        assert_eq!(events::<Channels::ChannelClosed>(&logs).len(), 1);
        // A channel that was claimed from stays.
        done(&rpc, &SENDER, deposit(&config, 100)).await;
        done(&rpc, &SENDER, claim(&config, 10, 10)).await;
        let logs = done(&rpc, &RECEIVER, refund(&config, 90)).await;
        assert!(events::<Channels::ChannelClosed>(&logs).is_empty());
        assert_eq!(state(&rpc, &config).await, (10, 10));
    }
}

#[tokio::test]
async fn the_payers_side_withdraws_after_the_delay_what_was_not_claimed() {
    for rpc in nodes().await.rpcs {
        let config = channel(1);
        done(&rpc, &SENDER, deposit(&config, 1_000)).await;
        done(&rpc, &SENDER, claim(&config, 900, 100)).await;
        for other in [RECEIVER, AUTHORIZER, STRANGER] {
            let refused = refusal(&rpc, other.address, initiate(&config, 1)).await;
            assert_eq!(refused, Channels::InvalidChannel::SELECTOR);
            let refused = refusal(&rpc, other.address, finalize(&config)).await;
            assert_eq!(refused, Channels::NotAuthorizedToFinalizeWithdraw::SELECTOR);
        }
        let from = PAYER.address;
        assert_eq!(refusal(&rpc, from, initiate(&config, 0)).await, Channels::NothingToWithdraw::SELECTOR);
        let refused = refusal(&rpc, from, initiate(&config, 901)).await;
        assert_eq!(refused, Channels::WithdrawAmountExceedsAvailable::SELECTOR);
        assert_eq!(refusal(&rpc, from, finalize(&config)).await, Channels::WithdrawalNotPending::SELECTOR);
        let logs = done(&rpc, &VOUCHER_KEY, initiate(&config, 900)).await;
        let [begun] = <[Channels::WithdrawInitiated; 1]>::try_from(events(&logs)).unwrap();
        let (amount, since) = pending(&rpc, &config).await;
        assert_eq!((begun.channelId, begun.amount, amount), (id(&config), 900, 900));
        assert_eq!(begun.finalizeAfter, U40::from(since + DELAY_SECONDS));
        let refused = refusal(&rpc, from, initiate(&config, 1)).await;
        assert_eq!(refused, Channels::WithdrawalAlreadyPending::SELECTOR);
        // In the meantime the receiver claims.
        done(&rpc, &SENDER, claim(&config, 900, 400)).await;
        let early = Channels::WithdrawDelayNotElapsed::SELECTOR;
        assert_eq!(refusal(&rpc, from, finalize(&config)).await, early);
        let head = rpc.ok("eth_getBlockByNumber", json!(["latest", false])).await;
        wait(&rpc, since + DELAY_SECONDS - 60 - quantity(&head["timestamp"])).await;
        assert_eq!(refusal(&rpc, from, finalize(&config)).await, early);
        // To the second.
        let at = async |second: u64| rpc.ok("evm_setNextBlockTimestamp", json!([second])).await;
        at(since + DELAY_SECONDS - 1).await;
        let receipt = rpc.send_from(&VOUCHER_KEY, BATCH_SETTLEMENT, finalize(&config)).await;
        assert_eq!(receipt["status"], "0x0", "a second too early");
        at(since + DELAY_SECONDS).await;
        let before = rpc.balance_of(PAYER.address).await;
        let logs = done(&rpc, &VOUCHER_KEY, finalize(&config)).await;
        let [ended] = <[Channels::WithdrawFinalized; 1]>::try_from(events(&logs)).unwrap();
        assert_eq!((ended.sender, ended.amount), (VOUCHER_KEY.address, 600));
        assert_eq!(rpc.balance_of(PAYER.address).await - before, U256::from(600));
        assert_eq!((state(&rpc, &config).await, pending(&rpc, &config).await), ((400, 400), (0, 0)));
        let late = refusal(&rpc, SENDER.address, claim(&config, 900, 401)).await;
        assert_eq!(late, Channels::ClaimExceedsBalance::SELECTOR, "what was withdrawn is gone");
        assert_eq!(refusal(&rpc, from, finalize(&config)).await, Channels::WithdrawalNotPending::SELECTOR);
        assert_conserved(&rpc, USDC, &[config], &[RECEIVER.address]).await;
    }
}

#[tokio::test]
async fn a_withdrawal_of_which_all_was_claimed_ends_with_nothing() {
    for rpc in nodes().await.rpcs {
        let config = channel(1);
        done(&rpc, &SENDER, deposit(&config, 100)).await;
        done(&rpc, &PAYER, initiate(&config, 100)).await;
        done(&rpc, &SENDER, claim(&config, 100, 100)).await;
        wait(&rpc, DELAY_SECONDS + 1).await;
        let receipt = rpc.send_from(&PAYER, BATCH_SETTLEMENT, finalize(&config)).await;
        assert_eq!(receipt["logs"].as_array().unwrap().len(), 1, "no transfer");
        assert_eq!((state(&rpc, &config).await, pending(&rpc, &config).await), ((100, 100), (0, 0)));
    }
}

#[tokio::test]
async fn a_refund_shrinks_the_withdrawal_that_waits() {
    for rpc in nodes().await.rpcs {
        let config = channel(1);
        done(&rpc, &SENDER, deposit(&config, 1_000)).await;
        done(&rpc, &PAYER, initiate(&config, 600)).await;
        let since = pending(&rpc, &config).await.1;
        done(&rpc, &RECEIVER, refund(&config, 150)).await;
        assert_eq!(pending(&rpc, &config).await, (450, since), "the delay goes on");
        done(&rpc, &SENDER, signed_refund(&config, 449, 1, &AUTHORIZER)).await;
        assert_eq!(pending(&rpc, &config).await, (1, since));
        done(&rpc, &RECEIVER, refund(&config, 1)).await;
        assert_eq!(pending(&rpc, &config).await, (0, 0), "it is cancelled");
        wait(&rpc, DELAY_SECONDS + 1).await;
        let refused = refusal(&rpc, PAYER.address, finalize(&config)).await;
        assert_eq!(refused, Channels::WithdrawalNotPending::SELECTOR);
        done(&rpc, &PAYER, initiate(&config, 400)).await;
        done(&rpc, &RECEIVER, refund(&config, 10_000)).await;
        assert_eq!((state(&rpc, &config).await, pending(&rpc, &config).await), ((0, 0), (0, 0)));
        assert_conserved(&rpc, USDC, &[config], &[RECEIVER.address]).await;
    }
}

#[tokio::test]
async fn several_calls_in_one_are_all_done_or_none() {
    for rpc in nodes().await.rpcs {
        let config = channel(1);
        done(&rpc, &SENDER, deposit(&config, 1_000)).await;
        let both = |nonce| Channels::multicallCall {
            data: vec![
                claim(&config, 500, 300).abi_encode().into(),
                signed_refund(&config, 10_000, nonce, &AUTHORIZER).abi_encode().into(),
            ],
        };
        let refused = refusal(&rpc, STRANGER.address, both(1)).await;
        assert_eq!(refused, Channels::InvalidRefundNonce::SELECTOR);
        let unknown = Channels::multicallCall { data: vec![Bytes::from_static(&[1, 2, 3, 4])] };
        assert_eq!(refusal(&rpc, STRANGER.address, unknown).await, Channels::FailedCall::SELECTOR);
        let logs = done(&rpc, &STRANGER, both(0)).await;
        // Whoever sends it is the sender of each.
        assert_eq!(events::<Channels::Claimed>(&logs)[0].sender, STRANGER.address);
        assert_eq!(events::<Channels::Refunded>(&logs)[0].amount, 700);
        assert_eq!(state(&rpc, &config).await, (300, 300));
        // And is let in no further than alone.
        let refund = refund(&config, 1).abi_encode().into();
        let refused = refusal(&rpc, STRANGER.address, Channels::multicallCall { data: vec![refund] }).await;
        assert_eq!(refused, Channels::NotAuthorizedToRefund::SELECTOR);
        let ids = vec![Channels::getChannelIdCall { config: config.clone() }.abi_encode().into()];
        let answers = rpc.ask(BATCH_SETTLEMENT, Channels::multicallCall { data: ids }).await;
        assert_eq!(answers, [Bytes::from(id(&config).to_vec())]);
    }
}
