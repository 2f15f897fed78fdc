-- +goose Up

-- The janitor asks whose every object is, by its key.
CREATE INDEX recordings_object ON recordings (object_key) WHERE purged_at IS NULL;

-- Nothing reads it: purges are jobs.
DROP INDEX recordings_unpurged;

-- +goose Down
CREATE INDEX recordings_unpurged ON recordings (deleted_at) WHERE state = 'deleted' AND purged_at IS NULL;
DROP INDEX recordings_object;
