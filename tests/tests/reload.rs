//! Rules and configuration that change while the agent runs, and files of them that are not to be trusted or too new.
//!
//! Needs root; `SANDWATCH_BIN` names the program, `SANDWATCH_RULES` its rules.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

mod lab;

use lab::{FILE, Lab, eventually, sandwatch, shipped_rules, signal};

/// Somebody who is not root.
const STRANGER: u32 = 65534;
/// What the identities of these tests are by: nobody opens it.
const MARK: &str = "/**/sw-reload.secret";

/// The shipped rules, in a folder that may be changed.
fn copy_of_rules() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let copied =
        Command::new("cp").arg("-rT").args([shipped_rules().as_path(), folder.path()]).status().unwrap();
    assert!(copied.success());
    folder
}

/// A file of identities with these, by whose paths the kernel filters.
fn identities(names: &[&str], paths: &str) -> String {
    let mut text = "schema: sandwatch/identities/v1\nidentities:\n".to_owned();
    for name in names {
        text.push_str(&format!(
            "  - id: {name}\n    class: ssh\n    gives: nothing\n    paths: [\"{paths}\"]\n    \
             respond: {{ revoke: Nothing. }}\n    refs: {{ owasp_nhi: [NHI7] }}\n"
        ));
    }
    text
}

impl Lab {
    fn ask(&self, args: &[&str]) -> String {
        let config = self.folder.path().join("sandwatch.yaml");
        let output = sandwatch(args).args(["--config", config.to_str().unwrap()]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.ask(&["status", "--json"])).unwrap()
    }

    fn loaded(&self) -> usize {
        self.log().matches("rules loaded").count()
    }

    /// States in which a condition was told, in order.
    fn told(&self, condition: &str) -> Vec<String> {
        let alerts = self.alerts();
        let of = alerts.iter().filter(|alert| alert["health"]["condition"] == condition);
        of.map(|alert| alert["state"].as_str().unwrap().to_owned()).collect()
    }

    /// A worker that opens a key of the catalogue's kind some hundred times a second at most.
    fn opener(&self) -> Opener {
        let home = self.folder.path().join("home/.ssh");
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join("id_ed25519"), "no key").unwrap();
        // The shell itself opens it: a process for each would be most of the load.
        let script = format!(
            "echo $$ > {}/cgroup.procs; cd {}; n=0; while read -r most; do \
             while [ $n -lt $most ] && ! [ -e stop ]; do : <id_ed25519; n=$((n+1)); echo $n >count; sleep 0.01; done; \
             echo $n; done",
            self.cgroup.display(),
            home.display()
        );
        let mut child = Command::new("/bin/sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Opener { child, said, home }
    }
}

struct Opener {
    child: Child,
    said: BufReader<ChildStdout>,
    home: PathBuf,
}

impl Opener {
    /// From now on it opens until it has done so this often, or is told to stop.
    fn begin(&mut self, most: u64) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{most}").unwrap();
    }

    /// Waits until it has: how often it did so far.
    fn done(&mut self) -> u64 {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim().parse().unwrap()
    }

    fn stop(&mut self) -> u64 {
        fs::write(self.home.join("stop"), "").unwrap();
        self.done()
    }

    /// Waits until it has done so some times more.
    fn goes_on(&self) {
        let count = || fs::read_to_string(self.home.join("count")).ok()?.trim().parse::<u64>().ok();
        let before = count();
        eventually("it opens", || count() > before.map(|count| count + 20));
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn rules_that_change_by_file_and_by_signal_under_a_steady_load_cost_no_event_and_no_finding() {
    const FIRST: u64 = 10;
    const QUIET: u64 = 100;
    let rules = copy_of_rules();
    let lab = Lab::new("reload-load", FILE, rules.path());
    let mut opener = lab.opener();
    // All that was done before has been judged two snapshots later: one is taken each second.
    let findings = || {
        let until = lab.status()["taken"].as_u64().unwrap() + 2_000_000_000;
        eventually("two snapshots are taken", || lab.status()["taken"].as_u64().unwrap() >= until);
        lab.status()["findings"].as_u64().unwrap()
    };
    // What the first one brings comes once.
    opener.begin(FIRST);
    assert_eq!(opener.done(), FIRST);
    let first = findings();
    opener.begin(FIRST + QUIET);
    assert_eq!(opener.done(), FIRST + QUIET);
    let quiet = findings() - first;
    assert!(quiet >= QUIET && quiet % QUIET == 0, "each open finds the same: {quiet}");
    opener.begin(u64::from(u32::MAX));
    for round in 0..4 {
        opener.goes_on();
        let before = lab.loaded();
        let name = format!("mark-{round}");
        fs::write(rules.path().join("mark.yaml"), identities(&[&name], MARK)).unwrap();
        if round % 2 == 0 {
            signal(&lab.agent, libc::SIGHUP);
        }
        eventually("they are loaded", || lab.loaded() > before);
    }
    opener.goes_on();
    let loaded = opener.stop() - FIRST - QUIET;
    let wanted = first + quiet + loaded * (quiet / QUIET);
    assert_eq!(findings(), wanted, "each of {loaded} opens found as much as without a change");
    let status = lab.status();
    assert_eq!(status["law_broken"], 0, "{status}");
    for signal in status["signals"].as_array().unwrap() {
        let count = |name: &str| signal[name].as_u64().unwrap();
        assert_eq!((count("lost"), count("throttled"), count("errors")), (0, 0, 0), "{signal}");
    }
    assert_eq!(status["undecodable"], 0);
    let gaps: Vec<Value> = lab.alerts().into_iter().filter(|alert| alert["kind"] == "gap").collect();
    assert_eq!(gaps, [] as [Value; 0]);
    drop(opener);
    assert_eq!(lab.stop().0.code(), Some(0));
}

#[test]
fn rule_file_for_a_later_agent_is_left_out_and_said_until_it_is_for_this_one() {
    let rules = copy_of_rules();
    let file = rules.path().join("tomorrow.yaml");
    let text = identities(&["of-tomorrow"], MARK);
    let later = text.replacen('\n', "\nrequires: \">=99.0\"\n", 1);
    fs::write(&file, &later).unwrap();
    let lab = Lab::new("requires", FILE, rules.path());
    eventually("it is told", || lab.told("rules-skipped") == ["open"]);
    let skipped = lab.status()["rules"]["skipped"].clone();
    assert!(skipped[0].as_str().unwrap().contains("tomorrow.yaml"), "{skipped}");
    let said = lab.ask(&["status"]);
    assert!(said.contains("tomorrow.yaml"), "{said}");
    // The others are in force.
    lab.steal();
    eventually("the key is found", || {
        lab.alerts().iter().any(|alert| alert["file"]["identity"] == "ssh-private-key")
    });
    fs::write(&file, &text).unwrap();
    eventually("that none is left out any more is told", || lab.told("rules-skipped") == ["open", "closed"]);
    let none = || lab.status()["rules"]["skipped"].as_array().is_some_and(Vec::is_empty);
    eventually("the status names none any more", none);
    // And once more, while it runs.
    fs::write(&file, &later).unwrap();
    eventually("it is told again", || lab.told("rules-skipped") == ["open", "closed", "open"]);
    assert_eq!(lab.stop().0.code(), Some(0));
}

/// `sandwatch run` with a configuration that must not be taken: what it says.
fn refused(config: &Path) -> String {
    let output = sandwatch(&["run", "--config", config.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    said
}

/// A configuration with these rules, its state beside it.
fn configuration(folder: &Path, rules: &Path) -> PathBuf {
    let file = folder.join("sandwatch.yaml");
    let text = format!(
        "schema: sandwatch/config/v1\nstate_dir: {}/state\nworkers: {{ watch: [\"/sw-nobody\"] }}\nrules: [{}]\n",
        folder.display(),
        rules.display()
    );
    fs::write(&file, text).unwrap();
    file
}

#[test]
fn files_that_a_stranger_could_change_are_refused_at_the_start_also_behind_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let (rules, elsewhere) = (folder.path().join("rules"), folder.path().join("elsewhere"));
    for folder in [&rules, &elsewhere] {
        fs::create_dir(folder).unwrap();
    }
    let config = configuration(folder.path(), &rules);
    // Rules: the link is root's, what it leads to is not.
    let target = elsewhere.join("target.yaml");
    fs::write(&target, identities(&["one"], MARK)).unwrap();
    symlink(&target, rules.join("linked.yaml")).unwrap();
    chown(&target, Some(STRANGER), None).unwrap();
    let said = refused(&config);
    assert!(said.contains("linked.yaml") && said.contains("owned by uid 65534"), "{said}");
    chown(&target, Some(0), None).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o664)).unwrap();
    let said = refused(&config);
    assert!(said.contains("linked.yaml") && said.contains("may be written by its group"), "{said}");
    fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
    // The configuration itself.
    let real = elsewhere.join("real.yaml");
    fs::rename(&config, &real).unwrap();
    symlink(&real, &config).unwrap();
    chown(&real, Some(STRANGER), None).unwrap();
    let said = refused(&config);
    assert!(said.contains("sandwatch.yaml") && said.contains("owned by uid 65534"), "{said}");
}

#[test]
fn rule_file_that_becomes_a_strangers_is_refused_and_the_rules_stay() {
    let rules = copy_of_rules();
    let lab = Lab::new("stranger", FILE, rules.path());
    let file = rules.path().join("mark.yaml");
    fs::write(&file, identities(&["of-a-stranger"], MARK)).unwrap();
    chown(&file, Some(STRANGER), None).unwrap();
    signal(&lab.agent, libc::SIGHUP);
    eventually("it is told", || lab.told("rules-refused").last().is_some_and(|state| state == "open"));
    assert!(lab.log().contains("owned by uid 65534"), "{}", lab.log());
    eventually("the status says so", || lab.status()["rules"]["refused"] == true);
    lab.steal();
    eventually("the old rules still find the key", || {
        lab.alerts().iter().any(|alert| alert["file"]["identity"] == "ssh-private-key")
    });
    chown(&file, Some(0), None).unwrap();
    signal(&lab.agent, libc::SIGHUP);
    eventually("they are good again", || lab.status()["rules"]["refused"] == false);
    assert_eq!(lab.stop().0.code(), Some(0));
}
