//! How many events one core decodes and judges: recorded traffic of ordinary jobs, from memory, through the
//! whole pipeline, with all shipped rules.
//!
//! Prints one JSON line: events, seconds, findings. `cargo xtask bench` runs it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use monitor::detect::{Envelope, HostFacts, WallClock};
use monitor::pipeline::Pipeline;
use monitor::process::{ProcReader, Scanned};
use monitor::profile::RuleSet;
use monitor::worker::{Assignment, FoundFile, RootFiles, Worker};
use monitor_common::ABI_VERSION;
use monitor_common::filter::access;
use monitor_common::hook::{Kind, Lane, Rung, Signal};
use monitor_common::record::{self as wire, Header, Slice};
use zerocopy::{Immutable, IntoBytes};

const WORKERS: u32 = 32;
const JOBS: u32 = 20_000;

/// Nothing ran before the recording began.
struct NoProc;

impl ProcReader for NoProc {
    fn environment(&self, _: u32, _: &dyn Fn(&str) -> bool) -> Vec<(Arc<str>, Arc<str>)> {
        Vec::new()
    }

    fn read(&self, _: u32) -> Option<Scanned> {
        None
    }
}

/// No file of the catalogue exists.
struct NoRoots;

impl RootFiles for NoRoots {
    fn resolve(&self, _: u32, paths: &mut dyn Iterator<Item = &str>) -> Vec<Option<FoundFile>> {
        paths.map(|_| None).collect()
    }
}

fn main() -> Result<()> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../rules");
    let rules = RuleSet::load(&[folder]).context("the shipped rules do not load")?;
    let mut pipeline = pipeline(rules);
    let recording = recording();
    let started = Instant::now();
    let mut alerts = 0u64;
    for (time, records) in &recording {
        for record in records {
            pipeline.handle(record, *time);
        }
        pipeline.turn_over(Some(*time), *time);
        while pipeline.next_alert().is_some() {
            alerts += 1;
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let counts = pipeline.counts();
    println!(
        "{{\"events\":{},\"seconds\":{seconds},\"findings\":{},\"alerts\":{alerts},\"undecodable\":{}}}",
        counts.records,
        counts.findings,
        counts.undecodable.values().sum::<u64>()
    );
    Ok(())
}

fn pipeline(rules: Arc<RuleSet>) -> Pipeline {
    let envelope = Envelope {
        host: HostFacts { name: "bench".into(), boot_id: "bench".into(), ..HostFacts::default() },
        cluster: None,
        environment: None,
        labels: BTreeMap::new(),
        rules: rules.digest().to_owned(),
        clock: WallClock { boot: 0 },
        cgroup_root: "/sys/fs/cgroup".into(),
    };
    let mut pipeline = Pipeline::new(rules, envelope, 65_536, Box::new(NoProc), Box::new(NoRoots));
    for label in 1..=WORKERS {
        let path = format!("/jobs/worker-{label}");
        let worker = Worker::new(label, u64::from(label) + 1000, &path, None, Assignment::default(), 0);
        pipeline.workers.insert(worker);
        pipeline.worker_found(label, &[], true, 0);
    }
    pipeline
}

/// Jobs as a CI worker runs them: a fork, an exec of git, opens of its own credentials, connects, an exit.
fn recording() -> Vec<(u64, Vec<Vec<u8>>)> {
    let mut time = 1_000_000_000;
    let mut recording = Vec::new();
    for label in 1..=WORKERS {
        // The worker's first process: seals it.
        let entry = head(Kind::Exec, entry_pid(label), entry_start(label), label, time);
        recording.push((time, vec![exec(entry, (1, 1), "/usr/bin/job-server", &["job-server"])]));
    }
    for job in 0..JOBS {
        time += 50_000;
        let label = job % WORKERS + 1;
        let (pid, parent) = (10_000 + job, (entry_pid(label), entry_start(label)));
        let at = |kind, exec_id| Header { exec_id, ..head(kind, pid, time, label, time) };
        let image = time + 1;
        let mut records = vec![fork(at(Kind::Fork, parent.1), parent)];
        let exec_head = at(Kind::Exec, image);
        records.push(exec(exec_head, parent, "/usr/bin/git", &["git", "fetch", "--depth=1", "origin"]));
        for path in ["/home/ci/.git-credentials", "/home/ci/work/.git/config"].iter().cycle().take(4) {
            records.push(open(at(Kind::Open, image), path));
        }
        for address in [[140, 82, 121, 4], [10, 0, 0, 9]] {
            records.push(connect(at(Kind::Connect, image), address, 443));
        }
        records.push(exit(at(Kind::Exit, image)));
        recording.push((time, records));
    }
    recording
}

fn entry_pid(label: u32) -> u32 {
    1000 + label
}

fn entry_start(label: u32) -> u64 {
    u64::from(label)
}

fn head(kind: Kind, pid: u32, start: u64, label: u32, time: u64) -> Header {
    let (lane, signal) = match kind {
        Kind::Fork => (Lane::Lifecycle, Signal::Fork),
        Kind::Exec => (Lane::Lifecycle, Signal::Exec),
        Kind::Exit => (Lane::Lifecycle, Signal::Exit),
        Kind::Open => (Lane::Priority, Signal::Open),
        _ => (Lane::Priority, Signal::Connect),
    };
    Header {
        abi: ABI_VERSION,
        kind: kind as u16,
        lane: lane as u16,
        rung: Rung::TpBtf as u16,
        signal: signal as u16,
        pid,
        tid: pid,
        start,
        exec_id: start,
        label,
        time,
        ..Header::ZERO
    }
}

fn fork(header: Header, parent: (u32, u64)) -> Vec<u8> {
    let ns_pid = header.pid;
    finish(
        &wire::Fork {
            header,
            parent_start: parent.1,
            parent_exec_id: parent.1,
            parent_pid: parent.0,
            ns_pid,
        },
        &[],
    )
}

fn exec(header: Header, parent: (u32, u64), exe: &str, argv: &[&str]) -> Vec<u8> {
    let mut data = Vec::new();
    let exe = put(&mut data, exe.as_bytes());
    let cwd = put(&mut data, b"/home/ci/work");
    let joined: Vec<u8> = argv.iter().flat_map(|arg| arg.bytes().chain([0])).collect();
    let arguments = put(&mut data, &joined);
    let fixed = wire::Exec {
        header,
        old_exec_id: parent.1,
        parent_start: parent.1,
        parent_pid: parent.0,
        ns_pid: header.pid,
        uid_before: u32::MAX,
        gid_before: u32::MAX,
        exe_mode: 0o100_755,
        exe_nlink: 1,
        argc: argv.len() as u32,
        exe,
        filename: exe,
        cwd,
        argv: arguments,
        ..wire::Exec::ZERO
    };
    finish(&fixed, &data)
}

fn open(header: Header, path: &str) -> Vec<u8> {
    let mut data = Vec::new();
    let path = put(&mut data, path.as_bytes());
    let fixed = wire::Open {
        header,
        ino: 4242,
        dev: 8 << 20,
        access: access::READ,
        mode: 0o100_600,
        nlink: 1,
        mount_rel: wire::mount_rel::OWN,
        path,
        ..wire::Open::ZERO
    };
    finish(&fixed, &data)
}

fn connect(header: Header, address: [u8; 4], port: u16) -> Vec<u8> {
    let mut addr = [0; 16];
    addr[..4].copy_from_slice(&address);
    let fixed = wire::Connect {
        header,
        addr,
        family: libc::AF_INET as u16,
        port,
        protocol: 6,
        sock_type: 1,
        error: wire::CONNECT_ATTEMPTED,
        ..wire::Connect::ZERO
    };
    finish(&fixed, &[])
}

fn exit(header: Header) -> Vec<u8> {
    finish(&wire::Exit { header, ..wire::Exit::ZERO }, &[])
}

fn put(data: &mut Vec<u8>, bytes: &[u8]) -> Slice {
    let off = data.len() as u16;
    data.extend_from_slice(bytes);
    Slice { off, len: bytes.len() as u16, flags: 0 }
}

fn finish<T: IntoBytes + Immutable>(fixed: &T, data: &[u8]) -> Vec<u8> {
    let mut bytes = fixed.as_bytes().to_vec();
    bytes.extend_from_slice(data);
    let at = std::mem::offset_of!(Header, len);
    let length = (bytes.len() as u32).to_ne_bytes();
    bytes[at..at + 4].copy_from_slice(&length);
    bytes
}
