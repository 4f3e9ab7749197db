//! The JSON Schema of the alert.

use schemars::transform::{Transform, transform_subschemas};
use schemars::{Schema, generate::SchemaSettings};
use serde_json::{Value, json};

use super::Alert;

/// The JSON Schema (2020-12) of an alert, as text. `rules/schema/alert.json` is this.
pub fn schema() -> String {
    let generator = SchemaSettings::draft2020_12().with_transform(OpenEnums).into_generator();
    let mut schema = generator.into_root_schema_for::<Alert>();
    schema.insert("title".into(), json!("sandwatch alert, version 1"));
    schema.insert("$id".into(), json!("https://sandwatch.dev/schema/alert/v1.json"));
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}

/// Enums of the alert are open: a later version may say more. A closed list in the schema would make a receiver that
/// validates refuse it, so the known values are examples of a string.
#[derive(Clone, Debug)]
struct OpenEnums;

impl Transform for OpenEnums {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(object) = schema.as_object_mut() else { return };
        if let Some(Value::Array(variants)) = object.get("oneOf") {
            let values: Vec<Value> =
                variants.iter().filter_map(|variant| variant.get("const").cloned()).collect();
            if values.len() == variants.len() && values.iter().all(Value::is_string) {
                let described: Vec<String> = variants.iter().filter_map(describe).collect();
                object.remove("oneOf");
                object.insert("type".into(), json!("string"));
                object.insert("examples".into(), Value::Array(values));
                object.insert("$comment".into(), json!(described.join(" ")));
            }
        } else if let Some(values) = object.remove("enum") {
            object.insert("examples".into(), values);
        }
    }
}

fn describe(variant: &Value) -> Option<String> {
    Some(format!("{}: {}", variant.get("const")?.as_str()?, variant.get("description")?.as_str()?))
}
