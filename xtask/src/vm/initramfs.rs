//! The VM's root file system: busybox, modules, the payload's files, and the init script.
//!
//! Binaries are the ones that run on this host, with the loader and libraries they name: one build serves
//! the live tests and the VMs.

use super::cpio::Archive;
use super::kernel::Kernel;
use super::module;
use super::payload::Payload;
use crate::host::{Package, capture, ensure};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const BUSYBOX: Package = Package { name: "busybox-static", proof: "/bin/busybox" };

impl Payload {
    /// The archive for one kernel; `env` adds to the payload's own, `seconds` bound its script.
    pub(super) fn archive(
        &self,
        kernel: &Kernel,
        env: &[(String, String)],
        seconds: u64,
        scratch: &Path,
    ) -> Result<Vec<u8>> {
        ensure(&[BUSYBOX])?;
        let mut archive = Archive::new();
        // The kernel opens its console before init could make the node.
        archive.device("dev/console", 5, 1)?;
        archive.file_from("bin/busybox", Path::new(BUSYBOX.proof))?;
        archive.file("init", 0o755, include_bytes!("init.sh"))?;
        archive.file("report", 0o755, include_bytes!("report.sh"))?;
        if let Some(system) = &self.system {
            archive.file_from("system.tar", system)?;
        }
        archive.file(
            "etc/passwd",
            0o644,
            b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
        )?;
        archive.file("etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n")?;
        archive.file("etc/hosts", 0o644, b"127.0.0.1 localhost\n::1 localhost\n")?;
        archive.file("etc/os-release", 0o644, b"ID=sandwatch-vm\nPRETTY_NAME=\"sandwatch test VM\"\n")?;
        archive.file("etc/machine-id", 0o444, b"5a6e7d3c2b1a49588776655443322110\n")?;
        for (number, module) in module::with_dependencies(&kernel.modules, &self.modules)?.iter().enumerate()
        {
            archive.file(&format!("modules/{number:02}-{}.ko", module.name), 0o644, &module.content)?;
        }
        let mut libraries = BTreeSet::new();
        for program in &self.programs {
            let stripped = strip(&program.from, scratch)?;
            archive.file_from(&program.to, &stripped)?;
            libraries.extend(shared_libraries(&program.from)?);
        }
        for library in libraries {
            archive.file_from(&library.to_string_lossy(), &library)?;
        }
        for extra in &self.files {
            if extra.from.is_dir() {
                archive.tree(&extra.to, &extra.from)?;
            } else {
                archive.file_from(&extra.to, &extra.from)?;
            }
        }
        archive.file("payload.env", 0o644, environment(&self.env, env, seconds).as_bytes())?;
        archive.file("payload.sh", 0o755, self.script.as_bytes())?;
        archive.finish()
    }
}

fn environment(own: &[(String, String)], further: &[(String, String)], seconds: u64) -> String {
    let mut text = format!("SANDWATCH_VM_TIMEOUT={seconds}\n");
    for (name, value) in own.iter().chain(further) {
        text.push_str(&format!("export {name}='{}'\n", value.replace('\'', r"'\''")));
    }
    text
}

/// A copy without debug information, which an initramfs would only carry around in memory.
fn strip(program: &Path, scratch: &Path) -> Result<PathBuf> {
    let Some(name) = program.file_name() else { bail!("{} names no file", program.display()) };
    let copy = scratch.join(name);
    let done = Command::new("strip").arg("--strip-debug").arg("-o").arg(&copy).arg(program).status();
    // Without binutils the program goes in as it is: larger, nothing else.
    if !done.is_ok_and(|status| status.success()) {
        std::fs::copy(program, &copy).with_context(|| format!("cannot copy {}", program.display()))?;
    }
    Ok(copy)
}

/// The loader and libraries of a program, as `ldd` resolves them here; none if it is static.
fn shared_libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let text = match capture(Command::new("ldd").arg(program)) {
        Ok(text) => text,
        Err(error) if format!("{error:#}").contains("not a dynamic executable") => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    parse_ldd(&text).with_context(|| format!("cannot tell the libraries of {}", program.display()))
}

fn parse_ldd(text: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for line in text.lines() {
        if line.contains("not found") {
            bail!("missing library: {}", line.trim());
        }
        if let Some(path) = line.split_whitespace().find(|word| word.starts_with('/')) {
            found.push(PathBuf::from(path));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{environment, parse_ldd};
    use std::path::PathBuf;

    #[test]
    fn ldd_output_gives_loader_and_libraries_but_not_the_vdso() {
        let text = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x2)\n\t/lib64/ld.so.2 (0x3)\n";
        assert_eq!(
            parse_ldd(text).unwrap(),
            [PathBuf::from("/lib/x/libc.so.6"), PathBuf::from("/lib64/ld.so.2")]
        );
        assert!(parse_ldd("\tlibz.so => not found\n").is_err());
        assert!(parse_ldd("\tstatically linked\n").unwrap().is_empty());
    }

    #[test]
    fn environment_values_with_quotes_survive_the_shell() {
        let env = [("A".to_owned(), "it's".to_owned())];
        assert_eq!(environment(&[], &env, 9), "SANDWATCH_VM_TIMEOUT=9\nexport A='it'\\''s'\n");
    }
}
