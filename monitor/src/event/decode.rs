//! A record's bytes → [`Event`].
//!
//! Records come from our own probes, but they are checked like foreign input: a version skew, a probe bug or a fuzzer
//! must end in a typed error that the caller counts, never in a panic or a half-read event.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use monitor_common::record::{self as wire, exec_flags, header_flags, mount_rel, slice_flags, stdio};
use monitor_common::{ABI_VERSION, map::proc_flags};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::{ExeHome, Exec, Namespaces, Path, Stdio, Text, types::*};

/// Why a record was refused. Each is a bug or a version skew, so each is counted and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DecodeError {
    /// Shorter than the fixed part of its kind.
    #[error("record of {got} bytes is shorter than its fixed part of {need} bytes")]
    Short {
        /// Bytes there are.
        got: usize,
        /// Bytes its kind needs.
        need: usize,
    },
    /// Written by probes of another layout.
    #[error("record has ABI version {0}, this agent reads {ABI_VERSION}")]
    Abi(u16),
    /// The length in the header is not the length received.
    #[error("record says it is {stated} bytes long, {got} were received")]
    Length {
        /// Length in the header.
        stated: usize,
        /// Bytes received.
        got: usize,
    },
    /// No such kind.
    #[error("record of unknown kind {0}")]
    Kind(u16),
    /// No such lane.
    #[error("record of unknown lane {0}")]
    Lane(u16),
    /// No such rung.
    #[error("record of unknown rung {0}")]
    Rung(u16),
    /// A string reaches beyond the record.
    #[error("string at {off}+{len} lies outside the record's data area of {area} bytes")]
    Slice {
        /// Offset in the data area.
        off: u16,
        /// Length.
        len: u16,
        /// Size of the data area.
        area: usize,
    },
    /// Neither IPv4 nor IPv6.
    #[error("connect with address family {0}")]
    Family(u16),
}

/// Decodes one record.
pub fn decode(bytes: &[u8]) -> Result<Event, DecodeError> {
    let header = head(bytes)?;
    if Lane::from_wire(header.lane).is_none() {
        return Err(DecodeError::Lane(header.lane));
    }
    let rung = Rung::from_wire(header.rung).ok_or(DecodeError::Rung(header.rung))?;
    let kind = Kind::from_wire(header.kind).ok_or(DecodeError::Kind(header.kind))?;
    let mut body = match kind {
        Kind::Fork => fork(bytes)?,
        Kind::Exec => exec(bytes)?,
        Kind::Exit => Body::Exit { code: fixed::<wire::Exit>(bytes)?.0.code },
        Kind::Open => open(bytes, false)?,
        Kind::UringOpen => open(bytes, true)?,
        Kind::Connect => connect(bytes)?,
        Kind::ConnectResult => connect_result(bytes)?,
        Kind::Unix => unix(bytes)?,
        Kind::Socket => socket(bytes)?,
        Kind::CgroupMove => cgroup_move(bytes)?,
        // No event of a worker: `announce` reads it.
        Kind::CgroupNew => return Err(DecodeError::Kind(header.kind)),
    };
    if header.flags & header_flags::NO_SCRATCH != 0 {
        without_strings(&mut body);
    }
    Ok(Event {
        time: header.time,
        rung,
        origin: Origin { lane: header.lane, cpu: header.cpu, seq: header.seq },
        subject: subject(&header),
        body,
        degraded: header.flags & (header_flags::DEGRADED | header_flags::NO_SCRATCH) != 0,
    })
}

/// The head of a record of this layout and length.
pub(super) fn head(bytes: &[u8]) -> Result<wire::Header, DecodeError> {
    let header: wire::Header = fixed(bytes)?.0;
    if header.abi != ABI_VERSION {
        return Err(DecodeError::Abi(header.abi));
    }
    if header.len as usize != bytes.len() {
        return Err(DecodeError::Length { stated: header.len as usize, got: bytes.len() });
    }
    Ok(header)
}

/// A record that was written without scratch memory has no strings, and of an exec little more than that it happened: what
/// is zero or empty in it is not known.
fn without_strings(body: &mut Body) {
    let unknown = |path: &mut Path| (path.unreadable, path.cut) = (true, true);
    match body {
        Body::Exec(exec) => {
            unknown(&mut exec.exe);
            unknown(&mut exec.cwd);
            exec.filename.unreadable = true;
            exec.argv_truncated = true;
            exec.env_incomplete = true;
            exec.home.overlay_upper = None;
            (exec.uid_before, exec.gid_before) = (None, None);
            exec.stdio = [Stdio::Unknown; 3];
        }
        Body::Open(open) => unknown(&mut open.path),
        Body::Unix(unix) => unknown(&mut unix.path),
        _ => {}
    }
}

/// Outcome of an action that returned `error` (0 or a negative errno, as the kernel gives it).
pub fn outcome_of_errno(error: i32) -> Outcome {
    match error.wrapping_neg() {
        0 => Outcome::Ok,
        libc::EACCES | libc::EPERM => Outcome::Denied,
        libc::ENOENT | libc::ENOTDIR => Outcome::Absent,
        _ => Outcome::Attempted,
    }
}

fn connect_outcome(error: i32) -> (Outcome, i32) {
    if error == wire::CONNECT_ATTEMPTED {
        return (Outcome::Attempted, 0);
    }
    (outcome_of_errno(error), error.saturating_neg().max(0))
}

pub(super) fn fixed<T: FromBytes + KnownLayout + Immutable>(bytes: &[u8]) -> Result<(T, &[u8]), DecodeError> {
    T::read_from_prefix(bytes).map_err(|_| DecodeError::Short { got: bytes.len(), need: size_of::<T>() })
}

fn subject(header: &wire::Header) -> Subject {
    let has = |bit| header.flags & bit != 0;
    Subject {
        key: ProcessKey { pid: header.pid, start: header.start },
        tid: header.tid,
        label: header.label,
        cgroup: header.cgroup,
        exec_id: header.exec_id,
        author_root: header.author_root,
        exe: FileId { dev: header.exe_dev, ino: header.exe_ino },
        uid: header.uid,
        gid: header.gid,
        unknown_history: has(header_flags::NO_PROC) || header.proc_flags & proc_flags::LATE != 0,
        coarse_start: header.proc_flags & proc_flags::SCANNED != 0,
        moved: has(header_flags::MOVED),
        pending: has(header_flags::PENDING),
    }
}

fn fork(bytes: &[u8]) -> Result<Body, DecodeError> {
    let (fork, _): (wire::Fork, _) = fixed(bytes)?;
    Ok(Body::Fork(Fork {
        parent: ProcessKey { pid: fork.parent_pid, start: fork.parent_start },
        parent_exec_id: fork.parent_exec_id,
        ns_pid: fork.ns_pid,
    }))
}

fn exec(bytes: &[u8]) -> Result<Body, DecodeError> {
    let (exec, data): (wire::Exec, _) = fixed(bytes)?;
    let has = |bit| exec.flags & bit != 0;
    let known = |id: u32| (id != u32::MAX).then_some(id);
    let argv = slice(data, &exec.argv)?;
    let env = slice(data, &exec.env)?;
    let script = slice(data, &exec.script)?;
    Ok(Body::Exec(Box::new(Exec {
        old_exec_id: exec.old_exec_id,
        parent: ProcessKey { pid: exec.parent_pid, start: exec.parent_start },
        ns_pid: exec.ns_pid,
        ruid: exec.ruid,
        rgid: exec.rgid,
        uid_before: known(exec.uid_before),
        gid_before: known(exec.gid_before),
        secureexec: has(exec_flags::SECUREEXEC),
        exe: path(data, &exec.exe)?,
        exe_id: FileId { dev: exec.header.exe_dev, ino: exec.header.exe_ino },
        exe_mode: exec.exe_mode,
        exe_uid: exec.exe_uid,
        exe_nlink: exec.exe_nlink,
        exe_magic: exec.exe_magic,
        exe_size: exec.exe_size,
        exe_ctime: exec.exe_ctime,
        home: ExeHome {
            memfd: has(exec_flags::MEMFD),
            tmpfs: has(exec_flags::TMPFS),
            deleted: has(exec_flags::DELETED),
            overlay: has(exec_flags::OVERLAY),
            overlay_upper: overlay_upper(exec.flags),
        },
        filename: text(data, &exec.filename)?,
        cwd: path(data, &exec.cwd)?,
        argv: strings(argv),
        argv_truncated: exec.argv.flags & (slice_flags::TRUNCATED | slice_flags::UNREADABLE) != 0,
        argc: exec.argc,
        env: strings(env)
            .iter()
            .filter_map(|pair| pair.split_once('='))
            .map(|(n, v)| (n.into(), v.into()))
            .collect(),
        env_incomplete: has(exec_flags::ENV_DUPLICATE)
            || exec.env.flags & (slice_flags::TRUNCATED | slice_flags::UNREADABLE | slice_flags::INCOMPLETE)
                != 0,
        env_from_kernel: has(exec_flags::ENV_KERNEL),
        loader_env: has(exec_flags::LOADER_ENV),
        script: if script.is_empty() { None } else { Some(text(data, &exec.script)?) },
        script_id: (exec.script_ino != 0).then_some(FileId { dev: exec.script_dev, ino: exec.script_ino }),
        ns: Namespaces {
            mnt: exec.mnt_ns,
            pid: exec.pid_ns,
            net: exec.net_ns,
            user: exec.user_ns,
            cgroup: exec.cgroup_ns,
        },
        stdio: [stdio_of(exec.stdio[0]), stdio_of(exec.stdio[1]), stdio_of(exec.stdio[2])],
    })))
}

fn overlay_upper(flags: u32) -> Option<bool> {
    if flags & exec_flags::OVERLAY == 0 {
        return Some(false);
    }
    if flags & exec_flags::OVERLAY_UNKNOWN != 0 {
        return None;
    }
    Some(flags & exec_flags::OVERLAY_UPPER != 0)
}

fn stdio_of(kind: u8) -> Stdio {
    match kind {
        stdio::CLOSED => Stdio::Closed,
        stdio::FILE => Stdio::File,
        stdio::PIPE => Stdio::Pipe,
        stdio::SOCKET => Stdio::Socket,
        stdio::INET => Stdio::Inet,
        stdio::CHAR => Stdio::Char,
        stdio::OTHER => Stdio::Other,
        _ => Stdio::Unknown,
    }
}

fn open(bytes: &[u8], uring: bool) -> Result<Body, DecodeError> {
    let (open, data): (wire::Open, _) = fixed(bytes)?;
    let mut at = path(data, &open.path)?;
    if open.error != 0 || at.user_memory || uring {
        at = named_from(at, &path(data, &open.dir)?);
    }
    let outcome = if uring { Outcome::Attempted } else { outcome_of_errno(open.error) };
    Ok(Body::Open(Box::new(Open {
        path: at,
        id: FileId { dev: open.dev, ino: open.ino },
        generation: open.generation,
        magic: open.magic,
        flags: open.open_flags,
        access: open.access,
        outcome,
        errno: open.error.saturating_neg().max(0),
        mode: open.mode,
        nlink: open.nlink,
        task_mnt_ns: open.task_mnt_ns,
        file_mnt_ns: open.file_mnt_ns,
        mount: match open.mount_rel {
            mount_rel::OWN => MountRelation::Own,
            mount_rel::OWN_OUTSIDE_ROOT => MountRelation::OwnOutsideRoot,
            mount_rel::FOREIGN => MountRelation::Foreign,
            mount_rel::NONE => MountRelation::None,
            _ => MountRelation::Unknown,
        },
        proc_pid: (open.proc_pid != 0).then_some(open.proc_pid),
        matched: open.matched,
        uring,
    })))
}

/// A name as the process gave it, made absolute: against `dir` when it is relative, `.` and `..` taken lexically.
///
/// Nothing was opened, so there is no dentry to ask; a symbolic link in the name stays unresolved.
fn named_from(name: Path, dir: &Path) -> Path {
    if name.unreadable || name.none || name.view.is_empty() {
        return name;
    }
    let (mut whole, cut) = if name.view.starts_with('/') {
        (String::with_capacity(name.view.len()), name.cut)
    } else {
        (dir.view.to_string(), name.cut || !dir.is_known() || dir.view.is_empty())
    };
    whole.push('/');
    whole.push_str(&name.view);
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Path { view: format!("/{}", parts.join("/")).into(), full: None, cut, ..name }
}

fn connect(bytes: &[u8]) -> Result<Body, DecodeError> {
    let (connect, _): (wire::Connect, _) = fixed(bytes)?;
    let has = |bit| connect.flags & bit != 0;
    let [a, b, c, d, ..] = connect.addr;
    let addr = match i32::from(connect.family) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        libc::AF_INET6 => IpAddr::V6(Ipv6Addr::from(connect.addr)).to_canonical(),
        _ => return Err(DecodeError::Family(connect.family)),
    };
    let (outcome, errno) = connect_outcome(connect.error);
    Ok(Body::Connect(Connect {
        sock: connect.sock,
        addr,
        port: connect.port,
        protocol: connect.protocol,
        send: has(wire::connect_flags::SEND),
        fast_open: has(wire::connect_flags::FAST_OPEN),
        user_memory: has(wire::connect_flags::USER_MEMORY),
        stage: if has(wire::connect_flags::AFTER_TRANSLATION) {
            AddressStage::After
        } else {
            AddressStage::Before
        },
        outcome,
        errno,
        net_ns: connect.net_ns,
    }))
}

fn connect_result(bytes: &[u8]) -> Result<Body, DecodeError> {
    let (result, _): (wire::ConnectResult, _) = fixed(bytes)?;
    let (outcome, errno) = connect_outcome(result.error);
    Ok(Body::ConnectResult { sock: result.sock, outcome, errno })
}

fn unix(bytes: &[u8]) -> Result<Body, DecodeError> {
    let (unix, data): (wire::Unix, _) = fixed(bytes)?;
    let has = |bit| unix.flags & bit != 0;
    let mut at = path(data, &unix.path)?;
    if has(wire::unix_flags::ABSTRACT) {
        at.view = format!("@{}", at.view).into();
        at.none = false;
    }
    let (outcome, errno) = connect_outcome(unix.error);
    Ok(Body::Unix(Unix {
        path: at,
        abstract_name: has(wire::unix_flags::ABSTRACT),
        id: FileId { dev: unix.dev, ino: unix.ino },
        sock_type: unix.sock_type,
        send: has(wire::unix_flags::SEND),
        outcome,
        errno,
    }))
}

fn socket(bytes: &[u8]) -> Result<Body, DecodeError> {
    let (socket, _): (wire::Socket, _) = fixed(bytes)?;
    Ok(Body::Socket(Socket {
        family: socket.family,
        sock_type: socket.sock_type,
        protocol: socket.protocol,
        outcome: connect_outcome(socket.error).0,
    }))
}

fn cgroup_move(bytes: &[u8]) -> Result<Body, DecodeError> {
    let (moved, _): (wire::CgroupMove, _) = fixed(bytes)?;
    Ok(Body::CgroupMove { to: moved.to, target_pid: moved.target_pid, to_labelled: moved.to_label != 0 })
}

pub(super) fn slice<'a>(data: &'a [u8], at: &wire::Slice) -> Result<&'a [u8], DecodeError> {
    let start = usize::from(at.off);
    data.get(start..start + usize::from(at.len)).ok_or(DecodeError::Slice {
        off: at.off,
        len: at.len,
        area: data.len(),
    })
}

fn lossy(bytes: &[u8]) -> Arc<str> {
    // The common case is UTF-8 already: one copy, into the Arc.
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => String::from_utf8_lossy(bytes).into(),
    }
}

/// Up to the first NUL: kernel strings end there, whatever follows is leftover.
fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn text(data: &[u8], at: &wire::Slice) -> Result<Text, DecodeError> {
    Ok(Text {
        text: lossy(until_nul(slice(data, at)?)),
        truncated: at.flags & slice_flags::TRUNCATED != 0,
        unreadable: at.flags & slice_flags::UNREADABLE != 0,
        user_memory: at.flags & slice_flags::USER_MEMORY != 0,
    })
}

fn path(data: &[u8], at: &wire::Slice) -> Result<Path, DecodeError> {
    let view = (at.flags >> slice_flags::VIEW_SHIFT) as usize;
    let mut bytes = slice(data, at)?;
    if at.flags & slice_flags::USER_MEMORY != 0 {
        bytes = until_nul(bytes);
    } else if let Some((0, head)) = bytes.split_last() {
        bytes = head;
    }
    let seen = match bytes.get(view..) {
        // The root directory itself has nothing below the point where the view begins.
        Some([]) if !bytes.is_empty() => b"/",
        Some(seen) => seen,
        None => bytes,
    };
    Ok(Path {
        view: lossy(seen),
        full: (view != 0 && seen.len() != bytes.len()).then(|| lossy(bytes)),
        cut: at.flags & (slice_flags::CUT | slice_flags::TRUNCATED) != 0,
        unreadable: at.flags & slice_flags::UNREADABLE != 0,
        none: at.flags & slice_flags::NO_PATH != 0,
        deleted: at.flags & slice_flags::DELETED != 0,
        outside_root: at.flags & slice_flags::OUTSIDE_ROOT != 0,
        user_memory: at.flags & slice_flags::USER_MEMORY != 0,
    })
}

/// NUL-separated strings; empty ones are kept (`sh -c ''` has one), the end's NUL is not a string.
fn strings(bytes: &[u8]) -> Vec<Arc<str>> {
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes.strip_suffix(&[0]).unwrap_or(bytes).split(|byte| *byte == 0).map(lossy).collect()
}

#[cfg(test)]
mod tests;
