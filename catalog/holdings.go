package catalog

import (
	"context"
	"strings"

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
// What is left of a recording whose bytes were found to be lost is kept for whoever
// brings back the rest.
const (
	// A partial upload p is on its way until its bytes are verified as those of the
	// final upload f.
	entries = `
		FROM unnest($1::text[], $2::uuid[], $3::text[]) WITH ORDINALITY AS t (key, id, multipart_id, n)
		LEFT JOIN recordings r ON r.id = t.id
		LEFT JOIN uploads u ON u.recording_id = t.id
		LEFT JOIN uploads p ON p.id = t.id AND p.partial
		LEFT JOIN uploads f ON f.id = p.final_id
		LEFT JOIN recordings fr ON fr.id = f.recording_id
		ORDER BY t.n`
	onItsWay        = `r.state IN ('uploading', 'received', 'processing')`
	partialOnItsWay = `(p.state IN ('receiving', 'received') AND f.id IS NULL OR fr.state IN ('received', 'processing')
		OR f.state = 'failed' AND fr.purged_at IS NULL)`

	objectHoldings = `
		SELECT coalesce(r.id, p.id) IS NOT NULL, coalesce(
			` + onItsWay + ` OR r.object_key = t.key AND r.purged_at IS NULL OR ` + partialOnItsWay + `, false)
			OR EXISTS (SELECT FROM artifacts a WHERE a.object_key = t.key)` + entries

	// An upload whose multipart upload the ledger knows makes no other.
	multipartHoldings = `
		SELECT coalesce(r.id, p.id) IS NOT NULL, coalesce(
			` + onItsWay + ` AND coalesce(u.multipart_id, t.multipart_id) = t.multipart_id
			OR u.state = 'failed' AND r.stage <> '' AND r.purged_at IS NULL AND u.multipart_id = t.multipart_id
			OR ` + partialOnItsWay + ` AND coalesce(p.multipart_id, t.multipart_id) = t.multipart_id, false)` + entries

	// The parts of a stored upload stay until its object is verified.
	partsHoldings = `
		SELECT p.id IS NOT NULL, coalesce(CASE WHEN p.partial THEN ` + partialOnItsWay + ` ELSE
			p.state IN ('receiving', 'received')
			OR p.state = 'stored' AND r.state IN ('received', 'processing')
			OR p.state = 'failed' AND r.stage <> '' AND r.purged_at IS NULL END, false)
		FROM unnest($1::text[], $2::uuid[], $3::text[]) WITH ORDINALITY AS t (key, id, multipart_id, n)
		LEFT JOIN uploads p ON p.id = t.id
		LEFT JOIN recordings r ON r.id = p.recording_id
		LEFT JOIN uploads f ON f.id = p.final_id
		LEFT JOIN recordings fr ON fr.id = f.recording_id
		ORDER BY t.n`
)

// Holdings says of each entry of a storage what it is to the ledger, in their
// order. What is told as no longer kept stays so. It is to be asked after the
// storage has been: then what was put there and recorded in between is kept.
// Temporary files are nothing that a ledger can know of: they are orphans.
func (c *Catalog) Holdings(ctx context.Context, entries []recording.StoredEntry) ([]recording.Holding, error) {
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
		rows, err := c.pool.Query(ctx, sql, keys, ids, multiparts)
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
