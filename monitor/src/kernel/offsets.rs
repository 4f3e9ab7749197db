//! Resolves the table of kernel fields ([`OFFSETS`]) from the running kernel's BTF.
//!
//! There are no defaults: what BTF does not have is `ABSENT` when the probes cope without it, and otherwise a reason to refuse the
//! programs of its group.

use monitor_common::offset::{ABSENT, Ask, Group, OFFSETS, OffsetSpec};

use super::btf::{Btf, BtfError};

/// The table's answers on one kernel.
#[derive(Debug)]
pub(crate) struct Offsets {
    /// Global's name and value, one per row of the table.
    values: Vec<(&'static str, u32)>,
    missing: Vec<(Group, String)>,
}

impl Offsets {
    /// Resolves the whole table.
    pub(crate) fn resolve(btf: &Btf<'_>) -> Self {
        let mut offsets = Self { values: Vec::with_capacity(OFFSETS.len()), missing: Vec::new() };
        for spec in OFFSETS {
            let value = match answer(btf, spec) {
                Ok(value) => value,
                Err(reason) => {
                    if !spec.optional {
                        offsets.missing.push((spec.group, reason.to_string()));
                    }
                    ABSENT
                }
            };
            offsets.values.push((spec.symbol, value));
        }
        offsets
    }

    /// The globals to set.
    pub(crate) fn values(&self) -> &[(&'static str, u32)] {
        &self.values
    }

    /// Whether a program at the end of a system call can ask for its arguments (the probes' `registers::known`).
    pub(crate) fn arguments_at_exit(&self) -> bool {
        let has = |symbol| self.values.iter().any(|(name, value)| *name == symbol && *value != ABSENT);
        let (x86, arm) =
            (["OFF_REGS_DI", "OFF_REGS_SI", "OFF_REGS_DX"], ["OFF_REGS_REGS", "OFF_REGS_ORIG_X0"]);
        has("ENUM_FUNC_TASK_PT_REGS") && (x86.into_iter().all(has) || arm.into_iter().all(has))
    }

    /// Why programs of a group cannot run on this kernel; `None` if they can.
    pub(crate) fn missing(&self, group: Group) -> Option<String> {
        let of_group = self.missing.iter().filter(|(of, _)| *of == group || *of == Group::Core);
        let reasons: Vec<&str> = of_group.map(|(_, reason)| reason.as_str()).collect();
        (!reasons.is_empty()).then(|| format!("the kernel's BTF has {}", reasons.join(", ")))
    }
}

fn answer(btf: &Btf<'_>, spec: &OffsetSpec) -> Result<u32, BtfError> {
    match spec.ask {
        Ask::Offset(of, path) => btf.offset(of, path),
        Ask::Size(of) => btf.size(of),
        // No enumerator the probes ask for is as large as ABSENT.
        Ask::Enum(of, name) => btf.enumerator(of, name).map(|value| u32::try_from(value).unwrap_or(ABSENT)),
        Ask::TracepointArgs(name) => btf.tracepoint_parameters(name).map(|names| names.len() as u32),
        Ask::TracepointArg(name, parameter) => {
            let names = btf.tracepoint_parameters(name)?;
            let place = names.iter().position(|found| found == parameter);
            place
                .map(|at| at as u32)
                .ok_or_else(|| BtfError::NoMember { of: name.into(), member: parameter.into() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_kernel_without_the_types_refuses_every_group_and_assumes_nothing() {
        let empty = Btf::parse(&[&[0x9f, 0xeb, 1, 0][..], &[24, 0, 0, 0], &[0; 16]].concat()).unwrap();
        let offsets = Offsets::resolve(&empty);
        assert!(offsets.values().iter().all(|(_, value)| *value == ABSENT));
        let reason = offsets.missing(Group::Open).unwrap();
        assert!(reason.contains("no struct or union `task_struct`"), "{reason}");
    }

    /// Runs where the kernel has BTF; a kernel without is refused at start.
    #[test]
    fn offsets_of_the_running_kernel_resolve_in_full() {
        let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else { return };
        let offsets = Offsets::resolve(&Btf::parse(&bytes).unwrap());
        assert_eq!(offsets.missing, []);
        assert_eq!(offsets.values().len(), OFFSETS.len());
    }
}
