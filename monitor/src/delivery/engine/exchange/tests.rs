//! Other sinks in place of those there are.

use std::path::Path;

use super::super::tests::{LONG, engine, file, ids};
use super::*;
use crate::config::Config;
use crate::delivery::Class;
use crate::delivery::spool::testing::alert;

fn wanted(sinks: &[SinkConfig]) -> Wanted {
    let config = Config::default();
    let envelope = crate::run::envelope(&config, "sha256:0", Path::new("/sys/fs/cgroup"));
    Wanted { sinks: sinks.to_vec(), spool: config.spool, drain: LONG, envelope }
}

fn called(name: &str, path: &Path) -> SinkConfig {
    SinkConfig { name: name.to_owned(), ..file(path) }
}

fn accept(engine: &Engine, numbers: std::ops::RangeInclusive<u64>) {
    numbers.for_each(|number| engine.accept(alert(Class::Normal, number)));
}

/// Exchanges and waits for it; what `meanwhile` accepts comes while it is under way.
fn exchange(engine: &mut Engine, sinks: &[SinkConfig], meanwhile: impl Fn(&Engine)) -> Result<(), String> {
    let wanted = wanted(sinks);
    looked(engine, &wanted)?;
    engine.exchange(wanted).unwrap();
    meanwhile(engine);
    engine.adopt(LONG).unwrap()
}

/// What a look at these finds.
fn looked(engine: &Engine, wanted: &Wanted) -> Result<(), String> {
    let look = engine.look_at(wanted);
    until(|| look.result())
}

/// Waits for something.
fn until<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + LONG;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < until, "it does not come");
        std::thread::sleep(SHORT);
    }
}

fn numbers(all: std::ops::RangeInclusive<u64>) -> Vec<String> {
    all.map(|number| number.to_string()).collect()
}

mod hangs;
mod stands;

#[test]
fn what_comes_before_during_and_after_goes_to_the_sink_that_stays_and_to_the_new_one_from_there_on() {
    let dir = tempfile::tempdir().unwrap();
    let [stays, goes, comes] = ["stays", "goes", "comes"].map(|name| dir.path().join(name));
    let mut engine = engine(Some(dir.path()), &[called("stays", &stays), called("goes", &goes)]);
    accept(&engine, 1..=50);
    assert!(engine.settle(LONG));
    exchange(&mut engine, &[called("stays", &stays), called("comes", &comes)], |engine| {
        for number in 51..=100 {
            accept(engine, number..=number);
            // In every part of it: the sinks end, the spool is handed over, others begin.
            std::thread::sleep(Duration::from_millis(1));
        }
    })
    .unwrap();
    accept(&engine, 101..=150);
    assert!(engine.settle(LONG));
    assert_eq!(ids(&stays), numbers(1..=150));
    let (goes, comes) = (ids(&goes), ids(&comes));
    assert!(goes.len() >= 50 && comes.len() >= 50, "{} {}", goes.len(), comes.len());
    assert_eq!(comes, numbers(151 - comes.len() as u64..=150));
    let stats = engine.finish();
    assert_eq!((stats[0].0.as_str(), stats[0].1.acknowledged), ("stays", 150), "its counters go on");
}

#[test]
fn receiver_that_was_away_gets_what_waited_at_its_new_address_under_the_same_stream() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.jsonl");
    let mut engine = engine(Some(dir.path()), &[called("siem", Path::new("/dev/full"))]);
    accept(&engine, 1..=20);
    let until = Instant::now() + LONG;
    while !engine.stats()[0].1.failing {
        assert!(Instant::now() < until, "a full device takes nothing");
        std::thread::sleep(SHORT);
    }
    // People were told that it does not work.
    engine.sinks[0].meter.said().store(true, std::sync::atomic::Ordering::Relaxed);
    exchange(&mut engine, &[called("siem", &path)], |_| ()).unwrap();
    accept(&engine, 21..=30);
    assert!(engine.settle(LONG));
    assert!(!engine.stats()[0].1.failing, "the new address takes them");
    engine.finish();
    assert_eq!(ids(&path)[..30], numbers(1..=30));
    let end = std::fs::read_to_string(&path).unwrap();
    assert!(end.lines().last().unwrap().contains("\"state\":\"closed\""), "its end is told: {end}");
    let text = std::fs::read_to_string(&path).unwrap();
    let delivery = |line: &str| serde_json::from_str::<crate::alert::Alert>(line).unwrap().delivery.unwrap();
    let all: Vec<_> = text.lines().map(delivery).collect();
    assert!(all.iter().map(|delivery| delivery.seq).eq(1..=all.len() as u64));
    assert!(all.iter().all(|delivery| delivery.stream == all[0].stream));
}

#[test]
fn sinks_that_cannot_work_change_nothing_and_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.jsonl");
    let engine = engine(Some(dir.path()), &[file(&path)]);
    let never = SinkConfig {
        name: "never".to_owned(),
        kind: crate::config::SinkKind::Http,
        url: Some(crate::profile::doc::OneOrMany(vec!["ftp://host/".to_owned()])),
        ..SinkConfig::stdout()
    };
    // By the look: nothing has ended yet.
    let refused = looked(&engine, &wanted(&[never])).unwrap_err();
    assert!(refused.contains("never"), "{refused}");
    accept(&engine, 1..=3);
    engine.finish();
    assert_eq!(ids(&path), numbers(1..=3));
}

#[test]
fn alerts_that_wait_in_memory_only_are_not_given_away() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(None, &[file(&dir.path().join("alerts.jsonl"))]);
    let refused = looked(&engine, &wanted(&[file(&dir.path().join("other.jsonl"))])).unwrap_err();
    assert!(refused.contains("in memory only"), "{refused}");
}

#[test]
fn size_that_the_spool_is_said_to_have_is_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.jsonl");
    let mut engine = engine(Some(dir.path()), &[file(&path)]);
    let capacity = |engine: &Engine| engine.spool().classes.iter().map(|(_, _, most)| *most).sum::<u64>();
    assert_eq!(capacity(&engine), 256 << 20);
    let mut wanted = wanted(&[file(&path)]);
    wanted.spool.max_bytes = crate::config::Bytes(64 << 20);
    engine.exchange(wanted).unwrap();
    engine.adopt(LONG).unwrap().unwrap();
    assert_eq!(capacity(&engine), 64 << 20);
}

#[test]
fn end_in_the_middle_of_it_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (before, after) = (dir.path().join("before"), dir.path().join("after"));
    let mut engine = engine(Some(dir.path()), &[called("siem", &before)]);
    accept(&engine, 1..=100);
    engine.exchange(wanted(&[called("siem", &after)])).unwrap();
    accept(&engine, 101..=200);
    engine.finish();
    let all: Vec<String> = ids(&before).into_iter().chain(ids(&after)).collect();
    assert_eq!(all, numbers(1..=200));
}

#[test]
fn thread_that_did_not_end_writes_no_cursor_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.jsonl");
    let mut engine = engine(Some(dir.path()), &[file(&path)]);
    let old = Arc::clone(&engine.shared);
    exchange(&mut engine, &[file(&path)], |_| ()).unwrap();
    accept(&engine, 1..=5);
    engine.finish();
    let cursor = || std::fs::read(dir.path().join("spool/file.cursor")).unwrap();
    let before = cursor();
    old.save(0).unwrap();
    assert_eq!(cursor(), before);
}

#[test]
fn sink_that_had_failed_and_is_gone_is_told_to_those_that_stay() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stays");
    let mut engine =
        engine(Some(dir.path()), &[called("stays", &path), called("gone", Path::new("/dev/full"))]);
    engine.sinks[1].meter.said().store(true, std::sync::atomic::Ordering::Relaxed);
    exchange(&mut engine, &[called("stays", &path)], |_| ()).unwrap();
    engine.finish();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("sink-gone") && text.contains("\"state\":\"closed\""), "{text}");
}

#[test]
fn disk_that_takes_nothing_leaves_the_sinks_as_they_are_and_at_work() {
    let dir = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| dir.path().join(name));
    let mut engine = engine(Some(dir.path()), &[called("siem", &old)]);
    let wanted = wanted(&[called("siem", &new)]);
    looked(&engine, &wanted).unwrap();
    // It breaks once it was looked at.
    engine.disk_takes_nothing(true);
    assert!(looked(&engine, &wanted).unwrap_err().contains("make room"));
    engine.exchange(wanted).unwrap();
    accept(&engine, 1..=5);
    let stays = engine.adopt(LONG).unwrap().unwrap_err();
    assert!(stays.contains("takes nothing"), "{stays}");
    accept(&engine, 6..=10);
    assert!(engine.settle(LONG));
    engine.finish();
    assert_eq!(ids(&old), numbers(1..=10));
    assert!(!new.exists() || ids(&new).is_empty());
}

#[test]
fn what_comes_for_the_sinks_in_the_middle_of_it_reaches_the_new_ones() {
    let dir = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| dir.path().join(name));
    let siem = |path: &Path| SinkConfig {
        kinds: vec![crate::alert::AlertKind::Heartbeat, crate::alert::AlertKind::Incident],
        ..called("siem", path)
    };
    let mut engine = engine(Some(dir.path()), &[siem(&old)]);
    exchange(&mut engine, &[siem(&new)], |engine| {
        engine.reopen();
        engine.heartbeat(crate::alert::fixture::heartbeat());
    })
    .unwrap();
    let until = Instant::now() + LONG;
    while !std::fs::read_to_string(&new).unwrap_or_default().contains("heartbeat") {
        assert!(Instant::now() < until, "no heartbeat came");
        std::thread::sleep(SHORT);
    }
    assert!(engine.settle(LONG));
    assert_eq!(engine.shared.lock().sinks[0].reopened, 1, "and it was opened again");
    engine.finish();
}

#[test]
fn what_is_for_one_sink_alone_finds_it_at_its_new_place() {
    let intake = Intake::default();
    intake.put(alert(Class::Low, 1), 0, Some(0), None);
    intake.put(alert(Class::Low, 2), 0, Some(1), None);
    intake.put(alert(Class::Low, 3), 0, None, None);
    intake.name_anew(&[None, Some(0)], Vec::new());
    let left = intake.take(Duration::ZERO).unwrap();
    assert_eq!(left.iter().map(|arrival| arrival.only).collect::<Vec<_>>(), [Some(0), None]);
}
