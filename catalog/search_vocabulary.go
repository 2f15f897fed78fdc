package catalog

import (
	"context"
	"slices"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const (
	maxCompletions = 8 // words that a beginning is completed to, the most used first
	maxSimilar     = 4 // names that a word may be meant for
	minSimilar     = 4 // letters of such a word
)

// readVocabulary asks what an owner's documents make of a query's words.
func readVocabulary(ctx context.Context, tx pgx.Tx, owner uuid.UUID, q query) (vocabulary, error) {
	v := vocabulary{like: map[string][]string{}}
	rows, err := tx.Query(ctx, `SELECT DISTINCT unnest(dictionaries) FROM search_shelves WHERE owner_id = $1`, owner)
	if err != nil {
		return v, err
	}
	dictionaries, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(dictionaries) == 0 {
		return v, err
	}
	var all, single, begun []string
	for _, terms := range q.alternatives {
		for _, t := range terms {
			all = append(all, t.words...)
			last := t.words[len(t.words)-1]
			if t.completes() {
				begun = append(begun, last)
			}
			if len(t.words) == 1 && !t.not && !t.prefix {
				single = append(single, last)
			}
		}
	}
	if err := v.complete(ctx, tx, owner, begun); err != nil {
		return v, err
	}
	if err := v.correct(ctx, tx, owner, single); err != nil {
		return v, err
	}
	for _, others := range v.like {
		all = append(all, others...)
	}
	slices.Sort(all)
	v.lexemes, err = lexemesOf(ctx, tx, slices.Compact(all), dictionaries)
	for _, d := range dictionaries { // one that knows none of the words counts, too
		if v.lexemes != nil && v.lexemes[d] == nil {
			v.lexemes[d] = map[string]string{}
		}
	}
	return v, err
}

// complete finds words that begin with others.
func (v vocabulary) complete(ctx context.Context, tx pgx.Tx, owner uuid.UUID, begun []string) error {
	if len(begun) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, `
		SELECT b, w.word FROM unnest($2::text[]) b CROSS JOIN LATERAL (
			SELECT word FROM search_words WHERE owner_id = $1 AND word >= b AND word < b || chr(1114111)
			ORDER BY documents DESC, word LIMIT $3) w`, owner, begun, maxCompletions)
	return v.collect(rows, err, func(_, _ string) bool { return true })
}

// correct finds names that words may be meant for which no document has.
func (v vocabulary) correct(ctx context.Context, tx pgx.Tx, owner uuid.UUID, list []string) error {
	list = slices.DeleteFunc(list, func(word string) bool {
		return utf8.RuneCountInString(word) < minSimilar || len(v.like[word]) > 0
	})
	if len(list) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, `
		SELECT m, w.word FROM unnest($2::text[]) m CROSS JOIN LATERAL (
			SELECT word FROM search_words WHERE owner_id = $1 AND names > 0 AND word % m
			ORDER BY similarity(word, m) DESC, word LIMIT 50) w
		WHERE NOT EXISTS (SELECT FROM search_words WHERE owner_id = $1 AND word = m)`, owner, list)
	return v.collect(rows, err, func(meant, name string) bool {
		return len(v.like[meant]) < maxSimilar && distance(meant, name) <= slips(meant)
	})
}

// collect reads pairs of a word and one that may stand for it.
func (v vocabulary) collect(rows pgx.Rows, err error, take func(word, other string) bool) error {
	if err != nil {
		return err
	}
	var word, other string
	_, err = pgx.ForEachRow(rows, []any{&word, &other}, func() error {
		if take(word, other) {
			v.like[word] = append(v.like[word], other)
		}
		return nil
	})
	return err
}

// slips is how many slips of the pen a word may have.
func slips(word string) int {
	if utf8.RuneCountInString(word) < 8 {
		return 1
	}
	return 2
}

// distance counts the letters to insert, leave out, change or swap with their neighbour
// to make one word the other: https://en.wikipedia.org/wiki/Damerau–Levenshtein_distance
// (optimal string alignment).
func distance(one, other string) int {
	a, b := []rune(one), []rune(other)
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		for j := range rows[i] {
			if i == 0 || j == 0 {
				rows[i][j] = i + j
				continue
			}
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}
