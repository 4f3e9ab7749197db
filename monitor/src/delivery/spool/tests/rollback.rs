//! Files that are there as they were some time ago: put back by people or by a disk that lied.

use super::*;

/// An agent that gets these alerts, and whose sink takes them all.
fn life(dir: &Path, numbers: std::ops::RangeInclusive<u64>, clock: &std::sync::Arc<TestClock>) -> Vec<Got> {
    let mut writer = open(dir, &["a"], Limits::default(), clock);
    for number in numbers {
        writer.append(record(Class::ALL[number as usize % 3], number, &**clock), &[0]);
    }
    let mut taker = Taker::new(&writer, 0);
    let got = taker.take(1000);
    taker.commit();
    got
}

#[test]
fn older_cursor_means_some_come_twice_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    for number in 1..=30 {
        writer.append(record(Class::ALL[number as usize % 3], number, &*clock), &[0]);
    }
    let mut taker = Taker::new(&writer, 0);
    let mut got = taker.take(5);
    taker.commit();
    let older = copy_of(dir.path(), is_cursor);
    got.extend(taker.take(15));
    taker.commit();
    for number in 31..=40 {
        writer.append(record(Class::Normal, number, &*clock), &[0]);
    }
    got.extend(taker.take(5));
    taker.commit();
    drop((writer, taker));
    put_back(&older);
    got.extend(life(dir.path(), 41..=42, &clock));
    check(&got);
    assert_eq!(got.iter().filter(|got| got.gone.is_some()).count(), 0, "nothing is missing: {got:?}");
    assert!((1..=42).all(|id| ids(&got).contains(&id)));
}

#[test]
fn older_cursor_gives_no_number_again_though_the_records_are_gone() {
    for finished in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let clock = TestClock::new();
        let mut got = life(dir.path(), 1..=3, &clock);
        let older = copy_of(dir.path(), is_cursor);
        got.extend(life(dir.path(), 4..=20, &clock));
        // At this start what the sink has goes.
        let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
        if finished {
            writer.finish();
        }
        drop(writer);
        assert!(Class::ALL.iter().all(|class| segments(dir.path(), *class).is_empty()));
        put_back(&older);
        got.extend(life(dir.path(), 21..=22, &clock));
        check(&got);
        assert!([21, 22].iter().all(|id| ids(&got).contains(id)), "{got:?}");
        assert_eq!(got.iter().filter(|got| got.gone.is_some()).count(), 0, "nothing is missing: {got:?}");
    }
}

#[test]
fn older_cursor_after_a_power_cut_gives_no_number_again_and_names_what_may_be_missing() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut got = life(dir.path(), 1..=3, &clock);
    let older = copy_of(dir.path(), is_cursor);
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    for number in 4..=200 {
        writer.append(record(Class::Normal, number, &*clock), &[0]);
    }
    let mut taker = Taker::new(&writer, 0);
    got.extend(taker.take(150));
    taker.commit();
    drop(taker);
    power_cut(dir.path(), writer);
    put_back(&older);
    got.extend(life(dir.path(), 201..=202, &clock));
    check(&got);
}

#[test]
fn spool_that_is_older_than_its_cursor_is_named() {
    for cut in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let clock = TestClock::new();
        let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
        for number in 1..=10 {
            writer.append(record(Class::Normal, number, &*clock), &[0]);
        }
        writer.sync(true);
        let older = copy_of(dir.path(), |name| name.ends_with(".seg"));
        for number in 11..=20 {
            writer.append(record(Class::Normal, number, &*clock), &[0]);
        }
        // The disk says that it has them for good.
        writer.sync(true);
        let mut taker = Taker::new(&writer, 0);
        let mut got = taker.take(5);
        taker.commit();
        drop(taker);
        if cut {
            power_cut(dir.path(), writer);
        } else {
            drop(writer);
        }
        put_back(&older);
        got.extend(life(dir.path(), 21..=22, &clock));
        check(&got);
        let named: Vec<[u64; 2]> = got.iter().flat_map(|got| got.gone.clone().unwrap_or_default()).collect();
        assert!((11..=20).all(|seq| named.iter().any(|[a, b]| (a..=b).contains(&&seq))), "{cut}: {named:?}");
        assert!(ids(&got).contains(&21) && ids(&got).contains(&22));
    }
}

#[test]
fn folder_that_is_put_back_as_a_whole_begins_another_stream_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    for number in 1..=9 {
        writer.append(record(Class::Normal, number, &*clock), &[0]);
    }
    let mut taker = Taker::new(&writer, 0);
    taker.take(5);
    taker.commit();
    let before = stream(&writer);
    let older = copy_of(dir.path(), |name| name != "lock");
    for number in 10..=30 {
        writer.append(record(Class::Normal, number, &*clock), &[0]);
    }
    taker.take(100);
    taker.commit();
    drop((writer, taker));
    put_back(&older);
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    assert_ne!(stream(&writer), before);
    writer.append(record(Class::Normal, 31, &*clock), &[0]);
    clock.pass(std::time::Duration::from_secs(2));
    writer.tick();
    let got = Taker::new(&writer, 0).take(100);
    // What waited comes under the numbers that it had; what is new has numbers of the new stream, which says where it begins.
    assert_eq!(ids(&got), [6, 7, 8, 9, 31]);
    assert_eq!(got.iter().filter_map(|got| got.gone.clone()).collect::<Vec<_>>(), [vec![[1, 9]]]);
    let names = writer.shared().streams(0, 0).unwrap();
    let of = |seq| names.iter().find(|(since, _)| *since <= seq).unwrap().1.clone();
    let seq = |id: &str| got.iter().find(|got| got.id == id).unwrap().seq;
    assert_eq!(of(seq("9")), before);
    assert_eq!(of(seq("31")), stream(&writer));
    drop(writer);
    let writer = open(dir.path(), &["a"], Limits::default(), &clock);
    assert_eq!(of(seq("31")), stream(&writer), "only once");
}
