//! The figures of a sink, each held against what the receiver saw.

use super::*;
use crate::delivery::spool::nanoseconds;
use crate::delivery::spool::testing::{corrupt, segments};

#[test]
fn sent_and_bytes_are_what_the_receiver_got_and_acknowledged_counts_each_alert_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(Some(dir.path()), &["a"]);
    rig.accept(Class::Normal, 1..=3);
    rig.pass(3 * SECOND);
    rig.far(0).commit = Err("EIO".into());
    rig.accept(Class::Normal, 4..=5);
    rig.pass(2 * SECOND);
    rig.far(0).commit = Ok(());
    rig.pass(20 * SECOND);
    let stats = rig.stats(0);
    let far = rig.far(0);
    assert!(far.got.len() > 5, "some came twice");
    assert_eq!((stats.sent, stats.bytes), (far.got.len() as u64, far.bytes));
    assert_eq!((stats.queued, stats.acknowledged, stats.waiting), (5, 5, 0));
}

#[test]
fn retried_counts_every_alert_of_every_attempt_that_failed() {
    let mut rig = Rig::new(None, &["a"]);
    rig.far(0).fail("down");
    rig.accept(Class::Normal, 1..=4);
    rig.pass(30 * SECOND);
    let tried: usize = rig.far(0).batches.iter().map(|(_, size)| size).sum();
    let stats = rig.stats(0);
    assert_eq!((stats.retried, stats.sent, stats.bytes), (tried as u64, 0, 0));
    rig.far(0).work();
    rig.pass(60 * SECOND);
    assert_eq!((rig.stats(0).retried, rig.stats(0).acknowledged), (tried as u64, 4));
}

#[test]
fn rejected_are_neither_sent_nor_acknowledged_nor_a_success() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(Some(dir.path()), &["a"]);
    refuse(&rig, 0);
    rig.accept(Class::Normal, 1..=3);
    rig.pass(3 * SECOND);
    let stats = rig.stats(0);
    assert_eq!((stats.rejected, stats.sent, stats.acknowledged, stats.waiting), (3, 0, 0, 0));
    assert_eq!((stats.last_success, stats.letters), (None, 0), "they are dead letters, and none is lost");
}

#[test]
fn unreadable_are_as_many_as_the_disk_does_not_give_back() {
    let dir = tempfile::tempdir().unwrap();
    {
        let mut rig = Rig::new(Some(dir.path()), &["a"]);
        rig.far(0).fail("down");
        rig.accept(Class::Normal, 1..=9);
        rig.pass(SECOND);
    }
    corrupt(&segments(dir.path(), Class::Normal)[0], 3, 9);
    let mut rig = Rig::new(Some(dir.path()), &["a"]);
    rig.pass(20 * SECOND);
    let stats = rig.stats(0);
    assert_eq!((stats.unreadable, stats.evicted, stats.waiting), (1, 0, 0));
    assert_eq!(stats.acknowledged, 9, "eight, and the one that names the ninth");
}

#[test]
fn oldest_is_that_of_an_alert_the_receiver_hangs_with() {
    let mut rig = Rig::new(None, &["a"]);
    let accepted = nanoseconds(&*rig.clock);
    let meter = std::sync::Arc::clone(&rig.engine.sinks[0].meter);
    let (tell, told) = std::sync::mpsc::channel();
    rig.far(0).answer = Box::new(move |_| {
        // As whoever asks meanwhile sees it.
        let _ = tell.send(meter.stats(1).oldest_unsent);
        Some(Outcome::Accepted)
    });
    rig.accept(Class::Normal, [1]);
    rig.pass(SECOND);
    assert_eq!(told.recv().unwrap(), Some(accepted));
    rig.pass(2 * SECOND);
    assert_eq!(rig.stats(0).oldest_unsent, None);
}

#[test]
fn last_success_is_when_the_receiver_last_took_something_if_only_a_heartbeat() {
    let mut rig = Rig::new(None, &["a"]);
    assert_eq!(rig.stats(0).last_success, None);
    let mut heartbeat = crate::alert::fixture::incident();
    heartbeat.kind = crate::alert::AlertKind::Heartbeat;
    rig.engine.heartbeat(heartbeat);
    let first = nanoseconds(&*rig.clock);
    rig.settle(0);
    assert_eq!((rig.stats(0).last_success, rig.stats(0).sent), (Some(first), 1));
    rig.pass(5 * SECOND);
    let second = nanoseconds(&*rig.clock);
    rig.accept(Class::Normal, [1]);
    rig.settle(0);
    assert_eq!(rig.stats(0).last_success, Some(second));
    rig.far(0).fail("down");
    rig.accept(Class::Normal, [2]);
    rig.pass(60 * SECOND);
    assert_eq!(rig.stats(0).last_success, Some(second), "a failure is none");
}
