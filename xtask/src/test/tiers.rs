//! The tiers, in the order they run: what is quick and breaks most often first.

use super::deadline::Deadline;
use super::judge::{single, tests, twice};
use super::outcome::{Outcome, PlacedSkip};
use super::receivers;
use super::tier::{Group, Tier};
use crate::build::{self, Profile};
use crate::libtest::Skip;
use crate::{alerts, chart, cluster, commands, engines, fuzz, host, links, package, setup, systemd, vm};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The test program that needs real engines.
const ENGINES_TEST: &str = "engines";
/// The one that needs Docker Engine, containerd and Podman.
const CONTAINERS_TEST: &str = "container-engines";
/// The one that needs a Kubernetes.
const KUBERNETES_TEST: &str = "kubernetes";

/// What one VM usually takes while another runs beside it.
const CELL: Duration = Duration::from_secs(300);
/// For each fuzz target: enough to find what was broken lately.
const FUZZ_SECONDS: u32 = 15;

/// All tiers. Those without tests yet are listed, so that nobody takes their silence for success.
pub(crate) fn all() -> Vec<Tier> {
    let tier = |name, title, group, seconds, run| Tier {
        name,
        title,
        group,
        usual: Duration::from_secs(seconds),
        run,
    };
    vec![
        tier("setup", "tools and Debian packages", Group::Default, 30, setup_tier),
        tier("format", "rustfmt", Group::Default, 5, format_tier),
        tier("shell", "shellcheck", Group::Default, 5, shell_tier),
        tier("docs", "links and commands in the documentation", Group::Default, 60, docs_tier),
        tier("lint", "clippy and rustc, warnings are errors", Group::Default, 60, lint_tier),
        tier("unit", "unit, property and golden tests", Group::Default, 60, unit_tier),
        tier("rules", "the shipped rules and their tests", Group::Default, 20, rules_tier),
        tier("chart", "the Helm chart, and Kubernetes' schemas", Group::Default, 30, |_| chart::run()),
        tier("live", "behaviour on this kernel", Group::Default, 110, live_tier),
        tier(
            "delivery",
            "alerts to real receivers and strict fakes",
            Group::Default,
            130,
            receivers::delivery,
        ),
        tier(
            "install",
            "the Debian package in a root, from installation to purge",
            Group::Default,
            90,
            |_| package::install_tier(),
        ),
        tier("demo", "the demo, from worker to alert", Group::Default, 15, demo_tier),
        tier("vm", "each kernel on its best and its worst rung", Group::Default, 120, vm_tier),
        tier("vm-full", "each kernel on every other rung", Group::Full, 900, vm_full_tier),
        tier("systemd", "the service under a real systemd", Group::Full, 300, systemd_tier),
        tier(
            CONTAINERS_TEST,
            "containers of Docker, containerd and Podman",
            Group::Full,
            60,
            containers_tier,
        ),
        tier("image", "the container image, read and run by others", Group::Full, 600, |_| {
            package::image_tier()
        }),
        tier(
            "package",
            "the Debian package as it is shipped, from installation to purge",
            Group::Full,
            600,
            |_| package::deb_tier(),
        ),
        tier("fuzz", "each fuzz target for a while", Group::Full, 300, fuzz_tier),
        tier("kills", "an agent that is killed under load, fifty times", Group::Full, 60, kills_tier),
        tier("peers", "alerts to further real receivers", Group::Full, 400, receivers::peers),
        tier("engines", "real workflow engines", Group::Engines, 300, engines_tier),
        tier("chart-server", "the Helm chart on a real API server", Group::Kubernetes, 900, |_| {
            chart::on_a_server(&cluster::ensure()?)
        }),
        tier("kubernetes", "a real node of Kubernetes", Group::Kubernetes, 600, kubernetes_tier),
        tier("kafka", "alerts to a Kafka broker", Group::Kafka, 300, receivers::kafka),
        // Another build of everything: last, if there is time for it.
        tier("arm64", "the image and package for aarch64, emulated", Group::Full, 400, |_| {
            package::arm64_tier()
        }),
        tier("soak", "hours of load", Group::Soak, 0, no_tests),
    ]
}

/// Their names.
pub(crate) fn names() -> Vec<&'static str> {
    all().iter().map(|tier| tier.name).collect()
}

fn no_tests(_: &Deadline) -> Result<Outcome> {
    Ok(Outcome::not_run("this version has no such tests"))
}

fn setup_tier(_: &Deadline) -> Result<Outcome> {
    setup::build_tools()?;
    setup::vm_packages()?;
    setup::lint_packages()?;
    Ok(Outcome::single(true, ""))
}

fn format_tier(deadline: &Deadline) -> Result<Outcome> {
    let finished = deadline.run(&mut build::cargo(&["fmt", "--all", "--check"])?)?;
    single("format", "cargo fmt --all --check", &finished)
}

fn shell_tier(deadline: &Deadline) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for script in crate::lint::scripts()? {
        let finished = deadline.run(Command::new("shellcheck").arg(&script))?;
        outcome.add(single("shell", &format!("shellcheck {}", script.display()), &finished)?);
    }
    Ok(outcome)
}

fn docs_tier(_: &Deadline) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for wrong in [links::check()?, alerts::check()?, commands::check()?] {
        outcome.add(Outcome { passed: usize::from(wrong.is_empty()), failed: wrong, ..Outcome::default() });
    }
    Ok(outcome)
}

fn lint_tier(deadline: &Deadline) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for (name, mut command) in crate::lint::commands()? {
        let finished = deadline.run(&mut command)?;
        outcome.add(single("lint", name, &finished)?);
    }
    Ok(outcome)
}

fn unit_tier(deadline: &Deadline) -> Result<Outcome> {
    twice("unit", deadline, || {
        let mut command = build::cargo(&["test", "--workspace", "--exclude", "monitor-ebpf"])?;
        command.args(["--exclude", "integration", "--lib", "--bins", "--tests", "--no-fail-fast", "--"]);
        // Golden files are compared, never written, whatever the developer's environment says.
        command.env("INSTA_UPDATE", "no");
        Ok(command)
    })
}

fn rules_tier(deadline: &Deadline) -> Result<Outcome> {
    let agent = build::agent(Profile::Dev)?;
    let mut outcome = Outcome::default();
    for verb in ["check", "test"] {
        let mut command = Command::new(&agent);
        command.current_dir(host::repo()?).args(["rules", verb, "rules"]);
        let finished = deadline.run(&mut command)?;
        outcome.add(single("rules", &format!("sandwatch rules {verb} rules"), &finished)?);
    }
    Ok(outcome)
}

fn live_tier(deadline: &Deadline) -> Result<Outcome> {
    setup::live_packages()?;
    let wanted = |name: &str| {
        ![ENGINES_TEST, KUBERNETES_TEST, CONTAINERS_TEST].contains(&name) && !receivers::has(name)
    };
    programs("live", wanted, deadline)
}

fn containers_tier(deadline: &Deadline) -> Result<Outcome> {
    setup::container_packages()?;
    programs(CONTAINERS_TEST, |name| name == CONTAINERS_TEST, deadline)
}

/// Test programs of the tests package, one after the other, as root.
pub(super) fn programs(tier: &str, wanted: impl Fn(&str) -> bool, deadline: &Deadline) -> Result<Outcome> {
    let agent = build::agent(Profile::Dev)?;
    let mut outcome = Outcome::default();
    for test in build::integration_tests()?.into_iter().filter(|test| wanted(&test.name)) {
        outcome.add(twice(&format!("{tier}-{}", test.name), deadline, || {
            let mut command = as_root(&test.path);
            // One at a time: attach points and the host's cgroup tree are shared.
            command.arg("--test-threads=1").current_dir(host::repo()?);
            command.env("SANDWATCH_BIN", &agent).env("SANDWATCH_RULES", host::repo()?.join("rules"));
            Ok(command)
        })?);
    }
    Ok(outcome)
}

/// The unit test that kills an engine under load, with many more kills than it has by itself.
fn kills_tier(deadline: &Deadline) -> Result<Outcome> {
    let mut command = build::cargo(&["test", "--package", "monitor", "--lib", "kill_tests"])?;
    command.env("SANDWATCH_TEST_KILLS", "50");
    let finished = deadline.run(&mut command)?;
    tests("kills", "host", &finished)
}

fn fuzz_tier(deadline: &Deadline) -> Result<Outcome> {
    let built = deadline.run(&mut fuzz::build()?)?;
    let mut outcome = single("fuzz", "build", &built)?;
    if !built.good {
        return Ok(outcome);
    }
    for name in fuzz::targets()? {
        let finished = deadline.run(&mut fuzz::run(&name, FUZZ_SECONDS)?)?;
        outcome.add(single("fuzz", &name, &finished)?);
    }
    Ok(outcome)
}

/// Installs each engine and runs its tests; an engine that cannot be installed is a skip with the reason, which nothing
/// expects.
fn engines_tier(deadline: &Deadline) -> Result<Outcome> {
    let agent = build::agent(Profile::Dev)?;
    let test = build::integration_tests()?
        .into_iter()
        .find(|test| test.name == ENGINES_TEST)
        .context("cargo built no engine tests")?;
    let mut command = as_root(&test.path);
    command.arg("--test-threads=1").current_dir(host::repo()?);
    command.env("SANDWATCH_BIN", &agent).env("SANDWATCH_RULES", host::repo()?.join("rules"));
    let mut outcome = Outcome::default();
    for engine in engines::ENGINES {
        match engine.ensure() {
            Ok(place) => {
                command.env(engine.variable, place);
            }
            Err(error) => {
                command.args(["--skip", &engine.name.replace('-', "_")]);
                let skip = Skip { test: engine.name.to_owned(), reason: format!("{error:#}") };
                outcome.skipped.push(PlacedSkip { place: "host".to_owned(), skip });
            }
        }
    }
    let finished = deadline.run(&mut command)?;
    outcome.add(tests("engines", "host", &finished)?);
    Ok(outcome)
}

/// On one real node: its API server, scheduler, controllers, kubelet and container runtime; the chart and the image are what is shipped.
fn kubernetes_tier(deadline: &Deadline) -> Result<Outcome> {
    let programs = cluster::ensure()?;
    let test = build::integration_tests()?
        .into_iter()
        .find(|test| test.name == KUBERNETES_TEST)
        .context("cargo built no tests of Kubernetes")?;
    let mut command = as_root(&test.path);
    command.arg("--test-threads=1").current_dir(host::repo()?);
    command.env("SANDWATCH_BIN", build::agent(Profile::Dev)?).env("SANDWATCH_KUBERNETES", programs);
    command.env("SANDWATCH_IMAGE", package::image_archive()?).env("SANDWATCH_CHART", chart::folder()?);
    command.env("SANDWATCH_HELM", chart::tools()?.helm().get_program());
    command.env("SANDWATCH_COMMANDS", commands::of_tier(KUBERNETES_TEST)?.join("\n"));
    tests("kubernetes", "host", &deadline.run(&mut command)?)
}

fn demo_tier(deadline: &Deadline) -> Result<Outcome> {
    let mut command = as_root(&build::agent(Profile::Dev)?);
    let finished = deadline.run(command.args(["demo", "--output", "-"]))?;
    single("demo", "sandwatch demo --output -", &finished)
}

fn vm_tier(deadline: &Deadline) -> Result<Outcome> {
    matrix(&vm::best_and_worst(), deadline)
}

fn vm_full_tier(deadline: &Deadline) -> Result<Outcome> {
    matrix(&vm::other_rungs(), deadline)
}

fn systemd_tier(deadline: &Deadline) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    add(&mut outcome, systemd::run(deadline.last_start(CELL))?);
    Ok(outcome)
}

fn matrix(cells: &[vm::Cell], deadline: &Deadline) -> Result<Outcome> {
    let settings = vm::Settings { again: true, until: deadline.last_start(CELL), ..vm::Settings::default() };
    let results = vm::run_tests(cells, &settings, None)?;
    vm::report_programs(&results, false)?;
    let mut outcome = Outcome::default();
    let ran: Vec<String> = results.iter().map(|result| result.cell.name()).collect();
    for result in results {
        add(&mut outcome, result);
    }
    let names = cells.iter().map(vm::Cell::name);
    let missing: Vec<String> = names.filter(|name| !ran.contains(name)).collect();
    if !missing.is_empty() {
        outcome.cut = Some(missing.join(" "));
    }
    Ok(outcome)
}

/// What came of one boot.
fn add(outcome: &mut Outcome, result: vm::CellResult) {
    let place = result.cell.name();
    let trouble = result.trouble();
    let log = result.log.display().to_string();
    let part = Outcome::of_tests(result.tests, &place);
    // Failing tests speak for themselves; a run that broke otherwise would go unseen.
    let unexplained = trouble.filter(|_| part.failed.is_empty());
    outcome.add(part);
    outcome.failed.extend(unexplained.map(|trouble| format!("{place}: {trouble}; log {log}")));
}

/// A program that needs root: as it is when we are, else through sudo if that asks nothing.
pub(super) fn as_root(program: &PathBuf) -> Command {
    if host::is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["--non-interactive", "--preserve-env", "--"]).arg(program);
    command
}
