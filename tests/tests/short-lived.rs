//! Containers that are over before anybody can look at them: two hundred one after the other, each of which reads a key as the
//! first thing it does and ends, and some that come and go while the agent stands still. Every one is told, with its name.
//!
//! Needs root and Debian's runc; `SANDWATCH_BIN` names the program, `SANDWATCH_RULES` its rules.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

mod lab;

use serde_json::Value;

use lab::runc::Bundle;
use lab::{FILE, Lab, cgroup_root, eventually, shipped_rules, signal};

const CONTAINERS: usize = 200;
/// After so many the agent has what it needs.
const WARM: usize = 50;
/// By how much it may be larger after all of them, KiB: files of incidents are kept on purpose.
const GROWTH: u64 = 12 << 10;
/// Longest that all of it may take.
const LONGEST: Duration = Duration::from_secs(600);

/// Resident memory of a process, KiB.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A folder of cgroups, in every hierarchy that runc makes them in.
struct Top(String);

impl Top {
    fn new(name: &str) -> Self {
        let name = format!("sw-{name}-{}", std::process::id());
        fs::create_dir(cgroup_root().join(&name)).unwrap();
        Self(name)
    }

    fn folder(&self) -> PathBuf {
        cgroup_root().join(&self.0)
    }

    /// What the paths of the cgroups in it begin with.
    fn below(&self) -> String {
        format!("/{}/", self.0)
    }

    /// Runs a container in it that reads a key and ends.
    fn run(&self, name: &str) {
        let bundle = Bundle::new(
            &Path::new("/").join(&self.0).join(name),
            &["/bin/cat", "/root/.ssh/id_ed25519"],
            |_| {},
        );
        let status = bundle.run(name).stderr(Stdio::null()).status();
        assert!(status.unwrap_or_else(|error| panic!("runc (Debian package runc): {error}")).success());
    }

    fn watching(&self, name: &str) -> Lab {
        Lab::watching(name, &format!("/{}/*", self.0), FILE, &shipped_rules())
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        for root in hierarchies.map(|hierarchy| hierarchy.path()).chain([cgroup_root()]) {
            let folder = root.join(&self.0);
            for left in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(left.path());
            }
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Who read a key, by the cgroup of the worker: program and role.
fn told(lab: &Lab) -> BTreeMap<String, String> {
    let mut told = BTreeMap::new();
    for alert in lab.alerts().iter().filter(|alert| alert["file"]["identity"] == "ssh-private-key") {
        let path = alert["worker"]["cgroup"]["path"].as_str().unwrap_or_default().to_owned();
        let exe = alert["process"]["exe"].as_str().unwrap_or_default();
        told.insert(path, format!("{exe} {}", alert["process"]["role"].as_str().unwrap_or_default()));
    }
    told
}

/// Gaps that are no loss of what is looked at here: of the time before the agent's start, and runs of a probe that found itself
/// active on their CPU, which are anybody's and the more the busier the machine is.
const GAPS_OF_OTHERS: [&str; 2] = ["restart", "runs of a probe skipped by the kernel"];

/// Whether it is a gap in what these workers did: one of theirs, or one of which nobody knows whose it is.
fn is_gap(alert: &Value, top: &Top) -> bool {
    let theirs = alert["worker"]["cgroup"]["path"].as_str().is_none_or(|path| path.starts_with(&top.below()));
    let reason = alert["gap"]["reason"].as_str().unwrap_or_default();
    alert["kind"] == "gap" && theirs && !GAPS_OF_OTHERS.contains(&reason)
}

/// Nothing but the thefts: no gap, and nothing of the runtime on its way in.
fn nothing_else(lab: &Lab, top: &Top) {
    // What the program in the container does: it reads a key, with `cat`.
    let own = ["unexpected-identity", "discovery-from-engine"];
    let is_other = |alert: &Value| {
        is_gap(alert, top) || alert["finding"]["id"].as_str().is_some_and(|id| !own.contains(&id))
    };
    let others: Vec<String> = lab
        .alerts()
        .iter()
        .filter(|alert| is_other(alert))
        .map(|alert| format!("{} {}", alert["finding"]["id"], alert["title"]))
        .collect();
    assert!(others.is_empty(), "{others:#?}");
}

#[test]
fn of_two_hundred_containers_no_first_exec_is_missed_and_the_agent_does_not_grow() {
    let top = Top::new("many");
    let lab = top.watching("many");
    let began = Instant::now();
    let mut warm = 0;
    for number in 0..CONTAINERS {
        assert!(began.elapsed() < LONGEST, "{number} containers within {LONGEST:?}");
        if number == WARM {
            warm = resident(lab.agent.id());
        }
        top.run(&format!("c{number}"));
    }
    let until = Instant::now() + Duration::from_secs(60);
    while told(&lab).len() < CONTAINERS && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(100));
    }
    let told = told(&lab);
    let missed: Vec<usize> =
        (0..CONTAINERS).filter(|number| !told.contains_key(&format!("/{}/c{number}", top.0))).collect();
    assert_eq!(missed, Vec::<usize>::new(), "{} of {CONTAINERS} told; log: {}", told.len(), lab.log());
    // Its exec was seen too: who reads is the program, in the role that the first one has.
    let other: Vec<_> = told.iter().filter(|(_, who)| !who.ends_with("cat entry")).collect();
    assert!(other.is_empty(), "{other:?}");
    nothing_else(&lab, &top);
    let grown = resident(lab.agent.id()).saturating_sub(warm);
    assert!(grown <= GROWTH, "{grown} KiB more than after {WARM} containers ({warm} KiB)");
}

#[test]
fn containers_that_come_and_go_while_the_agent_stands_still_are_told_each_by_its_name() {
    let top = Top::new("still");
    let lab = top.watching("still");
    signal(&lab.agent, libc::SIGSTOP);
    // One in a folder of its own, which is not there either by the time anybody looks.
    top.run("a");
    top.run("b");
    // The name is used again: the first one's end and the second one's beginning are both unseen.
    top.run("a");
    assert!(!top.folder().join("a").exists(), "runc has removed the cgroups");
    signal(&lab.agent, libc::SIGCONT);
    let of = |name: &str| format!("/{}/{name}", top.0);
    eventually("both names are told", || {
        let told = told(&lab);
        [of("a"), of("b")].iter().all(|path| told.get(path).is_some_and(|who| who.ends_with("cat entry")))
    });
    eventually("the name used twice is two workers", || {
        let alerts = lab.alerts();
        let of_a = alerts.iter().filter(|alert| alert["worker"]["cgroup"]["path"] == of("a").as_str());
        let ids: std::collections::BTreeSet<_> =
            of_a.map(|alert| alert["worker"]["cgroup"]["id"].to_string()).collect();
        ids.len() == 2
    });
    nothing_else(&lab, &top);
}

#[test]
fn what_runs_in_a_cgroup_that_no_pattern_names_is_nobodys_even_at_its_beginning() {
    let top = Top::new("aside");
    let lab = Lab::watching("aside", &format!("/{}/w-*", top.0), FILE, &shipped_rules());
    signal(&lab.agent, libc::SIGSTOP);
    top.run("other");
    top.run("w-1");
    // And one that lives on.
    let lives = top.folder().join("service");
    fs::create_dir(&lives).unwrap();
    let key = lab.folder.path().join("home/.ssh/id_ed25519");
    fs::create_dir_all(key.parent().unwrap()).unwrap();
    fs::write(&key, "no key").unwrap();
    let read = lab.folder.path().join("read");
    // It reads the key when its input ends.
    let script = format!(
        "echo $$ > {}/cgroup.procs; /bin/true; read line; cat {} > {}; exec sleep 300",
        lives.display(),
        key.display(),
        read.display()
    );
    let mut child = Command::new("/bin/sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
    eventually("it is in there", || !fs::read_to_string(lives.join("cgroup.procs")).unwrap().is_empty());
    signal(&lab.agent, libc::SIGCONT);
    eventually("the worker is told", || told(&lab).contains_key(&format!("/{}/w-1", top.0)));
    assert_eq!(told(&lab).len(), 1, "{:?}", told(&lab));
    // Nor is it a worker by what it does later: what a worker does after that is told, and would be after it.
    drop(child.stdin.take());
    eventually("it has read the key", || fs::read_to_string(&read).is_ok_and(|text| text == "no key"));
    top.run("w-2");
    eventually("the next worker is told", || told(&lab).contains_key(&format!("/{}/w-2", top.0)));
    assert_eq!(told(&lab).len(), 2, "{:?}", told(&lab));
    let of_key = |alert: &Value| alert.to_string().contains(&key.display().to_string());
    assert!(!lab.alerts().iter().any(of_key), "{:#?}", lab.alerts());
    child.kill().unwrap();
    child.wait().unwrap();
    fs::remove_dir(&lives).unwrap();
    nothing_else(&lab, &top);
    let (status, log) = lab.stop();
    assert!(status.success(), "{log}");
}
