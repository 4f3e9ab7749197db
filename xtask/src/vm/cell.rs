//! One cell of the matrix: a kernel, with or without BPF LSM, the probes on their best or a pinned rung.

use super::kernel::Release;
use super::payload::Payload;
use super::qemu::{self, Machine};
use crate::host;
use crate::libtest::Results;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How VMs are run.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) memory_mib: u32,
    pub(crate) cpus: u32,
    /// Of one VM, boot included.
    pub(crate) timeout: Duration,
    /// Further kernel parameters.
    pub(crate) parameters: String,
    /// Fetch kernels anew.
    pub(crate) refresh: bool,
    /// VMs at the same time.
    pub(crate) jobs: usize,
    /// What may have failed by chance is run once more.
    pub(crate) again: bool,
    /// After this no VM is started; cells that are left have no result.
    pub(crate) until: Option<Instant>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            memory_mib: 1024,
            cpus: 2,
            timeout: Duration::from_secs(840),
            parameters: String::new(),
            refresh: false,
            jobs: 2,
            again: false,
            until: None,
        }
    }
}

/// Whether BPF is among the active LSMs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lsm {
    With,
    Without,
}

/// One boot.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) release: Release,
    pub(crate) lsm: Lsm,
    /// Value of `--hooks`.
    pub(crate) hooks: String,
}

/// What one boot gave.
#[derive(Clone, Debug)]
pub(crate) struct CellResult {
    pub(crate) cell: Cell,
    /// The payload's exit code; none if the VM died or was ended.
    pub(crate) code: Option<i32>,
    pub(crate) timed_out: bool,
    pub(crate) tests: Results,
    /// Test programs that were to run.
    pub(crate) expected: usize,
    /// The first thing the kernel complained about.
    pub(crate) complaint: Option<String>,
    /// What the payload left in `/out`.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) log: PathBuf,
    pub(crate) boot_seconds: f64,
    pub(crate) seconds: f64,
}

impl Cell {
    /// Where a whole system is booted: the kernel of Debian 12, no other test's cell.
    pub(crate) fn systemd() -> Result<Self> {
        Ok(Self { release: Release::named("6.1")?, lsm: Lsm::Without, hooks: "auto".to_owned() })
    }

    /// Name of the cell, fit for a file.
    pub(crate) fn name(&self) -> String {
        let lsm = match self.lsm {
            Lsm::With => "lsm",
            Lsm::Without => "nolsm",
        };
        format!("{}-{lsm}-{}", self.release.name, self.hooks.replace(['=', ','], "_"))
    }

    /// Boots and runs the payload; `line` sees its output as it comes.
    pub(crate) fn run(
        &self,
        payload: &Payload,
        settings: &Settings,
        line: &mut dyn FnMut(&str),
    ) -> Result<CellResult> {
        let kernel = self.release.kernel(&host::cache()?, settings.refresh)?;
        let dir = host::target()?.join("vm");
        let scratch = dir.join(format!("{}.work.{}", self.name(), std::process::id()));
        let out = dir.join(format!("{}.out", self.name()));
        std::fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
        if out.exists() {
            std::fs::remove_dir_all(&out).with_context(|| format!("cannot clear {}", out.display()))?;
        }
        // The payload's own bound is tighter: then its output and files still come back.
        let seconds = settings.timeout.as_secs().saturating_sub(20).max(5);
        let initramfs = scratch.join("initramfs.cpio");
        std::fs::write(&initramfs, payload.archive(&kernel, &self.env(), seconds, &scratch)?)
            .with_context(|| format!("cannot write {}", initramfs.display()))?;
        let log = dir.join(format!("{}.log", self.name()));
        let machine = Machine {
            kernel: &kernel,
            initramfs: &initramfs,
            bpf_lsm: self.lsm == Lsm::With,
            parameters: &settings.parameters,
            memory_mib: settings.memory_mib,
            cpus: settings.cpus,
            timeout: settings.timeout,
            log: &log,
        };
        let outcome = machine.run_patiently(line)?;
        let files = qemu::unpack(&outcome.files, &out)?;
        std::fs::remove_dir_all(&scratch)?;
        Ok(CellResult {
            cell: self.clone(),
            code: outcome.code,
            timed_out: outcome.timed_out,
            tests: Results::parse(&outcome.output),
            expected: payload.tests,
            complaint: outcome.complaint,
            files,
            log,
            boot_seconds: outcome.boot_seconds,
            seconds: outcome.seconds,
        })
    }

    fn env(&self) -> Vec<(String, String)> {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![
            pair("SANDWATCH_VM", "1"),
            pair("SANDWATCH_HOOKS", &self.hooks),
            pair("SANDWATCH_KERNEL", self.release.name),
            pair("SANDWATCH_BPF_LSM", if self.lsm == Lsm::With { "1" } else { "0" }),
        ]
    }
}

impl CellResult {
    /// Whether the payload ended well.
    pub(crate) fn verdict(&self) -> String {
        match (self.timed_out, self.code) {
            (true, _) => "timed out".to_owned(),
            (_, Some(0)) => "ok".to_owned(),
            (_, Some(137)) => "payload timed out".to_owned(),
            (_, Some(code)) => format!("failed with exit code {code}"),
            (_, None) => "ended without a verdict (kernel panic?)".to_owned(),
        }
    }

    /// The cell, its verdict, times and log in one line.
    pub(crate) fn one_line(&self) -> String {
        format!(
            "{}: {}{}; boot {:.1} s, total {:.1} s; log {}",
            self.cell.name(),
            self.verdict(),
            self.complaint.as_ref().map(|line| format!("; the kernel says: {line}")).unwrap_or_default(),
            self.boot_seconds,
            self.seconds,
            self.log.display()
        )
    }
}
