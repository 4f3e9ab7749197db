//! Costs on the measured programs: the same loops with and without the agent, in alternation.

use super::agent::Agent;
use super::budget::{Budget, Ratio, RungClass};
use super::lab::{Lab, Rates};
use super::load::{Load, Options};
use super::sink::Listeners;
use super::stats::median;
use anyhow::Result;
use std::path::{Path, PathBuf};

/// One row: a loop and where it runs.
struct Case {
    what: &'static str,
    load: Load,
    /// In the worker cgroup.
    worker: bool,
    path: Option<PathBuf>,
    port: u16,
    millis: u64,
    /// On the tracepoint rung, and on the function rungs.
    budgets: (f64, f64),
}

/// What the alternation gave, beside the ratios.
pub(crate) struct Alternation {
    pub(crate) ratios: Vec<Ratio>,
    /// Milliseconds from start to ready, one per start.
    pub(crate) ready_ms: Vec<f64>,
}

/// Runs all cases `rounds` times on and off. Every other round begins without the agent, so that a machine
/// that warms up or is disturbed favours neither side.
pub(crate) fn alternate(
    lab: &Lab,
    program: &Path,
    hooks: &str,
    class: RungClass,
    rounds: usize,
) -> Result<Alternation> {
    let listeners = Listeners::open()?;
    let cases = cases(lab, &listeners);
    let mut on = vec![Vec::new(); cases.len()];
    let mut off = vec![Vec::new(); cases.len()];
    let mut ready_ms = Vec::new();
    // The first run of anything pays for page cache and allocator; it is not counted.
    run_all(lab, &cases, &mut vec![Vec::new(); cases.len()])?;
    for round in 0..rounds {
        eprintln!("bench: alternation {} of {rounds}", round + 1);
        for agent_on in [round % 2 == 0, round % 2 != 0] {
            if agent_on {
                let agent = Agent::start(lab, program, hooks, Rates::Unbounded)?;
                ready_ms.push(agent.ready.as_secs_f64() * 1e3);
                run_all(lab, &cases, &mut on)?;
                agent.stop()?;
            } else {
                run_all(lab, &cases, &mut off)?;
            }
        }
    }
    let ratios = cases.iter().zip(on.iter().zip(&off)).map(|(case, (on, off))| ratio(case, on, off, class));
    Ok(Alternation { ratios: ratios.collect(), ready_ms })
}

fn cases(lab: &Lab, listeners: &Listeners) -> Vec<Case> {
    let case = |what, load, worker, path: Option<PathBuf>, port, millis, tracepoint, function| Case {
        what,
        load,
        worker,
        path,
        port,
        millis,
        budgets: (tracepoint, function),
    };
    let (plain, secret) = (Some(lab.plain_file()), Some(lab.secret_file()));
    let program = Some(PathBuf::from("/bin/true"));
    let udp = listeners.udp_port();
    vec![
        case("getppid in a worker", Load::Getppid, true, None, 0, 150, 1.10, 1.01),
        case("write of 64 bytes in a worker", Load::Write, true, None, 0, 150, 1.10, 1.01),
        case("open+close outside workers", Load::Open, false, plain.clone(), 0, 250, 1.18, 1.05),
        case("open+close in a worker, path of no interest", Load::Open, true, plain, 0, 250, 1.50, 1.25),
        case("open+close in a worker, secret path, event sent", Load::Open, true, secret, 0, 250, 1.85, 1.70),
        case("fork+exec+wait in a worker, event sent", Load::Exec, true, program, 0, 500, 1.04, 1.04),
        case(
            "UDP sendto on an unconnected socket in a worker",
            Load::UdpSend,
            true,
            None,
            udp,
            250,
            1.15,
            1.15,
        ),
        case("TCP connect+close in a worker", Load::TcpConnect, true, None, 0, 300, 1.04, 1.10),
    ]
}

fn run_all(lab: &Lab, cases: &[Case], into: &mut [Vec<f64>]) -> Result<()> {
    let worker = lab.cgroup.join("worker");
    for (case, values) in cases.iter().zip(into) {
        let options = Options {
            load: case.load,
            path: case.path.clone(),
            port: case.port,
            millis: case.millis,
            rate: 0,
        };
        values.push(lab.run(case.worker.then_some(worker.as_path()), &options)?.each());
    }
    Ok(())
}

fn ratio(case: &Case, on: &[f64], off: &[f64], class: RungClass) -> Ratio {
    let (off_ns, on_ns) = (median(off), median(on));
    let single: Vec<f64> = on.iter().zip(off).map(|(on, off)| on / off).collect();
    let limit = match class {
        RungClass::Tracepoint => case.budgets.0,
        RungClass::Function => case.budgets.1,
    };
    Ratio {
        what: case.what.to_owned(),
        off_ns,
        on_ns,
        ratio: on_ns / off_ns,
        lowest: single.iter().copied().fold(f64::INFINITY, f64::min),
        highest: single.iter().copied().fold(0.0, f64::max),
        budget: Some(Budget::AtMost(limit)),
    }
}
