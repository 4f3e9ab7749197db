//! The whole way, from what the agent's thread hands over to what each receiver has, with receivers that fail, go and come.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use integration::fakes::authority::{self, Pair};
use integration::fakes::leaks::{Log, everything, parrot};
use integration::fakes::{Fault, Reply, Server, alerts, engine};
use monitor::config::Config;
use monitor::delivery::Engine;
use serde_json::Value;

use crate::deliver::ids;
use crate::rig::{KINDS, Kind, Rig, token_file};
use crate::rsyslog::Rsyslog;

/// Longer than anything here takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// A configuration of the agent with these sinks and its state in this folder.
fn configured(state: &Path, sinks: &[String]) -> Config {
    let sinks: Vec<String> = sinks.iter().map(|sink| format!("{sink}, retry: 50ms, timeout: 1s")).collect();
    engine::configured(state, "drain: 300ms", &sinks).unwrap_or_else(|error| panic!("{error}"))
}

fn start(config: &Config) -> Engine {
    engine::start(config).unwrap_or_else(|error| panic!("{error}"))
}

fn sink(name: &str, kind: Kind, rig: &Rig) -> String {
    let type_ = kind.type_name();
    let secret = match kind {
        Kind::Splunk | Kind::SplunkAck => format!(", key_file: {}", token_file()),
        _ => String::new(),
    };
    let url = rig.server().url();
    format!("name: {name}, type: {type_}, format: json, url: \"{url}\"{secret}")
}

fn accept(engine: &Engine, number: u64) {
    engine.accept(alerts::plain(number).unwrap());
}

/// Every alert of `1..=last` is among `got`, and every number of one stream, whichever way it was counted.
fn complete(what: &str, got: &[Value], last: u64) {
    let received: BTreeSet<String> =
        got.iter().map(|alert| alert["id"].as_str().unwrap().to_owned()).collect();
    let missing: Vec<_> = ids(1..=last).difference(&received).cloned().collect();
    assert!(missing.is_empty(), "{what} has not: {missing:?}");
    let numbers: BTreeSet<u64> = got.iter().map(|alert| alert["delivery"]["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=last).collect(), "{what}: the numbers of the stream");
    let streams: BTreeSet<&str> =
        got.iter().map(|alert| alert["delivery"]["stream"].as_str().unwrap()).collect();
    assert_eq!(streams.len(), 1, "{what}: one stream");
}

#[test]
fn every_receiver_fails_goes_and_comes_and_has_every_alert_and_every_number() {
    let state = tempfile::tempdir().unwrap();
    let mut rigs: Vec<Rig> = KINDS.iter().map(|(_, kind)| kind.start()).collect();
    let mut rsyslog = Rsyslog::plain();
    let mut sinks: Vec<String> =
        KINDS.iter().zip(&rigs).map(|((name, kind), rig)| sink(name, *kind, rig)).collect();
    sinks.push(format!("name: syslog, type: syslog, address: \"tcp://{}\"", rsyslog.address));
    let engine = start(&configured(state.path(), &sinks));
    let send = |numbers: std::ops::RangeInclusive<u64>| {
        for number in numbers {
            accept(&engine, number);
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let settle = || assert!(engine.settle(PATIENCE), "{:?}", engine.stats());
    let fail = |rigs: &[Rig]| {
        for rig in rigs {
            rig.server().fail(Fault::Cut);
            rig.server().fail(Fault::CutAfter);
            rig.server().fail(Fault::Answer(Reply::text(503, "not now")));
            rig.server().fail(Fault::HalfAnswer);
            rig.server().fail(Fault::Answer(Reply::text(429, "").with("retry-after", "0")));
        }
    };
    send(1..=100);
    fail(&rigs);
    send(101..=200);
    settle();
    // All of them die at once, and come back a little later.
    send(201..=250);
    rigs.iter_mut().for_each(|rig| rig.server_mut().stop());
    rsyslog.kill();
    let before: Vec<Vec<Value>> = rigs.iter().map(Rig::alerts).collect();
    send(251..=350);
    for ((_, kind), rig) in KINDS.iter().zip(&mut rigs) {
        *rig = kind.start_at(rig.server().address()).unwrap();
    }
    rsyslog.start_again();
    send(351..=450);
    settle();
    fail(&rigs);
    send(451..=600);
    settle();
    let stats = engine.finish();
    for (((name, _), rig), mut got) in KINDS.iter().zip(&rigs).zip(before) {
        got.extend(rig.alerts());
        complete(name, &got, 600);
    }
    rsyslog.wait_for(&ids(1..=600));
    complete("syslog", &rsyslog.alerts(), 600);
    for (name, stats) in stats {
        assert_eq!((stats.queued, stats.acknowledged, stats.waiting), (600, 600, 0), "{name}: {stats:?}");
        assert!(stats.retried > 0 && stats.rejected == 0, "{name}: {stats:?}");
    }
}

#[test]
fn what_an_agent_could_not_send_goes_out_at_its_next_start() {
    let state = tempfile::tempdir().unwrap();
    let mut rig = Kind::Elasticsearch.start();
    let config = configured(state.path(), &[sink("elastic", Kind::Elasticsearch, &rig)]);
    let engine = start(&config);
    (1..=20).for_each(|number| accept(&engine, number));
    assert!(engine.settle(PATIENCE));
    rig.server_mut().stop();
    let mut got = rig.alerts();
    (21..=60).for_each(|number| accept(&engine, number));
    let stats = engine.finish();
    assert_eq!(stats[0].1.waiting, 40, "{stats:?}");
    let rig = Kind::Elasticsearch.start_at(rig.server().address()).unwrap();
    let engine = start(&config);
    (61..=70).for_each(|number| accept(&engine, number));
    assert!(engine.settle(PATIENCE), "{:?}", engine.stats());
    got.extend(rig.alerts());
    complete("elastic", &got, 70);
    assert_eq!(got.len(), 70, "and none twice");
}

#[test]
fn sinks_with_tls_have_room_enough_on_their_threads() {
    let state = tempfile::tempdir().unwrap();
    let rsyslog = Rsyslog::with_tls();
    let pair = Pair { certificate: rsyslog.file("server.pem"), key: rsyslog.file("server.key") };
    let tls = authority::server(&pair, Some(&rsyslog.file("ca.pem"))).unwrap();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&lines);
    let server = Server::start_tls(tls, move |request| {
        let text = request.text();
        taken.lock().unwrap().extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        Reply::text(200, "")
    })
    .unwrap();
    let show = |name: &str| rsyslog.file(name).display().to_string();
    let ours = format!(
        "tls: {{ ca_file: {}, cert_file: {}, key_file: {} }}",
        show("ca.pem"),
        show("client.pem"),
        show("client.key")
    );
    let (web, log) = (server.address().port(), rsyslog.address.port());
    let sinks = [
        format!("name: web, type: http, url: \"https://localhost:{web}/\", gzip: true, {ours}"),
        format!("name: log, type: syslog, address: \"tls://localhost:{log}\", {ours}"),
    ];
    let engine = start(&configured(state.path(), &sinks));
    (1..=100).for_each(|number| accept(&engine, number));
    assert!(engine.settle(PATIENCE), "{:?}", engine.stats());
    complete("web", &lines.lock().unwrap(), 100);
    rsyslog.wait_for(&ids(1..=100));
    complete("log", &rsyslog.alerts(), 100);
}

#[test]
fn no_secret_is_in_the_spool_the_dead_letters_the_log_or_the_counters() {
    let (state, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = Log::of_process().unwrap();
    let key = keys.path().join("key");
    std::fs::write(&key, "s3cret-of-the-key").unwrap();
    let servers = [400, 500, 200].map(|status| parrot(status).unwrap());
    let mut sinks = Vec::new();
    for (number, server) in servers.iter().enumerate() {
        for (name, _) in [("http", 0), ("elasticsearch", 0), ("splunk", 0), ("otlp", 0)] {
            let url = format!("{}/?token=s3cret-of-the-query", server.url());
            let key = key.display();
            sinks.push(format!("name: {name}-{number}, type: {name}, url: \"{url}\", key_file: {key}"));
        }
    }
    let engine = start(&configured(state.path(), &sinks));
    (1..=5).for_each(|number| accept(&engine, number));
    let all_seen =
        || servers.iter().all(|server| format!("{:?}", server.seen()).contains("s3cret-of-the-key"));
    let until = Instant::now() + Duration::from_secs(60);
    while !(all_seen() && everything(state.path()).is_ok_and(|kept| kept.contains("dead/http-0.jsonl"))) {
        assert!(Instant::now() < until, "not every server was asked: {:?}", engine.stats());
        std::thread::sleep(Duration::from_millis(50));
    }
    engine.reopen();
    let stats = format!("{:?} {:?}", engine.stats(), engine.finish());
    let (kept, logged) = (everything(state.path()).unwrap(), log.text());
    assert!(kept.contains("dead/http-0.jsonl") && logged.contains("http-0"), "{kept}\n{logged}");
    for (what, text) in [("kept", kept), ("logged", logged), ("counted", stats)] {
        let found = text.find("s3cret-of").map(|at| &text[at.saturating_sub(200)..(at + 50).min(text.len())]);
        assert_eq!(found, None, "a secret was {what}");
    }
}
