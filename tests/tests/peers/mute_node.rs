//! The queries that find a node without heartbeats: run by VictoriaLogs, and read with the grammar of Elasticsearch.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use monitor::alert::{Alert, AlertKind, HeartbeatInfo, SafeAlert, render};
use monitor::config::SinkFormat;
use monitor::delivery::{Item, Outcome};

use crate::deliver::open;
use crate::victorialogs::Store;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/siem");
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/heartbeats.md");

/// A query as it is shipped, which is the one that people read.
fn shipped(name: &str) -> String {
    let query = std::fs::read_to_string(Path::new(FOLDER).join(name)).unwrap();
    assert!(std::fs::read_to_string(DOCS).unwrap().contains(&query), "docs/heartbeats.md has another {name}");
    query
}

/// A heartbeat of a node, so many seconds ago.
fn heartbeat(number: u64, node: &str, cluster: Option<&str>, ago: u64, every: u64) -> Item {
    let time = Timestamp::try_from(SystemTime::now() - Duration::from_secs(ago)).unwrap();
    let mut alert: Alert = integration::fakes::alerts::plain(number).unwrap();
    alert.kind = AlertKind::Heartbeat;
    (alert.tier, alert.incident, alert.worker, alert.process) = (None, None, None, None);
    alert.time = format!("{time:.9}");
    alert.host.name = node.to_owned();
    alert.host.cluster = cluster.map(str::to_owned);
    alert.heartbeat = Some(HeartbeatInfo { every, ..HeartbeatInfo::default() });
    let alert = SafeAlert::new(alert);
    let text = render(SinkFormat::Ecs, &alert, None, &BTreeMap::new(), 64 << 10);
    Item { seq: 0, alert, text }
}

#[test]
fn victorialogs_finds_the_nodes_that_are_mute_and_no_other() {
    let store = Store::start();
    let parameters = "_msg_field=message&_time_field=@timestamp";
    let base = format!("http://{}/insert/elasticsearch", store.http);
    let mut sink = open(&format!("type: elasticsearch, url: \"{base}/_bulk?{parameters}\""));
    let day = 24 * 3600;
    let items = [
        heartbeat(1, "alive", Some("prod"), 10, 300),
        heartbeat(2, "alive", Some("prod"), 320, 300),
        heartbeat(3, "late", Some("prod"), 800, 300),
        heartbeat(4, "mute", Some("prod"), 1000, 300),
        heartbeat(5, "mute", Some("prod"), 1300, 300),
        // Of the same name as one that lives, in another cluster, and one in none.
        heartbeat(6, "alive", Some("test"), 1000, 300),
        heartbeat(7, "alone", None, 1000, 300),
        // Not due for a while, and one that people know of.
        heartbeat(8, "slow", Some("prod"), 2000, 3600),
        heartbeat(9, "gone", Some("prod"), day + 600, 300),
    ];
    assert_eq!(sink.send(&items), vec![Outcome::Accepted; items.len()]);
    let query = shipped("mute-node.logsql");
    let wanted = ["alone", "prod/mute", "test/alive"];
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let mut found: Vec<String> = store
            .query(&query)
            .iter()
            .map(|node| {
                let of = |key: &str| node[key].as_str().unwrap_or_default().to_owned();
                let (cluster, name) = (of("orchestrator.cluster.name"), of("host.hostname"));
                if cluster.is_empty() { name } else { format!("{cluster}/{name}") }
            })
            .collect();
        found.sort_unstable();
        if found == wanted {
            return;
        }
        assert!(Instant::now() < until, "{found:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What the grammar says of a query; nothing: it is one.
fn esql(query: &str) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/esql/check.py");
    let mut command = Command::new(crate::program("SANDWATCH_PEER_ESQL"));
    command.arg(script).env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(query.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.success(), said.trim().is_empty(), "{said}");
    said
}

#[test]
fn esql_query_is_one_by_the_grammar_of_elasticsearch() {
    let query = shipped("mute-node.esql");
    assert_eq!(esql(&query).trim(), "");
    // It does notice: a keyword is no name of a column.
    assert!(esql(&query.replace("seen", "last")).contains("mismatched input 'last'"));
}

#[test]
fn splunk_search_is_the_one_that_people_read() {
    shipped("mute-node.spl");
}
