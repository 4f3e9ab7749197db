//! Detections.

use std::sync::Arc;

use super::{BUILT_IN_ROLES, Compiler, DETECTIONS_MAX, Placed};
use crate::profile::doc::{At, DetectionDoc, MatchDoc, On, OneOrMany, ProcFile};
use crate::profile::error::Place;
use crate::profile::finding::RuleRef;
use crate::profile::model::{Detection, Family, Match, RoleWords, access_bits};
use crate::profile::pattern::{
    ArgvAny, ArgvPattern, Glob, Globs, Programs, braces, parse_networks, parse_ports,
};
use monitor_common::filter::access;

/// File names of a [`ProcFile`] in /proc/PID; none for those told by their folder.
pub(super) const fn proc_names(file: ProcFile) -> &'static [&'static str] {
    match file {
        ProcFile::Environ => &["environ"],
        ProcFile::Mem => &["mem"],
        ProcFile::Maps => &["maps", "smaps", "smaps_rollup", "numa_maps"],
        ProcFile::Cmdline => &["cmdline"],
        ProcFile::Root => &["root"],
        ProcFile::Cwd => &["cwd"],
        ProcFile::Other => &["auxv", "stack", "syscall", "personality", "wchan"],
        ProcFile::Fd => &[],
    }
}

impl Compiler {
    pub(super) fn compile_detections(&mut self, parts: &[Placed<DetectionDoc>]) {
        for part in parts {
            let doc = &part.doc;
            let at =
                match u16::try_from(self.detections.len()) {
                    Ok(at) if usize::from(at) < DETECTIONS_MAX => at,
                    _ => {
                        self.errors.push(part.place.error(
                            format!("there are more than {DETECTIONS_MAX} detections"),
                            "leave some out",
                        ));
                        return;
                    }
                };
            self.check_roles(part, &doc.roles);
            self.check_keys(part);
            let matches = self.compile_match(part, at);
            let id: Arc<str> = doc.id.value.as_str().into();
            self.detection_ids.insert(id.clone(), at);
            self.detections.push(Detection {
                id,
                title: doc.title.as_str().into(),
                on: doc.on,
                tier: doc.tier,
                after: doc.after,
                roles: RoleWords { words: doc.roles.value.iter().map(|w| w.as_str().into()).collect() },
                matches,
                paths: doc.matches.value.path.value.0.clone(),
                refs: doc.refs.clone(),
                respond: doc.respond.clone(),
                rule: part.rule(),
            });
        }
    }

    fn check_roles(&mut self, part: &Placed<DetectionDoc>, roles: &At<OneOrMany<String>>) {
        for word in roles.value.iter() {
            if !super::is_name(word) {
                self.errors.push(part.at(roles.line, roles.column).error(
                    format!("`{word}` is not a role name"),
                    crate::profile::error::suggest(word, BUILT_IN_ROLES),
                ));
            }
        }
    }

    /// Keys of other signals, and detections that ask nothing.
    fn check_keys(&mut self, part: &Placed<DetectionDoc>) {
        let on = part.doc.on;
        let m = &part.doc.matches.value;
        let exec: &[On] = &[On::Exec];
        let given: [(&str, bool, &[On]); 21] = [
            ("program", !m.program.value.is_empty(), exec),
            ("not_program", !m.not_program.value.is_empty(), exec),
            ("argv", m.argv.is_some(), exec),
            ("argv_any", !m.argv_any.value.is_empty(), exec),
            ("stdio", !m.stdio.value.is_empty(), exec),
            ("home", !m.home.value.is_empty(), exec),
            ("gains_privilege", m.gains_privilege.is_some(), exec),
            ("loader_env", m.loader_env.is_some(), exec),
            ("path", !m.path.value.is_empty(), &[On::Open, On::Unix]),
            ("not_path", !m.not_path.value.is_empty(), &[On::Open, On::Unix]),
            ("access", m.access.is_some(), &[On::Open]),
            ("mount", !m.mount.value.is_empty(), &[On::Open]),
            ("proc", !m.proc.value.is_empty(), &[On::Open]),
            ("of", !m.of.value.is_empty(), &[On::Open]),
            ("identity", !m.identity.value.is_empty(), &[On::Open, On::Unix]),
            ("class", !m.class.value.is_empty(), &[On::Open, On::Unix]),
            ("to", !m.to.value.is_empty(), &[On::Connect]),
            ("scope", !m.scope.value.is_empty(), &[On::Connect]),
            ("address", !m.address.value.is_empty(), &[On::Connect]),
            ("endpoint", !m.endpoint.value.is_empty(), &[On::Connect]),
            ("family", !m.family.value.is_empty(), &[On::Socket]),
        ];
        let place = part.at(part.doc.matches.line, part.doc.matches.column);
        for (key, present, signals) in given {
            if present && !signals.contains(&on) {
                let valid: Vec<&str> =
                    given.iter().filter(|(_, _, s)| s.contains(&on)).map(|(k, _, _)| *k).collect();
                self.errors.push(place.error(
                    format!("`{key}` says nothing about `on: {}`", on.word()),
                    format!("keys there: {}", valid.join(", ")),
                ));
            }
        }
        if m.to_worker.is_some() && on != On::CgroupMove {
            self.errors.push(place.error(format!("`to_worker` says nothing about `on: {}`", on.word()), ""));
        }
        let telling = given
            .iter()
            .any(|(key, present, _)| *present && !matches!(*key, "access" | "not_path" | "not_program"));
        if !telling && !matches!(on, On::CgroupMove | On::Socket) {
            self.errors.push(place.error(
                format!("detection `{}` matches every {} event", part.doc.id.value, on.word()),
                "say under `match` what makes it a sign of escape",
            ));
        }
        if !m.of.value.is_empty() && m.proc.value.is_empty() && m.path.value.is_empty() {
            self.errors.push(
                place.error("`of` says whose /proc entry, but not which file", "add `proc: [environ, mem]`"),
            );
        }
    }

    fn compile_match(&mut self, part: &Placed<DetectionDoc>, at: u16) -> Match {
        let m: &MatchDoc = &part.doc.matches.value;
        let place = |a: (u32, u32)| part.at(a.0, a.1);
        let here = |list: &At<OneOrMany<String>>| place((list.line, list.column));
        let mut out = Match {
            stdio: m.stdio.value.0.clone().into(),
            home: m.home.value.0.clone().into(),
            gains_privilege: m.gains_privilege,
            loader_env: m.loader_env,
            access: m.access.map(access_bits),
            mount: m.mount.value.0.clone().into(),
            proc: m.proc.value.0.clone().into(),
            of: m.of.value.0.clone().into(),
            scope: m.scope.value.0.clone().into(),
            to_worker: m.to_worker,
            ..Match::default()
        };
        out.program = self.take(&here(&m.program), Programs::new(m.program.value.iter()));
        self.exec_programs.insert(&out.program, at);
        out.not_program = self.take(&here(&m.not_program), Programs::new(m.not_program.value.iter()));
        if let Some(argv) = &m.argv {
            out.argv = self.take(&place((argv.line, argv.column)), ArgvPattern::new(&argv.value).map(Some));
        }
        let place_any = place((m.argv_any.line, m.argv_any.column));
        out.argv_any = self.take(&place_any, ArgvAny::new(&m.argv_any.value.0));
        out.path = self.take(&here(&m.path), Globs::paths(m.path.value.iter()));
        out.not_path = self.take(&here(&m.not_path), Globs::paths(m.not_path.value.iter()));
        let class = here(if m.identity.value.is_empty() { &m.class } else { &m.identity });
        out.identity = self.identity_set(&class, &m.identity.value.0, &m.class.value.0);
        out.to = self.take(&here(&m.to), parse_ports(m.to.value.iter()));
        let (facts, networks): (Vec<&String>, Vec<&String>) =
            m.address.value.iter().partition(|text| text.starts_with('$'));
        out.address.networks = self.take(&here(&m.address), parse_networks(networks));
        out.address.facts =
            facts.into_iter().filter_map(|text| self.any_fact(&here(&m.address), text)).collect();
        out.condition =
            m.condition.as_ref().and_then(|c| self.any_fact(&place((c.line, c.column)), &c.value));
        out.endpoint = self.endpoint_set(&here(&m.endpoint), &m.endpoint.value.0);
        out.family = self.families(&here(&m.family), &m.family.value.0);
        if part.doc.on == On::Open {
            self.watch_detection(part, at, out.access);
        }
        out
    }

    /// A fact that some profile lets its site state, written as `$name`.
    fn any_fact(&mut self, place: &Place, text: &str) -> Option<Arc<str>> {
        let Some(name) = text.strip_prefix('$') else {
            self.errors.push(place.error(format!("`{text}` is no fact"), format!("write `${text}`")));
            return None;
        };
        if !self.facts.contains(name) {
            let near = crate::profile::error::suggest(name, self.facts.iter().map(String::as_str));
            self.warnings.push(format!(
                "{}:{}: no loaded profile has the fact `{name}`, so this matches nothing; {near}",
                place.file, place.line
            ));
        }
        Some(name.into())
    }

    /// Kernel keys for a detection's paths and /proc files.
    fn watch_detection(&mut self, part: &Placed<DetectionDoc>, at: u16, bits: Option<u32>) {
        let m = &part.doc.matches.value;
        let bits = bits.unwrap_or(access::READ | access::WRITE);
        let rule: RuleRef = part.rule();
        let place: Place = part.at(m.path.line, m.path.column);
        for pattern in m.path.value.iter() {
            for alternative in braces(pattern).unwrap_or_default() {
                if let Ok(glob) = Glob::path(&alternative) {
                    self.watched.add(&glob, &alternative, bits, &rule, None, &place);
                    self.open_paths.insert(glob, at);
                }
            }
        }
        let place = part.at(m.proc.line, m.proc.column);
        for file in m.proc.value.iter() {
            if *file == ProcFile::Fd {
                for folder in ["/proc/*/fd/*", "/proc/*/fdinfo/*"] {
                    if let Ok(glob) = Glob::path(folder) {
                        self.watched.add(&glob, folder, bits, &rule, None, &place);
                    }
                }
            }
            for name in proc_names(*file) {
                for pattern in [format!("/proc/*/{name}"), format!("/proc/*/task/*/{name}")] {
                    if let Ok(glob) = Glob::path(&pattern) {
                        self.watched.add(&glob, &pattern, bits, &rule, None, &place);
                    }
                }
            }
        }
    }

    /// Kinds of uncommon sockets by name or number.
    pub(super) fn families(&mut self, place: &Place, names: &[String]) -> Box<[Family]> {
        const NAMES: [(&str, Family); 9] = [
            ("packet", Family::Number(17)),
            ("raw", Family::RawIp),
            ("vsock", Family::Number(40)),
            ("alg", Family::Number(38)),
            ("sctp", Family::IpProtocol(132)),
            ("bluetooth", Family::Number(31)),
            ("can", Family::Number(29)),
            ("key", Family::Number(15)),
            ("xdp", Family::Number(44)),
        ];
        let mut out = Vec::new();
        for name in names {
            let named = NAMES.iter().find(|(n, _)| n == name).map(|(_, f)| *f);
            match named.or_else(|| name.parse().ok().map(Family::Number)) {
                Some(family) => out.push(family),
                None => self.errors.push(place.error(
                    format!("unknown address family `{name}`"),
                    crate::profile::error::suggest(name, NAMES.iter().map(|(n, _)| *n)),
                )),
            }
        }
        out.into()
    }
}
