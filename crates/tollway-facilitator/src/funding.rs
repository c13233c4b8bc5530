//! What a lane does when a payer's approval is to be paid for: money for its gas, by a transaction like any other of the lane.

use crate::errands::{Errand, Given};
use crate::lane::Lane;
use crate::phase::send::{NotSent, send_money};
use crate::sponsoring::Claim;

impl Lane {
    /// Gives money to a payer, if the operator's limits allow it. That is written down first: what is in doubt is not given.
    pub(crate) async fn fund(&mut self, errand: Errand) {
        let Errand { cause, amount, done } = errand;
        let Some(sponsoring) = self.network.sponsoring else { return };
        let (network, now) = (self.chain().network().clone(), self.core.clock.now());
        // Whoever asks for more than one approval may cost asks for it by mistake.
        let amount = amount.min(sponsoring.max_cost);
        let claimed = sponsoring.claim(self.journal().ledger(), &network, cause, now).await;
        let given = match claimed {
            Ok(Claim::Granted) => match send_money(self, cause.payer, amount).await {
                Ok(flight) => {
                    tracing::info!(%network, payer = %cause.payer, %amount, "gas given for an approval");
                    self.sent(flight);
                    Given::Sent
                }
                Err(error) => {
                    tracing::error!(%network, payer = %cause.payer, %error, "gas for an approval is not given");
                    self.not_sent(&error).await;
                    Given::NotSent("the facilitator could not pay for the approval".to_owned())
                }
            },
            Ok(Claim::Given) => Given::Sent,
            Ok(Claim::Spent) => Given::Spent,
            Err(error) => {
                tracing::error!(%network, %error, "what was given for approvals is not known");
                Given::NotSent("the ledger is not available".to_owned())
            }
        };
        // Who has gone need not be told.
        let _ = done.send(given);
    }

    async fn not_sent(&mut self, error: &NotSent) {
        if matches!(error, NotSent::Fenced | NotSent::Halted) {
            return self.fenced();
        }
        self.forget_nonce();
        let lost = self.take_lost();
        self.core.journal.write(Vec::new(), lost).await;
    }
}
