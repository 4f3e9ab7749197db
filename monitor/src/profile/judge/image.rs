//! Images and execs against patterns.

use super::Scene;
use super::held::{Held, Tri};
use crate::event::{Exec, Stdio, Subject};
use crate::profile::actor::{Image, Pin, Trust};
use crate::profile::doc::{HomeName, StdioName};
use crate::profile::facts::Facts;
use crate::profile::model::{Common, ExecRule, ImagePattern, Match};
use crate::profile::pattern::{
    Before, Programs, Script, Scripts, absolute, base, script_of, volatile_folder,
};

/// Whether the resolved executable or the path as given matches: never argv[0], which the caller is free to set, nor a
/// name in a folder where everyone can put one.
fn program_of_image(programs: &Programs, image: &Image<'_>) -> Tri {
    let given = image.given.filter(|g| !volatile_folder(g));
    match (image.exe, given) {
        (Some(exe), given) => (programs.matches(exe) || given.is_some_and(|g| programs.matches(g))).into(),
        (None, _) => Tri::Unknown("exe"),
    }
}

/// Program, script and arguments of an image against a role's, selection's or allow item's pattern.
fn image_held(pattern: &ImagePattern, image: &Image<'_>, held: &mut Held) -> bool {
    if !pattern.program.is_empty() && !held.and(program_of_image(&pattern.program, image)) {
        return false;
    }
    if !pattern.script.is_empty() && !held.and(script_held(&pattern.script, image)) {
        return false;
    }
    let whole = |field: bool| if image.argv_truncated { Tri::Unknown("argv") } else { field.into() };
    if let Some(argv) = &pattern.argv
        && !held.and(whole(argv.matches(image.argv)))
    {
        return false;
    }
    if pattern.argv_none.is_empty() {
        return true;
    }
    let refused = image.argv.iter().skip(1).any(|arg| pattern.argv_none.matches(arg));
    held.and(if refused { Tri::No } else { whole(true) })
}

/// The script of an image against patterns; a script with other code loaded before it is none of them.
pub(super) fn script_held(scripts: &Scripts, image: &Image<'_>) -> Tri {
    let path = match script_of(image) {
        Script::None if image.argv_truncated && image.argv.is_empty() => return Tri::Unknown("argv"),
        Script::None | Script::File { before: Before::Code, .. } => return Tri::No,
        Script::Module(name) => return scripts.module(name).into(),
        Script::File { path, .. } => path,
    };
    match absolute(path, image.cwd) {
        Some(path) => (!volatile_folder(&path) && scripts.file(&path)).into(),
        None => Tri::Unknown("cwd"),
    }
}

/// Whether an agent is loaded into the machine that runs the program: its role is what it says, but not its code alone.
pub(super) fn loads_agent(image: &Image<'_>) -> bool {
    matches!(script_of(image), Script::File { before: Before::Agent, .. })
}

/// Whether an image matches with all that it asks known.
pub(crate) fn image_matches(pattern: &ImagePattern, image: &Image<'_>) -> bool {
    let mut held = Held::default();
    image_held(pattern, image, &mut held) && held.holds()
}

/// Trust of an executable, as a field of an allow item or a role. One that is pinned may be the worker's own, as long as
/// it is the file that was first executed.
pub(crate) fn trusted(pattern: &ImagePattern, image: &Image<'_>) -> Tri {
    if pattern.pinned {
        match image.pin {
            Pin::Holds => return Tri::Yes,
            Pin::Changed => return Tri::No,
            Pin::None => {}
        }
    }
    by_trust(image.trust)
}

fn by_trust(trust: Trust) -> Tri {
    match trust {
        Trust::Trusted => Tri::Yes,
        Trust::Untrusted(_) => Tri::No,
        Trust::Unknown(field) => Tri::Unknown(field),
        Trust::Scanned => Tri::Unknown("exe"),
    }
}

/// An allow item for execs, without the role it leads to.
pub(crate) fn exec_rule_holds(rule: &ExecRule, image: &Image<'_>, since: u64, facts: &Facts) -> Held {
    let mut held = Held::default();
    if !timely(&rule.common, since, facts) {
        held.and(Tri::No);
    } else if rule.any {
        held.and(Tri::Yes);
    } else if image_held(&rule.image, image, &mut held) {
        held.and(trusted(&rule.image, image));
    }
    held
}

/// `within` and `if`.
fn timely(common: &Common, since: u64, facts: &Facts) -> bool {
    common.within.is_none_or(|w| since <= w) && common.condition.as_ref().is_none_or(|c| facts.holds(c))
}

/// `within`, `if` and `program` of an allow item that is not about execs.
pub(super) fn common_held(common: &Common, scene: &Scene<'_>, held: &mut Held) -> bool {
    if !timely(common, scene.since, scene.actor.facts) {
        return held.and(Tri::No);
    }
    if common.program.is_empty() {
        return true;
    }
    match &scene.image {
        None => held.and(Tri::Unknown("exe")),
        Some(image) => {
            held.and(program_of_image(&common.program, image))
                && match image.trust {
                    // What was running before the agent is taken by its name.
                    Trust::Scanned => true,
                    trust if common.installed && trust.named_file() => {
                        held.and(image.exe.is_some_and(|exe| !volatile_folder(exe)))
                    }
                    trust => held.and(by_trust(trust)),
                }
        }
    }
}

/// The names of an exec, as detections look at them: resolved, as given, argv[0], script.
pub(super) fn names<'a>(image: &Image<'a>) -> [Option<&'a str>; 4] {
    let argv: &'a [std::sync::Arc<str>] = image.argv;
    let argv0 = argv.first().map(|a| a.strip_prefix('-').unwrap_or(a));
    let script = match script_of(image) {
        Script::File { path, .. } => Some(path),
        Script::None | Script::Module(_) => None,
    };
    [image.exe, image.given, argv0, script]
}

/// Whether any name of an exec is one that a detection names.
fn program_of_exec(named: bool, image: &Image<'_>) -> Tri {
    if named {
        Tri::Yes
    } else if image.exe.is_none() || (image.given.is_none() && image.argv.is_empty()) {
        Tri::Unknown("exe")
    } else {
        Tri::No
    }
}

/// A name that takes an exec out of a detection: only one that the caller cannot choose freely.
fn excluded(programs: &Programs, image: &Image<'_>) -> bool {
    let script = match script_of(image) {
        Script::File { path, before: Before::Nothing } if path.starts_with('/') && !volatile_folder(path) => {
            Some(path)
        }
        _ => None,
    };
    let exe = image.exe.filter(|_| !matches!(image.trust, Trust::Untrusted(_)));
    [exe, script].into_iter().flatten().any(|name| programs.matches(name))
}

/// What a detection asks of an exec; `named`: it names the program.
pub(super) fn exec_held(
    m: &Match,
    named: bool,
    exec: &Exec,
    subject: &Subject,
    image: &Image<'_>,
    held: &mut Held,
) {
    if !m.program.is_empty() && !held.and(program_of_exec(named, image)) {
        return;
    }
    if !m.not_program.is_empty() && excluded(&m.not_program, image) && !held.and(Tri::No) {
        return;
    }
    if let Some(argv) = &m.argv {
        let field = match (argv.matches(image.argv), image.argv_truncated) {
            (yes, false) => yes.into(),
            (_, true) => Tri::Unknown("argv"),
        };
        if !held.and(field) {
            return;
        }
    }
    if !m.argv_any.is_empty() {
        let field = match (m.argv_any.matches(image.argv), image.argv_truncated) {
            (true, _) => Tri::Yes,
            (false, true) => Tri::Unknown("argv"),
            (false, false) => Tri::No,
        };
        if !held.and(field) {
            return;
        }
    }
    if !m.stdio.is_empty() && !held.and(stdio(&m.stdio, &exec.stdio)) {
        return;
    }
    if !m.home.is_empty() && !held.and(home(&m.home, exec, subject)) {
        return;
    }
    if let Some(wanted) = m.gains_privilege {
        let gained = exec.secureexec
            || exec.uid_before.is_some_and(|before| before != subject.uid)
            || exec.gid_before.is_some_and(|before| before != subject.gid);
        if !held.and(gained == wanted) {
            return;
        }
    }
    if let Some(wanted) = m.loader_env {
        let field = if exec.loader_env == wanted {
            Tri::Yes
        } else if exec.env_incomplete {
            Tri::Unknown("environment")
        } else {
            Tri::No
        };
        held.and(field);
    }
}

fn stdio(wanted: &[StdioName], have: &[Stdio; 3]) -> Tri {
    let is = |name: StdioName, have: Stdio| match name {
        StdioName::Closed => have == Stdio::Closed,
        StdioName::File => have == Stdio::File,
        StdioName::Pipe => have == Stdio::Pipe,
        StdioName::Socket => matches!(have, Stdio::Socket | Stdio::Inet),
        StdioName::Inet => have == Stdio::Inet,
        StdioName::Char => have == Stdio::Char,
    };
    if have.iter().any(|h| wanted.iter().any(|w| is(*w, *h))) {
        Tri::Yes
    } else if have.contains(&Stdio::Unknown) {
        Tri::Unknown("stdio")
    } else {
        Tri::No
    }
}

fn home(wanted: &[HomeName], exec: &Exec, subject: &Subject) -> Tri {
    let home = exec.home;
    let mut unknown = false;
    for name in wanted {
        let yes = match name {
            HomeName::Memfd => home.memfd,
            HomeName::Deleted => home.deleted || exec.exe.deleted,
            HomeName::Tmpfs => home.tmpfs,
            HomeName::OverlayUpper => {
                unknown |= home.overlay && home.overlay_upper.is_none();
                home.overlay_upper == Some(true)
            }
            HomeName::Writable => {
                exec.exe_mode & 0o002 != 0 || (subject.uid != 0 && exec.exe_uid == subject.uid)
            }
        };
        if yes {
            return Tri::Yes;
        }
    }
    if unknown { Tri::Unknown("exe layer") } else { Tri::No }
}

/// A short name for titles: the program as given, else resolved, else argv[0].
pub(super) fn shown_name<'a>(image: &Image<'a>) -> &'a str {
    match (image.exe, image.given, image.argv.first()) {
        (Some(exe), Some(given), _) if base(exe) != base(given) => given,
        (Some(exe), ..) => exe,
        (None, Some(given), _) => given,
        (None, None, Some(argv0)) => argv0,
        _ => "a program that could not be read",
    }
}
