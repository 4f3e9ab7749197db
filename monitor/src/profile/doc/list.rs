//! Lists that may be written shorter: one value for a list of one, one argument for a part of an argument list.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

/// A list that may be written as its only element. Scalars are taken as text, so `port: 22` and `port: "22"` are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> OneOrMany<T> {
    /// Nothing was given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The elements.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T>(PhantomData<T>);
        impl<T> List<T> {
            fn one<'de, E: de::Error>(text: &str) -> Result<OneOrMany<T>, E>
            where
                T: Deserialize<'de>,
            {
                let one = T::deserialize(de::value::StringDeserializer::<E>::new(text.to_owned()))?;
                Ok(OneOrMany(vec![one]))
            }
        }
        impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
            type Value = OneOrMany<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one value or a list of values")
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Self::Value, E> {
                Self::one(v)
            }
            fn visit_bool<E: de::Error>(self, v: bool) -> Result<Self::Value, E> {
                Self::one(if v { "true" } else { "false" })
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Self::Value, E> {
                Self::one(&v.to_string())
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Self::Value, E> {
                Self::one(&v.to_string())
            }
            fn visit_f64<E: de::Error>(self, v: f64) -> Result<Self::Value, E> {
                Self::one(&v.to_string())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = seq.next_element()? {
                    all.push(item);
                }
                Ok(OneOrMany(all))
            }
            fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
                Err(de::Error::invalid_type(de::Unexpected::Map, &self))
            }
        }
        deserializer.deserialize_any(List(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one.clone(), { "type": "array", "items": one }] })
    }
}

/// An argument, or several that follow each other: globs, in a list of several `**` is any number of arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArgvPart {
    /// One argument.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl<'de> Deserialize<'de> for ArgvPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Part;
        impl<'de> Visitor<'de> for Part {
            type Value = ArgvPart;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a glob, or a list of globs for arguments that follow each other")
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Self::Value, E> {
                Ok(ArgvPart::One(v.to_owned()))
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Self::Value, E> {
                Ok(ArgvPart::One(v.to_string()))
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Self::Value, E> {
                Ok(ArgvPart::One(v.to_string()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = seq.next_element()? {
                    all.push(item);
                }
                if all.is_empty() {
                    return Err(de::Error::invalid_length(0, &self));
                }
                Ok(ArgvPart::Several(all))
            }
        }
        deserializer.deserialize_any(Part)
    }
}

impl JsonSchema for ArgvPart {
    fn schema_name() -> Cow<'static, str> {
        "ArgvPart".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A glob for one argument, or a list of globs for arguments that follow each other.",
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "minItems": 1 }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_or_many_takes_a_scalar_a_number_and_a_list() {
        let parse = |text: &str| serde_saphyr::from_str::<OneOrMany<String>>(text).unwrap().0;
        assert_eq!(parse("sh"), ["sh"]);
        assert_eq!(parse("22"), ["22"]);
        assert_eq!(parse("[a, b]"), ["a", "b"]);
        assert!(serde_saphyr::from_str::<OneOrMany<String>>("{a: b}").is_err());
    }

    #[test]
    fn part_of_arguments_is_text_or_a_list() {
        let parse = serde_saphyr::from_str::<OneOrMany<ArgvPart>>;
        let one = |text: &str| ArgvPart::One(text.to_owned());
        let parts = parse("[-e, 1, [clone, \"-u*\"]]").unwrap().0;
        assert_eq!(parts, [one("-e"), one("1"), ArgvPart::Several(vec!["clone".into(), "-u*".into()])]);
        assert_eq!(parse("register").unwrap().0, [one("register")]);
        assert!(parse("[[]]").is_err() && parse("[{a: b}]").is_err());
    }
}
