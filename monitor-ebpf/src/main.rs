//! sandwatch's kernel probes.
//!
//! # How a probe is written
//! 1. `subject::worker(program, signal, rung)` first: `None` means "not a worker's", return at once.
//! 2. Decide whether the run is of interest; if not, `count::ended(…, Fate::Filtered)` (or `Folded`).
//! 3. Claim a [`record::Record`] (`Small` or `Large`), append its strings, set the fields of its fixed part through
//!    `fixed()`, then `send` it; no slot free: `emit::bare`. Both count the fate, so every run that passed step 1 is
//!    counted exactly once.
//! 4. Paths come from [`path::Path`]: claim, walk, append its text.
//!
//! # What the verifier wants
//! It follows every branch: prefer `read::or_zero` (no branch; zero is "not there") to `read::field` (a `Result`), and let
//! answers that differ only in a value go through memory, so that it sees one state. Loops of more than a few dozen rounds
//! are [`repeat::Rounds`]. 5.10 warns at load that hash maps without preallocation are unsafe in tracing programs: that is
//! about probes inside the allocator, which these are not.
//!
//! Kernel fields are read through [`read::field`] with an offset of [`offsets`]; an optional one behind
//! `offsets::present`. Bounds that must survive the optimiser go through `read::bounded`. Failures of helpers are
//! counted by place with `count::failed`. Nothing here decides what an event means: that is the agent's.
#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![cfg_attr(feature = "atomics", feature(core_intrinsics))]
#![cfg_attr(
    feature = "atomics",
    expect(internal_features, reason = "atomic_xadd is the only fetch-and-add there is for this target")
)]

mod block;
mod cgroup;
mod count;
mod cred;
mod emit;
mod env;
mod exe;
mod fd;
mod inode;
mod maps;
mod namespace;
mod offsets;
mod path;
mod probes;
mod procs;
mod read;
mod record;
mod registers;
mod repeat;
mod scratch;
mod stdio;
mod subject;
mod watch;

/// Helpers such as `bpf_probe_read_kernel` are for programs under a GPL-compatible licence only (kernel/bpf/verifier.c).
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
