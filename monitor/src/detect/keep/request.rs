//! A person's word to close an incident, on its way to the running agent.
//!
//! It is a file in the state directory, which only root may write, and not a message over a socket: it works the same while
//! the agent is down (it is taken when it starts), it needs no protocol, and who may write there may do worse already.

use serde::{Deserialize, Serialize};

use super::saved::is_id;

/// Longest name and reason, bytes.
const TEXT_MAX: usize = 1024;

/// A word to close an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseRequest {
    /// The incident's id.
    pub id: String,
    /// Who closes it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When it was said, RFC 3339.
    pub time: String,
}

impl CloseRequest {
    /// Checks what a file or a command line says.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn check(self) -> Result<Self, String> {
        if !is_id(&self.id) {
            return Err(format!("{:?} is no id of an incident", self.id));
        }
        for (what, text) in [("who closes it", &self.by), ("the reason", &self.reason)] {
            if text.trim().is_empty() {
                return Err(format!("{what} is empty"));
            }
            if text.len() > TEXT_MAX {
                return Err(format!("{what} is longer than {TEXT_MAX} bytes"));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: &str, by: &str, reason: &str) -> Result<CloseRequest, String> {
        CloseRequest { id: id.into(), by: by.into(), reason: reason.into(), time: "t".into() }.check()
    }

    #[test]
    fn request_needs_an_id_a_name_and_a_reason() {
        let id = "0123456789abcdef0123456789abcdef";
        assert!(request(id, "ops", "rotated").is_ok());
        assert!(request("../../etc/passwd", "ops", "rotated").is_err());
        assert!(request(&id[1..], "ops", "rotated").is_err());
        assert!(request(id, " ", "rotated").is_err());
        assert!(request(id, "ops", "").is_err());
        assert!(request(id, "ops", &"x".repeat(2000)).is_err());
    }
}
