-- +goose Up

-- The janitor looks every few minutes for recordings whose job is missing.
CREATE INDEX recordings_busy ON recordings (id) WHERE state IN ('received', 'processing');
-- It asks whose something in storage is by the id in its key.
DROP INDEX recordings_object, uploads_multipart, uploads_partial_object;

-- +goose Down
DROP INDEX recordings_busy;
CREATE INDEX recordings_object ON recordings (object_key) WHERE purged_at IS NULL;
CREATE INDEX uploads_multipart ON uploads (multipart_id) WHERE multipart_id IS NOT NULL;
CREATE INDEX uploads_partial_object ON uploads (object_key) WHERE partial AND state IN ('receiving', 'received');
