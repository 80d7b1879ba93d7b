//! The labels and all values that they can have.

use std::fmt::Write;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use serde::{Deserialize, Serialize};

use super::family::Labels;

/// An enum whose variants are the values of a label.
macro_rules! label {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            /// All values.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// As it is told.
            pub const fn word(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)*
                }
            }
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
                encoder.write_str(self.word())
            }
        }
    };
}

label! {
    /// Where mail is delivered to.
    Destination {
        /// Straight into a Maildir, by virtual(8).
        Mailbox = "mailbox",
        /// A mailbox, by Dovecot's LMTP.
        Lmtp = "lmtp",
        /// Another server.
        Relay = "relay",
        /// Anything else, such as error(8) and discard(8).
        Other = "other",
    }
}

label! {
    /// What came of an attempt to deliver.
    Outcome {
        /// It is delivered.
        Sent = "sent",
        /// It is tried again later.
        Deferred = "deferred",
        /// It is returned to its sender.
        Bounced = "bounced",
        /// It was tried for too long, and is returned.
        Expired = "expired",
    }
}

label! {
    /// Why something was refused.
    Reason {
        /// A stranger wanted to send to another domain.
        RelayDenied = "relay_denied",
        /// There is no such mailbox here.
        UnknownRecipient = "unknown_recipient",
        /// The login may not send as this sender.
        SenderNotAllowed = "sender_not_allowed",
        /// A login, or TLS before it, is needed.
        LoginRequired = "login_required",
        /// Too many messages, recipients, connections or errors.
        RateLimit = "rate_limit",
        /// The message or the mailbox would be too large.
        Size = "size",
        /// A name could not be found, or looks wrong.
        Dns = "dns",
        /// A policy, a milter, or a table of the user's said so.
        Policy = "policy",
        /// The client did not speak the protocol.
        Protocol = "protocol",
        /// Anything else.
        Other = "other",
    }
}

label! {
    /// What a client speaks.
    Protocol {
        /// SMTP on port 25.
        Smtp = "smtp",
        /// SMTP on ports 587 and 465.
        Submission = "submission",
        /// IMAP.
        Imap = "imap",
        /// POP3.
        Pop3 = "pop3",
        /// ManageSieve.
        Sieve = "sieve",
    }
}

label! {
    /// A version of TLS.
    TlsVersion {
        /// 1.0 or 1.1, which are out of date (RFC 8996).
        Old = "old",
        /// TLS 1.2.
        V12 = "1.2",
        /// TLS 1.3.
        V13 = "1.3",
    }
}

label! {
    /// Where messages lie, in the order of their way (qmgr(8)).
    QueueName {
        /// Handed over by local programs.
        Maildrop = "maildrop",
        /// Just taken.
        Incoming = "incoming",
        /// Being delivered.
        Active = "active",
        /// To be tried again.
        Deferred = "deferred",
        /// Held by somebody.
        Hold = "hold",
        /// Damaged.
        Corrupt = "corrupt",
    }
}

impl TlsVersion {
    /// Of a text that begins with a version as OpenSSL calls it, such as `TLSv1.3 with cipher …`.
    pub fn of(text: &str) -> TlsVersion {
        match text.split([' ', ',']).next() {
            Some("TLSv1.3") => TlsVersion::V13,
            Some("TLSv1.2") => TlsVersion::V12,
            _ => TlsVersion::Old,
        }
    }
}

/// Labels of deliveries.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfDelivery {
    pub(super) to: Destination,
    pub(super) outcome: Outcome,
}

/// The label of refusals.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfReason {
    pub(super) reason: Reason,
}

/// The label of what each protocol has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfProtocol {
    pub(super) protocol: Protocol,
}

/// Labels of sessions with TLS.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfTls {
    pub(super) protocol: Protocol,
    pub(super) version: TlsVersion,
}

impl Labels for OfDelivery {
    fn all() -> Vec<OfDelivery> {
        let with = |to: Destination| {
            Outcome::ALL
                .iter()
                .map(move |outcome| OfDelivery { to, outcome: *outcome })
        };
        Destination::ALL.iter().flat_map(|to| with(*to)).collect()
    }
}

impl Labels for OfReason {
    fn all() -> Vec<OfReason> {
        Reason::ALL.iter().map(|reason| OfReason { reason: *reason }).collect()
    }
}

impl Labels for OfProtocol {
    fn all() -> Vec<OfProtocol> {
        Protocol::ALL
            .iter()
            .map(|protocol| OfProtocol { protocol: *protocol })
            .collect()
    }
}

impl Labels for OfTls {
    fn all() -> Vec<OfTls> {
        let with = |protocol: Protocol| {
            TlsVersion::ALL.iter().map(move |version| OfTls {
                protocol,
                version: *version,
            })
        };
        Protocol::ALL.iter().flat_map(|protocol| with(*protocol)).collect()
    }
}
