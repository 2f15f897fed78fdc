package upload_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"reprise/internal/pgtest"
	"reprise/storage/disk"
	"reprise/upload"
)

// by makes a request of a ticket's bearer, who has no token.
func by(ticket string) []string {
	return []string{"Test-User", "", "Authorization", "Bearer " + ticket}
}

// begin creates an upload of size bytes and returns its URL and its ticket.
func (r *rig) begin(size int, header ...string) (url, ticket string) {
	r.t.Helper()
	a := r.do(http.MethodPost, r.url+"/files/", nil, append([]string{"Upload-Length", strconv.Itoa(size)}, header...)...)
	ticket = a.header.Get("Reprise-Upload-Ticket")
	if a.status != http.StatusCreated || !strings.HasPrefix(ticket, "rpu_") || a.header.Get("Cache-Control") != "no-store" {
		r.t.Fatalf("create: %d %v %s", a.status, a.header, a.body)
	}
	return a.header.Get("Location"), ticket
}

// opens reports whether HEAD says an offset to the bearer of a ticket.
func (r *rig) opens(url, ticket string) bool {
	r.t.Helper()
	a := r.do(http.MethodHead, url, nil, by(ticket)...)
	return a.status == http.StatusOK && a.header.Get("Upload-Offset") != ""
}

// TestTicket: the ticket alone brings an upload to its end or gives it up.
func TestTicket(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	data := audio(5000)
	url, ticket := r.begin(len(data))
	for at := 0; at < len(data); at += 2500 {
		if a := r.patch(url, at, data[at:at+2500], by(ticket)...); a.status != http.StatusNoContent {
			t.Fatalf("PATCH at %d: %d %s", at, a.status, a.body)
		}
		if a := r.do(http.MethodHead, url, nil, by(ticket)...); a.status != http.StatusOK || a.header.Get("Upload-Offset") != strconv.Itoa(at+2500) {
			t.Errorf("HEAD: %d %v", a.status, a.header)
		}
	}
	r.wantReceived(url, data)
	// Who has stolen the ticket can't delete the recording; its owner can.
	if a := r.do(http.MethodDelete, url, nil, by(ticket)...); a.status != http.StatusUnauthorized || a.code != "unauthenticated" {
		t.Errorf("DELETE of a complete upload: %d %s", a.status, a.body)
	}
	if a := r.do(http.MethodDelete, url, nil); a.status != http.StatusNoContent {
		t.Errorf("DELETE by the owner: %d %s", a.status, a.body)
	}

	url, ticket = r.begin(len(data))
	for _, want := range []int{http.StatusNoContent, http.StatusGone} {
		if a := r.do(http.MethodDelete, url, nil, by(ticket)...); a.status != want {
			t.Errorf("DELETE: %d %s, want %d", a.status, a.body, want)
		}
	}
	if a := r.patch(url, 0, data, by(ticket)...); a.status != http.StatusGone || a.code != "upload_gone" {
		t.Errorf("PATCH of what was given up: %d %s", a.status, a.body)
	}
}

// TestTicketElsewhere: a ticket opens its own upload only, and what it does not
// open is as if it never was. Nothing of it changes.
func TestTicketElsewhere(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	data := audio(3000)
	own, ticket := r.begin(len(data))
	another, _ := r.begin(len(data))
	bobs, bobsTicket := r.begin(len(data), "Test-User", "bob")
	partial, _ := r.begin(len(data), "Upload-Concat", "partial")
	never := r.url + "/files/" + uuid.NewString()
	answers := map[string]bool{}
	for _, url := range []string{another, bobs, partial, never, r.url + "/files/x", strings.ToUpper(own[len(r.url):])} {
		if !strings.HasPrefix(url, "http") {
			url = r.url + "/files/" + url[len("/files/"):]
		}
		for _, a := range []answer{
			r.do(http.MethodDelete, url, nil, by(ticket)...),
			r.patch(url, 0, data, by(ticket)...),
			r.patch(url, 0, data, append(by(ticket), "Content-Type", "")...),
			r.do(http.MethodHead, url, nil, by(ticket)...),
		} {
			if a.status != http.StatusNotFound {
				t.Errorf("%s: %d %s", url, a.status, a.body)
			}
			if len(a.body) > 0 {
				answers[string(a.body)] = true
			}
		}
	}
	if len(answers) != 1 {
		t.Errorf("the answers differ: %v", answers)
	}
	for name, forged := range map[string]string{"of somebody else": bobsTicket, "cut": ticket[:len(ticket)-1], "longer": ticket + "A", "empty": "rpu_", "lower": strings.ToLower(ticket)} {
		if a := r.do(http.MethodHead, own, nil, by(forged)...); a.status != http.StatusNotFound {
			t.Errorf("a ticket %s: %d", name, a.status)
		}
	}
	for name, a := range map[string]answer{
		"creation": r.do(http.MethodPost, r.url+"/files/", nil, append(by(ticket), "Upload-Length", "10")...),
		"join":     r.do(http.MethodPost, r.url+"/files/", nil, append(by(ticket), "Upload-Concat", "final;"+own)...),
		"draft":    r.do(http.MethodPost, r.url+"/files/", nil, append(by(ticket), "Tus-Resumable", "", "Upload-Draft-Interop-Version", "6", "Upload-Complete", "?0")...),
	} {
		if a.status != http.StatusUnauthorized || !strings.Contains(string(a.body), "HEAD, PATCH and DELETE") {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	for method, want := range map[string]int{http.MethodGet: 405, http.MethodPut: 405, http.MethodPost: 405, http.MethodOptions: 200} {
		if a := r.do(method, own, nil, append(by(ticket), "X-HTTP-Method-Override", "PATCH")...); a.status != want {
			t.Errorf("%s: %d %s, want %d", method, a.status, a.body, want)
		}
	}
	var uploads, touched int
	must(t, r.pool.QueryRow(t.Context(), `SELECT count(*), count(*) FILTER (WHERE epoch > 0 OR committed_offset > 0 OR state <> 'receiving') FROM uploads`).Scan(&uploads, &touched))
	if uploads != 4 || touched != 0 {
		t.Errorf("of %d uploads %d have changed", uploads, touched)
	}
	if a := r.patch(own, 0, data, by(ticket)...); a.status != http.StatusNoContent {
		t.Errorf("its own: %d %s", a.status, a.body)
	}
}

// TestTicketOfEveryCreation: whatever creates an upload that takes bytes answers
// with a ticket; what is complete needs none, and an error has none.
func TestTicketOfEveryCreation(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	data := audio(4000)
	withBody := func(n int) []string {
		return []string{"Upload-Length", "4000", "Content-Type", "application/offset+octet-stream", "Content-Length", strconv.Itoa(n)}
	}
	post := func(body io.Reader, header ...string) answer {
		return r.do(http.MethodPost, r.url+"/files/", body, header...)
	}
	for name, a := range map[string]answer{
		"with some bytes":   post(bytes.NewReader(data[:1000]), withBody(1000)...),
		"with every byte":   post(bytes.NewReader(data), withBody(4000)...), // given before the bytes came
		"of unknown length": post(nil, "Upload-Defer-Length", "1"),
		"partial":           post(nil, "Upload-Length", "4000", "Upload-Concat", "partial"),
		"with a clientId":   post(nil, append(clientID("x"), "Upload-Length", "4000")...),
	} {
		if a.status != http.StatusCreated || !r.opens(a.header.Get("Location"), a.header.Get("Reprise-Upload-Ticket")) {
			t.Errorf("%s: %d %v %s", name, a.status, a.header, a.body)
		}
	}
	piece, ticket := r.begin(len(data), "Upload-Concat", "partial")
	r.patch(piece, 0, data, by(ticket)...)
	complete := r.create(len(data), clientID("complete")...)
	r.patch(complete, 0, data)
	for name, a := range map[string]answer{
		"empty":              post(nil, "Upload-Length", "0"),
		"final":              post(nil, "Upload-Concat", "final;"+piece),
		"repeated, complete": post(nil, append(clientID("complete"), "Upload-Length", "4000")...),
		"refused":            post(strings.NewReader("#EXTM3U and what is in a playlist"), withBody(33)...),
	} {
		if got := a.header.Get("Reprise-Upload-Ticket"); got != "" || a.status != http.StatusCreated && name != "refused" {
			t.Errorf("%s: %d with ticket %q", name, a.status, got)
		}
	}
	if a := r.do(http.MethodDelete, piece, nil, by(ticket)...); a.status != http.StatusConflict {
		t.Errorf("DELETE of a joined piece: %d %s", a.status, a.body)
	}
}

// TestTicketOfRepeatedCreation: each repetition gives a ticket and takes none away,
// but for the oldest of more than eight.
func TestTicketOfRepeatedCreation(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	data := audio(3000)
	meta := clientID("again")
	url, first := r.begin(len(data), meta...)
	_, second := r.begin(len(data), meta...) // nothing has come
	r.patch(url, 0, data[:1000], by(first)...)
	_, third := r.begin(len(data), meta...) // something has
	if first == second || second == third {
		t.Error("a ticket was given twice")
	}
	for i, ticket := range []string{first, second, third} {
		if !r.opens(url, ticket) {
			t.Errorf("ticket %d does not open the upload", i+1)
		}
	}
	var all []string
	var mu sync.Mutex
	var clients sync.WaitGroup
	for range 8 { // at once
		clients.Go(func() {
			_, ticket := r.begin(len(data), meta...)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, ticket)
		})
	}
	clients.Wait()
	for i, ticket := range all {
		if !r.opens(url, ticket) {
			t.Errorf("ticket %d of those given at once does not open the upload", i+1)
		}
	}
	if r.opens(url, first) || r.opens(url, third) {
		t.Error("more than eight tickets open the upload")
	}
	if a := r.patch(url, 1000, data[1000:], by(all[0])...); a.status != http.StatusNoContent {
		t.Fatalf("PATCH: %d %s", a.status, a.body)
	}
	r.wantReceived(url, data)
}

// TestTicketEnds with its upload, complete or not.
func TestTicketEnds(t *testing.T) {
	t.Parallel()
	r, ahead := clockedRig(t)
	data := audio(3000)
	unfinished, ticket := r.begin(len(data))
	complete, last := r.begin(len(data))
	piece, pieces := r.begin(len(data), "Upload-Concat", "partial")
	ahead.Store(3000)
	r.patch(complete, 0, data, by(last)...)
	r.patch(piece, 0, data, by(pieces)...)
	ahead.Store(3700) // an hour after the creation, not after the last byte
	for _, a := range []answer{
		r.do(http.MethodHead, unfinished, nil, by(ticket)...),
		r.patch(unfinished, 0, data, by(ticket)...),
		r.do(http.MethodDelete, unfinished, nil, by(ticket)...),
	} {
		if a.status != http.StatusGone {
			t.Errorf("after the upload's end: %d %s", a.status, a.body)
		}
	}
	if !r.opens(complete, last) || !r.opens(piece, pieces) {
		t.Error("a ticket has ended before its time")
	}
	ahead.Store(7200)
	for _, a := range []answer{r.do(http.MethodHead, complete, nil, by(last)...), r.patch(complete, 3000, nil, by(last)...)} {
		if a.status != http.StatusUnauthorized || len(a.body) > 0 && !strings.Contains(string(a.body), "expired") {
			t.Errorf("after the ticket's end: %d %s", a.status, a.body)
		}
	}
	if a := r.patch(piece, 3000, nil, by(pieces)...); a.status != http.StatusGone {
		t.Errorf("after the piece's end: %d %s", a.status, a.body)
	}
	if r.offset(complete) != len(data) {
		t.Error("the upload has ended with its ticket")
	}
}

// TestTicketOnAnotherReplica: what one process has given every other takes, and it
// takes the upload over as its owner does.
func TestTicketOnAnotherReplica(t *testing.T) {
	t.Parallel()
	a, b, _ := replicas(t, false)
	data := audio(40_000)
	url, ticket := a.begin(len(data))
	phone, hung := a.hang(url, "0", data[:10_000])
	head := b.do(http.MethodHead, b.on(url), nil, by(ticket)...)
	if head.header.Get("Upload-Offset") != "10000" {
		t.Fatalf("HEAD on the other replica: %d %v", head.status, head.header)
	}
	wantTakenOver(t, hung)
	phone.Close()
	if got := b.patch(b.on(url), 10_000, data[10_000:], by(ticket)...); got.status != http.StatusNoContent {
		t.Fatalf("PATCH on the other replica: %d %s", got.status, got.body)
	}
	a.wantReceived(url, data)
}

// TestTicketIsKeptNowhere: not in the database, the log, a metric or the body of
// an answer.
func TestTicketIsKeptNowhere(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	var mu sync.Mutex
	pool := pgtest.New(t)
	store, err := disk.New(t.TempDir())
	must(t, err)
	r := newRigOn(t, pool, store, store, func(o *upload.Options) {
		o.Log = slog.New(slog.NewJSONHandler(writerFunc(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return log.Write(p)
		}), &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	data := audio(3000)
	meta := clientID("canary")
	url, first := r.begin(len(data), meta...)
	_, second := r.begin(len(data), meta...)
	another, third := r.begin(len(data))
	var seen bytes.Buffer
	for _, a := range []answer{
		r.do(http.MethodPost, r.url+"/files/", nil, append(by(first), "Upload-Length", "1")...),
		r.patch(url, 7, data, by(first)...),
		r.patch(url, 0, data, append(by(first), "Upload-Checksum", "sha1 AAAA")...),
		r.patch(another, 0, []byte("#EXTM3U and what is in a playlist"), by(third)...),
		r.patch(another, 0, data, by(second)...),
		r.patch(url, 0, data, by(second)...),
		r.do(http.MethodDelete, url, nil, by(second)...),
	} {
		fmt.Fprintf(&seen, "%v %s\n", a.header, a.body)
	}
	families, err := r.metrics.Gather()
	must(t, err)
	fmt.Fprintln(&seen, families)
	for _, table := range []string{"uploads", "recordings", "events", "river_job"} {
		var rows string
		must(t, pool.QueryRow(t.Context(), `SELECT coalesce(string_agg(t::text, E'\n'), '') FROM `+table+` t`).Scan(&rows))
		fmt.Fprintln(&seen, rows)
	}
	mu.Lock()
	defer mu.Unlock()
	if log.Len() == 0 {
		t.Error("nothing was logged")
	}
	for _, ticket := range []string{first, second, third} {
		if strings.Contains(seen.String()+log.String(), ticket[4:]) || strings.Contains(seen.String(), fmt.Sprintf("%x", ticket)) {
			t.Errorf("ticket %s is in:\n%s\n%s", ticket, &seen, &log)
		}
	}
}

// writerFunc makes a function an io.Writer.
type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
