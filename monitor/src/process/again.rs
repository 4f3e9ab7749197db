//! Roles anew, when the rules or a worker's profile changed.

use std::collections::HashMap;

use super::model::ProcessRef;
use super::role::{Placing, outsider, take, take_by_fork};
use super::table::ProcessTable;
use crate::profile::RoleId;

impl ProcessTable {
    /// Gives every process its role anew: the rules or a worker's profile changed. `placing` is asked per label, and with
    /// whether the process is one that the worker began with.
    pub fn place_again<'a>(&mut self, mut placing: impl FnMut(u32) -> Option<Placing<'a>>) {
        let mut order: Vec<ProcessRef> = self.iter().map(|(at, _)| at).collect();
        order.sort_unstable();
        let mut by_label: HashMap<u32, Option<Placing<'a>>> = HashMap::new();
        for at in order {
            let Some(process) = self.get(at) else { continue };
            let Some(placing) = *by_label.entry(process.label).or_insert_with_key(|label| placing(*label))
            else {
                continue;
            };
            let creator = process.creator.and_then(|creator| self.get(creator));
            let mut standing = match (creator, process.images.first()) {
                (Some(creator), Some(first)) => creator
                    .images
                    .iter()
                    .rev()
                    .find(|image| image.since <= first.since)
                    .or(creator.images.first())
                    .map(|image| (image.standing, image.author_root)),
                _ => None,
            }
            .or_else(|| {
                // It joined from outside: the fixed role it got then is the same in every set.
                let first = process.images.first()?;
                let role = if first.standing.role == RoleId::OPERATOR || first.standing.role == RoleId::PROBE
                {
                    RoleId::OPERATOR
                } else {
                    RoleId::ENTRY
                };
                Some((outsider(role, first.since), 0))
            });
            let Some(process) = self.get_mut(at) else { continue };
            for image in &mut process.images {
                let Some((before, root)) = standing else { break };
                if image.forked {
                    (image.standing, image.author_root) = (before, root);
                    if let Some(acted) = image.acted
                        && take_by_fork(&placing, &mut image.standing, acted)
                    {
                        image.author_root = image.exec_id;
                    }
                } else {
                    let (after, is_root) = take(&placing, before, image.since, &image.program);
                    image.standing = after;
                    image.author_root = if is_root { image.exec_id } else { root };
                }
                standing = Some((image.standing, image.author_root));
            }
        }
    }
}
