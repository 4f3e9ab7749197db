//! A configuration that changes while the agent runs.

use super::*;
use crate::run::{Loaded, NewConfig, Refused};
use std::cell::RefCell;
use std::rc::Rc;

pub(super) type Next = Rc<RefCell<Result<Config, String>>>;

/// An agent whose configuration is whatever lies in the cell.
pub(super) fn following(rig: &mut Rig) -> (Config, Next) {
    let mut config = Config::default();
    config.workers.watch = vec!["/lab/*".into()];
    config.workers.assign = vec![Assign {
        cgroup: "/lab/toy".into(),
        profile: "toy".into(),
        name: Some("my-toy".into()),
        ..Assign::default()
    }];
    let next: Next = Rc::new(RefCell::new(Ok(config.clone())));
    let (from, folders) = (Rc::clone(&next), vec![rig.path("rules")]);
    rig.agent.rules = RuleFiles::whole(
        Box::new(move || {
            let config = from.borrow().clone().map_err(Refused::Config)?;
            let rules = RuleSet::load(&folders)?;
            let config = Some(NewConfig { config, digest: "sha256:2".into(), folders: folders.clone() });
            Ok(Loaded { rules, config })
        }),
        Vec::new(),
        None,
    );
    rig.agent.follow_config(config.clone(), "sha256:1".into());
    (config, next)
}

pub(super) fn conditions(rig: &Rig) -> Vec<(String, crate::alert::State)> {
    rig.alerts().into_iter().filter_map(|alert| Some((alert.health?.condition, alert.state))).collect()
}

#[test]
fn labels_workers_and_names_change_without_a_restart() {
    let mut rig = Rig::new();
    let (mut config, next) = following(&mut rig);
    config.environment = Some("staging".into());
    config.workers.assign[0].name = Some("renamed".into());
    config.workers.watch = vec!["/else/*".into()];
    *next.borrow_mut() = Ok(config);
    rig.agent.reload("a test");
    let record = fixture::open(rig.head(Kind::Open), "/etc/toy/key", access::READ, 0);
    rig.agent.probes.state.records.push_back(record);
    rig.turn();
    let alert = rig.alerts().into_iter().find(|alert| alert.incident.is_some()).unwrap();
    assert_eq!(alert.environment.as_deref(), Some("staging"));
    assert_eq!(alert.worker.unwrap().name, "renamed");
}

#[test]
fn worker_that_is_named_no_more_is_let_go_and_a_new_one_found() {
    let mut rig = Rig::new();
    make_cgroup(&rig.path("cgroup/lab/other"));
    let (mut config, next) = following(&mut rig);
    rig.agent.look("/", false);
    let (toy, other) = (id(&rig.path("cgroup/lab/toy")), id(&rig.path("cgroup/lab/other")));
    assert!(rig.agent.probes.state.labels.contains_key(&toy));
    config.workers.assign.clear();
    config.workers.watch = vec!["/lab/other".into()];
    *next.borrow_mut() = Ok(config);
    rig.agent.reload("a test");
    let labels = &rig.agent.probes.state.labels;
    assert!(!labels.contains_key(&toy) && labels.contains_key(&other));
}

#[test]
fn change_that_needs_a_restart_is_refused_as_a_whole_and_named() {
    let mut rig = Rig::new();
    let (config, next) = following(&mut rig);
    let mut other = config.clone();
    other.environment = Some("staging".into());
    other.kernel.max_processes += 1;
    *next.borrow_mut() = Ok(other);
    rig.agent.reload("a test");
    rig.turn();
    let alert = rig.alerts().remove(0);
    let health = alert.health.unwrap();
    assert_eq!(health.condition, "config-refused");
    assert!(health.detail.contains("kernel changed"), "{}", health.detail);
    assert_eq!(rig.agent.pipeline.detector.envelope.environment, None, "nothing of it is in force");
    *next.borrow_mut() = Ok(config);
    rig.agent.reload("a test");
    rig.turn();
    let (open, closed) = (crate::alert::State::Open, crate::alert::State::Closed);
    assert_eq!(conditions(&rig), [("config-refused".into(), open), ("config-refused".into(), closed)]);
}

#[test]
fn configuration_that_is_bad_changes_neither_it_nor_the_rules() {
    let mut rig = Rig::new();
    let (_, next) = following(&mut rig);
    let before = rig.agent.pipeline().rules().digest().to_owned();
    fs::write(rig.path("rules/profiles/toy.yaml"), PROFILE.replace("A toy", "Another toy")).unwrap();
    *next.borrow_mut() = Err("line 3: unknown key".into());
    rig.agent.reload("a test");
    rig.turn();
    assert_eq!(rig.agent.pipeline().rules().digest(), before);
    assert_eq!(conditions(&rig), [("config-refused".into(), crate::alert::State::Open)]);
}

#[test]
fn metrics_move_to_another_address_without_a_restart() {
    let mut rig = Rig::new();
    let (mut config, next) = following(&mut rig);
    let free = || std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let (first, second) = (free(), free());
    config.listen = Some(first.to_string());
    rig.agent.follow_config(config.clone(), "sha256:1".into());
    rig.agent.report(None, None, crate::control::ConfigState::default());
    rig.agent.serve_metrics(config.listen.as_deref());
    let answers = |at| std::net::TcpStream::connect(at).is_ok();
    assert!(answers(first));
    config.listen = Some(second.to_string());
    *next.borrow_mut() = Ok(config);
    rig.agent.reload("a test");
    assert!(answers(second) && !answers(first));
}

#[test]
fn who_is_asked_about_pods_changes_without_a_restart() {
    let mut rig = Rig::new();
    let (mut config, next) = following(&mut rig);
    config.pods.from = crate::config::PodsFrom::Kubelet;
    *next.borrow_mut() = Ok(config.clone());
    rig.agent.reload("a test");
    assert!(rig.agent.learning.is_some());
    rig.agent.say_pods(Some("nobody answers"), boot_now());
    config.pods.from = crate::config::PodsFrom::None;
    *next.borrow_mut() = Ok(config);
    rig.agent.reload("a test");
    assert!(rig.agent.learning.is_none());
    rig.turn();
    let (open, closed) = (crate::alert::State::Open, crate::alert::State::Closed);
    assert_eq!(conditions(&rig), [("pods-unknown".into(), open), ("pods-unknown".into(), closed)]);
}
