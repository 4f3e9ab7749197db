//! The HTTP client of all sinks that speak it.
//!
//! Posts or gets, and reads an answer up to a bound. Follows no redirects (a header with a secret would go along), takes no proxy
//! from the environment, sends no cookies. Secrets are wiped from what is shown of answers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use ureq::http::{HeaderName, HeaderValue};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, TcpConnector};
use ureq::{Agent, Proxy};

use super::answer::{self, Answer};
use super::tunnel::Tunnel;
use super::{NetError, Tls, explain};
use crate::alert::redact;
use crate::config::SinkConfig;
use crate::delivery::Secret;

/// Answers are read up to this. The longest that means something is one of a bulk request: some hundred bytes an item.
const LONGEST_ANSWER: u64 = 2 << 20;

/// What is shown of an answer is taken from so much of its beginning.
const EXCERPT_FROM: usize = 8 << 10;

/// Of each connection; the client's own default is eight times as much.
const BUFFER: usize = 16 << 10;

/// Of an answer that comes bit by bit: after so long without anything its sender is gone.
pub const SILENCE: Duration = Duration::from_secs(80);

/// Below this, compression costs more than it saves.
const WORTH_COMPRESSING: usize = 512;

/// Headers that the client writes itself.
const OURS: [&str; 5] = ["host", "content-length", "transfer-encoding", "content-encoding", "connection"];
/// Headers whose values are secrets, besides those whose names say so.
const SECRET: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Whole address.
    pub url: &'a str,
    /// What the body is.
    pub content_type: &'a str,
    /// Further headers, none of them secret.
    pub headers: &'a [(&'a str, &'a str)],
    /// Body, not compressed.
    pub body: &'a [u8],
}

/// A client with the headers, certificates and proxy of one sink.
pub struct Client {
    agent: Agent,
    tls: Arc<Tls>,
    plain: Vec<(HeaderName, HeaderValue)>,
    files: BTreeMap<String, PathBuf>,
    from_files: Vec<(HeaderName, Secret)>,
    login: Option<(HeaderName, Secret)>,
    /// Wiped from what is shown of answers, besides the headers.
    hidden: Vec<Secret>,
    /// What stands in the queries of the addresses is wiped too.
    queries: Vec<Secret>,
    gzip: bool,
    timeout: Duration,
    /// Bytes of bodies that were answered.
    posted: AtomicU64,
}

impl Client {
    /// The client that `headers`, `header_files`, `gzip`, `proxy`, `tls` and `timeout` of the configuration describe.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn open(config: &SinkConfig) -> Result<Self, NetError> {
        // What is wrong in the configuration first: a file that is not there may come.
        let plain = plain_headers(&config.headers)?;
        for name in config.header_files.keys() {
            header_name("header_files", name)?;
        }
        let proxy = config.proxy.as_deref().map(proxy).transpose()?;
        let tls = Arc::new(Tls::open(&config.tls)?);
        let timeout = config.timeout.0;
        let settings = ureq::config::Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(proxy)
            .user_agent(concat!("sandwatch/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(timeout))
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            .max_idle_connections(2)
            .max_idle_connections_per_host(1)
            .build();
        let connector =
            ().chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(Tunnel(Arc::clone(&tls)));
        let mut client = Self {
            agent: Agent::with_parts(settings, connector, DefaultResolver::default()),
            tls,
            plain,
            files: config.header_files.clone(),
            from_files: Vec::new(),
            login: None,
            hidden: Vec::new(),
            queries: queries(config),
            gzip: config.gzip,
            timeout,
            posted: AtomicU64::new(0),
        };
        client.from_files = client.read_headers()?;
        Ok(client)
    }

    /// Reads certificates and secret headers again. On an error the old ones stay.
    ///
    /// # Errors
    /// As for [`open`](Client::open).
    pub fn reload(&mut self) -> Result<(), NetError> {
        self.tls.reload()?;
        self.from_files = self.read_headers()?;
        Ok(())
    }

    /// Sends this header with each request from now on, in place of the last one that was set so.
    ///
    /// # Errors
    /// The name or the value is not fit for a header.
    pub fn log_in(&mut self, name: &'static str, value: Secret) -> Result<(), NetError> {
        let unfit = || NetError::content("key_file", "holds characters that a header cannot carry");
        secret_value(&value).ok_or_else(unfit)?;
        self.login = Some((HeaderName::from_static(name), value));
        Ok(())
    }

    /// Logs in with the sink's `user` and secret: with both as RFC 7617 has it, with the secret alone as `SCHEME SECRET`.
    ///
    /// # Errors
    /// The secret cannot be read, or there is a user without one.
    pub fn log_in_as(&mut self, config: &SinkConfig, scheme: &str) -> Result<(), NetError> {
        use base64::Engine;
        let key = Secret::of(config)?;
        let value = match (&config.user, &key) {
            (None, None) => return Ok(()),
            (Some(_), None) => {
                return Err(NetError::key("user", "has no password: give `key_file` or `key_env`"));
            }
            (Some(user), Some(_)) if user.contains(':') => {
                return Err(NetError::key("user", "has a colon, which basic authentication cannot carry"));
            }
            (Some(user), Some(key)) => {
                let pair = Secret::new(format!("{user}:{}", key.expose()));
                let coded = base64::engine::general_purpose::STANDARD.encode(pair.expose());
                Secret::new(format!("Basic {coded}"))
            }
            (None, Some(key)) => Secret::new(format!("{scheme} {}", key.expose())),
        };
        self.hidden.clear();
        self.hidden.extend(key);
        self.log_in("authorization", value)
    }

    /// Wipes this too from what is shown of answers (a secret that stands in bodies or addresses).
    pub fn hide(&mut self, secret: Secret) {
        self.hidden.push(secret);
    }

    /// How many bytes of bodies, as they are before compression, were posted and answered since the last call.
    pub fn take_posted(&self) -> u64 {
        self.posted.swap(0, Relaxed)
    }

    /// Posts, and reads the answer.
    ///
    /// # Errors
    /// There was none: why, without the address and without secrets. Trying again may help.
    pub fn post(&self, call: &Call<'_>) -> Result<Answer, String> {
        let compressed =
            (self.gzip && call.body.len() >= WORTH_COMPRESSING).then(|| gzip(call.body)).flatten();
        let mut request = self.agent.post(call.url);
        if !self.plain.iter().any(|(name, _)| *name == ureq::http::header::CONTENT_TYPE) {
            request = request.header("content-type", call.content_type);
        }
        for (name, value) in &self.plain {
            request = request.header(name, value);
        }
        for (name, value) in call.headers {
            request = request.header(*name, *value);
        }
        for (name, secret) in self.from_files.iter().chain(&self.login) {
            if let Some(value) = secret_value(secret) {
                request = request.header(name, value);
            }
        }
        let sent = match &compressed {
            Some(bytes) => request.header("content-encoding", "gzip").send(bytes.as_slice()),
            None => request.send(call.body),
        };
        if sent.is_ok() {
            self.posted.fetch_add(call.body.len() as u64, Relaxed);
        }
        self.answer(sent, LONGEST_ANSWER)
    }

    /// Gets, and reads an answer of at most `longest` bytes; what is longer is no answer.
    ///
    /// # Errors
    /// As for [`post`](Client::post).
    pub fn get(&self, url: &str, longest: u64) -> Result<Answer, String> {
        let mut request = self.agent.get(url);
        for (name, value) in &self.plain {
            request = request.header(name, value);
        }
        for (name, secret) in self.from_files.iter().chain(&self.login) {
            if let Some(value) = secret_value(secret) {
                request = request.header(name, value);
            }
        }
        let answer = self.answer(request.call(), longest + 1)?;
        if answer.body.len() as u64 > longest {
            return Err(format!("the answer is longer than {longest} bytes"));
        }
        Ok(answer)
    }

    /// Gets, and gives the status and the answer's body as it comes, which may take as long as `most`. Nothing at all for
    /// [`SILENCE`] is its end.
    ///
    /// # Errors
    /// As for [`post`](Client::post).
    pub fn stream(&self, url: &str, most: Duration) -> Result<(u16, ureq::BodyReader<'static>), String> {
        let request = self.agent.get(url).config();
        // The server begins to answer as soon as any other would, and then says at least now and then that it is there.
        let mut request = request
            .timeout_global(Some(most))
            .timeout_recv_response(Some(self.timeout))
            .timeout_per_read(Some(SILENCE))
            .build();
        for (name, value) in &self.plain {
            request = request.header(name, value);
        }
        for (name, secret) in self.from_files.iter().chain(&self.login) {
            if let Some(value) = secret_value(secret) {
                request = request.header(name, value);
            }
        }
        let response = request.call().map_err(|error| self.why(&error))?;
        let status = response.status().as_u16();
        Ok((status, response.into_body().into_reader()))
    }

    fn answer(
        &self,
        sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
        longest: u64,
    ) -> Result<Answer, String> {
        let mut response = sent.map_err(|error| self.why(&error))?;
        let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|value| answer::retry_after(value, Timestamp::now()));
        let mut body = Vec::new();
        // An answer that breaks off still has a status; what needs the body notices that it is not whole.
        let read = response.body_mut().as_reader().take(longest).read_to_end(&mut body);
        let status = response.status().as_u16();
        if let Err(error) = read
            && (200..300).contains(&status)
        {
            return Err(format!("the answer broke off: {}", explain(&error)));
        }
        let beginning = body.get(..body.len().min(EXCERPT_FROM)).unwrap_or_default();
        let excerpt = answer::excerpt(&self.without_secrets(&String::from_utf8_lossy(beginning)));
        Ok(Answer { status, body, retry_after, excerpt })
    }

    fn read_headers(&self) -> Result<Vec<(HeaderName, Secret)>, NetError> {
        let mut headers = Vec::new();
        for (name, path) in &self.files {
            let secret = Secret::from_file(path)?;
            if secret_value(&secret).is_none() {
                let what = format!("{} holds characters that a header cannot carry", path.display());
                return Err(NetError::content("header_files", what));
            }
            headers.push((header_name("header_files", name)?, secret));
        }
        Ok(headers)
    }

    /// A text of a stranger, with our secrets taken out.
    pub fn without_secrets(&self, text: &str) -> String {
        let mut text = text.to_owned();
        let headers = self.from_files.iter().chain(&self.login).map(|(_, secret)| secret);
        let all = headers.chain(&self.hidden).chain(&self.queries);
        for secret in all {
            let bare = secret.expose().rsplit(' ').next().unwrap_or_default();
            for hidden in [secret.expose(), bare] {
                if hidden.len() >= 4 {
                    text = text.replace(hidden, "…");
                }
            }
        }
        text
    }

    fn why(&self, error: &ureq::Error) -> String {
        match error {
            ureq::Error::Io(error) => explain(error),
            ureq::Error::Timeout(_) => format!("no answer within {} s", self.timeout.as_secs_f32()),
            ureq::Error::HostNotFound => "the name does not resolve".to_owned(),
            ureq::Error::ConnectProxyFailed(what) => {
                format!("the proxy does not let us through: {}", answer::excerpt(&self.without_secrets(what)))
            }
            ureq::Error::Protocol(what) => {
                let what = answer::excerpt(&self.without_secrets(&what.to_string()));
                format!("what came back is not HTTP ({what})")
            }
            ureq::Error::Other(error) => match error.downcast_ref::<std::io::Error>() {
                Some(error) => explain(error),
                None => error.to_string(),
            },
            // Their texts may repeat the address.
            ureq::Error::BadUri(_) => "the address cannot be used".to_owned(),
            ureq::Error::Http(_) => "the request cannot be written as HTTP".to_owned(),
            _ => "the request failed".to_owned(),
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("tls", &self.tls).field("gzip", &self.gzip).finish_non_exhaustive()
    }
}

/// The values in the queries of the sink's addresses: tokens often stand there.
fn queries(config: &SinkConfig) -> Vec<Secret> {
    let urls = config.url.iter().flat_map(|url| &url.0);
    let queries = urls.filter_map(|url| url.split_once('?')).flat_map(|(_, query)| query.split('&'));
    queries
        .map(|pair| Secret::new(pair.split_once('=').map_or(pair, |(_, value)| value).to_owned()))
        .collect()
}

fn proxy(text: &str) -> Result<Proxy, NetError> {
    let wrong = |what: &str| NetError::key("proxy", format!("{what}; write http://HOST:PORT"));
    if !text.starts_with("http://") {
        return Err(wrong("has another scheme than http"));
    }
    if text.contains('@') {
        return Err(wrong("carries a user or password, which a configuration must not"));
    }
    Proxy::new(text).map_err(|_| wrong("is not an address"))
}

fn plain_headers(headers: &BTreeMap<String, String>) -> Result<Vec<(HeaderName, HeaderValue)>, NetError> {
    let mut read = Vec::new();
    for (name, value) in headers {
        let header = header_name("headers", name)?;
        // A name that says so, or a value in the shape of a token.
        let secret = redact::is_secret_name(name) || matches!(redact::text(value), Cow::Owned(_));
        if secret || SECRET.contains(&header.as_str()) {
            let what = format!(
                "{name} looks like a secret: put its value into a file and name that in `header_files` ({name}: /etc/sandwatch/FILE)"
            );
            return Err(NetError::key("headers", what));
        }
        let value = HeaderValue::from_str(value).map_err(|_| {
            NetError::key("headers", format!("the value of {name} cannot be sent in a header"))
        })?;
        read.push((header, value));
    }
    Ok(read)
}

fn header_name(key: &'static str, name: &str) -> Result<HeaderName, NetError> {
    let header = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| NetError::key(key, format!("{name:?} is not the name of a header")))?;
    if OURS.contains(&header.as_str()) {
        return Err(NetError::key(key, format!("{name} is written by the sink itself; leave it out")));
    }
    Ok(header)
}

fn secret_value(secret: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(secret.expose()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn gzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(config: SinkConfig) -> String {
        Client::open(&config).unwrap_err().to_string()
    }

    fn with_header(name: &str, value: &str) -> SinkConfig {
        SinkConfig { headers: [(name.to_owned(), value.to_owned())].into(), ..SinkConfig::stdout() }
    }

    #[test]
    fn a_secret_among_the_plain_headers_is_refused_and_not_shown() {
        let message = refused(with_header("Authorization", "Bearer s3cret"));
        assert!(message.contains("header_files") && !message.contains("s3cret"), "{message}");
    }

    #[test]
    fn a_header_that_looks_like_a_secret_is_refused_with_what_to_do() {
        let token = "glpat-4f9aXk27QmZt81Lw";
        for (name, value) in [
            ("x-api-key", "s3cret"),
            ("X-Auth-Token", "s3cret"),
            ("dd-api-key", "s3cret"),
            ("x-webhook-secret", "s3cret"),
            ("x-client", token),
            ("x-client", "token=s3cret"),
        ] {
            let message = refused(with_header(name, value));
            assert!(message.contains("`header_files`") && message.contains(name), "{message}");
            assert!(!message.contains("s3cret") && !message.contains(token), "{message}");
        }
        for (name, value) in [("x-tenant", "platform"), ("x-scope-orgid", "team-7"), ("accept", "*/*")] {
            Client::open(&with_header(name, value)).unwrap();
        }
    }

    #[test]
    fn headers_that_cannot_be_sent_are_refused() {
        assert!(refused(with_header("Content-Length", "5")).contains("leave it out"));
        assert!(refused(with_header("a b", "5")).contains("not the name of a header"));
        assert!(refused(with_header("x-a", "1\r\nx-b: 2")).contains("cannot be sent"));
    }

    #[test]
    fn a_proxy_is_an_http_address_without_a_password() {
        let with = |proxy: &str| refused(SinkConfig { proxy: Some(proxy.into()), ..SinkConfig::stdout() });
        assert!(with("socks5://h:1").contains("http://HOST:PORT"));
        let message = with("http://user:s3cret@h:1");
        assert!(message.contains("password") && !message.contains("s3cret"), "{message}");
    }

    #[test]
    fn secrets_are_taken_out_of_what_strangers_say() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        std::fs::write(&key, "s3cret-token\n").unwrap();
        let config = SinkConfig { key_file: Some(key), ..SinkConfig::stdout() };
        let mut client = Client::open(&config).unwrap();
        client.log_in_as(&config, "Bearer").unwrap();
        let said = client.without_secrets("the token s3cret-token (Bearer s3cret-token) is wrong");
        assert_eq!(said, "the token … (…) is wrong");
        assert!(!format!("{client:?}").contains("s3cret"));
    }

    #[test]
    fn a_user_needs_a_password() {
        let config = SinkConfig { user: Some("u".into()), ..SinkConfig::stdout() };
        let mut client = Client::open(&config).unwrap();
        assert!(client.log_in_as(&config, "Bearer").unwrap_err().to_string().contains("has no password"));
    }
}
