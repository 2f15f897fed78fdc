-- +goose Up

-- What is asked for of a recording once it is ready: see recording.Insight.
CREATE TABLE insights (
    recording_id uuid NOT NULL REFERENCES recordings,
    stage        text NOT NULL CHECK (stage IN ('transcribe', 'analyse')),
    run          bigint NOT NULL DEFAULT 1,
    state        text NOT NULL CHECK (state IN ('waiting', 'ready', 'failed')),
    language     text NOT NULL DEFAULT '',
    model        text NOT NULL DEFAULT '',
    reason       text NOT NULL DEFAULT '',
    detail       text NOT NULL DEFAULT '',
    updated_at   timestamptz NOT NULL,
    PRIMARY KEY (recording_id, stage)
);
-- The janitor looks for those whose job is missing.
CREATE INDEX insights_waiting ON insights (recording_id) WHERE state = 'waiting';

-- What the engine has heard: see recording.Transcript.
CREATE TABLE transcripts (
    recording_id uuid PRIMARY KEY REFERENCES recordings,
    language     text NOT NULL,
    provider     text NOT NULL,
    model        text NOT NULL,
    segments     jsonb NOT NULL,
    -- Of the whole, with its corrections.
    version      bigint NOT NULL,
    created_at   timestamptz NOT NULL
);

-- What the owner says was said instead; of each span the latest version counts. An
-- entry that withdraws the correction has no text.
CREATE TABLE corrections (
    recording_id uuid NOT NULL REFERENCES recordings,
    start_ms     bigint NOT NULL CHECK (start_ms >= 0),
    end_ms       bigint NOT NULL,
    version      bigint NOT NULL,
    text         text,
    at           timestamptz NOT NULL,
    PRIMARY KEY (recording_id, start_ms, end_ms, version),
    CHECK (end_ms > start_ms)
);

CREATE TABLE analyses (
    recording_id   uuid PRIMARY KEY REFERENCES recordings,
    analysis       jsonb NOT NULL,
    provider       text NOT NULL,
    model          text NOT NULL,
    prompt_version text NOT NULL,
    created_at     timestamptz NOT NULL
);

-- Answers of providers: see recording.ProviderResult. They belong to a recording and
-- go with it, so nobody's words answer for somebody else's.
CREATE TABLE provider_results (
    recording_id   uuid NOT NULL REFERENCES recordings,
    digest         bytea NOT NULL CHECK (octet_length(digest) = 32),
    stage          text NOT NULL,
    provider       text NOT NULL,
    model          text NOT NULL,
    prompt_version text NOT NULL,
    result         jsonb NOT NULL,
    audio_ms       bigint NOT NULL DEFAULT 0,
    tokens         bigint NOT NULL DEFAULT 0,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (recording_id, digest)
);

-- What providers did for each user in a day (UTC). Days stay: they are the bill.
CREATE TABLE provider_usage (
    owner_id uuid NOT NULL REFERENCES users,
    day      date NOT NULL,
    audio_ms bigint NOT NULL DEFAULT 0,
    tokens   bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (owner_id, day)
);

-- +goose Down
DROP TABLE provider_usage, provider_results, analyses, corrections, transcripts, insights;
