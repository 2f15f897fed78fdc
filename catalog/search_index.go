package catalog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"reprise/recording"
)

// shelfSize is how many documents a shelf takes. What is read for a common word is a
// shelf at least, and for a rare one each of them is asked.
const shelfSize = 2048

// shelvesOf returns the numbers of the shelves for documents of the year that a time is
// in.
func shelvesOf(at time.Time) (first, last int) {
	first = at.UTC().Year() * 1000
	return first, first + 999
}

// source is what a document is made of, besides transcript and analysis.
type source struct {
	ownerID         uuid.UUID
	deleted         bool
	title, language string
	storyID         *uuid.UUID
	at              time.Time
}

// indexRecording makes what can be found of a recording anew from its rows. It is
// called in every transaction that changes its title, story, transcript, corrections or
// analysis, after that and before the event. It locks the recording first and reads then:
// of two transactions at once the second sees what the first has written.
func indexRecording(ctx context.Context, tx pgx.Tx, id uuid.UUID) error {
	var s source
	err := tx.QueryRow(ctx, `
		SELECT owner_id, state = 'deleted', title, language, story_id, coalesce(recorded_at, created_at)
		FROM recordings WHERE id = $1 FOR UPDATE`, id).Scan(&s.ownerID, &s.deleted, &s.title, &s.language, &s.storyID, &s.at)
	if err != nil {
		return fmt.Errorf("index recording: %w", err)
	}
	if s.deleted {
		return unindexRecordings(ctx, tx, s.ownerID, []uuid.UUID{id})
	}
	t, err := optional(readTranscript(ctx, tx, s.ownerID, id))
	if err != nil {
		return err
	}
	a, err := optional(readAnalysis(ctx, tx, s.ownerID, id))
	if err != nil {
		return err
	}
	passages := passagesOf(s.title, t, a)
	if len(passages) == 0 {
		return unindexRecordings(ctx, tx, s.ownerID, []uuid.UUID{id})
	}
	if t != nil && t.Language != "" {
		s.language = t.Language
	}
	return putDocument(ctx, tx, id, s, tagsOf(s.storyID, a), passages)
}

// optional makes nil of what was not found.
func optional[T any](v T, err error) (*T, error) {
	if errors.Is(err, recording.ErrNotFound) {
		return nil, nil
	}
	return &v, err
}

// putDocument writes a document, and counts its words.
func putDocument(ctx context.Context, tx pgx.Tx, id uuid.UUID, s source, tags []string, passages []passage) error {
	var shelf int
	var before []passage
	err := tx.QueryRow(ctx, `SELECT shelf, passages FROM search_documents WHERE recording_id = $1`, id).Scan(&shelf, &before)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	dictionary := dictionaryOf(s.language)
	if first, last := shelvesOf(s.at); shelf < first || shelf > last {
		shelf, err = takeShelf(ctx, tx, s, dictionary)
	} else {
		_, err = tx.Exec(ctx, `UPDATE search_shelves SET dictionaries = dictionaries || $3::text
			WHERE owner_id = $1 AND shelf = $2 AND $3 <> ALL(dictionaries)`, s.ownerID, shelf, dictionary)
	}
	if err != nil {
		return err
	}
	change := useOf(passages)
	lexemes, err := lexemesOf(ctx, tx, slices.Collect(maps.Keys(change)), []string{dictionary})
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `
		INSERT INTO search_documents (recording_id, owner_id, shelf, at, dictionary, tags, words, passages, starts)
		VALUES ($1, $2, $3, $4, $5, $6, $7::text::tsvector, $8, $9)
		ON CONFLICT (recording_id) DO UPDATE SET shelf = excluded.shelf, at = excluded.at, dictionary = excluded.dictionary,
			tags = excluded.tags, words = excluded.words, passages = excluded.passages, starts = excluded.starts`,
		id, s.ownerID, shelf, s.at, dictionary, tags, vector(passages, lexemes[dictionary]), passages, startsOf(passages)); err != nil {
		return err
	}
	subtract(change, before)
	return countWords(ctx, tx, s.ownerID, change)
}

// takeShelf finds a place for a new document: the last shelf of its year, or the next
// one if that is full.
func takeShelf(ctx context.Context, tx pgx.Tx, s source, dictionary string) (shelf int, err error) {
	first, last := shelvesOf(s.at)
	err = tx.QueryRow(ctx, `
		INSERT INTO search_shelves AS was (owner_id, shelf, documents, dictionaries)
		SELECT $1, coalesce((
			SELECT CASE WHEN documents < $4 THEN shelf ELSE least(shelf + 1, $3) END
			FROM search_shelves WHERE owner_id = $1 AND shelf BETWEEN $2 AND $3 ORDER BY shelf DESC LIMIT 1), $2), 1, ARRAY[$5::text]
		ON CONFLICT (owner_id, shelf) DO UPDATE SET documents = was.documents + 1, dictionaries =
			CASE WHEN $5 = ANY(was.dictionaries) THEN was.dictionaries ELSE was.dictionaries || $5::text END
		RETURNING shelf`, s.ownerID, first, last, shelfSize, dictionary).Scan(&shelf)
	return shelf, err
}

// unindexRecordings lets nothing of these recordings of one owner be found any more.
func unindexRecordings(ctx context.Context, tx pgx.Tx, owner uuid.UUID, ids []uuid.UUID) error {
	rows, err := tx.Query(ctx, `DELETE FROM search_documents WHERE recording_id = ANY($1) AND owner_id = $2 RETURNING passages`, ids, owner)
	if err != nil {
		return err
	}
	documents, err := pgx.CollectRows(rows, pgx.RowTo[[]passage])
	if err != nil {
		return err
	}
	change := map[string]wordUse{}
	for _, passages := range documents {
		subtract(change, passages)
	}
	return countWords(ctx, tx, owner, change)
}

// subtract takes the words of a document away from a change.
func subtract(change map[string]wordUse, passages []passage) {
	for word, use := range useOf(passages) {
		c := change[word]
		change[word] = wordUse{c.documents - use.documents, c.names - use.names}
	}
}

// countWords changes in how many of an owner's documents each word is. Rows are locked
// in the order of the words, in one statement, so that two transactions can't wait for
// each other.
func countWords(ctx context.Context, tx pgx.Tx, owner uuid.UUID, change map[string]wordUse) error {
	maps.DeleteFunc(change, func(_ string, use wordUse) bool { return use == wordUse{} })
	if len(change) == 0 {
		return nil
	}
	list := slices.Sorted(maps.Keys(change))
	documents, names := make([]int, len(list)), make([]int, len(list))
	for i, word := range list {
		documents[i], names[i] = change[word].documents, change[word].names
	}
	if _, err := tx.Exec(ctx, `
		INSERT INTO search_words AS was (owner_id, word, documents, names)
		SELECT $1, n.word, n.documents, n.names FROM unnest($2::text[], $3::int[], $4::int[]) AS n(word, documents, names) ORDER BY n.word COLLATE "C"
		ON CONFLICT (owner_id, word) DO UPDATE SET documents = was.documents + excluded.documents, names = was.names + excluded.names`,
		owner, list, documents, names); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `DELETE FROM search_words WHERE owner_id = $1 AND word = ANY($2) AND documents <= 0`, owner, list)
	return err
}

// lexemesOf asks what each dictionary makes of words: by dictionary, then by word. Words
// that say nothing in its language (stop words) are missing.
func lexemesOf(ctx context.Context, q querier, list, dictionaries []string) (map[string]map[string]string, error) {
	rows, err := q.Query(ctx, `
		SELECT d, w, l FROM unnest($1::text[]) d, unnest($2::text[]) w, unnest(ts_lexize(d::regdictionary, w)) l`, dictionaries, list)
	if err != nil {
		return nil, err
	}
	lexemes := map[string]map[string]string{}
	var dictionary, word, lexeme string
	_, err = pgx.ForEachRow(rows, []any{&dictionary, &word, &lexeme}, func() error {
		if lexemes[dictionary] == nil {
			lexemes[dictionary] = map[string]string{}
		}
		lexemes[dictionary][word] = lexeme
		return nil
	})
	return lexemes, err
}

// indexBacklog indexes what was there before there was search, a bounded number of
// recordings in each transaction: it can be interrupted.
func indexBacklog(ctx context.Context, db interface {
	Begin(context.Context) (pgx.Tx, error)
}) error {
	for more := true; more; {
		err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
			// In the order of ids: each owner's older recordings first.
			rows, err := tx.Query(ctx, `DELETE FROM search_backlog WHERE recording_id IN (
				SELECT recording_id FROM search_backlog ORDER BY recording_id LIMIT 200) RETURNING recording_id`)
			if err != nil {
				return err
			}
			ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
			more = len(ids) > 0
			for _, id := range ids {
				err = errors.Join(err, indexRecording(ctx, tx, id))
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("index the titles of recordings: %w", err)
		}
	}
	return nil
}
