use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::*;
use crate::alert::{SafeAlert, fixture};
use crate::config::Span;

fn config(address: &str) -> SinkConfig {
    SinkConfig {
        address: Some(address.into()),
        timeout: Span(Duration::from_secs(2)),
        ..SinkConfig::stdout()
    }
}

fn item(seq: u64) -> Item {
    Item { seq, alert: SafeAlert::new(fixture::incident()), text: format!("{{\"n\":{seq}}}").into_bytes() }
}

fn refused(config: &SinkConfig) -> String {
    Syslog::open(config).err().unwrap().to_string()
}

/// Reads until the peer has sent so many bytes as `marker` ends with.
fn read_until(stream: &mut impl Read, marker: &str) -> String {
    let mut all = Vec::new();
    let mut buffer = [0u8; 4096];
    while !String::from_utf8_lossy(&all).contains(marker) {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "it ended before {marker}: {}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(all).unwrap()
}

#[test]
fn addresses_and_keys_that_cannot_work_are_refused() {
    for (address, word) in [
        ("siem.example:514", "no scheme"),
        ("http://siem.example:514", "no scheme of syslog"),
        ("unix://dev/log", "no absolute path"),
        ("tcp://siem.example", "has no port"),
    ] {
        let message = refused(&config(address));
        assert!(message.contains(word) && message.contains("tls://HOST:PORT"), "{message}");
    }
    let facility = SinkConfig { facility: Some("loca1".into()), ..config("udp://h:1") };
    assert!(refused(&facility).contains("local1"), "{}", refused(&facility));
    let mut with_tls = config("tcp://h:1");
    with_tls.tls.server_name = Some("siem".into());
    assert!(refused(&with_tls).contains("tls://"));
    let mut missing = config("tls://h:1");
    missing.tls.ca_file = Some("/nonexistent/ca.pem".into());
    assert!(refused(&missing).contains("/nonexistent/ca.pem: cannot be read"), "{}", refused(&missing));
}

#[test]
fn messages_on_a_stream_are_counted_in_octets() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut sink = Syslog::open(&config(&format!("tcp://{}", listener.local_addr().unwrap()))).unwrap();
    assert_eq!(sink.send(&[item(1), item(2)]), [Outcome::Accepted, Outcome::Accepted]);
    let (mut peer, _) = listener.accept().unwrap();
    let text = read_until(&mut peer, "{\"n\":2}");
    let (length, rest) = text.split_once(' ').unwrap();
    let length: usize = length.parse().unwrap();
    assert!(rest[..length].ends_with("{\"n\":1}"), "{text}");
    assert!(rest[length..].starts_with(&length.to_string()), "{text}");
}

#[test]
fn a_peer_that_closed_is_noticed_before_the_next_message_and_the_last_ones_are_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut sink = Syslog::open(&config(&format!("tcp://{}", listener.local_addr().unwrap()))).unwrap();
    sink.send(&[item(1)]);
    let (mut peer, _) = listener.accept().unwrap();
    read_until(&mut peer, "{\"n\":1}");
    drop(peer);
    // The end is on its way over loopback.
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(sink.send(&[item(2)]), [Outcome::Accepted]);
    let (mut peer, _) = listener.accept().unwrap();
    let text = read_until(&mut peer, "{\"n\":2}");
    assert!(text.contains("{\"n\":1}"), "what may have been lost comes first: {text}");
}

#[test]
fn a_receiver_that_hangs_up_each_time_is_no_receiver() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut sink = Syslog::open(&config(&format!("tcp://{}", listener.local_addr().unwrap()))).unwrap();
    // However late this machine lets the receiver hang up, it is watched that long.
    sink.wary = Duration::from_secs(60);
    sink.send(&[item(1)]);
    drop(listener.accept().unwrap());
    while sink.line.as_mut().unwrap().check().is_ok() {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let hanging_up = scope.spawn(|| drop(listener.accept().unwrap()));
            let outcomes = sink.send(&[item(2)]);
            hanging_up.join().unwrap();
            let [Outcome::Retry { reason, .. }] = outcomes.as_slice() else { panic!("{outcomes:?}") };
            assert!(reason.contains("as soon as they are made"), "{reason}");
        }
        // It changes its mind: everything is still there.
        sink.wary = Duration::from_millis(10);
        let taking = scope.spawn(|| {
            let (mut peer, _) = listener.accept().unwrap();
            read_until(&mut peer, "{\"n\":2}")
        });
        assert_eq!(sink.send(&[item(2)]), [Outcome::Accepted]);
        assert!(taking.join().unwrap().contains("{\"n\":1}"));
    });
}

#[test]
fn nobody_listening_is_no_loss() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut sink = Syslog::open(&config(&format!("tcp://{port}"))).unwrap();
    let outcomes = sink.send(&[item(1), item(2)]);
    let [Outcome::Retry { reason, .. }] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    assert!(reason.contains("nobody listens"), "{reason}");
    assert_eq!(sink.target(), format!("tcp://{port}"));
}

#[test]
fn a_receiver_that_reads_nothing_any_more_holds_nobody_up_for_long() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config(&format!("tcp://{}", listener.local_addr().unwrap()));
    config.timeout = Span(Duration::from_millis(300));
    let mut sink = Syslog::open(&config).unwrap();
    let large = |seq| Item { text: vec![b'x'; 7000], ..item(seq) };
    let begin = Instant::now();
    // What the kernel keeps for it is used up in the end; the peer is there all the time.
    let failed = (0..10_000u64).find_map(|seq| {
        let outcomes = sink.send(&[large(seq)]);
        outcomes.into_iter().find(|outcome| *outcome != Outcome::Accepted)
    });
    let Some(Outcome::Retry { reason, .. }) = failed else { panic!("{failed:?}") };
    assert!(reason.contains("no answer in time"), "{reason}");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[test]
fn a_datagram_is_one_message() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut sink = Syslog::open(&config(&format!("udp://{}", socket.local_addr().unwrap()))).unwrap();
    assert_eq!(sink.limits().max_bytes, 1250);
    assert_eq!(sink.send(&[item(1), item(2)]), [Outcome::Accepted, Outcome::Accepted]);
    let mut buffer = [0u8; 2000];
    for seq in 1..=2 {
        let count = socket.recv(&mut buffer).unwrap();
        let text = std::str::from_utf8(&buffer[..count]).unwrap();
        assert!(text.starts_with("<82>1 2026-11-23T20:40:01.123456Z "), "{text}");
        assert!(text.ends_with(&format!("{{\"n\":{seq}}}")), "{text}");
    }
}

#[test]
fn no_message_is_larger_than_configured_with_its_header() {
    let mut alert = fixture::incident();
    alert.host.name = "n".repeat(300);
    alert.worker.as_mut().unwrap().name = "\u{202e}\"]".repeat(100);
    for (address, max_bytes) in [
        ("udp://h:1", None),
        ("udp://h:1", Some(9000)),
        ("tcp://h:1", None),
        ("tcp://h:1", Some(1400)),
        ("unix:///dev/log", Some(1500)),
    ] {
        let max = max_bytes.map(crate::config::Bytes);
        let sink = Syslog::open(&SinkConfig { max_bytes: max, bom: true, ..config(address) }).unwrap();
        let text = vec![b'x'; sink.limits().max_bytes];
        let frame = sink.style.frame(&Item { seq: 1 << 40, alert: SafeAlert::new(alert.clone()), text });
        let most = max_bytes.unwrap_or(if address.starts_with("udp") { 1400 } else { 8000 });
        assert!(frame.len() as u64 <= most, "{address} {max_bytes:?}: {}", frame.len());
        assert!(sink.limits().max_bytes >= LEAST_TEXT && sink.style.header >= message::LEAST_HEADER);
    }
}

#[test]
fn a_refused_datagram_is_sent_again() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    let mut sink = Syslog::open(&config(&format!("udp://{address}"))).unwrap();
    // The kernel tells of the first one only afterwards.
    sink.send(&[item(1)]);
    let socket = UdpSocket::bind(address).unwrap();
    assert_eq!(sink.send(&[item(2)]), [Outcome::Accepted]);
    let mut buffer = [0u8; 2000];
    for seq in 1..=2 {
        let count = socket.recv(&mut buffer).unwrap();
        assert!(String::from_utf8_lossy(&buffer[..count]).ends_with(&format!("{{\"n\":{seq}}}")));
    }
}

#[test]
fn a_unix_socket_that_comes_back_gets_what_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut sink = Syslog::open(&config(&format!("unix://{}", path.display()))).unwrap();
    assert!(matches!(sink.send(&[item(1)])[..], [Outcome::Retry { .. }]), "there is no socket yet");
    let socket = UnixDatagram::bind(&path).unwrap();
    assert_eq!(sink.send(&[item(1)]), [Outcome::Accepted]);
    drop(socket);
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(sink.send(&[item(2)])[..], [Outcome::Retry { .. }]), "its receiver is gone");
    let socket = UnixDatagram::bind(&path).unwrap();
    assert_eq!(sink.send(&[item(2)]), [Outcome::Accepted]);
    let mut buffer = [0u8; 2000];
    let mut seen = Vec::new();
    for _ in 1..=2 {
        let count = socket.recv(&mut buffer).unwrap();
        seen.push(String::from_utf8_lossy(&buffer[..count]).contains("{\"n\":2}"));
    }
    assert_eq!(seen, [false, true]);
}
