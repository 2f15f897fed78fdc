-- +goose Up

-- An upload in object storage: see recording.Upload.
ALTER TABLE uploads
    ADD COLUMN multipart_id text,
    ADD COLUMN part_number  integer NOT NULL DEFAULT 0,
    ADD COLUMN segmented    boolean NOT NULL DEFAULT false;

-- The epoch of the last writer, 0 once it has ended: while it is the upload's epoch,
-- somebody may be writing.
ALTER TABLE uploads ADD COLUMN writer_epoch bigint NOT NULL DEFAULT 0;

ALTER TABLE uploads DROP CONSTRAINT uploads_state_check;
ALTER TABLE uploads ADD CONSTRAINT uploads_state_check
    CHECK (state IN ('receiving', 'received', 'stored', 'joined', 'refused', 'terminated', 'expired', 'failed'));

-- Concatenation: partial uploads have no recording; the final one names them.
ALTER TABLE uploads
    ALTER COLUMN recording_id DROP NOT NULL,
    ADD COLUMN partial        boolean NOT NULL DEFAULT false,
    ADD COLUMN final_id       uuid REFERENCES uploads,
    -- Of a final upload: the partial ones, in the order of their bytes.
    ADD COLUMN partial_ids    uuid[],
    ADD CHECK ((recording_id IS NULL) = partial),
    ADD CHECK (final_id IS NULL OR partial),
    ADD CHECK (partial_ids IS NULL OR NOT partial),
    ADD CHECK (state <> 'joined' OR final_id IS NOT NULL);
CREATE INDEX uploads_partials ON uploads (final_id) WHERE final_id IS NOT NULL;
-- The janitor asks whose every object is, by its key.
CREATE INDEX uploads_partial_object ON uploads (object_key) WHERE partial AND state IN ('receiving', 'received');
-- The janitor asks whether a multipart upload is somebody's.
CREATE INDEX uploads_multipart ON uploads (multipart_id) WHERE multipart_id IS NOT NULL;
-- Partial uploads that nobody joins expire, complete or not.
CREATE INDEX uploads_partial_expiry ON uploads (expires_at) WHERE partial AND state = 'received' AND final_id IS NULL;

-- The bytes of a small tail, until it is folded into a part. They are audio, which
-- does not compress, and are read whole.
ALTER TABLE upload_parts ADD COLUMN inline bytea CHECK (octet_length(inline) = size);
ALTER TABLE upload_parts ALTER COLUMN inline SET STORAGE EXTERNAL;
-- Rows live for seconds and are large: dead ones are cleared by their number, soon,
-- not by their share of the table.
ALTER TABLE upload_parts SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 20000);

-- +goose Down
DROP INDEX uploads_partials, uploads_partial_object, uploads_multipart, uploads_partial_expiry;
ALTER TABLE upload_parts RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold,
    toast.autovacuum_vacuum_scale_factor, toast.autovacuum_vacuum_threshold);
ALTER TABLE upload_parts DROP COLUMN inline;
ALTER TABLE uploads DROP COLUMN multipart_id, DROP COLUMN part_number, DROP COLUMN segmented, DROP COLUMN writer_epoch,
    DROP COLUMN partial, DROP COLUMN final_id, DROP COLUMN partial_ids;
