//! Which contracts: the sets of addresses that are known, each the same on every network.

use alloy_primitives::{Address, address};

use crate::asset::TransferMethod;

/// An escrow and what collects into it. The escrow is in what the payer signs, so a payment belongs to one set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Its name in configurations.
    pub name: &'static str,
    /// Holds and moves the money.
    pub escrow: Address,
    /// Collects from payers by EIP-3009.
    pub erc3009_collector: Address,
    /// Collects from payers by Permit2.
    pub permit2_collector: Address,
    /// Collects refunds from operators.
    pub refund_collector: Address,
    /// How a fee is named when it is taken.
    pub fee_unit: FeeUnit,
}

/// How a fee is named when it is taken. What the payer signs bounds it in basis points in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeeUnit {
    /// Atomic units of the asset.
    Amount,
    /// Basis points of what is taken.
    Bps,
}

impl Deployment {
    /// What is current: version 1.1 of commerce-payments.
    pub const CURRENT: Self = Self {
        name: "v1.1",
        escrow: address!("f96815976523E00e65Be8f34cA5e64b4f41EB19c"),
        erc3009_collector: address!("8612dfdc421f80336cd14E8EF9cb1E765dB5ab88"),
        permit2_collector: address!("D69831Aed5bfe262067ec4c751f4F830EcdD446e"),
        refund_collector: address!("7a03443724d14798c4AB4622F1DAAcA761Fea486"),
        fee_unit: FeeUnit::Amount,
    };

    /// Version 1.1 as it was first deployed, in August 2026. Met only with those who have not moved on.
    pub const AUGUST: Self = Self {
        name: "v1.1-august",
        escrow: address!("13AC3b34322D12FE27D5e192D0c2b2266d4F29CB"),
        erc3009_collector: address!("EA902B37036bcb4944577ec2101ABdEDF56EbD28"),
        permit2_collector: address!("1aacb38b16a1a8709e80746825E53A0C9Cae9b70"),
        refund_collector: address!("6a1ADdEEb4bD9c5811a613e20c172b6CE61A4aaB"),
        fee_unit: FeeUnit::Amount,
    };

    /// The first version, where fees are in basis points.
    pub const FIRST: Self = Self {
        name: "v1.0",
        escrow: address!("BdEA0D1bcC5966192B070Fdf62aB4EF5b4420cff"),
        erc3009_collector: address!("0E3dF9510de65469C4518D7843919c0b8C7A7757"),
        permit2_collector: address!("992476B9Ee81d52a5BdA0622C333938D0Af0aB26"),
        refund_collector: address!("934907bffd0901b6A21e398B9C53A4A38F02fa5d"),
        fee_unit: FeeUnit::Bps,
    };

    /// All that are known. Which of them are used is a choice; without one it is [`CURRENT`](Self::CURRENT) alone.
    pub const KNOWN: [Self; 3] = [Self::CURRENT, Self::AUGUST, Self::FIRST];

    /// The set of a name in a configuration.
    ///
    /// ```
    /// use tollway_evm::auth_capture::Deployment;
    /// assert_eq!(Deployment::named("v1.0"), Some(Deployment::FIRST));
    /// assert_eq!(Deployment::named("v0.9"), None);
    /// ```
    pub fn named(name: &str) -> Option<Self> {
        Self::KNOWN.into_iter().find(|known| known.name == name)
    }

    /// The set with this escrow.
    ///
    /// ```
    /// use tollway_evm::{Address, auth_capture::Deployment};
    /// assert_eq!(Deployment::of(Deployment::FIRST.escrow), Some(Deployment::FIRST));
    /// assert_eq!(Deployment::of(Address::ZERO), None);
    /// ```
    pub fn of(escrow: Address) -> Option<Self> {
        Self::KNOWN.into_iter().find(|known| known.escrow == escrow)
    }

    /// What collects from payers by `method`.
    ///
    /// ```
    /// use tollway_evm::{TransferMethod, auth_capture::Deployment};
    /// let current = Deployment::CURRENT;
    /// assert_eq!(current.collector(TransferMethod::Permit2), current.permit2_collector);
    /// ```
    pub const fn collector(&self, method: TransferMethod) -> Address {
        match method {
            TransferMethod::Eip3009 => self.erc3009_collector,
            TransferMethod::Permit2 => self.permit2_collector,
        }
    }
}
