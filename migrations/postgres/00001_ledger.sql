-- +goose Up

CREATE TABLE users (
    id           uuid PRIMARY KEY,
    -- Who the identity provider says this is, with the provider in front: "dev:alice".
    subject      text NOT NULL UNIQUE,
    -- The sequence number of this owner's latest event. Drawing the next one locks
    -- this row until commit, so that events of one owner become visible in their order.
    event_seq    bigint NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE recordings (
    id           uuid PRIMARY KEY,
    owner_id     uuid NOT NULL REFERENCES users,
    state        text NOT NULL CHECK (state IN ('uploading', 'received', 'processing', 'ready', 'rejected', 'failed', 'deleted')),
    reason       text NOT NULL DEFAULT '',
    detail       text NOT NULL DEFAULT '',
    -- The stage to do next: a stage that finds another name here has been done already.
    stage        text NOT NULL DEFAULT '',
    title        text NOT NULL DEFAULT '',
    filename     text NOT NULL DEFAULT '',
    filetype     text NOT NULL DEFAULT '',
    language     text NOT NULL DEFAULT '',
    story_id     uuid,
    recorded_at  timestamptz,
    size_bytes   bigint,
    sha256       bytea CHECK (octet_length(sha256) = 32),
    object_key   text NOT NULL,
    media        jsonb,
    loudness     jsonb,
    silences     jsonb,
    version      bigint NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    received_at  timestamptz,
    ready_at     timestamptz,
    deleted_at   timestamptz,
    -- Set when no byte of it is in storage any more.
    purged_at    timestamptz
);

-- Ids are UUIDv7, so their order is the order of creation.
CREATE INDEX recordings_list ON recordings (owner_id, id DESC) WHERE state <> 'deleted';
-- The janitor asks whose every object is, by its key.
CREATE INDEX recordings_object ON recordings (object_key) WHERE purged_at IS NULL;

CREATE TABLE uploads (
    id               uuid PRIMARY KEY,
    recording_id     uuid NOT NULL UNIQUE REFERENCES recordings,
    owner_id         uuid NOT NULL REFERENCES users,
    client_id        text,
    state            text NOT NULL CHECK (state IN ('receiving', 'received', 'stored', 'refused', 'terminated', 'expired')),
    length           bigint CHECK (length >= 0),
    committed_offset bigint NOT NULL DEFAULT 0 CHECK (committed_offset >= 0),
    -- The fencing token: see recording.Upload.
    epoch            bigint NOT NULL DEFAULT 0,
    writer_open      boolean NOT NULL DEFAULT false,
    hash_state       bytea,
    head             bytea,
    object_key       text NOT NULL,
    metadata         jsonb NOT NULL DEFAULT '{}',
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    expires_at       timestamptz NOT NULL,
    CHECK (length IS NULL OR committed_offset <= length),
    CHECK (state NOT IN ('received', 'stored') OR (length IS NOT NULL AND committed_offset = length))
);

-- A clientId names one living upload of its owner; after a dead one it is free again.
CREATE UNIQUE INDEX uploads_client_id ON uploads (owner_id, client_id)
    WHERE client_id IS NOT NULL AND state IN ('receiving', 'received', 'stored');
CREATE INDEX uploads_resumable ON uploads (owner_id, id DESC) WHERE state = 'receiving';
CREATE INDEX uploads_expiry ON uploads (expires_at) WHERE state = 'receiving';

CREATE TABLE upload_parts (
    upload_id uuid NOT NULL REFERENCES uploads,
    number    integer NOT NULL CHECK (number > 0),
    size      bigint NOT NULL CHECK (size > 0),
    ref       text NOT NULL,
    PRIMARY KEY (upload_id, number)
);

CREATE TABLE artifacts (
    recording_id uuid NOT NULL REFERENCES recordings,
    kind         text NOT NULL,
    object_key   text NOT NULL UNIQUE,
    content_type text NOT NULL,
    size_bytes   bigint NOT NULL,
    sha256       bytea NOT NULL CHECK (octet_length(sha256) = 32),
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (recording_id, kind)
);

-- Milestones, append-only.
CREATE TABLE events (
    owner_id     uuid NOT NULL REFERENCES users,
    seq          bigint NOT NULL,
    recording_id uuid NOT NULL REFERENCES recordings,
    type         text NOT NULL,
    at           timestamptz NOT NULL,
    data         jsonb NOT NULL,
    PRIMARY KEY (owner_id, seq)
);
CREATE INDEX events_recording ON events (recording_id, seq);

-- One-time tickets that open a WebSocket where no header can be set. Only a hash is kept.
CREATE TABLE socket_tickets (
    hash       bytea PRIMARY KEY,
    owner_id   uuid NOT NULL REFERENCES users,
    expires_at timestamptz NOT NULL
);

-- +goose Down
DROP TABLE socket_tickets, events, artifacts, upload_parts, uploads, recordings, users;
