//! The places inside the image that more than one part refers to.

/// Postfix's configuration: a volume.
pub const POSTFIX_CONFIG_DIRECTORY: &str = "/etc/postfix";
/// Postfix's queue: a volume.
pub const QUEUE_DIRECTORY: &str = "/var/spool/postfix";
/// The mailboxes: a volume.
pub const MAIL_DIRECTORY: &str = "/var/mail";
/// In each home: when mail was last read there.
pub const LAST_LOGIN: &str = "last-login";
/// Uid and gid of the account vmail, owner of all mailboxes.
pub const VMAIL_UID: u32 = 5000;
/// The directory of certificate and key: a volume.
pub const CERTIFICATE_DIRECTORY: &str = "/etc/dovecot/certs";
/// For state that has no other place: a volume.
pub const STATE_DIRECTORY: &str = "/var/lib/mailroom";
/// Accounts, aliases and domains that were added live.
pub const LIVE_FILE: &str = "/var/lib/mailroom/accounts.jsonl";
/// The same before its last change.
pub const PREVIOUS_FILE: &str = "/var/lib/mailroom/accounts.previous.jsonl";
/// What was declared when it was last right.
pub const DECLARED_FILE: &str = "/var/lib/mailroom/declared.jsonl";
/// What local parts of addresses are hashed with in the logs.
pub const LOG_MASK_KEY: &str = "/var/lib/mailroom/log-mask.key";
/// The rename of a domain that has begun, and has not ended.
pub const RENAME_FILE: &str = "/var/lib/mailroom/rename.json";
/// The volumes, in the order in which they are locked.
pub const VOLUMES: [&str; 5] = [
    MAIL_DIRECTORY,
    QUEUE_DIRECTORY,
    POSTFIX_CONFIG_DIRECTORY,
    CERTIFICATE_DIRECTORY,
    STATE_DIRECTORY,
];
/// The certificate of both daemons.
pub const CERTIFICATE: &str = "/etc/dovecot/certs/dovecot.crt";
/// The certificate's key.
pub const KEY: &str = "/etc/dovecot/certs/dovecot.key";
/// What both daemons serve of a pair that is not ours: its chain and its key, in one file.
pub const SERVED_CERTIFICATE: &str = "/run/mailroom/certificate.pem";
/// What is rendered anew at every start and needs no volume.
pub const RUN_DIRECTORY: &str = "/run/mailroom";
/// Dovecot's own sockets and pid file.
pub const DOVECOT_RUN_DIRECTORY: &str = "/run/dovecot";
/// The accounts with the hashes of their passwords (Dovecot docs, "Passwd-file").
pub const USERS_FILE: &str = "/run/mailroom/dovecot/users";
/// How Dovecot reaches the directory that holds accounts, where there is one.
pub const DIRECTORY_CONFIG: &str = "/run/mailroom/dovecot/directory.conf";
/// Where Postfix asks Dovecot about logins.
pub const AUTH_SOCKET: &str = "/var/spool/postfix/private/auth";
/// Where Postfix hands mail to Dovecot, for accounts whose delivery is Dovecot's.
pub const LMTP_SOCKET: &str = "/var/spool/postfix/private/dovecot-lmtp";
/// Where Postfix asks Dovecot whether a mailbox has room.
pub const QUOTA_SOCKET: &str = "/var/spool/postfix/private/quota-status";
/// The program itself.
pub const PROGRAM: &str = "/usr/local/bin/mailroom";
/// Where Postfix asks about submissions.
pub const SUBMISSION_POLICY_SOCKET: &str = "/run/mailroom/policyd/submissions";
/// Where Dovecot asks about logins; loopback is there whatever the protocols are.
pub const LOGIN_POLICY_SERVER: ([u8; 4], u16) = ([127, 0, 0, 1], 9905);
/// What Dovecot shows there, and hashes passwords with.
pub const LOGIN_POLICY_SECRET: &str = "/run/mailroom/policyd/secret";
/// Where `mailroom httpd` asks PID 1 how the server is.
pub const HTTP_QUESTIONS: &str = "/run/mailroom/httpd/questions";
/// Our own lookup tables: beside the user's, which lie in the volume or wherever they are mounted.
pub const POSTFIX_TABLES: &str = "/run/mailroom/postfix-tables";
/// The login at the relay host.
pub const RELAY_LOGIN: &str = "/run/mailroom/postfix-tables/relay_login";
/// Where the primary domain is recorded, beside the mail that belongs to it.
pub const PRIMARY_DOMAIN_RECORD: &str = "/var/mail/.mailroom-domain";
/// Names of addresses, which are looked up before DNS (hosts(5)).
pub const HOSTS_FILE: &str = "/etc/hosts";
/// Source address of the health probes: their sessions leave no log lines.
pub const PROBE_ADDRESS: &str = "127.0.0.9";
/// The same where IPv6 alone is served: there is one loopback address, and other local clients have it too.
pub const PROBE_ADDRESS_IPV6: &str = "::1";
