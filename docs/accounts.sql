-- The accounts of Mailroom in a database: PostgreSQL, MySQL or MariaDB, and SQLite take this file as it is.
-- Mailroom reads these tables and never writes to them: a user with the right to SELECT is enough.
--
-- Addresses are written in small letters, as the daemons ask for them: in SQLite and PostgreSQL a row with a capital letter
-- would be nobody's. REPLACE tells capitals from small letters in all three, = and LIKE do not in MySQL and MariaDB. MySQL takes
-- heed of checks since 8.0.16.

CREATE TABLE domains (
    domain VARCHAR(255) NOT NULL PRIMARY KEY,   -- beside POSTFIX_MYDOMAIN and MAILROOM_DOMAINS, which need no row
    CONSTRAINT domain_in_small_letters CHECK (REPLACE(LOWER(domain), domain, '') = ''),
    CONSTRAINT domain_without_at CHECK (domain NOT LIKE '%@%')
);

CREATE TABLE accounts (
    address  VARCHAR(320) NOT NULL PRIMARY KEY, -- user@example.org
    password VARCHAR(255) NOT NULL,             -- {SCHEME}hash, as doveadm pw prints it
    quota    BIGINT,                            -- bytes that it may store, 0 for no limit; NULL: as MAILROOM_QUOTA says
    role     VARCHAR(8)   NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin', 'relay')),
    enabled  SMALLINT     NOT NULL DEFAULT 1,   -- 0: no logins and no mail, as if it was not there
    CONSTRAINT address_in_small_letters CHECK (REPLACE(LOWER(address), address, '') = ''),
    CONSTRAINT address_with_domain CHECK (address LIKE '%_@_%'),
    CONSTRAINT password_is_hash CHECK (
        password LIKE '{_%}_%' AND UPPER(password) NOT LIKE '{PLAIN}%' AND UPPER(password) NOT LIKE '{PLAIN.%'
        AND UPPER(password) NOT LIKE '{CLEAR%'
    ),
    CONSTRAINT quota_from_zero CHECK (quota >= 0),
    CONSTRAINT enabled_or_not CHECK (enabled IN (0, 1))
);
CREATE INDEX accounts_by_role ON accounts (role);

CREATE TABLE aliases (
    address VARCHAR(320) NOT NULL,              -- info@example.org, or @example.org for all that is nobody's there
    target  VARCHAR(320) NOT NULL,              -- a full address, here or elsewhere: a row for each
    PRIMARY KEY (address, target),
    CONSTRAINT alias_in_small_letters CHECK (REPLACE(LOWER(address), address, '') = ''),
    CONSTRAINT alias_with_domain CHECK (address LIKE '%@_%'),
    CONSTRAINT target_in_small_letters CHECK (REPLACE(LOWER(target), target, '') = ''),
    CONSTRAINT target_with_domain CHECK (target LIKE '%_@_%')
);
