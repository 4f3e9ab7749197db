//! The address of the metrics.

/// Where metrics are served if the configuration says nothing.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:9464";

/// The address that `listen` means; `None`: no metrics.
///
/// # Errors
/// In words: it names an environment variable that is not set.
pub fn listen_address(listen: &str) -> Result<Option<String>, String> {
    resolve(listen, |name| std::env::var(name).ok())
}

fn resolve(listen: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Option<String>, String> {
    if listen.is_empty() {
        return Ok(None);
    }
    let named = listen.strip_prefix('$').and_then(|rest| rest.rsplit_once(':'));
    let Some((name, port)) = named else { return Ok(Some(listen.to_owned())) };
    let host = variable(name).filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| format!("listen: the environment variable {name} is not set"))?;
    let bare_v6 = host.contains(':') && !host.starts_with('[');
    Ok(Some(if bare_v6 { format!("[{host}]:{port}") } else { format!("{host}:{port}") }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_may_be_an_environment_variable_and_an_empty_address_is_none() {
        let of = |listen: &str| {
            resolve(listen, |name| match name {
                "POD_IP" => Some("10.0.0.7".into()),
                "POD_IP6" => Some("fd00::7".into()),
                _ => None,
            })
        };
        assert_eq!(of(""), Ok(None));
        assert_eq!(of(DEFAULT_LISTEN), Ok(Some(DEFAULT_LISTEN.into())));
        assert_eq!(of("$POD_IP:9464"), Ok(Some("10.0.0.7:9464".into())));
        assert_eq!(of("$POD_IP6:9464"), Ok(Some("[fd00::7]:9464".into())));
        assert!(of("$NO_SUCH:9464").unwrap_err().contains("NO_SUCH"));
    }
}
