//! The engine with its threads, and what it does besides sending.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::feed::Feed;
use super::testing::Rig;
use super::*;
use crate::alert::{AlertKind, fixture};
use crate::config::{Config, Span};
use crate::delivery::spool::testing::alert;
use crate::delivery::{Consumer, Stored};

const SECOND: Duration = Duration::from_secs(1);
pub(super) const LONG: Duration = Duration::from_secs(20);

pub(super) fn engine(state_dir: Option<&Path>, sinks: &[SinkConfig]) -> Engine {
    let config = Config::default();
    let envelope = crate::run::envelope(&config, "sha256:0", Path::new("/sys/fs/cgroup"));
    let setup = Setup { sinks, state_dir, spool: &config.spool, drain: LONG, envelope };
    let mut engine = Engine::open(setup).unwrap();
    engine.start().unwrap();
    engine
}

pub(super) fn file(path: &Path) -> SinkConfig {
    SinkConfig { retry: Span(Duration::from_millis(10)), ..SinkConfig::file(path.to_owned()) }
}

pub(super) fn ids(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str::<Alert>(line).unwrap().id).collect()
}

#[test]
fn alert_is_a_line_with_its_place_in_the_stream() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.jsonl");
    let engine = engine(Some(dir.path()), &[file(&path)]);
    engine.accept(fixture::incident());
    engine.accept(fixture::gap());
    assert!(engine.settle(LONG));
    let text = fs::read_to_string(&path).unwrap();
    let alerts: Vec<Alert> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let delivery = |at: usize| alerts[at].delivery.clone().unwrap();
    assert_eq!((delivery(0).sink.as_str(), delivery(0).seq, delivery(1).seq), ("file", 1, 2));
    assert_eq!(delivery(0).stream, delivery(1).stream);
    let told = [("8f3ac2d4e5f60718".to_owned(), 2), (fixture::gap().id, 0)];
    assert_eq!(engine.take_appended(), told, "also what is of no incident");
    assert!(!engine.is_unconfirmed());
    let stats = engine.finish().remove(0).1;
    assert_eq!((stats.queued, stats.sent, stats.acknowledged, stats.waiting), (2, 2, 2, 0));
    assert!(stats.bytes as usize >= text.len() - 2 && stats.last_success.is_some());
}

#[test]
fn spool_says_how_full_it_is_on_disk_and_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    // Its folder is not there: what is for it waits.
    let away = file(&dir.path().join("away/alerts.jsonl"));
    let on_disk = engine(Some(dir.path()), std::slice::from_ref(&away));
    let of = |engine: &Engine, class: Class| {
        let spool = engine.spool();
        spool.classes.into_iter().find(|(of, ..)| *of == class).map(|(_, bytes, most)| (bytes, most))
    };
    assert_eq!(of(&on_disk, Class::High).unwrap(), (0, 128 << 20));
    on_disk.accept(fixture::gap());
    assert!(on_disk.wait_appended(LONG));
    assert!(of(&on_disk, Class::High).unwrap().0 > 100, "{:?}", on_disk.spool());
    assert_eq!(of(&on_disk, Class::Low).unwrap(), (0, 32 << 20));
    let in_memory = engine(None, &[away]);
    in_memory.accept(fixture::gap());
    assert!(in_memory.wait_appended(LONG));
    let spool = in_memory.spool();
    assert!(spool.classes.is_empty() && spool.memory > 100 && spool.memory < spool.memory_most, "{spool:?}");
}

#[test]
fn streams_go_on_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.jsonl");
    for _ in 0..2 {
        let engine = engine(Some(dir.path()), &[file(&path)]);
        engine.accept(fixture::incident());
        engine.finish();
    }
    let text = fs::read_to_string(&path).unwrap();
    let all: Vec<_> =
        text.lines().map(|line| serde_json::from_str::<Alert>(line).unwrap().delivery.unwrap()).collect();
    assert_eq!((all[0].seq, all[1].seq), (1, 2));
    assert_eq!(all[0].stream, all[1].stream);
}

#[test]
fn what_was_accepted_before_the_threads_were_started_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.jsonl");
    let config = Config::default();
    let envelope = crate::run::envelope(&config, "sha256:0", Path::new("/sys/fs/cgroup"));
    let sinks = [file(&path)];
    let setup = Setup { sinks: &sinks, state_dir: None, spool: &config.spool, drain: LONG, envelope };
    let engine = Engine::open(setup).unwrap();
    engine.accept(fixture::incident());
    engine.finish();
    assert_eq!(ids(&path).len(), 1);
}

#[test]
fn state_directory_that_cannot_be_used_is_an_alert_and_delivery_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.jsonl");
    fs::write(dir.path().join("state"), "a file").unwrap();
    let engine = engine(Some(&dir.path().join("state")), &[file(&path)]);
    engine.accept(fixture::incident());
    assert!(engine.settle(LONG));
    let text = fs::read_to_string(&path).unwrap();
    let said =
        |line: &str| serde_json::from_str::<Alert>(line).unwrap().health.map(|health| health.condition);
    assert!(text.lines().filter_map(said).any(|condition| condition == "spool"), "{text}");
    assert_eq!(text.lines().count(), 2);
}

#[test]
fn end_waits_for_no_sink_that_is_away_and_the_next_start_sends_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let engine_of = |path: &Path| engine(Some(dir.path()), &[file(path)]);
    let first = engine_of(Path::new("/dev/full"));
    for number in 1..=20 {
        first.accept(alert(Class::Normal, number));
    }
    std::thread::sleep(Duration::from_millis(200));
    let before = Instant::now();
    let stats = first.finish().remove(0).1;
    assert!(before.elapsed() < LONG / 2, "{:?}", before.elapsed());
    assert_eq!((stats.waiting, stats.failing), (20, true));
    let path = dir.path().join("alerts.jsonl");
    engine_of(&path).finish();
    assert_eq!(ids(&path), (1..=20).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn filter_decides_before_numbers_are_given() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.jsonl");
    let only = SinkConfig { kinds: vec![AlertKind::Gap], ..file(&path) };
    let engine = engine(None, &[only]);
    engine.accept(fixture::incident());
    engine.accept(fixture::gap());
    let stats = engine.finish().remove(0).1;
    assert_eq!((stats.queued, stats.acknowledged), (1, 1));
    let text = fs::read_to_string(&path).unwrap();
    let alert: Alert = serde_json::from_str(text.trim()).unwrap();
    assert_eq!((alert.kind, alert.delivery.unwrap().seq), (AlertKind::Gap, 1));
}

#[test]
fn heartbeat_goes_to_sinks_that_work_is_not_kept_and_has_no_number() {
    let mut rig = Rig::new(None, &["up", "down"]);
    rig.far(1).fail("down");
    rig.accept(Class::Normal, [1]);
    rig.pass(SECOND);
    let mut heartbeat = alert(Class::Normal, 77);
    heartbeat.kind = AlertKind::Heartbeat;
    rig.engine.heartbeat(heartbeat);
    rig.pass(SECOND);
    assert_eq!(
        rig.far(0).got.iter().map(|got| (got.id.as_str(), got.seq)).collect::<Vec<_>>(),
        [("1", 1), ("77", 0)]
    );
    rig.far(1).work();
    rig.pass(120 * SECOND);
    assert_eq!(rig.far(1).ids(), [1]);
}

#[test]
fn reopen_reaches_every_sink_and_ends_its_waiting() {
    let mut rig = Rig::new(None, &["a", "b"]);
    rig.far(0).fail("bad certificate");
    rig.accept(Class::Normal, [1]);
    rig.pass(200 * SECOND);
    rig.far(0).work();
    rig.engine.reopen();
    rig.settle(0);
    rig.settle(1);
    assert_eq!((rig.far(0).reopened, rig.far(1).reopened), (1, 1));
    assert_eq!(rig.far(0).ids(), [1], "at once, not after its backoff");
}

#[test]
fn sink_that_fails_for_long_is_an_alert_for_the_others_and_its_end_too() {
    let mut rig = Rig::new(None, &["up", "down"]);
    rig.far(1).fail("no route to host");
    rig.accept(Class::Normal, [1]);
    rig.pass(400 * SECOND);
    assert_eq!(rig.far(0).got.len(), 2);
    rig.far(1).work();
    rig.pass(120 * SECOND);
    assert_eq!(rig.far(0).got.len(), 3);
    assert_eq!(rig.far(1).got.len(), 3, "its own too, in the end");
}

#[test]
fn state_sink_reads_each_record_once_and_after_a_restart_what_it_had_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let read = |feed: &mut Feed| -> Vec<String> {
        std::iter::from_fn(|| feed.next(Duration::ZERO))
            .map(|stored| match stored {
                Stored::Alert(record) => record.alert.id.clone(),
                Stored::Lost(record) => format!("lost: {}", record.alert.title),
            })
            .collect()
    };
    {
        let mut rig = Rig::new(Some(dir.path()), &["pager"]);
        let mut feed = rig.engine.outfit(0).feed("the test".to_owned());
        rig.accept(Class::Normal, 1..=2);
        rig.accept(Class::High, 3..=3);
        assert_eq!(feed.waiting(), 3);
        assert_eq!(read(&mut feed), ["3", "1", "2"]);
        assert_eq!(feed.waiting(), 0);
        feed.commit();
        rig.accept(Class::Normal, 4..=5);
        assert_eq!(read(&mut feed), ["4", "5"]);
        assert!(!feed.ending() && !feed.reopen_asked());
    }
    let rig = Rig::new(Some(dir.path()), &["pager"]);
    let mut feed = rig.engine.outfit(0).feed("the test".to_owned());
    assert_eq!(read(&mut feed), ["4", "5"]);
    rig.engine.reopen();
    assert!(feed.reopen_asked() && !feed.reopen_asked());
    drop((rig, feed));
    // After a power cut some may be lost, and nobody knows how many.
    fs::write(dir.path().join("spool/boot"), "another boot\n").unwrap();
    let rig = Rig::new(Some(dir.path()), &["pager"]);
    let got = read(&mut rig.engine.outfit(0).feed("the test".to_owned()));
    assert_eq!(
        got,
        ["lost: Alerts may be lost: host or disk failed before all of them were on disk", "4", "5"]
    );
}

#[test]
fn more_than_the_agent_may_hold_is_counted_and_said() {
    let mut rig = Rig::new(None, &["a"]);
    for number in 0..4000 {
        rig.engine.accept(alert(Class::Low, number));
    }
    rig.spool();
    rig.pass(SECOND);
    let stats = rig.stats(0);
    assert!(stats.refused > 0);
    let got = rig.far(0).got.len() as u64;
    assert_eq!(got - 1 + stats.refused, 4000);
}

fn conditions(path: &Path) -> Vec<(String, crate::alert::State)> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let alerts = text.lines().map(|line| serde_json::from_str::<Alert>(line).unwrap());
    alerts.filter_map(|alert| Some((alert.health?.condition, alert.state))).collect()
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn sink_whose_folder_and_one_whose_key_is_not_there_wait_are_told_of_and_lose_nothing() {
    use crate::alert::State;
    use crate::config::SinkKind;
    let dir = tempfile::tempdir().unwrap();
    let (up, late, key) = (dir.path().join("up"), dir.path().join("later/late"), dir.path().join("key"));
    let named = |name: &str, config: SinkConfig| SinkConfig { name: name.to_owned(), ..config };
    // Long: only being told leads to another look.
    let slow = SinkConfig { retry: Span(LONG), ..file(&late) };
    let pager =
        SinkConfig { kind: SinkKind::Pagerduty, key_file: Some(key.clone()), path: None, ..slow.clone() };
    let sinks = [named("up", file(&up)), named("late", slow), named("pager", pager)];
    let engine = engine(Some(dir.path()), &sinks);
    engine.accept(fixture::incident());
    engine.accept(fixture::gap());
    let open = |name: &str| (format!("sink-{name}"), State::Open);
    wait_for("both are told of", || {
        let said = conditions(&up);
        said.contains(&open("late")) && said.contains(&open("pager"))
    });
    let stats = engine.stats();
    assert!(stats[1].1.failing && stats[2].1.failing);
    assert_eq!(stats[2].1.queued, stats[2].1.waiting, "none is taken that cannot be told");
    fs::create_dir(dir.path().join("later")).unwrap();
    fs::write(&key, "0123456789abcdef0123456789abcdef\n").unwrap();
    engine.reopen();
    wait_for("both ends are told of", || {
        let said = conditions(&up);
        let closed = |name: &str| said.contains(&(format!("sink-{name}"), State::Closed));
        closed("late") && closed("pager")
    });
    let text = fs::read_to_string(&late).unwrap();
    let mut seqs: Vec<u64> =
        text.lines().map(|line| serde_json::from_str::<Alert>(line).unwrap().delivery.unwrap().seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs[..4], [1, 2, 3, 4], "from the start, whatever overtook them");
    assert!(!engine.stats()[1].1.failing);
}

/// A log that cannot even say how much it takes.
struct Faulty;

impl crate::delivery::Transport for Faulty {
    fn promise(&self) -> crate::delivery::Promise {
        crate::delivery::Promise::Acknowledged
    }

    fn limits(&self) -> crate::delivery::Limits {
        panic!("a fault that a test made")
    }

    fn target(&self) -> String {
        "faulty".to_owned()
    }

    fn send(&mut self, _: &[crate::delivery::Item]) -> Vec<crate::delivery::Outcome> {
        Vec::new()
    }
}

/// A pager that fails as soon as it runs.
struct FaultyDriver;

impl crate::delivery::Driver for FaultyDriver {
    fn target(&self) -> String {
        "faulty".to_owned()
    }

    fn run(&mut self, _: &mut dyn Consumer, _: &Meter) {
        panic!("a fault that a test made")
    }
}

#[test]
fn thread_of_a_sink_that_panics_is_told_of_and_begins_anew_with_what_was_in_flight() {
    use crate::alert::State;
    let plugs: [Plug; 2] = [Plug::Log(Box::new(Faulty)), Plug::State(Box::new(FaultyDriver))];
    for plug in plugs {
        let dir = tempfile::tempdir().unwrap();
        let (up, path) = (dir.path().join("up"), dir.path().join("faulty"));
        let sinks =
            [SinkConfig { name: "up".into(), ..file(&up) }, SinkConfig { name: "bad".into(), ..file(&path) }];
        let config = Config::default();
        let envelope = crate::run::envelope(&config, "sha256:0", Path::new("/sys/fs/cgroup"));
        let setup = Setup { sinks: &sinks, state_dir: None, spool: &config.spool, drain: LONG, envelope };
        let mut engine = Engine::open(setup).unwrap();
        engine.sinks[1].plug = Some(plug);
        engine.start().unwrap();
        engine.accept(fixture::incident());
        wait_for("it is told of", || conditions(&up).contains(&("sink-bad".to_owned(), State::Open)));
        // Its thread rests; being told to open everything again ends that.
        engine.reopen();
        wait_for("it works", || ids(&path).len() >= 2);
        wait_for("its end is told of", || conditions(&up).contains(&("sink-bad".to_owned(), State::Closed)));
        assert_eq!(ids(&path)[0], fixture::incident().id);
        let stats = engine.finish();
        assert_eq!((stats[1].1.waiting, stats[1].1.failing), (0, false));
    }
}
