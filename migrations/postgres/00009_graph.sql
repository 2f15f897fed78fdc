-- +goose Up

-- What owners gather recordings in. Clients choose ids, so two owners may have the same
-- one: the graph knows a story by its key. Keys are UUIDv7: their order is that of
-- creation.
CREATE TABLE stories (
    owner_id   uuid NOT NULL REFERENCES users,
    id         uuid NOT NULL,
    key        uuid NOT NULL UNIQUE,
    title      text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (owner_id, id)
);
CREATE INDEX stories_list ON stories (owner_id, key DESC);
CREATE INDEX recordings_story ON recordings (owner_id, story_id, id DESC) WHERE story_id IS NOT NULL;

-- Those that recordings have named so far, with a UUIDv7 of the first one's time.
INSERT INTO stories (owner_id, id, key, created_at, updated_at)
    SELECT owner_id, story_id, (lpad(to_hex((extract(epoch FROM min(created_at)) * 1000)::bigint), 12, '0') || '7'
        || substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid, min(created_at), min(created_at)
    FROM recordings WHERE story_id IS NOT NULL AND state <> 'deleted' GROUP BY owner_id, story_id;

-- Who and what an owner's recordings mention or are about, as found: one row for all
-- spellings that differ in case, punctuation or spaces (key).
CREATE TABLE entities (
    id          uuid PRIMARY KEY,
    owner_id    uuid NOT NULL REFERENCES users,
    kind        text NOT NULL CHECK (kind IN ('person', 'place', 'organization', 'date', 'topic')),
    key         text NOT NULL,
    name        text NOT NULL,
    -- By the owner: an analysis leaves the name.
    renamed     boolean NOT NULL DEFAULT false,
    -- The owner says that it is the same as this one, which is not merged itself.
    merged_into uuid REFERENCES entities,
    created_at  timestamptz NOT NULL,
    UNIQUE (owner_id, kind, key),
    CHECK (merged_into <> id)
);
CREATE INDEX entities_merged ON entities (merged_into) WHERE merged_into IS NOT NULL;
-- Those that may stay when nothing mentions them.
CREATE INDEX entities_kept ON entities (owner_id) WHERE renamed OR merged_into IS NOT NULL;

-- Made of the analysis: which entities a recording mentions, as found, not as merged.
CREATE TABLE mentions (
    recording_id uuid NOT NULL REFERENCES recordings,
    entity_id    uuid NOT NULL REFERENCES entities,
    count        integer NOT NULL,
    at_ms        bigint[] NOT NULL, -- the first 100
    weight       double precision,  -- of a topic
    PRIMARY KEY (recording_id, entity_id)
);
CREATE INDEX mentions_entity ON mentions (entity_id);

-- What the graph shows, or has shown: raised in the transaction of each change. All
-- versions are of one sequence, so none is ever used again, for whatever.
CREATE SEQUENCE graph_version;
CREATE TABLE graph_versions (
    kind     text NOT NULL CHECK (kind IN ('user', 'story', 'entity', 'recording')),
    id       uuid NOT NULL,
    -- Null: nobody knows any more.
    owner_id uuid,
    version  bigint NOT NULL,
    PRIMARY KEY (kind, id)
) WITH (fillfactor = 80);

-- What the graph has to look at. It holds nothing of it: that is read when it is applied.
CREATE TABLE graph_outbox (
    seq        bigserial PRIMARY KEY,
    kind       text NOT NULL,
    id         uuid NOT NULL,
    version    bigint NOT NULL,
    at         timestamptz NOT NULL,
    attempts   integer NOT NULL DEFAULT 0, -- that the graph has refused
    not_before timestamptz NOT NULL
);
-- Rows live for a second: dead ones are cleared by their number.
ALTER TABLE graph_outbox SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- What the graph has refused too often.
CREATE TABLE graph_dead_letters (
    kind     text NOT NULL,
    id       uuid NOT NULL,
    version  bigint NOT NULL,
    reason   text NOT NULL,
    attempts integer NOT NULL,
    at       timestamptz NOT NULL,
    PRIMARY KEY (kind, id)
);

-- Where a rebuild of the graph is: at most one row.
CREATE TABLE graph_rebuild (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),
    started_at timestamptz NOT NULL,
    kind       text NOT NULL,
    after      uuid NOT NULL
);

-- What was there before this migration: users here, recordings by Migrate, which
-- empties this.
CREATE TABLE graph_backlog (
    owner_id     uuid NOT NULL,
    recording_id uuid NOT NULL REFERENCES recordings,
    PRIMARY KEY (owner_id, recording_id)
);
INSERT INTO graph_backlog SELECT owner_id, id FROM recordings WHERE state = 'ready';
INSERT INTO graph_versions SELECT 'user', id, id, nextval('graph_version') FROM users;
INSERT INTO graph_outbox (kind, id, version, at, not_before) SELECT kind, id, version, now(), now() FROM graph_versions;

-- +goose Down
DROP TABLE graph_backlog, graph_rebuild, graph_dead_letters, graph_outbox, graph_versions, mentions, entities, stories;
DROP SEQUENCE graph_version;
DROP INDEX recordings_story;
