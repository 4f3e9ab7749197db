//! An exchange that cannot go on, or not as it was wanted: that is told, and alerts go where they went.

use super::*;
use crate::delivery::NoThread;

#[test]
fn exchange_without_threads_says_that_nothing_is_delivered_and_goes_on_once_there_are_some() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second, new] = ["first", "second", "new"].map(|name| dir.path().join(name));
    let mut engine = engine(Some(dir.path()), &[called("gone", &first), called("second", &second)]);
    engine.be_short();
    accept(&engine, 1..=5);
    assert!(engine.settle(LONG));
    assert_eq!(engine.stands_still(), None);
    let none = NoThread::of_sink("no-thread-for-it");
    let sinks = [called("second", &second), called("no-thread-for-it", &new)];
    engine.exchange(wanted(&sinks)).unwrap();
    // On a slow machine it says before that, that files are being opened.
    let no_threads = |why: &String| why.contains("no threads to deliver with");
    until(|| engine.stands_still().filter(no_threads));
    // More than one try, each of which tells what is for one sink alone of its place.
    std::thread::sleep(Duration::from_millis(200));
    accept(&engine, 6..=10);
    drop(none);
    engine.adopt(LONG).unwrap().unwrap();
    assert_eq!(engine.stands_still(), None);
    assert!(engine.settle(LONG));
    engine.finish();
    assert_eq!((ids(&second), ids(&new)), (numbers(1..=10), numbers(6..=10)));
}

#[test]
fn what_is_for_one_sink_alone_finds_it_however_often_the_exchange_is_tried() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
    let mut engine = engine(Some(dir.path()), &[called("goes", &first), called("stays", &second)]);
    engine.be_short();
    let none = NoThread::of_sink("tried-often");
    let sinks = [called("stays", &second), called("tried-often", &first)];
    engine.exchange(wanted(&sinks)).unwrap();
    until(|| engine.stands_still().filter(|why| why.contains("no threads")));
    // The places are those of the new sinks by now: this is for the first of them.
    engine.intake.put(alert(Class::Normal, 7), 0, Some(0), None);
    std::thread::sleep(Duration::from_millis(200));
    drop(none);
    engine.adopt(LONG).unwrap().unwrap();
    assert!(engine.settle(LONG));
    engine.finish();
    assert_eq!((ids(&second), ids(&first)), (numbers(7..=7), vec![]));
}

#[test]
fn sink_that_proves_impossible_in_the_middle_of_it_leaves_sinks_and_spool_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.jsonl");
    let mut engine = engine(Some(dir.path()), &[called("siem", &path)]);
    accept(&engine, 1..=5);
    let never = SinkConfig {
        name: "never".to_owned(),
        kind: crate::config::SinkKind::Http,
        url: Some(crate::profile::doc::OneOrMany(vec!["ftp://host/".to_owned()])),
        ..SinkConfig::stdout()
    };
    let mut wanted = wanted(&[never]);
    wanted.spool.max_bytes = crate::config::Bytes(64 << 20);
    // Nobody has looked at it, as if it had been possible then.
    engine.exchange(wanted).unwrap();
    accept(&engine, 6..=10);
    let stays = engine.adopt(LONG).unwrap().unwrap_err();
    assert!(stays.contains("never"), "{stays}");
    let capacity = engine.spool().classes.iter().map(|(_, _, most)| *most).sum::<u64>();
    assert_eq!(capacity, 256 << 20);
    assert!(engine.settle(LONG));
    engine.finish();
    assert_eq!(ids(&path), numbers(1..=10));
}

#[test]
fn sink_that_does_not_go_on_when_the_disk_takes_nothing_is_named_and_fails_until_another_exchange() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
    let sinks = [called("goes-on", &first), called("stopped-short", &second)];
    let mut engine = engine(Some(dir.path()), &sinks);
    engine.disk_takes_nothing(true);
    let none = NoThread::of_sink("stopped-short");
    engine.exchange(wanted(&sinks[..1])).unwrap();
    let stays = engine.adopt(LONG).unwrap().unwrap_err();
    assert!(stays.contains("stopped-short does not go on") && !stays.contains("goes-on does"), "{stays}");
    let failing = |engine: &Engine| engine.stats().iter().map(|(_, stats)| stats.failing).collect::<Vec<_>>();
    assert_eq!(failing(&engine), [false, true]);
    accept(&engine, 1..=5);
    drop(none);
    engine.disk_takes_nothing(false);
    exchange(&mut engine, &sinks, |_| ()).unwrap();
    assert!(engine.settle(LONG));
    assert_eq!(failing(&engine), [false, false]);
    engine.finish();
    assert_eq!((ids(&first), ids(&second)), (numbers(1..=5), numbers(1..=5)));
}

#[test]
fn key_that_does_not_open_in_the_middle_of_it_is_told_and_the_exchange_goes_on_once_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let (path, pipe) = (dir.path().join("alerts.jsonl"), dir.path().join("key"));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut engine = engine(Some(dir.path()), &[file(&path)]);
    engine.be_short();
    let keyed = SinkConfig { key_file: Some(pipe.clone()), ..hangs::http("keyed", "127.0.0.1:9") };
    engine.exchange(wanted(&[file(&path), keyed])).unwrap();
    accept(&engine, 1..=5);
    let why = until(|| engine.stands_still());
    assert!(why.contains("does not answer"), "{why}");
    std::fs::write(&pipe, "secret\n").unwrap();
    engine.adopt(LONG).unwrap().unwrap();
    until(|| (ids(&path) == numbers(1..=5)).then_some(()));
}
