//! An incident in one sentence.

use crate::alert::Alert;

/// The title of an incident that began with `first` and has grown to `links` findings, the newest being `newest`.
pub(super) fn grown(first: &str, newest: &str, links: usize) -> String {
    if links < 2 || first == newest {
        return newest.to_owned();
    }
    let began = first.split(", then ").next().unwrap_or_default();
    if began == newest {
        return began.to_owned();
    }
    format!("{began}, then {}", lowered(newest))
}

/// Not for names and abbreviations ("SSH key …").
fn lowered(text: &str) -> String {
    let mut chars = text.chars();
    let Some(initial) = chars.next() else { return String::new() };
    if text.chars().nth(1).is_some_and(char::is_uppercase) {
        return text.to_owned();
    }
    initial.to_lowercase().chain(chars).collect()
}

/// The title of so many deviations of a worker together.
pub(super) fn digest(alert: &Alert, links: usize) -> String {
    let (Some(worker), true) = (&alert.worker, links > 1) else { return alert.title.clone() };
    format!("Worker {}: {links} things that profile {} does not list", worker.name, worker.profile)
}

/// The title of an incident that is made of deviations alone.
pub(super) fn pile(count: usize, newest: &str) -> String {
    format!("{count} unlisted things within 10 minutes, lastly: {}", lowered(newest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn title_tells_the_beginning_and_the_newest() {
        let one = grown("A shell was started", "A shell was started", 1);
        assert_eq!(one, "A shell was started");
        let two = grown(&one, "A key was read", 2);
        assert_eq!(two, "A shell was started, then a key was read");
        assert_eq!(grown(&two, "SSH was used", 3), "A shell was started, then SSH was used");
        assert_eq!(grown(&two, "A shell was started", 3), "A shell was started");
    }
}
