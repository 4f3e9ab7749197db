//! Is an open of interest? The watched-path filters, in the order of their cost: device and inode, file name, path
//! prefix, names of the last three folders.
//!
//! The answer is a superset: the agent matches the exact pattern. A filter's value says which accesses are of interest.
//! There are two generations of every filter map; `Settings::generation` says which is in force, and each look-up asks
//! anew, so that a run that meets a switch is answered by one or the other, both of them whole.

use monitor_common::filter::{NAME_MAX, SKIP_PARENTS, matched};
use monitor_common::map::{FilterValue, InodeKey};
use monitor_common::record::slice_flags;

use crate::maps::*;
use crate::offsets::OFF_INODE_GENERATION;
use crate::path::{Name, NameKey, Path};
use crate::read::field;

/// Whether the second generation of the filters is in force.
#[inline(always)]
fn second() -> bool {
    SETTINGS.get(0).is_some_and(|settings| settings.generation & 1 == 1)
}

#[inline(always)]
fn wants(value: Option<*const FilterValue>, access: u32) -> bool {
    // SAFETY: a map value; it may change under us, the word is read once.
    value.is_some_and(|value| unsafe { (*value).access } & access != 0)
}

/// Whether this very file is a known secret.
#[inline(always)]
pub fn inode(inode: u64, ino: u64, dev: u32, access: u32) -> bool {
    let key = InodeKey { ino, dev, pad: 0 };
    let value = if second() { FILTER_INODE_1.get_ptr(&key) } else { FILTER_INODE_0.get_ptr(&key) };
    let Some(value) = value else { return false };
    // SAFETY: a map value.
    let known = unsafe { (*value).generation };
    // A file system that reuses inode numbers gives the next owner another generation.
    (known == 0 || field(inode, &OFF_INODE_GENERATION) == Ok(known)) && wants(Some(value), access)
}

/// Which of the text filters let a walked path pass: bits of [`matched`], 0 for none.
#[inline(always)]
pub fn path(path: &Path, access: u32) -> u32 {
    if path.flags() & (slice_flags::CUT | slice_flags::UNREADABLE) != 0 {
        return matched::UNRESOLVED;
    }
    text(path, access, |part| path.name(part))
}

/// The same for a name that was put behind a folder's path.
#[inline(always)]
pub fn name(path: &Path, access: u32) -> u32 {
    text(path, access, |part| path.name_behind(part))
}

#[inline(always)]
fn text(path: &Path, access: u32, part: impl Fn(u32) -> Option<Name>) -> u32 {
    let mut key = NameKey::new();
    if let Some(name) = part(0)
        && !skipped(name, 0)
    {
        key.set(name);
        if wants(name_value(key.bytes()), access) {
            return matched::NAME;
        }
    }
    if prefix(path, 0, access) {
        return matched::PREFIX;
    }
    // A worker may name its files by the view of its own root, below a chroot say.
    let view = path.view();
    if view != 0 && prefix(path, view, access) {
        return matched::PREFIX;
    }
    let mut folder = 1;
    while folder <= 3 {
        let Some(name) = part(folder) else { return 0 };
        if !skipped(name, SKIP_PARENTS) {
            key.set(name);
            if wants(parent_value(key.bytes()), access) {
                return matched::PARENT;
            }
        }
        folder += 1;
    }
    0
}

/// Whether no filter has such a name: four look-ups of long keys are a good part of what an open in a worker costs.
#[inline(always)]
fn skipped(name: Name, table: u32) -> bool {
    let (entry, bit) = name.skip_bit();
    let words = if second() { FILTER_SKIP_1.get(table + entry) } else { FILTER_SKIP_0.get(table + entry) };
    words.is_some_and(|words| words & bit != 0)
}

#[inline(always)]
fn name_value(key: &[u8; NAME_MAX]) -> Option<*const FilterValue> {
    if second() { FILTER_NAME_1.get_ptr(key) } else { FILTER_NAME_0.get_ptr(key) }
}

#[inline(always)]
fn parent_value(key: &[u8; NAME_MAX]) -> Option<*const FilterValue> {
    if second() { FILTER_PARENT_1.get_ptr(key) } else { FILTER_PARENT_0.get_ptr(key) }
}

#[inline(always)]
fn prefix(path: &Path, from: u32, access: u32) -> bool {
    path.prefix(from, |key| {
        let value = if second() { FILTER_PREFIX_1.get(key) } else { FILTER_PREFIX_0.get(key) };
        wants(value.map(core::ptr::from_ref), access)
    })
    // No room for the key's length word: the path fills the whole buffer. Better looked at than missed.
    .unwrap_or(true)
}
