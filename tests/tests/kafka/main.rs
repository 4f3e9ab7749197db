//! The sink `kafka` against Tansu, a broker that speaks Kafka's protocol, and against librdkafka's own cluster of mock brokers, which
//! answers with errors that Tansu cannot be made to give.
//!
//! `broker` starts Tansu, `gate` stands before it (hangs, cuts, speaks TLS), `login` has users log in at the gate.
//! `cargo xtask test --kafka` installs Tansu, and says in the environment where it is. Needs root for network namespaces of its own.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod answers;
mod broker;
mod confined;
#[path = "../delivery/deliver.rs"]
mod deliver;
mod faults;
mod gate;
mod login;
mod messages;
mod names;
mod tls;
mod users;
mod wrong;
