use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::detect::boot_now;
use crate::profile::RuleSet;

fn board() -> Arc<Board> {
    let board = Arc::new(Board::new(None, RuleSet::from_sources(&[]).unwrap()));
    board.put(Snapshot { version: "1.2.3".into(), ..Snapshot::default() });
    board
}

fn status(path: &Path) -> Status {
    ask(path, &Ask::Status).unwrap()
}

#[test]
fn socket_is_for_its_owner_alone_answers_and_is_gone_with_the_agent() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(SOCKET);
    let server = Server::start(&path, board()).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let status = status(&path);
    assert!(status.live && status.ready);
    assert_eq!(status.snapshot.version, "1.2.3");
    drop(server);
    assert!(!path.exists());
    assert!(ask::<Status>(&path, &Ask::Status).unwrap_err().is_nobody());
}

#[test]
fn socket_works_below_a_path_longer_than_an_address() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("f".repeat(120));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join(SOCKET);
    let _server = Server::start(&path, board()).unwrap();
    assert!(path.exists());
    assert!(status(&path).live);
}

#[test]
fn socket_of_a_living_agent_is_not_taken_and_that_of_a_dead_one_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(SOCKET);
    let first = Server::start(&path, board()).unwrap();
    let error = Server::start(&path, board()).unwrap_err().to_string();
    assert!(error.contains("another agent answers there") && error.contains("control:"), "{error}");
    assert!(status(&path).live);
    drop(first);
    // A socket that nobody listens on, as a killed agent leaves it.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let _second = Server::start(&path, board()).unwrap();
    assert!(status(&path).live);
}

#[test]
fn file_in_the_place_of_the_socket_is_not_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(SOCKET);
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(Server::start(&path, board()), Err(ControlError::Taken { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn who_asks_nothing_or_nonsense_holds_nobody_up_for_long() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(SOCKET);
    let _server = Server::start(&path, board()).unwrap();
    let silent = UnixStream::connect(&path).unwrap();
    let mut nonsense = UnixStream::connect(&path).unwrap();
    nonsense.write_all(b"how are you?\n").unwrap();
    let mut answer = String::new();
    nonsense.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("does not understand"), "{answer}");
    let mut flood = UnixStream::connect(&path).unwrap();
    // A line that never ends; the server may hang up in the middle of it.
    let _ = flood.write_all(&vec![b'x'; 1 << 20]);
    assert!(status(&path).live);
    drop(silent);
}

#[test]
fn pipeline_that_stands_still_is_not_live_whatever_its_snapshot_says() {
    let board = board();
    board.moved(boot_now().saturating_sub(31_000_000_000));
    let status = board.status();
    assert!(!status.live && !status.ready);
    let page = page(&status);
    assert!(page.starts_with("NOT LIVE\n  - the pipeline has not moved for 31 s"), "{page}");
}

#[test]
fn question_for_a_thread_that_does_not_answer_is_refused_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(SOCKET);
    let _server = Server::start(&path, board()).unwrap();
    let began = Instant::now();
    let error = ask::<Vec<Listed>>(&path, &Ask::Workers).unwrap_err();
    assert!(!error.is_nobody() && error.to_string().contains("own thread"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(6));
}
