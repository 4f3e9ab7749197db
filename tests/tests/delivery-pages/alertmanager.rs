//! A real Alertmanager: what its own receivers hear of an incident that opens, rises and is closed, behind a gate that does
//! wrong on demand.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use integration::fakes::program::{Program, free_address};
use integration::fakes::server::ANY;
use integration::fakes::{Fault, Reply, Request, Server};
use serde_json::Value;

use crate::agent::{Agent, eventually, incident};

const PROGRAM: &str = "/usr/bin/prometheus-alertmanager";

/// The rules that are shipped.
const INHIBIT: &str = include_str!("../../../deploy/alertmanager/inhibit-rules.yaml");

/// An Alertmanager with a receiver of its own, and a gate in front of it.
pub(crate) struct Alertmanager {
    /// What is sent goes through here.
    pub(crate) gate: Server,
    address: SocketAddr,
    /// What its receiver was told, in order: state, alertname, tier and incident of each alert.
    told: Arc<Mutex<Vec<String>>>,
    _receiver: Server,
    _program: Program,
}

impl Alertmanager {
    /// Starts one that keeps its files here. `inhibit`: with the shipped rules.
    pub(crate) fn start(folder: &Path, inhibit: bool) -> Self {
        Self::start_at(folder, inhibit, ANY)
    }

    /// The same with its gate on this address.
    pub(crate) fn start_at(folder: &Path, inhibit: bool, gate: SocketAddr) -> Self {
        let told = Arc::new(Mutex::new(Vec::new()));
        let inner = Arc::clone(&told);
        let receiver = Server::start(move |request| {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let alerts = body["alerts"].as_array().unwrap();
            let mut lines: Vec<String> = alerts.iter().map(line).collect();
            lines.sort_unstable();
            inner.lock().unwrap().extend(lines);
            Reply::text(200, "")
        })
        .unwrap();
        let config = format!(
            "route: {{ receiver: hook, group_by: [alertname, incident], group_wait: 100ms, group_interval: 200ms }}\n\
             receivers: [{{ name: hook, webhook_configs: [{{ url: \"{}/\" }}] }}]\n{}",
            receiver.url(),
            if inhibit { INHIBIT } else { "" }
        );
        std::fs::write(folder.join("alertmanager.yml"), config).unwrap();
        let address = free_address().unwrap();
        let mut command = Command::new(PROGRAM);
        command
            .arg(format!("--config.file={}", folder.join("alertmanager.yml").display()))
            .arg(format!("--storage.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=");
        let program = Program::start(command, folder, address).unwrap();
        eventually("it is ready", || get(address, "/-/ready").is_some_and(|(status, _)| status == 200));
        let gate = Server::start_at(gate, None, move |request| forward(address, request)).unwrap();
        Self { gate, address, told, _receiver: receiver, _program: program }
    }

    /// The keys of a sink to it.
    pub(crate) fn sink(&self) -> String {
        sink_to(&self.gate.url())
    }

    /// What its receiver was told so far.
    pub(crate) fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    /// What is active: tier and incident.
    pub(crate) fn active(&self) -> Vec<String> {
        let (_, body) = get(self.address, "/api/v2/alerts?active=true&inhibited=true").unwrap();
        let alerts: Value = serde_json::from_str(&body).unwrap();
        let mut active: Vec<String> = alerts.as_array().unwrap().iter().map(name).collect();
        active.sort_unstable();
        active
    }
}

/// The keys of a sink to whoever is there.
pub(crate) fn sink_to(url: &str) -> String {
    format!("type: alertmanager, url: \"{url}\", retry: 50ms, timeout: 500ms")
}

fn line(alert: &Value) -> String {
    format!(
        "{} {} {}",
        alert["status"].as_str().unwrap(),
        alert["labels"]["alertname"].as_str().unwrap(),
        name(alert)
    )
}

fn name(alert: &Value) -> String {
    let label = |name: &str| alert["labels"][name].as_str().unwrap_or("-").to_owned();
    format!("{} {}", label("tier"), label("incident"))
}

/// Passes a request on, and the answer back.
fn forward(address: SocketAddr, request: &Request) -> Reply {
    let head = format!(
        "{} {} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        request.method,
        request.path,
        request.body.len()
    );
    match talk(address, head.as_bytes(), &request.body) {
        Some((status, body)) => Reply::text(status, &body),
        None => Reply::text(502, "the Alertmanager does not answer"),
    }
}

fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    talk(address, format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes(), b"")
}

fn talk(address: SocketAddr, head: &[u8], body: &[u8]) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(head).ok()?;
    stream.write_all(body).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

#[test]
fn its_receiver_hears_that_an_incident_opened_rose_and_was_closed() {
    let folder = tempfile::tempdir().unwrap();
    let alertmanager = Alertmanager::start(folder.path(), false);
    let agent = Agent::start(folder.path(), &alertmanager.sink());
    agent.raise(incident("i", 1, "boundary", "open"));
    eventually("it opened", || alertmanager.told() == ["firing shell-from-engine boundary i"]);
    agent.raise(incident("i", 2, "identity", "update"));
    eventually("it rose", || alertmanager.told().len() == 3);
    let mut rose = alertmanager.told()[1..].to_vec();
    rose.sort_unstable();
    assert_eq!(rose, ["firing unexpected-identity identity i", "resolved shell-from-engine boundary i"]);
    assert_eq!(alertmanager.active(), ["identity i"]);
    agent.raise(incident("i", 3, "identity", "ended"));
    agent.raise(incident("i", 4, "identity", "closed"));
    eventually("it is closed", || alertmanager.told().len() == 4);
    assert_eq!(alertmanager.told()[3], "resolved unexpected-identity identity i");
    assert_eq!(alertmanager.active(), [""; 0]);
    let stats = agent.end();
    assert_eq!((stats.rejected, stats.waiting), (0, 0), "{stats:?}");
}

#[test]
fn with_the_shipped_rule_the_end_of_the_lower_tier_is_told_with_that_of_the_higher() {
    let folder = tempfile::tempdir().unwrap();
    let alertmanager = Alertmanager::start(folder.path(), true);
    let agent = Agent::start(folder.path(), &alertmanager.sink());
    agent.raise(incident("i", 1, "boundary", "open"));
    eventually("it opened", || alertmanager.told() == ["firing shell-from-engine boundary i"]);
    agent.raise(incident("i", 2, "identity", "update"));
    eventually("it rose", || alertmanager.told().len() == 2);
    // Another is not held back by it.
    agent.raise(incident("j", 1, "boundary", "open"));
    eventually("the other opened", || alertmanager.told().len() == 3);
    agent.raise(incident("i", 3, "identity", "closed"));
    eventually("it is closed", || alertmanager.told().len() == 5);
    agent.end();
    let told = alertmanager.told();
    assert_eq!(told[1..3], ["firing unexpected-identity identity i", "firing shell-from-engine boundary j"]);
    // Both ends together, in either order.
    let mut ends = told[3..].to_vec();
    ends.sort_unstable();
    assert_eq!(ends, ["resolved shell-from-engine boundary i", "resolved unexpected-identity identity i"]);
}

#[test]
fn every_replica_is_told_whatever_becomes_of_another_and_that_one_once_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let start = |name: &str, gate: SocketAddr| {
        let folder = folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        Alertmanager::start_at(&folder, false, gate)
    };
    let (one, two) = (start("one", ANY), start("two", ANY));
    let dead = free_address().unwrap();
    let urls = format!("[\"http://{dead}\", \"{}\", \"{}\"]", one.gate.url(), two.gate.url());
    let agent =
        Agent::start(folder.path(), &format!("type: alertmanager, url: {urls}, retry: 50ms, timeout: 500ms"));
    agent.raise(incident("b", 1, "boundary", "open"));
    agent.raise(incident("i", 1, "identity", "open"));
    for replica in [&one, &two] {
        eventually("each of those that live has both", || replica.active() == ["boundary b", "identity i"]);
    }
    agent.raise(incident("b", 2, "boundary", "closed"));
    for replica in [&one, &two] {
        eventually("and the end of one", || replica.active() == ["identity i"]);
    }
    assert!(agent.stats().failing, "one of them is away: {:?}", agent.stats());
    let three = start("three", dead);
    eventually("the one that was away has what is open", || {
        three.active().contains(&"identity i".to_owned())
    });
    eventually("none is away", || !agent.stats().failing);
    let active = three.active();
    assert!(!active.contains(&"boundary b".to_owned()), "what came and went is not open there: {active:?}");
    agent.end();
}

#[test]
fn batch_that_is_refused_is_sent_one_by_one_and_only_what_is_bad_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let alertmanager = Alertmanager::start(folder.path(), false);
    let agent = Agent::start(folder.path(), &alertmanager.sink());
    // Both wait behind the first answer, and go together.
    alertmanager.gate.fail(Fault::Answer(Reply::text(503, "").with("retry-after", "1")));
    alertmanager.gate.fail(Fault::Answer(Reply::text(400, "one of them is bad")));
    alertmanager.gate.fail(Fault::Answer(Reply::text(400, "this one")));
    agent.raise(incident("i", 1, "identity", "open"));
    eventually("it was tried", || !alertmanager.gate.seen().is_empty());
    agent.raise(incident("j", 1, "identity", "open"));
    eventually("the other is open", || alertmanager.active().len() == 1);
    eventually("one is given up", || agent.stats().rejected == 1);
    let sizes: Vec<usize> = alertmanager.gate.seen().iter().map(alerts_of).collect();
    assert_eq!(sizes, [1, 2, 1, 1]);
    agent.end();
}

fn alerts_of(request: &Request) -> usize {
    serde_json::from_slice::<Value>(&request.body).unwrap().as_array().unwrap().len()
}
