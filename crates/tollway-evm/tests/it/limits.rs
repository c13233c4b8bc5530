//! Our own limits for nodes that others pay for.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tollway_evm::{Address, B256, Node};

use crate::script::{DEADLINE, Scripted, over, states};

fn limited(node: &Scripted, name: &str, each_second: u32, burst: u32) -> Node {
    let number = |number: u32| NonZeroU32::new(number).unwrap();
    Node::from_transport(name, node.clone()).rate_limit(number(each_second), number(burst))
}

#[tokio::test(start_paused = true)]
async fn a_node_is_asked_no_faster_than_its_limit_and_batches_count_by_size() {
    let node = Scripted::at(100);
    let chain = over(vec![limited(&node, "n0", 20, 20)]);
    let began = Instant::now();
    // Twenty at once, then forty more at twenty a second.
    for _ in 0..6 {
        chain.receipts(&[B256::ZERO; 10]).await.unwrap();
    }
    assert_eq!(node.asked("eth_getTransactionReceipt"), 60);
    assert_eq!(began.elapsed().as_millis(), 2_000);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_room_ends_with_the_deadline_and_nothing_was_asked() {
    let node = Scripted::at(100);
    let chain = over(vec![limited(&node, "n0", 1, 1)]);
    let began = Instant::now();
    let asked = (0..50).map(|_| chain.nonce(Address::ZERO));
    let answers = futures_util::future::join_all(asked).await;
    assert!(began.elapsed() <= DEADLINE, "{:?}", began.elapsed());
    let answered = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!((answered, node.asked("eth_getTransactionCount")), (7, 7), "one, and one in each second");
    let refused = answers.iter().find_map(|answer| answer.as_ref().err()).unwrap().to_string();
    assert!(refused.contains("rate limit"), "{refused}");
    sleep(Duration::from_secs(1)).await;
    chain.nonce(Address::ZERO).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_has_no_room_at_one_node_goes_to_another_and_nobody_is_taken_out() {
    let (one, two) = (Scripted::at(100), Scripted::at(100));
    let chain = over(vec![limited(&one, "n0", 1, 5), Node::from_transport("n1", two.clone())]);
    let answers = futures_util::future::join_all((0..40).map(|_| chain.nonce(Address::ZERO))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert!(two.asked("eth_getTransactionCount") > 20, "{}", two.asked("eth_getTransactionCount"));
    assert_eq!(states(&chain), ["healthy", "healthy"]);
}
