//! The status page: one file with its style and its script in it, which asks for `/status` and draws it. Nothing else may run or be
//! loaded there (Content-Security-Policy, level 3): the browser knows style and script by their hashes.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const PAGE: &str = include_str!("../../templates/status.html");

static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash_of("style"),
        hash_of("script"),
    )
});

/// The hash of what stands between the tags of this name.
fn hash_of(tag: &str) -> String {
    let open = format!("<{tag}>");
    let within = PAGE.split_once(&open).and_then(|(_, rest)| rest.split_once("</"));
    let (text, _) = within.unwrap_or_default();
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

/// The page.
pub(super) async fn page() -> Response {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Html(PAGE)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        for outside in ["src=", "@import", "url(", "https:", "//cdn"] {
            assert!(!PAGE.contains(outside), "{outside}");
        }
        let attributes = ["onclick=", "onload=", " style=\""];
        assert!(
            !attributes.iter().any(|each| PAGE.contains(each)),
            "the policy forbids these"
        );
    }

    #[test]
    fn style_and_script_are_known_by_their_hashes() {
        for tag in ["style", "script"] {
            assert_eq!(PAGE.matches(&format!("<{tag}>")).count(), 1, "{tag}");
            let empty = format!("sha256-{}", STANDARD.encode(Sha256::digest("")));
            assert_ne!(hash_of(tag), empty);
        }
    }
}
