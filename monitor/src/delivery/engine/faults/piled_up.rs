//! What piles up while a receiver is away.

use super::*;
use crate::delivery::spool::testing::{in_own_mounts, without_files};

#[test]
fn sink_that_is_down_at_start_gets_everything_once_it_is_up() {
    let mut rig = Rig::new(None, &["a"]);
    rig.far(0).fail("connection refused");
    rig.accept(Class::Normal, 1..=300);
    rig.pass(60 * SECOND);
    assert!(rig.far(0).got.is_empty());
    let attempts = rig.far(0).batches.len();
    assert!((5..60).contains(&attempts), "{attempts} attempts in a minute");
    assert!(rig.stats(0).failing && rig.stats(0).oldest_unsent.is_some());
    rig.far(0).work();
    rig.pass(120 * SECOND);
    let ids = rig.far(0).ids();
    assert_eq!((unique(&ids), ids.len()), ((1..=300).collect(), 300));
    let stats = rig.stats(0);
    assert_eq!((stats.waiting, stats.acknowledged, stats.failing), (0, 300, false));
}

#[test]
fn alerts_of_this_run_that_were_there_before_the_sink_began_have_not_piled_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(Some(dir.path()), &["a"]);
    rig.accept(Class::Normal, 1..=5);
    rig.begin(0);
    rig.settle(0);
    assert_eq!(rig.far(0).ids(), [1, 2, 3, 4, 5], "at once");
    rig.far(0).fail("down");
    rig.accept(Class::Normal, 6..=8);
    rig.pass(SECOND);
    drop(rig);
    // Of the run before.
    let mut rig = Rig::new(Some(dir.path()), &["a"]);
    rig.accept(Class::High, [9]);
    rig.settle(0);
    assert_eq!(rig.far(0).ids(), [9]);
    rig.pass(10 * SECOND);
    assert_eq!(rig.far(0).ids(), [9, 6, 7, 8]);
}

#[test]
fn after_an_outage_what_piled_up_comes_slowly_and_a_new_theft_at_once() {
    let mut rig = Rig::new(None, &["a"]);
    rig.far(0).fail("connection refused");
    rig.accept(Class::High, 1..=500);
    rig.accept(Class::Normal, 501..=1000);
    rig.pass(120 * SECOND);
    rig.far(0).work();
    // Until the next attempt, at most a minute away.
    while rig.far(0).got.is_empty() {
        rig.pass(SECOND);
    }
    rig.pass(4 * SECOND);
    let before = rig.far(0).got.len();
    // What it came back with, and five seconds of catching up.
    assert!(before <= 1 + 50 * 5, "{before}");
    rig.accept(Class::High, [2000]);
    rig.pass(Duration::from_millis(50));
    assert!(rig.far(0).ids().contains(&2000), "what is new does not wait for what is old");
    rig.pass(10 * SECOND);
    let more = rig.far(0).got.len() - before;
    assert!((300..=560).contains(&more), "{more} in ten seconds");
    rig.pass(60 * SECOND);
    assert_eq!(unique(&rig.far(0).ids()), (1..=1000).chain([2000]).collect::<Vec<_>>());
    assert_eq!(rig.far(0).got.len(), 1001, "none twice");
}

#[test]
fn what_was_at_hand_and_what_comes_while_it_catches_up_comes_no_faster() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(Some(dir.path()), &["a"]);
    rig.far(0).fail("connection refused");
    (0..30).for_each(|hundred| rig.accept(Class::Normal, hundred * 100 + 1..=hundred * 100 + 100));
    rig.pass(60 * SECOND);
    rig.far(0).work();
    rig.far(0).batches.clear();
    let mut number = 3000;
    for _ in 0..200 {
        rig.accept(Class::Low, number + 1..=number + 5);
        number += 5;
        rig.pass(SECOND);
    }
    let far = rig.far(0);
    assert!(unique(&far.ids()).into_iter().eq(1..=number), "all of it: {}", far.ids().len());
    let in_second = |from: Duration| {
        let batches = far.batches.iter().filter(|(at, _)| (from..from + SECOND).contains(at));
        batches.map(|(_, size)| size).sum::<usize>()
    };
    // At the end comes what was too little to wait for.
    let most = far.batches.iter().map(|(at, _)| in_second(*at)).max();
    assert!(most <= Some(50 + 25), "{most:?} in a second");
}

#[test]
fn what_piled_up_and_cannot_be_read_for_a_moment_comes_after_it() {
    let test = "what_piled_up_and_cannot_be_read_for_a_moment_comes_after_it";
    if !in_own_mounts(module_path!(), test) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut before = Rig::new(Some(dir.path()), &["a"]);
    before.far(0).fail("down");
    before.accept(Class::Normal, 1..=60);
    before.accept(Class::Low, 61..=90);
    before.pass(SECOND);
    drop(before);
    // No descriptor is left in this process, at the very moment when it begins to catch up.
    let mut rig = Rig::new(Some(dir.path()), &["a"]);
    without_files(|| {
        for _ in 0..10 {
            rig.clock.pass(SECOND);
            rig.settle(0);
        }
    });
    assert!(rig.far(0).got.is_empty());
    rig.pass(20 * SECOND);
    assert!(unique(&rig.far(0).ids()).into_iter().eq(1..=90), "{}", rig.far(0).ids().len());
    assert_eq!(rig.stats(0).waiting, 0);
}

#[test]
fn second_outage_while_it_catches_up_piles_up_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = Rig::new(Some(dir.path()), &["a"]);
    before.far(0).fail("down");
    before.accept(Class::High, 1..=100);
    before.pass(SECOND);
    drop(before);
    let mut rig = Rig::new(Some(dir.path()), &["a"]);
    while rig.far(0).got.is_empty() {
        rig.pass(Duration::from_millis(100));
    }
    rig.accept(Class::High, [101]);
    rig.pass(Duration::from_millis(50));
    assert!(rig.far(0).ids().contains(&101), "new while it catches up");
    rig.far(0).fail("down again");
    rig.accept(Class::High, 102..=500);
    rig.pass(60 * SECOND);
    rig.far(0).work();
    rig.far(0).batches.clear();
    while rig.far(0).batches.is_empty() {
        rig.pass(SECOND);
    }
    rig.accept(Class::High, [501]);
    rig.pass(Duration::from_millis(50));
    assert!(rig.far(0).ids().contains(&501), "new after it");
    rig.pass(30 * SECOND);
    let far = rig.far(0);
    assert_eq!((unique(&far.ids()).len(), far.ids().len()), (501, 501), "each once");
    let in_second = |from: Duration| {
        let batches = far.batches.iter().filter(|(at, _)| (from..from + SECOND).contains(at));
        batches.map(|(_, size)| size).sum::<usize>()
    };
    let most = far.batches.iter().map(|(at, _)| in_second(*at)).max();
    assert!(most <= Some(50 + 1), "{most:?} in a second");
}

#[test]
fn thousand_alerts_a_second_with_one_of_two_sinks_down_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(Some(dir.path()), &["up", "down"]);
    rig.far(1).fail("down");
    for second in 0..10u64 {
        let class = Class::ALL[second as usize % 3];
        for number in second * 1000..(second + 1) * 1000 {
            rig.engine.accept(small_alert(class, number));
        }
        rig.spool();
        rig.pass(SECOND);
    }
    assert!(unique(&rig.far(0).ids()).into_iter().eq(0..10_000));
    assert_eq!(rig.far(0).ids().len(), 10_000);
    rig.far(1).work();
    rig.pass(400 * SECOND);
    let far = rig.far(1);
    let last = far.got.iter().map(|got| got.seq).max().unwrap();
    assert_eq!(far.accounted(), (1..=last).collect());
    assert!(unique(&far.ids()).into_iter().eq(0..10_000));
}

#[test]
fn sink_that_stays_down_too_long_gets_the_rest_and_the_numbers_of_what_it_missed() {
    let dir = tempfile::tempdir().unwrap();
    let mib = |n: u64| Some(Bytes(n << 20));
    let spool = SpoolConfig { high: mib(1), normal: mib(1), low: mib(1), ..SpoolConfig::default() };
    let mut rig = Rig::with(Some(dir.path()), &["a"], Promise::Acknowledged, false, TestClock::new(), &spool);
    rig.far(0).fail("down");
    for round in 0..20u64 {
        rig.accept(Class::Low, round * 100..round * 100 + 100);
        rig.accept(Class::High, 10_000 + round * 10..10_000 + round * 10 + 10);
        rig.pass(SECOND);
    }
    rig.far(0).work();
    rig.pass(120 * SECOND);
    let far = rig.far(0);
    let ids = unique(&far.ids());
    assert!((10_000..10_200).all(|id| ids.contains(&id)), "the highest class is whole");
    // The very first were at hand when they were evicted, and are sent all the same.
    assert!(!ids.contains(&500) && ids.contains(&1999));
    let last = far.got.iter().map(|got| got.seq).max().unwrap();
    assert_eq!(far.accounted(), (1..=last).collect());
    drop(far);
    let stats = rig.stats(0);
    assert!(stats.evicted > 0 && stats.waiting == 0, "{stats:?}");
    assert!((2200..=2300).contains(&(stats.evicted + ids.len() as u64)), "{stats:?}");
}

#[test]
fn what_piled_up_and_is_sent_slowly_has_its_oldest_from_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let rig = |clock| {
        Rig::with(Some(dir.path()), &["a"], Promise::Acknowledged, true, clock, &SpoolConfig::default())
    };
    let mut before = rig(std::sync::Arc::clone(&clock));
    before.far(0).fail("down");
    let oldest = crate::delivery::spool::nanoseconds(&*clock);
    before.accept(Class::Low, [1]);
    before.pass(SECOND);
    before.accept(Class::High, 2..=300);
    before.pass(SECOND);
    drop(before);
    let mut rig = rig(clock);
    rig.settle(0);
    assert_eq!(rig.stats(0).oldest_unsent, Some(oldest), "before anything was sent");
    while rig.far(0).got.is_empty() {
        rig.pass(SECOND);
    }
    assert_eq!(rig.stats(0).oldest_unsent, Some(oldest), "the oldest is of the lowest class");
    rig.pass(60 * SECOND);
    let stats = rig.stats(0);
    assert_eq!((stats.waiting, stats.oldest_unsent), (0, None));
}

#[test]
fn what_is_at_hand_is_bounded_by_bytes() {
    let mut rig = Rig::new(None, &["a"]);
    rig.far(0).fail("down");
    for number in 1..=100 {
        let mut alert = small_alert(Class::Normal, number);
        alert.respond = vec!["look ".repeat(10_000)];
        rig.engine.accept(alert);
        rig.spool();
    }
    rig.settle(0);
    let at_hand = rig.workers[0].bytes_at_hand();
    assert!((1 << 20..(1 << 20) + (64 << 10)).contains(&at_hand), "{at_hand}");
}
