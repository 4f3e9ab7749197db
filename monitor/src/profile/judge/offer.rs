//! What would make a deviation expected: an exception for this worker, with what people have to fill in.

use super::Scene;
use super::report::Broken;
use crate::event::Body;
use crate::profile::compile::FILL_IN;

/// The exception that would make it expected; refused until owner, reason and expiry are filled in.
pub(super) fn allow_with(scene: &Scene<'_>, what: Broken) -> Option<String> {
    let role = &scene.role?.name;
    let quote = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let (section, item) = match (&scene.event.body, what) {
        (Body::Exec(_), Broken::Exec) => {
            let image = scene.image.as_ref()?;
            let argv: Vec<String> = image.argv.iter().skip(1).map(|a| quote(&escape_glob(a))).collect();
            let all = ["\"*\"".to_owned()].into_iter().chain(argv).collect::<Vec<_>>().join(", ");
            ("exec", format!("program: {}, argv: [{all}]", quote(&escape_glob(image.exe?))))
        }
        (Body::Connect(connect), Broken::Connect) => {
            let protocol = if matches!(connect.protocol, 17 | 136) { "udp" } else { "tcp" };
            let to = format!("to: \"{protocol}:{}\"", connect.port);
            let place = scene.place?;
            match place.meaning.endpoint {
                Some(at) => {
                    ("connect", format!("{to}, endpoint: {}", scene.rules.inner.endpoints.get(at).id))
                }
                None => ("connect", format!("{to}, address: \"{}\"", place.address)),
            }
        }
        (Body::Unix(unix), Broken::Unix) => {
            ("unix", format!("path: {}", quote(&escape_glob(&unix.path.view))))
        }
        _ => return None,
    };
    let worker = scene.actor.worker.map_or_else(|| FILL_IN.to_owned(), |w| escape_glob(w.name));
    let (profile, worker) = (&scene.profile.name, quote(&worker));
    Some(format!(
        "schema: sandwatch/exceptions/v1\nexceptions:\n  - id: {role}-{section}\n    worker: {worker}\n    profile: {profile}\n    \
         role: {role}\n    what: {{ {section}: {{ {item} }} }}\n    owner: {FILL_IN}\n    reason: {FILL_IN}\n    \
         expires: {FILL_IN} # the last day it holds, as in 2027-03-31\n"
    ))
}

/// Text as a glob that matches only itself.
fn escape_glob(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | '{' | '}' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
