//! What runs in a VM, and what it needs there.

use crate::build::Executable;
use crate::host;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// A file or folder of this machine and where it goes in the VM.
#[derive(Clone, Debug)]
pub(crate) struct Extra {
    pub(crate) from: PathBuf,
    pub(crate) to: String,
}

impl Extra {
    /// A program for `/usr/bin`, under its own name.
    pub(crate) fn program(from: &Path) -> Result<Self> {
        let name = from.file_name().with_context(|| format!("{} names no file", from.display()))?;
        Ok(Self { from: from.to_path_buf(), to: format!("usr/bin/{}", name.to_string_lossy()) })
    }
}

/// A script and its surroundings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Payload {
    /// Run by `sh` as root; its exit code is the VM's.
    pub(crate) script: String,
    /// Environment of the script.
    pub(crate) env: Vec<(String, String)>,
    /// Programs, dynamically linked or not; debug information is stripped on the way.
    pub(crate) programs: Vec<Extra>,
    /// Files and folders as they are.
    pub(crate) files: Vec<Extra>,
    /// An archive of a whole system that takes over once modules are loaded, with `overlay/` of the files over it. A service
    /// of it has to run `/report`, which runs the script.
    pub(crate) system: Option<PathBuf>,
    /// Modules to load before the script runs.
    pub(crate) modules: Vec<String>,
    /// Test programs that the script runs: fewer closing lines mean that one died.
    pub(crate) tests: usize,
}

impl Payload {
    /// Puts the agent on the path and the rules where it looks for them, and tells both in the environment
    /// (`SANDWATCH_BIN`, `SANDWATCH_RULES`).
    pub(crate) fn add_agent(&mut self, agent: PathBuf) -> Result<()> {
        self.programs.push(Extra { from: agent, to: "usr/bin/sandwatch".to_owned() });
        self.env.push(("SANDWATCH_BIN".to_owned(), "/usr/bin/sandwatch".to_owned()));
        let rules = host::repo()?.join("rules");
        if rules.is_dir() {
            self.files.push(Extra { from: rules, to: "usr/lib/sandwatch/rules".to_owned() });
            self.env.push(("SANDWATCH_RULES".to_owned(), "/usr/lib/sandwatch/rules".to_owned()));
        }
        Ok(())
    }

    /// The agent and test programs; the script runs them one after the other, and keeps the agent's own
    /// account of the host in `/out/doctor.json`.
    pub(crate) fn tests(agent: PathBuf, tests: &[Executable], filter: Option<&str>) -> Result<Self> {
        let mut payload = Self { modules: vec!["overlay".to_owned()], tests: tests.len(), ..Self::default() };
        payload.add_agent(agent)?;
        payload.script.push_str("code=0\n");
        // An emulated kernel may take minutes over a program that its verifier dislikes; the tests matter more.
        payload
            .script
            .push_str("timeout 100 sandwatch doctor --json --hooks \"$SANDWATCH_HOOKS\" >/out/doctor.json\n");
        payload.programs.push(Extra::program(Path::new("/usr/bin/setpriv"))?);
        payload.script.push_str(super::privilege::SCRIPT);
        for test in tests {
            payload.programs.push(Extra { from: test.path.clone(), to: format!("tests/{}", test.name) });
            let filter = filter.map(|text| format!(" '{}'", text.replace('\'', r"'\''"))).unwrap_or_default();
            payload.script.push_str(&format!("/tests/{} --test-threads=1{filter} || code=1\n", test.name));
        }
        payload.script.push_str("exit $code\n");
        Ok(payload)
    }
}
