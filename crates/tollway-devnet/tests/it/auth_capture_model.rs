//! Random lives of payments against a model of them: the escrow refuses what the model refuses, for the same reason,
//! and no unit of money is made or lost.

use alloy_primitives::{Address, U256};
use alloy_sol_types::{SolCall, SolError};
use tollway_core::{Clock, UnixTime};
use tollway_devnet::auth_capture::V1_1;

use crate::auth_capture::{Escrow, FEES, NOW, OPERATOR, PAYER, PaymentInfo, RECEIVER, Scene, capture, terms};

/// What is asked of a payment.
#[derive(Clone, Copy, Debug)]
enum Step {
    Authorize(u64),
    Charge { amount: u64, fee: u64 },
    Capture { amount: u64, fee: u64 },
    Void,
    Reclaim,
    Refund(u64),
    Wait(u64),
}

/// A payment as it should be.
#[derive(Clone, Debug, Default)]
struct Model {
    collected: bool,
    capturable: u64,
    refundable: u64,
    /// What left the payer, net.
    paid: u64,
    received: u64,
    fees: u64,
    /// What the operator gave for refunds.
    refunded: u64,
}

impl Model {
    /// Does it, or says with which error the escrow refuses. The order is the escrow's own.
    fn take(&mut self, info: &PaymentInfo, step: Step, now: u64) -> Result<(), [u8; 4]> {
        let max: u64 = info.maxAmount.to();
        let (collectable, capturable, refundable): (u64, u64, u64) =
            (info.preApprovalExpiry.to(), info.authorizationExpiry.to(), info.refundExpiry.to());
        match step {
            Step::Authorize(amount) | Step::Charge { amount, .. } => {
                check(amount != 0, Escrow::ZeroAmount::SELECTOR)?;
                check(amount <= max, Escrow::ExceedsMaxAmount::SELECTOR)?;
                check(now < collectable, Escrow::AfterPreApprovalExpiry::SELECTOR)?;
                if let Step::Charge { amount, fee } = step {
                    fee_in_range(info, amount, fee)?;
                }
                check(!self.collected, Escrow::PaymentAlreadyCollected::SELECTOR)?;
                (self.collected, self.paid) = (true, amount);
                match step {
                    Step::Charge { fee, .. } => self.pay_out(amount, fee),
                    _ => self.capturable = amount,
                }
            }
            Step::Capture { amount, fee } => {
                check(amount != 0, Escrow::ZeroAmount::SELECTOR)?;
                fee_in_range(info, amount, fee)?;
                check(now < capturable, Escrow::AfterAuthorizationExpiry::SELECTOR)?;
                check(amount <= self.capturable, Escrow::InsufficientAuthorization::SELECTOR)?;
                self.capturable -= amount;
                self.pay_out(amount, fee);
            }
            Step::Void | Step::Reclaim => {
                let early = matches!(step, Step::Reclaim) && now < capturable;
                check(!early, Escrow::BeforeAuthorizationExpiry::SELECTOR)?;
                check(self.capturable != 0, Escrow::ZeroAuthorization::SELECTOR)?;
                self.paid -= self.capturable;
                self.capturable = 0;
            }
            Step::Refund(amount) => {
                check(amount != 0, Escrow::ZeroAmount::SELECTOR)?;
                check(now < refundable, Escrow::AfterRefundExpiry::SELECTOR)?;
                check(amount <= self.refundable, Escrow::RefundExceedsCapture::SELECTOR)?;
                self.refundable -= amount;
                self.refunded += amount;
                self.paid -= amount;
            }
            Step::Wait(_) => {}
        }
        Ok(())
    }

    fn pay_out(&mut self, amount: u64, fee: u64) {
        self.refundable += amount;
        self.received += amount - fee;
        self.fees += fee;
    }
}

fn check(holds: bool, error: [u8; 4]) -> Result<(), [u8; 4]> {
    if holds { Ok(()) } else { Err(error) }
}

fn fee_in_range(info: &PaymentInfo, amount: u64, fee: u64) -> Result<(), [u8; 4]> {
    let bound = |bps: u16| amount * u64::from(bps) / 10_000;
    let within = (bound(info.minFeeBps)..=bound(info.maxFeeBps)).contains(&fee);
    check(within, Escrow::FeeAmountOutOfRange::SELECTOR)
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

    /// Mostly what fits, sometimes nothing, sometimes too much.
    fn amount(&mut self, fits: u64) -> u64 {
        match self.below(8) {
            0 => 0,
            1 => fits + 1,
            2 => fits,
            _ => self.below(fits + 1),
        }
    }

    fn fee(&mut self, info: &PaymentInfo, amount: u64) -> u64 {
        let bound = |bps: u16| amount * u64::from(bps) / 10_000;
        let (least, most) = (bound(info.minFeeBps), bound(info.maxFeeBps));
        match self.below(6) {
            0 => most + 1,
            1 => least.saturating_sub(1),
            2 => most,
            _ => least + self.below(most - least + 1),
        }
    }

    fn step(&mut self, info: &PaymentInfo, model: &Model) -> Step {
        match self.below(12) {
            0 | 1 if !model.collected => Step::Authorize(self.amount(info.maxAmount.to())),
            2 if !model.collected => {
                let amount = self.amount(info.maxAmount.to());
                Step::Charge { amount, fee: self.fee(info, amount) }
            }
            3 => Step::Authorize(info.maxAmount.to()),
            4..=6 => {
                let amount = self.amount(model.capturable);
                Step::Capture { amount, fee: self.fee(info, amount) }
            }
            7 | 8 => Step::Refund(self.amount(model.refundable)),
            9 => Step::Void,
            10 => Step::Reclaim,
            _ => Step::Wait(self.below(1_500)),
        }
    }
}

fn encoded(scene: &Scene, info: &PaymentInfo, step: Step) -> Vec<u8> {
    let to = info.feeReceiver;
    match step {
        Step::Authorize(amount) => scene.authorize(info, amount),
        Step::Charge { amount, fee } => scene.charge(info, amount, fee, to),
        Step::Capture { amount, fee } => capture(info, amount, fee, to),
        Step::Void => Escrow::voidCall { paymentInfo: info.clone() }.abi_encode(),
        Step::Reclaim => Escrow::reclaimCall { paymentInfo: info.clone() }.abi_encode(),
        Step::Refund(amount) => scene.refund(info, amount),
        Step::Wait(_) => Vec::new(),
    }
}

#[tokio::test]
async fn whatever_is_asked_of_it_the_escrow_keeps_to_the_model_and_money_is_conserved() {
    let scene = Scene::new(V1_1).await;
    let store = scene.ask(V1_1.escrow, Escrow::getTokenStoreCall { operator: OPERATOR.address }).await;
    let everybody = [PAYER.address, RECEIVER, FEES, OPERATOR.address, store];
    let mut dice = Dice(0xca97);
    let (mut done, mut refused) = (0, 0);
    for salt in 0..60 {
        let began = scene.clock.now().0 - NOW;
        let mut info = terms(salt);
        for expiry in [&mut info.preApprovalExpiry, &mut info.authorizationExpiry, &mut info.refundExpiry] {
            *expiry += alloy_primitives::aliases::U48::from(began);
        }
        info.minFeeBps = dice.below(200) as u16;
        info.maxFeeBps = info.minFeeBps + dice.below(300) as u16;
        let mut model = Model::default();
        let before = balances(&scene, &everybody).await;
        for _ in 0..14 {
            let step = dice.step(&info, &model);
            if let Step::Wait(seconds) = step {
                scene.clock.set(UnixTime(scene.clock.now().0 + seconds));
                continue;
            }
            let from = if matches!(step, Step::Reclaim) { PAYER } else { OPERATOR };
            let data = encoded(&scene, &info, step);
            let expected = model.take(&info, step, scene.clock.now().0).err();
            assert_eq!(scene.refusal(from.address, &data).await, expected, "{step:?} on {model:?}");
            if expected.is_some() {
                refused += 1;
                continue;
            }
            scene.done(&from, V1_1.escrow, &data).await;
            done += 1;
            assert_eq!(scene.state(&info).await, (model.collected, model.capturable, model.refundable));
        }
        let after = balances(&scene, &everybody).await;
        let moved = |index: usize| after[index].wrapping_sub(before[index]);
        assert_eq!(moved(0), U256::ZERO.wrapping_sub(U256::from(model.paid)), "the payer");
        assert_eq!(moved(1), U256::from(model.received), "the receiver");
        assert_eq!(moved(2), U256::from(model.fees), "the fees");
        assert_eq!(moved(3), U256::ZERO.wrapping_sub(U256::from(model.refunded)), "the operator");
        assert_eq!(moved(4), U256::from(model.capturable), "the store");
        assert_eq!(model.paid + model.refunded, model.received + model.fees + model.capturable);
    }
    assert!(done > 120 && refused > 120, "{done} done, {refused} refused");
}

async fn balances(scene: &Scene, holders: &[Address]) -> Vec<U256> {
    let mut all = Vec::new();
    for holder in holders {
        all.push(scene.balance(*holder).await);
    }
    all
}
