-- Resource queues. NULL is no limit.

CREATE TABLE resource_queue (
    oid INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    active_statements INTEGER CHECK (active_statements > 0),
    max_cost REAL CHECK (max_cost > 0),
    cost_overcommit INTEGER NOT NULL CHECK (cost_overcommit IN (0, 1)),
    min_cost REAL NOT NULL CHECK (min_cost >= 0),
    memory_limit_kb INTEGER CHECK (memory_limit_kb >= 10240),
    priority TEXT NOT NULL CHECK (priority IN ('min', 'low', 'medium', 'high', 'max')),
    max_queued INTEGER CHECK (max_queued >= 0),
    queue_timeout_ms INTEGER CHECK (queue_timeout_ms > 0),
    comment TEXT,
    CHECK (active_statements IS NOT NULL OR max_cost IS NOT NULL)
) STRICT;

INSERT INTO resource_queue (oid, name, active_statements, cost_overcommit, min_cost, priority)
VALUES (6055, 'pg_default', 20, 0, 0, 'medium');

-- SQLite adds a column that refers to another table only with NULL in it. No role stays without a queue.
ALTER TABLE role
ADD COLUMN resource_queue_oid INTEGER REFERENCES resource_queue (oid) DEFERRABLE INITIALLY DEFERRED;

UPDATE role SET resource_queue_oid = 6055;

CREATE INDEX role_resource_queue ON role (resource_queue_oid);
