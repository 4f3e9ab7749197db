//! What does not answer: a file that does not open, a receiver that says nothing.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::*;
use crate::config::{SinkKind, Span};
use crate::profile::doc::OneOrMany;

/// HTTP to this address.
pub(super) fn http(name: &str, address: &str) -> SinkConfig {
    SinkConfig {
        name: name.to_owned(),
        kind: SinkKind::Http,
        url: Some(OneOrMany(vec![format!("http://{address}/")])),
        retry: Span(Duration::from_millis(10)),
        ..SinkConfig::stdout()
    }
}

/// Syslog over TCP to this address.
fn syslog(name: &str, address: &str) -> SinkConfig {
    SinkConfig {
        name: name.to_owned(),
        kind: SinkKind::Syslog,
        address: Some(format!("tcp://{address}")),
        retry: Span(Duration::from_millis(10)),
        ..SinkConfig::stdout()
    }
}

/// A receiver that takes connections, and reads what comes if it is told to; how many came.
fn receiver(reads: bool) -> (String, Arc<AtomicUsize>, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (count, got) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<u8>>>::default());
    let (counted, taken) = (Arc::clone(&count), Arc::clone(&got));
    std::thread::spawn(move || {
        let mut kept: Vec<TcpStream> = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            counted.fetch_add(1, Relaxed);
            if !reads {
                kept.push(stream);
                continue;
            }
            let taken = Arc::clone(&taken);
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    taken.lock().unwrap().extend_from_slice(&bytes[..count]);
                }
            });
        }
    });
    (address, count, got)
}

#[test]
fn key_that_does_not_open_holds_nobody_up_and_is_waited_for_by_one_thread_only() {
    let dir = tempfile::tempdir().unwrap();
    let (path, pipe) = (dir.path().join("alerts.jsonl"), dir.path().join("key"));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut engine = engine(Some(dir.path()), &[file(&path)]);
    engine.be_short();
    let hangs = wanted(&[SinkConfig { key_file: Some(pipe.clone()), ..http("hangs", "127.0.0.1:9") }]);
    let (sent, came) = std::sync::mpsc::channel();
    // Were it to open the key itself, this test would hang with it.
    std::thread::spawn(move || {
        let look = engine.look_at(&hangs);
        let found = until(|| look.result());
        let again = engine.look_at(&hangs).result();
        sent.send((engine, hangs, found, again)).unwrap();
    });
    let (engine, hangs, found, again) = came.recv_timeout(LONG).expect("the look returns");
    let found = found.unwrap_err();
    assert!(found.contains("\"hangs\"") && found.contains("does not open"), "{found}");
    assert!(again.unwrap().unwrap_err().contains("does not open yet"));
    // Somebody writes the key.
    std::fs::write(&pipe, "secret\n").unwrap();
    until(|| (Arc::strong_count(&engine.looking) == 1).then_some(()));
    let look = engine.look_at(&hangs);
    assert!(look.result().is_none(), "it is looked at anew");
    std::fs::write(&pipe, "secret\n").unwrap();
    drop(look);
    accept(&engine, 1..=3);
    engine.finish();
    assert_eq!(ids(&path), numbers(1..=3));
}

#[test]
fn sink_that_stays_as_it_is_keeps_its_connection_while_another_changes() {
    let dir = tempfile::tempdir().unwrap();
    let (address, connections, got) = receiver(true);
    let other = |name: &str| called("other", &dir.path().join(name));
    let mut engine = engine(Some(dir.path()), &[syslog("siem", &address), other("before")]);
    let has = |number: u64| {
        let text = got.lock().unwrap();
        let id = format!("\"{number}\"");
        text.windows(id.len()).any(|part| part == id.as_bytes()).then_some(())
    };
    accept(&engine, 1001..=1003);
    until(|| has(1003));
    for name in ["after", "later"] {
        exchange(&mut engine, &[syslog("siem", &address), other(name)], |_| ()).unwrap();
    }
    accept(&engine, 1004..=1006);
    until(|| has(1006));
    engine.finish();
    assert_eq!(connections.load(Relaxed), 1);
}

#[test]
fn log_that_hangs_in_a_request_is_left_behind_in_time_and_its_alerts_go_to_the_new_address() {
    let dir = tempfile::tempdir().unwrap();
    let (address, connections, _) = receiver(false);
    let (other, new) = (dir.path().join("other"), dir.path().join("new"));
    let mut engine = engine(Some(dir.path()), &[http("siem", &address), called("other", &other)]);
    engine.be_short();
    accept(&engine, 1..=5);
    until(|| (connections.load(Relaxed) > 0).then_some(()));
    let began = Instant::now();
    exchange(&mut engine, &[called("siem", &new), called("other", &other)], |engine| {
        accept(engine, 6..=10);
    })
    .unwrap();
    assert!(began.elapsed() < LONG / 4, "{:?}", began.elapsed());
    assert!(engine.settle(LONG));
    assert_eq!((ids(&new), ids(&other)), (numbers(1..=10), numbers(1..=10)));
    engine.finish();
}

#[test]
fn pager_that_hangs_in_a_request_is_waited_for_longer_than_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let (address, connections, _) = receiver(false);
    let path = dir.path().join("alerts.jsonl");
    let pager = SinkConfig { kind: SinkKind::Alertmanager, ..http("pager", &address) };
    let mut engine = engine(Some(dir.path()), &[pager.clone(), file(&path)]);
    engine.be_short();
    engine.patience.all = Duration::from_secs(2);
    engine.accept(alert(Class::High, 1));
    until(|| (connections.load(Relaxed) > 0).then_some(()));
    let began = Instant::now();
    exchange(&mut engine, &[pager, called("other", &path)], |_| ()).unwrap();
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(1500) && took < LONG / 2, "{took:?}");
}
