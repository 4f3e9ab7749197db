//! How much is kept, and what goes first.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::*;

#[test]
fn spool_that_is_full_evicts_the_oldest_and_names_every_number() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let limits = Limits { class: [256 << 10, 128 << 10, 64 << 10], ..Limits::default() };
    let mut writer = open(dir.path(), &["slow", "quick"], limits.clone(), &clock);
    let mut quick = Taker::new(&writer, 1);
    let mut seen = Vec::new();
    for number in 1..=200 {
        writer.append(record(Class::Normal, number, &*clock), &[0, 1]);
        seen.extend(quick.take(10));
        quick.commit();
    }
    assert_eq!(ids(&seen), (1..=200).collect::<Vec<_>>(), "a sink that keeps up misses nothing");
    let on_disk: u64 =
        segments(dir.path(), Class::Normal).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(on_disk <= 128 << 10, "{on_disk}");
    let mut slow = Taker::new(&writer, 0);
    let got = slow.take(1000);
    assert!(ids(&got).len() < 200 && ids(&got).contains(&200));
    let last = got.iter().map(|got| got.seq).max().unwrap();
    assert_eq!(accounted(&got), (1..=last).collect());
    slow.commit();
    assert_eq!(slow.waiting(), 0);
    drop((writer, slow, quick));
    let writer = open(dir.path(), &["slow", "quick"], limits, &clock);
    assert!(Taker::new(&writer, 0).take(1000).is_empty(), "what is told and taken stays behind its cursor");
}

#[test]
fn eviction_survives_a_kill_and_is_named_again_if_it_is_evicted_itself() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let limits = Limits { class: [32 << 10, 64 << 10, 64 << 10], ..Limits::default() };
    let mut writer = open(dir.path(), &["a"], limits.clone(), &clock);
    for number in 1..=100 {
        writer.append(record(Class::Normal, number, &*clock), &[0]);
    }
    for number in 101..=200 {
        writer.append(record(Class::High, number, &*clock), &[0]);
    }
    drop(writer);
    let writer = open(dir.path(), &["a"], limits, &clock);
    let got = Taker::new(&writer, 0).take(1000);
    let last = got.iter().map(|got| got.seq).max().unwrap();
    assert!(got.iter().any(|got| got.gone.is_some()));
    assert_eq!(accounted(&got), (1..=last).collect());
}

#[test]
fn kill_between_an_eviction_and_what_tells_of_it_leaves_no_number_that_is_neither_there_nor_named() {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::{Arc, Mutex};
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let limits = Limits { class: [64 << 10; 3], ..Limits::default() };
    let shared: Arc<Mutex<Option<Arc<Shared>>>> = Arc::default();
    let (at_hand, tell) = (Arc::clone(&shared), say());
    let names = ["a".into()];
    let killed = move |eviction: &Eviction| {
        let Some(shared) = at_hand.lock().unwrap().take() else { return tell(eviction) };
        // The sink's thread writes its cursor at that moment, as it does whenever it likes.
        shared.save(0).unwrap();
        panic!("killed");
    };
    let mut writer =
        Writer::open(dir.path(), &names, limits.clone(), clock.clone(), Box::new(killed)).unwrap();
    writer.set_room(Box::new(|_| None));
    *shared.lock().unwrap() = Some(writer.shared());
    let appends = AssertUnwindSafe(|| {
        (1..=200).for_each(|number| writer.append(record(Class::Normal, number, &*clock), &[0]));
    });
    assert!(catch_unwind(appends).is_err(), "nothing was evicted");
    drop(writer);
    let mut writer = open(dir.path(), &["a"], limits, &clock);
    writer.append(record(Class::Normal, 201, &*clock), &[0]);
    let got = Taker::new(&writer, 0).take(1000);
    let last = got.iter().map(|got| got.seq).max().unwrap();
    assert!(last > 1);
    assert_eq!(accounted(&got), (1..=last).collect());
}

#[test]
fn old_records_are_evicted_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    writer.append(record(Class::Normal, 1, &*clock), &[0]);
    clock.pass(Duration::from_secs(6 * 24 * 3600));
    writer.tick();
    assert_eq!(Taker::new(&writer, 0).take(10).len(), 1);
    clock.pass(Duration::from_secs(2 * 24 * 3600));
    writer.tick();
    let got = Taker::new(&writer, 0).take(10);
    assert_eq!((got.len(), got[0].gone.clone()), (1, Some(vec![[1, 1]])));
}

#[test]
fn a_day_at_one_alert_a_minute_fits_without_eviction() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    for number in 1..=1440 {
        writer.append(record(Class::ALL[number as usize % 3], number, &*clock), &[0]);
        clock.pass(Duration::from_secs(60));
        writer.tick();
    }
    let got = Taker::new(&writer, 0).take(2000);
    assert_eq!(got.len(), 1440);
    assert!(got.iter().all(|got| got.gone.is_none()));
}

#[test]
fn file_system_that_is_nearly_full_stops_the_growth_and_the_lowest_class_goes_first() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let with = |free| -> room::AskRoom { Box::new(move |_| Some(room::Room { free, total: 1000 })) };
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    writer.set_room(with(149));
    for number in 1..=4000 {
        let class = if number % 2 == 0 { Class::Low } else { Class::High };
        writer.append(record(class, number, &*clock), &[0]);
    }
    let size = |class| size(dir.path(), class);
    assert!(size(Class::High) + size(Class::Low) <= limits::FLOOR + Limits::kept(1) + (64 << 10));
    assert!(size(Class::Low) < size(Class::High));
    let got = Taker::new(&writer, 0).take(5000);
    let last = got.iter().map(|got| got.seq).max().unwrap();
    assert_eq!(accounted(&got), (1..=last).collect());
}

#[test]
fn low_alert_evicts_none_that_matters_more() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    writer.set_room(Box::new(|_| Some(room::Room { free: 1, total: 1000 })));
    for number in 1..=3000 {
        writer.append(record(Class::High, number, &*clock), &[0]);
    }
    let count = segments(dir.path(), Class::High).len();
    writer.append(record(Class::Low, 3001, &*clock), &[0]);
    assert_eq!(segments(dir.path(), Class::High).len(), count);
}

/// Bytes of a class on disk.
fn size(dir: &Path, class: Class) -> u64 {
    segments(dir, class).iter().map(|path| fs::metadata(path).unwrap().len()).sum()
}

#[test]
fn low_alerts_on_a_nearly_full_disk_cost_the_higher_ones_nothing_however_many_come() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut writer = open(dir.path(), &["a", "b"], Limits::default(), &clock);
    writer.set_room(Box::new(|_| Some(room::Room { free: 1, total: 1000 })));
    let mut number = 0;
    while size(dir.path(), Class::High) < limits::FLOOR - (64 << 10) {
        number += 1;
        writer.append(record(Class::High, number, &*clock), &[0, 1]);
    }
    let high = (segments(dir.path(), Class::High), size(dir.path(), Class::High));
    for number in 10_001..=13_000 {
        writer.append(record(Class::Low, number, &*clock), &[0, 1]);
        if number % 100 == 0 {
            clock.pass(Duration::from_secs(2));
            writer.tick();
        }
    }
    assert_eq!((segments(dir.path(), Class::High), size(dir.path(), Class::High)), high);
    assert!(size(dir.path(), Class::Low) <= Limits::kept(2) + (64 << 10));
    writer.append(record(Class::High, number + 1, &*clock), &[0, 1]);
    assert_eq!(segments(dir.path(), Class::High), high.0, "a high one makes no room for low ones either");
    let got = Taker::new(&writer, 0).take(9000);
    let last = got.iter().map(|got| got.seq).max().unwrap();
    assert_eq!(accounted(&got), (1..=last).collect());
    let ids = ids(&got);
    assert!((1..=number + 1).all(|number| ids.contains(&number)), "every high one is there");
    assert!(ids.contains(&13_000), "and the newest low ones");
    let told = got.iter().filter(|got| got.gone.is_some()).count();
    assert!(told < 20, "{told} records tell of what went: they are not told one by one");
}

#[test]
fn low_alerts_in_a_full_memory_cost_the_higher_ones_nothing_however_many_come() {
    let clock = TestClock::new();
    let limits = Limits { records: 20, ..Limits::default() };
    let mut writer = Writer::in_memory(&["a".into()], limits, clock.clone(), say());
    for number in 1..=20 {
        writer.append(record(Class::High, number, &*clock), &[0]);
    }
    for number in 21..=500 {
        writer.append(record(Class::Low, number, &*clock), &[0]);
        clock.pass(Duration::from_secs(2));
        writer.tick();
    }
    let got = Taker::new(&writer, 0).take(1000);
    assert_eq!(ids(&got), (1..=20).collect::<Vec<_>>());
    let last = got.iter().map(|got| got.seq).max().unwrap();
    assert_eq!(accounted(&got), (1..=last).collect());
}

#[test]
fn alert_that_went_is_counted_once_however_often_its_loss_is_told_again() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let fresh = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let (counted, tell) = (std::sync::Arc::clone(&fresh), say());
    let limits = Limits { class: [64 << 10; 3], ..Limits::default() };
    let mut writer = Writer::open(
        dir.path(),
        &["a".into()],
        limits,
        clock.clone(),
        Box::new(move |eviction| {
            counted.fetch_add(eviction.fresh, std::sync::atomic::Ordering::Relaxed);
            tell(eviction)
        }),
    )
    .unwrap();
    writer.set_room(Box::new(|_| None));
    for number in 1..=500 {
        writer.append(record(Class::Low, number, &*clock), &[0]);
    }
    let got = Taker::new(&writer, 0).take(1000);
    let received = ids(&got).len() as u64;
    assert_eq!(received + fresh.load(std::sync::atomic::Ordering::Relaxed), 500);
}

#[test]
fn records_that_no_sink_takes_are_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    writer.append(record(Class::Normal, 1, &*clock), &[]);
    assert!(segments(dir.path(), Class::Normal).is_empty());
}

#[test]
fn a_sink_that_takes_nothing_of_a_class_holds_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let limits = Limits { class: [1 << 20, 128 << 10, 1 << 20], ..Limits::default() };
    let mut writer = open(dir.path(), &["all", "pager"], limits, &clock);
    let mut all = Taker::new(&writer, 0);
    let mut got = Vec::new();
    for number in 1..=300 {
        writer.append(record(Class::Normal, number, &*clock), &[0]);
        got.extend(all.take(10));
        all.commit();
    }
    writer.append(record(Class::High, 301, &*clock), &[0, 1]);
    clock.pass(Duration::from_secs(2));
    writer.tick();
    assert!(segments(dir.path(), Class::Normal).len() <= 2);
    assert_eq!(ids(&Taker::new(&writer, 1).take(10)), [301]);
}

#[test]
fn what_was_dealt_with_out_of_turn_is_not_counted_as_evicted() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let limits = Limits { class: [64 << 10; 3], ..Limits::default() };
    let mut writer = open(dir.path(), &["a"], limits, &clock);
    writer.append(record(Class::High, 1, &*clock), &[0]);
    writer.append(record(Class::High, 2, &*clock), &[0]);
    let shared = writer.shared();
    let number = shared.lock().classes[0].next - 1;
    shared.advance(0, [0; 3], &[Done { class: Class::High, number, seq: 2 }]);
    for number in 3..=60 {
        writer.append(record(Class::High, number, &*clock), &[0]);
    }
    let mut taker = Taker::new(&writer, 0);
    let waiting = taker.waiting();
    let got = taker.take(1000);
    assert_eq!(waiting, got.len() as u64);
    let named: Vec<[u64; 2]> = got.iter().flat_map(|got| got.gone.clone().unwrap_or_default()).collect();
    assert!(named.iter().all(|[first, last]| !(*first..=*last).contains(&2)), "{named:?}");
    assert!(named.contains(&[1, 1]), "{named:?}");
}

#[test]
fn segment_stays_until_the_file_of_every_cursor_says_that_it_is_not_needed() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let limits = Limits { class: [1 << 20, 128 << 10, 1 << 20], ..Limits::default() };
    let mut writer = open(dir.path(), &["a"], limits, &clock);
    for number in 1..=20 {
        writer.append(record(Class::Normal, number, &*clock), &[0]);
    }
    let before = segments(dir.path(), Class::Normal).len();
    assert!(before > 1);
    let mut taker = Taker::new(&writer, 0);
    taker.take(20);
    // As on a disk that does not take the cursor: its half-written file is a folder.
    let half = dir.path().join("spool/.a.tmp");
    fs::create_dir(&half).unwrap();
    assert!(taker.try_commit().is_err());
    clock.pass(Duration::from_secs(2));
    writer.tick();
    assert_eq!(segments(dir.path(), Class::Normal).len(), before);
    fs::remove_dir(half).unwrap();
    clock.pass(Duration::from_secs(2));
    writer.tick();
    assert_eq!(segments(dir.path(), Class::Normal).len(), 1, "the one that is written");
}

#[test]
fn records_from_before_the_clock_was_put_right_are_not_old() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let day = Duration::from_secs(86_400);
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    writer.append(record(Class::High, 1, &*clock), &[0]);
    clock.jump(30 * day);
    clock.pass(Duration::from_secs(2));
    writer.tick();
    clock.pass(day);
    writer.tick();
    clock.jump(30 * day);
    writer.tick();
    writer.append(record(Class::High, 2, &*clock), &[0]);
    clock.pass(day);
    writer.tick();
    let got = Taker::new(&writer, 0).take(10);
    assert!(got.iter().any(|got| got.id == "2") && got.iter().all(|got| got.gone.is_none()), "{got:?}");
}
