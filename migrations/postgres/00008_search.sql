-- +goose Up

-- Both are trusted: the owner of the database may create them.
-- +goose StatementBegin
DO $$
BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    CREATE EXTENSION IF NOT EXISTS btree_gin;
EXCEPTION WHEN insufficient_privilege OR feature_not_supported OR undefined_file THEN
    RAISE EXCEPTION 'search needs PostgreSQL''s extensions pg_trgm and btree_gin, which can''t be created: %', SQLERRM
        USING HINT = 'They are in the package of contrib modules. The owner of the database may create them, or an administrator: CREATE EXTENSION pg_trgm; CREATE EXTENSION btree_gin;';
END $$;
-- +goose StatementEnd

-- An owner's recordings stand on shelves of about 2,000, the newer ones on those with
-- higher numbers, so that a search for a common word reads some shelves and not all:
-- see docs/decisions/0024-search.md.
CREATE TABLE search_shelves (
    owner_id     uuid NOT NULL REFERENCES users,
    -- A year, and the number of the shelf within it: 2026000.
    shelf        integer NOT NULL,
    -- That were ever put on it.
    documents    integer NOT NULL,
    -- Those of its documents; one that none has any more may stay.
    dictionaries text[] NOT NULL,
    PRIMARY KEY (owner_id, shelf)
);

-- What can be found of a recording, made of its other rows by indexRecording.
CREATE TABLE search_documents (
    recording_id uuid PRIMARY KEY REFERENCES recordings,
    owner_id     uuid NOT NULL REFERENCES users,
    shelf        integer NOT NULL,
    at           timestamptz NOT NULL,
    -- The text search dictionary that words was made with.
    dictionary   text NOT NULL,
    -- What can be filtered by: "story:…", "topic:…", "entity:…".
    tags         text[] NOT NULL,
    words        tsvector NOT NULL,
    -- The texts that the positions in words count through, and the first position of each.
    passages     jsonb NOT NULL,
    starts       integer[] NOT NULL
);
-- Ranking reads some hundred tsvectors: they are not compressed. Looking for matches
-- reads none: what is large lies apart.
ALTER TABLE search_documents ALTER COLUMN words SET STORAGE EXTERNAL;
ALTER TABLE search_documents SET (toast_tuple_target = 128);
-- Without fastupdate: each scan would read the whole list of what is pending.
CREATE INDEX search_documents_words ON search_documents USING gin (owner_id, shelf, tags, words) WITH (fastupdate = off);

-- The words of each owner's documents, as they are written, to complete them and to
-- find names that are misspelt.
CREATE TABLE search_words (
    owner_id  uuid NOT NULL REFERENCES users,
    word      text COLLATE "C" NOT NULL,
    documents integer NOT NULL, -- in which it is
    names     integer NOT NULL, -- in whose title, topics or entities it is
    PRIMARY KEY (owner_id, word)
) WITH (fillfactor = 80);
CREATE INDEX search_words_names ON search_words USING gin (owner_id, word gin_trgm_ops) WHERE names > 0;

-- What was there before this migration; emptied by Migrate.
CREATE TABLE search_backlog (recording_id uuid PRIMARY KEY REFERENCES recordings);
INSERT INTO search_backlog SELECT id FROM recordings WHERE title <> '' AND state <> 'deleted';

-- +goose Down
DROP TABLE search_backlog, search_words, search_documents, search_shelves;
