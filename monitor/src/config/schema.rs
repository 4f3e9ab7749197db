//! The JSON Schema of the configuration file.

use schemars::generate::SchemaSettings;
use serde_json::json;

use super::Config;

/// The JSON Schema (2020-12) of the configuration file, as text; it documents every key.
pub fn schema() -> String {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Config>();
    schema.insert("title".into(), json!("sandwatch configuration, version 1"));
    schema.insert("$id".into(), json!("https://sandwatch.dev/schema/config/v1.json"));
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_schema_is_current() {
        crate::alert::schema_tests::committed("config.json", &super::schema());
    }
}
