//! Receivers for tests of delivery: strict fakes of services that cannot be run here, and what they need.
//!
//! A fake enforces what the service's documentation says: limits, states, error codes. It is no proof that the service
//! itself behaves so. `server` is the HTTP server below them, with faults on demand; `hec` Splunk's collector, `bulk`
//! Elasticsearch's bulk interface, `otlp` a collector that decodes with the published definitions, `tunnel` a proxy;
//! `pagerduty` and `slack` those two; `hook` signed webhooks, `syslog` messages over TCP; `authority` makes certificates, `place` a folder
//! with one and receivers of it, `alerts` makes alerts, `engine` has delivery with its threads. `program` is a
//! real receiver, `no_network` a network without any, `leaks` looks for secrets.

pub mod alerts;
pub mod authority;
pub mod bulk;
pub mod engine;
pub mod hec;
pub mod hook;
pub mod leaks;
pub mod no_network;
pub mod otlp;
pub mod pagerduty;
pub mod place;
pub mod program;
pub mod server;
pub mod slack;
pub mod syslog;
pub mod tunnel;

pub use authority::Authority;
pub use no_network::without_network;
pub use pagerduty::Service;
pub use place::Place;
pub use server::{Fault, Reply, Request, Server};
pub use slack::Channel;
