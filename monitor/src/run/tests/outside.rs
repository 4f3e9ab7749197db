//! Processes of workers in cgroups beside them: who is looked for, and when.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::worker::Change;

/// A process of a worker that starts another when it is told to.
struct Shell(Child);

impl Shell {
    fn starts_another(&mut self) {
        let input = self.0.stdin.as_mut().unwrap();
        input.write_all(b"sleep 60 & wait\n").unwrap();
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let children = format!("/proc/{0}/task/{0}/children", self.0.id());
        let pids = fs::read_to_string(children).unwrap_or_default();
        for pid in pids.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn only_a_worker_that_was_just_found_is_looked_for_and_what_its_cgroup_has_by_now_is_inside() {
    let mut rig = Rig::new();
    let mut shell = Shell(Command::new("sh").stdin(Stdio::piped()).spawn().unwrap());
    let cgroup = rig.path("cgroup/lab/second");
    make_cgroup(&cgroup);
    let procs = cgroup.join("cgroup.procs");
    fs::write(&procs, format!("{}\n", shell.0.id())).unwrap();
    rig.agent.look("/", false);
    let label =
        rig.agent.pipeline().workers.iter().find(|worker| worker.cgroup == id(&cgroup)).unwrap().label;
    let found = [Change::Found { label, from_birth: false }];
    shell.starts_another();
    let outside = std::iter::repeat_with(|| {
        std::thread::sleep(Duration::from_millis(10));
        rig.agent.outside(&found)
    });
    let outside = outside.take(1000).find(|outside| !outside.is_empty()).unwrap();
    let [another] = outside[&label][..] else { panic!("{outside:?}") };
    assert_eq!(rig.agent.outside(&[]), BTreeMap::new(), "there is nobody new: /proc is left alone");
    assert_eq!(rig.agent.outside(&[Change::Gone { label }]), BTreeMap::new());
    fs::write(&procs, format!("{}\n{another}\n", shell.0.id())).unwrap();
    assert_eq!(rig.agent.outside(&found), BTreeMap::new());
}
