//! One way to load, attach and unload for each kind of program.

use std::any::Any;
use std::fs::File;

use aya::programs::{CgroupAttachMode, Program, ProgramError};
use monitor_common::program::Attach;

use super::btf::Target;

/// Has the kernel verify and load a program.
pub(crate) fn load_program(
    program: &mut Program,
    attach: Attach,
    table: &aya::Btf,
) -> Result<(), ProgramError> {
    match (attach, program) {
        (Attach::Lsm(hook), Program::Lsm(program)) => program.load(hook, table),
        (Attach::Fentry(function), Program::FEntry(program)) => program.load(function, table),
        (Attach::TpBtf(name), Program::BtfTracePoint(program)) => program.load(name, table),
        (Attach::Kprobe(_), Program::KProbe(program)) => program.load(),
        (Attach::RawTp(_), Program::RawTracePoint(program)) => program.load(),
        (Attach::Tracepoint(..), Program::TracePoint(program)) => program.load(),
        (Attach::CgroupSockAddr, Program::CgroupSockAddr(program)) => program.load(),
        (Attach::CgroupSock, Program::CgroupSock(program)) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// Keeps a program attached for as long as it lives.
pub(crate) type Link = Box<dyn Any + Send>;

/// Attaches a loaded program; `cgroup` is the cgroup2 root.
pub(crate) fn attach_program(
    program: &mut Program,
    attach: Attach,
    cgroup: Option<&File>,
) -> Result<Link, ProgramError> {
    // Link attachments take no flags (6.18: EINVAL with any) and are multi by nature (kernel/bpf/cgroup.c, `cgroup_bpf_link_attach`).
    const MODE: CgroupAttachMode = CgroupAttachMode::Single;
    // The link is taken out: the library's program goes once the ladder is closed.
    macro_rules! attached {
        ($program:ident $(, $argument:expr)*) => {{
            let link = $program.attach($($argument),*)?;
            Ok(Box::new($program.take_link(link)?))
        }};
    }
    let root = || cgroup.ok_or(ProgramError::NotAttached);
    match (attach, program) {
        (Attach::Lsm(_), Program::Lsm(program)) => attached!(program),
        (Attach::Fentry(_), Program::FEntry(program)) => attached!(program),
        (Attach::TpBtf(_), Program::BtfTracePoint(program)) => attached!(program),
        (Attach::Kprobe(function), Program::KProbe(program)) => attached!(program, function, 0),
        (Attach::RawTp(name), Program::RawTracePoint(program)) => attached!(program, name),
        (Attach::Tracepoint(category, name), Program::TracePoint(program)) => {
            attached!(program, category, name)
        }
        (Attach::CgroupSockAddr, Program::CgroupSockAddr(program)) => attached!(program, root()?, MODE),
        (Attach::CgroupSock, Program::CgroupSock(program)) => attached!(program, root()?, MODE),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// Unloads a program; that it was not loaded is no error worth a word.
pub(crate) fn unload(program: &mut Program) {
    let _ = match program {
        Program::Lsm(program) => program.unload(),
        Program::FEntry(program) => program.unload(),
        Program::BtfTracePoint(program) => program.unload(),
        Program::KProbe(program) => program.unload(),
        Program::RawTracePoint(program) => program.unload(),
        Program::TracePoint(program) => program.unload(),
        Program::CgroupSockAddr(program) => program.unload(),
        Program::CgroupSock(program) => program.unload(),
        _ => Ok(()),
    };
}

/// The function or typedef by whose id a program attaches, for the kinds that do.
pub(crate) fn target(attach: Attach) -> Option<Target> {
    match attach {
        Attach::Lsm(hook) => Some(Target::Function(format!("bpf_lsm_{hook}"))),
        Attach::Fentry(function) => Some(Target::Function(function.into())),
        Attach::TpBtf(name) => Some(Target::Tracepoint(name.into())),
        _ => None,
    }
}

/// A target in words.
pub(crate) fn describe(target: &Target) -> String {
    match target {
        Target::Function(name) => format!("function {name} to attach to"),
        Target::Tracepoint(name) => format!("tracepoint {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monitor_common::program::PROGRAMS;

    #[test]
    fn dispatch_every_program_of_the_table_has_a_known_way_to_attach() {
        for (_, spec) in PROGRAMS {
            let by_id = matches!(spec.attach, Attach::Lsm(_) | Attach::Fentry(_) | Attach::TpBtf(_));
            assert_eq!(target(spec.attach).is_some(), by_id, "{}", spec.name);
        }
    }
}
