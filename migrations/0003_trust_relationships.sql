-- mylzip: who paired by whose code, and the opaque data left for the maker. No key on maker_id: it need not have a row.
CREATE TABLE trust_relationships (
    id          TEXT PRIMARY KEY,
    maker_id    TEXT NOT NULL,
    device_id   TEXT NOT NULL REFERENCES mesh_nodes (id) ON DELETE CASCADE,
    trust_level INTEGER NOT NULL CHECK (trust_level BETWEEN 0 AND 3),
    trust_data  TEXT NOT NULL,
    created_at  TEXT NOT NULL
) STRICT;
CREATE INDEX trust_relationships_maker ON trust_relationships (maker_id);
