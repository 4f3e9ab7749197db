//! Names of environment variables that the probes look for at exec.

use std::collections::BTreeMap;

use monitor_common::map::env_flags::{CAPTURE, INDEX_SHIFT, LOADER};
use monitor_common::record::{ENV_NAME_MAX, ENV_NAMES_MAX};

use super::error::KernelError;
use super::maps::{Maps, clear, failed};
use crate::profile::LOADER_VARIABLES;

/// The map's content: names as keys, flags and the name's own number as values.
fn entries(names: &[String]) -> Result<BTreeMap<[u8; ENV_NAME_MAX], u32>, KernelError> {
    let mut flags: BTreeMap<&str, u32> = LOADER_VARIABLES.iter().map(|name| (*name, LOADER)).collect();
    for name in names {
        *flags.entry(name).or_default() |= CAPTURE;
    }
    if flags.len() > ENV_NAMES_MAX {
        let most = ENV_NAMES_MAX - LOADER_VARIABLES.len();
        let reason = format!(
            "{} names, and at most {most} fit: take names out of the profiles' attribution",
            names.len()
        );
        return Err(KernelError::Filter { what: "the environment names", reason });
    }
    flags
        .into_iter()
        .zip(0u32..)
        .map(|((name, flags), number)| {
            let mut key = [0; ENV_NAME_MAX];
            // A key of full length has no terminator to tell it from a longer name.
            if name.is_empty() || name.len() >= ENV_NAME_MAX || name.contains(['=', '\0']) {
                let reason =
                    format!("`{name}` is empty, longer than {} bytes, or has `=` in it", ENV_NAME_MAX - 1);
                return Err(KernelError::Filter { what: "an environment name", reason });
            }
            key[..name.len()].copy_from_slice(name.as_bytes());
            Ok((key, flags | number << INDEX_SHIFT))
        })
        .collect()
}

impl Maps {
    /// Replaces the names whose values are taken.
    pub(crate) fn set_env_names(&mut self, names: &[String]) -> Result<(), KernelError> {
        let entries = entries(names)?;
        let stale: Vec<_> =
            self.env.keys().filter(|key| !matches!(key, Ok(key) if entries.contains_key(key))).collect();
        clear("ENV_NAMES", stale.into_iter(), |key| self.env.remove(&key))?;
        for (key, value) in entries {
            self.env.insert(key, value, 0).map_err(|error| failed("ENV_NAMES", "insert", &error))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_names_have_numbers_of_their_own_and_a_loader_can_be_captured_too() {
        let entries = entries(&["GITHUB_RUN_ID".into(), "NODE_OPTIONS".into()]).unwrap();
        let mut numbers: Vec<u32> = entries.values().map(|value| value >> INDEX_SHIFT).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), LOADER_VARIABLES.len() + 1);
        assert!(entries.values().any(|value| value & (CAPTURE | LOADER) == CAPTURE | LOADER));
        assert!(numbers.iter().all(|number| *number < ENV_NAMES_MAX as u32));
    }

    #[test]
    fn env_name_that_does_not_fit_is_refused_by_name() {
        let message = entries(&["X".repeat(ENV_NAME_MAX)]).unwrap_err().to_string();
        assert!(message.contains("XXXX"), "{message}");
        assert!(entries(&["A=B".into()]).is_err());
        assert!(entries(&(0..ENV_NAMES_MAX).map(|n| format!("V{n}")).collect::<Vec<_>>()).is_err());
    }
}
