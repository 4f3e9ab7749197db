//! Delivery is killed in the middle of its work, again and again, with a receiver of every kind that is reached over a network: what
//! was accepted before is received after, and every number of each stream came or is named as gone.
//!
//! The agent is this test program, run again as a child; the receivers stay.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use integration::fakes::hook::{self, Received};
use integration::fakes::server::ANY;
use integration::fakes::syslog::Collector;
use integration::fakes::{Fault, Reply, Server, alerts, engine};
use serde_json::Value;

use crate::rig::{KINDS, Kind, Rig, token_file};

/// Set in the child: the folder that it works in, the number of its first alert, and whether nobody will kill it.
const FOLDER: &str = "SANDWATCH_TEST_KILLED_FOLDER";
const FROM: &str = "SANDWATCH_TEST_KILLED_FROM";
const LAST: &str = "SANDWATCH_TEST_KILLED_LAST";

const KILLS: u64 = 5;
/// Numbers of one life.
const LIFE: u64 = 100_000;
/// Longer than anything here takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(120);

const KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD1vGxlfXvYTg=";

/// Run by the other test, in another process; without it, there is nothing to do.
#[test]
fn the_agent_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let sinks: Vec<String> =
        std::fs::read_to_string(folder.join("sinks")).unwrap().lines().map(str::to_owned).collect();
    let config = engine::configured(&folder.join("state"), "drain: 60s", &sinks).unwrap();
    std::fs::create_dir_all(&config.state_dir).unwrap();
    let engine = engine::start(&config).unwrap();
    let from: u64 = std::env::var(FROM).unwrap().parse().unwrap();
    let last = std::env::var_os(LAST).is_some();
    // A life that nobody ends is over at some time.
    let most = if last { 20 } else { 20_000 };
    for number in from..from + most {
        engine.accept(alerts::plain(number).unwrap());
        if number.is_multiple_of(20) {
            // Too much at once would be left out, and counted: another test's matter.
            assert!(engine.wait_appended(PATIENCE));
        }
        for (incident, _) in engine.take_appended() {
            eprintln!("accepted {incident} of");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(engine.settle(PATIENCE), "{:?}", engine.stats());
    for (incident, _) in engine.take_appended() {
        eprintln!("accepted {incident} of");
    }
    engine.finish();
}

/// A child that begins with this number.
fn child(folder: &Path, from: u64, last: bool) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "kills::the_agent_that_is_killed", "--nocapture"]);
    command.env(FOLDER, folder).env(FROM, from.to_string()).stdin(Stdio::null());
    if last {
        command.env(LAST, "1");
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Ids of what the child says that it accepted, until it ends. It is killed after so many, and something is done at half of them.
fn live(mut child: Child, kill_after: Option<usize>, at_half: impl Fn()) -> BTreeSet<String> {
    let mut accepted = BTreeSet::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        // A last line may be torn: one that is whole has a word behind the number.
        let number = line.strip_prefix("accepted incident-").and_then(|rest| rest.strip_suffix(" of"));
        match number {
            Some(number) => drop(accepted.insert(alerts::id(number.parse().unwrap()))),
            None => eprintln!("the agent: {line}"),
        }
        match kill_after {
            Some(after) if accepted.len() == after / 2 => at_half(),
            Some(after) if accepted.len() >= after => child.kill().unwrap(),
            _ => {}
        }
    }
    let status = child.wait().unwrap();
    assert!(kill_after.is_some() || status.success(), "the last life ends well");
    accepted
}

/// A receiver of each kind.
struct Receivers {
    rigs: Vec<Rig>,
    syslog: Collector,
    hook: (Server, Received),
}

impl Receivers {
    fn start() -> Self {
        Self {
            rigs: KINDS.iter().map(|(_, kind)| kind.start()).collect(),
            syslog: Collector::start().unwrap(),
            hook: hook::start_at(ANY, KEY).unwrap(),
        }
    }

    /// The keys of a sink to each, a line each.
    fn sinks(&self, folder: &Path) -> String {
        let key = folder.join("webhook.key");
        std::fs::write(&key, KEY).unwrap();
        let mut sinks = Vec::new();
        for ((name, kind), rig) in KINDS.iter().zip(&self.rigs) {
            let (type_, url) = (kind.type_name(), rig.server().url());
            let secret = match kind {
                Kind::Splunk | Kind::SplunkAck => format!(", key_file: {}", token_file()),
                _ => String::new(),
            };
            sinks.push(format!("name: {name}, type: {type_}, format: json, url: \"{url}\"{secret}"));
        }
        sinks.push(format!("name: syslog, type: syslog, address: \"tcp://{}\"", self.syslog.address()));
        let (url, key) = (self.hook.0.url(), key.display());
        sinks.push(format!("name: hook, type: webhook, url: \"{url}/hook\", key_file: {key}"));
        sinks.iter().map(|sink| format!("{sink}, retry: 50ms, timeout: 1s\n")).collect()
    }

    fn servers(&self) -> impl Iterator<Item = &Server> {
        self.rigs.iter().map(Rig::server).chain([&self.hook.0])
    }

    /// From now on nothing is taken but what the next request brings, and that is not said; acknowledgements come late.
    fn fail(&self) {
        for server in self.servers() {
            server.fail(Fault::CutAfter);
            (0..500).for_each(|_| server.fail(Fault::Answer(Reply::text(503, "not now"))));
        }
        for rig in &self.rigs {
            if let Rig::Splunk(collector) = rig {
                collector.be_slow(20);
            }
        }
    }

    fn mend(&self) {
        self.servers().for_each(Server::mend);
    }

    /// What each has.
    fn alerts(&self) -> Vec<(&'static str, Vec<Value>)> {
        let mut all: Vec<_> =
            KINDS.iter().zip(&self.rigs).map(|((name, _), rig)| (*name, rig.alerts())).collect();
        all.push(("syslog", self.syslog.alerts()));
        let bodies = self.hook.1.lock().unwrap().iter().map(|(_, body)| body["data"].clone()).collect();
        all.push(("hook", bodies));
        all
    }
}

/// Every alert that was accepted came, and every number of the stream came or is named.
fn complete(sink: &str, got: &[Value], accepted: &BTreeSet<String>) {
    let (mut ids, mut numbers, mut named) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut streams = BTreeSet::new();
    for alert in got {
        ids.insert(alert["id"].as_str().unwrap().to_owned());
        numbers.insert(alert["delivery"]["seq"].as_u64().unwrap());
        streams.insert(alert["delivery"]["stream"].as_str().unwrap().to_owned());
        for run in alert["gap"]["sequences"].as_array().into_iter().flatten() {
            assert_eq!(alert["gap"]["reason"], "evicted", "{sink}: nothing else may be gone: {alert}");
            named.extend(run[0].as_u64().unwrap()..=run[1].as_u64().unwrap());
        }
    }
    assert_eq!(streams.len(), 1, "{sink}: one stream");
    let last = *numbers.last().unwrap();
    let unknown: Vec<u64> =
        (1..=last).filter(|number| !numbers.contains(number) && !named.contains(number)).collect();
    assert!(unknown.is_empty(), "{sink}: neither came nor are named: {unknown:?} of {last}");
    // Where the disk that tests run on is nearly full, the spool is small, and what it had no room for is named.
    let lost: Vec<&String> = accepted.difference(&ids).collect();
    let gone = named.difference(&numbers).count();
    assert!(lost.len() <= gone, "{sink} lost {lost:?} of {}, and names {gone}", accepted.len());
}

#[test]
fn agent_that_is_killed_under_load_loses_nothing_on_the_way_to_any_receiver() {
    let folder = tempfile::tempdir().unwrap();
    let receivers = Receivers::start();
    std::fs::write(folder.path().join("sinks"), receivers.sinks(folder.path())).unwrap();
    let (mut accepted, mut caught) = (BTreeSet::new(), BTreeSet::new());
    for life in 1..=KILLS {
        // Longer than it takes until what was sent is written down, with and without answers.
        let after = 240 + usize::try_from(life).unwrap() * 20;
        let at_half = || {
            if life % 2 == 1 {
                receivers.fail()
            }
        };
        accepted.extend(live(child(folder.path(), life * LIFE, false), Some(after), at_half));
        for (sink, got) in receivers.alerts() {
            let ids: BTreeSet<&str> = got.iter().map(|alert| alert["id"].as_str().unwrap()).collect();
            if !ids.is_empty() && accepted.iter().any(|id| !ids.contains(&**id)) {
                caught.insert(sink);
            }
        }
        receivers.mend();
    }
    // But for syslog, which hands over as fast as it is given.
    caught.insert("syslog");
    assert_eq!(caught.len(), receivers.alerts().len(), "each was killed with some on their way: {caught:?}");
    accepted.extend(live(child(folder.path(), (KILLS + 1) * LIFE, true), None, || ()));
    for (sink, got) in receivers.alerts() {
        complete(sink, &got, &accepted);
    }
    assert_eq!(receivers.syslog.wrong(), [""; 0]);
}
