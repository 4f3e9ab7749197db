//! One VM: started, watched, its second serial port read line by line, its files taken back.

use super::kernel::Kernel;
use crate::host::{Package, ensure};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const QEMU: Package = Package { name: "qemu-system-x86", proof: "/usr/bin/qemu-system-x86_64" };
/// LSM order with BPF in it; kernels skip names they do not have. Such VMs are fully preemptible too, where the kernel lets that
/// be chosen (CONFIG_PREEMPT_DYNAMIC, 5.12 on), so that probes are interrupted by each other.
const LSM_WITH_BPF: &str = "preempt=full lsm=landlock,lockdown,yama,integrity,apparmor,bpf";
/// Spelled out as well: Debian's default order has no BPF on 5.10 and has it since 6.1.
const LSM_WITHOUT_BPF: &str = "lsm=landlock,lockdown,yama,integrity,apparmor";

/// How a VM is started.
pub(crate) struct Machine<'a> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) initramfs: &'a Path,
    /// With `bpf` among the active LSMs.
    pub(crate) bpf_lsm: bool,
    /// Further kernel parameters.
    pub(crate) parameters: &'a str,
    pub(crate) memory_mib: u32,
    pub(crate) cpus: u32,
    /// The VM is ended after this time, whatever it does.
    pub(crate) timeout: Duration,
    /// Kernel messages of both ports go here.
    pub(crate) log: &'a Path,
}

/// What came out of a VM.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Exit code of the payload; none when the VM ended without telling.
    pub(crate) code: Option<i32>,
    /// The payload's output, without the marker lines.
    pub(crate) output: String,
    /// Seconds from the start of qemu to the start of the payload, and to the end.
    pub(crate) boot_seconds: f64,
    pub(crate) seconds: f64,
    pub(crate) timed_out: bool,
    /// The first thing the kernel complained about.
    pub(crate) complaint: Option<String>,
    /// A tar archive of the payload's `/out`.
    pub(crate) files: Vec<u8>,
}

impl Machine<'_> {
    /// As [`Machine::run`], but a boot that the emulator itself breaks is tried again, aloud.
    ///
    /// Multi-threaded TCG now and then executes a half-patched instruction while the kernel rewrites its own
    /// code (seen on 6.12: "Oops: int3" at `sched_clock_cpu` when a static key flips). What happens after the
    /// payload started is never tried again.
    pub(crate) fn run_patiently(&self, line: &mut dyn FnMut(&str)) -> Result<Outcome> {
        const TRIES: u32 = 3;
        let mut outcome = self.run(line)?;
        for attempt in 2..=TRIES {
            if outcome.boot_seconds > 0.0 || outcome.timed_out {
                break;
            }
            println!("== the kernel died before the payload started; try {attempt} of {TRIES}");
            outcome = self.run(line)?;
        }
        Ok(outcome)
    }

    /// Boots, runs the payload, returns when the VM is off. `line` sees each line of output as it comes.
    pub(crate) fn run(&self, line: &mut dyn FnMut(&str)) -> Result<Outcome> {
        ensure(&[QEMU])?;
        let started = Instant::now();
        let mut child = self.command().spawn().context("cannot start qemu")?;
        let Some(stdout) = child.stdout.take() else { bail!("qemu has no standard output") };
        let guard = Guard::watch(child, self.timeout);
        let mut parser = Parser::new(started);
        let mut reader = BufReader::new(stdout);
        let mut raw = Vec::new();
        while reader.read_until(b'\n', &mut raw).context("cannot read from qemu")? > 0 {
            let text = String::from_utf8_lossy(&raw);
            parser.line(text.trim_end_matches(['\r', '\n']), line);
            raw.clear();
        }
        let (timed_out, complaint) = guard.finish()?;
        let mut outcome = parser.outcome;
        outcome.timed_out = timed_out;
        outcome.seconds = started.elapsed().as_secs_f64();
        outcome.files = decode_base64(&parser.encoded)?;
        let console = std::fs::read(self.log).unwrap_or_default();
        outcome.complaint = kernel_complaint(&String::from_utf8_lossy(&console));
        self.append_log(&outcome, &complaint)?;
        Ok(outcome)
    }

    fn command(&self) -> Command {
        let lsm = if self.bpf_lsm { LSM_WITH_BPF } else { LSM_WITHOUT_BPF };
        let append = format!("console=ttyS0 loglevel=5 panic=-1 8250.nr_uarts=4 {lsm} {}", self.parameters);
        let mut command = Command::new(QEMU.proof);
        command
            .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-nographic", "-no-reboot", "-nic", "none"])
            .args(["-nodefaults", "-monitor", "none", "-display", "none"])
            .args(["-smp", &self.cpus.to_string(), "-m", &self.memory_mib.to_string()])
            .arg("-serial")
            .arg(format!("file:{}", self.log.display()))
            .args(["-chardev", "stdio,id=payload,signal=off", "-serial", "chardev:payload"])
            .arg("-kernel")
            .arg(&self.kernel.image)
            .arg("-initrd")
            .arg(self.initramfs)
            .arg("-append")
            .arg(append.trim())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn append_log(&self, outcome: &Outcome, complaint: &str) -> Result<()> {
        let mut log = std::fs::OpenOptions::new().create(true).append(true).open(self.log)?;
        writeln!(log, "\n--- payload ---\n{}\n--- qemu ---\n{complaint}", outcome.output)?;
        Ok(())
    }
}

/// A kernel that warns or oopses is a failure even where every test passed.
fn kernel_complaint(console: &str) -> Option<String> {
    const SIGNS: [&str; 5] = ["BUG: ", "Oops: ", "Kernel panic", "rcu: INFO", "possible circular locking"];
    // `WARNING: CPU: 1 PID: …` at first, `WARNING: file:line at function, CPU#1: …` in newer kernels; other
    // lines that begin with WARNING speak of mitigations.
    let warning =
        |line: &str| line.contains("WARNING: ") && (line.contains("CPU: ") || line.contains("CPU#"));
    console
        .lines()
        .find(|line| warning(line) || SIGNS.iter().any(|sign| line.contains(sign)))
        .map(|line| line.trim().to_owned())
}

/// Sees to it that qemu ends: at its deadline, or when xtask gives up.
struct Guard {
    watcher: std::thread::JoinHandle<Result<(bool, String)>>,
}

impl Guard {
    fn watch(mut child: Child, timeout: Duration) -> Self {
        let watcher = std::thread::spawn(move || {
            let deadline = Instant::now() + timeout;
            let mut timed_out = false;
            while child.try_wait()?.is_none() {
                if Instant::now() > deadline {
                    timed_out = true;
                    child.kill()?;
                    child.wait()?;
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let mut complaint = String::new();
            if let Some(mut stderr) = child.stderr.take() {
                stderr.read_to_string(&mut complaint)?;
            }
            Ok((timed_out, complaint))
        });
        Self { watcher }
    }

    fn finish(self) -> Result<(bool, String)> {
        match self.watcher.join() {
            Ok(result) => result,
            Err(_) => bail!("the thread that watches qemu died"),
        }
    }
}

/// Tells marker lines of the init script from the payload's output.
struct Parser {
    started: Instant,
    outcome: Outcome,
    in_files: bool,
    encoded: String,
}

impl Parser {
    fn new(started: Instant) -> Self {
        Self { started, outcome: Outcome::default(), in_files: false, encoded: String::new() }
    }

    fn line(&mut self, text: &str, sink: &mut dyn FnMut(&str)) {
        if self.in_files {
            if text == "@@end" {
                self.in_files = false;
            } else {
                self.encoded.push_str(text);
            }
        } else if text == "@@files" {
            self.in_files = true;
        } else if text.starts_with("@@boot ") {
            self.outcome.boot_seconds = self.started.elapsed().as_secs_f64();
        } else if let Some(code) = text.strip_prefix("@@exit ") {
            self.outcome.code = code.parse().ok();
        } else {
            self.outcome.output.push_str(text);
            self.outcome.output.push('\n');
            sink(text);
        }
    }
}

/// Standard base64, white space and padding ignored.
fn decode_base64(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0u32);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => continue,
            _ if byte.is_ascii_whitespace() => continue,
            _ => bail!("the VM's files arrived damaged (byte {byte:#x})"),
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff)?);
        }
    }
    Ok(out)
}

/// Writes a VM's files below `dir` (with tar).
pub(crate) fn unpack(files: &[u8], dir: &Path) -> Result<Vec<PathBuf>> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    std::fs::create_dir_all(dir)?;
    let mut tar = Command::new("tar").args(["-xf", "-", "-C"]).arg(dir).stdin(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = tar.stdin.take() {
        stdin.write_all(files).context("cannot hand the VM's files to tar")?;
    }
    if !tar.wait()?.success() {
        bail!("tar cannot unpack the VM's files");
    }
    let mut names: Vec<_> =
        std::fs::read_dir(dir)?.filter_map(Result::ok).map(|entry| entry.path()).collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::{Parser, decode_base64, kernel_complaint};
    use std::time::Instant;

    #[test]
    fn base64_round_trips_all_lengths_modulo_three() {
        assert_eq!(decode_base64("").unwrap(), b"");
        assert_eq!(decode_base64("YQ==").unwrap(), b"a");
        assert_eq!(decode_base64("YWI=\n").unwrap(), b"ab");
        assert_eq!(decode_base64("YWJj").unwrap(), b"abc");
        assert!(decode_base64("a*b").is_err());
    }

    #[test]
    fn a_warning_of_the_kernel_is_found() {
        let console = "[    1.0] Booting\r\n[    9.1] WARNING: CPU: 1 PID: 77 at kernel/bpf/x.c:1\r\n";
        assert_eq!(
            kernel_complaint(console).as_deref(),
            Some("[    9.1] WARNING: CPU: 1 PID: 77 at kernel/bpf/x.c:1")
        );
        assert_eq!(kernel_complaint("[    1.0] Booting\n"), None);
    }

    #[test]
    fn marker_lines_are_not_output_and_a_missing_exit_is_no_success() {
        let mut parser = Parser::new(Instant::now());
        let mut seen = Vec::new();
        for line in ["@@boot 6.1", "hello", "@@files", "YWJj", "@@end"] {
            parser.line(line, &mut |text| seen.push(text.to_owned()));
        }
        assert_eq!(seen, ["hello"]);
        assert_eq!(parser.encoded, "YWJj");
        assert_eq!(parser.outcome.code, None);
        parser.line("@@exit 3", &mut |_| ());
        assert_eq!(parser.outcome.code, Some(3));
    }
}
