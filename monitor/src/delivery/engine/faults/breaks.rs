//! Receivers that break off, hang or lie, restarts, and disks that do not take what they are told.

use super::*;

#[test]
fn sink_that_is_killed_in_the_middle_of_a_batch_misses_nothing() {
    let mut rig = Rig::new(None, &["a"]);
    let mut left = 37;
    rig.far(0).answer = Box::new(move |_| {
        left -= 1;
        (left > 0).then_some(Outcome::Accepted)
    });
    rig.accept(Class::Normal, 1..=200);
    rig.pass(5 * SECOND);
    assert_eq!(rig.far(0).ids(), (1..=36).collect::<Vec<_>>());
    rig.far(0).work();
    rig.pass(30 * SECOND);
    let ids = rig.far(0).ids();
    assert_eq!((unique(&ids), ids.len()), ((1..=200).collect(), 200));
}

#[test]
fn retry_after_is_kept() {
    let mut rig = Rig::new(None, &["a"]);
    rig.far(0).answer = Box::new(|_| Some(Outcome::Retry { reason: "429".into(), after: Some(90 * SECOND) }));
    rig.accept(Class::Normal, [1]);
    rig.pass(89 * SECOND);
    assert_eq!(rig.far(0).batches.len(), 1);
    rig.far(0).work();
    rig.pass(2 * SECOND);
    assert_eq!(rig.far(0).ids(), [1]);
}

#[test]
fn sync_that_fails_means_all_since_the_last_one_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(Some(dir.path()), &["a"]);
    rig.accept(Class::Normal, 1..=3);
    rig.pass(3 * SECOND);
    assert_eq!(rig.stats(0).acknowledged, 3);
    rig.far(0).commit = Err("EIO".into());
    rig.accept(Class::Normal, 4..=5);
    rig.pass(2 * SECOND);
    rig.far(0).commit = Ok(());
    rig.pass(20 * SECOND);
    let ids = rig.far(0).ids();
    assert_eq!(unique(&ids), [1, 2, 3, 4, 5]);
    assert!(ids.iter().filter(|id| **id == 4).count() > 1 && ids.iter().filter(|id| **id == 3).count() == 1);
    assert_eq!(rig.stats(0).acknowledged, 5);
}

#[test]
fn restart_sends_what_was_not_dealt_with_and_nothing_else_much() {
    let dir = tempfile::tempdir().unwrap();
    {
        let mut rig = Rig::new(Some(dir.path()), &["a", "b"]);
        rig.far(1).fail("down");
        rig.accept(Class::Normal, 1..=50);
        rig.pass(3 * SECOND);
        assert_eq!(rig.far(0).got.len(), 50);
    }
    let mut rig = Rig::new(Some(dir.path()), &["a", "b"]);
    rig.pass(20 * SECOND);
    assert!(rig.far(0).got.is_empty());
    assert_eq!(rig.far(1).ids(), (1..=50).collect::<Vec<_>>());
    let seqs: Vec<u64> = rig.far(1).got.iter().map(|got| got.seq).collect();
    assert_eq!(seqs, (1..=50).collect::<Vec<_>>(), "numbers are those of the time they were accepted");
}

#[test]
fn an_item_without_an_answer_is_sent_again() {
    let mut rig = Rig::new(None, &["a"]);
    rig.far(0).answer = Box::new(|_: &Item| None);
    rig.accept(Class::Normal, [1]);
    rig.pass(SECOND);
    rig.far(0).work();
    rig.pass(10 * SECOND);
    assert_eq!(rig.far(0).ids(), [1]);
}

#[test]
fn disk_that_is_mended_has_everything_and_what_names_evictions_before_it_is_said_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let mib = |n: u64| Some(Bytes(n << 20));
    let spool = SpoolConfig { high: mib(1), normal: mib(1), low: mib(1), ..SpoolConfig::default() };
    let clock = TestClock::new();
    let open = |clock| Rig::with(Some(dir.path()), &["a"], Promise::Acknowledged, false, clock, &spool);
    let mut rig = open(std::sync::Arc::clone(&clock));
    rig.far(0).fail("down");
    rig.accept(Class::Low, 0..300);
    rig.pass(SECOND);
    rig.break_disk(dir.path());
    rig.accept(Class::Low, 300..700);
    rig.pass(SECOND);
    assert!(!rig.is_on_disk());
    rig.mend_disk(dir.path());
    rig.pass(120 * SECOND);
    // Room had to be made for what was in memory: that is named, and the names are on disk as well.
    assert!(rig.is_on_disk() && rig.stats(0).evicted > 0, "{:?}", rig.stats(0));
    drop(rig);
    let mut rig = open(clock);
    rig.pass(120 * SECOND);
    let far = rig.far(0);
    let last = far.got.iter().map(|got| got.seq).max().unwrap();
    assert_eq!(far.accounted(), (1..=last).collect());
}
