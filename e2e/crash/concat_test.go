package crash

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
)

// uploadPartials sends the file as several uploads at once, and has them joined.
func (p *phone) uploadPartials(ctx context.Context) error {
	n := p.way.partials
	pieces := make([]*phone, n)
	errs := make(chan error, n)
	for i := range pieces {
		piece := &phone{token: p.token, base: p.base, http: p.http, data: p.data[i*len(p.data)/n : (i+1)*len(p.data)/n], way: p.way, partial: true}
		piece.way.partials = 0
		pieces[i] = piece
		go func() { errs <- piece.upload(ctx) }()
	}
	var failed error
	for range pieces {
		failed = errors.Join(failed, <-errs)
	}
	if failed != nil {
		return failed
	}
	paths := make([]string, n)
	for i, piece := range pieces {
		paths[i] = piece.path
		p.retries += piece.retries
		p.refused += piece.refused
	}
	// A second time when it is done, too: it is the same recording.
	for range 2 {
		if err := p.join(ctx, "final;"+strings.Join(paths, " ")); err != nil {
			return err
		}
	}
	p.told, p.sent, p.declared = int64(len(p.data)), int64(len(p.data)), true
	for { // the server may die right now
		err := p.look(ctx)
		var broken *violation
		if err == nil || errors.As(err, &broken) || ctx.Err() != nil {
			return err
		}
		time.Sleep(retryPause)
	}
}

// join asks for the final upload until it has an answer.
func (p *phone) join(ctx context.Context, concat string) error {
	for {
		res, err := p.do(ctx, http.MethodPost, "/files/", http.Header{"Upload-Concat": {concat}, "Upload-Metadata": {p.metadata()}}, nil)
		var broken *violation
		switch {
		case errors.As(err, &broken):
			return err
		case err != nil:
			p.retries++
			select {
			case <-time.After(retryPause):
				continue
			case <-ctx.Done():
				return fmt.Errorf("join partial uploads: %w; the last try: %w", ctx.Err(), err)
			}
		}
		at, err := url.Parse(res.Header.Get("Location"))
		id, idErr := uuid.Parse(res.Header.Get("Reprise-Recording"))
		if res.StatusCode != http.StatusCreated || err != nil || idErr != nil {
			return violated("joining was answered with %s, %v", res.Status, res.Header)
		}
		if p.path != "" && (p.path != at.Path || p.recording != id) {
			return violated("I3: joined as %s of %s, and as %s of %s", p.path, p.recording, at.Path, id)
		}
		p.path, p.recording = at.Path, id
		return nil
	}
}
