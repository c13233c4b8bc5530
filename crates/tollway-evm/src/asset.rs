//! The table of known assets: which token a price means on which network, and the EIP-712 domain it signs
//! under. A wrong name or version makes every signature fail, so they are pinned here and compared with
//! `DOMAIN_SEPARATOR()` where a node is at hand.

use alloy_primitives::{Address, address};
use tollway_core::{Currency, Network};

/// How a token moves on the word of its owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransferMethod {
    /// By its own `transferWithAuthorization` (EIP-3009).
    #[default]
    Eip3009,
    /// Through the Permit2 contract, which any ERC-20 token allows.
    Permit2,
}

impl TransferMethod {
    /// Its name in offers and configurations.
    ///
    /// ```
    /// use tollway_evm::TransferMethod;
    /// assert_eq!(TransferMethod::Permit2.as_str(), "permit2");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eip3009 => "eip3009",
            Self::Permit2 => "permit2",
        }
    }
}

/// A token that can be paid with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Where it lives.
    pub network: Network,
    /// Its ticker, such as `USDC`.
    pub symbol: String,
    /// Its contract.
    pub address: Address,
    /// EIP-712 domain name. Empty for a token that has no domain, where nothing but Permit2 moves it: then no signature
    /// can approve it either (EIP-2612).
    pub name: String,
    /// EIP-712 domain version.
    pub version: String,
    /// How many decimals an amount has.
    pub decimals: u8,
    /// Whether one unit stands for one US dollar.
    pub is_usd: bool,
    /// How it moves.
    pub transfer_method: TransferMethod,
}

/// Assets by network; the first dollar asset of a network is what `"$0.01"` means there.
///
/// ```
/// use tollway_core::Currency;
/// use tollway_evm::AssetTable;
/// let usdc = AssetTable::known().resolve(&"eip155:8453".parse()?, &Currency::Usd).cloned();
/// assert_eq!(usdc.map(|asset| asset.name), Some("USD Coin".to_owned()));
/// # Ok::<(), tollway_core::NetworkError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct AssetTable {
    assets: Vec<Asset>,
}

impl AssetTable {
    /// No assets: what is not added is unknown.
    ///
    /// ```
    /// use tollway_core::{Currency, Network};
    /// use tollway_evm::AssetTable;
    /// assert!(AssetTable::empty().resolve(&Network::evm(8453), &Currency::Usd).is_none());
    /// ```
    pub fn empty() -> Self {
        Self::default()
    }

    /// The assets known at the time of this release, none of which is asked for its domain again.
    ///
    /// ```
    /// use tollway_core::Network;
    /// use tollway_evm::{AssetTable, Address};
    /// let usdc: Address = "0x036CbD53842c5426634e7929541eC2318f3dCF7e".parse().unwrap();
    /// let known = AssetTable::known();
    /// assert_eq!(known.find(&Network::evm(84532), usdc).map(|asset| &*asset.name), Some("USDC"));
    /// ```
    pub fn known() -> Self {
        let asset = |row: &Row| Asset {
            network: Network::evm(row.0),
            symbol: row.1.to_owned(),
            address: row.2,
            name: row.3.to_owned(),
            version: row.4.to_owned(),
            decimals: 6,
            is_usd: row.1 != "EURC",
            transfer_method: TransferMethod::Eip3009,
        };
        let by_permit2 = |(row, decimals): &(Row, u8)| Asset {
            decimals: *decimals,
            transfer_method: TransferMethod::Permit2,
            ..asset(row)
        };
        let all = KNOWN.iter().map(asset).chain(KNOWN_BY_PERMIT2.iter().map(by_permit2));
        Self { assets: all.collect() }
    }

    /// Adds an asset, replacing one with the same network and address. It comes last: an earlier dollar stays
    /// what money means on its network.
    ///
    /// ```
    /// # use tollway_core::{Currency, Network};
    /// # use tollway_evm::{Asset, AssetTable, TransferMethod};
    /// let usdt = Asset {
    ///     network: Network::evm(42220),
    ///     symbol: "USDT".to_owned(),
    ///     address: "0x48065fbBE25f71C9282ddf5e1cD6D6A887483D5e".parse().unwrap(),
    ///     name: "Tether USD".to_owned(),
    ///     version: "1".to_owned(),
    ///     decimals: 6,
    ///     is_usd: true,
    ///     transfer_method: TransferMethod::Eip3009,
    /// };
    /// let only = AssetTable::empty().with(usdt.clone());
    /// assert_eq!(only.resolve(&Network::evm(42220), &Currency::Usd), Some(&usdt));
    /// ```
    #[must_use]
    pub fn with(mut self, asset: Asset) -> Self {
        self.assets.retain(|known| known.network != asset.network || known.address != asset.address);
        self.assets.push(asset);
        self
    }

    /// The asset that money in `currency` means on `network`: the first dollar asset, or the token of exactly
    /// that symbol.
    ///
    /// ```
    /// use tollway_core::{Currency, Network};
    /// use tollway_evm::AssetTable;
    /// let (known, base) = (AssetTable::known(), Network::evm(8453));
    /// let euro = known.resolve(&base, &Currency::Symbol("EURC".to_owned()));
    /// assert_eq!(euro.map(|asset| asset.is_usd), Some(false));
    /// assert_eq!(known.resolve(&base, &Currency::Symbol("eurc".to_owned())), None);
    /// ```
    pub fn resolve(&self, network: &Network, currency: &Currency) -> Option<&Asset> {
        self.assets.iter().filter(|asset| &asset.network == network).find(|asset| match currency {
            Currency::Usd => asset.is_usd,
            Currency::Symbol(symbol) => &asset.symbol == symbol,
            _ => false,
        })
    }

    /// The asset at `address` on `network`.
    ///
    /// ```
    /// use tollway_core::Network;
    /// use tollway_evm::{Address, AssetTable};
    /// let usdc: Address = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913".parse().unwrap();
    /// let known = AssetTable::known();
    /// assert!(known.find(&Network::evm(8453), usdc).is_some());
    /// assert!(known.find(&Network::evm(1), usdc).is_none());
    /// ```
    pub fn find(&self, network: &Network, address: Address) -> Option<&Asset> {
        self.assets.iter().find(|asset| asset.address == address && &asset.network == network)
    }

    /// All assets, in the order by which money is resolved.
    ///
    /// ```
    /// use tollway_core::Network;
    /// use tollway_evm::AssetTable;
    /// let on_base: Vec<_> = AssetTable::known().iter().filter(|asset| asset.network == Network::evm(8453))
    ///     .map(|asset| asset.symbol.clone()).collect();
    /// assert_eq!(on_base, ["USDC", "EURC"]);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = &Asset> {
        self.assets.iter()
    }
}

/// Chain id, symbol, contract, EIP-712 name, EIP-712 version. Unless something else is said, all have six decimals and move
/// by EIP-3009.
type Row = (u64, &'static str, Address, &'static str, &'static str);

const KNOWN: &[Row] = &[
    // Circle: USDC.
    (1, "USDC", address!("A0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"), "USD Coin", "2"),
    (11155111, "USDC", address!("1c7D4B196Cb0C7B01d743Fbc6116a902379C7238"), "USDC", "2"),
    (8453, "USDC", address!("833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"), "USD Coin", "2"),
    (84532, "USDC", address!("036CbD53842c5426634e7929541eC2318f3dCF7e"), "USDC", "2"),
    (137, "USDC", address!("3c499c542cEF5E3811e1192ce70d8cC03d5c3359"), "USD Coin", "2"),
    (80002, "USDC", address!("41E94Eb019C0762f9Bfcf9Fb1E58725BfB0e7582"), "USDC", "2"),
    (42161, "USDC", address!("af88d065e77c8cC2239327C5EDb3A432268e5831"), "USD Coin", "2"),
    (421614, "USDC", address!("75faf114eafb1BDbe2F0316DF893fd58CE46AA4d"), "USD Coin", "2"),
    (10, "USDC", address!("0b2C639c533813f4Aa9D7837CAf62653d097Ff85"), "USD Coin", "2"),
    (11155420, "USDC", address!("5fd84259d66Cd46123540766Be93DFE6D43130D7"), "USDC", "2"),
    (43114, "USDC", address!("B97EF9Ef8734C71904D8002F8b6Bc66Dd9c48a6E"), "USD Coin", "2"),
    (43113, "USDC", address!("5425890298aed601595a70AB815c96711a31Bc65"), "USD Coin", "2"),
    (143, "USDC", address!("754704Bc059F8C67012fEd69BC8A327a5aafb603"), "USDC", "2"),
    (50, "USDC", address!("fA2958CB79b0491CC627c1557F441eF849Ca8eb1"), "USDC", "2"),
    (51, "USDC", address!("b5AB69F7bBada22B28e79C8FFAECe55eF1c771D4"), "USDC", "2"),
    (42220, "USDC", address!("cebA9300f2b948710d2653dD7B07f33A8B32118C"), "USDC", "2"),
    (11142220, "USDC", address!("01C5C0122039549AD1493B8220cABEdD739BC44E"), "USDC", "2"),
    (1329, "USDC", address!("e15fC38F6D8c56aF07bbCBe3BAf5708A2Bf42392"), "USDC", "2"),
    (1328, "USDC", address!("4fCF1784B31630811181f670Aea7A7bEF803eaED"), "USDC", "2"),
    // Bridged USDC with Circle's contract.
    (36900, "USDC.e", address!("9cb8142aEBBcdc60AF7c97Af897A67A8f3CA71C2"), "USDC.e", "2"),
    (190415, "USDC.e", address!("401eCb1D350407f13ba348573E5630B83638E30D"), "Bridged USDC", "2"),
    (181228, "USDC.e", address!("401eCb1D350407f13ba348573E5630B83638E30D"), "Bridged USDC", "2"),
    (4689, "USDC.e", address!("cdf79194c6c285077a58da47641d4dbe51f63542"), "Bridged USDC", "2"),
    (2741, "USDC.e", address!("84a71ccd554cc1b02749b35d22f684cc8ec987e1"), "Bridged USDC", "2"),
    (11124, "USDC.e", address!("e4C7fBB0a626ed208021ccabA6Be1566905E2dFc"), "Bridged USDC", "2"),
    (3338, "USDC", address!("bbA60da06c2c5424f03f7434542280FCAd453d10"), "USDC", "2"),
    // Circle: EURC. The domain name is the token's name, which differs by network.
    (1, "EURC", address!("1aBaEA1f7C830bD89Acc67eC4af516284b1bC33c"), "Euro Coin", "2"),
    (11155111, "EURC", address!("08210F9170F89Ab7658F0B5E3fF39b0E03C594D4"), "EURC", "2"),
    (8453, "EURC", address!("60a3E35Cc302bFA44Cb288Bc5a4F316Fdb1adb42"), "EURC", "2"),
    (84532, "EURC", address!("808456652fdb597867f38412077A9182bf77359F"), "EURC", "2"),
    (43114, "EURC", address!("C891EB4cbdEFf6e073e859e987815Ed1505c2ACD"), "Euro Coin", "2"),
    (43113, "EURC", address!("5E44db7996c682E92a960b65AC713a54AD815c6B"), "EURC", "2"),
    // PayPal.
    (1, "PYUSD", address!("6c3ea9036406852006290770BEdFcAbA0e23A0e8"), "PayPal USD", "1"),
    // Tether's omnichain token, and Tether on Celo.
    (42161, "USDT0", address!("Fd086bC7CD5C481DCC9C85ebE478A1C0b69FCbb9"), "USD₮0", "1"),
    (10, "USDT0", address!("01bFF41798a0BcF287b996046Ca68b395DbC1071"), "USD₮0", "1"),
    (14, "USDT0", address!("e7cd86e13AC4309349F30B3435a9d337750fC82D"), "USD₮0", "1"),
    (988, "USDT0", address!("779Ded0c9e1022225f8E0630b35a9b54bE713736"), "USDT0", "1"),
    (2201, "USDT0", address!("78Cf24370174180738C5B8E352B6D14c83a6c9A9"), "USDT0", "1"),
    (42220, "USDT", address!("48065fbBE25f71C9282ddf5e1cD6D6A887483D5e"), "Tether USD", "1"),
    (42220, "USAT", address!("D2ab3C9A02DBBAB236BfEC45D1d755DF4267F771"), "Tether America USD", "1"),
];

/// Tokens without EIP-3009, and their decimals, as the published packages list them. All with a domain have EIP-2612.
const KNOWN_BY_PERMIT2: &[(Row, u8)] = &[
    ((4326, "MegaUSD", address!("FAfDdbb3FC7688494971a79cc65DCa3EF82079E7"), "MegaUSD", "1"), 18),
    ((31612, "mUSD", address!("dD468A1DDc392dcdbEf6db6e34E89AA338F9F186"), "Mezo USD", "1"), 18),
    ((31611, "mUSD", address!("118917a40FAF1CD7a13dB0Ef56C86De7973Ac503"), "Mezo USD", "1"), 18),
    ((723487, "SBC", address!("33ad9e4BD16B69B5BFdED37D8B5D9fF9aba014Fb"), "Stable Coin", "1"), 6),
    ((72344, "SBC", address!("33ad9e4BD16B69B5BFdED37D8B5D9fF9aba014Fb"), "Stable Coin", "1"), 6),
    ((38833, "USDC", address!("A5b8BF902b2844dA17d4506cc827F7F1681735E7"), "", ""), 6),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use alloy_primitives::{B256, b256};
    use tollway_core::Currency;

    use super::AssetTable;
    use crate::eip712::Domain;

    /// What the deployed contracts answer to `DOMAIN_SEPARATOR()`, from public records.
    const SEPARATORS: &[(u64, &str, B256)] = &[
        (1, "USDC", b256!("06c37168a7db5138defc7866392bb87a741f9b3d104deb5094588ce041cae335")),
        (42161, "USDT0", b256!("566af68fb471b22d6421762f84aa7bd761c670a2e4d5c8a47d4085d5957b127c")),
    ];

    #[test]
    fn known_domains_hash_to_what_the_contracts_answer() {
        let table = AssetTable::known();
        for (chain, symbol, separator) in SEPARATORS {
            let network = tollway_core::Network::evm(*chain);
            let asset = table.resolve(&network, &Currency::Symbol((*symbol).to_owned())).unwrap();
            assert_eq!(Domain::of(asset).unwrap().separator(), *separator, "{symbol} on {chain}");
        }
    }

    #[test]
    fn no_asset_is_listed_twice_and_dollars_resolve_everywhere() {
        let table = AssetTable::known();
        let keys: HashSet<_> = table.iter().map(|asset| (&asset.network, asset.address)).collect();
        assert_eq!(keys.len(), table.iter().count());
        let symbols: HashSet<_> = table.iter().map(|asset| (&asset.network, &asset.symbol)).collect();
        assert_eq!(symbols.len(), table.iter().count());
        for asset in table.iter() {
            assert!(table.resolve(&asset.network, &Currency::Usd).is_some_and(|usd| usd.is_usd));
        }
    }
}
