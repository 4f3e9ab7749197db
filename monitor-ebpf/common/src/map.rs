//! Keys and values of the maps that both sides read or write.

use crate::hook::{LANES, SIGNALS, Signal};
use crate::wire;

wire! {
    /// Value of the cgroup label map (key: cgroup id of the v2 hierarchy).
    pub struct Label {
        /// Label id given by the agent: the worker's index, `0` is never used; or [`UNCLASSIFIED`].
        pub id: u32,
        /// [`label_state`].
        pub state: u32,
    } size 8
}

/// Label id of what runs in a cgroup that the agent has not looked at yet. Whose it is, the agent finds out by the cgroup's id.
pub const UNCLASSIFIED: u32 = 1 << 31;

/// Where the counters of a label and signal are. What is [`UNCLASSIFIED`] has the place of the label 0, which is never given.
#[inline(always)]
pub const fn tally_index(label: u32, signal: Signal) -> u32 {
    (label & !UNCLASSIFIED).saturating_mul(SIGNALS as u32).saturating_add(signal as u32)
}

/// States of a [`Label`]: one of the kinds, and flags.
pub mod label_state {
    /// The part of the state that is the kind.
    pub const KIND: u32 = 0xff;
    /// Flag: cgroups made in it are [`PENDING`] and announced until the agent has looked at them.
    pub const HANDS_DOWN: u32 = 0x100;
    /// Flag of a [`PENDING`] one: a labelled process was moved (or born) into it. If it turns out to be no worker's, it becomes
    /// [`CHECK_PROCESS`].
    pub const VISITED: u32 = 0x200;
    /// Its processes are a worker's.
    pub const WORKER: u32 = 1;
    /// Made in a folder that hands down, or below such a one, and not looked at yet: its id is [`super::UNCLASSIFIED`], events are
    /// sent and marked.
    pub const PENDING: u32 = 2;
    /// Not a worker, but a labelled process was moved (or born) into it: look at the process map.
    pub const CHECK_PROCESS: u32 = 3;
    /// The agent's own cgroup while it tries its rungs, and later for its canary.
    pub const CANARY: u32 = 4;
    /// No worker, but workers may be made in it.
    pub const FOLDER: u32 = 5;
}

wire! {
    /// Value of the process map (key: process id in the initial namespace, `u32`).
    pub struct ProcState {
        /// Start of the thread group leader, boot-time ns; tells a reused pid.
        pub start: u64,
        /// Number of the current image: `start` of the process at fork, the exec's boot-time ns mixed with the CPU afterwards; unique on this boot.
        pub exec_id: u64,
        /// `exec_id` of the image of the parent at the time of the fork.
        pub parent_exec_id: u64,
        /// `exec_id` of the author root above (set by the agent, inherited at fork), or 0.
        pub author_root: u64,
        /// Inode of the executable.
        pub exe_ino: u64,
        /// Device of the executable.
        pub exe_dev: u32,
        /// Label id.
        pub label: u32,
        /// Effective uid at the last exec or fork.
        pub uid: u32,
        /// [`proc_flags`].
        pub flags: u32,
    } size 56
}

/// Flags of a process.
pub mod proc_flags {
    /// Put in by the agent's scan of /proc, not by a fork or exec that was seen.
    pub const SCANNED: u32 = 1;
    /// It executed something since it was forked.
    pub const EXECED: u32 = 2;
    /// At or below an author root.
    pub const AUTHOR: u32 = 4;
    /// Made on first sight by a probe: the fork was not seen.
    pub const LATE: u32 = 8;
}

wire! {
    /// Counters of one signal, per CPU; `hits = filtered + folded + sent + lost + throttled + error` when quiet.
    ///
    /// Kept twice: per program for all of the host, and per label and signal for worker events (where `outside` is 0).
    /// `outside` is no term of the law and no part of `hits`: a run that is not a worker's costs one plain add.
    pub struct Tally {
        /// Times the program ran for a worker.
        pub hits: u64,
        /// Times it ran for anybody else (a plain add: may miss one when preempted).
        pub outside: u64,
        /// A worker's, of no interest.
        pub filtered: u64,
        /// Second hits of one action (overlayfs backing file), dropped.
        pub folded: u64,
        /// Written to the ring.
        pub sent: u64,
        /// Refused by a full ring.
        pub lost: u64,
        /// Over the worker's token budget.
        pub throttled: u64,
        /// A helper failed before the record could be built.
        pub error: u64,
    } size 64
}

/// Most programs that have a [`Tally`] of their own.
pub const PROGRAMS_MAX: u32 = 64;

wire! {
    /// Key of the token bucket map.
    pub struct BucketKey {
        /// Label id.
        pub label: u32,
        /// [`crate::hook::Lane`].
        pub lane: u32,
    } size 8
}

wire! {
    /// Token bucket of one worker and lane on one CPU, and what it refused.
    pub struct Bucket {
        /// Tokens left.
        pub tokens: u64,
        /// Boot-time ns of the last refill.
        pub refilled: u64,
        /// Records refused.
        pub refused: u64,
        /// Boot-time ns of the first refusal, 0 if none.
        pub first: u64,
        /// Boot-time ns of the last refusal.
        pub last: u64,
    } size 40
}

wire! {
    /// Per-lane, per-CPU output counters; `next_seq = sent + lost`.
    pub struct LaneTally {
        /// Next sequence number.
        pub next_seq: u64,
        /// Records written.
        pub sent: u64,
        /// Records refused by a full ring.
        pub lost: u64,
        /// Bytes written.
        pub bytes: u64,
        /// Boot-time ns of the last record that was allowed to wake the reader.
        pub woken: u64,
    } size 40
}

wire! {
    /// Key of the error map: where a helper failed and with what errno.
    pub struct ErrorKey {
        /// [`place`].
        pub place: u32,
        /// Negative errno.
        pub errno: i32,
    } size 8
}

wire! {
    /// Key of the known-inode filter.
    pub struct InodeKey {
        /// Inode number.
        pub ino: u64,
        /// Device, kernel encoding.
        pub dev: u32,
        /// Zero (generation is checked in the value).
        pub pad: u32,
    } size 16
}

wire! {
    /// Value of every open filter: which accesses are of interest.
    pub struct FilterValue {
        /// [`crate::filter::access`] bits of interest.
        pub access: u32,
        /// Inode generation it was seen with, 0 if any.
        pub generation: u32,
    } size 8
}

wire! {
    /// What a connect was called with, from its entry to its exit (key: pid << 32 | tid; tracepoint rung).
    pub struct ConnectCall {
        /// User address of the `struct sockaddr`.
        pub address: u64,
        /// Descriptor.
        pub fd: u32,
        /// Length of the address.
        pub len: u32,
    } size 16
}

wire! {
    /// Settings the agent may change while probes run (array map, index 0).
    pub struct Settings {
        /// Tokens per second per worker, lane and CPU (priority lane).
        pub priority_rate: u64,
        /// The same, lifecycle lane.
        pub lifecycle_rate: u64,
        /// Bucket size in seconds of rate.
        pub burst_seconds: u64,
        /// Agent's own process id (its events are never a worker's).
        pub agent_pid: u32,
        /// Index of the filter generation in force (0 or 1).
        pub generation: u32,
        /// Binary logarithm of the size of each lane's ring buffer, bytes.
        pub ring_bits: [u32; LANES],
    } size 40
}

/// Places where a helper can fail ([`ErrorKey::place`]).
pub mod place {
    /// Insert into the process map (E2BIG: it is full).
    pub const PROCS_INSERT: u32 = 1;
    /// Insert into the label map.
    pub const LABELS_INSERT: u32 = 2;
    /// A kernel structure of a cgroup event could not be read.
    pub const CGROUP_READ: u32 = 4;
    /// A kernel structure of an open could not be read.
    pub const OPEN_READ: u32 = 5;
}

wire! {
    /// Where overlayfs keeps what (array map, index 0). Its types are in the BTF of the module, which may be loaded long
    /// after the probes, so this is a map and not read-only data.
    pub struct OverlayOffsets {
        /// 1 once the other fields hold; until then the layer of an overlay file is unknown.
        pub known: u32,
        /// Offset of `vfs_inode` in `struct ovl_inode`.
        pub vfs_inode: u32,
        /// Offset of `__upperdentry` in `struct ovl_inode`.
        pub upperdentry: u32,
        /// Zero.
        pub pad: u32,
    } size 16
}

/// Values of the map of environment variable names (key: the name, zero padded to `ENV_NAME_MAX`): flags, and from bit
/// [`env_flags::INDEX_SHIFT`] a number below `ENV_NAMES_MAX` that no other name has.
pub mod env_flags {
    /// First bit of the name's number, by which the probe tells a name it has met before.
    pub const INDEX_SHIFT: u32 = 8;
    /// Its value goes onto exec records.
    pub const CAPTURE: u32 = 1;
    /// It makes a loader or interpreter run code: its presence is flagged (`exec_flags::LOADER_ENV`).
    pub const LOADER: u32 = 2;
}
