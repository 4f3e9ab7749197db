//! A receiver that takes a request and never answers, beside one that works: with the threads that the agent has.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use integration::fakes::{Fault, alerts, engine};
use monitor::delivery::{Engine, SinkStats};

use crate::deliver::ids;
use crate::rig::{Kind, Rig};

/// Longer than anything here takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than the whole test: whoever waits for it never comes back.
const FOREVER: &str = "600s";
const DRAIN: Duration = Duration::from_millis(500);

fn start(state: &Path, rigs: &[(&str, &Rig)], timeout: &str) -> Engine {
    let sink = |(name, rig): &(&str, &Rig)| {
        format!("name: {name}, type: http, url: \"{}\", retry: 50ms, timeout: {timeout}", rig.server().url())
    };
    let sinks: Vec<String> = rigs.iter().map(sink).collect();
    engine::start(&engine::configured(state, "drain: 500ms", &sinks).unwrap()).unwrap()
}

fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn of(stats: &[(String, SinkStats)], name: &str) -> SinkStats {
    stats.iter().find(|(sink, _)| sink == name).unwrap().1
}

#[test]
fn sink_that_hangs_delays_no_other_is_left_behind_at_the_end_and_misses_nothing_after_the_next_start() {
    let state = tempfile::tempdir().unwrap();
    let (hanging, working) = (Kind::Http.start(), Kind::Http.start());
    let rigs = [("hangs", &hanging), ("works", &working)];
    let engine = start(state.path(), &rigs, FOREVER);
    hanging.server().fail(Fault::Hang(Duration::from_secs(600)));
    engine.accept(alerts::plain(1).unwrap());
    eventually("it hangs", || hanging.server().seen().len() == 1);
    // One after the other, each of them there before the next is raised.
    for number in 2..=50 {
        engine.accept(alerts::plain(number).unwrap());
        let id = alerts::id(number);
        let raised = Instant::now();
        eventually("the other has it", || working.received().contains(&id));
        assert!(raised.elapsed() < Duration::from_secs(10), "after {:?}", raised.elapsed());
    }
    // What was there before its thread was is taken for something that had piled up, and may wait some seconds.
    eventually("and the first", || working.received() == ids(1..=50));
    eventually("what it has is written down", || of(&engine.stats(), "works").waiting == 0);
    assert_eq!(of(&engine.stats(), "hangs").waiting, 50);
    // The end waits for it no longer than it may.
    let began = Instant::now();
    let stats = engine.finish();
    assert!(began.elapsed() < DRAIN + Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!((of(&stats, "hangs").waiting, of(&stats, "works").waiting), (50, 0), "{stats:?}");
    assert_eq!((hanging.received(), hanging.server().seen().len()), (BTreeSet::new(), 1), "it still hangs");
    let engine = start(state.path(), &rigs, "5s");
    (51..=60).for_each(|number| engine.accept(alerts::plain(number).unwrap()));
    assert!(engine.settle(PATIENCE), "{:?}", engine.stats());
    engine.finish();
    for (name, rig) in rigs {
        assert_eq!(rig.received(), ids(1..=60), "{name}");
        let numbers: Vec<u64> =
            rig.alerts().iter().map(|alert| alert["delivery"]["seq"].as_u64().unwrap()).collect();
        assert_eq!(numbers.len(), 60, "{name}: none twice: {numbers:?}");
    }
}
