//! Preallocated hash maps for kernels before 6.1.
//!
//! There a map without preallocation takes memory from the kernel's allocator in the middle of a probe: the kernel warns
//! about it in its log, because a probe may have interrupted that very allocator (kernel/bpf/verifier.c,
//! `check_map_prog_compatibility`, "run-time allocation"). From 6.1 on hash maps have an allocator of their own
//! (kernel/bpf/memalloc.c) and memory follows use. The flag stands in the object's map definitions: it is cleared there,
//! before the object is loaded.

use object::{Object as _, ObjectSection as _};

use super::error::KernelError;

/// Section of the map definitions.
const SECTION: &str = "maps";
/// Size of one definition: type, key size, value size, entries, flags, id, pinning (`struct bpf_map_def` of aya).
const DEFINITION: usize = 28;
/// Offset of the flags.
const FLAGS: usize = 16;
/// `BPF_MAP_TYPE_HASH`, `BPF_MAP_TYPE_PERCPU_HASH`; a prefix trie cannot be preallocated and need not be.
const HASHES: [u32; 2] = [1, 5];
/// `BPF_F_NO_PREALLOC`.
const NO_PREALLOC: u32 = 1;

/// The object with every hash map preallocated.
pub(crate) fn preallocated(bytes: &[u8]) -> Result<Vec<u8>, KernelError> {
    let mismatch = |reason: &str| KernelError::ObjectMismatch { reason: reason.into() };
    let file = object::File::parse(bytes).map_err(|error| mismatch(&format!("no object file: {error}")))?;
    let section = file.section_by_name(SECTION).ok_or_else(|| mismatch("no section of maps"))?;
    let (start, len) = section.file_range().ok_or_else(|| mismatch("the section of maps is empty"))?;
    let mut copy = bytes.to_vec();
    let range = usize::try_from(start).ok().zip(usize::try_from(start.saturating_add(len)).ok());
    let definitions = range
        .and_then(|(from, to)| copy.get_mut(from..to))
        .ok_or_else(|| mismatch("the section of maps is cut"))?;
    for definition in definitions.chunks_exact_mut(DEFINITION) {
        if HASHES.contains(&word(definition, 0)) {
            let flags = word(definition, FLAGS) & !NO_PREALLOC;
            definition[FLAGS..FLAGS + 4].copy_from_slice(&flags.to_le_bytes());
        }
    }
    Ok(copy)
}

fn word(definition: &[u8], at: usize) -> u32 {
    definition[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::super::object::{Variant, object};
    use super::*;

    /// Types and flags of the definitions of an object.
    fn definitions(bytes: &[u8]) -> Vec<(u32, u32)> {
        let file = object::File::parse(bytes).unwrap();
        let data = file.section_by_name(SECTION).unwrap().data().unwrap();
        assert_eq!(data.len() % DEFINITION, 0);
        data.chunks_exact(DEFINITION).map(|def| (word(def, 0), word(def, FLAGS))).collect()
    }

    #[test]
    fn preallocated_clears_the_flag_of_hash_maps_and_of_nothing_else() {
        // Lint-only builds have no object.
        let Some(bytes) = object(Variant::Plain) else { return };
        let before = definitions(bytes);
        let after = definitions(&preallocated(bytes).unwrap());
        assert!(before.iter().any(|(kind, flags)| HASHES.contains(kind) && flags & NO_PREALLOC != 0));
        for ((kind, flags), (same, now)) in before.iter().zip(&after) {
            assert_eq!(kind, same);
            assert_eq!(*now, if HASHES.contains(kind) { flags & !NO_PREALLOC } else { *flags });
        }
        assert_eq!(before.len(), after.len());
    }

    #[test]
    fn preallocated_refuses_what_is_no_object() {
        assert!(preallocated(b"not an ELF file").is_err());
        assert!(preallocated(&[]).is_err());
    }
}
