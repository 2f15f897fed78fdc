package crash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"reprise/catalog"
	"reprise/processing"
)

// Milestones of a recording that became ready, in their order.
func milestones() []string {
	return []string{
		"upload.created", "upload.received",
		"processing.completed store", "processing.completed verify", "processing.completed probe", "processing.completed transcode",
		"recording.ready",
	}
}

// awaitReady waits until every phone's recording is ready and no job is left to
// do.
func (w *world) awaitReady(phones ...*phone) {
	w.t.Helper()
	for _, p := range phones {
		w.eventually("recording "+p.recording.String()+" is ready", func() bool {
			state := query[string](w, `SELECT state FROM recordings WHERE id = $1`, p.recording)
			if state == "failed" && w.mayFail {
				p.reprocess(w)
			} else if state == "rejected" || state == "failed" || state == "deleted" {
				w.t.Fatalf("recording %s is %s: %s", p.recording, state,
					query[string](w, `SELECT reason || ': ' || detail FROM recordings WHERE id = $1`, p.recording))
			}
			return state == "ready"
		})
	}
	w.awaitJobs()
}

func (w *world) awaitJobs() {
	w.t.Helper()
	w.eventually("every job is done", func() bool {
		return query[int](w, `SELECT count(*) FROM river_job
			WHERE kind IN ('stage', 'purge') AND state NOT IN ('completed', 'discarded', 'cancelled')`) == 0
	})
}

// checkReady checks what the owner of a ready recording sees: I1 to I3, I5.
func (w *world) checkReady(p *phone) {
	w.t.Helper()
	ctx := context.Background()
	p.way.timeout = nil // it has patience now
	if err := p.look(ctx); err != nil {
		w.t.Errorf("recording %s: %v", p.recording, err)
	}
	if p.told != int64(len(p.data)) {
		w.t.Errorf("I1: the offset of %s is %d at the end", p.path, p.told)
	}
	if err := p.create(ctx); err != nil { // I3: once more, the same
		w.t.Errorf("recording %s: %v", p.recording, err)
	}
	var view struct {
		State     string
		SizeBytes int64
		SHA256    string
		Artifacts []struct{ Kind, URL string }
	}
	if err := p.fetchJSON(ctx, "/v1/recordings/"+p.recording.String(), &view); err != nil {
		w.t.Fatal(err)
	}
	sum := sha256.Sum256(p.data)
	if view.State != "ready" || view.SizeBytes != int64(len(p.data)) || view.SHA256 != hex.EncodeToString(sum[:]) {
		w.t.Errorf("I2: %d bytes with digest %x became %+v", len(p.data), sum, view)
	}
	original, err := p.fetch(ctx, "/v1/recordings/"+p.recording.String()+"/audio?format=original")
	if err != nil || !bytes.Equal(original, p.data) {
		w.t.Errorf("I2: the original is not what was sent: %d bytes, %v", len(original), err)
	}
	var kinds []string
	for _, a := range view.Artifacts {
		kinds = append(kinds, a.Kind)
		body, err := p.fetch(ctx, rebase(a.URL))
		if err != nil {
			w.t.Error(err)
			continue
		}
		got := sha256.Sum256(body)
		if want := query[[]byte](w, `SELECT sha256 FROM artifacts WHERE recording_id = $1 AND kind = $2`, p.recording, a.Kind); !bytes.Equal(want, got[:]) {
			w.t.Errorf("I5: artifact %s of %s is not what was recorded", a.Kind, p.recording)
		}
	}
	slices.Sort(kinds)
	if diff := cmp.Diff([]string{"aac", "opus", "peaks.dat", "peaks.json"}, kinds); diff != "" {
		w.t.Errorf("I5: artifacts of %s: (-want +got)\n%s", p.recording, diff)
	}
	w.checkChain(p)
}

// checkChain wants one chain of jobs and each milestone once: I3, I5. What a
// recording that failed and was tried again has besides is counted.
func (w *world) checkChain(p *phone) {
	w.t.Helper()
	told := list[string](w, `SELECT trim(type || ' ' || CASE WHEN type = 'processing.completed' THEN data->>'stage' ELSE '' END)
		FROM events WHERE recording_id = $1 ORDER BY seq`, p.recording)
	failed, retried := 0, 0
	told = slices.DeleteFunc(told, func(typ string) bool {
		switch typ {
		case "recording.failed":
			failed++
		case "recording.retried":
			retried++
		default:
			return false
		}
		return true
	})
	if diff := cmp.Diff(milestones(), told); diff != "" || failed != retried {
		w.t.Errorf("I5: milestones of %s, failed %d times, retried %d times: (-want +got)\n%s", p.recording, failed, retried, diff)
	}
	jobs := list[string](w, `SELECT state || ' ' || (args->>'stage') FROM river_job
		WHERE kind = 'stage' AND args->>'recordingId' = $1::text AND state <> 'discarded' ORDER BY id`, p.recording)
	want := []string{"completed store", "completed verify", "completed probe", "completed transcode"}
	if diff := cmp.Diff(want, jobs); diff != "" {
		w.t.Errorf("I3: jobs of %s: (-want +got)\n%s", p.recording, diff)
	}
	if n := query[int](w, `SELECT count(*) FROM river_job
		WHERE kind = 'stage' AND args->>'recordingId' = $1::text AND state = 'discarded'`, p.recording); n != failed {
		w.t.Errorf("I3: %s failed %d times and has %d discarded jobs", p.recording, failed, n)
	}
}

// checkRows wants as many rows as there were uploads, milestones without a gap, and
// what users have counted as it is: I3, I5.
func (w *world) checkRows(uploads int) {
	w.t.Helper()
	for _, table := range []string{"uploads WHERE NOT partial", "recordings"} {
		if n := query[int](w, "SELECT count(*) FROM "+table); n != uploads {
			w.t.Errorf("I3: %d uploads made %d rows in %s", uploads, n, table)
		}
	}
	gaps := list[string](w, `SELECT u.subject FROM users u JOIN events e ON e.owner_id = u.id
		GROUP BY u.id HAVING min(e.seq) <> 1 OR max(e.seq) <> count(*) OR max(e.seq) <> u.event_seq`)
	if len(gaps) > 0 {
		w.t.Errorf("I5: the milestones of %v have gaps", gaps)
	}
	wrong := list[string](w, `SELECT format('%s: %s open uploads, %s bytes', owner_id, open_uploads, stored_bytes) FROM usage
		WHERE (open_uploads, stored_bytes) <> (SELECT coalesce(sum(usage_open(u)), 0), coalesce(sum(usage_stored(u)), 0)
			FROM uploads u WHERE u.owner_id = usage.owner_id)`)
	if len(wrong) > 0 {
		w.t.Errorf("what users have is counted wrong: %v", wrong)
	}
	if n := query[int](w, `SELECT count(*) FROM usage`); n == 0 {
		w.t.Error("nothing is counted of what users have")
	}
}

// checkClean runs the janitor, after every server has ended, and wants nothing
// to be stored that nobody owns, and everything that somebody does: I4.
func (w *world) checkClean() {
	w.t.Helper()
	c, err := catalog.New(catalog.Options{Pool: w.pool})
	if err != nil {
		w.t.Fatal(err)
	}
	store, closer := w.openStorage(c)
	defer closer.Close()
	tomorrow := func() time.Time { return time.Now().Add(25 * time.Hour) } // its patience is over
	if _, err := processing.NewJanitor(c, store, tomorrow, slog.New(slog.DiscardHandler)).RunOnce(context.Background()); err != nil {
		w.t.Fatalf("janitor: %v", err)
	}
	owned := map[string]string{} // key → digest
	rows, _ := w.pool.Query(context.Background(), `
		SELECT object_key, encode(sha256, 'hex') FROM recordings WHERE purged_at IS NULL AND sha256 IS NOT NULL
		UNION ALL SELECT object_key, encode(sha256, 'hex') FROM artifacts`)
	var key, digest string
	if _, err := pgx.ForEachRow(rows, []any{&key, &digest}, func() error { owned["objects/"+key] = digest; return nil }); err != nil {
		w.t.Fatal(err)
	}
	if diff := cmp.Diff(owned, w.stored()); diff != "" {
		w.t.Errorf("I4: what is stored (-owned +stored):\n%s", diff)
	}
	if parts := query[int](w, `SELECT count(*) FROM upload_parts p JOIN recordings r ON r.id = (SELECT recording_id FROM uploads u WHERE u.id = p.upload_id)
		WHERE r.purged_at IS NOT NULL OR r.state = 'ready'`); parts > 0 {
		w.t.Errorf("I4: %d rows of parts are left of recordings that are purged or ready", parts)
	}
	w.eventually("no process of a dead server is left", func() bool { return !w.haunted() })
}

// digests returns the digest of every file in folders of the storage, and
// "folder" for what should not be there either: the folders of uploads and jobs.
func (w *world) digests(folders ...string) map[string]string {
	w.t.Helper()
	found := map[string]string{}
	visit := func(path string, entry fs.DirEntry, err error) error {
		name, _ := filepath.Rel(w.root, path)
		name = filepath.ToSlash(name)
		switch {
		case errors.Is(err, fs.ErrNotExist): // a janitor is at work
			return nil
		case err != nil:
			return err
		case entry.IsDir():
			if strings.HasPrefix(name, "parts/") || strings.HasPrefix(name, "work/") {
				found[name] = "folder"
			}
			return nil
		}
		body, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		sum := sha256.Sum256(body)
		found[name] = hex.EncodeToString(sum[:])
		return err
	}
	for _, folder := range folders {
		if err := filepath.WalkDir(filepath.Join(w.root, folder), visit); err != nil {
			w.t.Fatal(err)
		}
	}
	return found
}

// haunted reports whether a process still works on files of a server: an ffmpeg
// that outlived it. Where there is no /proc, nobody can tell.
func (w *world) haunted() bool {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, line := range lines {
		text, _ := os.ReadFile(line)
		if bytes.Contains(text, []byte(w.root)) {
			return true
		}
	}
	return false
}

// list returns the values of the one column of a query.
func list[T any](w *world, sql string, args ...any) []T {
	w.t.Helper()
	rows, _ := w.pool.Query(context.Background(), sql, args...)
	values, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
	return values
}

// finish checks everything about uploads that have all become ready, and ends
// the servers.
func (w *world) finish(servers []*server, phones ...*phone) {
	w.t.Helper()
	w.awaitReady(phones...)
	for _, p := range phones {
		w.checkReady(p)
	}
	w.checkRows(len(phones))
	for _, s := range servers {
		s.stop()
	}
	w.checkClean()
}
