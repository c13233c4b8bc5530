//! The seven ways in which a settlement can leave its fate open: never a second charge, never an answer for nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tollway_core::model::{FacilitatorRequest, SettleResponse, SupportedResponse, VerifyResponse};
use tollway_core::{BoxFuture, ErrorCode, Facilitator, FacilitatorError};
use tollway_ledger::MemoryLedger;
use tollway_seller::{BackgroundLimits, Paywall, Priced, StoredResponses};

use crate::doubles::{BASE, Buyer, PAY_TO, base, kinds};
use crate::stall::{Stall, content};

/// What the facilitator does with the first settlement of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// It takes the payment, and answers after the caller's deadline.
    AcceptThenTimeOut,
    /// It settles, and answers 5xx.
    ErrorAfterSettle,
    /// It says twice that the payment failed, and then settles it.
    DoubleFailure,
    /// It settles in its own time, within the deadline.
    Slow,
    /// It settles, tells nobody, and cannot be asked for a while.
    ReconcileUnavailable,
    /// It was never reached, and says so.
    DeclaredSafe,
    /// It settles.
    Clean,
}

const MODES: [Mode; 7] = [
    Mode::AcceptThenTimeOut,
    Mode::ErrorAfterSettle,
    Mode::DoubleFailure,
    Mode::Slow,
    Mode::ReconcileUnavailable,
    Mode::DeclaredSafe,
    Mode::Clean,
];

/// Moves each authorization's money once, and answers as its mode has it.
#[derive(Debug)]
struct Moody {
    mode: Mode,
    asked: AtomicUsize,
    /// How often the money of each nonce was moved, and by what.
    moved: Mutex<HashMap<String, String>>,
}

impl Moody {
    fn transfer(&self, request: &FacilitatorRequest) -> SettleResponse {
        let authorization = &request.payment.payload["authorization"];
        let nonce = authorization["nonce"].as_str().unwrap().to_owned();
        let mut moved = self.moved.lock().unwrap();
        let number = moved.len();
        let hash = moved.entry(nonce).or_insert_with(|| format!("0x{number:064x}")).clone();
        SettleResponse::settled(base(), authorization["from"].as_str().unwrap(), hash)
    }

    async fn answer(&self, request: FacilitatorRequest) -> Result<SettleResponse, FacilitatorError> {
        let time = self.asked.fetch_add(1, Ordering::SeqCst);
        let no_answer = || Err(FacilitatorError::NoAnswer("cut".to_owned()));
        match (self.mode, time) {
            (Mode::AcceptThenTimeOut, 0) => {
                let settled = self.transfer(&request);
                tokio::time::sleep(Duration::from_secs(3600)).await;
                Ok(settled)
            }
            (Mode::ErrorAfterSettle, 0) => {
                self.transfer(&request);
                Err(FacilitatorError::Busy("status 503".to_owned()))
            }
            (Mode::DoubleFailure, 0 | 1) => Ok(SettleResponse::failed(
                base(),
                Some(ErrorCode::INSUFFICIENT_FUNDS),
                "the balance is too low",
            )),
            (Mode::Slow, 0) => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(self.transfer(&request))
            }
            (Mode::ReconcileUnavailable, 0..4) => {
                self.transfer(&request);
                no_answer()
            }
            (Mode::DeclaredSafe, 0) => Err(FacilitatorError::Unreachable("refused".to_owned())),
            _ => Ok(self.transfer(&request)),
        }
    }
}

impl Facilitator for Moody {
    fn verify(&self, request: FacilitatorRequest) -> BoxFuture<'_, Result<VerifyResponse, FacilitatorError>> {
        let payer = request.payment.payload["authorization"]["from"].as_str().unwrap().to_owned();
        Box::pin(std::future::ready(Ok(VerifyResponse::valid(payer))))
    }

    fn settle(&self, request: FacilitatorRequest) -> BoxFuture<'_, Result<SettleResponse, FacilitatorError>> {
        Box::pin(self.answer(request))
    }

    fn supported(&self) -> BoxFuture<'_, Result<SupportedResponse, FacilitatorError>> {
        let supported = SupportedResponse { kinds: kinds(&[BASE]), ..Default::default() };
        Box::pin(std::future::ready(Ok(supported)))
    }
}

/// Buys once, presenting the same payment until it is answered; what was charged, and how often it was served.
async fn purchase(mode: Mode, refine: impl FnOnce(Priced) -> Priced, is_background: bool) {
    let moody = Arc::new(Moody { mode, asked: AtomicUsize::default(), moved: Mutex::default() });
    let builder = Paywall::builder("https://api.example.com")
        .accept(BASE, PAY_TO)
        .shared_facilitator(Arc::clone(&moody) as Arc<dyn Facilitator>)
        .ledger(Arc::new(MemoryLedger::new()))
        .stored_responses(StoredResponses::off())
        .settle_timeout_ms(5_000)
        .pending_wait_ms(10);
    let stall = Stall::with(builder, refine, content(Duration::from_millis(5))).await;
    let signed = stall.sign(&Buyer::new()).await;
    let mut served = 0;
    for _ in 0..20 {
        let answer = stall.present(&signed).await;
        let is_paid_for = is_background || moody.moved.lock().unwrap().len() == 1;
        if answer.status == 200 {
            served += 1;
            assert!(is_paid_for, "{mode:?}: nothing for nothing");
            assert_eq!(answer.body, "paid content");
        } else {
            assert!(!answer.body.contains("paid content"), "{mode:?}");
            if served == 0 && mode != Mode::DoubleFailure {
                assert!(matches!(answer.status, 409 | 503), "{mode:?}: unknown is not failed: {answer:?}");
            }
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(served, 1, "{mode:?}: one purchase, one answer");
    assert!(moody.moved.lock().unwrap().len() <= 1, "{mode:?}: one charge at most");
    if !is_background {
        assert_eq!(moody.moved.lock().unwrap().len(), 1, "{mode:?}: and it is charged");
    }
}

#[tokio::test(start_paused = true)]
async fn seven_ambiguous_failures_charge_once_and_serve_once_after_the_handler() {
    for mode in MODES {
        purchase(mode, |priced| priced, false).await;
    }
}

#[tokio::test(start_paused = true)]
async fn seven_ambiguous_failures_charge_once_and_serve_once_upfront() {
    for mode in MODES {
        purchase(mode, Priced::upfront, false).await;
    }
}

#[tokio::test(start_paused = true)]
async fn seven_ambiguous_failures_charge_once_and_serve_once_in_the_background() {
    for mode in MODES {
        let limits = || BackgroundLimits { per_payer: "$1".parse().unwrap(), in_all: "$1".parse().unwrap() };
        purchase(mode, |priced| priced.background(limits()).unwrap(), true).await;
    }
}
