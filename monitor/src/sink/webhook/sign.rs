//! The signature of Standard Webhooks 1.0: `v1,` and the base64 of HMAC-SHA256 over `ID.TIME.BODY`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::config::SinkConfig;
use crate::delivery::Secret;
use crate::sink::net::NetError;

/// Bytes that a key may have.
const LENGTH: std::ops::RangeInclusive<usize> = 24..=64;
/// Most keys at a time.
const KEYS: usize = 4;

/// The signing keys: while one is replaced, the old one and the new one.
pub(super) struct Keys {
    raw: Vec<Zeroizing<Vec<u8>>>,
    texts: Vec<Secret>,
}

impl Keys {
    /// The keys of the configuration: `whsec_…`, several of them separated by blanks.
    ///
    /// # Errors
    /// There is none, or one is no key.
    pub(super) fn read(config: &SinkConfig) -> Result<Self, NetError> {
        let wrong = |what: &str| NetError::content("key_file", what);
        let secret = Secret::of(config)?.ok_or_else(|| {
            NetError::key("key_file", "is missing: name the file with the signing key (whsec_…)")
        })?;
        let texts: Vec<Secret> =
            secret.expose().split_whitespace().map(|text| Secret::new(text.to_owned())).collect();
        if texts.len() > KEYS {
            return Err(wrong("holds more than 4 keys"));
        }
        let raw = texts.iter().map(|text| {
            let coded = text.expose().strip_prefix("whsec_").unwrap_or(text.expose());
            let raw = Zeroizing::new(STANDARD.decode(coded).map_err(|_| {
                wrong("holds no signing key: that is `whsec_` and base64; several are separated by blanks")
            })?);
            if LENGTH.contains(&raw.len()) {
                Ok(raw)
            } else {
                Err(wrong("holds a signing key that has not 24 to 64 bytes"))
            }
        });
        Ok(Self { raw: raw.collect::<Result<_, _>>()?, texts })
    }

    /// The keys as they are written, and without their mark: neither must be shown.
    pub(super) fn secrets(&self) -> impl Iterator<Item = Secret> {
        self.texts.iter().flat_map(|text| {
            let bare = text.expose().strip_prefix("whsec_").unwrap_or_default();
            [text.clone(), Secret::new(bare.to_owned())]
        })
    }

    /// A signature of each key, as the header has them.
    pub(super) fn sign(&self, id: &str, time: &str, body: &[u8]) -> String {
        let signatures = self.raw.iter().filter_map(|key| {
            // Every length is a key for HMAC.
            let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
            mac.update(id.as_bytes());
            mac.update(b".");
            mac.update(time.as_bytes());
            mac.update(b".");
            mac.update(body);
            Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}
