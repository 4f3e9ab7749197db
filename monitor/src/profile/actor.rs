//! Who acts: the profile, role and program of a process, as the process table knows them.

use std::sync::Arc;

use super::facts::Facts;
use super::finding::Tier;
use crate::event::{BootNs, Exec};

/// A profile of a [`super::RuleSet`]; only meaningful with the set it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProfileId(pub(super) u16);

impl ProfileId {
    /// The profile of unknown workers; every set has it.
    pub const GENERIC: Self = Self(0);
}

/// A role within a profile; the first five are the same in every profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoleId(pub(super) u16);

impl RoleId {
    /// The worker's first process and its children until a role matches.
    pub const ENTRY: Self = Self(0);
    /// Below an author root, in no role of its own.
    pub const DESCENDANT: Self = Self(1);
    /// Below the engine, in no role.
    pub const STRAY: Self = Self(2);
    /// Entered a sealed worker from outside.
    pub const OPERATOR: Self = Self(3);
    /// Entered from outside with the command of a health probe.
    pub const PROBE: Self = Self(4);
    /// The first id of a profile's own roles.
    pub(super) const FIRST_NAMED: u16 = 5;
    /// No role: stands among a role's parents for a process that enters the sealed worker from outside.
    pub(super) const OUTSIDE: Self = Self(u16::MAX);
}

/// What sort of role a role is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoleKind {
    /// [`RoleId::ENTRY`].
    Entry,
    /// A role of the profile on the engine's side.
    Named,
    /// A role of the profile that runs author-controlled code.
    Author,
    /// [`RoleId::DESCENDANT`].
    Descendant,
    /// [`RoleId::STRAY`].
    Stray,
    /// [`RoleId::OPERATOR`].
    Operator,
    /// [`RoleId::PROBE`].
    Probe,
}

impl RoleKind {
    /// Author code or below it.
    pub const fn author_side(self) -> bool {
        matches!(self, Self::Author | Self::Descendant)
    }

    /// The engine's own processes.
    pub const fn engine_side(self) -> bool {
        matches!(self, Self::Entry | Self::Named)
    }
}

/// A role as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Name.
    pub name: Arc<str>,
    /// Kind.
    pub kind: RoleKind,
}

/// How far an executable can be relied on to be what its path says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trust {
    /// On a file system that the acting user cannot change.
    Trusted,
    /// Not, and why (`memfd`, `deleted`, `tmpfs`, `overlay upper layer`, `writable by its user`).
    Untrusted(&'static str),
    /// This field is not known.
    Unknown(&'static str),
    /// Found by the scan of /proc at start: what it was when it was executed cannot be known.
    Scanned,
}

/// The program of a process: the names it can be recognised by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image<'a> {
    /// Resolved executable; `None` if unknown.
    pub exe: Option<&'a str>,
    /// Path as given to exec; `None` if unknown.
    pub given: Option<&'a str>,
    /// Arguments, the first is argv[0].
    pub argv: &'a [Arc<str>],
    /// There are more arguments, or longer ones.
    pub argv_truncated: bool,
    /// Working directory; `None` if unknown.
    pub cwd: Option<&'a str>,
    /// Trust in the executable.
    pub trust: Trust,
    /// How it compares with what its worker first executed from that path; for items that say `trust: pinned`.
    pub pin: Pin,
}

/// An executable against what its worker first executed from the same path (device, inode, size, change time).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pin {
    /// Nothing was noted: no pinned rule asks for such a program, or it has no path to be known by.
    #[default]
    None,
    /// The same file, or the first seen.
    Holds,
    /// Another file than before.
    Changed,
}

impl<'a> Image<'a> {
    /// The image of an exec by a process with effective uid `uid`.
    pub fn of_exec(exec: &'a Exec, uid: u32) -> Self {
        Self {
            exe: exec.exe.is_known().then_some(&*exec.exe.view),
            given: (!exec.filename.unreadable && !exec.filename.truncated).then_some(&*exec.filename.text),
            argv: &exec.argv,
            argv_truncated: exec.argv_truncated,
            cwd: exec.cwd.is_known().then_some(&*exec.cwd.view),
            trust: Trust::of_exec(exec, uid),
            pin: Pin::None,
        }
    }

    /// The image of a process found in /proc, with what could be read there.
    pub fn scanned(exe: Option<&'a str>, argv: &'a [Arc<str>], cwd: Option<&'a str>) -> Self {
        Self { exe, given: None, argv, argv_truncated: false, cwd, trust: Trust::Scanned, pin: Pin::None }
    }
}

impl Trust {
    /// A file with a name on a disk, whoever may have written it.
    pub fn named_file(self) -> bool {
        match self {
            Self::Trusted | Self::Scanned | Self::Unknown(_) => true,
            Self::Untrusted(why) => matches!(why, "overlay upper layer" | "writable by its user"),
        }
    }

    /// Trust in the executable of an exec by a process with effective uid `uid`.
    ///
    /// Root can write everywhere, so for uid 0 ownership says nothing: there the layer and the file system decide.
    pub fn of_exec(exec: &Exec, uid: u32) -> Self {
        let home = exec.home;
        if home.memfd {
            return Self::Untrusted("memfd");
        }
        if home.deleted || exec.exe.deleted {
            return Self::Untrusted("deleted");
        }
        if home.tmpfs {
            return Self::Untrusted("tmpfs");
        }
        if home.overlay_upper == Some(true) {
            return Self::Untrusted("overlay upper layer");
        }
        if exec.exe_mode & 0o002 != 0 || (uid != 0 && exec.exe_uid == uid) {
            return Self::Untrusted("writable by its user");
        }
        if !exec.exe.is_known() {
            return Self::Unknown("exe");
        }
        if home.overlay && home.overlay_upper.is_none() {
            return Self::Unknown("exe layer");
        }
        Self::Trusted
    }
}

/// Whose /proc entry an open reached, seen from the acting process; the first that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProcTarget {
    /// The acting process.
    Own,
    /// A process it created, at any depth.
    Descendant,
    /// Below the same author root.
    SameRun,
    /// A process of the same worker that is not below an author root.
    EngineSide,
    /// Below another author root of the same worker.
    OtherRun,
    /// Not in this worker.
    Outside,
}

/// Where a process stands when it executes something: what decides which role it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleContext<'a> {
    /// Profile of its worker.
    pub profile: ProfileId,
    /// Role before the exec (its own, or inherited at fork).
    pub role: RoleId,
    /// When that role was taken by an exec (inherited at fork), boot-time ns.
    pub role_since: BootNs,
    /// It is an author root, or below one or below a stray.
    pub below_author: bool,
    /// It came from outside the sealed worker and has executed nothing inside: this exec says what it is.
    pub entering: bool,
    /// What the site states of the worker.
    pub facts: &'a Facts,
    /// Exact argument lists of health commands that the site names for the worker.
    pub probes: &'a [Vec<String>],
    /// Time of the exec, boot-time ns.
    pub now: BootNs,
}

/// A worker as exceptions name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerNames<'a> {
    /// Its name on alerts.
    pub name: &'a str,
    /// Its cgroup path below the cgroup2 root.
    pub cgroup: &'a str,
}

/// Who acts in an event. For an exec: the role before it, and for one that enters its worker by it, the role after it.
#[derive(Clone, Copy, Debug)]
pub struct Actor<'a> {
    /// Profile of its worker.
    pub profile: ProfileId,
    /// Its role; `None` if the process is not known.
    pub role: Option<RoleId>,
    /// When the role was taken (inherited at fork), boot-time ns.
    pub role_since: BootNs,
    /// It is an author root, or below one or below a stray.
    pub below_author: bool,
    /// The program it runs; `None` if unknown. Not looked at for an exec.
    pub image: Option<Image<'a>>,
    /// For an open in procfs: whose entry; `None` if it cannot be said.
    pub proc_target: Option<ProcTarget>,
    /// The identity that the device and inode of the opened file or socket are known as (by a literal path of the
    /// catalogue resolved in the worker's root, or by an earlier match by path): how a secret is seen under another name.
    pub known_identity: Option<&'a str>,
    /// Working directory in which its run began: that of its author root's exec, on the engine's side of its own.
    pub run_dir: Option<&'a str>,
    /// For an open through another mount namespace: that namespace was made below the actor or in its own run.
    pub nested_mount: bool,
    /// For an exec: it enters its sealed worker from outside by it.
    pub entering: bool,
    /// For an exec: the new executable against what the worker first executed from its path.
    pub pin: Pin,
    /// For an exec: whether a loader variable was there in the image before; `None` if unknown.
    pub loader_before: Option<bool>,
    /// What the site states of the worker.
    pub facts: &'a Facts,
    /// The worker as exceptions name it; `None` if it is not known.
    pub worker: Option<WorkerNames<'a>>,
    /// Wall-clock time of the event, seconds since the epoch; `None` if unknown, and then no exception holds.
    pub wall: Option<u64>,
    /// The highest tier that the incident it belongs to has reached before.
    pub reached: Option<Tier>,
}

impl Actor<'_> {
    /// A process of which nothing is known but its worker's profile.
    pub const fn unknown(profile: ProfileId) -> Self {
        Self {
            profile,
            role: None,
            role_since: 0,
            below_author: false,
            image: None,
            proc_target: None,
            known_identity: None,
            run_dir: None,
            nested_mount: false,
            entering: false,
            pin: Pin::None,
            loader_before: None,
            facts: Facts::NONE,
            worker: None,
            wall: None,
            reached: None,
        }
    }
}
