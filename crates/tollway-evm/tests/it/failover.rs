//! Who is asked when nodes fail, lag and come back.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tollway_evm::Address;

use crate::script::{DEADLINE, Mood, Scripted, chain, states};

const ROUND: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn one_node_answers_while_it_is_well() {
    let (one, two) = (Scripted::at(100), Scripted::at(102));
    let chain = chain(&[&one, &two]);
    for _ in 0..50 {
        assert_eq!(chain.nonce(Address::ZERO).await.unwrap(), 100, "though another is two blocks ahead");
        sleep(Duration::from_millis(300)).await;
    }
    assert_eq!((one.asked("eth_getTransactionCount"), two.asked("eth_getTransactionCount")), (50, 0));
    assert_eq!(states(&chain), ["healthy", "healthy"]);
}

#[tokio::test(start_paused = true)]
async fn whatever_is_wrong_with_a_node_another_answers_and_it_comes_back_after_a_check() {
    let moods = [
        (Mood::Broken, "unreachable"),
        (Mood::Silent, "slow"),
        (Mood::Late(Duration::from_secs(5)), "slow"),
        (Mood::Nonsense, "malformed"),
        (Mood::Status(500, None), "http"),
        (Mood::Status(429, Some(1)), "limited"),
        (Mood::Error(-32_005, "limit exceeded"), "limited"),
        (Mood::Error(429, "Your app has exceeded its compute units per second"), "limited"),
    ];
    for (mood, state) in moods {
        let (one, two) = (Scripted::at(100), Scripted::at(100));
        let chain = chain(&[&one, &two]);
        assert_eq!(chain.nonce(Address::ZERO).await.unwrap(), 100);
        one.feels(mood);
        let began = Instant::now();
        assert_eq!(chain.nonce(Address::ZERO).await.unwrap(), 100, "{mood:?}");
        assert!(began.elapsed() < DEADLINE, "within the deadline: {mood:?}");
        assert_eq!(states(&chain), [state, "healthy"], "{mood:?}");
        let asked = one.asked("eth_getTransactionCount");
        for _ in 0..10 {
            chain.nonce(Address::ZERO).await.unwrap();
        }
        assert_eq!(one.asked("eth_getTransactionCount"), asked, "it is left alone: {mood:?}");
        one.feels(Mood::Well);
        sleep(ROUND).await;
        chain.nonce(Address::ZERO).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(states(&chain), ["healthy", "healthy"], "{mood:?}");
        assert!(chain.nodes()[1].is_primary, "and who answers goes on: {mood:?}");
        two.feels(Mood::Broken);
        assert_eq!(chain.nonce(Address::ZERO).await.unwrap(), 100, "it answers again: {mood:?}");
        assert!(chain.nodes()[0].is_primary);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_on_another_chain_is_asked_only_after_its_chain_was_checked_again() {
    let (one, two) = (Scripted::at(100), Scripted::at(100));
    two.is_on(1);
    let chain = chain(&[&one, &two]);
    chain.nonce(Address::ZERO).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(states(&chain), ["healthy", "other_chain"]);
    one.feels(Mood::Broken);
    let error = chain.nonce(Address::ZERO).await.unwrap_err().to_string();
    assert!(!error.contains("SECRET"), "{error}");
    assert_eq!(two.asked("eth_getTransactionCount"), 0);
    // The first is repaired and the second put where the first was: what answers is what was checked.
    two.is_on(8_453);
    assert_eq!(chain.nonce(Address::ZERO).await.unwrap(), 100);
    assert_eq!(two.asked("eth_getTransactionCount"), 1);
    one.is_on(137);
    one.feels(Mood::Well);
    sleep(ROUND).await;
    chain.nonce(Address::ZERO).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(states(&chain), ["other_chain", "healthy"], "it came back as another");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_lags_is_left_and_not_asked_while_a_better_one_is_well() {
    let (one, two) = (Scripted::at(100), Scripted::at(100));
    let chain = chain(&[&one, &two]);
    chain.nonce(Address::ZERO).await.unwrap();
    two.comes_to(106);
    sleep(ROUND).await;
    // The round runs beside this question, or before it.
    chain.nonce(Address::ZERO).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(states(&chain), ["behind", "healthy"]);
    assert_eq!(chain.nonce(Address::ZERO).await.unwrap(), 106);
    assert_eq!(chain.nodes()[0].lag_blocks, Some(6));
    one.comes_to(106);
    sleep(ROUND).await;
    chain.nonce(Address::ZERO).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(states(&chain), ["healthy", "healthy"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_pause_nodes_are_compared_before_one_is_asked() {
    let (one, two) = (Scripted::at(100), Scripted::at(100));
    let chain = chain(&[&one, &two]);
    chain.nonce(Address::ZERO).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    let asked = one.asked_at_all() + two.asked_at_all();
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(one.asked_at_all() + two.asked_at_all(), asked, "nobody asks while nobody asks");
    two.comes_to(900);
    assert_eq!(chain.nonce(Address::ZERO).await.unwrap(), 900, "the first stood still");
}

#[tokio::test(start_paused = true)]
async fn a_block_that_was_seen_is_not_unseen_by_asking_another_node() {
    let (one, two) = (Scripted::at(100), Scripted::at(100));
    let chain = chain(&[&one, &two]);
    assert_eq!(chain.raw("eth_blockNumber", serde_json::json!([])).await.unwrap(), "0x64");
    one.comes_to(103);
    assert_eq!(chain.raw("eth_blockNumber", serde_json::json!([])).await.unwrap(), "0x67");
    one.feels(Mood::Broken);
    two.comes_to(102);
    let error = chain.nonce(Address::ZERO).await.unwrap_err().to_string();
    assert!(error.contains("block 103"), "nothing older is told: {error}");
    assert_eq!(two.asked("eth_getTransactionCount"), 0);
    let (asking, catching_up) = tokio::join!(chain.nonce(Address::ZERO), async {
        sleep(Duration::from_secs(2)).await;
        two.comes_to(103);
        Instant::now()
    });
    assert_eq!(asking.unwrap(), 103);
    assert!(catching_up.elapsed() < Duration::from_secs(1), "it is asked as soon as it has come that far");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_reset_is_taken_out_and_the_other_goes_on() {
    let (one, two) = (Scripted::at(100), Scripted::at(100));
    let chain = chain(&[&one, &two]);
    chain.raw("eth_blockNumber", serde_json::json!([])).await.unwrap();
    one.comes_to(0);
    assert_eq!(chain.raw("eth_blockNumber", serde_json::json!([])).await.unwrap(), "0x64");
    assert_eq!(states(&chain), ["behind", "healthy"]);
    assert_eq!(chain.nonce(Address::ZERO).await.unwrap(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_chain_that_fell_back_on_every_node_is_believed_after_a_while() {
    let (one, two) = (Scripted::at(100), Scripted::at(100));
    let chain = chain(&[&one, &two]);
    chain.raw("eth_blockNumber", serde_json::json!([])).await.unwrap();
    one.comes_to(7);
    two.comes_to(8);
    let began = Instant::now();
    let mut refused = 0;
    let nonce = loop {
        match chain.raw("eth_blockNumber", serde_json::json!([])).await {
            Ok(number) => break number,
            Err(error) => assert!(error.to_string().contains("block 100"), "{error}"),
        }
        refused += 1;
    };
    assert!(refused >= 4 && began.elapsed() >= Duration::from_secs(30), "{refused} {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    assert_eq!(nonce, "0x8", "from the furthest");
}

#[tokio::test(start_paused = true)]
async fn when_nobody_answers_it_is_told_within_the_deadline_and_the_first_to_come_back_answers() {
    let nodes = [Scripted::at(100), Scripted::at(100), Scripted::at(100)];
    let chain = chain(&[&nodes[0], &nodes[1], &nodes[2]]);
    chain.nonce(Address::ZERO).await.unwrap();
    for moods in [[Mood::Broken; 3], [Mood::Silent; 3], [Mood::Silent, Mood::Broken, Mood::Nonsense]] {
        nodes.iter().zip(moods).for_each(|(node, mood)| node.feels(mood));
        for _ in 0..3 {
            let began = Instant::now();
            chain.nonce(Address::ZERO).await.unwrap_err();
            assert!(began.elapsed() <= DEADLINE, "{moods:?} {:?}", began.elapsed());
        }
        nodes[2].feels(Mood::Well);
        assert_eq!(chain.nonce(Address::ZERO).await.unwrap(), 100, "{moods:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_over_their_limits_are_left_alone_for_as_long_as_they_wish() {
    let (one, two) = (Scripted::at(100), Scripted::at(100));
    let chain = chain(&[&one, &two]);
    chain.nonce(Address::ZERO).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    one.feels(Mood::Status(429, Some(20)));
    two.feels(Mood::Status(429, Some(20)));
    chain.nonce(Address::ZERO).await.unwrap_err();
    let asked = one.asked_at_all() + two.asked_at_all();
    for _ in 0..19 {
        chain.nonce(Address::ZERO).await.unwrap_err();
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(one.asked_at_all() + two.asked_at_all(), asked);
    one.feels(Mood::Well);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(chain.nonce(Address::ZERO).await.unwrap(), 100);
}

#[tokio::test(start_paused = true)]
async fn what_one_node_cannot_answer_another_is_asked_and_nobody_is_taken_out() {
    let (one, two) = (Scripted::at(100), Scripted::at(100));
    let chain = chain(&[&one, &two]);
    chain.nonce(Address::ZERO).await.unwrap();
    one.feels(Mood::Error(-32_601, "the method does not exist"));
    assert_eq!(chain.priority_fee().await.unwrap(), 1);
    one.feels(Mood::Well);
    assert_eq!(states(&chain), ["healthy", "healthy"]);
    one.feels(Mood::Error(-32_601, "no such method"));
    two.feels(Mood::Error(-32_601, "no such method"));
    let error = chain.priority_fee().await.unwrap_err();
    assert_eq!(error.rejection(), Some("no such method"), "if none can, that is the answer");
}

#[tokio::test(start_paused = true)]
async fn a_revert_is_an_answer_and_asked_of_one_node_only() {
    let (one, two) = (Scripted::at(100), Scripted::at(100));
    let chain = chain(&[&one, &two]);
    chain.nonce(Address::ZERO).await.unwrap();
    one.feels(Mood::Error(3, "execution reverted: rate limit exceeded"));
    let call = tollway_evm::Call { to: Address::ZERO, data: tollway_evm::Bytes::new() };
    let error = chain.estimate_gas(Address::ZERO, &call).await.unwrap_err();
    assert!(error.rejection().is_some_and(|words| words.contains("reverted")));
    assert_eq!((two.asked("eth_estimateGas"), states(&chain)), (0, vec!["healthy", "healthy"]));
}

#[tokio::test(start_paused = true)]
async fn a_single_node_is_asked_however_it_is_and_nothing_beside_what_is_asked() {
    let only = Scripted::at(100);
    let chain = chain(&[&only]);
    only.feels(Mood::Broken);
    chain.nonce(Address::ZERO).await.unwrap_err();
    assert_eq!(states(&chain), ["unreachable"]);
    only.feels(Mood::Well);
    assert_eq!(chain.nonce(Address::ZERO).await.unwrap(), 100);
    assert_eq!((states(&chain), only.asked_at_all()), (vec!["healthy"], 2));
    only.feels(Mood::Silent);
    let began = Instant::now();
    let error = chain.nonce(Address::ZERO).await.unwrap_err().to_string();
    assert!(began.elapsed() == DEADLINE && error.contains("within 6000 ms"), "{error} {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_beside_questions_ends_with_the_chain() {
    let (one, two) = (Scripted::at(100), Scripted::at(100));
    let network = chain(&[&one, &two]);
    network.nonce(Address::ZERO).await.unwrap();
    two.feels(Mood::Silent);
    sleep(ROUND).await;
    network.nonce(Address::ZERO).await.unwrap();
    let handle = tokio::runtime::Handle::current();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(handle.metrics().num_alive_tasks(), 1, "a check that waits");
    drop(network);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(handle.metrics().num_alive_tasks(), 0);
}
