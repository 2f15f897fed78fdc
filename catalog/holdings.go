package catalog

import (
	"context"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"reprise/recording"
)

// The questions of Holdings, by the kind of entry: for each entry, in order,
// whether the ledger has a row that it was made for, and whether it is kept.
//
// Of a recording that is on its way everything is kept. A writer or a stage puts
// an object there before it tells the ledger, and however long it stood still in
// between, it is refused once the recording is where no such thing can come from.
// What a purge is to delete is kept until it has. And what a row names that has
// changed since the storage was asked may have been deleted in between by whoever
// changed it.
const (
	// What entries t are of: a recording r with its upload u, or a partial upload p,
	// perhaps of the final upload f with the recording fr.
	ofRows = `
		FROM unnest($1::text[], $2::uuid[], $3::text[]) WITH ORDINALITY AS t (key, id, multipart_id, n)
		LEFT JOIN recordings r ON r.id = t.id
		LEFT JOIN uploads u ON u.recording_id = t.id
		LEFT JOIN uploads p ON p.id = t.id AND p.partial
		LEFT JOIN uploads f ON f.id = p.final_id
		LEFT JOIN recordings fr ON fr.id = f.recording_id
		ORDER BY t.n`
	ofUpload = `
		FROM unnest($1::text[], $2::uuid[], $3::text[]) WITH ORDINALITY AS t (key, id, multipart_id, n)
		LEFT JOIN uploads u ON u.id = t.id AND NOT u.partial
		LEFT JOIN recordings r ON r.id = u.recording_id
		LEFT JOIN uploads p ON p.id = t.id AND p.partial
		LEFT JOIN uploads f ON f.id = p.final_id
		LEFT JOIN recordings fr ON fr.id = f.recording_id
		ORDER BY t.n`
	hasRow  = `coalesce(r.id, u.id, p.id) IS NOT NULL`
	changed = `greatest(r.updated_at, r.purged_at, u.updated_at, p.updated_at, f.updated_at, fr.updated_at, fr.purged_at) > $4`

	// The parts of a stored upload, and of the partial ones that it was joined of, stay
	// until its object is verified.
	hasParts        = `(r.purged_at IS NULL AND (u.state <> 'stored' OR r.state IN ('received', 'processing')))`
	partialHasParts = `(f.id IS NULL AND (p.state IN ('receiving', 'received') OR EXISTS (SELECT FROM upload_parts x WHERE x.upload_id = p.id))
		OR fr.purged_at IS NULL AND (f.state <> 'stored' OR fr.state IN ('received', 'processing')))`

	objectHoldings = `
		SELECT ` + hasRow + `, coalesce(r.state IN ('uploading', 'received', 'processing')
			OR r.object_key = t.key AND r.purged_at IS NULL OR ` + partialHasParts + ` OR ` + changed + `, false)
			OR EXISTS (SELECT FROM artifacts a WHERE a.object_key = t.key)` + ofRows
	// An upload whose multipart upload the ledger knows makes no other.
	multipartHoldings = `
		SELECT ` + hasRow + `, coalesce(` + hasParts + ` AND coalesce(u.multipart_id, t.multipart_id) = t.multipart_id
			OR ` + partialHasParts + ` AND coalesce(p.multipart_id, t.multipart_id) = t.multipart_id OR ` + changed + `, false)` + ofRows
	partsHoldings = `
		SELECT ` + hasRow + `, coalesce(` + hasParts + ` OR ` + partialHasParts + ` OR ` + changed + `, false)` + ofUpload
)

// Holdings says of each entry of a storage what it is to the ledger, in their
// order. Since is when the storage began to tell of them. What is told as an orphan
// stays one. Temporary files are nothing that a ledger can know of: they are orphans.
func (c *Catalog) Holdings(ctx context.Context, entries []recording.StoredEntry, since time.Time) ([]recording.Holding, error) {
	holdings := make([]recording.Holding, len(entries))
	for i := range holdings {
		holdings[i] = recording.HoldingOrphan
	}
	for kind, sql := range map[recording.StoredKind]string{
		recording.StoredObject: objectHoldings, recording.StoredMultipart: multipartHoldings, recording.StoredParts: partsHoldings,
	} {
		var at []int
		var keys, multiparts []string
		var ids []uuid.UUID
		for i, e := range entries {
			if e.Kind == kind {
				at = append(at, i)
				keys, ids, multiparts = append(keys, e.Key), append(ids, idOf(e)), append(multiparts, e.MultipartID)
			}
		}
		if len(at) == 0 {
			continue
		}
		rows, err := c.pool.Query(ctx, sql, keys, ids, multiparts, since)
		if err != nil {
			return nil, classify(err)
		}
		var known, kept bool
		next := 0
		if _, err := pgx.ForEachRow(rows, []any{&known, &kept}, func() error {
			switch {
			case kept:
				holdings[at[next]] = recording.HoldingKept
			case !known:
				holdings[at[next]] = recording.HoldingUnknown
			}
			next++
			return nil
		}); err != nil {
			return nil, classify(err)
		}
	}
	return holdings, nil
}

// idOf returns the id of the recording or the upload that an entry was made for:
// of parts their upload's, else the second name in its key, as in
// "recordings/<id>/original" and "uploads/<id>/partial". Something else's is
// uuid.Nil, which no row has.
func idOf(e recording.StoredEntry) uuid.UUID {
	if e.Kind == recording.StoredParts {
		return e.UploadID
	}
	names := strings.Split(e.Key, "/")
	if len(names) < 2 {
		return uuid.Nil
	}
	id, err := uuid.Parse(names[1])
	if err != nil {
		return uuid.Nil
	}
	return id
}
