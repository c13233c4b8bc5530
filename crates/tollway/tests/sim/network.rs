//! The networks between processes: they delay, lose requests, lose answers, and deliver twice.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use alloy_json_rpc::{RequestPacket, ResponsePacket};
use alloy_transport::{TransportError, TransportErrorKind, TransportFut};
use parking_lot::Mutex;
use tollway_core::model::{FacilitatorRequest, SettleResponse, SupportedResponse, VerifyResponse};
use tollway_core::{BoxFuture, Facilitator, FacilitatorError};
use tollway_devnet::DevnetTransport;
use tollway_facilitator::Engine;
use tower::Service;

use crate::dice::Dice;
use crate::process::Process;

/// How often, in ten thousand messages.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NetworkRisk {
    pub(crate) request_lost: u64,
    pub(crate) answer_lost: u64,
    pub(crate) twice: u64,
    pub(crate) delay: Duration,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Luck {
    Fine,
    RequestLost,
    AnswerLost,
    Twice,
}

impl NetworkRisk {
    pub(crate) fn luck(&self, dice: &Dice) -> Luck {
        if dice.happens(self.request_lost) {
            Luck::RequestLost
        } else if dice.happens(self.answer_lost) {
            Luck::AnswerLost
        } else if dice.happens(self.twice) {
            Luck::Twice
        } else {
            Luck::Fine
        }
    }

    pub(crate) async fn travel(&self, dice: &Dice) {
        tokio::time::sleep(dice.pause(self.delay)).await;
    }
}

/// How long a connection stands open before either end gives up on it.
pub(crate) const BROKEN_AFTER: Duration = Duration::from_secs(30);

/// A process's way to the node.
#[derive(Clone, Debug)]
pub(crate) struct NodeLink {
    pub(crate) node: DevnetTransport,
    pub(crate) process: Process,
    pub(crate) dice: Dice,
    pub(crate) risk: NetworkRisk,
}

impl Service<RequestPacket> for NodeLink {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let mut link = self.clone();
        Box::pin(async move {
            link.process.live();
            link.risk.travel(&link.dice).await;
            let luck = link.risk.luck(&link.dice);
            if luck == Luck::RequestLost {
                tokio::time::sleep(BROKEN_AFTER).await;
                return Err(TransportErrorKind::custom_str("the connection broke"));
            }
            link.process.live();
            let answer = link.node.call(packet).await;
            link.risk.travel(&link.dice).await;
            link.process.live();
            if luck == Luck::AnswerLost {
                return Err(TransportErrorKind::custom_str("the connection broke"));
            }
            answer
        })
    }
}

/// The facilitators as sellers see them: one name, whichever process lives.
#[derive(Debug)]
pub(crate) struct Facilitators {
    pub(crate) slots: Vec<Mutex<Option<(Process, Engine)>>>,
}

impl Facilitators {
    fn any(&self, dice: &Dice) -> Option<(Process, Engine)> {
        let first = dice.below(self.slots.len() as u64) as usize;
        (0..self.slots.len())
            .map(|offset| (first + offset) % self.slots.len())
            .find_map(|index| self.slots[index].lock().clone().filter(|(process, _)| !process.is_dead()))
    }
}

/// A seller's way to the facilitators.
#[derive(Clone, Debug)]
pub(crate) struct FacilitatorLink {
    pub(crate) facilitators: Arc<Facilitators>,
    pub(crate) process: Process,
    pub(crate) dice: Dice,
    pub(crate) risk: NetworkRisk,
}

impl FacilitatorLink {
    async fn ask<T, F>(&self, call: impl Fn(Engine) -> F) -> Result<T, FacilitatorError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, FacilitatorError>> + Send + 'static,
    {
        self.process.live();
        self.risk.travel(&self.dice).await;
        let broke = || FacilitatorError::NoAnswer("the connection broke".to_owned());
        let Some((facilitator, engine)) = self.facilitators.any(&self.dice) else {
            return Err(FacilitatorError::Unreachable("connection refused".to_owned()));
        };
        let luck = self.risk.luck(&self.dice);
        if luck == Luck::RequestLost {
            tokio::time::sleep(BROKEN_AFTER).await;
            return Err(broke());
        }
        if luck == Luck::Twice {
            let (facilitator, copy) = (facilitator.clone(), call(engine.clone()));
            tokio::spawn(async move { facilitator.serve(copy).await });
        }
        self.process.live();
        let answer = facilitator.serve(call(engine)).await;
        self.risk.travel(&self.dice).await;
        self.process.live();
        match answer {
            Some(answer) if luck != Luck::AnswerLost => answer,
            _ => Err(broke()),
        }
    }
}

impl Facilitator for FacilitatorLink {
    fn verify(&self, request: FacilitatorRequest) -> BoxFuture<'_, Result<VerifyResponse, FacilitatorError>> {
        Box::pin(self.ask(move |engine| {
            let request = request.clone();
            async move { engine.verify(request).await }
        }))
    }

    fn settle(&self, request: FacilitatorRequest) -> BoxFuture<'_, Result<SettleResponse, FacilitatorError>> {
        Box::pin(self.ask(move |engine| {
            let request = request.clone();
            async move { engine.settle(request).await }
        }))
    }

    fn supported(&self) -> BoxFuture<'_, Result<SupportedResponse, FacilitatorError>> {
        Box::pin(self.ask(|engine| async move { engine.supported().await }))
    }
}
