//! The JSON Schemas of rule documents: what `sandwatch rules schema` prints and editors validate with.

use schemars::{Schema, schema_for};

use super::doc::{Detections, Endpoints, Exceptions, Identities, Postures, ProfileDoc};
use super::rule_test::RuleTestDoc;

/// Names of the schemas, as `sandwatch rules schema NAME` takes them.
pub const NAMES: [&str; 7] =
    ["profile", "detections", "identities", "endpoints", "exceptions", "posture", "rule-test"];

/// The schema of this name.
pub fn schema(name: &str) -> Option<Schema> {
    Some(match name {
        "profile" => schema_for!(ProfileDoc),
        "detections" => schema_for!(Detections),
        "identities" => schema_for!(Identities),
        "endpoints" => schema_for!(Endpoints),
        "exceptions" => schema_for!(Exceptions),
        "posture" => schema_for!(Postures),
        "rule-test" => schema_for!(RuleTestDoc),
        _ => return None,
    })
}

/// The text of a schema as it is committed: indented, one newline at the end.
pub fn schema_text(name: &str) -> Option<String> {
    let schema = schema(name)?;
    let mut text = serde_json::to_string_pretty(&schema).ok()?;
    text.push('\n');
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_names_its_keys_and_refuses_others() {
        for name in NAMES {
            let value = serde_json::to_value(schema(name).unwrap()).unwrap();
            assert_eq!(value["additionalProperties"], false, "{name}");
            assert!(value["properties"]["schema"].is_object(), "{name}");
        }
        assert!(schema("nonsense").is_none());
    }

    #[test]
    fn the_key_names_are_those_of_the_files() {
        let text = schema_text("detections").unwrap();
        assert!(text.contains("\"match\"") && text.contains("\"gains_privilege\""));
        assert!(schema_text("profile").unwrap().contains("\"else\""));
    }

    /// The committed schemas are what this program reads. `UPDATE_SCHEMAS=1` writes them.
    #[test]
    fn committed_schemas_are_current() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules/schema");
        for name in NAMES {
            let path = folder.join(format!("{name}.json"));
            let text = schema_text(name).unwrap();
            if std::env::var_os("UPDATE_SCHEMAS").is_some() {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&path, &text).unwrap();
            }
            let committed = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                committed == text,
                "{} is not current: run the tests with UPDATE_SCHEMAS=1",
                path.display()
            );
        }
    }
}
