-- +goose Up

-- What the tokens of a user say: see recording.User. created_at is when they were
-- first seen.
ALTER TABLE users
    ADD COLUMN email           text NOT NULL DEFAULT '',
    ADD COLUMN name            text NOT NULL DEFAULT '',
    ADD COLUMN provider        text NOT NULL DEFAULT '',
    -- When the token was issued that email, name and provider are from.
    ADD COLUMN profile_at      timestamptz,
    ADD COLUMN last_seen_at    timestamptz NOT NULL DEFAULT now(),
    -- An operator shuts this user out.
    ADD COLUMN disabled_at     timestamptz,
    ADD COLUMN disabled_reason text NOT NULL DEFAULT '';
UPDATE users SET last_seen_at = created_at;
CREATE INDEX users_email ON users (lower(email)) WHERE email <> '';

-- When the user signed in whose token has asked for the ticket.
ALTER TABLE socket_tickets ADD COLUMN auth_time timestamptz;

-- What was done by role. No reference to users: an entry outlives whom it is about.
CREATE TABLE audit (
    id         uuid PRIMARY KEY,
    at         timestamptz NOT NULL,
    -- Null: the operator, by a command on the server.
    actor_id   uuid,
    role       text NOT NULL CHECK (role IN ('support', 'admin', 'operator')),
    action     text NOT NULL,
    target     text NOT NULL DEFAULT '',
    reason     text NOT NULL DEFAULT '',
    request_id text NOT NULL DEFAULT '',
    CHECK ((actor_id IS NULL) = (role = 'operator'))
);

-- Append-only, also for a mistake in a program.
-- +goose StatementBegin
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit is append-only';
END
$$;
-- +goose StatementEnd
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();

-- +goose Down
DROP TABLE audit;
DROP FUNCTION audit_is_append_only;
ALTER TABLE socket_tickets DROP COLUMN auth_time;
ALTER TABLE users DROP COLUMN email, DROP COLUMN name, DROP COLUMN provider, DROP COLUMN profile_at,
    DROP COLUMN last_seen_at, DROP COLUMN disabled_at, DROP COLUMN disabled_reason;
