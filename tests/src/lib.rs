//! Live-kernel and VM behaviour tests of sandwatch.
//!
//! A case ([`cases`]) does something real in a worker cgroup of its own ([`world`]) through a child process ([`child`]) and
//! looks at the events the probes report for it, field by field. One sensor serves all cases of a run; the rungs come from
//! `SANDWATCH_HOOKS` (as `--hooks`). A case that cannot hold on this kernel or rung says why and is listed as ignored.
//!
//! [`fakes`] are receivers for the tests of delivery.

mod cases;
mod child;
pub mod fakes;
mod files;
mod net;
mod uring;
mod world;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

pub use world::World;

/// What a case ends with, if it neither holds nor fails: the reason it cannot be tried here.
pub(crate) enum Verdict {
    /// It holds.
    Holds,
    /// It cannot be tried here.
    Skip(String),
}

/// A case: name and body.
pub(crate) type Case = (&'static str, fn(&mut World) -> anyhow::Result<Verdict>);

/// Runs the cases as a test program does.
pub fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One sensor, one cgroup tree: cases follow each other, on this thread, as children are made by fork.
    arguments.test_threads = Some(1);
    let trials =
        cases::all().into_iter().map(|(name, body)| Trial::ignorable_test(name, move || run(body))).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn run(body: fn(&mut World) -> anyhow::Result<Verdict>) -> Result<Completion, Failed> {
    let outcome = World::with(|world| {
        world.enter()?;
        let outcome = body(world);
        world.leave();
        outcome
    });
    match outcome {
        Ok(Verdict::Holds) => Ok(Completion::Completed),
        Ok(Verdict::Skip(reason)) => Ok(Completion::ignored_with(reason)),
        Err(error) => Err(format!("{error:#}").into()),
    }
}
