//! Allow items in words, for findings and `rules explain`.

use crate::profile::doc::{
    AccessName, At, ConnectAllow, ExecAllow, FileAllow, IdentityAllow, OneOrMany, SocketAllow, Span,
    TrustName, UnixAllow,
};

/// `a`, `a or b`, `a, b or c`.
pub(super) fn either<S: AsRef<str>>(list: &[S]) -> String {
    match list {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [head @ .., last] => {
            let head: Vec<&str> = head.iter().map(AsRef::as_ref).collect();
            format!("{} or {}", head.join(", "), last.as_ref())
        }
    }
}

/// An argument list as a shell would take it.
pub(super) fn shell(argv: &[String]) -> String {
    let quote = |a: &String| {
        if a.is_empty() || a.contains(|c: char| c.is_whitespace() || c == '\'' || c == '"') {
            format!("'{}'", a.replace('\'', "'\\''"))
        } else {
            a.clone()
        }
    };
    argv.iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// `where ambient_cloud is stated`
fn stated(condition: &Option<At<String>>) -> Option<String> {
    condition.as_ref().map(|c| format!("where {} is stated", c.value.trim_start_matches('$')))
}

fn span(within: Option<Span>) -> Option<String> {
    within.map(|Span(d)| {
        if d.as_millis().is_multiple_of(1000) {
            format!("within {} s", d.as_secs())
        } else {
            format!("within {} ms", d.as_millis())
        }
    })
}

fn join(parts: impl IntoIterator<Item = Option<String>>) -> String {
    parts.into_iter().flatten().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(" ")
}

fn by(program: &OneOrMany<String>) -> Option<String> {
    (!program.is_empty()).then(|| format!("by {}", either(&program.0)))
}

fn words<T>(list: &OneOrMany<T>, word: impl Fn(&T) -> &'static str) -> String {
    either(&list.iter().map(word).collect::<Vec<_>>())
}

/// `node script **/bin/n8n`
pub(super) fn image(
    program: &OneOrMany<String>,
    script: &OneOrMany<String>,
    argv: Option<&[String]>,
) -> String {
    let program = either(&program.0);
    let argv = argv.map(|argv| {
        let rest =
            if argv.first().is_some_and(|a| a == "*") && !program.is_empty() { &argv[1..] } else { argv };
        shell(rest)
    });
    join([Some(program), (!script.is_empty()).then(|| format!("script {}", either(&script.0))), argv])
}

/// `sh -c 'python3 --version' becoming bootcheck within 120 s`
pub(super) fn exec(item: &ExecAllow) -> String {
    join([
        item.any.then(|| "anything".to_owned()),
        Some(image(&item.program, &item.script, item.argv.as_deref())),
        (!item.argv_none.is_empty()).then(|| format!("without {}", either(&item.argv_none.0))),
        item.becomes.as_ref().map(|role| format!("becoming {}", role.value)),
        (item.trust == Some(TrustName::Pinned)).then(|| "as first executed".to_owned()),
        span(item.within),
        stated(&item.condition),
    ])
}

/// `n8n-database (readwrite)`
pub(super) fn identity(item: &IdentityAllow) -> String {
    let access = item.access.filter(|a| *a != AccessName::Read).map(|a| format!("({})", a.word()));
    join([
        item.any.then(|| "any identity".to_owned()),
        Some(either(&item.id.value.0)),
        (!item.class.value.is_empty()).then(|| format!("class {}", either(&item.class.value.0))),
        access,
        item.own.then(|| "of its own run".to_owned()),
        by(&item.program),
        item.installed.then(|| "(also one that the run installed)".to_owned()),
        (!item.script.is_empty()).then(|| format!("running {}", either(&item.script.0))),
        span(item.within),
        stated(&item.condition),
    ])
}

/// `tcp:5432 to private addresses`
pub(super) fn connect(item: &ConnectAllow) -> String {
    let to = if item.to.value.is_empty() { "" } else { "to " };
    join([
        Some(either(&item.to.value.0)),
        (!item.scope.is_empty()).then(|| format!("{to}{} addresses", words(&item.scope, |s| s.word()))),
        (!item.address.value.is_empty()).then(|| format!("{to}{}", either(&item.address.value.0))),
        (!item.endpoint.value.is_empty()).then(|| format!("endpoint {}", either(&item.endpoint.value.0))),
        by(&item.program),
        span(item.within),
        stated(&item.condition),
    ])
}

/// `/run/n8n.sock`
pub(super) fn unix(item: &UnixAllow) -> String {
    join([
        item.any.then(|| "any socket".to_owned()),
        Some(either(&item.path.value.0)),
        by(&item.program),
        span(item.within),
        stated(&item.condition),
    ])
}

/// `/proc environ of self or descendant`
pub(super) fn file(item: &FileAllow) -> String {
    let access = item.access.filter(|a| *a != AccessName::Read).map(|a| format!("({})", a.word()));
    join([
        Some(either(&item.path.value.0)),
        (!item.proc.is_empty()).then(|| format!("/proc {}", words(&item.proc, |p| p.word()))),
        (!item.of.is_empty()).then(|| format!("of {}", words(&item.of, |o| o.word()))),
        access,
        item.own.then(|| "of its own run".to_owned()),
        by(&item.program),
        span(item.within),
        stated(&item.condition),
    ])
}

/// `packet`
pub(super) fn socket(item: &SocketAllow) -> String {
    join([Some(either(&item.family.value.0)), by(&item.program), span(item.within), stated(&item.condition)])
}
