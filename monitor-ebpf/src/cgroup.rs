//! Cgroups of the v2 hierarchy, from kernel structures.

use crate::offsets::{
    OFF_CGROUP_KN, OFF_CGROUP_ROOT, OFF_CGROUP_SELF_PARENT, OFF_CSS_CGROUP, OFF_CSS_SET_DFL, OFF_KN_ID,
    OFF_TASK_CGROUPS,
};
use crate::read::{field, or_zero};
use crate::subject;

/// Id of a `struct cgroup`: what `bpf_get_current_cgroup_id` returns for its tasks.
#[inline(always)]
pub fn id(cgroup: u64) -> Result<u64, i32> {
    let node = field::<u64>(cgroup, &OFF_CGROUP_KN)?;
    field(node, &OFF_KN_ID)
}

/// The `css_set` of a task, 0 if unreadable: tasks with the same one are in the same cgroups.
#[inline(always)]
pub fn set_of(task: u64) -> u64 {
    or_zero(task, &OFF_TASK_CGROUPS)
}

/// Id of the cgroup of a `css_set` in the v2 hierarchy; 0 if unreadable.
#[inline(always)]
pub fn id_of_set(set: u64) -> u64 {
    or_zero(or_zero(or_zero(set, &OFF_CSS_SET_DFL), &OFF_CGROUP_KN), &OFF_KN_ID)
}

/// Whether a `struct cgroup` is of the v2 hierarchy: its root is that of the current task's default cgroup. Ids are per
/// hierarchy (both roots have id 1), so events of v1 hierarchies must not be taken.
#[inline(always)]
pub fn is_v2(cgroup: u64) -> Result<bool, i32> {
    let own = field::<u64>(set_of(subject::task()), &OFF_CSS_SET_DFL)?;
    Ok(field::<u64>(own, &OFF_CGROUP_ROOT)? == field::<u64>(cgroup, &OFF_CGROUP_ROOT)?)
}

/// Id of the parent of a `struct cgroup`.
#[inline(always)]
pub fn parent_id(cgroup: u64) -> Result<u64, i32> {
    let css = field::<u64>(cgroup, &OFF_CGROUP_SELF_PARENT)?;
    id(field(css, &OFF_CSS_CGROUP)?)
}
