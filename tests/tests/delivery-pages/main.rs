//! Pagers and chat channels: how things stand at a real Alertmanager and at strict fakes of PagerDuty and Slack, after all that
//! goes wrong on the way. The whole way is taken: configuration, spool, desk, request.
//!
//! Needs the peers that `cargo xtask test` installs, and `SANDWATCH_BIN`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod agent;
mod alertmanager;
mod channel;
mod faults;
mod killed;
mod pagerduty;
mod reach;
mod receivers;
mod secrets;
mod test_alert;
mod test_logs;
mod webhook;
