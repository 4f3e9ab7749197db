//! Records built by hand, for tests of this room and of the pipeline.

use monitor_common::ABI_VERSION;
use monitor_common::hook::{Kind, Lane, Rung, Signal};
use monitor_common::map::UNCLASSIFIED;
use monitor_common::record::{self as wire, Header, Slice};
use zerocopy::{Immutable, IntoBytes};

/// A head for a record of `kind`, with everything else zero; the length is filled in by [`Build::finish`].
pub(crate) fn header(kind: Kind, pid: u32, start: u64, label: u32) -> Header {
    let lane = match kind {
        Kind::Fork | Kind::Exec | Kind::Exit | Kind::CgroupNew => Lane::Lifecycle,
        _ => Lane::Priority,
    };
    Header {
        abi: ABI_VERSION,
        kind: kind as u16,
        lane: lane as u16,
        rung: Rung::TpBtf as u16,
        signal: Signal::Exec as u16,
        pid,
        tid: pid,
        start,
        exec_id: start,
        label,
        ..Header::ZERO
    }
}

/// The data area of a record under construction.
#[derive(Default)]
pub(crate) struct Build {
    data: Vec<u8>,
}

impl Build {
    /// Appends `bytes` and names them.
    pub(crate) fn put(&mut self, bytes: &[u8], flags: u32) -> Slice {
        let off = self.data.len() as u16;
        self.data.extend_from_slice(bytes);
        Slice { off, len: bytes.len() as u16, flags }
    }

    /// The record's bytes, the stated length set.
    pub(crate) fn finish<T: IntoBytes + Immutable>(self, fixed: &T) -> Vec<u8> {
        let mut bytes = fixed.as_bytes().to_vec();
        bytes.extend_from_slice(&self.data);
        let len = bytes.len() as u32;
        let at = std::mem::offset_of!(Header, len);
        bytes[at..at + 4].copy_from_slice(&len.to_ne_bytes());
        bytes
    }
}

/// A new cgroup below `parent`.
pub(crate) fn cgroup_new(cgroup: u64, parent: u64, path: &str, time: u64) -> Vec<u8> {
    let mut build = Build::default();
    let path = build.put(path.as_bytes(), 0);
    let header = Header { time, cgroup, ..header(Kind::CgroupNew, 1, 1, UNCLASSIFIED) };
    build.finish(&wire::CgroupNew { header, parent, path })
}

/// A move to another cgroup.
pub(crate) fn cgroup_move(header: Header, to: u64, to_label: u32) -> Vec<u8> {
    Build::default().finish(&wire::CgroupMove { header, to, target_pid: header.pid, to_label })
}

/// A fork of `pid` by `parent` (pid and start), both of `label`.
pub(crate) fn fork(pid: u32, start: u64, parent: (u32, u64), parent_exec_id: u64, label: u32) -> Vec<u8> {
    let mut head = header(Kind::Fork, pid, start, label);
    head.time = start;
    Build::default().finish(&wire::Fork {
        header: head,
        parent_start: parent.1,
        parent_exec_id,
        parent_pid: parent.0,
        ns_pid: pid,
    })
}

/// An exec at `time` (also the new exec id).
pub(crate) fn exec(head: Header, old: u64, parent: (u32, u64), exe: &str, argv: &[&str]) -> Vec<u8> {
    let mut build = Build::default();
    let exe_slice = build.put(exe.as_bytes(), 0);
    let cwd = build.put(b"/", 0);
    let joined: Vec<u8> = argv.iter().flat_map(|arg| arg.bytes().chain([0])).collect();
    let argv_slice = build.put(&joined, 0);
    build.finish(&wire::Exec {
        header: head,
        old_exec_id: old,
        parent_start: parent.1,
        parent_pid: parent.0,
        ns_pid: head.pid,
        uid_before: u32::MAX,
        gid_before: u32::MAX,
        exe_mode: 0o100_755,
        exe_nlink: 1,
        argc: argv.len() as u32,
        exe: exe_slice,
        filename: exe_slice,
        cwd,
        argv: argv_slice,
        ..wire::Exec::ZERO
    })
}

/// An open of `path` with `error` (0 or a negative errno).
pub(crate) fn open(head: Header, path: &str, access: u32, error: i32) -> Vec<u8> {
    let mut build = Build::default();
    let path = build.put(path.as_bytes(), 0);
    build.finish(&wire::Open {
        header: head,
        ino: 4242,
        dev: 8 << 20,
        access,
        error,
        mode: 0o100_600,
        nlink: 1,
        mount_rel: wire::mount_rel::OWN,
        path,
        ..wire::Open::ZERO
    })
}

/// A TCP connect to an IPv4 address.
pub(crate) fn connect(head: Header, addr: [u8; 4], port: u16) -> Vec<u8> {
    let mut whole = [0; 16];
    whole[..4].copy_from_slice(&addr);
    Build::default().finish(&wire::Connect {
        header: head,
        addr: whole,
        family: libc::AF_INET as u16,
        port,
        protocol: 6,
        sock_type: 1,
        error: wire::CONNECT_ATTEMPTED,
        ..wire::Connect::ZERO
    })
}
