//! The running kernel's type information (BTF): where a field lies, how large a struct is, what an enumerator is worth.
//!
//! A reader of its own, because the BPF library's keeps 10 MB and offers no member look-up. Bytes in, `Result` out, no panic.

/// Why BTF could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// Not BTF, or of another byte order.
    #[error("not BTF (bad magic)")]
    Magic,
}
