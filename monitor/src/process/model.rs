//! A process, the images it ran, and where it stands in its worker.

use std::sync::Arc;

use crate::event::{BootNs, Exec, FileId, Path, ProcessKey};
use crate::profile::{self, Pin, RoleId, Trust};

/// A process in the table; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessRef(pub(super) u64);

/// How the agent came to know a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum History {
    /// By its fork.
    Seen,
    /// It joined its worker from outside (or was the first in it).
    Joined,
    /// It ran before the agent: read from /proc, start time in 10 ms ticks.
    Scanned,
    /// A record spoke of it that nothing explained: its fork or exec was lost.
    Inferred,
}

/// A program as it was executed; shared by the processes forked from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// Resolved executable.
    pub exe: Path,
    /// Identity of the executable.
    pub exe_id: FileId,
    /// Path as given to exec, where it was seen.
    pub given: Option<Arc<str>>,
    /// Arguments; empty if they are not known.
    pub argv: Vec<Arc<str>>,
    /// There were more arguments, or longer ones.
    pub argv_truncated: bool,
    /// The arguments are known.
    pub argv_known: bool,
    /// Working directory at exec.
    pub cwd: Path,
    /// How far the executable can be relied on.
    pub trust: Trust,
    /// Size and change time of the executable.
    pub stamp: Stamp,
    /// How the executable compares with what its worker first executed from that path.
    pub pin: Pin,
    /// A loader variable (LD_PRELOAD, NODE_OPTIONS, …) was in its environment at exec; `None` if that is not known.
    pub loader_env: Option<bool>,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Size, bytes.
    pub size: u64,
    /// Change time, ns since the epoch; 0 if unknown.
    pub ctime: u64,
}

impl Program {
    /// The program of an exec by effective user `uid`.
    pub fn of_exec(exec: &Exec, uid: u32) -> Self {
        let given = &exec.filename;
        Self {
            exe: exec.exe.clone(),
            exe_id: exec.exe_id,
            given: (!given.unreadable && !given.truncated).then(|| given.text.clone()),
            argv: exec.argv.clone(),
            argv_truncated: exec.argv_truncated,
            argv_known: true,
            cwd: exec.cwd.clone(),
            trust: Trust::of_exec(exec, uid),
            stamp: Stamp { size: exec.exe_size, ctime: exec.exe_ctime },
            pin: Pin::None,
            // A variable that was seen is there, however far the scan got.
            loader_env: (exec.loader_env || (exec.env_from_kernel && !exec.env_incomplete))
                .then_some(exec.loader_env),
        }
    }

    /// The same as [`crate::event::Exec::is_nowhere`], of a program that may have been read from /proc.
    pub fn is_nowhere(&self) -> bool {
        let exe: &str = &self.exe.view;
        self.exe.none || exe == "/" || exe.starts_with("/memfd:")
    }

    /// A program of which only the executable's identity is known.
    pub fn unknown(exe_id: FileId) -> Self {
        let unread = Path { unreadable: true, ..Path::default() };
        Self {
            exe: unread.clone(),
            exe_id,
            given: None,
            argv: Vec::new(),
            argv_truncated: true,
            argv_known: false,
            cwd: unread,
            trust: Trust::Scanned,
            stamp: Stamp::default(),
            pin: Pin::None,
            loader_env: None,
        }
    }

    /// As the rules look at it.
    pub fn as_image(&self) -> profile::Image<'_> {
        profile::Image {
            exe: self.exe.is_known().then_some(&*self.exe.view),
            given: self.given.as_deref(),
            argv: &self.argv,
            argv_truncated: self.argv_truncated,
            cwd: self.cwd.is_known().then_some(&*self.cwd.view),
            trust: self.trust,
            pin: self.pin,
        }
    }
}

/// Where a process stands in its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its role.
    pub role: RoleId,
    /// Since when it, or the ancestor it inherited it from, has that role.
    pub since: BootNs,
    /// It is an author root, or below one or below a stray.
    pub below_author: bool,
    /// It came from outside the worker and has executed nothing inside: the next exec says what it is.
    pub entering: bool,
}

/// What a process ran from one exec (or its fork) to the next.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its number in the kernel.
    pub exec_id: u64,
    /// From when on.
    pub since: BootNs,
    /// The program.
    pub program: Arc<Program>,
    /// Where it stood.
    pub standing: Standing,
    /// Exec id of the author root at or above it; 0: none.
    pub author_root: u64,
    /// Taken over from the creator at fork: the process has not executed anything itself.
    pub forked: bool,
    /// With `forked`: when it first did something that is no exec; from then on it has the role that its creator's role
    /// gives to its forks.
    pub acted: Option<BootNs>,
}

/// A process of a worker.
#[derive(Clone, Debug)]
pub struct Process {
    /// Pid and start time.
    pub key: ProcessKey,
    /// The start time is in 10 ms ticks.
    pub coarse: bool,
    /// Pid in its innermost namespace; `None` if it was not seen.
    pub ns_pid: Option<u32>,
    /// The process that created it, if that one is known.
    pub creator: Option<ProcessRef>,
    /// Pid of the creator, also where the creator is not a worker's.
    pub creator_pid: Option<u32>,
    /// Label of its worker.
    pub label: u32,
    /// Effective uid at the last record.
    pub uid: u32,
    /// How it became known.
    pub history: History,
    /// When it ended.
    pub exited: Option<BootNs>,
    /// What it ran, oldest first; never empty.
    pub images: Vec<Image>,
    /// The mount namespace in which it was the first to execute something; 0: none.
    pub(super) mounts: u32,
    /// Processes in the table that it created.
    pub(super) children: u32,
}

/// Images kept per process; an exec chain longer than this forgets the oldest.
const IMAGES_MAX: usize = 8;

impl Process {
    /// What it runs, or ran last.
    pub fn image(&self) -> Option<&Image> {
        self.images.last()
    }

    /// The image of that number; `None` if it never ran it, or too many execs ago.
    pub fn image_of(&self, exec_id: u64) -> Option<&Image> {
        self.images.iter().rev().find(|image| image.exec_id == exec_id)
    }

    /// Adds what it runs from now on.
    pub(super) fn push_image(&mut self, image: Image) {
        if self.images.len() == IMAGES_MAX {
            self.images.remove(0);
        }
        self.images.push(image);
    }
}
