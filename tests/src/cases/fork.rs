//! fork and exit: lineage is the creator's, threads are not processes.

use anyhow::{Context as _, Result};
use monitor::event::{Body, Event};

use super::{ensure_same, ensure_that};
use crate::child::sys;
use crate::world::cgroup_id;
use crate::{Case, Verdict, World};

pub(super) const CASES: &[Case] = &[
    ("fork_names_creator_and_child", plain),
    ("fork_with_clone_parent_names_the_creator", clone_parent),
    ("fork_of_a_thread_is_no_event", thread),
    ("vfork_names_creator_and_child", vfork),
    ("exit_code_is_the_wait_status", exit_code),
    ("exit_of_one_thread_is_no_event", thread_exit),
    ("clone_into_a_worker_cgroup_is_covered", clone_into),
];

/// Forks, fork child's pid and creator's pid, in order.
fn forks(events: &[Event]) -> Vec<(u32, u32)> {
    events
        .iter()
        .filter_map(|event| match event.body {
            Body::Fork(fork) => Some((event.subject.key.pid, fork.parent.pid)),
            _ => None,
        })
        .collect()
}

fn exits(events: &[Event]) -> Vec<(u32, u32)> {
    events
        .iter()
        .filter_map(|event| match event.body {
            Body::Exit { code } => Some((event.subject.key.pid, code)),
            _ => None,
        })
        .collect()
}

/// `clone` without a new stack and with these flags; the child exits with 7 at once. Waits for it with `wait`.
fn clone_and_wait(flags: i32, wait: i32) -> i32 {
    // SAFETY: without CLONE_VM the child has its own copy of everything, as after fork.
    unsafe {
        let pid = libc::syscall(libc::SYS_clone, flags | libc::SIGCHLD, 0, 0, 0, 0);
        if pid == 0 {
            libc::_exit(7);
        }
        let mut status = 0;
        if pid < 0 { 1 } else { i32::from(libc::waitpid(-1, &mut status, wait) < 0 && wait == 0) }
    }
}

fn plain(world: &mut World) -> Result<Verdict> {
    let events = world.run(|| clone_and_wait(0, 0))?;
    let forks = forks(&events);
    ensure_same!(forks.len(), 1, "number of forks in the worker");
    let (child, creator) = forks[0];
    let exits = exits(&events);
    ensure_same!(exits.iter().filter(|(pid, _)| *pid == child).count(), 1, "one exit of the child");
    ensure_that!(exits.iter().any(|(pid, _)| *pid == creator), "the creator is the process that ended last");
    Ok(Verdict::Holds)
}

fn clone_parent(world: &mut World) -> Result<Verdict> {
    let me = std::process::id();
    // The child becomes a sibling: this program has to wait for it.
    let events = world.run(|| clone_and_wait(libc::CLONE_PARENT, libc::WNOHANG))?;
    let mut status = 0;
    // SAFETY: a child of this process by CLONE_PARENT.
    let sibling = unsafe { libc::waitpid(-1, &mut status, 0) };
    let (child, creator) = *forks(&events).first().context("a fork")?;
    ensure_same!(sibling, child as i32, "the child is a sibling now");
    ensure_that!(creator != me, "the creator is the worker's process, not its parent");
    Ok(Verdict::Holds)
}

fn thread(world: &mut World) -> Result<Verdict> {
    let events = world.run(|| i32::from(std::thread::spawn(|| ()).join().is_err()))?;
    ensure_same!(forks(&events), [], "forks");
    Ok(Verdict::Holds)
}

fn thread_exit(world: &mut World) -> Result<Verdict> {
    let events = world.run(|| i32::from(std::thread::spawn(|| ()).join().is_err()))?;
    ensure_same!(exits(&events).len(), 1, "exits: the process, not its thread");
    Ok(Verdict::Holds)
}

fn vfork(world: &mut World) -> Result<Verdict> {
    let events = world.run(|| {
        let status = std::process::Command::new("/bin/true").env_clear().status();
        i32::from(!status.is_ok_and(|status| status.success()))
    })?;
    ensure_same!(forks(&events).len(), 1, "forks");
    Ok(Verdict::Holds)
}

fn exit_code(world: &mut World) -> Result<Verdict> {
    let events = world.run(|| clone_and_wait(0, 0))?;
    let (child, _) = *forks(&events).first().context("a fork")?;
    let code = exits(&events).iter().find(|(pid, _)| *pid == child).map(|(_, code)| *code);
    ensure_same!(code, Some(7 << 8), "wait status");
    Ok(Verdict::Holds)
}

/// `struct clone_args` (include/uapi/linux/sched.h), version 2.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

fn clone_into(world: &mut World) -> Result<Verdict> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let folder = std::fs::File::open(world.cgroup())?;
    let args = CloneArgs {
        flags: CLONE_INTO_CGROUP,
        exit_signal: libc::SIGCHLD as u64,
        cgroup: std::os::fd::AsRawFd::as_raw_fd(&folder) as u64,
        ..CloneArgs::default()
    };
    // SAFETY: without CLONE_VM the child has its own copy of everything, as after fork.
    let pid = sys(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) });
    if pid == 0 {
        // SAFETY: ends the child only.
        unsafe { libc::_exit(0) };
    }
    if pid < 0 {
        return Ok(Verdict::Skip(format!("clone3 into a cgroup: errno {}", -pid)));
    }
    let mut status = 0;
    // SAFETY: a child of ours.
    unsafe { libc::waitpid(pid as i32, &mut status, 0) };
    let events = world.until_exit(pid as u32)?;
    ensure_same!(
        forks(&events),
        [(pid as u32, std::process::id())],
        "the fork is seen, with the outside creator"
    );
    let id = cgroup_id(world.cgroup())?;
    ensure_that!(events.iter().all(|event| event.subject.cgroup == id), "the cgroup is the worker's");
    Ok(Verdict::Holds)
}
