//! Text and paths as the kernel gave them, with what is known of their completeness.
//!
//! In a recording either is its text alone when nothing else has to be said of it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::names::is_default;

/// Text from the kernel with what is known of its completeness. Bytes that are not UTF-8 are replaced for matching and
/// output; `raw` text never reaches a terminal unescaped.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Text {
    /// The text, lossily UTF-8.
    pub text: Arc<str>,
    /// It was longer.
    pub truncated: bool,
    /// It could not be read.
    pub unreadable: bool,
    /// It was read from memory the process can change.
    pub user_memory: bool,
}

/// A resolved path.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Path {
    /// Path in the view of the process's root (what the worker calls it); the whole path when it lies outside the root.
    pub view: Arc<str>,
    /// Path from the top of the mount tree, when it differs from `view`.
    pub full: Option<Arc<str>>,
    /// The head is missing.
    pub cut: bool,
    /// Could not be read.
    pub unreadable: bool,
    /// The object has no path (memfd, pipe, detached mount).
    pub none: bool,
    /// Deleted.
    pub deleted: bool,
    /// Outside the process's root directory.
    pub outside_root: bool,
    /// From memory the process can change.
    pub user_memory: bool,
}

impl Path {
    /// Whether the path can be relied on to match a pattern (not cut, unreadable or absent).
    pub fn is_known(&self) -> bool {
        !(self.cut || self.unreadable || self.none)
    }
}

/// What a recording writes of one of the above.
trait Written: Clone + Default + PartialEq {
    /// The same with everything said.
    type Whole: Serialize + for<'de> Deserialize<'de>;
    fn plain(text: Arc<str>) -> Self;
    fn text(&self) -> &Arc<str>;
    fn whole(&self) -> Self::Whole;
    fn of_whole(whole: Self::Whole) -> Self;
}

macro_rules! written {
    ($name:ident, $whole:ident, $main:ident, { $($field:ident: $type:ty),* }) => {
        #[derive(Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $whole {
            #[serde(default, skip_serializing_if = "is_default")]
            $main: Arc<str>,
            $(#[serde(default, skip_serializing_if = "is_default")] $field: $type,)*
        }

        impl Written for $name {
            type Whole = $whole;
            fn plain(text: Arc<str>) -> Self {
                Self { $main: text, ..Self::default() }
            }
            fn text(&self) -> &Arc<str> {
                &self.$main
            }
            fn whole(&self) -> $whole {
                let Self { $main, $($field),* } = self.clone();
                $whole { $main, $($field),* }
            }
            fn of_whole(whole: $whole) -> Self {
                let $whole { $main, $($field),* } = whole;
                Self { $main, $($field),* }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                if *self == Self::plain(self.text().clone()) {
                    to.serialize_str(self.text())
                } else {
                    self.whole().serialize(to)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_any(Either(PhantomData))
            }
        }
    };
}

written!(Text, WholeText, text, { truncated: bool, unreadable: bool, user_memory: bool });
written!(Path, WholePath, view, {
    full: Option<Arc<str>>, cut: bool, unreadable: bool, none: bool, deleted: bool, outside_root: bool, user_memory: bool
});

struct Either<T>(PhantomData<T>);

impl<'de, T: Written> Visitor<'de> for Either<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, or an object with it and what is known of it")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        Ok(T::plain(text.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::Whole::deserialize(MapAccessDeserializer::new(map)).map(T::of_whole)
    }
}
