//! Every map of the object. The agent finds them by these names and sets the sizes marked *loader* before loading.
//!
//! Hash maps are not preallocated: memory follows use. Values that both sides read are `monitor_common::map` types.

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf};
use monitor_common::filter::{NAME_MAX, PREFIX_MAX, SKIP_ENTRIES};
use monitor_common::hook::{LANES, SIGNALS};
use monitor_common::map::{
    Bucket, BucketKey, ConnectCall, ErrorKey, FilterValue, InodeKey, Label, LaneTally, OverlayOffsets,
    PROGRAMS_MAX, ProcState, Settings, Tally,
};
use monitor_common::record::{ENV_NAME_MAX, Header};

/// Records of the priority lane (size: loader).
#[map]
pub static RING_PRIORITY: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// Records of the lifecycle lane (size: loader).
#[map]
pub static RING_LIFECYCLE: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// Cgroup id (v2 hierarchy) → label (entries: loader).
#[map]
pub static LABELS: HashMap<u64, Label> = HashMap::with_max_entries(16_384, BPF_F_NO_PREALLOC);

/// Process id → state of that process (entries: loader).
#[map]
pub static PROCS: HashMap<u32, ProcState> = HashMap::with_max_entries(65_536, BPF_F_NO_PREALLOC);

/// `exec_id` of an image → author root it is at or below, as the agent found it. A map of its own, not a field the agent
/// writes into [`PROCS`]: rewriting a whole entry would undo an exec of the process that happens at the same moment. Least
/// recently used entries go; an `exec_id` is never used twice.
#[map]
pub static AUTHORS: LruHashMap<u64, u64> = LruHashMap::with_max_entries(8192, 0);

/// Counters per program (index: `monitor_common::program`).
#[map]
pub static PROGRAM_TALLY: PerCpuArray<Tally> = PerCpuArray::with_max_entries(PROGRAMS_MAX, 0);

/// Counters per label and signal (index: `label * SIGNALS + signal`; entries: loader).
#[map]
pub static LABEL_TALLY: PerCpuArray<Tally> = PerCpuArray::with_max_entries(64 * SIGNALS as u32, 0);

/// Output counters and sequence numbers per lane.
#[map]
pub static LANE_TALLY: PerCpuArray<LaneTally> = PerCpuArray::with_max_entries(LANES as u32, 0);

/// Token buckets per label and lane, per CPU (entries: loader).
#[map]
pub static BUCKETS: PerCpuHashMap<BucketKey, Bucket> =
    PerCpuHashMap::with_max_entries(4096, BPF_F_NO_PREALLOC);

/// Helper failures by place and errno.
#[map]
pub static ERRORS: HashMap<ErrorKey, u64> = HashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);

/// Settings the agent may change while probes run.
#[map]
pub static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);

/// Names of environment variables an exec record captures or flags (value: `monitor_common::map::env_flags`).
#[map]
pub static ENV_NAMES: HashMap<[u8; ENV_NAME_MAX], u32> = HashMap::with_max_entries(128, BPF_F_NO_PREALLOC);

/// `struct sock` → head of the record of the TCP connect under way on it. Least recently used: a connect that never
/// leaves SYN_SENT must not hold its place for ever.
#[map]
pub static CONNECTS: LruHashMap<u64, Header> = LruHashMap::with_max_entries(4096, 0);

/// Thread (pid << 32 | tid) → the connect it is in (tracepoint rung only).
#[map]
pub static CONNECT_CALLS: LruHashMap<u64, ConnectCall> = LruHashMap::with_max_entries(1024, 0);

/// Where overlayfs keeps its upper dentries (index 0); set once its module's types are known.
#[map]
pub static OVERLAY: Array<OverlayOffsets> = Array::with_max_entries(1, 0);

/// What hooks before the point of no return saw of an exec that is under way (key: `task_struct` address, which stays the
/// same when a thread other than the leader execs). Least recently used entries go: an exec may die half-way.
#[map]
pub static EXECS: LruHashMap<u64, Before> = LruHashMap::with_max_entries(1024, 0);

/// Value of [`EXECS`].
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Before {
    /// Inode of the first file of a `#!` chain, 0 if unknown.
    pub script_ino: u64,
    /// Device of that file.
    pub script_dev: u32,
    /// Effective user id, `u32::MAX` if unknown.
    pub uid: u32,
    /// Effective group id, `u32::MAX` if unknown.
    pub gid: u32,
    /// Zero.
    pub pad: u32,
}

macro_rules! filters {
    ($($inode:ident $prefix:ident $name:ident $parent:ident $skip:ident $generation:literal;)*) => {$(
        #[doc = concat!("Device and inode of known secrets, generation ", $generation, " (entries: loader).")]
        #[map]
        pub static $inode: HashMap<InodeKey, FilterValue> = HashMap::with_max_entries(16_384, BPF_F_NO_PREALLOC);
        #[doc = concat!("Literal path prefixes, generation ", $generation, " (entries: loader).")]
        #[map]
        pub static $prefix: LpmTrie<[u8; PREFIX_MAX], FilterValue> = LpmTrie::with_max_entries(4096, BPF_F_NO_PREALLOC);
        #[doc = concat!("Literal file names, generation ", $generation, " (entries: loader).")]
        #[map]
        pub static $name: HashMap<[u8; NAME_MAX], FilterValue> = HashMap::with_max_entries(4096, BPF_F_NO_PREALLOC);
        #[doc = concat!("Names of parent folders, generation ", $generation, " (entries: loader).")]
        #[map]
        pub static $parent: HashMap<[u8; NAME_MAX], FilterValue> = HashMap::with_max_entries(4096, BPF_F_NO_PREALLOC);
        #[doc = concat!("Names that are in neither of these two (`filter::skip_bit`), generation ", $generation, ".")]
        #[map]
        pub static $skip: Array<u64> = Array::with_max_entries(SKIP_ENTRIES, 0);
    )*};
}
// Two generations: the agent fills the one that is not in force, then switches `Settings::generation`.
filters! {
    FILTER_INODE_0 FILTER_PREFIX_0 FILTER_NAME_0 FILTER_PARENT_0 FILTER_SKIP_0 0;
    FILTER_INODE_1 FILTER_PREFIX_1 FILTER_NAME_1 FILTER_PARENT_1 FILTER_SKIP_1 1;
}
