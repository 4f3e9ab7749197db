//! Builds BTF by hand, and tests the reader on it.

use super::raw::{Btf, kind};
use super::{BtfError, attach::Target};

/// BTF under construction. Type ids are given in the order of the calls, from 1.
#[derive(Default)]
struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
    next: u32,
    string_base: u32,
}

impl Builder {
    fn new() -> Self {
        Self { strings: vec![0], next: 1, ..Self::default() }
    }

    /// What a module adds to `base`.
    fn on(base: &Self) -> Self {
        Self { next: base.next, string_base: base.strings.len() as u32, ..Self::default() }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = self.string_base + self.strings.len() as u32;
        self.strings.extend_from_slice(name.as_bytes());
        self.strings.push(0);
        at
    }

    fn push(
        &mut self,
        name: &str,
        kind: u32,
        flag: bool,
        count: usize,
        size_or_type: u32,
        extra: &[u32],
    ) -> u32 {
        let name = self.name(name);
        let info = u32::from(flag) << 31 | kind << 24 | count as u32;
        for word in [name, info, size_or_type].iter().chain(extra) {
            self.types.extend_from_slice(&word.to_le_bytes());
        }
        self.next += 1;
        self.next - 1
    }

    fn int(&mut self, name: &str, size: u32) -> u32 {
        self.push(name, kind::INT, false, 0, size, &[size * 8])
    }

    fn compound(&mut self, name: &str, kind: u32, size: u32, members: &[(&str, u32, u32)]) -> u32 {
        let mut extra = Vec::new();
        for (member, id, bits) in members {
            extra.extend_from_slice(&[self.name(member), *id, *bits]);
        }
        self.push(name, kind, false, members.len(), size, &extra)
    }

    fn bytes(&self) -> Vec<u8> {
        let words = [24, 0, self.types.len() as u32, self.types.len() as u32, self.strings.len() as u32];
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend_from_slice(&self.types);
        bytes.extend_from_slice(&self.strings);
        bytes
    }
}

fn build_sample() -> Builder {
    let mut b = Builder::new();
    let long = b.int("long", 8);
    let ptr = b.push("", kind::PTR, false, 0, 0, &[]);
    let path = b.compound("path", kind::STRUCT, 16, &[("mnt", ptr, 0), ("dentry", ptr, 64)]);
    let konst = b.push("", kind::CONST, false, 0, path, &[]);
    // union { const struct path f_path; struct path __f_path; }, anonymous, as kernels >= 6.12 have it.
    let hidden = b.compound("", kind::UNION, 16, &[("f_path", konst, 0), ("__f_path", path, 0)]);
    let inner = b.compound("", kind::STRUCT, 24, &[("flags", long, 0), ("", hidden, 64)]);
    b.compound("file", kind::STRUCT, 40, &[("count", long, 0), ("", inner, 64), ("ra", long, 256)]);
    let array = b.push("", kind::ARRAY, false, 0, 0, &[path, long, 4]);
    let typedef = b.push("paths_t", kind::TYPEDEF, false, 0, array, &[]);
    b.compound("holder", kind::STRUCT, 72, &[("first", long, 0), ("paths", typedef, 64), ("next", ptr, 576)]);
    let (wide, narrow) = (b.name("wide"), b.name("narrow"));
    b.push("fields", kind::STRUCT, true, 2, 8, &[wide, long, 0, narrow, long, 3 << 24 | 35]);
    let (a, z) = (b.name("FN_a"), b.name("FN_z"));
    b.push("fn_id", kind::ENUM, false, 2, 4, &[a, 1, z, 175]);
    let big = b.name("BIG");
    b.push("big_id", kind::ENUM64, false, 1, 8, &[big, 7, 1]);
    let proto = b.push("", kind::FUNC_PROTO, false, 3, 0, &[0, ptr, 0, ptr, 0, long]);
    let pointer = b.push("", kind::PTR, false, 0, proto, &[]);
    b.push("btf_trace_sched_thing", kind::TYPEDEF, false, 0, pointer, &[]);
    let (data, task, old) = (b.name("__data"), b.name("p"), b.name("old_pid"));
    let named = b.push("", kind::FUNC_PROTO, false, 3, 0, &[data, ptr, task, ptr, old, long]);
    b.push("__traceiter_sched_thing", kind::FUNC, false, 0, named, &[]);
    b.push("security_file_open", kind::FUNC, false, 0, named, &[]);
    b.compound("twice", kind::STRUCT, 8, &[("x", long, 0)]);
    b.compound("twice", kind::STRUCT, 16, &[("x", long, 64), ("y", long, 0)]);
    b
}

/// A small kernel's BTF.
pub(super) fn sample() -> Btf<'static> {
    Btf::parse(&build_sample().bytes()).unwrap()
}

#[test]
fn btf_member_of_anonymous_union_in_anonymous_struct_has_its_offset() {
    let btf = sample();
    assert_eq!(btf.offset("file", "f_path"), Ok(16));
    assert_eq!(btf.offset("file", "f_path.dentry"), Ok(24));
    assert_eq!(btf.offset("file", "__f_path.mnt"), Ok(16));
    assert_eq!(btf.offset("file", "ra"), Ok(32));
}

#[test]
fn btf_member_of_array_behind_typedef_is_that_of_its_first_element() {
    assert_eq!(sample().offset("holder", "paths.dentry"), Ok(16));
}

#[test]
fn btf_path_does_not_follow_a_pointer() {
    let error = sample().offset("holder", "next.mnt").unwrap_err();
    assert_eq!(error, BtfError::NoMember { of: "holder.next".into(), member: "mnt".into() });
}

#[test]
fn btf_bit_field_is_refused_and_a_whole_member_beside_it_is_not() {
    let btf = sample();
    assert_eq!(btf.offset("fields", "wide"), Ok(0));
    assert_eq!(
        btf.offset("fields", "narrow"),
        Err(BtfError::BitField { of: "fields".into(), member: "narrow".into() })
    );
}

#[test]
fn btf_missing_type_and_member_are_named() {
    let btf = sample();
    assert_eq!(btf.offset("nothing", "x").unwrap_err().to_string(), "no struct or union `nothing`");
    assert_eq!(btf.offset("file", "f_nope").unwrap_err().to_string(), "`file` has no member `f_nope`");
}

#[test]
fn btf_types_of_one_name_that_disagree_are_refused_and_that_agree_are_not() {
    let btf = sample();
    assert_eq!(btf.offset("twice", "x"), Err(BtfError::Ambiguous("twice".into())));
    assert_eq!(btf.offset("twice", "y"), Ok(0));
}

#[test]
fn btf_enumerators_and_sizes_are_found() {
    let btf = sample();
    assert_eq!(btf.enumerator("fn_id", "FN_z"), Ok(175));
    assert_eq!(btf.enumerator("big_id", "BIG"), Ok(1 << 32 | 7));
    assert_eq!(btf.size("holder"), Ok(72));
}

#[test]
fn btf_tracepoint_parameters_have_the_names_of_the_iterator() {
    let btf = sample();
    assert_eq!(btf.tracepoint_parameters("sched_thing"), Ok(vec!["p".into(), "old_pid".into()]));
    assert!(btf.tracepoint_parameters("sched_other").is_err());
    assert!(btf.has_function("security_file_open") && !btf.has_function("security_file_close"));
    assert!(btf.has_target(&Target::Tracepoint("sched_thing".into())));
}

#[test]
fn btf_of_a_module_reaches_types_of_its_base() {
    let base = build_sample();
    let mut module = Builder::on(&base);
    let path_id = 3;
    module.compound("ovl_inode", kind::STRUCT, 40, &[("upper", path_id, 128)]);
    let whole = Btf::parse(&base.bytes()).unwrap();
    let split = Btf::parse_split(&module.bytes(), &whole).unwrap();
    assert_eq!(split.offset("ovl_inode", "upper.dentry"), Ok(24));
    assert_eq!(split.offset("file", "ra"), Ok(32));
    assert!(whole.offset("ovl_inode", "upper").is_err());
}

#[test]
fn btf_that_refers_to_itself_ends_in_an_error() {
    let mut b = Builder::new();
    let me = b.next;
    b.compound("me", kind::STRUCT, 8, &[("", me, 0), ("", me, 0), ("", me, 0)]);
    b.push("loop", kind::TYPEDEF, false, 0, me + 1, &[]);
    b.compound("user", kind::STRUCT, 8, &[("x", me + 1, 0)]);
    let btf = Btf::parse(&b.bytes()).unwrap();
    assert!(btf.offset("me", "x").is_err());
    assert!(btf.offset("user", "x.y").is_err());
}

/// Everything a caller can ask, of any bytes: for the property test and the fuzzer's seeds.
fn ask_everything(btf: &Btf<'_>) {
    for name in ["file", "holder", "fields", "twice", "fn_id", "sched_thing", ""] {
        for path in ["f_path.dentry", "paths.dentry", "narrow", "x", ""] {
            let _ = btf.offset(name, path);
        }
        let _ = btf.size(name);
        let _ = btf.enumerator(name, "FN_z");
        let _ = btf.tracepoint_parameters(name);
        let _ = btf.attach_table(&[Target::Function(name.into())]);
    }
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn btf_any_bytes_give_a_result(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(btf) = Btf::parse(&bytes) {
                ask_everything(&btf);
            }
        }

        #[test]
        fn btf_with_changed_words_gives_a_result(
            changes in proptest::collection::vec((0usize..1000, any::<u32>()), 1..6),
            small in proptest::collection::vec((0usize..1000, 0u32..30), 0..4),
            cut in 0usize..64,
        ) {
            let mut bytes = build_sample().bytes();
            for (at, word) in changes.into_iter().chain(small) {
                let at = at * 4 % (bytes.len() - 4);
                bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
            }
            // The magic is of no interest here.
            bytes[..4].copy_from_slice(&[0x9f, 0xeb, 1, 0]);
            bytes.truncate(bytes.len() - cut);
            if let Ok(btf) = Btf::parse(&bytes) {
                ask_everything(&btf);
            }
            let whole = sample();
            if let Ok(split) = Btf::parse_split(&bytes, &whole) {
                ask_everything(&split);
            }
        }

        #[test]
        fn btf_offsets_are_those_the_struct_was_built_with(sizes in proptest::collection::vec(1u32..64, 1..40), anonymous in 0usize..40) {
            let mut b = Builder::new();
            let byte = b.int("char", 1);
            let names: Vec<String> = (0..sizes.len()).map(|at| format!("m{at}")).collect();
            let mut offset = 0;
            let mut expected = Vec::new();
            for size in &sizes {
                expected.push(offset);
                offset += size;
            }
            // The members from `split` on lie in an anonymous struct.
            let split = anonymous % sizes.len();
            let place = |range: std::ops::Range<usize>| -> Vec<(&str, u32, u32)> {
                let start = expected[range.start];
                range.map(|at| (names[at].as_str(), byte, (expected[at] - start) * 8)).collect()
            };
            let tail = place(split..sizes.len());
            let inner = b.compound("", kind::STRUCT, offset - expected[split], &tail);
            let mut members = if split > 0 { place(0..split) } else { Vec::new() };
            members.push(("", inner, expected[split] * 8));
            b.compound("s", kind::STRUCT, offset, &members);
            let btf = Btf::parse(&b.bytes()).unwrap();
            for (name, offset) in names.iter().zip(&expected) {
                prop_assert_eq!(btf.offset("s", name), Ok(*offset));
            }
        }
    }
}
