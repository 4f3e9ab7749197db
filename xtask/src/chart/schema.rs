//! The schema of the chart's values: the chart's own (`values.schema.json` beside this file), with the agent's configuration put in where
//! the values carry it, so that a misspelt key is refused before anything reaches the cluster.

use anyhow::{Context, Result, anyhow};
use serde_json::{Map, Value, json};

const OWN: &str = include_str!("values.schema.json");
/// Keys of the configuration that the chart writes itself.
const CHARTS: [&str; 6] = ["schema", "state_dir", "rules", "pods", "listen", "sinks"];

/// The whole file; `config` is the JSON Schema of the agent's configuration.
pub(super) fn text(config: &str) -> Result<String> {
    let mut schema: Value = serde_json::from_str(OWN).context("the chart's own schema is no JSON")?;
    let config: Value = serde_json::from_str(config).context("the schema of the configuration is no JSON")?;
    let mut keys = object(&config, "properties")?;
    for key in CHARTS {
        keys.shift_remove(key);
    }
    let mut parts = object(&config, "$defs")?;
    let secret = json!({ "$ref": "#/$defs/SecretKey" });
    extend(
        &mut parts,
        "SinkConfig",
        [
            ("existingSecret", secret.clone()),
            ("headerSecrets", json!({ "type": "object", "additionalProperties": secret })),
            // The name becomes part of a path.
            ("name", json!({ "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$" })),
        ],
    )?;
    extend(&mut parts, "TlsConfig", [("existingSecret", json!({ "$ref": "#/$defs/SecretTls" }))])?;
    let own = schema.as_object_mut().context("the chart's own schema is no object")?;
    let properties =
        own.get_mut("properties").and_then(Value::as_object_mut).context("it has no properties")?;
    properties.insert(
        "config".to_owned(),
        json!({ "type": "object", "additionalProperties": false, "properties": keys }),
    );
    properties
        .insert("sinks".to_owned(), json!({ "type": "array", "items": { "$ref": "#/$defs/SinkConfig" } }));
    let defs = own.get_mut("$defs").and_then(Value::as_object_mut).context("it has no $defs")?;
    defs.extend(parts);
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

fn object(value: &Value, key: &str) -> Result<Map<String, Value>> {
    let found = value.get(key).and_then(Value::as_object).cloned();
    found.ok_or_else(|| anyhow!("the schema of the configuration has no {key}"))
}

fn extend<const N: usize>(
    parts: &mut Map<String, Value>,
    name: &str,
    more: [(&str, Value); N],
) -> Result<()> {
    let properties =
        parts.get_mut(name).and_then(|part| part.get_mut("properties")).and_then(Value::as_object_mut);
    let properties = properties.with_context(|| format!("the schema of the configuration has no {name}"))?;
    for (key, value) in more {
        properties.insert(key.to_owned(), value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn agents_keys_are_taken_over_and_those_that_the_chart_writes_are_not() {
        let config = r#"{ "properties": { "schema": {}, "cluster": { "type": "string" }, "listen": {} },
            "$defs": { "SinkConfig": { "properties": { "path": {} } }, "TlsConfig": { "properties": {} } } }"#;
        let schema: serde_json::Value = serde_json::from_str(&text(config).unwrap()).unwrap();
        let keys = schema["properties"]["config"]["properties"].as_object().unwrap();
        assert_eq!(keys.keys().collect::<Vec<_>>(), ["cluster"]);
        let sink = schema["$defs"]["SinkConfig"]["properties"].as_object().unwrap();
        assert_eq!(sink.keys().collect::<Vec<_>>(), ["path", "existingSecret", "headerSecrets", "name"]);
        assert!(text("{}").is_err());
    }
}
