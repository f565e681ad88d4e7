-- Nodes we know, ourselves included. Source: docs/protocol.md; timestamps are RFC 3339 text in UTC.
CREATE TABLE mesh_nodes (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL,
    hostname      TEXT NOT NULL,
    port          INTEGER NOT NULL CHECK (port BETWEEN 0 AND 65535),
    status        TEXT NOT NULL CHECK (status IN ('online', 'stale', 'offline')),
    capabilities  TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(capabilities)),
    last_seen     TEXT,
    created_at    TEXT NOT NULL,
    metadata      TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(metadata)),
    is_current    INTEGER NOT NULL DEFAULT 0 CHECK (is_current IN (0, 1)),
    alias         TEXT,
    kind          TEXT NOT NULL DEFAULT 'other' CHECK (kind IN ('desktop', 'phone', 'server', 'browser', 'other')),
    public_key    BLOB UNIQUE CHECK (length(public_key) = 32),
    tls_sha256    BLOB CHECK (length(tls_sha256) = 32),
    addresses     TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(addresses)),
    trust         TEXT NOT NULL CHECK (trust IN ('self', 'unconfirmed', 'paired', 'announced', 'revoked')),
    trust_level   INTEGER NOT NULL DEFAULT 0 CHECK (trust_level BETWEEN 0 AND 3),
    status_reason TEXT CHECK (status_reason IN ('left', 'silent', 'removed_us', 'wrong_node_at_address')),
    dialect       TEXT NOT NULL,
    introduced_by TEXT,
    paired_at     TEXT,
    revoked_at    TEXT,
    revoked_by    TEXT,
    epoch         INTEGER NOT NULL DEFAULT 0,
    revision      INTEGER NOT NULL DEFAULT 0,
    sequence      INTEGER NOT NULL DEFAULT 0,
    announcement  TEXT
) STRICT;
-- exactly one row is ourselves (no index on last_seen: it would double the cost of a heartbeat)
CREATE UNIQUE INDEX mesh_nodes_current ON mesh_nodes (is_current) WHERE is_current = 1;

-- Offers we opened, and the ceremony that used one. Secrets are digests or sealed, and wiped when done.
CREATE TABLE pairing_codes (
    id              TEXT PRIMARY KEY,
    dialect         TEXT NOT NULL,
    kind            TEXT NOT NULL CHECK (kind IN ('offer', 'request')),
    format          TEXT NOT NULL CHECK (format IN ('uuid', 'short', 'legacy')),
    state           TEXT NOT NULL CHECK (state IN ('open', 'used', 'burned', 'expired', 'replaced', 'cancelled')),
    code_digest     BLOB UNIQUE,
    sealed          BLOB,
    device_id       TEXT,
    pin_attempts    INTEGER NOT NULL CHECK (pin_attempts >= 0),
    invite_attempts INTEGER NOT NULL CHECK (invite_attempts >= 0),
    expires_at      TEXT NOT NULL,
    is_used         INTEGER NOT NULL DEFAULT 0 CHECK (is_used IN (0, 1)),
    created_at      TEXT NOT NULL,
    approved_at     TEXT,
    -- what `finish` answered, kept until the joiner acknowledges it or the row is dropped
    sid             BLOB UNIQUE,
    finish_sha256   BLOB,
    finish_answer   BLOB,
    peer_id         TEXT,
    peer_key        BLOB,
    peer_hostname   TEXT,
    peer_announcement TEXT,
    answered_at     TEXT,
    confirmed_at    TEXT
) STRICT;

-- Joins of ours whose acknowledge has not been answered yet, and the row to go back to if the host refuses.
CREATE TABLE pending_acks (
    peer_id    TEXT PRIMARY KEY,
    sid        BLOB NOT NULL,
    jws        TEXT NOT NULL,
    before     TEXT CHECK (before IS NULL OR json_valid(before)),
    created_at TEXT NOT NULL
) STRICT;

-- Budgets that must survive a restart.
CREATE TABLE failed_attempts (
    budget       TEXT PRIMARY KEY,
    failures     TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(failures)),
    locks        INTEGER NOT NULL DEFAULT 0,
    locked_until TEXT
) STRICT;

-- Who paired, failed, was revoked, from which address, when. Append-only; repeated failures count up one row.
CREATE TABLE audit_log (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         TEXT NOT NULL,
    event      TEXT NOT NULL,
    node_id    TEXT,
    node_name  TEXT,
    address    TEXT,
    dialect    TEXT NOT NULL,
    detail     TEXT,
    times      INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE INDEX audit_log_repeats ON audit_log (event, address, at);
