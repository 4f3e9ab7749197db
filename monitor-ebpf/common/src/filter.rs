//! The watched-path filter's keys and tests, the same on both sides.
//!
//! The kernel's answer is a superset: it says "may be of interest"; the agent matches the exact pattern.

/// Accesses of an open.
pub mod access {
    /// Opened for reading.
    pub const READ: u32 = 1;
    /// Opened for writing, truncating or creating.
    pub const WRITE: u32 = 2;
    /// `O_PATH`: a handle that neither reads nor writes.
    pub const PATH: u32 = 4;
    /// Any of them.
    pub const ANY: u32 = 7;
}

/// Which filter let an open pass.
pub mod matched {
    /// Device and inode of a known secret.
    pub const INODE: u32 = 1;
    /// Literal path prefix.
    pub const PREFIX: u32 = 2;
    /// File name.
    pub const NAME: u32 = 4;
    /// Name of one of the last three parent folders.
    pub const PARENT: u32 = 8;
    /// The path could not be resolved or was cut: sent so that it is judged.
    pub const UNRESOLVED: u32 = 16;
    /// Reached through a mount of another mount namespace.
    pub const FOREIGN: u32 = 32;
}

/// Longest prefix an LPM key holds, bytes (kernel/bpf/lpm_trie.c: `LPM_DATA_SIZE_MAX`).
pub const PREFIX_MAX: usize = 256;
/// Longest file or folder name a filter key holds, bytes; longer names are cut to this by both sides.
pub const NAME_MAX: usize = 64;

/// Access bits of `open(2)` flags (`O_ACCMODE`, `O_TRUNC`, `O_CREAT`, `O_PATH`); values of the x86-64 and arm64 ABI.
pub const fn access_of_flags(flags: u32) -> u32 {
    const O_PATH: u32 = 0o10_000_000;
    const O_TRUNC: u32 = 0o1000;
    if flags & O_PATH != 0 {
        return access::PATH;
    }
    let mut bits = match flags & 3 {
        0 => access::READ,
        1 => access::WRITE,
        _ => access::READ | access::WRITE,
    };
    if flags & O_TRUNC != 0 {
        bits |= access::WRITE;
    }
    bits
}

/// A name as a filter key: the bytes, cut to [`NAME_MAX`], padded with zeros.
pub fn name_key(name: &[u8]) -> [u8; NAME_MAX] {
    let mut key = [0; NAME_MAX];
    for (to, from) in key.iter_mut().zip(name) {
        *to = *from;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn access_of_o_path_is_neither_read_nor_write() {
        assert_eq!(access_of_flags(0o10_000_000 | 2), access::PATH);
    }

    #[test]
    fn access_of_truncating_read_is_also_a_write() {
        assert_eq!(access_of_flags(0o1000), access::READ | access::WRITE);
    }

    proptest! {
        #[test]
        fn name_key_is_injective_up_to_the_cut(a in proptest::collection::vec(1u8.., 0..80), b in proptest::collection::vec(1u8.., 0..80)) {
            let cut = |v: &[u8]| v[..v.len().min(NAME_MAX)].to_vec();
            prop_assert_eq!(name_key(&a) == name_key(&b), cut(&a) == cut(&b));
        }
    }
}
