//! What the ledger knows of what came before a purchase, read for whoever wants to know what a policy says to it now. Nothing
//! is written: the last word is the ledger's, in the step that opens a purchase.

use tollway_core::UnixTime;
use tollway_ledger::{Fact, Ledger, LedgerError};

use crate::intent::member::bounded;
use crate::policy::Policy;
use crate::policy::names::FactName;
use crate::policy::standing::{KnownPayees, PriceHistory, Purchase, Standing};

impl Policy {
    /// What `ledger` knows of what came before `purchase`, as far as this policy goes by it: what each budget holds, which
    /// switches are on, who was paid at the host, and what this has cost. It only reads.
    ///
    /// # Errors
    /// [`LedgerError`]; what cannot be read as what it should be is [`LedgerError::Corrupt`], and nothing is paid by it.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (offer, value) = offer();
    /// # let url = url();
    /// use tollway_buyer::{Policy, Standing};
    /// let purchase = purchase(&url, &offer, &value);
    /// let standing = Policy::default().standing(&tollway_ledger::MemoryLedger::new(), &purchase).await?;
    /// assert_eq!(standing, Standing::default());
    /// # Ok(()) }
    /// ```
    pub async fn standing(
        &self,
        ledger: &dyn Ledger,
        purchase: &Purchase<'_>,
    ) -> Result<Standing, LedgerError> {
        let mut standing = Standing::default();
        // What cannot be counted is denied without asking what is counted.
        let mut holds = self.holds(purchase).unwrap_or_default();
        holds.extend(self.exposures(purchase));
        let windows: Vec<(String, UnixTime)> =
            holds.into_iter().map(|new| (new.hold.budget, new.hold.window)).collect();
        if !windows.is_empty() {
            let held = bounded(ledger.budget_get(&windows)).await?;
            standing.budgets = windows.into_iter().zip(held).collect();
        }
        for (level, switch) in self.switches(purchase.wallet) {
            if let Some(fact) = read(ledger, &switch).await?.filter(|fact| fact.until > purchase.now) {
                standing.switches.insert(level, fact.value);
            }
        }
        let (pins, prices) = self.looks_back(purchase);
        if pins {
            let fact = read(ledger, &purchase.pin_fact()).await?;
            standing.payees = fact.as_ref().map(payees).transpose()?;
        }
        if prices {
            let fact = read(ledger, &purchase.price_fact()).await?;
            standing.price = fact.as_ref().map(price).transpose()?;
        }
        Ok(standing)
    }
}

pub(crate) async fn read(ledger: &dyn Ledger, name: &FactName) -> Result<Option<Fact>, LedgerError> {
    bounded(ledger.fact_get(&name.scope, &name.name)).await
}

/// What cannot be read is no leave to pay anybody.
pub(crate) fn payees(fact: &Fact) -> Result<KnownPayees, LedgerError> {
    KnownPayees::read(&fact.value).map_err(|_| corrupt(fact))
}

pub(crate) fn price(fact: &Fact) -> Result<PriceHistory, LedgerError> {
    PriceHistory::read(&fact.value).ok_or_else(|| corrupt(fact))
}

fn corrupt(fact: &Fact) -> LedgerError {
    LedgerError::Corrupt(format!("the fact {} {}", fact.scope, fact.name))
}
