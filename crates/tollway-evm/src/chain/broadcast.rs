//! One raw transaction to several nodes. It is the same bytes wherever it goes, so it does not matter how many take it.
//!
//! One that takes it is enough. A refusal counts only if every node that was asked refused: who gave no answer may have
//! taken it. Of several refusals that one is told by which it may still be out.

use std::sync::Arc;

use alloy_json_rpc::{RequestPacket, ResponsePacket, ResponsePayload};
use alloy_transport::TransportError;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::answer::{Refused, Trouble, Why};
use super::board::State;
use super::error::Unanswered;
use super::nodes::Nodes;

/// What the nodes said until now.
#[derive(Default)]
struct Said {
    /// The refusal by which it may most likely still be out.
    refused: Option<(Refused, ResponsePacket)>,
    /// Who may have it, and did not say.
    unknown: Option<Trouble>,
    /// Who cannot have it.
    never_left: Option<Trouble>,
}

impl Nodes {
    /// Offers it to all that may take it. The first that does ends the wait, not the offers to the others.
    pub(super) async fn broadcast(
        &self,
        packet: RequestPacket,
        until: Instant,
    ) -> Result<ResponsePacket, TransportError> {
        let mut takers = self.takers();
        if takers.is_empty() {
            self.inner.revive(&vec![false; self.inner.members.len()], until).await;
            takers = self.takers();
        }
        let (answers, mut answered) = mpsc::channel(takers.len().max(1));
        for index in takers {
            let (inner, packet, answers) = (Arc::clone(&self.inner), packet.clone(), answers.clone());
            self.spawn(async move {
                let answer = inner.members[index].ask(packet, until).await;
                if let Err(trouble) = &answer {
                    inner.failed(index, trouble.why, trouble.retry_after);
                }
                // Nobody waits any more once another has taken it.
                let _ = answers.send(answer).await;
            });
        }
        drop(answers);
        let mut said = Said::default();
        while let Some(answer) = answered.recv().await {
            if let Some(taken) = said.add(answer) {
                return Ok(taken);
            }
        }
        said.verdict()
    }

    /// Those that are well, and those that only lag: a transaction is not asked about.
    fn takers(&self) -> Vec<usize> {
        let board = self.inner.board.lock();
        let takes = |state: State| matches!(state, State::Healthy | State::Out(Why::Behind));
        (0..board.nodes.len()).filter(|index| takes(board.nodes[*index].state)).collect()
    }
}

impl Said {
    /// Adds what one node said. If it took it, that is the end.
    fn add(&mut self, answer: Result<ResponsePacket, Trouble>) -> Option<ResponsePacket> {
        match answer {
            Ok(answer) => match answer.first_payload() {
                Some(ResponsePayload::Failure(error)) => {
                    let refused = Refused::of(&error.message);
                    if self.refused.as_ref().is_none_or(|(known, _)| refused < *known) {
                        self.refused = Some((refused, answer));
                    }
                    None
                }
                _ => Some(answer),
            },
            Err(trouble) if trouble.never_left() => {
                self.never_left = Some(trouble);
                None
            }
            Err(trouble) => {
                self.unknown = Some(trouble);
                None
            }
        }
    }

    fn verdict(self) -> Result<ResponsePacket, TransportError> {
        match self {
            // It is there.
            Self { refused: Some((Refused::Known, answer)), .. } => Ok(answer),
            // An error object is a refusal to who reads it. This is none.
            Self { unknown: Some(trouble), .. } => {
                Err(trouble.came.err().unwrap_or_else(|| Unanswered::Broken.into()))
            }
            Self { refused: Some((_, answer)), .. } => Ok(answer),
            Self { never_left: Some(trouble), .. } => trouble.came,
            Self { .. } => Err(Unanswered::Nobody.into()),
        }
    }
}
