//! `docs/configuration.md`: the part that says every key is written from the schema and from what each sink takes.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Map, Value};

use super::{SinkKind, schema};

const BEGIN: &str =
    "<!-- generated from the configuration's types: the tests compare it; UPDATE_SCHEMAS=1 writes it -->\n";
const END: &str = "<!-- end of what is generated -->\n";

/// Sections in the order they are read in; the first is the file itself.
const SECTIONS: [(&str, &str); 11] = [
    ("", "The file"),
    ("Workers", "workers"),
    ("Assign", "workers.assign"),
    ("PodsConfig", "pods"),
    ("ContainersConfig", "containers"),
    ("Kernel", "kernel"),
    ("SpoolConfig", "spool"),
    ("HeartbeatConfig", "heartbeat"),
    ("SinkConfig", "sinks"),
    ("TlsConfig", "sinks.tls"),
    ("Rotate", "sinks.rotate"),
];

fn reference() -> String {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    let defs = schema["$defs"].as_object().unwrap();
    let mut text = String::new();
    for (def, title) in SECTIONS {
        let Some(of) = (if def.is_empty() { Some(&schema) } else { defs.get(def) }) else { continue };
        section(&mut text, title, of, defs);
    }
    takes(&mut text);
    // A type that got no section would be documented nowhere.
    for (name, def) in defs {
        let known = SECTIONS.iter().any(|(def, _)| def == name);
        assert!(known || def.get("properties").is_none(), "{name} has no section in SECTIONS");
    }
    text
}

fn section(text: &mut String, title: &str, of: &Value, defs: &Map<String, Value>) {
    let title = if title == "The file" { title.to_owned() } else { format!("`{title}`") };
    let _ = write!(text, "\n## {title}\n\n| key | value | default | what it is |\n|---|---|---|---|\n");
    let required: Vec<&str> =
        of["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (key, value) in of["properties"].as_object().unwrap() {
        let default = if required.contains(&key.as_str()) { "must be given".into() } else { default(value) };
        let words = value["description"].as_str().unwrap_or_default().replace('\n', " ");
        let words = format!("{words}{}", choices(value, defs));
        let _ = writeln!(
            text,
            "| `{key}` | {} | {default} | {} |",
            shape(value, defs),
            words.replace('|', "\\|")
        );
    }
}

fn default(value: &Value) -> String {
    match &value["default"] {
        Value::Null => String::new(),
        Value::Array(list) if list.is_empty() => String::new(),
        Value::Object(map) if map.is_empty() => String::new(),
        // Its own section has the defaults of its keys.
        Value::Object(_) => String::new(),
        Value::Array(list) => {
            list.iter().map(|item| format!("`{}`", plain(item))).collect::<Vec<_>>().join(", ")
        }
        other => format!("`{}`", plain(other)),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What a value looks like, in words.
fn shape(value: &Value, defs: &Map<String, Value>) -> String {
    if let Some(name) = value["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
        return match (name, SECTIONS.iter().find(|(def, _)| *def == name)) {
            ("Bytes", _) => "bytes (`64KiB`)".into(),
            ("Span", _) => "time (`30s`)".into(),
            (_, Some((_, title))) => {
                let anchor: String =
                    title.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                format!("[`{title}`](#{anchor})")
            }
            _ => defs.get(name).map_or_else(|| "value".into(), |def| shape(def, defs)),
        };
    }
    if value.get("oneOf").is_some() {
        return "one of".into();
    }
    if let Some(any) = value["anyOf"].as_array() {
        let mut shapes: Vec<String> =
            any.iter().filter(|one| one["type"] != "null").map(|one| shape(one, defs)).collect();
        shapes.dedup();
        return shapes.join(" or ");
    }
    let types: Vec<&str> = match &value["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).filter(|one| *one != "null").collect(),
        _ => Vec::new(),
    };
    match types.first() {
        Some(&"array") => format!("list of {}", shape(&value["items"], defs)),
        Some(&"object") => match value.get("additionalProperties") {
            Some(of) if of.is_object() => format!("map to {}", shape(of, defs)),
            _ => "map".into(),
        },
        Some(&"string") => "text".into(),
        Some(&"integer") => "number".into(),
        Some(&"boolean") => "true or false".into(),
        _ => "value".into(),
    }
}

/// The words of an enumeration, each with what it means.
fn choices(value: &Value, defs: &Map<String, Value>) -> String {
    // The last: one that may be left out.
    let places = [&value["items"], value, &value["anyOf"][0]];
    let of = places.into_iter().find_map(|place| place["$ref"].as_str());
    let Some(def) = of.and_then(|path| path.strip_prefix("#/$defs/")).and_then(|name| defs.get(name)) else {
        return String::new();
    };
    let mut words: Vec<String> = Vec::new();
    for one in def["oneOf"].as_array().into_iter().flatten() {
        let meaning = one["description"].as_str().unwrap_or_default().replace('\n', " ");
        words
            .extend(one["const"].as_str().map(|word| format!("`{word}`: {}", meaning.trim_end_matches('.'))));
        words.extend(
            one["enum"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(|word| format!("`{word}`")),
        );
    }
    words.extend(
        def["enum"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(|word| format!("`{word}`")),
    );
    if words.is_empty() { String::new() } else { format!(" {}.", words.join("; ")) }
}

/// Which keys each type of sink takes.
fn takes(text: &mut String) {
    text.push_str("\n## What each type of sink takes\n\nBeside the keys that every sink has. Those in bold it cannot do without; `key_file` may be `key_env`.\n\n| type | keys |\n|---|---|\n");
    for kind in SinkKind::ALL {
        let keys: Vec<String> = kind
            .takes()
            .iter()
            .map(|key| if kind.needs().contains(key) { format!("**`{key}`**") } else { format!("`{key}`") })
            .collect();
        let _ = writeln!(text, "| `{}` | {} |", kind.name(), keys.join(", "));
    }
}

#[test]
fn the_committed_reference_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let committed = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = committed.split_once(BEGIN).unwrap();
    let (_, tail) = rest.split_once(END).unwrap();
    let current = format!("{head}{BEGIN}{}\n{END}{tail}", reference());
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(
        committed == current,
        "docs/configuration.md is not current: run the tests with UPDATE_SCHEMAS=1"
    );
}

/// Every example in the page is read by the very code that reads the file.
#[test]
fn every_example_of_the_page_is_a_good_configuration() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let text = std::fs::read_to_string(path).unwrap();
    let examples: Vec<&str> = text
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split_once("```").map(|(example, _)| example))
        .collect();
    assert!(examples.len() >= 3, "the examples are gone");
    for example in examples {
        super::parse(Path::new("sandwatch.yaml"), example)
            .unwrap_or_else(|error| panic!("{error}\n{example}"));
    }
}
