//! The transports of delivery, each against a real receiver or a strict fake on loopback, and with everything that goes wrong
//! on a network. What was accepted and what was received is compared by id.
//!
//! Needs root for a network namespace of its own, and the peers that `cargo xtask test` installs.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod answers;
mod cef;
mod dashboard;
mod deliver;
mod faults;
mod hangs;
mod kills;
mod load;
mod mute_node;
mod names;
mod proxies;
mod rig;
mod rsyslog;
mod secrets;
mod tls;
mod whole;
