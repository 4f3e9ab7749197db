//! Heartbeats of a running agent.

use super::*;
use crate::alert::AlertKind;
use crate::kernel::LaneCounters;
use monitor_common::map::LaneTally;

/// An agent whose one sink takes heartbeats.
fn rig() -> Rig {
    let config = SinkConfig { kinds: vec![AlertKind::Heartbeat], ..SinkConfig::file("alerts".into()) };
    let mut rig = Rig::new();
    let config = SinkConfig { path: Some(rig.path("alerts")), ..config };
    rig.agent.sinks = engine(&[config]);
    rig.agent.sinks.start().unwrap();
    rig
}

/// The first heartbeat, within the time a disk may take.
fn first(rig: &mut Rig) -> Alert {
    for _ in 0..100 {
        rig.agent.second_now();
        if let Some(alert) = rig.alerts().pop() {
            return alert;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("no heartbeat");
}

#[test]
fn heartbeat_goes_out_at_the_start_and_not_each_second() {
    let mut rig = rig();
    rig.agent.beat(Duration::from_secs(300), "full:0011223344556677".into());
    first(&mut rig);
    rig.agent.second_now();
    rig.agent.second_now();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(rig.alerts().len(), 1);
}

#[test]
fn heartbeat_says_what_was_lost_and_where_the_log_stands() {
    let mut rig = rig();
    rig.agent.keep_log(&rig.path("state"), "sha256:1");
    let tally = LaneTally { lost: 7, ..LaneTally::ZERO };
    rig.agent.probes.state.counters.lanes.push(LaneCounters { lane: Lane::Priority, cpu: 0, tally });
    rig.agent.beat(Duration::from_secs(60), "partial:0011223344556677".into());
    let alert = first(&mut rig);
    let info = alert.heartbeat.unwrap();
    assert_eq!((info.every, info.lost.events), (60, 7));
    assert_eq!(info.coverage.as_deref(), Some("partial:0011223344556677"));
    let head = info.log.unwrap().parse().unwrap();
    let verified = crate::ledger::verify(&rig.path("state"), &[head]).unwrap();
    assert!(verified.broken.is_none() && verified.notes.is_empty(), "{verified:?}");
    assert!(
        alert.agent.rules.starts_with("sha256:")
            && alert.host.name == rig.agent.pipeline.detector.envelope.host.name
    );
}

#[test]
fn heartbeat_without_a_log_says_so_and_goes_out() {
    let mut rig = rig();
    rig.agent.beat(Duration::from_secs(60), "none:0011223344556677".into());
    assert_eq!(first(&mut rig).heartbeat.unwrap().log, None);
}
