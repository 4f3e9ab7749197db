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
