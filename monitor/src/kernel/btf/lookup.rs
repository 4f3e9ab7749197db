//! Answers questions about types.

use super::BtfError;
use super::raw::{Btf, Type, kind};

/// Anonymous members within anonymous members, and modifiers upon modifiers, that are followed.
const DEPTH: u32 = 32;
/// Members looked at for one name; the largest kernel struct has a few hundred.
const MEMBERS_MAX: u32 = 1 << 16;

impl Btf<'_> {
    /// Byte offset of a member path (`f_path.dentry`) in a struct or union. Anonymous members are descended; an array stands for
    /// its first element; a pointer is not followed.
    pub fn offset(&self, of: &str, path: &str) -> Result<u32, BtfError> {
        self.unanimous("struct or union", of, &[kind::STRUCT, kind::UNION], |id| self.path(id, of, path))
    }

    /// Size in bytes of a struct or union.
    pub fn size(&self, of: &str) -> Result<u32, BtfError> {
        self.unanimous("struct or union", of, &[kind::STRUCT, kind::UNION], |id| {
            Ok(self.get(id)?.1.size_or_type)
        })
    }

    /// Value of an enumerator. It may be looked for in any enum (`of` empty), as many kernel enums have no name.
    pub fn enumerator(&self, of: &str, name: &str) -> Result<u64, BtfError> {
        self.unanimous("enum", of, &[kind::ENUM, kind::ENUM64], |id| {
            let (owner, found) = self.get(id)?;
            let words = if found.kind == kind::ENUM64 { 3 } else { 2 };
            for index in 0..found.count {
                if self.string(owner.extra(&found, index, words, 0)?) == name.as_bytes() {
                    let low = owner.extra(&found, index, words, 1)?;
                    return Ok(match (found.kind, found.flag) {
                        (kind::ENUM64, _) => {
                            u64::from(owner.extra(&found, index, words, 2)?) << 32 | u64::from(low)
                        }
                        (_, true) => i64::from(low as i32) as u64,
                        _ => u64::from(low),
                    });
                }
            }
            Err(BtfError::NoMember { of: of.into(), member: name.into() })
        })
    }

    /// Names of the parameters of a BTF-typed tracepoint, without the leading context one.
    ///
    /// The typedef `btf_trace_NAME` says whether there is such a tracepoint, but its prototype has no names; the iterator function
    /// `__traceiter_NAME` (kernels >= 5.10, include/linux/tracepoint.h) has the same parameters with theirs.
    pub fn tracepoint_parameters(&self, name: &str) -> Result<Vec<String>, BtfError> {
        let typedef = format!("btf_trace_{name}");
        let none = || BtfError::NoType { what: "tracepoint", name: name.into() };
        let (pointer, _) = self.named(typedef.as_bytes(), &[kind::TYPEDEF]).next().ok_or_else(none)?;
        let of_typedef = self.parameters(self.get(self.get(pointer)?.1.size_or_type)?.1.size_or_type)?;
        for function in [format!("__traceiter_{name}"), format!("__bpf_trace_{name}")] {
            if let Some((_, found)) = self.named(function.as_bytes(), &[kind::FUNC]).next() {
                let named = self.parameters(found.size_or_type)?;
                if named.len() == of_typedef.len() {
                    return Ok(named);
                }
            }
        }
        Ok(of_typedef)
    }

    /// Whether there is a function of this name (an fentry target).
    pub fn has_function(&self, name: &str) -> bool {
        self.named(name.as_bytes(), &[kind::FUNC]).next().is_some()
    }

    fn parameters(&self, prototype: u32) -> Result<Vec<String>, BtfError> {
        let (owner, found) = self.get(prototype)?;
        if found.kind != kind::FUNC_PROTO {
            return Err(BtfError::Reference(prototype));
        }
        let name =
            |index| Ok(String::from_utf8_lossy(self.string(owner.extra(&found, index, 2, 0)?)).into_owned());
        (1..found.count).map(name).collect()
    }

    /// Asks every type of that name; they must give one answer. Types that have none do not count, unless none has.
    fn unanimous<T: PartialEq>(
        &self,
        what: &'static str,
        name: &str,
        kinds: &[u32],
        ask: impl Fn(u32) -> Result<T, BtfError>,
    ) -> Result<T, BtfError> {
        let mut answer = None;
        let mut error = BtfError::NoType { what, name: name.into() };
        for (id, _) in self.named(name.as_bytes(), kinds) {
            match ask(id) {
                Ok(found) if answer.as_ref().is_some_and(|known| *known != found) => {
                    return Err(BtfError::Ambiguous(name.into()));
                }
                Ok(found) => answer = Some(found),
                Err(reason) => error = reason,
            }
        }
        answer.ok_or(error)
    }

    fn path(&self, id: u32, of: &str, path: &str) -> Result<u32, BtfError> {
        let mut id = id;
        let mut bits = 0u32;
        let mut walked = of.to_owned();
        for name in path.split('.') {
            let no_member = || BtfError::NoMember { of: walked.clone(), member: name.into() };
            let (owner_id, _) = self.compound(id)?.ok_or_else(no_member)?;
            let mut budget = MEMBERS_MAX;
            let found = self.member(owner_id, name.as_bytes(), DEPTH, &mut budget)?.ok_or_else(no_member)?;
            if found.bits % 8 != 0 || found.is_bit_field {
                return Err(BtfError::BitField { of: walked, member: name.into() });
            }
            bits = bits.checked_add(found.bits).ok_or(BtfError::Bounds("a member"))?;
            id = found.id;
            walked = format!("{walked}.{name}");
        }
        Ok(bits / 8)
    }

    /// The struct or union behind typedefs, modifiers and arrays; `None` if it is something else.
    fn compound(&self, mut id: u32) -> Result<Option<(u32, Type)>, BtfError> {
        for _ in 0..DEPTH {
            let (owner, found) = self.get(id)?;
            id = match found.kind {
                kind::STRUCT | kind::UNION => return Ok(Some((id, found))),
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    found.size_or_type
                }
                kind::ARRAY => owner.extra(&found, 0, 3, 0)?,
                _ => return Ok(None),
            };
            if id == 0 {
                return Ok(None);
            }
        }
        Err(BtfError::Reference(id))
    }

    fn member(&self, of: u32, name: &[u8], depth: u32, budget: &mut u32) -> Result<Option<Member>, BtfError> {
        let Some(depth) = depth.checked_sub(1) else { return Err(BtfError::Reference(of)) };
        let (owner, found) = self.get(of)?;
        for index in 0..found.count {
            *budget = budget.checked_sub(1).ok_or(BtfError::Reference(of))?;
            let member_name = self.string(owner.extra(&found, index, 3, 0)?);
            let id = owner.extra(&found, index, 3, 1)?;
            let place = owner.extra(&found, index, 3, 2)?;
            // kind_flag: the upper byte is the width of a bit field.
            let (bits, width) = if found.flag { (place & 0x00ff_ffff, place >> 24) } else { (place, 0) };
            if member_name == name {
                return Ok(Some(Member { id, bits, is_bit_field: width != 0 }));
            }
            if member_name.is_empty()
                && let Some((inner, _)) = self.compound(id)?
                && let Some(within) = self.member(inner, name, depth, budget)?
            {
                let bits = bits.checked_add(within.bits).ok_or(BtfError::Bounds("a member"))?;
                return Ok(Some(Member { bits, ..within }));
            }
        }
        Ok(None)
    }
}

struct Member {
    id: u32,
    bits: u32,
    is_bit_field: bool,
}
