//! An alert as one line of ArcSight's Common Event Format, version 0.
//!
//! CEF is flat and short: it carries what a person needs to triage (`fields`), and `externalId` finds the whole alert where the
//! JSON went. `escape` keeps worker's text from ending a field.

mod escape;
mod fields;

use super::{Alert, Level, SafeAlert};

/// Longest values, as the dictionary of CEF has them, in characters.
const MSG: usize = 1023;
/// The same for custom strings.
const CUSTOM: usize = 4000;
/// The same for the header's name.
const NAME: usize = 512;

/// The alert as one line, without the line feed.
pub(super) fn line(alert: &SafeAlert) -> String {
    let mut line = format!(
        "CEF:0|sandwatch|sandwatch|{}|{}|{}|{}|",
        escape::header(&alert.agent.version, 31),
        escape::header(signature(alert), MSG),
        escape::header(&alert.title, NAME),
        Level::of(alert).cef,
    );
    for (index, (key, value, longest)) in fields::of(alert).into_iter().enumerate() {
        if index > 0 {
            line.push(' ');
        }
        line.push_str(&key);
        line.push('=');
        line.push_str(&escape::extension(&value, longest));
    }
    line
}

/// What kind of event it is: the finding, the reason of a gap, the worst of a posture, the condition.
fn signature(alert: &Alert) -> &str {
    if let Some(finding) = &alert.finding {
        return &finding.id;
    }
    if let Some(gap) = &alert.gap {
        return &gap.reason;
    }
    if let Some(worst) = alert.posture.as_ref().and_then(|posture| posture.worst()) {
        return worst;
    }
    alert.health.as_ref().map_or(alert.kind.name(), |health| &health.condition)
}

#[cfg(test)]
pub(super) mod tests;
