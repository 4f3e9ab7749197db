//! The local log: what the agent was, said and was told, as a chain in which nothing can be changed unseen.
//!
//! One JSON object a line below `STATE_DIR/log`, each with the SHA-256 of the line before it (`entry`). The hash of the newest
//! line is the [`Head`] of the chain: it leaves the node with every heartbeat, so that even who may write the files cannot
//! change what was there before the last one. `write` appends and rotates, `verify` walks the chain and names the first broken
//! link. It is evidence, not a queue: an alert is kept for its receivers by `delivery`, and stands here with its id and digest.

mod entry;
mod files;
mod head;
mod verify;
mod write;

pub use entry::{Entry, What};
pub use head::{Hash, Head};
pub use verify::{Broken, Verified, verify, verify_files};
pub use write::{Ledger, Limits, Opened};

/// The log's folder in the state directory.
const FOLDER: &str = "log";

#[cfg(test)]
mod tests;
