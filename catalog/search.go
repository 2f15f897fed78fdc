package catalog

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"reprise/recording"
)

const (
	// searchTimeout ends a statement of a search.
	searchTimeout = 2 * time.Second
	// maxRanked is how many recordings are compared with each other: the newest of
	// those that match. Reading their words is what a search for a common word costs.
	maxRanked = 300
	// maxChecked is how many recordings with all the words of a phrase are looked through
	// for it: the newest.
	maxChecked = 600
)

// Search finds recordings of one owner by their words, the best first. A query that
// makes no sense is CodeInvalidRequest.
func (c *Catalog) Search(ctx context.Context, owner uuid.UUID, s recording.Search) (recording.SearchResult, error) {
	q, err := parseQuery(s.Query)
	if err != nil {
		return recording.SearchResult{}, err
	}
	after, err := decodeRank(s.Cursor)
	if err != nil {
		return recording.SearchResult{}, err
	}
	result := recording.SearchResult{Complete: true}
	// All of one moment: what is ranked is what is shown.
	err = pgx.BeginTxFunc(ctx, c.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		// The only index with the words is to be used, whatever the statistics say.
		if _, err := tx.Exec(ctx, `SELECT set_config('statement_timeout', $1, true), set_config('enable_seqscan', 'off', true),
			set_config('jit', 'off', true), set_config('pg_trgm.similarity_threshold', '0.2', true)`, fmt.Sprint(searchTimeout.Milliseconds())); err != nil {
			return err
		}
		v, err := readVocabulary(ctx, tx, owner, q)
		if err != nil {
			return err
		}
		tags, err := tagsOfSearch(ctx, tx, owner, s)
		if err != nil {
			return err
		}
		ranked, complete, err := rank(ctx, tx, owner, tagged{s, tags}, tsqueries(q, v), after)
		if err != nil || len(ranked) == 0 {
			result.Complete = complete
			return err
		}
		result.Complete = complete
		if len(ranked) > s.Limit {
			ranked = ranked[:s.Limit]
			result.NextCursor = encodeRank(ranked[s.Limit-1])
		}
		result.Found, err = describe(ctx, tx, owner, ranked, q.sought(v))
		return err
	})
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "57014" && ctx.Err() == nil { // query_canceled: the timeout
		err = recording.Wrap(recording.CodeUnavailable, err, "The search took too long; try again, or look for fewer or rarer words.")
	}
	return result, classify(err)
}

// The tsqueries of a search: see tsquery.
type searchQueries struct{ loose, full, exact string }

func tsqueries(q query, v vocabulary) searchQueries {
	s := searchQueries{tsquery{loose: true}.of(q, v), tsquery{}.of(q, v), tsquery{exact: true}.of(q, v)}
	if s.exact == "" {
		s.exact = s.full
	}
	return s
}

// ranking is one recording that was found.
type ranking struct {
	rank float32
	id   uuid.UUID
}

// rank finds recordings and puts them in order: one more than the limit, if there are as
// many after the one given. Shelves are read from the newest on until there is enough to
// rank; the index knows owner, shelf, tags and words, so that no document is read to see
// whether it matches, but for phrases.
func rank(ctx context.Context, tx pgx.Tx, owner uuid.UUID, s tagged, t searchQueries, after *ranking) (list []ranking, complete bool, err error) {
	if t.full == "" {
		return nil, true, nil
	}
	args := pgx.NamedArgs{"owner": owner, "first": math.MinInt32, "last": math.MaxInt32, "from": s.From, "before": s.Before,
		"loose": t.loose, "full": t.full, "exact": t.exact, "limit": s.Limit + 1, "enough": maxRanked,
		"rank": float32(math.Inf(1)), "after": uuid.Max}
	filters, check, weigh := "", "", `2 * ts_rank(words, @full::text::tsquery)`
	if t.full != t.exact {
		weigh = `ts_rank(words, @full::text::tsquery) + ts_rank(words, @exact::text::tsquery)`
	}
	if t.full != t.loose {
		check, args["enough"] = `WHERE words @@ @full::text::tsquery`, maxChecked
	}
	for i, tags := range s.tags {
		name, is := fmt.Sprint("tags", i), "&&"
		if len(tags) == 1 {
			is = "@>"
		}
		filters += ` AND d.tags ` + is + ` @` + name
		args[name] = tags
	}
	if s.From != nil {
		args["first"], _ = shelvesOf(*s.From)
		filters += ` AND d.at >= @from`
	}
	if s.Before != nil {
		_, args["last"] = shelvesOf(*s.Before)
		filters += ` AND d.at < @before`
	}
	if after != nil {
		args["rank"], args["after"] = after.rank, after.id
	}
	enough := args["enough"].(int)
	var found int
	var ranks []float32
	var ids []uuid.UUID
	err = tx.QueryRow(ctx, `
		WITH matches AS MATERIALIZED (
			SELECT d.* FROM (
				SELECT shelf FROM search_shelves WHERE owner_id = @owner AND shelf BETWEEN @first AND @last ORDER BY shelf DESC
			) s CROSS JOIN LATERAL (
				SELECT d.recording_id, d.words FROM search_documents d
				WHERE d.owner_id = @owner AND d.shelf = s.shelf AND d.words @@ @loose::text::tsquery`+filters+`
				ORDER BY d.at DESC, d.recording_id DESC
			) d LIMIT @enough
		), ranked AS MATERIALIZED (
			SELECT recording_id, `+weigh+` AS rank FROM matches `+check+`
		), page AS (
			SELECT recording_id, rank FROM ranked WHERE (rank, recording_id) < (@rank::real, @after::uuid)
			ORDER BY rank DESC, recording_id DESC LIMIT @limit
		)
		SELECT (SELECT count(*) FROM matches), array_agg(rank ORDER BY rank DESC, recording_id DESC),
			array_agg(recording_id ORDER BY rank DESC, recording_id DESC) FROM page`, args).Scan(&found, &ranks, &ids)
	for i := range ids {
		list = append(list, ranking{ranks[i], ids[i]})
	}
	return list, found < enough, err
}

var errCursor = recording.Errorf(recording.CodeInvalidRequest, "The cursor is none that this server gave out.")

// rankCursor is the first byte of a cursor: another layout gets another one.
const rankCursor = 2

// encodeRank names the place after which the next page begins. Pages stay right while
// what was found stays as it is.
func encodeRank(r ranking) string {
	raw := binary.BigEndian.AppendUint32([]byte{rankCursor}, math.Float32bits(r.rank))
	return base64.RawURLEncoding.EncodeToString(append(raw, r.id[:]...))
}

// decodeRank is the inverse of encodeRank; nil is the first page.
func decodeRank(cursor string) (*ranking, error) {
	if cursor == "" {
		return nil, nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(raw) != 21 || raw[0] != rankCursor || bytes.ContainsAny([]byte(cursor), "\r\n") {
		return nil, errCursor
	}
	r := &ranking{math.Float32frombits(binary.BigEndian.Uint32(raw[1:])), uuid.UUID(raw[5:])}
	if r.rank != r.rank || r.rank < 0 {
		return nil, errCursor
	}
	return r, nil
}
