//! The label map: children inherit, processes keep their label, the neighbours are silent.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use monitor::event::Body;

use super::{ensure_same, ensure_that};
use crate::child::{self, Child};
use crate::files::{WATCHED_NAME, folder, secret};
use crate::world::{cgroup_id, remove_cgroups};
use crate::{Case, Verdict, World};

pub(super) const CASES: &[Case] = &[
    ("process_outside_the_cgroup_gives_nothing", outside),
    ("child_cgroup_made_later_is_covered_from_its_first_exec_200_times", child_cgroups),
    ("moved_process_keeps_its_label", moved),
    ("move_out_of_the_worker_is_a_signal", move_signal),
    ("removed_cgroup_loses_its_label", removed),
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
    use monitor::kernel::Probes as _;
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
