//! Sinks that change while the agent runs.

use super::reload::{Next, conditions, following};
use super::*;
use crate::alert::State::{Closed, Open};
use crate::control::ConfigState;
use crate::delivery::NoThread;
use crate::ledger::{Entry, What};

const LONG: Duration = Duration::from_secs(60);

/// Turns until something is so.
fn until(rig: &mut Rig, what: &str, mut is_so: impl FnMut(&mut Rig) -> bool) {
    let until = std::time::Instant::now() + LONG;
    while !is_so(rig) {
        assert!(std::time::Instant::now() < until, "{what}: not within {LONG:?}");
        rig.turn();
    }
}

/// Turns until nothing is left of a change of sinks.
fn exchanged(rig: &mut Rig) {
    until(rig, "the exchange ends", |rig| rig.agent.outlets.is_at_rest() && !rig.agent.sinks.is_exchanging());
}

/// Turns until a look at sinks is over, or what it allows has begun.
fn looked(rig: &mut Rig) {
    until(rig, "the look ends", |rig| !rig.agent.outlets.is_looking());
}

/// An agent with a spool on disk, whose configuration is whatever lies in the cell.
fn on_disk(rig: &mut Rig) -> (Config, Next) {
    let (mut config, next) = following(rig);
    config.state_dir = rig.path("state");
    config.sinks = vec![SinkConfig::file(rig.path("alerts"))];
    fs::create_dir(&config.state_dir).unwrap();
    let envelope = envelope(&config, "sha256:0", std::path::Path::new("/sys/fs/cgroup"));
    let mut engine = Engine::open(crate::delivery::Setup::of(&config, envelope)).unwrap();
    engine.start().unwrap();
    rig.agent.sinks = engine;
    rig.agent.report(None, None, ConfigState { digest: "sha256:1".into(), ..ConfigState::default() });
    rig.agent.keep_log(&rig.path("state"), "sha256:1");
    rig.agent.follow_config(config.clone(), "sha256:1".into());
    (config, next)
}

fn named(rig: &Rig, name: &str) -> SinkConfig {
    SinkConfig { name: name.into(), ..SinkConfig::file(rig.path(name)) }
}

impl Rig {
    /// What a scrape says of the configuration, and what is wrong in words.
    fn told(&mut self) -> (ConfigState, Vec<String>, String) {
        self.agent.second_now();
        let board = Arc::clone(self.agent.reporter.as_ref().unwrap().board());
        let snapshot = board.status().snapshot;
        let text = crate::observe::metrics::render(&board, crate::observe::metrics::Text::Open).unwrap();
        (snapshot.config, snapshot.wrong, text)
    }

    /// What the local log has of the configuration.
    fn logged(&self) -> Vec<What> {
        let text = fs::read_to_string(self.path("state/log/00000000000000000001.jsonl")).unwrap();
        let all = text.lines().map(|line| serde_json::from_str::<Entry>(line).unwrap().what);
        all.filter(|what| {
            matches!(what, What::ConfigChanged { .. } | What::SinksChanged { .. } | What::SinksStay { .. })
        })
        .collect()
    }
}

#[test]
fn sinks_change_without_a_restart_and_get_what_comes_from_there_on() {
    let mut rig = Rig::new();
    let (mut config, next) = on_disk(&mut rig);
    config.sinks = vec![named(&rig, "other")];
    *next.borrow_mut() = Ok(config.clone());
    rig.agent.reload("a test");
    // A second change meanwhile is not forgotten, whatever becomes of the first one at that moment.
    config.environment = Some("staging".into());
    *next.borrow_mut() = Ok(config.clone());
    rig.agent.reload("a test");
    assert!(rig.agent.outlets.is_looking());
    looked(&mut rig);
    config.cluster = Some("c".into());
    *next.borrow_mut() = Ok(config);
    rig.agent.reload("a test");
    until(&mut rig, "the last change is in force", |rig| {
        rig.agent.pipeline.detector.envelope.cluster.is_some()
    });
    assert_eq!(rig.agent.pipeline.detector.envelope.environment.as_deref(), Some("staging"));
    rig.theft();
    assert!(rig.agent.sinks.settle(LONG));
    assert!(fs::read_to_string(rig.path("other")).unwrap().contains("/etc/toy/key"));
    assert!(!fs::read_to_string(rig.path("alerts")).unwrap_or_default().contains("/etc/toy/key"));
    let (config, wrong, _) = rig.told();
    assert_eq!((&*config.digest, &*config.sinks_digest, config.refused), ("sha256:2", "sha256:2", false));
    assert_eq!(wrong, [] as [String; 0]);
    let changed = What::ConfigChanged { from: "sha256:1".into(), to: "sha256:2".into() };
    assert_eq!(rig.logged(), [changed, What::SinksChanged { to: "sha256:2".into() }]);
}

#[test]
fn sinks_that_can_never_work_are_refused_with_all_that_came_with_them() {
    let mut rig = Rig::new();
    let (config, next) = on_disk(&mut rig);
    let environment = Some("staging".into());
    let never = SinkConfig {
        name: "never".into(),
        kind: crate::config::SinkKind::Http,
        url: Some(crate::profile::doc::OneOrMany(vec!["ftp://host/".into()])),
        ..SinkConfig::stdout()
    };
    *next.borrow_mut() = Ok(Config { sinks: vec![never], environment, ..config.clone() });
    rig.agent.reload("a test");
    looked(&mut rig);
    assert!(!rig.agent.sinks.is_exchanging());
    rig.turn();
    let alert = rig.alerts().remove(0);
    let health = alert.health.unwrap();
    assert_eq!(health.condition, "config-refused");
    assert!(health.detail.contains("never"), "{}", health.detail);
    assert_eq!(rig.agent.pipeline.detector.envelope.environment, None, "nothing of it is in force");
    let (config, wrong, _) = rig.told();
    assert_eq!((&*config.digest, &*config.sinks_digest, config.refused), ("sha256:1", "sha256:1", true));
    assert!(wrong[0].contains("the old one stays in force"), "{wrong:?}");
    assert_eq!(rig.logged(), []);
}

#[test]
fn key_that_does_not_open_holds_the_agent_up_neither_before_nor_after_it_is_refused() {
    let mut rig = Rig::new();
    let (mut config, next) = on_disk(&mut rig);
    rig.agent.sinks.be_short();
    let key = rig.path("key");
    nix::unistd::mkfifo(&key, nix::sys::stat::Mode::S_IRWXU).unwrap();
    config.sinks.push(SinkConfig {
        name: "hangs".into(),
        kind: crate::config::SinkKind::Http,
        url: Some(crate::profile::doc::OneOrMany(vec!["http://127.0.0.1:9/".into()])),
        key_file: Some(key.clone()),
        ..SinkConfig::stdout()
    });
    *next.borrow_mut() = Ok(config);
    // Somebody writes the key in the end, lest a test that fails hangs.
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(5));
        fs::write(key, "secret\n")
    });
    let began = std::time::Instant::now();
    rig.agent.reload("a test");
    rig.theft();
    assert!(rig.agent.outlets.is_looking(), "it finds while the look hangs");
    looked(&mut rig);
    rig.turn();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(rig.alerts().iter().any(|alert| alert.incident.is_some()));
    assert_eq!(conditions(&rig), [("config-refused".into(), Open)]);
    assert_eq!(rig.told().0.digest, "sha256:1");
}

#[test]
fn exchange_that_fails_is_in_status_metrics_and_log_until_the_sinks_are_those_of_the_file() {
    let mut rig = Rig::new();
    let (mut config, next) = on_disk(&mut rig);
    // Who is told has to be there before and after.
    config.sinks.push(named(&rig, "other"));
    config.environment = Some("staging".into());
    *next.borrow_mut() = Ok(config);
    rig.agent.reload("a test");
    while !rig.path("other").exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    // Between the look and the exchange.
    rig.agent.sinks.disk_takes_nothing(true);
    exchanged(&mut rig);
    let (told, wrong, metrics) = rig.told();
    assert_eq!((&*told.digest, &*told.sinks_digest, told.refused), ("sha256:2", "sha256:1", true));
    assert!(told.sinks_why.unwrap().contains("takes nothing"));
    assert!(
        wrong[0].contains("of the configuration sha256:1") && wrong[0].contains("make room"),
        "{wrong:?}"
    );
    for line in [
        "sandwatch_config_info{digest=\"sha256:2\"} 1.0",
        "sandwatch_sinks_config_info{digest=\"sha256:1\"} 1.0",
        "sandwatch_config_last_reload_successful 0",
    ] {
        assert!(metrics.lines().any(|has| has == line), "{line}: {metrics}");
    }
    rig.agent.sinks.disk_takes_nothing(false);
    let alert = rig.alerts().remove(0);
    let health = alert.health.unwrap();
    assert_eq!((&*health.condition, alert.environment.as_deref()), ("config-refused", Some("staging")));
    assert!(
        health.detail.contains("those of sha256:1") && health.detail.contains("takes nothing"),
        "{health:?}"
    );
    // The file is as it was, and the disk has room.
    rig.agent.reload("a test");
    exchanged(&mut rig);
    rig.turn();
    assert_eq!(conditions(&rig), [("config-refused".into(), Open), ("config-refused".into(), Closed)]);
    let (told, wrong, _) = rig.told();
    assert_eq!((&*told.sinks_digest, told.sinks_why, told.refused), ("sha256:2", None, false));
    assert_eq!(wrong, [] as [String; 0]);
    let [changed, stay, sinks] = rig.logged().try_into().unwrap();
    assert_eq!(changed, What::ConfigChanged { from: "sha256:1".into(), to: "sha256:2".into() });
    assert!(
        matches!(&stay, What::SinksStay { of, refused, error }
            if of == "sha256:1" && refused == "sha256:2" && error.contains("takes nothing")),
        "{stay:?}"
    );
    assert_eq!(sinks, What::SinksChanged { to: "sha256:2".into() });
}

#[test]
fn standstill_for_want_of_threads_is_in_status_and_metrics_and_a_condition_until_it_ends() {
    let mut rig = Rig::new();
    let (mut config, next) = on_disk(&mut rig);
    rig.agent.sinks.be_short();
    let none = NoThread::of_sink("wants-a-thread");
    config.sinks.push(named(&rig, "wants-a-thread"));
    *next.borrow_mut() = Ok(config);
    rig.agent.reload("a test");
    until(&mut rig, "it is told", |rig| rig.agent.outlets.why.is_some());
    let (told, wrong, metrics) = rig.told();
    assert_eq!((&*told.sinks_digest, told.refused), ("sha256:1", true));
    assert!(wrong.iter().any(|wrong| wrong.contains("nothing is delivered")), "{wrong:?}");
    assert!(metrics.contains("sandwatch_config_last_reload_successful 0\n"));
    for _ in 0..20 {
        rig.turn();
    }
    assert!(rig.agent.sinks.is_exchanging(), "it is tried again");
    drop(none);
    exchanged(&mut rig);
    rig.turn();
    assert_eq!(conditions(&rig), [("config-refused".into(), Open), ("config-refused".into(), Closed)]);
    let (told, wrong, _) = rig.told();
    assert_eq!((&*told.sinks_digest, told.sinks_why, told.refused), ("sha256:2", None, false));
    assert_eq!(wrong, [] as [String; 0]);
}
