//! Where a log line shows a client's credentials. Postfix does not log logins, but it logs what it has not expected: commands
//! that come before their turn, words that are no command and, with debug_peer_list, everything.
//!
//! What is looked for are the commands by which mail clients log in, AUTH (RFC 4954, RFC 5034) and AUTHENTICATE (RFC 9051),
//! and bare answers to them. Other programs' lines are looked at, too: any of them may quote a client.

use std::ops::Range;

/// Mechanisms of SASL (the registry of IANA). `SCRAM-` begins several.
const MECHANISMS: [&str; 14] = [
    "plain",
    "login",
    "xoauth2",
    "oauthbearer",
    "oauth10a",
    "cram-md5",
    "digest-md5",
    "scram-",
    "ntlm",
    "gssapi",
    "gs2-",
    "external",
    "apop",
    "anonymous",
];
/// How line breaks, tabs and blanks look where a program quotes them.
const QUOTED_BLANKS: [&str; 13] = [
    "\\r", "\\n", "\\t", "\\011", "\\012", "\\015", "\\040", "%0d", "%0a", "%09", "%20", "??", "_",
];

/// What stands before a password, or what is as good as one, in a log of everything: the names of functions of Postfix's, and
/// what they say.
const ANNOUNCED: [&str; 7] = [
    "' pass `",
    "xsasl_cyrus_client_get_passwd: ",
    "uncoded initial reply: ",
    "uncoded client response ",
    "uncoded server challenge: ",
    "init_response ",
    "auth reply: cookie?",
];

/// What a line with credentials begins with, or holds, in small letters: by their first letters.
const OPENINGS: [&str; 4] = ["< ", "> ", "match_", "dict_"];
const MARKS: [(u8, &[&str]); 5] = [
    (b'a', &["auth"]),
    (b'i', &["init_response"]),
    (b'n', &["non-smtp command"]),
    (b'p', &["pass", "pipelining", "pregreet"]),
    (b'u', &["uncoded "]),
];

/// Whether a line may show credentials: one look at each letter, for nearly all lines show none.
fn may_show(message: &str) -> bool {
    let bytes = message.as_bytes();
    let is_here = |mark: &&str, at: usize| {
        let found = bytes.get(at..at + mark.len());
        found.is_some_and(|found| found.eq_ignore_ascii_case(mark.as_bytes()))
    };
    let holds = |(at, byte): (usize, &u8)| {
        let marks = MARKS.iter().find(|(first, _)| *first == byte.to_ascii_lowercase());
        marks.is_some_and(|(_, marks)| marks.iter().any(|mark| is_here(mark, at)))
    };
    OPENINGS.iter().any(|opening| is_here(opening, 0)) || bytes.iter().enumerate().any(holds)
}

/// The part of a line that is credentials, if any is.
pub(super) fn credentials(message: &str) -> Option<Range<usize>> {
    if !may_show(message) {
        return None;
    }
    let lower = message.to_ascii_lowercase();
    if let Some(begin) = announced(&lower) {
        return Some(begin..message.len());
    }
    let at_the_end = quotes_a_client(&lower);
    if let Some(begin) = behind_command(&lower) {
        let quoted = lower[begin..].find(['>', '"']).filter(|_| !at_the_end);
        return Some(begin..quoted.map_or(message.len(), |length| begin + length));
    }
    if let Some((_, rest)) = lower
        .split_once("pipelining")
        .filter(|(_, rest)| rest.contains("after auth"))
    {
        let (_, after) = rest.split_once("after auth")?;
        let (_, said) = after.split_once(": ")?;
        return Some(message.len() - said.len()..message.len());
    }
    let (begin, _) = words(message).find(|(_, word)| at_the_end && is_base64(word))?;
    Some(begin..message.len())
}

/// Where what is announced begins; a table's answer is behind the sign.
fn announced(lower: &str) -> Option<usize> {
    let behind = |text: &str, from: usize| lower[from..].find(text).map(|at| from + at + text.len());
    // A table that stands in the setting itself has its answers in its name.
    let of_table = || {
        let from = behind("_sasl_password_maps", 0)?;
        let in_its_name = ["static:", "inline:"].iter().find_map(|kind| lower[from..].find(kind));
        in_its_name.map(|at| from + at).or_else(|| behind(" = ", from))
    };
    ANNOUNCED.iter().find_map(|text| behind(text, 0)).or_else(of_table)
}

/// Whether a line ends with a client's own words, or with what became of them in a log of everything.
fn quotes_a_client(lower: &str) -> bool {
    ["command pipelining", "non-smtp command", "pregreet"]
        .iter()
        .any(|kind| lower.contains(kind))
        || OPENINGS.iter().any(|opening| lower.starts_with(opening))
}

/// Where the word behind `AUTH <mechanism>` begins.
fn behind_command(lower: &str) -> Option<usize> {
    let is_word = |at: usize| {
        let before = &lower[..at];
        // What a server offers is no login.
        if before.ends_with("250-") || before.ends_with("250 ") {
            return false;
        }
        !before.ends_with(|c: char| c.is_ascii_alphanumeric())
            || QUOTED_BLANKS.iter().any(|blank| before.ends_with(blank))
    };
    let commands = lower.match_indices("auth").map(|(at, _)| at).filter(|at| is_word(*at));
    let begins = commands.filter_map(|at| {
        let rest = &lower[at + "auth".len()..];
        let rest = rest.strip_prefix("enticate").unwrap_or(rest);
        let mechanism = without_blanks(rest);
        let is_mechanism = MECHANISMS.iter().any(|name| mechanism.starts_with(name));
        if !is_mechanism || mechanism.len() == rest.len() {
            return None;
        }
        let length = mechanism
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '-')
            .unwrap_or(mechanism.len());
        let said = without_blanks(&mechanism[length..]);
        let is_apart = said.len() < mechanism.len() - length;
        (is_apart && !said.is_empty()).then_some(lower.len() - said.len())
    });
    begins.min()
}

fn without_blanks(mut text: &str) -> &str {
    loop {
        let rest = text.trim_start();
        let rest = QUOTED_BLANKS
            .iter()
            .find_map(|blank| rest.strip_prefix(blank))
            .unwrap_or(rest);
        if rest.len() == text.len() {
            return text;
        }
        text = rest;
    }
}

/// The words of a line, each with its place.
fn words(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = line;
    std::iter::from_fn(move || {
        rest = without_blanks(rest);
        let begin = line.len() - rest.len();
        let end = rest
            .find(|c: char| c.is_whitespace() || c == '\\' || c == ':')
            .unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after.strip_prefix([':', '\\']).unwrap_or(after);
        (begin < line.len()).then_some((begin, word))
    })
}

/// Base64 (RFC 4648) of six bytes or more, and no word of a language.
fn is_base64(word: &str) -> bool {
    let bare = word.trim_end_matches('=');
    let has = |kind: fn(&char) -> bool| usize::from(bare.chars().any(|c| kind(&c)));
    let kinds = has(char::is_ascii_uppercase) + has(char::is_ascii_lowercase) + has(char::is_ascii_digit);
    word.len() >= 8
        && word.len().is_multiple_of(4)
        && word.len() - bare.len() <= 2
        && bare
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte))
        && (kinds > 1 || bare.len() < word.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(message: &str) -> String {
        let mut message = message.to_owned();
        if let Some(range) = credentials(&message) {
            message.replace_range(range, "…");
        }
        message
    }

    #[test]
    fn what_follows_auth_is_hidden() {
        let pipelining = "improper command pipelining after EHLO from localhost[127.0.0.1]:";
        for (line, expected) in [
            (" AUTH PLAIN AHVzZXIAc2VjcmV0cHcx\\r\\n", " AUTH PLAIN …"),
            (" auth plain AHVzZXIAc2VjcmV0cHcx\\r\\nQUIT\\r\\n", " auth plain …"),
            (
                " AUTH LOGIN\\r\\ndXNlcg==\\r\\nc2VjcmV0cHcy\\r\\n",
                " AUTH LOGIN\\r\\n…",
            ),
            (
                " NOOP\\r\\nAUTH  LOGIN dXNlcg==\\r\\nc2VjcmV0\\r\\n",
                " NOOP\\r\\nAUTH  LOGIN …",
            ),
            (" AUTH\\tPLAIN\\tAHVz", " AUTH\\tPLAIN\\t…"),
            (" AUTH PLAIN ??AHVz??", " AUTH PLAIN ??…"),
            (" AUTH%20PLAIN%20AHVz", " AUTH%20PLAIN%20…"),
            (" AUTH XOAUTH2 dXNlcj1z", " AUTH XOAUTH2 …"),
            (" AUTH SCRAM-SHA-256-PLUS biws", " AUTH SCRAM-SHA-256-PLUS …"),
            (" AUTH LOGIN \"AHVz\" > x", " AUTH LOGIN …"),
            (" a AUTHENTICATE PLAIN AHVz", " a AUTHENTICATE PLAIN …"),
            (" dXNlcg==\\r\\nc2VjcmV0cHcy\\r\\n", " …"),
            (" AUTH LOGIN\\r\\n", " AUTH LOGIN\\r\\n"),
            (" AUTH PLAI", " AUTH PLAI"),
        ] {
            assert_eq!(shown(&format!("{pipelining}{line}")), format!("{pipelining}{expected}"));
        }
    }

    #[test]
    fn bare_answers_are_hidden() {
        for (line, expected) in [
            (
                "improper command pipelining after AUTH from x[::1]: x\\r\\ny",
                "improper command pipelining after AUTH from x[::1]: …",
            ),
            (
                "COMMAND PIPELINING from [192.0.2.1]:99 after AUTH: secret",
                "COMMAND PIPELINING from [192.0.2.1]:99 after AUTH: …",
            ),
            (
                "warning: non-SMTP command from unknown[192.0.2.1]: dXNlcg==",
                "warning: non-SMTP command from unknown[192.0.2.1]: …",
            ),
            (
                "PREGREET 60 after 0.1 from [192.0.2.1]:99: EHLO x\\r\\nAUTH PLAIN AHVz",
                "PREGREET 60 after 0.1 from [192.0.2.1]:99: EHLO x\\r\\nAUTH PLAIN …",
            ),
            ("< unknown[127.0.0.8]: dXNlcg==", "< unknown[127.0.0.8]: …"),
            (
                "match_string: smtpd_forbidden_commands: dxnlcg== ~? get",
                "match_string: smtpd_forbidden_commands: …",
            ),
            (
                "dict_regexp_lookup: {{/^[^A-Z]/ Bogus}}: dxnlcg==",
                "dict_regexp_lookup: {{/^[^A-Z]/ Bogus}}: …",
            ),
        ] {
            assert_eq!(shown(line), expected);
        }
    }

    #[test]
    fn what_a_log_of_everything_shows_is_hidden() {
        for (line, expected) in [
            (
                "maps_find: smtp_sasl_password_maps: lmdb:/x(0,lock): [far]:587 = relay:secret",
                "maps_find: smtp_sasl_password_maps: lmdb:/x(0,lock): [far]:587 = …",
            ),
            (
                "maps_find: smtp_sasl_password_maps: static:me:hunter4(0,lock): far = me:hunter4",
                "maps_find: smtp_sasl_password_maps: …",
            ),
            (
                "smtp_sasl_passwd_lookup: host `far' user `relay' pass `secret'",
                "smtp_sasl_passwd_lookup: host `far' user `relay' pass `…",
            ),
            (
                "xsasl_cyrus_client_get_passwd: secret",
                "xsasl_cyrus_client_get_passwd: …",
            ),
            (
                "xsasl_cyrus_client_first: uncoded initial reply: \\000relay\\000secret",
                "xsasl_cyrus_client_first: uncoded initial reply: …",
            ),
            (
                "xsasl_dovecot_server_first: sasl_method PLAIN, init_response AHVz",
                "xsasl_dovecot_server_first: sasl_method PLAIN, init_response …",
            ),
            (
                "> far[192.0.2.1]:587: AUTH PLAIN AHVz",
                "> far[192.0.2.1]:587: AUTH PLAIN …",
            ),
            ("> far[192.0.2.1]:587: c2VjcmV0cHcy", "> far[192.0.2.1]:587: …"),
        ] {
            assert_eq!(shown(line), expected);
        }
    }

    #[test]
    fn what_a_stranger_quotes_hides_no_more_than_itself() {
        let line = "NOQUEUE: reject: RCPT from x[192.0.2.1]: 550 <a@b>: x; from=<\"AUTH PLAIN x\"@y> to=<a@b> proto=ESMTP helo=<h>";
        assert_eq!(shown(line), line.replace("PLAIN x\"", "PLAIN …\""));
        let line = "AAA: to=<AUTH LOGIN x@y>, relay=none, status=sent";
        assert_eq!(shown(line), "AAA: to=<AUTH LOGIN …>, relay=none, status=sent");
    }

    #[test]
    fn all_else_stays() {
        for line in [
            "lost connection after AUTH from unknown[192.0.2.1]",
            "disconnect from x[192.0.2.1] ehlo=1 auth=0/1 quit=1 commands=2/3",
            "warning: x[192.0.2.1]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=user",
            "warning: x[192.0.2.1]: SASL PLAIN authentication failed: (reason unavailable), sasl_username=user",
            "improper command pipelining after EHLO from x[192.0.2.1]: STARTTLS\\r\\n",
            "improper command pipelining after DATA from x[192.0.2.1]: From: me\\r\\n",
            "warning: non-SMTP command from x[192.0.2.1]: GET / HTTP/1.1",
            "< far[192.0.2.1]:587: 250-AUTH PLAIN LOGIN",
            "> unknown[192.0.2.1]: 250 AUTH PLAIN LOGIN",
            "imap-login: Login aborted: Logged out (no auth attempts in 0 secs) (no_auth_attempts): user=<>",
            "4bXyZ12abcz1: client=x[192.0.2.1], sasl_method=PLAIN, sasl_username=user",
            "",
        ] {
            assert_eq!(shown(line), line);
        }
    }

    proptest! {
        #[test]
        fn no_password_is_left(before in "[a-zA-Z <>:\\\\]{0,20}", blank in "( |\\\\t|  )", tail in "(\\\\r\\\\n)?", secret in "[A-Za-z0-9+/]{12}==") {
            let line = format!("improper command pipelining after EHLO from x[192.0.2.1]: {before}\\nAUTH{blank}PLAIN{blank}{secret}{tail}");
            prop_assert!(!shown(&line).contains(&secret), "{}", shown(&line));
        }

        #[test]
        fn any_line_can_be_looked_at(line in ".*") {
            let _ = shown(&line);
            let _ = shown(&format!("< x: {line}"));
        }
    }
}
