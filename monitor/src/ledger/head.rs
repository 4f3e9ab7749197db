//! The hash of a line, and the head of the chain.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// The SHA-256 of a line, without its line feed.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Before the first line.
    pub const NONE: Self = Self([0; 32]);

    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// As other digests of alerts are written: `sha256:…`.
    pub fn named(&self) -> String {
        format!("sha256:{self}")
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        if text.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let [high, low] = pair else { return None };
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self(bytes))
    }
}

/// Lower case only: a hash has one spelling.
fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(to, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{self}")
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a hash of 64 lower-case hex digits"))
    }
}

/// A line of the chain by its number and the beginning of its hash: `NUMBER:HASH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The entry's number; `None`: wherever it stands.
    pub number: Option<u64>,
    hash: String,
}

impl Head {
    /// Digits that a head is shown with: 128 bits.
    const SHOWN: usize = 32;
    /// Fewer would match by chance, or by force.
    const LEAST: usize = 16;

    /// The head of a line.
    pub fn of(number: u64, hash: &Hash) -> Self {
        let mut hash = hash.to_string();
        hash.truncate(Self::SHOWN);
        Self { number: Some(number), hash }
    }

    /// Whether this is a line of this hash.
    pub fn is(&self, hash: &Hash) -> bool {
        hash.to_string().starts_with(&self.hash)
    }
}

impl fmt::Display for Head {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => write!(to, "{number}:{}", self.hash),
            None => write!(to, "{}", self.hash),
        }
    }
}

impl FromStr for Head {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, hash) = match text.split_once(':') {
            Some(("sha256", hash)) => (None, hash),
            Some((number, hash)) => (Some(number), hash),
            None => (None, text),
        };
        let number =
            number.map(|number| number.parse().map_err(|_| format!("{number:?} is no number of an entry")));
        let hash = hash.to_ascii_lowercase();
        if !(Self::LEAST..=64).contains(&hash.len()) || !hash.bytes().all(|byte| digit(byte).is_some()) {
            return Err(format!(
                "{hash:?} is not {} to 64 hex digits; give `log` of a heartbeat, as it is",
                Self::LEAST
            ));
        }
        Ok(Self { number: number.transpose()?, hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_is_written_as_it_is_read() {
        let hash = Hash::of(b"a line");
        let head = Head::of(4711, &hash);
        assert_eq!(head.to_string().parse(), Ok(head.clone()));
        assert!(head.is(&hash) && !head.is(&Hash::of(b"another")));
        let whole: Head = hash.named().parse().unwrap();
        assert!(whole.number.is_none() && whole.is(&hash));
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for text in ["", "1:", "x:0123456789abcdef", "1:0123", "1:0123456789abcdefg", "-1:0123456789abcdef"] {
            assert!(text.parse::<Head>().is_err(), "{text}");
        }
    }

    #[test]
    fn hash_is_that_of_sha256sum() {
        assert_eq!(
            Hash::of(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let text = serde_json::to_string(&Hash::of(b"abc")).unwrap();
        assert_eq!(serde_json::from_str::<Hash>(&text).unwrap(), Hash::of(b"abc"));
        assert!(serde_json::from_str::<Hash>(&text.to_uppercase()).is_err());
    }
}
