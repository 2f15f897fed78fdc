package bench_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"reprise/catalog"
	"reprise/internal/pgtest"
	"reprise/recording"
)

// What is searched: one owner's recordings, and as many of many owners.
const (
	searchDocuments = 100_000
	searchTexts     = 25_000 // that differ: each is there four times
	searchOwners    = 100    // besides the one
	spokenWords     = 450    // and 50 in title, topics, entities and summary
	vocabularySize  = 60_000
)

// BenchmarkSearch measures searches of one owner with 100,000 recordings of 500 words,
// and of one of a hundred owners who have as many together, and prints how Postgres
// does it.
func BenchmarkSearch(b *testing.B) {
	pool := pgtest.New(b)
	c, err := catalog.New(catalog.Options{Pool: pool})
	must(b, err)
	w := newWords()
	one, many := fillSearch(b, pool, w)
	size := sizeOfSearch(b, pool)
	began := time.Date(2016, 1, 1, 0, 0, 0, 0, time.UTC)
	year := func(i int) (from, before *time.Time) {
		f := began.AddDate(i%10, 0, 0)
		t := f.AddDate(1, 0, 0)
		return &f, &t
	}
	for _, kind := range []struct {
		name string
		ask  func(i int) recording.Search
	}{
		{"rare word", func(i int) recording.Search { return recording.Search{Query: w.rare(i) + " "} }},
		{"common word", func(i int) recording.Search { return recording.Search{Query: w.word(i%20) + " "} }},
		{"two common", func(i int) recording.Search {
			return recording.Search{Query: w.word(i%20) + " " + w.word(20+i%20) + " "}
		}},
		{"common and rare", func(i int) recording.Search { return recording.Search{Query: w.word(i%20) + " " + w.rare(i) + " "} }},
		{"phrase of common", func(i int) recording.Search {
			return recording.Search{Query: `"` + w.word(i%20) + " " + w.word(i/20%20) + `"`}
		}},
		{"phrase that is rare", func(i int) recording.Search {
			return recording.Search{Query: `"` + w.word(200+i%100) + " " + w.word(300+i%100) + `"`}
		}},
		{"prefix", func(i int) recording.Search { return recording.Search{Query: w.word(i)[:3] + "*"} }},
		{"being typed", func(i int) recording.Search { return recording.Search{Query: w.word(i%50) + " " + w.word(500 + i)[:2]} }},
		{"misspelt name", func(i int) recording.Search { return recording.Search{Query: slip(w.name(i)) + " "} }},
		{"common, not, or", func(i int) recording.Search {
			return recording.Search{Query: w.word(i%20) + " -" + w.word(300+i) + " or " + w.word(i%20+40) + " "}
		}},
		{"common by topic", func(i int) recording.Search { return recording.Search{Query: w.word(i%20) + " ", Topic: w.topic(i)} }},
		{"common by entity", func(i int) recording.Search { return recording.Search{Query: w.word(i%20) + " ", Entity: w.name(i)} }},
		{"common by date", func(i int) recording.Search {
			s := recording.Search{Query: w.word(i%20) + " "}
			s.From, s.Before = year(i)
			return s
		}},
	} {
		for name, owners := range map[string][]uuid.UUID{"one owner": {one}, "many owners": many} {
			b.Run(kind.name+", "+name, func(b *testing.B) {
				for b.Loop() {
					measureSearch(b, c, owners, kind.ask)
				}
			})
		}
	}
	// Not by b.Log, which stops after ten lines.
	fmt.Println("sizes, with those of their indexes:", size)
	for _, query := range []string{w.word(3) + " ", w.rare(3) + " ", `"` + w.word(3) + " " + w.word(4) + `"`} {
		fmt.Printf("how Postgres looks for %s:\n%s\n", query, planOf(b, pool, one, query))
	}
}

func measureSearch(b *testing.B, c *catalog.Catalog, owners []uuid.UUID, ask func(i int) recording.Search) {
	const rounds = 300
	var took []time.Duration
	found := 0
	for i := range rounds {
		s := ask(i)
		s.Limit = 20
		began := time.Now()
		result, err := c.Search(b.Context(), owners[i%len(owners)], s)
		took = append(took, time.Since(began))
		must(b, err)
		found += len(result.Found)
	}
	slices.Sort(took)
	b.ReportMetric(ms(took[rounds/2]), "p50-ms")
	b.ReportMetric(ms(took[rounds*99/100]), "p99-ms")
	b.ReportMetric(float64(found)/rounds, "found")
	b.ReportMetric(0, "ns/op")
}

// planOf has the server explain what a search did, its longest statement.
func planOf(b *testing.B, pool *pgxpool.Pool, owner uuid.UUID, query string) string {
	config := pool.Config().Copy()
	config.MaxConns = 1
	var longest string
	config.ConnConfig.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if _, plan, ok := strings.Cut(n.Message, "plan:\n"); ok && len(plan) > len(longest) && strings.Contains(plan, "matches") {
			longest = plan
		}
	}
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_analyze = on;
			SET auto_explain.log_buffers = on; SET client_min_messages = log`, pgx.QueryExecModeSimpleProtocol)
		return err
	}
	explained, err := pgxpool.NewWithConfig(b.Context(), config)
	must(b, err)
	defer explained.Close()
	c, err := catalog.New(catalog.Options{Pool: explained})
	must(b, err)
	_, err = c.Search(b.Context(), owner, recording.Search{Query: query, Limit: 20})
	must(b, err)
	return longest[max(0, strings.Index(longest, "\nAggregate")):] // the query itself is in the source
}

// words are a made-up language: the lower its number, the more often a word is said.
type words struct {
	said *rand.Zipf
	list []string
}

func newWords() words {
	w := words{said: rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.07, 2.7, vocabularySize-1)}
	for i := range vocabularySize {
		w.list = append(w.list, syllables(i))
	}
	return w
}

func syllables(i int) string {
	var b strings.Builder
	for i += 100; i > 0; i /= 70 {
		b.WriteByte("bdfgklmnprstvz"[i%14])
		b.WriteByte("aeiou"[i/14%5])
	}
	return b.String()
}

func (w words) word(i int) string { return w.list[i] }

func (w words) rare(i int) string  { return w.word(vocabularySize - 1 - 7*i) }
func (w words) topic(i int) string { return w.word(400 + i%500) }
func (words) name(i int) string    { return "X" + syllables(300_000+97*(i%5000)) }

// some says words, as often as they are said.
func (w words) some(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = w.word(int(w.said.Uint64()))
	}
	return strings.Join(list, " ")
}

// slip swaps two letters.
func slip(word string) string {
	return word[:2] + string(word[3]) + string(word[2]) + word[4:]
}

// fillSearch writes the rows that indexing makes, but all at once. Of the many owners ten
// have a list of their words: those that are returned.
func fillSearch(b *testing.B, pool *pgxpool.Pool, w words) (one uuid.UUID, many []uuid.UUID) {
	b.Helper()
	exec := func(sql string, args ...any) {
		b.Helper()
		_, err := pool.Exec(b.Context(), sql, args...)
		must(b, err)
	}
	one = recording.NewID()
	exec(`INSERT INTO users (id, subject) VALUES ($1, 'dev:one')`, one)
	for i := range searchOwners {
		many = append(many, recording.NewID())
		exec(`INSERT INTO users (id, subject) VALUES ($1, $2)`, many[i], fmt.Sprint("dev:", i))
	}
	exec(`DROP INDEX search_documents_words, search_words_names`)
	exec(`CREATE UNLOGGED TABLE filled (n integer, title text, tags text[], words tsvector, passages jsonb, starts integer[])`)
	exec(`ALTER TABLE filled ALTER words SET STORAGE EXTERNAL`)
	copyIn(b, pool, "filled", w.document)
	exec(`CREATE UNLOGGED TABLE placed AS SELECT n AS text, 4 * n + k AS n, gen_random_uuid() AS id, gen_random_uuid() AS other
		FROM filled, generate_series(0, 3) k`)
	exec(`ANALYZE filled, placed`)
	at := `(timestamptz '2016-01-01Z' + p.n * interval '10 years' / 100000)`
	shelf := `1000 * extract(year FROM ` + at + `)::int`
	for _, as := range []struct {
		id, owner, shelf string
		owners           []uuid.UUID
	}{{"id", "($1::uuid[])[1]", shelf + " + p.n % 10000 / 2048", []uuid.UUID{one}}, {"other", "($1::uuid[])[1 + p.n % 100]", shelf, many}} {
		exec(`INSERT INTO recordings (id, owner_id, state, title, object_key) SELECT `+as.id+`, `+as.owner+`, 'ready', title, '' FROM placed p JOIN filled f ON f.n = p.text`, as.owners)
		exec(`INSERT INTO search_documents SELECT `+as.id+`, `+as.owner+`, `+as.shelf+`, `+at+`, 'simple', tags, words, passages, starts FROM placed p JOIN filled f ON f.n = p.text ORDER BY p.n`, as.owners)
	}
	exec(`INSERT INTO search_shelves SELECT owner_id, shelf, count(*), '{simple}' FROM search_documents GROUP BY 1, 2`)
	exec(`CREATE TABLE lexicon AS SELECT word, 4 * count(*) AS documents, 4 * count(*) FILTER (WHERE weights && '{A,B}') AS names
		FROM filled, unnest(words) AS l(word, positions, weights) GROUP BY word`)
	exec(`INSERT INTO search_words SELECT $1, word, documents, names FROM lexicon`, one)
	exec(`INSERT INTO search_words SELECT owner, word, count(*), count(*) FILTER (WHERE weights && '{A,B}')
		FROM (SELECT ($1::uuid[])[1 + p.n % 100] AS owner, words FROM placed p JOIN filled f ON f.n = p.text WHERE p.n % 100 < 10) f, unnest(words) AS l(word, positions, weights) GROUP BY 1, 2`, many)
	exec(`DROP TABLE filled, placed, lexicon`)
	exec(`SELECT set_config('maintenance_work_mem', '1GB', false)`)
	exec(`CREATE INDEX search_documents_words ON search_documents USING gin (owner_id, shelf, tags, words) WITH (fastupdate = off)`)
	exec(`CREATE INDEX search_words_names ON search_words USING gin (owner_id, word gin_trgm_ops) WHERE names > 0`)
	exec(`VACUUM ANALYZE`)
	return one, many[:10]
}

func sizeOfSearch(b *testing.B, pool *pgxpool.Pool) (size string) {
	b.Helper()
	must(b, pool.QueryRow(b.Context(), `SELECT string_agg(relname || ' ' || pg_size_pretty(pg_total_relation_size(oid)), ', ') FROM pg_class
		WHERE relname IN ('search_documents', 'search_words', 'search_documents_words', 'search_words_names')`).Scan(&size))
	return size
}

// copyIn copies what row writes for each number into a table.
func copyIn(b *testing.B, pool *pgxpool.Pool, table string, row func(out *bytes.Buffer, n int)) {
	b.Helper()
	conn, err := pool.Acquire(b.Context())
	must(b, err)
	defer conn.Release()
	from, to := io.Pipe()
	go func() {
		var out bytes.Buffer
		for n := range searchTexts {
			row(&out, n)
			if _, err := to.Write(out.Bytes()); err != nil {
				return
			}
			out.Reset()
		}
		_ = to.Close() // has no error
	}()
	_, err = conn.Conn().PgConn().CopyFrom(b.Context(), from, "COPY "+table+" FROM STDIN")
	_ = from.Close()
	must(b, err)
}

// document writes one recording's row: title, three topics, two names, summary,
// transcript.
func (w words) document(out *bytes.Buffer, n int) {
	topics := []string{w.topic(n), w.topic(3 * n), w.topic(7 * n)}
	names := []string{w.name(n), w.name(11 * n)}
	at := map[string][]string{}
	position := 0
	var passages, starts []string
	add := func(in, weight, text, more string) {
		starts = append(starts, strconv.Itoa(position+1))
		for word := range strings.FieldsSeq(strings.ToLower(text)) {
			position++
			at[word] = append(at[word], strconv.Itoa(position)+weight)
		}
		position++
		passages = append(passages, `{"in":"`+in+`","text":"`+text+`"`+more+`}`)
	}
	title := w.some(4)
	add("title", "A", title, "")
	var tags []string
	for _, topic := range topics {
		add("topic", "B", topic, "")
		tags = append(tags, `"topic:`+topic+`"`)
	}
	for _, name := range names {
		add("entity", "B", name, "")
		tags = append(tags, `"entity:`+strings.ToLower(name)+`"`)
	}
	add("summary", "C", w.some(41), "")
	for from := 0; from < spokenWords; from += 15 {
		var times []string
		for i := range 15 {
			times = append(times, strconv.Itoa(400*(from+i)))
		}
		add("transcript", "D", w.some(15), fmt.Sprintf(`,"startMs":%d,"wordsMs":[%s]`, 400*from, strings.Join(times, ",")))
	}
	fmt.Fprintf(out, "%d\t%s\t{%s}\t", n, title, strings.Join(tags, ","))
	for word, list := range at {
		out.WriteString("'" + word + "':" + strings.Join(list[:min(len(list), 255)], ",") + " ")
	}
	fmt.Fprintf(out, "\t[%s]\t{%s}\n", strings.Join(passages, ","), strings.Join(starts, ","))
}
