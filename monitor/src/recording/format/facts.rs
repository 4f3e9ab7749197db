//! What was read of the host.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::{FileId, Path, ProcessKey};
use crate::process::{Program, Scanned, Stamp};
use crate::profile::{Setup, Trust};
use crate::worker::{Execution, FoundFile};

/// What was read of the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<ProcessFact>,
    /// Files of the rules in the root of a worker's process; absent: no root was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<FileFact>>,
    /// What the engine's event log said was running.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub running: Vec<Execution>,
}

impl Facts {
    /// Nothing was read.
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty() && self.files.is_none() && self.running.is_empty()
    }
}

/// A process as /proc showed it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessFact {
    /// Pid, and start in whole ticks.
    pub key: ProcessKey,
    /// What was read of it; absent if only its environment was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<ProgramFact>,
    /// Captured variables; absent if they were not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<(Arc<str>, Arc<str>)>>,
    /// Names of its variables that look like credentials, or carry an identity; absent if they were not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_names: Option<Vec<Arc<str>>>,
    /// The identities it may read; absent if they were not looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readable: Option<ReadableFact>,
    /// How it is set up; absent if that was not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup: Option<Setup>,
}

impl ProcessFact {
    /// A process of which nothing was read yet.
    pub fn new(key: ProcessKey) -> Self {
        Self { key, program: None, env: None, credential_names: None, readable: None, setup: None }
    }
}

/// The identities that a process may read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadableFact {
    /// Their ids.
    pub identities: Vec<Arc<str>>,
    /// There may be more.
    #[serde(default)]
    pub cut: bool,
}

/// A process's program as /proc showed it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramFact {
    /// Parent.
    pub ppid: u32,
    /// Pid in its innermost namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ns_pid: Option<u32>,
    /// Effective uid.
    pub uid: u32,
    /// Effective gid.
    pub gid: u32,
    /// Executable.
    pub exe: Path,
    /// Its identity.
    #[serde(default)]
    pub exe_id: FileId,
    /// Arguments; absent if they could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<Arc<str>>>,
    /// Working directory.
    #[serde(default)]
    pub cwd: Path,
    /// Size of the executable, bytes.
    #[serde(default)]
    pub size: u64,
    /// Its change time, ns since the epoch.
    #[serde(default)]
    pub ctime: u64,
}

impl ProgramFact {
    /// As it was read.
    pub fn of(scanned: &Scanned) -> Self {
        let program = &scanned.program;
        Self {
            ppid: scanned.ppid,
            ns_pid: scanned.ns_pid,
            uid: scanned.uid,
            gid: scanned.gid,
            exe: program.exe.clone(),
            exe_id: program.exe_id,
            argv: program.argv_known.then(|| program.argv.clone()),
            cwd: program.cwd.clone(),
            size: program.stamp.size,
            ctime: program.stamp.ctime,
        }
    }

    /// As it is read.
    pub fn scanned(&self, key: ProcessKey) -> Scanned {
        Scanned {
            key,
            ppid: self.ppid,
            ns_pid: self.ns_pid,
            uid: self.uid,
            gid: self.gid,
            program: Program {
                exe: self.exe.clone(),
                given: None,
                argv: self.argv.clone().unwrap_or_default(),
                argv_truncated: self.argv.is_none(),
                argv_known: self.argv.is_some(),
                cwd: self.cwd.clone(),
                trust: Trust::Scanned,
                stamp: Stamp { size: self.size, ctime: self.ctime },
                ..Program::unknown(self.exe_id)
            },
        }
    }
}

/// A file of the rules that lies in a worker's root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileFact {
    /// Its path there.
    pub path: Arc<str>,
    /// Device and inode.
    pub id: FileId,
    /// Inode generation.
    #[serde(default)]
    pub generation: u32,
}

impl FileFact {
    /// The file.
    pub fn found(&self) -> FoundFile {
        FoundFile { id: self.id, generation: self.generation }
    }
}
