//! The documents of rule files as they are written: one serde type per `schema:`, unknown keys refused.
//!
//! These types say what may be written, nothing of what it means; `compile` gives them meaning. Their JSON Schema (by
//! schemars) is what `sandwatch rules schema` prints.

mod allow;
mod detection;
mod endpoint;
mod exception;
mod identity;
mod list;
mod posture;
mod profile;
mod value;

pub use allow::{ConnectAllow, ExecAllow, FileAllow, IdentityAllow, Section, SocketAllow, UnixAllow};
pub use detection::{DetectionDoc, Detections, MatchDoc, On};
pub use endpoint::{EndpointDoc, Endpoints};
pub use exception::{ExceptionDoc, Exceptions, WhatDoc};
pub use identity::{Identities, IdentityDoc};
pub use list::{ArgvPart, OneOrMany};
pub use posture::{MountDoc, PostureDoc, Postures, SetupDoc};
pub use profile::{AttributionDoc, ExpectDoc, OnlyBy, ProfileDoc, RoleDoc, SelectDoc, SelectProcess};
pub use value::{
    AccessName, At, HomeName, MountName, NamespaceName, ProcFile, ProcOf, Scope, SeverityName, Span,
    StdioName, TrustName,
};

/// Schema names of rule documents, as `schema:` gives them.
pub mod schema_name {
    /// A profile.
    pub const PROFILE: &str = "sandwatch/profile/v1";
    /// Detections.
    pub const DETECTIONS: &str = "sandwatch/detections/v1";
    /// The identity catalogue, or a part of it.
    pub const IDENTITIES: &str = "sandwatch/identities/v1";
    /// The endpoint catalogue, or a part of it.
    pub const ENDPOINTS: &str = "sandwatch/endpoints/v1";
    /// Exceptions of a site.
    pub const EXCEPTIONS: &str = "sandwatch/exceptions/v1";
    /// Postures.
    pub const POSTURE: &str = "sandwatch/posture/v1";
    /// Tests of a rule file.
    pub const RULE_TEST: &str = "sandwatch/rule-test/v1";
    /// Every schema of a rule document that this version reads.
    pub const ALL: [&str; 6] = [PROFILE, DETECTIONS, IDENTITIES, ENDPOINTS, EXCEPTIONS, POSTURE];
}
