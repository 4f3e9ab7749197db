//! Whether the agent is well, as others see it: its socket, its canary, its metrics, and what it does with a bad configuration.
//!
//! Needs root; `SANDWATCH_BIN` names the program, `SANDWATCH_RULES` its rules.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Output;

use integration::fakes::leaks::parrot;
use serde_json::Value;

mod lab;

use lab::{FILE, Lab, cgroup_root, eventually, sandwatch, shipped_rules, signal};

impl Lab {
    fn ask(&self, args: &[&str]) -> Output {
        let config = self.folder.path().join("sandwatch.yaml");
        sandwatch(args).args(["--config", config.to_str().unwrap()]).output().unwrap()
    }

    fn status(&self) -> Value {
        let output = self.ask(&["status", "--json"]);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    fn is_ready(&self) -> bool {
        self.ask(&["status", "--ready"]).status.code() == Some(0)
    }

    /// Changes the configuration.
    fn edit(&self, change: impl Fn(&str) -> String) {
        let path = self.folder.path().join("sandwatch.yaml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, change(&text)).unwrap();
    }

    fn conditions(&self) -> Vec<(String, String)> {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let alerts = self.alerts();
        let health = alerts.iter().filter(|alert| alert["kind"] == "health");
        health.map(|alert| (word(&alert["health"]["condition"]), word(&alert["state"]))).collect()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn agent_is_live_and_ready_once_its_canary_was_seen_in_every_signal() {
    let lab = Lab::new("ready", FILE, &shipped_rules());
    eventually("it is ready", || lab.is_ready());
    let status = lab.status();
    let canary = status["canary"].as_object().unwrap();
    for signal in ["open", "connect", "fork", "exec", "exit"] {
        assert_eq!(canary[signal]["fresh"], true, "{signal}: {canary:?}");
    }
    assert_eq!(lab.ask(&["status", "--live"]).status.code(), Some(0));
    let page = text(&lab.ask(&["status"]).stdout);
    assert!(page.starts_with("Live and ready") && page.contains("lab"), "{page}");
    assert_eq!(lab.conditions(), [], "the canary is no alert");
    let (status, log) = lab.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn socket_is_roots_alone_and_workers_doctor_and_incidents_are_asked_on_it() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new("asked", FILE, &shipped_rules());
    let socket = lab.folder.path().join("state/control.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let workers = lab.ask(&["workers", "--json"]);
    let workers: Value = serde_json::from_slice(&workers.stdout).unwrap();
    assert_eq!(workers[0]["name"], "lab");
    let doctor = lab.ask(&["doctor"]);
    assert!(text(&doctor.stdout).contains("As the running agent found it"), "{}", text(&doctor.stdout));
    let fresh = lab.ask(&["doctor", "--fresh", "--json"]);
    assert_eq!(fresh.status.code(), doctor.status.code());
    lab.steal();
    eventually("the incident is listed", || {
        text(&lab.ask(&["incident", "list", "--json"]).stdout).contains("ssh-private-key")
    });
    assert!(socket.exists());
    let path = socket.clone();
    assert_eq!(lab.stop().0.code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn nobody_to_ask_is_not_live_and_says_where_it_was_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("none.sock");
    let output = sandwatch(&["status", "--live", "--socket", socket.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no agent answers at"), "{}", text(&output.stderr));
}

#[test]
fn agent_that_hangs_is_not_live() {
    let lab = Lab::new("hangs", FILE, &shipped_rules());
    eventually("it is ready", || lab.is_ready());
    // All of its threads stand still: nobody answers either.
    signal(&lab.agent, libc::SIGSTOP);
    let output = lab.ask(&["status", "--live"]);
    signal(&lab.agent, libc::SIGCONT);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("does not answer"), "{}", text(&output.stderr));
    assert_eq!(lab.ask(&["status", "--live"]).status.code(), Some(0));
}

/// The processes in the canary's cgroup of this agent.
fn canary_processes(pid: u32) -> Vec<i32> {
    let path = cgroup_root().join(format!("sandwatch-canary-{pid}/cgroup.procs"));
    fs::read_to_string(path).unwrap_or_default().lines().filter_map(|line| line.parse().ok()).collect()
}

#[test]
fn canary_that_is_gone_makes_the_agent_unready_and_is_an_alert() {
    let lab = Lab::new("blind", FILE, &shipped_rules());
    eventually("it is ready", || lab.is_ready());
    let processes = canary_processes(lab.agent.id());
    assert_eq!(processes.len(), 1, "one helper lives in the canary's cgroup");
    // Blind in the one way that a test can make without touching the host: the canary does not act any more.
    // SAFETY: kill only takes numbers; the process is the agent's own child.
    unsafe { libc::kill(processes[0], libc::SIGKILL) };
    let until = std::time::Instant::now() + std::time::Duration::from_secs(100);
    while lab.is_ready() {
        assert!(std::time::Instant::now() < until, "it is still ready");
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    let output = text(&lab.ask(&["status", "--ready"]).stdout);
    assert!(output.contains("the canary's open was last seen"), "{output}");
    assert_eq!(lab.ask(&["status", "--live"]).status.code(), Some(0), "live does not depend on it");
    eventually("alerts say so", || {
        let open = |condition: &str| (condition.to_owned(), "open".to_owned());
        let said = lab.conditions();
        said.contains(&open("canary-open")) && said.contains(&open("canary-connect"))
    });
    // Who would remove its cgroup is gone: this does what the next agent does first.
    let home = cgroup_root().join(format!("sandwatch-canary-{}", lab.agent.id()));
    assert_eq!(lab.stop().0.code(), Some(0));
    fs::remove_dir(home).unwrap();
}

#[test]
fn canary_of_a_killed_agent_goes_with_it_and_the_next_agent_clears_up() {
    let mut lab = Lab::new("killed", FILE, &shipped_rules());
    eventually("it is ready", || lab.is_ready());
    let first = lab.agent.id();
    lab.kill_and_restart();
    eventually("it is ready again", || lab.is_ready());
    assert_eq!(canary_processes(first), [] as [i32; 0]);
    assert_eq!(lab.stop().0.code(), Some(0));
    let second = Lab::new("killed-2", FILE, &shipped_rules());
    assert!(!cgroup_root().join(format!("sandwatch-canary-{first}")).exists());
    assert_eq!(second.stop().0.code(), Some(0));
}

#[test]
fn bad_configuration_at_start_runs_the_last_good_one_unready_until_it_is_good_again() {
    let mut lab = Lab::new("last-good", FILE, &shipped_rules());
    eventually("it is ready", || lab.is_ready());
    let good = fs::read_to_string(lab.folder.path().join("sandwatch.yaml")).unwrap();
    lab.edit(|text| text.replace("workers:", "wrokers:"));
    // The running agent refuses it as a whole and stays ready.
    eventually("it is refused", || {
        lab.conditions().iter().any(|(condition, _)| condition == "config-refused")
    });
    assert!(lab.is_ready());
    lab.kill_and_restart();
    eventually("it watches with the last good one", || lab.status()["config"]["last_good"] == true);
    let output = text(&lab.ask(&["status", "--ready"]).stdout);
    assert!(output.starts_with("not ready:") && output.contains("last good"), "{output}");
    lab.steal();
    eventually("it finds all the same", || {
        lab.alerts().iter().any(|alert| alert["file"]["identity"] == "ssh-private-key")
    });
    fs::write(lab.folder.path().join("sandwatch.yaml"), good).unwrap();
    eventually("the repaired one is taken", || lab.is_ready());
    eventually("both are told", || {
        let told = lab.conditions().into_iter().filter(|(condition, _)| condition == "last-good");
        told.map(|(_, state)| state).eq(["open", "closed"])
    });
    assert_eq!(lab.stop().0.code(), Some(0));
}

#[test]
fn changed_configuration_is_taken_while_running_and_one_that_needs_a_restart_is_refused_whole() {
    let lab = Lab::new("reload", FILE, &shipped_rules());
    eventually("it is ready", || lab.is_ready());
    lab.edit(|text| text.replace("name: lab", "name: renamed") + "environment: staging\n");
    eventually("the worker has its new name", || lab.status()["workers"][0]["name"] == "renamed");
    lab.steal();
    eventually("alerts carry what is new", || {
        lab.alerts()
            .iter()
            .any(|alert| alert["environment"] == "staging" && alert["worker"]["name"] == "renamed")
    });
    lab.edit(|text| {
        text.replace("environment: staging", "environment: other\ncluster: c\nhooks: tracepoint")
    });
    eventually("it is refused", || lab.status()["config"]["refused"] == true);
    assert!(lab.is_ready());
    lab.edit(|text| text.replace("hooks: tracepoint\n", ""));
    eventually("it is good again", || lab.status()["config"]["refused"] == false);
    let (status, log) = lab.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn configuration_that_is_exchanged_like_a_config_map_is_taken() {
    use std::os::unix::fs::symlink;
    let lab = Lab::new("configmap", FILE, &shipped_rules());
    let folder = lab.folder.path().to_owned();
    let text = fs::read_to_string(folder.join("sandwatch.yaml")).unwrap();
    let version = |name: &str, text: &str| {
        fs::create_dir(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("sandwatch.yaml"), text).unwrap();
        symlink(name, folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    };
    version("..v1", &text);
    fs::remove_file(folder.join("sandwatch.yaml")).unwrap();
    symlink("..data/sandwatch.yaml", folder.join("sandwatch.yaml")).unwrap();
    eventually("it is as it was", || lab.status()["config"]["refused"] == false);
    version("..v2", &text.replace("name: lab", "name: exchanged"));
    eventually("the exchanged one is taken", || lab.status()["workers"][0]["name"] == "exchanged");
    assert_eq!(lab.stop().0.code(), Some(0));
}

fn scrape(port: u16, accept: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn metrics_of_a_running_agent_add_up_and_tell_of_its_sink() {
    let port = free_port();
    let sinks = format!("{FILE}\nlisten: \"127.0.0.1:{port}\"");
    let lab = Lab::new("metrics", &sinks, &shipped_rules());
    eventually("it is ready", || lab.is_ready());
    lab.steal();
    eventually("the alert is counted", || {
        scrape(port, "*/*").lines().any(|line| {
            line.strip_prefix("sandwatch_sink_acknowledged_total{sink=\"local\"} ").is_some_and(|n| n != "0")
        })
    });
    // Between two seconds nothing moves in a snapshot: what is seen is the sum of its fates.
    let text = scrape(port, "application/openmetrics-text");
    let sum = |name: &str| -> f64 {
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    let (seen, fates) = (sum("sandwatch_events_seen_total{"), sum("sandwatch_events_total{"));
    assert!(seen > 0.0);
    // A probe may be under way while its counters are read.
    assert!((seen - fates).abs() <= 8.0, "seen {seen}, fates {fates}");
    assert!(text.contains("sandwatch_canary_fresh{signal=\"open\"} 1"), "{text}");
    assert_eq!(lab.stop().0.code(), Some(0));
}

#[test]
fn no_secret_of_a_sink_is_in_what_a_running_agent_says_of_itself() {
    // Of every secret here; the second is the first in base64.
    const MARKS: [&str; 2] = ["s3cret", "czNjcmV0"];
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    // It repeats what it was told, and so what is said of its answers may hold it.
    let receiver = parrot(401).unwrap();
    let url = receiver.url();
    let key = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        format!("key_file: {}, retry: 100ms", path.display())
    };
    let plain = key("plain", "s3cret-of-the-key");
    let sinks = [
        format!("type: http, url: \"{url}/?token=s3cret-of-the-query\", user: agent, {plain}"),
        format!("type: elasticsearch, url: \"{url}\", {plain}"),
        format!("type: splunk, url: \"{url}\", {plain}"),
        format!("type: otlp, url: \"{url}\", {plain}"),
        format!("type: pagerduty, url: \"{url}\", {}", key("pagerduty", "s3cret0000000000000000000000pd00")),
        format!("type: slack, {}", key("slack", &format!("{url}/services/T0/B0/s3cret-of-slack"))),
        format!("type: alertmanager, url: \"{url}\", {plain}"),
        format!(
            "type: webhook, url: \"{url}\", {}",
            key("webhook", "whsec_czNjcmV0LW9mLXRoZS13ZWJob29rLWlzLWxvbmc=")
        ),
    ];
    let count = sinks.len();
    let sinks: Vec<String> =
        sinks.iter().enumerate().map(|(number, sink)| format!("{{ name: sink-{number}, {sink} }}")).collect();
    let sinks = format!("[{}]\nlisten: \"127.0.0.1:{port}\"", sinks.join(", "));
    let lab = Lab::new("secrets", &sinks, &shipped_rules());
    lab.steal();
    eventually("every sink was refused", || {
        let status = lab.status();
        let all = status["sinks"].as_array().unwrap();
        let refused =
            |sink: &&Value| sink["retried"].as_u64() > Some(0) || sink["rejected"].as_u64() > Some(0);
        all.iter().filter(refused).count() == count
    });
    let sent: Vec<String> = receiver.seen().iter().map(|request| format!("{request:?}")).collect();
    assert!(sent.iter().any(|request| request.contains(MARKS[0])), "they are really sent: {sent:?}");
    let mut said = vec![
        ("metrics", scrape(port, "application/openmetrics-text")),
        ("metrics", scrape(port, "*/*")),
        ("log", lab.log()),
    ];
    for args in [&["status", "--json"][..], &["status"], &["status", "--ready"], &["workers", "--json"]] {
        let output = lab.ask(args);
        said.push((args[0], text(&output.stdout) + &text(&output.stderr)));
    }
    let (_, log) = lab.stop();
    said.push(("log", log));
    assert!(said[0].1.contains("sink=\"sink-0\"") && said[2].1.contains("sink-0"), "they are told of");
    for (what, text) in said {
        let line = text.lines().find(|line| MARKS.iter().any(|mark| line.contains(mark)));
        assert_eq!(line, None, "a secret is in {what}");
    }
}
