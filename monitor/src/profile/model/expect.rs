//! What profiles and exceptions allow, by signal.

use std::sync::Arc;

use super::{Addresses, DetectionIdx, EndpointIdx, Family, IdentityIdx, ImagePattern};
use crate::profile::actor::RoleId;
use crate::profile::doc::{ProcFile, ProcOf, Scope};
use crate::profile::finding::{RuleRef, Tier};
use crate::profile::pattern::{Globs, Port, Programs, Scripts};

/// What is expected of a role.
#[derive(Debug)]
pub(in crate::profile) struct Expect {
    pub(in crate::profile) exec: SectionSpec<ExecRule>,
    pub(in crate::profile) identities: SectionSpec<IdentityRule>,
    pub(in crate::profile) connect: SectionSpec<ConnectRule>,
    pub(in crate::profile) unix: SectionSpec<UnixRule>,
    pub(in crate::profile) files: SectionSpec<FileRule>,
    pub(in crate::profile) socket: SectionSpec<SocketRule>,
}

/// What is allowed for one signal.
#[derive(Debug)]
pub(in crate::profile) struct SectionSpec<R> {
    pub(in crate::profile) rules: Vec<R>,
    /// What exceptions add, with their numbers.
    pub(in crate::profile) excepted: Vec<(u16, R)>,
    /// What everything else is; `None`: nothing.
    pub(in crate::profile) otherwise: Option<Tier>,
    /// Where it is said.
    pub(in crate::profile) rule: RuleRef,
    /// The same in words, for findings.
    pub(in crate::profile) words: Arc<str>,
}

/// What every allow item may say.
#[derive(Debug, Default)]
pub(in crate::profile) struct Common {
    pub(in crate::profile) within: Option<u64>,
    /// A fact that has to hold.
    pub(in crate::profile) condition: Option<Arc<str>>,
    pub(in crate::profile) program: Programs,
    /// The program need not be of the image.
    pub(in crate::profile) installed: bool,
    pub(in crate::profile) permits: Box<[DetectionIdx]>,
    /// It also permits the built-in finding of a loader variable that the engine did not have itself.
    pub(in crate::profile) permits_loader: bool,
    pub(in crate::profile) words: String,
    pub(in crate::profile) line: u32,
}

/// An exception, without its item, which stands at the role it is about.
#[derive(Debug)]
pub(in crate::profile) struct Exception {
    pub(in crate::profile) id: Arc<str>,
    pub(in crate::profile) worker: Globs,
    /// `worker` is about the cgroup path.
    pub(in crate::profile) by_cgroup: bool,
    pub(in crate::profile) profile: Arc<str>,
    pub(in crate::profile) role: Arc<str>,
    pub(in crate::profile) words: String,
    pub(in crate::profile) owner: String,
    pub(in crate::profile) reason: String,
    /// Last day, as written.
    pub(in crate::profile) expires: String,
    /// End of that day, seconds since the epoch.
    pub(in crate::profile) until: u64,
    pub(in crate::profile) rule: RuleRef,
}

/// An allowed exec.
#[derive(Debug)]
pub(in crate::profile) struct ExecRule {
    pub(in crate::profile) any: bool,
    pub(in crate::profile) becomes: Option<RoleId>,
    pub(in crate::profile) image: ImagePattern,
    pub(in crate::profile) common: Common,
}

/// An allowed identity.
#[derive(Debug)]
pub(in crate::profile) struct IdentityRule {
    pub(in crate::profile) any: bool,
    pub(in crate::profile) own: bool,
    pub(in crate::profile) script: Scripts,
    pub(in crate::profile) ids: Box<[IdentityIdx]>,
    pub(in crate::profile) access: u32,
    pub(in crate::profile) common: Common,
}

/// An allowed connect.
#[derive(Debug)]
pub(in crate::profile) struct ConnectRule {
    pub(in crate::profile) to: Box<[Port]>,
    pub(in crate::profile) scope: Box<[Scope]>,
    pub(in crate::profile) address: Addresses,
    pub(in crate::profile) endpoint: Box<[EndpointIdx]>,
    pub(in crate::profile) common: Common,
}

/// An allowed unix socket.
#[derive(Debug)]
pub(in crate::profile) struct UnixRule {
    pub(in crate::profile) any: bool,
    pub(in crate::profile) path: Globs,
    pub(in crate::profile) common: Common,
}

/// An allowed watched file.
#[derive(Debug)]
pub(in crate::profile) struct FileRule {
    pub(in crate::profile) path: Globs,
    pub(in crate::profile) proc: Box<[ProcFile]>,
    pub(in crate::profile) of: Box<[ProcOf]>,
    pub(in crate::profile) own: bool,
    pub(in crate::profile) access: u32,
    pub(in crate::profile) common: Common,
}

/// An allowed uncommon socket.
#[derive(Debug)]
pub(in crate::profile) struct SocketRule {
    pub(in crate::profile) family: Box<[Family]>,
    pub(in crate::profile) common: Common,
}
