//! What a running agent tells of itself on its socket.

use std::collections::BTreeSet;
use std::time::SystemTime;

use super::*;
use crate::control::{Ask, AskError, ConfigState, Listed, Status, ask};
use crate::detect::Saved;
use crate::kernel::{LaneCounters, WorkerCounters};
use monitor_common::hook::Signal;
use monitor_common::map::{LaneTally, Tally};

impl Rig {
    fn reports(&mut self) -> PathBuf {
        let socket = self.path("control.sock");
        self.agent.report(Some(&socket), None, ConfigState::default());
        socket
    }

    /// Asks while the agent turns.
    fn asked<T: serde::de::DeserializeOwned + Send + 'static>(
        &mut self,
        socket: &std::path::Path,
        question: Ask,
    ) -> T {
        let socket = socket.to_owned();
        let asking = std::thread::spawn(move || ask::<T>(&socket, &question));
        while !asking.is_finished() {
            self.turn();
        }
        asking.join().unwrap().unwrap()
    }
}

#[test]
fn status_has_workers_what_was_lost_of_each_and_why_something_is_wrong() {
    let mut rig = Rig::new();
    let socket = rig.reports();
    let tally = Tally { hits: 10, sent: 4, filtered: 3, lost: 2, throttled: 1, ..Tally::ZERO };
    let counters = &mut rig.agent.probes.state.counters;
    counters.workers.push(WorkerCounters { label: 1, signal: Signal::Open, tally });
    let tally = LaneTally { lost: 2, ..LaneTally::ZERO };
    counters.lanes.push(LaneCounters { lane: Lane::Priority, cpu: 0, tally });
    rig.agent.second_now();
    let status: Status = ask(&socket, &Ask::Status).unwrap();
    assert!(status.live && status.ready);
    let worker = &status.snapshot.workers[0];
    assert_eq!((&*worker.name, worker.seen, worker.lost, worker.throttled), ("my-toy", 10, 2, 1));
    let open = status.snapshot.signals.iter().find(|signal| signal.signal == "open").unwrap();
    assert_eq!(open.seen, open.sent + open.filtered + open.lost + open.throttled + open.errors);
    assert!(status.snapshot.wrong.iter().any(|why| why.contains("2 records were lost in the priority lane")));
    let (tables, spool) = (&status.snapshot.tables, &status.snapshot.spool);
    let names: Vec<&str> = tables.iter().map(|size| size.table.as_str()).collect();
    assert_eq!(names, ["processes", "workers", "cgroups", "waiting_events"]);
    assert_eq!(
        (tables[0].capacity, tables[1].entries, tables[2].entries >= 1),
        (65_536, 1, true),
        "{tables:?}"
    );
    assert!(spool.memory_capacity_bytes > 0 && status.snapshot.pods.is_none(), "{spool:?}");
    let page = crate::control::page(&status);
    assert!(page.starts_with("Live and ready, with something to look at"), "{page}");
    assert!(page.contains("my-toy"), "{page}");
}

#[test]
fn start_is_told_as_one_number_however_often_it_is_asked_for() {
    let mut rig = Rig::new();
    let socket = rig.reports();
    let board = Arc::clone(rig.agent.reporter.as_ref().unwrap().board());
    let mut told = BTreeSet::new();
    for _ in 0..5 {
        rig.agent.second_now();
        std::thread::sleep(Duration::from_millis(3));
        let text = crate::observe::metrics::render(&board, crate::observe::metrics::Text::Open).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("process_start_time_seconds "));
        told.insert(line.unwrap().to_owned());
    }
    assert_eq!(told.len(), 1, "each change is a restart to who watches: {told:?}");
    let told: f64 = told.first().unwrap().parse().unwrap();
    let status: Status = ask(&socket, &Ask::Status).unwrap();
    assert_eq!(told, status.snapshot.started_ms as f64 / 1e3);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - 60.0..=now).contains(&told), "{told}");
}

#[test]
fn refused_rules_are_in_the_status_until_they_are_good_again() {
    let mut rig = Rig::new();
    let socket = rig.reports();
    let profile = rig.path("rules/profiles/toy.yaml");
    let says = |rig: &mut Rig, text: &str| {
        fs::write(&profile, text).unwrap();
        rig.turn();
        rig.agent.second_now();
        ask::<Status>(&socket, &Ask::Status).unwrap().snapshot.rules
    };
    assert!(says(&mut rig, &PROFILE.replace("title:", "titel:")).refused);
    let good = says(&mut rig, &PROFILE.replace("A toy", "Another toy"));
    assert!(!good.refused);
    assert_eq!(good.digest, rig.agent.pipeline().rules().digest());
}

#[test]
fn workers_and_incidents_are_asked_of_the_agents_own_thread() {
    let mut rig = Rig::new();
    let socket = rig.reports();
    let record = fixture::open(rig.head(Kind::Open), "/etc/toy/key", access::READ, 0);
    rig.agent.probes.state.records.push_back(record);
    rig.turn();
    let workers: Vec<Listed> = rig.asked(&socket, Ask::Workers);
    assert_eq!((workers.len(), &*workers[0].name, &*workers[0].profile), (1, "my-toy", "toy"));
    let incidents: Vec<Saved> = rig.asked(&socket, Ask::Incidents);
    let id = rig.alerts()[0].incident.as_ref().unwrap().id.clone();
    assert_eq!((incidents.len(), incidents[0].id()), (1, &*id));
}

#[test]
fn socket_that_cannot_be_opened_is_a_health_alert_and_the_agent_goes_on() {
    let mut rig = Rig::new();
    let path = rig.path("there-is-no-such-folder/control.sock");
    rig.agent.report(Some(&path), None, ConfigState::default());
    rig.turn();
    assert_eq!(rig.alerts()[0].health.as_ref().unwrap().condition, "control-socket");
    assert!(matches!(ask::<Status>(&path, &Ask::Status), Err(AskError::Nobody { .. })));
}

#[test]
fn agent_that_has_ended_leaves_no_socket() {
    let mut rig = Rig::new();
    let socket = rig.reports();
    let Rig { dir: _dir, agent } = rig;
    agent.finish().unwrap();
    assert!(!socket.exists());
}
