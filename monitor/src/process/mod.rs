//! Processes of workers: who made whom, what each runs, and the role it has.
//!
//! `process` has the types, `table` keeps them (pid reuse, lineage, bounded memory), `role` gives each its role as it forks
//! and executes (`again` when the rules change, `infer` where records were lost, `pins` for programs that must stay what they
//! were), `relation` says how they stand to each other, `scan` reads from /proc what ran before the agent did,
//! `setup` how a process is set up. Lineage is what the kernel said at fork: the
//! creating process, never the parent that /proc shows after a reparenting.

mod again;
mod infer;
mod model;
mod pins;
mod relation;
mod role;
mod scan;
mod setup;
mod stdio;
#[cfg(test)]
mod story_tests;
mod table;

pub use model::{History, Image, Process, ProcessRef, Program, Stamp, Standing};
pub use role::{Acted, Executed, Placing};
pub(crate) use scan::kernel_dev;
pub use scan::{Credentials, ProcReader, Scanned, SystemProc, scanned_exec_id};
pub use setup::WantedVariables;
pub(crate) use table::TICK;
pub use table::{ProcessTable, TableCounts};
