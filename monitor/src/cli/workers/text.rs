//! The workers as people read them.

use crate::alert::escape;
use crate::alert::human::Style;
use crate::control::Listed;

/// Processes shown of each worker; a CI job may have thousands.
const SHOWN: usize = 60;

pub(super) fn page(workers: &[Listed], style: &Style) -> String {
    if workers.is_empty() {
        return "No worker: nothing in the cgroup2 hierarchy matches `workers:` of the configuration.".into();
    }
    let mut lines = Vec::new();
    for worker in workers {
        let unit = worker.unit.as_ref().map_or(String::new(), |unit| format!(", unit {unit}"));
        lines.push(format!("{}  profile {}, engine {}{unit}", worker.name, worker.profile, worker.engine));
        lines.push(format!("  cgroup {}", worker.cgroup));
        if !worker.facts_not_stated.is_empty() {
            lines.push(format!("  facts not stated: {}", worker.facts_not_stated.join(", ")));
        }
        for posture in &worker.posture {
            lines.push(format!("  {} [{}]", posture.what, posture.id));
        }
        if worker.reaches_host {
            lines.push("  who leaves its sandbox has the host".into());
        }
        if !worker.posture_not_known.is_empty() {
            lines.push(format!("  set-up not known: {}", worker.posture_not_known.join(", ")));
        }
        for process in worker.processes.iter().take(SHOWN) {
            let indent = "  ".repeat(process.depth.min(12) + 1);
            let exe = process.exe.as_deref().unwrap_or("(program unknown)");
            lines.push(format!("{indent}{} {exe} [{}], uid {}", process.pid, process.role, process.uid));
        }
        match worker.processes.len() {
            0 => lines.push("  no process".into()),
            count if count > SHOWN => lines.push(format!("  … {} more", count - SHOWN)),
            _ => {}
        }
        lines.push(String::new());
    }
    let shown: Vec<String> = lines.iter().map(|line| cut(&escape::for_terminal(line), style.width)).collect();
    shown.join("\n").trim_end().to_owned()
}

fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width.max(100) {
        line.to_owned()
    } else {
        line.chars().take(width.max(100) - 1).chain(['…']).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{ListedPosture, ListedProcess};

    #[test]
    fn a_worker_with_its_role_tree() {
        let process = |pid, depth, role: &str, exe: &str| ListedProcess {
            pid,
            depth,
            role: role.into(),
            exe: Some(exe.into()),
            uid: 1000,
        };
        let worker = Listed {
            name: "lab-n8n".into(),
            engine: "n8n".into(),
            profile: "n8n".into(),
            cgroup: "/lab/n8n".into(),
            unit: None,
            facts_not_stated: vec!["metadata_database".into()],
            posture: vec![ListedPosture {
                id: "runtime-socket-mounted".into(),
                what: "has the socket of a container runtime: mounted /a\x1b[2J".into(),
            }],
            reaches_host: true,
            posture_not_known: vec!["block-devices-visible".into()],
            processes: vec![
                process(10, 0, "engine", "/usr/local/bin/node"),
                process(11, 1, "runner", "/usr/local/bin/node\x1b[2J"),
            ],
        };
        insta::assert_snapshot!(page(&[worker], &Style::PLAIN));
    }

    #[test]
    fn no_worker_says_where_to_look() {
        assert!(page(&[], &Style::PLAIN).contains("`workers:`"));
    }
}
