//! What to do, in the order in which it is done: contain, preserve, revoke, rotate, review.

use serde::{Deserialize, Serialize};

use crate::alert::CgroupInfo;
use crate::profile::{Finding, FindingKind};

const ORDER: [&str; 5] = ["Contain", "Preserve", "Revoke", "Rotate", "Review"];

/// The steps of an incident: those of its rules and of the identities touched.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Steps(Vec<String>);

impl Steps {
    /// Most steps.
    const MAX: usize = 48;

    /// Takes in what a finding asks for.
    pub(super) fn add(&mut self, finding: &Finding) {
        let identity =
            finding.identity.iter().filter(|_| finding.kind == FindingKind::Expectation || finding.taken);
        let leaked = finding.leaked.iter().filter_map(|leaked| leaked.identity.as_ref());
        let steps = finding.respond.steps();
        let of_things = identity.chain(leaked).flat_map(|identity| identity.respond.steps());
        for step in steps.into_iter().chain(of_things) {
            if self.0.len() < Self::MAX && !self.0.contains(&step) {
                self.0.push(step);
            }
        }
    }

    /// The steps in order. `freeze`: the worker to be frozen, below the mount point of the cgroup2 hierarchy.
    pub(super) fn shown(&self, freeze: Option<(&str, &CgroupInfo)>) -> Vec<String> {
        let mut steps = self.0.clone();
        if let Some((root, cgroup)) = freeze {
            // The command says it better.
            steps.retain(|step| !says_freeze(step));
            steps.insert(0, freeze_step(root, cgroup));
        }
        sort(&mut steps);
        steps
    }
}

/// These steps, each once, in the order in which they are done.
pub(super) fn in_order(all: impl Iterator<Item = String>) -> Vec<String> {
    let mut steps: Vec<String> = Vec::new();
    for step in all {
        if steps.len() < Steps::MAX && !steps.contains(&step) {
            steps.push(step);
        }
    }
    sort(&mut steps);
    steps
}

/// Stable: of one kind in the order of the findings.
fn sort(steps: &mut [String]) {
    steps.sort_by_key(|step| ORDER.iter().position(|kind| step.starts_with(kind)).unwrap_or(ORDER.len()));
}

/// Whether a step says no more than to freeze the worker, and perhaps why.
fn says_freeze(step: &str) -> bool {
    const WORDS: &str = "contain: freeze the worker";
    let rest = step.to_ascii_lowercase().strip_prefix(WORDS).map(str::to_owned);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', ';', ',']))
}

/// The command that stops a worker without losing its memory. A path that a shell could take for more than a path is not put
/// into a command.
fn freeze_step(root: &str, cgroup: &CgroupInfo) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@+=%,".contains(c);
    let path = format!("{}{}", root.trim_end_matches('/'), cgroup.path);
    if path.chars().all(plain) && !path.split('/').any(|part| part == "..") {
        format!("Contain: freeze the worker: echo 1 > {path}/cgroup.freeze")
    } else {
        format!(
            "Contain: freeze the worker by writing 1 to the cgroup.freeze of cgroup {} (its path has unusual characters: {})",
            cgroup.id,
            path.escape_debug()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(list: &[&str]) -> Steps {
        Steps(list.iter().map(|step| (*step).to_owned()).collect())
    }

    #[test]
    fn steps_come_in_the_order_in_which_they_are_done() {
        let given = steps(&["Rotate: b", "Contain: a", "Revoke: c", "Rotate: a", "Preserve: p"]);
        assert_eq!(given.shown(None), ["Contain: a", "Preserve: p", "Revoke: c", "Rotate: b", "Rotate: a"]);
    }

    #[test]
    fn command_takes_the_place_of_the_plain_words() {
        let cgroup = CgroupInfo { id: 7, path: "/lab/n8n".into() };
        let given = steps(&[
            "Contain: Freeze the worker.",
            "Contain: Freeze the worker; its engine runs somebody's code outside the sandbox.",
            "Contain: Cordon the node and freeze the worker.",
        ]);
        assert_eq!(
            given.shown(Some(("/sys/fs/cgroup/", &cgroup))),
            [
                "Contain: freeze the worker: echo 1 > /sys/fs/cgroup/lab/n8n/cgroup.freeze",
                "Contain: Cordon the node and freeze the worker."
            ]
        );
    }

    #[test]
    fn path_with_shell_characters_is_in_no_command() {
        for path in ["/a b", "/a;reboot", "/$(id)", "/a'b", "/a\nb", "/../x", "/a`b`"] {
            let step = freeze_step("/sys/fs/cgroup", &CgroupInfo { id: 7, path: path.into() });
            assert!(!step.contains("echo") && step.contains("cgroup 7"), "{step}");
            assert!(!step.contains('\n'));
        }
    }
}
