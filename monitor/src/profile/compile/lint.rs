//! What is not wrong but deserves a look: rules that can never match.

use super::Compiler;
use crate::profile::actor::{RoleId, RoleKind};
use crate::profile::doc::On;
use crate::profile::model::{Common, Profile, RoleSpec};

impl Compiler {
    /// Warnings about one profile; detections have been assigned to its roles.
    pub(super) fn lint(&self, profile: &Profile) -> Vec<String> {
        let mut out = Vec::new();
        unreachable_roles(profile, &mut out);
        shadowed_roles(profile, &mut out);
        for role in &profile.roles {
            self.idle_permits(profile, role, &mut out);
            idle_items(profile, role, &mut out);
        }
        out
    }

    /// `permits` that name a detection of another signal, or one that does not look at the role.
    fn idle_permits(&self, profile: &Profile, role: &RoleSpec, out: &mut Vec<String>) {
        let e = &role.expect;
        let sections: [(Vec<&Common>, &[On]); 6] = [
            (e.exec.rules.iter().map(|r| &r.common).collect(), &[On::Exec]),
            (e.identities.rules.iter().map(|r| &r.common).collect(), &[On::Open, On::Unix]),
            (e.connect.rules.iter().map(|r| &r.common).collect(), &[On::Connect]),
            (e.unix.rules.iter().map(|r| &r.common).collect(), &[On::Unix]),
            (e.files.rules.iter().map(|r| &r.common).collect(), &[On::Open]),
            (e.socket.rules.iter().map(|r| &r.common).collect(), &[On::Socket]),
        ];
        for (rules, signals) in sections {
            for common in rules {
                for at in &common.permits {
                    let detection = &self.detections[usize::from(*at)];
                    let looks = role.detections.iter().flatten().any(|(d, _)| d == at);
                    let why = if !signals.contains(&detection.on) {
                        format!("looks at {}", detection.on.word())
                    } else if !looks {
                        format!("does not look at role {}", role.name)
                    } else {
                        continue;
                    };
                    let file = &profile.rule.file;
                    out.push(format!(
                        "{file}:{}: `permits: {}` does nothing: that detection {why}",
                        common.line, detection.id
                    ));
                }
            }
        }
    }
}

/// Items that allow what the same section allows already, and silence nothing.
fn idle_items(profile: &Profile, role: &RoleSpec, out: &mut Vec<String>) {
    fn idle<R>(rules: &[R], broad: impl Fn(&R) -> bool, own: impl Fn(&R) -> (&Common, bool)) -> Vec<u32> {
        let whole = |rule: &R| {
            let common = own(rule).0;
            common.within.is_none() && common.condition.is_none() && common.program.is_empty()
        };
        if !rules.iter().any(|rule| broad(rule) && whole(rule)) {
            return Vec::new();
        }
        let idle = rules.iter().filter(|rule| {
            let (common, leads) = own(rule);
            !broad(rule) && !leads && common.permits.is_empty() && !common.permits_loader
        });
        idle.map(|rule| own(rule).0.line).collect()
    }
    let e = &role.expect;
    let lines = [
        idle(&e.exec.rules, |r| r.any && r.becomes.is_none(), |r| (&r.common, r.becomes.is_some())),
        idle(&e.identities.rules, |r| r.any && !r.own && r.script.is_empty(), |r| (&r.common, false)),
        idle(&e.unix.rules, |r| r.any, |r| (&r.common, false)),
    ];
    for line in lines.into_iter().flatten() {
        out.push(format!(
            "{}:{line}: this item does nothing: another one allows anything to role {} already",
            profile.rule.file, role.name
        ));
    }
}

/// Roles that no chain of parents leads to.
fn unreachable_roles(profile: &Profile, out: &mut Vec<String>) {
    let mut reached: Vec<bool> =
        profile.roles.iter().map(|r| !matches!(r.kind, RoleKind::Named | RoleKind::Author)).collect();
    loop {
        let before = reached.clone();
        for (at, role) in profile.roles.iter().enumerate() {
            let given = role
                .parents
                .iter()
                .any(|p| *p == RoleId::OUTSIDE || before.get(usize::from(p.0)) == Some(&true));
            let forked = || {
                profile
                    .roles
                    .iter()
                    .zip(&before)
                    .any(|(r, reached)| *reached && r.forked.is_some_and(|f| usize::from(f.0) == at))
            };
            if given || forked() || usize::from(profile.entered.0) == at {
                reached[at] = true;
            }
        }
        if reached == before {
            break;
        }
    }
    for (role, reached) in profile.roles.iter().zip(reached) {
        if !reached {
            out.push(format!(
                "{}:{}: role `{}` is never taken: none of its parents is",
                role.rule.file, role.rule.line, role.name
            ));
        }
    }
}

/// Roles recognised just as an earlier one with the same parents.
fn shadowed_roles(profile: &Profile, out: &mut Vec<String>) {
    let named = profile.roles.get(usize::from(RoleId::FIRST_NAMED)..).unwrap_or_default();
    for (at, role) in named.iter().enumerate().filter(|(_, r)| r.by_looks()) {
        let earlier = named[..at].iter().find(|e| {
            e.by_looks()
                && e.image == role.image
                && (e.below_author || !role.below_author)
                && role.parents.iter().all(|p| e.parents.contains(p))
        });
        if let Some(earlier) = earlier {
            out.push(format!(
                "{}:{}: role `{}` is never taken: `{}` before it is recognised by the same",
                role.rule.file, role.rule.line, role.name, earlier.name
            ));
        }
    }
}
