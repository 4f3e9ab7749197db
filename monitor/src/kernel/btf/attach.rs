//! The table of ids by which the BPF library attaches.
//!
//! `BPF_PROG_LOAD` takes the id of the function or tracepoint typedef in the kernel's BTF. The library finds it by name in a
//! parsed table; given the whole of vmlinux that costs 10 MB and most of the start-up budget. A table of the same length in
//! which only the wanted types have names gives the same ids.

use aya::Endianness;

use super::BtfError;
use super::raw::{Btf, kind};

/// A type a program attaches by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A kernel function (fentry; `bpf_lsm_NAME` for LSM).
    Function(String),
    /// The typedef `btf_trace_NAME` of a BTF-typed tracepoint.
    Tracepoint(String),
}

impl Btf<'_> {
    /// Whether the kernel has the target.
    pub fn has_target(&self, target: &Target) -> bool {
        self.target_id(target).is_some()
    }

    /// A table with the ids of those targets that exist.
    pub fn attach_table(&self, targets: &[Target]) -> Result<aya::Btf, BtfError> {
        aya::Btf::parse(&self.attach_bytes(targets), Endianness::Little)
            .map_err(|_| BtfError::Bounds("the attach table"))
    }

    fn attach_bytes(&self, targets: &[Target]) -> Vec<u8> {
        let count = self.end_id().saturating_sub(1) as usize;
        let mut strings = vec![0u8];
        let mut types = vec![0u8; count * 12];
        for record in types.as_chunks_mut::<12>().0 {
            record[4..8].copy_from_slice(&(kind::FWD << 24).to_le_bytes());
        }
        for target in targets {
            let Some(id) = self.target_id(target) else { continue };
            let Some(record) = types.as_chunks_mut::<12>().0.get_mut(id as usize - 1) else { continue };
            record[..4].copy_from_slice(&(strings.len() as u32).to_le_bytes());
            record[4..8].copy_from_slice(&(target.kind() << 24).to_le_bytes());
            strings.extend_from_slice(target.type_name().as_bytes());
            strings.push(0);
        }
        let words = [24, 0, types.len() as u32, types.len() as u32, strings.len() as u32];
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend_from_slice(&types);
        bytes.extend_from_slice(&strings);
        bytes
    }

    fn target_id(&self, target: &Target) -> Option<u32> {
        self.named(target.type_name().as_bytes(), &[target.kind()]).next().map(|(id, _)| id)
    }
}

impl Target {
    fn kind(&self) -> u32 {
        match self {
            Self::Function(_) => kind::FUNC,
            Self::Tracepoint(_) => kind::TYPEDEF,
        }
    }

    fn type_name(&self) -> String {
        match self {
            Self::Function(name) => name.clone(),
            Self::Tracepoint(name) => format!("btf_trace_{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Independent of the library's own look-up: the table must name the type at the id the whole BTF has it at.
    #[test]
    fn attach_table_keeps_the_ids_of_the_whole() {
        let whole = super::super::testing::sample();
        let targets =
            [Target::Function("security_file_open".into()), Target::Tracepoint("sched_thing".into())];
        let slim = Btf::parse(&whole.attach_bytes(&targets)).unwrap();
        for target in &targets {
            assert!(whole.has_target(target));
            assert_eq!(slim.target_id(target), whole.target_id(target));
        }
        assert_eq!(slim.end_id(), whole.end_id());
        assert!(whole.attach_table(&targets).is_ok());
    }

    #[test]
    fn attach_table_leaves_out_what_the_kernel_lacks() {
        let whole = super::super::testing::sample();
        let target = Target::Function("no_such_function".into());
        assert!(!whole.has_target(&target));
        let slim = Btf::parse(&whole.attach_bytes(std::slice::from_ref(&target))).unwrap();
        assert!(!slim.has_target(&target));
    }
}
