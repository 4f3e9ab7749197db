//! What the file of an incident holds.

use serde::{Deserialize, Serialize};

use crate::alert::{Alert, SafeAlert, State};
use crate::detect::incident::Incident;

/// The `schema` of a file.
const SCHEMA: &str = "sandwatch/incident-state/v1";

/// An incident as its file holds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Saved {
    /// Always `sandwatch/incident-state/v1`; another is a later version's.
    schema: String,
    /// The boot it belongs to.
    pub(super) boot_id: String,
    /// The last revision that was handed to the sinks.
    pub(super) sent: u64,
    /// Written when the agent ended in order: no later revision was sent.
    pub(super) clean: bool,
    pub(super) incident: Incident,
}

impl Saved {
    /// An incident whose alerts up to revision `sent` were handed to the sinks. Its alert is redacted, like every one that is
    /// shown.
    pub(super) fn new(boot_id: &str, incident: &Incident, sent: u64, clean: bool) -> Self {
        let mut incident = incident.clone();
        let alert = SafeAlert::new(incident.alert().clone());
        incident.set_alert(Alert::clone(&alert));
        Self { schema: SCHEMA.to_owned(), boot_id: boot_id.to_owned(), sent, clean, incident }
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            schema: String,
        }
        let head: Head = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if head.schema != SCHEMA {
            return Err(format!("is of schema {:?}, this version knows {SCHEMA}", head.schema));
        }
        let saved: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if !is_id(saved.id()) {
            return Err(format!("{:?} is no id of an incident", saved.id()));
        }
        Ok(saved)
    }

    /// The file's text.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// The incident's id.
    pub fn id(&self) -> &str {
        &self.incident.id
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.incident.state
    }

    /// Its last alert.
    pub fn alert(&self) -> &Alert {
        self.incident.alert()
    }

    /// Whether it is a digest of deviations.
    pub fn is_digest(&self) -> bool {
        self.incident.is_digest()
    }
}

/// Whether this is the id of an incident: then it is also a safe file name.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
