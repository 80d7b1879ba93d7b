-- The accounts of Mailroom in a database: PostgreSQL, MySQL or MariaDB, and SQLite take this file as it is.
-- Addresses are written in small letters. Mailroom reads these tables and never writes to them: a user with the right to
-- SELECT is enough.

CREATE TABLE domains (
    domain VARCHAR(255) NOT NULL PRIMARY KEY    -- beside POSTFIX_MYDOMAIN and MAILROOM_DOMAINS, which need no row
);

CREATE TABLE accounts (
    address  VARCHAR(320) NOT NULL PRIMARY KEY, -- user@example.org
    password VARCHAR(255) NOT NULL,             -- {SCHEME}hash, as doveadm pw prints it
    quota    BIGINT,                            -- bytes that it may store, 0 for no limit; NULL: as MAILROOM_QUOTA says
    role     VARCHAR(8)   NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin', 'relay')),
    enabled  SMALLINT     NOT NULL DEFAULT 1    -- 0: no logins and no mail, as if it was not there
);
CREATE INDEX accounts_by_role ON accounts (role);

CREATE TABLE aliases (
    address VARCHAR(320) NOT NULL,              -- info@example.org, or @example.org for all that is nobody's there
    target  VARCHAR(320) NOT NULL,              -- a full address, here or elsewhere: a row for each
    PRIMARY KEY (address, target)
);
