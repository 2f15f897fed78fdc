-- +goose Up

-- Hashes of the tickets that open the upload, the latest first: see auth.Ticket. They
-- lie in the row that they open, so they live and end with it.
ALTER TABLE uploads ADD COLUMN ticket_hashes bytea[] NOT NULL DEFAULT '{}';

-- +goose Down
ALTER TABLE uploads DROP COLUMN ticket_hashes;
