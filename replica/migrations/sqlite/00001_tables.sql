-- +goose Up

-- Times are ISO 8601 in UTC with milliseconds, booleans 0 or 1, JSON compact
-- with sorted keys. NULL: said to be null, or never said.
--
-- updated_from is the newest event about the row, "identity @ time". versions
-- is the bookkeeping of convergence (see versions.go): bits stand for the
-- columns between the key and updated_from, in this order, so new columns go
-- to the end of these.

CREATE TABLE users (
    tenant_id      TEXT NOT NULL,
    user_id        TEXT NOT NULL,
    email          TEXT,
    first_name     TEXT,
    last_name      TEXT,
    name           TEXT,
    is_active      INTEGER,
    created_at     TEXT,
    deactivated_at TEXT,
    deactivated_by TEXT,
    deleted_at     TEXT,
    deleted_by     TEXT,
    reason         TEXT, -- of the deactivation or deletion
    updated_from   TEXT NOT NULL,
    versions       TEXT NOT NULL,
    PRIMARY KEY (tenant_id, user_id)
) WITHOUT ROWID;

-- app: the application that a fan-out copy is for; '' is the role of the
-- whole suite, with its permissions in every application.
CREATE TABLE roles (
    tenant_id    TEXT NOT NULL,
    role_id      TEXT NOT NULL,
    app          TEXT NOT NULL,
    name         TEXT,
    description  TEXT,
    permissions  TEXT,
    restrictions TEXT,
    is_active    INTEGER,
    updated_at   TEXT,
    updated_by   TEXT,
    deleted_at   TEXT,
    updated_from TEXT NOT NULL,
    versions     TEXT NOT NULL,
    PRIMARY KEY (tenant_id, role_id, app)
) WITHOUT ROWID;

CREATE TABLE role_assignments (
    tenant_id     TEXT NOT NULL,
    assignment_id TEXT NOT NULL,
    user_id       TEXT,
    role_id       TEXT,
    assigned_at   TEXT,
    assigned_by   TEXT,
    expires_at    TEXT,
    deleted_at    TEXT,
    updated_from  TEXT NOT NULL,
    versions      TEXT NOT NULL,
    PRIMARY KEY (tenant_id, assignment_id)
) WITHOUT ROWID;

CREATE TABLE organizations (
    tenant_id    TEXT NOT NULL,
    org_code     TEXT NOT NULL,
    name         TEXT,
    type         TEXT,
    description  TEXT,
    parent_id    TEXT,
    is_active    INTEGER,
    created_at   TEXT,
    created_by   TEXT,
    updated_from TEXT NOT NULL,
    versions     TEXT NOT NULL,
    PRIMARY KEY (tenant_id, org_code)
) WITHOUT ROWID;

-- assignment_key is the assignment's id, but user_organization for the old
-- ids user_organization_ms, of which one assignment has many.
CREATE TABLE organization_assignments (
    tenant_id         TEXT NOT NULL,
    assignment_key    TEXT NOT NULL,
    assignment_id     TEXT,
    user_id           TEXT,
    organization_id   TEXT,
    organization_code TEXT,
    assignment_type   TEXT,
    access_level      TEXT,
    is_active         INTEGER,
    is_primary        INTEGER,
    priority          INTEGER,
    assigned_at       TEXT,
    assigned_by       TEXT,
    deleted_at        TEXT,
    metadata          TEXT,
    updated_from      TEXT NOT NULL,
    versions          TEXT NOT NULL,
    PRIMARY KEY (tenant_id, assignment_key)
) WITHOUT ROWID;

-- Everything that was said about credits, once; what counts is in
-- credit_entries. on_ledger and on_sync: on which kind of stream it was said.
-- has_id: with an allocation or operation id.
CREATE TABLE credit_facts (
    tenant_id      TEXT NOT NULL,
    kind           TEXT NOT NULL, -- allocated, consumed
    entry_id       TEXT NOT NULL,
    entity_id      TEXT NOT NULL, -- tenant_id for credits of the whole tenant
    amount         TEXT NOT NULL, -- exact decimal without exponent
    user_id        TEXT,
    operation_type TEXT,
    operation_id   TEXT,
    occurred_at    TEXT NOT NULL,
    updated_from   TEXT NOT NULL,
    on_ledger      INTEGER NOT NULL,
    on_sync        INTEGER NOT NULL,
    has_id         INTEGER NOT NULL,
    counts         INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, kind, entry_id)
) WITHOUT ROWID;

-- The copies without an id of one entity, kind and amount, in the order in
-- which they begin to count: the latest first.
CREATE INDEX credit_copies ON credit_facts (tenant_id, kind, entity_id, amount, counts, occurred_at, entry_id)
    WHERE on_ledger = 0 AND has_id = 0;

CREATE VIEW credit_entries AS
SELECT tenant_id, entry_id, entity_id, kind, amount, user_id, operation_type, operation_id, occurred_at, updated_from
FROM credit_facts
WHERE counts = 1;

-- Per entity, kind and amount: how many entries of credit-events were not seen
-- on the sync streams, and how many copies without an id were.
CREATE TABLE credit_cells (
    tenant_id TEXT NOT NULL,
    kind      TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    amount    TEXT NOT NULL,
    unseen    INTEGER NOT NULL,
    copies    INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, kind, entity_id, amount)
) WITHOUT ROWID;

-- The sums of credit_entries. SQL cannot add decimals exactly.
CREATE TABLE credit_balances (
    tenant_id    TEXT NOT NULL,
    entity_id    TEXT NOT NULL,
    allocated    TEXT NOT NULL,
    consumed     TEXT NOT NULL,
    balance      TEXT NOT NULL,
    updated_from TEXT NOT NULL,
    PRIMARY KEY (tenant_id, entity_id)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE credit_balances;
DROP TABLE credit_cells;
DROP VIEW credit_entries;
DROP TABLE credit_facts;
DROP TABLE organization_assignments;
DROP TABLE organizations;
DROP TABLE role_assignments;
DROP TABLE roles;
DROP TABLE users;
