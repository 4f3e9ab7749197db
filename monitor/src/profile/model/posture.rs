//! What postures compile to.

use std::sync::Arc;

use super::IdentityIdx;
use crate::alert::Severity;
use crate::profile::doc::NamespaceName;
use crate::profile::finding::{Refs, Respond, RuleRef};
use crate::profile::pattern::{ArgvAny, Globs};

/// A compiled posture.
#[derive(Debug)]
pub(in crate::profile) struct Posture {
    pub(in crate::profile) id: Arc<str>,
    pub(in crate::profile) title: Arc<str>,
    /// Names of profiles; none means any.
    pub(in crate::profile) profiles: Box<[Arc<str>]>,
    pub(in crate::profile) asks: Asks,
    pub(in crate::profile) severity: Severity,
    pub(in crate::profile) reaches_host: bool,
    pub(in crate::profile) respond: Respond,
    pub(in crate::profile) refs: Refs,
    pub(in crate::profile) rule: RuleRef,
}

/// How a worker has to be set up.
#[derive(Debug, Default)]
pub(in crate::profile) struct Asks {
    pub(in crate::profile) container: Option<bool>,
    pub(in crate::profile) shares: Box<[NamespaceName]>,
    pub(in crate::profile) capabilities: u64,
    pub(in crate::profile) privileged: Option<bool>,
    pub(in crate::profile) uid: Option<u32>,
    pub(in crate::profile) root_writable: Option<bool>,
    pub(in crate::profile) seccomp: Option<bool>,
    pub(in crate::profile) mount: Option<AsksMount>,
    pub(in crate::profile) block_devices: Option<bool>,
    pub(in crate::profile) unless_expected: Option<IdentityIdx>,
    pub(in crate::profile) credentials: Option<bool>,
    pub(in crate::profile) env: Box<[(Arc<str>, Globs)]>,
    pub(in crate::profile) env_absent: Box<[Arc<str>]>,
    pub(in crate::profile) argv_any: ArgvAny,
    pub(in crate::profile) argv_none: ArgvAny,
}

/// What a mount has to be like.
#[derive(Debug, Default)]
pub(in crate::profile) struct AsksMount {
    pub(in crate::profile) host: Globs,
    pub(in crate::profile) not_host: Globs,
    pub(in crate::profile) point: Globs,
    pub(in crate::profile) not_point: Globs,
    pub(in crate::profile) kind: Globs,
    pub(in crate::profile) writable: Option<bool>,
}

impl AsksMount {
    /// Whether it goes by what the mount is on the host.
    pub(in crate::profile) fn asks_for_host(&self) -> bool {
        !self.host.is_empty() || !self.not_host.is_empty()
    }
}
