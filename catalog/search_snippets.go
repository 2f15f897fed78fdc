package catalog

import (
	"context"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"reprise/recording"
)

const (
	maxSnippets     = 3
	maxSnippetRunes = 200
	leadRunes       = 60 // of a snippet, before what was found
)

// describe returns what is shown of recordings that were found, in their order: of each
// the passages with the most of what was found, of equals the weightier, and one of the
// transcript if there is any, which has a time to jump to. A place in a tsvector says
// which passage it is in, so that only those are read that are shown.
func describe(ctx context.Context, tx pgx.Tx, owner uuid.UUID, ranked []ranking, sought []string) ([]recording.Found, error) {
	ids := make([]uuid.UUID, len(ranked))
	for i, r := range ranked {
		ids[i] = r.id
	}
	rows, err := tx.Query(ctx, `
		SELECT d.recording_id, r.title, d.at, coalesce(m.start, 0), m.positions, coalesce(d.passages -> m.passage - 1, '{}')
		FROM search_documents d JOIN recordings r ON r.id = d.recording_id LEFT JOIN LATERAL (
			SELECT * FROM (
				SELECT passage, d.starts[passage] AS start, array_agg(p ORDER BY p) AS positions, count(DISTINCT lexeme) AS found, max(weight) = 'D' AS spoken,
					row_number() OVER (PARTITION BY max(weight) = 'D' ORDER BY count(DISTINCT lexeme) DESC, passage) AS place FROM (
					SELECT lexeme, p, weight, width_bucket(p::integer, d.starts) AS passage
					FROM unnest(d.words) w, unnest(w.positions, w.weights) AS at(p, weight) WHERE lexeme = ANY($3) AND p < $4) places
				GROUP BY passage) passages
			ORDER BY spoken AND place = 1 DESC, found DESC, passage LIMIT $5
		) m ON true WHERE d.owner_id = $1 AND d.recording_id = ANY($2) AND r.state <> 'deleted'
		ORDER BY d.recording_id, m.found DESC, m.passage`, owner, ids, sought, maxPosition, maxSnippets)
	if err != nil {
		return nil, err
	}
	found := map[uuid.UUID]recording.Found{}
	var id uuid.UUID
	var f recording.Found
	var start int
	var positions []int16
	var p passage
	_, err = pgx.ForEachRow(rows, []any{&id, &f.Title, &f.RecordedAt, &start, &positions, &p}, func() error {
		known, ok := found[id]
		if !ok {
			known = recording.Found{RecordingID: id, Title: f.Title, RecordedAt: f.RecordedAt.UTC(), Snippets: []recording.Snippet{}}
		}
		if marks := p.marks(start, positions); len(marks) > 0 {
			known.Snippets = append(known.Snippets, p.snippet(marks))
		}
		found[id] = known
		p = passage{}
		return nil
	})
	list := make([]recording.Found, 0, len(ranked))
	for _, r := range ranked {
		if f, ok := found[r.id]; ok { // else it was deleted by a process of a version that has no search
			f.Rank = float64(r.rank)
			list = append(list, f)
		}
	}
	return list, err
}

// mark is a place in a passage that was found.
type mark struct {
	token
	atMs *int64
}

// marks finds the words of a passage at these positions, ascending, in a tsvector in
// which its first word is at start.
func (p passage) marks(start int, positions []int16) []mark {
	list := tokens(p.Text)
	var marks []mark
	for _, position := range positions {
		i := int(position) - start
		if i < 0 || i >= len(list) || len(marks) > 0 && marks[len(marks)-1].from == list[i].from { // two lexemes of one word
			continue
		}
		m := mark{list[i], p.StartMs}
		if i < len(p.WordsMs) {
			m.atMs = &p.WordsMs[i]
		}
		marks = append(marks, m)
	}
	return marks
}

// snippet cuts a passage to what is around the first place that was found, at a space.
func (p passage) snippet(marks []mark) recording.Snippet {
	runes := []rune(p.Text)
	from, to := 0, len(runes)
	if to > maxSnippetRunes {
		from = max(0, min(marks[0].from-leadRunes, to-maxSnippetRunes))
		to = max(from+maxSnippetRunes, marks[0].to)
		if before, _, ok := strings.Cut(string(runes[from:marks[0].from]), " "); from > 0 && ok {
			from += len([]rune(before)) + 1
		}
	}
	s := recording.Snippet{In: p.In, Text: string(runes[from:to]), AtMs: marks[0].atMs, Highlights: [][2]int{}}
	for _, m := range marks {
		if m.to <= to {
			s.Highlights = append(s.Highlights, [2]int{m.from - from, m.to - from})
		}
	}
	return s
}
