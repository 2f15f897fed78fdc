package model

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"reprise/recording"
)

// finish lets every request end, completes most uploads, lets the workers do
// their jobs, and wants every promise to be kept.
func (r *run) finish() {
	defer func() { r.history = append(r.history, "the end") }()
	rng := rand.New(rand.NewPCG(r.seed, math.MaxUint64))
	r.bringToRest()
	for i, u := range r.uploads {
		if dice := rng.IntN(4); dice > 0 && u.state == recording.UploadReceiving {
			r.complete(rng, u, r.w.replicas[i%2])
		}
	}
	r.w.work()
	r.look()
	r.wantOutcomes()

	r.w.clock.jump(400 * 24 * time.Hour)
	must(r.w.janitor())
	r.w.work()
	must(r.w.janitor())
	r.look()
	r.wantOutcomes()
	r.wantNoOrphans()
}

// bringToRest ends every request that is held.
func (r *run) bringToRest() {
	s := &step{note: "come to rest", replica: r.w.replicas[0]}
	r.thawAll(s)
	for len(r.held) > 0 {
		h := r.held[0]
		r.held = r.held[1:]
		if h.body != nil {
			h.body.CloseWithError(http.ErrAbortHandler)
		}
		a, _ := r.await(s, h)
		if h.u != nil && h.t != nil {
			r.acknowledged(h.u, h.t, a)
		}
	}
	r.look()
}

// complete goes on with an upload to its end as a client would.
func (r *run) complete(rng *rand.Rand, u *model, rep *replica) {
	s := &step{number: -1, rng: rng, replica: rep}
	r.head(s, u)
	header := []string{"Content-Type", "application/offset+octet-stream"}
	n := rng.Int64N(1 + r.w.kind.most/4)
	if u.length == nil {
		length := u.offset() + n
		u.lengths = append(u.lengths, length)
		header = append(header, "Upload-Length", strconv.FormatInt(length, 10))
	} else {
		n = *u.length - u.offset()
	}
	t := &try{u.offset(), bytesFor(rng, u.offset(), n)}
	u.tries = append(u.tries, t)
	s.note = "complete"
	a, _ := r.patches(s, u, t, header)
	r.want(s, u, a, http.StatusNoContent)
	r.acknowledged(u, t, a)
	if !u.state.Complete() {
		violated("upload %s is %s after its last byte", u.title, u.state)
	}
}

// wantOutcomes wants of each upload what its end promises: the object with its
// bytes and digest, one recording, one job of each stage, one event of each kind.
func (r *run) wantOutcomes() {
	for _, u := range r.uploads {
		id := u.recordingID
		complete := r.w.count(`SELECT count(*) FROM events WHERE recording_id = $1 AND type = 'upload.received'`, id)
		if n := r.w.count(`SELECT count(*) FROM events WHERE recording_id = $1 AND type = 'upload.created'`, id); n != 1 {
			violated("upload %s was created %d times", u.title, n)
		}
		for _, stage := range []recording.Stage{recording.StageStore, recording.StageVerify, recording.StageProbe} {
			jobs := r.w.count(`SELECT count(*) FROM river_job WHERE kind = 'stage' AND args->>'recordingId' = $1 AND args->>'stage' = $2`, id.String(), stage)
			events := r.w.count(`SELECT count(*) FROM events WHERE recording_id = $1 AND type = 'processing.completed' AND data->>'stage' = $2`, id, stage)
			if jobs > complete || events > jobs || stage == recording.StageStore && jobs != complete {
				violated("upload %s was received %d times, and has %d jobs and %d ends of stage %s", u.title, complete, jobs, events, stage)
			}
		}
		if u.state.Complete() {
			r.wantRecording(u, complete)
		} else if complete > 0 && !u.deleting {
			violated("upload %s is %s, but was received %d times", u.title, u.state, complete)
		}
	}
	if n := r.w.count(`SELECT count(*) FROM recordings`); n != len(r.uploads) {
		violated("%d uploads have %d recordings", len(r.uploads), n)
	}
}

func (r *run) wantRecording(u *model, received int) {
	work, err := r.w.catalog.Work(r.w.t.Context(), u.recordingID)
	must(err)
	if work.Upload.State != recording.UploadStored || received != 1 {
		violated("upload %s is %s, and was received %d times", u.title, work.Upload.State, received)
	}
	if sum, err := digest(work.Upload.HashState); err != nil || !bytes.Equal(sum[:], work.Recording.SHA256) || *work.Recording.SizeBytes != u.offset() {
		violated("upload %s was received with another digest or size", u.title)
	}
	switch work.Recording.State {
	case recording.StateRejected: // noise is no audio
		r.wantObject(u)
	case recording.StateDeleted:
	default:
		violated("upload %s has a recording that is %s: %s", u.title, work.Recording.State, work.Recording.Detail)
	}
}

// wantNoOrphans wants nothing to be stored but the objects of living recordings.
func (r *run) wantNoOrphans() {
	var want []string
	for _, u := range r.uploads {
		row := r.w.row(u.id)
		if row.State == recording.UploadReceiving {
			violated("upload %s is unfinished, and has not expired", u.title)
		}
		work, err := r.w.catalog.Work(r.w.t.Context(), u.recordingID)
		must(err)
		if work.Recording.State == recording.StateRejected && row.State == recording.UploadStored {
			want = append(want, fmt.Sprint(recording.StoredObject, " ", row.ObjectKey))
		}
	}
	got := r.w.stored()
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		violated("stored after the janitor:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if n := r.w.count(`SELECT count(*) FROM upload_parts`); n > 0 {
		violated("%d rows of parts are left after the janitor", n)
	}
}
