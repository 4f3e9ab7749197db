//! Recordings written by hand: steps in YAML, made into the events a kernel would have sent.
//!
//! For what cannot be installed and recorded. The steps are those of rule tests, with processes that fork from one another;
//! the header of what comes out says that it was built, and from what. `doc` is the file, `build` makes the events.

mod build;
mod doc;

use std::sync::Arc;

pub use doc::ScenarioDoc;

use super::expect::ExpectationDoc;
use super::format::{Header, Line};
use crate::profile::{RuleError, parse_yaml, suggest};

/// The `schema` of a scenario.
pub(super) const SCENARIO_SCHEMA: &str = "sandwatch/scenario/v1";

/// A recording that was built.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its header.
    pub header: Header,
    /// Its lines.
    pub lines: Vec<Line>,
    /// What must come of it.
    pub expect: Option<ExpectationDoc>,
}

impl Scenario {
    /// Reads a scenario and makes its events.
    ///
    /// # Errors
    /// What is wrong in the file, with line and column.
    pub fn parse(file: &Arc<str>, text: &str) -> Result<Self, RuleError> {
        let doc: ScenarioDoc = parse_yaml(file, text)?;
        check_schema(file, &doc.schema, SCENARIO_SCHEMA)?;
        let (header, lines) = build::build(file, &doc)?;
        Ok(Self { header, lines, expect: doc.expect })
    }
}

pub(super) fn check_schema(file: &Arc<str>, given: &str, wanted: &str) -> Result<(), RuleError> {
    if given == wanted {
        return Ok(());
    }
    Err(RuleError {
        file: file.clone(),
        line: 1,
        column: 1,
        what: format!("unknown schema `{given}`"),
        fix: suggest(given, [wanted]),
    })
}

#[cfg(test)]
mod tests;
