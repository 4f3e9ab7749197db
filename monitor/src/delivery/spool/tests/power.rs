//! Kills, power cuts and ends: no number is given to two alerts, and none is missing unnamed.

use std::time::Duration;

use super::*;

#[test]
fn power_cut_takes_no_number_unnamed_and_gives_none_again() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut got = Vec::new();
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    for number in 1..=10 {
        writer.append(record(Class::Normal, number, &*clock), &[0]);
    }
    clock.pass(Duration::from_secs(2));
    writer.tick();
    for number in 11..=20 {
        writer.append(record(Class::Normal, number, &*clock), &[0]);
    }
    let mut taker = Taker::new(&writer, 0);
    got.extend(taker.take(17));
    taker.commit();
    drop(taker);
    power_cut(dir.path(), writer);
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    writer.append(record(Class::Normal, 21, &*clock), &[0]);
    got.extend(Taker::new(&writer, 0).take(100));
    check(&got);
    assert!(got.iter().any(|got| got.id == "21"));
    let named: Vec<_> = got.iter().filter_map(|got| got.gone.clone()).collect();
    assert_eq!(named.len(), 1);
    let many: u64 = named[0].iter().map(|[first, last]| last - first + 1).sum();
    assert!(many <= 10 + 2 * LEAST_RESERVED, "{named:?}");
}

#[test]
fn power_cut_that_takes_a_low_alert_and_leaves_a_later_one_names_the_low_one() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    writer.append(record(Class::Low, 1, &*clock), &[0]);
    writer.append(record(Class::High, 2, &*clock), &[0]);
    writer.tick();
    power_cut(dir.path(), writer);
    let writer = open(dir.path(), &["a"], Limits::default(), &clock);
    let got = Taker::new(&writer, 0).take(100);
    assert_eq!(got.iter().filter(|got| got.id == "2").count(), 1);
    check(&got);
}

#[test]
fn kill_is_no_power_cut_and_names_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    writer.append(record(Class::Normal, 1, &*clock), &[0]);
    drop(writer);
    let writer = open(dir.path(), &["a"], Limits::default(), &clock);
    let got = Taker::new(&writer, 0).take(10);
    assert_eq!((seqs(&got), got[0].gone.clone()), (vec![1], None));
}

#[test]
fn end_before_a_reboot_names_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    writer.append(record(Class::Normal, 1, &*clock), &[0]);
    writer.finish();
    power_cut(dir.path(), writer);
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    writer.append(record(Class::Normal, 2, &*clock), &[0]);
    assert_eq!(seqs(&Taker::new(&writer, 0).take(10)), [1, 2]);
}
