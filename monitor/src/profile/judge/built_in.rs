//! What goes with the findings that no rule file holds.

use super::report::Broken;
use crate::profile::finding::Respond;

/// References by catalogue.
pub(super) type BuiltInRefs = &'static [(&'static str, &'static [&'static str])];

/// Where a built-in finding is described.
pub(super) const fn refs(what: Broken) -> BuiltInRefs {
    match what {
        Broken::LoaderInjection => &[
            ("attack", &["T1574.006", "T1574.007", "T1059"]),
            ("owasp_nhi", &["NHI8"]),
            ("owasp_asi", &["ASI05"]),
            ("nist_csf", &["DE.CM-09", "PR.PS-05"]),
        ],
        Broken::BinaryChanged => &[
            ("attack", &["T1554", "T1036.005"]),
            ("owasp_nhi", &["NHI3", "NHI7"]),
            ("owasp_asi", &["ASI04", "ASI10"]),
            ("nist_csf", &["DE.CM-09", "PR.PS-05"]),
        ],
        Broken::OperatorSession => {
            &[("attack", &["T1609"]), ("owasp_nhi", &["NHI10"]), ("nist_csf", &["DE.CM-03"])]
        }
        _ => &[],
    }
}

/// What to do about a built-in finding.
pub(super) fn respond(what: Broken) -> Respond {
    let text = |text: &str| Some(text.to_owned());
    match what {
        Broken::LoaderInjection => Respond {
            contain: text("Freeze the worker; the helper runs the code of whoever set the variable."),
            preserve: text(
                "The environment of the process while it lives, and the file that the variable names.",
            ),
            revoke: text("The identities in the blast radius."),
            review: text(
                "Who can set variables for what the engine starts: node settings, workflow parameters.",
            ),
            ..Respond::default()
        },
        Broken::BinaryChanged => Respond {
            contain: text("Freeze the worker, if the engine was not updated at this time."),
            preserve: text("The file, before anything is restarted."),
            revoke: text("The identities that the engine holds."),
            review: text(
                "Who wrote the file; after an update, restart the worker and the new file is taken.",
            ),
            ..Respond::default()
        },
        Broken::OperatorSession => Respond {
            review: text("Whether somebody on duty entered the worker at this time."),
            ..Respond::default()
        },
        _ => Respond::default(),
    }
}
