-- Thin clients: codes carry what their maker or asker said of itself; tokens are kept as digests.
ALTER TABLE pairing_codes ADD COLUMN details TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(details));
CREATE INDEX pairing_codes_open ON pairing_codes (dialect, kind) WHERE state = 'open';

CREATE TABLE device_tokens (
    digest       BLOB PRIMARY KEY CHECK (length(digest) = 32),
    node_id      TEXT NOT NULL REFERENCES mesh_nodes (id) ON DELETE CASCADE,
    kind         TEXT NOT NULL CHECK (kind IN ('session', 'device')),
    listener     TEXT NOT NULL CHECK (listener IN ('public', 'plain')),
    created_at   TEXT NOT NULL,
    last_used_at TEXT,
    expires_at   TEXT,
    revoked_at   TEXT,
    replaces     BLOB CHECK (replaces IS NULL OR length(replaces) = 32)
) STRICT;
CREATE INDEX device_tokens_node ON device_tokens (node_id);
