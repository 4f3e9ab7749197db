//! An engine's folder, its worker cgroups, and the agent that watches them.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::incidents::Incidents;
use crate::net;
use crate::recorder::Recorder;

/// How long an engine may take for anything.
const PATIENCE: Duration = Duration::from_secs(180);

/// A running agent, the workers it watches, and a folder.
pub(crate) struct Lab {
    /// Of this test alone; the engine's state lives here.
    pub(crate) folder: PathBuf,
    engine: PathBuf,
    cgroups: Vec<PathBuf>,
    agent: Child,
    started: Vec<Child>,
    recorder: RefCell<Option<Recorder>>,
}

impl Lab {
    /// An agent that watches one worker cgroup per name, each with the same profile.
    pub(crate) fn new(profile: &str, engine_variable: &str, workers: &[&str]) -> Self {
        let engine = named_by(engine_variable);
        // Not below /tmp, where no program or script is the engine's, and in no repository, which git would look at.
        let folder = PathBuf::from(format!("/var/lib/sw-engine-{profile}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("home/.aws")).unwrap();
        fs::write(folder.join("home/.aws/credentials"), "[default]\naws_access_key_id = none\n").unwrap();
        let root = cgroup_root();
        let mut cgroups = Vec::new();
        let mut assign = String::new();
        for worker in workers {
            let name = format!("sw-engine-{worker}-{}", std::process::id());
            fs::create_dir(root.join(&name)).unwrap();
            cgroups.push(root.join(&name));
            assign
                .push_str(&format!("    - {{ cgroup: \"/{name}\", profile: {profile}, name: {worker} }}\n"));
        }
        let config = folder.join("sandwatch.yaml");
        let text = format!(
            "schema: sandwatch/config/v1\nstate_dir: {0}/state\nworkers:\n  assign:\n{assign}rules: [{1}]\n\
             sinks: [{{ name: local, type: file, path: {0}/alerts.jsonl, retry: 100ms, min_tier: deviation }}]\n",
            folder.display(),
            named_by("SANDWATCH_RULES").display()
        );
        fs::write(&config, text).unwrap();
        let log = fs::File::create(folder.join("agent.log")).unwrap();
        let agent = Command::new(named_by("SANDWATCH_BIN"))
            .args(["run", "--config", config.to_str().unwrap()])
            .env_remove("SANDWATCH_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut lab =
            Self { folder, engine, cgroups, agent, started: Vec::new(), recorder: RefCell::new(None) };
        while !lab.log("agent").contains("watching") {
            let ended = lab.agent.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", lab.log("agent"));
            std::thread::sleep(Duration::from_millis(20));
        }
        lab.recorder =
            Recorder::start(&named_by("SANDWATCH_BIN"), &config, profile, &lab.folder, &lab.engine).into();
        net::isolate();
        lab
    }

    /// All that happened so far was normal: nothing serious was found.
    pub(crate) fn was_normal(&self, what: &str) {
        self.incidents().assert_silent(what);
        if let Some(recorder) = self.recorder.borrow_mut().as_mut() {
            recorder.end("normal", &self.folder);
        }
    }

    /// A file of the engine's installation.
    pub(crate) fn engine(&self, path: &str) -> PathBuf {
        self.engine.join(path)
    }

    /// A command outside the workers, with the engine's environment.
    pub(crate) fn outside(&self, program: &Path, args: &[&str], env: &[(&str, String)]) -> Output {
        let mut command = Command::new(program);
        command.args(args).env_clear().envs(self.environment(env)).current_dir(self.home());
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// Starts a command as the first process of the worker with that number; its output goes to `NAME.log`.
    pub(crate) fn start(&mut self, worker: usize, name: &str, argv: &[&str], env: &[(&str, String)]) {
        let cgroup = self.cgroups[worker].clone();
        let join = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", cgroup.display());
        self.spawn(name, &["/bin/sh", "-c", &join, name], argv, env);
    }

    /// The same in a mount namespace of its own, as a container would have, in which a folder of this lab lies below
    /// `/opt`.
    pub(crate) fn start_boxed(
        &mut self,
        worker: usize,
        name: &str,
        below_opt: (&Path, &str),
        argv: &[&str],
        env: &[(&str, String)],
    ) {
        let (folder, place) = below_opt;
        let join = format!(
            "mount -t tmpfs sw-opt /opt && mkdir /opt/{place} && mount --bind {} /opt/{place} && \
             echo $$ > {}/cgroup.procs && exec \"$@\"",
            folder.display(),
            self.cgroups[worker].display()
        );
        let before =
            ["/usr/bin/unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", &join, name];
        self.spawn(name, &before, argv, env);
    }

    /// Starts a command that belongs to no worker, in a cgroup of its own, so that it can be ended with all it started.
    pub(crate) fn start_outside(&mut self, name: &str, argv: &[&str], env: &[(&str, String)]) {
        let cgroup = cgroup_root().join(format!("sw-outside-{name}-{}", std::process::id()));
        fs::create_dir(&cgroup).unwrap();
        let join = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", cgroup.display());
        self.cgroups.push(cgroup);
        self.spawn(name, &["/bin/sh", "-c", &join, name], argv, env);
    }

    fn spawn(&mut self, name: &str, before: &[&str], argv: &[&str], env: &[(&str, String)]) {
        let log = fs::File::create(self.folder.join(format!("{name}.log"))).unwrap();
        let child = Command::new(before[0])
            .args(&before[1..])
            .args(argv)
            .env_clear()
            .envs(self.environment(env))
            .current_dir(self.home())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.started.push(child);
    }

    fn environment(&self, env: &[(&str, String)]) -> Vec<(String, String)> {
        let path = format!("{}/bin:/usr/local/bin:/usr/bin:/bin", self.engine.display());
        let own =
            [("PATH", path), ("HOME", self.home().display().to_string()), ("LC_ALL", "C.UTF-8".to_owned())];
        own.iter().chain(env).map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    /// The home of the engine's user.
    pub(crate) fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    /// What a started command, or the agent, wrote.
    pub(crate) fn log(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.join(format!("{name}.log"))).unwrap_or_default())
            .into_owned()
    }

    /// Waits until something holds.
    pub(crate) fn eventually(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !holds() {
            if Instant::now() > until {
                let mut story = String::new();
                for entry in fs::read_dir(&self.folder).unwrap().flatten() {
                    if entry.path().extension().is_some_and(|end| end == "log") {
                        let text = fs::read_to_string(entry.path()).unwrap_or_default();
                        let tail: Vec<&str> = text.lines().rev().take(30).collect();
                        story.push_str(&format!("--- {}\n", entry.path().display()));
                        story.extend(tail.iter().rev().map(|line| format!("{line}\n")));
                    }
                }
                panic!("not within {PATIENCE:?}: {what}\n{story}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The alerts so far.
    pub(crate) fn incidents(&self) -> Incidents {
        Incidents::read(&self.folder.join("alerts.jsonl"))
    }

    /// Ends the engine, then the agent, and gives all alerts.
    pub(crate) fn finish(mut self) -> Incidents {
        if let Some(recorder) = self.recorder.borrow_mut().as_mut() {
            recorder.end("escape", &self.folder);
        }
        self.end_workers();
        std::thread::sleep(Duration::from_millis(300));
        // SAFETY: kill only takes numbers; the child was not waited for, so its pid is its own.
        unsafe { libc::kill(i32::try_from(self.agent.id()).unwrap(), libc::SIGTERM) };
        let status = self.agent.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{}", self.log("agent"));
        self.incidents()
    }

    fn end_workers(&mut self) {
        for cgroup in &self.cgroups {
            let _ = fs::write(cgroup.join("cgroup.kill"), "1");
        }
        for child in &mut self.started {
            // Before it joined its cgroup it is not killed with it.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.end_workers();
        let _ = self.agent.kill();
        let _ = self.agent.wait();
        for cgroup in &self.cgroups {
            // Its last members need a moment to be gone.
            for _ in 0..100 {
                if fs::remove_dir(cgroup).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// A file of the engines' recipes.
pub(crate) fn recipe(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("engines").join(path)
}

fn named_by(variable: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| panic!("{variable} is not set"), PathBuf::from)
}

/// Where cgroup2 is mounted.
fn cgroup_root() -> PathBuf {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = text.lines().find(|line| line.contains(" - cgroup2 ")).unwrap();
    PathBuf::from(line.split(' ').nth(4).unwrap())
}
