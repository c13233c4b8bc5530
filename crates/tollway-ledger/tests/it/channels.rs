//! Channels: one writer at a time, also where another may have the channel for itself.

use tollway_core::{Amount, ChannelKey, UnixTime};
use tollway_ledger::{Channel, ChannelCharge, Holder, Ledger};

use crate::records::{LATER, NOW, UNTIL, channel, channel_key, charge, fingerprint, response, seller};

async fn open(ledger: &dyn Ledger, name: &str, due: u64) -> Channel {
    let new = Channel { due: UnixTime(due), ..channel(name) };
    assert!(ledger.channel_put(new.clone(), None, NOW).await.unwrap());
    Channel { version: 1, ..new }
}

async fn get(ledger: &dyn Ledger, name: &str) -> Option<Channel> {
    ledger.channel_get("shop", &channel_key(name)).await.unwrap()
}

pub(crate) async fn a_channel_is_written_by_who_has_read_it_as_it_is(ledger: &dyn Ledger) {
    assert_eq!(get(ledger, "a").await, None);
    let none = Channel { version: 1, ..channel("a") };
    assert!(!ledger.channel_put(none, None, NOW).await.unwrap(), "there is none yet");
    let first = open(ledger, "a", 2_000).await;
    assert_eq!(get(ledger, "a").await, Some(first.clone()));
    assert!(!ledger.channel_put(channel("a"), None, NOW).await.unwrap(), "there is one");
    let mut second = Channel {
        body: "é' 2".to_owned(),
        claimed: 5_u64.into(),
        request: Some(fingerprint("data")),
        repeats: 2,
        used_at: UnixTime(u64::MAX),
        due: UnixTime(3_000),
        ..first.clone()
    };
    assert!(ledger.channel_put(second.clone(), None, NOW).await.unwrap());
    (second.version, second.used_at) = (2, UnixTime(i64::MAX.unsigned_abs()));
    assert_eq!(get(ledger, "a").await, Some(second.clone()));
    assert!(!ledger.channel_put(first, None, NOW).await.unwrap(), "it was written since");
    // The same channel of another scope is another row.
    let other = Channel { scope: "wallet".to_owned(), ..channel("a") };
    assert!(ledger.channel_put(other, None, NOW).await.unwrap());
    assert_eq!(get(ledger, "a").await, Some(second));
    assert_eq!(ledger.channel_count("shop").await.unwrap(), 1);
    assert_eq!(ledger.channel_count("nobody").await.unwrap(), 0);
}

pub(crate) async fn a_charge_is_written_once_by_who_has_read_the_channel_as_it_is(ledger: &dyn Ledger) {
    assert!(!ledger.channel_charge(charge("a", 0, 10)).await.unwrap(), "there is no channel");
    assert!(!ledger.channel_charge(charge("a", 1, 10)).await.unwrap(), "there is no channel");
    let before = open(ledger, "a", 2_000).await;
    let first = ChannelCharge {
        signed: 100_u64.into(),
        request: Some(fingerprint("one")),
        repeats: 1,
        ..charge("a", 1, 10)
    };
    assert!(ledger.channel_charge(first.clone()).await.unwrap());
    assert!(!ledger.channel_charge(first).await.unwrap(), "the same voucher twice");
    let after = Channel {
        version: 2,
        charged: 10_u64.into(),
        signed: 100_u64.into(),
        proof: "0xproof 10".to_owned(),
        request: Some(fingerprint("one")),
        repeats: 1,
        used_at: NOW,
        ..before
    };
    assert_eq!(get(ledger, "a").await, Some(after.clone()), "what is bulky stays as it was");
    // Without a request, and due at another time.
    let second = ChannelCharge { request: None, due: UnixTime(1_500), ..charge("a", 2, 20) };
    assert!(ledger.channel_charge(second).await.unwrap());
    let after = Channel {
        version: 3,
        charged: 20_u64.into(),
        signed: 20_u64.into(),
        proof: "0xproof 20".to_owned(),
        request: None,
        repeats: 0,
        due: UnixTime(1_500),
        ..after
    };
    assert_eq!(get(ledger, "a").await, Some(after));
    assert_eq!(ledger.channel_due("shop", UnixTime(1_499), LATER, 5).await.unwrap(), []);
    assert_eq!(ledger.channel_due("shop", UnixTime(1_500), LATER, 5).await.unwrap().len(), 1);
}

pub(crate) async fn an_answer_is_that_of_the_latest_charge_or_none(ledger: &dyn Ledger) {
    let key = channel_key("a");
    let answer = || ledger.channel_answer("shop", &key);
    let with = |version, body: &str| ChannelCharge {
        answer: Some(response(body, 1_500)),
        ..charge("a", version, version * 10)
    };
    open(ledger, "a", 2_000).await;
    assert_eq!(answer().await.unwrap(), None);
    assert!(ledger.channel_charge(with(1, "one")).await.unwrap());
    assert_eq!(answer().await.unwrap(), Some(response("one", 1_500)));
    assert!(!ledger.channel_charge(with(1, "lost")).await.unwrap());
    assert_eq!(answer().await.unwrap(), Some(response("one", 1_500)), "what is not charged keeps no answer");
    assert!(ledger.channel_charge(with(2, "two")).await.unwrap());
    assert_eq!(answer().await.unwrap(), Some(response("two", 1_500)));
    // Who writes the channel itself leaves it alone.
    let row = get(ledger, "a").await.unwrap();
    assert!(ledger.channel_put(row, None, NOW).await.unwrap());
    assert_eq!(answer().await.unwrap(), Some(response("two", 1_500)));
    assert!(ledger.channel_charge(charge("a", 4, 50)).await.unwrap());
    assert_eq!(answer().await.unwrap(), None, "one that was not kept is not the one before");
    // One that is made again under the same name has no answer of the one before.
    assert!(ledger.channel_charge(with(5, "three")).await.unwrap());
    assert!(ledger.channel_remove("shop", &key, 6, None, NOW).await.unwrap());
    assert_eq!(answer().await.unwrap(), None);
    for version in 0..6 {
        let again = Channel { version, ..channel("a") };
        assert!(ledger.channel_put(again, None, NOW).await.unwrap());
    }
    assert_eq!(answer().await.unwrap(), None);
}

pub(crate) async fn a_channel_that_is_held_is_written_by_its_living_holder_alone(ledger: &dyn Ledger) {
    let (one, two) = (seller(ledger, "one").await, seller(ledger, "two").await);
    let key = channel_key("a");
    let holder = |member| Holder { member, until: UnixTime(1_020) };
    let hold = |version, holder, now| ledger.channel_hold("shop", &key, version, holder, now);
    assert_eq!(hold(0, holder(one.clone()), NOW).await.unwrap(), None, "there is none");
    let row = open(ledger, "a", 2_000).await;
    assert_eq!(hold(2, holder(one.clone()), NOW).await.unwrap(), None, "of another version");
    let held = hold(1, holder(one.clone()), NOW).await.unwrap();
    let expected = Channel { version: 2, holder: Some(holder(one.clone())), ..row };
    assert_eq!(held, Some(expected.clone()));
    assert_eq!(get(ledger, "a").await, held);
    let by = |member: Option<&_>, version, now| ChannelCharge {
        member: member.cloned(),
        used_at: now,
        ..charge("a", version, version)
    };
    // Nobody else, and not nobody.
    assert!(!ledger.channel_charge(by(None, 2, NOW)).await.unwrap());
    assert!(!ledger.channel_charge(by(Some(&two), 2, NOW)).await.unwrap());
    assert!(!ledger.channel_put(expected.clone(), None, NOW).await.unwrap());
    assert!(!ledger.channel_put(expected.clone(), Some(&two), NOW).await.unwrap());
    assert!(!ledger.channel_remove("shop", &key, 2, Some(&two), NOW).await.unwrap());
    assert_eq!(hold(2, holder(two.clone()), NOW).await.unwrap(), None);
    assert_eq!(ledger.channel_due("shop", UnixTime(2_000), LATER, 5).await.unwrap().len(), 1, "later");
    let row = get(ledger, "a").await.unwrap();
    assert_eq!((row.version, row.holder.clone()), (3, Some(holder(one.clone()))));
    // Its holder writes, stays the holder, and is it longer if it says so.
    assert!(ledger.channel_charge(by(Some(&one), 3, NOW)).await.unwrap());
    assert!(!ledger.channel_charge(by(None, 4, NOW)).await.unwrap());
    assert!(ledger.channel_put(Channel { version: 4, ..row }, Some(&one), NOW).await.unwrap());
    let longer = Holder { member: one.clone(), until: UnixTime(1_025) };
    assert!(hold(5, longer, NOW).await.unwrap().is_some());
    assert!(!ledger.channel_charge(by(None, 6, UnixTime(1_024))).await.unwrap());
    // Late, and taken over from by nobody: it may still write, and lets go.
    let last = ChannelCharge { is_released: true, ..by(Some(&one), 6, UnixTime(1_026)) };
    assert!(ledger.channel_charge(last).await.unwrap());
    assert_eq!(get(ledger, "a").await.unwrap().holder, None);
    assert!(ledger.channel_charge(by(None, 7, NOW)).await.unwrap());
}

pub(crate) async fn who_is_dead_or_past_its_time_holds_no_channel(ledger: &dyn Ledger) {
    let (one, two) = (seller(ledger, "one").await, seller(ledger, "two").await);
    let key = channel_key("a");
    let holder = |member: &_, until| Holder { member: Clone::clone(member), until };
    open(ledger, "a", NOW.0).await;
    let hold = |version, holder, now| ledger.channel_hold("shop", &key, version, holder, now);
    assert!(hold(1, holder(&one, UnixTime(1_010)), NOW).await.unwrap().is_some());
    // Past its time, to the second.
    let by_nobody = |version, now| ChannelCharge { used_at: now, due: NOW, ..charge("a", version, version) };
    assert!(!ledger.channel_charge(by_nobody(2, UnixTime(1_009))).await.unwrap());
    assert!(ledger.channel_due("shop", UnixTime(1_009), LATER, 5).await.unwrap().is_empty());
    assert!(ledger.channel_charge(by_nobody(2, UnixTime(1_010))).await.unwrap());
    // Dead before its time: not renewed, to the second.
    assert!(hold(3, holder(&one, UnixTime(u64::MAX)), NOW).await.unwrap().is_some());
    let before = UnixTime(UNTIL.0 - 1);
    assert!(!ledger.channel_charge(by_nobody(4, before)).await.unwrap());
    assert!(ledger.channel_charge(by_nobody(4, UNTIL)).await.unwrap());
    // Gone.
    assert!(hold(5, holder(&one, UnixTime(u64::MAX)), NOW).await.unwrap().is_some());
    assert_eq!(hold(6, holder(&two, UNTIL), NOW).await.unwrap(), None);
    ledger.member_leave(&one).await.unwrap();
    assert!(hold(6, holder(&two, UNTIL), NOW).await.unwrap().is_some());
    let late = ChannelCharge { member: Some(one.clone()), ..charge("a", 6, 6) };
    assert!(!ledger.channel_charge(late).await.unwrap(), "it was taken over from");
    // Started again under its name.
    seller(ledger, "two").await;
    assert_eq!(ledger.channel_due("shop", NOW, UnixTime(1_050), 5).await.unwrap().len(), 1);
    assert!(ledger.channel_charge(by_nobody(8, NOW)).await.unwrap());
    assert!(ledger.channel_remove("shop", &key, 9, None, NOW).await.unwrap());
}

pub(crate) async fn a_channel_that_is_due_is_taken_by_one_at_a_time(ledger: &dyn Ledger) {
    for (name, due) in [("a", 30), ("b", 10), ("c", 20), ("d", 40)] {
        open(ledger, name, due).await;
    }
    let other = Channel { scope: "shop 2".to_owned(), due: UnixTime(1), ..channel("a") };
    assert!(ledger.channel_put(other, None, NOW).await.unwrap());
    let due = |now, limit| ledger.channel_due("shop", UnixTime(now), UnixTime(60), limit);
    let mut first = due(30, 2).await.unwrap();
    first.sort_by(|one, other| one.id.cmp(&other.id));
    assert_eq!(names(&first), ["b", "c"]);
    assert_eq!(names(&due(30, 5).await.unwrap()), ["a"]);
    assert_eq!(due(39, 5).await.unwrap(), []);
    // Who took it knows its version; who read it before that does not.
    assert_eq!((first[0].version, first[0].due), (2, UnixTime(60)));
    assert!(!ledger.channel_charge(charge("b", 1, 1)).await.unwrap());
    assert!(ledger.channel_put(first[0].clone(), None, NOW).await.unwrap());
    // What nobody finished is due again.
    assert_eq!(due(60, 5).await.unwrap().len(), 4);
}

pub(crate) async fn channels_are_listed_in_order_and_removed(ledger: &dyn Ledger) {
    for name in ["c", "a", "b"] {
        open(ledger, name, 10).await;
    }
    let before = Channel { scope: "shop 2".to_owned(), ..channel("a") };
    assert!(ledger.channel_put(before, None, NOW).await.unwrap());
    let b = channel_key("b");
    assert_eq!(names(&ledger.channel_list("shop", None, 2).await.unwrap()), ["a", "b"]);
    assert_eq!(names(&ledger.channel_list("shop", Some(&b), 2).await.unwrap()), ["c"]);
    assert_eq!(ledger.channel_count("shop").await.unwrap(), 3);
    assert!(!ledger.channel_remove("shop", &b, 2, None, NOW).await.unwrap(), "of another version");
    assert!(ledger.channel_remove("shop", &b, 1, None, NOW).await.unwrap());
    assert!(!ledger.channel_remove("shop", &b, 1, None, NOW).await.unwrap(), "it is gone");
    assert_eq!(names(&ledger.channel_list("shop", None, 5).await.unwrap()), ["a", "c"]);
    assert_eq!(ledger.channel_due("shop", NOW, LATER, 5).await.unwrap().len(), 2);
    // It may begin anew.
    open(ledger, "b", 10).await;
    assert_eq!(names(&ledger.channel_list("shop", None, 5).await.unwrap()), ["a", "b", "c"]);
}

pub(crate) async fn amounts_are_kept_to_the_last_unit(ledger: &dyn Ledger) {
    let (max, beyond) = (Amount::MAX, "340282366920938463463374607431768211456".parse().unwrap());
    let new = Channel { charged: max, signed: beyond, claimed: max, ..channel("a") };
    assert!(ledger.channel_put(new.clone(), None, NOW).await.unwrap());
    assert_eq!(get(ledger, "a").await, Some(Channel { version: 1, ..new }));
    let most = ChannelCharge { charged: beyond, signed: max, repeats: u32::MAX, ..charge("a", 1, 0) };
    assert!(ledger.channel_charge(most).await.unwrap());
    let row = get(ledger, "a").await.unwrap();
    assert_eq!((row.charged, row.signed, row.claimed, row.repeats), (beyond, max, max, u32::MAX));
}

/// Two charges that wait at the same time, for one channel and for many, in one commit or in several.
pub(crate) async fn charges_at_once_have_one_winner_a_channel(ledger: &dyn Ledger) {
    for name in 0..20 {
        open(ledger, &name.to_string(), 2_000).await;
    }
    let mut calls = Vec::new();
    for number in 0..100_u64 {
        let mut new = charge(&(number % 20).to_string(), 1 + number / 60, 100 + number);
        new.answer = Some(response(&number.to_string(), 1_500));
        calls.push(ledger.channel_charge(new));
    }
    let mut answers = Vec::new();
    for call in join_all(calls).await {
        answers.push(call.unwrap());
    }
    for name in 0..20 {
        let won: Vec<_> = (name..100).step_by(20).filter(|number| answers[*number]).collect();
        let row = get(ledger, &name.to_string()).await.unwrap();
        let last = won.iter().max().unwrap();
        assert!(won.iter().filter(|number| **number < 60).count() == 1, "{name}: {won:?}");
        assert!(won.len() <= 2, "{name}: {won:?}");
        assert_eq!(row.version, 1 + won.len() as u64, "{name}: {won:?}");
        assert_eq!(row.charged, Amount::from(100 + *last as u64), "{name}: {won:?}");
        let answer = ledger.channel_answer("shop", &row.id).await.unwrap();
        assert_eq!(answer, Some(response(&last.to_string(), 1_500)), "{name}: {won:?}");
    }
}

/// Polls all until all are done.
pub(crate) async fn join_all<F: Future + Unpin>(calls: Vec<F>) -> Vec<F::Output> {
    let mut calls: Vec<_> = calls.into_iter().map(|call| (Some(call), None)).collect();
    std::future::poll_fn(|context| {
        let mut is_ready = true;
        for (call, answer) in &mut calls {
            if let Some(future) = call {
                match std::pin::Pin::new(future).poll(context) {
                    std::task::Poll::Ready(output) => (*call, *answer) = (None, Some(output)),
                    std::task::Poll::Pending => is_ready = false,
                }
            }
        }
        if is_ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    calls.into_iter().filter_map(|(_, answer)| answer).collect()
}

fn names(list: &[Channel]) -> Vec<&str> {
    list.iter().map(|row| ChannelKey::id(&row.id)).collect()
}
