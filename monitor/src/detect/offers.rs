//! What would allow the deviations that an alert tells of, as one document.

/// The beginning of each document, before its exception.
const HEAD: &str = "schema: sandwatch/exceptions/v1\nexceptions:\n";

/// The documents as one, each exception with an id of its own.
pub(super) fn as_one(offers: &[String]) -> String {
    let mut all = String::new();
    for (number, offer) in offers.iter().enumerate() {
        match offer.strip_prefix(HEAD) {
            Some(exception) if number > 0 => match exception.split_once('\n') {
                Some((id, rest)) => all.push_str(&format!("{id}-{}\n{rest}", number + 1)),
                None => all.push_str(exception),
            },
            None if number > 0 => all.push_str(&format!("---\n{offer}")),
            _ => all.push_str(offer),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_share_one_head_and_have_ids_of_their_own() {
        let offer = |what: &str| format!("{HEAD}  - id: engine-connect\n    what: {what}\n");
        assert_eq!(
            as_one(&[offer("a"), offer("b")]),
            format!("{HEAD}  - id: engine-connect\n    what: a\n  - id: engine-connect-2\n    what: b\n")
        );
        assert_eq!(as_one(&["x\n".into(), "y\n".into()]), "x\n---\ny\n");
        assert_eq!(as_one(&[]), "");
    }
}
