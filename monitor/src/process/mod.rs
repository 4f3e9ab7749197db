//! Processes of workers: who made whom, what each runs, and the role it has.
//!
//! `process` has the types, `table` keeps them (pid reuse, lineage, bounded memory), `role` gives each its role as it forks
//! and executes, `scan` reads from /proc what ran before the agent did. Lineage is what the kernel said at fork: the
//! creating process, never the parent that /proc shows after a reparenting.

mod model;
mod role;
mod scan;
mod table;

pub use model::{History, Image, Process, ProcessRef, Program, Standing};
pub use role::{Executed, Placing};
pub(crate) use scan::kernel_dev;
pub use scan::{Credentials, ProcReader, Scanned, SystemProc, scanned_exec_id};
pub use table::{ProcessTable, TableCounts};
