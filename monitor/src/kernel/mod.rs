//! The kernel side of the agent: from "this host" to "records in the rings, and what we cannot see, by name".
//!
//! `host` finds out what the kernel offers; `btf` reads its type information and `offsets` resolves the fields the probes
//! read; `load` loads the BPF object; `ladder` takes, signal by signal, the best rung through which `canary` *saw* an action of
//! its own; `coverage` states what is watched and what is not; `maps` and `filter` are the doors to the probes' maps; `rings`
//! drains the two ring buffers; `counters`, `sequence` and `law` account for every event. [`Sensor`] holds it together.
//!
//! Nothing here knows what a record means: bytes go to the `event` room.

pub mod btf;
mod canary;
mod counters;
mod coverage;
mod dispatch;
mod env;
mod error;
mod filter;
mod gaps;
mod host;
mod ladder;
mod law;
#[cfg(test)]
mod live;
mod load;
mod maps;
mod neighbours;
mod object;
mod offsets;
mod options;
mod overlay;
mod prealloc;
mod rings;
mod rolling;
mod sensor;
mod sequence;
mod start;

pub(crate) use canary::helper::main as canary_main;
pub use canary::{Act, KEPT_MARKER};
pub(crate) use counters::add;
pub use counters::{Counters, ErrorCount, LaneCounters, ProgramCounters, Refusal, WorkerCounters};
pub use coverage::{Attempt, Coverage, GapWeight, KnownGap, Level, ProgramReport, SignalCoverage, Verdict};
pub use error::KernelError;
pub use filter::{InodeFilter, KernelFilter};
pub use host::Host;
pub(crate) use host::{cgroup2_mount, unescape_mount};
pub use law::{Breach, LawReport};
pub use object::{Variant, object};
pub use options::{HookChoice, MapSizes, Rates, SensorOptions};
pub use sensor::{Polled, Probes, Sensor};
pub use sequence::{Gap, SequenceTracker};
