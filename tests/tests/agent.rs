//! The agent as a whole on the live kernel: the demo from worker to alert, its cleaning up, `sandwatch run` and its faults.
//!
//! Needs root; `SANDWATCH_BIN` names the program, `SANDWATCH_RULES` its rules.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

mod lab;

use lab::{FILE, Lab, alerts, cgroup_root, eventually, program, sandwatch, shipped_rules, signal, wait};

/// What a demo of that process may have left behind.
fn leftovers(pid: u32) -> Vec<PathBuf> {
    let places = [
        cgroup_root().join(format!("sandwatch-demo-{pid}")),
        cgroup_root().join(format!("sandwatch-canary-{pid}")),
        PathBuf::from(format!("/var/lib/sandwatch/demo-{pid}")),
    ];
    places.into_iter().filter(|place| place.exists()).collect()
}

#[test]
fn demo_shows_the_escape_and_leaves_nothing() {
    let child =
        sandwatch(&["demo", "--output", "-"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output: Output = child.wait_with_output().unwrap();
    let story = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{story}");
    let alerts = alerts(&String::from_utf8_lossy(&output.stdout));
    let last = lab::newest(&alerts, |alert| alert["kind"] == "incident").unwrap();
    assert_eq!(last["schema"], "sandwatch/alert/v1");
    assert_eq!(last["tier"], "objective");
    assert_eq!(last["worker"]["profile"], "demo");
    assert_eq!(last["blast_radius"]["taken"][0]["identity"], "demo-service-account-token");
    let chain: Vec<&str> = last["incident"]["chain"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|link| link["finding"].as_str())
        .collect();
    assert!(chain.contains(&"shell-from-engine") && chain.contains(&"demo-exfiltration"), "{chain:?}");
    // On a slow machine how the worker is set up is told as well.
    let incidents = alerts.iter().filter(|alert| alert["kind"] == "incident");
    let ids: Vec<&Value> = incidents.map(|alert| &alert["incident"]["id"]).collect();
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "one escape is one incident: {ids:?}");
    assert_eq!(leftovers(pid), [] as [PathBuf; 0]);
}

#[test]
fn demo_cleans_up_when_it_is_interrupted_at_any_time() {
    for (after, with) in
        [(100, libc::SIGINT), (900, libc::SIGTERM), (1800, libc::SIGINT), (2700, libc::SIGTERM)]
    {
        let mut child = sandwatch(&["demo"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(after));
        signal(&child, with);
        let status = wait(&mut child);
        let mut story = String::new();
        child.stderr.take().unwrap().read_to_string(&mut story).unwrap();
        // 0: it was over before the signal came.
        assert!(matches!(status.code(), Some(0 | 1)), "after {after} ms: {status}: {story}");
        assert_eq!(leftovers(child.id()), [] as [PathBuf; 0], "after {after} ms");
        let processes = fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        let ours = format!("/demo-{}/", child.id());
        let left = processes.filter(|line| String::from_utf8_lossy(line).contains(&ours)).count();
        assert_eq!(left, 0, "processes after {after} ms");
    }
}

#[test]
fn demo_of_a_plain_user_says_what_it_needs() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    // The build folder may be closed to others.
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = dir.path().join("sandwatch");
    fs::copy(program(), &copy).unwrap();
    let output = Command::new(copy).arg("demo").uid(65534).gid(65534).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("sudo sandwatch demo"));
}

#[test]
fn run_writes_an_alert_of_the_worker_and_ends_with_a_summary() {
    let lab = Lab::new("run", FILE, &shipped_rules());
    lab.steal();
    let of_key = || lab.alerts().into_iter().find(|alert| alert["file"]["identity"] == "ssh-private-key");
    eventually("an alert names the key", || of_key().is_some());
    let alert = of_key().unwrap();
    assert_eq!(alert["worker"]["name"], "lab");
    assert_eq!(alert["delivery"]["sink"], "local");
    let (status, log) = lab.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    let summary =
        log.lines().find(|line| line.starts_with("sandwatch: seen ")).unwrap_or_else(|| panic!("{log}"));
    for word in ["sent", "filtered", "lost"] {
        assert!(summary.contains(word), "{summary}");
    }
}

#[test]
fn signals_before_it_watches_end_no_agent_in_the_middle_of_its_start() {
    let mut lab = Lab::new("early", FILE, &shipped_rules());
    for early in [libc::SIGHUP, libc::SIGUSR1, libc::SIGTERM] {
        let came_before = (0..20).any(|_| {
            lab.kill_and_start();
            // The probes are not attached yet, unless this thread was held up: then it begins again.
            lab.wait_for_log("rules loaded");
            signal(&lab.agent, early);
            !lab.log().contains("watching")
        });
        assert!(came_before, "signal {early} was late each time: {}", lab.log());
        if early != libc::SIGTERM {
            lab.wait_for_log("watching");
            signal(&lab.agent, libc::SIGTERM);
        }
        let status = wait(&mut lab.agent);
        assert_eq!(status.code(), Some(0), "signal {early}: {}", lab.log());
        assert!(lab.log().contains("sandwatch: seen "), "{}", lab.log());
    }
}

#[test]
fn run_opens_a_rotated_file_again_on_sighup() {
    let lab = Lab::new("rotate", FILE, &shipped_rules());
    let file = lab.folder.path().join("alerts.jsonl");
    fs::rename(&file, lab.folder.path().join("old")).unwrap();
    signal(&lab.agent, libc::SIGHUP);
    eventually("the file is there again", || file.exists());
    lab.steal();
    eventually("alerts go to the new file", || !fs::read_to_string(&file).unwrap().is_empty());
    assert_eq!(lab.stop().0.code(), Some(0));
}

#[test]
fn run_takes_other_sinks_and_another_metrics_address_from_a_changed_file_without_losing_a_theft() {
    let lab = Lab::new("exchange", FILE, &shipped_rules());
    lab.steal();
    let config = lab.folder.path().join("sandwatch.yaml");
    let text = fs::read_to_string(&config).unwrap();
    let (kept, _) = text.split_once("sinks:").unwrap();
    let folder = lab.folder.path().display();
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    // What it had is given up by now: these are opened with what is left.
    let sinks = format!(
        "[{{ name: local, type: file, path: {folder}/alerts.jsonl, retry: 100ms }}, \
         {{ name: more, type: file, path: {folder}/more.jsonl }}]"
    );
    fs::write(&config, format!("{kept}listen: \"127.0.0.1:{port}\"\nsinks: {sinks}\n")).unwrap();
    lab.wait_for_log("other sinks are in place");
    lab.steal();
    let more = lab.folder.path().join("more.jsonl");
    let thefts = |file: &std::path::Path| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let all = alerts(text.rsplit_once('\n').map_or("", |(whole, _)| whole));
        all.into_iter().filter(|alert| alert["file"]["identity"] == "ssh-private-key").collect::<Vec<_>>()
    };
    eventually("the new one gets what came after it", || !thefts(&more).is_empty());
    let first = lab.folder.path().join("alerts.jsonl");
    eventually("the old one gets all of it", || {
        let last = |all: Vec<Value>| all.last().map(|alert| alert["incident"]["revision"].clone());
        last(thefts(&first)) == last(thefts(&more))
    });
    let text = fs::read_to_string(&first).unwrap();
    let numbers: Vec<u64> =
        alerts(&text).iter().filter_map(|alert| alert["delivery"]["seq"].as_u64()).collect();
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(1..=numbers.len() as u64), "one stream without holes: {numbers:?}");
    assert!(
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok(),
        "metrics are where they are said to be"
    );
    let (status, log) = lab.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn run_begins_without_a_sinks_folder_and_key_says_so_and_sends_what_waited_once_they_are_there() {
    let sinks = "[{ name: local, type: file, path: FOLDER/alerts.jsonl, retry: 100ms }, \
                 { name: late, type: file, path: FOLDER/later/alerts.jsonl }, \
                 { name: pager, type: pagerduty, url: \"http://127.0.0.1:9\", key_file: FOLDER/key }]";
    let lab = Lab::new("late", sinks, &shipped_rules());
    lab.steal();
    let said = |condition: &str| {
        lab.alerts().iter().any(|alert| alert["health"]["condition"] == condition && alert["state"] == "open")
    };
    eventually("both are said", || said("sink-late") && said("sink-pager"));
    fs::create_dir(lab.folder.path().join("later")).unwrap();
    signal(&lab.agent, libc::SIGHUP);
    let file = lab.folder.path().join("later/alerts.jsonl");
    eventually("what waited is there", || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        alerts(text.rsplit_once('\n').map_or("", |(whole, _)| whole))
            .iter()
            .any(|alert| alert["file"]["identity"] == "ssh-private-key")
    });
    let (status, log) = lab.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn run_with_a_sink_that_can_never_work_is_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("sandwatch.yaml");
    for (sink, word) in [
        ("type: http, url: \"ftp://h/\", key_file: /nonexistent/key", "neither the scheme http nor https"),
        ("type: pagerduty", "has no key_file"),
        ("type: http, url: \"http://h/\", no_such_key: 1", "no_such_key"),
    ] {
        let text = format!(
            "schema: sandwatch/config/v1\nstate_dir: {}/state\nworkers: {{ watch: [\"/nothing/*\"] }}\nsinks: [{{ name: a, {sink} }}]\n",
            folder.path().display()
        );
        fs::write(&config, text).unwrap();
        let output = sandwatch(&["run", "--config", config.to_str().unwrap()]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn run_survives_a_full_disk_and_writes_on_when_there_is_room() {
    let disk = tempfile::tempdir().unwrap();
    let mount = |args: &[&str]| {
        assert!(Command::new("mount").args(args).arg(disk.path()).status().unwrap().success())
    };
    mount(&["-t", "tmpfs", "-o", "size=256k", "sw-full"]);
    let filler = disk.path().join("filler");
    let sinks = format!(
        "[{{ name: local, type: file, path: {}/alerts.jsonl, retry: 100ms }}]",
        disk.path().display()
    );
    let lab = Lab::new("full", &sinks, &shipped_rules());
    // Whatever room there is, to the last byte.
    let _ = fs::write(&filler, vec![b'x'; 512 << 10]);
    lab.steal();
    lab.wait_for_log("the sink takes nothing");
    fs::remove_file(&filler).unwrap();
    let file = disk.path().join("alerts.jsonl");
    eventually("the alerts are written", || {
        let text = fs::read_to_string(&file).unwrap();
        text.ends_with('\n')
            && alerts(&text).iter().any(|alert| alert["file"]["identity"] == "ssh-private-key")
    });
    lab.wait_for_log("the sink takes alerts again");
    let (status, log) = lab.stop();
    assert!(Command::new("umount").arg(disk.path()).status().unwrap().success());
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn run_keeps_its_rules_when_a_rule_file_breaks() {
    let rules = tempfile::tempdir().unwrap();
    let copied =
        Command::new("cp").arg("-rT").args([shipped_rules().as_path(), rules.path()]).status().unwrap();
    assert!(copied.success());
    let lab = Lab::new("rules", FILE, rules.path());
    fs::write(rules.path().join("broken.yaml"), "schema: sandwatch/profile/v1\nname: [\n").unwrap();
    lab.wait_for_log("broken.yaml");
    lab.steal();
    eventually("the old rules still find the key", || {
        lab.alerts().iter().any(|alert| alert["file"]["identity"] == "ssh-private-key")
    });
    assert_eq!(lab.stop().0.code(), Some(0));
}

#[test]
fn workers_lists_the_worker_with_its_processes() {
    let lab = Lab::new("list", FILE, &shipped_rules());
    let script = format!("echo $$ > {}/cgroup.procs; exec sleep 60", lab.cgroup.display());
    let mut sleeper = Command::new("/bin/sh").args(["-c", &script]).spawn().unwrap();
    let config = lab.folder.path().join("sandwatch.yaml");
    let list = || {
        let output =
            sandwatch(&["workers", "--json", "--config", config.to_str().unwrap()]).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    eventually("the process is listed", || {
        let workers = list();
        workers[0]["name"] == "lab"
            && workers[0]["profile"] == "n8n"
            && workers[0]["processes"]
                .as_array()
                .is_some_and(|all| all.iter().any(|p| p["pid"] == sleeper.id()))
    });
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
}

#[test]
fn doctor_tells_the_same_as_text_and_as_json() {
    let text = sandwatch(&["doctor"]).output().unwrap();
    let json = sandwatch(&["doctor", "--json"]).output().unwrap();
    assert_eq!(text.status.code(), json.status.code());
    let answer: Value = serde_json::from_slice(&json.stdout).unwrap();
    let shown = String::from_utf8_lossy(&text.stdout);
    let level = answer["level"].as_str().unwrap();
    assert!(shown.starts_with(&format!("Coverage: {level}")), "{shown}");
    let code = ["full", "partial", "none"].iter().position(|name| *name == level).unwrap();
    assert_eq!(json.status.code(), i32::try_from(code).ok());
    for entry in answer["signals"].as_array().unwrap() {
        let rung = entry["rung"].as_str().unwrap_or("NOT WATCHED");
        let name = entry["signal"].as_str().unwrap();
        let line = shown.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
        assert!(line.contains(rung), "{line}");
        for gap in entry["gaps"].as_array().unwrap() {
            assert!(line.contains(gap["name"].as_str().unwrap()), "{line}");
        }
    }
}
