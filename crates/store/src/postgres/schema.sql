-- Version 1. docs/formats.md says what each column holds. SCHEMA stands for the schema's name.
CREATE TABLE SCHEMA.state (
    id int4 PRIMARY KEY CHECK (id = 1),
    schema int8 NOT NULL,
    head int8 NOT NULL,
    clock int8 NOT NULL,
    forgotten int8 NOT NULL
);

CREATE TABLE SCHEMA.streams (
    id int8 PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    version int8 NOT NULL
);

CREATE TABLE SCHEMA.events (
    position int8 PRIMARY KEY,
    stream int8 NOT NULL,
    version int8 NOT NULL,
    kind text NOT NULL,
    data bytea NOT NULL,
    metadata bytea NOT NULL,
    at int8 NOT NULL,
    UNIQUE (stream, version)
);

CREATE TABLE SCHEMA.keys (
    name text COLLATE "C" PRIMARY KEY,
    value bytea,
    revision int8 NOT NULL UNIQUE,
    expires_at int8,
    changed_at int8 NOT NULL
);
CREATE INDEX keys_expiry ON SCHEMA.keys (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX keys_deleted ON SCHEMA.keys (changed_at) WHERE value IS NULL;

CREATE TABLE SCHEMA.commits (
    batch uuid PRIMARY KEY,
    first int8 NOT NULL,
    last int8 NOT NULL
);

CREATE TABLE SCHEMA.fences (
    name text COLLATE "C" PRIMARY KEY,
    token int8 NOT NULL
);

CREATE TABLE SCHEMA.claims (
    name text COLLATE "C" PRIMARY KEY,
    owner uuid NOT NULL,
    epoch int8 NOT NULL,
    expires_at int8 NOT NULL
);

-- Last: who sees this row sees all tables.
INSERT INTO SCHEMA.state VALUES (1, 1, 0, 0, 0);
