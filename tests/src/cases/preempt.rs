//! Probes that are interrupted: LSM, fentry and kprobe programs may lose their CPU to another task's run of the same program,
//! half-way through the scratch memory they share. The VMs with BPF LSM boot with `preempt=full`, so that it happens.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::Result;
use monitor::event::Body;

use super::{ensure_same, ensure_that};
use crate::child::{Child, open, pin};
use crate::files::{WATCHED_NAME, folder, identity, secret};
use crate::{Case, Verdict, World};

pub(super) const CASES: &[Case] = &[("preempt_two_tasks_on_one_cpu_never_mix_their_paths", mix)];

/// Opens of each task.
const OPENS: u32 = 400;
/// Folders above each file: a walk that takes long is interrupted more often.
const DEPTH: usize = 60;

fn mix(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let mut files = Vec::new();
    for name in ["left", "right", "third"] {
        let mut inner = folder.path().to_path_buf();
        inner.extend(std::iter::repeat_n(name, DEPTH));
        fs::create_dir_all(&inner)?;
        files.push(secret(&inner, WATCHED_NAME)?);
    }
    let skipped_before = world.skipped()?;
    let mut expected = BTreeMap::new();
    let mut children = Vec::new();
    for path in &files {
        let child = Child::spawn(world.cgroup(), || {
            pin(0);
            let failed = (0..OPENS).any(|_| open(path, libc::O_RDONLY) < 0);
            i32::from(failed)
        })?;
        expected.insert(child.pid, (path.clone(), identity(path)?));
        children.push(child);
    }
    for child in children {
        ensure_same!(child.wait()?, 0, "exit code");
    }
    // Nothing is said to end it, as the kernel may have skipped the probe of an exit too.
    let mut events = Vec::new();
    let mut quiet = 0;
    while quiet < 5 {
        world.poll(Duration::from_millis(20))?;
        let more = world.take();
        quiet = if more.is_empty() { quiet + 1 } else { 0 };
        events.extend(more);
    }
    let mut seen: BTreeMap<u32, u32> = BTreeMap::new();
    for event in &events {
        let (Body::Open(open), Some((path, id))) = (&event.body, expected.get(&event.subject.key.pid)) else {
            continue;
        };
        *seen.entry(event.subject.key.pid).or_default() += 1;
        ensure_same!(
            (open.id.dev, open.id.ino),
            *id,
            "identity of the file that pid {} opened",
            event.subject.key.pid
        );
        let whole = open.path.is_known();
        ensure_that!(
            !whole || *open.path.view == *path.to_string_lossy(),
            "path that pid {} opened is its own: {}",
            event.subject.key.pid,
            open.path.view
        );
    }
    // From 7.0 a program at a system call may lose its CPU while the kernel holds that CPU's BPF closed to all perf events
    // (kernel/trace/bpf_trace.c, `trace_call_bpf`): the others' runs are skipped, and counted.
    let skipped = world.skipped()? - skipped_before;
    let arrived: u32 = seen.values().sum();
    let all = OPENS * files.len() as u32;
    ensure_that!(arrived <= all, "{arrived} of {all} opens arrived");
    ensure_that!(
        u64::from(all - arrived) <= skipped,
        "{arrived} of {all} opens arrived, and the kernel counted {skipped} runs that it skipped"
    );
    Ok(Verdict::Holds)
}
