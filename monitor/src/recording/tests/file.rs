//! A recording as a file: there and back, and what is wrong with one.

use std::io::Cursor;
use std::sync::Arc;

use proptest::prelude::*;

use crate::event::{
    AddressStage, Body, Connect, Event, ExeHome, Exec, FileId, Fork, MountRelation, Namespaces, Open, Origin,
    Outcome, Path, ProcessKey, Rung, Socket, Stdio, Subject, Text, Unix,
};
use crate::recording::*;

fn arc() -> impl Strategy<Value = Arc<str>> {
    "\\PC{0,24}|[\u{0}-\u{1f}\"\\\\/]{0,6}".prop_map(Arc::from)
}

fn path() -> impl Strategy<Value = Path> {
    (arc(), proptest::option::of(arc()), any::<[bool; 6]>()).prop_map(|(view, full, is)| Path {
        view,
        full,
        cut: is[0],
        unreadable: is[1],
        none: is[2],
        deleted: is[3],
        outside_root: is[4],
        user_memory: is[5],
    })
}

fn text() -> impl Strategy<Value = Text> {
    (arc(), any::<[bool; 3]>()).prop_map(|(text, is)| Text {
        text,
        truncated: is[0],
        unreadable: is[1],
        user_memory: is[2],
    })
}

fn key() -> impl Strategy<Value = ProcessKey> {
    any::<(u32, u64)>().prop_map(|(pid, start)| ProcessKey { pid, start })
}

fn id() -> impl Strategy<Value = FileId> {
    any::<(u32, u64)>().prop_map(|(dev, ino)| FileId { dev, ino })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![Just(Outcome::Ok), Just(Outcome::Denied), Just(Outcome::Absent), Just(Outcome::Attempted)]
}

fn exec() -> impl Strategy<Value = Body> {
    let texts =
        (path(), path(), text(), proptest::option::of(text()), proptest::collection::vec(arc(), 0..4));
    let numbers = (any::<[u32; 8]>(), any::<[u64; 4]>(), any::<[bool; 9]>(), any::<Option<bool>>());
    let rest = (
        key(),
        id(),
        proptest::option::of(id()),
        proptest::collection::vec((arc(), arc()), 0..3),
        any::<(Option<u32>, Option<u32>)>(),
    );
    (texts, numbers, rest).prop_map(
        |(
            (exe, cwd, filename, script, argv),
            (n, l, is, upper),
            (parent, exe_id, script_id, env, before),
        )| {
            Body::Exec(Box::new(Exec {
                old_exec_id: l[0],
                parent,
                ns_pid: n[0],
                ruid: n[1],
                rgid: n[2],
                uid_before: before.0,
                gid_before: before.1,
                secureexec: is[0],
                exe,
                exe_id,
                exe_mode: n[3],
                exe_uid: n[4],
                exe_nlink: n[5],
                exe_magic: l[1],
                exe_size: l[2],
                exe_ctime: l[3],
                home: ExeHome {
                    memfd: is[1],
                    tmpfs: is[2],
                    deleted: is[3],
                    overlay: is[4],
                    overlay_upper: upper,
                },
                filename,
                cwd,
                argv,
                argv_truncated: is[5],
                argc: n[6],
                env,
                env_incomplete: is[6],
                env_from_kernel: is[7],
                loader_env: is[8],
                script,
                script_id,
                ns: Namespaces { mnt: n[7], pid: n[0], net: 0, user: 1, cgroup: n[1] },
                stdio: [Stdio::Unknown, Stdio::Inet, Stdio::Pipe],
            }))
        },
    )
}

fn open() -> impl Strategy<Value = Body> {
    (path(), id(), any::<[u32; 9]>(), any::<u64>(), outcome(), any::<(i32, Option<u32>, bool)>()).prop_map(
        |(path, id, n, magic, outcome, (errno, proc_pid, uring))| {
            Body::Open(Box::new(Open {
                path,
                id,
                generation: n[0],
                magic,
                flags: n[1],
                access: n[2],
                outcome,
                errno,
                mode: n[3],
                nlink: n[4],
                task_mnt_ns: n[5],
                file_mnt_ns: n[6],
                mount: if n[7] % 2 == 0 { MountRelation::Foreign } else { MountRelation::Unknown },
                proc_pid,
                matched: n[8],
                uring,
            }))
        },
    )
}

fn body() -> impl Strategy<Value = Body> {
    let connect = (any::<(u64, std::net::IpAddr, u16, u16)>(), any::<[bool; 3]>(), outcome()).prop_map(
        |((sock, addr, port, protocol), is, outcome)| {
            Body::Connect(Connect {
                sock,
                addr,
                port,
                protocol,
                send: is[0],
                fast_open: is[1],
                user_memory: is[2],
                stage: if is[0] { AddressStage::Before } else { AddressStage::After },
                outcome,
                errno: i32::from(port),
                net_ns: u32::from(protocol),
            })
        },
    );
    let unix = (path(), id(), any::<(bool, u32, bool)>(), outcome()).prop_map(|(path, id, n, outcome)| {
        Body::Unix(Unix { path, abstract_name: n.0, id, sock_type: n.1, send: n.2, outcome, errno: 0 })
    });
    prop_oneof![
        exec(),
        open(),
        connect,
        unix,
        (key(), any::<(u64, u32)>()).prop_map(|(parent, n)| Body::Fork(Fork {
            parent,
            parent_exec_id: n.0,
            ns_pid: n.1
        })),
        any::<u32>().prop_map(|code| Body::Exit { code }),
        (any::<(u64, i32)>(), outcome()).prop_map(|(n, outcome)| Body::ConnectResult {
            sock: n.0,
            outcome,
            errno: n.1
        }),
        (any::<[u32; 3]>(), outcome()).prop_map(|(n, outcome)| Body::Socket(Socket {
            family: n[0],
            sock_type: n[1],
            protocol: n[2],
            outcome
        })),
        any::<(u64, u32, bool)>().prop_map(|n| Body::CgroupMove {
            to: n.0,
            target_pid: n.1,
            to_labelled: n.2
        }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let subject = (key(), any::<[u32; 4]>(), any::<[u64; 3]>(), id(), any::<[bool; 4]>());
    let rung = proptest::sample::select(Rung::ALL.to_vec());
    (any::<u64>(), rung, any::<(u16, u16, u64)>(), subject, body(), any::<bool>()).prop_map(
        |(time, rung, origin, (key, n, l, exe, is), body, degraded)| Event {
            time,
            rung,
            origin: Origin { lane: origin.0, cpu: origin.1, seq: origin.2 },
            subject: Subject {
                key,
                tid: n[0],
                label: n[1],
                cgroup: l[0],
                exec_id: l[1],
                author_root: l[2],
                exe,
                uid: n[2],
                gid: n[3],
                unknown_history: is[0],
                coarse_start: is[1],
                moved: is[2],
                pending: is[3],
            },
            body,
            degraded,
        },
    )
}

pub(super) fn header() -> Header {
    Header {
        schema: RECORDING_SCHEMA.to_owned(),
        made: Made::Recorded,
        about: String::new(),
        by: "test".to_owned(),
        host: "h".to_owned(),
        boot_id: "b".to_owned(),
        kernel: "6".to_owned(),
        boot: "2026-01-01T00:00:00Z".to_owned(),
        cgroup_root: None,
        rungs: Default::default(),
        redaction: Redaction::None,
        workers: Vec::new(),
    }
}

fn file(lines: &[String]) -> String {
    let mut text = serde_json::to_string(&header()).unwrap();
    for line in lines {
        text.push('\n');
        text.push_str(line);
    }
    text
}

/// The error of a file, of its header or of its first bad line.
fn error(text: &str) -> String {
    let mut reader = match Reader::new(Cursor::new(text)) {
        Ok(reader) => reader,
        Err(error) => return error.to_string(),
    };
    loop {
        match reader.next() {
            Ok(Some(_)) => {}
            Ok(None) => return "none".to_owned(),
            Err(error) => return error.to_string(),
        }
    }
}

proptest! {
    /// An event that is written is the event that is read.
    #[test]
    fn event_comes_back_as_it_was(event in event()) {
        let line = serde_json::to_string(&Line::Event(Box::new(event.clone()))).unwrap();
        prop_assert!(!line.contains('\n'));
        let text = file(&[line]);
        let mut reader = Reader::new(Cursor::new(text)).unwrap();
        prop_assert_eq!(reader.next().unwrap(), Some(Line::Event(Box::new(event))));
        prop_assert_eq!(reader.next().unwrap(), None);
    }

    /// Any bytes are a recording or an error with a line, never a panic.
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut text = file(&[]).into_bytes();
        text.push(b'\n');
        text.extend(bytes);
        let mut reader = Reader::new(Cursor::new(text)).unwrap();
        while let Ok(Some(_)) = reader.next() {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// Events of any kind and order, with whatever times and ids, are judged without a panic, twice the same.
    #[test]
    fn any_events_are_judged_twice_the_same(events in proptest::collection::vec(event(), 0..16)) {
        let play = || {
            let mut header = header();
            header.workers = vec![WorkerFact { label: 1, path: "/w".into(), ..WorkerFact::default() }];
            let mut replay = Replay::new(&header, super::demo_rules()).unwrap();
            for mut event in events.clone() {
                event.subject.label %= 3;
                event.subject.key.pid %= 8;
                event.subject.exec_id %= 8;
                replay.take(Line::Event(Box::new(event)));
            }
            replay.finish();
            std::iter::from_fn(|| replay.next_alert()).collect::<Vec<_>>()
        };
        prop_assert!(play() == play(), "two replays differ");
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_line() {
    let head = serde_json::to_string(&header()).unwrap();
    for (text, part) in [
        (String::new(), "line 1: the file is empty"),
        ("{}\n".to_owned(), "line 1: the first line is no header"),
        ("not json\n".to_owned(), "line 1: the first line is no header"),
        (
            head.replace("recording/v1", "recording/v2"),
            "line 1: the recording is of schema `sandwatch/recording/v2`",
        ),
        (head.replace("\"by\"", "\"bye\""), "unknown field `bye`"),
        (file(&["{\"event\":{}}".into()]), "line 2: no line of a recording: missing field `time`"),
        (
            file(&["".into(), "{\"evnet\":{}}".into()]),
            "line 3: no line of a recording: unknown variant `evnet`",
        ),
        (
            file(&["{\"gone\":{\"time\":1,\"label\":1,\"x\":2}}".into()]),
            "line 2: no line of a recording: unknown field `x`",
        ),
        (file(&[format!("\"{}\"", "x".repeat(MAX_LINE as usize))]), "line 2: the line is longer than"),
        (
            file(&[
                "{\"worker\":{\"time\":1,\"label\":1,\"path\":\"/w\",\"facts\":{\"db\":[\"no place\"]}}}"
                    .into(),
            ]),
            "line 2: no line of a recording: worker /w",
        ),
        (file(&["{\"gone\":{\"time\":1,".into()]) + "\n", "line 2: no line of a recording: EOF"),
        (
            file(&["{\"gone\":{\"time\":1,".into()]),
            "line 2: the recording is cut off in the middle of this line",
        ),
        (head[..head.len() / 2].to_owned(), "line 1: the recording is cut off in the middle of this line"),
    ] {
        let error = error(&text);
        assert!(error.contains(part), "{error} must contain {part}");
    }
    assert_eq!(error(&file(&["  ".into()])), "none");
}

#[test]
fn header_with_a_clock_that_is_none_is_refused() {
    let header = Header { boot: "yesterday".into(), ..header() };
    let error = Replay::new(&header, super::demo_rules()).err().unwrap();
    assert!(error.contains("`boot`"), "{error}");
}

/// A silence of centuries takes no time.
#[test]
fn long_silence_is_crossed() {
    let mut replay = Replay::new(&header(), super::demo_rules()).unwrap();
    for time in [1, u64::MAX] {
        replay.take(Line::Gone(WorkerGone { time, label: 1 }));
    }
    replay.finish();
}

/// The lines of the format, as they are committed: a change that old readers cannot read shows here.
#[test]
fn format_is_that_of_the_golden_file() {
    let text = "schema: sandwatch/scenario/v1\nabout: A\nbuilt: b\nworker: { unit: x.service, files: [/key] }\nevents:\n  \
        - exec: { exe: /a, env: { RUN: \"1\" } }\n  - { as: b, from: main, exec: { exe: /b, home: memfd, env_from: proc, env: { RUN: \"2\" } } }\n  \
        - { as: b, open: { path: \"/proc/<main>/mem\", outcome: denied } }\n  - { as: b, connect: { to: \"tcp:[::1]:80\" } }\n  \
        - { as: b, unix: { path: /s } }\n  - { as: b, socket: { family: 17 } }\n  - { as: b, cgroup_move: { to_worker: true } }\n  - { as: b, exit: { code: 1 } }\n";
    let scenario = Scenario::parse(&"s.yaml".into(), text).unwrap();
    let mut lines = vec![serde_json::to_string(&scenario.header).unwrap()];
    lines.extend(scenario.lines.iter().map(|line| serde_json::to_string(line).unwrap()));
    insta::assert_snapshot!(lines.join("\n"));
}
