package catalog

import (
	"context"
	"encoding/json"

	"github.com/google/uuid"

	"reprise/recording"
)

// writerChannel is the NOTIFY channel that tells writers to stop. AcquireUpload
// writes to it too.
const writerChannel = "reprise_writers"

// AskWriters asks every process to let its writers of the upload with an epoch
// below epoch commit what they have, and end. Nobody answers: that a writer has
// ended is seen in the ledger. Who doesn't listen misses it.
func (c *Catalog) AskWriters(ctx context.Context, id uuid.UUID, epoch int64) error {
	payload, err := json.Marshal(recording.StopWriters{UploadID: id, Epoch: epoch})
	if err != nil {
		return err
	}
	_, err = c.pool.Exec(ctx, `SELECT pg_notify($1, $2)`, writerChannel, string(payload))
	return classify(err)
}

// ListenWriters calls handle for everything that AskWriters and AcquireUpload send,
// until ctx ends or the connection breaks; it always returns an error.
func (c *Catalog) ListenWriters(ctx context.Context, handle func(recording.StopWriters)) error {
	return c.listen(ctx, writerChannel, func() {}, func(payload string) {
		var m recording.StopWriters
		if json.Unmarshal([]byte(payload), &m) == nil { // a newer version's form is no reason to stop anybody
			handle(m)
		}
	})
}

// ReleaseUpload says that the writer for which u was acquired has ended without a
// commit that closes it, so that nobody waits for it. Unless it has used its storage,
// the next writer finds everything as this one has. If somebody else has taken the
// upload over, this changes nothing.
func (c *Catalog) ReleaseUpload(ctx context.Context, u recording.Upload, used bool) error {
	_, err := c.pool.Exec(ctx, `
		UPDATE uploads SET writer_epoch = 0,
			writer_open = CASE WHEN $3 THEN writer_open ELSE $4 END,
			part_number = CASE WHEN $3 THEN part_number ELSE $5 END
		WHERE id = $1 AND epoch = $2 AND state = 'receiving'`, u.ID, u.Epoch, used, u.WriterOpen, u.PartNumber)
	return classify(err)
}
