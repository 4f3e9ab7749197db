//! Finds the types in the bytes.

use super::BtfError;

const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
/// `BTF_MAX_TYPE`: ids are 20 bits wide (include/uapi/linux/btf.h).
const MAX_TYPES: u32 = 0x000f_ffff;

pub(super) mod kind {
    pub(crate) const INT: u32 = 1;
    pub(crate) const PTR: u32 = 2;
    pub(crate) const ARRAY: u32 = 3;
    pub(crate) const STRUCT: u32 = 4;
    pub(crate) const UNION: u32 = 5;
    pub(crate) const ENUM: u32 = 6;
    pub(crate) const FWD: u32 = 7;
    pub(crate) const TYPEDEF: u32 = 8;
    pub(crate) const VOLATILE: u32 = 9;
    pub(crate) const CONST: u32 = 10;
    pub(crate) const RESTRICT: u32 = 11;
    pub(crate) const FUNC: u32 = 12;
    pub(crate) const FUNC_PROTO: u32 = 13;
    pub(crate) const VAR: u32 = 14;
    pub(crate) const DATASEC: u32 = 15;
    pub(crate) const FLOAT: u32 = 16;
    pub(crate) const DECL_TAG: u32 = 17;
    pub(crate) const TYPE_TAG: u32 = 18;
    pub(crate) const ENUM64: u32 = 19;
}

/// Type information: a whole (vmlinux), or what a module adds to one.
#[derive(Debug)]
pub struct Btf<'base> {
    base: Option<&'base Btf<'base>>,
    types: Vec<u8>,
    strings: Vec<u8>,
    first_id: u32,
    first_string: u32,
    /// Where type `first_id + i` begins in `types`.
    starts: Vec<u32>,
    /// `hash << 32 | id` of every named type that look-ups ask for, sorted.
    names: Vec<u64>,
}

/// A type's fixed part, and where what follows it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Type {
    pub(super) name: u32,
    pub(super) kind: u32,
    pub(super) flag: bool,
    /// Number of members, enumerators or parameters.
    pub(super) count: u32,
    /// Size in bytes, or the id of the type referred to.
    pub(super) size_or_type: u32,
    extra: usize,
}

impl Btf<'static> {
    /// Reads `/sys/kernel/btf/vmlinux` or the like.
    pub fn parse(bytes: &[u8]) -> Result<Self, BtfError> {
        build(bytes, None)
    }
}

impl<'base> Btf<'base> {
    /// Reads what a module adds (`/sys/kernel/btf/overlay`): its ids and string offsets go on where the base's end.
    pub fn parse_split(bytes: &[u8], base: &'base Btf<'base>) -> Result<Self, BtfError> {
        build(bytes, Some(base))
    }

    /// One more than the highest id.
    pub(super) fn end_id(&self) -> u32 {
        self.first_id.saturating_add(self.starts.len() as u32)
    }

    /// The type with this id; 0 (void) is no type.
    pub(super) fn get(&self, id: u32) -> Result<(&Btf<'base>, Type), BtfError> {
        if id < self.first_id {
            return match self.base {
                Some(base) => base.get(id).map(|(owner, found)| (owner as &Btf<'base>, found)),
                None => Err(BtfError::Reference(id)),
            };
        }
        let start = self.starts.get((id - self.first_id) as usize).ok_or(BtfError::Reference(id))?;
        Ok((self, read_type(&self.types, *start as usize)?))
    }

    /// A word of what follows a type's fixed part: `record` (member, enumerator, …) times `words` plus `word`.
    pub(super) fn extra(&self, of: &Type, record: u32, words: usize, word: usize) -> Result<u32, BtfError> {
        let at = of.extra + (record as usize * words + word) * 4;
        word_at(&self.types, at).ok_or(BtfError::Bounds("a member"))
    }

    /// The string at an offset; out of bounds reads as empty.
    pub(super) fn string(&self, offset: u32) -> &[u8] {
        if offset < self.first_string {
            return self.base.map_or(&[], |base| base.string(offset));
        }
        let tail = self.strings.get((offset - self.first_string) as usize..).unwrap_or_default();
        tail.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// Ids of the types of this name whose kind is one of `kinds`: this part's first, then the base's.
    pub(super) fn named<'a>(
        &'a self,
        name: &'a [u8],
        kinds: &'a [u32],
    ) -> impl Iterator<Item = (u32, Type)> + 'a {
        let hash = u64::from(hash(name)) << 32;
        let from = self.names.partition_point(|entry| *entry < hash);
        let own = self.names[from..]
            .iter()
            .take_while(move |entry| **entry & !0xffff_ffff == hash)
            .filter_map(|entry| Some((*entry as u32, self.get(*entry as u32).ok()?.1)))
            .filter(move |(_, found)| kinds.contains(&found.kind) && self.string(found.name) == name);
        let base: Box<dyn Iterator<Item = (u32, Type)> + 'a> = match self.base {
            Some(base) => Box::new(base.named(name, kinds)),
            None => Box::new(std::iter::empty()),
        };
        own.chain(base)
    }
}

fn build<'base>(bytes: &[u8], base: Option<&'base Btf<'base>>) -> Result<Btf<'base>, BtfError> {
    let magic = bytes.get(..2).map_or(0, |magic| u16::from_le_bytes([magic[0], magic[1]]));
    if magic != MAGIC {
        return Err(BtfError::Magic(magic));
    }
    match bytes.get(2) {
        Some(&VERSION) => {}
        version => return Err(BtfError::Version(version.copied().unwrap_or_default())),
    }
    let header = |at| word_at(bytes, at).map(|word| word as usize).ok_or(BtfError::Bounds("the header"));
    let header_len = header(4)?;
    let section = |offset: usize, len: usize, what| {
        let start = header_len.checked_add(offset).ok_or(BtfError::Bounds(what))?;
        let end = start.checked_add(len).ok_or(BtfError::Bounds(what))?;
        bytes.get(start..end).ok_or(BtfError::Bounds(what))
    };
    let mut btf = Btf {
        types: section(header(8)?, header(12)?, "the type section")?.to_vec(),
        strings: section(header(16)?, header(20)?, "the string section")?.to_vec(),
        first_id: base.map_or(1, Btf::end_id),
        first_string: base.map_or(0, |base| base.first_string.saturating_add(base.strings.len() as u32)),
        base,
        starts: Vec::new(),
        names: Vec::new(),
    };
    btf.starts = starts(&btf.types, btf.first_id)?;
    btf.names = names(&btf)?;
    Ok(btf)
}

fn starts(types: &[u8], first_id: u32) -> Result<Vec<u32>, BtfError> {
    let mut starts = Vec::with_capacity(types.len() / 32);
    let mut at = 0;
    while at < types.len() {
        let id = first_id.saturating_add(starts.len() as u32);
        if id > MAX_TYPES {
            return Err(BtfError::TooMany(MAX_TYPES));
        }
        let found = read_type(types, at)?;
        let count = found.count as usize;
        let extra = match found.kind {
            kind::INT | kind::VAR | kind::DECL_TAG => 4,
            kind::ARRAY => 12,
            kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => count * 12,
            kind::ENUM | kind::FUNC_PROTO => count * 8,
            kind::PTR
            | kind::FWD
            | kind::TYPEDEF
            | kind::VOLATILE
            | kind::CONST
            | kind::RESTRICT
            | kind::FUNC
            | kind::FLOAT
            | kind::TYPE_TAG => 0,
            kind => return Err(BtfError::Kind { id, kind }),
        };
        starts.push(at as u32);
        at = found.extra + extra;
        if at > types.len() {
            return Err(BtfError::Bounds("the last type"));
        }
    }
    Ok(starts)
}

fn names(btf: &Btf<'_>) -> Result<Vec<u64>, BtfError> {
    let mut names = Vec::with_capacity(btf.starts.len() / 2);
    for (index, start) in btf.starts.iter().enumerate() {
        let found = read_type(&btf.types, *start as usize)?;
        let asked_for = matches!(
            found.kind,
            kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64 | kind::TYPEDEF | kind::FUNC
        );
        if asked_for && found.name != 0 {
            let id = btf.first_id + index as u32;
            names.push(u64::from(hash(btf.string(found.name))) << 32 | u64::from(id));
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn read_type(types: &[u8], at: usize) -> Result<Type, BtfError> {
    let word = |n: usize| word_at(types, at + n * 4).ok_or(BtfError::Bounds("a type"));
    let info = word(1)?;
    Ok(Type {
        name: word(0)?,
        kind: info >> 24 & 0x1f,
        flag: info >> 31 != 0,
        count: info & 0xffff,
        size_or_type: word(2)?,
        extra: at + 12,
    })
}

fn word_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
}

/// FNV-1a: short names, no adversary (a collision costs one comparison).
fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
