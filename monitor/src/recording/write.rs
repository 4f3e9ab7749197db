//! Making a recording: the pipeline's [`Tap`], and readers of the host that note what they read.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::Arc;

use super::format::{
    Facts, FileFact, GapFact, Header, Line, PodFact, ProcessFact, ProgramFact, ReachLook, ReadableFact,
    Redaction, SetupLook, WorkerFact, WorkerGone, WorkerLook,
};
use super::redact;
use crate::detect::GapReport;
use crate::event::{BootNs, Event, ProcessKey, Stdio};
use crate::pipeline::Tap;
use crate::process::{Credentials, ProcReader, Scanned, WantedVariables};
use crate::profile::{SecretPath, Setup};
use crate::worker::{Execution, FoundFile, RootFiles, Worker};

/// Why a recording cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file takes no more.
    #[error("the recording cannot be written: {0}; what was written so far is whole up to its last line")]
    Io(#[from] io::Error),
    /// It is as large as it may be.
    #[error(
        "the recording has reached {0} bytes and ends here; record fewer workers, a shorter time, or raise --max-size"
    )]
    Full(u64),
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Events.
    pub events: u64,
    /// Workers.
    pub workers: u64,
    /// Bytes.
    pub bytes: u64,
}

struct State {
    to: Box<dyn Write>,
    /// Written with the first line, so that it has the workers found at start.
    header: Option<Header>,
    redaction: Redaction,
    takes: Box<dyn Fn(&Worker) -> bool>,
    labels: HashMap<u32, Vec<FileFact>>,
    /// Workers in pods that are not known yet, and so have not got their names.
    unnamed: HashMap<u32, WorkerFact>,
    read: Facts,
    most: u64,
    written: Written,
    failed: Option<WriteError>,
}

/// A recording in the making. Clones write to the same one: the pipeline's tap and its readers of the host.
#[derive(Clone)]
pub struct Recorder(Rc<RefCell<State>>);

impl Recorder {
    /// A recording with this header, of the workers that `takes` takes, of at most `most` bytes.
    pub fn new(
        to: Box<dyn Write>,
        header: Header,
        takes: impl Fn(&Worker) -> bool + 'static,
        most: u64,
    ) -> Self {
        Self(Rc::new(RefCell::new(State {
            to,
            redaction: header.redaction,
            header: Some(header),
            takes: Box::new(takes),
            labels: HashMap::new(),
            unnamed: HashMap::new(),
            read: Facts::default(),
            most,
            written: Written::default(),
            failed: None,
        })))
    }

    /// Reads processes through `proc` and notes what it reads.
    pub fn proc<P: ProcReader>(&self, proc: P) -> Noted<P> {
        Noted { to: self.clone(), of: proc }
    }

    /// Resolves paths through `roots` and notes what it finds.
    pub fn roots<R: RootFiles>(&self, roots: R) -> Noted<R> {
        Noted { to: self.clone(), of: roots }
    }

    /// Whether it cannot go on.
    pub fn has_failed(&self) -> bool {
        self.0.borrow().failed.is_some()
    }

    /// What was written so far.
    pub fn written(&self) -> Written {
        self.0.borrow().written
    }

    /// The end: everything is in the file.
    ///
    /// # Errors
    /// Something could not be written, now or before.
    pub fn finish(&self) -> Result<Written, WriteError> {
        let mut state = self.0.borrow_mut();
        state.begin();
        if let Some(error) = state.failed.take() {
            // What there is stays whole.
            let _ = state.to.flush();
            return Err(error);
        }
        state.to.flush()?;
        Ok(state.written)
    }
}

impl State {
    fn begin(&mut self) {
        if let Some(header) = self.header.take() {
            self.json(&header);
        }
    }

    fn line(&mut self, line: &Line) {
        self.begin();
        self.json(line);
    }

    fn json(&mut self, value: &impl serde::Serialize) {
        if self.failed.is_some() {
            return;
        }
        let result = serde_json::to_vec(value).map_err(io::Error::from).and_then(|mut text| {
            text.push(b'\n');
            self.to.write_all(&text).map(|()| text.len() as u64)
        });
        match result {
            Ok(bytes) => {
                self.written.bytes += bytes;
                if self.written.bytes >= self.most {
                    self.failed = Some(WriteError::Full(self.most));
                }
            }
            Err(error) => self.failed = Some(error.into()),
        }
    }

    /// What was read since the last line.
    fn take_read(&mut self) -> Facts {
        let mut facts = std::mem::take(&mut self.read);
        if self.redaction == Redaction::Secrets {
            redact::facts(&mut facts);
        }
        facts
    }

    /// From now on a worker is recorded.
    fn begin_worker(&mut self, fact: WorkerFact) {
        self.written.workers += 1;
        self.labels.insert(fact.label, fact.files.clone());
        match &mut self.header {
            Some(header) => header.workers.push(fact),
            None => self.json(&Line::Worker(Box::new(fact))),
        }
    }

    fn process(&mut self, pid: u32) -> &mut ProcessFact {
        let processes = &mut self.read.processes;
        let at = processes.iter().position(|process| process.key.pid == pid).unwrap_or_else(|| {
            processes.push(ProcessFact::new(ProcessKey { pid, start: 0 }));
            processes.len() - 1
        });
        &mut processes[at]
    }
}

impl Tap for Recorder {
    fn found(&mut self, worker: &Worker, fresh: bool) {
        let mut state = self.0.borrow_mut();
        let facts = state.take_read();
        state.labels.remove(&worker.label);
        state.unnamed.remove(&worker.label);
        let taken = (state.takes)(worker);
        if !taken && !worker.lacks_pod() {
            return;
        }
        let files = facts.files.unwrap_or_default();
        let fact = WorkerFact { processes: facts.processes, files, ..WorkerFact::of(worker, fresh) };
        if taken {
            state.begin_worker(fact);
        } else {
            // Whether it is wanted is told by its pod's name; what it does until then waits for that too.
            state.unnamed.insert(worker.label, fact);
        }
    }

    fn pod(&mut self, worker: &Worker, now: BootNs) {
        let mut state = self.0.borrow_mut();
        if state.unnamed.contains_key(&worker.label) && (state.takes)(worker) {
            // What was read by now was read for what follows.
            let read = std::mem::take(&mut state.read);
            if let Some(fact) = state.unnamed.remove(&worker.label) {
                state.begin_worker(fact);
            }
            state.read = read;
        }
        if let (Some(pod), true) = (&worker.pod, state.labels.contains_key(&worker.label)) {
            let processes = state.take_read().processes;
            let (label, sandbox) = (worker.label, worker.is_sandbox());
            let fact = PodFact { time: now, label, pod: pod.clone(), sandbox, processes };
            state.line(&Line::Pod(Box::new(fact)));
        }
    }

    fn waited(&mut self, label: u32, now: BootNs) {
        let mut state = self.0.borrow_mut();
        if state.labels.contains_key(&label) {
            state.line(&Line::Waited(WorkerGone { time: now, label }));
        }
    }

    fn event(&mut self, event: &Event) {
        let mut state = self.0.borrow_mut();
        let facts = state.take_read();
        let label = event.subject.label;
        if !state.labels.contains_key(&label) {
            return;
        }
        if let Some(files) = &facts.files {
            state.labels.insert(label, files.clone());
        }
        if !facts.is_empty() {
            state.line(&Line::Facts(facts));
        }
        let mut event = event.clone();
        if state.redaction == Redaction::Secrets {
            redact::event(&mut event);
        }
        state.written.events += 1;
        state.line(&Line::Event(Box::new(event)));
    }

    fn looked(&mut self, label: u32, now: BootNs) {
        let mut state = self.0.borrow_mut();
        let Some(files) = state.take_read().files else { return };
        // A look that found what the last one found changes nothing.
        if state.labels.get(&label).is_none_or(|known| *known == files) {
            return;
        }
        state.labels.insert(label, files.clone());
        state.line(&Line::Look(WorkerLook { time: now, label, files }));
    }

    fn reached(&mut self, label: u32, pid: u32, now: BootNs) {
        let mut state = self.0.borrow_mut();
        let processes = state.take_read().processes;
        if state.labels.contains_key(&label) {
            state.line(&Line::Reach(ReachLook { time: now, label, pid, processes }));
        }
    }

    fn set_up(&mut self, label: u32, pid: u32, now: BootNs) {
        let mut state = self.0.borrow_mut();
        let processes = state.take_read().processes;
        if state.labels.contains_key(&label) {
            state.line(&Line::Setup(SetupLook { time: now, label, pid, processes }));
        }
    }

    fn gone(&mut self, label: u32, now: BootNs) {
        let mut state = self.0.borrow_mut();
        state.unnamed.remove(&label);
        if state.labels.contains_key(&label) {
            state.line(&Line::Gone(WorkerGone { time: now, label }));
        }
    }

    fn gap(&mut self, gap: &GapReport) {
        let mut state = self.0.borrow_mut();
        if gap.label.is_none_or(|label| state.labels.contains_key(&label)) {
            state.line(&Line::Gap(GapFact::of(gap)));
        }
    }
}

/// A reader of the host that notes what it reads.
pub struct Noted<T> {
    to: Recorder,
    of: T,
}

impl<T: ProcReader> ProcReader for Noted<T> {
    fn read(&self, pid: u32) -> Option<Scanned> {
        let read = self.of.read(pid)?;
        let mut state = self.to.0.borrow_mut();
        let process = state.process(pid);
        process.key = read.key;
        process.program = Some(ProgramFact::of(&read));
        Some(read)
    }

    fn environment(&self, pid: u32, wanted: &dyn Fn(&str) -> bool) -> Vec<(Arc<str>, Arc<str>)> {
        let env = self.of.environment(pid, wanted);
        if !env.is_empty() {
            self.to.0.borrow_mut().process(pid).env = Some(env.clone());
        }
        env
    }

    fn variable_names(&self, pid: u32, wanted: &dyn Fn(&str) -> bool) -> Option<Vec<Arc<str>>> {
        let names = self.of.variable_names(pid, wanted)?;
        let mut state = self.to.0.borrow_mut();
        // One process may be asked twice, for different names.
        let noted = state.process(pid).credential_names.get_or_insert_default();
        noted.extend(names.iter().cloned());
        noted.sort_unstable();
        noted.dedup();
        Some(names)
    }

    fn stdio(&self, pid: u32) -> [Stdio; 3] {
        self.of.stdio(pid)
    }

    fn credentials(&self, pid: u32) -> Option<Credentials> {
        // What follows from them is noted: which identities the process may read.
        self.of.credentials(pid)
    }

    fn setup(&self, pid: u32, wanted: &WantedVariables<'_>) -> Option<Setup> {
        let setup = self.of.setup(pid, wanted)?;
        self.to.0.borrow_mut().process(pid).setup = Some(setup.clone());
        Some(setup)
    }
}

impl<T: RootFiles> RootFiles for Noted<T> {
    fn resolve(&self, pid: u32, paths: &mut dyn Iterator<Item = &str>) -> Vec<Option<FoundFile>> {
        let mut asked: Vec<Arc<str>> = Vec::new();
        let found = self.of.resolve(pid, &mut paths.inspect(|path| asked.push(Arc::from(*path))));
        // By path, each once: rules may name a path twice.
        let files: BTreeMap<Arc<str>, FoundFile> =
            asked.into_iter().zip(&found).filter_map(|(path, file)| Some((path, (*file)?))).collect();
        let files = files
            .into_iter()
            .map(|(path, file)| FileFact { path, id: file.id, generation: file.generation })
            .collect();
        self.to.0.borrow_mut().read.files = Some(files);
        found
    }
    fn running(&self, pid: u32, logs: &[Arc<str>]) -> Vec<Execution> {
        let running = self.of.running(pid, logs);
        if !running.is_empty() {
            self.to.0.borrow_mut().read.running = running.clone();
        }
        running
    }

    fn readable(&self, pid: u32, who: &Credentials, secrets: &[SecretPath]) -> Option<(Vec<Arc<str>>, bool)> {
        let (identities, cut) = self.of.readable(pid, who, secrets)?;
        let fact = ReadableFact { identities: identities.clone(), cut };
        self.to.0.borrow_mut().process(pid).readable = Some(fact);
        Some((identities, cut))
    }
}
