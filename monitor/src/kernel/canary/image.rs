//! What the canary executes: an ELF file of one instruction's worth, in memory, so that nothing of the host is needed.

use std::ffi::c_uint;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd};

/// `exit(0)` in machine code.
#[cfg(target_arch = "x86_64")]
const CODE: &[u8] = &[
    0x31, 0xff, // xor edi, edi
    0xb8, 60, 0, 0, 0, // mov eax, SYS_exit
    0x0f, 0x05, // syscall
];
/// `exit(0)` in machine code.
#[cfg(target_arch = "aarch64")]
const CODE: &[u8] = &[
    0x00, 0x00, 0x80, 0xd2, // mov x0, 0
    0xa8, 0x0b, 0x80, 0xd2, // mov x8, SYS_exit
    0x01, 0x00, 0x00, 0xd4, // svc 0
];

#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = 62;
#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = 183;

const LOAD_AT: u64 = 0x40_0000;
const HEADERS: u64 = 64 + 56;

/// A memfd with the image in it.
pub(super) fn make() -> io::Result<OwnedFd> {
    let mut file = File::from(memfd()?);
    file.write_all(&elf())?;
    Ok(OwnedFd::from(file))
}

fn memfd() -> io::Result<OwnedFd> {
    // Kernels >= 6.3 want to know that it is to be executed (mm/memfd.c); older ones refuse the flag.
    const MFD_EXEC: c_uint = 0x10;
    for flags in [libc::MFD_CLOEXEC | MFD_EXEC, libc::MFD_CLOEXEC] {
        // SAFETY: a NUL-terminated name.
        let fd = unsafe { libc::memfd_create(c"sandwatch-canary".as_ptr(), flags) };
        if fd >= 0 {
            // SAFETY: it was just opened.
            return Ok(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }
    Err(io::Error::last_os_error())
}

fn elf() -> Vec<u8> {
    let size = HEADERS + CODE.len() as u64;
    let mut elf = Vec::with_capacity(size as usize);
    // 64 bit, little endian, version 1, System V.
    elf.extend_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let executable: u16 = 2;
    elf.extend([executable, MACHINE].iter().flat_map(|half| half.to_le_bytes()));
    elf.extend(1u32.to_le_bytes());
    elf.extend([LOAD_AT + HEADERS, 64, 0].iter().flat_map(|word| word.to_le_bytes()));
    elf.extend(0u32.to_le_bytes());
    // Sizes of the file header and of one program header, one of those; no sections.
    elf.extend([64u16, 56, 1, 64, 0, 0].iter().flat_map(|half| half.to_le_bytes()));
    // One loadable segment, readable and executable: the whole file.
    elf.extend([1u32, 5].iter().flat_map(|word| word.to_le_bytes()));
    elf.extend([0, LOAD_AT, LOAD_AT, size, size, 4096].iter().flat_map(|word: &u64| word.to_le_bytes()));
    elf.extend_from_slice(CODE);
    elf
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::process::Command;

    #[test]
    fn canary_image_runs_and_exits_with_zero() {
        let image = make().unwrap();
        let status = Command::new(format!("/proc/self/fd/{}", image.as_raw_fd())).status();
        // A host may forbid executing memfds (vm.memfd_noexec); then the canary uses a program of the host.
        match status {
            Ok(status) => assert!(status.success(), "{status}"),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EACCES), "{error}"),
        }
    }
}
