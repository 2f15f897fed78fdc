package catalog_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"reprise/catalog"
	"reprise/migrations"
	"reprise/recording"
)

// told is what a recording is about, in tests.
type told struct {
	title, language string
	said            string // segments, a line each; each word takes 100 ms
	topics          []string
	people          []string
	summary         string
	story           uuid.UUID
	at              time.Time
}

// tell makes a recording of somebody with a transcript and an analysis.
func (r *rig) tell(owner uuid.UUID, what told) uuid.UUID {
	r.t.Helper()
	id := r.create(owner).RecordingID
	_, err := r.pool.Exec(r.t.Context(), `UPDATE recordings SET title = $2, story_id = $3, recorded_at = $4 WHERE id = $1`,
		id, what.title, orNil(what.story), nullTime(what.at))
	must(r.t, err)
	r.transcribe(id, what.language, what.said)
	a := recording.Analysis{Summary: what.summary}
	for _, topic := range what.topics {
		a.Topics = append(a.Topics, recording.Topic{Name: topic, Weight: 1})
	}
	for _, name := range what.people {
		a.Entities = append(a.Entities, recording.Entity{Kind: recording.EntityPerson, Name: name})
	}
	_, err = r.pool.Exec(r.t.Context(), `INSERT INTO analyses VALUES ($1, $2, 'test', '', '', now())`, id, a)
	must(r.t, err)
	r.index(id)
	return id
}

func orNil(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}

func nullTime(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	return &at
}

// segments makes a transcript's of lines, in which each word takes 100 ms.
func segments(said string) []recording.Segment {
	list := []recording.Segment{}
	at := int64(0)
	for line := range strings.Lines(said) {
		s := recording.Segment{Text: strings.TrimSpace(line), StartMs: at}
		for _, word := range strings.Fields(line) {
			s.Words = append(s.Words, recording.Word{Text: word, StartMs: at, EndMs: at + 100})
			at += 100
		}
		s.EndMs = at
		list = append(list, s)
	}
	return list
}

func (r *rig) transcribe(id uuid.UUID, language, said string) {
	r.t.Helper()
	raw, err := json.Marshal(segments(said))
	must(r.t, err)
	_, err = r.pool.Exec(r.t.Context(), `
		INSERT INTO transcripts VALUES ($1, $2, 'test', 'none', $3, 1, now())
		ON CONFLICT (recording_id) DO UPDATE SET segments = excluded.segments, version = transcripts.version + 1`, id, language, raw)
	must(r.t, err)
}

func (r *rig) index(id uuid.UUID) {
	r.t.Helper()
	must(r.t, pgx.BeginFunc(r.t.Context(), r.pool, func(tx pgx.Tx) error { return catalog.IndexRecording(r.t.Context(), tx, id) }))
}

// find returns the ids that a search of somebody's finds.
func (r *rig) find(owner uuid.UUID, query string, filter ...recording.Search) []uuid.UUID {
	r.t.Helper()
	s := recording.Search{}
	if len(filter) > 0 {
		s = filter[0]
	}
	s.Query, s.Limit = query, 100
	result, err := r.Search(r.t.Context(), owner, s)
	must(r.t, err)
	ids := []uuid.UUID{}
	for _, f := range result.Found {
		ids = append(ids, f.RecordingID)
	}
	return ids
}

func TestSearchLanguages(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tales := map[string]told{
		"en": {language: "en-GB", said: "The children were walking to the schools\nacross the snowy mountains", people: []string{"Aunt Philippa"}},
		"es": {language: "es", said: "Los niños caminaban por las montañas nevadas\nhasta la estación de trenes"},
		"fr": {language: "fr", said: "Les enfants marchaient vers l'école\nen chantant des chansons joyeuses"},
		"de": {language: "de", said: "Die Kinder liefen durch die verschneiten Wälder\nund sangen fröhliche Lieder"},
		"it": {language: "it", said: "I bambini camminavano verso le montagne\ncantando vecchie canzoni"},
		"ru": {language: "ru", said: "Дети шли через заснеженные горы\nи пели весёлые песни"},
		"pl": {language: "pl", said: "Dzieci szły przez zaśnieżone góry\nśpiewając wesołe piosenki"},
		"ja": {language: "ja", said: "東京駅で友達に会いました"},
	}
	ids := map[string]uuid.UUID{}
	for name, tale := range tales {
		ids[name] = r.tell(r.alice, tale)
	}
	for query, want := range map[string][]string{
		"walk school":               {"en"}, // stems
		"mountain":                  {"en"},
		"montaña":                   {"es"},
		"estaciones tren":           {"es"},
		"enfant ecole":              {},
		"enfant école":              {"fr"},
		"l'école":                   {"fr"},
		"wald":                      {"de"}, // its stemmer takes umlauts away
		"Wäldern":                   {"de"},
		"fröhliches Lied":           {"de"},
		"montagna bambino":          {"it"},
		"песня":                     {"ru"},
		"ГОРЫ":                      {"ru"},
		"piosenki":                  {"pl"},
		"piosenka":                  {}, // no stemmer: as it is written
		"piosen*":                   {"pl"},
		"東京":                        {"ja"},
		"京東":                        {},
		"the school":                {"en"}, // a stop word is not asked for
		`"walking to the school"`:   {"en"},
		`"school walking"`:          {},
		`"schools across"`:          {}, // over the end of a segment
		"walking -mountains":        {},
		"walking -sea":              {"en"},
		"walking or Wälder":         {"de", "en"},
		"snowy or piosenki or дети": {"en", "pl", "ru"},
		"philipa":                   {"en"}, // a slip in a name
		"Phillipa aunt":             {"en"},
		"shcool":                    {}, // not in a name
		"moun":                      {"en"},
		"moun walking":              {}, // only the last word is being typed
		"moun* walking":             {"en"},
		"nothing":                   {},
	} {
		got := []string{}
		for name, id := range ids {
			if slices.Contains(r.find(r.alice, query), id) {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
}

func TestSearchSnippets(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := r.tell(r.alice, told{
		title: "Grandmother's garden", language: "en", topics: []string{"Gardening"}, people: []string{"Großmutter Änne"},
		said: "It was a long winter\nand then we planted the old garden, with Änne's apple trees", summary: "How the garden was planted.",
	})
	result, err := r.Search(t.Context(), r.alice, recording.Search{Query: "gardens planted", Limit: 10})
	must(t, err)
	atMs := int64(900) // the word "planted"
	want := []recording.Snippet{
		{In: "summary", Text: "How the garden was planted.", Highlights: [][2]int{{8, 14}, {19, 26}}},
		{In: "transcript", Text: "and then we planted the old garden, with Änne's apple trees", Highlights: [][2]int{{12, 19}, {28, 34}}, AtMs: &atMs},
		{In: "title", Text: "Grandmother's garden", Highlights: [][2]int{{14, 20}}},
	}
	if len(result.Found) != 1 || result.Found[0].RecordingID != id || result.Found[0].Title != "Grandmother's garden" || !result.Complete {
		t.Fatalf("found %+v", result)
	}
	got := result.Found[0].Snippets
	if got[0].In != "summary" {
		got[0], got[1] = got[1], got[0]
	}
	atMs = *got[1].AtMs
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for query, want := range map[string]int64{"planted": 800, "änne": 1300, "apple": 1400} {
		result, err := r.Search(t.Context(), r.alice, recording.Search{Query: query, Limit: 10})
		must(t, err)
		i := slices.IndexFunc(result.Found[0].Snippets, func(s recording.Snippet) bool { return s.In == "transcript" })
		if i < 0 || *result.Found[0].Snippets[i].AtMs != want {
			t.Errorf("%s: %+v", query, result.Found[0].Snippets)
		}
	}
}

// TestSearchOrder: a title weighs more than a topic, that more than a summary, and that
// more than what was said. Pages are parts of one order.
func TestSearchOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var want []uuid.UUID
	for _, what := range []told{{title: "Lighthouse"}, {topics: []string{"Lighthouse"}}, {summary: "A lighthouse."}, {said: "the lighthouse"}} {
		what.language = "en"
		want = append(want, r.tell(r.alice, what))
	}
	if diff := cmp.Diff(want, r.find(r.alice, "lighthouse")); diff != "" {
		t.Error(diff)
	}
	for range 20 {
		want = append(want, r.tell(r.alice, told{language: "en", said: "a lighthouse"}))
	}
	all := r.find(r.alice, "lighthouse")
	for _, limit := range []int{1, 3, 24, 25} {
		var got []uuid.UUID
		for cursor, more := "", true; more; more = cursor != "" {
			page, err := r.Search(t.Context(), r.alice, recording.Search{Query: "lighthouse", Limit: limit, Cursor: cursor})
			must(t, err)
			for _, f := range page.Found {
				got = append(got, f.RecordingID)
			}
			cursor = page.NextCursor
		}
		if diff := cmp.Diff(all, got); diff != "" || len(got) != len(want) {
			t.Errorf("by %d: %s", limit, diff)
		}
	}
}

func TestSearchRefusals(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.tell(r.alice, told{title: "Test", language: "en", said: "the one and only"})
	for _, query := range []string{"", " ", "-", "\"", "\"\"", "***", "-test", "-\"a b\"", "a or -b", "!&|()<->:'", strings.Repeat("a", 201), strings.Repeat("a ", 33), "\xff"} {
		_, err := r.Search(t.Context(), r.alice, recording.Search{Query: query, Limit: 10})
		if recording.CodeOf(err) != recording.CodeInvalidRequest {
			t.Errorf("%q: %v", query, err)
		}
	}
	for _, query := range []string{"the", `"of the"`, "the of and", "or", "and or", "test:*", `t\'est`, "a' | 'b", "test\x00test", "İ"} {
		_, err := r.Search(t.Context(), r.alice, recording.Search{Query: query, Limit: 10})
		must(t, err)
	}
	for _, cursor := range []string{"x", "AAAA", strings.Repeat("A", 28), "AgAAAAAAAAAAAAAAAAAAAAAAAAAA\n"} {
		_, err := r.Search(t.Context(), r.alice, recording.Search{Query: "test", Limit: 10, Cursor: cursor})
		if recording.CodeOf(err) != recording.CodeInvalidRequest {
			t.Errorf("cursor %q: %v", cursor, err)
		}
	}
}

// TestSearchIsOnesOwn: two owners with the same words find their own, by every filter.
func TestSearchIsOnesOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	bob, err := r.EnsureUser(t.Context(), "dev:bob")
	must(t, err)
	story := recording.NewID()
	day := time.Date(1999, 5, 1, 0, 0, 0, 0, time.UTC)
	what := told{
		title: "Wedding", language: "en", said: "we danced all night", topics: []string{"Dancing"}, people: []string{"Philippa Grey"},
		summary: "A wedding.", story: story, at: day,
	}
	his := r.tell(bob, what)
	secret := what
	secret.said, secret.people, secret.topics, secret.title = "zanzibar", []string{"Zebedee Zuckermann"}, []string{"Zoology"}, "Zeppelin"
	hers, only := r.tell(r.alice, what), r.tell(r.alice, secret)
	later := day.Add(time.Hour)
	for _, filter := range []recording.Search{
		{}, {StoryID: story}, {Topic: "dancing"}, {Entity: "philippa  GREY"}, {From: &day}, {Before: &later},
		{StoryID: story, Topic: "Dancing", Entity: "Philippa Grey", From: &day, Before: &later},
	} {
		for _, query := range []string{"wedding", "danced", `"all night"`, "danc*", "philipa", "danced -zanzibar", "wedding or zanzibar"} {
			if diff := cmp.Diff([]uuid.UUID{his}, r.find(bob, query, filter)); diff != "" {
				t.Errorf("%s by %+v: %s", query, filter, diff)
			}
			if got := r.find(r.alice, query, filter); !slices.Contains(got, hers) || slices.Contains(got, his) {
				t.Errorf("%s by %+v: alice finds %v", query, filter, got)
			}
		}
		for _, query := range []string{"zanzibar", "zan*", "zuckerman", "zebedee", "zepelin", "zoology", "zeppelin"} {
			if got := r.find(bob, query, filter); len(got) > 0 {
				t.Errorf("%s by %+v: bob finds %v", query, filter, got)
			}
		}
	}
	if got := r.find(r.alice, "zuckerman", recording.Search{Entity: "zebedee zuckermann", Topic: "zoology"}); !slices.Equal(got, []uuid.UUID{only}) {
		t.Errorf("alice finds %v", got)
	}
	for _, filter := range []recording.Search{{StoryID: recording.NewID()}, {Topic: "danc"}, {Entity: "Philippa"}, {From: &later}, {Before: &day}, {Before: new(time.Time)}} {
		if got := r.find(r.alice, "wedding", filter); len(got) > 0 {
			t.Errorf("by %+v: %v", filter, got)
		}
	}
}

// TestSearchFollows: what changes is found as it is then, and nothing is left of it.
func TestSearchFollows(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	id := r.tell(r.alice, told{title: "Kitchen", language: "en", said: "we baked bread\nall the afternoon"})
	has := func(query string, want bool) {
		t.Helper()
		if got := slices.Contains(r.find(r.alice, query), id); got != want {
			t.Errorf("%s: found %t, want %t", query, got, want)
		}
	}
	title := "Bakery"
	_, err := r.PatchRecording(ctx, r.alice, id, recording.RecordingPatch{Title: &title})
	must(t, err)
	has("kitchen", false)
	has("kitchne", false)
	has("bakery", true)
	text := "we baked cakes"
	_, err = r.CorrectTranscript(ctx, r.alice, id, recording.CorrectionChange{StartMs: 0, EndMs: 300, Text: &text, Version: 1})
	must(t, err)
	has("bread", false)
	has("cake", true)
	r.transcribe(id, "en", "we braked brad\nall the afternoon") // again, and worse
	r.index(id)
	has("brad", false)
	has("cake", true)
	_, err = r.CorrectTranscript(ctx, r.alice, id, recording.CorrectionChange{StartMs: 0, EndMs: 300, Version: 3})
	must(t, err)
	has("brad", true)
	has("cake", false)
	must(t, r.DeleteRecording(ctx, r.alice, id))
	has("bakery", false)
	must(t, r.MarkPurged(ctx, recording.PurgeJob{RecordingID: id}))
	for _, table := range []string{"search_documents", "search_words", "transcripts", "corrections", "analyses", "insights", "provider_results"} {
		if n := r.count(`SELECT count(*) FROM ` + table); n != 0 {
			t.Errorf("%d rows are left in %s", n, table)
		}
	}
	// One that expires is found by its title until then.
	u := r.create(r.alice)
	if got := r.find(r.alice, "test"); !slices.Equal(got, []uuid.UUID{u.RecordingID}) {
		t.Errorf("found %v", got)
	}
	_, err = r.ExpireUploads(ctx, r.clock.Add(2*time.Hour))
	must(t, err)
	if got := r.find(r.alice, "test"); len(got) > 0 || r.count(`SELECT count(*) FROM search_words`) != 0 {
		t.Errorf("expired, and found: %v", got)
	}
}

// TestSearchIndexEqualsRows: corrections, titles and transcriptions at once; what can be
// found afterwards is what the rows say.
func TestSearchIndexEqualsRows(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	var ids []uuid.UUID
	for i := range 3 {
		ids = append(ids, r.tell(r.alice, told{title: "Start", language: "en", said: fmt.Sprintf("one two three\nfour%d five six", i)}))
	}
	var wg sync.WaitGroup
	for n := range 12 {
		wg.Go(func() {
			for i, id := range ids {
				var err error
				switch n % 3 {
				case 0:
					title := fmt.Sprintf("Title %d %d", n, i)
					_, err = r.PatchRecording(ctx, r.alice, id, recording.RecordingPatch{Title: &title})
				case 1:
					err = correctAny(ctx, r, id, fmt.Sprintf("corrected%d", n))
				case 2:
					err = pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
						if _, err := tx.Exec(ctx, `SELECT FROM recordings WHERE id = $1 FOR UPDATE`, id); err != nil {
							return err
						}
						raw, _ := json.Marshal(segments(fmt.Sprintf("one two three\nagain%d five", n)))
						if _, err := tx.Exec(ctx, `UPDATE transcripts SET segments = $2, version = version + 1 WHERE recording_id = $1`, id, raw); err != nil {
							return err
						}
						return catalog.IndexRecording(ctx, tx, id)
					})
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	const all = `SELECT recording_id || ' ' || words::text || ' ' || passages::text FROM search_documents ORDER BY 1`
	const words = `SELECT word || ' ' || documents || ' ' || names FROM search_words ORDER BY 1`
	before, beforeWords := r.texts(all), r.texts(words)
	_, err := r.pool.Exec(ctx, `TRUNCATE search_documents, search_words`)
	must(t, err)
	for _, id := range ids {
		r.index(id)
	}
	if diff := cmp.Diff(before, r.texts(all)); diff != "" {
		t.Errorf("documents (-were +made anew): %s", diff)
	}
	if diff := cmp.Diff(beforeWords, r.texts(words)); diff != "" {
		t.Errorf("words (-were +made anew): %s", diff)
	}
}

func (r *rig) texts(sql string) []string {
	r.t.Helper()
	rows, err := r.pool.Query(r.t.Context(), sql)
	must(r.t, err)
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(r.t, err)
	return list
}

// correctAny corrects the first segment, of whatever version there is.
func correctAny(ctx context.Context, r *rig, id uuid.UUID, text string) error {
	for {
		now, err := r.Transcript(ctx, r.alice, id)
		if err != nil {
			return err
		}
		first := now.Segments[0]
		_, err = r.CorrectTranscript(ctx, r.alice, id, recording.CorrectionChange{
			StartMs: first.StartMs, EndMs: first.EndMs, Text: &text, Version: now.Version,
		})
		if recording.CodeOf(err) != recording.CodeConflict {
			return err
		}
	}
}

// TestSearchShelves: more than a shelf takes, in one year and in several.
func TestSearchShelves(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	old := r.tell(r.alice, told{said: "lighthouse", at: time.Date(1949, 12, 31, 23, 59, 59, 0, time.UTC)})
	next := r.tell(r.alice, told{said: "lighthouse", at: time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC)})
	_, err := r.pool.Exec(t.Context(), `UPDATE search_shelves SET documents = 2048 WHERE owner_id = $1`, r.alice)
	must(t, err)
	full := r.tell(r.alice, told{said: "lighthouse", at: time.Date(1950, 1, 2, 0, 0, 0, 0, time.UTC)})
	if got := r.texts(`SELECT shelf::text FROM search_shelves ORDER BY shelf`); !slices.Equal(got, []string{"1949000", "1950000", "1950001", "2026000", "2026001"}) {
		t.Errorf("shelves %v", got)
	}
	fifties := time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		filter recording.Search
		want   []uuid.UUID
	}{
		{recording.Search{}, []uuid.UUID{full, next, old}},
		{recording.Search{Before: &fifties}, []uuid.UUID{old}},
		{recording.Search{From: &fifties}, []uuid.UUID{full, next}},
	} {
		got := r.find(r.alice, "lighthouse", tt.filter)
		slices.SortFunc(got, func(a, b uuid.UUID) int { return slices.Compare(b[:], a[:]) })
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%+v: %s", tt.filter, diff)
		}
	}
	_, err = r.pool.Exec(t.Context(), `UPDATE recordings SET recorded_at = now() WHERE id = $1`, old)
	must(t, err)
	r.index(old)
	if got := r.find(r.alice, "lighthouse"); len(got) != 3 {
		t.Errorf("moved: %v", got)
	}
}

func TestSearchOfMuch(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	// As many as are compared, and one more.
	for range 301 {
		r.create(r.alice)
	}
	result, err := r.Search(t.Context(), r.alice, recording.Search{Query: "test", Limit: 100})
	must(t, err)
	if result.Complete || len(result.Found) != 100 || result.NextCursor == "" {
		t.Errorf("%d found, complete %t", len(result.Found), result.Complete)
	}
	// A long transcript has more words than a tsvector has positions.
	id := r.tell(r.alice, told{language: "en", said: strings.Repeat("word after word\n", 6000) + "and at the end a zebra"})
	if got := r.find(r.alice, "zebra"); !slices.Equal(got, []uuid.UUID{id}) {
		t.Errorf("found %v", got)
	}
}

// TestSearchBacklog: the titles of the time before search are indexed by Migrate.
func TestSearchBacklog(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var want []uuid.UUID
	for range 3 {
		want = append(want, r.create(r.alice).RecordingID)
	}
	gone := r.create(r.alice).RecordingID
	must(t, r.DeleteRecording(t.Context(), r.alice, gone))
	_, err := r.pool.Exec(t.Context(), `TRUNCATE search_documents, search_words, search_shelves`)
	must(t, err)
	_, err = r.pool.Exec(t.Context(), `INSERT INTO search_backlog SELECT id FROM recordings`)
	must(t, err)
	if got := r.find(r.alice, "test"); len(got) > 0 {
		t.Errorf("found before: %v", got)
	}
	must(t, catalog.Migrate(t.Context(), r.pool, slog.New(slog.DiscardHandler)))
	got := r.find(r.alice, "test")
	slices.Reverse(got)
	if diff := cmp.Diff(want, got); diff != "" || r.count(`SELECT count(*) FROM search_backlog`) != 0 {
		t.Error(diff)
	}
}

// TestSearchNeedsExtensions: who may not create them hears what to do.
func TestSearchNeedsExtensions(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	text, err := migrations.Postgres.ReadFile("postgres/00008_search.sql")
	must(t, err)
	_, statement, _ := strings.Cut(string(text), "StatementBegin\n")
	statement, _, _ = strings.Cut(statement, "-- +goose StatementEnd")
	err = pgx.BeginFunc(t.Context(), r.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `DROP EXTENSION btree_gin CASCADE`); err != nil {
			return err
		}
		if _, err := tx.Exec(t.Context(), `SET LOCAL ROLE pg_monitor`); err != nil {
			return err
		}
		_, err := tx.Exec(t.Context(), statement)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "search needs PostgreSQL's extensions pg_trgm and btree_gin") {
		t.Errorf("%v", err)
	}
}

func TestSearchTimeout(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.tell(r.alice, told{title: "Test"})
	tx, err := r.pool.Begin(t.Context())
	must(t, err)
	defer tx.Rollback(context.WithoutCancel(t.Context()))
	_, err = tx.Exec(t.Context(), `LOCK search_documents`)
	must(t, err)
	_, err = r.Search(t.Context(), r.alice, recording.Search{Query: "test", Limit: 10})
	var known *recording.Error
	if !errors.As(err, &known) || known.Code != recording.CodeUnavailable || !strings.Contains(known.Message, "too long") {
		t.Errorf("%v", err)
	}
}
