//! The seccomp filter: refuses calls with "not permitted" instead of killing, so that an attempt is an error in the log and not an
//! agent that watches nothing.

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, sock_filter};

use super::calls;

/// Classic BPF (include/uapi/linux/bpf_common.h): load a word of `struct seccomp_data`, jumps, return.
const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
#[cfg(target_arch = "x86_64")]
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;
/// Offsets in `struct seccomp_data` (include/uapi/linux/seccomp.h).
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
/// `AUDIT_ARCH_X86_64`, `AUDIT_ARCH_AARCH64` (include/uapi/linux/audit.h).
#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;
/// `__X32_SYSCALL_BIT` (arch/x86/include/uapi/asm/unistd.h): the third set of system calls of x86.
#[cfg(target_arch = "x86_64")]
const X32: u32 = 0x4000_0000;

/// Puts the filter in force for all threads there are and all that will be; also sets no_new_privs.
pub(super) fn install() -> Result<(), String> {
    let program = program().map_err(|error| error.to_string())?;
    seccompiler::apply_filter_all_threads(&program).map_err(|error| error.to_string())
}

/// Whether this kernel can refuse calls (kernel/seccomp.c, `seccomp_actions_avail`).
pub(super) fn is_available() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail")
        .is_ok_and(|actions| actions.split_whitespace().any(|action| action == "errno"))
}

fn program() -> Result<BpfProgram, seccompiler::Error> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let refuse = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let listed: BpfProgram =
        SeccompFilter::new(calls::refused()?, SeccompAction::Allow, refuse.clone(), arch)?.try_into()?;
    let mut program = prologue(refuse.into());
    program.extend(listed);
    Ok(program)
}

/// What the list cannot say: other sets of system calls are refused as a whole, as their numbers mean other calls; and
/// clone3(2), whose flags lie in memory, is said not to be there, so that the C library takes clone(2).
fn prologue(refuse: u32) -> BpfProgram {
    let step = |code, k| sock_filter { code, jt: 0, jf: 0, k };
    let jump = |code, k, jt, jf| sock_filter { code, jt, jf, k };
    let absent = SeccompAction::Errno(libc::ENOSYS.cast_unsigned()).into();
    vec![
        step(LOAD, ARCH),
        jump(JUMP_IF_EQUAL, NATIVE, 1, 0),
        step(RETURN, refuse),
        step(LOAD, NUMBER),
        #[cfg(target_arch = "x86_64")]
        jump(JUMP_IF_AT_LEAST, X32, 0, 1),
        #[cfg(target_arch = "x86_64")]
        step(RETURN, refuse),
        jump(JUMP_IF_EQUAL, libc::SYS_clone3 as u32, 0, 1),
        step(RETURN, absent),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a call gives in a thread that has the filter: its result, or the error's number.
    fn filtered(call: impl FnOnce() -> i64 + Send + 'static) -> Result<i64, i32> {
        let thread = std::thread::spawn(move || {
            // This thread's only.
            seccompiler::apply_filter(&program().unwrap()).unwrap();
            let result = call();
            if result == -1 {
                Err(std::io::Error::last_os_error().raw_os_error().unwrap())
            } else {
                Ok(result)
            }
        });
        thread.join().unwrap()
    }

    fn call(number: libc::c_long, arguments: [libc::c_long; 3]) -> Result<i64, i32> {
        // SAFETY: the calls of these tests take numbers, or pointers that are null.
        filtered(move || unsafe { libc::syscall(number, arguments[0], arguments[1], arguments[2], 0, 0, 0) })
    }

    #[test]
    fn every_listed_call_is_refused_with_not_permitted() {
        let listed: Vec<i64> = calls::refused()
            .unwrap()
            .into_iter()
            .filter(|(_, when)| when.is_empty())
            .map(|(call, _)| call)
            .collect();
        assert!(listed.len() > 40);
        for number in listed {
            // Without the filter these would fail otherwise: pointers are null and descriptors are none.
            assert_eq!(call(number, [-1, 0, 0]), Err(libc::EPERM), "call {number}");
        }
    }

    #[test]
    fn bpf_commands_on_maps_stay_and_others_are_refused() {
        // No attributes: the kernel says so, or that it is not permitted at all, of those that pass.
        let root = nix::unistd::geteuid().is_root();
        for kept in [1, 2, 3, 4, 15] {
            let passed = call(libc::SYS_bpf, [kept, 0, 0]).unwrap_err();
            assert!(passed != libc::EPERM || !root, "command {kept}");
        }
        // BPF_MAP_CREATE, BPF_PROG_LOAD, BPF_PROG_ATTACH, BPF_MAP_GET_FD_BY_ID, and one that is not yet.
        for command in [0, 5, 8, 14, 99] {
            assert_eq!(call(libc::SYS_bpf, [command, 0, 0]), Err(libc::EPERM), "command {command}");
        }
    }

    #[test]
    fn sockets_of_the_kept_kinds_only() {
        let stream = libc::SOCK_STREAM.into();
        for family in [libc::AF_UNIX, libc::AF_INET] {
            let socket = call(libc::SYS_socket, [family.into(), stream, 0]).unwrap();
            // SAFETY: it was just opened.
            unsafe { libc::close(socket as i32) };
        }
        for family in [libc::AF_ALG, libc::AF_VSOCK, libc::AF_PACKET] {
            assert_eq!(
                call(libc::SYS_socket, [family.into(), libc::SOCK_SEQPACKET.into(), 0]),
                Err(libc::EPERM)
            );
        }
    }

    #[test]
    fn clock_can_still_be_asked() {
        // SAFETY: all-zero is a valid timex (modes 0: read only); the call fills it in.
        let state = filtered(|| unsafe {
            let mut timex: libc::timex = std::mem::zeroed();
            libc::adjtimex(&raw mut timex).into()
        });
        assert!(state.is_ok(), "{state:?}");
    }

    #[test]
    fn threads_can_be_started_and_namespaces_cannot() {
        assert_eq!(filtered(|| std::thread::spawn(|| 7).join().unwrap()), Ok(7));
        let flags = libc::CLONE_NEWUSER | libc::SIGCHLD;
        assert_eq!(call(libc::SYS_clone, [flags.into(), 0, 0]), Err(libc::EPERM));
        assert_eq!(call(libc::SYS_clone3, [0, 0, 0]), Err(libc::ENOSYS));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn other_sets_of_system_calls_are_refused_whatever_the_call() {
        // getpid(2) of x32.
        assert_eq!(call(0x4000_0000 + libc::SYS_getpid, [0, 0, 0]), Err(libc::EPERM));
        // getpid(2) of 32-bit programs; a kernel without them kills, so ask in a child.
        let gave = filtered(|| {
            // SAFETY: the child makes two system calls and ends.
            unsafe {
                let child = libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as i32;
                if child == 0 {
                    let result: i64;
                    std::arch::asm!("int 0x80", inlateout("rax") 20_i64 => result, options(nostack));
                    libc::_exit(if result as i32 == -libc::EPERM { 0 } else { 1 });
                }
                let mut status = 0;
                libc::waitpid(child, &raw mut status, 0);
                i64::from(status)
            }
        });
        // Killed by SIGSEGV: the kernel has no such calls.
        assert!(gave == Ok(0) || gave == Ok(libc::SIGSEGV.into()), "{gave:?}");
    }
}
