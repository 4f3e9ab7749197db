//! Matchers that rules compile to. None of them allocates while matching, and none can be made slow by the text it
//! looks at: globs backtrack to their last wildcard only.

mod address;
mod argv;
mod glob;
mod index;
mod names;
mod program;
mod script;

pub(crate) use address::{Networks, Port, canonical, parse_networks, parse_ports, scope_of};
pub(crate) use argv::{ArgvAny, ArgvPattern};
pub(crate) use glob::{Component, Glob, Globs, Piece, braces};
pub(crate) use index::GlobIndex;
pub(crate) use names::{NameIndex, RuleBits};
pub(crate) use program::{Programs, absolute, base, volatile_folder};
pub(crate) use script::{Before, Script, Scripts, script_of};
