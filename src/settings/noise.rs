//! Variables that Kubernetes services and docker links leave in a container's environment. They are not settings.

/// Whether the variable is such a left-over. `rest` is the name behind `POSTFIX_`, `DOVECOT_` or `MAILROOM_`.
///
/// Kubernetes: `X_SERVICE_HOST`, `X_SERVICE_PORT[_NAME]`, `X_PORT`, `X_PORT_25_TCP[_PROTO|_PORT|_ADDR]`
/// (kubernetes.io, "Accessing the Service"); docker links add `X_NAME=/a/b` and `X_ENV_*`.
pub(crate) fn is_noise(rest: &str, value: &str) -> bool {
    // A service may be called `postfix-relay`, hence the match at the end of the name and not at its start.
    let service = rest.ends_with("SERVICE_HOST") || rest.ends_with("SERVICE_PORT") || rest.contains("SERVICE_PORT_");
    let port = (rest == "PORT" || rest.ends_with("_PORT"))
        && ["tcp://", "udp://", "sctp://"]
            .iter()
            .any(|scheme| value.starts_with(scheme));
    let name = (rest == "NAME" || rest.ends_with("_NAME")) && value.starts_with('/') && value[1..].contains('/');
    let env = rest.starts_with("ENV_") || rest.contains("_ENV_");
    service || port || name || env || is_numbered_port(rest)
}

/// `[X_]PORT_<n>_{TCP,UDP,SCTP}[_{PROTO,PORT,ADDR,START,END}]`
fn is_numbered_port(rest: &str) -> bool {
    let parts: Vec<&str> = rest.split('_').collect();
    parts.windows(3).any(|window| {
        window[0] == "PORT"
            && !window[1].is_empty()
            && window[1].bytes().all(|b| b.is_ascii_digit())
            && matches!(window[2], "TCP" | "UDP" | "SCTP")
    })
}

#[cfg(test)]
mod tests {
    use super::is_noise;

    #[test]
    fn kubernetes_and_links() {
        for (rest, value) in [
            ("SERVICE_HOST", "10.0.0.1"),
            ("SERVICE_PORT", "25"),
            ("SERVICE_PORT_SMTP", "25"),
            ("RELAY_SERVICE_HOST", "10.0.0.1"),
            ("PORT", "tcp://10.0.0.1:25"),
            ("PORT_25_TCP", "tcp://10.0.0.1:25"),
            ("PORT_25_TCP_ADDR", "10.0.0.1"),
            ("RELAY_PORT_587_TCP_PROTO", "tcp"),
            ("NAME", "/app/postfix"),
            ("ENV_PATH", "/bin"),
        ] {
            assert!(is_noise(rest, value), "{rest}");
        }
    }

    #[test]
    fn settings_are_not_noise() {
        for (rest, value) in [
            ("MYHOSTNAM", "x"),
            ("PORT", "25"),
            ("SYSLOG_NAME", "postfix"),
            ("SMTP_TLS_CAFILE", "/a/b"),
        ] {
            assert!(!is_noise(rest, value), "{rest}");
        }
    }
}
