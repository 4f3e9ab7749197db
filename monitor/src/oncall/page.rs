//! What is said to somebody who was woken: at 3 a.m., on a telephone, with two minutes to decide.
//!
//! In this order: what happened, where, which run, what was taken, what to do first, where to read on. Every receiver shows the same
//! sections in its own way. Nothing is said that only helps later: the whole alert is one command away.

use crate::alert::{Alert, AlertKind, State, Tier};

use super::brief::{Brief, RunId, Urgency, line};
use super::pager::{Summary, SummaryKind};

/// The headline is cut to this many characters.
const HEADLINE: usize = 300;

/// One section of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// What it is about.
    pub title: &'static str,
    /// What it says, a line each.
    pub lines: Vec<String>,
}

impl Section {
    fn new(title: &'static str, lines: Vec<String>) -> Self {
        Self { title, lines }
    }
}

/// All of it in one line: what a telephone shows while it rings.
pub fn headline(brief: &Brief) -> String {
    let mark = if brief.test { "TEST, nothing happened: " } else { "" };
    let worker = brief.worker.as_ref().map_or(String::new(), |worker| format!("{worker} on "));
    let cluster = brief.cluster.as_ref().map_or(String::new(), |cluster| format!(", {cluster}"));
    let place = format!(" ({worker}{}{cluster})", brief.node);
    // The place must survive: it says whose the page is.
    let room = HEADLINE.saturating_sub(mark.chars().count() + place.chars().count());
    format!("{mark}{}{place}", line(&brief.title, room.max(40)))
}

/// How bad, in a word or two.
pub fn severity(brief: &Brief) -> String {
    let tier = brief.tier.map_or(brief.kind.name(), Tier::name);
    format!("{} · {tier}", brief.severity.name().to_uppercase())
}

/// The page. `runbook`: the base that links to runbooks begin with.
pub fn sections(brief: &Brief, runbook: Option<&str>) -> Vec<Section> {
    let mut all = Vec::new();
    if brief.test {
        let test = Section::new("This is a test", vec![TEST.to_owned()]);
        return vec![test, Section::new("Where", place(brief))];
    }
    all.push(Section::new("What happened", what(brief)));
    all.push(Section::new("Where", place(brief)));
    if brief.kind == AlertKind::Incident {
        all.push(Section::new("Which run", run(brief)));
        all.push(Section::new("Taken", taken(brief)));
    }
    if let Some(closing) = &brief.closing {
        all.push(Section::new("Closed", vec![closing.clone()]));
    } else if !brief.steps.is_empty() {
        all.push(Section::new("Do first", steps(brief)));
    }
    let more = more(brief, runbook);
    if !more.is_empty() {
        all.push(Section::new("Read on", more));
    }
    all
}

const TEST: &str =
    "`sandwatch alert test` sent it to see whether it arrives. Nothing happened, and it resolves itself.";

/// The sections as plain text.
pub fn plain(sections: &[Section]) -> String {
    let mut text = String::new();
    for section in sections {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(section.title);
        text.push('\n');
        for line in &section.lines {
            text.push_str("  ");
            text.push_str(line);
            text.push('\n');
        }
    }
    text.truncate(text.trim_end().len());
    text
}

/// Conditions of which there are several are explained in one place.
const BY_NAME: [&str; 2] = ["health-sink", "health-canary"];

/// The runbook of what happened: the configured address with `{finding}` replaced, or `BASE/FINDING` if it has no such place.
pub fn runbook_link(base: &str, name: &str) -> String {
    let of_many = |start: &&&str| name.strip_prefix(**start).is_some_and(|rest| rest.starts_with('-'));
    let name = BY_NAME.iter().find(of_many).map_or(name, |start| *start);
    // Names are of letters, digits and dashes; whatever else came in cannot leave the path.
    let safe: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
    if base.contains(PLACE) {
        return base.replace(PLACE, &safe);
    }
    format!("{}/{safe}", base.trim_end_matches('/'))
}

const PLACE: &str = "{finding}";

fn what(brief: &Brief) -> Vec<String> {
    let state = match brief.state {
        State::Ended => ", then nothing more",
        State::Open | State::Update | State::Closed => "",
    };
    let mut lines = Vec::new();
    if brief.chain.is_empty() {
        lines.extend(brief.detail.iter().cloned());
        if lines.is_empty() {
            lines.push(brief.title.clone());
        }
        if brief.kind == AlertKind::Gap && brief.state != State::Closed {
            lines.push("What was done in that time may have raised no alert.".to_owned());
        }
        lines.push(format!("{}, since {} UTC", brief.name, clock(&brief.first)));
        return lines;
    }
    lines.push(format!("{}, times in UTC", brief.first.get(..10).unwrap_or(&brief.first)));
    for (number, link) in brief.chain.iter().enumerate() {
        if number == 1 && brief.more_links > 0 {
            lines.push(format!("… {} more …", brief.more_links));
        }
        let object = link.object.as_ref().map_or(String::new(), |object| format!(": {object}"));
        lines.push(format!("{} {} {}{object}", of_day(&link.time), link.tier.name(), link.what));
    }
    if !state.is_empty() {
        lines.push(format!("Last seen {} UTC{state}.", clock(&brief.last)));
    }
    lines
}

fn place(brief: &Brief) -> Vec<String> {
    let mut first = Vec::new();
    if let Some(worker) = &brief.worker {
        let profile = brief.profile.as_deref().unwrap_or("generic");
        first.push(match &brief.engine {
            Some(engine) if engine != profile => {
                format!("worker {worker} (engine {engine}, profile {profile})")
            }
            _ => format!("worker {worker} (profile {profile})"),
        });
    }
    if let Some(pod) = &brief.pod {
        first.push(format!("pod {pod}"));
    }
    first.push(format!("node {}", brief.node));
    first.extend(brief.cluster.iter().map(|cluster| format!("cluster {cluster}")));
    first.extend(brief.environment.iter().cloned());
    vec![first.join(", ")]
}

fn run(brief: &Brief) -> Vec<String> {
    let (candidates, known): (Vec<&RunId>, Vec<&RunId>) =
        brief.run.iter().partition(|id| id.field == "candidate");
    let mut lines: Vec<String> =
        known.iter().map(|id| format!("{} {} ({})", id.field, id.value, trust(&id.trust))).collect();
    if !candidates.is_empty() {
        let values: Vec<&str> = candidates.iter().map(|id| &*id.value).collect();
        lines.push(format!("one of {}: they ran at that time", values.join(", ")));
    }
    if lines.is_empty() {
        let worker = brief.worker.as_deref().unwrap_or("the worker");
        lines.push(format!("not known: look up what {worker} ran at {} UTC", clock(&brief.first)));
    }
    lines
}

/// Whose word it is, so that nobody hunts the wrong run.
fn trust(trust: &str) -> String {
    match trust {
        "engine" => "stated by the engine".to_owned(),
        "controller" => "stated by its controller".to_owned(),
        "author" => "stated by the workflow itself: may be false".to_owned(),
        "candidate" => "likely, not certain".to_owned(),
        "scan" => "read afterwards: may have been changed".to_owned(),
        other => format!("by {other}"),
    }
}

fn taken(brief: &Brief) -> Vec<String> {
    if brief.taken_count == 0 {
        return vec!["nothing, as far as it was seen".to_owned()];
    }
    let mut lines = Vec::new();
    for taken in &brief.taken {
        lines.push(match &taken.gives {
            Some(gives) => format!("{}: {gives}", taken.identity),
            None => taken.identity.clone(),
        });
        lines.extend(taken.respond.iter().map(|respond| format!("  {respond}")));
    }
    let more = brief.taken_count.saturating_sub(brief.taken.len() as u64);
    if more > 0 {
        lines.push(format!("… and {more} more"));
    }
    lines.push("Treat as known to the attacker.".to_owned());
    lines
}

fn steps(brief: &Brief) -> Vec<String> {
    let mut lines = Vec::new();
    for (number, step) in (1..).zip(&brief.steps) {
        match step.split_once(": echo ") {
            // A command on a line of its own can be copied.
            Some((what, command)) => {
                lines.push(format!("{number}. {what}, on {}:", brief.node));
                lines.push(format!("   echo {command}"));
            }
            None => lines.push(format!("{number}. {step}")),
        }
    }
    lines
}

fn more(brief: &Brief, runbook: Option<&str>) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(base) = runbook {
        lines.push(format!("Runbook: {}", runbook_link(base, &brief.name)));
    }
    if brief.kind == AlertKind::Incident {
        let short: String = brief.id.chars().take(8).collect();
        lines.push(format!("The whole story, on {}: sandwatch incident show {short}", brief.node));
        if brief.state != State::Closed {
            let close = format!("sandwatch incident close {short} --by YOU --reason WHY");
            lines.push(match brief.urgency() {
                Urgency::Page => format!("Stays open until a person closes it: {close}"),
                Urgency::Ticket => format!("Closes itself after 30 quiet minutes, or: {close}"),
            });
        }
    }
    lines
}

/// One line of a summary.
pub(super) fn summary_line(brief: &Brief) -> String {
    let closing = brief.closing.as_ref().map_or(String::new(), |closing| format!("; closed, {closing}"));
    let short: String = brief.id.chars().take(8).collect();
    let time = clock(&brief.first);
    line(&format!("{time} {} {} [{short}]{closing}", severity(brief), headline(brief)), HEADLINE)
}

/// One line of a summary of losses: when it was noticed, and why.
pub(super) fn loss_line(alert: &Alert) -> String {
    line(&format!("{} {}; another sink may have them", clock(&alert.time), alert.title), HEADLINE)
}

/// The headline of a summary.
pub fn summary_headline(summary: &Summary) -> String {
    let Summary { kind, count, uncounted, node, .. } = summary;
    let (noun, were) = if *count == 1 { ("alert", "was") } else { ("alerts", "were") };
    let node = if node.is_empty() { String::new() } else { format!(" on {node}") };
    match (kind, count, uncounted) {
        (SummaryKind::Missed, ..) => {
            format!("While you were unreachable: {count} {noun} came and went{node}")
        }
        (SummaryKind::More, ..) => format!("{count} more {noun}{node}, not told one by one"),
        (SummaryKind::Lost, 0, _) => format!("Alerts{node} may be missing: how many is not known"),
        (SummaryKind::Lost, _, 0) => format!("{count} {noun}{node} {were} dropped before you were told"),
        (SummaryKind::Lost, ..) => {
            format!("{count} {noun}{node} {were} dropped before you were told, and more may be missing")
        }
    }
}

/// `2026-11-24 15:40:01` of an RFC 3339 time; the text itself where it is none.
pub(super) fn clock(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}

/// `15:40:01` of an RFC 3339 time.
fn of_day(time: &str) -> &str {
    time.get(11..19).unwrap_or(time)
}
