//! The seam to whoever can say what became of an authorization: a node of the wallet's own choice. A seller's word is never
//! enough to release a budget.

use std::fmt;

use tollway_core::model::FacilitatorRequest;
use tollway_core::{Amount, BoxFuture, Network};

/// Whoever looks at the chain for the wallet.
pub trait FateWitness: Send + Sync + fmt::Debug {
    /// Whether it sees this network.
    ///
    /// ```
    /// use tollway_buyer::FateWitness;
    /// use tollway_core::Network;
    /// fn sees_base(witness: &dyn FateWitness) -> bool {
    ///     witness.covers(&Network::evm(8453))
    /// }
    /// ```
    fn covers(&self, network: &Network) -> bool;

    /// What became of a payment, for which the seller told of the transaction `told`.
    ///
    /// ```
    /// use tollway_buyer::{ChainFate, FateWitness};
    /// use tollway_core::model::FacilitatorRequest;
    /// async fn is_dead(witness: &dyn FateWitness, payment: &FacilitatorRequest) -> bool {
    ///     witness.look(payment, None).await.fate == ChainFate::Dead
    /// }
    /// ```
    fn look<'a>(&'a self, payment: &'a FacilitatorRequest, told: Option<&'a str>) -> BoxFuture<'a, Sighting>;
}

/// What a witness saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// What became of the payment.
    pub fate: ChainFate,
    /// The transaction that was told of does something else.
    pub is_contradicted: bool,
}

/// What became of an authorization on chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainFate {
    /// It moved.
    Moved {
        /// By this transaction.
        transaction: String,
        /// In this block.
        block: u64,
        /// By the event with this index in the block.
        log_index: u64,
        /// So much, atomic units.
        amount: Amount,
    },
    /// It is used, and by what was not found.
    Used,
    /// It is unused, and can be used.
    Unused,
    /// It is unused, and can never be used: on a block that is not taken back.
    Dead,
    /// Nobody could say.
    Unknown(String),
}

#[cfg(feature = "rpc")]
pub(crate) use node::NodeWitness;

#[cfg(feature = "rpc")]
mod node {
    use tollway_core::model::FacilitatorRequest;
    use tollway_core::{Amount, BoxFuture, Network};
    use tollway_evm::{Chain, Fate, Payment, Sight, fate};

    use super::{ChainFate, FateWitness, Sighting};

    /// How many blocks on top make a block final: no reorganisation goes deeper.
    const FINAL_DEPTH: u64 = 12;
    const DEV_FINAL_DEPTH: u64 = 5;
    const DEV_CHAIN_ID: u64 = 31_337;

    /// A node.
    #[derive(Debug)]
    pub(crate) struct NodeWitness(pub(crate) Chain);

    impl NodeWitness {
        async fn sight(&self, request: &FacilitatorRequest, told: Option<&str>) -> Result<Sight, String> {
            let payment = Payment::check(request, None).map_err(|refusal| refusal.to_string())?;
            let is_dev = self.0.network().evm_chain_id() == Some(DEV_CHAIN_ID);
            let depth = if is_dev { DEV_FINAL_DEPTH } else { FINAL_DEPTH };
            // What is no hash names no transaction: the look without it tells.
            let told = told.and_then(|told| told.parse().ok());
            fate(&self.0, &payment, told, depth).await.map_err(|error| error.to_string())
        }
    }

    impl FateWitness for NodeWitness {
        fn covers(&self, network: &Network) -> bool {
            self.0.network() == network
        }

        fn look<'a>(
            &'a self,
            payment: &'a FacilitatorRequest,
            told: Option<&'a str>,
        ) -> BoxFuture<'a, Sighting> {
            Box::pin(async move {
                let sight = match self.sight(payment, told).await {
                    Ok(sight) => sight,
                    Err(why) => return Sighting { fate: ChainFate::Unknown(why), is_contradicted: false },
                };
                let fate = match sight.fate {
                    Fate::Moved(moved) => ChainFate::Moved {
                        transaction: moved.transaction.to_string(),
                        block: moved.block_number,
                        log_index: moved.log_index,
                        amount: Amount::from_atomic(moved.amount),
                    },
                    Fate::Used => ChainFate::Used,
                    Fate::Unused => ChainFate::Unused,
                    Fate::Dead => ChainFate::Dead,
                    Fate::Untold => ChainFate::Unknown("no contract keeps account of it".to_owned()),
                };
                Sighting { fate, is_contradicted: sight.is_contradicted }
            })
        }
    }
}
