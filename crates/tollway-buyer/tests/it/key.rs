//! Wallets made from a key.

use tollway_buyer::{Wallet, WalletError};

use crate::purse::KEY;

#[test]
fn a_wallet_shows_its_address_and_never_its_key() {
    let wallet = Wallet::from_key(KEY).unwrap();
    assert_eq!(wallet.address(), Some("0x70997970C51812dc3A010C7d01b50e0d17dc79C8"));
    let builder = Wallet::builder().key(KEY).unwrap();
    for shown in
        [format!("{wallet:?}"), format!("{builder:?}"), format!("{:?}", wallet.middleware().unwrap())]
    {
        assert!(shown.contains("0x7099") && !shown.contains(&KEY[4..12]), "{shown}");
    }
}

#[test]
fn what_is_no_key_is_refused_without_repeating_it() {
    let error = Wallet::from_key("0xhunter2").unwrap_err();
    assert!(matches!(error, WalletError::Key(_)));
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[test]
fn a_wallet_with_nothing_to_sign_with_is_none() {
    assert!(matches!(Wallet::builder().build(), Err(WalletError::NothingToSignWith)));
}
