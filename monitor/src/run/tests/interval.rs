//! What lies between two runs of the agent.

use super::*;

fn until(rig: &Rig) -> serde_json::Value {
    let text = fs::read_to_string(rig.path("state/watched-until")).unwrap();
    serde_json::from_str(text.trim()).unwrap()
}

/// A second agent on the first one's state.
fn next(first: Rig) -> (Rig, tempfile::TempDir) {
    let mut second = Rig::new();
    fs::create_dir(second.path("state")).unwrap();
    fs::copy(first.path("state/watched-until"), second.path("state/watched-until")).unwrap();
    let Rig { dir, agent } = first;
    drop(agent);
    let state = second.path("state");
    second.agent.keep_interval(&state);
    second.agent.second_now();
    second.turn();
    (second, dir)
}

#[test]
fn time_until_which_was_watched_is_kept_each_second_and_exactly_at_the_end() {
    let mut rig = Rig::new();
    rig.agent.keep_interval(&rig.path("state"));
    let first = until(&rig)["time"].as_u64().unwrap();
    std::thread::sleep(Duration::from_millis(5));
    rig.agent.second_now();
    assert_eq!(
        until(&rig)["time"],
        first,
        "nothing was read since: what a kill takes now was seen by nobody"
    );
    rig.turn();
    rig.agent.second_now();
    let second = until(&rig);
    assert!(second["time"].as_u64().unwrap() > first);
    assert!(second["born"].as_u64().unwrap() < second["time"].as_u64().unwrap());
    assert_eq!(second["stopped"], false);
    assert_eq!(rig.alerts(), [], "a first start misses nothing");
    let Rig { dir, agent } = rig;
    agent.finish().unwrap();
    let text = fs::read_to_string(dir.path().join("state/watched-until")).unwrap();
    assert!(text.contains("\"stopped\":true"), "{text}");
}

#[test]
fn next_start_says_one_gap_with_the_interval() {
    let mut first = Rig::new();
    first.agent.keep_interval(&first.path("state"));
    let (second, _dir) = next(first);
    let gaps: Vec<Alert> = second.alerts().into_iter().filter(|alert| alert.gap.is_some()).collect();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let gap = gaps[0].gap.as_ref().unwrap();
    assert_eq!(gap.reason, "restart");
    assert!(Some(&gap.from) < gap.to.as_ref(), "{gap:?}");
    assert!(gap.detail.as_deref().unwrap_or_default().contains("killed"), "{gap:?}");
}

#[test]
fn time_of_an_earlier_boot_is_no_gap_if_nothing_ran_before_the_agent() {
    let mut first = Rig::new();
    first.agent.keep_interval(&first.path("state"));
    let text = fs::read_to_string(first.path("state/watched-until")).unwrap();
    let boot = until(&first)["boot"].as_str().unwrap().to_owned();
    fs::write(first.path("state/watched-until"), text.replace(&boot, "another-boot")).unwrap();
    let (second, _dir) = next(first);
    assert_eq!(second.alerts(), []);
}

#[test]
fn file_that_cannot_be_written_is_said_and_the_agent_goes_on() {
    let mut rig = Rig::new();
    fs::write(rig.path("state"), "a file").unwrap();
    rig.agent.keep_interval(&rig.path("state"));
    rig.agent.second_now();
    rig.turn();
    assert_eq!(rig.alerts()[0].health.as_ref().unwrap().condition, "watched-until");
}

#[test]
fn earlier_time_stands_until_what_was_found_is_said() {
    let mut first = Rig::new();
    first.agent.keep_interval(&first.path("state"));
    let before = until(&first);
    first.agent.interval = None;
    first.turn();
    first.agent.keep_interval(&first.path("state"));
    assert_eq!(until(&first), before, "killed now, its gap would be said by nobody");
    first.agent.second_now();
    assert_eq!(first.agent.progress.handed, 1, "the gap: it may be in memory only");
    let goes_on = || {
        first.turn();
        first.agent.second_now();
        until(&first)["time"].as_u64() > before["time"].as_u64()
    };
    assert!(std::iter::repeat_with(goes_on).take(500).any(|goes_on| goes_on), "it is in the spool by now");
}

#[test]
fn process_of_the_last_second_is_judged_again_after_a_kill_and_not_after_an_end_in_order() {
    for stopped in [false, true] {
        let mut rig = Rig::new();
        rig.agent.keep_interval(&rig.path("state"));
        rig.turn();
        rig.agent.watched(stopped);
        let text = until(&rig);
        let since = text["time"].as_u64().unwrap() - text["born"].as_u64().unwrap();
        assert_eq!(since, if stopped { 0 } else { SECOND });
    }
}

#[test]
fn time_goes_on_only_to_what_is_in_the_spool() {
    let dir = tempfile::tempdir().unwrap();
    let file = fs::File::create(dir.path().join("x")).unwrap();
    let mut interval = super::super::interval::Interval::new(file, "boot".into());
    let at = |until| crate::pipeline::Judged { until, born: until };
    let mut advance = |until, handed, spooled| {
        interval.advance(at(until), handed, spooled);
        interval.settled().map(|judged| judged.until)
    };
    assert_eq!(advance(10, 0, 0), Some(10));
    assert_eq!(advance(20, 1, 0), Some(10), "an alert of what was judged by then is on its way");
    assert_eq!(advance(30, 2, 0), Some(10));
    assert_eq!(advance(40, 3, 1), Some(20), "it is there, newer ones are not");
    assert_eq!(advance(50, 4, 3), Some(40));
    assert_eq!(advance(60, 4, 4), Some(60));
}
