//! Answers in place of the host: what a recording says of processes and files, and nothing else.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::format::{Facts, FileFact, ProcessFact};
use crate::process::{Credentials, ProcReader, Scanned, WantedVariables};
use crate::profile::{SecretPath, Setup};
use crate::worker::{Execution, FoundFile, RootFiles};

/// What the recording says at this point of it.
#[derive(Default)]
struct Told {
    /// Of processes: only while the line they belong to is taken.
    processes: HashMap<u32, ProcessFact>,
    /// Of files: until it says something else.
    files: HashMap<Arc<str>, FoundFile>,
    /// Of the engine's event log: as of processes.
    running: Vec<Execution>,
}

/// A recording's answers, shared by the pipeline's readers and whoever plays the recording.
#[derive(Clone, Default)]
pub(super) struct RecordedFacts(Rc<RefCell<Told>>);

impl RecordedFacts {
    /// From now on the host is as these facts say.
    pub(super) fn tell(&self, facts: Facts) {
        self.processes(facts.processes);
        self.0.borrow_mut().running = facts.running;
        if let Some(files) = facts.files {
            self.files(files);
        }
    }

    /// The processes that can be read.
    pub(super) fn processes(&self, processes: Vec<ProcessFact>) {
        self.0.borrow_mut().processes =
            processes.into_iter().map(|process| (process.key.pid, process)).collect();
    }

    /// The files that lie in the root of every process.
    pub(super) fn files(&self, files: Vec<FileFact>) {
        self.0.borrow_mut().files = files.into_iter().map(|file| (file.path.clone(), file.found())).collect();
    }

    /// Whether it says what a process may read: then it was made when that was looked up together with the event.
    pub(super) fn tell_of_reach(&self) -> bool {
        self.0.borrow().processes.values().any(|process| process.readable.is_some())
    }

    /// What was read of processes is no longer so: they may have executed something else.
    pub(super) fn forget_processes(&self) {
        let mut told = self.0.borrow_mut();
        told.processes.clear();
        told.running.clear();
    }
}

impl ProcReader for RecordedFacts {
    fn read(&self, pid: u32) -> Option<Scanned> {
        let told = self.0.borrow();
        let process = told.processes.get(&pid)?;
        Some(process.program.as_ref()?.scanned(process.key))
    }

    fn environment(&self, pid: u32, wanted: &dyn Fn(&str) -> bool) -> Vec<(Arc<str>, Arc<str>)> {
        let told = self.0.borrow();
        let env = told.processes.get(&pid).and_then(|process| process.env.as_ref());
        env.into_iter().flatten().filter(|(name, _)| wanted(name)).cloned().collect()
    }

    fn variable_names(&self, pid: u32, wanted: &dyn Fn(&str) -> bool) -> Option<Vec<Arc<str>>> {
        let told = self.0.borrow();
        let names = told.processes.get(&pid)?.credential_names.as_ref()?;
        Some(names.iter().filter(|name| wanted(name)).cloned().collect())
    }

    fn setup(&self, pid: u32, _: &WantedVariables<'_>) -> Option<Setup> {
        self.0.borrow().processes.get(&pid)?.setup.clone()
    }
}

impl RootFiles for RecordedFacts {
    fn resolve(&self, _: u32, paths: &mut dyn Iterator<Item = &str>) -> Vec<Option<FoundFile>> {
        let told = self.0.borrow();
        paths.map(|path| told.files.get(path).copied()).collect()
    }

    fn running(&self, _: u32, _: &[Arc<str>]) -> Vec<Execution> {
        self.0.borrow().running.clone()
    }

    fn readable(&self, pid: u32, _: &Credentials, _: &[SecretPath]) -> Option<(Vec<Arc<str>>, bool)> {
        let told = self.0.borrow();
        let readable = told.processes.get(&pid)?.readable.as_ref()?;
        Some((readable.identities.clone(), readable.cut))
    }
}
