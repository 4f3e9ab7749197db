//! From findings to incidents to alerts.
//!
//! A finding with its scene (`scene`: the event, the process and its lineage, the worker) joins the incident of its run or
//! lineage (`scope`, `detector`), which is over when its time has come (`due`). An incident (`incident`) grows a chain of findings (`chain`), a blast radius (`radius`, with
//! what was `used`), and what to do (`respond`); what became of its connects comes later (`connects`). Deviations wait for
//! company (`deviations`). Incidents outlive the agent (`keep`). `recent` and `tree` are the evidence an incident begins with. `describe`, `title`, `offers`, `severity` and
//! `attribution` say in an alert's words what the scene shows; `gap` speaks of what was, or may have been, missed, `posture` of how
//! a worker is set up; `envelope` is
//! what every alert carries.

mod attribution;
mod chain;
mod connects;
mod describe;
mod detector;
mod deviations;
mod due;
mod envelope;
mod gap;
mod incident;
mod keep;
mod offers;
mod posture;
mod radius;
mod recent;
mod respond;
mod scene;
mod scope;
mod severity;
mod title;
mod tree;
mod used;

pub use detector::{Begun, Detector};
pub use envelope::{Envelope, HostFacts, WallClock, boot_now};
pub use gap::{GAP_REASONS, GapReport, Gaps};
pub use incident::{IDLE, QUIET};
pub use keep::{CloseRequest, Saved, Store, StoreError, read_incidents};
pub(crate) use keep::{leave_request, request_waits};
pub use posture::{Over, Posture, SavedPosture, posture_alert, posture_gone, posture_over};
pub use recent::Recent;
pub use scene::Scene;
