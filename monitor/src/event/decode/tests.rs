use proptest::prelude::*;

use super::*;
use crate::event::fixture::{self, Build};

fn open_body(bytes: &[u8]) -> Open {
    match decode(bytes).unwrap().body {
        Body::Open(open) => *open,
        other => panic!("not an open: {other:?}"),
    }
}

fn exec_body(bytes: &[u8]) -> Exec {
    match decode(bytes).unwrap().body {
        Body::Exec(exec) => *exec,
        other => panic!("not an exec: {other:?}"),
    }
}

fn connect_body(record: &wire::Connect) -> Connect {
    match decode(&Build::default().finish(record)).unwrap().body {
        Body::Connect(connect) => connect,
        other => panic!("not a connect: {other:?}"),
    }
}

#[test]
fn exec_carries_its_strings_and_ids() {
    let head = wire::Header {
        exec_id: 99,
        exe_ino: 7,
        exe_dev: 8 << 20,
        uid: 1000,
        ..fixture::header(Kind::Exec, 10, 50, 3)
    };
    let exec = exec_body(&fixture::exec(head, 50, (1, 5), "/bin/dash", &["sh", "-c", "", "id"]));
    assert_eq!(&*exec.exe.view, "/bin/dash");
    assert_eq!(exec.argv.iter().map(|arg| &**arg).collect::<Vec<_>>(), ["sh", "-c", "", "id"]);
    assert_eq!(exec.parent, ProcessKey { pid: 1, start: 5 });
    assert_eq!(exec.exe_id, FileId { dev: 8 << 20, ino: 7 });
    assert_eq!(exec.uid_before, None);
}

#[test]
fn record_without_scratch_has_strings_that_are_unknown_and_not_empty() {
    let header = |kind| wire::Header {
        flags: header_flags::DEGRADED | header_flags::NO_SCRATCH,
        ..fixture::header(kind, 1, 1, 1)
    };
    let exec =
        exec_body(&Build::default().finish(&wire::Exec { header: header(Kind::Exec), ..wire::Exec::ZERO }));
    assert!(!exec.exe.is_known() && !exec.cwd.is_known() && exec.filename.unreadable);
    assert!(exec.argv_truncated && exec.env_incomplete);
    assert_eq!((exec.uid_before, exec.gid_before), (None, None), "0 would be root");
    let open =
        open_body(&Build::default().finish(&wire::Open { header: header(Kind::Open), ..wire::Open::ZERO }));
    assert!(!open.path.is_known());
}

#[test]
fn open_splits_the_workers_view_from_the_whole_path() {
    let mut build = Build::default();
    let path = build.put(b"/var/lib/x/merged/etc/shadow", 0);
    let record = wire::Open {
        header: fixture::header(Kind::Open, 1, 1, 1),
        path: viewed(path, 17),
        ..wire::Open::ZERO
    };
    let open = open_body(&build.finish(&record));
    assert_eq!(&*open.path.view, "/etc/shadow");
    assert_eq!(open.path.full.as_deref(), Some("/var/lib/x/merged/etc/shadow"));
}

#[test]
fn open_of_the_workers_root_itself_is_a_slash() {
    let mut build = Build::default();
    let path = build.put(b"/var/merged", 0);
    let record = wire::Open {
        header: fixture::header(Kind::Open, 1, 1, 1),
        path: viewed(path, 11),
        ..wire::Open::ZERO
    };
    assert_eq!(&*open_body(&build.finish(&record)).path.view, "/");
}

#[test]
fn open_seen_at_uring_submission_has_no_outcome_yet() {
    let head = fixture::header(Kind::UringOpen, 1, 1, 1);
    let open = open_body(&fixture::open(head, "/etc/shadow", 1, 0));
    assert!(open.uring);
    assert_eq!(open.outcome, Outcome::Attempted);
}

#[test]
fn failed_relative_open_is_resolved_against_its_directory() {
    let mut build = Build::default();
    let path = build.put(b"../shadow\0junk", slice_flags::USER_MEMORY);
    let dir = build.put(b"/etc/ssl", 0);
    let record = wire::Open {
        header: fixture::header(Kind::Open, 1, 1, 1),
        path,
        dir,
        error: -libc::EACCES,
        ..wire::Open::ZERO
    };
    let open = open_body(&build.finish(&record));
    assert_eq!(&*open.path.view, "/etc/shadow");
    assert!(open.path.user_memory);
    assert_eq!((open.outcome, open.errno), (Outcome::Denied, libc::EACCES));
}

#[test]
fn failed_relative_open_without_a_directory_is_cut() {
    let mut build = Build::default();
    let path = build.put(b"token", slice_flags::USER_MEMORY);
    let record = wire::Open {
        header: fixture::header(Kind::Open, 1, 1, 1),
        path,
        error: -libc::ENOENT,
        ..wire::Open::ZERO
    };
    let open = open_body(&build.finish(&record));
    assert!(open.path.cut);
    assert_eq!(open.outcome, Outcome::Absent);
}

#[test]
fn v4_mapped_address_becomes_ipv4() {
    let mut addr = [0; 16];
    addr[10..].copy_from_slice(&[0xff, 0xff, 169, 254, 169, 254]);
    let connect = connect_body(&wire::Connect {
        header: fixture::header(Kind::Connect, 1, 1, 1),
        addr,
        family: libc::AF_INET6 as u16,
        port: 80,
        error: wire::CONNECT_ATTEMPTED,
        ..wire::Connect::ZERO
    });
    assert_eq!(connect.addr, "169.254.169.254".parse::<IpAddr>().unwrap());
    assert_eq!((connect.outcome, connect.errno), (Outcome::Attempted, 0));
}

#[test]
fn abstract_unix_name_is_shown_with_an_at_sign() {
    let mut build = Build::default();
    let path = build.put(b"containerd", 0);
    let record = wire::Unix {
        header: fixture::header(Kind::Unix, 1, 1, 1),
        path,
        flags: wire::unix_flags::ABSTRACT,
        ..wire::Unix::ZERO
    };
    match decode(&build.finish(&record)).unwrap().body {
        Body::Unix(unix) => assert_eq!(&*unix.path.view, "@containerd"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn outcomes_follow_the_errno() {
    for (error, outcome) in [
        (0, Outcome::Ok),
        (-libc::EPERM, Outcome::Denied),
        (-libc::EACCES, Outcome::Denied),
        (-libc::ENOENT, Outcome::Absent),
        (-libc::ENOTDIR, Outcome::Absent),
        (-libc::EMFILE, Outcome::Attempted),
        (i32::MIN, Outcome::Attempted),
    ] {
        assert_eq!(outcome_of_errno(error), outcome, "{error}");
    }
}

#[test]
fn wrong_records_are_refused_with_the_reason() {
    let good = fixture::fork(2, 20, (1, 10), 10, 1);
    let with = |field: usize, value: u16| {
        let mut bytes = good.clone();
        bytes[field..field + 2].copy_from_slice(&value.to_ne_bytes());
        decode(&bytes).unwrap_err()
    };
    assert_eq!(with(std::mem::offset_of!(wire::Header, abi), 77), DecodeError::Abi(77));
    assert_eq!(with(std::mem::offset_of!(wire::Header, kind), 77), DecodeError::Kind(77));
    assert_eq!(with(std::mem::offset_of!(wire::Header, lane), 77), DecodeError::Lane(77));
    assert_eq!(with(std::mem::offset_of!(wire::Header, rung), 77), DecodeError::Rung(77));
    assert!(matches!(decode(&good[..100]), Err(DecodeError::Short { .. })));
    assert!(matches!(decode(&good[..120]), Err(DecodeError::Length { .. })));
}

#[test]
fn string_beyond_the_record_is_refused() {
    let record = wire::Open {
        header: fixture::header(Kind::Open, 1, 1, 1),
        path: wire::Slice { off: u16::MAX, len: u16::MAX, flags: 0 },
        ..wire::Open::ZERO
    };
    assert!(matches!(decode(&Build::default().finish(&record)), Err(DecodeError::Slice { .. })));
}

proptest! {
    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = decode(&bytes);
    }

    /// Random bodies behind a valid head: reaches the per-kind decoders.
    #[test]
    fn any_body_of_any_kind_never_panics(kind in 1u16..=10, body in proptest::collection::vec(any::<u8>(), 0..500)) {
        let mut head = fixture::header(Kind::Open, 1, 1, 1);
        head.kind = kind;
        let mut build = Build::default();
        build.put(&body, 0);
        let _ = decode(&build.finish(&head));
    }

    #[test]
    fn subject_and_origin_survive_the_round_trip(pid in any::<u32>(), start in any::<u64>(), label in any::<u32>(), seq in any::<u64>(), cpu in any::<u16>(), exec_id in any::<u64>()) {
        let head = wire::Header { seq, cpu, exec_id, ..fixture::header(Kind::Connect, pid, start, label) };
        let event = decode(&fixture::connect(head, [127, 0, 0, 1], 80)).unwrap();
        prop_assert_eq!(event.subject.key, ProcessKey { pid, start });
        prop_assert_eq!((event.subject.label, event.subject.exec_id), (label, exec_id));
        prop_assert_eq!(event.origin, Origin { lane: 0, cpu, seq });
    }

    #[test]
    fn arguments_survive_the_round_trip(argv in proptest::collection::vec("[^\0]{0,20}", 0..20)) {
        let given: Vec<&str> = argv.iter().map(String::as_str).collect();
        let exec = exec_body(&fixture::exec(fixture::header(Kind::Exec, 1, 1, 1), 1, (0, 0), "/x", &given));
        prop_assert_eq!(exec.argv.iter().map(|arg| &**arg).collect::<Vec<_>>(), given);
    }

    #[test]
    fn failed_open_names_come_out_absolute_and_without_dots(name in "[a-z./]{1,40}", dir in "(/[a-z]{1,5}){0,4}") {
        let mut build = Build::default();
        let path = build.put(name.as_bytes(), slice_flags::USER_MEMORY);
        let dir = build.put(dir.as_bytes(), 0);
        let record = wire::Open { header: fixture::header(Kind::Open, 1, 1, 1), path, dir, error: -2, ..wire::Open::ZERO };
        let open = open_body(&build.finish(&record));
        prop_assert!(open.path.view.starts_with('/'));
        prop_assert!(open.path.view.split('/').all(|part| part != "." && part != ".."));
    }
}

/// A path whose view begins at this offset.
fn viewed(path: wire::Slice, view: u32) -> wire::Slice {
    wire::Slice { flags: path.flags | view << slice_flags::VIEW_SHIFT, ..path }
}
