//! An alert as a person reads it on a terminal: woken at 3 a.m., with two minutes to decide.
//!
//! First how bad and what, then who, then what was taken, then what to do. Everything from a worker is escaped
//! ([`super::escape`]); nothing is said twice.

mod chain;
mod layout;
mod radius;
mod story;

use chain::chain;
use layout::Page;
pub use layout::Style;
pub(crate) use layout::wrap;
use radius::radius;
pub use story::story;

use super::{Alert, AlertKind, Attributed, ProcessInfo, SafeAlert, Severity, State, escape};

/// The alert as text, several lines, without the last line feed.
pub fn text(alert: &SafeAlert, style: &Style) -> String {
    let mut page = Page::new(style);
    head(&mut page, alert);
    who(&mut page, alert);
    what(&mut page, alert);
    chain(&mut page, alert);
    radius(&mut page, alert);
    respond(&mut page, alert);
    if alert.allow_with.is_some() {
        page.section("If this is normal");
        page.item("", "the JSON alert has the YAML that would allow it (allow_with)");
    }
    foot(&mut page, alert);
    page.finish()
}

fn head(page: &mut Page<'_>, alert: &Alert) {
    let tier = alert.tier.map_or(alert.kind.name(), |tier| tier.name());
    page.banner(alert.severity, &format!("{} · {tier}", alert.severity.name().to_uppercase()));
    page.title(&alert.title);
    let mut when = clock(&alert.time);
    if let Some(incident) = &alert.incident {
        let short: String = incident.id.chars().take(8).collect();
        when.push_str(&format!(" · incident {short}"));
        if incident.revision > 1 {
            when.push_str(&format!(" · update {}", incident.revision));
        }
        when.push_str(&format!(" · {}", count(incident.findings, "finding")));
    }
    match alert.state {
        State::Closed => when.push_str(" · closed"),
        State::Ended => when.push_str(" · ended"),
        State::Open | State::Update => {}
    }
    page.dim(&when);
    page.gap();
}

fn who(page: &mut Page<'_>, alert: &Alert) {
    if let Some(worker) = &alert.worker {
        let engine = worker.engine.as_deref().filter(|engine| *engine != worker.profile);
        let engine = engine.map_or(String::new(), |engine| format!("engine {engine}, "));
        page.field("Worker", &format!("{} ({engine}profile {})", worker.name, worker.profile));
        if let Some(pod) = &worker.pod {
            page.more(&format!("pod {}/{}", pod.namespace, pod.name));
        }
        match &worker.container {
            Some(container) => {
                page.more(&format!("container {}", container.image.as_deref().unwrap_or(&container.id)))
            }
            None => page.more(&format!("cgroup {}", worker.cgroup.path)),
        }
        if alert.posture.is_none() && !worker.posture.is_empty() {
            page.more(&format!("posture: {}", worker.posture.join(", ")));
        }
    }
    if let Some(who) = &alert.attribution {
        let fields = [
            ("workflow", &who.workflow),
            ("run", &who.run),
            ("step", &who.step),
            ("actor", &who.actor),
            ("tenant", &who.tenant),
        ];
        let known: Vec<String> =
            fields.iter().filter_map(|(name, v)| v.as_ref().map(|v| attributed(name, v))).collect();
        if !known.is_empty() {
            page.field("Run", &known.join(", "));
        }
    }
    if let Some(process) = &alert.process {
        page.field("Process", &process_line(process));
        if let Some(argv) = &process.argv
            && !argv.is_empty()
        {
            page.more(&format!("$ {}", command(argv)));
        }
        let above: Vec<String> = process
            .ancestors
            .iter()
            .map(|a| format!("{} {}{}", program(a.exe.as_deref()), a.pid, role(a.role.as_deref())))
            .collect();
        if !above.is_empty() {
            page.more(&format!("below {}", above.join(" ← ")));
        }
    }
}

fn attributed(name: &str, value: &Attributed) -> String {
    format!("{name} {} ({}, by {})", value.value, value.source, value.trust)
}

fn process_line(process: &ProcessInfo) -> String {
    let mut line = format!("{} {}", process.exe.as_deref().unwrap_or("(program unknown)"), process.pid);
    line.push_str(&role(process.role.as_deref()));
    if let Some(uid) = process.uid {
        line.push_str(&format!(", uid {uid}"));
    }
    line
}

fn program(exe: Option<&str>) -> &str {
    exe.map_or("?", |exe| exe.rsplit('/').next().unwrap_or(exe))
}

fn role(role: Option<&str>) -> String {
    role.map_or(String::new(), |role| format!(" [{role}]"))
}

/// The command line, as far as a person reads one.
fn command(argv: &[String]) -> String {
    const SHOWN: usize = 400;
    let mut line = String::new();
    for argument in argv {
        if line.chars().count() > SHOWN {
            line.push_str(" …");
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        let shown = escape::argument(argument);
        if shown.chars().count() > SHOWN {
            line.extend(shown.chars().take(SHOWN));
            line.push('…');
        } else {
            line.push_str(&shown);
        }
    }
    line
}

fn what(page: &mut Page<'_>, alert: &Alert) {
    if let Some(file) = &alert.file {
        let how = if file.flags.is_empty() { "open".to_owned() } else { file.flags.join("+") };
        page.field("File", &format!("{how} {}", file.path.as_deref().unwrap_or("(path unknown)")));
        if let Some(host) = &file.host_path {
            page.more(&format!("on the host {host}"));
        }
        if let Some(mount) = &file.mount {
            page.more(&format!("mount: {mount}"));
        }
    }
    if let Some(net) = &alert.network {
        let to = match net.port {
            Some(port) if net.address.contains(':') => format!("[{}]:{port}", net.address),
            Some(port) => format!("{}:{port}", net.address),
            None => net.address.clone(),
        };
        let name = net.endpoint.as_ref().map_or(String::new(), |endpoint| format!(" ({endpoint})"));
        let result = net.result.as_ref().map_or(String::new(), |result| format!(": {result}"));
        page.field("To", &format!("{} {to}{name}{result}", net.protocol));
    }
    if let Some(gap) = &alert.gap {
        let lost = gap.lost.map_or("an unknown number of events".to_owned(), |lost| count(lost, "event"));
        page.field("Missed", &format!("{lost} ({})", gap.reason));
        let to = gap.to.as_deref().map_or("now".to_owned(), clock);
        page.more(&format!("{} to {to}", clock(&gap.from)));
        if let Some(detail) = &gap.detail {
            page.more(detail);
        }
    }
    if let Some(posture) = &alert.posture {
        for item in &posture.findings {
            page.field("Posture", &format!("{} ({})", item.title, item.severity.name()));
            item.detail.iter().for_each(|detail| page.more(detail));
        }
        if posture.reaches_host {
            page.field("Reach", "who leaves the sandbox of this worker has the host");
        }
        if !posture.unknown.is_empty() {
            page.field("Not known", &posture.unknown.join(", "));
        }
    }
    if let Some(health) = &alert.health {
        page.field("Agent", &format!("{}: {}", health.condition, health.detail));
    }
    if let Some(finding) = &alert.finding {
        let settled = alert.network.as_ref().is_some_and(|network| network.result.is_some());
        if finding.outcome != "ok" && !settled {
            page.field("Outcome", &finding.outcome);
        }
        if finding.certainty != "known" {
            page.field("Certainty", &finding.certainty);
        }
        if let Some(expected) = &finding.expected {
            page.field("Expected", expected);
        }
    }
}

fn respond(page: &mut Page<'_>, alert: &Alert) {
    if alert.respond.is_empty() {
        return;
    }
    page.section("What to do");
    for (index, step) in alert.respond.iter().enumerate() {
        let number = format!("{}.", index + 1);
        match step.split_once(": echo ") {
            // A command on a line of its own can be copied.
            Some((what, command)) => {
                page.item(&number, what);
                page.item("", &format!("echo {command}"));
            }
            None => page.item(&number, step),
        }
    }
}

fn foot(page: &mut Page<'_>, alert: &Alert) {
    let mut from = Vec::new();
    if let Some(finding) = &alert.finding {
        if let Some(rule) = &finding.rule {
            from.push(format!("rule {} ({}:{})", finding.id, rule.file, rule.line));
        } else {
            from.push(format!("rule {}", finding.id));
        }
        from.push(format!("seen through {}", finding.hook));
    }
    if alert.kind != AlertKind::Heartbeat {
        from.push(format!("host {}", alert.host.name));
    }
    if !alert.truncated.is_empty() {
        from.push(format!("cut: {}", alert.truncated.join(", ")));
    }
    page.gap();
    page.dim(&from.join(" · "));
    if alert.severity >= Severity::High && alert.incident.is_some() {
        page.dim(&format!("alert {}", alert.id));
    }
}

/// `2026-11-24 15:40:01 UTC` of an RFC 3339 time; the text itself where it is none.
fn clock(time: &str) -> String {
    match (time.get(..10), time.get(10..11), time.get(11..19)) {
        (Some(day), Some("T"), Some(clock)) => format!("{day} {clock} UTC"),
        _ => time.to_owned(),
    }
}

/// `15:40:01.123` of an RFC 3339 time.
fn of_day(time: &str) -> String {
    time.get(11..23).unwrap_or(time).trim_end_matches('Z').to_owned()
}

fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests;
