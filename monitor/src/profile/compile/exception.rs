//! Exceptions: one allow item for one role of one profile in some workers, until a day.

use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::role::OUTSIDE;
use super::section::RoleAt;
use super::{Compiler, Placed, is_name};
use crate::profile::actor::RoleId;
use crate::profile::doc::{At, ExceptionDoc, ProfileDoc, WhatDoc};
use crate::profile::error::{Place, suggest};
use crate::profile::model::{Common, Exception, Expect};
use crate::profile::pattern::Globs;

/// What stands where somebody has to write.
pub(crate) const FILL_IN: &str = "FILL IN";

impl Compiler {
    pub(super) fn compile_exceptions(
        &mut self,
        parts: &[Placed<ExceptionDoc>],
        profiles: &[Placed<ProfileDoc>],
    ) {
        for part in parts {
            let Ok(number) = u16::try_from(self.exceptions.len()) else {
                self.errors.push(part.place.error("there are more than 65,535 exceptions", "leave some out"));
                return;
            };
            self.compile_exception(part, profiles, number);
        }
    }

    fn compile_exception(
        &mut self,
        part: &Placed<ExceptionDoc>,
        profiles: &[Placed<ProfileDoc>],
        number: u16,
    ) {
        let doc = &part.doc;
        let filled = [
            ("worker", &doc.worker),
            ("owner", &doc.owner),
            ("reason", &doc.reason),
            ("expires", &doc.expires),
        ]
        .into_iter()
        .filter(|(key, text)| self.unfilled(part, key, text))
        .count()
            == 0;
        let until = if filled { self.until(part, &doc.expires) } else { 0 };
        let worker_place = part.at(doc.worker.line, doc.worker.column);
        let by_cgroup = doc.worker.value.starts_with('/');
        let pattern = [&doc.worker.value];
        let worker = if by_cgroup { Globs::paths(pattern) } else { Globs::flat(pattern) };
        let worker = self.take(&worker_place, worker);
        let found = self.profiles.iter().position(|p| *p.name == *doc.profile.value);
        let Some(at) = found else {
            let known: Vec<&str> = self.profiles.iter().map(|p| &*p.name).collect();
            let fix = suggest(&doc.profile.value, known);
            let place = part.at(doc.profile.line, doc.profile.column);
            return self
                .errors
                .push(place.error(format!("there is no profile `{}`", doc.profile.value), fix));
        };
        let names = (0..).zip(&self.profiles[at].roles).map(|(id, r)| (r.name.clone(), RoleId(id))).collect();
        let role_place = part.at(doc.role.line, doc.role.column);
        let role = self.resolve(&role_place, "role", std::slice::from_ref(&doc.role.value), &names);
        let Some(role) =
            role.first().copied().filter(|_| is_name(&doc.role.value) && doc.role.value != OUTSIDE)
        else {
            return;
        };
        let none = Default::default();
        let facts = profiles.iter().find(|p| p.doc.name.value == doc.profile.value).map(|p| &p.doc.facts);
        let spec = &self.profiles[at].roles[usize::from(role.0)];
        let (name, kind, rule) = (spec.name.clone(), spec.kind, part.rule());
        let role_at = RoleAt {
            profile: &doc.profile.value,
            name: &name,
            kind,
            names: &names,
            facts: facts.unwrap_or(&none),
            rule: rule.clone(),
        };
        let place = part.at(doc.what.line, doc.what.column);
        let mut compiled = std::mem::take(&mut self.profiles);
        let profile = &mut compiled[at];
        let expect = &mut profile.roles[usize::from(role.0)].expect;
        let said = self.add_item(expect, &role_at, &place, &doc.what, number);
        let pinned = expect.exec.excepted.last().filter(|(n, r)| *n == number && r.image.pinned);
        profile.pinned.extend(pinned.map(|(_, rule)| rule.image.program.clone()));
        self.profiles = compiled;
        self.exceptions.push(Exception {
            id: doc.id.value.as_str().into(),
            worker,
            by_cgroup,
            profile: doc.profile.value.as_str().into(),
            role: Arc::from(&*name),
            words: said,
            owner: doc.owner.value.clone(),
            reason: doc.reason.value.clone(),
            expires: doc.expires.value.clone(),
            until,
            rule,
        });
    }

    /// Whether a text was left empty or as it came from an alert.
    fn unfilled(&mut self, part: &Placed<ExceptionDoc>, key: &str, text: &At<String>) -> bool {
        let wrong = text.value.trim().is_empty() || text.value.to_uppercase().contains(FILL_IN);
        if wrong {
            self.errors.push(part.at(text.line, text.column).error(
                format!("exception `{}`: `{key}` is not filled in", part.doc.id.value),
                match key {
                    "owner" => "write who answers for it",
                    "expires" => "write the last day it holds, as in 2027-03-31",
                    "worker" => "write a glob for the workers' names, or for their cgroup paths",
                    _ => "write why it is there",
                },
            ));
        }
        wrong
    }

    /// The end of the last day, seconds since the epoch.
    fn until(&mut self, part: &Placed<ExceptionDoc>, expires: &At<String>) -> u64 {
        let end = expires
            .value
            .parse::<Date>()
            .and_then(|date| date.tomorrow())
            .and_then(|date| date.to_zoned_datetime(TimeZone::UTC))
            .map(|end| u64::try_from(end.timestamp().as_second()).unwrap_or(0));
        end.unwrap_or_else(|_| {
            self.errors.push(
                part.at(expires.line, expires.column)
                    .error(format!("`{}` is not a day", expires.value), "write it as in 2027-03-31"),
            );
            0
        })
    }

    /// Adds the item to what the role may do; what it says in words.
    fn add_item(
        &mut self,
        expect: &mut Expect,
        role: &RoleAt<'_>,
        place: &Place,
        what: &At<WhatDoc>,
        number: u16,
    ) -> String {
        let doc = &what.value;
        let given = [
            doc.exec.is_some(),
            doc.identities.is_some(),
            doc.connect.is_some(),
            doc.unix.is_some(),
            doc.files.is_some(),
            doc.socket.is_some(),
        ];
        if given.iter().filter(|g| **g).count() != 1 {
            self.errors.push(place.error(
                "`what` has to say one thing",
                "give one of exec, identities, connect, unix, files, socket, with one allow item",
            ));
            return String::new();
        }
        let broad = doc.exec.as_ref().is_some_and(|i| i.any || i.becomes.is_some())
            || doc.identities.as_ref().is_some_and(|i| i.any)
            || doc.unix.as_ref().is_some_and(|i| i.any);
        if broad {
            self.errors.push(place.error(
                "an exception names what it allows: `any` and `becomes` belong into profiles",
                "write exactly what the worker does",
            ));
            return String::new();
        }
        if let Some(item) = &doc.exec {
            let rule = self.exec_rule(role, place, item);
            keep(&mut expect.exec.excepted, number, rule, |r| &r.common, "execute")
        } else if let Some(item) = &doc.identities {
            let rule = self.identity_rule(role, place, item);
            keep(&mut expect.identities.excepted, number, rule, |r| &r.common, "use")
        } else if let Some(item) = &doc.connect {
            let rule = self.connect_rule(role, place, item);
            keep(&mut expect.connect.excepted, number, rule, |r| &r.common, "connect to")
        } else if let Some(item) = &doc.unix {
            let rule = self.unix_rule(role, place, item);
            keep(&mut expect.unix.excepted, number, rule, |r| &r.common, "connect to the socket")
        } else if let Some(item) = &doc.files {
            let rule = self.file_rule(role, place, item);
            keep(&mut expect.files.excepted, number, rule, |r| &r.common, "open")
        } else if let Some(item) = &doc.socket {
            let rule = self.socket_rule(role, place, item);
            keep(&mut expect.socket.excepted, number, rule, |r| &r.common, "create sockets of")
        } else {
            String::new()
        }
    }
}

fn keep<R>(all: &mut Vec<(u16, R)>, number: u16, rule: R, common: fn(&R) -> &Common, verb: &str) -> String {
    let words = format!("{verb} {}", common(&rule).words);
    all.push((number, rule));
    words
}
