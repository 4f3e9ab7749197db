//! An agent that is killed in the middle of its work, again and again: what was accepted before is received after.
//!
//! The agent is this test program, run again as a child: an engine with real files, and alerts as fast as they go in.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::*;
use crate::config::Config;
use crate::delivery::spool::testing::alert;

/// Set in the child: the folder that it works in.
const FOLDER: &str = "SANDWATCH_TEST_KILLED_FOLDER";
/// The number of its first alert; each life has its own thousands.
const FROM: &str = "SANDWATCH_TEST_KILLED_FROM";
/// How often it is killed; a few times unless this says more.
const KILLS: &str = "SANDWATCH_TEST_KILLS";
/// Numbers of one life.
const LIFE: u64 = 1_000_000;
/// After so many alerts a life that nobody ends is over.
const MOST: u64 = 200_000;

/// The child. One sink works; one is down in every life but the last.
fn agent(dir: &Path, from: u64, last: bool) {
    let config = Config::default();
    let file =
        |name: &str, path: &Path| SinkConfig { name: name.to_owned(), ..SinkConfig::file(path.to_owned()) };
    let late = if last { dir.join("late") } else { "/dev/full".into() };
    let sinks = [file("up", &dir.join("up")), file("late", &late)];
    let envelope = crate::run::envelope(&config, "sha256:0", Path::new("/sys/fs/cgroup"));
    let drain = Duration::from_secs(60);
    let setup = Setup { sinks: &sinks, state_dir: Some(dir), spool: &config.spool, drain, envelope };
    let mut engine = Engine::open(setup).unwrap();
    // However full the disk is that tests run on: evictions are another test's matter.
    engine.spooler.as_mut().unwrap().writer.set_room(Box::new(|_| None));
    engine.start().unwrap();
    let most = if last { 10 } else { MOST };
    for number in from..from + most {
        let mut alert = alert(Class::ALL[number as usize % 3], number);
        if let Some(incident) = &mut alert.incident {
            incident.id = number.to_string();
        }
        engine.accept(alert);
        if number % 50 == 0 {
            // Too much at once would be left out, and counted: another test's matter.
            assert!(engine.wait_appended(drain));
        }
        for (id, _) in engine.take_appended() {
            eprintln!("accepted {id}");
        }
    }
    for (name, stats) in engine.finish() {
        eprintln!("{name}: {stats:?}");
    }
}

fn child(test: &str, dir: &Path, from: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(FOLDER, dir)
        .env(FROM, from.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What the child says that it accepted, until it ends; it is killed after so many.
fn live(mut child: Child, kill_after: Option<usize>) -> Vec<u64> {
    let mut accepted = Vec::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        if let Some(id) = line.unwrap().strip_prefix("accepted ") {
            // A last line may be torn, but only a whole number was printed whole.
            accepted.extend(id.parse::<u64>());
        }
        if kill_after.is_some_and(|after| accepted.len() >= after) {
            child.kill().unwrap();
        }
    }
    let status = child.wait().unwrap();
    assert!(kill_after.is_some() || status.success());
    accepted
}

/// Ids that a file has, after a check that every number of the stream is there or named.
fn received(path: &Path) -> BTreeSet<u64> {
    let text = std::fs::read(path).unwrap();
    let mut ids = BTreeSet::new();
    let mut seqs = BTreeSet::new();
    for line in text.split(|byte| *byte == b'\n') {
        // A line that was torn by a kill comes again.
        let Ok(alert) = serde_json::from_slice::<Alert>(line) else { continue };
        seqs.insert(alert.delivery.unwrap().seq);
        let named = alert.gap.into_iter().flat_map(|gap| gap.sequences);
        seqs.extend(named.flat_map(|[first, last]| first..=last));
        ids.extend(alert.id.parse::<u64>());
    }
    let last = *seqs.last().unwrap();
    assert_eq!(seqs.len() as u64, last, "every number up to {last} of {}", path.display());
    ids
}

#[test]
fn agent_that_is_killed_under_load_loses_nothing_that_it_accepted() {
    if let Some(dir) = std::env::var_os(FOLDER) {
        let from: u64 = std::env::var(FROM).unwrap().parse().unwrap();
        return agent(Path::new(&dir), from, !from.is_multiple_of(LIFE));
    }
    let test = "delivery::engine::kill_tests::agent_that_is_killed_under_load_loses_nothing_that_it_accepted";
    let kills: u64 = std::env::var(KILLS).map_or(5, |kills| kills.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut accepted = BTreeSet::new();
    for life in 1..=kills {
        let after = fastrand::usize(50..1000);
        let of_life = live(child(test, dir.path(), life * LIFE), Some(after));
        assert!(!of_life.is_empty(), "it was killed before its work began");
        accepted.extend(of_life);
    }
    accepted.extend(live(child(test, dir.path(), (kills + 1) * LIFE + 1), None));
    for sink in ["up", "late"] {
        let got = received(&dir.path().join(sink));
        let lost: Vec<u64> = accepted.difference(&got).copied().take(5).collect();
        assert!(lost.is_empty(), "{sink} lost {lost:?} … of {}", accepted.len());
    }
}
