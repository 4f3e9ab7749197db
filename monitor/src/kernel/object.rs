//! The BPF objects this agent was built with.

/// Which of the two builds of the probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Plain per-CPU counters: for kernels below 5.13, whose verifier refuses fetch-and-add (5.12) or pointers to functions
    /// (5.13).
    Plain,
    /// Sequence numbers and counters by fetch-and-add: from 5.13, where another task's run may interrupt a
    /// probe on its own CPU.
    Atomics,
}

/// The object, as an ELF file; `None` if the agent was built without probes (`SANDWATCH_SKIP_BPF=1`).
pub fn object(variant: Variant) -> Option<&'static [u8]> {
    let bytes = match variant {
        Variant::Plain => aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/probes-plain.o")),
        Variant::Atomics => aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/probes-atomics.o")),
    };
    if bytes.is_empty() { None } else { Some(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `BPF_STX | BPF_ATOMIC | BPF_DW`, and the operations in its immediate (include/uapi/linux/bpf.h).
    const ATOMIC: u8 = 0xdb;
    const ADD: i32 = 0;
    const FETCH_ADD: i32 = 1;
    /// `BPF_LD | BPF_IMM | BPF_DW`: two instructions long.
    const LOAD_WIDE: u8 = 0x18;

    fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
        let mut word = [0; 8];
        word[..N].copy_from_slice(&bytes[at..at + N]);
        u64::from_le_bytes(word)
    }

    /// Operations of all atomic instructions in the executable sections of a 64-bit ELF file.
    fn atomics(elf: &[u8]) -> Vec<i32> {
        const EXECUTABLE: u64 = 4;
        let (table, size, count) =
            (number::<8>(elf, 40) as usize, number::<2>(elf, 58) as usize, number::<2>(elf, 60) as usize);
        let mut found = Vec::new();
        for section in (0..count).map(|index| table + index * size) {
            if number::<8>(elf, section + 8) & EXECUTABLE == 0 {
                continue;
            }
            let (start, len) =
                (number::<8>(elf, section + 24) as usize, number::<8>(elf, section + 32) as usize);
            let mut code = elf[start..start + len].chunks_exact(8);
            while let Some(instruction) = code.next() {
                match instruction[0] {
                    LOAD_WIDE => drop(code.next()),
                    ATOMIC => found.push(number::<4>(instruction, 4) as i32),
                    _ => {}
                }
            }
        }
        found
    }

    /// With relaxed ordering the compiler emits `ADD` and hands out a wrong old value: every sequence number would be 1.
    #[test]
    fn object_atomics_counts_by_fetch_and_add_only() {
        let Some(elf) = object(Variant::Atomics) else { return };
        let found = atomics(elf);
        assert!(found.len() > 20, "only {} atomic instructions", found.len());
        assert!(found.iter().all(|operation| *operation == FETCH_ADD), "{found:?}");
    }

    #[test]
    fn object_plain_has_no_atomic_instruction_that_old_kernels_refuse() {
        let Some(elf) = object(Variant::Plain) else { return };
        assert!(atomics(elf).iter().all(|operation| *operation == ADD));
    }
}
