//! The running kernel's type information (BTF): where a field lies, how large a struct is, what an enumerator is worth.
//!
//! A reader of its own, because the BPF library's keeps 10 MB and offers no member look-up. Bytes in, `Result` out, no panic
//! (fuzzed: `monitor/fuzz`). `raw` finds the types in the bytes, `lookup` answers questions about them, `attach` makes the small
//! table of ids that the BPF library needs to attach by name. Format: Documentation/bpf/btf.rst of the kernel.

mod attach;
mod lookup;
mod raw;
#[cfg(test)]
mod testing;

pub use attach::Target;
pub use raw::Btf;

/// Why BTF could not be read, or a question about it has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// Not BTF, or of another byte order.
    #[error("not BTF, or of another byte order (magic {0:#06x})")]
    Magic(u16),
    /// A version of the format this reader does not know.
    #[error("BTF format version {0} is not known")]
    Version(u8),
    /// A length or offset points outside the data.
    #[error("BTF is cut or corrupt: {0} lies outside the data")]
    Bounds(&'static str),
    /// A type kind this reader does not know; the types after it cannot be found.
    #[error("type {id} has kind {kind}, which is not known")]
    Kind {
        /// Its id.
        id: u32,
        /// The kind.
        kind: u32,
    },
    /// More types than ids.
    #[error("more than {0} types")]
    TooMany(u32),
    /// A type refers to one that does not exist, or to itself.
    #[error("type {0} is missing or refers to itself")]
    Reference(u32),
    /// There is no such type.
    #[error("no {what} `{name}`")]
    NoType {
        /// Kind of type.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The type has no such member.
    #[error("`{of}` has no member `{member}`")]
    NoMember {
        /// Struct or path up to the member.
        of: String,
        /// The member.
        member: String,
    },
    /// The member does not start at a byte.
    #[error("`{of}.{member}` is a bit field")]
    BitField {
        /// Struct or path up to the member.
        of: String,
        /// The member.
        member: String,
    },
    /// Several types of that name disagree.
    #[error("several types named `{0}` disagree")]
    Ambiguous(String),
}
