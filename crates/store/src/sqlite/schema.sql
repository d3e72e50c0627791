-- Version 1. docs/formats.md says what each column holds.
CREATE TABLE backstay_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    schema INTEGER NOT NULL,
    head INTEGER NOT NULL,
    clock INTEGER NOT NULL,
    forgotten INTEGER NOT NULL
) STRICT;
INSERT INTO backstay_state VALUES (1, 1, 0, 0, 0);

CREATE TABLE backstay_streams (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL
) STRICT;

CREATE TABLE backstay_events (
    position INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL REFERENCES backstay_streams,
    version INTEGER NOT NULL,
    kind TEXT NOT NULL,
    data BLOB NOT NULL,
    metadata BLOB NOT NULL,
    at INTEGER NOT NULL,
    UNIQUE (stream, version)
) STRICT;

CREATE TABLE backstay_keys (
    name TEXT PRIMARY KEY,
    value BLOB,
    revision INTEGER NOT NULL UNIQUE,
    expires_at INTEGER,
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX backstay_keys_expiry ON backstay_keys (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX backstay_keys_deleted ON backstay_keys (changed_at) WHERE value IS NULL;

CREATE TABLE backstay_commits (
    batch BLOB PRIMARY KEY,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE backstay_fences (
    name TEXT PRIMARY KEY,
    token INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE backstay_claims (
    name TEXT PRIMARY KEY,
    owner BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
