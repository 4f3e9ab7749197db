//! Users of the gate: Kafka's requests of SASL (KIP-152), with PLAIN (RFC 4616) and SCRAM (RFC 5802, RFC 7677) behind them. A fake:
//! Tansu's own users can be made only by a user.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};

const HANDSHAKE: i16 = 17;
const VERSIONS: i16 = 18;
const AUTHENTICATE: i16 = 36;

const UNSUPPORTED_MECHANISM: i16 = 33;
const AUTHENTICATION_FAILED: i16 = 58;

const SALT: &[u8] = b"salt-of-a-test";
const ITERATIONS: u32 = 4096;

/// The one user there is, and how it logs in.
pub(crate) struct Users {
    mechanism: &'static str,
    user: &'static str,
    password: &'static str,
    /// Say what was sent when it is refused, as a careless broker would.
    pub(crate) repeats: bool,
    counts: Mutex<(usize, usize)>,
    nonce: AtomicUsize,
}

/// One connection.
pub(crate) struct Visitor<'a> {
    users: &'a Users,
    inside: bool,
    /// What was said of SCRAM so far: `client-first-bare,server-first`.
    said: Option<String>,
}

impl Users {
    pub(crate) fn new(mechanism: &'static str, user: &'static str, password: &'static str) -> Self {
        let (counts, nonce) = (Mutex::default(), AtomicUsize::new(0));
        Self { mechanism, user, password, repeats: false, counts, nonce }
    }

    pub(crate) fn visitor(&self) -> Visitor<'_> {
        Visitor { users: self, inside: false, said: None }
    }

    pub(crate) fn counts(&self) -> (usize, usize) {
        *self.counts.lock().unwrap()
    }
}

impl Visitor<'_> {
    /// The answer to a request, if the broker does not have to see it; an error cuts the connection.
    pub(crate) fn answer(&mut self, request: &[u8]) -> Option<io::Result<Vec<u8>>> {
        let (kind, version) = (number(request, 0), number(request, 2));
        match kind {
            HANDSHAKE => Some(Ok(self.handshake(request))),
            AUTHENTICATE => Some(Ok(self.authenticate(request, version))),
            VERSIONS => None,
            _ if self.inside => None,
            _ => Some(Err(io::ErrorKind::PermissionDenied.into())),
        }
    }

    fn handshake(&self, request: &[u8]) -> Vec<u8> {
        let mut at = after_client(request);
        let wanted = String::from_utf8_lossy(bytes(request, &mut at, 2)).into_owned();
        let error = if wanted == self.users.mechanism { 0 } else { UNSUPPORTED_MECHANISM };
        let mut answer = request[4..8].to_vec();
        answer.extend(error.to_be_bytes());
        answer.extend(1_i32.to_be_bytes());
        put(&mut answer, self.users.mechanism.as_bytes());
        answer
    }

    fn authenticate(&mut self, request: &[u8], version: i16) -> Vec<u8> {
        assert!(version < 2, "the flexible version is not known here");
        let mut at = after_client(request);
        let token = String::from_utf8(bytes(request, &mut at, 4).to_vec()).unwrap();
        let said = if self.users.mechanism == "PLAIN" { self.plain(&token) } else { self.scram(&token) };
        let mut counts = self.users.counts.lock().unwrap();
        let mut answer = request[4..8].to_vec();
        let back = match said {
            Ok(back) => {
                counts.0 += usize::from(self.inside);
                answer.extend(0_i16.to_be_bytes());
                answer.extend((-1_i16).to_be_bytes());
                back
            }
            Err(()) => {
                counts.1 += 1;
                answer.extend(AUTHENTICATION_FAILED.to_be_bytes());
                let what =
                    if self.users.repeats { format!("not with {token:?}") } else { "go away".to_owned() };
                put(&mut answer, what.as_bytes());
                String::new()
            }
        };
        answer.extend((back.len() as i32).to_be_bytes());
        answer.extend(back.as_bytes());
        if version == 1 {
            answer.extend(0_i64.to_be_bytes());
        }
        answer
    }

    fn plain(&mut self, token: &str) -> Result<String, ()> {
        self.inside = token == format!("\0{}\0{}", self.users.user, self.users.password);
        if self.inside { Ok(String::new()) } else { Err(()) }
    }

    fn scram(&mut self, token: &str) -> Result<String, ()> {
        let Some(said) = self.said.take() else {
            let bare = token.strip_prefix("n,,").ok_or(())?;
            let nonce = bare.split_once(",r=").ok_or(())?.1;
            if bare.split(',').next() != Some(&format!("n={}", self.users.user)) {
                return Err(());
            }
            let mine = self.users.nonce.fetch_add(1, Ordering::Relaxed);
            let first = format!("r={nonce}server{mine},s={},i={ITERATIONS}", STANDARD.encode(SALT));
            self.said = Some(format!("{bare},{first}"));
            return Ok(first);
        };
        let (without, proof) = token.split_once(",p=").ok_or(())?;
        let all = format!("{said},{without}");
        let proof = STANDARD.decode(proof).map_err(drop)?;
        let back = if self.users.mechanism == "SCRAM-SHA-256" {
            check::<Sha256, Hmac<Sha256>>(self.users.password, &all, &proof)?
        } else {
            check::<Sha512, Hmac<Sha512>>(self.users.password, &all, &proof)?
        };
        self.inside = true;
        Ok(format!("v={}", STANDARD.encode(back)))
    }
}

/// The proof that the server knows the password too, if the client's is right.
fn check<D: Digest, M: Mac + KeyInit>(password: &str, said: &str, proof: &[u8]) -> Result<Vec<u8>, ()> {
    let salted = stretched::<M>(password.as_bytes());
    let client_key = mac::<M>(&salted, b"Client Key");
    let stored = D::digest(&client_key);
    let signature = mac::<M>(&stored, said.as_bytes());
    let right: Vec<u8> = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
    if proof == right { Ok(mac::<M>(&mac::<M>(&salted, b"Server Key"), said.as_bytes())) } else { Err(()) }
}

fn mac<M: Mac + KeyInit>(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// PBKDF2 with one block.
fn stretched<M: Mac + KeyInit>(password: &[u8]) -> Vec<u8> {
    let mut block = mac::<M>(password, &[SALT, &1_u32.to_be_bytes()].concat());
    let mut sum = block.clone();
    for _ in 1..ITERATIONS {
        block = mac::<M>(password, &block);
        sum.iter_mut().zip(&block).for_each(|(sum, byte)| *sum ^= byte);
    }
    sum
}

/// Behind kind, version, number and the client's name.
fn after_client(request: &[u8]) -> usize {
    10 + usize::try_from(number(request, 8)).unwrap_or(0)
}

fn number(bytes: &[u8], at: usize) -> i16 {
    i16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// With a length before them, of so many bytes.
fn bytes<'a>(request: &'a [u8], at: &mut usize, width: usize) -> &'a [u8] {
    let length = request[*at..*at + width].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    *at += width + length;
    &request[*at - length..*at]
}

fn put(answer: &mut Vec<u8>, text: &[u8]) {
    answer.extend((text.len() as i16).to_be_bytes());
    answer.extend(text);
}
