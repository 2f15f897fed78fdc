package catalog

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strconv"
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

// describe returns what is shown of recordings that were found, in their order.
func describe(ctx context.Context, tx pgx.Tx, owner uuid.UUID, ranked []ranking, sought []string) ([]recording.Found, error) {
	ids := make([]uuid.UUID, len(ranked))
	at := make(map[uuid.UUID]int, len(ranked))
	for i, r := range ranked {
		ids[i], at[r.id] = r.id, i
	}
	// The tsvectors come as text, since Postgres takes ten times as long to look into them.
	rows, err := tx.Query(ctx, `
		SELECT d.recording_id, r.title, d.at, d.words::text, d.starts FROM search_documents d JOIN recordings r ON r.id = d.recording_id
		WHERE d.owner_id = $1 AND d.recording_id = ANY($2) AND r.state <> 'deleted'`, owner, ids)
	if err != nil {
		return nil, err
	}
	list := make([]recording.Found, len(ranked))
	var shown []place
	var f recording.Found
	var vector string
	var starts []int
	if _, err := pgx.ForEachRow(rows, []any{&f.RecordingID, &f.Title, &f.RecordedAt, &vector, &starts}, func() error {
		i := at[f.RecordingID]
		list[i] = recording.Found{
			RecordingID: f.RecordingID, Title: f.Title, RecordedAt: f.RecordedAt.UTC(), Rank: float64(ranked[i].rank), Snippets: []recording.Snippet{},
		}
		for _, p := range places(vector, starts, sought) {
			p.document = f.RecordingID
			shown = append(shown, p)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	if err := addSnippets(ctx, tx, shown, func(id uuid.UUID, s recording.Snippet) { list[at[id]].Snippets = append(list[at[id]].Snippets, s) }); err != nil {
		return nil, err
	}
	// What is missing was deleted by a process of a version that has no search.
	return slices.DeleteFunc(list, func(f recording.Found) bool { return f.RecordingID == uuid.Nil }), nil
}

// place is a passage with something that was found.
type place struct {
	document  uuid.UUID
	passage   int // its number
	start     int // the position of its first word
	lexemes   int // how many different ones were found
	positions []int
	spoken    bool // in the transcript
}

// places finds the passages of a document with the most of what is sought, of equals the
// weightier, which comes first, and one of the transcript if there is any: it has a time
// to jump to.
func places(vector string, starts []int, sought []string) []place {
	byPassage := map[int]*place{}
	for _, lexeme := range sought {
		last := -1
		for position, spoken := range positionsOf(vector, lexeme) {
			i, exact := slices.BinarySearch(starts, position)
			if !exact {
				i--
			}
			if i < 0 || position >= maxPosition { // all words of a long transcript's end are there
				continue
			}
			p := byPassage[i]
			if p == nil {
				p = &place{passage: i, start: starts[i], spoken: spoken}
				byPassage[i] = p
			}
			if i != last {
				p.lexemes++
			}
			last = i
			p.positions = append(p.positions, position)
		}
	}
	list := []place{}
	for _, p := range byPassage {
		slices.Sort(p.positions)
		p.positions = slices.Compact(p.positions)
		list = append(list, *p)
	}
	slices.SortFunc(list, func(a, b place) int { return cmp.Or(b.lexemes-a.lexemes, a.passage-b.passage) })
	if i := slices.IndexFunc(list, func(p place) bool { return p.spoken }); i >= maxSnippets {
		list[maxSnippets-1] = list[i]
	}
	return list[:min(len(list), maxSnippets)]
}

// positionsOf reads where a lexeme is in a tsvector's text, such as 'walk':3A,17
// 'school':5, and whether in the transcript, whose weight is the one that is not written.
// Lexemes are of letters and digits, so what looks like one is one.
func positionsOf(vector, lexeme string) iter.Seq2[int, bool] {
	return func(yield func(position int, spoken bool) bool) {
		_, rest, _ := strings.Cut(vector, quoteLexeme(lexeme)+":")
		rest, _, _ = strings.Cut(rest, " ")
		for text := range strings.SplitSeq(rest, ",") {
			number := strings.TrimRight(text, "ABC")
			if position, err := strconv.Atoi(number); err == nil && !yield(position, number == text) {
				return
			}
		}
	}
}

// addSnippets reads passages and cuts snippets out of them, in their order.
func addSnippets(ctx context.Context, tx pgx.Tx, shown []place, add func(id uuid.UUID, s recording.Snippet)) error {
	ids, numbers := make([]uuid.UUID, len(shown)), make([]int, len(shown))
	for i, p := range shown {
		ids[i], numbers[i] = p.document, p.passage
	}
	rows, err := tx.Query(ctx, `
		SELECT d.passages -> n.passage FROM unnest($1::uuid[], $2::integer[]) WITH ORDINALITY AS n(id, passage, i)
		JOIN search_documents d ON d.recording_id = n.id ORDER BY n.i`, ids, numbers)
	if err != nil {
		return err
	}
	passages, err := pgx.CollectRows(rows, pgx.RowTo[passage])
	if err != nil {
		return err
	}
	for i, p := range passages {
		if marks := p.marks(shown[i].start, shown[i].positions); len(marks) > 0 {
			add(shown[i].document, p.snippet(marks))
		}
	}
	return nil
}

// mark is a place in a passage that was found.
type mark struct {
	token
	atMs *int64
}

// marks finds the words of a passage at these positions, in a tsvector in which its
// first word is at start.
func (p passage) marks(start int, positions []int) []mark {
	list := tokens(p.Text)
	var marks []mark
	for _, position := range positions {
		i := position - start
		if i < 0 || i >= len(list) {
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
