//! The label map: children inherit, processes keep their label, the neighbours are silent.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use monitor::event::{Body, Event};
use monitor::kernel::Probes as _;
use monitor_common::map::{Label, UNCLASSIFIED, label_state};

use super::{ensure_same, ensure_that};
use crate::child::{self, Child};
use crate::files::{WATCHED_NAME, folder, secret};
use crate::world::{cgroup_id, remove_cgroups};
use crate::{Case, Verdict, World};

/// Longest that something is waited for, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) const CASES: &[Case] = &[
    ("process_outside_the_cgroup_gives_nothing", outside),
    ("child_cgroup_made_later_is_covered_from_its_first_exec_200_times", child_cgroups),
    ("moved_process_keeps_its_label", moved),
    ("move_out_of_the_worker_is_a_signal", move_signal),
    ("removed_cgroup_loses_its_label", removed),
    ("cgroup_made_in_a_folder_is_announced_and_seen_from_its_first_exec_100_times", handed_down),
    ("cgroup_made_in_an_announced_one_is_announced_too", handed_down_twice),
    ("process_born_before_its_cgroup_was_looked_at_is_its_workers_afterwards", born_before),
    ("folder_itself_and_what_was_settled_give_nothing", settled),
    ("workers_process_that_enters_a_new_cgroup_is_followed_there_once_that_is_nobodys", entered),
];

fn outside(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = secret(folder.path(), WATCHED_NAME)?;
    let sibling = world.cgroup().with_extension("sibling");
    fs::create_dir(&sibling)?;
    let child = Child::spawn(&sibling, || {
        child::open(&path, libc::O_RDONLY);
        child::exec(Path::new("/bin/true"), &["true"], &[])
    })?;
    let pid = child.pid;
    let code = child.wait()?;
    // A worker's own process afterwards: what comes before it in the rings has arrived by then.
    let events = world.run(|| 0)?;
    remove_cgroups(&sibling)?;
    ensure_same!(code, 0, "exit code of the sibling");
    ensure_that!(events.iter().all(|event| event.subject.key.pid != pid), "nothing of the sibling");
    Ok(Verdict::Holds)
}

fn child_cgroups(world: &mut World) -> Result<Verdict> {
    for round in 0..200 {
        let inner = world.cgroup().join(format!("step-{round}"));
        fs::create_dir(&inner)?;
        let id = cgroup_id(&inner)?;
        let events = world
            .run_in(&inner, || child::exec(Path::new("/bin/true"), &["true"], &[]))
            .with_context(|| format!("round {round}"))?;
        let seen =
            events.iter().filter(|e| matches!(e.body, Body::Exec(_)) && e.subject.cgroup == id).count();
        ensure_same!(seen, 1, "execs seen in round {round}");
        remove_cgroups(&inner)?;
    }
    Ok(Verdict::Holds)
}

fn moved(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = secret(folder.path(), WATCHED_NAME)?;
    let elsewhere = world.cgroup().with_extension("elsewhere");
    fs::create_dir(&elsewhere)?;
    let outcome = world.run(|| {
        if child::join(&elsewhere).is_err() {
            return 1;
        }
        child::open(&path, libc::O_RDONLY);
        child::exec(Path::new("/bin/true"), &["true"], &[])
    });
    remove_cgroups(&elsewhere)?;
    let events = outcome?;
    let open = events.iter().find(|event| matches!(event.body, Body::Open(_))).context("the open is seen")?;
    ensure_that!(open.subject.moved, "marked as moved");
    let exec = events.iter().find(|event| matches!(event.body, Body::Exec(_))).context("the exec is seen")?;
    ensure_same!(exec.subject.label, world.label(), "label of the exec");
    Ok(Verdict::Holds)
}

fn move_signal(world: &mut World) -> Result<Verdict> {
    let elsewhere = world.cgroup().with_extension("elsewhere");
    fs::create_dir(&elsewhere)?;
    let id = cgroup_id(&elsewhere)?;
    let outcome = world.run(|| i32::from(child::join(&elsewhere).is_err()));
    remove_cgroups(&elsewhere)?;
    let events = outcome?;
    let to = events.iter().find_map(|event| match event.body {
        Body::CgroupMove { to, to_labelled, .. } => Some((to, to_labelled)),
        _ => None,
    });
    ensure_same!(to, Some((id, false)), "where to, and that it is no worker");
    Ok(Verdict::Holds)
}

fn removed(world: &mut World) -> Result<Verdict> {
    let inner = world.cgroup().join("short");
    fs::create_dir(&inner)?;
    let id = cgroup_id(&inner)?;
    ensure_same!(
        world.sensor().cgroup_label(id)?.map(|label| label.id),
        Some(world.label()),
        "inherited label"
    );
    fs::remove_dir(&inner)?;
    ensure_same!(world.sensor().cgroup_label(id)?.map(|label| label.id), None, "label after removal");
    Ok(Verdict::Holds)
}

/// A folder of cgroups that hands down.
struct Folder(PathBuf);

impl Folder {
    fn new(world: &mut World, name: &str) -> Result<Self> {
        let path = world.cgroup().with_extension(name);
        fs::create_dir(&path)?;
        let folder = Self(path);
        world.sensor().hand_down(cgroup_id(&folder.0)?)?;
        world.take_announced();
        world.take_of(UNCLASSIFIED);
        Ok(folder)
    }

    fn make(&self, name: &str) -> Result<(PathBuf, u64)> {
        let path = self.0.join(name);
        fs::create_dir(&path)?;
        let id = cgroup_id(&path)?;
        Ok((path, id))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = remove_cgroups(&self.0);
    }
}

/// Runs `act` there and waits until it has ended, and been told of.
fn run_unclassified(world: &mut World, cgroup: &Path, act: impl FnOnce() -> i32) -> Result<Vec<Event>> {
    let child = Child::spawn(cgroup, act)?;
    let pid = child.pid;
    ensure_same!(child.wait()?, 0, "exit code");
    // The worker's own process afterwards: what came before it in the rings has arrived by then.
    world.run(|| 0)?;
    let events = world.take_of(UNCLASSIFIED);
    ensure_that!(events.iter().all(|event| event.subject.key.pid == pid), "nobody else's: {events:#?}");
    Ok(events)
}

fn handed_down(world: &mut World) -> Result<Verdict> {
    let folder = Folder::new(world, "folder")?;
    let parent = cgroup_id(&folder.0)?;
    for round in 0..100 {
        let (inner, id) = folder.make(&format!("c{round}"))?;
        let events = run_unclassified(world, &inner, || child::exec(Path::new("/bin/true"), &["true"], &[]))?;
        let announced = world.take_announced();
        ensure_same!(announced.len(), 1, "announcements in round {round}: {announced:?}");
        let new = &announced[0];
        ensure_same!((new.cgroup, new.parent), (id, parent), "ids in round {round}");
        let name = new.path.as_deref().and_then(|path| path.rsplit('/').next());
        ensure_same!(name, Some(format!("c{round}").as_str()), "name");
        let execs: Vec<_> = events.iter().filter(|event| matches!(event.body, Body::Exec(_))).collect();
        ensure_same!(execs.len(), 1, "execs in round {round}");
        ensure_that!(execs[0].subject.pending && execs[0].subject.cgroup == id, "{:?}", execs[0].subject);
        ensure_that!(new.time <= execs[0].time, "announced before anything runs there");
        remove_cgroups(&inner)?;
    }
    Ok(Verdict::Holds)
}

fn handed_down_twice(world: &mut World) -> Result<Verdict> {
    let folder = Folder::new(world, "folder")?;
    let (pod, pod_id) = folder.make("pod")?;
    let container = pod.join("container");
    fs::create_dir(&container)?;
    let id = cgroup_id(&container)?;
    let events = run_unclassified(world, &container, || child::exec(Path::new("/bin/true"), &["true"], &[]))?;
    let announced = world.take_announced();
    let ids: Vec<_> = announced.iter().map(|new| (new.cgroup, new.parent)).collect();
    ensure_same!(ids, [(pod_id, cgroup_id(&folder.0)?), (id, pod_id)], "both, in their order");
    ensure_that!(events.iter().any(|event| matches!(event.body, Body::Exec(_))), "its exec is seen");
    Ok(Verdict::Holds)
}

/// A child in `cgroup` that does `first`, waits until the gate is opened, and goes on with `then`.
struct Gated {
    child: Child,
    pipe: [i32; 2],
}

impl Gated {
    fn spawn(cgroup: &Path, first: impl FnOnce() -> bool, then: impl FnOnce() -> i32) -> Result<Self> {
        let mut pipe = [0; 2];
        // SAFETY: room for two descriptors.
        ensure_same!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0, "pipe");
        let child = Child::spawn(cgroup, move || {
            if !first() {
                return 1;
            }
            // SAFETY: descriptors of this process, room for one byte.
            unsafe {
                libc::close(pipe[1]);
                let mut byte = 0u8;
                libc::read(pipe[0], (&raw mut byte).cast(), 1);
            }
            then()
        })?;
        Ok(Self { child, pipe })
    }

    /// Lets it go on, and waits for its end.
    fn finish(self) -> Result<u32> {
        // SAFETY: descriptors of this process.
        unsafe { (libc::close(self.pipe[0]), libc::close(self.pipe[1])) };
        let pid = self.child.pid;
        ensure_same!(self.child.wait()?, 0, "exit code");
        Ok(pid)
    }
}

/// Waits until it is so, for as long as patience lasts; whether it is.
fn comes_true(mut holds: impl FnMut() -> Result<bool>) -> Result<bool> {
    let until = Instant::now() + PATIENCE;
    while !holds()? {
        if Instant::now() > until {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(true)
}

/// Waits until somebody is in the cgroup.
fn inhabited(cgroup: &Path) -> Result<()> {
    let is_there = || fs::read_to_string(cgroup.join("cgroup.procs")).is_ok_and(|pids| !pids.is_empty());
    ensure_that!(comes_true(|| Ok(is_there()))?, "somebody is in {}", cgroup.display());
    Ok(())
}

fn born_before(world: &mut World) -> Result<Verdict> {
    let folder = Folder::new(world, "folder")?;
    let (inner, id) = folder.make("inner")?;
    let elsewhere = world.cgroup().with_extension("elsewhere");
    fs::create_dir(&elsewhere)?;
    let to = elsewhere.clone();
    let child = Gated::spawn(
        &inner,
        || true,
        move || {
            if child::join(&to).is_err() {
                return 1;
            }
            child::exec(Path::new("/bin/true"), &["true"], &[])
        },
    )?;
    // Its coming is told a moment after it is in there: only then was it met before its cgroup is looked at.
    let pid = child.child.pid;
    let is_met =
        comes_true(|| Ok(world.sensor().process(pid)?.is_some_and(|process| process.label == UNCLASSIFIED)))?;
    ensure_that!(is_met, "it is met as nobody's yet");
    let label = Label { id: world.label(), state: label_state::WORKER };
    world.sensor().label_cgroup(id, label)?;
    child.finish()?;
    world.run(|| 0)?;
    let events: Vec<_> = world.take_of(UNCLASSIFIED);
    remove_cgroups(&elsewhere)?;
    let own = || events.iter().filter(|event| event.subject.key.pid == pid);
    ensure_that!(
        own().any(|event| matches!(event.body, Body::CgroupMove { .. })),
        "its move is told: {events:#?}"
    );
    let exec =
        own().find(|event| matches!(event.body, Body::Exec(_))).context("its exec elsewhere is seen")?;
    ensure_that!(exec.subject.moved, "by the label it was born with");
    Ok(Verdict::Holds)
}

fn entered(world: &mut World) -> Result<Verdict> {
    let folder = Folder::new(world, "folder")?;
    let (inner, id) = folder.make("inner")?;
    let worker = world.cgroup().to_owned();
    let to = inner.clone();
    let child = Gated::spawn(
        &worker,
        move || child::join(&to).is_ok(),
        || child::exec(Path::new("/bin/true"), &["true"], &[]),
    )?;
    inhabited(&inner)?;
    world.sensor().settle_cgroup(id)?;
    let mut events = Vec::new();
    let is_told = comes_true(|| {
        world.poll(Duration::from_millis(20))?;
        events.extend(world.take());
        Ok(events.iter().any(|event| matches!(event.body, Body::CgroupMove { .. })))
    })?;
    ensure_that!(is_told, "the move is told");
    // As the agent does with each move to what is nobody's: it may have settled the cgroup at the very moment of the move.
    world.sensor().follow_into(id)?;
    let asked = Some(Label { id: 0, state: label_state::CHECK_PROCESS });
    ensure_same!(world.sensor().cgroup_label(id)?, asked, "its label");
    let pid = child.finish()?;
    events.extend(world.until_exit(pid)?);
    let exec = events.iter().find(|event| matches!(event.body, Body::Exec(_))).context("its exec is seen")?;
    ensure_that!(exec.subject.moved && exec.subject.key.pid == pid, "{:?}", exec.subject);
    Ok(Verdict::Holds)
}

fn settled(world: &mut World) -> Result<Verdict> {
    let folder = Folder::new(world, "folder")?;
    let events = run_unclassified(world, &folder.0, || child::exec(Path::new("/bin/true"), &["true"], &[]))?;
    ensure_same!(events.len(), 0, "events of the folder itself");
    let (inner, id) = folder.make("inner")?;
    world.sensor().settle_cgroup(id)?;
    let events = run_unclassified(world, &inner, || child::exec(Path::new("/bin/true"), &["true"], &[]))?;
    ensure_same!(events.len(), 0, "events of what is nobody's");
    ensure_same!(world.sensor().cgroup_label(id)?, None, "its label");
    world.sensor().hand_down_no_more(cgroup_id(&folder.0)?)?;
    world.take_announced();
    folder.make("later")?;
    world.run(|| 0)?;
    ensure_same!(world.take_announced().len(), 0, "announcements once it hands down no more");
    Ok(Verdict::Holds)
}
