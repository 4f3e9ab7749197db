//! The watched-path filter's keys and tests, the same on both sides.
//!
//! The kernel's answer is a superset: it says "may be of interest"; the agent matches the exact pattern.

use crate::record::mount_rel;

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
    /// An open by name alone (failed, or by io_uring) whose name has `.`, `..` or empty parts, or is too long to look
    /// through: the kernel does not resolve it, the agent has to before it matches.
    pub const DOTS: u32 = 64;
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

/// Inode number of the mount namespace that detached mounts share on kernels that give it one
/// (`MNT_NS_ANON_INO`, include/linux/ns/nstree_types.h of 6.18); before, its number is 0.
const ANONYMOUS_NS: u32 = 0xEFFF_FFF7;

/// How an opened file's mount relates to the task that opened it ([`crate::record::mount_rel`]).
///
/// `task_ns` and `file_ns` are inode numbers of mount namespaces, 0 if there is none; `outside_root` says that the walk
/// up from the file never passed the task's root directory.
pub const fn mount_relation(task_ns: u32, file_ns: u32, outside_root: bool) -> u32 {
    if file_ns == 0 || file_ns == ANONYMOUS_NS {
        return mount_rel::NONE;
    }
    if task_ns == 0 {
        // A task that is exiting has no namespaces any more.
        return mount_rel::UNKNOWN;
    }
    if task_ns != file_ns {
        return mount_rel::FOREIGN;
    }
    if outside_root { mount_rel::OWN_OUTSIDE_ROOT } else { mount_rel::OWN }
}

/// Components of a name that [`Tail`] notes (a power of two): the file and its last three folders.
pub const TAIL_PARTS: usize = 4;
/// Longest name given as text that is looked through, bytes with its NUL; of a longer one nothing is concluded.
pub const TAIL_MAX: u32 = 128;

/// Where a look at a name's bytes, from the last to the first, stands.
///
/// Feed [`Tail::byte`] with the positions `end - 1`, `end - 2`, … down to 0; a component counts once the `/` before it is
/// seen, so a relative name is given with one in front. A probe runs this in a bounded loop: a step has no branches, for
/// each would be a path of its own to the verifier, times the length of the loop.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// End (exclusive) of the component being looked at.
    pub end: u32,
    /// Components found, up to [`TAIL_PARTS`].
    pub parts: u32,
    /// 1 if the component being looked at has a byte that is not a dot.
    pub solid: u32,
    /// 1 if some component is empty, `.` or `..`: the text names no place by itself.
    pub dots: u32,
}

/// Start and end (exclusive) of each component, the last first; the second half takes what is no component.
pub type Spans = [[u32; 2]; 2 * TAIL_PARTS];

impl Tail {
    /// Nothing looked at yet of a name that ends at `end`.
    pub const fn new(end: u32) -> Self {
        Self { end, parts: 0, solid: 0, dots: 0 }
    }

    /// Looks at the byte at `position`: the state after it, and the span to be put at which index of [`Spans`].
    ///
    /// `hide` returns its argument; it is there to keep a compiler from making branches of what is computed here.
    #[inline(always)]
    pub fn byte(self, position: u32, byte: u8, hide: impl Fn(u32) -> u32) -> (Self, usize, [u32; 2]) {
        const LAST: u32 = TAIL_PARTS as u32 - 1;
        // 1 for 0, else 0; 1 if a < b. For values below 2^31.
        let is_zero = |value: u32| hide(value.wrapping_sub(1) >> 31);
        let below = |a: u32, b: u32| hide(a.wrapping_sub(b) >> 31);
        let slash = is_zero(byte as u32 ^ b'/' as u32);
        let dot = is_zero(byte as u32 ^ b'.' as u32);
        let start = position.wrapping_add(1);
        // Length 0, 1 or 2, and nothing but dots.
        let short = below(self.end.wrapping_sub(start), 3);
        let noted = slash & below(self.parts, TAIL_PARTS as u32);
        let index = (self.parts & LAST) | ((noted ^ 1) * TAIL_PARTS as u32);
        let mask = slash.wrapping_neg();
        let after = Self {
            end: (self.end & !mask) | (position & mask),
            parts: self.parts.wrapping_add(noted),
            solid: (self.solid | (dot ^ 1)) & !mask,
            dots: self.dots | (slash & short & (self.solid ^ 1)),
        };
        (after, index as usize, [start, self.end])
    }
}

/// Entries of a skip table: for file names, then as many for parent folders.
pub const SKIP_ENTRIES: u32 = 128;
/// First entry for parent folders.
pub const SKIP_PARENTS: u32 = SKIP_ENTRIES / 2;

/// Where a skip table says that no filter has a name like this one: entry (for a file name; [`SKIP_PARENTS`] more for a
/// folder) and bit. A set bit spares the look-up; it is clear for everything until the agent has filled the table.
///
/// `first` is the name's first byte, `len` its length.
pub const fn skip_bit(first: u8, len: u64) -> (u32, u64) {
    let len = if len > 63 { 63 } else { len };
    (first as u32 & (SKIP_PARENTS - 1), 1 << len)
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

    #[test]
    fn mount_relation_of_own_and_foreign_and_no_namespace() {
        assert_eq!(mount_relation(7, 7, false), mount_rel::OWN);
        assert_eq!(mount_relation(7, 7, true), mount_rel::OWN_OUTSIDE_ROOT);
        assert_eq!(mount_relation(7, 8, true), mount_rel::FOREIGN);
        assert_eq!(mount_relation(7, 0, true), mount_rel::NONE, "pipes and memfds are in no namespace");
        assert_eq!(mount_relation(7, ANONYMOUS_NS, true), mount_rel::NONE, "nor are detached mounts");
        assert_eq!(mount_relation(0, 8, false), mount_rel::UNKNOWN);
    }

    fn look_at(name: &[u8]) -> (Tail, Spans) {
        let (mut tail, mut spans) = (Tail::new(name.len() as u32), Spans::default());
        for (position, byte) in name.iter().enumerate().rev() {
            let (after, index, span) = tail.byte(position as u32, *byte, core::convert::identity);
            (tail, spans[index]) = (after, span);
        }
        (tail, spans)
    }

    fn tail_of(name: &[u8]) -> Tail {
        look_at(name).0
    }

    fn parts(name: &[u8]) -> std::vec::Vec<&[u8]> {
        let (tail, spans) = look_at(name);
        spans[..tail.parts as usize]
            .iter()
            .map(|[start, end]| &name[*start as usize..*end as usize])
            .collect()
    }

    #[test]
    fn tail_gives_the_file_and_three_folders_of_a_long_name() {
        assert_eq!(parts(b"/a/bb/c.c/.ssh/id"), [&b"id"[..], b".ssh", b"c.c", b"bb"]);
    }

    #[test]
    fn tail_marks_names_that_the_text_does_not_resolve() {
        for name in [&b"/../x"[..], b"/a/./b", b"/a//b", b"/a/", b"/..", b"/x/..", b"/", b"/.", b"//x"] {
            assert_eq!(tail_of(name).dots, 1, "{}", name.escape_ascii());
        }
        for name in [&b"/..."[..], b"/..x", b"/.ssh/a.", b"/a/b", b"/.a", b"/a..", b"/.../x"] {
            assert_eq!(tail_of(name).dots, 0, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn skip_bit_tells_names_by_first_byte_and_length_and_stays_in_the_table() {
        assert_ne!(skip_bit(b'a', 3), skip_bit(b'b', 3));
        assert_ne!(skip_bit(b'a', 3), skip_bit(b'a', 4));
        assert_eq!(skip_bit(b'a', 63), skip_bit(b'a', 200), "long names share a bit");
        assert!((0..=255).all(|first| skip_bit(first, 1).0 < SKIP_PARENTS));
    }

    proptest! {
        #[test]
        fn tail_agrees_with_splitting_the_whole_name(name in "/[a./]{0,40}") {
            let bytes = name.as_bytes();
            let mut expected: std::vec::Vec<&[u8]> = name[1..].split('/').map(str::as_bytes).collect();
            expected.reverse();
            let dots = expected.iter().any(|part| matches!(*part, b"" | b"." | b".."));
            expected.truncate(TAIL_PARTS);
            prop_assert_eq!(parts(bytes), expected);
            prop_assert_eq!(tail_of(bytes).dots == 1, dots);
        }

        #[test]
        fn name_key_is_injective_up_to_the_cut(a in proptest::collection::vec(1u8.., 0..80), b in proptest::collection::vec(1u8.., 0..80)) {
            let cut = |v: &[u8]| v[..v.len().min(NAME_MAX)].to_vec();
            prop_assert_eq!(name_key(&a) == name_key(&b), cut(&a) == cut(&b));
        }
    }
}
