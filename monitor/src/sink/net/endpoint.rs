//! Where HTTP requests go: checked once, shown without what may be secret in it.

use ureq::http::Uri;

use super::NetError;
use crate::config::SinkConfig;

/// An `http` or `https` address.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Scheme, host and port.
    origin: String,
    path: String,
    query: Option<String>,
}

impl Endpoint {
    /// Reads an address.
    ///
    /// # Errors
    /// It is not of HTTP, or has a user or password in it: that is for `user` and `key_file`.
    pub fn parse(text: &str) -> Result<Self, NetError> {
        // The text itself is not repeated: what is wrong with it may be a secret.
        let wrong =
            |what: &str| NetError::key("url", format!("{what}; write http://HOST:PORT/PATH or https://…"));
        let uri: Uri = text.parse().map_err(|_| wrong("is not an address"))?;
        let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme));
        let scheme = scheme.ok_or_else(|| wrong("has neither the scheme http nor https"))?;
        let authority = uri.authority().ok_or_else(|| wrong("has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("carries a user or password, which belong into `user` and `key_file`"));
        }
        if authority.host().is_empty() {
            return Err(wrong("has no host"));
        }
        Ok(Self {
            origin: format!("{scheme}://{authority}"),
            path: uri.path().to_owned(),
            query: uri.query().map(str::to_owned),
        })
    }

    /// The whole address.
    pub fn url(&self) -> String {
        self.with_query(&self.path)
    }

    /// The address of something below this one; this one itself if it ends like that already.
    pub fn below(&self, suffix: &str) -> Self {
        let base = self.path.trim_end_matches('/');
        let path = if base.ends_with(suffix) { base.to_owned() } else { format!("{base}{suffix}") };
        Self { path, ..self.clone() }
    }

    /// The address with another end of its path; below this one if it does not end like that.
    pub fn beside(&self, end: &str, other: &str) -> Self {
        let base = self.path.strip_suffix(end).unwrap_or(&self.path);
        Self { path: format!("{base}{other}"), ..self.clone() }
    }

    /// With one more parameter.
    pub fn with_parameter(&self, name: &str, value: &str) -> Self {
        let query = match &self.query {
            Some(query) => format!("{query}&{name}={value}"),
            None => format!("{name}={value}"),
        };
        Self { query: Some(query), ..self.clone() }
    }

    /// For logs: without the query, where tokens may stand.
    pub fn shown(&self) -> String {
        format!("{}{}", self.origin, self.path)
    }

    fn with_query(&self, path: &str) -> String {
        match &self.query {
            Some(query) => format!("{}{path}?{query}", self.origin),
            None => format!("{}{path}", self.origin),
        }
    }
}

/// As it is shown elsewhere.
impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Endpoint").field(&self.shown()).finish()
    }
}

/// One or several addresses of the same receiver: the next one is taken when the current one does not answer.
#[derive(Clone, Debug)]
pub struct Endpoints {
    list: Vec<Endpoint>,
    at: usize,
}

impl Endpoints {
    /// The `url` of a sink, each with `suffix` below it (which may be empty).
    ///
    /// # Errors
    /// There is none, or one cannot be used.
    pub fn of(config: &SinkConfig, suffix: &str) -> Result<Self, NetError> {
        let texts = config.url.as_ref().map_or(&[][..], |url| &url.0);
        if texts.is_empty() {
            return Err(NetError::key("url", "is missing: where is the receiver?"));
        }
        let list = texts.iter().map(|text| Endpoint::parse(text).map(|endpoint| endpoint.below(suffix)));
        Ok(Self { list: list.collect::<Result<_, _>>()?, at: 0 })
    }

    /// The one in use.
    pub fn current(&self) -> Option<&Endpoint> {
        self.list.get(self.at)
    }

    /// Takes the next one.
    pub fn next(&mut self) {
        self.at = (self.at + 1) % self.list.len().max(1);
    }

    /// For logs.
    pub fn shown(&self) -> String {
        let all: Vec<String> = self.list.iter().map(Endpoint::shown).collect();
        all.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::doc::OneOrMany;

    #[test]
    fn a_query_is_sent_but_not_shown() {
        let endpoint = Endpoint::parse("https://in.example:8443/a/b?token=s3cret").unwrap();
        assert_eq!(endpoint.url(), "https://in.example:8443/a/b?token=s3cret");
        assert_eq!(endpoint.shown(), "https://in.example:8443/a/b");
        assert!(!format!("{endpoint:?}").contains("s3cret"), "{endpoint:?}");
        assert_eq!(endpoint.below("/_bulk").url(), "https://in.example:8443/a/b/_bulk?token=s3cret");
    }

    #[test]
    fn a_path_that_is_there_already_is_not_put_twice() {
        let endpoint = Endpoint::parse("http://h:9200/insert/_bulk?x=1").unwrap().below("/_bulk");
        assert_eq!(endpoint.url(), "http://h:9200/insert/_bulk?x=1");
        assert_eq!(Endpoint::parse("http://h:9200").unwrap().below("/_bulk").url(), "http://h:9200/_bulk");
        let with = endpoint.with_parameter("channel", "c").url();
        assert_eq!(with, "http://h:9200/insert/_bulk?x=1&channel=c");
        let event = Endpoint::parse("http://h/services/collector/event").unwrap();
        assert_eq!(event.beside("/event", "/ack").url(), "http://h/services/collector/ack");
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        for text in ["ftp://s3cret/", "s3cret", "http://", "https://user:s3cret@h/", "http://s3c ret/"] {
            let message = Endpoint::parse(text).unwrap_err().to_string();
            assert!(message.starts_with("`url`: ") && !message.contains("s3cret"), "{message}");
        }
    }

    #[test]
    fn several_are_taken_in_turn() {
        let url = OneOrMany(vec!["http://a".into(), "http://b".into()]);
        let mut all = Endpoints::of(&SinkConfig { url: Some(url), ..SinkConfig::stdout() }, "/x").unwrap();
        assert_eq!(all.current().unwrap().url(), "http://a/x");
        all.next();
        assert_eq!(all.current().unwrap().url(), "http://b/x");
        all.next();
        assert_eq!(all.current().unwrap().url(), "http://a/x");
        assert!(Endpoints::of(&SinkConfig::stdout(), "").unwrap_err().to_string().contains("is missing"));
    }
}
