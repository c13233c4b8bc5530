//! A transaction is offered to all nodes, and what is not known is never told as a refusal.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tollway_evm::{Address, Bytes};

use crate::script::{DEADLINE, Mood, Scripted, chain};

fn raw() -> Bytes {
    Bytes::from_static(&[2, 1, 2, 3])
}

#[tokio::test(start_paused = true)]
async fn a_transaction_goes_to_all_nodes_and_one_that_takes_it_is_enough() {
    let nodes = [Scripted::at(100), Scripted::at(100), Scripted::at(90)];
    let chain = chain(&[&nodes[0], &nodes[1], &nodes[2]]);
    chain.nonce(Address::ZERO).await.unwrap();
    for words in ["insufficient funds", "nonce too low", "txpool is full", "already known"] {
        nodes[0].feels(Mood::Refuses(words));
        let (before, began) = (nodes[1].took(), Instant::now());
        nodes[1].feels(Mood::Late(Duration::from_secs(1)));
        let bytes = Bytes::from(words.as_bytes().to_vec());
        chain.send_raw(&bytes).await.unwrap_or_else(|error| panic!("{words}: {error}"));
        assert!(began.elapsed() <= Duration::from_secs(1), "{words}");
        sleep(Duration::from_secs(2)).await;
        assert_eq!(nodes[1].took(), before + 1, "{words}: the others get it too");
    }
    assert_eq!(nodes[2].took(), 4, "one that lags takes it as well");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_counts_only_if_nobody_may_have_taken_it() {
    for doubt in [Mood::TakesAndBreaks, Mood::Silent, Mood::Nonsense, Mood::Status(503, None)] {
        let (one, two) = (Scripted::at(100), Scripted::at(100));
        let chain = chain(&[&one, &two]);
        chain.nonce(Address::ZERO).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        one.feels(Mood::Refuses("insufficient funds for gas"));
        two.feels(doubt);
        let began = Instant::now();
        let error = chain.send_raw(&raw()).await.unwrap_err();
        assert_eq!(error.rejection(), None, "{doubt:?}: {error}");
        assert!(began.elapsed() <= DEADLINE, "{doubt:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn if_all_refuse_that_one_is_told_by_which_it_may_still_be_out() {
    let refusals = [
        (["insufficient funds", "nonce too low"], "nonce too low"),
        (
            ["replacement transaction underpriced", "transaction underpriced"],
            "replacement transaction underpriced",
        ),
        (["nonce too low", "txpool is full"], "txpool is full"),
        (["nonce too low", "already known"], "already known"),
        (["insufficient funds", "insufficient funds"], "insufficient funds"),
    ];
    for (words, told) in refusals {
        for words in [words, [words[1], words[0]]] {
            let (one, two) = (Scripted::at(100), Scripted::at(100));
            let chain = chain(&[&one, &two]);
            one.feels(Mood::Refuses(words[0]));
            two.feels(Mood::Refuses(words[1]));
            let error = chain.send_raw(&raw()).await.unwrap_err();
            assert_eq!(error.rejection(), Some(told), "{words:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_that_are_out_are_not_offered_it_until_none_is_left() {
    let (one, two) = (Scripted::at(100), Scripted::at(100));
    let chain = chain(&[&one, &two]);
    chain.nonce(Address::ZERO).await.unwrap();
    one.feels(Mood::Broken);
    chain.nonce(Address::ZERO).await.unwrap();
    two.feels(Mood::Refuses("insufficient funds"));
    let error = chain.send_raw(&raw()).await.unwrap_err();
    assert_eq!(error.rejection(), Some("insufficient funds"), "the other never saw it");
    two.feels(Mood::Broken);
    assert_eq!(chain.send_raw(&raw()).await.unwrap_err().rejection(), None);
    one.feels(Mood::Well);
    chain.send_raw(&raw()).await.unwrap();
    assert_eq!(one.took(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_on_another_chain_is_offered_nothing() {
    let (one, two) = (Scripted::at(100), Scripted::at(100));
    two.is_on(1);
    let chain = chain(&[&one, &two]);
    chain.send_raw(&raw()).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!((one.took(), two.took()), (1, 0));
}
