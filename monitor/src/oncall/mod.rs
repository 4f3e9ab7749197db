//! Pagers and chat channels: receivers that are told how things stand, not all that happened.
//!
//! A sink that is a log gets every alert; a person who is woken wants one page per incident, the newest state of it, and
//! an end. So each receiver has a [`Desk`] with one row per incident or condition: what is known, what the receiver
//! acknowledged, which of its keys are open. The desk is a pure state machine: alerts, answers and the time go in, actions
//! come out. `store` keeps it over a restart, [`OnCall`] runs it on the spool and the network, a [`Pager`] (in `sink/`)
//! turns actions into requests. What is said is made here too, once for all receivers: a [`Brief`] of the alert, and the
//! [`page`] of it.

mod backoff;
mod brief;
mod desk;
mod on_call;
pub mod page;
mod pager;
mod store;

pub use backoff::Backoff;
pub use brief::{Brief, Link, RunId, TakenId, Urgency};
pub use desk::{Answer, Desk, Next, Now};
pub use on_call::OnCall;
pub use pager::{Action, Cap, Change, Keyer, Pager, Policy, Summary, SummaryKind, Why};

#[cfg(test)]
mod tests;
