//! The transports of delivery against real receivers that are no packages of this Debian, or not worth one in the default tier.
//!
//! `cargo xtask test --full` installs or builds them, and says in the environment where they are.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

#[path = "../delivery/deliver.rs"]
mod deliver;
mod mute_node;
mod rotel;
mod syslog_ng;
mod victorialogs;

use std::path::PathBuf;

/// The program that this variable names.
fn program(variable: &str) -> PathBuf {
    let named = std::env::var_os(variable);
    PathBuf::from(
        named.unwrap_or_else(|| panic!("{variable} names no program; run `cargo xtask test --only peers`")),
    )
}
