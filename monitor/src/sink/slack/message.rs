//! Messages as Slack takes them: blocks of plain text, so that nothing from a worker is a link, a mention or a format.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::oncall::{Action, Brief, Change, Why, page};

/// Most characters of a header, of a section (Slack takes 3000), and most blocks.
const HEADER: usize = 150;
const SECTION: usize = 2900;
const BLOCKS: usize = 50;

/// The message of an action.
pub(super) fn of(action: &Action, runbook: Option<&str>, fields: &BTreeMap<String, String>) -> Value {
    let (text, mut blocks) = match action {
        Action::Open { brief, change, .. } => opened(brief, *change, runbook),
        Action::Resolve { brief, why, .. } => closed(brief, *why),
        Action::Summary(summary) => {
            let text = page::summary_headline(summary);
            let mut lines = summary.lines.clone();
            if summary.unnamed > 0 {
                lines.push(format!("… and {} more", summary.unnamed));
            }
            let mut blocks = vec![header(&text)];
            blocks.extend(sections(&lines));
            (text, blocks)
        }
    };
    if !fields.is_empty() {
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        blocks.push(json!({ "type": "context", "elements": [plain(&fields.join(", "), SECTION)] }));
    }
    blocks.truncate(BLOCKS);
    // What a notification shows. It would be read as markup without the last key.
    json!({ "text": escaped(&text, SECTION), "mrkdwn": false, "blocks": blocks })
}

fn opened(brief: &Brief, change: Change, runbook: Option<&str>) -> (String, Vec<Value>) {
    let news = match change {
        Change::Raised => "Worse: ",
        Change::More => "More taken: ",
        Change::New | Change::Refresh => "",
    };
    let headline = format!("{news}{}", page::headline(brief));
    let mut blocks = vec![header(&page::severity(brief)), section(&headline)];
    for part in page::sections(brief, None) {
        let mut lines = vec![part.title.to_owned()];
        lines.extend(part.lines.iter().map(|line| format!("   {line}")));
        blocks.extend(sections(&lines));
    }
    if let Some(base) = runbook {
        let link = page::runbook_link(base, &brief.name);
        blocks.push(json!({
            "type": "context",
            "elements": [{ "type": "mrkdwn", "text": format!("<{}|Runbook>", escaped(&link, 1000)) }]
        }));
    }
    (format!("{}: {headline}", page::severity(brief)), blocks)
}

fn closed(brief: &Brief, why: Why) -> (String, Vec<Value>) {
    let how = match (why, &brief.closing) {
        (Why::Closed, Some(closing)) => closing.clone(),
        _ => "closed".to_owned(),
    };
    let text = format!("Closed: {}", page::headline(brief));
    (text.clone(), vec![section(&text), section(&how)])
}

fn header(text: &str) -> Value {
    json!({ "type": "header", "text": plain(text, HEADER) })
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": plain(text, SECTION) })
}

/// The lines, in as few sections as they fit into.
fn sections(lines: &[String]) -> Vec<Value> {
    let mut texts: Vec<String> = Vec::new();
    for line in lines {
        let fits =
            |text: &String| escaped(text, usize::MAX).len() + escaped(line, usize::MAX).len() < SECTION;
        match texts.last_mut().filter(|text| fits(text)) {
            Some(text) => {
                text.push('\n');
                text.push_str(line);
            }
            None => texts.push(line.clone()),
        }
    }
    texts.iter().map(|text| section(text)).collect()
}

fn plain(text: &str, most: usize) -> Value {
    json!({ "type": "plain_text", "emoji": false, "text": escaped(text, most) })
}

/// The three characters that Slack reads as more than themselves, spelled out; cut so that what is left has at most `most`
/// characters.
fn escaped(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let mut length = 0;
    for c in text.chars() {
        let shown = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            _ => "",
        };
        length += if shown.is_empty() { 1 } else { shown.len() };
        if length >= most {
            out.push('…');
            break;
        }
        if shown.is_empty() { out.push(c) } else { out.push_str(shown) }
    }
    out
}
