package model

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path"
	"slices"
	"strconv"
	"time"

	"reprise/recording"
)

// arm makes the step's trouble happen from now on.
func (r *run) arm(s *step) {
	s.replica.gate.expect(s.trouble)
	if s.trouble.what == cut {
		wait := time.Duration(s.rng.IntN(20)) * time.Millisecond
		s.cut = make(chan struct{})
		go func() {
			defer close(s.cut)
			time.Sleep(wait)
			_, _ = r.w.pool.Exec(context.Background(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
				WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		}()
	}
}

// create makes a new upload, or asks for one of a clientId again.
func (r *run) create(s *step) {
	u := &model{title: "step-" + strconv.Itoa(s.number), state: recording.UploadReceiving, bytes: [][]byte{nil}, expires: r.w.clock.now().Add(expiry)}
	length := 1 + s.rng.Int64N(1+s.rng.Int64N(r.w.kind.most))
	header := []string{"Upload-Length", "0"}
	switch s.rng.IntN(10) {
	case 0:
		length = 0
	case 1, 2, 3:
		length, header = -1, []string{"Upload-Defer-Length", "1"}
	default:
		header[1] = strconv.FormatInt(length, 10)
	}
	if length >= 0 {
		u.lengths = []int64{length}
	}
	again := r.pick(s.rng)
	switch kind := s.rng.IntN(10); {
	case kind < 3 && again != nil:
		u.clientID = again.clientID
	case kind < 6:
		u.clientID = u.title
	}
	t := &try{}
	if length != 0 && s.rng.IntN(3) == 0 {
		most := length
		if length < 0 {
			most = r.w.kind.most / 4
		}
		t.body = bytesFor(s.rng, 0, 1+s.rng.Int64N(most))
		header = append(header, "Content-Type", "application/offset+octet-stream")
	}
	u.tries = []*try{t}
	r.created[u.title] = u
	for _, other := range r.created {
		if other != u && u.clientID != "" && other.clientID == u.clientID {
			other.tries = append(other.tries, t)
			u.tries = append(u.tries, other.tries...)
		}
	}
	header = append(header, "Upload-Metadata", metadata("title", u.title, "clientId", u.clientID))
	s.note = fmt.Sprintf("create %s of length %d with %d bytes as %q on %s%v", u.title, length, len(t.body), u.clientID, s.replica.name, s.trouble)
	r.arm(s)
	h := &held{request: r.w.send(s.replica, http.MethodPost, "/files/", bytes.NewReader(t.body), header...), replica: s.replica, t: t}
	if a, ok := r.await(s, h); ok {
		r.wasCreated(s, u, t, a)
	}
}

// wasCreated looks at the answer to a creation.
func (r *run) wasCreated(s *step, u *model, t *try, a answer) {
	r.want(s, nil, a, http.StatusCreated, http.StatusConflict, http.StatusRequestEntityTooLarge)
	if a.status != http.StatusCreated {
		return
	}
	r.look()
	named := r.byID(path.Base(a.header.Get("Location")))
	if named == nil || named != u && (u.clientID == "" || named.clientID != u.clientID) {
		violated("%s: answered with %q", s.note, a.header.Get("Location"))
	}
	if a.header.Get("Reprise-Recording") != named.recordingID.String() {
		violated("%s: the recording is %s, the answer says %q", s.note, named.recordingID, a.header.Get("Reprise-Recording"))
	}
	if offset := a.header.Get("Upload-Offset"); offset != "" {
		n, err := strconv.ParseInt(offset, 10, 64)
		must(err)
		switch {
		case n > named.offset():
			violated("%s: answered with offset %d, the ledger has %d", s.note, n, named.offset())
		case named == u && u.clientID == "":
			must(u.told(t, n))
		}
	}
}

func (r *run) byID(id string) *model {
	for _, u := range r.uploads {
		if u.id.String() == id {
			return u
		}
	}
	return nil
}

// body draws how many bytes to send.
func (r *run) body(s *step, u *model) int64 {
	n := s.rng.Int64N(1 + s.rng.Int64N(r.w.kind.most/2))
	all := s.rng.IntN(3) == 0
	if u.length != nil {
		if left := *u.length - u.offset(); n > left || all {
			n = left
		}
	}
	return n
}

// patch sends bytes, in one of many ways.
func (r *run) patch(s *step, u *model) {
	way, at, n := s.rng.IntN(20), u.offset(), r.body(s, u)
	header := []string{"Content-Type", "application/offset+octet-stream"}
	right := []int{http.StatusNoContent}
	if u.length == nil && s.rng.IntN(3) == 0 {
		length := at + n + s.rng.Int64N(2)*s.rng.Int64N(1+r.w.kind.most/4)
		u.lengths = append(u.lengths, length)
		header = append(header, "Upload-Length", strconv.FormatInt(length, 10))
	}
	if u.state.Gone() {
		right = []int{http.StatusGone}
	}
	s.note = "patch"
	switch {
	case u.state.Gone():
	case way == 0: // at another offset, that nobody could come to meanwhile
		at += 1 + r.w.kind.most*2
		if s.rng.IntN(2) == 0 && u.offset() > 0 {
			at = s.rng.Int64N(u.offset())
		}
		s.note, right = "wrong offset: patch", []int{http.StatusConflict, http.StatusRequestEntityTooLarge}
	case way == 1 && u.length != nil && !u.state.Complete():
		n = *u.length - at + 1 + s.rng.Int64N(100)
		s.note, right = "past the end: patch", []int{http.StatusRequestEntityTooLarge}
	case way == 2 && at == 0 && n > 16 && !u.state.Complete():
		r.notAudio(s, u, n)
		return
	case way < 6 && n > 0:
		r.broken(s, u, n, header, way == 3)
		return
	}
	t := &try{at, bytesFor(s.rng, at, n)}
	u.tries = append(u.tries, t)
	a, ok := r.patches(s, u, t, header)
	if ok {
		r.want(s, u, a, right...)
		r.acknowledged(u, t, a)
	}
}

// patches sends t as a whole.
func (r *run) patches(s *step, u *model, t *try, header []string) (answer, bool) {
	s.note += fmt.Sprintf(" %s at %d with %d bytes %v on %s%v", u.title, t.at, len(t.body), header[2:], s.replica.name, s.trouble)
	r.arm(s)
	header = append(header, "Upload-Offset", strconv.FormatInt(t.at, 10))
	return r.await(s, &held{request: r.w.send(s.replica, http.MethodPatch, "/files/"+u.id.String(), bytes.NewReader(t.body), header...), replica: s.replica, u: u, t: t})
}

// notAudio begins an upload with what is no audio.
func (r *run) notAudio(s *step, u *model, n int64) {
	s.note, u.refusing = "not audio: patch", true
	t := &try{0, make([]byte, n)}
	if a, ok := r.patches(s, u, t, []string{"Content-Type", "application/offset+octet-stream"}); ok {
		r.want(s, u, a, http.StatusUnsupportedMediaType)
	}
}

// broken sends a part of a body. Then the connection is cut, or it hangs.
func (r *run) broken(s *step, u *model, n int64, header []string, hangs bool) {
	t := &try{u.offset(), bytesFor(s.rng, u.offset(), n)}
	u.tries = append(u.tries, t)
	out, body := io.Pipe()
	header = append(header, "Upload-Offset", strconv.FormatInt(t.at, 10))
	r.arm(s)
	h := &held{request: r.w.send(s.replica, http.MethodPatch, "/files/"+u.id.String(), out, header...), replica: s.replica, u: u, t: t, body: body}
	sent := s.rng.Int64N(n)
	h.rest = t.body[sent:]
	s.note = fmt.Sprintf("begin patch %s at %d with %d of %d bytes %v on %s%v", u.title, t.at, sent, n, header[2:], s.replica.name, s.trouble)
	go func() { _, _ = body.Write(t.body[:sent]) }()
	select {
	case <-h.begun:
	case <-time.After(patience):
		violated("%s: the server did not begin with it", s.note)
	}
	if hangs {
		r.held = append(r.held, h)
		return
	}
	// What has been written by now depends on the machine; at the latest the end of
	// the request brings it to rest.
	body.CloseWithError(errors.New("the phone has lost its network"))
	s.note += ", cut"
	if a, ok := r.await(s, h); ok {
		r.acknowledged(u, t, a)
	}
}

// head asks for the offset.
func (r *run) head(s *step, u *model) {
	s.note = fmt.Sprintf("head %s on %s%v", u.title, s.replica.name, s.trouble)
	r.arm(s)
	least := u.offset()
	a, ok := r.await(s, &held{request: r.w.send(s.replica, http.MethodHead, "/files/"+u.id.String(), nil), replica: s.replica, u: u})
	if !ok {
		return
	}
	want := http.StatusOK
	if u.state.Gone() {
		want = http.StatusGone
	}
	r.want(s, u, a, want)
	if a.status != http.StatusOK {
		return
	}
	r.look()
	offset, err := strconv.ParseInt(a.header.Get("Upload-Offset"), 10, 64)
	must(err)
	s.note += fmt.Sprintf(" at %d", offset)
	if offset < least || offset > u.offset() || offset < u.offset() && r.calm(s, u) {
		violated("%s: %d was acknowledged before, the ledger has %d", s.note, least, u.offset())
	}
}

// delete gives an upload up, or deletes its recording.
func (r *run) delete(s *step, u *model) {
	s.note = fmt.Sprintf("delete %s on %s%v", u.title, s.replica.name, s.trouble)
	want := http.StatusNoContent
	if u.state.Gone() {
		want = http.StatusGone
	}
	u.deleting = true
	r.arm(s)
	a, ok := r.await(s, &held{request: r.w.send(s.replica, http.MethodDelete, "/files/"+u.id.String(), nil), replica: s.replica, u: u})
	if !ok {
		return
	}
	r.want(s, u, a, want)
	if r.look(); a.status == http.StatusNoContent && !u.state.Gone() {
		violated("%s: it is %s", s.note, u.state)
	}
}

// race sends several requests with different bytes at the same offset.
func (r *run) race(s *step, u *model) {
	if u.state != recording.UploadReceiving || u.length != nil && *u.length == u.offset() {
		s.note = "no race"
		return
	}
	s.note = fmt.Sprintf("race %s at %d%v:", u.title, u.offset(), s.trouble)
	r.arm(s)
	var racers []*held
	for range 2 + s.rng.IntN(4) {
		n := max(1, r.body(s, u))
		t := &try{u.offset(), bytesFor(s.rng, u.offset(), n)}
		u.tries = append(u.tries, t)
		at := s.replica
		if other := r.w.replicas[s.rng.IntN(2)]; !other.gate.isFrozen() {
			at = other
		}
		s.note += fmt.Sprintf(" %d on %s", n, at.name)
		racers = append(racers, &held{replica: at, u: u, t: t, request: r.w.send(at, http.MethodPatch, "/files/"+u.id.String(), bytes.NewReader(t.body),
			"Content-Type", "application/offset+octet-stream", "Upload-Offset", strconv.FormatInt(t.at, 10))})
	}
	won := 0
	for _, h := range racers {
		a, ok := r.await(s, h)
		if !ok {
			continue
		}
		r.want(s, u, a, http.StatusNoContent, http.StatusConflict)
		if r.acknowledged(u, h.t, a); a.status == http.StatusNoContent {
			won++
		}
	}
	if won > 1 || won == 0 && r.calm(s, u) {
		violated("%s: %d requests have won", s.note, won)
	}
}

// store runs the stage that makes the object, perhaps once more.
func (r *run) store(s *step, u *model) {
	if !u.state.Complete() {
		s.note = "nothing to store"
		return
	}
	s.note = fmt.Sprintf("store %s on %s%v", u.title, s.replica.name, s.trouble)
	r.arm(s)
	h := &held{replica: s.replica, u: u, request: r.w.stage(s.replica, u)}
	if a, ok := r.await(s, h); ok {
		r.want(s, u, a, http.StatusOK)
		if r.look(); a.status == http.StatusOK {
			r.wantObject(u)
		}
	}
}

// stage does what a worker does for the stage store, or does it again.
func (w *world) stage(rep *replica, u *model) *request {
	sent := &request{answered: make(chan answer, 1), begun: make(chan struct{}), over: make(chan struct{})}
	close(sent.begun)
	go func() {
		defer close(sent.over)
		work, err := w.catalog.Work(context.Background(), u.recordingID)
		switch {
		case err != nil || work.Recording.Stage != recording.StageStore && work.Recording.Stage != recording.StageVerify:
		default:
			if err = rep.store.Assemble(context.Background(), work.Upload); err == nil {
				err = rep.ledger.CompleteStage(context.Background(), u.recordingID, recording.StageStore, recording.StageResult{Next: recording.StageVerify})
			}
		}
		if err != nil {
			sent.answered <- answer{status: http.StatusInternalServerError, body: err.Error()}
			return
		}
		sent.answered <- answer{status: http.StatusOK}
	}()
	return sent
}

// wantObject wants the object of an upload to be its bytes, unless it was deleted.
func (r *run) wantObject(u *model) {
	row := r.w.row(u.id)
	if row.State != recording.UploadStored {
		return
	}
	if got := r.w.read(row.ObjectKey); len(u.bytes) != 1 || !bytes.Equal(got, u.bytes[0]) {
		violated("upload %s has an object of %d bytes that are not the %d that were acknowledged", u.title, len(got), u.offset())
	}
}

// expire moves the clock and runs the janitor.
func (r *run) expire(s *step) {
	d := []time.Duration{time.Hour, 30 * time.Hour, expiry / 2, expiry + time.Hour}[s.rng.IntN(4)]
	s.note = fmt.Sprintf("janitor %v later", d)
	r.w.clock.jump(d)
	eventually(r.w.janitor)
	now := r.w.clock.now()
	for _, u := range r.uploads {
		if row := r.w.row(u.id); row.State == recording.UploadReceiving && row.ExpiresAt.Before(now.Add(-time.Minute)) {
			violated("upload %s has expired, and the janitor has left it", u.title)
		}
	}
}

// hanging returns a request that hangs on a replica that runs.
func (r *run) hanging(rng *rand.Rand) *held {
	dice := rng.Uint64()
	var list []*held
	for _, h := range r.held {
		if h.body != nil && !h.replica.gate.isFrozen() {
			list = append(list, h)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[dice%uint64(len(list))]
}

// goOn sends the rest of a body, or cuts it off.
func (r *run) goOn(s *step, h *held) {
	s.replica = h.replica
	r.held = slices.DeleteFunc(r.held, func(other *held) bool { return other == h })
	s.note = fmt.Sprintf("go on with %s at %d on %s%v", h.u.title, h.t.at, h.replica.name, s.trouble)
	r.arm(s)
	if s.rng.IntN(2) == 0 {
		h.body.CloseWithError(errors.New("the phone has lost its network"))
		s.note += ", cut"
	} else {
		go func(body *io.PipeWriter) { _, _ = body.Write(h.rest); body.Close() }(h.body)
	}
	h.body = nil
	if a, ok := r.await(s, h); ok {
		s.note += fmt.Sprintf(" → %d", a.status)
		r.acknowledged(h.u, h.t, a)
	}
}

// thawAll lets every replica go on that stands still.
func (r *run) thawAll(s *step) {
	s.note = "thaw"
	for _, rep := range r.w.replicas {
		if rep.gate.isFrozen() {
			s.note += " " + rep.name
			r.thaw(rep)
		}
	}
}

// thaw lets a replica go on, and waits for the answers to the requests that it
// stood still with.
func (r *run) thaw(rep *replica) {
	rep.gate.thaw()
	for i := 0; i < len(r.held); {
		h := r.held[i]
		if h.replica != rep || h.body != nil {
			i++
			continue
		}
		r.held = slices.Delete(r.held, i, i+1)
		a, ok := r.await(&step{note: "thaw " + rep.name, replica: rep}, h)
		if ok && h.t != nil && h.u != nil {
			r.acknowledged(h.u, h.t, a)
		}
	}
}
