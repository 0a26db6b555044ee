-- The first form of the catalog. A snapshot in memory is exactly what these tables say, plus the transient relations.
--
-- Owners are object ids, so that renaming a role rewrites one row. References are checked at COMMIT only: a changed
-- object is written by deleting its row and inserting the new one.

CREATE TABLE catalog_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    -- Grows by one with every durable commit.
    version INTEGER NOT NULL CHECK (version >= 0),
    -- The next object id to hand out; it never goes back, so no id is used twice.
    next_oid INTEGER NOT NULL CHECK (next_oid >= 16384)
) STRICT;

INSERT INTO catalog_state (id, version, next_oid) VALUES (1, 0, 16384);

CREATE TABLE system_setting (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE role (
    oid INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    superuser INTEGER NOT NULL CHECK (superuser IN (0, 1)),
    login INTEGER NOT NULL CHECK (login IN (0, 1)),
    create_db INTEGER NOT NULL CHECK (create_db IN (0, 1)),
    create_role INTEGER NOT NULL CHECK (create_role IN (0, 1)),
    inherit INTEGER NOT NULL CHECK (inherit IN (0, 1)),
    replication INTEGER NOT NULL CHECK (replication IN (0, 1)),
    connection_limit INTEGER NOT NULL CHECK (connection_limit >= -1),
    password TEXT,
    valid_until TEXT
) STRICT;

CREATE TABLE role_setting (
    role_oid INTEGER NOT NULL REFERENCES role (oid) ON DELETE CASCADE,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (role_oid, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE schema (
    oid INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    owner_oid INTEGER NOT NULL REFERENCES role (oid) DEFERRABLE INITIALLY DEFERRED
) STRICT;

CREATE INDEX schema_owner ON schema (owner_oid);

CREATE TABLE relation (
    oid INTEGER PRIMARY KEY,
    schema_oid INTEGER NOT NULL REFERENCES schema (oid) DEFERRABLE INITIALLY DEFERRED,
    name TEXT NOT NULL,
    owner_oid INTEGER NOT NULL REFERENCES role (oid) DEFERRABLE INITIALLY DEFERRED,
    -- The catalog version that changed this relation last.
    version INTEGER NOT NULL CHECK (version >= 0),
    -- A JSON object with one key, TABLE or VIEW.
    definition TEXT NOT NULL CHECK (json_valid(definition)),
    UNIQUE (schema_oid, name)
) STRICT;

CREATE INDEX relation_owner ON relation (owner_oid);
