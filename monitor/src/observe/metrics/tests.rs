use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::control::{
    Board, CanaryAge, ClassSize, LaneCount, PodsState, SignalCount, SignalHook, SinkState, Snapshot,
    SpoolState, TableSize,
};
use crate::profile::RuleSet;

fn board() -> Arc<Board> {
    let board = Arc::new(Board::new(None, RuleSet::from_sources(&[]).unwrap()));
    let signal = SignalCount {
        signal: "open".into(),
        seen: 10,
        sent: 4,
        filtered: 3,
        lost: 2,
        throttled: 1,
        errors: 0,
    };
    let sink = SinkState {
        name: "siem \"one\"".into(),
        queued: 70,
        sent: 61,
        acknowledged: 52,
        rejected: 3,
        retried: 44,
        dropped: BTreeMap::from([("evicted".into(), 2), ("dead-letters".into(), 1)]),
        bytes: 6161,
        waiting: 5,
        oldest_unsent: Some(1_700_000_000_500_000_000),
        last_success: Some(1_700_000_001_000_000_000),
        failing: true,
    };
    board.put(Snapshot {
        version: "1.2.3".into(),
        revision: "abc123".into(),
        started_ms: 1_699_999_999_250,
        coverage: "partial:00".into(),
        hooks: vec![
            SignalHook { signal: "open".into(), rung: Some("lsm".into()) },
            SignalHook { signal: "unix".into(), rung: None },
        ],
        canary: BTreeMap::from([("open".into(), CanaryAge { seen: Some(1), within: 2, fresh: true })]),
        signals: vec![signal],
        lanes: vec![LaneCount { lane: "priority".into(), sent: 4, lost: 2 }],
        gaps: BTreeMap::from([("lost".into(), 3)]),
        programs: vec![("tp_exec".into(), 1_500_000_000, 9)],
        clock_synced: Some(true),
        sinks: vec![sink],
        tables: vec![TableSize { table: "processes".into(), entries: 31, capacity: 64 }],
        spool: SpoolState {
            classes: vec![ClassSize { class: "high".into(), bytes: 500, capacity: 1000 }],
            memory_bytes: 7,
            memory_capacity_bytes: 70,
            disk_nearly_full: true,
        },
        pods: Some(PodsState {
            source: "kubelet".into(),
            attempts: 9,
            failures: 4,
            last_success: Some(1_700_000_002_000_000_000),
            failing: true,
            unknown: 2,
            oldest_unknown: Some(1),
        }),
        ..Snapshot::default()
    });
    board
}

#[test]
fn metrics_have_the_numbers_of_the_snapshot_in_both_texts() {
    let open = render(&board(), Text::Open).unwrap();
    let plain = render(&board(), Text::Prometheus).unwrap();
    assert!(open.ends_with("# EOF\n") && !plain.contains("# EOF"));
    for text in [open, plain] {
        for line in [
            "sandwatch_build_info{version=\"1.2.3\",revision=\"abc123\"} 1",
            "sandwatch_hook_info{signal=\"open\",rung=\"lsm\"} 1",
            "sandwatch_hook_info{signal=\"unix\",rung=\"none\"} 0",
            "sandwatch_events_seen_total{signal=\"open\"} 10",
            "sandwatch_events_total{signal=\"open\",fate=\"throttled\"} 1",
            "sandwatch_ring_lost_total{lane=\"priority\"} 2",
            "sandwatch_gaps_total{reason=\"lost\"} 3",
            "sandwatch_sink_dropped_total{sink=\"siem \\\"one\\\"\",reason=\"evicted\"} 2",
            "sandwatch_sink_dropped_total{sink=\"siem \\\"one\\\"\",reason=\"dead-letters\"} 1",
            "sandwatch_program_run_seconds_total{program=\"tp_exec\"} 1.5",
            "sandwatch_ready 1",
            "process_start_time_seconds 1699999999.25",
            "sandwatch_table_entries{table=\"processes\"} 31",
            "sandwatch_table_capacity{table=\"processes\"} 64",
            "sandwatch_spool_bytes{class=\"high\"} 500",
            "sandwatch_spool_capacity_bytes{class=\"high\"} 1000",
            "sandwatch_spool_memory_bytes 7",
            "sandwatch_spool_memory_capacity_bytes 70",
            "sandwatch_spool_disk_nearly_full 1",
            "sandwatch_metadata_attempts_total{source=\"kubelet\"} 9",
            "sandwatch_metadata_failures_total{source=\"kubelet\"} 4",
            "sandwatch_metadata_failing{source=\"kubelet\"} 1",
            "sandwatch_metadata_last_success_timestamp_seconds{source=\"kubelet\"} 1700000002",
            "sandwatch_metadata_unknown_workers 2",
        ] {
            assert!(
                text.lines().any(|is| is == line || is.strip_suffix(".0") == Some(line)),
                "{line}\n{text}"
            );
        }
    }
}

#[test]
fn every_figure_of_a_sink_is_a_metric() {
    let text = render(&board(), Text::Open).unwrap();
    for (name, value) in [
        ("queued_total", "70"),
        ("sent_total", "61"),
        ("acknowledged_total", "52"),
        ("rejected_total", "3"),
        ("retried_total", "44"),
        ("attempts_total", "108"),
        ("sent_bytes_total", "6161"),
        ("waiting", "5"),
        ("failing", "1"),
        ("oldest_unsent_timestamp_seconds", "1700000000.5"),
        ("last_success_timestamp_seconds", "1700000001"),
    ] {
        let line = format!("sandwatch_sink_{name}{{sink=\"siem \\\"one\\\"\"}} {value}");
        assert!(text.lines().any(|is| is == line || is.strip_suffix(".0") == Some(&line)), "{line}\n{text}");
    }
}

#[test]
fn gap_that_was_never_noted_is_told_with_zero() {
    let text = render(&board(), Text::Open).unwrap();
    for (reason, count) in [("lost", 3), ("restart", 0), ("unwatched", 0)] {
        let line = format!("sandwatch_gaps_total{{reason=\"{reason}\"}} {count}");
        assert!(text.lines().any(|is| is == line), "{line}\n{text}");
    }
}

#[test]
fn who_asks_nobody_about_pods_tells_nothing_of_it() {
    let board = Arc::new(Board::new(None, RuleSet::from_sources(&[]).unwrap()));
    let text = render(&board, Text::Open).unwrap();
    assert!(!text.contains("sandwatch_metadata_"), "{text}");
}

#[test]
fn the_fates_of_a_signal_add_up_to_what_was_seen() {
    let text = render(&board(), Text::Open).unwrap();
    let sum = |name: &str| -> f64 {
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    assert_eq!(sum("sandwatch_events_seen_total{"), sum("sandwatch_events_total{"));
}

#[test]
fn no_label_names_a_process_a_pod_a_container_or_a_path() {
    let text = render(&board(), Text::Open).unwrap();
    let labels: std::collections::BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.split_once('{')?.1.rsplit_once('}').map(|(labels, _)| labels))
        .flat_map(|labels| labels.split(','))
        .filter_map(|label| label.split_once('=').map(|(name, _)| name))
        .collect();
    let known = [
        "class", "digest", "fate", "lane", "level", "mark", "program", "reason", "revision", "rung",
        "signal", "sink", "source", "table", "version",
    ];
    assert!(labels.iter().all(|label| known.contains(label)), "{labels:?}");
}

fn get(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    // It may be reset when the server hangs up on what it does not want to read.
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn scrape_gets_the_text_it_asks_for_and_nothing_else_is_there() {
    let listener = Listener::start("127.0.0.1:0", board()).unwrap();
    let at = listener.address();
    let plain = get(at, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(plain.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{plain}");
    let accept = b"GET /metrics?x=1 HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n\r\n";
    let open = get(at, accept);
    assert!(open.contains("application/openmetrics-text; version=1.0.0") && open.ends_with("# EOF\n"));
    assert!(get(at, b"GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
    assert!(get(at, b"POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405"));
    assert!(get(at, b"nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
    let head = get(at, b"HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    let mut endless = b"GET /metrics HTTP/1.1\r\nX: ".to_vec();
    endless.resize(64 << 10, b'x');
    let answer = get(at, &endless);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(get(at, b"GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200"));
}

#[test]
fn address_in_use_is_said_with_what_to_do() {
    let first = Listener::start("127.0.0.1:0", board()).unwrap();
    let error = Listener::start(&first.address().to_string(), board()).unwrap_err().to_string();
    assert!(error.contains("listen:") && error.contains(&first.address().to_string()), "{error}");
    drop(first);
}
