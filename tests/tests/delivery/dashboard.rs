//! The metrics of a real agent, as promtool lints them and a real Prometheus scrapes them: every alert rule and every expression of the
//! dashboard is evaluated on them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PROMETHEUS: &str = "/usr/bin/prometheus";
const PROMTOOL: &str = "/usr/bin/promtool";

/// Expressions that give nothing while nothing waits, and where nobody is asked about pods.
const EMPTY: [&str; 2] = ["sandwatch_sink_oldest_unsent_timestamp_seconds", "sandwatch_metadata_"];

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}

fn port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Ended with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `sandwatch run` for a worker that is this test, with its metrics on a port.
struct Agent {
    _process: Process,
    _cgroup: Cgroup,
    port: u16,
    folder: tempfile::TempDir,
}

struct Cgroup(PathBuf);

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

impl Agent {
    fn start() -> Self {
        let program =
            std::env::var_os("SANDWATCH_BIN").unwrap_or_else(|| panic!("SANDWATCH_BIN names the program"));
        let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let line = text.lines().find(|line| line.contains(" - cgroup2 ")).unwrap();
        let name = format!("sw-metrics-{}", std::process::id());
        let cgroup = Cgroup(Path::new(line.split(' ').nth(4).unwrap()).join(&name));
        fs::create_dir(&cgroup.0).unwrap();
        let (folder, port) = (tempfile::tempdir().unwrap(), port());
        let config = folder.path().join("sandwatch.yaml");
        let at = folder.path().display();
        let text = format!(
            "schema: sandwatch/config/v1\nstate_dir: {at}/state\nlisten: \"127.0.0.1:{port}\"\nworkers:\n  watch: [\"/{name}\"]\n\
             sinks: [{{ name: local, type: file, path: {at}/alerts.jsonl }}]\n"
        );
        fs::write(&config, text).unwrap();
        let process = Command::new(program)
            .args(["run", "--config", config.to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let agent = Self { _process: Process(process), _cgroup: cgroup, port, folder };
        eventually("the agent is ready", || {
            agent.metrics().is_some_and(|text| text.lines().any(|line| line == "sandwatch_ready 1"))
        });
        agent
    }

    fn metrics(&self) -> Option<String> {
        get(self.port, "/metrics")
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(40);
    while !holds() {
        assert!(Instant::now() < until, "not within 40 s: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn get(port: u16, path: &str) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}

/// The value of an expression now.
fn query(port: u16, expr: &str) -> Value {
    let text = get(port, &format!("/api/v1/query?query={}", encoded(expr))).unwrap();
    // It listens before it is ready.
    if text.trim() == "Service Unavailable" {
        return Value::Null;
    }
    let answer: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(answer["status"], "success", "{expr}: {answer}");
    answer["data"]["result"].clone()
}

fn installed(program: &str) {
    assert!(
        Path::new(program).exists(),
        "there is no {program}; as root run: apt-get install --no-install-recommends -y prometheus"
    );
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

#[test]
fn alert_rules_on_the_agent_hold_in_prometheus() {
    installed(PROMTOOL);
    let folder = deploy("prometheus");
    for arguments in [["check", "rules", "sandwatch.rules.yaml"], ["test", "rules", "sandwatch.test.yaml"]] {
        succeeds(Command::new(PROMTOOL).current_dir(&folder).args(arguments));
    }
}

#[test]
fn metrics_are_good_style_and_every_expression_of_rules_and_dashboard_has_data() {
    installed(PROMETHEUS);
    let agent = Agent::start();
    let metrics = agent.folder.path().join("metrics");
    fs::write(&metrics, agent.metrics().unwrap()).unwrap();
    succeeds(Command::new(PROMTOOL).args(["check", "metrics"]).stdin(fs::File::open(&metrics).unwrap()));

    let web = port();
    let config = agent.folder.path().join("prometheus.yml");
    let target = agent.port;
    let rules = deploy("prometheus/sandwatch.rules.yaml").canonicalize().unwrap();
    let text = format!(
        "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [{}]\nscrape_configs:\n  - job_name: sandwatch\n    \
         static_configs: [{{ targets: [\"127.0.0.1:{target}\"] }}]\n",
        rules.display()
    );
    fs::write(&config, text).unwrap();
    let _prometheus = Process(
        Command::new(PROMETHEUS)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", agent.folder.path().join("tsdb").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{web}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(agent.folder.path().join("prometheus.log")).unwrap())
            .spawn()
            .unwrap(),
    );
    // Twice scraped: then there are rates.
    eventually("Prometheus has scraped the agent", || {
        get(web, "/-/ready").is_some()
            && query(web, "count_over_time(sandwatch_live[1m]) >= 3")
                .as_array()
                .is_some_and(|all| !all.is_empty())
    });

    let dashboard: Value =
        serde_json::from_str(&fs::read_to_string(deploy("grafana/sandwatch.json")).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut asked = 0;
    for target in panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten() {
        let expr = target["expr"].as_str().unwrap();
        let plain =
            expr.replace("$job", "sandwatch").replace("$instance", ".*").replace("$__rate_interval", "1m");
        assert!(!plain.contains('$'), "a variable that is not known: {expr}");
        let result = query(web, &plain);
        let may_be_empty = EMPTY.iter().any(|name| expr.contains(name));
        assert!(may_be_empty || !result.as_array().unwrap().is_empty(), "nothing for {expr}");
        asked += 1;
    }
    assert!(asked >= 30, "{asked}");

    // The rules are evaluated on what a real agent shows, and nothing fires about one that is well, but what this host lacks.
    let rules: Value = serde_json::from_str(&get(web, "/api/v1/rules").unwrap()).unwrap();
    let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap().clone();
    assert!(rules.len() >= 26);
    for rule in rules {
        let name = rule["name"].as_str().unwrap();
        assert_eq!(rule["health"], "ok", "{name}: {}", rule["lastError"]);
        let may_be = matches!(name, "SandwatchSignalNotWatched" | "SandwatchClockNotSynced");
        assert!(may_be || rule["state"] == "inactive", "{name} is {}", rule["state"]);
    }
}
